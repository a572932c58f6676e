/* SPDX-License-Identifier: Apache-2.0
 *
 * How namespaces are defined: by keys of the system namespace.
 *
 *   "namespace/" name   version u8 (1) | id u32 | (tag varint, value varint)*,
 * ascending 1 default_ttl_ms   2 blob_threshold_bytes + 1   3 codec + 1   4 codec_level
 *     (zigzag)   5 max_bytes   6 cache_policy, both or neither   7 vector_dim
 *     8 vector_dtype + 1   9 vector_metric + 1, these three or none of them
 *     10 default_stale_ms; what is absent, or 0, is not the namespace's own
 *   "next_namespace"    id u32 of the next namespace to be created, at first 2; ids are
 *                       never used again
 */
#ifndef LSM_FORMAT_SPACE_H
#define LSM_FORMAT_SPACE_H

#include "base/buf.h"
#include "base/status.h"

#define LSM_SPACE_PREFIX "namespace/"
#define LSM_NEXT_SPACE_KEY "next_namespace"

enum {
    LSM_SPACE_PREFIX_SIZE = sizeof(LSM_SPACE_PREFIX) - 1,
    LSM_SPACE_NAME_MAX = 255,
    LSM_SPACE_FIRST = 2,
    LSM_VECTOR_DTYPES = 4,  /* float32, float16, bfloat16, int8 */
    LSM_VECTOR_METRICS = 3, /* cosine, dot, l2 */
};

/* What a namespace has that has nothing of its own. */
#define LSM_SPACE_OPTIONS_NONE                         \
    ((lsmkv_space_options){.blob_threshold_bytes = -1, \
                           .codec = -1,                \
                           .vector_dtype = -1,         \
                           .vector_metric = -1})

/* The id behind one bounds its keys, so the largest number is none; and the one before
 * it stands for a namespace that holds nothing. */
#define LSM_SPACE_LAST (UINT32_MAX - 2)
#define LSM_SPACE_NOTHING (UINT32_MAX - 1)

/* A copy of a name; of size 0 for what has none. */
typedef struct lsm_space_name {
    uint8_t size;
    uint8_t bytes[LSM_SPACE_NAME_MAX];
} lsm_space_name;

/* A definition; -1 and, for the TTL, 0: none of its own. */
typedef struct lsm_space_definition {
    uint32_t id;
    bool sealed;         /* not stored: it is that of a published version */
    lsm_space_name name; /* not in the value; none of a published version */
    lsmkv_space_options options;
} lsm_space_definition;

/* 1 to LSM_SPACE_NAME_MAX bytes of UTF-8. */
bool lsm_space_name_check(lsmkv_bytes name);
/* Of a name that was checked. */
lsm_space_name lsm_space_name_make(lsmkv_bytes name);
static inline lsmkv_bytes lsm_space_name_bytes(const lsm_space_name *name) {
    return (lsmkv_bytes){name->bytes, name->size};
}

/* Whether all three fields of vectors are there, in their ranges, or none of them. */
bool lsm_space_vector_check(const lsmkv_space_options *options);
/* Whether the three fields of vectors are the same. */
bool lsm_space_vector_same(const lsmkv_space_options *a, const lsmkv_space_options *b);

bool lsm_space_encode(const lsm_space_definition *definition,
                      lsm_buf *to) LSM_MUST_CHECK;
/* Without the name. CORRUPTION, or UNSUPPORTED_VERSION for another version or tag. */
lsmkv_status lsm_space_decode(lsm_slice value, lsm_space_definition *definition,
                              lsmkv_error *err) LSM_MUST_CHECK;

#endif
