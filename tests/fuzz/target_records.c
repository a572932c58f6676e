/* SPDX-License-Identifier: Apache-2.0
 *
 * Targets: records, record files as a log reader sees them, and batches.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xxh3.h"
#include "env/env_sim.h"
#include "format/batch.h"
#include "format/record.h"
#include "table/memtable.h"
#include "targets.h"
#include "wal/wal.h"

#define LOG_PATH "db"
#define LOG_NAME "000007.log"

enum { LOG_NUMBER = 7, RECORDS_MAX = 4096, MEMTABLE_MAX = 1 << 20 };

/* A record that was parsed, sealed again, has the same bytes. */
static void check_sealed(lsm_slice bytes, const lsm_record_file_header *header,
                         const lsm_record *record) {
    uint8_t *copy = fuzz_alloc((size_t)record->size);
    lsm_record_place place = {header->file_id, record->offset, record->synced_to};

    FUZZ_CHECK(record->size <= bytes.size &&
               record->size == lsm_record_size(record->payload.size));
    memcpy(copy, bytes.data, (size_t)record->size);
    lsm_record_seal(copy, record->payload.size, record->type, place);
    /* All but the checksum, which need not have been right. */
    FUZZ_CHECK(memcmp(copy + 8, bytes.data + 8, (size_t)record->size - 8) == 0);
    free(copy);
}

void fuzz_record(lsm_slice input) {
    uint8_t again[LSM_RECORD_FILE_HEADER_SIZE];
    lsm_record_file_header header;
    uint64_t at = LSM_RECORD_FILE_HEADER_SIZE;
    uint64_t size = 0;

    if (lsm_record_file_header_decode(input.data, input.size, "x", &header, NULL) !=
        LSMKV_OK) {
        return;
    }
    lsm_record_file_header_encode(&header, again);
    FUZZ_CHECK(memcmp(again, input.data, sizeof(again) - 8) == 0);
    while (input.size - at >= LSM_RECORD_HEADER_SIZE) {
        lsm_slice rest = lsm_slice_make(input.data + at, (size_t)(input.size - at));
        lsm_record record;
        bool begins = lsm_record_peek(rest.data, at, &size);

        if (lsm_record_parse(rest, header.file_id, at, &record)) {
            FUZZ_CHECK(begins && size == record.size && record.synced_to <= at);
            check_sealed(rest, &header, &record);
            at += record.size;
        } else {
            at += LSM_RECORD_ALIGN;
        }
    }
}

/* What a reader said of a file. */
typedef struct reading {
    uint64_t offsets[RECORDS_MAX];
    size_t count;
    lsmkv_status status;
    uint64_t end;
} reading;

static void read_on(lsm_wal_reader *reader, uint64_t size, reading *said) {
    lsm_record record;
    uint64_t before = said->count > 0 ? said->offsets[said->count - 1] : 0;

    said->status = lsm_wal_next(reader, &record, NULL);
    while (said->status == LSMKV_OK && said->count < RECORDS_MAX) {
        FUZZ_CHECK(record.type != LSM_RECORD_MARK && record.type != LSM_RECORD_PAD);
        FUZZ_CHECK(record.offset > before && record.offset + record.size <= size);
        before = record.offset;
        said->offsets[said->count++] = record.offset;
        said->status = lsm_wal_next(reader, &record, NULL);
    }
    if (said->status == LSMKV_NOT_FOUND) {
        said->end = lsm_wal_end(reader);
        FUZZ_CHECK(said->end <= size && said->end + lsm_wal_dropped(reader) == size);
        FUZZ_CHECK(lsm_wal_highest_mark(reader) <= size);
        FUZZ_CHECK(lsm_wal_file_size(reader) == size);
    }
}

