/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: keys are counted one by one where they are few and estimated where they are
 * many, deletions taken off, and an error on the way is told. Method: more keys than
 * are counted one by one, in memory and in tables.
 */
#include "expiry_help.h"

#include <errno.h>

enum { KEYS = 6000, FEW = 100 };

static lsmkv_bytes number_key(char to[16], int number) {
    return (lsmkv_bytes){to, (size_t)snprintf(to, 16, "%06d", number)};
}

/* Of the keys from `start` up to `stop`. */
static lsmkv_status count_keys(expiry_db *d, int start, int stop, uint64_t *count) {
    char from[16];
    char to[16];
    lsmkv_error err;
    lsmkv_range range = {number_key(from, start), number_key(to, stop), true, true};

    return lsmkv_approximate_count(d->db, NULL, &range, count, &err);
}

static void put_keys(expiry_db *d, int start, int stop) {
    lsmkv_error err;

    for (int i = start; i < stop; i++) {
        char key[16];
        CHECK_OK(lsmkv_put(d->db, NULL, number_key(key, i), word_bytes("value"), &err));
    }
}

static void delete_keys(expiry_db *d, int start, int stop) {
    lsmkv_error err;

    for (int i = start; i < stop; i++) {
        char key[16];
        CHECK_OK(lsmkv_delete(d->db, NULL, number_key(key, i), &err));
    }
}

static void check_about(expiry_db *d, int start, int stop, uint64_t expected) {
    uint64_t count = 0;

    CHECK_EQ(count_keys(d, start, stop, &count), LSMKV_OK);
    CHECK(count >= expected - expected / 5 && count <= expected + expected / 5);
}

static void check_exactly(expiry_db *d, int start, int stop, uint64_t expected) {
    uint64_t count = 99;

    CHECK_EQ(count_keys(d, start, stop, &count), LSMKV_OK);
    CHECK_EQ(count, expected);
}

LSM_TEST(many_keys_are_estimated_and_few_counted) {
    expiry_db d;

    expiry_begin(&d);
    put_keys(&d, 0, KEYS);
    for (int flushed = 0; flushed < 2; flushed++) {
        check_about(&d, 0, KEYS, KEYS);
        check_exactly(&d, 1000, 1000 + FEW, FEW);
        check_exactly(&d, KEYS, 2 * KEYS, 0);
        check_exactly(&d, 5, 5, 0);
        check_exactly(&d, 7, 5, 0);
        expiry_compact(&d);
    }
    delete_keys(&d, 0, FEW);
    check_exactly(&d, 0, 2 * FEW, FEW);
    expiry_end(&d);
}

LSM_TEST(deletions_of_keys_that_never_were_do_not_make_a_count_negative) {
    expiry_db d;

    expiry_begin(&d);
    delete_keys(&d, 0, KEYS);
    check_exactly(&d, 0, KEYS, 0);
    put_keys(&d, KEYS, 3 * KEYS);
    check_about(&d, KEYS, 3 * KEYS, 2 * KEYS);
    expiry_end(&d);
}

LSM_TEST(a_count_that_cannot_open_a_table_says_so) {
    expiry_db d;
    uint64_t count = 0;

    expiry_begin(&d);
    put_keys(&d, 0, KEYS);
    expiry_compact(&d);
    expiry_reopen(&d); /* no table is open now */
    lsm_sim_fail(d.env, LSM_SIM_OPEN, 0, EIO, false);
    CHECK_STATUS(count_keys(&d, FEW, KEYS - FEW, &count), LSMKV_IO_ERROR);
    lsm_sim_fail(d.env, LSM_SIM_OPEN, 0, 0, false);
    check_about(&d, FEW, KEYS - FEW, KEYS - 2 * FEW);
    expiry_end(&d);
}
