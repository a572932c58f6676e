/* SPDX-License-Identifier: Apache-2.0
 *
 * See mend.h.
 */
#include "mend.h"

#include <stdbool.h>
#include <string.h>

#include "base/coding.h"
#include "base/xxh3.h"
#include "format/block.h"
#include "format/cache_frame.h"
#include "format/footer.h"
#include "format/hotlist.h"
#include "format/record.h"

enum {
    HEADER_FILE_ID_AT = 40,
    HEADER_CHECKSUM_AT = 56,
    PAYLOAD_SIZE_AT = 8,
    FOOTER_FILE_ID_AT = 40,
    FOOTER_HANDLES_AT = 56,
    FOOTER_HANDLE_SIZE = 16,
    FOOTER_HANDLES = 4,
    FOOTER_CHECKSUM_AT = 120,
    FRAME_CHECKED_SIZE = LSM_BLOCK_FRAME_SIZE - 8,
    HOTLIST_PAYLOAD_AT = 40,
};

static void put_checksum(uint8_t *to, size_t size, uint64_t file_id, uint64_t offset) {
    lsm_put_u64(to, lsm_checksum(file_id, offset, to + 8, size - 8));
}

/* Returns the file id. */
static uint64_t mend_header(uint8_t *file) {
    lsm_put_u64(file + HEADER_CHECKSUM_AT, lsm_xxh3(file, HEADER_CHECKSUM_AT));
    return lsm_get_u64(file + HEADER_FILE_ID_AT);
}

void fuzz_mend_records(uint8_t *file, size_t size) {
    size_t at = LSM_RECORD_FILE_HEADER_SIZE;

    if (size < LSM_RECORD_FILE_HEADER_SIZE) {
        return;
    }
    uint64_t file_id = mend_header(file);
    while (size - at >= LSM_RECORD_HEADER_SIZE) {
        uint8_t *record = file + at;
        uint64_t whole = 0;

        if (!lsm_record_peek(record, at, &whole) || whole > size - at) {
            return;
        }
        size_t content = LSM_RECORD_HEADER_SIZE + lsm_get_u32(record + PAYLOAD_SIZE_AT);
        memset(record + content, 0, (size_t)whole - content);
        put_checksum(record, (size_t)whole, file_id, at);
        at += (size_t)whole;
    }
}

/* A table under repair. */
typedef struct table_file {
    uint8_t *data;
    size_t size;
    uint64_t file_id;
} table_file;

static bool mend_block(const table_file *file, lsm_block_handle handle) {
    if (handle.offset > file->size || handle.size > file->size - handle.offset ||
        file->size - handle.offset - handle.size < LSM_BLOCK_FRAME_SIZE) {
        return false;
    }
    uint8_t *block = file->data + handle.offset;
    size_t checked = (size_t)handle.size + FRAME_CHECKED_SIZE;
    lsm_put_u64(block + checked,
                lsm_checksum(file->file_id, handle.offset, block, checked));
    return true;
}

/* The blocks that an index block names, and with `below` those that they name. */
static void mend_named(const table_file *file, lsm_block_handle index,
                       void (*below)(const table_file *file, lsm_block_handle block)) {
    lsm_block_cursor cursor = {0};

    lsm_block_cursor_open(
        &cursor, lsm_slice_make(file->data + index.offset, (size_t)index.size));
    while (lsm_block_cursor_next(&cursor)) {
        lsm_block_handle handle = {0};

        if (lsm_block_handle_decode(cursor.field, &handle) &&
            mend_block(file, handle) && below != NULL) {
            below(file, handle);
        }
    }
    lsm_block_cursor_deinit(&cursor);
}

static void mend_data_blocks(const table_file *file, lsm_block_handle index) {
    mend_named(file, index, NULL);
}

static void mend_index(const table_file *file, lsm_block_handle index) {
    bool is_top = file->data[index.offset + index.size + 5] == LSM_BLOCK_TOP_INDEX;

    mend_named(file, index, is_top ? mend_data_blocks : NULL);
}

void fuzz_mend_table(uint8_t *file, size_t size) {
    table_file table = {file, size, 0};

    if (size < LSM_FOOTER_SIZE) {
        return;
    }
    uint8_t *footer = file + size - LSM_FOOTER_SIZE;
    table.file_id = lsm_get_u64(footer + FOOTER_FILE_ID_AT);
    for (size_t i = 0; i < FOOTER_HANDLES; i++) {
        const uint8_t *from = footer + FOOTER_HANDLES_AT + i * FOOTER_HANDLE_SIZE;
        lsm_block_handle handle = {lsm_get_u64(from), lsm_get_u64(from + 8)};

        if (handle.size != 0 && mend_block(&table, handle) && i == 0) {
            mend_index(&table, handle);
        }
    }
    lsm_put_u64(footer + FOOTER_CHECKSUM_AT, lsm_xxh3(footer, FOOTER_CHECKSUM_AT));
}

void fuzz_mend_cache(uint8_t *file, size_t size) {
    if (size < LSM_RECORD_FILE_HEADER_SIZE) {
        return;
    }
    uint64_t file_id = mend_header(file);
    for (size_t at = LSM_RECORD_FILE_HEADER_SIZE;
         at < size && size - at >= LSM_CACHE_HEAD_SIZE;) {
        lsm_cache_frame frame;

        if (lsm_cache_frame_peek(file + at, &frame) && frame.size != 0 &&
            frame.value_at + frame.value_size <= size - at) {
            uint8_t *value = file + at + frame.value_at;

            lsm_put_u64(file + at + 8, lsm_xxh3(value, frame.value_size));
            put_checksum(file + at, LSM_CACHE_HEAD_SIZE + frame.key_size, file_id, at);
            at += (size_t)frame.size;
        } else {
            at += LSM_CACHE_FRAME_ALIGN;
        }
    }
}

void fuzz_mend_hotlist(uint8_t *file, size_t size) {
    if (size >= LSM_HOTLIST_HEADER_SIZE) {
        lsm_put_u64(
            file + HOTLIST_PAYLOAD_AT,
            lsm_xxh3(file + LSM_HOTLIST_HEADER_SIZE, size - LSM_HOTLIST_HEADER_SIZE));
        (void)mend_header(file);
    }
}

void fuzz_mend_current(uint8_t *file, size_t size) {
    static const char digits[] = "0123456789abcdef";
    const size_t tail = 18;

    if (size <= tail) {
        return;
    }
    uint64_t hash = lsm_xxh3(file, size - tail);
    for (size_t i = 0; i < 16; i++) {
        file[size - tail + 1 + i] = (uint8_t)digits[hash >> (60 - 4 * i) & 15];
    }
}

void fuzz_mend_file(lsm_file_kind kind, uint8_t *file, size_t size) {
    switch (kind) {
        case LSM_NAME_MANIFEST:
        case LSM_NAME_LOG:
        case LSM_NAME_SEGMENT:
            fuzz_mend_records(file, size);
            break;
        case LSM_NAME_TABLE:
            fuzz_mend_table(file, size);
            break;
        case LSM_NAME_CACHE:
            fuzz_mend_cache(file, size);
            break;
        case LSM_NAME_CURRENT:
            fuzz_mend_current(file, size);
            break;
        case LSM_NAME_HOTLIST:
            fuzz_mend_hotlist(file, size);
            break;
        case LSM_NAME_OTHER:
        case LSM_NAME_LOCK:
        case LSM_NAME_CURRENT_TEMP:
        case LSM_NAME_HOTLIST_TEMP:
        case LSM_NAME_STATS:
            break;
    }
}
