/* SPDX-License-Identifier: Apache-2.0
 *
 * Building a block. The key before is kept whole, across blocks, because it gives the
 * shared prefix and the order check in one comparison: keys out of order are the shape
 * that memory corruption takes, and this is the last place where it can be noticed
 * before it reaches a file.
 */
#include "format/block.h"

#include <string.h>

#include "base/assert.h"

enum {
    /* Where a block is cut at the latest, so that the entry added last begins below
     * LSM_BLOCK_SPAN_MAX. */
    SPAN_FULL = LSM_BLOCK_SPAN_MAX - (1 << 16),
    /* A block of keys that share nearly everything grows when it is decoded; it is cut
     * when it takes this many times its target. */
    SPAN_FACTOR = 4,
    /* More than an entry's share of slots, prefixes and units can be. */
    ENTRY_OVERHEAD = 16,
    ENTRY_ALIGN = 8,
};

void lsm_block_builder_init(lsm_block_builder *builder) {
    *builder = (lsm_block_builder){0};
}

void lsm_block_builder_deinit(lsm_block_builder *builder) {
    lsm_buf_deinit(&builder->data);
    lsm_buf_deinit(&builder->last_key);
}

/* Whether `ikey`, which shares `common` bytes of its stored key, comes after `last`. */
static bool is_after(lsm_slice ikey, lsm_slice last, size_t common) {
    lsm_slice skey = lsm_ikey_skey(ikey);
    lsm_slice before = lsm_ikey_skey(last);

    if (common == before.size) {
        return skey.size > common || lsm_ikey_trailer(ikey) < lsm_ikey_trailer(last);
    }
    return skey.size > common && skey.data[common] > before.data[common];
}

static bool append_entry(lsm_block_builder *builder, lsm_slice ikey, size_t shared,
                         lsm_slice field) {
    size_t unshared = ikey.size - LSM_TRAILER_SIZE - shared;
    uint64_t trailer = lsm_ikey_trailer(ikey);
    uint64_t sequence = lsm_trailer_sequence(trailer);
    uint64_t step = sequence - builder->last_sequence;
    lsm_buf *data = &builder->data;
    uint8_t *to = NULL;

    if (!lsm_buf_reserve(data, 4 * LSM_VARINT_SIZE_MAX + 1 + unshared + field.size)) {
        return false;
    }
    to = data->data + data->size;
    to += lsm_put_varint(to, shared);
    to += lsm_put_varint(to, unshared);
    to += lsm_put_varint(to, field.size);
    *to++ = lsm_trailer_tag(trailer);
    to += lsm_put_varint(to, step << 1 ^ (0 - (step >> 63)));
    memcpy(to, ikey.data + shared, unshared);
    to += unshared;
    if (field.size != 0) {
        memcpy(to, field.data, field.size);
        to += field.size;
    }
    data->size = (size_t)(to - data->data);
    builder->last_sequence = sequence;
    return true;
}

lsmkv_status lsm_block_builder_add(lsm_block_builder *builder, lsm_slice ikey,
                                   lsm_slice field) {
    lsm_buf *last = &builder->last_key;
    bool first = last->size == 0;
    size_t common = 0;

    LSM_ASSERT(ikey.size >= LSM_IKEY_SIZE_MIN && ikey.size <= LSM_IKEY_SIZE_MAX);
    LSM_ASSERT(field.size <= LSM_BLOCK_RAW_SIZE_MAX - 2 * LSM_IKEY_SIZE_MAX);
    if (!first) {
        lsm_slice before = lsm_buf_slice(last);

        common = lsm_slice_common(lsm_ikey_skey(ikey), lsm_ikey_skey(before));
        if (!is_after(ikey, before, common)) {
            return LSMKV_CORRUPTION;
        }
    }
    if (!append_entry(builder, ikey, builder->data.size == 0 ? 0 : common, field)) {
        return LSMKV_NO_MEMORY;
    }
    /* The shared bytes are in place already. */
    last->size = common;
    if (!lsm_buf_append(last, ikey.data + common, ikey.size - common)) {
        return LSMKV_NO_MEMORY;
    }
    builder->key_is_new = first || common + LSM_TRAILER_SIZE < ikey.size;
    builder->span += LSM_BLOCK_ENTRY_HEADER_SIZE + ikey.size + field.size +
                     ENTRY_ALIGN + ENTRY_OVERHEAD;
    return LSMKV_OK;
}

bool lsm_block_builder_full(const lsm_block_builder *builder, size_t target) {
    size_t span_max =
        target < SPAN_FULL / SPAN_FACTOR ? target * SPAN_FACTOR : SPAN_FULL;

    return builder->data.size >= target || builder->span >= span_max;
}

void lsm_block_builder_clear(lsm_block_builder *builder) {
    lsm_buf_clear(&builder->data);
    builder->last_sequence = 0;
    builder->span = 0;
}
