/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a table whose checksums are right but whose parts contradict each other, as a
 * bug or a forger could write it, is found out when it is opened, read or verified.
 * Method: the tail of a small table is taken apart, one thing is changed, and it is put
 * together again with good checksums.
 */
#include "table_fixture.h"

#include "base/buf.h"
#include "dead_help.h"
#include "format/bloom.h"
#include "format/footer.h"
#include "table/table_private.h"

static const row_shape small = {40, 5, 2, 8, 24, 30};

enum { BLOCKS_MAX = 64, FOREIGN_CODEC = LSMKV_CODEC_COUNT };

/* The parts of a tail with one index block. */
typedef struct tail_parts {
    lsm_footer footer;
    lsm_properties properties;
    lsm_buf filter;
    lsm_buf separators[BLOCKS_MAX];
    lsm_block_handle handles[BLOCKS_MAX];
    size_t block_count;
    lsm_block_type filter_type;
    uint8_t filter_codec;
    size_t gaps[4]; /* zeros before filter, index, properties and footer */
    bool malformed; /* the properties */
} tail_parts;

static void take_apart(table_fixture *f, tail_parts *parts) {
    const uint8_t *data = NULL;
    lsm_block_cursor cursor = {0};
    const lsm_footer *footer = &parts->footer;
    lsmkv_error err;
    size_t size = 0;

    memset(parts, 0, sizeof(*parts));
    parts->filter_type = LSM_BLOCK_FILTER;
    CHECK(lsm_sim_file_read(f->env, SIM_PATH, TABLE_NAME, &data, &size));
    CHECK_OK(lsm_footer_decode(data + size - LSM_FOOTER_SIZE, size, TABLE_NAME,
                               &parts->footer, &err));
    CHECK(lsm_buf_append(&parts->filter, data + footer->filter.offset,
                         footer->filter.size));
    CHECK(lsm_properties_decode(
        lsm_slice_make(data + footer->properties.offset, footer->properties.size),
        &parts->properties));
    lsm_block_cursor_open(
        &cursor, lsm_slice_make(data + footer->index.offset, footer->index.size));
    while (lsm_block_cursor_next(&cursor)) {
        size_t i = parts->block_count++;

        CHECK(i < BLOCKS_MAX);
        CHECK(lsm_buf_append(&parts->separators[i], cursor.key.data, cursor.key.size));
        CHECK(lsm_block_handle_decode(cursor.field, &parts->handles[i]));
    }
    CHECK(!cursor.corrupt);
    CHECK_EQ(parts->block_count, parts->properties.data_block_count);
    lsm_block_cursor_deinit(&cursor);
}

static void put_block_as(lsm_buf *file, lsm_slice payload, lsm_block_frame frame,
                         lsm_block_handle *handle) {
    *handle = (lsm_block_handle){file->size, payload.size};
    CHECK(lsm_buf_append(file, payload.data, payload.size));
    CHECK(lsm_buf_append_zeros(file, LSM_BLOCK_FRAME_SIZE));
    lsm_block_frame_seal(file->data + handle->offset, payload.size, frame,
                         TABLE_FILE_ID, handle->offset);
}

static void put_block(lsm_buf *file, lsm_slice payload, lsm_block_type type,
                      lsm_block_handle *handle) {
    put_block_as(file, payload, (lsm_block_frame){(uint32_t)payload.size, 0, type},
                 handle);
}

