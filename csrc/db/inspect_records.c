/* SPDX-License-Identifier: Apache-2.0
 *
 * Inspection of record files: logs, MANIFESTs, value files. Behind bytes that are no
 * record the next one is found by trying every multiple of 8, with an effort that is
 * bounded (base/effort.h). Those bytes are damage where a mark behind them says that
 * they were durable, or where all of the file was before it got its meaning; else a
 * crash explains them, and no reader looks at what lies behind: it is shown as such.
 */
#include "base/alloc.h"
#include "base/effort.h"
#include "db/inspect.h"
#include "db/inspect_edit.h"
#include "format/batch.h"

enum { FILE_ID_AT = 40 };

typedef enum stage { HEADER, HEADER_PROBLEM, RECORDS, BATCH, EDIT } stage;

typedef struct record_state {
    stage stage;
    bool header_ok;
    bool torn;    /* the header cannot be read at all */
    bool foreign; /* nothing can be verified: there is no file id */
    bool ended;   /* a crash explains a gap that was met: readers stop there */
    uint64_t at;
    uint64_t marked_to; /* the highest mark behind the first gap */
    bool marks_known;
    lsm_effort effort;
    lsm_record record; /* at hand */
    lsm_batch_reader batch;
    const uint8_t *bytes; /* of the record; lent by the window */
    lsm_edit edit;
    lsm_edit_walk walk;
} record_state;

static void destroy(void *memory) {
    record_state *state = memory;

    lsm_edit_deinit(&state->edit);
    lsm_free(state);
}

/* Whether a record verifies at an offset; while there is effort left. */
static lsmkv_status look(lsmkv_inspection *inspection, uint64_t at, bool *found,
                         lsmkv_error *err) {
    record_state *state = inspection->state;
    lsmkv_status status = LSMKV_OK;
    uint64_t left = inspection->size - at;
    uint64_t size = 0;

    *found = false;
    if (state->foreign || left < LSM_RECORD_HEADER_SIZE) {
        return LSMKV_OK;
    }
    LSM_TRY(
        lsm_inspect_fetch(inspection, at, LSM_RECORD_HEADER_SIZE, &state->bytes, err));
    if (!lsm_record_peek(state->bytes, at, &size) || size > left ||
        !lsm_effort_allows(&state->effort, at, size)) {
        return LSMKV_OK;
    }
    LSM_TRY(lsm_inspect_fetch(inspection, at, size, &state->bytes, err));
    *found = lsm_record_parse(lsm_slice_make(state->bytes, (size_t)size),
                              inspection->file_id, at, &state->record);
    lsm_effort_spend(&state->effort, size, *found);
out:
    return status;
}

/* The highest offset up to which a valid mark from there on says the file was durable.
 */
static lsmkv_status find_marks(lsmkv_inspection *inspection, uint64_t at,
                               lsmkv_error *err) {
    record_state *state = inspection->state;
    lsmkv_status status = LSMKV_OK;

    if (state->marks_known || state->foreign) {
        return LSMKV_OK;
    }
    for (; at < inspection->size && inspection->size - at >= LSM_RECORD_HEADER_SIZE;
         at += LSM_RECORD_ALIGN) {
        const uint8_t *bytes = NULL;
        lsm_record record;

        LSM_TRY(lsm_inspect_fetch(inspection, at, LSM_RECORD_HEADER_SIZE, &bytes, err));
        if (lsm_record_parse(lsm_slice_make(bytes, LSM_RECORD_HEADER_SIZE),
                             inspection->file_id, at, &record) &&
            record.type == LSM_RECORD_MARK && record.synced_to > state->marked_to) {
            state->marked_to = record.synced_to;
        }
    }
    state->marks_known = true;
out:
    return status;
}

/* Whether bytes from there on that are no record must have been one. */
static bool is_lost(const lsmkv_inspection *inspection, uint64_t from) {
    const record_state *state = inspection->state;

    return inspection->type == LSMKV_FILE_VALUES || inspection->how.sealed ||
           state->marked_to > from || inspection->unread_to > from;
}

