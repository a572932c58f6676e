/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a table answers point reads at every sequence, batched reads and iterators in
 * both directions exactly as the rows it was written from, whatever the sizes of
 * blocks, the codec, the filter and the cache. Method: random rows against linear
 * search over them.
 */
#include "table_fixture.h"

static const row_shape shapes[] = {
    {1, 8, 0, 256, 100, 9},           /* one entry */
    {300, 16, 0, 256, 100, 1u << 20}, /* the usual */
    {300, 3, 0, 3, 20, 1000},         /* versions of a key over several blocks */
    {300, 40, 0, 2, 10, 1000},        /* prefixes of the index tie */
    {200, 4, 60, 5, 0, 1u << 30},     /* long common prefixes, no values */
    {60, 20, 0, 256, 1500, 50},       /* values of several blocks */
    {500, 3, 2, 26, 4, 40},           /* small entries */
};

/* A codec that stores small bytes in four bits, others in twelve. */
static void *nibble_create(int level) {
    static int context;

    (void)level;
    return &context;
}

static void nibble_destroy(void *context) {
    (void)context;
}

static size_t nibble_bound(size_t size) {
    return size * 3 / 2 + 1;
}

static void put_nibble(uint8_t *to, size_t *at, unsigned value) {
    if (*at % 2 == 0) {
        to[*at / 2] = (uint8_t)value;
    } else {
        to[*at / 2] = (uint8_t)(to[*at / 2] | value << 4);
    }
    (*at)++;
}

static unsigned get_nibble(const uint8_t *from, size_t at) {
    return (unsigned)from[at / 2] >> (at % 2 * 4) & 15u;
}

static size_t nibble_compress(void *context, void *dst, size_t capacity,
                              const void *src, size_t size) {
    const uint8_t *from = src;
    size_t at = 0;

    (void)context;
    if (capacity < nibble_bound(size)) {
        return 0;
    }
    for (size_t i = 0; i < size; i++) {
        if (from[i] < 15) {
            put_nibble(dst, &at, from[i]);
        } else {
            put_nibble(dst, &at, 15);
            put_nibble(dst, &at, from[i] & 15u);
            put_nibble(dst, &at, from[i] >> 4);
        }
    }
    return (at + 1) / 2;
}

static size_t nibble_decompress(void *context, void *dst, size_t capacity,
                                const void *src, size_t size) {
    uint8_t *to = dst;
    size_t count = 0;

    (void)context;
    for (size_t at = 0; at < 2 * size && count < capacity; at++) {
        unsigned value = get_nibble(src, at);

        if (value == 15) {
            if (at + 2 >= 2 * size) {
                return 0;
            }
            value = get_nibble(src, at + 1) | get_nibble(src, at + 2) << 4;
            at += 2;
        }
        to[count++] = (uint8_t)value;
    }
    return count;
}

enum { NIBBLE_ID = 5 };

static void register_nibble(void) {
    static const lsmkv_codec codec = {
        .id = NIBBLE_ID,
        .name = "nibble",
        .create = nibble_create,
        .destroy = nibble_destroy,
        .bound = nibble_bound,
        .compress = nibble_compress,
        .decompress = nibble_decompress,
    };
    lsmkv_error err;

    CHECK_OK(lsmkv_register_codec(&codec, &err));
}

/* A table of some shape and some options, all chosen by the seed. */
static void begin_random(table_fixture *f, uint64_t seed) {
    static const uint32_t block_sizes[] = {1, 64, 256, 1024, 4096, 65536};
    static const uint64_t cache_sizes[] = {0, 3000, 1 << 20};
    lsm_rng rng = {seed * 77};

    register_nibble();
    fixture_begin(f, cache_sizes[lsm_rng_below(&rng, LSM_ARRAY_COUNT(cache_sizes))]);
    f->options.block_bytes =
        block_sizes[lsm_rng_below(&rng, LSM_ARRAY_COUNT(block_sizes))];
    f->options.index_block_bytes = lsm_rng_below(&rng, 2) == 0 ? 100 : 4096;
    f->options.bloom_bits_per_key = lsm_rng_below(&rng, 4) == 0 ? 0 : 10;
    f->options.codec = lsm_rng_below(&rng, 3) == 0 ? NIBBLE_ID : 0;
    fixture_fill(f, seed, &shapes[seed % LSM_ARRAY_COUNT(shapes)]);
}

