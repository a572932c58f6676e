/* SPDX-License-Identifier: Apache-2.0
 *
 * See space.h.
 */
#include "format/space.h"

#include "base/assert.h"
#include "base/coding.h"
#include "format/ikey.h"

enum { VERSION = 1 };

enum {
    TAG_TTL = 1,
    TAG_BLOB_THRESHOLD = 2,
    TAG_CODEC = 3,
    TAG_CODEC_LEVEL = 4,
    TAG_MAX_BYTES = 5,
    TAG_CACHE_POLICY = 6,
    TAG_VECTOR_DIM = 7,
    TAG_VECTOR_DTYPE = 8,
    TAG_VECTOR_METRIC = 9,
    TAG_STALE = 10,
    TAG_END = 11,
};

/* The bytes of the character at `at`, of `left`; 0: none. */
static size_t character_size(const uint8_t *at, size_t left) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t first = at[0];
    size_t size = first < 0x80   ? 1
                  : first < 0xC2 ? 0
                  : first < 0xE0 ? 2
                  : first < 0xF0 ? 3
                  : first < 0xF5 ? 4
                                 : 0;
    if (size <= 1 || size > left) {
        return size > left ? 0 : size;
    }
    uint32_t code = first & (0x7Fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
        code = code << 6 | (at[i] & 0x3Fu);
    }
    bool surrogate = code >= 0xD800 && code < 0xE000;
    return code < least[size] || code > 0x10FFFF || surrogate ? 0 : size;
}

bool lsm_space_name_check(lsmkv_bytes name) {
    const uint8_t *at = name.data;
    size_t left = name.size;

    if (left == 0 || left > LSM_SPACE_NAME_MAX) {
        return false;
    }
    while (left > 0) {
        size_t size = character_size(at, left);
        if (size == 0) {
            return false;
        }
        at += size;
        left -= size;
    }
    return true;
}

lsm_space_name lsm_space_name_make(lsmkv_bytes name) {
    lsm_space_name made = {.size = (uint8_t)name.size};

    LSM_ASSERT(name.size <= sizeof(made.bytes));
    if (name.size > 0) {
        memcpy(made.bytes, name.data, name.size);
    }
    return made;
}

static uint64_t zigzag(int64_t value) {
    return ((uint64_t)value << 1) ^ (uint64_t)(value < 0 ? -1 : 0);
}

