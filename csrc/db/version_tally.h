/* SPDX-License-Identifier: Apache-2.0
 *
 * Which segments a version holds, and how many bytes of each its tables point to: those
 * of the version before, less what the deleted tables pointed to, plus what the added
 * ones do. A segment that comes to nothing is not in the version any more.
 */
#ifndef LSM_DB_VERSION_TALLY_H
#define LSM_DB_VERSION_TALLY_H

#include "db/version.h"

typedef struct lsm_tally_entry {
    const lsm_edit_segment *declared; /* by the edit; NULL: held by the base */
    lsm_segment *segment;             /* of the base, borrowed; or NULL */
    uint64_t number;
    uint64_t live_bytes;
} lsm_tally_entry;

typedef struct lsm_version_tally {
    lsm_tally_entry *entries; /* owned; ascending numbers */
    size_t count;
} lsm_version_tally;

lsmkv_status lsm_version_tally_init(lsm_version_tally *tally, const lsm_version *base,
                                    const lsm_edit *edit,
                                    lsmkv_error *err) LSM_MUST_CHECK;
void lsm_version_tally_deinit(lsm_version_tally *tally); /* zeroed is fine */
/* Of a table of the base. */
void lsm_version_tally_subtract(lsm_version_tally *tally, const lsm_table_info *info);
/* CORRUPTION when the table names a segment that neither base nor edit know. */
lsmkv_status lsm_version_tally_add(lsm_version_tally *tally, const lsm_table_info *info,
                                   lsmkv_error *err) LSM_MUST_CHECK;
/* Gives the version its segments. */
lsmkv_status lsm_version_tally_finish(const lsm_version_tally *tally,
                                      lsm_table_sink *sink, lsm_version *version,
                                      lsmkv_error *err) LSM_MUST_CHECK;

#endif