static lsmkv_status show_header(lsmkv_inspection *inspection, lsmkv_part *part,
                                lsmkv_error *err) {
    record_state *state = inspection->state;
    lsmkv_status status = LSMKV_OK;
    size_t size = 0;
    const uint8_t *bytes = NULL;
    lsm_record_file_header header;

    LSM_TRY(
        lsm_inspect_header(inspection, &header, &bytes, &size, &state->header_ok, err));
    state->torn = !state->header_ok;
    uint64_t file_id = header.file_id;
    if (file_id == 0 && size == LSM_RECORD_FILE_HEADER_SIZE) {
        file_id = lsm_get_u64(bytes + FILE_ID_AT);
    }
    if (inspection->file_id == 0 || state->header_ok) {
        inspection->file_id = file_id;
    }
    state->foreign = inspection->file_id == 0;
    state->at = size;
    lsm_part_file(inspection, part);
    if (state->header_ok) {
        lsm_part_number(inspection, "number", header.number);
        lsm_part_hex(inspection, "file_id", header.file_id);
        lsm_part_id(inspection, "uuid", bytes + 16, LSM_UUID_SIZE);
    }
    if (state->header_ok && inspection->type == LSMKV_FILE_LOG) {
        lsm_part_number(inspection, "previous_sequence", header.previous_sequence);
    }
    if (state->header_ok && inspection->number != 0 &&
        inspection->number != header.number) {
        state->header_ok = false;
        lsm_inspect_say(inspection, "written as number %llu, its name says %llu",
                        (unsigned long long)header.number,
                        (unsigned long long)inspection->number);
    }
    state->stage = state->header_ok ? RECORDS : HEADER_PROBLEM;
out:
    return status;
}

/* A crash explains a header that is not there in a log that was never synced. */
static lsmkv_status show_header_problem(lsmkv_inspection *inspection, lsmkv_part *part,
                                        lsmkv_error *err) {
    record_state *state = inspection->state;
    lsmkv_status status = LSMKV_OK;
    lsmkv_part_kind kind = LSMKV_PART_DAMAGE;

    LSM_TRY(find_marks(inspection, LSM_RECORD_FILE_HEADER_SIZE, err));
    if (state->torn && inspection->type == LSMKV_FILE_LOG && !inspection->how.sealed &&
        state->marked_to == 0 && inspection->unread_to == 0) {
        kind = LSMKV_PART_REST;
        state->ended = true;
    }
    lsm_part_problem(inspection, part, kind, "header", 0, state->at);
    state->stage = RECORDS;
out:
    return status;
}

static const char *record_name(lsm_record_type type) {
    /* unreachable: lsm_record_peek lets no other type pass */
    switch (type) {
        case LSM_RECORD_BATCH:
            return "batch";
        case LSM_RECORD_MARK:
            return "mark";
        case LSM_RECORD_EDIT:
            return "edit";
        case LSM_RECORD_PAD:
            return "pad";
        case LSM_RECORD_VALUES:
            return "values";
        case LSM_RECORD_NONE:
        default:
            return "record";
    }
}

/* Begins the part of a record at hand. */
static void begin_record(lsmkv_inspection *inspection, lsmkv_part *part) {
    const record_state *state = inspection->state;

    lsm_part_begin(inspection, part, LSMKV_PART_RECORD,
                   record_name(state->record.type));
    part->offset = state->record.offset;
    part->size = state->record.size;
    lsm_part_number(inspection, "synced_to", state->record.synced_to);
    lsm_part_number(inspection, "payload_size", state->record.payload.size);
    if (state->ended) {
        lsm_part_text(inspection, "remark", "behind the end: no reader sees this");
    }
}

static void damaged_record(lsmkv_inspection *inspection, lsmkv_part *part) {
    const record_state *state = inspection->state;
    uint64_t from = state->record.offset;

    lsm_part_problem(inspection, part, LSMKV_PART_DAMAGE,
                     record_name(state->record.type), from, from + state->record.size);
}

/* How many records of each kind a batch has. */
typedef struct tally {
    uint64_t puts, deletes, range_deletes, large, cached;
} tally;

static void count(tally *counts, uint8_t tag) {
    /* unreachable: the reader of batches refuses other kinds */
    switch (lsm_tag_kind(tag)) {
        case LSM_KIND_PUT:
            counts->puts++;
            break;
        case LSM_KIND_DELETE:
            counts->deletes++;
            break;
        case LSM_KIND_RANGE_DELETE:
            counts->range_deletes++;
            break;
        case LSM_KIND_POINTER:
            counts->large++;
            break;
        case LSM_KIND_CACHED:
            counts->cached++;
            break;
        case LSM_KIND_MERGE:
        default:
            break;
    }
}

