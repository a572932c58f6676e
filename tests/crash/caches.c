/* SPDX-License-Identifier: Apache-2.0
 *
 * A namespace that is a cache, which may lose any value at any time, but must never
 * show another one than the newest. So the model has nothing of it. Instead each value
 * is written in one batch with a mark, in a namespace that loses nothing: whatever
 * prefix of the history a crash leaves, what the cache shows is what the mark says, and
 * it shows nothing where there is no mark. The keys behind those are only there to fill
 * the cache, one by one; their values tell themselves whose they are.
 *
 * The bytes of its files are held to the cap after each operation.
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/filename.h"
#include "report.h"

enum {
    CAP = LSMKV_CACHE_BYTES_MIN,
    SLOTS = 6,
    FILLERS = 150,
    NAME_SIZE = 16,
    VALUE_MIN = 16,
    VALUE_MAX = CAP / 64,
    LIFE_MS = 200,
};

typedef struct pair {
    lsmkv_namespace *cache;
    lsmkv_namespace *marks;
} pair;

static lsmkv_bytes text(const char *name) {
    return (lsmkv_bytes){name, strlen(name)};
}

static lsmkv_bytes key_of(char name[NAME_SIZE], size_t slot) {
    int size = snprintf(name, NAME_SIZE, "slot %zu", slot);
    return (lsmkv_bytes){name, (size_t)size};
}

/* Nonce, slot, and bytes that follow from both. */
static void make_value(uint8_t *to, size_t size, uint64_t nonce, uint64_t slot) {
    lsm_rng rng = {nonce ^ slot << 32};

    memcpy(to, &nonce, sizeof(nonce));
    memcpy(to + 8, &slot, sizeof(slot));
    for (size_t i = VALUE_MIN; i < size; i++) {
        to[i] = (uint8_t)lsm_rng_next(&rng);
    }
}

static uint64_t check_value(lsmkv_bytes value, uint64_t slot) {
    uint8_t expected[VALUE_MAX];
    uint64_t nonce = 0;

    if (value.size < VALUE_MIN || value.size > VALUE_MAX) {
        crash_fail("the cache shows %zu bytes for slot %llu", value.size,
                   (unsigned long long)slot);
    }
    memcpy(&nonce, value.data, sizeof(nonce));
    make_value(expected, value.size, nonce, slot);
    if (memcmp(expected, value.data, value.size) != 0) {
        crash_fail("the cache shows wrong bytes for slot %llu",
                   (unsigned long long)slot);
    }
    return nonce;
}

/* *nonce is 0 where there is no value. */
static lsmkv_status read_slot(lsmkv_db *db, const lsmkv_namespace *space, size_t slot,
                              bool is_mark, uint64_t *nonce) {
    char name[NAME_SIZE];
    lsmkv_error err = {0};
    lsmkv_pin pin = {0};
    lsmkv_read read = {.space = space};
    lsmkv_status status = lsmkv_get(db, &read, key_of(name, slot), &pin, &err);

    *nonce = 0;
    crash_count.reads++;
    if (status == LSMKV_OK) {
        if (is_mark) {
            memcpy(nonce, pin.value.data, sizeof(*nonce));
        } else {
            *nonce = check_value(pin.value, slot);
        }
        lsmkv_pin_release(&pin);
    }
    return status == LSMKV_NOT_FOUND ? LSMKV_OK : status;
}

