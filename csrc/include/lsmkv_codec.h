/* SPDX-License-Identifier: Apache-2.0
 *
 * Block codecs for the whole process, and the engine's hash.
 */
#ifndef LSMKV_CODEC_H
#define LSMKV_CODEC_H

#include "lsmkv_base.h"

/* A block codec. The functions are called from any thread, never under a lock of the
 * engine; `context` comes from create and is used by one thread at a time. compress
 * and decompress return the bytes written, 0 on failure (or, for compress, when it
 * does not fit). */
typedef struct lsmkv_codec {
    uint32_t id;
    const char *name; /* static */
    void *(*create)(int level);
    void (*destroy)(void *context);
    size_t (*bound)(size_t size);
    size_t (*compress)(void *context, void *dst, size_t capacity, const void *src,
                       size_t size);
    size_t (*decompress)(void *context, void *dst, size_t capacity, const void *src,
                         size_t size);
} lsmkv_codec;

enum { LSMKV_CODEC_NONE = 0, LSMKV_CODEC_ZSTD = 1, LSMKV_CODEC_COUNT = 8 };

/* Registers, or replaces, a codec for the whole process after a self-test round trip.
 * Databases open at that moment keep working: contexts remember the codec that made
 * them. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_register_codec(const lsmkv_codec *codec,
                                                             lsmkv_error *err);

/* The addresses of the libzstd functions that make up the native zstd codec, for
 * hosts that have them in a shared library. All must be non-NULL. */
typedef struct lsmkv_zstd_functions {
    void *create_cctx;   /* ZSTD_CCtx *ZSTD_createCCtx(void) */
    void *free_cctx;     /* size_t ZSTD_freeCCtx(ZSTD_CCtx *) */
    void *create_dctx;   /* ZSTD_DCtx *ZSTD_createDCtx(void) */
    void *free_dctx;     /* size_t ZSTD_freeDCtx(ZSTD_DCtx *) */
    void *set_parameter; /* size_t ZSTD_CCtx_setParameter(ZSTD_CCtx *, int, int) */
    void *compress2;     /* size_t ZSTD_compress2(cctx, dst, cap, src, size) */
    void *decompress;    /* size_t ZSTD_decompressDCtx(dctx, dst, cap, src, size) */
    void *bound;         /* size_t ZSTD_compressBound(size_t) */
    void *is_error;      /* unsigned ZSTD_isError(size_t) */
    void *version;       /* unsigned ZSTD_versionNumber(void) */
} lsmkv_zstd_functions;

LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_register_zstd(const lsmkv_zstd_functions *functions, lsmkv_error *err);

LSMKV_API uint64_t lsmkv_xxh3_64(const void *data, size_t size, uint64_t seed);

#endif
