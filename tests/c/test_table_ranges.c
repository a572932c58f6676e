/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: tables with range deletes, and with nothing else, answer as a naive model of
 * entries and tombstones does; what contradicts itself does not open.
 * Method: random rows and tombstones, written as fragments; every read of every key;
 * then one thing changed in the tail or in what the MANIFEST says.
 */
#include "table_fixture.h"

#include "base/buf.h"
#include "format/footer.h"

static const row_shape small = {60, 3, 1, 4, 24, 30};

enum { RANGES_MAX = 12 };

typedef struct range_rows {
    lsm_tombstone items[RANGES_MAX];
    size_t count;
    lsm_range_set *set; /* owned; its keys are the fixture's or static */
} range_rows;

static lsm_slice any_key(table_fixture *f, lsm_rng *rng) {
    return row_skey(&f->set.rows[lsm_rng_below(rng, f->set.count)]);
}

/* Random tombstones between keys of the fixture, between its sequences. */
static void ranges_make(range_rows *ranges, table_fixture *f, lsm_rng *rng) {
    lsm_tombstone shuffled[RANGES_MAX];

    ranges->count = 0;
    for (size_t i = 0; i < RANGES_MAX; i++) {
        lsm_tombstone t = {any_key(f, rng), any_key(f, rng),
                           100 * (i + 1) + lsm_rng_below(rng, 100)};
        if (lsm_range_check(t.start, t.stop)) {
            ranges->items[ranges->count++] = t;
        }
    }
    memcpy(shuffled, ranges->items, sizeof(shuffled));
    ranges->set = lsm_range_set_build(shuffled, ranges->count, NULL);
    CHECK(ranges->set != NULL);
}

static uint64_t ranges_cover(const range_rows *ranges, const lsm_lookup *lookup) {
    uint64_t newest = 0;

    for (size_t i = 0; i < ranges->count; i++) {
        const lsm_tombstone *t = &ranges->items[i];
        if (t->sequence <= lookup->sequence && t->sequence > newest &&
            lsm_slice_compare(t->start, lookup->skey) <= 0 &&
            lsm_slice_compare(lookup->skey, t->stop) < 0) {
            newest = t->sequence;
        }
    }
    return newest;
}

/* The rows of the fixture, if `entries`, and the fragments. The keys of info become the
 * copies in `bounds`. */
static void write_table(table_fixture *f, const range_rows *ranges, bool entries,
                        lsm_buf bounds[2]) {
    lsm_table_writer *writer = NULL;
    lsmkv_error err;

    (void)lsm_sim_file_remove(f->env, SIM_PATH, TABLE_NAME);
    CHECK_OK(lsm_table_writer_create(f->dir, TABLE_NUMBER, &f->options, &writer, &err));
    for (size_t i = 0; entries && i < f->set.count; i++) {
        CHECK_OK(lsm_table_writer_add(writer, row_ikey(&f->set.rows[i]),
                                      row_field(&f->set.rows[i]), &err));
    }
    for (size_t i = 0; i < ranges->set->count; i++) {
        lsm_range_span span = lsm_range_span_of(ranges->set, i);
        CHECK_OK(lsm_table_writer_add_range(writer, &span, &err));
    }
    CHECK_OK(lsm_table_writer_finish(writer, &f->info, &err));
    lsm_buf_clear(&bounds[0]);
    lsm_buf_clear(&bounds[1]);
    CHECK(lsm_buf_append(&bounds[0], f->info.smallest.data, f->info.smallest.size));
    CHECK(lsm_buf_append(&bounds[1], f->info.largest.data, f->info.largest.size));
    f->info.smallest = lsm_buf_slice(&bounds[0]);
    f->info.largest = lsm_buf_slice(&bounds[1]);
    CHECK(lsm_bounds_check(f->info.smallest, f->info.largest, true));
    lsm_table_writer_destroy(writer);
}

