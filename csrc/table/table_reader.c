/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening a table and fetching its blocks.
 *
 * Opening reads the tail once, checks every byte of it, and takes over what point reads
 * need in the form they need it: the filter at a cache line, the index as a search
 * tree. The tail itself is not kept.
 */
#include "table/table_reader.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/budget.h"
#include "base/limits.h"
#include "format/codec.h"
#include "table/table_private.h"

enum {
    STACK_READ_SIZE = 8192, /* blocks up to this are read onto the stack */
    ENTRY_NUMBERS_MAX = 24, /* bytes that the numbers of a stored entry take */
};

static LSM_COLD lsmkv_status fail_table(const lsm_table *table, uint64_t offset,
                                        const char *what, lsmkv_error *err) {
    return lsm_fail_at(err, LSMKV_CORRUPTION, table->name, (int64_t)offset, "%s", what);
}

/* A block of the tail other than an index block. */
typedef struct tail_block {
    lsm_block_handle handle;
    lsm_block_type type;
    const char *name;
} tail_block;

/* Its payload, taken out of the tail that *payload is at first; the frame checked. */
static lsmkv_status open_tail_block(const lsm_table *table, const lsm_footer *footer,
                                    tail_block block, lsm_slice *payload,
                                    lsmkv_error *err) {
    lsm_block_handle handle = block.handle;
    size_t at = (size_t)(handle.offset - footer->tail_offset);
    lsm_block_frame frame;

    /* lsm_footer_decode made sure that the handle lies inside. */
    *payload = lsm_slice_make(payload->data + at, (size_t)handle.size);
    if (!lsm_block_frame_open(
            lsm_slice_make(payload->data, payload->size + LSM_BLOCK_FRAME_SIZE),
            footer->file_id, handle.offset, &frame) ||
        frame.type != block.type || frame.codec != 0) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, table->name, (int64_t)handle.offset,
                           "the checksum of the %s is wrong", block.name);
    }
    return LSMKV_OK;
}

/* Moves *at behind a block that begins there, if there is one. false: it does not. */
static bool pass_block(lsm_block_handle handle, uint64_t *at) {
    if (handle.size == 0) {
        return true;
    }
    bool begins_there = handle.offset == *at;
    *at = handle.offset + handle.size + LSM_BLOCK_FRAME_SIZE;
    return begins_there;
}

/* Where the index blocks begin. */
static uint64_t index_begin(const lsm_footer *footer) {
    uint64_t at = footer->tail_offset;
    bool ok = pass_block(footer->filter, &at) && pass_block(footer->range_deletes, &at);

    return ok ? at : UINT64_MAX;
}

/* Whether the blocks of the tail lie end to end up to `end`; what lies between the
 * first of them and the end of the index is for the index to check. */
static bool tail_is_whole(const lsm_footer *footer, uint64_t end) {
    uint64_t at = index_begin(footer);

    if (footer->index.size != 0 && at != UINT64_MAX) {
        at = footer->index.offset + footer->index.size + LSM_BLOCK_FRAME_SIZE;
    }
    return pass_block(footer->properties, &at) && at == end;
}

/* Compares what the MANIFEST says with what the footer says. */
static lsmkv_status check_footer(const lsm_table *table, const lsm_footer *footer,
                                 lsmkv_error *err) {
    const lsm_table_info *info = &table->info;
    uint64_t at = info->file_size - LSM_FOOTER_SIZE;

    if (memcmp(footer->uuid, table->context->uuid, LSM_UUID_SIZE) != 0 &&
        !lsm_uuids_have(table->context->origins, footer->uuid)) {
        return fail_table(table, at, "the table belongs to another database", err);
    }
    if (footer->number != info->number || footer->file_id != info->file_id) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, table->name, (int64_t)at,
                           "table %llu with file id %016llx, expected id %016llx",
                           (unsigned long long)footer->number,
                           (unsigned long long)footer->file_id,
                           (unsigned long long)info->file_id);
    }
    if (footer->tail_offset != info->file_size - info->tail_size) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, table->name, (int64_t)at,
                           "the tail begins at %llu, expected %llu",
                           (unsigned long long)footer->tail_offset,
                           (unsigned long long)(info->file_size - info->tail_size));
    }
    if (!tail_is_whole(footer, at)) {
        return fail_table(table, at, "the blocks of the tail do not lie end to end",
                          err);
    }
    return LSMKV_OK;
}

