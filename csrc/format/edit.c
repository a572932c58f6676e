/* SPDX-License-Identifier: Apache-2.0
 *
 * Encoding and decoding of edits. A decoded edit copies the keys into its own arena, so
 * it outlives the payload. Whatever a field may not be is refused here; how edits fit
 * together (does the table exist, do ranges overlap) is for who applies them.
 */
#include "format/edit.h"

#include <string.h>

#include "base/alloc.h"
#include "base/coding.h"
#include "format/footer.h"

typedef enum edit_tag {
    TAG_NEXT_FILE = 1,
    TAG_LAST_SEQUENCE = 2,
    TAG_FIRST_LOG = 3,
    TAG_LOG = 4,
    TAG_ADDED = 5,
    TAG_DELETED = 6,
    TAG_SEGMENT = 7,
    TAG_TIME = 8,
    TAG_ORIGIN = 9,
    TAG_CACHE = 10,
    TAG_CACHE_DROPPED = 11,
} edit_tag;

void lsm_edit_init(lsm_edit *edit) {
    *edit = (lsm_edit){0};
    lsm_arena_init(&edit->arena);
}

void lsm_edit_deinit(lsm_edit *edit) {
    lsm_free(edit->logs);
    lsm_free(edit->added);
    lsm_free(edit->deleted);
    lsm_free(edit->origins);
    lsm_free(edit->segments);
    lsm_free(edit->caches);
    lsm_free(edit->dropped_caches);
    lsm_arena_deinit(&edit->arena);
    *edit = (lsm_edit){0};
    lsm_arena_init(&edit->arena);
}

bool lsm_table_info_copy(lsm_arena *arena, const lsm_table_info *from,
                         lsm_table_info *to) {
    size_t size = from->segment_count * sizeof(*from->segments);
    lsm_segment_share *segments = NULL;

    *to = *from;
    if (size != 0) {
        segments = lsm_arena_alloc(arena, size);
        if (segments == NULL) {
            return false;
        }
        memcpy(segments, from->segments, size);
    }
    to->segments = segments;
    return lsm_arena_copy(arena, from->smallest, &to->smallest) &&
           lsm_arena_copy(arena, from->largest, &to->largest);
}

bool lsm_edit_add_table(lsm_edit *edit, uint32_t level, const lsm_table_info *info) {
    void *array = edit->added;

    if (!lsm_grow(&array, &edit->added_capacity, edit->added_count + 1,
                  sizeof(*edit->added))) {
        return false;
    }
    edit->added = array;
    lsm_edit_table *table = &edit->added[edit->added_count];
    table->level = level;
    if (!lsm_table_info_copy(&edit->arena, info, &table->info)) {
        return false;
    }
    edit->added_count++;
    return true;
}

bool lsm_edit_delete_table(lsm_edit *edit, uint32_t level, uint64_t number) {
    void *array = edit->deleted;

    if (!lsm_grow(&array, &edit->deleted_capacity, edit->deleted_count + 1,
                  sizeof(*edit->deleted))) {
        return false;
    }
    edit->deleted = array;
    edit->deleted[edit->deleted_count++] = (lsm_edit_deletion){level, number};
    return true;
}

bool lsm_edit_add_log(lsm_edit *edit, uint64_t number, uint64_t file_id) {
    void *array = edit->logs;

    if (!lsm_grow(&array, &edit->log_capacity, edit->log_count + 1,
                  sizeof(*edit->logs))) {
        return false;
    }
    edit->logs = array;
    edit->logs[edit->log_count++] = (lsm_edit_log){number, file_id};
    return true;
}

bool lsm_edit_add_origin(lsm_edit *edit, const uint8_t uuid[LSM_UUID_SIZE]) {
    void *array = edit->origins;

    if (!lsm_grow(&array, &edit->origin_capacity, edit->origin_count + 1,
                  sizeof(*edit->origins))) {
        return false;
    }
    edit->origins = array;
    memcpy(edit->origins[edit->origin_count++], uuid, LSM_UUID_SIZE);
    return true;
}

