/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: an iterator shows what a snapshot holds, however many versions a key has, in
 * both directions and where it turns; a move that lacks memory or meets a device that
 * fails says so, and never looks like the end. Method: keys of many sizes with one or
 * with many versions, in a memtable and in tables; walks of every kind, with the n-th
 * allocation or read failing, for every n.
 */
#include "db_help.h"
#include "sim_help.h"

#include <errno.h>

#include "api/testing.h"
#include "base/alloc.h"

enum { KEYS = 12, VERSIONS = 30, PLACES_MAX = 2000, STEPS = 5, KEY_MAX = 600 };

typedef struct rows {
    lsm_env *env;
    lsmkv_db *db;
    lsmkv_snapshot *early; /* of each key the sixth version */
} rows;

/* Keys that begin with a letter each; later ones are longer. */
static lsmkv_bytes key_at(char to[KEY_MAX], size_t index) {
    size_t size = 2 + index * 45;

    memset(to, 'x', size);
    to[0] = (char)('a' + index);
    return (lsmkv_bytes){to, size};
}

static void put(rows *r, size_t index, int version) {
    char key[KEY_MAX];
    lsmkv_error err;

    CHECK_OK(
        lsmkv_put(r->db, NULL, key_at(key, index), (lsmkv_bytes){&version, 1}, &err));
}

static void begin_rows(rows *r, bool flushed) {
    lsmkv_options options;
    lsmkv_error err;

    *r = (rows){.env = lsm_sim_create(5)};
    CHECK(r->env != NULL);
    lsmkv_options_init(&options);
    options.memory_bytes = 4 << 20;
    options.block_bytes = 512;
    options.l0_compact_trigger = 100;
    CHECK_OK(lsm_test_open(r->env, SIM_PATH, &options, &r->db, &err));
    for (int version = 0; version < VERSIONS; version++) {
        for (size_t i = 0; i < KEYS; i++) {
            if (i % 2 == 0 || version == 0) {
                put(r, i, version);
            }
        }
        if (version == STEPS) {
            CHECK_OK(lsmkv_snapshot_create(r->db, &r->early, &err));
        }
        if (flushed && version % 10 == 9) {
            CHECK_OK(lsmkv_flush(r->db, &err));
        }
    }
}

static void end_rows(rows *r) {
    lsmkv_snapshot_free(r->early);
    close_db(r->db);
    lsm_sim_destroy(r->env);
}

static uint8_t version_of(const lsmkv_iter *iter) {
    return *(const uint8_t *)lsmkv_iter_value(iter).data;
}

static void check_row(const lsmkv_iter *iter, size_t index, uint8_t version) {
    CHECK(lsmkv_iter_valid(iter));
    CHECK_EQ(((const char *)lsmkv_iter_key(iter).data)[0], (char)('a' + index));
    CHECK_EQ(version_of(iter), index % 2 == 0 ? version : 0);
}

LSM_TEST(a_key_of_many_versions_is_one_row_in_both_directions) {
    for (int flushed = 0; flushed < 2; flushed++) {
        rows r;
        begin_rows(&r, flushed != 0);
        for (int early = 0; early < 2; early++) {
            const lsmkv_read how = {.snapshot = early != 0 ? r.early : NULL};
            uint8_t version = early != 0 ? STEPS : VERSIONS - 1;
            lsmkv_iter *iter = NULL;
            lsmkv_error err;
            size_t seen = 0;

            CHECK_OK(lsmkv_iter_create(r.db, &how, NULL, &iter, &err));
            CHECK_OK(lsmkv_iter_seek_first(iter, &err));
            for (; lsmkv_iter_valid(iter); seen++) {
                check_row(iter, seen, version);
                CHECK_OK(lsmkv_iter_next(iter, &err));
            }
            CHECK_EQ(seen, KEYS);
            CHECK_OK(lsmkv_iter_seek_last(iter, &err));
            for (; lsmkv_iter_valid(iter); seen--) {
                check_row(iter, seen - 1, version);
                CHECK_OK(lsmkv_iter_prev(iter, &err));
            }
            CHECK_EQ(seen, 0);
            for (size_t i = 1; i + 1 < KEYS; i++) { /* there and back */
                char key[KEY_MAX];
                CHECK_OK(lsmkv_iter_seek(iter, key_at(key, i), &err));
                CHECK_OK(lsmkv_iter_next(iter, &err));
                CHECK_OK(lsmkv_iter_prev(iter, &err));
                check_row(iter, i, version);
                CHECK_OK(lsmkv_iter_prev(iter, &err));
                CHECK_OK(lsmkv_iter_next(iter, &err));
                check_row(iter, i, version);
            }
            lsmkv_iter_free(iter);
        }
        end_rows(&r);
    }
}

