/* SPDX-License-Identifier: Apache-2.0
 *
 * Crashes at every step of scripted workloads. One run of a workload yields all its
 * states: the hook before each step of the simulator crashes copies of the disk, one
 * for each mode (several for those that draw), and checks them at once.
 */
#include "steps.h"

#include <stdio.h>

#include "api/testing.h"
#include "report.h"
#include "aftermath.h"
#include "world.h"

typedef struct step_run {
    world *w;
    const steps_request *request;
    size_t workload;
} step_run;

/* How many draws each mode is worth. */
static const uint32_t variant_counts[LSM_CRASH_MODE_COUNT] = {
    [LSM_CRASH_STRICT] = 1,     [LSM_CRASH_ALL] = 1,        [LSM_CRASH_PREFIX] = 2,
    [LSM_CRASH_SUBSET] = 2,     [LSM_CRASH_EXTEND] = 1,     [LSM_CRASH_GARBAGE] = 2,
    [LSM_CRASH_DIR_STRICT] = 1, [LSM_CRASH_DIR_SUBSET] = 1, [LSM_CRASH_MIXED] = 2,
};

static void crash_one(const step_run *run, uint64_t step, lsm_crash_mode mode,
                      uint32_t variant) {
    static const uint32_t sectors[] = {32, 512, 64, 4096};
    aftermath_plan plan = {.options = run->w->options, .mode = mode};
    model_bounds bounds = model_bounds_now(&run->w->model);

    plan.seed = crash_mix(crash_mix(run->request->seed, run->workload),
                          step * 100 + (uint64_t)mode * 10 + variant);
    plan.sector = sectors[(step + (uint64_t)mode + variant) % 4];
    plan.write_more = plan.seed / 4 % 16 == 0;
    plan.depth = plan.seed / 64 % 96 == 0 ? 1 + (plan.seed / 8192 % 4 == 0) : 0;
    crash_set_place("--at %llu.%d.%u", (unsigned long long)step, (int)mode, variant);
    aftermath_crash(run->w->env, &run->w->model, &bounds, &plan);
}

static void on_step(void *context, uint64_t step) {
    const step_run *run = (const step_run *)context;
    const steps_request *r = run->request;

    if (step % r->stride != r->seed % r->stride) {
        return;
    }
    for (int mode = 0; mode < LSM_CRASH_MODE_COUNT; mode++) {
        for (uint32_t variant = 0; variant < variant_counts[mode]; variant++) {
            bool asked =
                step == r->at_step && mode == r->at_mode && variant == r->at_variant;
            if (!r->only || asked) {
                crash_one(run, step, (lsm_crash_mode)mode, variant);
            }
        }
    }
    crash_set_place("--at %llu.0.0", (unsigned long long)step);
}

/* Ascending keys, a flush now and then, compactions in the background. */
static void fill_and_flush(world *w) {
    for (size_t i = 0; i < 110; i++) {
        (void)world_put(w, i % w->model.key_count, 8 + i % 60, i % 9 == 0);
        if (i % 14 == 13) {
            (void)world_flush(w);
        }
        world_step(w, world_below(w, 4));
    }
    (void)world_settle(w);
    world_check_scan(w, false);
}

/* Few keys, many versions, snapshots that hold some of them, full compactions. */
static void overwrite_and_compact(world *w) {
    for (size_t i = 0; i < 120; i++) {
        (void)world_put(w, world_below(w, 12), world_any_size(w), i % 20 == 0);
        if (i % 10 == 5) {
            world_use_snapshot(w);
        }
        if (i % 25 == 24) {
            (void)world_flush(w);
            (void)world_compact(w, i % 50 == 49);
        }
    }
    (void)world_compact(w, true);
    world_check_scan(w, true);
}

/* Batches of one record to some forty, half of them synced. */
static void write_batches(world *w) {
    for (size_t i = 0; i < 70; i++) {
        (void)world_batch(w, 1 + (size_t)world_below(w, i % 5 == 0 ? 40 : 6),
                          i % 2 == 0);
        world_step(w, world_below(w, 3));
        if (i % 16 == 15) {
            (void)world_flush(w);
        }
    }
    world_check_scan(w, false);
}