bool lsm_edit_add_segment(lsm_edit *edit, const lsm_edit_segment *segment) {
    void *array = edit->segments;

    if (!lsm_grow(&array, &edit->segment_capacity, edit->segment_count + 1,
                  sizeof(*edit->segments))) {
        return false;
    }
    edit->segments = array;
    edit->segments[edit->segment_count++] = *segment;
    return true;
}

bool lsm_edit_add_cache(lsm_edit *edit, const lsm_edit_cache *cache) {
    void *array = edit->caches;

    if (!lsm_grow(&array, &edit->cache_capacity, edit->cache_count + 1,
                  sizeof(*edit->caches))) {
        return false;
    }
    edit->caches = array;
    edit->caches[edit->cache_count++] = *cache;
    return true;
}

bool lsm_edit_drop_cache(lsm_edit *edit, uint64_t number) {
    void *array = edit->dropped_caches;

    if (!lsm_grow(&array, &edit->dropped_cache_capacity, edit->dropped_cache_count + 1,
                  sizeof(*edit->dropped_caches))) {
        return false;
    }
    edit->dropped_caches = array;
    edit->dropped_caches[edit->dropped_cache_count++] = number;
    return true;
}

static bool encode_field(lsm_buf *to, bool present, edit_tag tag, uint64_t value) {
    return !present ||
           (lsm_buf_append_varint(to, tag) && lsm_buf_append_varint(to, value));
}

static bool encode_segments(lsm_buf *to, const lsm_table_info *info) {
    bool ok = lsm_buf_append_varint(to, info->segment_count);

    for (size_t i = 0; ok && i < info->segment_count; i++) {
        ok = lsm_buf_append_varint(to, info->segments[i].number) &&
             lsm_buf_append_varint(to, info->segments[i].bytes);
    }
    return ok;
}

static bool encode_table(lsm_buf *to, const lsm_edit_table *table) {
    const lsm_table_info *info = &table->info;

    return lsm_buf_append_varint(to, TAG_ADDED) &&
           lsm_buf_append_varint(to, table->level) &&
           lsm_buf_append_varint(to, info->number) &&
           lsm_buf_append_u64(to, info->file_id) &&
           lsm_buf_append_varint(to, info->file_size) &&
           lsm_buf_append_varint(to, info->tail_size) &&
           lsm_buf_append_slice(to, info->smallest) &&
           lsm_buf_append_slice(to, info->largest) &&
           lsm_buf_append_varint(to, info->sequence_min) &&
           lsm_buf_append_varint(to, info->sequence_max) &&
           lsm_buf_append_varint(to, info->entry_count) &&
           lsm_buf_append_varint(to, info->tombstone_count) &&
           lsm_buf_append_varint(to, info->raw_bytes) &&
           lsm_buf_append_varint(to, info->expire_all_at) &&
           lsm_buf_append_varint(to, info->expire_half_at) &&
           lsm_buf_append_varint(to, info->range_delete_count) &&
           encode_segments(to, info);
}

