/* SPDX-License-Identifier: Apache-2.0
 *
 * Legal states after a crash. A process crash copies everything as it is, pending or
 * not, since the system still holds it. A power failure
 *
 *   1. picks the names: the durable ones and none, all, the first few or any subset of
 *      the pending operations, in order;
 *   2. gives each file so named contents of its own: durable bytes unchanged, pending
 *      ones as the mode says, bytes that a failed sync gave up always zero.
 *
 * Everything is durable in the new directory. What damages no byte shares the contents
 * with the original.
 */
#include "env/sim_crash.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

typedef enum file_fate {
    FILE_STRICT,
    FILE_ALL,
    FILE_PREFIX,
    FILE_SUBSET,
    FILE_EXTEND,
    FILE_GARBAGE,
    FILE_FATE_COUNT
} file_fate;

typedef enum dir_fate {
    DIR_STRICT,
    DIR_ALL,
    DIR_PREFIX,
    DIR_SUBSET,
    DIR_FATE_COUNT
} dir_fate;

/* Sectors survive with a chance of 1..7 of ODDS, drawn once per file. */
enum { ODDS = 8 };

static file_fate pick_file_fate(lsm_sim_fate *fate) {
    switch (fate->mode) {
        case LSM_CRASH_STRICT:
            return FILE_STRICT;
        case LSM_CRASH_PREFIX:
            return FILE_PREFIX;
        case LSM_CRASH_SUBSET:
            return FILE_SUBSET;
        case LSM_CRASH_EXTEND:
            return FILE_EXTEND;
        case LSM_CRASH_GARBAGE:
            return FILE_GARBAGE;
        case LSM_CRASH_MIXED:
            return (file_fate)lsm_rng_below(&fate->rng, FILE_FATE_COUNT);
        case LSM_CRASH_ALL:
        case LSM_CRASH_DIR_STRICT:
        case LSM_CRASH_DIR_SUBSET:
        case LSM_CRASH_MODE_COUNT:
        default:
            return FILE_ALL;
    }
}

static dir_fate pick_dir_fate(lsm_sim_fate *fate) {
    switch (fate->mode) {
        case LSM_CRASH_STRICT:
        case LSM_CRASH_DIR_STRICT:
            return DIR_STRICT;
        case LSM_CRASH_PREFIX:
            return DIR_PREFIX;
        case LSM_CRASH_DIR_SUBSET:
            return DIR_SUBSET;
        case LSM_CRASH_MIXED:
            return (dir_fate)lsm_rng_below(&fate->rng, DIR_FATE_COUNT);
        case LSM_CRASH_ALL:
        case LSM_CRASH_SUBSET:
        case LSM_CRASH_EXTEND:
        case LSM_CRASH_GARBAGE:
        case LSM_CRASH_MODE_COUNT:
        default:
            return DIR_ALL;
    }
}

/* Writes into the empty file `to` the first `size` bytes of what `from` held after its
 * first `kept` cuts. */
static bool rebuild(lsm_sim_inode *to, const lsm_sim_inode *from, size_t kept,
                    uint64_t size) {
    uint64_t untouched = from->size; /* below it, the current bytes are the old ones */
    uint64_t room = from->size;

    for (size_t i = kept; i < from->cut_count; i++) {
        untouched = from->cuts[i].to < untouched ? from->cuts[i].to : untouched;
        room = from->cuts[i].from > room ? from->cuts[i].from : room;
    }
    LSM_ASSERT(size <= room);
    if (kept == from->cut_count && from->lost_count == 0) {
        lsm_sim_inode_share(to, from, size);
        return true;
    }
    if (!lsm_sim_inode_reserve(to, room)) {
        return false;
    }
    if (untouched > 0) {
        memcpy(to->bytes->data, from->bytes->data, (size_t)untouched);
    }
    for (size_t i = 0; i < from->lost_count; i++) {
        const lsm_sim_range *lost = &from->lost[i];
        if (lost->start < untouched) {
            uint64_t end = lost->end < untouched ? lost->end : untouched;
            memset(to->bytes->data + lost->start, 0, (size_t)(end - lost->start));
        }
    }
    for (size_t i = from->cut_count; i > kept; i--) {
        const lsm_sim_cut *cut = &from->cuts[i - 1];
        memcpy(to->bytes->data + cut->to, cut->data, (size_t)(cut->from - cut->to));
    }
    to->size = size;
    return true;
}

