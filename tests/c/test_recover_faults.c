/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: opening a database whose process died, for writing or for reading, fails only
 * with what went wrong, whatever call or allocation that is, and loses nothing by it.
 * Method: each call of each class and each allocation of such an open fails in turn;
 * then the open is repeated and every key is read.
 */
#include "db_help.h"
#include "dead_help.h"

#include <errno.h>

enum { CALLS_MAX = 5000 }; /* of one class in one open, with much to spare */

/* How the n-th thing fails. */
typedef struct failure {
    bool read_only;
    bool sticky;
    int code;          /* 0: allocations fail, not calls */
    lsm_sim_call call; /* of the class that fails */
    lsmkv_status status;
} failure;

/* Opens with the failure at `at`. false: it was over before it came to that. */
static bool fail_once(const dead_db *dead, const failure *how, uint64_t at) {
    lsmkv_error err;
    lsmkv_db *db = NULL;
    uint64_t live = lsm_alloc_live();
    lsm_env *env = dead_copy(dead);
    uint64_t steps = lsm_sim_steps(env);
    uint64_t count;
    lsmkv_status status;

    lsm_sim_exempt_memory(env);
    if (how->code == 0) {
        count = lsm_alloc_count();
        lsm_alloc_fail_after(at, how->sticky);
    } else {
        count = lsm_sim_call_count(env, how->call);
        lsm_sim_fail(env, how->call, at, how->code, how->sticky);
    }
    status = dead_open(env, SIM_PATH, how->read_only, &db, &err);
    count = (how->code == 0 ? lsm_alloc_count() : lsm_sim_call_count(env, how->call)) -
            count;
    lsm_alloc_fail_never();
    lsm_sim_fail(env, how->call, 0, 0, false);
    if (status != LSMKV_OK) {
        CHECK(count > at);
        CHECK(db == NULL);
        CHECK_STATUS(status, how->status);
        CHECK_EQ(err.status, status);
        CHECK(how->code == 0 || err.os_errno == how->code);
        CHECK(err.message[0] != '\0');
    } else {
        dead_check(dead, db);
        close_db(db);
    }
    CHECK(!how->read_only || lsm_sim_steps(env) == steps);
    dead_check_open(dead, env, SIM_PATH, how->read_only);
    lsm_sim_destroy(env);
    CHECK_EQ(lsm_alloc_live(), live);
    return count > at;
}

static void fail_at_every_place(const failure *how) {
    uint64_t at = 0;
    dead_db dead;

    dead_begin(&dead);
    while (fail_once(&dead, how, at)) {
        at++;
        CHECK(at < CALLS_MAX);
    }
    dead_end(&dead);
}

static void fail_every_call(bool read_only, int code, lsmkv_status status) {
    for (int call = 0; call < LSM_SIM_CALL_COUNT; call++) {
        failure how = {.read_only = read_only,
                       .code = code,
                       .call = (lsm_sim_call)call,
                       .status = status};
        fail_at_every_place(&how);
    }
}

LSM_TEST(an_open_that_lacks_memory_anywhere_says_so_and_loses_nothing) {
    for (int sticky = 0; sticky < 2; sticky++) {
        failure how = {.sticky = sticky == 1, .status = LSMKV_NO_MEMORY};
        fail_at_every_place(&how);
    }
}

LSM_TEST(an_open_for_reading_that_lacks_memory_anywhere_says_so) {
    for (int sticky = 0; sticky < 2; sticky++) {
        failure how = {
            .read_only = true, .sticky = sticky == 1, .status = LSMKV_NO_MEMORY};
        fail_at_every_place(&how);
    }
}

LSM_TEST(an_open_with_any_call_failing_says_so_and_loses_nothing) {
    fail_every_call(false, EIO, LSMKV_IO_ERROR);
}

LSM_TEST(an_open_on_a_full_disk_says_so_and_loses_nothing) {
    fail_every_call(false, ENOSPC, LSMKV_DISK_FULL);
}

LSM_TEST(an_open_for_reading_with_any_call_failing_says_so) {
    fail_every_call(true, EIO, LSMKV_IO_ERROR);
    fail_every_call(true, EACCES, LSMKV_IO_ERROR);
}
