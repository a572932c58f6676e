/* SPDX-License-Identifier: Apache-2.0
 *
 * Stress of the C interface on a real directory, meant for ThreadSanitizer.
 *
 *   stress --dir DIR [--seconds N] [--seed S] [--mutant NAME]
 *
 * Rounds until the time is up. In each, threads write, read, scan, hold snapshots,
 * touch, count, flush, compact, sync, verify, publish, make checkpoints, open the
 * directory for reading only, follow it and ask for statistics, until some of them
 * close the database under the others; then it is opened again and checked.
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
 * creates, fills and drops namespaces, which hold what it wrote and nothing else. Of a
 * cache that turns over, keys have one writer each, too, and show what was acknowledged
 * last, something newer, or nothing. One thread publishes, rolls back and releases
 * versions, of which readers see one at a time, whole. A follower has the directory
 * open all the time and shows, refreshed, all that was acknowledged before.
 *
 * The first thing that is wrong is printed and ends the program with status 1.
 */
#include "stress_help.h"

#include "base/mutant.h"

enum {
    READERS = 2,
    CLOSERS = 2,
    SINGLES = 12, /* kinds of which there is one */
    THREADS = WRITERS + READERS + CLOSERS + CACHERS + SINGLES,
};

uint64_t stress_seed = 1;
const char *stress_directory;
stress_totals stress_total;
stress_progress stress_pairs[PAIRS];

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
    (void)go_on(stress_scan(checker.db, NULL, false, found, &err), &err, "scan");
    for (size_t i = 0; i < PAIRS; i++) {
        stress_check_version(&checker, i, atomic_load(&stress_pairs[i].acknowledged),
                             found[i]);
        if (found[i] != 0) {
            /* Maybe of a write that answered CLOSED: it is there to stay. */
            atomic_store(&stress_pairs[i].acknowledged, found[i]);
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
        {stress_write_pairs, WRITERS}, {stress_read_pairs, READERS},
        {close_under_all, CLOSERS},    {stress_use_cache, CACHERS},
        {stress_scan_pairs, 1},        {stress_hold_snapshots, 1},
        {stress_maintain, 1},          {stress_touch_pairs, 1},
        {stress_pass_values, 1},       {stress_view_pairs, 1},
        {stress_copy_pairs, 1},        {stress_hold_views, 1},
        {stress_found_spaces, 1},      {stress_publish, 1},
        {stress_read_published, 1},    {stress_follow_pairs, 1},
    };
    lsmkv_db *db = open_directory(path, rng);
    uint64_t open_us =
        lsm_rng_below(rng, lsm_rng_below(rng, 4) == 0 ? 3000000 : 400000);
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
    atomic_fetch_add(&stress_total.rounds, 1);
}

static void print_totals(void) {
    const struct {
        const char *name;
        const _Atomic uint64_t *count;
    } counts[] = {
        {"rounds", &stress_total.rounds},
        {"writes", &stress_total.writes},
        {"reads", &stress_total.reads},
        {"rows", &stress_total.rows},
        {"snapshots", &stress_total.snapshots},
        {"touches", &stress_total.touches},
        {"maintenance", &stress_total.maintenance},
        {"passing", &stress_total.passing},
        {"views", &stress_total.views},
        {"held", &stress_total.held},
        {"checkpoints", &stress_total.checkpoints},
        {"spaces", &stress_total.spaces},
        {"cached", &stress_total.cached},
        {"published", &stress_total.published},
        {"publishes", &stress_total.publishes},
        {"refreshes", &stress_total.refreshes},
    };

    (void)printf("passed: seed=%" PRIu64, stress_seed);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(counts); i++) {
        (void)printf(" %s=%" PRIu64, counts[i].name, atomic_load(counts[i].count));
    }
    (void)printf("\n");
}

int stress_main(int argument_count, char **arguments) {
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
            stress_seed = strtoull(arguments[i + 1], NULL, 10);
        } else if (strcmp(arguments[i], "--mutant") == 0 &&
                   !lsm_mutant_select(arguments[i + 1])) {
            path = NULL;
            break;
        }
    }
    if (path == NULL) {
        (void)fprintf(
            stderr,
            "usage: stress --dir DIR [--seconds N] [--seed S] [--mutant NAME]\n");
        return 2;
    }
    rng.state = stress_seed;
    stress_directory = path;
    do {
        run_round(path, &rng);
    } while (time(NULL) - start < seconds);
    print_totals();
    return 0;
}
