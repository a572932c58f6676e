/* SPDX-License-Identifier: Apache-2.0
 *
 * One namespace that is known, shared by the list (catalog.h) and by handles.
 */
#ifndef LSM_DB_LIVE_SPACE_H
#define LSM_DB_LIVE_SPACE_H

#include <stdatomic.h>

#include "base/status.h"
#include "db/counters.h"
#include "format/space.h"

/* What a namespace that is a cache has beside; in cache_space.h. */
typedef struct lsm_cache_space lsm_cache_space;

/* From which write on a published name means which namespace. */
typedef struct lsm_meaning {
    struct lsm_meaning *next; /* the one before; owned */
    uint64_t sequence;        /* of the switch; 0: before this open */
    uint32_t id;
    lsmkv_space_options options; /* of the namespace */
} lsm_meaning;

/* A namespace; or, with `meaning`, a published name, which means another namespace from
 * one version to the next (db/published.h). */
typedef struct lsm_space {
    _Atomic uint32_t refs; /* the list, handles */
    uint32_t id;
    bool sealed;         /* published: nobody writes to it */
    lsm_space_name name; /* constant; none: published, or the default one */
    _Atomic bool dropped;
    _Atomic(lsm_meaning *) meaning;       /* newest first; release/acquire */
    _Atomic int64_t default_ttl_ms;       /* 0: none */
    _Atomic int64_t default_stale_ms;     /* likewise */
    _Atomic int64_t blob_threshold_bytes; /* -1: the database's */
    _Atomic int32_t codec;                /* -1: the database's */
    _Atomic int32_t codec_level;
    /* Constant: as lsmkv_space_options has them. */
    uint32_t vector_dim;
    int32_t vector_dtype;
    int32_t vector_metric;
    lsm_space_counters counters;
    _Atomic int64_t max_bytes;
    int32_t cache_policy;
    lsm_cache_space *cache; /* constant; owned; NULL: it is no cache */
} lsm_space;

struct lsmkv_namespace {
    lsmkv_db *db;     /* one reference */
    lsm_space *space; /* one reference */
};

/* NULL: no memory. One reference. */
lsm_space *lsm_space_create(const lsm_space_definition *definition, lsmkv_error *err);
/* What it has counted, and about how large it is. Between begin and end of a call. */
void lsm_space_stats(lsmkv_db *db, lsm_space *space, lsmkv_space_stats *stats);
void lsm_space_ref(lsm_space *space);
void lsm_space_unref(lsm_space *space); /* NULL is fine */
/* Of a published name: those of its current version. */
void lsm_space_options(const lsm_space *space, lsmkv_space_options *options);
/* Those that can be altered. */
void lsm_space_set_options(lsm_space *space, const lsmkv_space_options *options);

#endif
