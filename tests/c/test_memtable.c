/* SPDX-License-Identifier: Apache-2.0
 *
 * Memtable. Point reads at every snapshot, iteration in both directions, seeks and
 * turns must agree with the reference, over keys of several shapes. Then the limits:
 * no memory, a full arena, a full index, keys of the largest size.
 */
#include "memtable_help.h"

#include "base/alloc.h"

/* Seeks to stored and to made-up internal keys, then walks a few steps at random. */
static void check_seeks(lsm_memtable *mem, const reference *all, lsm_rng *rng,
                        const shape *form) {
    lsm_iter *iter = lsm_memtable_iter(mem);

    CHECK(iter != NULL);
    for (unsigned round = 0; round < 300; round++) {
        uint8_t target[LSM_IKEY_SIZE_MIN + KEY_ROOM];
        const version *stored = &all->versions[lsm_rng_below(rng, all->count)];
        size_t size = stored->size;

        memcpy(target, stored->ikey, size);
        if (lsm_rng_below(rng, 2) == 0) {
            lsmkv_bytes key = make_key(rng, form, target + LSM_NAMESPACE_SIZE);

            size = LSM_NAMESPACE_SIZE + key.size + LSM_TRAILER_SIZE;
        }
        if (lsm_rng_below(rng, 2) == 0) {
            uint64_t sequence = lsm_rng_below(rng, all->count + 2);

            lsm_put_u64(target + size - LSM_TRAILER_SIZE,
                        lsm_trailer_make(sequence, LSM_TAG_SEEK));
        }
        size_t place = reference_seek(all, lsm_slice_make(target, size));

        lsm_iter_seek(iter, lsm_slice_make(target, size));
        check_shows(iter, all, place);
        for (unsigned step = 0; step < 20 && iter->valid; step++) {
            if (lsm_rng_below(rng, 3) == 0) {
                lsm_iter_next(iter);
                place++;
            } else {
                lsm_iter_prev(iter);
                place = place == 0 ? SIZE_MAX : place - 1;
            }
            check_shows(iter, all, place);
        }
    }
    lsm_iter_destroy(iter);
}

/* Reads random keys, stored and not, at random snapshots. */
static void check_gets(const lsm_memtable *mem, const reference *all, lsm_rng *rng,
                       const shape *form, uint64_t last_sequence) {
    for (unsigned round = 0; round < 500; round++) {
        uint8_t target[LSM_IKEY_SIZE_MIN + KEY_ROOM];
        const version *stored = &all->versions[lsm_rng_below(rng, all->count)];
        size_t size = stored->size - LSM_TRAILER_SIZE;

        memcpy(target, stored->ikey, size);
        if (lsm_rng_below(rng, 4) == 0) {
            lsmkv_bytes key = make_key(rng, form, target + LSM_NAMESPACE_SIZE);

            size = LSM_NAMESPACE_SIZE + key.size;
        }
        uint64_t sequence = lsm_rng_below(rng, 2) == 0
                                ? last_sequence
                                : lsm_rng_below(rng, last_sequence + 1);
        lsm_lookup lookup = lsm_lookup_make(lsm_slice_make(target, size), sequence);
        lsm_found found = {0};

        lsm_memtable_prefetch(mem, lookup.hash);
        lsmkv_status status = lsm_memtable_get(mem, &lookup, &found);

        lsm_put_u64(target + size, lsm_trailer_make(sequence, LSM_TAG_SEEK));
        size_t place =
            reference_seek(all, lsm_slice_make(target, size + LSM_TRAILER_SIZE));
        bool expected =
            place < all->count &&
            lsm_slice_equal(lsm_ikey_skey(version_ikey(&all->versions[place])),
                            lookup.skey);

        CHECK_EQ(status, expected ? LSMKV_OK : LSMKV_NOT_FOUND);
        if (expected) {
            CHECK_EQ(found.trailer,
                     lsm_ikey_trailer(version_ikey(&all->versions[place])));
            CHECK(value_is(found.field, found.trailer));
        }
    }
}

static void check_all(lsm_memtable *mem, reference *all, lsm_rng *rng,
                      const shape *form) {
    reference_sort(all);
    check_iteration(mem, all);
    check_seeks(mem, all, rng, form);
    check_gets(mem, all, rng, form, all->count);
    CHECK_EQ(lsm_memtable_entry_count(mem), all->count);
    CHECK_EQ(lsm_memtable_last_sequence(mem), all->count);
}

