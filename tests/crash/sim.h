/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands `crash sim` and `crash faults`: seeded simulation. A seed decides the
 * options, the mix of operations, the tearing, the order of background work, where each
 * epoch ends in a crash and, for faults, which call of the operating system fails and
 * how.
 */
#ifndef LSM_TESTS_CRASH_SIM_H
#define LSM_TESTS_CRASH_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SIM_EPOCH_OPS = 1000, /* at most; the operations of epoch n count from n x this */
    SIM_ONLY_MAX = 2048
};

/* Operations by number, both ends included. */
typedef struct sim_span {
    uint64_t first;
    uint64_t last;
} sim_span;

typedef struct sim_request {
    uint64_t first_seed;
    uint64_t last_seed; /* inclusive */
    uint64_t seconds;   /* 0: no limit; else stop between seeds once it is over */
    bool faults;
    bool verbose;                /* a line for each seed */
    sim_span only[SIM_ONLY_MAX]; /* leaves out every other operation */
    size_t only_count;           /* 0: none is left out */
} sim_request;

void sim_run(const sim_request *request);

#endif
