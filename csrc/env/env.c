/* SPDX-License-Identifier: Apache-2.0
 *
 * The calls the engine makes: each wraps one thin call of the implementation, retries
 * what may be retried (an interrupted or partial read, append, open, truncate, list or
 * lock, never a sync, rename, unlink or close) and turns what is left of an errno into
 * a status that names file, offset and operation.
 *
 * Retries that bring no progress are bounded, so that a system that answers EINTR for
 * ever ends in an error and not in a loop.
 */
#include "env/env.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/budget.h"
#include "base/mutant.h"

enum { RETRY_MAX = 1000, ERROR_TEXT_SIZE = 96, RESCUE_SIZE = 4096 };

/* The system's words for an errno, without a buffer shared between threads. */
static const char *error_text(int code, char *buffer, size_t size) {
#if defined(__GLIBC__)
    return strerror_r(code, buffer, size);
#else
    if (strerror_r(code, buffer, size) != 0) {
        buffer[0] = '\0';
    }
    return buffer;
#endif
}

static lsmkv_status status_of(int code) {
    switch (code) {
        case ENOENT:
            return LSMKV_NOT_FOUND;
        case ENOMEM:
            return LSMKV_NO_MEMORY;
        case ENOSPC:
        case EDQUOT:
        case EFBIG:
            return LSMKV_DISK_FULL;
        default:
            return LSMKV_IO_ERROR;
    }
}

/* Reports a failed operation on a file of the directory; offset -1: none. */
static lsmkv_status fail_io(lsmkv_error *err, const char *file, int64_t offset,
                            const char *operation, int code) {
    char buffer[ERROR_TEXT_SIZE];

    if (code == ENOMEM && lsm_budget_current != NULL) {
        return lsm_fail_memory(err, 0);
    }
    lsmkv_status status =
        lsm_fail_at(err, status_of(code), file, offset, "cannot %s: %s", operation,
                    error_text(code, buffer, sizeof(buffer)));

    if (err != NULL) {
        err->os_errno = code;
    }
    return status;
}

/* As fail_io, for a path or for the directory itself. */
static lsmkv_status fail_path(lsmkv_error *err, const char *path, const char *operation,
                              int code) {
    char buffer[ERROR_TEXT_SIZE];

    if (code == ENOMEM && lsm_budget_current != NULL) {
        return lsm_fail_memory(err, 0);
    }
    lsmkv_status status = lsm_fail(err, status_of(code), "%s: cannot %s: %s", path,
                                   operation, error_text(code, buffer, sizeof(buffer)));

    if (err != NULL) {
        err->os_errno = code;
    }
    return status;
}

static int64_t error_offset(uint64_t offset) {
    return offset <= (uint64_t)INT64_MAX ? (int64_t)offset : INT64_MAX;
}

/* true when the call was interrupted and another try is due. */
static bool again(int code, uint32_t *tries) {
    return code == EINTR && ++*tries < RETRY_MAX && !LSM_MUTANT(EINTR_NOT_RETRIED);
}

