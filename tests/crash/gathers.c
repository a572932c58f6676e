/* SPDX-License-Identifier: Apache-2.0
 *
 * A namespace of vectors, whose rows are written from arrays and gathered into them. In
 * the model the first of its indices says whether it exists, the others are its rows,
 * by their numbers.
 */
#include "world.h"

#include <string.h>

#include "base/coding.h"
#include "report.h"

enum {
    ROWS = MODEL_ROW_SLOTS - 1,
    DIM = 6,
    ROW_BYTES = DIM * 4,
    STRIDE = ROW_BYTES + 8, /* what lies between rows belongs to nobody */
    KEY_SIZE = 8,
    LIFE_MS = 100,
};

static lsmkv_bytes space_name(void) {
    return (lsmkv_bytes){"rows", 4};
}

static size_t index_of(const model *m, size_t slot) {
    return m->key_count + MODEL_ROWS_AT + slot;
}

static lsmkv_bytes row_key(uint8_t to[KEY_SIZE], size_t row) {
    lsm_put_u64_be(to, row);
    return (lsmkv_bytes){to, KEY_SIZE};
}

/* Gathers all rows, and looks up until when they are there. */
static lsmkv_status look_at_rows(lsmkv_db *db, const lsmkv_read *read, const model *m,
                                 model_sides *to) {
    uint64_t ids[ROWS];
    uint8_t out[ROWS * STRIDE] = {0};
    uint8_t found[ROWS];
    lsmkv_error err = {0};
    size_t count = 0;
    size_t sum = 0;
    lsmkv_keys keys = {.ids = ids, .count = ROWS};
    lsmkv_gather gather = {
        .out = out, .row_bytes = ROW_BYTES, .stride = STRIDE, .found = found};

    for (size_t i = 0; i < ROWS; i++) {
        ids[i] = i;
    }
    lsmkv_status status = lsmkv_get_rows(db, read, &keys, &gather, &count, &err);
    for (size_t i = 0; status == LSMKV_OK && i < ROWS; i++) {
        uint8_t key[KEY_SIZE];
        int64_t ttl_ms = 0;
        size_t side = MODEL_ROWS_AT + 1 + i;
        lsmkv_bytes row = {out + i * STRIDE, ROW_BYTES};
        for (size_t at = 0; at < (found[i] ? 0 : ROW_BYTES); at++) {
            if (out[i * STRIDE + at] != 0) {
                crash_fail("a row that is not there was written");
            }
        }
        if (!found[i]) {
            continue;
        }
        sum += 1;
        to->entries[side] = model_entry_hash(m, index_of(m, 1 + i), row);
        status = lsmkv_ttl(db, read, row_key(key, i), &ttl_ms, &err);
        to->ends[side] =
            ttl_ms < 0 ? MODEL_NEVER : lsm_test_now_ms(db) + (uint64_t)ttl_ms;
    }
    if (status == LSMKV_OK && sum != count) {
        crash_fail("%zu rows were found, and %zu counted", sum, count);
    }
    return status;
}

lsmkv_status rows_look(lsmkv_db *db, const lsmkv_snapshot *snapshot, const model *m,
                       model_sides *to) {
    lsmkv_error err = {0};
    lsmkv_namespace *space = NULL;
    lsmkv_namespace_how how = {.snapshot = snapshot};
    lsmkv_read read = {.snapshot = snapshot};
    lsmkv_status status = lsmkv_namespace_open(db, space_name(), &how, &space, &err);

    if (status == LSMKV_NOT_FOUND) {
        return LSMKV_OK;
    }
    if (status == LSMKV_OK) {
        lsmkv_space_options options;
        lsmkv_namespace_options(space, &options);
        if (options.vector_dim != DIM) {
            crash_fail("the rows have %u numbers", options.vector_dim);
        }
        to->entries[MODEL_ROWS_AT] =
            model_entry_hash(m, index_of(m, 0), (lsmkv_bytes){NULL, 0});
        to->ends[MODEL_ROWS_AT] = MODEL_NEVER;
        read.space = space;
        status = look_at_rows(db, &read, m, to);
    }
    lsmkv_namespace_free(space);
    return status;
}

static lsmkv_status open_space(lsmkv_db *db, bool create, lsmkv_namespace **space,
                               lsmkv_error *err) {
    lsmkv_namespace_how how = {
        .create = create,
        .has_vector = true,
        .options = {.vector_dim = DIM, .vector_dtype = 0, .vector_metric = 0}};

    return lsmkv_namespace_open(db, space_name(), &how, space, err);
}

