/* SPDX-License-Identifier: Apache-2.0
 *
 * A real system with a gate: whoever comes by a certain place is held there until the
 * test has seen enough. A test sets the calls of `gate.ops` in which it is.
 */
#ifndef LSM_TESTS_GATE_HELP_H
#define LSM_TESTS_GATE_HELP_H

#include "test.h"

#include <pthread.h>
#include <stdbool.h>

#include "api/testing.h"

enum { NOWHERE = 0 };

static struct {
    lsm_env env;
    lsm_env_ops ops;
    pthread_mutex_t mu;
    pthread_cond_t changed;
    int closes; /* for the next that comes by */
    bool closed;
    bool held;
} gate = {.mu = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* The system as it is. */
static inline void gate_begin(void) {
    gate.env = (lsm_env){.ops = &gate.ops, .threaded = true};
    gate.ops = *lsm_env_posix()->ops;
}

/* Comes by: waits, if the gate is closed there. */
static inline void gate_pass(int place) {
    (void)pthread_mutex_lock(&gate.mu);
    if (gate.closes == place) {
        gate.closes = NOWHERE;
        gate.held = true;
        (void)pthread_cond_broadcast(&gate.changed);
        while (gate.closed) {
            (void)pthread_cond_wait(&gate.changed, &gate.mu);
        }
        gate.held = false;
    }
    (void)pthread_mutex_unlock(&gate.mu);
}

static inline void gate_close(int place) {
    (void)pthread_mutex_lock(&gate.mu);
    gate.closes = place;
    gate.closed = true;
    (void)pthread_mutex_unlock(&gate.mu);
}

/* Until somebody is held. */
static inline void gate_await(void) {
    (void)pthread_mutex_lock(&gate.mu);
    while (!gate.held) {
        (void)pthread_cond_wait(&gate.changed, &gate.mu);
    }
    (void)pthread_mutex_unlock(&gate.mu);
}

static inline void gate_open(void) {
    (void)pthread_mutex_lock(&gate.mu);
    gate.closed = false;
    (void)pthread_cond_broadcast(&gate.changed);
    (void)pthread_mutex_unlock(&gate.mu);
}

#endif
