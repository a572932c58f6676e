/* SPDX-License-Identifier: Apache-2.0
 *
 * See view.h for the steps.
 */
#include "db/view.h"

#include "base/alloc.h"
#include "db/cache_space.h"
#include "db/follow.h"
#include "db/recover.h"
#include "format/filename.h"

enum {
    ATTEMPTS_MAX = 50,
    SAME_FAILURES_MAX = 2, /* as a writer cuts its log, one may be a trick of the eye */
    PAUSE_US = 200,        /* more with each attempt */
};

void lsm_view_files_destroy(lsm_view_files *files) {
    lsm_free(files);
}

lsm_view_files *lsm_view_files_create(const lsm_manifest_state *state,
                                      const lsm_recovery *recovery) {
    size_t size = sizeof(lsm_view_files) + recovery->log_count * sizeof(lsm_view_file);
    lsm_view_files *files = lsm_calloc(1, size);

    if (files == NULL) {
        return NULL;
    }
    files->manifest = (lsm_view_file){state->manifest_number, state->manifest_file_id,
                                      state->manifest_size};
    for (size_t i = 0; i < recovery->log_count; i++) {
        const lsm_replay_log *log = &recovery->logs[i];
        if (log->reader != NULL) {
            files->logs[files->log_count++] =
                (lsm_view_file){log->number, lsm_wal_header(log->reader)->file_id,
                                lsm_wal_end(log->reader)};
        }
    }
    return files;
}

/* An untrusted directory gets no promise about a writer beside us, and may name more
 * tables than its budget can hold open. */
static uint32_t files_to_hold(const lsmkv_db *db, uint32_t most) {
    return db->budget == NULL ? most : 0;
}

lsmkv_status lsm_view_hold_tables(lsmkv_db *db, const lsm_version *version,
                                  lsmkv_error *err) {
    uint32_t left = files_to_hold(db, db->table_cache.open_max);
    lsmkv_status status = LSMKV_OK;
    lsm_epoch_token token = lsm_epoch_enter(&db->epoch);

    for (size_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        const lsm_level *level = &version->levels[i];
        for (size_t k = 0; k < level->count && left > 0; k++, left--) {
            lsm_table *table;
            lsmkv_error failure;
            lsm_error_clear(&failure);
            status = lsm_table_cache_get(&db->table_cache, level->tables[k], false,
                                         &table, &failure);
            if (status == LSMKV_CHANGED || lsm_is_memory(status)) {
                (void)lsm_error_copy(err, &failure);
                goto out;
            }
        }
    }
    status = LSMKV_OK;
out:
    lsm_epoch_leave(token);
    return status;
}

lsmkv_status lsm_view_hold_segments(lsmkv_db *db, const lsm_version *version,
                                    const lsm_recovery *recovery, lsmkv_error *err) {
    lsmkv_error failure;
    size_t total = recovery->segment_count + version->segment_count;
    uint32_t left =
        files_to_hold(db, db->segments.mapping ? db->options.max_open_files
                                               : db->segment_files.open_max);

    for (size_t i = 0; i < total && left > 0; i++, left--) {
        lsm_segment *segment =
            i < recovery->segment_count
                ? recovery->segments[i]
                : version->segments[i - recovery->segment_count].segment;
        lsm_error_clear(&failure);
        lsmkv_status status = lsm_segment_hold(segment, &failure);
        if (status == LSMKV_CHANGED || lsm_is_memory(status)) {
            return lsm_error_copy(err, &failure);
        }
    }
    return lsm_cache_view(db, version, err);
}

lsmkv_status lsm_view_look_again(lsmkv_db *db, const lsm_manifest_mark *before,
                                 lsmkv_error *err) {
    lsm_manifest_mark now;
    lsmkv_status status = lsm_manifest_look(db->dir, &now, err);

    if (status == LSMKV_OK &&
        (now.number != before->number || now.size != before->size)) {
        status = lsm_fail(err, LSMKV_CHANGED,
                          "the database kept changing while it was opened; try again");
    }
    return status;
}

static lsmkv_status load(lsmkv_db *db, const lsm_manifest_mark *before,
                         lsmkv_error *err) LSM_UNSHARED {
    lsmkv_status status = LSMKV_OK;
    lsm_manifest_state state = {0};
    lsm_recovery recovery = {0};
    bool remembered;

    recovery.follows = db->options.given.follower;
    LSM_TRY(lsm_manifest_load(db->dir, &db->sink, &state, err));
    LSM_TRY(lsm_recovery_open(db, &state, &recovery, err));
    LSM_TRY(lsm_view_look_again(db, before, err));
    lsm_db_adopt(db, &state);
    db->next_file = state.next_file;
    LSM_TRY(lsm_db_build(db, err));
    LSM_TRY(lsm_view_hold_tables(db, db->version, err));
    LSM_TRY(lsm_recovery_replay(db, &recovery, err));
    LSM_TRY(lsm_view_hold_segments(db, db->version, &recovery, err));
    lsm_clock_init(&db->clock, db->env,
                   recovery.time_ms > state.time_ms ? recovery.time_ms : state.time_ms);
    db->view_files = lsm_view_files_create(&state, &recovery);
    if (db->view_files == NULL) {
        LSM_TRY(lsm_fail_memory(err, sizeof(lsm_view_files)));
    }
    LSM_TRY(lsm_db_recall_options(db, &recovery, &remembered, err));
    LSM_TRY(lsm_recovery_publish(db, &recovery, err));
    LSM_TRY(lsm_catalog_load(db, err));
    db->recovered_records = recovery.records;
    db->recovered_dropped_bytes = recovery.dropped_bytes;
    if (recovery.follows) {
        LSM_TRY(lsm_follow_begin(db, &state, &recovery, err));
    }
out:
    lsm_recovery_deinit(&recovery);
    lsm_manifest_state_deinit(&state);
    return status;
}

