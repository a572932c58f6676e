/* SPDX-License-Identifier: Apache-2.0
 *
 * Options, and the life of a database handle: open, refresh, close, free.
 */
#ifndef LSMKV_OPEN_H
#define LSMKV_OPEN_H

#include "lsmkv_base.h"

typedef enum lsmkv_durability {
    LSMKV_DURABILITY_UNSET = 0,   /* LSMKV_DURABILITY_OS */
    LSMKV_DURABILITY_OS = 1,      /* a write survives the process */
    LSMKV_DURABILITY_SYNC = 2,    /* a write survives power loss */
    LSMKV_DURABILITY_INTERVAL = 3 /* as OS, synced every sync_interval_ms */
} lsmkv_durability;

/* 0 means "as remembered by the database, else the default" for every number below;
 * -1 where a field says that 0 has a meaning of its own. Fields marked [kept] shape
 * the files and are remembered by the database. */
typedef struct lsmkv_options {
    bool create_if_missing; /* default true */
    bool error_if_exists;   /* default false */
    bool read_only;         /* default false; see lsmkv_open */
    bool follower;          /* default false; read_only, and lsmkv_refresh */
    bool untrusted;         /* default false; read_only, with limits; see lsmkv_open */
    uint32_t follow_interval_ms; /* a follower refreshes by itself so often; 0: never */
    uint64_t memory_bytes;       /* memtables + cache + open tables; 256 MiB */
    uint64_t memtable_bytes;     /* 16 MiB, at most memory_bytes / 4 */
    int64_t block_cache_bytes;   /* -1: what memtables and open tables leave */
    uint32_t max_open_files;     /* 512, at least 16 */
    uint32_t background_threads; /* 2 */
    lsmkv_durability durability; /* default OS */
    uint32_t sync_interval_ms;   /* 1000 */
    uint32_t block_bytes;        /* [kept] 4096 */
    int32_t bloom_bits_per_key;  /* [kept] -1: 10; 0 turns filters off */
    int32_t codec;               /* [kept] -1: 0 = none; 1 = zstd */
    int32_t codec_level;         /* [kept] 0: the codec's own default */
    uint64_t table_bytes;        /* [kept] 32 MiB */
    uint64_t level_base_bytes;   /* [kept] 64 MiB */
    uint32_t level_multiplier;   /* [kept] 10 */
    uint32_t l0_compact_trigger; /* [kept] 4 tables */
    int64_t blob_threshold_bytes; /* [kept] values of this size and more are written
                                     once, and pointed to; -1: 1024; 0: none are */
    uint64_t log_bytes;           /* a log file ends at this size; 64 MiB, or twice
                                     memtable_bytes if that is more */
    bool mapping;                 /* default true: large values are read through memory
                                     mappings; see docs/durability.md */
    uint64_t seed;                /* 0: from the operating system */
    int64_t warm_bytes;           /* what the opening brings back into memory, as
                                     lsmkv_warm does, in the background: bytes at most;
                                     -1: what the block cache may hold; default 0 */
    int32_t stats_interval_ms;    /* who writes tells others its figures so often, in
                                     the file STATS; -1: 1000; 0: never */
} lsmkv_options;

LSMKV_API void lsmkv_options_init(lsmkv_options *options);

/* Opens, creating it if asked, the database in directory `path` (UTF-8 or the file
 * system's bytes) for reading and writing. One handle per directory in all processes:
 * else LSMKV_LOCKED. A failing open changes nothing but the LOCK file.
 *
 * With options->read_only the handle shows the state of this moment, for ever: it takes
 * no lock and changes nothing in the directory, so it needs no permission to write and
 * any number may stand beside one writer. Logs are replayed in memory. Every call that
 * would change something answers LSMKV_READ_ONLY. What the writer has not synced may be
 * seen, and a power failure may take it back. Tables are held open, up to
 * max_open_files; a file that the writer has deleted before it could be opened is
 * LSMKV_CHANGED: open again.
 *
 * With options->follower it does the same, until lsmkv_refresh moves it on.
 *
 * With options->untrusted, which needs read_only and is for a directory that somebody
 * else made, whatever it holds can do no more than fail: memory_bytes then bounds all
 * memory that the handle takes, base/limits.h what else there may be of anything, and
 * LSMKV_LIMIT_EXCEEDED tells. No file is mapped, links are not followed, no thread is
 * started; logs must hold no records, as they do when a database was closed and in a
 * checkpoint. docs/SECURITY.md has the promise. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_open(const char *path,
                                                   const lsmkv_options *options,
                                                   lsmkv_db **dbp, lsmkv_error *err);

/* Has a follower show what the writer has written by now, whole batches only; *changed
 * tells whether that is another state than before. Cheap when there is nothing new: a
 * few calls of the system. Reads in other threads go on meanwhile, each in one state;
 * iterators, snapshots and views stay in theirs. What gets in the way because the
 * writer changes the directory at this moment is tried again; if that does not help,
 * the answer is LSMKV_CHANGED and the handle shows what it showed before. A read that
 * answers LSMKV_CHANGED needs a table that was deleted and was not held open: refresh.
 * INVALID_ARGUMENT for a handle that is no follower. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_refresh(lsmkv_db *db, bool *changed,
                                                      lsmkv_error *err);

/* How a follower keeps up. Its opening counts as a refresh that succeeded. */
typedef struct lsmkv_follow_stats {
    uint64_t refresh_count;   /* that succeeded, by itself or because asked for */
    uint64_t failure_count;   /* that did not */
    uint64_t failures_in_row; /* since the last one that did */
    uint64_t age_us;          /* since that one began: what the writer had written by
                                 then is shown */
    lsmkv_error error;        /* of the last one; its status is OK if there was none */
} lsmkv_follow_stats;

/* While refreshes fail a follower shows what it showed before; one that refreshes by
 * itself goes on trying, less and less often. INVALID_ARGUMENT for a handle that is no
 * follower. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_get_follow_stats(lsmkv_db *db, lsmkv_follow_stats *stats, lsmkv_error *err);

/* Waits for calls in flight, makes all acknowledged writes durable, stops the
 * background threads and releases the directory. Idempotent; of several threads one
 * closes and the others wait for it. An error is reported once, by the closing call;
 * the handle is closed all the same. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_close(lsmkv_db *db, lsmkv_error *err);

/* Closes if needed and drops the handle. NULL is fine. */
LSMKV_API void lsmkv_free(lsmkv_db *db);

LSMKV_API bool lsmkv_is_closed(const lsmkv_db *db);

/* The options in force, every field resolved. Works on a closed database, too. */
LSMKV_API void lsmkv_get_options(const lsmkv_db *db, lsmkv_options *options);

enum { LSMKV_UUID_SIZE = 16 };

/* What no other database has; a checkpoint has one of its own. Likewise. */
LSMKV_API void lsmkv_get_uuid(const lsmkv_db *db, uint8_t uuid[LSMKV_UUID_SIZE]);

#endif
