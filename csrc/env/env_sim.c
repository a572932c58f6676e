/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator's calls: each checks its arguments, asks whether it shall fail, tells
 * the hook that a step is due, changes the state (sim_state.h) and notes the step in
 * the history.
 *
 * A call that fails, by injection or by rule, is no step; the one exception is a sync
 * that fails under fsyncgate, as it changes what can become durable.
 *
 * A handle stays allocated after its close, marked as closed, until the env is
 * destroyed, so that a use after close is caught and never a quiet success.
 */
#include "env/env_sim.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/budget.h"
#include "base/xxh3.h"
#include "env/sim_env.h"

enum { PERMILLE = 1000, GAP_PART_SIZE = 256 };

/* What the history notes; the order of the fields has no gap. */
typedef struct step_note {
    uint64_t history;
    uint64_t operation;
    uint64_t name;
    uint64_t offset;
    uint64_t content;
} step_note;

typedef enum step_kind {
    STEP_CREATE = 1,
    STEP_APPEND,
    STEP_SYNC,
    STEP_SYNC_LOST,
    STEP_TRUNCATE,
    STEP_RENAME,
    STEP_UNLINK,
    STEP_DIR_SYNC,
    STEP_LINK,
} step_kind;

static lsm_sim_handle *dir_handle(lsm_dir *dir) {
    lsm_sim_handle *handle = LSM_CONTAINER_OF(dir, lsm_sim_handle, head.dir);
    LSM_ASSERT(handle->open);
    LSM_ASSERT(handle->kind == LSM_SIM_HANDLE_DIR);
    return handle;
}

static lsm_sim_handle *file_handle(lsm_file *file) {
    lsm_sim_handle *handle = LSM_CONTAINER_OF(file, lsm_sim_handle, head.file);
    LSM_ASSERT(handle->open);
    LSM_ASSERT(handle->kind == LSM_SIM_HANDLE_FILE);
    return handle;
}

/* It stays for as long as the simulator, so it counts in no budget. */
static lsm_sim_handle *create_handle(lsm_sim *sim, lsm_sim_handle_kind kind,
                                     lsm_sim_dir *dir) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(NULL);
    lsm_sim_handle *handle = (lsm_sim_handle *)lsm_calloc(1, sizeof(*handle));

    if (handle != NULL) {
        handle->head.dir.env = &sim->head; /* the same place in all three */
        handle->kind = kind;
        handle->dir = dir;
    }
    return handle;
}

static void publish_handle(lsm_sim *sim, lsm_sim_handle **list,
                           lsm_sim_handle *handle) {
    handle->open = true;
    handle->next = *list;
    *list = handle;
    sim->open_count++;
}

static void note_failed(lsm_sim *sim, const char *name) {
    if (sim->failed[0] == '\0') {
        memcpy(sim->failed, name, strlen(name) + 1);
    }
}

/* true when this call of the class shall fail, with the errno in *code. */
static bool fails(lsm_sim *sim, lsm_sim_call call, const char *name, int *code) {
    lsm_sim_fault *fault = &sim->faults[call];

    sim->call_counts[call]++;
    if (fault->code == 0) {
        return false;
    }
    if (fault->skip > 0) {
        fault->skip--;
        return false;
    }
    *code = fault->code;
    if (!fault->sticky) {
        fault->code = 0;
    }
    note_failed(sim, name);
    return true;
}

/* As above for a transfer of *size bytes, which may also be ordered to stop half way;
 * then the call behind it is the one that fails. */
static bool fails_transfer(lsm_sim *sim, lsm_sim_call call, const char *name,
                           uint64_t *size, int *code) {
    lsm_sim_fault *fault = &sim->faults[call];

    if (LSM_LIKELY(!fault->halved)) {
        return fails(sim, call, name, code);
    }
    sim->call_counts[call]++;
    if (fault->skip > 0) {
        fault->skip--;
    } else {
        *size -= *size / 2;
        fault->halved = fault->sticky && fault->code == 0;
        note_failed(sim, name);
    }
    return false;
}