static lsmkv_status fail_absent(lsmkv_error *err) {
    return lsm_fail(err, LSMKV_NOT_A_DATABASE,
                    "the directory holds no database; to make one, open it for "
                    "writing");
}

/* One attempt. *changed: it failed, and the MANIFEST did not stay as it was. */
static lsmkv_status attempt(lsmkv_db *db, const char *path, bool *changed,
                            lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_manifest_mark before;

    *changed = false;
    status = db->budget == NULL ? lsm_dir_open(db->env, path, false, &db->dir, err)
                                : lsm_dir_open_here(db->env, path, &db->dir, err);
    if (status == LSMKV_NOT_FOUND) {
        return fail_absent(err);
    }
    LSM_TRY(status);
    status = lsm_manifest_look(db->dir, &before, err);
    if (status == LSMKV_NOT_FOUND) {
        return lsm_fail_at(err, LSMKV_NOT_A_DATABASE, LSM_CURRENT_NAME, -1,
                           "the file is missing: the directory holds no database, or "
                           "not the whole of one");
    }
    LSM_TRY(status);
    status = load(db, &before, err);
    *changed =
        status != LSMKV_OK && lsm_view_look_again(db, &before, NULL) == LSMKV_CHANGED;
out:
    return status;
}

/* A handle that refuses writes. */
static lsmkv_status create(lsm_env *env, const lsm_options *options, lsm_budget *budget,
                           lsmkv_db **dbp, lsmkv_error *err) {
    lsmkv_db *db = lsm_db_create(env);

    *dbp = db;
    if (db == NULL) {
        return lsm_fail_memory(err, sizeof(*db));
    }
    db->budget = budget;
    db->options = *options;
    db->read_only = true;
    lsm_mutex_lock(&db->mu);
    db->state = LSM_STATE_POISONED;
    (void)lsm_fail(&db->failure, LSMKV_READ_ONLY,
                   "the database was opened for reading only");
    lsm_mutex_unlock(&db->mu);
    return LSMKV_OK;
}

static lsmkv_status open_once(lsm_env *env, const char *path,
                              const lsm_options *options, lsmkv_db **dbp, bool *changed,
                              lsmkv_error *err) {
    lsm_budget *budget = NULL;
    lsmkv_db *db;

    *changed = false;
    if (options->given.untrusted) {
        budget = lsm_budget_create(options->given.memory_bytes);
        if (budget == NULL) {
            return lsm_fail_memory(err, sizeof(*budget));
        }
    }
    LSM_BUDGET_SCOPE before = lsm_budget_enter(budget);
    lsmkv_status status = create(env, options, budget, &db, err);
    if (status != LSMKV_OK) {
        lsm_budget_destroy(budget);
        return status;
    }
    status = attempt(db, path, changed, err);
    if (status == LSMKV_OK) {
        *dbp = db;
    } else {
        lsm_db_abandon(db);
        lsm_db_destroy(db);
    }
    return status;
}

bool lsm_view_is_passing(lsmkv_status status) {
    return status == LSMKV_CORRUPTION || status == LSMKV_CHANGED;
}

lsmkv_status lsm_view_open(lsm_env *env, const char *path, const lsmkv_options *options,
                           lsmkv_db **dbp, lsmkv_error *err) {
    lsmkv_error failure;
    lsm_options resolved;
    lsmkv_status status = lsm_options_resolve(options, &resolved, err);
    uint32_t same = 0;

    *dbp = NULL;
    if (status != LSMKV_OK) {
        return status;
    }
    for (uint64_t i = 0; i < ATTEMPTS_MAX && same < SAME_FAILURES_MAX; i++) {
        bool changed;
        if (i > 0 && lsm_env_threaded(env)) {
            lsm_sleep_us(i * PAUSE_US); /* the writer's turn */
        }
        lsm_error_clear(&failure);
        status = open_once(env, path, &resolved, dbp, &changed, &failure);
        if (status == LSMKV_OK || !(changed || lsm_view_is_passing(status))) {
            break;
        }
        same = changed ? 0 : same + 1;
    }
    if (status == LSMKV_CHANGED && same == SAME_FAILURES_MAX) {
        failure.status = status = LSMKV_CORRUPTION; /* nobody changes it: it is lost */
    }
    if (options->untrusted && lsm_error_is_no_file(&failure)) {
        failure.status = LSMKV_CORRUPTION; /* the engine makes no such thing */
    }
    return status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &failure);
}
