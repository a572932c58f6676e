/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: every option has the documented default and limits, what shapes the files is
 * remembered and recalled exactly, and a damaged memory is told from a newer one.
 * Method: a table of boundary values, round trips, and every cut and flipped bit of a
 * remembered value.
 */
#include "test.h"

#include "base/alloc.h"
#include "db/options.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

enum {
    COPY_CODEC = 7,
    VARINT_ROOM = 10, /* that any number may take */
};

/* A codec that copies. */
static void *copy_create(int level) {
    static int context;
    (void)level;
    return &context;
}

static void copy_destroy(void *context) {
    (void)context;
}

static size_t copy_bound(size_t size) {
    return size;
}

static size_t copy_bytes(void *context, void *dst, size_t capacity, const void *src,
                         size_t size) {
    (void)context;
    if (size > capacity) {
        return 0;
    }
    memcpy(dst, src, size);
    return size;
}

static void register_copy_codec(void) {
    static const lsmkv_codec codec = {COPY_CODEC, "copy",     copy_create, copy_destroy,
                                      copy_bound, copy_bytes, copy_bytes};
    lsmkv_error err;

    CHECK_OK(lsmkv_register_codec(&codec, &err));
}

LSM_TEST(options_that_say_nothing_resolve_to_the_documented_defaults) {
    lsmkv_options given;
    lsm_options options;
    lsmkv_error err;

    lsmkv_options_init(&given);
    CHECK(given.create_if_missing && !given.error_if_exists);
    CHECK_OK(lsm_options_resolve(&given, &options, &err));
    CHECK_EQ(options.given.memory_bytes, 256 * MIB);
    CHECK_EQ(options.memtable_bytes, 16 * MIB);
    CHECK_EQ(options.cache_bytes, 208 * MIB);
    CHECK_EQ(options.max_open_files, 512);
    CHECK_EQ(options.given.background_threads, 2);
    CHECK_EQ(options.given.durability, LSMKV_DURABILITY_OS);
    CHECK_EQ(options.given.sync_interval_ms, 1000);
    CHECK_EQ(options.block_bytes, 4096);
    CHECK_EQ(options.bloom_bits_per_key, 10);
    CHECK_EQ(options.codec, LSMKV_CODEC_NONE);
    CHECK_EQ(options.codec_level, 0);
    CHECK_EQ(options.table_bytes, 32 * MIB);
    CHECK_EQ(options.level_base_bytes, 64 * MIB);
    CHECK_EQ(options.level_multiplier, 10);
    CHECK_EQ(options.l0_compact_trigger, 4);
    CHECK_EQ(options.l0_slowdown, 12);
    CHECK_EQ(options.l0_stop, 24);
    CHECK_EQ(options.manifest_bytes_max, 4 * MIB);
    CHECK(!options.changed);
    CHECK_OK(lsm_options_resolve(NULL, &options, &err));
    CHECK_EQ(options.memtable_bytes, 16 * MIB);
    CHECK(options.given.create_if_missing);
}

LSM_TEST(zeroed_options_mean_the_defaults_where_zero_has_no_meaning_of_its_own) {
    lsmkv_options given = {0};
    lsm_options options;
    lsmkv_error err;

    CHECK_OK(lsm_options_resolve(&given, &options, &err));
    CHECK_EQ(options.block_bytes, 4096);
    CHECK_EQ(options.bloom_bits_per_key, 0);
    CHECK_EQ(options.cache_bytes, 0);
}

typedef enum knob {
    KNOB_MEMORY,
    KNOB_MEMTABLE,
    KNOB_CACHE,
    KNOB_FILES,
    KNOB_THREADS,
    KNOB_DURABILITY,
    KNOB_INTERVAL,
    KNOB_BLOCK,
    KNOB_BLOOM,
    KNOB_CODEC_LEVEL,
    KNOB_TABLE,
    KNOB_BASE,
    KNOB_MULTIPLIER,
    KNOB_TRIGGER,
    KNOB_CODEC,
    KNOB_LOG,
    KNOB_WARM,
    KNOB_STATS,
} knob;

