/* SPDX-License-Identifier: Apache-2.0
 *
 * The namespaces of a database. What defines them are keys of the system namespace
 * (format/space.h), so creating, altering and dropping one are batches in commit order
 * like any other, and a snapshot sees the names of its moment: catalog_define.c. The
 * living ones are in memory, for what has to be known on every write: catalog.c.
 *
 * Who defines holds `catalog_mu`, above `mu` in the order of locks. Its batch leads
 * alone. A drop takes the namespace off the list before the next leader, so no write
 * that names it can come behind it: leaders refuse batches that name an id that is not
 * on the list. Ids are never used again.
 *
 * Dropping is one record: a range delete of everything that starts with the id.
 */
#ifndef LSM_DB_CATALOG_H
#define LSM_DB_CATALOG_H

#include "base/slice.h"
#include "base/status.h"
#include "db/live_space.h"
#include "format/space.h"

struct lsm_batch;

/* Reads all definitions; for open. */
lsmkv_status lsm_catalog_load(lsmkv_db *db, lsmkv_error *err) LSM_MUST_CHECK;

/* The namespaces that a follower will know when it shows a later state. */
typedef struct lsm_catalog_next {
    lsm_space_definition *definitions; /* by id; owned */
    lsm_space **spaces;                /* one reference each; owned */
    size_t count, capacity, space_count;
    struct lsm_published **published; /* published names; owned */
    size_t published_count, published_capacity;
} lsm_catalog_next;

/* Reads them in a snapshot of that state; NULL: what is shown already. */
lsmkv_status lsm_catalog_prepare(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                                 lsm_catalog_next *next,
                                 lsmkv_error *err) LSM_MUST_CHECK;
void lsm_catalog_next_deinit(lsm_catalog_next *next); /* zeroed is fine */
void lsm_catalog_deinit(lsmkv_db *db);

/* The namespace of a name, created or altered as asked. One reference. */
lsmkv_status lsm_catalog_open(lsmkv_db *db, lsmkv_bytes name,
                              const lsmkv_namespace_how *how, lsm_space **spacep,
                              lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_catalog_drop(lsmkv_db *db, lsmkv_bytes name,
                              lsmkv_error *err) LSM_MUST_CHECK;
/* Calls for each namespace in the order of names, outside every lock. */
lsmkv_status lsm_catalog_list(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                              lsmkv_namespace_fn callback, void *context,
                              lsmkv_error *err) LSM_MUST_CHECK;

/* A reference to each namespace that has a name, by names; for lsm_free. NULL: no
 * memory. */
lsm_space **lsm_catalog_living(lsmkv_db *db, size_t *count);
/* What lsm_space_stats tells of each namespace that there is now, in the order of names
 * and outside every lock, without I/O. NO_MEMORY. */
lsmkv_status lsm_catalog_list_stats(lsmkv_db *db, lsmkv_space_stats_fn callback,
                                    void *context, lsmkv_error *err) LSM_MUST_CHECK;
/* The living namespace of an id. NULL: none. One reference. Takes mu. */
lsm_space *lsm_catalog_find(lsmkv_db *db, uint32_t id);

/* For what defines namespaces in another way, with catalog_mu: the options that were
 * given, checked, over none; ... */
lsmkv_status lsm_catalog_options(const lsmkv_namespace_how *how,
                                 lsmkv_space_options *options,
                                 lsmkv_error *err) LSM_MUST_CHECK;
/* ... the id for the next namespace, ... */
lsmkv_status lsm_catalog_next_id(lsmkv_db *db, uint32_t *id,
                                 lsmkv_error *err) LSM_MUST_CHECK;
/* ... a batch, which got the definition, that brings it into being, one reference, ...
 */
lsmkv_status lsm_catalog_commit_new(lsmkv_db *db, struct lsm_batch *batch,
                                    const lsm_space_definition *definition,
                                    lsm_space **spacep,
                                    lsmkv_error *err) LSM_MUST_CHECK;
/* ... and one more that will be known. */
lsmkv_status lsm_catalog_next_add(lsm_catalog_next *next,
                                  const lsm_space_definition *definition,
                                  lsmkv_error *err) LSM_MUST_CHECK;

/* For a table writer, with the database as its context: the codec of a namespace. Takes
 * mu. */
uint32_t lsm_catalog_codec(void *context, uint32_t id, int *level);

#endif
