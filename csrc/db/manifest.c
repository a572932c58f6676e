/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing the MANIFEST and CURRENT. Reading them is in manifest_load.c.
 *
 * A fresh MANIFEST comes into force in this order, each step durable before the next:
 *
 *   1. the MANIFEST with its one edit: written, synced
 *   2. CURRENT.tmp, which names it: written, synced
 *   3. the directory: both names
 *   4. CURRENT.tmp renamed to CURRENT, the directory synced
 *
 * so whatever CURRENT a crash leaves names a complete MANIFEST.
 */
#include "db/manifest.h"

#include "base/alloc.h"
#include "base/mutant.h"
#include "format/filename.h"

void lsm_manifest_state_deinit(lsm_manifest_state *state) {
    lsm_free(state->logs);
    lsm_free(state->origins);
    lsm_version_unref(state->version);
    lsm_wal_reader_close(state->reader);
    *state = (lsm_manifest_state){0};
}

bool lsm_edit_describe_version(lsm_edit *edit, const lsm_version *version) {
    for (size_t i = 0; i < version->segment_count; i++) {
        lsm_edit_segment segment = lsm_segment_info(version->segments[i].segment);
        if (!lsm_edit_add_segment(edit, &segment)) {
            return false;
        }
    }
    for (size_t i = LSM_MUTANT(REWRITE_FORGETS_CACHES) ? version->cache_count : 0;
         i < version->cache_count; i++) {
        const lsm_segment *segment = version->caches[i];
        lsm_edit_cache cache = {segment->number, segment->file_id, segment->space_id};
        if (!lsm_edit_add_cache(edit, &cache)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        const lsm_level *level = &version->levels[i];
        for (size_t j = 0; j < level->count; j++) {
            if (!lsm_edit_add_table(edit, i, &level->tables[j]->info)) {
                return false;
            }
        }
    }
    return true;
}

/* The edit as a record that is ready to be appended. */
static bool encode_record(const lsm_edit *edit, lsm_buf *record) {
    return lsm_buf_append_zeros(record, LSM_RECORD_HEADER_SIZE) &&
           lsm_edit_encode(edit, record) && lsm_buf_reserve(record, LSM_RECORD_ALIGN);
}

/* For mutants: whether this edit is left to a later sync. */
static bool skips_sync(const lsm_wal_writer *writer, const lsm_edit *edit) {
    if (lsm_wal_synced_to(writer) == 0) {
        return LSM_MUTANT(FRESH_MANIFEST_NOT_SYNCED);
    }
    return (LSM_MUTANT(LOG_DROPPED_BEFORE_EDIT_SYNC) && edit->has_first_log) ||
           (LSM_MUTANT(INPUTS_DROPPED_BEFORE_EDIT_SYNC) && edit->deleted_count > 0);
}

lsmkv_status lsm_manifest_append(lsm_wal_writer *writer, const lsm_edit *edit,
                                 lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_buf record;
    lsm_buf *records[1] = {&record};

    lsm_buf_init(&record);
    if (!encode_record(edit, &record)) {
        status = lsm_fail_memory(err, record.size);
        goto out;
    }
    LSM_TRY(lsm_wal_append(writer, LSM_RECORD_EDIT, records, 1, err));
    status = skips_sync(writer, edit) ? LSMKV_OK : lsm_wal_sync(writer, err);
out:
    lsm_buf_deinit(&record);
    return status;
}

/* Step 2. A left-over of an earlier attempt is in nobody's way but ours. */
static lsmkv_status write_temp(lsm_dir *dir, uint64_t number, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    char content[LSM_CURRENT_SIZE_MAX];
    size_t size = lsm_current_encode(content, number);
    lsm_slice piece = lsm_slice_make(content, size);
    lsm_file *file = NULL;

    status = lsm_dir_unlink(dir, LSM_CURRENT_TEMP_NAME, err);
    if (status != LSMKV_OK && status != LSMKV_NOT_FOUND) {
        return status;
    }
    LSM_TRY(lsm_file_open(dir, LSM_CURRENT_TEMP_NAME, LSM_OPEN_CREATE, &file, err));
    LSM_TRY(lsm_file_append(file, &piece, 1, NULL, err));
    if (!LSM_MUTANT(CURRENT_NOT_SYNCED)) {
        LSM_TRY(lsm_file_sync(file, err));
    }
    status = lsm_file_close(file, err);
    file = NULL;
out:
    lsm_file_drop(file);
    return status;
}

/* Undoes steps 1 and 2, as far as that can be had: what stays is swept away by a later
 * open. */
static void remove_attempt(lsm_dir *dir, const char *name, lsm_wal_writer *writer) {
    if (writer != NULL) {
        lsm_ignore(lsm_wal_close(writer, NULL));
        lsm_ignore(lsm_dir_unlink(dir, name, NULL));
    }
    lsm_ignore(lsm_dir_unlink(dir, LSM_CURRENT_TEMP_NAME, NULL));
}

lsmkv_status lsm_manifest_create(lsm_dir *dir, const lsm_record_file_header *header,
                                 const lsm_edit *everything, lsm_wal_writer **writerp,
                                 bool *renamed, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    char name[LSM_FILENAME_SIZE];
    lsm_wal_writer *writer = NULL;

    *writerp = NULL;
    *renamed = false;
    lsm_filename_make(name, LSM_NAME_MANIFEST, header->number);
    LSM_TRY(lsm_wal_create(dir, name, header, &writer, err));
    LSM_TRY(lsm_manifest_append(writer, everything, err));
    LSM_TRY(write_temp(dir, header->number, err));
    LSM_TRY(lsm_dir_sync(dir, err));
    /* A rename that reports a failure may have happened all the same. */
    *renamed = true;
    LSM_TRY(lsm_dir_rename(dir, LSM_CURRENT_TEMP_NAME, LSM_CURRENT_NAME, err));
    if (!LSM_MUTANT(NO_DIR_SYNC_AFTER_RENAME)) {
        LSM_TRY(lsm_dir_sync(dir, err));
    }
    *writerp = writer;
    writer = NULL;
out:
    if (status != LSMKV_OK && *renamed) {
        lsm_ignore(lsm_wal_close(writer, NULL));
    } else if (status != LSMKV_OK) {
        remove_attempt(dir, name, writer);
    }
    return status;
}
