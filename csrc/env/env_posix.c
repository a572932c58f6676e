/* SPDX-License-Identifier: Apache-2.0
 *
 * env over POSIX: thin calls, each one system call where that is possible.
 *
 *   - Everything is relative to the descriptor of the open directory, so a directory
 *     that is renamed, replaced or unlinked meanwhile is still the one worked in.
 *   - Files are opened with O_NOFOLLOW and must be regular; O_NONBLOCK keeps the open
 *     of a planted FIFO from waiting. New files are O_EXCL, mode 0600 under any umask.
 *   - Descriptors are close-on-exec and never below 3. A directory keeps two in reserve
 *     for the files that a process out of descriptors must create to go on writing.
 *   - Appends go to the offset tracked here (the size as the engine knows it), so a
 *     failed append leaves nothing undefined for the next one.
 *   - A close is never retried: after EINTR the descriptor is gone, and its number
 *     may belong to another thread already.
 *
 * Threads: as env.h says; nothing here is shared between files.
 */
#include "env/env_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/random.h>
#endif

#include "base/alloc.h"
#include "base/assert.h"
#include "base/mutant.h"
#include "base/rng.h"

enum {
    FD_MIN = 3,
    IOV_COUNT = 64, /* pieces written by one call; more come in the next */
    /* Bytes likewise. For a larger write Linux takes larger folios for the page cache,
     * which are cold, and so copies several times slower. */
    APPEND_MAX = 256 << 10,
    ENTROPY_SIZE = 256, /* what getentropy gives at once */
    NS_PER_S = 1000000000,
    STAMP_AGE_S = 2,
};

/* Spreads a count over all bits; any odd number but that of the generator would do. */
#define ODD_MULTIPLIER UINT64_C(0xD1342543DE82EF95)

typedef struct posix_file {
    lsm_file head;
    int fd;        /* owned */
    uint64_t size; /* where the next append goes; of created files only */
} posix_file;

static posix_file *file_of(lsm_file *file) {
    return LSM_CONTAINER_OF(file, posix_file, head);
}

static lsm_posix_dir *dir_of(lsm_dir *dir) {
    return LSM_CONTAINER_OF(dir, lsm_posix_dir, head);
}

int lsm_posix_openat(int dir_fd, const char *name, int flags, mode_t mode) {
    int fd = openat(dir_fd, name, flags | O_CLOEXEC, mode);

    if (fd < 0 || fd >= FD_MIN) {
        return fd;
    }
    int high = fcntl(fd, F_DUPFD_CLOEXEC, FD_MIN);
    int code = errno;
    (void)close(fd);
    if (high < 0 && (flags & O_EXCL) != 0) {
        (void)unlinkat(dir_fd, name, 0); /* ours: it is as if nothing was created */
    }
    errno = code;
    return high;
}

/* Puts back what was given up, once there is something to put back. */
static void fill_reserve(lsm_posix_dir *dir) {
    for (int i = 0; i < LSM_POSIX_SPARES; i++) {
        int none = -1;
        if (atomic_load(&dir->spares[i]) >= 0) {
            continue;
        }
        int fd = fcntl(dir->fd, F_DUPFD_CLOEXEC, FD_MIN);
        if (fd >= 0 && !atomic_compare_exchange_strong(&dir->spares[i], &none, fd)) {
            (void)close(fd); /* another thread was first */
        }
    }
}

/* false: nothing is left in reserve. */
static bool use_reserve(lsm_posix_dir *dir) {
    for (int i = 0; i < LSM_POSIX_SPARES; i++) {
        int fd = atomic_exchange(&dir->spares[i], -1);
        if (fd >= 0) {
            (void)close(fd);
            return true;
        }
    }
    return false;
}

int lsm_posix_check_regular(int fd) {
    struct stat info;

    if (fstat(fd, &info) != 0) {
        return errno;
    }
    if (S_ISREG(info.st_mode)) {
        return 0;
    }
    return S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
}

