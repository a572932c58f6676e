/* SPDX-License-Identifier: Apache-2.0
 *
 * Options are drawn so that the ratios matter and not the sizes: a memtable of one to
 * four KiB, tables of half a KiB up, a multiplier of two or three.
 */
#include "world.h"

#include <string.h>

#include "report.h"

enum { KIB = 1024 };

static uint64_t pick(lsm_rng *rng, const uint64_t *choices, size_t count) {
    return choices[lsm_rng_below(rng, count)];
}

#define PICK(rng, ...)                         \
    pick(rng, (const uint64_t[]){__VA_ARGS__}, \
         sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

void profile_vary_options(lsmkv_options *options, lsm_rng *rng) {
    lsmkv_options_init(options);
    options->memory_bytes = PICK(rng, 1024, 4096) * KIB;
    options->memtable_bytes = PICK(rng, 1, 1, 2, 4) * KIB;
    options->block_cache_bytes = (int64_t)(PICK(rng, 0, 1, 8, 64) * KIB);
    options->max_open_files = 16;
    options->background_threads = (uint32_t)PICK(rng, 1, 2, 4, 5);
    options->durability = LSMKV_DURABILITY_OS;
    options->block_bytes = (uint32_t)PICK(rng, 64, 64, 128, 256, 1024);
    options->bloom_bits_per_key = (int32_t)PICK(rng, 0, 1, 10, 10);
    options->codec = LSMKV_CODEC_NONE;
    options->table_bytes = PICK(rng, 512, 1024, 2048, 4096);
    options->level_base_bytes = PICK(rng, 1024, 2048, 8192);
    options->level_multiplier = (uint32_t)PICK(rng, 2, 2, 3);
    options->l0_compact_trigger = (uint32_t)PICK(rng, 2, 2, 3, 4);
    options->blob_threshold_bytes = (int64_t)PICK(rng, 0, 1, 16, 16, 16, 64);
    options->log_bytes = PICK(rng, 4, 4, 8, 64) * KIB;
    options->seed = lsm_rng_next(rng) | 1;
    options->warm_bytes = (int64_t)PICK(rng, 0, 0, 0, UINT64_MAX, UINT64_MAX, 2000);
    options->stats_interval_ms = options->seed >> 1 & 1 ? 0 : 1000;
}

void profile_init(profile *p, uint64_t seed) {
    static const uint32_t weights[OP_COUNT] = {
        [OP_PUT] = 30,      [OP_DELETE] = 10, [OP_BATCH] = 12,   [OP_FILL] = 3,
        [OP_SYNC] = 2,      [OP_FLUSH] = 3,   [OP_COMPACT] = 2,  [OP_SETTLE] = 1,
        [OP_STEP] = 20,     [OP_GET] = 6,     [OP_GET_MANY] = 3, [OP_SCAN] = 3,
        [OP_SNAPSHOT] = 5,  [OP_CURSOR] = 10, [OP_VERIFY] = 1,   [OP_REOPEN] = 1,
        [OP_TOUCH] = 4,     [OP_CLOCK] = 8,   [OP_SPACE] = 6,    [OP_DELETE_RANGE] = 5,
        [OP_PUT_SINCE] = 5, [OP_CACHE] = 6,   [OP_WARM] = 2,     [OP_PUBLISH] = 8,
        [OP_ROWS] = 5,
    };
    lsm_rng rng = {crash_mix(seed, 1)};

    *p = (profile){.seed = seed};
    profile_vary_options(&p->options, &rng);
    if (lsm_rng_below(&rng, 8) == 0) {
        p->options.durability = LSMKV_DURABILITY_SYNC;
    }
    p->sector = (uint32_t)PICK(&rng, 32, 32, 64, 64, 512, 4096);
    p->key_count = (uint32_t)PICK(&rng, 3, 8, 24, 48, 100);
    p->value_max = (uint32_t)PICK(&rng, 8, 40, 40, 200, 1200);
    p->batch_max = (uint32_t)PICK(&rng, 2, 6, 6, 40);
    p->sync_permille = (uint32_t)PICK(&rng, 0, 30, 100, 300, 1000);
    p->short_permille = (uint32_t)PICK(&rng, 0, 0, 20, 100);
    p->ttl_permille = (uint32_t)PICK(&rng, 0, 0, 100, 400, 900);
    p->stale_permille = (uint32_t)PICK(&rng, 0, 300, 700);
    for (size_t i = 0; i < OP_COUNT; i++) {
        /* Swarm testing: a run that lacks some operations goes deeper in the rest. */
        bool dropped = i != OP_PUT && lsm_rng_below(&rng, 8) == 0;
        p->weights[i] = dropped ? 0 : weights[i];
    }
}

void world_init(world *w, const profile *p) {
    lsmkv_error err = {0};

    memset(w, 0, sizeof(*w));
    w->profile = p;
    w->options = p->options;
    w->rng.state = crash_mix(p->seed, 2);
    model_init(&w->model, p->seed, p->key_count);
    w->env = lsm_sim_create(crash_mix(p->seed, 3));
    if (w->env == NULL) {
        crash_fail("no memory for the simulator");
    }
    lsm_sim_set_short_odds(w->env, p->short_permille);
    crash_need(lsmkv_batch_create(&w->batch, &err), &err, "batch_create");
}

void world_deinit(world *w) {
    world_abandon(w);
    lsm_sim_destroy(w->env);
    lsmkv_batch_free(w->batch);
    model_deinit(&w->model);
    w->env = NULL;
    w->batch = NULL;
}

bool world_allows(const world *w, lsmkv_status status) {
    return (w->allowed >> status & 1) != 0;
}

bool world_ok(world *w, lsmkv_status status, const lsmkv_error *err, const char *what) {
    if (status == LSMKV_OK) {
        return true;
    }
    if (!world_allows(w, status)) {
        crash_need(status, err, what);
    }
    crash_count.failures++;
    crash_trace("  %s answered %s: %s", what, lsmkv_status_name(status), err->message);
    if (w->refused != NULL) {
        w->refused(w, err);
    }
    return false;
}

uint64_t world_now(world *w) {
    uint64_t now = lsm_test_now_ms(w->db);

    if (now < w->seen_ms) {
        crash_fail("engine time went back by %llu ms",
                   (unsigned long long)(w->seen_ms - now));
    }
    w->seen_ms = now;
    return now;
}

int32_t world_shown(world *w, const model_state *state, size_t key) {
    return model_shown(&w->model, state, key, world_now(w));
}

int32_t world_shown_stale(world *w, const model_state *state, size_t key) {
    return model_shown_stale(&w->model, state, key, world_now(w));
}

uint64_t world_below(world *w, uint64_t bound) {
    return lsm_rng_below(&w->rng, bound);
}

bool world_odds(world *w, uint32_t permille) {
    return lsm_rng_below(&w->rng, 1000) < permille;
}

/* The hash of everything there is. false: a read failed. */
static bool hash_contents(world *w, uint64_t *hash) {
    lsmkv_error err = {0};
    lsmkv_iter *iter = NULL;
    lsmkv_status status = lsmkv_iter_create(w->db, NULL, NULL, &iter, &err);

    *hash = 0;
    if (status == LSMKV_OK) {
        status = lsmkv_iter_seek_first(iter, &err);
    }
    while (status == LSMKV_OK && lsmkv_iter_valid(iter)) {
        size_t key = model_find_key(&w->model, lsmkv_iter_key(iter), 0);
        if (key == w->model.key_count) {
            crash_fail("a reopen shows a key that was never written");
        }
        *hash +=
            model_full_hash(model_entry_hash(&w->model, key, lsmkv_iter_value(iter)),
                            world_mark_of(w->db, w->model.keys[key]));
        status = lsmkv_iter_next(iter, &err);
    }
    lsmkv_iter_free(iter);
    for (size_t key = 0; status == LSMKV_OK && key < w->model.key_count; key++) {
        uint64_t stale = 0;
        status = world_stale_hash(w->db, &w->model, key, &stale, &err);
        *hash += stale;
    }
    if (status == LSMKV_OK) {
        model_sides sides;
        status = spaces_look(w->db, NULL, &w->model, &sides);
        err.status = status;
        *hash += spaces_hash(&sides);
    }
    return world_ok(w, status, &err, "scan of a reopen");
}

/* A write that failed before this open may be there now, whole. The process has not
 * died in between, so everything else is there. */
static void adopt(world *w) {
    model_bounds bounds = model_bounds_now(&w->model);
    model_prefix found = {0};
    model_sight sight = {0, world_now(w)};

    bounds.floor = bounds.last;
    if (!hash_contents(w, &sight.hash)) {
        if (w->relief != NULL) {
            w->relief(w);
        }
        lsm_sim_fail(w->env, LSM_SIM_READ, 0, 0, false);
        lsm_sim_fail(w->env, LSM_SIM_OPEN, 0, 0, false);
        if (!hash_contents(w, &sight.hash)) {
            crash_fail("reads fail without a read error");
        }
    }
    if (!model_match(&w->model, &bounds, sight, &found)) {
        crash_fail("a reopen without a crash shows another state");
    }
    crash_trace("  the failed write is %sthere", found.extra != NULL ? "" : "not ");
    model_rewind(&w->model, found);
}

bool world_open(world *w) {
    lsmkv_error err = {0};
    lsmkv_status status;

    crash_trace("open memtable=%llu block=%u table=%llu trigger=%u",
                (unsigned long long)w->options.memtable_bytes, w->options.block_bytes,
                (unsigned long long)w->options.table_bytes,
                w->options.l0_compact_trigger);
    status = lsm_test_open(w->env, WORLD_PATH, &w->options, &w->db, &err);
    if (!world_ok(w, status, &err, "open")) {
        if (w->db != NULL) {
            crash_fail("a failed open left a handle");
        }
        return false;
    }
    if (w->model.lost_count > 0 && !w->over) {
        adopt(w);
    }
    return true;
}

void world_free_views(world *w) {
    for (size_t i = 0; i < WORLD_SNAPSHOTS; i++) {
        lsmkv_snapshot_free(w->snapshots[i].handle);
        w->snapshots[i].handle = NULL;
    }
    for (size_t i = 0; i < WORLD_CURSORS; i++) {
        lsmkv_iter_free(w->cursors[i].handle);
        w->cursors[i].handle = NULL;
    }
    world_end_publish(w);
}

static void check_closed(world *w) {
    lsmkv_error err = {0};
    lsmkv_pin pin;
    lsmkv_bytes key = {"k", 1};
    lsmkv_status put = lsmkv_put(w->db, NULL, key, key, &err);

    if (!lsmkv_is_closed(w->db) ||
        lsmkv_get(w->db, NULL, key, &pin, &err) != LSMKV_CLOSED ||
        (put != LSMKV_CLOSED && put != LSMKV_NO_MEMORY) ||
        lsmkv_flush(w->db, &err) != LSMKV_CLOSED ||
        lsmkv_close(w->db, &err) != LSMKV_OK) {
        crash_fail("a closed handle did not answer CLOSED");
    }
    for (size_t i = 0; i < WORLD_CURSORS; i++) {
        if (w->cursors[i].handle != NULL &&
            lsmkv_iter_seek_first(w->cursors[i].handle, &err) != LSMKV_CLOSED) {
            crash_fail("an iterator of a closed handle did not answer CLOSED");
        }
    }
}

void world_close(world *w) {
    lsmkv_error err = {0};
    lsmkv_status status;

    if (w->db == NULL) {
        return;
    }
    if (world_odds(w, 500)) {
        world_free_views(w);
    }
    crash_trace("close");
    status = lsmkv_close(w->db, &err);
    if (world_ok(w, status, &err, "close")) {
        model_raise_floor(&w->model);
    }
    if (w->allowed != 0) {
        w->seen_ms = 0; /* it may not have been recorded */
    }
    check_closed(w);
    lsmkv_free(w->db);
    w->db = NULL;
    world_free_views(w);
}

void world_abandon(world *w) {
    if (w->db != NULL) {
        if (world_odds(w, 500)) {
            world_free_views(w);
        }
        lsm_test_abandon(w->db);
        w->db = NULL;
    }
    world_free_views(w);
    w->seen_ms = 0;
}
