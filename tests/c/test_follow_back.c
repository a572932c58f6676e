/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a follower goes back with a writer that lost its last writes, and shows what
 * comes in their place, while its snapshots show what they did; and one that is not to
 * refresh by itself never does. Method: a log in the simulator that is cut while nobody
 * writes; a real directory for threads.
 */
#include "db_help.h"
#include "sim_help.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/testing.h"
#include "env/sync.h"
#include "format/filename.h"

enum { LOG_MAX = 1 << 14, PAUSE_US = 5000 };

typedef struct pair {
    lsm_env *env;
    lsmkv_db *writer;
    lsmkv_db *follower;
} pair;

static void open_one(pair *p, lsmkv_db **db, bool follower) {
    lsmkv_options options;
    lsmkv_error err;

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.memtable_bytes = 1 << 14;
    options.follower = follower;
    options.seed = 5;
    CHECK_OK(lsm_test_open(p->env, SIM_PATH, &options, db, &err));
}

static void begin(pair *p) {
    *p = (pair){.env = lsm_sim_create(3)};
    CHECK(p->env != NULL);
    open_one(p, &p->writer, false);
    open_one(p, &p->follower, true);
}

static void end(pair *p) {
    close_db(p->follower);
    close_db(p->writer);
    lsm_sim_destroy(p->env);
}

static void refresh(pair *p) {
    lsmkv_error err;
    bool changed;

    CHECK_OK(lsmkv_refresh(p->follower, &changed, &err));
}

/* The first byte of what the follower has under a key; 0: nothing. */
static uint8_t get(pair *p, const lsmkv_snapshot *snapshot, const char *key) {
    lsmkv_read read = {.snapshot = snapshot};
    lsmkv_error err;
    lsmkv_pin pin;
    lsmkv_status status = lsmkv_get(p->follower, &read, bytes_of(key), &pin, &err);

    if (status == LSMKV_NOT_FOUND) {
        return 0;
    }
    CHECK_OK(status);
    uint8_t found = ((const uint8_t *)pin.value.data)[0];
    lsmkv_pin_release(&pin);
    return found;
}

static void put(pair *p, const char *key, const char *value) {
    lsmkv_error err;

    CHECK_OK(lsmkv_put(p->writer, NULL, bytes_of(key), bytes_of(value), &err));
}

/* The log that is being written: the one of the highest number. */
static void find_log(pair *p, char name[LSM_NAME_SIZE_MAX]) {
    lsm_namelist names = {0};
    uint64_t newest = 0;
    lsmkv_error err;
    lsm_dir *dir;

    CHECK_OK(lsm_dir_open(p->env, SIM_PATH, false, &dir, &err));
    CHECK_OK(lsm_dir_list(dir, &names, &err));
    for (size_t i = 0; i < names.count; i++) {
        uint64_t number;
        if (lsm_filename_parse(names.names[i], &number) == LSM_NAME_LOG &&
            number > newest) {
            newest = number;
            memcpy(name, names.names[i], LSM_NAME_SIZE_MAX);
        }
    }
    CHECK(newest != 0);
    lsm_namelist_deinit(&names);
    lsm_dir_close(dir);
}

static size_t log_size(pair *p, const char *name) {
    const uint8_t *data;
    size_t size;

    CHECK(lsm_sim_file_read(p->env, SIM_PATH, name, &data, &size));
    return size;
}

/* A power failure takes the end of a log, and the writer starts again. */
static void lose(pair *p, const char *name, size_t kept) {
    uint8_t copy[LOG_MAX];
    const uint8_t *data;
    size_t size;

    lsm_test_abandon(p->writer);
    CHECK(lsm_sim_file_read(p->env, SIM_PATH, name, &data, &size));
    CHECK(kept < size && size <= sizeof(copy));
    memcpy(copy, data, kept);
    CHECK(lsm_sim_file_write(p->env, SIM_PATH, name, copy, kept));
    open_one(p, &p->writer, false);
}

/* The log in which the writer goes on has fewer writes, when the follower comes to it,
 * than were lost; and then more. */
