/* SPDX-License-Identifier: Apache-2.0
 *
 * Decoding a block, and reading it once decoded.
 *
 * Decoding takes two passes over the stored entries. The first reads only the sizes: it
 * makes sure that everything lies inside the bytes given, so that the second can copy
 * without looking, and counts what is needed. The second writes whole keys one after
 * the other; the key before is then at hand for the prefix and for the order check,
 * which costs one byte comparison because `shared` must be all that agrees.
 */
#include "format/block.h"

#include <string.h>

#include "base/assert.h"
#include "base/mutant.h"

enum {
    ENTRY_ALIGN = 8,
    NUMBERS_SIZE_MAX = 4 * LSM_VARINT_SIZE_MAX + 1,
    OLDER_FOLLOWS = 1,
};

/* The numbers of a stored entry. */
typedef struct stored_entry {
    uint32_t shared;
    uint32_t unshared;
    uint32_t field_size;
    uint8_t tag;
    uint64_t step;        /* zigzag */
    const uint8_t *bytes; /* suffix, then field */
} stored_entry;

/* Where so few bytes are left that each must be looked for. */
static LSM_NOINLINE bool parse_last_entry(const uint8_t *at, const uint8_t *end,
                                          stored_entry *entry) {
    lsm_reader reader = lsm_reader_make(lsm_slice_make(at, (size_t)(end - at)));

    lsm_read_varint32(&reader, &entry->shared);
    lsm_read_varint32(&reader, &entry->unshared);
    lsm_read_varint32(&reader, &entry->field_size);
    lsm_read_u8(&reader, &entry->tag);
    lsm_read_varint(&reader, &entry->step);
    entry->bytes = reader.at;
    return !reader.failed;
}

/* A varint of which the first bytes are known to lie inside, up to NUMBERS_SIZE_MAX for
 * all of an entry's. Too long ones and superfluous zeros come out as UINT64_MAX, which
 * no number of an entry is. */
static inline uint64_t take_varint(const uint8_t **at) {
    const uint8_t *from = *at;
    uint64_t byte = *from++;
    uint64_t value = byte & 0x7F;

    for (unsigned shift = 7; byte >= 0x80; shift += 7) {
        byte = *from++;
        value |= (byte & 0x7F) << shift;
        if (LSM_UNLIKELY(byte == 0 || shift > 56)) {
            return UINT64_MAX;
        }
    }
    *at = from;
    return value;
}

/* Reads the numbers; false: malformed. Whether suffix and field lie before `end` is for
 * the caller to check. */
static inline bool parse_entry(const uint8_t *at, const uint8_t *end,
                               stored_entry *entry) {
    uint64_t shared = 0;
    uint64_t unshared = 0;
    uint64_t field_size = 0;

    if (LSM_UNLIKELY(end - at < NUMBERS_SIZE_MAX)) {
        return parse_last_entry(at, end, entry);
    }
    shared = take_varint(&at);
    unshared = take_varint(&at);
    field_size = take_varint(&at);
    entry->tag = *at++;
    entry->step = take_varint(&at);
    entry->shared = (uint32_t)shared;
    entry->unshared = (uint32_t)unshared;
    entry->field_size = (uint32_t)field_size;
    entry->bytes = at;
    return (shared | unshared | field_size) <= UINT32_MAX && entry->step != UINT64_MAX;
}

/* Bytes of a decoded entry. */
static inline uint64_t entry_span(uint64_t skey_size, uint64_t field_size) {
    uint64_t size =
        LSM_BLOCK_ENTRY_HEADER_SIZE + skey_size + LSM_TRAILER_SIZE + field_size;

    return (size + ENTRY_ALIGN - 1) & ~(uint64_t)(ENTRY_ALIGN - 1);
}

/* Where the entries begin. */
static inline uint32_t tables_size(uint32_t slot_count, uint32_t entry_count) {
    uint32_t size = 2 * slot_count + 4 * entry_count;

    return (size + ENTRY_ALIGN - 1) & ~(uint32_t)(ENTRY_ALIGN - 1);
}