/* Shortens or interrupts a transfer of *size bytes at the odds that were set. */
static bool interrupts(lsm_sim *sim, uint64_t *size) {
    if (LSM_LIKELY(sim->short_permille == 0) || *size == 0 ||
        lsm_rng_below(&sim->odds, PERMILLE) >= sim->short_permille) {
        return false;
    }
    if (lsm_rng_below(&sim->odds, 2) == 0) {
        return true;
    }
    *size = 1 + lsm_rng_below(&sim->odds, *size);
    return false;
}

static void begin_step(lsm_sim *sim) {
    if (sim->hook != NULL) {
        sim->hook(sim->hook_context, sim->steps);
    }
}

static void note_step(lsm_sim *sim, step_kind kind, const lsm_sim_dir *dir,
                      const char *name, uint64_t offset, uint64_t content) {
    step_note note = {sim->history, (uint64_t)kind, dir->hash, offset, content};

    if (name != NULL) {
        note.name += lsm_sim_name_hash(name);
    }
    sim->history = lsm_xxh3(&note, sizeof(note));
    sim->steps++;
}

static lsm_sim_dir *make_dir(lsm_sim *sim, const char *path) {
    lsm_sim_dir *dir = lsm_sim_dir_create(path);

    if (dir != NULL) {
        dir->next = sim->dirs;
        sim->dirs = dir;
    }
    return dir;
}

static int dir_open(lsm_env *env, const char *path, bool create, lsm_dir **dirp) {
    lsm_sim *sim = lsm_sim_of(env);
    lsm_sim_dir *dir = lsm_sim_find_dir(sim, path);

    if (dir == NULL && !create) {
        return ENOENT;
    }
    lsm_sim_handle *handle = create_handle(sim, LSM_SIM_HANDLE_DIR, NULL);
    if (handle == NULL) {
        return ENOMEM;
    }
    handle->dir = dir != NULL ? dir : make_dir(sim, path);
    if (handle->dir == NULL) {
        lsm_free(handle);
        return ENOMEM;
    }
    publish_handle(sim, &sim->handles, handle);
    *dirp = &handle->head.dir;
    return 0;
}

static void dir_close(lsm_dir *dir) {
    lsm_sim_handle *handle = dir_handle(dir);

    handle->open = false;
    lsm_sim_of(dir->env)->open_count--;
}

static int dir_list(lsm_dir *dir, lsm_namelist *list) {
    const lsm_sim_map *names = &dir_handle(dir)->dir->current;
    int code = 0;

    if (fails(lsm_sim_of(dir->env), LSM_SIM_LIST, "", &code)) {
        return code;
    }
    for (size_t i = 0; i < names->count; i++) {
        if (!lsm_namelist_add(list, names->entries[i].name)) {
            return ENOMEM;
        }
    }
    return 0;
}

static int dir_sync(lsm_dir *head) {
    lsm_sim *sim = lsm_sim_of(head->env);
    lsm_sim_dir *dir = dir_handle(head)->dir;
    int code = 0;

    if (fails(sim, LSM_SIM_DIR_SYNC, "", &code)) {
        return code;
    }
    begin_step(sim);
    lsm_sim_dir_sync(dir);
    note_step(sim, STEP_DIR_SYNC, dir, NULL, 0, 0);
    return 0;
}

static int rename_file(lsm_dir *head, const char *from, const char *to) {
    lsm_sim *sim = lsm_sim_of(head->env);
    lsm_sim_dir *dir = dir_handle(head)->dir;
    const lsm_sim_entry *entry = lsm_sim_map_find(&dir->current, from);
    lsm_sim_inode *replaced = NULL;
    int code = 0;

    if (fails(sim, LSM_SIM_RENAME, from, &code)) {
        return code;
    }
    if (entry == NULL) {
        return ENOENT;
    }
    if (strcmp(from, to) == 0) {
        return 0;
    }
    begin_step(sim);
    if (!lsm_sim_dir_change(dir, LSM_SIM_OP_RENAME, to, entry->inode, &replaced)) {
        return ENOMEM;
    }
    if (replaced != NULL) {
        lsm_sim_drop_use(sim, replaced);
    }
    note_step(sim, STEP_RENAME, dir, from, 0, lsm_sim_name_hash(to));
    return 0;
}

