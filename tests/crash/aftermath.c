/* SPDX-License-Identifier: Apache-2.0
 *
 * A scan is reduced to the sum of its entry hashes (see model.h) and the entry hash of
 * each key, so that the point reads and the second open need no search for the prefix.
 */
#include "aftermath.h"

#include <string.h>

#include "base/rng.h"
#include "format/filename.h"
#include "report.h"
#include "world.h"

enum { MORE_WRITES = 20 };

typedef struct contents {
    uint64_t now_ms;                  /* engine time when it was looked at */
    uint64_t entries[MODEL_KEYS_MAX]; /* entry hash, or 0: not there */
    uint64_t ends[MODEL_KEYS_MAX];    /* the marks of their times; 0: not there */
    uint64_t stales[MODEL_KEYS_MAX];  /* what is hidden adds to the hash of the state */
    model_sides sides;                /* what other namespaces hold */
} contents;

/* A recovery that is crashed at its steps. */
typedef struct nested_crash {
    lsm_env *env;
    const model *m;
    model_bounds bounds;
    aftermath_plan plan; /* of the crashes inside */
} nested_crash;

static void open_path(lsm_env *disk, const char *path, const aftermath_plan *plan,
                      uint64_t salt, lsmkv_db **dbp) {
    lsmkv_error err = {0};
    lsmkv_options options = plan->options;

    options.seed = crash_mix(plan->seed, salt) | 1;
    crash_need(lsm_test_open(disk, path, &options, dbp, &err), &err,
               "open after a crash");
}

static void open_disk(lsm_env *disk, const aftermath_plan *plan, uint64_t salt,
                      lsmkv_db **dbp) {
    open_path(disk, WORLD_PATH, plan, salt, dbp);
}

static void close_db(lsmkv_db *db) {
    lsmkv_error err = {0};

    crash_need(lsmkv_close(db, &err), &err, "close after a recovery");
    lsmkv_free(db);
}

static void add_row(lsmkv_db *db, const model *m, contents *c, size_t *at,
                    lsmkv_bytes key, lsmkv_bytes value) {
    *at = model_find_key(m, key, 0);
    crash_count.reads++;
    if (*at == m->key_count) {
        crash_fail("recovered a key of %zu bytes that was never written", key.size);
    }
    if (c->entries[*at] != 0) {
        crash_fail("key %zu was recovered twice", *at);
    }
    c->entries[*at] = model_entry_hash(m, *at, value);
    c->ends[*at] = world_mark_of(db, m->keys[*at]);
}

/* What the scans to come do not show. */
static void begin_scan(lsmkv_db *db, const model *m, contents *c) {
    lsmkv_error err = {0};

    memset(c, 0, sizeof(*c));
    c->now_ms = lsm_test_now_ms(db);
    crash_need(spaces_look(db, NULL, m, &c->sides), &err, "reading namespaces");
    for (size_t i = 0; i < m->key_count; i++) {
        crash_need(world_stale_hash(db, m, i, &c->stales[i], &err), &err,
                   "reading what is stale");
    }
}

static model_sight sight_of(const model *m, const contents *c) {
    model_sight sight = {spaces_hash(&c->sides), c->now_ms};

    for (size_t i = 0; i < m->key_count; i++) {
        sight.hash += c->stales[i];
        if (c->entries[i] != 0) {
            sight.hash += model_full_hash(c->entries[i], c->ends[i]);
        }
    }
    return sight;
}

