/* SPDX-License-Identifier: Apache-2.0
 *
 * What a repair reads; see repair.h.
 */
#include "db/repair.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "db/repair_scan.h"
#include "db/view.h"
#include "format/filename.h"

enum { MEMTABLE_BYTES = 4 << 20 };

typedef struct lsm_repair_log {
    uint64_t number;
    uint64_t file_id; /* as the MANIFEST says, or 0 */
    uint64_t begins;  /* previous sequence of its header, or LSM_SEQUENCE_MAX */
    uint64_t ends;    /* where the next one begins whose header can be read, or that */
} lsm_repair_log;

/* What a directory that does not open is found to hold. */
typedef struct lsm_wreck {
    lsm_repair *repair;
    lsm_repair_log *logs; /* ascending; owned */
    size_t log_count;
    size_t log_capacity;
    uint64_t *manifests; /* owned */
    size_t manifest_count;
    size_t manifest_capacity;
    uint64_t first_log;
} lsm_wreck;

static lsmkv_status no_memory(bool ok, lsmkv_error *err) {
    return ok ? LSMKV_OK : lsm_fail_memory(err, 0);
}

static bool add_table(lsm_repair *repair, lsm_repair_table table) {
    void *tables = repair->tables;

    if (!lsm_grow(&tables, &repair->table_capacity, repair->table_count + 1,
                  sizeof(*repair->tables))) {
        return false;
    }
    repair->tables = tables;
    table.place = repair->table_count;
    repair->tables[repair->table_count++] = table;
    return true;
}

static bool keep_memtable(lsm_repair *repair, lsm_memtable *mem) {
    void *memtables = repair->memtables;

    if (!lsm_grow(&memtables, &repair->memtable_capacity, repair->memtable_count + 1,
                  sizeof(*repair->memtables))) {
        return false;
    }
    repair->memtables = memtables;
    repair->memtables[repair->memtable_count++] = mem;
    return true;
}

/* Of a database that opens. */
static lsmkv_status take_view(lsm_repair *repair, lsmkv_db *db, lsmkv_error *err) {
    const lsm_readstate *state = lsm_db_readstate(db);
    bool ok = true;

    for (size_t level = 0; ok && level < LSMKV_LEVEL_COUNT; level++) {
        for (size_t i = 0; ok && i < state->version->levels[level].count; i++) {
            const lsm_table_info *info = &state->version->levels[level].tables[i]->info;
            ok = add_table(repair, (lsm_repair_table){.number = info->number,
                                                      .file_id = info->file_id});
        }
    }
    for (size_t i = 0; ok && i <= state->immutable_count; i++) {
        lsm_memtable *mem = i == 0 ? state->mem : state->immutables[i - 1];
        ok = keep_memtable(repair, mem);
        if (ok) {
            lsm_memtable_ref(mem);
        }
    }
    repair->last_sequence = lsm_db_published(db);
    repair->time_ms = lsm_clock_now_ms(&db->clock);
    return no_memory(ok, err);
}

static int compare_logs(const void *a, const void *b) {
    return lsm_compare_u64(((const lsm_repair_log *)a)->number,
                           ((const lsm_repair_log *)b)->number);
}

static int compare_descending(const void *a, const void *b) {
    return lsm_compare_u64(*(const uint64_t *)b, *(const uint64_t *)a);
}

static bool note_name(lsm_wreck *wreck, lsm_file_kind kind, uint64_t number) {
    if (kind == LSM_NAME_TABLE) {
        return add_table(wreck->repair, (lsm_repair_table){.number = number});
    }
    if (kind == LSM_NAME_LOG) {
        void *logs = wreck->logs;
        if (!lsm_grow(&logs, &wreck->log_capacity, wreck->log_count + 1,
                      sizeof(*wreck->logs))) {
            return false;
        }
        wreck->logs = logs;
        wreck->logs[wreck->log_count++] = (lsm_repair_log){.number = number};
    }
    if (kind == LSM_NAME_MANIFEST) {
        void *manifests = wreck->manifests;
        if (!lsm_grow(&manifests, &wreck->manifest_capacity, wreck->manifest_count + 1,
                      sizeof(*wreck->manifests))) {
            return false;
        }
        wreck->manifests = manifests;
        wreck->manifests[wreck->manifest_count++] = number;
    }
    return true;
}

