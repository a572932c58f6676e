/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: an open replays exactly the logs, and of them exactly the records, that can
 * have been acknowledged, and says where logs contradict each other. Method: logs
 * written beside a closed database, with the right identity and checksums but with
 * sequences and contents that the engine would not write.
 */
#include "db_help.h"
#include "sim_help.h"

#include <errno.h>

#include "api/testing.h"
#include "base/alloc.h"
#include "base/coding.h"
#include "db/options.h"
#include "format/batch.h"
#include "format/edit.h"
#include "format/filename.h"
#include "wal/wal.h"

enum {
    FIRST_LOG = 500,
    SECOND_LOG = 501,
    UUID_AT = 16,
    FILE_ID_AT = 40,
    BATCH_COUNT_AT = 16
};

/* A database with one row, closed, and what a log of it must say. */
typedef struct fixture {
    lsm_env *env;
    lsm_dir *dir;
    uint8_t uuid[LSM_UUID_SIZE];
    uint64_t last_sequence;
} fixture;

static lsmkv_status open_db(const fixture *f, lsmkv_db **db, lsmkv_error *err) {
    lsmkv_options options;

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.memtable_bytes = 1 << 12;
    options.seed = 1;
    return lsm_test_open(f->env, SIM_PATH, &options, db, err);
}

static void begin(fixture *f) {
    lsmkv_error err;
    lsmkv_db *db = NULL;
    const uint8_t *bytes;
    size_t size;
    char name[32] = "";

    f->env = lsm_sim_create(1);
    CHECK(f->env != NULL);
    CHECK_OK(open_db(f, &db, &err));
    CHECK_OK(lsmkv_put(db, NULL, (lsmkv_bytes){"row", 3}, (lsmkv_bytes){"1", 1}, &err));
    f->last_sequence = lsm_test_sequence(db);
    close_db(db);
    CHECK(lsm_sim_file_read(f->env, SIM_PATH, "CURRENT", &bytes, &size));
    CHECK(size > 15);
    memcpy(name, bytes, 15); /* MANIFEST-000001 */
    CHECK(lsm_sim_file_read(f->env, SIM_PATH, name, &bytes, &size));
    memcpy(f->uuid, bytes + UUID_AT, LSM_UUID_SIZE);
    CHECK_OK(lsm_dir_open(f->env, SIM_PATH, false, &f->dir, &err));
}

static void end(fixture *f) {
    lsm_dir_close(f->dir);
    lsm_sim_destroy(f->env);
}

/* A log that begins `ahead` sequences behind what the tables hold. */
static lsm_wal_writer *create_log(const fixture *f, uint64_t number, uint64_t ahead) {
    lsm_record_file_header header = {.type = LSM_FILE_LOG,
                                     .number = number,
                                     .file_id = number,
                                     .previous_sequence = f->last_sequence + ahead};
    char name[LSM_FILENAME_SIZE];
    lsm_wal_writer *writer = NULL;
    lsmkv_error err;

    memcpy(header.uuid, f->uuid, LSM_UUID_SIZE);
    lsm_filename_make(name, LSM_NAME_LOG, number);
    CHECK_OK(lsm_wal_create(f->dir, name, &header, &writer, &err));
    return writer;
}

/* Takes the batch. */
static void append_batch(lsm_wal_writer *writer, lsm_batch *batch) {
    lsm_buf *records[1] = {&batch->record};
    lsmkv_error err;

    CHECK_OK(lsm_wal_append(writer, LSM_RECORD_BATCH, records, 1, &err));
    lsm_batch_deinit(batch);
}

/* A batch that gives a key a value; `claimed` is how many records it says it has. */
static void append_put(const fixture *f, lsm_wal_writer *writer, uint64_t ahead,
                       lsmkv_bytes key, lsmkv_bytes value, uint32_t claimed) {
    lsm_batch batch;
    lsmkv_error err;

    lsm_batch_init(&batch);
    CHECK_OK(lsm_batch_put(&batch, LSM_NAMESPACE_DEFAULT, key, value, &err));
    lsm_batch_stamp(&batch, f->last_sequence + ahead, 1);
    batch.record.data[LSM_RECORD_HEADER_SIZE + BATCH_COUNT_AT] = (uint8_t)claimed;
    append_batch(writer, &batch);
}

static void append_row(const fixture *f, lsm_wal_writer *writer, uint64_t ahead,
                       const char *value) {
    append_put(f, writer, ahead, (lsmkv_bytes){"row", 3}, (lsmkv_bytes){value, 1}, 1);
}

