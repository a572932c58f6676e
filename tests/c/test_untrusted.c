/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a directory that is not trusted is read right, and what asks for more than the
 * limits allow is told so and costs nothing. Method: databases that break one limit
 * each are written with extreme options or as forged edits, and opened as untrusted; an
 * honest one is opened with every allocation failing in turn. At the end of each handle
 * a debug build compares what its budget counted with what was given back.
 */
#include "db_help.h"
#include "dead_help.h"
#include "forge_help.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/budget.h"
#include "base/limits.h"
#include "db/manifest.h"
#include "format/filename.h"

enum { MEMORY = 8 << 20, BIG_CODEC = 7, FORGED_MANIFEST = 900 };

static void options_untrusted(lsmkv_options *options) {
    dead_options(options);
    options->memory_bytes = MEMORY;
    options->memtable_bytes = 0;
    options->codec = -1;
    options->read_only = true;
    options->untrusted = true;
}

static lsmkv_status open_untrusted(lsm_env *env, lsmkv_db **db, lsmkv_error *err) {
    lsmkv_options options;

    options_untrusted(&options);
    lsm_error_clear(err);
    *db = NULL;
    return lsm_test_open(env, SIM_PATH, &options, db, err);
}

static void refused(lsm_env *env, const char *words) {
    lsmkv_error err;
    lsmkv_db *db;

    CHECK_STATUS(open_untrusted(env, &db, &err), LSMKV_LIMIT_EXCEEDED);
    if (strstr(err.message, words) == NULL ||
        strstr(err.message, "trusted=True") == NULL) {
        lsm_test_fail(__FILE__, __LINE__, "%s, not %s", err.message, words);
    }
}

/* The database of the dead, closed by somebody who found it. */
static void begin_closed(dead_db *dead) {
    lsmkv_error err;
    lsmkv_db *db;

    dead_begin(dead);
    CHECK_OK(dead_open(dead->env, SIM_PATH, false, &db, &err));
    close_db(db);
}

static lsmkv_status read_all(lsmkv_db *db, uint64_t *count, lsmkv_error *err) {
    lsmkv_iter *iter = NULL;
    lsmkv_chunk chunk;
    lsmkv_status status = lsmkv_iter_create(db, NULL, NULL, &iter, err);

    *count = 0;
    while (status == LSMKV_OK) {
        status = lsmkv_iter_fill(iter, NULL, &chunk, err);
        if (status != LSMKV_OK || chunk.row_count == 0) {
            break;
        }
        *count += chunk.row_count;
    }
    lsmkv_iter_free(iter);
    return status;
}

/* What a test sees from outside of every way to read. */
static lsmkv_status use(lsmkv_db *db, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_namespace *space = NULL;
    lsmkv_snapshot *snapshot = NULL;
    lsmkv_view *view = NULL;
    lsmkv_pin pin = {0};
    lsmkv_lookup lookups[2] = {{.key = {"key000", 6}}, {.key = {"key007", 6}}};
    lsmkv_namespace_how how = {0};
    lsmkv_bytes bytes;
    lsmkv_report report;
    uint64_t count;

    LSM_TRY(lsmkv_get_view(db, NULL, lookups[1].key, &view, &bytes, err));
    LSM_TRY(lsmkv_get_many(db, NULL, lookups, 2, &pin, err));
    LSM_TRY(lsmkv_snapshot_create(db, &snapshot, err));
    LSM_TRY(lsmkv_namespace_open(db, (lsmkv_bytes){"space", 5}, &how, &space, err));
    LSM_TRY(read_all(db, &count, err));
    LSM_TRY(lsmkv_verify(db, NULL, NULL, &report, err));
out:
    lsmkv_pin_release(&pin);
    lsmkv_view_free(view);
    lsmkv_snapshot_free(snapshot);
    lsmkv_namespace_free(space);
    return status;
}