/* What a read of the table must find; trailer 0: nothing. */
static uint64_t expected_trailer(const table_fixture *f, const range_rows *ranges,
                                 bool entries, const lsm_lookup *lookup) {
    const row *r = entries ? rows_get(&f->set, lookup->skey, lookup->sequence) : NULL;
    uint64_t cover = ranges_cover(ranges, lookup);

    if (r != NULL && row_sequence(r) >= cover) {
        return lsm_ikey_trailer(row_ikey(r));
    }
    return cover == 0 ? 0 : lsm_trailer_make(cover, LSM_KIND_RANGE_DELETE);
}

static void check_reads(table_fixture *f, lsm_table *table, const range_rows *ranges,
                        bool entries) {
    enum { MANY = 64 };
    lsm_table_request requests[MANY];
    lsm_table_request *pointers[MANY];
    lsm_rng rng = {5};
    lsmkv_error err;

    for (int round = 0; round < 12; round++) {
        lsm_epoch_token token = lsm_epoch_enter(&f->epoch);
        for (size_t i = 0; i < MANY; i++) {
            requests[i] = (lsm_table_request){
                .lookup = lsm_lookup_make(any_key(f, &rng), lsm_rng_below(&rng, 1500))};
            pointers[i] = &requests[i];
        }
        CHECK_OK(lsm_table_get_many(table, pointers, MANY, &err));
        for (size_t i = 0; i < MANY; i++) {
            const lsm_lookup *lookup = &requests[i].lookup;
            uint64_t expected = expected_trailer(f, ranges, entries, lookup);
            lsm_found found = {0};
            lsmkv_status status = lsm_table_get(table, lookup, false, &found, &err);
            CHECK_EQ(status, expected == 0 ? LSMKV_NOT_FOUND : LSMKV_OK);
            CHECK_EQ(requests[i].done, expected != 0);
            CHECK(expected == 0 || found.trailer == expected);
            CHECK(expected == 0 || requests[i].found.trailer == expected);
        }
        lsm_epoch_leave(token);
    }
}

static void count_problem(void *context, const lsmkv_error *problem) {
    (void)problem;
    ++*(size_t *)context;
}

static size_t verify(lsm_table *table) {
    lsmkv_report report = {0};
    size_t problems = 0;

    lsm_table_verify(table, count_problem, &problems, &report);
    return problems;
}

static size_t count_entries(table_fixture *f, lsm_table *table, lsm_table_access access,
                            bool reverse) {
    lsm_epoch_token token = lsm_epoch_enter(&f->epoch);
    lsm_iter *iter = lsm_table_iter(table, access);
    size_t count = 0;

    CHECK(iter != NULL);
    (reverse ? lsm_iter_seek_last : lsm_iter_seek_first)(iter);
    while (iter->valid) {
        count++;
        (reverse ? lsm_iter_prev : lsm_iter_next)(iter);
    }
    CHECK_EQ(iter->status, LSMKV_OK);
    lsm_iter_destroy(iter);
    lsm_epoch_leave(token);
    return count;
}

LSM_TEST(a_table_with_range_deletes_answers_as_a_model_does) {
    lsm_rng rng = {40};

    for (int round = 0; round < 60; round++) {
        bool entries = round % 3 != 0;
        lsm_buf bounds[2] = {{0}, {0}};
        range_rows ranges;
        table_fixture f;
        fixture_begin(&f, 1 << 20);
        f.options.block_bytes = round % 2 == 0 ? 80 : 256;
        f.options.index_block_bytes = round % 4 == 0 ? 64 : 4096;
        f.options.bloom_bits_per_key = round % 5 == 0 ? 0 : 10;
        row_shape shape = small;
        shape.sequence_max = 1400;
        fixture_fill(&f, (uint64_t)round, &shape);
        ranges_make(&ranges, &f, &rng);
        if (ranges.set->count > 0) {
            write_table(&f, &ranges, entries, bounds);
            lsm_table *table = fixture_open(&f);
            CHECK(lsm_table_ranges(table)->count == f.info.range_delete_count);
            check_reads(&f, table, &ranges, entries);
            CHECK_EQ(verify(table), 0);
            size_t count = entries ? f.set.count : 0;
            CHECK_EQ(count_entries(&f, table, LSM_ACCESS_SCAN, false), count);
            CHECK_EQ(count_entries(&f, table, LSM_ACCESS_CACHED, true), count);
            lsm_table_unref(table);
        }
        lsm_range_set_destroy(ranges.set);
        lsm_buf_deinit(&bounds[0]);
        lsm_buf_deinit(&bounds[1]);
        fixture_end(&f);
    }
}

