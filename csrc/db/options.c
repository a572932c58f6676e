/* SPDX-License-Identifier: Apache-2.0
 *
 * Options: defaults, limits and the remembered value.
 *
 * The fields that shape the files are handled as one row of numbers described by one
 * table, so that every one of them is checked, remembered and recalled by the same
 * code, in the order of their tags. A number that the caller left open comes from the
 * remembered value, or else from the table.
 *
 * codec_level is stored zigzag (0, -1, 1, -2 ... as 0, 1, 2, 3 ...), because levels may
 * be negative. It belongs to its codec: a caller who names another codec than the
 * remembered one does not get the old one's level.
 */
#include "db/options.h"

#include <string.h>

#include "base/coding.h"
#include "base/limits.h"
#include "format/batch.h"
#include "format/codec.h"

#define KIB (INT64_C(1) << 10)
#define MIB (INT64_C(1) << 20)

enum { REMEMBERED_VERSION = 1 };

/* The limits are wide: they keep arithmetic and memory sane, not choices wise. Tests
 * run with tables of a few hundred bytes. */
#define MEMORY_BYTES_DEFAULT (256 * MIB)
#define MEMORY_BYTES_MIN (4 * KIB)
#define MEMORY_BYTES_MAX (INT64_C(1) << 46)
#define UNTRUSTED_MEMORY_BYTES_MIN (1 * MIB) /* for the handle itself, and to spare */
#define MEMTABLE_BYTES_DEFAULT (16 * MIB)
#define MEMTABLE_BYTES_MIN KIB
#define MEMTABLE_BYTES_MAX (INT64_C(1) << 34)
#define MANIFEST_BYTES_DEFAULT (4 * MIB)
#define LOG_BYTES_DEFAULT (64 * MIB)
#define LOG_BYTES_MIN (4 * KIB)
#define LOG_BYTES_MAX (INT64_C(1) << 40)

/* A MANIFEST of a database with tiny tables is rewritten early, so that small tests
 * meet the rewriting that large databases meet. */
#define TINY_TABLE_BYTES (64 * KIB)
#define TINY_MANIFEST_BYTES (2 * KIB)

enum {
    MAX_OPEN_FILES_DEFAULT = 512,
    MAX_OPEN_FILES_MIN = 16,
    MAX_OPEN_FILES_MAX = 1 << 20,
    BACKGROUND_THREADS_DEFAULT = 2,
    BACKGROUND_THREADS_MAX = 16,
    SYNC_INTERVAL_MS_DEFAULT = 1000,
    SYNC_INTERVAL_MS_MAX = 3600 * 1000,
    STATS_INTERVAL_MS_DEFAULT = 1000,
    STATS_INTERVAL_MS_MAX = 3600 * 1000,
    SLOWDOWN_TRIGGERS = 3,
    STOP_TRIGGERS = 6,
};

/* The index of a kept number; its tag is one more. */
typedef enum kept_index {
    KEPT_BLOCK_BYTES,
    KEPT_BLOOM_BITS,
    KEPT_CODEC,
    KEPT_CODEC_LEVEL,
    KEPT_TABLE_BYTES,
    KEPT_LEVEL_BASE_BYTES,
    KEPT_LEVEL_MULTIPLIER,
    KEPT_L0_TRIGGER,
    KEPT_BLOB_THRESHOLD,
    KEPT_COUNT,
} kept_index;

typedef struct kept_field {
    const char *name;
    int64_t min;
    int64_t max;
    int64_t fallback;
} kept_field;

static const kept_field kept_fields[KEPT_COUNT] = {
    [KEPT_BLOCK_BYTES] = {"block_bytes", 64, 16 * MIB, 4096},
    [KEPT_BLOOM_BITS] = {"bloom_bits_per_key", 0, 32, 10},
    [KEPT_CODEC] = {"codec", 0, LSMKV_CODEC_COUNT - 1, LSMKV_CODEC_NONE},
    [KEPT_CODEC_LEVEL] = {"codec_level", -(1 << 17), 1 << 17, 0},
    [KEPT_TABLE_BYTES] = {"table_bytes", 256, INT64_C(1) << 40, 32 * MIB},
    [KEPT_LEVEL_BASE_BYTES] = {"level_base_bytes", 256, INT64_C(1) << 50, 64 * MIB},
    [KEPT_LEVEL_MULTIPLIER] = {"level_multiplier", 2, 1000, 10},
    [KEPT_L0_TRIGGER] = {"l0_compact_trigger", 1, 10000, 4},
    [KEPT_BLOB_THRESHOLD] = {"blob_threshold_bytes", 0, LSMKV_VALUE_SIZE_MAX,
                             LSM_BLOB_THRESHOLD_DEFAULT},
};

