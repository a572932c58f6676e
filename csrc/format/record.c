/* SPDX-License-Identifier: Apache-2.0
 *
 * The file header and the framing of records. Both checksums cover every byte of what
 * they belong to, padding included; what the reader knows (zeros, the type, where a
 * mark may point) is compared before anything is hashed.
 */
#include "format/record.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/coding.h"
#include "base/mutant.h"
#include "base/xxh3.h"

enum {
    VERSION_AT = 8,
    FILE_TYPE_AT = 12,
    UUID_AT = 16,
    NUMBER_AT = 32,
    FILE_ID_AT = 40,
    PREVIOUS_AT = 48,
    HEADER_CHECKSUM_AT = 56,
};

enum { CHECKSUM_SIZE = 8, PAYLOAD_SIZE_AT = 8, TYPE_AT = 12, SYNCED_TO_AT = 16 };

static const uint8_t file_magic[8] = {'L', 'S', 'M', 'K', 'V', 'R', 'E', 'C'};

_Static_assert(HEADER_CHECKSUM_AT + CHECKSUM_SIZE == LSM_RECORD_FILE_HEADER_SIZE,
               "the checksum ends the file header");
_Static_assert(UUID_AT + LSM_UUID_SIZE == NUMBER_AT, "the UUID fills its place");
_Static_assert(SYNCED_TO_AT + 8 == LSM_RECORD_HEADER_SIZE, "the header ends here");
_Static_assert(LSM_RECORD_HEADER_SIZE % LSM_RECORD_ALIGN == 0, "records stay aligned");

void lsm_record_file_header_encode(const lsm_record_file_header *header,
                                   uint8_t to[LSM_RECORD_FILE_HEADER_SIZE]) {
    memcpy(to, file_magic, sizeof(file_magic));
    lsm_put_u32(to + VERSION_AT, LSM_RECORD_VERSION);
    lsm_put_u32(to + FILE_TYPE_AT, header->type);
    memcpy(to + UUID_AT, header->uuid, LSM_UUID_SIZE);
    lsm_put_u64(to + NUMBER_AT, header->number);
    lsm_put_u64(to + FILE_ID_AT, header->file_id);
    lsm_put_u64(to + PREVIOUS_AT, header->previous_sequence);
    lsm_put_u64(to + HEADER_CHECKSUM_AT, lsm_xxh3(to, HEADER_CHECKSUM_AT));
}

lsmkv_status lsm_record_file_header_decode(const uint8_t *from, size_t size,
                                           const char *file,
                                           lsm_record_file_header *header,
                                           lsmkv_error *err) {
    *header = (lsm_record_file_header){0};
    if (size < LSM_RECORD_FILE_HEADER_SIZE) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, file, 0,
                           "file header of %d bytes expected, found %zu",
                           LSM_RECORD_FILE_HEADER_SIZE, size);
    }
    if (memcmp(from, file_magic, sizeof(file_magic)) != 0) {
        return lsm_fail_at(err, LSMKV_NOT_A_DATABASE, file, 0,
                           "the file does not begin with LSMKVREC");
    }
    /* Every version keeps the checksum in this place, so that a damaged version number
     * is told from a later one. */
    uint64_t expected = lsm_get_u64(from + HEADER_CHECKSUM_AT);
    uint64_t found = lsm_xxh3(from, HEADER_CHECKSUM_AT);
    if (!lsm_checksum_agrees(expected, found)) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, file, 0,
                           "checksum of the file header is %016llx, expected %016llx",
                           (unsigned long long)found, (unsigned long long)expected);
    }
    uint32_t version = lsm_get_u32(from + VERSION_AT);
    if (version != LSM_RECORD_VERSION) {
        return lsm_fail_at(err, LSMKV_UNSUPPORTED_VERSION, file, VERSION_AT,
                           "format version %u, this lsmkv reads version %d", version,
                           LSM_RECORD_VERSION);
    }
    uint32_t type = lsm_get_u32(from + FILE_TYPE_AT);
    if (type < LSM_FILE_LOG || type > LSM_FILE_CACHE) {
        return lsm_fail_at(err, LSMKV_UNSUPPORTED_VERSION, file, FILE_TYPE_AT,
                           "file type %u is of a later version of lsmkv", type);
    }
    header->type = (lsm_record_file_type)type;
    memcpy(header->uuid, from + UUID_AT, LSM_UUID_SIZE);
    header->number = lsm_get_u64(from + NUMBER_AT);
    header->file_id = lsm_get_u64(from + FILE_ID_AT);
    header->previous_sequence = lsm_get_u64(from + PREVIOUS_AT);
    return LSMKV_OK;
}

