/* SPDX-License-Identifier: Apache-2.0
 *
 * Block: a run of sorted (internal key, value field) entries, the unit of reading,
 * caching and checksumming in a table. It has two forms.
 *
 * In a file it is as small as we can make it and can only be read from its start:
 *
 *   entry*   shared varint | unshared varint | field size varint | tag u8
 *            | sequence step varint | stored key suffix | value field
 *
 * `shared` bytes of the stored key are those of the entry before (as many as agree;
 * all of them, and no suffix, for an older version of the same key). The step is the
 * zigzag code of the sequence minus that of the entry before (of the first entry:
 * minus 0). There is at least one entry. Behind it comes its frame, 16 bytes, that says
 * how it was stored:
 *
 *   raw size u32 | codec u8 | type u8 | zero u16 | checksum u64
 *
 * The checksum is lsm_checksum(file id, offset, payload and the first 8 bytes).
 *
 * In memory (never in a file) it is as quick to search as we can make it, and was
 * checked completely when it was decoded:
 *
 *   slots    u16 x slot_count (a power of two, or none): hash table of the newest
 *            version of every stored key; place = hash & (slot_count - 1), then the
 *            next ones; value = fingerprint << unit_bits | unit, 0: empty
 *   prefixes u16 x entry_count: the two bytes of each stored key, big-endian, after
 *            the `common` ones that all keys of the block begin with
 *   units    u16 x entry_count: where each entry begins, in multiples of 8 bytes
 *   entry*   at multiples of 8: field size u32 | size of the stored key less its
 *            namespace u16 | 1 if an older version follows, else 0, u16
 *            | internal key | value field
 *
 * So a point read touches a line of slots and the entry, and the neighbour of an entry
 * in either direction is found without rebuilding keys. Units have 16 bits: in memory
 * every entry begins below LSM_BLOCK_SPAN_MAX; the builder says when a block is full.
 * Index blocks are never decoded, only walked over.
 *
 * Invariants: internal keys strictly increase. Threads: a decoded block is immutable.
 * Ownership: lsm_block borrows its bytes.
 */
#ifndef LSM_FORMAT_BLOCK_H
#define LSM_FORMAT_BLOCK_H

#include "base/buf.h"
#include "base/status.h"
#include "base/xxh3.h"
#include "format/ikey.h"

enum {
    LSM_BLOCK_FRAME_SIZE = 16,
    LSM_BLOCK_HANDLE_SIZE_MAX = 2 * LSM_VARINT_SIZE_MAX,
    LSM_BLOCK_SPAN_MAX = 8 << 16,
    LSM_BLOCK_RAW_SIZE_MAX = (1 << 30) + (1 << 22), /* one entry of maximal size */
    LSM_BLOCK_ENTRY_HEADER_SIZE = 8,
};

typedef enum lsm_block_type {
    LSM_BLOCK_DATA = 1,
    LSM_BLOCK_INDEX = 2,     /* separator -> handle of a data block */
    LSM_BLOCK_TOP_INDEX = 3, /* separator -> handle of an index block */
    LSM_BLOCK_FILTER = 4,
    LSM_BLOCK_PROPERTIES = 5,
    LSM_BLOCK_RANGE_DELETES = 6,
} lsm_block_type;

/* Where a block's payload lies; its frame follows it. */
typedef struct lsm_block_handle {
    uint64_t offset;
    uint64_t size;
} lsm_block_handle;

/* Two varints; returns their size. */
size_t lsm_block_handle_encode(lsm_block_handle handle,
                               uint8_t to[LSM_BLOCK_HANDLE_SIZE_MAX]);
bool lsm_block_handle_decode(lsm_slice bytes, lsm_block_handle *handle);

typedef struct lsm_block_builder {
    lsm_buf data;     /* the entries so far; owned */
    lsm_buf last_key; /* internal key added last, kept across clear; owned */
    uint64_t last_sequence;
    uint64_t span;   /* at least what the block takes in memory */
    bool key_is_new; /* the key added last is no older version of the one before */
} lsm_block_builder;

void lsm_block_builder_init(lsm_block_builder *builder);
void lsm_block_builder_deinit(lsm_block_builder *builder);
/* OK, NO_MEMORY, or CORRUPTION when ikey is not greater than the key before it, also
 * across blocks. The builder is unusable after a failure. */
lsmkv_status lsm_block_builder_add(lsm_block_builder *builder, lsm_slice ikey,
                                   lsm_slice field) LSM_MUST_CHECK;
/* The block has reached `target` bytes, or takes too much memory for that. A data block
 * must be cut then. */
bool lsm_block_builder_full(const lsm_block_builder *builder, size_t target);
/* The block; lent until clear. */
static inline lsm_slice lsm_block_builder_finish(const lsm_block_builder *builder) {
    return lsm_buf_slice(&builder->data);
}
void lsm_block_builder_clear(lsm_block_builder *builder);

