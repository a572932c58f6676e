/* SPDX-License-Identifier: Apache-2.0
 *
 * The public calls on iterators, snapshots and the database as a whole. Iterator moves
 * pass the same gate as reads; maintenance calls hold off a close until they end.
 */
#include "api/checks.h"
#include "base/mutant.h"
#include "db/db.h"
#include "db/db_iter.h"
#include "db/follow.h"
#include "db/repair.h"
#include "db/warm.h"
#include "format/ikey.h"
#include "include/lsmkv.h"

lsmkv_status lsmkv_snapshot_create(lsmkv_db *db, lsmkv_snapshot **snapp,
                                   lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    *snapp = NULL;
    lsmkv_status status = lsm_db_begin(db, err);
    if (status == LSMKV_OK) {
        status = lsm_snapshot_open(db, snapp, err);
        lsm_db_end(db);
    }
    return status;
}

lsmkv_status lsmkv_refresh(lsmkv_db *db, bool *changed, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    *changed = false;
    lsmkv_status status = lsm_db_begin(db, err);
    if (status == LSMKV_OK) {
        status = lsm_db_refresh(db, changed, err);
        lsm_db_end(db);
    }
    return status;
}

lsmkv_status lsmkv_get_follow_stats(lsmkv_db *db, lsmkv_follow_stats *stats,
                                    lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    *stats = (lsmkv_follow_stats){0};
    lsmkv_status status = lsm_db_begin(db, err);
    if (status == LSMKV_OK) {
        status = lsm_follow_stats(db, stats, err);
        lsm_db_end(db);
    }
    return status;
}

void lsmkv_snapshot_free(lsmkv_snapshot *snapshot) {
    if (snapshot != NULL) {
        LSM_BUDGET_SCOPE before = lsm_budget_enter(snapshot->db->budget);
        lsm_snapshot_close(snapshot);
    }
}

uint64_t lsmkv_snapshot_sequence(const lsmkv_snapshot *snapshot) {
    return snapshot->sequence;
}

/* Appends the stored key of a bound; without one, the start of a namespace. */
static lsmkv_status bound(lsm_buf *to, uint32_t namespace_id, lsmkv_bytes key,
                          lsmkv_error *err) {
    uint8_t prefix[LSM_NAMESPACE_SIZE];
    lsm_put_u32_be(prefix, namespace_id);
    if (!lsm_buf_append(to, prefix, sizeof(prefix)) ||
        !lsm_buf_append(to, key.data, key.size)) {
        return lsm_fail_memory(err, key.size);
    }
    return LSMKV_OK;
}

/* The stored keys [start, stop) of a range of a namespace. */
static lsmkv_status bounds(uint32_t namespace_id, const lsmkv_range *range,
                           lsm_buf *start, lsm_buf *stop, lsmkv_error *err) {
    const lsmkv_bytes none = {NULL, 0};
    bool has_start = range != NULL && range->has_start;
    bool has_stop = range != NULL && range->has_stop;
    uint32_t one_past = LSM_MUTANT(SCAN_LEAVES_NAMESPACE) ? 2 : 1;
    lsmkv_status status =
        bound(start, namespace_id, has_start ? range->start : none, err);
    if (status == LSMKV_OK) {
        status = has_stop ? bound(stop, namespace_id, range->stop, err)
                          : bound(stop, namespace_id + one_past, none, err);
    }
    return status;
}

static lsmkv_status create_iter(lsmkv_db *db, const lsmkv_read *read,
                                lsm_key_range keys, lsmkv_iter **iterp,
                                lsmkv_error *err) {
    lsm_epoch_token token;
    lsmkv_status status = lsm_db_enter(db, &token, err);
    if (status == LSMKV_OK) {
        status = lsm_db_iter_create(db, read != NULL ? read->snapshot : NULL,
                                    keys.smallest, keys.largest, iterp, err);
        lsm_epoch_leave(token);
    }
    if (status == LSMKV_OK) {
        (*iterp)->stale = read != NULL && read->stale;
    }
    return status;
}

