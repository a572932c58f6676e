/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening without writing. A view takes no lock: a writer may change the directory at
 * any moment, and what it drops it unlinks. So an opening is an attempt:
 *
 *   1. look at CURRENT and at the size of the MANIFEST
 *   2. load the MANIFEST; open the logs, newest first
 *   3. look again. If nothing has changed, the logs that were opened are those of the
 *      MANIFEST that was read, for they are unlinked only after it has grown
 *   4. replay the logs in memory; open the tables, as many as may be open, which keeps
 *      them readable when the writer unlinks them
 *
 * An attempt that fails while the MANIFEST changed proves nothing and is repeated; one
 * that fails while it stays the same has found damage. A table that could not be held
 * open and is gone later answers CHANGED.
 *
 * To the rest of the engine a view is a database that was poisoned with READ_ONLY from
 * the beginning: it refuses writes, starts no jobs and unlinks nothing. A follower is
 * a view that can be moved on; follow.h says how.
 */
#ifndef LSM_DB_VIEW_H
#define LSM_DB_VIEW_H

#include "db/db.h"

/* A record file that was read, and how far: for verify. */
typedef struct lsm_view_file {
    uint64_t number;
    uint64_t file_id;
    uint64_t end;
} lsm_view_file;

typedef struct lsm_view_files {
    lsm_view_file manifest;
    size_t log_count;
    lsm_view_file logs[];
} lsm_view_files;

/* Steps of an attempt. */

struct lsm_recovery;
/* Opens the tables of a version, and the files that large values lie in, as many as may
 * be open. CHANGED: one is gone. What is damaged in them is for those to hear who read
 * it. */
lsmkv_status lsm_view_hold_tables(lsmkv_db *db, const lsm_version *version,
                                  lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_view_hold_segments(lsmkv_db *db, const lsm_version *version,
                                    const struct lsm_recovery *recovery,
                                    lsmkv_error *err) LSM_MUST_CHECK;
/* CHANGED unless the MANIFEST is as it was. */
lsmkv_status lsm_view_look_again(lsmkv_db *db, const lsm_manifest_mark *before,
                                 lsmkv_error *err) LSM_MUST_CHECK;
/* Which files were read, and how far. NULL: no memory. */
lsm_view_files *lsm_view_files_create(const lsm_manifest_state *state,
                                      const struct lsm_recovery *recovery);
/* Whether a failure may be one of the moment. */
bool lsm_view_is_passing(lsmkv_status status);

lsmkv_status lsm_view_open(lsm_env *env, const char *path, const lsmkv_options *options,
                           lsmkv_db **dbp, lsmkv_error *err) LSM_MUST_CHECK;
void lsm_view_files_destroy(lsm_view_files *files); /* NULL is fine */

#endif
