/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what a test orders from the simulator happens, exactly there and no more:
 * steps, hook, history, failures, fsyncgate, quota, clock, damage. Method: short
 * scripts with exact expectations; misuse is tried in a child process that must abort.
 */
#include "sim_help.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"

/* One of everything that is a step: eight of them. */
enum { SCRIPT_STEPS = 8 };

static void run_script(lsm_dir *dir, const char *bytes) {
    lsmkv_error err;
    lsm_file *file = sim_create(dir, "a");

    sim_append(file, bytes);
    sim_sync(file);
    CHECK_OK(lsm_file_truncate(file, 1, &err));
    lsm_file_drop(file);
    CHECK_OK(lsm_dir_rename(dir, "a", "b", &err));
    sim_sync_dir(dir);
    CHECK_OK(lsm_dir_unlink(dir, "b", &err));
    lsm_file_drop(sim_create(dir, "c"));
}

static uint64_t script_hash(uint64_t seed, const char *bytes, const char *name) {
    lsm_dir *dir;
    lsm_env *env = sim_make(seed, &dir);

    run_script(dir, bytes);
    lsm_file_drop(sim_create(dir, name));
    uint64_t hash = lsm_sim_history_hash(env);
    sim_end(env, dir);
    return hash;
}

LSM_TEST(equal_runs_have_equal_histories_and_others_have_not) {
    uint64_t hash = script_hash(1, "bytes", "d");

    CHECK_EQ(script_hash(1, "bytes", "d"), hash);
    CHECK(script_hash(1, "Bytes", "d") != hash);
    CHECK(script_hash(1, "bytes", "e") != hash);
    CHECK(script_hash(2, "bytes", "d") != hash);
}

typedef struct watcher {
    lsm_env *env;
    uint64_t calls;
    bool crash; /* at every step, and compare with what was seen before it */
    size_t sizes[SCRIPT_STEPS];
} watcher;

static void watch(void *context, uint64_t step) {
    watcher *seen = (watcher *)context;
    sim_text found = {{0}, 0};

    CHECK_EQ(step, seen->calls);
    seen->calls++;
    if (seen->crash && step < SCRIPT_STEPS) {
        lsm_env *crashed = sim_crash(seen->env, step, LSM_CRASH_ALL, 32);
        if (sim_look(crashed, "a", &found)) {
            seen->sizes[step] = found.size;
        }
        lsm_sim_destroy(crashed);
    }
}

LSM_TEST(the_hook_comes_before_every_step_and_may_crash_the_env) {
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    watcher seen = {.env = env, .crash = true};

    lsm_sim_set_hook(env, watch, &seen);
    run_script(dir, "bytes");
    CHECK_EQ(seen.calls, SCRIPT_STEPS);
    CHECK_EQ(lsm_sim_steps(env), SCRIPT_STEPS);
    CHECK_EQ(seen.sizes[1], 0); /* before the append */
    CHECK_EQ(seen.sizes[2], 5); /* before the sync */
    CHECK_EQ(seen.sizes[3], 5); /* before the truncation */
    CHECK_EQ(seen.sizes[4], 1); /* before the rename */
    uint64_t hash = lsm_sim_history_hash(env);
    lsm_sim_set_hook(env, NULL, NULL);
    lsm_file_drop(sim_create(dir, "d"));
    CHECK_EQ(seen.calls, SCRIPT_STEPS);
    CHECK(lsm_sim_history_hash(env) != hash);
    CHECK(script_hash(1, "bytes", "d") == lsm_sim_history_hash(env));
    sim_end(env, dir);
}

LSM_TEST(calls_that_change_nothing_are_no_steps) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "a");
    lsm_file *other = NULL;
    uint64_t steps = lsm_sim_steps(env);
    uint64_t hash = lsm_sim_history_hash(env);
    lsm_slice piece = lsm_slice_make("x", 1);
    char byte;
    size_t got;

    CHECK_STATUS(lsm_file_open(dir, "a", LSM_OPEN_CREATE, &other, &err),
                 LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_dir_unlink(dir, "none", &err), LSMKV_NOT_FOUND);
    CHECK_OK(lsm_file_append(file, NULL, 0, NULL, &err));
    CHECK_OK(lsm_file_read(file, 0, &byte, 1, &got, &err));
    lsm_sim_fail(env, LSM_SIM_APPEND, 0, EIO, false);
    CHECK_STATUS(lsm_file_append(file, &piece, 1, NULL, &err), LSMKV_IO_ERROR);
    CHECK_EQ(lsm_sim_steps(env), steps);
    CHECK_EQ(lsm_sim_history_hash(env), hash);
    lsm_file_drop(file);
    sim_end(env, dir);
}

