/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: without descriptors, memory or rights a call is an error with its errno and
 * leaves nothing half made; what no file can have is refused. Method: children that
 * lower their limits; offsets and sizes at the ends of their types.
 */
#include "posix_help.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "base/alloc.h"
#include "env/env_posix.h"

static bool has_file(const place *at, const char *name) {
    char path[300];
    struct stat info;

    (void)snprintf(path, sizeof(path), "%s/%s", at->path, name);
    return stat(path, &info) == 0;
}

/* From here on this process gets no further descriptor. */
static bool use_up_descriptors(void) {
    int next = dup(STDERR_FILENO);

    return next >= 0 && close(next) == 0 && set_limit(RLIMIT_NOFILE, (rlim_t)next);
}

static int create_with_the_reserve(void *context) {
    static const char *const names[] = {"b", "c"};
    const place *at = context;
    lsmkv_error err;
    lsm_file *file = NULL;
    lsm_lock *lock = NULL;

    if (!use_up_descriptors()) {
        return 1;
    }
    if (!failed(lsm_file_open(at->dir, "d", LSM_OPEN_SPARE, &file, &err), &err,
                LSMKV_IO_ERROR, EMFILE)) {
        return 7; /* it would be one less for those below */
    }
    for (size_t i = 0; i < LSM_ARRAY_COUNT(names); i++) {
        if (lsm_file_open(at->dir, names[i], LSM_OPEN_CREATE, &file, &err) !=
            LSMKV_OK) {
            return 2;
        }
    }
    if (!failed(lsm_file_open(at->dir, "d", LSM_OPEN_CREATE, &file, &err), &err,
                LSMKV_IO_ERROR, EMFILE) ||
        !lsm_error_is_file_limit(&err) || file != NULL || has_file(at, "d")) {
        return 3;
    }
    if (!failed(lsm_dir_lock(at->dir, "LOCK", &lock, &err), &err, LSMKV_IO_ERROR,
                EMFILE)) {
        return 4;
    }
    lsm_namelist names_found = {0};
    if (!failed(lsm_dir_list(at->dir, &names_found, &err), &err, LSMKV_IO_ERROR,
                EMFILE)) {
        return 5;
    }
    return failed(open_sub(at, &err), &err, LSMKV_IO_ERROR, EMFILE) && !has_sub(at) ? 0
                                                                                    : 6;
}

LSM_TEST(files_are_created_with_descriptors_kept_in_reserve) {
    check_child(create_with_the_reserve);
}

/* Descriptor 0 is free, and may not be used; there is none above. */
static int open_below_the_streams(void *context) {
    const place *at = context;
    lsmkv_error err;
    lsm_file *file = NULL;

    if (close(STDIN_FILENO) != 0 || !set_limit(RLIMIT_NOFILE, 3)) {
        return 1;
    }
    if (lsm_file_open(at->dir, "b", LSM_OPEN_CREATE, &file, &err) != LSMKV_IO_ERROR ||
        has_file(at, "b")) {
        return 2;
    }
    if (lsm_file_open(at->dir, "file", LSM_OPEN_READ, &file, &err) != LSMKV_IO_ERROR ||
        !has_file(at, "file")) {
        return 3;
    }
    return fcntl(STDIN_FILENO, F_GETFD) == -1 ? 0 : 4;
}

LSM_TEST(nothing_is_left_of_a_file_whose_descriptor_cannot_be_moved_up) {
    check_child(open_below_the_streams);
}

/* As somebody who may enter the directory and not read it. */
static int open_in_a_private_parent(void *context) {
    const place *at = context;
    char path[300];
    lsmkv_error err;
    bool root = geteuid() == 0;

    (void)snprintf(path, sizeof(path), "%s/sub", at->path);
    if (mkdir(path, 0755) != 0 || chmod(path, 0755) != 0 ||
        chmod(at->path, 0311) != 0 || (root && seteuid(65534) != 0)) {
        return 1;
    }
    lsmkv_status status = open_sub(at, &err);
    if ((root && seteuid(0) != 0) || chmod(at->path, 0700) != 0) {
        return 2;
    }
    return status == LSMKV_OK && has_sub(at) ? 0 : 3;
}

LSM_TEST(a_directory_that_exists_opens_below_one_that_may_not_be_read) {
    check_child(open_in_a_private_parent);
}

LSM_TEST(a_directory_is_not_made_halfway_without_memory) {
    lsmkv_status status = LSMKV_NO_MEMORY;
    place at;

    set_up_file(&at);
    for (uint64_t n = 0; status != LSMKV_OK; n++) {
        lsmkv_error err;
        lsm_alloc_fail_after(n, 0);
        status = open_sub(&at, &err);
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        CHECK(n < 10);
    }
    CHECK(has_sub(&at));
    tear_down(&at);
}

