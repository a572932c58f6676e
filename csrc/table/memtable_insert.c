/* SPDX-License-Identifier: Apache-2.0
 *
 * Insertion of a sorted plan. A search in a large skiplist is a chain of cache misses,
 * so the records of a plan are taken in groups whose searches go on at the same time:
 *
 *   1. A group that lies behind everything in the list needs no search: the last node
 *      of each level comes before all of it.
 *   2. Otherwise one search for the group's first key finds the levels on which the
 *      group's last key has the same predecessor. These levels are settled for the
 *      whole group. A group that falls between two neighbours is settled altogether,
 *      and so is a group of one.
 *   3. On the levels below, every record is a lane with a search of its own. The lanes
 *      take turns, one step each: compare with the node that the last step prefetched,
 *      choose the next one and prefetch it.
 *   4. The nodes are linked in ascending order. All predecessors found are nodes that
 *      were there before the group. If the predecessor of a record is that of the last
 *      member linked on the level, then that member is now the nearest node before;
 *      if not, the predecessor lies behind that member and stands.
 *
 * Keys are compared by windows: eight bytes, taken as a number, from where the keys of
 * memtable and plan begin to differ. Keys of one namespace tend to share a long prefix,
 * and only equal windows need a look at whole keys. The writer alone knows how many
 * bytes are shared, and only for the moment, so readers compare from the front.
 *
 * The index needs no comparison of keys. When a node's successor has its key, then that
 * is the newest version so far, and the slot to replace is the one that names it; when
 * it has not, no node has the key, and the first empty slot is the key's.
 *
 * Towers above the first level draw on the slack that the plan reserved. When it is
 * used up, towers are low, which is never wrong.
 */
#include "table/memtable.h"

#include "base/assert.h"
#include "table/memtable_node.h"

enum {
    LANE_COUNT = 16, /* about as many cache misses as a core has in flight */
    WINDOW_SIZE = 8,
};

/* One record on its way into the list. */
typedef struct insert_lane {
    const lsm_mem_record *record;
    lsm_slice skey;
    uint64_t trailer;
    uint64_t window; /* of skey */
    uint32_t at;     /* before the record; the search goes on behind it */
    uint32_t next;   /* behind `at` on `level`, not yet compared */
    int level;
    uint32_t before[LSM_MEM_HEIGHT_MAX]; /* the predecessor, on the lanes' levels */
} insert_lane;

typedef struct insert_group {
    lsm_memtable *mem;
    const lsm_mem_plan *plan;
    uint64_t used;
    uint64_t slack;
    bool has_windows;     /* every key has room for one */
    uint32_t window_from; /* in the stored key */
    unsigned count;
    unsigned settled; /* the lowest level whose predecessor is in shared */
    uint32_t shared[LSM_MEM_HEIGHT_MAX];
    /* Of the member linked last on the level: its predecessor and itself. */
    uint32_t last_before[LSM_MEM_HEIGHT_MAX];
    uint32_t last[LSM_MEM_HEIGHT_MAX];
    insert_lane lanes[LANE_COUNT];
} insert_group;

static LSM_NOINLINE bool key_before(const lsm_memtable *mem, uint32_t node,
                                    const insert_lane *lane) {
    return lsm_mem_before(lsm_mem_node(mem, node), lane->skey, lane->trailer);
}

static inline const uint8_t *window_of(const insert_group *group, uint32_t node) {
    return lsm_mem_node(group->mem, node) + LSM_MEM_HEADER_SIZE + group->window_from;
}

static inline bool node_before(const insert_group *group, uint32_t node,
                               const insert_lane *lane) {
    if (LSM_LIKELY(group->has_windows)) {
        uint64_t window = lsm_get_u64_be(window_of(group, node));

        if (LSM_LIKELY(window != lane->window)) {
            return window < lane->window;
        }
    }
    return key_before(group->mem, node, lane);
}