static void scan(lsmkv_db *db, const model *m, bool reverse, contents *c) {
    lsmkv_error err = {0};
    lsmkv_iter *iter = NULL;
    size_t at = 0;
    size_t last = 0;
    bool first = true;

    begin_scan(db, m, c);
    crash_need(lsmkv_iter_create(db, NULL, NULL, &iter, &err), &err, "iter_create");
    crash_need(
        reverse ? lsmkv_iter_seek_last(iter, &err) : lsmkv_iter_seek_first(iter, &err),
        &err, "seek after a recovery");
    for (; lsmkv_iter_valid(iter); first = false, last = at) {
        add_row(db, m, c, &at, lsmkv_iter_key(iter), lsmkv_iter_value(iter));
        if (!first && (reverse ? at >= last : at <= last)) {
            crash_fail("a scan is out of order at key %zu", at);
        }
        crash_need(reverse ? lsmkv_iter_prev(iter, &err) : lsmkv_iter_next(iter, &err),
                   &err, "scan after a recovery");
    }
    lsmkv_iter_free(iter);
}

/* The same by chunks. */
static void scan_chunks(lsmkv_db *db, const model *m, contents *c) {
    lsmkv_error err = {0};
    lsmkv_iter *iter = NULL;
    lsmkv_fill fill = {.byte_max = 256};
    lsmkv_chunk chunk = {0};
    size_t at = 0;

    begin_scan(db, m, c);
    crash_need(lsmkv_iter_create(db, NULL, NULL, &iter, &err), &err, "iter_create");
    do {
        crash_need(lsmkv_iter_fill(iter, &fill, &chunk, &err), &err, "fill");
        for (size_t i = 0; i < chunk.row_count; i++) {
            const lsmkv_row *row = &chunk.rows[i];
            add_row(db, m, c, &at,
                    (lsmkv_bytes){chunk.data + row->key_offset, row->key_size},
                    (lsmkv_bytes){chunk.data + row->value_offset, row->value_size});
        }
    } while (chunk.row_count > 0);
    lsmkv_iter_free(iter);
}

static void check_points(lsmkv_db *db, const model *m, const contents *c) {
    lsmkv_error err = {0};

    for (size_t i = 0; i < m->key_count; i++) {
        lsmkv_pin pin = {0};
        lsmkv_status status = lsmkv_get(db, NULL, m->keys[i], &pin, &err);
        uint64_t entry = 0;

        crash_count.reads++;
        if (status != LSMKV_NOT_FOUND) {
            crash_need(status, &err, "get after a recovery");
            entry = model_entry_hash(m, i, pin.value);
            lsmkv_pin_release(&pin);
        }
        if (entry != c->entries[i]) {
            crash_fail("key %zu: get and scan differ after a recovery (%s by get)", i,
                       status == LSMKV_OK ? "there" : "missing");
        }
    }
}

static void on_problem(void *context, const lsmkv_error *problem) {
    (void)context;
    crash_trace("verify: %s %s at %lld: %s", lsmkv_status_name(problem->status),
                problem->file, (long long)problem->offset, problem->message);
}

static void check_files(lsmkv_db *db) {
    lsmkv_error err = {0};
    lsmkv_report report = {0};
    char name[LSM_NAME_SIZE_MAX] = "";

    publishes_check_clean(db);
    crash_need(lsmkv_verify(db, on_problem, NULL, &report, &err), &err, "verify");
    if (report.problem_count != 0) {
        crash_fail("verify found %llu problems after a recovery",
                   (unsigned long long)report.problem_count);
    }
    if (!lsm_test_files_match(db, name)) {
        /* Maybe the output of a compaction that the open has begun. */
        crash_need(lsmkv_settle(db, &err), &err, "settle");
        if (!lsm_test_files_match(db, name)) {
            crash_fail("a file too many or too few after a recovery: %s", name);
        }
    }
}

static void fail_match(const model *m, const model_bounds *bounds, const contents *c) {
    model_prefix any = {0};
    model_bounds all = {.floor = 0, .last = m->commit_count};
    size_t keys = 0;

    for (size_t i = 0; i < m->key_count; i++) {
        keys += c->entries[i] != 0;
    }
    if (model_match(m, &all, sight_of(m, c), &any)) {
        crash_fail("recovered the state after commit %zu, expected %zu to %zu%s",
                   any.count, bounds->floor, bounds->last,
                   bounds->exact ? ", and exactly the one found before" : "");
    }
    crash_fail("recovered %zu keys: not the state after any commit (%zu to %zu)", keys,
               bounds->floor, bounds->last);
}

