/* SPDX-License-Identifier: Apache-2.0
 *
 * Who runs the jobs. With threads: worker 0 flushes (and compacts, if it is the only
 * one), the others compact (and flush, if nobody does). Without, in the simulator,
 * lsm_scheduler_step runs one step of a job chosen by the database's seed, so that
 * every interleaving has a seed that repeats it.
 *
 * A job that fails is tried again, in new files, after a pause that doubles. What
 * waits for it is told: each failure is counted, and a waiter that sees the count move
 * returns the error. Three failures in a row poison the database, unless what is
 * lacking (space, memory, file descriptors) may come back.
 */
#include "db/job.h"

#include "base/assert.h"
#include "db/cache_space.h"
#include "db/warm.h"

enum {
    FAILURES_MAX = 3,
    RETRY_FIRST_US = 50 * 1000,
    RETRY_DOUBLINGS_MAX = 6,
    EXPIRY_WAIT_MAX_MS = 3600 * 1000, /* then one looks again */
    HOT_WAIT_US = 60 * 1000 * 1000,   /* likewise */
};

typedef struct lsm_due {
    bool flush;
    bool compact;
    bool evict;
} lsm_due;

static bool may_start_locked(lsmkv_db *db) LSM_REQUIRES(db->mu) {
    return !atomic_load(&db->stopping) && db->state != LSM_STATE_POISONED &&
           (!db->threaded || lsm_env_monotonic_us(db->env) >= db->retry_at_us);
}

/* As many at a time as there are workers, or, without threads, would be. */
static uint32_t compactions_max(const lsmkv_db *db) {
    uint32_t workers = db->options.given.background_threads;
    return workers > 1 ? workers - 1 : 1;
}

/* The next job of the allowed kinds, or NULL. */
static lsm_job *start_locked(lsmkv_db *db, lsm_due allowed, lsmkv_error *err)
    LSM_REQUIRES(db->mu) {
    if (!may_start_locked(db)) {
        return NULL;
    }
    if (allowed.flush && !db->flushing && db->immutable_count > 0) {
        return lsm_job_start_flush_locked(db, err);
    }
    if (allowed.evict) {
        lsm_job *job = lsm_cache_start_evict_locked(db, err);
        if (job != NULL || err->status != LSMKV_OK) {
            return job;
        }
    }
    if (allowed.compact && db->pause_compactions == 0 &&
        db->compactions < compactions_max(db)) {
        return lsm_job_start_compaction_locked(db, err);
    }
    return NULL;
}

/* Keeps what waiters and stats want to know of how a job ended. */
static void note_outcome_locked(lsmkv_db *db, const lsmkv_error *outcome)
    LSM_REQUIRES(db->mu) {
    if (outcome->status == LSMKV_OK) {
        db->failures_in_row = 0;
        lsm_error_clear(&db->background);
        return;
    }
    uint32_t doublings = db->failures_in_row < RETRY_DOUBLINGS_MAX
                             ? db->failures_in_row
                             : RETRY_DOUBLINGS_MAX;
    db->background = *outcome;
    db->background_failures += 1;
    db->failures_in_row += 1;
    db->retry_at_us =
        lsm_env_monotonic_us(db->env) + ((uint64_t)RETRY_FIRST_US << doublings);
    bool passing = outcome->status == LSMKV_DISK_FULL ||
                   outcome->status == LSMKV_NO_MEMORY ||
                   lsm_error_is_file_limit(outcome);
    if (!passing && db->failures_in_row >= FAILURES_MAX) {
        (void)lsm_db_poison_locked(db, outcome);
    }
    lsm_cond_broadcast(&db->changed);
}

/* Runs a job to its end or until the database stops. */
static lsmkv_status run_job(lsm_job *job, lsmkv_error *err) {
    lsmkv_db *db = job->db;
    lsmkv_status status = LSMKV_OK;
    bool done = false;
    while (status == LSMKV_OK && !done && !atomic_load(&db->stopping)) {
        status = lsm_job_step(job, &done, err);
    }
    lsm_job_end(job);
    return status;
}