/* OK without an iterator: a published name has got another version meanwhile. */
static lsmkv_status create_iter_once(lsmkv_db *db, const lsmkv_read *read,
                                     const lsmkv_range *range, lsmkv_iter **iterp,
                                     lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_error failure;
    lsm_key_range keys = {0};
    lsm_buf start = {0};
    lsm_buf stop = {0};
    bool tried = false;

    *iterp = NULL;
    const lsm_meaning *mark = lsm_read_mark(read);
    LSM_TRY(lsm_check_read(db, read, err));
    LSM_TRY(bounds(lsm_read_space(read), range, &start, &stop, err));
    keys = (lsm_key_range){lsm_buf_slice(&start), lsm_buf_slice(&stop), true};
    do {
        status = create_iter(db, read, keys, iterp, &failure);
    } while (lsm_db_again(db, status, &failure, &tried));
    if (status != LSMKV_OK) {
        (void)lsm_error_copy(err, &failure);
    } else if (LSM_UNLIKELY(!lsm_read_stays(read, mark))) {
        lsm_db_iter_destroy(*iterp);
        *iterp = NULL;
    }
out:
    lsm_buf_deinit(&start);
    lsm_buf_deinit(&stop);
    return status;
}

lsmkv_status lsmkv_iter_create(lsmkv_db *db, const lsmkv_read *read,
                               const lsmkv_range *range, lsmkv_iter **iterp,
                               lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_status status;

    do {
        status = create_iter_once(db, read, range, iterp, err);
    } while (status == LSMKV_OK && *iterp == NULL);
    return status;
}

void lsmkv_iter_free(lsmkv_iter *iter) {
    if (iter != NULL) {
        LSM_BUDGET_SCOPE before = lsm_budget_enter(iter->db->budget);
        lsm_db_iter_destroy(iter);
    }
}

/* After a move that failed: the same move again, if it was for lack of descriptors and
 * some could be freed. Answers how the iterator stands then. */
static lsmkv_status try_again(lsmkv_iter *iter, lsmkv_error *err) {
    lsm_epoch_token token;
    if (lsm_db_relieve(iter->db, &iter->error)) {
        lsmkv_status status = lsm_db_enter(iter->db, &token, err);
        if (status != LSMKV_OK) {
            return status;
        }
        lsm_db_iter_repeat(iter);
        lsm_epoch_leave(token);
    }
    return iter->status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &iter->error);
}

/* Runs one move inside the gate and answers how it went. A closed database leaves the
 * iterator without a position. */
static lsmkv_status move(lsmkv_iter *iter, void (*step)(lsmkv_iter *iter),
                         lsmkv_error *err) {
    lsm_epoch_token token;
    lsmkv_status status = lsm_db_enter(iter->db, &token, err);
    if (status != LSMKV_OK) {
        iter->valid = false;
        return status;
    }
    lsm_db_iter_begin(iter);
    step(iter);
    lsm_epoch_leave(token);
    return iter->status == LSMKV_OK ? LSMKV_OK : try_again(iter, err);
}

/* As move, for seeks to a user's key. */
static lsmkv_status move_to(lsmkv_iter *iter,
                            void (*seek)(lsmkv_iter *iter, lsm_slice skey),
                            lsmkv_bytes key, lsmkv_error *err) {
    lsm_epoch_token token;
    lsm_buf skey = {0};
    lsmkv_status status = bound(&skey, lsm_get_u32_be(iter->start.data), key, err);
    if (status == LSMKV_OK) {
        status = lsm_db_enter(iter->db, &token, err);
    }
    if (status == LSMKV_OK) {
        lsm_db_iter_begin(iter);
        seek(iter, lsm_buf_slice(&skey));
        lsm_epoch_leave(token);
        status = iter->status == LSMKV_OK ? LSMKV_OK : try_again(iter, err);
    } else {
        iter->valid = false;
    }
    lsm_buf_deinit(&skey);
    return status;
}

lsmkv_status lsmkv_iter_seek_first(lsmkv_iter *iter, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(iter->db->budget);
    return move(iter, lsm_db_iter_seek_first, err);
}

lsmkv_status lsmkv_iter_seek_last(lsmkv_iter *iter, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(iter->db->budget);
    return move(iter, lsm_db_iter_seek_last, err);
}

