/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of public calls share: keys, the state that a read sees, batches.
 */
#ifndef LSM_API_CALLS_H
#define LSM_API_CALLS_H

#include "db/db.h"
#include "db/read.h"

struct lsmkv_batch {
    lsm_batch inner;
    uint64_t instance; /* the handle its namespaces belong to; 0: it names none */
};

/* LIMIT_EXCEEDED for a key that is too long. */
static inline lsmkv_status lsm_check_key(lsmkv_bytes key, lsmkv_error *err) {
    if (LSM_UNLIKELY(key.size > LSMKV_KEY_SIZE_MAX)) {
        return lsm_fail(err, LSMKV_LIMIT_EXCEEDED, "key of %zu bytes: at most %d",
                        key.size, LSMKV_KEY_SIZE_MAX);
    }
    return LSMKV_OK;
}

/* Writes a stored key. */
static inline void lsm_skey_write(uint8_t *to, uint32_t namespace_id, lsmkv_bytes key) {
    lsm_put_u32_be(to, namespace_id);
    if (key.size > 0) {
        memcpy(to + LSM_NAMESPACE_SIZE, key.data, key.size);
    }
}

/* The state that a read sees; to be asked for before its sequence. */
static inline lsm_readstate *lsm_read_state(lsmkv_db *db, const lsmkv_read *read) {
    return lsm_db_state_of(db, read != NULL ? read->snapshot : NULL);
}

static inline uint64_t lsm_read_sequence(lsmkv_db *db, const lsmkv_read *read) {
    return read != NULL && read->snapshot != NULL ? read->snapshot->sequence
                                                  : lsm_db_published(db);
}

/* Counts reads that found nothing, some of them because it had expired. */
static inline void lsm_count_misses(lsm_space_counters *counters, uint64_t misses,
                                    uint64_t expired) {
    if (misses > 0) {
        lsm_space_count(counters, LSMKV_COUNT_MISSES, misses);
    }
    if (expired > 0) {
        lsm_space_count(counters, LSMKV_COUNT_EXPIRED, expired);
    }
}

/* How long a value has, in ms; -1: for ever. */
static inline int64_t lsm_time_left(uint64_t end, uint64_t now_ms) {
    if (end == LSM_NEVER || end - now_ms > INT64_MAX) {
        return -1;
    }
    return (int64_t)(end - now_ms);
}

/* In put.c. */

/* Adds a put to a batch as `how` says. */
lsmkv_status lsm_batch_add_put(lsm_batch *batch, const lsmkv_write *how,
                               lsmkv_bytes key, lsmkv_bytes value,
                               lsmkv_error *err) LSM_MUST_CHECK;
/* Binds a batch to the database of the namespace that its next record names. */
lsmkv_status lsm_batch_take_space(lsmkv_batch *batch, const lsmkv_write *how,
                                  lsmkv_error *err) LSM_MUST_CHECK;
/* Writes a batch of one record or more, ... */
lsmkv_status lsm_write_as(lsmkv_db *db, lsm_write_how resolved, lsm_batch *batch,
                          lsmkv_error *err) LSM_MUST_CHECK;
/* ... or one that may be empty. */
lsmkv_status lsm_write_any(lsmkv_db *db, const lsmkv_write *how, lsm_batch *batch,
                           lsmkv_error *err) LSM_MUST_CHECK;

#endif
