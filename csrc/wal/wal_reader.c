/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading record files. The file is read front to back through one window, which grows
 * to hold the record at hand and never beyond what the file has left: a size in a
 * header is compared with the file before memory is asked for.
 *
 * At the first offset without a valid record the rest of the file is searched for
 * marks, at every multiple of 8 and with constant work at each. A valid mark that was
 * written after the file had been durable past that offset proves damage; without one
 * the log ends there. Marks cannot be forged by values that happen to hold bytes of a
 * log: the checksum binds them to the random id of this file and to their offset.
 *
 * An error of the system is none of these answers and is handed on; the call may then
 * be made again.
 *
 * A file that another process appends to is read up to the size it had when it was
 * asked for: what was written by then can be read, so a record that is cut there is one
 * that comes, and is no damage.
 */
#include "wal/wal.h"

#include <string.h>

#include "base/alloc.h"
#include "base/budget.h"
#include "base/assert.h"
#include "base/coding.h"
#include "base/limits.h"
#include "base/mutant.h"

enum { WINDOW_SIZE = 256 << 10, HEADER_FILE_ID_AT = 40 };

typedef enum reader_state { READING, ENDED, DAMAGED } reader_state;

struct lsm_wal_reader {
    lsm_file *file; /* owned */
    uint64_t file_size;
    lsm_record_file_header header;
    uint8_t *window; /* owned; holds [window_start, window_start + window_size) */
    size_t window_capacity;
    size_t window_size;
    uint64_t window_start;
    uint64_t next; /* the offset of the record to read, or of the end */
    uint64_t highest_mark;
    reader_state state;
};

static uint64_t window_end(const lsm_wal_reader *reader) {
    return reader->window_start + reader->window_size;
}

/* Makes the window begin at `offset`, with room for `size` bytes, keeping what it has
 * from there on. */
static lsmkv_status move_window(lsm_wal_reader *reader, uint64_t offset, size_t size,
                                lsmkv_error *err) {
    uint64_t left = reader->file_size - offset;
    bool inside = offset >= reader->window_start;
    size_t keep = inside ? (size_t)(window_end(reader) - offset) : 0;
    const uint8_t *kept = reader->window + reader->window_size - keep;

    LSM_ASSERT(offset <= window_end(reader)); /* no byte is jumped over */
    if (size > reader->window_capacity) {
        /* Doubling, so that a log of ever larger records is not copied each time. */
        uint64_t capacity = (uint64_t)reader->window_capacity * 2;
        capacity = capacity < size ? size : capacity;
        capacity = capacity > left ? left : capacity;
        uint8_t *window = lsm_alloc((size_t)capacity);
        if (window == NULL) {
            return lsm_fail_memory(err, (size_t)capacity);
        }
        memcpy(window, kept, keep);
        lsm_free(reader->window);
        reader->window = window;
        reader->window_capacity = (size_t)capacity;
    } else if (keep != 0) {
        memmove(reader->window, kept, keep);
    }
    reader->window_start = offset;
    reader->window_size = keep;
    return LSMKV_OK;
}

/* Lends the `size` bytes at `offset`, which the file has, until the next call. */
static lsmkv_status read_window(lsm_wal_reader *reader, uint64_t offset, size_t size,
                                const uint8_t **bytes, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    *bytes = NULL;
    if (offset < reader->window_start || offset + size > window_end(reader)) {
        LSM_TRY(move_window(reader, offset, size, err));
        uint64_t wanted = reader->file_size - window_end(reader);
        size_t room = reader->window_capacity - reader->window_size;
        wanted = wanted > room ? room : wanted;
        LSM_TRY(lsm_file_read_exact(reader->file, window_end(reader),
                                    reader->window + reader->window_size,
                                    (size_t)wanted, err));
        reader->window_size += (size_t)wanted;
    }
    *bytes = reader->window + (size_t)(offset - reader->window_start);
out:
    if (status == LSMKV_NOT_FOUND) {
        /* Whatever the system means by it, it must not pass for the end. */
        status = LSMKV_IO_ERROR;
        if (err != NULL) {
            err->status = status;
        }
    }
    return status;
}

/* The highest offset up to which a valid mark at or behind `offset` says the file was
 * durable; 0: there is no mark. */
