/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what the engine may rely on holds in both implementations of env. Method: one
 * body of assertions run over the operating system (in a fresh directory) and over the
 * simulator.
 */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "env/env.h"
#include "env/env_sim.h"

typedef struct place {
    lsm_env *env;
    lsm_dir *dir;
    char path[256];
} place;

static void run_posix(void (*body)(place *at)) {
    lsmkv_error err;
    place at = {.env = lsm_env_posix()};
    lsm_namelist names = {0};

    (void)snprintf(at.path, sizeof(at.path), "%s/lsmkv-env-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(at.path) != NULL);
    CHECK_OK(lsm_dir_open(at.env, at.path, false, &at.dir, &err));
    body(&at);
    CHECK_OK(lsm_dir_list(at.dir, &names, &err));
    for (size_t i = 0; i < names.count; i++) {
        CHECK_OK(lsm_dir_unlink(at.dir, names.names[i], &err));
    }
    lsm_namelist_deinit(&names);
    lsm_dir_close(at.dir);
    CHECK_EQ(rmdir(at.path), 0);
}

static void run_sim(void (*body)(place *at)) {
    lsmkv_error err;
    place at = {.env = lsm_sim_create(1), .path = "db"};

    CHECK(at.env != NULL);
    CHECK_OK(lsm_dir_open(at.env, at.path, true, &at.dir, &err));
    body(&at);
    lsm_dir_close(at.dir);
    lsm_sim_destroy(at.env);
}

/* A test of both implementations: NAME_posix and NAME_sim. */
#define BOTH(name)               \
    static void name(place *at); \
    LSM_TEST(name##_posix) {     \
        run_posix(name);         \
    }                            \
    LSM_TEST(name##_sim) {       \
        run_sim(name);           \
    }                            \
    static void name(place *at)

static lsm_file *create(place *at, const char *name) {
    lsmkv_error err;
    lsm_file *file;

    CHECK_OK(lsm_file_open(at->dir, name, LSM_OPEN_CREATE, &file, &err));
    return file;
}

static void append_text(lsm_file *file, const char *text) {
    lsmkv_error err;
    lsm_slice piece = lsm_slice_make(text, strlen(text));
    uint64_t appended = 0;

    CHECK_OK(lsm_file_append(file, &piece, 1, &appended, &err));
    CHECK_EQ(appended, piece.size);
}

static void write_text(place *at, const char *name, const char *text) {
    lsmkv_error err;
    lsm_file *file = create(at, name);

    append_text(file, text);
    CHECK_OK(lsm_file_sync(file, &err));
    CHECK_OK(lsm_file_close(file, &err));
}

static bool holds_text(lsm_file *file, const char *text) {
    lsmkv_error err;
    char found[256];
    size_t got = 0;

    CHECK_OK(lsm_file_read(file, 0, found, sizeof(found), &got, &err));
    return got == strlen(text) && memcmp(found, text, got) == 0;
}

static bool has_text(place *at, const char *name, const char *text) {
    lsmkv_error err;
    lsm_file *file;

    CHECK_OK(lsm_file_open(at->dir, name, LSM_OPEN_READ, &file, &err));
    bool same = holds_text(file, text);
    CHECK_OK(lsm_file_close(file, &err));
    return same;
}

static bool lists(place *at, const char *name) {
    lsmkv_error err;
    lsm_namelist names = {0};
    bool found = false;

    CHECK_OK(lsm_dir_list(at->dir, &names, &err));
    for (size_t i = 0; i < names.count; i++) {
        found = found || strcmp(names.names[i], name) == 0;
    }
    lsm_namelist_deinit(&names);
    return found;
}

BOTH(pieces_are_appended_in_order_and_read_back_at_any_offset) {
    lsmkv_error err;
    lsm_file *file = create(at, "a");
    lsm_slice pieces[] = {{NULL, 0},
                          lsm_slice_make("one,", 4),
                          {NULL, 0},
                          lsm_slice_make("two", 3),
                          {NULL, 0}};
    uint64_t appended = 99;
    uint64_t size = 0;
    size_t got = 99;
    char found[8] = {0};

    CHECK_OK(lsm_file_append(file, pieces, 5, &appended, &err));
    CHECK_EQ(appended, 7);
    CHECK_OK(lsm_file_append(file, NULL, 0, &appended, &err));
    CHECK_EQ(appended, 0);
    append_text(file, "!");
    CHECK_OK(lsm_file_size(file, &size, &err));
    CHECK_EQ(size, 8);
    CHECK(holds_text(file, "one,two!"));
    CHECK_OK(lsm_file_read(file, 4, found, 3, &got, &err));
    CHECK_EQ(got, 3);
    CHECK(memcmp(found, "two", 3) == 0);
    CHECK_OK(lsm_file_close(file, &err));
    CHECK(has_text(at, "a", "one,two!"));
}

BOTH(more_pieces_than_one_call_takes_are_all_written) {
    enum { COUNT = 1000 };
    lsmkv_error err;
    lsm_file *file = create(at, "a");
    uint8_t bytes[COUNT];
    uint8_t found[COUNT + 1];
    lsm_slice pieces[COUNT];
    size_t got = 0;

    for (size_t i = 0; i < COUNT; i++) {
        bytes[i] = (uint8_t)(i * 7);
        pieces[i] = lsm_slice_make(&bytes[i], 1);
    }
    CHECK_OK(lsm_file_append(file, pieces, COUNT, NULL, &err));
    CHECK_OK(lsm_file_read(file, 0, found, sizeof(found), &got, &err));
    CHECK_EQ(got, COUNT);
    CHECK(memcmp(found, bytes, COUNT) == 0);
    lsm_file_drop(file);
}

BOTH(a_read_past_the_end_gets_nothing_at_any_offset) {
    const uint64_t offsets[] = {
        3, 4, 1u << 20, INT64_MAX - 1, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};
    lsmkv_error err;
    lsm_file *file = create(at, "a");
    char found[16];

    append_text(file, "abc");
    for (size_t i = 0; i < LSM_ARRAY_COUNT(offsets); i++) {
        size_t got = 99;
        CHECK_OK(lsm_file_read(file, offsets[i], found, sizeof(found), &got, &err));
        CHECK_EQ(got, 0);
    }
    lsm_file_drop(file);
}

BOTH(an_exact_read_of_a_short_file_is_corruption_that_names_the_place) {
    lsmkv_error err;
    lsm_file *file = create(at, "000001.table");
    char found[8];

    append_text(file, "abcdef");
    CHECK_OK(lsm_file_read_exact(file, 2, found, 4, &err));
    CHECK(memcmp(found, "cdef", 4) == 0);
    CHECK_STATUS(lsm_file_read_exact(file, 2, found, 5, &err), LSMKV_CORRUPTION);
    CHECK(strcmp(err.file, "000001.table") == 0);
    CHECK_EQ(err.offset, 2);
    CHECK(strstr(err.message, "expected 5") != NULL);
    CHECK(strstr(err.message, "found 4") != NULL);
    lsm_file_drop(file);
}

BOTH(a_missing_file_is_not_found_and_an_existing_one_is_not_created) {
    lsmkv_error err;
    lsm_file *file = (lsm_file *)at;

    CHECK_STATUS(lsm_file_open(at->dir, "none", LSM_OPEN_READ, &file, &err),
                 LSMKV_NOT_FOUND);
    CHECK(file == NULL);
    CHECK_EQ(err.os_errno, ENOENT);
    CHECK(strcmp(err.file, "none") == 0);
    write_text(at, "a", "kept");
    CHECK_STATUS(lsm_file_open(at->dir, "a", LSM_OPEN_CREATE, &file, &err),
                 LSMKV_IO_ERROR);
    CHECK(file == NULL);
    CHECK_EQ(err.os_errno, EEXIST);
    CHECK(has_text(at, "a", "kept"));
}

BOTH(a_file_opened_for_reading_cannot_be_changed) {
    lsmkv_error err;
    lsm_file *file;
    lsm_slice piece = lsm_slice_make("x", 1);
    uint64_t appended = 99;

    write_text(at, "a", "kept");
    CHECK_OK(lsm_file_open(at->dir, "a", LSM_OPEN_READ, &file, &err));
    CHECK(strcmp(lsm_file_name(file), "a") == 0);
    CHECK_STATUS(lsm_file_append(file, &piece, 1, &appended, &err), LSMKV_IO_ERROR);
    CHECK_EQ(appended, 0);
    CHECK_EQ(err.os_errno, EBADF);
    CHECK_STATUS(lsm_file_truncate(file, 0, &err), LSMKV_IO_ERROR);
    CHECK(holds_text(file, "kept"));
    lsm_file_drop(file);
}

BOTH(rename_replaces_and_unlink_removes) {
    lsmkv_error err;

    write_text(at, "CURRENT", "old");
    write_text(at, "tmp", "new");
    CHECK_OK(lsm_dir_rename(at->dir, "tmp", "CURRENT", &err));
    CHECK(has_text(at, "CURRENT", "new"));
    CHECK(!lists(at, "tmp"));
    CHECK_OK(lsm_dir_rename(at->dir, "CURRENT", "CURRENT", &err));
    CHECK(has_text(at, "CURRENT", "new"));
    CHECK_OK(lsm_dir_unlink(at->dir, "CURRENT", &err));
    CHECK(!lists(at, "CURRENT"));
    CHECK_STATUS(lsm_dir_unlink(at->dir, "CURRENT", &err), LSMKV_NOT_FOUND);
    CHECK_STATUS(lsm_dir_rename(at->dir, "CURRENT", "b", &err), LSMKV_NOT_FOUND);
    CHECK(strcmp(err.file, "CURRENT") == 0);
    CHECK_OK(lsm_dir_sync(at->dir, &err));
}

BOTH(an_open_file_outlives_its_name) {
    lsmkv_error err;
    lsm_file *file = create(at, "a");

    append_text(file, "still");
    CHECK_OK(lsm_dir_unlink(at->dir, "a", &err));
    append_text(file, " here");
    CHECK(holds_text(file, "still here"));
    write_text(at, "a", "other");
    CHECK(holds_text(file, "still here"));
    CHECK_OK(lsm_file_close(file, &err));
}

BOTH(truncate_cuts_extends_and_appends_go_on_at_the_new_end) {
    lsmkv_error err;
    lsm_file *file = create(at, "a");
    char found[8];
    size_t got = 0;

    append_text(file, "abcdef");
    CHECK_OK(lsm_file_truncate(file, 3, &err));
    append_text(file, "XY");
    CHECK(holds_text(file, "abcXY"));
    CHECK_OK(lsm_file_truncate(file, 7, &err));
    append_text(file, "Z");
    CHECK_OK(lsm_file_read(file, 0, found, sizeof(found), &got, &err));
    CHECK_EQ(got, 8);
    CHECK(memcmp(found, "abcXY\0\0Z", 8) == 0);
    lsm_file_drop(file);
}

BOTH(hints_change_nothing_that_can_be_seen) {
    lsmkv_error err;
    lsm_file *file = create(at, "a");
    uint64_t size = 99;

    lsm_file_allocate(file, 1u << 20);
    lsm_file_will_need(file, 0, UINT64_MAX);
    CHECK_OK(lsm_file_size(file, &size, &err));
    CHECK_EQ(size, 0);
    append_text(file, "abc");
    lsm_file_allocate(file, 1);
    lsm_file_will_need(file, 0, 3);
    CHECK(holds_text(file, "abc"));
    lsm_file_drop(file);
}

BOTH(a_list_has_every_name_once_and_replaces_what_was_in_it) {
    lsmkv_error err;
    lsm_namelist names = {0};
    char name[LSM_NAME_SIZE_MAX];

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 40; i++) {
            (void)snprintf(name, sizeof(name), "%d-%06d", round, i);
            write_text(at, name, "");
        }
        CHECK_OK(lsm_dir_list(at->dir, &names, &err));
        CHECK_EQ(names.count, 40u * (unsigned)(round + 1));
    }
    CHECK(lists(at, "0-000000"));
    CHECK(lists(at, "1-000039"));
    lsm_namelist_deinit(&names);
}

