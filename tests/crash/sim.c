/* SPDX-License-Identifier: Apache-2.0
 *
 * An epoch runs operations until its crash point, a step of an operation, drawn before;
 * the disk that the crash leaves is checked (aftermath.h) and is where the next epoch
 * goes on. On the way, some further steps are crashed and checked without disturbing
 * the epoch. What an operation does is drawn from the seed and its own number, so that
 * a failure can be minimised by leaving others out (`only`).
 *
 * Some seeds run twice and must leave the same history of steps: the engine has no
 * source of randomness but its seed.
 *
 * Now and then a follower has the database open as well. It refreshes between
 * operations and at steps inside of them, and shows all that was acknowledged by then.
 *
 * With faults, an epoch has one kind of failure that begins at a drawn moment. While
 * it lasts, operations may fail; they must not show. Once it is over, the database
 * must write again unless it says that it is poisoned, and then it must not.
 */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "report.h"
#include "aftermath.h"
#include "world.h"

enum {
    STATE_POISONED = 2,
    TWICE_EVERY = 16,
    QUOTA_SPREAD = 24 << 10,
    REFRESH_EVERY = 20, /* steps */
};

typedef struct epoch {
    world *w;
    uint64_t seed;
    uint64_t number;     /* of the epoch */
    uint64_t op;         /* the one that runs, from 1; 0: the open */
    uint64_t op_step;    /* the step before its first */
    uint64_t crash_op;   /* where it ends: */
    uint64_t crash_step; /* at so many steps of that one, or at its end */
    uint64_t sample;     /* one of so many steps is crashed and checked on the way */
    aftermath_plan plan; /* of the crash that ends it */
    model_bounds bounds; /* at that moment */
    lsm_env *crashed;    /* what it left; NULL: not yet */
    lsmkv_db *follower;  /* of the database, from some operation on; NULL: none */
} epoch;

static void take_crash(epoch *e) {
    e->w->over = true;
    e->bounds = model_bounds_now(&e->w->model);
    e->crashed = lsm_sim_crash(e->w->env, e->plan.seed, e->plan.mode, e->plan.sector);
    if (e->crashed == NULL) {
        crash_fail("no memory for a crashed disk");
    }
    crash_trace("  crash at step %llu, mode %d, %zu to %zu",
                (unsigned long long)lsm_sim_steps(e->w->env), (int)e->plan.mode,
                e->bounds.floor, e->bounds.last);
}

static void on_step(void *context, uint64_t step) {
    epoch *e = (epoch *)context;
    uint64_t at = step - e->op_step;
    uint64_t draw = crash_mix(crash_mix(e->seed, e->op), at);

    if (e->crashed != NULL) {
        return;
    }
    if (e->op > e->crash_op || (e->op == e->crash_op && at >= e->crash_step)) {
        take_crash(e);
        return;
    }
    if (draw % e->sample == 0) {
        aftermath_plan plan = e->plan;
        model_bounds bounds = model_bounds_now(&e->w->model);
        plan.seed = draw;
        plan.mode = (lsm_crash_mode)(draw / 64 % LSM_CRASH_MODE_COUNT);
        plan.depth = draw / 1024 % 64 == 0;
        plan.write_more = draw / 65536 % 16 == 0;
        crash_trace("  sampled crash at step %llu, mode %d", (unsigned long long)step,
                    (int)plan.mode);
        aftermath_crash(e->w->env, &e->w->model, &bounds, &plan);
    }
    if (e->follower != NULL && draw / 16 % REFRESH_EVERY == 0) {
        crash_trace("  the follower refreshes at step %llu", (unsigned long long)step);
        aftermath_refresh(e->w->env, e->follower, &e->w->model, draw / 512);
    }
}