/* Names are made by the engine from numbers, never from bytes it read. */
static void check_name(const char *name) {
    size_t size = strlen(name);
    LSM_ASSERT(size > 0 && size < LSM_NAME_SIZE_MAX);
    LSM_ASSERT(memchr(name, '/', size) == NULL);
    LSM_ASSERT(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
}

void lsm_namelist_deinit(lsm_namelist *list) {
    lsm_free(list->names);
    *list = (lsm_namelist){0};
}

bool lsm_namelist_add(lsm_namelist *list, const char *name) {
    size_t size = strlen(name);
    void *names = list->names;

    if (size >= LSM_NAME_SIZE_MAX) {
        return true;
    }
    if (!lsm_grow(&names, &list->capacity, list->count + 1, LSM_NAME_SIZE_MAX)) {
        return false;
    }
    list->names = names;
    memcpy(list->names[list->count], name, size + 1);
    list->count++;
    return true;
}

lsmkv_status lsm_dir_open(lsm_env *env, const char *path, bool create, lsm_dir **dirp,
                          lsmkv_error *err) {
    uint32_t tries = 0;
    int code;

    *dirp = NULL;
    do {
        code = env->ops->dir_open(env, path, create, dirp);
    } while (again(code, &tries));
    if (code != 0) {
        return fail_path(err, path, "open the directory", code);
    }
    return LSMKV_OK;
}

lsmkv_status lsm_dir_open_here(lsm_env *env, const char *path, lsm_dir **dirp,
                               lsmkv_error *err) {
    uint32_t tries = 0;
    int code;

    if (env->ops->dir_open_here == NULL) {
        return lsm_dir_open(env, path, false, dirp, err);
    }
    *dirp = NULL;
    do {
        code = env->ops->dir_open_here(env, path, dirp);
    } while (again(code, &tries));
    return code == 0 ? LSMKV_OK : fail_path(err, path, "open the directory", code);
}

void lsm_dir_close(lsm_dir *dir) {
    if (dir != NULL) {
        dir->env->ops->dir_close(dir);
    }
}

lsmkv_status lsm_dir_list(lsm_dir *dir, lsm_namelist *list, lsmkv_error *err) {
    uint32_t tries = 0;
    int code;

    do {
        list->count = 0;
        code = dir->env->ops->dir_list(dir, list);
    } while (again(code, &tries));
    if (code != 0) {
        return fail_path(err, "database directory", "list it", code);
    }
    return LSMKV_OK;
}

bool lsm_dir_stamp(lsm_dir *dir, uint64_t *stamp) {
    return dir->env->ops->dir_stamp != NULL && dir->env->ops->dir_stamp(dir, stamp);
}

lsmkv_status lsm_dir_sync(lsm_dir *dir, lsmkv_error *err) {
    int code = dir->env->ops->dir_sync(dir);

    if (code != 0) {
        return fail_path(err, "database directory", "sync it", code);
    }
    return LSMKV_OK;
}

lsmkv_status lsm_dir_rename(lsm_dir *dir, const char *from, const char *to,
                            lsmkv_error *err) {
    check_name(from);
    check_name(to);
    int code = dir->env->ops->rename(dir, from, to);
    if (code != 0) {
        return fail_io(err, from, -1, "rename the file", code);
    }
    return LSMKV_OK;
}

/* EPERM is what Linux says of file systems without links. */
static bool is_refusal(int code) {
    return code == EXDEV || code == EPERM || code == EMLINK || code == EOPNOTSUPP ||
           code == ENOSYS;
}

lsmkv_status lsm_dir_link(lsm_dir *from, const char *name, lsm_dir *to, bool *refused,
                          lsmkv_error *err) {
    check_name(name);
    int code = from->env->ops->link(from, name, to);
    *refused = is_refusal(code);
    if (code != 0) {
        return fail_io(err, name, -1, "link the file", code);
    }
    return LSMKV_OK;
}

lsmkv_status lsm_dir_remove(lsm_env *env, const char *path, lsmkv_error *err) {
    int code = env->ops->dir_remove(env, path);
    if (code != 0) {
        return fail_path(err, path, "remove the directory", code);
    }
    return LSMKV_OK;
}

lsmkv_status lsm_dir_unlink(lsm_dir *dir, const char *name, lsmkv_error *err) {
    check_name(name);
    int code = dir->env->ops->unlink(dir, name);
    if (code != 0) {
        return fail_io(err, name, -1, "delete the file", code);
    }
    return LSMKV_OK;
}

lsmkv_status lsm_dir_lock(lsm_dir *dir, const char *name, lsm_lock **lockp,
                          lsmkv_error *err) {
    int64_t holder = 0;
    uint32_t tries = 0;
    int code;

    check_name(name);
    *lockp = NULL;
    do {
        code = dir->env->ops->lock(dir, name, lockp, &holder);
    } while (again(code, &tries));
    if (code == EWOULDBLOCK) {
        lsmkv_status status =
            holder > 0 ? lsm_fail_at(err, LSMKV_LOCKED, name, -1,
                                     "the database is in use by process %lld",
                                     (long long)holder)
                       : lsm_fail_at(err, LSMKV_LOCKED, name, -1,
                                     "the database is in use by an unknown process");
        if (err != NULL) {
            err->pid = holder;
            err->os_errno = code;
        }
        return status;
    }
    if (code != 0) {
        return fail_io(err, name, -1, "take the lock", code);
    }
    return LSMKV_OK;
}

void lsm_lock_release(lsm_lock *lock) {
    if (lock != NULL) {
        lock->env->ops->unlock(lock);
    }
}

lsmkv_status lsm_file_open(lsm_dir *dir, const char *name, lsm_open_mode mode,
                           lsm_file **filep, lsmkv_error *err) {
    uint32_t tries = 0;
    int code;

    check_name(name);
    *filep = NULL;
    do {
        code = dir->env->ops->file_open(dir, name, mode, filep);
    } while (again(code, &tries));
    if (code != 0) {
        return fail_io(err, name, -1,
                       mode == LSM_OPEN_READ ? "open the file" : "create the file",
                       code);
    }
    return LSMKV_OK;
}

lsmkv_status lsm_file_close(lsm_file *file, lsmkv_error *err) {
    char name[LSM_NAME_SIZE_MAX];

    if (file == NULL) {
        return LSMKV_OK;
    }
    memcpy(name, file->name, sizeof(name)); /* the file is gone after the call */
    int code = file->env->ops->file_close(file);
    if (code != 0) {
        return fail_io(err, name, -1, "close the file", code);
    }
    return LSMKV_OK;
}

void lsm_file_drop(lsm_file *file) {
    if (file != NULL) {
        (void)file->env->ops->file_close(file);
    }
}

const char *lsm_file_name(const lsm_file *file) {
    return file->name;
}

bool lsm_error_is_device(const lsmkv_error *err) {
    return err->status == LSMKV_IO_ERROR && err->os_errno == EIO;
}

bool lsm_error_is_no_file(const lsmkv_error *err) {
    int code = err->status == LSMKV_IO_ERROR ? err->os_errno : 0;

    return code == ELOOP || code == EMLINK || code == ENOTDIR || code == EISDIR ||
           code == EINVAL || code == ENXIO || code == ENODEV;
}

bool lsm_error_is_file_limit(const lsmkv_error *err) {
    return err->os_errno == EMFILE || err->os_errno == ENFILE;
}

lsmkv_status lsm_file_read(lsm_file *file, uint64_t offset, void *to, size_t size,
                           size_t *got, lsmkv_error *err) {
    uint32_t tries = 0;
    size_t done = 0;

    while (done < size) {
        size_t part = 0;
        int code = file->env->ops->file_read(file, offset + done, (uint8_t *)to + done,
                                             size - done, &part);
        if (again(code, &tries)) {
            continue;
        }
        if (code != 0) {
            *got = done;
            return fail_io(err, file->name, error_offset(offset + done),
                           "read the file", code);
        }
        if (part == 0) {
            break;
        }
        tries = 0;
        done += part;
        if (LSM_MUTANT(SHORT_READ_IS_END)) {
            break;
        }
    }
    *got = done;
    return LSMKV_OK;
}

lsmkv_status lsm_file_read_exact(lsm_file *file, uint64_t offset, void *to, size_t size,
                                 lsmkv_error *err) {
    size_t got = 0;
    lsmkv_status status = lsm_file_read(file, offset, to, size, &got, err);

    if (status == LSMKV_OK && got < size) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, file->name, error_offset(offset),
                           "short file: expected %zu bytes here, found %zu", size, got);
    }
    return status;
}

