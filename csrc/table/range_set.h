/* SPDX-License-Identifier: Apache-2.0
 *
 * Range deletes, made searchable. A tombstone [start, stop) of sequence s hides every
 * version of a key in it that has a lower sequence. Tombstones overlap as they please;
 * a set cuts them at each other's ends into fragments that do not, each with the
 * sequences of the tombstones over it:
 *
 *   tombstones   |------------ 7 ------------|        fragments  |--7--|--9 7--|--7--|
 *                      |--- 9 ---|
 *
 * so a lookup is one binary search over fragments and one over sequences.
 *
 * Fragments count as written to a table (footer handle "range deletes"):
 *
 *   (start slice | stop slice | count varint | newest sequence varint |
 *    (difference to the next older one varint)*)*
 *
 * Threads: a set is immutable. Ownership: keys are borrowed by sets, from whoever the
 * tombstones or the encoded bytes belong to; a list copies what it is given.
 */
#ifndef LSM_TABLE_RANGE_SET_H
#define LSM_TABLE_RANGE_SET_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "format/ikey.h"

typedef struct lsm_tombstone {
    lsm_slice start; /* stored keys */
    lsm_slice stop;  /* exclusive */
    uint64_t sequence;
} lsm_tombstone;

/* Sequences that readers may have, ascending: a sequence is in the stratum of the
 * lowest that is not below it, or in the last. Of the tombstones of one stratum over a
 * fragment, the newest does all that the others do. */
typedef struct lsm_strata {
    const uint64_t *sequences;
    size_t count;
} lsm_strata;

size_t lsm_stratum_of(lsm_strata strata, uint64_t sequence);

typedef struct lsm_range_fragment {
    lsm_slice start;
    lsm_slice stop;
    size_t first; /* of its sequences in the set's */
    size_t count; /* at least 1 */
} lsm_range_fragment;

typedef struct lsm_range_set {
    lsm_range_fragment *fragments; /* ascending; owned, like sequences */
    size_t count;
    uint64_t *sequences; /* of each fragment, descending */
    size_t sequence_count;
} lsm_range_set;

/* Tombstones to build a set from, gathered from several places. */
typedef struct lsm_range_list {
    lsm_tombstone *items; /* owned */
    size_t count;
    size_t capacity;
    lsm_arena keys;
    /* Only what overlaps [start, stop), NULL: no bound, and is not newer is added. */
    lsm_slice start;
    lsm_slice stop;
    uint64_t sequence_max;
    bool newest_only; /* of a set's fragment, the newest sequence it wants suffices */
} lsm_range_list;

void lsm_range_list_init(lsm_range_list *list); /* no bounds */
void lsm_range_list_deinit(lsm_range_list *list);
/* Copies the keys, unless the list does not want the tombstone. false: no memory. */
bool lsm_range_list_add(lsm_range_list *list, lsm_tombstone tombstone) LSM_MUST_CHECK;
/* Adds what a set holds. false: no memory. */
bool lsm_range_list_add_set(lsm_range_list *list,
                            const lsm_range_set *set) LSM_MUST_CHECK;

/* A set over tombstones whose keys outlive it; items are put into another order. With
 * strata, a fragment keeps one sequence of each. NULL: no memory; without strata also
 * when tombstones overlap so much that the set would be out of proportion. */
lsm_range_set *lsm_range_set_build(lsm_tombstone *items, size_t count,
                                   const lsm_strata *strata);
void lsm_range_set_destroy(lsm_range_set *set); /* NULL is fine */
uint64_t lsm_range_set_charge(const lsm_range_set *set);

/* The first fragment that ends behind a key; the count if there is none. */
size_t lsm_range_set_find(const lsm_range_set *set, lsm_slice skey);
/* The newest sequence at or below `sequence` whose tombstone covers the key; 0: none.
 * `place` holds where the last lookup ended, which saves the search when keys come in
 * order; it may hold anything before the first. */
uint64_t lsm_range_set_cover(const lsm_range_set *set, lsm_slice skey,
                             uint64_t sequence, size_t *place);

/* The answer of a place where a read found a version of the key (OK) or none
 * (NOT_FOUND) and `cover` is the newest range delete over it: the newer one of both. */
static inline lsmkv_status lsm_range_hide(lsmkv_status status, uint64_t cover,
                                          lsm_found *found) {
    if (cover != 0 &&
        (status == LSMKV_NOT_FOUND ||
         (status == LSMKV_OK && lsm_trailer_sequence(found->trailer) < cover))) {
        *found = (lsm_found){.trailer = lsm_trailer_make(cover, LSM_KIND_RANGE_DELETE)};
        return LSMKV_OK;
    }
    return status;
}

static inline const uint64_t *lsm_range_sequences(const lsm_range_set *set,
                                                  const lsm_range_fragment *fragment) {
    return set->sequences + fragment->first;
}

/* A fragment, or a piece of one, with all that belongs to it; borrows everything. */
typedef struct lsm_range_span {
    lsm_slice start;
    lsm_slice stop;
    const uint64_t *sequences;
    size_t count;
} lsm_range_span;

static inline lsm_range_span lsm_range_span_of(const lsm_range_set *set, size_t index) {
    const lsm_range_fragment *fragment = &set->fragments[index];

    return (lsm_range_span){fragment->start, fragment->stop,
                            lsm_range_sequences(set, fragment), fragment->count};
}

/* Appends one fragment in the form above. false: no memory. */
bool lsm_range_encode(lsm_buf *to, const lsm_range_span *span) LSM_MUST_CHECK;
/* OK and a set that borrows its keys from `bytes`, which hold at least one fragment;
 * CORRUPTION, with the error left alone, or NO_MEMORY. Checks everything: bounds,
 * order, sequences. */
lsmkv_status lsm_range_set_decode(lsm_slice bytes, lsm_range_set **setp) LSM_MUST_CHECK;

#endif
