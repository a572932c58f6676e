/* SPDX-License-Identifier: Apache-2.0
 *
 * The public calls on what is published.
 */
#include "db/publish.h"

#include "api/checks.h"
#include "base/alloc.h"

static lsmkv_status fail_unnamed(lsmkv_error *err) {
    return lsm_fail(err, LSMKV_INVALID_ARGUMENT, "a version has a name");
}

/* Passes the gate for a call about a name; lsm_db_end must follow an OK. */
static lsmkv_status begin_named(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                lsmkv_error *err) {
    lsmkv_status status = lsm_published_check(name, version, err);

    return status == LSMKV_OK ? lsm_db_begin(db, err) : status;
}

lsmkv_status lsmkv_publish_begin(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                 const lsmkv_namespace_how *how,
                                 lsmkv_publish **publishp, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_status status = LSMKV_OK;
    const lsmkv_namespace_how plain = {0};
    lsmkv_space_options options;

    *publishp = NULL;
    if (version.size == 0) {
        return fail_unnamed(err);
    }
    LSM_TRY(lsm_catalog_options(how != NULL ? how : &plain, &options, err));
    if (options.max_bytes > 0) {
        LSM_TRY(lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                         "what is published has all of its rows: it is no cache"));
    }
    LSM_TRY(begin_named(db, name, version, err));
    status = lsm_publish_begin(db, name, version, &options, publishp, err);
    lsm_db_end(db);
out:
    return status;
}

lsmkv_status lsmkv_publish_put(lsmkv_publish *publish, const lsmkv_write *how,
                               const lsmkv_pair *pairs, size_t count,
                               lsmkv_error *err) {
    int64_t ttl_ms = how != NULL ? how->ttl_ms : 0;
    lsmkv_status status = LSMKV_OK;

    if (ttl_ms < -1) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "a time to live of %lld ms: -1 (never), 0 or more",
                        (long long)ttl_ms);
    }
    LSM_TRY(lsm_db_begin(publish->db, err));
    for (size_t i = 0; status == LSMKV_OK && i < count; i++) {
        status = lsm_publish_put(publish, ttl_ms, &pairs[i], err);
    }
    lsm_db_end(publish->db);
out:
    return status;
}

lsmkv_status lsmkv_publish_commit(lsmkv_publish *publish, lsmkv_error *err) {
    lsmkv_status status = lsm_db_begin(publish->db, err);
    if (status == LSMKV_OK) {
        status = lsm_publish_commit(publish, err);
        lsm_db_end(publish->db);
    }
    return status;
}

lsmkv_status lsmkv_publish_abort(lsmkv_publish *publish, lsmkv_error *err) {
    lsmkv_status status = lsm_db_begin(publish->db, err);
    if (status == LSMKV_OK) {
        status = lsm_publish_abort(publish, err);
        lsm_db_end(publish->db);
    }
    return status;
}

void lsmkv_publish_free(lsmkv_publish *publish) {
    if (publish == NULL) {
        return;
    }
    lsmkv_status status = lsmkv_publish_abort(publish, NULL);
    if (status == LSMKV_FORKED) {
        return; /* files and memory are the parent's */
    }
    lsm_publish_unref(publish);
}

lsmkv_status lsmkv_published_open(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                  const lsmkv_snapshot *snapshot,
                                  lsmkv_namespace **spacep, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_status status = LSMKV_OK;
    lsmkv_namespace *space = NULL;
    lsmkv_read read = {.snapshot = snapshot};

    *spacep = NULL;
    LSM_TRY(lsm_check_read(db, &read, err));
    LSM_TRY(begin_named(db, name, version, err));
    space = lsm_calloc(1, sizeof(*space));
    status = space == NULL
                 ? lsm_fail_memory(err, sizeof(*space))
                 : lsm_published_open(db, name, version, snapshot, &space->space, err);
    if (space != NULL && status == LSMKV_OK) {
        lsm_db_ref(db);
        space->db = db;
        *spacep = space;
        space = NULL;
    }
    lsm_free(space);
    lsm_db_end(db);
out:
    return status;
}

lsmkv_status lsmkv_versions(lsmkv_db *db, const lsmkv_read *read, lsmkv_bytes name,
                            lsmkv_version_fn callback, void *context,
                            lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    const lsmkv_snapshot *snapshot = read != NULL ? read->snapshot : NULL;
    lsmkv_read plain = {.snapshot = snapshot};
    lsmkv_status status = lsm_check_read(db, &plain, err);

    if (status == LSMKV_OK && name.size != 0) {
        status = lsm_published_check(name, (lsmkv_bytes){NULL, 0}, err);
    }
    if (status == LSMKV_OK) {
        status = lsm_db_begin(db, err);
    }
    if (status == LSMKV_OK) {
        status = lsm_published_list(db, snapshot, name, callback, context, err);
        lsm_db_end(db);
    }
    return status;
}

lsmkv_status lsmkv_rollback(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                            lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_status status =
        version.size != 0 ? begin_named(db, name, version, err) : fail_unnamed(err);
    if (status == LSMKV_OK) {
        status = lsm_published_rollback(db, name, version, err);
        lsm_db_end(db);
    }
    return status;
}

lsmkv_status lsmkv_release(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                           lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_status status = begin_named(db, name, version, err);
    if (status == LSMKV_OK) {
        status = lsm_published_release(db, name, version, err);
        lsm_db_end(db);
    }
    return status;
}
