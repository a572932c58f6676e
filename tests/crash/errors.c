/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold when the n-th call of a class fails, once or from then on:
 *
 *   - Every operation answers the right result or the status of the errno. What answers
 *     an error is not visible.
 *   - A file whose sync has failed is never synced nor appended to again, even though
 *     a second sync would answer success (fsyncgate).
 *   - A failed sync of a log poisons: no write succeeds after it, reads go on. (But for
 *     the sync that seals it: its flush copies the values instead.) Calls whose outcome
 *     is known never poison: after one failure of those, at most a few operations fail,
 *     and a full disk that has space again is written to without a reopen.
 *   - With the fault over, all reads are right and verify finds nothing. A power
 *     failure then keeps what was acknowledged as durable, a reopen everything, and it
 *     leaves no file behind that does not belong.
 */
#include "sweep.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "aftermath.h"
#include "report.h"
#include "workloads.h"

enum {
    STATE_OPEN = 0,
    STATE_POISONED = 2,
    STATE_CLOSED = 3,
    REFUSED_MAX = 3, /* operations that one failure may fail without poisoning */
    FILES_FAILED_MAX = 256,
};

typedef struct call_kind {
    const char *name;
    lsm_sim_call call;
    bool halved; /* a transfer stops half way, then the next call fails */
    bool gate;   /* a failed sync loses what was pending, and the next one succeeds */
    bool late;   /* it was done all the same */
} call_kind;

static const call_kind kinds[] = {
    {"open", LSM_SIM_OPEN, .halved = false},
    {"read", LSM_SIM_READ, .halved = false},
    {"short read", LSM_SIM_READ, .halved = true},
    {"append", LSM_SIM_APPEND, .halved = false},
    {"short append", LSM_SIM_APPEND, .halved = true},
    {"done append", LSM_SIM_APPEND, .late = true},
    {"sync", LSM_SIM_SYNC, .gate = false},
    {"sync that loses", LSM_SIM_SYNC, .gate = true},
    {"done sync", LSM_SIM_SYNC, .late = true},
    {"directory sync", LSM_SIM_DIR_SYNC, .late = false},
    {"done directory sync", LSM_SIM_DIR_SYNC, .late = true},
    {"rename", LSM_SIM_RENAME, .late = false},
    {"done rename", LSM_SIM_RENAME, .late = true},
    {"unlink", LSM_SIM_UNLINK, .late = false},
    {"done unlink", LSM_SIM_UNLINK, .late = true},
    {"truncate", LSM_SIM_TRUNCATE, .late = false},
    {"close", LSM_SIM_CLOSE, .late = false},
    {"link", LSM_SIM_LINK, .late = false},
    {"list", LSM_SIM_LIST, .late = false},
    {"size", LSM_SIM_SIZE, .late = false},
};

static const int codes[] = {EIO, ENOSPC, EINTR, EMFILE, EDQUOT, 0};

enum { WAY_COUNT = LSM_ARRAY_COUNT(kinds) * LSM_ARRAY_COUNT(codes) * 2 };

typedef struct fault {
    const call_kind *kind; /* NULL: none */
    int code;
    bool sticky;
    uint64_t at;
} fault;

static fault current;      /* of the run */
static bool late_due;      /* it is a late one and not over */
static uint64_t late_skip; /* calls before it */
static uint64_t refusals;  /* of this run, while not poisoned */

/* Files whose sync has failed. */
static char failed_files[FILES_FAILED_MAX][LSM_NAME_SIZE_MAX];
static size_t failed_count;

/* The file that was cut last: a log that is sealed is cut, then synced, by a flush,
 * which copies its values elsewhere when that fails. */
static char sealed[LSM_NAME_SIZE_MAX];
static bool seal_failed; /* in this run */

static const lsm_env_ops *plain; /* the simulator's own */

static size_t find_failed(const char *name) {
    size_t at = 0;

    while (at < failed_count && strcmp(failed_files[at], name) != 0) {
        at++;
    }
    return at;
}

