/* SPDX-License-Identifier: Apache-2.0
 *
 * A checkpoint: another directory that becomes a database of its own.
 *
 *   1. the version is held, so that none of its files is unlinked
 *   2. the directory is made, or found empty, and locked: nobody opens it half done
 *   3. every file of the version is linked into it, or copied and synced where the two
 *      directories cannot share files; then the directory is synced
 *   4. a MANIFEST that describes the version is written under a new UUID and synced. It
 *      names the UUIDs that the files carry as origins
 *   5. CURRENT comes last: without it the directory is no database
 *
 * A file of a database is never changed once a MANIFEST names it, so sharing it is
 * safe. Only cache segments are, and they are never synced: they stay behind, so that
 * the caches of a checkpoint are empty at first. Each directory unlinks its own name.
 * On failure before step 5 what was made is removed again, as far as that can be had.
 */
#include "base/alloc.h"
#include "base/mutant.h"
#include "db/db.h"
#include "db/target.h"
#include "format/filename.h"

enum { COPY_SIZE = 256 << 10 };

typedef struct lsm_checkpoint {
    lsmkv_db *db;
    lsm_target to;
    lsm_version *version;          /* one reference */
    lsm_edit everything;           /* what the MANIFEST will say */
    lsm_record_file_header header; /* of the MANIFEST */
} lsm_checkpoint;

/* Step 1, and what the MANIFEST will say. */
static lsmkv_status hold(lsm_checkpoint *work, lsmkv_error *err) {
    lsmkv_db *db = work->db;
    lsmkv_status status = LSMKV_OK;
    lsm_edit edit;

    lsm_edit_init(&edit);
    lsm_mutex_lock(&db->mu);
    work->version = db->version;
    lsm_version_ref(work->version);
    work->header = (lsm_record_file_header){.type = LSM_FILE_MANIFEST,
                                            .number = db->next_file,
                                            .file_id = lsm_rng_next(&db->rng)};
    edit.has_first_log = true;
    edit.first_log = db->next_file + 1; /* above all logs here */
    edit.has_time = true;
    edit.time_ms = lsm_clock_follow_ms(&db->clock);
    status = lsm_db_describe_locked(db, &edit, work->version, &work->everything, err);
    work->everything.next_file = db->next_file + 2;
    work->everything.cache_count = 0;
    lsm_mutex_unlock(&db->mu);
    lsm_env_entropy(db->env, work->header.uuid, LSM_UUID_SIZE);
    if (status == LSMKV_OK && !lsm_edit_add_origin(&work->everything, db->uuid)) {
        status = lsm_fail_memory(err, LSM_UUID_SIZE);
    }
    lsm_edit_deinit(&edit);
    return status;
}

static lsmkv_status copy_bytes(lsm_file *from, lsm_file *to, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint64_t offset = 0;
    size_t got = 0;
    uint8_t *buffer = lsm_alloc(COPY_SIZE);

    if (buffer == NULL) {
        return lsm_fail_memory(err, COPY_SIZE);
    }
    do {
        lsm_slice piece;
        LSM_TRY(lsm_file_read(from, offset, buffer, COPY_SIZE, &got, err));
        piece = lsm_slice_make(buffer, got);
        LSM_TRY(lsm_file_append(to, &piece, 1, NULL, err));
        offset += got;
    } while (got == COPY_SIZE);
    LSM_TRY(lsm_file_sync(to, err));
out:
    lsm_free(buffer);
    return status;
}

/* On failure no file is left behind, as far as that can be had. */
static lsmkv_status copy_file(lsm_dir *from, const char *name, lsm_dir *to,
                              lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_file *source = NULL;
    lsm_file *target = NULL;

    LSM_TRY(lsm_file_open(from, name, LSM_OPEN_READ, &source, err));
    LSM_TRY(lsm_file_open(to, name, LSM_OPEN_CREATE, &target, err));
    status = copy_bytes(source, target, err);
    if (status == LSMKV_OK) {
        status = lsm_file_close(target, err);
    } else {
        lsm_file_drop(target);
    }
    if (status != LSMKV_OK) {
        lsm_ignore(lsm_dir_unlink(to, name, NULL));
    }
out:
    lsm_file_drop(source);
    return status;
}

/* Links or copies; a copy that finds no descriptor is tried again like a read. */
static lsmkv_status share_file(const lsm_checkpoint *work, const char *name,
                               lsmkv_error *err) {
    lsmkv_error failure;
    bool refused;
    lsmkv_status status =
        lsm_dir_link(work->db->dir, name, work->to.dir, &refused, &failure);

    if (status != LSMKV_OK && refused) {
        bool tried = false;
        do {
            status = copy_file(work->db->dir, name, work->to.dir, &failure);
        } while (lsm_db_again(work->db, status, &failure, &tried));
    }
    if (status == LSMKV_NOT_FOUND) {
        status = lsm_fail_at(&failure, LSMKV_CORRUPTION, name, -1,
                             "the MANIFEST names this file, but it is missing");
    }
    return status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &failure);
}

/* The name of the index-th file: the tables come first, then the segments. */
static void name_of(const lsm_checkpoint *work, size_t index,
                    char name[LSM_FILENAME_SIZE]) {
    const lsm_edit *everything = &work->everything;

    if (index < everything->added_count) {
        lsm_filename_make(name, LSM_NAME_TABLE, everything->added[index].info.number);
    } else {
        const lsm_edit_segment *segment =
            &everything->segments[index - everything->added_count];
        lsm_filename_make(
            name, segment->kind == LSM_SEGMENT_LOG ? LSM_NAME_LOG : LSM_NAME_SEGMENT,
            segment->number);
    }
}

/* Steps 3 to 5. */
static lsmkv_status fill(lsm_checkpoint *work, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_wal_writer *manifest = NULL;
    lsmkv_error failure;
    char name[LSM_FILENAME_SIZE];
    bool tried = false;

    size_t total = work->everything.added_count + work->everything.segment_count;
    total -=
        LSM_MUTANT(CHECKPOINT_FORGETS_SEGMENTS) ? work->everything.segment_count : 0;

    for (size_t i = 0; i < total; i++) {
        name_of(work, i, name);
        LSM_TRY(share_file(work, name, err));
    }
    LSM_TRY(lsm_dir_sync(work->to.dir, err));
    do { /* what lacks a descriptor has renamed nothing, and leaves nothing */
        status = lsm_manifest_create(work->to.dir, &work->header, &work->everything,
                                     &manifest, &work->to.renamed, &failure);
    } while (lsm_db_again(work->db, status, &failure, &tried));
    LSM_TRY(status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &failure));
    status = lsm_wal_close(manifest, err);
out:
    return status;
}

lsmkv_status lsm_db_checkpoint(lsmkv_db *db, const char *path, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_checkpoint work = {.db = db};

    lsm_edit_init(&work.everything);
    LSM_TRY(hold(&work, err));
    LSM_TRY(lsm_target_open(db->env, path, &work.to, err));
    LSM_TRY(fill(&work, err));
out:
    lsm_target_close(&work.to, status == LSMKV_OK);
    lsm_version_unref(work.version);
    lsm_edit_deinit(&work.everything);
    lsm_gc_collect(db);
    return status;
}
