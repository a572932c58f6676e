/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: deleted ranges stay deleted, for whom they should, wherever the range delete
 * and the keys it covers have come to lie. Method: a database in the simulator with
 * tiny tables, through the public calls; every key is read by get, get_many and
 * iterators in both directions after every move of the data, and again after a reopen.
 */
#include "db_help.h"
#include "sim_help.h"

#include <stdio.h>

#include "api/testing.h"
#include "base/rng.h"

enum { KEYS = 120, KEY_ROOM = 8 };

typedef struct range_db {
    lsm_env *env;
    lsmkv_db *db;
    lsmkv_options options;
    char keys[KEYS][KEY_ROOM];
    int values[KEYS]; /* -1: none */
} range_db;

static lsmkv_bytes key_at(const range_db *r, size_t i) {
    return (lsmkv_bytes){r->keys[i], 5};
}

static void range_db_open(range_db *r) {
    lsmkv_error err;

    CHECK_OK(lsm_test_open(r->env, "db", &r->options, &r->db, &err));
}

static void range_db_begin(range_db *r) {
    memset(r, 0, sizeof(*r));
    r->env = lsm_sim_create(1);
    CHECK(r->env != NULL);
    lsmkv_options_init(&r->options);
    r->options.memory_bytes = 1 << 20;
    r->options.memtable_bytes = 64 << 10;
    r->options.block_cache_bytes = 64 << 10;
    r->options.block_bytes = 128;
    r->options.table_bytes = 1024;
    r->options.level_base_bytes = 4096;
    r->options.seed = 5;
    for (size_t i = 0; i < KEYS; i++) {
        (void)snprintf(r->keys[i], KEY_ROOM, "k%04u", (unsigned)i);
        r->values[i] = -1;
    }
    range_db_open(r);
}

static void range_db_end(range_db *r) {
    close_db(r->db);
    lsm_sim_destroy(r->env);
}

static void reopen(range_db *r) {
    close_db(r->db);
    range_db_open(r);
}

static void put(range_db *r, size_t key, int value) {
    lsmkv_bytes bytes = {&value, sizeof(value)};
    lsmkv_error err;

    CHECK_OK(lsmkv_put(r->db, NULL, key_at(r, key), bytes, &err));
    r->values[key] = value;
}

static void put_all(range_db *r, int value) {
    for (size_t i = 0; i < KEYS; i++) {
        put(r, i, value + (int)i);
    }
}

static lsmkv_range range_of(const range_db *r, size_t start, size_t stop) {
    return (lsmkv_range){key_at(r, start), key_at(r, stop), true, true};
}

static void delete_range(range_db *r, size_t start, size_t stop) {
    lsmkv_range range = range_of(r, start, stop);
    lsmkv_error err;

    CHECK_OK(lsmkv_delete_range(r->db, NULL, &range, &err));
    for (size_t i = start; i < stop; i++) {
        r->values[i] = -1;
    }
}

static void flush(range_db *r) {
    lsmkv_error err;

    CHECK_OK(lsmkv_flush(r->db, &err));
}

static void compact(range_db *r) {
    lsmkv_error err;

    CHECK_OK(lsmkv_compact(r->db, NULL, NULL, &err));
}

static void check_value(lsmkv_bytes found, int expected) {
    CHECK_EQ(found.size, sizeof(expected));
    CHECK(memcmp(found.data, &expected, sizeof(expected)) == 0);
}

static void check_iteration(const range_db *r, const lsmkv_read *read,
                            const int values[KEYS], bool reverse) {
    lsmkv_iter *iter = NULL;
    lsmkv_error err;

    CHECK_OK(lsmkv_iter_create(r->db, read, NULL, &iter, &err));
    CHECK_OK(reverse ? lsmkv_iter_seek_last(iter, &err)
                     : lsmkv_iter_seek_first(iter, &err));
    for (size_t i = 0; i < KEYS; i++) {
        size_t at = reverse ? KEYS - 1 - i : i;
        if (values[at] == -1) {
            continue;
        }
        CHECK(lsmkv_iter_valid(iter));
        CHECK(memcmp(lsmkv_iter_key(iter).data, r->keys[at], 5) == 0);
        check_value(lsmkv_iter_value(iter), values[at]);
        CHECK_OK(reverse ? lsmkv_iter_prev(iter, &err) : lsmkv_iter_next(iter, &err));
    }
    CHECK(!lsmkv_iter_valid(iter));
    lsmkv_iter_free(iter);
}

