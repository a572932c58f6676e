/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: range deletes in a memtable hide what they should from point reads, at every
 * sequence, whether a set has been built over them or not.
 * Method: random batches of puts, deletes and range deletes; every answer compared with
 * a walk over all that was written.
 */
#include "test.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "table/memtable.h"

enum { KEYS = 64, RECORDS_MAX = 12000, KEY_SIZE = 2, SKEY_SIZE = 6 };

typedef struct record {
    uint8_t kind;
    uint32_t start;
    uint32_t stop;
} record;

typedef struct history {
    record records[RECORDS_MAX + 1]; /* by sequence */
    uint64_t last;
} history;

static history written;

static lsm_slice skey_of(uint32_t key, uint8_t skey[SKEY_SIZE]) {
    lsm_put_u32_be(skey, LSM_NAMESPACE_DEFAULT);
    skey[4] = (uint8_t)(key >> 8);
    skey[5] = (uint8_t)key;
    return lsm_slice_make(skey, SKEY_SIZE);
}

static lsmkv_bytes user_key(const uint8_t skey[SKEY_SIZE]) {
    return (lsmkv_bytes){skey + LSM_NAMESPACE_SIZE, KEY_SIZE};
}

static void add(lsm_batch *batch, const record *r) {
    uint8_t start[SKEY_SIZE];
    uint8_t stop[SKEY_SIZE];
    lsmkv_error err;

    (void)skey_of(r->start, start);
    (void)skey_of(r->stop, stop);
    if (r->kind == LSM_KIND_PUT) {
        CHECK_OK(lsm_batch_put(batch, LSM_NAMESPACE_DEFAULT, user_key(start),
                               (lsmkv_bytes){"v", 1}, &err));
    } else if (r->kind == LSM_KIND_DELETE) {
        CHECK_OK(lsm_batch_delete(batch, LSM_NAMESPACE_DEFAULT, user_key(start), &err));
    } else {
        lsmkv_range range = {user_key(start), user_key(stop), true, true};
        CHECK_OK(lsm_batch_delete_range(batch, LSM_NAMESPACE_DEFAULT, &range, &err));
    }
}

/* Writes a batch of `count` records, of which about `ranges` in 16 delete ranges. */
static void write_batch(lsm_memtable *mem, lsm_rng *rng, uint32_t count,
                        uint32_t ranges, uint32_t keys) {
    lsm_mem_plan plan;
    lsm_batch batch;
    lsmkv_error err;

    lsm_batch_init(&batch);
    for (uint32_t i = 0; i < count; i++) {
        record *r = &written.records[written.last + 1 + i];
        uint32_t start = (uint32_t)lsm_rng_below(rng, keys - 1);
        bool is_range = lsm_rng_below(rng, 16) < ranges;
        uint32_t width = 1 + (uint32_t)lsm_rng_below(rng, keys - 1 - start);
        *r = (record){LSM_KIND_PUT, start, start + width};
        if (is_range) {
            r->kind = LSM_KIND_RANGE_DELETE;
        } else if (lsm_rng_below(rng, 5) == 0) {
            r->kind = LSM_KIND_DELETE;
        }
        add(&batch, r);
    }
    CHECK_EQ(batch.count, count);
    lsm_batch_stamp(&batch, written.last + 1, 0);
    CHECK_OK(
        lsm_mem_plan_init(&plan,
                          lsm_slice_make(batch.record.data + LSM_RECORD_HEADER_SIZE,
                                         lsm_batch_payload_size(&batch)),
                          &err));
    CHECK_EQ(plan.sequence_count, count);
    CHECK_EQ(plan.count + plan.range_count, count);
    lsm_memtable_insert(mem, &plan, written.last + 1);
    written.last += count;
    lsm_mem_plan_deinit(&plan);
    lsm_batch_deinit(&batch);
}

