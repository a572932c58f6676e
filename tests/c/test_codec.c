/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what a codec compressed comes back or is reported, a context serves one thread
 * and only the codec that made it, and nothing registers that would fail later.
 * Method: toy run-length codecs, plain and in the shape of zstd, that check their own
 * contexts and can be told to misbehave; threads that compress while others register.
 */
#include "child_help.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "env/sync.h"
#include "format/codec.h"
#include "runs_codec.h"

enum { PLAIN_ID = 5, UNKNOWN_ID = 4, UNREGISTERED_ID = LSMKV_CODEC_COUNT };

/* The context of every toy codec. From malloc: pools keep it beyond the test. */
typedef struct toy {
    const char *maker;
    int level;
    atomic_bool busy;
} toy;

static atomic_int live_toys;
static atomic_bool creation_fails;

static toy *make_toy(const char *maker, int level) {
    toy *context = creation_fails ? NULL : calloc(1, sizeof(*context));

    if (context != NULL) {
        context->maker = maker;
        context->level = level;
        live_toys++;
    }
    return context;
}

static void free_toy(void *context) {
    live_toys--;
    free(context);
}

/* Ends the program on misuse: it may happen on any thread. */
static void enter_toy(toy *context, const char *maker) {
    if (context->maker != maker || atomic_exchange(&context->busy, true)) {
        abort();
    }
}

static const char plain_maker[] = "plain";
static const char other_maker[] = "other";
static atomic_int level_seen;

