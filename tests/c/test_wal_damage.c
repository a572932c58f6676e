/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: damage to what was synced is reported at its record, damage behind the last
 * mark ends the log, and no hostile file makes the reader ask for memory or time that
 * its size does not justify. Method: every flipped bit, every truncation, forged
 * headers and marks.
 */
#include "test.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/coding.h"
#include "base/rng.h"
#include "base/xxh3.h"
#include "wal_help.h"

/* A small log with every situation in its bytes: synced records, two marks in a row
 * but for a record, unsynced records behind the last mark. */
typedef struct sample_log {
    lsm_env *env;
    lsm_dir *dir;
    uint8_t *bytes; /* a copy of the file; owned */
    size_t size;
    uint64_t offsets[16]; /* of every record, marks included, and of the end */
    uint64_t marks[16];   /* what a mark says, 0 for records */
    size_t numbers[16];   /* of the payload */
    size_t count;
} sample_log;

static const size_t sample_sizes[] = {5, 0, 40, 17, 8, 64};

static void make_sample(sample_log *log) {
    const uint8_t *data = NULL;
    lsm_record record;
    lsmkv_error err;

    *log = (sample_log){0};
    log->env = sim_make(5, &log->dir);
    lsm_wal_writer *writer = create_log(log->dir);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(sample_sizes); i++) {
        CHECK_OK(append_one(writer, i, sample_sizes[i], &err));
        if (i == 1 || i == 2 || i == 3) {
            CHECK_OK(lsm_wal_sync(writer, &err));
        }
    }
    CHECK_OK(lsm_wal_close(writer, &err));
    CHECK(lsm_sim_file_read(log->env, SIM_PATH, LOG_NAME, &data, &log->size));
    log->bytes = lsm_alloc(log->size);
    CHECK(log->bytes != NULL);
    memcpy(log->bytes, data, log->size);
    uint64_t at = LSM_RECORD_FILE_HEADER_SIZE;
    for (size_t number = 0; at < log->size; log->count++) {
        lsm_slice rest = lsm_slice_make(log->bytes + at, log->size - (size_t)at);

        CHECK(lsm_record_parse(rest, LOG_FILE_ID, at, &record));
        log->offsets[log->count] = at;
        log->numbers[log->count] = number;
        if (record.type == LSM_RECORD_MARK) {
            log->marks[log->count] = record.synced_to;
        } else {
            number++;
        }
        at += record.size;
    }
    log->offsets[log->count] = at;
    CHECK_EQ(log->count, 9);
}

static void free_sample(sample_log *log) {
    lsm_free(log->bytes);
    sim_end(log->env, log->dir);
}

static void put_file(sample_log *log, const uint8_t *bytes, size_t size) {
    CHECK(lsm_sim_file_write(log->env, SIM_PATH, LOG_NAME, bytes, size));
}

/* Reads the file, of which `present` records are there and `bad` is the first bad one
 * (present: none is), and checks that it ends there, as corruption when a mark behind
 * it covers it. Returns whether one does. */
static bool check_ends_at(sample_log *log, size_t bad, size_t present) {
    lsm_wal_reader *reader = open_log(log->dir);
    uint64_t end = log->offsets[bad];
    bool covered = false;
    lsm_record record;
    lsmkv_error err;

    for (size_t i = bad + 1; i < present; i++) {
        covered = covered || log->marks[i] > end;
    }
    for (size_t i = 0; i < bad; i++) {
        if (log->marks[i] == 0) {
            CHECK_OK(lsm_wal_next(reader, &record, &err));
            CHECK_EQ(record.offset, log->offsets[i]);
            check_payload(&record, log->numbers[i], sample_sizes[log->numbers[i]]);
        }
    }
    for (int round = 0; round < 2; round++) {
        CHECK_STATUS(lsm_wal_next(reader, &record, &err),
                     covered ? LSMKV_CORRUPTION : LSMKV_NOT_FOUND);
        CHECK_EQ(record.type, LSM_RECORD_NONE);
        if (covered) {
            CHECK(strcmp(err.file, LOG_NAME) == 0);
            CHECK_EQ(err.offset, end);
        } else {
            CHECK_EQ(lsm_wal_end(reader), end);
        }
    }
    lsm_wal_reader_close(reader);
    return covered;
}

