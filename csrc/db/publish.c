/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a publish; see publish.h for its order, and publish_run.c for its rows.
 */
#include "db/publish.h"

#include "base/alloc.h"
#include "base/mutant.h"
#include "format/filename.h"

enum { PLACE_ATTEMPTS = 8 };

/* A table of a run that was dropped, or installed: then it is another's by now. */
static void forget_table(lsm_table_sink *sink, lsm_live_table *table) {
    lsmkv_publish *publish = LSM_CONTAINER_OF(sink, lsmkv_publish, sink);
    lsm_table_cache_forget(&publish->db->table_cache, table);
    lsm_live_table_destroy(table);
}

static lsmkv_bytes name_of(const lsmkv_publish *publish) {
    return (lsmkv_bytes){publish->name.data, publish->name.size};
}

static lsmkv_bytes version_of(const lsmkv_publish *publish) {
    return (lsmkv_bytes){publish->version.data, publish->version.size};
}

static bool is_running(lsmkv_db *db, lsmkv_bytes name) {
    bool found = false;

    lsm_mutex_lock(&db->mu);
    for (lsm_list *at = db->publishes.next; at != &db->publishes; at = at->next) {
        const lsmkv_publish *publish = LSM_CONTAINER_OF(at, lsmkv_publish, link);
        found |= lsm_slice_equal(lsm_buf_slice(&publish->name),
                                 lsm_slice_make(name.data, name.size));
    }
    lsm_mutex_unlock(&db->mu);
    return found;
}

/* With catalog_mu. Makes sure that the version can be begun. */
static lsmkv_status check_absent(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                 lsmkv_error *err) {
    lsm_publish_record record;

    if (is_running(db, name)) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "another version of this name is being published");
    }
    lsmkv_status status = lsm_published_read(db, NULL, name, version, &record, err);
    if (status == LSMKV_OK && record.state == LSM_PUBLISH_COMPLETE) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "this version was published before: release it first");
    }
    if (status == LSMKV_OK) {
        /* One that could not be forgotten when it was discarded. */
        return lsm_published_forget(db, name, version, &record, LSM_FORGET_ROWS, err);
    }
    return status == LSMKV_NOT_FOUND ? LSMKV_OK : status;
}

static size_t threshold_of(const lsmkv_db *db, const lsm_space *space) {
    int64_t own = atomic_load(&space->blob_threshold_bytes);

    if (own < 0) {
        return lsm_db_blob_threshold(db);
    }
    return own == 0 ? SIZE_MAX : (size_t)own;
}

/* With catalog_mu. */
static lsmkv_status begin(lsmkv_publish *publish, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_db *db = publish->db;
    lsm_batch batch;

    lsm_batch_init(&batch);
    LSM_TRY(check_absent(db, name_of(publish), version_of(publish), err));
    LSM_TRY(lsm_catalog_next_id(db, &publish->record.space.id, err));
    LSM_TRY(lsm_published_put(&batch, name_of(publish), version_of(publish),
                              &publish->record, err));
    LSM_TRY(lsm_catalog_commit_new(db, &batch, &publish->record.space, &publish->space,
                                   err));
    publish->threshold = threshold_of(db, publish->space);
    atomic_fetch_add(&publish->refs, 1);
    lsm_mutex_lock(&db->mu);
    lsm_list_insert(&db->publishes, &publish->link);
    lsm_mutex_unlock(&db->mu);
out:
    lsm_batch_deinit(&batch);
    return status;
}

