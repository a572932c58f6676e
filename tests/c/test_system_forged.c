/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what the database knows about itself is believed no further than it makes
 * sense, whenever it is read. Method: keys of the system namespace that no call would
 * write, put into a database that is open, which is then asked, and opened again from
 * what its death leaves.
 */
#include "db_help.h"
#include "calls_help.h"

#include <errno.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/coding.h"
#include "db/system_key.h"
#include "format/batch.h"

enum { LOST_ID = 500, BYTES_MAX = 512, PLACES_MAX = 5000 };

/* A key of the system namespace, and what stands under it. */
typedef struct forgery {
    const char *key;
    size_t key_size;
    uint8_t value[BYTES_MAX];
    size_t size;
} forgery;

static forgery forge(const char *key, const void *value, size_t size) {
    forgery made = {.key = key, .key_size = strlen(key), .size = size};

    CHECK(size <= BYTES_MAX);
    if (size > 0) {
        memcpy(made.value, value, size);
    }
    return made;
}

static forgery forge_buf(const char *key, lsm_buf *value, size_t size) {
    CHECK(size <= value->size);
    forgery made = forge(key, value->data, size);

    lsm_buf_deinit(value);
    return made;
}

/* The first bytes of the definition of a namespace that there is not. */
static forgery forge_space(const char *key, size_t size) {
    lsm_space_definition definition = {.id = LOST_ID,
                                       .options = LSM_SPACE_OPTIONS_NONE};
    lsm_buf value = {0};

    CHECK(lsm_space_encode(&definition, &value));
    return forge_buf(key, &value, size < value.size ? size : value.size);
}

/* The same of a version. */
static forgery forge_version(const char *key, lsm_publish_state state, uint64_t mark,
                             size_t size) {
    lsm_publish_record record = {
        .state = state,
        .edit_mark = mark,
        .space = {.id = LOST_ID, .options = LSM_SPACE_OPTIONS_NONE}};
    lsm_buf value = {0};

    CHECK(lsm_publish_record_encode(&record, &value));
    return forge_buf(key, &value, size < value.size ? size : value.size);
}

static void put_forgery(lsmkv_db *db, const forgery *from) {
    lsm_batch batch;
    lsmkv_error err;

    lsm_batch_init(&batch);
    CHECK_OK(lsm_batch_put(&batch, LSM_NAMESPACE_SYSTEM,
                           (lsmkv_bytes){from->key, from->key_size},
                           (lsmkv_bytes){from->value, from->size}, &err));
    CHECK_OK(lsm_system_commit(db, &batch, NULL, &err));
    lsm_batch_deinit(&batch);
}

static void put_one(all *a, forgery from) {
    put_forgery(a->db, &from);
}

static lsmkv_status open_space(all *a, const char *name, bool create,
                               const lsmkv_snapshot *snapshot,
                               lsmkv_namespace **space) {
    lsmkv_namespace_how how = {.create = create, .snapshot = snapshot};
    lsmkv_error err;

    return lsmkv_namespace_open(a->db, bytes_of(name), &how, space, &err);
}

static void count_space(void *context, lsmkv_bytes name,
                        const lsmkv_space_options *options) {
    (void)name;
    (void)options;
    *(size_t *)context += 1;
}

static void count_version(void *context, const lsmkv_version_info *info) {
    (void)info;
    *(size_t *)context += 1;
}

/* What a handle of something that is gone shows: nothing, and it takes nothing. */
static void check_gone(all *a, lsmkv_namespace *space, const lsmkv_snapshot *snapshot) {
    lsmkv_read read = {.space = space, .snapshot = snapshot};
    lsmkv_write into = {.space = space};
    lsmkv_error err;
    lsmkv_pin pin;

    CHECK_STATUS(lsmkv_get(a->db, &read, bytes_of("key"), &pin, &err), LSMKV_NOT_FOUND);
    CHECK(lsmkv_put(a->db, &into, bytes_of("key"), bytes_of("v"), &err) != LSMKV_OK);
    lsmkv_namespace_free(space);
}

