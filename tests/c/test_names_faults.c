/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: who opens, lists, creates or lets go of a namespace or a version and lacks
 * memory anywhere on the way is told so, and can repeat it. Method: each such call by
 * itself, with every allocation failing in turn.
 */
#include "publish_help.h"

#include "base/alloc.h"

enum { NAME_MAX_SIZE = 255, PLACES_MAX = 5000 };

typedef struct names {
    expiry_db d;
    char name[NAME_MAX_SIZE + 1];
    lsmkv_snapshot *snapshot;
    const char *shown; /* by "n" as long as the call has not succeeded */
} names;

typedef lsmkv_status (*name_call)(names *w, lsmkv_error *err);

static void begin_names(names *w) {
    *w = (names){.name = "n"};
    expiry_begin(&w->d);
    lsm_sim_exempt_memory(w->d.env);
}

static void starve(names *w, name_call call) {
    lsmkv_status status = LSMKV_NO_MEMORY;

    for (uint64_t n = 0; status != LSMKV_OK; n++) {
        lsmkv_error err;
        lsm_alloc_fail_after(n, 0);
        status = call(w, &err);
        lsm_alloc_fail_never();
        if (status != LSMKV_OK) {
            CHECK_STATUS(status, LSMKV_NO_MEMORY);
            CHECK(w->shown == NULL || published_shows(&w->d, "n", w->shown));
        }
        CHECK(n < PLACES_MAX);
    }
}

static lsmkv_status release_name(names *w, lsmkv_error *err) {
    return lsmkv_release(w->d.db, word_bytes("n"), word_bytes(""), err);
}

LSM_TEST(a_name_is_released_last_of_all_however_often_memory_is_lacking) {
    names w;

    begin_names(&w);
    publish_word(&w.d, "n", "1", "one");
    publish_word(&w.d, "n", "2", "two");
    publish_word(&w.d, "n", "a version of sixty bytes or so, which takes its room",
                 "3");
    w.shown = "key=3 ";
    starve(&w, release_name);
    CHECK(published_shows(&w.d, "n", NULL));
    CHECK(versions_are(&w.d, "", ""));
    expiry_settle(&w.d);
    CHECK(files_match(&w.d));
    expiry_end(&w.d);
}

/* Nothing was ever published, so that nothing of what a commit needs is there. */
LSM_TEST(the_first_version_of_all_is_shown_or_lacked_memory) {
    lsmkv_status status = LSMKV_NO_MEMORY;

    for (uint64_t n = 0; status != LSMKV_OK; n++) {
        lsmkv_error err;
        names w;
        begin_names(&w);
        lsmkv_publish *publish = begun(&w.d, "n", "1");
        lsm_alloc_fail_after(n, 0);
        status = lsmkv_publish_commit(publish, &err);
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        lsmkv_publish_free(publish);
        CHECK(published_shows(&w.d, "n", status == LSMKV_OK ? "" : NULL));
        CHECK(versions_are(&w.d, "", status == LSMKV_OK ? "n/1*:0 " : ""));
        expiry_end(&w.d);
        CHECK(n < PLACES_MAX);
    }
}

static lsmkv_status list_all(names *w, lsmkv_error *err) {
    char found[TEXT_MAX] = {0};
    lsmkv_status status =
        lsmkv_versions(w->d.db, NULL, word_bytes(""), tell_version, found, err);

    CHECK(status != LSMKV_OK || strstr(found, "n/2*:1 ") != NULL);
    return status;
}

LSM_TEST(versions_of_all_names_are_listed_or_memory_is_said_to_be_lacking) {
    names w;

    begin_names(&w);
    memset(w.name, 'm', NAME_MAX_SIZE);
    publish_word(&w.d, w.name, "1", "one");
    publish_word(&w.d, "n", "1", "one");
    publish_word(&w.d, "n", "2", "two");
    starve(&w, list_all);
    expiry_end(&w.d);
}

