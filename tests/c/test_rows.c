/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: rows come back as they were put, under numbers and under bytes, wherever they
 * lie; and what cannot be done is refused before anything is done. Method: a database
 * in the simulator, with rows below and above the size from which values lie apart.
 */
#include "expiry_help.h"

#include <errno.h>

#include "base/alloc.h"
#include "db/db.h"
#include "format/space.h"

enum { ROWS = 3000, SMALL = 20, LARGE = 1500 };

static uint8_t byte_of(size_t row, size_t at, size_t round) {
    return (uint8_t)(row * 31 + at * 7 + (at >> 8) + round * 101);
}

/* `count` rows, `stride` apart, with the bytes of `round`. */
static uint8_t *make_rows(size_t count, lsmkv_rows *rows, size_t round) {
    uint8_t *data = lsm_calloc(count + 1, rows->stride);

    CHECK(data != NULL);
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < rows->row_bytes; at++) {
            data[i * rows->stride + at] = byte_of(i, at, round);
        }
    }
    rows->data = data;
    return data;
}

/* Numbers 0, 3, 6 and so on, not in order. */
static uint64_t *make_ids(size_t count) {
    uint64_t *ids = lsm_calloc(count + 1, sizeof(*ids));

    CHECK(ids != NULL);
    for (size_t i = 0; i < count; i++) {
        ids[i] = 3 * ((i * 1009) % count);
    }
    return ids;
}

static void put_rows(expiry_db *d, const lsmkv_write *how, const lsmkv_keys *keys,
                     const lsmkv_rows *rows) {
    lsmkv_error err;
    size_t count = 1;

    CHECK_OK(lsmkv_put_rows(d->db, how, keys, rows, &count, &err));
    CHECK_EQ(count, keys->count);
}

/* Reads the rows of `keys` and compares them with those of `round`, of which the ones
 * from `absent` on are not there. */
static void check_rows(expiry_db *d, const lsmkv_read *read, const lsmkv_keys *keys,
                       size_t row_bytes, size_t round, size_t absent) {
    lsmkv_error err;
    lsmkv_gather to = {.row_bytes = row_bytes, .stride = row_bytes + 3};
    size_t count = 0;
    uint8_t *out = lsm_calloc(keys->count + 1, to.stride);

    to.out = out;
    to.found = lsm_calloc(keys->count + 1, 1);
    CHECK(out != NULL && to.found != NULL);
    CHECK_OK(lsmkv_get_rows(d->db, read, keys, &to, &count, &err));
    CHECK_EQ(count, absent < keys->count ? absent : keys->count);
    for (size_t i = 0; i < keys->count; i++) {
        CHECK_EQ(to.found[i], i < absent);
        for (size_t at = 0; at < to.stride; at++) {
            bool inside = i < absent && at < row_bytes;
            CHECK_EQ(out[i * to.stride + at], inside ? byte_of(i, at, round) : 0);
        }
    }
    lsm_free(to.found);
    lsm_free(out);
}

static void round_trip(size_t row_bytes) {
    expiry_db d = {0};
    lsmkv_error err;
    lsmkv_snapshot *snapshot = NULL;
    lsmkv_rows rows = {.row_bytes = row_bytes, .stride = row_bytes + 5};
    uint64_t *ids = make_ids(ROWS);
    lsmkv_keys keys = {.ids = ids, .count = ROWS};
    uint8_t *first = make_rows(ROWS, &rows, 1);

    expiry_begin(&d);
    put_rows(&d, NULL, &keys, &rows);
    check_rows(&d, NULL, &keys, row_bytes, 1, ROWS);
    CHECK_OK(lsmkv_snapshot_create(d.db, &snapshot, &err));
    uint8_t *second = make_rows(ROWS, &rows, 2);
    put_rows(&d, NULL, &keys, &rows);
    CHECK_OK(lsmkv_flush(d.db, &err));
    check_rows(&d, NULL, &keys, row_bytes, 2, ROWS);
    lsmkv_read before = {.snapshot = snapshot};
    check_rows(&d, &before, &keys, row_bytes, 1, ROWS);
    lsmkv_snapshot_free(snapshot);
    CHECK_OK(lsmkv_compact(d.db, NULL, NULL, &err));
    check_rows(&d, NULL, &keys, row_bytes, 2, ROWS);
    ids[ROWS - 1] = 1; /* no multiple of three */
    check_rows(&d, NULL, &keys, row_bytes, 2, ROWS - 1);
    expiry_reopen(&d);
    check_rows(&d, NULL, &keys, row_bytes, 2, ROWS - 1);
    lsm_free(second);
    lsm_free(first);
    lsm_free(ids);
    expiry_end(&d);
}

