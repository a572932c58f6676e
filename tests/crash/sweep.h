/* SPDX-License-Identifier: Apache-2.0
 *
 * The systematic sweeps, each with what must hold told at the top of its file:
 *
 *   crash alloc    (starve.c)  the n-th allocation fails, for every n
 *   crash errors   (errors.c)  the n-th call of each class fails, with each errno
 *   crash damage   (damage.c)  every bit, every length, every file
 *
 * A sweep goes through a long row of cases, all of them or each stride-th one.
 */
#ifndef LSM_TESTS_CRASH_SWEEP_H
#define LSM_TESTS_CRASH_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

typedef struct sweep_request {
    uint64_t seed;
    int workload;     /* -1: all */
    uint64_t stride;  /* of the places where something fails */
    uint64_t seconds; /* ends at some later point; 0: never */
    bool only;        /* the failure `at` in this way and no other */
    uint64_t at;
    uint64_t at_way;
    int64_t end;      /* the time of that; 0: none */
    const char *path; /* damage: a database to load in place of the workloads */
} sweep_request;

void starve_run(const sweep_request *request);
void errors_run(const sweep_request *request);
void damage_run(const sweep_request *request);

#endif
