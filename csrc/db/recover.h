/* SPDX-License-Identifier: Apache-2.0
 *
 * Replaying the logs that a MANIFEST leaves live. In three parts, so that nothing is
 * written before every log was read:
 *
 *   1. lsm_recovery_open opens the logs, newest first: beside a live writer an older
 *      log is complete by the time a newer one has a size.
 *   2. lsm_recovery_replay reads them in order into memtables.
 *   3. lsm_recovery_flush writes the memtables out as level-0 tables, copies the large
 *      values that they keep to a value file, and syncs all of that.
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

/* One live log, opened. */
typedef struct lsm_replay_log {
    uint64_t number;
    bool recorded; /* the MANIFEST knows it */
    bool torn;     /* no valid header: the crash came right after its creation */
    bool begun;    /* replay has come to it, and there was no hole before it */
    lsm_wal_reader *reader;
} lsm_replay_log;

typedef struct lsm_replayed {
    lsm_memtable *mem; /* one reference */
    uint64_t log;      /* the first record came from here */
} lsm_replayed;

typedef struct lsm_recovery {
    lsm_replay_log *logs; /* ascending numbers; owned */
    size_t log_count;
    size_t log_capacity;
    lsm_replayed *memtables; /* oldest first; owned */
    size_t count;
    size_t capacity;
    lsm_segment **segments; /* the logs that the memtables point into; owned */
    size_t segment_count;
    size_t segment_capacity;
    uint64_t written_segment; /* value file that the last part wrote, or 0 */
    uint64_t last_sequence;
    uint64_t time_ms; /* the latest engine time in a batch; 0: none */
    uint64_t records;
    uint64_t dropped_bytes;
    uint64_t *written; /* numbers of the tables the last part wrote; owned */
    size_t written_count;
    size_t written_capacity;
    /* For a follower, which goes on where an earlier replay has ended. */
    bool follows;   /* each log has memtables and a segment of its own */
    bool separates; /* the next record goes to a new memtable */
    bool defines; /* a record of the system namespace was replayed; for who clears it */
} lsm_recovery;

lsmkv_status lsm_recovery_open(lsmkv_db *db, const lsm_manifest_state *state,
                               lsm_recovery *recovery, lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_recovery_replay(lsmkv_db *db, lsm_recovery *recovery,
                                 lsmkv_error *err) LSM_MUST_CHECK;
/* Both parts once more, for a follower beside a live writer: takes in logs that are new
 * in the directory, or only looks whether those it knows have grown, and replays what
 * is. CHANGED when the logs do not follow one another: one came and went meanwhile, or
 * a record was replayed whose write failed; then load anew. */
lsmkv_status lsm_recovery_discover(lsmkv_db *db, const lsm_manifest_state *state,
                                   lsm_recovery *recovery,
                                   lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_recovery_go_on(lsmkv_db *db, lsm_recovery *recovery,
                                lsmkv_error *err) LSM_MUST_CHECK;
/* Lets go of the logs below a number, and of what was replayed from them. */
void lsm_recovery_drop(lsm_recovery *recovery, uint64_t first_log);
/* What was replayed over a version, as readers see it. NULL: no memory. */
lsm_readstate *lsm_recovery_readstate(lsmkv_db *db, const lsm_recovery *recovery,
                                      lsm_version *version);
/* Lets reads see what was replayed: the newest memtable in the place of the active one.
 * Of a database that nobody else can use yet. */
lsmkv_status lsm_recovery_publish(lsmkv_db *db, const lsm_recovery *recovery,
                                  lsmkv_error *err) LSM_MUST_CHECK;
/* Not before the readers' sizes were asked for; lsm_recovery_deinit does it, too. */
void lsm_recovery_close_logs(lsm_recovery *recovery);
/* Adds tables and value file to the edit. */
lsmkv_status lsm_recovery_flush(lsmkv_db *db, lsm_recovery *recovery, lsm_edit *edit,
                                lsmkv_error *err) LSM_MUST_CHECK;
/* Unlinks what the last part wrote, because the open failed. */
void lsm_recovery_undo(lsmkv_db *db, const lsm_recovery *recovery);
void lsm_recovery_deinit(lsm_recovery *recovery);

#endif
