/* SPDX-License-Identifier: Apache-2.0
 *
 * env: everything that lies outside the process: files, directories, the lock, time,
 * entropy. Two implementations: env_posix.c and env_sim.c (an in-memory file system
 * with power failures and I/O errors, for tests).
 *
 * The lower half of this header is what an implementation provides: thin calls that
 * answer an errno (0: success), may be interrupted (EINTR) and may read or append
 * less than asked, exactly like the operating system. The upper half, lsm_env_*,
 * lsm_dir_* and lsm_file_*, is what the engine calls: loops over short reads and
 * writes and EINTR, and turns errno into a status with the name of the file. errno
 * is spoken only in env/.
 *
 * Names are relative to an open directory; nothing resolves a path again after
 * lsm_dir_open (A19 of docs/durability.md). Files hold their directory by reference
 * where the implementation needs it.
 *
 * Threads: an env and a directory may be used from any thread; so may reads of one
 * file. Appends, syncs and truncates of one file are for one thread at a time; so are
 * not writes at offsets.
 */
#ifndef LSM_ENV_ENV_H
#define LSM_ENV_ENV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "base/status.h"

typedef struct lsm_env lsm_env;
typedef struct lsm_dir lsm_dir;
typedef struct lsm_file lsm_file;
typedef struct lsm_lock lsm_lock;

enum { LSM_NAME_SIZE_MAX = 64 };

typedef enum lsm_open_mode {
    LSM_OPEN_READ,   /* an existing regular file; symbolic links are refused */
    LSM_OPEN_CREATE, /* a new file, mode 0600; an existing name is an error */
    LSM_OPEN_SPARE,  /* as CREATE, of a file that may be missing: it fails rather than
                        take a descriptor that is in reserve for the others */
} lsm_open_mode;

/* The list of names in a directory, without "." and "..". */
typedef struct lsm_namelist {
    char (*names)[LSM_NAME_SIZE_MAX]; /* owned; longer names are left out */
    size_t count;
    size_t capacity;
} lsm_namelist;

void lsm_namelist_deinit(lsm_namelist *list);
bool lsm_namelist_add(lsm_namelist *list, const char *name) LSM_MUST_CHECK;

/* Opens the directory `path`, creating it (mode 0700, last component only) and syncing
 * its parent if `create`. NOT_FOUND when absent and not created. */
lsmkv_status lsm_dir_open(lsm_env *env, const char *path, bool create, lsm_dir **dirp,
                          lsmkv_error *err) LSM_MUST_CHECK;
/* The same for a directory that exists and is no symbolic link, else IO_ERROR. */
lsmkv_status lsm_dir_open_here(lsm_env *env, const char *path, lsm_dir **dirp,
                               lsmkv_error *err) LSM_MUST_CHECK;
void lsm_dir_close(lsm_dir *dir); /* NULL is fine */
lsmkv_status lsm_dir_list(lsm_dir *dir, lsm_namelist *list,
                          lsmkv_error *err) LSM_MUST_CHECK;
/* A number that is another one once a name was added or removed. false: there is none
 * that could be relied on, now or at all. For directories that others change. */
bool lsm_dir_stamp(lsm_dir *dir, uint64_t *stamp) LSM_MUST_CHECK;
/* Makes every create, rename and unlink so far in this directory durable. */
lsmkv_status lsm_dir_sync(lsm_dir *dir, lsmkv_error *err) LSM_MUST_CHECK;
/* Replaces `to` if it exists. */
lsmkv_status lsm_dir_rename(lsm_dir *dir, const char *from, const char *to,
                            lsmkv_error *err) LSM_MUST_CHECK;
/* Gives a file a second name, in another directory of the same env, where it must be
 * free. *refused when these two cannot share files (other file systems, too many
 * names): then copy it. The file must be synced, and is never to be changed again. */
lsmkv_status lsm_dir_link(lsm_dir *from, const char *name, lsm_dir *to, bool *refused,
                          lsmkv_error *err) LSM_MUST_CHECK;
/* Removes the directory `path` if it is empty, else IO_ERROR. */
lsmkv_status lsm_dir_remove(lsm_env *env, const char *path,
                            lsmkv_error *err) LSM_MUST_CHECK;