LSM_TEST(a_failure_hits_the_ordered_call_once_or_from_then_on) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "a");
    lsm_slice piece = lsm_slice_make("x", 1);

    lsm_sim_fail(env, LSM_SIM_APPEND, 2, EIO, false);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(lsm_file_append(file, &piece, 1, NULL, &err),
                 i == 2 ? LSMKV_IO_ERROR : LSMKV_OK);
    }
    lsm_sim_fail(env, LSM_SIM_APPEND, 2, EIO, true);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(lsm_file_append(file, &piece, 1, NULL, &err),
                 i >= 2 ? LSMKV_IO_ERROR : LSMKV_OK);
    }
    lsm_sim_fail(env, LSM_SIM_APPEND, 0, 0, false);
    CHECK_OK(lsm_file_append(file, &piece, 1, NULL, &err));
    CHECK_EQ(lsm_sim_call_count(env, LSM_SIM_APPEND), 11);
    CHECK(sim_holds(env, "a", "xxxxxxx"));
    lsm_file_drop(file);
    sim_end(env, dir);
}

LSM_TEST(every_class_of_call_can_fail_and_then_does_nothing) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "a");
    lsm_file *other = NULL;
    lsm_slice piece = lsm_slice_make("x", 1);
    lsm_namelist names = {0};
    uint64_t size;
    char byte;
    size_t got;

    sim_append(file, "text");
    for (int call = 0; call < LSM_SIM_CALL_COUNT; call++) {
        lsm_sim_fail(env, (lsm_sim_call)call, 0, EIO, true);
    }
    CHECK_STATUS(lsm_file_open(dir, "a", LSM_OPEN_READ, &other, &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_file_open(dir, "b", LSM_OPEN_CREATE, &other, &err),
                 LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_file_read(file, 0, &byte, 1, &got, &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_file_append(file, &piece, 1, NULL, &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_file_sync(file, &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_dir_sync(dir, &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_dir_rename(dir, "a", "b", &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_dir_unlink(dir, "a", &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_file_truncate(file, 0, &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_dir_list(dir, &names, &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_file_size(file, &size, &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_file_close(file, &err), LSMKV_IO_ERROR);
    CHECK_EQ(err.os_errno, EIO);
    CHECK(sim_holds(env, "a", "text"));
    CHECK(!sim_exists(env, "b"));
    lsm_env *crashed = sim_crash(env, 1, LSM_CRASH_STRICT, 32);
    CHECK(!sim_exists(crashed, "a")); /* the failed directory sync synced nothing */
    lsm_sim_destroy(crashed);
    sim_end(env, dir);
}

LSM_TEST(a_failed_sync_leaves_the_bytes_pending_for_the_next) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "a");

    sim_sync_dir(dir);
    sim_append(file, "text");
    lsm_sim_fail(env, LSM_SIM_SYNC, 0, EIO, false);
    CHECK_STATUS(lsm_file_sync(file, &err), LSMKV_IO_ERROR);
    lsm_env *before = sim_crash(env, 1, LSM_CRASH_STRICT, 32);
    CHECK(sim_holds(before, "a", ""));
    sim_sync(file);
    lsm_env *after = sim_crash(env, 1, LSM_CRASH_STRICT, 32);
    CHECK(sim_holds(after, "a", "text"));
    lsm_sim_destroy(before);
    lsm_sim_destroy(after);
    lsm_file_drop(file);
    sim_end(env, dir);
}

/* A file of which "lost" failed to sync; what came before and after succeeded. */
static lsm_env *make_gated(lsm_dir **dir) {
    lsmkv_error err;
    lsm_env *env = sim_make(1, dir);
    lsm_file *file = sim_create(*dir, "a");

    lsm_sim_set_fsyncgate(env, true);
    sim_sync_dir(*dir);
    sim_append(file, "kept");
    sim_sync(file);
    sim_append(file, "lost");
    lsm_sim_fail(env, LSM_SIM_SYNC, 0, EIO, false);
    CHECK_STATUS(lsm_file_sync(file, &err), LSMKV_IO_ERROR);
    lsm_env *crashed = sim_crash(env, 1, LSM_CRASH_STRICT, 32);
    CHECK(sim_holds(crashed, "a", "kept"));
    lsm_sim_destroy(crashed);
    sim_append(file, "more");
    sim_sync(file);
    lsm_file_drop(file);
    return env;
}

LSM_TEST(under_fsyncgate_a_later_sync_says_success_and_the_bytes_are_gone) {
    lsm_dir *dir;
    lsm_env *env = make_gated(&dir);

    CHECK(sim_holds(env, "a", "keptlostmore")); /* the page cache says yes */
    for (int mode = 0; mode < LSM_CRASH_MODE_COUNT; mode++) {
        lsm_env *crashed = sim_crash(env, 3, (lsm_crash_mode)mode, 32);
        sim_text found;
        CHECK(sim_look(crashed, "a", &found));
        CHECK_EQ(found.size, 12);
        CHECK(memcmp(found.data, "kept", 4) == 0);
        CHECK(memcmp(found.data + 4, mode == LSM_CRASH_ALL ? "lost" : "\0\0\0\0", 4) ==
              0);
        CHECK(memcmp(found.data + 8, "more", 4) == 0);
        lsm_sim_destroy(crashed);
    }
    sim_end(env, dir);
}

LSM_TEST(what_fsyncgate_lost_stays_lost_through_a_process_crash) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_dir *there;
    lsm_file *file;
    lsm_env *env = make_gated(&dir);
    lsm_env *process = sim_crash(env, 1, LSM_CRASH_ALL, 32);
    sim_text found;

    CHECK(sim_holds(process, "a", "keptlostmore"));
    CHECK_OK(lsm_dir_open(process, SIM_PATH, false, &there, &err));
    CHECK_OK(lsm_file_open(there, "a", LSM_OPEN_READ, &file, &err));
    sim_sync(file); /* as a recovery might, wrongly, to be sure */
    lsm_env *power = sim_crash(process, 1, LSM_CRASH_STRICT, 32);
    CHECK(sim_look(power, "a", &found));
    CHECK(memcmp(found.data, "kept\0\0\0\0more", 12) == 0);
    lsm_sim_destroy(power);
    lsm_file_drop(file);
    sim_end(process, there);
    sim_end(env, dir);
}

LSM_TEST(bytes_written_again_after_a_loss_are_sound) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "a");

    lsm_sim_set_fsyncgate(env, true);
    sim_sync_dir(dir);
    sim_append(file, "kept");
    sim_sync(file);
    sim_append(file, "lost");
    lsm_sim_fail(env, LSM_SIM_SYNC, 0, EIO, false);
    CHECK_STATUS(lsm_file_sync(file, &err), LSMKV_IO_ERROR);
    CHECK_OK(lsm_file_truncate(file, 4, &err));
    sim_append(file, "sound");
    for (uint64_t seed = 0; seed < 200; seed++) {
        lsm_env *early = sim_crash(env, seed, LSM_CRASH_PREFIX, 32);
        sim_text found;
        CHECK(sim_look(early, "a", &found));
        /* Also where the truncation is taken back, what was lost does not return. */
        CHECK(found.size <= 4 || found.data[4] == 0 || found.data[4] == 's');
        lsm_sim_destroy(early);
    }
    sim_sync(file);
    lsm_env *crashed = sim_crash(env, 1, LSM_CRASH_STRICT, 32);
    CHECK(sim_holds(crashed, "a", "keptsound"));
    lsm_sim_destroy(crashed);
    lsm_file_drop(file);
    sim_end(env, dir);
}

LSM_TEST(a_loss_after_a_truncation_spares_the_durable_bytes) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "a");

    lsm_sim_set_fsyncgate(env, true);
    sim_sync_dir(dir);
    sim_append(file, "durable");
    sim_sync(file);
    CHECK_OK(lsm_file_truncate(file, 3, &err));
    sim_append(file, "LOST LOST");
    lsm_sim_fail(env, LSM_SIM_SYNC, 0, EIO, false);
    CHECK_STATUS(lsm_file_sync(file, &err), LSMKV_IO_ERROR);
    lsm_env *crashed = sim_crash(env, 1, LSM_CRASH_STRICT, 32);
    CHECK(sim_holds(crashed, "a", "durable"));
    lsm_sim_destroy(crashed);
    lsm_file_drop(file);
    sim_end(env, dir);
}

LSM_TEST(a_full_disk_takes_a_part_and_works_again_once_there_is_room) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "a");
    lsm_slice piece = lsm_slice_make("0123456789", 10);
    uint64_t appended = 0;

    sim_write(dir, "b", "123456");
    lsm_sim_set_quota(env, 10);
    CHECK_STATUS(lsm_file_append(file, &piece, 1, &appended, &err), LSMKV_DISK_FULL);
    CHECK_EQ(appended, 4);
    CHECK_EQ(err.os_errno, ENOSPC);
    CHECK_STATUS(lsm_file_append(file, &piece, 1, &appended, &err), LSMKV_DISK_FULL);
    CHECK_EQ(appended, 0);
    CHECK_OK(lsm_file_truncate(file, 0, &err));
    CHECK_OK(lsm_dir_unlink(dir, "b", &err));
    CHECK_OK(lsm_file_append(file, &piece, 1, &appended, &err));
    CHECK(sim_holds(env, "a", "0123456789"));
    lsm_sim_set_quota(env, 0);
    CHECK_OK(lsm_file_append(file, &piece, 1, &appended, &err));
    lsm_file_drop(file);
    sim_end(env, dir);
}

