/* SPDX-License-Identifier: Apache-2.0
 *
 * Eviction: the job that drops the oldest segment of a cache.
 *
 *   1. Step by step, walk its frames. A value that was read since it was written, or is
 *      pinned, and is still the newest of its key, is written once more as the newest
 *      value of the cache. Its record is committed on condition that no other has come
 *      for the key, and has the times of the one before: nothing that was deleted or
 *      replaced meanwhile comes back.
 *   2. The MANIFEST drops the segment, then its file is unlinked. Pointers into it are
 *      dead from here on.
 *
 * What is written once more is limited by a credit of seven eighths of what was evicted
 * before, at most a quarter of the cap, so that evictions get ahead of readers who read
 * everything; pinned values, which are half of the cap at most, are outside of it.
 *
 * Nothing here fails for a value that cannot be read or written: it is then given up.
 * Only for a pinned one does an eviction fail, to be tried again, where space or memory
 * is what is missing.
 */
#include "db/cache_space.h"

#include "base/alloc.h"
#include "base/mutant.h"
#include "db/job.h"
#include "db/read.h"

enum {
    STEP_BYTES_MAX = 1 << 20,
    STEP_FRAMES_MAX = 512,
    STEP_SHARE = 8, /* of a segment; so that each takes steps */
    CREDIT_DIVISOR = 4,
};

typedef struct lsm_evict {
    lsmkv_db *db;
    lsm_space *space;       /* one reference */
    lsm_cache_piece *piece; /* one user */
    lsm_cache_walk walk;
    bool walking;
    uint64_t step_bytes;
    lsm_buf value;
    lsm_buf skey;
} lsm_evict;

static bool is_due_locked(const lsm_cache_space *cache) {
    return cache != NULL && !cache->evicting && !cache->dropped && cache->count > 0 &&
           (cache->bytes > cache->max_bytes || cache->starved);
}

bool lsm_cache_evicts_locked(lsmkv_db *db) {
    for (size_t i = 0; i < db->space_count; i++) {
        const lsm_cache_space *cache = db->spaces[i]->cache;
        if (cache != NULL && (cache->evicting || is_due_locked(cache))) {
            return true;
        }
    }
    return false;
}

struct lsm_job *lsm_cache_start_evict_locked(lsmkv_db *db, lsmkv_error *err) {
    lsm_space *space = NULL;

    for (size_t i = 0; i < db->space_count && space == NULL; i++) {
        space = is_due_locked(db->spaces[i]->cache) ? db->spaces[i] : NULL;
    }
    if (space == NULL) {
        return NULL;
    }
    lsm_evict *evict = lsm_calloc(1, sizeof(*evict));
    struct lsm_job *job =
        evict != NULL ? lsm_job_start_evict_locked(db, evict, err) : NULL;
    if (job == NULL) {
        lsm_free(evict);
        (void)lsm_fail_memory(err, sizeof(*evict));
        return NULL;
    }
    evict->db = db;
    evict->space = space;
    lsm_space_ref(space);
    evict->piece = space->cache->pieces[0];
    evict->piece->users += 1;
    evict->piece->full = true; /* even if it is the last: the cap was lowered */
    evict->step_bytes = evict->piece->bytes / STEP_SHARE;
    space->cache->evicting = true;
    return job;
}

void lsm_evict_end_locked(lsm_evict *evict) {
    lsm_cache_space *cache = evict->space->cache;

    cache->evicting = false;
    evict->piece = lsm_cache_leave_locked(evict->piece);
}

void lsm_evict_destroy(lsm_evict *evict) {
    if (evict != NULL) {
        if (evict->walking) {
            lsm_cache_walk_deinit(&evict->walk);
        }
        lsm_cache_piece_destroy(evict->piece);
        lsm_space_unref(evict->space);
        lsm_buf_deinit(&evict->value);
        lsm_buf_deinit(&evict->skey);
        lsm_free(evict);
    }
}

/* The version that a value was committed with. */
typedef struct version_seen {
    uint64_t sequence;
    uint8_t tag;
    uint8_t times[16];
} version_seen;

/* Whether the newest version of the key, to be seen now, points to this value. */
static lsmkv_status look_up(lsmkv_db *db, const lsm_cache_item *item,
                            version_seen *seen, lsmkv_error *err) {
    lsm_found found;
    lsm_epoch_token token = lsm_epoch_enter(&db->epoch);
    lsm_readstate *state = lsm_db_readstate(db);
    lsm_lookup lookup = lsm_lookup_make(item->skey, lsm_db_published(db));
    lsmkv_status status = lsm_db_find(db, &lookup, false, state, &found, err);

    if (status == LSMKV_OK) {
        seen->tag = lsm_trailer_tag(found.trailer);
        seen->sequence = lsm_trailer_sequence(found.trailer);
        if (!lsm_found_visible(&found, lsm_clock_now_ms(&db->clock)) ||
            lsm_tag_kind(seen->tag) != LSM_KIND_CACHED) {
            status = LSMKV_NOT_FOUND;
        } else {
            lsm_pointer pointer = lsm_pointer_of_field(seen->tag, found.field);
            bool same = pointer.segment == item->pointer.segment &&
                        pointer.offset == item->pointer.offset;
            memcpy(seen->times, found.field.data, lsm_times_size(seen->tag));
            status = same ? LSMKV_OK : LSMKV_NOT_FOUND;
        }
    }
    lsm_epoch_leave(token);
    return status;
}

