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

/* An open table, for the caller to unref. */
lsmkv_status lsm_verify_take_table(lsmkv_db *db, lsm_live_table *live,
                                   lsm_table **tablep,
                                   lsmkv_error *problem) LSM_MUST_CHECK;

void lsm_verify_pointers(const lsm_pointer_check *check);

#endif
