/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a search of a damaged table finds every block that is whole, raw or compressed,
 * with or without an index, and says of the rest where it was.
 * Method: tables that were written and then damaged in one place; files put together
 * block by block, each under a checksum that holds, whatever is in it; every allocation
 * of a search fails in turn.
 */
#include "table_fixture.h"

#include <errno.h>

#include "base/buf.h"
#include "base/xxh3.h"
#include "dead_help.h"
#include "format/footer.h"
#include "table/table_salvage.h"

enum {
    FOREIGN_CODEC = LSMKV_CODEC_COUNT,
    LAYOUT_BLOCKS_MAX = 512,
    ALLOCATIONS_MAX = 5000
};

/* What a search told and showed. */
typedef struct told {
    lsmkv_report report;
    size_t problem_count;
    char messages[1024]; /* one behind the other */
    size_t entry_count;
    uint64_t sequence_max;
    size_t range_count;
    bool quiet; /* nobody listens */
} told;

static void on_problem(void *context, const lsmkv_error *problem) {
    told *t = context;
    size_t used = strlen(t->messages);

    CHECK(problem->status == LSMKV_CORRUPTION || problem->status == LSMKV_IO_ERROR);
    CHECK(strcmp(problem->file, TABLE_NAME) == 0);
    (void)snprintf(t->messages + used, sizeof(t->messages) - used, "%s|",
                   problem->message);
    t->problem_count++;
}

static void check_told(const told *t, size_t count, const char *what) {
    if (t->problem_count != count || strstr(t->messages, what) == NULL) {
        lsm_test_fail(__FILE__, __LINE__, "%zu problems: %s; expected %zu with %s",
                      t->problem_count, t->messages, count, what);
    }
}

static lsmkv_status open_salvage(table_fixture *f, uint64_t file_id, told *t,
                                 lsm_salvage **salvage, lsmkv_error *err) {
    bool quiet = t->quiet;

    *t = (told){.quiet = quiet};
    lsm_findings findings = {quiet ? NULL : on_problem, t, &t->report};
    return lsm_salvage_open(f->dir, TABLE_NUMBER, file_id, &findings, salvage, err);
}

/* Goes over what was found: rows of the fixture, if it has any, in their order. */
static lsmkv_status go_through(const table_fixture *f, lsm_salvage *salvage, told *t,
                               lsmkv_error *err) {
    lsm_iter *iter = lsm_salvage_iter(salvage);
    size_t at = 0;

    if (iter == NULL) {
        return lsm_fail_memory(err, 0);
    }
    t->entry_count = 0;
    for (lsm_iter_seek_first(iter); iter->valid; lsm_iter_next(iter)) {
        while (at < f->set.count &&
               !lsm_slice_equal(row_ikey(&f->set.rows[at]), iter->key)) {
            at++;
        }
        CHECK(f->set.count == 0 || at < f->set.count);
        CHECK(f->set.count == 0 ||
              lsm_slice_equal(row_field(&f->set.rows[at]), iter->value));
        t->entry_count++;
    }
    lsmkv_status status = iter->status;
    if (status != LSMKV_OK) {
        CHECK_EQ(iter->error.status, status);
        *err = iter->error;
    }
    lsm_iter_destroy(iter);
    return status;
}

static lsmkv_status search_all(table_fixture *f, uint64_t file_id, told *t,
                               lsmkv_error *err) {
    lsm_salvage *salvage = NULL;
    lsm_range_list list;
    lsmkv_status status = open_salvage(f, file_id, t, &salvage, err);

    if (status != LSMKV_OK) {
        CHECK(salvage == NULL);
        return status;
    }
    lsm_range_list_init(&list);
    status = lsm_salvage_ranges(salvage, &list, err);
    if (status == LSMKV_OK) {
        status = go_through(f, salvage, t, err);
    }
    t->range_count = list.count;
    t->sequence_max = lsm_salvage_sequence_max(salvage);
    lsm_range_list_deinit(&list);
    lsm_salvage_close(salvage);
    return status;
}

static void search_ok(table_fixture *f, uint64_t file_id, told *t) {
    lsmkv_error err;

    lsm_error_clear(&err);
    CHECK_OK(search_all(f, file_id, t, &err));
    CHECK_EQ(t->report.problem_count,
             t->quiet ? t->report.problem_count : t->problem_count);
}

