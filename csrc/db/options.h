/* SPDX-License-Identifier: Apache-2.0
 *
 * Options with every default filled in and every limit checked. What shapes the files
 * is remembered in the system namespace under LSM_OPTIONS_KEY:
 *   version u8 (1) | (tag varint, value varint)*, tags ascending
 */
#ifndef LSM_DB_OPTIONS_H
#define LSM_DB_OPTIONS_H

#include "base/buf.h"
#include "base/status.h"

#define LSM_OPTIONS_KEY "options"

typedef struct lsm_options {
    lsmkv_options given; /* as passed to open; memory_bytes etc. resolved */
    uint32_t block_bytes;
    uint32_t bloom_bits_per_key;
    uint32_t codec;
    int32_t codec_level;
    uint64_t table_bytes;
    uint64_t level_base_bytes;
    uint32_t level_multiplier;
    uint32_t l0_compact_trigger;
    uint32_t l0_slowdown; /* tables in level 0 that delay a write */
    uint32_t l0_stop;     /* and that stop it */
    uint64_t memtable_bytes;
    uint64_t log_bytes;
    size_t blob_threshold; /* SIZE_MAX: no value is stored apart */
    bool mapping;
    uint64_t cache_bytes;
    uint32_t max_open_files;
    uint64_t manifest_bytes_max; /* rewrite the MANIFEST past this */
    bool changed;                /* lsm_options_recall found another value remembered */
} lsm_options;

/* Checks `given` and fills in the defaults, as if nothing was remembered. */
lsmkv_status lsm_options_resolve(const lsmkv_options *given, lsm_options *options,
                                 lsmkv_error *err) LSM_MUST_CHECK;
/* Fills what `given` left open from the remembered value. CORRUPTION when it is
 * malformed. */
lsmkv_status lsm_options_recall(lsm_options *options, lsm_slice remembered,
                                lsmkv_error *err) LSM_MUST_CHECK;
/* What is in force, every field resolved: an open that is given it finds the same. */
void lsm_options_describe(const lsm_options *options, lsmkv_options *to);
/* The value to remember. false: no memory. */
bool lsm_options_encode(const lsm_options *options, lsm_buf *to) LSM_MUST_CHECK;

#endif