LSM_TEST(rows_come_back_from_tables) {
    round_trip(SMALL);
}

LSM_TEST(rows_come_back_from_logs_and_segments) {
    round_trip(LARGE);
}

LSM_TEST(numbers_are_keys_of_eight_bytes_in_their_order) {
    expiry_db d = {0};
    lsmkv_error err;
    lsmkv_pin pin;
    const uint64_t ids[] = {0x0102030405060708, 0};
    lsmkv_bytes key = {"\1\2\3\4\5\6\7\10", 8};
    lsmkv_rows rows = {.data = "abcd", .row_bytes = 2, .stride = 2};
    lsmkv_keys numbers = {.ids = ids, .count = 2};
    lsmkv_keys same = {.bytes = &key, .count = 1};
    uint8_t found = 0;
    char out[2];
    lsmkv_gather to = {.out = out, .row_bytes = 2, .stride = 2, .found = &found};
    size_t count = 0;

    expiry_begin(&d);
    put_rows(&d, NULL, &numbers, &rows);
    CHECK_OK(lsmkv_get(d.db, NULL, key, &pin, &err));
    CHECK(pin.value.size == 2 && memcmp(pin.value.data, "ab", 2) == 0);
    lsmkv_pin_release(&pin);
    CHECK_OK(lsmkv_get_rows(d.db, NULL, &same, &to, &count, &err));
    CHECK(count == 1 && found == 1 && memcmp(out, "ab", 2) == 0);
    expiry_end(&d);
}

LSM_TEST(of_equal_keys_the_last_row_wins_and_reading_repeats) {
    expiry_db d = {0};
    lsmkv_error err;
    const uint64_t ids[] = {7, 7, 7};
    lsmkv_keys keys = {.ids = ids, .count = 3};
    lsmkv_rows rows = {.data = "aabbcc", .row_bytes = 2, .stride = 2};
    uint8_t found[3];
    char out[6];
    lsmkv_gather to = {.out = out, .row_bytes = 2, .stride = 2, .found = found};
    size_t count = 0;

    expiry_begin(&d);
    put_rows(&d, NULL, &keys, &rows);
    CHECK_OK(lsmkv_get_rows(d.db, NULL, &keys, &to, &count, &err));
    CHECK(count == 3 && memcmp(out, "cccccc", 6) == 0);
    keys.count = 0;
    put_rows(&d, NULL, &keys, &rows);
    CHECK_OK(lsmkv_get_rows(d.db, NULL, &keys, &to, &count, &err));
    CHECK_EQ(count, 0);
    expiry_end(&d);
}

LSM_TEST(rows_go_with_the_rules_of_batch_namespace_and_ttl) {
    expiry_db d = {0};
    lsmkv_error err;
    lsmkv_batch *batch = NULL;
    lsmkv_namespace *space = NULL;
    lsmkv_namespace_how make = {.create = true};
    const uint64_t ids[] = {1, 2};
    lsmkv_keys keys = {.ids = ids, .count = 2};
    lsmkv_rows rows = {.row_bytes = SMALL, .stride = SMALL};
    uint8_t *data = make_rows(2, &rows, 1);

    expiry_begin(&d);
    CHECK_OK(lsmkv_namespace_open(d.db, word_bytes("v"), &make, &space, &err));
    lsmkv_write how = {.space = space, .ttl_ms = 5000};
    lsmkv_read read = {.space = space};
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    CHECK_OK(lsmkv_batch_put_rows(batch, &how, &keys, &rows, &err));
    CHECK_EQ(lsmkv_batch_count(batch), 2);
    check_rows(&d, &read, &keys, SMALL, 1, 0);
    CHECK_OK(lsmkv_write_batch(d.db, NULL, batch, &err));
    check_rows(&d, &read, &keys, SMALL, 1, 2);
    check_rows(&d, NULL, &keys, SMALL, 1, 0);
    expiry_pass(&d, 6000);
    check_rows(&d, &read, &keys, SMALL, 1, 0);
    CHECK_OK(lsmkv_namespace_drop(d.db, word_bytes("v"), &err));
    size_t count = 9;
    CHECK_EQ(lsmkv_put_rows(d.db, &how, &keys, &rows, &count, &err),
             LSMKV_INVALID_ARGUMENT);
    CHECK_EQ(count, 0);
    lsmkv_batch_free(batch);
    lsmkv_namespace_free(space);
    lsm_free(data);
    expiry_end(&d);
}

