/* SPDX-License-Identifier: Apache-2.0
 *
 * See db_iter.h for the states.
 */
#include "db/db_iter.h"

#include "base/alloc.h"
#include "base/mutant.h"
#include "db/read.h"

enum { SKIPS_MAX = 8 }; /* steps over one key's versions before a seek pays */

static bool fail_memory(lsmkv_iter *iter) {
    iter->valid = false;
    iter->status = lsm_fail_memory(&iter->error, 0);
    return false;
}

static bool set(lsmkv_iter *iter, lsm_buf *to, lsm_slice from) {
    lsm_buf_clear(to);
    return lsm_buf_append(to, from.data, from.size) || fail_memory(iter);
}

/* The inner iterator has no more: take over how that came. */
static void end(lsmkv_iter *iter) {
    iter->valid = false;
    iter->status = iter->inner->status;
    if (iter->status != LSMKV_OK) {
        iter->error = iter->inner->error;
    }
}

static bool seek_inner(lsmkv_iter *iter, lsm_slice skey, uint64_t trailer) {
    uint8_t bytes[LSM_TRAILER_SIZE];
    lsm_put_u64(bytes, trailer);
    lsm_buf_clear(&iter->target);
    if (!lsm_buf_append(&iter->target, skey.data, skey.size) ||
        !lsm_buf_append(&iter->target, bytes, sizeof(bytes))) {
        return fail_memory(iter);
    }
    lsm_iter_seek(iter->inner, lsm_buf_slice(&iter->target));
    return true;
}

static bool below_start(const lsmkv_iter *iter, lsm_slice skey) {
    return lsm_slice_compare(skey, lsm_buf_slice(&iter->start)) < 0;
}

static bool past_stop(const lsmkv_iter *iter, lsm_slice skey) {
    return lsm_slice_compare(skey, lsm_buf_slice(&iter->stop)) >= 0;
}

/* Engine time, read once a call and only if something expires. */
static uint64_t call_time(lsmkv_iter *iter) {
    if (iter->now_ms == 0) {
        iter->now_ms = lsm_clock_now_ms(&iter->db->clock);
    }
    return iter->now_ms;
}

bool lsm_db_iter_stale(lsmkv_iter *iter) {
    return iter->valid && iter->hidden_at != LSM_NEVER &&
           iter->hidden_at <= call_time(iter);
}

static LSM_NOINLINE bool is_range_deleted(lsmkv_iter *iter, lsm_slice skey,
                                          uint64_t sequence) {
    return lsm_range_set_cover(iter->ranges, skey, iter->sequence, &iter->range_place) >
           sequence;
}

/* Whether a value of a cache is there: it is followed at once, or, for keys alone, its
 * segment is looked for. Whatever fails, it is not. */
static LSM_NOINLINE bool is_cached(lsmkv_iter *iter, uint8_t tag) {
    lsm_value value = {0};
    lsm_found found = {lsm_trailer_make(0, tag), iter->inner->value};
    lsm_pointer pointer = lsm_pointer_of_field(tag, iter->inner->value);

    if (iter->keys_only) {
        return lsm_version_find_cache(iter->state->version, pointer.segment) != NULL;
    }
    lsm_buf_clear(&iter->large);
    iter->followed = lsm_db_follow(iter->state, &found, false, &iter->large, &value,
                                   NULL) == LSMKV_OK;
    iter->cached = iter->followed ? value.bytes : lsm_slice_make(NULL, 0);
    return iter->followed;
}

/* Whether the version of skey that the inner iterator is on, the newest one that the
 * sequence sees, is a value. */
static inline bool shows_value(lsmkv_iter *iter, lsm_slice skey, uint64_t trailer) {
    uint8_t tag = lsm_trailer_tag(trailer);

    iter->hidden_at = LSM_NEVER;
    iter->followed = false;
    if (LSM_UNLIKELY(iter->ranges != NULL) &&
        is_range_deleted(iter, skey, lsm_trailer_sequence(trailer))) {
        return false;
    }
    if (LSM_LIKELY(tag == LSM_KIND_PUT)) {
        return true;
    }
    if (!lsm_tag_has_value(tag)) {
        return false;
    }
    if (lsm_tag_has_times(tag)) {
        iter->hidden_at = iter->stale ? lsm_expire_at(tag, iter->inner->value)
                                      : lsm_hidden_at(tag, iter->inner->value);
        if (iter->hidden_at <= call_time(iter) && !LSM_MUTANT(SCAN_IGNORES_EXPIRY)) {
            return false;
        }
    }
    return lsm_tag_kind(tag) != LSM_KIND_CACHED || is_cached(iter, tag);
}

/* Follows the pointer that is shown. */
static void follow(lsmkv_iter *iter) {
    lsm_value value = {0};
    lsm_found found = {lsm_trailer_make(0, iter->tag), iter->value};

    iter->pending = false;
    lsm_buf_clear(&iter->large);
    iter->status =
        lsm_db_follow(iter->state, &found, false, &iter->large, &value, &iter->error);
    iter->valid = iter->status == LSMKV_OK;
    iter->value = value.bytes;
}

