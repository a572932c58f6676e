/* SPDX-License-Identifier: Apache-2.0
 *
 * Live tables and versions: counting, searching, comparing ranges. How a version comes
 * out of another one is in version_apply.c.
 *
 * A live table, its keys and segments are one allocation, so that a search that looks
 * at a table finds the key near it.
 */
#include "db/version.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/mutant.h"

/* Copies the bytes of a key to *at, moves *at behind them and returns the copy. */
static lsm_slice place_key(uint8_t **at, lsm_slice key) {
    uint8_t *to = *at;

    memcpy(to, key.data, key.size);
    *at += key.size;
    return lsm_slice_make(to, key.size);
}

lsm_live_table *lsm_live_table_create(const lsm_table_info *info,
                                      lsm_table_sink *sink) {
    size_t keys_size = info->smallest.size + info->largest.size;
    size_t segments_size = info->segment_count * sizeof(*info->segments);
    lsm_live_table *table = lsm_calloc(1, sizeof(*table) + segments_size + keys_size);

    if (table == NULL) {
        return NULL;
    }
    uint8_t *at = (uint8_t *)(table + 1);
    table->info = *info;
    if (segments_size != 0) {
        memcpy(at, info->segments, segments_size);
        table->info.segments = (const lsm_segment_share *)(const void *)at;
        at += segments_size;
    }
    table->info.largest = place_key(&at, info->largest);
    table->info.smallest = place_key(&at, info->smallest);
    for (size_t i = 0; i < info->segment_count; i++) {
        table->pointed += info->segments[i].bytes; /* checked when they were tallied */
    }
    table->sink = sink;
    atomic_init(&table->refs, 1);
    atomic_init(&table->handle, NULL);
    atomic_init(&table->used, false);
    lsm_list_init(&table->open_link);
    return table;
}

void lsm_live_table_ref(lsm_live_table *table) {
    /* relaxed: whoever refs holds a reference, or a version that does. */
    atomic_fetch_add_explicit(&table->refs, 1, memory_order_relaxed);
}

void lsm_live_table_unref(lsm_live_table *table) {
    /* acq_rel: what others did with the table comes before what the sink does. */
    if (atomic_fetch_sub_explicit(&table->refs, 1, memory_order_acq_rel) == 1) {
        table->sink->dropped(table->sink, table);
    }
}

void lsm_live_table_destroy(lsm_live_table *table) {
    LSM_ASSERT(!table->listed);
    lsm_table_unref(atomic_load_explicit(&table->handle, memory_order_acquire));
    lsm_free(table);
}

lsm_version *lsm_version_create(void) {
    lsm_version *version = lsm_calloc(1, sizeof(*version));

    if (version != NULL) {
        atomic_init(&version->refs, 1);
    }
    return version;
}

void lsm_version_ref(lsm_version *version) {
    /* relaxed: the caller holds a reference or is inside the epoch. */
    atomic_fetch_add_explicit(&version->refs, 1, memory_order_relaxed);
}

