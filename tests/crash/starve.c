/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold when an allocation fails:
 *
 *   - Every call answers NO_MEMORY or the right result. A write that answered
 *     NO_MEMORY has left nothing behind, neither in memory nor in the log.
 *   - When there is memory again, the database writes and is what the model says;
 *     verify finds nothing and no file is left over. A lack of memory never poisons.
 *   - A close and a reopen, or a power failure, keep all that was acknowledged.
 *   - In the end every allocation has been given back.
 *
 * The memory of the simulated disk is exempt, so that the n-th allocation is always one
 * of the engine.
 */
#include "sweep.h"

#include <stdio.h>
#include <time.h>

#include "aftermath.h"
#include "base/alloc.h"
#include "report.h"
#include "workloads.h"

/* How many requests in a row fail. */
static const uint64_t ways[] = {1, 12, UINT64_MAX};

static void end_hunger(world *w) {
    crash_trace("there is memory again");
    lsm_alloc_fail_never();
    w->allowed = 0;
    w->reads_may_fail = false;
}

/* All is well again: it writes, and reads what it should. */
static void check_health(world *w) {
    lsmkv_error err = {0};
    lsmkv_stats stats = {0};
    char name[LSM_NAME_SIZE_MAX] = "";

    crash_need(lsmkv_get_stats(w->db, &stats, &err), &err, "get_stats");
    if (stats.state != 0) {
        crash_fail("a lack of memory left state %u", stats.state);
    }
    (void)world_put(w, 0, 20, true);
    world_check_all(w);
    world_free_views(w);
    (void)world_settle(w);
    world_verify(w); /* which also unlinks what nothing needs any more */
    if (!lsm_test_files_match(w->db, name)) {
        crash_fail("a file too many or too few: %s", name);
    }
}

static void check_power_failure(world *w, uint64_t seed) {
    aftermath_plan plan = {.options = w->options, .seed = seed, .sector = 64};
    model_bounds bounds = model_bounds_now(&w->model);

    plan.mode = (lsm_crash_mode)(seed % LSM_CRASH_MODE_COUNT);
    aftermath_crash(w->env, &w->model, &bounds, &plan);
}

/* Runs a workload; the allocations from the `at`-th on, `count` of them, fail.
 * Returns how many there were. */
static uint64_t run_once(const workload *load, uint64_t seed, uint64_t at,
                         uint64_t count) {
    uint64_t live = lsm_test_live_allocations();
    uint64_t draw = crash_mix(seed, at);
    uint64_t first;
    uint64_t total;
    profile p;
    world w;

    workload_profile(load, seed, &p);
    world_init(&w, &p);
    lsm_sim_exempt_memory(w.env);
    first = lsm_alloc_count();
    if (count > 0) {
        w.allowed = WORLD_NO_MEMORY;
        w.reads_may_fail = true;
        w.relief = end_hunger;
        lsm_alloc_fail_range(at, count);
    }
    if (!world_open(&w)) {
        end_hunger(&w);
        (void)world_open(&w);
    }
    load->run(&w);
    total = lsm_alloc_count() - first;
    end_hunger(&w);
    check_health(&w);
    if (draw % 8 == 0) {
        check_power_failure(&w, draw / 8);
    }
    (void)world_reopen(&w);
    world_check_all(&w);
    world_close(&w);
    world_deinit(&w);
    if (lsm_test_live_allocations() != live) {
        crash_fail("%lld allocations were not given back",
                   (long long)(lsm_test_live_allocations() - live));
    }
    crash_count.runs++;
    return total;
}

static bool run_workload(const sweep_request *r, size_t index, time_t end) {
    const workload *load = &workloads[index];
    uint64_t seed = crash_mix(r->seed, 200 + index);
    crash_counts before = crash_count;
    uint64_t total;

    crash_set_replay("alloc --seed %llu --workload %zu", (unsigned long long)r->seed,
                     index);
    total = run_once(load, seed, 0, 0);
    for (uint64_t at = r->seed % r->stride; at < total; at += r->stride) {
        if (end != 0 && time(NULL) >= end) {
            return false;
        }
        for (size_t way = 0; way < LSM_ARRAY_COUNT(ways); way++) {
            if (r->only && (at != r->at || way != r->at_way)) {
                continue;
            }
            crash_set_replay("alloc --seed %llu --workload %zu --at %llu.%zu",
                             (unsigned long long)r->seed, index, (unsigned long long)at,
                             way);
            (void)run_once(load, seed, at, ways[way]);
        }
    }
    (void)printf("seed=%llu workload=\"%s\" allocations=%llu runs=%llu refused=%llu\n",
                 (unsigned long long)r->seed, load->name, (unsigned long long)total,
                 (unsigned long long)(crash_count.runs - before.runs),
                 (unsigned long long)(crash_count.failures - before.failures));
    (void)fflush(stdout);
    crash_count.seeds++;
    return true;
}

void starve_run(const sweep_request *request) {
    time_t end = request->seconds == 0 ? 0 : time(NULL) + (time_t)request->seconds;
    bool on = true;

    for (size_t i = 0; on && i < workload_count; i++) {
        if (request->workload < 0 || (size_t)request->workload == i) {
            on = run_workload(request, i, end);
        }
    }
}