static void turn(lsmkv_options *given, knob which, int64_t value) {
    switch (which) {
        case KNOB_MEMORY:
            given->memory_bytes = (uint64_t)value;
            break;
        case KNOB_MEMTABLE:
            given->memtable_bytes = (uint64_t)value;
            break;
        case KNOB_CACHE:
            given->block_cache_bytes = value;
            break;
        case KNOB_FILES:
            given->max_open_files = (uint32_t)value;
            break;
        case KNOB_THREADS:
            given->background_threads = (uint32_t)value;
            break;
        case KNOB_DURABILITY:
            given->durability = (lsmkv_durability)value;
            break;
        case KNOB_INTERVAL:
            given->sync_interval_ms = (uint32_t)value;
            break;
        case KNOB_BLOCK:
            given->block_bytes = (uint32_t)value;
            break;
        case KNOB_BLOOM:
            given->bloom_bits_per_key = (int32_t)value;
            break;
        case KNOB_CODEC_LEVEL:
            given->codec_level = (int32_t)value;
            break;
        case KNOB_TABLE:
            given->table_bytes = (uint64_t)value;
            break;
        case KNOB_BASE:
            given->level_base_bytes = (uint64_t)value;
            break;
        case KNOB_MULTIPLIER:
            given->level_multiplier = (uint32_t)value;
            break;
        case KNOB_TRIGGER:
            given->l0_compact_trigger = (uint32_t)value;
            break;
        case KNOB_CODEC:
            given->codec = (int32_t)value;
            break;
        case KNOB_LOG:
            given->log_bytes = (uint64_t)value;
            break;
        case KNOB_WARM:
            given->warm_bytes = value;
            break;
        case KNOB_STATS:
            given->stats_interval_ms = (int32_t)value;
            break;
    }
}

typedef struct limit_case {
    knob which;
    const char *name; /* in the message */
    int64_t min;
    int64_t max;
    int64_t below; /* one that is too small, and one that is too large */
    int64_t above;
} limit_case;

LSM_TEST(every_limit_is_inclusive_and_named_in_the_message) {
    static const limit_case cases[] = {
        {KNOB_MEMORY, "memory_bytes", 4 << 10, INT64_C(1) << 46, 4095,
         (INT64_C(1) << 46) + 1},
        {KNOB_MEMTABLE, "memtable_bytes", 1 << 10, 64 << 20, 1023, (64 << 20) + 1},
        {KNOB_CACHE, "block_cache_bytes", -1, 256 << 20, -2, (256 << 20) + 1},
        {KNOB_FILES, "max_open_files", 16, 1 << 20, 15, (1 << 20) + 1},
        {KNOB_THREADS, "background_threads", 1, 16, 17, 17},
        {KNOB_DURABILITY, "durability", 1, 3, 4, -1},
        {KNOB_INTERVAL, "sync_interval_ms", 1, 3600000, 3600001, UINT32_MAX},
        {KNOB_BLOCK, "block_bytes", 64, 16 << 20, 63, (16 << 20) + 1},
        {KNOB_BLOOM, "bloom_bits_per_key", -1, 32, -2, 33},
        {KNOB_CODEC_LEVEL, "codec_level", -131072, 131072, -131073, 131073},
        {KNOB_TABLE, "table_bytes", 256, INT64_C(1) << 40, 255, -1},
        {KNOB_BASE, "level_base_bytes", 256, INT64_C(1) << 50, 255, INT64_MAX},
        {KNOB_MULTIPLIER, "level_multiplier", 2, 1000, 1, 1001},
        {KNOB_TRIGGER, "l0_compact_trigger", 1, 10000, 10001, UINT32_MAX},
        {KNOB_CODEC, "codec", -1, 0, -2, LSMKV_CODEC_COUNT},
        {KNOB_LOG, "log_bytes", 4096, INT64_C(1) << 40, 4095, (INT64_C(1) << 40) + 1},
        {KNOB_WARM, "warm_bytes", -1, INT64_MAX, -2, INT64_MIN},
        {KNOB_STATS, "stats_interval_ms", -1, 3600000, -2, 3600001},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        const limit_case *limit = &cases[i];
        int64_t values[4] = {limit->min, limit->max, limit->below, limit->above};
        for (int j = 0; j < 4; j++) {
            lsmkv_options given;
            lsm_options options;
            lsmkv_error err;
            lsmkv_options_init(&given);
            turn(&given, limit->which, values[j]);
            lsmkv_status status = lsm_options_resolve(&given, &options, &err);
            if (status != (j < 2 ? LSMKV_OK : LSMKV_INVALID_ARGUMENT)) {
                lsm_test_fail(__FILE__, __LINE__, "%s = %lld: %s", limit->name,
                              (long long)values[j], lsmkv_status_name(status));
            }
            CHECK(j < 2 || strncmp(err.message, limit->name, strlen(limit->name)) == 0);
        }
    }
}

