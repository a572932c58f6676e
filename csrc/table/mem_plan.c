/* SPDX-License-Identifier: Apache-2.0
 *
 * Plans: a batch, parsed, hashed and sorted for the memtable.
 *
 *   1. Parse every record, hash its key, and see whether the keys ascend by themselves:
 *      then nothing is left to do. Range deletes are put aside.
 *   2. Find how many leading bytes all keys share, and take the eight bytes behind them
 *      as a number, the window. Keys of one batch tend to share a namespace and a long
 *      prefix, so a window taken elsewhere would decide little.
 *   3. Sort pairs of window and place: insertion sort of short runs, then merging from
 *      array to array, without a branch on the outcome of a comparison. The keys
 *      themselves are compared where windows are equal. Versions of one key go newest
 *      first, as the order of internal keys demands.
 *
 * One allocation holds records and order, and a second one, given back at the end,
 * what the sort needs; small batches sort on the stack, the smallest allocate nothing.
 */
#include "table/memtable.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "table/key_order.h"
#include "table/memtable_node.h"

enum {
    RUN_SIZE = 4,          /* sorted by a network */
    STACK_SORT_COUNT = 128 /* sorted without an allocation */
};

/* An item is a window whose low bits, those of place_mask, hold the record's place. */
typedef struct item_sorter {
    const lsm_mem_record *records;
    uint64_t *items;
    uint64_t *spare; /* as many */
    uint64_t place_mask;
} item_sorter;

static inline lsm_slice record_skey(const lsm_mem_record *record) {
    return lsm_slice_make(record->skey, record->skey_size);
}

/* Reads every record into plan->records, range deletes from its end. *ascending tells
 * whether each key is greater than the one before. false: malformed. */
static bool parse(lsm_mem_plan *plan, lsm_batch_reader *reader, bool *ascending) {
    lsm_batch_record from;
    uint32_t total = reader->left;
    uint32_t count = 0;
    uint32_t range_count = 0;
    bool in_order = true;
    uint64_t bytes = LSM_MEM_PLAN_SLACK;
    uint64_t large_bytes = 0;
    uint32_t size_min = UINT32_MAX;

    while (lsm_batch_reader_next(reader, &from)) {
        lsm_mem_record *record = &plan->records[count];
        bool is_range = from.tag == LSM_KIND_RANGE_DELETE;

        if (LSM_UNLIKELY(is_range)) {
            record = &plan->records[total - 1 - range_count];
        } else if (in_order && count != 0) {
            in_order = lsm_skey_order(record_skey(record - 1), from.skey) < 0;
        }
        *record = (lsm_mem_record){
            .hash = lsm_xxh3(from.skey.data, from.skey.size),
            .skey = from.skey.data,
            .field = from.field.data,
            .skey_size = (uint32_t)from.skey.size,
            .field_size = (uint32_t)from.field.size,
            .index = count + range_count,
            .tag = from.tag,
        };
        if (LSM_UNLIKELY(is_range)) {
            bytes += lsm_mem_range_bytes(from.skey.size, from.field.size);
            range_count++;
            continue;
        }
        bytes += lsm_mem_node_bytes(from.skey.size,
                                    lsm_mem_field_size(from.tag, from.field.size));
        if (LSM_UNLIKELY(lsm_tag_kind(from.tag) == LSM_KIND_POINTER)) {
            large_bytes += from.field.size;
        }
        size_min = record->skey_size < size_min ? record->skey_size : size_min;
        count++;
    }
    plan->count = count;
    plan->range_count = range_count;
    plan->sequence_count = count + range_count;
    plan->skey_size_min = size_min;
    plan->bytes = bytes;
    plan->large_bytes = large_bytes;
    plan->payload = reader->payload;
    *ascending = in_order;
    return lsm_batch_reader_ok(reader);
}

static void take_windows(const lsm_mem_plan *plan, const item_sorter *sorter) {
    const lsm_mem_record *records = plan->records;
    size_t shared = records[0].skey_size;

    for (uint32_t i = 1; i < plan->count; i++) {
        size_t limit = records[i].skey_size < shared ? records[i].skey_size : shared;

        shared = lsm_common_size(records[0].skey, records[i].skey, limit);
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        sorter->items[i] =
            (lsm_skey_window(record_skey(&records[i]), shared) & ~sorter->place_mask) |
            i;
    }
}

