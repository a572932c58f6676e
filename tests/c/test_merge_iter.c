/* SPDX-License-Identifier: Apache-2.0
 *
 * The merging iterator over children that are arrays, against the sorted union of the
 * arrays: random walks of seeks, steps and turns; equal keys; children that fail at
 * each of their entries in each direction; a memtable that grows while the merge turns.
 *
 * A child that is to fail does so instead of showing one chosen entry, however it came
 * there, and goes on failing until it is positioned anew.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "memtable_help.h"
#include "table/merge_iter.h"

enum { CHILDREN_MAX = 12, ENTRIES_MAX = 40, NEVER = -1 };

/* An entry of the union: (ikey, rank of the child) is its order; its value names the
 * child, so that equal keys can be told apart. */
typedef struct entry {
    uint8_t ikey[24];
    size_t ikey_size;
    uint8_t rank;
} entry;

static lsm_slice entry_ikey(const entry *e) {
    return lsm_slice_make(e->ikey, e->ikey_size);
}

static int compare_entries(const void *a, const void *b) {
    const entry *left = a;
    const entry *right = b;
    int order = lsm_ikey_compare(entry_ikey(left), entry_ikey(right));

    return order != 0 ? order : (left->rank > right->rank) - (left->rank < right->rank);
}

typedef struct array_iter {
    lsm_iter base;
    const entry *entries; /* sorted; of the test */
    int count;
    int at;      /* -1 or count: outside */
    int fail_at; /* NEVER, or the entry that cannot be shown */
    bool fail_once;
    int *destroyed;
} array_iter;

static array_iter *as_array_iter(lsm_iter *iter) {
    return LSM_CONTAINER_OF(iter, array_iter, base);
}

static void array_show(array_iter *iter, int at) {
    iter->at = at;
    iter->base.valid = at >= 0 && at < iter->count && at != iter->fail_at;
    iter->base.status = LSMKV_OK;
    if (iter->fail_at != NEVER && at == iter->fail_at) {
        iter->base.status =
            lsm_fail_at(&iter->base.error, LSMKV_IO_ERROR, "array", at, "as told");
        iter->fail_at = iter->fail_once ? NEVER : at;
    }
    if (iter->base.valid) {
        iter->base.key = entry_ikey(&iter->entries[at]);
        iter->base.value = lsm_slice_make(&iter->entries[at].rank, 1);
    } else {
        /* A merge that looks at an entry that is not there shall be found out. */
        iter->base.key = lsm_slice_make(NULL, 0);
        iter->base.value = lsm_slice_make(NULL, 0);
    }
}

static void array_destroy(lsm_iter *base) {
    array_iter *iter = as_array_iter(base);

    *iter->destroyed += 1;
    lsm_free(iter);
}

static void array_seek_first(lsm_iter *base) {
    array_show(as_array_iter(base), 0);
}

static void array_seek_last(lsm_iter *base) {
    array_show(as_array_iter(base), as_array_iter(base)->count - 1);
}

static void array_seek(lsm_iter *base, lsm_slice ikey) {
    array_iter *iter = as_array_iter(base);
    int at = 0;

    while (at < iter->count &&
           lsm_ikey_compare(entry_ikey(&iter->entries[at]), ikey) < 0) {
        at++;
    }
    array_show(iter, at);
}

static void array_next(lsm_iter *base) {
    CHECK(base->valid);
    array_show(as_array_iter(base), as_array_iter(base)->at + 1);
}

static void array_prev(lsm_iter *base) {
    CHECK(base->valid);
    array_show(as_array_iter(base), as_array_iter(base)->at - 1);
}

static const lsm_iter_ops array_ops = {
    .destroy = array_destroy,
    .seek_first = array_seek_first,
    .seek_last = array_seek_last,
    .seek = array_seek,
    .next = array_next,
    .prev = array_prev,
};

/* Children, their union, and the merge under test. */
typedef struct fixture {
    entry entries[CHILDREN_MAX][ENTRIES_MAX];
    int counts[CHILDREN_MAX];
    size_t child_count;
    entry all[CHILDREN_MAX * ENTRIES_MAX]; /* sorted */
    int all_count;
    lsm_iter *children[CHILDREN_MAX];
    int destroyed;
    lsm_iter *merge;
} fixture;

static lsm_iter *make_child(fixture *fix, size_t rank) {
    array_iter *iter = lsm_alloc(sizeof(*iter));

    CHECK(iter != NULL);
    memset(iter, 0, sizeof(*iter));
    iter->base.ops = &array_ops;
    iter->entries = fix->entries[rank];
    iter->count = fix->counts[rank];
    iter->fail_at = NEVER;
    iter->destroyed = &fix->destroyed;
    return &iter->base;
}