/* Writes the file again with these parts, and tells the MANIFEST its sizes. */
static void put_together(table_fixture *f, tail_parts *parts) {
    const uint8_t *data = NULL;
    lsm_block_builder index;
    lsm_buf properties = {0};
    lsm_buf file = {0};
    size_t size = 0;

    CHECK(lsm_sim_file_read(f->env, SIM_PATH, TABLE_NAME, &data, &size));
    CHECK(lsm_buf_append(&file, data, parts->footer.tail_offset));
    lsm_block_frame filter = {(uint32_t)parts->filter.size, parts->filter_codec,
                              parts->filter_type};
    CHECK(lsm_buf_append_zeros(&file, parts->gaps[0]));
    put_block_as(&file, lsm_buf_slice(&parts->filter), filter, &parts->footer.filter);
    CHECK(lsm_buf_append_zeros(&file, parts->gaps[1]));
    lsm_block_builder_init(&index);
    for (size_t i = 0; i < parts->block_count; i++) {
        uint8_t encoded[LSM_BLOCK_HANDLE_SIZE_MAX];
        size_t bytes = lsm_block_handle_encode(parts->handles[i], encoded);

        CHECK(lsm_block_builder_add(&index, lsm_buf_slice(&parts->separators[i]),
                                    lsm_slice_make(encoded, bytes)) == LSMKV_OK);
    }
    put_block(&file, lsm_block_builder_finish(&index), LSM_BLOCK_INDEX,
              &parts->footer.index);
    CHECK(lsm_properties_encode(&parts->properties, &properties));
    properties.size -= parts->malformed;
    CHECK(lsm_buf_append_zeros(&file, parts->gaps[2]));
    put_block(&file, lsm_buf_slice(&properties), LSM_BLOCK_PROPERTIES,
              &parts->footer.properties);
    CHECK(lsm_buf_append_zeros(&file, parts->gaps[3] + LSM_FOOTER_SIZE));
    lsm_footer_encode(&parts->footer, file.data + file.size - LSM_FOOTER_SIZE);
    CHECK(lsm_sim_file_write(f->env, SIM_PATH, TABLE_NAME, file.data, file.size));
    f->info.file_size = file.size;
    f->info.tail_size = file.size - parts->footer.tail_offset;
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        lsm_buf_deinit(&parts->separators[i]);
    }
    lsm_buf_deinit(&parts->filter);
    lsm_buf_deinit(&properties);
    lsm_buf_deinit(&file);
    lsm_block_builder_deinit(&index);
}

static void begin_small(table_fixture *f, tail_parts *parts) {
    fixture_begin(f, 0);
    f->options.block_bytes = 80;
    fixture_fill(f, 21, &small);
    take_apart(f, parts);
    CHECK(parts->block_count > 5);
}

static void count_problem(void *context, const lsmkv_error *problem) {
    CHECK_EQ(problem->status, LSMKV_CORRUPTION);
    ++*(size_t *)context;
}

static size_t verify(table_fixture *f) {
    lsm_table *table = fixture_open(f);
    lsmkv_report report = {0};
    size_t problems = 0;

    lsm_table_verify(table, count_problem, &problems, &report);
    lsm_table_unref(table);
    return problems;
}

/* Reads everything through an iterator. */
static lsmkv_status scan(table_fixture *f, size_t *count) {
    lsm_table *table = fixture_open(f);
    lsm_iter *iter = lsm_table_iter(table, LSM_ACCESS_SCAN);
    lsmkv_status status;

    CHECK(iter != NULL);
    *count = 0;
    for (lsm_iter_seek_first(iter); iter->valid; lsm_iter_next(iter)) {
        ++*count;
    }
    status = iter->status;
    lsm_iter_destroy(iter);
    lsm_table_unref(table);
    return status;
}

LSM_TEST(forged_table_put_together_unchanged_is_sound) {
    table_fixture f;
    tail_parts parts;
    size_t count = 0;

    begin_small(&f, &parts);
    put_together(&f, &parts);
    CHECK_EQ(scan(&f, &count), LSMKV_OK);
    CHECK_EQ(count, f.set.count);
    CHECK_EQ(verify(&f), 0);
    fixture_end(&f);
}

LSM_TEST(forged_index_that_does_not_tile_the_data_does_not_open) {
    for (int what = 0; what < 7; what++) {
        table_fixture f;
        tail_parts parts;
        lsm_table *table;
        lsmkv_error err;
        size_t last;

        begin_small(&f, &parts);
        last = parts.block_count - 1;
        if (what == 0) { /* a gap, an overlap, a block too short, too long */
            parts.handles[2].offset++;
        } else if (what == 1) {
            parts.handles[2].offset--;
        } else if (what == 2) {
            parts.handles[last].size--;
        } else if (what == 3) {
            parts.handles[last].size = UINT64_MAX - 5;
        } else if (what == 4) { /* a block left out at the end */
            parts.block_count--;
            parts.properties.data_block_count--;
        } else if (what == 5) { /* the same, and the last separator moved there */
            lsm_buf_deinit(&parts.separators[last - 1]);
            parts.separators[last - 1] = parts.separators[last];
            parts.separators[last] = (lsm_buf){0};
            parts.block_count--;
            parts.properties.data_block_count--;
        } else { /* a wrong number of blocks */
            parts.properties.data_block_count++;
        }
        put_together(&f, &parts);
        CHECK_STATUS(lsm_table_open(&f.context, &f.info, &table, &err),
                     LSMKV_CORRUPTION);
        fixture_end(&f);
    }
}

