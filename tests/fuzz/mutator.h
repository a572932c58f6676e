/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing inputs. Mutations know nothing of the format but what stored formats have in
 * common: little-endian integers, varints, blocks of bytes.
 */
#ifndef LSM_TESTS_FUZZ_MUTATOR_H
#define LSM_TESTS_FUZZ_MUTATOR_H

#include "fuzz.h"

typedef struct fuzz_bytes {
    uint8_t *data;
    size_t size;
    size_t capacity;
} fuzz_bytes;

/* Changes `bytes` in a few places; `other` is another input to take pieces from. With
 * `keeps_size` the size stays. */
void fuzz_mutate_bytes(lsm_rng *rng, fuzz_bytes *bytes, lsm_slice other,
                       bool keeps_size);
/* An input of a target: as above, or file by file; then most often mended. */
void fuzz_mutate(lsm_rng *rng, const fuzz_target *target, fuzz_bytes *bytes,
                 lsm_slice other);

#endif
