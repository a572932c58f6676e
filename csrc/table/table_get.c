/* SPDX-License-Identifier: Apache-2.0
 *
 * Point reads.
 *
 * One key is a chain of dependent memory accesses: a filter line, a line per level of
 * the index tree, the slot, the block's header and hash slots, the entry. A batch goes
 * through the same chain a group at a time, one stage for the whole group after the
 * other, so that the accesses of different keys overlap.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/mutant.h"
#include "table/table_private.h"

enum { GROUP = 48 }; /* keys in flight: enough to fill the memory pipeline */

static inline uint32_t find_block(const lsm_table *table, const lsm_lookup *lookup) {
    return lsm_table_index_find(&table->index, lookup->skey,
                                lsm_trailer_make(lookup->sequence, LSM_TAG_SEEK));
}

/* The header and the first hash slots of a block that is about to be searched. */
static inline void prefetch_block(const lsm_cached_block *block) {
    LSM_PREFETCH(block);
    LSM_PREFETCH(block->data);
    LSM_PREFETCH(block->data + LSM_CACHE_LINE);
}

/* Among the entries alone. */
static inline lsmkv_status get_entry(lsm_table *table, const lsm_lookup *lookup,
                                     bool nonblocking, lsm_found *found,
                                     lsmkv_error *err) {
    lsm_cached_block *block = NULL;
    uint32_t number = 0;

    if (!lsm_bloom_may_contain(&table->bloom, lookup->hash)) {
        return LSMKV_NOT_FOUND;
    }
    number = find_block(table, lookup);
    if (number == table->index.block_count) {
        return LSMKV_NOT_FOUND;
    }
    block = lsm_cache_peek(&table->index.slots[number]);
    if (LSM_LIKELY(block != NULL)) {
        prefetch_block(block);
        lsm_cached_block_touch(block);
    } else if (nonblocking) {
        return LSMKV_WOULD_BLOCK;
    } else {
        lsmkv_status status = lsm_table_load(table, number, &block, err);

        if (status != LSMKV_OK) {
            return status;
        }
    }
    return lsm_block_get(&block->block, lookup, found);
}

static uint64_t cover_of(const lsm_table *table, const lsm_lookup *lookup) {
    size_t place = 0;

    return lsm_range_set_cover(table->ranges, lookup->skey, lookup->sequence, &place);
}

/* In a table with range deletes. Nothing is read when no entry can be newer. */
static LSM_NOINLINE lsmkv_status get_covered(lsm_table *table, const lsm_lookup *lookup,
                                             bool nonblocking, lsm_found *found,
                                             lsmkv_error *err) {
    uint64_t cover = cover_of(table, lookup);
    lsmkv_status status = LSMKV_NOT_FOUND;

    if (cover < table->info.sequence_max) {
        status = get_entry(table, lookup, nonblocking, found, err);
    }
    return lsm_range_hide(status, cover, found);
}

lsmkv_status lsm_table_get(lsm_table *table, const lsm_lookup *lookup, bool nonblocking,
                           lsm_found *found, lsmkv_error *err) {
    if (LSM_UNLIKELY(table->ranges != NULL)) {
        return get_covered(table, lookup, nonblocking, found, err);
    }
    return get_entry(table, lookup, nonblocking, found, err);
}

/* A group of requests between its stages. */
typedef struct lookup_group {
    lsm_table_request *requests[GROUP]; /* those still in question */
    lsm_cached_block *blocks[GROUP];
    size_t count;
} lookup_group;

/* Keeps the requests that the filter lets through. */
static void test_filter(const lsm_table *table, lookup_group *group) {
    size_t kept = 0;

    if (table->bloom.line_count != 0) {
        for (size_t i = 0; i < group->count; i++) {
            LSM_PREFETCH(
                lsm_bloom_line(&table->bloom, group->requests[i]->lookup.hash));
        }
    }
    for (size_t i = 0; i < group->count; i++) {
        lsm_table_request *request = group->requests[i];

        group->requests[kept] = request;
        kept += lsm_bloom_may_contain(&table->bloom, request->lookup.hash);
    }
    group->count = kept;
}

/* Finds the block of each; keeps those that have one. */
static void find_blocks(const lsm_table *table, lookup_group *group) {
    size_t kept = 0;

    for (size_t i = 0; i < group->count; i++) {
        lsm_table_request *request = group->requests[i];

        request->block = find_block(table, &request->lookup);
        group->requests[kept] = request;
        kept += request->block != table->index.block_count;
    }
    group->count = kept;
}

/* Keeps those whose block is in the cache; marks the others. */
static size_t load_slots(const lsm_table *table, lookup_group *group) {
    size_t kept = 0;

    for (size_t i = 0; i < group->count; i++) {
        lsm_table_request *request = group->requests[i];
        lsm_cached_block *block = lsm_cache_peek(&table->index.slots[request->block]);

        request->missed = block == NULL;
        if (block != NULL) {
            prefetch_block(block);
            group->requests[kept] = request;
            group->blocks[kept++] = block;
        }
    }
    size_t missed = group->count - kept;
    group->count = kept;
    return missed;
}

static void answer(const lsm_cached_block *block, lsm_table_request *request) {
    request->done =
        lsm_block_get(&block->block, &request->lookup, &request->found) == LSMKV_OK;
}

/* Answers what can be answered from the cache. Returns how many requests are marked as
 * missed. */
