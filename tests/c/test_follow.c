/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a follower shows, after each refresh, a state of the writer's between two
 * batches that is not older than the one before, whatever the writer does to the
 * directory, and what was opened before a refresh stays as it was. Method: writer and
 * follower on one simulated disk. Each batch carries its number, and the model keeps
 * every state, so what a follower shows is held against the state of that number, key
 * by key. Refreshes run between operations, at steps inside the writer's, and with the
 * writer's operations inside a refresh.
 */
#include "db_help.h"
#include "sim_help.h"

#include <stdio.h>

#include "api/testing.h"
#include "base/alloc.h"
#include "base/rng.h"

enum {
    KEYS = 20,
    VERSION_MAX = 3000,
    SPACE_MAX = 2,
    VALUE_ROOM = 700,
    THRESHOLD = 200,
    ROUNDS = 260,
    NUMBER_SIZE = 8,
    PINNED = 3,
};

/* Which version each key has after a batch; 0: none. */
typedef struct moment {
    uint32_t plain[KEYS];
    uint32_t space[KEYS]; /* in the namespace, or all 0 */
} moment;

typedef struct pinned {
    lsmkv_snapshot *snapshot;
    lsmkv_iter *iter;
    size_t moment;
} pinned;

/* The environment with a writer's operation before some of its calls. */
typedef struct scene {
    lsm_env *env;
    const lsm_env_ops *plain;
    lsm_env_ops ops;
    lsm_rng rng;
    lsmkv_db *writer;
    lsmkv_db *follower;
    lsmkv_namespace *space; /* the writer's handle, or NULL */
    moment *moments;        /* by the number of a batch */
    size_t last;            /* number of the last batch begun */
    size_t done;            /* and of the last one acknowledged */
    size_t seen;            /* what the follower showed last */
    pinned pins[PINNED];
    bool interleaves; /* the writer's operations run inside of a refresh */
    bool inside;
    uint64_t refreshes;
    uint64_t inner; /* operations inside of a refresh */
} scene;

static scene *current; /* for the calls of the environment */

static lsmkv_bytes key_of(char to[16], size_t index) {
    int size = snprintf(to, 16, "k%04zu", index);
    return (lsmkv_bytes){to, (size_t)size};
}

static size_t size_of(uint32_t version) {
    return version % 5 == 0 ? THRESHOLD + version % 400 : NUMBER_SIZE + version % 60;
}

static lsmkv_bytes value_of(uint8_t to[VALUE_ROOM], uint32_t version) {
    size_t size = size_of(version);

    memset(to, (int)(version & 0xFF), size);
    memcpy(to, &version, sizeof(version));
    return (lsmkv_bytes){to, size};
}

static void check_value(lsmkv_bytes value, uint32_t version) {
    uint8_t expected[VALUE_ROOM];
    lsmkv_bytes want = value_of(expected, version);
    uint32_t found = 0;

    memcpy(&found, value.data, sizeof(found));
    CHECK_EQ(found, version);
    CHECK_EQ(value.size, want.size);
    CHECK(memcmp(value.data, want.data, want.size) == 0);
}

static void open_handle(scene *s, lsmkv_db **db, bool follower) {
    lsmkv_error err;
    lsmkv_options options;

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.memtable_bytes = 1 << 14;
    options.blob_threshold_bytes = THRESHOLD;
    options.log_bytes = 12 << 10;
    options.table_bytes = 4096;
    options.level_base_bytes = 16 << 10;
    options.level_multiplier = 2;
    options.follower = follower;
    options.seed = lsm_rng_next(&s->rng);
    CHECK_OK(lsm_test_open(s->env, SIM_PATH, &options, db, &err));
}

/* The number of the batch that a handle, or a snapshot of it, shows. */
static size_t number_of(lsmkv_db *db, const lsmkv_snapshot *snapshot) {
    lsmkv_error err;
    lsmkv_pin pin;
    lsmkv_read read = {.snapshot = snapshot};
    uint64_t number = 0;
    lsmkv_status status = lsmkv_get(db, &read, (lsmkv_bytes){"number", 6}, &pin, &err);

    if (status == LSMKV_NOT_FOUND) {
        return 0;
    }
    CHECK_EQ(status, LSMKV_OK);
    memcpy(&number, pin.value.data, sizeof(number));
    lsmkv_pin_release(&pin);
    return (size_t)number;
}

