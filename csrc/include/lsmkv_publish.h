/* SPDX-License-Identifier: Apache-2.0
 *
 * Publishing: a version of a named, read-only set of rows is written straight into
 * tables, without the log, and readers switch to it at once when it is complete.
 * Versions live until they are released, so readers can be rolled back to one.
 *
 * Names are as for namespaces, with which they have nothing to do; so are those of
 * versions, but without a slash.
 */
#ifndef LSMKV_PUBLISH_H
#define LSMKV_PUBLISH_H

#include "lsmkv_base.h"
#include "lsmkv_read.h"
#include "lsmkv_rows.h"
#include "lsmkv_space.h"
#include "lsmkv_write.h"

typedef struct lsmkv_pair {
    lsmkv_bytes key;
    lsmkv_bytes value;
} lsmkv_pair;

typedef struct lsmkv_version_info {
    lsmkv_bytes name;
    lsmkv_bytes version;
    bool current;        /* readers see it */
    uint64_t created_ms; /* when it was begun, in ms since 1970 */
    uint64_t row_count;
    uint64_t byte_count; /* of the keys and values given, repeated ones included */
} lsmkv_version_info;

/* Begins a version, with the options that `how` (may be NULL) says it has. A publish
 * belongs to one thread at a time. INVALID_ARGUMENT when there is this version already,
 * or another one of the name is being written. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_publish_begin(
    lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version, const lsmkv_namespace_how *how,
    lsmkv_publish **publishp, lsmkv_error *err);
/* Adds rows, best in the order of keys; of equal keys the last one stays. Of `how`,
 * which may be NULL, only ttl_ms is looked at, counted from now. After LIMIT_EXCEEDED
 * those before the offending one have been added; after any other error the publish can
 * only be discarded. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_publish_put(lsmkv_publish *publish,
                                                          const lsmkv_write *how,
                                                          const lsmkv_pair *pairs,
                                                          size_t count,
                                                          lsmkv_error *err);
/* The same for rows. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_publish_put_rows(lsmkv_publish *publish,
                                                               const lsmkv_write *how,
                                                               const lsmkv_keys *keys,
                                                               const lsmkv_rows *rows,
                                                               lsmkv_error *err);
/* Makes the version durable and the one that readers see. After a failure it can only
 * be discarded; if that came at or after the last write, it may be there, whole, after
 * a reopen. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_publish_commit(lsmkv_publish *publish,
                                                             lsmkv_error *err);
/* Discards all of it. A publish that is interrupted leaves nothing behind, either. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_publish_abort(lsmkv_publish *publish,
                                                            lsmkv_error *err);
/* Discards it unless it was committed. NULL is fine. */
LSMKV_API void lsmkv_publish_free(lsmkv_publish *publish);

/* A handle for reading what was published: OK or NOT_FOUND. With an empty `version` it
 * follows the switches, and each call sees one version; with a snapshot (may be NULL)
 * it shows, for reads with that snapshot, what the name meant then. Through it, writes
 * answer READ_ONLY. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_published_open(
    lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version, const lsmkv_snapshot *snapshot,
    lsmkv_namespace **spacep, lsmkv_error *err);

typedef void (*lsmkv_version_fn)(void *context, const lsmkv_version_info *info);

/* Calls for every complete version of a name, an empty one: of all names, in the order
 * of names and versions, as of read->snapshot or now. `read` may be NULL. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_versions(lsmkv_db *db,
                                                       const lsmkv_read *read,
                                                       lsmkv_bytes name,
                                                       lsmkv_version_fn callback,
                                                       void *context, lsmkv_error *err);

/* Makes readers see another complete version, durably: OK or NOT_FOUND. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_rollback(lsmkv_db *db, lsmkv_bytes name,
                                                       lsmkv_bytes version,
                                                       lsmkv_error *err);
/* Lets go of a version, which must not be the one that readers see, or with an empty
 * one of the name and all its versions: OK or NOT_FOUND. Snapshots from before still
 * see it. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_release(lsmkv_db *db, lsmkv_bytes name,
                                                      lsmkv_bytes version,
                                                      lsmkv_error *err);

#endif