enum { SEEDS = 70 };

LSM_TEST(table_iterates_over_every_row_in_both_directions) {
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        for (int access = LSM_ACCESS_CACHED; access <= LSM_ACCESS_SCAN; access++) {
            table_fixture f;
            lsm_epoch_token token;
            lsm_table *table;
            lsm_iter *iter;
            size_t at = 0;

            begin_random(&f, seed);
            table = fixture_open(&f);
            token = lsm_epoch_enter(&f.epoch);
            iter = lsm_table_iter(table, (lsm_table_access)access);
            CHECK(iter != NULL);
            lsm_table_unref(table);
            for (lsm_iter_seek_first(iter); iter->valid; lsm_iter_next(iter)) {
                check_at(&f, iter, at++);
            }
            CHECK_EQ(iter->status, LSMKV_OK);
            CHECK_EQ(at, f.set.count);
            for (lsm_iter_seek_last(iter); iter->valid; lsm_iter_prev(iter)) {
                check_at(&f, iter, --at);
            }
            CHECK_EQ(iter->status, LSMKV_OK);
            CHECK_EQ(at, 0);
            lsm_iter_destroy(iter);
            lsm_epoch_leave(token);
            fixture_end(&f);
        }
    }
}

/* One random step of an iterator; returns where it must stand then. */
static size_t step(const table_fixture *f, lsm_iter *iter, lsm_rng *rng, size_t at) {
    const row *r = &f->set.rows[lsm_rng_below(rng, f->set.count)];
    row other = row_make(rng, &shapes[lsm_rng_below(rng, LSM_ARRAY_COUNT(shapes))]);
    uint64_t choice = lsm_rng_below(rng, 20);

    if (choice == 0) {
        lsm_iter_seek_first(iter);
        at = 0;
    } else if (choice == 1) {
        lsm_iter_seek_last(iter);
        at = f->set.count - 1;
    } else if (choice == 2) {
        lsm_iter_seek(iter, row_ikey(r));
        at = (size_t)(r - f->set.rows);
    } else if (choice == 3 || at == f->set.count) {
        lsm_iter_seek(iter, row_ikey(&other));
        at = rows_seek(&f->set, row_skey(&other), lsm_ikey_trailer(row_ikey(&other)));
    } else if (choice < 12) {
        lsm_iter_next(iter);
        at++;
    } else {
        lsm_iter_prev(iter);
        at = at == 0 ? f->set.count : at - 1;
    }
    row_free(&other);
    return at;
}

LSM_TEST(table_iterator_follows_any_mix_of_seeks_and_steps) {
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        lsm_rng rng = {seed};
        table_fixture f;
        lsm_epoch_token token;
        lsm_table *table;
        lsm_iter *iter;
        size_t at = 0;

        begin_random(&f, seed);
        table = fixture_open(&f);
        iter =
            lsm_table_iter(table, seed % 3 == 0 ? LSM_ACCESS_SCAN : LSM_ACCESS_CACHED);
        CHECK(iter != NULL);
        token = lsm_epoch_enter(&f.epoch);
        lsm_iter_seek_first(iter);
        for (int i = 0; i < 400; i++) {
            /* Outside the epoch blocks that were evicted are freed. */
            if (i % 5 == 0) {
                lsm_epoch_leave(token);
                lsm_epoch_poll(&f.epoch);
                token = lsm_epoch_enter(&f.epoch);
            }
            at = step(&f, iter, &rng, at);
            check_at(&f, iter, at);
        }
        lsm_epoch_leave(token);
        lsm_iter_destroy(iter);
        lsm_table_unref(table);
        fixture_end(&f);
    }
}

