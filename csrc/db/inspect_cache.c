/* SPDX-License-Identifier: Apache-2.0
 *
 * Inspection of cache segments: frames, at multiples of 64, in any order and never
 * synced. Where there is none, zeros were never written, and other bytes are what is
 * left of one.
 */
#include "base/alloc.h"
#include "base/effort.h"
#include "db/inspect.h"
#include "format/cache_frame.h"

typedef enum stage { HEADER, HEADER_PROBLEM, FRAMES, VERSION, VALUE_PROBLEM } stage;

typedef struct cache_state {
    stage stage;
    uint64_t at;
    lsm_effort effort;
    lsm_cache_frame frame; /* at hand */
    const uint8_t *bytes;  /* of it; lent by the window */
} cache_state;

static lsmkv_status show_header(lsmkv_inspection *inspection, lsmkv_part *part,
                                lsmkv_error *err) {
    cache_state *state = inspection->state;
    lsmkv_status status = LSMKV_OK;
    size_t size = 0;
    bool ok = false;
    const uint8_t *bytes = NULL;
    lsm_record_file_header header;

    LSM_TRY(lsm_inspect_header(inspection, &header, &bytes, &size, &ok, err));
    state->stage = ok ? FRAMES : HEADER_PROBLEM;
    state->at = size;
    lsm_part_file(inspection, part);
    if (state->stage == FRAMES) {
        inspection->file_id = header.file_id;
        lsm_part_number(inspection, "number", header.number);
        lsm_part_hex(inspection, "file_id", header.file_id);
        lsm_part_id(inspection, "uuid", bytes + 16, LSM_UUID_SIZE);
    }
out:
    return status;
}

/* The frame at an offset, if there is one. */
static lsmkv_status look(lsmkv_inspection *inspection, uint64_t at, bool *found,
                         lsmkv_error *err) {
    cache_state *state = inspection->state;
    lsmkv_status status = LSMKV_OK;
    uint64_t left = inspection->size - at;
    uint64_t size = 0;

    *found = false;
    if (left < LSM_CACHE_HEAD_SIZE || inspection->file_id == 0) {
        return LSMKV_OK;
    }
    LSM_TRY(lsm_inspect_fetch(inspection, at, LSM_CACHE_HEAD_SIZE, &state->bytes, err));
    if (!lsm_cache_frame_peek(state->bytes, &state->frame)) {
        return LSMKV_OK;
    }
    size = LSM_CACHE_HEAD_SIZE + (uint64_t)state->frame.key_size;
    if (size > left || !lsm_effort_allows(&state->effort, at, size)) {
        return LSMKV_OK;
    }
    LSM_TRY(lsm_inspect_fetch(inspection, at, size, &state->bytes, err));
    *found =
        lsm_cache_frame_check(&state->frame, state->bytes, inspection->file_id, at);
    lsm_effort_spend(&state->effort, size, *found);
out:
    return status;
}

/* Whether bytes are all zero. */
static lsmkv_status are_zero(lsmkv_inspection *inspection, uint64_t from, uint64_t to,
                             bool *zero, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    *zero = true;
    while (*zero && from < to) {
        uint64_t size =
            to - from < LSM_CACHE_FRAME_ALIGN ? to - from : LSM_CACHE_FRAME_ALIGN;
        const uint8_t *bytes = NULL;
        LSM_TRY(lsm_inspect_fetch(inspection, from, size, &bytes, err));
        lsm_reader reader = lsm_reader_make(lsm_slice_make(bytes, (size_t)size));
        *zero = lsm_read_zeros(&reader, (size_t)size);
        from += size;
    }
out:
    return status;
}

static lsmkv_status show_gap(lsmkv_inspection *inspection, lsmkv_part *part,
                             lsmkv_error *err) {
    cache_state *state = inspection->state;
    lsmkv_status status = LSMKV_OK;
    uint64_t from = state->at;
    uint64_t to = from;
    bool found = false;
    bool zero = false;

    while (!found && to < inspection->size) {
        uint64_t left = inspection->size - to;
        to += left < LSM_CACHE_FRAME_ALIGN ? left : LSM_CACHE_FRAME_ALIGN;
        LSM_TRY(look(inspection, to, &found, err));
    }
    LSM_TRY(are_zero(inspection, from, to, &zero, err));
    zero = zero && !lsm_inspect_unread(inspection, from, to);
    state->at = to;
    lsm_inspect_say(inspection, zero ? "nothing was written here"
                                     : "a frame expected, and none verifies here");
    lsm_part_problem(inspection, part, zero ? LSMKV_PART_REST : LSMKV_PART_DAMAGE,
                     "frame", from, to);
out:
    return status;
}