LSM_TEST(an_untrusted_database_shows_what_a_trusted_one_shows) {
    lsmkv_error err;
    lsmkv_db *db;
    lsmkv_report report;
    dead_db dead;
    uint64_t found;
    uint64_t expected = 0;

    begin_closed(&dead);
    CHECK_OK(open_untrusted(dead.env, &db, &err));
    dead_check(&dead, db);
    CHECK_OK(read_all(db, &found, &err));
    for (size_t i = 0; i < DEAD_KEYS; i++) {
        expected += dead.rounds[i] != 0;
    }
    CHECK_EQ(found, expected);
    CHECK_OK(lsmkv_verify(db, NULL, NULL, &report, &err));
    CHECK_EQ(report.problem_count, 0);
    CHECK_OK(use(db, &err));
    CHECK_STATUS(
        lsmkv_put(db, NULL, (lsmkv_bytes){"a", 1}, (lsmkv_bytes){"b", 1}, &err),
        LSMKV_READ_ONLY);
    close_db(db);
    dead_end(&dead);
}

LSM_TEST(an_untrusted_open_is_for_reading_alone) {
    lsmkv_options options;
    lsmkv_error err;
    lsmkv_db *db;
    dead_db dead;

    begin_closed(&dead);
    options_untrusted(&options);
    options.read_only = false;
    CHECK_STATUS(lsm_test_open(dead.env, SIM_PATH, &options, &db, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "reading only") != NULL);
    options.follower = true;
    CHECK_STATUS(lsm_test_open(dead.env, SIM_PATH, &options, &db, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "followed") != NULL);
    options_untrusted(&options);
    options.warm_bytes = -1;
    CHECK_STATUS(lsm_test_open(dead.env, SIM_PATH, &options, &db, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "warmed") != NULL);
    options_untrusted(&options);
    options.memory_bytes = (1 << 20) - 1;
    CHECK_STATUS(lsm_test_open(dead.env, SIM_PATH, &options, &db, &err),
                 LSMKV_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "1 MiB") != NULL);
    options_untrusted(&options);
    options.mapping = true;
    CHECK_OK(lsm_test_open(dead.env, SIM_PATH, &options, &db, &err));
    lsmkv_get_options(db, &options);
    CHECK(!options.mapping);
    CHECK(options.untrusted);
    close_db(db);
    dead_end(&dead);
}

LSM_TEST(an_untrusted_log_with_records_is_refused) {
    dead_db dead;

    dead_begin(&dead);
    refused(dead.env, "at most 0 are read here");
    dead_end(&dead);
}

LSM_TEST(every_failing_allocation_of_an_untrusted_database_is_survived) {
    lsmkv_error err;
    lsmkv_db *db;
    dead_db dead;
    bool done = false;

    begin_closed(&dead);
    for (uint64_t n = 0; !done; n++) {
        lsm_alloc_fail_after(n, n % 2 == 1);
        lsmkv_status status = open_untrusted(dead.env, &db, &err);
        if (status == LSMKV_OK) {
            status = use(db, &err);
            lsm_alloc_fail_never();
            close_db(db);
        }
        lsm_alloc_fail_never();
        done = status == LSMKV_OK && n > 1000;
        CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        CHECK(n < 20000);
    }
    dead_end(&dead);
}

/* A database written with extreme options. */
typedef struct extreme {
    lsm_env *env;
    lsmkv_db *db; /* open for writing until it is closed */
} extreme;

/* Runs of any length in six bytes. */
static size_t big_compress(void *context, void *dst, size_t capacity, const void *src,
                           size_t size) {
    const uint8_t *from = src;
    uint8_t *to = dst;
    size_t used = 0;

    (void)context;
    for (size_t i = 0; i < size;) {
        uint32_t run = 1;
        while (i + run < size && from[i + run] == from[i]) {
            run++;
        }
        if (used + 5 > capacity) {
            return 0;
        }
        memcpy(to + used, &run, 4);
        to[used + 4] = from[i];
        used += 5;
        i += run;
    }
    return used;
}

