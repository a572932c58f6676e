/* SPDX-License-Identifier: Apache-2.0
 *
 * Building and searching the index of a table.
 *
 * Building takes the index blocks twice: once to check them and to learn the sizes,
 * once to fill the arrays.
 */
#include "table/table_index.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/budget.h"
#include "base/limits.h"

enum {
    LINE_KEYS = LSM_CACHE_LINE / 8, /* prefixes to a line of the tree */
    LINE_KEYS_LOG2 = 3,
};

static LSM_COLD lsmkv_status fail_index(const lsm_index_source *source, uint64_t offset,
                                        const char *what, lsmkv_error *err) {
    return lsm_fail_at(err, LSMKV_CORRUPTION, source->file, (int64_t)offset,
                       "index block: %s", what);
}

/* The payload of the block at `handle`, its frame checked. */
static lsmkv_status open_block(const lsm_index_source *source, lsm_block_handle handle,
                               lsm_block_type type, lsm_slice *payload,
                               lsmkv_error *err) {
    uint64_t begin = source->footer->tail_offset;
    lsm_block_frame frame;
    lsm_slice stored;

    if (handle.offset < begin || handle.offset - begin > source->tail.size ||
        source->tail.size - (handle.offset - begin) < LSM_BLOCK_FRAME_SIZE ||
        handle.size >
            source->tail.size - (handle.offset - begin) - LSM_BLOCK_FRAME_SIZE) {
        return fail_index(source, handle.offset, "it does not lie in the tail", err);
    }
    stored = lsm_slice_make(source->tail.data + (handle.offset - begin),
                            (size_t)handle.size + LSM_BLOCK_FRAME_SIZE);
    if (!lsm_block_frame_open(stored, source->footer->file_id, handle.offset, &frame)) {
        return fail_index(source, handle.offset, "the checksum is wrong", err);
    }
    if (frame.type != type || frame.codec != 0) {
        return fail_index(source, handle.offset, "a block of another type", err);
    }
    *payload = lsm_slice_make(stored.data, (size_t)handle.size);
    return LSMKV_OK;
}

/* Called for every data block, in order. */
typedef struct index_visitor {
    const lsm_index_source *source;
    lsm_table_index *index; /* NULL: only count */
    lsm_block_cursor cursor;
    uint64_t index_block_count;
    uint64_t block_count;
    uint64_t key_bytes;
    uint64_t data_end; /* of the data blocks so far */
} index_visitor;

static lsmkv_status visit_entry(index_visitor *visitor, uint64_t at, lsmkv_error *err) {
    const lsm_block_cursor *cursor = &visitor->cursor;
    lsm_table_index *index = visitor->index;
    lsm_block_handle handle;

    if (!lsm_block_handle_decode(cursor->field, &handle) ||
        handle.offset != visitor->data_end || handle.size == 0 ||
        handle.size > visitor->source->footer->tail_offset ||
        handle.size + LSM_BLOCK_FRAME_SIZE >
            visitor->source->footer->tail_offset - visitor->data_end) {
        return fail_index(visitor->source, at,
                          "a data block does not lie behind the one before", err);
    }
    if (lsm_is_limited() && handle.size > LSM_UNTRUSTED_BLOCK_MAX) {
        return lsm_fail_limit(err, visitor->source->file, "bytes of a data block",
                              handle.size, LSM_UNTRUSTED_BLOCK_MAX);
    }
    visitor->data_end += handle.size + LSM_BLOCK_FRAME_SIZE;
    if (index != NULL) {
        memcpy(index->keys + visitor->key_bytes, cursor->key.data, cursor->key.size);
        index->offsets[visitor->block_count + 1] = visitor->data_end;
        index->key_ends[visitor->block_count + 1] =
            (uint32_t)(visitor->key_bytes + cursor->key.size);
    }
    visitor->block_count++;
    visitor->key_bytes += cursor->key.size;
    return LSMKV_OK;
}

