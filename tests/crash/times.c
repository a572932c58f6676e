/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two times of a value do to reads: a plain one shows it until the first, a
 * stale-tolerant one until the second, and nothing shows it afterwards.
 */
#include "world.h"

#include "report.h"

/* Until when a read shows the value of a key; 0: it does not. */
static uint64_t end_of(lsmkv_db *db, lsmkv_bytes key, bool stale) {
    lsmkv_error err = {0};
    lsmkv_read read = {.stale = stale};
    int64_t ttl_ms = -1;
    lsmkv_status status = lsmkv_ttl(db, &read, key, &ttl_ms, &err);

    if (status != LSMKV_OK || ttl_ms < 0) {
        return status == LSMKV_OK ? MODEL_NEVER : 0;
    }
    return lsm_test_now_ms(db) + (uint64_t)ttl_ms;
}

uint64_t world_mark_of(lsmkv_db *db, lsmkv_bytes key) {
    return model_mark((model_times){end_of(db, key, false), end_of(db, key, true)});
}

lsmkv_status world_stale_hash(lsmkv_db *db, const model *m, size_t key, uint64_t *hash,
                              lsmkv_error *err) {
    lsmkv_read read = {.stale = true};
    lsmkv_pin pin = {0};
    lsmkv_entry entry = {0};
    lsmkv_status status = lsmkv_get_entry(db, &read, m->keys[key], &entry, &pin, err);

    *hash = 0;
    if (status == LSMKV_NOT_FOUND) {
        return LSMKV_OK;
    }
    if (status != LSMKV_OK) {
        return status;
    }
    if (entry.stale_for_ms >= 0) {
        model_times times = {0, entry.expire_at_ms};
        *hash = model_full_hash(model_entry_hash(m, key, pin.value), model_mark(times));
    }
    lsmkv_pin_release(&pin);
    return LSMKV_OK;
}

/* A value as it was read, against what a state holds. */
static void check_entry(world *w, size_t key, lsmkv_bytes value, int64_t stale_for_ms) {
    uint64_t now = world_now(w);
    int32_t expected = world_shown_stale(w, &w->model.now, key);
    int64_t stale_for = -1;

    if (expected == MODEL_ABSENT) {
        crash_fail("a stale read shows key %zu, which is gone", key);
    }
    if (w->model.values[expected].times.hidden_at <= now) {
        stale_for = (int64_t)(now - w->model.values[expected].times.hidden_at);
    }
    if (model_entry_hash(&w->model, key, value) !=
        w->model.values[expected].entry_hash) {
        crash_fail("a stale read shows other bytes for key %zu", key);
    }
    if (stale_for_ms != stale_for) {
        crash_fail("key %zu is said to be stale for %lld ms, not %lld", key,
                   (long long)stale_for_ms, (long long)stale_for);
    }
}

static void check_one(world *w, size_t key) {
    lsmkv_error err = {0};
    lsmkv_read read = {.stale = true, .nonblocking = world_odds(w, 100)};
    lsmkv_pin pin = {0};
    lsmkv_entry entry = {0};
    lsmkv_status status =
        lsmkv_get_entry(w->db, &read, w->model.keys[key], &entry, &pin, &err);

    if (status == LSMKV_WOULD_BLOCK && read.nonblocking) {
        return;
    }
    if (status == LSMKV_NOT_FOUND) {
        if (world_shown_stale(w, &w->model.now, key) != MODEL_ABSENT) {
            crash_fail("a stale read does not show key %zu", key);
        }
        return;
    }
    if (world_ok(w, status, &err, "a stale read")) {
        check_entry(w, key, pin.value, entry.stale_for_ms);
        lsmkv_pin_release(&pin);
    } else if (!w->reads_may_fail) {
        crash_fail("a stale read failed without a read error");
    }
}

static void check_many(world *w, size_t key) {
    lsmkv_error err = {0};
    lsmkv_read read = {.stale = true};
    lsmkv_lookup lookups[2] = {{.key = w->model.keys[key]},
                               {.key = w->model.keys[world_any_key(w)]}};
    lsmkv_pin pin = {0};
    lsmkv_status status = lsmkv_get_many(w->db, &read, lookups, 2, &pin, &err);

    if (!world_ok(w, status, &err, "get_many of what is stale")) {
        return;
    }
    if (lookups[0].found) {
        check_entry(w, key, lookups[0].value, lookups[0].stale_for_ms);
    } else if (world_shown_stale(w, &w->model.now, key) != MODEL_ABSENT) {
        crash_fail("get_many does not show key %zu, which is stale", key);
    }
    lsmkv_pin_release(&pin);
}

void world_check_stale(world *w, size_t key) {
    crash_count.reads += 2;
    check_one(w, key);
    check_many(w, key);
}
