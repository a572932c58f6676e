/* SPDX-License-Identifier: Apache-2.0
 *
 * The merge is a loser tree (Knuth, The Art of Computer Programming 3, 5.4.1). Its
 * leaves are the children; an inner node holds the child that lost there; the winner
 * of all, which is shown, stands outside. When the winner has moved, it plays again
 * against the losers on its way up, one comparison a level. Which way a comparison goes
 * nobody can predict where keys alternate between children, so it is arithmetic. A
 * child that keeps winning has a long run of keys before the next child's: then the
 * least loser on its way is remembered, and one comparison with that takes the place of
 * the others while the child stays ahead of it.
 *
 * Children are compared by windows: eight bytes of the key as a number, taken from
 * where the keys shown by all children begin to differ, and inverted when the merge
 * runs backward. Keys in one place of a database share a long prefix, and only equal
 * windows need a look at whole keys. The bytes shared are kept; when a key comes that
 * has not got them, or when windows were equal often, all windows are taken anew.
 *
 * Going forward, every child stands at its first entry behind what was shown last;
 * going backward, at its last entry before that. Entries are ordered by key, then by
 * child, so equal keys have one order, too, and both directions pass the same sequence.
 * A turn positions all other children anew by a seek, rather than by one step, because
 * a memtable may have got entries in between meanwhile.
 *
 * The first child found invalid for another reason than its end ends the merge with
 * its error; whoever moves a child asks `usable` afterwards, which sees to that.
 */
#include "table/merge_iter.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/mutant.h"
#include "table/key_order.h"

enum {
    SHARED_MAX = 64, /* bytes kept of what all keys share */
    STREAK = 7,      /* bits: the winner has won again so often in a row, three times */
    TIES_MAX = 64,   /* equal windows before these are taken anew */
};

/* Set in the rank of a child that has no entry, and of the leaves without a child; the
 * window is then the greatest. */
#define GONE (UINT64_C(1) << 32)

typedef struct contender {
    uint64_t window;
    uint64_t rank; /* the child's place among the children */
} contender;

typedef struct merge_iter {
    lsm_iter base;
    bool reverse;
    unsigned ties;
    size_t count;
    size_t width; /* leaves: a power of two */
    contender winner;
    uint64_t wins;      /* bit 0: the winner has won again; above: those before */
    uint64_t bound;     /* with a window below it the winner wins again */
    contender *losers;  /* inner nodes 1 .. width - 1; in the same piece of memory */
    contender *players; /* 2 * width, for building the tree; likewise */
    size_t shared_size; /* of all keys that children show, in `shared` */
    uint8_t shared[SHARED_MAX];
    lsm_iter *children[]; /* owned */
} merge_iter;

static merge_iter *as_merge_iter(lsm_iter *iter) {
    return LSM_CONTAINER_OF(iter, merge_iter, base);
}

static inline int ikey_order(lsm_slice a, lsm_slice b) {
    int order = lsm_skey_order(lsm_ikey_skey(a), lsm_ikey_skey(b));

    if (order != 0) {
        return order;
    }
    uint64_t a_trailer = lsm_ikey_trailer(a);
    uint64_t b_trailer = lsm_ikey_trailer(b);

    return (a_trailer < b_trailer) - (a_trailer > b_trailer);
}

static LSM_NOINLINE bool tied_before(merge_iter *iter, contender a, contender b) {
    if (((a.rank | b.rank) & GONE) != 0) {
        return (a.rank & GONE) == 0;
    }
    int order = ikey_order(iter->children[a.rank]->key, iter->children[b.rank]->key);

    iter->ties++;
    if (order == 0) {
        order = a.rank < b.rank ? -1 : 1;
    }
    return iter->reverse ? order > 0 : order < 0;
}

/* 1 or 0. */
static inline uint64_t contender_before(merge_iter *iter, contender a, contender b) {
    if (LSM_UNLIKELY(a.window == b.window)) {
        return tied_before(iter, a, b);
    }
    return a.window < b.window;
}

