/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads of more than one key in one consistent state: get_many, snapshots, and cursors
 * that stay open while the database changes under them. A cursor remembers the state
 * of its creation and where it is; each move must end where the model's does, in any
 * order of directions.
 */
#include "world.h"

#include <string.h>

#include "report.h"

/* Every second cursor or so reads a snapshot. */
enum { LOOKUPS_MAX = 24, SNAPSHOT_DRAWS = 2 * WORLD_SNAPSHOTS };

/* `value` of `key` as read in a state. */
static void check_value(world *w, const model_state *state, size_t key, bool found,
                        lsmkv_bytes value, const char *what) {
    int32_t expected = world_shown(w, state, key);

    crash_count.reads++;
    if (found != (expected != MODEL_ABSENT)) {
        crash_fail("%s: key %zu is %s", what, key, found ? "there" : "missing");
    }
    if (found && model_entry_hash(&w->model, key, value) !=
                     w->model.values[expected].entry_hash) {
        crash_fail("%s: wrong value of key %zu", what, key);
    }
}

static void allow_read_error(const world *w, const char *what) {
    if (!w->reads_may_fail) {
        crash_fail("%s failed without a read error", what);
    }
}

static void lookup_many(world *w, const lsmkv_snapshot *snapshot,
                        const model_state *state) {
    lsmkv_error err = {0};
    lsmkv_lookup lookups[LOOKUPS_MAX];
    size_t keys[LOOKUPS_MAX];
    size_t count = (size_t)world_below(w, LOOKUPS_MAX + 1);
    lsmkv_read read = {.snapshot = snapshot};
    lsmkv_pin pin = {0};
    lsmkv_status status;

    memset(lookups, 0, sizeof(lookups));
    for (size_t i = 0; i < count; i++) {
        keys[i] = world_any_key(w);
        lookups[i].key = w->model.keys[keys[i]];
    }
    status = lsmkv_get_many(w->db, &read, lookups, count, &pin, &err);
    if (!world_ok(w, status, &err, "get_many")) {
        allow_read_error(w, "get_many");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        check_value(w, state, keys[i], lookups[i].found, lookups[i].value, "get_many");
    }
    lsmkv_pin_release(&pin);
}

void world_get_many(world *w) {
    crash_trace("get_many");
    lookup_many(w, NULL, &w->model.now);
}

static void check_snapshot(world *w, const snapshot_slot *slot) {
    lsmkv_error err = {0};
    lsmkv_read read = {.snapshot = slot->handle};

    lookup_many(w, slot->handle, &slot->state);
    world_check_sides(w, slot->handle, &slot->state);
    for (size_t i = 0; i < 4; i++) {
        lsmkv_pin pin = {0};
        size_t key = world_any_key(w);
        lsmkv_status status = lsmkv_get(w->db, &read, w->model.keys[key], &pin, &err);

        if (status == LSMKV_NOT_FOUND) {
            check_value(w, &slot->state, key, false, pin.value, "snapshot get");
        } else if (world_ok(w, status, &err, "snapshot get")) {
            check_value(w, &slot->state, key, true, pin.value, "snapshot get");
            lsmkv_pin_release(&pin);
        } else {
            allow_read_error(w, "snapshot get");
        }
    }
}

void world_use_snapshot(world *w) {
    size_t index = (size_t)world_below(w, WORLD_SNAPSHOTS);
    snapshot_slot *slot = &w->snapshots[index];
    lsmkv_error err = {0};

    if (slot->handle == NULL) {
        crash_trace("snapshot %zu", index);
        if (world_ok(w, lsmkv_snapshot_create(w->db, &slot->handle, &err), &err,
                     "snapshot_create")) {
            slot->state = w->model.now;
            slot->write_count = w->model.write_count;
        }
        return;
    }
    check_snapshot(w, slot);
    if (world_odds(w, 300)) {
        crash_trace("free snapshot %zu", index);
        lsmkv_snapshot_free(slot->handle);
        slot->handle = NULL;
    }
}

/* The universe's keys that a cursor can be on, from `at` on in one direction. */
static size_t find_row(world *w, const cursor_slot *c, size_t at, bool reverse) {
    while (at >= c->start && at < c->stop) {
        if (world_shown(w, &c->state, at) != MODEL_ABSENT) {
            return at;
        }
        at = reverse ? at - 1 : at + 1; /* below 0 wraps and so ends */
    }
    return w->model.key_count;
}

