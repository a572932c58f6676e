/* SPDX-License-Identifier: Apache-2.0
 *
 * The cache that a namespace is: where its values lie, and which of them go.
 *
 * Values lie in cache segments (segment/cache_segment.h), oldest first. The last one is
 * written: a writer reserves a piece of it under mu and writes there without, in its
 * own thread, before its record goes to the log. When it is full the next one is begun,
 * by whoever needs it; the MANIFEST hears of a segment before anything is written, and
 * that it is dropped before its file is unlinked.
 *
 * The cap. With M for max_bytes, a segment ends at M / 64. The files of all segments
 * together never exceed M + M / 20: writers stop two segments before, which is what the
 * eviction of one needs at most. From M on, segments are evicted in the background, the
 * oldest first and whole: values read since they were written, and pinned ones, are
 * written once more at the other end (cache_evict.c).
 *
 * After an open the segments are what the MANIFEST names and the directory has, closed
 * as they are; a new one is begun for the next value.
 *
 * Everything is guarded by mu but for what is constant. docs/adr/0007 has the reasons.
 */
#ifndef LSM_DB_CACHE_SPACE_H
#define LSM_DB_CACHE_SPACE_H

#include "db/db.h"
#include "segment/cache_segment.h"

/* A segment of a cache. */
typedef struct lsm_cache_piece {
    lsm_segment *segment; /* one reference */
    lsm_file *file;       /* owned; NULL: nothing more is written */
    uint64_t bytes;       /* reserved; what the file has at most */
    uint64_t limit;       /* where it is full */
    uint32_t users;       /* writers at work, and eviction */
    bool full;
    bool dropped; /* out of the list: the last user frees */
} lsm_cache_piece;

struct lsm_cache_pins;

struct lsm_cache_space {
    uint32_t id;              /* constant */
    lsm_cache_piece **pieces; /* owned; oldest first; the last may be written */
    size_t count, capacity;
    lsm_segment *pending; /* the next one, while the MANIFEST hears of it; borrowed */
    uint64_t bytes;       /* of all pieces */
    uint64_t max_bytes;
    uint64_t credit; /* bytes that evictions may write again */
    bool rolling;    /* the next segment is being begun */
    bool evicting;
    bool starved; /* a writer waits for an eviction */
    bool dropped;
    struct lsm_cache_pins *pins; /* owned; NULL: none */
    uint64_t written_bytes, reinserted_bytes, evicted_segments;
};

/* A value to be written. */
typedef struct lsm_cache_value {
    lsm_slice skey;
    lsm_slice value;
    bool again; /* by an eviction, which does not wait for one */
} lsm_cache_value;

lsm_cache_space *lsm_cache_space_create(uint32_t id, uint64_t max_bytes);
void lsm_cache_space_destroy(lsm_cache_space *cache); /* NULL is fine */
/* Another number of bytes. Takes mu. */
void lsm_cache_space_alter(lsmkv_db *db, lsm_cache_space *cache, uint64_t max_bytes);

/* Whether a cache of `max_bytes` takes a value: LIMIT_EXCEEDED. */
lsmkv_status lsm_cache_check(uint64_t max_bytes, size_t key_size, size_t value_size,
                             lsmkv_error *err) LSM_MUST_CHECK;
/* Writes a value; a pointer to it may then be committed. Called inside lsm_db_begin or
 * by a job. Waits while the cache is over its cap, `again` excepted: NOT_FOUND when
 * there is no room. */
lsmkv_status lsm_cache_write(lsmkv_db *db, lsm_cache_space *cache,
                             const lsm_cache_value *value, lsm_pointer *pointer,
                             lsmkv_error *err) LSM_MUST_CHECK;
/* The batch with the values of caches written and pointed to, in `to`, which is empty
 * and initialised. Its times were resolved. */
lsmkv_status lsm_cache_place(lsmkv_db *db, const lsm_batch *batch, lsm_batch *to,
                             lsmkv_error *err) LSM_MUST_CHECK;

/* A reader found a pointer of kind CACHED into `segment` (NULL: there is none) and read
 * it with this outcome. NOT_FOUND for whatever says that the value is gone. */
lsmkv_status lsm_cache_answer(lsm_segment *segment, const lsm_pointer *pointer,
                              lsmkv_status status, lsmkv_error *err);

void lsm_cache_describe(lsmkv_db *db, const lsm_cache_space *cache,
                        lsmkv_cache_stats *stats);