static lsmkv_status list_files(lsm_wreck *wreck, lsmkv_error *err) {
    lsm_namelist list = {0};
    lsmkv_status status = lsm_dir_list(wreck->repair->from, &list, err);

    for (size_t i = 0; status == LSMKV_OK && i < list.count; i++) {
        uint64_t number;
        lsm_file_kind kind = lsm_filename_parse(list.names[i], &number);
        status = no_memory(note_name(wreck, kind, number), err);
    }
    lsm_namelist_deinit(&list);
    if (wreck->log_count > 1) {
        qsort(wreck->logs, wreck->log_count, sizeof(*wreck->logs), compare_logs);
    }
    if (wreck->manifest_count > 1) {
        qsort(wreck->manifests, wreck->manifest_count, sizeof(*wreck->manifests),
              compare_descending);
    }
    return status;
}

static lsm_repair_log *find_log(const lsm_wreck *wreck, uint64_t number) {
    lsm_repair_log key = {.number = number};

    return wreck->log_count == 0 ? NULL
                                 : bsearch(&key, wreck->logs, wreck->log_count,
                                           sizeof(key), compare_logs);
}

static lsmkv_status take_edit(lsm_wreck *wreck, const lsm_edit *edit,
                              lsmkv_error *err) {
    lsm_repair *repair = wreck->repair;
    bool ok = true;

    for (size_t i = 0; ok && i < edit->deleted_count; i++) {
        ok = add_table(repair, (lsm_repair_table){.number = edit->deleted[i].number,
                                                  .deleted = true});
    }
    for (size_t i = 0; ok && i < edit->added_count; i++) {
        const lsm_table_info *info = &edit->added[i].info;
        if (info->number == 0) {
            continue; /* no file has that number */
        }
        ok = add_table(repair, (lsm_repair_table){.number = info->number,
                                                  .file_id = info->file_id});
    }
    for (size_t i = 0; i < edit->log_count; i++) {
        lsm_repair_log *log = find_log(wreck, edit->logs[i].number);
        if (log != NULL) {
            log->file_id = edit->logs[i].file_id;
        }
    }
    wreck->first_log =
        edit->first_log > wreck->first_log ? edit->first_log : wreck->first_log;
    if (edit->last_sequence > repair->last_sequence) {
        repair->last_sequence = edit->last_sequence;
    }
    repair->time_ms = edit->time_ms > repair->time_ms ? edit->time_ms : repair->time_ms;
    return no_memory(ok, err);
}

static lsmkv_status read_manifest(lsm_wreck *wreck, uint64_t number, lsmkv_error *err) {
    lsm_repair *repair = wreck->repair;
    lsmkv_status status = LSMKV_OK;
    char name[LSM_FILENAME_SIZE];
    lsm_buf file = {0};
    lsm_scan scan = {.name = name};
    lsm_record record;
    bool readable;

    lsm_filename_make(name, LSM_NAME_MANIFEST, number);
    LSM_TRY(lsm_scan_open(repair, &scan, LSM_FILE_MANIFEST, &file, &readable, err));
    while (readable && lsm_scan_next(&scan, &record)) {
        lsm_edit edit;
        lsm_edit_init(&edit);
        status = record.type == LSM_RECORD_EDIT
                     ? lsm_edit_decode(&edit, record.payload, err)
                     : LSMKV_CORRUPTION;
        if (status == LSMKV_OK) {
            status = take_edit(wreck, &edit, err);
        } else if (status != LSMKV_NO_MEMORY) {
            lsm_scan_tell(&scan, record.offset, record.offset + record.size);
            status = LSMKV_OK;
        }
        lsm_edit_deinit(&edit);
        LSM_TRY(status);
    }
out:
    lsm_buf_deinit(&file);
    return status;
}

/* Whether a file could not be read for good, so that what it says must be done without.
 * Anything else, like a lack of memory, may be otherwise the next time. */
static bool is_damage(const lsmkv_error *failure) {
    return failure->status == LSMKV_CORRUPTION || failure->status == LSMKV_CHANGED ||
           failure->status == LSMKV_NOT_A_DATABASE || lsm_error_is_device(failure);
}

/* The MANIFEST in force, or the newest one if nobody says which. 0: there is none. */
static lsmkv_status choose_manifest(const lsm_wreck *wreck, uint64_t *number,
                                    lsmkv_error *err) {
    lsm_manifest_mark mark;
    lsmkv_error failure;
    lsmkv_status status = lsm_manifest_look(wreck->repair->from, &mark, &failure);

    *number = wreck->manifest_count > 0 ? wreck->manifests[0] : 0;
    if (status == LSMKV_OK) {
        *number = mark.number;
        return LSMKV_OK;
    }
    return status == LSMKV_NOT_FOUND || is_damage(&failure)
               ? LSMKV_OK
               : lsm_error_copy(err, &failure);
}

