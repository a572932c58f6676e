/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what was deleted, has expired or was evicted never comes back, in a cache or
 * elsewhere, for plain and stale-tolerant reads, through flushes, compactions, crashes
 * and clocks that are set back. Engine time (docs/durability.md) has one tolerance:
 * after a crash *and* with the clock set back a value may show for as long again as the
 * time before the crash that was on no record; here it is measured to the millisecond.
 * Method: one simulated disk and its clocks, every way to read a key.
 */
#include "expiry_help.h"

enum { SECOND = 1000, HOUR = 3600 * SECOND, DAY = 24 * HOUR, SIZE = 300 };
enum { TTL = 10 * SECOND, STALE = 5 * SECOND };

typedef enum shown { NOTHING, STALE_ONLY, FRESH } shown;

typedef enum place { IN_MEMORY, FLUSHED, COMPACTED, PLACES } place;

static const int64_t steps_back[] = {0, HOUR, 10 * (int64_t)DAY};

/* A handle of the namespace that is a cache, or none for the default one. */
static lsmkv_namespace *open_cache(expiry_db *d, bool cache) {
    lsmkv_namespace_how how = {.create = true,
                               .has_max_bytes = true,
                               .options = {.max_bytes = LSMKV_CACHE_BYTES_MIN}};
    lsmkv_namespace *space = NULL;
    lsmkv_error err;

    if (cache) {
        CHECK_OK(lsmkv_namespace_open(d->db, word_bytes("cache"), &how, &space, &err));
    }
    return space;
}

static void put(expiry_db *d, const lsmkv_namespace *space, const char *key, char value,
                bool lives) {
    lsmkv_write how = {.space = space, .ttl_ms = lives ? NEVER : TTL};
    char bytes[SIZE];
    lsmkv_error err;

    how.stale_ms = lives ? 0 : STALE;
    memset(bytes, value, SIZE);
    CHECK_OK(lsmkv_put(d->db, &how, word_bytes(key), (lsmkv_bytes){bytes, SIZE}, &err));
}

static void check_value(lsmkv_bytes found, char value) {
    CHECK_EQ(found.size, SIZE);
    CHECK_EQ(((const char *)found.data)[0], value);
}

/* What is shown of a key; if anything, it must be the newest value. */
static shown look(expiry_db *d, const lsmkv_namespace *space, char newest) {
    const lsmkv_bytes key = word_bytes("key");
    lsmkv_read plain = {.space = space};
    lsmkv_read stale = {.space = space, .stale = true};
    lsmkv_lookup lookup = {.key = key};
    lsmkv_entry entry;
    lsmkv_error err;
    lsmkv_pin pin;
    lsmkv_iter *iter = NULL;
    int64_t left;

    lsmkv_status status = lsmkv_get(d->db, &plain, key, &pin, &err);
    bool fresh = status == LSMKV_OK;
    CHECK(fresh || status == LSMKV_NOT_FOUND);
    if (fresh) {
        check_value(pin.value, newest);
        lsmkv_pin_release(&pin);
    }
    CHECK_EQ(lsmkv_ttl(d->db, &plain, key, &left, &err) == LSMKV_OK, fresh);
    CHECK_OK(lsmkv_get_many(d->db, &plain, &lookup, 1, &pin, &err));
    CHECK_EQ(lookup.found, fresh);
    lsmkv_pin_release(&pin);
    CHECK_OK(lsmkv_iter_create(d->db, &plain, NULL, &iter, &err));
    CHECK_OK(lsmkv_iter_seek(iter, key, &err));
    CHECK_EQ(lsmkv_iter_valid(iter) && word_is(lsmkv_iter_key(iter), "key"), fresh);
    lsmkv_iter_free(iter);
    status = lsmkv_get_entry(d->db, &stale, key, &entry, &pin, &err);
    CHECK(status == LSMKV_OK || (status == LSMKV_NOT_FOUND && !fresh));
    if (status != LSMKV_OK) {
        return NOTHING;
    }
    check_value(pin.value, newest);
    lsmkv_pin_release(&pin);
    CHECK_EQ(entry.stale_for_ms < 0, fresh);
    return fresh ? FRESH : STALE_ONLY;
}

static void move_to(expiry_db *d, place where) {
    if (where == FLUSHED) {
        expiry_flush(d);
    } else if (where == COMPACTED) {
        expiry_compact(d);
    }
}

/* Puts time on record, durably. */
static void note_time(expiry_db *d) {
    lsmkv_write sync = {.sync = true};
    lsmkv_error err;

    CHECK_OK(lsmkv_put(d->db, &sync, word_bytes("noted"), word_bytes("x"), &err));
}

/* Another value is written over and over until the cache has given the key up. */
static void evict(expiry_db *d, const lsmkv_namespace *space) {
    lsmkv_error err;

    for (int i = 0; i < 2 * LSMKV_CACHE_BYTES_MIN / SIZE; i++) {
        put(d, space, "other", 'o', true);
        if (i % 8 == 0) {
            CHECK_OK(lsmkv_settle(d->db, &err));
        }
    }
}

/* The key has an older value in the tree, then one of a fate that takes it away. */
typedef enum fate { DELETED, EXPIRED, HIDDEN, EVICTED, FATES } fate;

static void suffer(expiry_db *d, const lsmkv_namespace *space, fate what) {
    lsmkv_write how = {.space = space};
    lsmkv_error err;

    switch (what) {
        case DELETED:
            CHECK_OK(lsmkv_delete(d->db, &how, word_bytes("key"), &err));
            break;
        case EXPIRED:
            expiry_pass(d, TTL + STALE);
            break;
        case HIDDEN:
            expiry_pass(d, TTL);
            break;
        case EVICTED:
            evict(d, space);
            break;
        case FATES:
            break;
    }
}

