/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: the right work is picked, and never two jobs that would get in each other's
 * way. Method: a table of versions with the pick expected of each; targets and debt in
 * exact numbers. test_compact_sim.c lets picks run against a model.
 */
#include "version_help.h"

#include "base/alloc.h"
#include "db/compact_pick.h"

enum { ROW_MAX = 16 };

/* Tables of the tests: sizes in units of `unit`, so that cases stay readable. */
static const uint64_t unit = 1000;

typedef enum row_flag { PLAIN = 0, BUSY = 1, DEAD = 2 } row_flag;

typedef struct table_row {
    uint32_t level;
    uint64_t number;
    const char *from; /* NULL ends a list */
    const char *to;
    uint64_t units;
    int flags; /* BUSY: compacting; DEAD: holds a tombstone */
} table_row;

static lsm_options options_make(void) {
    return (lsm_options){.table_bytes = 2 * unit,
                         .level_base_bytes = 10 * unit,
                         .level_multiplier = 10,
                         .l0_compact_trigger = 4,
                         .l0_slowdown = 12,
                         .l0_stop = 24};
}

static lsm_version *version_make(const table_row *rows, count_sink *sink) {
    lsm_version *version = lsm_version_create();
    lsm_edit edit;

    lsm_edit_init(&edit);
    for (const table_row *row = rows; row->from != NULL; row++) {
        edit_add(&edit, row->level, row->number, row->from, row->to);
        edit.added[edit.added_count - 1].info.file_size = row->units * unit;
        edit.added[edit.added_count - 1].info.tombstone_count =
            (row->flags & DEAD) != 0 ? 1 : 0;
    }
    version = version_next(version, &edit, sink);
    for (const table_row *row = rows; row->from != NULL; row++) {
        const lsm_level *level = &version->levels[row->level];
        for (size_t i = 0; i < level->count; i++) {
            if (level->tables[i]->info.number == row->number) {
                level->tables[i]->compacting = (row->flags & BUSY) != 0;
            }
        }
    }
    return version;
}

/* A pick as "0>6: 4 3 2 1 | 7 8", "move" in front of a move, or "none". */
static const char *pick_text(lsmkv_status status, const lsm_pick *pick) {
    static char text[512];
    size_t used = 0;

    if (status != LSMKV_OK) {
        CHECK(pick->inputs[0] == NULL && pick->inputs[1] == NULL);
        return status == LSMKV_NOT_FOUND     ? "none"
               : status == LSMKV_WOULD_BLOCK ? "busy"
                                             : "error";
    }
    used += (size_t)snprintf(text, sizeof(text), "%s%u>%u:", pick->move ? "move " : "",
                             pick->level, pick->output_level);
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < pick->input_counts[side]; i++) {
            used += (size_t)snprintf(
                text + used, sizeof(text) - used, " %llu",
                (unsigned long long)pick->inputs[side][i]->info.number);
            CHECK(used < sizeof(text) - 32);
        }
        if (side == 0 && pick->input_counts[1] > 0) {
            used += (size_t)snprintf(text + used, sizeof(text) - used, " |");
        }
    }
    return text;
}

typedef struct pick_case {
    const char *what;
    const char *expected;
    table_row rows[ROW_MAX];
} pick_case;

