/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a verify that lacks memory, descriptors or a read never passes over damage in
 * silence, and says what is wrong with each kind of file. Method: a database with
 * tables that point to values in files and logs, one of them rotten, opened anew for
 * each allocation, opening and read that fails; files that are lost or replaced behind
 * the back of an open handle; what the MANIFEST says of pointers, changed in memory.
 */
#include "db_help.h"
#include "dead_help.h"
#include "forge_help.h"

#include <errno.h>

#include "db/db.h"
#include "format/filename.h"

enum { PLACES_MAX = 3000, PROBLEMS_MAX = 200, SHARES_MAX = 16 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STRIDE = 11 };
#else
enum { STRIDE = 1 };
#endif

/* Opened and compacted, so that tables point to value files and logs. */
static lsm_env *make_settled(void) {
    dead_db dead;
    lsmkv_db *db = NULL;
    lsmkv_error err;

    dead_begin(&dead);
    CHECK_OK(dead_open(dead.env, SIM_PATH, false, &db, &err));
    CHECK_OK(lsmkv_compact(db, NULL, NULL, &err));
    close_db(db);
    return dead.env;
}

static lsmkv_db *open_db(lsm_env *env, bool read_only) {
    lsmkv_db *db = NULL;
    lsmkv_error err;

    CHECK_OK(dead_open(env, SIM_PATH, read_only, &db, &err));
    return db;
}

static void change_byte(lsm_env *env, const char *name, size_t at) {
    const uint8_t *data = NULL;
    lsm_buf bytes = {0};
    size_t size = 0;

    CHECK(lsm_sim_file_read(env, SIM_PATH, name, &data, &size));
    CHECK(lsm_buf_append(&bytes, data, size));
    bytes.data[at < size ? at : size / 2] ^= 1;
    CHECK(lsm_sim_file_write(env, SIM_PATH, name, bytes.data, bytes.size));
    lsm_buf_deinit(&bytes);
}

/* What a verify found. */
typedef struct finding {
    uint64_t count;
    char text[256]; /* of the last problem */
} finding;

static void note(void *context, const lsmkv_error *problem) {
    finding *found = context;

    found->count++;
    memcpy(found->text, problem->message, sizeof(found->text));
}

static lsmkv_status verify(lsmkv_db *db, finding *found, lsmkv_error *err) {
    lsmkv_report report;

    *found = (finding){0};
    lsm_error_clear(err);
    lsmkv_status status = lsmkv_verify(db, note, found, &report, err);
    CHECK(status != LSMKV_OK || report.problem_count == found->count);
    return status;
}

static finding verify_once(lsm_env *env) {
    lsmkv_db *db = open_db(env, false);
    lsmkv_error err;
    finding found;

    CHECK_OK(verify(db, &found, &err));
    close_db(db);
    return found;
}

/* The n-th allocation of a verify, or call of a class if there is one, fails. false:
 * there are not so many. */
static bool fail_at(lsm_env *env, uint64_t n, int call, int code,
                    const finding *whole) {
    lsmkv_db *db = open_db(env, false);
    lsmkv_error err;
    finding found;
    uint64_t before = lsm_alloc_count();

    if (call < 0) {
        lsm_alloc_fail_after(n, 0);
    } else {
        lsm_sim_fail(env, (lsm_sim_call)call, n, code, false);
    }
    lsmkv_status status = verify(db, &found, &err);
    bool met =
        call < 0 ? lsm_alloc_count() - before > n : lsm_sim_failed_name(env)[0] != '\0';
    lsm_alloc_fail_never();
    if (call >= 0) {
        lsm_sim_fail(env, (lsm_sim_call)call, 0, 0, false);
    }
    CHECK(status == LSMKV_OK || (call < 0 && status == LSMKV_NO_MEMORY));
    CHECK(status != LSMKV_OK || found.count >= whole->count);
    CHECK(code != EMFILE || found.count == whole->count);
    close_db(db);
    return met;
}

static void fail_everywhere(lsm_env *env, int call, int code, const finding *whole) {
    uint64_t n = 0;

    while (fail_at(env, n, call, code, whole)) {
        n += STRIDE;
        CHECK(n < PLACES_MAX);
    }
    CHECK(n > 2);
}

LSM_TEST(verify_with_whatever_fails_passes_over_no_damage) {
    lsm_env *env = make_settled();
    names found;

    list_names(env, ".seg", &found);
    change_byte(env, found.list[0], SIZE_MAX);
    lsm_sim_exempt_memory(env);
    finding whole = verify_once(env);
    CHECK(whole.count >= 2); /* the record, and what points into it */
    fail_everywhere(env, -1, 0, &whole);
    fail_everywhere(env, LSM_SIM_READ, EIO, &whole);
    fail_everywhere(env, LSM_SIM_OPEN, EMFILE, &whole);
    lsm_sim_destroy(env);
}

/* Where a verify has found problems in tables. */
typedef struct place_list {
    lsmkv_error problems[PROBLEMS_MAX];
    size_t count;
} place_list;