/* Edit after edit and reopen after reopen, so that MANIFESTs grow and are replaced. */
static void roll_manifests(world *w) {
    for (size_t i = 0; i < 26; i++) {
        (void)world_put(w, world_any_key(w), 20, false);
        (void)world_flush(w);
        if (i % 6 == 5) {
            (void)world_reopen(w);
        }
        if (i % 9 == 8) {
            (void)world_compact(w, false);
        }
    }
}

/* Fill, delete most of it, close and open with other options; tombstones must go
 * without what they hide coming back. */
static void delete_and_reopen(world *w) {
    for (size_t round = 0; round < 4; round++) {
        for (size_t i = 0; i < 18; i++) {
            (void)world_put(w, world_any_key(w), world_any_size(w), false);
        }
        (void)world_flush(w);
        for (size_t i = 0; i < w->model.key_count; i++) {
            if (world_odds(w, 800)) {
                (void)world_delete(w, i, world_odds(w, 100));
            }
        }
        world_step(w, 6);
        (void)world_reopen(w);
        (void)world_compact(w, round % 2 == 1);
        world_check_scan(w, false);
    }
}

/* Synced and unsynced writes and sync() over several live logs: background work is
 * left undone, so that full memtables pile up. */
static void mix_syncs(world *w) {
    for (size_t i = 0; i < 130; i++) {
        uint64_t draw = world_below(w, 16);
        if (draw == 0) {
            (void)world_sync(w);
        } else if (draw == 1) {
            world_step(w, 1 + world_below(w, 8));
        } else if (draw == 2) {
            (void)world_delete(w, world_any_key(w), world_odds(w, 500));
        } else {
            (void)world_put(w, world_any_key(w), 10 + (size_t)world_below(w, 90),
                            draw == 3);
        }
    }
    (void)world_sync(w);
}

typedef struct workload {
    const char *name;
    void (*run)(world *w);
    uint32_t key_count;
    uint32_t value_max;
} workload;

static const workload workloads[] = {
    {"fill and flush", fill_and_flush, 100, 64},
    {"overwrite and compact", overwrite_and_compact, 16, 80},
    {"batches", write_batches, 40, 40},
    {"manifest rollover", roll_manifests, 24, 40},
    {"delete and reopen", delete_and_reopen, 32, 60},
    {"sync mixes", mix_syncs, 32, 100},
};

static void run_workload(const steps_request *r, size_t index) {
    const workload *load = &workloads[index];
    uint64_t live = lsm_test_live_allocations();
    crash_counts before = crash_count;
    profile p;
    world w;
    step_run run = {&w, r, index};

    profile_init(&p, crash_mix(r->seed, index));
    p.key_count = load->key_count;
    p.value_max = load->value_max;
    p.short_permille = 0;
    p.options.durability = LSMKV_DURABILITY_OS;
    crash_set_replay("steps --seed %llu --workload %zu", (unsigned long long)r->seed,
                     index);
    world_init(&w, &p);
    lsm_sim_set_hook(w.env, on_step, &run);
    (void)world_open(&w);
    load->run(&w);
    world_close(&w);
    on_step(&run, lsm_sim_steps(w.env)); /* after the last step */
    lsm_sim_set_hook(w.env, NULL, NULL);
    (void)printf(
        "seed=%llu workload=\"%s\" steps=%llu states=%llu nested=%llu ops=%llu "
        "hash=%016llx\n",
        (unsigned long long)r->seed, load->name,
        (unsigned long long)lsm_sim_steps(w.env),
        (unsigned long long)(crash_count.states - before.states),
        (unsigned long long)(crash_count.nested - before.nested),
        (unsigned long long)(crash_count.ops - before.ops),
        (unsigned long long)lsm_sim_history_hash(w.env));
    (void)fflush(stdout);
    world_deinit(&w);
    if (lsm_test_live_allocations() != live) {
        crash_fail("%lld allocations were not given back",
                   (long long)(lsm_test_live_allocations() - live));
    }
    crash_count.seeds++;
}

void steps_run(const steps_request *request) {
    for (size_t i = 0; i < LSM_ARRAY_COUNT(workloads); i++) {
        if (request->workload < 0 || (size_t)request->workload == i) {
            run_workload(request, i);
        }
    }
}
