/* SPDX-License-Identifier: Apache-2.0
 *
 * The database: its state, its locks and what the files of db/ offer each other.
 *
 * Reading. Everything a read needs hangs off one immutable lsm_readstate: the active
 * memtable, the immutable ones, the version. A reader enters the epoch, loads the
 * current readstate, then the published sequence (in that order: a readstate loaded
 * first cannot have lost versions that the sequence needs), and takes no lock.
 *
 * Writing. Writers queue under `mu`; the one at the head leads: it makes room, appends
 * its group to the log, syncs if a member asks, inserts into the memtable and publishes
 * the sequence. Only the leader touches the active log, the active memtable and
 * last_sequence, so those need no lock of their own. Rotating the memtable (flush) and
 * syncing are done by queueing, too.
 *
 * Background. A job (flush, compaction) is made of steps. With threads, workers run
 * jobs; without (the simulator), whoever would wait runs steps instead.
 *
 * Changing the file set. One edit at a time: `installing` serialises the MANIFEST. A
 * change is visible only after its edit was synced; what it drops is unlinked later.
 *
 * Locks, in order: catalog_mu, mu, then sink_mu, table_cache.mu or the block cache's
 * mutex. No I/O happens under mu. docs/concurrency.md has the table.
 *
 * Lifetime: the handle is counted; iterators and snapshots hold it. lsm_db_close stops
 * the engine, the last reference frees the memory.
 */
#ifndef LSM_DB_DB_H
#define LSM_DB_DB_H

#include <stdatomic.h>

#include "base/budget.h"
#include "base/epoch.h"
#include "base/rng.h"
#include "db/catalog.h"
#include "db/clock.h"
#include "db/latency.h"
#include "db/manifest.h"
#include "db/options.h"
#include "db/table_cache.h"
#include "db/version.h"
#include "env/env.h"
#include "env/sync.h"
#include "table/memtable.h"

enum {
    LSM_IMMUTABLE_MAX = 3, /* memtables waiting for their flush; more stall writes */
    LSM_LOGS_MAX = 16,     /* live logs: one per memtable and dead ones in between */
    LSM_WORKERS_MAX = 16,
    LSM_JOBS_MAX = 8, /* jobs that run at the same time */
};

typedef struct lsm_readstate {
    _Atomic uint32_t refs;
    lsm_retired retired;
    lsm_memtable *mem;
    lsm_version *version;
    lsm_segment **logs; /* what the memtables point into; behind the immutables */
    size_t log_count;
    size_t immutable_count;
    lsm_memtable *immutables[]; /* newest first */
} lsm_readstate;

typedef enum lsm_db_state {
    LSM_STATE_OPEN = 0,
    LSM_STATE_DEGRADED = 1, /* the disk is full: the next write tries a new log */
    LSM_STATE_POISONED = 2, /* `failure` answers every write until a reopen; so it does
                               in a read-only database, from the beginning */
    LSM_STATE_CLOSED = 3,
    LSM_STATE_READ_ONLY = 4, /* only in stats */
} lsm_db_state;

/* A log that still holds what no table holds. */
typedef struct lsm_live_log {
    lsm_wal_writer *writer;
    lsm_segment *segment; /* the file as readers see it; one reference */
    bool recorded;        /* the MANIFEST knows it; so its name is durable */
} lsm_live_log;

/* A memtable that waits for its flush, its log, and the first log that it does not
 * need. */
typedef struct lsm_immutable {
    lsm_memtable *mem;
    lsm_segment *log; /* one reference */
    uint64_t next_log;
} lsm_immutable;

/* What a batch takes of memtable and log. */
typedef struct lsm_need {
    uint64_t memtable_bytes;
    uint64_t log_bytes;
} lsm_need;

typedef struct lsm_counters {
    _Atomic uint64_t user_bytes_written, log_bytes_written, flush_bytes_written;
    _Atomic uint64_t compact_bytes_read, compact_bytes_written;
    _Atomic uint64_t segment_bytes_written, relocated_bytes;
    _Atomic uint64_t flush_count, compact_count, trivial_move_count, sync_count;
    _Atomic uint64_t write_group_count, write_count, stall_count, stall_us;
    _Atomic uint64_t expired_count, expired_table_count;
} lsm_counters;

