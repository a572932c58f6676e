/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading single keys and many: check arguments, pass the gate, call db/, lend what is
 * found.
 */
#include "include/lsmkv.h"

#include "api/calls.h"
#include "api/checks.h"
#include "api/skey.h"
#include "base/alloc.h"
#include "base/mutant.h"

static void pin_make(lsmkv_pin *pin, lsm_epoch_token token, lsm_owned *memory) {
    pin->opaque[0] = (void *)(uintptr_t)token;
    pin->opaque[1] = memory;
}

void lsmkv_pin_release(lsmkv_pin *pin) {
    if (pin->opaque[0] != NULL) {
        lsm_epoch_leave((lsm_epoch_token)(uintptr_t)pin->opaque[0]);
        lsm_owned_free(pin->opaque[1]);
        *pin = (lsmkv_pin){0};
    }
}

/* Unless the lookup has no answer. */
static LSM_NOINLINE void count_miss(lsm_space_counters *counters, lsmkv_status status,
                                    const lsm_value *value) {
    if (status == LSMKV_NOT_FOUND) {
        lsm_count_misses(counters, 1, value->expired);
    }
}

/* Enters the epoch and looks a key up. On OK the epoch is the caller's to leave. */
static LSM_ALWAYS_INLINE lsmkv_status look_up_once(lsmkv_db *db, const lsmkv_read *read,
                                                   lsmkv_bytes key,
                                                   lsm_epoch_token *token,
                                                   lsm_value *value, lsmkv_error *err) {
    lsm_skey skey;
    lsm_space *space = lsm_space_of_read(db, read);

    lsmkv_status status = lsm_check_read(db, read, err);
    if (status == LSMKV_OK) {
        status = lsm_skey_init(&skey, lsm_read_space(read), key, err);
    }
    if (status != LSMKV_OK) {
        return status;
    }
    status = lsm_db_enter(db, token, err);
    if (status == LSMKV_OK) {
        lsm_readstate *state = lsm_read_state(db, read);
        lsm_lookup lookup = lsm_lookup_make(skey.skey, lsm_read_sequence(db, read));
        lookup.stale = read != NULL && read->stale;
        status = lsm_db_get(db, &lookup, read != NULL && read->nonblocking, state,
                            value, err);
        if (LSM_LIKELY(status == LSMKV_OK)) {
            lsm_space_count_hits(&space->counters, 1, value->bytes.size);
        } else {
            lsm_epoch_leave(*token);
            count_miss(&space->counters, status, value);
        }
    }
    lsm_skey_deinit(&skey);
    return status;
}

static lsmkv_status look_up(lsmkv_db *db, const lsmkv_read *read, lsmkv_bytes key,
                            lsm_epoch_token *token, lsm_value *value,
                            lsmkv_error *err) {
    lsmkv_error failure;
    lsmkv_error *to = err != NULL ? err : &failure;
    lsmkv_status status;
    const lsm_meaning *mark;
    bool tried = false;

    do {
        mark = lsm_read_mark(read);
        status = look_up_once(db, read, key, token, value, to);
    } while (lsm_db_again(db, status, to, &tried) ||
             lsm_read_was_too_late(read, status, mark));
    return status;
}

lsmkv_status lsmkv_get(lsmkv_db *db, const lsmkv_read *read, lsmkv_bytes key,
                       lsmkv_pin *pin, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsm_epoch_token token;
    lsm_value value;

    *pin = (lsmkv_pin){0};
    uint64_t begun = lsm_latency_begin(&db->latencies, 1);
    lsmkv_status status = look_up(db, read, key, &token, &value, err);
    if (status <= LSMKV_NOT_FOUND) {
        lsm_latency_end(&db->latencies, LSMKV_LATENCY_GET, begun, 1);
    }
    if (status == LSMKV_OK) {
        pin->value = (lsmkv_bytes){value.bytes.data, value.bytes.size};
        pin_make(pin, token, value.owned);
    }
    return status;
}

