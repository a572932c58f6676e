/* SPDX-License-Identifier: Apache-2.0
 *
 * See follow.h for the steps, and why publishing is done in that order.
 */
#include "db/follow.h"

#include "base/alloc.h"
#include "base/mutant.h"
#include "db/cache_space.h"
#include "db/view.h"
#include "format/filename.h"

enum {
    ATTEMPTS_MAX = 50,
    SAME_FAILURES_MAX = 2, /* in a row, while the MANIFEST stayed as it was */
    PAUSE_US = 200,        /* more with each attempt */
    POLL_DOUBLINGS_MAX = 6,
    POLL_BACKOFF_US_MAX = 60 * 1000 * 1000,
};

struct lsm_follow {
    lsm_manifest_state state; /* its version and origins are the database's */
    lsm_recovery recovery;
    bool whole;     /* both are what is shown, so a refresh may go on from there */
    bool listed;    /* the directory has no log that is not in `recovery`, ... */
    uint64_t stamp; /* ... as long as it has this stamp */
    bool replaced;  /* another database lies in the directory: no use trying again */

    /* Under db->mu. */
    lsmkv_follow_stats stats; /* age_us is not kept */
    uint64_t fresh_us;        /* when the last refresh that succeeded began */
};

static lsm_version *shown_version(lsmkv_db *db) {
    lsm_mutex_lock(&db->mu);
    lsm_version *version = db->version;
    lsm_mutex_unlock(&db->mu);
    return version; /* it goes only when we, who have set `installing`, replace it */
}

/* Whether readers see what was replayed, or need another readstate for it. Memtables
 * go only when the version does, and come last. */
static bool is_shown(lsmkv_db *db, const lsm_recovery *recovery,
                     const lsm_version *version) {
    const lsm_readstate *state = lsm_db_readstate(db); /* replaced by us only */

    return state->version == version && state->log_count == recovery->segment_count &&
           (recovery->count == 0 ||
            state->mem == recovery->memtables[recovery->count - 1].mem);
}

/* What publishing needs. */
typedef struct lsm_follow_news {
    const lsm_manifest_state *state;
    lsm_recovery *recovery;
    lsm_version *version;
    lsm_readstate *readstate; /* owned; NULL: the one there is will do */
    lsm_view_files *files;    /* owned */
    lsm_catalog_next next;    /* owned */
} lsm_follow_news;

/* All that may fail. */
static lsmkv_status prepare(lsmkv_db *db, lsm_follow_news *news, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    atomic_store_explicit(&db->manifest_next_file, news->state->next_file,
                          memory_order_relaxed);
    news->files = lsm_view_files_create(news->state, news->recovery);
    if (news->files == NULL) {
        LSM_TRY(lsm_fail_memory(err, sizeof(*news->files)));
    }
    if (!is_shown(db, news->recovery, news->version)) {
        news->readstate = lsm_recovery_readstate(db, news->recovery, news->version);
        if (news->readstate == NULL) {
            LSM_TRY(lsm_fail_memory(err, sizeof(*news->readstate)));
        }
    }
    if (news->recovery->defines) {
        const lsmkv_snapshot at = {.db = db,
                                   .sequence = news->recovery->last_sequence,
                                   .state = news->readstate};
        LSM_TRY(lsm_catalog_prepare(db, &at, &news->next, err));
    }
out:
    return status;
}

static void expose_locked(lsmkv_db *db, lsm_follow_news *news) LSM_REQUIRES(db->mu) {
    uint64_t sequence = news->recovery->last_sequence -
                        (LSM_MUTANT(FOLLOWER_SHOWS_HALF_A_BATCH) ? 1 : 0);
    bool back = sequence < lsm_db_published(db);

    if (!back) {
        /* release: pairs with the acquire of lsm_db_published. */
        atomic_store_explicit(&db->published, sequence, memory_order_release);
    }
    if (news->readstate != NULL) {
        lsm_readstate_replace_locked(db, news->readstate);
        news->readstate = NULL;
    }
    if (back) {
        atomic_store_explicit(&db->published, sequence, memory_order_release);
        news->recovery->separates = true;
    }
    if (db->version != news->version) {
        lsm_version *old = db->version;
        lsm_version_ref(news->version);
        db->version = news->version;
        lsm_version_unref(old);
    }
    lsm_view_files *files = db->view_files;
    db->view_files = news->files;
    news->files = files;
    if (news->recovery->defines) {
        lsm_catalog_switch_locked(db, &news->next);
        news->recovery->defines = false;
    }
}

