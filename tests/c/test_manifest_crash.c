/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: whenever the machine stops or a call fails while a MANIFEST is created,
 * appended to or rewritten, the next load finds the state before or the state after.
 * Method: one run of a whole history, with a crash of every kind before each of its
 * steps; every call and every allocation made to fail in turn.
 */
#include "manifest_help.h"

#include <errno.h>

#include "base/alloc.h"

enum {
    REWRITE_AFTER = 3, /* the index of the last edit in the old MANIFEST */
    REWRITE_NUMBER = 10,
    CRASH_SEEDS = 3,
};

typedef struct crash_watch {
    lsm_env *env;
    int acked; /* the index of the last edit that was acknowledged; -1: none */
    int asked; /* of the last one that was begun */
    uint64_t crashes;
    uint64_t old_states;
    uint64_t new_states;
} crash_watch;

/* What a load finds in `env` must be a state between acked and asked. */
static void check_state(lsm_env *env, crash_watch *watch, const char *how) {
    lsm_dir *dir = NULL;
    state_text found;
    lsmkv_error err;

    CHECK_OK(lsm_dir_open(env, SIM_PATH, false, &dir, &err));
    lsmkv_status status = load_text(dir, &found, &err);
    int state = status == LSMKV_OK ? history_find(&found) : -1;
    if ((status != LSMKV_OK && status != LSMKV_NOT_FOUND) || state < watch->acked ||
        state > watch->asked) {
        lsm_test_fail(__FILE__, __LINE__, "%s: %s, state %d, expected %d to %d: %s",
                      how, lsmkv_status_name(status), state, watch->acked, watch->asked,
                      status == LSMKV_OK ? found.text : err.message);
    }
    watch->old_states += state == watch->acked;
    watch->new_states += state != watch->acked;
    lsm_dir_close(dir);
}

static void crash_everyway(void *context, uint64_t step) {
    static const uint32_t sectors[] = {32, 64, 512};
    crash_watch *watch = context;

    for (int mode = 0; mode < LSM_CRASH_MODE_COUNT; mode++) {
        for (size_t i = 0; i < LSM_ARRAY_COUNT(sectors) * CRASH_SEEDS; i++) {
            char how[64];
            uint32_t sector = sectors[i % LSM_ARRAY_COUNT(sectors)];
            uint64_t seed = step * 1000 + i;
            (void)snprintf(how, sizeof(how), "step %llu mode %d sector %u seed %llu",
                           (unsigned long long)step, mode, sector,
                           (unsigned long long)seed);
            lsm_env *crashed =
                sim_crash(watch->env, seed, (lsm_crash_mode)mode, sector);
            check_state(crashed, watch, how);
            lsm_sim_destroy(crashed);
            watch->crashes++;
        }
    }
}

/* An edit that says everything that is there. */
static void describe(lsm_dir *dir, lsm_edit *everything) {
    count_sink sink = count_sink_make();
    lsm_manifest_state state;
    lsmkv_error err;

    CHECK_OK(lsm_manifest_load(dir, &sink.head, &state, &err));
    lsm_edit_init(everything);
    edit_numbers(everything, state.next_file, state.last_sequence, state.first_log);
    for (size_t i = 0; i < state.log_count; i++) {
        edit_log(everything, state.logs[i].number);
    }
    CHECK(lsm_edit_describe_version(everything, state.version));
    lsm_manifest_state_deinit(&state);
}

static lsmkv_status rewrite(lsm_dir *dir, const lsm_edit *everything,
                            lsm_wal_writer **writer, bool *renamed, lsmkv_error *err) {
    lsm_record_file_header header = manifest_header(REWRITE_NUMBER);

    return lsm_manifest_create(dir, &header, everything, writer, renamed, err);
}