LSM_TEST(memtable_agrees_with_a_sorted_array_of_all_versions) {
    for (size_t i = 0; i < LSM_ARRAY_COUNT(shapes); i++) {
        lsm_rng rng = {100 + i};
        lsm_memtable *mem = lsm_memtable_create(1 << 20, 5);
        reference all = {0};
        lsm_batch batch;

        CHECK(mem != NULL);
        CHECK(lsm_memtable_empty(mem));
        lsm_batch_init(&batch);
        for (unsigned round = 0; round < 60; round++) {
            /* One record, a few, less and more than a group, many. */
            static const uint32_t most[] = {1, 3, 20, 100, 300};
            uint32_t count = 1 + (uint32_t)lsm_rng_below(&rng, most[round % 5]);
            uint64_t sequence = all.count + 1;

            fill_batch(&batch, &all, &rng, &shapes[i], sequence, count);
            insert_batch(mem, &batch, sequence);
            if (round % 12 == 0 || round == 59) {
                check_all(mem, &all, &rng, &shapes[i]);
            }
        }
        free(all.versions);
        lsm_batch_deinit(&batch);
        lsm_memtable_unref(mem);
    }
}

/* Keys of 8 decimal digits and a tail, in one batch, the i-th number being pick(i). The
 * tail leaves room behind the place where numbers differ. */
static void put_numbers(lsm_batch *batch, reference *all, uint64_t first_sequence,
                        uint32_t count, uint32_t (*pick)(uint32_t, uint32_t)) {
    lsmkv_error err;

    lsm_batch_clear(batch);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t skey[] = "\0\0\0\1--------a tail";
        size_t size = sizeof(skey) - 1;
        uint32_t number = pick(i, count);
        uint8_t value[16];
        lsmkv_bytes bytes = {value, value_make(first_sequence + i, value)};

        for (size_t digit = 0; digit < 8; digit++) {
            skey[LSM_NAMESPACE_SIZE + 7 - digit] = (uint8_t)('0' + number % 10);
            number /= 10;
        }
        CHECK_OK(lsm_batch_put(
            batch, 1,
            (lsmkv_bytes){skey + LSM_NAMESPACE_SIZE, size - LSM_NAMESPACE_SIZE}, bytes,
            &err));
        reference_add(all, lsm_slice_make(skey, size),
                      lsm_trailer_make(first_sequence + i, LSM_KIND_PUT));
    }
    lsm_batch_stamp(batch, first_sequence, 0);
}

static uint32_t pick_ascending(uint32_t i, uint32_t count) {
    return i + 2 * count;
}

static uint32_t pick_descending(uint32_t i, uint32_t count) {
    return count - i;
}

static uint32_t pick_between(uint32_t i, uint32_t count) {
    return 2 * count + i / 7;
}

static uint32_t pick_behind(uint32_t i, uint32_t count) {
    return 9 * count + i;
}

static uint32_t pick_halves(uint32_t i, uint32_t count) {
    return i < count / 2 ? i + count : i;
}

LSM_TEST(memtable_takes_sorted_reversed_and_overlapping_runs) {
    static uint32_t (*const picks[])(uint32_t, uint32_t) = {
        pick_ascending, pick_descending, pick_between,
        pick_behind,    pick_halves,     pick_ascending,
    };
    static const shape form = {1, 0, 8, 8, 10};
    lsm_memtable *mem = lsm_memtable_create(2 << 20, 5);
    lsm_rng rng = {1};
    reference all = {0};
    lsm_batch batch;

    CHECK(mem != NULL);
    lsm_batch_init(&batch);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(picks); i++) {
        uint64_t sequence = all.count + 1;

        put_numbers(&batch, &all, sequence, 1000, picks[i]);
        insert_batch(mem, &batch, sequence);
        check_all(mem, &all, &rng, &form);
    }
    free(all.versions);
    lsm_batch_deinit(&batch);
    lsm_memtable_unref(mem);
}

