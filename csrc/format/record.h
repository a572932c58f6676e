/* SPDX-License-Identifier: Apache-2.0
 *
 * Records: the framing shared by logs and MANIFESTs. Integers are little-endian.
 *
 * File header, 64 bytes:
 *    0 magic "LSMKVREC"      8 version u32           12 file type u32: 1 log,
 *                                                      2 MANIFEST, 3 value file,
 *                                                      4 cache segment
 *   16 database UUID, 16     32 file number u64      40 file id u64 (random)
 *   48 previous log's last sequence u64 (others: 0)
 *   56 checksum u64: XXH3-64 of bytes 0..55
 *
 * Record, at a multiple of 8:
 *    0 checksum u64: lsm_checksum(file id, offset of the record, bytes 8..end with
 *      padding)
 *    8 payload size u32      12 type u8 (1 batch, 2 mark, 3 edit, 4 pad, 5 values)
 *   13 zeros, 3
 *   16 synced_to u64: the file was durable up to here when this was written
 *   24 payload, zero-padded to a multiple of 8
 *
 * Records are contiguous: there are no blocks, because reading stops at the first bad
 * record anyway. A mark has no payload; one is appended, unsynced, after every sync.
 * A pad is zeros that move the next record of a log to a multiple of LSM_VALUE_ALIGN,
 * because it holds large values. Values: 40 zeros, then large values, each at a
 * multiple of LSM_VALUE_ALIGN of the file, zeros between and behind them.
 * Type 0 does not exist, so a zero-filled tail is the end of the file.
 *
 * The end: the first offset that holds no valid record. If any valid mark after it
 * says that the file was durable past that offset, synced data was damaged
 * (CORRUPTION); otherwise it is the unsynced tail of a crash and simply ends there.
 */
#ifndef LSM_FORMAT_RECORD_H
#define LSM_FORMAT_RECORD_H

#include "base/buf.h"
#include "base/slice.h"
#include "base/status.h"

enum {
    LSM_RECORD_FILE_HEADER_SIZE = 64,
    LSM_RECORD_HEADER_SIZE = 24,
    LSM_RECORD_ALIGN = 8,
    LSM_RECORD_VERSION = 1,
    LSM_RECORD_PAYLOAD_MAX = LSMKV_BATCH_SIZE_MAX, /* a larger size is not a record */
    LSM_UUID_SIZE = 16,
    /* Payload of a pad, at most. */
    LSM_RECORD_PAD_MAX = 64,
};

/* The UUIDs that files of a database may carry beside its own: those of the databases
 * from which files were linked into it. Ascending; borrowed. */
typedef struct lsm_uuids {
    const uint8_t (*list)[LSM_UUID_SIZE];
    size_t count;
} lsm_uuids;

bool lsm_uuids_have(lsm_uuids uuids, const uint8_t uuid[LSM_UUID_SIZE]);
/* As qsort wants it. */
int lsm_uuid_compare(const void *a, const void *b);

typedef enum lsm_record_file_type {
    LSM_FILE_NONE = 0, /* of a header that was not decoded */
    LSM_FILE_LOG = 1,
    LSM_FILE_MANIFEST = 2,
    LSM_FILE_VALUES = 3,
    LSM_FILE_CACHE = 4,
} lsm_record_file_type;

typedef enum lsm_record_type {
    LSM_RECORD_NONE = 0, /* never stored: there is no valid record */
    LSM_RECORD_BATCH = 1,
    LSM_RECORD_MARK = 2,
    LSM_RECORD_EDIT = 3,
    LSM_RECORD_PAD = 4,
    LSM_RECORD_VALUES = 5,
} lsm_record_type;

typedef struct lsm_record_file_header {
    lsm_record_file_type type;
    uint8_t uuid[LSM_UUID_SIZE];
    uint64_t number;
    uint64_t file_id;
    uint64_t previous_sequence;
} lsm_record_file_header;

void lsm_record_file_header_encode(const lsm_record_file_header *header,
                                   uint8_t to[LSM_RECORD_FILE_HEADER_SIZE]);
/* CORRUPTION when it is short, NOT_A_DATABASE for a wrong magic, CORRUPTION for a bad
 * checksum; with a right one UNSUPPORTED_VERSION for another version, or a type that
 * only a later version can have written. `file` is for the message. */
lsmkv_status lsm_record_file_header_decode(const uint8_t *from, size_t size,
                                           const char *file,
                                           lsm_record_file_header *header,
                                           lsmkv_error *err) LSM_MUST_CHECK;

static inline uint64_t lsm_record_size(uint64_t payload_size) {
    return LSM_RECORD_HEADER_SIZE + ((payload_size + 7) & ~UINT64_C(7));
}

/* The size of the pad with which a record at `offset` moves on to a multiple of
 * `align`, a power of two; 0: it need not. */
static inline uint64_t lsm_record_pad_size(uint64_t offset, uint64_t align) {
    uint64_t gap = (0 - offset) & (align - 1);
    return gap == 0 || gap >= LSM_RECORD_HEADER_SIZE ? gap : gap + align;
}

typedef struct lsm_record_place {
    uint64_t file_id;
    uint64_t offset;
    uint64_t synced_to;
} lsm_record_place;

/* `record` holds LSM_RECORD_HEADER_SIZE bytes of room, then payload_size bytes, then
 * room for the padding. Fills in header and padding. */
void lsm_record_seal(uint8_t *record, size_t payload_size, lsm_record_type type,
                     lsm_record_place place);

typedef struct lsm_record {
    lsm_record_type type;
    uint64_t offset;
    uint64_t synced_to;
    lsm_slice payload; /* borrowed from the bytes parsed */
    uint64_t size;     /* with header and padding */
} lsm_record;

/* Looks at the LSM_RECORD_HEADER_SIZE bytes of a header at `offset` alone: false when
 * no record begins so, else its size with header and padding, for a reader to fetch the
 * rest. */
bool lsm_record_peek(const uint8_t *header, uint64_t offset, uint64_t *size);

/* Parses the record that starts at `bytes`, which is at `offset` of the file. false:
 * there is no valid record here. */
bool lsm_record_parse(lsm_slice bytes, uint64_t file_id, uint64_t offset,
                      lsm_record *record);

#endif
