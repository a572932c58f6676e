/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what is written to a MANIFEST is what is read, and whatever else lies there is
 * refused with file and offset. Method: a history of edits, each state compared; every
 * flipped bit and every length of MANIFEST and CURRENT; edits that are well-formed but
 * wrong; a long history against the clock.
 */
#include "manifest_help.h"

#include <time.h>

#include "base/alloc.h"
#include "base/rng.h"

#define MANIFEST_NAME "MANIFEST-000002"

LSM_TEST(a_directory_without_current_holds_no_database) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    state_text found;
    lsmkv_error err;

    CHECK_STATUS(load_text(dir, &found, &err), LSMKV_NOT_FOUND);
    sim_end(env, dir);
}

LSM_TEST(each_edit_leads_to_the_next_state) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    lsm_wal_writer *writer = history_create(dir);
    lsmkv_error err;

    for (int i = 0; i < HISTORY_COUNT; i++) {
        state_text found;
        if (i > 0) {
            CHECK_OK(history_append(writer, i, &err));
        }
        CHECK_OK(load_text(dir, &found, &err));
        if (strcmp(found.text, history_states[i]) != 0) {
            lsm_test_fail(__FILE__, __LINE__, "state %d is '%s', not '%s'", i,
                          found.text, history_states[i]);
        }
    }
    CHECK_OK(lsm_wal_close(writer, &err));
    sim_end(env, dir);
}

LSM_TEST(a_loaded_state_knows_who_it_is_and_every_field_of_its_tables) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    count_sink sink = count_sink_make();
    lsm_manifest_state state;
    word_table expected;
    lsmkv_error err;

    history_write(dir);
    CHECK_OK(lsm_manifest_load(dir, &sink.head, &state, &err));
    CHECK(memcmp(state.uuid, manifest_header(2).uuid, LSM_UUID_SIZE) == 0);
    CHECK_EQ(state.manifest_number, FIRST_MANIFEST);
    const lsm_table_info *info = &state.version->levels[6].tables[1]->info;
    word_table_make(&expected, 2, "n", "z");
    CHECK_EQ(info->number, 2);
    CHECK_EQ(info->file_id, expected.info.file_id);
    CHECK_EQ(info->file_size, expected.info.file_size);
    CHECK_EQ(info->tail_size, expected.info.tail_size);
    CHECK(lsm_slice_equal(info->smallest, expected.info.smallest));
    CHECK(lsm_slice_equal(info->largest, expected.info.largest));
    CHECK_EQ(info->sequence_min, 20);
    CHECK_EQ(info->sequence_max, 29);
    CHECK_EQ(info->entry_count, 10);
    CHECK_EQ(info->raw_bytes, 900);
    lsm_manifest_state_deinit(&state);
    CHECK_EQ(sink.dropped, 3);
    sim_end(env, dir);
}

static bool file_exists(lsm_env *env, const char *name) {
    const uint8_t *data = NULL;
    size_t size = 0;

    return lsm_sim_file_read(env, SIM_PATH, name, &data, &size);
}

LSM_TEST(a_rewritten_manifest_says_the_same) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    lsm_record_file_header header = manifest_header(29);
    count_sink sink = count_sink_make();
    lsm_wal_writer *writer = NULL;
    lsm_manifest_state state;
    lsm_edit everything;
    state_text found;
    lsmkv_error err;
    bool renamed;

    history_write(dir);
    CHECK_OK(lsm_manifest_load(dir, &sink.head, &state, &err));
    lsm_edit_init(&everything);
    edit_numbers(&everything, state.next_file, state.last_sequence, state.first_log);
    CHECK(lsm_edit_describe_version(&everything, state.version));
    CHECK_OK(lsm_manifest_create(dir, &header, &everything, &writer, &renamed, &err));
    CHECK(file_exists(env, MANIFEST_NAME)); /* the old one is its owner's to delete */
    CHECK(!file_exists(env, LSM_CURRENT_TEMP_NAME));
    CHECK_OK(load_text(dir, &found, &err));
    CHECK_EQ(history_find(&found), HISTORY_COUNT - 1);
    CHECK_OK(lsm_wal_close(writer, &err));
    lsm_edit_deinit(&everything);
    lsm_manifest_state_deinit(&state);
    sim_end(env, dir);
}

