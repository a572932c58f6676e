/* SPDX-License-Identifier: Apache-2.0
 *
 * Garbage: tables and segments that no version names any more, and the sweep after
 * recovery.
 *
 * One arrives here when its last reference goes, which is after the edit that
 * dropped it was synced and after the last reader or iterator that could name it. The
 * thread that drops the last reference may be any, holding any lock above sink_mu, so
 * the sink only makes a list; unlinking happens later, from a thread that may block. A
 * poisoned or closed database unlinks nothing: a reopen decides what is live.
 */
#include "db/cache_space.h"
#include "db/db.h"

#include "format/filename.h"

static void collect_dropped(lsm_table_sink *sink, lsm_live_table *table) {
    lsmkv_db *db = LSM_CONTAINER_OF(sink, lsmkv_db, sink);
    lsm_mutex_lock(&db->sink_mu);
    table->next_dropped = db->dropped;
    db->dropped = table;
    lsm_mutex_unlock(&db->sink_mu);
}

static void collect_segment(lsm_segment_sink *sink, lsm_segment *segment) {
    lsmkv_db *db = LSM_CONTAINER_OF(sink, lsmkv_db, segment_sink);
    lsm_mutex_lock(&db->sink_mu);
    segment->next_dropped = db->dropped_segments;
    db->dropped_segments = segment;
    lsm_mutex_unlock(&db->sink_mu);
}

/* A sealed log is the segment that its readers know. Called with mu held, or before
 * other threads exist. */
static lsm_segment *find_segment(lsm_table_sink *sink,
                                 const lsm_edit_segment *info) LSM_NO_LOCK_ANALYSIS {
    lsmkv_db *db = LSM_CONTAINER_OF(sink, lsmkv_db, sink);
    for (size_t i = 0; i < db->log_count; i++) {
        lsm_segment *segment = db->logs[i].segment;
        if (segment->number == info->number) {
            lsm_segment_ref(segment);
            lsm_segment_seal(segment, info->size);
            return segment;
        }
    }
    return lsm_segment_create(&db->segments, info);
}

static lsm_segment *find_cache(lsm_table_sink *sink, const lsm_edit_cache *info) {
    return lsm_cache_find_pending(LSM_CONTAINER_OF(sink, lsmkv_db, sink), info);
}

void lsm_gc_init(lsmkv_db *db) LSM_UNSHARED {
    db->sink.dropped = collect_dropped;
    db->sink.segment = find_segment;
    db->sink.cache = find_cache;
    db->segment_sink.dropped = collect_segment;
    db->segments.sink = &db->segment_sink;
    db->segments.files = &db->segment_files;
    lsm_segment_files_init(&db->segment_files, 0);
    db->dropped = NULL;
    db->dropped_segments = NULL;
}

static lsm_segment *take_segments(lsmkv_db *db) {
    lsm_mutex_lock(&db->sink_mu);
    lsm_segment *list = db->dropped_segments;
    db->dropped_segments = NULL;
    lsm_mutex_unlock(&db->sink_mu);
    return list;
}

static void free_segments(lsmkv_db *db, lsm_segment *list, bool unlinks) {
    while (list != NULL) {
        lsm_segment *next = list->next_dropped;
        if (unlinks && !atomic_load(&list->keeps_name)) {
            char name[LSM_FILENAME_SIZE];
            lsm_segment_name(list, name);
            lsm_ignore(lsm_dir_unlink(db->dir, name, NULL));
        }
        lsm_segment_destroy(list);
        list = next;
    }
}

static lsm_live_table *take(lsmkv_db *db) {
    lsm_mutex_lock(&db->sink_mu);
    lsm_live_table *list = db->dropped;
    db->dropped = NULL;
    lsm_mutex_unlock(&db->sink_mu);
    return list;
}

static void free_all(lsmkv_db *db, lsm_live_table *list, bool unlinks) {
    while (list != NULL) {
        lsm_live_table *next = list->next_dropped;
        if (unlinks) {
            char name[LSM_FILENAME_SIZE];
            lsm_filename_make(name, LSM_NAME_TABLE, list->info.number);
            lsm_ignore(
                lsm_dir_unlink(db->dir, name, NULL)); /* the next open tries again */
        }
        if (db->built) {
            lsm_table_cache_forget(&db->table_cache, list);
        }
        lsm_live_table_destroy(list);
        list = next;
    }
}