static void check_keys(lsmkv_db *db, const lsmkv_read *read, const uint32_t *versions) {
    lsmkv_error err;
    char key[16];

    for (size_t i = 0; i < KEYS; i++) {
        lsmkv_pin pin;
        lsmkv_status status = lsmkv_get(db, read, key_of(key, i), &pin, &err);
        if (status == LSMKV_NOT_FOUND) {
            CHECK_EQ(0, versions[i]);
            continue;
        }
        CHECK_OK(status);
        check_value(pin.value, versions[i]);
        lsmkv_pin_release(&pin);
    }
}

/* What an iterator shows from here on is the keys of a moment. */
static void check_rows(lsmkv_iter *iter, const uint32_t *versions) {
    lsmkv_error err;
    char key[16];
    size_t at = 0;

    CHECK_OK(lsmkv_iter_seek_first(iter, &err));
    while (lsmkv_iter_valid(iter) &&
           ((const char *)lsmkv_iter_key(iter).data)[0] == 'k') {
        for (; at < KEYS && versions[at] == 0; at++) {
        }
        CHECK(at < KEYS);
        lsmkv_bytes found = lsmkv_iter_key(iter);
        lsmkv_bytes wanted = key_of(key, at);
        CHECK(found.size == wanted.size &&
              memcmp(found.data, wanted.data, wanted.size) == 0);
        check_value(lsmkv_iter_value(iter), versions[at++]);
        CHECK_OK(lsmkv_iter_next(iter, &err));
    }
    for (; at < KEYS; at++) {
        CHECK_EQ(0, versions[at]);
    }
}

static bool has_any(const uint32_t *versions) {
    for (size_t i = 0; i < KEYS; i++) {
        if (versions[i] != 0) {
            return true;
        }
    }
    return false;
}

static void check_space(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                        const uint32_t *versions) {
    lsmkv_error err;
    lsmkv_namespace *space = NULL;
    lsmkv_namespace_how how = {.snapshot = snapshot};
    lsmkv_status status =
        lsmkv_namespace_open(db, (lsmkv_bytes){"s", 1}, &how, &space, &err);

    if (status == LSMKV_NOT_FOUND) {
        CHECK(!has_any(versions));
        return;
    }
    CHECK_OK(status);
    lsmkv_read read = {.snapshot = snapshot, .space = space};
    check_keys(db, &read, versions);
    lsmkv_namespace_free(space);
}

static void check_state(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                        const moment *expected) {
    lsmkv_error err;
    lsmkv_iter *iter = NULL;
    lsmkv_read read = {.snapshot = snapshot};

    check_keys(db, &read, expected->plain);
    CHECK_OK(lsmkv_iter_create(db, &read, NULL, &iter, &err));
    check_rows(iter, expected->plain);
    lsmkv_iter_free(iter);
    check_space(db, snapshot, expected->space);
}

static void release_pin(pinned *pin) {
    lsmkv_iter_free(pin->iter);
    lsmkv_snapshot_free(pin->snapshot);
    *pin = (pinned){0};
}

/* What was opened earlier shows what it did. */
static void check_pins(scene *s) {
    lsmkv_error err;
    pinned *pin = &s->pins[lsm_rng_below(&s->rng, PINNED)];

    if (pin->snapshot == NULL) {
        CHECK_OK(lsmkv_snapshot_create(s->follower, &pin->snapshot, &err));
        CHECK_OK(lsmkv_iter_create(s->follower, NULL, NULL, &pin->iter, &err));
        pin->moment = number_of(s->follower, NULL);
        return;
    }
    CHECK_EQ(number_of(s->follower, pin->snapshot), pin->moment);
    check_state(s->follower, pin->snapshot, &s->moments[pin->moment]);
    check_rows(pin->iter, s->moments[pin->moment].plain);
    if (lsm_rng_below(&s->rng, 4) == 0) {
        release_pin(pin);
    }
}

static void refresh(scene *s) {
    lsmkv_error err;
    bool changed = false;
    uint64_t sequence = lsm_test_sequence(s->follower);
    size_t least = s->done;

    s->inside = true;
    lsmkv_status status = lsmkv_refresh(s->follower, &changed, &err);
    s->inside = false;
    s->refreshes++;
    if (status == LSMKV_CHANGED && s->interleaves) {
        least = s->seen; /* it never got a quiet moment */
    } else {
        CHECK_OK(status);
        CHECK_EQ(changed, sequence != lsm_test_sequence(s->follower));
    }
    size_t number = number_of(s->follower, NULL);
    if (number < least || number > s->last) {
        lsm_test_fail(__FILE__, __LINE__, "shows batch %zu of %zu to %zu", number,
                      least, s->last);
    }
    CHECK(number >= s->seen);
    s->seen = number;
    check_state(s->follower, NULL, &s->moments[number]);
    check_pins(s);
}

