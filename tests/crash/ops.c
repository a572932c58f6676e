/* SPDX-License-Identifier: Apache-2.0
 *
 * Operations that change something, and the plain reads that check them. A write is
 * staged in the model, launched, sent to the database, and landed by its answer; what
 * it touched is read back at once, so a failed write that shows, or a successful one
 * that does not, is found where it happens.
 */
#include "world.h"

#include <string.h>

#include "base/slice.h"
#include "report.h"

enum { TTL_SPREAD = 100 }; /* ms */

static unsigned long long number(uint64_t value) {
    return (unsigned long long)value;
}

size_t world_any_key(world *w) {
    return (size_t)world_below(w, w->model.key_count);
}

size_t world_any_size(world *w) {
    switch (world_below(w, 8)) {
        case 0:
            return 0;
        case 1:
            return (size_t)world_below(w, 2 * (uint64_t)w->options.block_bytes + 2);
        default:
            return (size_t)world_below(w, w->profile->value_max + 1);
    }
}

static lsmkv_read any_read(world *w) {
    return (lsmkv_read){.nonblocking = world_odds(w, 100)};
}

/* The point read of one key, compared with what the model says. */
void world_check_key(world *w, size_t key) {
    lsmkv_error err = {0};
    lsmkv_pin pin = {0};
    lsmkv_read read = any_read(w);
    int32_t expected = world_shown(w, &w->model.now, key);
    lsmkv_status status = lsmkv_get(w->db, &read, w->model.keys[key], &pin, &err);

    crash_count.reads++;
    if (status == LSMKV_WOULD_BLOCK && read.nonblocking) {
        return;
    }
    if (status == LSMKV_NOT_FOUND) {
        if (expected != MODEL_ABSENT) {
            crash_fail("get of key %zu: not found, expected value %d", key, expected);
        }
        return;
    }
    if (!world_ok(w, status, &err, "get")) {
        if (!w->reads_may_fail) {
            crash_fail("get of key %zu failed without a read error", key);
        }
        return;
    }
    if (expected == MODEL_ABSENT || model_entry_hash(&w->model, key, pin.value) !=
                                        w->model.values[expected].entry_hash) {
        crash_fail("get of key %zu: %zu wrong bytes, expected value %d", key,
                   pin.value.size, expected);
    }
    lsmkv_pin_release(&pin);
    if (!w->reads_may_fail && w->allowed == 0 && world_odds(w, 100) &&
        world_mark_of(w->db, w->model.keys[key]) !=
            model_mark(w->model.values[expected].times)) {
        crash_fail("key %zu expires at another time", key);
    }
}

static void check_changes(world *w, size_t first) {
    size_t end = w->model.launched.first_change + w->model.launched.change_count;

    for (size_t i = first; i < end && i < first + 16; i++) {
        if (w->model.changes[i].key < w->model.key_count) {
            world_check_key(w, w->model.changes[i].key);
        }
    }
}

/* A write to send: a batch, else a deletion of `range`, else a put of `value`, or
 * without one a delete. */
typedef struct write_request {
    lsmkv_batch *batch;
    const lsmkv_range *range;
    size_t key;
    lsmkv_bytes value;
    int64_t ttl_ms;
    int64_t stale_ms;
    const lsmkv_snapshot *since;
    bool has_value;
    bool touches;
    bool sync;
} write_request;

/* How to write: explicitly synced, explicitly not, or the database's way. */
static lsmkv_write write_how(const world *w, bool sync, bool *durable) {
    bool always = w->options.durability == LSMKV_DURABILITY_SYNC;

    *durable = sync;
    if (sync) {
        return (lsmkv_write){.sync = true};
    }
    if (always && w->model.commit_count % 2 == 0) {
        *durable = true;
        return (lsmkv_write){0};
    }
    return (lsmkv_write){.nosync = true};
}