static const pick_case pick_cases[] = {
    {"nothing is due in an empty version", "none", {{0, 0, NULL, NULL, 0, 0}}},
    {"level 0 below its trigger waits",
     "none",
     {{0, 1, "a", "z", 1, 0}, {0, 2, "a", "z", 1, 0}, {0, 3, "a", "z", 1, 0}}},
    {"level 0 goes to the last level while there is little data",
     "0>6: 4 3 2 1",
     {{0, 1, "a", "m", 1, 0},
      {0, 2, "c", "m", 1, 0},
      {0, 3, "a", "b", 1, 0},
      {0, 4, "b", "d", 1, 0}}},
    {"level 0 takes what its whole range overlaps, ends included",
     "0>6: 4 3 2 1 | 12 13 14",
     {{0, 1, "d", "f", 1, 0},
      {0, 2, "d", "f", 1, 0},
      {0, 3, "e", "h", 1, 0},
      {0, 4, "f", "k", 1, 0},
      {6, 11, "a", "c", 1, 0},
      {6, 12, "cc", "d", 1, 0},
      {6, 13, "g", "g", 1, 0},
      {6, 14, "k", "l", 1, 0},
      {6, 15, "m", "n", 1, 0}}},
    {"level 0 has one job at a time",
     "none",
     {{0, 1, "a", "z", 1, BUSY},
      {0, 2, "a", "z", 1, 0},
      {0, 3, "a", "z", 1, 0},
      {0, 4, "a", "z", 1, 0},
      {0, 5, "a", "z", 1, 0}}},
    {"level 0 waits for a table below that is in use",
     "none",
     {{0, 1, "a", "z", 1, 0},
      {0, 2, "a", "z", 1, 0},
      {0, 3, "a", "z", 1, 0},
      {0, 4, "a", "z", 1, 0},
      {6, 7, "b", "c", 1, BUSY}}},
    {"a table in use that is not in the way does not matter",
     "0>6: 4 3 2 1",
     {{0, 1, "d", "z", 1, 0},
      {0, 2, "d", "z", 1, 0},
      {0, 3, "d", "z", 1, 0},
      {0, 4, "d", "z", 1, 0},
      {6, 7, "b", "c", 1, BUSY}}},
    {"of level-0 tables that overlap nothing the oldest is moved",
     "move 0>6: 2",
     {{0, 1, "a", "d", 1, 0},
      {0, 2, "e", "f", 1, 0},
      {0, 3, "c", "d", 1, 0},
      {0, 4, "g", "h", 1, 0}}},
    {"a level-0 table with something below it is not moved",
     "move 0>6: 4",
     {{0, 1, "a", "d", 1, 0},
      {0, 2, "e", "f", 1, 0},
      {0, 3, "c", "d", 1, 0},
      {0, 4, "g", "h", 1, 0},
      {6, 9, "f", "fz", 1, 0}}},
    {"tombstones are not moved to the bottom but rewritten",
     "0>6: 2",
     {{0, 1, "a", "d", 1, 0},
      {0, 2, "e", "f", 1, DEAD},
      {0, 3, "c", "d", 1, 0},
      {0, 4, "g", "h", 1, 0}}},
    {"a level within its target is left alone",
     "none",
     {{5, 1, "a", "b", 2, 0}, {5, 2, "c", "d", 2, 0}, {6, 3, "a", "z", 100, 0}}},
    {"the table with the least overlap for its size goes down",
     "5>6: 2 | 12",
     {{5, 1, "a", "e", 5, 0},
      {5, 2, "f", "g", 5, 0},
      {5, 3, "h", "i", 2, 0},
      {6, 11, "a", "e", 40, 0},
      {6, 12, "f", "g", 20, 0},
      {6, 13, "h", "i", 40, 0}}},
    {"of equals the oldest goes down",
     "5>6: 1 | 12",
     {{5, 2, "a", "e", 6, 0},
      {5, 1, "f", "g", 6, 0},
      {6, 11, "a", "e", 50, 0},
      {6, 12, "f", "g", 50, 0}}},
    {"a table over a gap is moved",
     "move 5>6: 3",
     {{5, 1, "a", "e", 6, 0},
      {5, 3, "f", "g", 6, 0},
      {6, 11, "a", "e", 50, 0},
      {6, 12, "h", "k", 50, 0}}},
    {"a table over a gap with tombstones is moved while data lies deeper",
     "move 4>5: 3",
     {{4, 1, "a", "e", 6, 0},
      {4, 3, "f", "g", 6, DEAD},
      {5, 11, "a", "e", 90, 0},
      {6, 12, "a", "e", 1000, 0}}},
    {"tables in use and tables over such are passed by",
     "5>6: 3 | 13",
     {{5, 1, "a", "b", 6, BUSY},
      {5, 2, "c", "d", 6, 0},
      {5, 3, "e", "f", 12, 0},
      {6, 11, "a", "b", 1, BUSY},
      {6, 12, "c", "d", 1, BUSY},
      {6, 13, "e", "f", 98, 0}}},
    {"what is going down already does not count",
     "none",
     {{5, 1, "a", "b", 9, BUSY},
      {5, 2, "c", "d", 9, 0},
      {6, 11, "a", "b", 50, BUSY},
      {6, 12, "c", "d", 50, 0}}},
    {"neighbours that cost nothing below ride along",
     "5>6: 2 3 | 11",
     {{5, 1, "a", "b", 2, 0},
      {5, 2, "c", "d", 6, 0},
      {5, 3, "e", "f", 4, 0},
      {5, 4, "y", "z", 2, 0},
      {6, 10, "a", "a", 40, 0},
      {6, 11, "b", "g", 20, 0},
      {6, 12, "h", "z", 40, 0}}},
    {"the highest score goes first",
     "4>5: 1 | 2",
     {{0, 91, "a", "z", 1, 0},
      {0, 92, "a", "z", 1, 0},
      {0, 93, "a", "z", 1, 0},
      {0, 94, "a", "z", 1, 0},
      {4, 1, "a", "z", 30, 0},
      {5, 2, "a", "z", 150, 0},
      {6, 3, "a", "z", 1000, 0}}},
    {"a level that became too small to exist is emptied",
     "5>6: 1 | 11",
     {{5, 1, "a", "b", 1, 0}, {6, 11, "a", "b", 10, 0}}},
    {"level 0 does not pass a level that became too small",
     "0>5: 4 3 2 1 | 5",
     {{0, 1, "a", "z", 1, 0},
      {0, 2, "a", "z", 1, 0},
      {0, 3, "a", "z", 1, 0},
      {0, 4, "a", "z", 1, 0},
      {5, 5, "a", "b", 3, 0},
      {6, 11, "a", "b", 40, 0}}},
};