static void add(scene *s, lsmkv_batch *batch, const lsmkv_namespace *space,
                uint32_t *versions) {
    lsmkv_error err;
    lsmkv_write how = {.space = space};
    char first[16];
    char second[16];
    uint8_t bytes[VALUE_ROOM];
    size_t key = (size_t)lsm_rng_below(&s->rng, KEYS);
    size_t stop = key + (size_t)lsm_rng_below(&s->rng, 4);

    switch (lsm_rng_below(&s->rng, 8)) {
        case 0:
            CHECK_OK(lsmkv_batch_delete(batch, &how, key_of(first, key), &err));
            versions[key] = 0;
            break;
        case 1: {
            lsmkv_range range = {.has_start = true,
                                 .start = key_of(first, key),
                                 .has_stop = true,
                                 .stop = key_of(second, stop)};
            CHECK_OK(lsmkv_batch_delete_range(batch, &how, &range, &err));
            for (size_t i = key; i < stop && i < KEYS; i++) {
                versions[i] = 0;
            }
            break;
        }
        default:
            versions[key] = 1 + (uint32_t)lsm_rng_below(&s->rng, VERSION_MAX);
            CHECK_OK(lsmkv_batch_put(batch, &how, key_of(first, key),
                                     value_of(bytes, versions[key]), &err));
            break;
    }
}

static void write_batch(scene *s) {
    lsmkv_error err;
    lsmkv_batch *batch = NULL;
    lsmkv_write how = {.sync = lsm_rng_below(&s->rng, 8) == 0};
    moment *next = &s->moments[s->last + 1];
    size_t count = 1 + (size_t)lsm_rng_below(&s->rng, 6);
    uint64_t number = s->last + 1;

    *next = s->moments[s->last];
    CHECK_OK(lsmkv_batch_create(&batch, &err));
    for (size_t i = 0; i < count; i++) {
        if (s->space != NULL && lsm_rng_below(&s->rng, 3) == 0) {
            add(s, batch, s->space, next->space);
        } else {
            add(s, batch, NULL, next->plain);
        }
    }
    CHECK_OK(lsmkv_batch_put(batch, NULL, (lsmkv_bytes){"number", 6},
                             (lsmkv_bytes){&number, sizeof(number)}, &err));
    s->last++;
    CHECK_OK(lsmkv_write_batch(s->writer, &how, batch, &err));
    s->done = s->last;
    lsmkv_batch_free(batch);
}

/* Creates the namespace, or empties and drops it. */
static void found_or_drop(scene *s) {
    lsmkv_error err;
    lsmkv_namespace_how how = {.create = true};
    const lsmkv_bytes name = {"s", 1};

    if (s->space == NULL) {
        CHECK_OK(lsmkv_namespace_open(s->writer, name, &how, &s->space, &err));
        return;
    }
    if (has_any(s->moments[s->last].space)) {
        lsmkv_batch *batch = NULL;
        lsmkv_write inside = {.space = s->space};
        lsmkv_range all = {0};
        uint64_t number = s->last + 1;
        CHECK_OK(lsmkv_batch_create(&batch, &err));
        CHECK_OK(lsmkv_batch_delete_range(batch, &inside, &all, &err));
        CHECK_OK(lsmkv_batch_put(batch, NULL, (lsmkv_bytes){"number", 6},
                                 (lsmkv_bytes){&number, sizeof(number)}, &err));
        s->moments[s->last + 1] = s->moments[s->last];
        memset(s->moments[s->last + 1].space, 0, sizeof(s->moments[0].space));
        s->last++;
        CHECK_OK(lsmkv_write_batch(s->writer, NULL, batch, &err));
        s->done = s->last;
        lsmkv_batch_free(batch);
    }
    lsmkv_namespace_free(s->space);
    s->space = NULL;
    CHECK_OK(lsmkv_namespace_drop(s->writer, name, &err));
}

static void restart(scene *s, bool killed) {
    lsmkv_error err;
    bool had = s->space != NULL;
    lsmkv_namespace_how how = {0};

    lsmkv_namespace_free(s->space);
    s->space = NULL;
    if (killed) {
        lsm_test_abandon(s->writer);
    } else {
        close_db(s->writer);
    }
    s->writer = NULL;
    if (!s->inside) {
        refresh(s); /* nobody writes */
    }
    open_handle(s, &s->writer, false);
    if (had) {
        CHECK_OK(lsmkv_namespace_open(s->writer, (lsmkv_bytes){"s", 1}, &how, &s->space,
                                      &err));
    }
}

