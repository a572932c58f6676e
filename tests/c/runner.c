/* SPDX-License-Identifier: Apache-2.0
 *
 * The C test runner: every test of every file linked with it, one after another.
 *
 *   runner [substring]   runs the tests whose name contains the substring
 *   runner --list        prints the names
 *
 * With --mutant NAME in front, the engine makes that mistake (base/mutant.h).
 *
 * A failing CHECK jumps back here. A test passes when it returns and every allocation
 * it made was given back. Exit status: 0 all passed, 1 some failed, 2 none was named
 * so. A test that hangs ends the run with SIGALRM after its name was printed.
 */
#include "test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/mutant.h"

enum { TEST_SECONDS_MAX = 300 };

static lsm_test *first_test;
static lsm_test **last_link = &first_test;
static jmp_buf test_end;
static _Thread_local bool is_runner_thread;

void lsm_test_register(lsm_test *test) {
    *last_link = test;
    last_link = &test->next;
}

void lsm_test_fail(const char *file, int line, const char *format, ...) {
    va_list arguments;

    (void)printf("FAILED\n  %s:%d: ", file, line);
    va_start(arguments, format);
    (void)vprintf(format, arguments);
    va_end(arguments);
    (void)printf("\n");
    (void)fflush(stdout);
    if (!is_runner_thread) {
        /* There is no way back to the runner from another thread's stack. */
        abort();
    }
    longjmp(test_end, 1);
}

/* Runs one test. true: it passed. */
static bool run_test(const lsm_test *test) {
    uint64_t live = lsm_alloc_live();

    (void)printf("%s ... ", test->name);
    (void)fflush(stdout);
    (void)alarm(TEST_SECONDS_MAX);
    if (setjmp(test_end) != 0) {
        lsm_alloc_fail_never();
        return false;
    }
    test->run();
    lsm_alloc_fail_never();
    if (lsm_alloc_live() != live) {
        (void)printf("FAILED\n  %lld allocations were not given back\n",
                     (long long)(lsm_alloc_live() - live));
        return false;
    }
    (void)printf("ok\n");
    return true;
}

int main(int argument_count, char **arguments) {
    int passed = 0;
    int failed = 0;

    if (argument_count > 2 && strcmp(arguments[1], "--mutant") == 0) {
        if (!lsm_mutant_select(arguments[2])) {
            return 2;
        }
        argument_count -= 2;
        arguments += 2;
    }
    const char *substring = argument_count > 1 ? arguments[1] : "";
    is_runner_thread = true;
    for (const lsm_test *test = first_test; test != NULL; test = test->next) {
        if (strcmp(substring, "--list") == 0) {
            (void)printf("%s\n", test->name);
        } else if (strstr(test->name, substring) != NULL) {
            bool ok = run_test(test);

            passed += ok;
            failed += !ok;
        }
    }
    if (strcmp(substring, "--list") == 0) {
        return 0;
    }
    (void)printf("%d passed, %d failed\n", passed, failed);
    if (passed + failed == 0) {
        return 2;
    }
    return failed == 0 ? 0 : 1;
}
