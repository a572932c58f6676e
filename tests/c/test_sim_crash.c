/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: the simulator is a fair judge: every crash state it makes is legal, every kind
 * of legal state does occur, and synced data is never damaged. Method: histories
 * crashed under many seeds; each state is checked against what the history allows, as
 * followed byte by byte in the test, and counters prove which states were seen.
 */
#include "sim_help.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/rng.h"

enum { SEEDS = 2000 };

LSM_TEST(strict_keeps_what_was_synced_under_names_that_were_synced) {
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "log");

    sim_append(file, "synced");
    sim_sync(file);
    sim_append(file, " pending");
    lsm_env *before = sim_crash(env, 1, LSM_CRASH_STRICT, 32);
    CHECK(!sim_exists(before, "log")); /* a file sync is not one of the name */
    sim_sync_dir(dir);
    lsm_file *empty = sim_create(dir, "empty");
    sim_append(empty, "never synced");
    sim_sync_dir(dir);
    lsm_env *after = sim_crash(env, 1, LSM_CRASH_STRICT, 32);
    CHECK(sim_holds(after, "log", "synced"));
    CHECK(sim_holds(after, "empty", "")); /* nor is a directory sync one of the data */
    CHECK(sim_holds(env, "log", "synced pending"));
    lsm_sim_destroy(before);
    lsm_sim_destroy(after);
    lsm_file_drop(file);
    lsm_file_drop(empty);
    sim_end(env, dir);
}

LSM_TEST(a_created_directory_survives_and_no_other_appears) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_env *crashed = sim_crash(env, 1, LSM_CRASH_STRICT, 32);
    lsm_dir *found = NULL;

    CHECK_STATUS(lsm_dir_open(crashed, "other", false, &found, &err), LSMKV_NOT_FOUND);
    CHECK_OK(lsm_dir_open(crashed, SIM_PATH, false, &found, &err));
    sim_end(crashed, found);
    sim_end(env, dir);
}

LSM_TEST(a_process_crash_keeps_everything_and_keeps_it_pending) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "log");

    sim_write(dir, "old", "text");
    sim_append(file, "synced");
    sim_sync(file);
    sim_sync_dir(dir);
    sim_append(file, " pending");
    CHECK_OK(lsm_dir_rename(dir, "old", "new", &err));
    lsm_env *process = sim_crash(env, 1, LSM_CRASH_ALL, 32);
    CHECK(sim_holds(process, "log", "synced pending"));
    CHECK(sim_holds(process, "new", "text"));
    CHECK(!sim_exists(process, "old"));
    lsm_env *power = sim_crash(process, 1, LSM_CRASH_STRICT, 32);
    CHECK(sim_holds(power, "log", "synced"));
    CHECK(sim_holds(power, "old", "text"));
    CHECK(!sim_exists(power, "new"));
    lsm_sim_destroy(power);
    lsm_sim_destroy(process);
    lsm_file_drop(file);
    sim_end(env, dir);
}

LSM_TEST(after_a_power_failure_everything_found_is_durable) {
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "log");

    sim_append(file, "pending");
    for (int mode = 0; mode < LSM_CRASH_MODE_COUNT; mode++) {
        for (uint64_t seed = 0; mode != LSM_CRASH_ALL && seed < 50; seed++) {
            sim_text first = {{0}, 0};
            sim_text second = {{0}, 0};
            lsm_env *once = sim_crash(env, seed, (lsm_crash_mode)mode, 32);
            lsm_env *twice = sim_crash(once, seed, LSM_CRASH_STRICT, 32);
            CHECK_EQ(sim_look(once, "log", &first), sim_look(twice, "log", &second));
            CHECK_EQ(first.size, second.size);
            CHECK(memcmp(first.data, second.data, first.size) == 0);
            lsm_sim_destroy(twice);
            lsm_sim_destroy(once);
        }
    }
    lsm_file_drop(file);
    sim_end(env, dir);
}

/* A random history of one file, followed byte by byte. */
enum { HISTORY_OPS = 10, STATES_MAX = 400 };

typedef struct history {
    lsm_file *file;
    lsm_rng rng;
    sim_text states[STATES_MAX]; /* since the last sync; [0] is the durable one */
    bool seen[STATES_MAX];
    size_t count;
    size_t stable; /* bytes untouched since the last sync */
} history;