static lsmkv_status send(const world *w, const write_request *r, const lsmkv_write *how,
                         lsmkv_error *err) {
    lsmkv_bytes key = w->model.keys[r->key];

    if (r->batch != NULL) {
        return lsmkv_write_batch(w->db, how, r->batch, err);
    }
    if (r->touches) {
        return lsmkv_touch(w->db, how, key, err);
    }
    if (r->range != NULL) {
        return lsmkv_delete_range(w->db, how, r->range, err);
    }
    return r->has_value ? lsmkv_put(w->db, how, key, r->value, err)
                        : lsmkv_delete(w->db, how, key, err);
}

/* Whether a request comes to no record in the log. */
static bool writes_nothing(const write_request *r) {
    const lsmkv_range *range = r->range;
    lsm_slice start = {NULL, 0};

    if (r->batch != NULL) {
        return lsmkv_batch_count(r->batch) == 0;
    }
    if (range == NULL || !range->has_stop) {
        return false;
    }
    if (range->has_start) {
        start = lsm_slice_make(range->start.data, range->start.size);
    }
    return lsm_slice_compare(start,
                             lsm_slice_make(range->stop.data, range->stop.size)) >= 0;
}

/* Launches what was staged, sends it and lands it; what is durable then raises the
 * floor. What comes to no record is no commit. Some writes first ask not to wait;
 * refused, they must have done nothing. */
static bool commit(world *w, const write_request *r) {
    lsmkv_error err = {0};
    bool durable = false;
    bool done = false;
    lsmkv_write how = write_how(w, r->sync, &durable);
    lsmkv_status status = LSMKV_WOULD_BLOCK;

    crash_count.ops++;
    how.ttl_ms = r->ttl_ms;
    how.stale_ms = r->stale_ms;
    how.since = r->since;
    model_launch(&w->model, world_now(w));
    if (world_odds(w, 100)) {
        how.nonblocking = true;
        status = send(w, r, &how, &err);
        how.nonblocking = false;
    }
    if (status == LSMKV_WOULD_BLOCK) {
        status = send(w, r, &how, &err);
    }
    if (status == LSMKV_NOT_FOUND && r->touches &&
        world_shown(w, &w->model.before, r->key) == MODEL_ABSENT) {
        model_cancel(&w->model); /* it expired as the engine looked at the clock */
        return true;
    }
    done = world_ok(w, status, &err, "write");
    if (status == LSMKV_NO_MEMORY || writes_nothing(r)) {
        durable = false;
        model_cancel(&w->model);
    } else {
        model_land(&w->model, done);
    }
    if (done && durable) {
        model_raise_floor(&w->model);
    }
    check_changes(w, w->model.launched.first_change);
    return done;
}

/* How long a value is to live: as the profile has it, mostly for ever or briefly. */
static int64_t any_ttl(world *w) {
    if (!world_odds(w, w->profile->ttl_permille)) {
        return world_odds(w, 500) ? 0 : -1;
    }
    return 1 +
           (int64_t)world_below(w, world_odds(w, 100) ? (uint64_t)1 << 40 : TTL_SPREAD);
}

/* For how long a value is to be stale when its time is over. */
static int64_t any_stale(world *w) {
    return world_odds(w, w->profile->stale_permille)
               ? 1 + (int64_t)world_below(w, TTL_SPREAD)
               : 0;
}

/* When a value written now with such times is hidden and gone: a write follows the wall
 * clock before it counts from engine time. */
static model_times times_of(world *w, int64_t ttl_ms, int64_t stale_ms) {
    lsm_test_follow_clock(w->db);
    if (ttl_ms <= 0) {
        return MODEL_FOR_EVER;
    }
    uint64_t hidden_at = world_now(w) + (uint64_t)ttl_ms;
    return (model_times){hidden_at, hidden_at + (uint64_t)stale_ms};
}

bool world_put(world *w, size_t key, size_t size, bool sync) {
    write_request request = {.key = key, .has_value = true, .sync = sync};

    crash_trace("put key=%zu size=%zu sync=%d", key, size, sync);
    model_begin(&w->model);
    request.ttl_ms = any_ttl(w);
    request.stale_ms = any_stale(w);
    request.value = model_stage_put(&w->model, key, size,
                                    times_of(w, request.ttl_ms, request.stale_ms));
    return commit(w, &request);
}

