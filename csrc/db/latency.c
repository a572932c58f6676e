/* SPDX-License-Identifier: Apache-2.0
 *
 * See latency.h.
 */
#include "db/latency.h"

#include "base/rng.h"

_Static_assert((int)LSMKV_HISTOGRAM_BUCKETS == (int)LSM_HISTOGRAM_BUCKETS,
               "as lsmkv_stats.h says");

/* Distances lie within a quarter of their mean: a call for few keys meets one sample at
 * most, so that its weight is right. */
enum { DISTANCE_MIN = LSM_LATENCY_SAMPLE * 3 / 4, DISTANCES = LSM_LATENCY_SAMPLE / 2 };

_Thread_local uint32_t lsm_latency_left LSM_TLS_FAST;
static _Thread_local uint64_t rng_state LSM_TLS_FAST;

uint64_t lsm_latency_now(const lsm_latencies *latencies) {
    return lsm_env_monotonic_ns(latencies->env) | 1;
}

uint64_t lsm_latency_draw(const lsm_latencies *latencies) {
    lsm_rng rng = {rng_state};

    lsm_latency_left = DISTANCE_MIN - 1 + (uint32_t)lsm_rng_below(&rng, DISTANCES + 1);
    rng_state = rng.state;
    return lsm_latency_now(latencies);
}

void lsm_latency_restart(void) {
    lsm_latency_left = 0;
    rng_state = 0;
}

void lsm_latency_note(lsm_latencies *latencies, lsmkv_latency_kind kind, uint64_t begun,
                      uint64_t weight) {
    uint64_t now = lsm_latency_now(latencies);
    lsm_histogram_add(&latencies->histograms[kind], now - begun, weight);
}

void lsm_latency_read(lsm_latencies *latencies, lsmkv_latency_kind kind,
                      lsmkv_histogram *to) {
    lsm_histogram *from = &latencies->histograms[kind];

    *to = (lsmkv_histogram){.sum_ns = atomic_load(&from->sum),
                            .max_ns = atomic_load(&from->max)};
    for (uint32_t i = 0; i < LSM_HISTOGRAM_BUCKETS; i++) {
        to->counts[i] = atomic_load(&from->counts[i]);
        to->count += to->counts[i];
    }
}