/* A table of many blocks; with a codec its fields are runs. */
static void begin_table(table_fixture *f, uint32_t codec, size_t field_size) {
    static const row_shape shape = {200, 6, 3, 4, 60, 1000};
    lsm_rng rng = {11};

    dead_register_codec();
    fixture_begin(f, 0);
    f->options.codec = codec;
    f->set = rows_make(&rng, &shape);
    for (size_t i = 0; i < f->set.count; i++) {
        row *r = &f->set.rows[i];
        if (r->field_size != 0) {
            lsm_free(r->field);
            r->field_size = field_size;
            r->field = lsm_alloc(field_size);
            CHECK(r->field != NULL);
            memset(r->field, (int)i, field_size);
        }
    }
    fixture_write(f);
}

/* Where the blocks of the table lie, its bytes, and how many entries each has. */
typedef struct layout {
    lsm_buf file; /* a copy; owned */
    lsm_footer footer;
    lsm_block_handle blocks[LAYOUT_BLOCKS_MAX];
    size_t count;
} layout;

static void read_layout(const table_fixture *f, layout *l) {
    const uint8_t *data = NULL;
    size_t size = 0;
    lsm_block_cursor cursor = {0};
    lsmkv_error err;

    memset(l, 0, sizeof(*l));
    CHECK(lsm_sim_file_read(f->env, SIM_PATH, TABLE_NAME, &data, &size));
    CHECK(lsm_buf_append(&l->file, data, size));
    CHECK_OK(lsm_footer_decode(data + size - LSM_FOOTER_SIZE, size, TABLE_NAME,
                               &l->footer, &err));
    lsm_block_cursor_open(&cursor, lsm_slice_make(l->file.data + l->footer.index.offset,
                                                  (size_t)l->footer.index.size));
    while (lsm_block_cursor_next(&cursor)) {
        CHECK(l->count < LAYOUT_BLOCKS_MAX);
        CHECK(lsm_block_handle_decode(cursor.field, &l->blocks[l->count++]));
    }
    CHECK(l->count > 8);
    lsm_block_cursor_deinit(&cursor);
}

static void write_file(const table_fixture *f, const lsm_buf *file, size_t size) {
    CHECK(lsm_sim_file_write(f->env, SIM_PATH, TABLE_NAME, file->data, size));
}

static void flip(const table_fixture *f, layout *l, uint64_t at) {
    l->file.data[at] ^= 1;
    write_file(f, &l->file, l->file.size);
}

LSM_TEST(salvage_of_a_whole_table_shows_all_of_it) {
    for (uint32_t codec = 0; codec <= DEAD_CODEC; codec += DEAD_CODEC) {
        table_fixture f;
        layout l;
        told t = {0};

        begin_table(&f, codec, 700);
        read_layout(&f, &l);
        CHECK_EQ(codec == 0, l.file.size > 64 << 10); /* more than is read at once */
        for (int known = 0; known < 2; known++) {
            search_ok(&f, known ? TABLE_FILE_ID : 0, &t);
            CHECK_EQ(t.problem_count, 0);
            CHECK_EQ(t.entry_count, f.set.count);
            CHECK_EQ(t.sequence_max, f.info.sequence_max);
            CHECK_EQ(t.report.file_count, 1);
            CHECK_EQ(t.report.byte_count, l.file.size);
            CHECK(t.report.block_count > l.count); /* those of the tail, too */
        }
        search_ok(&f, TABLE_FILE_ID + 1, &t);
        check_told(&t, 1, "bytes are damaged");
        CHECK_EQ(t.entry_count, 0);
        lsm_buf_deinit(&l.file);
        fixture_end(&f);
    }
}

