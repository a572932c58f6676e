/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening tables at their first use and closing them again.
 *
 *   hit    load live->handle; note that it was used
 *   miss   open the file without the lock, then publish the table under it; of several
 *          threads that open the same one, the first to publish wins
 *   evict  take the handle out of the live table, then retire it: readers that loaded
 *          it are still inside the epoch. Retiring may run release functions, so it is
 *          done without the lock
 *
 * The list is the CLOCK's circle, cut open at the hand: the hand looks at the first
 * table and moves it to the end if it was used since it was last there. Being opened is
 * no use yet, so tables read once go before those read again.
 *
 * When descriptors run out, a quarter of the open tables is closed. Their files stay
 * open for as long as readers who may hold them are inside the epoch, the caller
 * included, so the second try finds what earlier retirements have freed by then. If
 * that is not enough the caller leaves the epoch and tries again (lsm_db_relieve).
 */
#include "db/table_cache.h"

#include "base/assert.h"
#include "base/budget.h"

enum {
    RELIEF_DIVISOR = 4,
    BLOCKS_DIVISOR = 4, /* the block cache's part of the budget at least */
    TABLES_PART = 4,    /* of the memory of an untrusted database, for open tables */
};

void lsm_table_cache_init(lsm_table_cache *cache, const lsm_table_context *context,
                          lsm_epoch *epoch, uint32_t open_max,
                          uint64_t budget) LSM_UNSHARED {
    cache->context = *context;
    cache->epoch = epoch;
    cache->open_max = open_max;
    cache->budget = budget;
    lsm_mutex_init(&cache->mu);
    lsm_list_init(&cache->open);
    cache->open_count = 0;
    atomic_init(&cache->charge, 0);
    atomic_init(&cache->filters, 0);
}

void lsm_table_cache_deinit(lsm_table_cache *cache) LSM_UNSHARED {
    LSM_ASSERT(lsm_list_empty(&cache->open));
    LSM_ASSERT(cache->open_count == 0);
    lsm_mutex_deinit(&cache->mu);
}

/* Takes a table off the list; its handle is for the caller to see to. */
static void unlist_locked(lsm_table_cache *cache, lsm_live_table *live)
    LSM_REQUIRES(cache->mu) {
    /* relaxed: handles of listed tables change under the mutex only. */
    lsm_table *table = atomic_load_explicit(&live->handle, memory_order_relaxed);

    lsm_list_remove(&live->open_link);
    live->listed = false;
    cache->open_count--;
    atomic_fetch_sub_explicit(&cache->charge, lsm_table_charge(table),
                              memory_order_relaxed);
    atomic_fetch_sub_explicit(&cache->filters, lsm_table_filter_charge(table),
                              memory_order_relaxed);
}

/* Gives the live table its handle, or, if another thread was first, returns that one's
 * and leaves ours alone. */
static lsm_table *publish(lsm_table_cache *cache, lsm_live_table *live,
                          lsm_table *table) {
    lsm_mutex_lock(&cache->mu);
    lsm_table *first = atomic_load_explicit(&live->handle, memory_order_relaxed);
    if (first == NULL) {
        first = table;
        atomic_store_explicit(&live->used, false, memory_order_relaxed);
        /* release: pairs with the acquire of lsm_table_cache_get. */
        atomic_store_explicit(&live->handle, table, memory_order_release);
        lsm_list_insert(&cache->open, &live->open_link);
        live->listed = true;
        cache->open_count++;
        atomic_fetch_add_explicit(&cache->charge, lsm_table_charge(table),
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&cache->filters, lsm_table_filter_charge(table),
                                  memory_order_relaxed);
    }
    lsm_mutex_unlock(&cache->mu);
    return first;
}

/* Moves the hand to a table that was not used lately and takes its handle. Each table
 * passed loses its mark, so the second round finds one. NULL when at most `keep` are
 * open. */
static lsm_table *take_victim(lsm_table_cache *cache, uint32_t keep) {
    lsm_table *table = NULL;

    lsm_mutex_lock(&cache->mu);
    while (table == NULL && cache->open_count > keep) {
        lsm_live_table *live =
            LSM_CONTAINER_OF(cache->open.next, lsm_live_table, open_link);
        if (atomic_exchange_explicit(&live->used, false, memory_order_relaxed)) {
            lsm_list_remove(&live->open_link);
            lsm_list_insert(&cache->open, &live->open_link);
            continue;
        }
        unlist_locked(cache, live);
        /* acq_rel: readers who miss the table from here on see the list without it. */
        table = atomic_exchange_explicit(&live->handle, NULL, memory_order_acq_rel);
    }
    lsm_mutex_unlock(&cache->mu);
    return table;
}

static void evict_down_to(lsm_table_cache *cache, uint32_t keep) {
    lsm_table *table = take_victim(cache, keep);

    while (table != NULL) {
        lsm_table_retire(table, cache->epoch);
        table = take_victim(cache, keep);
    }
}

