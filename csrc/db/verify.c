/* SPDX-License-Identifier: Apache-2.0
 *
 * Verifying a live database: every byte of CURRENT, the MANIFEST, the live logs and the
 * tables of the present version. Logs grow while they are read: they are checked up to
 * the size they had when verify began, and up to there they must be whole.
 */
#include "db/db.h"

#include "base/alloc.h"
#include "format/filename.h"

typedef struct lsm_verify {
    lsmkv_db *db;
    lsmkv_problem_fn on_problem;
    void *context;
    lsmkv_report *report;
} lsm_verify;

static void tell(lsm_verify *verify, const lsmkv_error *problem) {
    verify->report->problem_count += 1;
    if (verify->on_problem != NULL) {
        verify->on_problem(verify->context, problem);
    }
}

static void verify_tables(lsm_verify *verify, const lsm_version *version) {
    for (size_t level = 0; level < LSMKV_LEVEL_COUNT; level++) {
        for (size_t i = 0; i < version->levels[level].count; i++) {
            lsmkv_error problem;
            lsm_table *table;
            lsm_error_clear(&problem);
            lsm_epoch_token token = lsm_epoch_enter(&verify->db->epoch);
            lsmkv_status status = lsm_table_cache_get(&verify->db->table_cache,
                                                      version->levels[level].tables[i],
                                                      false, &table, &problem);
            if (status == LSMKV_OK) {
                lsm_table_ref(table);
            }
            lsm_epoch_leave(token);
            if (status != LSMKV_OK) {
                tell(verify, &problem);
                continue;
            }
            lsm_table_verify(table, verify->on_problem, verify->context,
                             verify->report);
            lsm_table_unref(table);
        }
    }
}

/* Reads a record file as recovery would. It must be valid up to its known size. */
static void verify_records(lsm_verify *verify, const char *name,
                           const lsm_wal_expect *expect) {
    lsmkv_error problem;
    lsm_wal_reader *reader = NULL;
    lsm_record record;

    lsm_error_clear(&problem);
    lsmkv_status status =
        lsm_wal_open(verify->db->dir, name, expect, &reader, NULL, &problem);
    if (status == LSMKV_NOT_FOUND) {
        status = lsm_fail_at(&problem, LSMKV_CORRUPTION, name, -1,
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

static void verify_current(lsm_verify *verify, uint64_t manifest_number) {
    lsmkv_error problem;
    lsm_file *file = NULL;
    char content[LSM_CURRENT_SIZE_MAX];
    size_t size = 0;
    uint64_t number = 0;

    lsm_error_clear(&problem);
    lsmkv_status status = lsm_file_open(verify->db->dir, LSM_CURRENT_NAME,
                                        LSM_OPEN_READ, &file, &problem);
    if (status == LSMKV_OK) {
        status = lsm_file_read(file, 0, content, sizeof(content), &size, &problem);
    }
    if (status == LSMKV_OK) {
        status = lsm_current_decode(lsm_slice_make(content, size), &number, &problem);
    }
    if (status == LSMKV_OK && number != manifest_number) {
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

typedef struct lsm_verify_log {
    uint64_t number;
    uint64_t file_id;
    uint64_t size;
} lsm_verify_log;

/* Holds off installations and the closing of logs, so that the MANIFEST and the set of
 * logs stay as they are; writes go on. */
static size_t hold_files(lsmkv_db *db, lsm_verify_log logs[LSM_LOGS_MAX],
                         lsm_version **version) {
    lsm_mutex_lock(&db->mu);
    while (db->installing) {
        lsm_cond_wait(&db->changed, &db->mu);
    }
    db->installing = true;
    size_t count = db->log_count;
    for (size_t i = 0; i < count; i++) {
        const lsm_wal_writer *writer = db->logs[i].writer;
        logs[i] = (lsm_verify_log){lsm_wal_number(writer), lsm_wal_file_id(writer),
                                   lsm_wal_size(writer)};
    }
    *version = db->version;
    lsm_version_ref(*version);
    lsm_mutex_unlock(&db->mu);
    return count;
}

static void release_files(lsmkv_db *db) {
    lsm_mutex_lock(&db->mu);
    db->installing = false;
    lsm_cond_broadcast(&db->changed);
    lsm_mutex_unlock(&db->mu);
}

lsmkv_status lsm_db_verify(lsmkv_db *db, lsmkv_problem_fn on_problem, void *context,
                           lsmkv_report *report, lsmkv_error *err) {
    lsm_verify verify = {db, on_problem, context, report};
    lsm_verify_log logs[LSM_LOGS_MAX];
    char name[LSM_FILENAME_SIZE];
    lsm_version *version;

    (void)err; /* what fails is a finding */
    *report = (lsmkv_report){0};
    size_t count = hold_files(db, logs, &version);
    uint64_t manifest_number = lsm_wal_number(db->manifest);
    lsm_wal_expect expect = {.type = LSM_FILE_MANIFEST,
                             .uuid = db->uuid,
                             .number = manifest_number,
                             .file_id = lsm_wal_file_id(db->manifest),
                             .size_max = lsm_wal_size(db->manifest)};
    verify_current(&verify, manifest_number);
    lsm_filename_make(name, LSM_NAME_MANIFEST, manifest_number);
    verify_records(&verify, name, &expect);
    for (size_t i = 0; i < count; i++) {
        expect.type = LSM_FILE_LOG;
        expect.number = logs[i].number;
        expect.file_id = logs[i].file_id;
        expect.size_max = logs[i].size;
        lsm_filename_make(name, LSM_NAME_LOG, logs[i].number);
        verify_records(&verify, name, &expect);
    }
    release_files(db);
    verify_tables(&verify, version);
    lsm_version_unref(version);
    lsm_gc_collect(db);
    return LSMKV_OK;
}
