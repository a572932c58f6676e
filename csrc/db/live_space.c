/* SPDX-License-Identifier: Apache-2.0
 *
 * See live_space.h.
 */
#include "db/live_space.h"

#include "base/alloc.h"
#include "db/cache_space.h"
#include "db/db.h"

void lsm_space_ref(lsm_space *space) {
    atomic_fetch_add_explicit(&space->refs, 1, memory_order_relaxed);
}

void lsm_space_unref(lsm_space *space) {
    /* acq_rel: the last one sees what the others did. */
    if (space != NULL &&
        atomic_fetch_sub_explicit(&space->refs, 1, memory_order_acq_rel) == 1) {
        lsm_space_counters_deinit(&space->counters);
        lsm_cache_space_destroy(space->cache);
        lsm_meaning *meaning = atomic_load(&space->meaning);
        while (meaning != NULL) {
            lsm_meaning *next = meaning->next;
            lsm_free(meaning);
            meaning = next;
        }
        lsm_free(space);
    }
}

void lsm_space_set_options(lsm_space *space, const lsmkv_space_options *options) {
    atomic_store(&space->default_ttl_ms, options->default_ttl_ms);
    atomic_store(&space->default_stale_ms, options->default_stale_ms);
    atomic_store(&space->blob_threshold_bytes, options->blob_threshold_bytes);
    atomic_store(&space->codec, options->codec);
    atomic_store(&space->codec_level, options->codec_level);
    atomic_store(&space->max_bytes, options->max_bytes);
}

void lsm_space_options(const lsm_space *space, lsmkv_space_options *options) {
    /* acquire: pairs with the release of who switches. */
    const lsm_meaning *meaning =
        atomic_load_explicit(&space->meaning, memory_order_acquire);

    if (meaning != NULL) {
        *options = meaning->options;
        return;
    }
    *options = (lsmkv_space_options){
        .default_ttl_ms = atomic_load(&space->default_ttl_ms),
        .default_stale_ms = atomic_load(&space->default_stale_ms),
        .blob_threshold_bytes = atomic_load(&space->blob_threshold_bytes),
        .codec = atomic_load(&space->codec),
        .codec_level = atomic_load(&space->codec_level),
        .vector_dim = space->vector_dim,
        .vector_dtype = space->vector_dtype,
        .vector_metric = space->vector_metric,
        .max_bytes = atomic_load(&space->max_bytes),
        .cache_policy = space->cache_policy,
    };
}

lsm_space *lsm_space_create(const lsm_space_definition *definition, lsmkv_error *err) {
    lsm_space *space = lsm_calloc(1, sizeof(*space));
    if (space == NULL) {
        (void)lsm_fail_memory(err, sizeof(*space));
        return NULL;
    }
    atomic_init(&space->refs, 1);
    space->id = definition->id;
    space->cache_policy = definition->options.cache_policy;
    space->sealed = definition->sealed;
    space->name = definition->name;
    lsm_space_set_options(space, &definition->options);
    space->vector_dim = definition->options.vector_dim;
    space->vector_dtype = definition->options.vector_dtype;
    space->vector_metric = definition->options.vector_metric;
    if (definition->options.max_bytes > 0) {
        space->cache = lsm_cache_space_create(definition->id,
                                              (uint64_t)definition->options.max_bytes);
        if (space->cache == NULL) {
            lsm_free(space);
            (void)lsm_fail_memory(err, sizeof(*space->cache));
            return NULL;
        }
    }
    return space;
}

void lsm_space_stats(lsmkv_db *db, lsm_space *space, lsmkv_space_stats *stats) {
    uint8_t ends[2][LSM_NAMESPACE_SIZE];

    lsm_put_u32_be(ends[0], space->id);
    lsm_put_u32_be(ends[1], space->id + 1);
    lsm_key_range range = {lsm_slice_make(ends[0], sizeof(ends[0])),
                           lsm_slice_make(ends[1], sizeof(ends[1])), true};
    lsm_space_counters_sum(&space->counters, stats);
    lsm_epoch_token token = lsm_epoch_enter(&db->epoch);
    stats->bytes = lsm_db_bytes(db, &range);
    lsm_epoch_leave(token);
}
