/* SPDX-License-Identifier: Apache-2.0
 *
 * The scripted workloads, which every systematic sweep (steps, alloc, errors) runs: a
 * workload added here is crashed at every step, starved of memory at every allocation
 * and refused at every call of the system.
 *
 * A workload ignores the answers of its operations, because in some sweeps they fail.
 * It finds the database open, and it stays open: where a reopen may fail, the world's
 * relief ends what made it fail.
 */
#ifndef LSM_TESTS_CRASH_WORKLOADS_H
#define LSM_TESTS_CRASH_WORKLOADS_H

#include "world.h"

typedef struct workload {
    const char *name;
    void (*run)(world *w);
    uint32_t key_count;
    uint32_t value_max;
} workload;

extern const workload workloads[];
extern const size_t workload_count;

/* The profile in which a workload runs. */
void workload_profile(const workload *load, uint64_t seed, profile *p);

#endif