LSM_TEST(every_flipped_bit_below_the_highest_mark_is_corruption_at_its_record) {
    sample_log log;
    size_t covered = 0;
    size_t ended = 0;

    make_sample(&log);
    for (size_t i = 0; i < log.count; i++) {
        size_t begin = (size_t)log.offsets[i] * 8;
        size_t end = (size_t)log.offsets[i + 1] * 8;

        for (size_t bit = begin; bit < end; bit++) {
            log.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            put_file(&log, log.bytes, log.size);
            if (check_ends_at(&log, i, log.count)) {
                covered++;
            } else {
                ended++;
            }
            log.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
    put_file(&log, log.bytes, log.size);
    CHECK(!check_ends_at(&log, log.count, log.count));
    /* Everything below the last mark but for that mark itself, nothing above it. */
    uint64_t last_mark = log.offsets[6];
    CHECK(log.marks[6] != 0 && log.marks[7] == 0 && log.marks[8] == 0);
    CHECK_EQ(covered, (last_mark - LSM_RECORD_FILE_HEADER_SIZE) * 8);
    CHECK_EQ(ended, (log.size - last_mark) * 8);
    free_sample(&log);
}

LSM_TEST(every_flipped_bit_of_a_log_header_is_corruption_and_no_torn_file) {
    sample_log log;
    lsm_wal_expect unknown_id = log_expect;
    lsmkv_error err;

    make_sample(&log);
    unknown_id.file_id = 0;
    for (size_t bit = 0; bit / 8 < LSM_RECORD_FILE_HEADER_SIZE; bit++) {
        lsm_wal_reader *reader = NULL;
        bool torn = true;

        log.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        put_file(&log, log.bytes, log.size);
        CHECK_STATUS(lsm_wal_open(log.dir, LOG_NAME, &log_expect, &reader, &torn, &err),
                     LSMKV_CORRUPTION);
        CHECK(reader == NULL);
        CHECK(!torn);
        CHECK(strcmp(err.file, LOG_NAME) == 0);
        /* Without the id from elsewhere the marks can be checked as long as the flip
         * is not in the id itself. */
        bool in_id = bit / 8 >= 40 && bit / 8 < 48;
        CHECK_STATUS(lsm_wal_open(log.dir, LOG_NAME, &unknown_id, &reader, &torn, &err),
                     LSMKV_CORRUPTION);
        CHECK(torn == in_id);
        log.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free_sample(&log);
}

LSM_TEST(log_cut_anywhere_or_zeroed_from_anywhere_ends_there) {
    sample_log log;

    make_sample(&log);
    for (size_t size = LSM_RECORD_FILE_HEADER_SIZE; size <= log.size; size++) {
        size_t whole = 0;
        uint8_t *zeroed = lsm_calloc(1, log.size);

        while (whole < log.count && log.offsets[whole + 1] <= size) {
            whole++;
        }
        put_file(&log, log.bytes, size);
        CHECK(!check_ends_at(&log, whole, whole));
        CHECK(zeroed != NULL);
        memcpy(zeroed, log.bytes, size);
        /* The bytes cut off may all have been zeros. */
        while (whole < log.count &&
               memcmp(zeroed + log.offsets[whole], log.bytes + log.offsets[whole],
                      (size_t)(log.offsets[whole + 1] - log.offsets[whole])) == 0) {
            whole++;
        }
        put_file(&log, zeroed, log.size);
        lsm_wal_reader *reader = open_log(log.dir);
        lsm_record record;
        lsmkv_status status;
        while ((status = lsm_wal_next(reader, &record, NULL)) == LSMKV_OK) {
        }
        CHECK_STATUS(status, LSMKV_NOT_FOUND);
        CHECK_EQ(lsm_wal_end(reader), log.offsets[whole]);
        CHECK_EQ(lsm_wal_dropped(reader), log.size - log.offsets[whole]);
        lsm_wal_reader_close(reader);
        lsm_free(zeroed);
    }
    free_sample(&log);
}

LSM_TEST(log_is_read_up_to_the_size_asked_for_as_if_it_ended_there) {
    sample_log log;
    lsmkv_error err;

    make_sample(&log);
    for (size_t i = 0; i <= log.count; i++) {
        lsm_wal_expect expect = log_expect;
        lsm_wal_reader *reader = NULL;
        lsmkv_status status;
        lsm_record record;

        expect.size_max = log.offsets[i];
        CHECK_OK(lsm_wal_open(log.dir, LOG_NAME, &expect, &reader, NULL, &err));
        while ((status = lsm_wal_next(reader, &record, &err)) == LSMKV_OK) {
        }
        CHECK_STATUS(status, LSMKV_NOT_FOUND);
        CHECK_EQ(lsm_wal_end(reader), log.offsets[i]);
        CHECK_EQ(lsm_wal_dropped(reader), 0);
        lsm_wal_reader_close(reader);
    }
    free_sample(&log);
}

LSM_TEST(log_shorter_than_its_header_is_torn) {
    sample_log log;
    lsmkv_error err;

    make_sample(&log);
    for (size_t size = 0; size < LSM_RECORD_FILE_HEADER_SIZE; size++) {
        lsm_wal_reader *reader = NULL;
        bool torn = false;

        put_file(&log, log.bytes, size);
        CHECK_STATUS(lsm_wal_open(log.dir, LOG_NAME, &log_expect, &reader, &torn, &err),
                     LSMKV_CORRUPTION);
        CHECK(torn);
    }
    free_sample(&log);
}

LSM_TEST(log_of_another_database_or_place_is_corruption_and_no_torn_file) {
    sample_log log;
    lsmkv_error err;

    make_sample(&log);
    for (int what = 0; what < 4; what++) {
        uint8_t other_uuid[LSM_UUID_SIZE] = "another";
        lsm_wal_expect expect = log_expect;
        lsm_wal_reader *reader = NULL;
        bool torn = true;

        expect.type = what == 0 ? LSM_FILE_MANIFEST : expect.type;
        expect.uuid = what == 1 ? other_uuid : expect.uuid;
        expect.number += what == 2;
        expect.file_id += what == 3;
        CHECK_STATUS(lsm_wal_open(log.dir, LOG_NAME, &expect, &reader, &torn, &err),
                     LSMKV_CORRUPTION);
        CHECK(!torn && reader == NULL);
    }
    lsm_wal_expect any = {.type = LSM_FILE_LOG, .number = LOG_NUMBER};
    lsm_wal_reader *reader = NULL;
    CHECK_OK(lsm_wal_open(log.dir, LOG_NAME, &any, &reader, NULL, &err));
    lsm_wal_reader_close(reader);
    CHECK_STATUS(lsm_wal_open(log.dir, "000008.log", &any, &reader, NULL, &err),
                 LSMKV_NOT_FOUND);
    free_sample(&log);
}

LSM_TEST(log_of_a_later_version_is_unsupported_and_no_torn_file) {
    sample_log log;
    lsm_wal_reader *reader = NULL;
    lsmkv_error err;
    bool torn = true;

    make_sample(&log);
    lsm_put_u32(log.bytes + 8, LSM_RECORD_VERSION + 1);
    lsm_put_u64(log.bytes + 56, lsm_xxh3(log.bytes, 56));
    put_file(&log, log.bytes, LSM_RECORD_FILE_HEADER_SIZE);
    CHECK_STATUS(lsm_wal_open(log.dir, LOG_NAME, &log_expect, &reader, &torn, &err),
                 LSMKV_UNSUPPORTED_VERSION);
    CHECK(!torn);
    free_sample(&log);
}

/* Appends a sealed record to hostile bytes. */
static void add_record(lsm_buf *bytes, lsm_record_type type, size_t payload_size,
                       uint64_t synced_to) {
    lsm_record_place place = {LOG_FILE_ID, bytes->size, synced_to};
    uint8_t *record = bytes->data + bytes->size;

    CHECK(lsm_record_size(payload_size) <= bytes->capacity - bytes->size);
    memset(record, 0, (size_t)lsm_record_size(payload_size));
    lsm_record_seal(record, payload_size, type, place);
    bytes->size += (size_t)lsm_record_size(payload_size);
}

/* Begins a hostile file with a valid header and room for `size` bytes. */
static lsm_buf make_bytes(size_t size) {
    lsm_buf bytes = {0};

    CHECK(lsm_buf_reserve(&bytes, size));
    lsm_record_file_header_encode(&log_header, bytes.data);
    bytes.size = LSM_RECORD_FILE_HEADER_SIZE;
    return bytes;
}

LSM_TEST(log_holding_a_record_of_a_manifest_is_corruption) {
    lsm_buf bytes = make_bytes(1000);
    lsm_record record;
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);

    add_record(&bytes, LSM_RECORD_BATCH, 10, 0);
    uint64_t offset = bytes.size;
    add_record(&bytes, LSM_RECORD_EDIT, 10, 0);
    CHECK(lsm_sim_file_write(env, SIM_PATH, LOG_NAME, bytes.data, bytes.size));
    lsm_wal_reader *reader = open_log(dir);
    CHECK_OK(lsm_wal_next(reader, &record, &err));
    for (int round = 0; round < 2; round++) {
        CHECK_STATUS(lsm_wal_next(reader, &record, &err), LSMKV_CORRUPTION);
        CHECK_EQ(err.offset, offset);
    }
    lsm_wal_reader_close(reader);
    lsm_buf_deinit(&bytes);
    sim_end(env, dir);
}

/* Pads lie in logs only, and a segment of a cache is no record file. */
LSM_TEST(records_in_a_file_that_has_none_of_their_type_are_corruption) {
    static const struct {
        lsm_record_file_type file;
        lsm_record_type record;
        lsmkv_status status;
    } cases[] = {
        {LSM_FILE_LOG, LSM_RECORD_PAD, LSMKV_NOT_FOUND},
        {LSM_FILE_MANIFEST, LSM_RECORD_PAD, LSMKV_CORRUPTION},
        {LSM_FILE_VALUES, LSM_RECORD_PAD, LSMKV_CORRUPTION},
        {LSM_FILE_VALUES, LSM_RECORD_VALUES, LSMKV_OK},
        {LSM_FILE_CACHE, LSM_RECORD_VALUES, LSMKV_CORRUPTION},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        lsm_buf bytes = make_bytes(1000);
        lsm_record_file_header header = log_header;
        lsm_wal_expect expect = log_expect;
        lsm_wal_reader *reader = NULL;
        lsm_record record;
        lsmkv_error err;
        lsm_dir *dir;
        lsm_env *env = sim_make(1, &dir);

        header.type = cases[i].file;
        expect.type = cases[i].file;
        lsm_record_file_header_encode(&header, bytes.data);
        add_record(&bytes, cases[i].record, 16, 0);
        CHECK(lsm_sim_file_write(env, SIM_PATH, LOG_NAME, bytes.data, bytes.size));
        CHECK_OK(lsm_wal_open(dir, LOG_NAME, &expect, &reader, NULL, &err));
        CHECK_STATUS(lsm_wal_next(reader, &record, &err), cases[i].status);
        lsm_wal_reader_close(reader);
        lsm_buf_deinit(&bytes);
        sim_end(env, dir);
    }
}

LSM_TEST(sizes_that_the_file_does_not_have_cost_no_memory) {
    static const uint32_t sizes[] = {4096, LSM_RECORD_PAYLOAD_MAX, 1u << 31,
                                     UINT32_MAX};
    lsm_record record;
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);

    for (size_t i = 0; i < LSM_ARRAY_COUNT(sizes); i++) {
        lsm_buf bytes = make_bytes(4096);

        add_record(&bytes, LSM_RECORD_BATCH, 10, 0);
        uint64_t end = bytes.size;
        add_record(&bytes, LSM_RECORD_BATCH, 500, 0);
        lsm_put_u32(bytes.data + end + 8, sizes[i]);
        CHECK(lsm_sim_file_write(env, SIM_PATH, LOG_NAME, bytes.data, bytes.size));
        lsm_wal_reader *reader = open_log(dir);
        lsm_alloc_fail_after(0, 1);
        CHECK_OK(lsm_wal_next(reader, &record, &err));
        CHECK_STATUS(lsm_wal_next(reader, &record, &err), LSMKV_NOT_FOUND);
        CHECK_EQ(lsm_wal_end(reader), end);
        lsm_alloc_fail_never();
        lsm_wal_reader_close(reader);
        lsm_buf_deinit(&bytes);
    }
    sim_end(env, dir);
}

LSM_TEST(forged_marks_cost_linear_time_and_prove_nothing) {
    enum { SIZE = 8 << 20 };
    lsm_buf bytes = make_bytes(SIZE);
    lsm_record record;
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);

    /* A mark's fields at every multiple of 24, each with a wrong checksum, and in
     * between headers that claim the rest of the file. */
    while (bytes.size + LSM_RECORD_HEADER_SIZE <= SIZE) {
        uint64_t at = bytes.size;

        add_record(&bytes, LSM_RECORD_MARK, 0, at);
        bytes.data[at] ^= 1;
        if (at % 5 == 0) {
            lsm_put_u32(bytes.data + at + 8, (uint32_t)(SIZE - at - 64));
            bytes.data[at + 12] = LSM_RECORD_BATCH;
        }
    }
    CHECK(lsm_sim_file_write(env, SIM_PATH, LOG_NAME, bytes.data, bytes.size));
    lsm_wal_reader *reader = open_log(dir);
    uint64_t reads = lsm_sim_call_count(env, LSM_SIM_READ);
    CHECK_STATUS(lsm_wal_next(reader, &record, &err), LSMKV_NOT_FOUND);
    CHECK_EQ(lsm_wal_end(reader), LSM_RECORD_FILE_HEADER_SIZE);
    CHECK(lsm_sim_call_count(env, LSM_SIM_READ) - reads < 100);
    lsm_wal_reader_close(reader);

    /* One valid mark at the very end changes the answer. */
    bytes.size -= LSM_RECORD_HEADER_SIZE;
    add_record(&bytes, LSM_RECORD_MARK, 0, LSM_RECORD_FILE_HEADER_SIZE + 1);
    CHECK(lsm_sim_file_write(env, SIM_PATH, LOG_NAME, bytes.data, bytes.size));
    reader = open_log(dir);
    CHECK_STATUS(lsm_wal_next(reader, &record, &err), LSMKV_CORRUPTION);
    CHECK_EQ(err.offset, LSM_RECORD_FILE_HEADER_SIZE);
    lsm_wal_reader_close(reader);
    lsm_buf_deinit(&bytes);
    sim_end(env, dir);
}