LSM_TEST(salvage_can_be_gone_through_again) {
    table_fixture f;
    lsm_salvage *salvage = NULL;
    told t = {0};
    lsmkv_error err;

    begin_table(&f, 0, 700);
    CHECK_OK(open_salvage(&f, 0, &t, &salvage, &err));
    lsm_iter *iter = lsm_salvage_iter(salvage);
    CHECK(iter != NULL);
    for (int round = 0; round < 2; round++) {
        size_t count = 0;
        for (lsm_iter_seek_first(iter); iter->valid; lsm_iter_next(iter)) {
            CHECK(lsm_slice_equal(iter->key, row_ikey(&f.set.rows[count])));
            count++;
        }
        CHECK_EQ(iter->status, LSMKV_OK);
        CHECK_EQ(count, f.set.count);
    }
    CHECK_EQ(t.problem_count, 0);
    lsm_iter_destroy(iter);
    lsm_salvage_close(salvage);
    fixture_end(&f);
}

LSM_TEST(compressed_blocks_are_found_without_an_index) {
    table_fixture f;
    layout l;
    told t = {0};

    begin_table(&f, DEAD_CODEC, 60);
    read_layout(&f, &l);
    flip(&f, &l, l.footer.index.offset);
    search_ok(&f, 0, &t);
    check_told(&t, 1, "bytes are damaged");
    CHECK_EQ(t.entry_count, f.set.count);
    /* Without the footer, which says the file id and the end of the blocks. */
    flip(&f, &l, l.file.size - 1);
    search_ok(&f, 0, &t);
    check_told(&t, 1, "checksum of the footer");
    CHECK_EQ(t.entry_count, 0);
    search_ok(&f, TABLE_FILE_ID, &t);
    check_told(&t, 3, "bytes are damaged");
    CHECK_EQ(t.entry_count, f.set.count);
    /* Without all behind the data, or with all but the footer. */
    write_file(&f, &l.file, (size_t)l.footer.tail_offset);
    search_ok(&f, TABLE_FILE_ID, &t);
    CHECK_EQ(t.problem_count, 1); /* no footer */
    CHECK_EQ(t.entry_count, f.set.count);
    CHECK_EQ(t.sequence_max, 0);
    write_file(&f, &l.file, l.file.size - LSM_FOOTER_SIZE);
    search_ok(&f, TABLE_FILE_ID, &t);
    CHECK_EQ(t.problem_count, 2);
    CHECK_EQ(t.entry_count, f.set.count);
    lsm_buf_deinit(&l.file);
    fixture_end(&f);
}

/* How many entries are found with one byte of one block changed: `at` of the payload,
 * or of the frame if it lies behind. */
static size_t found_without(table_fixture *f, layout *l, size_t block, uint64_t at,
                            size_t problems) {
    told t = {0};

    flip(f, l, l->blocks[block].offset + at);
    search_ok(f, 0, &t);
    flip(f, l, l->blocks[block].offset + at);
    check_told(&t, problems, "bytes are damaged");
    CHECK(t.entry_count < f->set.count);
    return t.entry_count;
}

LSM_TEST(a_damaged_block_takes_none_with_it) {
    for (uint32_t codec = 0; codec <= DEAD_CODEC; codec += DEAD_CODEC) {
        table_fixture f;
        layout l;

        begin_table(&f, codec, 60);
        read_layout(&f, &l);
        for (size_t i = 0; i < l.count; i += 3) {
            uint64_t checksum_at = l.blocks[i].size + LSM_BLOCK_FRAME_SIZE - 1;
            size_t expected = found_without(&f, &l, i, 0, 1);
            CHECK_EQ(found_without(&f, &l, i, checksum_at, 1), expected);
            flip(&f, &l, l.footer.index.offset);
            CHECK_EQ(found_without(&f, &l, i, 0, 2), expected);
            flip(&f, &l, l.footer.index.offset);
        }
        lsm_buf_deinit(&l.file);
        fixture_end(&f);
    }
}