LSM_TEST(memtables_take_at_most_a_quarter_of_the_budget_and_the_cache_the_rest) {
    lsmkv_options given;
    lsm_options options;
    lsmkv_error err;

    lsmkv_options_init(&given);
    given.memory_bytes = 8 * MIB;
    CHECK_OK(lsm_options_resolve(&given, &options, &err));
    CHECK_EQ(options.memtable_bytes, 2 * MIB);
    CHECK_EQ(options.cache_bytes, 2 * MIB);
    given.memtable_bytes = 1 * MIB;
    CHECK_OK(lsm_options_resolve(&given, &options, &err));
    CHECK_EQ(options.cache_bytes, 5 * MIB);
    given.block_cache_bytes = 0;
    CHECK_OK(lsm_options_resolve(&given, &options, &err));
    CHECK_EQ(options.cache_bytes, 0);
    given.block_cache_bytes = 7 * MIB;
    CHECK_OK(lsm_options_resolve(&given, &options, &err));
    CHECK_EQ(options.cache_bytes, 7 * MIB);
    given.memtable_bytes = 2 * MIB + 1;
    CHECK_STATUS(lsm_options_resolve(&given, &options, &err), LSMKV_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "a quarter of memory_bytes") != NULL);
    given.memory_bytes = 1024 * GIB;
    given.memtable_bytes = 16 * GIB + 1;
    CHECK_STATUS(lsm_options_resolve(&given, &options, &err), LSMKV_INVALID_ARGUMENT);
}

LSM_TEST(tiny_tables_come_with_a_tiny_manifest) {
    lsmkv_options given;
    lsm_options options;
    lsmkv_error err;

    lsmkv_options_init(&given);
    given.table_bytes = 64 * KIB - 1;
    CHECK_OK(lsm_options_resolve(&given, &options, &err));
    CHECK_EQ(options.manifest_bytes_max, 2 * KIB);
    given.table_bytes = 64 * KIB;
    CHECK_OK(lsm_options_resolve(&given, &options, &err));
    CHECK_EQ(options.manifest_bytes_max, 4 * MIB);
}

LSM_TEST(a_codec_that_nobody_registered_is_an_unsupported_version) {
    lsmkv_options given;
    lsm_options options;
    lsmkv_error err;

    lsmkv_options_init(&given);
    given.codec = LSMKV_CODEC_COUNT - 2;
    CHECK_STATUS(lsm_options_resolve(&given, &options, &err),
                 LSMKV_UNSUPPORTED_VERSION);
}

/* Options in which every remembered number differs from its default. */
static lsmkv_options unusual_options(void) {
    lsmkv_options given;

    lsmkv_options_init(&given);
    given.block_bytes = 512;
    given.bloom_bits_per_key = 0;
    given.codec = COPY_CODEC;
    given.codec_level = -7;
    given.table_bytes = 4000;
    given.level_base_bytes = UINT64_C(1) << 50;
    given.level_multiplier = 4;
    given.l0_compact_trigger = 2;
    return given;
}

/* The remembered form of the options; for the caller to deinit. */
static lsm_buf remember(const lsmkv_options *given) {
    lsm_options options;
    lsmkv_error err;
    lsm_buf value;

    lsm_buf_init(&value);
    CHECK_OK(lsm_options_resolve(given, &options, &err));
    CHECK(lsm_options_encode(&options, &value));
    return value;
}

static void check_unusual(const lsm_options *options) {
    CHECK_EQ(options->block_bytes, 512);
    CHECK_EQ(options->bloom_bits_per_key, 0);
    CHECK_EQ(options->codec, COPY_CODEC);
    CHECK(options->codec_level == -7);
    CHECK_EQ(options->table_bytes, 4000);
    CHECK_EQ(options->level_base_bytes, UINT64_C(1) << 50);
    CHECK_EQ(options->level_multiplier, 4);
    CHECK_EQ(options->l0_compact_trigger, 2);
    CHECK_EQ(options->l0_slowdown, 6);
    CHECK_EQ(options->l0_stop, 12);
    CHECK_EQ(options->manifest_bytes_max, 2 * KIB);
}

