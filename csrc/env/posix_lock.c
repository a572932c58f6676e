/* SPDX-License-Identifier: Apache-2.0
 *
 * The database lock and what fork() does to it.
 *
 * The lock is an open-file-description lock (fcntl F_OFD_SETLK), or flock where there
 * is none, on the LOCK file: both belong to the open file and not to the process, so
 * neither a second open in this process nor its close can take the lock away, as it
 * would with plain fcntl locks. On top, a registry of the locks of this process, keyed
 * by device and inode of the directory, refuses a second lock under any path, also
 * where a file system does not honour locks.
 *
 * fork() copies the descriptor, and the copy shares the lock: an unlock in the child
 * would drop the parent's, and a copy that lives on would hold the lock after the
 * parent has closed. So a handler in the child closes the copies without unlocking and
 * empties the registry; releasing such a lock in the child only frees memory. The
 * parent releases by unlocking, which also covers a copy in a child that is about to
 * exec.
 *
 * LOCK holds "pid=N start=T\n": the holder and, where /proc tells, its start time in
 * clock ticks since boot, so that a reused pid can be told apart. It is information
 * only; a failure to write it does not matter.
 *
 * Threads: `registry_mu` guards the registry; the fork handlers hold it across fork.
 */
#include "env/env_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/list.h"

enum { LOCK_TEXT_SIZE = 64, PROC_TEXT_SIZE = 1024, START_FIELD = 22 };

typedef struct posix_lock {
    lsm_lock head;
    lsm_list link; /* in the registry, or alone after a fork */
    int fd;        /* owned; -1 after a fork */
    dev_t device;  /* of the directory */
    ino_t inode;
    char name[LSM_NAME_SIZE_MAX];
    char text[LOCK_TEXT_SIZE]; /* what the file is to say */
} posix_lock;

static pthread_mutex_t registry_mu = PTHREAD_MUTEX_INITIALIZER;
static lsm_list registry = {&registry, &registry};
static pthread_once_t watch_once = PTHREAD_ONCE_INIT;
static _Atomic uint64_t fork_generation;

static void before_fork(void) {
    (void)pthread_mutex_lock(&registry_mu);
}

static void after_fork_in_parent(void) {
    (void)pthread_mutex_unlock(&registry_mu);
}

static void after_fork_in_child(void) {
    atomic_fetch_add(&fork_generation, 1);
    while (!lsm_list_empty(&registry)) {
        posix_lock *lock = LSM_CONTAINER_OF(registry.next, posix_lock, link);
        (void)close(lock->fd);
        lock->fd = -1;
        lsm_list_remove(&lock->link);
    }
    (void)pthread_mutex_unlock(&registry_mu);
}

static void install_handlers(void) {
    int code = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    LSM_ASSERT(code == 0);
}

void lsm_fork_watch(void) {
    int code = pthread_once(&watch_once, install_handlers);
    LSM_ASSERT(code == 0);
}

uint64_t lsm_fork_generation(void) {
    /* Relaxed: it changes only in the child of fork, before any other thread exists. */
    return atomic_load_explicit(&fork_generation, memory_order_relaxed);
}

/* When this process started, in clock ticks since boot; 0 where nobody says. */
static uint64_t process_start(void) {
    char text[PROC_TEXT_SIZE];
    int fd = lsm_posix_openat(AT_FDCWD, "/proc/self/stat", O_RDONLY, 0);
    ssize_t size;

    if (fd < 0) {
        return 0;
    }
    size = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    if (size <= 0) {
        return 0;
    }
    text[size] = '\0';
    /* Field 2 is the command in parentheses and may hold anything, so the fields are
     * counted from the last one of them. */
    const char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < START_FIELD; field++) {
        at = strchr(at + 1, ' ');
    }
    return at == NULL ? 0 : strtoull(at + 1, NULL, 10);
}

void lsm_posix_process(uint64_t *pid, uint64_t *start) {
    *pid = (uint64_t)getpid();
    *start = process_start();
}