/* The sequence and kind of the newest record about a key; false: none. */
static bool expected(uint32_t key, uint64_t sequence, uint64_t *trailer) {
    for (uint64_t at = sequence < written.last ? sequence : written.last; at > 0;
         at--) {
        const record *r = &written.records[at];
        bool is_range = r->kind == LSM_KIND_RANGE_DELETE;
        if (is_range ? r->start <= key && key < r->stop : r->start == key) {
            *trailer = lsm_trailer_make(at, r->kind);
            return true;
        }
    }
    return false;
}

static void check_get(const lsm_memtable *mem, uint32_t key, uint64_t sequence) {
    uint8_t skey[SKEY_SIZE];
    lsm_lookup lookup = lsm_lookup_make(skey_of(key, skey), sequence);
    lsm_found found = {0};
    uint64_t trailer = 0;
    bool there = expected(key, sequence, &trailer);

    CHECK_EQ(lsm_memtable_get(mem, &lookup, &found),
             there ? LSMKV_OK : LSMKV_NOT_FOUND);
    CHECK(!there || found.trailer == trailer);
}

LSM_TEST(memtable_range_deletes_hide_what_is_older_at_every_sequence) {
    for (uint64_t seed = 1; seed <= 6; seed++) {
        lsm_memtable *mem = lsm_memtable_create(1 << 20, seed);
        lsm_rng rng = {seed};
        uint64_t ranges = 0;

        CHECK(mem != NULL);
        written.last = 0;
        while (written.last < 600) {
            write_batch(mem, &rng, 1 + (uint32_t)lsm_rng_below(&rng, 7), 6, KEYS);
            for (int i = 0; i < 40; i++) {
                check_get(mem, (uint32_t)lsm_rng_below(&rng, KEYS),
                          lsm_rng_below(&rng, 2) == 0
                              ? written.last
                              : lsm_rng_below(&rng, written.last + 1));
            }
        }
        for (uint64_t at = 1; at <= written.last; at++) {
            ranges += written.records[at].kind == LSM_KIND_RANGE_DELETE;
        }
        CHECK_EQ(lsm_memtable_range_count(mem), ranges);
        CHECK_EQ(lsm_memtable_entry_count(mem), written.last - ranges);
        CHECK_EQ(lsm_memtable_last_sequence(mem), written.last);
        lsm_memtable_unref(mem);
    }
}

LSM_TEST(memtable_of_thousands_of_range_deletes_is_full_and_right) {
    lsm_memtable *mem = lsm_memtable_create(4 << 20, 7);
    lsm_rng rng = {7};
    uint64_t charge = lsm_memtable_charge(mem);

    CHECK(mem != NULL);
    written.last = 0;
    while (lsm_memtable_range_count(mem) < 5000) {
        bool full = lsm_memtable_range_count(mem) >= LSM_MEM_RANGES_MAX;
        CHECK_EQ(lsm_memtable_left(mem) == 0, full);
        /* Of one group, so what fitted at its beginning still does. */
        write_batch(mem, &rng, 50, 15, 3000);
    }
    CHECK(lsm_memtable_charge(mem) > charge);
    for (int i = 0; i < 3000; i++) {
        check_get(mem, (uint32_t)lsm_rng_below(&rng, 3000),
                  i % 2 == 0 ? written.last : lsm_rng_below(&rng, written.last + 1));
    }
    lsm_memtable_unref(mem);
}

LSM_TEST(memtable_of_range_deletes_alone_is_not_empty) {
    lsm_memtable *mem = lsm_memtable_create(1 << 16, 1);
    lsm_rng rng = {3};

    CHECK(mem != NULL);
    CHECK(lsm_memtable_empty(mem));
    written.last = 0;
    write_batch(mem, &rng, 1, 16, KEYS);
    CHECK(!lsm_memtable_empty(mem));
    CHECK_EQ(lsm_memtable_entry_count(mem), 0);
    lsm_iter *iter = lsm_memtable_iter(mem);
    CHECK(iter != NULL);
    lsm_iter_seek_first(iter);
    CHECK(!iter->valid);
    lsm_iter_seek_last(iter);
    CHECK(!iter->valid);
    lsm_iter_destroy(iter);
    lsm_memtable_unref(mem);
}