static sim_text *now(history *of) {
    return &of->states[of->count - 1];
}

static void push_state(history *of) {
    CHECK(of->count < STATES_MAX);
    of->states[of->count] = of->states[of->count - 1];
    of->count++;
}

static void grow_history(history *of) {
    size_t added = 1 + (size_t)lsm_rng_below(&of->rng, 24);
    uint8_t bytes[24];
    lsmkv_error err;
    lsm_slice piece = lsm_slice_make(bytes, added);

    for (size_t i = 0; i < added; i++) {
        bytes[i] = (uint8_t)('a' + lsm_rng_below(&of->rng, 26));
        push_state(of);
        now(of)->data[now(of)->size++] = bytes[i];
    }
    CHECK_OK(lsm_file_append(of->file, &piece, 1, NULL, &err));
}

static void cut_history(history *of) {
    size_t size = (size_t)lsm_rng_below(&of->rng, now(of)->size + 1);
    lsmkv_error err;

    push_state(of);
    now(of)->size = size;
    of->stable = size < of->stable ? size : of->stable;
    CHECK_OK(lsm_file_truncate(of->file, size, &err));
}

static void sync_history(history *of) {
    sim_sync(of->file);
    of->states[0] = *now(of);
    of->count = 1;
    of->stable = of->states[0].size;
}

static void make_history(history *of, lsm_dir *dir, uint64_t seed) {
    *of = (history){.rng = {seed}, .count = 1};
    of->file = sim_create(dir, "log");
    sim_sync_dir(dir);
    for (int i = 0; i < HISTORY_OPS; i++) {
        uint64_t choice = lsm_rng_below(&of->rng, 8);
        if (choice < 5) {
            grow_history(of);
        } else if (choice < 7) {
            cut_history(of);
        } else {
            sync_history(of);
        }
    }
}

