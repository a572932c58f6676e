/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys and values as the engine stores them.
 *
 *   stored key    namespace u32 big-endian | user key, 0..65535 bytes
 *   internal key  stored key | trailer u64 little-endian = sequence << 8 | tag
 *   tag           bits 0..3 kind; 0x10 an expire_at is there; 0x20 a fresh_until is
 *                 there, both only with a value; bits 6 and 7 are zero
 *   value field   [expire_at u64] [fresh_until u64] value     (engine time, ms)
 *
 * From expire_at on a version is dead: no more than a tombstone. From fresh_until on
 * plain reads hide it as well, but it is kept.
 *
 * The value of a RANGE_DELETE is the stored key it ends before; of a POINTER, where
 * the bytes lie (lsm_pointer; in a batch it is the bytes themselves, see batch.h); of a
 * CACHED, the same, also in a batch: the bytes lie in a file of the namespace's cache
 * (cache_frame.h), if they are still there, and if not the version is dead:
 *
 *   pointer       segment number u64 | offset u64 | size u32 | checksum u64 (XXH3-64)
 *
 * Order: stored key ascending as unsigned bytes, then trailer
 * descending, so the newest version of a key comes first. Sequences are unique per
 * record, hence so are internal keys.
 *
 * Namespace 0 is the engine's own (options, namespace definitions); 1 is the default.
 */
#ifndef LSM_FORMAT_IKEY_H
#define LSM_FORMAT_IKEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/coding.h"
#include "base/slice.h"
#include "base/xxh3.h"

enum {
    LSM_NAMESPACE_SIZE = 4,
    LSM_TRAILER_SIZE = 8,
    LSM_SKEY_SIZE_MAX = LSM_NAMESPACE_SIZE + 65535,
    LSM_IKEY_SIZE_MIN = LSM_NAMESPACE_SIZE + LSM_TRAILER_SIZE,
    LSM_IKEY_SIZE_MAX = LSM_SKEY_SIZE_MAX + LSM_TRAILER_SIZE,
};

enum { LSM_NAMESPACE_SYSTEM = 0, LSM_NAMESPACE_DEFAULT = 1 };

enum {
    LSM_POINTER_SIZE = 28,
    LSM_VALUE_ALIGN = 64, /* large values start at multiples of it in their file */
};

typedef enum lsm_kind {
    LSM_KIND_PUT = 1,
    LSM_KIND_DELETE = 2,
    LSM_KIND_RANGE_DELETE = 3,
    LSM_KIND_POINTER = 4,
    LSM_KIND_MERGE = 5, /* reserved */
    LSM_KIND_CACHED = 6,
} lsm_kind;

enum {
    LSM_TAG_KIND_MASK = 0x0F,
    LSM_TAG_EXPIRES = 0x10,
    LSM_TAG_FRESH = 0x20,
    LSM_TAG_SEEK = 0xFF, /* sorts before every tag of the same sequence */
};

#define LSM_SEQUENCE_MAX ((UINT64_C(1) << 56) - 1)

static inline uint64_t lsm_trailer_make(uint64_t sequence, uint8_t tag) {
    return sequence << 8 | tag;
}

static inline uint64_t lsm_trailer_sequence(uint64_t trailer) {
    return trailer >> 8;
}

static inline uint8_t lsm_trailer_tag(uint64_t trailer) {
    return (uint8_t)(trailer & 0xFF);
}

static inline lsm_kind lsm_tag_kind(uint8_t tag) {
    return (lsm_kind)(tag & LSM_TAG_KIND_MASK);
}

/* PUT, POINTER and CACHED. */
static inline bool lsm_tag_has_value(uint8_t tag) {
    lsm_kind kind = lsm_tag_kind(tag);
    return kind == LSM_KIND_PUT || kind == LSM_KIND_POINTER || kind == LSM_KIND_CACHED;
}

/* The parts of an internal key of at least LSM_IKEY_SIZE_MIN bytes. */
static inline lsm_slice lsm_ikey_skey(lsm_slice ikey) {
    return lsm_slice_make(ikey.data, ikey.size - LSM_TRAILER_SIZE);
}

static inline uint64_t lsm_ikey_trailer(lsm_slice ikey) {
    return lsm_get_u64(ikey.data + ikey.size - LSM_TRAILER_SIZE);
}

/* < 0, 0, > 0 in the order above. */
static inline int lsm_ikey_compare(lsm_slice a, lsm_slice b) {
    int order = lsm_slice_compare(lsm_ikey_skey(a), lsm_ikey_skey(b));
    if (order != 0) {
        return order;
    }
    uint64_t at = lsm_ikey_trailer(a);
    uint64_t bt = lsm_ikey_trailer(b);
    return (at < bt) - (at > bt);
}

/* The trailer of a table's largest bound when a range delete ends the table: what lies
 * in the table ends before the stored key, whose every version sorts behind. */
