/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: keys sort, separators separate, and only canonical names, CURRENT files and
 * footers are accepted. Method: exact bytes, exhaustive small alphabets, every
 * truncation and every flipped bit.
 */
#include "test.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/rng.h"
#include "format/filename.h"
#include "format/footer.h"
#include "format/ikey.h"

enum { IKEY_ROOM = 64 };

/* Builds an internal key of namespace 1 in `to`. */
static lsm_slice make_ikey(uint8_t to[IKEY_ROOM], const char *key, size_t size,
                           uint64_t sequence) {
    lsm_put_u32_be(to, LSM_NAMESPACE_DEFAULT);
    memcpy(to + LSM_NAMESPACE_SIZE, key, size);
    lsm_put_u64(to + LSM_NAMESPACE_SIZE + size,
                lsm_trailer_make(sequence, LSM_KIND_PUT));
    return lsm_slice_make(to, LSM_IKEY_SIZE_MIN + size);
}

static int sign(int value) {
    return (value > 0) - (value < 0);
}

LSM_TEST(ikeys_sort_by_key_and_then_newest_first) {
    static const char *const keys[] = {"", "\x00", "a", "ab", "a\xff", "b", "\xff"};
    static const size_t sizes[] = {0, 1, 1, 2, 2, 1, 1};
    uint8_t a[IKEY_ROOM];
    uint8_t b[IKEY_ROOM];

    for (size_t i = 0; i < LSM_ARRAY_COUNT(keys); i++) {
        for (size_t j = 0; j < LSM_ARRAY_COUNT(keys); j++) {
            for (uint64_t s = 0; s < 9; s++) {
                int by_key = (i > j) - (i < j);
                int by_age = (s / 3 < s % 3) - (s / 3 > s % 3);
                int order = lsm_ikey_compare(make_ikey(a, keys[i], sizes[i], s / 3),
                                             make_ikey(b, keys[j], sizes[j], s % 3));

                CHECK(sign(order) == (by_key != 0 ? by_key : by_age));
            }
        }
    }
}

LSM_TEST(ikey_check_accepts_what_this_version_stores_and_nothing_else) {
    uint8_t bytes[IKEY_ROOM];
    lsm_slice ikey = make_ikey(bytes, "key", 3, 7);

    for (unsigned tag = 0; tag < 256; tag++) {
        unsigned kind = tag & LSM_TAG_KIND_MASK;
        bool known = tag == LSM_KIND_DELETE ||
                     ((kind == LSM_KIND_PUT || kind == LSM_KIND_POINTER ||
                       kind == LSM_KIND_CACHED) &&
                      tag < 0x40);

        bytes[ikey.size - LSM_TRAILER_SIZE] = (uint8_t)tag;
        CHECK_EQ(lsm_ikey_check(ikey), known);
    }
    bytes[ikey.size - LSM_TRAILER_SIZE] = LSM_KIND_PUT;
    for (size_t size = 0; size < LSM_IKEY_SIZE_MIN; size++) {
        CHECK(!lsm_ikey_check(lsm_slice_make(bytes, size)));
    }
}

LSM_TEST(ikey_check_limits_the_key_size) {
    uint8_t *bytes = lsm_calloc(1, LSM_IKEY_SIZE_MAX + 1);

    CHECK(bytes != NULL);
    bytes[LSM_SKEY_SIZE_MAX] = LSM_KIND_PUT;
    CHECK(lsm_ikey_check(lsm_slice_make(bytes, LSM_IKEY_SIZE_MAX)));
    bytes[LSM_SKEY_SIZE_MAX + 1] = LSM_KIND_PUT;
    CHECK(!lsm_ikey_check(lsm_slice_make(bytes, LSM_IKEY_SIZE_MAX + 1)));
    lsm_free(bytes);
}