static lsmkv_status find_marks(lsm_wal_reader *reader, uint64_t offset,
                               uint64_t file_id, uint64_t *synced_to,
                               lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint64_t end = reader->file_size;

    *synced_to = 0;
    if (lsm_is_limited() && offset < end && end - offset > LSM_UNTRUSTED_RECORDS_MAX) {
        end = offset + LSM_UNTRUSTED_RECORDS_MAX; /* of a value file, in a verify */
    }
    while (offset < end && end - offset >= LSM_RECORD_HEADER_SIZE) {
        const uint8_t *bytes = NULL;

        LSM_TRY(read_window(reader, offset, LSM_RECORD_HEADER_SIZE, &bytes, err));
        for (; offset + LSM_RECORD_HEADER_SIZE <= window_end(reader);
             offset += LSM_RECORD_ALIGN, bytes += LSM_RECORD_ALIGN) {
            lsm_slice header = lsm_slice_make(bytes, LSM_RECORD_HEADER_SIZE);
            lsm_record record;

            if (lsm_record_parse(header, file_id, offset, &record) &&
                record.type == LSM_RECORD_MARK && record.synced_to > *synced_to) {
                *synced_to = record.synced_to;
            }
        }
    }
out:
    return status;
}

/* Answers for a header that is not valid, as `problem` says: a crash can only have
 * torn it before the first sync, and so before the first mark. */
static lsmkv_status answer_bad_header(lsm_wal_reader *reader, uint64_t file_id,
                                      const lsmkv_error *problem, bool *torn,
                                      lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint64_t synced_to = 0;

    LSM_TRY(find_marks(reader, LSM_RECORD_FILE_HEADER_SIZE, file_id, &synced_to, err));
    status = lsm_error_copy(err, problem);
    if (status == LSMKV_NOT_A_DATABASE) {
        status = lsm_fail_at(err, LSMKV_CORRUPTION, lsm_file_name(reader->file), 0,
                             "the file does not begin with LSMKVREC");
    }
    if (torn != NULL) {
        *torn = synced_to == 0;
    }
out:
    return status;
}

static lsmkv_status check_expected(const lsm_wal_reader *reader,
                                   const lsm_wal_expect *expect, lsmkv_error *err) {
    const lsm_record_file_header *header = &reader->header;
    const char *name = lsm_file_name(reader->file);

    if (header->type != expect->type) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, name, 0,
                           "file type is %d, expected %d", (int)header->type,
                           (int)expect->type);
    }
    if (expect->uuid != NULL && !LSM_MUTANT(FOREIGN_LOG_ACCEPTED) &&
        memcmp(header->uuid, expect->uuid, LSM_UUID_SIZE) != 0) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, name, 0,
                           "the file belongs to another database");
    }
    if (header->number != expect->number) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, name, 0,
                           "the file was written as number %llu, expected %llu",
                           (unsigned long long)header->number,
                           (unsigned long long)expect->number);
    }
    if (expect->file_id != 0 && header->file_id != expect->file_id) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, name, 0,
                           "file id is %016llx, expected %016llx: another file took "
                           "this name",
                           (unsigned long long)header->file_id,
                           (unsigned long long)expect->file_id);
    }
    return LSMKV_OK;
}

static lsmkv_status open_header(lsm_wal_reader *reader, const lsm_wal_expect *expect,
                                bool *torn, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    const char *name = lsm_file_name(reader->file);
    size_t size = LSM_RECORD_FILE_HEADER_SIZE;
    uint64_t file_id = expect->file_id;
    const uint8_t *bytes = NULL;
    lsmkv_error problem;

    if (reader->file_size < size) {
        size = (size_t)reader->file_size;
    }
    LSM_TRY(read_window(reader, 0, size, &bytes, err));
    if (file_id == 0 && size == LSM_RECORD_FILE_HEADER_SIZE) {
        file_id = lsm_get_u64(bytes + HEADER_FILE_ID_AT);
    }
    status =
        lsm_record_file_header_decode(bytes, size, name, &reader->header, &problem);
    if (status == LSMKV_OK) {
        status = check_expected(reader, expect, err);
    } else if (status == LSMKV_UNSUPPORTED_VERSION) {
        status = lsm_error_copy(err, &problem);
    } else {
        status = answer_bad_header(reader, file_id, &problem, torn, err);
    }
    reader->next = LSM_RECORD_FILE_HEADER_SIZE;
out:
    return status;
}

