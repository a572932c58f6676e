/* SPDX-License-Identifier: Apache-2.0
 *
 * Targets: data blocks against the second reader and the builder, index blocks, range
 * deletes against a search that looks at all of them.
 */
#include <stdlib.h>
#include <string.h>

#include "format/block.h"
#include "naive.h"
#include "table/range_set.h"
#include "targets.h"

enum { LOOKUPS_MAX = 64, DECODED_MAX = 4 << 20 };

/* The builder makes the same bytes of what was read: there is one form only. */
static void check_rebuilt(lsm_slice raw, const lsm_block *block) {
    lsm_block_builder builder;

    lsm_block_builder_init(&builder);
    for (uint32_t i = 0; i < block->entry_count; i++) {
        lsm_block_entry entry = lsm_block_entry_get(block, i);

        FUZZ_CHECK(lsm_block_builder_add(&builder, entry.ikey, entry.field) ==
                   LSMKV_OK);
    }
    FUZZ_CHECK(lsm_slice_equal(lsm_block_builder_finish(&builder), raw));
    lsm_block_builder_deinit(&builder);
}

static size_t count_before(const lsm_block *block, lsm_slice skey, uint64_t trailer) {
    size_t count = 0;

    for (uint32_t i = 0; i < block->entry_count; i++) {
        lsm_slice ikey = lsm_block_entry_get(block, i).ikey;
        int order = lsm_slice_compare(lsm_ikey_skey(ikey), skey);

        count += order < 0 || (order == 0 && lsm_ikey_trailer(ikey) > trailer);
    }
    return count;
}

/* Looks a key up in all ways, at a sequence. */
static void check_lookup(const lsm_block *block, lsm_slice skey, uint64_t sequence) {
    lsm_lookup lookup = lsm_lookup_make(skey, sequence);
    uint64_t trailer = lsm_trailer_make(sequence, LSM_TAG_SEEK);
    size_t expected = count_before(block, skey, trailer);
    lsm_found found = {0};
    lsm_block_entry entry = {{NULL, 0}, {NULL, 0}};
    bool there = false;

    FUZZ_CHECK(lsm_block_seek(block, skey, trailer) == expected);
    if (expected < block->entry_count) {
        entry = lsm_block_entry_get(block, (uint32_t)expected);
        there = lsm_slice_equal(lsm_ikey_skey(entry.ikey), skey);
    }
    if (block->slot_count == 0) {
        return;
    }
    lsm_block_prefetch(block, lookup.hash);
    FUZZ_CHECK(lsm_block_get(block, &lookup, &found) ==
               (there ? LSMKV_OK : LSMKV_NOT_FOUND));
    FUZZ_CHECK(!there || (found.trailer == lsm_ikey_trailer(entry.ikey) &&
                          lsm_slice_equal(found.field, entry.field)));
}

/* Looks for keys of the block, and for others near them. */
static void check_lookups(const lsm_block *block) {
    uint32_t stride = 1 + block->entry_count / LOOKUPS_MAX;
    uint8_t key[LSM_SKEY_SIZE_MAX];

    for (uint32_t i = 0; i < block->entry_count; i += stride) {
        lsm_slice ikey = lsm_block_entry_get(block, i).ikey;
        lsm_slice skey = lsm_ikey_skey(ikey);
        uint64_t sequence = lsm_trailer_sequence(lsm_ikey_trailer(ikey));

        check_lookup(block, skey, sequence);
        check_lookup(block, skey, LSM_SEQUENCE_MAX);
        check_lookup(block, skey, sequence == 0 ? 0 : sequence - 1);
        memcpy(key, skey.data, skey.size);
        key[skey.size - 1]++;
        check_lookup(block, lsm_slice_make(key, skey.size), sequence);
        if (skey.size > LSM_NAMESPACE_SIZE) {
            check_lookup(block, lsm_slice_make(key, skey.size - 1), LSM_SEQUENCE_MAX);
        }
    }
}

