/* SPDX-License-Identifier: Apache-2.0
 *
 * The command `crash steps`: every step of six scripted workloads, every mode of crash.
 */
#ifndef LSM_TESTS_CRASH_STEPS_H
#define LSM_TESTS_CRASH_STEPS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct steps_request {
    uint64_t seed;
    int workload;    /* -1: all */
    uint64_t stride; /* only each stride-th step */
    bool only;       /* the state at_step.at_mode.at_variant and no other */
    uint64_t at_step;
    int at_mode;
    uint32_t at_variant;
} steps_request;

void steps_run(const steps_request *request);

#endif
