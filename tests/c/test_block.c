/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a block gives back what was put in, answers every point read and seek as a
 * linear search would, and takes no malformed bytes. Method: random rows of many
 * shapes against the rows themselves; malformed entries written by hand; every flipped
 * bit and every truncation, under the sanitizers.
 */
#include "table_help.h"

#include "base/buf.h"
#include "format/block.h"

static const row_shape shapes[] = {
    {1, 8, 0, 256, 100, 9},          /* one entry */
    {40, 16, 0, 256, 100, 1u << 20}, /* the usual */
    {60, 2, 0, 2, 20, 1000},         /* many versions of few keys */
    {50, 3, 40, 3, 0, 1u << 30},     /* long prefixes, no values */
    {30, 300, 0, 2, 300, 5},         /* two-byte sizes */
    {400, 6, 2, 26, 4, 40},          /* many small entries */
};

/* A block over rows [begin, end), in both forms. */
typedef struct made_block {
    lsm_block_builder builder;
    lsm_block_shape shape;
    uint8_t *memory;
    lsm_block block;
} made_block;

static void make_block(made_block *made, const row_set *set, bool hashed) {
    lsm_slice raw;

    lsm_block_builder_init(&made->builder);
    for (size_t i = 0; i < set->count; i++) {
        CHECK(lsm_block_builder_add(&made->builder, row_ikey(&set->rows[i]),
                                    row_field(&set->rows[i])) == LSMKV_OK);
    }
    raw = lsm_block_builder_finish(&made->builder);
    CHECK(lsm_block_measure(raw, hashed, &made->shape));
    CHECK(made->shape.size <= made->builder.span);
    made->memory = lsm_alloc(made->shape.size);
    CHECK(made->memory != NULL);
    CHECK(lsm_block_decode(raw, &made->shape, made->memory, &made->block));
}

static void free_block(made_block *made) {
    lsm_block_builder_deinit(&made->builder);
    lsm_free(made->memory);
}

LSM_TEST(block_gives_back_every_entry_in_order) {
    for (uint64_t seed = 0; seed < 60; seed++) {
        lsm_rng rng = {seed};
        row_set set = rows_make(&rng, &shapes[seed % LSM_ARRAY_COUNT(shapes)]);
        made_block made;

        make_block(&made, &set, seed % 2 == 0);
        CHECK_EQ(made.block.entry_count, set.count);
        for (uint32_t i = 0; i < made.block.entry_count; i++) {
            lsm_block_entry entry = lsm_block_entry_get(&made.block, i);

            CHECK(lsm_slice_equal(entry.ikey, row_ikey(&set.rows[i])));
            CHECK(lsm_slice_equal(entry.field, row_field(&set.rows[i])));
        }
        free_block(&made);
        rows_free(&set);
    }
}

static void check_get(const lsm_block *block, const row_set *set, lsm_slice skey,
                      uint64_t sequence) {
    const row *expected = rows_get(set, skey, sequence);
    lsm_lookup lookup = lsm_lookup_make(skey, sequence);
    lsm_found found = {0};
    lsmkv_status status = lsm_block_get(block, &lookup, &found);

    lsm_block_prefetch(block, lookup.hash);
    CHECK_EQ(status, expected != NULL ? LSMKV_OK : LSMKV_NOT_FOUND);
    if (expected != NULL) {
        CHECK_EQ(found.trailer, lsm_ikey_trailer(row_ikey(expected)));
        CHECK(lsm_slice_equal(found.field, row_field(expected)));
    }
}

LSM_TEST(block_get_finds_the_version_of_every_sequence) {
    for (uint64_t seed = 0; seed < 60; seed++) {
        const row_shape *shape = &shapes[seed % LSM_ARRAY_COUNT(shapes)];
        lsm_rng rng = {seed};
        row_set set = rows_make(&rng, shape);
        made_block made;

        make_block(&made, &set, true);
        for (size_t i = 0; i < set.count; i++) {
            lsm_slice skey = row_skey(&set.rows[i]);
            uint64_t sequence = row_sequence(&set.rows[i]);
            row other = row_make(&rng, shape);

            check_get(&made.block, &set, skey, sequence);
            check_get(&made.block, &set, skey, sequence - 1);
            check_get(&made.block, &set, skey, sequence + 1);
            check_get(&made.block, &set, skey, LSM_SEQUENCE_MAX);
            check_get(&made.block, &set, skey, 0);
            check_get(&made.block, &set, row_skey(&other), row_sequence(&other));
            row_free(&other);
        }
        free_block(&made);
        rows_free(&set);
    }
}