LSM_TEST(salvage_reports_what_changes_after_the_search) {
    table_fixture f;
    layout l;
    lsmkv_error err;

    begin_table(&f, 0, 60);
    read_layout(&f, &l);
    for (int round = 0; round < 4; round++) {
        lsm_salvage *salvage = NULL;
        told t = {0};
        CHECK_OK(open_salvage(&f, 0, &t, &salvage, &err));
        if (round == 0) {
            write_file(&f, &l.file, (size_t)l.blocks[1].offset + 4);
        } else if (round == 1) {
            flip(&f, &l, l.blocks[1].offset);
        } else {
            lsm_sim_fail(f.env, LSM_SIM_READ, 0, round == 2 ? EACCES : EIO, false);
        }
        lsm_error_clear(&err);
        lsmkv_status status = go_through(&f, salvage, &t, &err);
        /* What a device cannot read is lost, what the system refuses may come back. */
        CHECK_STATUS(status, round == 2 ? LSMKV_IO_ERROR : LSMKV_OK);
        if (round == 0) {
            check_told(&t, l.count - 1, "the file has become shorter");
            write_file(&f, &l.file, l.file.size);
        } else if (round == 1) {
            check_told(&t, 1, "the block has changed");
            flip(&f, &l, l.blocks[1].offset);
        }
        lsm_sim_fail(f.env, LSM_SIM_READ, 0, 0, false);
        lsm_salvage_close(salvage);
    }
    lsm_buf_deinit(&l.file);
    fixture_end(&f);
}

LSM_TEST(salvage_leaves_tables_of_a_later_version_and_without_rights_alone) {
    table_fixture f;
    layout l;
    told t = {0};
    lsmkv_error err;

    begin_table(&f, 0, 60);
    read_layout(&f, &l);
    lsm_sim_fail(f.env, LSM_SIM_OPEN, 0, EACCES, false);
    CHECK_STATUS(search_all(&f, 0, &t, &err), LSMKV_IO_ERROR);
    uint8_t *footer = l.file.data + l.file.size - LSM_FOOTER_SIZE;
    lsm_put_u32(footer + 8, LSM_TABLE_VERSION + 1);
    lsm_put_u64(footer + LSM_FOOTER_SIZE - 8, lsm_xxh3(footer, LSM_FOOTER_SIZE - 8));
    write_file(&f, &l.file, l.file.size);
    CHECK_STATUS(search_all(&f, TABLE_FILE_ID, &t, &err), LSMKV_UNSUPPORTED_VERSION);
    CHECK(strcmp(err.file, TABLE_NAME) == 0);
    CHECK_EQ(t.problem_count, 0);
    write_file(&f, &l.file, 20);
    search_ok(&f, 0, &t);
    check_told(&t, 1, "too short for a table");
    write_file(&f, &l.file, 10);
    search_ok(&f, TABLE_FILE_ID, &t);
    check_told(&t, 2, "too short for a table");
    CHECK(lsm_sim_file_remove(f.env, SIM_PATH, TABLE_NAME));
    search_ok(&f, TABLE_FILE_ID, &t);
    check_told(&t, 1, "is missing");
    t.quiet = true;
    search_ok(&f, TABLE_FILE_ID, &t);
    CHECK_EQ(t.report.problem_count, 1);
    CHECK_EQ(t.problem_count, 0);
    lsm_buf_deinit(&l.file);
    fixture_end(&f);
}

/* A file put together block by block, without a footer. */
static lsm_block_handle add_block(lsm_buf *file, lsm_slice payload,
                                  lsm_block_type type) {
    lsm_block_frame frame = {(uint32_t)payload.size, 0, type};
    lsm_block_handle handle = {file->size, payload.size};

    CHECK(lsm_buf_append(file, payload.data, payload.size));
    CHECK(lsm_buf_append_zeros(file, LSM_BLOCK_FRAME_SIZE));
    lsm_block_frame_seal(file->data + handle.offset, payload.size, frame, TABLE_FILE_ID,
                         handle.offset);
    return handle;
}

/* A payload that says of itself to be compressed. */
static lsm_block_handle add_compressed(lsm_buf *file, lsm_slice payload, uint8_t codec,
                                       uint32_t raw_size) {
    lsm_block_frame frame = {raw_size, codec, LSM_BLOCK_DATA};
    lsm_block_handle handle = add_block(file, payload, LSM_BLOCK_DATA);

    lsm_block_frame_seal(file->data + handle.offset, payload.size, frame, TABLE_FILE_ID,
                         handle.offset);
    return handle;
}