lsmkv_status lsm_wal_open(lsm_dir *dir, const char *name, const lsm_wal_expect *expect,
                          lsm_wal_reader **readerp, bool *torn, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_wal_reader *reader = NULL;

    *readerp = NULL;
    if (torn != NULL) {
        *torn = false;
    }
    reader = lsm_calloc(1, sizeof(*reader));
    if (reader == NULL) {
        return lsm_fail_memory(err, sizeof(*reader));
    }
    LSM_TRY(lsm_file_open(dir, name, LSM_OPEN_READ, &reader->file, err));
    LSM_TRY(lsm_file_size(reader->file, &reader->file_size, err));
    if (expect->size_max != 0 && expect->size_max < reader->file_size) {
        reader->file_size = expect->size_max;
    }
    if (lsm_is_limited() && expect->size_max == 0 &&
        reader->file_size > LSM_UNTRUSTED_RECORDS_MAX) {
        status = lsm_fail_limit(err, name, "bytes of a file of records",
                                reader->file_size, LSM_UNTRUSTED_RECORDS_MAX);
        goto out;
    }
    reader->window_capacity =
        reader->file_size < WINDOW_SIZE ? (size_t)reader->file_size : WINDOW_SIZE;
    reader->window = lsm_alloc(reader->window_capacity + 1); /* an empty file is one */
    if (reader->window == NULL) {
        status = lsm_fail_memory(err, reader->window_capacity + 1);
        goto out;
    }
    LSM_TRY(open_header(reader, expect, torn, err));
    *readerp = reader;
    reader = NULL;
out:
    lsm_wal_reader_close(reader);
    return status;
}

const lsm_record_file_header *lsm_wal_header(const lsm_wal_reader *reader) {
    return &reader->header;
}

/* Reads the record at `next`; its type is NONE when there is no valid one. */
static lsmkv_status read_record(lsm_wal_reader *reader, lsm_record *record,
                                lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint64_t left = reader->file_size - reader->next;
    const uint8_t *bytes = NULL;
    uint64_t size = 0;

    *record = (lsm_record){0};
    if (left < LSM_RECORD_HEADER_SIZE) {
        return LSMKV_OK;
    }
    LSM_TRY(read_window(reader, reader->next, LSM_RECORD_HEADER_SIZE, &bytes, err));
    if (!lsm_record_peek(bytes, reader->next, &size) || size > left) {
        return LSMKV_OK;
    }
    LSM_TRY(read_window(reader, reader->next, (size_t)size, &bytes, err));
    if (!lsm_record_parse(lsm_slice_make(bytes, (size_t)size), reader->header.file_id,
                          reader->next, record)) {
        return LSMKV_OK;
    }
out:
    return status;
}

static lsmkv_status fail_damaged(const lsm_wal_reader *reader, lsmkv_error *err) {
    return lsm_fail_at(err, LSMKV_CORRUPTION, lsm_file_name(reader->file),
                       (int64_t)reader->next,
                       "damaged record: the file was synced up to offset %llu, so this "
                       "is no torn write but lost data; restore a backup or repair",
                       (unsigned long long)reader->highest_mark);
}

/* Decides what it means that there is no valid record at `next`. */
static lsmkv_status finish(lsm_wal_reader *reader, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint64_t synced_to = 0;

    LSM_TRY(find_marks(reader, reader->next, reader->header.file_id, &synced_to, err));
    if (synced_to > reader->highest_mark) {
        reader->highest_mark = synced_to;
    }
    reader->state = synced_to > reader->next ? DAMAGED : ENDED;
    status = reader->state == DAMAGED ? fail_damaged(reader, err) : LSMKV_NOT_FOUND;
out:
    return status;
}

/* What a file is there to hold. */
static lsm_record_type content_type(lsm_record_file_type type) {
    switch (type) {
        case LSM_FILE_LOG:
            return LSM_RECORD_BATCH;
        case LSM_FILE_MANIFEST:
            return LSM_RECORD_EDIT;
        case LSM_FILE_VALUES:
            return LSM_RECORD_VALUES;
        case LSM_FILE_CACHE: /* no record file */
        case LSM_FILE_NONE:
        default:
            return LSM_RECORD_NONE;
    }
}

