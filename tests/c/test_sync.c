/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: mutexes exclude, conditions wake or time out, threads keep the host's signals
 * out. Method: small runs whose outcome would differ if a promise were broken.
 */
#include "test.h"

#include <signal.h>
#include <time.h>

#include "env/env.h"
#include "env/sync.h"

enum { THREADS = 4, ROUNDS = 20000 };

typedef struct shared {
    lsm_mutex mu;
    lsm_cond cond;
    uint64_t counter;
    bool ready;
    bool usr1_blocked;
    bool lock_was_free;
} shared;

static void init_shared(shared *state) {
    *state = (shared){0};
    lsm_mutex_init(&state->mu);
    lsm_cond_init(&state->cond);
}

static void deinit_shared(shared *state) {
    lsm_cond_deinit(&state->cond);
    lsm_mutex_deinit(&state->mu);
}

/* Not atomic on its own: loses counts unless the mutex excludes. */
static void count_up(void *context) {
    shared *state = (shared *)context;

    for (int i = 0; i < ROUNDS; i++) {
        lsm_mutex_lock(&state->mu);
        volatile uint64_t *counter = &state->counter;
        uint64_t before = *counter;
        *counter = before + 1;
        lsm_mutex_unlock(&state->mu);
    }
}

LSM_TEST(a_mutex_lets_one_thread_in_at_a_time) {
    lsm_thread threads[THREADS];
    shared state;

    init_shared(&state);
    for (int i = 0; i < THREADS; i++) {
        CHECK(lsm_thread_start(&threads[i], count_up, &state, "counter"));
    }
    for (int i = 0; i < THREADS; i++) {
        lsm_thread_join(&threads[i]);
    }
    CHECK_EQ(state.counter, (uint64_t)THREADS * ROUNDS);
    deinit_shared(&state);
}

static void try_the_lock(void *context) {
    shared *state = (shared *)context;

    state->lock_was_free = false;
    if (lsm_mutex_trylock(&state->mu)) {
        state->lock_was_free = true;
        lsm_mutex_unlock(&state->mu);
    }
}

LSM_TEST(trylock_says_whether_the_mutex_was_free) {
    lsm_thread thread;
    shared state;

    init_shared(&state);
    lsm_mutex_lock(&state.mu);
    CHECK(lsm_thread_start(&thread, try_the_lock, &state, "try"));
    lsm_thread_join(&thread);
    CHECK(!state.lock_was_free);
    lsm_mutex_unlock(&state.mu);
    CHECK(lsm_thread_start(&thread, try_the_lock, &state, "try"));
    lsm_thread_join(&thread);
    CHECK(state.lock_was_free);
    deinit_shared(&state);
}

static void set_ready(void *context) {
    shared *state = (shared *)context;

    lsm_mutex_lock(&state->mu);
    state->ready = true;
    lsm_cond_broadcast(&state->cond);
    lsm_mutex_unlock(&state->mu);
}

LSM_TEST(a_condition_wakes_those_who_wait) {
    lsm_thread thread;
    shared state;

    init_shared(&state);
    lsm_mutex_lock(&state.mu);
    CHECK(lsm_thread_start(&thread, set_ready, &state, "a name longer than fifteen"));
    while (!state.ready) {
        lsm_cond_wait(&state.cond, &state.mu);
    }
    lsm_mutex_unlock(&state.mu);
    lsm_thread_join(&thread);
    deinit_shared(&state);
}

LSM_TEST(a_timed_wait_ends_when_the_time_is_over_and_not_before) {
    const uint64_t wait_us = 30000;
    lsm_env *env = lsm_env_posix();
    shared state;

    init_shared(&state);
    lsm_mutex_lock(&state.mu);
    uint64_t start = lsm_env_monotonic_us(env);
    while (lsm_cond_wait_us(&state.cond, &state.mu, wait_us)) {
        start = lsm_env_monotonic_us(env); /* woken for nothing */
    }
    CHECK(lsm_env_monotonic_us(env) - start >= wait_us);
    lsm_mutex_unlock(&state.mu);
    deinit_shared(&state);
}

LSM_TEST(a_timed_wait_without_end_is_woken) {
    lsm_thread thread;
    shared state;

    init_shared(&state);
    lsm_mutex_lock(&state.mu);
    CHECK(lsm_thread_start(&thread, set_ready, &state, "ready"));
    while (!state.ready) {
        CHECK(lsm_cond_wait_us(&state.cond, &state.mu, UINT64_MAX));
    }
    lsm_mutex_unlock(&state.mu);
    lsm_thread_join(&thread);
    deinit_shared(&state);
}

static void look_at_signals(void *context) {
    shared *state = (shared *)context;
    sigset_t mask;

    state->usr1_blocked = pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0 &&
                          sigismember(&mask, SIGUSR1) == 1;
}

LSM_TEST(a_thread_blocks_signals_and_its_maker_does_not) {
    lsm_thread thread;
    sigset_t mask;
    shared state;

    init_shared(&state);
    CHECK(lsm_thread_start(&thread, look_at_signals, &state, "signals"));
    lsm_thread_join(&thread);
    CHECK(state.usr1_blocked);
    CHECK_EQ(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    CHECK_EQ(sigismember(&mask, SIGUSR1), 0);
    lsm_thread_join(&thread); /* once more does nothing */
    deinit_shared(&state);
}
