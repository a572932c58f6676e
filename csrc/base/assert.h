/* SPDX-License-Identifier: Apache-2.0
 *
 * LSM_ASSERT states an invariant of the code and stays on in release builds;
 * LSM_DEBUG_ASSERT is for costly ones and is compiled only with -DLSMKV_DEBUG. Bytes
 * from disk are never asserted: they are decoded and answered with CORRUPTION.
 */
#ifndef LSM_BASE_ASSERT_H
#define LSM_BASE_ASSERT_H

#include "base/macros.h"

/* Prints the failed expression to stderr and aborts. */
void lsm_assert_fail(const char *expression, const char *file,
                     int line) LSM_NORETURN LSM_COLD;

#define LSM_ASSERT(expression)        \
    (LSM_LIKELY(expression) ? (void)0 \
                            : lsm_assert_fail(#expression, __FILE__, __LINE__))

#ifdef LSMKV_DEBUG
#define LSM_DEBUG_ASSERT(expression) LSM_ASSERT(expression)
#else
#define LSM_DEBUG_ASSERT(expression) ((void)sizeof(expression))
#endif

#endif
