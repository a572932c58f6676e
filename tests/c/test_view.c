/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: an open for reading beside a writer shows one state or says why not, and tells
 * what is lost from what has only just gone. Method: something happens in the middle of
 * the open, whenever it lists the directory: a writer works, or a file goes, to come
 * back before the next attempt.
 */
#include "db_help.h"
#include "dead_help.h"

enum { ATTEMPTS = 50, TABLES = 20 };

static const lsm_env_ops *plain; /* the simulator's own */

/* What happens, how often, and what it needs. */
static struct {
    void (*act)(void);
    uint64_t left;
    uint64_t done;
    lsmkv_db *writer;
    lsm_env *env;
    const char *name; /* of the file that goes and comes back */
    uint8_t *bytes;
    size_t size;
} story;

static int watched_list(lsm_dir *dir, lsm_namelist *list) {
    if (story.left > 0) {
        story.left--;
        story.done++;
        story.act();
    }
    return plain->dir_list(dir, list);
}

static int watched_dir_open(lsm_env *env, const char *path, bool create,
                            lsm_dir **dirp) {
    if (story.bytes != NULL) {
        CHECK(lsm_sim_file_write(env, path, story.name, story.bytes, story.size));
    }
    return plain->dir_open(env, path, create, dirp);
}

static void watch(lsm_env *env, void (*act)(void), uint64_t times) {
    static lsm_env_ops watched;

    plain = env->ops;
    watched = *plain;
    watched.dir_list = watched_list;
    watched.dir_open = watched_dir_open;
    env->ops = &watched;
    memset(&story, 0, sizeof(story));
    story.act = act;
    story.left = times;
    story.env = env;
}

static void unwatch(void) {
    story.env->ops = plain;
    lsm_free(story.bytes);
    story.bytes = NULL;
}

static void write_and_flush(void) {
    lsmkv_error err;

    CHECK_OK(lsmkv_put(story.writer, NULL, (lsmkv_bytes){"other", 5},
                       (lsmkv_bytes){"1", 1}, &err));
    CHECK_OK(lsmkv_flush(story.writer, &err));
}

static void remove_file(void) {
    CHECK(lsm_sim_file_remove(story.env, SIM_PATH, story.name));
}

/* Opens for reading while the writer flushes `times` times. */
static lsmkv_status open_beside_writer(dead_db *dead, uint64_t times, bool threaded,
                                       lsmkv_error *err) {
    lsmkv_error ignored;
    lsmkv_db *writer = NULL;
    lsmkv_db *view = NULL;

    CHECK_STATUS(dead_open(dead->env, SIM_PATH, false, &writer, &ignored), LSMKV_OK);
    watch(dead->env, write_and_flush, times);
    story.writer = writer;
    dead->env->threaded = threaded;
    lsmkv_status status = dead_open(dead->env, SIM_PATH, true, &view, err);
    dead->env->threaded = false;
    CHECK_EQ(story.left, times > ATTEMPTS ? times - ATTEMPTS : 0);
    unwatch();
    if (status == LSMKV_OK) {
        dead_check(dead, view);
        close_db(view);
    }
    close_db(writer);
    return status;
}

LSM_TEST(a_view_is_opened_again_when_the_writer_changed_the_manifest_meanwhile) {
    for (int threaded = 0; threaded < 2; threaded++) {
        for (uint64_t times = 0; times < ATTEMPTS; times += 7) {
            lsmkv_error err;
            dead_db dead;
            dead_begin(&dead);
            CHECK_OK(open_beside_writer(&dead, times, threaded == 1, &err));
            dead_end(&dead);
        }
    }
}

LSM_TEST(a_view_of_a_manifest_that_never_rests_is_given_up) {
    lsmkv_error err;
    dead_db dead;

    dead_begin(&dead);
    CHECK_STATUS(open_beside_writer(&dead, 2 * ATTEMPTS, false, &err), LSMKV_CHANGED);
    CHECK(strstr(err.message, "kept changing") != NULL);
    dead_end(&dead);
}

/* The name of the largest file of a kind. */
static void find_file(const dead_db *dead, const char *suffix, char *name) {
    lsmkv_error err;
    lsm_namelist list = {0};
    lsm_dir *dir = NULL;
    size_t largest = 0;

    CHECK_OK(lsm_dir_open(dead->env, SIM_PATH, false, &dir, &err));
    CHECK_OK(lsm_dir_list(dir, &list, &err));
    for (size_t i = 0; i < list.count; i++) {
        const uint8_t *bytes;
        size_t size;
        CHECK(lsm_sim_file_read(dead->env, SIM_PATH, list.names[i], &bytes, &size));
        if (strstr(list.names[i], suffix) != NULL && size > largest) {
            largest = size;
            memcpy(name, list.names[i], LSM_NAME_SIZE_MAX);
        }
    }
    CHECK(largest > 0);
    lsm_namelist_deinit(&list);
    lsm_dir_close(dir);
}

