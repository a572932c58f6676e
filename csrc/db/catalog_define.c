/* SPDX-License-Identifier: Apache-2.0
 *
 * Creating, altering, dropping and listing namespaces. Definitions are read back from
 * the system namespace each time that they are asked for, as of a snapshot or now.
 */
#include "base/assert.h"
#include "base/mutant.h"
#include "db/cache_space.h"
#include "db/catalog.h"
#include "db/db.h"
#include "db/system_key.h"
#include "format/codec.h"
#include "format/space.h"

static lsmkv_status read_definition(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                                    lsmkv_bytes name, lsm_space_definition *definition,
                                    lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_buf value = {0};
    lsm_system_key key;

    lsm_system_key_make(&key, LSM_SPACE_PREFIX, name);
    LSM_TRY(lsm_system_read(db, snapshot, &key, &value, err));
    LSM_TRY(lsm_space_decode(lsm_buf_slice(&value), definition, err));
    definition->name = lsm_space_name_make(name);
out:
    lsm_buf_deinit(&value);
    return status;
}

/* The namespace that a table ends in. */
static uint32_t last_id(const lsm_live_table *table) {
    lsm_key_range range = lsm_live_table_range(table);

    /* unreachable: whoever says the bounds of a table has them checked */
    if (range.largest.size < LSM_NAMESPACE_SIZE) {
        return LSM_NAMESPACE_SYSTEM;
    }
    uint32_t id = lsm_get_u32_be(range.largest.data);
    return range.exclusive && range.largest.size == LSM_NAMESPACE_SIZE ? id - 1 : id;
}

/* The largest id that a namespace or a table has: a repair may have lost the key that
 * counts them, or its newest version, and what a lost namespace holds must not show in
 * a new one. */
static uint32_t largest_id(lsmkv_db *db) {
    uint32_t largest = LSM_SPACE_FIRST - 1;

    lsm_mutex_lock(&db->mu);
    if (db->space_count > 0) { /* they are in order */
        largest = db->spaces[db->space_count - 1]->id;
    }
    for (size_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        const lsm_level *level = &db->version->levels[i];
        for (size_t k = 0; k < level->count; k++) {
            uint32_t id = last_id(level->tables[k]);
            largest = id > largest && id <= LSM_SPACE_LAST ? id : largest;
        }
    }
    lsm_mutex_unlock(&db->mu);
    return largest;
}

lsmkv_status lsm_catalog_next_id(lsmkv_db *db, uint32_t *id, lsmkv_error *err) {
    lsm_buf value = {0};
    lsm_system_key key;

    lsm_system_key_make(&key, LSM_NEXT_SPACE_KEY, (lsmkv_bytes){NULL, 0});
    lsmkv_status status = lsm_system_read(db, NULL, &key, &value, err);
    *id = LSM_SPACE_FIRST;
    if (status == LSMKV_OK && value.size != 4) {
        status = lsm_fail(err, LSMKV_CORRUPTION, "the next namespace in %zu bytes",
                          value.size);
    } else if (status == LSMKV_OK) {
        *id = lsm_get_u32(value.data);
    } else if (status == LSMKV_NOT_FOUND) {
        status = LSMKV_OK;
    }
    uint32_t largest = largest_id(db);
    *id = *id > largest && !LSM_MUTANT(NAMESPACE_ID_REUSED) ? *id : largest + 1;
    if (status == LSMKV_OK && *id > LSM_SPACE_LAST) {
        status = lsm_fail(err, LSMKV_LIMIT_EXCEEDED, "no namespace ids are left");
    }
    lsm_buf_deinit(&value);
    return status;
}

static lsmkv_status put_definition(lsm_batch *batch,
                                   const lsm_space_definition *definition,
                                   lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_buf value = {0};
    lsm_system_key key;

    lsm_system_key_make(&key, LSM_SPACE_PREFIX,
                        lsm_space_name_bytes(&definition->name));
    if (!lsm_space_encode(definition, &value)) {
        LSM_TRY(lsm_fail_memory(err, value.size));
    }
    status = lsm_batch_put(batch, LSM_NAMESPACE_SYSTEM, lsm_system_key_bytes(&key),
                           (lsmkv_bytes){value.data, value.size}, err);
out:
    lsm_buf_deinit(&value);
    return status;
}

