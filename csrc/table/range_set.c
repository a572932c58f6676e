/* SPDX-License-Identifier: Apache-2.0
 *
 * Building, searching, writing and reading sets of range deletes.
 *
 * Building sweeps over the ends of all tombstones in order. Without strata, those that
 * are open at the place of the sweep lie in an array by sequence, which is, between two
 * neighbouring ends, a fragment's sequences. With strata each stratum has a heap of
 * them, newest first, of which only the top matters: what has ended below it stays
 * until it comes up, so n tombstones take n log n steps however they overlap. Fragments
 * that touch and have the same sequences become one again: with strata, tombstones
 * that do nothing cut nothing.
 */
#include "table/range_set.h"

#include <stdlib.h>

#include "base/alloc.h"

enum {
    /* Sequences of a set without strata: what a thousand tombstones that lie one
     * inside the other need. */
    SEQUENCES_MAX = 1 << 19,
};

size_t lsm_stratum_of(lsm_strata strata, uint64_t sequence) {
    size_t low = 0;
    size_t high = strata.count - 1;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (strata.sequences[middle] >= sequence) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

void lsm_range_list_init(lsm_range_list *list) {
    *list = (lsm_range_list){.sequence_max = LSM_SEQUENCE_MAX};
    lsm_arena_init(&list->keys);
}

void lsm_range_list_deinit(lsm_range_list *list) {
    lsm_free(list->items);
    lsm_arena_deinit(&list->keys);
    lsm_range_list_init(list);
}

static bool is_wanted(const lsm_range_list *list, const lsm_tombstone *tombstone) {
    return tombstone->sequence <= list->sequence_max &&
           (list->start.data == NULL ||
            lsm_slice_compare(tombstone->stop, list->start) > 0) &&
           (list->stop.data == NULL ||
            lsm_slice_compare(tombstone->start, list->stop) < 0);
}

bool lsm_range_list_add(lsm_range_list *list, lsm_tombstone tombstone) {
    void *items = list->items;

    if (!is_wanted(list, &tombstone)) {
        return true;
    }
    if (!lsm_grow(&items, &list->capacity, list->count + 1, sizeof(*list->items))) {
        return false;
    }
    list->items = items;
    lsm_tombstone *to = &list->items[list->count];
    to->sequence = tombstone.sequence;
    if (!lsm_arena_copy(&list->keys, tombstone.start, &to->start) ||
        !lsm_arena_copy(&list->keys, tombstone.stop, &to->stop)) {
        return false;
    }
    list->count++;
    return true;
}

bool lsm_range_list_add_set(lsm_range_list *list, const lsm_range_set *set) {
    size_t at = list->start.data == NULL ? 0 : lsm_range_set_find(set, list->start);

    for (; at < set->count; at++) {
        const lsm_range_fragment *from = &set->fragments[at];
        if (list->stop.data != NULL &&
            lsm_slice_compare(from->start, list->stop) >= 0) {
            break;
        }
        for (size_t i = 0; i < from->count; i++) {
            uint64_t sequence = lsm_range_sequences(set, from)[i];
            if (!lsm_range_list_add(
                    list, (lsm_tombstone){from->start, from->stop, sequence})) {
                return false;
            }
            if (list->newest_only && sequence <= list->sequence_max) {
                break;
            }
        }
    }
    return true;
}

/* A tombstone that is open at the place of the sweep. */
typedef struct open_range {
    uint64_t sequence;
    lsm_slice stop;
} open_range;

/* The open tombstones of a stratum: a heap with the newest at its root. */
typedef struct range_heap {
    open_range *items; /* its part of the sweep's array */
    size_t count;
} range_heap;

typedef struct range_sweep {
    const lsm_strata *strata;
    lsm_range_set *set; /* owned */
    size_t fragment_capacity;
    size_t sequence_capacity;
    lsm_slice *ends; /* all starts and stops, ascending, each once; owned */
    size_t end_count;
    open_range *open;  /* sequences descending, or the room of the heaps; owned */
    size_t open_count; /* without strata */
    range_heap *heaps; /* one for each stratum; owned; NULL without strata */
} range_sweep;

/* Of those that start together the newest first, which is the order they open in. */
static int compare_starts(const void *left, const void *right) {
    const lsm_tombstone *a = left;
    const lsm_tombstone *b = right;
    int order = lsm_slice_compare(a->start, b->start);

    return order != 0 ? order
                      : (a->sequence < b->sequence) - (a->sequence > b->sequence);
}

static int compare_ends(const void *a, const void *b) {
    return lsm_slice_compare(*(const lsm_slice *)a, *(const lsm_slice *)b);
}

static void gather_ends(range_sweep *sweep, const lsm_tombstone *items, size_t count) {
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        sweep->ends[2 * i] = items[i].start;
        sweep->ends[2 * i + 1] = items[i].stop;
    }
    qsort(sweep->ends, 2 * count, sizeof(*sweep->ends), compare_ends);
    for (size_t i = 0; i < 2 * count; i++) {
        if (kept == 0 || !lsm_slice_equal(sweep->ends[kept - 1], sweep->ends[i])) {
            sweep->ends[kept++] = sweep->ends[i];
        }
    }
    sweep->end_count = kept;
}