/* One story: reads never show more than before, whatever happens afterwards. */
static void live_through(bool cache, fate what, place where, int64_t back, bool power) {
    const shown most = what == HIDDEN ? STALE_ONLY : NOTHING;
    expiry_db d;

    expiry_begin(&d);
    lsmkv_namespace *space = open_cache(&d, cache);
    put(&d, space, "key", 'a', true);
    expiry_compact(&d);
    put(&d, space, "key", 'b', what == DELETED || what == EVICTED);
    CHECK_EQ(look(&d, space, 'b'), FRESH);
    move_to(&d, where);
    suffer(&d, space, what);
    CHECK_EQ(look(&d, space, 'b'), most);
    note_time(&d);
    move_to(&d, where);
    for (int life = 0; life < 3; life++) {
        expiry_pass(&d, -back);
        CHECK(look(&d, space, 'b') <= most);
        lsmkv_namespace_free(space);
        if (life == 1) {
            expiry_reopen(&d);
        } else {
            expiry_crash(&d, !power);
        }
        space = open_cache(&d, cache);
        CHECK(look(&d, space, 'b') <= most);
        expiry_compact(&d);
        CHECK(look(&d, space, 'b') <= most);
    }
    expiry_pass(&d, STALE);
    CHECK_EQ(look(&d, space, 'b'), NOTHING);
    lsmkv_namespace_free(space);
    expiry_end(&d);
}

static void live_through_all(bool cache, fate what) {
    for (int where = 0; where < PLACES; where++) {
        for (size_t i = 0; i < LSM_ARRAY_COUNT(steps_back); i++) {
            live_through(cache, what, (place)where, steps_back[i], false);
            live_through(cache, what, (place)where, steps_back[i], true);
        }
    }
}

LSM_TEST(a_deleted_value_never_returns) {
    live_through_all(false, DELETED);
    live_through_all(true, DELETED);
}

LSM_TEST(an_expired_value_never_returns_once_the_time_is_on_record) {
    live_through_all(false, EXPIRED);
    live_through_all(true, EXPIRED);
}

LSM_TEST(a_stale_value_never_becomes_fresh_again_once_the_time_is_on_record) {
    live_through_all(false, HIDDEN);
    live_through_all(true, HIDDEN);
}

LSM_TEST(an_evicted_value_never_returns) {
    live_through_all(true, EVICTED);
}

/* What shows of a value of that age, in ms. */
static shown expected_at(int64_t age) {
    if (age >= TTL + STALE) {
        return NOTHING;
    }
    return age >= TTL ? STALE_ONLY : FRESH;
}

/* Time passes that no record knows of, the process dies, and the clock is set back. */
static void lose_time(bool cache, int64_t idle, int64_t back) {
    int64_t lost = idle < back ? idle : back; /* engine time goes back by that */
    int64_t age = idle - lost;
    const int64_t moments[] = {age, TTL - 1, TTL, TTL + STALE - 1, TTL + STALE};
    expiry_db d;

    expiry_begin(&d);
    lsmkv_namespace *space = open_cache(&d, cache);
    put(&d, space, "key", 'b', false);
    note_time(&d);
    expiry_pass(&d, idle);
    CHECK_EQ(look(&d, space, 'b'), expected_at(idle));
    expiry_pass(&d, -back);
    lsmkv_namespace_free(space);
    expiry_crash(&d, true); /* a cache loses what is not synced when the power fails */
    space = open_cache(&d, cache);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(moments); i++) {
        int64_t at = moments[i] > age ? moments[i] : age;
        expiry_pass(&d, at - age);
        age = at;
        CHECK_EQ(look(&d, space, 'b'), expected_at(age));
    }
    CHECK_EQ(look(&d, space, 'b'), NOTHING);
    lsmkv_namespace_free(space);
    expiry_end(&d);
}

LSM_TEST(only_time_on_no_record_is_lost_by_a_crash_with_the_clock_set_back) {
    const int64_t idles[] = {0, TTL - 1, TTL, TTL + STALE - 1, TTL + STALE, HOUR};
    const int64_t backs[] = {0, 1, SECOND, TTL, TTL + STALE, HOUR, DAY};

    for (size_t i = 0; i < LSM_ARRAY_COUNT(idles); i++) {
        for (size_t k = 0; k < LSM_ARRAY_COUNT(backs); k++) {
            lose_time(false, idles[i], backs[k]);
            lose_time(true, idles[i], backs[k]);
        }
    }
}

/* Without a crash, or without a clock that is set back, there is no tolerance. */
LSM_TEST(a_close_puts_the_time_on_record) {
    for (int cache = 0; cache < 2; cache++) {
        for (int closes = 0; closes < 2; closes++) {
            expiry_db d;
            expiry_begin(&d);
            lsmkv_namespace *space = open_cache(&d, cache != 0);
            put(&d, space, "key", 'b', false);
            note_time(&d);
            expiry_pass(&d, TTL + STALE);
            expiry_pass(&d, closes != 0 ? -10 * (int64_t)DAY : 0);
            lsmkv_namespace_free(space);
            if (closes != 0) {
                expiry_reopen(&d);
            } else {
                expiry_crash(&d, true);
            }
            space = open_cache(&d, cache != 0);
            CHECK_EQ(look(&d, space, 'b'), NOTHING);
            lsmkv_namespace_free(space);
            expiry_end(&d);
        }
    }
}
