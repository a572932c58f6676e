/* SPDX-License-Identifier: Apache-2.0
 *
 * See publish_record.h.
 */
#include "format/publish_record.h"

#include "base/coding.h"

enum { FORMAT = 1, HEAD_SIZE = 34 };

bool lsm_version_name_check(lsmkv_bytes version) {
    return lsm_space_name_check(version) &&
           memchr(version.data, '/', version.size) == NULL;
}

bool lsm_publish_record_encode(const lsm_publish_record *record, lsm_buf *to) {
    uint8_t head[HEAD_SIZE] = {FORMAT, (uint8_t)record->state};

    lsm_put_u64(head + 2, record->created_ms);
    lsm_put_u64(head + 10, record->row_count);
    lsm_put_u64(head + 18, record->byte_count);
    lsm_put_u64(head + 26, record->edit_mark);
    return lsm_buf_append(to, head, sizeof(head)) &&
           lsm_space_encode(&record->space, to);
}

lsmkv_status lsm_publish_record_decode(lsm_slice value, lsm_publish_record *record,
                                       lsmkv_error *err) {
    *record = (lsm_publish_record){0};
    if (value.size > 0 && value.data[0] != FORMAT) {
        return lsm_fail(err, LSMKV_UNSUPPORTED_VERSION,
                        "something published in format %d", value.data[0]);
    }
    if (value.size < HEAD_SIZE ||
        (value.data[1] != LSM_PUBLISH_BEGUN && value.data[1] != LSM_PUBLISH_COMPLETE)) {
        return lsm_fail(err, LSMKV_CORRUPTION, "the record of something published");
    }
    record->state = (lsm_publish_state)value.data[1];
    record->created_ms = lsm_get_u64(value.data + 2);
    record->row_count = lsm_get_u64(value.data + 10);
    record->byte_count = lsm_get_u64(value.data + 18);
    record->edit_mark = lsm_get_u64(value.data + 26);
    lsm_slice rest = lsm_slice_make(value.data + HEAD_SIZE, value.size - HEAD_SIZE);
    lsmkv_status status = lsm_space_decode(rest, &record->space, err);
    record->space.sealed = true;
    return status;
}

lsmkv_status lsm_publish_key_split(lsm_slice rest, lsmkv_bytes *name,
                                   lsmkv_bytes *version, lsmkv_error *err) {
    size_t at = rest.size;

    while (at > 0 && rest.data[at - 1] != '/') {
        at--;
    }
    size_t name_size = at > 0 ? at - 1 : 0;
    *name = (lsmkv_bytes){rest.data, name_size};
    *version = (lsmkv_bytes){rest.data + at, rest.size - at};
    return lsm_space_name_check(*name) && lsm_version_name_check(*version)
               ? LSMKV_OK
               : lsm_fail(err, LSMKV_CORRUPTION, "the name of something published");
}
