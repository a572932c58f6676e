/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: an inspection of a table shows every block and entry or says why not, also
 * where it lacks memory, the device fails, or the parts contradict each other under
 * good checksums. Method: tables with an index of two levels, with a codec, with range
 * deletes, of several windows; each byte of the tail and each allocation and read fails
 * in turn; tails that are written again with one thing changed.
 */
#include "inspect_help.h"
#include "table_fixture.h"

#include <errno.h>

#include "base/buf.h"
#include "format/footer.h"
#include "runs_codec.h"

enum { TABLE_CODEC = 3, FAILURES_MAX = 2000, KIND_COUNT = 5 };

static const lsmkv_inspect_how all = {.entries = true};
static bool context_missing;

static void *create_context(int level) {
    return context_missing ? NULL : runs_create(level);
}

static void register_codec(void) {
    static const lsmkv_codec codec = {.id = TABLE_CODEC,
                                      .name = "runs of a table",
                                      .create = create_context,
                                      .destroy = runs_destroy,
                                      .bound = runs_bound,
                                      .compress = runs_compress,
                                      .decompress = runs_decompress};
    lsmkv_error err;

    CHECK_OK(lsmkv_register_codec(&codec, &err));
}

/* Keys whose values a codec for runs makes smaller. */
static void add_rows(lsm_table_writer *writer, size_t count, size_t value_size) {
    lsmkv_error err;
    uint8_t *value = lsm_calloc(1, value_size);

    CHECK(value != NULL);
    for (size_t i = 0; i < count; i++) {
        uint8_t ikey[LSM_IKEY_SIZE_MIN + 8];
        lsm_put_u32_be(ikey, LSM_NAMESPACE_DEFAULT);
        lsm_put_u32_be(ikey + LSM_NAMESPACE_SIZE, (uint32_t)i);
        lsm_put_u32_be(ikey + LSM_NAMESPACE_SIZE + 4, 0);
        lsm_put_u64(ikey + LSM_NAMESPACE_SIZE + 8,
                    lsm_trailer_make(i + 1, LSM_KIND_PUT));
        value[i % value_size] = (uint8_t)i;
        CHECK_OK(lsm_table_writer_add(writer, lsm_slice_make(ikey, sizeof(ikey)),
                                      lsm_slice_make(value, value_size), &err));
    }
    lsm_free(value);
}

/* Two that overlap, so that one fragment has two sequences. */
static void add_ranges(lsm_table_writer *writer) {
    lsm_tombstone items[] = {
        {lsm_slice_make("\0\0\0\1a", 5), lsm_slice_make("\0\0\0\1c", 5), 900},
        {lsm_slice_make("\0\0\0\1b", 5), lsm_slice_make("\0\0\0\1d", 5), 901}};
    lsm_range_set *set = lsm_range_set_build(items, 2, NULL);
    lsmkv_error err;

    CHECK(set != NULL && set->count == 3);
    for (size_t i = 0; i < set->count; i++) {
        lsm_range_span span = lsm_range_span_of(set, i);
        CHECK_OK(lsm_table_writer_add_range(writer, &span, &err));
    }
    lsm_range_set_destroy(set);
}

typedef struct table_kind {
    size_t rows;
    size_t value_size;
    uint32_t index_block_bytes;
    uint32_t bloom_bits;
    uint32_t codec;
    bool ranges;
} table_kind;

static const table_kind kinds[KIND_COUNT] = {
    {60, 60, 64, 10, 0, true},
    {60, 24, 64, 0, TABLE_CODEC, false},
    {15, 100, 4096, 10, TABLE_CODEC, true}, /* 16 blocks before the filter */
    {12, 24, 4096, 0, 0, false},
    {0, 1, 4096, 0, 0, true}, /* range deletes alone */
};

static void make_table(table_fixture *f, const table_kind *kind) {
    lsm_table_writer *writer = NULL;
    lsm_table_info info;
    lsmkv_error err;

    register_codec();
    fixture_begin(f, 0);
    f->options.block_bytes = 80;
    f->options.index_block_bytes = kind->index_block_bytes;
    f->options.bloom_bits_per_key = kind->bloom_bits;
    f->options.codec = kind->codec;
    CHECK_OK(lsm_table_writer_create(f->dir, TABLE_NUMBER, &f->options, &writer, &err));
    add_rows(writer, kind->rows, kind->value_size);
    if (kind->ranges) {
        add_ranges(writer);
    }
    CHECK_OK(lsm_table_writer_finish(writer, &info, &err));
    lsm_table_writer_destroy(writer);
}