void lsm_gc_collect(lsmkv_db *db) {
    /* The list first: whose installation fails poisons before it drops its outputs, so
     * that whoever finds them here finds the database poisoned. */
    lsm_live_table *list = take(db);
    lsm_segment *segments = take_segments(db);
    lsm_mutex_lock(&db->mu);
    bool unlinks = db->state == LSM_STATE_OPEN || db->state == LSM_STATE_DEGRADED;
    lsm_mutex_unlock(&db->mu);
    free_all(db, list, unlinks);
    free_segments(db, segments, unlinks);
}

void lsm_gc_discard(lsmkv_db *db) {
    free_all(db, take(db), false);
    free_segments(db, take_segments(db), false);
}

static bool is_segment(const lsm_version *version, lsm_segment_kind kind,
                       uint64_t number) {
    const lsm_segment *segment = lsm_version_find_segment(version, number);
    return segment != NULL && segment->kind == kind;
}

static bool log_is_live_locked(const lsmkv_db *db, uint64_t number)
    LSM_REQUIRES(db->mu) {
    for (size_t i = 0; i < db->log_count; i++) {
        if (lsm_wal_number(db->logs[i].writer) == number) {
            return true;
        }
    }
    return false;
}

/* Whether a file of this name belongs to the present state. */
static bool is_needed_locked(lsmkv_db *db, lsm_file_kind kind, uint64_t number)
    LSM_REQUIRES(db->mu) {
    switch (kind) {
        case LSM_NAME_TABLE:
            return lsm_version_find_table(db->version, number) != NULL;
        case LSM_NAME_LOG:
            return log_is_live_locked(db, number) ||
                   is_segment(db->version, LSM_SEGMENT_LOG, number);
        case LSM_NAME_SEGMENT:
            return is_segment(db->version, LSM_SEGMENT_VALUES, number);
        case LSM_NAME_CACHE:
            return lsm_version_find_cache(db->version, number) != NULL;
        case LSM_NAME_MANIFEST:
            return number == lsm_wal_number(db->manifest);
        case LSM_NAME_CURRENT_TEMP:
        case LSM_NAME_HOTLIST_TEMP:
            return false;
        case LSM_NAME_OTHER:
        case LSM_NAME_LOCK:
        case LSM_NAME_CURRENT:
        case LSM_NAME_HOTLIST:
        case LSM_NAME_STATS:
            break;
    }
    return true;
}

lsmkv_status lsm_gc_sweep(lsmkv_db *db, lsmkv_error *err) {
    lsm_namelist list = {0};
    lsmkv_status status = lsm_dir_list(db->dir, &list, err);
    for (size_t i = 0; status == LSMKV_OK && i < list.count; i++) {
        uint64_t number;
        lsm_file_kind kind = lsm_filename_parse(list.names[i], &number);
        lsm_mutex_lock(&db->mu);
        bool needed = is_needed_locked(db, kind, number);
        lsm_mutex_unlock(&db->mu);
        if (!needed) {
            lsm_ignore(lsm_dir_unlink(db->dir, list.names[i], NULL));
        }
    }
    lsm_namelist_deinit(&list);
    return status;
}

bool lsm_gc_files_match(lsmkv_db *db, char name[LSM_NAME_SIZE_MAX]) {
    lsm_namelist list = {0};
    size_t found = 0;
    bool match = lsm_dir_list(db->dir, &list, NULL) == LSMKV_OK;
    lsm_mutex_lock(&db->mu);
    /* The MANIFEST, the logs, the segments. */
    size_t wanted = 1 + db->log_count + db->version->segment_count;
    for (size_t level = 0; level < LSMKV_LEVEL_COUNT; level++) {
        wanted += db->version->levels[level].count;
    }
    for (size_t i = 0; match && i < list.count; i++) {
        uint64_t number;
        lsm_file_kind kind = lsm_filename_parse(list.names[i], &number);
        match = is_needed_locked(db, kind, number);
        memcpy(name, list.names[i], LSM_NAME_SIZE_MAX);
        found += kind == LSM_NAME_TABLE || kind == LSM_NAME_LOG ||
                 kind == LSM_NAME_MANIFEST || kind == LSM_NAME_SEGMENT;
    }
    lsm_mutex_unlock(&db->mu);
    lsm_namelist_deinit(&list);
    return match && found == wanted;
}