static lsmkv_status visit_block(index_visitor *visitor, lsm_block_handle handle,
                                lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_slice payload = {0};

    LSM_TRY(open_block(visitor->source, handle, LSM_BLOCK_INDEX, &payload, err));
    visitor->index_block_count++;
    lsm_block_cursor_open(&visitor->cursor, payload);
    while (lsm_block_cursor_next(&visitor->cursor)) {
        LSM_TRY(visit_entry(visitor, handle.offset, err));
    }
    if (visitor->cursor.failed) {
        return lsm_fail_memory(err, LSM_IKEY_SIZE_MAX);
    }
    if (visitor->cursor.corrupt) {
        return fail_index(visitor->source, handle.offset, "a malformed entry", err);
    }
out:
    return status;
}

/* Visits the index blocks that a top index names. */
static lsmkv_status visit_top(index_visitor *visitor, lsm_block_handle top,
                              lsmkv_error *err) {
    const lsm_index_source *source = visitor->source;
    uint64_t at = source->begin;
    lsm_block_cursor cursor = {0};
    lsmkv_status status = LSMKV_OK;
    lsm_block_handle handle;
    lsm_slice payload = {0};

    LSM_TRY(open_block(source, top, LSM_BLOCK_TOP_INDEX, &payload, err));
    lsm_block_cursor_open(&cursor, payload);
    while (lsm_block_cursor_next(&cursor)) {
        if (!lsm_block_handle_decode(cursor.field, &handle) || handle.offset != at) {
            status =
                fail_index(source, top.offset,
                           "an index block does not lie behind the one before", err);
            goto out;
        }
        LSM_TRY(visit_block(visitor, handle, err));
        if (!lsm_slice_equal(lsm_buf_slice(&cursor.key),
                             lsm_buf_slice(&visitor->cursor.key))) {
            status = fail_index(source, top.offset,
                                "a separator is not the last of its block", err);
            goto out;
        }
        at = handle.offset + handle.size + LSM_BLOCK_FRAME_SIZE;
    }
    if (cursor.failed) {
        status = lsm_fail_memory(err, LSM_IKEY_SIZE_MAX);
    } else if (cursor.corrupt || at != top.offset) {
        status =
            fail_index(source, top.offset, "a malformed entry in the top index", err);
    }
out:
    lsm_block_cursor_deinit(&cursor);
    return status;
}

/* Whether the last separator fits the largest bound. */
static bool ends_with_largest(const lsm_table_info *info, lsm_slice last) {
    return lsm_bound_is_exclusive(info->largest)
               ? lsm_ikey_compare(last, info->largest) < 0
               : lsm_slice_equal(last, info->largest);
}

/* Visits every entry of the index and checks what holds for all of them together. */
static lsmkv_status visit_index(index_visitor *visitor, lsmkv_error *err) {
    const lsm_index_source *source = visitor->source;
    lsm_block_handle handle = source->footer->index;
    lsmkv_status status = LSMKV_OK;

    if (handle.size == 0) {
        return source->properties->data_block_count == 0 &&
                       source->properties->index_block_count == 0
                   ? LSMKV_OK
                   : fail_index(source, source->begin, "there is none", err);
    }
    if (source->properties->index_block_count != 1) {
        LSM_TRY(visit_top(visitor, handle, err));
    } else if (handle.offset != source->begin) {
        return fail_index(source, handle.offset, "it does not lie behind the filter",
                          err);
    } else {
        LSM_TRY(visit_block(visitor, handle, err));
    }
    if (visitor->data_end != source->footer->tail_offset) {
        return fail_index(source, handle.offset,
                          "the data blocks do not end where the tail begins", err);
    }
    if (visitor->block_count != source->properties->data_block_count ||
        visitor->index_block_count != source->properties->index_block_count ||
        visitor->key_bytes > UINT32_MAX) {
        return fail_index(source, handle.offset, "the number of blocks is wrong", err);
    }
    /* A block that has a frame has a byte, and so an entry, which has a key. */
    LSM_ASSERT(visitor->block_count > 0 && visitor->block_count < UINT32_MAX);
    if (!ends_with_largest(source->info, lsm_buf_slice(&visitor->cursor.key))) {
        return fail_index(source, handle.offset, "it does not end with the largest key",
                          err);
    }
out:
    return status;
}

