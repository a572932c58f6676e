/* SPDX-License-Identifier: Apache-2.0
 *
 * What was published: names, each with versions, of which readers see one.
 *
 * A version is a namespace of its own that nobody writes to but who publishes it
 * (db/publish.h); its id is never used again, so its keys meet no others. What is known
 * of it are keys of the system namespace (format/publish_record.h): the switch of
 * readers to another version, and letting one go, are batches in commit order like any
 * other, and a snapshot sees the version of its moment.
 *
 * A handle of a name follows the switches: it holds, newest first, which version the
 * name meant from which write on. A read without a snapshot takes the newest; once it
 * has its state, or has found nothing, it looks whether that still is the newest,
 * because otherwise the version might have been released in between.
 *
 * Who switches, releases or begins holds catalog_mu.
 */
#ifndef LSM_DB_PUBLISHED_H
#define LSM_DB_PUBLISHED_H

#include "db/db.h"
#include "format/publish_record.h"

/* A name of which a version is current. */
typedef struct lsm_published {
    lsm_space *space; /* one reference */
    size_t size;
    uint8_t name[LSM_SPACE_NAME_MAX];
} lsm_published;

/* For an open, and for the refresh of a follower (catalog.h): adds the versions and
 * names that a snapshot has, NULL: that are shown already, ... */
lsmkv_status lsm_published_prepare(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                                   lsm_catalog_next *next,
                                   lsmkv_error *err) LSM_MUST_CHECK;
/* ... and makes names mean what was found. Cannot fail. */
void lsm_published_switch_locked(lsmkv_db *db, lsm_catalog_next *next)
    LSM_REQUIRES(db->mu);
void lsm_published_next_deinit(lsm_catalog_next *next);
void lsm_published_deinit(lsmkv_db *db);
/* After an open for writing: lets go of what interrupted publishes left. */
lsmkv_status lsm_published_clean(lsmkv_db *db, lsmkv_error *err) LSM_MUST_CHECK;

/* OK, or INVALID_ARGUMENT. */
lsmkv_status lsm_published_check(lsmkv_bytes name, lsmkv_bytes version,
                                 lsmkv_error *err) LSM_MUST_CHECK;
/* The record of a version, complete or begun. OK, NOT_FOUND or an error. */
lsmkv_status lsm_published_read(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                                lsmkv_bytes name, lsmkv_bytes version,
                                lsm_publish_record *record,
                                lsmkv_error *err) LSM_MUST_CHECK;
/* Adds a record to a batch. */
lsmkv_status lsm_published_put(lsm_batch *batch, lsmkv_bytes name, lsmkv_bytes version,
                               const lsm_publish_record *record,
                               lsmkv_error *err) LSM_MUST_CHECK;

/* Where a name is read from: a version, or with an empty `version` the name itself; as
 * a snapshot has it, or for good. One reference. OK, NOT_FOUND or an error. */
lsmkv_status lsm_published_open(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                const lsmkv_snapshot *snapshot, lsm_space **spacep,
                                lsmkv_error *err) LSM_MUST_CHECK;
/* Calls for the complete versions of a name, or with an empty one of all names, in the
 * order of names and versions, outside every lock. */
lsmkv_status lsm_published_list(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                                lsmkv_bytes name, lsmkv_version_fn callback,
                                void *context, lsmkv_error *err) LSM_MUST_CHECK;

/* With catalog_mu: makes a version the one that readers see, durably; with its record
 * if that is new. */
lsmkv_status lsm_published_switch(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                  const lsm_publish_record *record, bool is_new,
                                  lsmkv_error *err) LSM_MUST_CHECK;
typedef enum lsm_forget {
    LSM_FORGET_RECORD, /* of a version that has no rows */
    LSM_FORGET_ROWS,   /* and what it holds */
    LSM_FORGET_NAME,   /* and the name: readers then see none */
} lsm_forget;

/* With catalog_mu: lets go of a version. */
lsmkv_status lsm_published_forget(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                  const lsm_publish_record *record, lsm_forget what,
                                  lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_published_rollback(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                    lsmkv_error *err) LSM_MUST_CHECK;
/* With an empty version: the name and all its versions. */
lsmkv_status lsm_published_release(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                   lsmkv_error *err) LSM_MUST_CHECK;

/* What a name means at the sequence of a snapshot; NULL: now. NULL: nothing. Lent by
 * the name. */
const lsm_meaning *lsm_published_meaning(lsmkv_db *db, const lsm_space *space,
                                         const lsmkv_snapshot *snapshot);
/* Whether a name still means what it meant when `mark` was the newest. Waits for a
 * switch that is going on: its state may be visible already. */
bool lsm_published_stays(const lsmkv_namespace *space, const lsm_meaning *mark);
#endif
