/* SPDX-License-Identifier: Apache-2.0
 *
 * File names. Numbers are decimal, at least 6 digits, no superfluous zeros:
 *   LOCK   CURRENT   CURRENT.tmp   MANIFEST-000007   000012.log   000013.tbl
 *   000014.seg   000015.cache   HOTLIST   HOTLIST.tmp   STATS
 * CURRENT holds one line of exactly: "MANIFEST-000007 " + 16 hex digits + "\n", the
 * XXH3-64 of the bytes before the space.
 */
#ifndef LSM_FORMAT_FILENAME_H
#define LSM_FORMAT_FILENAME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "base/status.h"

enum { LSM_FILENAME_SIZE = 40, LSM_CURRENT_SIZE_MAX = 64 };

#define LSM_LOCK_NAME "LOCK"
#define LSM_CURRENT_NAME "CURRENT"
#define LSM_CURRENT_TEMP_NAME "CURRENT.tmp"
#define LSM_HOTLIST_NAME "HOTLIST"
#define LSM_HOTLIST_TEMP_NAME "HOTLIST.tmp"
#define LSM_STATS_NAME "STATS"

typedef enum lsm_file_kind {
    LSM_NAME_OTHER, /* not a canonical name of ours: never touched */
    LSM_NAME_LOCK,
    LSM_NAME_CURRENT,
    LSM_NAME_CURRENT_TEMP,
    LSM_NAME_MANIFEST,
    LSM_NAME_LOG,
    LSM_NAME_TABLE,
    LSM_NAME_SEGMENT,
    LSM_NAME_CACHE,
    LSM_NAME_HOTLIST,
    LSM_NAME_HOTLIST_TEMP,
    LSM_NAME_STATS,
} lsm_file_kind;

/* kind is MANIFEST, LOG, TABLE, SEGMENT or CACHE. */
void lsm_filename_make(char to[LSM_FILENAME_SIZE], lsm_file_kind kind, uint64_t number);
/* *number is 0 for names without one. Only the canonical spelling parses. */
lsm_file_kind lsm_filename_parse(const char *name, uint64_t *number);

/* The content of CURRENT; returns its size. */
size_t lsm_current_encode(char to[LSM_CURRENT_SIZE_MAX], uint64_t manifest_number);
lsmkv_status lsm_current_decode(lsm_slice content, uint64_t *manifest_number,
                                lsmkv_error *err) LSM_MUST_CHECK;

#endif
