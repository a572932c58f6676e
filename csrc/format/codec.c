/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of codecs. A registration is written once, published by an atomic store
 * and never freed, so whoever loaded it may go on using it after it was replaced; there
 * is room for a fixed number of different ones in the life of a process.
 *
 * Each registration pools contexts, for either direction apart, in slots of one cache
 * line. A thread looks first into the slot its number points to, so that threads at
 * work do not meet. The states of a slot:
 *
 *   EMPTY -> BUSY -> IDLE    a context is put in
 *   IDLE  -> BUSY -> EMPTY   it is taken out, by the one thread whose exchange won
 *   IDLE  -> BUSY -> IDLE    it was for another level
 *
 * zstd is called at the addresses the host gives. A context for compressing is a
 * ZSTD_CCtx and one for decompressing a ZSTD_DCtx, nothing around them.
 */
#include "format/codec.h"

#include <stdatomic.h>
#include <string.h>

#include "base/epoch.h"

enum { REGISTRATION_MAX = 32, POOL_SLOTS = 16 };

/* Of the self-test. */
enum { SAMPLE_SIZE = 3000 };

enum { ZSTD_VERSION_MIN = 10400, ZSTD_PARAMETER_LEVEL = 100 };

/* zstd's own names, so that these types are those of the functions called. */
struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

/* The functions behind the addresses, in the order of lsmkv_zstd_functions. */
typedef struct zstd_api {
    struct ZSTD_CCtx_s *(*create_cctx)(void);
    size_t (*free_cctx)(struct ZSTD_CCtx_s *);
    struct ZSTD_DCtx_s *(*create_dctx)(void);
    size_t (*free_dctx)(struct ZSTD_DCtx_s *);
    size_t (*set_parameter)(struct ZSTD_CCtx_s *, int, int);
    size_t (*compress2)(struct ZSTD_CCtx_s *, void *, size_t, const void *, size_t);
    size_t (*decompress)(struct ZSTD_DCtx_s *, void *, size_t, const void *, size_t);
    size_t (*bound)(size_t);
    unsigned (*is_error)(size_t);
    unsigned (*version)(void);
} zstd_api;

_Static_assert(sizeof(zstd_api) == sizeof(lsmkv_zstd_functions),
               "addresses and functions have the same places");

typedef struct codec_functions {
    lsmkv_codec plain; /* with is_zstd only id and name */
    zstd_api zstd;
    bool is_zstd;
} codec_functions;

typedef enum direction { COMPRESS, DECOMPRESS, DIRECTION_COUNT } direction;

/* One call of a codec; borrows its bytes from the caller. */
typedef struct codec_job {
    direction way;
    int level;
    lsm_slice from;
    uint8_t *to;
    size_t room; /* at `to` */
} codec_job;

enum { SLOT_EMPTY, SLOT_BUSY, SLOT_IDLE };

typedef struct pool_slot {
    _Atomic uint32_t state;
    int level;     /* what the context was created for; by the holder of BUSY */
    void *context; /* owned in IDLE; by the holder of BUSY */
    char padding[LSM_CACHE_LINE - 2 * sizeof(uint32_t) - sizeof(void *)];
} pool_slot;

typedef struct registration {
    codec_functions functions; /* constant once ready */
    atomic_bool claimed;
    atomic_bool ready;
    pool_slot pools[DIRECTION_COUNT][POOL_SLOTS];
} registration;

static registration registrations[REGISTRATION_MAX];
static _Atomic(registration *) current[LSMKV_CODEC_COUNT];

static void *create_context(const codec_functions *functions, direction way,
                            int level) {
    const zstd_api *zstd = &functions->zstd;

    if (!functions->is_zstd) {
        return functions->plain.create(level);
    }
    if (way == DECOMPRESS) {
        return zstd->create_dctx();
    }
    struct ZSTD_CCtx_s *context = zstd->create_cctx();
    if (context != NULL &&
        zstd->is_error(zstd->set_parameter(context, ZSTD_PARAMETER_LEVEL, level))) {
        (void)zstd->free_cctx(context);
        context = NULL;
    }
    return context;
}

static void destroy_context(const codec_functions *functions, direction way,
                            void *context) {
    if (!functions->is_zstd) {
        functions->plain.destroy(context);
    } else if (way == DECOMPRESS) {
        (void)functions->zstd.free_dctx(context);
    } else {
        (void)functions->zstd.free_cctx(context);
    }
}

