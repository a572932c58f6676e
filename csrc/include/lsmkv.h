/* SPDX-License-Identifier: Apache-2.0
 *
 * lsmkv: an embedded, persistent, ordered key-value engine.
 *
 * This is the only public header. Its conventions:
 *
 *  1. Handles are opaque. `lsmkv_close` ends the use of a database and leaves the
 *     handle valid: every later call answers LSMKV_CLOSED. `lsmkv_free` releases the
 *     memory and may only be called when no other call on that handle can be running.
 *     Iterators and snapshots keep what they need alive, so the order in which handles
 *     are freed does not matter.
 *  2. Every call that can fail returns a `lsmkv_status`; LSMKV_OK is 0. NOT_FOUND and
 *     WOULD_BLOCK are answers, not errors. Details go into the caller's `lsmkv_error`,
 *     which is always the last parameter and may be NULL.
 *  3. Out-parameters are set to NULL on entry and stay NULL on failure.
 *  4. `lsmkv_bytes` is always borrowed: the callee copies what it keeps. A NULL `data`
 *     with a size of 0 is an empty string.
 *  5. All calls on one database may be made from any number of threads at once. One
 *     iterator or one batch belongs to one thread at a time.
 *  6. After fork() the child's copy of a database answers LSMKV_FORKED.
 *  7. Sizes are bytes, keys are ordered as unsigned bytes.
 */
#ifndef LSMKV_H
#define LSMKV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LSMKV_API __attribute__((visibility("default")))
#define LSMKV_MUST_CHECK __attribute__((warn_unused_result))
#else
#define LSMKV_API
#define LSMKV_MUST_CHECK
#endif

/* name, pinned number, text. The numbers never change. */
#define LSMKV_STATUS_MAP(X)                                \
    X(OK, 0, "ok")                                         \
    X(NOT_FOUND, 1, "not found")                           \
    X(WOULD_BLOCK, 2, "the call would have to wait")       \
    X(CORRUPTION, 10, "corruption")                        \
    X(IO_ERROR, 11, "I/O error")                           \
    X(DISK_FULL, 12, "no space left on the device")        \
    X(CLOSED, 13, "the database is closed")                \
    X(LOCKED, 14, "the database is in use")                \
    X(FORKED, 15, "the database was opened before fork()") \
    X(READ_ONLY, 16, "the database is read-only")          \
    X(INVALID_ARGUMENT, 17, "invalid argument")            \
    X(LIMIT_EXCEEDED, 18, "a limit was exceeded")          \
    X(UNSUPPORTED_VERSION, 19, "unsupported version")      \
    X(NOT_A_DATABASE, 20, "not an lsmkv database")         \
    X(NO_MEMORY, 21, "out of memory")                      \
    X(CHANGED, 22, "the files changed underneath: open the database again")

typedef enum lsmkv_status {
#define LSMKV_STATUS_ENUM(name, number, text) LSMKV_##name = (number),
    LSMKV_STATUS_MAP(LSMKV_STATUS_ENUM)
#undef LSMKV_STATUS_ENUM
} lsmkv_status;

/* What went wrong, filled in by the callee. `file` is the name of a file inside the
 * database directory, or empty; `offset` is -1 where none applies; `pid` is the
 * holder of the lock for LSMKV_LOCKED where it is known, else 0. */
typedef struct lsmkv_error {
    lsmkv_status status;
    int os_errno;
    int64_t offset;
    int64_t pid;
    char file[64];
    char message[256];
} lsmkv_error;

/* The enum's spelling ("CORRUPTION") and its text ("corruption"). */
LSMKV_API const char *lsmkv_status_name(lsmkv_status status);
LSMKV_API const char *lsmkv_status_text(lsmkv_status status);
LSMKV_API const char *lsmkv_version(void);

typedef struct lsmkv_bytes {
    const void *data;
    size_t size;
} lsmkv_bytes;

typedef struct lsmkv_db lsmkv_db;
typedef struct lsmkv_snapshot lsmkv_snapshot;
typedef struct lsmkv_iter lsmkv_iter;
typedef struct lsmkv_batch lsmkv_batch;
typedef struct lsmkv_namespace lsmkv_namespace;
typedef struct lsmkv_publish lsmkv_publish;

enum {
    LSMKV_KEY_SIZE_MAX = 65535,                   /* bytes of one key */
    LSMKV_VALUE_SIZE_MAX = 1 << 30,               /* bytes of one value */
    LSMKV_BATCH_SIZE_MAX = (1 << 30) + (1 << 20), /* encoded bytes of one batch */
    LSMKV_LEVEL_COUNT = 7,
    LSMKV_VECTOR_DIM_MAX = 1 << 20 /* numbers in a vector */
};

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
    bool create_if_missing;      /* default true */
    bool error_if_exists;        /* default false */
    bool read_only;              /* default false; see lsmkv_open */
    bool follower;               /* default false; read_only, and lsmkv_refresh */
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
 * With options->follower it does the same, until lsmkv_refresh moves it on. */
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

