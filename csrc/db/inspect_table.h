/* SPDX-License-Identifier: Apache-2.0
 *
 * Which blocks a table has, for its inspection: as its index says, or, where the index
 * or the footer is damaged, as a search finds them.
 */
#ifndef LSM_DB_INSPECT_TABLE_H
#define LSM_DB_INSPECT_TABLE_H

#include "db/inspect.h"
#include "format/block.h"
#include "format/footer.h"
#include "table/salvage_search.h"

/* Zeroed memory is an empty plan. */
typedef struct lsm_table_plan {
    lsm_footer footer;
    bool has_footer;
    lsmkv_error footer_problem;
    bool searched;           /* index and footer do not lead to the blocks */
    lsm_found_block *blocks; /* ascending, disjoint; owned */
    size_t count;
    size_t capacity;
} lsm_table_plan;

lsmkv_status lsm_table_plan_make(lsmkv_inspection *inspection, lsm_table_plan *plan,
                                 lsmkv_error *err) LSM_MUST_CHECK;
void lsm_table_plan_deinit(lsm_table_plan *plan);

#endif
