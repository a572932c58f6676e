/* SPDX-License-Identifier: Apache-2.0
 *
 * The public calls on namespaces that are caches.
 */
#include "api/checks.h"

#include "db/cache_space.h"

/* Key and namespace as they are stored, in an empty buffer. */
static lsmkv_status make_skey(lsm_buf *skey, uint32_t id, lsmkv_bytes key,
                              lsmkv_error *err) {
    uint8_t head[LSM_NAMESPACE_SIZE];

    if (key.size > LSMKV_KEY_SIZE_MAX) {
        return lsm_fail(err, LSMKV_LIMIT_EXCEEDED, "key of %zu bytes: at most %d",
                        key.size, LSMKV_KEY_SIZE_MAX);
    }
    lsm_put_u32_be(head, id);
    return lsm_buf_append(skey, head, sizeof(head)) &&
                   lsm_buf_append(skey, key.data, key.size)
               ? LSMKV_OK
               : lsm_fail_memory(err, key.size);
}

/* Inside lsm_db_begin. */
static lsmkv_status put_value(lsmkv_db *db, const lsmkv_write *how, lsmkv_bytes key,
                              lsmkv_bytes value, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_space *space = how->space->space;
    lsm_write_how resolved = lsm_resolve_how(db, how);
    lsm_cache_value what = {.value = lsm_slice_make(value.data, value.size)};
    lsm_condition condition;
    lsm_times times;
    lsm_pointer pointer;
    lsm_buf skey = {0};
    lsm_batch batch;

    lsm_batch_init(&batch);
    LSM_TRY(lsm_resolve_times(how, &times, err));
    LSM_TRY(make_skey(&skey, space->id, key, err));
    LSM_TRY(lsm_cache_check((uint64_t)atomic_load(&space->max_bytes), key.size,
                            value.size, err));
    what.skey = lsm_buf_slice(&skey);
    LSM_TRY(lsm_cache_write(db, space->cache, &what, &pointer, err));
    LSM_TRY(lsm_batch_put_cached(&batch, space->id, &times, key, &pointer, err));
    if (how->since != NULL) {
        condition = (lsm_condition){what.skey, how->since->sequence, true};
        resolved.condition = &condition;
    }
    status = lsm_db_write(db, &batch, resolved, err);
out:
    lsm_batch_deinit(&batch);
    lsm_buf_deinit(&skey);
    return status;
}

lsmkv_status lsm_put_cached(lsmkv_db *db, const lsmkv_write *how, lsmkv_bytes key,
                            lsmkv_bytes value, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    if (how->since != NULL && how->since->db != db) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "the snapshot belongs to another database");
    }
    if (how->nonblocking) {
        return LSMKV_WOULD_BLOCK; /* it writes to a file */
    }
    LSM_TRY(lsm_db_begin(db, err));
    status = put_value(db, how, key, value, err);
    lsm_db_end(db);
out:
    return status;
}

lsmkv_status lsm_touch_cached(lsm_batch *batch, const lsmkv_write *how, lsmkv_bytes key,
                              const lsm_pointer *pointer, lsmkv_error *err) {
    lsm_times times;
    lsmkv_status status = lsm_resolve_times(how, &times, err);

    return status == LSMKV_OK ? lsm_batch_put_cached(batch, lsm_write_space(how),
                                                     &times, key, pointer, err)
                              : status;
}

static lsmkv_status check_cache(lsmkv_db *db, const lsmkv_namespace *space,
                                lsmkv_error *err) {
    lsmkv_status status = lsm_check_space(db, space, err);

    if (status == LSMKV_OK && space->space->cache == NULL) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "the namespace is no cache: it was made without max_bytes");
    }
    return status;
}

lsmkv_status lsmkv_cache_pin(lsmkv_db *db, const lsmkv_namespace *space,
                             const lsmkv_bytes *keys, size_t count, bool pins,
                             lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_status status = LSMKV_OK;
    lsm_pin_request request = {
        .cache = space->space->cache, .keys = keys, .count = count, .unpins = !pins};

    LSM_TRY(check_cache(db, space, err));
    LSM_TRY(lsm_db_begin(db, err));
    status = lsm_cache_change_pins(db, &request, err);
    lsm_db_end(db);
out:
    return status;
}

lsmkv_status lsmkv_get_cache_stats(lsmkv_db *db, const lsmkv_namespace *space,
                                   lsmkv_cache_stats *stats, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_status status = LSMKV_OK;

    *stats = (lsmkv_cache_stats){0};
    LSM_TRY(check_cache(db, space, err));
    LSM_TRY(lsm_db_begin(db, err));
    lsm_cache_describe(db, space->space->cache, stats);
    lsm_db_end(db);
out:
    return status;
}