/* Waits for calls in flight, makes all acknowledged writes durable, stops the
 * background threads and releases the directory. Idempotent; of several threads one
 * closes and the others wait for it. An error is reported once, by the closing call;
 * the handle is closed all the same. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_close(lsmkv_db *db, lsmkv_error *err);

/* Closes if needed and drops the handle. NULL is fine. */
LSMKV_API void lsmkv_free(lsmkv_db *db);

LSMKV_API bool lsmkv_is_closed(const lsmkv_db *db);

typedef struct lsmkv_read {
    const lsmkv_snapshot *snapshot; /* NULL: the newest state */
    bool nonblocking;               /* answer WOULD_BLOCK instead of doing I/O */
    const lsmkv_namespace *space;   /* NULL: the default namespace */
    bool stale;                     /* shows values that are not fresh any more, too,
                                       until they expire; iterators take no notice */
} lsmkv_read;

/* Lends value bytes without copying them: `value` stays valid until
 * lsmkv_pin_release, which must be called exactly once after an OK, from the thread
 * that read or any other, and soon: while a pin is held, memory that other threads
 * give up is not freed and lsmkv_close waits. */
typedef struct lsmkv_pin {
    lsmkv_bytes value;
    void *opaque[2];
} lsmkv_pin;

/* OK, NOT_FOUND or WOULD_BLOCK, else an error. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_get(lsmkv_db *db, const lsmkv_read *read,
                                                  lsmkv_bytes key, lsmkv_pin *pin,
                                                  lsmkv_error *err);

/* The times of a value. */
typedef struct lsmkv_entry {
    int64_t stale_for_ms;  /* since when it is not fresh any more; -1: it is */
    int64_t left_ms;       /* until it expires; -1: it never does */
    uint64_t expire_at_ms; /* that moment of engine time; 0: it never does */
} lsmkv_entry;

/* As lsmkv_get, and tells the times. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_get_entry(lsmkv_db *db, const lsmkv_read *read, lsmkv_bytes key,
                lsmkv_entry *entry, lsmkv_pin *pin, lsmkv_error *err);

typedef struct lsmkv_view lsmkv_view;

/* As lsmkv_get, but the value is lent until lsmkv_view_free, however long that is, also
 * when the database was closed meanwhile. A large value is lent from its file, which is
 * not deleted before; a small one is copied. *viewp is NULL unless the answer is OK. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_get_view(lsmkv_db *db, const lsmkv_read *read, lsmkv_bytes key,
               lsmkv_view **viewp, lsmkv_bytes *value, lsmkv_error *err);
LSMKV_API void lsmkv_view_free(lsmkv_view *view); /* NULL is fine */

typedef struct lsmkv_lookup {
    lsmkv_bytes key;      /* in */
    lsmkv_bytes value;    /* out: valid until the pin is released */
    bool found;           /* out */
    int64_t stale_for_ms; /* out: as in lsmkv_entry */
} lsmkv_lookup;

/* Looks up `count` keys in one consistent state; lookups keep their order. On OK the
 * pin must be released. Always may block. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_get_many(lsmkv_db *db,
                                                       const lsmkv_read *read,
                                                       lsmkv_lookup *lookups,
                                                       size_t count, lsmkv_pin *pin,
                                                       lsmkv_error *err);

LSMKV_API void lsmkv_pin_release(lsmkv_pin *pin);

typedef struct lsmkv_write {
    bool sync;        /* survive power loss before returning */
    bool nosync;      /* overrides the database's durability "sync" for this write */
    bool nonblocking; /* answer WOULD_BLOCK, having done nothing, instead of waiting */
    int64_t ttl_ms;   /* when a value that is put expires, counted from the write: 0 as
                         the namespace has it, -1 never, > 0 after so long */
    const lsmkv_namespace *space; /* NULL: the default namespace */
    int64_t
        stale_ms; /* a value with a time to live is fresh until then, and stays for
                     so much longer, which only reads that ask for it see; 0: none */
    uint64_t expire_at_ms; /* instead of ttl_ms: a moment as lsmkv_entry tells it; 0:
                              none */
    const lsmkv_snapshot
        *since; /* lsmkv_put alone: store only if nothing was put under
                   the key, and nothing deleted it, since this snapshot
                   was made, else answer NOT_FOUND; NULL: in any case */
} lsmkv_write;

