/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a table is written whole or not at all, whatever its shape and wherever memory
 * or the disk ends; what would make one that contradicts itself is refused. Method:
 * tables of several shapes, of which every allocation and every append fails in turn.
 */
#include "table_fixture.h"

#include <errno.h>

#include "dead_help.h"

/* What is written: rows of the fixture, and one range delete behind them. */
typedef struct shape {
    row_shape rows;
    uint32_t block_bytes;
    uint32_t index_block_bytes;
    uint32_t bloom_bits_per_key;
    size_t range_key_size; /* 0: no range delete */
    bool codecs;           /* another for each namespace, in two levels */
} shape;

static const shape shapes[] = {
    {{6, 8, 0, 256, 400000, 1u << 20}, 256, 4096, 10, 0, false}, /* large blocks */
    {{4, 8, 0, 256, 20, 1u << 20}, 1 << 20, 4096, 0, 0, false},  /* one block, no filter
                                                                  */
    {{4, 8, 0, 256, 20, 1u << 20}, 256, 4096, 10, 60, false},    /* long range keys */
    {{60, 50, 0, 256, 20, 1u << 20}, 1, 1, 10, 5, false}, /* blocks of one entry */
    {{60, 8, 3, 256, 90, 1u << 20}, 1 << 20, 4096, 10, 0, true}, /* cut by codecs */
};

/* Codec none and one other, by turns; the other at a level of its own. */
static uint32_t codec_of(void *context, uint32_t namespace_id, int *level) {
    ++*(uint32_t *)context;
    *level = (int)(namespace_id % 3);
    return namespace_id % 3 == 0 ? 0 : DEAD_CODEC;
}

static lsmkv_status add_range(lsm_table_writer *writer, size_t key_size,
                              lsmkv_error *err) {
    static const uint64_t sequence = 77;
    uint8_t start[64] = {0xFF, 0xFF, 0, 1};
    uint8_t stop[64] = {0xFF, 0xFF, 0, 1, 9};
    lsm_range_span range = {lsm_slice_make(start, key_size),
                            lsm_slice_make(stop, key_size), &sequence, 1};

    return key_size == 0 ? LSMKV_OK : lsm_table_writer_add_range(writer, &range, err);
}

/* Any call may fail. The file is complete or gone. */
static lsmkv_status write_shape(table_fixture *f, const shape *what) {
    lsm_table_writer *writer = NULL;
    lsm_table_info info;
    lsmkv_error err;

    lsm_error_clear(&err);
    lsmkv_status status =
        lsm_table_writer_create(f->dir, TABLE_NUMBER, &f->options, &writer, &err);
    for (size_t i = 0; status == LSMKV_OK && i < f->set.count; i++) {
        status = lsm_table_writer_add(writer, row_ikey(&f->set.rows[i]),
                                      row_field(&f->set.rows[i]), &err);
    }
    if (status == LSMKV_OK) {
        status = add_range(writer, what->range_key_size, &err);
    }
    if (status == LSMKV_OK) {
        status = lsm_table_writer_finish(writer, &info, &err);
    }
    CHECK_EQ(err.status, status);
    lsm_table_writer_destroy(writer);
    CHECK_EQ(lsm_sim_file_remove(f->env, SIM_PATH, TABLE_NAME), status == LSMKV_OK);
    return status;
}

static void begin_shape(table_fixture *f, const shape *what, uint32_t *asked) {
    lsm_rng rng = {5};

    dead_register_codec();
    fixture_begin(f, 0);
    f->options.block_bytes = what->block_bytes;
    f->options.index_block_bytes = what->index_block_bytes;
    f->options.bloom_bits_per_key = what->bloom_bits_per_key;
    if (what->codecs) {
        f->options.codec_of = codec_of;
        f->options.codec_context = asked;
    }
    f->set = rows_make(&rng, &what->rows);
    for (size_t i = 0; what->codecs && i < f->set.count; i++) {
        /* Ten keys to a namespace, and they stay in order. */
        uint8_t *ikey = f->set.rows[i].ikey;
        lsm_put_u32_be(ikey, lsm_get_u32_be(ikey) * 100 + (uint32_t)i / 10);
    }
}