/* A new file of a name is another file. */
static int watched_open(lsm_dir *dir, const char *name, lsm_open_mode mode,
                        lsm_file **filep) {
    int code = plain->file_open(dir, name, mode, filep);
    size_t at = find_failed(name);

    if (code == 0 && mode != LSM_OPEN_READ && at < failed_count) {
        memcpy(failed_files[at], failed_files[--failed_count], LSM_NAME_SIZE_MAX);
    }
    return code;
}

/* What a call answers that was made: maybe a late failure. */
static int answer(lsm_sim_call call, int code) {
    if (!late_due || current.kind->call != call) {
        return code;
    }
    if (late_skip > 0) {
        late_skip--;
        return code;
    }
    late_due = current.sticky;
    return code != 0 ? code : current.code;
}

static int watched_dir_sync(lsm_dir *dir) {
    return answer(LSM_SIM_DIR_SYNC, plain->dir_sync(dir));
}

static int watched_rename(lsm_dir *dir, const char *from, const char *to) {
    return answer(LSM_SIM_RENAME, plain->rename(dir, from, to));
}

static int watched_unlink(lsm_dir *dir, const char *name) {
    return answer(LSM_SIM_UNLINK, plain->unlink(dir, name));
}

static int watched_truncate(lsm_file *file, uint64_t size) {
    memcpy(sealed, file->name, sizeof(sealed));
    return plain->file_truncate(file, size);
}

static int watched_sync(lsm_file *file) {
    int code;

    if (find_failed(file->name) < failed_count) {
        crash_fail("%s is synced again after a failed sync", file->name);
    }
    code = answer(LSM_SIM_SYNC, plain->file_sync(file));
    seal_failed = seal_failed || (code != 0 && strcmp(file->name, sealed) == 0);
    if (code != 0 && failed_count < FILES_FAILED_MAX) {
        memcpy(failed_files[failed_count++], file->name, LSM_NAME_SIZE_MAX);
    }
    return code;
}

static int watched_append(lsm_file *file, const lsm_slice *pieces, size_t count,
                          size_t *put) {
    if (find_failed(file->name) < failed_count) {
        crash_fail("%s is appended to after a failed sync", file->name);
    }
    return answer(LSM_SIM_APPEND, plain->file_append(file, pieces, count, put));
}

static uint32_t state_of(const world *w) {
    lsmkv_error err = {0};
    lsmkv_stats stats = {0};

    if (w->db == NULL || lsmkv_get_stats(w->db, &stats, &err) != LSMKV_OK) {
        return STATE_CLOSED;
    }
    return stats.state;
}

/* Whether the failure may end in a poisoned database. */
static bool may_poison(void) {
    bool disk_full = current.code == ENOSPC || current.code == EDQUOT;

    switch (current.kind->call) {
        case LSM_SIM_SYNC:
        case LSM_SIM_DIR_SYNC:
        case LSM_SIM_RENAME:
            return true;
        case LSM_SIM_APPEND:
            return !disk_full && current.code != 0;
        case LSM_SIM_OPEN:
        case LSM_SIM_READ:
        case LSM_SIM_CLOSE:
        case LSM_SIM_LIST:
        case LSM_SIM_SIZE:
            /* The same job failing over and over; but neither files nor space are
             * short for ever. */
            return current.sticky && !disk_full && current.code != EMFILE &&
                   current.code != 0;
        case LSM_SIM_UNLINK:
        case LSM_SIM_TRUNCATE:
        case LSM_SIM_LINK:
        case LSM_SIM_CALL_COUNT:
            break;
    }
    return false;
}

static void on_refused(world *w, const lsmkv_error *err) {
    uint32_t state = state_of(w);

    (void)err;
    if (state == STATE_POISONED) {
        if (!may_poison()) {
            crash_fail("%s with errno %d of %s has poisoned", current.kind->name,
                       current.code, lsm_sim_failed_name(w->env));
        }
        return;
    }
    if (state != STATE_CLOSED && !seal_failed && current.kind->call == LSM_SIM_SYNC &&
        strstr(lsm_sim_failed_name(w->env), ".log") != NULL) {
        crash_fail("a failed sync of %s has not poisoned", lsm_sim_failed_name(w->env));
    }
    refusals++;
    if (!current.sticky && refusals > REFUSED_MAX) {
        crash_fail("one failure has failed %llu operations",
                   (unsigned long long)refusals);
    }
}

