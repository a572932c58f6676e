/* SPDX-License-Identifier: Apache-2.0
 *
 * What a power failure makes of a simulated directory. Private to env/.
 */
#ifndef LSM_ENV_SIM_CRASH_H
#define LSM_ENV_SIM_CRASH_H

#include "base/rng.h"
#include "env/env_sim.h"
#include "env/sim_state.h"

typedef struct lsm_sim_fate {
    lsm_crash_mode mode;
    uint32_t sector;
    lsm_rng rng;
} lsm_sim_fate;

/* A new directory in a state that `fate` allows, `from` unchanged. NULL: no memory. */
lsm_sim_dir *lsm_sim_dir_crash(lsm_sim_dir *from, lsm_sim_fate *fate);

#endif
