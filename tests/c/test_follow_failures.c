/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a refresh that fails leaves the follower where it was, and the next one makes
 * up for it; a writer that took something back is followed; damage is called by its
 * name. Method: stories on a simulated disk, told again with every allocation and
 * every call failing.
 */
#include "db_help.h"
#include "sim_help.h"

#include <errno.h>
#include <stdio.h>

#include "api/testing.h"
#include "base/alloc.h"
#include "db/db.h"
#include "db/follow.h"
#include "env/sim_env.h"
#include "format/filename.h"

enum { VALUE_SIZE = 300, THRESHOLD = 200 };

typedef struct story {
    lsm_env *env;
    lsmkv_db *writer;
    lsmkv_db *follower;
} story;

static void open_one(story *s, lsmkv_db **db, bool follower) {
    lsmkv_error err;
    lsmkv_options options;

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.memtable_bytes = 1 << 14;
    options.table_bytes = 4096;
    options.blob_threshold_bytes = THRESHOLD;
    options.follower = follower;
    options.seed = 5;
    CHECK_OK(lsm_test_open(s->env, SIM_PATH, &options, db, &err));
}

static void begin(story *s) {
    s->env = lsm_sim_create(11);
    CHECK(s->env != NULL);
    lsm_sim_exempt_memory(s->env);
    open_one(s, &s->writer, false);
    open_one(s, &s->follower, true);
}

static void end(story *s) {
    close_db(s->follower);
    close_db(s->writer);
    lsm_sim_destroy(s->env);
}

static void put(story *s, const char *key, uint8_t value) {
    lsmkv_error err;
    uint8_t bytes[VALUE_SIZE];

    memset(bytes, value, sizeof(bytes));
    CHECK_OK(lsmkv_put(s->writer, NULL, (lsmkv_bytes){key, strlen(key)},
                       (lsmkv_bytes){bytes, value % 2 == 0 ? 20 : VALUE_SIZE}, &err));
}

/* What the follower has under a key; 0: nothing. */
static uint8_t get(story *s, const lsmkv_snapshot *snapshot, const char *key) {
    lsmkv_error err;
    lsmkv_pin pin;
    lsmkv_read read = {.snapshot = snapshot};
    lsmkv_status status =
        lsmkv_get(s->follower, &read, (lsmkv_bytes){key, strlen(key)}, &pin, &err);

    if (status == LSMKV_NOT_FOUND) {
        return 0;
    }
    CHECK_OK(status);
    uint8_t found = ((const uint8_t *)pin.value.data)[pin.value.size - 1];
    lsmkv_pin_release(&pin);
    return found;
}

static lsmkv_status refresh(story *s) {
    lsmkv_error err;
    bool changed;
    return lsmkv_refresh(s->follower, &changed, &err);
}

static void found_space(story *s, const char *name) {
    lsmkv_error err;
    lsmkv_namespace_how how = {.create = true};
    lsmkv_namespace *space = NULL;

    CHECK_OK(lsmkv_namespace_open(s->writer, (lsmkv_bytes){name, strlen(name)}, &how,
                                  &space, &err));
    lsmkv_namespace_free(space);
}

static void count_space(void *context, lsmkv_bytes name,
                        const lsmkv_space_options *options) {
    (void)name;
    (void)options;
    *(size_t *)context += 1;
}

static size_t space_count(story *s) {
    lsmkv_error err;
    size_t count = 0;
    CHECK_OK(lsmkv_namespace_list(s->follower, NULL, count_space, &count, &err));
    return count;
}

/* What the writer does before the refresh that is to fail: number 0 only adds to the
 * log, 1 rotates and flushes too, 2 starts again. */
static void tell(story *s, int number) {
    lsmkv_error err;

    put(s, "a", 3);
    put(s, "b", 4);
    found_space(s, "one");
    if (number > 0) {
        CHECK_OK(lsmkv_flush(s->writer, &err));
        put(s, "a", 5);
        CHECK_OK(lsmkv_sync(s->writer, &err));
        found_space(s, "two");
        put(s, "c", 7);
    }
    if (number > 1) {
        close_db(s->writer);
        open_one(s, &s->writer, false);
        put(s, "b", 8);
    }
}

