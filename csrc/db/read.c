/* SPDX-License-Identifier: Apache-2.0
 *
 * Point reads. The newest version of a key is looked for in the active memtable, the
 * immutable ones (newest first), the tables of level 0 (newest first), then in at most
 * one table of each deeper level. The first version found, of whatever kind, ends the
 * search: a tombstone hides everything older, and so does a value that has expired. A
 * range delete over the key counts as a version of it: whatever a place does not hold
 * newer than its own range deletes is hidden, there and in all places behind it.
 *
 * A batched read takes the same way with all keys together, place by place, so that
 * the cache misses of different keys overlap.
 */
#include "db/read.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/mutant.h"
#include "db/cache_space.h"

void lsm_owned_free(lsm_owned *first) {
    while (first != NULL) {
        lsm_owned *next = first->next;
        LSM_BUDGET_SCOPE before = lsm_budget_enter(first->budget);
        lsm_free(first);
        first = next;
    }
}

lsmkv_status lsm_get_many_init(lsm_get_many *many, size_t count, uint64_t key_bytes,
                               lsm_owned **memory, uint8_t **keys, lsmkv_error *err) {
    size_t each = sizeof(lsm_table_request) + 2 * sizeof(void *) + sizeof(uint64_t);
    uint64_t size;
    if (!lsm_mul_ok(count, each, &size) || !lsm_add_ok(size, key_bytes, &size) ||
        !lsm_add_ok(size, sizeof(lsm_owned), &size) || size > SIZE_MAX) {
        return lsm_fail(err, LSMKV_LIMIT_EXCEEDED, "too many keys: %zu", count);
    }
    uint8_t *at = lsm_alloc((size_t)size);
    if (at == NULL) {
        return lsm_fail_memory(err, (size_t)size);
    }
    *memory = (lsm_owned *)(void *)at;
    (*memory)->next = NULL;
    (*memory)->budget = lsm_budget_current;
    at += sizeof(lsm_owned);
    many->count = count;
    many->expired = 0;
    many->requests = (lsm_table_request *)(void *)at;
    at += count * sizeof(*many->requests);
    many->pending = (lsm_table_request **)(void *)at;
    many->chosen = many->pending + count;
    many->order = (uint64_t *)(void *)(many->chosen + count);
    *keys = (uint8_t *)(many->order + count);
    return LSMKV_OK;
}

/* How versions are turned into values. The clock is read, once for all, when a version
 * has times. */
typedef struct reading {
    const lsmkv_db *db;
    const lsm_readstate *state;
    bool nonblocking;
    bool stale;
    uint64_t now_ms; /* 0: not read yet */
} reading;

lsmkv_status lsm_db_follow(const lsm_readstate *state, const lsm_found *found,
                           bool nonblocking, lsm_buf *owned, lsm_value *value,
                           lsmkv_error *err) {
    uint8_t tag = lsm_trailer_tag(found->trailer);
    lsm_pointer pointer = lsm_pointer_of_field(tag, found->field);
    bool cached = lsm_tag_kind(tag) == LSM_KIND_CACHED;
    lsm_segment *segment = cached
                               ? lsm_version_find_cache(state->version, pointer.segment)
                               : lsm_readstate_segment(state, pointer.segment);
    size_t size_before = owned->size;

    value->segment = NULL;
    value->expired = false; /* what has gone from a cache has not */
    if (segment == NULL && cached) {
        return LSMKV_NOT_FOUND;
    }
    if (segment == NULL) {
        return lsm_fail(err, LSMKV_CORRUPTION,
                        "a value is said to lie in segment %llu, which is not there",
                        (unsigned long long)pointer.segment);
    }
    lsmkv_status status =
        lsm_segment_read(segment, &pointer, nonblocking, owned, &value->bytes, err);
    value->segment = owned->size == size_before ? segment : NULL;
    return cached ? lsm_cache_answer(segment, &pointer, status, err) : status;
}

