/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: the hash is XXH3-64, bit for bit, for every path through it; files depend on
 * that. Method: values computed with the reference implementation over the bytes of a
 * known generator: a table around every limit between paths, and one hash over the
 * hashes of all sizes below 2400 under four seeds. Buffers have the exact size, so the
 * sanitizers see a read beyond either end.
 */
#include "test.h"

#include <string.h>

#include "base/alloc.h"
#include "base/coding.h"
#include "base/rng.h"
#include "base/xxh3.h"

enum { DATA_SIZE = 8192, ALL_SIZES = 2400 };

typedef struct vector {
    size_t size;
    uint64_t seed;
    uint64_t hash;
} vector;

static const vector vectors[] = {
    {0, 0, 0x2D06800538D394C2},    {0, 1, 0x4DC5B0CC826F6703},
    {1, 0, 0x33977CF77776819A},    {1, 0x9E3779B97F4A7C15, 0xC300E926E00D367C},
    {2, 0, 0x651ED11508228D76},    {2, 0xFFFFFFFFFFFFFFFF, 0x6D0CE7E9E1F032B2},
    {3, 0, 0x43F5CC57C5C746CF},    {3, 1, 0xD3AE7472DB36B2F5},
    {4, 0, 0x616CC4D7A474FFAA},    {4, 0x9E3779B97F4A7C15, 0xF4B2E7255DD4EE2C},
    {5, 0, 0xC616E9EA3637A771},    {5, 0xFFFFFFFFFFFFFFFF, 0xFF8B751372394FEE},
    {8, 0, 0xEE7C276DFBA3FF92},    {8, 1, 0x284DB321D2C04548},
    {9, 0, 0x8AC99B43AA5307A1},    {9, 0x9E3779B97F4A7C15, 0x9519BC426C8A00A1},
    {12, 0, 0x1A8EBB047FC122BF},   {12, 0xFFFFFFFFFFFFFFFF, 0x6884423ADF156FE1},
    {16, 0, 0x4D39C4B8873839F8},   {16, 1, 0x172EFDDB449641CF},
    {17, 0, 0xCAAC4B12E597F52C},   {17, 0x9E3779B97F4A7C15, 0x09B5DE600CCB705F},
    {20, 0, 0x0E88737239739308},   {20, 0xFFFFFFFFFFFFFFFF, 0xD8A9E5F44DDFC7B1},
    {32, 0, 0xF5DC88F8FFE95972},   {32, 1, 0x82FE1C40667481C0},
    {33, 0, 0xB09BD8FDBEB517FC},   {33, 0x9E3779B97F4A7C15, 0xF199B541E4CE4263},
    {64, 0, 0x20D8BD75A892C260},   {64, 0xFFFFFFFFFFFFFFFF, 0xDA0CEE0A76070A77},
    {65, 0, 0x1EE61A2465233F43},   {65, 1, 0x17CBB05FF8A196B6},
    {96, 0, 0xF04394192288AEB2},   {96, 0x9E3779B97F4A7C15, 0x831B63BE264B8E36},
    {97, 0, 0x238FB0FD058E037E},   {97, 0xFFFFFFFFFFFFFFFF, 0x8C1B0F2BDEC04A78},
    {128, 0, 0xC36DD9422A8BB9AC},  {128, 1, 0x755D9EF6BE54433D},
    {129, 0, 0x7ABE5F4FFCF7C9EA},  {129, 0x9E3779B97F4A7C15, 0xA5F17F6A77D0606C},
    {143, 0, 0x316719E4FE5A788F},  {143, 0xFFFFFFFFFFFFFFFF, 0xC8356DA1B3026020},
    {144, 0, 0x493BA806AE8C740E},  {144, 1, 0x8A49B02B2651D26F},
    {240, 0, 0xEF5AC652EFB68E51},  {240, 0x9E3779B97F4A7C15, 0xC5C4D68DC2E37801},
    {241, 0, 0x04A55B36E4771F57},  {241, 0xFFFFFFFFFFFFFFFF, 0x4D4A045033382995},
    {255, 0, 0x05479FD4415EC3A4},  {255, 1, 0x1573326D7B926674},
    {256, 0, 0x396D1B37680F4FB6},  {256, 0x9E3779B97F4A7C15, 0x6BB082B4AE5E36ED},
    {1024, 0, 0xD4A949118AD68529}, {1024, 0xFFFFFFFFFFFFFFFF, 0x93CECE687F519E0F},
    {1025, 0, 0xAF3F880EC689E558}, {1025, 1, 0x9248E037551C3C59},
    {1088, 0, 0xE1B7CAB2F08D4A3E}, {1088, 0x9E3779B97F4A7C15, 0x05B18657834C2C29},
    {1089, 0, 0x0C52508F737D9577}, {1089, 0xFFFFFFFFFFFFFFFF, 0xB0B56462DD5B2745},
    {2048, 0, 0x8E88771F9821AA84}, {2048, 1, 0xD115333327968F49},
    {2049, 0, 0xBEDC2E2E0D51A099}, {2049, 0x9E3779B97F4A7C15, 0x707D36AB5715A408},
    {4096, 0, 0xF1BAB466C0978637}, {4096, 0xFFFFFFFFFFFFFFFF, 0x260DB4085EBF0152},
    {8191, 0, 0x52EB321BAD83CB3E}, {8191, 1, 0xD9CCF9885E6055FA},
};