#define LSM_TRAILER_EXCLUSIVE UINT64_MAX

static inline bool lsm_bound_is_exclusive(lsm_slice largest) {
    return lsm_ikey_trailer(largest) == LSM_TRAILER_EXCLUSIVE;
}

/* true for an internal key that this version can store: sizes, a known kind, zero
 * bits zero. For bytes from disk. */
bool lsm_ikey_check(lsm_slice ikey);
/* As above for a tag alone and the value field that goes with it. */
bool lsm_record_check(uint8_t tag, lsm_slice value_field);
/* Whether a stored key may have a version with this tag: namespaces 0 and 1 are no
 * caches. */
static inline bool lsm_kind_fits(uint8_t tag, lsm_slice skey) {
    return lsm_tag_kind(tag) != LSM_KIND_CACHED ||
           lsm_get_u32_be(skey.data) > LSM_NAMESPACE_DEFAULT;
}
/* true for stored keys that a range delete may go from and end before: start < stop,
 * inside one namespace. */
bool lsm_range_check(lsm_slice start, lsm_slice stop);
/* true for the bounds of a table: keys of entries, or where its range deletes begin
 * (a key of that kind) and end (exclusive), if it holds any. */
bool lsm_bounds_check(lsm_slice smallest, lsm_slice largest, bool has_range_deletes);

/* The bytes that the times of a value field take. */
static inline size_t lsm_times_size(uint8_t tag) {
    return ((tag & LSM_TAG_EXPIRES) ? 8u : 0u) + ((tag & LSM_TAG_FRESH) ? 8u : 0u);
}

/* The bytes after the optional times of a value field that passed lsm_record_check. */
static inline lsm_slice lsm_value_of_field(uint8_t tag, lsm_slice field) {
    size_t skip = lsm_times_size(tag);
    return skip == 0 ? field : lsm_slice_make(field.data + skip, field.size - skip);
}

#define LSM_NEVER UINT64_MAX

/* When the version is dead, from the times of a checked field; LSM_NEVER without. */
static inline uint64_t lsm_expire_at(uint8_t tag, lsm_slice field) {
    return (tag & LSM_TAG_EXPIRES) != 0 ? lsm_get_u64(field.data) : LSM_NEVER;
}

/* From when on plain reads hide the version: dead, or no longer fresh. */
static inline uint64_t lsm_hidden_at(uint8_t tag, lsm_slice field) {
    uint64_t at = lsm_expire_at(tag, field);
    if ((tag & LSM_TAG_FRESH) != 0) {
        size_t skip = (tag & LSM_TAG_EXPIRES) != 0 ? 8 : 0;
        uint64_t fresh_until = lsm_get_u64(field.data + skip);
        at = fresh_until < at ? fresh_until : at;
    }
    return at;
}

static inline bool lsm_tag_has_times(uint8_t tag) {
    return (tag & (LSM_TAG_EXPIRES | LSM_TAG_FRESH)) != 0;
}

/* Where a large value lies. */
typedef struct lsm_pointer {
    uint64_t segment; /* number of the log, value file or cache segment */
    uint64_t offset;
    uint64_t checksum; /* lsm_xxh3 of the value */
    uint32_t size;
} lsm_pointer;

/* What a value takes up in its file. */
static inline uint64_t lsm_pointer_room(const lsm_pointer *pointer) {
    return ((uint64_t)pointer->size + LSM_VALUE_ALIGN - 1) / LSM_VALUE_ALIGN *
           LSM_VALUE_ALIGN;
}

void lsm_pointer_encode(const lsm_pointer *pointer, uint8_t to[LSM_POINTER_SIZE]);
/* Of a value field of kind POINTER or CACHED that passed lsm_record_check. */
lsm_pointer lsm_pointer_of_field(uint8_t tag, lsm_slice field);

/* What a point read looks for: the newest version of `skey` at or below `sequence`.
 * One hash serves memtable index, filter and block hash. Borrows skey. */
typedef struct lsm_lookup {
    lsm_slice skey;
    uint64_t hash; /* lsm_xxh3(skey) */
    uint64_t sequence;
    bool stale; /* a value is one until it is dead, not until it is hidden */
} lsm_lookup;

static inline lsm_lookup lsm_lookup_make(lsm_slice skey, uint64_t sequence) {
    return (lsm_lookup){skey, lsm_xxh3(skey.data, skey.size), sequence, false};
}

/* The version a point read found, of whatever kind. `field` is lent by the memtable or
 * block, which the reader's epoch keeps alive. */
typedef struct lsm_found {
    uint64_t trailer;
    lsm_slice field;
} lsm_found;

/* Index separators: shortens the internal key `key` (in place in `buf`, which holds
 * it) to some internal key k with key <= k < limit, sorting at the end of its stored
 * key where it was shortened. */
struct lsm_buf;
void lsm_ikey_shorten(struct lsm_buf *buf, lsm_slice limit);

#endif