/* All of it at once. false: it cannot be opened. */
static bool read_log(lsm_dir *dir, const lsm_wal_expect *expect, uint64_t size,
                     reading *said) {
    lsm_wal_reader *reader = NULL;
    bool torn = false;
    lsmkv_status status = lsm_wal_open(dir, LOG_NAME, expect, &reader, &torn, NULL);

    if (status != LSMKV_OK) {
        FUZZ_CHECK(status == LSMKV_CORRUPTION || status == LSMKV_NOT_A_DATABASE ||
                   status == LSMKV_UNSUPPORTED_VERSION);
        return false;
    }
    read_on(reader, size, said);
    lsm_wal_reader_close(reader);
    return true;
}

/* In two steps, as a follower does: what it sees at the end is the same. */
static void read_growing(lsm_dir *dir, const lsm_wal_expect *whole, uint64_t size,
                         const reading *expected) {
    static reading said;
    lsm_wal_expect expect = *whole;
    lsm_wal_reader *reader = NULL;
    bool grown = false;

    expect.size_max = size / 2 + 1;
    if (lsm_wal_open(dir, LOG_NAME, &expect, &reader, NULL, NULL) != LSMKV_OK) {
        return;
    }
    said.count = 0;
    read_on(reader, expect.size_max, &said);
    if (said.status == LSMKV_NOT_FOUND &&
        lsm_wal_extend(reader, &grown, NULL) == LSMKV_OK) {
        read_on(reader, size, &said);
        FUZZ_CHECK(said.status == expected->status);
        FUZZ_CHECK(said.count == expected->count);
        FUZZ_CHECK(memcmp(said.offsets, expected->offsets,
                          said.count * sizeof(said.offsets[0])) == 0);
        FUZZ_CHECK(said.status != LSMKV_NOT_FOUND || said.end == expected->end);
    }
    lsm_wal_reader_close(reader);
}

void fuzz_log(lsm_slice input) {
    static reading said;
    lsm_env *env = lsm_sim_create(1);
    lsm_dir *dir = NULL;
    lsm_wal_expect expect = {.type = LSM_FILE_LOG, .number = LOG_NUMBER};

    FUZZ_CHECK(env != NULL);
    FUZZ_CHECK(lsm_dir_open(env, LOG_PATH, true, &dir, NULL) == LSMKV_OK);
    FUZZ_CHECK(lsm_sim_file_write(env, LOG_PATH, LOG_NAME, input.data, input.size));
    if (input.size > 40) {
        expect.type =
            (lsm_record_file_type)(LSM_FILE_LOG + input.data[12] % LSM_FILE_CACHE);
        expect.number = lsm_get_u64(input.data + 32);
    }
    said.count = 0;
    if (read_log(dir, &expect, input.size, &said)) {
        read_growing(dir, &expect, input.size, &said);
    }
    lsm_dir_close(dir);
    lsm_sim_destroy(env);
}

/* Adds all records again. Whether that was possible: a large value of the default
 * namespace may have come in another form. */
static bool copy_batch(lsm_slice payload, lsm_batch *to) {
    lsm_batch_reader reader;
    lsm_batch_record record;

    FUZZ_CHECK(lsm_batch_reader_init(&reader, payload));
    while (lsm_batch_reader_next(&reader, &record)) {
        if (lsm_batch_add_again(to, &record, NULL) != LSMKV_OK) {
            return false;
        }
    }
    return true;
}

/* What goes into a batch comes out of it again. */
static void check_copy(lsm_slice payload) {
    lsm_batch_reader first;
    lsm_batch_reader second;
    lsm_batch_record a;
    lsm_batch_record b;
    lsm_batch batch;

    lsm_batch_init(&batch);
    batch.threshold = SIZE_MAX;
    if (copy_batch(payload, &batch) && batch.count > 0) {
        lsm_slice again = lsm_slice_make(batch.record.data + LSM_RECORD_HEADER_SIZE,
                                         lsm_batch_payload_size(&batch));
        FUZZ_CHECK(lsm_batch_reader_init(&first, payload));
        lsm_batch_stamp(&batch, first.sequence, first.time_ms);
        FUZZ_CHECK(lsm_batch_reader_init(&second, again));
        FUZZ_CHECK(first.sequence == second.sequence && first.left == second.left);
        while (lsm_batch_reader_next(&first, &a)) {
            FUZZ_CHECK(lsm_batch_reader_next(&second, &b));
            FUZZ_CHECK(a.sequence == b.sequence && lsm_slice_equal(a.skey, b.skey));
            FUZZ_CHECK((a.tag | LSM_KIND_POINTER | LSM_KIND_PUT) ==
                       (b.tag | LSM_KIND_POINTER | LSM_KIND_PUT));
            FUZZ_CHECK(a.tag != b.tag || lsm_tag_kind(a.tag) == LSM_KIND_POINTER ||
                       lsm_slice_equal(a.field, b.field));
        }
        FUZZ_CHECK(lsm_batch_reader_ok(&second));
    }
    lsm_batch_deinit(&batch);
}

