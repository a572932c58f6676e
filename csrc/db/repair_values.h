/* SPDX-License-Identifier: Apache-2.0
 *
 * The large values of a repair: followed by their pointers, whose checksum tells
 * whether what lies there is the value, and copied to value files of the new database.
 */
#ifndef LSM_DB_REPAIR_VALUES_H
#define LSM_DB_REPAIR_VALUES_H

#include "db/repair.h"
#include "format/filename.h"
#include "segment/value_writer.h"

typedef struct lsm_repair_values {
    const lsm_repair *repair; /* borrowed */
    lsm_dir *to; /* borrowed, like uuid; NULL: values are read, and not copied */
    const uint8_t *uuid;
    uint64_t *next_file;
    lsm_rng *rng;
    lsm_edit *edit;  /* where finished files go */
    lsm_file *file;  /* read from last; owned */
    uint64_t number; /* of that file, or of the one that was looked for */
    lsm_file_kind kind;
    lsm_value_writer *writer; /* owned */
    lsm_buf value;
    uint8_t field[2 * sizeof(uint64_t) + LSM_POINTER_SIZE];
} lsm_repair_values;

/* The field under which the value of a POINTER is found in the new database, lent until
 * the next call; *lost: it cannot be read any more, which was reported. */
lsmkv_status lsm_repair_values_place(lsm_repair_values *values, uint8_t tag,
                                     lsm_slice field, lsm_slice *placed, bool *lost,
                                     lsmkv_error *err) LSM_MUST_CHECK;
/* Completes the last value file. */
lsmkv_status lsm_repair_values_finish(lsm_repair_values *values,
                                      lsmkv_error *err) LSM_MUST_CHECK;
void lsm_repair_values_deinit(lsm_repair_values *values);

#endif
