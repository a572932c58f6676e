/* SPDX-License-Identifier: Apache-2.0
 *
 * The first inputs: the files of whole databases, taken apart.
 */
#ifndef LSM_TESTS_FUZZ_SEEDS_H
#define LSM_TESTS_FUZZ_SEEDS_H

#include <stdbool.h>

/* Writes inputs for every target into directories under `to`. false: it cannot. */
bool fuzz_seeds_make(const char *to, char *const *databases, int count);

#endif
