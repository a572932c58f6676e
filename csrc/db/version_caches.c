/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache segments of a version. They belong to their namespaces, not to the tables
 * that point into them, and go when an edit says so: what still points to them is dead.
 */
#include "db/version.h"

#include "base/alloc.h"

static bool is_dropped(const lsm_edit *edit, uint64_t number) {
    for (size_t i = 0; i < edit->dropped_cache_count; i++) {
        if (edit->dropped_caches[i] == number) {
            return true;
        }
    }
    return false;
}

/* The number of cache segments with smaller numbers. */
static size_t place_of(const lsm_version *version, uint64_t number) {
    size_t low = 0;
    size_t high = version->cache_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (version->caches[middle]->number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

lsm_segment *lsm_version_find_cache(const lsm_version *version, uint64_t number) {
    size_t place = place_of(version, number);
    bool found =
        place < version->cache_count && version->caches[place]->number == number;
    return found ? version->caches[place] : NULL;
}

lsm_segment *lsm_version_find_values(const lsm_version *version, uint64_t number) {
    lsm_segment *segment = lsm_version_find_segment(version, number);
    return segment != NULL ? segment : lsm_version_find_cache(version, number);
}

/* There is room. */
static lsmkv_status add(lsm_version *version, const lsm_edit_cache *info,
                        lsm_table_sink *sink, lsmkv_error *err) {
    size_t place = place_of(version, info->number);

    if (place < version->cache_count &&
        version->caches[place]->number == info->number) {
        return lsm_fail(err, LSMKV_CORRUPTION, "cache segment %llu is there twice",
                        (unsigned long long)info->number);
    }
    lsm_segment *segment = sink->cache(sink, info);
    if (segment == NULL) {
        return lsm_fail_memory(err, sizeof(*segment));
    }
    memmove(version->caches + place + 1, version->caches + place,
            (version->cache_count - place) * sizeof(lsm_segment *));
    version->caches[place] = segment;
    version->cache_count += 1;
    return LSMKV_OK;
}

lsmkv_status lsm_version_take_caches(lsm_version *version, const lsm_version *base,
                                     const lsm_edit *edit, lsm_table_sink *sink,
                                     lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    size_t count = base->cache_count + edit->cache_count;

    for (size_t i = 0; i < edit->dropped_cache_count; i++) {
        if (lsm_version_find_cache(base, edit->dropped_caches[i]) == NULL) {
            return lsm_fail(err, LSMKV_CORRUPTION,
                            "cache segment %llu is dropped, but is not there",
                            (unsigned long long)edit->dropped_caches[i]);
        }
    }
    if (count == 0) {
        return LSMKV_OK;
    }
    version->caches = lsm_calloc(count, sizeof(lsm_segment *));
    if (version->caches == NULL) {
        return lsm_fail_memory(err, count * sizeof(lsm_segment *));
    }
    for (size_t i = 0; i < base->cache_count; i++) {
        if (!is_dropped(edit, base->caches[i]->number)) {
            lsm_segment_ref(base->caches[i]);
            version->caches[version->cache_count++] = base->caches[i];
        }
    }
    for (size_t i = 0; i < edit->cache_count; i++) {
        LSM_TRY(add(version, &edit->caches[i], sink, err));
    }
out:
    return status;
}

void lsm_version_free_caches(lsm_version *version) {
    for (size_t i = 0; i < version->cache_count; i++) {
        lsm_segment_unref(version->caches[i]);
    }
    lsm_free(version->caches);
}