/* Syncs a directory: fsync, as there is no data of it alone. */
static int sync_dir_fd(int fd) {
#ifdef F_FULLFSYNC
    if (fcntl(fd, F_FULLFSYNC) == 0) {
        return 0;
    }
#endif
    return fsync(fd) == 0 ? 0 : errno;
}

/* Makes the name of `path` in its parent durable. */
static int sync_parent(const char *path) {
    size_t size = strlen(path);
    char *parent;
    int fd;
    int code = 0;

    while (size > 0 && path[size - 1] == '/') {
        size--;
    }
    while (size > 0 && path[size - 1] != '/') {
        size--;
    }
    parent = lsm_strdup(size == 0 ? "." : path);
    if (parent == NULL) {
        return ENOMEM;
    }
    if (size > 0) {
        parent[size] = '\0'; /* keeps the slash, so that "/x" has the parent "/" */
    }
    fd = lsm_posix_openat(AT_FDCWD, parent, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        code = errno;
    } else {
        code = sync_dir_fd(fd);
        (void)close(fd);
    }
    lsm_free(parent);
    return code;
}

/* Makes the directory and its name durable. One that exists may have been made by a
 * process that died before it could sync the parent; where this process may not open
 * the parent, it was not the one who made it. */
static int make_dir(const char *path) {
    bool made = mkdir(path, S_IRWXU) == 0;

    if (!made && errno != EEXIST) {
        return errno;
    }
    if (made && chmod(path, S_IRWXU) != 0) {
        return errno;
    }
    int code = sync_parent(path);
    if (code == EACCES && !made) {
        return 0;
    }
    if (code != 0 && made) {
        (void)rmdir(path); /* so that the next try syncs the parent again */
    }
    return code;
}

static int open_dir(lsm_env *env, const char *path, int flags, lsm_dir **dirp) {
    struct stat info;
    lsm_posix_dir *dir;
    int code = 0;

    dir = (lsm_posix_dir *)lsm_calloc(1, sizeof(*dir));
    if (dir == NULL) {
        return ENOMEM;
    }
    dir->head.env = env;
    dir->fd = lsm_posix_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | flags, 0);
    if (dir->fd < 0) {
        code = errno;
        lsm_free(dir);
        return code;
    }
    if (fstat(dir->fd, &info) != 0) {
        code = errno;
        (void)close(dir->fd);
        lsm_free(dir);
        return code;
    }
    for (int i = 0; i < LSM_POSIX_SPARES; i++) {
        atomic_init(&dir->spares[i], -1);
    }
    dir->device = info.st_dev;
    dir->inode = info.st_ino;
    *dirp = &dir->head;
    return 0;
}

static int dir_open(lsm_env *env, const char *path, bool create, lsm_dir **dirp) {
    int code = create ? make_dir(path) : 0;

    return code != 0 ? code : open_dir(env, path, 0, dirp);
}

/* A slash behind the name would have the system follow a link. */
static int dir_open_here(lsm_env *env, const char *path, lsm_dir **dirp) {
    size_t size = strlen(path);
    char *name = lsm_strdup(path);

    if (name == NULL) {
        return ENOMEM;
    }
    while (size > 1 && name[size - 1] == '/') {
        name[--size] = '\0';
    }
    int code = open_dir(env, name, O_NOFOLLOW, dirp);
    lsm_free(name);
    return code;
}

static void dir_close(lsm_dir *head) {
    lsm_posix_dir *dir = dir_of(head);

    while (use_reserve(dir)) {
    }
    (void)close(dir->fd);
    lsm_free(dir);
}

static int read_names(DIR *stream, lsm_namelist *list) {
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            return errno;
        }
        const char *name = entry->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
            !lsm_namelist_add(list, name)) {
            return ENOMEM;
        }
    }
}

/* A descriptor of its own, because the position in a directory belongs to the open
 * file and two threads may list at once. */
