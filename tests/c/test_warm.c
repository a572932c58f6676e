/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what was read before a restart is read after it without a miss of the block
 * cache, also when a compaction came between; and a list that lies costs no more than
 * the reading of what it names and is there. Method: whole databases in the simulator,
 * whose lists are replaced by others with right checksums.
 */
#include "db_help.h"
#include "sim_help.h"

#include <stdio.h>

#include "api/testing.h"
#include "base/alloc.h"
#include "format/filename.h"
#include "format/hotlist.h"

enum {
    KEYS = 4000,
    VALUE_SIZE = 100,
    LARGE_SIZE = 700, /* above the threshold */
    LARGE = 50,
    HOT_STEP = 100,
    CACHE = 1 << 20,                              /* more than all of it takes */
    BLOCKS_MAX = KEYS * (VALUE_SIZE + 40) / 2048, /* that there can be */
    MANY = 1 << 14,                               /* places of a forged list */
    CALLS_MAX = 3000,
};

typedef struct warm_db {
    lsm_env *env;
    lsmkv_db *db;
    uint64_t calls; /* of on_progress */
} warm_db;

static void start(warm_db *w) {
    lsmkv_error err;
    lsmkv_options options;

    lsmkv_options_init(&options);
    options.memory_bytes = 4 << 20;
    options.block_cache_bytes = CACHE;
    options.memtable_bytes = 1 << 16;
    options.table_bytes = 1 << 16;
    options.blob_threshold_bytes = LARGE_SIZE;
    options.seed = 1;
    CHECK_OK(lsm_test_open(w->env, SIM_PATH, &options, &w->db, &err));
}

static void stop(warm_db *w) {
    close_db(w->db);
}

static lsmkv_bytes key_of(char to[16], size_t index) {
    int size = snprintf(to, 16, "key%06zu", index);
    return (lsmkv_bytes){to, (size_t)size};
}

static void put(warm_db *w, size_t index, size_t size, uint8_t round) {
    lsmkv_error err;
    char key[16];
    uint8_t value[LARGE_SIZE];

    memset(value, (int)(index + round) & 0xFF, size);
    CHECK_OK(
        lsmkv_put(w->db, NULL, key_of(key, index), (lsmkv_bytes){value, size}, &err));
}

static void check_get(warm_db *w, size_t index, size_t size, uint8_t round) {
    lsmkv_error err;
    lsmkv_pin pin;
    char key[16];

    CHECK_OK(lsmkv_get(w->db, NULL, key_of(key, index), &pin, &err));
    CHECK_EQ(pin.value.size, size);
    CHECK_EQ(*(const uint8_t *)pin.value.data, (index + round) & 0xFF);
    lsmkv_pin_release(&pin);
}

static uint64_t misses(warm_db *w) {
    lsmkv_error err;
    lsmkv_stats stats;

    CHECK_OK(lsmkv_get_stats(w->db, &stats, &err));
    return stats.cache_misses;
}

/* Reads what is hot; answers the blocks that had to be read from files. */
static uint64_t read_hot(warm_db *w, uint8_t round) {
    uint64_t before = misses(w);

    for (size_t i = 0; i < KEYS; i += HOT_STEP) {
        check_get(w, i, VALUE_SIZE, round);
    }
    return misses(w) - before;
}

static void compact(warm_db *w) {
    lsmkv_error err;

    CHECK_OK(lsmkv_compact(w->db, NULL, NULL, &err));
}

/* A closed database of many blocks, of which some were read twice. */
static void make(warm_db *w) {
    w->env = lsm_sim_create(3);
    CHECK(w->env != NULL);
    start(w);
    for (size_t i = 0; i < KEYS; i++) {
        put(w, i, VALUE_SIZE, 0);
    }
    for (size_t i = 0; i < LARGE; i++) {
        put(w, KEYS + i, LARGE_SIZE, 0);
    }
    compact(w);
    (void)read_hot(w, 0);
    (void)read_hot(w, 0);
    stop(w);
}

static int on_progress(void *context, uint64_t done, uint64_t total) {
    warm_db *w = context;

    CHECK(done <= total);
    w->calls++;
    return 1;
}

static lsmkv_warm_report warm(warm_db *w, uint64_t budget) {
    lsmkv_error err;
    lsmkv_warm_how how = {
        .budget_bytes = budget, .on_progress = on_progress, .context = w};
    lsmkv_warm_report report;

    w->calls = 0;
    CHECK_OK(lsmkv_warm(w->db, &how, &report, &err));
    return report;
}

LSM_TEST(after_a_restart_no_hot_key_misses_the_cache) {
    warm_db w = {0};

    make(&w);
    start(&w);
    uint64_t cold = read_hot(&w, 0);
    CHECK(cold >= KEYS / HOT_STEP / 2);
    stop(&w); /* keeps the list that says more */

    start(&w);
    lsmkv_warm_report report = warm(&w, 0);
    CHECK(report.block_count >= cold);
    CHECK_EQ(report.byte_count, report.total_bytes);
    CHECK_EQ(read_hot(&w, 0), 0);
    CHECK_EQ(warm(&w, 0).block_count, 0); /* nothing is read twice */
    stop(&w);
    lsm_sim_destroy(w.env);
}

