/* SPDX-License-Identifier: Apache-2.0
 *
 * Grace periods. Only stripes that some thread of the process was ever given are
 * looked at, so that a process of few threads pays for few cache lines. A thread that
 * takes its number after a look read the counter of numbers with a read-modify-write
 * that follows the look's own, and so finds the object unpublished like any late
 * reader.
 */
#include "base/epoch.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/mutant.h"

_Static_assert(sizeof(lsm_epoch_stripe) == LSM_CACHE_LINE, "a stripe is a cache line");
_Static_assert(LSM_EPOCH_STRIPES <= 64, "a bit of `seen` for every stripe");

_Thread_local uint32_t lsm_epoch_stripe_plus_1 LSM_TLS_FAST;

/* Threads that ever entered an epoch. */
static _Atomic uint64_t thread_count;

uint32_t lsm_epoch_assign_stripe(void) {
    uint64_t number = atomic_fetch_add(&thread_count, 1);

    lsm_epoch_stripe_plus_1 = (uint32_t)(number % LSM_EPOCH_STRIPES) + 1;
    return lsm_epoch_stripe_plus_1;
}

bool lsm_epoch_init(lsm_epoch *epoch) {
    size_t size = LSM_EPOCH_STRIPES * sizeof(lsm_epoch_stripe);

    memset(epoch, 0, sizeof(*epoch));
    epoch->stripes = lsm_alloc_aligned(size);
    if (epoch->stripes == NULL) {
        return false;
    }
    memset(epoch->stripes, 0, size);
    return true;
}

void lsm_epoch_deinit(lsm_epoch *epoch) {
    if (epoch->stripes == NULL) {
        return;
    }
    LSM_ASSERT(lsm_epoch_idle(epoch));
    lsm_epoch_poll(epoch);
    LSM_ASSERT(epoch->waiting == NULL && atomic_load(&epoch->pending) == NULL);
    lsm_free_aligned(epoch->stripes);
    epoch->stripes = NULL;
}

/* A bit for every stripe that may have been entered. */
static uint64_t used_stripes(void) {
    uint64_t count = atomic_fetch_add(&thread_count, 0);

    return count >= LSM_EPOCH_STRIPES ? UINT64_MAX : ((uint64_t)1 << count) - 1;
}

static bool seen_empty(_Atomic uint64_t *active) {
    return atomic_fetch_add(active, 0) == 0;
}

/* Looks at the stripes not yet seen empty in this step. true: all were. */
static bool step_done(lsm_epoch *epoch, uint64_t parity) {
    uint64_t left = used_stripes() & ~epoch->seen;

    for (uint32_t i = 0; i < LSM_EPOCH_STRIPES && left >> i != 0; i++) {
        uint64_t bit = (uint64_t)1 << i;

        if ((left & bit) != 0 && seen_empty(&epoch->stripes[i].active[parity])) {
            epoch->seen |= bit;
            left &= ~bit;
        }
    }
    return left == 0;
}

/* Moves the running grace period on. true: it ended. By the polling thread. */
static bool advance(lsm_epoch *epoch) {
    uint64_t number = atomic_load_explicit(&epoch->number, memory_order_relaxed);

    if (!epoch->flipped) {
        if (!step_done(epoch, ~number & 1)) {
            return false;
        }
        number++;
        atomic_store(&epoch->number, number);
        epoch->flipped = true;
        epoch->seen = 0;
    }
    return step_done(epoch, ~number & 1);
}

/* Runs grace periods until one must wait or nothing is retired. false: it must wait.
 * By the polling thread. */
static bool run_periods(lsm_epoch *epoch) {
    for (;;) {
        if (epoch->waiting == NULL) {
            epoch->waiting = atomic_exchange(&epoch->pending, NULL);
            epoch->flipped = false;
            epoch->seen = 0;
        }
        if (epoch->waiting == NULL) {
            return true;
        }
        if (!advance(epoch) && !LSM_MUTANT(READERS_NOT_AWAITED)) {
            return false;
        }
        while (epoch->waiting != NULL) {
            lsm_retired *retired = epoch->waiting;

            epoch->waiting = retired->next;
            retired->release(retired);
        }
    }
}

bool lsm_epoch_poll(lsm_epoch *epoch) {
    bool all = true;

    /* Whoever retires while another thread polls finds `polling` taken and goes away.
     * Its push is visible to that thread's second exchange, so the load after it sees
     * the object, and no object is forgotten. */
    do {
        if (atomic_exchange(&epoch->polling, true)) {
            return false;
        }
        all = run_periods(epoch);
        atomic_exchange(&epoch->polling, false);
    } while (all && atomic_load(&epoch->pending) != NULL);
    return all;
}

void lsm_epoch_retire(lsm_epoch *epoch, lsm_retired *retired,
                      void (*release)(lsm_retired *retired)) {
    lsm_retired *head = atomic_load_explicit(&epoch->pending, memory_order_relaxed);

    retired->release = release;
    do {
        retired->next = head;
    } while (!atomic_compare_exchange_weak(&epoch->pending, &head, retired));
    lsm_epoch_poll(epoch);
}

bool lsm_epoch_idle(lsm_epoch *epoch) {
    uint64_t left = used_stripes();

    for (uint32_t i = 0; i < LSM_EPOCH_STRIPES; i++) {
        lsm_epoch_stripe *stripe = &epoch->stripes[i];

        if ((left >> i & 1) != 0 &&
            !(seen_empty(&stripe->active[0]) && seen_empty(&stripe->active[1]))) {
            return false;
        }
    }
    return true;
}
