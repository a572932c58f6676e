/* SPDX-License-Identifier: Apache-2.0
 *
 * Bringing blocks into the cache ahead of those who will ask for them: neighbours with
 * one read, decoded and checked like any other block.
 */
#include "base/alloc.h"
#include "table/table_private.h"

/* Nobody waits for these reads, and there are many: more unwanted bytes are read to
 * make one read of two than by who looks for a few keys. */
enum { GAP_MAX = 64 << 10 };

void lsm_table_heats(lsm_table *table, uint32_t first, uint32_t count, uint8_t *heats) {
    lsm_cache_heats(table->cache, table->index.slots + first, count, heats);
}

uint64_t lsm_table_span(const lsm_table *table, uint32_t first, uint32_t end) {
    return table->index.offsets[end] - table->index.offsets[first];
}

void lsm_table_blocks_of(const lsm_table *table, lsm_slice start, lsm_slice stop,
                         uint32_t *first, uint32_t *end) {
    const lsm_table_index *index = &table->index;

    *first = *end = 0;
    if (index->block_count != 0) {
        *first = lsm_table_index_find(index, start, UINT64_MAX);
        *end = lsm_table_index_find(index, stop, UINT64_MAX);
        *end += *end < index->block_count;
    }
}

const lsm_block *lsm_table_cached(lsm_table *table, uint32_t block) {
    const lsm_cached_block *cached = block < table->index.block_count
                                         ? lsm_cache_peek(&table->index.slots[block])
                                         : NULL;

    return cached != NULL ? &cached->block : NULL;
}

/* Whether there is anything to read. */
static bool is_wanted(const lsm_table *table, const lsm_warm_block *block) {
    return block->block < table->index.block_count &&
           lsm_cache_peek(&table->index.slots[block->block]) == NULL;
}

size_t lsm_table_warm_run(const lsm_table *table, const lsm_warm_block *blocks,
                          size_t count) {
    const uint64_t *offsets = table->index.offsets;
    uint64_t begin = 0;
    uint64_t end = 0;
    size_t run = 0;

    for (; run < count; run++) {
        uint32_t block = blocks[run].block;

        if (!is_wanted(table, &blocks[run])) {
            continue;
        }
        if (end == 0) {
            begin = offsets[block];
        } else if (offsets[block] > end + GAP_MAX ||
                   offsets[block + 1] - begin > LSM_READ_RUN_MAX) {
            break;
        }
        end = offsets[block + 1];
    }
    return run;
}

/* Decodes one block of the run, whose bytes are `stored`, into the cache. */
static lsmkv_status take(lsm_table *table, const lsm_warm_block *wanted,
                         lsm_slice stored, lsm_warming *warming, lsmkv_error *err) {
    lsm_block_room room = {NULL, 0};
    lsmkv_status status =
        lsm_table_decode(table, wanted->block, stored, LSM_USE_LOOKUP, &room, err);

    if (status != LSMKV_OK) {
        lsm_cached_block_unref(room.block);
        return status == LSMKV_NO_MEMORY ? status : LSMKV_OK;
    }
    if (lsm_cache_insert_warm(table->cache, &table->index.slots[wanted->block],
                              room.block, wanted->heat)) {
        warming->bytes += stored.size;
        warming->block_count++;
    } else if (wanted->heat > warming->refused) {
        warming->refused = wanted->heat;
    }
    return LSMKV_OK;
}

/* Cuts the run to the first blocks that fit into bytes_max, which are counted if they
 * are in the cache already. Answers the bytes to read, from *begin on. */
static size_t plan(const lsm_table *table, const lsm_warm_block *blocks, size_t *count,
                   lsm_warming *warming, uint64_t *begin) {
    const uint64_t *offsets = table->index.offsets;
    uint64_t total = 0;
    uint64_t end = 0;

    *begin = 0;
    for (size_t i = 0; i < *count; i++) {
        uint32_t block = blocks[i].block;
        uint64_t size = block < table->index.block_count
                            ? lsm_table_span(table, block, block + 1)
                            : 0;

        total += size;
        if (total > warming->bytes_max) {
            warming->cut = true;
            *count = i;
            break;
        }
        if (is_wanted(table, &blocks[i])) {
            *begin = end == 0 ? offsets[block] : *begin;
            end = offsets[block + 1];
        } else {
            warming->bytes += size;
        }
    }
    return (size_t)(end - *begin);
}

lsmkv_status lsm_table_warm(lsm_table *table, const lsm_warm_block *blocks,
                            size_t count, lsm_warming *warming, lsmkv_error *err) {
    const uint64_t *offsets = table->index.offsets;
    lsmkv_status status = LSMKV_OK;
    uint64_t begin = 0;

    warming->bytes = 0;
    warming->block_count = 0;
    warming->refused = 0;
    warming->cut = false;
    size_t size = plan(table, blocks, &count, warming, &begin);
    if (size == 0) {
        return LSMKV_OK;
    }
    lsm_buf *buffer = warming->buffer;
    lsm_buf_clear(buffer);
    if (!lsm_buf_reserve(buffer, size)) {
        return lsm_fail_memory(err, size);
    }
    LSM_TRY(lsm_file_read_exact(table->file, begin, buffer->data, size, err));
    for (size_t i = 0; i < count; i++) {
        uint32_t block = blocks[i].block;

        /* Somebody may have read it, or evicted it, since the run was planned. */
        if (!is_wanted(table, &blocks[i]) || offsets[block] < begin ||
            offsets[block + 1] > begin + size) {
            continue;
        }
        lsm_slice stored =
            lsm_slice_make(buffer->data + (offsets[block] - begin),
                           (size_t)lsm_table_span(table, block, block + 1));
        LSM_TRY(take(table, &blocks[i], stored, warming, err));
    }
out:
    return status;
}