LSM_TEST(what_shapes_the_files_is_recalled_where_the_caller_said_nothing) {
    register_copy_codec();
    lsmkv_options given = unusual_options();
    lsm_buf value = remember(&given);
    lsm_buf again;
    lsm_options options;
    lsmkv_error err;

    lsmkv_options_init(&given);
    CHECK_OK(lsm_options_resolve(&given, &options, &err));
    CHECK_OK(lsm_options_recall(&options, lsm_buf_slice(&value), &err));
    check_unusual(&options);
    CHECK(!options.changed);
    CHECK_EQ(options.memtable_bytes, 16 * MIB);
    lsm_buf_init(&again);
    CHECK(lsm_options_encode(&options, &again));
    CHECK(lsm_slice_equal(lsm_buf_slice(&value), lsm_buf_slice(&again)));
    lsm_buf_deinit(&again);
    lsm_buf_deinit(&value);
}

LSM_TEST(what_the_caller_says_wins_over_what_is_remembered) {
    register_copy_codec();
    lsmkv_options given = unusual_options();
    lsm_buf value = remember(&given);
    lsm_options options;
    lsmkv_error err;

    lsmkv_options_init(&given);
    given.block_bytes = 8192;
    given.bloom_bits_per_key = 16;
    given.level_multiplier = 4; /* as remembered */
    CHECK_OK(lsm_options_resolve(&given, &options, &err));
    CHECK_OK(lsm_options_recall(&options, lsm_buf_slice(&value), &err));
    CHECK_EQ(options.block_bytes, 8192);
    CHECK_EQ(options.bloom_bits_per_key, 16);
    CHECK_EQ(options.table_bytes, 4000);
    CHECK(options.codec_level == -7);
    CHECK(options.changed);

    lsmkv_options_init(&given);
    given.level_multiplier = 4;
    CHECK_OK(lsm_options_resolve(&given, &options, &err));
    CHECK_OK(lsm_options_recall(&options, lsm_buf_slice(&value), &err));
    CHECK(!options.changed);
    lsm_buf_deinit(&value);
}

LSM_TEST(another_codec_does_not_inherit_the_level_of_the_old_one) {
    register_copy_codec();
    lsmkv_options given = unusual_options();
    lsm_buf value = remember(&given);
    lsm_options options;
    lsmkv_error err;

    lsmkv_options_init(&given);
    given.codec = LSMKV_CODEC_NONE;
    CHECK_OK(lsm_options_resolve(&given, &options, &err));
    CHECK_OK(lsm_options_recall(&options, lsm_buf_slice(&value), &err));
    CHECK_EQ(options.codec, LSMKV_CODEC_NONE);
    CHECK_EQ(options.codec_level, 0);
    CHECK(options.changed);
    lsm_buf_deinit(&value);
}

/* Recalls bytes into default options. */
static lsmkv_status recall(lsm_slice bytes, lsm_options *options) {
    lsmkv_error err;

    CHECK_OK(lsm_options_resolve(NULL, options, &err));
    return lsm_options_recall(options, bytes, &err);
}

static lsmkv_status recall_bytes(const char *bytes, size_t size) {
    lsm_options options;

    return recall(lsm_slice_make(bytes, size), &options);
}

