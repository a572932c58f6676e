/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: the wrappers of env complete what was short or interrupted, never repeat what
 * must not be repeated, end where nothing moves, and say what went wrong. Method: the
 * simulator's seeded odds and ordered failures, and stubs for what it does not do.
 */
#include "sim_help.h"

#include <errno.h>

#include "base/rng.h"

LSM_TEST(short_and_interrupted_calls_are_completed) {
    enum { SIZE = 5000 };
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(7, &dir);
    uint8_t bytes[SIZE];
    uint8_t found[SIZE];
    lsm_rng rng = {11};
    size_t got = 0;

    lsm_sim_set_short_odds(env, 900);
    for (int round = 0; round < 50; round++) {
        lsm_slice pieces[3];
        uint64_t appended = 0;
        size_t cut = (size_t)lsm_rng_below(&rng, SIZE);

        for (size_t i = 0; i < SIZE; i++) {
            bytes[i] = (uint8_t)lsm_rng_next(&rng);
        }
        pieces[0] = lsm_slice_make(bytes, cut);
        pieces[1] = lsm_slice_make(NULL, 0);
        pieces[2] = lsm_slice_make(bytes + cut, SIZE - cut);
        lsm_file *file = sim_create(dir, "a");
        CHECK_OK(lsm_file_append(file, pieces, 3, &appended, &err));
        CHECK_EQ(appended, SIZE);
        CHECK_OK(lsm_file_read(file, 0, found, SIZE, &got, &err));
        CHECK_EQ(got, SIZE);
        CHECK(memcmp(found, bytes, SIZE) == 0);
        CHECK_OK(lsm_file_read_exact(file, 100, found, SIZE - 100, &err));
        CHECK(memcmp(found, bytes + 100, SIZE - 100) == 0);
        CHECK_OK(lsm_file_close(file, &err));
        CHECK_OK(lsm_dir_unlink(dir, "a", &err));
    }
    /* It did interrupt: an undisturbed round makes one call of each kind. */
    CHECK(lsm_sim_call_count(env, LSM_SIM_APPEND) > 150);
    CHECK(lsm_sim_call_count(env, LSM_SIM_READ) > 300);
    sim_end(env, dir);
}

