/* SPDX-License-Identifier: Apache-2.0
 *
 * Short forms for tests of logs in the simulator: one log with fixed identity, whose
 * payloads follow from their number.
 */
#ifndef LSM_TESTS_WAL_HELP_H
#define LSM_TESTS_WAL_HELP_H

#include "sim_help.h"
#include "wal/wal.h"

#define LOG_NAME "000007.log"

enum { LOG_NUMBER = 7, LOG_FILE_ID = 0x1d1d };

static const uint8_t log_uuid[LSM_UUID_SIZE] = "0123456789abcde";

static const lsm_record_file_header log_header = {
    .type = LSM_FILE_LOG,
    .uuid = "0123456789abcde",
    .number = LOG_NUMBER,
    .file_id = LOG_FILE_ID,
    .previous_sequence = 41,
};

static const lsm_wal_expect log_expect = {
    .type = LSM_FILE_LOG,
    .uuid = log_uuid,
    .number = LOG_NUMBER,
    .file_id = LOG_FILE_ID,
};

static inline lsm_wal_writer *create_log(lsm_dir *dir) {
    lsm_wal_writer *writer = NULL;
    lsmkv_error err;

    CHECK_OK(lsm_wal_create(dir, LOG_NAME, &log_header, &writer, &err));
    return writer;
}

/* Byte `at` of payload `number`. */
static inline uint8_t payload_byte(size_t number, size_t at) {
    return (uint8_t)(number * 31 + at * 7 + (at >> 8));
}

/* A buffer that holds payload `number`, ready for lsm_wal_append. */
static inline lsm_buf make_payload(size_t number, size_t size) {
    lsm_buf buf = {0};

    CHECK(lsm_buf_append_zeros(&buf, (size_t)lsm_record_size(size)));
    for (size_t i = 0; i < size; i++) {
        buf.data[LSM_RECORD_HEADER_SIZE + i] = payload_byte(number, i);
    }
    buf.size = LSM_RECORD_HEADER_SIZE + size;
    return buf;
}

static inline lsmkv_status append_one(lsm_wal_writer *writer, size_t number,
                                      size_t size, lsmkv_error *err) {
    lsm_buf buf = make_payload(number, size);
    lsm_buf *const records[] = {&buf};
    lsmkv_status status = lsm_wal_append(writer, LSM_RECORD_BATCH, records, 1, err);

    lsm_buf_deinit(&buf);
    return status;
}

static inline void check_payload(const lsm_record *record, size_t number, size_t size) {
    CHECK_EQ(record->type, LSM_RECORD_BATCH);
    CHECK_EQ(record->payload.size, size);
    for (size_t i = 0; i < size; i++) {
        if (record->payload.data[i] != payload_byte(number, i)) {
            lsm_test_fail(__FILE__, __LINE__, "payload %zu differs at %zu", number, i);
        }
    }
}

static inline lsm_wal_reader *open_log(lsm_dir *dir) {
    lsm_wal_reader *reader = NULL;
    lsmkv_error err;

    CHECK_OK(lsm_wal_open(dir, LOG_NAME, &log_expect, &reader, NULL, &err));
    return reader;
}

#endif
