/* SPDX-License-Identifier: Apache-2.0
 *
 * What was published, in keys of the system namespace:
 *
 *   "publish/" name "/" version   format u8 (1) | state u8 | created u64 (engine time,
 *       ms) | rows u64 | bytes u64 of keys and values | edit mark u64 | the definition
 * of the namespace that holds its rows (format/space.h) "published/" name version: the
 * one that readers see
 *
 * The edit mark is a file number that was taken for it alone, right before the edit
 * that named the tables: the next file number that the MANIFEST knows is above it,
 * unless the MANIFEST has lost that edit. 0: the version has no tables.
 *
 * state: 1 begun, 2 complete. One that was begun and is not being written is what an
 * interrupted publish left. Names are those of namespaces; a version's is the same, but
 * without a slash, so that a key can be taken apart at its last one.
 */
#ifndef LSM_FORMAT_PUBLISH_RECORD_H
#define LSM_FORMAT_PUBLISH_RECORD_H

#include "format/space.h"

#define LSM_PUBLISH_PREFIX "publish/"
#define LSM_PUBLISHED_PREFIX "published/"

enum {
    LSM_PUBLISH_PREFIX_SIZE = sizeof(LSM_PUBLISH_PREFIX) - 1,
    LSM_PUBLISHED_PREFIX_SIZE = sizeof(LSM_PUBLISHED_PREFIX) - 1,
    LSM_VERSION_NAME_MAX = LSM_SPACE_NAME_MAX,
};

typedef enum lsm_publish_state {
    LSM_PUBLISH_NONE = 0, /* of a record that was not decoded */
    LSM_PUBLISH_BEGUN = 1,
    LSM_PUBLISH_COMPLETE = 2,
} lsm_publish_state;

typedef struct lsm_publish_record {
    lsm_publish_state state;
    uint64_t created_ms;
    uint64_t row_count;
    uint64_t byte_count;
    uint64_t edit_mark;
    lsm_space_definition space;
} lsm_publish_record;

/* 1 to LSM_VERSION_NAME_MAX bytes of UTF-8 without a slash. */
bool lsm_version_name_check(lsmkv_bytes version);

bool lsm_publish_record_encode(const lsm_publish_record *record,
                               lsm_buf *to) LSM_MUST_CHECK;
/* CORRUPTION, or UNSUPPORTED_VERSION for another format. */
lsmkv_status lsm_publish_record_decode(lsm_slice value, lsm_publish_record *record,
                                       lsmkv_error *err) LSM_MUST_CHECK;
/* Takes the part of a "publish/" key behind the prefix apart. CORRUPTION. */
lsmkv_status lsm_publish_key_split(lsm_slice rest, lsmkv_bytes *name,
                                   lsmkv_bytes *version,
                                   lsmkv_error *err) LSM_MUST_CHECK;

#endif
