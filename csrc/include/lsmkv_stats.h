/* SPDX-License-Identifier: Apache-2.0
 *
 * What is counted, timed and held in memory, and the tables that there are.
 */
#ifndef LSMKV_STATS_H
#define LSMKV_STATS_H

#include "lsmkv_base.h"

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
 * order of names; from memory, without reading anything. */
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

/* Memory held at this moment, in bytes; all but the last two is held to the budget. */
typedef struct lsmkv_memory {
    uint64_t budget_bytes;   /* memory_bytes of the options */
    uint64_t memtable_bytes; /* the active memtable and those being flushed */
    uint64_t block_bytes;    /* blocks in the cache */
    uint64_t filter_bytes;   /* filters of the open tables */
    uint64_t index_bytes;    /* their indexes, and what else they keep */
    uint64_t pinned_bytes; /* what iterators keep, whether it is in the cache or not */
    uint64_t row_bytes;    /* rows that lsmkv_put_rows writes, or a publish gathers */
} lsmkv_memory;

LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_get_memory(lsmkv_db *db,
                                                         lsmkv_memory *memory,
                                                         lsmkv_error *err);

/* How many bytes a table points to in one of the files that large values lie in, each
 * value rounded up to a multiple of 64. */
typedef struct lsmkv_segment_share {
    uint64_t number;
    uint64_t bytes;
} lsmkv_segment_share;

/* Where a table begins or ends. */
typedef struct lsmkv_table_bound {
    uint32_t space_id; /* 0: what the engine keeps for itself; 1: the default one */
    lsmkv_bytes space; /* its name, empty of the default one; data NULL: it has none, is
                          dropped, or is a published version */
    lsmkv_bytes key;
} lsmkv_table_bound;

/* A live table, as the MANIFEST has it. */
typedef struct lsmkv_table_info {
    uint32_t level;
    uint64_t number; /* in its file's name */
    uint64_t byte_count;
    uint64_t raw_bytes; /* of keys and values before compression */
    uint64_t entry_count;
    uint64_t tombstone_count; /* of them */
    uint64_t range_delete_count;
    uint64_t sequence_min;
    uint64_t sequence_max;
    uint64_t expire_all_ms;  /* since 1970: when all of it has expired; 0: never */
    uint64_t expire_half_ms; /* when half of its bytes have; 0: never */
    lsmkv_table_bound first;
    lsmkv_table_bound last;
    bool last_excluded; /* it ends before `last`, with a range delete */
    const lsmkv_segment_share *segments; /* ascending numbers */
    size_t segment_count;
} lsmkv_table_info;

/* What it is lent lasts until it returns. */
typedef void (*lsmkv_table_fn)(void *context, const lsmkv_table_info *table);

/* Calls for every live table, level by level: those of level 0 from the newest, those
 * of any other in the order of keys. From memory, without reading anything. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_tables_list(lsmkv_db *db,
                                                          lsmkv_table_fn callback,
                                                          void *context,
                                                          lsmkv_error *err);

#endif