/* The least internal key above `key` that is easily made. */
static void make_next(lsm_buf *to, const lsm_buf *key) {
    uint64_t trailer = lsm_ikey_trailer(lsm_buf_slice(key));

    lsm_buf_clear(to);
    CHECK(lsm_buf_append(to, key->data, key->size - LSM_TRAILER_SIZE));
    if (lsm_trailer_sequence(trailer) == 0) {
        CHECK(lsm_buf_append_u8(to, 0));
        CHECK(lsm_buf_append_u64(to, trailer));
    } else {
        CHECK(lsm_buf_append_u64(to, trailer - (1 << 8)));
    }
}

LSM_TEST(forged_separator_below_its_block_is_found_out_when_that_is_scanned) {
    for (size_t block = 1; block < 6; block++) {
        table_fixture f;
        tail_parts parts;
        size_t count = 0;

        begin_small(&f, &parts);
        make_next(&parts.separators[block], &parts.separators[block - 1]);
        put_together(&f, &parts);
        CHECK_EQ(scan(&f, &count), LSMKV_CORRUPTION);
        CHECK(count > 0 && count < f.set.count);
        CHECK(verify(&f) > 0);
        fixture_end(&f);
    }
}

LSM_TEST(forged_smallest_key_is_found_out_when_the_first_block_is_read) {
    static const uint8_t lowest[LSM_IKEY_SIZE_MIN] = {0, 0, 0, 0, LSM_KIND_PUT};
    table_fixture f;
    tail_parts parts;
    size_t count = 0;

    begin_small(&f, &parts);
    put_together(&f, &parts);
    f.info.smallest = lsm_slice_make(lowest, sizeof(lowest));
    CHECK_EQ(scan(&f, &count), LSMKV_CORRUPTION);
    CHECK_EQ(count, 0);
    CHECK(verify(&f) > 0);
    fixture_end(&f);
}

LSM_TEST(forged_count_of_entries_makes_a_scan_fail_at_its_end) {
    table_fixture f;
    tail_parts parts;
    size_t count = 0;

    begin_small(&f, &parts);
    parts.properties.entry_count++;
    put_together(&f, &parts);
    f.info.entry_count++;
    CHECK_EQ(scan(&f, &count), LSMKV_CORRUPTION);
    CHECK_EQ(count, f.set.count);
    CHECK_EQ(verify(&f), 1);
    fixture_end(&f);
}

LSM_TEST(forged_bounds_of_sequences_are_found_by_verify) {
    for (int low = 0; low < 2; low++) {
        table_fixture f;
        tail_parts parts;

        begin_small(&f, &parts);
        parts.properties.sequence_min += low == 1;
        parts.properties.sequence_max -= low == 0;
        f.info.sequence_min += low == 1;
        f.info.sequence_max -= low == 0;
        put_together(&f, &parts);
        CHECK(verify(&f) > 0);
        fixture_end(&f);
    }
}

LSM_TEST(forged_filter_that_denies_keys_is_found_by_verify) {
    table_fixture f;
    tail_parts parts;

    begin_small(&f, &parts);
    memset(parts.filter.data, 0, parts.filter.size - LSM_BLOOM_TRAILER_SIZE);
    put_together(&f, &parts);
    CHECK_EQ(verify(&f), f.set.count);
    fixture_end(&f);
}

static void check_refused(table_fixture *f, const char *what) {
    lsm_table *table = NULL;
    lsmkv_error err;

    CHECK_STATUS(lsm_table_open(&f->context, &f->info, &table, &err), LSMKV_CORRUPTION);
    CHECK(table == NULL && strcmp(err.file, TABLE_NAME) == 0);
    if (strstr(err.message, what) == NULL) {
        lsm_test_fail(__FILE__, __LINE__, "\"%s\" is not about %s", err.message, what);
    }
}