/* One way for the disk to fail, from some call on. */
static void start_fault(world *w) {
    static const int errnos[] = {EIO, EIO, ENOSPC, EDQUOT};
    static const lsm_sim_call calls[] = {
        LSM_SIM_APPEND, LSM_SIM_APPEND, LSM_SIM_SYNC,     LSM_SIM_SYNC,
        LSM_SIM_SYNC,   LSM_SIM_READ,   LSM_SIM_OPEN,     LSM_SIM_DIR_SYNC,
        LSM_SIM_RENAME, LSM_SIM_UNLINK, LSM_SIM_TRUNCATE, LSM_SIM_CLOSE,
    };
    lsm_sim_call call = calls[world_below(w, LSM_ARRAY_COUNT(calls))];
    bool scarce = call == LSM_SIM_OPEN && world_odds(w, 500);
    int code = scarce ? EMFILE : errnos[world_below(w, LSM_ARRAY_COUNT(errnos))];
    uint64_t skip = world_below(w, 30);
    bool sticky = world_odds(w, 300);

    w->allowed = WORLD_IO_ERRORS;
    if (world_odds(w, 250)) {
        uint64_t quota = 1024 + world_below(w, QUOTA_SPREAD);
        crash_trace("quota %llu bytes", (unsigned long long)quota);
        lsm_sim_set_quota(w->env, quota);
        return;
    }
    if (call == LSM_SIM_READ || call == LSM_SIM_OPEN) {
        w->reads_may_fail = true;
    }
    lsm_sim_set_fsyncgate(w->env, world_odds(w, 500));
    lsm_sim_fail(w->env, call, skip, code, sticky);
    crash_trace("call class %d fails after %llu more with errno %d%s", (int)call,
                (unsigned long long)skip, code, sticky ? ", always" : "");
}

static void end_fault(world *w) {
    lsmkv_stats stats = {0};
    lsmkv_error err = {0};
    bool poisoned;
    bool written;

    crash_trace("the fault is over");
    for (int call = 0; call < LSM_SIM_CALL_COUNT; call++) {
        lsm_sim_fail(w->env, (lsm_sim_call)call, 0, 0, false);
    }
    lsm_sim_set_quota(w->env, 0);
    w->reads_may_fail = false;
    lsm_sim_advance_ms(w->env, 120000);
    if (w->db == NULL) {
        return;
    }
    world_free_views(w);
    crash_need(lsmkv_get_stats(w->db, &stats, &err), &err, "get_stats");
    poisoned = stats.state == STATE_POISONED;
    written = world_put(w, world_any_key(w), 10, false);
    if (written == poisoned) {
        crash_fail("the fault is over, state %u, but a write %s", stats.state,
                   written ? "succeeded" : "failed");
    }
    world_check_all(w);
    w->allowed = poisoned ? WORLD_IO_ERRORS : 0;
}

/* Between operations: a follower comes, refreshes, or goes. */
static void use_follower(epoch *e) {
    world *w = e->w;

    if (e->follower == NULL) {
        if (world_odds(w, 40)) {
            crash_trace("a follower comes");
            e->follower = aftermath_follower(w->env, &e->plan);
        }
    } else if (world_odds(w, 20)) {
        crash_trace("the follower goes");
        lsmkv_free(e->follower);
        e->follower = NULL;
    } else if (world_odds(w, 100)) {
        crash_trace("the follower refreshes");
        aftermath_refresh(w->env, e->follower, &w->model, lsm_rng_next(&w->rng));
    }
}

/* Whether an operation is to run; its draws are its own from here on. */
static bool begin_op(epoch *e, const sim_request *r, uint64_t op) {
    uint64_t number = e->number * SIM_EPOCH_OPS + op;

    for (size_t i = 0; i < r->only_count; i++) {
        if (number >= r->only[i].first && number <= r->only[i].last) {
            break;
        }
        if (i + 1 == r->only_count) {
            return false;
        }
    }
    e->op = op + 1;
    e->op_step = lsm_sim_steps(e->w->env);
    e->w->rng.state = crash_mix(e->seed, UINT64_C(1000) + op);
    crash_begin_op(number);
    return true;
}

