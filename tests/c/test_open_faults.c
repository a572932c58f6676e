/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: an open that lacks memory, or meets an error of the disk, at any point says so
 * and loses nothing: the next one finds every key, the caches within their caps, and
 * what the caller has changed. Method: one database with something of everything that
 * an open looks at, of which each open gets a copy; each allocation and each call of
 * the disk fails in turn.
 */
#include "db_help.h"
#include "sim_help.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/testing.h"
#include "base/alloc.h"
#include "format/filename.h"

enum {
    KEYS = 30,
    SMALL_SIZE = 40,
    LARGE_SIZE = 400,
    LARGE_EVERY = 5,
    CAP = 1 << 16,
    CACHED = 90, /* keys of a cache, which take more than the cap */
    CACHED_SIZE = CAP / 64 - 100,
    PLACES_MAX = 1000, /* where an open can fail */
};

#define COPY "copy"

static const char *const cache_names[] = {"narrow", "wide"};

static lsmkv_bytes key_of(char to[16], size_t index) {
    int size = snprintf(to, 16, "key%03zu", index);
    return (lsmkv_bytes){to, (size_t)size};
}

static lsmkv_bytes value_of(uint8_t to[CACHED_SIZE], size_t index, bool cached) {
    size_t size = cached                     ? CACHED_SIZE
                  : index % LARGE_EVERY == 0 ? LARGE_SIZE
                                             : SMALL_SIZE;

    for (size_t i = 0; i < size; i++) {
        to[i] = (uint8_t)(index * 31 + i * 7);
    }
    return (lsmkv_bytes){to, size};
}

static lsmkv_status open_at(lsm_env *env, const char *path, uint32_t block_bytes,
                            lsmkv_db **db, lsmkv_error *err) {
    lsmkv_options options;

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.memtable_bytes = 1 << 14;
    options.block_bytes = block_bytes;
    options.blob_threshold_bytes = LARGE_SIZE;
    options.seed = 3;
    return lsm_test_open(env, path, &options, db, err);
}

static void put_keys(lsmkv_db *db, const lsmkv_namespace *space, size_t count) {
    lsmkv_write how = {.space = space};
    lsmkv_error err;

    for (size_t i = 0; i < count; i++) {
        char key[16];
        uint8_t value[CACHED_SIZE];
        CHECK_OK(lsmkv_put(db, &how, key_of(key, i), value_of(value, i, space != NULL),
                           &err));
    }
}

/* The keys that are there; each has its value. */
static size_t count_keys(lsmkv_db *db, const lsmkv_namespace *space, size_t count) {
    lsmkv_read read = {.space = space};
    lsmkv_error err;
    size_t found = 0;

    for (size_t i = 0; i < count; i++) {
        char key[16];
        uint8_t value[CACHED_SIZE];
        lsmkv_bytes expected = value_of(value, i, space != NULL);
        lsmkv_pin pin;
        lsmkv_status status = lsmkv_get(db, &read, key_of(key, i), &pin, &err);
        if (status == LSMKV_NOT_FOUND) {
            continue;
        }
        CHECK_EQ(status, LSMKV_OK);
        CHECK_EQ(pin.value.size, expected.size);
        CHECK(memcmp(pin.value.data, expected.data, expected.size) == 0);
        lsmkv_pin_release(&pin);
        found += 1;
    }
    return found;
}

/* With a cap, one that is made, or has that cap from now on. */
static lsmkv_namespace *open_space(lsmkv_db *db, const char *name, int64_t cap) {
    lsmkv_namespace_how how = {.create = true,
                               .alter = cap != 0,
                               .has_max_bytes = cap != 0,
                               .options = {.max_bytes = cap}};
    lsmkv_namespace *space = NULL;
    lsmkv_error err;

    CHECK_OK(lsmkv_namespace_open(db, bytes_of(name), &how, &space, &err));
    return space;
}

/* The file of the oldest cache segment goes, as if somebody had deleted it. */
static void lose_a_cache_file(lsm_env *env) {
    lsm_namelist names = {0};
    const char *oldest = NULL;
    lsmkv_error err;
    lsm_dir *dir;

    CHECK_OK(lsm_dir_open(env, COPY, false, &dir, &err));
    CHECK_OK(lsm_dir_list(dir, &names, &err));
    for (size_t i = 0; i < names.count; i++) {
        uint64_t number;
        bool is_cache = lsm_filename_parse(names.names[i], &number) == LSM_NAME_CACHE;
        if (is_cache && (oldest == NULL || strcmp(names.names[i], oldest) < 0)) {
            oldest = names.names[i];
        }
    }
    CHECK(oldest != NULL && lsm_sim_file_remove(env, COPY, oldest));
    lsm_namelist_deinit(&names);
    lsm_dir_close(dir);
}