static void close_ranges(range_sweep *sweep, lsm_slice at) {
    size_t kept = 0;

    for (size_t i = 0; i < sweep->open_count; i++) {
        if (lsm_slice_compare(sweep->open[i].stop, at) > 0) {
            sweep->open[kept++] = sweep->open[i];
        }
    }
    sweep->open_count = kept;
}

/* Gives every stratum room for its tombstones. false: no memory. */
static bool make_heaps(range_sweep *sweep, const lsm_tombstone *items, size_t count) {
    open_range *at = sweep->open;

    sweep->heaps = lsm_calloc(sweep->strata->count, sizeof(*sweep->heaps));
    if (sweep->heaps == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        sweep->heaps[lsm_stratum_of(*sweep->strata, items[i].sequence)].count++;
    }
    for (size_t i = 0; i < sweep->strata->count; i++) {
        sweep->heaps[i].items = at;
        at += sweep->heaps[i].count;
        sweep->heaps[i].count = 0;
    }
    return true;
}

static void heap_add(range_heap *heap, open_range added) {
    size_t at = heap->count++;

    for (; at > 0 && heap->items[(at - 1) / 2].sequence < added.sequence;
         at = (at - 1) / 2) {
        heap->items[at] = heap->items[(at - 1) / 2];
    }
    heap->items[at] = added;
}

static void heap_remove_root(range_heap *heap) {
    open_range moved = heap->items[--heap->count];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < heap->count &&
            heap->items[child + 1].sequence > heap->items[child].sequence) {
            child++;
        }
        if (child >= heap->count || heap->items[child].sequence <= moved.sequence) {
            break;
        }
        heap->items[at] = heap->items[child];
        at = child;
    }
    heap->items[at] = moved;
}

static void open_range_at(range_sweep *sweep, const lsm_tombstone *tombstone) {
    if (sweep->heaps != NULL) {
        size_t stratum = lsm_stratum_of(*sweep->strata, tombstone->sequence);
        heap_add(&sweep->heaps[stratum],
                 (open_range){tombstone->sequence, tombstone->stop});
        return;
    }
    size_t to = sweep->open_count++;

    while (to > 0 && sweep->open[to - 1].sequence < tombstone->sequence) {
        sweep->open[to] = sweep->open[to - 1];
        to--;
    }
    sweep->open[to] = (open_range){tombstone->sequence, tombstone->stop};
}

static bool push_sequence(range_sweep *sweep, uint64_t sequence) {
    lsm_range_set *set = sweep->set;
    void *sequences = set->sequences;

    if (sweep->strata == NULL && set->sequence_count == SEQUENCES_MAX) {
        return false;
    }
    if (!lsm_grow(&sequences, &sweep->sequence_capacity, set->sequence_count + 1,
                  sizeof(*set->sequences))) {
        return false;
    }
    set->sequences = sequences;
    set->sequences[set->sequence_count++] = sequence;
    return true;
}

/* The newest sequence of every stratum that has one at `at`. */
static bool push_newest(range_sweep *sweep, lsm_slice at) {
    for (size_t i = sweep->strata->count; i-- > 0;) {
        range_heap *heap = &sweep->heaps[i];

        while (heap->count > 0 && lsm_slice_compare(heap->items[0].stop, at) <= 0) {
            heap_remove_root(heap);
        }
        if (heap->count > 0 && !push_sequence(sweep, heap->items[0].sequence)) {
            return false;
        }
    }
    return true;
}

