/* SPDX-License-Identifier: Apache-2.0
 *
 * Filling in the caller-owned lsmkv_error. Every function here takes `err == NULL`
 * gracefully and returns the status it was given, so a failing check reads
 *
 *     return lsm_fail(err, LSMKV_INVALID_ARGUMENT, "key of %zu bytes: at most %d",
 * ...);
 *
 * The message says what was expected, what was found and what to do; the file and
 * offset go into their own fields (and into the message by lsm_fail_at).
 */
#ifndef LSM_BASE_STATUS_H
#define LSM_BASE_STATUS_H

#include <stdarg.h>

#include "base/macros.h"
#include "include/lsmkv.h"

/* Sets every field to its "none" value: OK, offset -1. */
void lsm_error_clear(lsmkv_error *err);

lsmkv_status lsm_fail(lsmkv_error *err, lsmkv_status status, const char *format, ...)
    LSM_PRINTF(3, 4) LSM_COLD;

/* As lsm_fail, naming a file of the database directory and an offset (-1: none). The
 * message is prefixed with "file@offset: ". */
lsmkv_status lsm_fail_at(lsmkv_error *err, lsmkv_status status, const char *file,
                         int64_t offset, const char *format, ...)
    LSM_PRINTF(5, 6) LSM_COLD;

/* Shorthand: LSMKV_NO_MEMORY with the number of bytes wanted; or, if it was the budget
 * in force that refused them, LSMKV_LIMIT_EXCEEDED (base/budget.h). */
lsmkv_status lsm_fail_memory(lsmkv_error *err, size_t bytes) LSM_COLD;
/* Whether it was one of these two. */
static inline bool lsm_is_memory(lsmkv_status status) {
    return status == LSMKV_NO_MEMORY || status == LSMKV_LIMIT_EXCEEDED;
}
/* Which of them `err` tells, where only the absence of a result says so. */
static inline lsmkv_status lsm_memory_status(const lsmkv_error *err) {
    return err != NULL && err->status == LSMKV_LIMIT_EXCEEDED ? LSMKV_LIMIT_EXCEEDED
                                                              : LSMKV_NO_MEMORY;
}
/* LSMKV_LIMIT_EXCEEDED: what an untrusted directory asks for (base/limits.h), in a file
 * of it or with NULL in all. */
lsmkv_status lsm_fail_limit(lsmkv_error *err, const char *file, const char *what,
                            uint64_t found, uint64_t max) LSM_COLD;

/* Copies a stored error (a sticky background error, an iterator's) to the caller's
 * and returns its status. */
lsmkv_status lsm_error_copy(lsmkv_error *to, const lsmkv_error *from);

/* Says that an outcome does not matter, which a cast to void does not say to every
 * compiler. The caller's comment says why. */
static inline void lsm_ignore(lsmkv_status status) {
    (void)status;
}

#endif