static void make_entry(entry *e, lsm_rng *rng, size_t rank, bool equal_keys) {
    size_t key_size = lsm_rng_below(rng, 7);

    memset(e, 0, sizeof(*e));
    lsm_put_u32_be(e->ikey, 1 + (uint32_t)lsm_rng_below(rng, 2));
    for (size_t i = 0; i < key_size; i++) {
        e->ikey[LSM_NAMESPACE_SIZE + i] = (uint8_t)(lsm_rng_below(rng, 2) * 255);
    }
    uint64_t sequence = equal_keys ? lsm_rng_below(rng, 3) : lsm_rng_next(rng) >> 8;

    lsm_put_u64(e->ikey + LSM_NAMESPACE_SIZE + key_size,
                lsm_trailer_make(sequence, LSM_KIND_PUT));
    e->ikey_size = LSM_IKEY_SIZE_MIN + key_size;
    e->rank = (uint8_t)rank;
}

/* Makes children of up to ENTRIES_MAX entries; a child holds no key twice. */
static void fixture_init(fixture *fix, lsm_rng *rng, size_t child_count,
                         bool equal_keys) {
    memset(fix, 0, sizeof(*fix));
    fix->child_count = child_count;
    for (size_t rank = 0; rank < child_count; rank++) {
        entry *entries = fix->entries[rank];
        int wanted = (int)lsm_rng_below(rng, ENTRIES_MAX + 1);
        int count = 0;

        for (int i = 0; i < wanted; i++) {
            make_entry(&entries[i], rng, rank, equal_keys);
        }
        qsort(entries, (size_t)wanted, sizeof(*entries), compare_entries);
        for (int i = 0; i < wanted; i++) {
            if (count == 0 || compare_entries(&entries[count - 1], &entries[i]) != 0) {
                entries[count++] = entries[i];
            }
        }
        fix->counts[rank] = count;
        memcpy(fix->all + fix->all_count, entries, (size_t)count * sizeof(*entries));
        fix->all_count += count;
        fix->children[rank] = make_child(fix, rank);
    }
    qsort(fix->all, (size_t)fix->all_count, sizeof(*fix->all), compare_entries);
    fix->merge = lsm_merge_iter(fix->children, child_count);
    CHECK(fix->merge != NULL);
}

static void fixture_deinit(fixture *fix) {
    lsm_iter_destroy(fix->merge);
    CHECK_EQ(fix->destroyed, fix->child_count);
}

static int find_in_all(const fixture *fix, lsm_slice ikey) {
    int at = 0;

    while (at < fix->all_count &&
           lsm_ikey_compare(entry_ikey(&fix->all[at]), ikey) < 0) {
        at++;
    }
    return at;
}

static void check_merge_shows(const fixture *fix, int at) {
    const lsm_iter *merge = fix->merge;

    CHECK_EQ(merge->status, LSMKV_OK);
    CHECK_EQ(merge->valid, at >= 0 && at < fix->all_count);
    if (merge->valid) {
        CHECK(lsm_slice_equal(merge->key, entry_ikey(&fix->all[at])));
        CHECK_EQ(merge->value.data[0], fix->all[at].rank);
    }
}

/* One random movement of the merge and of the place that it should show then. */
static int move_somewhere(fixture *fix, lsm_rng *rng, int at) {
    uint64_t choice = lsm_rng_below(rng, 40);
    entry target;

    if (fix->merge->valid && choice >= 4) {
        if (choice < 24) {
            lsm_iter_next(fix->merge);
            return at + 1;
        }
        lsm_iter_prev(fix->merge);
        return at - 1;
    }
    if (choice == 0) {
        lsm_iter_seek_first(fix->merge);
        return 0;
    }
    if (choice == 1) {
        lsm_iter_seek_last(fix->merge);
        return fix->all_count - 1;
    }
    make_entry(&target, rng, 0, choice % 2 == 0);
    lsm_iter_seek(fix->merge, entry_ikey(&target));
    return find_in_all(fix, entry_ikey(&target));
}

static void walk(uint64_t seed, bool equal_keys) {
    lsm_rng rng = {seed};

    for (size_t child_count = 0; child_count <= CHILDREN_MAX; child_count++) {
        for (unsigned round = 0; round < 20; round++) {
            static fixture fix;
            int at = 0;

            fixture_init(&fix, &rng, child_count, equal_keys);
            lsm_iter_seek_first(fix.merge);
            check_merge_shows(&fix, 0);
            for (unsigned step = 0; step < 400; step++) {
                at = move_somewhere(&fix, &rng, at);
                check_merge_shows(&fix, at);
            }
            fixture_deinit(&fix);
        }
    }
}

