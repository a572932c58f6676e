/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: reading on in a MANIFEST comes to what loading it comes to, believes no edit
 * that a load would not, and says when there is no memory. Method: edits appended
 * behind a state that was loaded, those of the history and forged ones.
 */
#include "manifest_help.h"

#include "base/alloc.h"
#include "segment/cache_segment.h"

typedef struct followed {
    lsm_env *env;
    lsm_dir *dir;
    lsm_wal_writer *writer;
    count_sink sink;
    lsm_manifest_state state;
    lsmkv_error err;
} followed;

static lsm_segment_files files;

static void drop_segment(lsm_segment_sink *sink, lsm_segment *segment) {
    (void)sink;
    lsm_segment_destroy(segment);
}

static lsm_segment_sink drops = {.dropped = drop_segment};
static const lsm_segment_context context = {
    .sink = &drops, .files = &files, .uuid = "0123456789abcde"};

/* Segments that nobody looks into. */
static lsm_segment *make_cache(lsm_table_sink *sink, const lsm_edit_cache *info) {
    (void)sink;
    return lsm_cache_segment_create(&context, info);
}

static lsm_segment *make_segment(lsm_table_sink *sink, const lsm_edit_segment *info) {
    (void)sink;
    return lsm_segment_create(&context, info);
}

/* Loads what the first `count` edits of the history say. */
static void begin(followed *f, int count) {
    lsmkv_error err;

    f->env = manifest_env(1, &f->dir);
    lsm_sim_exempt_memory(f->env);
    f->writer = history_create(f->dir);
    for (int i = 1; i < count; i++) {
        CHECK_OK(history_append(f->writer, i, &err));
    }
    lsm_segment_files_init(&files, 4);
    f->sink = count_sink_make();
    f->sink.head.cache = make_cache;
    f->sink.head.segment = make_segment;
    CHECK_OK(lsm_manifest_load(f->dir, &f->sink.head, &f->state, &err));
}

static void end(followed *f) {
    lsmkv_error err;

    lsm_manifest_state_deinit(&f->state);
    lsm_segment_files_deinit(&files);
    CHECK_OK(lsm_wal_close(f->writer, &err));
    sim_end(f->env, f->dir);
}

/* Reads on; the version that comes of it takes the place of the one before. */
static lsmkv_status go_on(followed *f) {
    lsm_version *next = NULL;

    lsm_error_clear(&f->err);
    lsmkv_status status =
        lsm_manifest_go_on(&f->state, f->state.version, &f->sink.head, &next, &f->err);
    if (next != NULL) {
        CHECK_EQ(status, LSMKV_OK);
        CHECK(version_is_legal(next));
        lsm_version_unref(f->state.version);
        f->state.version = next;
    }
    return status;
}

LSM_TEST(reading_on_in_a_manifest_comes_to_what_loading_it_does) {
    for (int read = 1; read < HISTORY_COUNT; read++) {
        followed f;
        lsmkv_error err;
        begin(&f, read);
        CHECK_EQ(go_on(&f), LSMKV_OK); /* there is nothing yet */
        for (int i = read; i < HISTORY_COUNT; i++) {
            CHECK_OK(history_append(f.writer, i, &err));
            CHECK_EQ(go_on(&f), LSMKV_OK);
            state_text found = state_describe(&f.state);
            CHECK_EQ(history_find(&found), i);
        }
        end(&f);
    }
}

LSM_TEST(reading_on_without_memory_says_so) {
    bool failed = true;

    for (uint64_t at = 0; failed; at++) {
        followed f;
        lsmkv_error err;
        begin(&f, 2);
        for (int i = 2; i < HISTORY_COUNT; i++) {
            CHECK_OK(history_append(f.writer, i, &err));
        }
        lsm_alloc_fail_after(at, 0);
        lsmkv_status status = go_on(&f);
        lsm_alloc_fail_never();
        failed = status != LSMKV_OK;
        CHECK(!failed || status == LSMKV_NO_MEMORY);
        end(&f);
    }
}