/* The options to remember, as a value that expires, which the engine never writes. */
static void append_timed_options(const fixture *f, lsm_wal_writer *writer) {
    const lsm_times times = {.expire_at = UINT64_MAX / 2};
    lsmkv_options defaults;
    lsm_options options;
    lsm_buf value = {0};
    lsm_batch batch;
    lsmkv_error err;

    lsmkv_options_init(&defaults);
    CHECK_OK(lsm_options_resolve(&defaults, &options, &err));
    CHECK(lsm_options_encode(&options, &value));
    lsm_batch_init(&batch);
    CHECK_OK(lsm_batch_put_timed(&batch, LSM_NAMESPACE_SYSTEM, &times,
                                 bytes_of(LSM_OPTIONS_KEY),
                                 (lsmkv_bytes){value.data, value.size}, &err));
    lsm_batch_stamp(&batch, f->last_sequence + 1, 1);
    append_batch(writer, &batch);
    lsm_buf_deinit(&value);
}

static void finish_log(lsm_wal_writer *writer, bool sync) {
    lsmkv_error err;

    if (sync) {
        CHECK_OK(lsm_wal_sync(writer, &err));
    }
    CHECK_OK(lsm_wal_close(writer, &err));
}

static void check_row(const fixture *f, const char *value, uint64_t ahead) {
    lsmkv_error err;
    lsmkv_pin pin;
    lsmkv_db *db = NULL;

    CHECK_OK(open_db(f, &db, &err));
    CHECK_EQ(lsm_test_sequence(db), f->last_sequence + ahead);
    CHECK_OK(lsmkv_get(db, NULL, (lsmkv_bytes){"row", 3}, &pin, &err));
    CHECK_EQ(pin.value.size, 1);
    CHECK(memcmp(pin.value.data, value, 1) == 0);
    lsmkv_pin_release(&pin);
    close_db(db);
}

static void check_corrupt(const fixture *f, const char *name, int64_t offset) {
    lsmkv_error err;
    lsmkv_db *db = NULL;
    uint64_t steps = lsm_sim_steps(f->env);

    CHECK(open_db(f, &db, &err) == LSMKV_CORRUPTION);
    CHECK(strcmp(err.file, name) == 0);
    CHECK_EQ(err.offset, offset);
    CHECK_EQ(lsm_sim_steps(f->env), steps);
}

LSM_TEST(recovery_replays_a_log_that_goes_on_where_the_tables_end) {
    fixture f;

    begin(&f);
    lsm_wal_writer *writer = create_log(&f, FIRST_LOG, 0);
    append_row(&f, writer, 1, "2");
    append_row(&f, writer, 2, "3");
    finish_log(writer, false);
    check_row(&f, "3", 2);
    end(&f);
}

/* Behind it there would be no numbers for files to come. */
LSM_TEST(a_stray_file_with_too_large_a_number_is_refused_before_anything_is_written) {
    static const char *const names[] = {
        "72057594037927936.log", "72057594037927935.tbl", "36028797018963968.seg"};
    fixture f;

    begin(&f);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(names); i++) {
        lsmkv_db *db = NULL;
        lsmkv_error err;
        CHECK(lsm_sim_file_write(f.env, SIM_PATH, names[i], "", 0));
        uint64_t steps = lsm_sim_steps(f.env);
        CHECK_STATUS(open_db(&f, &db, &err), LSMKV_CORRUPTION);
        CHECK(strstr(err.message, "remove what is not of this database") != NULL);
        CHECK_EQ(lsm_sim_steps(f.env), steps);
        CHECK(lsm_sim_file_remove(f.env, SIM_PATH, names[i]));
    }
    check_row(&f, "1", 0);
    end(&f);
}

/* From the log, and from the table that it becomes. */
LSM_TEST(recovery_recalls_options_from_logs_as_it_does_from_tables) {
    fixture f;

    begin(&f);
    lsm_wal_writer *writer = create_log(&f, FIRST_LOG, 0);
    append_timed_options(&f, writer);
    append_row(&f, writer, 2, "2");
    finish_log(writer, false);
    check_row(&f, "2", 2);
    check_row(&f, "2", 2);
    end(&f);
}

LSM_TEST(recovery_refuses_a_batch_that_cannot_come_next) {
    static const char value[100] = "2";
    static const struct {
        uint64_t ahead;
        size_t value_size;
        uint32_t claimed;
    } wrong[] = {
        {2, 1, 1}, /* it leaves a gap */
        {0, 1, 1}, /* it repeats a sequence */
        {1, 1, 0}, /* it has fewer or more records than it says */
        {1, 1, 2},
        {1, 1, 200},
        {1, sizeof(value), 2}, /* it ends within its records: two might fit in */
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(wrong); i++) {
        fixture f;
        begin(&f);
        lsm_wal_writer *writer = create_log(&f, FIRST_LOG, 0);
        append_put(&f, writer, wrong[i].ahead, (lsmkv_bytes){"row", 3},
                   (lsmkv_bytes){value, wrong[i].value_size}, wrong[i].claimed);
        finish_log(writer, false);
        check_corrupt(&f, "000500.log", LSM_RECORD_FILE_HEADER_SIZE);
        end(&f);
    }
}