LSM_TEST(forged_tail_with_gaps_or_other_blocks_does_not_open) {
    static const char *const what[] = {
        "end to end",
        "does not lie behind",
        "end to end",
        "end to end",
        "checksum of the filter",
        "checksum of the filter",
        "malformed filter",
        "malformed properties",
        "expected id",
        "range deletes are missing",
        "a tail of",
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(what); i++) {
        table_fixture f;
        tail_parts parts;

        begin_small(&f, &parts);
        if (i < 4) {
            parts.gaps[i] = 3;
        }
        parts.filter_type = i == 4 ? LSM_BLOCK_DATA : LSM_BLOCK_FILTER;
        parts.filter_codec = i == 5;
        parts.filter.size -= i == 6;
        parts.malformed = i == 7;
        parts.footer.number += i == 8;
        parts.properties.range_delete_count = i == 9;
        f.info.range_delete_count = i == 9;
        put_together(&f, &parts);
        f.info.tail_size += i == 10 ? f.info.file_size : 0;
        check_refused(&f, what[i]);
        fixture_end(&f);
    }
}

LSM_TEST(a_table_of_the_database_that_this_is_a_copy_of_opens) {
    static uint8_t origins[1][LSM_UUID_SIZE];
    table_fixture f;
    tail_parts parts;
    size_t count = 0;

    begin_small(&f, &parts);
    memcpy(origins[0], f.context.uuid, LSM_UUID_SIZE);
    put_together(&f, &parts);
    f.context.uuid[0]++;
    check_refused(&f, "another database");
    f.context.origins = (lsm_uuids){(const uint8_t (*)[LSM_UUID_SIZE])origins, 1};
    CHECK_EQ(scan(&f, &count), LSMKV_OK);
    CHECK_EQ(count, f.set.count);
    fixture_end(&f);
}

static void flip_bit(table_fixture *f, size_t at, unsigned bit) {
    const uint8_t *data = NULL;
    size_t size = 0;

    CHECK(lsm_sim_file_read(f->env, SIM_PATH, TABLE_NAME, &data, &size));
    uint8_t *copy = lsm_alloc(size);
    CHECK(copy != NULL);
    memcpy(copy, data, size);
    copy[at] ^= (uint8_t)(1u << bit);
    CHECK(lsm_sim_file_write(f->env, SIM_PATH, TABLE_NAME, copy, size));
    lsm_free(copy);
}

/* Seals the second data block again, as something else. */
static void forge_block(table_fixture *f, const tail_parts *parts,
                        lsm_block_frame frame, bool zeros) {
    const uint8_t *data = NULL;
    size_t size = 0;
    lsm_block_handle handle = parts->handles[1];

    CHECK(lsm_sim_file_read(f->env, SIM_PATH, TABLE_NAME, &data, &size));
    uint8_t *copy = lsm_alloc(size);
    CHECK(copy != NULL);
    memcpy(copy, data, size);
    if (zeros) {
        memset(copy + handle.offset, 0, (size_t)handle.size);
    }
    lsm_block_frame_seal(copy + handle.offset, (size_t)handle.size, frame,
                         TABLE_FILE_ID, handle.offset);
    CHECK(lsm_sim_file_write(f->env, SIM_PATH, TABLE_NAME, copy, size));
    lsm_free(copy);
}

static void refuse_large(size_t size) {
    CHECK(size < LSM_BLOCK_RAW_SIZE_MAX / 2);
}