lsmkv_status lsm_publish_begin(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                               const lsmkv_space_options *options,
                               lsmkv_publish **publishp, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_publish *publish = lsm_calloc(1, sizeof(*publish));

    *publishp = NULL;
    if (publish == NULL) {
        return lsm_fail_memory(err, sizeof(*publish));
    }
    publish->db = db;
    atomic_init(&publish->refs, 1);
    lsm_db_ref(db);
    lsm_list_init(&publish->link);
    lsm_edit_init(&publish->edit);
    lsm_error_clear(&publish->failure);
    publish->sink.dropped = forget_table;
    publish->record = (lsm_publish_record){
        .state = LSM_PUBLISH_BEGUN,
        .created_ms = lsm_clock_follow_ms(&db->clock),
        .space = {.sealed = true, .options = *options},
    };
    publish->phase = LSM_PUBLISH_ENDED;
    if (!lsm_buf_append(&publish->name, name.data, name.size) ||
        !lsm_buf_append(&publish->version, version.data, version.size)) {
        LSM_TRY(lsm_fail_memory(err, name.size + version.size));
    }
    lsm_mutex_lock(&db->catalog_mu);
    status = begin(publish, err);
    lsm_mutex_unlock(&db->catalog_mu);
    if (status == LSMKV_OK) {
        publish->phase = LSM_PUBLISH_WRITING;
        *publishp = publish;
        publish = NULL;
    }
out:
    lsm_publish_unref(publish);
    return status;
}

static lsmkv_status check_phase(const lsmkv_publish *publish, lsmkv_error *err) {
    if (publish->phase == LSM_PUBLISH_WRITING) {
        return LSMKV_OK;
    }
    if (publish->phase == LSM_PUBLISH_FAILED) {
        return lsm_error_copy(err, &publish->failure);
    }
    return lsm_fail(err, LSMKV_INVALID_ARGUMENT, "this publish has ended");
}

/* After a failure nothing can be added: what was written is not known. */
static lsmkv_status keep_failure(lsmkv_publish *publish, const lsmkv_error *failure,
                                 lsmkv_error *err) {
    publish->phase = LSM_PUBLISH_FAILED;
    publish->failure = *failure;
    return lsm_error_copy(err, failure);
}

lsmkv_status lsm_publish_put(lsmkv_publish *publish, int64_t ttl_ms,
                             const lsmkv_pair *pair, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_error failure;
    uint8_t time[8];
    lsm_slice times = {NULL, 0};
    uint8_t tag = LSM_KIND_PUT;

    LSM_TRY(check_phase(publish, err));
    if (pair->key.size > LSMKV_KEY_SIZE_MAX ||
        pair->value.size > LSMKV_VALUE_SIZE_MAX) {
        return lsm_fail(err, LSMKV_LIMIT_EXCEEDED,
                        "a key of %zu and a value of %zu bytes: at most %d and %d",
                        pair->key.size, pair->value.size, LSMKV_KEY_SIZE_MAX,
                        LSMKV_VALUE_SIZE_MAX);
    }
    ttl_ms = ttl_ms != 0 ? ttl_ms : atomic_load(&publish->space->default_ttl_ms);
    if (ttl_ms > 0) {
        uint64_t now_ms = lsm_clock_follow_ms(&publish->db->clock);
        uint64_t at;
        /* unreachable: the clock is below 2^63 */
        at = lsm_add_ok(now_ms, (uint64_t)ttl_ms, &at) ? at : LSM_NEVER - 1;
        lsm_put_u64(time, at);
        times = lsm_slice_make(time, sizeof(time));
        tag |= LSM_TAG_EXPIRES;
    }
    status =
        lsm_publish_add(publish, pair->key, tag, times,
                        lsm_slice_make(pair->value.data, pair->value.size), &failure);
    if (status != LSMKV_OK) {
        return keep_failure(publish, &failure, err);
    }
    publish->record.byte_count += pair->key.size + pair->value.size;
out:
    return status;
}

/* Whether a value file holds anything that a row still points to. */
static bool is_pointed_into(const lsmkv_publish *publish, uint64_t number) {
    const lsm_level *level = &publish->runs[0].level;

    for (size_t i = 0; i < level->count; i++) {
        const lsm_table_info *info = &level->tables[i]->info;
        for (size_t k = 0; k < info->segment_count; k++) {
            if (info->segments[k].number == number) {
                return true;
            }
        }
    }
    return false;
}

