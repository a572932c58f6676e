/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a system call that fails is an error with its errno, leaves nothing half made,
 * and where there is another way, that is taken. Method: children that have the kernel
 * answer single system calls with an error (seccomp, and so on Linux alone).
 */
#ifdef __linux__
#include "posix_help.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "env/sync.h"

enum { ANY = -1 };

/* From here on the kernel answers this system call of this process with an error; with
 * `argument`, not ANY, only where that one has this value. */
static bool refuse(long number, int argument, uint32_t value, int code) {
    struct sock_filter any[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)code),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_filter one[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 (uint32_t)(offsetof(struct seccomp_data, args) +
                            8 * (size_t)(argument == ANY ? 0 : argument))),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)code),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {LSM_ARRAY_COUNT(any), any};

    if (argument != ANY) {
        program = (struct sock_fprog){LSM_ARRAY_COUNT(one), one};
    }
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* What the C library asks about an open file with. */
static bool refuse_stat(int code) {
    bool done = true;

#ifdef SYS_fstat
    done = done && refuse(SYS_fstat, ANY, 0, code);
#endif
#ifdef SYS_newfstatat
    done = done && refuse(SYS_newfstatat, ANY, 0, code);
#endif
    return done;
}

static int meet_unknown_files(void *context) {
    const place *at = context;
    lsm_namelist names = {0};
    lsm_file *file = NULL;
    lsm_dir *dir = NULL;
    uint64_t number = 0;
    lsmkv_error err;

    if (!refuse_stat(EIO)) {
        return 1;
    }
    if (!failed(lsm_file_size(at->file, &number, &err), &err, LSMKV_IO_ERROR, EIO)) {
        return 2;
    }
    if (!failed(lsm_file_open(at->dir, "file", LSM_OPEN_READ, &file, &err), &err,
                LSMKV_IO_ERROR, EIO) ||
        file != NULL) {
        return 3;
    }
    if (!failed(lsm_dir_open(lsm_env_posix(), at->path, false, &dir, &err), &err,
                LSMKV_IO_ERROR, EIO) ||
        dir != NULL) {
        return 4;
    }
    if (!failed(lsm_dir_list(at->dir, &names, &err), &err, LSMKV_IO_ERROR, EIO)) {
        return 5;
    }
    return lsm_dir_stamp(at->dir, &number) ? 6 : 0;
}

LSM_TEST(files_that_the_system_says_nothing_about_are_not_opened) {
    check_child(meet_unknown_files);
}

static int meet_failing_syncs(void *context) {
    const place *at = context;
    char path[300];
    lsmkv_error err;

    if (!refuse(SYS_fsync, ANY, 0, EIO) || !refuse(SYS_fdatasync, ANY, 0, ENOSPC)) {
        return 1;
    }
    if (!failed(lsm_file_sync(at->file, &err), &err, LSMKV_DISK_FULL, ENOSPC) ||
        !failed(lsm_dir_sync(at->dir, &err), &err, LSMKV_IO_ERROR, EIO)) {
        return 2;
    }
    /* The one that is made goes again, the one that was there stays. */
    if (!failed(open_sub(at, &err), &err, LSMKV_IO_ERROR, EIO) || has_sub(at)) {
        return 3;
    }
    (void)snprintf(path, sizeof(path), "%s/sub", at->path);
    if (mkdir(path, 0700) != 0) {
        return 4;
    }
    return failed(open_sub(at, &err), &err, LSMKV_IO_ERROR, EIO) && has_sub(at) ? 0 : 5;
}

LSM_TEST(a_directory_whose_name_cannot_be_made_durable_is_not_made) {
    check_child(meet_failing_syncs);
}

static int meet_a_failing_chmod(void *context) {
    const place *at = context;
    lsmkv_error err;

#ifdef SYS_chmod
    if (!refuse(SYS_chmod, ANY, 0, EPERM)) {
        return 1;
    }
#endif
    if (!refuse(SYS_fchmodat, ANY, 0, EPERM)) {
        return 2;
    }
    return failed(open_sub(at, &err), &err, LSMKV_IO_ERROR, EPERM) && has_sub(at) ? 0
                                                                                  : 3;
}

LSM_TEST(a_directory_that_cannot_be_made_private_does_not_open) {
    check_child(meet_a_failing_chmod);
}

