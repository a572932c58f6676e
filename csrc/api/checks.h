/* SPDX-License-Identifier: Apache-2.0
 *
 * What the public calls ask of the namespace and the snapshot they are given.
 */
#ifndef LSM_API_CHECKS_H
#define LSM_API_CHECKS_H

#include "db/db.h"
#include "db/published.h"

/* The slow halves of the checks below. */
lsmkv_status lsm_check_read_more(const lsmkv_db *db, const lsmkv_read *read,
                                 lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_check_space(const lsmkv_db *db, const lsmkv_namespace *space,
                             lsmkv_error *err) LSM_MUST_CHECK;

/* Whether a read may be made: snapshot and namespace belong to the database, and the
 * namespace lives or is read in a snapshot. */
static inline lsmkv_status lsm_check_read(const lsmkv_db *db, const lsmkv_read *read,
                                          lsmkv_error *err) {
    if (LSM_LIKELY(read == NULL || (read->snapshot == NULL && read->space == NULL))) {
        return LSMKV_OK;
    }
    return lsm_check_read_more(db, read, err);
}

/* Whether a namespace is of the database and can be written to. */
lsmkv_status lsm_check_writable(const lsmkv_db *db, const lsmkv_namespace *space,
                                lsmkv_error *err) LSM_MUST_CHECK;

/* The same for a write. */
static inline lsmkv_status lsm_check_write(const lsmkv_db *db, const lsmkv_write *how,
                                           lsmkv_error *err) {
    if (LSM_LIKELY(how == NULL || how->space == NULL)) {
        return LSMKV_OK;
    }
    return lsm_check_writable(db, how->space, err);
}

/* In write_how.c: how to commit, and when a value that is put ends. */
lsm_write_how lsm_resolve_how(const lsmkv_db *db, const lsmkv_write *how);
lsmkv_status lsm_resolve_times(const lsmkv_write *how, lsm_times *times,
                               lsmkv_error *err) LSM_MUST_CHECK;

/* In namespace_cache.c. A put to a namespace that is a cache: without a copy of the
 * value. */
lsmkv_status lsm_put_cached(lsmkv_db *db, const lsmkv_write *how, lsmkv_bytes key,
                            lsmkv_bytes value, lsmkv_error *err) LSM_MUST_CHECK;
/* Gives the value that lies at the pointer other times: adds that to a batch. */
lsmkv_status lsm_touch_cached(lsm_batch *batch, const lsmkv_write *how, lsmkv_bytes key,
                              const lsm_pointer *pointer,
                              lsmkv_error *err) LSM_MUST_CHECK;

/* The id of the namespace to read, or the version of a published name to read. */
static inline uint32_t lsm_read_space(const lsmkv_read *read) {
    if (LSM_LIKELY(read == NULL || read->space == NULL)) {
        return LSM_NAMESPACE_DEFAULT;
    }
    const lsm_space *space = read->space->space;
    if (LSM_LIKELY(atomic_load_explicit(&space->meaning, memory_order_relaxed) ==
                   NULL)) {
        return space->id;
    }
    const lsm_meaning *meaning =
        lsm_published_meaning(read->space->db, space, read->snapshot);
    return meaning != NULL ? meaning->id : LSM_SPACE_NOTHING;
}

/* Taken before a read asks for its namespace: what lsm_read_stays goes by. */
static inline const lsm_meaning *lsm_read_mark(const lsmkv_read *read) {
    return LSM_LIKELY(read == NULL || read->space == NULL)
               ? NULL
               : atomic_load_explicit(&read->space->space->meaning,
                                      memory_order_acquire);
}

/* Once a read has its state: whether the namespace that it asked for may be read in it,
 * or a published name has got another version since. */
static inline bool lsm_read_stays(const lsmkv_read *read, const lsm_meaning *mark) {
    return LSM_LIKELY(mark == NULL) || lsm_published_stays(read->space, mark);
}

/* Whether what was read of a published name is nothing because its version was released
 * before the read had its state; then there is another one. */
static inline bool lsm_read_was_too_late(const lsmkv_read *read, lsmkv_status status,
                                         const lsm_meaning *mark) {
    return status == LSMKV_NOT_FOUND && !lsm_read_stays(read, mark);
}

/* The namespace that is read, lent. */
static inline lsm_space *lsm_space_of_read(lsmkv_db *db, const lsmkv_read *read) {
    return read != NULL && read->space != NULL ? read->space->space
                                               : &db->default_space;
}

static inline uint32_t lsm_write_space(const lsmkv_write *how) {
    return how != NULL && how->space != NULL ? how->space->space->id
                                             : (uint32_t)LSM_NAMESPACE_DEFAULT;
}

#endif
