/* SPDX-License-Identifier: Apache-2.0
 *
 * The changes of simulated files and directories. Every function either does all of
 * its change or, out of memory, none.
 */
#include "env/sim_state.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/xxh3.h"

enum { BYTES_MIN = 256 };

static void unref_bytes(lsm_sim_bytes *bytes) {
    /* Acquire and release: the last owner frees what the others have read. */
    if (bytes != NULL &&
        atomic_fetch_sub_explicit(&bytes->refs, 1, memory_order_acq_rel) == 1) {
        lsm_free(bytes);
    }
}

static void forget_cuts(lsm_sim_inode *inode) {
    for (size_t i = 0; i < inode->cut_count; i++) {
        lsm_free(inode->cuts[i].data);
    }
    inode->cut_count = 0;
}

lsm_sim_inode *lsm_sim_inode_create(void) {
    lsm_sim_inode *inode = (lsm_sim_inode *)lsm_calloc(1, sizeof(*inode));

    if (inode != NULL) {
        inode->refs = 1;
    }
    return inode;
}

void lsm_sim_inode_unref(lsm_sim_inode *inode) {
    if (inode == NULL) {
        return;
    }
    LSM_ASSERT(inode->refs > 0);
    if (--inode->refs == 0) {
        forget_cuts(inode);
        unref_bytes(inode->bytes);
        lsm_free(inode->cuts);
        lsm_free(inode->lost);
        lsm_free(inode);
    }
}

void lsm_sim_inode_share(lsm_sim_inode *to, const lsm_sim_inode *from, uint64_t size) {
    LSM_ASSERT(to->bytes == NULL);
    LSM_ASSERT(size <= from->size);
    to->size = size;
    if (size > 0) {
        /* Relaxed: the new owner comes from one who keeps the bytes alive. */
        atomic_fetch_add_explicit(&from->bytes->refs, 1, memory_order_relaxed);
        to->bytes = from->bytes;
    }
}

void lsm_sim_inode_release_bytes(lsm_sim_inode *inode) {
    unref_bytes(inode->bytes);
    inode->bytes = NULL;
    inode->size = 0;
}

bool lsm_sim_inode_copy_pending(lsm_sim_inode *to, const lsm_sim_inode *from) {
    if (from->lost_count > 0) {
        void *lost = NULL;
        if (!lsm_grow(&lost, &to->lost_capacity, from->lost_count,
                      sizeof(lsm_sim_range))) {
            return false;
        }
        to->lost = (lsm_sim_range *)lost;
        to->lost_count = from->lost_count;
        memcpy(to->lost, from->lost, from->lost_count * sizeof(lsm_sim_range));
    }
    if (from->cut_count > 0) {
        void *cuts = NULL;
        if (!lsm_grow(&cuts, &to->cut_capacity, from->cut_count, sizeof(lsm_sim_cut))) {
            return false;
        }
        to->cuts = (lsm_sim_cut *)cuts;
    }
    for (; to->cut_count < from->cut_count; to->cut_count++) {
        const lsm_sim_cut *cut = &from->cuts[to->cut_count];
        size_t size = (size_t)(cut->from - cut->to);
        uint8_t *data = (uint8_t *)lsm_alloc(size);
        if (data == NULL) {
            return false;
        }
        memcpy(data, cut->data, size);
        to->cuts[to->cut_count] = (lsm_sim_cut){cut->from, cut->to, data};
    }
    return true;
}

bool lsm_sim_inode_reserve(lsm_sim_inode *inode, uint64_t capacity) {
    lsm_sim_bytes *old = inode->bytes;
    lsm_sim_bytes *bytes;

    /* Acquire: pairs with the release of an owner that has just let go. */
    if (old != NULL && old->capacity >= capacity &&
        atomic_load_explicit(&old->refs, memory_order_acquire) == 1) {
        return true;
    }
    if (old != NULL && capacity < 2 * inode->size && capacity > old->capacity) {
        capacity = 2 * inode->size;
    }
    if (capacity < BYTES_MIN) {
        capacity = BYTES_MIN;
    }
    if (capacity > SIZE_MAX / 4) {
        return false;
    }
    bytes = (lsm_sim_bytes *)lsm_alloc(sizeof(*bytes) + (size_t)capacity);
    if (bytes == NULL) {
        return false;
    }
    atomic_init(&bytes->refs, 1);
    bytes->capacity = (size_t)capacity;
    if (old != NULL) { /* an empty file may have none */
        memcpy(bytes->data, old->data, (size_t)inode->size);
    }
    unref_bytes(old);
    inode->bytes = bytes;
    return true;
}

