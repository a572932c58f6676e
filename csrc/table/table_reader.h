/* SPDX-License-Identifier: Apache-2.0
 *
 * An open table. Filter, index and properties stay in memory while it is open; data
 * blocks come through the block cache, one atomic slot per block (table/cache.h), in
 * their decoded form (format/block.h). Everything in the tail was checked when it was
 * opened, every block when it was loaded: its checksum, the order in it, and that it
 * lies between the separators of the index.
 *
 * Point reads: filter, then index search, then the block's hash index. lsm_table_get
 * and lsm_table_get_many must be called inside the epoch; what they find is valid
 * inside it. Iterators may live longer: they hold a reference to the table and to
 * their current block, but every call on them is made inside the epoch, too (not so
 * for scanning iterators, below).
 *
 * Threads: everything but the iterators is safe from any thread. References are
 * counted (atomic).
 */
#ifndef LSM_TABLE_TABLE_READER_H
#define LSM_TABLE_TABLE_READER_H

#include "env/env.h"
#include "format/edit.h"
#include "format/footer.h"
#include "table/cache.h"
#include "table/iter.h"

typedef struct lsm_table lsm_table;

/* What all tables of a database share; outlives them. */
typedef struct lsm_table_context {
    lsm_dir *dir;
    lsm_cache *cache;
    uint8_t uuid[LSM_UUID_SIZE];
    lsm_uuids origins; /* borrowed: UUIDs that a table may carry instead */
    bool read_only; /* another process may change the files: a missing one is CHANGED */
} lsm_table_context;

/* One read of the tail. `info` is what the MANIFEST knows; UUID, number, file id,
 * file size, entry counts and sequence bounds must agree with the file, else
 * CORRUPTION. On OK *tablep has one reference. The filter is verified by its checksum
 * like everything else. */
lsmkv_status lsm_table_open(const lsm_table_context *context,
                            const lsm_table_info *info, lsm_table **tablep,
                            lsmkv_error *err) LSM_MUST_CHECK;
void lsm_table_ref(lsm_table *table);
/* The last unref drops the table's blocks from the cache and closes the file. */
void lsm_table_unref(lsm_table *table); /* NULL is fine */
/* Unrefs once every reader now inside the epoch has left it. */
void lsm_table_retire(lsm_table *table, lsm_epoch *epoch);

uint64_t lsm_table_charge(const lsm_table *table); /* memory besides cached blocks */
uint64_t lsm_table_filter_charge(const lsm_table *table); /* the filter's part of it */
const lsm_properties *lsm_table_properties(const lsm_table *table);
/* Its range deletes, lent while the table lives; NULL: none. */
const struct lsm_range_set *lsm_table_ranges(const lsm_table *table);

/* OK and *found, NOT_FOUND, WOULD_BLOCK (only when nonblocking), or an error. Any kind
 * of version is an answer: the caller sees tombstones. A key that is covered by a range
 * delete of the table, and has nothing newer there, is found as one: kind
 * RANGE_DELETE, its sequence, no field. */
lsmkv_status lsm_table_get(lsm_table *table, const lsm_lookup *lookup, bool nonblocking,
                           lsm_found *found, lsmkv_error *err) LSM_MUST_CHECK;

/* One key of a batched read. */
typedef struct lsm_table_request {
    lsm_lookup lookup;
    lsm_found found;      /* out */
    bool done;            /* in: skip it; out: found a version */
    bool missed;          /* scratch of lsm_table_get_many: its block must be read */
    uint32_t block;       /* likewise: which */
    int64_t stale_for_ms; /* the caller's */
} lsm_table_request;

/* Looks up every request that is not done: in groups, all filters first, then all index
 * searches, then all blocks, each stage prefetching for the next; then the blocks
 * missing from the cache are read in file order, neighbours (gaps up to 16 KiB)
 * together, with the system told of all extents first. After an error some requests
 * may have been answered. */