LSM_TEST(a_file_counts_against_the_quota_while_it_is_named_or_open) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *held = sim_create(dir, "held");
    lsm_file *file = sim_create(dir, "a");
    lsm_slice piece = lsm_slice_make("x", 1);

    lsm_sim_set_quota(env, 5);
    sim_append(held, "12345");
    CHECK_OK(lsm_dir_unlink(dir, "held", &err));
    CHECK_STATUS(lsm_file_append(file, &piece, 1, NULL, &err), LSMKV_DISK_FULL);
    lsm_file_drop(held);
    CHECK_OK(lsm_file_append(file, &piece, 1, NULL, &err));
    lsm_file_drop(file);
    /* A rename frees what it replaces; a crash counts anew. */
    sim_write(dir, "b", "1234");
    CHECK_OK(lsm_dir_rename(dir, "b", "a", &err));
    file = sim_create(dir, "c");
    sim_append(file, "x");
    CHECK_STATUS(lsm_file_append(file, &piece, 1, NULL, &err), LSMKV_DISK_FULL);
    lsm_env *crashed = sim_crash(env, 1, LSM_CRASH_ALL, 32);
    lsm_dir *there;
    CHECK_OK(lsm_dir_open(crashed, SIM_PATH, false, &there, &err));
    lsm_sim_set_quota(crashed, 6);
    lsm_file *more = sim_create(there, "d");
    CHECK_OK(lsm_file_append(more, &piece, 1, NULL, &err));
    CHECK_STATUS(lsm_file_append(more, &piece, 1, NULL, &err), LSMKV_DISK_FULL);
    lsm_file_drop(more);
    sim_end(crashed, there);
    lsm_file_drop(file);
    sim_end(env, dir);
}

