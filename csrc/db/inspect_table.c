/* SPDX-License-Identifier: Apache-2.0
 *
 * Inspection of tables: block after block, as inspect_plan.c has planned it.
 */
#include "db/inspect_table.h"

#include "base/alloc.h"
#include "format/bloom.h"
#include "format/codec.h"
#include "table/range_set.h"

typedef enum stage { HEAD, NUMBER, BLOCKS, DATA, INDEX, RANGES, COUNTS, END } stage;

typedef struct table_state {
    stage stage;
    lsm_table_plan plan;
    size_t next; /* block of the plan */
    uint64_t at; /* up to here everything was shown */
    bool damaged;
    lsm_found_block found; /* at hand */
    lsm_slice raw;         /* of it; lent by the window or by `unpacked` */
    lsm_buf unpacked;
    lsm_buf decoded; /* what the block borrows */
    lsm_block block;
    uint32_t entry;
    lsm_buf last; /* internal key of the last entry of the data block before */
    lsm_block_cursor cursor;
    lsm_range_set *ranges;
    size_t fragment;
    size_t sequence;
    lsm_properties said; /* by the properties block */
    lsm_properties counted;
    lsm_found_block said_in;
} table_state;

static void destroy(void *memory) {
    table_state *state = memory;

    lsm_table_plan_deinit(&state->plan);
    lsm_buf_deinit(&state->unpacked);
    lsm_buf_deinit(&state->decoded);
    lsm_buf_deinit(&state->last);
    lsm_block_cursor_deinit(&state->cursor);
    lsm_range_set_destroy(state->ranges);
    lsm_free(state);
}

static const char *block_name(lsm_block_type type) {
    switch (type) {
        case LSM_BLOCK_DATA:
            return "data block";
        case LSM_BLOCK_INDEX:
            return "index block";
        case LSM_BLOCK_TOP_INDEX:
            return "top index block";
        case LSM_BLOCK_FILTER:
            return "filter block";
        case LSM_BLOCK_PROPERTIES:
            return "properties block";
        case LSM_BLOCK_RANGE_DELETES:
        default:
            return "range delete block";
    }
}

static uint64_t end_of(const lsm_found_block *block) {
    return block->offset + block->size + LSM_BLOCK_FRAME_SIZE;
}

static void show_head(lsmkv_inspection *inspection, lsmkv_part *part) {
    table_state *state = inspection->state;
    const lsm_footer *footer = &state->plan.footer;

    lsm_part_file(inspection, part);
    state->stage = BLOCKS;
    if (state->plan.has_footer) {
        lsm_part_number(inspection, "number", footer->number);
        lsm_part_hex(inspection, "file_id", footer->file_id);
        lsm_part_id(inspection, "uuid", footer->uuid, LSM_UUID_SIZE);
        lsm_part_number(inspection, "tail_offset", footer->tail_offset);
        if (inspection->number != 0 && inspection->number != footer->number) {
            state->stage = NUMBER;
        }
    }
}

static void damage(lsmkv_inspection *inspection, lsmkv_part *part, const char *name,
                   uint64_t from, uint64_t to) {
    table_state *state = inspection->state;

    state->damaged = true;
    lsm_part_problem(inspection, part, LSMKV_PART_DAMAGE, name, from, to);
}

static void show_number_problem(lsmkv_inspection *inspection, lsmkv_part *part) {
    table_state *state = inspection->state;

    lsm_inspect_say(inspection, "written as number %llu, its name says %llu",
                    (unsigned long long)state->plan.footer.number,
                    (unsigned long long)inspection->number);
    damage(inspection, part, "footer", inspection->size - LSM_FOOTER_SIZE,
           inspection->size);
    state->stage = BLOCKS;
}

/* Says why a block that is there is not shown. */
static void damaged_block(lsmkv_inspection *inspection, lsmkv_part *part) {
    table_state *state = inspection->state;

    damage(inspection, part, block_name(state->found.type), state->found.offset,
           end_of(&state->found));
}