/* Overwrites in place and cuts then, so that a full disk is no obstacle. */
static void write_holder(const posix_lock *lock) {
    size_t size = strlen(lock->text);

    if (pwrite(lock->fd, lock->text, size, 0) != (ssize_t)size ||
        ftruncate(lock->fd, (off_t)size) != 0) {
        return;
    }
}

static int64_t read_holder(int fd) {
    char text[LOCK_TEXT_SIZE] = {0};
    ssize_t size = pread(fd, text, sizeof(text) - 1, 0);

    if (size <= 4 || memcmp(text, "pid=", 4) != 0) {
        return 0;
    }
    long long pid = strtoll(text + 4, NULL, 10);
    return pid > 0 ? pid : 0;
}

/* 0, EWOULDBLOCK when somebody else holds it, or another errno. */
static int try_lock(int fd) {
#ifdef F_OFD_SETLK
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &whole) == 0) {
        return 0;
    }
    if (errno == EAGAIN || errno == EACCES) {
        return EWOULDBLOCK;
    }
    if (errno != EINVAL && errno != ENOLCK && errno != EOPNOTSUPP) {
        return errno;
    }
#endif
    return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
}

static void drop_lock(int fd) {
#ifdef F_OFD_SETLK
    struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    (void)fcntl(fd, F_OFD_SETLK, &whole);
#endif
    (void)flock(fd, LOCK_UN);
    (void)close(fd);
}

static bool registered(const lsm_posix_dir *dir, const char *name) {
    for (const lsm_list *at = registry.next; at != &registry; at = at->next) {
        const posix_lock *lock =
            (const posix_lock *)((const char *)at - offsetof(posix_lock, link));
        if (lock->device == dir->device && lock->inode == dir->inode &&
            strcmp(lock->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Opens and locks the file for a lock that is not in the registry. */
static int acquire_locked(const lsm_posix_dir *dir, posix_lock *lock, int64_t *holder) {
    int code;

    lock->fd =
        lsm_posix_openat(dir->fd, lock->name,
                         O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, S_IRUSR | S_IWUSR);
    if (lock->fd < 0) {
        return errno;
    }
    code = lsm_posix_check_regular(lock->fd);
    if (code == 0) {
        (void)fchmod(lock->fd, S_IRUSR | S_IWUSR); /* as for all files: no umask */
        code = try_lock(lock->fd);
        *holder = code == EWOULDBLOCK ? read_holder(lock->fd) : 0;
    }
    if (code != 0) {
        (void)close(lock->fd);
        return code;
    }
    write_holder(lock);
    return 0;
}

int lsm_posix_lock(lsm_dir *head, const char *name, lsm_lock **lockp, int64_t *holder) {
    lsm_posix_dir *dir = LSM_CONTAINER_OF(head, lsm_posix_dir, head);
    posix_lock *lock = (posix_lock *)lsm_calloc(1, sizeof(*lock));
    int code;
    int size;

    if (lock == NULL) {
        return ENOMEM;
    }
    size = snprintf(lock->text, sizeof(lock->text), "pid=%lld start=%llu\n",
                    (long long)getpid(), (unsigned long long)process_start());
    LSM_ASSERT(size > 0 && (size_t)size < sizeof(lock->text));
    lock->head.env = head->env;
    lock->device = dir->device;
    lock->inode = dir->inode;
    memcpy(lock->name, name, strlen(name) + 1);

    (void)pthread_mutex_lock(&registry_mu);
    if (registered(dir, name)) {
        *holder = getpid();
        code = EWOULDBLOCK;
    } else {
        code = acquire_locked(dir, lock, holder);
    }
    if (code == 0) {
        lsm_list_insert(&registry, &lock->link);
    }
    (void)pthread_mutex_unlock(&registry_mu);

    if (code != 0) {
        lsm_free(lock);
        return code;
    }
    *lockp = &lock->head;
    return 0;
}

void lsm_posix_unlock(lsm_lock *head) {
    posix_lock *lock = LSM_CONTAINER_OF(head, posix_lock, head);

    (void)pthread_mutex_lock(&registry_mu);
    lsm_list_remove(&lock->link);
    if (lock->fd >= 0) {
        drop_lock(lock->fd);
    }
    (void)pthread_mutex_unlock(&registry_mu);
    lsm_free(lock);
}