/* The sequences of all open tombstones. */
static bool push_open(range_sweep *sweep) {
    for (size_t i = 0; i < sweep->open_count; i++) {
        uint64_t sequence = sweep->open[i].sequence;

        if (i > 0 && sequence == sweep->open[i - 1].sequence) {
            continue; /* two pieces of one tombstone */
        }
        if (!push_sequence(sweep, sequence)) {
            return false;
        }
    }
    return true;
}

/* Whether the fragment continues the one before it, which then grows. */
static bool joins(range_sweep *sweep, const lsm_range_fragment *fragment) {
    lsm_range_set *set = sweep->set;

    if (set->count == 0) {
        return false;
    }
    lsm_range_fragment *before = &set->fragments[set->count - 1];
    if (before->count != fragment->count ||
        !lsm_slice_equal(before->stop, fragment->start) ||
        memcmp(lsm_range_sequences(set, before), lsm_range_sequences(set, fragment),
               fragment->count * sizeof(*set->sequences)) != 0) {
        return false;
    }
    before->stop = fragment->stop;
    set->sequence_count = fragment->first;
    return true;
}

static bool push_fragment(range_sweep *sweep, lsm_slice start, lsm_slice stop) {
    lsm_range_set *set = sweep->set;
    lsm_range_fragment fragment = {start, stop, set->sequence_count, 0};
    void *fragments = set->fragments;

    if (!(sweep->heaps != NULL ? push_newest(sweep, start) : push_open(sweep))) {
        return false;
    }
    fragment.count = set->sequence_count - fragment.first;
    if (fragment.count == 0 || joins(sweep, &fragment)) {
        return true;
    }
    if (!lsm_grow(&fragments, &sweep->fragment_capacity, set->count + 1,
                  sizeof(*set->fragments))) {
        return false;
    }
    set->fragments = fragments;
    set->fragments[set->count++] = fragment;
    return true;
}

static bool sweep_over(range_sweep *sweep, const lsm_tombstone *items, size_t count) {
    size_t next = 0;
    bool ok = true;

    for (size_t i = 0; ok && i + 1 < sweep->end_count; i++) {
        lsm_slice at = sweep->ends[i];
        close_ranges(sweep, at);
        while (next < count && lsm_slice_equal(items[next].start, at)) {
            open_range_at(sweep, &items[next++]);
        }
        ok = push_fragment(sweep, at, sweep->ends[i + 1]);
    }
    return ok;
}

lsm_range_set *lsm_range_set_build(lsm_tombstone *items, size_t count,
                                   const lsm_strata *strata) {
    range_sweep sweep = {.strata = strata};
    bool ok = false;

    sweep.set = lsm_calloc(1, sizeof(*sweep.set));
    sweep.ends = lsm_calloc(count == 0 ? 1 : count, 2 * sizeof(*sweep.ends));
    sweep.open = lsm_calloc(count == 0 ? 1 : count, sizeof(*sweep.open));
    if (sweep.set != NULL && sweep.ends != NULL && sweep.open != NULL &&
        (strata == NULL || make_heaps(&sweep, items, count))) {
        if (count > 0) {
            qsort(items, count, sizeof(*items), compare_starts);
            gather_ends(&sweep, items, count);
        }
        ok = sweep_over(&sweep, items, count);
    }
    lsm_free(sweep.ends);
    lsm_free(sweep.open);
    lsm_free(sweep.heaps);
    if (!ok) {
        lsm_range_set_destroy(sweep.set);
        return NULL;
    }
    return sweep.set;
}

void lsm_range_set_destroy(lsm_range_set *set) {
    if (set != NULL) {
        lsm_free(set->fragments);
        lsm_free(set->sequences);
        lsm_free(set);
    }
}

uint64_t lsm_range_set_charge(const lsm_range_set *set) {
    return sizeof(*set) + set->count * sizeof(*set->fragments) +
           set->sequence_count * sizeof(*set->sequences);
}