static bool may_unpack(const lsm_found_block *found, const lsm_block_frame *frame) {
    return frame->raw_size <= LSM_INSPECT_RAW_MAX ||
           frame->raw_size / LSM_INSPECT_RATIO_MAX <= found->size;
}

/* Makes state->raw the payload. *problem: what is wrong with it; NULL: nothing. */
static lsmkv_status unpack(lsmkv_inspection *inspection, const lsm_block_frame *frame,
                           lsm_slice stored, const char **problem, lsmkv_error *err) {
    table_state *state = inspection->state;
    lsmkv_error failure;

    *problem = NULL;
    state->raw = stored;
    if (frame->codec == LSMKV_CODEC_NONE) {
        return LSMKV_OK;
    }
    if (state->found.type != LSM_BLOCK_DATA) {
        *problem = "only data blocks are compressed";
        return LSMKV_OK;
    }
    lsm_buf_clear(&state->unpacked);
    if (!lsm_buf_reserve(&state->unpacked, frame->raw_size)) {
        return lsm_fail_memory(err, frame->raw_size);
    }
    lsmkv_status status = lsm_codec_decompress(
        frame->codec, stored, state->unpacked.data, frame->raw_size, &failure);
    if (status == LSMKV_CORRUPTION || status == LSMKV_UNSUPPORTED_VERSION) {
        lsm_inspect_say(inspection, "%s", failure.message);
        *problem = inspection->problem.message;
        return LSMKV_OK;
    }
    state->raw = lsm_slice_make(state->unpacked.data, frame->raw_size);
    return status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &failure);
}

static lsm_block_entry last_entry(const lsm_block *block) {
    return lsm_block_entry_get(block, block->entry_count - 1);
}

/* Counts what the properties tell the number of. */
static void count_block(table_state *state) {
    lsm_properties *counted = &state->counted;

    counted->data_block_count++;
    counted->entry_count += state->block.entry_count;
    for (uint32_t i = 0; i < state->block.entry_count; i++) {
        lsm_block_entry entry = lsm_block_entry_get(&state->block, i);
        uint8_t tag = lsm_trailer_tag(lsm_ikey_trailer(entry.ikey));

        counted->tombstone_count += lsm_tag_kind(tag) == LSM_KIND_DELETE;
        counted->key_bytes += entry.ikey.size;
        counted->value_bytes += entry.field.size;
    }
}

/* As the other open_*: decodes state->raw, and adds the facts of its kind. */
static lsmkv_status open_data(lsmkv_inspection *inspection, const char **problem,
                              lsmkv_error *err) {
    table_state *state = inspection->state;
    lsm_block_shape shape;

    lsm_buf_clear(&state->decoded);
    if (!lsm_block_measure(state->raw, false, &shape)) {
        *problem = "the checksum holds, but the entries are malformed";
        return LSMKV_OK;
    }
    if (!lsm_buf_reserve(&state->decoded, shape.size)) {
        return lsm_fail_memory(err, shape.size);
    }
    if (!lsm_block_decode(state->raw, &shape, state->decoded.data, &state->block)) {
        *problem = "the checksum holds, but the entries are malformed";
        return LSMKV_OK;
    }
    lsm_slice first = lsm_block_entry_get(&state->block, 0).ikey;
    lsm_slice last = last_entry(&state->block).ikey;
    if (state->last.size != 0 &&
        lsm_ikey_compare(lsm_buf_slice(&state->last), first) >= 0) {
        *problem = "it begins before the end of the data block before";
        return LSMKV_OK;
    }
    lsm_buf_clear(&state->last);
    if (!lsm_buf_append(&state->last, last.data, last.size)) {
        return lsm_fail_memory(err, last.size);
    }
    count_block(state);
    lsm_part_number(inspection, "entries", state->block.entry_count);
    lsm_part_skey(inspection, "first_namespace", "first_key", lsm_ikey_skey(first));
    lsm_part_skey(inspection, "last_namespace", "last_key", lsm_ikey_skey(last));
    state->entry = 0;
    state->stage = inspection->how.entries ? DATA : BLOCKS;
    return LSMKV_OK;
}

