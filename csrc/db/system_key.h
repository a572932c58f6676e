/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys of the system namespace: what the database knows about itself. They are read
 * back each time that they are asked for, and written by batches like any other.
 */
#ifndef LSM_DB_SYSTEM_KEY_H
#define LSM_DB_SYSTEM_KEY_H

#include "db/db.h"
#include "format/publish_record.h"
#include "format/space.h"

enum {
    /* Behind the prefix: a name, or a name, a slash and the name of a version. */
    LSM_SYSTEM_KEY_MAX = LSM_NAMESPACE_SIZE + LSM_SPACE_PREFIX_SIZE +
        LSM_SPACE_NAME_MAX + 1 + LSM_VERSION_NAME_MAX,
};

_Static_assert((int)LSM_PUBLISH_PREFIX_SIZE <= (int)LSM_SPACE_PREFIX_SIZE, "it fits");
_Static_assert((int)LSM_PUBLISHED_PREFIX_SIZE <= (int)LSM_SPACE_PREFIX_SIZE + 1,
               "it fits where no version follows");

typedef struct lsm_system_key {
    size_t size;
    uint8_t skey[LSM_SYSTEM_KEY_MAX];
} lsm_system_key;

void lsm_system_key_make(lsm_system_key *key, const char *prefix, lsmkv_bytes rest);
/* Appends to a key; it must fit. */
void lsm_system_key_add(lsm_system_key *key, lsmkv_bytes more);
/* As a batch wants it. */
lsmkv_bytes lsm_system_key_bytes(const lsm_system_key *key);

/* Reads a key as a snapshot, or the newest state, has it. OK, NOT_FOUND or an error. */
lsmkv_status lsm_system_read(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                             const lsm_system_key *key, lsm_buf *value,
                             lsmkv_error *err) LSM_MUST_CHECK;
/* `rest` is the key behind the prefix; both are lent. */
typedef lsmkv_status (*lsm_system_fn)(void *context, lsm_slice rest, lsm_slice value,
                                      lsmkv_error *err);

/* Calls for each key with a prefix, in order and outside every lock of its own, until a
 * call fails. */
lsmkv_status lsm_system_walk(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                             const char *prefix, lsm_system_fn visit, void *context,
                             lsmkv_error *err) LSM_MUST_CHECK;
/* Writes a batch of definitions, which leads alone; with `drops`, that namespace goes.
 */
lsmkv_status lsm_system_commit(lsmkv_db *db, lsm_batch *batch, lsm_space *drops,
                               lsmkv_error *err) LSM_MUST_CHECK;

#endif