static size_t get_group(const lsm_table *table, lookup_group *group) {
    size_t missed = 0;

    test_filter(table, group);
    find_blocks(table, group);
    missed = load_slots(table, group);
    for (size_t i = 0; i < group->count; i++) {
        lsm_cached_block_touch(group->blocks[i]);
        lsm_block_prefetch(&group->blocks[i]->block, group->requests[i]->lookup.hash);
    }
    for (size_t i = 0; i < group->count; i++) {
        answer(group->blocks[i], group->requests[i]);
    }
    return missed;
}

static int compare_blocks(const void *a, const void *b) {
    const lsm_table_request *x = *(lsm_table_request *const *)a;
    const lsm_table_request *y = *(lsm_table_request *const *)b;

    return (x->block > y->block) - (x->block < y->block);
}

/* How many of the missed requests, in file order, are served by one read that begins
 * with the first one's block. *size is the size of that read. */
static size_t pick_run(const lsm_table *table, lsm_table_request *const *missed,
                       size_t count, size_t *size) {
    const uint64_t *offsets = table->index.offsets;
    uint64_t begin = offsets[missed[0]->block];
    uint64_t end = offsets[missed[0]->block + 1];
    size_t run = 1;

    for (; run < count; run++) {
        uint32_t block = missed[run]->block;

        if (offsets[block] > end + LSM_READ_GAP_MAX ||
            offsets[block + 1] - begin > LSM_READ_RUN_MAX) {
            break;
        }
        end = offsets[block + 1];
    }
    *size = (size_t)(end - begin);
    return run;
}

/* Reads the blocks of a run and answers its requests. `buffer` has room for it. */
static lsmkv_status read_run(lsm_table *table, lsm_table_request *const *missed,
                             size_t count, lsm_slice buffer, lsmkv_error *err) {
    const uint64_t *offsets = table->index.offsets;
    uint64_t begin = offsets[missed[0]->block];
    lsmkv_status status = LSMKV_OK;
    lsm_cached_block *block = NULL;

    for (size_t i = 0; i < count; i++) {
        uint32_t number = missed[i]->block;

        if (i == 0 || number != missed[i - 1]->block) {
            lsm_slice stored =
                lsm_slice_make(buffer.data + (offsets[number] - begin),
                               (size_t)(offsets[number + 1] - offsets[number]));
            lsm_block_room room = {NULL, 0};

            status =
                lsm_table_decode(table, number, stored, LSM_USE_LOOKUP, &room, err);
            if (status != LSMKV_OK) {
                lsm_cached_block_unref(room.block);
                return status;
            }
            block =
                lsm_cache_insert(table->cache, &table->index.slots[number], room.block);
        }
        answer(block, missed[i]);
    }
    return status;
}

/* Reads what the marked requests need, in file order. */
static lsmkv_status read_missed(lsm_table *table, lsm_table_request *const *missed,
                                size_t count, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint8_t *buffer = NULL;
    size_t size_max = 0;
    size_t size = 0;

    for (size_t i = 0; i < count;) {
        size_t run = pick_run(table, missed + i, count - i, &size);

        size_max = size > size_max ? size : size_max;
        if (run < count) {
            lsm_file_will_need(table->file, table->index.offsets[missed[i]->block],
                               size);
        }
        i += run;
    }
    buffer = lsm_alloc(size_max);
    if (buffer == NULL) {
        return lsm_fail_memory(err, size_max);
    }
    for (size_t i = 0; i < count;) {
        size_t run = pick_run(table, missed + i, count - i, &size);

        LSM_TRY(lsm_file_read_exact(table->file, table->index.offsets[missed[i]->block],
                                    buffer, size, err));
        LSM_TRY(read_run(table, missed + i, run, lsm_slice_make(buffer, size), err));
        i += run;
    }
out:
    lsm_free(buffer);
    return status;
}

/* Answers, one by one, the requests that range deletes of the table cover. */
static lsmkv_status get_all_covered(lsm_table *table,
                                    lsm_table_request *const *requests, size_t count,
                                    lsmkv_error *err) {
    for (size_t i = 0; i < count; i++) {
        lsm_table_request *request = requests[i];

        if (request->done || cover_of(table, &request->lookup) == 0) {
            continue;
        }
        lsmkv_status status =
            get_covered(table, &request->lookup, false, &request->found, err);
        if (status != LSMKV_OK) {
            return status;
        }
        request->done = true;
    }
    return LSMKV_OK;
}

lsmkv_status lsm_table_get_many(lsm_table *table, lsm_table_request *const *requests,
                                size_t count, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_table_request **missed = NULL;
    size_t missed_count = 0;
    size_t at = 0;

    if (LSM_UNLIKELY(table->ranges != NULL) &&
        !LSM_MUTANT(GET_MANY_IGNORES_RANGE_DELETES)) {
        LSM_TRY(get_all_covered(table, requests, count, err));
    }

    for (size_t next = 0; next < count;) {
        lookup_group group;

        group.count = 0;
        for (; next < count && group.count < GROUP; next++) {
            requests[next]->missed = false;
            if (!requests[next]->done) {
                group.requests[group.count++] = requests[next];
            }
        }
        missed_count += get_group(table, &group);
    }
    if (missed_count == 0) {
        return LSMKV_OK;
    }
    missed = lsm_alloc(missed_count * sizeof(lsm_table_request *));
    if (missed == NULL) {
        return lsm_fail_memory(err, missed_count * sizeof(lsm_table_request *));
    }
    for (size_t i = 0; i < count; i++) {
        if (requests[i]->missed) {
            missed[at++] = requests[i];
        }
    }
    LSM_ASSERT(at == missed_count);
    qsort(missed, missed_count, sizeof(*missed), compare_blocks);
    status = read_missed(table, missed, missed_count, err);
out:
    lsm_free(missed);
    return status;
}
