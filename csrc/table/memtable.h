/* SPDX-License-Identifier: Apache-2.0
 *
 * Memtable: a skiplist in one contiguous piece of memory, plus a hash index from
 * stored key to its newest node, so that a point read costs one or two cache misses.
 * memtable_node.h has the layout of both.
 *
 * The index is open addressing, sized from the capacity when the memtable is made, at
 * most two thirds full by construction, never resized. A slot packs the place of a
 * node and some bits of the key's hash, so most reads of absent keys touch one slot
 * and no node. A slot of a key is replaced only by a node of a higher sequence, after
 * that node was linked into the skiplist.
 *
 * Range deletes lie beside the skiplist; memtable_range.c has them.
 *
 * Capacity is reserved before a batch goes to the log: what lsm_memtable_left allows,
 * lsm_memtable_insert takes without a failure.
 *
 * Threads: one writer at a time; any number of readers at any moment, who ask only for
 * sequences already published. References are counted (atomic).
 */
#ifndef LSM_TABLE_MEMTABLE_H
#define LSM_TABLE_MEMTABLE_H

#include "format/batch.h"
#include "format/ikey.h"
#include "table/iter.h"
#include "table/range_set.h"

typedef struct lsm_memtable lsm_memtable;

/* Of a large value the memtable keeps a pointer (lsm_pointer) into the log.
 *
 * A batch taken apart before it meets the memtable, outside every lock: parsed, hashed
 * and put in the order of internal keys. Borrows the batch's bytes. */
typedef struct lsm_mem_record {
    uint64_t hash;
    const uint8_t *skey;
    const uint8_t *field;
    uint32_t skey_size;
    uint32_t field_size;
    uint32_t index; /* in the batch: sequence = first sequence + index */
    uint8_t tag;
    bool shadowed; /* a later record of the batch has the same key */
} lsm_mem_record;

enum { LSM_MEM_PLAN_INLINE = 2 };

typedef struct lsm_mem_plan {
    lsm_mem_record *records; /* in the order of the batch; inlined or owned */
    uint32_t *order;         /* places in records, by internal key; inlined or behind
                              * the records; NULL: records are in that order already */
    uint32_t count;          /* of records, range deletes apart */
    uint32_t range_count;    /* lsm_mem_plan_range */
    uint32_t sequence_count; /* both together */
    uint32_t skey_size_min;  /* of the stored keys of records */
    uint64_t bytes;          /* arena bytes needed at most */
    uint64_t large_bytes;    /* of large values; they stay in the log */
    const uint8_t *payload;  /* the batch */
    /* Where the log record of the batch begins; for a plan with large values its user
     * says so before it is inserted. */
    uint64_t log_number;
    uint64_t log_offset;
    lsm_mem_record inlined[LSM_MEM_PLAN_INLINE];
    uint32_t inlined_order[LSM_MEM_PLAN_INLINE];
} lsm_mem_plan;

/* INVALID_ARGUMENT for a malformed batch, NO_MEMORY. A plan contains pointers to
 * itself: it must not be copied. */
lsmkv_status lsm_mem_plan_init(lsm_mem_plan *plan, lsm_slice payload,
                               lsmkv_error *err) LSM_MUST_CHECK;
void lsm_mem_plan_deinit(lsm_mem_plan *plan); /* a zeroed plan is fine */

/* Whether the log record of the batch may begin there: one with large values begins
 * where they come to lie aligned. */
static inline bool lsm_mem_plan_may_begin(const lsm_mem_plan *plan, uint64_t offset) {
    return plan->large_bytes == 0 || offset % LSM_VALUE_ALIGN == 0;
}

/* The range deletes, in the order of the batch: skey is where one starts, field where
 * it stops. They lie at the end of the array of records, from the back. */
static inline const lsm_mem_record *lsm_mem_plan_range(const lsm_mem_plan *plan,
                                                       uint32_t i) {
    return &plan->records[plan->sequence_count - 1 - i];
}

/* `capacity`: bytes that lsm_memtable_left answers at least while it is empty; the
 * index comes on top. NULL: no memory, or more than 8 GiB. */
lsm_memtable *lsm_memtable_create(uint64_t capacity, uint64_t seed);
void lsm_memtable_ref(lsm_memtable *mem);
void lsm_memtable_unref(lsm_memtable *mem); /* NULL is fine */

/* Arena bytes still free: plans fit together while the sum of their `bytes` does. None
 * once it holds LSM_MEM_RANGES_MAX range deletes, though what fitted then still does.
 */
enum { LSM_MEM_RANGES_MAX = 1024 };
uint64_t lsm_memtable_left(const lsm_memtable *mem);
void lsm_memtable_insert(lsm_memtable *mem, const lsm_mem_plan *plan,
                         uint64_t first_sequence);

/* OK and *found (lent while the memtable lives) or NOT_FOUND. A key that is covered by
 * a range delete, and has nothing newer here, is found as one: kind RANGE_DELETE. */
lsmkv_status lsm_memtable_get(const lsm_memtable *mem, const lsm_lookup *lookup,
                              lsm_found *found);
/* Touches the index slot of a hash, ahead of lsm_memtable_get. */
void lsm_memtable_prefetch(const lsm_memtable *mem, uint64_t hash);

/* Adds the range deletes that the list wants. false: no memory. */
bool lsm_memtable_list_ranges(const lsm_memtable *mem,
                              lsm_range_list *list) LSM_MUST_CHECK;

/* Over the entries, not the range deletes. The iterator holds a reference. NULL: no
 * memory. It sees nodes linked while it is in use; its user skips sequences it should
 * not see. */
lsm_iter *lsm_memtable_iter(lsm_memtable *mem);

bool lsm_memtable_empty(const lsm_memtable *mem);
uint64_t lsm_memtable_entry_count(const lsm_memtable *mem); /* range deletes apart */
uint64_t lsm_memtable_range_count(const lsm_memtable *mem);
uint64_t lsm_memtable_used(const lsm_memtable *mem);        /* arena bytes in use */
uint64_t lsm_memtable_large_bytes(const lsm_memtable *mem); /* it points to */
uint64_t lsm_memtable_charge(const lsm_memtable *mem);      /* all memory it holds */
uint64_t lsm_memtable_last_sequence(const lsm_memtable *mem);

#endif