LSM_TEST(a_value_of_another_size_is_no_row) {
    expiry_db d = {0};
    lsmkv_error err;
    const uint64_t ids[] = {1, 2};
    lsmkv_keys keys = {.ids = ids, .count = 2};
    lsmkv_rows rows = {.data = "aabb", .row_bytes = 2, .stride = 2};
    uint8_t found[2];
    char out[8];
    lsmkv_gather to = {.out = out, .row_bytes = 3, .stride = 3, .found = found};
    size_t count = 0;

    expiry_begin(&d);
    put_rows(&d, NULL, &keys, &rows);
    for (int pass = 0; pass < 2; pass++) {
        to.budget_us = pass == 0 ? 0 : 1000;
        CHECK_EQ(lsmkv_get_rows(d.db, NULL, &keys, &to, &count, &err),
                 LSMKV_INVALID_ARGUMENT);
        CHECK(strcmp(err.message, "the value of key 0 of 2 has 2 bytes, a row has 3") ==
              0);
        CHECK_EQ(count, 0);
    }
    expiry_end(&d);
}

LSM_TEST(rows_without_size_or_over_each_other_and_long_keys_are_refused) {
    expiry_db d = {0};
    lsmkv_error err;
    const uint64_t id = 1;
    lsmkv_bytes long_key = {"", LSMKV_KEY_SIZE_MAX + 1};
    lsmkv_keys keys = {.ids = &id, .count = 1};
    lsmkv_keys long_keys = {.bytes = &long_key, .count = 1};
    const lsmkv_rows wrong[] = {
        {"ab", 0, 0}, {"ab", 2, 1}, {"ab", (size_t)LSMKV_VALUE_SIZE_MAX + 1, SIZE_MAX}};
    const lsmkv_rows right = {"ab", 2, 2};
    uint8_t found;
    char out[2];
    lsmkv_gather to = {.out = out, .row_bytes = 2, .stride = 1, .found = &found};
    size_t count = 0;

    expiry_begin(&d);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(wrong); i++) {
        CHECK_EQ(lsmkv_put_rows(d.db, NULL, &keys, &wrong[i], &count, &err),
                 LSMKV_INVALID_ARGUMENT);
    }
    CHECK_EQ(lsmkv_put_rows(d.db, NULL, &long_keys, &right, &count, &err),
             LSMKV_LIMIT_EXCEEDED);
    CHECK_EQ(lsmkv_get_rows(d.db, NULL, &keys, &to, &count, &err),
             LSMKV_INVALID_ARGUMENT);
    to.stride = 2;
    CHECK_EQ(lsmkv_get_rows(d.db, NULL, &long_keys, &to, &count, &err),
             LSMKV_LIMIT_EXCEEDED);
    expiry_end(&d);
}

/* The simulator has no mappings, so values that lie apart always need a read. */
LSM_TEST(without_waiting_only_what_is_in_memory_is_found) {
    expiry_db d = {0};
    lsmkv_error err;
    const uint64_t ids[] = {0, 1, 2, 3};
    lsmkv_keys all = {.ids = ids, .count = 4};
    lsmkv_keys large = {.ids = ids, .count = 2};
    lsmkv_rows rows = {.row_bytes = LARGE, .stride = LARGE};
    uint8_t *data = make_rows(4, &rows, 1);
    lsmkv_read now = {.nonblocking = true};
    uint8_t found[4];
    uint8_t *out = lsm_calloc(4, LARGE);
    lsmkv_gather to = {.out = out,
                       .row_bytes = LARGE,
                       .stride = LARGE,
                       .found = found,
                       .budget_us = 1};
    size_t count = 0;

    CHECK(out != NULL);
    expiry_begin(&d);
    put_rows(&d, NULL, &large, &rows);
    CHECK_OK(lsmkv_get_rows(d.db, &now, &all, &to, &count, &err));
    CHECK_EQ(count, 0);
    to.budget_us = 60000000;
    CHECK_OK(lsmkv_get_rows(d.db, NULL, &all, &to, &count, &err));
    CHECK(count == 2 && found[0] == 1 && found[1] == 1 && found[2] == 0);
    CHECK(memcmp(out, data, 2 * LARGE) == 0);
    CHECK_OK(lsmkv_close(d.db, &err));
    CHECK_EQ(lsmkv_get_rows(d.db, NULL, &all, &to, &count, &err), LSMKV_CLOSED);
    CHECK_EQ(lsmkv_put_rows(d.db, NULL, &all, &rows, &count, &err), LSMKV_CLOSED);
    lsmkv_free(d.db);
    expiry_open(&d);
    lsm_free(out);
    lsm_free(data);
    expiry_end(&d);
}

