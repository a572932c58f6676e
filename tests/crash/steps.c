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
#include "workloads.h"

typedef struct step_run {
    world *w;
    const steps_request *request;
    size_t workload;
    bool exists;        /* the first open is done: there is a database to read */
    lsmkv_db *follower; /* from then on */
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
    if (!r->only && run->exists) {
        aftermath_plan plan = {.options = run->w->options,
                               .seed = crash_mix(r->seed, step)};
        crash_set_place("view at %llu", (unsigned long long)step);
        aftermath_view(run->w->env, &run->w->model, &plan);
        aftermath_refresh(run->w->env, run->follower, &run->w->model, plan.seed);
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

static void run_workload(const steps_request *r, size_t index) {
    const workload *load = &workloads[index];
    uint64_t live = lsm_test_live_allocations();
    crash_counts before = crash_count;
    profile p;
    world w;
    step_run run = {&w, r, index, false, NULL};
    aftermath_plan plan = {.seed = r->seed};

    workload_profile(load, crash_mix(r->seed, index), &p);
    crash_set_replay("steps --seed %llu --workload %zu", (unsigned long long)r->seed,
                     index);
    world_init(&w, &p);
    lsm_sim_set_hook(w.env, on_step, &run);
    (void)world_open(&w);
    plan.options = w.options;
    run.follower = aftermath_follower(w.env, &plan);
    run.exists = true;
    load->run(&w);
    world_close(&w);
    on_step(&run, lsm_sim_steps(w.env)); /* after the last step */
    lsm_sim_set_hook(w.env, NULL, NULL);
    lsmkv_free(run.follower);
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
    for (size_t i = 0; i < workload_count; i++) {
        if (request->workload < 0 || (size_t)request->workload == i) {
            run_workload(request, i);
        }
    }
}