void lsm_record_seal(uint8_t *record, size_t payload_size, lsm_record_type type,
                     lsm_record_place place) {
    LSM_ASSERT(payload_size <= LSM_RECORD_PAYLOAD_MAX);
    LSM_ASSERT(place.offset % LSM_RECORD_ALIGN == 0);
    LSM_ASSERT(place.synced_to <= place.offset);
    LSM_ASSERT(type != LSM_RECORD_MARK || payload_size == 0);
    size_t size = (size_t)lsm_record_size(payload_size);

    memset(record + LSM_RECORD_HEADER_SIZE + payload_size, 0,
           size - LSM_RECORD_HEADER_SIZE - payload_size);
    lsm_put_u32(record + PAYLOAD_SIZE_AT, (uint32_t)payload_size);
    lsm_put_u32(record + TYPE_AT, type); /* and the three zeros */
    lsm_put_u64(record + SYNCED_TO_AT, place.synced_to);
    lsm_put_u64(record, lsm_checksum(place.file_id, place.offset,
                                     record + CHECKSUM_SIZE, size - CHECKSUM_SIZE));
}

bool lsm_record_peek(const uint8_t *header, uint64_t offset, uint64_t *size) {
    uint32_t payload_size = lsm_get_u32(header + PAYLOAD_SIZE_AT);
    uint32_t type = lsm_get_u32(header + TYPE_AT);

    *size = lsm_record_size(payload_size);
    if (lsm_get_u64(header + SYNCED_TO_AT) > offset) {
        return false;
    }
    switch (type) {
        case LSM_RECORD_BATCH:
        case LSM_RECORD_EDIT:
        case LSM_RECORD_VALUES:
            return payload_size <= LSM_RECORD_PAYLOAD_MAX;
        case LSM_RECORD_PAD:
            return payload_size <= LSM_RECORD_PAD_MAX;
        case LSM_RECORD_MARK:
            return payload_size == 0;
        default:
            return false;
    }
}

bool lsm_record_parse(lsm_slice bytes, uint64_t file_id, uint64_t offset,
                      lsm_record *record) {
    uint64_t size = 0;

    *record = (lsm_record){0};
    if (bytes.size < LSM_RECORD_HEADER_SIZE || offset % LSM_RECORD_ALIGN != 0 ||
        !lsm_record_peek(bytes.data, offset, &size) || size > bytes.size ||
        (!lsm_checksum_agrees(lsm_get_u64(bytes.data),
                              lsm_checksum(file_id, offset, bytes.data + CHECKSUM_SIZE,
                                           (size_t)size - CHECKSUM_SIZE)) &&
         !(LSM_MUTANT(LOG_CHECKSUM_NOT_CHECKED) &&
           bytes.data[TYPE_AT] == LSM_RECORD_BATCH))) {
        return false;
    }
    uint32_t payload_size = lsm_get_u32(bytes.data + PAYLOAD_SIZE_AT);
    const uint8_t *payload = bytes.data + LSM_RECORD_HEADER_SIZE;
    bool is_pad = bytes.data[TYPE_AT] == LSM_RECORD_PAD;
    uint64_t content = LSM_RECORD_HEADER_SIZE + (is_pad ? 0 : payload_size);
    for (uint64_t i = content; i < size; i++) {
        if (bytes.data[i] != 0) {
            return false; /* sealed by nobody who follows the format */
        }
    }
    record->type = (lsm_record_type)bytes.data[TYPE_AT];
    record->offset = offset;
    record->synced_to = lsm_get_u64(bytes.data + SYNCED_TO_AT);
    record->payload = lsm_slice_make(payload, payload_size);
    record->size = size;
    return true;
}

int lsm_uuid_compare(const void *a, const void *b) {
    return memcmp(a, b, LSM_UUID_SIZE);
}

bool lsm_uuids_have(lsm_uuids uuids, const uint8_t uuid[LSM_UUID_SIZE]) {
    return uuids.count > 0 && bsearch(uuid, uuids.list, uuids.count, LSM_UUID_SIZE,
                                      lsm_uuid_compare) != NULL;
}