LSM_TEST(interruptions_without_end_are_an_error_and_not_a_loop) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(7, &dir);
    lsm_slice piece = lsm_slice_make("x", 1);
    char found[4];
    size_t got = 0;
    lsm_file *other = NULL;

    lsm_file *file = sim_create(dir, "a");
    sim_append(file, "abc");
    for (int call = 0; call < LSM_SIM_CALL_COUNT; call++) {
        lsm_sim_fail(env, (lsm_sim_call)call, 0, EINTR, true);
    }
    lsm_sim_fail(env, LSM_SIM_SIZE, 0, 0, false); /* by which an append says where */
    CHECK_STATUS(lsm_file_append(file, &piece, 1, NULL, &err), LSMKV_IO_ERROR);
    CHECK_EQ(err.os_errno, EINTR);
    CHECK_EQ(err.offset, 3);
    CHECK_STATUS(lsm_file_read(file, 0, found, 3, &got, &err), LSMKV_IO_ERROR);
    CHECK_EQ(got, 0);
    CHECK_STATUS(lsm_file_truncate(file, 0, &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_file_open(dir, "a", LSM_OPEN_READ, &other, &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_file_close(file, &err), LSMKV_IO_ERROR);
    sim_end(env, dir);
}

LSM_TEST(sync_rename_unlink_and_close_are_never_tried_twice) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(7, &dir);

    lsm_file *file = sim_create(dir, "a");
    lsm_sim_fail(env, LSM_SIM_SYNC, 0, EINTR, false);
    lsm_sim_fail(env, LSM_SIM_DIR_SYNC, 0, EINTR, false);
    lsm_sim_fail(env, LSM_SIM_RENAME, 0, EINTR, false);
    lsm_sim_fail(env, LSM_SIM_UNLINK, 0, EINTR, false);
    lsm_sim_fail(env, LSM_SIM_CLOSE, 0, EINTR, false);
    CHECK_STATUS(lsm_file_sync(file, &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_dir_sync(dir, &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_dir_rename(dir, "a", "b", &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_dir_unlink(dir, "a", &err), LSMKV_IO_ERROR);
    CHECK_STATUS(lsm_file_close(file, &err), LSMKV_IO_ERROR);
    CHECK_EQ(lsm_sim_call_count(env, LSM_SIM_SYNC), 1);
    CHECK_EQ(lsm_sim_call_count(env, LSM_SIM_DIR_SYNC), 1);
    CHECK_EQ(lsm_sim_call_count(env, LSM_SIM_RENAME), 1);
    CHECK_EQ(lsm_sim_call_count(env, LSM_SIM_UNLINK), 1);
    CHECK_EQ(lsm_sim_call_count(env, LSM_SIM_CLOSE), 1);
    sim_end(env, dir);
}

LSM_TEST(an_open_that_was_interrupted_once_succeeds) {
    lsm_dir *dir;
    lsm_env *env = sim_make(7, &dir);

    lsm_sim_fail(env, LSM_SIM_OPEN, 0, EINTR, false);
    lsm_file_drop(sim_create(dir, "a"));
    CHECK_EQ(lsm_sim_call_count(env, LSM_SIM_OPEN), 2);
    sim_end(env, dir);
}

LSM_TEST(errnos_become_statuses_with_file_and_text) {
    static const struct {
        int code;
        lsmkv_status status;
    } cases[] = {
        {ENOSPC, LSMKV_DISK_FULL}, {EDQUOT, LSMKV_DISK_FULL}, {EFBIG, LSMKV_DISK_FULL},
        {EIO, LSMKV_IO_ERROR},     {EROFS, LSMKV_IO_ERROR},   {EMFILE, LSMKV_IO_ERROR},
        {ENOENT, LSMKV_NOT_FOUND}, {ENOMEM, LSMKV_NO_MEMORY},
    };
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(7, &dir);
    lsm_slice piece = lsm_slice_make("x", 1);

    lsm_file *file = sim_create(dir, "000003.log");
    sim_append(file, "abc");
    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        lsm_sim_fail(env, LSM_SIM_APPEND, 0, cases[i].code, false);
        CHECK_STATUS(lsm_file_append(file, &piece, 1, NULL, &err), cases[i].status);
        CHECK_EQ(err.status, cases[i].status);
        CHECK_EQ(err.os_errno, cases[i].code);
        CHECK_EQ(err.offset, 3);
        CHECK(strcmp(err.file, "000003.log") == 0);
        CHECK(strstr(err.message, "append") != NULL);
        CHECK(strstr(err.message, strerror(cases[i].code)) != NULL);
        lsm_sim_fail(env, LSM_SIM_APPEND, 0, cases[i].code, false);
        CHECK_STATUS(lsm_file_append(file, &piece, 1, NULL, NULL), cases[i].status);
    }
    lsm_file_drop(file);
    sim_end(env, dir);
}

static int take_nothing(lsm_file *file, const lsm_slice *pieces, size_t count,
                        size_t *put) {
    (void)file;
    (void)pieces;
    (void)count;
    *put = 0;
    return 0;
}

static int know_no_size(lsm_file *file, uint64_t *size) {
    (void)file;
    *size = 0;
    return EIO;
}

enum { SLOW_SIZE = 3000 };

static bool slow_turn;
static size_t slow_taken;

/* Every second call is interrupted, the others move one byte. */
static int read_slowly(lsm_file *file, uint64_t offset, void *to, size_t size,
                       size_t *got) {
    (void)file;
    slow_turn = !slow_turn;
    *got = 0;
    if (!slow_turn && size > 0) {
        *(uint8_t *)to = (uint8_t)offset;
        *got = 1;
    }
    return slow_turn ? EINTR : 0;
}

static int append_slowly(lsm_file *file, const lsm_slice *pieces, size_t count,
                         size_t *put) {
    (void)file;
    slow_turn = !slow_turn;
    *put = 0;
    for (size_t i = 0; !slow_turn && *put == 0 && i < count; i++) {
        if (pieces[i].size > 0 && pieces[i].data[0] == (uint8_t)slow_taken) {
            slow_taken++;
            *put = 1;
        }
    }
    return slow_turn ? EINTR : 0;
}

LSM_TEST(any_number_of_interruptions_is_borne_as_long_as_there_is_progress) {
    const lsm_env_ops ops = {.file_read = read_slowly, .file_append = append_slowly};
    lsm_env env = {&ops, false};
    lsm_file file = {&env, "a"};
    uint8_t bytes[SLOW_SIZE];
    lsm_slice pieces[2] = {lsm_slice_make(bytes, 1000),
                           lsm_slice_make(bytes + 1000, SLOW_SIZE - 1000)};
    uint64_t appended = 0;
    size_t got = 0;
    lsmkv_error err;

    CHECK_OK(lsm_file_read(&file, 0, bytes, sizeof(bytes), &got, &err));
    CHECK_EQ(got, SLOW_SIZE);
    slow_taken = 0;
    CHECK_OK(lsm_file_append(&file, pieces, 2, &appended, &err));
    CHECK_EQ(appended, SLOW_SIZE);
    CHECK_EQ(slow_taken, SLOW_SIZE); /* each byte once, in order */
}

LSM_TEST(an_append_that_takes_nothing_for_ever_is_an_error) {
    const lsm_env_ops ops = {.file_append = take_nothing, .file_size = know_no_size};
    lsm_env env = {&ops, false};
    lsm_file file = {&env, "a"};
    lsm_slice piece = lsm_slice_make("x", 1);
    lsmkv_error err;

    CHECK_STATUS(lsm_file_append(&file, &piece, 1, NULL, &err), LSMKV_IO_ERROR);
    CHECK(err.offset == -1);
}

LSM_TEST(names_too_long_for_the_engine_are_left_out_of_lists) {
    lsm_namelist names = {0};
    char name[LSM_NAME_SIZE_MAX + 1];

    memset(name, 'n', sizeof(name));
    name[LSM_NAME_SIZE_MAX] = '\0';
    CHECK(lsm_namelist_add(&names, name));
    CHECK_EQ(names.count, 0);
    name[LSM_NAME_SIZE_MAX - 1] = '\0';
    CHECK(lsm_namelist_add(&names, name));
    CHECK_EQ(names.count, 1);
    CHECK(strcmp(names.names[0], name) == 0);
    lsm_namelist_deinit(&names);
}

static int write_nothing(lsm_file *file, uint64_t offset, lsm_slice piece,
                         size_t *put) {
    (void)file;
    (void)offset;
    (void)piece;
    *put = 0;
    return 0;
}

/* A part, and an error with it. */
static int append_and_fail(lsm_file *file, const lsm_slice *pieces, size_t count,
                           size_t *put) {
    (void)file;
    (void)pieces;
    (void)count;
    *put = 1;
    return EIO;
}

LSM_TEST(a_write_that_takes_nothing_or_fails_on_its_way_is_an_error) {
    const lsm_env_ops ops = {.file_write = write_nothing,
                             .file_append = append_and_fail,
                             .file_size = know_no_size};
    lsm_env env = {&ops, false};
    lsm_file file = {&env, "a"};
    lsm_slice piece = lsm_slice_make("xyz", 3);
    lsmkv_error err;

    CHECK_STATUS(lsm_file_write_at(&file, 7, &piece, 1, &err), LSMKV_IO_ERROR);
    CHECK_EQ(err.offset, 7);
    CHECK_STATUS(lsm_file_append(&file, &piece, 1, NULL, &err), LSMKV_IO_ERROR);
    CHECK_EQ(err.os_errno, EIO);
}

LSM_TEST(links_between_what_cannot_share_files_are_told_from_those_that_fail) {
    static const struct {
        int code;
        bool refused;
    } cases[] = {
        {EXDEV, true},  {EPERM, true}, {EMLINK, true},  {EOPNOTSUPP, true},
        {ENOSYS, true}, {EIO, false},  {ENOSPC, false},
    };
    lsmkv_error err;
    lsm_dir *dir;
    lsm_dir *other;
    lsm_env *env = sim_make(7, &dir);
    bool refused = true;

    sim_write(dir, "a", "bytes");
    CHECK_OK(lsm_dir_open(env, "other", true, &other, &err));
    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        lsm_sim_fail(env, LSM_SIM_LINK, 0, cases[i].code, false);
        CHECK(lsm_dir_link(dir, "a", other, &refused, &err) != LSMKV_OK);
        CHECK_EQ(err.os_errno, cases[i].code);
        CHECK_EQ(refused, cases[i].refused);
    }
    CHECK_OK(lsm_dir_link(dir, "a", other, &refused, &err));
    CHECK(!refused);
    lsm_dir_close(other);
    sim_end(env, dir);
}