LSM_TEST(a_crash_before_any_step_leaves_the_state_before_or_after) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    crash_watch watch = {.env = env, .acked = -1};
    bool renamed = false;
    lsmkv_error err;

    lsm_sim_set_hook(env, crash_everyway, &watch);
    lsm_wal_writer *writer = history_create(dir);
    watch.acked = 0;
    for (int i = 1; i < HISTORY_COUNT; i++) {
        if (i == REWRITE_AFTER + 1) {
            lsm_wal_writer *fresh = NULL;
            lsm_edit everything;
            describe(dir, &everything);
            CHECK_OK(rewrite(dir, &everything, &fresh, &renamed, &err));
            lsm_edit_deinit(&everything);
            CHECK_OK(lsm_wal_close(writer, &err));
            CHECK_OK(lsm_dir_unlink(dir, "MANIFEST-000002", &err));
            writer = fresh;
        }
        watch.asked = i;
        CHECK_OK(history_append(writer, i, &err));
        watch.acked = i;
    }
    CHECK_OK(lsm_wal_close(writer, &err));
    crash_everyway(&watch, lsm_sim_steps(env));
    lsm_sim_set_hook(env, NULL, NULL);
    (void)printf(
        "%llu crash states, %llu old and %llu new ", (unsigned long long)watch.crashes,
        (unsigned long long)watch.old_states, (unsigned long long)watch.new_states);
    CHECK(watch.new_states > 0 && watch.old_states > watch.new_states);
    sim_end(env, dir);
}

/* The MANIFEST up to REWRITE_AFTER. */
static lsm_wal_writer *write_old(lsm_dir *dir) {
    lsm_wal_writer *writer = history_create(dir);
    lsmkv_error err;

    for (int i = 1; i <= REWRITE_AFTER; i++) {
        CHECK_OK(history_append(writer, i, &err));
    }
    return writer;
}

/* Looks at the names alone: to look into a file would make it durable. */
static bool file_exists(lsm_dir *dir, const char *name) {
    lsm_namelist list = {0};
    bool found = false;
    lsmkv_error err;

    CHECK_OK(lsm_dir_list(dir, &list, &err));
    for (size_t i = 0; i < list.count; i++) {
        found = found || strcmp(list.names[i], name) == 0;
    }
    lsm_namelist_deinit(&list);
    return found;
}

/* After a rewrite that failed: every crash finds the state, and nothing is left behind
 * unless CURRENT may name it. */
static void check_failed_rewrite(lsm_env *env, lsm_dir *dir, bool renamed,
                                 const char *how) {
    crash_watch watch = {.env = env, .acked = REWRITE_AFTER, .asked = REWRITE_AFTER};

    check_state(env, &watch, how);
    crash_everyway(&watch, 1);
    if (!renamed) {
        CHECK(!file_exists(dir, "MANIFEST-000010"));
        CHECK(!file_exists(dir, LSM_CURRENT_TEMP_NAME));
    }
}

typedef struct failing_call {
    lsm_sim_call call;
    int os_errno;
    lsmkv_status status;
    const char *name;
    uint64_t count; /* of those calls in a rewrite that decide about it */
    uint64_t after_rename;
} failing_call;

static const failing_call rewrite_calls[] = {
    {LSM_SIM_OPEN, EMFILE, LSMKV_IO_ERROR, "open", 2, 0},
    {LSM_SIM_APPEND, ENOSPC, LSMKV_DISK_FULL, "append", 3, 0},
    {LSM_SIM_APPEND, EIO, LSMKV_IO_ERROR, "append", 3, 0},
    {LSM_SIM_SYNC, EIO, LSMKV_IO_ERROR, "sync", 2, 0},
    {LSM_SIM_DIR_SYNC, EIO, LSMKV_IO_ERROR, "dir_sync", 2, 1},
    {LSM_SIM_RENAME, EIO, LSMKV_IO_ERROR, "rename", 1, 1},
    {LSM_SIM_CLOSE, EIO, LSMKV_IO_ERROR, "close", 1, 0},
};

