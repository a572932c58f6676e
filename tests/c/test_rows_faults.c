/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: calls for many rows at once that lack memory say so; what they had written
 * before stays, and a gather that lacks it finds the same rows when it is repeated.
 * Method: rows under numbers and under bytes, more than one batch and one chunk take,
 * read with and without a budget of time; each allocation fails in turn.
 */
#include "expiry_help.h"

#include "base/alloc.h"
#include "db/db.h"

enum {
    ROWS = 1100, /* more than are read at once */
    ROW_SIZE = 40,
    LARGE_SIZE = 1500,
    BATCH_MAX = 8000, /* bytes, of a batch: more than one for each ROWS */
    PLACES_MAX = 20000,
};

typedef struct rows_db {
    expiry_db d;
    uint64_t ids[ROWS];
    char names[ROWS][8];
    lsmkv_bytes bytes[ROWS];
    uint8_t data[ROWS * ROW_SIZE];
    lsmkv_keys keys[2]; /* as numbers and as bytes */
    lsmkv_rows rows;
} rows_db;

static void begin(rows_db *r) {
    memset(r, 0, sizeof(*r));
    expiry_begin(&r->d);
    lsm_sim_exempt_memory(r->d.env);
    r->d.db->rows_batch_max = BATCH_MAX;
    for (size_t i = 0; i < ROWS; i++) {
        int size = snprintf(r->names[i], sizeof(r->names[i]), "r%zu", i);
        r->ids[i] = i * 5;
        r->bytes[i] = (lsmkv_bytes){r->names[i], (size_t)size};
        memset(r->data + i * ROW_SIZE, (int)i, ROW_SIZE);
    }
    r->keys[0] = (lsmkv_keys){.ids = r->ids, .count = ROWS};
    r->keys[1] = (lsmkv_keys){.bytes = r->bytes, .count = ROWS};
    r->rows = (lsmkv_rows){r->data, ROW_SIZE, ROW_SIZE};
}

/* Gathers all rows; how many there are. */
static lsmkv_status gather(rows_db *r, int form, uint64_t budget_us, size_t *count,
                           lsmkv_error *err) {
    static uint8_t out[ROWS * ROW_SIZE];
    static uint8_t found[ROWS];
    lsmkv_gather to = {.out = out,
                       .found = found,
                       .row_bytes = ROW_SIZE,
                       .stride = ROW_SIZE,
                       .budget_us = budget_us};
    lsmkv_status status =
        lsmkv_get_rows(r->d.db, NULL, &r->keys[form], &to, count, err);

    for (size_t i = 0; status == LSMKV_OK && i < ROWS; i++) {
        CHECK(!found[i] ||
              memcmp(out + i * ROW_SIZE, r->data + i * ROW_SIZE, ROW_SIZE) == 0);
    }
    return status;
}

LSM_TEST(rows_that_are_written_without_memory_stay_up_to_the_batch_that_lacked_it) {
    lsmkv_error err;
    rows_db r;

    begin(&r);
    for (int form = 0; form < 2; form++) {
        lsmkv_status status = LSMKV_NO_MEMORY;
        for (uint64_t n = 0; status != LSMKV_OK; n = n * 5 / 4 + 1) {
            size_t put = ROWS + 1;
            size_t there = 0;
            CHECK(n < PLACES_MAX);
            lsm_alloc_fail_after(n, 1);
            status = lsmkv_put_rows(r.d.db, NULL, &r.keys[form], &r.rows, &put, &err);
            lsm_alloc_fail_never();
            CHECK(status == LSMKV_NO_MEMORY || (status == LSMKV_OK && put == ROWS));
            CHECK_OK(gather(&r, form, 0, &there, &err));
            CHECK(put <= there);
        }
    }
    expiry_end(&r.d);
}

LSM_TEST(rows_that_are_gathered_without_memory_are_found_the_next_time) {
    lsmkv_error err;
    rows_db r;
    size_t count;

    begin(&r);
    for (int form = 0; form < 2; form++) {
        CHECK_OK(lsmkv_put_rows(r.d.db, NULL, &r.keys[form], &r.rows, &count, &err));
    }
    CHECK_OK(lsmkv_flush(r.d.db, &err));
    for (int kind = 0; kind < 4; kind++) {
        lsmkv_status status = LSMKV_NO_MEMORY;
        for (uint64_t n = 0; status != LSMKV_OK; n++) {
            CHECK(n < PLACES_MAX);
            if (kind >= 2) {
                expiry_reopen(&r.d); /* so that it has to wait for the disk */
            }
            lsm_alloc_fail_after(n, 0);
            status = gather(&r, kind % 2, kind < 2 ? 0 : 1000000, &count, &err);
            lsm_alloc_fail_never();
            CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
            CHECK(status != LSMKV_OK || count == ROWS);
        }
    }
    expiry_end(&r.d);
}

LSM_TEST(rows_that_a_batch_has_no_memory_for_leave_it_usable) {
    lsmkv_status status = LSMKV_NO_MEMORY;
    lsmkv_batch *batch = NULL;
    lsmkv_error err;
    size_t there = 0;
    rows_db r;

    begin(&r);
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    for (uint64_t n = 0; status != LSMKV_OK; n++) {
        CHECK(n < PLACES_MAX);
        lsmkv_batch_clear(batch);
        lsm_alloc_fail_after(n, 1);
        status = lsmkv_batch_put_rows(batch, NULL, &r.keys[1], &r.rows, &err);
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        CHECK(status == LSMKV_NO_MEMORY || lsmkv_batch_count(batch) == ROWS);
    }
    CHECK_OK(lsmkv_write_batch(r.d.db, NULL, batch, &err));
    CHECK_OK(gather(&r, 1, 0, &there, &err));
    CHECK_EQ(there, ROWS);
    lsmkv_batch_free(batch);
    expiry_end(&r.d);
}