/* A copy of the table, to be changed. */
static lsm_buf take_bytes(const table_fixture *f) {
    const uint8_t *data = NULL;
    lsm_buf bytes = {0};
    size_t size = 0;

    CHECK(lsm_sim_file_read(f->env, SIM_PATH, TABLE_NAME, &data, &size));
    CHECK(lsm_buf_append(&bytes, data, size));
    return bytes;
}

static void put_bytes(const table_fixture *f, const lsm_buf *bytes) {
    CHECK(lsm_sim_file_write(f->env, SIM_PATH, TABLE_NAME, bytes->data, bytes->size));
}

static lsm_footer footer_of(const lsm_buf *bytes) {
    lsm_footer footer;
    lsmkv_error err;

    CHECK_OK(lsm_footer_decode(bytes->data + bytes->size - LSM_FOOTER_SIZE, bytes->size,
                               TABLE_NAME, &footer, &err));
    return footer;
}

static void seal(lsm_buf *bytes, lsm_block_handle handle, lsm_block_frame frame) {
    lsm_block_frame_seal(bytes->data + handle.offset, (size_t)handle.size, frame,
                         TABLE_FILE_ID, handle.offset);
}

LSM_TEST(inspection_of_a_table_without_memory_leaves_out_nothing) {
    for (size_t kind = 0; kind < KIND_COUNT; kind++) {
        lsmkv_status status = LSMKV_NO_MEMORY;
        table_fixture f;

        make_table(&f, &kinds[kind]);
        lsm_sim_exempt_memory(f.env);
        seen whole = look_at(f.env, TABLE_NAME, &all);
        CHECK(whole.damage == 0 && whole.entries >= kinds[kind].rows);
        for (uint64_t n = 0; status != LSMKV_NOT_FOUND; n++) {
            lsmkv_error err;
            seen s;
            CHECK(n < FAILURES_MAX);
            lsm_error_clear(&err);
            lsm_alloc_fail_after(n, 0);
            status = look(f.env, TABLE_NAME, &all, &s, &err);
            lsm_alloc_fail_never();
            CHECK(status == LSMKV_NOT_FOUND || status == LSMKV_NO_MEMORY);
            CHECK(status == LSMKV_NO_MEMORY || s.parts == whole.parts);
        }
        fixture_end(&f);
    }
}

LSM_TEST(inspection_of_a_damaged_tail_shows_the_data) {
    for (size_t kind = 0; kind < KIND_COUNT; kind++) {
        table_fixture f;

        make_table(&f, &kinds[kind]);
        lsm_buf bytes = take_bytes(&f);
        uint64_t tail = footer_of(&bytes).tail_offset;
        for (uint64_t at = tail; at < bytes.size - LSM_FOOTER_SIZE; at += 3) {
            bytes.data[at] ^= 1;
            put_bytes(&f, &bytes);
            seen s = look_at(f.env, TABLE_NAME, &all);
            CHECK(s.damage > 0 && s.at == bytes.size);
            CHECK(s.damage_at <= at && s.damage_at >= tail);
            bytes.data[at] ^= 1;
        }
        lsm_buf_deinit(&bytes);
        fixture_end(&f);
    }
}

LSM_TEST(inspection_of_a_table_of_many_windows_says_which_read_failed) {
    static const table_kind large = {40, 9000, 64, 10, 0, true};
    lsmkv_status status = LSMKV_IO_ERROR;
    table_fixture f;

    make_table(&f, &large);
    seen whole = look_at(f.env, TABLE_NAME, &all);
    CHECK(whole.damage == 0 && whole.entries > 2 * large.rows && whole.at > 5 << 16);
    for (uint64_t n = 0; status != LSMKV_NOT_FOUND; n++) {
        lsmkv_error err;
        seen s;
        CHECK(n < FAILURES_MAX);
        lsm_error_clear(&err);
        lsm_sim_fail(f.env, LSM_SIM_READ, n, EACCES, false);
        status = look(f.env, TABLE_NAME, &all, &s, &err);
        lsm_sim_fail(f.env, LSM_SIM_READ, 0, 0, false);
        CHECK(status == LSMKV_NOT_FOUND ? s.parts == whole.parts
                                        : err.os_errno == EACCES);
        CHECK(n > 5 || status == LSMKV_IO_ERROR);
    }
    for (uint64_t n = 0; n < 4; n++) {
        lsm_sim_fail(f.env, LSM_SIM_READ, n, EIO, true);
        seen s = look_at(f.env, TABLE_NAME, &all);
        lsm_sim_fail(f.env, LSM_SIM_READ, 0, 0, false);
        CHECK(s.damage > 0 && s.at == whole.at && s.entries < whole.entries);
    }
    fixture_end(&f);
}