/* A memtable with room for the plan. NULL: no memory. */
static lsm_memtable *room_for(lsm_repair *repair, const lsm_mem_plan *plan) {
    uint64_t capacity = plan->bytes > MEMTABLE_BYTES ? plan->bytes : MEMTABLE_BYTES;
    if (repair->memtable_count > 0) {
        lsm_memtable *last = repair->memtables[repair->memtable_count - 1];
        if (plan->bytes <= lsm_memtable_left(last)) {
            return last;
        }
    }
    lsm_memtable *mem = lsm_memtable_create(capacity, repair->memtable_count + 1);
    if (mem != NULL && !keep_memtable(repair, mem)) {
        lsm_memtable_unref(mem);
        mem = NULL;
    }
    return mem;
}

/* Whether a batch comes behind all that were replayed. One that does not was written by
 * no database into this log. */
static bool goes_on(const lsm_repair *repair, const lsm_batch_reader *batch) {
    return repair->memtable_count == 0 ||
           batch->sequence > lsm_memtable_last_sequence(
                                 repair->memtables[repair->memtable_count - 1]);
}

/* Which batches of a log count. */
typedef struct lsm_replay_limits {
    uint64_t number;  /* of the log */
    uint64_t flushed; /* tables hold all up to this */
    uint64_t last;    /* what lies beyond was never acknowledged */
} lsm_replay_limits;

/* Inserts a batch. *past: it lies beyond where the next log begins. */
static lsmkv_status take_batch(lsm_repair *repair, const lsm_scan *scan,
                               const lsm_record *record,
                               const lsm_replay_limits *limits, bool *past,
                               lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_mem_plan plan = {0};
    lsm_batch_reader reader;

    *past = false;
    if (record->type == LSM_RECORD_PAD) {
        return LSMKV_OK;
    }
    if (record->type != LSM_RECORD_BATCH ||
        !lsm_batch_reader_init(&reader, record->payload)) {
        lsm_scan_tell(scan, record->offset, record->offset + record->size);
        return LSMKV_OK;
    }
    *past = reader.sequence > limits->last;
    if (*past || reader.sequence <= limits->flushed) {
        return LSMKV_OK;
    }
    status = goes_on(repair, &reader) ? lsm_mem_plan_init(&plan, record->payload, err)
                                      : LSMKV_INVALID_ARGUMENT;
    if (status == LSMKV_INVALID_ARGUMENT ||
        (status == LSMKV_OK && !lsm_mem_plan_may_begin(&plan, record->offset))) {
        lsm_scan_tell(scan, record->offset, record->offset + record->size);
        status = LSMKV_OK;
        goto out;
    }
    LSM_TRY(status);
    plan.log_number = limits->number;
    plan.log_offset = record->offset;
    lsm_memtable *mem = room_for(repair, &plan);
    LSM_TRY(no_memory(mem != NULL, err));
    lsm_memtable_insert(mem, &plan, reader.sequence);
    uint64_t last = reader.sequence + plan.sequence_count - 1;
    repair->last_sequence = last > repair->last_sequence ? last : repair->last_sequence;
    repair->time_ms =
        reader.time_ms > repair->time_ms ? reader.time_ms : repair->time_ms;
    repair->findings.report->block_count += 1;
out:
    lsm_mem_plan_deinit(&plan);
    return status;
}

static lsmkv_status replay_log(lsm_repair *repair, const lsm_repair_log *log,
                               const lsm_replay_limits *limits, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    char name[LSM_FILENAME_SIZE];
    lsm_buf file = {0};
    lsm_scan scan = {.name = name, .file_id = log->file_id};
    lsm_record record;
    bool readable;
    bool past = false;

    lsm_filename_make(name, LSM_NAME_LOG, log->number);
    LSM_TRY(lsm_scan_open(repair, &scan, LSM_FILE_LOG, &file, &readable, err));
    while (readable && !past && lsm_scan_next(&scan, &record)) {
        LSM_TRY(take_batch(repair, &scan, &record, limits, &past, err));
    }
out:
    lsm_buf_deinit(&file);
    return status;
}

/* Where a log begins, if its header can be read. */
static lsmkv_status read_beginning(const lsm_repair *repair, lsm_repair_log *log,
                                   lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    char name[LSM_FILENAME_SIZE];
    uint8_t bytes[LSM_RECORD_FILE_HEADER_SIZE];
    lsm_record_file_header header;
    lsmkv_error failure;
    lsm_file *file = NULL;
    size_t got = 0;

    log->begins = LSM_SEQUENCE_MAX;
    lsm_filename_make(name, LSM_NAME_LOG, log->number);
    LSM_TRY(lsm_file_open(repair->from, name, LSM_OPEN_READ, &file, &failure));
    LSM_TRY(lsm_file_read(file, 0, bytes, sizeof(bytes), &got, &failure));
    if (lsm_record_file_header_decode(bytes, got, name, &header, NULL) == LSMKV_OK) {
        log->begins = header.previous_sequence;
    }
out:
    lsm_file_drop(file);
    return status == LSMKV_OK || is_damage(&failure) ? LSMKV_OK
                                                     : lsm_error_copy(err, &failure);
}

