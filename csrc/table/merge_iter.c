/* SPDX-License-Identifier: Apache-2.0
 *
 * The merge is a binary heap of the children that have an entry, the one to show on
 * top. In a heap sits, beside the child, the window of its key: the key's first eight
 * bytes as a number, inverted when the merge runs backward, so that in both directions
 * the smaller window comes first and only equal windows need a look at keys.
 *
 * Most often the child on top stays there, because runs of neighbouring keys come from
 * one table. So the merge remembers the challenger, the better of the two entries
 * below the top: after a step of the top, one comparison with it tells whether the
 * heap is in order still.
 *
 * Going forward, every child stands at its first entry behind what was shown last;
 * going backward, at its last entry before that. Entries are ordered by key, then by
 * child, so equal keys have one order, too, and both directions pass the same sequence.
 * A turn positions all other children anew by a seek, rather than by one step, because
 * a memtable may have got entries in between meanwhile.
 *
 * The first child found invalid for another reason than its end ends the merge with
 * its error; every way a child moves goes through `usable`, which sees to that.
 */
#include "table/merge_iter.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "table/key_order.h"

typedef struct merge_entry {
    uint64_t window;
    lsm_iter *child;
    size_t rank; /* the child's place among the children */
} merge_entry;

typedef struct merge_iter {
    lsm_iter base;
    bool reverse;
    size_t challenger; /* in heap; 0: there is none */
    size_t live;       /* entries in heap */
    merge_entry *heap; /* room for count; in the same piece of memory */
    size_t count;
    lsm_iter *children[]; /* owned */
} merge_iter;

static merge_iter *as_merge_iter(lsm_iter *iter) {
    return LSM_CONTAINER_OF(iter, merge_iter, base);
}

/* Comparing in line pays here, too: see lsm_skey_order. */
static inline int ikey_order(lsm_slice a, lsm_slice b) {
    int order = lsm_skey_order(lsm_ikey_skey(a), lsm_ikey_skey(b));

    if (order != 0) {
        return order;
    }
    uint64_t a_trailer = lsm_ikey_trailer(a);
    uint64_t b_trailer = lsm_ikey_trailer(b);

    return (a_trailer < b_trailer) - (a_trailer > b_trailer);
}

static LSM_NOINLINE bool tied_before(const merge_iter *iter, const merge_entry *a,
                                     const merge_entry *b) {
    int order = ikey_order(a->child->key, b->child->key);

    if (order == 0) {
        order = a->rank < b->rank ? -1 : 1;
    }
    return iter->reverse ? order > 0 : order < 0;
}

static inline bool entry_before(const merge_iter *iter, const merge_entry *a,
                                const merge_entry *b) {
    return a->window != b->window ? a->window < b->window : tied_before(iter, a, b);
}

static inline void take_window(const merge_iter *iter, merge_entry *entry) {
    uint64_t window = lsm_skey_window(lsm_ikey_skey(entry->child->key));

    entry->window = iter->reverse ? ~window : window;
}

static void fail(merge_iter *iter, const lsm_iter *child) {
    iter->live = 0;
    iter->base.valid = false;
    iter->base.status = child->status;
    (void)lsm_error_copy(&iter->base.error, &child->error);
}

/* false: the child failed, and with it the merge. */
static inline bool usable(merge_iter *iter, const lsm_iter *child) {
    if (LSM_UNLIKELY(!child->valid && child->status != LSMKV_OK)) {
        fail(iter, child);
        return false;
    }
    return true;
}

static inline void show_top(merge_iter *iter) {
    const lsm_iter *child = iter->heap[0].child;

    iter->base.key = child->key;
    iter->base.value = child->value;
}

/* Lets the entry at `at` sink to where it belongs. */
static void sink(merge_iter *iter, size_t at) {
    merge_entry *heap = iter->heap;
    merge_entry entry = heap[at];

    for (size_t below = 2 * at + 1; below < iter->live; below = 2 * at + 1) {
        if (below + 1 < iter->live &&
            entry_before(iter, &heap[below + 1], &heap[below])) {
            below++;
        }
        if (!entry_before(iter, &heap[below], &entry)) {
            break;
        }
        heap[at] = heap[below];
        at = below;
    }
    heap[at] = entry;
}

/* After a change of the heap: picks the challenger and shows the top. */
static void settle(merge_iter *iter) {
    iter->base.valid = iter->live > 0;
    iter->challenger = iter->live > 1 ? 1 : 0;
    if (iter->live > 2 && entry_before(iter, &iter->heap[2], &iter->heap[1])) {
        iter->challenger = 2;
    }
    if (iter->live > 0) {
        show_top(iter);
    }
}

/* Builds the heap of all children that have an entry; all have been moved. */
static void build(merge_iter *iter) {
    iter->live = 0;
    for (size_t rank = 0; rank < iter->count; rank++) {
        lsm_iter *child = iter->children[rank];

        if (!usable(iter, child)) {
            return;
        }
        if (child->valid) {
            merge_entry *entry = &iter->heap[iter->live++];

            *entry = (merge_entry){.child = child, .rank = rank};
            take_window(iter, entry);
        }
    }
    for (size_t at = iter->live / 2; at-- > 0;) {
        sink(iter, at);
    }
    settle(iter);
}

