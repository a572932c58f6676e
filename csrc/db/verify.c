/* SPDX-License-Identifier: Apache-2.0
 *
 * Verifying a live database: every byte of CURRENT, the MANIFEST, the live logs and the
 * tables of the present version. Logs grow while they are read: they are checked up to
 * the size they had when verify began, and up to there they must be whole.
 *
 * A read-only database checks the files that it was opened from, as far as it read
 * them. A writer may have replaced them: then nothing can be said, and verify fails
 * with CHANGED.
 */
#include "db/db.h"

#include "base/alloc.h"
#include "db/verify_pointers.h"
#include "db/view.h"
#include "format/filename.h"

typedef struct lsm_verify {
    lsmkv_db *db;
    lsmkv_problem_fn on_problem;
    void *context;
    lsmkv_report *report;
    /* What says nothing about the files: a writer deleted one, or memory ran out. */
    lsmkv_error failure;
} lsm_verify;

static void pass_on(void *context, const lsmkv_error *problem) {
    lsm_verify *verify = (lsm_verify *)context;

    if (problem->status == LSMKV_CHANGED || problem->status == LSMKV_NO_MEMORY) {
        verify->failure = *problem;
    } else if (verify->on_problem != NULL) {
        verify->on_problem(verify->context, problem);
    }
}

static void tell(lsm_verify *verify, const lsmkv_error *problem) {
    verify->report->problem_count += 1;
    pass_on(verify, problem);
}

static void tell_of_pointer(void *context, const lsmkv_error *problem) {
    tell((lsm_verify *)context, problem);
}

/* The open table, for the caller to unref. */
static lsmkv_status take_table(lsmkv_db *db, lsm_live_table *live, lsm_table **tablep,
                               lsmkv_error *problem) {
    lsmkv_status status;
    bool tried = false;

    do {
        lsm_epoch_token token = lsm_epoch_enter(&db->epoch);
        status = lsm_table_cache_get(&db->table_cache, live, false, tablep, problem);
        if (status == LSMKV_OK) {
            lsm_table_ref(*tablep);
        }
        lsm_epoch_leave(token);
    } while (lsm_db_again(db, status, problem, &tried));
    return status;
}

static void verify_table(lsm_verify *verify, const lsm_version *version,
                         lsm_live_table *live) {
    uint64_t problem_count = verify->report->problem_count;
    lsmkv_error problem;
    lsm_table *table;

    lsm_error_clear(&problem);
    if (take_table(verify->db, live, &table, &problem) != LSMKV_OK) {
        tell(verify, &problem);
        return;
    }
    lsm_table_verify(table, pass_on, verify, verify->report);
    if (live->info.segment_count > 0) {
        lsm_verify_pointers(
            &(lsm_pointer_check){verify->db, version, tell_of_pointer, verify}, table,
            live, verify->report->problem_count != problem_count);
    }
    lsm_table_unref(table);
}

static void verify_tables(lsm_verify *verify, const lsm_version *version) {
    for (size_t level = 0; level < LSMKV_LEVEL_COUNT; level++) {
        for (size_t i = 0; i < version->levels[level].count; i++) {
            verify_table(verify, version, version->levels[level].tables[i]);
        }
    }
}

/* Reads a record file as recovery would. It must be valid up to its known size. */
static void verify_records(lsm_verify *verify, const char *name,
                           const lsm_wal_expect *expect) {
    lsmkv_error problem;
    lsm_wal_reader *reader = NULL;
    lsm_record record;
    lsmkv_status status;
    bool tried = false;

    lsm_error_clear(&problem);
    do {
        status = lsm_wal_open(verify->db->dir, name, expect, &reader, NULL, &problem);
    } while (lsm_db_again(verify->db, status, &problem, &tried));
    if (status == LSMKV_NOT_FOUND) {
        status = verify->db->read_only
                     ? lsm_fail_at(&problem, LSMKV_CHANGED, name, -1,
                                   "the file has been deleted since the database was "
                                   "opened; open it again")
                     : lsm_fail_at(&problem, LSMKV_CORRUPTION, name, -1,
                                   "the file is missing, but it is in use");
    }
    while (status == LSMKV_OK) {
        status = lsm_wal_next(reader, &record, &problem);
        verify->report->record_count += status == LSMKV_OK;
    }
    if (status == LSMKV_NOT_FOUND) {
        verify->report->byte_count += lsm_wal_end(reader);
        if (lsm_wal_end(reader) != expect->size_max) {
            status = lsm_fail_at(&problem, LSMKV_CORRUPTION, name,
                                 (int64_t)lsm_wal_end(reader),
                                 "expected valid records up to offset %llu, found none "
                                 "here",
                                 (unsigned long long)expect->size_max);
        }
    }
    if (status != LSMKV_NOT_FOUND) {
        tell(verify, &problem);
    }
    verify->report->file_count += 1;
    lsm_wal_reader_close(reader);
}