LSM_TEST(mark_about_the_bytes_before_the_damage_proves_nothing) {
    lsm_record record;
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);

    for (uint64_t beyond = 0; beyond < 2; beyond++) {
        lsm_buf bytes = make_bytes(1000);

        add_record(&bytes, LSM_RECORD_BATCH, 10, 0);
        uint64_t end = bytes.size;
        CHECK(lsm_buf_append_zeros(&bytes, 80));
        add_record(&bytes, LSM_RECORD_MARK, 0, end + beyond);
        CHECK(lsm_sim_file_write(env, SIM_PATH, LOG_NAME, bytes.data, bytes.size));
        lsm_wal_reader *reader = open_log(dir);
        CHECK_OK(lsm_wal_next(reader, &record, &err));
        CHECK_STATUS(lsm_wal_next(reader, &record, &err),
                     beyond == 0 ? LSMKV_NOT_FOUND : LSMKV_CORRUPTION);
        CHECK_EQ(lsm_wal_end(reader), end);
        CHECK_EQ(lsm_wal_highest_mark(reader), end + beyond);
        lsm_wal_reader_close(reader);
        lsm_buf_deinit(&bytes);
    }
    sim_end(env, dir);
}

LSM_TEST(marks_behind_damage_are_found_wherever_the_window_ends) {
    enum { WINDOW = 256 << 10 };
    lsm_record record;
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);

    for (size_t at = WINDOW - 40; at <= WINDOW + 40; at += LSM_RECORD_ALIGN) {
        lsm_buf bytes = make_bytes(WINDOW + 1000);

        CHECK(lsm_buf_append_zeros(&bytes, at - bytes.size));
        add_record(&bytes, LSM_RECORD_MARK, 0, at);
        CHECK(lsm_buf_append_zeros(&bytes, 100));
        CHECK(lsm_sim_file_write(env, SIM_PATH, LOG_NAME, bytes.data, bytes.size));
        lsm_wal_reader *reader = open_log(dir);
        CHECK_STATUS(lsm_wal_next(reader, &record, &err), LSMKV_CORRUPTION);
        CHECK_EQ(lsm_wal_highest_mark(reader), at);
        lsm_wal_reader_close(reader);
        lsm_buf_deinit(&bytes);
    }
    sim_end(env, dir);
}

