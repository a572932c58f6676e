/* SPDX-License-Identifier: Apache-2.0
 *
 * Mutants: mistakes that the testing build can make on purpose, one at a time, to find
 * out whether the tests would notice. Each is named here with what it breaks, and
 * switched at one or two places of the engine:
 *
 *   if (!LSM_MUTANT(NO_DIR_SYNC_AFTER_RENAME)) { LSM_TRY(lsm_dir_sync(dir, err)); }
 *
 * tests/mutants/ says which test must kill each of them, and sees to it that it does.
 * Without -DLSMKV_TESTING the macro is false at compile time, and nothing of this file
 * gets into the program but the names of an enum.
 *
 * Selected before the engine is used, by one thread; read by any.
 */
#ifndef LSM_BASE_MUTANT_H
#define LSM_BASE_MUTANT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

/* X(NAME, what it does) */
#define LSM_MUTANT_MAP(X)                                                              \
    X(SYNC_SKIPS_OLDER_LOGS, "a synced put leaves the logs before its own unsynced")   \
    X(SYNC_LEAVES_ACTIVE_LOG, "sync() leaves the log that is being written unsynced")  \
    X(LOG_NAMES_NOT_SYNCED, "a sync does not make the names of logs durable")          \
    X(LOGS_NOT_RECORDED, "the MANIFEST is not told that a log must exist")             \
    X(FAILED_SYNC_NOT_FINAL, "a failed sync of a log does not poison the database")    \
    X(EIGHTH_SYNC_DOES_NOTHING, "one sync of a log or MANIFEST in eight does nothing") \
    X(MARK_BEFORE_SYNC, "the durable mark is written before the sync it tells of")     \
    X(SEALED_LOG_NOT_SYNCED, "a log becomes a segment without being synced")           \
    X(PUBLISHED_BEFORE_INSERTED, "a batch is readable before all of it is inserted")   \
    X(FAILED_WRITE_SHOWS, "a write whose sync failed is readable")                     \
    X(FULL_DISK_IS_FINAL, "a full disk poisons the database")                          \
    X(CONDITION_NOT_CHECKED, "a conditional write is made whatever came before it")    \
    X(FRESH_MANIFEST_NOT_SYNCED, "CURRENT names a MANIFEST that is not synced")        \
    X(CURRENT_NOT_SYNCED, "CURRENT.tmp is renamed without being synced")               \
    X(NO_DIR_SYNC_AFTER_RENAME, "the directory is not synced after CURRENT's rename")  \
    X(LOG_DROPPED_BEFORE_EDIT_SYNC, "a flush drops its log before its edit is synced") \
    X(INPUTS_DROPPED_BEFORE_EDIT_SYNC,                                                 \
      "a compaction drops inputs before a synced edit")                                \
    X(REWRITE_FORGETS_CACHES, "a rewritten MANIFEST forgets the cache segments")       \
    X(REWRITE_FORGETS_LOGS, "a rewritten MANIFEST forgets which logs must exist")      \
    X(TABLE_NOT_SYNCED, "a table is named by the MANIFEST without being synced")       \
    X(NO_DIR_SYNC_AFTER_TABLE, "the name of a table is not synced before its edit")    \
    X(SYNC_ERROR_IGNORED, "the answer of a table's sync is ignored")                   \
    X(COMPACTION_IGNORES_SNAPSHOTS, "a compaction drops what only a snapshot sees")    \
    X(TOMBSTONE_DROPPED_ABOVE_LAST,                                                    \
      "a tombstone goes while deeper levels have the key")                             \
    X(EXPIRED_DROPPED_ABOVE_LAST, "a dead newest version goes over older ones")        \
    X(EXPIRED_TABLE_DROPPED_OVER_OLDER, "a dead table goes unread over older values")  \
    X(KEY_SPLIT_OVER_TABLES, "versions of one key are split over two tables")          \
    X(READ_ERROR_ENDS_COMPACTION,                                                      \
      "a compaction takes a read error for its inputs' end")                           \
    X(RANGE_DELETE_HIDES_NEWER, "a range delete hides what is newer in compactions")   \
    X(RANGE_DELETE_NOT_CUT, "a range delete is not cut where its table ends")          \
    X(RANGE_DELETE_DROPPED_ABOVE_LAST,                                                 \
      "a range delete goes while it hides deeper keys")                                \
    X(NEWEST_MEMTABLE_FLUSHED_FIRST, "a flush takes the newest memtable that waits")   \
    X(REPLAY_GOES_ON_BEHIND_A_HOLE, "recovery replays logs behind one that is torn")   \
    X(BAD_RECORD_SKIPPED, "recovery passes over a bad record and goes on")             \
    X(LOG_CHECKSUM_NOT_CHECKED, "batches are read from logs without their checksum")   \
    X(FAILED_WRITE_REPLAYED, "recovery replays a failed write at the end of a log")    \
    X(MISSING_LOG_PASSED_OVER, "a log that must exist may be missing")                 \
    X(FOREIGN_LOG_ACCEPTED, "a log of another database is read")                       \
    X(FILE_SIZES_NOT_CHECKED, "open does not compare the sizes of files")              \
    X(OPEN_UNDONE_AFTER_RENAME,                                                        \
      "a failed open removes tables that CURRENT stands for")                          \
    X(FILE_NUMBERS_REUSED, "an open takes numbers of files that are there")            \
    X(TIME_FORGOTTEN_AT_OPEN, "engine time starts anew with each open")                \
    X(CLOCK_FOLLOWS_EVERY_JUMP,                                                        \
      "engine time follows a wall clock that is years ahead")                          \
    X(UNFINISHED_PUBLISH_KEPT, "an open keeps what a torn publish began")              \
    X(SHORT_READ_IS_END, "a short read is taken for the end of the file")              \
    X(EINTR_NOT_RETRIED, "a call that was interrupted is not made again")              \
    X(CREATE_TAKES_OVER_FILES, "a file that exists is taken for a new one")            \
    X(MERGE_HIDES_READ_ERRORS, "a merge passes over a source that failed")             \
    X(TURN_LEAVES_OTHERS, "an iterator that turns round moves only one source")        \
    X(GET_MANY_IGNORES_RANGE_DELETES, "get_many passes over range deletes of tables")  \
    X(FILTER_MISSES_KEYS, "a filter denies one key in 64")                             \
    X(SLOT_IGNORES_SNAPSHOT, "a block's hash index answers with a too new version")    \
    X(STALE_BLOCK_SLOT, "a slot of a block's hash index points beside the entry")      \
    X(GET_IGNORES_EXPIRY, "get shows values that have expired")                        \
    X(GET_MANY_IGNORES_EXPIRY, "get_many shows values that have expired")              \
    X(SCAN_IGNORES_EXPIRY, "an iterator shows values that have expired")               \
    X(BACKWARD_SCAN_IGNORES_SNAPSHOT,                                                  \
      "an iterator that goes back shows newer versions")                               \
    X(GET_MANY_IGNORES_SNAPSHOT, "get_many ignores the snapshot it is given")          \
    X(ROWS_IGNORE_SNAPSHOT, "a gather of rows ignores the snapshot it is given")       \
    X(TOUCH_REVIVES_EXPIRED, "touch gives an expired value a new life")                \
    X(LAST_KEY_OF_TABLE_MISSED, "the last key of a table is looked for in the next")   \
    X(OVERLAP_NOT_CHECKED, "a version may have tables of a level that overlap")        \
    X(SEGMENT_DROPPED_WHILE_POINTED, "a segment goes while small values of it live")   \
    X(LOG_UNLINKED_WHILE_POINTED, "a log is unlinked though a pointer leads into it")  \
    X(FLUSHED_MEMTABLE_LEAKED, "the memory of a flushed memtable is not given back")   \
    X(READERS_NOT_AWAITED, "what readers may be looking at is freed at once")          \
    X(SECOND_CHANCE_RESURRECTS, "an eviction writes a deleted value once more")        \
    X(CACHE_CAP_IGNORED, "a cache takes more than its cap")                            \
    X(BLOCK_CACHE_GROWS, "the block cache evicts nothing")                             \
    X(SCAN_LEAVES_NAMESPACE, "a scan runs on into the next namespace")                 \
    X(NAMESPACE_ID_REUSED, "a new namespace gets the id of a dropped one")             \
    X(DROP_LEAVES_ROWS, "dropping a namespace leaves its rows")                        \
    X(PUBLISH_TABLES_BEFORE_RECORD,                                                    \
      "tables are named before the record of their publish")                           \
    X(FAILED_PUBLISH_SWITCHES, "a publish that failed is made current all the same")   \
    X(SWITCH_NOT_SYNCED, "a publish is acknowledged before it is durable")             \
    X(ROLLBACK_KEEPS_VERSION, "readers keep the version that a rollback took back")    \
    X(CHECKPOINT_FORGETS_SEGMENTS, "a checkpoint leaves out files of large values")    \
    X(REPAIR_FORGETS_LARGE_VALUES, "a repair leaves out large values")                 \
    X(VALUE_CHECKSUM_NOT_CHECKED, "large values are read without their checksum")      \
    X(BLOCK_CHECKSUM_NOT_CHECKED, "blocks of tables are read without their checksum")  \
    X(INTEGER_KEYS_CUT, "of keys that are numbers 32 bits count")                      \
    X(FOLLOWER_SHOWS_HALF_A_BATCH, "a follower shows a batch without its last record")

typedef enum lsm_mutant {
    LSM_MUTANT_NONE,
#define LSM_MUTANT_NUMBER(name, text) LSM_MUTANT_##name,
    LSM_MUTANT_MAP(LSM_MUTANT_NUMBER)
#undef LSM_MUTANT_NUMBER
        LSM_MUTANT_COUNT
} lsm_mutant;

#ifdef LSMKV_TESTING
#include <stdatomic.h>

/* Relaxed: chosen before there are other threads. */
extern _Atomic int lsm_mutant_selected;

#define LSM_MUTANT(name)                                                             \
    LSM_UNLIKELY(atomic_load_explicit(&lsm_mutant_selected, memory_order_relaxed) == \
                 LSM_MUTANT_##name)

/* "" is none of them. false: there is no mutant of this name. */
bool lsm_mutant_select(const char *name);
#else
#define LSM_MUTANT(name) ((int)LSM_MUTANT_##name < 0) /* never */
#endif

#endif