/* Finds the state, and checks that engine time has not fallen behind it. */
static void match(const model *m, const model_bounds *bounds, const contents *c,
                  model_prefix *found) {
    if (!model_match(m, bounds, sight_of(m, c), found)) {
        fail_match(m, bounds, c);
    }
    if (bounds->floor > 0 &&
        c->now_ms < model_time_of(m, (model_prefix){bounds->floor, NULL})) {
        crash_fail("engine time fell behind a durable commit");
    }
}

static void write_more(lsmkv_db *db, const model *m, contents *c, uint64_t seed) {
    lsm_rng rng = {seed};
    lsmkv_error err = {0};

    for (size_t i = 0; i < MORE_WRITES; i++) {
        size_t key = (size_t)lsm_rng_below(&rng, m->key_count);
        uint64_t bytes[8] = {lsm_rng_next(&rng), i};
        lsmkv_bytes value = {bytes, 1 + (size_t)lsm_rng_below(&rng, sizeof(bytes))};
        lsmkv_write how = {.sync = lsm_rng_below(&rng, 4) == 0};

        c->stales[key] = 0;
        if (lsm_rng_below(&rng, 3) == 0) {
            c->entries[key] = 0;
            c->ends[key] = 0;
            crash_need(lsmkv_delete(db, &how, m->keys[key], &err), &err,
                       "delete after a recovery");
        } else {
            c->entries[key] = model_entry_hash(m, key, value);
            c->ends[key] = MODEL_NEVER;
            crash_need(lsmkv_put(db, &how, m->keys[key], value, &err), &err,
                       "put after a recovery");
        }
        (void)lsm_test_step(db, lsm_rng_below(&rng, 3));
    }
}

static void check_same(lsmkv_db *db, const model *m, const contents *before,
                       const char *when) {
    contents after;

    scan(db, m, false, &after);
    if (memcmp(&after, before, sizeof(after)) != 0) {
        crash_fail("another state after %s", when);
    }
    check_points(db, m, before);
    check_files(db);
}

/* Writes on a copy, so that the disk keeps the state that was found. */
static void check_further_life(lsm_env *disk, const model *m, const contents *found,
                               const aftermath_plan *plan) {
    lsm_env *copy = lsm_sim_crash(disk, plan->seed, LSM_CRASH_ALL, plan->sector);
    contents now = *found;
    lsmkv_db *db = NULL;

    if (copy == NULL) {
        crash_fail("no memory for a copy of the disk");
    }
    open_disk(copy, plan, 31, &db);
    write_more(db, m, &now, crash_mix(plan->seed, 32));
    check_same(db, m, &now, "further writes");
    close_db(db);
    open_disk(copy, plan, 33, &db);
    check_same(db, m, &now, "further writes and a clean reopen");
    close_db(db);
    lsm_sim_destroy(copy);
}

/* The power fails right after the recovery: all that it showed must be there. */
static void check_durable(lsm_env *disk, const model *m, const contents *found,
                          const aftermath_plan *plan) {
    static const lsm_crash_mode modes[] = {LSM_CRASH_STRICT, LSM_CRASH_MIXED,
                                           LSM_CRASH_DIR_STRICT, LSM_CRASH_GARBAGE};
    lsm_crash_mode mode = modes[plan->seed % LSM_ARRAY_COUNT(modes)];
    lsm_env *copy = lsm_sim_crash(disk, crash_mix(plan->seed, 41), mode, plan->sector);
    lsmkv_db *db = NULL;

    if (copy == NULL) {
        crash_fail("no memory for a copy of the disk");
    }
    crash_count.states++;
    open_disk(copy, plan, 42, &db);
    check_same(db, m, found, "a power failure right after the recovery");
    close_db(db);
    lsm_sim_destroy(copy);
}

