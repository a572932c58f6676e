/* SPDX-License-Identifier: Apache-2.0
 *
 * Mutexes, condition variables and threads. Waiting never spins; timed waits use the
 * monotonic clock.
 */
#ifndef LSM_ENV_SYNC_H
#define LSM_ENV_SYNC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

typedef struct LSM_CAPABILITY("mutex") lsm_mutex {
    pthread_mutex_t handle;
} lsm_mutex;

typedef struct lsm_cond {
    pthread_cond_t handle;
} lsm_cond;

typedef struct lsm_thread {
    pthread_t handle;
    bool started;
} lsm_thread;

void lsm_mutex_init(lsm_mutex *mu);
void lsm_mutex_deinit(lsm_mutex *mu);
void lsm_mutex_lock(lsm_mutex *mu) LSM_ACQUIRE(mu);
bool lsm_mutex_trylock(lsm_mutex *mu) LSM_TRY_ACQUIRE(true, mu);
void lsm_mutex_unlock(lsm_mutex *mu) LSM_RELEASE(mu);

void lsm_cond_init(lsm_cond *cond);
void lsm_cond_deinit(lsm_cond *cond);
void lsm_cond_wait(lsm_cond *cond, lsm_mutex *mu) LSM_REQUIRES(mu);
/* false when the time ran out. */
bool lsm_cond_wait_us(lsm_cond *cond, lsm_mutex *mu, uint64_t us) LSM_REQUIRES(mu);
void lsm_cond_signal(lsm_cond *cond);
void lsm_cond_broadcast(lsm_cond *cond);

/* Gives the processor up for about that long. */
void lsm_sleep_us(uint64_t us);

/* Signals are blocked in the new thread, so that the host's handlers stay in its own.
 * false: the system refused. */
bool lsm_thread_start(lsm_thread *thread, void (*run)(void *), void *context,
                      const char *name) LSM_MUST_CHECK;
void lsm_thread_join(lsm_thread *thread); /* no-op unless started */

/* Tells the system that the calling thread computes for long and nobody waits for it:
 * it has the same share of the processors, but others need not wait until it has used
 * up its turn. Only Linux is told; a system that refuses leaves things as they are. */
void lsm_thread_lower(void);

#endif
