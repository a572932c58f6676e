/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: options of a namespace are taken within their limits only, the same at its
 * creation and later, and one with a codec that only another process has is usable.
 * Method: one option at a time; a definition put past the call that checks.
 */
#include "expiry_help.h"

#include "base/budget.h"
#include "base/limits.h"
#include "db/db.h"
#include "db/system_key.h"
#include "format/space.h"

enum { FOREIGN_CODEC = 4, ROWS = 1000 };

static lsmkv_status open_space(expiry_db *d, const char *name,
                               const lsmkv_namespace_how *how,
                               lsmkv_namespace **space) {
    lsmkv_error err;

    *space = NULL;
    return lsmkv_namespace_open(d->db, word_bytes(name), how, space, &err);
}

static const lsmkv_namespace_how out_of_range[] = {
    {.has_blob_threshold = true, .options = {.blob_threshold_bytes = -2}},
    {.has_blob_threshold = true,
     .options = {.blob_threshold_bytes = (int64_t)LSMKV_VALUE_SIZE_MAX + 1}},
    {.has_codec = true, .options = {.codec = -2}},
    {.has_codec = true, .options = {.codec = LSMKV_CODEC_COUNT}},
    {.has_max_bytes = true, .options = {.max_bytes = LSMKV_CACHE_BYTES_MIN - 1}},
    {.has_cache_policy = true, .options = {.cache_policy = LSMKV_CACHE_FIFO_REINSERT}},
    {.has_max_bytes = true,
     .has_cache_policy = true,
     .options = {.max_bytes = LSMKV_CACHE_BYTES_MIN}},
    {.has_vector = true,
     .options = {.vector_dim = LSMKV_VECTOR_DIM_MAX + 1,
                 .vector_dtype = 0,
                 .vector_metric = 0}},
    {.has_vector = true, .options = {.vector_dtype = 0, .vector_metric = -1}},
};

LSM_TEST(options_of_a_namespace_are_refused_out_of_range_also_when_altered) {
    expiry_db d;
    lsmkv_namespace *space = NULL;
    lsmkv_namespace *none = NULL;
    lsmkv_space_options found;

    expiry_begin(&d);
    CHECK_EQ(open_space(&d, "s", &(lsmkv_namespace_how){.create = true}, &space),
             LSMKV_OK);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(out_of_range); i++) {
        lsmkv_namespace_how how = out_of_range[i];
        how.create = true;
        CHECK_EQ(open_space(&d, "new", &how, &none), LSMKV_INVALID_ARGUMENT);
        how.alter = true;
        CHECK_EQ(open_space(&d, "s", &how, &none), LSMKV_INVALID_ARGUMENT);
        CHECK(none == NULL);
    }
    CHECK_EQ(open_space(&d, "new", NULL, &none), LSMKV_NOT_FOUND);
    lsmkv_namespace_options(space, &found);
    CHECK(found.blob_threshold_bytes == -1 && found.codec == -1);
    CHECK(found.max_bytes == 0 && found.cache_policy == 0 && found.vector_dim == 0);
    lsmkv_namespace_free(space);
    expiry_end(&d);
}

LSM_TEST(a_level_and_a_policy_of_its_own_last_and_nobody_alters_the_past) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_snapshot *snapshot = NULL;
    lsmkv_namespace *space = NULL;
    lsmkv_space_options found;
    lsmkv_namespace_how how = {.create = true,
                               .has_codec_level = true,
                               .has_max_bytes = true,
                               .has_cache_policy = true,
                               .options = {.codec_level = INT32_MIN,
                                           .max_bytes = LSMKV_CACHE_BYTES_MIN,
                                           .cache_policy = LSMKV_CACHE_FIFO_REINSERT}};

    expiry_begin(&d);
    CHECK_EQ(open_space(&d, "s", &how, &space), LSMKV_OK);
    lsmkv_namespace_free(space);
    CHECK_OK(lsmkv_snapshot_create(d.db, &snapshot, &err));
    lsmkv_namespace_how past = {.alter = true,
                                .has_codec_level = true,
                                .snapshot = snapshot,
                                .options = {.codec_level = 3}};
    CHECK_EQ(open_space(&d, "s", &past, &space), LSMKV_INVALID_ARGUMENT);
    lsmkv_snapshot_free(snapshot);
    expiry_reopen(&d);
    CHECK_EQ(open_space(&d, "s", NULL, &space), LSMKV_OK);
    lsmkv_namespace_options(space, &found);
    CHECK_EQ(found.codec_level, INT32_MIN);
    CHECK_EQ(found.cache_policy, LSMKV_CACHE_FIFO_REINSERT);
    lsmkv_namespace_free(space);
    how.alter = true;
    how.options.codec_level = INT32_MAX;
    CHECK_EQ(open_space(&d, "s", &how, &space), LSMKV_OK);
    lsmkv_namespace_free(space);
    expiry_reopen(&d);
    CHECK_EQ(open_space(&d, "s", NULL, &space), LSMKV_OK);
    lsmkv_namespace_options(space, &found);
    CHECK_EQ(found.codec_level, INT32_MAX);
    lsmkv_namespace_free(space);
    expiry_end(&d);
}