/* `valued`: the row that it is on has its value. */
static bool check_position(world *w, cursor_slot *c, lsmkv_status status,
                           const lsmkv_error *err, size_t expected, bool valued) {
    if (!world_ok(w, status, err, "a cursor")) {
        allow_read_error(w, "a cursor");
        if (lsmkv_iter_valid(c->handle)) {
            crash_fail("a cursor is valid after an error");
        }
        c->at = w->model.key_count;
        return false;
    }
    c->at = expected;
    if (lsmkv_iter_valid(c->handle) != (expected != w->model.key_count)) {
        crash_fail("a cursor is %svalid, expected key %zu of %zu",
                   lsmkv_iter_valid(c->handle) ? "" : "not ", expected,
                   w->model.key_count);
    }
    if (expected != w->model.key_count) {
        size_t key = model_find_key(&w->model, lsmkv_iter_key(c->handle), 0);
        if (key != expected) {
            crash_fail("a cursor is at key %zu, expected %zu", key, expected);
        }
        if (valued) {
            check_value(w, &c->state, key, true, lsmkv_iter_value(c->handle), "cursor");
        }
    }
    return true;
}

static void fill_rows(world *w, cursor_slot *c) {
    lsmkv_error err = {0};
    lsmkv_chunk chunk = {0};
    bool reverse = c->fresh && world_odds(w, 500);
    lsmkv_fill fill = {.reverse = reverse,
                       .keys_only = world_odds(w, 200),
                       .row_max = world_below(w, 6),
                       .byte_max = world_below(w, 200)};
    size_t at = c->at;
    lsmkv_status status = lsmkv_iter_fill(c->handle, &fill, &chunk, &err);

    crash_trace("fill reverse=%d rows=%zu bytes=%zu: %zu rows", fill.reverse,
                fill.row_max, fill.byte_max, chunk.row_count);
    if (c->fresh) {
        at = reverse ? find_row(w, c, c->stop - 1, true)
                     : find_row(w, c, c->start, false);
    } else {
        at = find_row(w, c, at, reverse); /* what was there may have expired */
    }
    if (!world_ok(w, status, &err, "fill")) {
        allow_read_error(w, "fill");
        c->at = w->model.key_count;
        return;
    }
    if ((chunk.row_count == 0) != (at == w->model.key_count) ||
        (fill.row_max != 0 && chunk.row_count > fill.row_max)) {
        crash_fail("fill: %zu rows from key %zu", chunk.row_count, at);
    }
    for (size_t i = 0; i < chunk.row_count; i++) {
        const lsmkv_row *row = &chunk.rows[i];
        lsmkv_bytes key = {chunk.data + row->key_offset, row->key_size};
        lsmkv_bytes value = {chunk.data + row->value_offset, row->value_size};

        if (at == w->model.key_count || model_find_key(&w->model, key, 0) != at) {
            crash_fail("fill: row %zu is not key %zu", i, at);
        }
        if (!fill.keys_only) {
            check_value(w, &c->state, at, true, value, "fill");
        }
        at = find_row(w, c, reverse ? at - 1 : at + 1, reverse);
    }
    if (w->reads_may_fail && !lsmkv_iter_valid(c->handle)) {
        c->at = w->model.key_count; /* an error that the next call would report */
        return;
    }
    (void)check_position(w, c, LSMKV_OK, &err, at, !fill.keys_only);
}

static void open_cursor(world *w, cursor_slot *c) {
    lsmkv_error err = {0};
    size_t snapshot = (size_t)world_below(w, SNAPSHOT_DRAWS);
    lsmkv_read read = {0};
    lsmkv_range range = {0};
    lsmkv_status status;

    c->state = w->model.now;
    if (snapshot < WORLD_SNAPSHOTS && w->snapshots[snapshot].handle != NULL) {
        read.snapshot = w->snapshots[snapshot].handle;
        c->state = w->snapshots[snapshot].state;
    }
    c->start = 0;
    c->stop = w->model.key_count;
    if (world_odds(w, 400)) {
        c->start = world_any_key(w);
        range.has_start = true;
        range.start = w->model.keys[c->start];
    }
    if (world_odds(w, 400)) {
        c->stop = world_any_key(w);
        range.has_stop = true;
        range.stop = w->model.keys[c->stop];
    }
    crash_trace("cursor over [%zu, %zu)", c->start, c->stop);
    status = lsmkv_iter_create(w->db, &read, &range, &c->handle, &err);
    if (!world_ok(w, status, &err, "iter_create")) {
        allow_read_error(w, "iter_create");
        return;
    }
    c->at = w->model.key_count;
    c->fresh = true;
    if (lsmkv_iter_valid(c->handle)) {
        crash_fail("a fresh cursor is positioned");
    }
}

