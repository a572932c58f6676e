/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading CURRENT and the MANIFEST. Either may be damaged or forged:
 *
 *   1. what every edit says about tables and logs is gathered in arrays, with the
 * offset of the edit; numbers that only grow are taken at their largest
 *   2. the arrays are sorted by number, in which the edits stay in their order, and
 *      each table's history is followed: it is added once, may change its level in one
 *      edit, and is deleted where it is. Numbers are never used again
 *      A segment is declared once; it is live if a table that is left names it. A cache
 *      segment is declared once, and live until it is dropped, once
 *   3. what is left must lie below the next file number and the last sequence, and
 *      every file must be there with the size recorded
 *   4. one version is built, which checks order and overlap
 *
 * Time is n log n and memory linear in the length of the file. The version comes last,
 * so a load that fails never drops a table and the sink hears nothing.
 */
#include "db/manifest.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/budget.h"
#include "base/limits.h"
#include "base/mutant.h"
#include "format/filename.h"

/* An edit adds or deletes a table. */
typedef struct table_event {
    uint64_t number;
    uint64_t order;             /* 2 x index of the edit, plus 1 for an addition */
    uint64_t offset;            /* of the edit */
    const lsm_table_info *info; /* in the arena; NULL: a deletion */
    uint32_t level;
} table_event;

typedef struct log_event {
    uint64_t number;
    uint64_t file_id;
    uint64_t offset;
} log_event;

typedef struct segment_event {
    uint64_t offset;
    lsm_edit_segment segment;
    bool named; /* by a live table */
} segment_event;

/* An edit adds a cache segment, or drops it. */
typedef struct cache_event {
    uint64_t offset;
    lsm_edit_cache cache;
    bool drops;
} cache_event;

typedef struct loading {
    lsm_dir *dir;              /* borrowed from the caller */
    lsm_manifest_state *state; /* likewise */
    char name[LSM_FILENAME_SIZE];
    lsm_wal_reader *reader; /* owned */
    lsm_arena arena;        /* owned; infos and keys of the events */
    table_event *tables;    /* owned arrays */
    size_t table_count, table_capacity;
    log_event *logs;
    size_t log_count, log_capacity;
    size_t origin_capacity;
    segment_event *segments;
    size_t segment_count, segment_capacity;
    cache_event *caches;
    size_t cache_count, cache_capacity;
    uint64_t edit_count;
    uint64_t last_offset; /* of the last edit */
    lsm_edit live;        /* owned; one addition per table that is live at the end */
} loading;

static unsigned long long printable(uint64_t number) {
    return number;
}

static int compare_table_events(const void *left, const void *right) {
    const table_event *a = left;
    const table_event *b = right;
    int order = lsm_compare_u64(a->number, b->number);
    return order != 0 ? order : lsm_compare_u64(a->order, b->order);
}

static int compare_log_events(const void *left, const void *right) {
    const log_event *a = left;
    const log_event *b = right;
    int order = lsm_compare_u64(a->number, b->number);
    return order != 0 ? order : lsm_compare_u64(a->offset, b->offset);
}

/* What adds a number comes before what drops it. */
static int compare_cache_events(const void *left, const void *right) {
    const cache_event *a = left;
    const cache_event *b = right;
    int order = lsm_compare_u64(a->cache.number, b->cache.number);
    return order != 0 ? order : (int)a->drops - (int)b->drops;
}

static int compare_segment_events(const void *left, const void *right) {
    const segment_event *a = left;
    const segment_event *b = right;
    return lsm_compare_u64(a->segment.number, b->segment.number);
}

/* CORRUPTION of the edit at an offset, which says something wrong of a number. */
static lsmkv_status fail_edit(const loading *load, uint64_t offset, const char *what,
                              uint64_t number, const char *problem, lsmkv_error *err) {
    return lsm_fail_at(err, LSMKV_CORRUPTION, load->name, (int64_t)offset, "%s %llu %s",
                       what, printable(number), problem);
}

/* Puts the place before what a decoder said, who does not know it. */
static lsmkv_status fail_with(const loading *load, uint64_t offset,
                              const lsmkv_error *detail, lsmkv_error *err) {
    if (lsm_is_memory(detail->status)) {
        return lsm_error_copy(err, detail);
    }
    return lsm_fail_at(err, detail->status, load->name, (int64_t)offset, "%s",
                       detail->message);
}

