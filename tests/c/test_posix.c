/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: the promises that only the operating system can break: modes, links, planted
 * files, descriptors, limits, locks between processes and across fork. Method: real
 * files in a fresh directory; child processes report through their exit status.
 */
#include "posix_help.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "env/env.h"

static void in_place(char *to, size_t size, const place *at, const char *name) {
    int length = snprintf(to, size, "%s/%s", at->path, name);
    CHECK(length > 0 && (size_t)length < size);
}

static lsmkv_status try_lock(const place *at, int64_t *holder) {
    lsmkv_error err = {0};
    lsm_lock *lock = NULL;
    lsmkv_status status = lsm_dir_lock(at->dir, "LOCK", &lock, &err);

    *holder = err.pid;
    lsm_lock_release(lock);
    return status;
}

/* Answers, from a process of its own, whether the lock can be taken. */
static bool lock_is_free(const place *at, pid_t expected_holder) {
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        int64_t holder = 0;
        lsmkv_status status = try_lock(at, &holder);
        if (status == LSMKV_OK) {
            leave_child(0);
        }
        leave_child(status == LSMKV_LOCKED && holder == expected_holder ? 1 : 2);
    }
    int code = exit_code_of(child);
    CHECK(code == 0 || code == 1);
    return code == 0;
}

LSM_TEST(modes_are_private_under_any_umask) {
    const mode_t masks[] = {0, 022, 077, 0777};
    lsmkv_error err;
    place at;
    lsm_file *file;
    lsm_dir *dir;
    lsm_lock *lock;
    struct stat info;
    char path[300];

    set_up(&at);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(masks); i++) {
        mode_t before = umask(masks[i]);
        CHECK_OK(lsm_file_open(at.dir, "a", LSM_OPEN_CREATE, &file, &err));
        in_place(path, sizeof(path), &at, "sub");
        CHECK_OK(lsm_dir_open(lsm_env_posix(), path, true, &dir, &err));
        (void)umask(before);
        CHECK_EQ(stat(path, &info), 0);
        CHECK_EQ(info.st_mode & 07777, 0700);
        in_place(path, sizeof(path), &at, "a");
        CHECK_EQ(stat(path, &info), 0);
        CHECK_EQ(info.st_mode & 07777, 0600);
        lsm_file_drop(file);
        lsm_dir_close(dir);
        CHECK_OK(lsm_dir_unlink(at.dir, "a", &err));
        in_place(path, sizeof(path), &at, "sub");
        CHECK_EQ(rmdir(path), 0);
    }
    CHECK_OK(lsm_dir_lock(at.dir, "LOCK", &lock, &err));
    in_place(path, sizeof(path), &at, "LOCK");
    CHECK_EQ(stat(path, &info), 0);
    CHECK_EQ(info.st_mode & 07777, 0600);
    lsm_lock_release(lock);
    tear_down(&at);
}

LSM_TEST(symbolic_links_are_neither_read_nor_written_through) {
    lsmkv_error err;
    place at;
    lsm_file *file;
    lsm_lock *lock;
    char path[300];
    struct stat info;

    set_up(&at);
    in_place(path, sizeof(path), &at, "link");
    CHECK_EQ(symlink("victim", path), 0);
    CHECK_STATUS(lsm_file_open(at.dir, "link", LSM_OPEN_READ, &file, &err),
                 LSMKV_IO_ERROR);
    CHECK_EQ(err.os_errno, ELOOP);
    CHECK_STATUS(lsm_file_open(at.dir, "link", LSM_OPEN_CREATE, &file, &err),
                 LSMKV_IO_ERROR);
    CHECK_EQ(err.os_errno, EEXIST);
    CHECK_STATUS(lsm_dir_lock(at.dir, "link", &lock, &err), LSMKV_IO_ERROR);
    in_place(path, sizeof(path), &at, "victim");
    CHECK_EQ(stat(path, &info), -1);
    tear_down(&at);
}

