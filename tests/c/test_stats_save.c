/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: who writes to a database tells others its figures, as often as it was told to
 * and only where there is something new; at the end it says so; and whatever fails on
 * the way is none of the database's concern. Method: whole databases in the simulator,
 * whose clock and failures the test has in hand. What the text means is for the tests
 * of its reader, lsmkv/stats_file.py.
 */
#include "db_help.h"
#include "sim_help.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/testing.h"
#include "base/alloc.h"
#include "base/xxh3.h"
#include "format/filename.h"
#include "format/stats_text.h"

enum {
    FIRST_MS = 100,
    INTERVAL_MS = 1000,
    TEXT_MAX = 1 << 17,
    LAST_LINE = sizeof("xxh3 0123456789abcdef\n") - 1,
    SPACES = LSM_STATS_SPACES_MAX + 40,
    ASKED = 7, /* the namespace that is asked most */
    STATE_OPEN = 0,
    STATE_CLOSED = 3,
};

static char text[TEXT_MAX];

static lsmkv_db *open_db(lsm_env *env, int32_t interval_ms) {
    lsmkv_db *db;
    lsmkv_error err;
    lsmkv_options options;

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.seed = 1;
    options.stats_interval_ms = interval_ms;
    CHECK_OK(lsm_test_open(env, SIM_PATH, &options, &db, &err));
    return db;
}

static void put(lsmkv_db *db) {
    lsmkv_error err;
    lsmkv_bytes key = {"key", 3};

    CHECK_OK(lsmkv_put(db, NULL, key, key, &err));
}

static void wait_ms(lsm_env *env, lsmkv_db *db, int64_t ms) {
    lsm_sim_advance_ms(env, ms);
    (void)lsm_test_step(db, 1);
}

/* Takes the file into `text`. false: there is none, or it is not whole. */
static bool read_text(lsm_env *env) {
    const uint8_t *bytes;
    size_t size;

    if (!lsm_sim_file_read(env, SIM_PATH, LSM_STATS_NAME, &bytes, &size) ||
        size <= LAST_LINE) {
        return false;
    }
    CHECK(size < sizeof(text));
    memcpy(text, bytes, size);
    text[size] = '\0';
    size_t body = size - LAST_LINE;
    return strncmp(text + body, "xxh3 ", 5) == 0 &&
           strtoull(text + body + 5, NULL, 16) == lsm_xxh3(text, body);
}

/* The number that the text has behind a name. */
static uint64_t figure(const char *name) {
    size_t size = strlen(name);

    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (strncmp(line, name, size) == 0 && line[size] == ' ') {
            return strtoull(line + size + 1, NULL, 10);
        }
    }
    CHECK(!"no such figure");
    return 0;
}

LSM_TEST(figures_are_written_after_a_moment_and_then_where_they_have_changed) {
    lsm_env *env = lsm_sim_create(1);
    lsmkv_db *db = open_db(env, -1);

    put(db);
    (void)lsm_test_step(db, 1);
    CHECK(!read_text(env));
    wait_ms(env, db, FIRST_MS);
    CHECK(read_text(env));
    CHECK_EQ(figure("lsmkv-stats"), 1);
    CHECK_EQ(figure("interval_ms"), INTERVAL_MS);
    CHECK_EQ(figure("uptime_ms"), FIRST_MS);
    CHECK_EQ(figure("state"), STATE_OPEN);
    uint64_t writes = figure("write_count");
    uint64_t steps = lsm_sim_steps(env);

    wait_ms(env, db, 10 * INTERVAL_MS); /* nothing has happened */
    CHECK_EQ(lsm_sim_steps(env), steps);

    put(db);
    wait_ms(env, db, INTERVAL_MS - 1); /* too early */
    CHECK(read_text(env) && figure("write_count") == writes);
    wait_ms(env, db, 1);
    CHECK(read_text(env));
    CHECK_EQ(figure("write_count"), writes + 1);
    CHECK_EQ(figure("uptime_ms"), FIRST_MS + 11 * INTERVAL_MS);

    close_db(db);
    CHECK(read_text(env));
    CHECK_EQ(figure("state"), STATE_CLOSED);
    CHECK_EQ(figure("write_count"), writes + 1);
    lsm_sim_destroy(env);
}

LSM_TEST(a_database_that_was_open_for_a_moment_tells_that_it_is_closed) {
    lsm_env *env = lsm_sim_create(1);

    for (int i = 0; i < 2; i++) { /* the second finds the file of the first */
        close_db(open_db(env, 1));
        CHECK(read_text(env));
        CHECK_EQ(figure("state"), STATE_CLOSED);
        CHECK_EQ(figure("interval_ms"), 1);
    }
    lsm_sim_destroy(env);
}

LSM_TEST(an_interval_of_0_writes_no_figures) {
    lsm_env *env = lsm_sim_create(1);
    lsmkv_db *db = open_db(env, 0);
    const uint8_t *bytes;
    size_t size;

    put(db);
    wait_ms(env, db, 10 * INTERVAL_MS);
    close_db(db);
    CHECK(!lsm_sim_file_read(env, SIM_PATH, LSM_STATS_NAME, &bytes, &size));
    lsm_sim_destroy(env);
}