static int meet_failing_transfers(void *context) {
    const place *at = context;
    lsm_slice piece = lsm_slice_make("x", 1);
    lsmkv_error err;
    size_t got = 0;
    char byte;

    if (!refuse(SYS_pread64, ANY, 0, EIO) || !refuse(SYS_pwrite64, ANY, 0, ENOSPC) ||
        !refuse(SYS_pwritev, ANY, 0, EDQUOT) || !refuse(SYS_ftruncate, ANY, 0, EIO)) {
        return 1;
    }
    if (!failed(lsm_file_read(at->file, 0, &byte, 1, &got, &err), &err, LSMKV_IO_ERROR,
                EIO) ||
        got != 0) {
        return 2;
    }
    if (!failed(lsm_file_write_at(at->file, 9, &piece, 1, &err), &err, LSMKV_DISK_FULL,
                ENOSPC)) {
        return 3;
    }
    if (!failed(lsm_file_append(at->file, &piece, 1, NULL, &err), &err, LSMKV_DISK_FULL,
                EDQUOT)) {
        return 4;
    }
    if (!failed(lsm_file_truncate(at->file, 1, &err), &err, LSMKV_IO_ERROR, EIO)) {
        return 5;
    }
    /* Who holds a lock is only information. */
    lsm_lock *lock = NULL;
    lsmkv_status status = lsm_dir_lock(at->dir, "LOCK", &lock, &err);
    lsm_lock_release(lock);
    return status == LSMKV_OK ? 0 : 6;
}

LSM_TEST(reads_and_writes_that_fail_say_so) {
    check_child(meet_failing_transfers);
}

static int meet_a_failing_close(void *context) {
    const place *at = context;
    int fd = dup(STDERR_FILENO); /* and soon that of the file */
    lsm_file *file = NULL;
    lsmkv_error err;

    if (fd < 0 || close(fd) != 0 ||
        lsm_file_open(at->dir, "b", LSM_OPEN_CREATE, &file, &err) != LSMKV_OK ||
        !refuse(SYS_close, 0, (uint32_t)fd, EIO)) {
        return 1;
    }
    return failed(lsm_file_close(file, &err), &err, LSMKV_IO_ERROR, EIO) ? 0 : 2;
}

LSM_TEST(a_close_that_fails_says_so) {
    check_child(meet_a_failing_close);
}

static int meet_failing_lists(void *context) {
    const place *at = context;
    lsm_namelist names = {0};
    lsmkv_error err;

    return refuse(SYS_getdents64, ANY, 0, EIO) &&
                   failed(lsm_dir_list(at->dir, &names, &err), &err, LSMKV_IO_ERROR,
                          EIO)
               ? 0
               : 1;
}

LSM_TEST(a_list_that_breaks_off_is_no_list) {
    check_child(meet_failing_lists);
}

static int meet_a_full_system(void *context) {
    const place *at = context;
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    lsm_file *file = NULL;
    lsmkv_error err;

    return refuse(SYS_openat, 2, (uint32_t)flags, ENFILE) &&
                   failed(lsm_file_open(at->dir, "b", LSM_OPEN_CREATE, &file, &err),
                          &err, LSMKV_IO_ERROR, ENFILE) &&
                   lsm_error_is_file_limit(&err)
               ? 0
               : 1;
}

LSM_TEST(a_system_with_too_many_open_files_is_an_error_of_that_kind) {
    check_child(meet_a_full_system);
}

static int draw_without_getrandom(void *context) {
    uint8_t drawn[4][300];

    (void)context;
    if (!refuse(SYS_getrandom, ANY, 0, ENOSYS)) {
        return 1;
    }
    for (size_t i = 0; i < LSM_ARRAY_COUNT(drawn); i++) {
        memset(drawn[i], 0, sizeof(drawn[i]));
        lsm_env_entropy(lsm_env_posix(), drawn[i], sizeof(drawn[i]));
        /* Also what lies behind the most that the system gives at once. */
        for (size_t k = 0; k < i; k++) {
            if (memcmp(drawn[i], drawn[k], 16) == 0 ||
                memcmp(drawn[i] + 284, drawn[k] + 284, 16) == 0) {
                return 2;
            }
        }
    }
    return 0;
}

