/* SPDX-License-Identifier: Apache-2.0
 *
 * Many rows in one call: keys, and values of one size, as arrays hold them.
 */
#ifndef LSMKV_ROWS_H
#define LSMKV_ROWS_H

#include "lsmkv_base.h"
#include "lsmkv_read.h"
#include "lsmkv_space.h"
#include "lsmkv_write.h"

/* The keys of many rows: `count` strings of bytes or, where `bytes` is NULL, as many
 * numbers, of which each is a key of 8 bytes, the most significant first, so that keys
 * are in the order of the numbers. */
typedef struct lsmkv_keys {
    const lsmkv_bytes *bytes;
    const uint64_t *ids;
    size_t count;
} lsmkv_keys;

/* Values of one size: that of key i is at data + i * stride. */
typedef struct lsmkv_rows {
    const void *data;
    size_t row_bytes; /* at least 1 */
    size_t stride;    /* at least row_bytes */
} lsmkv_rows;

/* Puts a value under each key; of equal keys the last one wins. All of them are one
 * atomic batch, unless they are too much for one (LSMKV_BATCH_SIZE_MAX): then they are
 * written in order in as many batches as it takes. *put_count: rows of the batches
 * written, also after a failure. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_put_rows(lsmkv_db *db, const lsmkv_write *how, const lsmkv_keys *keys,
               const lsmkv_rows *rows, size_t *put_count, lsmkv_error *err);
/* Adds a put for each key. After a failure some may have been added. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_batch_put_rows(lsmkv_batch *batch,
                                                             const lsmkv_write *how,
                                                             const lsmkv_keys *keys,
                                                             const lsmkv_rows *rows,
                                                             lsmkv_error *err);

/* Where rows are read to: that of key i to out + i * stride. */
typedef struct lsmkv_gather {
    void *out;
    size_t row_bytes;   /* at least 1 */
    size_t stride;      /* at least row_bytes */
    uint8_t *found;     /* out: 1 or 0 for each key; rows not found are left alone */
    uint64_t budget_us; /* 0: no limit */
    /* NULL, or what the rows have to be: vectors as its vector fields say. */
    const lsmkv_space_options *vectors;
} lsmkv_gather;

/* Looks up all keys in one consistent state and copies their values. A value of another
 * size is INVALID_ARGUMENT, and so are other vectors than those asked for, which a
 * published name may have got; after an error some rows may have been copied. With a
 * budget, rows that are not in memory count as not found once so many microseconds have
 * passed, and with read->nonblocking at once; the last read begun may take longer. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_get_rows(lsmkv_db *db, const lsmkv_read *read, const lsmkv_keys *keys,
               const lsmkv_gather *to, size_t *found_count, lsmkv_error *err);

#endif