/* Where `later`, CURRENT may name a later MANIFEST than ours. */
static void verify_current(lsm_verify *verify, uint64_t manifest_number, bool later) {
    lsmkv_error problem;
    lsm_file *file = NULL;
    char content[LSM_CURRENT_SIZE_MAX];
    size_t size = 0;
    uint64_t number = 0;
    lsmkv_status status;
    bool tried = false;

    lsm_error_clear(&problem);
    do {
        status = lsm_file_open(verify->db->dir, LSM_CURRENT_NAME, LSM_OPEN_READ, &file,
                               &problem);
    } while (lsm_db_again(verify->db, status, &problem, &tried));
    if (status == LSMKV_OK) {
        status = lsm_file_read(file, 0, content, sizeof(content), &size, &problem);
    }
    if (status == LSMKV_OK) {
        status = lsm_current_decode(lsm_slice_make(content, size), &number, &problem);
    }
    if (status == LSMKV_OK && number != manifest_number &&
        !(later && number > manifest_number)) {
        status = lsm_fail_at(&problem, LSMKV_CORRUPTION, LSM_CURRENT_NAME, 0,
                             "expected MANIFEST %llu, found %llu",
                             (unsigned long long)manifest_number,
                             (unsigned long long)number);
    }
    if (status != LSMKV_OK) {
        tell(verify, &problem);
    }
    verify->report->file_count += 1;
    verify->report->byte_count += size;
    lsm_file_drop(file);
}

/* The record files to check, and the version. */
typedef struct lsm_verify_set {
    lsm_view_file manifest;
    lsm_view_file logs[LSM_LOGS_MAX];
    const lsm_view_file *log; /* the first of `log_count` */
    size_t log_count;
    lsm_version *version; /* one reference */
    bool later;           /* a writer goes on beside us, or a switch has failed here */
} lsm_verify_set;

static lsm_view_file describe(const lsm_wal_writer *writer) {
    return (lsm_view_file){lsm_wal_number(writer), lsm_wal_file_id(writer),
                           lsm_wal_size(writer)};
}

/* Holds off installations and the closing of logs, so that the MANIFEST and the set of
 * logs stay as they are; writes go on. In a read-only database nothing changes. */
static void hold_files(lsmkv_db *db, lsm_verify_set *set) {
    lsm_mutex_lock(&db->mu);
    while (db->installing) {
        lsm_cond_wait(&db->changed, &db->mu);
    }
    set->later = db->read_only || db->state == LSM_STATE_POISONED;
    set->version = db->version;
    lsm_version_ref(set->version);
    if (db->read_only) {
        set->manifest = db->view_files->manifest;
        set->log = db->view_files->logs;
        set->log_count = db->view_files->log_count;
    } else {
        db->installing = true;
        set->manifest = describe(db->manifest);
        set->log = set->logs;
        set->log_count = db->log_count;
        for (size_t i = 0; i < db->log_count; i++) {
            set->logs[i] = describe(db->logs[i].writer);
        }
    }
    lsm_mutex_unlock(&db->mu);
}

static void release_files(lsmkv_db *db) {
    lsm_mutex_lock(&db->mu);
    db->installing = false;
    lsm_cond_broadcast(&db->changed);
    lsm_mutex_unlock(&db->mu);
}

static void verify_segments(lsm_verify *verify, const lsm_version *version,
                            lsm_wal_expect *expect) {
    char name[LSM_FILENAME_SIZE];

    expect->uuid = NULL; /* the file id tells it, also in a checkpoint */
    for (size_t i = 0; i < version->segment_count; i++) {
        lsm_segment *segment = version->segments[i].segment;
        lsm_edit_segment info = lsm_segment_info(segment);
        expect->type = info.kind == LSM_SEGMENT_LOG ? LSM_FILE_LOG : LSM_FILE_VALUES;
        expect->number = info.number;
        expect->file_id = info.file_id;
        expect->size_max = info.size;
        lsm_segment_name(segment, name);
        verify_records(verify, name, expect);
    }
}

lsmkv_status lsm_db_verify(lsmkv_db *db, lsmkv_problem_fn on_problem, void *context,
                           lsmkv_report *report, lsmkv_error *err) {
    lsm_verify verify = {
        .db = db, .on_problem = on_problem, .context = context, .report = report};
    lsm_verify_set set;
    char name[LSM_FILENAME_SIZE];

    *report = (lsmkv_report){0};
    lsm_error_clear(&verify.failure);
    hold_files(db, &set);
    lsm_wal_expect expect = {.type = LSM_FILE_MANIFEST,
                             .uuid = db->uuid,
                             .number = set.manifest.number,
                             .file_id = set.manifest.file_id,
                             .size_max = set.manifest.end};
    verify_current(&verify, set.manifest.number, set.later);
    lsm_filename_make(name, LSM_NAME_MANIFEST, set.manifest.number);
    verify_records(&verify, name, &expect);
    for (size_t i = 0; i < set.log_count; i++) {
        expect.type = LSM_FILE_LOG;
        expect.number = set.log[i].number;
        expect.file_id = set.log[i].file_id;
        expect.size_max = set.log[i].end;
        lsm_filename_make(name, LSM_NAME_LOG, set.log[i].number);
        verify_records(&verify, name, &expect);
    }
    release_files(db);
    verify_segments(&verify, set.version, &expect);
    verify_tables(&verify, set.version);
    lsm_version_unref(set.version);
    lsm_gc_collect(db);
    /* Any other failure is a finding. */
    return lsm_error_copy(err, &verify.failure);
}