LSM_TEST(each_version_gets_the_pick_that_is_due) {
    for (size_t i = 0; i < LSM_ARRAY_COUNT(pick_cases); i++) {
        count_sink sink = count_sink_make();
        lsm_version *version = version_make(pick_cases[i].rows, &sink);
        lsm_options options = options_make();
        lsmkv_error err;
        lsm_pick pick;

        lsmkv_status status =
            lsm_pick_compaction(version, &options, &(lsm_pick_moment){0}, &pick, &err);
        const char *found = pick_text(status, &pick);
        if (strcmp(found, pick_cases[i].expected) != 0) {
            lsm_test_fail(__FILE__, __LINE__, "%s: picked '%s', not '%s'",
                          pick_cases[i].what, found, pick_cases[i].expected);
        }
        CHECK(status != LSMKV_OK || pick.score >= 1);
        lsm_pick_deinit(&pick);
        lsm_version_unref(version);
    }
}

LSM_TEST(a_level_0_that_slows_writers_goes_before_higher_scores) {
    table_row rows[ROW_MAX] = {{4, 100, "a", "z", 500, 0},
                               {5, 101, "a", "z", 150, 0},
                               {6, 102, "a", "z", 1000, 0}};
    count_sink sink = count_sink_make();
    lsm_options options = options_make();
    lsmkv_error err;
    lsm_pick pick;

    for (uint64_t i = 0; i < 12; i++) {
        rows[3 + i] = (table_row){0, 1 + i, "a", "z", 1, 0};
    }
    lsm_version *version = version_make(rows, &sink);
    CHECK_OK(
        lsm_pick_compaction(version, &options, &(lsm_pick_moment){0}, &pick, &err));
    CHECK_EQ(pick.level, 0);
    CHECK_EQ(pick.input_counts[0], 12);
    lsm_pick_deinit(&pick);
    options.l0_slowdown = 13;
    CHECK_OK(
        lsm_pick_compaction(version, &options, &(lsm_pick_moment){0}, &pick, &err));
    CHECK_EQ(pick.level, 4);
    lsm_pick_deinit(&pick);

    /* While its way is barred, the others go on. */
    options.l0_slowdown = 12;
    version->levels[0].tables[5]->compacting = true;
    CHECK_OK(
        lsm_pick_compaction(version, &options, &(lsm_pick_moment){0}, &pick, &err));
    CHECK_EQ(pick.level, 4);
    lsm_pick_deinit(&pick);
    lsm_version_unref(version);
}

typedef struct target_case {
    table_row rows[4];
    uint32_t base_level;
    uint64_t units[LSMKV_LEVEL_COUNT]; /* 0: no limit; 1 << 60: one byte */
} target_case;