LSM_TEST(clocks_move_when_told_and_only_the_wall_clock_goes_back) {
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    uint64_t wall = lsm_env_now_ms(env);
    uint64_t monotonic = lsm_env_monotonic_us(env);

    CHECK_EQ(lsm_env_now_ms(env), wall);
    lsm_sim_advance_ms(env, 1500);
    CHECK_EQ(lsm_env_now_ms(env), wall + 1500);
    CHECK_EQ(lsm_env_monotonic_us(env), monotonic + 1500000);
    lsm_sim_advance_ms(env, -3000);
    CHECK_EQ(lsm_env_now_ms(env), wall - 1500);
    CHECK_EQ(lsm_env_monotonic_us(env), monotonic + 1500000);
    lsm_env *crashed = sim_crash(env, 1, LSM_CRASH_STRICT, 32);
    CHECK_EQ(lsm_env_now_ms(crashed), wall - 1500);
    CHECK_EQ(lsm_env_monotonic_us(crashed), monotonic + 1500000);
    CHECK(!lsm_env_threaded(env) && !lsm_env_threaded(crashed));
    CHECK(lsm_env_threaded(lsm_env_posix()));
    lsm_sim_destroy(crashed);
    sim_end(env, dir);
}

LSM_TEST(entropy_repeats_with_the_seed_and_differs_after_a_crash) {
    lsm_env *first = lsm_sim_create(1);
    lsm_env *again = lsm_sim_create(1);
    lsm_env *crashed = sim_crash(first, 1, LSM_CRASH_STRICT, 32);
    lsm_env *other = sim_crash(first, 2, LSM_CRASH_STRICT, 32);
    uint64_t values[4] = {0};

    lsm_env_entropy(first, &values[0], 8);
    lsm_env_entropy(again, &values[1], 8);
    lsm_env_entropy(crashed, &values[2], 8);
    lsm_env_entropy(other, &values[3], 8);
    CHECK_EQ(values[0], values[1]);
    CHECK(values[2] != values[0]);
    CHECK(values[3] != values[0] && values[3] != values[2]);
    lsm_sim_destroy(first);
    lsm_sim_destroy(again);
    lsm_sim_destroy(crashed);
    lsm_sim_destroy(other);
}

