/* SPDX-License-Identifier: Apache-2.0
 *
 * How long calls and background work take. Asking the clock twice costs as much as a
 * quick read, so of the quick calls each thread times about one in
 * LSM_LATENCY_SAMPLE, which then counts for all of them; the distance to the next one
 * is drawn at random, so that it cannot fall in step with a program's own rhythm. What
 * is slow anyway is timed each time.
 *
 *   uint64_t begun = lsm_latency_begin(db, 1);
 *   ... the call ...
 *   lsm_latency_end(db, LSMKV_LATENCY_GET, begun, 1);     unless it has no answer
 */
#ifndef LSM_DB_LATENCY_H
#define LSM_DB_LATENCY_H

#include "base/epoch.h"
#include "base/histogram.h"
#include "base/macros.h"
#include "env/env.h"
#include "include/lsmkv.h"

enum {
    LSM_LATENCY_SAMPLE = 64,
    LSM_LATENCY_SLOW = 16, /* a call for so many keys is timed each time */
};

typedef struct lsm_latencies {
    lsm_env *env; /* lent; set before the first use */
    lsm_histogram histograms[LSMKV_LATENCY_KINDS];
} lsm_latencies;

/* Keys that this thread may look up, or write, before it times a call. */
extern _Thread_local uint32_t lsm_latency_left LSM_TLS_FAST;

/* The time, which is not 0. */
uint64_t lsm_latency_now(const lsm_latencies *latencies);
/* The same, once the distance to the next sample was drawn. */
uint64_t lsm_latency_draw(const lsm_latencies *latencies) LSM_COLD;
/* For the simulator, where what is timed shows in the statistics file: this thread
 * draws the same distances again. */
void lsm_latency_restart(void);
/* Notes what has begun then, and counts `weight` times. */
void lsm_latency_note(lsm_latencies *latencies, lsmkv_latency_kind kind, uint64_t begun,
                      uint64_t weight) LSM_COLD;
void lsm_latency_read(lsm_latencies *latencies, lsmkv_latency_kind kind,
                      lsmkv_histogram *to);

/* Before a call for `keys` keys, or that is as slow as if. 0: it is not timed. */
static inline uint64_t lsm_latency_begin(const lsm_latencies *latencies, size_t keys) {
    if (LSM_LIKELY(keys <= lsm_latency_left && keys < LSM_LATENCY_SLOW)) {
        lsm_latency_left -= (uint32_t)keys;
        return 0;
    }
    return keys < LSM_LATENCY_SLOW ? lsm_latency_draw(latencies)
                                   : lsm_latency_now(latencies);
}

static inline void lsm_latency_end(lsm_latencies *latencies, lsmkv_latency_kind kind,
                                   uint64_t begun, size_t keys) {
    if (LSM_UNLIKELY(begun != 0)) {
        lsm_latency_note(
            latencies, kind, begun,
            keys < LSM_LATENCY_SLOW ? LSM_LATENCY_SAMPLE / (keys > 0 ? keys : 1) : 1);
    }
}

#endif
