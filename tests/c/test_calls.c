/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: whatever call is made, a database that is closed, handles of another one and a
 * lack of memory are answered as such, and nothing is left of the call. Method: a list
 * of the public calls, each made in a database that has one of everything.
 */
#include "db_help.h"
#include "calls_help.h"

#include <stdio.h>

#include "base/alloc.h"

static lsmkv_read read_of(const all *a) {
    return (lsmkv_read){.snapshot = a->used_snapshot, .space = a->used_space};
}

static lsmkv_write write_of(const all *a) {
    return (lsmkv_write){.space = a->used_space};
}

typedef lsmkv_status (*call)(all *a, lsmkv_error *err);

/* Calls that read, in a namespace and a snapshot. */

static lsmkv_status do_get(all *a, lsmkv_error *err) {
    lsmkv_read read = read_of(a);
    lsmkv_pin pin;
    lsmkv_status status = lsmkv_get(a->db, &read, bytes_of("key"), &pin, err);

    lsmkv_pin_release(&pin);
    return status;
}

static lsmkv_status do_get_entry(all *a, lsmkv_error *err) {
    lsmkv_read read = read_of(a);
    lsmkv_entry entry;
    lsmkv_pin pin;
    lsmkv_status status =
        lsmkv_get_entry(a->db, &read, bytes_of("key"), &entry, &pin, err);

    lsmkv_pin_release(&pin);
    return status;
}

static lsmkv_status do_get_view(all *a, lsmkv_error *err) {
    lsmkv_read read = read_of(a);
    lsmkv_view *view = NULL;
    lsmkv_bytes value;
    lsmkv_status status =
        lsmkv_get_view(a->db, &read, bytes_of("key"), &view, &value, err);

    CHECK_EQ(view != NULL, status == LSMKV_OK);
    lsmkv_view_free(view);
    return status;
}

static lsmkv_status do_get_many(all *a, lsmkv_error *err) {
    lsmkv_read read = read_of(a);
    lsmkv_lookup lookups[2] = {{.key = bytes_of("key")}, {.key = bytes_of("none")}};
    lsmkv_pin pin;
    lsmkv_status status = lsmkv_get_many(a->db, &read, lookups, 2, &pin, err);

    CHECK(status != LSMKV_OK || (lookups[0].found && !lookups[1].found));
    lsmkv_pin_release(&pin);
    return status;
}

static lsmkv_status do_get_rows(all *a, lsmkv_error *err) {
    lsmkv_read read = read_of(a);
    lsmkv_bytes key = bytes_of("key");
    lsmkv_keys keys = {.bytes = &key, .count = 1};
    uint8_t out[ROW_BYTES];
    uint8_t found[1];
    lsmkv_gather to = {
        .out = out, .row_bytes = ROW_BYTES, .stride = ROW_BYTES, .found = found};
    size_t count = 0;

    return lsmkv_get_rows(a->db, &read, &keys, &to, &count, err);
}

static lsmkv_status do_iter_create(all *a, lsmkv_error *err) {
    lsmkv_read read = read_of(a);
    lsmkv_range range = {bytes_of("a"), bytes_of("z"), true, true};
    lsmkv_iter *iter = NULL;
    lsmkv_status status = lsmkv_iter_create(a->db, &read, &range, &iter, err);

    CHECK_EQ(iter != NULL, status == LSMKV_OK);
    lsmkv_iter_free(iter);
    return status;
}

static lsmkv_status do_approximate_count(all *a, lsmkv_error *err) {
    lsmkv_read read = read_of(a);
    uint64_t count = 0;

    return lsmkv_approximate_count(a->db, &read, NULL, &count, err);
}

static const call reads[] = {
    do_get,      do_get_entry,   do_get_view,          do_get_many,
    do_get_rows, do_iter_create, do_approximate_count,
};

/* Calls that take a snapshot or a namespace in other ways. */

static lsmkv_status do_namespace_open(all *a, lsmkv_error *err) {
    lsmkv_namespace_how how = {.snapshot = a->used_snapshot};
    lsmkv_namespace *space = NULL;
    lsmkv_status status =
        lsmkv_namespace_open(a->db, bytes_of("space"), &how, &space, err);

    CHECK_EQ(space != NULL, status == LSMKV_OK);
    lsmkv_namespace_free(space);
    return status;
}