/* Every way to read, at a snapshot or now. */
static void check(const range_db *r, const lsmkv_snapshot *snapshot,
                  const int values[KEYS]) {
    lsmkv_read read = {.snapshot = snapshot};
    lsmkv_lookup lookups[KEYS];
    lsmkv_pin pin;
    lsmkv_error err;

    for (size_t i = 0; i < KEYS; i++) {
        lsmkv_status status = lsmkv_get(r->db, &read, key_at(r, i), &pin, &err);
        CHECK_EQ(status, values[i] == -1 ? LSMKV_NOT_FOUND : LSMKV_OK);
        if (status == LSMKV_OK) {
            check_value(pin.value, values[i]);
            lsmkv_pin_release(&pin);
        }
        lookups[i] = (lsmkv_lookup){.key = key_at(r, i)};
    }
    CHECK_OK(lsmkv_get_many(r->db, &read, lookups, KEYS, &pin, &err));
    for (size_t i = 0; i < KEYS; i++) {
        CHECK_EQ(lookups[i].found, values[i] != -1);
        if (lookups[i].found) {
            check_value(lookups[i].value, values[i]);
        }
    }
    lsmkv_pin_release(&pin);
    check_iteration(r, &read, values, false);
    check_iteration(r, &read, values, true);
}

static void check_now(range_db *r) {
    lsmkv_report report;
    lsmkv_error err;

    check(r, NULL, r->values);
    CHECK_OK(lsmkv_verify(r->db, NULL, NULL, &report, &err));
    CHECK_EQ(report.problem_count, 0);
}

static lsmkv_level_stats totals(const range_db *r) {
    lsmkv_level_stats sum = {0};
    lsmkv_stats stats;
    lsmkv_error err;

    CHECK_OK(lsmkv_get_stats(r->db, &stats, &err));
    for (size_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        sum.table_count += stats.levels[i].table_count;
        sum.entry_count += stats.levels[i].entry_count;
        sum.tombstone_count += stats.levels[i].tombstone_count;
    }
    return sum;
}

/* The memtable's index and a table's filter know the key, and it is deleted. */
LSM_TEST(delete_range_hides_what_index_and_filter_would_have_answered) {
    range_db r;

    range_db_begin(&r);
    put_all(&r, 1000);
    delete_range(&r, 10, 30); /* both in the memtable */
    check_now(&r);
    flush(&r); /* both in one table */
    check_now(&r);
    delete_range(&r, 25, 60); /* range in the memtable, keys in a table */
    check_now(&r);
    flush(&r); /* in a table of its own, without an entry */
    check_now(&r);
    put(&r, 40, 7); /* newer than the range delete above it */
    check_now(&r);
    flush(&r);
    check_now(&r);
    reopen(&r);
    check_now(&r);
    compact(&r);
    check_now(&r);
    range_db_end(&r);
}

LSM_TEST(delete_range_in_a_batch_deletes_what_came_before_it) {
    range_db r;
    lsmkv_batch *batch = NULL;
    lsmkv_error err;
    int value = 77;
    lsmkv_bytes bytes = {&value, sizeof(value)};

    range_db_begin(&r);
    put(&r, 5, 1);
    put(&r, 6, 1);
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    lsmkv_range range = range_of(&r, 4, 10);
    CHECK_OK(lsmkv_batch_put(batch, NULL, key_at(&r, 7), bytes, &err));
    CHECK_OK(lsmkv_batch_put(batch, NULL, key_at(&r, 8), bytes, &err));
    CHECK_OK(lsmkv_batch_delete_range(batch, NULL, &range, &err));
    CHECK_OK(lsmkv_batch_put(batch, NULL, key_at(&r, 8), bytes, &err));
    CHECK_OK(lsmkv_batch_put(batch, NULL, key_at(&r, 5), bytes, &err));
    CHECK_EQ(lsmkv_batch_count(batch), 5);
    CHECK_OK(lsmkv_write_batch(r.db, NULL, batch, &err));
    lsmkv_batch_free(batch);
    r.values[5] = r.values[8] = value;
    r.values[6] = -1;
    check_now(&r);
    reopen(&r);
    check_now(&r);
    compact(&r);
    check_now(&r);
    range_db_end(&r);
}