lsmkv_status lsmkv_get_entry(lsmkv_db *db, const lsmkv_read *read, lsmkv_bytes key,
                             lsmkv_entry *entry, lsmkv_pin *pin, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsm_epoch_token token;
    lsm_value value = {.hidden_at = LSM_NEVER, .expire_at = LSM_NEVER};

    *pin = (lsmkv_pin){0};
    *entry = (lsmkv_entry){.stale_for_ms = -1, .left_ms = -1};
    lsmkv_status status = look_up(db, read, key, &token, &value, err);
    if (status == LSMKV_OK) {
        entry->stale_for_ms = lsm_value_stale_for_ms(&value);
        entry->left_ms = lsm_time_left(value.expire_at, value.now_ms);
        entry->expire_at_ms = value.expire_at == LSM_NEVER ? 0 : value.expire_at;
        pin->value = (lsmkv_bytes){value.bytes.data, value.bytes.size};
        pin_make(pin, token, value.owned);
    }
    return status;
}

struct lsmkv_view {
    lsmkv_db *db;         /* one reference: the segment ends before it */
    lsm_segment *segment; /* one reference, or NULL */
    lsm_owned *owned;     /* or NULL */
    uint8_t copy[];
};

/* Inside the epoch, which lends the value. Takes what the value owns. */
static lsmkv_status view_create(lsmkv_db *db, const lsm_value *value,
                                lsmkv_view **viewp, lsmkv_bytes *bytes,
                                lsmkv_error *err) {
    bool copies = value->segment == NULL && value->owned == NULL;
    size_t size = copies ? value->bytes.size : 0;
    lsmkv_view *view = lsm_alloc(sizeof(*view) + size);

    if (view == NULL) {
        lsm_owned_free(value->owned);
        return lsm_fail_memory(err, sizeof(*view) + size);
    }
    view->db = db;
    lsm_db_ref(db);
    view->segment = value->segment;
    view->owned = value->owned;
    *bytes = (lsmkv_bytes){value->bytes.data, value->bytes.size};
    if (view->segment != NULL) {
        lsm_segment_ref(view->segment);
    }
    if (copies) {
        bytes->data = view->copy;
    }
    if (size != 0) {
        memcpy(view->copy, value->bytes.data, size);
    }
    *viewp = view;
    return LSMKV_OK;
}

lsmkv_status lsmkv_get_view(lsmkv_db *db, const lsmkv_read *read, lsmkv_bytes key,
                            lsmkv_view **viewp, lsmkv_bytes *value, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsm_epoch_token token;
    lsm_value found;

    *viewp = NULL;
    *value = (lsmkv_bytes){NULL, 0};
    lsmkv_status status = look_up(db, read, key, &token, &found, err);
    if (status == LSMKV_OK) {
        status = view_create(db, &found, viewp, value, err);
        lsm_epoch_leave(token);
    }
    return status;
}

void lsmkv_view_free(lsmkv_view *view) {
    if (view != NULL) {
        LSM_BUDGET_SCOPE before = lsm_budget_enter(view->db->budget);
        lsm_segment_unref(view->segment);
        lsm_owned_free(view->owned);
        lsm_db_unref(view->db);
        lsm_free(view);
    }
}

/* Makes the requests of a batched read. The memory stays with the pin. */
static lsmkv_status many_init(lsm_get_many *many, uint32_t namespace_id,
                              const lsmkv_lookup *lookups, size_t count,
                              lsm_owned **memory, lsmkv_error *err) {
    uint8_t *at = NULL;
    uint64_t key_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (lsm_check_key(lookups[i].key, err) != LSMKV_OK) {
            return LSMKV_LIMIT_EXCEEDED;
        }
        key_bytes += lookups[i].key.size + LSM_NAMESPACE_SIZE;
    }
    lsmkv_status status = lsm_get_many_init(many, count, key_bytes, memory, &at, err);
    for (size_t i = 0; status == LSMKV_OK && i < count; i++) {
        size_t skey_size = lookups[i].key.size + LSM_NAMESPACE_SIZE;
        lsm_skey_write(at, namespace_id, lookups[i].key);
        lsm_get_many_set(many, i, lsm_slice_make(at, skey_size));
        at += skey_size;
    }
    return status;
}

