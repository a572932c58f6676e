/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the fuzz program share.
 *
 * A target is a function that takes any bytes, as LLVMFuzzerTestOneInput does, and a
 * line in the table of targets.c: its name, the function, and how its inputs are put
 * right after a mutation, so that the bytes behind a checksum are reached. Whatever the
 * bytes are, a target must
 *
 *   - give the answers that a second, simple reader gives, or that an encoder turns
 *     back into the same bytes: FUZZ_CHECK
 *   - leave no allocation behind, and ask for none above FUZZ_ALLOCATION_MAX
 *   - be done within a second of the processor's time
 *
 * and show the sanitizers nothing. main.c is the program around them under gcc,
 * libfuzzer.c the one under clang.
 */
#ifndef LSM_TESTS_FUZZ_FUZZ_H
#define LSM_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/rng.h"
#include "base/slice.h"

enum {
    FUZZ_SIZE_MAX = 256 << 10, /* bytes of an input */
    FUZZ_ALLOCATION_MAX = 64 << 20,
    FUZZ_ARCHIVE_FILES_MAX = 64,
};

typedef struct fuzz_target {
    const char *name;
    void (*run)(lsm_slice input);
    /* Makes checksums in an input right, in place; NULL: it has none. */
    void (*mend)(uint8_t *data, size_t size);
    size_t size_max;
    bool is_archive; /* inputs are archives (archive.h), mutated file by file */
} fuzz_target;

extern const fuzz_target fuzz_targets[];
extern const size_t fuzz_target_count;
const fuzz_target *fuzz_target_find(const char *name); /* NULL: there is none */

/* Says what failed, keeps the input, ends the program. */
void fuzz_fail(const char *file, int line, const char *format, ...)
    LSM_PRINTF(3, 4) LSM_NORETURN;

#define FUZZ_CHECK(condition)                                \
    do {                                                     \
        if (!(condition)) {                                  \
            fuzz_fail(__FILE__, __LINE__, "%s", #condition); \
        }                                                    \
    } while (0)

/* Until the run ends, allocations up to this size are fine: where the format has a
 * limit of its own. */
void fuzz_allow(size_t size);

/* One input through a target, held against everything above. The input is copied to
 * memory of exactly its size. */
void fuzz_run(const fuzz_target *target, lsm_slice input);
/* Of fuzz_run: where the input that failed is written, and how long one may take. */
typedef struct fuzz_limits {
    const char *failures; /* a directory */
    unsigned seconds;
} fuzz_limits;
void fuzz_run_init(const fuzz_limits *limits);

/* Memory of the fuzzer itself, which does not count; ends the program without any. */
void *fuzz_alloc(size_t size);
/* Grows an array to hold `needed` elements. */
void *fuzz_grow(void *array, size_t *capacity, size_t needed, size_t element_size);

#endif