typedef struct lsmkv_range {
    lsmkv_bytes start; /* inclusive; ignored unless has_start */
    lsmkv_bytes stop;  /* exclusive; ignored unless has_stop */
    bool has_start;
    bool has_stop;
} lsmkv_range;

/* A value that has expired is gone from every read, snapshots included, for good, and
 * no older value of its key comes back. Time is the database's own: it follows the wall
 * clock, but never goes back, not across reopens either, and does not follow a clock
 * that jumps ahead by more than a day while the database is open
 * (lsmkv_stats.clock_jumps).
 *
 * `how` may be NULL: the database's durability. A write that failed is not readable
 * through this handle; if the failure came at or after the log append it may be
 * present, whole, after a reopen. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_put(lsmkv_db *db, const lsmkv_write *how,
                                                  lsmkv_bytes key, lsmkv_bytes value,
                                                  lsmkv_error *err);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_delete(lsmkv_db *db,
                                                     const lsmkv_write *how,
                                                     lsmkv_bytes key, lsmkv_error *err);
/* Deletes every key of the range (NULL: all) in one small record, however many there
 * are. Their space comes back by compaction. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_delete_range(lsmkv_db *db,
                                                           const lsmkv_write *how,
                                                           const lsmkv_range *range,
                                                           lsmkv_error *err);

/* The time left to the value of a key: OK and *ttl_ms, -1 if it never expires;
 * NOT_FOUND without a value, else as lsmkv_get. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_ttl(lsmkv_db *db, const lsmkv_read *read,
                                                  lsmkv_bytes key, int64_t *ttl_ms,
                                                  lsmkv_error *err);
/* Gives the value of a key the times of `how` from now on, leaving it as it is: OK,
 * or NOT_FOUND when there is none. A put or delete at the same time is never undone. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_touch(lsmkv_db *db,
                                                    const lsmkv_write *how,
                                                    lsmkv_bytes key, lsmkv_error *err);

/* A batch is applied whole or not at all; later records win over earlier ones. It
 * belongs to no database, keeps copies of what it is given and can be written more
 * than once; a time to live counts from each write. Of a record's `how`, which may be
 * NULL, only times and space are looked at; of that of lsmkv_write_batch they are not.
 * Records that name namespaces belong to their database. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_batch_create(lsmkv_batch **batchp,
                                                           lsmkv_error *err);
LSMKV_API void lsmkv_batch_free(lsmkv_batch *batch);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_batch_put(lsmkv_batch *batch,
                                                        const lsmkv_write *how,
                                                        lsmkv_bytes key,
                                                        lsmkv_bytes value,
                                                        lsmkv_error *err);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_batch_delete(lsmkv_batch *batch,
                                                           const lsmkv_write *how,
                                                           lsmkv_bytes key,
                                                           lsmkv_error *err);
/* Deletes what the range holds when the batch is written, and what earlier records of
 * the batch put into it. `how` may be NULL; a batch is synced as a whole. A range that
 * can hold no key adds no record. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_batch_delete_range(lsmkv_batch *batch, const lsmkv_write *how,
                         const lsmkv_range *range, lsmkv_error *err);
LSMKV_API void lsmkv_batch_clear(lsmkv_batch *batch);
LSMKV_API size_t lsmkv_batch_count(const lsmkv_batch *batch); /* records */
LSMKV_API size_t lsmkv_batch_bytes(const lsmkv_batch *batch); /* encoded size */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_write_batch(lsmkv_db *db,
                                                          const lsmkv_write *how,
                                                          lsmkv_batch *batch,
                                                          lsmkv_error *err);

/* The keys of many rows: `count` strings of bytes or, where `bytes` is NULL, as many
 * numbers, of which each is a key of 8 bytes, the most significant first, so that keys
 * are in the order of the numbers. */
typedef struct lsmkv_keys {
    const lsmkv_bytes *bytes;
    const uint64_t *ids;
    size_t count;
} lsmkv_keys;

/* Values of one size: that of key i is at data + i * stride. */
typedef struct lsmkv_rows {
    const void *data;
    size_t row_bytes; /* at least 1 */
    size_t stride;    /* at least row_bytes */
} lsmkv_rows;