bool world_put_since(world *w, size_t key, size_t size, bool sync) {
    const snapshot_slot *slot = &w->snapshots[world_below(w, WORLD_SNAPSHOTS)];
    write_request request = {
        .key = key, .has_value = true, .sync = sync, .since = slot->handle};
    lsmkv_error err = {0};

    if (slot->handle == NULL) {
        return true;
    }
    crash_trace("put since a snapshot key=%zu size=%zu sync=%d", key, size, sync);
    if (w->model.written[key] > slot->write_count) {
        lsmkv_write how = {.since = slot->handle, .sync = sync};
        lsmkv_status status =
            lsmkv_put(w->db, &how, w->model.keys[key], (lsmkv_bytes){"late", 4}, &err);
        world_check_key(w, key);
        if (status == LSMKV_NOT_FOUND) {
            return true;
        }
        if (world_ok(w, status, &err, "a put since a snapshot")) {
            crash_fail("a put undid what came since its snapshot");
        }
        return false;
    }
    model_begin(&w->model);
    request.ttl_ms = any_ttl(w);
    request.stale_ms = any_stale(w);
    request.value = model_stage_put(&w->model, key, size,
                                    times_of(w, request.ttl_ms, request.stale_ms));
    return commit(w, &request);
}

bool world_touch(world *w, size_t key, bool sync) {
    write_request request = {.key = key, .touches = true, .sync = sync};
    lsmkv_error err = {0};

    crash_trace("touch key=%zu sync=%d", key, sync);
    lsm_test_follow_clock(w->db);
    if (world_shown(w, &w->model.now, key) == MODEL_ABSENT) {
        lsmkv_status status = lsmkv_touch(w->db, NULL, w->model.keys[key], &err);
        return status == LSMKV_NOT_FOUND || world_ok(w, status, &err, "touch");
    }
    model_begin(&w->model);
    request.ttl_ms = world_odds(w, 200) ? -1 : 1 + (int64_t)world_below(w, TTL_SPREAD);
    request.stale_ms = any_stale(w);
    model_stage_touch(&w->model, key, times_of(w, request.ttl_ms, request.stale_ms));
    return commit(w, &request);
}

void world_move_clock(world *w) {
    static const int64_t day = 24 * 3600 * 1000;
    uint64_t draw = world_below(w, 16);
    int64_t step = (int64_t)world_below(w, TTL_SPREAD);

    crash_count.ops++;
    if (draw == 0) {
        step = -(int64_t)world_below(w, (uint64_t)day * 3);
    } else if (draw == 1) {
        step = (int64_t)world_below(w, (uint64_t)day);
        crash_trace("the wall clock jumps %lld ms", (long long)step);
        lsm_sim_jump_ms(w->env, (uint64_t)step * (1 + world_below(w, 3)));
        return;
    } else if (draw < 5) {
        step *= 16;
    }
    crash_trace("the clock moves by %lld ms", (long long)step);
    lsm_sim_advance_ms(w->env, step);
}

bool world_delete(world *w, size_t key, bool sync) {
    write_request request = {.key = key, .sync = sync};

    crash_trace("delete key=%zu sync=%d", key, sync);
    model_begin(&w->model);
    model_stage_delete(&w->model, key);
    return commit(w, &request);
}

/* Stages the deletion of a range: mostly a few keys, now and then without one bound or
 * both, sometimes without any key in it. */
static lsmkv_range stage_any_range(world *w) {
    size_t start = world_any_key(w);
    size_t stop = start + (size_t)world_below(w, 2 + w->model.key_count / 5);
    lsmkv_range range = {.has_start = !world_odds(w, 60), .has_stop = true};

    if (stop >= w->model.key_count || world_odds(w, 30)) {
        stop = w->model.key_count;
        range.has_stop = false;
    } else {
        range.stop = w->model.keys[stop];
    }
    start = range.has_start ? start : 0;
    range.start = w->model.keys[start];
    crash_trace("  range of keys [%zu, %zu)", start, stop);
    model_stage_delete_range(&w->model, start, stop);
    return range;
}