lsmkv_status lsmkv_iter_seek(lsmkv_iter *iter, lsmkv_bytes key, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(iter->db->budget);
    return move_to(iter, lsm_db_iter_seek, key, err);
}

lsmkv_status lsmkv_iter_seek_for_prev(lsmkv_iter *iter, lsmkv_bytes key,
                                      lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(iter->db->budget);
    return move_to(iter, lsm_db_iter_seek_for_prev, key, err);
}

static lsmkv_status step_from_here(lsmkv_iter *iter, void (*step)(lsmkv_iter *iter),
                                   lsmkv_error *err) {
    if (iter->valid) {
        return move(iter, step, err);
    }
    if (iter->status != LSMKV_OK) {
        return lsm_error_copy(err, &iter->error);
    }
    return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                    "the iterator has no position; seek before moving on");
}

lsmkv_status lsmkv_iter_next(lsmkv_iter *iter, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(iter->db->budget);
    return step_from_here(iter, lsm_db_iter_next, err);
}

lsmkv_status lsmkv_iter_prev(lsmkv_iter *iter, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(iter->db->budget);
    return step_from_here(iter, lsm_db_iter_prev, err);
}

bool lsmkv_iter_valid(const lsmkv_iter *iter) {
    return iter->valid;
}

lsmkv_bytes lsmkv_iter_key(const lsmkv_iter *iter) {
    return (lsmkv_bytes){iter->skey.data + LSM_NAMESPACE_SIZE,
                         iter->skey.size - LSM_NAMESPACE_SIZE};
}

lsmkv_bytes lsmkv_iter_value(const lsmkv_iter *iter) {
    return iter->pending ? (lsmkv_bytes){NULL, 0}
                         : (lsmkv_bytes){iter->value.data, iter->value.size};
}

/* `again`: after the last move, which failed, once more. */
static lsmkv_status fill_once(lsmkv_iter *iter, bool again, const lsmkv_fill *fill,
                              lsmkv_chunk *chunk, lsmkv_error *err) {
    lsm_epoch_token token;
    lsmkv_status status = lsm_db_enter(iter->db, &token, err);
    if (status == LSMKV_OK) {
        if (again) {
            lsm_db_iter_repeat(iter);
        }
        status = lsm_db_iter_fill(iter, fill, chunk, err);
        lsm_epoch_leave(token);
    }
    return status;
}

lsmkv_status lsmkv_iter_fill(lsmkv_iter *iter, const lsmkv_fill *fill,
                             lsmkv_chunk *chunk, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(iter->db->budget);
    const lsmkv_fill plain = {0};
    lsmkv_status status;
    bool tried = false;

    *chunk = (lsmkv_chunk){0};
    uint64_t begun = lsm_latency_now(&iter->db->latencies);
    do {
        status = fill_once(iter, tried, fill != NULL ? fill : &plain, chunk, err);
        /* Without rows the failure is the iterator's own: it stands where it stood. */
    } while (lsm_db_again(iter->db, status, &iter->error, &tried));
    if (status == LSMKV_OK) {
        lsm_latency_note(&iter->db->latencies, LSMKV_LATENCY_SCAN, begun, 1);
    }
    return status;
}

/* Runs a maintenance call between begin and end. */
static lsmkv_status maintain(lsmkv_db *db,
                             lsmkv_status (*call)(lsmkv_db *db, lsmkv_error *err),
                             lsmkv_error *err) {
    lsmkv_status status = lsm_db_begin(db, err);
    if (status == LSMKV_OK) {
        status = call(db, err);
        lsm_db_end(db);
    }
    return status;
}

static lsmkv_status flush(lsmkv_db *db, lsmkv_error *err) {
    lsmkv_status status = lsm_db_rotate(db, err);
    return status == LSMKV_OK ? lsm_scheduler_wait_flushed(db, err) : status;
}

lsmkv_status lsmkv_flush(lsmkv_db *db, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    return maintain(db, flush, err);
}

lsmkv_status lsmkv_sync(lsmkv_db *db, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    return maintain(db, lsm_db_sync, err);
}

lsmkv_status lsmkv_resume(lsmkv_db *db, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    return maintain(db, lsm_db_resume, err);
}

lsmkv_status lsmkv_settle(lsmkv_db *db, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    return maintain(db, lsm_scheduler_settle, err);
}

