/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a sync of all logs and a flush that seals one of them wait for each other,
 * whoever comes first, and both go through. Method: a real directory below an
 * environment that holds the sync or the cutting of a log until the other has begun.
 */
#include "db_help.h"
#include "gate_help.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/db.h"
#include "env/sync.h"

enum { LARGE = 2000, KEYS = 10, PAUSE_US = 5000 };

/* Where somebody can be held: both are done to logs, by whoever syncs or seals. */
enum { AT_SYNC = NOWHERE + 1, AT_TRUNCATE };

static void pass(int place, const lsm_file *file) {
    if (strstr(file->name, ".log") != NULL) {
        gate_pass(place);
    }
}

static int gated_sync(lsm_file *file) {
    pass(AT_SYNC, file);
    return lsm_env_posix()->ops->file_sync(file);
}

static int gated_truncate(lsm_file *file, uint64_t size) {
    pass(AT_TRUNCATE, file);
    return lsm_env_posix()->ops->file_truncate(file, size);
}

typedef struct scene {
    char path[256];
    lsmkv_db *db;
    lsmkv_status status; /* of the other thread */
} scene;

static lsmkv_bytes key_of(char to[16], int number) {
    return (lsmkv_bytes){to, (size_t)snprintf(to, 16, "key%03d", number)};
}

static void open_it(scene *s) {
    lsmkv_options options;
    lsmkv_error err;

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.blob_threshold_bytes = LARGE;
    CHECK_OK(lsm_test_open(&gate.env, s->path, &options, &s->db, &err));
}

/* No job starts before then. */
static void retry_at(scene *s, uint64_t us) {
    lsm_mutex_lock(&s->db->mu);
    s->db->retry_at_us = us;
    lsm_cond_broadcast(&s->db->work);
    lsm_mutex_unlock(&s->db->mu);
}

/* A memtable of large values, whose log is to be sealed, waits for its flush. */
static void begin(scene *s) {
    static const uint8_t value[LARGE] = {1};
    lsmkv_error err;
    char key[16];

    *s = (scene){.status = LSMKV_CLOSED};
    gate_begin();
    gate.ops.file_sync = gated_sync;
    gate.ops.file_truncate = gated_truncate;
    (void)snprintf(s->path, sizeof(s->path), "%s/lsmkv-seal-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(s->path) != NULL);
    open_it(s);
    retry_at(s, UINT64_MAX);
    for (int i = 0; i < KEYS; i++) {
        CHECK_OK(
            lsmkv_put(s->db, NULL, key_of(key, i), (lsmkv_bytes){value, LARGE}, &err));
    }
    CHECK_OK(lsm_db_rotate(s->db, &err));
    CHECK_OK(lsmkv_put(s->db, NULL, key_of(key, KEYS), (lsmkv_bytes){"x", 1}, &err));
}

static void sync_it(void *context) {
    scene *s = context;
    lsmkv_error err;

    s->status = lsmkv_sync(s->db, &err);
}

static void end(scene *s) {
    lsmkv_error err;
    char key[16];
    lsmkv_pin pin;

    CHECK_OK(lsmkv_flush(s->db, &err));
    lsm_test_abandon(s->db);
    open_it(s);
    for (int i = 0; i <= KEYS; i++) {
        CHECK_OK(lsmkv_get(s->db, NULL, key_of(key, i), &pin, &err));
        CHECK_EQ(pin.value.size, i < KEYS ? LARGE : 1);
        lsmkv_pin_release(&pin);
    }
    close_db(s->db);
    CHECK_OK(lsmkv_destroy(s->path, &err));
}

LSM_TEST(a_sync_waits_for_the_log_that_is_being_sealed) {
    lsm_thread thread;
    scene s;

    begin(&s);
    gate_close(AT_TRUNCATE);
    retry_at(&s, 0);
    gate_await();
    CHECK(lsm_thread_start(&thread, sync_it, &s, "sync"));
    lsm_sleep_us(PAUSE_US); /* to come so far in */
    CHECK_EQ(s.db->counters.sync_count, 0);
    gate_open();
    lsm_thread_join(&thread);
    CHECK_EQ(s.status, LSMKV_OK);
    end(&s);
}

LSM_TEST(a_log_is_sealed_behind_the_sync_of_it) {
    lsm_thread thread;
    scene s;

    begin(&s);
    gate_close(AT_SYNC);
    CHECK(lsm_thread_start(&thread, sync_it, &s, "sync"));
    gate_await();
    retry_at(&s, 0);
    lsm_sleep_us(PAUSE_US); /* to come so far in */
    CHECK_EQ(s.db->counters.flush_count, 0);
    gate_open();
    lsm_thread_join(&thread);
    CHECK_EQ(s.status, LSMKV_OK);
    end(&s);
}