LSM_TEST(after_a_compaction_and_a_restart_no_hot_key_misses_the_cache) {
    warm_db w = {0};

    make(&w);
    start(&w);
    uint64_t cold = warm(&w, 0).block_count;
    CHECK_EQ(read_hot(&w, 0), 0);
    for (size_t i = 0; i < KEYS; i++) {
        put(&w, i, VALUE_SIZE, 1);
    }
    compact(&w);                   /* replaces every table */
    CHECK(read_hot(&w, 1) < cold); /* as heat was handed on */
    CHECK_EQ(read_hot(&w, 1), 0);
    stop(&w);

    start(&w);
    CHECK(warm(&w, 0).block_count != 0);
    CHECK_EQ(read_hot(&w, 1), 0);
    stop(&w);
    lsm_sim_destroy(w.env);
}

LSM_TEST(what_was_written_behind_the_list_is_read_warm_as_far_as_it_goes) {
    warm_db w = {0};
    char name[LSM_NAME_SIZE_MAX];

    make(&w);
    start(&w);
    for (size_t i = 0; i < KEYS / 2; i++) {
        put(&w, i, VALUE_SIZE, 0);
    }
    compact(&w);
    CHECK(lsm_test_files_match(w.db, name));
    lsm_test_abandon(w.db); /* with the list of before */

    start(&w);
    uint64_t listed = warm(&w, 0).block_count;
    uint64_t cold = read_hot(&w, 0);
    CHECK(cold < KEYS / HOT_STEP); /* tables that stayed are warm */
    CHECK(listed + cold >= KEYS / HOT_STEP / 2);
    stop(&w);
    lsm_sim_destroy(w.env);
}

enum { FILES_MAX = 64 };

/* The numbers of some files, ascending. */
typedef struct numbers {
    uint64_t list[FILES_MAX];
    size_t count;
} numbers;

static numbers numbers_of(lsm_env *env, bool tables) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_namelist names = {0};
    numbers found = {{0}, 0};

    CHECK_OK(lsm_dir_open(env, SIM_PATH, false, &dir, &err));
    CHECK_OK(lsm_dir_list(dir, &names, &err));
    for (size_t i = 0; i < names.count; i++) {
        uint64_t number;
        lsm_file_kind kind = lsm_filename_parse(names.names[i], &number);
        bool wanted = tables ? kind == LSM_NAME_TABLE
                             : kind == LSM_NAME_SEGMENT || kind == LSM_NAME_LOG;
        if (wanted) {
            CHECK(found.count < FILES_MAX);
            size_t at = found.count++;
            for (; at > 0 && found.list[at - 1] > number; at--) {
                found.list[at] = found.list[at - 1];
            }
            found.list[at] = number;
        }
    }
    lsm_namelist_deinit(&names);
    lsm_dir_close(dir);
    CHECK(found.count != 0);
    return found;
}

enum {
    VALUES = 1 << LSM_HOTLIST_VALUES,
    HOTTEST = 1 << LSM_HOTLIST_HEAT_MAX,
    BLOCKS = 2 * HOTTEST - 2, /* every heat of blocks */
};

/* For each of the heats, and each file of the kind that goes with it. */
typedef struct forgery {
    uint32_t heats; /* a bit for each */
    bool absent;    /* files that are not there */
    uint32_t first; /* place */
    uint32_t count; /* of places */
    uint64_t bytes; /* of each place */
} forgery;

static void write_list(lsm_env *env, const lsm_hotlist_builder *builder) {
    lsmkv_error err;
    const uint8_t *old = NULL;
    size_t size = 0;
    lsm_buf content = {0};
    lsm_dir *dir;
    lsm_file *file;

    CHECK(lsm_sim_file_read(env, SIM_PATH, LSM_HOTLIST_NAME, &old, &size));
    CHECK(size > LSM_HOTLIST_HEADER_SIZE);
    CHECK(lsm_hotlist_finish(builder, old + 16, &content)); /* its UUID */
    CHECK_OK(lsm_dir_open(env, SIM_PATH, false, &dir, &err));
    CHECK_OK(lsm_dir_unlink(dir, LSM_HOTLIST_NAME, &err));
    CHECK_OK(lsm_file_open(dir, LSM_HOTLIST_NAME, LSM_OPEN_CREATE, &file, &err));
    lsm_slice piece = lsm_buf_slice(&content);
    CHECK_OK(lsm_file_append(file, &piece, 1, NULL, &err));
    lsm_file_drop(file);
    lsm_dir_close(dir);
    lsm_buf_deinit(&content);
}

