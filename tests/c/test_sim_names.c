/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: names survive a power failure as the directory syncs allow, a rename is atomic,
 * and a crashed copy and its original share nothing that either can change. Method:
 * short scripts crashed under many seeds, with counters for what must occur.
 */
#include "sim_help.h"

#include <errno.h>

enum { SEEDS = 2000 };

LSM_TEST(a_rename_is_atomic_and_pending_until_the_directory_is_synced) {
    const lsm_crash_mode modes[] = {LSM_CRASH_PREFIX, LSM_CRASH_DIR_SUBSET,
                                    LSM_CRASH_DIR_STRICT, LSM_CRASH_MIXED};
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    int old_seen = 0;
    int new_seen = 0;

    sim_write(dir, "CURRENT", "old");
    sim_sync_dir(dir);
    sim_write(dir, "tmp", "new");
    CHECK_OK(lsm_dir_rename(dir, "tmp", "CURRENT", &err));
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        lsm_env *crashed = sim_crash(env, seed, modes[seed % 4], 32);
        bool is_new = sim_holds(crashed, "CURRENT", "new");
        CHECK(is_new || sim_holds(crashed, "CURRENT", "old"));
        CHECK(!is_new || !sim_exists(crashed, "tmp"));
        new_seen += is_new;
        old_seen += !is_new;
        lsm_sim_destroy(crashed);
    }
    CHECK(old_seen > SEEDS / 10);
    CHECK(new_seen > SEEDS / 10);
    sim_sync_dir(dir);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        lsm_env *crashed = sim_crash(env, seed, modes[seed % 4], 32);
        CHECK(sim_holds(crashed, "CURRENT", "new"));
        CHECK(!sim_exists(crashed, "tmp"));
        lsm_sim_destroy(crashed);
    }
    sim_end(env, dir);
}

LSM_TEST(directory_subset_reorders_and_directory_prefix_does_not) {
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    int second_alone[2] = {0, 0};
    int first_alone[2] = {0, 0};

    sim_write(dir, "first", "1");
    sim_write(dir, "second", "2");
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int subset = (int)(seed % 2);
        lsm_env *crashed =
            sim_crash(env, seed, subset ? LSM_CRASH_DIR_SUBSET : LSM_CRASH_PREFIX, 32);
        bool first = sim_exists(crashed, "first");
        bool second = sim_exists(crashed, "second");
        first_alone[subset] += first && !second;
        second_alone[subset] += second && !first;
        lsm_sim_destroy(crashed);
    }
    CHECK(first_alone[0] > SEEDS / 20 && first_alone[1] > SEEDS / 20);
    CHECK_EQ(second_alone[0], 0);
    CHECK(second_alone[1] > SEEDS / 20);
    sim_end(env, dir);
}

LSM_TEST(an_unlinked_file_comes_back_until_the_directory_is_synced) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    int back = 0;

    sim_write(dir, "a", "text");
    sim_sync_dir(dir);
    CHECK_OK(lsm_dir_unlink(dir, "a", &err));
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        lsm_env *crashed = sim_crash(env, seed, LSM_CRASH_DIR_SUBSET, 32);
        back += sim_holds(crashed, "a", "text");
        lsm_sim_destroy(crashed);
    }
    CHECK(back > SEEDS / 4 && back < SEEDS - SEEDS / 4);
    sim_sync_dir(dir);
    lsm_env *crashed = sim_crash(env, 1, LSM_CRASH_STRICT, 32);
    CHECK(!sim_exists(crashed, "a"));
    lsm_sim_destroy(crashed);
    sim_end(env, dir);
}

LSM_TEST(a_name_used_again_shows_the_old_or_the_new_file) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    int counts[3] = {0, 0, 0};

    sim_write(dir, "a", "old");
    sim_sync_dir(dir);
    CHECK_OK(lsm_dir_unlink(dir, "a", &err));
    sim_write(dir, "a", "new");
    CHECK_OK(lsm_dir_unlink(dir, "a", &err));
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        lsm_env *crashed = sim_crash(env, seed, LSM_CRASH_DIR_SUBSET, 32);
        bool is_old = sim_holds(crashed, "a", "old");
        bool is_new = sim_holds(crashed, "a", "new");
        CHECK(is_old || is_new || !sim_exists(crashed, "a"));
        counts[is_old ? 0 : is_new ? 1 : 2]++;
        lsm_sim_destroy(crashed);
    }
    CHECK(counts[0] > 0 && counts[1] > 0 && counts[2] > 0);
    sim_end(env, dir);
}