static int64_t unzigzag(uint64_t value) {
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

bool lsm_space_vector_check(const lsmkv_space_options *options) {
    if (options->vector_dim == 0) {
        return options->vector_dtype == -1 && options->vector_metric == -1;
    }
    return options->vector_dim <= LSMKV_VECTOR_DIM_MAX && options->vector_dtype >= 0 &&
           options->vector_dtype < LSM_VECTOR_DTYPES && options->vector_metric >= 0 &&
           options->vector_metric < LSM_VECTOR_METRICS;
}

bool lsm_space_vector_same(const lsmkv_space_options *a, const lsmkv_space_options *b) {
    return a->vector_dim == b->vector_dim && a->vector_dtype == b->vector_dtype &&
           a->vector_metric == b->vector_metric;
}

bool lsm_space_encode(const lsm_space_definition *definition, lsm_buf *to) {
    const lsmkv_space_options *options = &definition->options;
    bool vectors = options->vector_dim != 0;
    const uint64_t values[TAG_END] = {
        [TAG_TTL] = (uint64_t)options->default_ttl_ms,
        [TAG_BLOB_THRESHOLD] = (uint64_t)(options->blob_threshold_bytes + 1),
        [TAG_CODEC] = (uint64_t)(options->codec + 1),
        [TAG_CODEC_LEVEL] = zigzag(options->codec_level),
        [TAG_MAX_BYTES] = (uint64_t)options->max_bytes,
        [TAG_CACHE_POLICY] = (uint64_t)options->cache_policy,
        [TAG_VECTOR_DIM] = options->vector_dim,
        [TAG_VECTOR_DTYPE] = vectors ? (uint64_t)(options->vector_dtype + 1) : 0,
        [TAG_VECTOR_METRIC] = vectors ? (uint64_t)(options->vector_metric + 1) : 0,
        [TAG_STALE] = (uint64_t)options->default_stale_ms,
    };
    uint8_t version = VERSION;
    uint8_t id[4];

    lsm_put_u32(id, definition->id);
    bool ok = lsm_buf_append(to, &version, 1) && lsm_buf_append(to, id, sizeof(id));
    for (size_t tag = 1; ok && tag < TAG_END; tag++) {
        ok = values[tag] == 0 ||
             (lsm_buf_append_varint(to, tag) && lsm_buf_append_varint(to, values[tag]));
    }
    return ok;
}

/* false: out of range. */
static bool take_value(lsmkv_space_options *options, uint64_t tag, uint64_t value) {
    if (value == 0 || value > INT64_MAX) { /* before any arithmetic */
        return false;
    }
    switch (tag) {
        case TAG_TTL:
            options->default_ttl_ms = (int64_t)value;
            return true;
        case TAG_STALE:
            options->default_stale_ms = (int64_t)value;
            return true;
        case TAG_BLOB_THRESHOLD:
            options->blob_threshold_bytes = (int64_t)value - 1;
            return true;
        case TAG_CODEC:
            options->codec = (int32_t)(value - 1);
            return value <= LSMKV_CODEC_COUNT;
        case TAG_MAX_BYTES:
            options->max_bytes = (int64_t)value;
            return value >= LSMKV_CACHE_BYTES_MIN;
        case TAG_CACHE_POLICY:
            options->cache_policy = (int32_t)value;
            return value == LSMKV_CACHE_FIFO_REINSERT;
        case TAG_CODEC_LEVEL:
            options->codec_level = (int32_t)unzigzag(value);
            return value <= UINT32_MAX;
        case TAG_VECTOR_DIM:
            options->vector_dim = (uint32_t)value;
            return value <= LSMKV_VECTOR_DIM_MAX;
        case TAG_VECTOR_DTYPE:
            options->vector_dtype = (int32_t)(value - 1);
            return value <= LSM_VECTOR_DTYPES;
        default:
            options->vector_metric = (int32_t)(value - 1);
            return value <= LSM_VECTOR_METRICS;
    }
}

lsmkv_status lsm_space_decode(lsm_slice value, lsm_space_definition *definition,
                              lsmkv_error *err) {
    lsm_reader reader = lsm_reader_make(value);
    uint64_t last_tag = 0;

    *definition = (lsm_space_definition){.options = LSM_SPACE_OPTIONS_NONE};
    if (value.size > 0 && value.data[0] != VERSION) {
        return lsm_fail(err, LSMKV_UNSUPPORTED_VERSION,
                        "a namespace defined by version %d", value.data[0]);
    }
    if (value.size < 5) {
        return lsm_fail(err, LSMKV_CORRUPTION, "a namespace defined by %zu bytes",
                        value.size);
    }
    definition->id = lsm_get_u32(value.data + 1);
    reader.at += 5;
    bool ok = definition->id >= LSM_SPACE_FIRST && definition->id <= LSM_SPACE_LAST;
    while (ok && lsm_reader_left(&reader) != 0) {
        uint64_t tag = 0;
        uint64_t number = 0;
        lsm_read_varint(&reader, &tag);
        ok = lsm_read_varint(&reader, &number) && tag > last_tag;
        if (ok && tag >= TAG_END) {
            return lsm_fail(err, LSMKV_UNSUPPORTED_VERSION,
                            "namespace %u has an option of a later version of lsmkv",
                            definition->id);
        }
        ok = ok && take_value(&definition->options, tag, number);
        last_tag = tag;
    }
    ok = ok && lsm_space_vector_check(&definition->options);
    ok = ok && (definition->options.max_bytes == 0) ==
                   (definition->options.cache_policy == 0);
    return ok ? LSMKV_OK
              : lsm_fail(err, LSMKV_CORRUPTION, "the definition of namespace %u",
                         definition->id);
}
