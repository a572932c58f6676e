/* SPDX-License-Identifier: Apache-2.0
 *
 * See mutator.h.
 */
#include "mutator.h"

#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "base/coding.h"

enum { CHANGES_MAX = 5, BLOCK_MAX = 64 };

static const uint64_t interesting[] = {
    0,          1,          2,          7,          8,          16,
    63,         64,         65,         127,        128,        255,
    256,        1023,       1024,       4095,       4096,       32767,
    32768,      65535,      65536,      65539,      65540,      1 << 20,
    INT32_MAX,  0x80000000, UINT32_MAX, 1ULL << 32, 1ULL << 56, (1ULL << 56) - 1,
    1ULL << 30, INT64_MAX,  1ULL << 63, UINT64_MAX, 0xFF00,     0x40000001,
};

static size_t below(lsm_rng *rng, size_t bound) {
    return bound == 0 ? 0 : (size_t)lsm_rng_below(rng, bound);
}

static uint64_t any_number(lsm_rng *rng) {
    uint64_t number = interesting[below(rng, LSM_ARRAY_COUNT(interesting))];

    switch (below(rng, 4)) {
        case 0:
            return number - below(rng, 9);
        case 1:
            return number + below(rng, 9);
        case 2:
            return below(rng, 256);
        default:
            return number;
    }
}

/* Makes a gap of `size` bytes at `at`, as far as there is room; returns its size. */
static size_t open_gap(fuzz_bytes *bytes, size_t at, size_t size) {
    size_t room = bytes->capacity - bytes->size;

    size = size < room ? size : room;
    memmove(bytes->data + at + size, bytes->data + at, bytes->size - at);
    bytes->size += size;
    return size;
}

static void close_gap(fuzz_bytes *bytes, size_t at, size_t size) {
    memmove(bytes->data + at, bytes->data + at + size, bytes->size - at - size);
    bytes->size -= size;
}

/* A block of bytes, mostly a short one; at least a byte of them, if there are any. */
static size_t any_size(lsm_rng *rng, size_t most) {
    size_t bound = below(rng, 8) == 0 ? most : BLOCK_MAX;

    bound = bound < most ? bound : most;
    return bound == 0 ? 0 : 1 + below(rng, bound);
}

static void change_bit(lsm_rng *rng, fuzz_bytes *bytes) {
    bytes->data[below(rng, bytes->size)] ^= (uint8_t)(1U << below(rng, 8));
}

static void change_byte(lsm_rng *rng, fuzz_bytes *bytes) {
    uint8_t *at = bytes->data + below(rng, bytes->size);

    switch (below(rng, 3)) {
        case 0:
            *at = (uint8_t)below(rng, 256);
            break;
        case 1:
            *at = (uint8_t)(*at + 1 + below(rng, 8));
            break;
        default:
            *at = (uint8_t)(*at - 1 - below(rng, 8));
            break;
    }
}

/* An integer of 2, 4 or 8 bytes. */
static void change_integer(lsm_rng *rng, fuzz_bytes *bytes) {
    size_t width = (size_t)2 << below(rng, 3);
    uint8_t number[8];

    if (bytes->size < width) {
        change_byte(rng, bytes);
        return;
    }
    size_t at = below(rng, bytes->size - width + 1);
    memset(number, 0, sizeof(number));
    memcpy(number, bytes->data + at, width);
    switch (below(rng, 3)) {
        case 0:
            lsm_put_u64(number, lsm_get_u64(number) + 1 + below(rng, 64));
            break;
        case 1:
            lsm_put_u64(number, lsm_get_u64(number) - 1 - below(rng, 64));
            break;
        default:
            lsm_put_u64(number, any_number(rng));
            break;
    }
    memcpy(bytes->data + at, number, width);
}

/* Puts a varint in the place of bytes, or of a varint that may be of another size. */
static void change_varint(lsm_rng *rng, fuzz_bytes *bytes, bool keeps_size) {
    uint8_t number[LSM_VARINT_SIZE_MAX];
    size_t size = lsm_put_varint(number, any_number(rng));
    size_t at = below(rng, bytes->size);
    size_t old = 1;

    while (at + old < bytes->size && old < 10 && bytes->data[at + old - 1] >= 0x80) {
        old++;
    }
    if (keeps_size) {
        size = size < bytes->size - at ? size : bytes->size - at;
    } else if (size > old) {
        size = old + open_gap(bytes, at, size - old);
    } else {
        close_gap(bytes, at, old - size);
    }
    memcpy(bytes->data + at, number, size);
}