/* What a scan shows must be what reads of keys show. */
static lsmkv_status check_scan(lsmkv_db *db, const pair *p) {
    lsmkv_error err = {0};
    lsmkv_read read = {.space = p->cache};
    lsmkv_iter *iter = NULL;
    lsmkv_status status = lsmkv_iter_create(db, &read, NULL, &iter, &err);

    status = status == LSMKV_OK ? lsmkv_iter_seek_first(iter, &err) : status;
    while (status == LSMKV_OK && lsmkv_iter_valid(iter)) {
        lsmkv_bytes key = lsmkv_iter_key(iter);
        char name[NAME_SIZE] = {0};
        size_t slot = 0;
        uint64_t mark = 0;
        memcpy(name, key.data, key.size < NAME_SIZE ? key.size : NAME_SIZE - 1);
        if (strncmp(name, "slot ", 5) != 0) {
            crash_fail("the cache shows a key that was never written");
        }
        slot = strtoul(name + 5, NULL, 10);
        uint64_t nonce = check_value(lsmkv_iter_value(iter), slot);
        if (slot < SLOTS) {
            status = read_slot(db, p->marks, slot, true, &mark);
            if (status == LSMKV_OK && mark != nonce) {
                crash_fail("a scan of the cache shows an older value of slot %zu",
                           slot);
            }
        }
        status = status == LSMKV_OK ? lsmkv_iter_next(iter, &err) : status;
    }
    lsmkv_iter_free(iter);
    return status;
}

static lsmkv_status check_slots(lsmkv_db *db, const pair *p) {
    lsmkv_status status = LSMKV_OK;

    for (size_t slot = 0; status == LSMKV_OK && slot < SLOTS; slot++) {
        uint64_t nonce = 0;
        uint64_t mark = 0;
        status = read_slot(db, p->cache, slot, false, &nonce);
        if (status == LSMKV_OK) {
            status = read_slot(db, p->marks, slot, true, &mark);
        }
        if (status == LSMKV_OK && nonce != 0 && nonce != mark) {
            crash_fail("the cache shows %s of slot %zu",
                       mark == 0 ? "a deleted value" : "another value than the newest",
                       slot);
        }
    }
    return status;
}

static void close_pair(pair *p) {
    lsmkv_namespace_free(p->cache);
    lsmkv_namespace_free(p->marks);
    *p = (pair){NULL, NULL};
}

static lsmkv_status open_pair(lsmkv_db *db, bool create, pair *p, lsmkv_error *err) {
    lsmkv_namespace_how how = {.create = create};
    lsmkv_namespace_how cache = {
        .create = create, .has_max_bytes = create, .options = {.max_bytes = CAP}};

    *p = (pair){NULL, NULL};
    lsmkv_status status = lsmkv_namespace_open(db, text("marks"), &how, &p->marks, err);
    if (status == LSMKV_OK) {
        status = lsmkv_namespace_open(db, text("cache"), &cache, &p->cache, err);
    }
    if (status != LSMKV_OK) {
        close_pair(p);
    }
    return status;
}

lsmkv_status caches_check(lsmkv_db *db) {
    lsmkv_error err = {0};
    pair p;
    lsmkv_status status = open_pair(db, false, &p, &err);

    if (status == LSMKV_OK) {
        status = check_slots(db, &p);
    }
    if (status == LSMKV_OK) {
        status = check_scan(db, &p);
    }
    close_pair(&p);
    return status == LSMKV_NOT_FOUND ? LSMKV_OK : status;
}

static void check_cap(const world *w) {
    lsmkv_error err = {0};
    lsm_dir *dir = NULL;
    lsm_namelist names = {0};
    uint64_t bytes = 0;

    if (w->allowed != 0) {
        return; /* an unlink may fail */
    }
    crash_need(lsm_dir_open(w->env, WORLD_PATH, false, &dir, &err), &err, "opening");
    crash_need(lsm_dir_list(dir, &names, &err), &err, "listing");
    for (size_t i = 0; i < names.count; i++) {
        uint64_t number;
        const uint8_t *data;
        size_t size = 0;
        if (lsm_filename_parse(names.names[i], &number) == LSM_NAME_CACHE &&
            lsm_sim_file_read(w->env, WORLD_PATH, names.names[i], &data, &size)) {
            bytes += size;
        }
    }
    lsm_namelist_deinit(&names);
    lsm_dir_close(dir);
    if (bytes > CAP + CAP / 20) {
        crash_fail("the cache takes %llu bytes", (unsigned long long)bytes);
    }
}

static size_t any_size(world *w) {
    return VALUE_MIN + (size_t)world_below(w, VALUE_MAX - VALUE_MIN + 1);
}