/* The eight bytes of a stored key after the common ones, zeros where it ends. */
static inline uint64_t key_prefix(const lsm_table_index *index, lsm_slice skey) {
    const uint8_t *from = skey.data + index->common;
    size_t left = skey.size - index->common;
    uint64_t prefix = 0;

    if (LSM_LIKELY(left >= 8)) {
        return lsm_get_u64_be(from);
    }
    for (size_t i = 0; i < left; i++) {
        prefix |= (uint64_t)from[i] << (56 - 8 * i);
    }
    return prefix;
}

/* At least one, so that a search of nothing has something to look at. */
static size_t lines_of(size_t count) {
    return count == 0 ? 1 : (count + LINE_KEYS - 1) / LINE_KEYS;
}

/* Takes the memory for everything and divides it up. */
static bool lay_out(lsm_table_index *index, const index_visitor *counts) {
    const lsm_table_info *info = counts->source->info;
    size_t blocks = (size_t)counts->block_count;
    size_t keys = (size_t)counts->key_bytes;
    size_t lines = 0;
    uint8_t *at = NULL;

    for (size_t count = lines_of(blocks);; count = lines_of(count)) {
        lines += count;
        if (count == 1) {
            break;
        }
    }
    index->charge = lines * LSM_CACHE_LINE + lines_of(blocks) * LSM_CACHE_LINE +
                    8 * (blocks + 1) + 4 * (blocks + 1) + keys + info->smallest.size +
                    info->largest.size;
    at = lsm_alloc_aligned(index->charge);
    if (at == NULL) {
        return false;
    }
    index->memory = at;
    index->block_count = (uint32_t)blocks;
    for (size_t count = lines_of(blocks);; count = lines_of(count)) {
        index->levels[index->level_count++] = (uint64_t *)(void *)at;
        at += count * LSM_CACHE_LINE;
        if (count == 1) {
            break;
        }
    }
    index->slots = (lsm_cache_slot *)(void *)at;
    memset(at, 0, lines_of(blocks) * LSM_CACHE_LINE);
    at += lines_of(blocks) * LSM_CACHE_LINE;
    index->offsets = (uint64_t *)(void *)at;
    at += 8 * (blocks + 1);
    index->key_ends = (uint32_t *)(void *)at;
    at += 4 * (blocks + 1);
    index->keys = at;
    at += keys;
    memcpy(at, info->smallest.data, info->smallest.size);
    index->smallest = lsm_slice_make(at, info->smallest.size);
    at += info->smallest.size;
    memcpy(at, info->largest.data, info->largest.size);
    index->largest = lsm_slice_make(at, info->largest.size);
    index->offsets[0] = 0;
    index->key_ends[0] = 0;
    return true;
}

/* The last separator, which no entry is above; without entries the smallest bound. */
static lsm_slice last_of(const lsm_table_index *index) {
    return index->block_count == 0
               ? index->smallest
               : lsm_table_index_separator(index, index->block_count - 1);
}

/* Fills the search tree, from the leaves up. */
static void fill_levels(lsm_table_index *index) {
    size_t count = index->block_count;

    index->prefix_last = key_prefix(index, lsm_ikey_skey(last_of(index)));
    for (size_t i = 0; i < lines_of(count) * LINE_KEYS; i++) {
        index->levels[0][i] =
            i < count ? key_prefix(index, lsm_ikey_skey(lsm_table_index_separator(
                                              index, (uint32_t)i)))
                      : UINT64_MAX;
    }
    for (uint32_t level = 1; level < index->level_count; level++) {
        count = lines_of(count);
        for (size_t i = 0; i < lines_of(count) * LINE_KEYS; i++) {
            index->levels[level][i] =
                i < count ? index->levels[level - 1][i * LINE_KEYS + LINE_KEYS - 1]
                          : UINT64_MAX;
        }
    }
}