static void show_batch(lsmkv_inspection *inspection, lsmkv_part *part) {
    record_state *state = inspection->state;
    lsm_slice payload = state->record.payload;
    lsm_batch_reader reader;
    lsm_batch_reader first;
    lsm_batch_record record;
    tally counts = {0};
    uint32_t total = 0;

    if (!lsm_batch_reader_init(&reader, payload)) {
        lsm_inspect_say(inspection, "the payload of %zu bytes is no batch",
                        payload.size);
        damaged_record(inspection, part);
        return;
    }
    first = reader;
    while (lsm_batch_reader_next(&reader, &record)) {
        count(&counts, record.tag);
        total++;
    }
    if (!lsm_batch_reader_ok(&reader)) {
        lsm_inspect_say(
            inspection, "record %u of the batch is malformed, at byte %zu of %zu",
            total + 1, (size_t)(reader.reader.at - payload.data), payload.size);
        damaged_record(inspection, part);
        return;
    }
    begin_record(inspection, part);
    lsm_part_number(inspection, "sequence", first.sequence);
    lsm_part_number(inspection, "last_sequence", first.sequence + total - 1);
    lsm_part_number(inspection, "time", reader.time_ms);
    lsm_part_number(inspection, "count", total);
    lsm_part_number(inspection, "puts", counts.puts);
    lsm_part_number(inspection, "deletes", counts.deletes);
    lsm_part_number(inspection, "range_deletes", counts.range_deletes);
    lsm_part_number(inspection, "large_values", counts.large);
    lsm_part_number(inspection, "cached_values", counts.cached);
    if (inspection->how.entries) {
        state->batch = first;
        state->stage = BATCH;
    }
}

/* The next record of the batch at hand. false: there is none. */
static bool show_operation(lsmkv_inspection *inspection, lsmkv_part *part) {
    record_state *state = inspection->state;
    const uint8_t *from = state->batch.reader.at;
    lsm_batch_record record;

    if (!lsm_batch_reader_next(&state->batch, &record)) {
        return false;
    }
    lsm_inspect_version version = {
        .sequence = record.sequence,
        .tag = record.tag,
        .skey = record.skey,
        .field = record.field,
        .offset = state->record.offset + (uint64_t)(from - state->bytes),
        .size = (uint64_t)(state->batch.reader.at - from),
    };
    if (lsm_tag_kind(record.tag) == LSM_KIND_POINTER) {
        version.large = lsm_large_value_of(record.tag, record.field).value;
        version.value_offset =
            state->record.offset + (uint64_t)(version.large.data - state->bytes);
    }
    lsm_part_version(inspection, part, &version);
    return true;
}

static lsmkv_status show_edit(lsmkv_inspection *inspection, lsmkv_part *part,
                              lsmkv_error *err) {
    record_state *state = inspection->state;
    lsmkv_error problem;

    lsm_edit_deinit(&state->edit);
    lsm_edit_init(&state->edit);
    lsmkv_status status =
        lsm_edit_decode(&state->edit, state->record.payload, &problem);
    if (status == LSMKV_UNSUPPORTED_VERSION || status == LSMKV_CORRUPTION) {
        lsm_inspect_say(inspection, "%s", problem.message);
        damaged_record(inspection, part);
        return LSMKV_OK;
    }
    if (status != LSMKV_OK) {
        return lsm_error_copy(err, &problem);
    }
    begin_record(inspection, part);
    lsm_part_number(inspection, "added", state->edit.added_count);
    lsm_part_number(inspection, "deleted", state->edit.deleted_count);
    state->walk = (lsm_edit_walk){0};
    state->stage = EDIT;
    return LSMKV_OK;
}

/* What belongs in this type of file, beside marks. */
static bool belongs(lsmkv_file_type type, lsm_record_type record) {
    /* unreachable: lsm_record_peek lets no other type pass */
    switch (record) {
        case LSM_RECORD_MARK:
            return true;
        case LSM_RECORD_BATCH:
        case LSM_RECORD_PAD:
            return type == LSMKV_FILE_LOG;
        case LSM_RECORD_EDIT:
            return type == LSMKV_FILE_MANIFEST;
        case LSM_RECORD_VALUES:
            return type == LSMKV_FILE_VALUES;
        case LSM_RECORD_NONE:
        default:
            return false;
    }
}