LSM_TEST(an_unlink_takes_the_file_it_removed_and_no_other_of_that_name) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    int before = 0;

    sim_write(dir, "a", "mine");
    sim_write(dir, "b", "other");
    sim_sync_dir(dir);
    CHECK_OK(lsm_dir_rename(dir, "a", "b", &err));
    CHECK_OK(lsm_dir_unlink(dir, "b", &err));
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        lsm_env *crashed = sim_crash(env, seed, LSM_CRASH_DIR_SUBSET, 32);
        if (sim_exists(crashed, "a")) { /* without the rename, "b" is the other one */
            CHECK(sim_holds(crashed, "b", "other"));
            before++;
        }
        lsm_sim_destroy(crashed);
    }
    CHECK(before > 0 && before < SEEDS);
    sim_end(env, dir);
}

LSM_TEST(a_file_renamed_twice_never_has_two_names) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    int seen[3] = {0, 0, 0};

    sim_write(dir, "a", "text");
    sim_sync_dir(dir);
    CHECK_OK(lsm_dir_rename(dir, "a", "b", &err));
    CHECK_OK(lsm_dir_rename(dir, "b", "c", &err));
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        lsm_env *crashed = sim_crash(env, seed, LSM_CRASH_DIR_SUBSET, 32);
        int names[3] = {sim_holds(crashed, "a", "text"),
                        sim_holds(crashed, "b", "text"),
                        sim_holds(crashed, "c", "text")};
        CHECK_EQ(names[0] + names[1] + names[2], 1);
        for (int i = 0; i < 3; i++) {
            seen[i] += names[i];
        }
        lsm_sim_destroy(crashed);
    }
    CHECK(seen[0] > 0 && seen[1] > 0 && seen[2] > 0);
    sim_end(env, dir);
}

LSM_TEST(a_copy_and_its_original_do_not_disturb_each_other) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "log");
    lsm_lock *lock;
    lsm_dir *there;
    lsm_lock *other;

    sim_append(file, "shared");
    sim_sync(file);
    CHECK_OK(lsm_dir_lock(dir, "LOCK", &lock, &err));
    sim_sync_dir(dir);
    uint64_t before = lsm_sim_history_hash(env);
    lsm_env *copy = sim_crash(env, 1, LSM_CRASH_STRICT, 32);
    CHECK_OK(lsm_dir_open(copy, SIM_PATH, false, &there, &err));
    CHECK_OK(lsm_dir_lock(there, "LOCK", &other, &err)); /* locks are not copied */
    sim_write(there, "mine", "x");
    CHECK(lsm_sim_file_write(copy, SIM_PATH, "log", "damaged", 7));
    CHECK(sim_holds(env, "log", "shared"));
    CHECK(!sim_exists(env, "mine"));
    CHECK_EQ(lsm_sim_history_hash(env), before);

    lsm_env *second = sim_crash(env, 2, LSM_CRASH_STRICT, 32);
    sim_append(file, " and on");
    sim_sync(file);
    CHECK(sim_holds(second, "log", "shared"));
    CHECK(sim_holds(env, "log", "shared and on"));
    lsm_lock_release(other);
    lsm_lock_release(lock);
    lsm_file_drop(file);
    sim_end(env, dir);
    CHECK(sim_holds(second, "log", "shared")); /* nor does the end of the original */
    sim_end(copy, there);
    lsm_sim_destroy(second);
}

