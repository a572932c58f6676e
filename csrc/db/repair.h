/* SPDX-License-Identifier: Apache-2.0
 *
 * Repair: the newest visible state of everything that can still be read in one
 * directory becomes a new database in another. The first is never changed.
 *
 * Gathering (repair_source.c). If the directory can be opened for reading, its tables
 * and its logs are known, and damage can only be in blocks of tables. If not:
 *
 *   - every record of the MANIFEST that verifies counts, also behind damage. All tables
 *     are read but those that it has deleted. One too many does no harm: that it is not
 *     named means that its versions are in others as well
 *   - every record of the live logs that verifies is replayed, also behind damage, but
 *     for those past the sequence that the next log begins with (writes that failed)
 *     and those that tables hold: memtables are flushed in the order of sequences
 *
 * Writing (repair.c). All versions of all sources are merged by key and sequence, so
 * that levels do not matter; the newest of each key is kept unless it is a deletion or
 * covered by one, or names a published version that was lost. They become tables of the
 * last level; a MANIFEST and, last of all, CURRENT make the new directory a database.
 *
 * What was lost with a damaged block may have been newer than what shows instead. Each
 * stretch of bytes that was given up is reported.
 */
#ifndef LSM_DB_REPAIR_H
#define LSM_DB_REPAIR_H

#include "db/db.h"
#include "table/table_salvage.h"

typedef struct lsm_repair_table {
    uint64_t number;
    uint64_t file_id;     /* 0: not known */
    size_t place;         /* in the order in which tables were named */
    bool deleted;         /* an edit says so */
    lsm_salvage *salvage; /* owned */
} lsm_repair_table;

typedef struct lsm_repair {
    lsm_env *env;
    lsm_dir *from; /* owned */
    lsm_findings findings;
    lsm_repair_table *tables; /* to read; owned */
    size_t table_count;
    size_t table_capacity;
    lsm_memtable **memtables; /* one reference each; owned */
    size_t memtable_count;
    size_t memtable_capacity;
    uint64_t last_sequence;
    uint64_t time_ms;
} lsm_repair;

/* Fills in what to read. NOT_A_DATABASE when nothing in the directory says that it is
 * or was one. */
lsmkv_status lsm_repair_gather(lsm_repair *repair, const char *path,
                               lsmkv_error *err) LSM_MUST_CHECK;

/* `into` may be NULL: then nothing is written, and the findings are all. */
lsmkv_status lsm_db_repair(lsm_env *env, const char *path, const char *into,
                           const lsm_findings *findings,
                           lsmkv_error *err) LSM_MUST_CHECK;

/* In destroy.c. */
lsmkv_status lsm_db_destroy_files(lsm_env *env, const char *path,
                                  lsmkv_error *err) LSM_MUST_CHECK;

#endif
