/* SPDX-License-Identifier: Apache-2.0
 *
 * Batch: the unit of writing; its encoding is the payload of a log record.
 *
 *   sequence u64 of the first record | engine time u64 (ms) | count u32 | record*
 *   record: tag u8 | stored key (varint size, bytes) | value field (varint size, bytes)
 *
 * Record i has sequence + i. DELETE has an empty value. See ikey.h for tags and fields;
 * a batch is where a RANGE_DELETE is a record.
 * A large value is a record of kind POINTER, whose field holds the value itself:
 *
 *   [times] checksum u64 (XXH3-64 of the value) | size varint, at least 1 | zeros,
 * fewer than 128 | value
 *
 * so that the value starts at a multiple of LSM_VALUE_ALIGN from the start of the log
 * record, and the log is where it stays.
 *
 * A value given with a time to live, ttl, relative to the write, has room for its
 * times, which lsm_batch_resolve fills in. So a batch can be written again later.
 *
 * In memory a batch keeps LSM_RECORD_HEADER_SIZE bytes free before its payload and 8
 * behind it, so that the log writes it from where it lies.
 */
#ifndef LSM_FORMAT_BATCH_H
#define LSM_FORMAT_BATCH_H

#include "base/buf.h"
#include "base/coding.h"
#include "base/status.h"
#include "format/ikey.h"
#include "format/record.h"

enum { LSM_BATCH_HEADER_SIZE = 20, LSM_BLOB_THRESHOLD_DEFAULT = 1024 };

/* Where an expire_at is to be written, and how far ahead; behind it, with a stale_ms, a
 * fresh_until. */
typedef struct lsm_batch_ttl {
    size_t offset; /* in `record` */
    uint64_t ttl_ms;
    uint64_t stale_ms;
} lsm_batch_ttl;

typedef struct lsm_batch {
    lsm_buf record; /* header room, payload; capacity for the padding; owned */
    uint32_t count;
    lsm_batch_ttl *ttls; /* owned */
    size_t ttl_count, ttl_capacity;
    uint32_t *spaces; /* the namespaces named, but for system and default; ascending;
                         owned */
    size_t space_count, space_capacity;
    size_t threshold;  /* values from this size on are large; SIZE_MAX: none is */
    size_t inline_max; /* the largest value that is not, of the default namespace */
    size_t large_min;  /* the smallest that is; SIZE_MAX without any */
    bool caches;       /* there are values of caches, to be placed when it is written */
} lsm_batch;

/* When a value ends; all zero: never. Either ttl_ms, and with it perhaps stale_ms, or
 * the moments are given. */
typedef struct lsm_times {
    uint64_t ttl_ms;   /* for which it is fresh */
    uint64_t stale_ms; /* and then stale */
    uint64_t expire_at;
    uint64_t fresh_until;
} lsm_times;

void lsm_batch_init(lsm_batch *batch);
void lsm_batch_deinit(lsm_batch *batch);
void lsm_batch_clear(lsm_batch *batch); /* keeps the memory */
/* Whether every value of the default namespace has the form that a threshold asks for.
 */
static inline bool lsm_batch_suits(const lsm_batch *batch, size_t threshold) {
    return batch->inline_max < threshold && batch->large_min >= threshold;
}
/* A copy, in an empty initialised batch with a threshold. Records of named namespaces,
 * whose threshold was known when they were added, keep their form. */
lsmkv_status lsm_batch_convert(const lsm_batch *from, lsm_batch *to,
                               lsmkv_error *err) LSM_MUST_CHECK;

/* Append a record to the batch; LIMIT_EXCEEDED or NO_MEMORY leave it as it was. */
lsmkv_status lsm_batch_put(lsm_batch *batch, uint32_t namespace_id, lsmkv_bytes key,
                           lsmkv_bytes value, lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_batch_put_timed(lsm_batch *batch, uint32_t namespace_id,
                                 const lsm_times *times, lsmkv_bytes key,
                                 lsmkv_bytes value, lsmkv_error *err) LSM_MUST_CHECK;
/* A value that was put into a cache segment. */
lsmkv_status lsm_batch_put_cached(lsm_batch *batch, uint32_t namespace_id,
                                  const lsm_times *times, lsmkv_bytes key,
                                  const lsm_pointer *pointer,
                                  lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_batch_delete(lsm_batch *batch, uint32_t namespace_id, lsmkv_bytes key,
                              lsmkv_error *err) LSM_MUST_CHECK;
/* A range that holds no key adds nothing. */
lsmkv_status lsm_batch_delete_range(lsm_batch *batch, uint32_t namespace_id,
                                    const lsmkv_range *range,
                                    lsmkv_error *err) LSM_MUST_CHECK;

/* Payload bytes; 0 for an empty batch. */
static inline size_t lsm_batch_payload_size(const lsm_batch *batch) {
    return batch->count == 0 ? 0 : batch->record.size - LSM_RECORD_HEADER_SIZE;
}

/* Writes sequence, time and count into the payload. The batch is not empty. */
void lsm_batch_stamp(lsm_batch *batch, uint64_t sequence, uint64_t time_ms);

/* Writes the times of every record with a ttl, counted from `now_ms`. */
void lsm_batch_resolve(lsm_batch *batch, uint64_t now_ms);

/* Reading a payload. */
typedef struct lsm_batch_reader {
    lsm_reader reader;
    uint64_t sequence; /* of the next record */
    uint64_t time_ms;
    uint32_t left; /* records not read yet */
    const uint8_t *payload;
} lsm_batch_reader;

typedef struct lsm_batch_record {
    uint64_t sequence;
    uint8_t tag;
    lsm_slice skey;  /* borrowed from the payload */
    lsm_slice field; /* value field, likewise */
} lsm_batch_record;

/* A large value inside the value field of a batch. */
typedef struct lsm_large_value {
    uint64_t checksum;
    lsm_slice value;
} lsm_large_value;

/* Append a record of another batch as it is; in the default namespace, as the batch's
 * threshold wants it. */
lsmkv_status lsm_batch_add_again(lsm_batch *batch, const lsm_batch_record *record,
                                 lsmkv_error *err) LSM_MUST_CHECK;
/* Append a record with times and key of another and, for its value, a pointer into a
 * cache segment. */
lsmkv_status lsm_batch_add_cached(lsm_batch *batch, const lsm_batch_record *record,
                                  const lsm_pointer *pointer,
                                  lsmkv_error *err) LSM_MUST_CHECK;

/* Takes apart the field of a POINTER that lsm_batch_reader_next let pass. */
lsm_large_value lsm_large_value_of(uint8_t tag, lsm_slice field);

/* false: not a batch. Checks the header alone. */
bool lsm_batch_reader_init(lsm_batch_reader *reader, lsm_slice payload);
/* true and the next record; false at the end or at a malformed record: then
 * lsm_batch_reader_ok says which. */
bool lsm_batch_reader_next(lsm_batch_reader *reader, lsm_batch_record *record);
static inline bool lsm_batch_reader_ok(const lsm_batch_reader *reader) {
    return reader->left == 0 && lsm_reader_done(&reader->reader);
}

#endif