BOTH(a_directory_is_found_made_once_and_opened_twice) {
    lsmkv_error err;
    lsm_dir *first = NULL;
    lsm_dir *second = NULL;
    lsm_file *file;
    char path[300];

    (void)snprintf(path, sizeof(path), "%s/sub", at->path);
    CHECK_STATUS(lsm_dir_open(at->env, path, false, &first, &err), LSMKV_NOT_FOUND);
    CHECK(first == NULL);
    CHECK(strstr(err.message, path) != NULL);
    CHECK_OK(lsm_dir_open(at->env, path, true, &first, &err));
    CHECK_OK(lsm_dir_open(at->env, path, true, &second, &err));
    CHECK_OK(lsm_file_open(first, "a", LSM_OPEN_CREATE, &file, &err));
    lsm_file_drop(file);
    CHECK_OK(lsm_dir_unlink(second, "a", &err));
    lsm_dir_close(first);
    lsm_dir_close(second);
    (void)rmdir(path); /* the simulator's is not there */
}

BOTH(a_lock_is_held_by_one_names_its_holder_and_leaves_its_file) {
    lsmkv_error err;
    lsm_lock *lock = NULL;
    lsm_lock *other = NULL;
    lsm_dir *again = NULL;

    CHECK_OK(lsm_dir_lock(at->dir, "LOCK", &lock, &err));
    CHECK_OK(lsm_dir_open(at->env, at->path, false, &again, &err));
    CHECK_STATUS(lsm_dir_lock(again, "LOCK", &other, &err), LSMKV_LOCKED);
    CHECK(other == NULL);
    CHECK_EQ(err.pid, getpid());
    CHECK_OK(lsm_dir_lock(again, "LOCK2", &other, &err));
    lsm_lock_release(other);
    lsm_dir_close(again);
    CHECK_STATUS(lsm_dir_lock(at->dir, "LOCK", &other, &err), LSMKV_LOCKED);
    lsm_lock_release(lock);
    CHECK(lists(at, "LOCK"));
    CHECK_OK(lsm_dir_lock(at->dir, "LOCK", &lock, &err));
    lsm_lock_release(lock);
    lsm_lock_release(NULL);
}