/* Step 2. */
static void settle(insert_group *group) {
    const lsm_memtable *mem = group->mem;
    const insert_lane *first = &group->lanes[0];
    const insert_lane *last = &group->lanes[group->count - 1];
    unsigned level = atomic_load_explicit(&mem->height, memory_order_relaxed);
    uint32_t at = LSM_MEM_HEAD;
    uint32_t after = 0; /* known to lie behind the first */

    group->settled = level;
    while (level-- > 0) {
        uint32_t next = lsm_mem_next(mem, at, level);

        while (next != after && next != 0) {
            if (level > 0) {
                LSM_PREFETCH(lsm_mem_node(mem, lsm_mem_next(mem, at, level - 1)));
            }
            if (!node_before(group, next, first)) {
                break;
            }
            at = next;
            next = lsm_mem_next(mem, at, level);
        }
        if (next != 0 && next != after && first != last &&
            node_before(group, next, last)) {
            break;
        }
        after = next;
        group->shared[level] = at;
        group->settled = level;
    }
    for (unsigned i = 0; i < group->count && group->settled > 0; i++) {
        insert_lane *lane = &group->lanes[i];

        lane->level = (int)group->settled - 1;
        lane->at = at;
        lane->next = lsm_mem_next(mem, at, group->settled - 1);
    }
}

/* One step of step 3. true: the search has come to its end. Which way it goes nobody
 * can predict, so the choice is arithmetic and not a branch. */
static inline bool step(const insert_group *group, insert_lane *lane) {
    uint32_t next = lane->next;
    uint32_t forward = next != 0 && node_before(group, next, lane);
    uint32_t at = lane->at ^ ((lane->at ^ next) & (0 - forward));
    int level = lane->level;

    lane->before[level] = at;
    level -= 1 - (int)forward;
    if (level < 0) {
        return true;
    }
    next = lsm_mem_next(group->mem, at, (unsigned)level);
    LSM_PREFETCH(lsm_mem_node(group->mem, next));
    LSM_PREFETCH(window_of(group, next));
    lane->next = next;
    lane->at = at;
    lane->level = level;
    return false;
}

static void search(insert_group *group) {
    insert_lane *active[LANE_COUNT];
    unsigned left = group->count;

    for (unsigned i = 0; i < left; i++) {
        active[i] = &group->lanes[i];
    }
    while (left > 0) {
        for (unsigned i = 0; i < left; i++) {
            if (step(group, active[i])) {
                active[i--] = active[--left];
            }
        }
    }
}

/* Puts a node into the index, in the place of `older` unless that is 0. */
static void index_node(lsm_memtable *mem, uint64_t hash, uint32_t node,
                       uint32_t older) {
    uint32_t place = lsm_mem_home(mem, hash);

    for (;;) {
        uint32_t slot = atomic_load_explicit(&mem->slots[place], memory_order_relaxed);

        if ((slot & mem->offset_mask) == older) {
            /* Release: pairs with the acquire of a point read. */
            atomic_store_explicit(&mem->slots[place],
                                  lsm_mem_slot_make(mem, hash, node),
                                  memory_order_release);
            return;
        }
        LSM_ASSERT(slot != 0);
        place = place + 1 == mem->slot_count ? 0 : place + 1;
    }
}

static inline unsigned pick_height(insert_group *group) {
    uint64_t bits = lsm_rng_next(&group->mem->rng);
    unsigned height = 1;

    while (height < LSM_MEM_HEIGHT_MAX && (bits & 3) == 0) {
        height++;
        bits >>= 2;
    }
    uint64_t extra = (uint64_t)(height - 1) * LSM_MEM_LINK_SIZE;

    if (extra > group->slack) {
        return 1;
    }
    group->slack -= extra;
    return height;
}

/* The times of a large value, and where in the log it lies. */
static LSM_NOINLINE void place_pointer(const lsm_mem_plan *plan,
                                       const lsm_mem_record *record, uint8_t *to) {
    lsm_slice field = lsm_slice_make(record->field, record->field_size);
    lsm_large_value large = lsm_large_value_of(record->tag, field);
    size_t times = lsm_times_size(record->tag);
    lsm_pointer pointer = {
        .segment = plan->log_number,
        .offset = plan->log_offset + LSM_RECORD_HEADER_SIZE +
                  (uint64_t)(large.value.data - plan->payload),
        .checksum = large.checksum,
        .size = (uint32_t)large.value.size,
    };

    LSM_ASSERT(pointer.segment != 0 && pointer.offset % LSM_VALUE_ALIGN == 0);
    memcpy(to, record->field, times);
    lsm_pointer_encode(&pointer, to + times);
}

