/* SPDX-License-Identifier: Apache-2.0
 *
 * sync over POSIX threads. A failing mutex or condition call means misuse or broken
 * memory, never a state of the world, so it is asserted.
 */
#include "env/sync.h"

#include <errno.h>
#include <signal.h>
#include <time.h>
#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "base/alloc.h"
#include "base/assert.h"

enum { THREAD_NAME_SIZE = 16 }; /* the limit of Linux */

/* A wait longer than this is a wait for ever; it keeps the deadline in range. */
static const uint64_t WAIT_US_MAX = 1000ull * 1000 * 3600 * 24 * 365;

/* What a new thread needs; owned by it once it runs. */
typedef struct thread_start {
    void (*run)(void *);
    void *context;
    char name[THREAD_NAME_SIZE];
} thread_start;

void lsm_mutex_init(lsm_mutex *mu) {
    int code = pthread_mutex_init(&mu->handle, NULL);
    LSM_ASSERT(code == 0);
}

void lsm_mutex_deinit(lsm_mutex *mu) {
    int code = pthread_mutex_destroy(&mu->handle);
    LSM_ASSERT(code == 0);
}

void lsm_mutex_lock(lsm_mutex *mu) LSM_NO_LOCK_ANALYSIS {
    int code = pthread_mutex_lock(&mu->handle);
    LSM_ASSERT(code == 0);
}

bool lsm_mutex_trylock(lsm_mutex *mu) LSM_NO_LOCK_ANALYSIS {
    int code = pthread_mutex_trylock(&mu->handle);
    LSM_ASSERT(code == 0 || code == EBUSY);
    return code == 0;
}

void lsm_mutex_unlock(lsm_mutex *mu) LSM_NO_LOCK_ANALYSIS {
    int code = pthread_mutex_unlock(&mu->handle);
    LSM_ASSERT(code == 0);
}

void lsm_cond_init(lsm_cond *cond) {
#ifdef __APPLE__
    int code = pthread_cond_init(&cond->handle, NULL);
    LSM_ASSERT(code == 0);
#else
    pthread_condattr_t attributes;
    int code = pthread_condattr_init(&attributes);
    LSM_ASSERT(code == 0);
    code = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    LSM_ASSERT(code == 0);
    code = pthread_cond_init(&cond->handle, &attributes);
    LSM_ASSERT(code == 0);
    code = pthread_condattr_destroy(&attributes);
    LSM_ASSERT(code == 0);
#endif
}

void lsm_cond_deinit(lsm_cond *cond) {
    int code = pthread_cond_destroy(&cond->handle);
    LSM_ASSERT(code == 0);
}

void lsm_cond_wait(lsm_cond *cond, lsm_mutex *mu) {
    int code = pthread_cond_wait(&cond->handle, &mu->handle);
    LSM_ASSERT(code == 0);
}

bool lsm_cond_wait_us(lsm_cond *cond, lsm_mutex *mu, uint64_t us) {
    uint64_t bounded = us < WAIT_US_MAX ? us : WAIT_US_MAX;
    struct timespec until = {(time_t)(bounded / 1000000),
                             (long)(bounded % 1000000) * 1000};
    int code;
#ifdef __APPLE__
    code = pthread_cond_timedwait_relative_np(&cond->handle, &mu->handle, &until);
#else
    struct timespec now;
    code = clock_gettime(CLOCK_MONOTONIC, &now);
    LSM_ASSERT(code == 0);
    until.tv_sec += now.tv_sec;
    until.tv_nsec += now.tv_nsec;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec += 1;
    }
    code = pthread_cond_timedwait(&cond->handle, &mu->handle, &until);
#endif
    LSM_ASSERT(code == 0 || code == ETIMEDOUT);
    return code == 0;
}

void lsm_cond_signal(lsm_cond *cond) {
    int code = pthread_cond_signal(&cond->handle);
    LSM_ASSERT(code == 0);
}

void lsm_cond_broadcast(lsm_cond *cond) {
    int code = pthread_cond_broadcast(&cond->handle);
    LSM_ASSERT(code == 0);
}

void lsm_sleep_us(uint64_t us) {
    uint64_t bounded = us < WAIT_US_MAX ? us : WAIT_US_MAX;
    struct timespec time = {(time_t)(bounded / 1000000),
                            (long)(bounded % 1000000) * 1000};
    (void)nanosleep(&time, NULL); /* a signal may end it early */
}

static void *run_thread(void *argument) {
    thread_start start = *(thread_start *)argument;
    lsm_free(argument);
    /* The name is for debuggers and top; its failure does not matter. */
#if defined(__linux__)
    (void)pthread_setname_np(pthread_self(), start.name);
#elif defined(__APPLE__)
    (void)pthread_setname_np(start.name);
#endif
    start.run(start.context);
    return NULL;
}

bool lsm_thread_start(lsm_thread *thread, void (*run)(void *), void *context,
                      const char *name) {
    sigset_t all;
    sigset_t before;
    int code = EAGAIN;
    thread_start *start = (thread_start *)lsm_calloc(1, sizeof(*start));

    thread->started = false;
    if (start == NULL) {
        return false;
    }
    start->run = run;
    start->context = context;
    for (size_t i = 0; i + 1 < sizeof(start->name) && name[i] != '\0'; i++) {
        start->name[i] = name[i];
    }
    /* A new thread inherits the mask of its maker. */
    (void)sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) == 0) {
        code = pthread_create(&thread->handle, NULL, run_thread, start);
        int restored = pthread_sigmask(SIG_SETMASK, &before, NULL);
        LSM_ASSERT(restored == 0);
    }
    if (code != 0) {
        lsm_free(start);
        return false;
    }
    thread->started = true;
    return true;
}

#if defined(__linux__) && defined(SYS_sched_setattr)

/* struct sched_attr of Linux, which the C library may not declare. */
typedef struct thread_policy {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns; /* of SCHED_OTHER and SCHED_BATCH: the slice, from 6.12 on */
    uint64_t deadline_ns;
    uint64_t period_ns;
} thread_policy;

_Static_assert(sizeof(thread_policy) == 48, "the first version of the structure");

/* A longer slice than others have is one that a thread with a shorter one, when it
 * wakes up, may end. SCHED_BATCH wakes up without ending another's. */
static const uint64_t SLICE_NS = 20 * 1000 * 1000;

void lsm_thread_lower(void) {
    thread_policy policy = {0};

    if (syscall(SYS_sched_getattr, 0, &policy, sizeof(policy), 0) == 0 &&
        policy.policy == SCHED_OTHER) {
        policy.size = sizeof(policy);
        policy.policy = SCHED_BATCH;
        policy.runtime_ns = SLICE_NS;
        (void)syscall(SYS_sched_setattr, 0, &policy, 0);
    }
}

#else

void lsm_thread_lower(void) {}

#endif

void lsm_thread_join(lsm_thread *thread) {
    if (!thread->started) {
        return;
    }
    thread->started = false;
    int code = pthread_join(thread->handle, NULL);
    LSM_ASSERT(code == 0);
}