static bool item_before(const item_sorter *sorter, uint64_t a, uint64_t b) {
    if ((a ^ b) > sorter->place_mask) {
        return a < b;
    }
    uint64_t a_place = a & sorter->place_mask;
    uint64_t b_place = b & sorter->place_mask;
    int order = lsm_skey_order(record_skey(&sorter->records[a_place]),
                               record_skey(&sorter->records[b_place]));

    return order != 0 ? order < 0 : a_place > b_place;
}

/* b if take_b is 1, a if it is 0, in a form that compilers do not turn into a branch:
 * which of the two it is nobody can predict. */
static inline uint64_t choose(uint64_t a, uint64_t b, uint64_t take_b) {
    return a ^ ((a ^ b) & (0 - take_b));
}

/* Puts two items in order. Returns 1 if their windows are equal: then it did not. */
static inline uint64_t order_pair(uint64_t mask, uint64_t *a, uint64_t *b) {
    uint64_t first = *a;
    uint64_t second = *b;
    uint64_t swap = second < first;

    *a = choose(first, second, swap);
    *b = choose(second, first, swap);
    return (first ^ second) <= mask;
}

static void sort_slowly(const item_sorter *sorter, uint64_t *items, size_t count) {
    for (size_t i = 1; i < count; i++) {
        uint64_t item = items[i];
        size_t to = i;

        while (to > 0 && item_before(sorter, item, items[to - 1])) {
            items[to] = items[to - 1];
            to--;
        }
        items[to] = item;
    }
}

/* Sorts up to RUN_SIZE items. */
static void sort_run(const item_sorter *sorter, uint64_t *items, size_t count) {
    uint64_t mask = sorter->place_mask;
    uint64_t tied = 1;

    if (LSM_LIKELY(count == RUN_SIZE)) {
        tied = order_pair(mask, &items[0], &items[1]);
        tied |= order_pair(mask, &items[2], &items[3]);
        tied |= order_pair(mask, &items[0], &items[2]);
        tied |= order_pair(mask, &items[1], &items[3]);
        tied |= order_pair(mask, &items[1], &items[2]);
    }
    if (LSM_UNLIKELY(tied != 0)) {
        sort_slowly(sorter, items, count);
    }
}

/* Merges the sorted [0, middle) and [middle, count). */
static void merge_slowly(const item_sorter *sorter, const uint64_t *from, size_t middle,
                         size_t count, uint64_t *to) {
    size_t left = 0;
    size_t right = middle;

    while (left < middle && right < count) {
        if (item_before(sorter, from[right], from[left])) {
            *to++ = from[right++];
        } else {
            *to++ = from[left++];
        }
    }
    memcpy(to, from + left, (middle - left) * sizeof(*to));
    memcpy(to + (middle - left), from + right, (count - right) * sizeof(*to));
}

/* The same by windows alone, from both ends at once: while `safe` steps are taken at
 * each end none of the runs can be used up, so nothing has to be checked, and the two
 * chains of comparisons do not wait for each other. When windows turn out to be equal
 * all of it is done again. */
static void merge(const item_sorter *sorter, const uint64_t *from, size_t middle,
                  size_t count, uint64_t *to) {
    uint64_t mask = sorter->place_mask;
    const uint64_t *a = from;
    const uint64_t *b = from + middle;
    const uint64_t *a_end = b;
    const uint64_t *b_end = from + count;
    uint64_t *out = to;
    uint64_t *out_end = to + count;
    size_t safe = (middle < count - middle ? middle : count - middle) / 2;
    uint64_t tied = 0;

    for (; safe > 1;
         safe = (size_t)(a_end - a < b_end - b ? a_end - a : b_end - b) / 2) {
        for (size_t i = 0; i < safe; i++) {
            uint64_t take_b = *b < *a;
            uint64_t take_last_a = b_end[-1] < a_end[-1];

            tied |= ((*a ^ *b) <= mask) | ((a_end[-1] ^ b_end[-1]) <= mask);
            *out++ = choose(*a, *b, take_b);
            b += take_b;
            a += 1 - take_b;
            *--out_end = choose(b_end[-1], a_end[-1], take_last_a);
            a_end -= take_last_a;
            b_end -= 1 - take_last_a;
        }
    }
    if (LSM_UNLIKELY(tied != 0)) {
        merge_slowly(sorter, from, middle, count, to);
        return;
    }
    while (a < a_end && b < b_end) {
        *out++ = item_before(sorter, *b, *a) ? *b++ : *a++;
    }
    memcpy(out, a, (size_t)(a_end - a) * sizeof(*to));
    memcpy(out + (a_end - a), b, (size_t)(b_end - b) * sizeof(*to));
}