static size_t big_decompress(void *context, void *dst, size_t capacity, const void *src,
                             size_t size) {
    const uint8_t *from = src;
    uint8_t *to = dst;
    size_t used = 0;

    (void)context;
    for (size_t i = 0; i + 4 < size; i += 5) {
        uint32_t run;
        memcpy(&run, from + i, 4);
        if (used + run > capacity) {
            return 0;
        }
        memset(to + used, from[i + 4], run);
        used += run;
    }
    return used;
}

static size_t big_bound(size_t size) {
    return 5 * size + 5;
}

static void extreme_begin(extreme *e, uint32_t block_bytes, int64_t threshold,
                          int32_t codec) {
    static const lsmkv_codec big = {.id = BIG_CODEC,
                                    .name = "long runs",
                                    .create = runs_create,
                                    .destroy = runs_destroy,
                                    .bound = big_bound,
                                    .compress = big_compress,
                                    .decompress = big_decompress};
    lsmkv_options options;
    lsmkv_error err;

    CHECK_OK(lsmkv_register_codec(&big, &err));
    e->env = lsm_sim_create(3);
    CHECK(e->env != NULL);
    lsmkv_options_init(&options);
    options.memory_bytes = 64 << 20;
    options.block_bytes = block_bytes;
    options.blob_threshold_bytes = threshold;
    options.codec = codec;
    CHECK_OK(lsm_test_open(e->env, SIM_PATH, &options, &e->db, &err));
}

static void extreme_put(extreme *e, const char *key, size_t size, bool zeros) {
    lsmkv_error err;
    uint8_t *value = lsm_calloc(1, size);
    uint32_t state = 1;

    CHECK(value != NULL);
    for (size_t i = 0; !zeros && i < size; i++) {
        state = state * 1664525 + 1013904223;
        value[i] = (uint8_t)(state >> 24);
    }
    CHECK_OK(lsmkv_put(e->db, NULL, (lsmkv_bytes){key, strlen(key)},
                       (lsmkv_bytes){value, size}, &err));
    lsm_free(value);
}

/* Closes it and opens it as untrusted; reading the key hits the limit. */
static void extreme_check(extreme *e, const char *key, const char *words) {
    lsmkv_error err;
    lsmkv_pin pin;
    uint64_t count;

    close_db(e->db);
    lsmkv_status status = open_untrusted(e->env, &e->db, &err);
    if (status == LSMKV_OK) {
        status = lsmkv_get(e->db, NULL, (lsmkv_bytes){key, strlen(key)}, &pin, &err);
        lsmkv_pin_release(&pin);
        CHECK_STATUS(status, words == NULL ? LSMKV_OK : LSMKV_LIMIT_EXCEEDED);
        CHECK_STATUS(read_all(e->db, &count, &err), status);
        close_db(e->db);
    }
    CHECK_STATUS(status, words == NULL ? LSMKV_OK : LSMKV_LIMIT_EXCEEDED);
    if (words != NULL && strstr(err.message, words) == NULL) {
        lsm_test_fail(__FILE__, __LINE__, "%s, not %s", err.message, words);
    }
    lsm_sim_destroy(e->env);
}

LSM_TEST(a_data_block_of_an_untrusted_table_has_a_mebibyte) {
    extreme e;

    extreme_begin(&e, 4096, 0, 0);
    extreme_put(&e, "large", LSM_UNTRUSTED_BLOCK_MAX - 4096, false);
    extreme_check(&e, "large", NULL);
    extreme_begin(&e, 4096, 0, 0);
    extreme_put(&e, "large", LSM_UNTRUSTED_BLOCK_MAX + 1, false);
    extreme_check(&e, "large", "bytes of a data block: ");
}

