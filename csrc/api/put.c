/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing: every call makes a batch, and says how to commit it.
 */
#include "include/lsmkv.h"

#include "api/calls.h"
#include "api/checks.h"
#include "api/skey.h"
#include "base/alloc.h"
#include "db/cache_space.h"

/* The size from which values of a namespace are large. */
static size_t threshold_of(const lsmkv_namespace *space) {
    int64_t own = atomic_load(&space->space->blob_threshold_bytes);
    if (space->space->cache != NULL) {
        return SIZE_MAX; /* it goes to the cache when the batch is written */
    }
    if (own < 0) {
        return lsm_db_blob_threshold(space->db);
    }
    return own == 0 ? SIZE_MAX : (size_t)own;
}

/* Whether a cache takes a value, to be placed when the batch is written. */
static lsmkv_status note_cached(lsm_batch *batch, const lsm_space *space,
                                lsmkv_bytes key, lsmkv_bytes value, lsmkv_error *err) {
    if (LSM_LIKELY(space->cache == NULL)) {
        return LSMKV_OK;
    }
    batch->caches = true;
    return lsm_cache_check((uint64_t)atomic_load(&space->max_bytes), key.size,
                           value.size, err);
}

/* Adds a put to a batch, in the default namespace or, by its rules, in another. */
static lsmkv_status add_timed(lsm_batch *batch, const lsmkv_namespace *space,
                              const lsm_times *times, lsmkv_bytes key,
                              lsmkv_bytes value, lsmkv_error *err) {
    uint32_t namespace_id = space != NULL ? space->space->id : LSM_NAMESPACE_DEFAULT;
    size_t threshold = batch->threshold;

    if (LSM_UNLIKELY(space != NULL)) {
        if (note_cached(batch, space->space, key, value, err) != LSMKV_OK) {
            return LSMKV_LIMIT_EXCEEDED;
        }
        batch->threshold = threshold_of(space);
    }
    lsmkv_status status =
        LSM_LIKELY(times->ttl_ms == 0 && times->expire_at == 0)
            ? lsm_batch_put(batch, namespace_id, key, value, err)
            : lsm_batch_put_timed(batch, namespace_id, times, key, value, err);
    batch->threshold = threshold;
    return status;
}

lsmkv_status lsm_batch_add_put(lsm_batch *batch, const lsmkv_write *how,
                               lsmkv_bytes key, lsmkv_bytes value, lsmkv_error *err) {
    lsm_times times;
    lsmkv_status status = lsm_resolve_times(how, &times, err);

    return status == LSMKV_OK ? add_timed(batch, how == NULL ? NULL : how->space,
                                          &times, key, value, err)
                              : status;
}

lsmkv_status lsm_write_as(lsmkv_db *db, lsm_write_how resolved, lsm_batch *batch,
                          lsmkv_error *err) {
    if (resolved.sync && resolved.nonblocking) {
        return LSMKV_WOULD_BLOCK; /* a sync always waits */
    }
    size_t weight = resolved.sync ? LSM_LATENCY_SLOW : 1;
    uint64_t begun = lsm_latency_begin(&db->latencies, weight);
    lsmkv_status status = lsm_db_write(db, batch, resolved, err);
    if (status == LSMKV_OK) {
        lsm_latency_end(&db->latencies, LSMKV_LATENCY_WRITE, begun, weight);
    }
    return status;
}

/* Writes the batch of one put unless the key has changed since how->since. */
static LSM_NOINLINE lsmkv_status write_since(lsmkv_db *db, const lsmkv_write *how,
                                             lsmkv_bytes key, lsm_batch *batch,
                                             lsmkv_error *err) {
    lsm_write_how resolved = lsm_resolve_how(db, how);
    lsm_skey skey;

    if (how->since->db != db) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "the snapshot belongs to another database");
    }
    lsmkv_status status = lsm_skey_init(&skey, lsm_write_space(how), key, err);
    if (status != LSMKV_OK) {
        return status;
    }
    lsm_condition condition = {
        .skey = skey.skey, .sequence = how->since->sequence, .or_older = true};
    resolved.condition = &condition;
    status = lsm_write_as(db, resolved, batch, err);
    lsm_skey_deinit(&skey);
    return status;
}

lsmkv_status lsmkv_put(lsmkv_db *db, const lsmkv_write *how, lsmkv_bytes key,
                       lsmkv_bytes value, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsm_batch batch;
    lsm_batch_init(&batch);
    batch.threshold = lsm_db_blob_threshold(db);
    lsmkv_status status = lsm_check_write(db, how, err);
    if (status == LSMKV_OK && LSM_UNLIKELY(how != NULL && how->space != NULL) &&
        how->space->space->cache != NULL) {
        return lsm_put_cached(db, how, key, value, err);
    }
    if (status == LSMKV_OK) {
        status = lsm_batch_add_put(&batch, how, key, value, err);
    }
    if (status == LSMKV_OK) {
        status = LSM_UNLIKELY(how != NULL && how->since != NULL)
                     ? write_since(db, how, key, &batch, err)
                     : lsm_write_as(db, lsm_resolve_how(db, how), &batch, err);
    }
    lsm_batch_deinit(&batch);
    return status;
}

