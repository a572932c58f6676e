/* SPDX-License-Identifier: Apache-2.0
 *
 * Pins: keys of a cache whose values evictions leave alone. What lasts is a key of the
 * system namespace for each,
 *
 *   "pin/" id u32 big-endian | key     bytes u64: what its value took when it was
 * pinned
 *
 * so pinning is a write like any other. In memory they are a sorted list for each
 * cache, replaced whole. Who changes it holds catalog_mu; it is read under mu.
 *
 * The values of pinned keys may take half of the cap. A key may be pinned before it has
 * a value; a value that would take the pins over that limit is then refused.
 */
#include "base/alloc.h"
#include "db/cache_space.h"
#include "db/read.h"
#include "db/system_key.h"

#define PIN_PREFIX "pin/"

enum {
    PIN_PREFIX_SIZE = sizeof(PIN_PREFIX) - 1,
    PIN_HEAD_SIZE = PIN_PREFIX_SIZE + LSM_NAMESPACE_SIZE,
    PIN_VALUE_SIZE = 8,
};

typedef struct pinned_key {
    uint8_t *skey; /* owned by the list, or by the one before it */
    size_t size;
    uint64_t bytes; /* of its value, with the frame; 0: it has none */
} pinned_key;

typedef struct lsm_cache_pins {
    pinned_key *list; /* ascending */
    size_t count, capacity;
    uint64_t bytes;
} lsm_cache_pins;

static lsm_slice skey_of(const pinned_key *pin) {
    return lsm_slice_make(pin->skey, pin->size);
}

void lsm_cache_pins_destroy(lsm_cache_pins *pins) {
    if (pins != NULL) {
        for (size_t i = 0; i < pins->count; i++) {
            lsm_free(pins->list[i].skey);
        }
        lsm_free(pins->list);
        lsm_free(pins);
    }
}