#define TOY_CODEC(name)                                                        \
    static void *name##_create(int level) {                                    \
        return make_toy(name##_maker, level);                                  \
    }                                                                          \
    static size_t name##_compress(void *context, void *dst, size_t capacity,   \
                                  const void *src, size_t size) {              \
        toy *own = context;                                                    \
        enter_toy(own, name##_maker);                                          \
        level_seen = own->level;                                               \
        size_t used = runs_compress(NULL, dst, capacity, src, size);           \
        own->busy = false;                                                     \
        return used;                                                           \
    }                                                                          \
    static size_t name##_decompress(void *context, void *dst, size_t capacity, \
                                    const void *src, size_t size) {            \
        toy *own = context;                                                    \
        enter_toy(own, name##_maker);                                          \
        size_t used = runs_decompress(NULL, dst, capacity, src, size);         \
        own->busy = false;                                                     \
        return used;                                                           \
    }                                                                          \
    static const lsmkv_codec name##_codec = {                                  \
        PLAIN_ID,   #name,           name##_create,    free_toy,               \
        runs_bound, name##_compress, name##_decompress}

TOY_CODEC(plain);
TOY_CODEC(other);

static void register_plain(void) {
    lsmkv_error err;

    CHECK_OK(lsmkv_register_codec(&plain_codec, &err));
}

/* Compresses `raw` and decompresses it again. Returns whether it got smaller. */
static bool round_trip(uint32_t id, int level, lsm_slice raw) {
    uint8_t *back = lsm_alloc(raw.size + 1);
    lsm_buf packed = {0};
    lsmkv_error err;
    bool smaller = true;

    CHECK(back != NULL);
    CHECK(lsm_buf_append(&packed, "old content", 11));
    CHECK_OK(lsm_codec_compress(id, level, raw, &packed, &smaller, &err));
    if (smaller) {
        CHECK(packed.size != 0 && packed.size <= raw.size - raw.size / 8);
        CHECK_OK(
            lsm_codec_decompress(id, lsm_buf_slice(&packed), back, raw.size, &err));
        CHECK(memcmp(back, raw.data, raw.size) == 0);
    } else {
        CHECK_EQ(packed.size, 0);
    }
    lsm_buf_deinit(&packed);
    lsm_free(back);
    return smaller;
}

LSM_TEST(codec_none_is_always_there_and_copies) {
    uint8_t back[4];
    lsmkv_error err;

    CHECK_OK(lsm_codec_check(LSMKV_CODEC_NONE, &err));
    CHECK(!round_trip(LSMKV_CODEC_NONE, 0, lsm_slice_make("aaaaaaaaaaaaaaaa", 16)));
    CHECK_OK(lsm_codec_decompress(LSMKV_CODEC_NONE, lsm_slice_make("abcd", 4), back, 4,
                                  &err));
    CHECK(memcmp(back, "abcd", 4) == 0);
    CHECK_STATUS(
        lsm_codec_decompress(LSMKV_CODEC_NONE, lsm_slice_make("abc", 3), back, 4, &err),
        LSMKV_CORRUPTION);
}

LSM_TEST(codec_that_is_not_registered_is_unsupported) {
    static const uint32_t ids[] = {UNKNOWN_ID, UNREGISTERED_ID, UINT32_MAX};
    lsm_slice raw = lsm_slice_make("aaaaaaaa", 8);
    lsm_buf to = {0};
    lsmkv_error err;

    for (size_t i = 0; i < LSM_ARRAY_COUNT(ids); i++) {
        uint8_t back[8];
        bool smaller = true;

        CHECK_STATUS(lsm_codec_check(ids[i], &err), LSMKV_UNSUPPORTED_VERSION);
        CHECK(strstr(err.message, "lsmkv_register_codec") != NULL);
        CHECK_STATUS(lsm_codec_compress(ids[i], 0, raw, &to, &smaller, &err),
                     LSMKV_UNSUPPORTED_VERSION);
        CHECK(!smaller);
        CHECK_STATUS(lsm_codec_decompress(ids[i], raw, back, sizeof(back), &err),
                     LSMKV_UNSUPPORTED_VERSION);
    }
}

LSM_TEST(registered_codec_brings_back_what_it_compressed) {
    uint8_t raw[5000];
    lsmkv_error err;

    register_plain();
    CHECK_OK(lsm_codec_check(PLAIN_ID, &err));
    for (size_t size = 1; size <= sizeof(raw); size += 1 + size / 3) {
        for (size_t i = 0; i < size; i++) {
            raw[i] = (uint8_t)(i / 40);
        }
        CHECK_EQ(round_trip(PLAIN_ID, 0, lsm_slice_make(raw, size)), size > 2);
    }
    CHECK(!round_trip(PLAIN_ID, 0, lsm_slice_make(raw, 0)));
}

LSM_TEST(block_that_does_not_shrink_by_an_eighth_is_stored_raw) {
    uint8_t raw[160];

    register_plain();
    /* n runs pack into 2 n bytes; of 160 bytes 140 are an eighth less. */
    for (size_t runs = 60; runs <= 80; runs++) {
        for (size_t i = 0; i < sizeof(raw); i++) {
            raw[i] = (uint8_t)(i < runs ? i : runs - 1);
        }
        CHECK_EQ(round_trip(PLAIN_ID, 0, lsm_slice_make(raw, sizeof(raw))), runs <= 70);
    }
}

LSM_TEST(damaged_compressed_bytes_are_corruption) {
    static const uint8_t packed[] = {4, 'a', 3, 'b'};
    uint8_t back[16];
    lsmkv_error err;

    register_plain();
    CHECK_OK(lsm_codec_decompress(PLAIN_ID, lsm_slice_make(packed, 4), back, 7, &err));
    CHECK(memcmp(back, "aaaabbb", 7) == 0);
    for (size_t size = 0; size <= sizeof(back); size++) {
        if (size != 7) {
            CHECK_STATUS(lsm_codec_decompress(PLAIN_ID, lsm_slice_make(packed, 4), back,
                                              size, &err),
                         LSMKV_CORRUPTION);
        }
    }
    CHECK_STATUS(
        lsm_codec_decompress(PLAIN_ID, lsm_slice_make(packed, 3), back, 7, &err),
        LSMKV_CORRUPTION);
    CHECK_STATUS(
        lsm_codec_decompress(PLAIN_ID, lsm_slice_make(packed, 0), back, 7, &err),
        LSMKV_CORRUPTION);
}

LSM_TEST(contexts_are_kept_and_fit_their_level) {
    static const uint8_t raw[64] = {0};
    lsm_slice slice = lsm_slice_make(raw, sizeof(raw));

    register_plain();
    CHECK(round_trip(PLAIN_ID, 3, slice));
    int before = live_toys;
    for (int round = 0; round < 10; round++) {
        CHECK(round_trip(PLAIN_ID, 3, slice));
        CHECK_EQ(level_seen, 3);
    }
    CHECK_EQ(live_toys, before);
    for (int level = 4; level < 100; level++) {
        CHECK(round_trip(PLAIN_ID, level, slice));
        CHECK_EQ(level_seen, level);
    }
    CHECK(live_toys <= before + 16); /* pools are bounded */
    before = live_toys;
    CHECK(round_trip(PLAIN_ID, 99, slice));
    CHECK_EQ(live_toys, before); /* and follow the level in use */
}

LSM_TEST(codec_without_memory_for_a_context_says_so) {
    static const uint8_t raw[64] = {0};
    lsm_buf to = {0};
    lsmkv_error err;
    bool smaller = true;

    register_plain();
    creation_fails = true;
    lsmkv_status status = lsm_codec_compress(
        PLAIN_ID, 1000, lsm_slice_make(raw, sizeof(raw)), &to, &smaller, &err);
    creation_fails = false;
    CHECK_STATUS(status, LSMKV_NO_MEMORY);
    CHECK(!smaller);
    lsm_buf_deinit(&to);
    lsm_alloc_fail_after(0, 1);
    status = lsm_codec_compress(PLAIN_ID, 0, lsm_slice_make(raw, sizeof(raw)), &to,
                                &smaller, &err);
    lsm_alloc_fail_never();
    CHECK_STATUS(status, LSMKV_NO_MEMORY);
    CHECK(!smaller);
}

static size_t small_bound(size_t size) {
    return size / 100;
}

static size_t wrong_decompress(void *context, void *dst, size_t capacity,
                               const void *src, size_t size) {
    size_t used = plain_decompress(context, dst, capacity, src, size);

    if (used != 0) {
        ((uint8_t *)dst)[used / 2] ^= 1;
    }
    return used;
}

static size_t overflowing_decompress(void *context, void *dst, size_t capacity,
                                     const void *src, size_t size) {
    size_t used = plain_decompress(context, dst, capacity, src, size);

    /* One byte too many, which the test has room for. */
    ((uint8_t *)dst)[capacity] ^= 1;
    return used;
}

LSM_TEST(codec_that_fails_its_test_is_refused_and_the_old_one_stays) {
    static const uint8_t raw[64] = {0};
    lsmkv_codec codec = plain_codec;
    lsmkv_error err;

    register_plain();
    codec.bound = small_bound;
    CHECK_STATUS(lsmkv_register_codec(&codec, &err), LSMKV_INVALID_ARGUMENT);
    codec = plain_codec;
    codec.decompress = wrong_decompress;
    CHECK_STATUS(lsmkv_register_codec(&codec, &err), LSMKV_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "plain") != NULL);
    codec.decompress = overflowing_decompress;
    CHECK_STATUS(lsmkv_register_codec(&codec, &err), LSMKV_INVALID_ARGUMENT);
    creation_fails = true;
    lsmkv_status status = lsmkv_register_codec(&plain_codec, &err);
    creation_fails = false;
    CHECK_STATUS(status, LSMKV_INVALID_ARGUMENT);
    lsm_alloc_fail_after(0, 1);
    status = lsmkv_register_codec(&plain_codec, &err);
    lsm_alloc_fail_never();
    CHECK_STATUS(status, LSMKV_NO_MEMORY);
    CHECK(round_trip(PLAIN_ID, 0, lsm_slice_make(raw, sizeof(raw))));
}

