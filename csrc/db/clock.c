/* SPDX-License-Identifier: Apache-2.0
 *
 * See clock.h.
 */
#include "db/clock.h"

#include "base/mutant.h"

static uint64_t monotonic_ms(const lsm_clock *clock) {
    return lsm_env_monotonic_us(clock->env) / 1000;
}

void lsm_clock_init(lsm_clock *clock, lsm_env *env, uint64_t least) {
    uint64_t now = lsm_env_now_ms(env);

    clock->env = env;
    now = now < least ? least : now;
    now = now > LSM_TIME_MAX ? LSM_TIME_MAX : now;
    atomic_init(&clock->offset_ms, now - monotonic_ms(clock));
    atomic_init(&clock->ahead, false);
    atomic_init(&clock->jump_count, 0);
}

uint64_t lsm_clock_now_ms(const lsm_clock *clock) {
    return monotonic_ms(clock) + atomic_load(&clock->offset_ms);
}

void lsm_clock_raise(lsm_clock *clock, uint64_t least) {
    uint64_t monotonic = monotonic_ms(clock);
    uint64_t offset = atomic_load(&clock->offset_ms);

    least = least > LSM_TIME_MAX ? LSM_TIME_MAX : least;
    while (
        monotonic + offset < least &&
        !atomic_compare_exchange_weak(&clock->offset_ms, &offset, least - monotonic)) {
    }
}

uint64_t lsm_clock_follow_ms(lsm_clock *clock) {
    uint64_t monotonic = monotonic_ms(clock);
    uint64_t wall = lsm_env_now_ms(clock->env);
    uint64_t offset = atomic_load(&clock->offset_ms);

    for (;;) {
        uint64_t now = monotonic + offset;
        bool ahead = wall > now && wall - now > LSM_CLOCK_STEP_MAX_MS &&
                     !LSM_MUTANT(CLOCK_FOLLOWS_EVERY_JUMP);
        if (atomic_load(&clock->ahead) != ahead &&
            atomic_exchange(&clock->ahead, ahead) != ahead && ahead) {
            atomic_fetch_add(&clock->jump_count, 1);
        }
        if (wall <= now || ahead) {
            return now;
        }
        /* Fails when someone else moved it, and then says to where. */
        if (atomic_compare_exchange_weak(&clock->offset_ms, &offset,
                                         wall - monotonic)) {
            return wall;
        }
    }
}