LSM_TEST(a_data_block_of_an_untrusted_table_grows_256_times) {
    extreme e;

    extreme_begin(&e, 4096, 0, BIG_CODEC);
    extreme_put(&e, "zeros", 4000, true);
    extreme_check(&e, "zeros", NULL);
    extreme_begin(&e, 4096, 0, BIG_CODEC);
    extreme_put(&e, "zeros", LSM_UNTRUSTED_BLOCK_MAX - 4096, true);
    extreme_check(&e, "zeros", "at most 256 here");
    extreme_begin(&e, 4096, 0, BIG_CODEC);
    extreme_put(&e, "zeros", 2 * LSM_UNTRUSTED_BLOCK_MAX, true);
    extreme_check(&e, "zeros", "bytes of a data block: ");
}

LSM_TEST(a_large_value_of_an_untrusted_database_has_an_eighth_of_the_memory) {
    extreme e;

    extreme_begin(&e, 4096, 1024, 0);
    extreme_put(&e, "large", MEMORY / LSM_UNTRUSTED_VALUE_PART, false);
    extreme_check(&e, "large", NULL);
    extreme_begin(&e, 4096, 1024, 0);
    extreme_put(&e, "large", MEMORY / LSM_UNTRUSTED_VALUE_PART + 1, false);
    extreme_check(&e, "large", "bytes of a value, an eighth of memory_bytes: 1048577");
}

LSM_TEST(values_that_are_held_count_in_the_budget_until_they_are_let_go) {
    lsmkv_error err;
    extreme e;
    char keys[12][8];
    lsmkv_view *views[12] = {NULL};
    lsmkv_bytes bytes;
    size_t held = 0;

    extreme_begin(&e, 4096, 1024, 0);
    for (size_t i = 0; i < 12; i++) {
        (void)snprintf(keys[i], sizeof(keys[i]), "k%02zu", i);
        extreme_put(&e, keys[i], 1 << 20, false);
    }
    close_db(e.db);
    CHECK_OK(open_untrusted(e.env, &e.db, &err));
    for (int round = 0; round < 3; round++) {
        for (held = 0; held < 12; held++) {
            if (lsmkv_get_view(e.db, NULL, (lsmkv_bytes){keys[held], 3}, &views[held],
                               &bytes, &err) != LSMKV_OK) {
                break;
            }
        }
        CHECK(held >= 3 && held < 8);
        CHECK_EQ(err.status, LSMKV_LIMIT_EXCEEDED);
        CHECK(strstr(err.message, "memory_bytes, which is 8388608") != NULL);
        while (held > 0) {
            lsmkv_view_free(views[--held]);
        }
    }
    close_db(e.db);
    lsm_sim_destroy(e.env);
}

/* Has the MANIFEST say what the edit says on top of all that it says. */
static void forge(lsm_env *env, const lsm_edit *edit) {
    lsmkv_error err;
    lsm_dir *dir;
    lsm_wal_writer *writer;
    bool renamed;
    lsm_record_file_header header = {
        .type = LSM_FILE_MANIFEST, .number = FORGED_MANIFEST, .file_id = 99};

    CHECK_OK(lsm_dir_open(env, SIM_PATH, true, &dir, &err));
    CHECK_OK(lsm_manifest_create(dir, &header, edit, &writer, &renamed, &err));
    CHECK_OK(lsm_wal_close(writer, &err));
    lsm_dir_close(dir);
}

static void begin_edit(lsm_edit *edit) {
    lsm_edit_init(edit);
    edit->has_next_file = true;
    edit->next_file = UINT64_C(1) << 40;
    edit->has_last_sequence = true;
    edit->last_sequence = UINT64_C(1) << 40;
    edit->has_first_log = true;
    edit->first_log = UINT64_C(1) << 39;
}

