/* SPDX-License-Identifier: Apache-2.0
 *
 * The pairs: who writes them, reads them, and holds states of them. See stress.c.
 */
#include "stress_help.h"

enum { HOUR_MS = 3600 * 1000 };

static bool holds_deletion(uint64_t low, uint64_t high) {
    return low == 0 || high / DELETE_EVERY * DELETE_EVERY >= low;
}

void stress_check_version(actor *a, size_t pair, uint64_t low, uint64_t found) {
    uint64_t high = atomic_load(&stress_pairs[pair].begun);

    low = low > a->seen[pair] ? low : a->seen[pair];
    if (found == 0) {
        if (!holds_deletion(low, high)) {
            fail("pair %zu is missing, versions %" PRIu64 " to %" PRIu64, pair, low,
                 high);
        }
        return;
    }
    if (found < low || found > high || found % DELETE_EVERY == 0) {
        fail("pair %zu: version %" PRIu64 ", expected %" PRIu64 " to %" PRIu64, pair,
             found, low, high);
    }
    a->seen[pair] = found;
}

static void check_agree(size_t pair, uint64_t a, uint64_t b) {
    if (a != b) {
        fail("pair %zu: half a batch, versions %" PRIu64 " and %" PRIu64, pair, a, b);
    }
}

void stress_note_acknowledged(uint64_t low[PAIRS]) {
    for (size_t i = 0; i < PAIRS; i++) {
        low[i] = atomic_load(&stress_pairs[i].acknowledged);
    }
}

static void delete_pair(actor *a, lsmkv_batch *batch, size_t pair) {
    char first[KEY_SIZE];
    char second[KEY_SIZE];
    lsmkv_bytes start = make_key(first, pair, 'a');
    lsmkv_error err = {0};

    if (lsm_rng_below(&a->rng, 2) == 0) {
        lsmkv_range range = {.has_start = true,
                             .start = start,
                             .has_stop = true,
                             .stop = make_key(second, pair, 'c')};
        (void)go_on(lsmkv_batch_delete_range(batch, NULL, &range, &err), &err, "batch");
        return;
    }
    (void)go_on(lsmkv_batch_delete(batch, NULL, start, &err), &err, "batch");
    (void)go_on(lsmkv_batch_delete(batch, NULL, make_key(second, pair, 'b'), &err),
                &err, "batch");
}

/* One version of a pair. */
static void fill_batch(actor *a, lsmkv_batch *batch, const lsmkv_write *how,
                       size_t pair, uint64_t version) {
    lsmkv_error err = {0};

    if (version % DELETE_EVERY == 0) {
        delete_pair(a, batch, pair);
        return;
    }
    for (int i = 0; i < 2; i++) {
        char half = i == 0 ? 'a' : 'b';
        char key[KEY_SIZE];
        uint8_t value[VALUE_MAX];
        (void)go_on(lsmkv_batch_put(batch, how, make_key(key, pair, half),
                                    make_value(value, version, half), &err),
                    &err, "batch");
    }
}

void stress_write_pairs(void *context) {
    actor *a = (actor *)context;
    lsmkv_batch *batch = NULL;
    lsmkv_error err = {0};
    bool open = go_on(lsmkv_batch_create(&batch, &err), &err, "batch_create");

    while (open) {
        size_t pair = lsm_rng_below(&a->rng, PAIRS / WRITERS) * WRITERS + a->index;
        uint64_t version = atomic_load(&stress_pairs[pair].begun) + 1;
        lsmkv_write how = {.sync = lsm_rng_below(&a->rng, 64) == 0,
                           .nonblocking = lsm_rng_below(&a->rng, 4) == 0};
        lsmkv_status status = LSMKV_OK;

        how.ttl_ms = lsm_rng_below(&a->rng, 4) == 0 ? HOUR_MS : 0;
        lsmkv_batch_clear(batch);
        fill_batch(a, batch, &how, pair, version);
        atomic_store(&stress_pairs[pair].begun, version);
        status = lsmkv_write_batch(a->db, &how, batch, &err);
        if (status == LSMKV_WOULD_BLOCK && how.nonblocking) {
            how.nonblocking = false;
            status = lsmkv_write_batch(a->db, &how, batch, &err);
        }
        open = go_on(status, &err, "write");
        if (open) {
            atomic_store(&stress_pairs[pair].acknowledged, version);
            atomic_fetch_add(&stress_total.writes, 1);
        }
    }
    lsmkv_batch_free(batch);
}

static bool read_one(actor *a, size_t pair) {
    char key[KEY_SIZE];
    char half = lsm_rng_below(&a->rng, 2) == 0 ? 'a' : 'b';
    lsmkv_read read = {.nonblocking = lsm_rng_below(&a->rng, 2) == 0};
    lsmkv_error err = {0};
    lsmkv_pin pin = {0};
    uint64_t low = atomic_load(&stress_pairs[pair].acknowledged);
    lsmkv_status status =
        lsmkv_get(a->db, &read, make_key(key, pair, half), &pin, &err);

    if (status == LSMKV_WOULD_BLOCK && read.nonblocking) {
        return true;
    }
    if (status == LSMKV_NOT_FOUND) {
        stress_check_version(a, pair, low, 0);
        return true;
    }
    if (!go_on(status, &err, "get")) {
        return false;
    }
    stress_check_version(a, pair, low, read_version(pin.value, half));
    lsmkv_pin_release(&pin);
    return true;
}