/* A block with one entry, or with several of ascending keys from `first` on. */
static lsm_slice build_entries(lsm_block_builder *builder, char first, size_t count,
                               lsm_slice field) {
    lsm_block_builder_init(builder);
    for (size_t i = 0; i < count; i++) {
        uint8_t ikey[13] = {0, 0, 0, LSM_NAMESPACE_DEFAULT, (uint8_t)(first + (char)i)};
        lsm_put_u64(ikey + 5, lsm_trailer_make(10 + i, LSM_KIND_PUT));
        CHECK(lsm_block_builder_add(builder, lsm_slice_make(ikey, sizeof(ikey)),
                                    field) == LSMKV_OK);
    }
    return lsm_block_builder_finish(builder);
}

static void add_entries(lsm_buf *file, char first, size_t count) {
    lsm_block_builder builder;

    (void)add_block(file,
                    build_entries(&builder, first, count, lsm_slice_make("value", 5)),
                    LSM_BLOCK_DATA);
    lsm_block_builder_deinit(&builder);
}

/* Every one of them says one thing that cannot be. */
static void add_index(lsm_buf *file, const lsm_block_handle *handles, size_t count) {
    for (size_t i = 0; i <= count; i++) {
        uint8_t encoded[LSM_BLOCK_HANDLE_SIZE_MAX];
        lsm_block_builder builder;
        size_t size = i < count ? lsm_block_handle_encode(handles[i], encoded) : 0;
        (void)add_block(file,
                        build_entries(&builder, 'a', 1, lsm_slice_make(encoded, size)),
                        LSM_BLOCK_INDEX);
        lsm_block_builder_deinit(&builder);
    }
}

LSM_TEST(salvage_passes_over_blocks_that_hold_no_entries) {
    static const uint8_t junk[40] = {1, 2, 3};
    table_fixture f;
    lsm_buf file = {0};
    told t = {0};

    dead_register_codec();
    fixture_begin(&f, 0);
    add_entries(&file, 'c', 4);
    (void)add_block(&file, lsm_slice_make(junk, sizeof(junk)), LSM_BLOCK_DATA);
    add_entries(&file, 'a', 2); /* out of order */
    (void)add_compressed(&file, lsm_slice_make(junk, 3), DEAD_CODEC, 40);
    (void)add_compressed(&file, lsm_slice_make("\x28\xff", 2), DEAD_CODEC, 40);
    (void)add_block(&file, lsm_slice_make("\x01\x09", 2), LSM_BLOCK_PROPERTIES);
    (void)add_block(&file, lsm_slice_make(junk, 5), LSM_BLOCK_RANGE_DELETES);
    add_entries(&file, 'h', 2);
    CHECK(lsm_buf_append_zeros(&file, LSM_FOOTER_SIZE));
    write_file(&f, &file, file.size);
    search_ok(&f, TABLE_FILE_ID, &t);
    CHECK_EQ(t.entry_count, 6);
    CHECK_EQ(t.sequence_max, 0);
    CHECK_EQ(t.range_count, 0);
    check_told(&t, 7, "data block out of order");
    check_told(&t, 7, "does not decompress");
    check_told(&t, 7, "malformed data block");
    check_told(&t, 7, "a malformed block of 5 bytes of range deletes");
    file.size -= LSM_FOOTER_SIZE;
    (void)add_compressed(&file, lsm_slice_make(junk, 3), FOREIGN_CODEC, 40);
    write_file(&f, &file, file.size);
    lsmkv_error err;
    CHECK_STATUS(search_all(&f, TABLE_FILE_ID, &t, &err), LSMKV_UNSUPPORTED_VERSION);
    CHECK_EQ(t.entry_count, 6);
    lsm_buf_deinit(&file);
    fixture_end(&f);
}

