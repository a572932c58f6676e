/* SPDX-License-Identifier: Apache-2.0
 *
 * A directory that is to become a database: absent or empty at first, locked while it
 * is filled, so that nobody opens it half done. Whoever fills it writes CURRENT last
 * (lsm_manifest_create), after which nothing can be undone.
 */
#ifndef LSM_DB_TARGET_H
#define LSM_DB_TARGET_H

#include "env/env.h"

typedef struct lsm_target {
    lsm_env *env;
    const char *path; /* borrowed */
    lsm_dir *dir;     /* owned */
    lsm_lock *lock;   /* owned */
    bool made;        /* the directory was not there */
    bool renamed;     /* CURRENT may be there; set by lsm_manifest_create */
} lsm_target;

/* INVALID_ARGUMENT when there is something in it but LOCK; LOCKED. */
lsmkv_status lsm_target_open(lsm_env *env, const char *path, lsm_target *target,
                             lsmkv_error *err) LSM_MUST_CHECK;
/* Lets go of it; unless it is `done`, or CURRENT may be there, what was put into it is
 * removed first, as far as that can be had. A zeroed target is fine. */
void lsm_target_close(lsm_target *target, bool done);

#endif