/* Puts a value under each key; of equal keys the last one wins. All of them are one
 * atomic batch, unless they are too much for one (LSMKV_BATCH_SIZE_MAX): then they are
 * written in order in as many batches as it takes. *put_count: rows of the batches
 * written, also after a failure. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_put_rows(lsmkv_db *db, const lsmkv_write *how, const lsmkv_keys *keys,
               const lsmkv_rows *rows, size_t *put_count, lsmkv_error *err);
/* Adds a put for each key. After a failure some may have been added. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_batch_put_rows(lsmkv_batch *batch,
                                                             const lsmkv_write *how,
                                                             const lsmkv_keys *keys,
                                                             const lsmkv_rows *rows,
                                                             lsmkv_error *err);

/* Where rows are read to: that of key i to out + i * stride. */
typedef struct lsmkv_gather {
    void *out;
    size_t row_bytes;   /* at least 1 */
    size_t stride;      /* at least row_bytes */
    uint8_t *found;     /* out: 1 or 0 for each key; rows not found are left alone */
    uint64_t budget_us; /* 0: no limit */
} lsmkv_gather;

/* Looks up all keys in one consistent state and copies their values. A value of another
 * size is INVALID_ARGUMENT; after an error some rows may have been copied. With a
 * budget, rows that are not in memory count as not found once so many microseconds have
 * passed, and with read->nonblocking at once; the last read begun may take longer. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_get_rows(lsmkv_db *db, const lsmkv_read *read, const lsmkv_keys *keys,
               const lsmkv_gather *to, size_t *found_count, lsmkv_error *err);

/* A namespace is a key space of its own in the same database, with a name that lasts.
 * One batch may write in several. Reads and writes name it by a handle.
 *
 * What it has of its own; else it goes by the database. */
typedef struct lsmkv_space_options {
    int64_t default_ttl_ms;       /* for puts that say nothing; 0: they never expire */
    int64_t blob_threshold_bytes; /* values from this size on lie apart; -1: none own */
    int32_t codec;                /* -1: none own */
    int32_t codec_level;
    /* Of a namespace of vectors, fixed when it is created: see has_vector. */
    uint32_t vector_dim;   /* numbers in each; 0: it is none */
    int32_t vector_dtype;  /* -1: it is none; else 0 to 3, for the caller to know */
    int32_t vector_metric; /* -1: it is none; else 0 to 2, likewise */
    int64_t max_bytes;     /* > 0: the namespace is a cache, see below; 0: it is none */
    int32_t cache_policy;  /* of a cache: LSMKV_CACHE_FIFO_REINSERT */
} lsmkv_space_options;

/* A namespace with max_bytes is a cache from its creation on. What is read from one is
 * the newest value of a key, or nothing, never an older one: values are given up for
 * space, when they are damaged, and, those of the last moments, by a power failure. Its
 * files take 1.05 x max_bytes at most. LIMIT_EXCEEDED: a value of more than a 64th. */
enum { LSMKV_CACHE_FIFO_REINSERT = 1, LSMKV_CACHE_BYTES_MIN = 1 << 16 };

typedef struct lsmkv_namespace_how {
    bool create;                    /* if there is none of that name */
    bool alter;                     /* give an existing one the options below */
    const lsmkv_snapshot *snapshot; /* as it was called then; for reading alone */
    bool has_default_ttl;
    bool has_blob_threshold;
    bool has_codec;
    bool has_codec_level;
    bool has_vector; /* the three vector fields: an existing namespace that has others,
                        or none, is refused, to be altered or not */
    bool has_max_bytes;
    bool has_cache_policy;
    lsmkv_space_options options; /* those it `has` */
} lsmkv_namespace_how;

/* The namespace of a name (1 to 255 bytes of UTF-8): OK, NOT_FOUND, or an error;
 * INVALID_ARGUMENT if it exists with other options than those given and is not to be
 * altered. `how` may be NULL. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_namespace_open(lsmkv_db *db, lsmkv_bytes name, const lsmkv_namespace_how *how,
                     lsmkv_namespace **spacep, lsmkv_error *err);
LSMKV_API void lsmkv_namespace_free(lsmkv_namespace *space); /* NULL is fine */
/* Its number, which no other namespace of the database ever has; 1 is the default
 * one's. */
LSMKV_API uint32_t lsmkv_namespace_id(const lsmkv_namespace *space);
LSMKV_API void lsmkv_namespace_options(const lsmkv_namespace *space,
                                       lsmkv_space_options *options);

typedef struct lsmkv_cache_stats {
    uint64_t file_bytes; /* of its files at this moment */
    uint64_t segment_count;
    uint64_t written_bytes; /* since the database was opened; with what comes again */
    uint64_t reinserted_bytes; /* of them, written again when their segment went */
    uint64_t evicted_segments;
    uint64_t pinned_count;
    uint64_t pinned_bytes; /* of their values, as far as is known */
} lsmkv_cache_stats;