static bool same(const sim_text *a, const sim_text *b) {
    return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

/* Some state the file went through since its last sync. */
static bool is_prefix_state(history *of, const sim_text *found) {
    bool any = false;

    for (size_t i = 0; i < of->count; i++) {
        if (same(&of->states[i], found)) {
            of->seen[i] = true;
            any = true;
        }
    }
    return any;
}

/* What a missing sector shows: what the disk held, else zero. */
static uint8_t missing_byte(history *of, size_t at) {
    return at < of->states[0].size ? of->states[0].data[at] : 0;
}

/* The size and stable bytes of the newest state, each further sector there or not. */
static bool is_subset_state(history *of, const sim_text *found, size_t sector) {
    const sim_text *newest = now(of);
    size_t at = of->stable;

    if (found->size != newest->size || memcmp(found->data, newest->data, at) != 0) {
        return false;
    }
    while (at < found->size) {
        bool there = true;
        bool missing = true;
        size_t end = (at / sector + 1) * sector;
        for (; at < end && at < found->size; at++) {
            there = there && found->data[at] == newest->data[at];
            missing = missing && found->data[at] == missing_byte(of, at);
        }
        if (!there && !missing) {
            return false;
        }
    }
    return true;
}

static bool is_extend_state(history *of, const sim_text *found) {
    bool zeros = true;

    for (size_t i = of->stable; i < found->size; i++) {
        zeros = zeros && found->data[i] == 0;
    }
    return zeros && found->size == now(of)->size &&
           memcmp(found->data, now(of)->data, of->stable) == 0;
}

static bool is_garbage_state(history *of, const sim_text *found) {
    return found->size == now(of)->size &&
           memcmp(found->data, now(of)->data, of->stable) == 0;
}

static bool is_legal(history *of, const sim_text *found, lsm_crash_mode mode,
                     size_t sector) {
    switch (mode) {
        case LSM_CRASH_STRICT:
            return same(found, &of->states[0]);
        case LSM_CRASH_ALL:
        case LSM_CRASH_DIR_STRICT:
        case LSM_CRASH_DIR_SUBSET:
            return same(found, now(of));
        case LSM_CRASH_PREFIX:
            return is_prefix_state(of, found);
        case LSM_CRASH_SUBSET:
            return is_subset_state(of, found, sector);
        case LSM_CRASH_EXTEND:
            return is_extend_state(of, found);
        case LSM_CRASH_GARBAGE:
            return is_garbage_state(of, found);
        case LSM_CRASH_MIXED:
            return is_prefix_state(of, found) || is_garbage_state(of, found);
        case LSM_CRASH_MODE_COUNT:
        default:
            return false;
    }
}

LSM_TEST(every_state_after_a_crash_is_legal) {
    static history of;
    const uint32_t sectors[] = {1, 8, 32, 4096};

    for (uint64_t round = 0; round < 60; round++) {
        lsm_dir *dir;
        lsm_env *env = sim_make(round, &dir);
        make_history(&of, dir, round);
        for (int mode = 0; mode < LSM_CRASH_MODE_COUNT; mode++) {
            for (uint64_t seed = 0; seed < 40; seed++) {
                uint32_t sector = sectors[seed % LSM_ARRAY_COUNT(sectors)];
                lsm_env *crashed = sim_crash(env, seed, (lsm_crash_mode)mode, sector);
                sim_text found;
                CHECK(sim_look(crashed, "log", &found));
                if (!is_legal(&of, &found, (lsm_crash_mode)mode, sector)) {
                    lsm_test_fail(__FILE__, __LINE__, "round %d mode %d seed %d",
                                  (int)round, mode, (int)seed);
                }
                lsm_sim_destroy(crashed);
            }
        }
        lsm_file_drop(of.file);
        sim_end(env, dir);
    }
}

LSM_TEST(prefix_reaches_every_state_since_the_last_sync) {
    static history of;
    size_t cuts = 0;

    for (uint64_t round = 0; round < 20; round++) {
        lsm_dir *dir;
        lsm_env *env = sim_make(round, &dir);
        make_history(&of, dir, round);
        for (uint64_t seed = 0; seed < 2 * SEEDS; seed++) {
            lsm_env *crashed = sim_crash(env, seed, LSM_CRASH_PREFIX, 32);
            sim_text found;
            CHECK(sim_look(crashed, "log", &found));
            CHECK(is_prefix_state(&of, &found));
            lsm_sim_destroy(crashed);
        }
        for (size_t i = 0; i < of.count; i++) {
            CHECK(of.seen[i]);
            cuts += i > 0 && of.states[i].size < of.states[i - 1].size;
        }
        lsm_file_drop(of.file);
        sim_end(env, dir);
    }
    CHECK(cuts > 10); /* truncations took part */
}

/* How often each shape of a 256-byte file with 100 durable bytes was seen. */
typedef struct shapes {
    int holes;     /* a later sector is there, an earlier one is not */
    int at_byte;   /* cut inside a sector */
    int at_sector; /* cut at one */
    int none;      /* no pending byte */
    int whole;     /* all of them */
    int torn;      /* the sector that durable bytes share is missing its pending part */
    int garbage;   /* a pending byte that is neither zero nor the written one */
} shapes;

enum { SHAPE_SIZE = 256, SHAPE_DURABLE = 100, SHAPE_SECTOR = 32 };

static void note_shape(shapes *seen, const sim_text *found, const uint8_t *written) {
    size_t there = 0;
    bool missed = false;
    bool hole = false;
    bool garbage = false;

    CHECK(memcmp(found->data, written, SHAPE_DURABLE) == 0);
    for (size_t i = SHAPE_DURABLE; i < found->size; i++) {
        bool same_byte = found->data[i] == written[i];
        there += same_byte;
        hole = hole || (same_byte && missed);
        missed = missed || !same_byte;
        garbage = garbage || (!same_byte && found->data[i] != 0);
    }
    seen->holes += hole;
    seen->garbage += garbage;
    seen->none += there == 0;
    seen->whole += there == SHAPE_SIZE - SHAPE_DURABLE;
    seen->torn += there > 0 && found->data[SHAPE_DURABLE] == 0;
    if (found->size > SHAPE_DURABLE && found->size < SHAPE_SIZE) {
        seen->at_sector += found->size % SHAPE_SECTOR == 0;
        seen->at_byte += found->size % SHAPE_SECTOR != 0;
    }
}

static shapes see_shapes(lsm_crash_mode mode) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "log");
    uint8_t written[SHAPE_SIZE];
    lsm_slice durable = lsm_slice_make(written, SHAPE_DURABLE);
    lsm_slice pending =
        lsm_slice_make(written + SHAPE_DURABLE, SHAPE_SIZE - SHAPE_DURABLE);
    shapes seen = {0};

    for (size_t i = 0; i < SHAPE_SIZE; i++) {
        written[i] = (uint8_t)(1 + i % 255);
    }
    CHECK_OK(lsm_file_append(file, &durable, 1, NULL, &err));
    sim_sync(file);
    sim_sync_dir(dir);
    CHECK_OK(lsm_file_append(file, &pending, 1, NULL, &err));
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        lsm_env *crashed = sim_crash(env, seed, mode, SHAPE_SECTOR);
        sim_text found;
        CHECK(sim_look(crashed, "log", &found));
        note_shape(&seen, &found, written);
        lsm_sim_destroy(crashed);
    }
    lsm_file_drop(file);
    sim_end(env, dir);
    return seen;
}