/* A power of two that leaves a quarter of the slots free, or more. */
static uint32_t pick_slot_count(uint32_t key_count) {
    uint32_t count = 4;

    while (count - count / 4 < key_count) {
        count *= 2;
    }
    return count;
}

bool lsm_block_measure(lsm_slice raw, bool hashed, lsm_block_shape *shape) {
    const uint8_t *at = raw.data;
    const uint8_t *end = raw.data + raw.size;
    uint64_t last_begin = 0;
    uint64_t span = 0;
    uint32_t skey_size = 0;
    uint32_t key_count = 0;

    *shape = (lsm_block_shape){0};
    if (raw.size == 0 || raw.size > LSM_BLOCK_RAW_SIZE_MAX) {
        return false;
    }
    while (at < end) {
        stored_entry entry;

        if (!parse_entry(at, end, &entry) || entry.shared > skey_size ||
            (uint64_t)entry.unshared + entry.field_size >
                (uint64_t)(end - entry.bytes) ||
            entry.unshared > LSM_SKEY_SIZE_MAX || span >= LSM_BLOCK_SPAN_MAX) {
            return false;
        }
        skey_size = entry.shared + entry.unshared;
        if (skey_size < LSM_NAMESPACE_SIZE || skey_size > LSM_SKEY_SIZE_MAX) {
            return false;
        }
        last_begin = span;
        span += entry_span(skey_size, entry.field_size);
        key_count += entry.unshared != 0;
        shape->entry_count++;
        at = entry.bytes + entry.unshared + entry.field_size;
    }
    shape->slot_count = hashed ? pick_slot_count(key_count) : 0;
    uint32_t begin = tables_size(shape->slot_count, shape->entry_count);
    shape->unit_max = (uint32_t)((begin + last_begin) / ENTRY_ALIGN);
    shape->size = (uint32_t)(begin + span);
    return shape->unit_max <= UINT16_MAX;
}

/* Copies in steps of eight bytes, up to seven too many on both sides. */
static inline void copy_roughly(uint8_t *to, const uint8_t *from, size_t size) {
    for (size_t i = 0; i < size; i += 8) {
        memcpy(to + i, from + i, 8);
    }
}

/* What the second pass carries from entry to entry. */
typedef struct decoder {
    const uint8_t *end; /* of the stored entries */
    uint8_t *data;
    uint32_t slot_count;
    uint8_t unit_bits;
    uint8_t *before; /* the decoded entry before; NULL at the first */
    uint32_t before_skey_size;
    uint64_t before_trailer;
} decoder;

static inline void put_number(uint8_t *table, size_t index, uint32_t value) {
    lsm_put_u16(table + 2 * index, (uint16_t)value);
}

/* The part of a hash that a slot keeps, in place. */
static inline uint16_t slot_fingerprint(uint64_t hash, uint8_t unit_bits) {
    return (uint16_t)((hash >> 40) << unit_bits);
}

static void fill_slot(decoder *to, lsm_slice skey, uint32_t unit) {
    uint64_t hash = lsm_xxh3(skey.data, skey.size);
    uint32_t mask = to->slot_count - 1;
    uint32_t slot = (uint32_t)hash & mask;

    while (lsm_block_number(to->data, slot) != 0) {
        slot = (slot + 1) & mask;
    }
    unit += LSM_MUTANT(STALE_BLOCK_SLOT) && hash % 64 == 0;
    put_number(to->data, slot, slot_fingerprint(hash, to->unit_bits) | unit);
}

/* Whether the entry, decoded at `key`, may follow the one before; marks that one when
 * it is a newer version of the same key. */
static inline bool check_order(decoder *to, const stored_entry *entry,
                               const uint8_t *key, uint64_t trailer) {
    const uint8_t *before_key = to->before + LSM_BLOCK_ENTRY_HEADER_SIZE;

    if (entry->unshared == 0) {
        lsm_put_u16(to->before + 6, OLDER_FOLLOWS);
        return entry->shared == to->before_skey_size && trailer < to->before_trailer;
    }
    return entry->shared == to->before_skey_size ||
           key[entry->shared] > before_key[entry->shared];
}

