/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the stress program share: what it writes, how it checks what it
 * reads, and how it fails. stress.c says what the program does.
 */
#ifndef TESTS_STRESS_HELP_H
#define TESTS_STRESS_HELP_H

#include <inttypes.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/macros.h"
#include "base/rng.h"
#include "env/sync.h"
#include "include/lsmkv.h"

enum {
    KEY_SIZE = 16,
    VALUE_MAX = 8192,
    PAIRS = 96,
    WRITERS = 2,
    CACHERS = 2,
    DELETE_EVERY = 7
};

/* Versions of one thing: those that a write has begun, and those that it has ended. */
typedef struct stress_progress {
    _Atomic uint64_t begun;
    _Atomic uint64_t acknowledged;
} stress_progress;

typedef struct stress_totals {
    _Atomic uint64_t writes, reads, rows, snapshots, maintenance, rounds;
    _Atomic uint64_t touches, passing, views, checkpoints, held, spaces;
    _Atomic uint64_t cached, publishes, published, refreshes;
} stress_totals;

/* One thread of one round. */
typedef struct actor {
    lsmkv_db *db;
    lsm_rng rng;
    uint32_t index;   /* among its kind */
    uint64_t open_us; /* a closer waits so long */
    uint64_t seen[PAIRS];
    lsm_thread thread;
} actor;

/* The program; its exit status. A check that fails ends the process. */
int stress_main(int argument_count, char **arguments);

extern uint64_t stress_seed;
extern const char *stress_directory;
extern stress_totals stress_total;
extern stress_progress stress_pairs[PAIRS];

static inline void fail(const char *format, ...) LSM_PRINTF(1, 2) LSM_NORETURN;

static inline void fail(const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    (void)printf("FAILED: ");
    (void)vprintf(format, arguments);
    (void)printf("\nreplay: stress --dir DIR --seed %" PRIu64 "\n", stress_seed);
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

/* stress_pairs.c */
void stress_write_pairs(void *context);
void stress_read_pairs(void *context);
void stress_scan_pairs(void *context);
void stress_hold_snapshots(void *context);
void stress_touch_pairs(void *context);
/* What a read found of a pair: a version, or 0 for nothing. */
void stress_check_version(actor *a, size_t pair, uint64_t low, uint64_t found);
/* All pairs of a state, by one scan; 0 for what is not there. */
lsmkv_status stress_scan(lsmkv_db *db, const lsmkv_snapshot *snapshot, bool reverse,
                         uint64_t found[PAIRS], lsmkv_error *err);
/* What was acknowledged so far. */
void stress_note_acknowledged(uint64_t low[PAIRS]);

/* stress_values.c */
void stress_pass_values(void *context);
void stress_hold_views(void *context);

/* stress_spaces.c */
void stress_found_spaces(void *context);
void stress_use_cache(void *context);

/* stress_publish.c */
void stress_publish(void *context);
void stress_read_published(void *context);

/* stress_beside.c */
void stress_view_pairs(void *context);
void stress_follow_pairs(void *context);
void stress_copy_pairs(void *context);
void stress_maintain(void *context);

#endif