struct lsmkv_db {
    /* Constant after open. */
    lsm_env *env;
    lsm_dir *dir;
    lsm_lock *lock;
    lsm_options options;
    uint8_t uuid[LSM_UUID_SIZE];
    uint8_t (*origins)[LSM_UUID_SIZE]; /* as for lsm_uuids; owned */
    size_t origin_count;
    uint64_t fork_generation;
    uint64_t instance;     /* different for every handle of this process */
    size_t rows_batch_max; /* bytes of a batch of rows; tests lower it */
    bool threaded;
    lsm_budget *budget; /* of an untrusted directory, else NULL; owned */
    lsm_cache *cache;
    lsm_table_cache table_cache;
    lsm_table_sink sink;
    lsm_segment_context segments;
    lsm_segment_sink segment_sink;
    lsm_segment_files segment_files;
    uint64_t recovered_records;
    uint64_t recovered_dropped_bytes;
    struct lsm_view_files *view_files; /* of a read-only database, else NULL; owned; a
                                          follower's: under mu, changed by who has set
                                          `installing` */
    struct lsm_follow *follow; /* of a follower, else NULL; owned; used by who has set
                                  `installing` */
    bool read_only;
    bool fresh; /* this open created the database */
    bool built; /* cache and table_cache exist */

    /* Atomic. */
    _Atomic uint32_t refs; /* the handle, iterators, snapshots */
    _Atomic bool closing;  /* seq_cst; pairs with lsm_epoch_enter */
    lsm_epoch epoch;
    _Atomic(lsm_readstate *) readstate; /* release/acquire */
    _Atomic uint64_t published;         /* newest readable sequence; release/acquire */
    lsm_clock clock;                    /* set up before anything reads it */
    lsm_counters counters;
    lsm_latencies latencies;
    _Atomic uint64_t row_bytes; /* memory of rows on their way in; relaxed */
    lsm_space default_space; /* the namespace without a name; not counted, no options */
    _Atomic uint32_t coded_spaces; /* namespaces with a codec of their own */
    _Atomic bool switching; /* a published name gets another version, and handles of it
                               may not know yet */

    lsm_mutex catalog_mu; /* who defines namespaces; above mu, held over I/O */
    lsm_mutex mu;
    lsm_cond changed; /* background state, file set, immutables, `installing` */
    lsm_cond work;    /* there may be a job to start */
    lsm_cond idle;    /* the queue or `active_calls` became empty */

    /* Written by the leader under mu; the leader reads them without. */
    lsm_memtable *mem;
    uint64_t last_sequence;

    /* Guarded by mu. */
    /* Oldest first. The last one is active: its writer is the leader's. */
    lsm_live_log logs[LSM_LOGS_MAX] LSM_GUARDED_BY(mu);
    size_t log_count LSM_GUARDED_BY(mu);
    lsm_list writers LSM_GUARDED_BY(mu); /* lsm_writer.link; the head leads */
    lsm_immutable immutables[LSM_IMMUTABLE_MAX] LSM_GUARDED_BY(mu); /* oldest first */
    size_t immutable_count LSM_GUARDED_BY(mu);
    lsm_version *version LSM_GUARDED_BY(mu);
    lsm_list snapshots LSM_GUARDED_BY(mu); /* oldest first */
    uint64_t next_file LSM_GUARDED_BY(mu);
    _Atomic uint64_t manifest_next_file; /* as the MANIFEST has it; relaxed: whoever
                                            compares with it sees an edit's effect */
    lsm_rng rng LSM_GUARDED_BY(mu);
    bool installing LSM_GUARDED_BY(mu);   /* someone changes the file set */
    bool syncing_logs LSM_GUARDED_BY(mu); /* logs[] must not be closed now */
    lsm_wal_writer *manifest; /* the installer's, who has set `installing` */
    uint64_t manifest_limit LSM_GUARDED_BY(mu);   /* rewrite it past this size */
    uint64_t flushed_sequence LSM_GUARDED_BY(mu); /* the largest that tables hold */
    uint64_t first_log LSM_GUARDED_BY(mu);        /* lower numbers are obsolete */
    lsm_space **spaces LSM_GUARDED_BY(mu); /* living namespaces, ascending ids; owned */
    size_t space_count LSM_GUARDED_BY(mu);
    size_t space_capacity LSM_GUARDED_BY(mu);
    struct lsm_published **published_names LSM_GUARDED_BY(mu); /* owned */
    size_t published_count LSM_GUARDED_BY(mu);
    size_t published_capacity LSM_GUARDED_BY(mu);
    lsm_list publishes LSM_GUARDED_BY(mu); /* lsmkv_publish.link; running */
    lsm_db_state state LSM_GUARDED_BY(mu);
    lsmkv_error failure LSM_GUARDED_BY(mu);    /* why it is POISONED or DEGRADED */
    lsmkv_error background LSM_GUARDED_BY(mu); /* the last job failed; OK: it did not */
    uint32_t active_calls LSM_GUARDED_BY(mu);  /* maintenance calls inside */
    bool closed LSM_GUARDED_BY(mu);            /* closing has finished */

