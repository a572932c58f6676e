/* SPDX-License-Identifier: Apache-2.0
 *
 * Archive: a small directory as one input.
 *
 *   how u8 | file*
 *   file: kind u8 | number varint | size varint | stored varint | stored bytes
 *
 * Kinds are those of format/filename.h; the name is made of kind and number. A file has
 * `size` bytes, at most FUZZ_FILE_SIZE_MAX: those stored, then zeros. What `how` means
 * is the target's. An archive that is cut short has the files that are whole.
 */
#ifndef LSM_TESTS_FUZZ_ARCHIVE_H
#define LSM_TESTS_FUZZ_ARCHIVE_H

#include "env/env_sim.h"
#include "format/filename.h"
#include "mutator.h"

enum { FUZZ_FILE_SIZE_MAX = 256 << 10 };

typedef struct fuzz_file {
    lsm_file_kind kind;
    uint64_t number;
    uint64_t size;
    lsm_slice stored; /* borrowed from the archive */
} fuzz_file;

typedef struct fuzz_archive {
    uint8_t how;
    fuzz_file files[FUZZ_ARCHIVE_FILES_MAX];
    size_t count;
} fuzz_archive;

void fuzz_archive_read(lsm_slice bytes, fuzz_archive *archive);
/* Writes what fits. The archive borrows from other memory than `to`. */
void fuzz_archive_write(const fuzz_archive *archive, fuzz_bytes *to);
/* The name of a file; false: it can have none. */
bool fuzz_file_name(const fuzz_file *file, char name[LSM_FILENAME_SIZE]);
/* Creates the files in directory `path`, which is there, of a simulated disk. */
void fuzz_archive_unpack(const fuzz_archive *archive, lsm_env *env, const char *path);

/* Changes a file, or which files there are. */
void fuzz_archive_mutate(lsm_rng *rng, fuzz_bytes *bytes, lsm_slice other);
void fuzz_archive_mend(uint8_t *data, size_t size);

#endif