static lsmkv_status do_published_open(all *a, lsmkv_error *err) {
    lsmkv_namespace *space = NULL;
    lsmkv_status status = lsmkv_published_open(a->db, bytes_of("name"), bytes_of("1"),
                                               a->used_snapshot, &space, err);

    CHECK_EQ(space != NULL, status == LSMKV_OK);
    lsmkv_namespace_free(space);
    return status;
}

static void see_namespace(void *context, lsmkv_bytes name,
                          const lsmkv_space_options *options) {
    (void)context;
    (void)name;
    (void)options;
}

static lsmkv_status do_namespace_list(all *a, lsmkv_error *err) {
    lsmkv_read read = read_of(a);

    return lsmkv_namespace_list(a->db, &read, see_namespace, NULL, err);
}

static void see_version(void *context, const lsmkv_version_info *info) {
    (void)context;
    (void)info;
}

static lsmkv_status do_versions(all *a, lsmkv_error *err) {
    lsmkv_read read = read_of(a);

    return lsmkv_versions(a->db, &read, bytes_of("name"), see_version, NULL, err);
}

static lsmkv_status do_versions_of_all(all *a, lsmkv_error *err) {
    return lsmkv_versions(a->db, NULL, bytes_of(""), see_version, NULL, err);
}

static const call lists[] = {
    do_namespace_open, do_published_open,  do_namespace_list,
    do_versions,       do_versions_of_all,
};

/* Calls that write, in a namespace. */

static lsmkv_status do_put(all *a, lsmkv_error *err) {
    lsmkv_write how = write_of(a);

    return lsmkv_put(a->db, &how, bytes_of("key"), bytes_of("value 8b"), err);
}

static lsmkv_status do_delete(all *a, lsmkv_error *err) {
    lsmkv_write how = write_of(a);

    return lsmkv_delete(a->db, &how, bytes_of("other"), err);
}

static lsmkv_status do_delete_range(all *a, lsmkv_error *err) {
    lsmkv_write how = write_of(a);
    lsmkv_range range = {bytes_of("x"), bytes_of("y"), true, true};

    return lsmkv_delete_range(a->db, &how, &range, err);
}

static lsmkv_status do_touch(all *a, lsmkv_error *err) {
    lsmkv_write how = write_of(a);

    how.ttl_ms = 1000000;
    return lsmkv_touch(a->db, &how, bytes_of("key"), err);
}

static lsmkv_status do_put_rows(all *a, lsmkv_error *err) {
    lsmkv_write how = write_of(a);
    lsmkv_bytes key = bytes_of("key");
    lsmkv_keys keys = {.bytes = &key, .count = 1};
    lsmkv_rows rows = {"value 8b", ROW_BYTES, ROW_BYTES};
    size_t count = 0;

    return lsmkv_put_rows(a->db, &how, &keys, &rows, &count, err);
}

static lsmkv_status do_compact(all *a, lsmkv_error *err) {
    lsmkv_range range = {bytes_of("a"), bytes_of("z"), true, true};

    return lsmkv_compact(a->db, a->used_space, &range, err);
}

static lsmkv_status do_compact_all(all *a, lsmkv_error *err) {
    return lsmkv_compact(a->db, a->used_space, NULL, err);
}

static lsmkv_status do_warm(all *a, lsmkv_error *err) {
    lsmkv_warm_how how = {.space = a->used_space};
    lsmkv_warm_report report;

    return lsmkv_warm(a->db, &how, &report, err);
}

static lsmkv_status do_warm_range(all *a, lsmkv_error *err) {
    lsmkv_range range = {bytes_of("a"), bytes_of("z"), true, true};
    lsmkv_warm_how how = {.space = a->used_space, .range = &range};
    lsmkv_warm_report report;

    return lsmkv_warm(a->db, &how, &report, err);
}

static const call writes[] = {
    do_put,     do_delete,      do_delete_range, do_touch,      do_put_rows,
    do_compact, do_compact_all, do_warm,         do_warm_range,
};

/* Those of the database as a whole, and of what was made in it. */

static lsmkv_status do_put_cached(all *a, lsmkv_error *err) {
    lsmkv_write how = {.space = a->cache};

    return lsmkv_put(a->db, &how, bytes_of("key"), bytes_of("value 8b"), err);
}

static lsmkv_status do_put_since(all *a, lsmkv_error *err) {
    lsmkv_write how = {.space = a->cache, .since = a->snapshot};
    lsmkv_status status =
        lsmkv_put(a->db, &how, bytes_of("new"), bytes_of("value 8b"), err);

    /* From the second time on somebody has put a value since. */
    return status == LSMKV_NOT_FOUND ? LSMKV_OK : status;
}

