/* SPDX-License-Identifier: Apache-2.0
 *
 * Namespaces: those that come and go hold what was written and nothing else, and one
 * that is a cache shows the newest value of a key or nothing, while it turns over.
 */
#include "stress_help.h"

enum {
    SPACES = 4, /* namespaces that come and go */
    SPACE_KEYS = 8,
    CACHED = 64,          /* keys, each with one writer */
    CAP = 64 * VALUE_MAX, /* so that each value fits */
};

static stress_progress cached[CACHED];

/* Checks that a namespace holds exactly `count` keys of a version. */
static bool check_space(lsmkv_db *db, const lsmkv_namespace *space, size_t count,
                        uint64_t version) {
    lsmkv_read read = {.space = space};
    lsmkv_error err = {0};
    lsmkv_iter *iter = NULL;
    size_t rows = 0;
    lsmkv_status status = lsmkv_iter_create(db, &read, NULL, &iter, &err);

    if (status == LSMKV_OK) {
        status = lsmkv_iter_seek_first(iter, &err);
    }
    for (; status == LSMKV_OK && lsmkv_iter_valid(iter); rows++) {
        if (read_version(lsmkv_iter_value(iter), 'a') != version) {
            fail("a namespace holds another version");
        }
        status = lsmkv_iter_next(iter, &err);
    }
    lsmkv_iter_free(iter);
    if (status == LSMKV_OK && rows != count) {
        fail("a namespace holds %zu keys, not %zu", rows, count);
    }
    return go_on(status, &err, "scan of a namespace");
}

/* A namespace from its creation to its end. */
static bool live_once(actor *a, lsmkv_bytes name, uint64_t version) {
    lsmkv_namespace_how how = {.create = true};
    lsmkv_error err = {0};
    lsmkv_namespace *space = NULL;
    char key[KEY_SIZE];
    uint8_t value[VALUE_MAX];
    size_t count = lsm_rng_below(&a->rng, SPACE_KEYS + 1);
    lsmkv_status status = lsmkv_namespace_drop(a->db, name, &err);
    bool open = status == LSMKV_NOT_FOUND || go_on(status, &err, "drop");

    open = open && go_on(lsmkv_namespace_open(a->db, name, &how, &space, &err), &err,
                         "namespace_open");
    open = open && check_space(a->db, space, 0, 0);
    lsmkv_write write = {.space = space};
    for (size_t i = 0; i < count && open; i++) {
        open = go_on(lsmkv_put(a->db, &write, make_key(key, i, 'a'),
                               make_value(value, version, 'a'), &err),
                     &err, "put");
    }
    open = open && check_space(a->db, space, count, version);
    if (open && lsm_rng_below(&a->rng, 2) == 0) {
        open = go_on(lsmkv_namespace_drop(a->db, name, &err), &err, "drop");
        status = lsmkv_put(a->db, &write, make_key(key, 0, 'a'),
                           make_value(value, version, 'a'), &err);
        if (open && status != LSMKV_INVALID_ARGUMENT && status != LSMKV_CLOSED) {
            fail("a dropped namespace was written");
        }
    }
    lsmkv_namespace_free(space);
    return open;
}

void stress_found_spaces(void *context) {
    actor *a = (actor *)context;
    bool open = true;

    for (uint64_t version = 1; open; version++) {
        char name[KEY_SIZE];
        int size = snprintf(name, sizeof(name), "space %d",
                            (int)lsm_rng_below(&a->rng, SPACES));
        open = live_once(a, (lsmkv_bytes){name, (size_t)size}, version);
        atomic_fetch_add(&stress_total.spaces, 1);
    }
}

/* A value of the cache, against what was acknowledged before it was asked for. */
static bool read_cached(actor *a, const lsmkv_namespace *space, size_t key) {
    char name[KEY_SIZE];
    lsmkv_read read = {.space = space, .nonblocking = lsm_rng_below(&a->rng, 4) == 0};
    lsmkv_error err = {0};
    lsmkv_pin pin = {0};
    uint64_t low = atomic_load(&cached[key].acknowledged);
    lsmkv_status status = lsmkv_get(a->db, &read, make_key(name, key, 'a'), &pin, &err);

    if (status == LSMKV_NOT_FOUND || status == LSMKV_WOULD_BLOCK) {
        return true;
    }
    if (!go_on(status, &err, "get from the cache")) {
        return false;
    }
    uint64_t found = read_version(pin.value, 'a');
    uint64_t high = atomic_load(&cached[key].begun);
    lsmkv_pin_release(&pin);
    if (found < low || found > high || found % DELETE_EVERY == 0) {
        fail("cached key %zu: version %" PRIu64 ", expected %" PRIu64 " to %" PRIu64,
             key, found, low, high);
    }
    return true;
}

static bool write_cached(actor *a, const lsmkv_namespace *space, size_t key) {
    char name[KEY_SIZE];
    uint8_t value[VALUE_MAX];
    lsmkv_error err = {0};
    uint64_t version = atomic_load(&cached[key].begun) + 1;
    lsmkv_write how = {.space = space};
    lsmkv_bytes bytes = make_key(name, key, 'a');
    lsmkv_status status;

    how.ttl_ms =
        lsm_rng_below(&a->rng, 4) == 0 ? 1 + (int64_t)lsm_rng_below(&a->rng, 50) : 0;
    atomic_store(&cached[key].begun, version);
    if (version % DELETE_EVERY == 0) {
        status = lsmkv_delete(a->db, &how, bytes, &err);
    } else {
        status = lsmkv_put(a->db, &how, bytes, make_value(value, version, 'a'), &err);
    }
    if (!go_on(status, &err, "put to the cache")) {
        return false;
    }
    atomic_store(&cached[key].acknowledged, version);
    return true;
}

/* Pins a key, or lets it go: half of the cap has room for all of them but the largest.
 */
static bool change_pin(actor *a, const lsmkv_namespace *space, size_t key) {
    char name[KEY_SIZE];
    lsmkv_error err = {0};
    lsmkv_cache_stats stats;
    lsmkv_bytes bytes = make_key(name, key, 'a');
    lsmkv_status status =
        lsmkv_cache_pin(a->db, space, &bytes, 1, lsm_rng_below(&a->rng, 4) == 0, &err);

    if (status != LSMKV_LIMIT_EXCEEDED && !go_on(status, &err, "pinning")) {
        return false;
    }
    return go_on(lsmkv_get_cache_stats(a->db, space, &stats, &err), &err,
                 "cache stats");
}

void stress_use_cache(void *context) {
    actor *a = (actor *)context;
    lsmkv_namespace_how how = {
        .create = true, .has_max_bytes = true, .options = {.max_bytes = CAP}};
    lsmkv_namespace *space = NULL;
    lsmkv_error err = {0};
    bool open = go_on(
        lsmkv_namespace_open(a->db, (lsmkv_bytes){"cache", 5}, &how, &space, &err),
        &err, "opening the cache");

    while (open) {
        uint64_t draw = lsm_rng_below(&a->rng, 64);
        size_t key = lsm_rng_below(&a->rng, CACHED);
        if (draw == 0) {
            open = change_pin(a, space, key);
        } else if (draw < 24) {
            open = write_cached(a, space, key / CACHERS * CACHERS + a->index);
        } else {
            open = read_cached(a, space, key);
        }
        atomic_fetch_add(&stress_total.cached, 1);
    }
    lsmkv_namespace_free(space);
}