LSM_TEST(merge_agrees_with_the_sorted_union_on_random_walks) {
    walk(1, false);
}

LSM_TEST(merge_orders_equal_keys_by_child_in_both_directions) {
    walk(2, true);
}

/* Walks on until the merge is invalid, checking every entry on the way. Returns the
 * place where it became invalid. */
static int walk_to_end(fixture *fix, int at, int step) {
    while (fix->merge->valid) {
        check_merge_shows(fix, at);
        at += step;
        if (step > 0) {
            lsm_iter_next(fix->merge);
        } else {
            lsm_iter_prev(fix->merge);
        }
    }
    return at;
}

static void check_failed(const lsm_iter *merge, int fail_at) {
    CHECK(!merge->valid);
    CHECK_EQ(merge->status, LSMKV_IO_ERROR);
    CHECK_EQ(merge->error.status, LSMKV_IO_ERROR);
    CHECK_EQ(merge->error.offset, fail_at);
    CHECK_EQ(strcmp(merge->error.file, "array"), 0);
}

/* Every child fails at every entry, and a walk meets it from either side. */
LSM_TEST(merge_ends_with_the_error_of_any_child_at_any_entry) {
    static fixture fix;
    lsm_rng rng = {7};

    fixture_init(&fix, &rng, 5, false);
    for (size_t rank = 0; rank < 5; rank++) {
        array_iter *child = as_array_iter(fix.children[rank]);

        for (int fail_at = 0; fail_at < child->count; fail_at++) {
            child->fail_at = fail_at;
            lsm_iter_seek_first(fix.merge);
            (void)walk_to_end(&fix, 0, 1);
            check_failed(fix.merge, fail_at);
            lsm_iter_seek_last(fix.merge);
            (void)walk_to_end(&fix, fix.all_count - 1, -1);
            check_failed(fix.merge, fail_at);
            lsm_iter_seek(fix.merge, entry_ikey(&child->entries[fail_at]));
            check_failed(fix.merge, fail_at);
        }
        child->fail_at = NEVER;
        /* The next seek ends the failure. */
        lsm_iter_seek_first(fix.merge);
        CHECK_EQ(walk_to_end(&fix, 0, 1), fix.all_count);
        check_merge_shows(&fix, fix.all_count);
    }
    fixture_deinit(&fix);
}

/* Turns the merge at that entry, when the child cannot show what the turn needs. */
static void check_turn_fails(fixture *fix, int at, size_t rank, bool backward) {
    array_iter *child = as_array_iter(fix->children[rank]);

    lsm_iter_seek(fix->merge, entry_ikey(&fix->all[at]));
    if (!backward && at + 1 < fix->all_count) {
        lsm_iter_next(fix->merge);
        lsm_iter_prev(fix->merge);
    }
    check_merge_shows(fix, at);
    child->fail_at = child->at + (backward ? -1 : 1);
    if (child->fail_at >= 0 && child->fail_at < child->count) {
        if (backward) {
            lsm_iter_prev(fix->merge);
        } else {
            lsm_iter_next(fix->merge);
        }
        check_failed(fix->merge, child->fail_at);
    }
    child->fail_at = NEVER;
}

LSM_TEST(merge_turn_ends_with_the_error_of_a_child) {
    static fixture fix;
    lsm_rng rng = {8};

    fixture_init(&fix, &rng, 4, false);
    for (int at = 0; at < fix.all_count; at++) {
        for (size_t rank = 0; rank < 4; rank++) {
            check_turn_fails(&fix, at, rank, true);
            check_turn_fails(&fix, at, rank, false);
        }
    }
    fixture_deinit(&fix);
}

/* The seek in a turn fails, and the next call of the child would not. */
LSM_TEST(merge_turn_ends_with_an_error_that_happens_once) {
    static fixture fix;
    lsm_rng rng = {8};

    fixture_init(&fix, &rng, 4, false);
    for (int at = 0; at < fix.all_count; at++) {
        for (size_t rank = 0; rank < 4; rank++) {
            array_iter *child = as_array_iter(fix.children[rank]);

            lsm_iter_seek(fix.merge, entry_ikey(&fix.all[at]));
            check_merge_shows(&fix, at);
            if (child->base.valid && rank != fix.all[at].rank) {
                int fail_at = child->at;

                child->fail_at = fail_at;
                child->fail_once = true;
                lsm_iter_prev(fix.merge);
                check_failed(fix.merge, fail_at);
            }
        }
    }
    fixture_deinit(&fix);
}

