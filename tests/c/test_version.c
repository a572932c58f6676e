/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: versions follow edits exactly, refuse every edit that would break an invariant
 * and leave everything as it was then; tables live as long as some version names them.
 * Method: small cases by hand, a table of forbidden edits, a random walk against a
 * plain model, failing allocations, and one edit of many tables against the clock.
 */
#include "version_help.h"

#include <time.h>

#include "base/alloc.h"
#include "base/rng.h"

LSM_TEST(tables_of_a_level_are_ordered_by_key_and_level_0_newest_first) {
    count_sink sink = count_sink_make();
    lsm_version *version = lsm_version_create();
    lsm_edit edit;

    lsm_edit_init(&edit);
    edit_add(&edit, 1, 5, "m", "p");
    edit_add(&edit, 1, 9, "a", "c");
    edit_add(&edit, 1, 7, "x", "z");
    edit_add(&edit, 0, 2, "a", "z");
    edit_add(&edit, 0, 4, "a", "z");
    edit_add(&edit, 0, 3, "b", "c");
    version = version_next(version, &edit, &sink);
    CHECK(strcmp(level_text(version, 0), "4 3 2") == 0);
    CHECK(strcmp(level_text(version, 1), "9 5 7") == 0);
    CHECK_EQ(version->levels[1].bytes, 3 * TABLE_FILE_SIZE);

    edit_add(&edit, 1, 11, "d", "l");
    edit_add(&edit, 1, 12, "za", "zb");
    edit_add(&edit, 1, 10, "A", "B");
    edit_delete(&edit, 1, 5);
    edit_add(&edit, 0, 6, "q", "q");
    edit_delete(&edit, 0, 3);
    version = version_next(version, &edit, &sink);
    CHECK(strcmp(level_text(version, 0), "6 4 2") == 0);
    CHECK(strcmp(level_text(version, 1), "10 9 11 7 12") == 0);
    CHECK(version_is_legal(version));
    CHECK_EQ(sink.dropped, 2);
    lsm_version_unref(version);
    CHECK_EQ(sink.dropped, 10);
}

LSM_TEST(a_table_lives_until_the_last_version_that_names_it_goes) {
    count_sink sink = count_sink_make();
    lsm_version *first = lsm_version_create();
    lsm_version *second = NULL;
    lsmkv_error err;
    lsm_edit edit;

    lsm_edit_init(&edit);
    edit_add(&edit, 1, 1, "a", "b");
    first = version_next(first, &edit, &sink);
    edit_delete(&edit, 1, 1);
    CHECK_OK(lsm_version_apply(first, &edit, &sink.head, &second, &err));
    CHECK_EQ(second->levels[1].count, 0);
    CHECK_EQ(second->levels[1].bytes, 0);
    CHECK_EQ(sink.dropped, 0);
    lsm_version_ref(first);
    lsm_version_unref(first);
    CHECK_EQ(sink.dropped, 0);
    lsm_version_unref(first);
    CHECK_EQ(sink.dropped, 1);
    CHECK_EQ(sink.last_number, 1);
    lsm_version_unref(second);
    CHECK_EQ(sink.dropped, 1);
    lsm_edit_deinit(&edit);
}

LSM_TEST(a_moved_table_stays_the_same_live_table) {
    count_sink sink = count_sink_make();
    lsm_version *version = lsm_version_create();
    lsm_edit edit;

    lsm_edit_init(&edit);
    edit_add(&edit, 0, 8, "d", "f");
    version = version_next(version, &edit, &sink);
    lsm_live_table *live = version->levels[0].tables[0];
    edit_delete(&edit, 0, 8);
    edit_add(&edit, 6, 8, "d", "f");
    version = version_next(version, &edit, &sink);
    CHECK(version->levels[6].tables[0] == live);
    CHECK_EQ(atomic_load(&live->refs), 1);
    CHECK_EQ(version->levels[0].bytes, 0);
    CHECK_EQ(version->levels[6].bytes, TABLE_FILE_SIZE);
    CHECK_EQ(sink.dropped, 0);
    lsm_version_unref(version);
    CHECK_EQ(sink.dropped, 1);
}

