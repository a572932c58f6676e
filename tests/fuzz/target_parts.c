/* SPDX-License-Identifier: Apache-2.0
 *
 * Targets: what a table has besides blocks of entries, and the hot list.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xxh3.h"
#include "format/bloom.h"
#include "format/codec.h"
#include "format/footer.h"
#include "format/hotlist.h"
#include "../c/runs_codec.h"
#include "mend.h"
#include "targets.h"

enum { RAW_MAX = 1 << 16, PLACES_MAX = 4096 };

/* The filter as docs/file-format.md has it. */
static bool naive_contains(lsm_slice filter, uint64_t hash) {
    size_t lines_size = filter.size - LSM_BLOOM_TRAILER_SIZE;
    uint64_t line_count = lsm_get_u32(filter.data + lines_size);
    const uint8_t *line =
        filter.data + (hash >> 32) * line_count / ((uint64_t)1 << 32) * LSM_BLOOM_LINE;
    uint32_t x = (uint32_t)hash;

    for (uint8_t left = filter.data[lines_size + 4]; left > 0; left--) {
        uint32_t bit = x >> 23;

        if ((line[bit / 8] >> bit % 8 & 1) == 0) {
            return false;
        }
        x *= 0x9E3779B9U;
    }
    return true;
}

/* A filter built over the numbers in the input knows them. */
static void check_built(lsm_slice input) {
    uint64_t hashes[FUZZ_SIZE_MAX / 4096];
    size_t count = input.size / 8;
    lsm_buf filter = {0};
    lsm_bloom bloom;

    count = count < LSM_ARRAY_COUNT(hashes) ? count : LSM_ARRAY_COUNT(hashes);
    if (count == 0) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        hashes[i] = lsm_get_u64(input.data + 8 * i);
    }
    FUZZ_CHECK(lsm_bloom_build(hashes, count, 1 + input.data[0] % 20, &filter));
    FUZZ_CHECK(lsm_bloom_open(&bloom, lsm_buf_slice(&filter)));
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(lsm_bloom_may_contain(&bloom, hashes[i]));
    }
    lsm_buf_deinit(&filter);
}

void fuzz_bloom(lsm_slice input) {
    lsm_bloom bloom;

    if (lsm_bloom_open(&bloom, input)) {
        lsm_rng rng = {lsm_xxh3(input.data, input.size)};

        for (int i = 0; i < 64; i++) {
            uint64_t hash = lsm_rng_next(&rng);

            FUZZ_CHECK(lsm_bloom_may_contain(&bloom, hash) ==
                       naive_contains(input, hash));
        }
        FUZZ_CHECK(lsm_bloom_may_contain(&bloom, UINT64_MAX) ==
                   naive_contains(input, UINT64_MAX));
    }
    check_built(input);
}

void fuzz_codec_register(void) {
    static const lsmkv_codec codec = {LSMKV_CODEC_ZSTD, "runs",     runs_create,
                                      runs_destroy,     runs_bound, runs_compress,
                                      runs_decompress};
    static bool done;

    if (!done) {
        done = true;
        FUZZ_CHECK(lsmkv_register_codec(&codec, NULL) == LSMKV_OK);
    }
}

/* id u8 | raw size u16 | stored bytes */
void fuzz_codec(lsm_slice input) {
    static uint8_t raw[RAW_MAX];
    lsm_buf packed = {0};
    bool smaller = false;

    fuzz_codec_register();
    if (input.size < 3) {
        return;
    }
    uint32_t id = input.data[0];
    size_t raw_size = lsm_get_u16(input.data + 1);
    lsm_slice stored = lsm_slice_make(input.data + 3, input.size - 3);
    uint8_t *exact = fuzz_alloc(raw_size);
    lsmkv_status status = lsm_codec_decompress(id, stored, exact, raw_size, NULL);
    FUZZ_CHECK(status == LSMKV_OK || status == LSMKV_CORRUPTION ||
               status == LSMKV_UNSUPPORTED_VERSION);
    FUZZ_CHECK(status != LSMKV_UNSUPPORTED_VERSION || id > LSMKV_CODEC_ZSTD);
    free(exact);
    FUZZ_CHECK(lsm_codec_compress(LSMKV_CODEC_ZSTD, 1, stored, &packed, &smaller,
                                  NULL) == LSMKV_OK);
    if (smaller) {
        FUZZ_CHECK(packed.size <= stored.size - stored.size / 8);
        FUZZ_CHECK(lsm_codec_decompress(LSMKV_CODEC_ZSTD, lsm_buf_slice(&packed), raw,
                                        stored.size, NULL) == LSMKV_OK);
        FUZZ_CHECK(memcmp(raw, stored.data, stored.size) == 0);
    } else {
        FUZZ_CHECK(packed.size == 0);
    }
    lsm_buf_deinit(&packed);
}

static void check_inside(lsm_block_handle handle, uint64_t from, uint64_t end) {
    if (handle.size != 0) {
        FUZZ_CHECK(handle.offset >= from && handle.offset <= end);
        FUZZ_CHECK(handle.size <= end - handle.offset);
        FUZZ_CHECK(end - handle.offset - handle.size >= LSM_BLOCK_FRAME_SIZE);
    }
}