static void on_nested_step(void *context, uint64_t step) {
    nested_crash *nested = (nested_crash *)context;
    aftermath_plan plan = nested->plan;

    plan.seed = crash_mix(plan.seed, step);
    plan.mode = (lsm_crash_mode)(plan.seed % LSM_CRASH_MODE_COUNT);
    plan.write_more = plan.seed / 64 % 16 == 0;
    if (plan.seed / 1024 % 8 != 0) {
        plan.depth = 0;
    }
    crash_trace("  crash at step %llu of the recovery, mode %d",
                (unsigned long long)step, (int)plan.mode);
    crash_count.nested++;
    aftermath_crash(nested->env, nested->m, &nested->bounds, &plan);
}

/* Runs the recovery of `disk` again, crashing it at every step. */
static void crash_inside(lsm_env *disk, const model *m, const model_bounds *bounds,
                         const aftermath_plan *plan) {
    nested_crash nested = {disk, m, *bounds, *plan};
    lsmkv_db *db = NULL;

    nested.plan.depth--;
    nested.plan.seed = crash_mix(plan->seed, 51);
    lsm_sim_set_hook(disk, on_nested_step, &nested);
    open_disk(disk, plan, 52, &db);
    lsm_sim_set_hook(disk, NULL, NULL);
    lsm_test_abandon(db);
}

/* Opens without writing and shows what that sees. It must take no step. */
static void scan_view(lsm_env *disk, const model *m, const aftermath_plan *plan,
                      contents *c) {
    uint64_t steps = lsm_sim_steps(disk);
    aftermath_plan reading = *plan;
    lsmkv_report report = {0};
    lsmkv_error err = {0};
    lsmkv_db *db = NULL;

    reading.options.read_only = true;
    open_disk(disk, &reading, 23, &db);
    scan(db, m, plan->seed % 2 == 0, c);
    check_points(db, m, c);
    crash_need(lsmkv_verify(db, on_problem, NULL, &report, &err), &err, "verify");
    if (report.problem_count != 0) {
        crash_fail("verify found %llu problems in a read-only database",
                   (unsigned long long)report.problem_count);
    }
    if (lsmkv_put(db, NULL, m->keys[0], m->keys[0], &err) != LSMKV_READ_ONLY ||
        lsmkv_flush(db, &err) != LSMKV_READ_ONLY) {
        crash_fail("a read-only database took a write");
    }
    close_db(db);
    if (lsm_sim_steps(disk) != steps) {
        crash_fail("a read-only database changed the disk");
    }
}

void aftermath_view(lsm_env *env, const model *m, const aftermath_plan *plan) {
    model_bounds bounds = model_bounds_now(m);
    model_prefix found;
    contents seen;

    bounds.floor = bounds.last; /* beside the writer everything written is there */
    scan_view(env, m, plan, &seen);
    match(m, &bounds, &seen, &found);
}

lsmkv_db *aftermath_follower(lsm_env *env, const aftermath_plan *plan) {
    aftermath_plan following = *plan;
    lsmkv_db *db = NULL;

    following.options.follower = true;
    open_disk(env, &following, 24, &db);
    return db;
}

void aftermath_refresh(lsm_env *env, lsmkv_db *follower, const model *m,
                       uint64_t seed) {
    model_bounds bounds = model_bounds_now(m);
    uint64_t steps = lsm_sim_steps(env);
    lsmkv_error err = {0};
    bool changed = false;
    model_prefix found;
    contents seen;

    bounds.floor = bounds.last;
    crash_need(lsmkv_refresh(follower, &changed, &err), &err, "refresh of a follower");
    scan(follower, m, seed % 2 == 0, &seen);
    check_points(follower, m, &seen);
    match(m, &bounds, &seen, &found);
    if (lsm_sim_steps(env) != steps) {
        crash_fail("a follower changed the disk");
    }
}

/* Whether CURRENT is there: without it there is nothing to read. */
static bool exists(lsm_env *disk, const char *path) {
    const uint8_t *data;
    size_t size;
    return lsm_sim_file_read(disk, path, LSM_CURRENT_NAME, &data, &size);
}