LSM_TEST(a_left_over_temporary_current_is_in_nobodys_way) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    state_text found;
    lsmkv_error err;

    sim_write(dir, LSM_CURRENT_TEMP_NAME, "half of a na");
    history_write(dir);
    CHECK_OK(load_text(dir, &found, &err));
    CHECK_EQ(history_find(&found), HISTORY_COUNT - 1);
    sim_end(env, dir);
}

/* A file's bytes, copied; for the caller to lsm_free. */
static uint8_t *copy_file(lsm_env *env, const char *name, size_t *size) {
    const uint8_t *data = NULL;

    CHECK(lsm_sim_file_read(env, SIM_PATH, name, &data, size));
    uint8_t *copy = lsm_alloc(*size + 1);
    CHECK(copy != NULL);
    memcpy(copy, data, *size);
    return copy;
}

LSM_TEST(every_flipped_bit_of_the_manifest_is_reported_or_changes_nothing) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    size_t size = 0;
    uint64_t reported = 0;
    state_text found;
    lsmkv_error err;

    history_write(dir);
    uint8_t *bytes = copy_file(env, MANIFEST_NAME, &size);
    for (size_t i = 0; i < size * 8; i++) {
        bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
        CHECK(lsm_sim_file_write(env, SIM_PATH, MANIFEST_NAME, bytes, size));
        bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
        lsmkv_status status = load_text(dir, &found, &err);
        if (status == LSMKV_OK) {
            /* Only the last mark, behind the last edit, can be lost unnoticed. */
            CHECK(i / 8 >= size - LSM_RECORD_HEADER_SIZE);
            CHECK_EQ(history_find(&found), HISTORY_COUNT - 1);
            continue;
        }
        CHECK(status == LSMKV_CORRUPTION || status == LSMKV_UNSUPPORTED_VERSION);
        CHECK(strcmp(err.file, MANIFEST_NAME) == 0 && err.offset >= 0);
        reported++;
    }
    CHECK_EQ(reported, (size - LSM_RECORD_HEADER_SIZE) * 8);
    lsm_free(bytes);
    sim_end(env, dir);
}

/* Cut anywhere, a MANIFEST ends with its last whole edit; without a first one, or where
 * a mark proves that more was there, it is damaged. */
LSM_TEST(a_manifest_cut_at_any_length_is_reported_or_ends_with_a_whole_edit) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    lsm_wal_writer *writer = history_create(dir);
    uint64_t ends[HISTORY_COUNT]; /* of the edits, marks not counted */
    size_t size = 0;
    state_text found;
    lsmkv_error err;

    ends[0] = lsm_wal_size(writer) - LSM_RECORD_HEADER_SIZE;
    for (int i = 1; i < HISTORY_COUNT; i++) {
        CHECK_OK(history_append(writer, i, &err));
        ends[i] = lsm_wal_size(writer) - LSM_RECORD_HEADER_SIZE;
    }
    CHECK_OK(lsm_wal_close(writer, &err));
    uint8_t *bytes = copy_file(env, MANIFEST_NAME, &size);
    for (size_t cut = 0; cut <= size; cut++) {
        int whole = -1;
        while (whole + 1 < HISTORY_COUNT && ends[whole + 1] <= cut) {
            whole++;
        }
        CHECK(lsm_sim_file_write(env, SIM_PATH, MANIFEST_NAME, bytes, cut));
        lsmkv_status status = load_text(dir, &found, &err);
        if (whole < 0) {
            CHECK_EQ(status, LSMKV_CORRUPTION);
            CHECK(strcmp(err.file, MANIFEST_NAME) == 0);
        } else {
            CHECK_EQ(status, LSMKV_OK);
            CHECK_EQ(history_find(&found), whole);
        }
    }
    lsm_free(bytes);
    sim_end(env, dir);
}