LSM_TEST(random_damage_never_yields_a_record_that_was_not_written) {
    sample_log log;
    lsm_rng rng = {99};

    make_sample(&log);
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[1024];
        lsm_record record;
        lsmkv_status status;
        lsm_wal_reader *reader = NULL;
        size_t count = 0;

        CHECK(log.size <= sizeof(bytes));
        memcpy(bytes, log.bytes, log.size);
        for (uint64_t n = 1 + lsm_rng_below(&rng, 4); n > 0; n--) {
            size_t at = 64 + (size_t)lsm_rng_below(&rng, log.size - 64);
            size_t from = (size_t)lsm_rng_below(&rng, log.size);
            size_t size = 1 + (size_t)lsm_rng_below(&rng, 64);

            size = size > log.size - at ? log.size - at : size;
            size = size > log.size - from ? log.size - from : size;
            memcpy(bytes + at, log.bytes + from, size);
        }
        put_file(&log, bytes, log.size);
        reader = open_log(log.dir);
        while ((status = lsm_wal_next(reader, &record, NULL)) == LSMKV_OK) {
            check_payload(&record, count, sample_sizes[count]);
            count++;
        }
        CHECK(status == LSMKV_NOT_FOUND || status == LSMKV_CORRUPTION);
        lsm_wal_reader_close(reader);
    }
    free_sample(&log);
}