/* Takes arena bytes for a node of that height and copies the record there. */
static uint32_t place_node(insert_group *group, const insert_lane *lane,
                           unsigned height) {
    const lsm_mem_record *record = lane->record;
    uint64_t at = group->used + (uint64_t)height * LSM_MEM_LINK_SIZE;

    at = (at + 7) & ~UINT64_C(7);
    uint8_t *to = group->mem->arena + at;
    size_t field_size = lsm_mem_field_size(record->tag, record->field_size);
    lsm_mem_header header = {record->skey_size, (uint32_t)field_size};

    memcpy(to, &header, sizeof(header));
    to += sizeof(header);
    memcpy(to, record->skey, record->skey_size);
    to += record->skey_size;
    lsm_put_u64(to, lane->trailer);
    to += LSM_TRAILER_SIZE;
    if (LSM_UNLIKELY(lsm_tag_kind(record->tag) == LSM_KIND_POINTER)) {
        place_pointer(group->plan, record, to);
    } else if (field_size != 0) {
        memcpy(to, record->field, field_size);
    }
    to += field_size;
    group->used = ((uint64_t)(to - group->mem->arena) + 3) & ~UINT64_C(3);
    return (uint32_t)(at / 8);
}

static void raise_height(lsm_memtable *mem, unsigned height) {
    if (height > atomic_load_explicit(&mem->height, memory_order_relaxed)) {
        atomic_store_explicit(&mem->height, height, memory_order_relaxed);
    }
}

/* Step 4 for one record. */
static void link_lane(insert_group *group, const insert_lane *lane) {
    lsm_memtable *mem = group->mem;
    const lsm_mem_record *record = lane->record;
    unsigned height = pick_height(group);
    uint32_t node = place_node(group, lane, height);
    uint32_t older = 0;

    for (unsigned level = 0; level < height; level++) {
        uint32_t before =
            level < group->settled ? lane->before[level] : group->shared[level];
        bool follows = before == group->last_before[level];
        uint32_t at = follows ? group->last[level] : before;
        uint32_t next =
            atomic_load_explicit(lsm_mem_link(mem, at, level), memory_order_relaxed);

        group->last_before[level] = before;
        group->last[level] = node;
        atomic_store_explicit(lsm_mem_link(mem, node, level), next,
                              memory_order_relaxed);
        /* Release: pairs with the acquire of lsm_mem_next. */
        atomic_store_explicit(lsm_mem_link(mem, at, level), node, memory_order_release);
        if (next == 0) {
            mem->tail[level] = node;
        }
        if (level == 0) {
            older = next;
        }
    }
    raise_height(mem, height);
    if (!record->shadowed) {
        lsm_slice skey = lsm_mem_skey(lsm_mem_node(mem, older));
        bool same = older != 0 && skey.size == lane->skey.size &&
                    lsm_skey_same(skey.data, lane->skey.data, skey.size);

        index_node(mem, record->hash, node, same ? older : 0);
    }
}

static void insert_lanes(insert_group *group) {
    lsm_memtable *mem = group->mem;
    uint32_t end = mem->tail[0];

    memset(group->last_before, 0, sizeof(group->last_before));
    memset(group->last, 0, sizeof(group->last));
    if (end == LSM_MEM_HEAD || node_before(group, end, &group->lanes[0])) {
        memcpy(group->shared, mem->tail, sizeof(group->shared));
        group->settled = 0;
    } else {
        for (unsigned level = 0; level < LSM_MEM_HEIGHT_MAX; level++) {
            group->shared[level] = LSM_MEM_HEAD;
        }
        settle(group);
        if (group->settled > 0) {
            search(group);
        }
    }
    for (unsigned i = 0; i < group->count; i++) {
        link_lane(group, &group->lanes[i]);
    }
}

static inline const lsm_mem_record *record_at(const lsm_mem_plan *plan, uint32_t i) {
    return &plan->records[plan->order == NULL ? i : plan->order[i]];
}