static lsmkv_status check_properties(const lsm_table *table, uint64_t at,
                                     lsmkv_error *err) {
    const lsm_properties *properties = &table->properties;
    const lsm_table_info *info = &table->info;

    if (properties->entry_count != info->entry_count ||
        properties->tombstone_count != info->tombstone_count ||
        properties->sequence_min != info->sequence_min ||
        properties->sequence_max != info->sequence_max ||
        properties->range_delete_count != info->range_delete_count ||
        properties->key_bytes + properties->value_bytes != info->raw_bytes) {
        return lsm_fail_at(
            err, LSMKV_CORRUPTION, table->name, (int64_t)at,
            "the table says %llu entries up to sequence %llu, the MANIFEST %llu "
            "up to %llu",
            (unsigned long long)properties->entry_count,
            (unsigned long long)properties->sequence_max,
            (unsigned long long)info->entry_count,
            (unsigned long long)info->sequence_max);
    }
    return LSMKV_OK;
}

static lsmkv_status take_filter(lsm_table *table, const lsm_footer *footer,
                                lsm_slice tail, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    tail_block block = {footer->filter, LSM_BLOCK_FILTER, "filter"};

    if (footer->filter.size == 0) {
        return LSMKV_OK;
    }
    LSM_TRY(open_tail_block(table, footer, block, &tail, err));
    table->filter = lsm_alloc_aligned(tail.size);
    if (table->filter == NULL) {
        return lsm_fail_memory(err, tail.size);
    }
    memcpy(table->filter, tail.data, tail.size);
    table->filter_size = tail.size;
    if (!lsm_bloom_open(&table->bloom, lsm_slice_make(table->filter, tail.size))) {
        return fail_table(table, footer->filter.offset, "malformed filter", err);
    }
out:
    return status;
}

/* Whether the bounds of the table are those of its range deletes where they say so,
 * and lie outside of them where they do not. */
static bool bounds_fit(const lsm_table_info *info, const lsm_range_set *ranges) {
    const lsm_range_fragment *first = &ranges->fragments[0];
    const lsm_range_fragment *last = &ranges->fragments[ranges->count - 1];
    uint64_t trailer =
        lsm_trailer_make(lsm_range_sequences(ranges, first)[0], LSM_KIND_RANGE_DELETE);
    int start = lsm_slice_compare(lsm_ikey_skey(info->smallest), first->start);
    int stop = lsm_slice_compare(lsm_ikey_skey(info->largest), last->stop);
    bool is_start = start == 0 && lsm_ikey_trailer(info->smallest) == trailer;
    bool is_stop = stop == 0 && lsm_bound_is_exclusive(info->largest);
    bool from_entry =
        lsm_trailer_tag(lsm_ikey_trailer(info->smallest)) != LSM_KIND_RANGE_DELETE;

    return (is_start || (from_entry && start <= 0)) &&
           (is_stop || (!lsm_bound_is_exclusive(info->largest) && stop >= 0)) &&
           (info->entry_count != 0 || (is_start && is_stop));
}

static bool sequences_fit(const lsm_table_info *info, const lsm_range_set *ranges) {
    for (size_t i = 0; i < ranges->sequence_count; i++) {
        if (ranges->sequences[i] < info->sequence_min ||
            ranges->sequences[i] > info->sequence_max) {
            return false;
        }
    }
    return true;
}

static lsmkv_status take_ranges(lsm_table *table, const lsm_footer *footer,
                                lsm_slice tail, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    const lsm_table_info *info = &table->info;
    uint64_t at = footer->range_deletes.offset;
    tail_block block = {footer->range_deletes, LSM_BLOCK_RANGE_DELETES,
                        "range deletes"};

    if (!lsm_bounds_check(info->smallest, info->largest,
                          footer->range_deletes.size != 0)) {
        return fail_table(table, at, "the MANIFEST says impossible bounds", err);
    }
    if (footer->range_deletes.size == 0) {
        return info->range_delete_count == 0
                   ? LSMKV_OK
                   : fail_table(table, at, "the range deletes are missing", err);
    }
    LSM_TRY(open_tail_block(table, footer, block, &tail, err));
    table->range_bytes = lsm_alloc(tail.size);
    if (table->range_bytes == NULL) {
        return lsm_fail_memory(err, tail.size);
    }
    memcpy(table->range_bytes, tail.data, tail.size);
    table->range_size = tail.size;
    status = lsm_range_set_decode(lsm_slice_make(table->range_bytes, tail.size),
                                  &table->ranges);
    if (status == LSMKV_NO_MEMORY) {
        return lsm_fail_memory(err, tail.size);
    }
    if (status != LSMKV_OK || table->ranges->count != info->range_delete_count ||
        !bounds_fit(info, table->ranges) || !sequences_fit(info, table->ranges)) {
        return fail_table(table, at, "malformed range deletes", err);
    }
out:
    return status;
}

