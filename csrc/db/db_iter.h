/* SPDX-License-Identifier: Apache-2.0
 *
 * The user's iterator: over the internal keys of one readstate, it shows each stored
 * key of its range once, with the value that its sequence sees, and hides tombstones,
 * values that have expired, older versions and newer ones. What has expired is decided
 * at the moment of the call that moves it, what range deletes cover when it is made.
 *
 * Going forward, the inner iterator stands on the entry shown (so key and value need
 * no copy); going backward, it stands before all versions of the key shown, which was
 * copied. A key with many versions is skipped by a seek after a few steps.
 *
 * Every call is made inside the epoch. One thread at a time.
 */
#ifndef LSM_DB_DB_ITER_H
#define LSM_DB_DB_ITER_H

#include "db/db.h"
#include "table/iter.h"
#include "table/range_set.h"

/* How to make a move again that failed half way. */
typedef enum lsm_iter_repeat {
    LSM_REPEAT_FROM_TARGET,   /* forward from `target` on */
    LSM_REPEAT_PAST_COPY,     /* forward, past all versions of skey_copy */
    LSM_REPEAT_BEFORE_TARGET, /* backward from the last entry before `target` on */
    LSM_REPEAT_UP_TO_COPY,    /* backward from the oldest version of skey_copy on */
} lsm_iter_repeat;

struct lsmkv_iter {
    lsmkv_db *db;         /* one reference */
    lsm_readstate *state; /* one reference */
    uint64_t sequence;
    uint64_t now_ms;           /* engine time of this call; 0: not asked for yet */
    uint64_t hidden_at;        /* when what is shown will not be */
    bool stale;                /* values are shown until they expire; constant */
    lsm_iter *inner;           /* owned; merges memtables and tables */
    lsm_range_set *ranges;     /* range deletes that reach into [start, stop), one
                                  sequence each; owned; NULL: none */
    lsm_range_list range_list; /* holds their keys */
    size_t range_place;        /* where the last lookup ended */
    lsm_buf start, stop;       /* stored keys: the range is [start, stop); owned */
    bool positioned;           /* a seek has been made */
    bool valid;
    bool reverse;   /* the inner iterator stands before the key shown */
    lsm_slice skey; /* what is shown; lent by inner or by the copies */
    lsm_slice value;
    uint8_t tag;    /* of what is shown */
    bool keys_only; /* large values are not followed */
    bool pending;   /* what is shown has a large value that was not followed; `value`
                       is its field */
    bool followed;  /* shows_value has followed it already, to `cached` */
    lsm_slice cached;
    lsm_buf large;     /* a large value that was read */
    lsm_buf skey_copy; /* also: the key to skip, going forward */
    lsm_buf value_copy;
    lsm_buf target; /* of the last seek of the inner iterator */
    lsm_iter_repeat repeat;
    lsmkv_status status;
    lsmkv_error error;
    lsm_buf chunk; /* of lsm_db_iter_fill */
    lsmkv_row *rows;
    size_t row_capacity;
    lsmkv_row_times *times;
    size_t times_capacity;
};

/* Inside the epoch. `range` holds stored keys, both bounds present. */
lsmkv_status lsm_db_iter_create(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                                lsm_slice start, lsm_slice stop, lsmkv_iter **iterp,
                                lsmkv_error *err) LSM_MUST_CHECK;
void lsm_db_iter_destroy(lsmkv_iter *iter);

/* Begins a call: what has expired is decided anew. */
static inline void lsm_db_iter_begin(lsmkv_iter *iter) {
    iter->now_ms = 0;
}

void lsm_db_iter_seek_first(lsmkv_iter *iter);
void lsm_db_iter_seek_last(lsmkv_iter *iter);
void lsm_db_iter_seek(lsmkv_iter *iter, lsm_slice skey);          /* first >= skey */
void lsm_db_iter_seek_for_prev(lsmkv_iter *iter, lsm_slice skey); /* last <= skey */
void lsm_db_iter_next(lsmkv_iter *iter);
void lsm_db_iter_prev(lsmkv_iter *iter);
/* Whether what an earlier call has shown has expired since. */
bool lsm_db_iter_stale(lsmkv_iter *iter);
/* Makes the move that failed again, after what made it fail is over. */
void lsm_db_iter_repeat(lsmkv_iter *iter);

/* Follows the pointer that the value shown is, if that was left for later. On failure
 * the iterator is not valid; from a value of a cache that has gone it moves on. */
void lsm_db_iter_load(lsmkv_iter *iter);

/* Copies rows into iter->chunk; see lsmkv_iter_fill. */
lsmkv_status lsm_db_iter_fill(lsmkv_iter *iter, const lsmkv_fill *fill,
                              lsmkv_chunk *chunk, lsmkv_error *err) LSM_MUST_CHECK;

#endif