/* NOT_FOUND when it does not exist. */
lsmkv_status lsm_dir_unlink(lsm_dir *dir, const char *name,
                            lsmkv_error *err) LSM_MUST_CHECK;

/* Takes the exclusive lock on file `name` (created if absent; never removed) and
 * writes the holder's pid and start time into it. LOCKED, with the holder's pid where
 * it can be read, when this or another process holds it. */
lsmkv_status lsm_dir_lock(lsm_dir *dir, const char *name, lsm_lock **lockp,
                          lsmkv_error *err) LSM_MUST_CHECK;
void lsm_lock_release(lsm_lock *lock); /* NULL is fine */

lsmkv_status lsm_file_open(lsm_dir *dir, const char *name, lsm_open_mode mode,
                           lsm_file **filep, lsmkv_error *err) LSM_MUST_CHECK;
/* Reports a failing close of a file that was written. The file is gone either way.
 * NULL is fine. */
lsmkv_status lsm_file_close(lsm_file *file, lsmkv_error *err) LSM_MUST_CHECK;
/* For cleanup and for files only read: closes and forgets the outcome. */
void lsm_file_drop(lsm_file *file);
const char *lsm_file_name(const lsm_file *file);
/* Whether a call failed because the process or the system has too many files open. */
bool lsm_error_is_file_limit(const lsmkv_error *err);
/* Whether what has the name is something else than asked for: a link, a pipe, ... */
bool lsm_error_is_no_file(const lsmkv_error *err);
/* Whether the device could not read or write: not a matter of rights or limits. */
bool lsm_error_is_device(const lsmkv_error *err);

/* Reads up to `size` bytes at `offset`; *got < size only at the end of the file. */
lsmkv_status lsm_file_read(lsm_file *file, uint64_t offset, void *to, size_t size,
                           size_t *got, lsmkv_error *err) LSM_MUST_CHECK;
/* As lsm_file_read, but fewer bytes than asked are CORRUPTION ("short file"). */
lsmkv_status lsm_file_read_exact(lsm_file *file, uint64_t offset, void *to, size_t size,
                                 lsmkv_error *err) LSM_MUST_CHECK;
/* Reads a whole file into `to`, zeros in the place of what the device cannot read, of
 * which *unread_to (may be NULL) is the end; 0: it could read all. */
lsmkv_status lsm_file_rescue(lsm_dir *dir, const char *name, lsm_buf *to,
                             uint64_t *unread_to, lsmkv_error *err) LSM_MUST_CHECK;
/* Appends all pieces in order. On failure an unknown prefix of them may be in the
 * file; *appended (may be NULL) says how many bytes the system took. */
lsmkv_status lsm_file_append(lsm_file *file, const lsm_slice *pieces, size_t count,
                             uint64_t *appended, lsmkv_error *err) LSM_MUST_CHECK;
/* Writes all pieces at an offset; what the file lacks up to there becomes zeros. Other
 * threads may write elsewhere at the same time. On failure any part of them may be in
 * the file. Of one file, either this or appends. What was there before is lost, and of
 * what is written over a crash may leave any part: only for what nobody relies on. */
lsmkv_status lsm_file_write_at(lsm_file *file, uint64_t offset, const lsm_slice *pieces,
                               size_t count, lsmkv_error *err) LSM_MUST_CHECK;
/* Makes data and size durable (fdatasync, F_FULLFSYNC), not the name. Never retried:
 * after a failure what was written since the last success may be gone. */