static void operate(scene *s) {
    lsmkv_error err;

    switch (lsm_rng_below(&s->rng, 60)) {
        case 0:
            CHECK_OK(lsmkv_flush(s->writer, &err));
            break;
        case 1:
            CHECK_OK(lsmkv_compact(s->writer, NULL, NULL, &err));
            break;
        case 2:
        case 3:
            (void)lsm_test_step(s->writer, lsm_rng_below(&s->rng, 30));
            break;
        case 4:
            CHECK_OK(lsmkv_sync(s->writer, &err));
            break;
        case 5:
            restart(s, false);
            break;
        case 6:
            restart(s, true);
            break;
        case 7:
        case 8:
            found_or_drop(s);
            break;
        default:
            write_batch(s);
            break;
    }
}

static bool strikes(void) {
    scene *s = current;
    return s != NULL && s->writer != NULL && s->inside && s->interleaves &&
           lsm_rng_below(&s->rng, 20) == 0;
}

/* A step of the writer's life before a call that the refresh makes. */
static void maybe_operate(void) {
    scene *s = current;

    if (strikes() && s->last + 4 < ROUNDS * 8) {
        s->interleaves = false;
        s->inner++;
        for (size_t i = lsm_rng_below(&s->rng, 12); i > 0; i--) {
            operate(s);
        }
        s->interleaves = true;
    }
}

static int open_file(lsm_dir *dir, const char *name, lsm_open_mode mode,
                     lsm_file **filep) {
    maybe_operate();
    return current->plain->file_open(dir, name, mode, filep);
}

static int read_file(lsm_file *file, uint64_t offset, void *to, size_t size,
                     size_t *got) {
    maybe_operate();
    return current->plain->file_read(file, offset, to, size, got);
}

static int list_dir(lsm_dir *dir, lsm_namelist *list) {
    maybe_operate();
    return current->plain->dir_list(dir, list);
}

static void begin(scene *s, uint64_t seed) {
    *s = (scene){.rng = {seed}};
    s->env = lsm_sim_create(seed);
    CHECK(s->env != NULL);
    s->moments = lsm_calloc(ROUNDS * 8 + 16, sizeof(moment));
    CHECK(s->moments != NULL);
    s->plain = s->env->ops;
    s->ops = *s->plain;
    s->ops.file_open = open_file;
    s->ops.file_read = read_file;
    s->ops.dir_list = list_dir;
    s->env->ops = &s->ops;
    current = s;
    open_handle(s, &s->writer, false);
    open_handle(s, &s->follower, true);
}

static void end(scene *s) {
    for (size_t i = 0; i < PINNED; i++) {
        release_pin(&s->pins[i]);
    }
    lsmkv_namespace_free(s->space);
    close_db(s->follower);
    close_db(s->writer);
    current = NULL;
    s->env->ops = s->plain;
    lsm_sim_destroy(s->env);
    lsm_free(s->moments);
}

LSM_TEST(follower_shows_the_writers_state_after_every_refresh) {
    for (uint64_t seed = 1; seed <= 12; seed++) {
        scene s;
        begin(&s, seed);
        for (size_t i = 0; i < ROUNDS; i++) {
            operate(&s);
            if (lsm_rng_below(&s.rng, 3) == 0) {
                refresh(&s);
            }
        }
        end(&s);
    }
}

static void refresh_at_step(void *context, uint64_t step) {
    scene *s = context;

    (void)step;
    if (!s->inside && s->follower != NULL && lsm_rng_below(&s->rng, 12) == 0) {
        refresh(s);
    }
}

LSM_TEST(follower_shows_whole_batches_in_the_middle_of_what_the_writer_does) {
    for (uint64_t seed = 1; seed <= 8; seed++) {
        scene s;
        begin(&s, seed);
        lsm_sim_set_hook(s.env, refresh_at_step, &s);
        for (size_t i = 0; i < ROUNDS; i++) {
            operate(&s);
        }
        lsm_sim_set_hook(s.env, NULL, NULL);
        refresh(&s);
        CHECK(s.refreshes > ROUNDS / 8);
        end(&s);
    }
}

LSM_TEST(follower_survives_a_writer_that_goes_on_during_its_refresh) {
    uint64_t inner = 0;

    for (uint64_t seed = 1; seed <= 12; seed++) {
        scene s;
        begin(&s, seed);
        s.interleaves = true;
        for (size_t i = 0; i < ROUNDS && s.last + 40 < ROUNDS * 8; i++) {
            operate(&s);
            refresh(&s);
        }
        inner += s.inner;
        end(&s);
    }
    CHECK(inner > 100);
}