static lsmkv_status show_record(lsmkv_inspection *inspection, lsmkv_part *part,
                                lsmkv_error *err) {
    record_state *state = inspection->state;

    state->at += state->record.size;
    if (!belongs(inspection->type, state->record.type)) {
        lsm_inspect_say(inspection, "a record of this kind does not belong here");
        damaged_record(inspection, part);
        return LSMKV_OK;
    }
    if (state->record.type == LSM_RECORD_BATCH) {
        show_batch(inspection, part);
        return LSMKV_OK;
    }
    if (state->record.type == LSM_RECORD_EDIT) {
        return show_edit(inspection, part, err);
    }
    begin_record(inspection, part);
    return LSMKV_OK;
}

/* Passes over what is no record: up to the next one, or the end. */
static lsmkv_status show_gap(lsmkv_inspection *inspection, lsmkv_part *part,
                             lsmkv_error *err) {
    record_state *state = inspection->state;
    lsmkv_status status = LSMKV_OK;
    uint64_t from = state->at;
    uint64_t to = from;
    bool found = false;

    LSM_TRY(find_marks(inspection, from, err));
    while (!found && inspection->size - to > LSM_RECORD_HEADER_SIZE) {
        to += LSM_RECORD_ALIGN;
        LSM_TRY(look(inspection, to, &found, err));
    }
    state->at = found ? to : inspection->size;
    if (!state->ended && is_lost(inspection, from)) {
        lsm_inspect_say(inspection, "a record expected%s",
                        state->foreign ? ", but none verifies without the file id"
                        : found        ? "; the next one begins behind these bytes"
                                       : "; none follows");
        lsm_part_problem(inspection, part, LSMKV_PART_DAMAGE, "record", from,
                         state->at);
        goto out;
    }
    state->ended = true;
    lsm_inspect_say(inspection, "never synced: a crash can explain these bytes");
    lsm_part_problem(inspection, part, LSMKV_PART_REST, "end", from, state->at);
out:
    return status;
}

static lsmkv_status next_record(lsmkv_inspection *inspection, lsmkv_part *part,
                                lsmkv_error *err) {
    record_state *state = inspection->state;
    lsmkv_status status = LSMKV_OK;
    bool found = false;

    if (state->at >= inspection->size) {
        return LSMKV_NOT_FOUND;
    }
    LSM_TRY(look(inspection, state->at, &found, err));
    status =
        found ? show_record(inspection, part, err) : show_gap(inspection, part, err);
out:
    return status;
}

static bool next_inside(lsmkv_inspection *inspection, lsmkv_part *part) {
    record_state *state = inspection->state;

    if (state->stage == BATCH) {
        return show_operation(inspection, part);
    }
    if (!lsm_inspect_edit_next(inspection, &state->edit, &state->walk, part)) {
        return false;
    }
    part->offset = state->record.offset;
    part->size = state->record.size;
    return true;
}

static lsmkv_status next(lsmkv_inspection *inspection, lsmkv_part *part,
                         lsmkv_error *err) {
    record_state *state = inspection->state;

    switch (state->stage) {
        case HEADER:
            return show_header(inspection, part, err);
        case HEADER_PROBLEM:
            return show_header_problem(inspection, part, err);
        case BATCH:
        case EDIT:
            if (next_inside(inspection, part)) {
                return LSMKV_OK;
            }
            state->stage = RECORDS;
            return next_record(inspection, part, err);
        case RECORDS:
        default:
            return next_record(inspection, part, err);
    }
}

lsmkv_status lsm_inspect_records(lsmkv_inspection *inspection, lsmkv_error *err) {
    static const lsm_inspect_ops ops = {next, destroy};
    record_state *state = lsm_calloc(1, sizeof(*state));

    if (state == NULL) {
        return lsm_fail_memory(err, sizeof(*state));
    }
    lsm_edit_init(&state->edit);
    state->effort = (lsm_effort){.bytes = inspection->size};
    inspection->ops = &ops;
    inspection->state = state;
    return LSMKV_OK;
}
