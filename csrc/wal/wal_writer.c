/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing record files. A group of records goes to the system in one call, from where
 * the records lie; after creation nothing is allocated.
 *
 * Disk space of logs is asked for in steps ahead of the writing, so that a sync seldom
 * has blocks to allocate. What was not used is given back at close.
 */
#include "wal/wal.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/mutant.h"

enum { ALLOCATE_STEP = 4 << 20 };

struct lsm_wal_writer {
    /* Constant after creation. */
    lsm_file *file; /* owned */
    uint64_t number;
    uint64_t file_id;
    bool allocates;
    /* The owner's thread. */
    uint64_t records_end; /* of the last record that is not a mark */
    uint64_t allocated;
    bool dead;
    bool full;           /* the append that killed it found no space */
    lsmkv_error failure; /* why it is dead */
    /* Written by the owner's thread, read by any. */
    _Atomic uint64_t size;
    _Atomic uint64_t synced_to;
};

lsmkv_status lsm_wal_create(lsm_dir *dir, const char *name,
                            const lsm_record_file_header *header,
                            lsm_wal_writer **writerp, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_wal_writer *writer = NULL;
    lsm_file *file = NULL;
    uint8_t bytes[LSM_RECORD_FILE_HEADER_SIZE];
    lsm_slice piece = lsm_slice_make(bytes, sizeof(bytes));

    *writerp = NULL;
    writer = lsm_calloc(1, sizeof(*writer));
    if (writer == NULL) {
        return lsm_fail_memory(err, sizeof(*writer));
    }
    LSM_TRY(lsm_file_open(dir, name, LSM_OPEN_CREATE, &file, err));
    lsm_record_file_header_encode(header, bytes);
    LSM_TRY(lsm_file_append(file, &piece, 1, NULL, err));
    writer->file = file;
    writer->number = header->number;
    writer->file_id = header->file_id;
    writer->allocates = header->type == LSM_FILE_LOG;
    writer->records_end = sizeof(bytes);
    atomic_init(&writer->size, sizeof(bytes));
    atomic_init(&writer->synced_to, 0);
    *writerp = writer;
    return LSMKV_OK;
out:
    if (file != NULL) {
        lsm_file_drop(file);
        if (lsm_dir_unlink(dir, name, NULL) != LSMKV_OK) {
            /* It stays as an empty or torn log, which recovery passes over. */
        }
    }
    lsm_free(writer);
    return status;
}

/* Hands on the failure that has just ended the writer. */
static LSM_COLD lsmkv_status die(lsm_wal_writer *writer, lsmkv_error *err) {
    writer->dead = true;
    return lsm_error_copy(err, &writer->failure);
}

static void allocate_ahead(lsm_wal_writer *writer, uint64_t size) {
    if (writer->allocates && size > writer->allocated) {
        writer->allocated = size - size % ALLOCATE_STEP + ALLOCATE_STEP;
        lsm_file_allocate(writer->file, writer->allocated);
    }
}

/* What a group is written from. */
typedef struct wal_pieces {
    lsm_slice array[2 * LSM_WAL_GROUP_MAX];
    size_t count;
    lsm_record_place place; /* of the next record */
    uint8_t pads[LSM_WAL_GROUP_MAX][LSM_RECORD_HEADER_SIZE + LSM_RECORD_PAD_MAX];
    size_t pad_count;
} wal_pieces;

static void add_pad(wal_pieces *pieces, size_t size) {
    uint8_t *pad = pieces->pads[pieces->pad_count++];

    memset(pad, 0, size);
    lsm_record_seal(pad, size - LSM_RECORD_HEADER_SIZE, LSM_RECORD_PAD, pieces->place);
    pieces->array[pieces->count++] = lsm_slice_make(pad, size);
    pieces->place.offset += size;
}

static void add_record(wal_pieces *pieces, lsm_buf *record, lsm_record_type type) {
    LSM_ASSERT(record->size >= LSM_RECORD_HEADER_SIZE);
    size_t payload_size = record->size - LSM_RECORD_HEADER_SIZE;
    size_t size = (size_t)lsm_record_size(payload_size);

    LSM_ASSERT(record->capacity >= size);
    lsm_record_seal(record->data, payload_size, type, pieces->place);
    pieces->array[pieces->count++] = lsm_slice_make(record->data, size);
    pieces->place.offset += size;
}

static void start_pieces(const lsm_wal_writer *writer, wal_pieces *pieces) {
    pieces->count = 0;
    pieces->pad_count = 0;
    pieces->place =
        (lsm_record_place){writer->file_id, writer->size, writer->synced_to};
}

static lsmkv_status append_pieces(lsm_wal_writer *writer, const wal_pieces *pieces,
                                  lsmkv_error *err) {
    allocate_ahead(writer, pieces->place.offset);
    if (lsm_file_append(writer->file, pieces->array, pieces->count, NULL,
                        &writer->failure) != LSMKV_OK) {
        writer->full = writer->failure.status == LSMKV_DISK_FULL;
        return die(writer, err);
    }
    writer->records_end = pieces->place.offset;
    writer->size = pieces->place.offset;
    return LSMKV_OK;
}