static lsmkv_status do_touch_cached(all *a, lsmkv_error *err) {
    lsmkv_write how = {.space = a->cache, .ttl_ms = 1000000};

    return lsmkv_touch(a->db, &how, bytes_of("key"), err);
}

static lsmkv_status do_cache_pin(all *a, lsmkv_error *err) {
    lsmkv_bytes key = bytes_of("key");

    return lsmkv_cache_pin(a->db, a->cache, &key, 1, true, err);
}

static lsmkv_status do_cache_stats(all *a, lsmkv_error *err) {
    lsmkv_cache_stats stats;

    return lsmkv_get_cache_stats(a->db, a->cache, &stats, err);
}

static lsmkv_status do_write_batch(all *a, lsmkv_error *err) {
    return lsmkv_write_batch(a->db, NULL, a->batch, err);
}

static lsmkv_status do_snapshot(all *a, lsmkv_error *err) {
    lsmkv_snapshot *snapshot = NULL;
    lsmkv_status status = lsmkv_snapshot_create(a->db, &snapshot, err);

    CHECK_EQ(snapshot != NULL, status == LSMKV_OK);
    lsmkv_snapshot_free(snapshot);
    return status;
}

static lsmkv_status do_seek_first(all *a, lsmkv_error *err) {
    return lsmkv_iter_seek_first(a->iter, err);
}

static lsmkv_status do_seek(all *a, lsmkv_error *err) {
    return lsmkv_iter_seek(a->iter, bytes_of("key"), err);
}

static lsmkv_status do_seek_for_prev(all *a, lsmkv_error *err) {
    return lsmkv_iter_seek_for_prev(a->iter, bytes_of("key"), err);
}

static lsmkv_status do_fill(all *a, lsmkv_error *err) {
    lsmkv_chunk chunk;
    lsmkv_status status = lsmkv_iter_seek_first(a->iter, err);

    return status == LSMKV_OK ? lsmkv_iter_fill(a->iter, NULL, &chunk, err) : status;
}

static lsmkv_status do_flush(all *a, lsmkv_error *err) {
    return lsmkv_flush(a->db, err);
}

static lsmkv_status do_sync(all *a, lsmkv_error *err) {
    return lsmkv_sync(a->db, err);
}

static lsmkv_status do_resume(all *a, lsmkv_error *err) {
    return lsmkv_resume(a->db, err);
}

static lsmkv_status do_settle(all *a, lsmkv_error *err) {
    return lsmkv_settle(a->db, err);
}

static lsmkv_status do_checkpoint(all *a, lsmkv_error *err) {
    static int number; /* each needs a name of its own */
    char path[32];

    (void)snprintf(path, sizeof(path), "copy%d", number++);
    return lsmkv_checkpoint(a->db, path, err);
}

static lsmkv_status do_verify(all *a, lsmkv_error *err) {
    lsmkv_report report;
    lsmkv_status status = lsmkv_verify(a->db, NULL, NULL, &report, err);

    /* What could not be looked at for lack of memory is a problem, too. */
    return status == LSMKV_OK && report.problem_count != 0 ? lsm_fail_memory(err, 0)
                                                           : status;
}

static lsmkv_status do_stats(all *a, lsmkv_error *err) {
    lsmkv_stats stats;

    return lsmkv_get_stats(a->db, &stats, err);
}

static lsmkv_status do_memory(all *a, lsmkv_error *err) {
    lsmkv_memory memory;

    return lsmkv_get_memory(a->db, &memory, err);
}

static lsmkv_status do_latency(all *a, lsmkv_error *err) {
    lsmkv_histogram histogram;

    return lsmkv_get_latency(a->db, LSMKV_LATENCY_SCAN, &histogram, err);
}

static lsmkv_status do_space_stats(all *a, lsmkv_error *err) {
    lsmkv_space_stats stats;

    return lsmkv_get_space_stats(a->db, a->space, &stats, err);
}

static void see_stats(void *context, lsmkv_bytes name, const lsmkv_space_stats *stats) {
    (void)context;
    (void)name;
    (void)stats;
}

static lsmkv_status do_space_stats_list(all *a, lsmkv_error *err) {
    return lsmkv_space_stats_list(a->db, see_stats, NULL, err);
}

static void see_table(void *context, const lsmkv_table_info *table) {
    (void)context;
    CHECK(table->number > 0);
}

static lsmkv_status do_tables_list(all *a, lsmkv_error *err) {
    return lsmkv_tables_list(a->db, see_table, NULL, err);
}

