/* SPDX-License-Identifier: Apache-2.0
 *
 * Stress of the C interface on a real directory, meant for ThreadSanitizer.
 *
 *   stress --dir DIR [--seconds N] [--seed S]
 *
 * Rounds until the time is up. In each, threads write, read, scan, hold snapshots,
 * touch, count, flush, compact, sync, verify, make checkpoints, open the directory for
 * reading only and ask for statistics, until some of them close the database under the
 * others; then it is opened again and checked.
 *
 * The data are pairs of keys. Version v of pair p is one batch: p/a = v, p/b = ~v, or,
 * for every seventh version, both deleted, one by one or as a range. Each pair has one
 * writer, which notes the version before the call (begun) and after it (acknowledged).
 * So what a read may find is known without a lock:
 *
 *   acknowledged before the read began <= v <= begun before it ended,
 *   never less than the same thread has seen before,
 *   and in one state both keys of a pair agree.
 *
 * What is written with a long time to live, or touched, stays as it is. Beside the
 * pairs there are values that live for moments, and ranges of them are deleted: such a
 * read may find nothing, but never a version after the moment at which it has expired.
 * Views of values are held for longer than those live, and beyond the close. One thread
 * creates, fills and drops namespaces, which hold what it wrote and nothing else.
 *
 * The first thing that is wrong is printed and ends the program with status 1.
 */
#include "stress_help.h"

#include <dirent.h>
#include <stdatomic.h>
#include <unistd.h>

#include "env/sync.h"

enum {
    PAIRS = 96,
    WRITERS = 2,
    READERS = 2,
    SCANNERS = 1,
    HOLDERS = 1,
    KEEPERS = 1,
    CLOSERS = 2,
    TOUCHERS = 1,
    PASSERS = 1,
    VIEWERS = 1,
    COPIERS = 1,
    LOOKERS = 1,
    FOUNDERS = 1,
    THREADS = WRITERS + READERS + SCANNERS + HOLDERS + KEEPERS + CLOSERS + TOUCHERS +
        PASSERS + VIEWERS + COPIERS + LOOKERS + FOUNDERS,
    PASSING = 32, /* keys whose values live for moments */
    HOUR_MS = 3600 * 1000,
    PATH_SIZE = 4096,
    SPACES = 4, /* namespaces that come and go */
    SPACE_KEYS = 8,
    VIEWS = 16, /* held by one thread */
    DELETE_EVERY = 7,
};

typedef struct pair_progress {
    _Atomic uint64_t begun;
    _Atomic uint64_t acknowledged;
} pair_progress;

typedef struct totals {
    _Atomic uint64_t writes, reads, rows, snapshots, maintenance, rounds;
    _Atomic uint64_t touches, passing, views, checkpoints, held, spaces;
} totals;

/* Of a key whose values live for moments. */
typedef struct passing_progress {
    _Atomic uint64_t version; /* acknowledged; written after gone_at_us */
    _Atomic uint64_t gone_at_us;
} passing_progress;

static pair_progress pairs[PAIRS];
static passing_progress passing[PASSING];
static const char *directory;
static totals total;

/* One thread of one round. */
typedef struct actor {
    lsmkv_db *db;
    lsm_rng rng;
    uint32_t index;   /* among its kind */
    uint64_t open_us; /* a closer waits so long */
    uint64_t seen[PAIRS];
    lsm_thread thread;
} actor;

static bool holds_deletion(uint64_t low, uint64_t high) {
    return low == 0 || high / DELETE_EVERY * DELETE_EVERY >= low;
}