LSM_TEST(damage_below_a_mark_is_reported_at_the_damaged_edit) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    lsm_wal_writer *writer = history_create(dir);
    size_t size = 0;
    state_text found;
    lsmkv_error err;

    CHECK_OK(history_append(writer, 1, &err));
    uint64_t damaged = lsm_wal_size(writer);
    CHECK_OK(history_append(writer, 2, &err));
    CHECK_OK(lsm_wal_close(writer, &err));
    uint8_t *bytes = copy_file(env, MANIFEST_NAME, &size);
    memset(bytes + damaged, 0, 40);
    CHECK(lsm_sim_file_write(env, SIM_PATH, MANIFEST_NAME, bytes, size));
    CHECK_STATUS(load_text(dir, &found, &err), LSMKV_CORRUPTION);
    CHECK_EQ(err.offset, damaged);
    lsm_free(bytes);
    sim_end(env, dir);
}

LSM_TEST(zeros_and_garbage_behind_the_end_are_a_torn_tail) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    lsm_rng rng = {5};
    size_t size = 0;
    state_text found;
    lsmkv_error err;

    history_write(dir);
    uint8_t *bytes = copy_file(env, MANIFEST_NAME, &size);
    uint8_t *longer = lsm_calloc(size + 4096, 1);
    CHECK(longer != NULL);
    memcpy(longer, bytes, size);
    for (int round = 0; round < 20; round++) {
        size_t tail = (size_t)lsm_rng_below(&rng, 4097);
        CHECK(lsm_sim_file_write(env, SIM_PATH, MANIFEST_NAME, longer, size + tail));
        CHECK_OK(load_text(dir, &found, &err));
        CHECK_EQ(history_find(&found), HISTORY_COUNT - 1);
        for (size_t i = 0; i < 4096; i++) {
            longer[size + i] = (uint8_t)lsm_rng_next(&rng);
        }
    }
    lsm_free(longer);
    lsm_free(bytes);
    sim_end(env, dir);
}

LSM_TEST(every_flipped_bit_and_every_cut_of_current_is_reported) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    size_t size = 0;
    state_text found;
    lsmkv_error err;

    history_write(dir);
    uint8_t *bytes = copy_file(env, LSM_CURRENT_NAME, &size);
    for (size_t i = 0; i < size * 8; i++) {
        bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
        CHECK(lsm_sim_file_write(env, SIM_PATH, LSM_CURRENT_NAME, bytes, size));
        bytes[i / 8] ^= (uint8_t)(1u << (i % 8));
        CHECK_STATUS(load_text(dir, &found, &err), LSMKV_CORRUPTION);
        CHECK(strcmp(err.file, LSM_CURRENT_NAME) == 0);
    }
    for (size_t cut = 0; cut < size; cut++) {
        CHECK(lsm_sim_file_write(env, SIM_PATH, LSM_CURRENT_NAME, bytes, cut));
        CHECK_STATUS(load_text(dir, &found, &err), LSMKV_CORRUPTION);
    }
    bytes[size] = '\n';
    CHECK(lsm_sim_file_write(env, SIM_PATH, LSM_CURRENT_NAME, bytes, size + 1));
    CHECK_STATUS(load_text(dir, &found, &err), LSMKV_CORRUPTION);
    lsm_free(bytes);
    sim_end(env, dir);
}

LSM_TEST(current_that_names_a_manifest_that_is_gone_or_too_large_is_corruption) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    char content[LSM_CURRENT_SIZE_MAX];
    state_text found;
    lsmkv_error err;

    history_write(dir);
    CHECK(lsm_sim_file_remove(env, SIM_PATH, MANIFEST_NAME));
    CHECK_STATUS(load_text(dir, &found, &err), LSMKV_CORRUPTION);
    CHECK(strcmp(err.file, MANIFEST_NAME) == 0);
    size_t size = lsm_current_encode(content, UINT64_MAX);
    CHECK(lsm_sim_file_write(env, SIM_PATH, LSM_CURRENT_NAME, content, size));
    CHECK_STATUS(load_text(dir, &found, &err), LSMKV_CORRUPTION);
    CHECK(strcmp(err.file, LSM_CURRENT_NAME) == 0);
    sim_end(env, dir);
}

