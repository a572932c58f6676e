/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening, in an order in which a failure changes nothing and a crash at any point
 * leaves a state that opens again:
 *
 *   1. take the lock
 *   2. read CURRENT and MANIFEST, or find that the directory holds no database
 *   3. replay the logs into memtables (recover.h); recall the remembered options and
 *      the namespaces, which is the last that may meet damage
 *   4. write the memtables out as tables, synced
 *   5. write a fresh MANIFEST that names them and makes the old logs obsolete, synced;
 *      make CURRENT name it
 *   6. only now create the new log, sweep away what is obsolete, start the threads
 *
 * Old logs are never appended to, and the database goes on only from bytes that this
 * open has written and synced itself. File numbers start above every number seen in
 * the directory.
 */
#include "db/db.h"

#include "base/alloc.h"
#include "base/mutant.h"
#include "db/cache_space.h"
#include "db/published.h"
#include "db/read.h"
#include "db/recover.h"
#include "db/view.h"
#include "format/filename.h"

enum { VALUE_FILES_DIVISOR = 4 }; /* their part of max_open_files */

/* Handles made so far. */
static _Atomic uint64_t instances;

lsmkv_db *lsm_db_create(lsm_env *env) LSM_UNSHARED {
    lsmkv_db *db = lsm_calloc(1, sizeof(*db));
    if (db == NULL || !lsm_epoch_init(&db->epoch)) {
        lsm_free(db);
        return NULL;
    }
    db->env = env;
    db->threaded = lsm_env_threaded(env);
    db->opened_us = lsm_env_monotonic_us(env);
    db->hot_begun_us = db->opened_us;
    db->fork_generation = lsm_fork_generation();
    atomic_init(&db->refs, 1);
    db->instance = atomic_fetch_add(&instances, 1) + 1;
    db->rows_batch_max = LSMKV_BATCH_SIZE_MAX;
    db->default_space.id = LSM_NAMESPACE_DEFAULT;
    db->latencies.env = env;
    lsm_mutex_init(&db->catalog_mu);
    lsm_mutex_init(&db->mu);
    lsm_mutex_init(&db->sink_mu);
    lsm_cond_init(&db->changed);
    lsm_cond_init(&db->work);
    lsm_cond_init(&db->idle);
    lsm_list_init(&db->writers);
    lsm_list_init(&db->snapshots);
    lsm_list_init(&db->publishes);
    lsm_error_clear(&db->failure);
    lsm_error_clear(&db->background);
    lsm_gc_init(db);
    return db;
}

/* The largest number in any name, and whether there are files that only a database
 * with a CURRENT can have. */
static lsmkv_status survey(lsmkv_db *db, uint64_t *largest, bool *orphans,
                           lsmkv_error *err) {
    lsm_namelist list = {0};
    lsmkv_status status = lsm_dir_list(db->dir, &list, err);
    *largest = 0;
    *orphans = false;
    for (size_t i = 0; status == LSMKV_OK && i < list.count; i++) {
        uint64_t number;
        lsm_file_kind kind = lsm_filename_parse(list.names[i], &number);
        *largest = number > *largest ? number : *largest;
        *orphans |=
            kind == LSM_NAME_TABLE || kind == LSM_NAME_LOG || kind == LSM_NAME_SEGMENT;
    }
    lsm_namelist_deinit(&list);
    return status;
}

/* What a database that does not exist yet starts from. */
static lsmkv_status start_fresh(lsmkv_db *db, const lsmkv_options *options,
                                bool orphans, lsm_manifest_state *state,
                                lsmkv_error *err) {
    if (orphans) {
        return lsm_fail_at(err, LSMKV_NOT_A_DATABASE, LSM_CURRENT_NAME, -1,
                           "the file is missing, but the directory holds tables or "
                           "logs; restore it or copy the rest elsewhere");
    }
    if (!options->create_if_missing) {
        return lsm_fail(err, LSMKV_NOT_A_DATABASE,
                        "the directory holds no database; open it with create enabled "
                        "to make one");
    }
    lsm_env_entropy(db->env, state->uuid, LSM_UUID_SIZE);
    state->next_file = 1;
    state->first_log = 1;
    state->version = lsm_version_create();
    return state->version != NULL ? LSMKV_OK
                                  : lsm_fail_memory(err, sizeof(lsm_version));
}