LSM_TEST(table_get_finds_the_version_of_every_sequence) {
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const row_shape *shape = &shapes[seed % LSM_ARRAY_COUNT(shapes)];
        lsm_rng rng = {seed};
        table_fixture f;
        lsm_table *table;

        begin_random(&f, seed);
        table = fixture_open(&f);
        for (size_t i = 0; i < f.set.count; i++) {
            lsm_slice skey = row_skey(&f.set.rows[i]);
            uint64_t sequence = row_sequence(&f.set.rows[i]);
            row other = row_make(&rng, shape);

            check_get(&f, table, skey, sequence);
            check_get(&f, table, skey, sequence - 1);
            check_get(&f, table, skey, sequence + 1);
            check_get(&f, table, skey, LSM_SEQUENCE_MAX);
            check_get(&f, table, row_skey(&other), row_sequence(&other));
            row_free(&other);
        }
        lsm_table_unref(table);
        fixture_end(&f);
    }
}

enum { BATCH_MAX = 300 };

/* Fills a batch with keys of the table and others, some of them already done. */
static size_t make_batch(const table_fixture *f, lsm_rng *rng, row *others,
                         lsm_table_request *requests, lsm_table_request **pointers) {
    size_t count = (size_t)lsm_rng_below(rng, BATCH_MAX);
    uint64_t range = 1 + lsm_rng_below(rng, f->set.count);

    for (size_t i = 0; i < count; i++) {
        const row *r = &f->set.rows[lsm_rng_below(rng, range)];
        uint64_t sequence = lsm_rng_below(rng, 2) == 0
                                ? LSM_SEQUENCE_MAX
                                : lsm_rng_below(rng, 2 * row_sequence(r));

        others[i] = row_make(rng, &shapes[1]);
        requests[i] = (lsm_table_request){
            .lookup = lsm_lookup_make(
                row_skey(lsm_rng_below(rng, 4) == 0 ? &others[i] : r), sequence),
            .done = lsm_rng_below(rng, 8) == 0,
            .found = {.trailer = 1},
        };
        pointers[i] = &requests[i];
    }
    return count;
}

LSM_TEST(table_get_many_answers_like_single_reads) {
    static lsm_table_request requests[BATCH_MAX];
    static lsm_table_request *pointers[BATCH_MAX];
    static row others[BATCH_MAX];

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        lsm_rng rng = {seed};
        table_fixture f;
        lsm_table *table;

        begin_random(&f, seed);
        table = fixture_open(&f);
        for (int round = 0; round < 8; round++) {
            size_t count = make_batch(&f, &rng, others, requests, pointers);
            lsm_epoch_token token = lsm_epoch_enter(&f.epoch);
            bool done[BATCH_MAX];
            lsmkv_error err;

            for (size_t i = 0; i < count; i++) {
                done[i] = requests[i].done;
            }
            CHECK_OK(lsm_table_get_many(table, pointers, count, &err));
            for (size_t i = 0; i < count; i++) {
                if (done[i]) {
                    CHECK_EQ(requests[i].found.trailer, 1);
                } else {
                    check_answer(&f, &requests[i].lookup,
                                 requests[i].done ? LSMKV_OK : LSMKV_NOT_FOUND,
                                 &requests[i].found);
                }
                row_free(&others[i]);
            }
            lsm_epoch_leave(token);
        }
        lsm_table_unref(table);
        fixture_end(&f);
    }
}

LSM_TEST(table_get_nonblocking_reads_nothing_from_disk) {
    table_fixture f;
    lsm_table *table;
    lsm_found found;
    lsmkv_error err;

    fixture_begin(&f, 1 << 20);
    fixture_fill(&f, 4, &shapes[1]);
    table = fixture_open(&f);
    uint64_t reads = lsm_sim_call_count(f.env, LSM_SIM_READ);
    lsm_lookup lookup = lsm_lookup_make(row_skey(&f.set.rows[9]), LSM_SEQUENCE_MAX);
    lsm_epoch_token token = lsm_epoch_enter(&f.epoch);
    CHECK_STATUS(lsm_table_get(table, &lookup, true, &found, &err), LSMKV_WOULD_BLOCK);
    CHECK_EQ(lsm_sim_call_count(f.env, LSM_SIM_READ), reads);
    CHECK_OK(lsm_table_get(table, &lookup, false, &found, &err));
    CHECK_EQ(lsm_sim_call_count(f.env, LSM_SIM_READ), reads + 1);
    CHECK_OK(lsm_table_get(table, &lookup, true, &found, &err));
    check_answer(&f, &lookup, LSMKV_OK, &found);
    CHECK_EQ(lsm_sim_call_count(f.env, LSM_SIM_READ), reads + 1);
    lsm_epoch_leave(token);
    lsm_table_unref(table);
    fixture_end(&f);
}