/* file size u64 | footer */
void fuzz_footer(lsm_slice input) {
    uint8_t again[LSM_FOOTER_SIZE];
    lsm_footer footer;

    if (input.size < 8 + LSM_FOOTER_SIZE) {
        return;
    }
    uint64_t size = lsm_get_u64(input.data);
    lsmkv_status status = lsm_footer_decode(input.data + 8, size, "x", &footer, NULL);
    if (status != LSMKV_OK) {
        FUZZ_CHECK(status == LSMKV_CORRUPTION || status == LSMKV_UNSUPPORTED_VERSION);
        return;
    }
    check_inside(footer.index, footer.tail_offset, size - LSM_FOOTER_SIZE);
    check_inside(footer.filter, footer.tail_offset, size - LSM_FOOTER_SIZE);
    check_inside(footer.properties, footer.tail_offset, size - LSM_FOOTER_SIZE);
    check_inside(footer.range_deletes, footer.tail_offset, size - LSM_FOOTER_SIZE);
    lsm_footer_encode(&footer, again);
    FUZZ_CHECK(memcmp(again, input.data + 8, sizeof(again) - 8) == 0);
}

void fuzz_footer_mend(uint8_t *data, size_t size) {
    if (size >= 8 + LSM_FOOTER_SIZE) {
        fuzz_mend_table(data + 8, LSM_FOOTER_SIZE);
    }
}

void fuzz_properties(lsm_slice input) {
    lsm_properties first;
    lsm_properties second;
    lsm_buf once = {0};

    if (!lsm_properties_decode(input, &first)) {
        return;
    }
    FUZZ_CHECK(lsm_properties_encode(&first, &once));
    FUZZ_CHECK(lsm_properties_decode(lsm_buf_slice(&once), &second));
    FUZZ_CHECK(memcmp(&first, &second, sizeof(first)) == 0);
    lsm_buf_deinit(&once);
}

/* A place that a list names. */
typedef struct hot_place {
    bool is_value;
    uint64_t number;
    uint32_t place;
    uint8_t heat;
    uint64_t bytes;
} hot_place;

static int compare_places(const void *a, const void *b) {
    const hot_place *x = a;
    const hot_place *y = b;

    if (x->is_value != y->is_value) {
        return x->is_value ? 1 : -1;
    }
    if (x->number != y->number) {
        return lsm_compare_u64(x->number, y->number);
    }
    return lsm_compare_u64(x->place, y->place);
}

/* A list made again of what it names is the same. */
static void check_rebuilt(const hot_place *places, size_t count, lsm_slice input,
                          const uint8_t *uuid) {
    lsm_hotlist_builder builder;
    lsm_buf again = {0};

    memset(&builder, 0, sizeof(builder));
    for (size_t i = 0; i < count; i++) {
        const hot_place *at = &places[i];

        if (i > 0 && (at->number != at[-1].number || at->is_value != at[-1].is_value)) {
            FUZZ_CHECK(lsm_hotlist_end(&builder));
        }
        FUZZ_CHECK(
            lsm_hotlist_add(&builder, at->heat, at->number, at->place, at->bytes));
    }
    FUZZ_CHECK(lsm_hotlist_end(&builder));
    FUZZ_CHECK(lsm_hotlist_finish(&builder, uuid, &again));
    FUZZ_CHECK(again.size == input.size);
    FUZZ_CHECK(memcmp(again.data + LSM_HOTLIST_HEADER_SIZE,
                      input.data + LSM_HOTLIST_HEADER_SIZE,
                      input.size - LSM_HOTLIST_HEADER_SIZE) == 0);
    lsm_hotlist_builder_deinit(&builder);
    lsm_buf_deinit(&again);
}

void fuzz_hotlist(lsm_slice input) {
    static hot_place places[PLACES_MAX];
    lsm_slice payload;
    lsm_hotlist_group group;
    size_t count = 0;

    if (input.size < LSM_HOTLIST_HEADER_SIZE ||
        lsm_hotlist_decode(input, input.data + 16, &payload, NULL) != LSMKV_OK) {
        return;
    }
    lsm_reader groups = lsm_reader_make(payload);
    while (lsm_hotlist_next_group(&groups, &group)) {
        lsm_hotlist_cursor cursor = lsm_hotlist_cursor_make(&group);
        uint32_t left = group.count;
        uint64_t bytes = group.bytes;
        uint32_t place = 0;

        while (lsm_hotlist_next_place(&cursor, &place)) {
            FUZZ_CHECK(left-- > 0 && count < PLACES_MAX);
            places[count++] = (hot_place){group.heat == LSM_HOTLIST_VALUES,
                                          group.number, place, group.heat, bytes};
            bytes = 0;
        }
        FUZZ_CHECK(left == 0);
    }
    FUZZ_CHECK(lsm_reader_done(&groups));
    if (count > 0) {
        qsort(places, count, sizeof(places[0]), compare_places);
    }
    check_rebuilt(places, count, input, input.data + 16);
}
