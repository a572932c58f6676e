/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated operating system: an in-memory file system that tells durable bytes
 * from written ones, a clock that moves only when told, seeded entropy, no threads.
 *
 * State per file: `durable` bytes (as of its last sync), the list of writes since, and
 * the `current` bytes. State per directory: the durable map of names, the ordered
 * list of {create, link, rename, unlink} since the last directory sync, and the current
 * map. file_sync makes data and size durable, not the name; dir_sync makes names
 * durable.
 *
 * A crash (lsm_sim_crash) makes a NEW env holding one legal state after a power
 * failure, without disturbing the running one, so one run of a workload yields every
 * crash point. For each file a choice, by seed, within what `mode` allows:
 *   strict   durable bytes only
 *   all      current bytes
 *   prefix   durable, then pending bytes cut at a byte or at a sector
 *   subset   each pending sector is there or not, gaps are zeros
 *   extend   the new size, pending bytes all zeros
 *   garbage  the new size, pending sectors replaced by random bytes
 * and for the directory: strict, all, a prefix of the pending operations, or an
 * independent subset of them (a rename stays atomic). Synced data is never damaged.
 *
 * A truncation is a pending write like any other: prefix may undo it, and where subset
 * leaves out a sector that a truncation cut off, the old durable bytes show. The mode
 * `all` alone is not a power failure but a process crash: pending data and names are
 * there and still pending, so a power failure of the copy may take them.
 *
 * Steps: every call that changes something (create, append, sync, truncate, rename,
 * unlink, link, dir_sync) is one step; a call that fails is none. A hook is called
 * before each, so that a test can crash there.
 *
 * Errors: lsm_sim_fail makes the n-th call of a class fail with an errno, once or
 * from then on; short reads, short appends and EINTR can be injected at seeded odds.
 * With fsyncgate, a failed sync drops the pending writes from what can become durable
 * while reads still see them, and the next sync answers success.
 *
 * Ownership: the test owns the env; every file, directory and lock must be closed
 * before lsm_sim_destroy. One thread at a time.
 */
#ifndef LSM_ENV_ENV_SIM_H
#define LSM_ENV_ENV_SIM_H

#include "env/env.h"

typedef enum lsm_crash_mode {
    LSM_CRASH_STRICT,     /* files strict, directory strict */
    LSM_CRASH_ALL,        /* a process crash: everything written is there */
    LSM_CRASH_PREFIX,     /* files prefix, directory prefix */
    LSM_CRASH_SUBSET,     /* files subset, directory all */
    LSM_CRASH_EXTEND,     /* files extend, directory all */
    LSM_CRASH_GARBAGE,    /* files garbage, directory all */
    LSM_CRASH_DIR_STRICT, /* files all, directory strict */
    LSM_CRASH_DIR_SUBSET, /* files all, directory subset */
    LSM_CRASH_MIXED,      /* each file and the directory on their own */
    LSM_CRASH_MODE_COUNT
} lsm_crash_mode;

/* Classes of calls for lsm_sim_fail. */
typedef enum lsm_sim_call {
    LSM_SIM_OPEN, /* file_open, both modes */
    LSM_SIM_READ,
    LSM_SIM_APPEND,
    LSM_SIM_SYNC,
    LSM_SIM_DIR_SYNC,
    LSM_SIM_RENAME,
    LSM_SIM_UNLINK,
    LSM_SIM_TRUNCATE,
    LSM_SIM_CLOSE,
    LSM_SIM_LINK,
    LSM_SIM_LIST, /* of the names in a directory */
    LSM_SIM_SIZE, /* of a file */
    LSM_SIM_CALL_COUNT
} lsm_sim_call;

lsm_env *lsm_sim_create(uint64_t seed); /* NULL: no memory */
void lsm_sim_destroy(lsm_env *env);     /* NULL is fine */

/* A crashed copy; `sector` is the unit of tearing in bytes (32, 64, 512, 4096). Locks,
 * hook, ordered failures, odds and quota are not copied; entropy comes from `seed`. The
 * clock goes on from where it was. The copy may go to another thread. NULL: no
 * memory. */
lsm_env *lsm_sim_crash(lsm_env *env, uint64_t seed, lsm_crash_mode mode,
                       uint32_t sector);

/* Calls hook(context, step) before every step; NULL ends it. The hook may crash the
 * env but must not change it. */
void lsm_sim_set_hook(lsm_env *env, void (*hook)(void *context, uint64_t step),
                      void *context);
uint64_t lsm_sim_steps(const lsm_env *env);
/* A running hash of every step (operation, name, offset, bytes): equal for equal runs.
 */
uint64_t lsm_sim_history_hash(const lsm_env *env);

/* The (skip+1)-th call of the class from now fails with os_errno; `sticky`: so do all
 * later ones. A class can have one failure at a time; os_errno 0 removes it. */
void lsm_sim_fail(lsm_env *env, lsm_sim_call call, uint64_t skip, int os_errno,
                  bool sticky);
/* The same for reads and appends, after a first transfer that stopped half way. With
 * os_errno 0 that is all; `sticky`: each stops half way. */
void lsm_sim_halve(lsm_env *env, lsm_sim_call call, uint64_t skip, int os_errno,
                   bool sticky);
/* The file that the first call was about which failed or stopped half way since the
 * last lsm_sim_fail or lsm_sim_halve; "" for the directory, and when none did. */
const char *lsm_sim_failed_name(const lsm_env *env);
uint64_t lsm_sim_call_count(const lsm_env *env, lsm_sim_call call);
/* Of 1000 reads and appends, about this many are short or interrupted. */
void lsm_sim_set_short_odds(lsm_env *env, uint32_t permille);
void lsm_sim_set_fsyncgate(lsm_env *env, bool on);
/* Appends are cut short, then fail with ENOSPC, when all files together would pass
 * `bytes` (0: no limit). A file counts while it has a name or is open. */
void lsm_sim_set_quota(lsm_env *env, uint64_t bytes);
#ifdef LSMKV_TESTING
/* From here on, the memory of this disk does not count among the allocations that can
 * be made to fail. Not for crashed copies. */
void lsm_sim_exempt_memory(lsm_env *env);
#endif
/* Lets time pass. Negative: sets the wall clock back; the monotonic clock stays. */
void lsm_sim_advance_ms(lsm_env *env, int64_t ms);
/* Sets the wall clock ahead, while no time passes. */
void lsm_sim_jump_ms(lsm_env *env, uint64_t ms);

/* Direct access for damage tests, by path of the directory and name: lends the current
 * bytes until the next change; writes or removes durably, making all names of the
 * directory durable with it. No step. false: no such directory or file, or no memory.
 */
bool lsm_sim_file_read(lsm_env *env, const char *path, const char *name,
                       const uint8_t **data, size_t *size);
bool lsm_sim_file_write(lsm_env *env, const char *path, const char *name,
                        const void *data, size_t size);
bool lsm_sim_file_remove(lsm_env *env, const char *path, const char *name);
/* Writes every current file into an existing real directory, for a debugger. */
bool lsm_sim_dump(lsm_env *env, const char *path, const char *to);

#endif
