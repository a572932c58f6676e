/* SPDX-License-Identifier: Apache-2.0
 *
 * Building and reading batches. Building reserves once per record, for everything the
 * record and a later padding need, and then writes without checks. Reading decodes
 * sizes of one byte in line: those are nearly all sizes there are, and every batch is
 * read once on its way into the memtable.
 */
#include "format/batch.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

enum {
    SEQUENCE_AT = 0,
    TIME_AT = 8,
    COUNT_AT = 16,
    /* tag, size and namespace of the key, size of the value field */
    RECORD_SIZE_MIN = 1 + 1 + LSM_NAMESPACE_SIZE + 1,
    TIMES_SIZE_MAX = 16,
    /* What a large value has before its bytes: checksum, size, zeros. */
    LARGE_EXTRA_MAX = 8 + LSM_VARINT_SIZE_MAX + 2 * LSM_VALUE_ALIGN,
    RECORD_EXTRA_MAX = 1 + 2 * LSM_VARINT_SIZE_MAX + LSM_NAMESPACE_SIZE +
        TIMES_SIZE_MAX + LARGE_EXTRA_MAX,
    FIELD_PREFIX_MAX = 5, /* bytes of the size of a value field */
};

_Static_assert(COUNT_AT + 4 == LSM_BATCH_HEADER_SIZE, "the count ends the header");
_Static_assert(LSM_SKEY_SIZE_MAX == LSM_NAMESPACE_SIZE + LSMKV_KEY_SIZE_MAX,
               "the limits of format and interface agree");

void lsm_batch_init(lsm_batch *batch) {
    *batch = (lsm_batch){0};
    lsm_buf_init(&batch->record);
    batch->threshold = SIZE_MAX;
    batch->large_min = SIZE_MAX;
}

void lsm_batch_deinit(lsm_batch *batch) {
    lsm_buf_deinit(&batch->record);
    lsm_free(batch->ttls);
    lsm_free(batch->spaces);
    *batch = (lsm_batch){0};
    lsm_buf_init(&batch->record);
}

void lsm_batch_clear(lsm_batch *batch) {
    lsm_buf_clear(&batch->record);
    batch->count = 0;
    batch->ttl_count = 0;
    batch->inline_max = 0;
    batch->large_min = SIZE_MAX;
    batch->space_count = 0;
    batch->caches = false;
}

/* Remembers that a record names a namespace. */
static lsmkv_status note_space(lsm_batch *batch, uint32_t id, lsmkv_error *err) {
    size_t place = batch->space_count;
    void *spaces = batch->spaces;

    while (place > 0 && batch->spaces[place - 1] >= id) {
        place--;
    }
    if (place < batch->space_count && batch->spaces[place] == id) {
        return LSMKV_OK;
    }
    if (!lsm_grow(&spaces, &batch->space_capacity, batch->space_count + 1,
                  sizeof(*batch->spaces))) {
        return lsm_fail_memory(err, (batch->space_count + 1) * sizeof(*batch->spaces));
    }
    batch->spaces = spaces;
    memmove(batch->spaces + place + 1, batch->spaces + place,
            (batch->space_count - place) * sizeof(*batch->spaces));
    batch->spaces[place] = id;
    batch->space_count++;
    return LSMKV_OK;
}

/* The size of a varint and the varint itself, with the one-byte case in line. */
static inline size_t size_of_varint(size_t value) {
    return LSM_LIKELY(value < 0x80) ? 1 : lsm_varint_size(value);
}

static inline uint8_t *put_varint(uint8_t *to, size_t value) {
    if (LSM_LIKELY(value < 0x80)) {
        *to = (uint8_t)value;
        return to + 1;
    }
    return to + lsm_put_varint(to, value);
}

static inline uint8_t *put_bytes(uint8_t *to, const void *data, size_t size) {
    if (size != 0) {
        memcpy(to, data, size);
    }
    return to + size;
}

/* What a record is but for key and value. `prefix` comes before the value. */
typedef struct record_head {
    uint8_t tag;
    uint8_t prefix_size;
    uint32_t namespace_id;
    uint8_t prefix[TIMES_SIZE_MAX];
    size_t field_at; /* out: where in the batch the value field begins */
} record_head;

/* The zeros before a large value, and with them the size of its field, whose own size
 * begins at `at` of the log record. Where the value lies depends on how many bytes that
 * size takes, and the other way round: the first number of bytes that fits is taken,
 * with another LSM_VALUE_ALIGN zeros where only that makes it fit. */