LSM_TEST(a_link_is_the_same_file_and_never_replaces_one) {
    lsmkv_error err;
    place at;
    place other;
    lsm_file *file;
    char path[300];
    struct stat a;
    struct stat b;
    bool refused;

    set_up(&at);
    set_up(&other);
    CHECK_OK(lsm_file_open(at.dir, "a", LSM_OPEN_CREATE, &file, &err));
    lsm_file_drop(file);
    CHECK_OK(lsm_dir_link(at.dir, "a", other.dir, &refused, &err));
    in_place(path, sizeof(path), &at, "a");
    CHECK_EQ(stat(path, &a), 0);
    in_place(path, sizeof(path), &other, "a");
    CHECK_EQ(stat(path, &b), 0);
    CHECK(a.st_ino == b.st_ino && a.st_nlink == 2);
    CHECK_STATUS(lsm_dir_link(at.dir, "a", other.dir, &refused, &err), LSMKV_IO_ERROR);
    CHECK_EQ(err.os_errno, EEXIST);
    CHECK(!refused);
    CHECK_STATUS(lsm_dir_link(at.dir, "b", other.dir, &refused, &err), LSMKV_NOT_FOUND);
    CHECK_STATUS(lsm_dir_remove(lsm_env_posix(), other.path, &err), LSMKV_IO_ERROR);
    CHECK_OK(lsm_dir_unlink(other.dir, "a", &err));
    tear_down(&other);
    CHECK_OK(lsm_dir_unlink(at.dir, "a", &err));
    in_place(path, sizeof(path), &at, "sub");
    CHECK_EQ(mkdir(path, 0700), 0);
    CHECK_OK(lsm_dir_remove(lsm_env_posix(), path, &err));
    CHECK_EQ(stat(path, &a), -1);
    tear_down(&at);
}

LSM_TEST(what_is_no_regular_file_is_refused_without_waiting) {
    lsmkv_error err;
    place at;
    lsm_file *file;
    lsm_lock *lock;
    char path[300];

    set_up(&at);
    in_place(path, sizeof(path), &at, "fifo");
    CHECK_EQ(mkfifo(path, 0600), 0);
    CHECK_STATUS(lsm_file_open(at.dir, "fifo", LSM_OPEN_READ, &file, &err),
                 LSMKV_IO_ERROR);
    CHECK_EQ(err.os_errno, EINVAL);
    CHECK_STATUS(lsm_dir_lock(at.dir, "fifo", &lock, &err), LSMKV_IO_ERROR);
    in_place(path, sizeof(path), &at, "sub");
    CHECK_EQ(mkdir(path, 0700), 0);
    CHECK_STATUS(lsm_file_open(at.dir, "sub", LSM_OPEN_READ, &file, &err),
                 LSMKV_IO_ERROR);
    CHECK_EQ(err.os_errno, EISDIR);
    CHECK(file == NULL);
    CHECK_EQ(rmdir(path), 0);
    tear_down(&at);
}

LSM_TEST(a_file_is_no_directory) {
    lsmkv_error err;
    place at;
    lsm_file *file;
    lsm_dir *dir;
    char path[300];

    set_up(&at);
    CHECK_OK(lsm_file_open(at.dir, "a", LSM_OPEN_CREATE, &file, &err));
    lsm_file_drop(file);
    in_place(path, sizeof(path), &at, "a");
    CHECK_STATUS(lsm_dir_open(lsm_env_posix(), path, true, &dir, &err), LSMKV_IO_ERROR);
    CHECK_EQ(err.os_errno, ENOTDIR);
    in_place(path, sizeof(path), &at, "no/such");
    CHECK_STATUS(lsm_dir_open(lsm_env_posix(), path, true, &dir, &err),
                 LSMKV_NOT_FOUND);
    CHECK(dir == NULL);
    tear_down(&at);
}