LSM_TEST(a_log_under_the_name_of_a_manifest_is_corruption) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    lsm_record_file_header header = manifest_header(FIRST_MANIFEST);
    char content[LSM_CURRENT_SIZE_MAX];
    size_t size = lsm_current_encode(content, FIRST_MANIFEST);
    lsm_wal_writer *writer = NULL;
    state_text found;
    lsmkv_error err;

    header.type = LSM_FILE_LOG;
    CHECK_OK(lsm_wal_create(dir, MANIFEST_NAME, &header, &writer, &err));
    CHECK_OK(lsm_wal_close(writer, &err));
    CHECK(lsm_sim_file_write(env, SIM_PATH, LSM_CURRENT_NAME, content, size));
    CHECK_STATUS(load_text(dir, &found, &err), LSMKV_CORRUPTION);
    CHECK(strcmp(err.file, MANIFEST_NAME) == 0);
    sim_end(env, dir);
}

LSM_TEST(a_table_file_that_is_missing_or_has_another_size_is_corruption) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    static const uint8_t bytes[TABLE_FILE_SIZE + 1];
    state_text found;
    lsmkv_error err;

    history_write(dir);
    CHECK(lsm_sim_file_remove(env, SIM_PATH, "000004.tbl")); /* no longer named */
    CHECK_OK(load_text(dir, &found, &err));
    for (int more = -1; more <= 1; more += 2) {
        CHECK(lsm_sim_file_write(env, SIM_PATH, "000009.tbl", bytes,
                                 (size_t)(TABLE_FILE_SIZE + more)));
        CHECK_STATUS(load_text(dir, &found, &err), LSMKV_CORRUPTION);
        CHECK(strcmp(err.file, "000009.tbl") == 0);
        CHECK(strstr(err.message, "the MANIFEST says 1000") != NULL);
    }
    CHECK(lsm_sim_file_remove(env, SIM_PATH, "000009.tbl"));
    CHECK_STATUS(load_text(dir, &found, &err), LSMKV_CORRUPTION);
    CHECK(strcmp(err.file, "000009.tbl") == 0);
    CHECK(strstr(err.message, "missing file") != NULL);
    sim_end(env, dir);
}

/* Spoils an edit that follows the first two of the history. */
typedef struct wrong_edit {
    void (*make)(lsm_edit *edit);
    const char *message;
} wrong_edit;

static void delete_unknown(lsm_edit *edit) {
    edit_delete(edit, 6, 11);
}

static void delete_elsewhere(lsm_edit *edit) {
    edit_delete(edit, 5, 1);
}

static void delete_twice(lsm_edit *edit) {
    edit_delete(edit, 6, 1);
    edit_delete(edit, 6, 1);
}

static void add_again(lsm_edit *edit) {
    edit_add(edit, 6, 1, "a", "m");
}

static void add_at_two_levels(lsm_edit *edit) {
    edit_add(edit, 5, 11, "a", "b");
    edit_add(edit, 4, 11, "a", "b");
}

static void move_changed(lsm_edit *edit) {
    edit_delete(edit, 6, 1);
    edit_add(edit, 5, 1, "a", "l");
}

static void add_number_zero(lsm_edit *edit) {
    edit_add(edit, 5, 0, "a", "l");
}

static void add_above_next_file(lsm_edit *edit) {
    edit_add(edit, 5, 21, "a", "l");
}

static void add_above_last_sequence(lsm_edit *edit) {
    edit_add(edit, 5, 11, "a", "l");
    edit->added[0].info.sequence_max = 50;
    edit->added[0].info.sequence_min = 50;
}

static void add_overlapping(lsm_edit *edit) {
    edit_add(edit, 6, 11, "m", "mm");
    edit->added[0].info.sequence_max = 49;
    edit->added[0].info.sequence_min = 49;
}

static void add_level_0_overlapping(lsm_edit *edit) {
    edit_add(edit, 0, 11, "a", "b");
    edit->added[0].info.sequence_max = 45;
    edit->added[0].info.sequence_min = 45;
}

static void log_above_next_file(lsm_edit *edit) {
    edit_log(edit, 21);
}

static void log_zero(lsm_edit *edit) {
    edit_log(edit, 0);
}

