/* SPDX-License-Identifier: Apache-2.0
 *
 * A fresh directory of the real file system, and children that work in it.
 */
#ifndef LSM_TESTS_POSIX_HELP_H
#define LSM_TESTS_POSIX_HELP_H

#include "child_help.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "env/env.h"

typedef struct place {
    lsm_dir *dir;
    lsm_file *file; /* "file", with five bytes in it, where there is one */
    char path[256];
} place;

static inline void set_up(place *at) {
    lsmkv_error err;

    at->file = NULL;
    (void)snprintf(at->path, sizeof(at->path), "%s/lsmkv-posix-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(at->path) != NULL);
    CHECK_OK(lsm_dir_open(lsm_env_posix(), at->path, false, &at->dir, &err));
}

static inline void set_up_file(place *at) {
    lsm_slice piece = lsm_slice_make("bytes", 5);
    lsmkv_error err;

    set_up(at);
    CHECK_OK(lsm_file_open(at->dir, "file", LSM_OPEN_CREATE, &at->file, &err));
    CHECK_OK(lsm_file_append(at->file, &piece, 1, NULL, &err));
}

static inline void tear_down(place *at) {
    lsmkv_error err;
    lsm_namelist names = {0};

    lsm_file_drop(at->file);
    CHECK_OK(lsm_dir_list(at->dir, &names, &err));
    for (size_t i = 0; i < names.count; i++) {
        CHECK_OK(lsm_dir_unlink(at->dir, names.names[i], &err));
    }
    lsm_namelist_deinit(&names);
    lsm_dir_close(at->dir);
    CHECK_EQ(rmdir(at->path), 0);
}

/* Runs a body in a child, in a place of its own; 0 is the right answer. */
static inline void check_child(int (*body)(void *context)) {
    place at;

    set_up_file(&at);
    CHECK_EQ(run_child(body, &at), 0);
    tear_down(&at);
}

/* Whether a call failed as it must. */
static inline bool failed(lsmkv_status status, const lsmkv_error *err,
                          lsmkv_status expected, int code) {
    return status == expected && err->status == expected && err->os_errno == code;
}

static inline lsmkv_status open_sub(const place *at, lsmkv_error *err) {
    char path[300];
    lsm_dir *dir = NULL;

    (void)snprintf(path, sizeof(path), "%s/sub", at->path);
    lsmkv_status status = lsm_dir_open(lsm_env_posix(), path, true, &dir, err);
    lsm_dir_close(dir);
    return status;
}

/* Removes it. */
static inline bool has_sub(const place *at) {
    char path[300];

    (void)snprintf(path, sizeof(path), "%s/sub", at->path);
    return rmdir(path) == 0;
}

#endif
