/* SPDX-License-Identifier: Apache-2.0
 *
 * The universe of keys mixes the awkward ones (empty, zero bytes, 0xff, long ones,
 * shared prefixes, neighbours by one byte) with plain ones. Values are random bytes
 * from a counter, so no two writes are equal and none can be taken for another.
 */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/slice.h"
#include "report.h"

enum { LONG_KEY_SIZE = 300, KEY_ROOM = 320 };

static int compare_keys(const void *a, const void *b) {
    const lsmkv_bytes *x = (const lsmkv_bytes *)a;
    const lsmkv_bytes *y = (const lsmkv_bytes *)b;

    return lsm_slice_compare(lsm_slice_make(x->data, x->size),
                             lsm_slice_make(y->data, y->size));
}

static lsmkv_bytes make_key(lsm_rng *rng, size_t index) {
    static const uint8_t alphabet[] = {0x00, 'a', 'b', 0xff};
    uint8_t *bytes = (uint8_t *)crash_alloc(KEY_ROOM);
    size_t size = 0;

    if (index == 0) {
        return (lsmkv_bytes){bytes, 0};
    }
    switch (lsm_rng_below(rng, 8)) {
        case 0:
            size = 1 + lsm_rng_below(rng, 3);
            break;
        case 1:
            memset(bytes, 'L', LONG_KEY_SIZE);
            size = LONG_KEY_SIZE + lsm_rng_below(rng, 8);
            bytes[size - 1] = (uint8_t)lsm_rng_next(rng);
            return (lsmkv_bytes){bytes, size};
        case 2:
        case 3:
            size = 1 + lsm_rng_below(rng, 8);
            break;
        default:
            size = (size_t)snprintf((char *)bytes, KEY_ROOM, "key/%03zu", index);
            return (lsmkv_bytes){bytes, size};
    }
    for (size_t i = 0; i < size; i++) {
        bytes[i] = alphabet[lsm_rng_below(rng, sizeof(alphabet))];
    }
    return (lsmkv_bytes){bytes, size};
}

static void make_keys(model *m, uint64_t seed, size_t key_count) {
    lsm_rng rng = {crash_mix(seed, 11)};

    for (size_t tries = 0; m->key_count < key_count; tries++) {
        lsmkv_bytes key = make_key(&rng, tries);
        size_t same = 0;

        while (same < m->key_count && compare_keys(&m->keys[same], &key) != 0) {
            same++;
        }
        if (same < m->key_count) {
            free((void *)(uintptr_t)key.data);
        } else {
            m->keys[m->key_count++] = key;
        }
    }
    qsort(m->keys, m->key_count, sizeof(m->keys[0]), compare_keys);
    for (size_t i = 0; i < m->key_count; i++) {
        m->key_hashes[i] = crash_hash(m->keys[i].data, m->keys[i].size, 7);
    }
    for (size_t i = 0; i < MODEL_SIDES; i++) {
        m->key_hashes[m->key_count + i] = crash_mix(seed, 1000 + i);
    }
}

void model_init(model *m, uint64_t seed, size_t key_count) {
    *m = (model){0};
    if (key_count + MODEL_SIDES > MODEL_KEYS_MAX) {
        crash_fail("no room for %zu keys", key_count);
    }
    make_keys(m, seed, key_count);
    for (size_t i = 0; i < MODEL_KEYS_MAX; i++) {
        m->now.values[i] = MODEL_ABSENT;
    }
    m->base = m->now;
}

void model_deinit(model *m) {
    for (size_t i = 0; i < m->key_count; i++) {
        free((void *)(uintptr_t)m->keys[i].data);
    }
    for (size_t i = 0; i < m->value_count; i++) {
        free(m->values[i].bytes);
    }
    free(m->values);
    free(m->changes);
    free(m->commits);
    *m = (model){0};
}

uint64_t model_entry_hash(const model *m, size_t key, lsmkv_bytes value) {
    return crash_hash(value.data, value.size, m->key_hashes[key]);
}

uint64_t model_mark(model_times times) {
    return times.hidden_at == times.gone_at ? times.gone_at
                                            : crash_mix(times.hidden_at, times.gone_at);
}

uint64_t model_full_hash(uint64_t entry_hash, uint64_t mark) {
    return mark == MODEL_NEVER ? entry_hash : crash_mix(entry_hash, mark);
}