/* Index blocks stand in no order with each other that could be checked here. */
static void reset_cursor(table_state *state) {
    lsm_block_cursor_deinit(&state->cursor);
    lsm_block_cursor_open(&state->cursor, state->raw);
}

static lsmkv_status open_index(lsmkv_inspection *inspection, const char **problem,
                               lsmkv_error *err) {
    table_state *state = inspection->state;
    uint64_t count = 0;
    lsm_block_handle handle;
    bool ok = true;

    reset_cursor(state);
    while (lsm_block_cursor_next(&state->cursor)) {
        ok = ok && lsm_block_handle_decode(state->cursor.field, &handle);
        count++;
    }
    if (state->cursor.failed) {
        return lsm_fail_memory(err, LSM_IKEY_SIZE_MAX);
    }
    if (!ok || state->cursor.corrupt) {
        *problem = "the checksum holds, but the entries are malformed";
        return LSMKV_OK;
    }
    lsm_part_number(inspection, "entries", count);
    reset_cursor(state);
    state->stage = inspection->how.entries ? INDEX : BLOCKS;
    return LSMKV_OK;
}

static void open_filter(lsmkv_inspection *inspection, const char **problem) {
    table_state *state = inspection->state;
    lsm_bloom bloom;

    if (!lsm_bloom_open(&bloom, state->raw)) {
        *problem = "the checksum holds, but it is no filter";
        return;
    }
    lsm_part_number(inspection, "lines", bloom.line_count);
    lsm_part_number(inspection, "probes", bloom.probes);
}

static void open_properties(lsmkv_inspection *inspection, const char **problem) {
    table_state *state = inspection->state;
    lsm_properties *said = &state->said;

    if (!lsm_properties_decode(state->raw, said)) {
        *problem = "the checksum holds, but the properties are malformed";
        return;
    }
    state->said_in = state->found;
    lsm_part_number(inspection, "data_blocks", said->data_block_count);
    lsm_part_number(inspection, "entries", said->entry_count);
    lsm_part_number(inspection, "tombstones", said->tombstone_count);
    lsm_part_number(inspection, "key_bytes", said->key_bytes);
    lsm_part_number(inspection, "value_bytes", said->value_bytes);
    lsm_part_number(inspection, "sequence_min", said->sequence_min);
    lsm_part_number(inspection, "sequence_max", said->sequence_max);
    lsm_part_number(inspection, "index_blocks", said->index_block_count);
    lsm_part_number(inspection, "expire_min", said->expire_min);
    lsm_part_number(inspection, "expire_max", said->expire_max);
    lsm_part_number(inspection, "range_deletes", said->range_delete_count);
}

static lsmkv_status open_ranges(lsmkv_inspection *inspection, const char **problem,
                                lsmkv_error *err) {
    table_state *state = inspection->state;

    lsm_range_set_destroy(state->ranges);
    state->ranges = NULL;
    lsmkv_status status = lsm_range_set_decode(state->raw, &state->ranges);
    if (status == LSMKV_CORRUPTION) {
        *problem = "the checksum holds, but the range deletes are malformed";
        return LSMKV_OK;
    }
    if (status != LSMKV_OK) {
        return lsm_fail_memory(err, state->raw.size);
    }
    state->counted.range_delete_count += state->ranges->count;
    lsm_part_number(inspection, "fragments", state->ranges->count);
    lsm_part_number(inspection, "sequences", state->ranges->sequence_count);
    state->fragment = 0;
    state->sequence = 0;
    state->stage = inspection->how.entries ? RANGES : BLOCKS;
    return LSMKV_OK;
}

