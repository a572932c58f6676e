/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator behind a lsm_env: shared by its calls (env_sim.c) and by what a test
 * does to it (sim_control.c). Private to env/.
 */
#ifndef LSM_ENV_SIM_ENV_H
#define LSM_ENV_SIM_ENV_H

#include "base/rng.h"
#include "env/env_sim.h"
#include "env/sim_state.h"

typedef enum lsm_sim_handle_kind {
    LSM_SIM_HANDLE_DIR,
    LSM_SIM_HANDLE_FILE,
    LSM_SIM_HANDLE_LOCK
} lsm_sim_handle_kind;

typedef struct lsm_sim_handle {
    union {
        lsm_dir dir;
        lsm_file file; /* its name also serves a lock */
        lsm_lock lock;
    } head;
    lsm_sim_handle_kind kind;
    bool open;
    lsm_open_mode mode;          /* of a file */
    lsm_sim_dir *dir;            /* borrowed from the env */
    lsm_sim_inode *inode;        /* of an open file; counted */
    struct lsm_sim_handle *next; /* in one of the env's two lists */
} lsm_sim_handle;

typedef struct lsm_sim_fault {
    uint64_t skip;
    int code; /* 0: none */
    bool sticky;
    bool halved; /* first of all, a transfer stops half way */
} lsm_sim_fault;

typedef struct lsm_sim {
    lsm_env head;
    lsm_sim_dir *dirs;
    lsm_sim_handle *locks;   /* held */
    lsm_sim_handle *handles; /* all others, open and closed, for the end */
    uint64_t open_count;
    uint64_t used; /* bytes of files that have a name or are open */
    uint64_t quota;
    uint64_t steps;
    uint64_t history;
    void (*hook)(void *context, uint64_t step);
    void *hook_context;
    lsm_rng entropy;
    lsm_rng odds;
    uint32_t short_permille;
    bool fsyncgate;
    uint64_t now_ms;
    uint64_t monotonic_us;
    lsm_sim_fault faults[LSM_SIM_CALL_COUNT];
    char failed[LSM_NAME_SIZE_MAX]; /* the file of the first call that failed */
    uint64_t call_counts[LSM_SIM_CALL_COUNT];
} lsm_sim;

extern const lsm_env_ops lsm_sim_ops;

lsm_sim *lsm_sim_of(lsm_env *env);
lsm_sim_dir *lsm_sim_find_dir(const lsm_sim *sim, const char *path); /* or NULL */
/* A file has one use for its name and one for each open handle; while it has any, its
 * bytes count against the quota. */
void lsm_sim_take_use(lsm_sim *sim, lsm_sim_inode *inode);
void lsm_sim_drop_use(lsm_sim *sim, lsm_sim_inode *inode);

#endif