static void note_place(void *context, const lsmkv_error *problem) {
    place_list *places = context;

    if (strstr(problem->file, ".tbl") == NULL) {
        return;
    }
    for (size_t i = 0; i < places->count; i++) {
        CHECK(places->problems[i].offset != problem->offset ||
              strcmp(places->problems[i].file, problem->file) != 0);
    }
    CHECK(places->count < PROBLEMS_MAX);
    places->problems[places->count++] = *problem;
}

LSM_TEST(verify_tells_once_of_a_table_that_cannot_be_read) {
    lsm_env *env = make_settled();
    size_t most = 0;
    bool met = true;

    for (uint64_t n = 0; met; n += STRIDE) {
        lsmkv_db *db = open_db(env, false);
        lsmkv_error err;
        lsmkv_report report;
        place_list places = {.count = 0};
        lsm_sim_fail(env, LSM_SIM_READ, n, EIO, true);
        CHECK_OK(lsmkv_verify(db, note_place, &places, &report, &err));
        met = lsm_sim_failed_name(env)[0] != '\0';
        lsm_sim_fail(env, LSM_SIM_READ, 0, 0, false);
        CHECK(!met || report.problem_count > 0);
        most = places.count > most ? places.count : most;
        close_db(db);
    }
    CHECK(most > 2);
    lsm_sim_destroy(env);
}

/* Verifies a handle from under which a file was taken, or replaced. */
static finding verify_without(bool read_only, const char *part, lsmkv_status expected) {
    lsm_env *env = make_settled();
    lsmkv_db *db = open_db(env, read_only);
    lsmkv_error err;
    finding found;
    names list;

    list_names(env, part, &list);
    CHECK(lsm_sim_file_remove(env, SIM_PATH, list.list[list.count - 1]));
    CHECK_STATUS(verify(db, &found, &err), expected);
    if (expected == LSMKV_OK) {
        CHECK(found.count >= 1);
    }
    lsm_test_abandon(db);
    lsm_sim_destroy(env);
    return found;
}

LSM_TEST(verify_tells_a_lost_file_from_one_that_a_writer_deleted) {
    finding found = verify_without(false, "MANIFEST", LSMKV_OK);

    CHECK(strstr(found.text, "missing, but it is in use") != NULL);
    found = verify_without(false, "CURRENT", LSMKV_OK);
    CHECK_EQ(found.count, 1);
    (void)verify_without(true, "MANIFEST", LSMKV_CHANGED);
}

static void set_current(lsm_env *env, uint64_t number) {
    char content[LSM_CURRENT_SIZE_MAX];
    size_t size = lsm_current_encode(content, number);

    CHECK(lsm_sim_file_write(env, SIM_PATH, LSM_CURRENT_NAME, content, size));
}

/* To a reader it may name a later MANIFEST, which a writer has made, but no earlier. */
LSM_TEST(verify_says_that_current_names_another_manifest) {
    static const struct {
        bool read_only;
        uint64_t number;
        uint64_t count;
    } cases[] = {{false, 900000, 1}, {true, 900000, 0}, {true, 1, 1}};

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        lsm_env *env = make_settled();
        lsmkv_db *db = open_db(env, cases[i].read_only);
        lsmkv_error err;
        finding found;

        set_current(env, cases[i].number);
        CHECK_OK(verify(db, &found, &err));
        CHECK_EQ(found.count, cases[i].count);
        CHECK(found.count == 0 || strstr(found.text, "expected MANIFEST") != NULL);
        lsm_test_abandon(db);
        lsm_sim_destroy(env);
    }
}

/* The first table that points anywhere. */
static lsm_table_info *find_pointing(lsmkv_db *db) {
    lsm_table_info *found = NULL;

    lsm_mutex_lock(&db->mu);
    for (size_t level = 0; level < LSMKV_LEVEL_COUNT; level++) {
        for (size_t i = 0; i < db->version->levels[level].count; i++) {
            lsm_table_info *info = &db->version->levels[level].tables[i]->info;
            found = found == NULL && info->segment_count > 0 ? info : found;
        }
    }
    lsm_mutex_unlock(&db->mu);
    CHECK(found != NULL);
    return found;
}

LSM_TEST(verify_compares_the_pointers_of_a_table_with_the_manifest) {
    lsm_env *env = make_settled();
    lsmkv_db *db = open_db(env, false);
    lsm_table_info *info = find_pointing(db);
    lsmkv_error err;
    finding found;

    CHECK_OK(verify(db, &found, &err));
    CHECK_EQ(found.count, 0);
    for (int field = 0; field < 3; field++) {
        lsm_segment_share shares[SHARES_MAX] = {{0}};
        lsm_table_info before = *info;
        CHECK(before.segment_count < SHARES_MAX);
        memcpy(shares, before.segments, before.segment_count * sizeof(*shares));
        shares[0].number += field == 0;
        shares[0].bytes += field == 1;
        info->segment_count += field == 2;
        info->segments = shares;
        lsmkv_status status = verify(db, &found, &err);
        *info = before;
        CHECK_EQ(status, LSMKV_OK);
        CHECK_EQ(found.count, 1);
        CHECK(strstr(found.text, "points to other segments") != NULL);
    }
    close_db(db);
    lsm_sim_destroy(env);
}