static void lift(world *w) {
    crash_trace("the fault is over");
    late_due = false;
    for (int call = 0; call < LSM_SIM_CALL_COUNT; call++) {
        lsm_sim_fail(w->env, (lsm_sim_call)call, 0, 0, false);
    }
    lsm_sim_advance_ms(w->env, 120000);
    w->reads_may_fail = false;
    if (state_of(w) != STATE_POISONED) {
        w->allowed = 0;
    }
}

static void begin(world *w) {
    bool reads = current.kind->call == LSM_SIM_READ ||
                 current.kind->call == LSM_SIM_OPEN ||
                 current.kind->call == LSM_SIM_SIZE;
    bool disk_full = current.code == ENOSPC || current.code == EDQUOT;

    w->reads_may_fail = reads && current.code != 0;
    if (current.code != 0) {
        w->allowed = UINT32_C(1) << (disk_full ? LSMKV_DISK_FULL : LSMKV_IO_ERROR);
    }
    w->relief = lift;
    w->refused = on_refused;
    lsm_sim_set_fsyncgate(w->env, current.kind->gate);
    late_skip = current.at;
    late_due = current.kind->late;
    if (current.kind->late) {
        return;
    }
    if (current.kind->halved) {
        lsm_sim_halve(w->env, current.kind->call, current.at, current.code,
                      current.sticky);
    } else {
        lsm_sim_fail(w->env, current.kind->call, current.at, current.code,
                     current.sticky);
    }
}

/* The fault is over: the database writes again, unless it says that it is poisoned. */
static void check_health(world *w) {
    bool poisoned = state_of(w) == STATE_POISONED;
    bool written;

    world_free_views(w);
    if (poisoned && !may_poison()) {
        crash_fail("%s with errno %d has poisoned", current.kind->name, current.code);
    }
    written = world_put(w, world_any_key(w), 10, false);
    if (written == poisoned) {
        crash_fail("poisoned: %d, but a write %s", poisoned,
                   written ? "succeeded" : "failed");
    }
    if (world_sync(w) == poisoned || world_flush(w) == poisoned) {
        crash_fail("poisoned: %d, but sync or flush say otherwise", poisoned);
    }
    world_check_all(w);
    world_verify(w);
}

static void check_power_failure(world *w, uint64_t seed) {
    aftermath_plan plan = {.options = w->options, .seed = seed, .sector = 64};
    model_bounds bounds = model_bounds_now(&w->model);

    plan.mode = (lsm_crash_mode)(seed % LSM_CRASH_MODE_COUNT);
    aftermath_crash(w->env, &w->model, &bounds, &plan);
}

/* The next process: everything is there and in order. */
static void check_reopen(world *w) {
    char name[LSM_NAME_SIZE_MAX] = "";

    failed_count = 0;
    (void)world_reopen(w);
    w->allowed = 0;
    (void)world_put(w, 0, 20, true);
    world_check_all(w);
    (void)world_settle(w);
    world_verify(w);
    if (!lsm_test_files_match(w->db, name)) {
        crash_fail("a file too many or too few: %s", name);
    }
}

/* Runs a workload with the current fault, or with none, and says how many calls of
 * each class it made. */
