/* SPDX-License-Identifier: Apache-2.0
 *
 * Range deletes of a memtable: a list in the arena, newest first, and now and then a
 * set (table/range_set.h) over all that are in the list by then. A read asks the newest
 * set and walks over the few tombstones that came after it.
 *
 * A set is built when the list has grown by an eighth, and by RANGES_MIN at least, so
 * the sets of a memtable together take a small multiple of the last one's memory. They
 * live as long as the memtable, because readers hold on to nothing else. When there is
 * no memory for a set, or tombstones overlap beyond measure, the walks are longer:
 * nothing fails.
 */
#include "base/alloc.h"
#include "table/memtable_node.h"
#include "table/range_set.h"

enum { RANGES_MIN = 32 };

/* In the arena, followed by start and stop. */
struct lsm_mem_range {
    struct lsm_mem_range *older;
    uint64_t sequence;
    uint32_t ordinal; /* 1 for the first of the memtable */
    uint32_t start_size;
    uint32_t stop_size;
};

struct lsm_mem_range_view {
    struct lsm_mem_range_view *older; /* owned */
    lsm_range_set *set;               /* owned; its keys are in the arena */
    uint32_t count;                   /* tombstones in it, the first ones */
};

_Static_assert(sizeof(struct lsm_mem_range) <= LSM_MEM_RANGE_BYTES, "reserved for");

static lsm_tombstone tombstone_of(const struct lsm_mem_range *range) {
    const uint8_t *keys = (const uint8_t *)(range + 1);

    return (lsm_tombstone){lsm_slice_make(keys, range->start_size),
                           lsm_slice_make(keys + range->start_size, range->stop_size),
                           range->sequence};
}

/* Acquire, both: pair with the releases by which the writer links a tombstone and
 * publishes a view. */
static const struct lsm_mem_range *newest_range(const lsm_memtable *mem) {
    return atomic_load_explicit(&mem->ranges, memory_order_acquire);
}

static const struct lsm_mem_range_view *newest_view(const lsm_memtable *mem) {
    return atomic_load_explicit(&mem->range_view, memory_order_acquire);
}

static uint64_t add_range(lsm_memtable *mem, const lsm_mem_record *record,
                          uint64_t sequence, uint64_t used) {
    struct lsm_mem_range *older =
        atomic_load_explicit(&mem->ranges, memory_order_relaxed);
    uint64_t at = (used + 7) & ~UINT64_C(7);
    struct lsm_mem_range *range =
        (struct lsm_mem_range *)(void *)(mem->arena + (size_t)at);
    uint8_t *keys = (uint8_t *)(range + 1);

    *range = (struct lsm_mem_range){
        .older = older,
        .sequence = sequence,
        .ordinal = older == NULL ? 1 : older->ordinal + 1,
        .start_size = record->skey_size,
        .stop_size = record->field_size,
    };
    memcpy(keys, record->skey, record->skey_size);
    memcpy(keys + record->skey_size, record->field, record->field_size);
    /* Release: pairs with newest_range. */
    atomic_store_explicit(&mem->ranges, range, memory_order_release);
    uint64_t end = at + sizeof(*range) + record->skey_size + record->field_size;
    return (end + 3) & ~UINT64_C(3);
}

static lsm_range_set *build_set(const lsm_memtable *mem, uint32_t count) {
    lsm_tombstone *items = lsm_alloc(count * sizeof(*items));
    lsm_range_set *set = NULL;
    uint32_t at = 0;

    if (items == NULL) {
        return NULL;
    }
    for (const struct lsm_mem_range *range = newest_range(mem); range != NULL;
         range = range->older) {
        items[at++] = tombstone_of(range);
    }
    set = lsm_range_set_build(items, count, NULL);
    lsm_free(items);
    return set;
}

static void renew_view(lsm_memtable *mem) {
    uint32_t count = newest_range(mem)->ordinal;
    uint32_t tried = mem->ranges_tried;
    uint32_t growth = tried / 8 > RANGES_MIN ? tried / 8 : RANGES_MIN;

    if (count - tried < growth) {
        return;
    }
    mem->ranges_tried = count;
    struct lsm_mem_range_view *view = lsm_alloc(sizeof(*view));
    if (view == NULL) {
        return;
    }
    view->set = build_set(mem, count);
    if (view->set == NULL) {
        lsm_free(view);
        return;
    }
    view->older = atomic_load_explicit(&mem->range_view, memory_order_relaxed);
    view->count = count;
    atomic_fetch_add_explicit(&mem->range_charge, lsm_range_set_charge(view->set),
                              memory_order_relaxed);
    /* Release: pairs with newest_view. */
    atomic_store_explicit(&mem->range_view, view, memory_order_release);
}

uint64_t lsm_mem_insert_ranges(lsm_memtable *mem, const lsm_mem_plan *plan,
                               uint64_t first_sequence, uint64_t used) {
    for (uint32_t i = 0; i < plan->range_count; i++) {
        const lsm_mem_record *record = lsm_mem_plan_range(plan, i);

        used = add_range(mem, record, first_sequence + record->index, used);
    }
    renew_view(mem);
    return used;
}

void lsm_mem_free_ranges(lsm_memtable *mem) {
    struct lsm_mem_range_view *view =
        atomic_load_explicit(&mem->range_view, memory_order_relaxed);

    while (view != NULL) {
        struct lsm_mem_range_view *older = view->older;

        lsm_range_set_destroy(view->set);
        lsm_free(view);
        view = older;
    }
}

uint64_t lsm_memtable_range_count(const lsm_memtable *mem) {
    const struct lsm_mem_range *newest = newest_range(mem);

    return newest == NULL ? 0 : newest->ordinal;
}

uint64_t lsm_mem_cover(const lsm_memtable *mem, lsm_slice skey, uint64_t sequence) {
    const struct lsm_mem_range_view *view = newest_view(mem);
    uint32_t in_view = view == NULL ? 0 : view->count;
    size_t place = 0;

    for (const struct lsm_mem_range *range = newest_range(mem);
         range != NULL && range->ordinal > in_view; range = range->older) {
        lsm_tombstone tombstone = tombstone_of(range);

        if (tombstone.sequence <= sequence &&
            lsm_slice_compare(tombstone.start, skey) <= 0 &&
            lsm_slice_compare(skey, tombstone.stop) < 0) {
            return tombstone.sequence; /* the ones behind it are older */
        }
    }
    return view == NULL ? 0 : lsm_range_set_cover(view->set, skey, sequence, &place);
}

bool lsm_memtable_list_ranges(const lsm_memtable *mem, lsm_range_list *list) {
    const struct lsm_mem_range_view *view = list->newest_only ? newest_view(mem) : NULL;
    uint32_t in_view = view == NULL ? 0 : view->count;

    for (const struct lsm_mem_range *range = newest_range(mem);
         range != NULL && range->ordinal > in_view; range = range->older) {
        if (!lsm_range_list_add(list, tombstone_of(range))) {
            return false;
        }
    }
    return view == NULL || lsm_range_list_add_set(list, view->set);
}
