/* SPDX-License-Identifier: Apache-2.0
 *
 * What is counted for each namespace. A hot read counts itself, so counting may cost
 * next to nothing: each of the first threads of the process has a shard of its own in
 * every namespace that it reads, made on its first use, and adds to it with a plain
 * load and store that no other thread's caches notice. Later threads share shards and
 * add atomically. Reading adds all shards up.
 *
 * A thread without memory for its shard counts in `common`. So nothing is lost.
 *
 * Threads: everything but init and deinit may be called from any thread.
 */
#ifndef LSM_DB_COUNTERS_H
#define LSM_DB_COUNTERS_H

#include <stdatomic.h>

#include "base/epoch.h"
#include "base/macros.h"
#include "include/lsmkv.h"

enum {
    LSM_SHARDS_OWN = 32,    /* threads with a shard to themselves */
    LSM_SHARDS_SHARED = 16, /* those that come later share these */
};

typedef struct lsm_space_shard {
    _Atomic uint64_t counts[LSMKV_COUNT_KINDS];
} lsm_space_shard;

typedef struct lsm_space_counters {
    /* By lsm_shard_number; the first is nobody's and stays NULL. release/acquire. */
    _Atomic(lsm_space_shard *) own[1 + LSM_SHARDS_OWN];
    _Atomic(lsm_space_shard *) shared[LSM_SHARDS_SHARED];
    lsm_space_shard common;
} lsm_space_counters;

/* 1 to LSM_SHARDS_OWN for a thread with shards of its own, else 0. */
extern _Thread_local uint32_t lsm_shard_number LSM_TLS_FAST;

/* `counters` is zeroed memory before its first use. */
void lsm_space_counters_deinit(lsm_space_counters *counters);
/* Everything in it, added up. */
void lsm_space_counters_sum(lsm_space_counters *counters, lsmkv_space_stats *stats);
/* The slow half of the additions below. */
void lsm_space_count_slowly(lsm_space_counters *counters, lsmkv_count_kind kind,
                            uint64_t n) LSM_COLD;

/* Only for the thread that the shard belongs to. */
static inline void lsm_space_shard_add(lsm_space_shard *shard, lsmkv_count_kind kind,
                                       uint64_t n) {
    /* Relaxed: one thread writes, and a sum need not be of one moment. */
    uint64_t count = atomic_load_explicit(&shard->counts[kind], memory_order_relaxed);
    atomic_store_explicit(&shard->counts[kind], count + n, memory_order_relaxed);
}

/* The calling thread's own shard, NULL if it has none yet. */
static inline lsm_space_shard *lsm_space_shard_own(lsm_space_counters *counters) {
    /* acquire: pairs with the release that publishes a new, zeroed shard. */
    return atomic_load_explicit(&counters->own[lsm_shard_number], memory_order_acquire);
}

static inline void lsm_space_count(lsm_space_counters *counters, lsmkv_count_kind kind,
                                   uint64_t n) {
    lsm_space_shard *shard = lsm_space_shard_own(counters);
    if (LSM_LIKELY(shard != NULL)) {
        lsm_space_shard_add(shard, kind, n);
    } else {
        lsm_space_count_slowly(counters, kind, n);
    }
}

/* `hits` reads that found values of so many bytes together. */
static inline void lsm_space_count_hits(lsm_space_counters *counters, uint64_t hits,
                                        uint64_t bytes) {
    lsm_space_shard *shard = lsm_space_shard_own(counters);
    if (LSM_LIKELY(shard != NULL)) {
        lsm_space_shard_add(shard, LSMKV_COUNT_HITS, hits);
        lsm_space_shard_add(shard, LSMKV_COUNT_READ_BYTES, bytes);
    } else {
        lsm_space_count_slowly(counters, LSMKV_COUNT_HITS, hits);
        lsm_space_count_slowly(counters, LSMKV_COUNT_READ_BYTES, bytes);
    }
}

#endif