/* Entry for entry what the second reader says. */
static void check_entries(const lsm_block *block, naive_block *naive, lsm_slice raw) {
    memset(naive, 0, sizeof(*naive));
    naive->reader = lsm_reader_make(raw);
    for (uint32_t i = 0; i < block->entry_count; i++) {
        lsm_block_entry entry = lsm_block_entry_get(block, i);

        FUZZ_CHECK(naive_next(naive));
        FUZZ_CHECK(
            lsm_slice_equal(entry.ikey, lsm_slice_make(naive->key, naive->key_size)));
        FUZZ_CHECK(lsm_slice_equal(entry.field, naive->field));
    }
    FUZZ_CHECK(!naive_next(naive) && !naive->wrong);
}

static void check_block(lsm_slice raw, bool hashed) {
    static naive_block naive;
    lsm_block_shape shape;
    lsm_block block;
    uint8_t *data = NULL;
    bool accepted = false;

    memset(&naive, 0, sizeof(naive));
    naive.reader = lsm_reader_make(raw);
    while (naive_next(&naive)) {
    }
    bool expected = !naive.wrong && naive.count > 0 && naive_fits(&naive, hashed);
    if (lsm_block_measure(raw, hashed, &shape)) {
        FUZZ_CHECK(shape.size <= DECODED_MAX);
        data = fuzz_alloc(shape.size);
        accepted = lsm_block_decode(raw, &shape, data, &block);
    }
    FUZZ_CHECK(accepted == expected);
    if (accepted) {
        check_entries(&block, &naive, raw);
        check_lookups(&block);
        check_rebuilt(raw, &block);
    }
    free(data);
}

/* how u8 | block */
void fuzz_block(lsm_slice input) {
    if (input.size > 0) {
        check_block(lsm_slice_make(input.data + 1, input.size - 1),
                    input.data[0] % 4 != 0);
    }
}

/* Two blocks, the first of as many bytes as the first byte says: keys ascend over
 * both. */
void fuzz_index(lsm_slice input) {
    lsm_block_cursor cursor = {0};
    lsm_buf before = {0};
    lsm_block_handle handle;
    uint8_t encoded[LSM_BLOCK_HANDLE_SIZE_MAX];

    if (input.size == 0) {
        return;
    }
    lsm_slice rest = lsm_slice_make(input.data + 1, input.size - 1);
    size_t first = input.data[0] < rest.size ? input.data[0] : rest.size;
    for (int i = 0; i < 2; i++) {
        lsm_slice raw = i == 0 ? lsm_slice_make(rest.data, first)
                               : lsm_slice_make(rest.data + first, rest.size - first);

        lsm_block_cursor_open(&cursor, raw);
        while (lsm_block_cursor_next(&cursor)) {
            lsm_slice key = lsm_buf_slice(&cursor.key);

            FUZZ_CHECK(lsm_ikey_check(key));
            FUZZ_CHECK(before.size == 0 ||
                       lsm_ikey_compare(lsm_buf_slice(&before), key) < 0);
            FUZZ_CHECK(cursor.field.data + cursor.field.size <= raw.data + raw.size);
            if (lsm_block_handle_decode(cursor.field, &handle)) {
                FUZZ_CHECK(lsm_slice_equal(
                    cursor.field,
                    lsm_slice_make(encoded, lsm_block_handle_encode(handle, encoded))));
            }
            lsm_buf_clear(&before);
            FUZZ_CHECK(lsm_buf_append(&before, key.data, key.size));
        }
        FUZZ_CHECK(!cursor.failed);
        FUZZ_CHECK(cursor.corrupt || cursor.at == cursor.end);
    }
    lsm_buf_deinit(&before);
    lsm_block_cursor_deinit(&cursor);
}