typedef struct kept_values {
    int64_t value[KEPT_COUNT];
    bool set[KEPT_COUNT];
} kept_values;

void lsmkv_options_init(lsmkv_options *options) {
    *options = (lsmkv_options){
        .create_if_missing = true,
        .block_cache_bytes = -1,
        .bloom_bits_per_key = -1,
        .codec = -1,
        .blob_threshold_bytes = -1,
        .mapping = true,
        .stats_interval_ms = -1,
    };
}

/* No limit is near INT64_MAX, so what does not fit is refused as too large. */
static int64_t signed_of(uint64_t value) {
    return value > (uint64_t)INT64_MAX ? INT64_MAX : (int64_t)value;
}

static void keep(kept_values *kept, kept_index index, int64_t value, int64_t open) {
    kept->value[index] = value;
    kept->set[index] = value != open;
}

/* The kept numbers as the caller gave them. */
static kept_values values_given(const lsmkv_options *given) {
    kept_values kept;

    keep(&kept, KEPT_BLOCK_BYTES, given->block_bytes, 0);
    keep(&kept, KEPT_BLOOM_BITS, given->bloom_bits_per_key, -1);
    keep(&kept, KEPT_CODEC, given->codec, -1);
    keep(&kept, KEPT_CODEC_LEVEL, given->codec_level, 0);
    keep(&kept, KEPT_TABLE_BYTES, signed_of(given->table_bytes), 0);
    keep(&kept, KEPT_LEVEL_BASE_BYTES, signed_of(given->level_base_bytes), 0);
    keep(&kept, KEPT_LEVEL_MULTIPLIER, given->level_multiplier, 0);
    keep(&kept, KEPT_L0_TRIGGER, given->l0_compact_trigger, 0);
    keep(&kept, KEPT_BLOB_THRESHOLD, given->blob_threshold_bytes, -1);
    return kept;
}

/* The kept numbers in force. */
static kept_values values_resolved(const lsm_options *options) {
    kept_values kept;

    keep(&kept, KEPT_BLOCK_BYTES, options->block_bytes, 0);
    keep(&kept, KEPT_BLOOM_BITS, options->bloom_bits_per_key, -1);
    keep(&kept, KEPT_CODEC, options->codec, -1);
    keep(&kept, KEPT_CODEC_LEVEL, options->codec_level, 0);
    keep(&kept, KEPT_TABLE_BYTES, signed_of(options->table_bytes), 0);
    keep(&kept, KEPT_LEVEL_BASE_BYTES, signed_of(options->level_base_bytes), 0);
    keep(&kept, KEPT_LEVEL_MULTIPLIER, options->level_multiplier, 0);
    keep(&kept, KEPT_L0_TRIGGER, options->l0_compact_trigger, 0);
    keep(&kept, KEPT_BLOB_THRESHOLD,
         options->blob_threshold == SIZE_MAX ? 0 : (int64_t)options->blob_threshold,
         -1);
    return kept;
}

static bool in_limits(kept_index index, int64_t value) {
    return value >= kept_fields[index].min && value <= kept_fields[index].max;
}

