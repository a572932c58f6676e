/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the POSIX implementation share: open descriptors above the
 * standard streams, and the directory behind a lsm_dir. Private to env/.
 */
#ifndef LSM_ENV_ENV_POSIX_H
#define LSM_ENV_ENV_POSIX_H

#include <stdatomic.h>
#include <sys/types.h>

#include "env/env.h"

/* Descriptors kept in reserve by every open directory: one for a log and one for the
 * table that its memtable is flushed to. Without them a process that has run out of
 * descriptors could not roll its log. */
enum { LSM_POSIX_SPARES = 2 };

typedef struct lsm_posix_dir {
    lsm_dir head;
    int fd;                               /* owned */
    _Atomic int spares[LSM_POSIX_SPARES]; /* owned; -1: given up for a file */
    dev_t device; /* with inode: who this directory is under any path */
    ino_t inode;
} lsm_posix_dir;

/* openat with O_CLOEXEC that never answers 0, 1 or 2: a host may have closed its
 * standard streams, and what it prints later must not land in a database. -1 and errno
 * on failure. */
int lsm_posix_openat(int dir_fd, const char *name, int flags, mode_t mode);

/* 0 when the descriptor is a regular file, else an errno. */
int lsm_posix_check_regular(int fd);

/* The lock operations of the vtable. */
int lsm_posix_lock(lsm_dir *head, const char *name, lsm_lock **lockp, int64_t *holder);
void lsm_posix_unlock(lsm_lock *head);

/* Likewise: who this process is. */
void lsm_posix_process(uint64_t *pid, uint64_t *start);

/* Installs, once per process, the fork handlers behind lsm_fork_generation. */
void lsm_fork_watch(void);

#endif
