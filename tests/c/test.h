/* SPDX-License-Identifier: Apache-2.0
 *
 * The C test runner. A test file defines tests with LSM_TEST(name) { ... }; they
 * register themselves before main. CHECK ends the test with file, line and both
 * values. `runner [substring]` runs the tests whose name contains the substring and
 * closes with "N passed, N failed".
 */
#ifndef LSM_TESTS_TEST_H
#define LSM_TESTS_TEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/status.h"

typedef struct lsm_test {
    const char *name;
    void (*run)(void);
    struct lsm_test *next;
} lsm_test;

void lsm_test_register(lsm_test *test);
/* Prints and jumps out of the running test, which counts as failed. */
void lsm_test_fail(const char *file, int line, const char *format, ...)
    LSM_PRINTF(3, 4) LSM_NORETURN;

#define LSM_TEST(test_name)                                               \
    static void test_name(void);                                          \
    __attribute__((constructor)) static void register_##test_name(void) { \
        static lsm_test test = {#test_name, test_name, NULL};             \
        lsm_test_register(&test);                                         \
    }                                                                     \
    static void test_name(void)

#define CHECK(condition)                                         \
    do {                                                         \
        if (!(condition)) {                                      \
            lsm_test_fail(__FILE__, __LINE__, "%s", #condition); \
        }                                                        \
    } while (0)

#define CHECK_EQ(found, expected)                                                      \
    do {                                                                               \
        unsigned long long found_ = (unsigned long long)(found);                       \
        unsigned long long expected_ = (unsigned long long)(expected);                 \
        if (found_ != expected_) {                                                     \
            lsm_test_fail(__FILE__, __LINE__, "%s is %llu (0x%llx), not %llu", #found, \
                          found_, found_, expected_);                                  \
        }                                                                              \
    } while (0)

/* The call must answer LSMKV_OK; `err` is a local lsmkv_error. */
#define CHECK_OK(call)                                              \
    do {                                                            \
        lsmkv_status status_ = (call);                              \
        if (status_ != LSMKV_OK) {                                  \
            lsm_test_fail(__FILE__, __LINE__, "%s: %s: %s", #call,  \
                          lsmkv_status_name(status_), err.message); \
        }                                                           \
    } while (0)

#define CHECK_STATUS(call, expected)                                                \
    do {                                                                            \
        lsmkv_status status_ = (call);                                              \
        if (status_ != (expected)) {                                                \
            lsm_test_fail(__FILE__, __LINE__, "%s: %s, expected %s", #call,         \
                          lsmkv_status_name(status_), lsmkv_status_name(expected)); \
        }                                                                           \
    } while (0)

#endif
