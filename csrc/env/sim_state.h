/* SPDX-License-Identifier: Apache-2.0
 *
 * The disk of the simulator: what a file and a directory hold now, and what a power
 * failure may leave of them. env_sim.c turns calls into changes of this state,
 * sim_crash.c derives legal states from it. Private to env/.
 *
 * File. `bytes` are the current contents. Files only grow, except by truncation, so
 * the durable contents are a prefix of the current ones and pending bytes need no
 * list: [durable_size, size). A truncation pushes what it removed as a `cut`; undoing
 * the cuts newest first gives back every earlier state. A successful sync forgets
 * them. `lost` are ranges that a failed sync has thrown away for good (fsyncgate):
 * readable now, zeros after a power failure.
 *
 * Contents are shared between a file and its copies in crashed envs (`refs` is
 * atomic, since those envs may go to other threads) and copied before a write by
 * anyone who is not their only owner. So a crash costs memory traffic per file and
 * not per byte, except where it damages pending bytes.
 *
 * Directory. `entries` are the current names, `ops` the changes since the last
 * directory sync and `durable` the names as of then, kept only while there are ops.
 * A file has at most one name in a directory: every operation carries the file it is
 * about. Only synced files have names in several.
 *
 * Ownership: a file is counted by each entry and op that names it and each handle.
 */
#ifndef LSM_ENV_SIM_STATE_H
#define LSM_ENV_SIM_STATE_H

#include <stdatomic.h>

#include "env/env.h"

typedef struct lsm_sim_bytes {
    _Atomic uint32_t refs;
    size_t capacity;
    uint8_t data[];
} lsm_sim_bytes;

/* A truncation from size `from` to `to`; `data` are the from - to bytes removed. */
typedef struct lsm_sim_cut {
    uint64_t from;
    uint64_t to;
    uint8_t *data; /* owned */
} lsm_sim_cut;

typedef struct lsm_sim_range {
    uint64_t start;
    uint64_t end;
} lsm_sim_range;

typedef struct lsm_sim_inode {
    uint32_t refs;
    uint32_t uses;        /* current names and open handles: zero frees its quota */
    lsm_sim_bytes *bytes; /* shared; NULL when nothing was ever written */
    uint64_t size;
    uint64_t durable_size;
    lsm_sim_cut *cuts; /* since the last sync, oldest first */
    size_t cut_count;
    size_t cut_capacity;
    lsm_sim_range *lost; /* ascending, disjoint */
    size_t lost_count;
    size_t lost_capacity;
    struct lsm_sim_inode *copy; /* scratch of a crash that keeps pending state */
} lsm_sim_inode;

typedef struct lsm_sim_entry {
    lsm_sim_inode *inode;
    uint64_t hash; /* of the name */
    char name[LSM_NAME_SIZE_MAX];
} lsm_sim_entry;

typedef enum lsm_sim_op_kind {
    LSM_SIM_OP_CREATE,
    LSM_SIM_OP_RENAME, /* the entry is the new name */
    LSM_SIM_OP_UNLINK,
} lsm_sim_op_kind;

typedef struct lsm_sim_op {
    lsm_sim_op_kind kind;
    lsm_sim_entry entry;
} lsm_sim_op;

typedef struct lsm_sim_map {
    lsm_sim_entry *entries;
    size_t count;
    size_t capacity;
} lsm_sim_map;

typedef struct lsm_sim_dir {
    struct lsm_sim_dir *next;
    char *path;   /* owned */
    bool removed; /* only its open handles know it now */
    uint64_t hash;
    lsm_sim_map current;
    lsm_sim_map durable; /* meaningful while op_count > 0 */
    lsm_sim_op *ops;
    size_t op_count;
    size_t op_capacity;
} lsm_sim_dir;

lsm_sim_inode *lsm_sim_inode_create(void); /* one reference; NULL: no memory */
void lsm_sim_inode_unref(lsm_sim_inode *inode);
/* Shares the first `size` bytes of `from`'s contents; `to` is empty. */
void lsm_sim_inode_share(lsm_sim_inode *to, const lsm_sim_inode *from, uint64_t size);
/* Frees what a file on the stack shares or holds; it has no cuts. */
void lsm_sim_inode_release_bytes(lsm_sim_inode *inode);
/* Copies cuts and lost ranges into a fresh file. */
bool lsm_sim_inode_copy_pending(lsm_sim_inode *to,
                                const lsm_sim_inode *from) LSM_MUST_CHECK;
/* Makes the contents private, with room for `capacity` bytes. */
bool lsm_sim_inode_reserve(lsm_sim_inode *inode, uint64_t capacity) LSM_MUST_CHECK;
/* Appends the first `size` bytes of the pieces. */
bool lsm_sim_inode_append(lsm_sim_inode *inode, const lsm_slice *pieces, size_t count,
                          uint64_t size) LSM_MUST_CHECK;
/* Cuts, or extends with zeros. */
bool lsm_sim_inode_truncate(lsm_sim_inode *inode, uint64_t size) LSM_MUST_CHECK;
void lsm_sim_inode_sync(lsm_sim_inode *inode);
/* New durable contents; `data` may lie inside the old ones. */
bool lsm_sim_inode_replace(lsm_sim_inode *inode, const void *data,
                           size_t size) LSM_MUST_CHECK;
/* Gives up everything written since the last sync. */
bool lsm_sim_inode_lose(lsm_sim_inode *inode) LSM_MUST_CHECK;
/* The first byte that is not as of the last sync. */
uint64_t lsm_sim_inode_stable(const lsm_sim_inode *inode);

uint64_t lsm_sim_name_hash(const char *name);
lsm_sim_entry *lsm_sim_map_find(const lsm_sim_map *map, const char *name);
bool lsm_sim_map_reserve(lsm_sim_map *map, size_t count) LSM_MUST_CHECK;
/* Applies one operation, without counting references; the map has room for one more
 * entry. Answers the file that lost its name, or NULL. */
lsm_sim_inode *lsm_sim_map_apply(lsm_sim_map *map, const lsm_sim_op *op);

lsm_sim_dir *lsm_sim_dir_create(const char *path); /* NULL: no memory */
void lsm_sim_dir_destroy(lsm_sim_dir *dir);
/* Performs an operation on a name of at most LSM_NAME_SIZE_MAX - 1 bytes and remembers
 * it as pending. *replaced is the file that lost its name, or NULL; it still lives. */
bool lsm_sim_dir_change(lsm_sim_dir *dir, lsm_sim_op_kind kind, const char *name,
                        lsm_sim_inode *inode, lsm_sim_inode **replaced) LSM_MUST_CHECK;
void lsm_sim_dir_sync(lsm_sim_dir *dir);

#endif