LSM_TEST(delete_range_of_nothing_writes_nothing) {
    range_db r;
    lsmkv_batch *batch = NULL;
    lsmkv_error err;

    range_db_begin(&r);
    put_all(&r, 1);
    uint64_t before = lsm_test_sequence(r.db);
    lsmkv_range backward = range_of(&r, 9, 3);
    lsmkv_range same = range_of(&r, 9, 9);
    CHECK_OK(lsmkv_delete_range(r.db, NULL, &backward, &err));
    CHECK_OK(lsmkv_delete_range(r.db, NULL, &same, &err));
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    CHECK_OK(lsmkv_batch_delete_range(batch, NULL, &backward, &err));
    CHECK_EQ(lsmkv_batch_count(batch), 0);
    lsmkv_batch_free(batch);
    CHECK_EQ(lsm_test_sequence(r.db), before);
    check_now(&r);
    CHECK_OK(lsmkv_delete_range(r.db, NULL, NULL, &err)); /* all */
    for (size_t i = 0; i < KEYS; i++) {
        r.values[i] = -1;
    }
    check_now(&r);
    range_db_end(&r);
}

/* Snapshots before, between and behind; outputs of compactions are cut in the middle of
 * the range deletes, whose ends then are ends of tables. */
LSM_TEST(delete_range_is_seen_by_the_snapshots_after_it_alone) {
    range_db r;
    lsmkv_snapshot *snapshots[3];
    int seen[3][KEYS];
    lsmkv_error err;

    range_db_begin(&r);
    put_all(&r, 1000);
    compact(&r);
    for (size_t i = 0; i < 3; i++) {
        CHECK_OK(lsmkv_snapshot_create(r.db, &snapshots[i], &err));
        memcpy(seen[i], r.values, sizeof(r.values));
        delete_range(&r, 20 * i, 60 + 20 * i);
        for (size_t key = i; key < KEYS; key += 9) {
            put(&r, key, 2000 + (int)(100 * i + key));
        }
        if (i != 1) {
            flush(&r);
        }
    }
    for (int round = 0; round < 3; round++) {
        for (size_t i = (size_t)round; i < 3; i++) {
            check(&r, snapshots[i], seen[i]);
        }
        check_now(&r);
        compact(&r);
        CHECK(totals(&r).table_count > 2);
        for (size_t i = (size_t)round; i < 3; i++) {
            check(&r, snapshots[i], seen[i]);
        }
        check_now(&r);
        lsmkv_snapshot_free(snapshots[round]);
    }
    reopen(&r);
    check_now(&r);
    range_db_end(&r);
}

LSM_TEST(delete_range_leaves_nothing_behind_at_the_bottom) {
    range_db r;
    uint64_t alive = 0;

    range_db_begin(&r);
    put_all(&r, 1000);
    compact(&r);
    delete_range(&r, 3, KEYS - 3);
    put(&r, 50, 4);
    compact(&r);
    check_now(&r);
    for (size_t i = 0; i < KEYS; i++) {
        alive += r.values[i] != -1;
    }
    CHECK_EQ(totals(&r).entry_count, alive + 1); /* and the remembered options */
    lsmkv_error err;
    CHECK_OK(lsmkv_delete_range(r.db, NULL, NULL, &err));
    for (size_t i = 0; i < KEYS; i++) {
        r.values[i] = -1;
    }
    compact(&r);
    check_now(&r);
    CHECK_EQ(totals(&r).entry_count, 1);
    CHECK_EQ(totals(&r).table_count, 1);
    range_db_end(&r);
}

/* Nobody asks for a compaction: a table of range deletes is worth one by itself. */
LSM_TEST(delete_range_sinks_to_what_it_deletes_by_itself) {
    range_db r;
    lsmkv_error err;

    range_db_begin(&r);
    r.options.l0_compact_trigger = 2;
    put_all(&r, 1000);
    compact(&r);
    for (size_t round = 0; round < 4; round++) {
        delete_range(&r, 20 * round, 20 * round + 30);
        flush(&r);
        CHECK_OK(lsmkv_settle(r.db, &err));
        check_now(&r);
    }
    range_db_end(&r);
}

LSM_TEST(delete_range_thousands_of_times) {
    range_db r;
    lsm_rng rng = {11};

    range_db_begin(&r);
    for (int i = 0; i < 5000; i++) {
        size_t start = (size_t)lsm_rng_below(&rng, KEYS - 4);
        delete_range(&r, start, start + 1 + (size_t)lsm_rng_below(&rng, 3));
        put(&r, (size_t)lsm_rng_below(&rng, KEYS), i);
        if (i % 250 == 0) {
            check_now(&r);
        }
    }
    check_now(&r);
    reopen(&r);
    check_now(&r);
    range_db_end(&r);
}
