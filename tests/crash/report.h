/* SPDX-License-Identifier: Apache-2.0
 *
 * What every part of the crash program shares: hashing that is not the engine's own,
 * the counts that end up in the closing line, and the end of a run that found a
 * fault: what was seen, the last operations, and the one command that shows it again.
 */
#ifndef LSM_TESTS_CRASH_REPORT_H
#define LSM_TESTS_CRASH_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/status.h"
#include "env/env_sim.h"

typedef struct crash_counts {
    uint64_t states;   /* crashed disks recovered and checked, nested ones included */
    uint64_t nested;   /* of those, crashes inside a recovery */
    uint64_t ops;      /* operations on a live database */
    uint64_t reads;    /* rows and point reads compared with the model */
    uint64_t failures; /* operations that answered an injected error */
    uint64_t kills;    /* processes killed */
    uint64_t seeds;    /* workloads run */
    uint64_t runs;     /* workloads run, or disks opened, with something failing */
} crash_counts;

extern crash_counts crash_count;

uint64_t crash_mix(uint64_t a, uint64_t b);
uint64_t crash_hash(const void *data, size_t size, uint64_t seed);

/* The arguments that run the current workload again, and where in it we are. */
void crash_set_replay(const char *format, ...) LSM_PRINTF(1, 2);
void crash_set_place(const char *format, ...) LSM_PRINTF(1, 2);
/* The operation that begins, by number; those that ran are printed when a check fails,
 * as what `--only` takes. */
void crash_begin_op(uint64_t number);
/* Remembers an operation; the last ones are printed when a check fails. */
void crash_trace(const char *format, ...) LSM_PRINTF(1, 2);
/* Prints everything and ends the program with status 1. */
void crash_fail(const char *format, ...) LSM_PRINTF(1, 2) LSM_NORETURN;
/* Fails unless the call answered OK. */
void crash_need(lsmkv_status status, const lsmkv_error *err, const char *what);
/* malloc that cannot fail. */
void *crash_alloc(size_t size);
void *crash_grow(void *old, size_t *capacity, size_t needed, size_t element_size);

/* Where to write the files of a crashed disk before its recovery; NULL: nowhere. */
extern const char *crash_dump_path;

#endif
