/* SPDX-License-Identifier: Apache-2.0
 *
 * Engine time, by which values expire: milliseconds, at open the wall clock's, and
 * never less than any time that the database has on record.
 *
 * It is the monotonic clock plus an offset that only grows, so a wall clock that is set
 * back changes nothing and an expired value stays expired. A wall clock that gains on
 * it by up to LSM_CLOCK_STEP_MAX_MS is followed; one that is further ahead, which looks
 * like a mistake that would expire everything, is not followed but counted, until it
 * comes back or the database is opened again. Every log record and every edit carries
 * engine time, so it never falls behind what a crash leaves.
 */
#ifndef LSM_DB_CLOCK_H
#define LSM_DB_CLOCK_H

#include <stdatomic.h>

#include "env/env.h"

enum { LSM_CLOCK_STEP_MAX_MS = 24 * 3600 * 1000 };

/* Far beyond any clock, and far from wrapping when added to. */
#define LSM_TIME_MAX (UINT64_C(1) << 60)

typedef struct lsm_clock {
    lsm_env *env;
    _Atomic uint64_t offset_ms;  /* to the monotonic clock; only grows, modulo 2^64 */
    _Atomic bool ahead;          /* the wall clock was too far ahead when last asked */
    _Atomic uint64_t jump_count; /* how often it came to be */
} lsm_clock;

/* Starts at the wall clock or at `least`, whichever is later. */
void lsm_clock_init(lsm_clock *clock, lsm_env *env, uint64_t least);
/* Engine time. One read of the monotonic clock. */
uint64_t lsm_clock_now_ms(const lsm_clock *clock);
/* Makes it at least that; for a follower, who reads of later times. */
void lsm_clock_raise(lsm_clock *clock, uint64_t least);
/* Looks at the wall clock, too, and follows it where that is safe. For writers and
 * background work: often enough for clocks that drift. */
uint64_t lsm_clock_follow_ms(lsm_clock *clock);

#endif