static void fill_data(uint8_t *data) {
    lsm_rng rng = {2026};

    for (size_t i = 0; i < DATA_SIZE; i++) {
        data[i] = (uint8_t)(lsm_rng_next(&rng) >> 56);
    }
}

LSM_TEST(xxh3_agrees_with_the_reference_around_every_limit) {
    uint8_t data[DATA_SIZE];

    fill_data(data);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(vectors); i++) {
        const vector *v = &vectors[i];

        CHECK_EQ(lsm_xxh3_seeded(data, v->size, v->seed), v->hash);
        CHECK_EQ(lsmkv_xxh3_64(data, v->size, v->seed), v->hash);
        if (v->seed == 0) {
            CHECK_EQ(lsm_xxh3(data, v->size), v->hash);
        }
    }
    CHECK_EQ(lsm_xxh3(NULL, 0), vectors[0].hash);
}

LSM_TEST(xxh3_agrees_with_the_reference_for_every_size_and_exact_buffers) {
    static const uint64_t seeds[] = {0, 1, 0x9E3779B97F4A7C15, UINT64_MAX};
    uint8_t *hashes = lsm_alloc(ALL_SIZES * sizeof(seeds));
    uint8_t data[DATA_SIZE];
    uint8_t *at = hashes;

    CHECK(hashes != NULL);
    fill_data(data);
    for (size_t size = 0; size < ALL_SIZES; size++) {
        uint8_t *exact = lsm_alloc(size + (size == 0));

        CHECK(exact != NULL);
        memcpy(exact, data, size);
        for (size_t i = 0; i < LSM_ARRAY_COUNT(seeds); i++) {
            lsm_put_u64(at, lsm_xxh3_seeded(exact, size, seeds[i]));
            at += sizeof(uint64_t);
        }
        lsm_free(exact);
    }
    CHECK_EQ(lsm_xxh3(hashes, (size_t)(at - hashes)), 0x19DD65EB179AB816);
    lsm_free(hashes);
}

LSM_TEST(xxh3_of_ever_longer_pieces_is_that_of_each) {
    uint8_t data[DATA_SIZE];

    fill_data(data);
    for (size_t step = 1; step < DATA_SIZE; step = 3 * step + 1) {
        lsm_xxh3_prefix prefix;
        lsm_xxh3_prefix_init(&prefix, data);
        for (size_t size = 0; size <= DATA_SIZE; size += step) {
            CHECK_EQ(lsm_xxh3_prefix_hash(&prefix, size), lsm_xxh3(data, size));
            CHECK_EQ(lsm_xxh3_prefix_hash(&prefix, size), lsm_xxh3(data, size));
        }
    }
}

LSM_TEST(xxh3_does_not_depend_on_alignment) {
    static const size_t sizes[] = {3, 8, 16, 20, 128, 240, 1500};
    uint8_t data[DATA_SIZE];
    uint8_t moved[2048];

    fill_data(data);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(sizes); i++) {
        for (size_t shift = 0; shift < 64; shift++) {
            memcpy(moved + shift, data, sizes[i]);
            CHECK_EQ(lsm_xxh3(moved + shift, sizes[i]), lsm_xxh3(data, sizes[i]));
        }
    }
}

LSM_TEST(checksums_are_bound_to_the_file_and_the_offset) {
    uint64_t file_id = 0x0123456789ABCDEF;
    uint8_t data[DATA_SIZE];
    uint64_t sum = 0;

    fill_data(data);
    sum = lsm_checksum(file_id, 4096, data, 4096);
    CHECK_EQ(sum, 0xC3D2829F9946D2CF);
    CHECK(lsm_checksum(file_id, 4097, data, 4096) != sum);
    CHECK(lsm_checksum(file_id + 1, 4096, data, 4096) != sum);
    CHECK(lsm_checksum(file_id, 4096, data, 4095) != sum);
    data[100] ^= 1;
    CHECK(lsm_checksum(file_id, 4096, data, 4096) != sum);
}