static size_t greedy_compress(void *context, void *dst, size_t capacity,
                              const void *src, size_t size) {
    return plain_codec.compress(context, dst, capacity, src, size) + capacity;
}

static size_t short_decompress(void *context, void *dst, size_t capacity,
                               const void *src, size_t size) {
    size_t used = plain_decompress(context, dst, capacity, src, size);

    return used - (used != 0);
}

static size_t boasting_decompress(void *context, void *dst, size_t capacity,
                                  const void *src, size_t size) {
    return plain_decompress(context, dst, capacity, src, size) + 5 * capacity;
}

/* Writes behind a room that is large enough, and nothing where it is not. */
static size_t excessive_decompress(void *context, void *dst, size_t capacity,
                                   const void *src, size_t size) {
    size_t used = plain_decompress(context, dst, capacity, src, size);

    if (used != 0) {
        ((uint8_t *)dst)[capacity] ^= 1;
    }
    return used;
}

LSM_TEST(codec_that_says_wrong_sizes_is_refused) {
    lsmkv_codec codec = plain_codec;
    lsmkv_error err;
    uint8_t raw[1];

    codec.compress = greedy_compress;
    CHECK_STATUS(lsmkv_register_codec(&codec, &err), LSMKV_INVALID_ARGUMENT);
    codec = plain_codec;
    codec.decompress = short_decompress;
    CHECK_STATUS(lsmkv_register_codec(&codec, &err), LSMKV_INVALID_ARGUMENT);
    codec.decompress = boasting_decompress;
    CHECK_STATUS(lsmkv_register_codec(&codec, &err), LSMKV_INVALID_ARGUMENT);
    codec.decompress = excessive_decompress;
    CHECK_STATUS(lsmkv_register_codec(&codec, &err), LSMKV_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "more than it may") != NULL);
    register_plain();
    CHECK_STATUS(lsm_codec_decompress(PLAIN_ID, lsm_slice_make("", 0), raw, 0, &err),
                 LSMKV_CORRUPTION);
}