LSM_TEST(a_new_directory_may_be_named_in_any_form) {
    static const char *const forms[] = {"x", "./x", "x/", "x//"};
    lsmkv_error err;
    place at;
    lsm_dir *dir;

    set_up(&at);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (chdir(at.path) != 0) {
            leave_child(1);
        }
        for (size_t i = 0; i < LSM_ARRAY_COUNT(forms); i++) {
            if (lsm_dir_open(lsm_env_posix(), forms[i], true, &dir, &err) != LSMKV_OK) {
                leave_child(2);
            }
            lsm_dir_close(dir);
            if (rmdir("x") != 0) {
                leave_child(3);
            }
        }
        leave_child(0);
    }
    CHECK_EQ(exit_code_of(child), 0);
    tear_down(&at);
}

LSM_TEST(work_goes_on_in_a_directory_that_was_renamed) {
    lsmkv_error err;
    place at;
    lsm_file *file;
    char moved[300];
    struct stat info;

    set_up(&at);
    (void)snprintf(moved, sizeof(moved), "%s-moved", at.path);
    CHECK_EQ(rename(at.path, moved), 0);
    CHECK_EQ(mkdir(at.path, 0700), 0);
    CHECK_OK(lsm_file_open(at.dir, "a", LSM_OPEN_CREATE, &file, &err));
    lsm_file_drop(file);
    CHECK_OK(lsm_dir_sync(at.dir, &err));
    CHECK_EQ(rmdir(at.path), 0); /* nothing was put into the new one */
    CHECK_EQ(rename(moved, at.path), 0);
    in_place(moved, sizeof(moved), &at, "a");
    CHECK_EQ(stat(moved, &info), 0);
    tear_down(&at);
}

/* Opens one of everything, with descriptors 0, 1 and 2 closed before or not. */
static int open_everything(const place *at, bool streams) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_file *created;
    lsm_file *read;
    lsm_lock *lock;
    lsm_namelist names = {0};

    for (int fd = 0; !streams && fd < 3; fd++) {
        (void)close(fd);
    }
    if (lsm_dir_open(lsm_env_posix(), at->path, true, &dir, &err) != LSMKV_OK ||
        lsm_file_open(dir, "a", LSM_OPEN_CREATE, &created, &err) != LSMKV_OK ||
        lsm_file_open(dir, "a", LSM_OPEN_READ, &read, &err) != LSMKV_OK ||
        lsm_dir_list(dir, &names, &err) != LSMKV_OK ||
        lsm_dir_lock(dir, "LOCK", &lock, &err) != LSMKV_OK) {
        return 1;
    }
    for (int fd = 0; !streams && fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) != -1) {
            return 2;
        }
    }
    for (int fd = 3; fd < 64; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags != -1 && (flags & FD_CLOEXEC) == 0) {
            return 3;
        }
    }
    return 0;
}

LSM_TEST(descriptors_are_above_the_standard_streams_and_close_on_exec) {
    place at;

    for (int streams = 0; streams < 2; streams++) {
        set_up(&at);
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            for (int fd = 3; fd < 64; fd++) {
                int flags = fcntl(fd, F_GETFD); /* what the host left open is its own */
                if (flags != -1 && (flags & FD_CLOEXEC) == 0) {
                    (void)close(fd);
                }
            }
            leave_child(open_everything(&at, streams == 1));
        }
        CHECK_EQ(exit_code_of(child), 0);
        tear_down(&at);
    }
}

LSM_TEST(running_out_of_descriptors_is_an_error_with_its_errno) {
    lsmkv_error err;
    place at;
    lsm_file *file;

    set_up(&at);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (!set_limit(RLIMIT_NOFILE, 3) ||
            lsm_file_open(at.dir, "a", LSM_OPEN_CREATE, &file, &err) !=
                LSMKV_IO_ERROR) {
            leave_child(1);
        }
        leave_child(err.os_errno == EMFILE ? 0 : 2);
    }
    CHECK_EQ(exit_code_of(child), 0);
    tear_down(&at);
}

