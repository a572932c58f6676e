/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls of the simulator whose own memory does not count: the same functions, between
 * the beginning and the end of an exemption.
 *
 * Left as they are: the list of names, which is the engine's memory, and calls that
 * allocate nothing or (a sync that loses writes) only where a test has ordered that.
 *
 * Only in a testing build, as only there an allocation can be made to fail.
 */
#include "env/sim_env.h"

#ifdef LSMKV_TESTING

#include "base/alloc.h"

static int quiet_dir_open(lsm_env *env, const char *path, bool create, lsm_dir **dirp) {
    lsm_alloc_exempt(true);
    int code = lsm_sim_ops.dir_open(env, path, create, dirp);
    lsm_alloc_exempt(false);
    return code;
}

static int quiet_rename(lsm_dir *dir, const char *from, const char *to) {
    lsm_alloc_exempt(true);
    int code = lsm_sim_ops.rename(dir, from, to);
    lsm_alloc_exempt(false);
    return code;
}

static int quiet_unlink(lsm_dir *dir, const char *name) {
    lsm_alloc_exempt(true);
    int code = lsm_sim_ops.unlink(dir, name);
    lsm_alloc_exempt(false);
    return code;
}

static int quiet_lock(lsm_dir *dir, const char *name, lsm_lock **lockp,
                      int64_t *holder) {
    lsm_alloc_exempt(true);
    int code = lsm_sim_ops.lock(dir, name, lockp, holder);
    lsm_alloc_exempt(false);
    return code;
}

static int quiet_file_open(lsm_dir *dir, const char *name, lsm_open_mode mode,
                           lsm_file **filep) {
    lsm_alloc_exempt(true);
    int code = lsm_sim_ops.file_open(dir, name, mode, filep);
    lsm_alloc_exempt(false);
    return code;
}

static int quiet_file_append(lsm_file *file, const lsm_slice *pieces, size_t count,
                             size_t *put) {
    lsm_alloc_exempt(true);
    int code = lsm_sim_ops.file_append(file, pieces, count, put);
    lsm_alloc_exempt(false);
    return code;
}

static int quiet_file_write(lsm_file *file, uint64_t offset, lsm_slice piece,
                            size_t *put) {
    lsm_alloc_exempt(true);
    int code = lsm_sim_ops.file_write(file, offset, piece, put);
    lsm_alloc_exempt(false);
    return code;
}

static int quiet_file_truncate(lsm_file *file, uint64_t size) {
    lsm_alloc_exempt(true);
    int code = lsm_sim_ops.file_truncate(file, size);
    lsm_alloc_exempt(false);
    return code;
}

void lsm_sim_exempt_memory(lsm_env *env) {
    static lsm_env_ops quiet;

    quiet = lsm_sim_ops;
    quiet.dir_open = quiet_dir_open;
    quiet.rename = quiet_rename;
    quiet.unlink = quiet_unlink;
    quiet.lock = quiet_lock;
    quiet.file_open = quiet_file_open;
    quiet.file_append = quiet_file_append;
    quiet.file_write = quiet_file_write;
    quiet.file_truncate = quiet_file_truncate;
    env->ops = &quiet;
}

#endif