static lsmkv_status open_block(lsmkv_inspection *inspection, const char **problem,
                               lsmkv_error *err) {
    table_state *state = inspection->state;

    switch (state->found.type) {
        case LSM_BLOCK_DATA:
            return open_data(inspection, problem, err);
        case LSM_BLOCK_INDEX:
        case LSM_BLOCK_TOP_INDEX:
            return open_index(inspection, problem, err);
        case LSM_BLOCK_FILTER:
            open_filter(inspection, problem);
            return LSMKV_OK;
        case LSM_BLOCK_PROPERTIES:
            open_properties(inspection, problem);
            return LSMKV_OK;
        case LSM_BLOCK_RANGE_DELETES:
        default:
            return open_ranges(inspection, problem, err);
    }
}

/* Says how the bytes of a block differ from what was written. */
static void say_checksum(lsmkv_inspection *inspection, lsm_slice stored) {
    const table_state *state = inspection->state;
    size_t size = stored.size - 8;
    uint64_t expected = lsm_get_u64(stored.data + size);
    uint64_t found =
        lsm_checksum(inspection->file_id, state->found.offset, stored.data, size);

    if (lsm_checksum_agrees(expected, found)) {
        lsm_inspect_say(inspection, "the checksum holds, but its frame is malformed");
    } else {
        lsm_inspect_say(inspection, "checksum is %016llx, expected %016llx",
                        (unsigned long long)found, (unsigned long long)expected);
    }
}

static lsmkv_status show_block(lsmkv_inspection *inspection, lsmkv_part *part,
                               lsmkv_error *err) {
    table_state *state = inspection->state;
    lsmkv_status status = LSMKV_OK;
    const uint8_t *bytes = NULL;
    const char *problem = NULL;
    lsm_block_frame frame = {.type = LSM_BLOCK_DATA};

    state->found = state->plan.blocks[state->next++];
    state->at = end_of(&state->found);
    size_t size = (size_t)state->found.size + LSM_BLOCK_FRAME_SIZE;
    LSM_TRY(lsm_inspect_fetch(inspection, state->found.offset, size, &bytes, err));
    lsm_slice stored = lsm_slice_make(bytes, size);
    if (!lsm_block_frame_open(stored, inspection->file_id, state->found.offset,
                              &frame)) {
        say_checksum(inspection, stored);
        damaged_block(inspection, part);
        goto out;
    }
    if (frame.type != state->found.type) {
        lsm_inspect_say(inspection, "a %s was written here", block_name(frame.type));
        damaged_block(inspection, part);
        goto out;
    }
    lsm_part_begin(inspection, part, LSMKV_PART_BLOCK, block_name(frame.type));
    part->offset = state->found.offset;
    part->size = size;
    lsm_part_number(inspection, "codec", frame.codec);
    lsm_part_number(inspection, "raw_size", frame.raw_size);
    if (frame.codec != LSMKV_CODEC_NONE && !may_unpack(&state->found, &frame)) {
        state->damaged = true; /* so that nothing is said about counts */
        lsm_part_text(inspection, "remark", "not decompressed: out of proportion");
        goto out;
    }
    stored.size -= LSM_BLOCK_FRAME_SIZE;
    LSM_TRY(unpack(inspection, &frame, stored, &problem, err));
    LSM_TRY(problem != NULL ? LSMKV_OK : open_block(inspection, &problem, err));
    if (problem != NULL) {
        if (problem != inspection->problem.message) {
            lsm_inspect_say(inspection, "%s", problem);
        }
        damaged_block(inspection, part);
    }
out:
    return status;
}

static bool show_entry(lsmkv_inspection *inspection, lsmkv_part *part) {
    table_state *state = inspection->state;

    if (state->entry >= state->block.entry_count) {
        return false;
    }
    lsm_block_entry entry = lsm_block_entry_get(&state->block, state->entry++);
    uint64_t trailer = lsm_ikey_trailer(entry.ikey);
    lsm_inspect_version version = {
        .sequence = lsm_trailer_sequence(trailer),
        .tag = lsm_trailer_tag(trailer),
        .skey = lsm_ikey_skey(entry.ikey),
        .field = entry.field,
        .offset = state->found.offset,
        .size = state->found.size + LSM_BLOCK_FRAME_SIZE,
    };
    lsm_part_version(inspection, part, &version);
    return true;
}