static int dir_list(lsm_dir *head, lsm_namelist *list) {
    int fd = lsm_posix_openat(dir_of(head)->fd, ".", O_RDONLY | O_DIRECTORY, 0);
    int code;

    if (fd < 0) {
        return errno;
    }
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        code = errno;
        (void)close(fd);
        return code;
    }
    code = read_names(stream, list);
    (void)closedir(stream);
    return code;
}

/* The time of the last change, once it is so long ago that another change would have
 * another time: clocks of file systems tick slowly. */
static bool dir_stamp(lsm_dir *dir, uint64_t *stamp) {
    struct stat about;
    struct timespec now;

    if (fstat(dir_of(dir)->fd, &about) != 0 ||
        clock_gettime(CLOCK_REALTIME, &now) != 0) {
        return false;
    }
#ifdef __APPLE__
    struct timespec changed = about.st_mtimespec;
#else
    struct timespec changed = about.st_mtim;
#endif
    *stamp = (uint64_t)changed.tv_sec * NS_PER_S + (uint64_t)changed.tv_nsec;
    return now.tv_sec > changed.tv_sec && now.tv_sec - changed.tv_sec >= STAMP_AGE_S;
}

static int dir_sync(lsm_dir *dir) {
    return sync_dir_fd(dir_of(dir)->fd);
}

static int rename_file(lsm_dir *head, const char *from, const char *to) {
    int fd = dir_of(head)->fd;
    return renameat(fd, from, fd, to) == 0 ? 0 : errno;
}

static int unlink_file(lsm_dir *dir, const char *name) {
    return unlinkat(dir_of(dir)->fd, name, 0) == 0 ? 0 : errno;
}

static int link_file(lsm_dir *from, const char *name, lsm_dir *to) {
    return linkat(dir_of(from)->fd, name, dir_of(to)->fd, name, 0) == 0 ? 0 : errno;
}

static int remove_dir(lsm_env *env, const char *path) {
    (void)env;
    return rmdir(path) == 0 ? 0 : errno;
}