/* A MANIFEST with caches and origins in it, too. */
LSM_TEST(loading_a_manifest_without_memory_says_so) {
    bool failed = true;
    followed f;
    lsmkv_error err;
    lsm_edit edit;

    begin(&f, HISTORY_COUNT);
    lsm_edit_init(&edit);
    for (uint64_t i = 0; i < 3; i++) {
        lsm_edit_cache cache = {10 + i, 7, 16};
        uint8_t origin[LSM_UUID_SIZE] = {(uint8_t)i};
        CHECK(lsm_edit_add_cache(&edit, &cache));
        CHECK(lsm_edit_add_origin(&edit, origin));
    }
    CHECK_OK(lsm_manifest_append(f.writer, &edit, &err));
    lsm_edit_deinit(&edit);
    for (uint64_t at = 0; failed; at++) {
        lsm_manifest_state state;
        lsm_alloc_fail_after(at, 0);
        lsmkv_status status = lsm_manifest_load(f.dir, &f.sink.head, &state, &err);
        lsm_alloc_fail_never();
        failed = status != LSMKV_OK;
        CHECK(!failed || status == LSMKV_NO_MEMORY);
        CHECK(failed || state.version->cache_count == 3);
        CHECK(failed || state.origin_count == 3);
        lsm_manifest_state_deinit(&state);
    }
    end(&f);
}

static void table_numbered(lsm_edit *edit, uint64_t number) {
    edit_add(edit, 0, 4, "a", "z");
    edit->added[0].info.number = number;
}

static void table_zero(lsm_edit *edit) {
    table_numbered(edit, 0);
}

static void table_beyond(lsm_edit *edit) {
    table_numbered(edit, 21);
}

static void table_of_later_writes(lsm_edit *edit) {
    edit_add(edit, 0, 6, "a", "z");
    edit->added[0].info.sequence_max = 1000;
}

static void log_zero(lsm_edit *edit) {
    edit_log(edit, 0);
}

static void log_beyond(lsm_edit *edit) {
    edit_log(edit, 21);
}

static void segment_numbered(lsm_edit *edit, uint64_t number, lsm_segment_kind kind) {
    lsm_edit_segment segment = {number, 7, 4096, kind};

    CHECK(lsm_edit_add_segment(edit, &segment));
}

static void segment_zero(lsm_edit *edit) {
    segment_numbered(edit, 0, LSM_SEGMENT_VALUES);
}

static void segment_beyond(lsm_edit *edit) {
    segment_numbered(edit, 21, LSM_SEGMENT_VALUES);
}

static void segment_of_a_live_log(lsm_edit *edit) {
    segment_numbered(edit, 5, LSM_SEGMENT_LOG);
}

static void cache_numbered(lsm_edit *edit, uint64_t number) {
    lsm_edit_cache cache = {number, 7, 16};

    CHECK(lsm_edit_add_cache(edit, &cache));
}

static void cache_zero(lsm_edit *edit) {
    cache_numbered(edit, 0);
}

static void cache_beyond(lsm_edit *edit) {
    cache_numbered(edit, 21);
}

static void cache_twice(lsm_edit *edit) {
    cache_numbered(edit, 15);
    cache_numbered(edit, 15);
}

static void cache_not_there(lsm_edit *edit) {
    CHECK(lsm_edit_drop_cache(edit, 15));
}

static void next_file_huge(lsm_edit *edit) {
    edit_numbers(edit, LSM_FILE_NUMBER_MAX + 1, 0, 0);
}

static void first_log_huge(lsm_edit *edit) {
    edit_numbers(edit, 0, 0, LSM_FILE_NUMBER_MAX + 1);
}

static void no_such_table(lsm_edit *edit) {
    edit_delete(edit, 3, 19);
}

LSM_TEST(an_edit_that_is_forged_is_damage_to_whoever_reads_on) {
    static void (*const forge[])(lsm_edit *edit) = {
        table_zero,     table_beyond,   table_of_later_writes, log_zero,
        log_beyond,     segment_zero,   segment_beyond,        segment_of_a_live_log,
        cache_zero,     cache_beyond,   cache_twice,           cache_not_there,
        next_file_huge, first_log_huge, no_such_table};

    for (size_t i = 0; i < LSM_ARRAY_COUNT(forge); i++) {
        followed f;
        lsm_edit edit;
        lsmkv_error err;
        state_text found;
        begin(&f, 2);
        lsm_edit_init(&edit);
        forge[i](&edit);
        CHECK_OK(lsm_manifest_append(f.writer, &edit, &err));
        lsm_edit_deinit(&edit);
        CHECK_EQ(go_on(&f), LSMKV_CORRUPTION);
        CHECK(strcmp(f.err.file, "MANIFEST-000002") == 0);
        CHECK(f.err.offset > 0 && f.err.message[0] != '\0');
        CHECK_STATUS(load_text(f.dir, &found, &err), LSMKV_CORRUPTION);
        end(&f);
    }
}