/* Where the keys of memtable and plan begin to differ. */
static void choose_window(insert_group *group, const lsm_mem_plan *plan) {
    lsm_memtable *mem = group->mem;
    const uint8_t *first = record_at(plan, 0)->skey;
    const uint8_t *last = record_at(plan, plan->count - 1)->skey;
    const uint8_t *other = first;
    uint32_t least = plan->skey_size_min;
    uint32_t shared = 0;

    if (mem->tail[0] != LSM_MEM_HEAD) {
        other = lsm_mem_skey(lsm_mem_node(mem, mem->tail[0])).data;
        least = least < mem->skey_size_min ? least : mem->skey_size_min;
    }
    uint32_t limit = least < mem->shared_size ? least : mem->shared_size;

    while (shared < limit && first[shared] == last[shared] &&
           first[shared] == other[shared]) {
        shared++;
    }
    mem->skey_size_min = least;
    mem->shared_size = shared;
    group->has_windows = least >= WINDOW_SIZE;
    group->window_from = 0;
    if (group->has_windows) {
        uint32_t from_max = least - WINDOW_SIZE;

        group->window_from = shared < from_max ? shared : from_max;
    }
}

/* Fills the lanes with the records from `from` on, and asks for what these and the
 * next ones will need. */
static void fill_lanes(insert_group *group, const lsm_mem_plan *plan, uint32_t from,
                       uint64_t first_sequence) {
    uint32_t left = plan->count - from;

    group->count = left < LANE_COUNT ? left : LANE_COUNT;
    for (unsigned i = 0; i < group->count; i++) {
        const lsm_mem_record *record = record_at(plan, from + i);
        uint64_t sequence = first_sequence + record->index;
        insert_lane *lane = &group->lanes[i];

        lane->record = record;
        lane->skey = lsm_slice_make(record->skey, record->skey_size);
        lane->trailer = lsm_trailer_make(sequence, record->tag);
        if (group->has_windows) {
            lane->window = lsm_get_u64_be(record->skey + group->window_from);
        }
        lsm_memtable_prefetch(group->mem, record->hash);
        if (i + LANE_COUNT < left) {
            LSM_PREFETCH(record_at(plan, from + i + LANE_COUNT)->skey);
        }
    }
}

void lsm_memtable_insert(lsm_memtable *mem, const lsm_mem_plan *plan,
                         uint64_t first_sequence) {
    uint64_t last_sequence = first_sequence + plan->sequence_count - 1;
    uint64_t entries = lsm_memtable_entry_count(mem);
    insert_group group;

    LSM_ASSERT(entries + plan->count <= mem->entry_max);
    LSM_ASSERT(first_sequence > lsm_memtable_last_sequence(mem));
    group.mem = mem;
    group.plan = plan;
    group.used = lsm_memtable_used(mem);
    LSM_ASSERT(plan->bytes <= mem->capacity - group.used);
    if (LSM_LIKELY(plan->count != 0)) {
        choose_window(&group, plan);
    }
    if (LSM_UNLIKELY(plan->range_count != 0)) {
        group.used = lsm_mem_insert_ranges(mem, plan, first_sequence, group.used);
    }
    group.slack = LSM_MEM_PLAN_SLACK + (uint64_t)plan->count * LSM_MEM_RECORD_SLACK;
    for (uint32_t from = 0; from < plan->count; from += LANE_COUNT) {
        fill_lanes(&group, plan, from, first_sequence);
        insert_lanes(&group);
    }
    LSM_ASSERT(group.used <= mem->capacity);
    atomic_store_explicit(&mem->used, group.used, memory_order_relaxed);
    atomic_store_explicit(&mem->entry_count, entries + plan->count,
                          memory_order_relaxed);
    atomic_store_explicit(&mem->last_sequence, last_sequence, memory_order_relaxed);
    if (LSM_UNLIKELY(plan->large_bytes != 0)) {
        atomic_store_explicit(&mem->large_bytes,
                              lsm_memtable_large_bytes(mem) + plan->large_bytes,
                              memory_order_relaxed);
    }
}