static void add_table(lsm_edit *edit, uint64_t number, uint64_t range_deletes) {
    char keys[2][24];
    lsm_table_info info = {.number = number,
                           .file_id = number,
                           .file_size = 4096,
                           .tail_size = 4096,
                           .sequence_min = number,
                           .sequence_max = number,
                           .range_delete_count = range_deletes};

    for (size_t i = 0; i < 2; i++) {
        /* Namespace, key, trailer. */
        (void)snprintf(keys[i], sizeof(keys[i]), "%s%010llu", i == 0 ? "aaaa" : "bbbb",
                       (unsigned long long)number);
        lsm_put_u64((uint8_t *)keys[i] + 14, lsm_trailer_make(number, LSM_KIND_PUT));
    }
    info.smallest = lsm_slice_make(keys[0], 22);
    info.largest = lsm_slice_make(keys[1], 22);
    CHECK(lsm_edit_add_table(edit, 0, &info));
}

LSM_TEST(an_untrusted_manifest_names_so_many_range_deletes) {
    lsm_env *env = lsm_sim_create(1);
    lsm_edit edit;

    begin_edit(&edit);
    add_table(&edit, 1, LSM_UNTRUSTED_RANGES_MAX);
    add_table(&edit, 2, 1);
    forge(env, &edit);
    refused(env, "range deletes in tables: 262145");
    lsm_edit_deinit(&edit);
    begin_edit(&edit);
    add_table(&edit, 1, UINT64_MAX);
    add_table(&edit, 2, 1);
    lsm_sim_destroy(env);
    env = lsm_sim_create(1);
    forge(env, &edit);
    refused(env, "range deletes in tables: 18446744073709551615");
    lsm_edit_deinit(&edit);
    lsm_sim_destroy(env);
}

LSM_TEST(an_untrusted_manifest_does_not_take_more_memory_than_there_may_be) {
    lsm_env *env = lsm_sim_create(1);
    lsm_edit edit;

    begin_edit(&edit);
    for (uint64_t i = 1; i <= 20000; i++) {
        add_table(&edit, i, 0);
    }
    forge(env, &edit);
    refused(env, "do not fit into memory_bytes, which is 8388608");
    lsm_edit_deinit(&edit);
    lsm_sim_destroy(env);
}

LSM_TEST(an_untrusted_manifest_names_so_many_files_and_changes) {
    lsm_env *env = lsm_sim_create(1);
    lsmkv_options options;
    lsmkv_error err;
    lsmkv_db *db;
    lsm_edit edit;

    begin_edit(&edit);
    for (uint64_t i = 1; i <= LSM_UNTRUSTED_FILES_MAX + 1; i++) {
        lsm_edit_cache cache = {i, i, 1};
        CHECK(lsm_edit_add_cache(&edit, &cache));
    }
    forge(env, &edit);
    lsm_edit_deinit(&edit);
    options_untrusted(&options);
    options.memory_bytes = 256 << 20;
    CHECK_STATUS(lsm_test_open(env, SIM_PATH, &options, &db, &err),
                 LSMKV_LIMIT_EXCEEDED);
    CHECK(strstr(err.message, "files of the database: 65537") != NULL);
    CHECK(strcmp(err.file, "MANIFEST-000900") == 0);
    lsm_sim_destroy(env);
    env = lsm_sim_create(1);
    begin_edit(&edit);
    for (uint64_t i = 1; i <= LSM_UNTRUSTED_EDITS_MAX; i++) {
        CHECK(lsm_edit_delete_table(&edit, 0, i));
    }
    forge(env, &edit);
    lsm_edit_deinit(&edit);
    CHECK_STATUS(lsm_test_open(env, SIM_PATH, &options, &db, &err),
                 LSMKV_LIMIT_EXCEEDED);
    CHECK(strstr(err.message, "edits and what they change: 1048577") != NULL);
    lsm_sim_destroy(env);
}