LSM_TEST(record_check_wants_the_times_its_tag_names) {
    static const uint8_t field[32] = {0};
    static const uint8_t flags[] = {0, LSM_TAG_EXPIRES, LSM_TAG_FRESH,
                                    LSM_TAG_EXPIRES | LSM_TAG_FRESH};
    static const size_t times[] = {0, 8, 8, 16};

    for (size_t i = 0; i < LSM_ARRAY_COUNT(flags); i++) {
        for (size_t size = 0; size <= sizeof(field); size++) {
            lsm_slice value = lsm_slice_make(field, size);
            uint8_t put = LSM_KIND_PUT | flags[i];
            uint8_t delete = LSM_KIND_DELETE | flags[i];
            uint8_t pointer = LSM_KIND_POINTER | flags[i];

            CHECK_EQ(lsm_record_check(put, value), size >= times[i]);
            CHECK_EQ(lsm_record_check(delete, value), flags[i] == 0 && size == 0);
            CHECK_EQ(lsm_record_check(pointer, value),
                     size == times[i] + LSM_POINTER_SIZE);
            if (size >= times[i]) {
                CHECK_EQ(lsm_value_of_field(put, value).size, size - times[i]);
            }
        }
    }
    CHECK(!lsm_record_check(0, lsm_slice_make(field, 0)));
    CHECK(!lsm_record_check(LSM_KIND_PUT | 0x40, lsm_slice_make(field, 0)));
    CHECK(!lsm_record_check(LSM_KIND_PUT | 0x80, lsm_slice_make(field, 0)));
    CHECK(!lsm_record_check(LSM_KIND_MERGE, lsm_slice_make(field, 0)));
}

/* Shortens `key` against `limit` and checks key <= result < limit. Returns its size. */
static size_t check_shorten(lsm_slice key, lsm_slice limit) {
    lsm_buf buf = {0};

    CHECK(lsm_buf_append(&buf, key.data, key.size));
    lsm_ikey_shorten(&buf, limit);
    lsm_slice result = lsm_buf_slice(&buf);
    CHECK(lsm_ikey_check(result));
    CHECK(lsm_ikey_compare(key, result) <= 0);
    CHECK(lsm_ikey_compare(result, limit) < 0);
    CHECK(result.size < key.size || lsm_slice_equal(result, key));
    size_t size = result.size;
    lsm_buf_deinit(&buf);
    return size;
}

LSM_TEST(shortened_ikeys_separate_every_pair_over_a_small_alphabet) {
    static const uint8_t alphabet[] = {0x00, 0x01, 0x61, 0xfe, 0xff};
    enum { LETTERS = 5, SIZE_MAX_TRIED = 4, KEYS = 1 + 5 + 25 + 125 + 625 };
    char keys[KEYS][SIZE_MAX_TRIED];
    size_t sizes[KEYS];
    size_t count = 0;
    uint8_t a[IKEY_ROOM];
    uint8_t b[IKEY_ROOM];

    for (size_t size = 0, words = 1; size <= SIZE_MAX_TRIED; size++, words *= LETTERS) {
        for (size_t word = 0; word < words; word++) {
            size_t rest = word;
            for (size_t i = 0; i < size; i++, rest /= LETTERS) {
                keys[count][i] = (char)alphabet[rest % LETTERS];
            }
            sizes[count++] = size;
        }
    }
    CHECK_EQ(count, KEYS);
    for (size_t i = 0; i < KEYS; i++) {
        for (size_t j = 0; j < KEYS; j++) {
            lsm_slice key = make_ikey(a, keys[i], sizes[i], 5);
            lsm_slice limit = make_ikey(b, keys[j], sizes[j], 4);
            if (lsm_ikey_compare(key, limit) < 0) {
                check_shorten(key, limit);
            }
        }
    }
}

LSM_TEST(shortened_ikeys_are_as_short_as_they_can_be) {
    static const struct {
        const char *key;
        const char *limit;
        size_t user_size;
    } cases[] = {
        {"abcdef", "abzz", 3}, /* abd */
        {"abcdef", "abdd", 3}, /* abd, a prefix of the limit */
        {"abcdef", "abd", 4},  /* abce */
        {"abc\xff\xff"
         "f",
         "abd", 6}, /* nothing shorter */
        {"abc\xff\xff"
         "fg",
         "abd", 6},           /* abc\xff\xff"g" */
        {"abc", "abcdef", 3}, /* a prefix stays */
        {"abc", "abc", 3},    /* versions of one key stay */
    };
    uint8_t a[IKEY_ROOM];
    uint8_t b[IKEY_ROOM];

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        lsm_slice key = make_ikey(a, cases[i].key, strlen(cases[i].key), 5);
        lsm_slice limit = make_ikey(b, cases[i].limit, strlen(cases[i].limit), 4);

        CHECK_EQ(check_shorten(key, limit), LSM_IKEY_SIZE_MIN + cases[i].user_size);
    }
}

