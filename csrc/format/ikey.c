/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks of keys and values that come from files, and index separators.
 *
 * Only what this version can answer for passes a check: a file with a kind whose
 * meaning is not implemented here would be read wrongly, and a wrong answer is worse
 * than CORRUPTION.
 */
#include "format/ikey.h"

#include "base/assert.h"
#include "base/buf.h"

enum { TAG_KNOWN_BITS = LSM_TAG_KIND_MASK | LSM_TAG_EXPIRES | LSM_TAG_FRESH };

enum { POINTER_OFFSET_AT = 8, POINTER_SIZE_AT = 16, POINTER_CHECKSUM_AT = 20 };

_Static_assert(POINTER_CHECKSUM_AT + 8 == LSM_POINTER_SIZE, "the checksum ends it");

/* Only what has a value has times. */
static inline bool tag_is_known(uint8_t tag) {
    return ((tag & ~TAG_KNOWN_BITS) == 0 && lsm_tag_has_value(tag)) ||
           tag == LSM_KIND_DELETE;
}

bool lsm_ikey_check(lsm_slice ikey) {
    return ikey.size >= LSM_IKEY_SIZE_MIN && ikey.size <= LSM_IKEY_SIZE_MAX &&
           tag_is_known(lsm_trailer_tag(lsm_ikey_trailer(ikey)));
}

bool lsm_record_check(uint8_t tag, lsm_slice value_field) {
    size_t times = lsm_times_size(tag);

    if (!tag_is_known(tag) || value_field.size < times) {
        return false;
    }
    if (lsm_tag_kind(tag) == LSM_KIND_POINTER || lsm_tag_kind(tag) == LSM_KIND_CACHED) {
        return value_field.size == times + LSM_POINTER_SIZE;
    }
    return lsm_tag_kind(tag) != LSM_KIND_DELETE || value_field.size == 0;
}

void lsm_pointer_encode(const lsm_pointer *pointer, uint8_t to[LSM_POINTER_SIZE]) {
    lsm_put_u64(to, pointer->segment);
    lsm_put_u64(to + POINTER_OFFSET_AT, pointer->offset);
    lsm_put_u32(to + POINTER_SIZE_AT, pointer->size);
    lsm_put_u64(to + POINTER_CHECKSUM_AT, pointer->checksum);
}

lsm_pointer lsm_pointer_of_field(uint8_t tag, lsm_slice field) {
    const uint8_t *at = field.data + lsm_times_size(tag);

    LSM_ASSERT(field.size == lsm_times_size(tag) + LSM_POINTER_SIZE);
    return (lsm_pointer){.segment = lsm_get_u64(at),
                         .offset = lsm_get_u64(at + POINTER_OFFSET_AT),
                         .checksum = lsm_get_u64(at + POINTER_CHECKSUM_AT),
                         .size = lsm_get_u32(at + POINTER_SIZE_AT)};
}

bool lsm_range_check(lsm_slice start, lsm_slice stop) {
    if (start.size < LSM_NAMESPACE_SIZE || start.size > LSM_SKEY_SIZE_MAX ||
        stop.size < LSM_NAMESPACE_SIZE || stop.size > LSM_SKEY_SIZE_MAX ||
        lsm_slice_compare(start, stop) >= 0) {
        return false;
    }
    uint32_t first = lsm_get_u32_be(start.data);
    uint32_t last = lsm_get_u32_be(stop.data);
    return first == last || (last - first == 1 && stop.size == LSM_NAMESPACE_SIZE);
}

static bool is_stored_key(lsm_slice bound) {
    return bound.size >= LSM_IKEY_SIZE_MIN && bound.size <= LSM_IKEY_SIZE_MAX;
}

bool lsm_bounds_check(lsm_slice smallest, lsm_slice largest, bool has_range_deletes) {
    bool from_range =
        has_range_deletes && is_stored_key(smallest) &&
        lsm_trailer_tag(lsm_ikey_trailer(smallest)) == LSM_KIND_RANGE_DELETE;
    bool to_range =
        has_range_deletes && is_stored_key(largest) && lsm_bound_is_exclusive(largest);

    return (from_range || lsm_ikey_check(smallest)) &&
           (to_range || lsm_ikey_check(largest)) &&
           lsm_ikey_compare(smallest, largest) <= 0;
}

/* The position of the byte of `key` that is incremented to make the shortest key that
 * lies between the two; key.size when nothing shorter than `key` does. `common` bytes
 * of both are equal and key[common] < limit[common]. */
static size_t pick_cut(lsm_slice key, lsm_slice limit, size_t common) {
    /* The namespace stays whole. */
    size_t at = common < LSM_NAMESPACE_SIZE - 1 ? LSM_NAMESPACE_SIZE - 1 : common;

    if (at == common && key.data[at] + 1 == limit.data[at] && limit.size == at + 1) {
        /* The incremented key would be the limit itself; increment further behind. */
        at++;
    }
    while (at < key.size && key.data[at] == UINT8_MAX) {
        at++;
    }
    return at + 1 < key.size ? at : key.size;
}

void lsm_ikey_shorten(struct lsm_buf *buf, lsm_slice limit) {
    LSM_ASSERT(buf->size >= LSM_IKEY_SIZE_MIN && limit.size >= LSM_IKEY_SIZE_MIN);
    lsm_slice key = lsm_ikey_skey(lsm_buf_slice(buf));
    lsm_slice stop = lsm_ikey_skey(limit);
    size_t least = key.size < stop.size ? key.size : stop.size;
    size_t common = 0;

    while (common < least && key.data[common] == stop.data[common]) {
        common++;
    }
    if (common == least || key.data[common] > stop.data[common]) {
        return; /* one is a prefix of the other, or they are versions of one key */
    }
    size_t cut = pick_cut(key, stop, common);
    if (cut == key.size) {
        return;
    }
    buf->data[cut]++;
    lsm_put_u64(buf->data + cut + 1, lsm_trailer_make(0, LSM_KIND_PUT));
    buf->size = cut + 1 + LSM_TRAILER_SIZE;
}