static bool show_separator(lsmkv_inspection *inspection, lsmkv_part *part) {
    table_state *state = inspection->state;
    lsm_block_handle handle = {0};

    if (!lsm_block_cursor_next(&state->cursor)) {
        return false;
    }
    (void)lsm_block_handle_decode(state->cursor.field, &handle); /* it has been once */
    lsm_slice ikey = lsm_buf_slice(&state->cursor.key);
    lsm_part_begin(inspection, part, LSMKV_PART_ENTRY, "separator");
    part->offset = state->found.offset;
    part->size = state->found.size + LSM_BLOCK_FRAME_SIZE;
    lsm_part_number(inspection, "sequence",
                    lsm_trailer_sequence(lsm_ikey_trailer(ikey)));
    lsm_part_skey(inspection, "namespace", "key", lsm_ikey_skey(ikey));
    lsm_part_number(inspection, "block_offset", handle.offset);
    lsm_part_number(inspection, "block_size", handle.size);
    return true;
}

/* A range delete for each sequence of each fragment. */
static bool show_range(lsmkv_inspection *inspection, lsmkv_part *part) {
    table_state *state = inspection->state;

    if (state->fragment >= state->ranges->count) {
        return false;
    }
    lsm_range_span span = lsm_range_span_of(state->ranges, state->fragment);
    lsm_inspect_version version = {
        .sequence = span.sequences[state->sequence],
        .tag = LSM_KIND_RANGE_DELETE,
        .skey = span.start,
        .field = span.stop,
        .offset = state->found.offset,
        .size = state->found.size + LSM_BLOCK_FRAME_SIZE,
    };
    lsm_part_version(inspection, part, &version);
    if (++state->sequence == span.count) {
        state->sequence = 0;
        state->fragment++;
    }
    return true;
}

/* Says of all blocks together what is wrong, where each is whole and none is missing:
 * that the index leads elsewhere, or the properties tell other numbers. */
static bool show_counts(lsmkv_inspection *inspection, lsmkv_part *part) {
    table_state *state = inspection->state;
    const lsm_properties *said = &state->said;
    const lsm_properties *counted = &state->counted;

    if (state->damaged) {
        return false;
    }
    if (state->plan.searched) {
        lsm_inspect_say(inspection, "index and footer do not lead to these blocks");
        damage(inspection, part, "index", state->plan.footer.tail_offset,
               inspection->size);
        return true;
    }
    if (said->data_block_count == counted->data_block_count &&
        said->entry_count == counted->entry_count &&
        said->tombstone_count == counted->tombstone_count &&
        said->key_bytes == counted->key_bytes &&
        said->value_bytes == counted->value_bytes &&
        said->range_delete_count == counted->range_delete_count) {
        return false;
    }
    lsm_inspect_say(inspection,
                    "they say %llu entries in %llu data blocks, %llu tombstones, %llu "
                    "range deletes; found are %llu, %llu, %llu, %llu",
                    (unsigned long long)said->entry_count,
                    (unsigned long long)said->data_block_count,
                    (unsigned long long)said->tombstone_count,
                    (unsigned long long)said->range_delete_count,
                    (unsigned long long)counted->entry_count,
                    (unsigned long long)counted->data_block_count,
                    (unsigned long long)counted->tombstone_count,
                    (unsigned long long)counted->range_delete_count);
    damage(inspection, part, "properties block", state->said_in.offset,
           end_of(&state->said_in));
    return true;
}

static void show_gap(lsmkv_inspection *inspection, lsmkv_part *part, uint64_t to) {
    table_state *state = inspection->state;

    if (inspection->file_id == 0) {
        lsm_inspect_say(inspection, "%s: without it no block can be verified",
                        state->plan.footer_problem.message);
    } else {
        lsm_inspect_say(inspection, "blocks expected, and none verifies here");
    }
    damage(inspection, part, "block", state->at, to);
    state->at = to;
}

