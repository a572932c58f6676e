/* SPDX-License-Identifier: Apache-2.0
 *
 * The public calls: check arguments, pass the gate, call db/, lend the result.
 */
#include "include/lsmkv.h"

#include "api/calls.h"
#include "api/checks.h"
#include "base/alloc.h"
#include "base/mutant.h"
#include "db/cache_space.h"
#include "db/db_iter.h"

enum { SKEY_INLINE = 256 };

/* A stored key built from the user's, on the stack where it is short. */
typedef struct lsm_skey {
    lsm_slice skey;
    uint8_t *owned;
    uint8_t inlined[SKEY_INLINE];
} lsm_skey;

static lsmkv_status skey_init(lsm_skey *skey, uint32_t namespace_id, lsmkv_bytes key,
                              lsmkv_error *err) {
    size_t size = key.size + LSM_NAMESPACE_SIZE;
    uint8_t *to = skey->inlined;
    skey->owned = NULL;
    if (lsm_check_key(key, err) != LSMKV_OK) {
        return LSMKV_LIMIT_EXCEEDED;
    }
    if (size > SKEY_INLINE) {
        to = skey->owned = lsm_alloc(size);
        if (to == NULL) {
            return lsm_fail_memory(err, size);
        }
    }
    lsm_skey_write(to, namespace_id, key);
    skey->skey = lsm_slice_make(to, size);
    return LSMKV_OK;
}

static void skey_deinit(lsm_skey *skey) {
    lsm_free(skey->owned);
}

lsmkv_status lsmkv_open(const char *path, const lsmkv_options *options, lsmkv_db **dbp,
                        lsmkv_error *err) {
    lsmkv_options defaults;
    lsmkv_options_init(&defaults);
    return lsm_db_open(lsm_env_posix(), path, options != NULL ? options : &defaults,
                       dbp, err);
}

lsmkv_status lsmkv_close(lsmkv_db *db, lsmkv_error *err) {
    return lsm_db_close(db, err);
}

void lsmkv_free(lsmkv_db *db) {
    if (db != NULL) {
        lsmkv_status closed = lsm_db_close(db, NULL);
        (void)closed; /* a finalizer has nobody to tell */
        lsm_db_unref(db);
    }
}

bool lsmkv_is_closed(const lsmkv_db *db) {
    return atomic_load(&db->closing);
}

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

/* Whether what was read of a published name is nothing because its version was released
 * before the read had its state; then there is another one. */
static inline bool was_too_late(const lsmkv_read *read, lsmkv_status status,
                                const lsm_meaning *mark) {
    return status == LSMKV_NOT_FOUND && !lsm_read_stays(read, mark);
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
        status = skey_init(&skey, lsm_read_space(read), key, err);
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
    skey_deinit(&skey);
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
    } while (lsm_db_again(db, status, to, &tried) || was_too_late(read, status, mark));
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

static int64_t time_left(uint64_t end, uint64_t now_ms) {
    if (end == LSM_NEVER || end - now_ms > INT64_MAX) {
        return -1;
    }
    return (int64_t)(end - now_ms);
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
        entry->left_ms = time_left(value.expire_at, value.now_ms);
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

static lsmkv_status write_batch(lsmkv_db *db, lsm_write_how resolved, lsm_batch *batch,
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
    lsmkv_status status = skey_init(&skey, lsm_write_space(how), key, err);
    if (status != LSMKV_OK) {
        return status;
    }
    lsm_condition condition = {
        .skey = skey.skey, .sequence = how->since->sequence, .or_older = true};
    resolved.condition = &condition;
    status = write_batch(db, resolved, batch, err);
    skey_deinit(&skey);
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
                     : write_batch(db, lsm_resolve_how(db, how), &batch, err);
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
        status = write_batch(db, lsm_resolve_how(db, how), &batch, err);
    }
    lsm_batch_deinit(&batch);
    return status;
}

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
        seen->left_ms = time_left(end, now_ms);
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
        status = skey_init(&skey, lsm_read_space(read), key, err);
    }
    if (status != LSMKV_OK) {
        return status;
    }
    status = look_at(db, read, skey.skey, false, &seen, err);
    if (status == LSMKV_OK) {
        *ttl_ms = seen.left_ms;
    }
    lsm_buf_deinit(&seen.value);
    skey_deinit(&skey);
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
    } while (was_too_late(read, status, mark));
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
    status = write_batch(db, resolved, &batch, err);
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
        status = skey_init(&skey, lsm_write_space(how), key, err);
    }
    if (status != LSMKV_OK) {
        return status;
    }
    while (again) {
        status = touch_once(db, how, skey.skey, &seen, &again, err);
    }
    lsm_buf_deinit(&seen.value);
    skey_deinit(&skey);
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
    return write_batch(db, lsm_resolve_how(db, how), batch, err);
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