#define ONE_BYTE (UINT64_C(1) << 60)

LSM_TEST(targets_follow_from_the_size_of_the_last_level) {
    static const target_case cases[] = {
        {{{0, 0, NULL, NULL, 0, 0}}, 6, {0}},
        {{{6, 1, "a", "b", 99, 0}}, 6, {0}},
        {{{6, 1, "a", "b", 100, 0}}, 5, {0, 0, 0, 0, 0, 10, 0}},
        {{{6, 1, "a", "b", 999, 0}}, 5, {0, 0, 0, 0, 0, 99, 0}},
        {{{6, 1, "a", "b", 1000, 0}}, 4, {0, 0, 0, 0, 10, 100, 0}},
        {{{6, 1, "a", "b", 100000000, 0}},
         1,
         {0, 1000, 10000, 100000, 1000000, 10000000, 0}},
        {{{3, 1, "a", "b", 100, 0}}, 2, {0, 0, 10, 0, 0, 0, 0}},
        /* Levels with data stay in use: at their share, or to be emptied. */
        {{{5, 1, "a", "b", 1, 0}, {6, 2, "a", "b", 50, 0}}, 5, {0, 0, 0, 0, 0, 5, 0}},
        {{{4, 1, "a", "b", 1, 0}, {6, 2, "a", "b", 50, 0}},
         4,
         {0, 0, 0, 0, ONE_BYTE, 5, 0}},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        count_sink sink = count_sink_make();
        lsm_version *version = version_make(cases[i].rows, &sink);
        lsm_options options = options_make();
        lsm_level_targets targets = lsm_pick_targets(version, &options);

        CHECK_EQ(targets.base_level, cases[i].base_level);
        for (size_t j = 0; j < LSMKV_LEVEL_COUNT; j++) {
            uint64_t units = cases[i].units[j];
            uint64_t expected = units == 0          ? UINT64_MAX
                                : units == ONE_BYTE ? 1
                                                    : units * unit;
            bool close = targets.bytes[j] / unit == expected / unit;
            if (!close) {
                lsm_test_fail(__FILE__, __LINE__, "case %zu level %zu: %llu", i, j,
                              (unsigned long long)targets.bytes[j]);
            }
        }
        lsm_version_unref(version);
    }
}

LSM_TEST(debt_is_what_must_move_until_every_level_is_within_its_target) {
    static const table_row quiet[] = {{0, 1, "a", "b", 7, 0},
                                      {5, 2, "a", "b", 10, 0},
                                      {6, 3, "a", "b", 100, 0},
                                      {0, 0, NULL, NULL, 0, 0}};
    static const table_row busy[] = {
        {0, 1, "a", "b", 7, 0},    {0, 2, "a", "b", 7, 0},  {0, 3, "a", "b", 7, 0},
        {0, 4, "a", "b", 7, 0},    {4, 5, "a", "b", 5, 0},  {5, 6, "a", "b", 90, 0},
        {6, 7, "a", "b", 1000, 0}, {0, 0, NULL, NULL, 0, 0}};
    count_sink sink = count_sink_make();
    lsm_options options = options_make();

    lsm_version *version = version_make(quiet, &sink);
    CHECK_EQ(lsm_pick_debt(version, &options), 0);
    lsm_version_unref(version);

    /* 28 from level 0; then 5 + 28 - 10 = 23 from level 4, 90 + 23 - 100 = 13 more. */
    version = version_make(busy, &sink);
    CHECK_EQ(lsm_pick_debt(version, &options), (28 + 23 + 13) * unit);
    lsm_version_unref(version);
}

typedef struct range_case {
    const char *what;
    uint32_t level;
    const char *from; /* NULL: no bound */
    const char *to;
    const char *expected;
} range_case;