static size_t place_large(size_t at, size_t times, size_t value_size, size_t *field) {
    for (size_t prefix = 1;; prefix++) {
        size_t head = times + 8 + lsm_varint_size(value_size);
        size_t zeros = (0 - (at + prefix + head)) & (LSM_VALUE_ALIGN - 1);

        LSM_ASSERT(prefix <= FIELD_PREFIX_MAX); /* which fit every field */
        *field = head + zeros + value_size;
        if (lsm_varint_size(*field) == prefix) {
            return zeros;
        }
        if (lsm_varint_size(*field + LSM_VALUE_ALIGN) == prefix) {
            *field += LSM_VALUE_ALIGN;
            return zeros + LSM_VALUE_ALIGN;
        }
    }
}

/* A large value with what comes before it. The checksum is that of the copy: the
 * caller's bytes may be another thread's to change. */
static void put_large(uint8_t *checksum, size_t zeros, lsmkv_bytes value) {
    uint8_t *to = put_varint(checksum + 8, value.size);

    memset(to, 0, zeros);
    memcpy(to + zeros, value.data, value.size);
    lsm_put_u64(checksum, lsm_xxh3(to + zeros, value.size));
}

static void note_value(lsm_batch *batch, bool large, size_t size) {
    if (large) {
        batch->large_min = size < batch->large_min ? size : batch->large_min;
    } else {
        batch->inline_max = size > batch->inline_max ? size : batch->inline_max;
    }
}

static lsmkv_status add_record(lsm_batch *batch, record_head *what, lsmkv_bytes key,
                               lsmkv_bytes value, lsmkv_error *err) {
    lsm_buf *record = &batch->record;
    size_t head =
        batch->count == 0 ? LSM_RECORD_HEADER_SIZE + LSM_BATCH_HEADER_SIZE : 0;

    if (LSM_UNLIKELY(key.size > LSMKV_KEY_SIZE_MAX)) {
        return lsm_fail(err, LSMKV_LIMIT_EXCEEDED, "key of %zu bytes: at most %d",
                        key.size, LSMKV_KEY_SIZE_MAX);
    }
    if (LSM_UNLIKELY(value.size > LSMKV_VALUE_SIZE_MAX)) {
        return lsm_fail(err, LSMKV_LIMIT_EXCEEDED, "value of %zu bytes: at most %d",
                        value.size, LSMKV_VALUE_SIZE_MAX);
    }
    size_t skey_size = LSM_NAMESPACE_SIZE + key.size;
    size_t field_size = what->prefix_size + value.size;
    size_t room = head + RECORD_EXTRA_MAX + key.size + value.size + LSM_RECORD_ALIGN;
    size_t key_end = head + 1 + size_of_varint(skey_size) + skey_size;
    size_t zeros = 0;
    bool large = LSM_UNLIKELY(value.size >= batch->threshold) &&
                 what->namespace_id != LSM_NAMESPACE_SYSTEM &&
                 lsm_tag_kind(what->tag) == LSM_KIND_PUT;
    if (large) {
        what->tag += LSM_KIND_POINTER - LSM_KIND_PUT;
        zeros = place_large(record->size + key_end, what->prefix_size, value.size,
                            &field_size);
    }
    size_t size = key_end + size_of_varint(field_size) + field_size;
    if (LSM_UNLIKELY(size > LSM_RECORD_HEADER_SIZE + (size_t)LSMKV_BATCH_SIZE_MAX -
                                record->size)) {
        return lsm_fail(err, LSMKV_LIMIT_EXCEEDED,
                        "batch of more than %d bytes: write what is there, then go on",
                        LSMKV_BATCH_SIZE_MAX);
    }
    if (LSM_UNLIKELY(!lsm_buf_reserve(record, room))) {
        return lsm_fail_memory(err, record->size + room);
    }
    if (LSM_UNLIKELY(what->namespace_id > LSM_NAMESPACE_DEFAULT) &&
        note_space(batch, what->namespace_id, err) != LSMKV_OK) {
        return LSMKV_NO_MEMORY;
    }
    uint8_t *to = record->data + record->size;
    if (head != 0) {
        memset(to, 0, head);
        to += head;
    }
    *to++ = what->tag;
    to = put_varint(to, skey_size);
    lsm_put_u32_be(to, what->namespace_id);
    to = put_bytes(to + LSM_NAMESPACE_SIZE, key.data, key.size);
    to = put_varint(to, field_size);
    what->field_at = (size_t)(to - record->data);
    to = put_bytes(to, what->prefix, what->prefix_size);
    if (large) {
        put_large(to, zeros, value);
    } else {
        (void)put_bytes(to, value.data, value.size);
    }
    record->size += size;
    batch->count++;
    if (what->namespace_id == LSM_NAMESPACE_DEFAULT && lsm_tag_has_value(what->tag)) {
        note_value(batch, large, value.size);
    }
    return LSMKV_OK;
}