LSM_TEST(memtable_reads_any_snapshot_of_a_key_with_many_versions) {
    enum { VERSIONS = 100000, PER_BATCH = 500 };
    lsm_memtable *mem = lsm_memtable_create(16 << 20, 5);
    lsmkv_bytes key = {"key", 3};
    lsm_rng rng = {1};
    lsm_batch batch;
    lsmkv_error err;

    CHECK(mem != NULL);
    lsm_batch_init(&batch);
    for (uint32_t at = 0; at < VERSIONS; at += PER_BATCH) {
        lsm_batch_clear(&batch);
        for (uint32_t i = 0; i < PER_BATCH; i++) {
            uint8_t value[16];
            lsmkv_bytes bytes = {value, value_make(at + 1 + i, value)};

            CHECK_OK(lsm_batch_put(&batch, 1, key, bytes, &err));
        }
        lsm_batch_stamp(&batch, at + 1, 0);
        insert_batch(mem, &batch, at + 1);
    }
    /* A walk over versions would make this take minutes. */
    for (uint32_t round = 0; round < 50000; round++) {
        uint64_t sequence = 1 + lsm_rng_below(&rng, VERSIONS);
        lsm_lookup lookup = lsm_lookup_make(lsm_slice_make("\0\0\0\1key", 7), sequence);
        lsm_found found;

        CHECK_EQ(lsm_memtable_get(mem, &lookup, &found), LSMKV_OK);
        CHECK_EQ(lsm_trailer_sequence(found.trailer), sequence);
        CHECK(value_is(found.field, found.trailer));
    }
    lsm_batch_deinit(&batch);
    lsm_memtable_unref(mem);
}

LSM_TEST(memtable_empty_has_nothing_to_find_or_iterate) {
    lsm_memtable *mem = lsm_memtable_create(1000, 5);
    lsm_lookup lookup = lsm_lookup_make(lsm_slice_make("\0\0\0\1key", 7), 10);
    lsm_iter *iter = NULL;
    lsm_found found;

    CHECK(mem != NULL);
    CHECK(lsm_memtable_empty(mem));
    CHECK(lsm_memtable_left(mem) >= 1000);
    CHECK_EQ(lsm_memtable_get(mem, &lookup, &found), LSMKV_NOT_FOUND);
    iter = lsm_memtable_iter(mem);
    lsm_iter_seek_first(iter);
    CHECK(!iter->valid);
    lsm_iter_seek_last(iter);
    CHECK(!iter->valid);
    lsm_iter_seek(iter, lsm_slice_make("\0\0\0\1keyTRAILER.", 15));
    CHECK(!iter->valid);
    CHECK_EQ(iter->status, LSMKV_OK);
    lsm_iter_destroy(iter);
    lsm_memtable_unref(mem);
}

LSM_TEST(memtable_lives_while_an_iterator_or_a_reference_holds_it) {
    lsm_memtable *mem = lsm_memtable_create(1 << 16, 5);
    lsm_rng rng = {1};
    reference all = {0};
    lsm_iter *iter = NULL;
    lsm_batch batch;

    CHECK(mem != NULL);
    lsm_batch_init(&batch);
    fill_batch(&batch, &all, &rng, &shapes[0], 1, 50);
    insert_batch(mem, &batch, 1);
    lsm_batch_deinit(&batch);
    reference_sort(&all);
    iter = lsm_memtable_iter(mem);
    lsm_memtable_ref(mem);
    lsm_memtable_unref(mem);
    lsm_memtable_unref(mem);
    lsm_iter_seek_first(iter);
    for (size_t place = 0; place < all.count; place++) {
        check_shows(iter, &all, place);
        lsm_iter_next(iter);
    }
    lsm_iter_destroy(iter);
    lsm_memtable_unref(NULL);
    free(all.versions);
}

/* Inserts batches of `count` records of these sizes until one does not fit, and says
 * how many entries there are then. */
static uint64_t fill_up(lsm_memtable *mem, uint32_t count, size_t key_size,
                        size_t value_size) {
    uint8_t *bytes = calloc(1, key_size + value_size + 8);
    uint64_t number = 0;
    lsm_batch batch;
    lsmkv_error err;

    CHECK(bytes != NULL);
    lsm_batch_init(&batch);
    for (;;) {
        lsm_mem_plan plan;
        uint64_t sequence = lsm_memtable_last_sequence(mem) + 1;

        lsm_batch_clear(&batch);
        for (uint32_t i = 0; i < count; i++) {
            lsm_put_u64(bytes, lsm_rng_next(&(lsm_rng){number++}));
            CHECK_OK(lsm_batch_put(&batch, 1, (lsmkv_bytes){bytes, key_size},
                                   (lsmkv_bytes){bytes + key_size, value_size}, &err));
        }
        lsm_batch_stamp(&batch, sequence, 0);
        CHECK_OK(lsm_mem_plan_init(&plan, batch_payload(&batch), &err));
        bool fits = plan.bytes <= lsm_memtable_left(mem);

        if (fits) {
            lsm_memtable_insert(mem, &plan, sequence);
        }
        lsm_mem_plan_deinit(&plan);
        if (!fits) {
            break;
        }
        CHECK(lsm_memtable_used(mem) <= lsm_memtable_charge(mem));
    }
    lsm_batch_deinit(&batch);
    free(bytes);
    return lsm_memtable_entry_count(mem);
}

