/* SPDX-License-Identifier: Apache-2.0
 *
 * Memtable and plans. The reference is a plain array of every version ever inserted,
 * sorted by internal key: point reads at every snapshot, iteration in both directions,
 * seeks and turns must agree with it, over keys of several shapes. Then the limits:
 * malformed batches, no memory, a full arena, a full index, keys of the largest size.
 * Last, readers beside the writer, for the thread sanitizer as much as for the answers.
 */
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "table/memtable.h"

enum { KEY_ROOM = 64 };

/* One version; the value is derived from the sequence. */
typedef struct version {
    uint8_t ikey[KEY_ROOM + LSM_IKEY_SIZE_MIN];
    size_t size;
} version;

typedef struct reference {
    version *versions; /* sorted by internal key while `sorted` */
    size_t count;
    size_t capacity;
    bool sorted;
} reference;

static lsm_slice version_ikey(const version *v) {
    return lsm_slice_make(v->ikey, v->size);
}

static int compare_versions(const void *a, const void *b) {
    return lsm_ikey_compare(version_ikey(a), version_ikey(b));
}

static void reference_add(reference *all, lsm_slice skey, uint64_t trailer) {
    if (all->count == all->capacity) {
        all->capacity = all->capacity == 0 ? 1024 : 2 * all->capacity;
        all->versions = realloc(all->versions, all->capacity * sizeof(version));
        CHECK(all->versions != NULL);
    }
    version *v = &all->versions[all->count++];

    memcpy(v->ikey, skey.data, skey.size);
    lsm_put_u64(v->ikey + skey.size, trailer);
    v->size = skey.size + LSM_TRAILER_SIZE;
    all->sorted = false;
}

static void reference_sort(reference *all) {
    if (!all->sorted) {
        qsort(all->versions, all->count, sizeof(version), compare_versions);
        all->sorted = true;
    }
}