LSM_TEST(an_untrusted_directory_has_so_many_live_logs) {
    lsmkv_error err;
    dead_db dead;
    lsm_dir *dir;

    begin_closed(&dead);
    CHECK_OK(lsm_dir_open(dead.env, SIM_PATH, false, &dir, &err));
    for (uint64_t i = 0; i < LSM_UNTRUSTED_LOGS_MAX; i++) {
        char name[LSM_FILENAME_SIZE];
        lsm_filename_make(name, LSM_NAME_LOG, 100000 + i);
        CHECK_OK(lsm_file_close(sim_create(dir, name), &err));
    }
    lsm_dir_close(dir);
    refused(dead.env, "live logs: 65");
    dead_end(&dead);
}

/* It does not begin where the others end, so it is read only for its marks. */
LSM_TEST(an_untrusted_log_behind_a_hole_may_hold_no_records_either) {
    lsm_record_file_header header = {
        .type = LSM_FILE_LOG, .number = 100000, .file_id = 7, .previous_sequence = 1};
    names manifests;
    const uint8_t *bytes;
    size_t size;
    lsm_record_file_header known;
    lsm_wal_writer *writer = NULL;
    lsm_buf record = {0};
    lsm_buf *const records[] = {&record};
    lsmkv_error err;
    dead_db dead;
    lsm_dir *dir;

    begin_closed(&dead);
    list_names(dead.env, "MANIFEST", &manifests);
    const char *name = manifests.list[manifests.count - 1];
    CHECK(lsm_sim_file_read(dead.env, SIM_PATH, name, &bytes, &size));
    CHECK_OK(lsm_record_file_header_decode(bytes, size, name, &known, &err));
    memcpy(header.uuid, known.uuid, sizeof(header.uuid));
    CHECK_OK(lsm_dir_open(dead.env, SIM_PATH, false, &dir, &err));
    CHECK_OK(lsm_wal_create(dir, "100000.log", &header, &writer, &err));
    CHECK(lsm_buf_append_zeros(&record, LSM_RECORD_HEADER_SIZE + 24));
    CHECK_OK(lsm_wal_append(writer, LSM_RECORD_BATCH, records, 1, &err));
    CHECK_OK(lsm_wal_close(writer, &err));
    lsm_buf_deinit(&record);
    lsm_dir_close(dir);
    refused(dead.env, "at most 0 are read here");
    dead_end(&dead);
}

/* A value file may be larger than what is searched for marks behind damage. */
LSM_TEST(a_value_file_of_an_untrusted_database_is_not_searched_for_ever) {
    static const uint8_t uuid[LSM_UUID_SIZE] = "0123456789abcde";
    lsm_record_file_header header = {
        .type = LSM_FILE_VALUES, .uuid = "0123456789abcde", .number = 5, .file_id = 7};
    const lsm_wal_expect expect = {.type = LSM_FILE_VALUES,
                                   .uuid = uuid,
                                   .number = 5,
                                   .file_id = 7,
                                   .size_max = LSM_UNTRUSTED_RECORDS_MAX + 4097};
    uint8_t begins[LSM_RECORD_FILE_HEADER_SIZE];
    lsm_slice head = lsm_slice_make(begins, sizeof(begins));
    lsm_slice piece = lsm_slice_make("x", 1);
    const uint8_t *bytes;
    size_t size;
    lsm_wal_writer *writer = NULL;
    lsm_wal_reader *reader = NULL;
    lsm_record record;
    lsm_dir *dir;
    lsm_file *file;
    lsmkv_error err;
    lsm_env *env = sim_make(1, &dir);
    lsm_budget *budget = lsm_budget_create(16 << 20);

    CHECK(budget != NULL);
    CHECK_OK(lsm_wal_create(dir, "000005.seg", &header, &writer, &err));
    CHECK_OK(lsm_wal_close(writer, &err));
    CHECK(lsm_sim_file_read(env, SIM_PATH, "000005.seg", &bytes, &size));
    memcpy(begins, bytes, sizeof(begins));
    CHECK_OK(lsm_dir_unlink(dir, "000005.seg", &err));
    file = sim_create(dir, "000005.seg");
    CHECK_OK(lsm_file_write_at(file, 0, &head, 1, &err));
    CHECK_OK(
        lsm_file_write_at(file, LSM_UNTRUSTED_RECORDS_MAX + 4096, &piece, 1, &err));
    CHECK_OK(lsm_file_close(file, &err));
    lsm_budget *before = lsm_budget_enter(budget);
    lsmkv_status opened = lsm_wal_open(dir, "000005.seg", &expect, &reader, NULL, &err);
    lsmkv_status status =
        opened == LSMKV_OK ? lsm_wal_next(reader, &record, &err) : opened;
    lsm_wal_reader_close(reader);
    lsm_budget_leave(&before);
    CHECK_EQ(opened, LSMKV_OK);
    CHECK_STATUS(status, LSMKV_NOT_FOUND);
    lsm_budget_destroy(budget);
    sim_end(env, dir);
}