static void check_told(story *s, int number) {
    CHECK_EQ(get(s, NULL, "a"), number > 0 ? 5 : 3);
    CHECK_EQ(get(s, NULL, "b"), number > 1 ? 8 : 4);
    CHECK_EQ(get(s, NULL, "c"), number > 0 ? 7 : 0);
    CHECK_EQ(space_count(s), number > 0 ? 2 : 1);
}

static void check_untold(story *s) {
    CHECK_EQ(get(s, NULL, "a"), 1);
    CHECK_EQ(get(s, NULL, "b"), 2);
    CHECK_EQ(get(s, NULL, "c"), 0);
    CHECK_EQ(space_count(s), 0);
}

static void start(story *s) {
    begin(s);
    put(s, "a", 1);
    put(s, "b", 2);
    CHECK_EQ(refresh(s), LSMKV_OK);
    check_untold(s);
}

LSM_TEST(refresh_survives_every_failing_allocation) {
    for (int number = 0; number < 3; number++) {
        bool failed = true;
        for (uint64_t n = 0; failed; n++) {
            story s;
            start(&s);
            tell(&s, number);
            lsm_alloc_fail_after(n, 0);
            lsmkv_status status = refresh(&s);
            lsm_alloc_fail_never();
            failed = status != LSMKV_OK;
            if (failed) {
                CHECK_EQ(status, LSMKV_NO_MEMORY);
                check_untold(&s);
                CHECK_EQ(refresh(&s), LSMKV_OK);
            }
            check_told(&s, number);
            end(&s);
            CHECK(n < 1000);
        }
    }
}

LSM_TEST(refresh_survives_every_failing_call) {
    static const lsm_sim_call calls[] = {LSM_SIM_OPEN, LSM_SIM_READ};

    for (size_t i = 0; i < 6; i++) {
        int number = (int)(i % 3);
        bool failed = true;
        for (uint64_t n = 0; failed; n++) {
            story s;
            start(&s);
            tell(&s, number);
            lsm_sim_fail(s.env, calls[i / 3], n, EIO, false);
            lsmkv_status status = refresh(&s);
            failed = lsm_sim_failed_name(s.env)[0] != 0;
            lsm_sim_fail(s.env, calls[i / 3], 0, 0, false);
            if (status != LSMKV_OK) {
                CHECK_EQ(status, LSMKV_IO_ERROR);
                check_untold(&s);
                CHECK_EQ(refresh(&s), LSMKV_OK);
            }
            check_told(&s, number);
            end(&s);
            CHECK(n < 1000);
        }
    }
}

LSM_TEST(refresh_that_lacks_a_descriptor_closes_what_it_does_not_need) {
    for (int number = 0; number < 3; number++) {
        bool met = true;
        for (uint64_t n = 0; met; n++) {
            story s;
            start(&s);
            tell(&s, number);
            lsm_sim_fail(s.env, LSM_SIM_OPEN, n, EMFILE, false);
            CHECK_EQ(refresh(&s), LSMKV_OK);
            met = lsm_sim_failed_name(s.env)[0] != 0;
            check_told(&s, number);
            end(&s);
            CHECK(n < 1000);
        }
    }
}

/* The name of the newest file of a kind. */
static void find_newest(story *s, lsm_file_kind kind, char name[LSM_NAME_SIZE_MAX]) {
    lsmkv_error err;
    lsm_dir *dir = NULL;
    lsm_namelist list = {0};
    uint64_t newest = 0;

    CHECK_OK(lsm_dir_open(s->env, SIM_PATH, false, &dir, &err));
    CHECK_OK(lsm_dir_list(dir, &list, &err));
    for (size_t i = 0; i < list.count; i++) {
        uint64_t number = 0;
        if (lsm_filename_parse(list.names[i], &number) == kind && number > newest) {
            newest = number;
            memcpy(name, list.names[i], LSM_NAME_SIZE_MAX);
        }
    }
    CHECK(newest > 0);
    lsm_namelist_deinit(&list);
    lsm_dir_close(dir);
}

