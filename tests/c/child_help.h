/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes of their own for tests of what the operating system does: limits, forks,
 * calls that fail. A child tells through its exit status what it found; 0 is right.
 */
#ifndef LSM_TESTS_CHILD_HELP_H
#define LSM_TESTS_CHILD_HELP_H

#include "test.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of a build that measures coverage: writes down what was reached so far, which _exit
 * would lose. */
extern void keep_coverage(void) __asm__("__gcov_dump") __attribute__((weak));

/* The most that this process may have of something, as far as it is allowed to. */
static inline bool set_limit(int resource, rlim_t value) {
    struct rlimit limit;

    if (getrlimit((unsigned)resource, &limit) != 0) {
        return false;
    }
    limit.rlim_cur = value < limit.rlim_max ? value : limit.rlim_max;
    return setrlimit((unsigned)resource, &limit) == 0;
}

/* Ends a child; buffers and handlers are its parent's business. */
static inline LSM_NORETURN void leave_child(int code) {
    if (keep_coverage != NULL) {
        (void)set_limit(RLIMIT_NOFILE, RLIM_INFINITY);
        (void)set_limit(RLIMIT_FSIZE, RLIM_INFINITY);
        keep_coverage();
    }
    _exit(code);
}

static inline int exit_code_of(pid_t child) {
    int status = 0;

    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* What the body answers when it runs in a child. */
static inline int run_child(int (*body)(void *context), void *context) {
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        leave_child(body(context));
    }
    return exit_code_of(child);
}

#endif