/* After a move of the child on top. */
static inline void resettle(merge_iter *iter) {
    merge_entry *top = &iter->heap[0];

    if (LSM_LIKELY(top->child->valid)) {
        take_window(iter, top);
        if (iter->challenger == 0 ||
            entry_before(iter, top, &iter->heap[iter->challenger])) {
            show_top(iter);
            return;
        }
    } else if (usable(iter, top->child)) {
        *top = iter->heap[--iter->live];
    } else {
        return;
    }
    if (iter->live > 0) {
        sink(iter, 0);
    }
    settle(iter);
}

/* Positions a child at its first entry behind (key, rank), or at its last one before
 * that when the merge runs backward. */
static bool turn_child(merge_iter *iter, size_t child_rank, lsm_slice key,
                       size_t rank) {
    lsm_iter *child = iter->children[child_rank];

    lsm_iter_seek(child, key);
    if (!iter->reverse) {
        if (child->valid && child_rank < rank && ikey_order(child->key, key) == 0) {
            lsm_iter_next(child);
        }
        return usable(iter, child);
    }
    if (!child->valid && child->status == LSMKV_OK) {
        lsm_iter_seek_last(child);
    }
    while (child->valid) {
        int order = ikey_order(child->key, key);

        if (order < 0 || (order == 0 && child_rank < rank)) {
            break;
        }
        lsm_iter_prev(child);
    }
    return usable(iter, child);
}

/* Turns round: all children but the one on top are moved to its other side, then it
 * makes its own step. */
static void turn(merge_iter *iter) {
    merge_entry top = iter->heap[0];

    iter->reverse = !iter->reverse;
    for (size_t rank = 0; rank < iter->count; rank++) {
        if (rank != top.rank && !turn_child(iter, rank, top.child->key, top.rank)) {
            return;
        }
    }
    if (iter->reverse) {
        lsm_iter_prev(top.child);
    } else {
        lsm_iter_next(top.child);
    }
    build(iter);
}

static void merge_destroy(lsm_iter *base) {
    merge_iter *iter = as_merge_iter(base);

    for (size_t i = 0; i < iter->count; i++) {
        lsm_iter_destroy(iter->children[i]);
    }
    lsm_free(iter);
}

/* Before the children are positioned anew: an error of the past is over. */
static void restart(merge_iter *iter, bool reverse) {
    iter->reverse = reverse;
    iter->base.status = LSMKV_OK;
}

static void merge_seek_first(lsm_iter *base) {
    merge_iter *iter = as_merge_iter(base);

    restart(iter, false);
    for (size_t i = 0; i < iter->count; i++) {
        lsm_iter_seek_first(iter->children[i]);
    }
    build(iter);
}

static void merge_seek_last(lsm_iter *base) {
    merge_iter *iter = as_merge_iter(base);

    restart(iter, true);
    for (size_t i = 0; i < iter->count; i++) {
        lsm_iter_seek_last(iter->children[i]);
    }
    build(iter);
}

static void merge_seek(lsm_iter *base, lsm_slice ikey) {
    merge_iter *iter = as_merge_iter(base);

    restart(iter, false);
    for (size_t i = 0; i < iter->count; i++) {
        lsm_iter_seek(iter->children[i], ikey);
    }
    build(iter);
}

static void merge_next(lsm_iter *base) {
    merge_iter *iter = as_merge_iter(base);

    LSM_DEBUG_ASSERT(base->valid);
    if (LSM_UNLIKELY(iter->reverse)) {
        turn(iter);
        return;
    }
    lsm_iter_next(iter->heap[0].child);
    resettle(iter);
}

static void merge_prev(lsm_iter *base) {
    merge_iter *iter = as_merge_iter(base);

    LSM_DEBUG_ASSERT(base->valid);
    if (LSM_UNLIKELY(!iter->reverse)) {
        turn(iter);
        return;
    }
    lsm_iter_prev(iter->heap[0].child);
    resettle(iter);
}

static const lsm_iter_ops merge_iter_ops = {
    .destroy = merge_destroy,
    .seek_first = merge_seek_first,
    .seek_last = merge_seek_last,
    .seek = merge_seek,
    .next = merge_next,
    .prev = merge_prev,
};

lsm_iter *lsm_merge_iter(lsm_iter *const *children, size_t count) {
    size_t own_size = sizeof(merge_iter) + count * sizeof(lsm_iter *);
    merge_iter *iter = NULL;

    if (count == 1) {
        return children[0];
    }
    iter = lsm_alloc(own_size + count * sizeof(merge_entry));
    if (iter == NULL) {
        for (size_t i = 0; i < count; i++) {
            lsm_iter_destroy(children[i]);
        }
        return NULL;
    }
    memset(iter, 0, own_size);
    iter->base.ops = &merge_iter_ops;
    lsm_error_clear(&iter->base.error);
    iter->heap = (merge_entry *)(void *)((char *)iter + own_size);
    iter->count = count;
    if (count != 0) {
        memcpy(iter->children, children, count * sizeof(*children));
    }
    return &iter->base;
}
