/* SPDX-License-Identifier: Apache-2.0
 *
 * Caches when a database is opened, and when one is dropped. The segments of before are
 * kept as they are, and written no more. What the directory has not, or of a namespace
 * that is gone, is dropped with the first MANIFEST of the new life, and so is what is
 * over the cap: it holds from the first moment on.
 */
#include "db/cache_space.h"

#include "base/alloc.h"
#include "db/job.h"

/* How much of a segment that is being written a follower sees at most, beyond what was
 * there when it met it. */
#define GROWTH_MAX (UINT64_C(1) << 30)

lsm_segment *lsm_cache_find_pending(lsmkv_db *db,
                                    const lsm_edit_cache *info) LSM_NO_LOCK_ANALYSIS {
    /* Called with mu held, or before other threads exist. */
    const lsm_space *space =
        db->read_only ? NULL : lsm_catalog_find_locked(db, info->space_id);
    lsm_segment *pending =
        space != NULL && space->cache != NULL ? space->cache->pending : NULL;

    if (pending != NULL && pending->number == info->number) {
        lsm_segment_ref(pending);
        return pending;
    }
    return lsm_cache_segment_create(&db->segments, info);
}

/* The size of a segment's file; 0: it is no use. */
static lsmkv_status find_size(lsmkv_db *db, const lsm_segment *segment, uint64_t *size,
                              lsmkv_error *err) {
    char name[LSM_FILENAME_SIZE];
    lsm_file *file = NULL;
    lsmkv_error failure;

    *size = 0;
    lsm_segment_name(segment, name);
    lsmkv_status status = lsm_file_open(db->dir, name, LSM_OPEN_READ, &file, &failure);
    if (status == LSMKV_OK) {
        status = lsm_file_size(file, size, &failure);
    }
    lsm_file_drop(file);
    if (lsm_is_memory(status) ||
        (status == LSMKV_IO_ERROR && lsm_error_is_file_limit(&failure))) {
        return lsm_error_copy(err, &failure);
    }
    if (status != LSMKV_OK || *size <= LSM_RECORD_FILE_HEADER_SIZE) {
        *size = 0;
    }
    return LSMKV_OK;
}

static lsmkv_status adopt(lsm_cache_space *cache, lsm_segment *segment, uint64_t size,
                          lsmkv_error *err) {
    lsm_cache_piece *piece = lsm_cache_piece_create(segment);

    if (piece == NULL || !lsm_cache_segment_size(segment, size, size)) {
        lsm_free(piece);
        return lsm_fail_memory(err, (size_t)(size / LSM_VALUE_ALIGN));
    }
    piece->bytes = size;
    piece->full = true;
    if (!lsm_cache_push_locked(cache, piece)) {
        lsm_free(piece);
        return lsm_fail_memory(err, sizeof(*piece));
    }
    lsm_segment_ref(segment);
    return LSMKV_OK;
}

static lsmkv_status drop_segment(lsm_edit *edit, uint64_t number, lsmkv_error *err) {
    return lsm_edit_drop_cache(edit, number) ? LSMKV_OK
                                             : lsm_fail_memory(err, sizeof(number));
}

lsmkv_status lsm_cache_recover(lsmkv_db *db, lsm_edit *edit,
                               lsmkv_error *err) LSM_UNSHARED {
    lsmkv_status status = LSMKV_OK;

    for (size_t i = 0; i < db->version->cache_count; i++) {
        lsm_segment *segment = db->version->caches[i];
        const lsm_space *space = lsm_catalog_find_locked(db, segment->space_id);
        uint64_t size = 0;
        if (space != NULL && space->cache != NULL) {
            LSM_TRY(find_size(db, segment, &size, err));
        }
        if (size != 0) {
            LSM_TRY(adopt(space->cache, segment, size, err));
        } else {
            LSM_TRY(drop_segment(edit, segment->number, err));
        }
    }
    for (size_t i = 0; i < db->space_count; i++) {
        lsm_cache_space *cache = db->spaces[i]->cache;
        while (cache != NULL && cache->bytes > cache->max_bytes) {
            LSM_TRY(drop_segment(edit, cache->pieces[0]->segment->number, err));
            lsm_cache_piece_destroy(lsm_cache_shift_locked(cache));
        }
    }
    status = lsm_cache_load_pins(db, err);
out:
    return status;
}

/* Whether a writer may be at work in the segment: there is none later of its cache. */
static bool may_grow(const lsm_version *version, size_t index) {
    for (size_t i = index + 1; i < version->cache_count; i++) {
        if (version->caches[i]->space_id == version->caches[index]->space_id) {
            return false;
        }
    }
    return true;
}

/* Before anybody else knows the segment. */
static lsmkv_status size_up(lsm_segment *segment, uint64_t size, uint64_t more,
                            lsmkv_error *err) {
    if (!lsm_cache_segment_size(segment, size + more, size)) {
        return lsm_fail_memory(err, (size_t)((size + more) / LSM_VALUE_ALIGN));
    }
    if (size != 0) { /* a writer may unlink it; what fails is a miss */
        lsm_ignore(lsm_segment_hold(segment, NULL));
    }
    return LSMKV_OK;
}

lsmkv_status lsm_cache_view(lsmkv_db *db, const lsm_version *version,
                            lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    for (size_t i = 0; i < version->cache_count; i++) {
        lsm_segment *segment = version->caches[i];
        bool grows = db->budget == NULL && may_grow(version, i);
        uint64_t size = 0;
        if (segment->touched != NULL && !grows) {
            continue;
        }
        LSM_TRY(find_size(db, segment, &size, err));
        if (segment->touched == NULL) {
            LSM_TRY(size_up(segment, size, grows ? GROWTH_MAX : 0, err));
        } else if (size <= segment->capacity) {
            lsm_cache_segment_grow(segment, size);
        }
    }
out:
    return status;
}

/* Waits until nobody adds segments or drops one. false: that is not to be had. */
static bool await_quiet_locked(lsmkv_db *db, const lsm_cache_space *cache)
    LSM_REQUIRES(db->mu) {
    while (cache->evicting || cache->rolling) {
        if (lsm_scheduler_await_locked(db, NULL) != LSMKV_OK) {
            return false;
        }
    }
    return true;
}

void lsm_cache_space_drop(lsmkv_db *db, lsm_cache_space *cache) {
    lsm_edit edit;

    lsm_edit_init(&edit);
    lsm_mutex_lock(&db->mu);
    cache->dropped = true;
    bool ok = await_quiet_locked(db, cache);
    for (size_t i = 0; ok && i < cache->count; i++) {
        ok = lsm_edit_drop_cache(&edit, cache->pieces[i]->segment->number);
    }
    lsm_mutex_unlock(&db->mu);
    ok = ok && (cache->count == 0 || lsm_db_install(db, &edit, 0, NULL) == LSMKV_OK);
    lsm_edit_deinit(&edit);
    while (ok && cache->count > 0) { /* nobody else changes the list any more */
        lsm_mutex_lock(&db->mu);
        lsm_cache_piece *piece = lsm_cache_shift_locked(cache);
        bool idle = piece->users == 0;
        lsm_mutex_unlock(&db->mu);
        lsm_cache_unlink(db, piece->segment);
        if (idle) {
            lsm_cache_piece_destroy(piece);
        }
    }
    lsm_gc_collect(db);
}