bool lsm_edit_encode(const lsm_edit *edit, lsm_buf *to) {
    bool ok = encode_field(to, edit->has_next_file, TAG_NEXT_FILE, edit->next_file) &&
              encode_field(to, edit->has_last_sequence, TAG_LAST_SEQUENCE,
                           edit->last_sequence) &&
              encode_field(to, edit->has_first_log, TAG_FIRST_LOG, edit->first_log) &&
              encode_field(to, edit->has_time, TAG_TIME, edit->time_ms);

    for (size_t i = 0; ok && i < edit->origin_count; i++) {
        ok = lsm_buf_append_varint(to, TAG_ORIGIN) &&
             lsm_buf_append(to, edit->origins[i], LSM_UUID_SIZE);
    }
    for (size_t i = 0; ok && i < edit->log_count; i++) {
        ok = encode_field(to, true, TAG_LOG, edit->logs[i].number) &&
             lsm_buf_append_u64(to, edit->logs[i].file_id);
    }
    for (size_t i = 0; ok && i < edit->segment_count; i++) {
        const lsm_edit_segment *segment = &edit->segments[i];
        ok = encode_field(to, true, TAG_SEGMENT, segment->number) &&
             lsm_buf_append_u64(to, segment->file_id) &&
             lsm_buf_append_varint(to, segment->size) &&
             lsm_buf_append_varint(to, segment->kind);
    }
    for (size_t i = 0; ok && i < edit->cache_count; i++) {
        const lsm_edit_cache *cache = &edit->caches[i];
        ok = encode_field(to, true, TAG_CACHE, cache->number) &&
             lsm_buf_append_u64(to, cache->file_id) &&
             lsm_buf_append_varint(to, cache->space_id);
    }
    for (size_t i = 0; ok && i < edit->dropped_cache_count; i++) {
        ok = encode_field(to, true, TAG_CACHE_DROPPED, edit->dropped_caches[i]);
    }
    for (size_t i = 0; ok && i < edit->deleted_count; i++) {
        ok = encode_field(to, true, TAG_DELETED, edit->deleted[i].level) &&
             lsm_buf_append_varint(to, edit->deleted[i].number);
    }
    for (size_t i = 0; ok && i < edit->added_count; i++) {
        ok = encode_table(to, &edit->added[i]);
    }
    return ok;
}

static lsmkv_status fail_cut(lsmkv_error *err) {
    return lsm_fail(err, LSMKV_CORRUPTION, "edit: a field is cut short or malformed");
}

/* A field that occurs at most once. */
static lsmkv_status decode_single(lsm_reader *reader, const char *name, bool *present,
                                  uint64_t *value, lsmkv_error *err) {
    if (*present) {
        return lsm_fail(err, LSMKV_CORRUPTION, "edit: %s given twice", name);
    }
    *present = lsm_read_varint(reader, value);
    return *present ? LSMKV_OK : fail_cut(err);
}

static lsmkv_status decode_level(lsm_reader *reader, uint32_t *level,
                                 lsmkv_error *err) {
    if (!lsm_read_varint32(reader, level)) {
        return fail_cut(err);
    }
    if (*level >= LSMKV_LEVEL_COUNT) {
        return lsm_fail(err, LSMKV_CORRUPTION, "edit: level %u of %d", *level,
                        LSMKV_LEVEL_COUNT);
    }
    return LSMKV_OK;
}

static lsmkv_status check_table(const lsm_table_info *info, lsmkv_error *err) {
    const char *problem = NULL;

    if (!lsm_bounds_check(info->smallest, info->largest,
                          info->range_delete_count != 0)) {
        problem = "its bounds are not internal keys in order";
    } else if (info->sequence_min > info->sequence_max ||
               info->sequence_max > LSM_SEQUENCE_MAX) {
        problem = "impossible sequences";
    } else if (info->tail_size < LSM_FOOTER_SIZE || info->tail_size > info->file_size) {
        problem = "tail and file size do not fit together";
    }
    return problem == NULL ? LSMKV_OK
                           : lsm_fail(err, LSMKV_CORRUPTION, "edit: table %llu: %s",
                                      (unsigned long long)info->number, problem);
}