LSM_TEST(table_open_reads_the_tail_with_one_read) {
    table_fixture f;
    lsm_table *table;

    fixture_begin(&f, 0);
    fixture_fill(&f, 4, &shapes[1]);
    uint64_t reads = lsm_sim_call_count(f.env, LSM_SIM_READ);
    table = fixture_open(&f);
    CHECK_EQ(lsm_sim_call_count(f.env, LSM_SIM_READ), reads + 1);
    lsm_table_unref(table);
    fixture_end(&f);
}

LSM_TEST(table_get_many_reads_neighbouring_blocks_together) {
    table_fixture f;
    lsm_table_request requests[200];
    lsm_table_request *pointers[200];
    lsm_table *table;
    lsmkv_error err;

    fixture_begin(&f, 1 << 20);
    fixture_fill(&f, 4, &shapes[1]);
    table = fixture_open(&f);
    CHECK(lsm_table_properties(table)->data_block_count > 50);
    for (size_t i = 0; i < 200; i++) {
        requests[i] = (lsm_table_request){
            .lookup = lsm_lookup_make(row_skey(&f.set.rows[i]), LSM_SEQUENCE_MAX)};
        pointers[i] = &requests[i];
    }
    uint64_t reads = lsm_sim_call_count(f.env, LSM_SIM_READ);
    lsm_epoch_token token = lsm_epoch_enter(&f.epoch);
    CHECK_OK(lsm_table_get_many(table, pointers, 200, &err));
    CHECK_EQ(lsm_sim_call_count(f.env, LSM_SIM_READ), reads + 1);
    lsm_epoch_leave(token);
    lsm_table_unref(table);
    fixture_end(&f);
}

LSM_TEST(table_get_many_does_not_read_what_lies_between_distant_blocks) {
    static const row_shape many = {3000, 16, 0, 256, 200, 1u << 20};
    table_fixture f;
    lsm_table_request requests[2];
    lsm_table_request *pointers[] = {&requests[0], &requests[1]};
    lsm_table *table;
    lsmkv_error err;

    fixture_begin(&f, 1 << 20);
    fixture_fill(&f, 4, &many);
    table = fixture_open(&f);
    for (size_t i = 0; i < 2; i++) {
        requests[i] = (lsm_table_request){
            .lookup = lsm_lookup_make(row_skey(&f.set.rows[i * (f.set.count - 1)]),
                                      LSM_SEQUENCE_MAX)};
    }
    uint64_t reads = lsm_sim_call_count(f.env, LSM_SIM_READ);
    lsm_epoch_token token = lsm_epoch_enter(&f.epoch);
    CHECK_OK(lsm_table_get_many(table, pointers, 2, &err));
    CHECK(requests[0].done && requests[1].done);
    CHECK_EQ(lsm_sim_call_count(f.env, LSM_SIM_READ), reads + 2);
    lsm_epoch_leave(token);
    lsm_table_unref(table);
    fixture_end(&f);
}

LSM_TEST(table_filter_spares_the_reads_of_absent_keys) {
    table_fixture f;
    lsm_rng rng = {99};
    lsm_table *table;

    for (uint32_t bits = 0; bits <= 10; bits += 10) {
        uint64_t reads;

        fixture_begin(&f, 0);
        f.options.bloom_bits_per_key = bits;
        fixture_fill(&f, 4, &shapes[1]);
        table = fixture_open(&f);
        reads = lsm_sim_call_count(f.env, LSM_SIM_READ);
        for (int i = 0; i < 1000; i++) {
            row other = row_make(&rng, &shapes[1]);

            check_get(&f, table, row_skey(&other), LSM_SEQUENCE_MAX);
            row_free(&other);
        }
        reads = lsm_sim_call_count(f.env, LSM_SIM_READ) - reads;
        CHECK(bits == 0 ? reads > 800 : reads < 150);
        lsm_table_unref(table);
        fixture_end(&f);
    }
}