bool world_delete_range(world *w, bool sync) {
    crash_trace("delete_range sync=%d", sync);
    model_begin(&w->model);
    lsmkv_range range = stage_any_range(w);
    return commit(w, &(write_request){.range = &range, .sync = sync});
}

static lsmkv_status add_record(world *w, size_t key, lsmkv_error *err) {
    if (world_odds(w, 60)) {
        lsmkv_range range = stage_any_range(w);
        return lsmkv_batch_delete_range(w->batch, NULL, &range, err);
    }
    if (world_odds(w, 300)) {
        model_stage_delete(&w->model, key);
        return lsmkv_batch_delete(w->batch, NULL, w->model.keys[key], err);
    }
    lsmkv_write how = {.ttl_ms = any_ttl(w), .stale_ms = any_stale(w)};
    lsmkv_bytes value = model_stage_put(&w->model, key, world_any_size(w),
                                        times_of(w, how.ttl_ms, how.stale_ms));
    return lsmkv_batch_put(w->batch, &how, w->model.keys[key], value, err);
}

/* Records hit few keys, so that duplicates and put-delete conflicts are common. */
bool world_batch(world *w, size_t records, bool sync) {
    write_request request = {.batch = w->batch, .sync = sync};
    lsmkv_error err = {0};
    size_t spread = 1 + (size_t)world_below(w, w->model.key_count);
    size_t first = world_any_key(w);
    lsmkv_status status = LSMKV_OK;

    crash_trace("batch records=%zu sync=%d", records, sync);
    lsmkv_batch_clear(w->batch);
    model_begin(&w->model);
    for (size_t i = 0; i < records && status == LSMKV_OK; i++) {
        size_t key = (first + world_below(w, spread)) % w->model.key_count;
        status = add_record(w, key, &err);
    }
    if (!world_ok(w, status, &err, "building a batch")) {
        model_launch(&w->model, world_now(w));
        model_cancel(&w->model);
        return false;
    }
    /* Ranges without a key in them add no record. */
    if (lsmkv_batch_count(w->batch) > records) {
        crash_fail("a batch of %zu records counts %zu", records,
                   lsmkv_batch_count(w->batch));
    }
    return commit(w, &request);
}

static void fill(world *w) {
    size_t key = world_any_key(w);
    size_t count = 4 + (size_t)world_below(w, 12);

    for (size_t i = 0; i < count; i++) {
        (void)world_put(w, (key + i) % w->model.key_count, world_any_size(w), false);
    }
}

bool world_sync(world *w) {
    lsmkv_error err = {0};
    bool done;

    crash_count.ops++;
    crash_trace("sync");
    done = world_ok(w, lsmkv_sync(w->db, &err), &err, "sync");
    if (done) {
        model_raise_floor(&w->model);
    }
    return done;
}

bool world_flush(world *w) {
    lsmkv_error err = {0};
    bool done;

    crash_count.ops++;
    crash_trace("flush");
    done = world_ok(w, lsmkv_flush(w->db, &err), &err, "flush");
    if (done) {
        model_raise_floor(&w->model);
    }
    return done;
}

bool world_compact(world *w, bool everything) {
    lsmkv_error err = {0};
    lsmkv_range range = {0};

    crash_count.ops++;
    range.has_start = world_odds(w, 700);
    range.has_stop = world_odds(w, 700);
    range.start = w->model.keys[world_any_key(w)];
    range.stop = w->model.keys[world_any_key(w)];
    crash_trace("compact%s", everything ? " everything" : " a range");
    return world_ok(w, lsmkv_compact(w->db, NULL, everything ? NULL : &range, &err),
                    &err, "compact");
}