LSM_TEST(damage_is_durable_and_reaches_open_files) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "a");
    const uint8_t *data;
    size_t size;
    char found[16];
    size_t got;

    sim_append(file, "pending");
    CHECK(lsm_sim_file_write(env, SIM_PATH, "a", "damaged bytes", 13));
    CHECK(lsm_sim_file_write(env, SIM_PATH, "b", "planted", 7));
    CHECK(!lsm_sim_file_write(env, "nowhere", "b", "planted", 7));
    CHECK_OK(lsm_file_read(file, 0, found, sizeof(found), &got, &err));
    CHECK_EQ(got, 13);
    CHECK(lsm_sim_file_read(env, SIM_PATH, "a", &data, &size));
    CHECK(lsm_sim_file_write(env, SIM_PATH, "a", data + 3, size - 3)); /* overlaps */
    lsm_env *crashed = sim_crash(env, 1, LSM_CRASH_STRICT, 32);
    CHECK(sim_holds(crashed, "a", "aged bytes"));
    CHECK(sim_holds(crashed, "b", "planted"));
    CHECK(lsm_sim_file_remove(env, SIM_PATH, "a"));
    CHECK(!lsm_sim_file_remove(env, SIM_PATH, "a"));
    CHECK(!lsm_sim_file_read(env, SIM_PATH, "a", &data, &size));
    CHECK(lsm_sim_file_write(env, SIM_PATH, "b", NULL, 0));
    lsm_sim_destroy(crashed);
    crashed = sim_crash(env, 1, LSM_CRASH_STRICT, 32);
    CHECK(!sim_exists(crashed, "a"));
    CHECK(sim_holds(crashed, "b", ""));
    lsm_sim_destroy(crashed);
    lsm_file_drop(file);
    sim_end(env, dir);
}

LSM_TEST(a_dump_is_the_current_files) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_dir *real;
    lsm_file *file;
    lsm_namelist names = {0};
    char path[256];
    char found[16];
    size_t got;

    (void)snprintf(path, sizeof(path), "%s/lsmkv-dump-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(path) != NULL);
    sim_write(dir, "a", "first");
    sim_write(dir, "empty", "");
    CHECK(lsm_sim_dump(env, SIM_PATH, path));
    CHECK(lsm_sim_file_write(env, SIM_PATH, "a", "second", 6));
    CHECK(lsm_sim_dump(env, SIM_PATH, path)); /* over the first one */
    CHECK(!lsm_sim_dump(env, "nowhere", path));
    CHECK_OK(lsm_dir_open(lsm_env_posix(), path, false, &real, &err));
    CHECK_OK(lsm_dir_list(real, &names, &err));
    CHECK_EQ(names.count, 2);
    lsm_namelist_deinit(&names);
    CHECK_OK(lsm_file_open(real, "a", LSM_OPEN_READ, &file, &err));
    CHECK_OK(lsm_file_read(file, 0, found, sizeof(found), &got, &err));
    CHECK(got == 6 && memcmp(found, "second", 6) == 0);
    lsm_file_drop(file);
    CHECK_OK(lsm_dir_unlink(real, "a", &err));
    CHECK_OK(lsm_dir_unlink(real, "empty", &err));
    lsm_dir_close(real);
    CHECK_EQ(rmdir(path), 0);
    sim_end(env, dir);
}

static void read_after_close(lsm_env *env, lsm_dir *dir) {
    lsm_file *file = sim_create(dir, "a");
    uint64_t size;

    (void)env;
    lsm_file_drop(file);
    CHECK_STATUS(lsm_file_size(file, &size, NULL), LSMKV_OK);
}

static void sync_dir_after_close(lsm_env *env, lsm_dir *dir) {
    (void)env;
    lsm_dir_close(dir);
    CHECK_STATUS(lsm_dir_sync(dir, NULL), LSMKV_OK);
}

