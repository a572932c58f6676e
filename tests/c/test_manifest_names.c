/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a MANIFEST whose edits are whole but contradict each other about segments,
 * origins or a table that moves is refused, at the edit that does, and one that does
 * not is understood. Method: an edit behind two of the common history, made wrong in
 * one way at a time.
 */
#include "manifest_help.h"

enum { NEXT_FILE = 21, FIRST_LOG = 5, NEW_TABLE = 11, SEGMENT = 10, SEGMENT_SIZE = 77 };

static const lsm_segment_share share = {SEGMENT, 64};
static const lsm_segment_share other_share = {SEGMENT, 65};

/* Loads the history with one more edit and expects a word in the message, or OK. */
static void check_edit(lsm_dir *dir, lsm_edit *edit, const char *message) {
    lsm_wal_writer *writer = history_create(dir);
    state_text found;
    lsmkv_error err;

    CHECK_OK(history_append(writer, 1, &err));
    uint64_t offset = lsm_wal_size(writer);
    CHECK_OK(lsm_manifest_append(writer, edit, &err));
    CHECK_OK(lsm_wal_close(writer, &err));
    lsm_edit_deinit(edit);
    if (message == NULL) {
        CHECK_OK(load_text(dir, &found, &err));
        return;
    }
    CHECK_STATUS(load_text(dir, &found, &err), LSMKV_CORRUPTION);
    if (strstr(err.message, message) == NULL) {
        lsm_test_fail(__FILE__, __LINE__, "expected '%s', found '%s'", message,
                      err.message);
    }
    if (strstr(err.file, "MANIFEST") != NULL) {
        CHECK_EQ(err.offset, offset);
    }
}

static void add_segment(lsm_edit *edit, uint64_t number, lsm_segment_kind kind) {
    lsm_edit_segment segment = {number, number * 31, SEGMENT_SIZE, kind};

    CHECK(lsm_edit_add_segment(edit, &segment));
}

/* A table that points into the segment. */
static void add_pointing(lsm_edit *edit) {
    word_table table;

    word_table_make(&table, NEW_TABLE, "a", "b");
    table.info.sequence_min = 45;
    table.info.sequence_max = 45;
    table.info.segments = &share;
    table.info.segment_count = 1;
    CHECK(lsm_edit_add_table(edit, 3, &table.info));
}

typedef struct segment_case {
    uint64_t number;
    lsm_segment_kind kind;
    int times;
    const char *message; /* NULL: it fits */
} segment_case;

LSM_TEST(segments_are_named_once_by_numbers_that_can_be_theirs) {
    static const segment_case cases[] = {
        {SEGMENT, LSM_SEGMENT_VALUES, 1, NULL},
        {FIRST_LOG - 1, LSM_SEGMENT_LOG, 1, NULL},
        {0, LSM_SEGMENT_VALUES, 1, "segment number 0"},
        {NEXT_FILE, LSM_SEGMENT_VALUES, 1, "segment number 21"},
        {FIRST_LOG, LSM_SEGMENT_LOG, 1, "segment number 5"},
        {SEGMENT, LSM_SEGMENT_VALUES, 2, "segment 10 is declared twice"},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        lsm_dir *dir;
        lsm_env *env = manifest_env(1, &dir);
        lsm_edit edit;
        lsm_edit_init(&edit);
        for (int n = 0; n < cases[i].times; n++) {
            add_segment(&edit, cases[i].number, cases[i].kind);
        }
        check_edit(dir, &edit, cases[i].message); /* no table needs its file */
        sim_end(env, dir);
    }
}

LSM_TEST(a_segment_that_a_table_points_into_must_be_named_and_be_there) {
    static const char *const messages[] = {
        "segment 10 is named by a table, but no edit says what it is",
        "missing file",
        "the MANIFEST says 77",
    };
    static const uint8_t bytes[SEGMENT_SIZE];

    for (size_t i = 0; i < LSM_ARRAY_COUNT(messages); i++) {
        lsm_dir *dir;
        lsm_env *env = manifest_env(1, &dir);
        lsm_edit edit;
        lsm_edit_init(&edit);
        add_pointing(&edit);
        if (i > 0) {
            add_segment(&edit, SEGMENT, LSM_SEGMENT_VALUES);
        }
        if (i > 1) {
            CHECK(lsm_sim_file_write(env, SIM_PATH, "000010.seg", bytes,
                                     SEGMENT_SIZE - 1));
        }
        check_edit(dir, &edit, messages[i]);
        sim_end(env, dir);
    }
}