static void *twin_create(int level) {
    return plain_create(level);
}

static void twin_destroy(void *context) {
    free_toy(context);
}

static size_t twin_bound(size_t size) {
    return runs_bound(size);
}

static size_t twin_compress(void *context, void *dst, size_t capacity, const void *src,
                            size_t size) {
    return plain_compress(context, dst, capacity, src, size);
}

static size_t twin_decompress(void *context, void *dst, size_t capacity,
                              const void *src, size_t size) {
    return plain_decompress(context, dst, capacity, src, size);
}

/* A context of one must never come to the functions of another. */
LSM_TEST(codecs_are_the_same_only_if_all_their_functions_are) {
    static const uint8_t raw[64] = {0};
    lsmkv_error err;

    for (int round = 0; round < 2; round++) {
        for (int part = 0; part < 5; part++) {
            lsmkv_codec codec = plain_codec;
            codec.create = part == 0 ? twin_create : codec.create;
            codec.destroy = part == 1 ? twin_destroy : codec.destroy;
            codec.bound = part == 2 ? twin_bound : codec.bound;
            codec.compress = part == 3 ? twin_compress : codec.compress;
            codec.decompress = part == 4 ? twin_decompress : codec.decompress;
            CHECK_OK(lsmkv_register_codec(&codec, &err));
            CHECK(round_trip(PLAIN_ID, 0, lsm_slice_make(raw, sizeof(raw))));
        }
    }
    register_plain();
}

/* Registers codecs of other functions until there is no more room for one. */
static int register_many(void *context) {
    int count = 0;

    (void)context;
    for (uint32_t id = 1; id < LSMKV_CODEC_COUNT; id++) {
        for (unsigned parts = 0; parts < 32; parts++) {
            lsmkv_error err;
            lsmkv_codec codec = plain_codec;
            codec.id = id;
            codec.create = (parts & 1) != 0 ? twin_create : codec.create;
            codec.destroy = (parts & 2) != 0 ? twin_destroy : codec.destroy;
            codec.bound = (parts & 4) != 0 ? twin_bound : codec.bound;
            codec.compress = (parts & 8) != 0 ? twin_compress : codec.compress;
            codec.decompress = (parts & 16) != 0 ? twin_decompress : codec.decompress;
            lsmkv_status status = lsmkv_register_codec(&codec, &err);
            if (status == LSMKV_LIMIT_EXCEEDED) {
                /* Those that were there before may still be gone back to. */
                return count > 0 && lsmkv_register_codec(&plain_codec, &err) == LSMKV_OK
                           ? 0
                           : 1;
            }
            if (status != LSMKV_OK || ++count > 100) {
                return 2;
            }
        }
    }
    return 3;
}