static lsmkv_status open_then(names *w, lsmkv_error *err) {
    lsmkv_namespace *space = NULL;
    lsmkv_status status = lsmkv_published_open(
        w->d.db, word_bytes("n"), word_bytes("1"), w->snapshot, &space, err);

    lsm_alloc_fail_never();
    CHECK(status != LSMKV_OK || shows(&w->d, space, w->snapshot, "key=one "));
    lsmkv_namespace_free(space);
    return status;
}

static lsmkv_status open_space_then(names *w, lsmkv_error *err) {
    const lsmkv_namespace_how how = {.snapshot = w->snapshot};
    lsmkv_namespace *space = NULL;
    lsmkv_status status =
        lsmkv_namespace_open(w->d.db, word_bytes("space"), &how, &space, err);

    lsm_alloc_fail_never();
    CHECK(status != LSMKV_OK || shows(&w->d, space, w->snapshot, "key=value "));
    lsmkv_namespace_free(space);
    return status;
}

LSM_TEST(what_was_let_go_of_is_opened_in_a_snapshot_once_there_is_memory) {
    const lsmkv_namespace_how how = {.create = true};
    lsmkv_namespace *space = NULL;
    lsmkv_error err;
    names w;

    begin_names(&w);
    CHECK_OK(lsmkv_namespace_open(w.d.db, word_bytes("space"), &how, &space, &err));
    lsmkv_write into = {.space = space};
    CHECK_OK(lsmkv_put(w.d.db, &into, word_bytes("key"), word_bytes("value"), &err));
    lsmkv_namespace_free(space);
    publish_word(&w.d, "n", "1", "one");
    CHECK_OK(lsmkv_snapshot_create(w.d.db, &w.snapshot, &err));
    publish_word(&w.d, "n", "2", "two");
    CHECK_OK(lsmkv_release(w.d.db, word_bytes("n"), word_bytes("1"), &err));
    CHECK_OK(lsmkv_namespace_drop(w.d.db, word_bytes("space"), &err));
    starve(&w, open_then);
    starve(&w, open_space_then);
    lsmkv_snapshot_free(w.snapshot);
    expiry_end(&w.d);
}

static lsmkv_status create_space(names *w, lsmkv_error *err) {
    const lsmkv_namespace_how how = {.create = true,
                                     .has_max_bytes = true,
                                     .options = {.max_bytes = LSMKV_CACHE_BYTES_MIN}};
    lsmkv_namespace *space = NULL;
    lsmkv_status status =
        lsmkv_namespace_open(w->d.db, word_bytes(w->name), &how, &space, err);

    lsmkv_namespace_free(space);
    return status;
}

static lsmkv_status drop_space(names *w, lsmkv_error *err) {
    return lsmkv_namespace_drop(w->d.db, word_bytes(w->name), err);
}

static void pin_key(names *w) {
    lsmkv_namespace *space = NULL;
    lsmkv_bytes key = word_bytes("key");
    lsmkv_error err;

    CHECK_OK(lsmkv_namespace_open(w->d.db, word_bytes(w->name), NULL, &space, &err));
    CHECK_OK(lsmkv_cache_pin(w->d.db, space, &key, 1, true, &err));
    lsmkv_namespace_free(space);
}

/* Of names so long that what a call writes grows here, or there. */
LSM_TEST(a_cache_is_created_and_dropped_whole_however_often_memory_is_lacking) {
    lsmkv_error err;
    names w;

    begin_names(&w);
    for (size_t size = 1; size <= NAME_MAX_SIZE; size += size < 240 ? 20 : 1) {
        memset(w.name, 'c', size);
        starve(&w, create_space);
        pin_key(&w);
        starve(&w, drop_space);
        CHECK_STATUS(drop_space(&w, &err), LSMKV_NOT_FOUND);
    }
    expiry_reopen(&w.d);
    CHECK_STATUS(drop_space(&w, &err), LSMKV_NOT_FOUND);
    expiry_settle(&w.d);
    CHECK(files_match(&w.d));
    expiry_end(&w.d);
}
