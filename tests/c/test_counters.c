/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: every lookup is counted once, in the namespace that was asked, by however many
 * threads. Method: a database in the simulator for what is counted; the counters alone,
 * under more threads than there are shards, for nothing being lost.
 */
#include "expiry_help.h"

#include <errno.h>
#include <pthread.h>

#include "base/alloc.h"
#include "db/db.h"

enum { THREADS = LSM_SHARDS_OWN + 2 * LSM_SHARDS_SHARED, ADDITIONS = 20000 };

static lsmkv_namespace *counted_space(expiry_db *d, const char *name) {
    lsmkv_error err;
    lsmkv_namespace *space = NULL;
    lsmkv_namespace_how how = {.create = true};

    CHECK_OK(lsmkv_namespace_open(d->db, word_bytes(name), &how, &space, &err));
    return space;
}

static lsmkv_space_stats counted(expiry_db *d, const lsmkv_namespace *space) {
    lsmkv_error err;
    lsmkv_space_stats stats;

    CHECK_OK(lsmkv_get_space_stats(d->db, space, &stats, &err));
    return stats;
}

static lsmkv_status ask(expiry_db *d, const lsmkv_read *read, const char *key) {
    lsmkv_error err = {0};
    lsmkv_pin pin;
    lsmkv_status status = lsmkv_get(d->db, read, word_bytes(key), &pin, &err);

    if (status == LSMKV_OK) {
        lsmkv_pin_release(&pin);
    }
    return status;
}

LSM_TEST(lookups_are_counted_where_they_were_asked) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_view *view;
    lsmkv_bytes value;

    expiry_begin(&d);
    lsmkv_namespace *space = counted_space(&d, "one");
    lsmkv_read there = {.space = space};
    lsmkv_write how = {.space = space};
    CHECK_OK(lsmkv_put(d.db, &how, word_bytes("key"), word_bytes("value"), &err));
    expiry_put(&d, "key", "longer value", NEVER);
    CHECK_OK(ask(&d, &there, "key"));
    CHECK(ask(&d, &there, "none") == LSMKV_NOT_FOUND);
    CHECK(ask(&d, &there, "none") == LSMKV_NOT_FOUND);
    CHECK_OK(ask(&d, NULL, "key"));
    CHECK_OK(lsmkv_get_view(d.db, NULL, word_bytes("key"), &view, &value, &err));
    lsmkv_view_free(view);
    lsmkv_space_stats mine = counted(&d, space);
    CHECK(mine.hits == 1 && mine.misses == 2 && mine.read_bytes == 5);
    lsmkv_space_stats others = counted(&d, NULL);
    CHECK(others.hits == 2 && others.misses == 0 && others.read_bytes == 24);
    CHECK(mine.expired == 0 && others.expired == 0);
    lsmkv_namespace_free(space);
    space = counted_space(&d, "one"); /* another handle of the same */
    CHECK_EQ(counted(&d, space).misses, 2);
    lsmkv_namespace_free(space);
    expiry_end(&d);
}

LSM_TEST(batched_lookups_are_counted_by_key) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_pin pin;
    lsmkv_lookup lookups[] = {{.key = word_bytes("a")},
                              {.key = word_bytes("b")},
                              {.key = word_bytes("gone")},
                              {.key = word_bytes("none")}};

    expiry_begin(&d);
    expiry_put(&d, "a", "1", NEVER);
    expiry_put(&d, "b", "22", NEVER);
    expiry_put(&d, "gone", "333", 10);
    expiry_pass(&d, 10);
    for (int round = 0; round < 2; round++) {
        CHECK_OK(lsmkv_get_many(d.db, NULL, lookups, 4, &pin, &err));
        lsmkv_pin_release(&pin);
        expiry_flush(&d);
    }
    lsmkv_space_stats stats = counted(&d, NULL);
    CHECK(stats.hits == 4 && stats.misses == 4 && stats.read_bytes == 6);
    CHECK_EQ(stats.expired, 1); /* the flush has made a tombstone of it */
    expiry_end(&d);
}

