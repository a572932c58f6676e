/* SPDX-License-Identifier: Apache-2.0
 *
 * Warm starts. What a database has in memory is written down in its hot list
 * (format/hotlist.h) every few minutes and at the end (hot_save.c); a later opening
 * reads it back, or all that lies under a range of keys (warm.c). Both are done in
 * steps, by a thread, by whoever calls, or by the simulator.
 *
 * Saving: the slots of every open table tell its cached blocks and their heat, the
 * bitmap of every mapped segment, those of caches included, the values that were read.
 * The list is renamed into its place, and not synced: a crash may leave any bytes
 * there. A list with the same contents is not written again, and in its first minutes a
 * database does not replace a list by a shorter one: a glance at the data says nothing
 * about its use.
 *
 * Loading: the list is gone through from its hottest end, a chunk at a time.
 *   1. the blocks of the chunk are sorted by table and place, and read in runs
 *   2. the pointers in those blocks that lead to listed values, are sorted by segment
 *      and offset; the values are read in runs and checked against the pointers
 * So the list is believed of nothing but what to read. What it names and is no longer
 * there is passed over; that compactions hand heat on makes the next list better.
 * Blocks take free room in the cache, or that of colder ones (table/cache.h). While
 * others read from files, every second turn is theirs.
 */
#ifndef LSM_DB_WARM_H
#define LSM_DB_WARM_H

#include "db/db.h"
#include "format/hotlist.h"

/* The numbers of the tables of a version, ascending. */
typedef struct lsm_numbers {
    uint64_t *list; /* owned */
    size_t count;
} lsm_numbers;

/* false: no memory. */
bool lsm_numbers_init(lsm_numbers *numbers, const lsm_version *version) LSM_MUST_CHECK;
void lsm_numbers_sort(lsm_numbers *numbers);
void lsm_numbers_deinit(lsm_numbers *numbers); /* zeroed is fine */
/* SIZE_MAX: it is not among them. */
size_t lsm_numbers_find(const lsm_numbers *numbers, uint64_t number);

/* The present version, held for as long as a step takes: what it is the last to hold
 * would stay on the disk. */
lsm_version *lsm_warm_hold(lsmkv_db *db);
void lsm_warm_let_go(lsmkv_db *db, lsm_version *version);

/* Reads the hot list into `file` and answers its groups, borrowed from that. NOT_FOUND
 * without one. */
lsmkv_status lsm_hotlist_read(lsmkv_db *db, lsm_buf *file, lsm_slice *groups,
                              lsmkv_error *err) LSM_MUST_CHECK;
/* The bytes of what it lists and the version still has. */
uint64_t lsm_hotlist_live_bytes(lsm_slice groups, const lsm_version *version,
                                const lsm_numbers *tables);

typedef struct lsm_hot_save lsm_hot_save;

/* Used by one thread at a time. NULL: no memory. */
lsm_hot_save *lsm_hot_save_start(lsmkv_db *db);
/* false: it is done, however that went. */
bool lsm_hot_save_step(lsm_hot_save *save);
void lsm_hot_save_end(lsm_hot_save *save); /* NULL is fine */

typedef struct lsm_warm lsm_warm;

/* What is to be read. */
typedef struct lsm_warm_plan {
    const lsm_key_range *range; /* stored keys of one namespace, the end exclusive;
                                   NULL: all that is listed, of whatever namespace */
    bool listed;                /* of the range, too, only what is listed */
    uint64_t budget;            /* bytes; 0: what the block cache may hold */
} lsm_warm_plan;

lsmkv_status lsm_warm_create(lsmkv_db *db, const lsm_warm_plan *plan, lsm_warm **warmp,
                             lsmkv_error *err) LSM_MUST_CHECK;
/* Reads one run, or plans the next ones. *done once nothing is left. */
lsmkv_status lsm_warm_step(lsm_warm *warm, bool *done, lsmkv_error *err) LSM_MUST_CHECK;
const lsmkv_warm_report *lsm_warm_report(const lsm_warm *warm);
/* Lets others read first, if any do. */
void lsm_warm_yield(lsm_warm *warm);
void lsm_warm_destroy(lsm_warm *warm); /* NULL is fine */

#endif