/* Rewrites with the call after `skip` others failing. true: the rewrite failed. */
static bool fail_rewrite(const failing_call *fails, uint64_t skip, bool *renamed) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    lsm_wal_writer *old = write_old(dir);
    lsm_wal_writer *fresh = NULL;
    lsm_edit everything;
    lsmkv_error err;

    describe(dir, &everything);
    *renamed = true;
    lsm_sim_set_fsyncgate(env, true);
    lsm_sim_fail(env, fails->call, skip, fails->os_errno, false);
    lsmkv_status status = rewrite(dir, &everything, &fresh, renamed, &err);
    lsm_sim_fail(env, fails->call, 0, 0, false);
    CHECK_EQ(status == LSMKV_OK, fresh != NULL);
    if (status != LSMKV_OK) {
        CHECK_EQ(status, fails->status);
        CHECK_EQ(err.os_errno, fails->os_errno);
        check_failed_rewrite(env, dir, *renamed, fails->name);
        if (!*renamed) { /* the old MANIFEST goes on as if nothing had been */
            state_text found;
            CHECK_OK(history_append(old, REWRITE_AFTER + 1, &err));
            CHECK_OK(load_text(dir, &found, &err));
            CHECK_EQ(history_find(&found), REWRITE_AFTER + 1);
        }
    }
    CHECK_OK(lsm_wal_close(fresh, &err));
    CHECK_OK(lsm_wal_close(old, &err));
    lsm_edit_deinit(&everything);
    sim_end(env, dir);
    return status != LSMKV_OK;
}

LSM_TEST(a_rewrite_in_which_any_call_fails_leaves_the_state_readable) {
    for (size_t i = 0; i < LSM_ARRAY_COUNT(rewrite_calls); i++) {
        const failing_call *fails = &rewrite_calls[i];
        uint64_t failures = 0;
        uint64_t after_rename = 0;
        for (uint64_t skip = 0; skip < 6; skip++) {
            bool renamed;
            bool failed = fail_rewrite(fails, skip, &renamed);
            failures += failed;
            after_rename += failed && renamed;
        }
        CHECK_EQ(failures, fails->count);
        CHECK_EQ(after_rename, fails->after_rename);
    }
}

LSM_TEST(an_append_that_fails_ends_the_writer_and_leaves_either_state) {
    static const failing_call calls[] = {
        {LSM_SIM_APPEND, EIO, LSMKV_IO_ERROR, "append", 0, 0},
        {LSM_SIM_APPEND, ENOSPC, LSMKV_DISK_FULL, "append", 0, 0},
        {LSM_SIM_SYNC, EIO, LSMKV_IO_ERROR, "sync", 0, 0},
    };

    for (size_t i = 0; i < 2 * LSM_ARRAY_COUNT(calls); i++) {
        const failing_call *fails = &calls[i / 2];
        lsm_dir *dir;
        lsm_env *env = manifest_env(1, &dir);
        crash_watch watch = {
            .env = env, .acked = REWRITE_AFTER, .asked = REWRITE_AFTER + 1};
        lsm_wal_writer *writer = write_old(dir);
        lsmkv_error err;

        lsm_sim_set_fsyncgate(env, i % 2 == 1);
        lsm_sim_fail(env, fails->call, 0, fails->os_errno, false);
        CHECK_STATUS(history_append(writer, REWRITE_AFTER + 1, &err), fails->status);
        CHECK(lsm_wal_dead(writer));
        CHECK_STATUS(history_append(writer, REWRITE_AFTER + 2, &err), fails->status);
        check_state(env, &watch, fails->name);
        crash_everyway(&watch, 1);
        CHECK_OK(lsm_wal_close(writer, &err));
        sim_end(env, dir);
    }
}

LSM_TEST(short_and_interrupted_calls_do_not_matter) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(3, &dir);
    state_text found;
    lsmkv_error err;

    lsm_sim_set_short_odds(env, 500);
    for (int i = 0; i < 20; i++) {
        lsm_sim_file_remove(env, SIM_PATH, "MANIFEST-000002");
        history_write(dir);
        CHECK_OK(load_text(dir, &found, &err));
        CHECK_EQ(history_find(&found), HISTORY_COUNT - 1);
    }
    sim_end(env, dir);
}