LSM_TEST(appends_to_two_copies_of_one_file_stay_apart) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "log");

    sim_append(file, "durable");
    sim_sync(file);
    sim_sync_dir(dir);
    sim_append(file, "+pending");
    lsm_env *copy = sim_crash(env, 1, LSM_CRASH_STRICT, 32);
    lsm_env *copy2 = sim_crash(env, 1, LSM_CRASH_ALL, 32);
    CHECK_OK(lsm_file_truncate(file, 3, &err));
    sim_append(file, "XYZXYZXYZ");
    CHECK(sim_holds(copy, "log", "durable"));
    CHECK(sim_holds(copy2, "log", "durable+pending"));
    lsm_env *copy3 = sim_crash(env, 1, LSM_CRASH_STRICT, 32);
    CHECK(sim_holds(copy3, "log", "durable")); /* the truncation is pending */
    CHECK(sim_holds(env, "log", "durXYZXYZXYZ"));
    lsm_sim_destroy(copy);
    lsm_sim_destroy(copy2);
    lsm_sim_destroy(copy3);
    lsm_file_drop(file);
    sim_end(env, dir);
}

LSM_TEST(a_link_gives_a_synced_file_a_second_name_that_outlives_the_first) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_dir *other;
    lsm_file *file;
    bool refused;
    lsm_env *env = sim_make(1, &dir);

    CHECK_OK(lsm_dir_open(env, "other", true, &other, &err));
    file = sim_create(dir, "a");
    sim_append(file, "text");
    sim_sync(file);
    lsm_file_drop(file);
    CHECK_OK(lsm_dir_link(dir, "a", other, &refused, &err));
    CHECK(!refused);
    CHECK_STATUS(lsm_dir_link(dir, "a", other, &refused, &err), LSMKV_IO_ERROR);
    CHECK_EQ(err.os_errno, EEXIST);
    CHECK(!refused);
    CHECK_STATUS(lsm_dir_link(dir, "b", other, &refused, &err), LSMKV_NOT_FOUND);
    lsm_sim_fail(env, LSM_SIM_LINK, 0, EXDEV, false);
    CHECK_STATUS(lsm_dir_link(dir, "b", other, &refused, &err), LSMKV_IO_ERROR);
    CHECK(refused);

    /* The name is pending until its directory is synced. */
    const uint8_t *data;
    size_t size;
    lsm_env *crashed = lsm_sim_crash(env, 1, LSM_CRASH_STRICT, 512);
    CHECK(crashed != NULL);
    CHECK(!lsm_sim_file_read(crashed, "other", "a", &data, &size));
    lsm_sim_destroy(crashed);
    sim_sync_dir(other);
    CHECK_OK(lsm_dir_unlink(dir, "a", &err));
    sim_sync_dir(dir);
    crashed = lsm_sim_crash(env, 1, LSM_CRASH_STRICT, 512);
    CHECK(crashed != NULL);
    CHECK(!lsm_sim_file_read(crashed, SIM_PATH, "a", &data, &size));
    CHECK(lsm_sim_file_read(crashed, "other", "a", &data, &size));
    CHECK_EQ(size, 4);
    CHECK_EQ(memcmp(data, "text", 4), 0);
    lsm_sim_destroy(crashed);
    lsm_dir_close(other);
    sim_end(env, dir);
}

LSM_TEST(only_an_empty_directory_is_removed_and_a_new_one_may_take_its_name) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_dir *again;
    lsm_env *env = sim_make(1, &dir);

    CHECK_STATUS(lsm_dir_remove(env, "nothing", &err), LSMKV_NOT_FOUND);
    lsm_file_drop(sim_create(dir, "a"));
    CHECK_STATUS(lsm_dir_remove(env, SIM_PATH, &err), LSMKV_IO_ERROR);
    CHECK_EQ(err.os_errno, ENOTEMPTY);
    CHECK_OK(lsm_dir_unlink(dir, "a", &err));
    CHECK_OK(lsm_dir_remove(env, SIM_PATH, &err));
    CHECK_STATUS(lsm_dir_open(env, SIM_PATH, false, &again, &err), LSMKV_NOT_FOUND);
    CHECK_OK(lsm_dir_open(env, SIM_PATH, true, &again, &err));
    lsm_dir_close(again);
    sim_end(env, dir);
}