/* The descriptor of an existing file, or -1 and errno. */
static int open_existing(const lsm_posix_dir *dir, const char *name) {
    int fd = lsm_posix_openat(dir->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    int code = fd < 0 ? errno : lsm_posix_check_regular(fd);
    if (fd >= 0 && code != 0) {
        (void)close(fd);
    }
    errno = code;
    return code == 0 ? fd : -1;
}

/* The descriptor of a new file, or -1 and errno. */
static int create(lsm_posix_dir *dir, const char *name, bool needed) {
    const int flags = O_RDWR | O_CREAT | O_NOFOLLOW |
                      (LSM_MUTANT(CREATE_TAKES_OVER_FILES) ? 0 : O_EXCL);
    const mode_t mode = S_IRUSR | S_IWUSR;
    int fd = lsm_posix_openat(dir->fd, name, flags, mode);

    while (fd < 0 && needed && (errno == EMFILE || errno == ENFILE)) {
        int code = errno;
        if (!use_reserve(dir)) {
            errno = code;
            break;
        }
        fd = lsm_posix_openat(dir->fd, name, flags, mode);
    }
    if (fd >= 0) {
        /* A umask can only have taken bits away. Where a file system knows no modes
         * there is nothing to put back, hence no check. */
        (void)fchmod(fd, mode);
        fill_reserve(dir);
    }
    return fd;
}

static int file_open(lsm_dir *head, const char *name, lsm_open_mode mode,
                     lsm_file **filep) {
    posix_file *file = (posix_file *)lsm_calloc(1, sizeof(*file));

    if (file == NULL) {
        return ENOMEM;
    }
    file->head.env = head->env;
    memcpy(file->head.name, name, strlen(name) + 1);
    file->fd = mode == LSM_OPEN_READ
                   ? open_existing(dir_of(head), name)
                   : create(dir_of(head), name, mode == LSM_OPEN_CREATE);
    if (file->fd < 0) {
        int code = errno;
        lsm_free(file);
        return code;
    }
    *filep = &file->head;
    return 0;
}

static int file_close(lsm_file *head) {
    posix_file *file = file_of(head);
    int code = close(file->fd) == 0 ? 0 : errno;

    lsm_free(file);
    return code;
}

static int file_read(lsm_file *file, uint64_t offset, void *to, size_t size,
                     size_t *got) {
    const uint64_t end_max = (uint64_t)INT64_MAX;

    *got = 0;
    if (offset >= end_max) {
        return 0; /* past the end of any file */
    }
    if (size > end_max - offset) {
        size = (size_t)(end_max - offset);
    }
    ssize_t part = pread(file_of(file)->fd, to, size, (off_t)offset);
    if (part < 0) {
        return errno;
    }
    *got = (size_t)part;
    return 0;
}

static int file_append(lsm_file *head, const lsm_slice *pieces, size_t count,
                       size_t *put) {
    posix_file *file = file_of(head);
    struct iovec vector[IOV_COUNT];
    size_t left = APPEND_MAX;
    int used = 0;

    *put = 0;
    for (size_t i = 0; i < count && used < IOV_COUNT && left > 0; i++) {
        if (pieces[i].size > 0) {
            /* iovec serves reads too, so its pointer is not const; copied, not cast. */
            memcpy((void *)&vector[used].iov_base, (const void *)&pieces[i].data,
                   sizeof(void *));
            vector[used].iov_len = pieces[i].size < left ? pieces[i].size : left;
            left -= vector[used].iov_len;
            used++;
        }
    }
    ssize_t part = pwritev(file->fd, vector, used, (off_t)file->size);
    if (part < 0) {
        return errno;
    }
    file->size += (uint64_t)part;
    *put = (size_t)part;
    return 0;
}

static int file_write(lsm_file *head, uint64_t offset, lsm_slice piece, size_t *put) {
    *put = 0;
    if (offset > (uint64_t)INT64_MAX) {
        return EFBIG;
    }
    ssize_t part = pwrite(file_of(head)->fd, piece.data, piece.size, (off_t)offset);
    if (part < 0) {
        return errno;
    }
    *put = (size_t)part;
    return 0;
}

static int file_sync(lsm_file *file) {
    int fd = file_of(file)->fd;
#ifdef F_FULLFSYNC
    /* Plain fsync on macOS stops at the cache of the drive. */
    if (fcntl(fd, F_FULLFSYNC) == 0) {
        return 0;
    }
    if (errno != ENOTSUP && errno != EINVAL) {
        return errno;
    }
    return fsync(fd) == 0 ? 0 : errno;
#else
    return fdatasync(fd) == 0 ? 0 : errno;
#endif
}

static int file_size(lsm_file *file, uint64_t *size) {
    struct stat info;

    if (fstat(file_of(file)->fd, &info) != 0) {
        return errno;
    }
    *size = (uint64_t)info.st_size;
    return 0;
}

static int file_truncate(lsm_file *head, uint64_t size) {
    posix_file *file = file_of(head);

    if (size > (uint64_t)INT64_MAX) {
        return EFBIG;
    }
    if (ftruncate(file->fd, (off_t)size) != 0) {
        return errno;
    }
    file->size = size;
    return 0;
}

static void file_allocate(lsm_file *head, uint64_t size) {
#if defined(__linux__) && defined(FALLOC_FL_KEEP_SIZE)
    posix_file *file = file_of(head);
    if (size > file->size && size <= (uint64_t)INT64_MAX) {
        (void)fallocate(file->fd, FALLOC_FL_KEEP_SIZE, (off_t)file->size,
                        (off_t)(size - file->size));
    }
#else
    (void)head;
    (void)size;
#endif
}

static void file_will_need(lsm_file *file, uint64_t offset, uint64_t size) {
#ifdef POSIX_FADV_WILLNEED
    if (offset <= (uint64_t)INT64_MAX && size <= (uint64_t)INT64_MAX - offset) {
        (void)posix_fadvise(file_of(file)->fd, (off_t)offset, (off_t)size,
                            POSIX_FADV_WILLNEED);
    }
#else
    (void)file;
    (void)offset;
    (void)size;
#endif
}

static int file_map(lsm_file *file, uint64_t size, const uint8_t **data) {
    if (size > SIZE_MAX) {
        return ENOMEM;
    }
    void *at =
        mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, file_of(file)->fd, (off_t)0);
    if (at == MAP_FAILED) {
        return errno;
    }
    *data = (const uint8_t *)at;
    return 0;
}