/* What a read found of a pair: a version, or 0 for nothing. */
static void check_version(actor *a, size_t pair, uint64_t low, uint64_t found) {
    uint64_t high = atomic_load(&pairs[pair].begun);

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

static void write_pairs(void *context) {
    actor *a = (actor *)context;
    lsmkv_batch *batch = NULL;
    lsmkv_error err = {0};
    bool open = go_on(lsmkv_batch_create(&batch, &err), &err, "batch_create");

    while (open) {
        size_t pair = lsm_rng_below(&a->rng, PAIRS / WRITERS) * WRITERS + a->index;
        uint64_t version = atomic_load(&pairs[pair].begun) + 1;
        lsmkv_write how = {.sync = lsm_rng_below(&a->rng, 64) == 0,
                           .nonblocking = lsm_rng_below(&a->rng, 4) == 0};
        lsmkv_status status = LSMKV_OK;

        how.ttl_ms = lsm_rng_below(&a->rng, 4) == 0 ? HOUR_MS : 0;
        lsmkv_batch_clear(batch);
        fill_batch(a, batch, &how, pair, version);
        atomic_store(&pairs[pair].begun, version);
        status = lsmkv_write_batch(a->db, &how, batch, &err);
        if (status == LSMKV_WOULD_BLOCK && how.nonblocking) {
            how.nonblocking = false;
            status = lsmkv_write_batch(a->db, &how, batch, &err);
        }
        open = go_on(status, &err, "write");
        if (open) {
            atomic_store(&pairs[pair].acknowledged, version);
            atomic_fetch_add(&total.writes, 1);
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
    uint64_t low = atomic_load(&pairs[pair].acknowledged);
    lsmkv_status status =
        lsmkv_get(a->db, &read, make_key(key, pair, half), &pin, &err);

    if (status == LSMKV_WOULD_BLOCK && read.nonblocking) {
        return true;
    }
    if (status == LSMKV_NOT_FOUND) {
        check_version(a, pair, low, 0);
        return true;
    }
    if (!go_on(status, &err, "get")) {
        return false;
    }
    check_version(a, pair, low, read_version(pin.value, half));
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
    uint64_t low = atomic_load(&pairs[pair].acknowledged);

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
    check_version(a, pair, low, found[0]);
    return true;
}

static void read_pairs(void *context) {
    actor *a = (actor *)context;
    bool open = true;

    while (open) {
        size_t pair = lsm_rng_below(&a->rng, PAIRS);
        open = lsm_rng_below(&a->rng, 3) == 0 ? read_both(a, pair) : read_one(a, pair);
        atomic_fetch_add(&total.reads, 1);
    }
}

/* All pairs of a state, by one scan; 0 for what is not there. */
static lsmkv_status scan(lsmkv_db *db, const lsmkv_snapshot *snapshot, bool reverse,
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
        atomic_fetch_add(&total.rows, 1);
        status = reverse ? lsmkv_iter_prev(iter, err) : lsmkv_iter_next(iter, err);
    }
    lsmkv_iter_free(iter);
    for (size_t pair = 0; pair < PAIRS && status == LSMKV_OK; pair++) {
        check_agree(pair, halves[pair][0], halves[pair][1]);
        found[pair] = halves[pair][0];
    }
    return status;
}

static void scan_pairs(void *context) {
    actor *a = (actor *)context;
    lsmkv_error err = {0};
    bool open = true;

    while (open) {
        uint64_t low[PAIRS];
        uint64_t found[PAIRS] = {0};
        for (size_t i = 0; i < PAIRS; i++) {
            low[i] = atomic_load(&pairs[i].acknowledged);
        }
        open = go_on(scan(a->db, NULL, lsm_rng_below(&a->rng, 2) == 0, found, &err),
                     &err, "scan");
        for (size_t i = 0; i < PAIRS && open; i++) {
            check_version(a, i, low[i], found[i]);
        }
    }
}

static void hold_snapshots(void *context) {
    actor *a = (actor *)context;
    lsmkv_error err = {0};
    bool open = true;

    while (open) {
        lsmkv_snapshot *snapshot = NULL;
        uint64_t first[PAIRS];
        uint64_t again[PAIRS];

        open = go_on(lsmkv_snapshot_create(a->db, &snapshot, &err), &err, "snapshot") &&
               go_on(scan(a->db, snapshot, false, first, &err), &err, "snapshot scan");
        sleep_us(lsm_rng_below(&a->rng, 20000));
        open = open &&
               go_on(scan(a->db, snapshot, true, again, &err), &err, "snapshot scan");
        if (open && memcmp(first, again, sizeof(first)) != 0) {
            fail("a snapshot changed");
        }
        lsmkv_snapshot_free(snapshot);
        atomic_fetch_add(&total.snapshots, 1);
    }
}

/* Gives values another time to live, which changes nothing. */
static void touch_pairs(void *context) {
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
        atomic_fetch_add(&total.touches, 1);
    }
}

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
static void pass_values(void *context) {
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
        atomic_fetch_add(&total.passing, 1);
    }
}

