/* SPDX-License-Identifier: Apache-2.0
 *
 * The inputs at hand: read from files and directories, added to while fuzzing.
 */
#ifndef LSM_TESTS_FUZZ_CORPUS_H
#define LSM_TESTS_FUZZ_CORPUS_H

#include "fuzz.h"

typedef struct fuzz_corpus {
    lsm_slice *inputs; /* bytes owned */
    size_t count;
    size_t capacity;
} fuzz_corpus;

void fuzz_corpus_add(fuzz_corpus *corpus, lsm_slice input); /* copies */
/* A file, or all in a directory; larger ones than `size_max` are cut. false: it cannot
 * be read. */
bool fuzz_corpus_load(fuzz_corpus *corpus, const char *path, size_t size_max);
void fuzz_corpus_sort(fuzz_corpus *corpus); /* by size */
void fuzz_corpus_deinit(fuzz_corpus *corpus);
/* Writes an input into a directory, which is created, under the hash of its bytes. */
bool fuzz_corpus_save(const char *directory, lsm_slice input);

#endif
