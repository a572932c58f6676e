/* SPDX-License-Identifier: Apache-2.0
 *
 * Building and checking hot lists. The parts of the builder, one for each heat, grow at
 * the same time, so that the files need to be gone through once.
 */
#include "format/hotlist.h"

#include <string.h>

#include "base/xxh3.h"
#include "format/filename.h"

enum {
    AT_VERSION = 8,
    AT_ZERO = 12,
    AT_UUID = 16,
    AT_SIZE = 32,
    AT_PAYLOAD_CHECKSUM = 40,
    AT_ZEROS = 48,
    AT_CHECKSUM = 56,
    PART_COUNT = LSM_HOTLIST_HEAT_MAX + 1,
    /* Of groups of one heat; room to end the last one is left. */
    PART_SIZE_MAX = LSM_HOTLIST_SIZE_MAX / PART_COUNT - 128,
};

static const char magic[8] = {'L', 'S', 'M', 'K', 'V', 'H', 'O', 'T'};

void lsm_hotlist_builder_deinit(lsm_hotlist_builder *builder) {
    for (size_t i = 0; i < PART_COUNT; i++) {
        lsm_buf_deinit(&builder->parts[i].groups);
    }
}

bool lsm_hotlist_add(lsm_hotlist_builder *builder, uint8_t heat, uint64_t number,
                     uint32_t place, uint64_t bytes) {
    lsm_hotlist_part *part = &builder->parts[heat];

    if (part->groups.size >= PART_SIZE_MAX) {
        return true;
    }
    if (!part->open) {
        if (!lsm_buf_append_u8(&part->groups, heat) ||
            !lsm_buf_append_varint(&part->groups, number)) {
            return false;
        }
        part->open = true;
        part->next = 0;
        part->bytes = 0;
    }
    if (!lsm_buf_append_varint(&part->groups, place - part->next + 1)) {
        return false;
    }
    part->next = (uint64_t)place + 1;
    part->bytes += bytes;
    builder->bytes += bytes;
    return true;
}

bool lsm_hotlist_end(lsm_hotlist_builder *builder) {
    for (size_t i = 0; i < PART_COUNT; i++) {
        lsm_hotlist_part *part = &builder->parts[i];

        if (part->open && (!lsm_buf_append_varint(&part->groups, 0) ||
                           !lsm_buf_append_varint(&part->groups, part->bytes))) {
            return false;
        }
        part->open = false;
    }
    return true;
}

bool lsm_hotlist_finish(const lsm_hotlist_builder *builder,
                        const uint8_t uuid[LSM_UUID_SIZE], lsm_buf *to) {
    size_t begin = to->size;

    if (!lsm_buf_append_zeros(to, LSM_HOTLIST_HEADER_SIZE)) {
        return false;
    }
    for (size_t i = PART_COUNT; i > 0; i--) {
        const lsm_buf *groups = &builder->parts[i - 1].groups;

        if (!lsm_buf_append(to, groups->data, groups->size)) {
            return false;
        }
    }
    uint8_t *header = to->data + begin;
    const uint8_t *payload = header + LSM_HOTLIST_HEADER_SIZE;
    size_t size = to->size - begin - LSM_HOTLIST_HEADER_SIZE;
    memcpy(header, magic, sizeof(magic));
    lsm_put_u32(header + AT_VERSION, LSM_HOTLIST_VERSION);
    memcpy(header + AT_UUID, uuid, LSM_UUID_SIZE);
    lsm_put_u64(header + AT_SIZE, size);
    lsm_put_u64(header + AT_PAYLOAD_CHECKSUM, lsm_xxh3(payload, size));
    lsm_put_u64(header + AT_CHECKSUM, lsm_xxh3(header, AT_CHECKSUM));
    return true;
}

/* Counts and checks the places up to the 0 that ends them. */
static bool pass_places(lsm_reader *groups, lsm_hotlist_group *group) {
    const uint8_t *begin = groups->at;
    uint64_t next = 0;
    uint64_t gap = 0;

    while (lsm_read_varint(groups, &gap) && gap != 0) {
        if (gap > (uint64_t)UINT32_MAX + 1 || next + gap - 1 > UINT32_MAX) {
            return false;
        }
        next += gap;
        group->count++;
        group->places = lsm_slice_make(begin, (size_t)(groups->at - begin));
    }
    return !groups->failed && group->count > 0;
}

bool lsm_hotlist_next_group(lsm_reader *groups, lsm_hotlist_group *group) {
    *group = (lsm_hotlist_group){0};
    if (lsm_reader_left(groups) == 0) {
        return false;
    }
    lsm_read_u8(groups, &group->heat);
    bool ok = lsm_read_varint(groups, &group->number) && pass_places(groups, group) &&
              lsm_read_varint(groups, &group->bytes);
    groups->failed = !ok; /* also where bytes were read that mean nothing */
    return ok;
}

bool lsm_hotlist_next_place(lsm_hotlist_cursor *cursor, uint32_t *place) {
    uint64_t gap = 0;

    if (!lsm_read_varint(&cursor->gaps, &gap)) {
        return false;
    }
    cursor->next += gap;
    *place = (uint32_t)(cursor->next - 1);
    return true;
}

static bool header_holds(lsm_slice file, const uint8_t uuid[LSM_UUID_SIZE]) {
    const uint8_t *header = file.data;

    return file.size >= LSM_HOTLIST_HEADER_SIZE && file.size <= LSM_HOTLIST_SIZE_MAX &&
           memcmp(header, magic, sizeof(magic)) == 0 &&
           lsm_checksum_agrees(lsm_get_u64(header + AT_CHECKSUM),
                               lsm_xxh3(header, AT_CHECKSUM)) &&
           lsm_get_u32(header + AT_VERSION) == LSM_HOTLIST_VERSION &&
           lsm_get_u32(header + AT_ZERO) == 0 && lsm_get_u64(header + AT_ZEROS) == 0 &&
           memcmp(header + AT_UUID, uuid, LSM_UUID_SIZE) == 0 &&
           lsm_get_u64(header + AT_SIZE) == file.size - LSM_HOTLIST_HEADER_SIZE;
}

/* Whether groups are whole and in their order. */
static bool groups_hold(lsm_slice payload) {
    lsm_reader groups = lsm_reader_make(payload);
    lsm_hotlist_group before = {.heat = LSM_HOTLIST_HEAT_MAX};
    lsm_hotlist_group group;

    while (lsm_hotlist_next_group(&groups, &group)) {
        if (group.heat > before.heat || group.number == 0 ||
            (group.heat == before.heat && group.number <= before.number)) {
            return false;
        }
        before = group;
    }
    return lsm_reader_done(&groups);
}

lsmkv_status lsm_hotlist_decode(lsm_slice file, const uint8_t uuid[LSM_UUID_SIZE],
                                lsm_slice *groups, lsmkv_error *err) {
    *groups = lsm_slice_make(NULL, 0);
    if (!header_holds(file, uuid)) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, LSM_HOTLIST_NAME, 0,
                           "not the hot list of this database");
    }
    lsm_slice payload = lsm_slice_make(file.data + LSM_HOTLIST_HEADER_SIZE,
                                       file.size - LSM_HOTLIST_HEADER_SIZE);
    if (!lsm_checksum_agrees(lsm_get_u64(file.data + AT_PAYLOAD_CHECKSUM),
                             lsm_xxh3(payload.data, payload.size)) ||
        !groups_hold(payload)) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, LSM_HOTLIST_NAME,
                           LSM_HOTLIST_HEADER_SIZE, "malformed groups");
    }
    *groups = payload;
    return LSMKV_OK;
}