bool world_settle(world *w) {
    lsmkv_error err = {0};

    crash_count.ops++;
    crash_trace("settle");
    return world_ok(w, lsmkv_settle(w->db, &err), &err, "settle");
}

void world_step(world *w, uint64_t count) {
    crash_count.ops++;
    crash_trace("step %llu", number(count));
    (void)lsm_test_step(w->db, count);
}

/* The row the iterator is on, compared with key `at` of the model. */
static void check_row(world *w, const lsmkv_iter *iter, size_t at) {
    lsmkv_bytes key = lsmkv_iter_key(iter);
    int32_t expected = world_shown(w, &w->model.now, at);

    crash_count.reads++;
    if (model_find_key(&w->model, key, 0) != at) {
        crash_fail("scan: a key of %zu bytes where key %zu belongs", key.size, at);
    }
    if (model_entry_hash(&w->model, at, lsmkv_iter_value(iter)) !=
        w->model.values[expected].entry_hash) {
        crash_fail("scan: wrong value at key %zu", at);
    }
}

void world_check_scan(world *w, bool reverse) {
    lsmkv_error err = {0};
    lsmkv_iter *iter = NULL;
    size_t count = w->model.key_count;
    lsmkv_status status = lsmkv_iter_create(w->db, NULL, NULL, &iter, &err);

    crash_trace("scan%s", reverse ? " in reverse" : "");
    if (!world_ok(w, status, &err, "iter_create")) {
        return;
    }
    status =
        reverse ? lsmkv_iter_seek_last(iter, &err) : lsmkv_iter_seek_first(iter, &err);
    for (size_t i = 0; i < count && status == LSMKV_OK; i++) {
        size_t at = reverse ? count - 1 - i : i;
        if (world_shown(w, &w->model.now, at) == MODEL_ABSENT) {
            continue;
        }
        if (!lsmkv_iter_valid(iter)) {
            crash_fail("scan: ended before key %zu", at);
        }
        check_row(w, iter, at);
        status = reverse ? lsmkv_iter_prev(iter, &err) : lsmkv_iter_next(iter, &err);
    }
    if (world_ok(w, status, &err, "scan") && lsmkv_iter_valid(iter)) {
        crash_fail("scan: a row too many, key of %zu bytes", lsmkv_iter_key(iter).size);
    }
    if (status != LSMKV_OK && !w->reads_may_fail) {
        crash_fail("a scan failed without a read error");
    }
    lsmkv_iter_free(iter);
}

static void on_problem(void *context, const lsmkv_error *problem) {
    const world *w = (const world *)context;
    if (!w->reads_may_fail || !world_allows(w, problem->status)) {
        crash_need(problem->status, problem, "verify");
    }
    crash_trace("verify: %s %s at %lld: %s", lsmkv_status_name(problem->status),
                problem->file, (long long)problem->offset, problem->message);
}

void world_verify(world *w) {
    lsmkv_error err = {0};
    lsmkv_report report = {0};
    lsmkv_status status = lsmkv_verify(w->db, on_problem, w, &report, &err);

    crash_trace("verify");
    (void)world_ok(w, status, &err, "verify");
}

void world_check_all(world *w) {
    world_check_scan(w, false);
    world_check_scan(w, true);
    for (size_t key = 0; key < w->model.key_count; key++) {
        world_check_key(w, key);
        world_check_stale(w, key);
    }
}

/* Opens what was closed or abandoned. */
bool world_open_again(world *w) {
    if (world_open(w)) {
        return true;
    }
    if (w->relief == NULL) {
        return false;
    }
    w->relief(w);
    return world_open(w);
}

bool world_reopen(world *w) {
    world_close(w);
    if (world_odds(w, 700)) {
        lsmkv_durability durability = w->options.durability;
        profile_vary_options(&w->options, &w->rng);
        w->options.durability = durability;
    } else {
        w->options.seed = lsm_rng_next(&w->rng) | 1;
    }
    return world_open_again(w);
}