/* Lets readers see what was replayed, over a version. */
static lsmkv_status publish(lsmkv_db *db, const lsm_manifest_state *state,
                            lsm_recovery *recovery, lsm_version *version,
                            lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_follow_news news = {.state = state, .recovery = recovery, .version = version};

    LSM_TRY(prepare(db, &news, err));
    lsm_clock_raise(&db->clock, recovery->time_ms > state->time_ms ? recovery->time_ms
                                                                   : state->time_ms);
    lsm_mutex_lock(&db->catalog_mu);
    atomic_store(&db->switching, true);
    lsm_mutex_lock(&db->mu);
    expose_locked(db, &news);
    lsm_mutex_unlock(&db->mu);
    atomic_store(&db->switching, false);
    lsm_mutex_unlock(&db->catalog_mu);
out:
    lsm_readstate_unref(news.readstate);
    lsm_view_files_destroy(news.files);
    lsm_catalog_next_deinit(&news.next);
    return status;
}

static lsmkv_status check_same(lsmkv_db *db, const lsm_manifest_state *state,
                               lsmkv_error *err) {
    size_t size = state->origin_count * LSM_UUID_SIZE;

    if (memcmp(db->uuid, state->uuid, LSM_UUID_SIZE) == 0 &&
        db->origin_count == state->origin_count &&
        (size == 0 || memcmp(db->origins, state->origins, size) == 0)) {
        return LSMKV_OK;
    }
    db->follow->replaced = true;
    return lsm_fail(err, LSMKV_CHANGED,
                    "another database lies in the directory now; open it again");
}

/* Step 1. Only with `back` to a state before the one that is shown: it may be that a
 * log was missed in a list of the directory. */
static lsmkv_status load_anew(lsmkv_db *db, bool back, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_manifest_mark before;
    lsm_manifest_state state = {0};
    lsm_recovery recovery = {.follows = true, .defines = true};

    LSM_TRY(lsm_manifest_look(db->dir, &before, err));
    LSM_TRY(lsm_manifest_load(db->dir, &db->sink, &state, err));
    LSM_TRY(check_same(db, &state, err));
    LSM_TRY(lsm_recovery_open(db, &state, &recovery, err));
    LSM_TRY(lsm_view_look_again(db, &before, err));
    LSM_TRY(lsm_view_hold_tables(db, state.version, err));
    LSM_TRY(lsm_recovery_replay(db, &recovery, err));
    LSM_TRY(lsm_view_hold_segments(db, state.version, &recovery, err));
    if (!back && recovery.last_sequence < lsm_db_published(db)) {
        LSM_TRY(lsm_fail(err, LSMKV_CHANGED, "the database has gone back in time"));
    }
    LSM_TRY(publish(db, &state, &recovery, state.version, err));
    lsm_recovery_deinit(&db->follow->recovery);
    lsm_manifest_state_deinit(&db->follow->state);
    db->follow->recovery = recovery;
    db->follow->state = state;
    db->follow->listed = false;
    recovery = (lsm_recovery){0};
    state = (lsm_manifest_state){0};
    lsm_version_unref(db->follow->state.version);
    db->follow->state.version = NULL;
out:
    lsm_recovery_deinit(&recovery);
    lsm_manifest_state_deinit(&state);
    return status;
}

/* Whether replay has come to one of the logs. */
static bool reads_log(const lsm_recovery *recovery) {
    for (size_t i = 0; i < recovery->log_count; i++) {
        if (recovery->logs[i].begun) {
            return true;
        }
    }
    return false;
}

/* What was flushed is in the tables now. */
static lsmkv_status drop_flushed(lsm_follow *follow, lsmkv_error *err) {
    lsm_recovery *recovery = &follow->recovery;
    uint64_t flushed = follow->state.last_sequence;

    lsm_recovery_drop(recovery, follow->state.first_log);
    if (!reads_log(recovery)) {
        /* What was written and flushed since, we have not seen. */
        recovery->defines |= recovery->last_sequence != flushed;
        recovery->last_sequence = flushed;
    } else if (recovery->last_sequence < flushed) {
        return lsm_fail(err, LSMKV_CHANGED, "the tables are ahead of the logs");
    }
    return LSMKV_OK;
}

/* A log that has no header yet is looked for again. true: there was one. */
static bool forget_torn(lsm_recovery *recovery) {
    size_t kept = 0;

    for (size_t i = 0; i < recovery->log_count; i++) {
        if (recovery->logs[i].reader != NULL) {
            recovery->logs[kept++] = recovery->logs[i];
        }
    }
    bool torn = kept != recovery->log_count;
    recovery->log_count = kept;
    return torn;
}

/* That the MANIFEST we read on in is the one that has the name: a database that was put
 * in the place of ours may well count the same numbers. */
