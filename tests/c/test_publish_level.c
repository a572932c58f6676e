/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a version finds its place also where tables lie across its keys at every level:
 * those are compacted until one is free. Method: a publish gets an id between those of
 * two namespaces that are then filled, so that tables of all sizes hold keys of both.
 */
#include "expiry_help.h"

#include <errno.h>

#include "db/publish.h"

enum {
    PUTS_MAX = 40000,
    VALUE_SIZE = 400,
    ROWS = 50,
    LEVEL_BYTES = 1024,
    L0_TRIGGER = 2
};

/* At how many levels below the first a table lies across the keys of a namespace. */
static uint32_t levels_taken(expiry_db *d, uint32_t id) {
    uint8_t bounds[8];
    uint32_t count = 0;

    lsm_put_u32_be(bounds, id);
    lsm_put_u32_be(bounds + 4, id + 1);
    lsm_key_range keys = {lsm_slice_make(bounds, 4), lsm_slice_make(bounds + 4, 4),
                          true};
    lsm_mutex_lock(&d->db->mu);
    for (uint32_t level = 1; level < LSMKV_LEVEL_COUNT; level++) {
        const lsm_level *at = &d->db->version->levels[level];
        bool taken = false;
        for (size_t i = 0; i < at->count; i++) {
            taken |= lsm_range_overlaps(keys, lsm_live_table_range(at->tables[i]));
        }
        count += taken;
    }
    lsm_mutex_unlock(&d->db->mu);
    return count;
}

/* Whether levels are ever too large, so that tables move on. */
static void let_compact(expiry_db *d, bool lets) {
    lsm_mutex_lock(&d->db->mu);
    d->db->options.level_base_bytes = lets ? LEVEL_BYTES : UINT64_C(1) << 40;
    d->db->options.l0_compact_trigger = lets ? L0_TRIGGER : 1000;
    lsm_mutex_unlock(&d->db->mu);
}

/* Whether they stay taken when what has begun ends and nothing begins any more. */
static bool stay_taken(expiry_db *d, uint32_t id) {
    if (levels_taken(d, id) < LSMKV_LEVEL_COUNT - 1) {
        return false;
    }
    let_compact(d, false);
    while (lsm_test_step(d->db, 100) > 0) {
    }
    bool stay = levels_taken(d, id) == LSMKV_LEVEL_COUNT - 1;
    let_compact(d, !stay);
    return stay;
}

/* Writes to both sides of a namespace until tables lie across it at all levels but the
 * first, which they do at some moments, and keeps it so. */
static void fill_until_taken(expiry_db *d, const lsmkv_namespace *below,
                             const lsmkv_namespace *above, uint32_t id) {
    char value[VALUE_SIZE];
    char key[16];
    lsmkv_error err;
    uint32_t i = 0;

    memset(value, 'x', sizeof(value));
    for (; i < PUTS_MAX && !stay_taken(d, id); i++) {
        lsmkv_write how = {.space = i % 2 == 0 ? below : above};
        int size = snprintf(key, sizeof(key), "%08u", i * 7919 % 20011);
        CHECK_OK(lsmkv_put(d->db, &how, (lsmkv_bytes){key, (size_t)size},
                           (lsmkv_bytes){value, sizeof(value)}, &err));
        (void)lsm_test_step(d->db, 4);
    }
    CHECK(i < PUTS_MAX);
}

/* Small levels, so that there are many. */
static void begin(expiry_db *d) {
    lsmkv_error err;
    lsmkv_options options;

    d->env = lsm_sim_create(5);
    CHECK(d->env != NULL);
    lsmkv_options_init(&options);
    options.memtable_bytes = 16 << 10;
    options.table_bytes = 64 << 10;
    options.level_base_bytes = LEVEL_BYTES;
    options.level_multiplier = 2;
    options.l0_compact_trigger = L0_TRIGGER;
    options.seed = 7;
    CHECK_OK(lsm_test_open(d->env, "db", &options, &d->db, &err));
}

static void open_space(expiry_db *d, const char *name, lsmkv_namespace **space) {
    lsmkv_namespace_how how = {.create = true};
    lsmkv_error err;

    CHECK_OK(lsmkv_namespace_open(d->db, word_bytes(name), &how, space, &err));
}

static void check_rows(expiry_db *d) {
    lsmkv_namespace *space = NULL;
    lsmkv_error err;
    lsmkv_iter *iter = NULL;
    size_t count = 0;

    CHECK_OK(lsmkv_published_open(d->db, word_bytes("n"), word_bytes(""), NULL, &space,
                                  &err));
    lsmkv_read read = {.space = space};
    CHECK_OK(lsmkv_iter_create(d->db, &read, NULL, &iter, &err));
    CHECK_OK(lsmkv_iter_seek_first(iter, &err));
    for (; lsmkv_iter_valid(iter); count++) {
        CHECK_OK(lsmkv_iter_next(iter, &err));
    }
    CHECK_EQ(count, ROWS);
    lsmkv_iter_free(iter);
    lsmkv_namespace_free(space);
}

static lsmkv_publish *begun(expiry_db *d, const char *name) {
    lsmkv_publish *publish = NULL;
    lsmkv_error err;

    CHECK_OK(lsmkv_publish_begin(d->db, word_bytes(name), word_bytes("1"), NULL,
                                 &publish, &err));
    return publish;
}

static void put_rows(lsmkv_publish *publish) {
    lsmkv_error err;

    for (int i = 0; i < ROWS; i++) {
        char key[16];
        int size = snprintf(key, sizeof(key), "%04d", i);
        lsmkv_pair pair = {{key, (size_t)size}, {key, (size_t)size}};
        CHECK_OK(lsmkv_publish_put(publish, NULL, &pair, 1, &err));
    }
}

LSM_TEST(a_publish_finds_a_place_where_every_level_is_taken) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_report report;
    lsmkv_namespace *below = NULL;
    lsmkv_namespace *above = NULL;
    char name[LSM_NAME_SIZE_MAX];

    begin(&d);
    open_space(&d, "below", &below);
    lsmkv_publish *publish = begun(&d, "n");
    lsmkv_publish *unlucky = begun(&d, "m");
    open_space(&d, "above", &above);
    uint32_t id = publish->record.space.id;
    put_rows(publish);
    put_rows(unlucky);
    fill_until_taken(&d, below, above, id);
    CHECK_OK(lsmkv_flush(d.db, &err));
    CHECK_EQ(levels_taken(&d, id), LSMKV_LEVEL_COUNT - 1);
    lsm_sim_fail(d.env, LSM_SIM_READ, 0, EIO, true); /* that of the compactions */
    CHECK_STATUS(lsmkv_publish_commit(unlucky, &err), LSMKV_IO_ERROR);
    lsm_sim_fail(d.env, LSM_SIM_READ, 0, 0, false);
    lsmkv_publish_free(unlucky);
    CHECK_EQ(levels_taken(&d, id), LSMKV_LEVEL_COUNT - 1);
    CHECK_OK(lsmkv_publish_commit(publish, &err));
    lsmkv_publish_free(publish);
    check_rows(&d);
    CHECK_OK(lsmkv_verify(d.db, NULL, NULL, &report, &err));
    CHECK_EQ(report.problem_count, 0);
    lsmkv_namespace_free(below);
    lsmkv_namespace_free(above);
    expiry_crash(&d, false);
    check_rows(&d);
    CHECK(lsm_test_files_match(d.db, name));
    expiry_end(&d);
}