static size_t compress_bound(const codec_functions *functions, size_t size) {
    return functions->is_zstd ? functions->zstd.bound(size)
                              : functions->plain.bound(size);
}

/* Runs the codec one way. Returns the bytes written, 0 on failure. */
static size_t run_codec(const codec_functions *functions, const codec_job *job,
                        void *context) {
    const lsmkv_codec *plain = &functions->plain;
    const zstd_api *zstd = &functions->zstd;
    lsm_slice from = job->from;
    size_t size = 0;

    if (functions->is_zstd) {
        size =
            job->way == COMPRESS
                ? zstd->compress2(context, job->to, job->room, from.data, from.size)
                : zstd->decompress(context, job->to, job->room, from.data, from.size);
        size = zstd->is_error(size) ? 0 : size;
    } else {
        size =
            job->way == COMPRESS
                ? plain->compress(context, job->to, job->room, from.data, from.size)
                : plain->decompress(context, job->to, job->room, from.data, from.size);
    }
    return size <= job->room ? size : 0;
}

/* Where the calling thread begins to look in a pool. */
static uint32_t first_slot(void) {
    uint32_t stripe = lsm_epoch_stripe_plus_1;

    return stripe == 0 ? lsm_epoch_assign_stripe() : stripe;
}

/* Acquire pairs with the release of set_slot: what the last holder did to slot and
 * context is seen. */
static bool win_slot(pool_slot *slot, uint32_t state) {
    uint32_t expected = state;

    if (atomic_load_explicit(&slot->state, memory_order_relaxed) != state) {
        return false;
    }
    return atomic_compare_exchange_strong_explicit(
        &slot->state, &expected, SLOT_BUSY, memory_order_acquire, memory_order_relaxed);
}

/* Release pairs with the acquire of win_slot. */
static void set_slot(pool_slot *slot, uint32_t state) {
    atomic_store_explicit(&slot->state, state, memory_order_release);
}

/* A pooled context for the level, or a new one. NULL: there is none to be had. */
static void *borrow_context(registration *entry, const codec_job *job) {
    pool_slot *pool = entry->pools[job->way];
    uint32_t first = first_slot();

    for (uint32_t i = 0; i < POOL_SLOTS; i++) {
        pool_slot *slot = &pool[(first + i) % POOL_SLOTS];

        if (win_slot(slot, SLOT_IDLE)) {
            if (slot->level == job->level) {
                void *context = slot->context;

                set_slot(slot, SLOT_EMPTY);
                return context;
            }
            set_slot(slot, SLOT_IDLE);
        }
    }
    return create_context(&entry->functions, job->way, job->level);
}

/* Takes the context back into the pool. A full pool gives up the one in its place, so
 * that contexts of a level no longer used do not fill it for ever. */
static void return_context(registration *entry, const codec_job *job, void *context) {
    pool_slot *pool = entry->pools[job->way];
    uint32_t first = first_slot();

    for (uint32_t i = 0; i < POOL_SLOTS; i++) {
        pool_slot *slot = &pool[(first + i) % POOL_SLOTS];

        if (win_slot(slot, SLOT_EMPTY)) {
            slot->level = job->level;
            slot->context = context;
            set_slot(slot, SLOT_IDLE);
            return;
        }
    }
    pool_slot *own = &pool[first % POOL_SLOTS];
    void *old = context;
    if (win_slot(own, SLOT_IDLE)) {
        old = own->context;
        own->level = job->level;
        own->context = context;
        set_slot(own, SLOT_IDLE);
    }
    destroy_context(&entry->functions, job->way, old);
}

/* Borrows a context, runs the codec, gives the context back. *size is 0 when the codec
 * failed; its context, of which nobody knows the state, is then not used again. */
static lsmkv_status run_pooled(registration *entry, const codec_job *job, size_t *size,
                               lsmkv_error *err) {
    void *context = borrow_context(entry, job);

    *size = 0;
    if (context == NULL) {
        return lsm_fail(err, LSMKV_NO_MEMORY, "codec %s cannot create a context",
                        entry->functions.plain.name);
    }
    *size = run_codec(&entry->functions, job, context);
    if (*size == 0) {
        destroy_context(&entry->functions, job->way, context);
    } else {
        return_context(entry, job, context);
    }
    return LSMKV_OK;
}

/* The registration of an id, or NULL. */
static registration *find_codec(uint32_t id) {
    /* Acquire pairs with the release in add_registration. */
    return id < LSMKV_CODEC_COUNT
               ? atomic_load_explicit(&current[id], memory_order_acquire)
               : NULL;
}

