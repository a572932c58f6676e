/* SPDX-License-Identifier: Apache-2.0
 *
 * Destroying a database: CURRENT goes first, and durably, so that what a crash leaves
 * is none; then every file with a name of ours, LOCK last; then the directory, if
 * nothing of anybody else's is in it.
 */
#include "db/repair.h"
#include "format/filename.h"

static bool is_ours(const char *name) {
    uint64_t number;
    return lsm_filename_parse(name, &number) != LSM_NAME_OTHER;
}

static lsmkv_status unlink_all(lsm_dir *dir, const lsm_namelist *list,
                               lsmkv_error *err) {
    lsmkv_status status = lsm_dir_unlink(dir, LSM_CURRENT_NAME, err);

    if (status != LSMKV_OK && status != LSMKV_NOT_FOUND) {
        return status;
    }
    LSM_TRY(lsm_dir_sync(dir, err));
    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->names[i];
        if (!is_ours(name) || strcmp(name, LSM_CURRENT_NAME) == 0 ||
            strcmp(name, LSM_LOCK_NAME) == 0) {
            continue;
        }
        LSM_TRY(lsm_dir_unlink(dir, name, err));
    }
    LSM_TRY(lsm_dir_unlink(dir, LSM_LOCK_NAME, err));
    LSM_TRY(lsm_dir_sync(dir, err));
out:
    return status;
}

static lsmkv_status check_ours(const lsm_namelist *list, const char *path,
                               lsmkv_error *err) {
    for (size_t i = 0; i < list->count; i++) {
        if (is_ours(list->names[i])) {
            return LSMKV_OK;
        }
    }
    return lsm_fail(err, LSMKV_NOT_A_DATABASE, "%s holds nothing of a database", path);
}

lsmkv_status lsm_db_destroy_files(lsm_env *env, const char *path, lsmkv_error *err) {
    lsm_dir *dir = NULL;
    lsm_lock *lock = NULL;
    lsm_namelist list = {0};
    lsmkv_status status = lsm_dir_open(env, path, false, &dir, err);

    if (status == LSMKV_NOT_FOUND) {
        return lsm_fail(err, LSMKV_NOT_A_DATABASE, "there is no directory %s", path);
    }
    LSM_TRY(status);
    LSM_TRY(lsm_dir_list(dir, &list, err));
    LSM_TRY(check_ours(&list, path, err));
    LSM_TRY(lsm_dir_lock(dir, LSM_LOCK_NAME, &lock, err));
    LSM_TRY(lsm_dir_list(dir, &list, err)); /* as it is now that nobody else writes */
    LSM_TRY(unlink_all(dir, &list, err));
    lsm_ignore(lsm_dir_remove(env, path, NULL)); /* stays if others have files there */
out:
    lsm_namelist_deinit(&list);
    lsm_lock_release(lock);
    lsm_dir_close(dir);
    return status;
}
