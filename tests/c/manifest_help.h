/* SPDX-License-Identifier: Apache-2.0
 *
 * A MANIFEST with a small history in the simulator, and states as text.
 */
#ifndef LSM_TESTS_MANIFEST_HELP_H
#define LSM_TESTS_MANIFEST_HELP_H

#include "sim_help.h"
#include "version_help.h"

#include "db/manifest.h"
#include "format/filename.h"

enum {
    FIRST_MANIFEST = 2,
    TABLE_FILES = 40,  /* 000001.tbl ... exist, each of TABLE_FILE_SIZE bytes */
    HISTORY_COUNT = 6, /* the first edit, which says everything, and five more */
    STATE_TEXT_MAX = 512,
};

typedef struct state_text {
    char text[STATE_TEXT_MAX];
} state_text;

static const char *const history_states[HISTORY_COUNT] = {
    "next 20 last 29 logs from 3: 3; tables 6:1 6:2",
    "next 21 last 49 logs from 5: 5; tables 0:4 6:1 6:2",
    "next 21 last 69 logs from 5: 5 8; tables 0:6 0:4 6:1 6:2",
    "next 22 last 69 logs from 5: 5 8; tables 6:7 6:9 6:2",
    "next 22 last 69 logs from 5: 5 8; tables 5:7 6:9 6:2",
    "next 30 last 99 logs from 9: -; tables 5:7 6:9 6:2",
};

static inline void edit_numbers(lsm_edit *edit, uint64_t next_file,
                                uint64_t last_sequence, uint64_t first_log) {
    edit->has_next_file = next_file != 0;
    edit->next_file = next_file;
    edit->has_last_sequence = last_sequence != 0;
    edit->last_sequence = last_sequence;
    edit->has_first_log = first_log != 0;
    edit->first_log = first_log;
}

static inline void edit_log(lsm_edit *edit, uint64_t number) {
    CHECK(lsm_edit_add_log(edit, number, number * 1009));
}

/* Edit `index` of the history, into an empty one. */
static inline void history_edit(lsm_edit *edit, int index) {
    lsm_edit_init(edit);
    switch (index) {
        case 0:
            edit_numbers(edit, 20, 29, 3);
            edit_log(edit, 3);
            edit_add(edit, 6, 1, "a", "m");
            edit_add(edit, 6, 2, "n", "z");
            break;
        case 1: /* a flush */
            edit_numbers(edit, 21, 49, 5);
            edit_log(edit, 5);
            edit_add(edit, 0, 4, "a", "z");
            break;
        case 2: /* another, and a log that was synced */
            edit_numbers(edit, 0, 69, 0);
            edit_log(edit, 8);
            edit_add(edit, 0, 6, "b", "d");
            break;
        case 3: /* a compaction; sequences stay within those of its inputs */
            edit_numbers(edit, 22, 0, 0);
            edit_delete(edit, 0, 4);
            edit_delete(edit, 0, 6);
            edit_delete(edit, 6, 1);
            edit_add(edit, 6, 9, "h", "m");
            edit->added[0].info.sequence_min = 10;
            edit->added[0].info.sequence_max = 69;
            edit_add(edit, 6, 7, "a", "g");
            edit->added[1].info.sequence_min = 10;
            edit->added[1].info.sequence_max = 69;
            break;
        case 4: /* a move */
            edit_delete(edit, 6, 7);
            edit_add(edit, 5, 7, "a", "g");
            edit->added[0].info.sequence_min = 10;
            edit->added[0].info.sequence_max = 69;
            break;
        default: /* numbers alone; smaller ones than before change nothing */
            edit_numbers(edit, 30, 99, 9);
            break;
    }
}

static inline state_text state_describe(const lsm_manifest_state *state) {
    state_text to;
    size_t used = (size_t)snprintf(
        to.text, sizeof(to.text),
        "next %llu last %llu logs from %llu:", (unsigned long long)state->next_file,
        (unsigned long long)state->last_sequence, (unsigned long long)state->first_log);

    for (size_t i = 0; i < state->log_count; i++) {
        CHECK_EQ(state->logs[i].file_id, state->logs[i].number * 1009);
        used += (size_t)snprintf(to.text + used, sizeof(to.text) - used, " %llu",
                                 (unsigned long long)state->logs[i].number);
    }
    used += (size_t)snprintf(to.text + used, sizeof(to.text) - used, "%s; tables",
                             state->log_count == 0 ? " -" : "");
    for (uint32_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        const lsm_level *level = &state->version->levels[i];
        for (size_t j = 0; j < level->count && used < STATE_TEXT_MAX - 32; j++) {
            used +=
                (size_t)snprintf(to.text + used, sizeof(to.text) - used, " %u:%llu", i,
                                 (unsigned long long)level->tables[j]->info.number);
        }
    }
    return to;
}

