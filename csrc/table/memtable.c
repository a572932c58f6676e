/* SPDX-License-Identifier: Apache-2.0
 *
 * Memtable: life, point reads and the search by key. Insertion is in
 * memtable_insert.c, the iterator in memtable_iter.c, the layout in memtable_node.h.
 *
 * A point read goes through the index alone: one slot, one node. The node found is the
 * newest version; when that is too new for the reader, the version it may see is most
 * often among the next few nodes, and otherwise the skiplist is searched, so that a
 * key with a million newer versions costs no more than any other.
 */
#include "table/memtable.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "table/memtable_node.h"

enum {
    CAPACITY_UNIT = 4096,
    SLOTS_PER_LINE = LSM_CACHE_LINE / 4,
    BYTES_PER_SLOT = LSM_MEM_ENTRY_BYTES_MIN * 2 / 3,
    /* Versions looked at one by one before the skiplist is searched. */
    STEPS_MAX = 6,
    HEAD_END = LSM_MEM_HEAD * 8 + LSM_MEM_HEADER_SIZE,
};

/* Beyond it a slot would have no room for a single bit of hash. */
#define CAPACITY_MAX (UINT64_C(1) << 33)

_Static_assert(sizeof(lsm_mem_header) == LSM_MEM_HEADER_SIZE, "no padding");
_Static_assert(LSM_MEM_HEAD * 8 == LSM_MEM_HEIGHT_MAX * LSM_MEM_LINK_SIZE,
               "the head's tower starts the arena");