LSM_TEST(memtable_can_be_filled_to_its_capacity_with_records_of_any_size) {
    enum { CAPACITY = 1 << 20 };
    static const struct {
        uint32_t count;
        size_t key_size;
        size_t value_size;
        uint64_t least; /* entries, so that little is wasted */
    } rows[] = {
        /* The index is full first; the batches end at different distances. */
        {100, 0, 0, CAPACITY / 55},
        {101, 0, 0, CAPACITY / 55},
        {155, 0, 0, CAPACITY / 55},
        {210, 0, 0, CAPACITY / 55},
        {999, 0, 0, CAPACITY / 55},
        /* Alone, a record reserves more. */
        {1, 4, 0, CAPACITY / 105},
        {7, 8, 8, CAPACITY / 70},
        {100, 16, 100, CAPACITY / 165},
        {1000, 16, 100, CAPACITY / 180},
        {3, 16, 1021, CAPACITY / 1120},
        /* The largest key. */
        {1, 65535, 7, CAPACITY / 66000},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(rows); i++) {
        lsm_memtable *mem = lsm_memtable_create(CAPACITY, i);

        CHECK(mem != NULL);
        uint64_t entries =
            fill_up(mem, rows[i].count, rows[i].key_size, rows[i].value_size);

        CHECK(entries >= rows[i].least);
        /* The index has a place for every 48 bytes. */
        CHECK(entries <= (CAPACITY + 8192) / 48);
        lsm_memtable_unref(mem);
    }
}

LSM_TEST(memtable_has_the_capacity_asked_for_while_it_is_empty) {
    for (uint64_t capacity = 0; capacity < 20000; capacity += 4) {
        lsm_memtable *mem = lsm_memtable_create(capacity, 1);

        CHECK(mem != NULL);
        CHECK(lsm_memtable_left(mem) >= capacity);
        CHECK(lsm_memtable_charge(mem) > capacity);
        lsm_memtable_unref(mem);
    }
}

LSM_TEST(memtable_of_a_plans_bytes_holds_that_plan) {
    for (uint32_t count = 1; count < 400; count += 7) {
        lsm_rng rng = {count};
        reference all = {0};
        lsm_mem_plan plan;
        lsm_batch batch;
        lsmkv_error err;

        lsm_batch_init(&batch);
        fill_batch(&batch, &all, &rng, &shapes[count % 7], 1, count);
        CHECK_OK(lsm_mem_plan_init(&plan, batch_payload(&batch), &err));
        lsm_memtable *mem = lsm_memtable_create(plan.bytes, count);

        CHECK(mem != NULL);
        CHECK(plan.bytes <= lsm_memtable_left(mem));
        lsm_memtable_insert(mem, &plan, 1);
        reference_sort(&all);
        check_iteration(mem, &all);
        lsm_mem_plan_deinit(&plan);
        lsm_memtable_unref(mem);
        lsm_batch_deinit(&batch);
        free(all.versions);
    }
}

LSM_TEST(memtable_create_and_iter_answer_null_without_memory) {
    for (uint64_t after = 0; after < 3; after++) {
        lsm_alloc_fail_after(after, 0);
        CHECK(lsm_memtable_create(1 << 16, 5) == NULL);
        lsm_alloc_fail_never();
    }
    CHECK(lsm_memtable_create(UINT64_MAX, 5) == NULL);
    CHECK(lsm_memtable_create(UINT64_C(1) << 34, 5) == NULL);

    lsm_memtable *mem = lsm_memtable_create(1 << 16, 5);

    CHECK(mem != NULL);
    lsm_alloc_fail_after(0, 0);
    CHECK(lsm_memtable_iter(mem) == NULL);
    lsm_alloc_fail_never();
    lsm_memtable_unref(mem);
}