/* A missing directory is no database; when one is to be made, its parent is missing. */
static lsmkv_status open_dir(lsmkv_db *db, const char *path,
                             const lsmkv_options *options, lsmkv_error *err) {
    bool create = options->create_if_missing;
    lsmkv_status status = lsm_dir_open(db->env, path, create, &db->dir, err);
    if (status == LSMKV_NOT_FOUND) {
        status = create ? LSMKV_IO_ERROR : LSMKV_NOT_A_DATABASE;
        if (err != NULL) {
            err->status = status;
        }
    }
    return status;
}

void lsm_db_adopt(lsmkv_db *db, lsm_manifest_state *state) LSM_UNSHARED {
    memcpy(db->uuid, state->uuid, LSM_UUID_SIZE);
    db->origins = state->origins;
    db->origin_count = state->origin_count;
    atomic_store_explicit(&db->manifest_next_file, state->next_file,
                          memory_order_relaxed);
    state->origins = NULL;
    db->version = state->version;
    state->version = NULL;
}

/* Steps 1 and 2. */
static lsmkv_status load(lsmkv_db *db, const char *path, const lsmkv_options *options,
                         lsm_manifest_state *state, lsmkv_error *err) LSM_UNSHARED {
    lsmkv_status status = LSMKV_OK;
    uint64_t largest;
    bool orphans;

    LSM_TRY(open_dir(db, path, options, err));
    LSM_TRY(lsm_dir_lock(db->dir, LSM_LOCK_NAME, &db->lock, err));
    LSM_TRY(survey(db, &largest, &orphans, err));
    status = lsm_manifest_load(db->dir, &db->sink, state, err);
    if (status == LSMKV_NOT_FOUND) {
        LSM_TRY(start_fresh(db, options, orphans, state, err));
        db->fresh = true;
    } else if (status == LSMKV_OK && options->error_if_exists) {
        status = lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                          "a database exists in this directory already");
    }
    LSM_TRY(status);
    lsm_db_adopt(db, state);
    largest = LSM_MUTANT(FILE_NUMBERS_REUSED) ? 0 : largest;
    db->next_file = (largest >= state->next_file ? largest + 1 : state->next_file);
    if (db->next_file > LSM_FILE_NUMBER_MAX / 2) {
        /* Before a MANIFEST is written that no open would read. */
        status = lsm_fail(err, LSMKV_CORRUPTION,
                          "the next file has the number %llu, expected at most %llu: "
                          "remove what is not of this database from the directory",
                          (unsigned long long)db->next_file,
                          (unsigned long long)LSM_FILE_NUMBER_MAX / 2);
    }
out:
    return status;
}

lsmkv_status lsm_db_build(lsmkv_db *db, lsmkv_error *err) LSM_UNSHARED {
    uint64_t seed = db->options.given.seed;
    if (seed == 0) {
        lsm_env_entropy(db->env, &seed, sizeof(seed));
    }
    db->rng.state = seed;
    db->segments.dir = db->dir;
    db->segments.mapping = db->options.mapping;
    db->segments.read_only = db->read_only;
    memcpy(db->segments.uuid, db->uuid, LSM_UUID_SIZE);
    db->cache = lsm_cache_create(db->options.cache_bytes, &db->epoch);
    if (db->cache == NULL) {
        return lsm_fail_memory(err, 0);
    }
    lsm_table_context context = {
        .dir = db->dir, .cache = db->cache, .read_only = db->read_only};
    context.origins =
        (lsm_uuids){(const uint8_t (*)[LSM_UUID_SIZE])db->origins, db->origin_count};
    db->segments.origins = context.origins;
    memcpy(context.uuid, db->uuid, LSM_UUID_SIZE);
    bool shares = db->options.given.block_cache_bytes < 0;
    /* Files of large values need descriptors only where they are not mapped. */
    uint32_t for_values = db->options.max_open_files / VALUE_FILES_DIVISOR;
    uint32_t for_tables = db->options.max_open_files - for_values;
    db->segment_files.open_max = for_values;
    lsm_table_cache_init(&db->table_cache, &context, &db->epoch,
                         db->options.mapping ? db->options.max_open_files : for_tables,
                         shares ? db->options.cache_bytes : 0);
    db->built = true;
    return LSMKV_OK;
}