LSM_TEST(table_iterator_reads_ahead_without_filling_the_cache) {
    static const row_shape many = {3000, 16, 0, 256, 200, 1u << 20};
    table_fixture f;
    lsm_table *table;
    lsm_iter *iter;

    fixture_begin(&f, 1 << 24);
    fixture_fill(&f, 4, &many);
    table = fixture_open(&f);
    CHECK(lsm_table_properties(table)->data_block_count > 500);
    iter = lsm_table_iter(table, LSM_ACCESS_CACHED);
    CHECK(iter != NULL);
    lsm_epoch_token token = lsm_epoch_enter(&f.epoch);
    for (int backward = 0; backward < 2; backward++) {
        uint64_t reads = lsm_sim_call_count(f.env, LSM_SIM_READ);
        size_t count = 0;

        if (backward) {
            lsm_iter_seek_last(iter);
        } else {
            lsm_iter_seek_first(iter);
        }
        for (; iter->valid; count++) {
            if (backward) {
                lsm_iter_prev(iter);
            } else {
                lsm_iter_next(iter);
            }
        }
        CHECK_EQ(count, f.set.count);
        CHECK(lsm_sim_call_count(f.env, LSM_SIM_READ) - reads <= 2 + 6);
    }
    CHECK(lsm_cache_misses(f.cache) <= 4);
    lsm_epoch_leave(token);
    lsm_iter_destroy(iter);
    lsm_table_unref(table);
    fixture_end(&f);
}

LSM_TEST(table_scan_never_touches_the_cache_and_needs_no_epoch) {
    table_fixture f;
    lsm_table *table;
    lsm_iter *iter;
    size_t count = 0;

    fixture_begin(&f, 1 << 20);
    fixture_fill(&f, 4, &shapes[1]);
    table = fixture_open(&f);
    iter = lsm_table_iter(table, LSM_ACCESS_SCAN);
    CHECK(iter != NULL);
    for (lsm_iter_seek_first(iter); iter->valid; lsm_iter_next(iter)) {
        check_at(&f, iter, count++);
    }
    CHECK_EQ(count, f.set.count);
    CHECK_EQ(lsm_cache_misses(f.cache), 0);
    lsm_iter_destroy(iter);
    lsm_table_unref(table);
    fixture_end(&f);
}

LSM_TEST(table_scan_that_went_back_on_its_way_still_ends_well) {
    table_fixture f;
    lsm_table *table;
    lsm_iter *iter;
    size_t at = 0;

    fixture_begin(&f, 0);
    fixture_fill(&f, 4, &shapes[1]);
    table = fixture_open(&f);
    iter = lsm_table_iter(table, LSM_ACCESS_SCAN);
    CHECK(iter != NULL);
    for (lsm_iter_seek_first(iter); at < 150; at++) {
        lsm_iter_next(iter);
    }
    for (; at > 100; at--) {
        lsm_iter_prev(iter);
    }
    for (; iter->valid; at++) {
        check_at(&f, iter, at);
        lsm_iter_next(iter);
    }
    CHECK_EQ(at, f.set.count);
    CHECK_EQ(iter->status, LSMKV_OK);
    lsm_iter_destroy(iter);
    lsm_table_unref(table);
    fixture_end(&f);
}

LSM_TEST(table_keeps_values_larger_than_every_buffer) {
    static const row_shape large = {6, 8, 0, 256, 900000, 50};

    for (uint32_t codec = 0; codec <= NIBBLE_ID; codec += NIBBLE_ID) {
        table_fixture f;
        lsm_table *table;
        lsm_iter *iter;
        size_t at = 0;

        register_nibble();
        fixture_begin(&f, 1 << 20);
        f.options.codec = codec;
        fixture_fill(&f, 8, &large);
        table = fixture_open(&f);
        iter = lsm_table_iter(table, LSM_ACCESS_SCAN);
        CHECK(iter != NULL);
        for (lsm_iter_seek_first(iter); iter->valid; lsm_iter_next(iter)) {
            check_at(&f, iter, at);
            check_get(&f, table, row_skey(&f.set.rows[at]), LSM_SEQUENCE_MAX);
            at++;
        }
        CHECK_EQ(at, f.set.count);
        lsm_iter_destroy(iter);
        lsm_table_unref(table);
        fixture_end(&f);
    }
}