/* A checkpoint shows its state and is a database like any other, or is none. */
static void check_copy(lsm_env *disk, const model *m, const model_copy *copy,
                       const aftermath_plan *plan) {
    lsmkv_options options = plan->options;
    lsmkv_error err = {0};
    lsmkv_db *db = NULL;
    contents found;

    options.create_if_missing = false;
    if (!exists(disk, copy->path)) {
        if (copy->done) {
            crash_fail("%s is gone, though the checkpoint was done", copy->path);
        }
        if (lsm_test_open(disk, copy->path, &options, &db, &err) !=
            LSMKV_NOT_A_DATABASE) {
            crash_fail("%s has no CURRENT, but opens", copy->path);
        }
        return;
    }
    for (uint64_t i = 0; i < 2; i++) {
        open_path(disk, copy->path, plan, 61 + i, &db);
        scan(db, m, i == 1, &found);
        if (sight_of(m, &found).hash != model_hash(m, &copy->state, found.now_ms)) {
            crash_fail("%s is not the state of its checkpoint", copy->path);
        }
        check_points(db, m, &found);
        check_files(db);
        close_db(db);
    }
}

void aftermath_check(lsm_env *disk, const model *m, const model_bounds *bounds,
                     const aftermath_plan *plan, model_prefix *found) {
    lsm_env *untouched = NULL;
    bool viewed = plan->seed / 8 % 4 == 0 && exists(disk, WORLD_PATH);
    contents view;
    contents forward;
    contents backward;
    lsmkv_db *db = NULL;

    crash_count.states++;
    if (crash_dump_path != NULL) {
        (void)lsm_sim_dump(disk, WORLD_PATH, crash_dump_path);
    }
    if (plan->depth > 0) {
        untouched = lsm_sim_crash(disk, plan->seed, LSM_CRASH_ALL, plan->sector);
    }
    for (size_t i = 0; i < m->copy_count; i++) {
        if (!m->copies[i].unknown) {
            check_copy(disk, m, &m->copies[i], plan); /* first: it disturbs nothing */
        }
    }
    if (viewed) {
        scan_view(disk, m, plan, &view);
    }
    open_disk(disk, plan, 21, &db);
    if (plan->seed % 2 == 0) {
        scan(db, m, false, &forward);
    } else {
        scan_chunks(db, m, &forward);
    }
    match(m, bounds, &forward, found);
    if (viewed && memcmp(&forward, &view, sizeof(forward)) != 0) {
        crash_fail("what a read-only open showed is not what a recovery found");
    }
    scan(db, m, true, &backward);
    if (memcmp(&forward, &backward, sizeof(forward)) != 0) {
        crash_fail("the scans in both directions differ after a recovery");
    }
    check_points(db, m, &forward);
    check_files(db);
    if (plan->seed / 2 % 2 == 0) {
        lsm_test_abandon(db);
        check_durable(disk, m, &forward, plan);
    } else {
        close_db(db);
    }
    open_disk(disk, plan, 22, &db);
    check_same(db, m, &forward, "a second open");
    close_db(db);
    if (plan->write_more) {
        check_further_life(disk, m, &forward, plan);
    }
    if (untouched != NULL) {
        model_bounds inner = *bounds;
        inner.exact = plan->mode != LSM_CRASH_ALL;
        inner.hash = sight_of(m, &forward).hash;
        crash_inside(untouched, m, &inner, plan);
        lsm_sim_destroy(untouched);
    }
}

void aftermath_crash(lsm_env *env, const model *m, const model_bounds *bounds,
                     const aftermath_plan *plan) {
    model_prefix found;
    lsm_env *disk = lsm_sim_crash(env, plan->seed, plan->mode, plan->sector);

    if (disk == NULL) {
        crash_fail("no memory for a crashed disk");
    }
    aftermath_check(disk, m, bounds, plan, &found);
    lsm_sim_destroy(disk);
}