/* Lends and counts what was found. */
static void lend_many(lsm_space_counters *counters, const lsm_get_many *many,
                      lsmkv_lookup *lookups) {
    uint64_t hits = 0;
    uint64_t bytes = 0;

    for (size_t i = 0; i < many->count; i++) {
        const lsm_table_request *request = &many->requests[i];
        lookups[i].found = request->done;
        lookups[i].stale_for_ms = request->stale_for_ms;
        lookups[i].value = (lsmkv_bytes){NULL, 0};
        if (request->done) {
            lookups[i].value =
                (lsmkv_bytes){request->found.field.data, request->found.field.size};
            hits += 1;
            bytes += request->found.field.size;
        }
    }
    if (hits > 0) {
        lsm_space_count_hits(counters, hits, bytes);
    }
    lsm_count_misses(counters, many->count - hits, many->expired);
}

/* One attempt. OK without a pin: a published name has got another version meanwhile. */
static lsmkv_status get_many_once(lsmkv_db *db, const lsmkv_read *read,
                                  lsmkv_lookup *lookups, size_t count, lsmkv_pin *pin,
                                  lsmkv_error *err) {
    const lsm_meaning *mark = lsm_read_mark(read);
    lsm_get_many many;
    lsm_epoch_token token;
    lsm_owned *memory = NULL;

    *pin = (lsmkv_pin){0};
    lsmkv_status status = lsm_check_read(db, read, err);
    if (status == LSMKV_OK) {
        status = many_init(&many, lsm_read_space(read), lookups, count, &memory, err);
    }
    if (status != LSMKV_OK) {
        return status;
    }
    status = lsm_db_enter(db, &token, err);
    if (status != LSMKV_OK) {
        lsm_owned_free(memory);
        return status;
    }
    lsm_readstate *state = lsm_read_state(db, read);
    uint64_t sequence = LSM_MUTANT(GET_MANY_IGNORES_SNAPSHOT)
                            ? lsm_db_published(db)
                            : lsm_read_sequence(db, read);
    if (LSM_UNLIKELY(!lsm_read_stays(read, mark))) {
        lsm_epoch_leave(token);
        lsm_owned_free(memory);
        return LSMKV_OK;
    }
    for (size_t i = 0; i < count; i++) {
        many.requests[i].lookup.sequence = sequence;
        many.requests[i].lookup.stale = read != NULL && read->stale;
    }
    status = lsm_db_get_many(db, state, &many, &memory, err);
    if (status != LSMKV_OK) {
        lsm_epoch_leave(token);
        lsm_owned_free(memory);
        return status;
    }
    lend_many(&lsm_space_of_read(db, read)->counters, &many, lookups);
    pin_make(pin, token, memory);
    return LSMKV_OK;
}

lsmkv_status lsmkv_get_many(lsmkv_db *db, const lsmkv_read *read, lsmkv_lookup *lookups,
                            size_t count, lsmkv_pin *pin, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_error failure;
    lsmkv_error *to = err != NULL ? err : &failure;
    lsmkv_status status;
    bool tried = false;

    uint64_t begun = lsm_latency_begin(&db->latencies, count);
    do {
        status = get_many_once(db, read, lookups, count, pin, to);
    } while (lsm_db_again(db, status, to, &tried) ||
             (status == LSMKV_OK && pin->opaque[0] == NULL));
    if (status == LSMKV_OK) {
        lsm_latency_end(&db->latencies, LSMKV_LATENCY_GET_MANY, begun, count);
    }
    return status;
}