LSM_TEST(an_untrusted_log_is_not_searched_for_ever) {
    lsmkv_error err;
    dead_db dead;
    lsm_dir *dir;
    lsm_file *file;
    lsm_slice piece = lsm_slice_make("", 1);

    begin_closed(&dead);
    CHECK_OK(lsm_dir_open(dead.env, SIM_PATH, false, &dir, &err));
    file = sim_create(dir, "100000.log");
    CHECK_OK(lsm_file_write_at(file, LSM_UNTRUSTED_RECORDS_MAX, &piece, 1, &err));
    CHECK_OK(lsm_file_close(file, &err));
    lsm_dir_close(dir);
    refused(dead.env, "bytes of a file of records: 67108865");
    dead_end(&dead);
}

LSM_TEST(links_and_pipes_in_an_untrusted_directory_are_damage) {
    lsmkv_options options;
    lsmkv_error err;
    lsmkv_db *db;
    char path[64];
    char other[80];
    char current[80];

    (void)snprintf(path, sizeof(path), "%s/lsmkv-untrusted-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(path) != NULL);
    (void)snprintf(other, sizeof(other), "%s-link", path);
    (void)snprintf(current, sizeof(current), "%s/CURRENT", path);
    options_untrusted(&options);
    CHECK_EQ(symlink(path, other), 0);
    CHECK_STATUS(lsmkv_open(other, &options, &db, &err), LSMKV_CORRUPTION);
    (void)snprintf(other, sizeof(other), "%s-link//", path);
    CHECK_STATUS(lsmkv_open(other, &options, &db, &err), LSMKV_CORRUPTION);
    (void)snprintf(other, sizeof(other), "%s//", path);
    CHECK_STATUS(lsmkv_open(other, &options, &db, &err), LSMKV_NOT_A_DATABASE);
    CHECK_EQ(symlink("/etc/passwd", current), 0);
    CHECK_STATUS(lsmkv_open(path, &options, &db, &err), LSMKV_CORRUPTION);
    CHECK_EQ(unlink(current), 0);
    CHECK_EQ(mkfifo(current, 0600), 0);
    CHECK_STATUS(lsmkv_open(path, &options, &db, &err), LSMKV_CORRUPTION);
    CHECK_EQ(unlink(current), 0);
    CHECK_EQ(mkdir(current, 0700), 0);
    CHECK_STATUS(lsmkv_open(path, &options, &db, &err), LSMKV_CORRUPTION);
    CHECK_EQ(rmdir(current), 0);
    CHECK_EQ(rmdir(path), 0);
    (void)snprintf(other, sizeof(other), "%s-link", path);
    CHECK_EQ(unlink(other), 0);
}

LSM_TEST(a_budget_counts_what_is_allocated_while_it_is_in_force) {
    lsmkv_error err;
    lsm_budget *budget = lsm_budget_create(1 << 20);
    lsm_budget *before;
    uint64_t used;

    CHECK(budget != NULL);
    void *outside = lsm_alloc(4 << 20);
    before = lsm_budget_enter(budget);
    CHECK(lsm_is_limited());
    void *inside = lsm_calloc(1000, 100);
    void *line = lsm_alloc_aligned(1000);
    used = atomic_load(&budget->used);
    CHECK(inside != NULL && used >= 101000 && used < 120000);
    CHECK(lsm_alloc(1 << 20) == NULL);
    CHECK_STATUS(lsm_fail_memory(&err, 1 << 20), LSMKV_LIMIT_EXCEEDED);
    CHECK(strstr(err.message, "1048576 bytes more do not fit") != NULL);
    CHECK_STATUS(lsm_fail_memory(&err, 1 << 20), LSMKV_NO_MEMORY); /* told once */
    CHECK(lsm_alloc_huge(LSM_HUGE_PAGE) == NULL);
    CHECK(lsm_realloc(inside, 1 << 20) == NULL); /* the old piece stays */
    CHECK_EQ(atomic_load(&budget->used), used);
    inside = lsm_realloc(inside, 500000);
    CHECK(inside != NULL && atomic_load(&budget->used) >= 501000);
    inside = lsm_realloc(inside, 10);
    /* The C library may leave a piece of its own a page. */
    CHECK(inside != NULL && atomic_load(&budget->used) < 10000);
    lsm_free(inside);
    lsm_free_aligned(line);
    CHECK_EQ(atomic_load(&budget->used), 0);
    lsm_budget_leave(&before);
    CHECK(!lsm_is_limited());
    lsm_free(outside);
    CHECK_EQ(atomic_load(&budget->used), 0);
    lsm_budget_destroy(budget);
    budget = lsm_budget_create(LSM_HUGE_PAGE);
    before = lsm_budget_enter(budget);
    void *huge = lsm_alloc_huge(LSM_HUGE_PAGE);
    CHECK(huge != NULL && lsm_alloc(1) == NULL);
    lsm_free_huge(huge, LSM_HUGE_PAGE);
    CHECK_EQ(atomic_load(&budget->used), 0);
    lsm_budget_leave(&before);
    lsm_budget_destroy(budget);
}

LSM_TEST(a_scan_of_many_tables_reads_as_much_at_once_as_memory_allows) {
    enum { TABLES = 12, KEYS = 40 }; /* a window for each would be 3 MiB */
    lsmkv_options options;
    lsmkv_error err;
    lsmkv_iter *iter;
    uint64_t count = 0;
    extreme e;
    char key[32];

    e.env = lsm_sim_create(3);
    CHECK(e.env != NULL);
    lsmkv_options_init(&options);
    options.block_bytes = 512;
    options.l0_compact_trigger = 2 * TABLES;
    CHECK_OK(lsm_test_open(e.env, SIM_PATH, &options, &e.db, &err));
    for (int table = 0; table < TABLES; table++) {
        for (int i = 0; i < KEYS; i++) {
            (void)snprintf(key, sizeof(key), "key%02d/%02d", i, table);
            extreme_put(&e, key, 400, false);
        }
        CHECK_OK(lsmkv_flush(e.db, &err));
    }
    close_db(e.db);
    options_untrusted(&options);
    options.memory_bytes = 1 << 20;
    CHECK_OK(lsm_test_open(e.env, SIM_PATH, &options, &e.db, &err));
    CHECK_OK(lsmkv_iter_create(e.db, NULL, NULL, &iter, &err));
    CHECK_OK(lsmkv_iter_seek_last(iter, &err));
    for (; lsmkv_iter_valid(iter); count++) {
        CHECK_OK(lsmkv_iter_prev(iter, &err));
    }
    lsmkv_iter_free(iter);
    CHECK_EQ(count, TABLES * KEYS);
    close_db(e.db);
    lsm_sim_destroy(e.env);
}
