/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference for tests of memtables: a plain array of every version inserted,
 * sorted by internal key, and batches of random records over keys of several shapes.
 */
#ifndef LSM_TESTS_MEMTABLE_HELP_H
#define LSM_TESTS_MEMTABLE_HELP_H

#include "test.h"

#include <stdlib.h>
#include <string.h>

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

static inline lsm_slice version_ikey(const version *v) {
    return lsm_slice_make(v->ikey, v->size);
}

static inline int compare_versions(const void *a, const void *b) {
    return lsm_ikey_compare(version_ikey(a), version_ikey(b));
}

static inline void reference_add(reference *all, lsm_slice skey, uint64_t trailer) {
    if (all->count == all->capacity) {
        all->capacity = all->capacity == 0 ? 1024 : 2 * all->capacity;
        void *versions = realloc(all->versions, all->capacity * sizeof(version));

        CHECK(versions != NULL);
        all->versions = versions;
    }
    version *v = &all->versions[all->count++];

    memcpy(v->ikey, skey.data, skey.size);
    lsm_put_u64(v->ikey + skey.size, trailer);
    v->size = skey.size + LSM_TRAILER_SIZE;
    all->sorted = false;
}

static inline void reference_sort(reference *all) {
    if (!all->sorted) {
        qsort(all->versions, all->count, sizeof(version), compare_versions);
        all->sorted = true;
    }
}

/* The place of the first version >= ikey. */
static inline size_t reference_seek(const reference *all, lsm_slice ikey) {
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

static inline size_t value_make(uint64_t sequence, uint8_t value[16]) {
    size_t size = sequence % 17;

    memset(value, (int)(sequence & 0xFF), 16);
    return size;
}

static inline bool value_is(lsm_slice field, uint64_t trailer) {
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

static inline lsmkv_bytes make_key(lsm_rng *rng, const shape *form, uint8_t *key) {
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

static inline uint32_t make_namespace(lsm_rng *rng, const shape *form) {
    return 1 + (uint32_t)lsm_rng_below(rng, form->namespaces) * 77;
}

/* Fills the batch with random records and tells the reference. */
static inline void fill_batch(lsm_batch *batch, reference *all, lsm_rng *rng,
                              const shape *form, uint64_t first_sequence,
                              uint32_t count) {
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

static inline lsm_slice batch_payload(const lsm_batch *batch) {
    return lsm_slice_make(batch->record.data + LSM_RECORD_HEADER_SIZE,
                          lsm_batch_payload_size(batch));
}

static inline void insert_batch(lsm_memtable *mem, const lsm_batch *batch,
                                uint64_t first_sequence) {
    lsm_mem_plan plan;
    lsmkv_error err;

    CHECK_OK(lsm_mem_plan_init(&plan, batch_payload(batch), &err));
    CHECK_EQ(plan.count, batch->count);
    CHECK(plan.bytes <= lsm_memtable_left(mem));
    lsm_memtable_insert(mem, &plan, first_sequence);
    lsm_mem_plan_deinit(&plan);
}

static inline void check_shows(const lsm_iter *iter, const reference *all,
                               size_t place) {
    CHECK_EQ(iter->status, LSMKV_OK);
    CHECK_EQ(iter->valid, place < all->count);
    if (iter->valid) {
        CHECK(lsm_slice_equal(iter->key, version_ikey(&all->versions[place])));
        CHECK(value_is(iter->value, lsm_ikey_trailer(iter->key)));
    }
}

static inline void check_iteration(lsm_memtable *mem, const reference *all) {
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

#endif