LSM_TEST(prefix_cuts_at_bytes_and_at_sectors_and_leaves_no_hole) {
    shapes seen = see_shapes(LSM_CRASH_PREFIX);

    CHECK(seen.at_byte > SEEDS / 4);
    CHECK(seen.at_sector > SEEDS / 4);
    CHECK(seen.none > 0 && seen.whole > 0);
    CHECK_EQ(seen.holes, 0);
    CHECK_EQ(seen.garbage, 0);
}

LSM_TEST(subset_leaves_holes_and_tears_the_sector_after_durable_bytes) {
    shapes seen = see_shapes(LSM_CRASH_SUBSET);

    CHECK(seen.holes > SEEDS / 4);
    CHECK(seen.torn > SEEDS / 10);
    CHECK(seen.none > 0 && seen.whole > 0);
    CHECK_EQ(seen.garbage, 0);
}

LSM_TEST(extend_is_all_zeros_and_garbage_is_garbage_beside_good_sectors) {
    shapes zeros = see_shapes(LSM_CRASH_EXTEND);
    shapes garbage = see_shapes(LSM_CRASH_GARBAGE);

    CHECK_EQ(zeros.none, SEEDS);
    CHECK(garbage.garbage > SEEDS / 2);
    CHECK(garbage.holes > SEEDS / 4);
}

LSM_TEST(mixed_shows_the_shapes_of_every_mode) {
    shapes seen = see_shapes(LSM_CRASH_MIXED);

    CHECK(seen.at_byte > 0 && seen.at_sector > 0);
    CHECK(seen.none > 0 && seen.whole > 0);
    CHECK(seen.holes > 0 && seen.torn > 0 && seen.garbage > 0);
}

LSM_TEST(equal_seeds_make_equal_crashes) {
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "log");
    int differing = 0;

    for (int i = 0; i < 20; i++) {
        sim_append(file, "twenty bytes of text");
    }
    for (uint64_t seed = 0; seed < 200; seed++) {
        sim_text found[3] = {{{0}, 0}, {{0}, 0}, {{0}, 0}};
        for (uint64_t i = 0; i < 3; i++) {
            lsm_env *crashed = sim_crash(env, seed + i / 2, LSM_CRASH_MIXED, 32);
            (void)sim_look(crashed, "log", &found[i]);
            lsm_sim_destroy(crashed);
        }
        CHECK(same(&found[0], &found[1]));
        differing += !same(&found[0], &found[2]);
    }
    CHECK(differing > 100);
    lsm_file_drop(file);
    sim_end(env, dir);
}

LSM_TEST(a_crash_without_memory_is_null_and_leaks_nothing) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    lsm_file *file = sim_create(dir, "log");

    sim_append(file, "durable");
    sim_sync(file);
    sim_sync_dir(dir);
    CHECK_OK(lsm_file_truncate(file, 2, &err));
    sim_append(file, "pending");
    sim_write(dir, "other", "x");
    uint64_t live = lsm_alloc_live();
    for (int mode = 0; mode < LSM_CRASH_MODE_COUNT; mode++) {
        lsm_env *crashed = NULL;
        int failures = -1;
        for (uint64_t after = 0; crashed == NULL; after++) {
            failures++;
            lsm_alloc_fail_after(after, 0);
            crashed = lsm_sim_crash(env, 5, (lsm_crash_mode)mode, 32);
        }
        lsm_alloc_fail_never();
        CHECK(failures > 4);
        lsm_sim_destroy(crashed);
        CHECK_EQ(lsm_alloc_live(), live);
    }
    CHECK(sim_holds(env, "log", "dupending"));
    lsm_file_drop(file);
    sim_end(env, dir);
}