static LSM_COLD lsmkv_status fail_missing(uint32_t id, lsmkv_error *err) {
    if (id == LSMKV_CODEC_ZSTD) {
        return lsm_fail(err, LSMKV_UNSUPPORTED_VERSION,
                        "codec 1 (zstd) is not registered: install the Python packages "
                        "zstandard and cffi, or call lsmkv_register_zstd");
    }
    return lsm_fail(err, LSMKV_UNSUPPORTED_VERSION,
                    "codec %u is not registered: call lsmkv_register_codec before the "
                    "database is opened",
                    id);
}

lsmkv_status lsm_codec_check(uint32_t id, lsmkv_error *err) {
    bool known = id == LSMKV_CODEC_NONE || find_codec(id) != NULL;

    return known ? LSMKV_OK : fail_missing(id, err);
}

lsmkv_status lsm_codec_compress(uint32_t id, int level, lsm_slice raw, lsm_buf *to,
                                bool *smaller, lsmkv_error *err) {
    registration *entry = find_codec(id);
    size_t size = 0;

    lsm_buf_clear(to);
    *smaller = false;
    if (id == LSMKV_CODEC_NONE || raw.size == 0) {
        return LSMKV_OK;
    }
    if (entry == NULL) {
        return fail_missing(id, err);
    }
    size_t bound = compress_bound(&entry->functions, raw.size);
    if (!lsm_buf_reserve(to, bound)) {
        return lsm_fail_memory(err, bound);
    }
    codec_job job = {COMPRESS, level, raw, to->data, to->capacity};
    lsmkv_status status = run_pooled(entry, &job, &size, err);
    *smaller = size != 0 && size + (raw.size + 7) / 8 <= raw.size;
    to->size = *smaller ? size : 0;
    return status;
}

lsmkv_status lsm_codec_decompress(uint32_t id, lsm_slice stored, uint8_t *raw,
                                  size_t raw_size, lsmkv_error *err) {
    codec_job job = {DECOMPRESS, 0, stored, raw, raw_size};
    registration *entry = find_codec(id);
    size_t size = 0;

    if (id == LSMKV_CODEC_NONE) {
        if (stored.size != raw_size) {
            return lsm_fail(err, LSMKV_CORRUPTION, "%zu bytes, expected %zu",
                            stored.size, raw_size);
        }
        memcpy(raw, stored.data, raw_size);
        return LSMKV_OK;
    }
    if (entry == NULL) {
        return fail_missing(id, err);
    }
    lsmkv_status status = run_pooled(entry, &job, &size, err);
    if (status == LSMKV_OK && (size != raw_size || size == 0)) {
        return lsm_fail(err, LSMKV_CORRUPTION,
                        "codec %s: %zu bytes do not decompress to %zu",
                        entry->functions.plain.name, stored.size, raw_size);
    }
    return status;
}

/* Runs a codec that is not registered yet. Returns the bytes written, 0 on failure. */
static size_t run_once(const codec_functions *functions, const codec_job *job) {
    void *context = create_context(functions, job->way, job->level);
    size_t size = 0;

    if (context != NULL) {
        size = run_codec(functions, job, context);
        destroy_context(functions, job->way, context);
    }
    return size;
}

/* Says what is wrong with decompressing `packed` to `sample`; NULL: nothing. */
static const char *test_decompress(const codec_functions *functions, lsm_slice packed,
                                   lsm_slice sample) {
    uint8_t back[SAMPLE_SIZE + 1];
    codec_job job = {DECOMPRESS, 0, packed, back, sample.size};

    memset(back, 0, sizeof(back));
    if (run_once(functions, &job) != sample.size ||
        memcmp(back, sample.data, sample.size) != 0) {
        return "bytes do not come back as they were";
    }
    /* The byte behind the room must not be touched, whatever the result is. */
    uint8_t behind = (uint8_t)(sample.data[--job.room] ^ UINT8_MAX);
    back[job.room] = behind;
    (void)run_once(functions, &job);
    if (back[job.room] != behind || back[sample.size] != 0) {
        return "it writes more than it may";
    }
    return NULL;
}