LSM_TEST(block_seek_finds_the_first_entry_at_or_after) {
    for (uint64_t seed = 0; seed < 60; seed++) {
        const row_shape *shape = &shapes[seed % LSM_ARRAY_COUNT(shapes)];
        lsm_rng rng = {seed};
        row_set set = rows_make(&rng, shape);
        made_block made;

        make_block(&made, &set, seed % 2 == 0);
        for (size_t i = 0; i < set.count; i++) {
            lsm_slice skey = row_skey(&set.rows[i]);
            uint64_t trailer = lsm_ikey_trailer(row_ikey(&set.rows[i]));
            row other = row_make(&rng, shape);

            for (int step = -1; step <= 1; step++) {
                CHECK_EQ(lsm_block_seek(&made.block, skey, trailer + (uint64_t)step),
                         rows_seek(&set, skey, trailer + (uint64_t)step));
            }
            CHECK_EQ(lsm_block_seek(&made.block, row_skey(&other), trailer),
                     rows_seek(&set, row_skey(&other), trailer));
            skey.size -= lsm_rng_below(&rng, skey.size - LSM_NAMESPACE_SIZE + 1);
            CHECK_EQ(lsm_block_seek(&made.block, skey, trailer),
                     rows_seek(&set, skey, trailer));
            row_free(&other);
        }
        free_block(&made);
        rows_free(&set);
    }
}

LSM_TEST(block_builder_refuses_keys_out_of_order_also_across_blocks) {
    static const char *const keys[] = {"b", "ba", "b", "a", "", "b"};
    lsm_block_builder builder;
    uint8_t ikey[LSM_IKEY_SIZE_MIN + 2];

    for (int cleared = 0; cleared < 2; cleared++) {
        for (size_t i = 0; i < LSM_ARRAY_COUNT(keys); i++) {
            size_t size = LSM_IKEY_SIZE_MIN + strlen(keys[i]);
            bool in_order =
                i < 2; /* "b" at 9 first, then "ba"; the rest is not after */

            lsm_block_builder_init(&builder);
            lsm_put_u32_be(ikey, 1);
            ikey[4] = 'b';
            lsm_put_u64(ikey + 5, lsm_trailer_make(9, LSM_KIND_PUT));
            CHECK(lsm_block_builder_add(&builder, lsm_slice_make(ikey, 13),
                                        lsm_slice_make("v", 1)) == LSMKV_OK);
            if (cleared) {
                lsm_block_builder_clear(&builder);
            }
            memcpy(ikey + 4, keys[i], strlen(keys[i]));
            /* i == 0: an older version; i == 2: the same one; i == 5: a newer one */
            lsm_put_u64(ikey + size - 8, lsm_trailer_make(i == 0   ? 8
                                                          : i == 5 ? 10
                                                                   : 9,
                                                          LSM_KIND_PUT));
            CHECK_EQ(lsm_block_builder_add(&builder, lsm_slice_make(ikey, size),
                                           lsm_slice_make("w", 1)),
                     in_order ? LSMKV_OK : LSMKV_CORRUPTION);
            CHECK(!in_order || builder.key_is_new == (i == 1));
            lsm_block_builder_deinit(&builder);
        }
    }
}

LSM_TEST(block_builder_is_full_before_keys_that_share_everything_fill_memory) {
    enum { KEY_SIZE = 60000, TARGET = 1 << 20 };
    lsm_block_builder builder;
    uint8_t *ikey = lsm_calloc(1, KEY_SIZE + 12);
    lsm_block_shape shape;
    size_t count = 0;

    CHECK(ikey != NULL);
    lsm_block_builder_init(&builder);
    while (!lsm_block_builder_full(&builder, TARGET)) {
        lsm_put_u32_be(ikey + KEY_SIZE, (uint32_t)count++);
        lsm_put_u64(ikey + KEY_SIZE + 4, lsm_trailer_make(1, LSM_KIND_PUT));
        CHECK(lsm_block_builder_add(&builder, lsm_slice_make(ikey, KEY_SIZE + 12),
                                    lsm_slice_make(NULL, 0)) == LSMKV_OK);
    }
    CHECK(builder.data.size < TARGET);
    CHECK(lsm_block_measure(lsm_block_builder_finish(&builder), true, &shape));
    CHECK(shape.size < LSM_BLOCK_SPAN_MAX + KEY_SIZE);
    lsm_block_builder_deinit(&builder);
    lsm_free(ikey);
}

