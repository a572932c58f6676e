/* SPDX-License-Identifier: Apache-2.0
 *
 * Values that live for moments, and views of values that are held beyond their end.
 */
#include "stress_help.h"

enum {
    PASSING = 32, /* keys whose values live for moments */
    VIEWS = 16,   /* held by one thread */
};

/* Of a key whose values live for moments. */
typedef struct passing_progress {
    _Atomic uint64_t version; /* acknowledged; written after gone_at_us */
    _Atomic uint64_t gone_at_us;
} passing_progress;

static passing_progress passing[PASSING];

static lsmkv_bytes passing_key(char to[KEY_SIZE], size_t i) {
    int size = snprintf(to, KEY_SIZE, "t/%04zu/a", i);
    return (lsmkv_bytes){to, (size_t)size};
}

static bool read_passing(actor *a, size_t i) {
    char key[KEY_SIZE];
    lsmkv_error err = {0};
    lsmkv_pin pin = {0};
    int64_t ttl_ms;
    uint64_t version = atomic_load(&passing[i].version);
    uint64_t gone_at_us = atomic_load(&passing[i].gone_at_us);
    bool gone = gone_at_us < now_us();
    lsmkv_status status = lsmkv_get(a->db, NULL, passing_key(key, i), &pin, &err);

    if (status == LSMKV_OK) {
        uint64_t found = read_version(pin.value, 'a');
        lsmkv_pin_release(&pin);
        if (found < version || (gone && found == version)) {
            fail("key %zu: version %" PRIu64 " of %" PRIu64 " has expired", i, found,
                 version);
        }
    } else if (status != LSMKV_NOT_FOUND) {
        return go_on(status, &err, "get");
    }
    status = lsmkv_ttl(a->db, NULL, passing_key(key, i), &ttl_ms, &err);
    return status == LSMKV_NOT_FOUND || go_on(status, &err, "ttl");
}

/* One thread writes, reads and deletes them. */
void stress_pass_values(void *context) {
    actor *a = (actor *)context;
    lsmkv_error err = {0};
    bool open = true;

    while (open) {
        size_t i = lsm_rng_below(&a->rng, PASSING);
        uint64_t version = atomic_load(&passing[i].version) + 1;
        lsmkv_write how = {.ttl_ms = 1 + (int64_t)lsm_rng_below(&a->rng, 60)};
        char key[KEY_SIZE];
        uint8_t value[VALUE_MAX];

        if (lsm_rng_below(&a->rng, 100) == 0) {
            lsmkv_range range = {.has_start = true, .start = passing_key(key, i)};
            open = go_on(lsmkv_delete_range(a->db, NULL, &range, &err), &err,
                         "delete_range");
        } else if (lsm_rng_below(&a->rng, 2) == 0) {
            lsmkv_status status = lsmkv_put(a->db, &how, passing_key(key, i),
                                            make_value(value, version, 'a'), &err);
            open = go_on(status, &err, "put");
            if (open) {
                atomic_store(&passing[i].gone_at_us,
                             now_us() + (uint64_t)how.ttl_ms * 1000 + 2000);
                atomic_store(&passing[i].version, version);
            }
        } else {
            open = read_passing(a, i);
        }
        atomic_fetch_add(&stress_total.passing, 1);
    }
}

/* A value lent, and what it was. */
typedef struct held_view {
    lsmkv_view *view;
    lsmkv_bytes value;
    uint64_t version;
    char half;
} held_view;

static void let_go(held_view *held) {
    if (held->view != NULL && read_version(held->value, held->half) != held->version) {
        fail("a view changed");
    }
    lsmkv_view_free(held->view);
    held->view = NULL;
}

/* Holds views, some of them when the database is closed. */
void stress_hold_views(void *context) {
    actor *a = (actor *)context;
    held_view held[VIEWS] = {{0}};
    lsmkv_error err = {0};
    bool open = true;

    while (open) {
        held_view *to = &held[lsm_rng_below(&a->rng, VIEWS)];
        size_t pair = lsm_rng_below(&a->rng, PAIRS);
        char key[KEY_SIZE];
        let_go(to);
        to->half = lsm_rng_below(&a->rng, 2) == 0 ? 'a' : 'b';
        lsmkv_status status = lsmkv_get_view(a->db, NULL, make_key(key, pair, to->half),
                                             &to->view, &to->value, &err);
        if (status == LSMKV_OK) {
            to->version = read_version(to->value, to->half);
        } else if (status != LSMKV_NOT_FOUND) {
            open = go_on(status, &err, "get_view");
        }
        atomic_fetch_add(&stress_total.held, 1);
    }
    sleep_us(1000);
    for (size_t i = 0; i < VIEWS; i++) {
        let_go(&held[i]);
    }
}