/* As lsm_db_follow, with the memory in a form that a pin keeps. */
static LSM_NOINLINE lsmkv_status follow(const lsm_readstate *state,
                                        const lsm_found *found, bool nonblocking,
                                        lsm_value *value, lsmkv_error *err) {
    lsm_buf buf = {0};
    lsmkv_status status =
        nonblocking || lsm_buf_append_zeros(&buf, sizeof(lsm_owned))
            ? lsm_db_follow(state, found, nonblocking, &buf, value, err)
            : lsm_fail_memory(err, sizeof(lsm_owned));

    if (status == LSMKV_OK && value->segment == NULL) {
        value->owned = (lsm_owned *)(void *)buf.data;
        value->owned->budget = lsm_budget_current;
    } else {
        lsm_buf_deinit(&buf);
    }
    return status;
}

/* Whether the read shows a version that has times, which are told. */
static bool is_in_time(reading *read, const lsm_found *found, lsm_value *value) {
    uint8_t tag = lsm_trailer_tag(found->trailer);

    if (read->now_ms == 0) {
        read->now_ms = lsm_clock_now_ms(&read->db->clock);
    }
    value->hidden_at = lsm_hidden_at(tag, found->field);
    value->expire_at = lsm_expire_at(tag, found->field);
    value->now_ms = read->now_ms;
    return lsm_found_end(found, read->stale) > read->now_ms;
}

/* What a version means to a reader. */
static inline lsmkv_status resolve(reading *read, const lsm_found *found,
                                   lsm_value *value, lsmkv_error *err) {
    uint8_t tag = lsm_trailer_tag(found->trailer);

    value->owned = NULL;
    value->segment = NULL;
    if (LSM_UNLIKELY(tag != LSM_KIND_PUT)) {
        if (!lsm_tag_has_value(tag) ||
            (lsm_tag_has_times(tag) && !is_in_time(read, found, value))) {
            value->expired = lsm_tag_has_value(tag);
            return LSMKV_NOT_FOUND;
        }
        if (lsm_tag_kind(tag) != LSM_KIND_PUT) {
            return follow(read->state, found, read->nonblocking, value, err);
        }
    }
    value->bytes = lsm_value_of_field(tag, found->field);
    return LSMKV_OK;
}

static lsmkv_status search_table(lsmkv_db *db, lsm_live_table *live,
                                 const lsm_lookup *lookup, bool nonblocking,
                                 lsm_found *found, lsmkv_error *err) {
    lsm_table *table;
    lsmkv_status status =
        lsm_table_cache_get(&db->table_cache, live, nonblocking, &table, err);
    return status == LSMKV_OK ? lsm_table_get(table, lookup, nonblocking, found, err)
                              : status;
}

/* The only table of a level >= 1 that may hold the key, or NULL. */
static lsm_live_table *table_of_level(const lsm_level *level, lsm_slice skey) {
    if (level->count == 0) {
        return NULL;
    }
    size_t index = lsm_level_find(level, skey);
    if (index == level->count ||
        lsm_slice_compare(skey, lsm_ikey_skey(level->tables[index]->info.smallest)) <
            0) {
        return NULL;
    }
    return level->tables[index];
}

static lsmkv_status search_version(lsmkv_db *db, const lsm_version *version,
                                   const lsm_lookup *lookup, bool nonblocking,
                                   lsm_found *found, lsmkv_error *err) {
    lsmkv_status status = LSMKV_NOT_FOUND;
    const lsm_level *level0 = &version->levels[0];
    for (size_t i = 0; status == LSMKV_NOT_FOUND && i < level0->count; i++) {
        if (lsm_live_table_covers(level0->tables[i], lookup->skey)) {
            status =
                search_table(db, level0->tables[i], lookup, nonblocking, found, err);
        }
    }
    for (size_t i = 1; status == LSMKV_NOT_FOUND && i < LSMKV_LEVEL_COUNT; i++) {
        lsm_live_table *live = table_of_level(&version->levels[i], lookup->skey);
        if (live != NULL) {
            status = search_table(db, live, lookup, nonblocking, found, err);
        }
    }
    return status;
}

lsmkv_status lsm_db_find(lsmkv_db *db, const lsm_lookup *lookup, bool nonblocking,
                         lsm_readstate *state, lsm_found *found, lsmkv_error *err) {
    lsmkv_status status = lsm_memtable_get(state->mem, lookup, found);
    for (size_t i = 0; status == LSMKV_NOT_FOUND && i < state->immutable_count; i++) {
        status = lsm_memtable_get(state->immutables[i], lookup, found);
    }
    if (status == LSMKV_NOT_FOUND) {
        status = search_version(db, state->version, lookup, nonblocking, found, err);
    }
    return status;
}