LSM_TEST(places_that_no_file_has_are_refused_or_empty) {
    lsm_slice piece = lsm_slice_make("x", 1);
    const uint8_t *data = NULL;
    lsmkv_error err;
    uint64_t size = 0;
    size_t got = 9;
    char byte;
    place at;

    set_up_file(&at);
    CHECK_STATUS(lsm_file_write_at(at.file, UINT64_MAX - 8, &piece, 1, &err),
                 LSMKV_DISK_FULL);
    CHECK_EQ(err.os_errno, EFBIG);
    CHECK_STATUS(lsm_file_truncate(at.file, UINT64_MAX, &err), LSMKV_DISK_FULL);
    CHECK_EQ(err.os_errno, EFBIG);
    CHECK_OK(lsm_file_read(at.file, UINT64_MAX - 8, &byte, 1, &got, &err));
    CHECK_EQ(got, 0);
    CHECK(!lsm_file_map(at.file, UINT64_C(1) << 62, &data));
    CHECK(!lsm_file_map(at.file, 0, &data));
    lsm_file_allocate(at.file, UINT64_MAX);
    lsm_file_will_need(at.file, UINT64_MAX, 1);
    lsm_file_will_need(at.file, 1, UINT64_MAX);
    CHECK_OK(lsm_file_size(at.file, &size, &err));
    CHECK_EQ(size, 5);
    tear_down(&at);
}

LSM_TEST(pieces_larger_than_one_write_are_appended_whole) {
    enum { PIECE = 200 << 10 };
    lsmkv_error err;
    uint64_t appended = 0;
    place at;

    set_up_file(&at);
    uint8_t *bytes = lsm_alloc(PIECE);
    uint8_t *found = lsm_alloc(PIECE);
    CHECK(bytes != NULL && found != NULL);
    for (size_t i = 0; i < PIECE; i++) {
        bytes[i] = (uint8_t)(i * 7 + (i >> 8));
    }
    lsm_slice piece = lsm_slice_make(bytes, PIECE);
    lsm_slice pieces[] = {piece, piece, piece};
    CHECK_OK(lsm_file_append(at.file, pieces, 3, &appended, &err));
    CHECK_EQ(appended, 3 * PIECE);
    for (uint64_t i = 0; i < 3; i++) {
        CHECK_OK(lsm_file_read_exact(at.file, 5 + i * PIECE, found, PIECE, &err));
        CHECK(memcmp(found, bytes, PIECE) == 0);
    }
    lsm_free(bytes);
    lsm_free(found);
    tear_down(&at);
}

/* Tells the directory that it was changed this many seconds ago. */
static void set_age(const place *at, time_t seconds) {
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {0}};

    CHECK_EQ(clock_gettime(CLOCK_REALTIME, &times[1]), 0);
    times[1].tv_sec -= seconds;
    CHECK_EQ(utimensat(AT_FDCWD, at->path, times, 0), 0);
}

LSM_TEST(the_stamp_of_a_directory_counts_once_its_change_has_aged) {
    uint64_t stamp = 0;
    uint64_t again = 0;
    place at;

    set_up_file(&at);
    set_age(&at, 0);
    CHECK(!lsm_dir_stamp(at.dir, &stamp));
    set_age(&at, -100); /* changed by a clock that is ahead */
    CHECK(!lsm_dir_stamp(at.dir, &stamp));
    set_age(&at, 100);
    CHECK(lsm_dir_stamp(at.dir, &stamp));
    CHECK(lsm_dir_stamp(at.dir, &again));
    CHECK_EQ(stamp, again);
    set_age(&at, 50);
    CHECK(lsm_dir_stamp(at.dir, &again));
    CHECK(stamp != again);
    tear_down(&at);
}

LSM_TEST(locks_of_other_names_and_directories_are_others) {
    lsm_lock *locks[3] = {NULL};
    lsmkv_error err;
    place at;
    place other;

    set_up_file(&at);
    set_up_file(&other);
    CHECK_OK(lsm_dir_lock(at.dir, "LOCK", &locks[0], &err));
    CHECK_OK(lsm_dir_lock(at.dir, "LOCK2", &locks[1], &err));
    CHECK_OK(lsm_dir_lock(other.dir, "LOCK", &locks[2], &err));
    for (size_t i = 0; i < LSM_ARRAY_COUNT(locks); i++) {
        lsm_lock_release(locks[i]);
    }
    tear_down(&at);
    tear_down(&other);
}

LSM_TEST(what_is_no_descriptor_is_no_regular_file) {
    CHECK_EQ(lsm_posix_check_regular(-1), EBADF);
}