static bool read_both(actor *a, size_t pair) {
    char keys[2][KEY_SIZE];
    lsmkv_lookup lookups[2] = {{.key = make_key(keys[0], pair, 'a')},
                               {.key = make_key(keys[1], pair, 'b')}};
    lsmkv_error err = {0};
    lsmkv_pin pin = {0};
    uint64_t found[2] = {0, 0};
    uint64_t low = atomic_load(&stress_pairs[pair].acknowledged);

    if (!go_on(lsmkv_get_many(a->db, NULL, lookups, 2, &pin, &err), &err, "get_many")) {
        return false;
    }
    for (size_t i = 0; i < 2; i++) {
        if (lookups[i].found) {
            found[i] = read_version(lookups[i].value, i == 0 ? 'a' : 'b');
        }
    }
    lsmkv_pin_release(&pin);
    check_agree(pair, found[0], found[1]);
    stress_check_version(a, pair, low, found[0]);
    return true;
}

void stress_read_pairs(void *context) {
    actor *a = (actor *)context;
    bool open = true;

    while (open) {
        size_t pair = lsm_rng_below(&a->rng, PAIRS);
        open = lsm_rng_below(&a->rng, 3) == 0 ? read_both(a, pair) : read_one(a, pair);
        atomic_fetch_add(&stress_total.reads, 1);
    }
}

lsmkv_status stress_scan(lsmkv_db *db, const lsmkv_snapshot *snapshot, bool reverse,
                         uint64_t found[PAIRS], lsmkv_error *err) {
    lsmkv_read read = {.snapshot = snapshot};
    lsmkv_iter *iter = NULL;
    uint64_t halves[PAIRS][2] = {{0}};
    lsmkv_status status = lsmkv_iter_create(db, &read, NULL, &iter, err);

    if (status == LSMKV_OK) {
        status = reverse ? lsmkv_iter_seek_last(iter, err)
                         : lsmkv_iter_seek_first(iter, err);
    }
    while (status == LSMKV_OK && lsmkv_iter_valid(iter)) {
        const char *key = (const char *)lsmkv_iter_key(iter).data;
        size_t pair = (size_t)strtoull(key + 2, NULL, 10);
        char half = key[lsmkv_iter_key(iter).size - 1];
        uint64_t version = read_version(lsmkv_iter_value(iter), half);

        if (key[0] == 'p') {
            halves[pair][half - 'a'] = version;
        }
        atomic_fetch_add(&stress_total.rows, 1);
        status = reverse ? lsmkv_iter_prev(iter, err) : lsmkv_iter_next(iter, err);
    }
    lsmkv_iter_free(iter);
    for (size_t pair = 0; pair < PAIRS && status == LSMKV_OK; pair++) {
        check_agree(pair, halves[pair][0], halves[pair][1]);
        found[pair] = halves[pair][0];
    }
    return status;
}

void stress_scan_pairs(void *context) {
    actor *a = (actor *)context;
    lsmkv_error err = {0};
    bool open = true;

    while (open) {
        uint64_t low[PAIRS];
        uint64_t found[PAIRS] = {0};
        stress_note_acknowledged(low);
        open =
            go_on(stress_scan(a->db, NULL, lsm_rng_below(&a->rng, 2) == 0, found, &err),
                  &err, "scan");
        for (size_t i = 0; i < PAIRS && open; i++) {
            stress_check_version(a, i, low[i], found[i]);
        }
    }
}

void stress_hold_snapshots(void *context) {
    actor *a = (actor *)context;
    lsmkv_error err = {0};
    bool open = true;

    while (open) {
        lsmkv_snapshot *snapshot = NULL;
        uint64_t first[PAIRS];
        uint64_t again[PAIRS];

        open = go_on(lsmkv_snapshot_create(a->db, &snapshot, &err), &err, "snapshot") &&
               go_on(stress_scan(a->db, snapshot, false, first, &err), &err,
                     "snapshot scan");
        sleep_us(lsm_rng_below(&a->rng, 20000));
        open = open && go_on(stress_scan(a->db, snapshot, true, again, &err), &err,
                             "snapshot scan");
        if (open && memcmp(first, again, sizeof(first)) != 0) {
            fail("a snapshot changed");
        }
        lsmkv_snapshot_free(snapshot);
        atomic_fetch_add(&stress_total.snapshots, 1);
    }
}

/* Gives values another time to live, which changes nothing. */
void stress_touch_pairs(void *context) {
    actor *a = (actor *)context;
    lsmkv_error err = {0};
    bool open = true;

    while (open) {
        char key[KEY_SIZE];
        size_t pair = lsm_rng_below(&a->rng, PAIRS);
        lsmkv_write how = {.sync = lsm_rng_below(&a->rng, 64) == 0,
                           .nonblocking = lsm_rng_below(&a->rng, 2) == 0,
                           .ttl_ms = lsm_rng_below(&a->rng, 2) == 0 ? HOUR_MS : -1};
        char half = lsm_rng_below(&a->rng, 2) == 0 ? 'a' : 'b';
        lsmkv_status status = lsmkv_touch(a->db, &how, make_key(key, pair, half), &err);

        if (status != LSMKV_NOT_FOUND && status != LSMKV_WOULD_BLOCK) {
            open = go_on(status, &err, "touch");
        }
        atomic_fetch_add(&stress_total.touches, 1);
    }
}