LSM_TEST(a_table_that_moves_and_changes_is_damage_to_whoever_reads_on) {
    bool more = true;

    for (int field = 0; more; field++) {
        followed f;
        lsm_edit edit;
        lsmkv_error err;
        word_table table;
        begin(&f, 2);
        lsm_edit_init(&edit);
        word_table_make(&table, 1, "a", "m"); /* as the first edit has it */
        more = change_field(&table.info, field);
        if (!more) {
            table.info.segment_count = 0;
        }
        edit_delete(&edit, 6, 1);
        CHECK(lsm_edit_add_table(&edit, 5, &table.info));
        CHECK_OK(lsm_manifest_append(f.writer, &edit, &err));
        lsm_edit_deinit(&edit);
        CHECK_EQ(go_on(&f), more ? LSMKV_CORRUPTION : LSMKV_OK);
        end(&f);
    }
}

/* What leads into a segment and moves is not to let go of it on the way, or nobody
 * knows the segment when the table goes. */
LSM_TEST(a_table_that_moves_out_of_a_segment_is_damage_to_whoever_reads_on) {
    static const lsm_segment_share share = {10, 64};
    const lsm_edit_segment segment = {10, 310, 77, LSM_SEGMENT_VALUES};
    static const uint8_t bytes[77];

    for (int step = 0; step < 3; step++) {
        followed f;
        lsm_edit edit;
        lsmkv_error err;
        word_table table;
        begin(&f, 2);
        CHECK(lsm_sim_file_write(f.env, SIM_PATH, "000010.seg", bytes, sizeof(bytes)));
        word_table_make(&table, 11, "a", "b");
        table.info.sequence_min = table.info.sequence_max = 45;
        for (int i = 0; i <= step; i++) {
            lsm_edit_init(&edit);
            if (i == 0) {
                CHECK(lsm_edit_add_segment(&edit, &segment));
            } else {
                edit_delete(&edit, (uint32_t)i + 2, 11);
            }
            table.info.segments = &share;
            table.info.segment_count = i == 0 ? 1 : 0;
            CHECK(i == 2 || lsm_edit_add_table(&edit, (uint32_t)i + 3, &table.info));
            CHECK_OK(lsm_manifest_append(f.writer, &edit, &err));
            lsm_edit_deinit(&edit);
        }
        CHECK_EQ(go_on(&f), step == 0 ? LSMKV_OK : LSMKV_CORRUPTION);
        end(&f);
    }
}

LSM_TEST(a_record_that_is_no_edit_is_damage_to_whoever_reads_on) {
    followed f;
    lsmkv_error err;
    lsm_buf record = {0};
    lsm_buf *records[] = {&record};

    begin(&f, 1);
    CHECK(lsm_buf_append_zeros(&record, LSM_RECORD_HEADER_SIZE));
    CHECK(lsm_buf_append(&record, "\xff\xff", 2));
    CHECK_OK(lsm_wal_append(f.writer, LSM_RECORD_EDIT, records, 1, &err));
    lsm_buf_deinit(&record);
    CHECK_EQ(go_on(&f), LSMKV_CORRUPTION);
    CHECK(strcmp(f.err.file, "MANIFEST-000002") == 0);
    end(&f);
}

/* A log that an edit names and lets go of at once is none. */
LSM_TEST(a_log_that_is_obsolete_already_is_not_taken_in) {
    followed f;
    lsmkv_error err;
    lsm_edit edit;

    begin(&f, 2);
    lsm_edit_init(&edit);
    edit_log(&edit, 4);
    edit_log(&edit, 8);
    CHECK_OK(lsm_manifest_append(f.writer, &edit, &err));
    lsm_edit_deinit(&edit);
    CHECK_EQ(go_on(&f), LSMKV_OK);
    CHECK_EQ(f.state.log_count, 2);
    CHECK_EQ(f.state.logs[1].number, 8);
    end(&f);
}