static lsmkv_status check_manifest(lsmkv_db *db, const lsm_manifest_state *state,
                                   lsmkv_error *err) {
    char name[LSM_FILENAME_SIZE];
    lsm_wal_reader *reader = NULL;
    const lsm_wal_expect expect = {.type = LSM_FILE_MANIFEST,
                                   .uuid = state->uuid,
                                   .number = state->manifest_number,
                                   .file_id = state->manifest_file_id,
                                   .size_max = LSM_RECORD_FILE_HEADER_SIZE};

    lsm_filename_make(name, LSM_NAME_MANIFEST, state->manifest_number);
    lsmkv_status status = lsm_wal_open(db->dir, name, &expect, &reader, NULL, err);
    lsm_wal_reader_close(reader);
    return status == LSMKV_NOT_FOUND
               ? lsm_fail_at(err, LSMKV_CHANGED, name, -1, "the file has been deleted")
               : status;
}

/* Step 3. */
static lsmkv_status find_logs(lsmkv_db *db, lsm_follow *follow, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint64_t stamp = 0;
    bool stamped = lsm_dir_stamp(db->dir, &stamp);

    if (!stamped || !follow->listed || stamp != follow->stamp) {
        LSM_TRY(check_manifest(db, &follow->state, err));
        LSM_TRY(lsm_recovery_discover(db, &follow->state, &follow->recovery, err));
        follow->listed = !forget_torn(&follow->recovery) && stamped;
        follow->stamp = stamp;
    }
out:
    return status;
}

/* Steps 2 to 4. */
static lsmkv_status go_on(lsmkv_db *db, lsm_follow *follow, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_version *shown = shown_version(db);
    lsm_version *version = NULL;

    LSM_TRY(lsm_manifest_go_on(&follow->state, shown, &db->sink, &version, err));
    if (version != NULL) {
        LSM_TRY(drop_flushed(follow, err));
        LSM_TRY(lsm_view_hold_tables(db, version, err));
        LSM_TRY(lsm_view_hold_segments(db, version, &follow->recovery, err));
    }
    LSM_TRY(find_logs(db, follow, err));
    LSM_TRY(lsm_recovery_go_on(db, &follow->recovery, err));
    if (version != NULL || follow->recovery.last_sequence != lsm_db_published(db) ||
        !is_shown(db, &follow->recovery, shown)) {
        lsm_version *next = version != NULL ? version : shown;
        LSM_TRY(lsm_cache_view(db, next, err)); /* caches grow with the logs */
        LSM_TRY(publish(db, &follow->state, &follow->recovery, next, err));
    }
out:
    lsm_version_unref(version);
    return status;
}

static lsmkv_status attempt(lsmkv_db *db, bool back, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_follow *follow = db->follow;
    uint64_t number = 0;

    status = lsm_manifest_current(db->dir, &number, err);
    if (status == LSMKV_NOT_FOUND) {
        status = lsm_fail(err, LSMKV_NOT_A_DATABASE,
                          "the directory holds no database any more");
    }
    LSM_TRY(status);
    bool goes_on = follow->whole && number == follow->state.manifest_number;
    follow->whole = false;
    status = goes_on ? go_on(db, follow, err) : load_anew(db, back, err);
    follow->whole = status == LSMKV_OK;
out:
    return status;
}

static void begin_refresh(lsmkv_db *db) {
    lsm_mutex_lock(&db->mu);
    while (db->installing) {
        lsm_cond_wait(&db->changed, &db->mu);
    }
    db->installing = true;
    lsm_mutex_unlock(&db->mu);
}

static void end_refresh(lsmkv_db *db, uint64_t begun_us, const lsmkv_error *failure) {
    lsmkv_follow_stats *stats = &db->follow->stats;

    lsm_mutex_lock(&db->mu);
    if (failure == NULL) {
        lsm_error_clear(&stats->error);
        stats->refresh_count += 1;
        stats->failures_in_row = 0;
        db->follow->fresh_us = begun_us;
    } else {
        stats->error = *failure;
        stats->failure_count += 1;
        stats->failures_in_row += 1;
    }
    db->installing = false;
    lsm_cond_broadcast(&db->changed);
    lsm_mutex_unlock(&db->mu);
    /* What readers have let go of meanwhile. */
    (void)lsm_epoch_poll(&db->epoch);
    lsm_gc_collect(db);
}

static lsmkv_status try_often(lsmkv_db *db, lsmkv_error *failure) {
    lsmkv_status status = LSMKV_OK;
    lsm_manifest_mark last = {0};
    uint32_t same = 0;

    for (uint64_t i = 0; i < ATTEMPTS_MAX && same < SAME_FAILURES_MAX; i++) {
        lsm_manifest_mark now;
        if (i > 0 && db->threaded) {
            lsm_sleep_us(i * PAUSE_US); /* the writer's turn */
        }
        lsm_error_clear(failure);
        status = attempt(db, same > 0, failure);
        if (!lsm_view_is_passing(status) || db->follow->replaced) {
            return status;
        }
        bool looked = lsm_manifest_look(db->dir, &now, NULL) == LSMKV_OK;
        same =
            looked && now.number == last.number && now.size == last.size ? same + 1 : 0;
        last = looked ? now : (lsm_manifest_mark){0};
    }
    return status;
}