LSM_TEST(salvage_takes_no_extent_at_its_word) {
    static const lsm_block_handle impossible[] = {
        {UINT64_MAX - 4, 100}, {100, UINT64_MAX - 104}, {4, 1 << 20}, {4, 7}, {0, 0},
    };
    static const uint8_t lookalikes[] = {
        0xff, 0xff, 0xff,       0xff, 0,          LSM_BLOCK_DATA,
        0,    0, /* longer than what is */
        0,    0,    0,          0,    0,          LSM_BLOCK_DATA,
        0,    0, /* of nothing */
        5,    0,    0,          0,    0,          LSM_BLOCK_INDEX,
        0,    0, /* checksum */
        1,    0,    0,          0,    0,          LSM_BLOCK_DATA,
        0,    9,    1,          0,    0,          0,
        0,    9,    0,          0,    5,          0,
        0,    0,    DEAD_CODEC, 1,    0,          0,
        9,    9,    9,          9,    DEAD_CODEC, 1,
        0,    0,    0,          0,    0,          0,
        0,
    };
    static const uint8_t frame[LSM_BLOCK_FRAME_SIZE] = {9, 0, 0, 0, DEAD_CODEC, 1};
    table_fixture f;
    lsm_block_builder builder;
    lsm_buf file = {0};
    uint8_t packed[512];
    told t = {0};

    dead_register_codec();
    fixture_begin(&f, 0);
    /* A compressed block with what looks like frames before it, from the start on. */
    CHECK(lsm_buf_append(&file, frame, sizeof(frame)));
    CHECK(lsm_buf_append(&file, lookalikes, sizeof(lookalikes)));
    CHECK(lsm_buf_append(&file, frame, sizeof(frame)));
    lsm_slice raw = build_entries(&builder, 'a', 3, lsm_slice_make("vvvvvvvvvvvv", 12));
    size_t size = runs_compress(NULL, packed, sizeof(packed), raw.data, raw.size);
    CHECK(size > 0);
    (void)add_compressed(&file, lsm_slice_make(packed, size), DEAD_CODEC,
                         (uint32_t)raw.size);
    lsm_block_builder_deinit(&builder);
    add_index(&file, impossible, LSM_ARRAY_COUNT(impossible));
    add_entries(&file, 'd', 2);
    CHECK(lsm_buf_append_zeros(&file, LSM_FOOTER_SIZE));
    write_file(&f, &file, file.size);
    search_ok(&f, TABLE_FILE_ID, &t);
    check_told(&t, 3, "bytes are damaged"); /* what is in front, the end, its footer */
    CHECK_EQ(t.entry_count, 5);
    lsm_buf_deinit(&file);
    fixture_end(&f);
}

