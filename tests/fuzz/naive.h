/* SPDX-License-Identifier: Apache-2.0
 *
 * A second reader of blocks, written from docs/file-format.md, one entry after the
 * other and without a thought of speed.
 */
#ifndef LSM_TESTS_FUZZ_NAIVE_H
#define LSM_TESTS_FUZZ_NAIVE_H

#include "base/coding.h"
#include "format/ikey.h"
#include "fuzz.h"

/* Zeroed but for the reader, it is in front of the first entry. */
typedef struct naive_block {
    lsm_reader reader;
    bool wrong; /* a malformed or misplaced entry was met */
    bool older; /* the entry is an older version of the one before */
    size_t count;
    uint64_t sequence;
    uint8_t key[LSM_IKEY_SIZE_MAX];
    size_t key_size; /* of the internal key */
    uint8_t tag;
    lsm_slice field;
    size_t key_count; /* different stored keys so far */
    size_t room;      /* that the entries before this one take in memory */
    size_t next_room;
} naive_block;

/* false: the end, or wrong. */
static inline bool naive_next(naive_block *block) {
    lsm_reader *reader = &block->reader;
    uint32_t shared = 0;
    uint32_t unshared = 0;
    uint32_t field_size = 0;
    uint64_t step = 0;
    lsm_slice suffix = {NULL, 0};
    size_t before = block->count == 0 ? 0 : block->key_size - LSM_TRAILER_SIZE;
    uint64_t before_sequence = block->sequence;
    uint8_t before_tag = block->tag;

    if (block->wrong || lsm_reader_left(reader) == 0) {
        return false;
    }
    block->wrong = true;
    lsm_read_varint32(reader, &shared);
    lsm_read_varint32(reader, &unshared);
    lsm_read_varint32(reader, &field_size);
    lsm_read_u8(reader, &block->tag);
    lsm_read_varint(reader, &step);
    lsm_read_bytes(reader, unshared, &suffix);
    if (!lsm_read_bytes(reader, field_size, &block->field) || shared > before ||
        (uint64_t)shared + unshared > LSM_SKEY_SIZE_MAX ||
        shared + unshared < LSM_NAMESPACE_SIZE) {
        return false;
    }
    block->sequence += step >> 1 ^ (0 - (step & 1));
    block->older = block->count > 0 && unshared == 0;
    if (block->sequence > LSM_SEQUENCE_MAX ||
        !lsm_record_check(block->tag, block->field)) {
        return false;
    }
    if (block->older &&
        (shared != before || block->sequence > before_sequence ||
         (block->sequence == before_sequence && block->tag >= before_tag))) {
        return false;
    }
    if (block->count > 0 && !block->older && shared < before &&
        suffix.data[0] <= block->key[shared]) {
        return false;
    }
    if (unshared > 0) {
        memcpy(block->key + shared, suffix.data, unshared);
    }
    block->key_size = shared + unshared + LSM_TRAILER_SIZE;
    lsm_put_u64(block->key + shared + unshared,
                lsm_trailer_make(block->sequence, block->tag));
    block->count++;
    block->key_count += block->older ? 0 : 1;
    block->room = block->next_room;
    block->next_room += ((size_t)16 + shared + unshared + field_size + 7) / 8 * 8;
    block->wrong = false;
    return true;
}

/* Whether the entries that were read can be searched by 16-bit positions. */
static inline bool naive_fits(const naive_block *block, bool hashed) {
    size_t places = hashed ? 4 : 0;

    while (hashed && places / 4 * 3 < block->key_count) {
        places *= 2;
    }
    return block->room + (4 * block->count + 2 * places + 7) / 8 * 8 < 512 << 10;
}

#endif