/* Opens the directory for reading only while the writer changes it. */
static void view_pairs(void *context) {
    actor *a = (actor *)context;

    while (!lsmkv_is_closed(a->db)) {
        uint64_t low[PAIRS];
        uint64_t found[PAIRS] = {0};
        lsmkv_options options;
        lsmkv_error err = {0};
        lsmkv_db *view = NULL;

        lsmkv_options_init(&options);
        options.read_only = true;
        options.memory_bytes = 1 << 20;
        for (size_t i = 0; i < PAIRS; i++) {
            low[i] = atomic_load(&pairs[i].acknowledged);
        }
        lsmkv_status status = lsmkv_open(directory, &options, &view, &err);
        if (status == LSMKV_OK) {
            status = scan(view, NULL, lsm_rng_below(&a->rng, 2) == 0, found, &err);
        }
        if (status == LSMKV_OK) {
            for (size_t i = 0; i < PAIRS; i++) {
                check_version(a, i, low[i], found[i]);
            }
            atomic_fetch_add(&total.views, 1);
        } else if (status != LSMKV_CHANGED) {
            (void)go_on(status, &err, "view");
        }
        lsmkv_free(view);
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
static void look_at_pairs(void *context) {
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
        atomic_fetch_add(&total.held, 1);
    }
    sleep_us(1000);
    for (size_t i = 0; i < VIEWS; i++) {
        let_go(&held[i]);
    }
}

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

static void found_spaces(void *context) {
    actor *a = (actor *)context;
    bool open = true;

    for (uint64_t version = 1; open; version++) {
        char name[KEY_SIZE];
        int size = snprintf(name, sizeof(name), "space %d",
                            (int)lsm_rng_below(&a->rng, SPACES));
        open = live_once(a, (lsmkv_bytes){name, (size_t)size}, version);
        atomic_fetch_add(&total.spaces, 1);
    }
}

static void remove_directory(const char *path) {
    char name[PATH_SIZE + sizeof(((struct dirent *)NULL)->d_name)];
    DIR *stream = opendir(path);
    const struct dirent *entry;

    while (stream != NULL && (entry = readdir(stream)) != NULL) {
        (void)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        (void)unlink(name);
    }
    if (stream != NULL) {
        (void)closedir(stream);
    }
    (void)rmdir(path);
}

static void on_problem(void *context, const lsmkv_error *problem) {
    (void)context;
    fail("verify: %s at %lld: %s", problem->file, (long long)problem->offset,
         problem->message);
}

/* Makes checkpoints and reads what is in them. */
static void copy_pairs(void *context) {
    actor *a = (actor *)context;
    char path[PATH_SIZE];
    bool open = true;

    (void)snprintf(path, sizeof(path), "%s/checkpoint", directory);
    while (open) {
        uint64_t low[PAIRS];
        uint64_t found[PAIRS] = {0};
        lsmkv_error err = {0};
        lsmkv_options options;
        lsmkv_report report = {0};
        lsmkv_db *copy = NULL;

        lsmkv_options_init(&options);
        options.read_only = lsm_rng_below(&a->rng, 2) == 0;
        options.memory_bytes = 1 << 20;
        remove_directory(path);
        for (size_t i = 0; i < PAIRS; i++) {
            low[i] = atomic_load(&pairs[i].acknowledged);
        }
        open = go_on(lsmkv_checkpoint(a->db, path, &err), &err, "checkpoint");
        if (!open) {
            break;
        }
        if (lsmkv_open(path, &options, &copy, &err) != LSMKV_OK ||
            lsmkv_verify(copy, on_problem, NULL, &report, &err) != LSMKV_OK ||
            scan(copy, NULL, false, found, &err) != LSMKV_OK) {
            fail("a checkpoint: %s", err.message);
        }
        for (size_t i = 0; i < PAIRS; i++) {
            check_version(a, i, low[i], found[i]);
        }
        lsmkv_free(copy);
        atomic_fetch_add(&total.checkpoints, 1);
        sleep_us(lsm_rng_below(&a->rng, 50000));
    }
    remove_directory(path);
}

static void maintain(void *context) {
    actor *a = (actor *)context;
    lsmkv_error err = {0};
    bool open = true;

    while (open) {
        lsmkv_stats stats = {0};
        lsmkv_memory memory = {0};
        lsmkv_report report = {0};
        lsmkv_status status = LSMKV_OK;
        uint64_t count = 0;

        switch (lsm_rng_below(&a->rng, 14)) {
            case 0:
                status = lsmkv_compact(a->db, NULL, NULL, &err);
                break;
            case 1:
                status = lsmkv_verify(a->db, on_problem, NULL, &report, &err);
                break;
            case 2:
            case 3:
                status = lsmkv_flush(a->db, &err);
                break;
            case 4:
                status = lsmkv_settle(a->db, &err);
                break;
            case 5:
            case 6:
                status = lsmkv_sync(a->db, &err);
                break;
            case 7:
                status = lsmkv_get_memory(a->db, &memory, &err);
                break;
            case 8:
                status = lsmkv_approximate_count(a->db, NULL, NULL, &count, &err);
                break;
            case 9:
                status = read_counts(a->db, &err);
                break;
            default:
                status = lsmkv_get_stats(a->db, &stats, &err);
                sleep_us(lsm_rng_below(&a->rng, 2000));
                break;
        }
        open = go_on(status, &err, "maintenance");
        atomic_fetch_add(&total.maintenance, 1);
    }
}

static void close_under_all(void *context) {
    actor *a = (actor *)context;
    lsmkv_error err = {0};

    sleep_us(a->open_us);
    if (!go_on(lsmkv_close(a->db, &err), &err, "close") || !lsmkv_is_closed(a->db)) {
        fail("close left the database open");
    }
}

static lsmkv_db *open_directory(const char *path, lsm_rng *rng) {
    lsmkv_options options;
    lsmkv_error err = {0};
    lsmkv_db *db = NULL;

    lsmkv_options_init(&options);
    if (lsm_rng_below(rng, 2) == 0) {
        options.durability = LSMKV_DURABILITY_INTERVAL;
        options.sync_interval_ms = 1 + (uint32_t)lsm_rng_below(rng, 20);
    }
    options.memory_bytes = 1 << 20;
    options.memtable_bytes = (uint64_t)1 << (12 + lsm_rng_below(rng, 4));
    options.block_cache_bytes = (int64_t)lsm_rng_below(rng, 3) << 14;
    options.max_open_files = 16;
    options.mapping = lsm_rng_below(rng, 2) == 0;
    options.log_bytes = (uint64_t)1 << (16 + lsm_rng_below(rng, 4));
    options.block_bytes = 512;
    options.table_bytes = (uint64_t)1 << (12 + lsm_rng_below(rng, 3));
    options.level_base_bytes = 1 << 14;
    options.level_multiplier = 2;
    options.l0_compact_trigger = 2;
    options.background_threads = 1 + (uint32_t)lsm_rng_below(rng, 4);
    (void)go_on(lsmkv_open(path, &options, &db, &err), &err, "open");
    return db;
}

/* Everything acknowledged is there after a reopen, and nothing that never began. */
static void check_reopened(const char *path, lsm_rng *rng) {
    static actor checker;
    lsmkv_error err = {0};
    uint64_t found[PAIRS] = {0};

    memset(&checker, 0, sizeof(checker));
    checker.db = open_directory(path, rng);
    (void)go_on(scan(checker.db, NULL, false, found, &err), &err, "scan");
    for (size_t i = 0; i < PAIRS; i++) {
        check_version(&checker, i, atomic_load(&pairs[i].acknowledged), found[i]);
        if (found[i] != 0) {
            /* Maybe of a write that answered CLOSED: it is there to stay. */
            atomic_store(&pairs[i].acknowledged, found[i]);
        }
    }
    (void)go_on(lsmkv_close(checker.db, &err), &err, "close");
    lsmkv_free(checker.db);
}

static void run_round(const char *path, lsm_rng *rng) {
    static actor actors[THREADS];
    static const struct {
        void (*run)(void *context);
        uint32_t count;
    } kinds[] = {
        {write_pairs, WRITERS},    {read_pairs, READERS},    {scan_pairs, SCANNERS},
        {hold_snapshots, HOLDERS}, {maintain, KEEPERS},      {close_under_all, CLOSERS},
        {touch_pairs, TOUCHERS},   {pass_values, PASSERS},   {view_pairs, VIEWERS},
        {copy_pairs, COPIERS},     {look_at_pairs, LOOKERS}, {found_spaces, FOUNDERS},
    };
    lsmkv_db *db = open_directory(path, rng);
    uint64_t open_us = lsm_rng_below(rng, 400000);
    size_t count = 0;

    memset(actors, 0, sizeof(actors));
    for (size_t kind = 0; kind < LSM_ARRAY_COUNT(kinds); kind++) {
        for (uint32_t i = 0; i < kinds[kind].count; i++) {
            actor *a = &actors[count++];
            a->db = db;
            a->rng.state = lsm_rng_next(rng);
            a->index = i;
            a->open_us = open_us;
            if (!lsm_thread_start(&a->thread, kinds[kind].run, a, "stress")) {
                fail("no thread");
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        lsm_thread_join(&actors[i].thread);
    }
    lsmkv_free(db);
    check_reopened(path, rng);
    atomic_fetch_add(&total.rounds, 1);
}

int main(int argument_count, char **arguments) {
    const char *path = NULL;
    time_t start = time(NULL);
    long seconds = 10;
    lsm_rng rng;

    for (int i = 1; i + 1 < argument_count; i += 2) {
        if (strcmp(arguments[i], "--dir") == 0) {
            path = arguments[i + 1];
        } else if (strcmp(arguments[i], "--seconds") == 0) {
            seconds = strtol(arguments[i + 1], NULL, 10);
        } else if (strcmp(arguments[i], "--seed") == 0) {
            seed = strtoull(arguments[i + 1], NULL, 10);
        }
    }
    if (path == NULL) {
        (void)fprintf(stderr, "usage: stress --dir DIR [--seconds N] [--seed S]\n");
        return 2;
    }
    rng.state = seed;
    directory = path;
    do {
        run_round(path, &rng);
    } while (time(NULL) - start < seconds);
    (void)printf("passed: seed=%" PRIu64 " rounds=%" PRIu64 " writes=%" PRIu64
                 " reads=%" PRIu64 " rows=%" PRIu64 " snapshots=%" PRIu64
                 " maintenance=%" PRIu64 " touches=%" PRIu64 " passing=%" PRIu64
                 " views=%" PRIu64 " checkpoints=%" PRIu64 " held=%" PRIu64
                 " spaces=%" PRIu64 "\n",
                 seed, atomic_load(&total.rounds), atomic_load(&total.writes),
                 atomic_load(&total.reads), atomic_load(&total.rows),
                 atomic_load(&total.snapshots), atomic_load(&total.maintenance),
                 atomic_load(&total.touches), atomic_load(&total.passing),
                 atomic_load(&total.views), atomic_load(&total.checkpoints),
                 atomic_load(&total.held), atomic_load(&total.spaces));
    return 0;
}