LSM_TEST(what_has_expired_is_a_miss_told_apart_from_what_was_deleted) {
    expiry_db d;
    lsmkv_error err;

    expiry_begin(&d);
    expiry_put(&d, "key", "value", 10);
    expiry_put(&d, "deleted", "value", 10);
    CHECK_OK(lsmkv_delete(d.db, NULL, word_bytes("deleted"), &err));
    expiry_pass(&d, 20);
    CHECK(ask(&d, NULL, "key") == LSMKV_NOT_FOUND);
    CHECK(ask(&d, NULL, "deleted") == LSMKV_NOT_FOUND);
    CHECK(counted(&d, NULL).misses == 2 && counted(&d, NULL).expired == 1);
    expiry_end(&d);
}

LSM_TEST(an_answer_that_would_block_is_counted_when_it_comes) {
    expiry_db d;
    lsmkv_read read = {.nonblocking = true};
    lsmkv_error err;

    expiry_begin(&d);
    expiry_put(&d, "key", "value", NEVER);
    expiry_flush(&d);
    CHECK(ask(&d, &read, "key") == LSMKV_WOULD_BLOCK);
    CHECK(counted(&d, NULL).hits + counted(&d, NULL).misses == 0);
    read.nonblocking = false;
    CHECK_OK(ask(&d, &read, "key"));
    CHECK_EQ(counted(&d, NULL).hits, 1);
    expiry_end(&d);
}

LSM_TEST(callers_add_what_only_they_know) {
    expiry_db d;

    expiry_begin(&d);
    lsmkv_namespace *space = counted_space(&d, "one");
    for (int kind = 0; kind <= LSMKV_COUNT_KINDS; kind++) { /* the last is none */
        lsmkv_count(d.db, space, (lsmkv_count_kind)kind, (uint64_t)kind + 1);
    }
    lsmkv_count(d.db, NULL, LSMKV_COUNT_COMPUTED, 50);
    lsmkv_space_stats stats = counted(&d, space);
    CHECK_EQ(stats.hits, LSMKV_COUNT_HITS + 1);
    CHECK_EQ(stats.misses, LSMKV_COUNT_MISSES + 1);
    CHECK_EQ(stats.read_bytes, LSMKV_COUNT_READ_BYTES + 1);
    CHECK_EQ(stats.expired, LSMKV_COUNT_EXPIRED + 1);
    CHECK_EQ(stats.stale_hits, LSMKV_COUNT_STALE_HITS + 1);
    CHECK_EQ(stats.computed, LSMKV_COUNT_COMPUTED + 1);
    CHECK_EQ(stats.coalesced, LSMKV_COUNT_COALESCED + 1);
    CHECK_EQ(stats.evictions, LSMKV_COUNT_EVICTIONS + 1);
    CHECK_EQ(stats.evicted_bytes, LSMKV_COUNT_EVICTED_BYTES + 1);
    CHECK_EQ(counted(&d, NULL).computed, 50);
    lsmkv_namespace_free(space);
    expiry_end(&d);
}

typedef struct listing {
    char names[64];
    uint64_t computed;
} listing;

static void list_one(void *context, lsmkv_bytes name, const lsmkv_space_stats *stats) {
    listing *to = context;
    size_t at = strlen(to->names);

    (void)snprintf(to->names + at, sizeof(to->names) - at, "%.*s;", (int)name.size,
                   (const char *)name.data);
    to->computed = to->computed * 10 + stats->computed;
}

