/* SPDX-License-Identifier: Apache-2.0
 *
 * Publishing: a version is written straight into tables and value files, without log
 * and memtable, and becomes visible at once.
 *
 *   begin    a small batch: the version is begun, and has an id
 *   put      rows are gathered in memory, sorted and written as a run: tables in order.
 *            Large values go to a value file at once, so they are written once. Rows
 * that come in order all make up one run, which is not written again commit   several
 * runs are merged into one; the files and their directory are synced; the memtable is
 * flushed, so that no file set has the tables without the record that they are begun;
 * one edit names the tables, at the deepest level where they overlap nothing; one batch
 * says that the version is complete and the one that readers see
 *
 * The rows of a version all have sequence 1: nothing else ever has their keys but the
 * range delete that lets them go. In runs, a later one has a larger sequence, so that
 * its rows come first where keys are equal.
 *
 * Until they are installed, no MANIFEST knows of the files: discarding unlinks them,
 * and so does the next open after a crash, which also forgets the record
 * (db/published.h). Closing the database discards what is being published.
 *
 * Threads: one at a time; a publish counts as a maintenance call while it is inside.
 */
#ifndef LSM_DB_PUBLISH_H
#define LSM_DB_PUBLISH_H

#include "db/db.h"
#include "db/published.h"
#include "segment/value_writer.h"
#include "table/table_writer.h"

typedef enum lsm_publish_phase {
    LSM_PUBLISH_WRITING,
    LSM_PUBLISH_FAILED, /* `failure` answers every call; it can only be discarded */
    LSM_PUBLISH_ENDED,  /* committed, or discarded */
} lsm_publish_phase;

/* Tables in order and disjoint, all of its rows newest first. */
typedef struct lsm_publish_run {
    lsm_level level;  /* owned array, one reference each */
    size_t capacity;  /* of it */
    uint32_t ordinal; /* later runs have larger ones */
    uint32_t tier;    /* how often its rows were merged */
} lsm_publish_run;

typedef struct lsm_publish_entry {
    uint64_t window;    /* the first bytes of the key, for sorting */
    const uint8_t *row; /* in `rows` */
} lsm_publish_entry;

enum { LSM_PUBLISH_RUNS_MAX = 64 };

struct lsmkv_publish {
    lsmkv_db *db;          /* one reference */
    _Atomic uint32_t refs; /* the handle's, and the list's while it is on it */
    lsm_list link;         /* db->publishes; under mu */
    lsm_publish_phase phase;
    lsmkv_error failure;
    bool installed;  /* the MANIFEST may name the files: never unlink them */
    lsm_buf name;    /* owned */
    lsm_buf version; /* owned */
    lsm_publish_record record;
    lsm_space *space; /* one reference */
    size_t threshold; /* values from this size on are large */

    uint8_t *rows; /* owned: those not written yet */
    size_t rows_size, rows_capacity;
    lsm_publish_entry *entries; /* owned */
    size_t entry_count, entry_capacity;
    bool unordered; /* entries are not ascending */

    lsm_publish_run runs[LSM_PUBLISH_RUNS_MAX];
    size_t run_count;
    uint32_t next_ordinal;
    bool appending;           /* the last run may grow */
    lsm_table_writer *writer; /* of the last run; owned */
    lsm_buf last_key;         /* of the last run: internal key of its last row */
    lsm_table_sink sink;      /* of the tables until they are installed */

    lsm_value_writer *values; /* owned */
    lsm_edit edit;            /* its finished value files; at last the tables */
};

/* Begins a version. Another publish of that name must not be running, and the version
 * not be there: INVALID_ARGUMENT. */
lsmkv_status lsm_publish_begin(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                               const lsmkv_space_options *options,
                               lsmkv_publish **publishp,
                               lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_publish_put(lsmkv_publish *publish, int64_t ttl_ms,
                             const lsmkv_pair *pair, lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_publish_commit(lsmkv_publish *publish,
                                lsmkv_error *err) LSM_MUST_CHECK;
/* Discards what was not committed. Whatever it answers, the publish has ended. */
lsmkv_status lsm_publish_abort(lsmkv_publish *publish, lsmkv_error *err) LSM_MUST_CHECK;
/* NULL is fine. Lets go of one reference: the caller's, whose publish has ended or
 * whose database is being closed, or that of the list. */
void lsm_publish_unref(lsmkv_publish *publish);
/* While closing, when no call is inside any more: unlinks what is being written, unless
 * the database is poisoned, as if it had died: then the next open does. */
void lsm_publish_discard_all(lsmkv_db *db);

/* In publish_run.c. Makes all rows one run of tables, finished and synced. */
lsmkv_status lsm_publish_gather(lsmkv_publish *publish,
                                lsmkv_error *err) LSM_MUST_CHECK;
/* Adds a row; the value field of `tag` is `times`, then `bytes`. */
lsmkv_status lsm_publish_add(lsmkv_publish *publish, lsmkv_bytes key, uint8_t tag,
                             lsm_slice times, lsm_slice bytes,
                             lsmkv_error *err) LSM_MUST_CHECK;
/* Lets go of runs and rows; the files stay or are unlinked. */
void lsm_publish_drop_runs(lsmkv_publish *publish, bool unlinks);

#endif