/* The number of pins with smaller keys. */
static size_t place_of(const lsm_cache_pins *pins, lsm_slice skey) {
    size_t low = 0;
    size_t high = pins->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (lsm_slice_compare(skey_of(&pins->list[middle]), skey) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static pinned_key *find(const lsm_cache_pins *pins, lsm_slice skey) {
    size_t place = place_of(pins, skey);
    bool found =
        place < pins->count && lsm_slice_equal(skey_of(&pins->list[place]), skey);
    return found ? &pins->list[place] : NULL;
}

bool lsm_cache_is_pinned(const lsm_cache_space *cache, lsm_slice skey) {
    return LSM_UNLIKELY(cache->pins != NULL) && find(cache->pins, skey) != NULL;
}

uint64_t lsm_cache_pinned_bytes(const lsm_cache_space *cache, uint64_t *count) {
    *count = cache->pins != NULL ? cache->pins->count : 0;
    return cache->pins != NULL ? cache->pins->bytes : 0;
}

static lsmkv_status fail_limit(const lsm_cache_space *cache, lsmkv_error *err) {
    return lsm_fail(err, LSMKV_LIMIT_EXCEEDED,
                    "pinned values of more than half of the %llu bytes of the cache",
                    (unsigned long long)cache->max_bytes);
}

lsmkv_status lsm_cache_account_locked(lsm_cache_space *cache, lsm_slice skey,
                                      uint64_t bytes, lsmkv_error *err) {
    pinned_key *pin = find(cache->pins, skey);

    if (pin == NULL) {
        return LSMKV_OK;
    }
    if (bytes > pin->bytes &&
        cache->pins->bytes - pin->bytes + bytes > cache->max_bytes / 2) {
        return fail_limit(cache, err);
    }
    cache->pins->bytes += bytes - pin->bytes;
    pin->bytes = bytes;
    return LSMKV_OK;
}

/* Adds a copy of a key that is not there. false: no memory. */
static bool add(lsm_cache_pins *pins, lsm_slice skey, uint64_t bytes) {
    void *list = pins->list;
    size_t place = place_of(pins, skey);
    uint8_t *copy = lsm_alloc(skey.size);
    bool ok = copy != NULL &&
              lsm_grow(&list, &pins->capacity, pins->count + 1, sizeof(*pins->list));
    pins->list = list;
    if (!ok) {
        lsm_free(copy);
        return false;
    }
    memcpy(copy, skey.data, skey.size);
    memmove(pins->list + place + 1, pins->list + place,
            (pins->count - place) * sizeof(*pins->list));
    pins->list[place] = (pinned_key){copy, skey.size, bytes};
    pins->count += 1;
    pins->bytes += bytes;
    return true;
}

static void take_out(lsm_cache_pins *pins, pinned_key *pin) {
    size_t behind = (size_t)(pins->list + pins->count - pin) - 1;

    pins->bytes -= pin->bytes;
    lsm_free(pin->skey);
    memmove(pin, pin + 1, behind * sizeof(*pin));
    pins->count -= 1;
}

/* What the value of a key takes in its cache now; 0: it has none. */
static lsmkv_status find_bytes(lsmkv_db *db, lsm_slice skey, uint64_t *bytes,
                               lsmkv_error *err) {
    lsm_found found;
    lsm_epoch_token token = lsm_epoch_enter(&db->epoch);
    lsm_lookup lookup = lsm_lookup_make(skey, lsm_db_published(db));
    lsmkv_status status =
        lsm_db_find(db, &lookup, false, lsm_db_readstate(db), &found, err);
    uint8_t tag = status == LSMKV_OK ? lsm_trailer_tag(found.trailer) : 0;

    *bytes = 0;
    if (status == LSMKV_OK && lsm_tag_kind(tag) == LSM_KIND_CACHED) {
        uint32_t size = lsm_pointer_of_field(tag, found.field).size;
        *bytes = lsm_cache_frame_plan(skey.size, size).size;
    }
    lsm_epoch_leave(token);
    return status == LSMKV_NOT_FOUND ? LSMKV_OK : status;
}

/* The key of the system namespace for a pinned one, without that namespace. */
static lsmkv_status pin_key(lsm_slice skey, lsm_buf *to, lsmkv_error *err) {
    lsm_buf_clear(to);
    return lsm_buf_append(to, PIN_PREFIX, PIN_PREFIX_SIZE) &&
                   lsm_buf_append(to, skey.data, skey.size)
               ? LSMKV_OK
               : lsm_fail_memory(err, skey.size);
}

/* Adds one key to what is pinned, and to the batch that says so. */
static lsmkv_status stage_pin(lsmkv_db *db, lsm_slice skey, lsm_cache_pins *pins,
                              lsm_batch *batch, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint8_t value[PIN_VALUE_SIZE];
    uint64_t bytes = 0;
    lsm_buf key = {0};

    if (find(pins, skey) != NULL) {
        return LSMKV_OK;
    }
    LSM_TRY(find_bytes(db, skey, &bytes, err));
    LSM_TRY(pin_key(skey, &key, err));
    lsm_put_u64(value, bytes);
    LSM_TRY(lsm_batch_put(batch, LSM_NAMESPACE_SYSTEM,
                          (lsmkv_bytes){key.data, key.size},
                          (lsmkv_bytes){value, sizeof(value)}, err));
    if (!add(pins, skey, bytes)) {
        status = lsm_fail_memory(err, skey.size);
    }
out:
    lsm_buf_deinit(&key);
    return status;
}

static lsmkv_status stage_unpin(lsm_slice skey, lsm_cache_pins *pins, lsm_batch *batch,
                                lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_buf key = {0};
    pinned_key *pin = find(pins, skey);

    if (pin == NULL) {
        return LSMKV_OK;
    }
    LSM_TRY(pin_key(skey, &key, err));
    LSM_TRY(lsm_batch_delete(batch, LSM_NAMESPACE_SYSTEM,
                             (lsmkv_bytes){key.data, key.size}, err));
    take_out(pins, pin);
out:
    lsm_buf_deinit(&key);
    return status;
}

/* A copy of what is pinned. NULL: no memory. */
static lsm_cache_pins *copy_pins(lsmkv_db *db, const lsm_cache_space *cache) {
    lsm_cache_pins *copy = lsm_calloc(1, sizeof(*copy));
    bool ok = copy != NULL;

    lsm_mutex_lock(&db->mu);
    for (size_t i = 0; ok && cache->pins != NULL && i < cache->pins->count; i++) {
        const pinned_key *pin = &cache->pins->list[i];
        ok = add(copy, skey_of(pin), pin->bytes);
    }
    lsm_mutex_unlock(&db->mu);
    if (!ok) {
        lsm_cache_pins_destroy(copy);
        copy = NULL;
    }
    return copy;
}

static lsmkv_status stage_key(lsmkv_db *db, const lsm_pin_request *request,
                              lsmkv_bytes key, lsm_cache_pins *pins, lsm_batch *batch,
                              lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint8_t id[LSM_NAMESPACE_SIZE];
    lsm_buf skey = {0};

    if (key.size > LSMKV_KEY_SIZE_MAX - PIN_HEAD_SIZE) {
        return lsm_fail(err, LSMKV_LIMIT_EXCEEDED, "key of %zu bytes: at most %d",
                        key.size, LSMKV_KEY_SIZE_MAX - PIN_HEAD_SIZE);
    }
    lsm_put_u32_be(id, request->cache->id);
    if (!lsm_buf_append(&skey, id, sizeof(id)) ||
        !lsm_buf_append(&skey, key.data, key.size)) {
        LSM_TRY(lsm_fail_memory(err, key.size));
    }
    status = request->unpins ? stage_unpin(lsm_buf_slice(&skey), pins, batch, err)
                             : stage_pin(db, lsm_buf_slice(&skey), pins, batch, err);
out:
    lsm_buf_deinit(&skey);
    return status;
}

/* With catalog_mu. */
static lsmkv_status change_pins(lsmkv_db *db, const lsm_pin_request *request,
                                lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_cache_space *cache = request->cache;
    lsm_cache_pins *pins = copy_pins(db, cache);
    lsm_write_how how = {.sync = db->options.given.durability == LSMKV_DURABILITY_SYNC,
                         .alone = true};
    lsm_batch batch;

    lsm_batch_init(&batch);
    if (pins == NULL) {
        LSM_TRY(lsm_fail_memory(err, sizeof(*pins)));
    }
    for (size_t i = 0; i < request->count; i++) {
        LSM_TRY(stage_key(db, request, request->keys[i], pins, &batch, err));
    }
    if (!request->unpins && pins->bytes > cache->max_bytes / 2) {
        LSM_TRY(fail_limit(cache, err));
    }
    if (batch.count > 0) {
        LSM_TRY(lsm_db_write(db, &batch, how, err));
    }
    lsm_mutex_lock(&db->mu);
    lsm_cache_pins *old = cache->pins;
    cache->pins = pins->count > 0 ? pins : NULL;
    lsm_mutex_unlock(&db->mu);
    pins = cache->pins == pins ? NULL : pins;
    lsm_cache_pins_destroy(old);
out:
    lsm_cache_pins_destroy(pins);
    lsm_batch_deinit(&batch);
    return status;
}

lsmkv_status lsm_cache_change_pins(lsmkv_db *db, const lsm_pin_request *request,
                                   lsmkv_error *err) {
    lsm_mutex_lock(&db->catalog_mu);
    lsmkv_status status = change_pins(db, request, err);
    lsm_mutex_unlock(&db->catalog_mu);
    return status;
}

lsmkv_status lsm_cache_forget_pins(uint32_t space_id, lsm_batch *batch,
                                   lsmkv_error *err) {
    uint8_t start[PIN_HEAD_SIZE];
    uint8_t stop[PIN_HEAD_SIZE];
    lsmkv_range range = {.start = {start, sizeof(start)},
                         .stop = {stop, sizeof(stop)},
                         .has_start = true,
                         .has_stop = true};

    memcpy(start, PIN_PREFIX, PIN_PREFIX_SIZE);
    memcpy(stop, PIN_PREFIX, PIN_PREFIX_SIZE);
    lsm_put_u32_be(start + PIN_PREFIX_SIZE, space_id);
    lsm_put_u32_be(stop + PIN_PREFIX_SIZE, space_id + 1);
    return lsm_batch_delete_range(batch, LSM_NAMESPACE_SYSTEM, &range, err);
}

static lsmkv_status load_pin(void *context, lsm_slice skey, lsm_slice value,
                             lsmkv_error *err) LSM_UNSHARED {
    lsmkv_db *db = context;

    if (skey.size < LSM_NAMESPACE_SIZE || value.size != PIN_VALUE_SIZE) {
        return LSMKV_OK; /* a cache may lose a pin */
    }
    const lsm_space *space = lsm_catalog_find_locked(db, lsm_get_u32_be(skey.data));
    if (space == NULL || space->cache == NULL) {
        return LSMKV_OK;
    }
    lsm_cache_space *cache = space->cache;
    if (cache->pins == NULL) {
        cache->pins = lsm_calloc(1, sizeof(*cache->pins));
    }
    uint64_t bytes = lsm_get_u64(value.data);
    bytes = bytes < cache->max_bytes ? bytes : cache->max_bytes;
    return cache->pins != NULL && add(cache->pins, skey, bytes)
               ? LSMKV_OK
               : lsm_fail_memory(err, skey.size);
}

lsmkv_status lsm_cache_load_pins(lsmkv_db *db, lsmkv_error *err) {
    return lsm_system_walk(db, NULL, PIN_PREFIX, load_pin, db, err);
}