/* Takes over checked numbers and what follows from them. */
static void store_kept(lsm_options *options, const kept_values *kept) {
    options->block_bytes = (uint32_t)kept->value[KEPT_BLOCK_BYTES];
    options->bloom_bits_per_key = (uint32_t)kept->value[KEPT_BLOOM_BITS];
    options->codec = (uint32_t)kept->value[KEPT_CODEC];
    options->codec_level = (int32_t)kept->value[KEPT_CODEC_LEVEL];
    options->table_bytes = (uint64_t)kept->value[KEPT_TABLE_BYTES];
    options->level_base_bytes = (uint64_t)kept->value[KEPT_LEVEL_BASE_BYTES];
    options->level_multiplier = (uint32_t)kept->value[KEPT_LEVEL_MULTIPLIER];
    options->l0_compact_trigger = (uint32_t)kept->value[KEPT_L0_TRIGGER];
    options->blob_threshold = kept->value[KEPT_BLOB_THRESHOLD] == 0
                                  ? SIZE_MAX
                                  : (size_t)kept->value[KEPT_BLOB_THRESHOLD];
    options->l0_slowdown = options->l0_compact_trigger * SLOWDOWN_TRIGGERS;
    options->l0_stop = options->l0_compact_trigger * STOP_TRIGGERS;
    options->manifest_bytes_max =
        (uint64_t)(options->table_bytes < TINY_TABLE_BYTES ? TINY_MANIFEST_BYTES
                                                           : MANIFEST_BYTES_DEFAULT);
}

static lsmkv_status check_range(const char *name, uint64_t value, int64_t min,
                                int64_t max, lsmkv_error *err) {
    if (value < (uint64_t)min || value > (uint64_t)max) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "%s is %llu: must be between %lld and %lld", name,
                        (unsigned long long)value, (long long)min, (long long)max);
    }
    return LSMKV_OK;
}

/* Fills what is open in `given` from `fallback` (NULL: the defaults). */
static lsmkv_status resolve_kept(lsm_options *options, const kept_values *fallback,
                                 lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    kept_values kept = values_given(&options->given);
    bool other_codec = fallback != NULL && kept.set[KEPT_CODEC] &&
                       kept.value[KEPT_CODEC] != fallback->value[KEPT_CODEC];

    for (kept_index i = 0; i < KEPT_COUNT; i++) {
        if (kept.set[i]) {
            if (!in_limits(i, kept.value[i])) {
                return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                                "%s is %lld: must be between %lld and %lld",
                                kept_fields[i].name, (long long)kept.value[i],
                                (long long)kept_fields[i].min,
                                (long long)kept_fields[i].max);
            }
        } else if (fallback != NULL && !(i == KEPT_CODEC_LEVEL && other_codec)) {
            kept.value[i] = fallback->value[i];
        } else {
            kept.value[i] = kept_fields[i].fallback;
        }
    }
    LSM_TRY(lsm_codec_check((uint32_t)kept.value[KEPT_CODEC], err));
    options->changed = fallback != NULL &&
                       memcmp(kept.value, fallback->value, sizeof(kept.value)) != 0;
    store_kept(options, &kept);
out:
    return status;
}

/* The one budget: memtables (one active, two waiting) first, the cache gets the rest.
 * The caller of lsm_options_resolve finds the numbers in `given`, too. */
static lsmkv_status resolve_memory(lsm_options *options, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_options *given = &options->given;

    if (given->memory_bytes == 0) {
        given->memory_bytes = MEMORY_BYTES_DEFAULT;
    }
    LSM_TRY(check_range("memory_bytes", given->memory_bytes, MEMORY_BYTES_MIN,
                        MEMORY_BYTES_MAX, err));
    uint64_t quarter = given->memory_bytes / 4;
    if (given->memtable_bytes == 0) {
        given->memtable_bytes =
            quarter < MEMTABLE_BYTES_DEFAULT ? quarter : MEMTABLE_BYTES_DEFAULT;
    }
    LSM_TRY(check_range("memtable_bytes", given->memtable_bytes, MEMTABLE_BYTES_MIN,
                        MEMTABLE_BYTES_MAX, err));
    if (given->memtable_bytes > quarter) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "memtable_bytes is %llu: at most a quarter of memory_bytes, "
                        "which is %llu",
                        (unsigned long long)given->memtable_bytes,
                        (unsigned long long)given->memory_bytes);
    }
    options->memtable_bytes = given->memtable_bytes;
    if (given->block_cache_bytes < -1 ||
        (given->block_cache_bytes >= 0 &&
         (uint64_t)given->block_cache_bytes > given->memory_bytes)) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "block_cache_bytes is %lld: must be -1, or between 0 and "
                        "memory_bytes, which is %llu",
                        (long long)given->block_cache_bytes,
                        (unsigned long long)given->memory_bytes);
    }
    /* Not negative: a memtable is at most a quarter. */
    uint64_t rest = given->untrusted ? given->memory_bytes / LSM_UNTRUSTED_CACHE_PART
                                     : given->memory_bytes - 3 * given->memtable_bytes;
    options->cache_bytes =
        given->block_cache_bytes >= 0 ? (uint64_t)given->block_cache_bytes : rest;