/* Takes everything that is needed out of the tail. */
static lsmkv_status take_tail(lsm_table *table, lsm_slice tail, lsmkv_error *err) {
    const uint8_t *end = tail.data + tail.size;
    lsm_slice properties = tail;
    lsm_footer footer;
    lsmkv_status status = LSMKV_OK;

    LSM_TRY(lsm_footer_decode(end - LSM_FOOTER_SIZE, table->info.file_size, table->name,
                              &footer, err));
    LSM_TRY(check_footer(table, &footer, err));
    LSM_TRY(take_filter(table, &footer, tail, err));
    tail_block block = {footer.properties, LSM_BLOCK_PROPERTIES, "properties"};
    LSM_TRY(open_tail_block(table, &footer, block, &properties, err));
    if (!lsm_properties_decode(properties, &table->properties)) {
        return fail_table(table, footer.properties.offset, "malformed properties", err);
    }
    LSM_TRY(check_properties(table, footer.properties.offset, err));
    LSM_TRY(take_ranges(table, &footer, tail, err));
    lsm_index_source source = {.info = &table->info,
                               .footer = &footer,
                               .properties = &table->properties,
                               .tail = tail,
                               .begin = index_begin(&footer),
                               .file = table->name};
    LSM_TRY(lsm_table_index_init(&table->index, &source, err));
    table->info.smallest = table->index.smallest;
    table->info.largest = table->index.largest;
out:
    return status;
}

static lsmkv_status open_file(lsm_table *table, lsmkv_error *err) {
    lsmkv_status status =
        lsm_file_open(table->dir, table->name, LSM_OPEN_READ, &table->file, err);
    if (status != LSMKV_NOT_FOUND) {
        return status;
    }
    return table->context->read_only
               ? lsm_fail_at(err, LSMKV_CHANGED, table->name, -1,
                             "the table has been deleted since the database was "
                             "opened; refresh it, or open it again")
               : lsm_fail_at(err, LSMKV_CORRUPTION, table->name, -1,
                             "the MANIFEST names this table, but the file is missing");
}

/* Reads the tail of the file into memory the caller frees. */
static lsmkv_status read_tail(const lsm_table *table, uint8_t **tailp,
                              lsmkv_error *err) {
    const lsm_table_info *info = &table->info;
    lsmkv_status status = LSMKV_OK;
    uint64_t size = 0;

    LSM_TRY(lsm_file_size(table->file, &size, err));
    if (size != info->file_size) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, table->name, -1,
                           "the file has %llu bytes, expected %llu",
                           (unsigned long long)size,
                           (unsigned long long)info->file_size);
    }
    if (info->tail_size < LSM_FOOTER_SIZE || info->tail_size > size) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, table->name, -1,
                           "a tail of %llu bytes in a file of %llu",
                           (unsigned long long)info->tail_size,
                           (unsigned long long)size);
    }
    *tailp = lsm_alloc((size_t)info->tail_size);
    if (*tailp == NULL) {
        return lsm_fail_memory(err, (size_t)info->tail_size);
    }
    LSM_TRY(lsm_file_read_exact(table->file, size - info->tail_size, *tailp,
                                (size_t)info->tail_size, err));
out:
    return status;
}

/* A table without a file. NULL: no memory. */
static lsm_table *create(const lsm_table_context *context, const lsm_table_info *info) {
    lsm_table *table = lsm_calloc(1, sizeof(*table));

    if (table != NULL) {
        atomic_init(&table->refs, 1);
        table->cache = context->cache;
        table->dir = context->dir;
        table->info = *info;
        table->context = context;
        lsm_filename_make(table->name, LSM_NAME_TABLE, info->number);
    }
    return table;
}

static lsmkv_status load_tail(lsm_table *table, lsmkv_error *err) {
    uint8_t *tail = NULL;
    lsmkv_status status = LSMKV_OK;

    LSM_TRY(read_tail(table, &tail, err));
    LSM_ASSERT(tail != NULL);
    LSM_TRY(take_tail(table, lsm_slice_make(tail, (size_t)table->info.tail_size), err));
out:
    lsm_free(tail);
    return status;
}

lsmkv_status lsm_table_open(const lsm_table_context *context,
                            const lsm_table_info *info, lsm_table **tablep,
                            lsmkv_error *err) {
    lsm_table *table = create(context, info);
    lsmkv_status status = LSMKV_OK;

    *tablep = NULL;
    if (table == NULL) {
        return lsm_fail_memory(err, sizeof(*table));
    }
    LSM_TRY(open_file(table, err));
    LSM_TRY(load_tail(table, err));
    *tablep = table;
    table = NULL;
out:
    lsm_table_unref(table);
    return status;
}