lsmkv_status lsm_catalog_commit_new(lsmkv_db *db, lsm_batch *batch,
                                    const lsm_space_definition *definition,
                                    lsm_space **spacep, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_space *space = NULL;
    uint8_t next[4];
    lsm_system_key key;

    lsm_put_u32(next, definition->id + 1);
    lsm_system_key_make(&key, LSM_NEXT_SPACE_KEY, (lsmkv_bytes){NULL, 0});
    LSM_TRY(lsm_batch_put(batch, LSM_NAMESPACE_SYSTEM, lsm_system_key_bytes(&key),
                          (lsmkv_bytes){next, sizeof(next)}, err));
    space = lsm_space_create(definition, err);
    lsm_mutex_lock(&db->mu);
    bool ok = space != NULL && lsm_catalog_reserve_locked(db);
    lsm_mutex_unlock(&db->mu);
    if (!ok) {
        LSM_TRY(lsm_fail_memory(err, sizeof(*space)));
    }
    if (space->cache != NULL) {
        /* unreachable: no test may use up the threads of the system */
        LSM_TRY(lsm_scheduler_start_evictor(db, err));
    }
    LSM_TRY(lsm_system_commit(db, batch, NULL, err));
    lsm_mutex_lock(&db->mu);
    lsm_catalog_insert_locked(db, space);
    lsm_mutex_unlock(&db->mu);
    lsm_space_ref(space); /* one for the list, one for the caller */
    *spacep = space;
    space = NULL;
out:
    lsm_space_unref(space);
    return status;
}

static lsmkv_status create(lsmkv_db *db, lsmkv_bytes name,
                           const lsmkv_space_options *options, lsm_space **spacep,
                           lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_space_definition definition = {.name = lsm_space_name_make(name),
                                       .options = *options};
    lsm_batch batch;

    lsm_batch_init(&batch);
    LSM_TRY(lsm_catalog_next_id(db, &definition.id, err));
    LSM_TRY(put_definition(&batch, &definition, err));
    status = lsm_catalog_commit_new(db, &batch, &definition, spacep, err);
out:
    lsm_batch_deinit(&batch);
    return status;
}

/* What was given over what there is. */
static lsmkv_space_options merge_options(const lsmkv_namespace_how *how,
                                         lsmkv_space_options options) {
    if (how->has_default_ttl) {
        options.default_ttl_ms =
            how->options.default_ttl_ms < 0 ? 0 : how->options.default_ttl_ms;
    }
    if (how->has_default_stale) {
        options.default_stale_ms =
            how->options.default_stale_ms < 0 ? 0 : how->options.default_stale_ms;
    }
    if (how->has_blob_threshold) {
        options.blob_threshold_bytes = how->options.blob_threshold_bytes;
    }
    if (how->has_codec) {
        options.codec = how->options.codec;
    }
    if (how->has_codec_level) {
        options.codec_level = how->options.codec_level;
    }
    if (how->has_vector) {
        options.vector_dim = how->options.vector_dim;
        options.vector_dtype = how->options.vector_dtype;
        options.vector_metric = how->options.vector_metric;
    }
    if (how->has_max_bytes) {
        options.max_bytes = how->options.max_bytes;
    }
    if (how->has_cache_policy) {
        options.cache_policy = how->options.cache_policy;
    } else if (options.max_bytes > 0 && options.cache_policy == 0) {
        options.cache_policy = LSMKV_CACHE_FIFO_REINSERT;
    }
    return options;
}

typedef struct option_change {
    const char *name; /* NULL: there is none */
    int64_t is, asked;
} option_change;