/* A value and its mark, or neither, in one batch. */
static void write_slot(world *w, const pair *p) {
    char name[NAME_SIZE];
    uint8_t value[VALUE_MAX];
    size_t slot = (size_t)world_below(w, SLOTS);
    lsmkv_bytes key = key_of(name, slot);
    uint64_t nonce = lsm_rng_next(&w->rng) | 1;
    lsmkv_error err = {0};
    int64_t ttl_ms = world_odds(w, 200) ? 1 + (int64_t)world_below(w, LIFE_MS) : -1;
    lsmkv_write cache = {.space = p->cache, .ttl_ms = ttl_ms};
    lsmkv_write marks = {.space = p->marks, .ttl_ms = ttl_ms};
    lsmkv_write how = {.sync = world_odds(w, w->profile->sync_permille)};
    lsmkv_status status;

    lsmkv_batch_clear(w->batch);
    if (world_odds(w, 250)) {
        status = lsmkv_batch_delete(w->batch, &cache, key, &err);
        status = status == LSMKV_OK ? lsmkv_batch_delete(w->batch, &marks, key, &err)
                                    : status;
    } else {
        lsmkv_bytes bytes = {value, any_size(w)};
        make_value(value, bytes.size, nonce, slot);
        status = lsmkv_batch_put(w->batch, &cache, key, bytes, &err);
        bytes = (lsmkv_bytes){&nonce, sizeof(nonce)};
        status = status == LSMKV_OK
                     ? lsmkv_batch_put(w->batch, &marks, key, bytes, &err)
                     : status;
    }
    crash_trace("cache slot %zu", slot);
    if (status == LSMKV_OK) {
        status = lsmkv_write_batch(w->db, &how, w->batch, &err);
    }
    (void)world_ok(w, status, &err, "a write to the cache");
}

/* So that segments fill and go. */
static void fill(world *w, const pair *p) {
    char name[NAME_SIZE];
    uint8_t value[VALUE_MAX];
    size_t slot = SLOTS + (size_t)world_below(w, FILLERS);
    lsmkv_bytes bytes = {value, any_size(w)};
    lsmkv_write how = {.space = p->cache};
    lsmkv_error err = {0};

    make_value(value, bytes.size, lsm_rng_next(&w->rng) | 1, slot);
    lsmkv_status status = lsmkv_put(w->db, &how, key_of(name, slot), bytes, &err);
    (void)world_ok(w, status, &err, "a put to the cache");
    check_cap(w);
}

static void change_pins(world *w, const pair *p) {
    char name[NAME_SIZE];
    lsmkv_bytes key = key_of(name, (size_t)world_below(w, SLOTS));
    lsmkv_error err = {0};
    lsmkv_status status =
        lsmkv_cache_pin(w->db, p->cache, &key, 1, world_odds(w, 500), &err);
    (void)world_ok(w, status, &err, "pinning");
}

/* Once in a while the cache is dropped, with its marks. */
static void drop_pair(world *w) {
    lsmkv_error err = {0};
    lsmkv_status status = lsmkv_namespace_drop(w->db, text("cache"), &err);

    if (world_ok(w, status == LSMKV_NOT_FOUND ? LSMKV_OK : status, &err, "a drop")) {
        status = lsmkv_namespace_drop(w->db, text("marks"), &err);
        (void)world_ok(w, status == LSMKV_NOT_FOUND ? LSMKV_OK : status, &err,
                       "a drop");
    }
}

void world_use_cache(world *w, size_t fills) {
    lsmkv_error err = {0};
    pair p;

    crash_count.ops++;
    if (world_odds(w, 15)) {
        drop_pair(w);
        return;
    }
    lsmkv_status status = open_pair(w->db, true, &p, &err);
    if (!world_ok(w, status, &err, "opening the cache")) {
        return;
    }
    write_slot(w, &p);
    for (size_t i = 0; i < fills; i++) {
        fill(w, &p);
    }
    if (world_odds(w, 100)) {
        change_pins(w, &p);
    }
    status = check_slots(w->db, &p);
    (void)world_ok(w, status, &err, "reading the cache");
    check_cap(w);
    close_pair(&p);
}