LSM_TEST(shortened_ikeys_keep_a_whole_namespace) {
    uint8_t a[IKEY_ROOM];
    uint8_t b[IKEY_ROOM];
    lsm_slice key = make_ikey(a, "abcdef", 6, 5);
    lsm_slice limit = make_ikey(b, "b", 1, 4);

    for (int byte = 0; byte < LSM_NAMESPACE_SIZE; byte++) {
        lsm_put_u32_be(a, 0x01020304);
        lsm_put_u32_be(b, 0x01020304);
        b[byte] = 0x20;
        CHECK_EQ(check_shorten(key, limit), LSM_IKEY_SIZE_MIN);
    }
    lsm_put_u32_be(a, 0x010203ff);
    lsm_put_u32_be(b, 0x01020400);
    CHECK_EQ(check_shorten(key, limit), LSM_IKEY_SIZE_MIN + 1);
}

LSM_TEST(file_names_round_trip) {
    static const lsm_file_kind kinds[] = {LSM_NAME_MANIFEST, LSM_NAME_LOG,
                                          LSM_NAME_TABLE, LSM_NAME_SEGMENT};
    static const uint64_t numbers[] = {1, 7, 999999, 1000000, UINT64_MAX};

    for (size_t i = 0; i < LSM_ARRAY_COUNT(kinds); i++) {
        for (size_t j = 0; j < LSM_ARRAY_COUNT(numbers); j++) {
            char name[LSM_FILENAME_SIZE];
            uint64_t number = 0;

            lsm_filename_make(name, kinds[i], numbers[j]);
            CHECK_EQ(lsm_filename_parse(name, &number), kinds[i]);
            CHECK_EQ(number, numbers[j]);
        }
    }
}

LSM_TEST(file_names_have_the_documented_spelling) {
    char name[LSM_FILENAME_SIZE];
    uint64_t number = 1;

    lsm_filename_make(name, LSM_NAME_MANIFEST, 7);
    CHECK(strcmp(name, "MANIFEST-000007") == 0);
    lsm_filename_make(name, LSM_NAME_LOG, 12);
    CHECK(strcmp(name, "000012.log") == 0);
    lsm_filename_make(name, LSM_NAME_TABLE, 12345678);
    CHECK(strcmp(name, "12345678.tbl") == 0);
    lsm_filename_make(name, LSM_NAME_SEGMENT, 14);
    CHECK(strcmp(name, "000014.seg") == 0);
    CHECK_EQ(lsm_filename_parse("LOCK", &number), LSM_NAME_LOCK);
    CHECK_EQ(number, 0);
    CHECK_EQ(lsm_filename_parse("CURRENT", &number), LSM_NAME_CURRENT);
    CHECK_EQ(lsm_filename_parse("CURRENT.tmp", &number), LSM_NAME_CURRENT_TEMP);
}

LSM_TEST(file_names_that_are_not_canonical_are_not_ours) {
    static const char *const names[] = {
        "",
        ".",
        "..",
        "lock",
        "LOCK ",
        "CURRENT.tm",
        "CURRENT.tmpx",
        "MANIFEST",
        "MANIFEST-",
        "MANIFEST-00007",
        "MANIFEST-0000007",
        "MANIFEST-000000",
        "MANIFEST-000007 ",
        "MANIFEST-000007.log",
        "MANIFEST--00007",
        "MANIFEST-+00007",
        "MANIFEST-00000a",
        "manifest-000007",
        "../MANIFEST-000007",
        "12.log",
        "0000012.log",
        "000012.LOG",
        "000012.log~",
        "000012.logx",
        "000012.lo",
        "000012",
        "000012.",
        " 000012.log",
        "-00012.log",
        "0x0012.log",
        "000000.log",
        "18446744073709551616.log",
        "18446744073709551617.log",
        "99999999999999999999.tbl",
        "000000000000000000001.tbl",
        "111111111111111111111111111111111111111111111111.log",
        "000012.sst",
    };
    uint64_t number = 0;

    for (size_t i = 0; i < LSM_ARRAY_COUNT(names); i++) {
        number = 1;
        if (lsm_filename_parse(names[i], &number) != LSM_NAME_OTHER || number != 0) {
            lsm_test_fail(__FILE__, __LINE__, "\"%s\" was taken", names[i]);
        }
    }
}