static inline lsm_record_file_header manifest_header(uint64_t number) {
    return (lsm_record_file_header){.type = LSM_FILE_MANIFEST,
                                    .uuid = "0123456789abcde",
                                    .number = number,
                                    .file_id = number * 0x9e3779b97f4a7c15u};
}

/* A simulator with the table files in place, durable. */
static inline lsm_env *manifest_env(uint64_t seed, lsm_dir **dir) {
    static uint8_t bytes[TABLE_FILE_SIZE];
    lsm_env *env = sim_make(seed, dir);

    for (uint64_t i = 1; i <= TABLE_FILES; i++) {
        char name[LSM_FILENAME_SIZE];
        lsm_filename_make(name, LSM_NAME_TABLE, i);
        CHECK(lsm_sim_file_write(env, SIM_PATH, name, bytes, sizeof(bytes)));
    }
    sim_sync_dir(*dir);
    return env;
}

/* Creates a MANIFEST that holds the first edit of the history. */
static inline lsm_wal_writer *history_create(lsm_dir *dir) {
    lsm_record_file_header header = manifest_header(FIRST_MANIFEST);
    lsm_wal_writer *writer = NULL;
    bool renamed = false;
    lsmkv_error err;
    lsm_edit edit;

    history_edit(&edit, 0);
    CHECK_OK(lsm_manifest_create(dir, &header, &edit, &writer, &renamed, &err));
    CHECK(renamed);
    lsm_edit_deinit(&edit);
    return writer;
}

static inline lsmkv_status history_append(lsm_wal_writer *writer, int index,
                                          lsmkv_error *err) {
    lsm_edit edit;

    history_edit(&edit, index);
    lsmkv_status status = lsm_manifest_append(writer, &edit, err);
    lsm_edit_deinit(&edit);
    return status;
}

/* The MANIFEST with its whole history, closed. */
static inline void history_write(lsm_dir *dir) {
    lsm_wal_writer *writer = history_create(dir);
    lsmkv_error err;

    for (int i = 1; i < HISTORY_COUNT; i++) {
        CHECK_OK(history_append(writer, i, &err));
    }
    CHECK_OK(lsm_wal_close(writer, &err));
}

/* Loads, and on OK describes and forgets the state. The sink must have heard of no
 * table when the load fails. */
static inline lsmkv_status load_text(lsm_dir *dir, state_text *found,
                                     lsmkv_error *err) {
    count_sink sink = count_sink_make();
    lsm_manifest_state state;
    lsmkv_status status = lsm_manifest_load(dir, &sink.head, &state, err);

    CHECK_EQ(sink.dropped, 0);
    if (status == LSMKV_OK) {
        CHECK(version_is_legal(state.version));
        *found = state_describe(&state);
    } else {
        CHECK(state.version == NULL && state.logs == NULL);
    }
    lsm_manifest_state_deinit(&state);
    return status;
}

/* The index in the history of a state, or -1. */
static inline int history_find(const state_text *found) {
    for (int i = 0; i < HISTORY_COUNT; i++) {
        if (strcmp(found->text, history_states[i]) == 0) {
            return i;
        }
    }
    return -1;
}

/* Changes one field of a table's description; false: there are no more. */
static inline bool change_field(lsm_table_info *info, int field) {
    uint64_t *const numbers[] = {
        &info->file_id,      &info->file_size,          &info->tail_size,
        &info->sequence_min, &info->entry_count,        &info->tombstone_count,
        &info->raw_bytes,    &info->expire_all_at,      &info->expire_half_at,
        &info->sequence_max, &info->range_delete_count,
    };

    if (field < (int)LSM_ARRAY_COUNT(numbers)) {
        *numbers[field] += 1;
        return true;
    }
    static const lsm_segment_share share = {10, 64};
    info->segments = &share;
    info->segment_count = 1;
    return field == (int)LSM_ARRAY_COUNT(numbers);
}

#endif