/* How long until a table is due because its values expire; 0: none will be. */
static uint64_t expiry_wait_us_locked(lsmkv_db *db) LSM_REQUIRES(db->mu) {
    uint64_t now = lsm_clock_now_ms(&db->clock);
    uint64_t due = lsm_pick_next_due(db->version, now);
    if (due == LSM_NEVER) {
        return 0;
    }
    return due - now < EXPIRY_WAIT_MAX_MS ? (due - now) * 1000
                                          : (uint64_t)EXPIRY_WAIT_MAX_MS * 1000;
}

static void pause_locked(lsmkv_db *db) LSM_REQUIRES(db->mu) {
    uint64_t now = lsm_env_monotonic_us(db->env);
    uint64_t expiry_us = expiry_wait_us_locked(db);
    uint64_t hot_us = lsm_hot_wait_us_locked(db);
    uint64_t wait_us = db->retry_at_us > now ? db->retry_at_us - now : expiry_us;
    hot_us = hot_us == 0 ? (uint64_t)HOT_WAIT_US : hot_us; /* it cannot be done now */
    (void)lsm_cond_wait_us(&db->work, &db->mu,
                           wait_us != 0 && wait_us < hot_us ? wait_us : hot_us);
}

static void save_hot_list_locked(lsmkv_db *db) LSM_REQUIRES(db->mu) {
    lsm_hot_begin_locked(db);
    lsm_mutex_unlock(&db->mu);
    while (!atomic_load(&db->stopping) && lsm_hot_step(db)) {
    }
    lsm_mutex_lock(&db->mu);
}

static void work(lsmkv_db *db, lsm_due allowed) {
    lsm_thread_lower();
    lsm_mutex_lock(&db->mu);
    while (!atomic_load(&db->stopping)) {
        lsmkv_error outcome;
        lsm_error_clear(&outcome);
        lsm_job *job = start_locked(db, allowed, &outcome);
        if (job != NULL) {
            lsm_mutex_unlock(&db->mu);
            (void)run_job(job, &outcome);
            lsm_mutex_lock(&db->mu);
            note_outcome_locked(db, &outcome);
        } else if (outcome.status == LSMKV_NO_MEMORY) {
            note_outcome_locked(db, &outcome);
        } else if (lsm_hot_due_locked(db)) {
            save_hot_list_locked(db);
        } else {
            pause_locked(db);
        }
    }
    lsm_mutex_unlock(&db->mu);
}

static void flush_worker(void *context) {
    lsmkv_db *db = context;
    work(db, (lsm_due){.flush = true, .compact = db->worker_count == 1});
}

static void compaction_worker(void *context) {
    work(context, (lsm_due){.flush = true, .compact = true});
}

/* A thread of its own for caches: an eviction writes, and writers may wait for all the
 * others to flush and to compact. */
static void evict_worker(void *context) {
    work(context, (lsm_due){.evict = true});
}

lsmkv_status lsm_scheduler_start_evictor(lsmkv_db *db, lsmkv_error *err) {
    lsm_mutex_lock(&db->mu);
    bool starts = db->threaded && !db->read_only && !db->evictor_runs;
    bool ok =
        !starts || lsm_thread_start(&db->evictor, evict_worker, db, "lsmkv-evict");
    db->evictor_runs |= starts && ok;
    lsm_mutex_unlock(&db->mu);
    return ok ? LSMKV_OK
              : lsm_fail(err, LSMKV_IO_ERROR, "cannot start a background thread");
}

/* For durability "interval". A thread of its own, because a sync queues behind writers
 * who may wait for the flush worker. */
static void sync_worker(void *context) {
    lsmkv_db *db = context;
    uint64_t period = (uint64_t)db->options.given.sync_interval_ms * 1000;
    uint64_t next = lsm_env_monotonic_us(db->env) + period;
    lsm_mutex_lock(&db->mu);
    while (!atomic_load(&db->stopping)) {
        uint64_t now = lsm_env_monotonic_us(db->env);
        if (now < next) {
            (void)lsm_cond_wait_us(&db->work, &db->mu, next - now);
            continue;
        }
        lsm_mutex_unlock(&db->mu);
        lsm_ignore(lsm_db_sync(db, NULL)); /* a failure has poisoned the database */
        next = lsm_env_monotonic_us(db->env) + period;
        lsm_mutex_lock(&db->mu);
    }
    lsm_mutex_unlock(&db->mu);
}

