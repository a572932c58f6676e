/* SPDX-License-Identifier: Apache-2.0
 *
 * Short forms for tests over the simulator: one directory, small text files, every
 * failure fails the test.
 */
#ifndef LSM_TESTS_SIM_HELP_H
#define LSM_TESTS_SIM_HELP_H

#include "test.h"

#include <string.h>

#include "env/env_sim.h"

enum { SIM_TEXT_MAX = 512 };

#define SIM_PATH "db"

typedef struct sim_text {
    uint8_t data[SIM_TEXT_MAX];
    size_t size;
} sim_text;

static inline lsm_env *sim_make(uint64_t seed, lsm_dir **dir) {
    lsmkv_error err;
    lsm_env *env = lsm_sim_create(seed);

    CHECK(env != NULL);
    CHECK_OK(lsm_dir_open(env, SIM_PATH, true, dir, &err));
    return env;
}

static inline void sim_end(lsm_env *env, lsm_dir *dir) {
    lsm_dir_close(dir);
    lsm_sim_destroy(env);
}

static inline lsm_file *sim_create(lsm_dir *dir, const char *name) {
    lsmkv_error err;
    lsm_file *file;

    CHECK_OK(lsm_file_open(dir, name, LSM_OPEN_CREATE, &file, &err));
    return file;
}

static inline void sim_append(lsm_file *file, const char *bytes) {
    lsmkv_error err;
    lsm_slice piece = lsm_slice_make(bytes, strlen(bytes));

    CHECK_OK(lsm_file_append(file, &piece, 1, NULL, &err));
}

static inline void sim_sync(lsm_file *file) {
    lsmkv_error err;

    CHECK_OK(lsm_file_sync(file, &err));
}

static inline void sim_sync_dir(lsm_dir *dir) {
    lsmkv_error err;

    CHECK_OK(lsm_dir_sync(dir, &err));
}

/* A file with synced contents; its name is still pending. */
static inline void sim_write(lsm_dir *dir, const char *name, const char *bytes) {
    lsm_file *file = sim_create(dir, name);

    sim_append(file, bytes);
    sim_sync(file);
    lsm_file_drop(file);
}

/* The contents of a file, or false when it is not there. */
static inline bool sim_look(lsm_env *env, const char *name, sim_text *found) {
    const uint8_t *data = NULL;

    if (!lsm_sim_file_read(env, SIM_PATH, name, &data, &found->size)) {
        return false;
    }
    CHECK(found->size <= SIM_TEXT_MAX);
    memcpy(found->data, data, found->size);
    return true;
}

static inline bool sim_exists(lsm_env *env, const char *name) {
    sim_text found;

    return sim_look(env, name, &found);
}

static inline bool sim_holds(lsm_env *env, const char *name, const char *bytes) {
    sim_text found;

    return sim_look(env, name, &found) && found.size == strlen(bytes) &&
           memcmp(found.data, bytes, found.size) == 0;
}

static inline lsm_env *sim_crash(lsm_env *env, uint64_t seed, lsm_crash_mode mode,
                                 uint32_t sector) {
    lsm_env *crashed = lsm_sim_crash(env, seed, mode, sector);

    CHECK(crashed != NULL);
    return crashed;
}

#endif