lsmkv_status lsm_table_get_many(lsm_table *table, lsm_table_request *const *requests,
                                size_t count, lsmkv_error *err) LSM_MUST_CHECK;

/* Compaction replaces tables whose blocks may be hot; the tables it writes start cold.
 * lsm_table_next_hot answers the first block at or behind `block` that is hot, the
 * number of blocks if none is; lsm_table_hand_on loads the blocks of `to` that hold the
 * keys of that block, as hot ones and at most `bytes_max` bytes, and returns the bytes
 * loaded; lsm_table_cool takes the block out of the cache. What cannot be read stays
 * cold. All inside the epoch. */
uint32_t lsm_table_block_count(const lsm_table *table);
uint32_t lsm_table_next_hot(lsm_table *table, uint32_t block);
uint64_t lsm_table_hand_on(const lsm_table *from, uint32_t block, lsm_table *to,
                           uint64_t bytes_max);
/* Returns the bytes that its place in the file takes. */
uint64_t lsm_table_cool(lsm_table *table, uint32_t block);

/* A block that is to come into the cache before anybody asks for it. */
typedef struct lsm_warm_block {
    uint32_t table; /* for the caller */
    uint32_t block;
    uint8_t heat; /* as table/cache.h has it; above 0 */
} lsm_warm_block;

/* The reading of a run of them, and what came of it. */
typedef struct lsm_warming {
    lsm_buf *buffer;      /* in: scratch; borrowed */
    uint64_t bytes_max;   /* in: of blocks, in the file */
    uint64_t bytes;       /* out: of those in the cache now */
    uint64_t block_count; /* out: of those read for it */
    uint8_t refused; /* out: the heat of one that the cache had no room for, or 0 */
    bool cut;        /* out: bytes_max was too little for all of them */
} lsm_warming;

/* In table_warm.c. heats[i] becomes the heat of block first + i. */
void lsm_table_heats(lsm_table *table, uint32_t first, uint32_t count, uint8_t *heats);
/* The bytes of the file that the blocks [first, end) take. */
uint64_t lsm_table_span(const lsm_table *table, uint32_t first, uint32_t end);
/* The blocks [*first, *end) may hold keys of the range of stored keys. */
void lsm_table_blocks_of(const lsm_table *table, lsm_slice start, lsm_slice stop,
                         uint32_t *first, uint32_t *end);
/* How many of the blocks, ascending, one read takes in; all, if none is to be read. */
size_t lsm_table_warm_run(const lsm_table *table, const lsm_warm_block *blocks,
                          size_t count);
/* Reads the blocks of one run into the cache. What is damaged, or no block of the
 * table, stays cold: only a read that fails, or memory, is an error. */
lsmkv_status lsm_table_warm(lsm_table *table, const lsm_warm_block *blocks,
                            size_t count, lsm_warming *warming,
                            lsmkv_error *err) LSM_MUST_CHECK;
/* The block if it is in the cache, else NULL; not counted as a read. Inside the epoch,
 * and valid there. */
const lsm_block *lsm_table_cached(lsm_table *table, uint32_t block);

/* How an iterator reads. */
typedef enum lsm_table_access {
    LSM_ACCESS_CACHED, /* through the cache; after a few blocks in sequence it reads
                          ahead in larger pieces without filling the cache */
    LSM_ACCESS_SCAN,   /* compaction: large reads of its own, the cache untouched; needs
                          no epoch */
} lsm_table_access;

/* Holds a reference to the table. NULL: no memory. */
lsm_iter *lsm_table_iter(lsm_table *table, lsm_table_access access);

/* Reads the whole file and checks it: every byte is under a checksum that holds, keys
 * ascend inside [smallest, largest], the index separates them, every key is in the
 * filter and found by its block's hash index, counts agree. Calls on_problem for each
 * finding and goes on where it can. Adds to *report. */
void lsm_table_verify(lsm_table *table, lsmkv_problem_fn on_problem, void *context,
                      lsmkv_report *report);

#endif