static uint64_t round_up(uint64_t value, uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

lsm_memtable *lsm_memtable_create(uint64_t capacity, uint64_t seed) {
    lsm_memtable *mem = NULL;

    if (capacity > CAPACITY_MAX - CAPACITY_UNIT) {
        return NULL;
    }
    capacity = round_up(capacity + HEAD_END, CAPACITY_UNIT);
    mem = lsm_alloc_aligned(sizeof(*mem));
    if (mem == NULL) {
        return NULL;
    }
    memset(mem, 0, sizeof(*mem));
    mem->capacity = capacity;
    mem->slot_count = (uint32_t)round_up(capacity / BYTES_PER_SLOT + 3, SLOTS_PER_LINE);
    mem->entry_max = mem->slot_count / 3 * 2;
    while (capacity / 8 >> mem->offset_bits != 0) {
        mem->offset_bits++;
    }
    mem->offset_mask = (UINT32_C(1) << mem->offset_bits) - 1;
    mem->rng.state = seed;
    mem->shared_size = UINT32_MAX;
    mem->skey_size_min = UINT32_MAX;
    atomic_init(&mem->height, 1);
    atomic_init(&mem->references, 1);
    atomic_init(&mem->used, HEAD_END);
    /* The arena stays untouched, so that the system provides its pages as they fill. */
    mem->arena = lsm_alloc(capacity);
    mem->slots = lsm_calloc(mem->slot_count, sizeof(*mem->slots));
    if (mem->arena == NULL || mem->slots == NULL) {
        lsm_memtable_unref(mem);
        return NULL;
    }
    memset(mem->arena, 0, HEAD_END);
    for (unsigned level = 0; level < LSM_MEM_HEIGHT_MAX; level++) {
        mem->tail[level] = LSM_MEM_HEAD;
    }
    return mem;
}

void lsm_memtable_ref(lsm_memtable *mem) {
    atomic_fetch_add_explicit(&mem->references, 1, memory_order_relaxed);
}

void lsm_memtable_unref(lsm_memtable *mem) {
    /* Release gives up what this thread did with it; acquire, on the last one, takes
     * over what all others did. */
    if (mem == NULL ||
        atomic_fetch_sub_explicit(&mem->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    lsm_mem_free_ranges(mem);
    lsm_free(mem->arena);
    lsm_free(mem->slots);
    lsm_free_aligned(mem);
}

uint64_t lsm_memtable_left(const lsm_memtable *mem) {
    uint64_t used = atomic_load_explicit(&mem->used, memory_order_relaxed);
    uint64_t entries = atomic_load_explicit(&mem->entry_count, memory_order_relaxed);
    uint64_t arena = mem->capacity - used;
    uint64_t index = (mem->entry_max - entries) * LSM_MEM_ENTRY_BYTES_MIN;

    if (LSM_UNLIKELY(lsm_memtable_range_count(mem) >= LSM_MEM_RANGES_MAX)) {
        return 0;
    }
    return arena < index ? arena : index;
}

uint32_t lsm_mem_find(const lsm_memtable *mem, lsm_slice skey, uint64_t trailer,
                      uint32_t path[LSM_MEM_HEIGHT_MAX]) {
    unsigned level = atomic_load_explicit(&mem->height, memory_order_relaxed);
    uint32_t at = LSM_MEM_HEAD;
    uint32_t after = 0; /* known to lie at or behind the key */
    uint32_t next = 0;

    for (unsigned above = LSM_MEM_HEIGHT_MAX; path != NULL && above > level; above--) {
        path[above - 1] = LSM_MEM_HEAD;
    }
    while (level-- > 0) {
        next = lsm_mem_next(mem, at, level);
        while (next != after && next != 0) {
            const uint8_t *node = lsm_mem_node(mem, next);
            /* What comes next if this node lies behind the key is fetched meanwhile. */
            if (level > 0) {
                LSM_PREFETCH(lsm_mem_node(mem, lsm_mem_next(mem, at, level - 1)));
            }
            if (!lsm_mem_before(node, skey, trailer)) {
                break;
            }
            at = next;
            next = lsm_mem_next(mem, at, level);
        }
        after = next;
        if (path != NULL) {
            path[level] = at;
        }
    }
    return next;
}

void lsm_memtable_prefetch(const lsm_memtable *mem, uint64_t hash) {
    LSM_PREFETCH(&mem->slots[lsm_mem_home(mem, hash)]);
}

/* The newest node of a stored key, 0 if there is none. */
static inline uint32_t newest(const lsm_memtable *mem, lsm_slice skey, uint64_t hash) {
    uint32_t wanted = lsm_mem_slot_make(mem, hash, 0);
    uint32_t place = lsm_mem_home(mem, hash);

    for (;;) {
        /* Acquire: pairs with the release by which the writer fills a slot. */
        uint32_t slot = atomic_load_explicit(&mem->slots[place], memory_order_acquire);
        uint32_t node = slot & mem->offset_mask;

        if (slot == 0) {
            return 0;
        }
        if ((slot & ~mem->offset_mask) == wanted) {
            lsm_slice found = lsm_mem_skey(lsm_mem_node(mem, node));

            if (found.size == skey.size &&
                lsm_skey_same(found.data, skey.data, skey.size)) {
                return node;
            }
        }
        place = place + 1 == mem->slot_count ? 0 : place + 1;
    }
}

/* The first node at or behind (skey, trailer), given the newest node of skey. */
static inline uint32_t pick_version(const lsm_memtable *mem, lsm_slice skey,
                                    uint64_t trailer, uint32_t node) {
    for (unsigned step = 0; step < STEPS_MAX && node != 0; step++) {
        if (!lsm_mem_before(lsm_mem_node(mem, node), skey, trailer)) {
            return node;
        }
        node = lsm_mem_next(mem, node, 0);
    }
    return node == 0 ? 0 : lsm_mem_find(mem, skey, trailer, NULL);
}

uint32_t lsm_mem_seek(const lsm_memtable *mem, lsm_slice skey, uint64_t trailer) {
    uint32_t node = newest(mem, skey, lsm_xxh3(skey.data, skey.size));

    return node == 0 ? lsm_mem_find(mem, skey, trailer, NULL)
                     : pick_version(mem, skey, trailer, node);
}

/* The newest version at or below the reader's sequence, when `node` is above it. */
static LSM_NOINLINE uint32_t pick_visible(const lsm_memtable *mem,
                                          const lsm_lookup *lookup, uint32_t node) {
    lsm_slice skey = lookup->skey;

    node =
        pick_version(mem, skey, lsm_trailer_make(lookup->sequence, LSM_TAG_SEEK), node);
    if (node == 0 || !lsm_slice_equal(lsm_mem_skey(lsm_mem_node(mem, node)), skey)) {
        return 0;
    }
    return node;
}

static inline lsmkv_status get_entry(const lsm_memtable *mem, const lsm_lookup *lookup,
                                     lsm_found *found) {
    uint32_t node = newest(mem, lookup->skey, lookup->hash);

    if (node == 0) {
        return LSMKV_NOT_FOUND;
    }
    const uint8_t *bytes = lsm_mem_node(mem, node);
    uint64_t trailer = lsm_mem_trailer(bytes);

    if (LSM_UNLIKELY(lsm_trailer_sequence(trailer) > lookup->sequence)) {
        node = pick_visible(mem, lookup, node);
        if (node == 0) {
            return LSMKV_NOT_FOUND;
        }
        bytes = lsm_mem_node(mem, node);
        trailer = lsm_mem_trailer(bytes);
    }
    found->trailer = trailer;
    found->field = lsm_mem_field(bytes);
    return LSMKV_OK;
}

static LSM_NOINLINE lsmkv_status get_covered(const lsm_memtable *mem,
                                             const lsm_lookup *lookup,
                                             lsm_found *found) {
    uint64_t cover = lsm_mem_cover(mem, lookup->skey, lookup->sequence);

    return lsm_range_hide(get_entry(mem, lookup, found), cover, found);
}

lsmkv_status lsm_memtable_get(const lsm_memtable *mem, const lsm_lookup *lookup,
                              lsm_found *found) {
    /* Relaxed: what the reader may see was linked before its sequence was published;
     * whoever looks at it loads again. */
    if (LSM_UNLIKELY(atomic_load_explicit(&mem->ranges, memory_order_relaxed) !=
                     NULL)) {
        return get_covered(mem, lookup, found);
    }
    return get_entry(mem, lookup, found);
}

uint64_t lsm_memtable_entry_count(const lsm_memtable *mem) {
    return atomic_load_explicit(&mem->entry_count, memory_order_relaxed);
}

bool lsm_memtable_empty(const lsm_memtable *mem) {
    return lsm_memtable_entry_count(mem) == 0 && lsm_memtable_range_count(mem) == 0;
}

uint64_t lsm_memtable_used(const lsm_memtable *mem) {
    return atomic_load_explicit(&mem->used, memory_order_relaxed);
}

uint64_t lsm_memtable_large_bytes(const lsm_memtable *mem) {
    return atomic_load_explicit(&mem->large_bytes, memory_order_relaxed);
}

uint64_t lsm_memtable_charge(const lsm_memtable *mem) {
    return mem->capacity + (uint64_t)mem->slot_count * sizeof(*mem->slots) +
           sizeof(*mem) +
           atomic_load_explicit(&mem->range_charge, memory_order_relaxed);
}

uint64_t lsm_memtable_last_sequence(const lsm_memtable *mem) {
    return atomic_load_explicit(&mem->last_sequence, memory_order_relaxed);
}
