/* SPDX-License-Identifier: Apache-2.0
 *
 * What clang's analyzer cannot see across files: these return the status they are
 * given, so what follows a failure is not reached. Only clang-tidy reads this file.
 */
#ifndef LSM_TESTS_ANALYZER_H
#define LSM_TESTS_ANALYZER_H

#include "base/status.h"

#define lsm_fail(err, status, ...) \
    ((void)(lsm_fail)((err), (status), __VA_ARGS__), (status))
#define lsm_fail_at(err, status, file, offset, ...) \
    ((void)(lsm_fail_at)((err), (status), (file), (offset), __VA_ARGS__), (status))
#define lsm_fail_memory(err, size) \
    ((void)(lsm_fail_memory)((err), (size)), LSMKV_NO_MEMORY)

#endif