/* One batch that no memtable of the size in the options has room for. */
LSM_TEST(recovery_makes_room_for_a_batch_that_is_larger_than_a_memtable) {
    static const char value[10000] = "";
    lsmkv_db *db = NULL;
    lsmkv_pin pin;
    lsmkv_error err;
    fixture f;

    begin(&f);
    lsm_wal_writer *writer = create_log(&f, FIRST_LOG, 0);
    append_put(&f, writer, 1, (lsmkv_bytes){"long", 4}, (lsmkv_bytes){value, 10000}, 1);
    append_row(&f, writer, 2, "2");
    finish_log(writer, false);
    check_row(&f, "2", 2);
    CHECK_OK(open_db(&f, &db, &err));
    CHECK_OK(lsmkv_get(db, NULL, (lsmkv_bytes){"long", 4}, &pin, &err));
    CHECK_EQ(pin.value.size, 10000);
    lsmkv_pin_release(&pin);
    close_db(db);
    end(&f);
}

/* A hole, and behind it a log that the device cannot read. */
LSM_TEST(recovery_reports_a_read_error_behind_a_hole) {
    static const char value[300000] = ""; /* more than is read at once */
    fixture f;

    begin(&f);
    lsm_wal_writer *writer = create_log(&f, FIRST_LOG, 5);
    append_put(&f, writer, 6, (lsmkv_bytes){"row", 3}, (lsmkv_bytes){value, 300000}, 1);
    append_row(&f, writer, 7, "2");
    finish_log(writer, false);
    uint64_t failed = 0;
    lsmkv_status status = LSMKV_IO_ERROR;
    for (uint64_t n = 0; status != LSMKV_OK; n++) {
        lsmkv_error err;
        lsmkv_db *db = NULL;
        lsm_sim_fail(f.env, LSM_SIM_READ, n, EIO, false);
        status = open_db(&f, &db, &err);
        CHECK(status == LSMKV_OK || status == LSMKV_IO_ERROR);
        failed +=
            status != LSMKV_OK && strcmp(lsm_sim_failed_name(f.env), "000500.log") == 0;
        if (status == LSMKV_OK) {
            close_db(db);
        }
    }
    CHECK(failed >= 2); /* its header, and what follows that */
    lsm_sim_fail(f.env, LSM_SIM_READ, 0, 0, false);
    check_row(&f, "1", 0);
    end(&f);
}

LSM_TEST(recovery_drops_a_log_behind_a_hole_unless_it_was_synced) {
    for (int synced = 0; synced < 2; synced++) {
        fixture f;
        begin(&f);
        lsm_wal_writer *writer = create_log(&f, FIRST_LOG, 0);
        append_row(&f, writer, 1, "2");
        finish_log(writer, false);
        writer = create_log(&f, SECOND_LOG, 5);
        append_row(&f, writer, 6, "3");
        finish_log(writer, synced == 1);
        if (synced == 1) {
            check_corrupt(&f, "000501.log", 0);
        } else {
            check_row(&f, "2", 1);
        }
        end(&f);
    }
}

/* The disk was full, the second write of the log failed, and the next log begins with
 * the sequence that it would have had. */
LSM_TEST(recovery_drops_what_lies_behind_the_beginning_of_the_next_log) {
    fixture f;

    begin(&f);
    lsm_wal_writer *writer = create_log(&f, FIRST_LOG, 0);
    append_row(&f, writer, 1, "2");
    append_row(&f, writer, 2, "3");
    finish_log(writer, false);
    writer = create_log(&f, SECOND_LOG, 1);
    append_row(&f, writer, 2, "4");
    finish_log(writer, true);
    check_row(&f, "4", 2);
    end(&f);
}

LSM_TEST(recovery_ignores_a_log_without_a_whole_header) {
    for (size_t size = 0; size < LSM_RECORD_FILE_HEADER_SIZE; size += 21) {
        fixture f;
        const uint8_t *bytes;
        uint8_t copy[LSM_RECORD_FILE_HEADER_SIZE];
        size_t whole;
        begin(&f);
        finish_log(create_log(&f, FIRST_LOG, 0), false);
        CHECK(lsm_sim_file_read(f.env, SIM_PATH, "000500.log", &bytes, &whole));
        memcpy(copy, bytes, size);
        CHECK(lsm_sim_file_write(f.env, SIM_PATH, "000500.log", copy, size));
        check_row(&f, "1", 0);
        end(&f);
    }
}

