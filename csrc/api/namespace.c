/* SPDX-License-Identifier: Apache-2.0
 *
 * The public calls on namespaces.
 */
#include "api/checks.h"

#include "base/alloc.h"

lsmkv_status lsm_check_space(const lsmkv_db *db, const lsmkv_namespace *space,
                             lsmkv_error *err) {
    if (space->db != db) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "the namespace belongs to another database");
    }
    if (atomic_load(&space->space->dropped)) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT, "the namespace has been dropped");
    }
    return LSMKV_OK;
}

lsmkv_status lsm_check_writable(const lsmkv_db *db, const lsmkv_namespace *space,
                                lsmkv_error *err) {
    if (space->space->sealed) {
        return lsm_fail(err, LSMKV_READ_ONLY,
                        "what was published is read-only: publish another version");
    }
    return lsm_check_space(db, space, err);
}

lsmkv_status lsm_check_read_more(const lsmkv_db *db, const lsmkv_read *read,
                                 lsmkv_error *err) {
    if (read->snapshot == NULL) {
        return lsm_check_space(db, read->space, err);
    }
    if (read->snapshot->db != db) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "the snapshot belongs to another database");
    }
    if (read->space != NULL && read->space->db != db) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "the namespace belongs to another database");
    }
    return LSMKV_OK;
}

lsmkv_status lsmkv_namespace_open(lsmkv_db *db, lsmkv_bytes name,
                                  const lsmkv_namespace_how *how,
                                  lsmkv_namespace **spacep, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_status status = LSMKV_OK;
    lsmkv_namespace *space = NULL;
    lsmkv_read read = {.snapshot = how != NULL ? how->snapshot : NULL};

    *spacep = NULL;
    LSM_TRY(lsm_check_read(db, &read, err));
    LSM_TRY(lsm_db_begin(db, err));
    space = lsm_calloc(1, sizeof(*space));
    status = space == NULL ? lsm_fail_memory(err, sizeof(*space))
                           : lsm_catalog_open(db, name, how, &space->space, err);
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

void lsmkv_namespace_free(lsmkv_namespace *space) {
    if (space != NULL) {
        lsmkv_db *db = space->db;
        LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
        lsm_space_unref(space->space);
        lsm_free(space);
        lsm_db_unref(db);
    }
}

uint32_t lsmkv_namespace_id(const lsmkv_namespace *space) {
    return space->space->id;
}

void lsmkv_namespace_options(const lsmkv_namespace *space,
                             lsmkv_space_options *options) {
    lsm_space_options(space->space, options);
}

lsmkv_status lsmkv_namespace_drop(lsmkv_db *db, lsmkv_bytes name, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_status status = lsm_db_begin(db, err);
    if (status == LSMKV_OK) {
        status = lsm_catalog_drop(db, name, err);
        lsm_db_end(db);
    }
    return status;
}

lsmkv_status lsmkv_namespace_list(lsmkv_db *db, const lsmkv_read *read,
                                  lsmkv_namespace_fn callback, void *context,
                                  lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    const lsmkv_snapshot *snapshot = read != NULL ? read->snapshot : NULL;
    lsmkv_read plain = {.snapshot = snapshot};
    lsmkv_status status = lsm_check_read(db, &plain, err);
    if (status == LSMKV_OK) {
        status = lsm_db_begin(db, err);
    }
    if (status == LSMKV_OK) {
        status = lsm_catalog_list(db, snapshot, callback, context, err);
        lsm_db_end(db);
    }
    return status;
}

static lsm_space *space_of(lsmkv_db *db, const lsmkv_namespace *space) {
    return space != NULL ? space->space : &db->default_space;
}

void lsmkv_count(lsmkv_db *db, const lsmkv_namespace *space, lsmkv_count_kind kind,
                 uint64_t n) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    if ((uint32_t)kind < LSMKV_COUNT_KINDS) {
        lsm_space_count(&space_of(db, space)->counters, kind, n);
    }
}

lsmkv_status lsmkv_get_space_stats(lsmkv_db *db, const lsmkv_namespace *space,
                                   lsmkv_space_stats *stats, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    *stats = (lsmkv_space_stats){0};
    lsmkv_status status = lsm_db_begin(db, err);
    if (status == LSMKV_OK) {
        lsm_space_stats(db, space_of(db, space), stats);
        lsm_db_end(db);
    }
    return status;
}

lsmkv_status lsmkv_space_stats_list(lsmkv_db *db, lsmkv_space_stats_fn callback,
                                    void *context, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_space_stats stats;
    lsmkv_status status = lsm_db_begin(db, err);
    if (status == LSMKV_OK) {
        lsm_space_stats(db, &db->default_space, &stats);
        callback(context, (lsmkv_bytes){"", 0}, &stats);
        status = lsm_catalog_list_stats(db, callback, context, err);
        lsm_db_end(db);
    }
    return status;
}