LSM_TEST(current_round_trips_and_every_damage_to_it_is_corruption) {
    static const uint64_t numbers[] = {7, 123456789, UINT64_MAX};
    lsmkv_error err;
    uint64_t number = 0;

    for (size_t i = 0; i < LSM_ARRAY_COUNT(numbers); i++) {
        char content[2 * LSM_CURRENT_SIZE_MAX];
        size_t size = lsm_current_encode(content, numbers[i]);

        CHECK_OK(lsm_current_decode(lsm_slice_make(content, size), &number, &err));
        CHECK_EQ(number, numbers[i]);
        memset(content + size, '0', sizeof(content) - size);
        CHECK_STATUS(
            lsm_current_decode(lsm_slice_make(content, sizeof(content)), &number, &err),
            LSMKV_CORRUPTION);
        for (size_t cut = 0; cut < size; cut++) {
            CHECK_STATUS(
                lsm_current_decode(lsm_slice_make(content, cut), &number, &err),
                LSMKV_CORRUPTION);
            CHECK_EQ(number, 0);
        }
        for (size_t bit = 0; bit < size * 8; bit++) {
            content[bit / 8] = (char)(content[bit / 8] ^ 1 << bit % 8);
            CHECK_STATUS(
                lsm_current_decode(lsm_slice_make(content, size), &number, &err),
                LSMKV_CORRUPTION);
            CHECK(strcmp(err.file, "CURRENT") == 0);
            content[bit / 8] = (char)(content[bit / 8] ^ 1 << bit % 8);
        }
        content[size] = 'x';
        CHECK_STATUS(
            lsm_current_decode(lsm_slice_make(content, size + 1), &number, &err),
            LSMKV_CORRUPTION);
    }
}

LSM_TEST(current_has_the_documented_bytes) {
    char content[LSM_CURRENT_SIZE_MAX];
    char expected[LSM_CURRENT_SIZE_MAX] = "MANIFEST-000007 ";
    uint64_t hash = lsm_xxh3("MANIFEST-000007", 15);

    for (int digit = 0; digit < 16; digit++) {
        expected[16 + digit] = "0123456789abcdef"[hash >> (60 - 4 * digit) & 15];
    }
    expected[32] = '\n';
    CHECK_EQ(lsm_current_encode(content, 7), 33);
    CHECK(memcmp(content, expected, 33) == 0);
}

enum { TABLE_SIZE = 10000 };

static lsm_footer sample_footer(void) {
    lsm_footer footer = {
        .number = 13,
        .file_id = 0x1122334455667788,
        .tail_offset = 8000,
        .index = {9000, 200},
        .filter = {8000, 984},
        .properties = {9216, 640},
    };

    for (int i = 0; i < LSM_UUID_SIZE; i++) {
        footer.uuid[i] = (uint8_t)(i * 17 + 1);
    }
    return footer;
}

static lsmkv_status decode_footer(const uint8_t *bytes, lsm_footer *footer,
                                  lsmkv_error *err) {
    return lsm_footer_decode(bytes, TABLE_SIZE, "000013.tbl", footer, err);
}

LSM_TEST(footer_round_trips) {
    lsm_footer footer = sample_footer();
    lsm_footer found;
    uint8_t bytes[LSM_FOOTER_SIZE];
    lsmkv_error err;

    lsm_footer_encode(&footer, bytes);
    CHECK(memcmp(bytes, "LSMKVTBL\x01\x00\x00\x00\x00\x00\x00\x00", 16) == 0);
    CHECK_OK(decode_footer(bytes, &found, &err));
    CHECK(memcmp(found.uuid, footer.uuid, LSM_UUID_SIZE) == 0);
    CHECK_EQ(found.number, footer.number);
    CHECK_EQ(found.file_id, footer.file_id);
    CHECK_EQ(found.tail_offset, footer.tail_offset);
    CHECK_EQ(found.index.offset, footer.index.offset);
    CHECK_EQ(found.index.size, footer.index.size);
    CHECK_EQ(found.filter.offset, footer.filter.offset);
    CHECK_EQ(found.filter.size, footer.filter.size);
    CHECK_EQ(found.properties.offset, footer.properties.offset);
    CHECK_EQ(found.properties.size, footer.properties.size);
    footer.filter = (lsm_block_handle){0, 0};
    lsm_footer_encode(&footer, bytes);
    CHECK_OK(decode_footer(bytes, &found, &err));
    CHECK_EQ(found.filter.size, 0);
}