/* The first option that is not as asked for. */
static option_change find_change(const lsmkv_space_options *is,
                                 const lsmkv_space_options *asked) {
    const option_change options[] = {
        {"default_ttl_ms", is->default_ttl_ms, asked->default_ttl_ms},
        {"default_stale_ms", is->default_stale_ms, asked->default_stale_ms},
        {"blob_threshold_bytes", is->blob_threshold_bytes, asked->blob_threshold_bytes},
        {"codec", is->codec, asked->codec},
        {"codec_level", is->codec_level, asked->codec_level},
        {"max_bytes", is->max_bytes, asked->max_bytes},
        {"cache_policy", is->cache_policy, asked->cache_policy},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(options); i++) {
        if (options[i].is != options[i].asked) {
            return options[i];
        }
    }
    return (option_change){0};
}

static bool cache_options_fit(const lsmkv_space_options *options) {
    return options->max_bytes == 0
               ? options->cache_policy == 0
               : options->max_bytes >= LSMKV_CACHE_BYTES_MIN &&
                     options->cache_policy == LSMKV_CACHE_FIFO_REINSERT;
}

static lsmkv_status check_options(const lsmkv_space_options *options,
                                  lsmkv_error *err) {
    if (options->blob_threshold_bytes < -1 ||
        options->blob_threshold_bytes > LSMKV_VALUE_SIZE_MAX || options->codec < -1 ||
        options->codec >= LSMKV_CODEC_COUNT || !lsm_space_vector_check(options)) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "an option of the namespace is out of range");
    }
    if (!cache_options_fit(options)) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "max_bytes is %lld, the policy %d: a cache has %d bytes or "
                        "more, and a policy",
                        (long long)options->max_bytes, (int)options->cache_policy,
                        LSMKV_CACHE_BYTES_MIN);
    }
    return options->codec > 0 ? lsm_codec_check((uint32_t)options->codec, err)
                              : LSMKV_OK;
}

lsmkv_status lsm_catalog_options(const lsmkv_namespace_how *how,
                                 lsmkv_space_options *options, lsmkv_error *err) {
    *options = merge_options(how, LSM_SPACE_OPTIONS_NONE);
    return check_options(options, err);
}

/* Gives a namespace other options. */
static lsmkv_status alter(lsmkv_db *db, const lsm_space_definition *definition,
                          lsm_space *space, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_batch batch;

    lsm_batch_init(&batch);
    LSM_TRY(put_definition(&batch, definition, err));
    LSM_TRY(lsm_system_commit(db, &batch, NULL, err));
    lsm_space_set_options(space, &definition->options);
    if (space->cache != NULL) {
        lsm_cache_space_alter(db, space->cache,
                              (uint64_t)definition->options.max_bytes);
    }
    lsm_mutex_lock(&db->mu);
    lsm_catalog_count_codecs_locked(db);
    lsm_mutex_unlock(&db->mu);
out:
    lsm_batch_deinit(&batch);
    return status;
}

static lsmkv_status open_existing(lsmkv_db *db, const lsmkv_namespace_how *how,
                                  lsm_space_definition *definition, lsm_space **spacep,
                                  lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_space_options wanted = merge_options(how, definition->options);
    lsm_space *space = lsm_catalog_find(db, definition->id);

    if (space == NULL && how->snapshot != NULL) {
        /* Dropped since: what the snapshot sees of it can still be read. */
        space = lsm_space_create(definition, err);
        status = space != NULL ? LSMKV_OK : lsm_memory_status(err);
        LSM_TRY(status);
        atomic_store(&space->dropped, true);
    } else if (space == NULL) {
        LSM_TRY(lsm_fail(err, LSMKV_CORRUPTION, "namespace %u is not on the list",
                         definition->id));
    }
    if (!lsm_space_vector_same(&wanted, &definition->options)) {
        LSM_TRY(lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                         "the namespace was created for other vectors, or for none"));
    }
    option_change change = find_change(&definition->options, &wanted);
    if (change.name != NULL) {
        if (!how->alter || how->snapshot != NULL) {
            LSM_TRY(lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                             "%s of the namespace is %lld, and %lld was asked for: "
                             "leave it out, or ask for it to be altered",
                             change.name, (long long)change.is,
                             (long long)change.asked));
        }
        LSM_TRY(check_options(&wanted, err));
        if ((wanted.max_bytes > 0) != (definition->options.max_bytes > 0)) {
            LSM_TRY(lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                             "a namespace is a cache from its creation on, or never: "
                             "copy it into a new one"));
        }
        definition->options = wanted;
        LSM_TRY(alter(db, definition, space, err));
    }
    *spacep = space;
    space = NULL;