static lsmkv_status check_type(const lsm_wal_reader *reader, const lsm_record *record,
                               lsmkv_error *err) {
    lsm_record_type expected = content_type(reader->header.type);

    if (record->type == expected || record->type == LSM_RECORD_MARK ||
        (record->type == LSM_RECORD_PAD && reader->header.type == LSM_FILE_LOG)) {
        return LSMKV_OK;
    }
    return lsm_fail_at(err, LSMKV_CORRUPTION, lsm_file_name(reader->file),
                       (int64_t)record->offset, "record of type %d, expected %d",
                       (int)record->type, (int)expected);
}

/* The next record, marks included, or what its absence means. */
static lsmkv_status take_record(lsm_wal_reader *reader, lsm_record *record,
                                lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    LSM_TRY(read_record(reader, record, err));
    while (LSM_MUTANT(BAD_RECORD_SKIPPED) && record->type == LSM_RECORD_NONE &&
           reader->file_size - reader->next > LSM_RECORD_HEADER_SIZE) {
        reader->next += LSM_RECORD_ALIGN;
        /* unreachable: in that mistake alone */
        LSM_TRY(read_record(reader, record, err));
    }
    if (record->type == LSM_RECORD_NONE) {
        return finish(reader, err);
    }
    LSM_TRY(check_type(reader, record, err));
    reader->next += record->size;
    if (record->synced_to > reader->highest_mark) {
        reader->highest_mark = record->synced_to;
    }
out:
    return status;
}

lsmkv_status lsm_wal_next(lsm_wal_reader *reader, lsm_record *record,
                          lsmkv_error *err) {
    lsmkv_status status = LSMKV_NOT_FOUND;

    if (reader->state == READING) {
        do {
            status = take_record(reader, record, err);
        } while (status == LSMKV_OK &&
                 (record->type == LSM_RECORD_MARK || record->type == LSM_RECORD_PAD));
    } else if (reader->state == DAMAGED) {
        status = fail_damaged(reader, err);
    }
    if (status != LSMKV_OK) {
        *record = (lsm_record){0};
    }
    return status;
}

/* Forgets the bytes from `next` on, which a writer may have finished since, and makes
 * the window one to read many records with. */
static lsmkv_status reset_window(lsm_wal_reader *reader, lsmkv_error *err) {
    uint64_t left = reader->file_size - reader->next;
    size_t capacity = left < WINDOW_SIZE ? (size_t)left : WINDOW_SIZE;

    reader->window_start = reader->next;
    reader->window_size = 0;
    if (capacity > reader->window_capacity) {
        uint8_t *window = lsm_alloc(capacity);
        if (window == NULL) {
            return lsm_fail_memory(err, capacity);
        }
        lsm_free(reader->window);
        reader->window = window;
        reader->window_capacity = capacity;
    }
    return LSMKV_OK;
}

lsmkv_status lsm_wal_extend(lsm_wal_reader *reader, bool *grown, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint64_t size = 0;

    *grown = false;
    LSM_TRY(lsm_file_size(reader->file, &size, err));
    if (size < reader->next) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, lsm_file_name(reader->file), -1,
                           "the file had %llu bytes of records and has %llu now",
                           (unsigned long long)reader->next, (unsigned long long)size);
    }
    reader->file_size = size;
    if (size > reader->next && reader->state != DAMAGED) {
        LSM_TRY(reset_window(reader, err));
        reader->state = READING;
        *grown = true;
    }
out:
    return status;
}

uint64_t lsm_wal_end(const lsm_wal_reader *reader) {
    return reader->next;
}

uint64_t lsm_wal_dropped(const lsm_wal_reader *reader) {
    return reader->file_size - reader->next;
}

uint64_t lsm_wal_highest_mark(const lsm_wal_reader *reader) {
    return reader->highest_mark;
}

uint64_t lsm_wal_file_size(const lsm_wal_reader *reader) {
    return reader->file_size;
}

void lsm_wal_reader_close(lsm_wal_reader *reader) {
    if (reader != NULL) {
        lsm_file_drop(reader->file);
        lsm_free(reader->window);
        lsm_free(reader);
    }
}