/* A table of range deletes whose file is changed before it is opened. */
typedef struct forging {
    table_fixture f;
    range_rows ranges;
    lsm_buf bounds[2];
} forging;

static void forging_begin(forging *g) {
    lsm_rng rng = {41};

    *g = (forging){0};
    fixture_begin(&g->f, 0);
    row_shape shape = small;
    shape.sequence_max = 1400;
    fixture_fill(&g->f, 9, &shape);
    do {
        lsm_range_set_destroy(g->ranges.set);
        ranges_make(&g->ranges, &g->f, &rng);
    } while (g->ranges.set->count < 3);
}

static void forging_end(forging *g) {
    lsm_range_set_destroy(g->ranges.set);
    lsm_buf_deinit(&g->bounds[0]);
    lsm_buf_deinit(&g->bounds[1]);
    fixture_end(&g->f);
}

static lsmkv_status try_open(forging *g) {
    lsm_table *table = NULL;
    lsmkv_error err;
    lsmkv_status status = lsm_table_open(&g->f.context, &g->f.info, &table, &err);

    lsm_table_unref(table);
    return status;
}

/* Replaces the payload of the range deletes, which is as long, with a good checksum. */
static void patch_ranges(forging *g, const lsm_buf *payload) {
    const uint8_t *data = NULL;
    size_t size = 0;
    lsm_footer footer;
    lsm_buf file = {0};
    lsmkv_error err;

    CHECK(lsm_sim_file_read(g->f.env, SIM_PATH, TABLE_NAME, &data, &size));
    CHECK(lsm_buf_append(&file, data, size));
    CHECK_OK(lsm_footer_decode(data + size - LSM_FOOTER_SIZE, size, TABLE_NAME, &footer,
                               &err));
    CHECK_EQ(footer.range_deletes.size, payload->size);
    memcpy(file.data + footer.range_deletes.offset, payload->data, payload->size);
    lsm_block_frame frame = {(uint32_t)payload->size, 0, LSM_BLOCK_RANGE_DELETES};
    lsm_block_frame_seal(file.data + footer.range_deletes.offset, payload->size, frame,
                         TABLE_FILE_ID, footer.range_deletes.offset);
    CHECK(lsm_sim_file_write(g->f.env, SIM_PATH, TABLE_NAME, file.data, file.size));
    lsm_buf_deinit(&file);
}

LSM_TEST(hostile_bytes_in_a_range_delete_block_do_not_open_or_are_harmless) {
    forging g;
    lsm_buf payload = {0};
    size_t refused = 0;

    forging_begin(&g);
    write_table(&g.f, &g.ranges, true, g.bounds);
    for (size_t i = 0; i < g.ranges.set->count; i++) {
        lsm_range_span span = lsm_range_span_of(g.ranges.set, i);
        CHECK(lsm_range_encode(&payload, &span));
    }
    for (size_t i = 0; i < payload.size; i++) {
        uint8_t was = payload.data[i];
        for (int bit = 0; bit < 8; bit++) {
            payload.data[i] = (uint8_t)(was ^ (1u << bit));
            patch_ranges(&g, &payload);
            refused += try_open(&g) == LSMKV_CORRUPTION;
        }
        payload.data[i] = was;
    }
    CHECK(refused > payload.size); /* sizes, namespaces, bounds, the outer sequences */
    patch_ranges(&g, &payload);
    CHECK_EQ(try_open(&g), LSMKV_OK);
    lsm_buf_deinit(&payload);
    forging_end(&g);
}