/* Cuts a file to a size, or with `flips` inverts the byte there. */
static void alter_file(story *s, const char *name, size_t at, bool flips) {
    const uint8_t *data = NULL;
    size_t size = 0;

    CHECK(lsm_sim_file_read(s->env, SIM_PATH, name, &data, &size));
    CHECK(at < size);
    uint8_t *copy = lsm_alloc(size);
    CHECK(copy != NULL);
    memcpy(copy, data, size);
    copy[at] = (uint8_t)(flips ? copy[at] ^ 0xFF : copy[at]);
    CHECK(lsm_sim_file_write(s->env, SIM_PATH, name, copy, flips ? size : at));
    lsm_free(copy);
}

static size_t size_of(story *s, const char *name) {
    const uint8_t *data = NULL;
    size_t size = 0;
    CHECK(lsm_sim_file_read(s->env, SIM_PATH, name, &data, &size));
    return size;
}

LSM_TEST(follower_goes_back_with_a_writer_that_lost_its_last_writes) {
    lsmkv_error err;
    lsmkv_snapshot *snapshot = NULL;
    char name[LSM_NAME_SIZE_MAX];
    story s;

    start(&s);
    find_newest(&s, LSM_NAME_LOG, name);
    size_t kept = size_of(&s, name);
    put(&s, "a", 3);
    put(&s, "c", 4);
    CHECK_EQ(refresh(&s), LSMKV_OK);
    CHECK_EQ(get(&s, NULL, "c"), 4);
    CHECK_OK(lsmkv_snapshot_create(s.follower, &snapshot, &err));
    lsm_test_abandon(s.writer);
    alter_file(&s, name, kept, false); /* a power failure took them */
    CHECK_EQ(refresh(&s), LSMKV_OK);
    check_untold(&s);
    open_one(&s, &s.writer, false);
    CHECK_EQ(refresh(&s), LSMKV_OK);
    check_untold(&s);
    CHECK_EQ(get(&s, snapshot, "c"), 4);
    for (uint8_t i = 1; i < 20; i++) { /* the same sequences again, with other writes */
        put(&s, "b", i);
        CHECK_EQ(refresh(&s), LSMKV_OK);
        CHECK_EQ(get(&s, NULL, "b"), i);
        CHECK_EQ(get(&s, NULL, "c"), 0);
        CHECK_EQ(get(&s, snapshot, "b"), 2);
    }
    lsmkv_snapshot_free(snapshot);
    end(&s);
}

LSM_TEST(refresh_calls_damage_by_its_name_and_shows_what_it_did) {
    lsmkv_error err;
    char name[LSM_NAME_SIZE_MAX];

    for (int kind = 0; kind < 2; kind++) {
        story s;
        start(&s);
        find_newest(&s, kind == 0 ? LSM_NAME_LOG : LSM_NAME_MANIFEST, name);
        size_t at = size_of(&s, name) + 70;
        put(&s, "a", 3);
        CHECK_OK(lsmkv_sync(s.writer, &err));
        put(&s, "a", 5);
        CHECK_OK(lsmkv_sync(s.writer, &err));
        CHECK_OK(kind == 0 ? LSMKV_OK : lsmkv_flush(s.writer, &err));
        alter_file(&s, name, at, true);
        CHECK_EQ(refresh(&s), LSMKV_CORRUPTION);
        CHECK_EQ(get(&s, NULL, "a"), 1);
        alter_file(&s, name, at, true);
        CHECK_EQ(refresh(&s), LSMKV_OK);
        CHECK_EQ(get(&s, NULL, "a"), 5);
        end(&s);
    }
}