/* Reads the segments of a table into the edit's arena. */
static lsmkv_status decode_segments(lsm_edit *edit, lsm_reader *reader,
                                    lsm_table_info *info, lsmkv_error *err) {
    uint64_t count = 0;

    /* Two varints each: a count beyond what is left is refused before it is used. */
    if (!lsm_read_varint(reader, &count) || count > lsm_reader_left(reader) / 2) {
        return fail_cut(err);
    }
    if (count == 0) {
        return LSMKV_OK;
    }
    lsm_segment_share *segments =
        lsm_arena_alloc(&edit->arena, (size_t)count * sizeof(*segments));
    if (segments == NULL) {
        return lsm_fail_memory(err, (size_t)count * sizeof(*segments));
    }
    for (size_t i = 0; i < count; i++) {
        lsm_read_varint(reader, &segments[i].number);
        if (!lsm_read_varint(reader, &segments[i].bytes)) {
            return fail_cut(err);
        }
        if (segments[i].bytes == 0) {
            return lsm_fail(err, LSMKV_CORRUPTION,
                            "edit: table %llu names a segment for no bytes",
                            (unsigned long long)info->number);
        }
        if (i > 0 && segments[i].number <= segments[i - 1].number) {
            return lsm_fail(err, LSMKV_CORRUPTION,
                            "edit: table %llu: segments are out of order",
                            (unsigned long long)info->number);
        }
    }
    info->segments = segments;
    info->segment_count = (size_t)count;
    return LSMKV_OK;
}

static lsmkv_status decode_table(lsm_edit *edit, lsm_reader *reader, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_table_info info = {0};
    uint32_t level = 0;

    LSM_TRY(decode_level(reader, &level, err));
    lsm_read_varint(reader, &info.number);
    lsm_read_u64(reader, &info.file_id);
    lsm_read_varint(reader, &info.file_size);
    lsm_read_varint(reader, &info.tail_size);
    lsm_read_slice(reader, &info.smallest);
    lsm_read_slice(reader, &info.largest);
    lsm_read_varint(reader, &info.sequence_min);
    lsm_read_varint(reader, &info.sequence_max);
    lsm_read_varint(reader, &info.entry_count);
    lsm_read_varint(reader, &info.tombstone_count);
    lsm_read_varint(reader, &info.raw_bytes);
    lsm_read_varint(reader, &info.expire_all_at);
    lsm_read_varint(reader, &info.expire_half_at);
    if (!lsm_read_varint(reader, &info.range_delete_count)) {
        return fail_cut(err);
    }
    LSM_TRY(decode_segments(edit, reader, &info, err));
    LSM_TRY(check_table(&info, err));
    if (!lsm_edit_add_table(edit, level, &info)) {
        return lsm_fail_memory(err, info.smallest.size + info.largest.size);
    }
out:
    return status;
}

static lsmkv_status decode_deletion(lsm_edit *edit, lsm_reader *reader,
                                    lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint64_t number = 0;
    uint32_t level = 0;

    LSM_TRY(decode_level(reader, &level, err));
    if (!lsm_read_varint(reader, &number)) {
        return fail_cut(err);
    }
    if (!lsm_edit_delete_table(edit, level, number)) {
        return lsm_fail_memory(err, sizeof(*edit->deleted));
    }
out:
    return status;
}

static lsmkv_status decode_log(lsm_edit *edit, lsm_reader *reader, lsmkv_error *err) {
    uint64_t number = 0;
    uint64_t file_id = 0;

    lsm_read_varint(reader, &number);
    if (!lsm_read_u64(reader, &file_id)) {
        return fail_cut(err);
    }
    return lsm_edit_add_log(edit, number, file_id)
               ? LSMKV_OK
               : lsm_fail_memory(err, sizeof(*edit->logs));
}

static lsmkv_status decode_origin(lsm_edit *edit, lsm_reader *reader,
                                  lsmkv_error *err) {
    lsm_slice uuid;

    if (!lsm_read_bytes(reader, LSM_UUID_SIZE, &uuid)) {
        return fail_cut(err);
    }
    return lsm_edit_add_origin(edit, uuid.data)
               ? LSMKV_OK
               : lsm_fail_memory(err, sizeof(*edit->origins));
}

