/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: the entries of a range are estimated within the promised error, and exactly
 * where nothing or everything lies in it. Method: random ranges over a memtable and a
 * table, against a count of what was put into them.
 */
#include "table/tally.h"
#include "table_fixture.h"

#include "base/alloc.h"

enum { KEYS = 20000, RANGES = 200 };

/* The stored key of a number, of the default namespace. */
static lsm_slice number_key(uint32_t number, uint8_t skey[LSM_NAMESPACE_SIZE + 4]) {
    lsm_put_u32_be(skey, LSM_NAMESPACE_DEFAULT);
    lsm_put_u32_be(skey + LSM_NAMESPACE_SIZE, number);
    return lsm_slice_make(skey, LSM_NAMESPACE_SIZE + 4);
}

/* A memtable with the numbers 0 to KEYS - 1; every fifth is a deletion. */
static lsm_memtable *make_memtable(void) {
    lsm_memtable *mem = lsm_memtable_create(4 << 20, 7);
    lsm_batch batch;
    lsm_mem_plan plan;
    lsmkv_error err;

    CHECK(mem != NULL);
    lsm_batch_init(&batch);
    for (uint32_t i = 0; i < KEYS; i++) {
        uint8_t key[4];
        lsmkv_bytes bytes = {key, sizeof(key)};

        lsm_put_u32_be(key, i);
        if (i % 5 == 0) {
            CHECK_OK(lsm_batch_delete(&batch, LSM_NAMESPACE_DEFAULT, bytes, &err));
        } else {
            CHECK_OK(lsm_batch_put(&batch, LSM_NAMESPACE_DEFAULT, bytes, bytes, &err));
        }
    }
    lsm_batch_stamp(&batch, 1, 0);
    CHECK_OK(
        lsm_mem_plan_init(&plan,
                          lsm_slice_make(batch.record.data + LSM_RECORD_HEADER_SIZE,
                                         lsm_batch_payload_size(&batch)),
                          &err));
    lsm_memtable_insert(mem, &plan, 1);
    lsm_mem_plan_deinit(&plan);
    lsm_batch_deinit(&batch);
    return mem;
}

static lsm_tally tally_between(const lsm_memtable *mem, uint32_t start, uint32_t stop) {
    uint8_t low[LSM_NAMESPACE_SIZE + 4];
    uint8_t high[LSM_NAMESPACE_SIZE + 4];
    lsm_tally tally = {0};

    lsm_memtable_tally(mem, number_key(start, low), number_key(stop, high), &tally);
    return tally;
}

LSM_TEST(a_memtable_is_counted_about_right_and_small_ranges_exactly) {
    lsm_memtable *mem = make_memtable();
    lsm_rng rng = {11};
    uint64_t error_sum = 0;

    CHECK_EQ(tally_between(mem, KEYS, KEYS + 5).entries, 0);
    CHECK_EQ(tally_between(mem, 100, 100).entries, 0);
    CHECK_EQ(tally_between(mem, 100, 140).entries, 40);
    CHECK_EQ(tally_between(mem, 100, 140).tombstones, 8);
    for (unsigned i = 0; i < RANGES; i++) {
        uint32_t start = (uint32_t)lsm_rng_below(&rng, KEYS / 2);
        uint32_t count = 1000 + (uint32_t)lsm_rng_below(&rng, KEYS / 2 - 1000);
        lsm_tally tally = tally_between(mem, start, start + count);
        uint64_t error =
            tally.entries > count ? tally.entries - count : count - tally.entries;

        CHECK(error < count * 2 / 3);
        CHECK(tally.tombstones <= tally.entries / 2);
        error_sum += error * 1000 / count;
    }
    CHECK(error_sum / RANGES < 200); /* thousandths */
    lsm_memtable_unref(mem);
}

LSM_TEST(an_empty_memtable_has_nothing_in_any_range) {
    lsm_memtable *mem = lsm_memtable_create(1 << 16, 3);

    CHECK(mem != NULL);
    CHECK_EQ(tally_between(mem, 0, UINT32_MAX).entries, 0);
    lsm_memtable_unref(mem);
}

LSM_TEST(a_table_is_counted_to_about_a_block_at_either_end) {
    table_fixture f;
    row_shape shape = {.count = 3000,
                       .key_size_max = 12,
                       .alphabet = 200,
                       .field_size_max = 20,
                       .sequence_max = 50};
    lsm_rng rng = {5};

    fixture_begin(&f, 0);
    fixture_fill(&f, 23, &shape);
    lsm_table *table = fixture_open(&f);
    uint64_t block = f.info.entry_count / lsm_table_block_count(table) + 1;
    for (unsigned i = 0; i < RANGES; i++) {
        size_t first = lsm_rng_below(&rng, f.set.count);
        size_t last = first + lsm_rng_below(&rng, f.set.count - first);
        lsm_tally tally = {.entries = 1};

        lsm_table_tally(table, row_skey(&f.set.rows[first]),
                        row_skey(&f.set.rows[last]), &tally);
        uint64_t found = tally.entries - 1;
        uint64_t wanted = last - first;
        /* Blocks differ in how many entries they have, by less than half. */
        uint64_t error = found > wanted ? found - wanted : wanted - found;
        CHECK(error <= 3 * block + wanted / 4);
    }
    lsm_table_unref(table);
    fixture_end(&f);
}