/* Keeps the values of keys of a cache, also those to come, from being given up for
 * space, or (`pins` is false) no longer: all or none. LIMIT_EXCEEDED, also for a value
 * put later, when pinned ones would take more than half of max_bytes. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_cache_pin(lsmkv_db *db,
                                                        const lsmkv_namespace *space,
                                                        const lsmkv_bytes *keys,
                                                        size_t count, bool pins,
                                                        lsmkv_error *err);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_get_cache_stats(lsmkv_db *db, const lsmkv_namespace *space,
                      lsmkv_cache_stats *stats, lsmkv_error *err);

/* Deletes a namespace and all it holds, in one small batch: OK or NOT_FOUND. Through
 * handles of it, writes answer INVALID_ARGUMENT from then on, and so do reads without a
 * snapshot; snapshots from before still see it. Another namespace of the same name has
 * nothing to do with it. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_namespace_drop(lsmkv_db *db,
                                                             lsmkv_bytes name,
                                                             lsmkv_error *err);

typedef void (*lsmkv_namespace_fn)(void *context, lsmkv_bytes name,
                                   const lsmkv_space_options *options);

/* Calls for every namespace but the default one, in the order of names, as of
 * read->snapshot or now. `read` may be NULL. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_namespace_list(lsmkv_db *db, const lsmkv_read *read, lsmkv_namespace_fn callback,
                     void *context, lsmkv_error *err);

/* Publishing: a version of a named, read-only set of rows is written straight into
 * tables, without the log, and readers switch to it at once when it is complete.
 * Versions live until they are released, so readers can be rolled back to one.
 *
 * Names are as for namespaces, with which they have nothing to do; so are those of
 * versions, but without a slash. */
typedef struct lsmkv_pair {
    lsmkv_bytes key;
    lsmkv_bytes value;
} lsmkv_pair;

typedef struct lsmkv_version_info {
    lsmkv_bytes name;
    lsmkv_bytes version;
    bool current;        /* readers see it */
    uint64_t created_ms; /* when it was begun, in ms since 1970 */
    uint64_t row_count;
    uint64_t byte_count; /* of the keys and values given, repeated ones included */
} lsmkv_version_info;

/* Begins a version, with the options that `how` (may be NULL) says it has. A publish
 * belongs to one thread at a time. INVALID_ARGUMENT when there is this version already,
 * or another one of the name is being written. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_publish_begin(
    lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version, const lsmkv_namespace_how *how,
    lsmkv_publish **publishp, lsmkv_error *err);
/* Adds rows, best in the order of keys; of equal keys the last one stays. Of `how`,
 * which may be NULL, only ttl_ms is looked at, counted from now. After LIMIT_EXCEEDED
 * those before the offending one have been added; after any other error the publish can
 * only be discarded. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_publish_put(lsmkv_publish *publish,
                                                          const lsmkv_write *how,
                                                          const lsmkv_pair *pairs,
                                                          size_t count,
                                                          lsmkv_error *err);
/* Makes the version durable and the one that readers see. After a failure it can only
 * be discarded; if that came at or after the last write, it may be there, whole, after
 * a reopen. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_publish_commit(lsmkv_publish *publish,
                                                             lsmkv_error *err);
/* Discards all of it. A publish that is interrupted leaves nothing behind, either. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_publish_abort(lsmkv_publish *publish,
                                                            lsmkv_error *err);
/* Discards it unless it was committed. NULL is fine. */
LSMKV_API void lsmkv_publish_free(lsmkv_publish *publish);

/* A handle for reading what was published: OK or NOT_FOUND. With an empty `version` it
 * follows the switches, and each call sees one version; with a snapshot (may be NULL)
 * it shows, for reads with that snapshot, what the name meant then. Through it, writes
 * answer READ_ONLY. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_published_open(
    lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version, const lsmkv_snapshot *snapshot,
    lsmkv_namespace **spacep, lsmkv_error *err);

typedef void (*lsmkv_version_fn)(void *context, const lsmkv_version_info *info);

/* Calls for every complete version of a name, an empty one: of all names, in the order
 * of names and versions, as of read->snapshot or now. `read` may be NULL. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_versions(lsmkv_db *db,
                                                       const lsmkv_read *read,
                                                       lsmkv_bytes name,
                                                       lsmkv_version_fn callback,
                                                       void *context, lsmkv_error *err);

/* Makes readers see another complete version, durably: OK or NOT_FOUND. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_rollback(lsmkv_db *db, lsmkv_bytes name,
                                                       lsmkv_bytes version,
                                                       lsmkv_error *err);
/* Lets go of a version, which must not be the one that readers see, or with an empty
 * one of the name and all its versions: OK or NOT_FOUND. Snapshots from before still
 * see it. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_release(lsmkv_db *db, lsmkv_bytes name,
                                                      lsmkv_bytes version,
                                                      lsmkv_error *err);

/* A snapshot shows the state of its creation for as long as it lives. Free it before
 * or after closing the database. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_snapshot_create(lsmkv_db *db,
                                                              lsmkv_snapshot **snapp,
                                                              lsmkv_error *err);
LSMKV_API void lsmkv_snapshot_free(lsmkv_snapshot *snapshot);

/* Creates an iterator over `range` (NULL: all) of the snapshot, or of the state of
 * this moment. It starts unpositioned (lsmkv_iter_valid is false). */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_iter_create(lsmkv_db *db,
                                                          const lsmkv_read *read,
                                                          const lsmkv_range *range,
                                                          lsmkv_iter **iterp,
                                                          lsmkv_error *err);