LSM_TEST(codecs_without_end_are_refused) {
    register_plain();
    CHECK_EQ(run_child(register_many, NULL), 0);
    CHECK(round_trip(PLAIN_ID, 0, lsm_slice_make("aaaaaaaaaaaaaaaa", 16)));
}

LSM_TEST(codec_with_a_missing_part_is_an_invalid_argument) {
    lsmkv_error err;

    CHECK_STATUS(lsmkv_register_codec(NULL, &err), LSMKV_INVALID_ARGUMENT);
    for (int part = 0; part < 8; part++) {
        lsmkv_codec codec = plain_codec;

        codec.id = part == 0   ? LSMKV_CODEC_NONE
                   : part == 1 ? LSMKV_CODEC_COUNT
                               : PLAIN_ID;
        codec.name = part == 2 ? NULL : codec.name;
        codec.create = part == 3 ? NULL : codec.create;
        codec.destroy = part == 4 ? NULL : codec.destroy;
        codec.bound = part == 5 ? NULL : codec.bound;
        codec.compress = part == 6 ? NULL : codec.compress;
        codec.decompress = part == 7 ? NULL : codec.decompress;
        CHECK_STATUS(lsmkv_register_codec(&codec, &err), LSMKV_INVALID_ARGUMENT);
    }
}

LSM_TEST(codecs_may_replace_each_other_any_number_of_times) {
    static const uint8_t raw[64] = {0};
    lsmkv_error err;

    for (int round = 0; round < 100; round++) {
        CHECK_OK(
            lsmkv_register_codec(round % 2 == 0 ? &plain_codec : &other_codec, &err));
        CHECK(round_trip(PLAIN_ID, 0, lsm_slice_make(raw, sizeof(raw))));
    }
}

static atomic_bool stop_threads;

static void compress_in_thread(void *context) {
    lsm_rng rng = {(uint64_t)(uintptr_t)context};
    uint8_t raw[300];

    for (int round = 0; round < 3000; round++) {
        size_t size = 100 + (size_t)lsm_rng_below(&rng, 200);

        memset(raw, (int)lsm_rng_below(&rng, 256), size);
        if (!round_trip(PLAIN_ID, (int)lsm_rng_below(&rng, 2),
                        lsm_slice_make(raw, size))) {
            abort();
        }
    }
}

static void register_in_thread(void *context) {
    (void)context;
    for (int round = 0; !stop_threads; round++) {
        if (lsmkv_register_codec(round % 2 == 0 ? &other_codec : &plain_codec, NULL) !=
            LSMKV_OK) {
            abort();
        }
    }
}

LSM_TEST(threads_compress_with_contexts_of_their_own_while_codecs_change) {
    enum { THREADS = 4 };
    lsm_thread threads[THREADS] = {{0}};
    lsm_thread changer = {0};

    register_plain();
    stop_threads = false;
    CHECK(lsm_thread_start(&changer, register_in_thread, NULL, "register"));
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK(
            lsm_thread_start(&threads[i], compress_in_thread, (void *)(i + 1), "pack"));
    }
    for (size_t i = 0; i < THREADS; i++) {
        lsm_thread_join(&threads[i]);
    }
    stop_threads = true;
    lsm_thread_join(&changer);
}

/* Functions with zstd's signatures over the same run-length code. */
struct ZSTD_CCtx_s {
    toy toy;
};
struct ZSTD_DCtx_s {
    toy toy;
};