static lsmkv_status put_pair(lsmkv_publish *publish, lsmkv_error *err) {
    lsmkv_pair pair = {bytes_of("key"), bytes_of("value 8b")};

    return lsmkv_publish_put(publish, NULL, &pair, 1, err);
}

static lsmkv_status put_row(lsmkv_publish *publish, lsmkv_error *err) {
    lsmkv_bytes key = bytes_of("key");
    lsmkv_keys keys = {.bytes = &key, .count = 1};
    lsmkv_rows rows = {"value 8b", ROW_BYTES, ROW_BYTES};

    return lsmkv_publish_put_rows(publish, NULL, &keys, &rows, err);
}

/* In a publish of its own, for one that lacked memory is over. */
static lsmkv_status put_anew(all *a,
                             lsmkv_status (*put)(lsmkv_publish *publish,
                                                 lsmkv_error *err),
                             lsmkv_error *err) {
    lsmkv_publish *publish = NULL;
    lsmkv_status status =
        lsmkv_publish_begin(a->db, bytes_of("new"), bytes_of("1"), NULL, &publish, err);

    CHECK_EQ(publish != NULL, status == LSMKV_OK);
    if (status == LSMKV_OK) {
        status = put(publish, err);
    }
    lsmkv_publish_free(publish);
    return status;
}

static lsmkv_status do_publish_put(all *a, lsmkv_error *err) {
    return put_anew(a, put_pair, err);
}

static lsmkv_status do_publish_put_rows(all *a, lsmkv_error *err) {
    return put_anew(a, put_row, err);
}

static lsmkv_status do_rollback(all *a, lsmkv_error *err) {
    return lsmkv_rollback(a->db, bytes_of("name"), bytes_of("1"), err);
}

static const call others[] = {
    do_put_cached,
    do_put_since,
    do_touch_cached,
    do_cache_pin,
    do_cache_stats,
    do_write_batch,
    do_snapshot,
    do_seek_first,
    do_seek,
    do_seek_for_prev,
    do_fill,
    do_flush,
    do_sync,
    do_resume,
    do_settle,
    do_checkpoint,
    do_verify,
    do_stats,
    do_tables_list,
    do_memory,
    do_latency,
    do_space_stats,
    do_space_stats_list,
    do_publish_put,
    do_publish_put_rows,
    do_rollback,
};

/* Those that end something: not to be repeated. */

static lsmkv_status do_put_into_publish(all *a, lsmkv_error *err) {
    return put_pair(a->publish, err);
}

static lsmkv_status do_put_rows_into_publish(all *a, lsmkv_error *err) {
    return put_row(a->publish, err);
}

static lsmkv_status do_publish_commit(all *a, lsmkv_error *err) {
    return lsmkv_publish_commit(a->publish, err);
}

static lsmkv_status do_publish_abort(all *a, lsmkv_error *err) {
    return lsmkv_publish_abort(a->publish, err);
}

static lsmkv_status do_release(all *a, lsmkv_error *err) {
    return lsmkv_release(a->db, bytes_of("name"), bytes_of("1"), err);
}

static lsmkv_status do_namespace_drop(all *a, lsmkv_error *err) {
    return lsmkv_namespace_drop(a->db, bytes_of("space"), err);
}

static lsmkv_status do_refresh(all *a, lsmkv_error *err) {
    bool changed;

    return lsmkv_refresh(a->db, &changed, err);
}

static lsmkv_status do_follow_stats(all *a, lsmkv_error *err) {
    lsmkv_follow_stats stats;

    return lsmkv_get_follow_stats(a->db, &stats, err);
}

static const call endings[] = {
    do_put_into_publish, do_put_rows_into_publish, do_publish_commit, do_publish_abort,
    do_release,          do_namespace_drop,        do_refresh,        do_follow_stats,
};

typedef struct call_list {
    const char *name;
    const call *calls;
    size_t count;
} call_list;

#define LIST(name) {#name, name, LSM_ARRAY_COUNT(name)}

static void check_answer(const call_list *list, size_t index, lsmkv_status found,
                         lsmkv_status expected) {
    if (found != expected) {
        lsm_test_fail(__FILE__, __LINE__, "%s[%zu] answers %s, expected %s", list->name,
                      index, lsmkv_status_name(found), lsmkv_status_name(expected));
    }
}