/* Cuts the history of the file since its last sync anywhere, at a byte or, every
 * second time, at a sector. */
static bool crash_prefix(lsm_sim_inode *to, const lsm_sim_inode *from,
                         lsm_sim_fate *fate) {
    uint64_t total = 0;
    uint64_t start = from->durable_size;

    for (size_t i = 0; i < from->cut_count; i++) {
        total += from->cuts[i].from - start + 1;
        start = from->cuts[i].to;
    }
    total += from->size - start + 1;

    uint64_t at = lsm_rng_below(&fate->rng, total);
    bool whole_sectors = lsm_rng_below(&fate->rng, 2) == 0;
    size_t kept = 0;
    start = from->durable_size;
    for (; kept < from->cut_count; kept++) {
        uint64_t span = from->cuts[kept].from - start + 1;
        if (at < span) {
            break;
        }
        at -= span;
        start = from->cuts[kept].to;
    }
    uint64_t size = start + at;
    if (whole_sectors) {
        size -= size % fate->sector;
        size = size < start ? start : size;
    }
    return rebuild(to, from, kept, size);
}

static void scramble(uint8_t *data, size_t size, lsm_rng *rng) {
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t word = lsm_rng_next(rng);
        size_t part = size - i < sizeof(word) ? size - i : sizeof(word);
        memcpy(data + i, &word, part);
    }
}

/* Damages the pending part of `to`, which holds all current bytes of `from`: each
 * sector is there or not. What is missing shows what the disk held before, where
 * `from` was cut below its durable size, else zeros; or garbage. */
static bool crash_sectors(lsm_sim_inode *to, const lsm_sim_inode *from, file_fate kind,
                          lsm_sim_fate *fate) {
    uint64_t at = lsm_sim_inode_stable(from);
    uint64_t odds = kind == FILE_EXTEND ? 0 : lsm_rng_below(&fate->rng, ODDS);
    lsm_sim_inode old = {0};
    bool done = false;

    if (kind == FILE_SUBSET && at < from->durable_size &&
        !rebuild(&old, from, 0, from->durable_size)) {
        goto out;
    }
    if (at < to->size && !lsm_sim_inode_reserve(to, to->size)) {
        goto out;
    }
    while (at < to->size) {
        uint64_t end = at - at % fate->sector + fate->sector;
        end = end < to->size ? end : to->size;
        bool there = lsm_rng_below(&fate->rng, ODDS) < odds;
        if (!there) {
            memset(to->bytes->data + at, 0, (size_t)(end - at));
        }
        if (!there && at < old.size) {
            uint64_t known = end < old.size ? end : old.size;
            memcpy(to->bytes->data + at, old.bytes->data + at, (size_t)(known - at));
        }
        if (!there && kind == FILE_GARBAGE) {
            scramble(to->bytes->data + at, (size_t)(end - at), &fate->rng);
        }
        at = end;
    }
    done = true;
out:
    /* A file on the stack: only its contents were allocated. */
    lsm_sim_inode_release_bytes(&old);
    return done;
}

static lsm_sim_inode *crash_file(const lsm_sim_inode *from, lsm_sim_fate *fate) {
    file_fate kind = pick_file_fate(fate);
    bool settled = from->cut_count == 0 && from->durable_size == from->size;
    lsm_sim_inode *to = lsm_sim_inode_create();
    bool done;

    if (to == NULL) {
        return NULL;
    }
    if (settled || kind == FILE_ALL) {
        done = rebuild(to, from, from->cut_count, from->size);
    } else if (kind == FILE_STRICT) {
        done = rebuild(to, from, 0, from->durable_size);
    } else if (kind == FILE_PREFIX) {
        done = crash_prefix(to, from, fate);
    } else {
        done = rebuild(to, from, from->cut_count, from->size) &&
               crash_sectors(to, from, kind, fate);
    }
    if (!done) {
        lsm_sim_inode_unref(to);
        return NULL;
    }
    to->durable_size = to->size;
    return to;
}