/* As a process with a codec of its own defined it; this one has none of that id. */
LSM_TEST(a_namespace_with_a_codec_of_another_process_is_written_without_one) {
    expiry_db d;
    lsmkv_error err;
    lsmkv_namespace *space = NULL;
    lsm_buf value = {0};
    lsm_batch batch;
    lsm_system_key key;
    lsmkv_pin pin;

    expiry_begin(&d);
    CHECK_EQ(open_space(&d, "s", &(lsmkv_namespace_how){.create = true}, &space),
             LSMKV_OK);
    lsm_space_definition definition = {.id = space->space->id,
                                       .options = LSM_SPACE_OPTIONS_NONE};
    definition.options.codec = FOREIGN_CODEC;
    CHECK(lsm_space_encode(&definition, &value));
    lsm_system_key_make(&key, LSM_SPACE_PREFIX, word_bytes("s"));
    lsm_batch_init(&batch);
    CHECK_OK(lsm_batch_put(&batch, LSM_NAMESPACE_SYSTEM, lsm_system_key_bytes(&key),
                           (lsmkv_bytes){value.data, value.size}, &err));
    CHECK_OK(lsm_system_commit(d.db, &batch, NULL, &err));
    lsm_batch_deinit(&batch);
    lsm_buf_deinit(&value);
    lsmkv_namespace_free(space);
    expiry_reopen(&d);
    CHECK_EQ(open_space(&d, "s", NULL, &space), LSMKV_OK);
    lsmkv_write into = {.space = space};
    for (int i = 0; i < ROWS; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%04d", i);
        CHECK_OK(lsmkv_put(d.db, &into, word_bytes(name), word_bytes("value"), &err));
    }
    lsmkv_namespace_free(space);
    expiry_flush(&d);
    expiry_reopen(&d);
    CHECK_EQ(open_space(&d, "s", NULL, &space), LSMKV_OK);
    lsmkv_read from = {.space = space};
    CHECK_OK(lsmkv_get(d.db, &from, word_bytes("0999"), &pin, &err));
    CHECK(word_is(pin.value, "value"));
    lsmkv_pin_release(&pin);
    lsmkv_namespace_free(space);
    expiry_end(&d);
}

LSM_TEST(a_database_that_is_not_trusted_may_have_so_many_namespaces) {
    const lsm_space_definition definition = {.id = LSM_SPACE_FIRST,
                                             .options = LSM_SPACE_OPTIONS_NONE};
    lsm_budget *budget = lsm_budget_create(1 << 20);
    lsm_catalog_next next = {.count = LSM_UNTRUSTED_SPACES_MAX};
    lsm_catalog_next few = {0};
    lsmkv_error err;

    CHECK(budget != NULL);
    lsm_budget *before = lsm_budget_enter(budget);
    lsmkv_status too_many = lsm_catalog_next_add(&next, &definition, &err);
    bool advises = strstr(err.message, LSM_LIMIT_ADVICE) != NULL;
    lsmkv_status one = lsm_catalog_next_add(&few, &definition, &err);
    lsm_catalog_next_deinit(&few);
    lsm_budget_leave(&before);
    lsm_budget_destroy(budget);
    CHECK_EQ(too_many, LSMKV_LIMIT_EXCEEDED);
    CHECK(advises);
    CHECK_EQ(one, LSMKV_OK);
}