static void check_reads(lsm_memtable *mem, lsm_slice payload) {
    lsm_batch_reader reader;
    lsm_batch_record record;
    lsm_iter *iter = lsm_memtable_iter(mem);
    uint64_t forward = 0;
    uint64_t backward = 0;

    FUZZ_CHECK(iter != NULL && lsm_batch_reader_init(&reader, payload));
    while (lsm_batch_reader_next(&reader, &record)) {
        lsm_lookup lookup = lsm_lookup_make(record.skey, LSM_SEQUENCE_MAX);
        lsm_found found;

        if (lsm_tag_kind(record.tag) != LSM_KIND_RANGE_DELETE) {
            FUZZ_CHECK(lsm_memtable_get(mem, &lookup, &found) == LSMKV_OK);
            FUZZ_CHECK(lsm_trailer_sequence(found.trailer) >= record.sequence);
        }
    }
    for (lsm_iter_seek_first(iter); iter->valid; lsm_iter_next(iter)) {
        forward++;
    }
    for (lsm_iter_seek_last(iter); iter->valid; lsm_iter_prev(iter)) {
        backward++;
    }
    FUZZ_CHECK(forward == lsm_memtable_entry_count(mem) && forward == backward);
    lsm_iter_destroy(iter);
}

/* Replays it as recovery does. */
static void insert_batch(lsm_slice payload, uint64_t sequence, uint32_t count) {
    lsm_mem_plan plan;
    lsm_memtable *mem = NULL;

    memset(&plan, 0, sizeof(plan));
    FUZZ_CHECK(lsm_mem_plan_init(&plan, payload, NULL) == LSMKV_OK);
    FUZZ_CHECK(plan.sequence_count == count);
    if (sequence != 0 && sequence <= LSM_SEQUENCE_MAX - count &&
        plan.bytes < MEMTABLE_MAX && plan.range_count <= LSM_MEM_RANGES_MAX) {
        mem = lsm_memtable_create(plan.bytes + 64, 1);
        FUZZ_CHECK(mem != NULL && lsm_memtable_left(mem) >= plan.bytes);
        plan.log_number = 1;
        plan.log_offset = LSM_VALUE_ALIGN;
        lsm_memtable_insert(mem, &plan, sequence);
        check_reads(mem, payload);
        lsm_memtable_unref(mem);
    }
    lsm_mem_plan_deinit(&plan);
}

void fuzz_batch(lsm_slice input) {
    lsm_batch_reader reader;
    lsm_batch_record record;
    uint32_t count = 0;
    uint64_t sequence;

    if (!lsm_batch_reader_init(&reader, input)) {
        return;
    }
    sequence = reader.sequence;
    while (lsm_batch_reader_next(&reader, &record)) {
        FUZZ_CHECK(record.skey.size >= LSM_NAMESPACE_SIZE &&
                   record.skey.size <= LSM_SKEY_SIZE_MAX);
        FUZZ_CHECK(record.sequence == sequence + count);
        if (lsm_tag_kind(record.tag) == LSM_KIND_POINTER) {
            lsm_large_value large = lsm_large_value_of(record.tag, record.field);

            FUZZ_CHECK(large.value.size > 0 &&
                       large.value.data + large.value.size ==
                           record.field.data + record.field.size);
        }
        count++;
    }
    if (lsm_batch_reader_ok(&reader)) {
        check_copy(input);
        insert_batch(input, sequence, count);
    }
}