void lsm_version_unref(lsm_version *version) {
    /* acq_rel: reads of the version by others come before its end. */
    if (version == NULL ||
        atomic_fetch_sub_explicit(&version->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        lsm_level *level = &version->levels[i];
        for (size_t j = 0; j < level->count; j++) {
            lsm_live_table_unref(level->tables[j]);
        }
        lsm_free(level->tables);
    }
    for (size_t i = 0; i < version->segment_count; i++) {
        lsm_segment_unref(version->segments[i].segment);
    }
    lsm_free(version->segments);
    lsm_version_free_caches(version);
    lsm_free(version);
}

lsm_segment *lsm_version_find_segment(const lsm_version *version, uint64_t number) {
    size_t low = 0;
    size_t high = version->segment_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (version->segments[middle].segment->number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found = low < version->segment_count &&
                 version->segments[low].segment->number == number;
    return found ? version->segments[low].segment : NULL;
}

lsm_live_table *lsm_version_find_table(const lsm_version *version, uint64_t number) {
    for (size_t level = 0; level < LSMKV_LEVEL_COUNT; level++) {
        for (size_t i = 0; i < version->levels[level].count; i++) {
            if (version->levels[level].tables[i]->info.number == number) {
                return version->levels[level].tables[i];
            }
        }
    }
    return NULL;
}

static bool same_segments(const lsm_table_info *a, const lsm_table_info *b) {
    size_t size = a->segment_count * sizeof(*a->segments);
    return a->segment_count == b->segment_count &&
           (size == 0 || memcmp(a->segments, b->segments, size) == 0);
}

bool lsm_table_info_same(const lsm_table_info *a, const lsm_table_info *b) {
    return a->file_id == b->file_id && a->file_size == b->file_size &&
           a->tail_size == b->tail_size && a->sequence_min == b->sequence_min &&
           a->sequence_max == b->sequence_max && a->entry_count == b->entry_count &&
           a->tombstone_count == b->tombstone_count && a->raw_bytes == b->raw_bytes &&
           a->expire_all_at == b->expire_all_at &&
           a->expire_half_at == b->expire_half_at &&
           a->range_delete_count == b->range_delete_count && same_segments(a, b) &&
           lsm_slice_equal(a->smallest, b->smallest) &&
           lsm_slice_equal(a->largest, b->largest);
}

size_t lsm_level_find(const lsm_level *level, lsm_slice skey) {
    size_t low = 0;
    size_t high = level->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        lsm_slice largest = level->tables[middle]->info.largest;
        int order = lsm_slice_compare(lsm_ikey_skey(largest), skey);
        if (order < 0 || (order == 0 && (lsm_bound_is_exclusive(largest) ||
                                         LSM_MUTANT(LAST_KEY_OF_TABLE_MISSED)))) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

lsm_key_range lsm_live_table_range(const lsm_live_table *table) {
    return (lsm_key_range){lsm_ikey_skey(table->info.smallest),
                           lsm_ikey_skey(table->info.largest),
                           lsm_bound_is_exclusive(table->info.largest)};
}

bool lsm_range_before(lsm_key_range a, lsm_key_range b) {
    if (a.largest.data == NULL || b.smallest.data == NULL) {
        return false;
    }
    int order = lsm_slice_compare(a.largest, b.smallest);
    return order < 0 || (order == 0 && a.exclusive);
}

bool lsm_range_overlaps(lsm_key_range a, lsm_key_range b) {
    return !lsm_range_before(a, b) && !lsm_range_before(b, a);
}

bool lsm_live_table_covers(const lsm_live_table *table, lsm_slice skey) {
    const lsm_table_info *info = &table->info;

    if (lsm_slice_compare(skey, lsm_ikey_skey(info->smallest)) < 0) {
        return false;
    }
    int order = lsm_slice_compare(skey, lsm_ikey_skey(info->largest));
    return order < 0 || (order == 0 && !lsm_bound_is_exclusive(info->largest));
}

static bool level_0_may_hold(const lsm_level *level, lsm_slice skey) {
    for (size_t i = 0; i < level->count; i++) {
        if (lsm_live_table_covers(level->tables[i], skey)) {
            return true;
        }
    }
    return false;
}

bool lsm_version_may_hold_below(const lsm_version *version, uint32_t from,
                                lsm_slice skey) {
    if (from == 0 && level_0_may_hold(&version->levels[0], skey)) {
        return true;
    }
    for (uint32_t i = from == 0 ? 1 : from; i < LSMKV_LEVEL_COUNT; i++) {
        const lsm_level *level = &version->levels[i];
        size_t index = lsm_level_find(level, skey);
        if (index < level->count && lsm_live_table_covers(level->tables[index], skey)) {
            return true;
        }
    }
    return false;
}

static bool level_0_overlaps(const lsm_level *level, lsm_key_range range) {
    for (size_t i = 0; i < level->count; i++) {
        if (lsm_range_overlaps(lsm_live_table_range(level->tables[i]), range)) {
            return true;
        }
    }
    return false;
}

bool lsm_version_overlaps_below(const lsm_version *version, uint32_t from,
                                lsm_key_range range) {
    if (from == 0 && level_0_overlaps(&version->levels[0], range)) {
        return true;
    }
    for (uint32_t i = from == 0 ? 1 : from; i < LSMKV_LEVEL_COUNT; i++) {
        const lsm_level *level = &version->levels[i];
        size_t index = lsm_level_find(level, range.smallest);
        if (index < level->count &&
            lsm_range_overlaps(lsm_live_table_range(level->tables[index]), range)) {
            return true;
        }
    }
    return false;
}
