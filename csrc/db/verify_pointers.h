/* SPDX-License-Identifier: Apache-2.0
 *
 * Verifying what tables point to: every pointer leads to a value whose checksum holds,
 * and the MANIFEST knows for each table how many bytes of which segments these are.
 */
#ifndef LSM_DB_VERIFY_POINTERS_H
#define LSM_DB_VERIFY_POINTERS_H

#include "db/db.h"

typedef struct lsm_pointer_check {
    lsmkv_db *db;
    const lsm_version *version;
    lsmkv_problem_fn on_problem; /* never NULL */
    void *context;
} lsm_pointer_check;

/* Checks one table. `told`: the check of the table itself has found something, so that
 * the scan of it may end for the same reason, which is not told again. */
void lsm_verify_pointers(const lsm_pointer_check *check, lsm_table *table,
                         const lsm_live_table *live, bool told);

#endif
