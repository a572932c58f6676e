/* SPDX-License-Identifier: Apache-2.0
 *
 * Footer: the last 128 bytes of a table. With the tail size in the MANIFEST, one read
 * brings filter, index, properties and footer: everything needed to use the table.
 *
 *    0 magic "LSMKVTBL"      8 version u32           12 feature bits u32 (zero)
 *   16 database UUID, 16     32 file number u64      40 file id u64
 *   48 tail offset u64: the data blocks end here, filter and index blocks begin
 *   56 top index, 16: offset u64, size u64 of its payload (0, 0: no entries)
 *   72 filter, 16 (0, 0: none)
 *   88 properties, 16
 *  104 range deletes, 16 (0, 0: none)
 *  120 checksum u64: XXH3-64 of bytes 0..119
 *
 * Properties: (tag varint, size varint, bytes)*, tags ascending; unknown tags are
 * skipped, absent ones are 0. The known ones are varints:
 *   1 data blocks   2 entries   3 tombstones   4 raw key bytes   5 raw value bytes
 *   6 smallest sequence   7 largest sequence   8 index blocks (1: the top index points
 *   at data blocks itself)   9 earliest expire_at   10 latest expire_at
 *   11 range delete fragments
 */
#ifndef LSM_FORMAT_FOOTER_H
#define LSM_FORMAT_FOOTER_H

#include "base/buf.h"
#include "base/status.h"
#include "format/block.h"
#include "format/record.h"

enum { LSM_FOOTER_SIZE = 128, LSM_TABLE_VERSION = 1 };

typedef struct lsm_footer {
    uint8_t uuid[LSM_UUID_SIZE];
    uint64_t number;
    uint64_t file_id;
    uint64_t tail_offset;
    lsm_block_handle index;
    lsm_block_handle filter;
    lsm_block_handle properties;
    lsm_block_handle range_deletes;
} lsm_footer;

void lsm_footer_encode(const lsm_footer *footer, uint8_t to[LSM_FOOTER_SIZE]);
/* Checks magic, version, checksum and that every handle lies in the tail of a file of
 * `file_size` bytes. */
lsmkv_status lsm_footer_decode(const uint8_t *from, uint64_t file_size,
                               const char *file, lsm_footer *footer,
                               lsmkv_error *err) LSM_MUST_CHECK;

typedef struct lsm_properties {
    uint64_t data_block_count;
    uint64_t entry_count;
    uint64_t tombstone_count;
    uint64_t key_bytes;
    uint64_t value_bytes;
    uint64_t sequence_min;
    uint64_t sequence_max;
    uint64_t index_block_count;
    uint64_t expire_min; /* 0: nothing expires */
    uint64_t expire_max;
    uint64_t range_delete_count;
} lsm_properties;

bool lsm_properties_encode(const lsm_properties *properties,
                           lsm_buf *to) LSM_MUST_CHECK;
bool lsm_properties_decode(lsm_slice bytes, lsm_properties *properties);

#endif