/* Both passes over bytes of any kind. */
static bool decodes(lsm_slice raw) {
    lsm_block_shape shape;
    uint8_t *memory = NULL;
    lsm_block block;
    bool good = false;

    if (!lsm_block_measure(raw, true, &shape)) {
        return false;
    }
    memory = lsm_alloc(shape.size);
    CHECK(memory != NULL);
    good = lsm_block_decode(raw, &shape, memory, &block);
    for (uint32_t i = 0; good && i < block.entry_count; i++) {
        lsm_slice ikey = lsm_block_entry_get(&block, i).ikey;
        lsm_lookup lookup = lsm_lookup_make(lsm_ikey_skey(ikey), LSM_SEQUENCE_MAX);
        lsm_found found;

        CHECK(lsm_block_get(&block, &lookup, &found) == LSMKV_OK);
        CHECK_EQ(lsm_block_seek(&block, lookup.skey, lsm_ikey_trailer(ikey)), i);
    }
    lsm_free(memory);
    return good;
}

static size_t walk(lsm_slice raw, bool *corrupt) {
    lsm_block_cursor cursor = {0};
    size_t count = 0;

    lsm_block_cursor_open(&cursor, raw);
    while (lsm_block_cursor_next(&cursor)) {
        CHECK(lsm_ikey_check(lsm_buf_slice(&cursor.key)));
        count++;
    }
    CHECK(!cursor.failed);
    *corrupt = cursor.corrupt;
    lsm_block_cursor_deinit(&cursor);
    return count;
}

/* An exact copy on the heap, so that the sanitizer sees the first byte behind it. */
static uint8_t *copy_exactly(lsm_slice bytes) {
    uint8_t *copy = lsm_alloc(bytes.size + (bytes.size == 0));

    CHECK(copy != NULL);
    memcpy(copy, bytes.data, bytes.size);
    return copy;
}

LSM_TEST(block_decoding_survives_every_flipped_bit_and_every_truncation) {
    size_t rejected = 0;

    for (uint64_t seed = 0; seed < 12; seed++) {
        static const row_shape small = {12, 6, 2, 4, 12, 300};
        lsm_rng rng = {seed};
        row_set set = rows_make(&rng, &small);
        bool corrupt = false;
        made_block made;

        make_block(&made, &set, true);
        lsm_slice raw = lsm_block_builder_finish(&made.builder);
        for (size_t bit = 0; bit < raw.size * 8; bit++) {
            uint8_t *copy = copy_exactly(raw);

            copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
            rejected += !decodes(lsm_slice_make(copy, raw.size));
            (void)walk(lsm_slice_make(copy, raw.size), &corrupt);
            lsm_free(copy);
        }
        for (size_t size = 0; size < raw.size; size++) {
            uint8_t *copy = copy_exactly(lsm_slice_make(raw.data, size));

            (void)decodes(lsm_slice_make(copy, size));
            (void)walk(lsm_slice_make(copy, size), &corrupt);
            lsm_free(copy);
        }
        free_block(&made);
        rows_free(&set);
    }
    CHECK(rejected > 1000);
}

LSM_TEST(block_decoding_survives_random_bytes) {
    lsm_rng rng = {5};

    for (int round = 0; round < 20000; round++) {
        size_t size = 1 + (size_t)lsm_rng_below(&rng, 60);
        uint8_t *bytes = lsm_alloc(size);
        bool corrupt = false;

        CHECK(bytes != NULL);
        for (size_t i = 0; i < size; i++) {
            /* Mostly small numbers, which look like sizes. */
            bytes[i] = (uint8_t)lsm_rng_below(&rng, i % 7 == 6 ? 256 : 8);
        }
        (void)decodes(lsm_slice_make(bytes, size));
        (void)walk(lsm_slice_make(bytes, size), &corrupt);
        lsm_free(bytes);
    }
}

/* Bytes of one entry: shared, unshared, field size, tag, step, suffix. */
static void put_entry(lsm_buf *to, uint8_t shared, const char *suffix, size_t size,
                      uint8_t tag, uint8_t step) {
    uint8_t head[] = {shared, (uint8_t)size, 0, tag, step};

    CHECK(lsm_buf_append(to, head, sizeof(head)) && lsm_buf_append(to, suffix, size));
}

