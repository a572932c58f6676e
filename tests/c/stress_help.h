/* SPDX-License-Identifier: Apache-2.0
 *
 * What the stress program writes, how it checks what it reads, and how it fails.
 */
#ifndef TESTS_STRESS_HELP_H
#define TESTS_STRESS_HELP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/macros.h"
#include "base/rng.h"
#include "include/lsmkv.h"

enum { KEY_SIZE = 16, VALUE_MAX = 8192 };

static uint64_t seed = 1;

static inline void fail(const char *format, ...) LSM_PRINTF(1, 2) LSM_NORETURN;

static inline void fail(const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    (void)printf("FAILED: ");
    (void)vprintf(format, arguments);
    (void)printf("\nreplay: stress --dir DIR --seed %" PRIu64 "\n", seed);
    va_end(arguments);
    (void)fflush(stdout);
    _Exit(1);
}

/* true: OK; false: the database is closed. */
static inline bool go_on(lsmkv_status status, const lsmkv_error *err,
                         const char *what) {
    if (status == LSMKV_CLOSED) {
        return false;
    }
    if (status != LSMKV_OK) {
        fail("%s: %s: %s", what, lsmkv_status_name(status), err->message);
    }
    return true;
}

static inline void sleep_us(uint64_t us) {
    struct timespec time = {(time_t)(us / 1000000), (long)(us % 1000000 * 1000)};

    (void)nanosleep(&time, NULL);
}

static inline uint64_t now_us(void) {
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static inline lsmkv_bytes make_key(char to[KEY_SIZE], size_t pair, char half) {
    int size = snprintf(to, KEY_SIZE, "p/%04zu/%c", pair, half);
    return (lsmkv_bytes){to, (size_t)size};
}

static inline size_t value_size(uint64_t version) {
    lsm_rng rng = {version};
    uint64_t draw = lsm_rng_next(&rng);
    return sizeof(version) +
           (size_t)(draw % 16 < 3 ? draw / 16 % 8000 : draw / 16 % 90);
}

static inline lsmkv_bytes make_value(uint8_t to[VALUE_MAX], uint64_t version,
                                     char half) {
    uint64_t head = half == 'a' ? version : ~version;
    size_t size = value_size(version);

    memcpy(to, &head, sizeof(head));
    memset(to + sizeof(head), (int)(version % 251), size - sizeof(head));
    return (lsmkv_bytes){to, size};
}

/* The version that a value holds; the whole value is checked. */
static inline uint64_t read_version(lsmkv_bytes value, char half) {
    uint8_t expected[VALUE_MAX];
    uint64_t version = 0;
    lsmkv_bytes whole;

    if (value.size < sizeof(version)) {
        fail("a value of %zu bytes", value.size);
    }
    memcpy(&version, value.data, sizeof(version));
    version = half == 'a' ? version : ~version;
    whole = make_value(expected, version, half);
    if (whole.size != value.size || memcmp(whole.data, value.data, whole.size) != 0) {
        fail("wrong bytes of version %" PRIu64, version);
    }
    return version;
}

static inline void sum_counts(void *context, lsmkv_bytes name,
                              const lsmkv_space_stats *stats) {
    (void)name;
    *(uint64_t *)context += stats->hits;
}

/* Reads the counts of all namespaces while others add to them. */
static inline lsmkv_status read_counts(lsmkv_db *db, lsmkv_error *err) {
    uint64_t hits = 0;

    lsmkv_count(db, NULL, LSMKV_COUNT_COMPUTED, 1);
    return lsmkv_space_stats_list(db, sum_counts, &hits, err);
}

#endif
