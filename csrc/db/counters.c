/* SPDX-License-Identifier: Apache-2.0
 *
 * See counters.h.
 */
#include "db/counters.h"

#include <string.h>

#include "base/alloc.h"

/* A shard begins on a cache line and ends with one. */
enum { SHARD_SIZE = 2 * LSM_CACHE_LINE };

_Static_assert(sizeof(lsm_space_shard) <= SHARD_SIZE, "a shard fits its lines");

_Thread_local uint32_t lsm_shard_number LSM_TLS_FAST;
/* Counts the threads from 1; 0: the thread has not counted yet. */
static _Thread_local uint64_t thread_number LSM_TLS_FAST;
static _Atomic uint64_t thread_count;

static void number_thread(void) {
    thread_number = atomic_fetch_add(&thread_count, 1) + 1;
    if (thread_number <= LSM_SHARDS_OWN) {
        lsm_shard_number = (uint32_t)thread_number;
    }
}

/* The shard of a place, made if there is none yet. NULL: no memory. */
static lsm_space_shard *shard_at(_Atomic(lsm_space_shard *) *place) {
    lsm_space_shard *found = atomic_load_explicit(place, memory_order_acquire);

    if (found != NULL) {
        return found;
    }
    lsm_space_shard *made = lsm_alloc_aligned(SHARD_SIZE);
    if (made == NULL) {
        return NULL;
    }
    memset(made, 0, SHARD_SIZE);
    /* release: pairs with the acquire of whoever adds to it or reads it. */
    if (atomic_compare_exchange_strong_explicit(
            place, &found, made, memory_order_acq_rel, memory_order_acquire)) {
        return made;
    }
    lsm_free_aligned(made);
    return found;
}

void lsm_space_count_slowly(lsm_space_counters *counters, lsmkv_count_kind kind,
                            uint64_t n) {
    if (thread_number == 0) {
        number_thread();
    }
    lsm_space_shard *shard = shard_at(
        lsm_shard_number != 0 ? &counters->own[lsm_shard_number]
                              : &counters->shared[thread_number % LSM_SHARDS_SHARED]);
    if (shard == NULL) {
        shard = &counters->common;
    } else if (lsm_shard_number != 0) {
        lsm_space_shard_add(shard, kind, n);
        return;
    }
    atomic_fetch_add_explicit(&shard->counts[kind], n, memory_order_relaxed);
}

static void add_shard(const lsm_space_shard *shard, uint64_t *counts) {
    for (int kind = 0; shard != NULL && kind < LSMKV_COUNT_KINDS; kind++) {
        counts[kind] +=
            atomic_load_explicit(&shard->counts[kind], memory_order_relaxed);
    }
}

void lsm_space_counters_sum(lsm_space_counters *counters, lsmkv_space_stats *stats) {
    uint64_t counts[LSMKV_COUNT_KINDS] = {0};

    for (size_t i = 1; i <= LSM_SHARDS_OWN; i++) {
        add_shard(atomic_load_explicit(&counters->own[i], memory_order_acquire),
                  counts);
    }
    for (size_t i = 0; i < LSM_SHARDS_SHARED; i++) {
        add_shard(atomic_load_explicit(&counters->shared[i], memory_order_acquire),
                  counts);
    }
    add_shard(&counters->common, counts);
    *stats = (lsmkv_space_stats){
        .hits = counts[LSMKV_COUNT_HITS],
        .misses = counts[LSMKV_COUNT_MISSES],
        .expired = counts[LSMKV_COUNT_EXPIRED],
        .read_bytes = counts[LSMKV_COUNT_READ_BYTES],
        .stale_hits = counts[LSMKV_COUNT_STALE_HITS],
        .computed = counts[LSMKV_COUNT_COMPUTED],
        .coalesced = counts[LSMKV_COUNT_COALESCED],
        .evictions = counts[LSMKV_COUNT_EVICTIONS],
        .evicted_bytes = counts[LSMKV_COUNT_EVICTED_BYTES],
    };
}

void lsm_space_counters_deinit(lsm_space_counters *counters) {
    for (size_t i = 1; i <= LSM_SHARDS_OWN; i++) {
        lsm_free_aligned(atomic_load(&counters->own[i]));
    }
    for (size_t i = 0; i < LSM_SHARDS_SHARED; i++) {
        lsm_free_aligned(atomic_load(&counters->shared[i]));
    }
}
