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
}

void model_init(model *m, uint64_t seed, size_t key_count) {
    *m = (model){0};
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
}

static void apply_change(const model *m, model_state *state, model_change change) {
    int32_t *slot = &state->values[change.key];

    if (*slot != MODEL_ABSENT) {
        state->hash -= m->values[*slot].entry_hash;
    }
    if (change.value != MODEL_ABSENT) {
        state->hash += m->values[change.value].entry_hash;
    }
    *slot = change.value;
}

static void stage(model *m, model_change change) {
    m->changes = (model_change *)crash_grow(m->changes, &m->change_capacity,
                                            m->change_count + 1, sizeof(change));
    m->changes[m->change_count++] = change;
    apply_change(m, &m->now, change);
}

lsmkv_bytes model_stage_put(model *m, size_t key, size_t size) {
    lsm_rng rng = {crash_mix(m->value_count, key)};
    model_value *value = NULL;
    uint8_t *bytes = (uint8_t *)crash_alloc(size + sizeof(uint64_t));

    m->values = (model_value *)crash_grow(m->values, &m->value_capacity,
                                          m->value_count + 1, sizeof(*value));
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t word = lsm_rng_next(&rng);
        memcpy(bytes + i, &word, sizeof(word));
    }
    value = &m->values[m->value_count];
    value->bytes = bytes;
    value->size = size;
    value->entry_hash = model_entry_hash(m, key, (lsmkv_bytes){bytes, size});
    stage(m, (model_change){(uint32_t)key, (int32_t)m->value_count});
    m->value_count++;
    return (lsmkv_bytes){bytes, size};
}

void model_stage_delete(model *m, size_t key) {
    stage(m, (model_change){(uint32_t)key, MODEL_ABSENT});
}

void model_launch(model *m) {
    m->launched.change_count = m->change_count - m->launched.first_change;
    m->launched.hash = m->now.hash;
    m->in_flight = true;
}

void model_land(model *m, bool done) {
    m->in_flight = false;
    if (done) {
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

static uint64_t hash_at(const model *m, size_t count) {
    return count == 0 ? m->base.hash : m->commits[count - 1].hash;
}

bool model_match(const model *m, const model_bounds *bounds, uint64_t hash,
                 model_prefix *prefix) {
    if (bounds->exact && hash != bounds->hash) {
        return false;
    }
    *prefix = (model_prefix){bounds->last, NULL};
    for (size_t i = 0; i < bounds->maybe_count; i++) {
        if (bounds->maybe[i].hash == hash) {
            prefix->extra = &bounds->maybe[i];
            return true;
        }
    }
    for (size_t count = bounds->last + 1; count-- > bounds->floor;) {
        if (hash_at(m, count) == hash) {
            prefix->count = count;
            return true;
        }
    }
    return false;
}

static void apply_commit(const model *m, model_state *state,
                         const model_commit *commit) {
    for (size_t i = 0; i < commit->change_count; i++) {
        apply_change(m, state, m->changes[commit->first_change + i]);
    }
}

void model_state_at(const model *m, model_prefix prefix, model_state *state) {
    *state = m->base;
    for (size_t i = 0; i < prefix.count; i++) {
        apply_commit(m, state, &m->commits[i]);
    }
    if (prefix.extra != NULL) {
        apply_commit(m, state, prefix.extra);
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