LSM_TEST(forged_data_block_is_found_out_when_it_is_read) {
    static const struct {
        lsm_block_type type;
        uint8_t codec;
        bool zeros;
        lsmkv_status status;
    } cases[] = {
        {LSM_BLOCK_DATA, 0, false, LSMKV_OK},
        {LSM_BLOCK_DATA, 0, true, LSMKV_CORRUPTION},
        {LSM_BLOCK_INDEX, 0, false, LSMKV_CORRUPTION},
        {LSM_BLOCK_DATA, DEAD_CODEC, true, LSMKV_CORRUPTION},
        {LSM_BLOCK_DATA, FOREIGN_CODEC, true, LSMKV_UNSUPPORTED_VERSION},
    };

    dead_register_codec();
    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        table_fixture f;
        tail_parts parts;
        size_t count = 0;

        begin_small(&f, &parts);
        lsm_block_frame frame = {(uint32_t)parts.handles[1].size, cases[i].codec,
                                 cases[i].type};
        put_together(&f, &parts);
        forge_block(&f, &parts, frame, cases[i].zeros);
        CHECK_EQ(scan(&f, &count), cases[i].status);
        if (cases[i].status != LSMKV_UNSUPPORTED_VERSION) {
            CHECK_EQ(verify(&f) == 0, cases[i].status == LSMKV_OK);
        }
        fixture_end(&f);
    }
}

LSM_TEST(forged_size_of_a_block_before_its_codec_asks_for_no_memory) {
    table_fixture f;
    tail_parts parts;
    size_t count = 0;

    dead_register_codec();
    begin_small(&f, &parts);
    put_together(&f, &parts);
    forge_block(&f, &parts,
                (lsm_block_frame){LSM_BLOCK_RAW_SIZE_MAX, DEAD_CODEC, LSM_BLOCK_DATA},
                true);
    lsm_alloc_set_watch(refuse_large);
    CHECK_EQ(scan(&f, &count), LSMKV_CORRUPTION);
    CHECK(verify(&f) != 0);
    lsm_alloc_set_watch(NULL);
    fixture_end(&f);
}

/* Gets the first key of the table. */
static lsmkv_status get_first(table_fixture *f, lsmkv_error *err) {
    lsm_table *table = NULL;
    lsm_found found = {0};
    lsmkv_status status = lsm_table_open(&f->context, &f->info, &table, err);

    if (status == LSMKV_OK) {
        lsm_epoch_token token = lsm_epoch_enter(&f->epoch);
        lsm_lookup lookup =
            lsm_lookup_make(row_skey(&f->set.rows[0]), LSM_SEQUENCE_MAX);
        status = lsm_table_get(table, &lookup, false, &found, err);
        CHECK(status != LSMKV_OK ||
              lsm_slice_equal(found.field, row_field(&f->set.rows[0])));
        lsm_epoch_leave(token);
    }
    lsm_table_unref(table);
    lsm_epoch_poll(&f->epoch);
    return status;
}

/* A table whose blocks, large ones, the codec makes much smaller. */
static void begin_runs(table_fixture *f, uint32_t codec) {
    static const row_shape shape = {20, 6, 3, 4, 60, 1000};
    lsm_rng rng = {5};

    dead_register_codec();
    fixture_begin(f, 1 << 20);
    f->options.codec = codec;
    f->options.block_bytes = 16 << 10; /* one that is read into memory of its own */
    f->set = rows_make(&rng, &shape);
    for (size_t i = 0; i < f->set.count; i++) {
        row *r = &f->set.rows[i];
        if (r->field_size != 0) {
            lsm_free(r->field);
            r->field_size = 1000;
            r->field = lsm_alloc(r->field_size);
            CHECK(r->field != NULL);
            memset(r->field, (int)i, r->field_size);
        }
    }
    fixture_write(f);
}

LSM_TEST(a_read_that_lacks_memory_says_so) {
    for (uint32_t codec = 0; codec <= DEAD_CODEC; codec += DEAD_CODEC) {
        table_fixture f;
        uint64_t at = 0;
        uint64_t count;
        lsmkv_error err;

        begin_runs(&f, codec);
        do {
            CHECK(at < 1000);
            count = lsm_alloc_count();
            lsm_alloc_fail_after(at, 0);
            lsmkv_status status = get_first(&f, &err);
            lsm_alloc_fail_never();
            count = lsm_alloc_count() - count;
            CHECK(status == LSMKV_OK || (count > at && status == LSMKV_NO_MEMORY));
        } while (count > at++);
        CHECK_STATUS(get_first(&f, &err), LSMKV_OK);
        fixture_end(&f);
    }
}

/* What a table says of itself bounds what a block may ask for; totals beyond all
 * arithmetic, which a MANIFEST and a footer may agree on, bound nothing. */