static lsmkv_status test_codec(const codec_functions *functions, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    const char *problem = "it does not compress within its own bound";
    uint8_t bytes[SAMPLE_SIZE];
    lsm_slice sample = lsm_slice_make(bytes, sizeof(bytes));
    lsm_buf packed = {0};

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)((i % 23) * 11 + i / 256);
    }
    size_t bound = compress_bound(functions, sizeof(bytes));
    if (!lsm_buf_reserve(&packed, bound)) {
        return lsm_fail_memory(err, bound);
    }
    codec_job job = {COMPRESS, 0, sample, packed.data, bound};
    packed.size = run_once(functions, &job);
    if (packed.size != 0) {
        problem = test_decompress(functions, lsm_buf_slice(&packed), sample);
    }
    if (problem != NULL) {
        status = lsm_fail(err, LSMKV_INVALID_ARGUMENT, "codec %s fails its test: %s",
                          functions->plain.name, problem);
    }
    lsm_buf_deinit(&packed);
    return status;
}

/* Those of zstd are all there, or none of them is. */
static bool functions_equal(const codec_functions *a, const codec_functions *b) {
    const lsmkv_codec *x = &a->plain;
    const lsmkv_codec *y = &b->plain;

    return x->id == y->id && x->create == y->create && x->destroy == y->destroy &&
           x->bound == y->bound && x->compress == y->compress &&
           x->decompress == y->decompress &&
           memcmp(&a->zstd, &b->zstd, sizeof(a->zstd)) == 0;
}

/* The registration with these functions: one made before, so that hosts may switch to
 * and fro, or a new one. NULL: the room is used up. */
static registration *claim_registration(const codec_functions *functions) {
    for (size_t i = 0; i < REGISTRATION_MAX; i++) {
        registration *entry = &registrations[i];

        /* Acquire pairs with the release below. */
        if (atomic_load_explicit(&entry->ready, memory_order_acquire) &&
            functions_equal(&entry->functions, functions)) {
            return entry;
        }
    }
    for (size_t i = 0; i < REGISTRATION_MAX; i++) {
        registration *entry = &registrations[i];

        if (!atomic_exchange(&entry->claimed, true)) {
            entry->functions = *functions;
            atomic_store_explicit(&entry->ready, true, memory_order_release);
            return entry;
        }
    }
    return NULL;
}

static lsmkv_status add_registration(const codec_functions *functions,
                                     lsmkv_error *err) {
    lsmkv_status status = test_codec(functions, err);

    if (status != LSMKV_OK) {
        return status;
    }
    registration *entry = claim_registration(functions);
    if (entry == NULL) {
        return lsm_fail(err, LSMKV_LIMIT_EXCEEDED,
                        "more than %d different codecs in one process",
                        REGISTRATION_MAX);
    }
    /* Release pairs with the acquire of find_codec. */
    atomic_store_explicit(&current[functions->plain.id], entry, memory_order_release);
    return LSMKV_OK;
}

lsmkv_status lsmkv_register_codec(const lsmkv_codec *codec, lsmkv_error *err) {
    codec_functions functions = {.is_zstd = false};

    if (codec == NULL || codec->name == NULL || codec->create == NULL ||
        codec->destroy == NULL || codec->bound == NULL || codec->compress == NULL ||
        codec->decompress == NULL) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "a codec needs its name and all its functions");
    }
    if (codec->id == LSMKV_CODEC_NONE || codec->id >= LSMKV_CODEC_COUNT) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT, "codec id %u, expected 1 to %d",
                        codec->id, LSMKV_CODEC_COUNT - 1);
    }
    functions.plain = *codec;
    return add_registration(&functions, err);
}

lsmkv_status lsmkv_register_zstd(const lsmkv_zstd_functions *functions,
                                 lsmkv_error *err) {
    codec_functions native = {
        .plain = {.id = LSMKV_CODEC_ZSTD, .name = "zstd"},
        .is_zstd = true,
    };
    uintptr_t addresses[sizeof(*functions) / sizeof(void *)] = {0};

    if (functions != NULL) {
        memcpy(addresses, functions, sizeof(addresses));
    }
    for (size_t i = 0; i < LSM_ARRAY_COUNT(addresses); i++) {
        if (addresses[i] == 0) {
            return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                            "address %zu of the zstd functions is missing", i);
        }
    }
    /* C has no conversion from an object's address to a function's, the systems this
     * runs on have the same bytes for both. */
    memcpy(&native.zstd, functions, sizeof(native.zstd));
    unsigned version = native.zstd.version();
    if (version < ZSTD_VERSION_MIN) {
        return lsm_fail(err, LSMKV_UNSUPPORTED_VERSION,
                        "zstd has version number %u, expected at least %d", version,
                        ZSTD_VERSION_MIN);
    }
    return add_registration(&native, err);
}