LSM_TEST(every_flipped_bit_of_a_footer_is_corruption) {
    lsm_footer footer = sample_footer();
    lsm_footer found;
    uint8_t bytes[LSM_FOOTER_SIZE];
    lsmkv_error err;

    lsm_footer_encode(&footer, bytes);
    for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_STATUS(decode_footer(bytes, &found, &err), LSMKV_CORRUPTION);
        CHECK(strcmp(err.file, "000013.tbl") == 0);
        CHECK(err.offset >= TABLE_SIZE - LSM_FOOTER_SIZE);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    CHECK_OK(decode_footer(bytes, &found, &err));
}

/* Puts a value into an encoded footer and makes its checksum right again. */
static void patch_footer(uint8_t bytes[LSM_FOOTER_SIZE], size_t at, uint64_t value,
                         size_t size) {
    uint8_t encoded[8];

    lsm_put_u64(encoded, value);
    memcpy(bytes + at, encoded, size);
    lsm_put_u64(bytes + 120, lsm_xxh3(bytes, 120));
}

LSM_TEST(footer_of_a_later_version_is_unsupported) {
    lsm_footer footer = sample_footer();
    uint8_t bytes[LSM_FOOTER_SIZE];
    lsmkv_error err;

    lsm_footer_encode(&footer, bytes);
    patch_footer(bytes, 8, 2, 4);
    CHECK_STATUS(decode_footer(bytes, &footer, &err), LSMKV_UNSUPPORTED_VERSION);
    patch_footer(bytes, 8, 1, 4);
    patch_footer(bytes, 12, 1, 4);
    CHECK_STATUS(decode_footer(bytes, &footer, &err), LSMKV_UNSUPPORTED_VERSION);
    patch_footer(bytes, 12, 0, 4);
    CHECK_OK(decode_footer(bytes, &footer, &err));
}

LSM_TEST(footer_handles_outside_the_tail_are_corruption) {
    static const struct {
        size_t at;
        uint64_t value;
        bool ok;
    } cases[] = {
        {48, TABLE_SIZE, false}, /* tail offset */
        {48, UINT64_MAX, false},
        {48, 9001, false}, /* index before the tail */
        {56, 7999, false}, /* index offset */
        {56, UINT64_MAX, false},
        {64, 0, false}, /* index size */
        {64, UINT64_MAX, false},
        {64, UINT64_MAX - 9000, false},
        {64, TABLE_SIZE - LSM_FOOTER_SIZE - LSM_BLOCK_FRAME_SIZE - 9000, true},
        {64, TABLE_SIZE - LSM_FOOTER_SIZE - LSM_BLOCK_FRAME_SIZE - 9000 + 1, false},
        {72, 0, false}, /* filter offset without size 0 */
        {80, 0, false}, /* filter size without offset 0 */
        {80, UINT64_MAX - 8015, false},
        {88, 0, false},   /* properties offset */
        {96, 657, false}, /* properties size */
        {96, 0, false},
        {112, 1, false}, /* range deletes size, without an offset */
    };
    lsm_footer footer = sample_footer();
    lsmkv_error err;

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        uint8_t bytes[LSM_FOOTER_SIZE];
        lsm_footer found;

        lsm_footer_encode(&footer, bytes);
        patch_footer(bytes, cases[i].at, cases[i].value, 8);
        lsmkv_status status = decode_footer(bytes, &found, &err);
        if (status != (cases[i].ok ? LSMKV_OK : LSMKV_CORRUPTION)) {
            lsm_test_fail(__FILE__, __LINE__, "case %zu: %s", i,
                          lsmkv_status_name(status));
        }
    }
    for (uint64_t size = 0; size < LSM_FOOTER_SIZE; size++) {
        uint8_t bytes[LSM_FOOTER_SIZE];
        lsm_footer found;

        lsm_footer_encode(&footer, bytes);
        CHECK_STATUS(lsm_footer_decode(bytes, size, "000013.tbl", &found, &err),
                     LSMKV_CORRUPTION);
    }
}