/* Commits that the key's value lies at the pointer, as it was seen before. */
static lsmkv_status commit(lsmkv_db *db, lsm_slice skey, const version_seen *seen,
                           const lsm_pointer *pointer, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_condition condition = {.skey = skey, .sequence = seen->sequence};
    lsm_write_how how = {.condition =
                             LSM_MUTANT(SECOND_CHANCE_RESURRECTS) ? NULL : &condition};
    uint8_t tag = (uint8_t)(seen->tag - LSM_KIND_CACHED + LSM_KIND_PUT);
    lsm_batch_record record = {
        .tag = tag,
        .skey = skey,
        .field = lsm_slice_make(seen->times, lsm_times_size(tag))};
    lsm_batch batch;

    lsm_batch_init(&batch);
    LSM_TRY(lsm_batch_add_cached(&batch, &record, pointer, err));
    status = lsm_db_write(db, &batch, how, err);
out:
    lsm_batch_deinit(&batch);
    return status;
}

/* Gives a value its second chance; NOT_FOUND when it is not to have one. */
static lsmkv_status reinsert(lsm_evict *evict, const lsm_cache_item *item,
                             lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_segment *segment = evict->piece->segment;
    version_seen seen = {0};
    lsm_slice value;
    lsm_pointer pointer;

    status = look_up(evict->db, item, &seen, err);
    if (LSM_MUTANT(SECOND_CHANCE_RESURRECTS) && status == LSMKV_NOT_FOUND) {
        seen.tag = LSM_KIND_CACHED;
        status = LSMKV_OK;
    }
    LSM_TRY(status);
    lsm_buf_clear(&evict->value);
    LSM_TRY(
        lsm_segment_read(segment, &item->pointer, false, &evict->value, &value, err));
    LSM_TRY(lsm_segment_check(segment, &item->pointer, value, err));
    lsm_cache_value what = {item->skey, value, true};
    LSM_TRY(lsm_cache_write(evict->db, evict->space->cache, &what, &pointer, err));
    status = commit(evict->db, item->skey, &seen, &pointer, err);
out:
    return status;
}

/* Whether a value may be written once more, from what the credit has left. */
static bool may_stay(lsm_evict *evict, const lsm_cache_item *item, bool *pinned) {
    lsm_cache_space *cache = evict->space->cache;
    bool read = lsm_cache_segment_touched(evict->piece->segment, item->pointer.offset);

    lsm_mutex_lock(&evict->db->mu);
    *pinned = lsm_cache_is_pinned(cache, item->skey);
    bool stays = *pinned || (read && cache->credit >= item->size);
    if (stays && !*pinned) {
        cache->credit -= item->size;
    }
    lsm_mutex_unlock(&evict->db->mu);
    return stays;
}

static bool is_lacking(lsmkv_status status) {
    return status == LSMKV_NO_MEMORY || status == LSMKV_DISK_FULL;
}

static lsmkv_status walk_some(lsm_evict *evict, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint64_t bytes = 0;
    uint64_t step =
        evict->step_bytes < STEP_BYTES_MAX ? evict->step_bytes : STEP_BYTES_MAX;

    for (int i = 0; i < STEP_FRAMES_MAX && bytes <= step; i++) {
        lsm_cache_item item;
        lsmkv_error failure;
        bool pinned = false;
        LSM_TRY(lsm_cache_walk_next(&evict->walk, &item, err));
        if (!may_stay(evict, &item, &pinned)) {
            continue;
        }
        bytes += item.size;
        status = reinsert(evict, &item, &failure);
        if ((pinned && is_lacking(status)) || status == LSMKV_CLOSED) {
            return lsm_error_copy(err, &failure);
        }
        status = LSMKV_OK;
    }
out:
    return status;
}

/* Counts what is gone, and gives the credit its share. */
static void settle_locked(lsm_cache_space *cache, uint64_t bytes) {
    uint64_t most = cache->max_bytes / CREDIT_DIVISOR;

    cache->evicted_segments += 1;
    cache->credit += bytes - bytes / 8;
    cache->credit = cache->credit < most ? cache->credit : most;
    cache->starved = false;
}

static lsmkv_status drop_oldest(lsm_evict *evict, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_db *db = evict->db;
    lsm_cache_space *cache = evict->space->cache;
    lsm_edit edit;

    lsm_edit_init(&edit);
    if (!lsm_edit_drop_cache(&edit, evict->piece->segment->number)) {
        LSM_TRY(lsm_fail_memory(err, sizeof(uint64_t)));
    }
    LSM_TRY(lsm_db_install(db, &edit, 0, err));
    lsm_cache_unlink(db, evict->piece->segment);
    lsm_mutex_lock(&db->mu);
    lsm_cache_piece *piece = lsm_cache_shift_locked(cache);
    uint64_t bytes = piece->bytes;
    settle_locked(cache, bytes);
    lsm_cond_broadcast(&db->changed);
    lsm_mutex_unlock(&db->mu);
    lsm_space_count(&evict->space->counters, LSMKV_COUNT_EVICTIONS, 1);
    lsm_space_count(&evict->space->counters, LSMKV_COUNT_EVICTED_BYTES, bytes);
out:
    lsm_edit_deinit(&edit);
    return status;
}

lsmkv_status lsm_evict_step(lsm_evict *evict, bool *done, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    *done = false;
    if (!evict->walking) {
        lsm_cache_walk_init(&evict->walk, evict->piece->segment);
        evict->walking = true;
    }
    status = walk_some(evict, err);
    if (status == LSMKV_NOT_FOUND) {
        status = drop_oldest(evict, err);
        *done = status == LSMKV_OK;
    }
    return status;
}