static void log_with_another_id(lsm_edit *edit) {
    CHECK(lsm_edit_add_log(edit, 5, 1));
}

static void next_file_too_large(lsm_edit *edit) {
    edit_numbers(edit, (UINT64_C(1) << 56) + 1, 0, 0);
}

static void first_log_too_large(lsm_edit *edit) {
    edit_numbers(edit, 0, 0, UINT64_MAX);
}

LSM_TEST(well_formed_edits_that_do_not_fit_are_corruption_at_their_offset) {
    static const wrong_edit cases[] = {
        {delete_unknown, "table 11 is deleted from a level where it is not"},
        {delete_elsewhere, "table 1 is deleted from a level where it is not"},
        {delete_twice, "table 1 is deleted from a level where it is not"},
        {add_again, "table 1 is there twice"},
        {add_at_two_levels, "table 11 is there twice"},
        {move_changed, "number 1 is used for another table"},
        {add_number_zero, "table number 0 is not below the next file number"},
        {add_above_next_file, "table number 21 is not below the next file number"},
        {add_above_last_sequence, "table 11 holds sequences above the last one"},
        {add_overlapping, "tables 1 and 11 of level 6 overlap"},
        {add_level_0_overlapping, "tables 4 and 11 of level 0 share sequences"},
        {log_above_next_file, "log number 21 is not below the next file number"},
        {log_zero, "log number 0 is not below the next file number"},
        {log_with_another_id, "log 5 has two file ids"},
        {next_file_too_large, "number 72057594037927937 is too large"},
        {first_log_too_large, "number 18446744073709551615 is too large"},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        lsm_dir *dir;
        lsm_env *env = manifest_env(1, &dir);
        lsm_wal_writer *writer = history_create(dir);
        state_text found;
        lsmkv_error err;
        lsm_edit edit;

        CHECK_OK(history_append(writer, 1, &err));
        uint64_t offset = lsm_wal_size(writer);
        lsm_edit_init(&edit);
        cases[i].make(&edit);
        CHECK_OK(lsm_manifest_append(writer, &edit, &err));
        CHECK_OK(lsm_wal_close(writer, &err));
        CHECK_STATUS(load_text(dir, &found, &err), LSMKV_CORRUPTION);
        if (strstr(err.message, cases[i].message) == NULL) {
            lsm_test_fail(__FILE__, __LINE__, "expected '%s', found '%s'",
                          cases[i].message, err.message);
        }
        CHECK(strcmp(err.file, MANIFEST_NAME) == 0);
        CHECK_EQ(err.offset, offset);
        lsm_edit_deinit(&edit);
        sim_end(env, dir);
    }
}

LSM_TEST(a_number_that_was_deleted_is_never_used_again) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    lsm_wal_writer *writer = history_create(dir);
    state_text found;
    lsmkv_error err;
    lsm_edit edit;

    lsm_edit_init(&edit);
    edit_delete(&edit, 6, 1);
    CHECK_OK(lsm_manifest_append(writer, &edit, &err));
    lsm_edit_deinit(&edit);
    edit_add(&edit, 6, 1, "a", "m");
    CHECK_OK(lsm_manifest_append(writer, &edit, &err));
    lsm_edit_deinit(&edit);
    CHECK_OK(lsm_wal_close(writer, &err));
    CHECK_STATUS(load_text(dir, &found, &err), LSMKV_CORRUPTION);
    CHECK(strstr(err.message, "number 1 is used for another table") != NULL);
    sim_end(env, dir);
}

LSM_TEST(a_first_edit_that_leaves_something_out_is_corruption) {
    for (int missing = 0; missing < 3; missing++) {
        lsm_dir *dir;
        lsm_env *env = manifest_env(1, &dir);
        lsm_record_file_header header = manifest_header(FIRST_MANIFEST);
        lsm_wal_writer *writer = NULL;
        state_text found;
        lsmkv_error err;
        lsm_edit edit;
        bool renamed;

        lsm_edit_init(&edit);
        edit_numbers(&edit, missing == 0 ? 0 : 20, missing == 1 ? 0 : 29,
                     missing == 2 ? 0 : 3);
        CHECK_OK(lsm_manifest_create(dir, &header, &edit, &writer, &renamed, &err));
        CHECK_OK(lsm_wal_close(writer, &err));
        CHECK_STATUS(load_text(dir, &found, &err), LSMKV_CORRUPTION);
        CHECK_EQ(err.offset, LSM_RECORD_FILE_HEADER_SIZE);
        sim_end(env, dir);
    }
}

