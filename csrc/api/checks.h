/* SPDX-License-Identifier: Apache-2.0
 *
 * What the public calls ask of the namespace and the snapshot they are given.
 */
#ifndef LSM_API_CHECKS_H
#define LSM_API_CHECKS_H

#include "db/db.h"

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

/* The same for a write. */
static inline lsmkv_status lsm_check_write(const lsmkv_db *db, const lsmkv_write *how,
                                           lsmkv_error *err) {
    if (LSM_LIKELY(how == NULL || how->space == NULL)) {
        return LSMKV_OK;
    }
    return lsm_check_space(db, how->space, err);
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

static inline uint32_t lsm_read_space(const lsmkv_read *read) {
    return read != NULL && read->space != NULL ? read->space->space->id
                                               : (uint32_t)LSM_NAMESPACE_DEFAULT;
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
