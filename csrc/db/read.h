/* SPDX-License-Identifier: Apache-2.0
 *
 * Point reads, one key or many. Both are called inside the epoch with a readstate
 * loaded in it, and lend what they find for as long as the caller stays inside.
 */
#ifndef LSM_DB_READ_H
#define LSM_DB_READ_H

#include "db/db.h"

/* The newest version of a stored key that the lookup's sequence sees, of whatever kind:
 * OK, NOT_FOUND, WOULD_BLOCK (only when nonblocking) or an error. */
lsmkv_status lsm_db_find(lsmkv_db *db, const lsm_lookup *lookup, bool nonblocking,
                         lsm_readstate *state, lsm_found *found,
                         lsmkv_error *err) LSM_MUST_CHECK;

/* From which moment of engine time a read, plain or stale-tolerant, does not show the
 * version; 0: it never does. */
static inline uint64_t lsm_found_end(const lsm_found *found, bool stale) {
    uint8_t tag = lsm_trailer_tag(found->trailer);
    if (!lsm_tag_has_value(tag)) {
        return 0;
    }
    return stale ? lsm_expire_at(tag, found->field) : lsm_hidden_at(tag, found->field);
}

/* Whether a plain read shows the version at a moment of engine time. */
static inline bool lsm_found_visible(const lsm_found *found, uint64_t now_ms) {
    return lsm_found_end(found, false) > now_ms;
}

/* A piece of memory that goes with a pin: it begins with a pointer to the next one. */
typedef struct lsm_owned {
    struct lsm_owned *next;
    lsm_budget *budget; /* that it was counted in, or NULL; constant */
} lsm_owned;

void lsm_owned_free(lsm_owned *first); /* and all behind it; NULL is fine */

/* A value found. */
typedef struct lsm_value {
    lsm_slice bytes;
    lsm_owned *owned;     /* the bytes lie here: for the caller to free; or NULL */
    lsm_segment *segment; /* or in this mapping, lent by the readstate; or NULL */
    /* Its times, and the moment of the read: left as they are when it has none. */
    uint64_t hidden_at, expire_at, now_ms;
    bool expired; /* set with NOT_FOUND: the newest version was one, which is over */
} lsm_value;

/* For how long the value has been hidden from plain reads; -1: it is not. */
static inline int64_t lsm_value_stale_for_ms(const lsm_value *value) {
    return value->hidden_at <= value->now_ms
               ? (int64_t)(value->now_ms - value->hidden_at)
               : -1;
}

/* The newest visible value of a stored key: OK and the value, NOT_FOUND, WOULD_BLOCK
 * (only when nonblocking) or an error. */
lsmkv_status lsm_db_get(lsmkv_db *db, const lsm_lookup *lookup, bool nonblocking,
                        lsm_readstate *state, lsm_value *value,
                        lsmkv_error *err) LSM_MUST_CHECK;

/* The value that a version of kind POINTER or CACHED leads to. Without a mapping it is
 * appended to `owned`. NOT_FOUND: it was CACHED, and is gone. */
lsmkv_status lsm_db_follow(const lsm_readstate *state, const lsm_found *found,
                           bool nonblocking, lsm_buf *owned, lsm_value *value,
                           lsmkv_error *err) LSM_MUST_CHECK;

/* The same, in the tables alone, for values that are never large. */
lsmkv_status lsm_db_get_tables(lsmkv_db *db, const lsm_lookup *lookup,
                               const lsm_version *version, lsm_slice *value,
                               lsmkv_error *err) LSM_MUST_CHECK;

/* A batched read: `count` requests, none done, and three scratch arrays of as many
 * elements; `pending` names every request, in order. */
typedef struct lsm_get_many {
    lsm_table_request *requests;
    size_t count;
    lsm_table_request **pending;
    lsm_table_request **chosen;
    uint64_t *order;
    size_t expired; /* out: keys whose newest version was a value that has expired */
} lsm_get_many;

/* The memory of a read of `count` keys, in one piece that begins with *memory; *keys
 * has room for the stored keys, of key_bytes together. */
lsmkv_status lsm_get_many_init(lsm_get_many *many, size_t count, uint64_t key_bytes,
                               lsm_owned **memory, uint8_t **keys,
                               lsmkv_error *err) LSM_MUST_CHECK;

/* Makes request i that of a stored key, which is borrowed. */
static inline void lsm_get_many_set(const lsm_get_many *many, size_t i,
                                    lsm_slice skey) {
    many->requests[i] = (lsm_table_request){
        .lookup = {.skey = skey, .hash = lsm_xxh3(skey.data, skey.size)}};
    many->pending[i] = &many->requests[i];
}

/* Afterwards a request is done if its key has a value, which is its found.field; its
 * stale_for_ms then says how stale it is. Memory that values lie in goes before *owned.
 */
lsmkv_status lsm_db_get_many(lsmkv_db *db, lsm_readstate *state, lsm_get_many *many,
                             lsm_owned **owned, lsmkv_error *err) LSM_MUST_CHECK;

#endif