static int unlink_file(lsm_dir *head, const char *name) {
    lsm_sim *sim = lsm_sim_of(head->env);
    lsm_sim_dir *dir = dir_handle(head)->dir;
    const lsm_sim_entry *entry = lsm_sim_map_find(&dir->current, name);
    lsm_sim_inode *removed = NULL;
    int code = 0;

    if (fails(sim, LSM_SIM_UNLINK, name, &code)) {
        return code;
    }
    if (entry == NULL) {
        return ENOENT;
    }
    begin_step(sim);
    if (!lsm_sim_dir_change(dir, LSM_SIM_OP_UNLINK, name, entry->inode, &removed)) {
        return ENOMEM;
    }
    lsm_sim_drop_use(sim, removed);
    note_step(sim, STEP_UNLINK, dir, name, 0, 0);
    return 0;
}

static int link_file(lsm_dir *from, const char *name, lsm_dir *head) {
    lsm_sim *sim = lsm_sim_of(from->env);
    lsm_sim_dir *to = dir_handle(head)->dir;
    const lsm_sim_entry *entry =
        lsm_sim_map_find(&dir_handle(from)->dir->current, name);
    lsm_sim_inode *replaced = NULL;
    int code = 0;

    if (fails(sim, LSM_SIM_LINK, name, &code)) {
        return code;
    }
    if (entry == NULL || lsm_sim_map_find(&to->current, name) != NULL) {
        return entry == NULL ? ENOENT : EEXIST;
    }
    lsm_sim_inode *inode = entry->inode;
    /* A crash treats each directory by itself: both names must find the same. */
    LSM_ASSERT(inode->cut_count == 0 && inode->durable_size == inode->size);
    begin_step(sim);
    if (!lsm_sim_dir_change(to, LSM_SIM_OP_CREATE, name, inode, &replaced)) {
        return ENOMEM;
    }
    LSM_ASSERT(replaced == NULL);
    lsm_sim_take_use(sim, inode);
    note_step(sim, STEP_LINK, to, name, 0, 0);
    return 0;
}

/* Removing a directory is no step and durable at once, as making it is. */
static int remove_dir(lsm_env *env, const char *path) {
    lsm_sim_dir *dir = lsm_sim_find_dir(lsm_sim_of(env), path);

    if (dir == NULL) {
        return ENOENT;
    }
    if (dir->current.count > 0) {
        return ENOTEMPTY;
    }
    dir->removed = true;
    return 0;
}

/* Adds an empty file under a name that is free; lends it. */
static lsm_sim_inode *create_file(lsm_sim *sim, lsm_sim_dir *dir, const char *name) {
    lsm_sim_inode *inode = lsm_sim_inode_create();
    lsm_sim_inode *replaced = NULL;

    if (inode == NULL) {
        return NULL;
    }
    begin_step(sim);
    bool done = lsm_sim_dir_change(dir, LSM_SIM_OP_CREATE, name, inode, &replaced);
    LSM_ASSERT(replaced == NULL);
    if (done) {
        lsm_sim_take_use(sim, inode);
        note_step(sim, STEP_CREATE, dir, name, 0, 0);
    }
    lsm_sim_inode_unref(inode); /* the names hold it now */
    return done ? inode : NULL;
}

static int lock_file(lsm_dir *head, const char *name, lsm_lock **lockp,
                     int64_t *holder) {
    lsm_sim *sim = lsm_sim_of(head->env);
    lsm_sim_dir *dir = dir_handle(head)->dir;

    for (const lsm_sim_handle *held = sim->locks; held != NULL; held = held->next) {
        if (held->dir == dir && strcmp(held->head.file.name, name) == 0) {
            *holder = getpid();
            return EWOULDBLOCK;
        }
    }
    lsm_sim_handle *handle = create_handle(sim, LSM_SIM_HANDLE_LOCK, dir);
    if (handle == NULL) {
        return ENOMEM;
    }
    memcpy(handle->head.file.name, name, strlen(name) + 1);
    if (lsm_sim_map_find(&dir->current, name) == NULL &&
        create_file(sim, dir, name) == NULL) {
        lsm_free(handle);
        return ENOMEM;
    }
    publish_handle(sim, &sim->locks, handle);
    *lockp = &handle->head.lock;
    return 0;
}

