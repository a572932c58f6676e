/* SPDX-License-Identifier: Apache-2.0
 *
 * The process-wide table of codecs and a small pool of contexts for each. The core
 * alone knows "none"; hosts register others (lsmkv_register_codec,
 * lsmkv_register_zstd). Contexts are borrowed for one call and given back; the pool
 * is a few atomic slots, without a lock. A context is never used with another
 * registration than the one that made it.
 */
#ifndef LSM_FORMAT_CODEC_H
#define LSM_FORMAT_CODEC_H

#include "base/buf.h"
#include "base/slice.h"
#include "base/status.h"

/* UNSUPPORTED_VERSION, with the fix in the text, when it is not registered. */
lsmkv_status lsm_codec_check(uint32_t id, lsmkv_error *err) LSM_MUST_CHECK;

/* Replaces the content of `to` by the compressed bytes. *smaller is false, and `to`
 * empty, when compressing does not save at least an eighth: store it raw. */
lsmkv_status lsm_codec_compress(uint32_t id, int level, lsm_slice raw, lsm_buf *to,
                                bool *smaller, lsmkv_error *err) LSM_MUST_CHECK;
/* Into exactly raw_size bytes. CORRUPTION when the bytes do not give that. */
lsmkv_status lsm_codec_decompress(uint32_t id, lsm_slice stored, uint8_t *raw,
                                  size_t raw_size, lsmkv_error *err) LSM_MUST_CHECK;

#endif