/* In cache_pins.c, with mu held: what the values of pinned keys take. */
uint64_t lsm_cache_pinned_bytes(const lsm_cache_space *cache, uint64_t *count);

static inline uint64_t lsm_cache_segment_bytes(uint64_t max_bytes) {
    return max_bytes / 64 / LSM_CACHE_FRAME_ALIGN * LSM_CACHE_FRAME_ALIGN;
}

/* In cache_open.c. For open, after the namespaces are known: takes over the segments
 * that are there; the others, and what is over the cap, the edit drops. */
lsmkv_status lsm_cache_recover(lsmkv_db *db, lsm_edit *edit,
                               lsmkv_error *err) LSM_MUST_CHECK;
/* For who only reads: finds out how large the segments of a version are by now. */
lsmkv_status lsm_cache_view(lsmkv_db *db, const lsm_version *version,
                            lsmkv_error *err) LSM_MUST_CHECK;
/* After the namespace was dropped: drops its segments. What fails the next open does.
 */
void lsm_cache_space_drop(lsmkv_db *db, lsm_cache_space *cache);
/* The segment that an edit adds: the pending one, or one of an open. For the sink. */
lsm_segment *lsm_cache_find_pending(lsmkv_db *db, const lsm_edit_cache *info);

/* In cache_space.c, for cache_evict.c and cache_open.c, with mu held. */
bool lsm_cache_push_locked(lsm_cache_space *cache,
                           lsm_cache_piece *piece) LSM_MUST_CHECK;
lsm_cache_piece *lsm_cache_piece_create(lsm_segment *segment); /* takes the reference */
/* Takes the oldest piece off the list; destroy it later, unless it has users. */
lsm_cache_piece *lsm_cache_shift_locked(lsm_cache_space *cache);
/* One user less. What it answers, destroy without the lock. */
lsm_cache_piece *lsm_cache_leave_locked(lsm_cache_piece *piece);
void lsm_cache_piece_destroy(lsm_cache_piece *piece); /* NULL is fine */
/* The file goes now, whoever may still read in it. Without the lock. */
void lsm_cache_unlink(lsmkv_db *db, lsm_segment *segment);

/* In cache_evict.c. The job of the next eviction that is due, or NULL: none is, or
 * *err says why not. */
struct lsm_job *lsm_cache_start_evict_locked(lsmkv_db *db, lsmkv_error *err)
    LSM_REQUIRES(db->mu);
bool lsm_cache_evicts_locked(lsmkv_db *db) LSM_REQUIRES(db->mu); /* runs or is due */
struct lsm_evict;
lsmkv_status lsm_evict_step(struct lsm_evict *evict, bool *done,
                            lsmkv_error *err) LSM_MUST_CHECK;
void lsm_evict_end_locked(struct lsm_evict *evict);
void lsm_evict_destroy(struct lsm_evict *evict);

/* Keys to pin, or no longer to. */
typedef struct lsm_pin_request {
    lsm_cache_space *cache;
    const lsmkv_bytes *keys;
    size_t count;
    bool unpins;
} lsm_pin_request;

/* In cache_pins.c. All keys or none; LIMIT_EXCEEDED when their values take too much. */
lsmkv_status lsm_cache_change_pins(lsmkv_db *db, const lsm_pin_request *request,
                                   lsmkv_error *err) LSM_MUST_CHECK;
/* For open, after the namespaces are known. */
lsmkv_status lsm_cache_load_pins(lsmkv_db *db, lsmkv_error *err) LSM_MUST_CHECK;
/* The value of a key is going to take so many bytes: LIMIT_EXCEEDED if it is pinned and
 * that is too much. */
lsmkv_status lsm_cache_account_locked(lsm_cache_space *cache, lsm_slice skey,
                                      uint64_t bytes, lsmkv_error *err) LSM_MUST_CHECK;
/* Whether a key is pinned, with mu held. */
bool lsm_cache_is_pinned(const lsm_cache_space *cache, lsm_slice skey);
/* Adds to a batch that all pins of a namespace go. */
lsmkv_status lsm_cache_forget_pins(uint32_t space_id, lsm_batch *batch,
                                   lsmkv_error *err) LSM_MUST_CHECK;
void lsm_cache_pins_destroy(struct lsm_cache_pins *pins); /* NULL is fine */

#endif
