/* SPDX-License-Identifier: Apache-2.0
 *
 * Namespaces beside the default one. In the model each takes a few indices behind the
 * keys of the universe: the first says whether it exists, the others are keys in it.
 * Creating, writing in several at once and dropping are commits like any other, so a
 * crash must leave a namespace exactly as some prefix of the history has it.
 */
#include "world.h"

#include <stdio.h>

#include "report.h"

enum { NAME_SIZE = 16 };

static lsmkv_bytes space_name(char name[NAME_SIZE], size_t space) {
    int size = snprintf(name, NAME_SIZE, "space %zu", space);
    return (lsmkv_bytes){name, (size_t)size};
}

static lsmkv_bytes space_key(char name[NAME_SIZE], size_t slot) {
    int size = snprintf(name, NAME_SIZE, "%zu", slot);
    return (lsmkv_bytes){name, (size_t)size};
}

static size_t index_of(const model *m, size_t space, size_t slot) {
    return m->key_count + space * MODEL_SPACE_SLOTS + slot;
}

/* Entry hash and end of one key of a namespace, zeros where it has no value. */
static lsmkv_status look_at(lsmkv_db *db, const lsmkv_read *read, const model *m,
                            model_sides *to, size_t index) {
    char name[NAME_SIZE];
    lsmkv_error err = {0};
    lsmkv_pin pin = {0};
    int64_t ttl_ms = 0;
    size_t side = index - m->key_count;
    lsmkv_bytes key = space_key(name, side % MODEL_SPACE_SLOTS);
    lsmkv_status status = lsmkv_get(db, read, key, &pin, &err);

    if (status != LSMKV_OK) {
        return status == LSMKV_NOT_FOUND ? LSMKV_OK : status;
    }
    to->entries[side] = model_entry_hash(m, index, pin.value);
    lsmkv_pin_release(&pin);
    status = lsmkv_ttl(db, read, key, &ttl_ms, &err);
    to->ends[side] = ttl_ms < 0 ? MODEL_NEVER : lsm_test_now_ms(db) + (uint64_t)ttl_ms;
    return status;
}

lsmkv_status spaces_look(lsmkv_db *db, const lsmkv_snapshot *snapshot, const model *m,
                         model_sides *to) {
    lsmkv_status status = caches_check(db);

    *to = (model_sides){0};
    for (size_t space = 0; status == LSMKV_OK && space < MODEL_SPACES; space++) {
        char name[NAME_SIZE];
        lsmkv_error err = {0};
        lsmkv_read read = {.snapshot = snapshot};
        lsmkv_namespace_how how = {.snapshot = snapshot};
        lsmkv_namespace *handle = NULL;

        status = lsmkv_namespace_open(db, space_name(name, space), &how, &handle, &err);
        if (status == LSMKV_NOT_FOUND) {
            status = LSMKV_OK;
            continue;
        }
        read.space = handle;
        if (status == LSMKV_OK) {
            size_t first = space * MODEL_SPACE_SLOTS;
            to->entries[first] =
                model_entry_hash(m, m->key_count + first, (lsmkv_bytes){NULL, 0});
            to->ends[first] = MODEL_NEVER;
        }
        for (size_t i = 1; status == LSMKV_OK && i < MODEL_SPACE_SLOTS; i++) {
            status = look_at(db, &read, m, to, index_of(m, space, i));
        }
        lsmkv_namespace_free(handle);
    }
    if (status == LSMKV_OK) {
        status = rows_look(db, snapshot, m, to);
    }
    return status == LSMKV_OK ? publishes_look(db, snapshot, m, to) : status;
}

uint64_t spaces_hash(const model_sides *sides) {
    uint64_t hash = 0;

    for (size_t i = 0; i < MODEL_SIDES; i++) {
        if (sides->entries[i] != 0) {
            hash += model_full_hash(sides->entries[i], sides->ends[i]);
        }
    }
    return hash;
}

void world_check_sides(world *w, const lsmkv_snapshot *snapshot,
                       const model_state *state) {
    model_sides found;
    lsmkv_status status = spaces_look(w->db, snapshot, &w->model, &found);
    lsmkv_error err = {.status = status};

    if (!world_ok(w, status, &err, "reading beside the default namespace")) {
        return;
    }
    crash_count.reads += MODEL_SIDES;
    for (size_t i = 0; i < MODEL_SIDES; i++) {
        int32_t value = world_shown(w, state, w->model.key_count + i);
        uint64_t expected =
            value == MODEL_ABSENT ? 0 : w->model.values[value].entry_hash;
        if (found.entries[i] != expected) {
            crash_fail("%s %zu behind the keys: not as written",
                       snapshot != NULL ? "a snapshot," : "", i);
        }
    }
}

