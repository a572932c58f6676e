/* SPDX-License-Identifier: Apache-2.0
 *
 * The names of the mutants, and the choice of one; only in the testing build.
 */
#include "base/mutant.h"

#ifdef LSMKV_TESTING
#include <string.h>

_Atomic int lsm_mutant_selected = LSM_MUTANT_NONE;

static const char *const names[LSM_MUTANT_COUNT] = {[LSM_MUTANT_NONE] = "",
#define LSM_MUTANT_NAME(name, text) [LSM_MUTANT_##name] = #name,
                                                    LSM_MUTANT_MAP(LSM_MUTANT_NAME)
#undef LSM_MUTANT_NAME
};

bool lsm_mutant_select(const char *name) {
    for (int number = LSM_MUTANT_NONE; number < LSM_MUTANT_COUNT; number++) {
        if (strcmp(names[number], name) == 0) {
            atomic_store_explicit(&lsm_mutant_selected, number, memory_order_relaxed);
            return true;
        }
    }
    return false;
}
#endif
