/* SPDX-License-Identifier: Apache-2.0
 *
 * See inspect_edit.h.
 */
#include "db/inspect_edit.h"

enum { NUMBERS = 4 };

/* The fields that an edit has once. */
static bool show_number(lsmkv_inspection *inspection, const lsm_edit *edit,
                        size_t index, lsmkv_part *part) {
    const struct {
        bool there;
        const char *name;
        const char *fact;
        uint64_t number;
    } fields[NUMBERS] = {
        {edit->has_next_file, "next file", "number", edit->next_file},
        {edit->has_last_sequence, "last sequence", "sequence", edit->last_sequence},
        {edit->has_first_log, "first live log", "number", edit->first_log},
        {edit->has_time, "engine time", "time", edit->time_ms},
    };

    if (!fields[index].there) {
        return false;
    }
    lsm_part_begin(inspection, part, LSMKV_PART_FIELD, fields[index].name);
    lsm_part_number(inspection, fields[index].fact, fields[index].number);
    return true;
}

static bool show_origin(lsmkv_inspection *inspection, const lsm_edit *edit,
                        size_t index, lsmkv_part *part) {
    lsm_part_begin(inspection, part, LSMKV_PART_FIELD, "origin");
    lsm_part_id(inspection, "uuid", edit->origins[index], LSM_UUID_SIZE);
    return true;
}

static bool show_log(lsmkv_inspection *inspection, const lsm_edit *edit, size_t index,
                     lsmkv_part *part) {
    lsm_part_begin(inspection, part, LSMKV_PART_FIELD, "log");
    lsm_part_number(inspection, "number", edit->logs[index].number);
    lsm_part_hex(inspection, "file_id", edit->logs[index].file_id);
    return true;
}

static bool show_deleted(lsmkv_inspection *inspection, const lsm_edit *edit,
                         size_t index, lsmkv_part *part) {
    lsm_part_begin(inspection, part, LSMKV_PART_FIELD, "deleted table");
    lsm_part_number(inspection, "level", edit->deleted[index].level);
    lsm_part_number(inspection, "number", edit->deleted[index].number);
    return true;
}

static bool show_segment(lsmkv_inspection *inspection, const lsm_edit *edit,
                         size_t index, lsmkv_part *part) {
    const lsm_edit_segment *segment = &edit->segments[index];

    lsm_part_begin(inspection, part, LSMKV_PART_FIELD, "segment");
    lsm_part_number(inspection, "number", segment->number);
    lsm_part_text(inspection, "type",
                  segment->kind == LSM_SEGMENT_LOG ? "sealed log" : "value file");
    lsm_part_hex(inspection, "file_id", segment->file_id);
    lsm_part_number(inspection, "file_size", segment->size);
    return true;
}

static bool show_cache(lsmkv_inspection *inspection, const lsm_edit *edit, size_t index,
                       lsmkv_part *part) {
    lsm_part_begin(inspection, part, LSMKV_PART_FIELD, "cache segment");
    lsm_part_number(inspection, "number", edit->caches[index].number);
    lsm_part_hex(inspection, "file_id", edit->caches[index].file_id);
    lsm_part_number(inspection, "namespace", edit->caches[index].space_id);
    return true;
}

static bool show_dropped(lsmkv_inspection *inspection, const lsm_edit *edit,
                         size_t index, lsmkv_part *part) {
    lsm_part_begin(inspection, part, LSMKV_PART_FIELD, "dropped cache segment");
    lsm_part_number(inspection, "number", edit->dropped_caches[index]);
    return true;
}

static void add_bounds(lsmkv_inspection *inspection, const lsm_table_info *info) {
    lsm_part_skey(inspection, "smallest_namespace", "smallest",
                  lsm_ikey_skey(info->smallest));
    lsm_part_number(inspection, "smallest_sequence",
                    lsm_trailer_sequence(lsm_ikey_trailer(info->smallest)));
    lsm_part_skey(inspection, "largest_namespace", "largest",
                  lsm_ikey_skey(info->largest));
    if (lsm_bound_is_exclusive(info->largest)) {
        lsm_part_text(inspection, "largest_is", "exclusive");
    } else {
        lsm_part_number(inspection, "largest_sequence",
                        lsm_trailer_sequence(lsm_ikey_trailer(info->largest)));
    }
}

static bool show_added(lsmkv_inspection *inspection, const lsm_edit *edit, size_t index,
                       lsmkv_part *part) {
    const lsm_table_info *info = &edit->added[index].info;

    lsm_part_begin(inspection, part, LSMKV_PART_FIELD, "added table");
    lsm_part_number(inspection, "level", edit->added[index].level);
    lsm_part_number(inspection, "number", info->number);
    lsm_part_hex(inspection, "file_id", info->file_id);
    lsm_part_number(inspection, "file_size", info->file_size);
    lsm_part_number(inspection, "tail_size", info->tail_size);
    add_bounds(inspection, info);
    lsm_part_number(inspection, "sequence_min", info->sequence_min);
    lsm_part_number(inspection, "sequence_max", info->sequence_max);
    lsm_part_number(inspection, "entries", info->entry_count);
    lsm_part_number(inspection, "tombstones", info->tombstone_count);
    lsm_part_number(inspection, "raw_bytes", info->raw_bytes);
    lsm_part_number(inspection, "expire_all_at", info->expire_all_at);
    lsm_part_number(inspection, "expire_half_at", info->expire_half_at);
    lsm_part_number(inspection, "range_deletes", info->range_delete_count);
    lsm_part_number(inspection, "segments", info->segment_count);
    return true;
}

/* Where values of the table that was shown last lie. */
static bool show_share(lsmkv_inspection *inspection, const lsm_edit *edit,
                       lsm_edit_walk *walk, lsmkv_part *part) {
    const lsm_table_info *info = &edit->added[walk->index - 1].info;

    if (walk->share >= info->segment_count) {
        walk->share = 0;
        return false;
    }
    const lsm_segment_share *share = &info->segments[walk->share++];
    lsm_part_begin(inspection, part, LSMKV_PART_FIELD, "values of the table");
    lsm_part_number(inspection, "table", info->number);
    lsm_part_number(inspection, "segment", share->number);
    lsm_part_number(inspection, "bytes", share->bytes);
    return true;
}

typedef bool (*show_fn)(lsmkv_inspection *inspection, const lsm_edit *edit,
                        size_t index, lsmkv_part *part);

bool lsm_inspect_edit_next(lsmkv_inspection *inspection, const lsm_edit *edit,
                           lsm_edit_walk *walk, lsmkv_part *part) {
    const struct {
        show_fn show;
        size_t count;
    } groups[] = {
        {show_number, NUMBERS},
        {show_origin, edit->origin_count},
        {show_log, edit->log_count},
        {show_segment, edit->segment_count},
        {show_cache, edit->cache_count},
        {show_dropped, edit->dropped_cache_count},
        {show_deleted, edit->deleted_count},
        {show_added, edit->added_count},
    };

    while (walk->group < (int)LSM_ARRAY_COUNT(groups)) {
        bool tables = groups[walk->group].show == show_added;
        if (tables && walk->index > 0 && show_share(inspection, edit, walk, part)) {
            return true;
        }
        if (walk->index >= groups[walk->group].count) {
            walk->group++;
            walk->index = 0;
        } else if (groups[walk->group].show(inspection, edit, walk->index++, part)) {
            return true;
        }
    }
    return false;
}