LSM_TEST(every_call_on_a_closed_database_says_that_it_is_closed) {
    static const call_list lists_of_all[] = {LIST(reads), LIST(lists), LIST(writes),
                                             LIST(others), LIST(endings)};
    lsmkv_error err;
    all a;

    begin(&a);
    CHECK_OK(lsmkv_close(a.db, &err));
    for (size_t i = 0; i < LSM_ARRAY_COUNT(lists_of_all); i++) {
        for (size_t k = 0; k < lists_of_all[i].count; k++) {
            lsm_error_clear(&err);
            check_answer(&lists_of_all[i], k, lists_of_all[i].calls[k](&a, &err),
                         LSMKV_CLOSED);
            CHECK_EQ(err.status, LSMKV_CLOSED);
            /* Who does not ask is not told. */
            check_answer(&lists_of_all[i], k, lists_of_all[i].calls[k](&a, NULL),
                         LSMKV_CLOSED);
        }
    }
    end(&a);
}

LSM_TEST(handles_of_another_database_are_refused_by_every_call_that_takes_them) {
    static const call_list in_snapshots[] = {LIST(reads), LIST(lists)};
    static const call_list in_spaces[] = {LIST(reads), LIST(writes)};
    static const size_t counts[] = {LSM_ARRAY_COUNT(reads), LSM_ARRAY_COUNT(lists) - 1};
    lsmkv_error err;
    all a;
    all b;

    begin(&a);
    begin(&b);
    for (size_t i = 0; i < 2; i++) {
        a.used_snapshot = b.snapshot;
        for (size_t k = 0; k < counts[i]; k++) {
            check_answer(&in_snapshots[i], k, in_snapshots[i].calls[k](&a, &err),
                         LSMKV_INVALID_ARGUMENT);
        }
        a.used_snapshot = NULL;
        a.used_space = b.space;
        for (size_t k = 0; k < in_spaces[i].count; k++) {
            check_answer(&in_spaces[i], k, in_spaces[i].calls[k](&a, &err),
                         LSMKV_INVALID_ARGUMENT);
        }
        a.used_snapshot = a.snapshot;
        for (size_t k = 0; k < in_spaces[0].count; k++) {
            check_answer(&in_spaces[0], k, in_spaces[0].calls[k](&a, &err),
                         LSMKV_INVALID_ARGUMENT);
        }
        a.used_snapshot = NULL;
        a.used_space = NULL;
    }
    lsmkv_write since = {.space = a.cache, .since = b.snapshot};
    CHECK_STATUS(lsmkv_put(a.db, &since, bytes_of("key"), bytes_of("v"), &err),
                 LSMKV_INVALID_ARGUMENT);
    lsmkv_cache_stats stats;
    CHECK_STATUS(lsmkv_cache_pin(a.db, b.cache, NULL, 0, true, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(lsmkv_get_cache_stats(a.db, b.cache, &stats, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(lsmkv_cache_pin(a.db, a.space, NULL, 0, true, &err),
                 LSMKV_INVALID_ARGUMENT);
    end(&a);
    end(&b);
}

/* Lets the n-th allocation of a call fail, for every n. */
static void starve(const call_list *list, all *a) {
    for (size_t k = 0; k < list->count; k++) {
        lsmkv_status status = LSMKV_NO_MEMORY;
        for (uint64_t n = 0; status != LSMKV_OK; n++) {
            lsmkv_error err;
            lsm_error_clear(&err);
            lsm_alloc_fail_after(n, 0);
            status = list->calls[k](a, &err);
            lsm_alloc_fail_never();
            if (status != LSMKV_OK) {
                check_answer(list, k, status, LSMKV_NO_MEMORY);
                check_answer(list, k, err.status, LSMKV_NO_MEMORY);
            }
            CHECK(n < 3000);
        }
    }
}

LSM_TEST(every_call_without_memory_says_so_and_works_again_with_it) {
    static const call_list lists_of_all[] = {LIST(reads), LIST(lists), LIST(writes),
                                             LIST(others)};
    lsmkv_error err;
    all a;

    begin(&a);
    lsm_sim_exempt_memory(a.env);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(lists_of_all); i++) {
        for (int where = 0; where < 2; where++) {
            a.used_space = where == 1 ? a.space : NULL;
            starve(&lists_of_all[i], &a);
        }
    }
    a.used_space = a.published;
    starve(&lists_of_all[0], &a);
    lsmkv_report report;
    CHECK_OK(lsmkv_verify(a.db, NULL, NULL, &report, &err));
    CHECK_EQ(report.problem_count, 0);
    end(&a);
}
