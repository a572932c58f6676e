/* SPDX-License-Identifier: Apache-2.0
 *
 * The footer and the properties of tables. A table is only read because the MANIFEST
 * names it, so a wrong magic is damage here, not a foreign file.
 */
#include "format/footer.h"

#include <string.h>

#include "base/coding.h"
#include "base/xxh3.h"

enum {
    VERSION_AT = 8,
    FEATURES_AT = 12,
    UUID_AT = 16,
    NUMBER_AT = 32,
    FILE_ID_AT = 40,
    TAIL_AT = 48,
    INDEX_AT = 56,
    FILTER_AT = 72,
    PROPERTIES_AT = 88,
    RANGE_DELETES_AT = 104,
    CHECKSUM_AT = 120,
};

_Static_assert(CHECKSUM_AT + 8 == LSM_FOOTER_SIZE, "the checksum ends the footer");
_Static_assert(UUID_AT + LSM_UUID_SIZE == NUMBER_AT, "the UUID fills its place");

static const uint8_t table_magic[8] = {'L', 'S', 'M', 'K', 'V', 'T', 'B', 'L'};

static void put_handle(uint8_t *to, lsm_block_handle handle) {
    lsm_put_u64(to, handle.offset);
    lsm_put_u64(to + 8, handle.size);
}

static lsm_block_handle get_handle(const uint8_t *from) {
    return (lsm_block_handle){lsm_get_u64(from), lsm_get_u64(from + 8)};
}

void lsm_footer_encode(const lsm_footer *footer, uint8_t to[LSM_FOOTER_SIZE]) {
    memset(to, 0, LSM_FOOTER_SIZE);
    memcpy(to, table_magic, sizeof(table_magic));
    lsm_put_u32(to + VERSION_AT, LSM_TABLE_VERSION);
    memcpy(to + UUID_AT, footer->uuid, LSM_UUID_SIZE);
    lsm_put_u64(to + NUMBER_AT, footer->number);
    lsm_put_u64(to + FILE_ID_AT, footer->file_id);
    lsm_put_u64(to + TAIL_AT, footer->tail_offset);
    put_handle(to + INDEX_AT, footer->index);
    put_handle(to + FILTER_AT, footer->filter);
    put_handle(to + PROPERTIES_AT, footer->properties);
    put_handle(to + RANGE_DELETES_AT, footer->range_deletes);
    lsm_put_u64(to + CHECKSUM_AT, lsm_xxh3(to, CHECKSUM_AT));
}

/* true when a payload of at least one byte and its frame lie in [begin, end). */
static bool handle_is_inside(lsm_block_handle handle, uint64_t begin, uint64_t end) {
    uint64_t room = end - begin;

    return handle.offset >= begin && handle.offset <= end && handle.size != 0 &&
           room >= LSM_BLOCK_FRAME_SIZE && handle.size <= room - LSM_BLOCK_FRAME_SIZE &&
           handle.offset - begin <= room - LSM_BLOCK_FRAME_SIZE - handle.size;
}

static bool handle_is_none(lsm_block_handle handle) {
    return handle.offset == 0 && handle.size == 0;
}

/* Names the part of the layout that is impossible in a tail that ends at `end`; NULL:
 * none is. */
static const char *find_layout_problem(const lsm_footer *footer, uint64_t end) {
    bool no_ranges = handle_is_none(footer->range_deletes);
    uint64_t begin = footer->tail_offset;

    if (begin > end) {
        return "tail";
    }
    if (!no_ranges && !handle_is_inside(footer->range_deletes, begin, end)) {
        return "range delete block";
    }
    /* A table of range deletes alone has no index. */
    if ((no_ranges || begin != 0 || !handle_is_none(footer->index)) &&
        !handle_is_inside(footer->index, begin, end)) {
        return "index";
    }
    if (!handle_is_none(footer->filter) &&
        !handle_is_inside(footer->filter, begin, end)) {
        return "filter";
    }
    return handle_is_inside(footer->properties, begin, end) ? NULL : "properties";
}

