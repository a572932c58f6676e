/* SPDX-License-Identifier: Apache-2.0
 *
 * Inspection of the files that are read at once: CURRENT and the hot list.
 */
#include "base/alloc.h"
#include "db/inspect.h"
#include "format/filename.h"
#include "format/hotlist.h"

enum { UUID_AT = 16 };

typedef enum stage { WHOLE, PROBLEM, GROUPS, END } stage;

typedef struct small_state {
    stage stage;
    lsm_slice content; /* lent by the window, which does not move */
    lsm_reader groups;
} small_state;

static lsmkv_status decode_current(lsmkv_inspection *inspection) {
    small_state *state = inspection->state;
    uint64_t number = 0;
    lsmkv_status status =
        lsm_current_decode(state->content, &number, &inspection->problem);

    if (status == LSMKV_OK) {
        lsm_part_number(inspection, "manifest", number);
        state->stage = END;
    }
    return status;
}

static lsmkv_status decode_hotlist(lsmkv_inspection *inspection) {
    small_state *state = inspection->state;
    static const uint8_t none[LSM_UUID_SIZE];
    const uint8_t *uuid = state->content.size >= LSM_HOTLIST_HEADER_SIZE
                              ? state->content.data + UUID_AT
                              : none;
    lsm_slice groups;
    lsmkv_status status =
        lsm_hotlist_decode(state->content, uuid, &groups, &inspection->problem);

    if (status == LSMKV_OK) {
        lsm_part_id(inspection, "uuid", uuid, LSM_UUID_SIZE);
        state->groups = lsm_reader_make(groups);
        state->stage = GROUPS;
    }
    return status;
}

static lsmkv_status show_whole(lsmkv_inspection *inspection, lsmkv_part *part,
                               lsmkv_error *err) {
    small_state *state = inspection->state;
    lsmkv_status status = LSMKV_OK;
    bool current = inspection->type == LSMKV_FILE_CURRENT;
    /* What is longer is wrong without being read. */
    uint64_t size_max =
        current ? LSM_CURRENT_SIZE_MAX : (uint64_t)LSM_HOTLIST_SIZE_MAX + 1;
    const uint8_t *bytes = NULL;
    uint64_t size = inspection->size < size_max ? inspection->size : size_max;

    LSM_TRY(lsm_inspect_fetch(inspection, 0, size, &bytes, err));
    state->content = lsm_slice_make(bytes, (size_t)size);
    lsm_part_file(inspection, part);
    status = current ? decode_current(inspection) : decode_hotlist(inspection);
    if (status != LSMKV_OK) {
        state->stage = PROBLEM;
        status = LSMKV_OK;
    }
out:
    return status;
}

static lsmkv_status show_group(lsmkv_inspection *inspection, lsmkv_part *part) {
    small_state *state = inspection->state;
    const uint8_t *from = state->groups.at;
    lsm_hotlist_group group;

    if (!lsm_hotlist_next_group(&state->groups, &group)) {
        return LSMKV_NOT_FOUND;
    }
    lsm_part_begin(inspection, part, LSMKV_PART_FIELD,
                   group.heat == LSM_HOTLIST_VALUES ? "values" : "data blocks");
    part->offset = (uint64_t)(from - state->content.data);
    part->size = (uint64_t)(state->groups.at - from);
    lsm_part_number(inspection, "number", group.number);
    lsm_part_number(inspection, "heat", group.heat);
    lsm_part_number(inspection, "count", group.count);
    lsm_part_number(inspection, "bytes", group.bytes);
    return LSMKV_OK;
}

static lsmkv_status next(lsmkv_inspection *inspection, lsmkv_part *part,
                         lsmkv_error *err) {
    small_state *state = inspection->state;

    switch (state->stage) {
        case WHOLE:
            return show_whole(inspection, part, err);
        case PROBLEM:
            lsm_part_problem(inspection, part, LSMKV_PART_DAMAGE, "content", 0,
                             inspection->size);
            state->stage = END;
            return LSMKV_OK;
        case GROUPS:
            return show_group(inspection, part);
        case END:
        default:
            return LSMKV_NOT_FOUND;
    }
}

lsmkv_status lsm_inspect_small(lsmkv_inspection *inspection, lsmkv_error *err) {
    static const lsm_inspect_ops ops = {next, lsm_free};

    inspection->ops = &ops;
    inspection->state = lsm_calloc(1, sizeof(small_state));
    return inspection->state != NULL ? LSMKV_OK
                                     : lsm_fail_memory(err, sizeof(small_state));
}