lsmkv_status lsm_table_check_tail(const lsm_table *table, lsmkv_error *err) {
    lsm_table *again = create(table->context, &table->info);

    if (again == NULL) {
        return lsm_fail_memory(err, sizeof(*again));
    }
    again->file = table->file;
    lsmkv_status status = load_tail(again, err);
    again->file = NULL;
    lsm_table_unref(again);
    return status;
}

void lsm_table_ref(lsm_table *table) {
    /* relaxed: the caller already has the table; nothing is published by this. */
    atomic_fetch_add_explicit(&table->refs, 1, memory_order_relaxed);
}

void lsm_table_unref(lsm_table *table) {
    /* acq_rel: every holder's accesses come before the end by the last one. */
    if (table == NULL ||
        atomic_fetch_sub_explicit(&table->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    lsm_cache_drop(table->cache, table->index.slots, table->index.block_count);
    lsm_free_aligned(table->filter);
    lsm_range_set_destroy(table->ranges);
    lsm_free(table->range_bytes);
    lsm_table_index_deinit(&table->index);
    lsm_file_drop(table->file);
    lsm_free(table);
}

static void release(lsm_retired *retired) {
    lsm_table_unref(LSM_CONTAINER_OF(retired, lsm_table, retired));
}

void lsm_table_retire(lsm_table *table, lsm_epoch *epoch) {
    lsm_epoch_retire(epoch, &table->retired, release);
}

uint64_t lsm_table_charge(const lsm_table *table) {
    uint64_t charge = sizeof(*table) + table->filter_size + table->index.charge;

    return table->ranges == NULL
               ? charge
               : charge + table->range_size + lsm_range_set_charge(table->ranges);
}

const lsm_range_set *lsm_table_ranges(const lsm_table *table) {
    return table->ranges;
}

uint64_t lsm_table_filter_charge(const lsm_table *table) {
    return table->filter_size;
}

const lsm_properties *lsm_table_properties(const lsm_table *table) {
    return &table->properties;
}

/* Whether a decoded block is the one that belongs between its separators. */
static bool block_fits(const lsm_table *table, uint32_t number,
                       const lsm_block *block) {
    const lsm_table_index *index = &table->index;
    lsm_slice first = lsm_block_entry_get(block, 0).ikey;
    lsm_slice last = lsm_block_entry_get(block, block->entry_count - 1).ikey;
    int end = lsm_ikey_compare(last, lsm_table_index_separator(index, number));

    if (number + 1 == index->block_count ? end != 0 : end > 0) {
        return false;
    }
    if (number == 0) {
        /* Entries begin behind a bound that a range delete set. */
        int begin = lsm_ikey_compare(first, index->smallest);
        return lsm_trailer_tag(lsm_ikey_trailer(index->smallest)) ==
                       LSM_KIND_RANGE_DELETE
                   ? begin > 0
                   : begin == 0;
    }
    return lsm_ikey_compare(first, lsm_table_index_separator(index, number - 1)) > 0;
}

/* Decodes the entries themselves. */
static lsmkv_status decode_raw(const lsm_table *table, uint32_t block, lsm_slice raw,
                               lsm_block_use use, lsm_block_room *room,
                               lsmkv_error *err) {
    lsm_block_shape shape;

    if (!lsm_block_measure(raw, use == LSM_USE_LOOKUP, &shape)) {
        return fail_table(table, table->index.offsets[block], "malformed data block",
                          err);
    }
    if (room->block == NULL || room->size < shape.size) {
        lsm_cached_block *larger = lsm_cached_block_create(table->cache, shape.size);

        if (larger == NULL) {
            return lsm_fail_memory(err, shape.size);
        }
        lsm_cached_block_unref(room->block);
        *room = (lsm_block_room){larger, shape.size};
    }
    if (!lsm_block_decode(raw, &shape, room->block->data, &room->block->block) ||
        !block_fits(table, block, &room->block->block)) {
        return fail_table(table, table->index.offsets[block],
                          "data block with entries that are malformed or out of order",
                          err);
    }
    return LSMKV_OK;
}

/* Of a data block of an untrusted table, before memory is asked for. */
static lsmkv_status check_limits(const lsm_table *table, size_t stored_size,
                                 const lsm_block_frame *frame, lsmkv_error *err) {
    if (LSM_LIKELY(!lsm_is_limited())) {
        return LSMKV_OK;
    }
    if (frame->raw_size > LSM_UNTRUSTED_BLOCK_MAX) {
        return lsm_fail_limit(err, table->name, "bytes of a data block",
                              frame->raw_size, LSM_UNTRUSTED_BLOCK_MAX);
    }
    return frame->raw_size / LSM_UNTRUSTED_RATIO_MAX <= stored_size
               ? LSMKV_OK
               : lsm_fail_limit(err, table->name,
                                "times that a data block grows when decompressed",
                                frame->raw_size / (stored_size + 1),
                                LSM_UNTRUSTED_RATIO_MAX);
}

/* Whether a block may be that large before its codec: the table knows what its keys and
 * values take, and an entry adds no more than its numbers. */
static bool raw_size_fits(const lsm_table *table, uint32_t raw_size) {
    uint64_t most = 0;

    return !lsm_mul_ok(table->info.entry_count, ENTRY_NUMBERS_MAX, &most) ||
           !lsm_add_ok(table->info.raw_bytes, most, &most) || raw_size <= most;
}

lsmkv_status lsm_table_decode(const lsm_table *table, uint32_t block, lsm_slice stored,
                              lsm_block_use use, lsm_block_room *room,
                              lsmkv_error *err) {
    uint64_t offset = table->index.offsets[block];
    lsmkv_status status = LSMKV_OK;
    lsm_block_frame frame;
    uint8_t *raw = NULL;

    if (!lsm_block_frame_open(stored, table->info.file_id, offset, &frame)) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, table->name, (int64_t)offset,
                           "the checksum of a data block of %zu bytes is wrong",
                           stored.size);
    }
    if (frame.type != LSM_BLOCK_DATA) {
        return fail_table(table, offset, "a block of another type where data belongs",
                          err);
    }
    stored.size -= LSM_BLOCK_FRAME_SIZE;
    LSM_TRY(check_limits(table, stored.size, &frame, err));
    if (frame.codec == 0) {
        return decode_raw(table, block, stored, use, room, err);
    }
    if (!raw_size_fits(table, frame.raw_size)) {
        return fail_table(table, offset,
                          "a data block larger than what the table holds", err);
    }
    raw = lsm_alloc(frame.raw_size);
    if (raw == NULL) {
        return lsm_fail_memory(err, frame.raw_size);
    }
    status = lsm_codec_decompress(frame.codec, stored, raw, frame.raw_size, err);
    if (status == LSMKV_OK) {
        status = decode_raw(table, block, lsm_slice_make(raw, frame.raw_size), use,
                            room, err);
    } else if (status == LSMKV_CORRUPTION) {
        status = fail_table(table, offset, "a data block does not decompress", err);
    }
out:
    lsm_free(raw);
    return status;
}