lsmkv_status lsm_manifest_current(lsm_dir *dir, uint64_t *number, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_file *file = NULL;
    uint8_t content[LSM_CURRENT_SIZE_MAX + 1];
    size_t size = 0;

    LSM_TRY(lsm_file_open(dir, LSM_CURRENT_NAME, LSM_OPEN_READ, &file, err));
    LSM_TRY(lsm_file_read(file, 0, content, sizeof(content), &size, err));
    LSM_TRY(lsm_current_decode(lsm_slice_make(content, size), number, err));
    if (*number > LSM_FILE_NUMBER_MAX) {
        status = lsm_fail_at(err, LSMKV_CORRUPTION, LSM_CURRENT_NAME, 0,
                             "MANIFEST number %llu is too large", printable(*number));
    }
out:
    lsm_file_drop(file);
    return status;
}

static lsmkv_status open_manifest(loading *load, lsmkv_error *err) {
    lsm_wal_expect expect = {.type = LSM_FILE_MANIFEST,
                             .number = load->state->manifest_number};
    lsmkv_status status =
        lsm_wal_open(load->dir, load->name, &expect, &load->reader, NULL, err);

    if (status == LSMKV_NOT_FOUND) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, load->name, -1,
                           "the file is missing, but CURRENT names it; restore it");
    }
    if (status == LSMKV_OK) {
        const lsm_record_file_header *header = lsm_wal_header(load->reader);
        memcpy(load->state->uuid, header->uuid, LSM_UUID_SIZE);
        load->state->manifest_file_id = header->file_id;
    }
    return status;
}

static void raise_to(uint64_t *value, uint64_t to) {
    *value = to > *value ? to : *value;
}

/* The numbers that only grow. */
static lsmkv_status take_numbers(loading *load, const lsm_edit *edit, uint64_t offset,
                                 lsmkv_error *err) {
    lsm_manifest_state *state = load->state;
    bool complete =
        edit->has_next_file && edit->has_last_sequence && edit->has_first_log;

    if (load->edit_count == 0 && !complete) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, load->name, (int64_t)offset,
                           "the first edit does not describe a whole state");
    }
    if (edit->next_file > LSM_FILE_NUMBER_MAX ||
        edit->first_log > LSM_FILE_NUMBER_MAX) {
        return fail_edit(
            load, offset, "number",
            edit->next_file > LSM_FILE_NUMBER_MAX ? edit->next_file : edit->first_log,
            "is too large", err);
    }
    raise_to(&state->next_file, edit->next_file);
    raise_to(&state->last_sequence, edit->last_sequence);
    raise_to(&state->first_log, edit->first_log);
    raise_to(&state->time_ms, edit->time_ms);
    return LSMKV_OK;
}

/* Copies what outlives the edit. NULL: no memory. */
static const lsm_table_info *keep_info(loading *load, const lsm_table_info *info) {
    lsm_table_info *copy = lsm_arena_alloc(&load->arena, sizeof(*copy));

    return copy != NULL && lsm_table_info_copy(&load->arena, info, copy) ? copy : NULL;
}

static bool gather_tables(loading *load, const lsm_edit *edit, uint64_t offset) {
    size_t needed = load->table_count + edit->deleted_count + edit->added_count;
    void *array = load->tables;

    if (!lsm_grow(&array, &load->table_capacity, needed, sizeof(*load->tables))) {
        return false;
    }
    load->tables = array;
    for (size_t i = 0; i < edit->deleted_count; i++) {
        load->tables[load->table_count++] =
            (table_event){.number = edit->deleted[i].number,
                          .order = 2 * load->edit_count,
                          .offset = offset,
                          .level = edit->deleted[i].level};
    }
    for (size_t i = 0; i < edit->added_count; i++) {
        const lsm_table_info *info = keep_info(load, &edit->added[i].info);
        if (info == NULL) {
            return false;
        }
        load->tables[load->table_count++] =
            (table_event){.number = info->number,
                          .order = 2 * load->edit_count + 1,
                          .offset = offset,
                          .info = info,
                          .level = edit->added[i].level};
    }
    return true;
}

static bool gather_logs(loading *load, const lsm_edit *edit, uint64_t offset) {
    size_t needed = load->log_count + edit->log_count;
    void *array = load->logs;

    if (!lsm_grow(&array, &load->log_capacity, needed, sizeof(*load->logs))) {
        return false;
    }
    load->logs = array;
    for (size_t i = 0; i < edit->log_count; i++) {
        load->logs[load->log_count++] =
            (log_event){edit->logs[i].number, edit->logs[i].file_id, offset};
    }
    return true;
}