/* Runs one epoch on w->env and ends it with a crash. */
static void run_epoch(const sim_request *r, world *w, epoch *e) {
    uint64_t fault_at = r->faults ? world_below(w, 100) : UINT64_MAX;
    uint64_t fault_end = fault_at + 1 + world_below(w, 60);
    uint64_t op = 0;
    bool opened;

    lsm_sim_set_hook(w->env, on_step, e);
    if (fault_at < 10) {
        start_fault(w); /* the open meets it */
        fault_at = UINT64_MAX;
    }
    opened = world_open(w);
    if (!opened && e->crashed == NULL && world_odds(w, 500)) {
        end_fault(w);
        opened = world_open(w);
    }
    for (; opened && w->db != NULL && e->crashed == NULL && op < SIM_EPOCH_OPS; op++) {
        if (op == fault_at) {
            start_fault(w);
        }
        if (op == fault_end && w->allowed != 0) {
            end_fault(w);
        }
        if (!begin_op(e, r, op)) {
            continue;
        }
        world_run(w);
        if (!r->faults && w->db != NULL && e->crashed == NULL) {
            use_follower(e);
        }
    }
    if (e->crashed == NULL) {
        take_crash(e);
    }
    lsm_sim_set_hook(w->env, NULL, NULL);
    lsmkv_free(e->follower);
    e->follower = NULL;
    world_abandon(w);
}

static void begin_epoch(epoch *e, world *w, uint64_t number) {
    static const uint64_t op_spans[] = {2, 10, 40, 100};
    static const uint64_t step_spans[] = {3, 10, 40, 120};

    *e = (epoch){.w = w, .number = number};
    e->seed = crash_mix(w->profile->seed, 100 + number);
    e->op_step = lsm_sim_steps(w->env);
    w->rng.state = e->seed;
    e->crash_op = world_below(w, op_spans[world_below(w, 4)]);
    e->crash_step = world_below(w, step_spans[world_below(w, 4)]);
    e->sample = 12;
    e->plan.options = w->options;
    e->plan.seed = crash_mix(e->seed, 5);
    e->plan.sector = w->profile->sector;
    e->plan.mode = (lsm_crash_mode)world_below(w, LSM_CRASH_MODE_COUNT);
    e->plan.depth = world_odds(w, 60);
    e->plan.write_more = world_odds(w, 100);
}

/* Returns a hash of everything that happened on the disks. */
static uint64_t run_seed(const sim_request *r, uint64_t seed) {
    uint64_t live = lsm_test_live_allocations();
    uint64_t history = 0;
    uint64_t epochs = 0;
    profile p;
    world w;
    epoch e;

    profile_init(&p, r->faults ? crash_mix(seed, 77) : seed);
    crash_set_replay("%s --seeds %llu..%llu", r->faults ? "faults" : "sim",
                     (unsigned long long)seed, (unsigned long long)seed);
    world_init(&w, &p);
    epochs = 3 + world_below(&w, 3);
    for (uint64_t i = 0; i < epochs; i++) {
        model_prefix found;
        begin_epoch(&e, &w, i);
        run_epoch(r, &w, &e);
        history = crash_mix(history, lsm_sim_history_hash(w.env));
        lsm_sim_destroy(w.env);
        w.env = e.crashed;
        w.over = false;
        w.allowed = 0;
        w.reads_may_fail = false;
        aftermath_check(w.env, &w.model, &e.bounds, &e.plan, &found);
        model_rewind(&w.model, found);
        lsm_sim_set_short_odds(w.env, p.short_permille);
        profile_vary_options(&w.options, &w.rng);
        w.options.durability = p.options.durability;
    }
    world_deinit(&w);
    if (lsm_test_live_allocations() != live) {
        crash_fail("%lld allocations were not given back",
                   (long long)(lsm_test_live_allocations() - live));
    }
    crash_count.seeds++;
    return history;
}

void sim_run(const sim_request *r) {
    time_t start = time(NULL);
    uint64_t seed = r->first_seed;

    for (; seed <= r->last_seed; seed++) {
        crash_counts before = crash_count;
        uint64_t hash = run_seed(r, seed);

        if (seed % TWICE_EVERY == 0 && run_seed(r, seed) != hash) {
            crash_fail("two runs of one seed differ");
        }
        if (r->verbose) {
            (void)printf("seed=%llu hash=%016llx states=%llu ops=%llu\n",
                         (unsigned long long)seed, (unsigned long long)hash,
                         (unsigned long long)(crash_count.states - before.states),
                         (unsigned long long)(crash_count.ops - before.ops));
        }
        if (r->seconds != 0 && (uint64_t)(time(NULL) - start) >= r->seconds) {
            seed++;
            break;
        }
    }
    (void)printf("%s: seeds %llu..%llu\n", r->faults ? "faults" : "sim",
                 (unsigned long long)r->first_seed, (unsigned long long)(seed - 1));
}
