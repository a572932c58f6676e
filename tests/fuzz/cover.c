/* SPDX-License-Identifier: Apache-2.0
 *
 * See cover.h. The places that a run touched are listed, so that a run costs what it
 * reaches and not the size of the map.
 */
#include "cover.h"

#include <stdint.h>

enum { MAP_BITS = 16, MAP_SIZE = 1 << MAP_BITS };

#if defined(__GNUC__) && !defined(__clang__)
#define UNCOVERED __attribute__((no_sanitize_coverage))
#else
#define UNCOVERED
#endif

static struct {
    bool on;
    uint32_t before; /* the block before this one */
    size_t touched_count;
    size_t feature_count;
    uint8_t counts[MAP_SIZE]; /* of this run */
    uint8_t seen[MAP_SIZE];   /* buckets of all runs, a bit for each */
    uint16_t touched[MAP_SIZE];
} cover;

/* Called by compiled code, by this name; weak, as libFuzzer brings one of its own. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier) */
__attribute__((weak)) void __sanitizer_cov_trace_pc(void);

UNCOVERED void __sanitizer_cov_trace_pc(void) {
    if (!cover.on) {
        return;
    }
    /* Relative, so that it is the same in every process. */
    uintptr_t place = (uintptr_t)__builtin_return_address(0) - (uintptr_t)&cover;
    uint32_t block = (uint32_t)(place * UINT64_C(0x9E3779B97F4A7C15) >> 40);
    uint32_t at = (block ^ cover.before) & (MAP_SIZE - 1);

    cover.before = block >> 1;
    if (cover.counts[at] == 0) {
        cover.touched[cover.touched_count++] = (uint16_t)at;
    }
    cover.counts[at] = (uint8_t)(cover.counts[at] + (cover.counts[at] < UINT8_MAX));
}

UNCOVERED void fuzz_cover_begin(void) {
    for (size_t i = 0; i < cover.touched_count; i++) {
        cover.counts[cover.touched[i]] = 0;
    }
    cover.touched_count = 0;
    cover.before = 0;
    cover.on = true;
}

UNCOVERED void fuzz_cover_end(void) {
    cover.on = false;
}

/* 1, 2, 3, 4-7, 8-15, 16-31, 32-127, more. */
UNCOVERED static uint8_t bucket_of(uint8_t count) {
    static const uint8_t least[8] = {1, 2, 3, 4, 8, 16, 32, 128};
    unsigned bucket = 7;

    while (bucket > 0 && count < least[bucket]) {
        bucket--;
    }
    return (uint8_t)(1U << bucket);
}

UNCOVERED static size_t count_new(bool keeps) {
    size_t added = 0;

    for (size_t i = 0; i < cover.touched_count; i++) {
        uint16_t at = cover.touched[i];
        uint8_t bit = bucket_of(cover.counts[at]);

        added += (cover.seen[at] & bit) == 0;
        cover.seen[at] |= keeps ? bit : 0;
    }
    return added;
}

UNCOVERED size_t fuzz_cover_look(void) {
    return count_new(false);
}

UNCOVERED size_t fuzz_cover_merge(void) {
    size_t added = count_new(true);

    cover.feature_count += added;
    return added;
}

UNCOVERED size_t fuzz_cover_count(void) {
    return cover.feature_count;
}