LSM_TEST(a_live_table_owns_its_keys) {
    count_sink sink = count_sink_make();
    word_table table;

    word_table_make(&table, 3, "from", "to");
    lsm_live_table *live = lsm_live_table_create(&table.info, &sink.head);
    CHECK(live != NULL);
    memset(&table.smallest, 0, sizeof(table.smallest));
    memset(&table.largest, 0, sizeof(table.largest));
    word_table_make(&table, 3, "from", "to");
    CHECK(lsm_slice_equal(live->info.smallest, table.info.smallest));
    CHECK(lsm_slice_equal(live->info.largest, table.info.largest));
    CHECK(live->info.smallest.data != table.info.smallest.data);
    CHECK(!live->compacting && !live->listed);
    lsm_live_table_ref(live);
    lsm_live_table_unref(live);
    CHECK_EQ(sink.dropped, 0);
    lsm_live_table_unref(live);
    CHECK_EQ(sink.dropped, 1);
}

/* The base of the forbidden edits: level 0: 20 10; level 1: 1 [b..d], 2 [f..h]. */
static lsm_version *base_make(count_sink *sink) {
    lsm_version *version = lsm_version_create();
    lsm_edit edit;

    lsm_edit_init(&edit);
    edit_add(&edit, 0, 10, "a", "z");
    edit_add(&edit, 0, 20, "a", "z");
    edit_add(&edit, 1, 1, "b", "d");
    edit_add(&edit, 1, 2, "f", "h");
    return version_next(version, &edit, sink);
}

typedef struct forbidden {
    uint32_t level;
    uint64_t number;
    const char *from;
    const char *to;
    const char *message; /* part of it */
} forbidden;

LSM_TEST(a_table_that_breaks_an_invariant_is_refused_by_name) {
    static const forbidden cases[] = {
        {1, 3, "c", "c", "tables 1 and 3 of level 1 overlap"},
        {1, 3, "a", "z", "overlap"},
        {1, 3, "a", "b", "tables 3 and 1 of level 1 overlap"}, /* one stored key */
        {1, 3, "d", "e", "tables 1 and 3 of level 1 overlap"},
        {1, 3, "e", "f", "tables 3 and 2 of level 1 overlap"},
        {1, 3, "h", "h", "tables 2 and 3 of level 1 overlap"},
        {1, 3, "z", "y", "table 3 of level 1: its bounds are not"},
        {1, 3, "e", "g)", "tables 3 and 2 of level 1 overlap"},
        {1, 3, "d", "f)", "tables 1 and 3 of level 1 overlap"},
        {1, 3, "e", "e)", "table 3 of level 1: its bounds are not"},
        {2, 2, "x", "y", "table 2 is there twice"},
        {0, 1, "x", "y", "table 1 is there twice"},
        {1, 10, "x", "y", "table 10 is there twice"},
        {3, 0, "x", "y", "has no number"},
        {7, 3, "x", "y", "no such level"},
        {UINT32_MAX, 3, "x", "y", "no such level"},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        count_sink sink = count_sink_make();
        lsm_version *base = base_make(&sink);
        lsm_version *next = base;
        lsmkv_error err;
        lsm_edit edit;

        lsm_edit_init(&edit);
        edit_add(&edit, 2, 50, "fine", "too"); /* refused as a whole */
        edit_add(&edit, cases[i].level, cases[i].number, cases[i].from, cases[i].to);
        CHECK_STATUS(lsm_version_apply(base, &edit, &sink.head, &next, &err),
                     LSMKV_CORRUPTION);
        CHECK(next == NULL);
        if (strstr(err.message, cases[i].message) == NULL) {
            lsm_test_fail(__FILE__, __LINE__, "case %zu says: %s", i, err.message);
        }
        CHECK_EQ(sink.dropped, 0);
        CHECK(strcmp(level_text(base, 1), "1 2") == 0);
        CHECK(strcmp(level_text(base, 0), "20 10") == 0);
        lsm_version_unref(base);
        CHECK_EQ(sink.dropped, 4);
        lsm_edit_deinit(&edit);
    }
}

LSM_TEST(gaps_between_tables_can_be_filled_to_the_last_key) {
    count_sink sink = count_sink_make();
    lsm_version *version = base_make(&sink);
    lsm_edit edit;

    lsm_edit_init(&edit);
    edit_add(&edit, 1, 3, "da", "ez");
    edit_add(&edit, 1, 4, "", "az");
    edit_add(&edit, 1, 5, "ha", "ha");
    version = version_next(version, &edit, &sink);
    CHECK(strcmp(level_text(version, 1), "4 1 3 2 5") == 0);
    lsm_version_unref(version);
}