/* The names after a power failure, borrowing the files of `from`. */
static bool crash_names(lsm_sim_map *names, const lsm_sim_dir *from,
                        lsm_sim_fate *fate) {
    dir_fate kind = pick_dir_fate(fate);
    bool current = kind == DIR_ALL || from->op_count == 0;
    const lsm_sim_map *start = current ? &from->current : &from->durable;
    size_t op_count = current ? 0 : from->op_count;

    if (kind == DIR_STRICT) {
        op_count = 0;
    } else if (kind == DIR_PREFIX && op_count > 0) {
        op_count = (size_t)lsm_rng_below(&fate->rng, op_count + 1);
    }
    if (start->count + op_count == 0) {
        return true;
    }
    if (!lsm_sim_map_reserve(names, start->count + op_count)) {
        return false;
    }
    if (start->count > 0) {
        memcpy(names->entries, start->entries, start->count * sizeof(lsm_sim_entry));
    }
    names->count = start->count;
    for (size_t i = 0; i < op_count; i++) {
        if (kind == DIR_PREFIX || lsm_rng_below(&fate->rng, 2) == 0) {
            (void)lsm_sim_map_apply(names, &from->ops[i]);
        }
    }
    return true;
}

static bool fail_power(lsm_sim_dir *to, const lsm_sim_dir *from, lsm_sim_fate *fate) {
    if (!crash_names(&to->current, from, fate)) {
        return false;
    }
    for (size_t i = 0; i < to->current.count; i++) {
        lsm_sim_entry *entry = &to->current.entries[i];
        entry->inode = crash_file(entry->inode, fate);
        if (entry->inode == NULL) {
            to->current.count = i; /* the rest is borrowed */
            return false;
        }
        entry->inode->uses = 1;
    }
    return true;
}

/* The copy of a file with its pending state; the same one for each name and op. */
static lsm_sim_inode *copy_file(lsm_sim_inode *from) {
    lsm_sim_inode *to;

    if (from->copy != NULL) {
        from->copy->refs++;
        return from->copy;
    }
    to = lsm_sim_inode_create();
    if (to == NULL) {
        return NULL;
    }
    lsm_sim_inode_share(to, from, from->size);
    to->durable_size = from->durable_size;
    if (!lsm_sim_inode_copy_pending(to, from)) {
        lsm_sim_inode_unref(to);
        return NULL;
    }
    from->copy = to;
    return to;
}

static bool copy_map(lsm_sim_map *to, const lsm_sim_map *from) {
    if (from->count == 0) {
        return true;
    }
    if (!lsm_sim_map_reserve(to, from->count)) {
        return false;
    }
    for (; to->count < from->count; to->count++) {
        lsm_sim_entry *entry = &to->entries[to->count];
        *entry = from->entries[to->count];
        entry->inode = copy_file(entry->inode);
        if (entry->inode == NULL) {
            return false;
        }
    }
    return true;
}

static bool fail_process(lsm_sim_dir *to, const lsm_sim_dir *from) {
    if (!copy_map(&to->current, &from->current)) {
        return false;
    }
    for (size_t i = 0; i < to->current.count; i++) {
        to->current.entries[i].inode->uses = 1;
    }
    if (from->op_count == 0) {
        return true;
    }
    void *ops = NULL;
    if (!copy_map(&to->durable, &from->durable) ||
        !lsm_grow(&ops, &to->op_capacity, from->op_count, sizeof(lsm_sim_op))) {
        return false;
    }
    to->ops = (lsm_sim_op *)ops;
    for (; to->op_count < from->op_count; to->op_count++) {
        lsm_sim_op *op = &to->ops[to->op_count];
        *op = from->ops[to->op_count];
        op->entry.inode = copy_file(op->entry.inode);
        if (op->entry.inode == NULL) {
            return false;
        }
    }
    return true;
}

static void forget_copies(const lsm_sim_dir *from) {
    for (size_t i = 0; i < from->current.count; i++) {
        from->current.entries[i].inode->copy = NULL;
    }
    for (size_t i = 0; i < from->durable.count; i++) {
        from->durable.entries[i].inode->copy = NULL;
    }
    for (size_t i = 0; i < from->op_count; i++) {
        from->ops[i].entry.inode->copy = NULL;
    }
}

lsm_sim_dir *lsm_sim_dir_crash(lsm_sim_dir *from, lsm_sim_fate *fate) {
    lsm_sim_dir *to = lsm_sim_dir_create(from->path);
    bool done;

    if (to == NULL) {
        return NULL;
    }
    if (fate->mode == LSM_CRASH_ALL) {
        done = fail_process(to, from);
        forget_copies(from);
    } else {
        done = fail_power(to, from, fate);
    }
    if (!done) {
        lsm_sim_dir_destroy(to);
        return NULL;
    }
    return to;
}