/* Writes the entry at `header`. false: malformed. */
static inline bool decode_entry(decoder *to, const stored_entry *entry,
                                uint8_t *header) {
    uint32_t skey_size = entry->shared + entry->unshared;
    uint8_t *key = header + LSM_BLOCK_ENTRY_HEADER_SIZE;
    uint8_t *field = key + skey_size + LSM_TRAILER_SIZE;
    uint64_t step = entry->step >> 1 ^ (0 - (entry->step & 1));
    uint64_t sequence = lsm_trailer_sequence(to->before_trailer) + step;
    uint64_t trailer = lsm_trailer_make(sequence, entry->tag);

    lsm_put_u32(header, entry->field_size);
    lsm_put_u16(header + 4, (uint16_t)(skey_size - LSM_NAMESPACE_SIZE));
    lsm_put_u16(header + 6, 0);
    /* Behind either key there are the eight bytes of its trailer. */
    if (to->before != NULL) {
        copy_roughly(key, to->before + LSM_BLOCK_ENTRY_HEADER_SIZE, entry->shared);
    }
    if (LSM_LIKELY(to->end - entry->bytes >= entry->unshared + 8)) {
        copy_roughly(key + entry->shared, entry->bytes, entry->unshared);
    } else {
        memcpy(key + entry->shared, entry->bytes, entry->unshared);
    }
    lsm_put_u64(key + skey_size, trailer);
    memcpy(field, entry->bytes + entry->unshared, entry->field_size);
    if (sequence > LSM_SEQUENCE_MAX ||
        (to->before != NULL && !check_order(to, entry, key, trailer))) {
        return false;
    }
    to->before = header;
    to->before_skey_size = skey_size;
    to->before_trailer = trailer;
    return entry->tag == LSM_KIND_PUT ||
           lsm_record_check(entry->tag, lsm_slice_make(field, entry->field_size));
}

/* The two bytes of a stored key after `common`, zeros where it ends. */
static inline uint16_t key_prefix(lsm_slice skey, uint32_t common) {
    uint32_t high = common < skey.size ? skey.data[common] : 0;
    uint32_t low = common + 1 < skey.size ? skey.data[common + 1] : 0;

    return (uint16_t)(high << 8 | low);
}

static inline const uint8_t *block_prefixes(const lsm_block *block) {
    return block->data + 2 * (size_t)block->slot_count;
}

static inline lsm_slice block_skey(const lsm_block *block, uint32_t index) {
    return lsm_ikey_skey(lsm_block_entry_get(block, index).ikey);
}

static void fill_prefixes(lsm_block *block, uint8_t *prefixes) {
    lsm_slice last = block_skey(block, block->entry_count - 1);

    block->common = (uint32_t)lsm_slice_common(block_skey(block, 0), last);
    for (uint32_t i = 0; i < block->entry_count; i++) {
        put_number(prefixes, i, key_prefix(block_skey(block, i), block->common));
    }
}

bool lsm_block_decode(lsm_slice raw, const lsm_block_shape *shape, uint8_t *data,
                      lsm_block *block) {
    const uint8_t *end = raw.data + raw.size;
    const uint8_t *at = raw.data;
    uint8_t *prefixes = data + 2 * (size_t)shape->slot_count;
    uint8_t *units = prefixes + 2 * (size_t)shape->entry_count;
    uint8_t *header = data + tables_size(shape->slot_count, shape->entry_count);
    decoder to = {.end = end, .data = data, .slot_count = shape->slot_count};

    LSM_ASSERT(((uintptr_t)data & (ENTRY_ALIGN - 1)) == 0);
    while (shape->unit_max >> to.unit_bits != 0) {
        to.unit_bits++;
    }
    memset(data, 0, 2 * (size_t)shape->slot_count);
    for (uint32_t i = 0; i < shape->entry_count; i++) {
        uint32_t unit = (uint32_t)((size_t)(header - data) / ENTRY_ALIGN);
        stored_entry entry;

        if (!parse_entry(at, end, &entry) || /* unreachable: measured before */
            !decode_entry(&to, &entry, header)) {
            return false;
        }
        put_number(units, i, unit);
        if (shape->slot_count != 0 && entry.unshared != 0) {
            fill_slot(&to,
                      lsm_slice_make(header + LSM_BLOCK_ENTRY_HEADER_SIZE,
                                     to.before_skey_size),
                      unit);
        }
        header += entry_span(to.before_skey_size, entry.field_size);
        at = entry.bytes + entry.unshared + entry.field_size;
    }
    *block = (lsm_block){.data = data,
                         .entry_count = shape->entry_count,
                         .slot_count = shape->slot_count,
                         .size = shape->size,
                         .unit_bits = to.unit_bits};
    fill_prefixes(block, prefixes);
    return true;
}