LSM_TEST(what_a_refresh_failed_by_is_kept_until_one_succeeds) {
    lsmkv_error err;
    lsmkv_follow_stats stats;
    story s;

    start(&s);
    CHECK_OK(lsmkv_get_follow_stats(s.follower, &stats, &err));
    uint64_t succeeded = stats.refresh_count;
    CHECK_EQ(succeeded, 2); /* with the opening */
    CHECK_EQ(stats.failure_count, 0);
    CHECK_EQ(stats.error.status, LSMKV_OK);
    for (uint64_t i = 1; i < 3; i++) {
        CHECK(lsm_sim_file_remove(s.env, SIM_PATH, "CURRENT") == (i == 1));
        CHECK_EQ(refresh(&s), LSMKV_NOT_A_DATABASE);
        CHECK_OK(lsmkv_get_follow_stats(s.follower, &stats, &err));
        CHECK_EQ(stats.refresh_count, succeeded);
        CHECK_EQ(stats.failure_count, i);
        CHECK_EQ(stats.failures_in_row, i);
        CHECK_EQ(stats.error.status, LSMKV_NOT_A_DATABASE);
        CHECK(stats.error.message[0] != '\0');
        CHECK_EQ(get(&s, NULL, "a"), 1);
    }
    CHECK_STATUS(lsmkv_get_follow_stats(s.writer, &stats, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK_OK(lsmkv_close(s.follower, &err));
    CHECK_STATUS(lsmkv_get_follow_stats(s.follower, &stats, &err), LSMKV_CLOSED);
    CHECK_EQ(stats.failure_count, 0);
    end(&s);
}

LSM_TEST(polling_pauses_longer_after_each_failure_up_to_a_minute) {
    enum { SECOND = 1000 * 1000, MINUTE = 60 * SECOND };

    CHECK_EQ(lsm_follow_pause_us(1000, 0), 1000);
    CHECK_EQ(lsm_follow_pause_us(1000, 1), 2000);
    CHECK_EQ(lsm_follow_pause_us(1000, 6), 64000);
    CHECK_EQ(lsm_follow_pause_us(1000, UINT64_MAX), 64000);
    CHECK_EQ(lsm_follow_pause_us(SECOND, 5), 32 * SECOND);
    CHECK_EQ(lsm_follow_pause_us(SECOND, 6), MINUTE);
    CHECK_EQ(lsm_follow_pause_us(2 * MINUTE, 3), 2 * MINUTE); /* as it was asked for */
}

static lsmkv_status put_lost(story *s, bool sync) {
    lsmkv_error err;
    uint8_t bytes[VALUE_SIZE];
    const lsmkv_write how = {.sync = sync};

    memset(bytes, 9, sizeof(bytes));
    return lsmkv_put(s->writer, &how, (lsmkv_bytes){"x", 1},
                     (lsmkv_bytes){bytes, VALUE_SIZE}, &err);
}

/* Of which the disk takes all but one byte. */
LSM_TEST(a_write_that_failed_half_way_is_never_seen) {
    bool failed = true;
    story s;

    start(&s);
    for (uint64_t taken = 0; failed; taken++) {
        lsm_sim_set_quota(s.env, lsm_sim_of(s.env)->used + taken);
        lsmkv_status status = put_lost(&s, false);
        lsm_sim_set_quota(s.env, 0);
        failed = status == LSMKV_DISK_FULL;
        CHECK(failed || (status == LSMKV_OK && taken > VALUE_SIZE));
        CHECK_EQ(refresh(&s), LSMKV_OK);
        CHECK_EQ(get(&s, NULL, "x"), failed ? 0 : 9);
        put(&s, "a", 1);
        CHECK_EQ(refresh(&s), LSMKV_OK);
        check_untold(&s);
    }
    end(&s);
}

/* Its record is whole, and looks like one that was acknowledged: to a follower, and to
 * the writer when it starts again. */
LSM_TEST(a_write_that_could_not_be_synced_is_shown_as_the_writer_will_recover_it) {
    lsmkv_error err;
    story s;

    start(&s);
    CHECK_OK(lsmkv_sync(s.writer, &err)); /* of the log's name, too */
    lsm_sim_fail(s.env, LSM_SIM_SYNC, 0, EIO, false);
    CHECK_STATUS(put_lost(&s, true), LSMKV_IO_ERROR);
    CHECK_EQ(refresh(&s), LSMKV_OK);
    CHECK_EQ(get(&s, NULL, "x"), 9);
    lsm_test_abandon(s.writer);
    open_one(&s, &s.writer, false);
    put(&s, "a", 1);
    CHECK_EQ(refresh(&s), LSMKV_OK);
    CHECK_EQ(get(&s, NULL, "x"), 9);
    check_untold(&s);
    end(&s);
}

/* Puts another database, with another "a", in the place of the one there is. */
static void replace_database(story *s) {
    lsmkv_error err;
    story other = {.env = lsm_sim_create(12)};
    lsm_dir *dirs[2] = {NULL, NULL};
    lsm_namelist lists[2] = {{0}, {0}};

    CHECK(other.env != NULL);
    open_one(&other, &other.writer, false);
    put(&other, "a", 3);
    close_db(other.writer);
    CHECK_OK(lsm_dir_open(s->env, SIM_PATH, false, &dirs[0], &err));
    CHECK_OK(lsm_dir_open(other.env, SIM_PATH, false, &dirs[1], &err));
    for (size_t i = 0; i < 2; i++) {
        CHECK_OK(lsm_dir_list(dirs[i], &lists[i], &err));
    }
    for (size_t i = 0; i < lists[0].count; i++) {
        CHECK_OK(lsm_dir_unlink(dirs[0], lists[0].names[i], &err));
    }
    for (size_t i = 0; i < lists[1].count; i++) {
        const uint8_t *data = NULL;
        size_t size = 0;
        CHECK(lsm_sim_file_read(other.env, SIM_PATH, lists[1].names[i], &data, &size));
        CHECK(lsm_sim_file_write(s->env, SIM_PATH, lists[1].names[i], data, size));
    }
    for (size_t i = 0; i < 2; i++) {
        lsm_namelist_deinit(&lists[i]);
        lsm_dir_close(dirs[i]);
    }
    lsm_sim_destroy(other.env);
}

LSM_TEST(a_follower_does_not_take_another_database_for_its_own) {
    lsmkv_error err;
    bool changed;
    story s;

    start(&s);
    CHECK_STATUS(lsmkv_refresh(s.writer, &changed, &err), LSMKV_INVALID_ARGUMENT);
    close_db(s.writer);
    replace_database(&s);
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(lsmkv_refresh(s.follower, &changed, &err), LSMKV_CHANGED);
        CHECK(strstr(err.message, "another database") != NULL);
    }
    CHECK_EQ(get(&s, NULL, "a"), 1);
    open_one(&s, &s.writer, false);
    end(&s);
}

LSM_TEST(a_follower_that_opens_without_memory_says_so) {
    bool failed = true;
    story s;

    start(&s);
    for (uint64_t n = 0; failed; n++) {
        lsmkv_error err;
        lsmkv_options options;
        lsmkv_db *db = NULL;
        lsmkv_options_init(&options);
        options.memory_bytes = 1 << 20;
        options.follower = true;
        lsm_alloc_fail_after(n, 0);
        lsmkv_status status = lsm_test_open(s.env, SIM_PATH, &options, &db, &err);
        lsm_alloc_fail_never();
        failed = status != LSMKV_OK;
        if (failed) {
            CHECK_EQ(status, LSMKV_NO_MEMORY);
        } else {
            close_db(db);
        }
        CHECK(n < 1000);
    }
    end(&s);
}

/* An environment whose directories have stamps, and whose MANIFESTs can be gone. */
static struct {
    const lsm_env_ops *below;
    lsm_env_ops ops;
    bool stamped;
    uint64_t stamp;
    bool hides;
    uint64_t hidden; /* how often a MANIFEST was asked for meanwhile */
} altered;

static bool altered_stamp(lsm_dir *dir, uint64_t *stamp) {
    (void)dir;
    *stamp = altered.stamp;
    return altered.stamped;
}

static int altered_open(lsm_dir *dir, const char *name, lsm_open_mode mode,
                        lsm_file **filep) {
    if (altered.hides && strncmp(name, "MANIFEST", 8) == 0) {
        altered.hidden += 1;
        return ENOENT;
    }
    return altered.below->file_open(dir, name, mode, filep);
}

static void alter_env(story *s) {
    memset(&altered, 0, sizeof(altered));
    altered.below = s->env->ops;
    altered.ops = *s->env->ops;
    altered.ops.dir_stamp = altered_stamp;
    altered.ops.file_open = altered_open;
    s->env->ops = &altered.ops;
}

static uint64_t lists_in_refresh(story *s) {
    uint64_t before = lsm_sim_call_count(s->env, LSM_SIM_LIST);

    CHECK_EQ(refresh(s), LSMKV_OK);
    return lsm_sim_call_count(s->env, LSM_SIM_LIST) - before;
}

LSM_TEST(a_refresh_lists_the_directory_only_where_that_may_tell_something) {
    story s;

    start(&s);
    alter_env(&s);
    CHECK_EQ(lists_in_refresh(&s), 1); /* there is no stamp */
    CHECK_EQ(lists_in_refresh(&s), 1);
    altered.stamped = true;
    CHECK_EQ(lists_in_refresh(&s), 1);
    put(&s, "a", 3);
    CHECK_EQ(lists_in_refresh(&s), 0);
    CHECK_EQ(get(&s, NULL, "a"), 3);
    altered.stamp += 1;
    CHECK_EQ(lists_in_refresh(&s), 1);
    CHECK_EQ(lists_in_refresh(&s), 0);
    altered.stamp += 1;
    CHECK(lsm_sim_file_write(s.env, SIM_PATH, "000900.log", "", 0));
    CHECK_EQ(lists_in_refresh(&s), 1);
    CHECK_EQ(lists_in_refresh(&s), 1); /* that log may have got a header meanwhile */
    CHECK(lsm_sim_file_remove(s.env, SIM_PATH, "000900.log"));
    CHECK_EQ(lists_in_refresh(&s), 1);
    CHECK_EQ(lists_in_refresh(&s), 0);
    altered.stamped = false;
    put(&s, "a", 5);
    CHECK_EQ(lists_in_refresh(&s), 1);
    CHECK_EQ(get(&s, NULL, "a"), 5);
    end(&s);
}

LSM_TEST(a_refresh_that_finds_no_two_states_alike_gives_up) {
    lsmkv_error err;
    bool changed = true;
    story s;

    start(&s);
    alter_env(&s);
    put(&s, "a", 3);
    altered.hides = true;
    lsmkv_status status = lsmkv_refresh(s.follower, &changed, &err);
    CHECK(status == LSMKV_CHANGED || status == LSMKV_CORRUPTION);
    CHECK(!changed);
    CHECK(altered.hidden >= 50 && altered.hidden <= 200);
    check_untold(&s);
    altered.hides = false;
    CHECK_EQ(refresh(&s), LSMKV_OK);
    CHECK_EQ(get(&s, NULL, "a"), 3);
    end(&s);
}

/* A log that ends below what the tables are said to hold does not count any more. */
LSM_TEST(a_manifest_that_is_ahead_of_the_logs_comes_to_what_an_open_shows) {
    lsmkv_error err;
    lsm_edit edit;
    story s;
    story fresh;

    start(&s);
    lsm_edit_init(&edit);
    edit.has_last_sequence = true;
    edit.last_sequence = 1000;
    CHECK_OK(lsm_manifest_append(s.writer->manifest, &edit, &err));
    lsm_edit_deinit(&edit);
    CHECK_EQ(refresh(&s), LSMKV_OK);
    fresh = (story){.env = s.env};
    open_one(&fresh, &fresh.follower, true);
    CHECK_EQ(get(&fresh, NULL, "a"), 0);
    CHECK_EQ(get(&s, NULL, "a"), 0);
    CHECK_EQ(get(&s, NULL, "b"), 0);
    CHECK_EQ(lsm_test_sequence(s.follower), 1000);
    close_db(fresh.follower);
    end(&s);
}

/* The files of a checkpoint carry the name of the database that it was made of. */
LSM_TEST(a_follower_of_a_checkpoint_knows_where_its_files_come_from) {
    static uint8_t other[LSM_UUID_SIZE];
    lsmkv_error err;
    lsmkv_options options;
    story s;

    start(&s);
    CHECK_OK(lsmkv_flush(s.writer, &err));
    CHECK_OK(lsmkv_checkpoint(s.writer, "copy", &err));
    lsmkv_options_init(&options);
    for (int way = 0; way < 3; way++) {
        story copy = {.env = s.env};
        CHECK_OK(lsm_test_open(s.env, "copy", &options, &copy.writer, &err));
        options.follower = true;
        CHECK_OK(lsm_test_open(s.env, "copy", &options, &copy.follower, &err));
        options.follower = false;
        lsmkv_db *follower = copy.follower;
        CHECK_EQ(follower->origin_count, 1);
        close_db(copy.writer); /* the next one writes a MANIFEST of its own */
        CHECK_OK(lsm_test_open(s.env, "copy", &options, &copy.writer, &err));
        put(&copy, "a", 3);
        if (way == 1) { /* as if it were of another line */
            memcpy(follower->origins[0], other, sizeof(other));
        } else if (way == 2) {
            follower->origin_count = 0;
        }
        CHECK_EQ(refresh(&copy), way == 0 ? LSMKV_OK : LSMKV_CHANGED);
        CHECK_EQ(get(&copy, NULL, "a"), way == 0 ? 3 : 1);
        put(&copy, "a", 1);
        close_db(copy.follower);
        close_db(copy.writer);
    }
    end(&s);
}

static void put_cached(story *s, lsmkv_namespace *cache, uint8_t value) {
    lsmkv_error err;
    uint8_t bytes[VALUE_SIZE];
    lsmkv_write how = {.space = cache};

    memset(bytes, value, sizeof(bytes));
    CHECK_OK(lsmkv_put(s->writer, &how, (lsmkv_bytes){"k", 1},
                       (lsmkv_bytes){bytes, sizeof(bytes)}, &err));
}

/* The refresh of a log that leads into the file of a cache. false: all went well. */
static bool fail_with_cache(uint64_t n, int call) {
    lsmkv_error err;
    lsmkv_namespace *cache = NULL;
    lsmkv_namespace_how how = {.create = true,
                               .has_max_bytes = true,
                               .options = {.max_bytes = LSMKV_CACHE_BYTES_MIN}};
    story s;

    start(&s);
    CHECK_OK(lsmkv_namespace_open(s.writer, (lsmkv_bytes){"c", 1}, &how, &cache, &err));
    put_cached(&s, cache, 1);
    CHECK_EQ(refresh(&s), LSMKV_OK);
    put_cached(&s, cache, 2);
    put(&s, "a", 3);
    uint64_t count =
        call < 0 ? lsm_alloc_count() : lsm_sim_call_count(s.env, (lsm_sim_call)call);
    if (call < 0) {
        lsm_alloc_fail_after(n, 0);
    } else {
        lsm_sim_fail(s.env, (lsm_sim_call)call, n, EMFILE, false);
    }
    lsmkv_status status = refresh(&s);
    count =
        (call < 0 ? lsm_alloc_count() : lsm_sim_call_count(s.env, (lsm_sim_call)call)) -
        count;
    lsm_alloc_fail_never();
    lsm_sim_fail(s.env, LSM_SIM_SIZE, 0, 0, false);
    lsm_sim_fail(s.env, LSM_SIM_OPEN, 0, 0, false);
    if (status != LSMKV_OK) {
        CHECK(count > n);
        CHECK_EQ(status, call < 0 ? LSMKV_NO_MEMORY : LSMKV_IO_ERROR);
        CHECK_EQ(get(&s, NULL, "a"), 1);
        CHECK_EQ(refresh(&s), LSMKV_OK);
    }
    CHECK_EQ(get(&s, NULL, "a"), 3);
    lsmkv_namespace_free(cache);
    end(&s);
    return count > n;
}

LSM_TEST(refresh_of_a_cache_survives_whatever_fails) {
    static const int calls[] = {-1, LSM_SIM_OPEN, LSM_SIM_SIZE};

    for (size_t i = 0; i < LSM_ARRAY_COUNT(calls); i++) {
        uint64_t n = 0;
        while (fail_with_cache(n, calls[i])) {
            n++;
            CHECK(n < 1000);
        }
    }
}