static const char cctx_maker[] = "cctx";
static const char dctx_maker[] = "dctx";
static unsigned zstd_version = 10506;

static struct ZSTD_CCtx_s *zstd_create_cctx(void) {
    return (struct ZSTD_CCtx_s *)make_toy(cctx_maker, 0);
}

static size_t zstd_free_cctx(struct ZSTD_CCtx_s *context) {
    free_toy(context);
    return 0;
}

static struct ZSTD_DCtx_s *zstd_create_dctx(void) {
    return (struct ZSTD_DCtx_s *)make_toy(dctx_maker, 0);
}

static size_t zstd_free_dctx(struct ZSTD_DCtx_s *context) {
    free_toy(context);
    return 0;
}

static size_t zstd_set_parameter(struct ZSTD_CCtx_s *context, int parameter,
                                 int value) {
    if (parameter != 100 || value == 77) {
        return (size_t)-42;
    }
    context->toy.level = value;
    return 0;
}

static size_t zstd_compress2(struct ZSTD_CCtx_s *context, void *dst, size_t capacity,
                             const void *src, size_t size) {
    enter_toy(&context->toy, cctx_maker);
    level_seen = context->toy.level;
    size_t used = runs_compress(NULL, dst, capacity, src, size);
    context->toy.busy = false;
    return used == 0 ? (size_t)-70 : used;
}

static size_t zstd_decompress(struct ZSTD_DCtx_s *context, void *dst, size_t capacity,
                              const void *src, size_t size) {
    enter_toy(&context->toy, dctx_maker);
    size_t used = runs_decompress(NULL, dst, capacity, src, size);
    context->toy.busy = false;
    return used == 0 ? (size_t)-20 : used;
}

static unsigned zstd_is_error(size_t code) {
    return code > (size_t)-120;
}

static unsigned zstd_version_number(void) {
    return zstd_version;
}

static lsmkv_zstd_functions zstd_functions(void) {
    lsmkv_zstd_functions functions;
    struct {
        struct ZSTD_CCtx_s *(*create_cctx)(void);
        size_t (*free_cctx)(struct ZSTD_CCtx_s *);
        struct ZSTD_DCtx_s *(*create_dctx)(void);
        size_t (*free_dctx)(struct ZSTD_DCtx_s *);
        size_t (*set_parameter)(struct ZSTD_CCtx_s *, int, int);
        size_t (*compress2)(struct ZSTD_CCtx_s *, void *, size_t, const void *, size_t);
        size_t (*decompress)(struct ZSTD_DCtx_s *, void *, size_t, const void *,
                             size_t);
        size_t (*bound)(size_t);
        unsigned (*is_error)(size_t);
        unsigned (*version)(void);
    } own = {zstd_create_cctx,   zstd_free_cctx,     zstd_create_dctx, zstd_free_dctx,
             zstd_set_parameter, zstd_compress2,     zstd_decompress,  runs_bound,
             zstd_is_error,      zstd_version_number};

    _Static_assert(sizeof(own) == sizeof(functions), "ten addresses");
    memcpy(&functions, &own, sizeof(functions));
    return functions;
}

LSM_TEST(zstd_is_asked_for_by_name_until_its_addresses_are_given) {
    lsmkv_zstd_functions functions = zstd_functions();
    static const uint8_t raw[64] = {0};
    static const uint8_t packed[] = {4, 'a', 3};
    uint8_t back[8];
    lsmkv_error err;

    CHECK_STATUS(lsm_codec_check(LSMKV_CODEC_ZSTD, &err), LSMKV_UNSUPPORTED_VERSION);
    CHECK(strstr(err.message, "zstd") != NULL);
    zstd_version = 10399;
    CHECK_STATUS(lsmkv_register_zstd(&functions, &err), LSMKV_UNSUPPORTED_VERSION);
    CHECK_STATUS(lsm_codec_check(LSMKV_CODEC_ZSTD, &err), LSMKV_UNSUPPORTED_VERSION);
    zstd_version = 10400;
    CHECK_OK(lsmkv_register_zstd(&functions, &err));
    CHECK_OK(lsm_codec_check(LSMKV_CODEC_ZSTD, &err));
    CHECK(round_trip(LSMKV_CODEC_ZSTD, 9, lsm_slice_make(raw, sizeof(raw))));
    CHECK_EQ(level_seen, 9);
    CHECK_STATUS(lsm_codec_decompress(LSMKV_CODEC_ZSTD, lsm_slice_make(packed, 3), back,
                                      sizeof(back), &err),
                 LSMKV_CORRUPTION);
    CHECK_OK(lsmkv_register_zstd(&functions, &err));
}

