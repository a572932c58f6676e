/* SPDX-License-Identifier: Apache-2.0
 *
 * Making room for a write: the graded stalls, and the rotation of memtable and log.
 *
 * In order of need: from l0_slowdown tables in level 0 on, each write is delayed once
 * by a millisecond; with a full memtable, the writer waits while too many memtables
 * wait for their flush or level 0 holds l0_stop tables; then the memtable becomes
 * immutable and a new one, with a new log, takes its place. A log of log_bytes counts
 * as a full memtable, because large values stay in the log. Waiting ends with the error
 * of the background work that would have made room, so no write waits for ever. Where
 * large values take much more space than is alive, a rotation waits, up to a second,
 * for the compactions that move them.
 *
 * A rotation is also how a DEGRADED database (full disk, dead log) comes back: a new
 * log is started, and the flush of the old memtable makes durable what the dead log
 * can no longer be synced for.
 */
#include "db/db.h"

#include "base/alloc.h"
#include "db/compact_pick.h"
#include "db/job.h"
#include "format/filename.h"
#include "wal/wal.h"

enum {
    SLOWDOWN_US = 1000,
    SPACE_WAIT_US = 5000,
    SPACE_WAITS_MAX = 200,
    SPACE_IDLE_MAX = 2,   /* looks at which no compaction runs, so that none will */
    LOG_MARGIN = 2 << 20, /* what a log may exceed its size by: a group, marks, pads */
};

static size_t level0_count_locked(lsmkv_db *db) LSM_REQUIRES(db->mu) {
    return db->version->levels[0].count;
}

static void count_stall(lsmkv_db *db, uint64_t us) {
    atomic_fetch_add_explicit(&db->counters.stall_count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&db->counters.stall_us, us, memory_order_relaxed);
    lsm_histogram_add(&db->latencies.histograms[LSMKV_LATENCY_STALL], us * 1000, 1);
}

/* Waits for background work that makes room, or says why there will be none. */
static lsmkv_status stall_locked(lsmkv_db *db, lsmkv_error *err) LSM_REQUIRES(db->mu) {
    uint64_t begin = lsm_env_monotonic_us(db->env);
    lsmkv_status status = lsm_scheduler_await_locked(db, err);
    count_stall(db, lsm_env_monotonic_us(db->env) - begin);
    return status;
}

static void slow_down_locked(lsmkv_db *db) LSM_REQUIRES(db->mu) {
    count_stall(db, SLOWDOWN_US);
    lsm_scheduler_delay_locked(db, SLOWDOWN_US);
}

/* Also without an error so far: the mark behind a sync is nobody's write, but a log
 * that did not take it takes nothing else. */
static bool active_log_dead_locked(lsmkv_db *db) LSM_REQUIRES(db->mu) {
    return lsm_wal_dead(db->logs[db->log_count - 1].writer);
}

/* A log takes batches up to log_bytes, or one that is larger alone. */
static bool fits_locked(lsmkv_db *db, lsm_need need) LSM_REQUIRES(db->mu) {
    uint64_t size = lsm_wal_size(db->logs[db->log_count - 1].writer);

    return need.memtable_bytes <= lsm_memtable_left(db->mem) &&
           (size + need.log_bytes <= db->options.log_bytes ||
            lsm_memtable_empty(db->mem));
}

static bool would_allocate_locked(lsmkv_db *db, lsm_need need) LSM_REQUIRES(db->mu) {
    return lsm_wal_would_allocate(db->logs[db->log_count - 1].writer, need.log_bytes);
}

static bool space_is_out_locked(lsmkv_db *db) LSM_REQUIRES(db->mu) {
    lsm_pick_moment moment = lsm_job_moment_locked(db);
    return lsm_pick_space_is_out(db->version, &db->options, &moment);
}

/* Lets the moving of large values catch up. */
static void await_space_locked(lsmkv_db *db) LSM_REQUIRES(db->mu) {
    uint64_t begin = lsm_env_monotonic_us(db->env);
    int idle = 0;

    for (int i = 0; i < SPACE_WAITS_MAX && idle < SPACE_IDLE_MAX &&
                    db->state == LSM_STATE_OPEN && space_is_out_locked(db);
         i++) {
        lsm_cond_broadcast(&db->work);
        lsm_scheduler_delay_locked(db, SPACE_WAIT_US);
        idle = db->compactions > 0 || db->flushing ? 0 : idle + 1;
    }
    uint64_t waited = lsm_env_monotonic_us(db->env) - begin;
    if (waited > SPACE_WAIT_US) {
        count_stall(db, waited);
    }
}