/* Shows a value; `field` is lent for as long as the position is. */
static void show(lsmkv_iter *iter, lsm_slice skey, uint8_t tag, lsm_slice field) {
    iter->valid = true;
    iter->status = LSMKV_OK;
    iter->skey = skey;
    iter->tag = tag;
    iter->pending = lsm_tag_kind(tag) != LSM_KIND_PUT && !iter->followed;
    iter->value = iter->pending    ? field
                  : iter->followed ? iter->cached
                                   : lsm_value_of_field(tag, field);
    if (LSM_UNLIKELY(iter->pending) && !iter->keys_only) {
        follow(iter);
    }
}

/* From where the inner iterator stands, finds the next key to show. With `skipping`,
 * skey_copy is a key whose further versions are passed over. */
static void find_next(lsmkv_iter *iter, bool skipping) {
    lsm_iter *inner = iter->inner;
    int skips = 0;

    iter->valid = false;
    iter->reverse = false;
    while (inner->valid) {
        lsm_slice skey = lsm_ikey_skey(inner->key);
        uint64_t trailer = lsm_ikey_trailer(inner->key);
        bool too_new = lsm_trailer_sequence(trailer) > iter->sequence;
        bool skipped =
            skipping && lsm_slice_equal(skey, lsm_buf_slice(&iter->skey_copy));
        if (!skipped && past_stop(iter, skey)) {
            iter->status = LSMKV_OK;
            return;
        }
        if (!skipped && !too_new) {
            if (shows_value(iter, skey, trailer)) {
                show(iter, skey, lsm_trailer_tag(trailer), inner->value);
                return;
            }
            if (!set(iter, &iter->skey_copy, skey)) { /* what is dead hides the rest */
                return;
            }
            skipping = true;
            skips = 0;
        }
        if (++skips <= SKIPS_MAX) {
            lsm_iter_next(inner);
            continue;
        }
        skips = 0;
        skipping = skipped || !too_new;
        uint64_t to = skipping ? 0 : lsm_trailer_make(iter->sequence, LSM_TAG_SEEK);
        iter->repeat = LSM_REPEAT_FROM_TARGET;
        if (!set(iter, &iter->skey_copy, skey) ||
            !seek_inner(iter, lsm_buf_slice(&iter->skey_copy), to)) {
            return;
        }
    }
    end(iter);
}

/* The newest visible version among those of one key, walking backward, which is from
 * old to new. Leaves the inner iterator before all of them. *shown: it is a value. */
static bool gather_versions(lsmkv_iter *iter, bool *shown) {
    lsm_iter *inner = iter->inner;
    int steps = 0;
    *shown = false;
    iter->repeat = LSM_REPEAT_UP_TO_COPY;
    if (!set(iter, &iter->skey_copy, lsm_ikey_skey(inner->key))) {
        return false;
    }
    lsm_slice current = lsm_buf_slice(&iter->skey_copy);
    while (inner->valid && lsm_slice_equal(lsm_ikey_skey(inner->key), current)) {
        uint64_t trailer = lsm_ikey_trailer(inner->key);
        uint8_t tag = lsm_trailer_tag(trailer);
        if (lsm_trailer_sequence(trailer) > iter->sequence &&
            !LSM_MUTANT(BACKWARD_SCAN_IGNORES_SNAPSHOT)) {
            break;
        }
        *shown = shows_value(iter, current, trailer);
        iter->tag = tag;
        if (*shown && !set(iter, &iter->value_copy, inner->value)) {
            return false;
        }
        if (++steps > SKIPS_MAX) {
            /* Many versions: go to the newest visible one at once. */
            steps = INT32_MIN;
            if (!seek_inner(iter, current,
                            lsm_trailer_make(iter->sequence, LSM_TAG_SEEK))) {
                return false;
            }
            continue;
        }
        lsm_iter_prev(inner);
    }
    return true;
}

/* Passes over what is left of the current key's versions, going backward. */
static bool leave_key_backward(lsmkv_iter *iter) {
    lsm_iter *inner = iter->inner;
    lsm_slice current = lsm_buf_slice(&iter->skey_copy);
    int steps = 0;
    while (inner->valid && lsm_slice_equal(lsm_ikey_skey(inner->key), current)) {
        if (++steps > SKIPS_MAX) {
            if (!seek_inner(iter, current,
                            lsm_trailer_make(LSM_SEQUENCE_MAX, LSM_TAG_SEEK))) {
                return false;
            }
            if (inner->valid) { /* unless that failed: this key is there */
                lsm_iter_prev(inner);
            }
            return true;
        }
        lsm_iter_prev(inner);
    }
    return true;
}

/* From where the inner iterator stands, on the oldest version of some key, finds the
 * key to show going backward. */