/* The file is there when the MANIFEST is read, and not when it is to be opened. */
static void check_lost(const char *suffix, uint64_t times, lsmkv_status expected) {
    char name[LSM_NAME_SIZE_MAX] = "";
    const uint8_t *bytes;
    lsmkv_error err;
    lsmkv_db *view = NULL;
    dead_db dead;

    dead_begin(&dead);
    find_file(&dead, suffix, name);
    watch(dead.env, remove_file, times);
    story.name = name;
    CHECK(lsm_sim_file_read(dead.env, SIM_PATH, name, &bytes, &story.size));
    story.bytes = lsm_alloc(story.size);
    CHECK(story.bytes != NULL);
    memcpy(story.bytes, bytes, story.size);
    CHECK_STATUS(dead_open(dead.env, SIM_PATH, true, &view, &err), expected);
    unwatch();
    if (expected == LSMKV_OK) {
        dead_check(&dead, view);
        close_db(view);
    } else {
        CHECK(strcmp(err.file, name) == 0);
        CHECK_EQ(err.status, expected);
    }
    dead_end(&dead);
}

LSM_TEST(a_view_forgives_a_file_that_is_missing_once) {
    check_lost(".tbl", 1, LSMKV_OK);
    check_lost(".seg", 1, LSMKV_OK);
}

LSM_TEST(a_file_missing_twice_under_the_same_manifest_is_lost) {
    check_lost(".tbl", 2, LSMKV_CORRUPTION);
    check_lost(".seg", 2, LSMKV_CORRUPTION);
}

/* More tables and files of large values than may be open. */
LSM_TEST(a_view_opens_no_more_files_than_it_may) {
    lsm_env *env = lsm_sim_create(3);
    lsmkv_options options;
    lsmkv_db *db = NULL;
    lsmkv_stats stats;
    lsmkv_error err;
    uint8_t value[DEAD_LARGE_SIZE] = {0};

    CHECK(env != NULL);
    dead_register_codec();
    dead_options(&options);
    options.l0_compact_trigger = 1000;
    CHECK_OK(lsm_test_open(env, SIM_PATH, &options, &db, &err));
    for (size_t i = 0; i < TABLES; i++) {
        char key[16];
        CHECK_OK(lsmkv_put(db, NULL, dead_key(key, i),
                           (lsmkv_bytes){value, DEAD_LARGE_SIZE}, &err));
        CHECK_OK(lsmkv_flush(db, &err));
    }
    close_db(db);
    options.read_only = true;
    options.max_open_files = 16;
    CHECK_OK(lsm_test_open(env, SIM_PATH, &options, &db, &err));
    CHECK_OK(lsmkv_get_stats(db, &stats, &err));
    CHECK(stats.levels[0].table_count > 16);
    CHECK(stats.segment_count > 16);
    CHECK_EQ(stats.open_tables, 16);
    for (size_t i = 0; i < TABLES; i++) {
        char key[16];
        lsmkv_pin pin;
        CHECK_OK(lsmkv_get(db, NULL, dead_key(key, i), &pin, &err));
        CHECK_EQ(pin.value.size, DEAD_LARGE_SIZE);
        lsmkv_pin_release(&pin);
    }
    close_db(db);
    lsm_sim_destroy(env);
}

/* A log whose header the crash has cut holds nothing that was acknowledged. */
LSM_TEST(a_view_passes_over_a_log_without_a_whole_header) {
    dead_db dead;

    dead_begin(&dead);
    CHECK(lsm_sim_file_write(dead.env, SIM_PATH, "009999.log", "LSMKVREC", 8));
    dead_check_open(&dead, dead.env, SIM_PATH, true);
    dead_end(&dead);
}

LSM_TEST(a_view_says_what_is_not_there_and_what_is_not_allowed) {
    lsmkv_error err;
    lsmkv_options options;
    lsmkv_db *db = NULL;
    dead_db dead;

    dead_begin(&dead);
    CHECK_STATUS(dead_open(dead.env, "nowhere", true, &db, &err), LSMKV_NOT_A_DATABASE);
    CHECK(strstr(err.message, "open it for writing") != NULL);
    dead_options(&options);
    options.read_only = true;
    options.max_open_files = 1;
    CHECK_STATUS(lsm_test_open(dead.env, SIM_PATH, &options, &db, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK(lsm_sim_file_remove(dead.env, SIM_PATH, "CURRENT"));
    CHECK_STATUS(dead_open(dead.env, SIM_PATH, true, &db, &err), LSMKV_NOT_A_DATABASE);
    CHECK(strcmp(err.file, "CURRENT") == 0);
    dead_end(&dead);
}