static void put_entry(fixture *fix, size_t rank, const char *key, uint64_t trailer) {
    entry *e = &fix->entries[rank][fix->counts[rank]++];
    size_t size = strlen(key);

    lsm_put_u32_be(e->ikey, 1);
    memcpy(e->ikey + LSM_NAMESPACE_SIZE, key, size);
    lsm_put_u64(e->ikey + LSM_NAMESPACE_SIZE + size, trailer);
    e->ikey_size = LSM_IKEY_SIZE_MIN + size;
    e->rank = (uint8_t)rank;
    fix->all[fix->all_count++] = *e;
}

/* Going backward, a short key comes after long ones that share more bytes than it has,
 * and its trailer continues it as they do. */
LSM_TEST(merge_is_not_misled_by_a_trailer_that_reads_like_a_key) {
    static fixture fix;

    memset(&fix, 0, sizeof(fix));
    fix.child_count = 2;
    put_entry(&fix, 0, "pp", 0x7070707070707070u);
    put_entry(&fix, 1, "ppa", 3);
    put_entry(&fix, 1, "ppppppppb", 1);
    put_entry(&fix, 0, "ppppppppc", 2);
    fix.children[0] = make_child(&fix, 0);
    fix.children[1] = make_child(&fix, 1);
    fix.merge = lsm_merge_iter(fix.children, 2);
    CHECK(fix.merge != NULL);
    lsm_iter_seek_last(fix.merge);
    CHECK_EQ(walk_to_end(&fix, 3, -1), -1);
    check_merge_shows(&fix, -1);
    fixture_deinit(&fix);
}

LSM_TEST(merge_of_one_child_is_that_child) {
    static fixture fix;
    lsm_rng rng = {3};

    fixture_init(&fix, &rng, 1, false);
    CHECK(fix.merge == fix.children[0]);
    fixture_deinit(&fix);
}

LSM_TEST(merge_without_memory_destroys_the_children) {
    static fixture fix;
    lsm_iter *children[3];
    lsm_rng rng = {3};

    fixture_init(&fix, &rng, 3, false);
    for (size_t rank = 0; rank < 3; rank++) {
        children[rank] = make_child(&fix, rank);
    }
    lsm_alloc_fail_after(0, 0);
    CHECK(lsm_merge_iter(children, 3) == NULL);
    lsm_alloc_fail_never();
    CHECK_EQ(fix.destroyed, 3);
    fix.destroyed = 0;
    fixture_deinit(&fix);
}

/* Moves to the next version that was there by `sequence`. Returns the moves it took. */
static int next_visible(lsm_iter *merge, uint64_t sequence, int step) {
    int moves = 0;

    do {
        if (step > 0) {
            lsm_iter_next(merge);
        } else {
            lsm_iter_prev(merge);
        }
        moves++;
    } while (merge->valid &&
             lsm_trailer_sequence(lsm_ikey_trailer(merge->key)) > sequence);
    CHECK_EQ(merge->status, LSMKV_OK);
    return moves;
}

LSM_TEST(merge_turns_right_while_its_memtable_grows) {
    lsm_memtable *mem = lsm_memtable_create(1 << 20, 5);
    lsm_memtable *old = lsm_memtable_create(1 << 20, 5);
    lsm_iter *children[2];
    reference all = {0};
    lsm_rng rng = {4};
    lsm_batch batch;
    uint64_t sequence = 401;
    bool found_new = false;

    CHECK(mem != NULL && old != NULL);
    lsm_batch_init(&batch);
    fill_batch(&batch, &all, &rng, &shapes[2], 1, 200);
    insert_batch(old, &batch, 1);
    fill_batch(&batch, &all, &rng, &shapes[2], 201, 200);
    insert_batch(mem, &batch, 201);
    reference_sort(&all);
    children[0] = lsm_memtable_iter(mem);
    children[1] = lsm_memtable_iter(old);
    lsm_iter *merge = lsm_merge_iter(children, 2);

    CHECK(merge != NULL);
    lsm_iter_seek_first(merge);
    size_t at = 0;

    for (unsigned round = 0; round < 3000; round++) {
        reference later = {0};

        CHECK(merge->valid);
        CHECK(lsm_slice_equal(merge->key, version_ikey(&all.versions[at])));
        if (round % 10 == 0) {
            fill_batch(&batch, &later, &rng, &shapes[2], sequence, 3);
            insert_batch(mem, &batch, sequence);
            sequence += 3;
            free(later.versions);
        }
        bool forward = at == 0 || (at + 1 < all.count && lsm_rng_below(&rng, 2) == 0);

        found_new |= next_visible(merge, 400, forward ? 1 : -1) > 1;
        at = forward ? at + 1 : at - 1;
    }
    CHECK(found_new);
    lsm_iter_destroy(merge);
    lsm_memtable_unref(mem);
    lsm_memtable_unref(old);
    lsm_batch_deinit(&batch);
    free(all.versions);
}