void world_land_sides(world *w, lsmkv_status status, const lsmkv_error *err,
                      bool durable) {
    bool done = world_ok(w, status, err, "a write of namespaces");

    if (status == LSMKV_NO_MEMORY) {
        model_cancel(&w->model);
    } else {
        model_land(&w->model, done);
    }
    if (done && durable) {
        model_raise_floor(&w->model);
    }
    world_check_sides(w, NULL, &w->model.now);
}

static bool exists(world *w, size_t space) {
    return world_shown(w, &w->model.now, index_of(&w->model, space, 0)) != MODEL_ABSENT;
}

static void create_space(world *w, size_t space) {
    char name[NAME_SIZE];
    lsmkv_error err = {0};
    lsmkv_namespace_how how = {.create = true};
    lsmkv_namespace *handle = NULL;

    crash_trace("create namespace %zu", space);
    model_begin(&w->model);
    (void)model_stage_put(&w->model, index_of(&w->model, space, 0), 0, MODEL_FOR_EVER);
    model_launch(&w->model, world_now(w));
    lsmkv_status status =
        lsmkv_namespace_open(w->db, space_name(name, space), &how, &handle, &err);
    lsmkv_namespace_free(handle);
    world_land_sides(w, status, &err, false);
}

static void drop_space(world *w, size_t space) {
    char name[NAME_SIZE];
    lsmkv_error err = {0};

    crash_trace("drop namespace %zu", space);
    model_begin(&w->model);
    for (size_t i = 0; i < MODEL_SPACE_SLOTS; i++) {
        model_stage_delete(&w->model, index_of(&w->model, space, i));
    }
    model_launch(&w->model, world_now(w));
    lsmkv_status status = lsmkv_namespace_drop(w->db, space_name(name, space), &err);
    world_land_sides(w, status, &err, false);
}

/* Adds one record for a namespace that exists. */
static lsmkv_status add_record(world *w, size_t space, const lsmkv_namespace *handle,
                               lsmkv_error *err) {
    char name[NAME_SIZE];
    size_t slot = 1 + (size_t)world_below(w, MODEL_SPACE_SLOTS - 1);
    size_t index = index_of(&w->model, space, slot);
    lsmkv_write how = {.space = handle};
    model_times times = MODEL_FOR_EVER;

    if (world_odds(w, 250)) {
        model_stage_delete(&w->model, index);
        return lsmkv_batch_delete(w->batch, &how, space_key(name, slot), err);
    }
    if (world_odds(w, w->profile->ttl_permille)) {
        how.ttl_ms = 1 + (int64_t)world_below(w, 100);
        lsm_test_follow_clock(w->db); /* as the write will, before it counts */
        times.hidden_at = world_now(w) + (uint64_t)how.ttl_ms;
        times.gone_at = times.hidden_at;
    }
    lsmkv_bytes value = model_stage_put(&w->model, index, world_any_size(w), times);
    return lsmkv_batch_put(w->batch, &how, space_key(name, slot), value, err);
}

/* One batch over all namespaces there are, and the default one. */
static void write_spaces(world *w) {
    lsmkv_error err = {0};
    lsmkv_status status = LSMKV_OK;
    lsmkv_write how = {.sync = world_odds(w, w->profile->sync_permille)};
    lsmkv_namespace *handles[MODEL_SPACES] = {NULL};

    crash_trace("write in namespaces sync=%d", how.sync);
    lsmkv_batch_clear(w->batch);
    model_begin(&w->model);
    for (size_t i = 0; i < MODEL_SPACES && status == LSMKV_OK; i++) {
        char name[NAME_SIZE];
        if (exists(w, i)) {
            status = lsmkv_namespace_open(w->db, space_name(name, i), NULL, &handles[i],
                                          &err);
        }
        if (handles[i] != NULL) {
            status = add_record(w, i, handles[i], &err);
        }
    }
    if (status == LSMKV_OK) {
        size_t key = world_any_key(w);
        lsmkv_bytes value = model_stage_put(&w->model, key, 8, MODEL_FOR_EVER);
        status = lsmkv_batch_put(w->batch, NULL, w->model.keys[key], value, &err);
    }
    model_launch(&w->model, world_now(w));
    if (status == LSMKV_OK) {
        status = lsmkv_write_batch(w->db, &how, w->batch, &err);
        world_land_sides(w, status, &err, how.sync);
    } else {
        (void)world_ok(w, status, &err, "building a batch");
        model_cancel(&w->model);
    }
    for (size_t i = 0; i < MODEL_SPACES; i++) {
        lsmkv_namespace_free(handles[i]);
    }
}

void world_use_space(world *w) {
    size_t space = (size_t)world_below(w, MODEL_SPACES);

    crash_count.ops++;
    if (!exists(w, space)) {
        create_space(w, space);
    } else if (world_odds(w, 150)) {
        drop_space(w, space);
    } else {
        write_spaces(w);
    }
}