void lsm_block_cursor_open(lsm_block_cursor *cursor, lsm_slice raw) {
    cursor->at = raw.data;
    cursor->end = raw.data + raw.size;
    cursor->first = true;
}

void lsm_block_cursor_deinit(lsm_block_cursor *cursor) {
    lsm_buf_deinit(&cursor->key);
    lsm_buf_deinit(&cursor->before);
    *cursor = (lsm_block_cursor){0};
}

/* Makes `before` the current key and `key` the one of `entry`. */
static bool build_key(lsm_block_cursor *cursor, const stored_entry *entry,
                      uint64_t trailer) {
    lsm_buf key = cursor->before;

    cursor->before = cursor->key;
    lsm_buf_clear(&key);
    cursor->failed = !lsm_buf_append(&key, cursor->before.data, entry->shared) ||
                     !lsm_buf_append(&key, entry->bytes, entry->unshared) ||
                     !lsm_buf_append_u64(&key, trailer);
    cursor->key = key;
    return !cursor->failed;
}

bool lsm_block_cursor_next(lsm_block_cursor *cursor) {
    size_t shared_max = 0;
    uint64_t before_sequence = 0;
    stored_entry entry;

    /* After a failure the key is not a whole one. */
    if (cursor->at == cursor->end || cursor->corrupt || cursor->failed) {
        return false;
    }
    if (!cursor->first) {
        lsm_slice before = lsm_buf_slice(&cursor->key);
        shared_max = lsm_ikey_skey(before).size;
        before_sequence = lsm_trailer_sequence(lsm_ikey_trailer(before));
    }
    cursor->corrupt = !parse_entry(cursor->at, cursor->end, &entry) ||
                      entry.shared > shared_max || entry.unshared > LSM_SKEY_SIZE_MAX ||
                      (uint64_t)entry.unshared + entry.field_size >
                          (uint64_t)(cursor->end - entry.bytes);
    if (cursor->corrupt) {
        return false;
    }
    uint64_t sequence = before_sequence + (entry.step >> 1 ^ (0 - (entry.step & 1)));
    if (!build_key(cursor, &entry, lsm_trailer_make(sequence, entry.tag))) {
        return false;
    }
    cursor->corrupt = sequence > LSM_SEQUENCE_MAX ||
                      !lsm_ikey_check(lsm_buf_slice(&cursor->key)) ||
                      (cursor->before.size != 0 &&
                       lsm_ikey_compare(lsm_buf_slice(&cursor->before),
                                        lsm_buf_slice(&cursor->key)) >= 0);
    cursor->field = lsm_slice_make(entry.bytes + entry.unshared, entry.field_size);
    cursor->at = entry.bytes + entry.unshared + entry.field_size;
    cursor->first = false;
    return !cursor->corrupt;
}

/* The version a reader at `sequence` sees, when the newest is too new for it. */
static LSM_NOINLINE lsmkv_status get_older(const lsm_block *block,
                                           const lsm_lookup *lookup, lsm_found *found) {
    uint32_t index = lsm_block_seek(block, lookup->skey,
                                    lsm_trailer_make(lookup->sequence, LSM_TAG_SEEK));
    lsm_block_entry entry;

    if (index == block->entry_count) {
        return LSMKV_NOT_FOUND;
    }
    entry = lsm_block_entry_get(block, index);
    if (!lsm_slice_equal(lsm_ikey_skey(entry.ikey), lookup->skey)) {
        return LSMKV_NOT_FOUND;
    }
    *found = (lsm_found){lsm_ikey_trailer(entry.ikey), entry.field};
    return LSMKV_OK;
}