LSM_TEST(a_definition_that_is_not_on_the_list_is_damage_and_nothing_to_a_snapshot) {
    lsmkv_namespace *space = NULL;
    lsmkv_snapshot *snapshot = NULL;
    lsmkv_error err;
    all a;

    begin(&a);
    put_one(&a, forge_space("namespace/lost", SIZE_MAX));
    CHECK_EQ(open_space(&a, "lost", false, NULL, &space), LSMKV_CORRUPTION);
    CHECK_EQ(open_space(&a, "lost", true, NULL, &space), LSMKV_CORRUPTION);
    CHECK_STATUS(lsmkv_namespace_drop(a.db, bytes_of("lost"), &err), LSMKV_CORRUPTION);
    CHECK_OK(lsmkv_snapshot_create(a.db, &snapshot, &err));
    CHECK_EQ(open_space(&a, "lost", false, snapshot, &space), LSMKV_OK);
    check_gone(&a, space, snapshot);
    lsmkv_snapshot_free(snapshot);
    end(&a);
}

LSM_TEST(a_definition_that_is_torn_is_damage_to_whoever_reads_it) {
    lsmkv_namespace *space = NULL;
    lsmkv_error err;
    size_t count = 0;
    all a;

    begin(&a);
    put_one(&a, forge_space("namespace/torn", 3));
    CHECK_EQ(open_space(&a, "torn", false, NULL, &space), LSMKV_CORRUPTION);
    CHECK_STATUS(lsmkv_namespace_drop(a.db, bytes_of("torn"), &err), LSMKV_CORRUPTION);
    CHECK_STATUS(lsmkv_namespace_list(a.db, NULL, count_space, &count, &err),
                 LSMKV_CORRUPTION);
    CHECK_EQ(open_space(&a, "space", false, NULL, &space), LSMKV_OK);
    lsmkv_namespace_free(space);
    end(&a);
}

LSM_TEST(a_count_of_namespaces_that_makes_no_sense_ends_the_founding_of_others) {
    static const uint8_t most[] = {0xFF, 0xFF, 0xFF, 0xFF};
    lsmkv_namespace *space = NULL;
    all a;

    begin(&a);
    put_one(&a, forge("next_namespace", "abc", 3));
    CHECK_EQ(open_space(&a, "new", true, NULL, &space), LSMKV_CORRUPTION);
    put_one(&a, forge("next_namespace", most, sizeof(most)));
    CHECK_EQ(open_space(&a, "new", true, NULL, &space), LSMKV_LIMIT_EXCEEDED);
    CHECK_EQ(open_space(&a, "space", false, NULL, &space), LSMKV_OK);
    lsmkv_namespace_free(space);
    end(&a);
}

LSM_TEST(a_version_whose_namespace_is_not_on_the_list_is_damage) {
    lsmkv_namespace *space = NULL;
    lsmkv_snapshot *snapshot = NULL;
    lsmkv_error err;
    all a;

    begin(&a);
    put_one(&a, forge_version("publish/name/3", LSM_PUBLISH_COMPLETE, 0, SIZE_MAX));
    CHECK_STATUS(
        lsmkv_published_open(a.db, bytes_of("name"), bytes_of("3"), NULL, &space, &err),
        LSMKV_CORRUPTION);
    CHECK_STATUS(lsmkv_release(a.db, bytes_of("name"), bytes_of("3"), &err),
                 LSMKV_CORRUPTION);
    CHECK_STATUS(lsmkv_release(a.db, bytes_of("name"), bytes_of(""), &err),
                 LSMKV_CORRUPTION);
    CHECK_OK(lsmkv_snapshot_create(a.db, &snapshot, &err));
    CHECK_OK(lsmkv_published_open(a.db, bytes_of("name"), bytes_of("3"), snapshot,
                                  &space, &err));
    check_gone(&a, space, snapshot);
    lsmkv_snapshot_free(snapshot);
    end(&a);
}