/* The result is in sorter->items; the two arrays may have changed places. */
static void sort_items(item_sorter *sorter, size_t count) {
    for (size_t at = 0; at < count; at += RUN_SIZE) {
        sort_run(sorter, sorter->items + at,
                 count - at < RUN_SIZE ? count - at : RUN_SIZE);
    }
    for (size_t run = RUN_SIZE; run < count; run *= 2) {
        uint64_t *from = sorter->items;
        uint64_t *to = sorter->spare;

        for (size_t at = 0; at < count; at += 2 * run) {
            size_t left = count - at;

            merge(sorter, from + at, left < run ? left : run,
                  left < 2 * run ? left : 2 * run, to + at);
        }
        sorter->items = to;
        sorter->spare = from;
    }
}

static void sort_into_order(lsm_mem_plan *plan, uint64_t *room) {
    item_sorter sorter = {.records = plan->records,
                          .items = room,
                          .spare = room + plan->count,
                          .place_mask = 1};

    while (sorter.place_mask < plan->count - 1) {
        sorter.place_mask = sorter.place_mask * 2 + 1;
    }
    take_windows(plan, &sorter);
    sort_items(&sorter, plan->count);
    plan->order[0] = (uint32_t)(sorter.items[0] & sorter.place_mask);
    for (uint32_t i = 1; i < plan->count; i++) {
        uint32_t place = (uint32_t)(sorter.items[i] & sorter.place_mask);

        plan->order[i] = place;
        if (LSM_UNLIKELY((sorter.items[i] ^ sorter.items[i - 1]) <=
                         sorter.place_mask)) {
            lsm_mem_record *record = &plan->records[place];
            const lsm_mem_record *before = &plan->records[plan->order[i - 1]];

            record->shadowed =
                record->skey_size == before->skey_size &&
                lsm_skey_same(record->skey, before->skey, record->skey_size);
        }
    }
}

static lsmkv_status sort_plan(lsm_mem_plan *plan, lsmkv_error *err) {
    uint64_t on_stack[2 * STACK_SORT_COUNT];
    uint64_t *room = on_stack;
    size_t size = 2 * (size_t)plan->count * sizeof(*room);

    if (plan->count > STACK_SORT_COUNT) {
        room = lsm_alloc(size);
        if (room == NULL) {
            return lsm_fail_memory(err, size);
        }
    }
    sort_into_order(plan, room);
    if (room != on_stack) {
        lsm_free(room);
    }
    return LSMKV_OK;
}

/* Room for `count` records and their order. */
static lsmkv_status reserve(lsm_mem_plan *plan, uint32_t count, lsmkv_error *err) {
    size_t size = (sizeof(*plan->records) + sizeof(*plan->order)) * count;

    plan->records = plan->inlined;
    plan->order = plan->inlined_order;
    if (count > LSM_MEM_PLAN_INLINE) {
        plan->records = lsm_alloc(size);
        if (plan->records == NULL) {
            return lsm_fail_memory(err, size);
        }
        plan->order = (uint32_t *)(void *)(plan->records + count);
    }
    return LSMKV_OK;
}

lsmkv_status lsm_mem_plan_init(lsm_mem_plan *plan, lsm_slice payload,
                               lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_batch_reader reader;
    bool ascending = false;

    plan->records = NULL;
    if (!lsm_batch_reader_init(&reader, payload)) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "batch of %zu bytes: malformed header", payload.size);
    }
    LSM_TRY(reserve(plan, reader.left, err));
    if (!parse(plan, &reader, &ascending)) {
        status = lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                          "batch of %zu bytes: malformed behind record %u",
                          payload.size, plan->sequence_count);
        goto out;
    }
    if (ascending) {
        plan->order = NULL;
    } else {
        LSM_TRY(sort_plan(plan, err));
    }
out:
    if (status != LSMKV_OK) {
        lsm_mem_plan_deinit(plan);
    }
    return status;
}

void lsm_mem_plan_deinit(lsm_mem_plan *plan) {
    if (plan->records != plan->inlined) {
        lsm_free(plan->records);
    }
    plan->records = NULL;
}
