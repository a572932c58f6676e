/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a publish of more rows than it holds in memory is right however its runs are
 * merged, and one that is stopped there, by an error, damage or a close, leaves
 * nothing. Method: memory for one row, so that rows in falling order are a run each.
 */
#include "publish_help.h"

#include <errno.h>

#include "base/alloc.h"
#include "db/publish.h"

enum {
    MERGED = 16, /* runs at a time */
    ROW_SIZE = 900,
    LARGE_SIZE = 2000,
    LOG_BYTES = 4096, /* of a value file, too */
    PLACES_MAX = 5000,
};

static void open_tiny(expiry_db *d) {
    lsmkv_error err;
    lsmkv_options options;

    lsmkv_options_init(&options);
    options.memtable_bytes = 1024;
    options.log_bytes = LOG_BYTES;
    options.table_bytes = 4096;
    options.blob_threshold_bytes = LARGE_SIZE;
    options.seed = 7;
    CHECK_OK(lsm_test_open(d->env, "db", &options, &d->db, &err));
}

/* With a version "0" of one row. */
static void begin_tiny(expiry_db *d) {
    d->env = lsm_sim_create(5);
    CHECK(d->env != NULL);
    open_tiny(d);
    publish_word(d, "n", "0", "zero");
}

static lsmkv_status put_row(lsmkv_publish *publish, int index, size_t size,
                            lsmkv_error *err) {
    char bytes[LARGE_SIZE];
    char key[16];

    memset(bytes, 'a' + index % 26, sizeof(bytes));
    (void)snprintf(key, sizeof(key), "%06d", index);
    lsmkv_pair pair = {word_bytes(key), {bytes, size}};
    return lsmkv_publish_put(publish, NULL, &pair, 1, err);
}

/* Rows from `from` down to `to`, each a run when another follows. */
static void put_runs(lsmkv_publish *publish, int from, int to) {
    lsmkv_error err;

    for (int i = from; i >= to; i--) {
        CHECK_OK(put_row(publish, i, ROW_SIZE, &err));
    }
}

/* Whether the name shows rows 0 to count - 1, of the sizes that `size_of` has. */
static void check_rows(expiry_db *d, int count, size_t (*size_of)(int index)) {
    lsmkv_namespace *space = reader(d, "n", "", NULL);
    lsmkv_read read = {.space = space};
    lsmkv_error err;
    lsmkv_iter *iter = NULL;
    int seen = 0;

    CHECK(space != NULL);
    CHECK_OK(lsmkv_iter_create(d->db, &read, NULL, &iter, &err));
    CHECK_OK(lsmkv_iter_seek_first(iter, &err));
    for (; lsmkv_iter_valid(iter); seen++) {
        lsmkv_bytes value = lsmkv_iter_value(iter);
        char key[16];
        (void)snprintf(key, sizeof(key), "%06d", seen);
        CHECK(word_is(lsmkv_iter_key(iter), key));
        CHECK_EQ(value.size, size_of(seen));
        CHECK_EQ(((const char *)value.data)[value.size - 1], 'a' + seen % 26);
        CHECK_OK(lsmkv_iter_next(iter, &err));
    }
    CHECK_EQ(seen, count);
    lsmkv_iter_free(iter);
    lsmkv_namespace_free(space);
}

static size_t small_size(int index) {
    (void)index;
    return ROW_SIZE;
}

static size_t mixed_size(int index) {
    return index < 8 ? LARGE_SIZE : ROW_SIZE;
}

LSM_TEST(as_many_runs_as_are_merged_at_a_time_are_merged_once) {
    for (int count = MERGED - 1; count <= MERGED + 1; count++) {
        expiry_db d;
        begin_tiny(&d);
        lsmkv_publish *publish = begun(&d, "n", "1");
        put_runs(publish, count - 1, 0);
        CHECK_EQ(publish->run_count, count <= MERGED ? count - 1 : MERGED);
        commit(publish);
        check_rows(&d, count, small_size);
        CHECK(files_match(&d));
        verify(&d);
        expiry_end(&d);
    }
}

/* The failure is final, and nothing of the version is left. */
static void check_failed(expiry_db *d, lsmkv_publish *publish, lsmkv_status status) {
    lsmkv_error err;

    CHECK_STATUS(put_row(publish, 0, ROW_SIZE, &err), status);
    CHECK_STATUS(lsmkv_publish_commit(publish, &err), status);
    CHECK_OK(lsmkv_publish_abort(publish, &err));
    CHECK(versions_are(d, "", "n/0*:1 "));
    expiry_settle(d);
    CHECK(files_match(d));
}

/* Rows that are a run each, as if these had been merged ever less often, as after
 * gigabytes. In the put that finds as many runs as there can be, memory is refused
 * after `after` requests. Answers how many runs there are in the end. */