static bool has_caches(lsmkv_db *db) {
    bool found = false;

    lsm_mutex_lock(&db->mu);
    for (size_t i = 0; i < db->space_count; i++) {
        found |= db->spaces[i]->cache != NULL;
    }
    lsm_mutex_unlock(&db->mu);
    return found;
}

lsmkv_status lsm_scheduler_start(lsmkv_db *db, lsmkv_error *err) {
    if (!db->threaded) {
        return LSMKV_OK;
    }
    uint32_t count = db->options.given.background_threads;
    db->worker_count = count > LSM_WORKERS_MAX ? LSM_WORKERS_MAX : count;
    bool ok = true;
    for (uint32_t i = 0; ok && i < db->worker_count; i++) {
        ok =
            lsm_thread_start(&db->workers[i], i == 0 ? flush_worker : compaction_worker,
                             db, "lsmkv-work");
    }
    if (ok && db->options.given.durability == LSMKV_DURABILITY_INTERVAL) {
        ok = lsm_thread_start(&db->syncer, sync_worker, db, "lsmkv-sync");
    }
    if (!ok) {
        return lsm_fail(err, LSMKV_IO_ERROR, "cannot start a background thread");
    }
    return has_caches(db) ? lsm_scheduler_start_evictor(db, err) : LSMKV_OK;
}

/* After the threads: what is left are the simulator's jobs, and none is running. */
static void end_jobs(lsmkv_db *db) LSM_UNSHARED {
    while (db->job_count > 0) {
        lsm_job_end(db->jobs[--db->job_count]);
    }
    lsm_hot_save_end(db->saving);
    db->saving = NULL;
    lsm_warm_start_end(db);
}

void lsm_scheduler_stop(lsmkv_db *db) {
    lsm_mutex_lock(&db->mu);
    atomic_store(&db->stopping, true);
    lsm_cond_broadcast(&db->work);
    lsm_cond_broadcast(&db->changed);
    lsm_mutex_unlock(&db->mu);
    for (uint32_t i = 0; i < LSM_WORKERS_MAX; i++) {
        lsm_thread_join(&db->workers[i]);
    }
    lsm_thread_join(&db->syncer);
    lsm_thread_join(&db->evictor);
    lsm_thread_join(&db->warmer);
    lsm_stats_save_stop(db);
    end_jobs(db);
}

/* A job to run a step of. While a writer stands in the queue, and it is a writer that
 * waits, none that would queue behind it; NULL: no other. */
static lsm_job *choose_locked(lsmkv_db *db) LSM_REQUIRES(db->mu) {
    lsm_job *fit[LSM_JOBS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < db->job_count; i++) {
        if (db->jobs[i]->evict == NULL || lsm_list_empty(&db->writers)) {
            fit[count++] = db->jobs[i];
        }
    }
    return count > 0 ? fit[lsm_rng_below(&db->rng, count)] : NULL;
}

/* Its step may have run others. */
static void take_out_locked(lsmkv_db *db, const lsm_job *job) LSM_REQUIRES(db->mu) {
    size_t place = 0;

    while (db->jobs[place] != job) {
        place++;
    }
    db->jobs[place] = db->jobs[--db->job_count];
}

/* One step of that job. */
static void step_job(lsmkv_db *db, lsm_job *job) {
    lsmkv_error outcome;
    bool done = false;

    lsm_error_clear(&outcome);
    lsmkv_status status = lsm_job_step(job, &done, &outcome);
    if (done || status != LSMKV_OK) {
        lsm_mutex_lock(&db->mu);
        take_out_locked(db, job);
        lsm_mutex_unlock(&db->mu);
        lsm_job_end(job);
        lsm_mutex_lock(&db->mu);
        note_outcome_locked(db, &outcome);
        lsm_mutex_unlock(&db->mu);
    }
}

