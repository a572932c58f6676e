/* SPDX-License-Identifier: Apache-2.0
 *
 * Budget: how much memory one database may take. While a call works for a database
 * that has one, everything that the thread allocates (base/alloc.h) is counted in it,
 * and what does not fit is refused like memory that the system does not have; so no
 * size that a file declares can ask for more. lsm_fail_memory then names the budget in
 * the place of the system.
 *
 *   call begins   lsm_budget_enter: this thread works for that budget
 *   allocation    counted, or refused
 *   release       given back
 *   call ends     the thread works for whom it worked for before
 *
 * What is allocated for a budget must be released while working for it, by whichever
 * thread; then the count is exact, which debug builds check at the end.
 *
 * Threads: everything may be called from any thread.
 */
#ifndef LSM_BASE_BUDGET_H
#define LSM_BASE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/epoch.h"
#include "base/macros.h"

typedef struct lsm_budget {
    uint64_t max;             /* bytes; constant */
    _Atomic uint64_t used;    /* relaxed, like all: nothing else depends on them */
    _Atomic uint64_t refused; /* what was refused last; 0: nothing since it was told */
} lsm_budget;

/* Not counted in any budget. NULL: no memory. */
lsm_budget *lsm_budget_create(uint64_t max);
void lsm_budget_destroy(lsm_budget *budget); /* NULL is fine */

/* Whom this thread works for; NULL: nothing is counted. */
extern _Thread_local lsm_budget *lsm_budget_current LSM_TLS_FAST;

/* Returns whom the thread worked for before, for lsm_budget_leave. NULL is fine. */
static inline lsm_budget *lsm_budget_enter(lsm_budget *budget) {
    lsm_budget *before = lsm_budget_current;

    lsm_budget_current = budget;
    return before;
}

static inline void lsm_budget_leave(lsm_budget *const *before) {
    lsm_budget_current = *before;
}

/* Whether it works for a directory that is not trusted: then base/limits.h holds. */
static inline bool lsm_is_limited(void) {
    return lsm_budget_current != NULL;
}

/* Leaves at the end of the block: LSM_BUDGET_SCOPE before = lsm_budget_enter(...); */
#define LSM_BUDGET_SCOPE LSM_CLEANUP(lsm_budget_leave) LSM_UNUSED lsm_budget *

/* For base/alloc.c. */
bool lsm_budget_take(lsm_budget *budget, uint64_t bytes) LSM_MUST_CHECK;
void lsm_budget_give(lsm_budget *budget, uint64_t bytes);
/* What is known once it was allocated. */
void lsm_budget_correct(lsm_budget *budget, uint64_t taken, uint64_t really);

/* Whether an allocation of this thread failed because of the budget; asked for once. */
bool lsm_budget_refused(uint64_t *bytes);

#endif