LSM_TEST(memtable_ranges_survive_the_lack_of_memory_for_a_set) {
    lsm_memtable *mem = lsm_memtable_create(1 << 20, 9);
    lsm_rng rng = {9};

    CHECK(mem != NULL);
    written.last = 0;
    for (int i = 0; i < 300; i++) {
        lsm_alloc_fail_after(1 + (uint64_t)i % 4, 1); /* the batch has its memory */
        write_batch(mem, &rng, 1, 16, KEYS);
        lsm_alloc_fail_never();
    }
    for (uint32_t key = 0; key < KEYS; key++) {
        check_get(mem, key, written.last);
        check_get(mem, key, written.last / 2);
    }
    lsm_memtable_unref(mem);
}

/* What a list gathers answers as the memtable does. */
LSM_TEST(memtable_lists_its_range_deletes) {
    lsm_memtable *mem = lsm_memtable_create(1 << 20, 5);
    lsm_rng rng = {5};
    uint8_t from[SKEY_SIZE];
    uint8_t to[SKEY_SIZE];

    CHECK(mem != NULL);
    written.last = 0;
    for (int i = 0; i < 90; i++) {
        write_batch(mem, &rng, 1, 16, KEYS);
    }
    for (int round = 0; round < 60; round++) {
        uint32_t start = (uint32_t)lsm_rng_below(&rng, KEYS);
        uint32_t stop = start + (uint32_t)lsm_rng_below(&rng, KEYS - start);
        lsm_range_list list;
        size_t place = 0;

        lsm_range_list_init(&list);
        list.start = skey_of(start, from);
        list.stop = skey_of(stop, to);
        list.newest_only = round % 2 == 0;
        list.sequence_max = lsm_rng_below(&rng, written.last + 2);
        lsm_strata strata = {&list.sequence_max, 1};
        CHECK(lsm_memtable_list_ranges(mem, &list));
        lsm_range_set *set = lsm_range_set_build(list.items, list.count, &strata);
        CHECK(set != NULL);
        for (uint32_t key = start; key < stop; key++) {
            uint8_t skey[SKEY_SIZE];
            uint64_t trailer = 0;
            bool there = expected(key, list.sequence_max, &trailer);
            CHECK_EQ(
                lsm_range_set_cover(set, skey_of(key, skey), list.sequence_max, &place),
                there ? lsm_trailer_sequence(trailer) : 0);
        }
        lsm_range_set_destroy(set);
        lsm_range_list_deinit(&list);
    }
    lsm_memtable_unref(mem);
}

LSM_TEST(batches_with_malformed_range_deletes_are_refused) {
    static const struct {
        const char *start;
        const char *stop;
        size_t start_size;
        size_t stop_size;
    } cases[] = {
        {"\0\0\0\1b", "\0\0\0\1a", 5, 5}, {"\0\0\0\1b", "\0\0\0\1b", 5, 5},
        {"\0\0\0\1b", "\0\0\0", 5, 3},    {"\0\0\0\1b", "\0\0\0\2a", 5, 5},
        {"\0\0\0\1b", "\0\0\0\3", 5, 4},  {"\0\0\0\1b", "", 5, 0},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        uint8_t bytes[64] = {0};
        size_t at = LSM_BATCH_HEADER_SIZE;
        lsm_mem_plan plan;
        lsmkv_error err;

        bytes[0] = 1;  /* sequence */
        bytes[16] = 1; /* count */
        bytes[at++] = LSM_KIND_RANGE_DELETE;
        bytes[at++] = (uint8_t)cases[i].start_size;
        memcpy(bytes + at, cases[i].start, cases[i].start_size);
        at += cases[i].start_size;
        bytes[at++] = (uint8_t)cases[i].stop_size;
        memcpy(bytes + at, cases[i].stop, cases[i].stop_size);
        at += cases[i].stop_size;
        CHECK_STATUS(lsm_mem_plan_init(&plan, lsm_slice_make(bytes, at), &err),
                     LSMKV_INVALID_ARGUMENT);
    }
}