out:
    lsm_space_unref(space);
    return status;
}

static lsmkv_status check_name(lsmkv_bytes name, lsmkv_error *err) {
    return lsm_space_name_check(name)
               ? LSMKV_OK
               : lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                          "the name of a namespace is 1 to %d bytes of UTF-8",
                          LSM_SPACE_NAME_MAX);
}

lsmkv_status lsm_catalog_open(lsmkv_db *db, lsmkv_bytes name,
                              const lsmkv_namespace_how *how, lsm_space **spacep,
                              lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_space_definition definition;
    const lsmkv_namespace_how plain = {0};

    how = how != NULL ? how : &plain;
    *spacep = NULL;
    LSM_TRY(check_name(name, err));
    lsm_mutex_lock(&db->catalog_mu);
    status = read_definition(db, how->snapshot, name, &definition, err);
    if (status == LSMKV_OK) {
        status = open_existing(db, how, &definition, spacep, err);
    } else if (status == LSMKV_NOT_FOUND && how->create && how->snapshot == NULL) {
        lsmkv_space_options wanted;
        status = lsm_catalog_options(how, &wanted, err);
        if (status == LSMKV_OK) {
            status = create(db, name, &wanted, spacep, err);
        }
    }
    lsm_mutex_unlock(&db->catalog_mu);
out:
    return status;
}

/* With catalog_mu. */
static lsmkv_status drop(lsmkv_db *db, lsmkv_bytes name, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_space_definition definition;
    lsm_space *space = NULL;
    lsm_batch batch;
    lsm_system_key key;

    lsm_batch_init(&batch);
    lsm_system_key_make(&key, LSM_SPACE_PREFIX, name);
    LSM_TRY(read_definition(db, NULL, name, &definition, err));
    space = lsm_catalog_find(db, definition.id);
    if (space == NULL) {
        LSM_TRY(lsm_fail(err, LSMKV_CORRUPTION, "namespace %u is not on the list",
                         definition.id));
    }
    LSM_TRY(lsm_batch_delete(&batch, LSM_NAMESPACE_SYSTEM, lsm_system_key_bytes(&key),
                             err));
    if (!LSM_MUTANT(DROP_LEAVES_ROWS)) {
        LSM_TRY(lsm_batch_delete_range(&batch, definition.id, NULL, err));
    }
    if (space->cache != NULL) {
        LSM_TRY(lsm_cache_forget_pins(definition.id, &batch, err));
    }
    LSM_TRY(lsm_system_commit(db, &batch, space, err));
    if (space->cache != NULL) {
        lsm_cache_space_drop(db, space->cache);
    }
out:
    lsm_space_unref(space);
    lsm_batch_deinit(&batch);
    return status;
}

lsmkv_status lsm_catalog_drop(lsmkv_db *db, lsmkv_bytes name, lsmkv_error *err) {
    lsmkv_status status = check_name(name, err);
    if (status == LSMKV_OK) {
        lsm_mutex_lock(&db->catalog_mu);
        status = drop(db, name, err);
        lsm_mutex_unlock(&db->catalog_mu);
    }
    return status;
}

typedef struct listing {
    lsmkv_namespace_fn callback;
    void *context;
} listing;

static lsmkv_status list_definition(void *context, lsm_slice name, lsm_slice value,
                                    lsmkv_error *err) {
    const listing *to = context;
    lsm_space_definition definition;
    lsmkv_status status = lsm_space_decode(value, &definition, err);

    if (status == LSMKV_OK) {
        to->callback(to->context, (lsmkv_bytes){name.data, name.size},
                     &definition.options);
    }
    return status;
}

lsmkv_status lsm_catalog_list(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                              lsmkv_namespace_fn callback, void *context,
                              lsmkv_error *err) {
    listing to = {callback, context};
    return lsm_system_walk(db, snapshot, LSM_SPACE_PREFIX, list_definition, &to, err);
}
