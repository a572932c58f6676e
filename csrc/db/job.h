/* SPDX-License-Identifier: Apache-2.0
 *
 * Job: a flush, a compaction or an eviction (cache_evict.c), cut into steps so that it
 * can be run by a worker thread or, step by step and interleaved with others, by a
 * simulator.
 *
 * The first two are the same merge: sorted input, in which the versions of a key come
 * newest first, to tables of one level. A version is dropped when a newer one of its
 * key is visible to the same snapshots, or when a range delete is that covers the key;
 * a tombstone also when no snapshot needs it and no deeper table may hold the key. A
 * value that has expired is a tombstone of the same sequence: it hides what is older,
 * for snapshots as well. Every input entry is counted: a merge that saw fewer than its
 * tables promise fails instead of losing data.
 *
 * On failure the outputs are unlinked and the inputs stay as they were.
 */
#ifndef LSM_DB_JOB_H
#define LSM_DB_JOB_H

#include "db/compact_pick.h"
#include "db/db.h"
#include "db/job_values.h"
#include "table/table_writer.h"

typedef struct lsm_job lsm_job;

struct lsm_evict;

struct lsm_job {
    lsmkv_db *db;
    struct lsm_evict *evict; /* owned; NULL: it is none; else nothing below is used */
    bool flush;
    size_t flush_count; /* immutables, the oldest ones */
    uint64_t next_log;  /* first log that is needed after the flush */
    lsm_pick pick;      /* of a compaction */
    uint32_t output_level;
    uint32_t below_level; /* tables from here on decide about tombstones */
    lsm_version *version; /* one reference */
    uint64_t *sequences;  /* what snapshots need, ascending; owned */
    size_t sequence_count;
    lsm_memtable *mem;       /* of a flush; the input holds it */
    lsm_iter *input;         /* owned */
    bool opened;             /* input and range deletes are there */
    uint64_t input_expected; /* entries */
    uint64_t input_seen;
    uint64_t step_bytes;      /* input per step */
    lsm_table_writer *writer; /* the output being written; owned */
    lsm_segment *log;         /* of a flush: that of `mem`; one reference */
    lsm_job_values values;
    lsm_edit edit;    /* finished outputs and deletions */
    lsm_buf current;  /* stored key of the last version seen */
    lsm_buf dead_key; /* scratch: the tombstone of an expired version */
    uint64_t now_ms;  /* engine time of this step */
    uint64_t expired_count;
    bool has_current;
    size_t stratum; /* of the last version seen */
    lsm_range_list range_list;
    lsm_range_set *ranges; /* of all inputs; owned; NULL: they delete no range */
    size_t range_place;    /* where its last lookup ended */
    size_t range_next;     /* the first fragment not written to its end */
    lsm_buf range_begin;   /* stored key at which the next output begins, or empty */
    bool installing;       /* outputs may be in the MANIFEST: never unlink them */
    uint64_t bytes_written;
    uint64_t begun; /* as lsm_latency_now */
};

/* For the next due job, or NULL: nothing is due, or *err is filled in. Marks inputs as
 * compacting and counts the job as running. */
lsm_job *lsm_job_start_flush_locked(lsmkv_db *db, lsmkv_error *err)
    LSM_REQUIRES(db->mu);
lsm_job *lsm_job_start_compaction_locked(lsmkv_db *db, lsmkv_error *err)
    LSM_REQUIRES(db->mu);
/* For a pick the caller made; takes what the pick owns. */
lsm_job *lsm_job_start_pick_locked(lsmkv_db *db, lsm_pick *pick, lsmkv_error *err)
    LSM_REQUIRES(db->mu);

/* What a pick may go by, beside the version. */
lsm_pick_moment lsm_job_moment_locked(lsmkv_db *db) LSM_REQUIRES(db->mu);

/* A job that evicts. Takes it, unless there is no memory. */
lsm_job *lsm_job_start_evict_locked(lsmkv_db *db, struct lsm_evict *evict,
                                    lsmkv_error *err) LSM_REQUIRES(db->mu);

/* Runs one step, without mu. *done once the result is installed. */
lsmkv_status lsm_job_step(lsm_job *job, bool *done, lsmkv_error *err) LSM_MUST_CHECK;

/* After the installation of a compaction: what its outputs replaced in the cache, they
 * bring back into it; in heat.c. */
void lsm_job_hand_on_heat(const lsm_job *job);

/* In job_ranges.c. Makes job->ranges of the list, which has the range deletes of the
 * input tables, and of those of the memtable. */
lsmkv_status lsm_job_build_ranges(lsm_job *job, lsmkv_error *err) LSM_MUST_CHECK;
/* Whether one of them hides a version of this stratum. There are some. */
bool lsm_job_hides(lsm_job *job, lsm_slice skey, uint64_t sequence, size_t stratum);
/* Writes those that lie before the stored key `end`, without data: all, and were not
 * written yet, to the output, which is started where there is none. */
lsmkv_status lsm_job_write_ranges(lsm_job *job, lsm_slice end,
                                  lsmkv_error *err) LSM_MUST_CHECK;

/* Unmarks the inputs, unlinks outputs that were not installed, frees. Takes mu. */
void lsm_job_end(lsm_job *job);

#endif
