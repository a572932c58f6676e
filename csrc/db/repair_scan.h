/* SPDX-License-Identifier: Apache-2.0
 *
 * Going through a record file, a MANIFEST or a log, that may be damaged anywhere. A
 * record verifies only at its own offset of its own file, so behind damage the next one
 * is found by trying every multiple of 8. How much is hashed for that is bounded
 * (base/effort.h): the file is linear work, whatever is in it.
 */
#ifndef LSM_DB_REPAIR_SCAN_H
#define LSM_DB_REPAIR_SCAN_H

#include "base/effort.h"
#include "db/repair.h"
#include "format/record.h"

/* A record file in memory, and how far it was gone through. */
typedef struct lsm_scan {
    const lsm_findings *findings; /* borrowed */
    const char *name;             /* borrowed */
    lsm_slice file;               /* borrowed */
    uint64_t file_id;
    uint64_t at;
    uint64_t lost_to; /* up to here there were bytes that count: the highest `synced_to`
                         of a record, or the end of what the device cannot read */
    lsm_effort effort;
} lsm_scan;

/* Reads the file of the scan, whose name is set, as is what is known of its file id,
 * into `file`. *readable: something in it can be verified. */
lsmkv_status lsm_scan_open(lsm_repair *repair, lsm_scan *scan,
                           lsm_record_file_type type, lsm_buf *file, bool *readable,
                           lsmkv_error *err) LSM_MUST_CHECK;
/* The next record that is not a mark; what lies before it is reported. false: the end,
 * where the bytes that are left are damaged if a record says that they were synced or
 * they could not be read, else they are the end of a crash. */
bool lsm_scan_next(lsm_scan *scan, lsm_record *record);
/* Reports bytes that are given up. */
void lsm_scan_tell(const lsm_scan *scan, uint64_t from, uint64_t to);

#endif