LSM_TEST(what_was_published_is_damage_where_its_names_or_records_are) {
    lsmkv_namespace *space = NULL;
    lsmkv_error err;
    size_t count = 0;
    all a;

    begin(&a);
    put_one(&a, forge("published/name", "a/b", 3));
    CHECK_STATUS(lsmkv_release(a.db, bytes_of("name"), bytes_of("1"), &err),
                 LSMKV_CORRUPTION);
    CHECK_STATUS(
        lsmkv_versions(a.db, NULL, bytes_of("name"), count_version, &count, &err),
        LSMKV_CORRUPTION);
    put_one(&a, forge("published/name", "1", 1));
    CHECK_OK(lsmkv_versions(a.db, NULL, bytes_of("name"), count_version, &count, &err));
    CHECK_EQ(count, 1);
    put_one(&a, forge_version("publish/name/3", LSM_PUBLISH_COMPLETE, 0, 20));
    CHECK_STATUS(
        lsmkv_versions(a.db, NULL, bytes_of("name"), count_version, &count, &err),
        LSMKV_CORRUPTION);
    CHECK_STATUS(
        lsmkv_published_open(a.db, bytes_of("name"), bytes_of("3"), NULL, &space, &err),
        LSMKV_CORRUPTION);
    end(&a);

    begin(&a);
    count = 0;
    put_one(&a, forge_version("publish/name", LSM_PUBLISH_COMPLETE, 0, SIZE_MAX));
    CHECK_STATUS(lsmkv_versions(a.db, NULL, bytes_of(""), count_version, &count, &err),
                 LSMKV_CORRUPTION);
    CHECK_EQ(count, 0);
    end(&a);

    begin(&a); /* a name that shows nothing has versions all the same */
    put_one(&a, forge_version("publish/other/1", LSM_PUBLISH_COMPLETE, 0, SIZE_MAX));
    CHECK_OK(lsmkv_versions(a.db, NULL, bytes_of(""), count_version, &count, &err));
    CHECK_EQ(count, 2);
    end(&a);
}

/* Opens what the death of the database leaves. */
static lsmkv_status reopen(all *a, bool read_only, lsmkv_error *err) {
    lsmkv_options options;
    lsmkv_db *db = NULL;
    lsm_env *env = sim_crash(a->env, 1, LSM_CRASH_ALL, 512);

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.read_only = read_only;
    lsmkv_status status = lsm_test_open(env, SIM_PATH, &options, &db, err);
    if (status == LSMKV_OK) {
        lsm_test_abandon(db);
    }
    lsm_sim_destroy(env);
    return status;
}

static void check_refused(forgery first, forgery second) {
    lsmkv_error err;
    all a;

    begin(&a);
    put_one(&a, first);
    put_one(&a, second);
    for (int read_only = 0; read_only < 2; read_only++) {
        lsmkv_status status = reopen(&a, read_only == 1, &err);
        if (status != LSMKV_CORRUPTION) {
            lsm_test_fail(__FILE__, __LINE__, "%s and %s: %s", first.key, second.key,
                          lsmkv_status_name(status));
        }
        CHECK(err.message[0] != '\0');
    }
    end(&a);
}

LSM_TEST(a_database_whose_system_namespace_makes_no_sense_does_not_open) {
    static const uint64_t far = (uint64_t)1 << 40;
    forgery good = forge_version("publish/x/1", LSM_PUBLISH_COMPLETE, 0, SIZE_MAX);
    forgery begun = forge_version("publish/x/1", LSM_PUBLISH_BEGUN, 0, SIZE_MAX);
    forgery lost = forge_version("publish/x/1", LSM_PUBLISH_COMPLETE, far, SIZE_MAX);
    forgery torn = forge_version("publish/x/1", LSM_PUBLISH_COMPLETE, 0, 20);
    forgery unnamed = forge_version("publish/x", LSM_PUBLISH_COMPLETE, 0, SIZE_MAX);

    check_refused(forge_space("namespace/torn", 3), good);
    check_refused(forge_space("namespace/", SIZE_MAX), good);
    check_refused(good, forge("published/", "1", 1));
    check_refused(good, forge("published/x", "/", 1));
    check_refused(good, forge("published/x", "2", 1));
    check_refused(begun, forge("published/x", "1", 1));
    check_refused(lost, forge("published/x", "1", 1));
    check_refused(torn, torn);
    check_refused(unnamed, unnamed);
}

/* As where a backup lacks the end of its MANIFEST: the error names the file, unless
 * that cannot be told any more. */
LSM_TEST(a_version_whose_tables_are_in_a_lost_edit_names_the_manifest) {
    lsmkv_error err;
    bool unnamed = false;
    all a;

    begin(&a);
    put_one(&a, forge_version("publish/x/1", LSM_PUBLISH_COMPLETE, (uint64_t)1 << 40,
                              SIZE_MAX));
    CHECK_STATUS(reopen(&a, true, &err), LSMKV_CORRUPTION);
    CHECK(strncmp(err.file, "MANIFEST", 8) == 0);
    CHECK(strstr(err.message, "lost an edit") != NULL);
    for (uint64_t n = 0; !unnamed; n++) {
        lsmkv_options options;
        lsmkv_db *db = NULL;
        lsm_env *env = sim_crash(a.env, 1, LSM_CRASH_ALL, 512);
        lsmkv_options_init(&options);
        options.read_only = true;
        lsm_sim_fail(env, LSM_SIM_OPEN, n, EIO, false);
        lsmkv_status status = lsm_test_open(env, SIM_PATH, &options, &db, &err);
        CHECK(status == LSMKV_CORRUPTION || status == LSMKV_IO_ERROR);
        unnamed = status == LSMKV_CORRUPTION && err.file[0] == '\0';
        lsm_sim_destroy(env);
        CHECK(n < PLACES_MAX);
    }
    CHECK(strstr(err.message, "lost an edit") != NULL);
    end(&a);
}