lsmkv_status lsm_batch_put(lsm_batch *batch, uint32_t namespace_id, lsmkv_bytes key,
                           lsmkv_bytes value, lsmkv_error *err) {
    record_head head = {.tag = LSM_KIND_PUT, .namespace_id = namespace_id};

    return add_record(batch, &head, key, value, err);
}

/* Adds a value with its times. */
static lsmkv_status add_timed(lsm_batch *batch, record_head *head,
                              const lsm_times *times, lsmkv_bytes key,
                              lsmkv_bytes value, lsmkv_error *err) {
    void *ttls = batch->ttls;

    if (times->ttl_ms != 0 || times->expire_at != 0) {
        head->tag |= LSM_TAG_EXPIRES;
        lsm_put_u64(head->prefix, times->expire_at);
        head->prefix_size = 8;
    }
    if (times->fresh_until != 0 || (times->ttl_ms != 0 && times->stale_ms != 0)) {
        head->tag |= LSM_TAG_FRESH;
        lsm_put_u64(head->prefix + head->prefix_size, times->fresh_until);
        head->prefix_size += 8;
    }
    if (times->ttl_ms != 0 && !lsm_grow(&ttls, &batch->ttl_capacity,
                                        batch->ttl_count + 1, sizeof(*batch->ttls))) {
        return lsm_fail_memory(err, (batch->ttl_count + 1) * sizeof(*batch->ttls));
    }
    batch->ttls = ttls;
    lsmkv_status status = add_record(batch, head, key, value, err);
    if (status == LSMKV_OK && times->ttl_ms != 0) {
        batch->ttls[batch->ttl_count++] =
            (lsm_batch_ttl){head->field_at, times->ttl_ms, times->stale_ms};
    }
    return status;
}

lsmkv_status lsm_batch_put_timed(lsm_batch *batch, uint32_t namespace_id,
                                 const lsm_times *times, lsmkv_bytes key,
                                 lsmkv_bytes value, lsmkv_error *err) {
    record_head head = {.tag = LSM_KIND_PUT, .namespace_id = namespace_id};

    return add_timed(batch, &head, times, key, value, err);
}

lsmkv_status lsm_batch_put_cached(lsm_batch *batch, uint32_t namespace_id,
                                  const lsm_times *times, lsmkv_bytes key,
                                  const lsm_pointer *pointer, lsmkv_error *err) {
    record_head head = {.tag = LSM_KIND_CACHED, .namespace_id = namespace_id};
    uint8_t field[LSM_POINTER_SIZE];

    lsm_pointer_encode(pointer, field);
    return add_timed(batch, &head, times, key, (lsmkv_bytes){field, sizeof(field)},
                     err);
}

lsmkv_status lsm_batch_delete(lsm_batch *batch, uint32_t namespace_id, lsmkv_bytes key,
                              lsmkv_error *err) {
    record_head head = {.tag = LSM_KIND_DELETE, .namespace_id = namespace_id};
    lsmkv_bytes nothing = {NULL, 0};

    return add_record(batch, &head, key, nothing, err);
}

/* So much later, and never so late as LSM_NEVER. */
static uint64_t later_by(uint64_t moment_ms, uint64_t ms) {
    return ms < LSM_NEVER - moment_ms ? moment_ms + ms : LSM_NEVER - 1;
}

void lsm_batch_resolve(lsm_batch *batch, uint64_t now_ms) {
    for (size_t i = 0; i < batch->ttl_count; i++) {
        const lsm_batch_ttl *ttl = &batch->ttls[i];
        uint8_t *at = batch->record.data + ttl->offset;
        uint64_t fresh_until = later_by(now_ms, ttl->ttl_ms);

        lsm_put_u64(at, later_by(fresh_until, ttl->stale_ms));
        if (ttl->stale_ms != 0) {
            lsm_put_u64(at + 8, fresh_until);
        }
    }
}