/* Reads and decodes one block for the cache. */
static lsmkv_status read_block(const lsm_table *table, uint32_t block,
                               lsm_cached_block **blockp, lsmkv_error *err) {
    uint64_t offset = table->index.offsets[block];
    size_t size = (size_t)(table->index.offsets[block + 1] - offset);
    uint8_t small[STACK_READ_SIZE];
    uint8_t *large = size > sizeof(small) ? lsm_alloc(size) : NULL;
    uint8_t *stored = size > sizeof(small) ? large : small;
    lsm_block_room room = {NULL, 0};
    lsmkv_status status = LSMKV_OK;

    *blockp = NULL;
    if (stored == NULL) {
        return lsm_fail_memory(err, size);
    }
    LSM_TRY(lsm_file_read_exact(table->file, offset, stored, size, err));
    LSM_TRY(lsm_table_decode(table, block, lsm_slice_make(stored, size), LSM_USE_LOOKUP,
                             &room, err));
    *blockp = room.block;
    room.block = NULL;
out:
    lsm_cached_block_unref(room.block);
    lsm_free(large);
    return status;
}

lsmkv_status lsm_table_load(lsm_table *table, uint32_t block, lsm_cached_block **blockp,
                            lsmkv_error *err) {
    lsmkv_status status = read_block(table, block, blockp, err);

    if (status == LSMKV_OK) {
        *blockp = lsm_cache_insert(table->cache, &table->index.slots[block], *blockp);
    }
    return status;
}

lsmkv_status lsm_table_load_hot(lsm_table *table, uint32_t block, lsmkv_error *err) {
    lsm_cached_block *loaded = NULL;
    lsmkv_status status = read_block(table, block, &loaded, err);

    if (status == LSMKV_OK) {
        lsm_cache_insert_hot(table->cache, &table->index.slots[block], loaded);
    }
    return status;
}