static void unlock_file(lsm_lock *lock) {
    lsm_sim *sim = lsm_sim_of(lock->env);
    lsm_sim_handle *handle = LSM_CONTAINER_OF(lock, lsm_sim_handle, head.lock);
    lsm_sim_handle **at = &sim->locks;

    LSM_ASSERT(handle->open);
    LSM_ASSERT(handle->kind == LSM_SIM_HANDLE_LOCK);
    while (*at != handle) {
        at = &(*at)->next;
    }
    *at = handle->next;
    handle->next = sim->handles;
    sim->handles = handle;
    handle->open = false;
    sim->open_count--;
}

static int file_open(lsm_dir *head, const char *name, lsm_open_mode mode,
                     lsm_file **filep) {
    lsm_sim *sim = lsm_sim_of(head->env);
    lsm_sim_dir *dir = dir_handle(head)->dir;
    const lsm_sim_entry *entry = lsm_sim_map_find(&dir->current, name);
    int code = 0;

    if (fails(sim, LSM_SIM_OPEN, name, &code)) {
        return code;
    }
    if ((mode == LSM_OPEN_READ) != (entry != NULL)) {
        return entry != NULL ? EEXIST : ENOENT;
    }
    lsm_sim_handle *handle = create_handle(sim, LSM_SIM_HANDLE_FILE, dir);
    if (handle == NULL) {
        return ENOMEM;
    }
    handle->inode = entry != NULL ? entry->inode : create_file(sim, dir, name);
    if (handle->inode == NULL) {
        lsm_free(handle);
        return ENOMEM;
    }
    handle->mode = mode;
    memcpy(handle->head.file.name, name, strlen(name) + 1);
    handle->inode->refs++;
    lsm_sim_take_use(sim, handle->inode);
    publish_handle(sim, &sim->handles, handle);
    *filep = &handle->head.file;
    return 0;
}

static int file_close(lsm_file *file) {
    lsm_sim *sim = lsm_sim_of(file->env);
    lsm_sim_handle *handle = file_handle(file);
    int code = 0;

    (void)fails(sim, LSM_SIM_CLOSE, file->name, &code); /* closed all the same */
    lsm_sim_drop_use(sim, handle->inode);
    lsm_sim_inode_unref(handle->inode);
    handle->inode = NULL;
    handle->open = false;
    sim->open_count--;
    return code;
}

static int file_read(lsm_file *file, uint64_t offset, void *to, size_t size,
                     size_t *got) {
    lsm_sim *sim = lsm_sim_of(file->env);
    const lsm_sim_inode *inode = file_handle(file)->inode;
    uint64_t part = offset < inode->size ? inode->size - offset : 0;
    int code = 0;

    *got = 0;
    part = size < part ? size : part;
    if (fails_transfer(sim, LSM_SIM_READ, file->name, &part, &code)) {
        return code;
    }
    if (interrupts(sim, &part)) {
        return EINTR;
    }
    if (part > 0) {
        memcpy(to, inode->bytes->data + offset, (size_t)part);
    }
    *got = (size_t)part;
    return 0;
}

static int file_append(lsm_file *file, const lsm_slice *pieces, size_t count,
                       size_t *put) {
    lsm_sim *sim = lsm_sim_of(file->env);
    const lsm_sim_handle *handle = file_handle(file);
    lsm_sim_inode *inode = handle->inode;
    uint64_t offset = inode->size;
    uint64_t size = 0;
    int code = 0;

    *put = 0;
    for (size_t i = 0; i < count; i++) {
        size += pieces[i].size;
    }
    if (fails_transfer(sim, LSM_SIM_APPEND, file->name, &size, &code)) {
        return code;
    }
    if (handle->mode == LSM_OPEN_READ) {
        return EBADF;
    }
    if (size == 0) {
        return 0;
    }
    if (interrupts(sim, &size)) {
        return EINTR;
    }
    if (sim->quota != 0) {
        uint64_t room = sim->quota > sim->used ? sim->quota - sim->used : 0;
        if (room == 0) {
            return ENOSPC;
        }
        size = size < room ? size : room; /* as a disk does: first short, then full */
    }
    begin_step(sim);
    if (!lsm_sim_inode_append(inode, pieces, count, size)) {
        return ENOMEM;
    }
    sim->used += size;
    note_step(sim, STEP_APPEND, handle->dir, file->name, offset,
              lsm_xxh3(inode->bytes->data + offset, (size_t)size));
    *put = (size_t)size;
    return 0;
}