/* Applies an edit that must be refused. */
static void check_refused(lsm_edit *edit, const char *message) {
    count_sink sink = count_sink_make();
    lsm_version *base = base_make(&sink);
    lsm_version *next = NULL;
    lsmkv_error err;

    CHECK_STATUS(lsm_version_apply(base, edit, &sink.head, &next, &err),
                 LSMKV_CORRUPTION);
    if (strstr(err.message, message) == NULL) {
        lsm_test_fail(__FILE__, __LINE__, "expected '%s', found: %s", message,
                      err.message);
    }
    CHECK(next == NULL);
    CHECK_EQ(sink.dropped, 0);
    lsm_version_unref(base);
    lsm_edit_deinit(edit);
}

LSM_TEST(impossible_deletions_are_refused) {
    lsm_edit edit;

    lsm_edit_init(&edit);
    edit_delete(&edit, 1, 3);
    check_refused(&edit, "table 3 is deleted from level 1, where it is not");
    edit_delete(&edit, 2, 1);
    check_refused(&edit, "table 1 is deleted from level 2, where it is not");
    edit_delete(&edit, 99, 1);
    check_refused(&edit, "table 1 is deleted from level 99");
    edit_delete(&edit, 1, 1);
    edit_delete(&edit, 1, 1);
    check_refused(&edit, "table 1 is deleted twice");
}

LSM_TEST(a_move_that_changes_the_table_is_refused) {
    lsm_edit edit;

    lsm_edit_init(&edit);
    edit_delete(&edit, 1, 1);
    edit_add(&edit, 2, 1, "b", "e");
    check_refused(&edit, "table 1 is moved from level 1 to 2 and is another one");
    edit_delete(&edit, 1, 1);
    edit_add(&edit, 2, 1, "b", "d");
    edit.added[0].info.file_id++;
    check_refused(&edit, "is another one");
    edit_delete(&edit, 1, 1);
    edit_add(&edit, 2, 1, "b", "d");
    edit_add(&edit, 3, 1, "b", "d");
    check_refused(&edit, "table 1 is there twice");
}

LSM_TEST(level_0_tables_that_share_sequences_are_refused) {
    lsm_edit edit;

    lsm_edit_init(&edit);
    edit_add(&edit, 0, 30, "a", "a");
    edit.added[0].info.sequence_min = 209; /* the last one of table 20 */
    check_refused(&edit, "tables 30 and 20 of level 0 share sequences");
    edit_add(&edit, 0, 15, "a", "a");
    edit.added[0].info.sequence_max = 205;
    check_refused(&edit, "share sequences");
    edit_add(&edit, 0, 15, "a", "a");
    edit.added[0].info.sequence_min = 199;
    check_refused(&edit, "its smallest sequence is above its largest");
}

LSM_TEST(sizes_that_overflow_are_refused) {
    lsm_edit edit;

    lsm_edit_init(&edit);
    edit_add(&edit, 1, 30, "x", "x");
    edit.added[0].info.file_size = UINT64_MAX - TABLE_FILE_SIZE;
    check_refused(&edit, "its size overflows");
}

LSM_TEST(apply_survives_every_failing_allocation) {
    count_sink sink = count_sink_make();
    lsm_version *base = base_make(&sink);
    lsmkv_status status = LSMKV_NO_MEMORY;
    lsm_version *next = NULL;
    lsmkv_error err;
    uint64_t failed = 0;
    lsm_edit edit;

    lsm_edit_init(&edit);
    edit_delete(&edit, 1, 1);
    edit_add(&edit, 2, 1, "b", "d");
    edit_add(&edit, 1, 3, "b", "c");
    edit_add(&edit, 3, 4, "b", "c");
    while (status != LSMKV_OK) {
        lsm_alloc_fail_after(failed, 0);
        status = lsm_version_apply(base, &edit, &sink.head, &next, &err);
        lsm_alloc_fail_never();
        if (status != LSMKV_OK) {
            CHECK_EQ(status, LSMKV_NO_MEMORY);
            CHECK(next == NULL);
            CHECK_EQ(atomic_load(&base->levels[1].tables[0]->refs), 1);
            failed++;
        }
    }
    CHECK(failed >= 5);
    CHECK_EQ(sink.dropped, 0);
    lsm_version_unref(base);
    lsm_version_unref(next);
    CHECK_EQ(sink.dropped, 6);
    lsm_edit_deinit(&edit);
}

enum { MODEL_TABLES = 64, MODEL_KEYS = 100, MODEL_STEPS = 20000 };

/* What may be there, one entry per number. */
typedef struct model_table {
    bool live;
    uint32_t level;
    uint32_t from;
    uint32_t to;
    bool exclusive; /* `to` itself is outside */
} model_table;