size_t lsm_range_set_find(const lsm_range_set *set, lsm_slice skey) {
    size_t low = 0;
    size_t high = set->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (lsm_slice_compare(set->fragments[middle].stop, skey) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool ends_behind(const lsm_range_set *set, size_t place, lsm_slice skey) {
    return lsm_slice_compare(set->fragments[place].stop, skey) > 0;
}

/* Whether `place` is what lsm_range_set_find would answer. */
static bool is_place(const lsm_range_set *set, size_t place, lsm_slice skey) {
    return place <= set->count &&
           (place == set->count || ends_behind(set, place, skey)) &&
           (place == 0 || !ends_behind(set, place - 1, skey));
}

uint64_t lsm_range_set_cover(const lsm_range_set *set, lsm_slice skey,
                             uint64_t sequence, size_t *place) {
    if (!is_place(set, *place, skey)) {
        *place = lsm_range_set_find(set, skey);
    }
    if (*place == set->count) {
        return 0;
    }
    const lsm_range_fragment *fragment = &set->fragments[*place];
    if (lsm_slice_compare(fragment->start, skey) > 0) {
        return 0;
    }
    const uint64_t *sequences = lsm_range_sequences(set, fragment);
    size_t low = 0; /* the first that is not above */
    size_t high = fragment->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (sequences[middle] > sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == fragment->count ? 0 : sequences[low];
}

bool lsm_range_encode(lsm_buf *to, const lsm_range_span *span) {
    const uint64_t *sequences = span->sequences;
    bool ok = lsm_buf_append_slice(to, span->start) &&
              lsm_buf_append_slice(to, span->stop) &&
              lsm_buf_append_varint(to, span->count) &&
              lsm_buf_append_varint(to, sequences[0]);

    for (size_t i = 1; ok && i < span->count; i++) {
        ok = lsm_buf_append_varint(to, sequences[i - 1] - sequences[i]);
    }
    return ok;
}

/* Reads the sequences of a fragment. OK, CORRUPTION, NO_MEMORY. */
static lsmkv_status decode_sequences(range_sweep *sweep, lsm_reader *reader) {
    uint64_t count = 0;
    uint64_t sequence = 0;

    if (!lsm_read_varint(reader, &count) || count == 0 ||
        count > lsm_reader_left(reader) || !lsm_read_varint(reader, &sequence) ||
        sequence == 0 || sequence > LSM_SEQUENCE_MAX) {
        return LSMKV_CORRUPTION;
    }
    for (;;) {
        uint64_t step = 0;
        if (!push_sequence(sweep, sequence)) {
            return LSMKV_NO_MEMORY;
        }
        if (--count == 0) {
            return LSMKV_OK;
        }
        if (!lsm_read_varint(reader, &step) || step == 0 || step >= sequence) {
            return LSMKV_CORRUPTION;
        }
        sequence -= step;
    }
}

static lsmkv_status decode_fragment(range_sweep *sweep, lsm_reader *reader) {
    lsm_range_set *set = sweep->set;
    lsm_range_fragment fragment = {.first = set->sequence_count};
    void *fragments = set->fragments;

    lsm_read_slice(reader, &fragment.start);
    if (!lsm_read_slice(reader, &fragment.stop) ||
        !lsm_range_check(fragment.start, fragment.stop)) {
        return LSMKV_CORRUPTION;
    }
    if (set->count > 0 &&
        lsm_slice_compare(set->fragments[set->count - 1].stop, fragment.start) > 0) {
        return LSMKV_CORRUPTION;
    }
    lsmkv_status status = decode_sequences(sweep, reader);
    if (status != LSMKV_OK) {
        return status;
    }
    fragment.count = set->sequence_count - fragment.first;
    if (!lsm_grow(&fragments, &sweep->fragment_capacity, set->count + 1,
                  sizeof(*set->fragments))) {
        return LSMKV_NO_MEMORY;
    }
    set->fragments = fragments;
    set->fragments[set->count++] = fragment;
    return LSMKV_OK;
}

lsmkv_status lsm_range_set_decode(lsm_slice bytes, lsm_range_set **setp) {
    static const lsm_strata unlimited = {NULL, 0};
    range_sweep sweep = {.strata = &unlimited};
    lsm_reader reader = lsm_reader_make(bytes);
    lsmkv_status status = LSMKV_OK;

    *setp = NULL;
    sweep.set = lsm_calloc(1, sizeof(*sweep.set));
    if (sweep.set == NULL) {
        return LSMKV_NO_MEMORY;
    }
    do {
        status = decode_fragment(&sweep, &reader);
    } while (status == LSMKV_OK && lsm_reader_left(&reader) != 0);
    if (status == LSMKV_OK) {
        *setp = sweep.set;
        sweep.set = NULL;
    }
    lsm_range_set_destroy(sweep.set);
    return status;
}