/* The contender that a child is, which shows a key that begins with the shared bytes.
 */
static inline contender enter(const merge_iter *iter, uint64_t rank) {
    lsm_slice skey = lsm_ikey_skey(iter->children[rank]->key);
    uint64_t window = lsm_skey_window(skey, iter->shared_size);

    return (contender){iter->reverse ? ~window : window, rank};
}

static void fail(merge_iter *iter, const lsm_iter *child) {
    iter->base.valid = false;
    iter->base.status = child->status;
    (void)lsm_error_copy(&iter->base.error, &child->error);
}

/* false: the child failed, and with it the merge. */
static inline bool usable(merge_iter *iter, const lsm_iter *child) {
    if (LSM_UNLIKELY(!child->valid && child->status != LSMKV_OK) &&
        !LSM_MUTANT(MERGE_HIDES_READ_ERRORS)) {
        fail(iter, child);
        return false;
    }
    return true;
}

static inline void show_winner(merge_iter *iter) {
    iter->base.valid = (iter->winner.rank & GONE) == 0;
    if (iter->base.valid) {
        const lsm_iter *child = iter->children[iter->winner.rank];

        iter->base.key = child->key;
        iter->base.value = child->value;
    }
}

/* Lets the winner of before play again, as `player`. */
static inline void play(merge_iter *iter, contender player) {
    uint64_t rank = player.rank;
    uint64_t least = UINT64_MAX;

    for (size_t at = (iter->width + (uint32_t)rank) / 2; at > 0; at /= 2) {
        contender *other = &iter->losers[at];
        uint64_t swap = 0 - contender_before(iter, *other, player);
        uint64_t windows = (other->window ^ player.window) & swap;
        uint64_t ranks = (other->rank ^ player.rank) & swap;

        least = other->window < least ? other->window : least;
        other->window ^= windows;
        player.window ^= windows;
        other->rank ^= ranks;
        player.rank ^= ranks;
    }
    iter->winner = player;
    iter->wins = iter->wins << 1 | (player.rank == rank);
    iter->bound = least & (0 - (uint64_t)((iter->wins & STREAK) == STREAK));
}

/* Finds out what the keys that children show have in common. */
static void share(merge_iter *iter) {
    bool any = false;

    iter->shared_size = 0;
    iter->ties = 0;
    for (size_t rank = 0; rank < iter->count; rank++) {
        const lsm_iter *child = iter->children[rank];

        if (child->valid) {
            lsm_slice skey = lsm_ikey_skey(child->key);
            size_t limit = any ? iter->shared_size : SHARED_MAX;

            limit = skey.size < limit ? skey.size : limit;
            if (any) {
                limit = lsm_common_size(iter->shared, skey.data, limit);
            } else {
                memcpy(iter->shared, skey.data, limit);
            }
            iter->shared_size = limit;
            any = true;
        }
    }
}

/* Plays the whole tournament, with windows taken anew. */
static void build(merge_iter *iter) {
    contender *players = iter->players;

    share(iter);
    for (size_t rank = 0; rank < iter->width; rank++) {
        bool there = rank < iter->count && iter->children[rank]->valid;

        players[iter->width + rank] =
            there ? enter(iter, rank) : (contender){UINT64_MAX, rank | GONE};
    }
    for (size_t at = iter->width - 1; at > 0; at--) {
        contender left = players[2 * at];
        contender right = players[2 * at + 1];
        bool right_wins = contender_before(iter, right, left) != 0;

        players[at] = right_wins ? right : left;
        iter->losers[at] = right_wins ? left : right;
    }
    iter->winner = players[1];
    iter->bound = 0;
    iter->wins = 0;
    show_winner(iter);
}

/* After all children were moved. */
static void settle(merge_iter *iter) {
    for (size_t rank = 0; rank < iter->count; rank++) {
        if (!usable(iter, iter->children[rank])) {
            return;
        }
    }
    build(iter);
}

