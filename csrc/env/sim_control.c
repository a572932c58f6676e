/* SPDX-License-Identifier: Apache-2.0
 *
 * What a test does to the simulator: make, crash and destroy it, order failures, set
 * the clock, look into files and damage them.
 *
 * Reaching into a file makes its directory and its contents durable first, so that
 * damage is damage and never a legal crash state.
 */
#include "env/sim_env.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/xxh3.h"
#include "env/sim_crash.h"

static const uint64_t CLOCK_START_MS = 1700000000000u;

/* Streams of randomness that must not disturb each other. */
enum { ENTROPY_STREAM = 1, ODDS_STREAM = 2, CRASH_STREAM = 3 };

lsm_sim *lsm_sim_of(lsm_env *env) {
    return LSM_CONTAINER_OF(env, lsm_sim, head);
}

static const lsm_sim *const_sim_of(const lsm_env *env) {
    return (const lsm_sim *)env; /* the head comes first */
}

lsm_sim_dir *lsm_sim_find_dir(const lsm_sim *sim, const char *path) {
    for (lsm_sim_dir *dir = sim->dirs; dir != NULL; dir = dir->next) {
        if (!dir->removed && strcmp(dir->path, path) == 0) {
            return dir;
        }
    }
    return NULL;
}

void lsm_sim_take_use(lsm_sim *sim, lsm_sim_inode *inode) {
    if (inode->uses++ == 0) {
        sim->used += inode->size;
    }
}

void lsm_sim_drop_use(lsm_sim *sim, lsm_sim_inode *inode) {
    LSM_ASSERT(inode->uses > 0);
    if (--inode->uses == 0) {
        LSM_ASSERT(sim->used >= inode->size);
        sim->used -= inode->size;
    }
}

lsm_env *lsm_sim_create(uint64_t seed) {
    lsm_sim *sim = (lsm_sim *)lsm_calloc(1, sizeof(*sim));

    if (sim == NULL) {
        return NULL;
    }
    sim->head.ops = &lsm_sim_ops;
    sim->now_ms = CLOCK_START_MS;
    sim->history = seed;
    sim->entropy.state = lsm_xxh3_seeded(&seed, sizeof(seed), ENTROPY_STREAM);
    sim->odds.state = lsm_xxh3_seeded(&seed, sizeof(seed), ODDS_STREAM);
    return &sim->head;
}

void lsm_sim_destroy(lsm_env *env) {
    if (env == NULL) {
        return;
    }
    lsm_sim *sim = lsm_sim_of(env);
    LSM_ASSERT(sim->open_count == 0);
    while (sim->handles != NULL) {
        lsm_sim_handle *handle = sim->handles;
        sim->handles = handle->next;
        lsm_free(handle);
    }
    while (sim->dirs != NULL) {
        lsm_sim_dir *dir = sim->dirs;
        sim->dirs = dir->next;
        lsm_sim_dir_destroy(dir);
    }
    lsm_free(sim);
}

lsm_env *lsm_sim_crash(lsm_env *env, uint64_t seed, lsm_crash_mode mode,
                       uint32_t sector) {
    const lsm_sim *from = const_sim_of(env);
    lsm_sim_fate fate = {
        mode, sector, {lsm_xxh3_seeded(&seed, sizeof(seed), CRASH_STREAM)}};
    lsm_env *crashed;

    LSM_ASSERT(mode < LSM_CRASH_MODE_COUNT);
    LSM_ASSERT(sector > 0);
    crashed = lsm_sim_create(seed);
    if (crashed == NULL) {
        return NULL;
    }
    lsm_sim *to = lsm_sim_of(crashed);
    lsm_sim_dir **end = &to->dirs;
    /* New names and ids after a crash, whatever the seed is: not those of before. */
    uint64_t origin[2] = {seed, from->entropy.state};
    to->entropy.state = lsm_xxh3_seeded(origin, sizeof(origin), CRASH_STREAM);
    to->now_ms = from->now_ms;
    to->monotonic_us = from->monotonic_us;
    for (lsm_sim_dir *dir = from->dirs; dir != NULL; dir = dir->next) {
        if (dir->removed) {
            continue;
        }
        *end = lsm_sim_dir_crash(dir, &fate);
        if (*end == NULL) {
            lsm_sim_destroy(crashed);
            return NULL;
        }
        for (size_t i = 0; i < (*end)->current.count; i++) {
            to->used += (*end)->current.entries[i].inode->size;
        }
        end = &(*end)->next;
    }
    return crashed;
}

void lsm_sim_set_hook(lsm_env *env, void (*hook)(void *context, uint64_t step),
                      void *context) {
    lsm_sim *sim = lsm_sim_of(env);

    sim->hook = hook;
    sim->hook_context = context;
}

uint64_t lsm_sim_steps(const lsm_env *env) {
    return const_sim_of(env)->steps;
}

uint64_t lsm_sim_history_hash(const lsm_env *env) {
    return const_sim_of(env)->history;
}

void lsm_sim_fail(lsm_env *env, lsm_sim_call call, uint64_t skip, int os_errno,
                  bool sticky) {
    LSM_ASSERT(call < LSM_SIM_CALL_COUNT);
    lsm_sim_of(env)->faults[call] = (lsm_sim_fault){skip, os_errno, sticky, false};
    lsm_sim_of(env)->failed[0] = '\0';
}

void lsm_sim_halve(lsm_env *env, lsm_sim_call call, uint64_t skip, int os_errno,
                   bool sticky) {
    LSM_ASSERT(call == LSM_SIM_READ || call == LSM_SIM_APPEND);
    lsm_sim_of(env)->faults[call] = (lsm_sim_fault){skip, os_errno, sticky, true};
    lsm_sim_of(env)->failed[0] = '\0';
}