static lsmkv_status open_vectors(expiry_db *d, uint32_t dim, int32_t dtype,
                                 bool alter) {
    lsmkv_error err;
    lsmkv_namespace *space = NULL;
    lsmkv_namespace_how how = {.create = true,
                               .alter = alter,
                               .has_vector = true,
                               .options = {.vector_dim = dim,
                                           .vector_dtype = dtype,
                                           .vector_metric = dim == 0 ? -1 : 1}};
    lsmkv_status status =
        lsmkv_namespace_open(d->db, word_bytes("v"), &how, &space, &err);
    lsmkv_namespace_free(space);
    return status;
}

LSM_TEST(what_vectors_are_is_fixed_when_their_namespace_is_made) {
    expiry_db d = {0};
    lsmkv_error err;
    lsmkv_namespace *space = NULL;
    lsmkv_space_options options;

    expiry_begin(&d);
    CHECK_EQ(open_vectors(&d, LSMKV_VECTOR_DIM_MAX + 1, 0, false),
             LSMKV_INVALID_ARGUMENT);
    CHECK_EQ(open_vectors(&d, 3, LSM_VECTOR_DTYPES, false), LSMKV_INVALID_ARGUMENT);
    CHECK_EQ(open_vectors(&d, 3, -1, false), LSMKV_INVALID_ARGUMENT);
    CHECK_OK(open_vectors(&d, 768, 2, false));
    for (int pass = 0; pass < 2; pass++) {
        CHECK_OK(open_vectors(&d, 768, 2, false));
        CHECK_EQ(open_vectors(&d, 767, 2, true), LSMKV_INVALID_ARGUMENT);
        CHECK_EQ(open_vectors(&d, 768, 1, true), LSMKV_INVALID_ARGUMENT);
        CHECK_EQ(open_vectors(&d, 0, -1, true), LSMKV_INVALID_ARGUMENT);
        lsmkv_namespace_how how = {
            .alter = true, .has_default_ttl = true, .options = {.default_ttl_ms = 9}};
        CHECK_OK(lsmkv_namespace_open(d.db, word_bytes("v"), &how, &space, &err));
        lsmkv_namespace_options(space, &options);
        CHECK(options.vector_dim == 768 && options.vector_dtype == 2 &&
              options.vector_metric == 1 && options.default_ttl_ms == 9);
        lsmkv_namespace_free(space);
        expiry_reopen(&d);
    }
    lsmkv_namespace_how plain = {.create = true};
    CHECK_OK(lsmkv_namespace_open(d.db, word_bytes("p"), &plain, &space, &err));
    lsmkv_namespace_options(space, &options);
    CHECK(options.vector_dim == 0 && options.vector_dtype == -1 &&
          options.vector_metric == -1);
    lsmkv_namespace_free(space);
    expiry_end(&d);
}

