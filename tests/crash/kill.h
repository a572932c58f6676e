/* SPDX-License-Identifier: Apache-2.0
 *
 * The command `crash kill`: processes that write to a real directory and are killed at
 * random.
 */
#ifndef LSM_TESTS_CRASH_KILL_H
#define LSM_TESTS_CRASH_KILL_H

#include <stdint.h>

typedef struct kill_request {
    const char *path; /* an existing empty directory, or one this program left */
    uint64_t seed;
    uint64_t cycles;
} kill_request;

void kill_run(const kill_request *request);

#endif