out:
    return status;
}

/* Without a number of its own a log has room for more than a memtable of small values.
 */
static lsmkv_status resolve_log(lsm_options *options, lsmkv_error *err) {
    lsmkv_options *given = &options->given;

    if (given->log_bytes == 0) {
        uint64_t least = 2 * given->memtable_bytes;
        given->log_bytes = least > LOG_BYTES_DEFAULT ? least : LOG_BYTES_DEFAULT;
    }
    options->log_bytes = given->log_bytes;
    given->mapping = given->mapping && !given->untrusted;
    options->mapping = given->mapping;
    return check_range("log_bytes", given->log_bytes, LOG_BYTES_MIN, LOG_BYTES_MAX,
                       err);
}

static void default_u32(uint32_t *value, uint32_t fallback) {
    *value = *value == 0 ? fallback : *value;
}

/* What does not go with a directory that is not trusted. */
static lsmkv_status check_untrusted(const lsmkv_options *given, lsmkv_error *err) {
    const char *problem = NULL;

    if (!given->untrusted) {
        return LSMKV_OK;
    }
    if (given->follower) {
        problem = "cannot be followed: open it for reading, and again for later states";
    } else if (!given->read_only) {
        problem = "can be opened for reading only, which is mode=\"r\"";
    } else if (given->warm_bytes != 0) {
        problem = "is not warmed when it is opened, which would be in the background";
    } else if (given->memory_bytes != 0 &&
               given->memory_bytes < UNTRUSTED_MEMORY_BYTES_MIN) {
        problem = "needs memory_bytes of 1 MiB at least";
    }
    return problem == NULL ? LSMKV_OK
                           : lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                                      "a database that is not trusted %s", problem);
}

/* What belongs to this opening alone. */
static lsmkv_status resolve_rest(lsm_options *options, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_options *given = &options->given;

    default_u32(&given->max_open_files, MAX_OPEN_FILES_DEFAULT);
    default_u32(&given->background_threads, BACKGROUND_THREADS_DEFAULT);
    default_u32(&given->sync_interval_ms, SYNC_INTERVAL_MS_DEFAULT);
    if (given->durability == LSMKV_DURABILITY_UNSET) {
        given->durability = LSMKV_DURABILITY_OS;
    }
    LSM_TRY(check_range("max_open_files", given->max_open_files, MAX_OPEN_FILES_MIN,
                        MAX_OPEN_FILES_MAX, err));
    LSM_TRY(check_range("background_threads", given->background_threads, 1,
                        BACKGROUND_THREADS_MAX, err));
    LSM_TRY(check_range("sync_interval_ms", given->sync_interval_ms, 1,
                        SYNC_INTERVAL_MS_MAX, err));
    if (given->stats_interval_ms == -1) {
        given->stats_interval_ms = STATS_INTERVAL_MS_DEFAULT;
    }
    LSM_TRY(check_range("stats_interval_ms", (uint64_t)given->stats_interval_ms, 0,
                        STATS_INTERVAL_MS_MAX, err));
    LSM_TRY(check_range("durability", (uint64_t)given->durability, LSMKV_DURABILITY_OS,
                        LSMKV_DURABILITY_INTERVAL, err));
    options->max_open_files = given->max_open_files;
    if (given->warm_bytes < -1) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "warm_bytes is %lld: must be -1 or more",
                        (long long)given->warm_bytes);
    }
out:
    return status;
}

lsmkv_status lsm_options_resolve(const lsmkv_options *given, lsm_options *options,
                                 lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    memset(options, 0, sizeof(*options));
    if (given == NULL) {
        lsmkv_options_init(&options->given);
    } else {
        options->given = *given;
    }
    LSM_TRY(check_untrusted(&options->given, err));
    LSM_TRY(resolve_memory(options, err));
    LSM_TRY(resolve_log(options, err));
    LSM_TRY(resolve_rest(options, err));
    LSM_TRY(resolve_kept(options, NULL, err));
out:
    return status;
}