/* Appends 100 bytes where the file may have 60. */
static int append_past_the_limit(const place *at) {
    static const uint8_t bytes[100];
    lsmkv_error err;
    lsm_file *file;
    lsm_slice piece = lsm_slice_make(bytes, sizeof(bytes));
    uint64_t appended = 0;
    uint64_t size = 0;

    if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR || !set_limit(RLIMIT_FSIZE, 60) ||
        lsm_file_open(at->dir, "a", LSM_OPEN_CREATE, &file, &err) != LSMKV_OK) {
        return 1;
    }
    if (lsm_file_append(file, &piece, 1, &appended, &err) != LSMKV_DISK_FULL) {
        return 2;
    }
    if (err.os_errno != EFBIG || appended != 60 || err.offset != 60) {
        return 3;
    }
    return lsm_file_size(file, &size, &err) == LSMKV_OK && size == 60 ? 0 : 4;
}

LSM_TEST(an_append_past_the_limit_says_how_much_was_taken) {
    place at;

    set_up(&at);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        leave_child(append_past_the_limit(&at));
    }
    CHECK_EQ(exit_code_of(child), 0);
    tear_down(&at);
}

LSM_TEST(the_lock_keeps_other_processes_out_and_tells_the_holder) {
    lsmkv_error err;
    place at;
    lsm_lock *lock;

    set_up(&at);
    CHECK_OK(lsm_dir_lock(at.dir, "LOCK", &lock, &err));
    CHECK(!lock_is_free(&at, getpid()));
    CHECK(!lock_is_free(&at, getpid())); /* the first try took nothing away */
    lsm_lock_release(lock);
    CHECK(lock_is_free(&at, 0));
    tear_down(&at);
}

LSM_TEST(the_lock_file_holds_pid_and_start_time) {
    lsmkv_error err;
    place at;
    lsm_lock *lock;
    lsm_file *file;
    char text[128] = {0};
    char again[128] = {0};
    size_t got = 0;
    long long pid = 0;
    unsigned long long start = 0;
    char *rest = NULL;

    set_up(&at);
    CHECK_OK(lsm_file_open(at.dir, "LOCK", LSM_OPEN_CREATE, &file, &err));
    memset(text, '#', 100); /* longer than what replaces it */
    lsm_slice piece = lsm_slice_make(text, 100);
    CHECK_OK(lsm_file_append(file, &piece, 1, NULL, &err));
    CHECK_OK(lsm_dir_lock(at.dir, "LOCK", &lock, &err));
    memset(text, 0, sizeof(text));
    CHECK_OK(lsm_file_read(file, 0, text, sizeof(text) - 1, &got, &err));
    CHECK(strncmp(text, "pid=", 4) == 0);
    pid = strtoll(text + 4, &rest, 10);
    CHECK(strncmp(rest, " start=", 7) == 0);
    start = strtoull(rest + 7, NULL, 10);
    CHECK_EQ(pid, getpid());
    (void)snprintf(again, sizeof(again), "pid=%lld start=%llu\n", pid, start);
    CHECK(strcmp(text, again) == 0);
#ifdef __linux__
    CHECK(start > 0);
#endif
    lsm_lock_release(lock);
    lsm_file_drop(file);
    tear_down(&at);
}

LSM_TEST(a_holder_that_cannot_be_read_is_unknown) {
    lsmkv_error err;
    place at;
    lsm_lock *lock;
    char path[300];

    set_up(&at);
    CHECK_OK(lsm_dir_lock(at.dir, "LOCK", &lock, &err));
    in_place(path, sizeof(path), &at, "LOCK");
    CHECK_EQ(truncate(path, 0), 0);
    CHECK(!lock_is_free(&at, 0));
    lsm_lock_release(lock);
    tear_down(&at);
}