static void find_prev(lsmkv_iter *iter) {
    lsm_iter *inner = iter->inner;

    iter->valid = false;
    iter->reverse = true;
    while (inner->valid) {
        bool shown;
        if (below_start(iter, lsm_ikey_skey(inner->key))) {
            iter->status = LSMKV_OK;
            return;
        }
        if (!gather_versions(iter, &shown) || !leave_key_backward(iter)) {
            return;
        }
        if (inner->status != LSMKV_OK) {
            break; /* a newer version may hide behind the error */
        }
        if (shown) {
            show(iter, lsm_buf_slice(&iter->skey_copy), iter->tag,
                 lsm_buf_slice(&iter->value_copy));
            return;
        }
    }
    end(iter);
}

/* Puts the inner iterator, which was sent to the target, on the last entry before. */
static void step_before(lsmkv_iter *iter) {
    if (iter->inner->valid) {
        lsm_iter_prev(iter->inner);
    } else if (iter->inner->status == LSMKV_OK) {
        lsm_iter_seek_last(iter->inner);
    }
}

/* Puts the inner iterator on the last entry before an internal key. */
static bool place_before(lsmkv_iter *iter, lsm_slice skey, uint64_t trailer) {
    iter->repeat = LSM_REPEAT_BEFORE_TARGET;
    if (!seek_inner(iter, skey, trailer)) {
        return false;
    }
    step_before(iter);
    return true;
}

void lsm_db_iter_seek_first(lsmkv_iter *iter) {
    lsm_db_iter_seek(iter, lsm_buf_slice(&iter->start));
}

void lsm_db_iter_seek_last(lsmkv_iter *iter) {
    iter->positioned = true;
    if (place_before(iter, lsm_buf_slice(&iter->stop),
                     lsm_trailer_make(LSM_SEQUENCE_MAX, LSM_TAG_SEEK))) {
        find_prev(iter);
    }
}

void lsm_db_iter_seek(lsmkv_iter *iter, lsm_slice skey) {
    iter->positioned = true;
    iter->repeat = LSM_REPEAT_FROM_TARGET;
    if (below_start(iter, skey)) {
        skey = lsm_buf_slice(&iter->start);
    }
    if (seek_inner(iter, skey, lsm_trailer_make(iter->sequence, LSM_TAG_SEEK))) {
        find_next(iter, false);
    }
}

void lsm_db_iter_seek_for_prev(lsmkv_iter *iter, lsm_slice skey) {
    iter->positioned = true;
    if (past_stop(iter, skey)) {
        lsm_db_iter_seek_last(iter);
    } else if (place_before(iter, skey, 0)) { /* behind every version of skey */
        find_prev(iter);
    }
}

void lsm_db_iter_next(lsmkv_iter *iter) {
    if (iter->reverse) {
        /* The inner iterator stands before the key shown, whose copy we have. */
        iter->repeat = LSM_REPEAT_FROM_TARGET;
        if (seek_inner(iter, lsm_buf_slice(&iter->skey_copy), 0)) {
            find_next(iter, true);
        }
        return;
    }
    if (set(iter, &iter->skey_copy, iter->skey)) {
        iter->repeat = LSM_REPEAT_PAST_COPY;
        lsm_iter_next(iter->inner);
        find_next(iter, true);
    }
}

void lsm_db_iter_prev(lsmkv_iter *iter) {
    if (!iter->reverse) {
        if (!set(iter, &iter->skey_copy, iter->skey) ||
            !place_before(iter, lsm_buf_slice(&iter->skey_copy),
                          lsm_trailer_make(LSM_SEQUENCE_MAX, LSM_TAG_SEEK))) {
            return;
        }
    }
    find_prev(iter);
}

void lsm_db_iter_load(lsmkv_iter *iter) {
    if (!iter->pending) {
        return;
    }
    bool cached = lsm_tag_kind(iter->tag) == LSM_KIND_CACHED;
    bool reverse = iter->reverse;
    follow(iter);
    if (cached && !iter->valid) {
        iter->valid = true; /* where it is, to go on from there */
        iter->status = LSMKV_OK;
        (reverse ? lsm_db_iter_prev : lsm_db_iter_next)(iter);
    }
}

void lsm_db_iter_repeat(lsmkv_iter *iter) {
    lsm_slice copy = lsm_buf_slice(&iter->skey_copy);

    switch (iter->repeat) {
        case LSM_REPEAT_FROM_TARGET:
            lsm_iter_seek(iter->inner, lsm_buf_slice(&iter->target));
            find_next(iter, false);
            break;
        case LSM_REPEAT_PAST_COPY:
            if (seek_inner(iter, copy, 0)) {
                find_next(iter, true);
            }
            break;
        case LSM_REPEAT_BEFORE_TARGET:
            lsm_iter_seek(iter->inner, lsm_buf_slice(&iter->target));
            step_before(iter);
            find_prev(iter);
            break;
        case LSM_REPEAT_UP_TO_COPY:
            if (place_before(iter, copy, 0)) {
                find_prev(iter);
            }
            break;
    }
}