LSM_TEST(definitions_with_half_of_what_vectors_are_do_not_decode) {
    lsmkv_error err;
    lsm_space_definition found;
    static const uint8_t dim_alone[] = {1, 77, 0, 0, 0, 7, 3};
    static const uint8_t dtype_alone[] = {1, 77, 0, 0, 0, 8, 1};
    static const uint8_t dtype_unknown[] = {1, 77, 0, 0, 0, 7, 3, 8, 5, 9, 1};
    static const uint8_t metric_unknown[] = {1, 77, 0, 0, 0, 7, 3, 8, 4, 9, 4};
    static const uint8_t whole[] = {1, 77, 0, 0, 0, 7, 3, 8, 4, 9, 3};

    CHECK_EQ(lsm_space_decode(lsm_slice_make(dim_alone, 7), &found, &err),
             LSMKV_CORRUPTION);
    CHECK_EQ(lsm_space_decode(lsm_slice_make(dtype_alone, 7), &found, &err),
             LSMKV_CORRUPTION);
    CHECK_EQ(lsm_space_decode(lsm_slice_make(dtype_unknown, 11), &found, &err),
             LSMKV_CORRUPTION);
    CHECK_EQ(lsm_space_decode(lsm_slice_make(metric_unknown, 11), &found, &err),
             LSMKV_CORRUPTION);
    CHECK_OK(lsm_space_decode(lsm_slice_make(whole, 11), &found, &err));
    CHECK(found.options.vector_dim == 3 && found.options.vector_dtype == 3 &&
          found.options.vector_metric == 2);
}

static uint64_t write_count(expiry_db *d) {
    lsmkv_error err;
    lsmkv_stats stats;

    CHECK_OK(lsmkv_get_stats(d->db, &stats, &err));
    return stats.write_count;
}

LSM_TEST(more_rows_than_a_batch_takes_are_written_in_several) {
    enum { BATCH_ROWS = 7 };
    expiry_db d = {0};
    lsmkv_error err;
    lsmkv_memory memory;
    uint64_t *ids = make_ids(ROWS);
    lsmkv_keys keys = {.ids = ids, .count = ROWS};
    lsmkv_rows rows = {.row_bytes = LARGE, .stride = LARGE};
    uint8_t *data = make_rows(ROWS, &rows, 1);

    expiry_begin(&d);
    uint64_t before = write_count(&d);
    d.db->rows_batch_max = (BATCH_ROWS + 1) * (LARGE + 300);
    put_rows(&d, NULL, &keys, &rows);
    uint64_t batches = write_count(&d) - before;
    CHECK(batches > ROWS / (2 * BATCH_ROWS) && batches < ROWS / 2);
    check_rows(&d, NULL, &keys, LARGE, 1, ROWS);
    /* One row may be more than that: it is a batch of its own. */
    d.db->rows_batch_max = 1;
    keys.count = 3;
    put_rows(&d, NULL, &keys, &rows);
    CHECK_EQ(write_count(&d) - before, batches + 3);
    CHECK_OK(lsmkv_get_memory(d.db, &memory, &err));
    CHECK_EQ(memory.row_bytes, 0);
    lsm_free(data);
    lsm_free(ids);
    expiry_end(&d);
}

LSM_TEST(of_several_batches_those_before_a_failure_stay) {
    expiry_db d = {0};
    lsmkv_error err;
    const uint64_t ids[] = {0, 3, 6};
    lsmkv_keys keys = {.ids = ids, .count = 3};
    lsmkv_rows rows = {.row_bytes = LARGE, .stride = LARGE};
    uint8_t *data = make_rows(3, &rows, 1);
    size_t count = 9;

    for (uint64_t call = 0; count != 3; call++) {
        expiry_begin(&d);
        d.db->rows_batch_max = 1;
        lsm_sim_fail(d.env, LSM_SIM_APPEND, call, ENOSPC, true);
        lsmkv_status status = lsmkv_put_rows(d.db, NULL, &keys, &rows, &count, &err);
        lsm_sim_fail(d.env, LSM_SIM_APPEND, 0, 0, false);
        CHECK_EQ(status == LSMKV_OK, count == 3);
        check_rows(&d, NULL, &keys, LARGE, 1, count);
        expiry_end(&d);
    }
    lsm_free(data);
}

static lsmkv_publish *begin_vectors(expiry_db *d, const char *version, uint32_t dim) {
    lsmkv_error err;
    lsmkv_publish *publish = NULL;
    lsmkv_namespace_how how = {.has_vector = true,
                               .options = {.vector_dim = dim, .vector_metric = 2}};

    CHECK_OK(lsmkv_publish_begin(d->db, word_bytes("v"), word_bytes(version), &how,
                                 &publish, &err));
    return publish;
}