LSM_TEST(zstd_context_that_refuses_its_level_is_freed) {
    lsmkv_zstd_functions functions = zstd_functions();
    static const uint8_t raw[64] = {0};
    lsm_buf to = {0};
    lsmkv_error err;
    bool smaller = true;

    CHECK_OK(lsmkv_register_zstd(&functions, &err));
    int before = live_toys;
    CHECK_STATUS(
        lsm_codec_compress(LSMKV_CODEC_ZSTD, 77, lsm_slice_make(raw, sizeof(raw)), &to,
                           &smaller, &err),
        LSMKV_NO_MEMORY);
    CHECK_EQ(live_toys, before);
    lsm_buf_deinit(&to);
}

static int zstd_twin_free_dctx_calls;

static size_t zstd_twin_free_dctx(struct ZSTD_DCtx_s *context) {
    zstd_twin_free_dctx_calls++;
    return zstd_free_dctx(context);
}

/* A library that was loaded again lies elsewhere. */
LSM_TEST(zstd_at_other_addresses_takes_over_and_may_lack_memory) {
    lsmkv_zstd_functions functions = zstd_functions();
    size_t (*twin)(struct ZSTD_DCtx_s *) = zstd_twin_free_dctx;
    static const uint8_t raw[64] = {0};
    static const uint8_t packed[] = {64, 0};
    lsm_buf to = {0};
    uint8_t back[64];
    lsmkv_error err;
    bool smaller = true;

    CHECK_OK(lsmkv_register_zstd(&functions, &err));
    memcpy((char *)&functions + 3 * sizeof(void *), &twin, sizeof(twin));
    CHECK_OK(lsmkv_register_zstd(&functions, &err));
    CHECK(zstd_twin_free_dctx_calls > 0);
    creation_fails = true;
    lsmkv_status compressed = lsm_codec_compress(
        LSMKV_CODEC_ZSTD, 55, lsm_slice_make(raw, sizeof(raw)), &to, &smaller, &err);
    lsmkv_status decompressed =
        lsm_codec_decompress(LSMKV_CODEC_ZSTD, lsm_slice_make(packed, sizeof(packed)),
                             back, sizeof(back), &err);
    creation_fails = false;
    CHECK_STATUS(compressed, LSMKV_NO_MEMORY);
    CHECK_STATUS(decompressed, LSMKV_NO_MEMORY);
    CHECK_OK(lsm_codec_decompress(LSMKV_CODEC_ZSTD,
                                  lsm_slice_make(packed, sizeof(packed)), back,
                                  sizeof(back), &err));
    CHECK(memcmp(back, raw, sizeof(raw)) == 0);
    lsm_buf_deinit(&to);
}

LSM_TEST(zstd_with_a_missing_address_is_an_invalid_argument) {
    lsmkv_error err;

    CHECK_STATUS(lsmkv_register_zstd(NULL, &err), LSMKV_INVALID_ARGUMENT);
    for (size_t i = 0; i < sizeof(lsmkv_zstd_functions) / sizeof(void *); i++) {
        lsmkv_zstd_functions functions = zstd_functions();

        memset((char *)&functions + i * sizeof(void *), 0, sizeof(void *));
        CHECK_STATUS(lsmkv_register_zstd(&functions, &err), LSMKV_INVALID_ARGUMENT);
    }
}