/* One of the walks that there are: how far it came before it failed. */
static lsmkv_status walk(lsmkv_iter *iter, int kind, size_t *at, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    char key[KEY_MAX];
    size_t middle = KEYS / 2;

    *at = 0;
    if (kind == 0) {
        LSM_TRY(lsmkv_iter_seek_first(iter, err));
    } else if (kind == 1) {
        LSM_TRY(lsmkv_iter_seek_last(iter, err));
    } else if (kind < 4) {
        LSM_TRY(lsmkv_iter_seek(iter, key_at(key, middle), err));
    } else {
        LSM_TRY(lsmkv_iter_seek_for_prev(iter, key_at(key, middle), err));
    }
    for (int step = 0; step < STEPS; step++) {
        bool forward = kind % 2 == 0 ? step % 4 != 3 : step % 4 == 3;
        CHECK(lsmkv_iter_valid(iter));
        *at = (size_t)(((const char *)lsmkv_iter_key(iter).data)[0] - 'a');
        LSM_TRY(forward ? lsmkv_iter_next(iter, err) : lsmkv_iter_prev(iter, err));
    }
    CHECK(lsmkv_iter_valid(iter));
    *at = (size_t)(((const char *)lsmkv_iter_key(iter).data)[0] - 'a');
out:
    return status;
}

/* The n-th read or allocation of a walk fails. false: it has no more. */
static bool fail_walk(rows *r, int kind, bool early, uint64_t n, bool reads) {
    const lsmkv_read how = {.snapshot = early ? r->early : NULL};
    lsmkv_iter *iter = NULL;
    lsmkv_error err;
    size_t whole;
    size_t found;

    CHECK_OK(lsmkv_iter_create(r->db, &how, NULL, &iter, &err));
    lsm_error_clear(&err);
    uint64_t before = lsm_alloc_count();
    if (reads) {
        lsm_sim_fail(r->env, LSM_SIM_READ, n, EIO, false);
    } else {
        lsm_alloc_fail_after(n, 1);
    }
    lsmkv_status status = walk(iter, kind, &found, &err);
    bool met =
        reads ? lsm_sim_failed_name(r->env)[0] != '\0' : lsm_alloc_count() - before > n;
    lsm_alloc_fail_never();
    lsm_sim_fail(r->env, LSM_SIM_READ, 0, 0, false);
    if (status != LSMKV_OK) {
        CHECK(met);
        CHECK_STATUS(status, reads ? LSMKV_IO_ERROR : LSMKV_NO_MEMORY);
        CHECK(!lsmkv_iter_valid(iter));
    }
    CHECK_OK(walk(iter, kind, &whole, &err)); /* the next seek forgets the failure */
    CHECK(status != LSMKV_OK || found == whole);
    lsmkv_iter_free(iter);
    return met;
}

LSM_TEST(a_move_that_fails_is_no_end_and_the_next_seek_forgets_it) {
    for (int what = 0; what < 4; what++) {
        bool reads = what % 2 == 1;
        rows r;
        begin_rows(&r, what / 2 == 1);
        for (int kind = 0; kind < 12; kind++) {
            uint64_t n = 0;
            while (fail_walk(&r, kind % 6, kind >= 6, n, reads)) {
                CHECK(n++ < PLACES_MAX);
            }
        }
        end_rows(&r);
    }
}
