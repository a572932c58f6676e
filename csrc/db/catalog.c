/* SPDX-License-Identifier: Apache-2.0
 *
 * The namespaces in memory, by ids: looked up on every write, and exchanged as a whole
 * by an open and by the refresh of a follower.
 */
#include "db/catalog.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "db/db.h"
#include "db/published.h"
#include "db/system_key.h"
#include "format/codec.h"
#include "format/space.h"

/* Where an id is on the list, or belongs. */
static size_t place_of_locked(const lsmkv_db *db, uint32_t id) LSM_REQUIRES(db->mu) {
    size_t low = 0;
    size_t high = db->space_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (db->spaces[middle]->id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

lsm_space *lsm_catalog_find_locked(const lsmkv_db *db, uint32_t id) {
    size_t place = place_of_locked(db, id);
    return place < db->space_count && db->spaces[place]->id == id ? db->spaces[place]
                                                                  : NULL;
}

bool lsm_catalog_knows_locked(const lsmkv_db *db, const lsm_batch *batch) {
    for (size_t i = 0; i < batch->space_count; i++) {
        if (lsm_catalog_find_locked(db, batch->spaces[i]) == NULL) {
            return false;
        }
    }
    return true;
}

bool lsm_catalog_reserve_locked(lsmkv_db *db) {
    void *spaces = db->spaces;
    bool ok = lsm_grow(&spaces, &db->space_capacity, db->space_count + 1,
                       sizeof(*db->spaces));
    db->spaces = spaces;
    return ok;
}

void lsm_catalog_count_codecs_locked(lsmkv_db *db) {
    uint32_t count = 0;
    for (size_t i = 0; i < db->space_count; i++) {
        count += atomic_load(&db->spaces[i]->codec) >= 0;
    }
    atomic_store(&db->coded_spaces, count);
}

void lsm_catalog_insert_locked(lsmkv_db *db, lsm_space *space) {
    size_t place = place_of_locked(db, space->id);
    memmove(db->spaces + place + 1, db->spaces + place,
            (db->space_count - place) * sizeof(*db->spaces));
    db->spaces[place] = space;
    db->space_count += 1;
    lsm_catalog_count_codecs_locked(db);
}

void lsm_catalog_remove_locked(lsmkv_db *db, lsm_space *space) {
    size_t place = place_of_locked(db, space->id);
    atomic_store(&space->dropped, true);
    db->space_count -= 1;
    memmove(db->spaces + place, db->spaces + place + 1,
            (db->space_count - place) * sizeof(*db->spaces));
    lsm_catalog_count_codecs_locked(db);
    lsm_space_unref(space); /* the dropper holds another */
}

uint32_t lsm_catalog_codec(void *context, uint32_t id, int *level) {
    lsmkv_db *db = context;
    uint32_t codec = db->options.codec;
    *level = db->options.codec_level;
    lsm_mutex_lock(&db->mu);
    const lsm_space *space = lsm_catalog_find_locked(db, id);
    int32_t own = space != NULL ? atomic_load(&space->codec) : -1;
    if (own >= 0) {
        codec = (uint32_t)own;
        *level = atomic_load(&space->codec_level);
    }
    lsm_mutex_unlock(&db->mu);
    /* Of another process, which had it; this one does without. */
    return lsm_codec_check(codec, NULL) == LSMKV_OK ? codec : LSMKV_CODEC_NONE;
}

lsm_space *lsm_catalog_find(lsmkv_db *db, uint32_t id) {
    lsm_mutex_lock(&db->mu);
    lsm_space *space = lsm_catalog_find_locked(db, id);
    if (space != NULL) {
        lsm_space_ref(space);
    }
    lsm_mutex_unlock(&db->mu);
    return space;
}

static int compare_names(const void *a, const void *b) {
    const lsm_space_name *left = &(*(lsm_space *const *)a)->name;
    const lsm_space_name *right = &(*(lsm_space *const *)b)->name;

    return lsm_slice_compare(lsm_slice_make(left->bytes, left->size),
                             lsm_slice_make(right->bytes, right->size));
}

lsm_space **lsm_catalog_living(lsmkv_db *db, size_t *count) {
    *count = 0;
    lsm_mutex_lock(&db->mu);
    lsm_space **spaces = lsm_calloc(db->space_count + 1, sizeof(*spaces));
    for (size_t i = 0; spaces != NULL && i < db->space_count; i++) {
        if (db->spaces[i]->name.size > 0) {
            spaces[*count] = db->spaces[i];
            lsm_space_ref(spaces[*count]);
            *count += 1;
        }
    }
    lsm_mutex_unlock(&db->mu);
    if (*count > 1) {
        qsort(spaces, *count, sizeof(*spaces), compare_names);
    }
    return spaces;
}

lsmkv_status lsm_catalog_list_stats(lsmkv_db *db, lsmkv_space_stats_fn callback,
                                    void *context, lsmkv_error *err) {
    size_t count;
    lsm_space **spaces = lsm_catalog_living(db, &count);

    if (spaces == NULL) {
        return lsm_fail_memory(err, sizeof(*spaces));
    }
    for (size_t i = 0; i < count; i++) {
        lsmkv_space_stats stats;
        lsm_space_stats(db, spaces[i], &stats);
        callback(context, lsm_space_name_bytes(&spaces[i]->name), &stats);
        lsm_space_unref(spaces[i]);
    }
    lsm_free(spaces);
    return LSMKV_OK;
}

static int compare_definitions(const void *a, const void *b) {
    return lsm_compare_u64(((const lsm_space_definition *)a)->id,
                           ((const lsm_space_definition *)b)->id);
}

lsmkv_status lsm_catalog_next_add(lsm_catalog_next *next,
                                  const lsm_space_definition *definition,
                                  lsmkv_error *err) {
    void *definitions = next->definitions;

    if (lsm_is_limited() && next->count >= LSM_UNTRUSTED_SPACES_MAX) {
        return lsm_fail_limit(err, NULL, "namespaces and published versions",
                              next->count + 1, LSM_UNTRUSTED_SPACES_MAX);
    }
    if (!lsm_grow(&definitions, &next->capacity, next->count + 1,
                  sizeof(*next->definitions))) {
        return lsm_fail_memory(err, sizeof(*next->definitions));
    }
    next->definitions = definitions;
    next->definitions[next->count++] = *definition;
    return LSMKV_OK;
}

static lsmkv_status add_definition(void *context, lsm_slice key, lsm_slice value,
                                   lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_space_definition definition;
    lsmkv_bytes name = {key.data, key.size};

    if (!lsm_space_name_check(name)) {
        return lsm_fail(err, LSMKV_CORRUPTION, "the name of a namespace");
    }
    LSM_TRY(lsm_space_decode(value, &definition, err));
    definition.name = lsm_space_name_make(name);
    status = lsm_catalog_next_add(context, &definition, err);
out:
    return status;
}

lsmkv_status lsm_catalog_prepare(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                                 lsm_catalog_next *next, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    *next = (lsm_catalog_next){0};
    LSM_TRY(lsm_system_walk(db, snapshot, LSM_SPACE_PREFIX, add_definition, next, err));
    LSM_TRY(lsm_published_prepare(db, snapshot, next, err));
    if (next->count > 1) {
        qsort(next->definitions, next->count, sizeof(*next->definitions),
              compare_definitions);
    }
    LSM_ASSERT(next->space_count == 0);
    next->spaces = lsm_calloc(next->count + 1, sizeof(lsm_space *));
    if (next->spaces == NULL) {
        LSM_TRY(lsm_fail_memory(err, next->count * sizeof(lsm_space *)));
    }
    for (; next->space_count < next->count; next->space_count++) {
        const lsm_space_definition *definition = &next->definitions[next->space_count];
        lsm_space *space = lsm_catalog_find(db, definition->id);
        if (space == NULL) {
            space = lsm_space_create(definition, err);
        }
        if (space == NULL) {
            status = lsm_memory_status(err);
            goto out;
        }
        next->spaces[next->space_count] = space;
    }
out:
    if (status != LSMKV_OK) {
        lsm_catalog_next_deinit(next);
    }
    return status;
}

void lsm_catalog_switch_locked(lsmkv_db *db, lsm_catalog_next *next) {
    size_t at = 0;

    for (size_t i = 0; i < next->space_count; i++) {
        lsm_space_set_options(next->spaces[i], &next->definitions[i].options);
    }
    for (size_t i = 0; i < db->space_count; i++) {
        lsm_space *old = db->spaces[i];
        while (at < next->space_count && next->spaces[at]->id < old->id) {
            at++;
        }
        if (at == next->space_count || next->spaces[at] != old) {
            atomic_store(&old->dropped, true);
        }
        lsm_space_unref(old);
    }
    lsm_free(db->spaces);
    db->spaces = next->spaces;
    db->space_count = next->space_count;
    db->space_capacity = next->space_count;
    next->spaces = NULL;
    next->space_count = 0;
    lsm_catalog_count_codecs_locked(db);
    lsm_published_switch_locked(db, next);
}

void lsm_catalog_next_deinit(lsm_catalog_next *next) {
    for (size_t i = 0; i < next->space_count; i++) {
        lsm_space_unref(next->spaces[i]);
    }
    lsm_free(next->spaces);
    lsm_free(next->definitions);
    lsm_published_next_deinit(next);
    *next = (lsm_catalog_next){0};
}

lsmkv_status lsm_catalog_load(lsmkv_db *db, lsmkv_error *err) {
    lsm_catalog_next next;
    lsmkv_status status = lsm_catalog_prepare(db, NULL, &next, err);

    if (status == LSMKV_OK) {
        lsm_mutex_lock(&db->mu);
        lsm_catalog_switch_locked(db, &next);
        lsm_mutex_unlock(&db->mu);
        lsm_catalog_next_deinit(&next);
    }
    return status;
}

void lsm_catalog_deinit(lsmkv_db *db) LSM_UNSHARED {
    for (size_t i = 0; i < db->space_count; i++) {
        lsm_space_unref(db->spaces[i]);
    }
    lsm_free(db->spaces);
    lsm_published_deinit(db);
}