/* Value files of rows that others replaced go at once: no version would name them. */
static void drop_useless_values(lsmkv_publish *publish) {
    lsm_edit *edit = &publish->edit;
    char name[LSM_FILENAME_SIZE];
    size_t kept = 0;

    for (size_t i = 0; i < edit->segment_count; i++) {
        if (is_pointed_into(publish, edit->segments[i].number)) {
            edit->segments[kept++] = edit->segments[i];
        } else {
            lsm_filename_make(name, LSM_NAME_SEGMENT, edit->segments[i].number);
            lsm_ignore(lsm_dir_unlink(publish->db->dir, name, NULL));
        }
    }
    edit->segment_count = kept;
}

/* The deepest level where nothing overlaps the keys of the version; 0: none. */
static uint32_t free_level(lsmkv_db *db, lsm_key_range keys) {
    uint32_t found = 0;

    lsm_mutex_lock(&db->mu);
    for (uint32_t level = LSMKV_LEVEL_COUNT - 1; level > 0 && found == 0; level--) {
        const lsm_level *at = &db->version->levels[level];
        bool overlaps = false;
        for (size_t i = 0; i < at->count && !overlaps; i++) {
            overlaps = lsm_range_overlaps(keys, lsm_live_table_range(at->tables[i]));
        }
        found = overlaps ? 0 : level;
    }
    lsm_mutex_unlock(&db->mu);
    return found;
}

/* Installs the tables at a level that is free now. No compaction runs, so none of whose
 * output was decided on before can come to lie across them. */
static lsmkv_status install_at(lsmkv_publish *publish, uint32_t level,
                               lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_db *db = publish->db;
    const lsm_level *tables = &publish->runs[0].level;

    for (size_t i = 0; i < tables->count; i++) {
        if (!lsm_edit_add_table(&publish->edit, level, &tables->tables[i]->info)) {
            LSM_TRY(lsm_fail_memory(err, sizeof(lsm_edit_table)));
        }
    }
    publish->installed = true;
    lsm_mutex_lock(&db->mu);
    publish->record.edit_mark = db->next_file++;
    lsm_mutex_unlock(&db->mu);
    status = lsm_db_install(db, &publish->edit, 0, err);
    if (status != LSMKV_OK) {
        lsm_mutex_lock(&db->mu);
        publish->installed = db->state == LSM_STATE_POISONED;
        lsm_mutex_unlock(&db->mu);
    }
out:
    return status;
}

/* What lies across the keys at every level is compacted until a level is free of it. */
static lsmkv_status install(lsmkv_publish *publish, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_db *db = publish->db;
    uint8_t bounds[2 * LSM_NAMESPACE_SIZE];
    uint32_t level = 0;

    lsm_put_u32_be(bounds, publish->record.space.id);
    lsm_put_u32_be(bounds + LSM_NAMESPACE_SIZE, publish->record.space.id + 1);
    lsm_key_range keys = {
        lsm_slice_make(bounds, LSM_NAMESPACE_SIZE),
        lsm_slice_make(bounds + LSM_NAMESPACE_SIZE, LSM_NAMESPACE_SIZE), true};
    for (int i = 0; i < PLACE_ATTEMPTS && level == 0; i++) {
        if (i > 0) {
            LSM_TRY(lsm_scheduler_compact(db, keys, err));
        }
        LSM_TRY(lsm_scheduler_claim(db, err));
        level = free_level(db, keys);
        if (level != 0) {
            status = install_at(publish, level, err);
        }
        lsm_scheduler_unclaim(db);
        LSM_TRY(status);
    }
    if (level == 0) {
        status = lsm_fail(err, LSMKV_LIMIT_EXCEEDED,
                          "no level of the database has room for the version");
    }
out:
    return status;
}

