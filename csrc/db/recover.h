/* SPDX-License-Identifier: Apache-2.0
 *
 * Replaying the logs that a MANIFEST leaves live. In two halves, so that nothing is
 * written before every log was read:
 *
 *   1. lsm_recovery_replay reads the logs in order into memtables.
 *   2. lsm_recovery_flush writes the memtables out as level-0 tables and syncs them.
 *
 * The prefix. A log's header says which sequence came before it; replay goes on from
 * one log to the next only if it has reached exactly that. Records of a log past the
 * sequence with which the next one begins were writes that failed (a full disk) and
 * are dropped. A log that begins later than replay has reached follows a hole: it and
 * all after it are dropped, if nothing in them was ever synced; otherwise synced data
 * is missing, which is CORRUPTION. So is a log that the MANIFEST knows and that is not
 * there.
 */
#ifndef LSM_DB_RECOVER_H
#define LSM_DB_RECOVER_H

#include "db/db.h"

typedef struct lsm_recovery {
    lsm_memtable **memtables; /* oldest first; owned */
    size_t count;
    size_t capacity;
    uint64_t last_sequence;
    uint64_t records;
    uint64_t dropped_bytes;
    uint64_t *written; /* numbers of the tables the second half wrote; owned */
    size_t written_count;
    size_t written_capacity;
} lsm_recovery;

lsmkv_status lsm_recovery_replay(lsmkv_db *db, const lsm_manifest_state *state,
                                 lsm_recovery *recovery,
                                 lsmkv_error *err) LSM_MUST_CHECK;
/* Adds the tables to the edit. */
lsmkv_status lsm_recovery_flush(lsmkv_db *db, lsm_recovery *recovery, lsm_edit *edit,
                                lsmkv_error *err) LSM_MUST_CHECK;
/* Unlinks what the second half wrote, because the open failed. */
void lsm_recovery_undo(lsmkv_db *db, const lsm_recovery *recovery);
void lsm_recovery_deinit(lsm_recovery *recovery);

#endif