lsmkv_status lsmkv_compact(lsmkv_db *db, const lsmkv_namespace *space,
                           const lsmkv_range *range, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_status status = LSMKV_OK;
    lsm_buf start = {0};
    lsm_buf stop = {0};
    const lsmkv_write how = {.space = space};

    LSM_TRY(lsm_check_write(db, &how, err));
    LSM_TRY(bounds(lsm_write_space(&how), range, &start, &stop, err));
    if (space == NULL && range == NULL) {
        lsm_buf_clear(&start); /* the system's, the default one, all others */
        lsm_buf_clear(&stop);
        LSM_TRY(bound(&start, LSM_NAMESPACE_SYSTEM, (lsmkv_bytes){NULL, 0}, err));
        LSM_TRY(bound(&stop, UINT32_MAX, (lsmkv_bytes){NULL, 0}, err));
    }
    LSM_TRY(lsm_db_begin(db, err));
    status = flush(db, err);
    if (status == LSMKV_OK) {
        lsm_key_range keys = {lsm_buf_slice(&start), lsm_buf_slice(&stop), false};
        status = lsm_scheduler_compact(db, keys, err);
    }
    lsm_db_end(db);
out:
    lsm_buf_deinit(&start);
    lsm_buf_deinit(&stop);
    return status;
}

lsmkv_status lsmkv_checkpoint(lsmkv_db *db, const char *path, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_status status = lsm_db_begin(db, err);
    if (status == LSMKV_OK) {
        status = flush(db, err);
        if (status == LSMKV_OK) {
            status = lsm_db_checkpoint(db, path, err);
        }
        lsm_db_end(db);
    }
    return status;
}

/* Runs it to its end, or until it is to stop. */
static lsmkv_status run_warm(lsmkv_db *db, const lsmkv_warm_how *how, lsm_warm *warm,
                             lsmkv_error *err) {
    const lsmkv_warm_report *report = lsm_warm_report(warm);
    lsmkv_status status = LSMKV_OK;
    bool done = false;
    bool goes_on = true;

    while (status == LSMKV_OK && !done && goes_on) {
        status = atomic_load(&db->closing)
                     ? lsm_fail(err, LSMKV_CLOSED, "the database is closed")
                     : lsm_warm_step(warm, &done, err);
        if (status == LSMKV_OK && how->on_progress != NULL) {
            goes_on = how->on_progress(how->context, report->byte_count,
                                       report->total_bytes) != 0;
        }
        lsm_warm_yield(warm);
    }
    return status;
}

lsmkv_status lsmkv_warm(lsmkv_db *db, const lsmkv_warm_how *how,
                        lsmkv_warm_report *report, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    const lsmkv_warm_how plain = {0};
    lsmkv_status status = LSMKV_OK;
    lsm_buf start = {0};
    lsm_buf stop = {0};
    lsm_key_range keys;
    lsm_warm *warm = NULL;

    *report = (lsmkv_warm_report){0};
    how = how != NULL ? how : &plain;
    lsmkv_read read = {.space = how->space};
    LSM_TRY(lsm_check_read(db, &read, err));
    LSM_TRY(bounds(lsm_read_space(&read), how->range, &start, &stop, err));
    keys = (lsm_key_range){lsm_buf_slice(&start), lsm_buf_slice(&stop), true};
    lsm_warm_plan plan = {
        .range = how->range != NULL || how->space != NULL ? &keys : NULL,
        .listed = how->range == NULL,
        .budget = how->budget_bytes};
    LSM_TRY(lsm_db_begin(db, err));
    status = lsm_warm_create(db, &plan, &warm, err);
    if (status == LSMKV_OK) {
        status = run_warm(db, how, warm, err);
        *report = *lsm_warm_report(warm);
    }
    lsm_warm_destroy(warm);
    lsm_db_end(db);
out:
    lsm_buf_deinit(&start);
    lsm_buf_deinit(&stop);
    return status;
}

lsmkv_status lsmkv_verify(lsmkv_db *db, lsmkv_problem_fn on_problem, void *context,
                          lsmkv_report *report, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    *report = (lsmkv_report){0};
    lsmkv_status status = lsm_db_begin(db, err);
    if (status == LSMKV_OK) {
        status = lsm_db_verify(db, on_problem, context, report, err);
        lsm_db_end(db);
    }
    return status;
}

