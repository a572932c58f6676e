/* SPDX-License-Identifier: Apache-2.0
 *
 * XXH3-64, written from the published specification of xxHash (Yann Collet,
 * doc/xxhash_spec.md). One hash of a stored key serves memtable index, filter and
 * block hash; the same function is the checksum of every byte on disk.
 */
#ifndef LSM_BASE_XXH3_H
#define LSM_BASE_XXH3_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t lsm_xxh3(const void *data, size_t size);
uint64_t lsm_xxh3_seeded(const void *data, size_t size, uint64_t seed);

/* The checksum of a piece of a file: XXH3-64 of its bytes, bound to the random id of
 * the file and to the offset it was written at, so that a misplaced piece fails:
 *   xxh3(data) ^ xxh3_seeded(offset as 8 little-endian bytes, file_id) */
uint64_t lsm_checksum(uint64_t file_id, uint64_t offset, const void *data, size_t size);
/* The second half of it: binds xxh3(data). */
uint64_t lsm_checksum_bind(uint64_t data_hash, uint64_t file_id, uint64_t offset);
/* Whether a checksum that was read is the one that the bytes have; the only place where
 * that is decided. In a build with -DLSMKV_FUZZING it always is, so that tests reach
 * what lies behind. */
bool lsm_checksum_agrees(uint64_t expected, uint64_t found);

/* XXH3-64 of ever longer pieces that begin at one place. All of them together cost what
 * the longest does, and a small constant each. */
typedef struct lsm_xxh3_prefix {
    const uint8_t *data; /* borrowed */
    uint64_t lanes[8];   /* after ... */
    size_t stripe_count; /* ... so many stripes of 64 bytes */
} lsm_xxh3_prefix;

void lsm_xxh3_prefix_init(lsm_xxh3_prefix *prefix, const void *data);
/* lsm_xxh3 of the first `size` bytes, at least as many as in the call before. */
uint64_t lsm_xxh3_prefix_hash(lsm_xxh3_prefix *prefix, size_t size);

#endif
