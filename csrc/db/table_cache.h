/* SPDX-License-Identifier: Apache-2.0
 *
 * Which tables are open. A live table is opened at its first use and keeps its handle
 * until more than max_open_files tables are open; then a CLOCK over the open ones
 * closes one that was not used lately. A hit is two loads and takes no lock.
 *
 * Filters and indexes of open tables and the blocks of the block cache share one
 * budget: the block cache gets what the open tables leave of it, at least a quarter.
 */
#ifndef LSM_DB_TABLE_CACHE_H
#define LSM_DB_TABLE_CACHE_H

#include "db/version.h"
#include "env/sync.h"

typedef struct lsm_table_cache {
    lsm_table_context context; /* constant after init */
    lsm_epoch *epoch;          /* constant after init; borrowed */
    uint32_t open_max;         /* constant after init */
    uint64_t budget; /* constant after init; 0: the block cache keeps its size */
    lsm_mutex mu;
    lsm_list open LSM_GUARDED_BY(mu); /* lsm_live_table.open_link; the CLOCK */
    uint32_t open_count LSM_GUARDED_BY(mu);
    _Atomic uint64_t charge;  /* memory of the open tables */
    _Atomic uint64_t filters; /* that of their filters, in it */
} lsm_table_cache;

void lsm_table_cache_init(lsm_table_cache *cache, const lsm_table_context *context,
                          lsm_epoch *epoch, uint32_t open_max, uint64_t budget);
void lsm_table_cache_deinit(lsm_table_cache *cache); /* all tables were dropped */

/* The open table, valid inside the caller's epoch (take a reference to keep it longer).
 * WOULD_BLOCK when it is not open and nonblocking is set. Out of file descriptors
 * (EMFILE, ENFILE), other tables are closed and it is tried once more. */
lsmkv_status lsm_table_cache_get(lsm_table_cache *cache, lsm_live_table *live,
                                 bool nonblocking, lsm_table **tablep,
                                 lsmkv_error *err) LSM_MUST_CHECK;
/* A reference to the open table, for outside the epoch; NULL where it cannot be opened,
 * or with `only_open` is not open. */
lsm_table *lsm_table_cache_hold(lsm_table_cache *cache, lsm_live_table *live,
                                bool only_open) LSM_MUST_CHECK;
/* Closes one in `divisor` of the open tables, as soon as no reader inside the epoch can
 * hold them. */
void lsm_table_cache_relieve(lsm_table_cache *cache, uint32_t divisor);
/* Forgets a table that is going away (before lsm_live_table_destroy). */
void lsm_table_cache_forget(lsm_table_cache *cache, lsm_live_table *live);
uint32_t lsm_table_cache_open_count(lsm_table_cache *cache);

#endif