lsmkv_status lsm_db_get(lsmkv_db *db, const lsm_lookup *lookup, bool nonblocking,
                        lsm_readstate *state, lsm_value *value, lsmkv_error *err) {
    lsm_found found;
    reading read = {db, state, nonblocking, lookup->stale,
                    LSM_MUTANT(GET_IGNORES_EXPIRY) ? 1 : 0};
    lsmkv_status status = lsm_db_find(db, lookup, nonblocking, state, &found, err);
    if (LSM_LIKELY(status == LSMKV_OK)) {
        return resolve(&read, &found, value, err);
    }
    value->expired = false;
    return status;
}

lsmkv_status lsm_db_get_tables(lsmkv_db *db, const lsm_lookup *lookup,
                               const lsm_version *version, lsm_slice *value,
                               lsmkv_error *err) {
    lsm_found found;
    lsmkv_status status = search_version(db, version, lookup, false, &found, err);
    uint8_t tag = status == LSMKV_OK ? lsm_trailer_tag(found.trailer) : 0;
    if (status == LSMKV_OK && lsm_tag_kind(tag) != LSM_KIND_PUT) {
        status = LSMKV_NOT_FOUND;
    }
    if (status == LSMKV_OK) {
        *value = lsm_value_of_field(tag, found.field);
    }
    return status;
}

/* The requests of a batched read that have no answer yet, and room to sort them. */
typedef struct lsm_pending {
    lsmkv_db *db;
    lsm_table_request **requests; /* those not done */
    size_t count;
    lsm_table_request **chosen; /* as many again: those for one table */
    uint64_t *order;            /* as many again: table index << 32 | request */
} lsm_pending;

enum { PREFETCH_AHEAD = 16 };

static void search_memtable(const lsm_memtable *mem, lsm_pending *pending) {
    size_t left = 0;
    size_t count = pending->count;
    if (lsm_memtable_empty(mem)) {
        return;
    }
    for (size_t i = 0; i < count && i < PREFETCH_AHEAD; i++) {
        lsm_memtable_prefetch(mem, pending->requests[i]->lookup.hash);
    }
    for (size_t i = 0; i < count; i++) {
        lsm_table_request *request = pending->requests[i];
        if (i + PREFETCH_AHEAD < count) {
            lsm_memtable_prefetch(mem,
                                  pending->requests[i + PREFETCH_AHEAD]->lookup.hash);
        }
        request->done =
            lsm_memtable_get(mem, &request->lookup, &request->found) == LSMKV_OK;
        if (!request->done) {
            pending->requests[left++] = request;
        }
    }
    pending->count = left;
}

static void drop_done(lsm_pending *pending) {
    size_t left = 0;
    for (size_t i = 0; i < pending->count; i++) {
        if (!pending->requests[i]->done) {
            pending->requests[left++] = pending->requests[i];
        }
    }
    pending->count = left;
}

static lsmkv_status search_table_many(lsm_pending *pending, lsm_live_table *live,
                                      lsm_table_request *const *requests, size_t count,
                                      lsmkv_error *err) {
    lsm_table *table;
    lsmkv_status status =
        lsm_table_cache_get(&pending->db->table_cache, live, false, &table, err);
    return status == LSMKV_OK ? lsm_table_get_many(table, requests, count, err)
                              : status;
}

static lsmkv_status search_level0(lsm_pending *pending, const lsm_level *level,
                                  lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    for (size_t i = 0; i < level->count && pending->count > 0; i++) {
        size_t chosen = 0;
        for (size_t k = 0; k < pending->count; k++) {
            if (lsm_live_table_covers(level->tables[i],
                                      pending->requests[k]->lookup.skey)) {
                pending->chosen[chosen++] = pending->requests[k];
            }
        }
        if (chosen > 0) {
            LSM_TRY(search_table_many(pending, level->tables[i], pending->chosen,
                                      chosen, err));
            drop_done(pending);
        }
    }
out:
    return status;
}

static int compare_numbers(const void *a, const void *b) {
    return lsm_compare_u64(*(const uint64_t *)a, *(const uint64_t *)b);
}