static int put_ageing_runs(lsmkv_publish *publish, int count, uint64_t after) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_error err;

    for (int i = count; i-- > 0 && status == LSMKV_OK;) {
        bool full = publish->run_count == LSM_PUBLISH_RUNS_MAX;
        if (full) {
            lsm_alloc_fail_after(after, 1);
        }
        status = put_row(publish, i, ROW_SIZE, &err);
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || (full && status == LSMKV_NO_MEMORY));
        if (publish->run_count > 0) {
            publish->runs[publish->run_count - 1].tier = (uint32_t)i;
        }
    }
    return (int)publish->run_count;
}

LSM_TEST(runs_of_all_ages_are_merged_before_there_are_too_many) {
    enum { COUNT = LSM_PUBLISH_RUNS_MAX + 3 };
    expiry_db d;

    begin_tiny(&d);
    lsm_sim_exempt_memory(d.env);
    for (uint64_t after = 0; after < 16; after++) {
        lsmkv_publish *starved = begun(&d, "n", "1");
        CHECK_EQ(put_ageing_runs(starved, COUNT, after), LSM_PUBLISH_RUNS_MAX);
        check_failed(&d, starved, LSMKV_NO_MEMORY);
        lsmkv_publish_free(starved);
    }
    lsmkv_publish *publish = begun(&d, "n", "1");
    CHECK(put_ageing_runs(publish, COUNT, UINT64_C(1) << 40) < MERGED);
    commit(publish);
    check_rows(&d, COUNT, small_size);
    CHECK(files_match(&d));
    expiry_end(&d);
}

/* The last rows of a version, whose runs are merged meanwhile, and the commit. The
 * first 17 are there. */
static lsmkv_status end_mixed(lsmkv_publish *publish, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    for (int i = 8; i >= 0; i--) {
        LSM_TRY(put_row(publish, i, mixed_size(i), err));
    }
    status = lsmkv_publish_commit(publish, err);
out:
    return status;
}

enum { MIXED_COUNT = 26 };

static lsmkv_publish *begun_mixed(expiry_db *d) {
    lsmkv_publish *publish = begun(d, "n", "1");

    put_runs(publish, MIXED_COUNT - 1, 9);
    CHECK_EQ(publish->run_count, MERGED);
    return publish;
}

LSM_TEST(a_merge_of_runs_that_lacks_memory_at_any_point_leaves_nothing) {
    lsmkv_status status = LSMKV_NO_MEMORY;
    lsmkv_error err;
    expiry_db d;

    begin_tiny(&d);
    lsm_sim_exempt_memory(d.env);
    for (uint64_t n = 0; status != LSMKV_OK; n += 1 + n / 16) {
        lsmkv_publish *publish = begun_mixed(&d);
        lsm_alloc_fail_after(n, 0);
        status = end_mixed(publish, &err);
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        if (status != LSMKV_OK) {
            check_failed(&d, publish, status);
        }
        lsmkv_publish_free(publish);
        CHECK(n < PLACES_MAX);
    }
    check_rows(&d, MIXED_COUNT, mixed_size);
    CHECK(files_match(&d));
    expiry_end(&d);
}

/* Answers whether the n-th call of that kind was reached. */
static bool fail_merge(lsm_sim_call call, uint64_t n) {
    lsmkv_error err;
    expiry_db d;

    begin_tiny(&d);
    lsmkv_publish *publish = begun_mixed(&d);
    uint64_t before = lsm_sim_call_count(d.env, call);
    lsm_sim_fail(d.env, call, n, EIO, false);
    lsmkv_status status = end_mixed(publish, &err);
    bool reached = lsm_sim_call_count(d.env, call) - before > n;
    lsm_sim_fail(d.env, call, 0, 0, false);
    CHECK(status == LSMKV_OK || status == LSMKV_IO_ERROR);
    lsmkv_publish_free(publish);
    lsm_ignore(lsmkv_close(d.db, &err));
    lsmkv_free(d.db);
    open_tiny(&d);
    CHECK(files_match(&d));
    if (status == LSMKV_OK || !versions_are(&d, "", "n/0*:1 ")) {
        check_rows(&d, MIXED_COUNT, mixed_size);
    }
    verify(&d);
    expiry_end(&d);
    return reached;
}

LSM_TEST(a_merge_of_runs_that_meets_an_error_of_the_disk_is_whole_or_nothing) {
    const lsm_sim_call calls[] = {LSM_SIM_OPEN, LSM_SIM_READ, LSM_SIM_APPEND,
                                  LSM_SIM_SYNC};

    for (size_t i = 0; i < LSM_ARRAY_COUNT(calls); i++) {
        uint64_t n = 0;
        while (fail_merge(calls[i], n)) {
            n += 1 + n / 4;
            CHECK(n < PLACES_MAX);
        }
    }
}

