/* SPDX-License-Identifier: Apache-2.0
 *
 * The memtable's inside, shared by the files that implement table/memtable.h alone.
 *
 * Node, named by the place of its header in the arena, divided by 8 (u32, 0 is none):
 *
 *   -4 x height   next u32 x height, level 0 last (right before the header)
 *    0            stored key size u32, value field size u32
 *    8            stored key, trailer u64: the internal key; then the value field
 *
 * The tower lies in front, so the key has a fixed place, and what a search looks at,
 * the link of its level and the first bytes of the key, lies close together. The
 * height is not stored: a node reached on a level has that level. The head comes
 * first in the arena, has all levels and is never compared.
 *
 * Hash index: slot_count slots of 32 bits; 0 is empty. The low offset_bits of a slot
 * name the newest node of a stored key, the bits above hold as many of the low bits of
 * the key's hash. The high half of the hash picks the slot where probing begins, which
 * goes on slot by slot and round the end. Slots are never emptied.
 *
 * Links and slots are stored with release and loaded with acquire: whoever finds a
 * node through them finds its bytes. A link of the node itself is set, relaxed, before
 * the node is linked on that level.
 */
#ifndef LSM_TABLE_MEMTABLE_NODE_H
#define LSM_TABLE_MEMTABLE_NODE_H

#include <stdatomic.h>

#include "base/rng.h"
#include "table/key_order.h"
#include "table/memtable.h"

enum {
    LSM_MEM_HEIGHT_MAX = 12, /* levels thin out by four: good for 2^24 nodes */
    LSM_MEM_HEAD = LSM_MEM_HEIGHT_MAX * 4 / 8,
    LSM_MEM_HEADER_SIZE = 8,
    LSM_MEM_LINK_SIZE = 4,
    /* Reserved for a plan as a whole and for each of its records, beyond the bytes of
     * nodes of height 1: what higher towers take. */
    LSM_MEM_PLAN_SLACK = LSM_MEM_HEIGHT_MAX * LSM_MEM_LINK_SIZE,
    LSM_MEM_RECORD_SLACK = 4,
    /* What a record counts at least: the index has a slot for every two thirds of it,
     * so that while bytes are left there are slots left. */
    LSM_MEM_ENTRY_BYTES_MIN = 48,
    LSM_MEM_RANGE_BYTES = 32, /* of a range delete, before its keys */
};

/* Arena bytes of a node of height 1 at most, whose header is moved on to a multiple of
 * 8 and its end to one of 4, and of its share of the slack. */
static inline uint64_t lsm_mem_node_bytes(uint64_t skey_size, uint64_t field_size) {
    uint64_t content = LSM_MEM_HEADER_SIZE + skey_size + LSM_TRAILER_SIZE + field_size;
    uint64_t bytes =
        content + LSM_MEM_LINK_SIZE + LSM_MEM_LINK_SIZE + 3 + LSM_MEM_RECORD_SLACK;

    return bytes < LSM_MEM_ENTRY_BYTES_MIN ? LSM_MEM_ENTRY_BYTES_MIN : bytes;
}

/* Arena bytes of a range delete at most, aligned to 8 and ending at a multiple of 4. */
static inline uint64_t lsm_mem_range_bytes(uint64_t start_size, uint64_t stop_size) {
    return LSM_MEM_RANGE_BYTES + start_size + stop_size + 4 + 3;
}

/* The bytes of a record's value field in a node: for a large value those of times and
 * pointer. */
static inline size_t lsm_mem_field_size(uint8_t tag, size_t field_size) {
    return LSM_LIKELY(lsm_tag_kind(tag) != LSM_KIND_POINTER)
               ? field_size
               : lsm_times_size(tag) + LSM_POINTER_SIZE;
}

typedef struct lsm_mem_header {
    uint32_t skey_size;
    uint32_t field_size;
} lsm_mem_header;