lsmkv_status lsm_footer_decode(const uint8_t *from, uint64_t file_size,
                               const char *file, lsm_footer *footer, lsmkv_error *err) {
    uint64_t end = file_size - LSM_FOOTER_SIZE;
    int64_t at = (int64_t)end;

    *footer = (lsm_footer){0};
    if (file_size < LSM_FOOTER_SIZE || file_size > INT64_MAX) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, file, -1,
                           "a table of %llu bytes has no footer",
                           (unsigned long long)file_size);
    }
    if (memcmp(from, table_magic, sizeof(table_magic)) != 0) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, file, at,
                           "the footer does not begin with LSMKVTBL");
    }
    uint64_t expected = lsm_get_u64(from + CHECKSUM_AT);
    uint64_t found = lsm_xxh3(from, CHECKSUM_AT);
    if (!lsm_checksum_agrees(expected, found)) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, file, at,
                           "checksum of the footer is %016llx, expected %016llx",
                           (unsigned long long)found, (unsigned long long)expected);
    }
    uint32_t version = lsm_get_u32(from + VERSION_AT);
    uint32_t features = lsm_get_u32(from + FEATURES_AT);
    if (version != LSM_TABLE_VERSION || features != 0) {
        return lsm_fail_at(err, LSMKV_UNSUPPORTED_VERSION, file, at,
                           "table of version %u with features %x, this lsmkv reads "
                           "version %d without any",
                           version, features, LSM_TABLE_VERSION);
    }
    memcpy(footer->uuid, from + UUID_AT, LSM_UUID_SIZE);
    footer->number = lsm_get_u64(from + NUMBER_AT);
    footer->file_id = lsm_get_u64(from + FILE_ID_AT);
    footer->tail_offset = lsm_get_u64(from + TAIL_AT);
    footer->index = get_handle(from + INDEX_AT);
    footer->filter = get_handle(from + FILTER_AT);
    footer->properties = get_handle(from + PROPERTIES_AT);
    footer->range_deletes = get_handle(from + RANGE_DELETES_AT);
    const char *problem = find_layout_problem(footer, end);
    if (problem != NULL) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, file, at,
                           "the %s does not lie between tail offset and footer",
                           problem);
    }
    return LSMKV_OK;
}

/* Where the value of a tag lives; index = tag - 1. */
static const size_t property_places[] = {
    offsetof(lsm_properties, data_block_count),
    offsetof(lsm_properties, entry_count),
    offsetof(lsm_properties, tombstone_count),
    offsetof(lsm_properties, key_bytes),
    offsetof(lsm_properties, value_bytes),
    offsetof(lsm_properties, sequence_min),
    offsetof(lsm_properties, sequence_max),
    offsetof(lsm_properties, index_block_count),
    offsetof(lsm_properties, expire_min),
    offsetof(lsm_properties, expire_max),
    offsetof(lsm_properties, range_delete_count),
};

_Static_assert(LSM_ARRAY_COUNT(property_places) * sizeof(uint64_t) ==
                   sizeof(lsm_properties),
               "every property has a tag");

bool lsm_properties_encode(const lsm_properties *properties, lsm_buf *to) {
    for (size_t i = 0; i < LSM_ARRAY_COUNT(property_places); i++) {
        uint64_t value = 0;

        memcpy(&value, (const char *)properties + property_places[i], sizeof(value));
        if (value != 0 && (!lsm_buf_append_varint(to, i + 1) ||
                           !lsm_buf_append_varint(to, lsm_varint_size(value)) ||
                           !lsm_buf_append_varint(to, value))) {
            return false;
        }
    }
    return true;
}

bool lsm_properties_decode(lsm_slice bytes, lsm_properties *properties) {
    lsm_reader reader = lsm_reader_make(bytes);
    uint64_t last_tag = 0;

    *properties = (lsm_properties){0};
    while (lsm_reader_left(&reader) != 0) {
        uint64_t tag = 0;
        uint64_t value = 0;
        lsm_slice content;

        if (!lsm_read_varint(&reader, &tag) || tag <= last_tag ||
            !lsm_read_slice(&reader, &content)) {
            return false;
        }
        last_tag = tag;
        if (tag > LSM_ARRAY_COUNT(property_places)) {
            continue;
        }
        lsm_reader inner = lsm_reader_make(content);
        if (!lsm_read_varint(&inner, &value) || !lsm_reader_done(&inner)) {
            return false;
        }
        memcpy((char *)properties + property_places[tag - 1], &value, sizeof(value));
    }
    return true;
}