LSM_TEST(a_follower_that_goes_back_shows_what_comes_in_place_of_what_was_lost) {
    char name[LSM_NAME_SIZE_MAX];
    lsmkv_snapshot *lost = NULL;
    lsmkv_snapshot *then = NULL;
    lsmkv_error err;
    pair p;

    begin(&p);
    put(&p, "a", "1");
    find_log(&p, name);
    size_t kept = log_size(&p, name);
    put(&p, "x", "2");
    put(&p, "y", "2");
    put(&p, "z", "2");
    refresh(&p);
    CHECK_OK(lsmkv_snapshot_create(p.follower, &lost, &err));
    lose(&p, name, kept);
    put(&p, "a", "3");
    refresh(&p);
    CHECK_EQ(get(&p, NULL, "a"), '3');
    CHECK_EQ(get(&p, NULL, "x"), 0);
    CHECK_OK(lsmkv_snapshot_create(p.follower, &then, &err));
    put(&p, "a", "4");
    put(&p, "y", "4");
    refresh(&p);
    CHECK_EQ(get(&p, NULL, "a"), '4');
    CHECK_EQ(get(&p, NULL, "y"), '4');
    CHECK_EQ(get(&p, then, "a"), '3');
    CHECK_EQ(get(&p, then, "y"), 0);
    CHECK_EQ(get(&p, lost, "a"), '1');
    CHECK_EQ(get(&p, lost, "y"), '2');
    CHECK_EQ(get(&p, lost, "z"), '2');
    lsmkv_snapshot_free(lost);
    lsmkv_snapshot_free(then);
    end(&p);
}

/* Whose segments lie between each other's in the MANIFEST. */
LSM_TEST(a_follower_sees_two_caches_grow) {
    static const char *const names[] = {"one", "two"};
    lsmkv_namespace_how how = {.create = true,
                               .has_max_bytes = true,
                               .options = {.max_bytes = LSMKV_CACHE_BYTES_MIN}};
    lsmkv_namespace *written[2];
    lsmkv_error err;
    pair p;

    begin(&p);
    for (size_t i = 0; i < 2; i++) {
        CHECK_OK(lsmkv_namespace_open(p.writer, bytes_of(names[i]), &how, &written[i],
                                      &err));
    }
    for (int k = 0; k < 30; k++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "key%02d", k);
        for (size_t i = 0; i < 2; i++) {
            uint8_t value[200];
            lsmkv_namespace *read = NULL;
            lsmkv_pin pin;
            lsmkv_write into = {.space = written[i]};
            memset(value, k + 1, sizeof(value));
            CHECK_OK(lsmkv_put(p.writer, &into, bytes_of(key),
                               (lsmkv_bytes){value, sizeof(value)}, &err));
            refresh(&p);
            CHECK_OK(lsmkv_namespace_open(p.follower, bytes_of(names[i]), NULL, &read,
                                          &err));
            lsmkv_read from = {.space = read};
            CHECK_OK(lsmkv_get(p.follower, &from, bytes_of(key), &pin, &err));
            CHECK_EQ(pin.value.size, sizeof(value));
            CHECK(memcmp(pin.value.data, value, sizeof(value)) == 0);
            lsmkv_pin_release(&pin);
            lsmkv_namespace_free(read);
        }
    }
    for (size_t i = 0; i < 2; i++) {
        lsmkv_namespace_free(written[i]);
    }
    end(&p);
}

LSM_TEST(a_follower_without_an_interval_refreshes_when_it_is_told_to) {
    lsmkv_options options;
    lsmkv_error err;
    char path[256];
    pair p = {0};

    (void)snprintf(path, sizeof(path), "%s/lsmkv-back-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(path) != NULL);
    lsmkv_options_init(&options);
    CHECK_OK(lsmkv_open(path, &options, &p.writer, &err));
    options.follower = true;
    options.follow_interval_ms = 0;
    CHECK_OK(lsmkv_open(path, &options, &p.follower, &err));
    put(&p, "a", "1");
    lsm_sleep_us(PAUSE_US); /* in which it would, if it did */
    CHECK_EQ(get(&p, NULL, "a"), 0);
    refresh(&p);
    CHECK_EQ(get(&p, NULL, "a"), '1');
    close_db(p.follower);
    close_db(p.writer);
    CHECK_OK(lsmkv_destroy(path, &err));
}