static void unmap(const uint8_t *data, uint64_t size) {
    void *at;

    memcpy((void *)&at, (const void *)&data, sizeof(at)); /* copied, not cast */
    (void)munmap(at, (size_t)size);
}

static void map_will_need(const uint8_t *data, uint64_t size) {
    uintptr_t skip = (uintptr_t)data % (uintptr_t)sysconf(_SC_PAGESIZE);
    void *at;

    data -= skip;
    memcpy((void *)&at, (const void *)&data, sizeof(at)); /* copied, not cast */
    (void)posix_madvise(at, (size_t)size + skip, POSIX_MADV_WILLNEED);
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    int code = clock_gettime(clock, &now);

    LSM_ASSERT(code == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t clock_us(clockid_t clock) {
    return clock_ns(clock) / 1000;
}

static uint64_t now_ms(lsm_env *env) {
    (void)env;
    return clock_us(CLOCK_REALTIME) / 1000;
}

/* The clock that also counts the time the machine sleeps, where there is one: what
 * expires does so while nobody looks. */
static uint64_t monotonic_ns(lsm_env *env) {
    (void)env;
#ifdef CLOCK_BOOTTIME
    return clock_ns(CLOCK_BOOTTIME);
#else
    return clock_ns(CLOCK_MONOTONIC);
#endif
}

static void entropy(lsm_env *env, void *to, size_t size) {
    static _Atomic uint64_t draws; /* two may be made within a microsecond */
    uint8_t *at = (uint8_t *)to;

    while (size > 0) {
        size_t part = size < ENTROPY_SIZE ? size : ENTROPY_SIZE;
        if (getentropy(at, part) != 0) {
            /* A sandbox may forbid the call. What is made from it are ids that must
             * differ and seeds, not secrets. */
            lsm_rng rng = {clock_us(CLOCK_REALTIME) ^
                           (clock_us(CLOCK_MONOTONIC) << 20) ^
                           ((uint64_t)getpid() << 40) ^ (uint64_t)(uintptr_t)env ^
                           (atomic_fetch_add(&draws, 1) * ODD_MULTIPLIER)};
            for (size_t i = 0; i < part; i++) {
                at[i] = (uint8_t)(lsm_rng_next(&rng) >> 32);
            }
        }
        at += part;
        size -= part;
    }
}

lsm_env *lsm_env_posix(void) {
    static const lsm_env_ops ops = {
        .dir_open = dir_open,
        .dir_open_here = dir_open_here,
        .dir_close = dir_close,
        .dir_list = dir_list,
        .dir_stamp = dir_stamp,
        .dir_sync = dir_sync,
        .rename = rename_file,
        .unlink = unlink_file,
        .link = link_file,
        .dir_remove = remove_dir,
        .lock = lsm_posix_lock,
        .unlock = lsm_posix_unlock,
        .file_open = file_open,
        .file_close = file_close,
        .file_read = file_read,
        .file_append = file_append,
        .file_write = file_write,
        .file_sync = file_sync,
        .file_size = file_size,
        .file_truncate = file_truncate,
        .file_allocate = file_allocate,
        .file_will_need = file_will_need,
        .file_map = file_map,
        .unmap = unmap,
        .map_will_need = map_will_need,
        .now_ms = now_ms,
        .monotonic_ns = monotonic_ns,
        .entropy = entropy,
        .process = lsm_posix_process,
    };
    static lsm_env env = {&ops, true};

    lsm_fork_watch();
    return &env;
}