LSM_TEST(inspection_says_each_number_of_the_properties_that_is_wrong) {
    static const size_t places[] = {offsetof(lsm_properties, data_block_count),
                                    offsetof(lsm_properties, entry_count),
                                    offsetof(lsm_properties, tombstone_count),
                                    offsetof(lsm_properties, key_bytes),
                                    offsetof(lsm_properties, value_bytes),
                                    offsetof(lsm_properties, range_delete_count)};
    table_fixture f;

    make_table(&f, &kinds[0]);
    lsm_buf bytes = take_bytes(&f);
    lsm_footer footer = footer_of(&bytes);
    lsm_slice payload = lsm_slice_make(bytes.data + footer.properties.offset,
                                       (size_t)footer.properties.size);
    seen whole = look_at(f.env, TABLE_NAME, &all);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(places); i++) {
        lsm_properties properties;
        lsm_buf encoded = {0};
        lsm_buf changed = {0};
        CHECK(lsm_properties_decode(payload, &properties));
        *(uint64_t *)(void *)((uint8_t *)&properties + places[i]) += 1;
        CHECK(lsm_properties_encode(&properties, &encoded));
        lsm_footer moved = footer;
        moved.properties.size = encoded.size;
        CHECK(lsm_buf_append(&changed, bytes.data, (size_t)footer.properties.offset));
        CHECK(lsm_buf_append(&changed, encoded.data, encoded.size));
        CHECK(lsm_buf_append_zeros(&changed, LSM_BLOCK_FRAME_SIZE + LSM_FOOTER_SIZE));
        seal(&changed, moved.properties,
             (lsm_block_frame){(uint32_t)encoded.size, 0, LSM_BLOCK_PROPERTIES});
        lsm_footer_encode(&moved, changed.data + changed.size - LSM_FOOTER_SIZE);
        put_bytes(&f, &changed);
        seen s = look_at(f.env, TABLE_NAME, &all);
        CHECK_EQ(s.damage, 1);
        CHECK_EQ(s.damage_at, footer.properties.offset);
        CHECK_EQ(s.parts, whole.parts + 1);
        lsm_buf_deinit(&encoded);
        lsm_buf_deinit(&changed);
    }
    lsm_buf_deinit(&bytes);
    fixture_end(&f);
}

/* The "remark" or "problem" of the first part that has one; how the search for it
 * ended. */
static lsmkv_status find_text(const table_fixture *f, char *to, size_t size) {
    lsmkv_inspection *inspection = NULL;
    lsmkv_part part;
    lsmkv_error err;

    lsmkv_status status;

    to[0] = '\0';
    CHECK_OK(lsm_inspect_open(f->env, SIM_PATH, TABLE_NAME, &all, &inspection, &err));
    while ((status = lsm_inspect_next(inspection, &part, &err)) == LSMKV_OK &&
           to[0] == '\0') {
        const lsmkv_fact *last = &part.facts[part.fact_count - 1];
        if (part.fact_count > 0 && last->form == LSMKV_FACT_TEXT) {
            CHECK(last->bytes.size < size);
            memcpy(to, last->bytes.data, last->bytes.size);
            to[last->bytes.size] = '\0';
        }
    }
    lsm_inspect_free(inspection);
    return status;
}