static bool gather_origins(loading *load, const lsm_edit *edit) {
    lsm_manifest_state *state = load->state;
    void *array = state->origins;

    if (edit->origin_count == 0) {
        return true;
    }
    if (!lsm_grow(&array, &load->origin_capacity,
                  state->origin_count + edit->origin_count, LSM_UUID_SIZE)) {
        return false;
    }
    state->origins = array;
    memcpy(state->origins[state->origin_count], edit->origins,
           edit->origin_count * LSM_UUID_SIZE);
    state->origin_count += edit->origin_count;
    return true;
}

static bool gather_segments(loading *load, const lsm_edit *edit, uint64_t offset) {
    size_t needed = load->segment_count + edit->segment_count;
    void *array = load->segments;

    if (!lsm_grow(&array, &load->segment_capacity, needed, sizeof(*load->segments))) {
        return false;
    }
    load->segments = array;
    for (size_t i = 0; i < edit->segment_count; i++) {
        load->segments[load->segment_count++] =
            (segment_event){offset, edit->segments[i], false};
    }
    return true;
}

static bool gather_caches(loading *load, const lsm_edit *edit, uint64_t offset) {
    size_t needed = load->cache_count + edit->cache_count + edit->dropped_cache_count;
    void *array = load->caches;

    if (!lsm_grow(&array, &load->cache_capacity, needed, sizeof(*load->caches))) {
        return false;
    }
    load->caches = array;
    for (size_t i = 0; i < edit->cache_count; i++) {
        load->caches[load->cache_count++] =
            (cache_event){offset, edit->caches[i], false};
    }
    for (size_t i = 0; i < edit->dropped_cache_count; i++) {
        load->caches[load->cache_count++] =
            (cache_event){offset, {.number = edit->dropped_caches[i]}, true};
    }
    return true;
}

/* All that the edits have said so far, for an untrusted MANIFEST. */
static lsmkv_status check_edits(const loading *load, lsmkv_error *err) {
    uint64_t count = load->edit_count + load->table_count + load->log_count +
                     load->segment_count + load->cache_count +
                     load->state->origin_count;

    return !lsm_is_limited() || count <= LSM_UNTRUSTED_EDITS_MAX
               ? LSMKV_OK
               : lsm_fail_limit(err, load->name, "edits and what they change", count,
                                LSM_UNTRUSTED_EDITS_MAX);
}

/* Step 1 for one record. */
static lsmkv_status gather_record(loading *load, const lsm_record *record,
                                  lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_error detail;
    lsm_edit edit;

    lsm_edit_init(&edit);
    if (lsm_edit_decode(&edit, record->payload, &detail) != LSMKV_OK) {
        status = fail_with(load, record->offset, &detail, err);
        goto out;
    }
    LSM_TRY(take_numbers(load, &edit, record->offset, err));
    if (!gather_tables(load, &edit, record->offset) ||
        !gather_logs(load, &edit, record->offset) ||
        !gather_segments(load, &edit, record->offset) ||
        !gather_caches(load, &edit, record->offset) || !gather_origins(load, &edit)) {
        status = lsm_fail_memory(err, record->payload.size);
        goto out;
    }
    load->edit_count++;
    load->last_offset = record->offset;
    status = check_edits(load, err);
out:
    lsm_edit_deinit(&edit);
    return status;
}

static lsmkv_status gather(loading *load, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_record record;

    while ((status = lsm_wal_next(load->reader, &record, err)) == LSMKV_OK) {
        LSM_TRY(gather_record(load, &record, err));
    }
    if (status == LSMKV_NOT_FOUND) {
        status = LSMKV_OK;
        load->state->manifest_size = lsm_wal_end(load->reader);
        if (load->edit_count == 0) {
            status = lsm_fail_at(err, LSMKV_CORRUPTION, load->name,
                                 (int64_t)lsm_wal_end(load->reader),
                                 "there is no edit, although CURRENT names the file");
        }
    }
out:
    return status;
}

/* What the events of one number have come to. */
typedef struct history {
    const table_event *added;   /* the latest addition, or NULL */
    const table_event *deleted; /* the latest deletion, or NULL */
    bool live;
} history;