/* A version that nobody sees costs nothing; and one that was never finished goes. */
LSM_TEST(a_database_with_versions_that_nobody_sees_opens) {
    lsmkv_error err;
    all a;

    begin(&a);
    put_one(&a, forge_version("publish/x/1", LSM_PUBLISH_COMPLETE, 0, SIZE_MAX));
    put_one(&a, forge_version("publish/y/1", LSM_PUBLISH_BEGUN, 0, SIZE_MAX));
    CHECK_OK(reopen(&a, false, &err));
    CHECK_OK(reopen(&a, true, &err));
    end(&a);
}

/* One in a cache, and what is none. */
LSM_TEST(pins_that_make_no_sense_are_no_pins) {
    uint8_t keys[4][12] = {"pin/", "pin/", "pin/", "pin/"};
    uint8_t bytes[8] = {9};
    lsmkv_error err;
    all a;

    begin(&a);
    lsm_put_u32_be(keys[0] + 4, LOST_ID);
    lsm_put_u32_be(keys[1] + 4, 2); /* "space", which is no cache */
    lsm_put_u32_be(keys[2] + 4, 3); /* the cache */
    for (size_t i = 0; i < LSM_ARRAY_COUNT(keys); i++) {
        forgery pin = {.key = (const char *)keys[i],
                       .key_size = i == 3 ? 6 : 8 + i,
                       .size = i == 2 ? 5 : 8};
        memcpy(pin.value, bytes, sizeof(bytes));
        put_forgery(a.db, &pin);
    }
    CHECK_OK(reopen(&a, false, &err));
    lsmkv_cache_stats stats;
    lsm_env *env = sim_crash(a.env, 1, LSM_CRASH_ALL, 512);
    lsmkv_options options;
    lsmkv_db *db = NULL;
    lsmkv_namespace *cache = NULL;
    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    CHECK_OK(lsm_test_open(env, SIM_PATH, &options, &db, &err));
    CHECK_OK(lsmkv_namespace_open(db, bytes_of("cache"), NULL, &cache, &err));
    CHECK_OK(lsmkv_get_cache_stats(db, cache, &stats, &err));
    CHECK_EQ(stats.pinned_count, 0);
    lsmkv_namespace_free(cache);
    lsm_test_abandon(db);
    lsm_sim_destroy(env);
    end(&a);
}

/* Opens with the allocation at `at` failing. false: it was over before. */
static bool lack_memory(all *a, uint64_t at, bool read_only) {
    lsmkv_options options;
    lsmkv_error err;
    lsmkv_db *db = NULL;
    lsm_env *env = sim_crash(a->env, 1, LSM_CRASH_ALL, 512);

    lsm_sim_exempt_memory(env);
    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.read_only = read_only;
    uint64_t before = lsm_alloc_count();
    lsm_alloc_fail_after(at, 0);
    lsmkv_status status = lsm_test_open(env, SIM_PATH, &options, &db, &err);
    bool lacked = lsm_alloc_count() - before > at;
    lsm_alloc_fail_never();
    if (status == LSMKV_OK) {
        lsm_test_abandon(db);
    } else {
        CHECK_STATUS(status, LSMKV_NO_MEMORY);
        CHECK_OK(lsm_test_open(env, SIM_PATH, &options, &db, &err));
        lsm_test_abandon(db);
    }
    lsm_sim_destroy(env);
    return lacked;
}

LSM_TEST(an_open_of_caches_pins_and_published_names_without_memory_says_so) {
    lsmkv_bytes pinned[] = {bytes_of("key"), bytes_of("none")};
    lsmkv_error err;
    all a;

    begin(&a);
    CHECK_OK(lsmkv_cache_pin(a.db, a.cache, pinned, 2, true, &err));
    for (int read_only = 0; read_only < 2; read_only++) {
        uint64_t at = 0;
        while (lack_memory(&a, at, read_only == 1)) {
            at++;
            CHECK(at < PLACES_MAX);
        }
    }
    end(&a);
}
