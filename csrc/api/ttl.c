/* SPDX-License-Identifier: Apache-2.0
 *
 * How long values have to live: asking, and giving them other times. Both look at the
 * newest version of a key; a touch writes it back unless another one has come.
 */
#include "include/lsmkv.h"

#include "api/calls.h"
#include "api/checks.h"
#include "api/skey.h"
#include "base/mutant.h"

/* The newest visible version of a key, copied. */
typedef struct seen_version {
    uint64_t sequence;
    int64_t left_ms; /* -1: it never expires */
    lsm_buf value;   /* owned; empty unless asked for */
    bool cached;     /* it lies in a cache: at `pointer`, not in `value` */
    lsm_pointer pointer;
} seen_version;

/* Copies the value of a version that is visible in `state`. */
static lsmkv_status copy_value(const lsm_readstate *state, const lsm_found *found,
                               bool nonblocking, lsm_buf *to, lsmkv_error *err) {
    uint8_t tag = lsm_trailer_tag(found->trailer);
    lsm_value value = {.bytes = lsm_value_of_field(tag, found->field)};
    lsmkv_status status = LSMKV_OK;

    if (lsm_tag_kind(tag) == LSM_KIND_POINTER) {
        status = lsm_db_follow(state, found, nonblocking, to, &value, err);
    }
    if (status == LSMKV_OK && to->size == 0 &&
        !lsm_buf_append(to, value.bytes.data, value.bytes.size)) {
        status = lsm_fail_memory(err, value.bytes.size);
    }
    return status;
}

/* Whether a value of a cache is there; where it is. */
static lsmkv_status look_at_cached(const lsm_readstate *state, const lsm_found *found,
                                   bool nonblocking, seen_version *seen,
                                   lsmkv_error *err) {
    lsm_value value;

    seen->cached = true;
    seen->pointer = lsm_pointer_of_field(lsm_trailer_tag(found->trailer), found->field);
    return lsm_db_follow(state, found, nonblocking, &seen->value, &value, err);
}

/* OK, NOT_FOUND, WOULD_BLOCK or an error. */
static lsmkv_status look_at_once(lsmkv_db *db, const lsmkv_read *read, lsm_slice skey,
                                 bool with_value, seen_version *seen,
                                 lsmkv_error *err) {
    lsm_epoch_token token;
    lsm_found found;
    lsmkv_status status = lsm_db_enter(db, &token, err);
    if (status != LSMKV_OK) {
        return status;
    }
    bool nonblocking = read != NULL && read->nonblocking;
    lsm_readstate *state = lsm_read_state(db, read);
    lsm_lookup lookup = lsm_lookup_make(skey, lsm_read_sequence(db, read));
    status = lsm_db_find(db, &lookup, nonblocking, state, &found, err);
    uint64_t now_ms = lsm_clock_now_ms(&db->clock);
    uint64_t end = 0;
    if (status == LSMKV_OK) {
        end = lsm_found_end(&found, read != NULL && read->stale);
        bool shows = end > now_ms || LSM_MUTANT(TOUCH_REVIVES_EXPIRED);
        status = shows ? LSMKV_OK : LSMKV_NOT_FOUND;
    }
    if (status == LSMKV_OK) {
        seen->sequence = lsm_trailer_sequence(found.trailer);
        seen->left_ms = lsm_time_left(end, now_ms);
        lsm_buf_clear(&seen->value);
        uint8_t tag = lsm_trailer_tag(found.trailer);
        seen->cached = false;
        if (LSM_UNLIKELY(lsm_tag_kind(tag) == LSM_KIND_CACHED)) {
            status = look_at_cached(state, &found, nonblocking, seen, err);
        } else if (with_value) {
            status = copy_value(state, &found, nonblocking, &seen->value, err);
        }
    }
    lsm_epoch_leave(token);
    return status;
}

static lsmkv_status look_at(lsmkv_db *db, const lsmkv_read *read, lsm_slice skey,
                            bool with_value, seen_version *seen, lsmkv_error *err) {
    lsmkv_error failure;
    lsmkv_error *to = err != NULL ? err : &failure;
    lsmkv_status status;
    bool tried = false;

    do {
        status = look_at_once(db, read, skey, with_value, seen, to);
    } while (lsm_db_again(db, status, to, &tried));
    return status;
}

static lsmkv_status ttl_once(lsmkv_db *db, const lsmkv_read *read, lsmkv_bytes key,
                             int64_t *ttl_ms, lsmkv_error *err) {
    lsm_skey skey;
    seen_version seen = {0};

    *ttl_ms = 0;
    lsmkv_status status = lsm_check_read(db, read, err);
    if (status == LSMKV_OK) {
        status = lsm_skey_init(&skey, lsm_read_space(read), key, err);
    }
    if (status != LSMKV_OK) {
        return status;
    }
    status = look_at(db, read, skey.skey, false, &seen, err);
    if (status == LSMKV_OK) {
        *ttl_ms = seen.left_ms;
    }
    lsm_buf_deinit(&seen.value);
    lsm_skey_deinit(&skey);
    return status;
}

lsmkv_status lsmkv_ttl(lsmkv_db *db, const lsmkv_read *read, lsmkv_bytes key,
                       int64_t *ttl_ms, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    const lsm_meaning *mark;
    lsmkv_status status;

    do {
        mark = lsm_read_mark(read);
        status = ttl_once(db, read, key, ttl_ms, err);
    } while (lsm_read_was_too_late(read, status, mark));
    return status;
}

/* One attempt: reads the value and writes it back unless it has changed in between.
 * *again: it has. */
static lsmkv_status touch_once(lsmkv_db *db, const lsmkv_write *how, lsm_slice skey,
                               seen_version *seen, bool *again, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_read read = {.nonblocking = how != NULL && how->nonblocking};
    lsmkv_bytes key = {skey.data + LSM_NAMESPACE_SIZE, skey.size - LSM_NAMESPACE_SIZE};
    lsm_write_how resolved = lsm_resolve_how(db, how);
    lsm_batch batch;

    *again = false;
    lsm_batch_init(&batch);
    batch.threshold = lsm_db_blob_threshold(db);
    LSM_TRY(look_at(db, &read, skey, true, seen, err));
    lsm_condition condition = {.skey = skey, .sequence = seen->sequence};
    resolved.condition = &condition;
    if (LSM_UNLIKELY(seen->cached)) {
        LSM_TRY(lsm_touch_cached(&batch, how, key, &seen->pointer, err));
    } else {
        LSM_TRY(lsm_batch_add_put(
            &batch, how, key, (lsmkv_bytes){seen->value.data, seen->value.size}, err));
    }
    status = lsm_write_as(db, resolved, &batch, err);
    *again = status == LSMKV_NOT_FOUND;
out:
    lsm_batch_deinit(&batch);
    return status;
}

lsmkv_status lsmkv_touch(lsmkv_db *db, const lsmkv_write *how, lsmkv_bytes key,
                         lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    seen_version seen = {0};
    lsm_skey skey;
    bool again = true;

    lsmkv_status status = lsm_check_write(db, how, err);
    if (status == LSMKV_OK) {
        status = lsm_skey_init(&skey, lsm_write_space(how), key, err);
    }
    if (status != LSMKV_OK) {
        return status;
    }
    while (again) {
        status = touch_once(db, how, skey.skey, &seen, &again, err);
    }
    lsm_buf_deinit(&seen.value);
    lsm_skey_deinit(&skey);
    return status;
}