const char *lsm_sim_failed_name(const lsm_env *env) {
    return const_sim_of(env)->failed;
}

uint64_t lsm_sim_call_count(const lsm_env *env, lsm_sim_call call) {
    LSM_ASSERT(call < LSM_SIM_CALL_COUNT);
    return const_sim_of(env)->call_counts[call];
}

void lsm_sim_set_short_odds(lsm_env *env, uint32_t permille) {
    lsm_sim_of(env)->short_permille = permille;
}

void lsm_sim_set_fsyncgate(lsm_env *env, bool on) {
    lsm_sim_of(env)->fsyncgate = on;
}

void lsm_sim_set_quota(lsm_env *env, uint64_t bytes) {
    lsm_sim_of(env)->quota = bytes;
}

void lsm_sim_advance_ms(lsm_env *env, int64_t ms) {
    lsm_sim *sim = lsm_sim_of(env);

    if (ms >= 0) {
        sim->now_ms += (uint64_t)ms;
        sim->monotonic_us += (uint64_t)ms * 1000;
    } else {
        uint64_t back = 0 - (uint64_t)ms;
        sim->now_ms -= back < sim->now_ms ? back : sim->now_ms;
    }
}

void lsm_sim_jump_ms(lsm_env *env, uint64_t ms) {
    lsm_sim_of(env)->now_ms += ms;
}

static lsm_sim_inode *find_file(const lsm_sim *sim, const char *path,
                                const char *name) {
    const lsm_sim_dir *dir = lsm_sim_find_dir(sim, path);
    const lsm_sim_entry *entry =
        dir == NULL ? NULL : lsm_sim_map_find(&dir->current, name);

    return entry == NULL ? NULL : entry->inode;
}

bool lsm_sim_file_read(lsm_env *env, const char *path, const char *name,
                       const uint8_t **data, size_t *size) {
    static const uint8_t nothing[1];
    const lsm_sim_inode *inode = find_file(const_sim_of(env), path, name);

    if (inode == NULL) {
        return false;
    }
    *data = inode->size > 0 ? inode->bytes->data : nothing;
    *size = (size_t)inode->size;
    return true;
}

/* Adds a durable empty file under a name that is free. */
static lsm_sim_inode *add_file(lsm_sim *sim, lsm_sim_dir *dir, const char *name) {
    lsm_sim_inode *inode = lsm_sim_inode_create();
    lsm_sim_inode *replaced = NULL;

    if (inode == NULL) {
        return NULL;
    }
    bool done = lsm_sim_dir_change(dir, LSM_SIM_OP_CREATE, name, inode, &replaced);
    if (done) {
        lsm_sim_take_use(sim, inode);
        lsm_sim_dir_sync(dir);
    }
    lsm_sim_inode_unref(inode); /* the name holds it now */
    return done ? inode : NULL;
}

bool lsm_sim_file_write(lsm_env *env, const char *path, const char *name,
                        const void *data, size_t size) {
    lsm_sim *sim = lsm_sim_of(env);
    lsm_sim_dir *dir = lsm_sim_find_dir(sim, path);
    lsm_sim_inode *inode = find_file(sim, path, name);

    LSM_ASSERT(strlen(name) < LSM_NAME_SIZE_MAX);
    if (dir == NULL) {
        return false;
    }
    lsm_sim_dir_sync(dir);
    if (inode == NULL) {
        inode = add_file(sim, dir, name);
    }
    if (inode == NULL) {
        return false;
    }
    uint64_t before = inode->size;
    if (!lsm_sim_inode_replace(inode, data, size)) {
        return false;
    }
    sim->used = sim->used - before + size;
    return true;
}

bool lsm_sim_file_remove(lsm_env *env, const char *path, const char *name) {
    lsm_sim *sim = lsm_sim_of(env);
    lsm_sim_dir *dir = lsm_sim_find_dir(sim, path);
    lsm_sim_inode *inode = find_file(sim, path, name);
    lsm_sim_inode *removed = NULL;

    if (inode == NULL ||
        !lsm_sim_dir_change(dir, LSM_SIM_OP_UNLINK, name, inode, &removed)) {
        return false;
    }
    lsm_sim_drop_use(sim, removed);
    lsm_sim_dir_sync(dir);
    return true;
}

static lsmkv_status dump_file(lsm_dir *dir, const lsm_sim_entry *entry) {
    lsmkv_status status = LSMKV_OK;
    lsm_file *file = NULL;
    const lsm_sim_inode *inode = entry->inode;

    status = lsm_dir_unlink(dir, entry->name, NULL);
    if (status != LSMKV_OK && status != LSMKV_NOT_FOUND) {
        return status;
    }
    LSM_TRY(lsm_file_open(dir, entry->name, LSM_OPEN_CREATE, &file, NULL));
    if (inode->size > 0) {
        lsm_slice bytes = lsm_slice_make(inode->bytes->data, (size_t)inode->size);
        LSM_TRY(lsm_file_append(file, &bytes, 1, NULL, NULL));
    }
out:
    lsm_file_drop(file);
    return status;
}

bool lsm_sim_dump(lsm_env *env, const char *path, const char *to) {
    const lsm_sim_dir *from = lsm_sim_find_dir(const_sim_of(env), path);
    lsmkv_status status = LSMKV_OK;
    lsm_dir *dir = NULL;

    if (from == NULL) {
        return false;
    }
    LSM_TRY(lsm_dir_open(lsm_env_posix(), to, false, &dir, NULL));
    for (size_t i = 0; i < from->current.count; i++) {
        LSM_TRY(dump_file(dir, &from->current.entries[i]));
    }
out:
    lsm_dir_close(dir);
    return status == LSMKV_OK;
}