LSM_TEST(tables_of_any_shape_bear_a_lack_of_memory) {
    for (size_t i = 0; i < LSM_ARRAY_COUNT(shapes); i++) {
        lsmkv_status status = LSMKV_NO_MEMORY;
        uint32_t asked = 0;
        table_fixture f;

        begin_shape(&f, &shapes[i], &asked);
        lsm_sim_exempt_memory(f.env);
        for (uint64_t n = 0; status != LSMKV_OK; n++) {
            lsm_alloc_fail_after(n, 0);
            status = write_shape(&f, &shapes[i]);
            lsm_alloc_fail_never();
            CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        }
        CHECK(shapes[i].codecs == (asked > 0));
        fixture_end(&f);
    }
}

LSM_TEST(tables_of_any_shape_bear_an_append_that_fails) {
    for (size_t i = 0; i < LSM_ARRAY_COUNT(shapes); i++) {
        lsmkv_status status = LSMKV_IO_ERROR;
        uint32_t asked = 0;
        table_fixture f;

        begin_shape(&f, &shapes[i], &asked);
        for (uint64_t n = 0; status != LSMKV_OK; n++) {
            lsm_sim_fail(f.env, LSM_SIM_APPEND, n, EIO, false);
            status = write_shape(&f, &shapes[i]);
            lsm_sim_fail(f.env, LSM_SIM_APPEND, 0, 0, false);
            CHECK(status == LSMKV_OK || status == LSMKV_IO_ERROR);
        }
        fixture_end(&f);
    }
}

LSM_TEST(a_table_with_a_codec_that_nobody_registered_is_not_begun) {
    lsm_table_writer *writer = NULL;
    table_fixture f;
    lsmkv_error err;

    fixture_begin(&f, 0);
    f.options.codec = LSMKV_CODEC_COUNT;
    CHECK_STATUS(
        lsm_table_writer_create(f.dir, TABLE_NUMBER, &f.options, &writer, &err),
        LSMKV_UNSUPPORTED_VERSION);
    CHECK(writer == NULL && !sim_exists(f.env, TABLE_NAME));
    fixture_end(&f);
}

/* Blocks of one entry: the one before is cut by the time the next key is looked at. */
LSM_TEST(a_key_out_of_order_is_refused_behind_a_block_that_was_cut_too) {
    for (int older = 0; older < 2; older++) {
        uint8_t ikey[13] = {0, 0, 0, 1, 'b'};
        lsm_table_writer *writer = NULL;
        table_fixture f;
        lsmkv_error err;

        fixture_begin(&f, 0);
        f.options.block_bytes = 1;
        CHECK_OK(
            lsm_table_writer_create(f.dir, TABLE_NUMBER, &f.options, &writer, &err));
        lsm_put_u64(ikey + 5, lsm_trailer_make(5, LSM_KIND_PUT));
        CHECK_OK(lsm_table_writer_add(writer, lsm_slice_make(ikey, sizeof(ikey)),
                                      lsm_slice_make("v", 1), &err));
        ikey[4] = (uint8_t)(older == 1 ? 'b' : 'a');
        lsm_put_u64(ikey + 5, lsm_trailer_make(6, LSM_KIND_PUT));
        CHECK_STATUS(lsm_table_writer_add(writer, lsm_slice_make(ikey, sizeof(ikey)),
                                          lsm_slice_make("v", 1), &err),
                     LSMKV_CORRUPTION);
        CHECK(strstr(err.message, "out of order") != NULL);
        lsm_table_writer_destroy(writer);
        fixture_end(&f);
    }
}

LSM_TEST(a_range_delete_without_keys_is_refused) {
    static const uint64_t sequence = 77;
    lsm_slice key = lsm_slice_make("\0\0\0\1b", 5);
    lsm_range_span ranges[] = {
        {key, key, &sequence, 1},
        {lsm_slice_make("\0\0\0", 3), key, &sequence, 1},
    };
    lsm_table_writer *writer = NULL;
    table_fixture f;
    lsmkv_error err;

    fixture_begin(&f, 0);
    CHECK_OK(lsm_table_writer_create(f.dir, TABLE_NUMBER, &f.options, &writer, &err));
    for (size_t i = 0; i < LSM_ARRAY_COUNT(ranges); i++) {
        CHECK_STATUS(lsm_table_writer_add_range(writer, &ranges[i], &err),
                     LSMKV_CORRUPTION);
    }
    lsm_table_writer_destroy(writer);
    fixture_end(&f);
}