/* The files, made durable and named by the MANIFEST. */
static lsmkv_status make_tables(lsmkv_publish *publish, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_db *db = publish->db;

    LSM_TRY(lsm_publish_gather(publish, err));
    if (publish->run_count == 0) {
        return LSMKV_OK; /* no rows, so no values */
    }
    drop_useless_values(publish);
    for (size_t i = 0; i < publish->runs[0].level.count; i++) {
        publish->record.row_count += publish->runs[0].level.tables[i]->info.entry_count;
    }
    LSM_TRY(lsm_dir_sync(db->dir, err));
    if (!LSM_MUTANT(PUBLISH_TABLES_BEFORE_RECORD)) {
        LSM_TRY(lsm_db_rotate(db, err));
        LSM_TRY(lsm_scheduler_wait_flushed(db, err));
    }
    status = install(publish, err);
out:
    return status;
}

/* Off the list, with what it holds; files that no MANIFEST knows may be unlinked. */
static void end(lsmkv_publish *publish, bool unlinks) {
    lsmkv_db *db = publish->db;

    lsm_publish_drop_runs(publish, unlinks && !publish->installed);
    publish->phase = LSM_PUBLISH_ENDED;
    lsm_mutex_lock(&db->mu);
    lsm_list_remove(&publish->link);
    lsm_mutex_unlock(&db->mu);
    lsm_publish_unref(publish);
}

lsmkv_status lsm_publish_commit(lsmkv_publish *publish, lsmkv_error *err) {
    lsmkv_status status = check_phase(publish, err);
    lsmkv_db *db = publish->db;
    lsmkv_error failure;

    if (status != LSMKV_OK) {
        return status;
    }
    status = make_tables(publish, &failure);
    if (status == LSMKV_OK || LSM_MUTANT(FAILED_PUBLISH_SWITCHES)) {
        publish->record.state = LSM_PUBLISH_COMPLETE;
        lsm_mutex_lock(&db->catalog_mu);
        status = lsm_published_switch(db, name_of(publish), version_of(publish),
                                      &publish->record, true, &failure);
        lsm_mutex_unlock(&db->catalog_mu);
    }
    if (status != LSMKV_OK) {
        return keep_failure(publish, &failure, err);
    }
    end(publish, true);
    return LSMKV_OK;
}

lsmkv_status lsm_publish_abort(lsmkv_publish *publish, lsmkv_error *err) {
    lsmkv_db *db = publish->db;

    if (publish->phase == LSM_PUBLISH_ENDED) {
        return LSMKV_OK;
    }
    lsm_forget what = publish->installed ? LSM_FORGET_ROWS : LSM_FORGET_RECORD;
    end(publish, true);
    lsm_mutex_lock(&db->catalog_mu);
    /* If it fails, the record stays behind, which the next open or the next publish of
     * this version forgets. */
    lsmkv_status status = lsm_published_forget(
        db, name_of(publish), version_of(publish), &publish->record, what, err);
    lsm_mutex_unlock(&db->catalog_mu);
    return status;
}

void lsm_publish_unref(lsmkv_publish *publish) {
    /* acq_rel: the last one sees what the other did. */
    if (publish == NULL ||
        atomic_fetch_sub_explicit(&publish->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    lsmkv_db *db = publish->db;
    lsm_publish_drop_runs(publish, false);
    lsm_edit_deinit(&publish->edit);
    lsm_buf_deinit(&publish->name);
    lsm_buf_deinit(&publish->version);
    lsm_buf_deinit(&publish->last_key);
    lsm_space_unref(publish->space);
    lsm_free(publish);
    lsm_db_unref(db);
}

void lsm_publish_discard_all(lsmkv_db *db) LSM_UNSHARED {
    bool unlinks = db->state != LSM_STATE_POISONED;

    while (!lsm_list_empty(&db->publishes)) {
        end(LSM_CONTAINER_OF(db->publishes.next, lsmkv_publish, link), unlinks);
    }
}