static bool model_before(const model_table *a, const model_table *b) {
    return a->to < b->from || (a->to == b->from && a->exclusive);
}

typedef struct model {
    model_table tables[MODEL_TABLES + 1];
} model;

static bool model_is_legal(const model *state) {
    for (size_t i = 1; i <= MODEL_TABLES; i++) {
        for (size_t j = i + 1; j <= MODEL_TABLES; j++) {
            const model_table *a = &state->tables[i];
            const model_table *b = &state->tables[j];
            if (a->live && b->live && a->level == b->level && a->level > 0 &&
                !model_before(a, b) && !model_before(b, a)) {
                return false;
            }
        }
    }
    return true;
}

static void model_word(char word[8], uint32_t key) {
    (void)snprintf(word, 8, "%03u", (unsigned)key);
}

static void model_add(lsm_edit *edit, uint64_t number, const model_table *table) {
    char from[8];
    char to[8];

    model_word(from, table->from);
    model_word(to, table->to);
    if (table->exclusive) {
        to[strlen(to) + 1] = '\0';
        to[strlen(to)] = ')';
    }
    edit_add(edit, table->level, number, from, to);
}

/* A few changes, as an edit and in the model. true: they are sensible one by one;
 * whether tables then overlap is not looked at. */
static bool model_change(lsm_rng *rng, model *state, lsm_edit *edit) {
    bool touched[MODEL_TABLES + 1] = {false};
    bool sensible = true;

    for (uint64_t left = 1 + lsm_rng_below(rng, 4); left > 0; left--) {
        uint64_t number = 1 + lsm_rng_below(rng, MODEL_TABLES);
        model_table *table = &state->tables[number];
        uint64_t what = lsm_rng_below(rng, 20);
        if (touched[number]) {
            continue;
        }
        touched[number] = true;
        if (table->live && what < 12) {
            edit_delete(edit, table->level, number);
            table->live = false;
        } else if (table->live && what < 18) {
            edit_delete(edit, table->level, number);
            table->level = (uint32_t)lsm_rng_below(rng, LSMKV_LEVEL_COUNT);
            model_add(edit, number, table);
        } else if (table->live) {
            model_add(edit, number, table); /* there twice */
            sensible = false;
        } else if (what == 0) {
            edit_delete(edit, (uint32_t)lsm_rng_below(rng, LSMKV_LEVEL_COUNT), number);
            sensible = false;
        } else {
            table->live = true;
            table->level = (uint32_t)lsm_rng_below(rng, LSMKV_LEVEL_COUNT);
            table->from = (uint32_t)lsm_rng_below(rng, MODEL_KEYS);
            table->to = table->from + (uint32_t)lsm_rng_below(rng, 8);
            table->exclusive = table->to > table->from && lsm_rng_below(rng, 3) == 0;
            model_add(edit, number, table);
        }
    }
    return sensible;
}

static void check_search(const lsm_version *version, lsm_rng *rng) {
    word_key key;
    char word[8];
    bool below = false;
    uint32_t from = (uint32_t)lsm_rng_below(rng, LSMKV_LEVEL_COUNT + 1);

    model_word(word, (uint32_t)lsm_rng_below(rng, MODEL_KEYS + 8));
    word_key_make(&key, word, 1);
    for (uint32_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        const lsm_level *level = &version->levels[i];
        lsm_key_range point = {word_skey(&key), word_skey(&key), false};
        size_t place = 0;
        for (size_t j = 0; j < level->count; j++) {
            lsm_key_range range = lsm_live_table_range(level->tables[j]);
            place += lsm_range_before(range, point);
            CHECK_EQ(lsm_live_table_covers(level->tables[j], word_skey(&key)),
                     lsm_range_overlaps(range, point));
            below |= i >= from && lsm_range_overlaps(range, point);
        }
        CHECK(i == 0 || lsm_level_find(level, word_skey(&key)) == place);
    }
    CHECK_EQ(lsm_version_may_hold_below(version, from, word_skey(&key)), below);
    lsm_key_range point = {word_skey(&key), word_skey(&key), false};
    CHECK_EQ(lsm_version_overlaps_below(version, from, point), below);
}