lsmkv_status lsm_table_index_init(lsm_table_index *index,
                                  const lsm_index_source *source, lsmkv_error *err) {
    index_visitor counter = {.source = source};
    index_visitor filler = {.source = source, .index = index};
    lsmkv_status status = LSMKV_OK;

    *index = (lsm_table_index){0};
    LSM_TRY(visit_index(&counter, err));
    if (!lay_out(index, &counter)) {
        status = lsm_fail_memory(err, index->charge);
        goto out;
    }
    LSM_ASSERT(index->key_ends != NULL);
    LSM_TRY(visit_index(&filler, err));
    index->common = (uint32_t)lsm_slice_common(lsm_ikey_skey(index->smallest),
                                               lsm_ikey_skey(last_of(index)));
    if (index->block_count != 0 &&
        lsm_ikey_compare(lsm_table_index_separator(index, 0), index->smallest) < 0) {
        status = fail_index(source, source->footer->index.offset,
                            "it begins before the smallest key", err);
        goto out;
    }
    fill_levels(index);
out:
    lsm_block_cursor_deinit(&counter.cursor);
    lsm_block_cursor_deinit(&filler.cursor);
    if (status != LSMKV_OK) {
        lsm_table_index_deinit(index);
    }
    return status;
}

void lsm_table_index_deinit(lsm_table_index *index) {
    lsm_free_aligned(index->memory);
    *index = (lsm_table_index){0};
}

/* How many prefixes of a line are below x. */
static inline size_t count_below(const uint64_t *line, uint64_t x) {
    return ((size_t)(line[0] < x) + (line[1] < x) + (line[2] < x) + (line[3] < x)) +
           ((size_t)(line[4] < x) + (line[5] < x) + (line[6] < x) + (line[7] < x));
}

/* The first position in levels[0] whose prefix is >= x, which is not above the last
 * prefix: so every line on the way has a key that is not below x. */
static inline size_t find_prefix(const lsm_table_index *index, uint64_t x) {
    size_t at = 0;

    for (uint32_t level = index->level_count - 1; level > 0; level--) {
        at = (at + count_below(index->levels[level] + at, x)) << LINE_KEYS_LOG2;
    }
    LSM_PREFETCH(&index->slots[at]);
    return at + count_below(index->levels[0] + at, x);
}

/* Among the blocks from `low` on whose prefix is x, the first whose separator is not
 * below the key; the block behind them if there is none. */
static LSM_NOINLINE uint32_t find_tied(const lsm_table_index *index, uint32_t low,
                                       uint64_t x, lsm_slice skey, uint64_t trailer) {
    uint32_t high = x == index->prefix_last ? index->block_count
                                            : (uint32_t)find_prefix(index, x + 1);

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        lsm_slice separator = lsm_table_index_separator(index, middle);
        int order = lsm_slice_compare(lsm_ikey_skey(separator), skey);

        if (order < 0 || (order == 0 && lsm_ikey_trailer(separator) > trailer)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint32_t lsm_table_index_find(const lsm_table_index *index, lsm_slice skey,
                              uint64_t trailer) {
    size_t least = index->common < skey.size ? index->common : skey.size;
    int order = memcmp(skey.data, index->smallest.data, least);
    uint64_t x = 0;
    size_t at = 0;

    if (LSM_UNLIKELY(order != 0 || skey.size < index->common)) {
        return order > 0 ? index->block_count : 0;
    }
    x = key_prefix(index, skey);
    if (LSM_UNLIKELY(x > index->prefix_last)) {
        return index->block_count;
    }
    at = find_prefix(index, x);
    return index->levels[0][at] == x ? find_tied(index, (uint32_t)at, x, skey, trailer)
                                     : (uint32_t)at;
}