LSM_TEST(without_entropy_of_the_system_draws_still_differ) {
    check_child(draw_without_getrandom);
}

/* What somebody else gets, who tries to take the lock. */
static int try_to_lock(void *context) {
    const place *at = context;
    lsm_lock *lock = NULL;
    lsmkv_error err;
    lsmkv_status status = lsm_dir_lock(at->dir, "LOCK", &lock, &err);

    lsm_lock_release(lock);
    return status == LSMKV_LOCKED && err.pid == getppid() ? 0 : (int)status + 1;
}

static int lock_without_open_file_locks(void *context) {
    const place *at = context;
    lsm_lock *lock = NULL;
    lsmkv_error err;

    if (!refuse(SYS_fcntl, 1, F_OFD_SETLK, EINVAL)) {
        return 1;
    }
    if (lsm_dir_lock(at->dir, "LOCK", &lock, &err) != LSMKV_OK) {
        return 2;
    }
    if (run_child(try_to_lock, context) != 0) {
        return 3;
    }
    lsm_lock_release(lock);
    return run_child(try_to_lock, context) == (int)LSMKV_OK + 1 ? 0 : 4;
}

LSM_TEST(locks_of_whole_files_serve_where_others_are_not_to_be_had) {
    check_child(lock_without_open_file_locks);
}

static int lock_code;

static int lock_that_fails(void *context) {
    const place *at = context;
    lsm_lock *lock = NULL;
    lsmkv_error err;

    if (!refuse(SYS_fcntl, 1, F_OFD_SETLK, lock_code)) {
        return 1;
    }
    lsmkv_status status = lsm_dir_lock(at->dir, "LOCK", &lock, &err);
    if (lock_code == EACCES) {
        return status == LSMKV_LOCKED && err.pid == 0 ? 0 : 2;
    }
    return failed(status, &err, LSMKV_IO_ERROR, lock_code) && lock == NULL ? 0 : 3;
}

LSM_TEST(a_lock_that_fails_is_held_or_an_error) {
    static const int codes[] = {EACCES, EIO};

    for (size_t i = 0; i < LSM_ARRAY_COUNT(codes); i++) {
        lock_code = codes[i];
        check_child(lock_that_fails);
    }
}

static void do_nothing(void *context) {
    (void)context;
}

static bool starts_thread(void) {
    lsm_thread thread = {0};
    bool started = lsm_thread_start(&thread, do_nothing, NULL, "nothing");

    lsm_thread_join(&thread);
    return started;
}

static int start_without_threads(void *context) {
    uint64_t live = lsm_alloc_live();

    (void)context;
    if (!starts_thread()) {
        return 1;
    }
    lsm_alloc_fail_after(0, 0);
    if (starts_thread()) {
        return 2;
    }
#ifdef SYS_clone3
    if (!refuse(SYS_clone3, ANY, 0, EAGAIN)) {
        return 3;
    }
#endif
    if (!refuse(SYS_clone, ANY, 0, EAGAIN) || starts_thread()) {
        return 4;
    }
    return lsm_alloc_live() == live ? 0 : 5;
}

LSM_TEST(a_thread_that_cannot_be_had_leaves_nothing_behind) {
    check_child(start_without_threads);
}

static int start_without_signals(void *context) {
    (void)context;
    return refuse(SYS_rt_sigprocmask, ANY, 0, EPERM) && !starts_thread() ? 0 : 1;
}

LSM_TEST(a_thread_that_would_take_signals_is_not_started) {
    check_child(start_without_signals);
}

static int lower_itself(void *context) {
    (void)context;
    for (int round = 0; round < 2; round++) {
        lsm_thread_lower();
        if (sched_getscheduler(0) != SCHED_BATCH) {
            return 1 + round;
        }
    }
    return 0;
}

static int lower_itself_in_vain(void *context) {
    (void)context;
    if (!refuse(SYS_sched_getattr, ANY, 0, EPERM)) {
        return 1;
    }
    lsm_thread_lower();
    return sched_getscheduler(0) == SCHED_OTHER ? 0 : 2;
}

LSM_TEST(threads_are_lowered_once_and_only_where_their_policy_is_known) {
    check_child(lower_itself);
    check_child(lower_itself_in_vain);
}

#endif