LSM_TEST(random_edits_apply_exactly_when_a_plain_model_allows_them) {
    lsm_rng rng = {20240607};
    count_sink sink = count_sink_make();
    lsm_version *version = lsm_version_create();
    uint64_t applied = 0;
    uint64_t refused = 0;
    model state = {0};

    for (int step = 0; step < MODEL_STEPS; step++) {
        model next = state;
        lsm_version *result = NULL;
        lsmkv_error err;
        lsm_edit edit;

        lsm_edit_init(&edit);
        bool legal = model_change(&rng, &next, &edit) && model_is_legal(&next);
        lsmkv_status status =
            lsm_version_apply(version, &edit, &sink.head, &result, &err);
        CHECK_EQ(status, legal ? LSMKV_OK : LSMKV_CORRUPTION);
        if (legal) {
            size_t live = 0;
            size_t found = 0;
            lsm_version_unref(version);
            version = result;
            state = next;
            CHECK(version_is_legal(version));
            for (size_t i = 1; i <= MODEL_TABLES; i++) {
                live += state.tables[i].live;
            }
            for (uint32_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
                for (size_t j = 0; j < version->levels[i].count; j++) {
                    uint64_t number = version->levels[i].tables[j]->info.number;
                    CHECK(state.tables[number].live && state.tables[number].level == i);
                    found++;
                }
            }
            CHECK_EQ(found, live);
            check_search(version, &rng);
        }
        applied += legal;
        refused += !legal;
        lsm_edit_deinit(&edit);
    }
    CHECK(applied > MODEL_STEPS / 10 && refused > MODEL_STEPS / 10);
    lsm_version_unref(version);
}

LSM_TEST(ranges_overlap_when_they_share_a_key_and_open_ends_reach_everything) {
    word_key keys[5];
    const char *words[5] = {"", "b", "c", "d", "zz"};

    for (size_t i = 0; i < 5; i++) {
        word_key_make(&keys[i], words[i], 1);
    }
    for (size_t a = 0; a < 5; a++) {
        for (size_t b = a; b < 5; b++) {
            lsm_key_range left = {word_skey(&keys[a]), word_skey(&keys[b]), false};
            lsm_key_range up_to = {{NULL, 0}, word_skey(&keys[b]), false};
            lsm_key_range from = {word_skey(&keys[a]), {NULL, 0}, false};
            for (size_t c = 0; c < 5; c++) {
                for (size_t d = c; d < 5; d++) {
                    lsm_key_range right = {word_skey(&keys[c]), word_skey(&keys[d]),
                                           false};
                    CHECK_EQ(lsm_range_overlaps(left, right), a <= d && c <= b);
                    CHECK_EQ(lsm_range_overlaps(up_to, right), c <= b);
                    CHECK_EQ(lsm_range_overlaps(right, up_to), c <= b);
                    CHECK_EQ(lsm_range_overlaps(from, right), a <= d);
                    CHECK_EQ(lsm_range_overlaps(from, up_to), a <= b);
                    CHECK(lsm_range_overlaps((lsm_key_range){0}, right));
                }
            }
        }
    }
}

enum { MANY_TABLES = 1 << 17, SECONDS_MAX = 30 };

static void add_numbered(lsm_edit *edit, uint32_t level, uint64_t number) {
    char word[16];

    (void)snprintf(word, sizeof(word), "%08llu", (unsigned long long)number);
    edit_add(edit, level, number, word, word);
}

/* With quadratic work this would take minutes. */
LSM_TEST(an_edit_of_a_hundred_thousand_tables_in_the_worst_order_applies_quickly) {
    count_sink sink = count_sink_make();
    lsm_version *version = lsm_version_create();
    clock_t start = clock();
    lsm_edit edit;

    lsm_edit_init(&edit);
    for (uint64_t i = MANY_TABLES; i > 0; i--) {
        add_numbered(&edit, 1, 2 * i);
    }
    version = version_next(version, &edit, &sink);
    for (uint64_t i = MANY_TABLES; i > 0; i--) {
        add_numbered(&edit, 1, 2 * i - 1);
        edit_delete(&edit, 1, 2 * i);
        add_numbered(&edit, 0, 2 * i);
    }
    version = version_next(version, &edit, &sink);
    CHECK_EQ(version->levels[0].count, MANY_TABLES);
    CHECK_EQ(version->levels[1].count, MANY_TABLES);
    CHECK_EQ(version->levels[0].tables[0]->info.number, 2 * MANY_TABLES);
    CHECK_EQ(version->levels[1].tables[0]->info.number, 1);
    CHECK(version_is_legal(version));
    lsm_version_unref(version);
    CHECK_EQ(sink.dropped, 2 * MANY_TABLES);
    CHECK((clock() - start) / CLOCKS_PER_SEC < SECONDS_MAX);
}