static int file_truncate(lsm_file *file, uint64_t size) {
    lsm_sim *sim = lsm_sim_of(file->env);
    const lsm_sim_handle *handle = file_handle(file);
    uint64_t before = handle->inode->size;
    int code = 0;

    if (fails(sim, LSM_SIM_TRUNCATE, file->name, &code)) {
        return code;
    }
    if (handle->mode == LSM_OPEN_READ) {
        return EINVAL;
    }
    begin_step(sim);
    if (!lsm_sim_inode_truncate(handle->inode, size)) {
        return ENOMEM;
    }
    sim->used = sim->used - before + size;
    note_step(sim, STEP_TRUNCATE, handle->dir, file->name, size, 0);
    return 0;
}

/* The simulator has one thread, so writes come in the order of their offsets, or over
 * all that is behind. A file grows by zeros up to where a write that failed has left
 * off, and is cut first where it is written over: a crash may leave any part of either.
 */
static int file_write(lsm_file *file, uint64_t offset, lsm_slice piece, size_t *put) {
    static const uint8_t zeros[GAP_PART_SIZE];
    const lsm_sim_inode *inode = file_handle(file)->inode;

    *put = 0;
    if (offset < inode->size) {
        int code = file_truncate(file, offset);
        if (code != 0) {
            return code;
        }
    }
    while (inode->size < offset) {
        uint64_t gap = offset - inode->size;
        lsm_slice part =
            lsm_slice_make(zeros, gap < GAP_PART_SIZE ? (size_t)gap : GAP_PART_SIZE);
        size_t filled = 0;
        int code = file_append(file, &part, 1, &filled);
        if (code != 0 || filled == 0) {
            return code != 0 ? code : EINTR; /* the next try goes on from here */
        }
    }
    return file_append(file, &piece, 1, put);
}

static int file_sync(lsm_file *file) {
    lsm_sim *sim = lsm_sim_of(file->env);
    const lsm_sim_handle *handle = file_handle(file);
    lsm_sim_inode *inode = handle->inode;
    int code = 0;

    if (fails(sim, LSM_SIM_SYNC, file->name, &code)) {
        if (sim->fsyncgate) {
            begin_step(sim);
            if (!lsm_sim_inode_lose(inode)) {
                return ENOMEM;
            }
            note_step(sim, STEP_SYNC_LOST, handle->dir, file->name, inode->size, 0);
        }
        return code;
    }
    begin_step(sim);
    lsm_sim_inode_sync(inode);
    note_step(sim, STEP_SYNC, handle->dir, file->name, inode->size, 0);
    return 0;
}

static int file_size(lsm_file *file, uint64_t *size) {
    int code = 0;

    if (fails(lsm_sim_of(file->env), LSM_SIM_SIZE, file->name, &code)) {
        return code;
    }
    *size = file_handle(file)->inode->size;
    return 0;
}

static void file_allocate(lsm_file *file, uint64_t size) {
    (void)file_handle(file);
    (void)size;
}

static void file_will_need(lsm_file *file, uint64_t offset, uint64_t size) {
    (void)file_handle(file);
    (void)offset;
    (void)size;
}

static uint64_t now_ms(lsm_env *env) {
    return lsm_sim_of(env)->now_ms;
}

static uint64_t monotonic_ns(lsm_env *env) {
    return lsm_sim_of(env)->monotonic_us * 1000;
}

static void entropy(lsm_env *env, void *to, size_t size) {
    lsm_sim *sim = lsm_sim_of(env);
    uint8_t *at = (uint8_t *)to;

    for (size_t i = 0; i < size; i++) {
        at[i] = (uint8_t)(lsm_rng_next(&sim->entropy) >> 32);
    }
}

const lsm_env_ops lsm_sim_ops = {
    .dir_open = dir_open,
    .dir_close = dir_close,
    .dir_list = dir_list,
    .dir_sync = dir_sync,
    .rename = rename_file,
    .unlink = unlink_file,
    .link = link_file,
    .dir_remove = remove_dir,
    .lock = lock_file,
    .unlock = unlock_file,
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
    .now_ms = now_ms,
    .monotonic_ns = monotonic_ns,
    .entropy = entropy,
};