LSM_TEST(any_damaged_byte_of_a_table_of_range_deletes_alone_is_found) {
    forging g;
    const uint8_t *data = NULL;
    size_t size = 0;

    forging_begin(&g);
    write_table(&g.f, &g.ranges, false, g.bounds);
    CHECK(lsm_sim_file_read(g.f.env, SIM_PATH, TABLE_NAME, &data, &size));
    CHECK_EQ(g.f.info.tail_size, size);
    for (size_t i = 0; i < size; i++) {
        lsm_buf file = {0};
        CHECK(lsm_sim_file_read(g.f.env, SIM_PATH, TABLE_NAME, &data, &size));
        CHECK(lsm_buf_append(&file, data, size));
        file.data[i] ^= 0x10;
        CHECK(lsm_sim_file_write(g.f.env, SIM_PATH, TABLE_NAME, file.data, size));
        CHECK(try_open(&g) != LSMKV_OK);
        file.data[i] ^= 0x10;
        CHECK(lsm_sim_file_write(g.f.env, SIM_PATH, TABLE_NAME, file.data, size));
        lsm_buf_deinit(&file);
    }
    CHECK_EQ(try_open(&g), LSMKV_OK);
    forging_end(&g);
}

LSM_TEST(a_manifest_that_says_other_range_deletes_or_bounds_is_refused) {
    forging g;

    forging_begin(&g);
    write_table(&g.f, &g.ranges, false, g.bounds);
    const lsm_table_info good = g.f.info;
    CHECK_EQ(try_open(&g), LSMKV_OK);
    g.f.info.range_delete_count++;
    CHECK_EQ(try_open(&g), LSMKV_CORRUPTION);
    g.f.info = good;
    g.f.info.range_delete_count = 0;
    CHECK_EQ(try_open(&g), LSMKV_CORRUPTION);
    g.f.info = good;
    g.f.info.smallest = row_ikey(&g.f.set.rows[0]); /* no entry of this table */
    CHECK_EQ(try_open(&g), LSMKV_CORRUPTION);
    g.f.info = good;
    g.f.info.largest = row_ikey(&g.f.set.rows[g.f.set.count - 1]);
    CHECK_EQ(try_open(&g), LSMKV_CORRUPTION);
    g.f.info = good;
    for (size_t at = 0; at < 2; at++) { /* another stored key, another trailer */
        for (size_t i = 0; i < g.bounds[at].size; i++) {
            g.bounds[at].data[i] ^= 1;
            CHECK_EQ(try_open(&g), LSMKV_CORRUPTION);
            g.bounds[at].data[i] ^= 1;
        }
    }
    CHECK_EQ(try_open(&g), LSMKV_OK);
    forging_end(&g);
}

LSM_TEST(a_writer_refuses_range_deletes_out_of_order) {
    table_fixture f;
    lsm_table_writer *writer = NULL;
    const uint64_t sequence = 4;
    lsm_range_span first = {lsm_slice_make("\0\0\0\1b", 5),
                            lsm_slice_make("\0\0\0\1d", 5), &sequence, 1};
    lsm_range_span second = {lsm_slice_make("\0\0\0\1c", 5),
                             lsm_slice_make("\0\0\0\1e", 5), &sequence, 1};
    lsmkv_error err;

    fixture_begin(&f, 0);
    CHECK_OK(lsm_table_writer_create(f.dir, TABLE_NUMBER, &f.options, &writer, &err));
    CHECK_OK(lsm_table_writer_add_range(writer, &first, &err));
    CHECK_STATUS(lsm_table_writer_add_range(writer, &second, &err), LSMKV_CORRUPTION);
    lsm_table_writer_destroy(writer);
    fixture_end(&f);
}