lsmkv_status lsm_wal_append(lsm_wal_writer *writer, lsm_record_type type,
                            lsm_buf *const *records, size_t count, lsmkv_error *err) {
    wal_pieces pieces;

    LSM_ASSERT(count > 0 && count <= LSM_WAL_GROUP_MAX);
    if (writer->dead) {
        return lsm_error_copy(err, &writer->failure);
    }
    start_pieces(writer, &pieces);
    for (size_t i = 0; i < count; i++) {
        add_record(&pieces, records[i], type);
    }
    return append_pieces(writer, &pieces, err);
}

lsmkv_status lsm_wal_append_batches(lsm_wal_writer *writer, lsm_wal_item *items,
                                    size_t count, lsmkv_error *err) {
    wal_pieces pieces;

    LSM_ASSERT(count > 0 && count <= LSM_WAL_GROUP_MAX);
    if (writer->dead) {
        return lsm_error_copy(err, &writer->failure);
    }
    start_pieces(writer, &pieces);
    for (size_t i = 0; i < count; i++) {
        uint64_t pad = lsm_record_pad_size(pieces.place.offset, items[i].align);

        if (LSM_UNLIKELY(pad != 0)) {
            add_pad(&pieces, (size_t)pad);
        }
        items[i].offset = pieces.place.offset;
        add_record(&pieces, items[i].record, LSM_RECORD_BATCH);
    }
    return append_pieces(writer, &pieces, err);
}

lsmkv_status lsm_wal_seal(lsm_wal_writer *writer, uint64_t *size, lsmkv_error *err) {
    *size = writer->size;
    if (writer->dead) {
        return lsm_error_copy(err, &writer->failure);
    }
    if (lsm_file_truncate(writer->file, writer->size, &writer->failure) != LSMKV_OK ||
        (!LSM_MUTANT(SEALED_LOG_NOT_SYNCED) &&
         lsm_file_sync(writer->file, &writer->failure) != LSMKV_OK)) {
        return die(writer, err);
    }
    writer->allocated = writer->size;
    writer->synced_to = writer->size;
    return LSMKV_OK;
}

/* Says in the file how far it is durable. */
static void append_mark(lsm_wal_writer *writer) {
    lsm_record_place place = {writer->file_id, writer->size, writer->synced_to};
    uint8_t mark[LSM_RECORD_HEADER_SIZE];
    lsm_slice piece = lsm_slice_make(mark, sizeof(mark));

    lsm_record_seal(mark, 0, LSM_RECORD_MARK, place);
    allocate_ahead(writer, place.offset + sizeof(mark));
    if (lsm_file_append(writer->file, &piece, 1, NULL, &writer->failure) != LSMKV_OK) {
        writer->dead = true;
        return;
    }
    writer->size = place.offset + sizeof(mark);
}

/* For a mutant. */
static bool skips_sync(const lsm_wal_writer *writer) {
    return LSM_MUTANT(EIGHTH_SYNC_DOES_NOTHING) &&
           writer->size / LSM_RECORD_ALIGN % 8 == 0;
}

lsmkv_status lsm_wal_sync(lsm_wal_writer *writer, lsmkv_error *err) {
    if (writer->dead) {
        return lsm_error_copy(err, &writer->failure);
    }
    /* A mark alone is not worth a sync, nor another mark. */
    if (writer->synced_to >= writer->records_end) {
        return LSMKV_OK;
    }
    if (LSM_MUTANT(MARK_BEFORE_SYNC)) {
        writer->synced_to = writer->size;
        append_mark(writer);
    }
    if (!skips_sync(writer) &&
        lsm_file_sync(writer->file, &writer->failure) != LSMKV_OK) {
        return die(writer, err);
    }
    writer->synced_to = writer->size;
    append_mark(writer);
    return LSMKV_OK;
}

bool lsm_wal_would_allocate(const lsm_wal_writer *writer, uint64_t record_bytes) {
    uint64_t around = 2 * LSM_RECORD_HEADER_SIZE + LSM_RECORD_PAD_MAX;

    return writer->allocated != 0 &&
           writer->size + record_bytes + around > writer->allocated;
}

uint64_t lsm_wal_size(const lsm_wal_writer *writer) {
    return writer->size;
}

uint64_t lsm_wal_synced_to(const lsm_wal_writer *writer) {
    return writer->synced_to;
}

uint64_t lsm_wal_number(const lsm_wal_writer *writer) {
    return writer->number;
}

uint64_t lsm_wal_file_id(const lsm_wal_writer *writer) {
    return writer->file_id;
}

bool lsm_wal_dead(const lsm_wal_writer *writer) {
    return writer->dead;
}

bool lsm_wal_full(const lsm_wal_writer *writer) {
    return writer->full;
}

lsmkv_status lsm_wal_close(lsm_wal_writer *writer, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    if (writer == NULL) {
        return LSMKV_OK;
    }
    if (writer->dead) {
        lsm_file_drop(writer->file); /* its failure was reported */
    } else {
        if (writer->allocated > writer->size &&
            lsm_file_truncate(writer->file, writer->size, NULL) != LSMKV_OK) {
            /* The space ahead stays with the file until that is deleted. */
        }
        status = lsm_file_close(writer->file, err);
    }
    lsm_free(writer);
    return status;
}