lsmkv_status lsm_batch_delete_range(lsm_batch *batch, uint32_t namespace_id,
                                    const lsmkv_range *range, lsmkv_error *err) {
    bool has_start = range != NULL && range->has_start;
    bool has_stop = range != NULL && range->has_stop;
    lsmkv_bytes none = {NULL, 0};
    lsmkv_bytes start = has_start ? range->start : none;
    lsmkv_bytes stop = has_stop ? range->stop : none;
    record_head head = {.tag = LSM_KIND_RANGE_DELETE,
                        .prefix_size = LSM_NAMESPACE_SIZE,
                        .namespace_id = namespace_id};

    if (stop.size > LSMKV_KEY_SIZE_MAX) {
        return lsm_fail(err, LSMKV_LIMIT_EXCEEDED, "key of %zu bytes: at most %d",
                        stop.size, LSMKV_KEY_SIZE_MAX);
    }
    if (has_stop && lsm_slice_compare(lsm_slice_make(start.data, start.size),
                                      lsm_slice_make(stop.data, stop.size)) >= 0) {
        return LSMKV_OK;
    }
    lsm_put_u32_be(head.prefix, has_stop ? namespace_id : namespace_id + 1);
    return add_record(batch, &head, start, stop, err);
}

/* A record's tag and times, for another batch. */
static record_head head_of(const lsm_batch_record *record) {
    record_head head = {.tag = record->tag,
                        .prefix_size = (uint8_t)lsm_times_size(record->tag),
                        .namespace_id = lsm_get_u32_be(record->skey.data)};

    memcpy(head.prefix, record->field.data, head.prefix_size);
    return head;
}

static lsmkv_bytes key_of(const lsm_batch_record *record) {
    return (lsmkv_bytes){record->skey.data + LSM_NAMESPACE_SIZE,
                         record->skey.size - LSM_NAMESPACE_SIZE};
}

lsmkv_status lsm_batch_add_again(lsm_batch *batch, const lsm_batch_record *record,
                                 lsmkv_error *err) {
    record_head head = head_of(record);
    lsm_slice value = lsm_value_of_field(record->tag, record->field);
    bool large = lsm_tag_kind(record->tag) == LSM_KIND_POINTER;
    size_t threshold = batch->threshold;

    if (large) {
        value = lsm_large_value_of(record->tag, record->field).value;
        head.tag -= LSM_KIND_POINTER - LSM_KIND_PUT;
    }
    if (head.namespace_id > LSM_NAMESPACE_DEFAULT) {
        batch->threshold = large ? 0 : SIZE_MAX;
    }
    lsmkv_status status = add_record(batch, &head, key_of(record),
                                     (lsmkv_bytes){value.data, value.size}, err);
    batch->threshold = threshold;
    return status;
}

lsmkv_status lsm_batch_add_cached(lsm_batch *batch, const lsm_batch_record *record,
                                  const lsm_pointer *pointer, lsmkv_error *err) {
    record_head head = head_of(record);
    uint8_t field[LSM_POINTER_SIZE];

    head.tag += LSM_KIND_CACHED - LSM_KIND_PUT;
    lsm_pointer_encode(pointer, field);
    return add_record(batch, &head, key_of(record), (lsmkv_bytes){field, sizeof(field)},
                      err);
}

lsmkv_status lsm_batch_convert(const lsm_batch *from, lsm_batch *to, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_batch_reader reader;
    lsm_batch_record record;
    bool ok = lsm_batch_reader_init(
        &reader, lsm_slice_make(from->record.data + LSM_RECORD_HEADER_SIZE,
                                lsm_batch_payload_size(from)));

    LSM_ASSERT(ok);
    while (lsm_batch_reader_next(&reader, &record)) {
        LSM_TRY(lsm_batch_add_again(to, &record, err));
    }
    LSM_ASSERT(lsm_batch_reader_ok(&reader));
out:
    return status;
}

void lsm_batch_stamp(lsm_batch *batch, uint64_t sequence, uint64_t time_ms) {
    LSM_ASSERT(batch->count != 0);
    LSM_ASSERT(sequence <= LSM_SEQUENCE_MAX - (batch->count - 1));
    uint8_t *payload = batch->record.data + LSM_RECORD_HEADER_SIZE;

    lsm_put_u64(payload + SEQUENCE_AT, sequence);
    lsm_put_u64(payload + TIME_AT, time_ms);
    lsm_put_u32(payload + COUNT_AT, batch->count);
}