LSMKV_API void lsmkv_iter_free(lsmkv_iter *iter);

/* Positioning. OK also when there is nothing there: ask lsmkv_iter_valid. An error
 * is sticky until the next seek; the iterator is then not valid. next and prev need
 * a valid position, else INVALID_ARGUMENT. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_iter_seek_first(lsmkv_iter *iter,
                                                              lsmkv_error *err);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_iter_seek_last(lsmkv_iter *iter,
                                                             lsmkv_error *err);
/* The first key >= key, respectively the last key <= key. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_iter_seek(lsmkv_iter *iter,
                                                        lsmkv_bytes key,
                                                        lsmkv_error *err);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_iter_seek_for_prev(lsmkv_iter *iter,
                                                                 lsmkv_bytes key,
                                                                 lsmkv_error *err);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_iter_next(lsmkv_iter *iter,
                                                        lsmkv_error *err);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_iter_prev(lsmkv_iter *iter,
                                                        lsmkv_error *err);
LSMKV_API bool lsmkv_iter_valid(const lsmkv_iter *iter);
/* Lent until the iterator moves or is freed; only while valid. */
LSMKV_API lsmkv_bytes lsmkv_iter_key(const lsmkv_iter *iter);
LSMKV_API lsmkv_bytes lsmkv_iter_value(const lsmkv_iter *iter);

/* A run of rows, copied out of the iterator in one call. Row i's key starts at
 * data + rows[i].key_offset and its value at data + rows[i].value_offset. */
typedef struct lsmkv_row {
    size_t key_offset;
    size_t key_size;
    size_t value_offset;
    size_t value_size;
} lsmkv_row;

typedef struct lsmkv_chunk {
    const char *data; /* lent by the iterator until it moves or is freed */
    const lsmkv_row *rows;
    size_t row_count;
} lsmkv_chunk;

/* How lsmkv_iter_fill moves and what it copies. */
typedef struct lsmkv_fill {
    bool reverse;
    bool keys_only;  /* value_size is 0 in every row */
    size_t row_max;  /* 0: no limit; a chunk also ends at about byte_max */
    size_t byte_max; /* 0: 64 KiB; at least one row is returned whatever its size */
} lsmkv_fill;

/* Copies rows from the current position on, leaving the iterator on the first row
 * not copied. An unpositioned fresh iterator starts at its first (reverse: last) key.
 * row_count is 0 only at the end. Rows before an error are returned first; the error
 * comes with the next call. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_iter_fill(lsmkv_iter *iter,
                                                        const lsmkv_fill *fill,
                                                        lsmkv_chunk *chunk,
                                                        lsmkv_error *err);

/* Writes the memtable out as a table and waits until it is durable. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_flush(lsmkv_db *db, lsmkv_error *err);
/* Makes every write acknowledged so far survive power loss. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_sync(lsmkv_db *db, lsmkv_error *err);
/* Flushes, then compacts everything in the range of the default namespace (NULL: all
 * of the database) down to the last level that holds data. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_compact(lsmkv_db *db,
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
    const lsmkv_namespace *space; /* of the range; NULL: the default namespace */
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
 * Problems do not end it; the status is OK unless verify itself could not run. */
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
 * when there were losses. A run that fails leaves no CURRENT in `into`. */
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

typedef struct lsmkv_level_stats {
    uint64_t table_count;
    uint64_t byte_count;
    uint64_t entry_count;
    uint64_t tombstone_count;
} lsmkv_level_stats;