lsmkv_status lsm_block_get(const lsm_block *block, const lsm_lookup *lookup,
                           lsm_found *found) {
    uint32_t mask = block->slot_count - 1;
    uint32_t unit_mask = ((uint32_t)1 << block->unit_bits) - 1;
    uint16_t fingerprint = slot_fingerprint(lookup->hash, block->unit_bits);
    uint32_t slot = (uint32_t)lookup->hash & mask;

    LSM_ASSERT(block->slot_count != 0);
    for (;; slot = (slot + 1) & mask) {
        uint32_t value = lsm_block_number(block->data, slot);
        const uint8_t *header = block->data + ENTRY_ALIGN * (size_t)(value & unit_mask);
        lsm_block_entry entry;

        if (value == 0) {
            return LSMKV_NOT_FOUND;
        }
        if ((value & ~unit_mask) != fingerprint) {
            continue;
        }
        /* The value follows; whoever finds it copies it. */
        LSM_PREFETCH(header + LSM_CACHE_LINE);
        entry = lsm_block_entry_at(header);
        if (!lsm_slice_equal(lsm_ikey_skey(entry.ikey), lookup->skey)) {
            continue;
        }
        found->trailer = lsm_ikey_trailer(entry.ikey);
        found->field = entry.field;
        if (LSM_LIKELY(lsm_trailer_sequence(found->trailer) <= lookup->sequence) ||
            LSM_MUTANT(SLOT_IGNORES_SNAPSHOT)) {
            return LSMKV_OK;
        }
        return lsm_get_u16(header + 6) == OLDER_FOLLOWS
                   ? get_older(block, lookup, found)
                   : LSMKV_NOT_FOUND;
    }
}

void lsm_block_prefetch(const lsm_block *block, uint64_t hash) {
    uint32_t slot = (uint32_t)hash & (block->slot_count - 1);
    uint32_t value = lsm_block_number(block->data, slot);
    uint32_t unit_mask = ((uint32_t)1 << block->unit_bits) - 1;
    const uint8_t *header = block->data + ENTRY_ALIGN * (size_t)(value & unit_mask);

    LSM_PREFETCH(header);
    LSM_PREFETCH(header + LSM_CACHE_LINE);
}

/* The first index whose prefix is >= x. */
static inline uint32_t seek_prefix(const lsm_block *block, uint32_t x) {
    const uint8_t *prefixes = block_prefixes(block);
    uint32_t base = 0;
    uint32_t count = block->entry_count;

    while (count > 1) {
        uint32_t half = count / 2;
        uint32_t below = lsm_block_number(prefixes, base + half - 1) < x;

        base += below * half;
        count -= half;
    }
    return base + (lsm_block_number(prefixes, base) < x);
}

/* < 0: the entry lies before (skey, trailer). */
static int compare_entry(const lsm_block *block, uint32_t index, lsm_slice skey,
                         uint64_t trailer) {
    lsm_slice ikey = lsm_block_entry_get(block, index).ikey;
    int order = lsm_slice_compare(lsm_ikey_skey(ikey), skey);
    uint64_t other = lsm_ikey_trailer(ikey);

    return order != 0 ? order : (other < trailer) - (other > trailer);
}

uint32_t lsm_block_seek(const lsm_block *block, lsm_slice skey, uint64_t trailer) {
    lsm_slice first = block_skey(block, 0);
    size_t least = block->common < skey.size ? block->common : skey.size;
    int order = memcmp(skey.data, first.data, least);
    uint32_t low = 0;
    uint32_t high = 0;
    uint32_t prefix = 0;

    if (order != 0 || skey.size < block->common) {
        return order > 0 ? block->entry_count : 0;
    }
    prefix = key_prefix(skey, block->common);
    low = seek_prefix(block, prefix);
    high = seek_prefix(block, prefix + 1);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (compare_entry(block, middle, skey, trailer) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
