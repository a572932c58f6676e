/* SPDX-License-Identifier: Apache-2.0
 *
 * What an input reaches: with -fsanitize-coverage=trace-pc the compiler calls us in
 * every basic block; a feature is a pair of blocks run one after the other, and how
 * often, by powers of two (as AFL counts, Zalewski 2013). Without that flag nothing is
 * ever reached, and the fuzzer mutates blindly.
 */
#ifndef LSM_TESTS_FUZZ_COVER_H
#define LSM_TESTS_FUZZ_COVER_H

#include <stdbool.h>
#include <stddef.h>

void fuzz_cover_begin(void); /* a run begins: nothing was reached */
void fuzz_cover_end(void);
/* Adds what the last run reached to what was reached before; returns how much of it is
 * new. */
size_t fuzz_cover_merge(void);
/* How much of what the last run reached is new, and stays so. */
size_t fuzz_cover_look(void);
/* Features reached so far. */
size_t fuzz_cover_count(void);

#endif
