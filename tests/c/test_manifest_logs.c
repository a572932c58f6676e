/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a log that was ever synced is missed when it is gone, also by a MANIFEST that
 * was written anew since. Method: a synced put, and a compaction, whose edits leave the
 * log as it is, until one of them makes CURRENT name another MANIFEST; then a crash
 * that loses the log.
 */
#include "expiry_help.h"

#include "db/db.h"
#include "format/filename.h"

enum { ROUNDS_MAX = 100, LOGS_MAX = 1000, TEXT_MAX = 64 };

/* What the file CURRENT says. */
static void read_current(lsm_env *env, char text[TEXT_MAX]) {
    const uint8_t *data = NULL;
    size_t size;

    CHECK(lsm_sim_file_read(env, "db", "CURRENT", &data, &size));
    CHECK(size < TEXT_MAX);
    memcpy(text, data, size);
    text[size] = '\0';
}

/* Whether the edits of a compaction rewrote the MANIFEST, behind a synced put. */
static bool rewrites(expiry_db *d) {
    lsmkv_write how = {.ttl_ms = NEVER, .sync = true};
    lsmkv_error err;
    lsm_key_range everything = {.largest = lsm_slice_make("\xff", 1)};
    char before[TEXT_MAX];
    char after[TEXT_MAX];

    for (int i = 0; i < 3; i++) {
        expiry_put(d, i == 0 ? "a" : "b", "value", NEVER);
        expiry_put(d, i == 0 ? "y" : "z", "value", NEVER);
        expiry_flush(d);
    }
    CHECK_OK(lsmkv_put(d->db, &how, word_bytes("key"), word_bytes("synced"), &err));
    read_current(d->env, before);
    CHECK_OK(lsm_scheduler_compact(d->db, everything, &err));
    read_current(d->env, after);
    return strcmp(before, after) != 0;
}

LSM_TEST(a_rewritten_manifest_still_tells_which_logs_must_be_there) {
    lsmkv_options options;
    lsmkv_error err;
    int round = 0;
    int count = 0;
    expiry_db d;

    expiry_begin(&d);
    while (!rewrites(&d)) {
        CHECK(++round < ROUNDS_MAX);
    }
    lsm_env *env = lsm_sim_crash(d.env, 3, LSM_CRASH_ALL, 512);
    CHECK(env != NULL);
    lsm_test_abandon(d.db);
    lsm_sim_destroy(d.env);
    for (uint64_t number = 1; number < LOGS_MAX; number++) {
        char name[LSM_FILENAME_SIZE];
        lsm_filename_make(name, LSM_NAME_LOG, number);
        count += lsm_sim_file_remove(env, "db", name);
    }
    CHECK_EQ(count, 1);
    lsmkv_options_init(&options);
    CHECK_STATUS(lsm_test_open(env, "db", &options, &d.db, &err), LSMKV_CORRUPTION);
    CHECK(strstr(err.message, "the log is missing") != NULL);
    lsm_sim_destroy(env);
}