static lsmkv_status show_frame(lsmkv_inspection *inspection, lsmkv_part *part,
                               lsmkv_error *err) {
    cache_state *state = inspection->state;
    const lsm_cache_frame *frame = &state->frame;
    lsmkv_status status = LSMKV_OK;
    uint64_t left = inspection->size - state->at;
    uint64_t whole = frame->value_at + frame->value_size;
    const char *problem = NULL;

    if (whole > left) {
        problem = "the file ends before the value does";
        whole = LSM_CACHE_HEAD_SIZE + (uint64_t)frame->key_size;
    }
    LSM_TRY(lsm_inspect_fetch(inspection, state->at, whole, &state->bytes, err));
    if (problem == NULL && !lsm_checksum_agrees(frame->value_checksum,
                                                lsm_xxh3(state->bytes + frame->value_at,
                                                         frame->value_size))) {
        problem = "the value is not the one that was written: reads miss it";
    }
    lsm_part_begin(inspection, part, LSMKV_PART_FRAME, "frame");
    part->offset = state->at;
    part->size = frame->size < left ? frame->size : left;
    lsm_part_skey(inspection, "namespace", "key",
                  lsm_slice_make(state->bytes + LSM_CACHE_HEAD_SIZE, frame->key_size));
    lsm_part_number(inspection, "value_offset", state->at + frame->value_at);
    lsm_part_number(inspection, "value_size", frame->value_size);
    lsm_part_hex(inspection, "value_checksum", frame->value_checksum);
    if (problem != NULL) {
        lsm_inspect_say(inspection, "%s", problem);
        state->stage = VALUE_PROBLEM;
    } else {
        state->stage = inspection->how.entries ? VERSION : FRAMES;
        state->at += state->stage == FRAMES ? part->size : 0;
    }
out:
    return status;
}

/* Behind the frame at hand. */
static uint64_t pass_frame(lsmkv_inspection *inspection) {
    cache_state *state = inspection->state;
    uint64_t left = inspection->size - state->at;
    uint64_t from = state->at;

    state->at += state->frame.size < left ? state->frame.size : left;
    state->stage = FRAMES;
    return from;
}

static void show_value(lsmkv_inspection *inspection, lsmkv_part *part) {
    const cache_state *state = inspection->state;
    const lsm_cache_frame *frame = &state->frame;
    uint64_t from = pass_frame(inspection);

    lsm_part_begin(inspection, part, LSMKV_PART_ENTRY, "cached value");
    part->offset = from + frame->value_at;
    part->size = frame->value_size;
    lsm_part_bytes(inspection, "value",
                   lsm_slice_make(state->bytes + frame->value_at, frame->value_size));
}

static void show_value_problem(lsmkv_inspection *inspection, lsmkv_part *part) {
    cache_state *state = inspection->state;
    uint64_t from = pass_frame(inspection) + state->frame.value_at;
    uint64_t to = from + state->frame.value_size;

    from = from < inspection->size ? from : inspection->size;
    lsm_part_problem(inspection, part, LSMKV_PART_DAMAGE, "value", from,
                     to < inspection->size ? to : inspection->size);
}

static lsmkv_status next_frame(lsmkv_inspection *inspection, lsmkv_part *part,
                               lsmkv_error *err) {
    cache_state *state = inspection->state;
    lsmkv_status status = LSMKV_OK;
    bool found = false;

    if (state->at >= inspection->size) {
        return LSMKV_NOT_FOUND;
    }
    LSM_TRY(look(inspection, state->at, &found, err));
    status =
        found ? show_frame(inspection, part, err) : show_gap(inspection, part, err);
out:
    return status;
}

static lsmkv_status next(lsmkv_inspection *inspection, lsmkv_part *part,
                         lsmkv_error *err) {
    cache_state *state = inspection->state;

    switch (state->stage) {
        case HEADER:
            return show_header(inspection, part, err);
        case HEADER_PROBLEM:
            lsm_part_problem(inspection, part, LSMKV_PART_DAMAGE, "header", 0,
                             state->at);
            state->stage = FRAMES;
            return LSMKV_OK;
        case VERSION:
            show_value(inspection, part);
            return LSMKV_OK;
        case VALUE_PROBLEM:
            show_value_problem(inspection, part);
            return LSMKV_OK;
        case FRAMES:
        default:
            return next_frame(inspection, part, err);
    }
}

lsmkv_status lsm_inspect_cache(lsmkv_inspection *inspection, lsmkv_error *err) {
    static const lsm_inspect_ops ops = {next, lsm_free};
    cache_state *state = lsm_calloc(1, sizeof(*state));

    if (state == NULL) {
        return lsm_fail_memory(err, sizeof(*state));
    }
    state->effort = (lsm_effort){.bytes = inspection->size};
    inspection->ops = &ops;
    inspection->state = state;
    return LSMKV_OK;
}