LSM_TEST(inspection_decompresses_what_is_in_proportion) {
    static const table_kind one = {1, 100000, 4096, 10, 0, false};
    static const struct {
        uint32_t raw_size;
        uint8_t codec;
        bool context_missing;
        lsmkv_status status;
        const char *text;
    } cases[] = {
        {26 << 20, TABLE_CODEC, false, LSMKV_OK, "not decompressed: out of proportion"},
        {20 << 20, TABLE_CODEC, false, LSMKV_OK, "codec runs of a table"},
        {20 << 20, 77, false, LSMKV_OK, "codec 77 "},
        /* What failed does not go on to be used. */
        {20 << 20, TABLE_CODEC, true, LSMKV_NO_MEMORY, ""},
    };
    char found[256];
    table_fixture f;

    make_table(&f, &one);
    lsm_buf bytes = take_bytes(&f);
    lsm_footer footer = footer_of(&bytes);
    lsm_block_handle data = {0, footer.tail_offset - LSM_BLOCK_FRAME_SIZE};
    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        seal(&bytes, data,
             (lsm_block_frame){cases[i].raw_size, cases[i].codec, LSM_BLOCK_DATA});
        put_bytes(&f, &bytes);
        context_missing = cases[i].context_missing;
        CHECK_STATUS(find_text(&f, found, sizeof(found)), cases[i].status);
        context_missing = false;
        CHECK(strncmp(found, cases[i].text, strlen(cases[i].text)) == 0);
        CHECK((found[0] == '\0') == cases[i].context_missing);
    }
    lsm_buf_deinit(&bytes);
    fixture_end(&f);
}

/* Writes the table, which has neither filter nor range deletes, with an index that has
 * lost its first entry. */
static void forget_block(const table_fixture *f) {
    lsm_buf bytes = take_bytes(f);
    lsm_footer footer = footer_of(&bytes);
    lsm_buf changed = {0};
    lsm_block_builder index;
    lsm_block_cursor cursor = {0};
    const uint8_t *old = bytes.data + footer.index.offset;
    size_t rest = bytes.size - LSM_FOOTER_SIZE - (size_t)footer.properties.offset;

    lsm_block_builder_init(&index);
    lsm_block_cursor_open(&cursor, lsm_slice_make(old, (size_t)footer.index.size));
    CHECK(lsm_block_cursor_next(&cursor));
    while (lsm_block_cursor_next(&cursor)) {
        CHECK_EQ(
            lsm_block_builder_add(&index, lsm_buf_slice(&cursor.key), cursor.field),
            LSMKV_OK);
    }
    lsm_slice entries = lsm_block_builder_finish(&index);
    CHECK(lsm_buf_append(&changed, bytes.data, (size_t)footer.index.offset));
    CHECK(lsm_buf_append(&changed, entries.data, entries.size));
    CHECK(lsm_buf_append_zeros(&changed, LSM_BLOCK_FRAME_SIZE));
    footer.index.size = entries.size;
    seal(&changed, footer.index,
         (lsm_block_frame){(uint32_t)entries.size, 0, LSM_BLOCK_INDEX});
    const uint8_t *properties = bytes.data + footer.properties.offset;
    footer.properties.offset = changed.size;
    CHECK(lsm_buf_append(&changed, properties, rest));
    seal(&changed, footer.properties,
         (lsm_block_frame){(uint32_t)footer.properties.size, 0, LSM_BLOCK_PROPERTIES});
    CHECK(lsm_buf_append_zeros(&changed, LSM_FOOTER_SIZE));
    lsm_footer_encode(&footer, changed.data + changed.size - LSM_FOOTER_SIZE);
    put_bytes(f, &changed);
    lsm_block_cursor_deinit(&cursor);
    lsm_block_builder_deinit(&index);
    lsm_buf_deinit(&changed);
    lsm_buf_deinit(&bytes);
}

LSM_TEST(inspection_of_an_index_that_leaves_out_a_block_calls_it_damage) {
    table_fixture f;

    make_table(&f, &kinds[3]);
    seen whole = look_at(f.env, TABLE_NAME, &all);
    forget_block(&f);
    seen s = look_at(f.env, TABLE_NAME, &all);
    CHECK_EQ(s.entries, whole.entries - 1);
    CHECK_EQ(s.damage, 1);
    fixture_end(&f);
}

LSM_TEST(inspection_that_has_ended_stays_at_the_end) {
    lsmkv_inspection *inspection = NULL;
    lsmkv_part part;
    lsmkv_error err;
    table_fixture f;

    make_table(&f, &kinds[0]);
    CHECK_OK(lsm_inspect_open(f.env, SIM_PATH, TABLE_NAME, &all, &inspection, &err));
    while (lsm_inspect_next(inspection, &part, &err) == LSMKV_OK) {
    }
    for (int again = 0; again < 3; again++) {
        CHECK_STATUS(lsm_inspect_next(inspection, &part, &err), LSMKV_NOT_FOUND);
        CHECK_EQ(part.fact_count, 0);
    }
    lsm_inspect_free(inspection);
    fixture_end(&f);
}
