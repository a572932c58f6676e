/* SPDX-License-Identifier: Apache-2.0
 *
 * Work is in proportion to what changes, but for one pass over the segments.
 */
#include "db/version_tally.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/mutant.h"

static int compare_entries(const void *left, const void *right) {
    const lsm_tally_entry *a = left;
    const lsm_tally_entry *b = right;

    return (a->number > b->number) - (a->number < b->number);
}

lsmkv_status lsm_version_tally_init(lsm_version_tally *tally, const lsm_version *base,
                                    const lsm_edit *edit, lsmkv_error *err) {
    size_t count = base->segment_count + edit->segment_count;

    *tally = (lsm_version_tally){0};
    if (count == 0) {
        return LSMKV_OK;
    }
    tally->entries = lsm_calloc(count, sizeof(*tally->entries));
    if (tally->entries == NULL) {
        return lsm_fail_memory(err, count * sizeof(*tally->entries));
    }
    for (size_t i = 0; i < base->segment_count; i++) {
        const lsm_version_segment *from = &base->segments[i];
        tally->entries[tally->count++] = (lsm_tally_entry){
            NULL, from->segment, from->segment->number, from->live_bytes};
    }
    for (size_t i = 0; i < edit->segment_count; i++) {
        tally->entries[tally->count++] =
            (lsm_tally_entry){&edit->segments[i], NULL, edit->segments[i].number, 0};
    }
    if (edit->segment_count > 0) {
        qsort(tally->entries, count, sizeof(*tally->entries), compare_entries);
    }
    for (size_t i = 1; i < count; i++) {
        if (tally->entries[i].number == tally->entries[i - 1].number) {
            return lsm_fail(err, LSMKV_CORRUPTION, "segment %llu is there twice",
                            (unsigned long long)tally->entries[i].number);
        }
    }
    return LSMKV_OK;
}

void lsm_version_tally_deinit(lsm_version_tally *tally) {
    lsm_free(tally->entries);
    *tally = (lsm_version_tally){0};
}

static lsm_tally_entry *find(lsm_version_tally *tally, uint64_t number) {
    lsm_tally_entry key = {.number = number};

    return tally->count == 0 ? NULL
                             : bsearch(&key, tally->entries, tally->count, sizeof(key),
                                       compare_entries);
}

void lsm_version_tally_subtract(lsm_version_tally *tally, const lsm_table_info *info) {
    for (size_t i = 0; i < info->segment_count; i++) {
        lsm_tally_entry *entry = find(tally, info->segments[i].number);

        LSM_ASSERT(entry != NULL && entry->live_bytes >= info->segments[i].bytes);
        entry->live_bytes -= info->segments[i].bytes;
    }
}

lsmkv_status lsm_version_tally_add(lsm_version_tally *tally, const lsm_table_info *info,
                                   lsmkv_error *err) {
    for (size_t i = 0; i < info->segment_count; i++) {
        const lsm_segment_share *share = &info->segments[i];
        lsm_tally_entry *entry = find(tally, share->number);

        if (entry == NULL ||
            !lsm_add_ok(entry->live_bytes, share->bytes, &entry->live_bytes)) {
            return lsm_fail(err, LSMKV_CORRUPTION,
                            "table %llu points to %llu bytes of segment %llu, which "
                            "is not there",
                            (unsigned long long)info->number,
                            (unsigned long long)share->bytes,
                            (unsigned long long)share->number);
        }
    }
    return LSMKV_OK;
}

/* Lets go of what a failed attempt has taken. What it has made nobody else knows, and
 * the sink must not hear of it, since its file is not ours to unlink then. */
static void drop_attempt(lsm_version *version) {
    for (size_t i = 0; i < version->segment_count; i++) {
        lsm_segment *segment = version->segments[i].segment;
        if (atomic_load(&segment->refs) == 1) {
            lsm_segment_destroy(segment);
        } else {
            lsm_segment_unref(segment);
        }
    }
    version->segment_count = 0;
}

lsmkv_status lsm_version_tally_finish(const lsm_version_tally *tally,
                                      lsm_table_sink *sink, lsm_version *version,
                                      lsmkv_error *err) {
    if (tally->count == 0) {
        return LSMKV_OK;
    }
    version->segments = lsm_calloc(tally->count, sizeof(*version->segments));
    if (version->segments == NULL) {
        return lsm_fail_memory(err, tally->count * sizeof(*version->segments));
    }
    for (size_t i = 0; i < tally->count; i++) {
        const lsm_tally_entry *entry = &tally->entries[i];
        lsm_segment *segment = entry->segment;

        if (entry->live_bytes <=
            (LSM_MUTANT(SEGMENT_DROPPED_WHILE_POINTED) ? 256 : 0)) {
            continue;
        }
        if (segment != NULL) {
            lsm_segment_ref(segment);
        } else {
            segment = sink->segment(sink, entry->declared);
        }
        if (segment == NULL) {
            drop_attempt(version);
            return lsm_fail_memory(err, sizeof(*segment));
        }
        version->segments[version->segment_count++] =
            (lsm_version_segment){segment, entry->live_bytes};
    }
    return LSMKV_OK;
}