LSM_TEST(properties_round_trip_and_survive_every_damage) {
    lsm_properties properties = {
        .data_block_count = 300,
        .entry_count = 70000,
        .tombstone_count = 5,
        .key_bytes = 1 << 30,
        .value_bytes = UINT64_MAX,
        .sequence_min = 1,
        .sequence_max = LSM_SEQUENCE_MAX,
        .index_block_count = 1,
        .expire_min = 0,
        .expire_max = 0,
    };
    lsm_properties found;
    lsm_buf buf = {0};

    CHECK(lsm_properties_encode(&properties, &buf));
    CHECK(lsm_properties_decode(lsm_buf_slice(&buf), &found));
    CHECK(memcmp(&found, &properties, sizeof(found)) == 0);
    for (size_t cut = 0; cut <= buf.size; cut++) {
        uint8_t *copy = lsm_alloc(cut + 1);

        CHECK(copy != NULL);
        memcpy(copy + 1, buf.data, cut);
        for (size_t bit = 0; bit < cut * 8; bit++) {
            copy[1 + bit / 8] ^= (uint8_t)(1 << bit % 8);
            (void)lsm_properties_decode(lsm_slice_make(copy + 1, cut), &found);
            copy[1 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        lsm_free(copy);
    }
    lsm_buf_deinit(&buf);
}

LSM_TEST(properties_skip_unknown_tags_and_refuse_disorder) {
    static const struct {
        const char *bytes;
        size_t size;
        bool ok;
    } cases[] = {
        {"", 0, true},
        {"\x02\x01\x09", 3, true},
        {"\x02\x01\x09\x63\x02zz", 7, true},    /* 99 is of a later version */
        {"\x02\x01\x09\x02\x01\x09", 6, false}, /* twice */
        {"\x02\x01\x09\x01\x01\x09", 6, false}, /* descending */
        {"\x00\x01\x09", 3, false},             /* tags begin at 1 */
        {"\x02\x02\x09\x00", 4, false},         /* bytes behind the varint */
        {"\x02\x00", 2, false},
        {"\x02\x05\x09", 3, false},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        lsm_properties found;
        lsm_slice bytes = lsm_slice_make(cases[i].bytes, cases[i].size);

        if (lsm_properties_decode(bytes, &found) != cases[i].ok) {
            lsm_test_fail(__FILE__, __LINE__, "case %zu", i);
        }
        CHECK(!cases[i].ok || cases[i].size == 0 || found.entry_count == 9);
    }
}

LSM_TEST(ranges_have_two_stored_keys_of_possible_size_in_order) {
    static uint8_t bytes[2][LSM_SKEY_SIZE_MAX + 1] = {{0, 0, 0, 1}, {0, 0, 0, 1, 9}};
    static const struct {
        size_t start;
        size_t stop;
        bool right;
    } cases[] = {
        {4, 5, true},
        {3, 5, false},
        {4, 3, false},
        {LSM_SKEY_SIZE_MAX, LSM_SKEY_SIZE_MAX, true},
        {LSM_SKEY_SIZE_MAX + 1, LSM_SKEY_SIZE_MAX, false},
        {LSM_SKEY_SIZE_MAX, LSM_SKEY_SIZE_MAX + 1, false},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        CHECK_EQ(lsm_range_check(lsm_slice_make(bytes[0], cases[i].start),
                                 lsm_slice_make(bytes[1], cases[i].stop)),
                 cases[i].right);
    }
    CHECK(!lsm_range_check(lsm_slice_make(bytes[1], 5), lsm_slice_make(bytes[0], 5)));
}

LSM_TEST(bounds_of_a_table_are_internal_keys_of_possible_size) {
    static uint8_t key[LSM_IKEY_SIZE_MAX + 1] = {0, 0, 0, 1};
    lsm_slice good = lsm_slice_make(key, LSM_IKEY_SIZE_MIN);

    key[LSM_NAMESPACE_SIZE] = LSM_KIND_PUT;
    for (int ranges = 0; ranges < 2; ranges++) {
        lsm_slice too_short = lsm_slice_make(key, LSM_IKEY_SIZE_MIN - 1);
        lsm_slice too_long = lsm_slice_make(key, sizeof(key));
        CHECK(lsm_bounds_check(good, good, ranges == 1));
        CHECK(!lsm_bounds_check(too_short, good, ranges == 1));
        CHECK(!lsm_bounds_check(good, too_short, ranges == 1));
        CHECK(!lsm_bounds_check(too_long, good, ranges == 1));
        CHECK(!lsm_bounds_check(good, too_long, ranges == 1));
    }
}