/* Each call that writing them makes fails, from then on, until it succeeds again. */
LSM_TEST(figures_that_cannot_be_written_are_nobodys_concern) {
    static const lsm_sim_call calls[] = {LSM_SIM_UNLINK, LSM_SIM_OPEN, LSM_SIM_APPEND,
                                         LSM_SIM_TRUNCATE};

    for (size_t i = 0; i < LSM_ARRAY_COUNT(calls); i++) {
        lsm_env *env = lsm_sim_create(1);
        lsmkv_db *db = open_db(env, -1);
        lsmkv_stats stats;
        lsmkv_error err;

        if (calls[i] == LSM_SIM_TRUNCATE) { /* of the simulator, to write over it */
            put(db);
            wait_ms(env, db, FIRST_MS);
        }
        put(db);
        lsm_sim_fail(env, calls[i], 0, ENOSPC, true);
        wait_ms(env, db, INTERVAL_MS);
        CHECK(strcmp(lsm_sim_failed_name(env), LSM_STATS_NAME) == 0);
        CHECK_OK(lsmkv_get_stats(db, &stats, &err));
        CHECK_EQ(stats.state, STATE_OPEN);

        lsm_sim_fail(env, calls[i], 0, 0, false);
        put(db);
        uint64_t steps = lsm_sim_steps(env);
        wait_ms(env, db, INTERVAL_MS); /* the pause has doubled */
        CHECK_EQ(lsm_sim_steps(env), steps);
        wait_ms(env, db, INTERVAL_MS);
        CHECK(read_text(env));
        CHECK_EQ(figure("write_count"), stats.write_count + 1);
        close_db(db);
        lsm_sim_destroy(env);
    }
}

LSM_TEST(figures_without_memory_are_written_later) {
    lsm_env *env = lsm_sim_create(1);
    lsmkv_db *db = open_db(env, 1);
    bool written = false;

    lsm_sim_exempt_memory(env);
    for (uint64_t n = 0; !written; n++) {
        put(db);
        lsm_sim_advance_ms(env, INTERVAL_MS);
        lsm_alloc_fail_after(n, 0);
        (void)lsm_test_step(db, 1);
        lsm_alloc_fail_never();
        written = read_text(env);
        CHECK(n < 100);
    }
    close_db(db);
    lsm_sim_destroy(env);
}

static lsmkv_namespace *make_space(lsmkv_db *db, int number) {
    char name[16];
    lsmkv_namespace *space;
    lsmkv_error err;
    lsmkv_namespace_how how = {.create = true};
    int size = snprintf(name, sizeof(name), "n %d\"\\\x7f", number);

    CHECK_OK(lsmkv_namespace_open(db, (lsmkv_bytes){name, (size_t)size}, &how, &space,
                                  &err));
    return space;
}

LSM_TEST(of_many_namespaces_those_are_listed_that_were_asked_most) {
    lsm_env *env = lsm_sim_create(1);
    lsmkv_db *db = open_db(env, -1);
    size_t listed = 0;

    for (int i = 0; i < SPACES; i++) {
        lsmkv_namespace *space = make_space(db, i);
        lsmkv_count(db, space, LSMKV_COUNT_HITS, i == ASKED ? 50 : i >= SPACES / 2);
        lsmkv_namespace_free(space);
    }
    wait_ms(env, db, FIRST_MS);
    CHECK(read_text(env));
    CHECK_EQ(figure("namespace_count"), SPACES + 1);
    for (const char *at = text; (at = strstr(at, "\nnamespace \"")) != NULL; at++) {
        const char *second = "\nnamespace \"n\\x207\\x22\\x5c\\x7f\" 50 0 ";
        const char *first = "\nnamespace \"\" 0 0 ";
        CHECK(listed != 0 || strncmp(at, first, strlen(first)) == 0);
        CHECK(listed != 1 || strncmp(at, second, strlen(second)) == 0);
        listed++;
    }
    CHECK_EQ(listed, LSM_STATS_SPACES_MAX);
    close_db(db);
    lsm_sim_destroy(env);
}

static bool write_all(const lsm_stats_report *report, lsm_buf *to) {
    const lsm_stats_head head = {1, 2, 3, 4, 5};

    return lsm_stats_text_head(&head, to) && lsm_stats_text_figures(report, to) &&
           lsm_stats_text_end(to);
}

LSM_TEST(a_statistics_text_is_whole_or_there_was_no_memory_for_it) {
    lsm_stats_report *report = lsm_calloc(1, sizeof(*report));
    lsm_buf whole = {0};

    CHECK(report != NULL);
    report->space_count = report->listed = 3;
    report->spaces[1].name = (lsmkv_bytes){"with \"quotes\" \x01", 15};
    report->spaces[2].name = (lsmkv_bytes){"plain", 5};
    for (int kind = 0; kind < LSMKV_LATENCY_KINDS; kind += 2) {
        report->latencies[kind].count = 2;
        report->latencies[kind].counts[kind] = 1;
        report->latencies[kind].counts[100] = 1;
    }
    CHECK(write_all(report, &whole));
    for (size_t room = 1; room <= whole.size; room++) {
        lsm_buf part = {0};
        CHECK(lsm_buf_reserve(&part, room));
        part.capacity = room; /* and no byte more */
        lsm_alloc_fail_after(0, 1);
        bool ok = write_all(report, &part);
        lsm_alloc_fail_never();
        CHECK(ok == (part.size == whole.size));
        CHECK(part.size <= whole.size && memcmp(part.data, whole.data, part.size) == 0);
        lsm_buf_deinit(&part);
    }
    lsm_buf_deinit(&whole);
    lsm_free(report);
}