bool lsm_batch_reader_init(lsm_batch_reader *reader, lsm_slice payload) {
    uint32_t count = 0;

    reader->reader = lsm_reader_make(payload);
    reader->payload = payload.data;
    lsm_read_u64(&reader->reader, &reader->sequence);
    lsm_read_u64(&reader->reader, &reader->time_ms);
    lsm_read_u32(&reader->reader, &count);
    /* An absurd count is refused here, so that callers may reserve by it. */
    bool ok = !reader->reader.failed && count != 0 &&
              count <= lsm_reader_left(&reader->reader) / RECORD_SIZE_MIN &&
              reader->sequence <= LSM_SEQUENCE_MAX - (count - 1);
    reader->reader.failed = !ok;
    reader->left = ok ? count : 0;
    return ok;
}

/* Reads a size and that many bytes, of which there are at most 2^31. NULL: malformed.
 */
static inline const uint8_t *take_slice(const uint8_t *at, const uint8_t *end,
                                        lsm_slice *bytes) {
    uint32_t size = 0;

    if (LSM_LIKELY(at < end && *at < 0x80)) {
        size = *at++;
    } else {
        at = lsm_get_varint32(at, end, &size);
        if (at == NULL) {
            return NULL;
        }
    }
    if (size > (size_t)(end - at)) {
        return NULL;
    }
    *bytes = lsm_slice_make(at, size);
    return at + size;
}

/* *zeros: what lies between size and value. false: malformed. */
static bool split_large(uint8_t tag, lsm_slice field, lsm_large_value *large,
                        lsm_slice *zeros) {
    lsm_reader reader = lsm_reader_make(field);
    lsm_slice times;
    uint64_t size = 0;

    lsm_read_bytes(&reader, lsm_times_size(tag), &times);
    lsm_read_u64(&reader, &large->checksum);
    if (!lsm_read_varint(&reader, &size) || size == 0 ||
        size > lsm_reader_left(&reader)) {
        return false;
    }
    zeros->size = lsm_reader_left(&reader) - (size_t)size;
    zeros->data = reader.at;
    large->value = lsm_slice_make(reader.at + zeros->size, (size_t)size);
    return true;
}

static LSM_NOINLINE bool large_fits(const lsm_batch_reader *reader, uint8_t tag,
                                    lsm_slice field) {
    lsm_large_value large;
    lsm_slice zeros;

    if ((tag & ~(LSM_TAG_KIND_MASK | LSM_TAG_EXPIRES | LSM_TAG_FRESH)) != 0 ||
        !split_large(tag, field, &large, &zeros) || zeros.size >= 2 * LSM_VALUE_ALIGN) {
        return false;
    }
    for (size_t i = 0; i < zeros.size; i++) {
        if (zeros.data[i] != 0) {
            return false;
        }
    }
    size_t at = (size_t)(large.value.data - reader->payload) + LSM_RECORD_HEADER_SIZE;
    return at % LSM_VALUE_ALIGN == 0;
}

lsm_large_value lsm_large_value_of(uint8_t tag, lsm_slice field) {
    lsm_large_value large = {0};
    lsm_slice zeros;
    bool ok = split_large(tag, field, &large, &zeros);

    LSM_ASSERT(ok);
    return large;
}

/* lsm_record_check, with the common case in line. */
static inline bool record_fits(const lsm_batch_reader *reader,
                               const lsm_batch_record *record) {
    if (LSM_LIKELY(record->tag == LSM_KIND_PUT)) {
        return true;
    }
    if (record->tag == LSM_KIND_RANGE_DELETE) {
        return lsm_range_check(record->skey, record->field);
    }
    return lsm_tag_kind(record->tag) == LSM_KIND_POINTER
               ? large_fits(reader, record->tag, record->field)
               : lsm_record_check(record->tag, record->field) &&
                     lsm_kind_fits(record->tag, record->skey);
}

bool lsm_batch_reader_next(lsm_batch_reader *reader, lsm_batch_record *record) {
    const uint8_t *at = reader->reader.at;
    const uint8_t *end = reader->reader.end;

    if (reader->left == 0 || reader->reader.failed) {
        return false;
    }
    if (LSM_LIKELY(at < end)) {
        record->tag = *at;
        at = take_slice(at + 1, end, &record->skey);
        at = at == NULL ? NULL : take_slice(at, end, &record->field);
    } else {
        at = NULL;
    }
    if (LSM_UNLIKELY(at == NULL || record->skey.size < LSM_NAMESPACE_SIZE ||
                     record->skey.size > LSM_SKEY_SIZE_MAX ||
                     !record_fits(reader, record))) {
        reader->reader.failed = true;
        return false;
    }
    record->sequence = reader->sequence++;
    reader->left--;
    reader->reader.at = at;
    return true;
}
