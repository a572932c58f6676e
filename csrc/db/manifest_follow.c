/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading on in a MANIFEST that was loaded, beside the writer that appends to it: what
 * the writer made of its version with each edit is made of a follower's.
 *
 * An edit is checked by itself, as it comes: what a writer appends is whole with every
 * edit, while a load may leave the checks to the end.
 */
#include "db/manifest.h"

#include "base/alloc.h"
#include "format/filename.h"

static lsmkv_status fail_edit(const lsm_manifest_state *state, const lsm_record *record,
                              const char *problem, lsmkv_error *err) {
    char name[LSM_FILENAME_SIZE];

    lsm_filename_make(name, LSM_NAME_MANIFEST, state->manifest_number);
    return lsm_fail_at(err, LSMKV_CORRUPTION, name, (int64_t)record->offset, "%s",
                       problem);
}

static void raise_to(uint64_t *value, uint64_t to) {
    *value = to > *value ? to : *value;
}

static bool numbers_fit(const lsm_manifest_state *state, const lsm_edit *edit) {
    bool ok = state->next_file <= LSM_FILE_NUMBER_MAX &&
              state->first_log <= LSM_FILE_NUMBER_MAX;

    for (size_t i = 0; ok && i < edit->added_count; i++) {
        const lsm_table_info *info = &edit->added[i].info;
        ok = info->number != 0 && info->number < state->next_file &&
             info->sequence_max <= state->last_sequence;
    }
    for (size_t i = 0; ok && i < edit->log_count; i++) {
        ok = edit->logs[i].number != 0 && edit->logs[i].number < state->next_file;
    }
    for (size_t i = 0; ok && i < edit->segment_count; i++) {
        const lsm_edit_segment *segment = &edit->segments[i];
        ok = segment->number != 0 && segment->number < state->next_file &&
             (segment->kind != LSM_SEGMENT_LOG || segment->number < state->first_log);
    }
    for (size_t i = 0; ok && i < edit->cache_count; i++) {
        ok = edit->caches[i].number != 0 && edit->caches[i].number < state->next_file;
    }
    return ok;
}

/* Lets go of obsolete logs and takes the new ones in. false: no memory. */
static bool take_logs(lsm_manifest_state *state, const lsm_edit *edit) {
    size_t kept = 0;
    void *logs = state->logs;

    for (size_t i = 0; i < state->log_count; i++) {
        if (state->logs[i].number >= state->first_log) {
            state->logs[kept++] = state->logs[i];
        }
    }
    state->log_count = kept;
    if (edit->log_count == 0) {
        return true;
    }
    if (!lsm_grow(&logs, &state->log_capacity, kept + edit->log_count,
                  sizeof(*state->logs))) {
        return false;
    }
    state->logs = logs;
    for (size_t i = 0; i < edit->log_count; i++) {
        if (edit->logs[i].number >= state->first_log) {
            state->logs[state->log_count++] = edit->logs[i];
        }
    }
    return true;
}

/* Moves *versionp on by one edit. */
static lsmkv_status apply(lsm_manifest_state *state, const lsm_edit *edit,
                          const lsm_record *record, lsm_table_sink *sink,
                          lsm_version **versionp, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_version *next = NULL;
    lsmkv_error detail;

    raise_to(&state->next_file, edit->next_file);
    raise_to(&state->last_sequence, edit->last_sequence);
    raise_to(&state->first_log, edit->first_log);
    raise_to(&state->time_ms, edit->time_ms);
    if (!numbers_fit(state, edit)) {
        LSM_TRY(fail_edit(state, record, "a number is beyond the largest one", err));
    }
    if (!take_logs(state, edit)) {
        LSM_TRY(lsm_fail_memory(err, sizeof(*state->logs)));
    }
    lsm_error_clear(&detail);
    status = lsm_version_apply(*versionp, edit, sink, &next, &detail);
    if (status == LSMKV_CORRUPTION) {
        status = fail_edit(state, record, detail.message, err);
    } else if (status != LSMKV_OK) {
        (void)lsm_error_copy(err, &detail);
    } else {
        lsm_version_unref(*versionp);
        *versionp = next;
    }
out:
    return status;
}

static lsmkv_status take_record(lsm_manifest_state *state, const lsm_record *record,
                                lsm_table_sink *sink, lsm_version **versionp,
                                lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_error detail;
    lsm_edit edit;

    lsm_edit_init(&edit);
    lsm_error_clear(&detail);
    status = lsm_edit_decode(&edit, record->payload, &detail);
    if (status == LSMKV_OK) {
        status = apply(state, &edit, record, sink, versionp, err);
    } else if (status == LSMKV_CORRUPTION) {
        status = fail_edit(state, record, detail.message, err);
    } else {
        (void)lsm_error_copy(err, &detail);
    }
    lsm_edit_deinit(&edit);
    return status;
}

lsmkv_status lsm_manifest_go_on(lsm_manifest_state *state, lsm_version *base,
                                lsm_table_sink *sink, lsm_version **versionp,
                                lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_version *version = base;
    lsm_record record;
    bool grown = false;

    *versionp = NULL;
    lsm_version_ref(version);
    LSM_TRY(lsm_wal_extend(state->reader, &grown, err));
    while (grown && (status = lsm_wal_next(state->reader, &record, err)) == LSMKV_OK) {
        LSM_TRY(take_record(state, &record, sink, &version, err));
    }
    status = status == LSMKV_NOT_FOUND ? LSMKV_OK : status;
    state->manifest_size = lsm_wal_end(state->reader);
    if (status == LSMKV_OK && version != base) {
        *versionp = version;
        version = NULL;
    }
out:
    lsm_version_unref(version);
    return status;
}
