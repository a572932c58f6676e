/* SPDX-License-Identifier: Apache-2.0
 *
 * A database that has one of everything that the public calls work on.
 */
#ifndef LSM_TESTS_CALLS_HELP_H
#define LSM_TESTS_CALLS_HELP_H

#include "db_help.h"
#include "sim_help.h"

#include "api/testing.h"

enum { ROW_BYTES = 8, VALUE_SIZE = 2000 };

/* A database and one of everything that belongs to it. */
typedef struct all {
    lsm_env *env;
    lsmkv_db *db;
    lsmkv_namespace *space;
    lsmkv_namespace *cache;
    lsmkv_namespace *published;
    lsmkv_snapshot *snapshot;
    lsmkv_iter *iter;
    lsmkv_batch *batch;
    lsmkv_publish *publish;
    const lsmkv_namespace *used_space; /* of a call; NULL: none */
    const lsmkv_snapshot *used_snapshot;
} all;

static inline void open_spaces(all *a) {
    lsmkv_namespace_how plain = {.create = true};
    lsmkv_namespace_how cache = {.create = true,
                                 .has_max_bytes = true,
                                 .options = {.max_bytes = LSMKV_CACHE_BYTES_MIN}};
    lsmkv_pair pair = {bytes_of("key"), bytes_of("value 8b")};
    lsmkv_publish *publish = NULL;
    lsmkv_error err;

    CHECK_OK(lsmkv_namespace_open(a->db, bytes_of("space"), &plain, &a->space, &err));
    CHECK_OK(lsmkv_namespace_open(a->db, bytes_of("cache"), &cache, &a->cache, &err));
    CHECK_OK(lsmkv_publish_begin(a->db, bytes_of("name"), bytes_of("1"), NULL, &publish,
                                 &err));
    CHECK_OK(lsmkv_publish_put(publish, NULL, &pair, 1, &err));
    CHECK_OK(lsmkv_publish_commit(publish, &err));
    lsmkv_publish_free(publish);
    CHECK_OK(lsmkv_published_open(a->db, bytes_of("name"), bytes_of(""), NULL,
                                  &a->published, &err));
}

static inline void begin(all *a) {
    static const uint8_t value[VALUE_SIZE] = {7};
    lsmkv_options options;
    lsmkv_error err;

    *a = (all){.env = lsm_sim_create(3)};
    CHECK(a->env != NULL);
    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.blob_threshold_bytes = VALUE_SIZE;
    options.seed = 1;
    CHECK_OK(lsm_test_open(a->env, SIM_PATH, &options, &a->db, &err));
    open_spaces(a);
    lsmkv_write in_cache = {.space = a->cache};
    lsmkv_write in_space = {.space = a->space};
    CHECK_OK(lsmkv_put(a->db, NULL, bytes_of("key"), bytes_of("value 8b"), &err));
    CHECK_OK(lsmkv_put(a->db, NULL, bytes_of("large"), (lsmkv_bytes){value, VALUE_SIZE},
                       &err));
    CHECK_OK(lsmkv_put(a->db, &in_space, bytes_of("key"), bytes_of("value 8b"), &err));
    CHECK_OK(lsmkv_put(a->db, &in_cache, bytes_of("key"), bytes_of("value 8b"), &err));
    CHECK_OK(lsmkv_flush(a->db, &err));
    CHECK_OK(lsmkv_snapshot_create(a->db, &a->snapshot, &err));
    CHECK_OK(lsmkv_iter_create(a->db, NULL, NULL, &a->iter, &err));
    CHECK_OK(lsmkv_iter_seek_first(a->iter, &err));
    CHECK_OK(lsmkv_batch_create(&a->batch, &err));
    CHECK_OK(
        lsmkv_batch_put(a->batch, NULL, bytes_of("key"), bytes_of("value 8b"), &err));
    CHECK_OK(lsmkv_publish_begin(a->db, bytes_of("name"), bytes_of("2"), NULL,
                                 &a->publish, &err));
}

static inline void end(all *a) {
    lsmkv_publish_free(a->publish);
    lsmkv_batch_free(a->batch);
    lsmkv_iter_free(a->iter);
    lsmkv_snapshot_free(a->snapshot);
    lsmkv_namespace_free(a->published);
    lsmkv_namespace_free(a->cache);
    lsmkv_namespace_free(a->space);
    close_db(a->db);
    lsm_sim_destroy(a->env);
}

#endif