static lsmkv_status replay_logs(lsm_wreck *wreck, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_repair *repair = wreck->repair;
    uint64_t flushed = repair->last_sequence; /* as the MANIFEST says */
    uint64_t ends = LSM_SEQUENCE_MAX;

    for (size_t i = wreck->log_count; i-- > 0;) {
        lsm_repair_log *log = &wreck->logs[i];
        LSM_TRY(read_beginning(repair, log, err));
        log->ends = ends;
        ends = log->begins != LSM_SEQUENCE_MAX ? log->begins : ends;
    }
    for (size_t i = 0; i < repair->table_count; i++) {
        uint64_t held = lsm_salvage_sequence_max(repair->tables[i].salvage);
        flushed = held > flushed ? held : flushed;
    }
    for (size_t i = 0; i < wreck->log_count; i++) {
        const lsm_repair_log *log = &wreck->logs[i];
        lsm_replay_limits limits = {log->number, flushed, log->ends};
        if (log->number >= wreck->first_log) {
            LSM_TRY(replay_log(repair, log, &limits, err));
        }
    }
out:
    return status;
}

static int compare_tables(const void *a, const void *b) {
    const lsm_repair_table *one = a;
    const lsm_repair_table *other = b;
    int order = lsm_compare_u64(one->number, other->number);

    return order != 0 ? order : lsm_compare_u64(one->place, other->place);
}

/* Leaves the tables that are to be read: of what names a table, the last counts. */
static void choose_tables(lsm_repair *repair) {
    size_t kept = 0;

    if (repair->table_count > 1) {
        qsort(repair->tables, repair->table_count, sizeof(*repair->tables),
              compare_tables);
    }
    for (size_t i = 0; i < repair->table_count; i++) {
        lsm_repair_table table = repair->tables[i];
        bool last = i + 1 == repair->table_count ||
                    repair->tables[i + 1].number != table.number;
        if (last && !table.deleted) {
            repair->tables[kept++] = table; /* one that is missing is reported then */
        }
    }
    repair->table_count = kept;
}

static lsmkv_status search_tables(lsm_repair *repair, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    for (size_t i = 0; i < repair->table_count; i++) {
        lsm_repair_table *table = &repair->tables[i];
        LSM_TRY(lsm_salvage_open(repair->from, table->number, table->file_id,
                                 &repair->findings, &table->salvage, err));
    }
out:
    return status;
}

static lsmkv_status take_wreck(lsm_repair *repair, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_wreck wreck = {.repair = repair};
    uint64_t manifest = 0;

    LSM_TRY(list_files(&wreck, err));
    bool nothing = repair->table_count + wreck.log_count + wreck.manifest_count == 0;
    LSM_TRY(nothing ? lsm_fail(err, LSMKV_NOT_A_DATABASE,
                               "the directory holds nothing of a database")
                    : LSMKV_OK);
    LSM_TRY(choose_manifest(&wreck, &manifest, err));
    if (manifest != 0) {
        LSM_TRY(read_manifest(&wreck, manifest, err));
    }
    choose_tables(repair);
    LSM_TRY(search_tables(repair, err));
    LSM_TRY(replay_logs(&wreck, err));
out:
    lsm_free(wreck.logs);
    lsm_free(wreck.manifests);
    return status;
}

lsmkv_status lsm_repair_gather(lsm_repair *repair, const char *path, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_options options;
    lsmkv_error failure;
    lsmkv_db *view = NULL;

    status = lsm_dir_open(repair->env, path, false, &repair->from, err);
    if (status == LSMKV_NOT_FOUND) {
        return lsm_fail(err, LSMKV_NOT_A_DATABASE, "there is no directory %s", path);
    }
    LSM_TRY(status);
    lsmkv_options_init(&options);
    options.read_only = true;
    status = lsm_view_open(repair->env, path, &options, &view, &failure);
    if (status == LSMKV_OK) {
        status = take_view(repair, view, err);
        lsm_db_abandon(view);
        lsm_db_destroy(view);
        LSM_TRY(status);
        LSM_TRY(search_tables(repair, err));
    } else if (is_damage(&failure)) {
        if (status != LSMKV_NOT_A_DATABASE) {
            lsm_findings_tell(&repair->findings, &failure);
        }
        status = take_wreck(repair, err);
    } else {
        status = lsm_error_copy(err, &failure);
    }
out:
    return status;
}
