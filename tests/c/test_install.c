/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a MANIFEST that is written anew says all that the one before it said, and one
 * that cannot be leaves everything as it was. Method: a copy of a database, which
 * remembers where it came from, with logs and tables; every installation writes a
 * MANIFEST, and each allocation in it fails in turn.
 */
#include "expiry_help.h"

#include "db/db.h"
#include "db/manifest.h"

enum { PLACES_MAX = 2000 };

typedef lsmkv_status (*change_fn)(lsmkv_db *db, lsmkv_error *err);

/* In "copy". */
static void begin_copy(expiry_db *d) {
    lsmkv_error err;
    lsmkv_options options;

    expiry_begin(d);
    expiry_put(d, "a", "1", NEVER);
    CHECK_OK(lsmkv_checkpoint(d->db, "copy", &err));
    expiry_close(d);
    lsmkv_options_init(&options);
    options.seed = 9;
    CHECK_OK(lsm_test_open(d->env, "copy", &options, &d->db, &err));
    lsm_sim_exempt_memory(d->env);
    CHECK_EQ(d->db->origin_count, 1);
}

static void reopen_copy(expiry_db *d) {
    lsmkv_error err;
    lsmkv_options options;

    lsm_test_abandon(d->db);
    lsmkv_options_init(&options);
    CHECK_OK(lsm_test_open(d->env, "copy", &options, &d->db, &err));
}

static bool files_match(expiry_db *d) {
    char name[LSM_NAME_SIZE_MAX];

    return lsm_test_files_match(d->db, name);
}

/* Has the next installation write a MANIFEST. */
static void outgrow(lsmkv_db *db) {
    lsm_mutex_lock(&db->mu);
    db->manifest_limit = 0;
    lsm_mutex_unlock(&db->mu);
}

/* Where a fresh MANIFEST fails, the edit goes to the old one. */
static void starve(change_fn change) {
    bool rewritten = false;
    expiry_db d;

    begin_copy(&d);
    for (uint64_t n = 0; !rewritten; n++) {
        lsmkv_error err;
        expiry_flush(&d);
        expiry_put(&d, "b", "2", NEVER); /* goes to a new log */
        uint64_t manifest = lsm_wal_number(d.db->manifest);
        outgrow(d.db);
        lsm_alloc_fail_after(n, 0);
        lsmkv_status status = change(d.db, &err);
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        CHECK(expiry_get(&d, NULL, "a", "1") && expiry_get(&d, NULL, "b", "2"));
        rewritten = lsm_wal_number(d.db->manifest) > manifest;
        CHECK(n < PLACES_MAX);
    }
    CHECK(files_match(&d));
    reopen_copy(&d);
    CHECK_EQ(d.db->origin_count, 1);
    CHECK(expiry_get(&d, NULL, "a", "1") && expiry_get(&d, NULL, "b", "2"));
    expiry_end(&d);
}

static lsmkv_status flush(lsmkv_db *db, lsmkv_error *err) {
    return lsmkv_flush(db, err);
}

LSM_TEST(a_flush_writes_a_whole_manifest_anew_or_none) {
    starve(flush);
}

static lsmkv_status sync_log(lsmkv_db *db, lsmkv_error *err) {
    return lsmkv_sync(db, err);
}

/* Whose name it tells the MANIFEST. */
LSM_TEST(a_sync_of_a_new_log_writes_a_whole_manifest_anew_or_none) {
    starve(sync_log);
}