/* A copy of a database, so that it has an origin, with two caches: of one a file is
 * missing, the other takes more than it may since its cap was lowered. Keys in tables
 * and in the log. */
static lsm_env *make_base(void) {
    lsm_env *env = lsm_sim_create(5);
    lsmkv_error err;
    lsmkv_db *db = NULL;

    CHECK(env != NULL);
    CHECK_OK(open_at(env, SIM_PATH, 1024, &db, &err));
    put_keys(db, NULL, KEYS);
    CHECK_OK(lsmkv_flush(db, &err));
    CHECK_OK(lsmkv_checkpoint(db, COPY, &err));
    close_db(db);
    CHECK_OK(open_at(env, COPY, 1024, &db, &err));
    put_keys(db, NULL, KEYS / 2);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(cache_names); i++) {
        lsmkv_namespace *space = open_space(db, cache_names[i], 4 * CAP);
        put_keys(db, space, i == 0 ? 1 : CACHED);
        lsmkv_namespace_free(space);
    }
    lsmkv_namespace_free(open_space(db, "plain", 0));
    lsmkv_namespace_free(open_space(db, cache_names[1], CAP));
    CHECK_OK(lsmkv_sync(db, &err));
    lsm_test_abandon(db);
    lose_a_cache_file(env);
    return env;
}

static lsm_env *copy_of(lsm_env *base) {
    lsm_env *env = sim_crash(base, 1, LSM_CRASH_ALL, 512);

    lsm_sim_exempt_memory(env);
    return env;
}

static void check_db(lsmkv_db *db) {
    lsmkv_cache_stats stats;
    lsmkv_error err;

    CHECK_EQ(count_keys(db, NULL, KEYS), KEYS);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(cache_names); i++) {
        lsmkv_namespace *space = open_space(db, cache_names[i], 0);
        CHECK_OK(lsmkv_get_cache_stats(db, space, &stats, &err));
        CHECK(i == 0 || stats.file_bytes <= CAP + CAP / 20);
        CHECK(count_keys(db, space, CACHED) >= (i == 0 ? 0 : CACHED / 2));
        lsmkv_namespace_free(space);
    }
}

static lsmkv_status open_with_smaller_blocks(lsm_env *env, lsmkv_db **db,
                                             lsmkv_error *err) {
    return open_at(env, COPY, 512, db, err);
}

static void open_again_and_check(lsm_env *env) {
    char stray[LSM_NAME_SIZE_MAX];
    lsmkv_db *db = NULL;
    lsmkv_error err;

    CHECK_OK(open_with_smaller_blocks(env, &db, &err));
    check_db(db);
    if (!lsm_test_files_match(db, stray)) {
        lsm_test_fail(__FILE__, __LINE__, "%s should not be there", stray);
    }
    close_db(db);
}

LSM_TEST(an_open_that_lacks_memory_says_so_and_the_next_finds_everything) {
    lsm_env *base = make_base();
    bool failed = true;

    for (uint64_t at = 0; failed; at++) {
        lsm_env *env = copy_of(base);
        lsmkv_error err;
        lsmkv_db *db = NULL;
        uint64_t before = lsm_alloc_count();
        lsm_alloc_fail_after(at, 0);
        lsmkv_status status = open_with_smaller_blocks(env, &db, &err);
        failed = lsm_alloc_count() - before > at;
        lsm_alloc_fail_never();
        if (status != LSMKV_OK) {
            CHECK_STATUS(status, LSMKV_NO_MEMORY);
            CHECK(failed && db == NULL);
            open_again_and_check(env);
        } else {
            check_db(db);
            close_db(db);
        }
        lsm_sim_destroy(env);
        CHECK(at < PLACES_MAX);
    }
    lsm_sim_destroy(base);
}

/* How calls fail. */
typedef struct fault {
    lsm_sim_call call;
    int code;
    bool sticky;
    lsmkv_status status; /* that they answer with */
} fault;