static lsmkv_status follow_addition(const loading *load, history *past,
                                    const table_event *event, lsmkv_error *err) {
    if (past->live) {
        return fail_edit(load, event->offset, "table", event->number, "is there twice",
                         err);
    }
    /* The same edit deleted it: then it has changed its level. */
    if (past->added != NULL && (past->deleted->order / 2 != event->order / 2 ||
                                !lsm_table_info_same(past->added->info, event->info))) {
        return fail_edit(load, event->offset, "number", event->number,
                         "is used for another table", err);
    }
    past->added = event;
    past->live = true;
    return LSMKV_OK;
}

static lsmkv_status follow(const loading *load, history *past, const table_event *event,
                           lsmkv_error *err) {
    if (event->info != NULL) {
        return follow_addition(load, past, event, err);
    }
    if (!past->live || past->added->level != event->level) {
        return fail_edit(load, event->offset, "table", event->number,
                         "is deleted from a level where it is not", err);
    }
    past->deleted = event;
    past->live = false;
    return LSMKV_OK;
}

/* Step 3 for a table, without its file. */
static lsmkv_status check_table(const loading *load, const table_event *event,
                                lsmkv_error *err) {
    const lsm_table_info *info = event->info;

    if (info->number == 0 || info->number >= load->state->next_file) {
        return fail_edit(load, event->offset, "table number", info->number,
                         "is not below the next file number", err);
    }
    if (info->sequence_max > load->state->last_sequence) {
        return fail_edit(load, event->offset, "table", info->number,
                         "holds sequences above the last one", err);
    }
    return LSMKV_OK;
}

/* Step 2 for tables. */
static lsmkv_status resolve_tables(loading *load, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    size_t i = 0;

    if (load->table_count > 1) {
        qsort(load->tables, load->table_count, sizeof(*load->tables),
              compare_table_events);
    }
    while (i < load->table_count) {
        uint64_t number = load->tables[i].number;
        history past = {NULL, NULL, false};
        for (; i < load->table_count && load->tables[i].number == number; i++) {
            LSM_TRY(follow(load, &past, &load->tables[i], err));
        }
        if (!past.live) {
            continue;
        }
        LSM_TRY(check_table(load, past.added, err));
        if (!lsm_edit_add_table(&load->live, past.added->level, past.added->info)) {
            return lsm_fail_memory(err, sizeof(lsm_edit_table));
        }
    }
out:
    return status;
}

/* Steps 2 and 3 for logs: the first one ascending, one entry each, obsolete ones left
 * out. Whether their files are there is for recovery to see. */
static lsmkv_status resolve_logs(loading *load, lsmkv_error *err) {
    lsm_manifest_state *state = load->state;

    if (load->log_count == 0) {
        return LSMKV_OK;
    }
    qsort(load->logs, load->log_count, sizeof(*load->logs), compare_log_events);
    state->logs = lsm_calloc(load->log_count, sizeof(*state->logs));
    state->log_capacity = load->log_count;
    if (state->logs == NULL) {
        return lsm_fail_memory(err, load->log_count * sizeof(*state->logs));
    }
    for (size_t i = 0; i < load->log_count; i++) {
        const log_event *event = &load->logs[i];
        bool again = i > 0 && load->logs[i - 1].number == event->number;
        if (event->number == 0 || event->number >= state->next_file) {
            return fail_edit(load, event->offset, "log number", event->number,
                             "is not below the next file number", err);
        }
        if (again && load->logs[i - 1].file_id != event->file_id) {
            return fail_edit(load, event->offset, "log", event->number,
                             "has two file ids", err);
        }
        if (!again && event->number >= state->first_log) {
            state->logs[state->log_count++] =
                (lsm_edit_log){event->number, event->file_id};
        }
    }
    return LSMKV_OK;
}

/* Sorts them, so that any number is searched quickly, and drops repetitions. */
static void resolve_origins(lsm_manifest_state *state) {
    size_t kept = 0;

    if (state->origin_count > 1) {
        qsort(state->origins, state->origin_count, LSM_UUID_SIZE, lsm_uuid_compare);
    }
    for (size_t i = 0; i < state->origin_count; i++) {
        if (kept == 0 ||
            lsm_uuid_compare(state->origins[i], state->origins[kept - 1]) != 0) {
            memmove(state->origins[kept++], state->origins[i], LSM_UUID_SIZE);
        }
    }
    state->origin_count = kept;
}

static lsmkv_status check_segment(const loading *load, const segment_event *event,
                                  lsmkv_error *err) {
    const lsm_manifest_state *state = load->state;
    const lsm_edit_segment *segment = &event->segment;

    if (segment->number == 0 || segment->number >= state->next_file ||
        (segment->kind == LSM_SEGMENT_LOG && segment->number >= state->first_log)) {
        return fail_edit(load, event->offset, "segment number", segment->number,
                         "is not below the next file number and the first live log",
                         err);
    }
    return LSMKV_OK;
}