static inline bool has_shared(const merge_iter *iter, lsm_slice ikey) {
    size_t size = iter->shared_size;

    if (LSM_UNLIKELY(ikey.size < size + LSM_TRAILER_SIZE)) {
        return false;
    }
    if (size >= 8) {
        return lsm_skey_same(ikey.data, iter->shared, size);
    }
    /* Internal keys have more than eight bytes. */
    uint64_t different = lsm_get_u64(ikey.data) ^ lsm_get_u64(iter->shared);

    return size == 0 || different << (64 - 8 * size) == 0;
}

/* After the winner was moved. */
static inline void resettle(merge_iter *iter) {
    uint64_t rank = iter->winner.rank;
    const lsm_iter *child = iter->children[rank];

    if (LSM_LIKELY(child->valid)) {
        if (LSM_UNLIKELY(iter->ties >= TIES_MAX || !has_shared(iter, child->key))) {
            build(iter);
            return;
        }
        contender player = enter(iter, rank);

        if (player.window < iter->bound) {
            show_winner(iter);
            return;
        }
        play(iter, player);
    } else if (usable(iter, child)) {
        play(iter, (contender){UINT64_MAX, rank | GONE});
    } else {
        return;
    }
    show_winner(iter);
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

/* Turns round: all children but the one shown are moved to its other side, then that
 * one makes its own step. */
static void turn(merge_iter *iter) {
    size_t top = (size_t)iter->winner.rank;
    lsm_iter *shown = iter->children[top];

    iter->reverse = !iter->reverse;
    for (size_t rank = 0; rank < iter->count; rank++) {
        if (rank != top && !LSM_MUTANT(TURN_LEAVES_OTHERS) &&
            !turn_child(iter, rank, shown->key, top)) {
            return;
        }
    }
    if (iter->reverse) {
        lsm_iter_prev(shown);
    } else {
        lsm_iter_next(shown);
    }
    settle(iter);
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
    settle(iter);
}

static void merge_seek_last(lsm_iter *base) {
    merge_iter *iter = as_merge_iter(base);

    restart(iter, true);
    for (size_t i = 0; i < iter->count; i++) {
        lsm_iter_seek_last(iter->children[i]);
    }
    settle(iter);
}

static void merge_seek(lsm_iter *base, lsm_slice ikey) {
    merge_iter *iter = as_merge_iter(base);

    restart(iter, false);
    for (size_t i = 0; i < iter->count; i++) {
        lsm_iter_seek(iter->children[i], ikey);
    }
    settle(iter);
}

static void merge_next(lsm_iter *base) {
    merge_iter *iter = as_merge_iter(base);

    LSM_DEBUG_ASSERT(base->valid);
    if (LSM_UNLIKELY(iter->reverse)) {
        turn(iter);
        return;
    }
    lsm_iter_next(iter->children[iter->winner.rank]);
    resettle(iter);
}

static void merge_prev(lsm_iter *base) {
    merge_iter *iter = as_merge_iter(base);

    LSM_DEBUG_ASSERT(base->valid);
    if (LSM_UNLIKELY(!iter->reverse)) {
        turn(iter);
        return;
    }
    lsm_iter_prev(iter->children[iter->winner.rank]);
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
    size_t width = 1;
    merge_iter *iter = NULL;

    if (count == 1) {
        return children[0];
    }
    while (width < count) {
        width *= 2;
    }
    iter = lsm_alloc(own_size + 3 * width * sizeof(contender));
    if (iter == NULL) {
        for (size_t i = 0; i < count; i++) {
            lsm_iter_destroy(children[i]);
        }
        return NULL;
    }
    memset(iter, 0, own_size);
    iter->base.ops = &merge_iter_ops;
    lsm_error_clear(&iter->base.error);
    iter->count = count;
    iter->width = width;
    iter->losers = (contender *)(void *)((char *)iter + own_size);
    iter->players = iter->losers + width;
    if (count != 0) {
        memcpy(iter->children, children, count * sizeof(*children));
    }
    return &iter->base;
}