/* One thing that contradicts the range deletes, in a tail whose checksums hold. */
typedef enum contradiction {
    NO_CONTRADICTION,
    RANGES_ELSEWHERE,
    OTHER_COUNT,
    TOO_YOUNG,
    TOO_OLD,
    CONTRADICTION_END,
} contradiction;

/* Changes footer, properties and what the MANIFEST says. */
static void contradict(forging *g, contradiction what) {
    const uint8_t *data = NULL;
    size_t size = 0;
    lsm_footer footer;
    lsm_properties properties;
    lsm_buf encoded = {0};
    lsm_buf file = {0};
    lsmkv_error err;

    CHECK(lsm_sim_file_read(g->f.env, SIM_PATH, TABLE_NAME, &data, &size));
    CHECK(lsm_buf_append(&file, data, size));
    CHECK_OK(lsm_footer_decode(data + size - LSM_FOOTER_SIZE, size, TABLE_NAME, &footer,
                               &err));
    uint8_t *at = file.data + footer.properties.offset;
    CHECK(lsm_properties_decode(lsm_slice_make(at, (size_t)footer.properties.size),
                                &properties));
    properties.range_delete_count += what == OTHER_COUNT;
    properties.sequence_min += what == TOO_OLD;
    properties.sequence_max -= what == TOO_YOUNG;
    g->f.info.range_delete_count = properties.range_delete_count;
    g->f.info.sequence_min = properties.sequence_min;
    g->f.info.sequence_max = properties.sequence_max;
    CHECK(lsm_properties_encode(&properties, &encoded));
    CHECK_EQ(encoded.size, footer.properties.size);
    memcpy(at, encoded.data, encoded.size);
    lsm_block_frame frame = {(uint32_t)encoded.size, 0, LSM_BLOCK_PROPERTIES};
    lsm_block_frame_seal(at, encoded.size, frame, TABLE_FILE_ID,
                         footer.properties.offset);
    footer.range_deletes.offset += what == RANGES_ELSEWHERE;
    footer.range_deletes.size -= what == RANGES_ELSEWHERE;
    lsm_footer_encode(&footer, file.data + size - LSM_FOOTER_SIZE);
    CHECK(lsm_sim_file_write(g->f.env, SIM_PATH, TABLE_NAME, file.data, file.size));
    lsm_buf_deinit(&encoded);
    lsm_buf_deinit(&file);
}

LSM_TEST(a_tail_that_contradicts_its_range_deletes_does_not_open) {
    for (int what = 0; what < CONTRADICTION_END; what++) {
        for (int entries = 0; entries < 2; entries++) {
            forging g;

            forging_begin(&g);
            write_table(&g.f, &g.ranges, entries == 1, g.bounds);
            contradict(&g, (contradiction)what);
            /* Entries may be older or younger than any range delete. */
            if (what < TOO_YOUNG || entries == 0) {
                CHECK_EQ(try_open(&g),
                         what == NO_CONTRADICTION ? LSMKV_OK : LSMKV_CORRUPTION);
            }
            forging_end(&g);
        }
    }
}

LSM_TEST(a_largest_key_that_range_deletes_go_beyond_is_refused) {
    size_t refused = 0;
    forging g;

    forging_begin(&g);
    write_table(&g.f, &g.ranges, true, g.bounds);
    lsm_slice stop = g.ranges.set->fragments[g.ranges.set->count - 1].stop;
    for (size_t i = 0; i < g.f.set.count; i++) {
        if (lsm_slice_compare(row_skey(&g.f.set.rows[i]), stop) < 0) {
            g.f.info.largest = row_ikey(&g.f.set.rows[i]);
            CHECK_EQ(try_open(&g), LSMKV_CORRUPTION);
            refused++;
        }
    }
    CHECK(refused > 5);
    forging_end(&g);
}