/* Marks what a live table points into. */
static lsmkv_status mark_segments(loading *load, const lsm_table_info *info,
                                  lsmkv_error *err) {
    for (size_t i = 0; i < info->segment_count; i++) {
        segment_event key = {.segment = {.number = info->segments[i].number}};
        segment_event *found = load->segment_count == 0
                                   ? NULL
                                   : bsearch(&key, load->segments, load->segment_count,
                                             sizeof(key), compare_segment_events);
        if (found == NULL) {
            return fail_edit(load, load->last_offset, "segment", key.segment.number,
                             "is named by a table, but no edit says what it is", err);
        }
        found->named = true;
    }
    return LSMKV_OK;
}

/* Steps 2 and 3 for segments. */
static lsmkv_status resolve_segments(loading *load, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    if (load->segment_count > 1) {
        qsort(load->segments, load->segment_count, sizeof(*load->segments),
              compare_segment_events);
    }
    for (size_t i = 0; i < load->segment_count; i++) {
        const segment_event *event = &load->segments[i];
        LSM_TRY(check_segment(load, event, err));
        if (i > 0 && event->segment.number == load->segments[i - 1].segment.number) {
            return fail_edit(load, event->offset, "segment", event->segment.number,
                             "is declared twice", err);
        }
    }
    for (size_t i = 0; i < load->live.added_count; i++) {
        LSM_TRY(mark_segments(load, &load->live.added[i].info, err));
    }
    for (size_t i = 0; i < load->segment_count; i++) {
        const segment_event *event = &load->segments[i];
        if (event->named && !lsm_edit_add_segment(&load->live, &event->segment)) {
            return lsm_fail_memory(err, sizeof(event->segment));
        }
    }
out:
    return status;
}

/* Steps 2 and 3 for cache segments, whose files may be as they like. */
static lsmkv_status resolve_caches(loading *load, lsmkv_error *err) {
    const cache_event *last = NULL;

    if (load->cache_count > 1) {
        qsort(load->caches, load->cache_count, sizeof(*load->caches),
              compare_cache_events);
    }
    for (size_t i = 0; i < load->cache_count; i++) {
        const cache_event *event = &load->caches[i];
        uint64_t number = event->cache.number;
        bool again = last != NULL && last->cache.number == number;
        if (number == 0 || number >= load->state->next_file) {
            return fail_edit(load, event->offset, "cache segment number", number,
                             "is not below the next file number", err);
        }
        if (again != event->drops || (again && last->drops)) {
            return fail_edit(
                load, event->offset, "cache segment", number,
                event->drops ? "is dropped, but is not there" : "is declared twice",
                err);
        }
        bool dropped =
            i + 1 < load->cache_count && load->caches[i + 1].cache.number == number;
        if (!event->drops && !dropped &&
            !lsm_edit_add_cache(&load->live, &event->cache)) {
            return lsm_fail_memory(err, sizeof(event->cache));
        }
        last = event;
    }
    return LSMKV_OK;
}

/* What an untrusted MANIFEST may make the opening, and later every iterator, do. */
static lsmkv_status check_limits(const loading *load, lsmkv_error *err) {
    uint64_t files =
        load->live.added_count + load->live.segment_count + load->live.cache_count;
    uint64_t ranges = 0;

    if (!lsm_is_limited()) {
        return LSMKV_OK;
    }
    for (size_t i = 0; i < load->live.added_count; i++) {
        if (!lsm_add_ok(ranges, load->live.added[i].info.range_delete_count, &ranges)) {
            ranges = UINT64_MAX;
            break;
        }
    }
    if (files > LSM_UNTRUSTED_FILES_MAX) {
        return lsm_fail_limit(err, load->name, "files of the database", files,
                              LSM_UNTRUSTED_FILES_MAX);
    }
    return ranges <= LSM_UNTRUSTED_RANGES_MAX
               ? LSMKV_OK
               : lsm_fail_limit(err, load->name, "range deletes in tables", ranges,
                                LSM_UNTRUSTED_RANGES_MAX);
}