/* file id u64 | offset u64 | payload and frame */
void fuzz_frame(lsm_slice input) {
    lsm_block_frame frame;
    lsm_block_frame after;
    lsm_xxh3_prefix prefix;
    uint8_t *copy = NULL;

    if (input.size < 16 + LSM_BLOCK_FRAME_SIZE) {
        return;
    }
    uint64_t file_id = lsm_get_u64(input.data);
    uint64_t offset = lsm_get_u64(input.data + 8);
    lsm_slice stored = lsm_slice_make(input.data + 16, input.size - 16);
    size_t payload = stored.size - LSM_BLOCK_FRAME_SIZE;
    copy = fuzz_alloc(stored.size);
    memcpy(copy, stored.data, stored.size);
    lsm_put_u64(copy + payload + 8, lsm_checksum(file_id, offset, copy, payload + 8));
    bool opened = lsm_block_frame_open(lsm_slice_make(copy, stored.size), file_id,
                                       offset, &frame);
    lsm_xxh3_prefix_init(&prefix, copy);
    FUZZ_CHECK(lsm_block_frame_open_after(&prefix, payload, file_id, offset, &after) ==
               opened);
    if (opened) {
        FUZZ_CHECK(frame.raw_size == after.raw_size && frame.codec == after.codec &&
                   frame.type == after.type);
        FUZZ_CHECK(frame.raw_size != 0 &&
                   (frame.codec != 0 || frame.raw_size == payload));
        lsm_block_frame_seal(copy, payload, frame, file_id, offset);
        FUZZ_CHECK(memcmp(copy, stored.data, payload + 8) == 0);
    }
    free(copy);
}

/* The newest sequence at or below one that covers a key, looked for everywhere. */
static uint64_t naive_cover(const lsm_range_set *set, lsm_slice skey,
                            uint64_t sequence) {
    uint64_t newest = 0;

    for (size_t i = 0; i < set->count; i++) {
        lsm_range_span span = lsm_range_span_of(set, i);

        if (lsm_slice_compare(span.start, skey) > 0 ||
            lsm_slice_compare(span.stop, skey) <= 0) {
            continue;
        }
        for (size_t k = 0; k < span.count; k++) {
            if (span.sequences[k] <= sequence && span.sequences[k] > newest) {
                newest = span.sequences[k];
            }
        }
    }
    return newest;
}

static void check_cover(const lsm_range_set *set, lsm_slice skey, uint64_t sequence) {
    static size_t place; /* from one lookup to the next, wherever that was */

    FUZZ_CHECK(lsm_range_set_cover(set, skey, sequence, &place) ==
               naive_cover(set, skey, sequence));
}

/* A set made of the tombstones of another covers the same. */
static void check_built(const lsm_range_set *set) {
    lsm_range_list list;
    lsm_range_set *built = NULL;
    size_t place = 0;

    lsm_range_list_init(&list);
    FUZZ_CHECK(lsm_range_list_add_set(&list, set));
    built = lsm_range_set_build(list.items, list.count, NULL);
    for (size_t i = 0; built != NULL && i < set->count; i++) {
        lsm_range_span span = lsm_range_span_of(set, i);

        FUZZ_CHECK(lsm_range_set_cover(built, span.start, LSM_SEQUENCE_MAX, &place) ==
                   span.sequences[0]);
    }
    lsm_range_set_destroy(built);
    lsm_range_list_deinit(&list);
}

void fuzz_ranges(lsm_slice input) {
    lsm_range_set *set = NULL;
    lsm_buf again = {0};
    lsmkv_status status = lsm_range_set_decode(input, &set);

    FUZZ_CHECK((status == LSMKV_OK) == (set != NULL));
    if (set == NULL) {
        FUZZ_CHECK(status == LSMKV_CORRUPTION);
        return;
    }
    FUZZ_CHECK(set->count > 0);
    for (size_t i = 0; i < set->count; i++) {
        lsm_range_span span = lsm_range_span_of(set, i);

        FUZZ_CHECK(lsm_range_encode(&again, &span));
        check_cover(set, span.start, span.sequences[0]);
        check_cover(set, span.stop, LSM_SEQUENCE_MAX);
        check_cover(set, span.start, span.sequences[span.count - 1] - 1);
    }
    FUZZ_CHECK(lsm_slice_equal(lsm_buf_slice(&again), input));
    check_built(set);
    lsm_buf_deinit(&again);
    lsm_range_set_destroy(set);
}
