/* SPDX-License-Identifier: Apache-2.0
 *
 * Targets: numbers, stored keys and file names, each against its encoder.
 */
#include <string.h>

#include "base/buf.h"
#include "base/coding.h"
#include "format/filename.h"
#include "format/ikey.h"
#include "targets.h"

/* A varint as docs/file-format.md says it, read one byte after the other. Returns its
 * size, 0: it is none. */
static size_t naive_varint(const uint8_t *at, size_t left, uint64_t *value) {
    *value = 0;
    for (size_t i = 0; i < left && i < LSM_VARINT_SIZE_MAX; i++) {
        if (i == 9 && at[i] > 1) {
            return 0;
        }
        *value |= (uint64_t)(at[i] & 0x7F) << (7 * i);
        if (at[i] < 0x80) {
            return i > 0 && at[i] == 0 ? 0 : i + 1;
        }
    }
    return 0;
}

static void check_varint(lsm_reader *reader) {
    uint8_t again[LSM_VARINT_SIZE_MAX];
    const uint8_t *at = reader->at;
    uint64_t expected = 0;
    uint64_t value = 0;
    uint32_t narrow = 0;
    size_t size = naive_varint(at, lsm_reader_left(reader), &expected);
    const uint8_t *after = lsm_get_varint32(at, reader->end, &narrow);

    FUZZ_CHECK(lsm_read_varint(reader, &value) == (size != 0));
    if (size == 0) {
        FUZZ_CHECK(after == NULL && value == 0 && reader->failed && reader->at == at);
        return;
    }
    FUZZ_CHECK(value == expected && reader->at == at + size);
    FUZZ_CHECK((after != NULL) == (value <= UINT32_MAX));
    FUZZ_CHECK(after == NULL || (after == at + size && narrow == value));
    FUZZ_CHECK(lsm_varint_size(value) == size && lsm_put_varint(again, value) == size);
    FUZZ_CHECK(memcmp(again, at, size) == 0);
}

/* Reads as the first byte of each step says. */
void fuzz_coding(lsm_slice input) {
    lsm_reader reader = lsm_reader_make(input);
    uint8_t how = 0;

    while (lsm_read_u8(&reader, &how)) {
        const uint8_t *at = reader.at;
        size_t left = lsm_reader_left(&reader);
        lsm_slice slice = {NULL, 0};
        uint64_t number = 0;
        uint32_t narrow = 0;

        switch (how % 6) {
            case 0:
                FUZZ_CHECK(lsm_read_u32(&reader, &narrow) == (left >= 4));
                break;
            case 1:
                FUZZ_CHECK(lsm_read_u64(&reader, &number) == (left >= 8));
                break;
            case 2:
                FUZZ_CHECK(lsm_read_bytes(&reader, how, &slice) == (left >= how));
                FUZZ_CHECK(slice.size == (left >= how ? how : 0));
                break;
            case 3:
                if (lsm_read_slice(&reader, &slice)) {
                    FUZZ_CHECK(slice.size < left && slice.data > at);
                    FUZZ_CHECK(slice.data + slice.size == reader.at);
                }
                break;
            case 4:
                if (lsm_read_zeros(&reader, how / 6)) {
                    FUZZ_CHECK(reader.at == at + how / 6);
                }
                break;
            default:
                check_varint(&reader);
                break;
        }
        FUZZ_CHECK(reader.at <= reader.end && reader.at >= at);
        if (reader.failed) {
            return;
        }
    }
}

/* Both are internal keys; a separator lies between them. */
static void check_separator(lsm_slice a, lsm_slice b) {
    lsm_buf buf = {0};

    if (!lsm_ikey_check(a) || !lsm_ikey_check(b) || lsm_ikey_compare(a, b) >= 0) {
        return;
    }
    FUZZ_CHECK(lsm_buf_append(&buf, a.data, a.size));
    lsm_ikey_shorten(&buf, b);
    lsm_slice separator = lsm_buf_slice(&buf);
    FUZZ_CHECK(separator.size >= LSM_IKEY_SIZE_MIN && separator.size <= a.size);
    FUZZ_CHECK(lsm_ikey_compare(a, separator) <= 0);
    FUZZ_CHECK(lsm_ikey_compare(separator, b) < 0);
    lsm_buf_deinit(&buf);
}

static void check_field(uint8_t tag, lsm_slice field) {
    uint8_t encoded[LSM_POINTER_SIZE];

    if (!lsm_record_check(tag, field)) {
        return;
    }
    uint64_t expire_at = lsm_expire_at(tag, field);
    FUZZ_CHECK(lsm_hidden_at(tag, field) <= expire_at);
    if (!lsm_tag_has_value(tag)) {
        return;
    }
    lsm_slice value = lsm_value_of_field(tag, field);
    FUZZ_CHECK(value.size + lsm_times_size(tag) == field.size);
    if (lsm_tag_kind(tag) != LSM_KIND_PUT) {
        lsm_pointer pointer = lsm_pointer_of_field(tag, field);

        lsm_pointer_encode(&pointer, encoded);
        FUZZ_CHECK(lsm_slice_equal(value, lsm_slice_make(encoded, sizeof(encoded))));
        FUZZ_CHECK(lsm_pointer_room(&pointer) >= pointer.size);
    }
}

/* size u8 | first key | second key */
void fuzz_keys(lsm_slice input) {
    size_t first = 0;

    if (input.size == 0) {
        return;
    }
    lsm_slice rest = lsm_slice_make(input.data + 1, input.size - 1);
    first = input.data[0] < rest.size ? input.data[0] : rest.size;
    lsm_slice a = lsm_slice_make(rest.data, first);
    lsm_slice b = lsm_slice_make(rest.data + first, rest.size - first);
    check_separator(a, b);
    check_separator(b, a);
    if (lsm_range_check(a, b)) {
        FUZZ_CHECK(lsm_slice_compare(a, b) < 0 && !lsm_range_check(b, a));
    }
    if (lsm_bounds_check(a, b, true)) {
        FUZZ_CHECK(lsm_ikey_compare(a, b) <= 0);
    } else {
        FUZZ_CHECK(!lsm_bounds_check(a, b, false));
    }
    check_field(input.data[0], rest);
}

void fuzz_names(lsm_slice input) {
    char name[256];
    char canonical[LSM_CURRENT_SIZE_MAX];
    size_t size = input.size < sizeof(name) - 1 ? input.size : sizeof(name) - 1;
    uint64_t number = 0;

    if (size > 0) {
        memcpy(name, input.data, size);
    }
    name[size] = '\0';
    lsm_file_kind kind = lsm_filename_parse(name, &number);
    FUZZ_CHECK(number == 0 || kind != LSM_NAME_OTHER);
    if (number != 0) {
        lsm_filename_make(canonical, kind, number);
        FUZZ_CHECK(strcmp(name, canonical) == 0);
    }
    if (lsm_current_decode(input, &number, NULL) == LSMKV_OK) {
        size = lsm_current_encode(canonical, number);
        FUZZ_CHECK(number != 0);
        FUZZ_CHECK(lsm_slice_equal(input, lsm_slice_make(canonical, size)));
    }
}