/* The place of the first version >= ikey. */
static size_t reference_seek(const reference *all, lsm_slice ikey) {
    size_t low = 0;
    size_t high = all->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (lsm_ikey_compare(version_ikey(&all->versions[middle]), ikey) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static size_t value_make(uint64_t sequence, uint8_t value[16]) {
    size_t size = sequence % 17;

    memset(value, (int)(sequence & 0xFF), 16);
    return size;
}

static bool value_is(lsm_slice field, uint64_t trailer) {
    uint8_t value[16];
    size_t size = lsm_tag_kind(lsm_trailer_tag(trailer)) == LSM_KIND_DELETE
                      ? 0
                      : value_make(lsm_trailer_sequence(trailer), value);

    return lsm_slice_equal(field, lsm_slice_make(value, size));
}

/* How the keys of a run look. */
typedef struct shape {
    uint32_t namespaces;
    size_t shared; /* leading bytes that all user keys have */
    size_t least;  /* random bytes behind them */
    size_t most;
    unsigned alphabet;
} shape;

static const shape shapes[] = {
    {1, 0, 8, 8, 256},  /* random binary keys */
    {1, 10, 6, 6, 10},  /* a long common prefix */
    {3, 0, 0, 3, 3},    /* shorter than a window, many versions */
    {1, 0, 0, 40, 2},   /* prefixes of one another */
    {200, 4, 1, 12, 4}, /* many namespaces */
    {1, 20, 0, 20, 3},  /* sizes around the end of the prefix */
    {1, 3, 0, 0, 1},    /* one key */
};

static lsmkv_bytes make_key(lsm_rng *rng, const shape *form, uint8_t *key) {
    size_t size =
        form->shared + form->least + lsm_rng_below(rng, form->most - form->least + 1);

    memset(key, 'p', form->shared);
    for (size_t i = form->shared; i < size; i++) {
        unsigned byte = (unsigned)lsm_rng_below(rng, form->alphabet);

        /* Both ends of the range: signed comparisons would fail. */
        key[i] = (uint8_t)(byte & 1 ? 255 - byte : byte);
    }
    return (lsmkv_bytes){key, size};
}

static uint32_t make_namespace(lsm_rng *rng, const shape *form) {
    return 1 + (uint32_t)lsm_rng_below(rng, form->namespaces) * 77;
}

/* Fills the batch with random records and tells the reference. */
static void fill_batch(lsm_batch *batch, reference *all, lsm_rng *rng,
                       const shape *form, uint64_t first_sequence, uint32_t count) {
    lsmkv_error err;

    lsm_batch_clear(batch);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t skey[LSM_NAMESPACE_SIZE + KEY_ROOM];
        uint8_t value[16];
        lsmkv_bytes key = make_key(rng, form, skey + LSM_NAMESPACE_SIZE);
        uint32_t namespace_id = make_namespace(rng, form);
        uint64_t sequence = first_sequence + i;
        lsm_kind kind = lsm_rng_below(rng, 5) == 0 ? LSM_KIND_DELETE : LSM_KIND_PUT;

        lsm_put_u32_be(skey, namespace_id);
        if (kind == LSM_KIND_DELETE) {
            CHECK_OK(lsm_batch_delete(batch, namespace_id, key, &err));
        } else {
            lsmkv_bytes bytes = {value, value_make(sequence, value)};

            CHECK_OK(lsm_batch_put(batch, namespace_id, key, bytes, &err));
        }
        reference_add(all, lsm_slice_make(skey, LSM_NAMESPACE_SIZE + key.size),
                      lsm_trailer_make(sequence, (uint8_t)kind));
    }
    lsm_batch_stamp(batch, first_sequence, 0);
}

static lsm_slice batch_payload(const lsm_batch *batch) {
    return lsm_slice_make(batch->record.data + LSM_RECORD_HEADER_SIZE,
                          lsm_batch_payload_size(batch));
}

static void insert_batch(lsm_memtable *mem, const lsm_batch *batch,
                         uint64_t first_sequence) {
    lsm_mem_plan plan;
    lsmkv_error err;

    CHECK_OK(lsm_mem_plan_init(&plan, batch_payload(batch), &err));
    CHECK_EQ(plan.count, batch->count);
    CHECK(plan.bytes <= lsm_memtable_left(mem));
    lsm_memtable_insert(mem, &plan, first_sequence);
    lsm_mem_plan_deinit(&plan);
}

static void check_shows(const lsm_iter *iter, const reference *all, size_t place) {
    CHECK_EQ(iter->status, LSMKV_OK);
    CHECK_EQ(iter->valid, place < all->count);
    if (iter->valid) {
        CHECK(lsm_slice_equal(iter->key, version_ikey(&all->versions[place])));
        CHECK(value_is(iter->value, lsm_ikey_trailer(iter->key)));
    }
}

static void check_iteration(lsm_memtable *mem, const reference *all) {
    lsm_iter *iter = lsm_memtable_iter(mem);
    size_t place = 0;

    CHECK(iter != NULL);
    for (lsm_iter_seek_first(iter); place < all->count; place++) {
        check_shows(iter, all, place);
        lsm_iter_next(iter);
    }
    CHECK(!iter->valid);
    for (lsm_iter_seek_last(iter); place > 0; place--) {
        check_shows(iter, all, place - 1);
        lsm_iter_prev(iter);
    }
    CHECK(!iter->valid);
    lsm_iter_destroy(iter);
}

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
    CHECK_EQ(lsm_memtable_first_sequence(mem), 1);
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

/* Keys 0..count of 8 decimal digits, in one batch, the i-th being pick(i). */
static void put_numbers(lsm_batch *batch, reference *all, uint64_t first_sequence,
                        uint32_t count, uint32_t (*pick)(uint32_t, uint32_t)) {
    lsmkv_error err;

    lsm_batch_clear(batch);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t skey[LSM_NAMESPACE_SIZE + 8] = {0, 0, 0, 1};
        uint32_t number = pick(i, count);
        uint8_t value[16];
        lsmkv_bytes bytes = {value, value_make(first_sequence + i, value)};

        for (size_t digit = 0; digit < 8; digit++) {
            skey[LSM_NAMESPACE_SIZE + 7 - digit] = (uint8_t)('0' + number % 10);
            number /= 10;
        }
        CHECK_OK(lsm_batch_put(batch, 1, (lsmkv_bytes){skey + LSM_NAMESPACE_SIZE, 8},
                               bytes, &err));
        reference_add(all, lsm_slice_make(skey, sizeof(skey)),
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
    CHECK_EQ(lsm_memtable_first_sequence(mem), 0);
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
        {100, 0, 0, CAPACITY / 52},      /* the index is full first */
        {1, 4, 0, CAPACITY / 105},       /* alone, a record reserves more */
        {7, 8, 8, CAPACITY / 70},        /**/
        {1000, 16, 100, 6000},           /**/
        {100, 16, 100, CAPACITY / 165},  /**/
        {3, 16, 1021, CAPACITY / 1120},  /**/
        {1, 65535, 7, CAPACITY / 66000}, /* the largest key */
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(rows); i++) {
        lsm_memtable *mem = lsm_memtable_create(CAPACITY, i);

        CHECK(mem != NULL);
        CHECK(lsm_memtable_left(mem) >= CAPACITY);
        CHECK(fill_up(mem, rows[i].count, rows[i].key_size, rows[i].value_size) >=
              rows[i].least);
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

LSM_TEST(plan_answers_no_memory_at_each_allocation) {
    lsm_rng rng = {1};
    reference all = {0};
    lsm_batch batch;

    lsm_batch_init(&batch);
    fill_batch(&batch, &all, &rng, &shapes[0], 1, 500);
    for (uint64_t after = 0; after < 2; after++) {
        lsm_mem_plan plan;
        lsmkv_error err;

        lsm_alloc_fail_after(after, 0);
        CHECK_STATUS(lsm_mem_plan_init(&plan, batch_payload(&batch), &err),
                     LSMKV_NO_MEMORY);
        lsm_alloc_fail_never();
    }
    lsm_batch_deinit(&batch);
    free(all.versions);
}

LSM_TEST(plan_refuses_every_batch_that_was_cut_or_extended) {
    lsm_rng rng = {1};
    reference all = {0};
    lsm_batch batch;

    lsm_batch_init(&batch);
    fill_batch(&batch, &all, &rng, &shapes[1], 1, 30);
    lsm_slice payload = batch_payload(&batch);

    for (size_t size = 0; size <= payload.size + 1; size++) {
        /* Copied, so that the address sanitizer sees a byte read too many. */
        uint8_t *bytes = malloc(size + 1);
        lsm_mem_plan plan;
        lsmkv_error err;

        CHECK(bytes != NULL);
        memcpy(bytes + 1, payload.data, size < payload.size ? size : payload.size);
        bytes[size] = size > payload.size ? 0 : bytes[size];
        lsmkv_status status =
            lsm_mem_plan_init(&plan, lsm_slice_make(bytes + 1, size), &err);

        CHECK_EQ(status, size == payload.size ? LSMKV_OK : LSMKV_INVALID_ARGUMENT);
        if (status == LSMKV_OK) {
            lsm_mem_plan_deinit(&plan);
        }
        free(bytes);
    }
    lsm_batch_deinit(&batch);
    free(all.versions);
}

LSM_TEST(plan_refuses_records_that_break_a_rule) {
    static const struct {
        const char *what;
        uint8_t count;
        uint8_t size;
        uint8_t record[16];
    } rows[] = {
        {"an unknown kind", 1, 7, {9, 4, 0, 0, 0, 1, 0}},
        {"an unknown bit", 1, 7, {0x41, 4, 0, 0, 0, 1, 0}},
        {"a key without namespace", 1, 6, {1, 3, 0, 0, 1, 0}},
        {"a deletion with a value", 1, 8, {2, 4, 0, 0, 0, 1, 1, 'x'}},
        {"an expiry that is cut", 1, 8, {0x11, 4, 0, 0, 0, 1, 1, 'x'}},
        {"no record at all", 0, 0, {0}},
        {"fewer records than it says", 2, 14, {1, 4, 0, 0, 0, 1, 0, 1, 9}},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(rows); i++) {
        uint8_t payload[LSM_BATCH_HEADER_SIZE + 16] = {1};
        lsm_mem_plan plan;
        lsmkv_error err;

        payload[16] = rows[i].count;
        memcpy(payload + LSM_BATCH_HEADER_SIZE, rows[i].record, rows[i].size);
        CHECK_STATUS(
            lsm_mem_plan_init(
                &plan, lsm_slice_make(payload, LSM_BATCH_HEADER_SIZE + rows[i].size),
                &err),
            LSMKV_INVALID_ARGUMENT);
    }
}

LSM_TEST(plan_sorts_by_key_and_newest_version_first) {
    for (uint32_t count = 1; count < 700; count = count * 3 / 2 + 1) {
        for (size_t i = 0; i < LSM_ARRAY_COUNT(shapes); i++) {
            lsm_rng rng = {count};
            reference all = {0};
            lsm_mem_plan plan;
            lsm_batch batch;
            lsmkv_error err;

            lsm_batch_init(&batch);
            fill_batch(&batch, &all, &rng, &shapes[i], 1, count);
            reference_sort(&all);
            CHECK_OK(lsm_mem_plan_init(&plan, batch_payload(&batch), &err));
            for (uint32_t at = 0; at < count; at++) {
                uint32_t place = plan.order == NULL ? at : plan.order[at];
                const lsm_mem_record *record = &plan.records[place];
                lsm_slice expected = version_ikey(&all.versions[at]);
                bool shadowed =
                    at > 0 &&
                    lsm_slice_equal(lsm_ikey_skey(expected),
                                    lsm_ikey_skey(version_ikey(&all.versions[at - 1])));

                CHECK_EQ(record->index + 1,
                         lsm_trailer_sequence(lsm_ikey_trailer(expected)));
                CHECK(lsm_slice_equal(lsm_slice_make(record->skey, record->skey_size),
                                      lsm_ikey_skey(expected)));
                CHECK_EQ(record->shadowed, shadowed);
            }
            lsm_mem_plan_deinit(&plan);
            lsm_batch_deinit(&batch);
            free(all.versions);
        }
    }
}

/* One writer, several readers. Key k is written over and over; round r gives all keys
 * the sequences r * KEYS + 1 .. (r + 1) * KEYS, in an order of its own. */
enum { KEYS = 400, ROUNDS = 30, READERS = 3 };

typedef struct shared_run {
    lsm_memtable *mem;
    _Atomic uint64_t published;
    _Atomic uint64_t reads; /* rounds of readers */
} shared_run;

static lsmkv_bytes numbered_key(uint32_t number, uint8_t key[8]) {
    lsm_put_u64(key, lsm_rng_next(&(lsm_rng){number}));
    return (lsmkv_bytes){key, 8};
}

/* The key that gets this sequence: a permutation of KEYS for every round. */
static uint32_t key_of(uint64_t sequence) {
    uint64_t round = (sequence - 1) / KEYS;

    return (uint32_t)(((sequence - 1) * 7 + round * 31) % KEYS);
}

static void *write_rounds(void *context) {
    shared_run *run = context;
    lsm_rng rng = {9};
    uint64_t sequence = 1;
    lsm_batch batch;
    lsmkv_error err;

    lsm_batch_init(&batch);
    while (sequence <= KEYS * ROUNDS) {
        uint64_t most = 1 + lsm_rng_below(&rng, 50);
        uint64_t first = sequence;

        lsm_batch_clear(&batch);
        for (; sequence <= KEYS * ROUNDS && sequence < first + most; sequence++) {
            uint8_t key[8];
            uint8_t value[16];
            lsmkv_bytes bytes = {value, value_make(sequence, value)};

            CHECK_OK(lsm_batch_put(&batch, 1, numbered_key(key_of(sequence), key),
                                   bytes, &err));
        }
        lsm_batch_stamp(&batch, first, 0);
        insert_batch(run->mem, &batch, first);
        uint64_t reads = atomic_load(&run->reads);

        atomic_store_explicit(&run->published, sequence - 1, memory_order_release);
        /* The next batch goes in while readers are at work with this one. */
        while (atomic_load(&run->reads) == reads) {
            (void)sched_yield();
        }
    }
    lsm_batch_deinit(&batch);
    return NULL;
}

/* Every key that was written by `sequence` is found with its newest version of then. */
static void read_points(const lsm_memtable *mem, lsm_rng *rng, uint64_t sequence) {
    uint64_t back = lsm_rng_below(rng, sequence < KEYS ? sequence : KEYS);
    uint64_t expected = sequence - back;
    uint8_t skey[12] = {0, 0, 0, 1};
    lsm_found found;

    (void)numbered_key(key_of(expected), skey + 4);
    for (uint64_t later = expected + 1; later <= sequence; later++) {
        expected = key_of(later) == key_of(expected) ? later : expected;
    }
    lsm_lookup lookup = lsm_lookup_make(lsm_slice_make(skey, sizeof(skey)), sequence);

    CHECK_EQ(lsm_memtable_get(mem, &lookup, &found), LSMKV_OK);
    CHECK_EQ(lsm_trailer_sequence(found.trailer), expected);
    CHECK(value_is(found.field, found.trailer));
}

/* An iteration passes every version up to `sequence` once, in order. */
static void read_all(lsm_memtable *mem, uint64_t sequence, bool forward) {
    lsm_iter *iter = lsm_memtable_iter(mem);
    lsm_slice before = {NULL, 0};
    uint64_t seen = 0;

    CHECK(iter != NULL);
    if (forward) {
        lsm_iter_seek_first(iter);
    } else {
        lsm_iter_seek_last(iter);
    }
    while (iter->valid) {
        uint64_t trailer = lsm_ikey_trailer(iter->key);

        CHECK(value_is(iter->value, trailer));
        if (before.data != NULL) {
            int order = lsm_ikey_compare(before, iter->key);

            CHECK(forward ? order < 0 : order > 0);
        }
        before = iter->key;
        seen += lsm_trailer_sequence(trailer) <= sequence;
        if (forward) {
            lsm_iter_next(iter);
        } else {
            lsm_iter_prev(iter);
        }
    }
    CHECK_EQ(seen, sequence);
    lsm_iter_destroy(iter);
}

static void *read_rounds(void *context) {
    shared_run *run = context;
    lsm_rng rng = {(uint64_t)(uintptr_t)&rng};
    uint64_t sequence = 0;

    for (unsigned round = 0; sequence < KEYS * ROUNDS; round++) {
        sequence = atomic_load_explicit(&run->published, memory_order_acquire);
        if (sequence == 0) {
            (void)sched_yield();
            continue;
        }
        atomic_fetch_add(&run->reads, 1);
        for (unsigned i = 0; i < 200; i++) {
            read_points(run->mem, &rng, sequence);
            read_points(run->mem, &rng, 1 + lsm_rng_below(&rng, sequence));
        }
        if (round % 4 == 0) {
            read_all(run->mem, sequence, round % 8 == 0);
        }
    }
    return NULL;
}

LSM_TEST(memtable_readers_beside_the_writer_see_all_that_was_published) {
    shared_run run = {.mem = lsm_memtable_create(8 << 20, 5)};
    pthread_t threads[READERS + 1];

    CHECK(run.mem != NULL);
    for (size_t i = 0; i < READERS; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, read_rounds, &run), 0);
    }
    CHECK_EQ(pthread_create(&threads[READERS], NULL, write_rounds, &run), 0);
    for (size_t i = 0; i <= READERS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    lsm_memtable_unref(run.mem);
}