LSM_TEST(a_table_that_moves_is_described_as_before_in_every_field) {
    bool more = true;

    for (int field = 0; more; field++) {
        lsm_dir *dir;
        lsm_env *env = manifest_env(1, &dir);
        word_table table;
        lsm_edit edit;
        lsm_edit_init(&edit);
        word_table_make(&table, 1, "a", "m"); /* as the first edit has it */
        more = change_field(&table.info, field);
        if (!more) {
            table.info.segment_count = 0;
        }
        edit_delete(&edit, 6, 1);
        CHECK(lsm_edit_add_table(&edit, 5, &table.info));
        check_edit(dir, &edit, more ? "number 1 is used for another table" : NULL);
        sim_end(env, dir);
    }
}

/* Also in the bytes that it has in a segment. */
LSM_TEST(a_table_that_moves_leads_into_the_same_segments) {
    const lsm_segment_share *const shares[] = {&share, &other_share};
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    lsm_wal_writer *writer = history_create(dir);
    lsmkv_error err;
    state_text found;

    CHECK_OK(history_append(writer, 1, &err));
    for (uint32_t i = 0; i < 2; i++) {
        lsm_edit edit;
        word_table table;
        lsm_edit_init(&edit);
        word_table_make(&table, NEW_TABLE, "a", "b");
        table.info.sequence_min = 45;
        table.info.sequence_max = 45;
        table.info.segments = shares[i];
        table.info.segment_count = 1;
        if (i == 0) {
            add_segment(&edit, SEGMENT, LSM_SEGMENT_VALUES);
        } else {
            edit_delete(&edit, 3, NEW_TABLE);
        }
        CHECK(lsm_edit_add_table(&edit, 3 + i, &table.info));
        CHECK_OK(lsm_manifest_append(writer, &edit, &err));
        lsm_edit_deinit(&edit);
    }
    CHECK_OK(lsm_wal_close(writer, &err));
    CHECK_STATUS(load_text(dir, &found, &err), LSMKV_CORRUPTION);
    CHECK(strstr(err.message, "number 11 is used for another table") != NULL);
    sim_end(env, dir);
}

LSM_TEST(a_cache_segment_is_dropped_once) {
    lsm_edit_cache cache = {SEGMENT, 7, 16};
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    lsm_edit edit;

    lsm_edit_init(&edit);
    CHECK(lsm_edit_add_cache(&edit, &cache));
    CHECK(lsm_edit_drop_cache(&edit, SEGMENT));
    CHECK(lsm_edit_drop_cache(&edit, SEGMENT));
    check_edit(dir, &edit, "");
    sim_end(env, dir);
}

LSM_TEST(origins_are_kept_once_however_often_they_are_named) {
    static const uint8_t first[LSM_UUID_SIZE] = {1};
    static const uint8_t second[LSM_UUID_SIZE] = {2};
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    count_sink sink = count_sink_make();
    lsm_manifest_state state;
    lsmkv_error err;
    lsm_edit edit;

    lsm_edit_init(&edit);
    CHECK(lsm_edit_add_origin(&edit, second));
    CHECK(lsm_edit_add_origin(&edit, first));
    CHECK(lsm_edit_add_origin(&edit, second));
    check_edit(dir, &edit, NULL);
    CHECK_OK(lsm_manifest_load(dir, &sink.head, &state, &err));
    CHECK_EQ(state.origin_count, 2);
    CHECK(memcmp(state.origins[0], first, LSM_UUID_SIZE) == 0);
    CHECK(memcmp(state.origins[1], second, LSM_UUID_SIZE) == 0);
    lsm_manifest_state_deinit(&state);
    sim_end(env, dir);
}
