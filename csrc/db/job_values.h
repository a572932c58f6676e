/* SPDX-License-Identifier: Apache-2.0
 *
 * What a job does with large values: they stay where they are, or are copied to a value
 * file of the job.
 *
 *   flush        the log is sealed and stays, if the values that are kept make up at
 *                least half of it; else these are copied and the log goes. A log that
 *                died is never sealed
 *   compaction   values of segments that are mostly dead are moved out of them
 *
 * A copy has the sequence and the checksum of what it replaces, and comes into force
 * with the tables of the same edit, so nothing that was deleted comes back.
 */
#ifndef LSM_DB_JOB_VALUES_H
#define LSM_DB_JOB_VALUES_H

#include "db/db.h"
#include "segment/value_writer.h"
#include "table/range_set.h"

typedef struct lsm_job_values {
    lsmkv_db *db;
    lsm_segment *log;            /* of a flush, borrowed from the immutable; or NULL */
    bool seals;                  /* the log stays as a segment */
    lsm_segment *const *sources; /* logs that go, borrowed: what is kept is copied */
    size_t source_count;
    const lsm_version *version; /* of a compaction, borrowed from the job; or NULL */
    uint64_t *moving;           /* owned: segments to empty, ascending numbers */
    size_t moving_count;
    lsm_value_writer *writer; /* owned; made for the first value */
    lsm_buf value;            /* scratch */
    uint8_t field[16 + LSM_POINTER_SIZE];
    uint64_t file_bytes_max; /* of one value file; 0: no limit */
    lsm_edit *edit;          /* borrowed from the job: gets what is new */
    uint64_t copied_bytes;
} lsm_job_values;

/* Decides whether the log of a flush stays. */
lsmkv_status lsm_job_values_decide(lsm_job_values *values, lsm_memtable *mem,
                                   lsm_strata snapshots,
                                   lsmkv_error *err) LSM_MUST_CHECK;
/* The value field to write for an entry of kind POINTER that is kept: the same, or one
 * that leads to the copy; lent until the next call. */
lsmkv_status lsm_job_values_place(lsm_job_values *values, uint8_t tag, lsm_slice field,
                                  lsm_slice *placed, lsmkv_error *err) LSM_MUST_CHECK;
/* Makes the values durable. */
lsmkv_status lsm_job_values_finish(lsm_job_values *values,
                                   lsmkv_error *err) LSM_MUST_CHECK;
void lsm_job_values_deinit(lsm_job_values *values);

#endif