bool world_restart(world *w) {
    crash_trace("restart");
    world_abandon(w);
    return world_open_again(w);
}

static world_op pick_op(world *w) {
    uint64_t total = 0;
    uint64_t at = 0;

    for (size_t i = 0; i < OP_COUNT; i++) {
        total += w->profile->weights[i];
    }
    at = world_below(w, total);
    for (size_t i = 0; i < OP_COUNT; i++) {
        if (at < w->profile->weights[i]) {
            return (world_op)i;
        }
        at -= w->profile->weights[i];
    }
    return OP_PUT;
}

static void run_write(world *w, world_op op) {
    bool sync = world_odds(w, w->profile->sync_permille);

    if (op == OP_PUT) {
        (void)world_put(w, world_any_key(w), world_any_size(w), sync);
    } else if (op == OP_DELETE) {
        (void)world_delete(w, world_any_key(w), sync);
    } else if (op == OP_SPACE) {
        world_use_space(w);
    } else if (op == OP_CACHE) {
        world_use_cache(w, (size_t)world_below(w, 20));
    } else if (op == OP_PUBLISH) {
        world_use_publish(w);
    } else if (op == OP_ROWS) {
        world_use_rows(w);
    } else if (op == OP_TOUCH) {
        (void)world_touch(w, world_any_key(w), sync);
    } else if (op == OP_PUT_SINCE) {
        (void)world_put_since(w, world_any_key(w), world_any_size(w), sync);
    } else if (op == OP_DELETE_RANGE) {
        (void)world_delete_range(w, sync);
    } else if (op == OP_BATCH) {
        (void)world_batch(w, 1 + (size_t)world_below(w, w->profile->batch_max), sync);
    } else {
        fill(w);
    }
}

static void run_maintenance(world *w, world_op op) {
    if (op == OP_SYNC) {
        (void)world_sync(w);
    } else if (op == OP_FLUSH) {
        (void)world_flush(w);
    } else if (op == OP_COMPACT) {
        (void)world_compact(w, world_odds(w, 300));
    } else if (op == OP_CLOCK) {
        world_move_clock(w);
    } else if (op == OP_WARM) {
        world_warm(w);
    } else if (op == OP_SETTLE) {
        (void)world_settle(w);
    } else if (op == OP_REOPEN) {
        (void)world_reopen(w);
    } else {
        world_step(w, 1 + world_below(w, 4));
    }
}

static void run_read(world *w, world_op op) {
    crash_count.ops++;
    if (op == OP_GET) {
        size_t key = world_any_key(w);
        world_check_key(w, key);
        world_check_stale(w, key);
    } else if (op == OP_GET_MANY) {
        world_get_many(w);
    } else if (op == OP_SCAN) {
        world_check_scan(w, world_odds(w, 500));
    } else if (op == OP_SNAPSHOT) {
        world_use_snapshot(w);
    } else if (op == OP_CURSOR) {
        world_use_cursor(w);
    } else {
        world_verify(w);
    }
}

void world_run(world *w) {
    world_op op = pick_op(w);

    switch (op) {
        case OP_PUT:
        case OP_DELETE:
        case OP_DELETE_RANGE:
        case OP_BATCH:
        case OP_FILL:
        case OP_TOUCH:
        case OP_PUT_SINCE:
        case OP_SPACE:
        case OP_CACHE:
        case OP_PUBLISH:
        case OP_ROWS:
            run_write(w, op);
            break;
        case OP_SYNC:
        case OP_FLUSH:
        case OP_COMPACT:
        case OP_SETTLE:
        case OP_STEP:
        case OP_REOPEN:
        case OP_CLOCK:
        case OP_WARM:
            run_maintenance(w, op);
            break;
        case OP_GET:
        case OP_GET_MANY:
        case OP_SCAN:
        case OP_SNAPSHOT:
        case OP_CURSOR:
        case OP_VERIFY:
        case OP_COUNT:
        default:
            run_read(w, op);
            break;
    }
}
