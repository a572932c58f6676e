/* SPDX-License-Identifier: Apache-2.0
 *
 * A record is gathered in memory, as its checksum comes first. It starts at a multiple
 * of LSM_VALUE_ALIGN, its head fills the first LSM_VALUE_ALIGN bytes, and it ends with
 * zeros up to the next multiple; so offsets are aligned in the buffer where they are in
 * the file.
 */
#include "segment/value_writer.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "format/filename.h"
#include "format/ikey.h"

enum { GATHER_SIZE = 256 << 10 };

_Static_assert((int)LSM_RECORD_FILE_HEADER_SIZE % (int)LSM_VALUE_ALIGN == 0, "aligned");
_Static_assert((int)LSM_RECORD_HEADER_SIZE <= (int)LSM_VALUE_ALIGN, "a head fits");

struct lsm_value_writer {
    lsm_dir *dir; /* borrowed */
    char name[LSM_FILENAME_SIZE];
    lsm_file *file; /* owned; NULL once finished */
    bool created;   /* and not finished: to be unlinked */
    uint64_t number;
    uint64_t file_id;
    uint64_t offset; /* of the record that is gathered */
    lsm_buf record;  /* empty, or its head and values */
};

lsmkv_status lsm_value_writer_create(lsm_dir *dir, const uint8_t uuid[LSM_UUID_SIZE],
                                     uint64_t number, uint64_t file_id,
                                     lsm_value_writer **writerp, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_record_file_header header = {
        .type = LSM_FILE_VALUES, .number = number, .file_id = file_id};
    uint8_t bytes[LSM_RECORD_FILE_HEADER_SIZE];
    lsm_slice piece = lsm_slice_make(bytes, sizeof(bytes));
    lsm_value_writer *writer = lsm_calloc(1, sizeof(*writer));

    *writerp = NULL;
    if (writer == NULL) {
        return lsm_fail_memory(err, sizeof(*writer));
    }
    writer->dir = dir;
    writer->number = number;
    writer->file_id = file_id;
    writer->offset = sizeof(bytes);
    memcpy(header.uuid, uuid, LSM_UUID_SIZE);
    lsm_record_file_header_encode(&header, bytes);
    lsm_filename_make(writer->name, LSM_NAME_SEGMENT, number);
    LSM_TRY(lsm_file_open(dir, writer->name, LSM_OPEN_CREATE, &writer->file, err));
    writer->created = true;
    LSM_TRY(lsm_file_append(writer->file, &piece, 1, NULL, err));
    *writerp = writer;
    writer = NULL;
out:
    lsm_value_writer_destroy(writer);
    return status;
}

void lsm_value_writer_destroy(lsm_value_writer *writer) {
    if (writer == NULL) {
        return;
    }
    lsm_file_drop(writer->file);
    if (writer->created) {
        /* What stays behind is found and removed as an unknown number at open. */
        lsm_ignore(lsm_dir_unlink(writer->dir, writer->name, NULL));
    }
    lsm_buf_deinit(&writer->record);
    lsm_free(writer);
}

/* Zeros up to the next place where a value may lie. */
static bool align(lsm_buf *record) {
    return lsm_buf_append_zeros(record, (0 - record->size) & (LSM_VALUE_ALIGN - 1));
}

static lsmkv_status write_record(lsm_value_writer *writer, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_buf *record = &writer->record;
    lsm_record_place place = {writer->file_id, writer->offset, 0};

    if (record->size == 0) {
        return LSMKV_OK;
    }
    if (!align(record)) {
        return lsm_fail_memory(err, record->size);
    }
    lsm_slice piece = lsm_buf_slice(record);
    lsm_record_seal(record->data, record->size - LSM_RECORD_HEADER_SIZE,
                    LSM_RECORD_VALUES, place);
    LSM_TRY(lsm_file_append(writer->file, &piece, 1, NULL, err));
    writer->offset += record->size;
    lsm_buf_clear(record);
out:
    return status;
}

lsmkv_status lsm_value_writer_add(lsm_value_writer *writer, lsm_slice value,
                                  uint64_t *offset, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_buf *record = &writer->record;

    LSM_ASSERT(value.size != 0 && value.size <= LSMKV_VALUE_SIZE_MAX);
    if (record->size != 0 && record->size + value.size > GATHER_SIZE) {
        LSM_TRY(write_record(writer, err));
    }
    bool ok = record->size == 0 ? lsm_buf_append_zeros(record, LSM_VALUE_ALIGN)
                                : align(record);
    *offset = writer->offset + record->size;
    if (!ok || !lsm_buf_append(record, value.data, value.size)) {
        status = lsm_fail_memory(err, value.size);
    }
out:
    return status;
}

uint64_t lsm_value_writer_number(const lsm_value_writer *writer) {
    return writer->number;
}

uint64_t lsm_value_writer_size(const lsm_value_writer *writer) {
    return writer->offset + writer->record.size;
}

lsmkv_status lsm_value_writer_finish(lsm_value_writer *writer, lsm_edit_segment *info,
                                     lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_file *file = NULL;

    LSM_ASSERT(writer->created);
    LSM_TRY(write_record(writer, err));
    LSM_TRY(lsm_file_sync(writer->file, err));
    file = writer->file;
    writer->file = NULL;
    LSM_TRY(lsm_file_close(file, err));
    writer->created = false;
    *info = (lsm_edit_segment){writer->number, writer->file_id, writer->offset,
                               LSM_SEGMENT_VALUES};
out:
    return status;
}