struct lsm_memtable {
    /* Constant after creation. */
    uint8_t *arena;          /* owned */
    _Atomic uint32_t *slots; /* owned */
    uint32_t slot_count;
    uint32_t entry_max;
    uint32_t offset_mask;
    unsigned offset_bits;
    uint64_t capacity;
    /* Stored by the writer, relaxed: a reader that starts its search on too low a
     * level only walks further. */
    _Atomic uint32_t height;
    /* NULL while there are none. Set by the writer, with release. */
    _Atomic(struct lsm_mem_range *) ranges;
    _Atomic(struct lsm_mem_range_view *) range_view;
    /* The writer's, on cache lines that point reads do not touch. The atomic ones are
     * counters that anybody may ask for, relaxed: they guard nothing. */
    _Alignas(LSM_CACHE_LINE) _Atomic uint64_t used;
    _Atomic uint64_t entry_count;
    _Atomic uint64_t last_sequence;
    _Atomic uint64_t range_charge; /* of the sets over range deletes */
    uint32_t ranges_tried;         /* when a set was last built, or tried */
    _Atomic uint64_t large_bytes;
    lsm_rng rng;
    uint32_t shared_size;              /* leading bytes that all stored keys share */
    uint32_t skey_size_min;            /* of all stored keys */
    uint32_t tail[LSM_MEM_HEIGHT_MAX]; /* the last node of each level */
    /* Additions relaxed; the last subtraction acquires what others released. */
    _Atomic uint32_t references;
};

static inline uint8_t *lsm_mem_node(const lsm_memtable *mem, uint32_t node) {
    return mem->arena + (size_t)node * 8;
}

static inline lsm_mem_header lsm_mem_header_get(const uint8_t *node) {
    return *(const lsm_mem_header *)(const void *)node;
}

static inline lsm_slice lsm_mem_skey(const uint8_t *node) {
    return lsm_slice_make(node + LSM_MEM_HEADER_SIZE,
                          lsm_mem_header_get(node).skey_size);
}

static inline uint64_t lsm_mem_trailer(const uint8_t *node) {
    return lsm_get_u64(node + LSM_MEM_HEADER_SIZE + lsm_mem_header_get(node).skey_size);
}

static inline lsm_slice lsm_mem_field(const uint8_t *node) {
    lsm_mem_header header = lsm_mem_header_get(node);

    return lsm_slice_make(
        node + LSM_MEM_HEADER_SIZE + header.skey_size + LSM_TRAILER_SIZE,
        header.field_size);
}

static inline _Atomic uint32_t *lsm_mem_link(const lsm_memtable *mem, uint32_t node,
                                             unsigned level) {
    return (_Atomic uint32_t *)(void *)lsm_mem_node(mem, node) - 1 - level;
}

/* Acquire: pairs with the release in the writer's link. */
static inline uint32_t lsm_mem_next(const lsm_memtable *mem, uint32_t node,
                                    unsigned level) {
    return atomic_load_explicit(lsm_mem_link(mem, node, level), memory_order_acquire);
}

/* true when the node's internal key is less than (skey, trailer). */
static inline bool lsm_mem_before(const uint8_t *node, lsm_slice skey,
                                  uint64_t trailer) {
    int order = lsm_skey_order(lsm_mem_skey(node), skey);

    return order != 0 ? order < 0 : lsm_mem_trailer(node) > trailer;
}

/* The slot where the search for a hash begins. */
static inline uint32_t lsm_mem_home(const lsm_memtable *mem, uint64_t hash) {
    return (uint32_t)((hash >> 32) * mem->slot_count >> 32);
}

static inline uint32_t lsm_mem_slot_make(const lsm_memtable *mem, uint64_t hash,
                                         uint32_t node) {
    return (uint32_t)hash << mem->offset_bits | node;
}

/* The first node at or behind (skey, trailer), 0 at the end, by way of the skiplist.
 * `path`, unless NULL, gets the last node before it on each level. */
uint32_t lsm_mem_find(const lsm_memtable *mem, lsm_slice skey, uint64_t trailer,
                      uint32_t path[LSM_MEM_HEIGHT_MAX]);

/* The same without a path, by way of the index where that has the key. */
uint32_t lsm_mem_seek(const lsm_memtable *mem, lsm_slice skey, uint64_t trailer);

/* Adds the range deletes of a plan, of which there is at least one, to the arena, of
 * which `used` bytes are in use; returns how many are then. */
uint64_t lsm_mem_insert_ranges(lsm_memtable *mem, const lsm_mem_plan *plan,
                               uint64_t first_sequence, uint64_t used);
void lsm_mem_free_ranges(lsm_memtable *mem);
/* The newest range delete at or below a sequence over a key; 0: none. */
uint64_t lsm_mem_cover(const lsm_memtable *mem, lsm_slice skey, uint64_t sequence);

#endif