    /* Background work; guarded by mu. */
    struct lsm_job *jobs[LSM_JOBS_MAX] LSM_GUARDED_BY(mu);
    size_t job_count LSM_GUARDED_BY(mu);
    bool flushing LSM_GUARDED_BY(mu);
    uint32_t compactions LSM_GUARDED_BY(mu);
    uint32_t pause_compactions LSM_GUARDED_BY(mu);   /* manual ones want the field */
    uint32_t failures_in_row LSM_GUARDED_BY(mu);     /* of background jobs */
    uint64_t retry_at_us LSM_GUARDED_BY(mu);         /* no job starts before */
    uint64_t background_failures LSM_GUARDED_BY(mu); /* ever */
    bool manual LSM_GUARDED_BY(mu);                  /* a manual compaction runs */
    _Atomic bool stopping;                           /* set under mu */
    lsm_thread workers[LSM_WORKERS_MAX];
    lsm_thread syncer;
    lsm_thread evictor;
    bool evictor_runs LSM_GUARDED_BY(mu); /* started; there is a cache */
    uint32_t worker_count;                /* constant after start */

    /* Warm starts; db/warm.h. */
    uint64_t opened_us;                       /* constant after open; monotonic */
    uint64_t hot_begun_us LSM_GUARDED_BY(mu); /* the last hot list, or the opening */
    bool hot_saving LSM_GUARDED_BY(mu);       /* somebody has `saving` */
    struct lsm_hot_save *saving;              /* owned; of who has set hot_saving */
    uint64_t hot_print;                       /* of the last list; likewise */
    struct lsm_warm *warming;                 /* owned; the warmer's */
    lsm_thread warmer;
    _Atomic bool warm_runs; /* the opening wants warming, and it is not done */
    _Atomic uint64_t warm_bytes, warm_total_bytes;

    struct lsm_stats_save *stats_save; /* constant after start; NULL: none; owned */

    /* Files to unlink. */
    lsm_mutex sink_mu;
    lsm_live_table *dropped LSM_GUARDED_BY(sink_mu);
    lsm_segment *dropped_segments LSM_GUARDED_BY(sink_mu);
};

/* Entering, in enter.c. */

/* Why the database lets nobody in: FORKED or CLOSED. */
lsmkv_status lsm_db_refuse(const lsmkv_db *db, lsmkv_error *err) LSM_COLD;
/* What every read does first. On OK the epoch was entered and *token must be left. */
static inline LSM_MUST_CHECK lsmkv_status lsm_db_enter(lsmkv_db *db,
                                                       lsm_epoch_token *token,
                                                       lsmkv_error *err) {
    *token = NULL;
    if (LSM_UNLIKELY(db->fork_generation != lsm_fork_generation())) {
        return lsm_db_refuse(db, err);
    }
    *token = lsm_epoch_enter(&db->epoch);
    if (LSM_UNLIKELY(atomic_load(&db->closing))) {
        lsm_epoch_leave(*token);
        return lsm_db_refuse(db, err);
    }
    return LSMKV_OK;
}
/* The same for maintenance calls: holds off the teardown until lsm_db_end. */
lsmkv_status lsm_db_begin(lsmkv_db *db, lsmkv_error *err) LSM_MUST_CHECK;
void lsm_db_end(lsmkv_db *db);
/* After a call failed, outside the epoch and without locks: if it was for lack of file
 * descriptors, or of room in the budget, closes tables that nobody reads now, empties
 * the block cache in the second case, and answers true: the caller may try once more.
 */
bool lsm_db_relieve(lsmkv_db *db, const lsmkv_error *failure);
/* The same as the end of a loop around the call, which is made twice at most: *tried is
 * false before the first time. */