typedef struct lsmkv_stats {
    lsmkv_level_stats levels[LSMKV_LEVEL_COUNT];
    uint64_t sequence;       /* of the newest write */
    uint64_t memtable_bytes; /* active and immutable */
    uint64_t memtable_count;
    uint64_t cache_bytes; /* blocks held by the block cache */
    uint64_t cache_capacity;
    uint64_t cache_misses; /* block reads from files by gets and iterators */
    uint64_t table_bytes;  /* filters and indexes of open tables */
    uint64_t open_tables;
    uint64_t log_bytes;          /* live log files */
    uint64_t user_bytes_written; /* encoded batches acknowledged */
    uint64_t log_bytes_written;
    uint64_t flush_bytes_written;
    uint64_t compact_bytes_read;
    uint64_t compact_bytes_written;
    uint64_t flush_count;
    uint64_t compact_count;
    uint64_t trivial_move_count;
    uint64_t sync_count;
    uint64_t write_group_count;
    uint64_t write_count; /* batches */
    uint64_t stall_count;
    uint64_t stall_us;
    uint64_t snapshot_count;
    uint64_t expired_count;       /* values that flushes and compactions let go */
    uint64_t expired_table_count; /* tables dropped unread: all of it had expired */
    uint64_t
        clock_jumps; /* the wall clock was ahead by more than a day: not followed */
    uint64_t segment_count;           /* files of large values, without the live logs */
    uint64_t segment_bytes;           /* their size */
    uint64_t segment_live_bytes;      /* what tables point to in them */
    uint64_t segment_bytes_written;   /* value files; sealed logs cost nothing more */
    uint64_t relocated_bytes;         /* of values that compactions moved */
    uint64_t recovered_records;       /* by this open */
    uint64_t recovered_dropped_bytes; /* unsynced tail that this open cut off */
    uint64_t warm_bytes;              /* read ahead because the opening asked for it */
    uint64_t warm_total_bytes;        /* of about so many */
    bool warming;                     /* that still goes on */
    uint32_t state; /* 0 open, 1 degraded, 2 poisoned, 3 closed, 4 read-only */
} lsmkv_stats;

LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_get_stats(lsmkv_db *db,
                                                        lsmkv_stats *stats,
                                                        lsmkv_error *err);

/* What was asked of a namespace since it was opened by this handle of the database. */
typedef struct lsmkv_space_stats {
    uint64_t hits;       /* lookups of single keys that found a value */
    uint64_t misses;     /* those that did not */
    uint64_t expired;    /* of the misses, those that met a value that had expired */
    uint64_t read_bytes; /* of the values found */
    uint64_t stale_hits; /* of the hits, those answered past the time to live */
    uint64_t computed;   /* values made because they were missing or stale */
    uint64_t coalesced;  /* askers who waited for a value that another one made */
    uint64_t evictions;  /* values that a full cache gave up */
    uint64_t evicted_bytes;
    uint64_t bytes; /* of its tables and large values, about: of a table shared with
                       others, its share of the records; nothing of memtables */
} lsmkv_space_stats;

/* The same, to be added to. */
typedef enum lsmkv_count_kind {
    LSMKV_COUNT_HITS,
    LSMKV_COUNT_MISSES,
    LSMKV_COUNT_READ_BYTES,
    LSMKV_COUNT_EXPIRED,
    LSMKV_COUNT_STALE_HITS,
    LSMKV_COUNT_COMPUTED,
    LSMKV_COUNT_COALESCED,
    LSMKV_COUNT_EVICTIONS,
    LSMKV_COUNT_EVICTED_BYTES,
    LSMKV_COUNT_KINDS
} lsmkv_count_kind;

/* Adds what only the caller can know to the counts of a namespace (NULL: the default
 * one). Never waits and never fails. */
LSMKV_API void lsmkv_count(lsmkv_db *db, const lsmkv_namespace *space,
                           lsmkv_count_kind kind, uint64_t n);
/* `space` NULL: the default namespace. Also of one that was dropped. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_get_space_stats(lsmkv_db *db, const lsmkv_namespace *space,
                      lsmkv_space_stats *stats, lsmkv_error *err);

typedef void (*lsmkv_space_stats_fn)(void *context, lsmkv_bytes name,
                                     const lsmkv_space_stats *stats);

/* Calls for every namespace, the default one first, whose name is empty, then in the
 * order of names. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_space_stats_list(
    lsmkv_db *db, lsmkv_space_stats_fn callback, void *context, lsmkv_error *err);

/* What is timed. Of gets and writes that wait for no sync about one in 64 is, and then
 * counts as 64; the others are all timed. */
typedef enum lsmkv_latency_kind {
    LSMKV_LATENCY_GET,        /* answers of lsmkv_get and its like */
    LSMKV_LATENCY_GET_MANY,   /* whole batches */
    LSMKV_LATENCY_GATHER,     /* whole batches of rows, lsmkv_get_rows */
    LSMKV_LATENCY_WRITE,      /* puts, deletes, batches; the wait for a sync included */
    LSMKV_LATENCY_SCAN,       /* chunks of lsmkv_iter_fill */
    LSMKV_LATENCY_SYNC,       /* device syncs of the log */
    LSMKV_LATENCY_STALL,      /* each time that a writer was held up */
    LSMKV_LATENCY_FLUSH,      /* flushes, from their start to the table in use */
    LSMKV_LATENCY_COMPACTION, /* the same for compactions, without plain moves */
    LSMKV_LATENCY_KINDS
} lsmkv_latency_kind;

