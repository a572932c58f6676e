/* SPDX-License-Identifier: Apache-2.0
 *
 * Namespaces, among them caches, which are bounded in size.
 */
#ifndef LSMKV_SPACE_H
#define LSMKV_SPACE_H

#include "lsmkv_base.h"
#include "lsmkv_read.h"

/* A namespace is a key space of its own in the same database, with a name that lasts.
 * One batch may write in several. Reads and writes name it by a handle.
 *
 * What it has of its own; else it goes by the database. */
typedef struct lsmkv_space_options {
    int64_t default_ttl_ms;       /* for puts that say nothing; 0: they never expire */
    int64_t default_stale_ms;     /* likewise; 0: none */
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
    bool has_default_stale;
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
/* Of a published name: those of the version that is current. */
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

#endif
