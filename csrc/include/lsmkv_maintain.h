/* SPDX-License-Identifier: Apache-2.0
 *
 * Care of a database and of its files: flush, sync, compact, copy, warm, verify,
 * repair, destroy.
 */
#ifndef LSMKV_MAINTAIN_H
#define LSMKV_MAINTAIN_H

#include "lsmkv_base.h"
#include "lsmkv_read.h"

/* Writes the memtable out as a table and waits until it is durable. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_flush(lsmkv_db *db, lsmkv_error *err);
/* Makes every write acknowledged so far survive power loss. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_sync(lsmkv_db *db, lsmkv_error *err);
/* Flushes, then compacts everything in the range (NULL: all) of a namespace down to the
 * last level that holds data. `space` NULL: of the default namespace, or without a
 * range, too, all of the database. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_compact(lsmkv_db *db,
                                                      const lsmkv_namespace *space,
                                                      const lsmkv_range *range,
                                                      lsmkv_error *err);
/* Tries at once what a full disk had stopped, instead of with the next write: a fresh
 * log, the flush or compaction that failed. OK: the database is not DEGRADED. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_resume(lsmkv_db *db, lsmkv_error *err);
/* Waits until no flush or compaction is running or due. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_settle(lsmkv_db *db, lsmkv_error *err);

/* Makes the directory `path` (absent, or empty) a database of its own that holds the
 * state of this moment, durably, sharing the files that are never changed: as cheap as
 * a flush where the file system has hard links, else they are copied. Neither of the
 * two sees what happens to the other afterwards. Until the end the directory has no
 * CURRENT, so what a failure leaves behind is no database. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_checkpoint(lsmkv_db *db, const char *path,
                                                         lsmkv_error *err);

/* How far warming has come, in bytes of files. 0 ends it. */
typedef int (*lsmkv_warm_fn)(void *context, uint64_t done, uint64_t total);

typedef struct lsmkv_warm_how {
    const lsmkv_range *range;     /* NULL: what was in memory at the last close, or a
                                     few minutes before the end of a process */
    const lsmkv_namespace *space; /* NULL: the range is of the default namespace; that
                                     and no range: what was in memory of all */
    uint64_t budget_bytes;     /* at most so many; 0: what the block cache may hold */
    lsmkv_warm_fn on_progress; /* may be NULL */
    void *context;
} lsmkv_warm_how;

typedef struct lsmkv_warm_report {
    uint64_t byte_count;  /* of files, that are in memory now */
    uint64_t total_bytes; /* that it set out to read; in the end as many as it has */
    uint64_t block_count; /* read into the block cache */
    uint64_t value_count; /* large values read and checked */
} lsmkv_warm_report;

/* Reads what will be wanted soon, in the order of the files: blocks into the cache,
 * where nothing hotter goes for them, and large values into the system's memory.
 * Without a list of what was in memory, nothing. What cannot be read stays cold;
 * whoever wants it gets the error. Answers CLOSED when the database closes meanwhile,
 * with the report of what was done. `how` may be NULL. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_warm(lsmkv_db *db,
                                                   const lsmkv_warm_how *how,
                                                   lsmkv_warm_report *report,
                                                   lsmkv_error *err);

typedef struct lsmkv_report {
    uint64_t file_count;
    uint64_t block_count;
    uint64_t record_count;
    uint64_t byte_count;
    uint64_t problem_count;
} lsmkv_report;

/* Called for every problem verify finds, with the file, offset and text. */
typedef void (*lsmkv_problem_fn)(void *context, const lsmkv_error *problem);

/* Reads and checks every byte of every live file: checksums, order, bounds, counts.
 * Problems do not end it; the status is OK unless verify itself could not run, or found
 * no memory for a part of it. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_verify(lsmkv_db *db,
                                                     lsmkv_problem_fn on_problem,
                                                     void *context,
                                                     lsmkv_report *report,
                                                     lsmkv_error *err);

/* Makes the directory `into` (absent, or empty) a database with the newest state of
 * everything in `path` that can still be read, skipping what is damaged; `path` may
 * have lost any of its files, must not be open for writing and is not changed. Whole
 * databases come out with the same contents. on_problem (may be NULL) hears of each
 * loss; the report counts what was read, with the values kept as its records. OK also
 * when there were losses. A run that fails leaves no CURRENT in `into`. Without `into`,
 * NULL, nothing is written: the report tells what would be kept and lost. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_repair(const char *path, const char *into,
                                                     lsmkv_problem_fn on_problem,
                                                     void *context,
                                                     lsmkv_report *report,
                                                     lsmkv_error *err);

/* Removes the database in `path`, which nobody may have open for writing (LOCKED), and
 * then the directory, unless it holds anything else. NOT_A_DATABASE when there is
 * nothing to remove. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_destroy(const char *path,
                                                      lsmkv_error *err);

#endif