enum { LSMKV_HISTOGRAM_BUCKETS = 312 };

/* Durations in nanoseconds. Histograms are merged by adding everything but the max. */
typedef struct lsmkv_histogram {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint64_t counts[LSMKV_HISTOGRAM_BUCKETS];
} lsmkv_histogram;

/* The smallest duration beyond a bucket, in nanoseconds; the last bucket has no end,
 * all the same. Buckets are at most an eighth of their durations wide. */
LSMKV_API uint64_t lsmkv_histogram_bound(uint32_t bucket);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_get_latency(lsmkv_db *db,
                                                          lsmkv_latency_kind kind,
                                                          lsmkv_histogram *histogram,
                                                          lsmkv_error *err);

/* Memory held at this moment, in bytes; all but pinned_bytes is held to the budget. */
typedef struct lsmkv_memory {
    uint64_t budget_bytes;   /* memory_bytes of the options */
    uint64_t memtable_bytes; /* the active memtable and those being flushed */
    uint64_t block_bytes;    /* blocks in the cache */
    uint64_t filter_bytes;   /* filters of the open tables */
    uint64_t index_bytes;    /* their indexes, and what else they keep */
    uint64_t pinned_bytes; /* what iterators keep, whether it is in the cache or not */
} lsmkv_memory;

LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_get_memory(lsmkv_db *db,
                                                         lsmkv_memory *memory,
                                                         lsmkv_error *err);

/* The options in force, every field resolved. Works on a closed database, too. */
LSMKV_API void lsmkv_get_options(const lsmkv_db *db, lsmkv_options *options);

/* About how many keys lie in the range (NULL: all), in time that does not depend on how
 * many: exact below a few thousand, otherwise an estimate from the sizes of tables, in
 * which a key may count once for each version that compaction has not met yet. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_approximate_count(lsmkv_db *db, const lsmkv_read *read, const lsmkv_range *range,
                        uint64_t *count, lsmkv_error *err);

/* A block codec. The functions are called from any thread, never under a lock of the
 * engine; `context` comes from create and is used by one thread at a time. compress
 * and decompress return the bytes written, 0 on failure (or, for compress, when it
 * does not fit). */
typedef struct lsmkv_codec {
    uint32_t id;
    const char *name; /* static */
    void *(*create)(int level);
    void (*destroy)(void *context);
    size_t (*bound)(size_t size);
    size_t (*compress)(void *context, void *dst, size_t capacity, const void *src,
                       size_t size);
    size_t (*decompress)(void *context, void *dst, size_t capacity, const void *src,
                         size_t size);
} lsmkv_codec;

enum { LSMKV_CODEC_NONE = 0, LSMKV_CODEC_ZSTD = 1, LSMKV_CODEC_COUNT = 8 };

/* Registers, or replaces, a codec for the whole process after a self-test round trip.
 * Databases open at that moment keep working: contexts remember the codec that made
 * them. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_register_codec(const lsmkv_codec *codec,
                                                             lsmkv_error *err);

/* The addresses of the libzstd functions that make up the native zstd codec, for
 * hosts that have them in a shared library. All must be non-NULL. */
typedef struct lsmkv_zstd_functions {
    void *create_cctx;   /* ZSTD_CCtx *ZSTD_createCCtx(void) */
    void *free_cctx;     /* size_t ZSTD_freeCCtx(ZSTD_CCtx *) */
    void *create_dctx;   /* ZSTD_DCtx *ZSTD_createDCtx(void) */
    void *free_dctx;     /* size_t ZSTD_freeDCtx(ZSTD_DCtx *) */
    void *set_parameter; /* size_t ZSTD_CCtx_setParameter(ZSTD_CCtx *, int, int) */
    void *compress2;     /* size_t ZSTD_compress2(cctx, dst, cap, src, size) */
    void *decompress;    /* size_t ZSTD_decompressDCtx(dctx, dst, cap, src, size) */
    void *bound;         /* size_t ZSTD_compressBound(size_t) */
    void *is_error;      /* unsigned ZSTD_isError(size_t) */
    void *version;       /* unsigned ZSTD_versionNumber(void) */
} lsmkv_zstd_functions;

LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_register_zstd(const lsmkv_zstd_functions *functions, lsmkv_error *err);

LSMKV_API uint64_t lsmkv_xxh3_64(const void *data, size_t size, uint64_t seed);

#ifdef __cplusplus
}
#endif

#endif