BOTH(entropy_differs_and_the_monotonic_clock_does_not_go_back) {
    uint8_t first[600];
    uint8_t second[600];
    uint64_t before = lsm_env_monotonic_us(at->env);

    lsm_env_entropy(at->env, first, sizeof(first));
    lsm_env_entropy(at->env, second, sizeof(second));
    CHECK(memcmp(first, second, 16) != 0);
    CHECK(memcmp(first + 584, second + 584, 16) != 0);
    CHECK(lsm_env_monotonic_us(at->env) >= before);
    CHECK(lsm_env_now_ms(at->env) > 1600000000000u);
}

BOTH(running_out_of_memory_is_no_memory_and_leaks_nothing) {
    lsmkv_error err;
    lsm_dir *dir = NULL;
    lsm_file *file = NULL;
    lsm_lock *lock = NULL;
    lsm_namelist names = {0};

    write_text(at, "a", "x");
    lsm_alloc_fail_after(0, 1);
    CHECK_STATUS(lsm_dir_open(at->env, at->path, false, &dir, &err), LSMKV_NO_MEMORY);
    CHECK_STATUS(lsm_dir_list(at->dir, &names, &err), LSMKV_NO_MEMORY);
    CHECK_STATUS(lsm_file_open(at->dir, "a", LSM_OPEN_READ, &file, &err),
                 LSMKV_NO_MEMORY);
    CHECK_STATUS(lsm_file_open(at->dir, "b", LSM_OPEN_CREATE, &file, &err),
                 LSMKV_NO_MEMORY);
    CHECK_STATUS(lsm_dir_lock(at->dir, "LOCK", &lock, &err), LSMKV_NO_MEMORY);
    lsm_alloc_fail_never();
    CHECK(dir == NULL && file == NULL && lock == NULL);
    CHECK(!lists(at, "b"));
    CHECK_OK(lsm_dir_lock(at->dir, "LOCK", &lock, &err));
    lsm_lock_release(lock);
    lsm_namelist_deinit(&names);
}

BOTH(closing_nothing_is_fine) {
    lsmkv_error err;

    (void)at;
    CHECK_OK(lsm_file_close(NULL, &err));
    lsm_file_drop(NULL);
    lsm_dir_close(NULL);
    lsm_lock_release(NULL);
}