/* One step of one job, of the hot list or of warming; false when there is none. */
static bool step_once(lsmkv_db *db) {
    lsmkv_error outcome;
    lsm_due all = {true, true, true};

    lsm_stats_save_step(db);
    lsm_error_clear(&outcome);
    lsm_mutex_lock(&db->mu);
    while (db->job_count < LSM_JOBS_MAX) {
        lsm_job *job = start_locked(db, all, &outcome);
        if (job == NULL) {
            break;
        }
        db->jobs[db->job_count++] = job;
    }
    if (lsm_hot_due_locked(db)) {
        lsm_hot_begin_locked(db);
    }
    size_t jobs = db->job_count;
    size_t total = jobs + db->hot_saving + atomic_load(&db->warm_runs);
    bool starved = jobs == 0 && outcome.status == LSMKV_NO_MEMORY;
    if (starved || total == 0) {
        if (starved) { /* whoever waits for a job is to hear of it */
            note_outcome_locked(db, &outcome);
        }
        lsm_mutex_unlock(&db->mu);
        return starved;
    }
    size_t chosen = total == jobs ? 0 : (size_t)lsm_rng_below(&db->rng, total);
    bool saves = db->hot_saving && (chosen == jobs || !atomic_load(&db->warm_runs));
    lsm_job *job = chosen < jobs ? choose_locked(db) : NULL;
    lsm_mutex_unlock(&db->mu);
    if (job != NULL) {
        step_job(db, job);
    } else if (saves) {
        (void)lsm_hot_step(db);
    } else if (jobs < total) {
        (void)lsm_warm_start_step(db);
    } else {
        return false;
    }
    return true;
}

uint64_t lsm_scheduler_step(lsmkv_db *db, uint64_t count) {
    uint64_t ran = 0;
    while (!db->threaded && ran < count && step_once(db)) {
        ran += 1;
    }
    return ran;
}

bool lsm_scheduler_wait_locked(lsmkv_db *db) {
    if (db->threaded) {
        lsm_cond_wait(&db->changed, &db->mu);
        return true;
    }
    lsm_mutex_unlock(&db->mu);
    bool progress = step_once(db);
    lsm_mutex_lock(&db->mu);
    return progress;
}

void lsm_scheduler_delay_locked(lsmkv_db *db, uint64_t us) {
    if (db->threaded) {
        (void)lsm_cond_wait_us(&db->changed, &db->mu, us);
    } else {
        (void)lsm_scheduler_wait_locked(db);
    }
}

lsmkv_status lsm_scheduler_await_locked(lsmkv_db *db, lsmkv_error *err) {
    uint64_t failures = db->background_failures;
    if (db->state == LSM_STATE_POISONED) {
        return lsm_error_copy(err, &db->failure);
    }
    bool progress = lsm_scheduler_wait_locked(db);
    if (db->state == LSM_STATE_POISONED) {
        return lsm_error_copy(err, &db->failure);
    }
    if (db->background_failures != failures) {
        return lsm_error_copy(err, &db->background);
    }
    LSM_ASSERT(progress);
    return LSMKV_OK;
}

/* Failed work is tried again at once, because somebody asks for its result. */
static void hurry_locked(lsmkv_db *db) LSM_REQUIRES(db->mu) {
    db->retry_at_us = 0;
    lsm_cond_broadcast(&db->work);
}

lsmkv_status lsm_scheduler_wait_flushed(lsmkv_db *db, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_mutex_lock(&db->mu);
    hurry_locked(db);
    if (db->immutable_count > 0) {
        uint64_t target =
            lsm_memtable_last_sequence(db->immutables[db->immutable_count - 1].mem);
        while (status == LSMKV_OK && db->flushed_sequence < target) {
            status = lsm_scheduler_await_locked(db, err);
        }
    }
    lsm_mutex_unlock(&db->mu);
    return status;
}