lsmkv_status lsm_db_recall_options(lsmkv_db *db, const lsm_recovery *recovery,
                                   bool *remembered, lsmkv_error *err) LSM_UNSHARED {
    uint8_t skey[LSM_NAMESPACE_SIZE + sizeof(LSM_OPTIONS_KEY)] = {0};
    memcpy(skey + LSM_NAMESPACE_SIZE, LSM_OPTIONS_KEY, sizeof(LSM_OPTIONS_KEY) - 1);
    lsm_lookup lookup = lsm_lookup_make(lsm_slice_make(skey, sizeof(skey) - 1),
                                        recovery->last_sequence);
    lsm_found found;
    lsm_slice value = {NULL, 0};

    lsmkv_status status = LSMKV_NOT_FOUND;
    lsm_epoch_token token = lsm_epoch_enter(&db->epoch);
    for (size_t i = recovery->count; i > 0 && status == LSMKV_NOT_FOUND; i--) {
        status = lsm_memtable_get(recovery->memtables[i - 1].mem, &lookup, &found);
        if (status == LSMKV_OK) {
            value = lsm_value_of_field(lsm_trailer_tag(found.trailer), found.field);
        }
    }
    if (status == LSMKV_NOT_FOUND) {
        status = lsm_db_get_tables(db, &lookup, db->version, &value, err);
    }
    *remembered = status == LSMKV_OK;
    if (status == LSMKV_OK) {
        status = lsm_options_recall(&db->options, value, err);
    }
    lsm_epoch_leave(token);
    return status == LSMKV_NOT_FOUND ? LSMKV_OK : status;
}

/* Step 5. From `*renamed` on, a reopen may find the new state. */
static lsmkv_status commit(lsmkv_db *db, lsm_edit *edit, bool *renamed,
                           lsmkv_error *err) LSM_UNSHARED {
    lsmkv_status status = LSMKV_OK;
    lsm_version *version = NULL;
    lsm_edit everything;
    lsm_record_file_header header = {.type = LSM_FILE_MANIFEST};

    lsm_edit_init(&everything);
    LSM_TRY(lsm_version_apply(db->version, edit, &db->sink, &version, err));
    header.number = db->next_file++;
    header.file_id = lsm_rng_next(&db->rng);
    memcpy(header.uuid, db->uuid, LSM_UUID_SIZE);
    db->first_log = db->next_file++;
    db->flushed_sequence = edit->last_sequence;
    everything.has_next_file = true;
    everything.next_file = db->next_file;
    everything.has_last_sequence = true;
    everything.last_sequence = edit->last_sequence;
    everything.has_first_log = true;
    everything.first_log = db->first_log;
    everything.has_time = true;
    everything.time_ms = lsm_clock_now_ms(&db->clock);
    if (!lsm_edit_describe_version(&everything, version) ||
        !lsm_db_describe_origins(db, &everything)) {
        LSM_TRY(lsm_fail_memory(err, 0));
    }
    LSM_TRY(lsm_manifest_create(db->dir, &header, &everything, &db->manifest, renamed,
                                err));
    lsm_version_unref(db->version);
    db->version = version;
    version = NULL;
    db->manifest_limit =
        db->options.manifest_bytes_max + 4 * lsm_wal_size(db->manifest);
out:
    lsm_version_unref(version);
    lsm_edit_deinit(&everything);
    return status;
}

/* Steps 3 to 5. */
static lsmkv_status recover(lsmkv_db *db, const lsm_manifest_state *state,
                            bool *remembered, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_recovery recovery = {0};
    lsm_edit edit;
    bool renamed = false;

    lsm_edit_init(&edit);
    LSM_TRY(lsm_recovery_open(db, state, &recovery, err));
    LSM_TRY(lsm_recovery_replay(db, &recovery, err));
    lsm_recovery_close_logs(&recovery);
    lsm_clock_init(
        &db->clock, db->env,
        recovery.time_ms > state->time_ms ? recovery.time_ms : state->time_ms);
    if (LSM_MUTANT(TIME_FORGOTTEN_AT_OPEN)) {
        lsm_clock_init(&db->clock, db->env, 0);
    }
    LSM_TRY(lsm_db_recall_options(db, &recovery, remembered, err));
    /* All that may turn out to be damaged is read before anything is written. */
    LSM_TRY(lsm_recovery_publish(db, &recovery, err));
    LSM_TRY(lsm_catalog_load(db, err));
    LSM_TRY(lsm_cache_recover(db, &edit, err));
    LSM_TRY(lsm_recovery_flush(db, &recovery, &edit, err));
    edit.has_last_sequence = true;
    edit.last_sequence = recovery.last_sequence;
    LSM_TRY(commit(db, &edit, &renamed, err));
    db->recovered_records = recovery.records;
    db->recovered_dropped_bytes = recovery.dropped_bytes;
out:
    if (status != LSMKV_OK && (!renamed || LSM_MUTANT(OPEN_UNDONE_AFTER_RENAME))) {
        lsm_recovery_undo(db, &recovery);
    }
    lsm_recovery_deinit(&recovery);
    lsm_edit_deinit(&edit);
    return status;
}