/* Groups the pending requests by the table of the level that may hold them. */
static size_t order_by_table(lsm_pending *pending, const lsm_level *level) {
    size_t count = 0;
    bool sorted = true;
    for (size_t i = 0; i < pending->count; i++) {
        lsm_slice skey = pending->requests[i]->lookup.skey;
        size_t index = lsm_level_find(level, skey);
        if (index < level->count && lsm_live_table_covers(level->tables[index], skey)) {
            pending->order[count] = (uint64_t)index << 32 | i;
            sorted &= count == 0 || pending->order[count] > pending->order[count - 1];
            count += 1;
        }
    }
    if (!sorted) {
        qsort(pending->order, count, sizeof(*pending->order), compare_numbers);
    }
    return count;
}

static lsmkv_status search_level(lsm_pending *pending, const lsm_level *level,
                                 lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    size_t count = level->count > 0 ? order_by_table(pending, level) : 0;
    for (size_t i = 0; i < count;) {
        uint64_t index = pending->order[i] >> 32;
        size_t chosen = 0;
        while (i < count && pending->order[i] >> 32 == index) {
            pending->chosen[chosen++] =
                pending->requests[(uint32_t)pending->order[i++]];
        }
        LSM_TRY(search_table_many(pending, level->tables[index], pending->chosen,
                                  chosen, err));
    }
    if (count > 0) {
        drop_done(pending);
    }
out:
    return status;
}

/* Asks for what following the pointer of a version will meet, if it is one. */
static void prefetch_value(const reading *read, const lsm_table_request *request) {
    if (!request->done) {
        return;
    }
    uint8_t tag = lsm_trailer_tag(request->found.trailer);
    if (lsm_tag_kind(tag) == LSM_KIND_POINTER) {
        lsm_pointer pointer = lsm_pointer_of_field(tag, request->found.field);
        const lsm_segment *segment =
            lsm_readstate_segment(read->state, pointer.segment);
        if (segment != NULL) {
            lsm_segment_prefetch(segment, &pointer);
        }
    }
}

/* Turns the versions found into values. */
static lsmkv_status resolve_many(reading *read, lsm_get_many *many, lsm_owned **owned,
                                 lsmkv_error *err) {
    for (size_t i = 0; i < many->count && i < PREFETCH_AHEAD; i++) {
        prefetch_value(read, &many->requests[i]);
    }
    for (size_t i = 0; i < many->count; i++) {
        lsm_table_request *request = &many->requests[i];
        lsm_value value;

        if (i + PREFETCH_AHEAD < many->count) {
            prefetch_value(read, &many->requests[i + PREFETCH_AHEAD]);
        }
        if (!request->done) {
            continue;
        }
        read->stale = request->lookup.stale;
        value.hidden_at = LSM_NEVER;
        lsmkv_status status = resolve(read, &request->found, &value, err);
        if (status != LSMKV_OK && status != LSMKV_NOT_FOUND) {
            return status;
        }
        request->done = status == LSMKV_OK;
        request->found.field = value.bytes;
        request->stale_for_ms =
            value.hidden_at == LSM_NEVER ? -1 : lsm_value_stale_for_ms(&value);
        many->expired += status == LSMKV_NOT_FOUND && value.expired;
        if (LSM_UNLIKELY(value.owned != NULL)) {
            value.owned->next = *owned;
            *owned = value.owned;
        }
    }
    return LSMKV_OK;
}

lsmkv_status lsm_db_get_many(lsmkv_db *db, lsm_readstate *state, lsm_get_many *many,
                             lsm_owned **owned, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_pending pending = {db, many->pending, many->count, many->chosen, many->order};
    reading read = {db, state, false, false,
                    LSM_MUTANT(GET_MANY_IGNORES_EXPIRY) ? 1 : 0};

    search_memtable(state->mem, &pending);
    for (size_t i = 0; i < state->immutable_count; i++) {
        search_memtable(state->immutables[i], &pending);
    }
    LSM_TRY(search_level0(&pending, &state->version->levels[0], err));
    for (size_t i = 1; i < LSMKV_LEVEL_COUNT && pending.count > 0; i++) {
        LSM_TRY(search_level(&pending, &state->version->levels[i], err));
    }
    status = resolve_many(&read, many, owned, err);
out:
    return status;
}