LSM_TEST(block_decoding_rejects_what_no_builder_writes) {
    static const struct {
        uint8_t shared;
        const char *suffix;
        size_t size;
        uint8_t tag;
        uint8_t step;
        bool good;
    } second[] = {
        {4, "c", 1, 1, 0, true},   /* a greater key */
        {5, "", 0, 1, 1, true},    /* an older version: one less */
        {5, "", 0, 1, 2, false},   /* a newer version */
        {5, "", 0, 1, 0, false},   /* the same version */
        {4, "a", 1, 1, 0, false},  /* a smaller key */
        {4, "b", 1, 1, 0, false},  /* the same key, not shared */
        {4, "bc", 2, 1, 0, false}, /* a greater key that shares more than it says */
        {4, "", 0, 1, 0, false},   /* a prefix */
        {6, "c", 1, 1, 0, false},  /* more than there is to share */
        {5, "c", 1, 9, 0, false},  /* a kind that does not exist */
        {5, "c", 1, 17, 0, false}, /* an expiry without its eight bytes */
        {5, "c", 1, 1, 63, false}, /* a sequence below zero */
        {5, "c", 1, 2, 0, true},   /* a tombstone */
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(second); i++) {
        lsm_buf bytes = {0};

        put_entry(&bytes, 0, "\0\0\0\1b", 5, LSM_KIND_PUT, 20);
        put_entry(&bytes, second[i].shared, second[i].suffix, second[i].size,
                  second[i].tag, second[i].step);
        CHECK_EQ(decodes(lsm_buf_slice(&bytes)) + 10 * i, second[i].good + 10 * i);
        lsm_buf_deinit(&bytes);
    }
    lsm_buf short_key = {0};
    put_entry(&short_key, 0, "\0\0\1", 3, LSM_KIND_PUT, 20);
    CHECK(!decodes(lsm_buf_slice(&short_key)));
    lsm_buf_deinit(&short_key);
}

LSM_TEST(block_decoding_bounds_what_hostile_bytes_can_expand_to) {
    lsm_buf bytes = {0};
    lsm_block_shape shape;
    char *suffix = lsm_calloc(1, 60000);

    /* Each further entry of six bytes would take 60,000 in memory. */
    CHECK(suffix != NULL);
    CHECK(lsm_buf_append(&bytes, "\0\xe0\xd4\x03\0\1\x14", 7) &&
          lsm_buf_append(&bytes, suffix, 60000));
    for (int i = 0; i < 10; i++) {
        CHECK(lsm_buf_append(&bytes, "\xe0\xd4\x03\0\0\1\1", 7));
        CHECK_EQ(lsm_block_measure(lsm_buf_slice(&bytes), true, &shape), i < 8);
    }
    lsm_free(suffix);
    lsm_buf_deinit(&bytes);
}

LSM_TEST(block_cursor_walks_several_blocks_as_one_sequence) {
    lsm_rng rng = {3};
    row_set set = rows_make(&rng, &shapes[5]);
    lsm_block_builder builder;
    lsm_block_cursor cursor = {0};
    lsm_buf blocks[3] = {{0}, {0}, {0}};
    size_t at = 0;

    lsm_block_builder_init(&builder);
    for (size_t part = 0; part < 3; part++) {
        for (size_t i = set.count * part / 3; i < set.count * (part + 1) / 3; i++) {
            CHECK(lsm_block_builder_add(&builder, row_ikey(&set.rows[i]),
                                        row_field(&set.rows[i])) == LSMKV_OK);
        }
        lsm_slice raw = lsm_block_builder_finish(&builder);
        CHECK(lsm_buf_append(&blocks[part], raw.data, raw.size));
        lsm_block_builder_clear(&builder);
    }
    for (size_t part = 0; part < 3; part++) {
        lsm_block_cursor_open(&cursor, lsm_buf_slice(&blocks[part]));
        while (lsm_block_cursor_next(&cursor)) {
            CHECK(lsm_slice_equal(lsm_buf_slice(&cursor.key), row_ikey(&set.rows[at])));
            CHECK(lsm_slice_equal(cursor.field, row_field(&set.rows[at])));
            at++;
        }
        CHECK(!cursor.corrupt && !cursor.failed);
    }
    CHECK_EQ(at, set.count);
    lsm_block_cursor_open(&cursor, lsm_buf_slice(&blocks[1]));
    CHECK(!lsm_block_cursor_next(&cursor));
    CHECK(cursor.corrupt);
    for (size_t part = 0; part < 3; part++) {
        lsm_buf_deinit(&blocks[part]);
    }
    lsm_block_cursor_deinit(&cursor);
    lsm_block_builder_deinit(&builder);
    rows_free(&set);
}

