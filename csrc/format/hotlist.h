/* SPDX-License-Identifier: Apache-2.0
 *
 * Hot list: what a database had in memory, so that it can be brought back after a
 * restart. It is advice: nothing that it says is believed of any byte of the database,
 * and without it, or with a damaged one, a start is as cold as it was.
 *
 * Header, 64 bytes, integers little-endian:
 *    0 magic "LSMKVHOT"      8 version u32          12 zero u32
 *   16 database UUID, 16    32 size of what follows u64
 *   40 XXH3-64 of what follows u64                  48 zero u64
 *   56 checksum u64: XXH3-64 of bytes 0..55
 *
 * Then groups, each of a part of one file:
 *
 *   heat u8 | file number varint | gap varint+ | 0 | bytes varint
 *
 * A heat of 1 to 8 is that of data blocks of a table, 0 stands for the values of a
 * segment, also of a cache. The places in the file are `gap` apart, the first counted
 * from -1: numbers of blocks, or offsets of values in units of LSM_VALUE_ALIGN. `bytes`
 * is what all of the group take in their file. Groups come hottest first, so the values
 * last, and of equal heat in the order of their numbers.
 */
#ifndef LSM_FORMAT_HOTLIST_H
#define LSM_FORMAT_HOTLIST_H

#include "base/buf.h"
#include "base/coding.h"
#include "base/status.h"
#include "format/record.h"

enum {
    LSM_HOTLIST_HEADER_SIZE = 64,
    LSM_HOTLIST_VERSION = 1,
    LSM_HOTLIST_SIZE_MAX = 64 << 20, /* of the file; a larger one is not read */
    LSM_HOTLIST_HEAT_MAX = 8,
    LSM_HOTLIST_VALUES = 0, /* the heat that stands for values */
};

/* Zeroed memory is an empty list. */
typedef struct lsm_hotlist_part {
    lsm_buf groups; /* owned */
    uint64_t next;  /* the least place that the open group can still take */
    uint64_t bytes; /* of the open group */
    bool open;
} lsm_hotlist_part;

typedef struct lsm_hotlist_builder {
    lsm_hotlist_part parts[LSM_HOTLIST_HEAT_MAX + 1]; /* by heat */
    uint64_t bytes;                                   /* of all that was added */
} lsm_hotlist_builder;

void lsm_hotlist_builder_deinit(lsm_hotlist_builder *builder);
/* Adds a place of a file, which takes `bytes` there. The files of one kind come in the
 * order of their numbers, the places of one of them in theirs, whatever their heat. A
 * list that has grown too large leaves out the rest. false: no memory. */
bool lsm_hotlist_add(lsm_hotlist_builder *builder, uint8_t heat, uint64_t number,
                     uint32_t place, uint64_t bytes) LSM_MUST_CHECK;
/* Nothing more of the present file will come. false: no memory. */
bool lsm_hotlist_end(lsm_hotlist_builder *builder) LSM_MUST_CHECK;
/* Appends the whole file to `to`. false: no memory. */
bool lsm_hotlist_finish(const lsm_hotlist_builder *builder,
                        const uint8_t uuid[LSM_UUID_SIZE], lsm_buf *to) LSM_MUST_CHECK;

/* Checks all of a file and answers the groups in it, borrowed from it: else
 * CORRUPTION. That it is another database's, or of a later version, is no better. */
lsmkv_status lsm_hotlist_decode(lsm_slice file, const uint8_t uuid[LSM_UUID_SIZE],
                                lsm_slice *groups, lsmkv_error *err) LSM_MUST_CHECK;

typedef struct lsm_hotlist_group {
    uint8_t heat;
    uint64_t number;
    uint64_t bytes;
    uint32_t count;   /* of places; above 0 */
    lsm_slice places; /* for lsm_hotlist_next_place; borrowed */
} lsm_hotlist_group;

/* The next of the groups; false: that was the last one, or it is malformed. */
bool lsm_hotlist_next_group(lsm_reader *groups, lsm_hotlist_group *group);

/* Walks over the places of a group. */
typedef struct lsm_hotlist_cursor {
    lsm_reader gaps;
    uint64_t next;
} lsm_hotlist_cursor;

static inline lsm_hotlist_cursor lsm_hotlist_cursor_make(
    const lsm_hotlist_group *group) {
    return (lsm_hotlist_cursor){lsm_reader_make(group->places), 0};
}

/* false: that was the last one. */
bool lsm_hotlist_next_place(lsm_hotlist_cursor *cursor, uint32_t *place);

#endif
