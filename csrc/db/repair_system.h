/* SPDX-License-Identifier: Apache-2.0
 *
 * Which keys of the system namespace a repaired database is given: those that an open
 * of it can read. What names something that was lost, or says nothing that this version
 * or a later one would write, stays behind.
 *
 * Keys come in their order, so the records of published versions before the names.
 */
#ifndef LSM_DB_REPAIR_SYSTEM_H
#define LSM_DB_REPAIR_SYSTEM_H

#include "db/options.h"
#include "db/repair.h"

/* Zeroed memory is one that has seen nothing. */
typedef struct lsm_repair_system {
    lsm_buf versions; /* complete ones, by the ends of their keys: size u32, bytes */
    uint64_t
        edit_mark_max; /* of the versions kept: the new MANIFEST must be above it */
} lsm_repair_system;

void lsm_repair_system_deinit(lsm_repair_system *system);
/* *keep: the entry is none of the system namespace, or an open can read it; else that
 * it cannot was told. */
lsmkv_status lsm_repair_system_judge(lsm_repair_system *system, lsm_repair *repair,
                                     const lsm_iter *entry, bool *keep,
                                     lsmkv_error *err) LSM_MUST_CHECK;

#endif