lsmkv_status lsmkv_get_stats(lsmkv_db *db, lsmkv_stats *stats, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    *stats = (lsmkv_stats){0};
    lsmkv_status status = lsm_db_begin(db, err);
    if (status == LSMKV_OK) {
        lsm_db_stats(db, stats);
        lsm_db_end(db);
    }
    return status;
}

uint64_t lsmkv_histogram_bound(uint32_t bucket) {
    return lsm_histogram_bound(
        bucket < LSMKV_HISTOGRAM_BUCKETS ? bucket : LSMKV_HISTOGRAM_BUCKETS - 1);
}

lsmkv_status lsmkv_get_latency(lsmkv_db *db, lsmkv_latency_kind kind,
                               lsmkv_histogram *histogram, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    *histogram = (lsmkv_histogram){0};
    if ((uint32_t)kind >= LSMKV_LATENCY_KINDS) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT, "nothing of kind %d is timed",
                        (int)kind);
    }
    lsmkv_status status = lsm_db_begin(db, err);
    if (status == LSMKV_OK) {
        lsm_latency_read(&db->latencies, kind, histogram);
        lsm_db_end(db);
    }
    return status;
}

lsmkv_status lsmkv_get_memory(lsmkv_db *db, lsmkv_memory *memory, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    *memory = (lsmkv_memory){0};
    lsmkv_status status = lsm_db_begin(db, err);
    if (status == LSMKV_OK) {
        lsm_db_memory(db, memory);
        lsm_db_end(db);
    }
    return status;
}

lsmkv_status lsmkv_tables_list(lsmkv_db *db, lsmkv_table_fn callback, void *context,
                               lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_status status = lsm_db_begin(db, err);
    if (status == LSMKV_OK) {
        lsm_db_list_tables(db, callback, context);
        lsm_db_end(db);
    }
    return status;
}

void lsmkv_get_options(const lsmkv_db *db, lsmkv_options *options) {
    lsm_options_describe(&db->options, options);
}

void lsmkv_get_uuid(const lsmkv_db *db, uint8_t uuid[LSMKV_UUID_SIZE]) {
    memcpy(uuid, db->uuid, LSMKV_UUID_SIZE);
}

static lsmkv_status count_once(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                               const lsm_key_range *keys, uint64_t *count,
                               lsmkv_error *err) {
    lsm_epoch_token token;
    lsmkv_status status = lsm_db_enter(db, &token, err);

    if (status == LSMKV_OK) {
        status = lsm_db_count(db, snapshot, keys, count, err);
        lsm_epoch_leave(token);
    }
    return status;
}

lsmkv_status lsmkv_approximate_count(lsmkv_db *db, const lsmkv_read *read,
                                     const lsmkv_range *range, uint64_t *count,
                                     lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_status status = LSMKV_OK;
    lsmkv_error failure;
    lsm_buf start = {0};
    lsm_buf stop = {0};
    bool tried = false;

    *count = 0;
    LSM_TRY(lsm_check_read(db, read, err));
    LSM_TRY(bounds(lsm_read_space(read), range, &start, &stop, err));
    lsm_key_range keys = {lsm_buf_slice(&start), lsm_buf_slice(&stop), true};
    do {
        status = count_once(db, read != NULL ? read->snapshot : NULL, &keys, count,
                            &failure);
    } while (lsm_db_again(db, status, &failure, &tried));
    LSM_TRY(status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &failure));
out:
    lsm_buf_deinit(&start);
    lsm_buf_deinit(&stop);
    return status;
}

lsmkv_status lsmkv_repair(const char *path, const char *into,
                          lsmkv_problem_fn on_problem, void *context,
                          lsmkv_report *report, lsmkv_error *err) {
    const lsm_findings findings = {on_problem, context, report};
    *report = (lsmkv_report){0};
    return lsm_db_repair(lsm_env_posix(), path, into, &findings, err);
}

lsmkv_status lsmkv_destroy(const char *path, lsmkv_error *err) {
    return lsm_db_destroy_files(lsm_env_posix(), path, err);
}