LSM_TEST(every_changed_bit_of_a_block_under_a_good_checksum_is_told_or_harmless) {
    table_fixture f;
    lsm_buf file = {0};
    size_t told_count = 0;

    fixture_begin(&f, 0);
    add_entries(&file, 'a', 6);
    size_t size = file.size - LSM_BLOCK_FRAME_SIZE;
    lsm_block_frame frame = {(uint32_t)size, 0, LSM_BLOCK_DATA};
    for (size_t bit = 0; bit < 8 * size; bit++) {
        told t = {0};
        file.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        lsm_block_frame_seal(file.data, size, frame, TABLE_FILE_ID, 0);
        write_file(&f, &file, file.size);
        search_ok(&f, TABLE_FILE_ID, &t);
        CHECK_EQ(t.entry_count == 0, t.problem_count == 2); /* no footer, either way */
        told_count += t.problem_count == 2;
        file.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    CHECK(told_count > size); /* sizes, kinds, the order */
    lsm_buf_deinit(&file);
    fixture_end(&f);
}

/* Range deletes, compressed data that an index names and some that none does. */
static void add_everything(lsm_buf *file) {
    static const uint64_t sequences[] = {8};
    static const lsm_range_span span = {{(const uint8_t *)"\0\0\0\1a", 5},
                                        {(const uint8_t *)"\0\0\0\1b", 5},
                                        sequences,
                                        1};
    lsm_block_handle handles[2];
    lsm_buf ranges = {0};

    for (size_t i = 0; i < 2; i++) {
        lsm_block_builder builder;
        uint8_t packed[512];
        lsm_slice raw = build_entries(&builder, i == 0 ? 'a' : 'f', 4,
                                      lsm_slice_make("vvvvvvvvvvvv", 12));
        size_t size = runs_compress(NULL, packed, sizeof(packed), raw.data, raw.size);
        CHECK(size > 0);
        handles[i] = add_compressed(file, lsm_slice_make(packed, size), DEAD_CODEC,
                                    (uint32_t)raw.size);
        lsm_block_builder_deinit(&builder);
    }
    add_entries(file, 'k', 2);
    add_index(file, handles, 1);
    CHECK(lsm_range_encode(&ranges, &span));
    for (int i = 0; i < 2; i++) {
        (void)add_block(file, lsm_buf_slice(&ranges), LSM_BLOCK_RANGE_DELETES);
    }
    lsm_buf_deinit(&ranges);
}

LSM_TEST(salvage_that_lacks_memory_says_so) {
    table_fixture f;
    lsm_buf file = {0};
    lsmkv_error err;
    told whole = {0};
    uint64_t count;
    uint64_t at = 0;

    dead_register_codec();
    fixture_begin(&f, 0);
    add_everything(&file);
    write_file(&f, &file, file.size);
    search_ok(&f, TABLE_FILE_ID, &whole);
    CHECK_EQ(whole.entry_count, 10);
    CHECK_EQ(whole.range_count, 2);
    CHECK_EQ(whole.problem_count, 1); /* no footer */
    do {
        told t = {0};
        CHECK(at < ALLOCATIONS_MAX);
        count = lsm_alloc_count();
        lsm_alloc_fail_after(at, 0);
        lsmkv_status status = search_all(&f, TABLE_FILE_ID, &t, &err);
        lsm_alloc_fail_never();
        count = lsm_alloc_count() - count;
        CHECK_STATUS(status, count > at ? LSMKV_NO_MEMORY : LSMKV_OK);
        CHECK(t.problem_count <= whole.problem_count);
    } while (count > at++);
    CHECK(count > 10);
    lsm_buf_deinit(&file);
    fixture_end(&f);
}

/* Of two blocks that overlap the first one stays; an index may name blocks in any
 * order. */
LSM_TEST(salvage_takes_no_byte_for_two_blocks) {
    table_fixture f;
    lsm_buf file = {0};
    lsm_buf inner = {0};
    lsm_block_builder builder;
    lsm_block_handle handles[3];
    uint8_t packed[2][512];
    told t = {0};

    dead_register_codec();
    fixture_begin(&f, 0);
    for (size_t i = 0; i < 2; i++) {
        lsm_slice raw = build_entries(&builder, i == 0 ? 'c' : 'f', 3,
                                      lsm_slice_make("vvvvvvvvvvvv", 12));
        size_t size =
            runs_compress(NULL, packed[i], sizeof(packed[i]), raw.data, raw.size);
        CHECK(size > 0);
        handles[i] = add_compressed(&file, lsm_slice_make(packed[i], size), DEAD_CODEC,
                                    (uint32_t)raw.size);
        lsm_block_builder_deinit(&builder);
    }
    /* A block within another one, whose checksum holds where it lies. */
    uint64_t at = file.size;
    CHECK(lsm_buf_append_zeros(&file, 40));
    add_entries(&file, 'i', 2);
    CHECK(lsm_buf_append(&inner, file.data + at, file.size - (size_t)at));
    file.size = (size_t)at;
    handles[2] = add_compressed(&file, lsm_buf_slice(&inner), DEAD_CODEC, 40);
    lsm_block_builder_init(&builder);
    for (size_t i = 0; i < 3; i++) {
        static const size_t order[] = {1, 0, 2};
        uint8_t ikey[13] = {0, 0, 0, 1, (uint8_t)('a' + i), LSM_KIND_PUT};
        uint8_t encoded[LSM_BLOCK_HANDLE_SIZE_MAX];
        size_t size = lsm_block_handle_encode(handles[order[i]], encoded);
        CHECK_EQ(lsm_block_builder_add(&builder, lsm_slice_make(ikey, sizeof(ikey)),
                                       lsm_slice_make(encoded, size)),
                 LSMKV_OK);
    }
    (void)add_block(&file, lsm_block_builder_finish(&builder), LSM_BLOCK_INDEX);
    lsm_block_builder_deinit(&builder);
    CHECK(lsm_buf_append_zeros(&file, LSM_FOOTER_SIZE));
    write_file(&f, &file, file.size);
    search_ok(&f, TABLE_FILE_ID, &t);
    check_told(&t, t.problem_count, "does not decompress"); /* the outer one */
    CHECK_EQ(t.entry_count, 6);
    lsm_buf_deinit(&inner);
    lsm_buf_deinit(&file);
    fixture_end(&f);
}