lsmkv_status lsm_db_refresh(lsmkv_db *db, bool *changed, lsmkv_error *err) {
    lsmkv_error failure;
    lsmkv_status status;
    bool tried = false;

    *changed = false;
    if (db->follow == NULL) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "only a follower can be refreshed: open it as one");
    }
    begin_refresh(db);
    uint64_t begun_us = lsm_env_monotonic_us(db->env);
    uint64_t before = lsm_db_published(db);
    (void)lsm_clock_follow_ms(&db->clock);
    do {
        status = try_often(db, &failure);
    } while (lsm_db_again(db, status, &failure, &tried));
    *changed = lsm_db_published(db) != before;
    end_refresh(db, begun_us, status == LSMKV_OK ? NULL : &failure);
    return status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &failure);
}

lsmkv_status lsm_follow_stats(lsmkv_db *db, lsmkv_follow_stats *stats,
                              lsmkv_error *err) {
    *stats = (lsmkv_follow_stats){0};
    if (db->follow == NULL) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT, "this is no follower");
    }
    lsm_mutex_lock(&db->mu);
    *stats = db->follow->stats;
    stats->age_us = lsm_env_monotonic_us(db->env) - db->follow->fresh_us;
    lsm_mutex_unlock(&db->mu);
    return LSMKV_OK;
}

uint64_t lsm_follow_pause_us(uint64_t period_us, uint64_t failures) {
    uint64_t doublings = failures < POLL_DOUBLINGS_MAX ? failures : POLL_DOUBLINGS_MAX;
    uint64_t pause = period_us << doublings;

    if (pause > POLL_BACKOFF_US_MAX) {
        pause = POLL_BACKOFF_US_MAX;
    }
    return pause > period_us ? pause : period_us;
}

/* For `follow_interval_ms`. What fails is noted, and tried again. */
static void poll_worker(void *context) {
    lsmkv_db *db = context;
    uint64_t period = (uint64_t)db->options.given.follow_interval_ms * 1000;
    uint64_t last = lsm_env_monotonic_us(db->env);

    lsm_mutex_lock(&db->mu);
    while (!atomic_load(&db->stopping)) {
        /* A refresh that was asked for and succeeded ends the waiting for more. */
        uint64_t next =
            last + lsm_follow_pause_us(period, db->follow->stats.failures_in_row);
        uint64_t now = lsm_env_monotonic_us(db->env);
        bool changed;
        if (now < next) {
            (void)lsm_cond_wait_us(&db->work, &db->mu, next - now);
            continue;
        }
        lsm_mutex_unlock(&db->mu);
        if (lsm_db_begin(db, NULL) == LSMKV_OK) {
            lsm_ignore(lsm_db_refresh(db, &changed, NULL));
            lsm_db_end(db);
        }
        last = lsm_env_monotonic_us(db->env);
        lsm_mutex_lock(&db->mu);
    }
    lsm_mutex_unlock(&db->mu);
}

lsmkv_status lsm_follow_begin(lsmkv_db *db, lsm_manifest_state *state,
                              lsm_recovery *recovery, lsmkv_error *err) {
    lsm_follow *follow = lsm_calloc(1, sizeof(*follow));

    if (follow == NULL) {
        return lsm_fail_memory(err, sizeof(*follow));
    }
    follow->state = *state;
    follow->recovery = *recovery;
    follow->recovery.defines = false;
    follow->whole = true;
    follow->stats.refresh_count = 1;
    lsm_error_clear(&follow->stats.error);
    follow->fresh_us = lsm_env_monotonic_us(db->env);
    *state = (lsm_manifest_state){0};
    *recovery = (lsm_recovery){0};
    (void)forget_torn(&follow->recovery);
    db->follow = follow;
    bool polls = db->threaded && db->options.given.follow_interval_ms > 0;
    if (polls && !lsm_thread_start(&db->syncer, poll_worker, db, "lsmkv-poll")) {
        return lsm_fail(err, LSMKV_IO_ERROR, "cannot start a background thread");
    }
    return LSMKV_OK;
}

void lsm_follow_end(lsmkv_db *db) {
    if (db->follow != NULL) {
        lsm_recovery_deinit(&db->follow->recovery);
        lsm_manifest_state_deinit(&db->follow->state);
        lsm_free(db->follow);
        db->follow = NULL;
    }
}