LSM_TEST(table_properties_and_info_count_what_was_written) {
    table_fixture f;
    lsm_table *table;
    uint64_t dead = 0;
    uint64_t bytes = 0;
    uint64_t low = UINT64_MAX;
    uint64_t high = 0;

    fixture_begin(&f, 0);
    fixture_fill(&f, 11, &shapes[2]);
    table = fixture_open(&f);
    for (size_t i = 0; i < f.set.count; i++) {
        const row *r = &f.set.rows[i];
        uint64_t sequence = row_sequence(r);

        dead += lsm_tag_kind(lsm_trailer_tag(lsm_ikey_trailer(row_ikey(r)))) ==
                LSM_KIND_DELETE;
        bytes += r->ikey_size + r->field_size;
        low = sequence < low ? sequence : low;
        high = sequence > high ? sequence : high;
    }
    CHECK_EQ(f.info.number, TABLE_NUMBER);
    CHECK_EQ(f.info.file_id, TABLE_FILE_ID);
    CHECK_EQ(f.info.entry_count, f.set.count);
    CHECK_EQ(f.info.tombstone_count, dead);
    CHECK_EQ(f.info.raw_bytes, bytes);
    CHECK_EQ(f.info.sequence_min, low);
    CHECK_EQ(f.info.sequence_max, high);
    CHECK_EQ(lsm_table_properties(table)->entry_count, f.set.count);
    CHECK_EQ(lsm_table_properties(table)->expire_max, 0);
    CHECK(lsm_table_charge(table) > lsm_table_properties(table)->data_block_count * 28);
    lsm_table_unref(table);
    fixture_end(&f);
}

LSM_TEST(table_properties_bound_the_times_of_expiry) {
    static const uint64_t times[] = {5000, 300, 70000};
    uint8_t ikey[LSM_IKEY_SIZE_MIN + 1] = {0, 0, 0, 1};
    uint8_t field[16] = {0};
    lsm_table_writer *writer;
    lsm_table *table;
    table_fixture f;
    lsmkv_error err;

    fixture_begin(&f, 0);
    CHECK_OK(lsm_table_writer_create(f.dir, TABLE_NUMBER, &f.options, &writer, &err));
    for (size_t i = 0; i < 3; i++) {
        ikey[4] = (uint8_t)('a' + i);
        lsm_put_u64(ikey + 5, lsm_trailer_make(i + 1, LSM_KIND_PUT | LSM_TAG_EXPIRES));
        lsm_put_u64(field, times[i]);
        CHECK_OK(lsm_table_writer_add(writer, lsm_slice_make(ikey, sizeof(ikey)),
                                      lsm_slice_make(field, 12), &err));
    }
    CHECK_OK(lsm_table_writer_finish(writer, &f.info, &err));
    table = fixture_open(&f);
    lsm_table_writer_destroy(writer);
    CHECK_EQ(lsm_table_properties(table)->expire_min, 300);
    CHECK_EQ(lsm_table_properties(table)->expire_max, 70000);
    lsm_table_unref(table);
    fixture_end(&f);
}

LSM_TEST(table_compresses_blocks_only_where_it_saves) {
    uint64_t sizes[2];

    register_nibble();
    for (uint32_t i = 0; i < 2; i++) {
        table_fixture f;

        fixture_begin(&f, 0);
        f.options.codec = i == 0 ? 0 : NIBBLE_ID;
        f.options.block_bytes = 4096;
        fixture_fill(&f, 3, &shapes[5]);
        sizes[i] = f.info.file_size;
        fixture_end(&f);
    }
    CHECK(sizes[1] < sizes[0] * 3 / 4);
}