static void close_twice(lsm_env *env, lsm_dir *dir) {
    lsm_file *file = sim_create(dir, "a");

    (void)env;
    lsm_file_drop(file);
    lsm_file_drop(file);
}

static void unlock_twice(lsm_env *env, lsm_dir *dir) {
    lsm_lock *lock;

    (void)env;
    if (lsm_dir_lock(dir, "LOCK", &lock, NULL) == LSMKV_OK) {
        lsm_lock_release(lock);
        lsm_lock_release(lock);
    }
}

static void destroy_with_open_files(lsm_env *env, lsm_dir *dir) {
    lsm_dir_close(dir);
    CHECK_STATUS(lsm_dir_open(env, SIM_PATH, false, &dir, NULL), LSMKV_OK);
    lsm_sim_destroy(env);
}

static void use_a_path_for_a_name(lsm_env *env, lsm_dir *dir) {
    (void)env;
    (void)sim_create(dir, "../a");
}

LSM_TEST(misuse_aborts) {
    static void (*const misuses[])(lsm_env *, lsm_dir *) = {
        read_after_close, sync_dir_after_close,    close_twice,
        unlock_twice,     destroy_with_open_files, use_a_path_for_a_name};

    for (size_t i = 0; i < LSM_ARRAY_COUNT(misuses); i++) {
        int status = 0;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            lsm_dir *dir;
            int nowhere = open("/dev/null", O_WRONLY);
            if (nowhere >= 0) {
                (void)dup2(nowhere, STDERR_FILENO);
            }
            lsm_env *env = sim_make(1, &dir);
            misuses[i](env, dir);
            _exit(0);
        }
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK(WIFSIGNALED(status));
        CHECK_EQ(WTERMSIG(status), SIGABRT);
    }
}

/* Runs the script with the n-th allocation failing, for all n. */
LSM_TEST(a_step_without_memory_fails_and_changes_nothing) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "a");
    lsm_slice piece = lsm_slice_make("0123456789", 10);
    char name[LSM_NAME_SIZE_MAX];
    int failures = 0;

    sim_sync_dir(dir);
    for (int round = 0; round < 40; round++) {
        lsm_file *other = NULL;
        uint64_t size = 0;
        lsm_alloc_fail_after((uint64_t)round % 3, 0);
        (void)snprintf(name, sizeof(name), "n%d", round);
        lsmkv_status status = lsm_file_open(dir, name, LSM_OPEN_CREATE, &other, &err);
        CHECK_EQ(sim_exists(env, name), status == LSMKV_OK);
        CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        failures += status != LSMKV_OK;
        lsm_file_drop(other);
        lsm_alloc_fail_after(0, 0);
        status = lsm_file_truncate(file, 3, &err);
        CHECK_OK(lsm_file_size(file, &size, &err));
        CHECK(status == LSMKV_OK || size != 3);
        lsm_alloc_fail_never();
        CHECK_OK(lsm_file_append(file, &piece, 1, NULL, &err));
        if (round % 5 == 0) {
            sim_sync_dir(dir);
        }
    }
    CHECK(failures > 20);
    lsm_file_drop(file);
    sim_end(env, dir);
}

/* Damage and dumps are made whole or not at all. */
LSM_TEST(a_disk_without_memory_takes_no_damage) {
    static const char *const names[] = {"new", "old"};
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    bool done = false;

    lsm_alloc_fail_after(0, 0);
    CHECK(lsm_sim_create(2) == NULL);
    lsm_alloc_fail_never();
    sim_write(dir, "old", "old bytes");
    sim_sync_dir(dir);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(names); i++) {
        done = false;
        for (uint64_t n = 0; !done; n++) {
            lsm_alloc_fail_after(n, 0);
            done = lsm_sim_file_write(env, SIM_PATH, names[i], "other bytes", 11);
            lsm_alloc_fail_never();
            CHECK_EQ(sim_holds(env, names[i], "other bytes"), done);
            CHECK(done || i == 0 || sim_holds(env, "old", "old bytes"));
        }
    }
    done = false;
    for (uint64_t n = 0; !done; n++) {
        lsm_alloc_fail_after(n, 0);
        done = lsm_sim_file_remove(env, SIM_PATH, "old");
        lsm_alloc_fail_never();
        CHECK_EQ(sim_exists(env, "old"), !done);
    }
    sim_end(env, dir);
}
