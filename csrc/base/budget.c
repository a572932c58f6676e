/* SPDX-License-Identifier: Apache-2.0
 *
 * Counting. The count may go past the limit by what an allocator adds to the sizes that
 * it is asked for, which is known only afterwards.
 */
#include "base/budget.h"

#include "base/alloc.h"
#include "base/assert.h"

_Thread_local lsm_budget *lsm_budget_current LSM_TLS_FAST;

lsm_budget *lsm_budget_create(uint64_t max) {
    lsm_budget *before = lsm_budget_enter(NULL);
    lsm_budget *budget = lsm_calloc(1, sizeof(*budget));

    lsm_budget_leave(&before);
    if (budget != NULL) {
        budget->max = max;
    }
    return budget;
}

void lsm_budget_destroy(lsm_budget *budget) {
    if (budget != NULL) {
        lsm_budget *before = lsm_budget_enter(NULL);

        LSM_DEBUG_ASSERT(atomic_load(&budget->used) == 0);
        lsm_free(budget);
        lsm_budget_leave(&before);
    }
}

bool lsm_budget_take(lsm_budget *budget, uint64_t bytes) {
    uint64_t used = atomic_load_explicit(&budget->used, memory_order_relaxed);

    do {
        if (used > budget->max || bytes > budget->max - used) {
            atomic_store_explicit(&budget->refused, bytes, memory_order_relaxed);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&budget->used, &used, used + bytes,
                                                    memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

void lsm_budget_give(lsm_budget *budget, uint64_t bytes) {
    uint64_t before =
        atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);

    LSM_DEBUG_ASSERT(before >= bytes);
    (void)before;
}

void lsm_budget_correct(lsm_budget *budget, uint64_t taken, uint64_t really) {
    atomic_fetch_add_explicit(&budget->used, really - taken, memory_order_relaxed);
}

bool lsm_budget_refused(uint64_t *bytes) {
    lsm_budget *budget = lsm_budget_current;

    *bytes = budget == NULL
                 ? 0
                 : atomic_exchange_explicit(&budget->refused, 0, memory_order_relaxed);
    return *bytes != 0;
}