static void publish_rows(expiry_db *d, size_t row_bytes) {
    lsmkv_error err;
    lsmkv_memory memory;
    uint64_t *ids = make_ids(ROWS);
    lsmkv_keys keys = {.ids = ids, .count = ROWS};
    lsmkv_rows rows = {.row_bytes = row_bytes, .stride = row_bytes + 5};
    uint8_t *data = make_rows(ROWS, &rows, 1);
    lsmkv_publish *publish = begin_vectors(d, "1", (uint32_t)row_bytes / 4);
    lsmkv_rows wrong = {.data = data, .row_bytes = 2, .stride = 1};
    lsmkv_space_options options;
    lsmkv_namespace *space;

    CHECK_EQ(lsmkv_publish_put_rows(publish, NULL, &keys, &wrong, &err),
             LSMKV_INVALID_ARGUMENT);
    CHECK_OK(lsmkv_publish_put_rows(publish, NULL, &keys, &rows, &err));
    CHECK_OK(lsmkv_get_memory(d->db, &memory, &err));
    CHECK(memory.row_bytes > 0);
    CHECK_OK(lsmkv_publish_commit(publish, &err));
    lsmkv_publish_free(publish);
    CHECK_OK(lsmkv_get_memory(d->db, &memory, &err));
    CHECK_EQ(memory.row_bytes, 0);
    CHECK_OK(lsmkv_published_open(d->db, word_bytes("v"), word_bytes(""), NULL, &space,
                                  &err));
    lsmkv_namespace_options(space, &options);
    CHECK(options.vector_dim == row_bytes / 4 && options.vector_dtype == 0 &&
          options.vector_metric == 2);
    lsmkv_read read = {.space = space};
    check_rows(d, &read, &keys, row_bytes, 1, ROWS);
    lsmkv_namespace_free(space);
    lsm_free(data);
    lsm_free(ids);
}

LSM_TEST(published_rows_come_back_from_tables_and_value_files) {
    expiry_db d = {0};
    lsmkv_error err;

    expiry_begin(&d);
    publish_rows(&d, SMALL);
    CHECK_OK(lsmkv_release(d.db, word_bytes("v"), word_bytes(""), &err));
    publish_rows(&d, LARGE);
    expiry_end(&d);
}

LSM_TEST(rows_of_other_vectors_than_asked_for_are_refused) {
    expiry_db d = {0};
    lsmkv_error err;
    const uint64_t id = 1;
    lsmkv_keys keys = {.ids = &id, .count = 1};
    lsmkv_space_options asked = {.vector_dim = 1, .vector_metric = 2};
    uint8_t found;
    char out[4];
    lsmkv_gather to = {
        .out = out, .row_bytes = 4, .stride = 4, .found = &found, .vectors = &asked};
    size_t count = 0;
    lsmkv_namespace *name;
    lsmkv_namespace *first;

    expiry_begin(&d);
    lsmkv_publish *publish = begin_vectors(&d, "1", 1);
    CHECK_OK(lsmkv_publish_commit(publish, &err));
    lsmkv_publish_free(publish);
    CHECK_OK(
        lsmkv_published_open(d.db, word_bytes("v"), word_bytes(""), NULL, &name, &err));
    CHECK_OK(lsmkv_published_open(d.db, word_bytes("v"), word_bytes("1"), NULL, &first,
                                  &err));
    lsmkv_read read = {.space = name};
    lsmkv_read of_first = {.space = first};
    CHECK_OK(lsmkv_get_rows(d.db, &read, &keys, &to, &count, &err));
    publish = begin_vectors(&d, "2", 2);
    CHECK_OK(lsmkv_publish_commit(publish, &err));
    lsmkv_publish_free(publish);
    CHECK_EQ(lsmkv_get_rows(d.db, &read, &keys, &to, &count, &err),
             LSMKV_INVALID_ARGUMENT);
    CHECK(strcmp(err.message,
                 "what is published now are vectors of dim=2, dtype=float32, "
                 "metric=l2; asked for were dim=1, dtype=float32, metric=l2") == 0);
    CHECK_OK(lsmkv_get_rows(d.db, &of_first, &keys, &to, &count, &err));
    asked.vector_dtype = LSM_VECTOR_DTYPES;
    CHECK_EQ(lsmkv_get_rows(d.db, &of_first, &keys, &to, &count, &err),
             LSMKV_INVALID_ARGUMENT);
    lsmkv_namespace_free(name);
    lsmkv_namespace_free(first);
    expiry_end(&d);
}