/* What a block needs in memory. */
typedef struct lsm_block_shape {
    uint32_t entry_count;
    uint32_t slot_count;
    uint32_t unit_max; /* of the last entry */
    uint32_t size;     /* bytes lsm_block_decode writes */
} lsm_block_shape;

typedef struct lsm_block {
    const uint8_t *data; /* slots, prefixes, units, entries; borrowed */
    uint32_t entry_count;
    uint32_t slot_count; /* 0: not for point reads */
    uint32_t size;       /* bytes of data */
    uint32_t common;
    uint8_t unit_bits;
} lsm_block;

/* Checks that the entries lie inside raw and sizes up the decoded form, with slots if
 * `hashed`. false: malformed. */
bool lsm_block_measure(lsm_slice raw, bool hashed, lsm_block_shape *shape);
/* Decodes a data block into shape->size bytes at `data`, aligned to 8. Checks order and
 * kinds of records. false: malformed. */
bool lsm_block_decode(lsm_slice raw, const lsm_block_shape *shape, uint8_t *data,
                      lsm_block *block);

/* Point read: OK and the newest version of lookup->skey at or below lookup->sequence,
 * or NOT_FOUND. */
lsmkv_status lsm_block_get(const lsm_block *block, const lsm_lookup *lookup,
                           lsm_found *found);
/* Touches the entry that lsm_block_get will most likely read. */
void lsm_block_prefetch(const lsm_block *block, uint64_t hash);
/* The index of the first entry at or after (skey, trailer); entry_count: none. */
uint32_t lsm_block_seek(const lsm_block *block, lsm_slice skey, uint64_t trailer);

typedef struct lsm_block_entry {
    lsm_slice ikey; /* both borrowed from the block */
    lsm_slice field;
} lsm_block_entry;

static inline lsm_block_entry lsm_block_entry_at(const uint8_t *header) {
    const uint8_t *ikey = header + LSM_BLOCK_ENTRY_HEADER_SIZE;
    size_t size = lsm_get_u16(header + 4) + (size_t)LSM_IKEY_SIZE_MIN;

    return (lsm_block_entry){lsm_slice_make(ikey, size),
                             lsm_slice_make(ikey + size, lsm_get_u32(header))};
}

/* A number out of one of the tables in front of the entries. */
static inline uint32_t lsm_block_number(const uint8_t *table, size_t index) {
    return lsm_get_u16(table + 2 * index);
}

/* The entry at an index below entry_count. */
static inline lsm_block_entry lsm_block_entry_get(const lsm_block *block,
                                                  uint32_t index) {
    const uint8_t *units =
        block->data + 2 * ((size_t)block->slot_count + block->entry_count);

    return lsm_block_entry_at(block->data + 8 * (size_t)lsm_block_number(units, index));
}

/* Walks over the stored form from its start; for index blocks, which may have any size
 * and are read once. Zeroed memory is a cursor at the end of nothing. */
typedef struct lsm_block_cursor {
    const uint8_t *at; /* borrowed */
    const uint8_t *end;
    lsm_buf key;     /* internal key of the current entry; owned */
    lsm_buf before;  /* that of the entry before; owned */
    lsm_slice field; /* of the current entry; borrowed */
    bool first;      /* the next entry begins the block */
    bool corrupt;    /* a malformed or misplaced entry was met */
    bool failed;     /* no memory for the key */
} lsm_block_cursor;

/* In front of the first entry of another block; keys must go on ascending from the
 * block before, if any. */
void lsm_block_cursor_open(lsm_block_cursor *cursor, lsm_slice raw);
void lsm_block_cursor_deinit(lsm_block_cursor *cursor);
/* false: no further entry, corrupt or failed. */
bool lsm_block_cursor_next(lsm_block_cursor *cursor);

/* The frame behind a stored block. */
typedef struct lsm_block_frame {
    uint32_t raw_size;
    uint8_t codec;
    lsm_block_type type;
} lsm_block_frame;

/* `stored` is the payload with room for the frame behind it. */
void lsm_block_frame_seal(uint8_t *stored, size_t payload_size, lsm_block_frame frame,
                          uint64_t file_id, uint64_t offset);
/* `stored` is payload and frame as read. false: checksum, reserved bits, type or raw
 * size are wrong (an uncompressed block's raw size is its payload size). */
bool lsm_block_frame_open(lsm_slice stored, uint64_t file_id, uint64_t offset,
                          lsm_block_frame *frame);
/* The same for a block that begins where the prefix does, whose payload is not shorter
 * than in the call before: for who looks for the end. */
bool lsm_block_frame_open_after(lsm_xxh3_prefix *prefix, size_t payload_size,
                                uint64_t file_id, uint64_t offset,
                                lsm_block_frame *frame);

#endif