/* Of another database, or under another number than its own. */
LSM_TEST(recovery_refuses_a_log_that_belongs_elsewhere) {
    for (int moved = 0; moved < 2; moved++) {
        fixture f;
        const uint8_t *bytes;
        uint8_t copy[LSM_RECORD_FILE_HEADER_SIZE];
        size_t size;
        begin(&f);
        f.uuid[0] ^= (uint8_t)(1 - moved);
        finish_log(create_log(&f, FIRST_LOG, 0), false);
        CHECK(lsm_sim_file_read(f.env, SIM_PATH, "000500.log", &bytes, &size));
        CHECK_EQ(size, sizeof(copy));
        memcpy(copy, bytes, size);
        CHECK(lsm_sim_file_remove(f.env, SIM_PATH, "000500.log"));
        CHECK(lsm_sim_file_write(f.env, SIM_PATH,
                                 moved == 1 ? "000501.log" : "000500.log", copy, size));
        lsmkv_db *db = NULL;
        lsmkv_error err;
        CHECK(open_db(&f, &db, &err) == LSMKV_CORRUPTION);
        CHECK(strcmp(err.file, moved == 1 ? "000501.log" : "000500.log") == 0);
        end(&f);
    }
}

/* Appends to the MANIFEST that a log holds synced writes. */
static void record_log(const fixture *f, uint64_t number) {
    const uint8_t *bytes = NULL;
    size_t size = 0;
    char name[32] = "";
    lsm_buf file = {0};
    lsm_buf payload = {0};
    lsm_edit edit;

    CHECK(lsm_sim_file_read(f->env, SIM_PATH, "CURRENT", &bytes, &size));
    memcpy(name, bytes, 15);
    CHECK(lsm_sim_file_read(f->env, SIM_PATH, name, &bytes, &size));
    CHECK_EQ(size % LSM_RECORD_ALIGN, 0);
    CHECK(lsm_buf_append(&file, bytes, size));
    lsm_edit_init(&edit);
    edit.has_next_file = true;
    edit.next_file = number + 100;
    CHECK(lsm_edit_add_log(&edit, number, number));
    CHECK(lsm_edit_encode(&edit, &payload));
    CHECK(lsm_buf_append_zeros(&file, (size_t)lsm_record_size(payload.size)));
    memcpy(file.data + size + LSM_RECORD_HEADER_SIZE, payload.data, payload.size);
    lsm_record_seal(file.data + size, payload.size, LSM_RECORD_EDIT,
                    (lsm_record_place){lsm_get_u64(bytes + FILE_ID_AT), size, 0});
    CHECK(lsm_sim_file_write(f->env, SIM_PATH, name, file.data, file.size));
    lsm_edit_deinit(&edit);
    lsm_buf_deinit(&payload);
    lsm_buf_deinit(&file);
}

/* By the MANIFEST its writes were synced, though it has no mark: one that is not there,
 * has no whole header, or begins behind a hole has lost some. */
LSM_TEST(recovery_misses_a_log_that_the_manifest_knows_as_synced) {
    for (int lost = 0; lost < 4; lost++) {
        const uint8_t *bytes = NULL;
        size_t size = 0;
        lsmkv_error err;
        lsmkv_db *db = NULL;
        fixture f;

        begin(&f);
        lsm_wal_writer *writer = create_log(&f, FIRST_LOG, lost == 3 ? 5 : 0);
        append_row(&f, writer, lost == 3 ? 6 : 1, "2");
        finish_log(writer, false);
        record_log(&f, FIRST_LOG);
        if (lost == 1) {
            CHECK(lsm_sim_file_remove(f.env, SIM_PATH, "000500.log"));
        } else if (lost == 2) {
            uint8_t copy[LSM_RECORD_FILE_HEADER_SIZE];
            CHECK(lsm_sim_file_read(f.env, SIM_PATH, "000500.log", &bytes, &size));
            memcpy(copy, bytes, sizeof(copy));
            CHECK(lsm_sim_file_write(f.env, SIM_PATH, "000500.log", copy,
                                     sizeof(copy) - 1));
        }
        if (lost == 0) {
            check_row(&f, "2", 1);
        } else {
            CHECK_STATUS(open_db(&f, &db, &err), LSMKV_CORRUPTION);
            CHECK(strcmp(err.file, "000500.log") == 0);
        }
        end(&f);
    }
}
