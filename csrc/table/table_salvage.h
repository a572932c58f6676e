/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading what is left of a damaged table: its blocks are found by their checksums
 * (salvage_search.h). Bytes that belong to no block that was found are reported. Data
 * blocks are kept as places in the file and read again while iterating.
 *
 * Threads: one at a time.
 */
#ifndef LSM_TABLE_TABLE_SALVAGE_H
#define LSM_TABLE_TABLE_SALVAGE_H

#include "env/env.h"
#include "table/iter.h"
#include "table/range_set.h"

typedef struct lsm_salvage lsm_salvage;

/* Where findings go. */
typedef struct lsm_findings {
    lsmkv_problem_fn on_problem; /* may be NULL */
    void *context;
    lsmkv_report *report; /* counts are added */
} lsm_findings;

void lsm_findings_tell(const lsm_findings *findings, const lsmkv_error *problem);

/* Searches table `number`. `file_id` 0: as its footer says. `findings` is copied. Fails
 * only where nothing is said about the table: NO_MEMORY, the rights to read it,
 * UNSUPPORTED_VERSION. */
lsmkv_status lsm_salvage_open(lsm_dir *dir, uint64_t number, uint64_t file_id,
                              const lsm_findings *findings, lsm_salvage **salvagep,
                              lsmkv_error *err) LSM_MUST_CHECK;
void lsm_salvage_close(lsm_salvage *salvage); /* NULL is fine */

/* The largest sequence in the table, if its properties can be read, else 0. */
uint64_t lsm_salvage_sequence_max(const lsm_salvage *salvage);
/* Adds its range deletes. */
lsmkv_status lsm_salvage_ranges(const lsm_salvage *salvage, lsm_range_list *list,
                                lsmkv_error *err) LSM_MUST_CHECK;
/* The entries of its data blocks, forward only: seek_first and next. A block that can
 * no longer be read is reported and passed over; a codec that is missing ends the
 * iteration with UNSUPPORTED_VERSION. Borrows the salvage. NULL: no memory. */
lsm_iter *lsm_salvage_iter(lsm_salvage *salvage);

#endif