static lsmkv_status check_file(lsm_dir *dir, const char *name, uint64_t expected,
                               lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_file *file = NULL;
    uint64_t size = 0;

    status = lsm_file_open(dir, name, LSM_OPEN_READ, &file, err);
    if (status == LSMKV_NOT_FOUND) {
        status = lsm_fail_at(err, LSMKV_CORRUPTION, name, -1,
                             "missing file: the MANIFEST names it; restore it");
    }
    LSM_TRY(status);
    LSM_TRY(lsm_file_size(file, &size, err));
    if (size != expected && !LSM_MUTANT(FILE_SIZES_NOT_CHECKED)) {
        status = lsm_fail_at(err, LSMKV_CORRUPTION, name, -1,
                             "the file has %llu bytes, the MANIFEST says %llu",
                             printable(size), printable(expected));
    }
out:
    lsm_file_drop(file);
    return status;
}

static lsmkv_status check_files(const loading *load, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    char name[LSM_FILENAME_SIZE];

    for (size_t i = 0; i < load->live.added_count; i++) {
        const lsm_table_info *info = &load->live.added[i].info;
        lsm_filename_make(name, LSM_NAME_TABLE, info->number);
        LSM_TRY(check_file(load->dir, name, info->file_size, err));
    }
    for (size_t i = 0; i < load->live.segment_count; i++) {
        const lsm_edit_segment *segment = &load->live.segments[i];
        lsm_filename_make(
            name, segment->kind == LSM_SEGMENT_LOG ? LSM_NAME_LOG : LSM_NAME_SEGMENT,
            segment->number);
        LSM_TRY(check_file(load->dir, name, segment->size, err));
    }
out:
    return status;
}

/* Step 4. */
static lsmkv_status build_version(loading *load, lsm_table_sink *sink,
                                  lsmkv_error *err) {
    lsmkv_error detail;
    lsm_version *empty = lsm_version_create();

    if (empty == NULL) {
        return lsm_fail_memory(err, sizeof(*empty));
    }
    lsmkv_status status =
        lsm_version_apply(empty, &load->live, sink, &load->state->version, &detail);
    lsm_version_unref(empty);
    return status == LSMKV_OK ? LSMKV_OK
                              : fail_with(load, load->last_offset, &detail, err);
}

lsmkv_status lsm_manifest_load(lsm_dir *dir, lsm_table_sink *sink,
                               lsm_manifest_state *state, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    loading load = {.dir = dir, .state = state};

    *state = (lsm_manifest_state){0};
    lsm_arena_init(&load.arena);
    lsm_edit_init(&load.live);
    LSM_TRY(lsm_manifest_current(dir, &state->manifest_number, err));
    lsm_filename_make(load.name, LSM_NAME_MANIFEST, state->manifest_number);
    LSM_TRY(open_manifest(&load, err));
    raise_to(&state->next_file, state->manifest_number + 1);
    LSM_TRY(gather(&load, err));
    LSM_TRY(resolve_tables(&load, err));
    LSM_TRY(resolve_logs(&load, err));
    resolve_origins(state);
    LSM_TRY(resolve_segments(&load, err));
    LSM_TRY(resolve_caches(&load, err));
    LSM_TRY(check_limits(&load, err));
    LSM_TRY(check_files(&load, err));
    LSM_TRY(build_version(&load, sink, err));
    state->reader = load.reader;
    load.reader = NULL;
out:
    lsm_wal_reader_close(load.reader);
    lsm_edit_deinit(&load.live);
    lsm_arena_deinit(&load.arena);
    lsm_free(load.tables);
    lsm_free(load.logs);
    lsm_free(load.segments);
    lsm_free(load.caches);
    if (status != LSMKV_OK) {
        lsm_manifest_state_deinit(state);
    }
    return status;
}

lsmkv_status lsm_manifest_look(lsm_dir *dir, lsm_manifest_mark *mark,
                               lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    char name[LSM_FILENAME_SIZE];
    lsm_file *file = NULL;

    *mark = (lsm_manifest_mark){0};
    LSM_TRY(lsm_manifest_current(dir, &mark->number, err));
    lsm_filename_make(name, LSM_NAME_MANIFEST, mark->number);
    status = lsm_file_open(dir, name, LSM_OPEN_READ, &file, err);
    if (status == LSMKV_NOT_FOUND) {
        status = lsm_fail_at(err, LSMKV_CHANGED, name, -1,
                             "CURRENT names this file, but it is not there");
    }
    LSM_TRY(status);
    LSM_TRY(lsm_file_size(file, &mark->size, err));
out:
    lsm_file_drop(file);
    return status;
}