static uint64_t zigzag(int64_t value) {
    uint64_t half = (uint64_t)(value < 0 ? -(value + 1) : value);
    return half << 1 | (value < 0);
}

static int64_t unzigzag(uint64_t value) {
    int64_t half = (int64_t)(value >> 1);
    return (value & 1) != 0 ? -half - 1 : half;
}

static lsmkv_status decode_field(lsm_reader *reader, uint64_t *last_tag,
                                 kept_values *kept, lsmkv_error *err) {
    uint64_t tag = 0;
    uint64_t bits = 0;

    lsm_read_varint(reader, &tag);
    if (!lsm_read_varint(reader, &bits) || tag <= *last_tag) {
        return lsm_fail(err, LSMKV_CORRUPTION,
                        "remembered options: malformed after field %llu",
                        (unsigned long long)*last_tag);
    }
    *last_tag = tag;
    if (tag > KEPT_COUNT) {
        return lsm_fail(err, LSMKV_UNSUPPORTED_VERSION,
                        "remembered options: field %llu is not known to this version",
                        (unsigned long long)tag);
    }
    kept_index index = (kept_index)(tag - 1);
    int64_t value = index == KEPT_CODEC_LEVEL ? unzigzag(bits) : signed_of(bits);
    if (!in_limits(index, value)) {
        return lsm_fail(err, LSMKV_CORRUPTION,
                        "remembered options: %s is %lld, must be between %lld and %lld",
                        kept_fields[index].name, (long long)value,
                        (long long)kept_fields[index].min,
                        (long long)kept_fields[index].max);
    }
    kept->value[index] = value;
    return LSMKV_OK;
}

lsmkv_status lsm_options_recall(lsm_options *options, lsm_slice remembered,
                                lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_reader reader = lsm_reader_make(remembered);
    kept_values kept = {0};
    uint64_t last_tag = 0;
    uint8_t version = 0;

    for (kept_index i = 0; i < KEPT_COUNT; i++) {
        kept.value[i] = kept_fields[i].fallback;
    }
    if (!lsm_read_u8(&reader, &version) || version == 0) {
        return lsm_fail(err, LSMKV_CORRUPTION, "remembered options: no version");
    }
    if (version != REMEMBERED_VERSION) {
        return lsm_fail(err, LSMKV_UNSUPPORTED_VERSION,
                        "remembered options: version %u, this is lsmkv %s, which knows "
                        "version %d",
                        version, lsmkv_version(), REMEMBERED_VERSION);
    }
    while (lsm_reader_left(&reader) > 0) {
        LSM_TRY(decode_field(&reader, &last_tag, &kept, err));
    }
    LSM_TRY(resolve_kept(options, &kept, err));
out:
    return status;
}

void lsm_options_describe(const lsm_options *options, lsmkv_options *to) {
    *to = options->given;
    to->memtable_bytes = options->memtable_bytes;
    to->block_cache_bytes = (int64_t)options->cache_bytes;
    to->max_open_files = options->max_open_files;
    to->block_bytes = options->block_bytes;
    to->bloom_bits_per_key = (int32_t)options->bloom_bits_per_key;
    to->codec = (int32_t)options->codec;
    to->codec_level = options->codec_level;
    to->table_bytes = options->table_bytes;
    to->level_base_bytes = options->level_base_bytes;
    to->level_multiplier = options->level_multiplier;
    to->l0_compact_trigger = options->l0_compact_trigger;
    to->blob_threshold_bytes =
        options->blob_threshold == SIZE_MAX ? 0 : (int64_t)options->blob_threshold;
}

bool lsm_options_encode(const lsm_options *options, lsm_buf *to) {
    kept_values kept = values_resolved(options);

    if (!lsm_buf_append_u8(to, REMEMBERED_VERSION)) {
        return false;
    }
    for (kept_index i = 0; i < KEPT_COUNT; i++) {
        int64_t value = kept.value[i];
        uint64_t bits = i == KEPT_CODEC_LEVEL ? zigzag(value) : (uint64_t)value;
        if (!lsm_buf_append_varint(to, (uint64_t)i + 1) ||
            !lsm_buf_append_varint(to, bits)) {
            return false;
        }
    }
    return true;
}