/* Gives the block cache what the open tables leave. */
static void share_budget(lsm_table_cache *cache) {
    uint64_t charge = atomic_load_explicit(&cache->charge, memory_order_relaxed);
    uint64_t tables_max = cache->budget - cache->budget / BLOCKS_DIVISOR;

    if (cache->budget != 0) {
        lsm_cache_set_capacity(
            cache->context.cache,
            cache->budget - (charge < tables_max ? charge : tables_max));
    }
}

void lsm_table_cache_relieve(lsm_table_cache *cache, uint32_t divisor) {
    uint32_t open = lsm_table_cache_open_count(cache);
    evict_down_to(cache, open - open / divisor);
    (void)lsm_epoch_poll(cache->epoch);
}

/* How many tables may be open with one more of that size: as many as there are
 * descriptors for; of an untrusted database, only as many as its budget has room for,
 * which is told from the tables that are open. */
static uint32_t open_most(lsm_table_cache *cache, uint64_t more) {
    uint64_t charge = more + atomic_load_explicit(&cache->charge, memory_order_relaxed);
    uint64_t open = (uint64_t)lsm_table_cache_open_count(cache) + 1;

    if (LSM_LIKELY(!lsm_is_limited())) {
        return cache->open_max;
    }
    uint64_t room = lsm_budget_current->max / TABLES_PART;
    uint64_t most = charge > room ? open * room / charge : open;
    most = most == 0 ? 1 : most;
    return most < cache->open_max ? (uint32_t)most : cache->open_max;
}

/* Opens the file; out of descriptors, closes others and tries once more. */
static lsmkv_status open_table(lsm_table_cache *cache, const lsm_live_table *live,
                               lsm_table **tablep, lsmkv_error *err) {
    lsmkv_error local;
    lsmkv_status status = LSMKV_OK;

    lsm_error_clear(&local);
    status = lsm_table_open(&cache->context, &live->info, tablep, &local);
    if (status == LSMKV_IO_ERROR && lsm_error_is_file_limit(&local)) {
        lsm_table_cache_relieve(cache, RELIEF_DIVISOR);
        status = lsm_table_open(&cache->context, &live->info, tablep, &local);
    }
    return status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &local);
}

static LSM_NOINLINE lsmkv_status get_closed(lsm_table_cache *cache,
                                            lsm_live_table *live, lsm_table **tablep,
                                            lsmkv_error *err) {
    lsm_table *table = NULL;
    lsmkv_status status = open_table(cache, live, &table, err);

    if (status != LSMKV_OK) {
        return status;
    }
    /* Room is made first, so that the new table cannot be its own victim; threads that
     * open others at the same time may have used it up. */
    evict_down_to(cache, open_most(cache, lsm_table_charge(table)) - 1);
    *tablep = publish(cache, live, table);
    evict_down_to(cache, cache->open_max);
    if (*tablep != table) {
        lsm_table_unref(table); /* nobody else has seen it */
    }
    share_budget(cache);
    return LSMKV_OK;
}

lsmkv_status lsm_table_cache_get(lsm_table_cache *cache, lsm_live_table *live,
                                 bool nonblocking, lsm_table **tablep,
                                 lsmkv_error *err) {
    /* acquire: pairs with the release of publish, so the open table is complete. */
    lsm_table *table = atomic_load_explicit(&live->handle, memory_order_acquire);

    *tablep = table;
    if (LSM_LIKELY(table != NULL)) {
        /* Written only when it changes, so that a hot table's line stays shared. */
        if (!atomic_load_explicit(&live->used, memory_order_relaxed)) {
            atomic_store_explicit(&live->used, true, memory_order_relaxed);
        }
        return LSMKV_OK;
    }
    return nonblocking ? LSMKV_WOULD_BLOCK : get_closed(cache, live, tablep, err);
}

lsm_table *lsm_table_cache_hold(lsm_table_cache *cache, lsm_live_table *live,
                                bool only_open) {
    lsm_table *table = NULL;
    lsm_epoch_token token = lsm_epoch_enter(cache->epoch);

    if (lsm_table_cache_get(cache, live, only_open, &table, NULL) == LSMKV_OK) {
        lsm_table_ref(table);
    } else {
        table = NULL;
    }
    lsm_epoch_leave(token);
    return table;
}

void lsm_table_cache_forget(lsm_table_cache *cache, lsm_live_table *live) {
    lsm_mutex_lock(&cache->mu);
    if (live->listed) {
        unlist_locked(cache, live);
    }
    lsm_mutex_unlock(&cache->mu);
    share_budget(cache);
}

uint32_t lsm_table_cache_open_count(lsm_table_cache *cache) {
    lsm_mutex_lock(&cache->mu);
    uint32_t count = cache->open_count;
    lsm_mutex_unlock(&cache->mu);
    return count;
}