lsmkv_status lsmkv_delete(lsmkv_db *db, const lsmkv_write *how, lsmkv_bytes key,
                          lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsm_batch batch;
    lsm_batch_init(&batch);
    lsmkv_status status = lsm_check_write(db, how, err);
    if (status == LSMKV_OK) {
        status = lsm_batch_delete(&batch, lsm_write_space(how), key, err);
    }
    if (status == LSMKV_OK) {
        status = lsm_write_as(db, lsm_resolve_how(db, how), &batch, err);
    }
    lsm_batch_deinit(&batch);
    return status;
}

lsmkv_status lsm_write_any(lsmkv_db *db, const lsmkv_write *how, lsm_batch *batch,
                           lsmkv_error *err) {
    if (batch->count == 0) {
        /* Nothing to commit, but the call still answers for the handle's state, and a
         * sync for all that came before. */
        lsm_write_how resolved = lsm_resolve_how(db, how);
        if (resolved.sync) {
            return resolved.nonblocking ? LSMKV_WOULD_BLOCK : lsmkv_sync(db, err);
        }
        lsmkv_status status = lsm_db_begin(db, err);
        if (status == LSMKV_OK) {
            lsm_db_end(db);
        }
        return status;
    }
    return lsm_write_as(db, lsm_resolve_how(db, how), batch, err);
}

lsmkv_status lsmkv_delete_range(lsmkv_db *db, const lsmkv_write *how,
                                const lsmkv_range *range, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsm_batch batch;
    lsm_batch_init(&batch);
    lsmkv_status status = lsm_check_write(db, how, err);
    if (status == LSMKV_OK) {
        status = lsm_batch_delete_range(&batch, lsm_write_space(how), range, err);
    }
    if (status == LSMKV_OK) {
        status = lsm_write_any(db, how, &batch, err);
    }
    lsm_batch_deinit(&batch);
    return status;
}

lsmkv_status lsmkv_write_batch(lsmkv_db *db, const lsmkv_write *how, lsmkv_batch *batch,
                               lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    if (batch->instance != 0 && batch->instance != db->instance) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "the batch names a namespace of another database");
    }
    return lsm_write_any(db, how, &batch->inner, err);
}

lsmkv_status lsmkv_batch_create(lsmkv_batch **batchp, lsmkv_error *err) {
    *batchp = lsm_alloc(sizeof(**batchp));
    if (*batchp == NULL) {
        return lsm_fail_memory(err, sizeof(**batchp));
    }
    lsm_batch_init(&(*batchp)->inner);
    /* What most databases ask for; for the others it is converted when it is written.
     */
    (*batchp)->inner.threshold = LSM_BLOB_THRESHOLD_DEFAULT;
    (*batchp)->instance = 0;
    return LSMKV_OK;
}

void lsmkv_batch_free(lsmkv_batch *batch) {
    if (batch != NULL) {
        lsm_batch_deinit(&batch->inner);
        lsm_free(batch);
    }
}

lsmkv_status lsm_batch_take_space(lsmkv_batch *batch, const lsmkv_write *how,
                                  lsmkv_error *err) {
    if (LSM_LIKELY(how == NULL || how->space == NULL)) {
        return LSMKV_OK;
    }
    if (LSM_UNLIKELY(how->space->space->sealed)) {
        return lsm_check_writable(how->space->db, how->space, err);
    }
    uint64_t instance = how->space->db->instance;
    if (batch->instance != 0 && batch->instance != instance) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "the batch names a namespace of another database");
    }
    batch->instance = instance;
    return LSMKV_OK;
}

lsmkv_status lsmkv_batch_put(lsmkv_batch *batch, const lsmkv_write *how,
                             lsmkv_bytes key, lsmkv_bytes value, lsmkv_error *err) {
    lsmkv_status status = lsm_batch_take_space(batch, how, err);
    return status == LSMKV_OK ? lsm_batch_add_put(&batch->inner, how, key, value, err)
                              : status;
}

lsmkv_status lsmkv_batch_delete(lsmkv_batch *batch, const lsmkv_write *how,
                                lsmkv_bytes key, lsmkv_error *err) {
    lsmkv_status status = lsm_batch_take_space(batch, how, err);
    return status == LSMKV_OK
               ? lsm_batch_delete(&batch->inner, lsm_write_space(how), key, err)
               : status;
}

lsmkv_status lsmkv_batch_delete_range(lsmkv_batch *batch, const lsmkv_write *how,
                                      const lsmkv_range *range, lsmkv_error *err) {
    lsmkv_status status = lsm_batch_take_space(batch, how, err);
    return status == LSMKV_OK
               ? lsm_batch_delete_range(&batch->inner, lsm_write_space(how), range, err)
               : status;
}

void lsmkv_batch_clear(lsmkv_batch *batch) {
    lsm_batch_clear(&batch->inner);
    batch->instance = 0;
}

size_t lsmkv_batch_count(const lsmkv_batch *batch) {
    return batch->inner.count;
}

size_t lsmkv_batch_bytes(const lsmkv_batch *batch) {
    return lsm_batch_payload_size(&batch->inner);
}