LSM_TEST(counts_of_all_namespaces_are_listed_by_name) {
    expiry_db d;
    lsmkv_error err;
    listing list = {{0}, 0};

    expiry_begin(&d);
    lsmkv_namespace *b = counted_space(&d, "b");
    lsmkv_namespace *a = counted_space(&d, "a");
    lsmkv_namespace *c = counted_space(&d, "c");
    lsmkv_count(d.db, NULL, LSMKV_COUNT_COMPUTED, 1);
    lsmkv_count(d.db, a, LSMKV_COUNT_COMPUTED, 2);
    lsmkv_count(d.db, b, LSMKV_COUNT_COMPUTED, 3);
    lsmkv_count(d.db, c, LSMKV_COUNT_COMPUTED, 4);
    CHECK_OK(lsmkv_namespace_drop(d.db, word_bytes("b"), &err));
    CHECK_OK(lsmkv_space_stats_list(d.db, list_one, &list, &err));
    CHECK(strcmp(list.names, ";a;c;") == 0);
    CHECK_EQ(list.computed, 124);
    CHECK_EQ(counted(&d, b).computed, 3);
    lsmkv_namespace_free(a);
    lsmkv_namespace_free(b);
    lsmkv_namespace_free(c);
    expiry_end(&d);
}

LSM_TEST(counts_are_listed_without_a_call_of_the_system) {
    expiry_db d;
    lsmkv_error err;
    listing list = {{0}, 0};
    uint64_t calls[LSM_SIM_CALL_COUNT];

    expiry_begin(&d);
    lsmkv_namespace_free(counted_space(&d, "b"));
    lsmkv_namespace_free(counted_space(&d, "a"));
    expiry_reopen(&d);
    lsmkv_namespace_free(counted_space(&d, "c"));
    expiry_compact(&d); /* into a table that nobody has opened */
    for (int i = 0; i < LSM_SIM_CALL_COUNT; i++) {
        calls[i] = lsm_sim_call_count(d.env, (lsm_sim_call)i);
        lsm_sim_fail(d.env, (lsm_sim_call)i, 0, EMFILE, true);
    }
    CHECK_OK(lsmkv_space_stats_list(d.db, list_one, &list, &err));
    CHECK(strcmp(list.names, ";a;b;c;") == 0);
    (void)expiry_stats(&d);
    for (int i = 0; i < LSM_SIM_CALL_COUNT; i++) {
        CHECK_EQ(lsm_sim_call_count(d.env, (lsm_sim_call)i), calls[i]);
        lsm_sim_fail(d.env, (lsm_sim_call)i, 0, 0, false);
    }
    expiry_end(&d);
}

static void *add_many(void *context) {
    lsm_space_counters *counters = context;

    for (int i = 0; i < ADDITIONS; i++) {
        lsm_space_count_hits(counters, 1, 3);
        lsm_space_count(counters, LSMKV_COUNT_MISSES, 2);
    }
    return NULL;
}

LSM_TEST(nothing_is_lost_under_more_threads_than_shards) {
    pthread_t threads[THREADS];
    lsm_space_counters counters = {0};
    lsmkv_space_stats stats;

    for (size_t i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_create(&threads[i], NULL, add_many, &counters), 0);
    }
    lsm_space_counters_sum(&counters, &stats); /* of any moment, but defined */
    CHECK(stats.hits <= (uint64_t)THREADS * ADDITIONS);
    for (size_t i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    lsm_space_counters_sum(&counters, &stats);
    CHECK_EQ(stats.hits, (uint64_t)THREADS * ADDITIONS);
    CHECK_EQ(stats.misses, (uint64_t)THREADS * ADDITIONS * 2);
    CHECK_EQ(stats.read_bytes, (uint64_t)THREADS * ADDITIONS * 3);
    lsm_space_counters_deinit(&counters);
}

LSM_TEST(counts_without_memory_for_a_shard_are_kept) {
    lsm_space_counters counters = {0};
    lsmkv_space_stats stats;

    lsm_alloc_fail_after(0, 1);
    lsm_space_count(&counters, LSMKV_COUNT_MISSES, 3);
    lsm_space_count_hits(&counters, 1, 10);
    lsm_alloc_fail_never();
    lsm_space_count(&counters, LSMKV_COUNT_MISSES, 4);
    lsm_space_counters_sum(&counters, &stats);
    CHECK(stats.misses == 7 && stats.hits == 1 && stats.read_bytes == 10);
    lsm_space_counters_deinit(&counters);
}