static size_t clamp(size_t value, size_t low, size_t high) {
    return value < low ? low : value > high ? high : value;
}

/* Seeks to a key of the universe, or to just behind one. */
static void seek(world *w, cursor_slot *c, bool for_prev) {
    uint8_t bytes[512];
    lsmkv_error err = {0};
    size_t key = world_any_key(w);
    size_t size = w->model.keys[key].size;
    bool behind = world_odds(w, 300);
    lsmkv_bytes target = {bytes, size + behind};
    size_t low;
    bool exact;

    memcpy(bytes, w->model.keys[key].data, size);
    bytes[size] = 0; /* the smallest key above it, if `behind` */
    low = model_lower_bound(&w->model, target);
    exact = low < w->model.key_count &&
            model_find_key(&w->model, target, 0) < w->model.key_count;
    if (!for_prev) {
        low = low < c->start ? c->start : low;
        crash_trace("seek key=%zu+%d", key, behind);
        (void)check_position(w, c, lsmkv_iter_seek(c->handle, target, &err), &err,
                             find_row(w, c, low, false), true);
        return;
    }
    /* One past the last candidate, so that "none" needs no negative number. */
    low = clamp(low + exact, 0, c->stop);
    crash_trace("seek_for_prev key=%zu+%d", key, behind);
    (void)check_position(w, c, lsmkv_iter_seek_for_prev(c->handle, target, &err), &err,
                         low == 0 ? w->model.key_count : find_row(w, c, low - 1, true),
                         true);
}

static void step_cursor(world *w, cursor_slot *c, bool reverse) {
    lsmkv_error err = {0};
    size_t steps = 1 + (size_t)world_below(w, 4);

    crash_trace("%zu x %s", steps, reverse ? "prev" : "next");
    if (c->at == w->model.key_count) {
        lsmkv_status status = reverse ? lsmkv_iter_prev(c->handle, &err)
                                      : lsmkv_iter_next(c->handle, &err);
        if (status == LSMKV_OK ||
            (status != LSMKV_INVALID_ARGUMENT && w->allowed == 0)) {
            crash_fail("a move from nowhere answered %s", lsmkv_status_name(status));
        }
        return;
    }
    for (size_t i = 0; i < steps && c->at != w->model.key_count; i++) {
        size_t to = find_row(w, c, reverse ? c->at - 1 : c->at + 1, reverse);
        lsmkv_status status = reverse ? lsmkv_iter_prev(c->handle, &err)
                                      : lsmkv_iter_next(c->handle, &err);
        if (!check_position(w, c, status, &err, to, true)) {
            return;
        }
    }
}

void world_use_cursor(world *w) {
    size_t index = (size_t)world_below(w, WORLD_CURSORS);
    cursor_slot *c = &w->cursors[index];
    lsmkv_error err = {0};
    bool fresh = c->fresh;

    if (c->handle == NULL) {
        open_cursor(w, c);
        return;
    }
    crash_trace("cursor %zu:", index);
    c->fresh = false;
    switch (world_below(w, 8)) {
        case 0:
            (void)check_position(w, c, lsmkv_iter_seek_first(c->handle, &err), &err,
                                 find_row(w, c, c->start, false), true);
            break;
        case 1:
            (void)check_position(w, c, lsmkv_iter_seek_last(c->handle, &err), &err,
                                 find_row(w, c, c->stop - 1, true), true);
            break;
        case 2:
            seek(w, c, false);
            break;
        case 3:
            seek(w, c, true);
            break;
        case 4:
            c->fresh = fresh;
            if (fresh || c->at != w->model.key_count) {
                fill_rows(w, c);
                c->fresh = false;
            }
            break;
        case 5:
            lsmkv_iter_free(c->handle);
            c->handle = NULL;
            break;
        default:
            step_cursor(w, c, world_odds(w, 500));
            break;
    }
}