static inline bool lsm_db_again(lsmkv_db *db, lsmkv_status status,
                                const lsmkv_error *failure, bool *tried) {
    if (LSM_LIKELY(status != LSMKV_IO_ERROR && status != LSMKV_LIMIT_EXCEEDED) ||
        *tried) {
        return false;
    }
    *tried = true;
    return lsm_db_relieve(db, failure);
}
void lsm_db_ref(lsmkv_db *db);
void lsm_db_unref(lsmkv_db *db);

/* In open.c, close.c. */

lsmkv_status lsm_db_open(lsm_env *env, const char *path, const lsmkv_options *options,
                         lsmkv_db **dbp, lsmkv_error *err) LSM_MUST_CHECK;
/* The steps of every opening: an empty handle (NULL: no memory), ... */
lsmkv_db *lsm_db_create(lsm_env *env);
/* ... what the MANIFEST says of the database, taken over from the state, ... */
void lsm_db_adopt(lsmkv_db *db, lsm_manifest_state *state);
/* ... the parts that reading needs, ... */
lsmkv_status lsm_db_build(lsmkv_db *db, lsmkv_error *err) LSM_MUST_CHECK;
/* ... and what the database remembers, looked up in what was replayed, then in the
 * tables. */
struct lsm_recovery;
lsmkv_status lsm_db_recall_options(lsmkv_db *db, const struct lsm_recovery *recovery,
                                   bool *remembered, lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_db_close(lsmkv_db *db, lsmkv_error *err) LSM_MUST_CHECK;
/* Teardown without making anything durable. */
void lsm_db_abandon(lsmkv_db *db);
/* Releases what an open, a close or an abandon left; nothing may run any more. */
void lsm_db_destroy(lsmkv_db *db);

/* In output.c. */

/* How this database writes its tables. */
struct lsm_table_write_options;
void lsm_db_table_options(lsmkv_db *db, uint64_t file_id,
                          struct lsm_table_write_options *how);
/* Begin a table and a value file, under a number of its own. Take mu. */
struct lsm_table_writer;
struct lsm_value_writer;
lsmkv_status lsm_db_create_table(lsmkv_db *db, struct lsm_table_writer **writerp,
                                 lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_db_create_values(lsmkv_db *db, struct lsm_value_writer **writerp,
                                  lsmkv_error *err) LSM_MUST_CHECK;

/* In readstate.c. */

/* Builds a readstate from mem, immutables and version, publishes it and retires the
 * old one. `spare` was allocated before, with room for as many immutables, and is used
 * up. */
lsm_readstate *lsm_readstate_alloc(size_t immutable_max, size_t log_max);
/* Takes a reference for the state. */
void lsm_readstate_add_log(lsm_readstate *state, lsm_segment *log);
void lsm_readstate_publish_locked(lsmkv_db *db, lsm_readstate *spare)
    LSM_REQUIRES(db->mu);
/* Puts a complete state, with one reference, in the place of the one there is. */
void lsm_readstate_replace_locked(lsmkv_db *db, lsm_readstate *state)
    LSM_REQUIRES(db->mu);
void lsm_readstate_ref(lsm_readstate *state);
void lsm_readstate_unref(lsm_readstate *state);
/* The segment that a pointer of the state leads into, lent while the state lives; NULL:
 * it knows none of that number. */
lsm_segment *lsm_readstate_segment(const lsm_readstate *state, uint64_t number);
/* Inside the epoch. */
static inline lsm_readstate *lsm_db_readstate(lsmkv_db *db) {
    /* acquire: pairs with the release of lsm_readstate_publish_locked. */
    return atomic_load_explicit(&db->readstate, memory_order_acquire);
}
static inline uint64_t lsm_db_published(lsmkv_db *db) {
    /* acquire: pairs with the leader's release after it inserted a group. */
    return atomic_load_explicit(&db->published, memory_order_acquire);
}

/* In write.c, room.c, log_sync.c. */

/* "If the newest version of this key is still the one that was read", or, with
 * or_older, "if it has no version, of whatever kind, newer than that". A snapshot of
 * the sequence sees to it that newer tombstones and range deletes are not compacted
 * away. */
typedef struct lsm_condition {
    lsm_slice skey;
    uint64_t sequence; /* of the version; 0: no value is visible */
    bool or_older;
} lsm_condition;

typedef struct lsm_write_how {
    bool sync;
    bool nonblocking;
    const lsm_condition *condition; /* NULL: none */
    bool alone;                     /* nothing is committed in one group with it */
    lsm_space *drops;               /* with it, this namespace goes; NULL: none */
} lsm_write_how;

/* Commits a batch (not empty). Resolves times to live. NOT_FOUND, without a text: the
 * condition does not hold, and nothing was written. */
lsmkv_status lsm_db_write(lsmkv_db *db, lsm_batch *batch, lsm_write_how how,
                          lsmkv_error *err) LSM_MUST_CHECK;
/* Queues like a writer and makes everything written before durable in the logs. */
lsmkv_status lsm_db_sync(lsmkv_db *db, lsmkv_error *err) LSM_MUST_CHECK;
/* Leaves DEGRADED: queues like a writer to start a log in place of a dead one, then has
 * background work that failed tried again. */
lsmkv_status lsm_db_resume(lsmkv_db *db, lsmkv_error *err) LSM_MUST_CHECK;
/* Queues like a writer and makes the memtable immutable unless it is empty. */
lsmkv_status lsm_db_rotate(lsmkv_db *db, lsmkv_error *err) LSM_MUST_CHECK;

/* For the leader, with mu held (released while waiting or doing I/O). */
lsmkv_status lsm_room_make_locked(lsmkv_db *db, lsm_need need, bool nonblocking,
                                  lsmkv_error *err) LSM_REQUIRES(db->mu) LSM_MUST_CHECK;
lsmkv_status lsm_room_rotate_locked(lsmkv_db *db, lsm_need need, lsmkv_error *err)
    LSM_REQUIRES(db->mu) LSM_MUST_CHECK;
/* For the leader, without mu: all live logs known to the MANIFEST and durable, the
 * active one only if asked. */
lsmkv_status lsm_logs_sync(lsmkv_db *db, bool active_too,
                           lsmkv_error *err) LSM_MUST_CHECK;
/* Syncs one log; its failure poisons the database. */
lsmkv_status lsm_log_sync(lsmkv_db *db, lsm_wal_writer *writer,
                          lsmkv_error *err) LSM_MUST_CHECK;
/* Ends a log that no leader writes any more and makes it durable as it is; its size is
 * then known to its segment. A dead one cannot be sealed. */
lsmkv_status lsm_log_seal(lsmkv_db *db, const lsm_segment *log, lsm_edit_segment *info,
                          lsmkv_error *err) LSM_MUST_CHECK;

typedef struct lsm_log_plan {
    uint64_t number;
    uint64_t file_id;
    uint64_t previous_sequence;
    uint64_t bytes; /* that it will hold at least */
} lsm_log_plan;

/* Creates a log; for open and rotation. */
lsmkv_status lsm_log_create(lsmkv_db *db, const lsm_log_plan *plan, lsm_live_log *log,
                            lsmkv_error *err) LSM_MUST_CHECK;
/* Values of this size and more are stored apart; SIZE_MAX: none. */
static inline size_t lsm_db_blob_threshold(const lsmkv_db *db) {
    return db->options.blob_threshold;
}

/* In catalog.c. The living namespace of an id, lent while mu is held. NULL: none. */
lsm_space *lsm_catalog_find_locked(const lsmkv_db *db, uint32_t id)
    LSM_REQUIRES(db->mu);
/* For leaders: whether every namespace that a batch names is living; and
 * what a drop does once it is committed. */
bool lsm_catalog_knows_locked(const lsmkv_db *db, const lsm_batch *batch)
    LSM_REQUIRES(db->mu);
void lsm_catalog_remove_locked(lsmkv_db *db, lsm_space *space) LSM_REQUIRES(db->mu);
/* For who creates one: room on the list (false: no memory), then the namespace, whose
 * reference is taken. */
bool lsm_catalog_reserve_locked(lsmkv_db *db) LSM_REQUIRES(db->mu) LSM_MUST_CHECK;
void lsm_catalog_insert_locked(lsmkv_db *db, lsm_space *space) LSM_REQUIRES(db->mu);
/* After the codec of one was altered. */
void lsm_catalog_count_codecs_locked(lsmkv_db *db) LSM_REQUIRES(db->mu);
/* For a follower: puts namespaces in the place of those there are. What is gone counts
 * as dropped, what stays keeps its handles. */
void lsm_catalog_switch_locked(lsmkv_db *db, lsm_catalog_next *next)
    LSM_REQUIRES(db->mu);

/* In follow.c. */

/* Shows what the writer has written by now. *changed: that is more than before. */
lsmkv_status lsm_db_refresh(lsmkv_db *db, bool *changed,
                            lsmkv_error *err) LSM_MUST_CHECK;

/* In snapshot.c. */

struct lsmkv_snapshot {
    lsm_list link; /* db->snapshots */
    lsmkv_db *db;  /* one reference */
    uint64_t sequence;
    lsm_readstate *state; /* of a follower: one reference, because the writer knows
                             nothing of this snapshot; else NULL */
};

/* What a read sees: load it before the sequence. Inside the epoch. */
static inline lsm_readstate *lsm_db_state_of(lsmkv_db *db,
                                             const lsmkv_snapshot *snapshot) {
    return snapshot != NULL && snapshot->state != NULL ? snapshot->state
                                                       : lsm_db_readstate(db);
}

lsmkv_status lsm_snapshot_open(lsmkv_db *db, lsmkv_snapshot **snapshotp,
                               lsmkv_error *err) LSM_MUST_CHECK;
void lsm_snapshot_close(lsmkv_snapshot *snapshot); /* NULL is fine */

/* The sequences that must stay readable, ascending, ending with the published one.
 * NO_MEMORY. *sequences is for the caller to lsm_free. */
lsmkv_status lsm_snapshots_list_locked(lsmkv_db *db, uint64_t **sequences,
                                       size_t *count, lsmkv_error *err)
    LSM_REQUIRES(db->mu) LSM_MUST_CHECK;

/* In install.c, gc.c. */

/* Makes the edit durable in the MANIFEST, then visible. Fills in next_file. With
 * `flushed`, that many of the oldest immutables are dropped with it and the logs only
 * they needed are closed and unlinked. POISONS the database when the MANIFEST fails. */
lsmkv_status lsm_db_install(lsmkv_db *db, lsm_edit *edit, size_t flushed,
                            lsmkv_error *err) LSM_MUST_CHECK;
/* Everything that a fresh MANIFEST must say once `edit` has been applied. */
lsmkv_status lsm_db_describe_locked(lsmkv_db *db, const lsm_edit *edit,
                                    const lsm_version *version, lsm_edit *everything,
                                    lsmkv_error *err)
    LSM_REQUIRES(db->mu) LSM_MUST_CHECK;
/* Adds the origins to an edit. false: no memory. */
bool lsm_db_describe_origins(const lsmkv_db *db, lsm_edit *everything) LSM_MUST_CHECK;
/* Remembers the first failure; every later write answers it. Returns its status. */
lsmkv_status lsm_db_poison_locked(lsmkv_db *db, const lsmkv_error *failure)
    LSM_REQUIRES(db->mu);
lsmkv_status lsm_db_poison(lsmkv_db *db, const lsmkv_error *failure);

/* The sink of dropped tables, and unlinking what lies in it. */
void lsm_gc_init(lsmkv_db *db);
void lsm_gc_collect(lsmkv_db *db);
void lsm_gc_discard(lsmkv_db *db); /* frees them without unlinking */
/* After recovery: unlinks every canonically named file that the state does not need. */
lsmkv_status lsm_gc_sweep(lsmkv_db *db, lsmkv_error *err) LSM_MUST_CHECK;
/* For tests: whether the directory holds exactly what is needed. */
bool lsm_gc_files_match(lsmkv_db *db, char name[LSM_NAME_SIZE_MAX]);

/* In scheduler.c. */

lsmkv_status lsm_scheduler_start(lsmkv_db *db, lsmkv_error *err) LSM_MUST_CHECK;
/* Lets running jobs end at their next step and joins the workers. */
void lsm_scheduler_stop(lsmkv_db *db);
/* Waits for `changed`, or, without threads, runs one step. false: nothing is left to
 * do, so waiting would be for ever. */
bool lsm_scheduler_wait_locked(lsmkv_db *db) LSM_REQUIRES(db->mu);
/* As above, and answers the error of work that failed meanwhile, or of a poisoned
 * database. */
lsmkv_status lsm_scheduler_await_locked(lsmkv_db *db, lsmkv_error *err)
    LSM_REQUIRES(db->mu) LSM_MUST_CHECK;
/* As the first, but with threads at most for `us`. */
void lsm_scheduler_delay_locked(lsmkv_db *db, uint64_t us) LSM_REQUIRES(db->mu);
uint64_t lsm_scheduler_step(lsmkv_db *db, uint64_t count);
/* Waits until the immutables present now are flushed. */
lsmkv_status lsm_scheduler_wait_flushed(lsmkv_db *db, lsmkv_error *err) LSM_MUST_CHECK;
/* If the last job failed, tries at once what is due and waits for how that ends. */
lsmkv_status lsm_scheduler_retry(lsmkv_db *db, lsmkv_error *err) LSM_MUST_CHECK;
/* Waits until nothing runs and nothing is due. */
lsmkv_status lsm_scheduler_settle(lsmkv_db *db, lsmkv_error *err) LSM_MUST_CHECK;
/* Waits until no compaction runs and lets none start, but the caller's, until
 * lsm_scheduler_unclaim. */
lsmkv_status lsm_scheduler_claim(lsmkv_db *db, lsmkv_error *err) LSM_MUST_CHECK;
void lsm_scheduler_unclaim(lsmkv_db *db);
/* Runs a manual compaction of a range of stored keys to its end. */
lsmkv_status lsm_scheduler_compact(lsmkv_db *db, lsm_key_range range,
                                   lsmkv_error *err) LSM_MUST_CHECK;

/* Has evictions run in a thread of their own, from the first cache on. */
lsmkv_status lsm_scheduler_start_evictor(lsmkv_db *db, lsmkv_error *err) LSM_MUST_CHECK;

/* In hot_save.c, warm_start.c. */

/* How long until it is time for another hot list; 0: it is. */
uint64_t lsm_hot_wait_us_locked(lsmkv_db *db) LSM_REQUIRES(db->mu);
/* Whether it is, and nobody is at it. */
bool lsm_hot_due_locked(lsmkv_db *db) LSM_REQUIRES(db->mu);
/* Claims it: lsm_hot_step is then to be called until it answers false. */
void lsm_hot_begin_locked(lsmkv_db *db) LSM_REQUIRES(db->mu);
bool lsm_hot_step(lsmkv_db *db);
/* For close, after the threads have ended. */
void lsm_hot_save_now(lsmkv_db *db);
/* The warming that the opening asks for, if it does; a step of it where there are no
 * threads (false: it is done); its end. */
void lsm_warm_start(lsmkv_db *db);
bool lsm_warm_start_step(lsmkv_db *db);
void lsm_warm_start_end(lsmkv_db *db);

/* In stats_save.c. */

/* Begins to write the statistics file, if the options want it. */
void lsm_stats_save_start(lsmkv_db *db);
/* Without threads: writes it if it is time. */
void lsm_stats_save_step(lsmkv_db *db);
/* Joins the thread; writes it as that of a closed database; lets go of it. */
void lsm_stats_save_stop(lsmkv_db *db);
void lsm_stats_save_last(lsmkv_db *db);
void lsm_stats_save_end(lsmkv_db *db);

/* In stats.c, count.c, verify.c. */

void lsm_db_stats(lsmkv_db *db, lsmkv_stats *stats);
void lsm_db_memory(lsmkv_db *db, lsmkv_memory *memory);
/* Calls outside every lock. */
void lsm_db_list_tables(lsmkv_db *db, lsmkv_table_fn callback, void *context);
/* Tells that rows on their way in take other memory than they did. */
static inline void lsm_db_charge_rows(lsmkv_db *db, uint64_t before, uint64_t now) {
    atomic_fetch_add_explicit(&db->row_bytes, now - before, memory_order_relaxed);
}
/* Inside the epoch. The range is that of stored keys, its end exclusive. */
lsmkv_status lsm_db_count(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                          const lsm_key_range *range, uint64_t *count,
                          lsmkv_error *err) LSM_MUST_CHECK;
/* About how many bytes of tables, and of large values they point to, belong to a range
 * of stored keys. Inside the epoch; reads no file. */
uint64_t lsm_db_bytes(lsmkv_db *db, const lsm_key_range *range);
lsmkv_status lsm_db_verify(lsmkv_db *db, lsmkv_problem_fn on_problem, void *context,
                           lsmkv_report *report, lsmkv_error *err) LSM_MUST_CHECK;

/* In checkpoint.c: the tables as they are; the memtable was flushed before. */
lsmkv_status lsm_db_checkpoint(lsmkv_db *db, const char *path,
                               lsmkv_error *err) LSM_MUST_CHECK;

#endif