static lsmkv_status decode_segment(lsm_edit *edit, lsm_reader *reader,
                                   lsmkv_error *err) {
    lsm_edit_segment segment = {0};
    uint64_t kind = 0;

    lsm_read_varint(reader, &segment.number);
    lsm_read_u64(reader, &segment.file_id);
    lsm_read_varint(reader, &segment.size);
    if (!lsm_read_varint(reader, &kind)) {
        return fail_cut(err);
    }
    if (kind != LSM_SEGMENT_LOG && kind != LSM_SEGMENT_VALUES) {
        return lsm_fail(err, LSMKV_UNSUPPORTED_VERSION,
                        "edit: segment of kind %llu is of a later version of lsmkv",
                        (unsigned long long)kind);
    }
    segment.kind = (lsm_segment_kind)kind;
    return lsm_edit_add_segment(edit, &segment) ? LSMKV_OK
                                                : lsm_fail_memory(err, sizeof(segment));
}

static lsmkv_status decode_cache(lsm_edit *edit, lsm_reader *reader, lsmkv_error *err) {
    lsm_edit_cache cache = {0};

    lsm_read_varint(reader, &cache.number);
    lsm_read_u64(reader, &cache.file_id);
    if (!lsm_read_varint32(reader, &cache.space_id)) {
        return fail_cut(err);
    }
    return lsm_edit_add_cache(edit, &cache) ? LSMKV_OK
                                            : lsm_fail_memory(err, sizeof(cache));
}

static lsmkv_status decode_dropped_cache(lsm_edit *edit, lsm_reader *reader,
                                         lsmkv_error *err) {
    uint64_t number = 0;

    if (!lsm_read_varint(reader, &number)) {
        return fail_cut(err);
    }
    return lsm_edit_drop_cache(edit, number) ? LSMKV_OK
                                             : lsm_fail_memory(err, sizeof(number));
}

static lsmkv_status decode_last_sequence(lsm_edit *edit, lsm_reader *reader,
                                         lsmkv_error *err) {
    lsmkv_status status = decode_single(
        reader, "last sequence", &edit->has_last_sequence, &edit->last_sequence, err);

    if (status == LSMKV_OK && edit->last_sequence > LSM_SEQUENCE_MAX) {
        return lsm_fail(err, LSMKV_CORRUPTION, "edit: last sequence %llu is too large",
                        (unsigned long long)edit->last_sequence);
    }
    return status;
}

static lsmkv_status decode_field(lsm_edit *edit, lsm_reader *reader, lsmkv_error *err) {
    uint64_t tag = 0;

    if (!lsm_read_varint(reader, &tag)) {
        return fail_cut(err);
    }
    switch (tag) {
        case TAG_NEXT_FILE:
            return decode_single(reader, "next file number", &edit->has_next_file,
                                 &edit->next_file, err);
        case TAG_LAST_SEQUENCE:
            return decode_last_sequence(edit, reader, err);
        case TAG_FIRST_LOG:
            return decode_single(reader, "first log number", &edit->has_first_log,
                                 &edit->first_log, err);
        case TAG_LOG:
            return decode_log(edit, reader, err);
        case TAG_ADDED:
            return decode_table(edit, reader, err);
        case TAG_DELETED:
            return decode_deletion(edit, reader, err);
        case TAG_TIME:
            return decode_single(reader, "engine time", &edit->has_time, &edit->time_ms,
                                 err);
        case TAG_ORIGIN:
            return decode_origin(edit, reader, err);
        case TAG_SEGMENT:
            return decode_segment(edit, reader, err);
        case TAG_CACHE:
            return decode_cache(edit, reader, err);
        case TAG_CACHE_DROPPED:
            return decode_dropped_cache(edit, reader, err);
        default:
            return lsm_fail(err, LSMKV_UNSUPPORTED_VERSION,
                            "edit: field %llu is of a later version of lsmkv",
                            (unsigned long long)tag);
    }
}

lsmkv_status lsm_edit_decode(lsm_edit *edit, lsm_slice payload, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_reader reader = lsm_reader_make(payload);

    while (lsm_reader_left(&reader) != 0) {
        LSM_TRY(decode_field(edit, &reader, err));
    }
out:
    if (status != LSMKV_OK) {
        lsm_edit_deinit(edit);
    }
    return status;
}