LSM_TEST(a_manual_pick_takes_everything_in_the_range) {
    static const table_row rows[] = {
        {0, 31, "c", "d", 1, 0},    {0, 32, "x", "y", 1, 0}, {4, 1, "a", "b", 1, 0},
        {4, 2, "d", "e", 1, 0},     {4, 3, "f", "g", 1, 0},  {5, 11, "a", "c", 1, 0},
        {5, 12, "g", "h", 1, BUSY}, {5, 13, "k", "l", 1, 0}, {6, 21, "a", "z", 1000, 0},
        {0, 0, NULL, NULL, 0, 0}};
    static const range_case cases[] = {
        {"one table over nothing is moved", 4, "d", "d", "move 4>5: 2"},
        {"ends count", 4, "b", "d", "4>5: 1 2 | 11"},
        {"between tables there is nothing", 4, "bb", "c", "none"},
        {"an input below is in use", 4, "f", NULL, "busy"},
        {"no bounds, an input below is in use", 4, NULL, NULL, "busy"},
        {"up to a key", 4, NULL, "d", "4>5: 1 2 | 11"},
        {"an input itself is in use", 5, "h", "i", "busy"},
        {"over the last level", 5, "k", NULL, "5>6: 13 | 21"},
        {"the last level has nowhere to go", 6, NULL, NULL, "none"},
        {"a level without tables", 3, NULL, NULL, "none"},
        {"level 0 goes together to the base level", 0, "y", "z", "0>4: 32 31 | 2 3"},
        {"level 0 where it has nothing", 0, "e", "f", "none"},
    };
    count_sink sink = count_sink_make();
    lsm_version *version = version_make(rows, &sink);
    lsm_options options = options_make();

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        lsm_key_range range = {0};
        word_key from;
        word_key to;
        lsmkv_error err;
        lsm_pick pick;

        if (cases[i].from != NULL) {
            word_key_make(&from, cases[i].from, 1);
            range.smallest = word_skey(&from);
        }
        if (cases[i].to != NULL) {
            word_key_make(&to, cases[i].to, 1);
            range.largest = word_skey(&to);
        }
        lsmkv_status status =
            lsm_pick_range(version, &options, cases[i].level, range, &pick, &err);
        const char *found = pick_text(status, &pick);
        if (strcmp(found, cases[i].expected) != 0) {
            lsm_test_fail(__FILE__, __LINE__, "%s: picked '%s', not '%s'",
                          cases[i].what, found, cases[i].expected);
        }
        lsm_pick_deinit(&pick);
    }
    lsm_version_unref(version);
}

LSM_TEST(a_manual_pick_of_level_0_alone_goes_to_the_last_level) {
    static const table_row rows[] = {
        {0, 1, "c", "d", 1, 0}, {0, 2, "c", "y", 1, 0}, {0, 0, NULL, NULL, 0, 0}};
    count_sink sink = count_sink_make();
    lsm_version *version = version_make(rows, &sink);
    lsm_options options = options_make();
    lsmkv_error err;
    lsm_pick pick;

    lsmkv_status status =
        lsm_pick_range(version, &options, 0, (lsm_key_range){0}, &pick, &err);
    CHECK(strcmp(pick_text(status, &pick), "0>6: 2 1") == 0);
    lsm_pick_deinit(&pick);
    version->levels[0].tables[0]->compacting = true;
    CHECK_STATUS(lsm_pick_range(version, &options, 0, (lsm_key_range){0}, &pick, &err),
                 LSMKV_WOULD_BLOCK);
    lsm_version_unref(version);
}

LSM_TEST(picking_survives_failing_allocations) {
    static const table_row rows[] = {{0, 1, "a", "z", 1, 0}, {0, 2, "a", "z", 1, 0},
                                     {0, 3, "a", "z", 1, 0}, {0, 4, "a", "z", 1, 0},
                                     {6, 5, "a", "z", 1, 0}, {0, 0, NULL, NULL, 0, 0}};
    count_sink sink = count_sink_make();
    lsm_version *version = version_make(rows, &sink);
    lsm_options options = options_make();
    lsmkv_error err;
    lsm_pick pick;

    for (uint64_t i = 0; i < 2; i++) {
        lsm_alloc_fail_after(i, 0);
        lsmkv_status status =
            lsm_pick_compaction(version, &options, &(lsm_pick_moment){0}, &pick, &err);
        lsm_alloc_fail_never();
        CHECK_EQ(status, LSMKV_NO_MEMORY);
        CHECK(pick.inputs[0] == NULL && pick.inputs[1] == NULL);
    }
    CHECK_OK(
        lsm_pick_compaction(version, &options, &(lsm_pick_moment){0}, &pick, &err));
    lsm_pick_deinit(&pick);
    lsm_version_unref(version);
}
