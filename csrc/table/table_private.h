/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of an open table, for the files that read one: table_reader.c opens and
 * closes it and fetches blocks, table_get.c answers point reads, table_iter.c iterates,
 * table_heat.c hands hot blocks on, table_verify.c checks.
 */
#ifndef LSM_TABLE_TABLE_PRIVATE_H
#define LSM_TABLE_TABLE_PRIVATE_H

#include <stdatomic.h>

#include "format/bloom.h"
#include "format/filename.h"
#include "table/range_set.h"
#include "table/table_index.h"
#include "table/table_reader.h"

struct lsm_table {
    /* Constant after open. */
    lsm_bloom bloom; /* its lines are `filter` */
    lsm_table_index index;
    lsm_cache *cache; /* borrowed from the context, like `dir` */
    lsm_dir *dir;
    lsm_file *file;  /* owned */
    uint8_t *filter; /* owned, at a cache line, so that a test touches one */
    size_t filter_size;
    lsm_range_set *ranges; /* owned; NULL: the table holds no range deletes */
    uint8_t *range_bytes;  /* owned; holds the keys of `ranges` */
    size_t range_size;
    lsm_properties properties;
    lsm_table_info info;              /* its keys are the index's */
    const lsm_table_context *context; /* borrowed */
    char name[LSM_FILENAME_SIZE];
    lsm_retired retired;
    _Atomic uint32_t refs;
};

/* How a decoded block will be used. */
typedef enum lsm_block_use {
    LSM_USE_LOOKUP, /* in the cache, where point reads may find it */
    LSM_USE_SCAN,   /* walked over once: no slots */
} lsm_block_use;

/* How blocks that lie near each other are read together. */
enum {
    LSM_READ_GAP_MAX = 16 << 10, /* unwanted bytes read to make one read of two */
    LSM_READ_RUN_MAX = 1 << 20,  /* bytes read at once */
};

/* A block to decode into, owned; replaced by a larger one where that does not fit. */
typedef struct lsm_block_room {
    lsm_cached_block *block; /* one reference, unpublished; or NULL */
    size_t size;             /* bytes of data it has room for */
} lsm_block_room;

/* Reads and checks the tail again, as opening does. */
lsmkv_status lsm_table_check_tail(const lsm_table *table,
                                  lsmkv_error *err) LSM_MUST_CHECK;
/* Checks and decodes a block into `room`. `stored` is payload and frame as read. */
lsmkv_status lsm_table_decode(const lsm_table *table, uint32_t block, lsm_slice stored,
                              lsm_block_use use, lsm_block_room *room,
                              lsmkv_error *err) LSM_MUST_CHECK;
/* Reads one block and puts it into the cache. Inside the epoch. */
lsmkv_status lsm_table_load(lsm_table *table, uint32_t block, lsm_cached_block **blockp,
                            lsmkv_error *err) LSM_MUST_CHECK;
/* The same for a block that takes the place of hot ones. */
lsmkv_status lsm_table_load_hot(lsm_table *table, uint32_t block,
                                lsmkv_error *err) LSM_MUST_CHECK;

#endif