static void run_once(const workload *load, uint64_t seed, uint64_t *calls) {
    uint64_t live = lsm_test_live_allocations();
    lsm_env_ops ops;
    profile p;
    world w;

    refusals = 0;
    failed_count = 0;
    seal_failed = false;
    sealed[0] = '\0';
    late_due = false;
    workload_profile(load, seed, &p);
    world_init(&w, &p);
    plain = w.env->ops;
    ops = *plain;
    ops.dir_sync = watched_dir_sync;
    ops.rename = watched_rename;
    ops.unlink = watched_unlink;
    ops.file_open = watched_open;
    ops.file_truncate = watched_truncate;
    ops.file_sync = watched_sync;
    ops.file_append = watched_append;
    w.env->ops = &ops;
    if (current.kind != NULL) {
        begin(&w);
    }
    if (!world_open(&w)) {
        lift(&w);
        (void)world_open(&w);
    }
    load->run(&w);
    for (int call = 0; calls != NULL && call < LSM_SIM_CALL_COUNT; call++) {
        calls[call] = lsm_sim_call_count(w.env, (lsm_sim_call)call);
    }
    if (current.kind != NULL) {
        lift(&w);
        check_health(&w);
        check_power_failure(&w, crash_mix(seed, current.at));
        check_reopen(&w);
    }
    world_close(&w);
    world_deinit(&w);
    if (lsm_test_live_allocations() != live) {
        crash_fail("%lld allocations were not given back",
                   (long long)(lsm_test_live_allocations() - live));
    }
    crash_count.runs++;
}

/* The way of this number; false: it makes no sense. An append that was done is neither
 * interrupted nor out of space: the system then says how much it took. */
static bool choose(uint64_t way) {
    current.sticky = way % 2 == 1;
    current.code = codes[way / 2 % LSM_ARRAY_COUNT(codes)];
    current.kind = &kinds[way / 2 / LSM_ARRAY_COUNT(codes)];
    if (current.kind->late && current.kind->call == LSM_SIM_APPEND) {
        return current.code == EIO || current.code == EMFILE;
    }
    return current.code != 0 || current.kind->halved;
}

/* All places of one way. `number` counts the cases, for the stride. */
static bool run_way(const sweep_request *r, size_t index, uint64_t way,
                    const uint64_t *calls, uint64_t *number) {
    time_t now = time(NULL);

    if (!choose(way)) {
        return true;
    }
    for (uint64_t at = 0; at < calls[current.kind->call]; at++) {
        bool chosen = r->only ? at == r->at && way == r->at_way
                              : (*number)++ % r->stride == r->seed % r->stride;
        if (!chosen) {
            continue;
        }
        current.at = at;
        crash_set_replay("errors --seed %llu --workload %zu --at %llu.%llu",
                         (unsigned long long)r->seed, index, (unsigned long long)at,
                         (unsigned long long)way);
        crash_trace("%s %llu fails with errno %d%s", current.kind->name,
                    (unsigned long long)at, current.code,
                    current.sticky ? ", always" : "");
        run_once(&workloads[index], crash_mix(r->seed, 300 + index), NULL);
    }
    return r->end == 0 || now < r->end;
}

static bool run_workload(const sweep_request *r, size_t index) {
    crash_counts before = crash_count;
    uint64_t calls[LSM_SIM_CALL_COUNT] = {0};
    uint64_t total = 0;
    uint64_t number = 0;
    bool on = true;

    current = (fault){0};
    crash_set_replay("errors --seed %llu --workload %zu", (unsigned long long)r->seed,
                     index);
    run_once(&workloads[index], crash_mix(r->seed, 300 + index), calls);
    for (uint64_t way = 0; on && way < WAY_COUNT; way++) {
        on = run_way(r, index, way, calls, &number);
    }
    for (int call = 0; call < LSM_SIM_CALL_COUNT; call++) {
        total += calls[call];
    }
    (void)printf("seed=%llu workload=\"%s\" calls=%llu runs=%llu refused=%llu\n",
                 (unsigned long long)r->seed, workloads[index].name,
                 (unsigned long long)total,
                 (unsigned long long)(crash_count.runs - before.runs),
                 (unsigned long long)(crash_count.failures - before.failures));
    (void)fflush(stdout);
    crash_count.seeds++;
    return on;
}

void errors_run(const sweep_request *request) {
    sweep_request r = *request;
    bool on = true;

    r.end = r.seconds == 0 ? 0 : time(NULL) + (time_t)r.seconds;
    for (size_t i = 0; on && i < workload_count; i++) {
        if (r.workload < 0 || (size_t)r.workload == i) {
            on = run_workload(&r, i);
        }
    }
}