bool lsm_sim_inode_append(lsm_sim_inode *inode, const lsm_slice *pieces, size_t count,
                          uint64_t size) {
    if (size > SIZE_MAX / 4 || !lsm_sim_inode_reserve(inode, inode->size + size)) {
        return false;
    }
    uint8_t *to = inode->bytes->data + inode->size;
    uint64_t left = size;
    for (size_t i = 0; i < count && left > 0; i++) {
        size_t part = pieces[i].size < left ? pieces[i].size : (size_t)left;
        if (part > 0) {
            memcpy(to, pieces[i].data, part);
            to += part;
            left -= part;
        }
    }
    LSM_ASSERT(left == 0);
    inode->size += size;
    return true;
}

static bool extend(lsm_sim_inode *inode, uint64_t size) {
    if (!lsm_sim_inode_reserve(inode, size)) {
        return false;
    }
    memset(inode->bytes->data + inode->size, 0, (size_t)(size - inode->size));
    inode->size = size;
    return true;
}

/* Zeros in `data`, which stands for the file from `start` on, what was given up. */
static void blank_lost(const lsm_sim_inode *inode, uint8_t *data, uint64_t start,
                       uint64_t end) {
    for (size_t i = 0; i < inode->lost_count; i++) {
        uint64_t from = inode->lost[i].start > start ? inode->lost[i].start : start;
        uint64_t to = inode->lost[i].end < end ? inode->lost[i].end : end;
        if (from < to) {
            memset(data + (from - start), 0, (size_t)(to - from));
        }
    }
}

static void clip_lost(lsm_sim_inode *inode, uint64_t size) {
    while (inode->lost_count > 0) {
        lsm_sim_range *last = &inode->lost[inode->lost_count - 1];
        if (last->start < size) {
            last->end = last->end < size ? last->end : size;
            return;
        }
        inode->lost_count--;
    }
}

bool lsm_sim_inode_truncate(lsm_sim_inode *inode, uint64_t size) {
    if (size > inode->size) {
        return extend(inode, size);
    }
    if (size == inode->size) {
        return true;
    }
    void *cuts = inode->cuts;
    if (!lsm_grow(&cuts, &inode->cut_capacity, inode->cut_count + 1,
                  sizeof(lsm_sim_cut))) {
        return false;
    }
    inode->cuts = (lsm_sim_cut *)cuts;

    size_t removed = (size_t)(inode->size - size);
    uint8_t *data = (uint8_t *)lsm_alloc(removed);
    if (data == NULL) {
        return false;
    }
    memcpy(data, inode->bytes->data + size, removed);
    blank_lost(inode, data, size, inode->size);
    clip_lost(inode, size);
    inode->cuts[inode->cut_count++] = (lsm_sim_cut){inode->size, size, data};
    inode->size = size;
    return true;
}

void lsm_sim_inode_sync(lsm_sim_inode *inode) {
    forget_cuts(inode);
    inode->durable_size = inode->size;
}

bool lsm_sim_inode_replace(lsm_sim_inode *inode, const void *data, size_t size) {
    lsm_sim_inode fresh = {0};
    lsm_slice piece = lsm_slice_make(data, size);

    if (size > 0 && !lsm_sim_inode_append(&fresh, &piece, 1, size)) {
        return false;
    }
    unref_bytes(inode->bytes);
    inode->bytes = fresh.bytes;
    inode->size = size;
    inode->lost_count = 0;
    lsm_sim_inode_sync(inode);
    return true;
}

uint64_t lsm_sim_inode_stable(const lsm_sim_inode *inode) {
    uint64_t stable = inode->durable_size;

    for (size_t i = 0; i < inode->cut_count; i++) {
        stable = inode->cuts[i].to < stable ? inode->cuts[i].to : stable;
    }
    return stable;
}

bool lsm_sim_inode_lose(lsm_sim_inode *inode) {
    uint64_t start = lsm_sim_inode_stable(inode);
    uint64_t end = inode->size;
    void *lost = inode->lost;

    if (start >= end) {
        return true;
    }
    if (!lsm_grow(&lost, &inode->lost_capacity, inode->lost_count + 1,
                  sizeof(lsm_sim_range))) {
        return false;
    }
    inode->lost = (lsm_sim_range *)lost;
    clip_lost(inode, start);
    inode->lost[inode->lost_count++] = (lsm_sim_range){start, end};
    return true;
}

uint64_t lsm_sim_name_hash(const char *name) {
    return lsm_xxh3(name, strlen(name));
}

static lsm_sim_entry *find_hashed(const lsm_sim_map *map, const char *name,
                                  uint64_t hash) {
    for (size_t i = 0; i < map->count; i++) {
        lsm_sim_entry *entry = &map->entries[i];
        if (entry->hash == hash && strcmp(entry->name, name) == 0) {
            return entry;
        }
    }
    return NULL;
}

lsm_sim_entry *lsm_sim_map_find(const lsm_sim_map *map, const char *name) {
    return find_hashed(map, name, lsm_sim_name_hash(name));
}