/* The later of two marks says less; what was found of the first counts. */
LSM_TEST(damaged_log_stays_damaged_when_it_grows_and_no_size_is_no_growth) {
    lsm_buf bytes = make_bytes(1000);
    lsm_record record;
    lsmkv_error err;
    lsm_dir *dir;
    lsm_env *env = sim_make(1, &dir);
    bool grown = true;

    CHECK(lsm_buf_append_zeros(&bytes, 80));
    uint64_t synced_to = bytes.size;
    add_record(&bytes, LSM_RECORD_MARK, 0, synced_to);
    add_record(&bytes, LSM_RECORD_MARK, 0, synced_to - 8);
    CHECK(lsm_sim_file_write(env, SIM_PATH, LOG_NAME, bytes.data, bytes.size));
    lsm_wal_reader *reader = open_log(dir);
    CHECK_STATUS(lsm_wal_next(reader, &record, &err), LSMKV_CORRUPTION);
    CHECK_EQ(lsm_wal_highest_mark(reader), synced_to);
    add_record(&bytes, LSM_RECORD_BATCH, 10, 0);
    CHECK(lsm_sim_file_write(env, SIM_PATH, LOG_NAME, bytes.data, bytes.size));
    lsm_sim_fail(env, LSM_SIM_SIZE, 0, EIO, false);
    CHECK_STATUS(lsm_wal_extend(reader, &grown, &err), LSMKV_IO_ERROR);
    CHECK(!grown);
    grown = true;
    CHECK_OK(lsm_wal_extend(reader, &grown, &err));
    CHECK(!grown);
    CHECK_STATUS(lsm_wal_next(reader, &record, &err), LSMKV_CORRUPTION);
    CHECK_EQ(err.offset, LSM_RECORD_FILE_HEADER_SIZE);
    lsm_wal_reader_close(reader);
    lsm_buf_deinit(&bytes);
    sim_end(env, dir);
}