/* The footer, or that there is none. */
static void show_footer(lsmkv_inspection *inspection, lsmkv_part *part) {
    table_state *state = inspection->state;
    const lsm_footer *footer = &state->plan.footer;
    uint64_t from = state->at;

    state->at = inspection->size;
    state->stage = COUNTS;
    if (!state->plan.has_footer) {
        lsm_inspect_say(inspection, "%s", state->plan.footer_problem.message);
        damage(inspection, part, "footer", from, inspection->size);
        return;
    }
    lsm_part_begin(inspection, part, LSMKV_PART_BLOCK, "footer");
    part->offset = from;
    part->size = LSM_FOOTER_SIZE;
    lsm_part_number(inspection, "index_offset", footer->index.offset);
    lsm_part_number(inspection, "index_size", footer->index.size);
    lsm_part_number(inspection, "filter_offset", footer->filter.offset);
    lsm_part_number(inspection, "filter_size", footer->filter.size);
    lsm_part_number(inspection, "properties_offset", footer->properties.offset);
    lsm_part_number(inspection, "properties_size", footer->properties.size);
    lsm_part_number(inspection, "range_deletes_offset", footer->range_deletes.offset);
    lsm_part_number(inspection, "range_deletes_size", footer->range_deletes.size);
}

/* What comes behind what was shown: a gap, a block, the footer. */
static lsmkv_status next_piece(lsmkv_inspection *inspection, lsmkv_part *part,
                               lsmkv_error *err) {
    table_state *state = inspection->state;
    bool more = state->next < state->plan.count;
    uint64_t end = inspection->size;

    if (more) {
        end = state->plan.blocks[state->next].offset;
    } else if (state->plan.has_footer) {
        end -= LSM_FOOTER_SIZE;
    } else if (inspection->file_id != 0) {
        end = state->at; /* the footer takes all the rest */
    }
    if (state->at < end) {
        show_gap(inspection, part, end);
        return LSMKV_OK;
    }
    if (more) {
        return show_block(inspection, part, err);
    }
    if (state->at < inspection->size || inspection->size == 0) {
        show_footer(inspection, part);
        return LSMKV_OK;
    }
    state->stage = COUNTS;
    return LSMKV_NOT_FOUND;
}

/* What is inside the block at hand. */
static bool next_inside(lsmkv_inspection *inspection, lsmkv_part *part) {
    table_state *state = inspection->state;

    switch (state->stage) {
        case DATA:
            return show_entry(inspection, part);
        case INDEX:
            return show_separator(inspection, part);
        case RANGES:
            return show_range(inspection, part);
        case HEAD:
        case NUMBER:
        case BLOCKS:
        case COUNTS:
        case END:
        default:
            return false;
    }
}

static lsmkv_status next(lsmkv_inspection *inspection, lsmkv_part *part,
                         lsmkv_error *err) {
    table_state *state = inspection->state;

    if (state->stage == HEAD) {
        show_head(inspection, part);
        return LSMKV_OK;
    }
    if (state->stage == NUMBER) {
        show_number_problem(inspection, part);
        return LSMKV_OK;
    }
    if (state->stage < COUNTS) {
        if (next_inside(inspection, part)) {
            return LSMKV_OK;
        }
        if (state->stage == INDEX && state->cursor.failed) {
            return lsm_fail_memory(err, LSM_IKEY_SIZE_MAX);
        }
        state->stage = BLOCKS;
        return next_piece(inspection, part, err);
    }
    bool shown = state->stage == COUNTS && show_counts(inspection, part);
    state->stage = END;
    return shown ? LSMKV_OK : LSMKV_NOT_FOUND;
}

lsmkv_status lsm_inspect_table(lsmkv_inspection *inspection, lsmkv_error *err) {
    static const lsm_inspect_ops ops = {next, destroy};
    table_state *state = lsm_calloc(1, sizeof(*state));

    if (state == NULL) {
        return lsm_fail_memory(err, sizeof(*state));
    }
    inspection->ops = &ops;
    inspection->state = state;
    return lsm_table_plan_make(inspection, &state->plan, err);
}