LSM_TEST(malformed_memories_are_corruption_and_newer_ones_unsupported) {
    CHECK_STATUS(recall_bytes("", 0), LSMKV_CORRUPTION);
    CHECK_STATUS(recall_bytes("\x00", 1), LSMKV_CORRUPTION);
    CHECK_STATUS(recall_bytes("\x01", 1), LSMKV_OK);
    CHECK_STATUS(recall_bytes("\x02", 1), LSMKV_UNSUPPORTED_VERSION);
    CHECK_STATUS(recall_bytes("\x01\x07\x05", 3), LSMKV_OK);
    CHECK_STATUS(recall_bytes("\x01\x07", 2), LSMKV_CORRUPTION);
    CHECK_STATUS(recall_bytes("\x01\x00\x05", 3), LSMKV_CORRUPTION);
    CHECK_STATUS(recall_bytes("\x01\x07\x01", 3), LSMKV_CORRUPTION);
    CHECK_STATUS(recall_bytes("\x01\x07\x05\x07\x05", 5), LSMKV_CORRUPTION);
    CHECK_STATUS(recall_bytes("\x01\x08\x05\x07\x05", 5), LSMKV_CORRUPTION);
    CHECK_STATUS(recall_bytes("\x01\x0a\x05", 3), LSMKV_UNSUPPORTED_VERSION);
    CHECK_STATUS(recall_bytes("\x01\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12),
                 LSMKV_CORRUPTION);
    CHECK_STATUS(recall_bytes("\x01\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12),
                 LSMKV_CORRUPTION);
}

LSM_TEST(no_cut_or_flipped_bit_of_a_memory_yields_options_out_of_limits) {
    register_copy_codec();
    lsmkv_options given = unusual_options();
    lsm_buf value = remember(&given);
    lsm_options options;
    uint64_t refused = 0;

    for (size_t i = 0; i < value.size; i++) {
        (void)recall(lsm_slice_make(value.data, i), &options);
    }
    for (size_t i = 0; i < value.size * 8; i++) {
        value.data[i / 8] ^= (uint8_t)(1u << (i % 8));
        lsmkv_status status = recall(lsm_buf_slice(&value), &options);
        value.data[i / 8] ^= (uint8_t)(1u << (i % 8));
        CHECK(status == LSMKV_OK || status == LSMKV_CORRUPTION ||
              status == LSMKV_UNSUPPORTED_VERSION);
        refused += status != LSMKV_OK;
        CHECK(status != LSMKV_OK ||
              (options.block_bytes >= 64 && options.table_bytes >= 256 &&
               options.level_multiplier >= 2 && options.l0_compact_trigger >= 1 &&
               options.bloom_bits_per_key <= 32 && options.level_base_bytes >= 256));
    }
    CHECK(refused > 0);
    lsm_buf_deinit(&value);
}

LSM_TEST(encoding_says_when_there_is_no_memory) {
    lsm_options options;
    lsmkv_error err;
    lsm_buf value;

    CHECK_OK(lsm_options_resolve(NULL, &options, &err));
    lsm_buf_init(&value);
    CHECK(lsm_options_encode(&options, &value));
    size_t size = value.size;
    lsm_buf_deinit(&value);
    for (size_t taken = 0; taken < 2 * size; taken++) { /* of the memory there is */
        lsm_buf_init(&value);
        CHECK(lsm_buf_reserve(&value, 2 * size));
        size_t left = value.capacity - taken;
        value.size = taken;
        lsm_alloc_fail_after(0, 1);
        bool encoded = lsm_options_encode(&options, &value);
        lsm_alloc_fail_never();
        CHECK(encoded ? left >= size : left < size + VARINT_ROOM);
        lsm_buf_deinit(&value);
    }
    lsm_alloc_fail_after(0, 1);
    CHECK(!lsm_options_encode(&options, &value));
    lsm_alloc_fail_never();
}

LSM_TEST(what_is_not_trusted_needs_a_mebibyte_or_the_default) {
    static const uint64_t right[] = {0, MIB, 64 * MIB};
    lsmkv_options given;
    lsm_options options;
    lsmkv_error err;

    lsmkv_options_init(&given);
    given.untrusted = true;
    given.read_only = true;
    for (size_t i = 0; i < LSM_ARRAY_COUNT(right); i++) {
        given.memory_bytes = right[i];
        CHECK_OK(lsm_options_resolve(&given, &options, &err));
    }
    given.memory_bytes = MIB - 1;
    CHECK_STATUS(lsm_options_resolve(&given, &options, &err), LSMKV_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "memory_bytes") != NULL);
}

LSM_TEST(options_in_force_are_told_as_they_would_be_given) {
    static const int64_t thresholds[] = {0, 1, 1024, LSMKV_VALUE_SIZE_MAX};
    lsmkv_options given;
    lsmkv_options told;
    lsm_options options;
    lsmkv_error err;

    for (size_t i = 0; i < LSM_ARRAY_COUNT(thresholds); i++) {
        lsmkv_options_init(&given);
        given.blob_threshold_bytes = thresholds[i];
        CHECK_OK(lsm_options_resolve(&given, &options, &err));
        lsm_options_describe(&options, &told);
        CHECK_EQ(told.blob_threshold_bytes, thresholds[i]);
        CHECK_EQ(told.block_cache_bytes, options.cache_bytes);
        CHECK_OK(lsm_options_resolve(&told, &options, &err));
        CHECK_EQ(options.blob_threshold,
                 thresholds[i] == 0 ? SIZE_MAX : (size_t)thresholds[i]);
    }
}