LSM_TEST(block_frame_binds_payload_codec_type_file_and_place) {
    uint8_t stored[20 + LSM_BLOCK_FRAME_SIZE] = "payload of 20 bytes";
    lsm_block_frame frame = {20, 0, LSM_BLOCK_DATA};
    lsm_slice bytes = lsm_slice_make(stored, sizeof(stored));

    lsm_block_frame_seal(stored, 20, frame, 77, 4096);
    CHECK(lsm_block_frame_open(bytes, 77, 4096, &frame));
    CHECK_EQ(frame.raw_size, 20);
    CHECK_EQ(frame.type, LSM_BLOCK_DATA);
    CHECK(!lsm_block_frame_open(bytes, 78, 4096, &frame));
    CHECK(!lsm_block_frame_open(bytes, 77, 4097, &frame));
    for (size_t bit = 0; bit < sizeof(stored) * 8; bit++) {
        stored[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(!lsm_block_frame_open(bytes, 77, 4096, &frame));
        stored[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t size = 0; size < sizeof(stored); size++) {
        CHECK(!lsm_block_frame_open(lsm_slice_make(stored, size), 77, 4096, &frame));
    }
}

LSM_TEST(block_frame_rejects_sizes_and_types_that_no_writer_uses) {
    static const struct {
        uint32_t raw_size;
        uint8_t codec;
        uint8_t type;
        bool good;
    } frames[] = {
        {20, 0, LSM_BLOCK_DATA, true},
        {21, 0, LSM_BLOCK_DATA, false},
        {500, 1, LSM_BLOCK_DATA, true},
        {0, 1, LSM_BLOCK_DATA, false},
        {LSM_BLOCK_RAW_SIZE_MAX, 1, LSM_BLOCK_DATA, true},
        {(uint32_t)LSM_BLOCK_RAW_SIZE_MAX + 1, 1, LSM_BLOCK_DATA, false},
        {20, 0, 0, false},
        {20, 0, LSM_BLOCK_RANGE_DELETES + 1, false},
    };
    uint8_t stored[20 + LSM_BLOCK_FRAME_SIZE] = "payload of 20 bytes";

    for (size_t i = 0; i < LSM_ARRAY_COUNT(frames); i++) {
        lsm_block_frame frame = {frames[i].raw_size, frames[i].codec,
                                 (lsm_block_type)frames[i].type};

        lsm_block_frame_seal(stored, 20, frame, 1, 0);
        CHECK_EQ(
            lsm_block_frame_open(lsm_slice_make(stored, sizeof(stored)), 1, 0, &frame),
            frames[i].good);
    }
    lsm_block_frame frame = {20, 0, LSM_BLOCK_DATA};
    lsm_block_frame_seal(stored, 20, frame, 1, 0);
    stored[26] = 1; /* reserved, with a checksum that is right */
    lsm_put_u64(stored + 28, lsm_checksum(1, 0, stored, 28));
    CHECK(!lsm_block_frame_open(lsm_slice_make(stored, sizeof(stored)), 1, 0, &frame));
}

LSM_TEST(block_handle_decodes_exactly_what_was_encoded) {
    static const uint64_t values[] = {0, 1, 127, 128, 1u << 20, UINT64_MAX};
    uint8_t bytes[LSM_BLOCK_HANDLE_SIZE_MAX + 1];
    lsm_block_handle handle;

    for (size_t i = 0; i < LSM_ARRAY_COUNT(values); i++) {
        for (size_t j = 0; j < LSM_ARRAY_COUNT(values); j++) {
            size_t size = lsm_block_handle_encode(
                (lsm_block_handle){values[i], values[j]}, bytes);

            bytes[size] = 0;
            CHECK(lsm_block_handle_decode(lsm_slice_make(bytes, size), &handle));
            CHECK(handle.offset == values[i] && handle.size == values[j]);
            CHECK(!lsm_block_handle_decode(lsm_slice_make(bytes, size + 1), &handle));
            CHECK(!lsm_block_handle_decode(lsm_slice_make(bytes, size - 1), &handle));
        }
    }
}