/* Every call of the class in turn. */
static void fail_calls(lsm_env *base, const fault *how) {
    bool failed = true;

    for (uint64_t at = 0; failed; at++) {
        lsm_env *env = copy_of(base);
        lsmkv_error err;
        lsmkv_db *db = NULL;
        uint64_t before = lsm_sim_call_count(env, how->call);
        lsm_sim_fail(env, how->call, at, how->code, how->sticky);
        lsmkv_status status = open_with_smaller_blocks(env, &db, &err);
        failed = lsm_sim_call_count(env, how->call) - before > at;
        lsm_sim_fail(env, how->call, 0, 0, false);
        if (status != LSMKV_OK) {
            CHECK_STATUS(status, how->status);
            CHECK(failed && db == NULL);
        } else {
            check_db(db);
            close_db(db);
        }
        open_again_and_check(env); /* what could not be unlinked goes now */
        lsm_sim_destroy(env);
        CHECK(at < PLACES_MAX);
    }
}

LSM_TEST(an_open_that_meets_an_error_of_the_disk_says_so_and_loses_nothing) {
    lsm_env *base = make_base();

    for (int call = 0; call < LSM_SIM_CALL_COUNT; call++) {
        fault how = {(lsm_sim_call)call, EIO, false, LSMKV_IO_ERROR};
        fail_calls(base, &how);
    }
    lsm_sim_destroy(base);
}

/* What is lacking says nothing about the files of a cache, which stay. */
LSM_TEST(an_open_that_lacks_descriptors_or_memory_for_files_says_so) {
    static const fault faults[] = {
        {LSM_SIM_OPEN, EMFILE, true, LSMKV_IO_ERROR},
        {LSM_SIM_OPEN, ENOMEM, true, LSMKV_NO_MEMORY},
    };
    lsm_env *base = make_base();

    for (size_t i = 0; i < LSM_ARRAY_COUNT(faults); i++) {
        fail_calls(base, &faults[i]);
    }
    lsm_sim_destroy(base);
}

LSM_TEST(a_database_is_made_whole_or_not_at_all) {
    bool failed = true;

    for (uint64_t at = 0; failed; at++) {
        lsm_env *env = lsm_sim_create(1);
        lsmkv_error err;
        lsmkv_db *db = NULL;
        CHECK(env != NULL);
        lsm_sim_exempt_memory(env);
        uint64_t before = lsm_alloc_count();
        lsm_alloc_fail_after(at, 0);
        lsmkv_status status = open_at(env, SIM_PATH, 512, &db, &err);
        failed = lsm_alloc_count() - before > at;
        lsm_alloc_fail_never();
        if (status != LSMKV_OK) {
            CHECK_STATUS(status, LSMKV_NO_MEMORY);
            CHECK(db == NULL);
            CHECK_OK(open_at(env, SIM_PATH, 512, &db, &err));
        }
        put_keys(db, NULL, KEYS);
        close_db(db);
        CHECK_OK(open_at(env, SIM_PATH, 0, &db, &err));
        CHECK_EQ(count_keys(db, NULL, KEYS), KEYS);
        close_db(db);
        lsm_sim_destroy(env);
    }
}

LSM_TEST(a_database_that_should_be_new_is_left_as_it_is_where_there_is_one) {
    lsm_env *env = make_base();
    lsmkv_options options;
    lsmkv_error err;
    lsmkv_db *db = NULL;

    lsmkv_options_init(&options);
    options.error_if_exists = true;
    uint64_t steps = lsm_sim_steps(env);
    CHECK_STATUS(lsm_test_open(env, COPY, &options, &db, &err), LSMKV_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "exists") != NULL);
    CHECK_EQ(lsm_sim_steps(env), steps);
    open_again_and_check(env);
    lsm_sim_destroy(env);
}

LSM_TEST(a_database_is_not_made_below_a_directory_that_is_not_there) {
    char path[256];
    char below[300];
    lsmkv_options options;
    lsmkv_error err;
    lsmkv_db *db = NULL;

    (void)snprintf(path, sizeof(path), "%s/lsmkv-open-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(path) != NULL);
    (void)snprintf(below, sizeof(below), "%s/none/db", path);
    lsmkv_options_init(&options);
    CHECK_STATUS(lsm_test_open(lsm_env_posix(), below, &options, &db, &err),
                 LSMKV_IO_ERROR);
    CHECK(strstr(err.message, "No such file") != NULL);
    CHECK_EQ(rmdir(path), 0);
}