/* The first memtable and its log, and the readstate that shows them. */
static lsmkv_status start_writing(lsmkv_db *db, lsmkv_error *err) LSM_UNSHARED {
    lsmkv_status status = LSMKV_OK;
    lsm_readstate *spare =
        lsm_readstate_alloc(LSM_IMMUTABLE_MAX, LSM_IMMUTABLE_MAX + 1);
    lsm_live_log log = {0};

    db->mem = lsm_memtable_create(db->options.memtable_bytes, lsm_rng_next(&db->rng));
    if (db->mem == NULL || spare == NULL) {
        LSM_TRY(lsm_fail_memory(err, (size_t)db->options.memtable_bytes));
    }
    lsm_log_plan plan = {.number = db->first_log,
                         .file_id = lsm_rng_next(&db->rng),
                         .previous_sequence = db->last_sequence};
    LSM_TRY(lsm_log_create(db, &plan, &log, err));
    lsm_mutex_lock(&db->mu);
    db->logs[db->log_count++] = log;
    lsm_readstate_publish_locked(db, spare);
    lsm_mutex_unlock(&db->mu);
    spare = NULL;
out:
    lsm_free(spare);
    return status;
}

/* Remembers what shapes the files, if that has changed. */
static lsmkv_status remember_options(lsmkv_db *db, bool remembered, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_batch batch;
    lsm_buf value;

    lsm_batch_init(&batch);
    lsm_buf_init(&value);
    if (remembered && !db->options.changed) {
        goto out;
    }
    if (!lsm_options_encode(&db->options, &value)) {
        LSM_TRY(lsm_fail_memory(err, 0));
    }
    LSM_TRY(lsm_batch_put(&batch, LSM_NAMESPACE_SYSTEM,
                          (lsmkv_bytes){LSM_OPTIONS_KEY, sizeof(LSM_OPTIONS_KEY) - 1},
                          (lsmkv_bytes){value.data, value.size}, err));
    LSM_TRY(lsm_db_write(db, &batch, (lsm_write_how){0}, err));
out:
    lsm_batch_deinit(&batch);
    lsm_buf_deinit(&value);
    return status;
}

static lsmkv_status open_for_writing(lsm_env *env, const char *path,
                                     const lsmkv_options *options, lsmkv_db **dbp,
                                     lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_manifest_state state = {0};
    bool remembered = false;

    *dbp = NULL;
    lsmkv_db *db = lsm_db_create(env);
    if (db == NULL) {
        return lsm_fail_memory(err, sizeof(*db));
    }
    LSM_TRY(lsm_options_resolve(options, &db->options, err));
    LSM_TRY(load(db, path, options, &state, err));
    LSM_TRY(lsm_db_build(db, err));
    LSM_TRY(recover(db, &state, &remembered, err));
    LSM_TRY(start_writing(db, err));
    LSM_TRY(lsm_gc_sweep(db, err)); /* before a write can start a job and its files */
    LSM_TRY(remember_options(db, remembered, err));
    LSM_TRY(lsm_scheduler_start(db, err));
    if (!LSM_MUTANT(UNFINISHED_PUBLISH_KEPT)) {
        LSM_TRY(lsm_published_clean(db, err));
    }
    lsm_stats_save_start(db);
    *dbp = db;
    db = NULL;
out:
    lsm_manifest_state_deinit(&state);
    if (db != NULL) {
        lsm_db_abandon(db);
        lsm_db_destroy(db);
    }
    return status;
}

lsmkv_status lsm_db_open(lsm_env *env, const char *path, const lsmkv_options *options,
                         lsmkv_db **dbp, lsmkv_error *err) {
    lsmkv_status status = options->read_only || options->follower
                              ? lsm_view_open(env, path, options, dbp, err)
                              : open_for_writing(env, path, options, dbp, err);

    if (status == LSMKV_OK) {
        lsm_warm_start(*dbp);
    }
    return status;
}