/* Copies a block of these bytes, or of the other input, over others. */
static void copy_block(lsm_rng *rng, fuzz_bytes *bytes, lsm_slice other) {
    bool own = other.size == 0 || below(rng, 2) == 0;
    const uint8_t *source = own ? bytes->data : other.data;
    size_t source_size = own ? bytes->size : other.size;
    size_t from = below(rng, source_size);
    size_t to = below(rng, own || below(rng, 2) == 0 ? bytes->size
                           : from < bytes->size      ? from + 1
                                                     : bytes->size);
    size_t left = bytes->size - to;
    size_t most = source_size - from < left ? source_size - from : left;

    memmove(bytes->data + to, source + from, any_size(rng, most));
}

static void fill_block(lsm_rng *rng, fuzz_bytes *bytes) {
    size_t at = below(rng, bytes->size);
    static const uint8_t values[] = {0, 0, 0xFF, 0x80, 0x7F, 1};

    memset(bytes->data + at, values[below(rng, sizeof(values))],
           any_size(rng, bytes->size - at));
}

static void insert_block(lsm_rng *rng, fuzz_bytes *bytes, lsm_slice other) {
    uint8_t copy[BLOCK_MAX * 16];
    bool own = other.size == 0 || below(rng, 2) == 0;
    lsm_slice source = own ? lsm_slice_make(bytes->data, bytes->size) : other;
    size_t from = below(rng, source.size);
    size_t most = source.size - from < sizeof(copy) ? source.size - from : sizeof(copy);
    size_t size = any_size(rng, most);
    size_t at = below(rng, bytes->size + 1);

    if (size > 0) {
        memcpy(copy, source.data + from, size);
    }
    size = open_gap(bytes, at, size);
    memcpy(bytes->data + at, copy, size);
}

static void remove_block(lsm_rng *rng, fuzz_bytes *bytes) {
    size_t at = below(rng, bytes->size);

    close_gap(bytes, at, any_size(rng, bytes->size - at));
}

static void change_size(lsm_rng *rng, fuzz_bytes *bytes, lsm_slice other) {
    switch (below(rng, 8)) {
        case 0:
        case 1:
        case 2:
            insert_block(rng, bytes, other);
            break;
        case 3:
        case 4:
        case 5:
            remove_block(rng, bytes);
            break;
        case 6:
            bytes->size = below(rng, bytes->size + 1);
            break;
        default: { /* a head of this one, a tail of the other */
            size_t cut = below(rng, bytes->size + 1);
            size_t from = cut < other.size ? cut : other.size;
            size_t room = bytes->capacity - cut;
            size_t rest = other.size - from < room ? other.size - from : room;

            if (rest > 0) {
                memcpy(bytes->data + cut, other.data + from, rest);
            }
            bytes->size = cut + rest;
            break;
        }
    }
}

void fuzz_mutate_bytes(lsm_rng *rng, fuzz_bytes *bytes, lsm_slice other,
                       bool keeps_size) {
    for (size_t left = 1 + below(rng, CHANGES_MAX); left > 0; left--) {
        if (bytes->size == 0) {
            if (keeps_size) {
                return;
            }
            bytes->data[0] = (uint8_t)below(rng, 256);
            bytes->size = 1;
        }
        switch (below(rng, keeps_size ? 10 : 14)) {
            case 0:
            case 1:
                change_bit(rng, bytes);
                break;
            case 2:
            case 3:
                change_byte(rng, bytes);
                break;
            case 4:
            case 5:
                change_integer(rng, bytes);
                break;
            case 6:
            case 7:
                change_varint(rng, bytes, keeps_size);
                break;
            case 8:
                copy_block(rng, bytes, other);
                break;
            case 9:
                fill_block(rng, bytes);
                break;
            default:
                change_size(rng, bytes, other);
                break;
        }
    }
}

void fuzz_mutate(lsm_rng *rng, const fuzz_target *target, fuzz_bytes *bytes,
                 lsm_slice other) {
    if (!target->is_archive || below(rng, 16) == 0) {
        fuzz_mutate_bytes(rng, bytes, other, below(rng, 3) == 0);
    } else {
        fuzz_archive_mutate(rng, bytes, other);
    }
    if (target->mend != NULL && below(rng, 8) != 0) {
        target->mend(bytes->data, bytes->size);
    }
}