lsmkv_status lsm_file_rescue(lsm_dir *dir, const char *name, lsm_buf *to,
                             uint64_t *unread_to, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_file *file = NULL;
    uint64_t size = 0;
    uint64_t unread = 0;

    lsm_buf_clear(to);
    LSM_TRY(lsm_file_open(dir, name, LSM_OPEN_READ, &file, err));
    LSM_TRY(lsm_file_size(file, &size, err));
    if (size > SIZE_MAX || !lsm_buf_reserve(to, (size_t)size)) {
        LSM_TRY(lsm_fail_memory(err, (size_t)size));
    }
    if (size != 0) {
        memset(to->data, 0, (size_t)size);
    }
    for (uint64_t at = 0; at < size; at += RESCUE_SIZE) {
        size_t part = size - at < RESCUE_SIZE ? (size_t)(size - at) : RESCUE_SIZE;
        size_t got = 0;
        lsmkv_error failure;
        if (lsm_file_read(file, at, to->data + at, part, &got, &failure) != LSMKV_OK) {
            LSM_TRY(lsm_error_is_device(&failure) ? LSMKV_OK
                                                  : lsm_error_copy(err, &failure));
            unread = at + part;
        }
    }
    to->size = (size_t)size;
out:
    if (unread_to != NULL) {
        *unread_to = unread;
    }
    lsm_file_drop(file);
    return status;
}

/* Appends the pieces from byte `skip` of the first one on, as the system takes them in
 * one call: a piece begun goes alone, so that no copy of the list is needed. */
static int append_some(lsm_file *file, const lsm_slice *pieces, size_t count,
                       size_t skip, size_t *put) {
    lsm_slice rest;

    if (skip == 0) {
        return file->env->ops->file_append(file, pieces, count, put);
    }
    rest = lsm_slice_make(pieces->data + skip, pieces->size - skip);
    return file->env->ops->file_append(file, &rest, 1, put);
}

/* The end of the file is where the append stopped. */
static LSM_COLD lsmkv_status fail_append(lsmkv_error *err, lsm_file *file, int code) {
    uint64_t size = 0;
    int64_t offset =
        file->env->ops->file_size(file, &size) == 0 ? error_offset(size) : -1;

    return fail_io(err, file->name, offset, "append to the file", code);
}

