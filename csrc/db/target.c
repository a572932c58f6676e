/* SPDX-License-Identifier: Apache-2.0
 *
 * See target.h.
 */
#include "db/target.h"

#include <string.h>

#include "format/filename.h"

static lsmkv_status open_dir(lsm_target *target, lsmkv_error *err) {
    lsmkv_status status =
        lsm_dir_open(target->env, target->path, false, &target->dir, err);
    target->made = status == LSMKV_NOT_FOUND;
    if (status == LSMKV_OK || target->made) {
        /* Also where it is there: its name becomes durable. */
        lsm_dir_close(target->dir);
        status = lsm_dir_open(target->env, target->path, true, &target->dir, err);
        if (status == LSMKV_NOT_FOUND) { /* its parent is missing */
            status = LSMKV_IO_ERROR;
            if (err != NULL) {
                err->status = status;
            }
        }
    }
    return status;
}

static lsmkv_status check_empty(const lsm_target *target, lsmkv_error *err) {
    lsm_namelist list = {0};
    lsmkv_status status = lsm_dir_list(target->dir, &list, err);
    for (size_t i = 0; status == LSMKV_OK && i < list.count; i++) {
        if (strcmp(list.names[i], LSM_LOCK_NAME) != 0) {
            status =
                lsm_fail(err, LSMKV_INVALID_ARGUMENT, "%s is not empty: it holds %s",
                         target->path, list.names[i]);
        }
    }
    lsm_namelist_deinit(&list);
    return status;
}

lsmkv_status lsm_target_open(lsm_env *env, const char *path, lsm_target *target,
                             lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    *target = (lsm_target){.env = env, .path = path};
    LSM_TRY(open_dir(target, err));
    LSM_TRY(check_empty(target, err)); /* before LOCK is touched, ... */
    LSM_TRY(lsm_dir_lock(target->dir, LSM_LOCK_NAME, &target->lock, err));
    LSM_TRY(check_empty(target, err)); /* ... and when nobody else can fill it */
out:
    if (status != LSMKV_OK) {
        lsm_dir_close(target->dir);
        lsm_lock_release(target->lock);
        *target = (lsm_target){0};
    }
    return status;
}

/* It was empty, so all that has a name of ours is ours. */
static void clear(const lsm_target *target) {
    lsm_namelist list = {0};
    uint64_t number;

    if (lsm_dir_list(target->dir, &list, NULL) != LSMKV_OK) {
        lsm_namelist_deinit(&list);
        return;
    }
    for (size_t i = 0; i < list.count; i++) {
        lsm_file_kind kind = lsm_filename_parse(list.names[i], &number);
        if (kind != LSM_NAME_OTHER && (kind != LSM_NAME_LOCK || target->made)) {
            lsm_ignore(lsm_dir_unlink(target->dir, list.names[i], NULL));
        }
    }
    lsm_namelist_deinit(&list);
    if (target->made) {
        lsm_ignore(lsm_dir_remove(target->env, target->path, NULL));
    }
}

void lsm_target_close(lsm_target *target, bool done) {
    if (target->dir == NULL) {
        return;
    }
    if (!done && !target->renamed) {
        clear(target);
    }
    lsm_lock_release(target->lock);
    lsm_dir_close(target->dir);
    *target = (lsm_target){0};
}
