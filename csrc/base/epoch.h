/* SPDX-License-Identifier: Apache-2.0
 *
 * Epochs: readers that share nothing, writers that free late. The scheme is SRCU's
 * (McKenney, "Sleepable Read-Copy Update", 2006) with the waiting made asynchronous.
 *
 *   reader   lsm_epoch_enter; load shared pointers; use them; lsm_epoch_leave
 *   writer   unpublish the object (atomic store); lsm_epoch_retire(object, free)
 *
 * Each reader counts itself in one of LSM_EPOCH_STRIPES cache lines chosen by thread,
 * under the parity of the current epoch. Retired objects wait on a lock-free stack
 * until a grace period begins for all of them together, and are released when it ends:
 *
 *   (A) every stripe was seen once with no reader under the other parity,
 *   (B) the epoch is flipped, so that new readers use that other parity,
 *   (C) every stripe was seen once with no reader under the old parity.
 *
 * "Seen" is an atomic addition of 0. All accesses to one counter are read-modify-write
 * operations and so have one order: a reader that counted itself before is seen, and a
 * reader that comes after synchronises with the look and finds the object unpublished,
 * whichever parity it chose and whatever order its own loads have. The flip is there
 * for progress only: readers that keep coming cannot hold up (C).
 *
 * lsm_epoch_poll moves the running grace period on as far as it goes without waiting;
 * retire calls it. An object whose readers are slow is released by a later poll, so an
 * owner that retires seldom polls from time to time. The same counters say whether any
 * call is inside the database, so closing stores its flag and then waits until
 * lsm_epoch_idle has been true.
 *
 * Threads: enter and leave are wait-free; the token may be given to another thread.
 * retire and poll never wait: one thread at a time polls, the others leave it to that
 * one. Release functions run on the thread that polls, one after another, and may
 * retire further objects. So retire and poll must not be called while holding a lock
 * that a release function takes.
 */
#ifndef LSM_BASE_EPOCH_H
#define LSM_BASE_EPOCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

/* With glibc a thread-local variable can be found without a call, also in a library
 * that is loaded late: room is kept for such variables. */
#if defined(__GNUC__) && defined(__GLIBC__)
#define LSM_TLS_FAST __attribute__((tls_model("initial-exec")))
#else
#define LSM_TLS_FAST
#endif

enum { LSM_EPOCH_STRIPES = 64 };

/* Embedded in an object that is retired. */
typedef struct lsm_retired {
    struct lsm_retired *next;
    void (*release)(struct lsm_retired *retired);
} lsm_retired;

typedef struct lsm_epoch_stripe {
    _Atomic uint64_t active[2]; /* readers inside, by parity */
    char padding[LSM_CACHE_LINE - 2 * sizeof(uint64_t)];
} lsm_epoch_stripe;

typedef struct lsm_epoch {
    lsm_epoch_stripe *stripes; /* LSM_EPOCH_STRIPES, cache-line aligned; owned */
    _Atomic uint64_t number;   /* its low bit is the parity readers enter under */
    atomic_bool polling;       /* held by the one thread that moves a grace period */
    bool flipped;              /* step (B) of the running period is done; by polling */
    uint64_t seen;             /* bit per stripe seen empty in this step; by polling */
    lsm_retired *waiting;      /* retired before the running grace period; by polling */
    _Atomic(lsm_retired *) pending; /* retired, no grace period begun (a stack) */
} lsm_epoch;

/* What lsm_epoch_leave needs to undo an enter. */
typedef _Atomic uint64_t *lsm_epoch_token;

bool lsm_epoch_init(lsm_epoch *epoch) LSM_MUST_CHECK; /* false: no memory */
/* Releases everything still retired. No reader may be inside, no other call running.
 * Fine on a zeroed struct. */
void lsm_epoch_deinit(lsm_epoch *epoch);

/* The calling thread's stripe plus 1, or 0 before its first enter. */
extern _Thread_local uint32_t lsm_epoch_stripe_plus_1 LSM_TLS_FAST;
uint32_t lsm_epoch_assign_stripe(void) LSM_COLD;

static inline lsm_epoch_token lsm_epoch_enter(lsm_epoch *epoch) {
    uint32_t stripe = lsm_epoch_stripe_plus_1;
    if (LSM_UNLIKELY(stripe == 0)) {
        stripe = lsm_epoch_assign_stripe();
    }
    /* Relaxed: either parity is correct, a stale one only delays a grace period. */
    uint64_t parity = atomic_load_explicit(&epoch->number, memory_order_relaxed) & 1;
    lsm_epoch_token token = &epoch->stripes[stripe - 1].active[parity];
    /* Pairs with the additions of 0 by poll and idle, as the head of this file says. */
    atomic_fetch_add_explicit(token, 1, memory_order_seq_cst);
    return token;
}

static inline void lsm_epoch_leave(lsm_epoch_token token) {
    /* Release: the reader's accesses come before the release of what it read; pairs
     * with the addition of 0 that sees the counter at zero. */
    atomic_fetch_sub_explicit(token, 1, memory_order_release);
}

/* Takes the object, which must be unpublished already, and calls release(retired) when
 * no reader can hold it. */
void lsm_epoch_retire(lsm_epoch *epoch, lsm_retired *retired,
                      void (*release)(lsm_retired *retired));
/* true: nothing waits for its release any more. */
bool lsm_epoch_poll(lsm_epoch *epoch);
/* true when every stripe was seen with no reader inside, each at some moment of the
 * call. A reader not counted finds all that the caller stored before the call. */
bool lsm_epoch_idle(lsm_epoch *epoch);

#endif