lsmkv_status lsm_file_append(lsm_file *file, const lsm_slice *pieces, size_t count,
                             uint64_t *appended, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint64_t total = 0;
    uint32_t tries = 0;
    size_t index = 0; /* the piece to go on with, and how much of it is written */
    size_t skip = 0;

    while (index < count) {
        size_t put = 0;
        if (skip == pieces[index].size) {
            index++;
            skip = 0;
            continue;
        }
        int code = append_some(file, pieces + index, count - index, skip, &put);
        if (code == 0 && put > 0) {
            tries = 0;
            total += put;
            for (skip += put; index < count && skip >= pieces[index].size; index++) {
                skip -= pieces[index].size;
            }
            continue;
        }
        code = code == 0 ? EINTR : code; /* nothing was taken, nothing failed */
        if (!again(code, &tries)) {
            status = fail_append(err, file, code);
            break;
        }
    }
    if (appended != NULL) {
        *appended = total;
    }
    return status;
}

static lsmkv_status write_piece(lsm_file *file, uint64_t offset, lsm_slice piece,
                                lsmkv_error *err) {
    uint32_t tries = 0;

    while (piece.size > 0) {
        size_t put = 0;
        int code = file->env->ops->file_write(file, offset, piece, &put);
        if (code == 0 && put > 0) {
            tries = 0;
            offset += put;
            piece = lsm_slice_make(piece.data + put, piece.size - put);
            continue;
        }
        code = code == 0 ? EINTR : code;
        if (!again(code, &tries)) {
            return fail_io(err, file->name, error_offset(offset), "write to the file",
                           code);
        }
    }
    return LSMKV_OK;
}

lsmkv_status lsm_file_write_at(lsm_file *file, uint64_t offset, const lsm_slice *pieces,
                               size_t count, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    for (size_t i = 0; status == LSMKV_OK && i < count; i++) {
        status = write_piece(file, offset, pieces[i], err);
        offset += pieces[i].size;
    }
    return status;
}

lsmkv_status lsm_file_sync(lsm_file *file, lsmkv_error *err) {
    int code = file->env->ops->file_sync(file);

    if (code != 0) {
        return fail_io(err, file->name, -1, "sync the file", code);
    }
    return LSMKV_OK;
}

lsmkv_status lsm_file_size(lsm_file *file, uint64_t *size, lsmkv_error *err) {
    int code = file->env->ops->file_size(file, size);

    if (code != 0) {
        *size = 0;
        return fail_io(err, file->name, -1, "ask for the size", code);
    }
    return LSMKV_OK;
}

lsmkv_status lsm_file_truncate(lsm_file *file, uint64_t size, lsmkv_error *err) {
    uint32_t tries = 0;
    int code;

    do {
        code = file->env->ops->file_truncate(file, size);
    } while (again(code, &tries));
    if (code != 0) {
        return fail_io(err, file->name, error_offset(size), "truncate the file", code);
    }
    return LSMKV_OK;
}

void lsm_file_allocate(lsm_file *file, uint64_t size) {
    file->env->ops->file_allocate(file, size);
}

void lsm_file_will_need(lsm_file *file, uint64_t offset, uint64_t size) {
    file->env->ops->file_will_need(file, offset, size);
}

bool lsm_file_map(lsm_file *file, uint64_t size, const uint8_t **data) {
    const lsm_env_ops *ops = file->env->ops;

    *data = NULL;
    return ops->file_map != NULL && size != 0 && ops->file_map(file, size, data) == 0;
}

void lsm_env_unmap(lsm_env *env, const uint8_t *data, uint64_t size) {
    if (data != NULL) {
        env->ops->unmap(data, size);
    }
}

void lsm_env_will_need(lsm_env *env, const uint8_t *data, uint64_t size) {
    if (env->ops->map_will_need != NULL) {
        env->ops->map_will_need(data, size);
    }
}

uint64_t lsm_env_now_ms(lsm_env *env) {
    return env->ops->now_ms(env);
}

uint64_t lsm_env_monotonic_ns(lsm_env *env) {
    return env->ops->monotonic_ns(env);
}

uint64_t lsm_env_monotonic_us(lsm_env *env) {
    return env->ops->monotonic_ns(env) / 1000;
}

void lsm_env_entropy(lsm_env *env, void *to, size_t size) {
    env->ops->entropy(env, to, size);
}

void lsm_env_process(lsm_env *env, uint64_t *pid, uint64_t *start) {
    *pid = 0;
    *start = 0;
    if (env->ops->process != NULL) {
        env->ops->process(pid, start);
    }
}

bool lsm_env_threaded(const lsm_env *env) {
    return env->threaded;
}