static void create(world *w) {
    lsmkv_error err = {0};
    lsmkv_namespace *space = NULL;

    crash_trace("create the namespace of rows");
    model_begin(&w->model);
    model_stage_bytes(&w->model, index_of(&w->model, 0), (lsmkv_bytes){NULL, 0});
    model_launch(&w->model, world_now(w));
    lsmkv_status status = open_space(w->db, true, &space, &err);
    lsmkv_namespace_free(space);
    world_land_sides(w, status, &err, false);
}

static void drop(world *w) {
    lsmkv_error err = {0};

    crash_trace("drop the namespace of rows");
    model_begin(&w->model);
    for (size_t i = 0; i < MODEL_ROW_SLOTS; i++) {
        model_stage_delete(&w->model, index_of(&w->model, i));
    }
    model_launch(&w->model, world_now(w));
    lsmkv_status status = lsmkv_namespace_drop(w->db, space_name(), &err);
    world_land_sides(w, status, &err, false);
}

/* An array of rows, some of which may have the same number. */
static void stage_rows(world *w, model_times times, uint64_t ids[ROWS],
                       uint8_t data[ROWS * STRIDE], size_t count) {
    for (size_t i = 0; i < count; i++) {
        ids[i] = world_below(w, ROWS);
        lsmkv_bytes row = model_stage_put(
            &w->model, index_of(&w->model, 1 + (size_t)ids[i]), ROW_BYTES, times);
        memcpy(data + i * STRIDE, row.data, ROW_BYTES);
    }
}

/* In one batch with the deletion of a row, and a value of the default namespace. */
static lsmkv_status write_mixed(world *w, const lsmkv_write *how,
                                const lsmkv_keys *keys, const lsmkv_rows *rows,
                                lsmkv_error *err) {
    uint8_t room[KEY_SIZE];
    size_t gone = (size_t)world_below(w, ROWS);
    size_t key = world_any_key(w);
    lsmkv_write only = {.space = how->space};

    lsmkv_batch_clear(w->batch);
    model_stage_delete(&w->model, index_of(&w->model, 1 + gone));
    lsmkv_bytes value = model_stage_put(&w->model, key, 12, MODEL_FOR_EVER);
    model_launch(&w->model, world_now(w));
    lsmkv_status status = lsmkv_batch_put_rows(w->batch, how, keys, rows, err);
    if (status == LSMKV_OK) {
        status = lsmkv_batch_delete(w->batch, &only, row_key(room, gone), err);
    }
    if (status == LSMKV_OK) {
        status = lsmkv_batch_put(w->batch, NULL, w->model.keys[key], value, err);
    }
    only = (lsmkv_write){.sync = how->sync};
    return status == LSMKV_OK ? lsmkv_write_batch(w->db, &only, w->batch, err) : status;
}

static void write(world *w, const lsmkv_namespace *space) {
    uint64_t ids[ROWS];
    uint8_t data[ROWS * STRIDE] = {0};
    lsmkv_error err = {0};
    lsmkv_write how = {
        .space = space, .ttl_ms = -1, .sync = world_odds(w, w->profile->sync_permille)};
    lsmkv_keys keys = {.ids = ids, .count = 1 + (size_t)world_below(w, ROWS)};
    lsmkv_rows rows = {.data = data, .row_bytes = ROW_BYTES, .stride = STRIDE};
    model_times times = MODEL_FOR_EVER;
    lsmkv_status status;

    crash_trace("write %zu rows sync=%d", keys.count, how.sync);
    if (world_odds(w, w->profile->ttl_permille)) {
        how.ttl_ms = 1 + (int64_t)world_below(w, LIFE_MS);
        lsm_test_follow_clock(w->db);
        times.hidden_at = world_now(w) + (uint64_t)how.ttl_ms;
        times.gone_at = times.hidden_at;
    }
    model_begin(&w->model);
    stage_rows(w, times, ids, data, keys.count);
    if (world_odds(w, 300)) {
        status = write_mixed(w, &how, &keys, &rows, &err);
    } else {
        size_t count = 0;
        model_launch(&w->model, world_now(w));
        status = lsmkv_put_rows(w->db, &how, &keys, &rows, &count, &err);
        if (count != (status == LSMKV_OK ? keys.count : 0)) {
            crash_fail("%zu of %zu rows were written", count, keys.count);
        }
    }
    world_land_sides(w, status, &err, how.sync);
}

void world_use_rows(world *w) {
    lsmkv_namespace *space = NULL;
    lsmkv_error err = {0};
    size_t exists = index_of(&w->model, 0);

    crash_count.ops++;
    if (world_shown(w, &w->model.now, exists) == MODEL_ABSENT) {
        create(w);
    } else if (world_odds(w, 60)) {
        drop(w);
    } else {
        lsmkv_status status = open_space(w->db, false, &space, &err);
        if (world_ok(w, status, &err, "opening the namespace of rows")) {
            write(w, space);
        }
        lsmkv_namespace_free(space);
    }
}