LSM_TEST(one_process_cannot_lock_a_directory_twice_under_another_path) {
    lsmkv_error err;
    place at;
    lsm_lock *lock;
    lsm_lock *other;
    lsm_dir *dir;
    char path[300];

    set_up(&at);
    (void)snprintf(path, sizeof(path), "%s-link", at.path);
    CHECK_EQ(symlink(at.path, path), 0);
    CHECK_OK(lsm_dir_lock(at.dir, "LOCK", &lock, &err));
    CHECK_OK(lsm_dir_open(lsm_env_posix(), path, true, &dir, &err));
    CHECK_STATUS(lsm_dir_lock(dir, "LOCK", &other, &err), LSMKV_LOCKED);
    CHECK_EQ(err.pid, getpid());
    /* Nor when somebody removes the file under the holder. */
    CHECK_OK(lsm_dir_unlink(at.dir, "LOCK", &err));
    CHECK_STATUS(lsm_dir_lock(dir, "LOCK", &other, &err), LSMKV_LOCKED);
    lsm_lock_release(lock);
    lsm_dir_close(dir);
    CHECK_EQ(unlink(path), 0);
    tear_down(&at);
}

LSM_TEST(fork_raises_the_generation_in_the_child_alone) {
    CHECK(lsm_env_posix() != NULL); /* watches from here on */
    uint64_t before = lsm_fork_generation();
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        if (lsm_fork_generation() != before + 1) {
            leave_child(1);
        }
        pid_t grandchild = fork();
        if (grandchild == 0) {
            leave_child(lsm_fork_generation() == before + 2 ? 0 : 2);
        }
        int status = 0;
        bool fine = grandchild > 0 && waitpid(grandchild, &status, 0) == grandchild &&
                    WIFEXITED(status) && WEXITSTATUS(status) == 0;
        leave_child(fine && lsm_fork_generation() == before + 1 ? 0 : 3);
    }
    CHECK_EQ(exit_code_of(child), 0);
    CHECK_EQ(lsm_fork_generation(), before);
}

LSM_TEST(a_forked_child_that_releases_does_not_unlock_the_parent) {
    lsmkv_error err;
    place at;
    lsm_lock *lock;

    set_up(&at);
    CHECK_OK(lsm_dir_lock(at.dir, "LOCK", &lock, &err));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int64_t holder = 0;
        uint64_t live = lsm_alloc_live();
        lsm_lock_release(lock);
        if (lsm_alloc_live() != live - 1) {
            leave_child(1);
        }
        /* The registry of the child is its own, but the lock is still the parent's. */
        leave_child(try_lock(&at, &holder) == LSMKV_LOCKED && holder == getppid() ? 0
                                                                                  : 2);
    }
    CHECK_EQ(exit_code_of(child), 0);
    CHECK(!lock_is_free(&at, getpid()));
    lsm_lock_release(lock);
    tear_down(&at);
}

/* Locks, leaves a child behind that lives until `until` is closed, and dies, once that
 * child runs. */
static void die_holding_the_lock(const place *at, const int until[2]) {
    lsm_lock *lock = NULL;
    int runs[2];
    char byte = 'x';

    if (lsm_dir_lock(at->dir, "LOCK", &lock, NULL) != LSMKV_OK || pipe(runs) != 0) {
        leave_child(1);
    }
    pid_t child = fork();
    if (child == 0) {
        (void)close(until[1]);
        if (write(runs[1], &byte, 1) != 1) {
            leave_child(1);
        }
        ssize_t got = read(until[0], &byte, 1);
        leave_child(got == 0 ? 0 : 1);
    }
    leave_child(child > 0 && read(runs[0], &byte, 1) == 1 ? 0 : 2);
}

LSM_TEST(a_child_that_outlives_its_parent_does_not_keep_the_lock) {
    place at;
    int until[2];

    set_up(&at);
    CHECK_EQ(pipe(until), 0);
    pid_t holder = fork();
    CHECK(holder >= 0);
    if (holder == 0) {
        die_holding_the_lock(&at, until);
    }
    CHECK_EQ(exit_code_of(holder), 0);
    CHECK(lock_is_free(&at, 0));
    CHECK_EQ(close(until[0]), 0);
    CHECK_EQ(close(until[1]), 0);
    tear_down(&at);
}