LSM_TEST(totals_bound_what_a_compressed_block_may_ask_for) {
    static const struct {
        uint64_t entries, bytes;
        lsmkv_status status;
    } cases[] = {
        {1, 1, LSMKV_CORRUPTION},
        {UINT64_MAX, 1, LSMKV_OK},
        {1, UINT64_MAX, LSMKV_OK},
    };
    table_fixture f;
    lsmkv_error err;

    begin_runs(&f, DEAD_CODEC);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        lsm_table *table = fixture_open(&f);
        lsm_epoch_token token = lsm_epoch_enter(&f.epoch);
        lsm_lookup lookup = lsm_lookup_make(row_skey(&f.set.rows[0]), LSM_SEQUENCE_MAX);
        lsm_found found = {0};

        table->info.entry_count = cases[i].entries;
        table->info.raw_bytes = cases[i].bytes;
        CHECK_STATUS(lsm_table_get(table, &lookup, false, &found, &err),
                     cases[i].status);
        lsm_epoch_leave(token);
        lsm_table_unref(table);
        lsm_epoch_poll(&f.epoch);
    }
    fixture_end(&f);
}

LSM_TEST(a_table_that_is_gone_is_damage_or_the_work_of_a_writer) {
    table_fixture f;
    tail_parts parts;
    lsm_table *table = NULL;
    lsmkv_error err;

    begin_small(&f, &parts);
    put_together(&f, &parts);
    CHECK(lsm_sim_file_remove(f.env, SIM_PATH, TABLE_NAME));
    check_refused(&f, "the file is missing");
    f.context.read_only = true;
    CHECK_STATUS(lsm_table_open(&f.context, &f.info, &table, &err), LSMKV_CHANGED);
    CHECK(table == NULL);
    fixture_end(&f);
}

/* Every bit of a data block changed, under a checksum that holds. */
LSM_TEST(forged_entries_are_found_out_or_harmless) {
    table_fixture f;
    tail_parts parts;
    size_t count = 0;
    size_t refused = 0;

    begin_small(&f, &parts);
    lsm_block_handle handle = parts.handles[1];
    lsm_block_frame frame = {(uint32_t)handle.size, 0, LSM_BLOCK_DATA};
    put_together(&f, &parts);
    for (uint64_t bit = 0; bit < handle.size * 8; bit++) {
        size_t at = (size_t)(handle.offset + bit / 8);
        flip_bit(&f, at, (unsigned)(bit % 8));
        forge_block(&f, &parts, frame, false);
        lsmkv_status status = scan(&f, &count);
        CHECK(status == LSMKV_CORRUPTION || count == f.set.count);
        refused += status == LSMKV_CORRUPTION;
        CHECK(status == LSMKV_OK || verify(&f) > 0);
        flip_bit(&f, at, (unsigned)(bit % 8));
    }
    forge_block(&f, &parts, frame, false);
    CHECK_EQ(scan(&f, &count), LSMKV_OK);
    CHECK(refused > handle.size);
    fixture_end(&f);
}

/* By which a table is dropped without being read. */
LSM_TEST(a_forged_end_of_all_values_is_found_by_verify) {
    table_fixture f;
    tail_parts parts;

    begin_small(&f, &parts);
    put_together(&f, &parts);
    CHECK_EQ(verify(&f), 0);
    f.info.expire_all_at = 1;
    CHECK_EQ(verify(&f), f.set.count);
    fixture_end(&f);
}

LSM_TEST(forged_totals_are_found_by_verify) {
    for (int what = 0; what < 3; what++) {
        lsmkv_report report = {0};
        table_fixture f;
        tail_parts parts;

        begin_small(&f, &parts);
        parts.properties.tombstone_count += what == 0;
        parts.properties.value_bytes += what == 1;
        parts.properties.entry_count += what == 2;
        f.info.tombstone_count += what == 0;
        f.info.raw_bytes += what == 1;
        f.info.entry_count += what == 2;
        put_together(&f, &parts);
        CHECK_EQ(verify(&f), 1);
        lsm_table *table = fixture_open(&f);
        lsm_table_verify(table, NULL, NULL, &report); /* nobody listens */
        CHECK_EQ(report.problem_count, 1);
        lsm_table_unref(table);
        fixture_end(&f);
    }
}