/* Replaces the list by one that says so. */
static void forge(warm_db *w, const forgery *as) {
    lsm_hotlist_builder builder = {0};

    for (uint32_t heat = 0; heat <= LSM_HOTLIST_HEAT_MAX; heat++) {
        numbers files = numbers_of(w->env, heat != LSM_HOTLIST_VALUES);
        for (size_t k = 0; (as->heats >> heat & 1) != 0 && k < files.count; k++) {
            uint64_t number = files.list[k] + (as->absent ? 1000000 : 0);
            for (uint32_t i = 0; i < as->count; i++) {
                CHECK(lsm_hotlist_add(&builder, (uint8_t)heat, number, as->first + i,
                                      as->bytes));
            }
            CHECK(lsm_hotlist_end(&builder));
        }
    }
    write_list(w->env, &builder);
    lsm_hotlist_builder_deinit(&builder);
}

static void check_all(warm_db *w) {
    (void)read_hot(w, 0);
    for (size_t i = 0; i < LARGE; i++) {
        check_get(w, KEYS + i, LARGE_SIZE, 0);
    }
}

LSM_TEST(a_forged_hot_list_costs_no_more_than_what_is_there) {
    static const forgery cases[] = {
        {BLOCKS, true, 0, 1000, 4096},           /* no such tables */
        {HOTTEST, false, 0, MANY, 0},            /* no such blocks, free */
        {HOTTEST, false, 0, MANY, 1},            /* the same for a byte each */
        {1 << 5, false, 0, MANY, UINT32_MAX},    /* and each larger than any file */
        {HOTTEST, false, MANY, MANY, 4096},      /* behind the end alone */
        {HOTTEST, false, UINT32_MAX, 1, 1},      /* the last that there could be */
        {BLOCKS, false, 0, 1000, 4096},          /* each block in every heat */
        {HOTTEST, false, 0, 10, UINT64_MAX / 8}, /* sums beyond the limit */
        {VALUES, true, 0, MANY, 1},              /* no such segments */
        {VALUES, false, 0, MANY, 0},             /* every place of them, and more */
        {BLOCKS | VALUES, false, 0, MANY, 1},    /* all of everything, and more */
    };
    static const uint64_t budgets[] = {0, 1, 5000, 100000};

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        warm_db w = {0};

        make(&w);
        forge(&w, &cases[i]);
        for (size_t k = 0; k < LSM_ARRAY_COUNT(budgets); k++) {
            start(&w);
            lsmkv_warm_report report = warm(&w, budgets[k]);
            uint64_t most = budgets[k] != 0 ? budgets[k] : CACHE;
            uint64_t heats = LSM_HOTLIST_HEAT_MAX; /* that may name a block */

            if (report.byte_count > most || w.calls > CALLS_MAX ||
                report.block_count > BLOCKS_MAX || report.value_count > LARGE * heats) {
                lsm_test_fail(__FILE__, __LINE__,
                              "case %zu, budget %llu: %llu bytes, %llu blocks, %llu "
                              "values, %llu calls",
                              i, (unsigned long long)most,
                              (unsigned long long)report.byte_count,
                              (unsigned long long)report.block_count,
                              (unsigned long long)report.value_count,
                              (unsigned long long)w.calls);
            }
            check_all(&w);
            lsm_test_abandon(w.db); /* writes no list */
        }
        lsm_sim_destroy(w.env);
    }
}

LSM_TEST(a_list_of_everything_brings_everything) {
    static const forgery all = {HOTTEST | VALUES, false, 0, 3000, 4096};
    warm_db w = {0};

    make(&w);
    forge(&w, &all);
    start(&w);
    lsmkv_warm_report report = warm(&w, 64 << 20);
    CHECK_EQ(report.value_count, LARGE);
    uint64_t before = misses(&w);
    for (size_t i = 0; i < KEYS; i++) {
        check_get(&w, i, VALUE_SIZE, 0);
    }
    CHECK_EQ(misses(&w), before);
    lsm_test_abandon(w.db);
    lsm_sim_destroy(w.env);
}

/* A list without memory for it is passed over or reported, and leaks nothing; then the
 * database, just opened for each n, is warmed again. */
LSM_TEST(warming_goes_on_after_any_allocation_failed) {
    warm_db w = {0};
    bool failed = true;

    make(&w);
    lsm_sim_exempt_memory(w.env);
    for (uint64_t n = 0; failed; n++) {
        lsmkv_error err;
        lsmkv_warm_report report;
        start(&w);
        uint64_t before = lsm_alloc_count();
        lsm_alloc_fail_after(n, 0);
        lsmkv_status status = lsmkv_warm(w.db, NULL, &report, &err);
        failed = lsm_alloc_count() - before > n;
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_OK || (failed && status == LSMKV_NO_MEMORY));
        CHECK_OK(lsmkv_warm(w.db, NULL, &report, &err));
        CHECK_EQ(read_hot(&w, 0), 0);
        stop(&w);
        CHECK(n < CALLS_MAX);
    }
    lsm_sim_destroy(w.env);
}
