/* SPDX-License-Identifier: Apache-2.0
 *
 * A simulated directory, a cache and a table written from rows, for tests of tables.
 */
#ifndef LSM_TESTS_TABLE_FIXTURE_H
#define LSM_TESTS_TABLE_FIXTURE_H

#include "sim_help.h"
#include "table_help.h"

#include "table/table_reader.h"
#include "table/table_writer.h"

#define TABLE_NAME "000005.tbl"

enum { TABLE_NUMBER = 5, TABLE_FILE_ID = 0x1234567 };

typedef struct table_fixture {
    lsm_env *env;
    lsm_dir *dir;
    lsm_epoch epoch;
    lsm_cache *cache;
    lsm_table_context context;
    lsm_table_write_options options;
    row_set set;
    lsm_table_info info; /* its keys are the set's */
} table_fixture;

static inline void fixture_begin(table_fixture *f, uint64_t cache_bytes) {
    memset(f, 0, sizeof(*f));
    f->env = sim_make(1, &f->dir);
    CHECK(lsm_epoch_init(&f->epoch));
    f->cache = lsm_cache_create(cache_bytes, &f->epoch);
    CHECK(f->cache != NULL);
    f->context = (lsm_table_context){.dir = f->dir, .cache = f->cache};
    memset(f->context.uuid, 0xAB, sizeof(f->context.uuid));
    f->options = (lsm_table_write_options){.block_bytes = 256,
                                           .index_block_bytes = 4096,
                                           .bloom_bits_per_key = 10,
                                           .file_id = TABLE_FILE_ID};
    memset(f->options.uuid, 0xAB, sizeof(f->options.uuid));
}

static inline void fixture_end(table_fixture *f) {
    rows_free(&f->set);
    lsm_epoch_poll(&f->epoch);
    lsm_cache_destroy(f->cache);
    lsm_epoch_deinit(&f->epoch);
    sim_end(f->env, f->dir);
}

/* Writes the rows of `set` as the table's file, in place of an earlier one. */
static inline void fixture_write(table_fixture *f) {
    lsm_table_writer *writer = NULL;
    lsmkv_error err;

    (void)lsm_sim_file_remove(f->env, SIM_PATH, TABLE_NAME);
    CHECK_OK(lsm_table_writer_create(f->dir, TABLE_NUMBER, &f->options, &writer, &err));
    for (size_t i = 0; i < f->set.count; i++) {
        CHECK_OK(lsm_table_writer_add(writer, row_ikey(&f->set.rows[i]),
                                      row_field(&f->set.rows[i]), &err));
    }
    CHECK_OK(lsm_table_writer_finish(writer, &f->info, &err));
    CHECK(lsm_slice_equal(f->info.smallest, row_ikey(&f->set.rows[0])));
    CHECK(lsm_slice_equal(f->info.largest, row_ikey(&f->set.rows[f->set.count - 1])));
    f->info.smallest = row_ikey(&f->set.rows[0]);
    f->info.largest = row_ikey(&f->set.rows[f->set.count - 1]);
    lsm_table_writer_destroy(writer);
}

/* Makes rows and writes them. */
static inline void fixture_fill(table_fixture *f, uint64_t seed,
                                const row_shape *shape) {
    lsm_rng rng = {seed};

    rows_free(&f->set);
    f->set = rows_make(&rng, shape);
    fixture_write(f);
}

static inline lsm_table *fixture_open(table_fixture *f) {
    lsm_table *table = NULL;
    lsmkv_error err;

    CHECK_OK(lsm_table_open(&f->context, &f->info, &table, &err));
    return table;
}

/* Checks that the iterator stands on row `at`, or on nothing for set.count. */
static inline void check_at(const table_fixture *f, const lsm_iter *iter, size_t at) {
    CHECK_EQ(iter->status, LSMKV_OK);
    CHECK_EQ(iter->valid, at < f->set.count);
    if (iter->valid) {
        CHECK(lsm_slice_equal(iter->key, row_ikey(&f->set.rows[at])));
        CHECK(lsm_slice_equal(iter->value, row_field(&f->set.rows[at])));
    }
}

/* Checks an answer against the rows. */
static inline void check_answer(const table_fixture *f, const lsm_lookup *lookup,
                                lsmkv_status status, const lsm_found *found) {
    const row *expected = rows_get(&f->set, lookup->skey, lookup->sequence);

    CHECK_EQ(status, expected != NULL ? LSMKV_OK : LSMKV_NOT_FOUND);
    if (expected != NULL) {
        CHECK_EQ(found->trailer, lsm_ikey_trailer(row_ikey(expected)));
        CHECK(lsm_slice_equal(found->field, row_field(expected)));
    }
}

/* A point read, checked. */
static inline void check_get(table_fixture *f, lsm_table *table, lsm_slice skey,
                             uint64_t sequence) {
    lsm_lookup lookup = lsm_lookup_make(skey, sequence);
    lsm_epoch_token token = lsm_epoch_enter(&f->epoch);
    lsm_found found = {0};
    lsmkv_error err;
    lsmkv_status status;

    lsm_error_clear(&err);
    status = lsm_table_get(table, &lookup, false, &found, &err);
    check_answer(f, &lookup, status, &found);
    lsm_epoch_leave(token);
}

#endif