lsmkv_status lsm_room_make_locked(lsmkv_db *db, lsm_need need, bool nonblocking,
                                  lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    bool slowed = false;
    bool spaced = false;

    for (;;) {
        if (db->state == LSM_STATE_POISONED) {
            return lsm_error_copy(err, &db->failure);
        }
        bool fits = fits_locked(db, need);
        bool slow = !slowed && level0_count_locked(db) >= db->options.l0_slowdown;
        if (db->state == LSM_STATE_OPEN && fits && !slow &&
            !active_log_dead_locked(db)) {
            return nonblocking && would_allocate_locked(db, need) ? LSMKV_WOULD_BLOCK
                                                                  : LSMKV_OK;
        }
        if (nonblocking) {
            return LSMKV_WOULD_BLOCK;
        }
        if (db->state == LSM_STATE_OPEN && slow) {
            slowed = true;
            slow_down_locked(db);
        } else if (!lsm_memtable_empty(db->mem) &&
                   (db->immutable_count == LSM_IMMUTABLE_MAX ||
                    level0_count_locked(db) >= db->options.l0_stop)) {
            LSM_TRY(stall_locked(db, err));
        } else if (!spaced && db->state == LSM_STATE_OPEN) {
            spaced = true;
            await_space_locked(db);
        } else {
            LSM_TRY(lsm_room_rotate_locked(db, need, err));
        }
    }
out:
    return status;
}

lsmkv_status lsm_log_create(lsmkv_db *db, const lsm_log_plan *plan, lsm_live_log *log,
                            lsmkv_error *err) {
    char name[LSM_FILENAME_SIZE];
    lsmkv_error failure;
    lsm_record_file_header header = {.type = LSM_FILE_LOG,
                                     .number = plan->number,
                                     .file_id = plan->file_id,
                                     .previous_sequence = plan->previous_sequence};
    uint64_t bytes =
        plan->bytes > db->options.log_bytes ? plan->bytes : db->options.log_bytes;
    lsmkv_status status;
    bool tried = false;

    *log = (lsm_live_log){0};
    log->segment = lsm_segment_create_log(&db->segments, plan->number, plan->file_id,
                                          bytes + LOG_MARGIN);
    if (log->segment == NULL) {
        return lsm_fail_memory(err, sizeof(*log->segment));
    }
    memcpy(header.uuid, db->uuid, LSM_UUID_SIZE);
    lsm_filename_make(name, LSM_NAME_LOG, plan->number);
    do {
        status = lsm_wal_create(db->dir, name, &header, &log->writer, &failure);
    } while (lsm_db_again(db, status, &failure, &tried));
    if (status != LSMKV_OK) {
        lsm_segment_destroy(log->segment);
        log->segment = NULL;
    }
    return status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &failure);
}

/* Puts the new memtable and log in place of the old. Cannot fail. */
static void swap_in_locked(lsmkv_db *db, lsm_memtable *mem, lsm_live_log log,
                           lsm_readstate *spare) LSM_REQUIRES(db->mu) {
    if (lsm_memtable_empty(db->mem)) {
        lsm_memtable_unref(db->mem);
    } else {
        lsm_segment *old = db->logs[db->log_count - 1].segment;
        lsm_segment_ref(old);
        db->immutables[db->immutable_count++] =
            (lsm_immutable){db->mem, old, lsm_wal_number(log.writer)};
    }
    db->mem = mem;
    db->logs[db->log_count++] = log;
    db->state = LSM_STATE_OPEN;
    lsm_readstate_publish_locked(db, spare);
    lsm_cond_broadcast(&db->work);
}

lsmkv_status lsm_room_rotate_locked(lsmkv_db *db, lsm_need need, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_live_log log = {0};
    lsm_memtable *mem = NULL;
    lsm_readstate *spare = NULL;

    while (!lsm_memtable_empty(db->mem) && db->immutable_count == LSM_IMMUTABLE_MAX) {
        LSM_TRY(stall_locked(db, err));
    }
    while (db->log_count == LSM_LOGS_MAX) { /* dead logs in a row: wait for a flush */
        LSM_TRY(stall_locked(db, err));
    }
    uint64_t capacity = need.memtable_bytes > db->options.memtable_bytes
                            ? need.memtable_bytes
                            : db->options.memtable_bytes;
    lsm_log_plan plan = {.number = db->next_file++,
                         .file_id = lsm_rng_next(&db->rng),
                         .previous_sequence = db->last_sequence,
                         .bytes = need.log_bytes};
    uint64_t seed = lsm_rng_next(&db->rng);
    lsm_mutex_unlock(&db->mu);
    spare = lsm_readstate_alloc(LSM_IMMUTABLE_MAX, LSM_IMMUTABLE_MAX + 1);
    mem = lsm_memtable_create(capacity, seed);
    if (spare == NULL || mem == NULL) {
        status = lsm_fail_memory(err, (size_t)capacity);
    } else {
        status = lsm_log_create(db, &plan, &log, err);
    }
    lsm_mutex_lock(&db->mu);
    if (status == LSMKV_OK) {
        swap_in_locked(db, mem, log, spare);
        mem = NULL;
        spare = NULL;
    }
    lsm_epoch_poll(&db->epoch);
out:
    lsm_memtable_unref(mem);
    lsm_free(spare);
    return status;
}