bool lsm_sim_map_reserve(lsm_sim_map *map, size_t count) {
    void *entries = map->entries;

    if (!lsm_grow(&entries, &map->capacity, count, sizeof(lsm_sim_entry))) {
        return false;
    }
    map->entries = (lsm_sim_entry *)entries;
    return true;
}

static void remove_entry(lsm_sim_map *map, lsm_sim_entry *entry) {
    lsm_sim_entry *last = &map->entries[map->count - 1];

    if (entry != last) {
        *entry = *last;
    }
    map->count--;
}

/* Takes away the name that the file has so far: a rename is one step, also where the
 * operation that gave that name is missing from this map. */
static void remove_inode(lsm_sim_map *map, const lsm_sim_inode *inode) {
    for (size_t i = 0; i < map->count; i++) {
        if (map->entries[i].inode == inode) {
            remove_entry(map, &map->entries[i]);
            return;
        }
    }
}

lsm_sim_inode *lsm_sim_map_apply(lsm_sim_map *map, const lsm_sim_op *op) {
    lsm_sim_inode *before = NULL;
    lsm_sim_entry *entry;

    if (op->kind == LSM_SIM_OP_RENAME) {
        remove_inode(map, op->entry.inode);
    }
    entry = find_hashed(map, op->entry.name, op->entry.hash);
    if (op->kind == LSM_SIM_OP_UNLINK) {
        if (entry == NULL || entry->inode != op->entry.inode) {
            return NULL;
        }
        remove_entry(map, entry);
        return op->entry.inode;
    }
    if (entry != NULL) {
        before = entry->inode;
        *entry = op->entry;
        return before;
    }
    LSM_ASSERT(map->count < map->capacity);
    map->entries[map->count++] = op->entry;
    return NULL;
}

static void clear_map(lsm_sim_map *map) {
    for (size_t i = 0; i < map->count; i++) {
        lsm_sim_inode_unref(map->entries[i].inode);
    }
    map->count = 0;
}

lsm_sim_dir *lsm_sim_dir_create(const char *path) {
    lsm_sim_dir *dir = (lsm_sim_dir *)lsm_calloc(1, sizeof(*dir));

    if (dir == NULL) {
        return NULL;
    }
    dir->hash = lsm_sim_name_hash(path);
    dir->path = lsm_strdup(path);
    if (dir->path == NULL) {
        lsm_free(dir);
        return NULL;
    }
    return dir;
}

void lsm_sim_dir_destroy(lsm_sim_dir *dir) {
    lsm_sim_dir_sync(dir);
    clear_map(&dir->current);
    lsm_free(dir->current.entries);
    lsm_free(dir->durable.entries);
    lsm_free(dir->ops);
    lsm_free(dir->path);
    lsm_free(dir);
}

/* Makes room for one more op and, before the first one, keeps the names as they are
 * now: those are the durable ones. */
static bool prepare_change(lsm_sim_dir *dir) {
    void *ops = dir->ops;

    if (!lsm_grow(&ops, &dir->op_capacity, dir->op_count + 1, sizeof(lsm_sim_op))) {
        return false;
    }
    dir->ops = (lsm_sim_op *)ops;
    if (!lsm_sim_map_reserve(&dir->current, dir->current.count + 1)) {
        return false;
    }
    if (dir->op_count > 0 || dir->current.count == 0) {
        return true;
    }
    if (!lsm_sim_map_reserve(&dir->durable, dir->current.count)) {
        return false;
    }
    memcpy(dir->durable.entries, dir->current.entries,
           dir->current.count * sizeof(lsm_sim_entry));
    dir->durable.count = dir->current.count;
    for (size_t i = 0; i < dir->durable.count; i++) {
        dir->durable.entries[i].inode->refs++;
    }
    return true;
}

bool lsm_sim_dir_change(lsm_sim_dir *dir, lsm_sim_op_kind kind, const char *name,
                        lsm_sim_inode *inode, lsm_sim_inode **replaced) {
    size_t count = dir->current.count;

    *replaced = NULL;
    if (!prepare_change(dir)) {
        return false;
    }
    lsm_sim_op *op = &dir->ops[dir->op_count++];
    *op = (lsm_sim_op){kind, {inode, lsm_sim_name_hash(name), {0}}};
    memcpy(op->entry.name, name, strlen(name) + 1);
    inode->refs++;
    *replaced = lsm_sim_map_apply(&dir->current, op);

    /* The references of the current map, which apply does not count. */
    if (kind == LSM_SIM_OP_CREATE) {
        inode->refs++;
    }
    if (*replaced != NULL) {
        lsm_sim_inode_unref(*replaced);
    }
    LSM_ASSERT(dir->current.count <= count + 1);
    return true;
}

void lsm_sim_dir_sync(lsm_sim_dir *dir) {
    for (size_t i = 0; i < dir->op_count; i++) {
        lsm_sim_inode_unref(dir->ops[i].entry.inode);
    }
    dir->op_count = 0;
    clear_map(&dir->durable);
}