size_t model_lower_bound(const model *m, lsmkv_bytes key) {
    size_t low = 0;
    size_t high = m->key_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_keys(&m->keys[middle], &key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

size_t model_find_key(const model *m, lsmkv_bytes key, size_t from) {
    size_t at = from;

    if (at >= m->key_count || compare_keys(&m->keys[at], &key) != 0) {
        at = model_lower_bound(m, key);
    }
    if (at < from || at == m->key_count || compare_keys(&m->keys[at], &key) != 0) {
        return m->key_count;
    }
    return at;
}

lsmkv_bytes model_value_bytes(const model *m, int32_t value) {
    return (lsmkv_bytes){m->values[value].bytes, m->values[value].size};
}

void model_begin(model *m) {
    m->before = m->now;
    m->launched = (model_commit){m->change_count, 0, 0};
    memset(m->staged, 0, sizeof(m->staged));
}

/* What a value adds to the hash of a state at a moment. */
static uint64_t share_of(const model *m, int32_t value, uint64_t now_ms) {
    if (value == MODEL_ABSENT || m->values[value].times.gone_at <= now_ms) {
        return 0;
    }
    return m->values[value].times.hidden_at > now_ms ? m->values[value].full_hash
                                                     : m->values[value].stale_hash;
}

int32_t model_shown(const model *m, const model_state *state, size_t key,
                    uint64_t now_ms) {
    int32_t value = state->values[key];
    bool shown = value != MODEL_ABSENT && m->values[value].times.hidden_at > now_ms;

    return shown ? value : MODEL_ABSENT;
}

int32_t model_shown_stale(const model *m, const model_state *state, size_t key,
                          uint64_t now_ms) {
    int32_t value = state->values[key];
    bool shown = value != MODEL_ABSENT && m->values[value].times.gone_at > now_ms;

    return shown ? value : MODEL_ABSENT;
}

static void stage(model *m, model_change change) {
    m->changes = (model_change *)crash_grow(m->changes, &m->change_capacity,
                                            m->change_count + 1, sizeof(change));
    m->changes[m->change_count++] = change;
    m->now.values[change.key] = change.value;
    m->staged[change.key] = true;
}

/* Stages a value, whose bytes become the model's; fills in its hashes. */
static void stage_value(model *m, size_t key, model_value value) {
    m->values = (model_value *)crash_grow(m->values, &m->value_capacity,
                                          m->value_count + 1, sizeof(*m->values));
    value.entry_hash = model_entry_hash(m, key, (lsmkv_bytes){value.bytes, value.size});
    value.full_hash = model_full_hash(value.entry_hash, model_mark(value.times));
    value.stale_hash = model_full_hash(
        value.entry_hash, model_mark((model_times){0, value.times.gone_at}));
    m->values[m->value_count] = value;
    stage(m, (model_change){(uint32_t)key, (int32_t)m->value_count});
    m->value_count++;
}

static void stage_copy(model *m, size_t key, lsmkv_bytes value, model_times times) {
    uint8_t *bytes = (uint8_t *)crash_alloc(value.size + 1);

    if (value.size > 0) {
        memcpy(bytes, value.data, value.size);
    }
    stage_value(m, key,
                (model_value){.bytes = bytes, .size = value.size, .times = times});
}

void model_stage_touch(model *m, size_t key, model_times times) {
    stage_copy(m, key, model_value_bytes(m, m->now.values[key]), times);
}

void model_stage_bytes(model *m, size_t key, lsmkv_bytes bytes) {
    stage_copy(m, key, bytes, MODEL_FOR_EVER);
}

lsmkv_bytes model_stage_put(model *m, size_t key, size_t size, model_times times) {
    lsm_rng rng = {crash_mix(m->value_count, key)};
    uint8_t *bytes = (uint8_t *)crash_alloc(size + sizeof(uint64_t));

    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t word = lsm_rng_next(&rng);
        memcpy(bytes + i, &word, sizeof(word));
    }
    stage_value(m, key, (model_value){.bytes = bytes, .size = size, .times = times});
    return (lsmkv_bytes){bytes, size};
}

void model_stage_delete(model *m, size_t key) {
    stage(m, (model_change){(uint32_t)key, MODEL_ABSENT});
}

void model_stage_delete_range(model *m, size_t start, size_t stop) {
    for (size_t key = start; key < stop; key++) {
        m->staged[key] = true;
        if (m->now.values[key] != MODEL_ABSENT) {
            model_stage_delete(m, key);
        }
    }
}

void model_launch(model *m, uint64_t now_ms) {
    m->launched.change_count = m->change_count - m->launched.first_change;
    m->launched.time_ms = now_ms;
    m->in_flight = true;
}

void model_land(model *m, bool done) {
    m->in_flight = false;
    if (done) {
        m->write_count++;
        for (size_t i = 0; i < MODEL_KEYS_MAX; i++) {
            m->written[i] = m->staged[i] ? m->write_count : m->written[i];
        }
        m->commits = (model_commit *)crash_grow(
            m->commits, &m->commit_capacity, m->commit_count + 1, sizeof(m->launched));
        m->commits[m->commit_count++] = m->launched;
        m->lost_count = 0;
        return;
    }
    m->now = m->before;
    if (m->lost_count < MODEL_LOST_MAX) {
        m->lost[m->lost_count++] = m->launched;
    }
}

void model_cancel(model *m) {
    m->in_flight = false;
    m->now = m->before;
}

void model_raise_floor(model *m) {
    m->floor = m->commit_count;
}

model_bounds model_bounds_now(const model *m) {
    model_bounds bounds = {.floor = m->floor, .last = m->commit_count};

    for (size_t i = 0; i < m->lost_count; i++) {
        bounds.maybe[bounds.maybe_count++] = m->lost[i];
    }
    if (m->in_flight) {
        bounds.maybe[bounds.maybe_count++] = m->launched;
    }
    return bounds;
}

/* Applies a commit and returns by how much the hash at a moment changes. */
static uint64_t apply_commit(const model *m, model_state *state,
                             const model_commit *commit, uint64_t now_ms) {
    uint64_t change_of_hash = 0;

    for (size_t i = 0; i < commit->change_count; i++) {
        model_change change = m->changes[commit->first_change + i];
        int32_t *slot = &state->values[change.key];
        change_of_hash +=
            share_of(m, change.value, now_ms) - share_of(m, *slot, now_ms);
        *slot = change.value;
    }
    return change_of_hash;
}

uint64_t model_hash(const model *m, const model_state *state, uint64_t now_ms) {
    uint64_t hash = 0;

    for (size_t i = 0; i < m->key_count + MODEL_SIDES; i++) {
        hash += share_of(m, state->values[i], now_ms);
    }
    return hash;
}

/* Of the states that look alike, which differ in what has expired, the last one. */
bool model_match(const model *m, const model_bounds *bounds, model_sight sight,
                 model_prefix *prefix) {
    model_state state = m->base;
    uint64_t hash = model_hash(m, &state, sight.now_ms);
    bool found = false;

    if (bounds->exact && sight.hash != bounds->hash) {
        return false;
    }
    for (size_t count = 0; count <= bounds->last; count++) {
        if (count > 0) {
            hash += apply_commit(m, &state, &m->commits[count - 1], sight.now_ms);
        }
        if (count >= bounds->floor && hash == sight.hash) {
            *prefix = (model_prefix){count, NULL};
            found = true;
        }
    }
    for (size_t i = 0; i < bounds->maybe_count; i++) {
        model_state after = state;
        if (hash + apply_commit(m, &after, &bounds->maybe[i], sight.now_ms) ==
            sight.hash) {
            *prefix = (model_prefix){bounds->last, &bounds->maybe[i]};
            return true;
        }
    }
    return found;
}

uint64_t model_time_of(const model *m, model_prefix prefix) {
    if (prefix.extra != NULL) {
        return prefix.extra->time_ms;
    }
    return prefix.count == 0 ? 0 : m->commits[prefix.count - 1].time_ms;
}

void model_state_at(const model *m, model_prefix prefix, model_state *state) {
    *state = m->base;
    for (size_t i = 0; i < prefix.count; i++) {
        (void)apply_commit(m, state, &m->commits[i], 0);
    }
    if (prefix.extra != NULL) {
        (void)apply_commit(m, state, prefix.extra, 0);
    }
}

void model_rewind(model *m, model_prefix prefix) {
    model_state state;

    model_state_at(m, prefix, &state);
    m->base = state;
    m->now = state;
    m->change_count = 0;
    m->commit_count = 0;
    m->lost_count = 0;
    m->in_flight = false;
    m->floor = 0;
}
