/* SPDX-License-Identifier: Apache-2.0
 *
 * The oracle of every crash: a crashed disk is recovered and looked at from all sides.
 *
 *   1. It opens. A full scan gives the state after some prefix of the history that
 *      holds everything acknowledged as durable (R1, R2); a scan in reverse and point
 *      reads of every key give the same.
 *   2. verify finds nothing, the directory holds the files that are needed and no
 *      others.
 *   3. Before all that, each checkpoint holds its state, or is none if it was not done.
 *      For a sample, a read-only open changes nothing and shows the
 *      state that the recovery then finds.
 *   4. A second open, after a clean close, a process crash or a power failure right
 *      behind the first, gives the very same state: what a recovery showed is durable.
 *   5. For a sample: further writes, a clean close and a reopen match.
 *   6. For a sample: the recovery is crashed at each of its own steps, and that state
 *      is checked in the same way, some levels deep. A power failure has left only
 *      durable bytes, so then the state must be exactly the one found before.
 */
#ifndef LSM_TESTS_CRASH_AFTERMATH_H
#define LSM_TESTS_CRASH_AFTERMATH_H

#include "api/testing.h"
#include "model.h"

typedef struct aftermath_plan {
    lsmkv_options options;
    uint64_t seed;
    uint32_t sector;
    lsm_crash_mode mode; /* how the disk came to be */
    int depth;           /* levels of crashes inside the recovery; 0: none */
    bool write_more;
} aftermath_plan;

/* Checks the disk, which must have no open database, and leaves it recovered and
 * closed. The state it holds then is that of *found. */
void aftermath_check(lsm_env *disk, const model *m, const model_bounds *bounds,
                     const aftermath_plan *plan, model_prefix *found);

/* Opens the database of a running workload a second time, for reading only: it shows
 * all that was acknowledged, and maybe the write that is under way. */
void aftermath_view(lsm_env *env, const model *m, const aftermath_plan *plan);

/* Opens one that stays open beside a running workload; freed by lsmkv_free. */
lsmkv_db *aftermath_follower(lsm_env *env, const aftermath_plan *plan);
/* Has it refresh, after which it shows what such an opening would. */
void aftermath_refresh(lsm_env *env, lsmkv_db *follower, const model *m, uint64_t seed);

/* Crashes `env` and checks what is left. */
void aftermath_crash(lsm_env *env, const model *m, const model_bounds *bounds,
                     const aftermath_plan *plan);

#endif