static void flip_byte(expiry_db *d, uint64_t table) {
    char name[LSM_NAME_SIZE_MAX];
    const uint8_t *data = NULL;
    uint8_t bytes[TEXT_MAX];
    size_t size = 0;

    (void)snprintf(name, sizeof(name), "%06llu.tbl", (unsigned long long)table);
    CHECK(lsm_sim_file_read(d->env, "db", name, &data, &size));
    CHECK(size <= sizeof(bytes));
    memcpy(bytes, data, size);
    bytes[ROW_SIZE / 2] ^= 1;
    CHECK(lsm_sim_file_write(d->env, "db", name, bytes, size));
}

LSM_TEST(a_run_that_is_read_back_otherwise_than_it_was_written_is_not_published) {
    for (int how = 0; how < 2; how++) {
        expiry_db d;
        lsmkv_error err;
        begin_tiny(&d);
        lsmkv_publish *publish = begun(&d, "n", "1");
        put_runs(publish, 4, 0);
        lsm_live_table *table = publish->runs[1].level.tables[0];
        if (how == 0) {
            flip_byte(&d, table->info.number);
        } else { /* as if it had lost a row since it was opened */
            lsm_table *open = NULL;
            lsm_epoch_token token = lsm_epoch_enter(&d.db->epoch);
            CHECK_OK(
                lsm_table_cache_get(&d.db->table_cache, table, false, &open, &err));
            lsm_epoch_leave(token);
            table->info.entry_count += 1;
        }
        CHECK_STATUS(lsmkv_publish_commit(publish, &err), LSMKV_CORRUPTION);
        CHECK(how == 0 || strstr(err.message, "read 5 rows back, and wrote 6") != NULL);
        check_failed(&d, publish, LSMKV_CORRUPTION);
        lsmkv_publish_free(publish);
        expiry_end(&d);
    }
}

static void close_at_step(void *context, uint64_t step) {
    lsmkv_db *db = context;

    (void)step;
    atomic_store(&db->closing, true);
}

/* Rows of which many fit into a table. */
LSM_TEST(a_close_need_not_wait_for_the_end_of_a_merge) {
    enum { COUNT = 3000, SIZE = 100 };
    expiry_db d;
    lsmkv_error err;

    begin_tiny(&d);
    lsmkv_publish *publish = begun(&d, "n", "1");
    for (int i = COUNT; i-- > 0;) {
        CHECK_OK(put_row(publish, i, SIZE, &err));
    }
    /* Another thread begins to close while this one is inside. */
    lsm_sim_set_hook(d.env, close_at_step, d.db);
    CHECK_STATUS(lsmkv_publish_commit(publish, &err), LSMKV_CLOSED);
    lsm_sim_set_hook(d.env, NULL, NULL);
    CHECK(strstr(err.message, "being closed") != NULL);
    atomic_store(&d.db->closing, false);
    check_failed(&d, publish, LSMKV_CLOSED);
    lsmkv_publish_free(publish);
    expiry_end(&d);
}

/* Publishes rows with keys that memory has to grow for: one fits just so, but for what
 * the engine puts behind it. */
static lsmkv_status try_keys(expiry_db *d) {
    static const size_t sizes[] = {1, 60, 200};
    lsmkv_publish *publish = NULL;
    lsmkv_error err;
    lsmkv_status status = begin(d, "long", "1", &publish);

    for (size_t i = 0; status == LSMKV_OK && i < LSM_ARRAY_COUNT(sizes); i++) {
        char key[200];
        memset(key, '0' + (int)i, sizeof(key));
        lsmkv_pair pair = {{key, sizes[i]}, word_bytes("value")};
        status = lsmkv_publish_put(publish, NULL, &pair, 1, &err);
    }
    if (status == LSMKV_OK) {
        status = lsmkv_publish_commit(publish, &err);
    }
    lsmkv_publish_free(publish);
    return status;
}

/* And the first version of a name, which handles learn of. */
LSM_TEST(long_keys_of_a_new_name_that_lack_memory_are_not_published) {
    lsmkv_status status = LSMKV_NO_MEMORY;
    lsmkv_error err;
    expiry_db d = {.env = lsm_sim_create(5)};

    CHECK(d.env != NULL);
    open_tiny(&d);
    lsm_sim_exempt_memory(d.env);
    for (uint64_t n = 0; status != LSMKV_OK; n++) {
        lsm_alloc_fail_after(n, 0);
        status = try_keys(&d);
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        CHECK(published_shows(&d, "long", NULL) == (status != LSMKV_OK));
        CHECK(n < PLACES_MAX);
    }
    CHECK(versions_are(&d, "long", "long/1*:3 "));
    CHECK(files_match(&d));
    CHECK_OK(lsmkv_release(d.db, word_bytes("long"), word_bytes(""), &err));
    expiry_end(&d);
}