/* Whether any flush or compaction runs or is due. */
static bool is_busy_locked(lsmkv_db *db) LSM_REQUIRES(db->mu) {
    if (db->immutable_count > 0 || db->flushing || db->compactions > 0 ||
        lsm_cache_evicts_locked(db)) {
        return true;
    }
    lsm_pick pick = {0};
    lsm_pick_moment moment = lsm_job_moment_locked(db);
    bool due = lsm_pick_compaction(db->version, &db->options, &moment, &pick, NULL) ==
               LSMKV_OK;
    lsm_pick_deinit(&pick);
    return due;
}

lsmkv_status lsm_scheduler_retry(lsmkv_db *db, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_error failure;
    lsm_mutex_lock(&db->mu);
    /* What runs already may still fail for a reason that is gone by now. */
    uint32_t begun_before = db->compactions + (db->flushing ? 1 : 0);
    hurry_locked(db);
    while (status == LSMKV_OK && db->background.status != LSMKV_OK &&
           is_busy_locked(db)) {
        status = lsm_scheduler_await_locked(db, &failure);
        if (status != LSMKV_OK && begun_before > 0 && db->state != LSM_STATE_POISONED) {
            begun_before -= 1;
            status = LSMKV_OK;
            hurry_locked(db);
        }
    }
    if (status == LSMKV_OK) {
        lsm_error_clear(&db->background); /* what had failed is not due any more */
    }
    lsm_mutex_unlock(&db->mu);
    return status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &failure);
}

lsmkv_status lsm_scheduler_settle(lsmkv_db *db, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_mutex_lock(&db->mu);
    hurry_locked(db);
    if (db->read_only) {
        status = lsm_error_copy(err, &db->failure);
    }
    while (status == LSMKV_OK && is_busy_locked(db)) {
        status = lsm_scheduler_await_locked(db, err);
    }
    lsm_mutex_unlock(&db->mu);
    return status;
}

/* Compacts what `level` holds of the range; NOT_FOUND when there is nothing to do. */
static lsmkv_status compact_level(lsmkv_db *db, uint32_t level, lsm_key_range range,
                                  lsmkv_error *err) {
    lsm_pick pick = {0};
    lsm_mutex_lock(&db->mu);
    lsmkv_status status =
        lsm_pick_range(db->version, &db->options, level, range, &pick, err);
    lsm_job *job = NULL;
    if (status == LSMKV_OK) {
        job = lsm_job_start_pick_locked(db, &pick, err);
        status = job == NULL ? LSMKV_NO_MEMORY : LSMKV_OK;
    }
    lsm_mutex_unlock(&db->mu);
    return job != NULL ? run_job(job, err) : status;
}

lsmkv_status lsm_scheduler_claim(lsmkv_db *db, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    lsm_mutex_lock(&db->mu);
    db->pause_compactions += 1;
    while (status == LSMKV_OK && (db->compactions > 0 || db->manual)) {
        status = lsm_scheduler_await_locked(db, err);
    }
    if (status == LSMKV_OK) {
        db->manual = true;
    } else {
        db->pause_compactions -= 1;
        lsm_cond_broadcast(&db->work);
    }
    lsm_mutex_unlock(&db->mu);
    return status;
}

void lsm_scheduler_unclaim(lsmkv_db *db) {
    lsm_mutex_lock(&db->mu);
    db->pause_compactions -= 1;
    db->manual = false;
    lsm_cond_broadcast(&db->changed);
    lsm_cond_broadcast(&db->work);
    lsm_mutex_unlock(&db->mu);
}

lsmkv_status lsm_scheduler_compact(lsmkv_db *db, lsm_key_range range,
                                   lsmkv_error *err) {
    lsmkv_status status = lsm_scheduler_claim(db, err);

    if (status != LSMKV_OK) {
        return status;
    }
    for (uint32_t level = 0; status == LSMKV_OK && level < LSMKV_LEVEL_COUNT; level++) {
        status = compact_level(db, level, range, err);
        status = status == LSMKV_NOT_FOUND ? LSMKV_OK : status;
    }
    lsm_scheduler_unclaim(db);
    return status;
}