LSM_TEST(an_edit_of_a_later_version_is_told_from_damage) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    lsm_wal_writer *writer = history_create(dir);
    uint64_t offset = lsm_wal_size(writer);
    lsm_buf record;
    lsm_buf *records[1] = {&record};
    state_text found;
    lsmkv_error err;

    lsm_buf_init(&record);
    CHECK(lsm_buf_append_zeros(&record, LSM_RECORD_HEADER_SIZE));
    CHECK(lsm_buf_append_varint(&record, 99) && lsm_buf_reserve(&record, 8));
    CHECK_OK(lsm_wal_append(writer, LSM_RECORD_EDIT, records, 1, &err));
    CHECK_OK(lsm_wal_sync(writer, &err));
    CHECK_OK(lsm_wal_close(writer, &err));
    CHECK_STATUS(load_text(dir, &found, &err), LSMKV_UNSUPPORTED_VERSION);
    CHECK_EQ(err.offset, offset);
    CHECK(strcmp(err.file, MANIFEST_NAME) == 0);
    lsm_buf_deinit(&record);
    sim_end(env, dir);
}

LSM_TEST(a_log_named_again_is_listed_once) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    lsm_wal_writer *writer = history_create(dir);
    state_text found;
    lsmkv_error err;
    lsm_edit edit;

    lsm_edit_init(&edit);
    edit_log(&edit, 8);
    edit_log(&edit, 3);
    edit_log(&edit, 8);
    CHECK_OK(lsm_manifest_append(writer, &edit, &err));
    CHECK_OK(lsm_wal_close(writer, &err));
    CHECK_OK(load_text(dir, &found, &err));
    CHECK(strcmp(found.text, "next 20 last 29 logs from 3: 3 8; tables 6:1 6:2") == 0);
    lsm_edit_deinit(&edit);
    sim_end(env, dir);
}

enum { LONG_HISTORY = 60000, CPU_SECONDS_MAX = 60 };

/* Each edit adds a table and deletes the one before: with work that grows with the
 * length of what came earlier, this would take minutes. */
LSM_TEST(a_history_of_many_edits_loads_quickly) {
    lsm_dir *dir;
    lsm_env *env = manifest_env(1, &dir);
    lsm_wal_writer *writer = history_create(dir);
    uint64_t first = 1000;
    state_text found;
    lsmkv_error err;
    lsm_edit edit;

    for (uint64_t i = 0; i < LONG_HISTORY; i++) {
        lsm_buf record;
        lsm_buf *records[1] = {&record};
        bool last = i + 1 == LONG_HISTORY;
        lsm_edit_init(&edit);
        lsm_buf_init(&record);
        edit_numbers(&edit, first + i + 1, (first + i) * 10 + 9, 0);
        if (i > 0) {
            edit_delete(&edit, 0, first + i - 1);
        }
        if (!last) {
            edit_add(&edit, 0, first + i, "a", "b");
        }
        CHECK(lsm_buf_append_zeros(&record, LSM_RECORD_HEADER_SIZE));
        CHECK(lsm_edit_encode(&edit, &record) && lsm_buf_reserve(&record, 8));
        CHECK_OK(lsm_wal_append(writer, LSM_RECORD_EDIT, records, 1, &err));
        lsm_buf_deinit(&record);
        lsm_edit_deinit(&edit);
    }
    CHECK_OK(lsm_wal_close(writer, &err));
    clock_t start = clock();
    CHECK_OK(load_text(dir, &found, &err));
    CHECK((clock() - start) / CLOCKS_PER_SEC < CPU_SECONDS_MAX);
    CHECK(strcmp(found.text, "next 61000 last 609999 logs from 3: 3; tables 6:1 6:2") ==
          0);
    sim_end(env, dir);
}