lsmkv_status lsm_file_sync(lsm_file *file, lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_file_size(lsm_file *file, uint64_t *size,
                           lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_file_truncate(lsm_file *file, uint64_t size,
                               lsmkv_error *err) LSM_MUST_CHECK;
/* Asks for disk space up to `size` without changing the visible length; a hint whose
 * failure does not matter. */
void lsm_file_allocate(lsm_file *file, uint64_t size);
/* Tells the system that the extent will be read soon; a hint. */
void lsm_file_will_need(lsm_file *file, uint64_t offset, uint64_t size);

/* Maps the first `size` bytes of the file for reading; it may be shorter for now, and
 * what it does not have must not be touched. false: not to be had here, so read
 * instead. The mapping outlives the file; lsm_env_unmap ends it. */
bool lsm_file_map(lsm_file *file, uint64_t size, const uint8_t **data) LSM_MUST_CHECK;
void lsm_env_unmap(lsm_env *env, const uint8_t *data, uint64_t size);
/* Tells the system that a part of a mapping will be read soon; a hint. */
void lsm_env_will_need(lsm_env *env, const uint8_t *data, uint64_t size);

uint64_t lsm_env_now_ms(lsm_env *env); /* wall clock, since 1970 */
/* Never goes back; counts the time the machine sleeps where the system can. */
uint64_t lsm_env_monotonic_ns(lsm_env *env);
uint64_t lsm_env_monotonic_us(lsm_env *env);
void lsm_env_entropy(lsm_env *env, void *to, size_t size);
/* false: the engine starts no threads and runs background work when it would wait. */
bool lsm_env_threaded(const lsm_env *env);
/* Counts the fork()s that lead to this process: 0 in the one that started. A handle
 * remembers it at open and refuses to work under another. One load. */
uint64_t lsm_fork_generation(void);
/* The id of this process, and, where the system tells, when it started, in a unit of
 * its own: so that an id that is used again can be told apart. Both 0 in the simulator.
 */
void lsm_env_process(lsm_env *env, uint64_t *pid, uint64_t *start);

/* The operating system. Static; never freed. */
lsm_env *lsm_env_posix(void);

/* What an implementation provides. Everything returns an errno, 0 for success. */
typedef struct lsm_env_ops {
    int (*dir_open)(lsm_env *env, const char *path, bool create, lsm_dir **dirp);
    /* NULL where there are no symbolic links. */
    int (*dir_open_here)(lsm_env *env, const char *path, lsm_dir **dirp);
    void (*dir_close)(lsm_dir *dir);
    int (*dir_list)(lsm_dir *dir, lsm_namelist *list);
    bool (*dir_stamp)(lsm_dir *dir, uint64_t *stamp); /* NULL: never */
    int (*dir_sync)(lsm_dir *dir);
    int (*rename)(lsm_dir *dir, const char *from, const char *to);
    int (*unlink)(lsm_dir *dir, const char *name);
    int (*link)(lsm_dir *from, const char *name, lsm_dir *to);
    int (*dir_remove)(lsm_env *env, const char *path);
    /* EWOULDBLOCK: held; *holder is its pid or 0. */
    int (*lock)(lsm_dir *dir, const char *name, lsm_lock **lockp, int64_t *holder);
    void (*unlock)(lsm_lock *lock);
    int (*file_open)(lsm_dir *dir, const char *name, lsm_open_mode mode,
                     lsm_file **filep);
    int (*file_close)(lsm_file *file);
    int (*file_read)(lsm_file *file, uint64_t offset, void *to, size_t size,
                     size_t *got);
    int (*file_append)(lsm_file *file, const lsm_slice *pieces, size_t count,
                       size_t *put);
    int (*file_write)(lsm_file *file, uint64_t offset, lsm_slice piece, size_t *put);
    int (*file_sync)(lsm_file *file);
    int (*file_size)(lsm_file *file, uint64_t *size);
    int (*file_truncate)(lsm_file *file, uint64_t size);
    void (*file_allocate)(lsm_file *file, uint64_t size);
    void (*file_will_need)(lsm_file *file, uint64_t offset, uint64_t size);
    /* NULL where files cannot be mapped. */
    int (*file_map)(lsm_file *file, uint64_t size, const uint8_t **data);
    void (*unmap)(const uint8_t *data, uint64_t size);
    void (*map_will_need)(const uint8_t *data, uint64_t size); /* may be NULL */
    uint64_t (*now_ms)(lsm_env *env);
    uint64_t (*monotonic_ns)(lsm_env *env);
    void (*entropy)(lsm_env *env, void *to, size_t size);
    void (*process)(uint64_t *pid, uint64_t *start); /* NULL: there is none */
} lsm_env_ops;

/* The heads of the implementations' own structs. */
struct lsm_env {
    const lsm_env_ops *ops;
    bool threaded;
};

struct lsm_dir {
    lsm_env *env;
};

struct lsm_file {
    lsm_env *env;
    char name[LSM_NAME_SIZE_MAX];
};

struct lsm_lock {
    lsm_env *env;
};

#endif