LSM_TEST(a_load_that_meets_an_error_of_the_system_reports_it_and_can_be_repeated) {
    static const lsm_sim_call calls[] = {LSM_SIM_OPEN, LSM_SIM_READ};
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    state_text found;
    lsmkv_error err;

    history_write(dir);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(calls); i++) {
        uint64_t failures = 0;
        for (uint64_t skip = 0; skip < 16; skip++) {
            lsm_sim_fail(env, calls[i], skip, EIO, false);
            lsmkv_status status = load_text(dir, &found, &err);
            lsm_sim_fail(env, calls[i], 0, 0, false);
            CHECK(status == LSMKV_OK || status == LSMKV_IO_ERROR);
            failures += status != LSMKV_OK;
            CHECK_OK(load_text(dir, &found, &err));
            CHECK_EQ(history_find(&found), HISTORY_COUNT - 1);
        }
        CHECK(failures >= 2);
    }
    sim_end(env, dir);
}

LSM_TEST(a_load_survives_every_failing_allocation) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    lsmkv_status status = LSMKV_NO_MEMORY;
    uint64_t failed = 0;
    state_text found;
    lsmkv_error err;

    history_write(dir);
    while (status != LSMKV_OK) {
        lsm_alloc_fail_after(failed, 0);
        status = load_text(dir, &found, &err);
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        failed += status != LSMKV_OK;
    }
    CHECK_EQ(history_find(&found), HISTORY_COUNT - 1);
    CHECK(failed > 10);
    sim_end(env, dir);
}

LSM_TEST(an_append_without_memory_leaves_the_writer_alive_or_the_file_in_doubt) {
    uint64_t alive = 0;

    for (uint64_t after = 0; after < 12; after++) {
        lsm_dir *dir;
        lsm_env *env = manifest_env(1, &dir);
        lsm_wal_writer *writer = write_old(dir);
        crash_watch watch = {
            .env = env, .acked = REWRITE_AFTER, .asked = REWRITE_AFTER + 1};
        lsmkv_error err;
        lsm_edit edit;

        history_edit(&edit, REWRITE_AFTER + 1);
        lsm_alloc_fail_after(after, 0);
        lsmkv_status status = lsm_manifest_append(writer, &edit, &err);
        lsm_alloc_fail_never();
        if (status == LSMKV_OK) {
            watch.acked = REWRITE_AFTER + 1;
        } else {
            CHECK_EQ(status, LSMKV_NO_MEMORY);
        }
        if (status != LSMKV_OK && !lsm_wal_dead(writer)) {
            watch.asked = REWRITE_AFTER; /* nothing was written */
            check_state(env, &watch, "alive");
            CHECK_OK(lsm_manifest_append(writer, &edit, &err));
            watch.acked = watch.asked = REWRITE_AFTER + 1;
            alive++;
        }
        check_state(env, &watch, "after");
        CHECK_OK(lsm_wal_close(writer, &err));
        lsm_edit_deinit(&edit);
        sim_end(env, dir);
    }
    CHECK(alive > 0);
}

LSM_TEST(a_rewrite_survives_every_failing_allocation) {
    lsmkv_status status = LSMKV_NO_MEMORY;
    uint64_t failed = 0;

    while (status != LSMKV_OK) {
        lsm_dir *dir;
        lsm_env *env = manifest_env(1, &dir);
        lsm_wal_writer *old = write_old(dir);
        lsm_wal_writer *fresh = NULL;
        lsm_edit everything;
        lsmkv_error err;
        bool renamed = false;

        describe(dir, &everything);
        lsm_alloc_fail_after(failed, 0);
        status = rewrite(dir, &everything, &fresh, &renamed, &err);
        lsm_alloc_fail_never();
        if (status != LSMKV_OK) {
            CHECK_EQ(status, LSMKV_NO_MEMORY);
            check_failed_rewrite(env, dir, renamed, "no memory");
            failed++;
        }
        CHECK_OK(lsm_wal_close(fresh, &err));
        CHECK_OK(lsm_wal_close(old, &err));
        lsm_edit_deinit(&everything);
        sim_end(env, dir);
    }
    CHECK(failed > 4);
}
