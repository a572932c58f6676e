/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a damaged table gives CORRUPTION or right answers, never wrong ones, and verify
 * sees every damage; failing reads and allocations are errors that leave nothing
 * behind; the writer takes no wrong order and leaves no unfinished file. Method: every
 * byte of small files changed, every length, every allocation and every call failed.
 */
#include "table_fixture.h"

#include "format/block.h"

static const row_shape small = {40, 5, 2, 8, 24, 30};
static const row_shape usual = {300, 16, 0, 256, 100, 1u << 20};

/* A small table of every structure there is: several data blocks, two levels of index,
 * a filter. */
static void begin_small(table_fixture *f) {
    fixture_begin(f, 0);
    f->options.block_bytes = 80;
    f->options.index_block_bytes = 24;
    fixture_fill(f, 21, &small);
}

static bool is_damage(lsmkv_status status) {
    return status == LSMKV_CORRUPTION || status == LSMKV_UNSUPPORTED_VERSION;
}

/* Point reads of every row. Returns how many answered with an error. */
static size_t get_all(table_fixture *f, lsm_table *table) {
    size_t failed = 0;

    for (size_t i = 0; i < f->set.count; i++) {
        lsm_lookup lookup =
            lsm_lookup_make(row_skey(&f->set.rows[i]), row_sequence(&f->set.rows[i]));
        lsm_epoch_token token = lsm_epoch_enter(&f->epoch);
        lsm_found found = {0};
        lsmkv_error err;
        lsmkv_status status;

        lsm_error_clear(&err);
        status = lsm_table_get(table, &lookup, false, &found, &err);
        if (is_damage(status)) {
            CHECK(strcmp(err.file, TABLE_NAME) == 0);
            CHECK(err.offset >= 0);
            failed++;
        } else {
            check_answer(f, &lookup, status, &found);
        }
        lsm_epoch_leave(token);
    }
    return failed;
}

/* Walks over everything. true: it ended with damage, which then stays. */
static bool walk(table_fixture *f, lsm_table *table, lsm_table_access access,
                 bool backward) {
    lsm_epoch_token token = lsm_epoch_enter(&f->epoch);
    lsm_iter *iter = lsm_table_iter(table, access);
    size_t at = backward ? f->set.count - 1 : 0;
    size_t count = 0;
    lsmkv_status status;

    CHECK(iter != NULL);
    if (backward) {
        lsm_iter_seek_last(iter);
    } else {
        lsm_iter_seek_first(iter);
    }
    while (iter->valid) {
        check_at(f, iter, at);
        count++;
        if (backward) {
            lsm_iter_prev(iter);
            at--;
        } else {
            lsm_iter_next(iter);
            at++;
        }
    }
    status = iter->status;
    if (status == LSMKV_OK) {
        CHECK_EQ(count, f->set.count);
    } else {
        CHECK(is_damage(status));
        CHECK_EQ(iter->error.status, status);
        CHECK(strcmp(iter->error.file, TABLE_NAME) == 0);
    }
    lsm_iter_destroy(iter);
    lsm_epoch_leave(token);
    return status != LSMKV_OK;
}

static void count_problem(void *context, const lsmkv_error *problem) {
    CHECK(problem->status != LSMKV_OK && problem->message[0] != '\0');
    CHECK(strcmp(problem->file, TABLE_NAME) == 0);
    ++*(size_t *)context;
}

static size_t verify(lsm_table *table) {
    lsmkv_report report = {0};
    size_t problems = 0;

    lsm_table_verify(table, count_problem, &problems, &report);
    CHECK_EQ(report.problem_count, problems);
    CHECK_EQ(report.file_count, 1);
    return problems;
}

/* Looks at a damaged file with a table opened before and one opened after. */
static void check_damaged(table_fixture *f, lsm_table *before) {
    lsm_table *after = NULL;
    lsmkv_error err;
    lsmkv_status status = lsm_table_open(&f->context, &f->info, &after, &err);
    bool seen = status != LSMKV_OK;

    CHECK(status == LSMKV_OK || is_damage(status));
    CHECK(!seen || strcmp(err.file, TABLE_NAME) == 0);
    CHECK_EQ(verify(before) != 0, true);
    (void)get_all(f, before);
    (void)walk(f, before, LSM_ACCESS_CACHED, true);
    if (!seen) {
        (void)get_all(f, after);
        for (int access = LSM_ACCESS_CACHED; access <= LSM_ACCESS_SCAN; access++) {
            CHECK(walk(f, after, (lsm_table_access)access, false));
            CHECK(walk(f, after, (lsm_table_access)access, true));
        }
    }
    lsm_table_unref(after);
}

LSM_TEST(table_with_any_byte_changed_is_noticed_and_never_lies) {
    const uint8_t *data = NULL;
    lsm_table *before;
    table_fixture f;
    uint8_t *copy;
    size_t size = 0;

    begin_small(&f);
    before = fixture_open(&f);
    CHECK(lsm_table_properties(before)->index_block_count > 1);
    CHECK(lsm_table_properties(before)->data_block_count > 5);
    CHECK_EQ(verify(before), 0);
    CHECK_EQ(get_all(&f, before), 0);
    CHECK(lsm_sim_file_read(f.env, SIM_PATH, TABLE_NAME, &data, &size));
    CHECK_EQ(size, f.info.file_size);
    copy = lsm_alloc(size);
    CHECK(copy != NULL);
    memcpy(copy, data, size);
    for (size_t i = 0; i < size; i++) {
        uint8_t patterns[] = {(uint8_t)(1u << i % 8), 0xFF};

        for (size_t j = 0; j < sizeof(patterns); j++) {
            copy[i] ^= patterns[j];
            CHECK(lsm_sim_file_write(f.env, SIM_PATH, TABLE_NAME, copy, size));
            check_damaged(&f, before);
            copy[i] ^= patterns[j];
        }
    }
    lsm_free(copy);
    lsm_table_unref(before);
    fixture_end(&f);
}

LSM_TEST(table_cut_to_any_length_does_not_open) {
    const uint8_t *data = NULL;
    lsm_table *table;
    table_fixture f;
    lsmkv_error err;
    size_t size = 0;
    uint8_t *copy;

    begin_small(&f);
    CHECK(lsm_sim_file_read(f.env, SIM_PATH, TABLE_NAME, &data, &size));
    copy = lsm_calloc(1, size + 1);
    CHECK(copy != NULL);
    memcpy(copy, data, size);
    for (size_t length = 0; length <= size + 1; length++) {
        if (length != size) {
            CHECK(lsm_sim_file_write(f.env, SIM_PATH, TABLE_NAME, copy, length));
            CHECK_STATUS(lsm_table_open(&f.context, &f.info, &table, &err),
                         LSMKV_CORRUPTION);
            CHECK(table == NULL);
        }
    }
    /* Cut while it is open: the reads see a short file. */
    CHECK(lsm_sim_file_write(f.env, SIM_PATH, TABLE_NAME, copy, size));
    table = fixture_open(&f);
    CHECK(lsm_sim_file_write(f.env, SIM_PATH, TABLE_NAME, copy, 200));
    CHECK(get_all(&f, table) > 0);
    CHECK(walk(&f, table, LSM_ACCESS_SCAN, false));
    CHECK(verify(table) > 0);
    lsm_table_unref(table);
    CHECK(lsm_sim_file_remove(f.env, SIM_PATH, TABLE_NAME));
    CHECK_STATUS(lsm_table_open(&f.context, &f.info, &table, &err), LSMKV_CORRUPTION);
    lsm_free(copy);
    fixture_end(&f);
}

LSM_TEST(table_with_two_blocks_exchanged_is_noticed) {
    const uint8_t *data = NULL;
    table_fixture f;
    size_t size = 0;
    uint8_t *copy;
    size_t half;

    fixture_begin(&f, 0);
    f.options.block_bytes = 1;
    static const row_shape fixed = {20, 0, 4, 2, 0, 30};
    fixture_fill(&f, 3, &fixed);
    lsm_table *table = fixture_open(&f);
    CHECK(lsm_sim_file_read(f.env, SIM_PATH, TABLE_NAME, &data, &size));
    copy = lsm_alloc(size);
    CHECK(copy != NULL);
    memcpy(copy, data, size);
    /* One entry of one size to a block: all blocks are equally large. */
    half = (size_t)((f.info.file_size - f.info.tail_size) /
                    lsm_table_properties(table)->data_block_count);
    CHECK_EQ((f.info.file_size - f.info.tail_size) % half, 0);
    memcpy(copy, data + half, half);
    memcpy(copy + half, data, half);
    CHECK(lsm_sim_file_write(f.env, SIM_PATH, TABLE_NAME, copy, size));
    check_damaged(&f, table);
    /* Even if their checksums are made to fit. */
    for (size_t i = 0; i < 2; i++) {
        size_t payload = half - LSM_BLOCK_FRAME_SIZE;

        lsm_block_frame_seal(copy + i * half, payload,
                             (lsm_block_frame){(uint32_t)payload, 0, LSM_BLOCK_DATA},
                             TABLE_FILE_ID, i * half);
    }
    CHECK(lsm_sim_file_write(f.env, SIM_PATH, TABLE_NAME, copy, size));
    check_damaged(&f, table);
    lsm_free(copy);
    lsm_table_unref(table);
    fixture_end(&f);
}

LSM_TEST(table_that_is_not_what_the_manifest_says_does_not_open) {
    table_fixture f;
    lsm_table_info right;
    lsm_table *table;
    lsmkv_error err;

    begin_small(&f);
    right = f.info;
    for (int i = 0; i < 11; i++) {
        lsm_table_info info = right;

        info.file_id += i == 0;
        info.file_size -= i == 1;
        info.tail_size += i == 2;
        info.tail_size = i == 3 ? 10 : info.tail_size;
        info.entry_count += i == 4;
        info.tombstone_count += i == 5;
        info.sequence_min += i == 6;
        info.sequence_max += i == 7;
        info.raw_bytes += i == 8;
        info.largest = i == 9 ? row_ikey(&f.set.rows[f.set.count - 2]) : info.largest;
        info.smallest =
            i == 10 ? row_ikey(&f.set.rows[f.set.count - 1]) : info.smallest;
        CHECK_STATUS(lsm_table_open(&f.context, &info, &table, &err), LSMKV_CORRUPTION);
        CHECK(table == NULL && strcmp(err.file, TABLE_NAME) == 0);
    }
    f.context.uuid[3]++;
    CHECK_STATUS(lsm_table_open(&f.context, &right, &table, &err), LSMKV_CORRUPTION);
    fixture_end(&f);
}

static void step(lsm_iter *iter, bool backward) {
    if (backward) {
        lsm_iter_prev(iter);
    } else {
        lsm_iter_next(iter);
    }
}

/* Walks until the read behind `skip` others fails, then seeks on. */
static void walk_into_error(lsm_table_access access, bool backward, uint64_t skip) {
    static const row_shape many = {6000, 16, 0, 256, 200, 1u << 20};
    table_fixture f;
    size_t at = 0;

    fixture_begin(&f, 0);
    fixture_fill(&f, 6, &many);
    lsm_table *table = fixture_open(&f);
    lsm_epoch_token token = lsm_epoch_enter(&f.epoch);
    lsm_iter *iter = lsm_table_iter(table, access);
    CHECK(iter != NULL);
    lsm_sim_fail(f.env, LSM_SIM_READ, skip, 5 /* EIO */, false);
    (backward ? lsm_iter_seek_last : lsm_iter_seek_first)(iter);
    for (; iter->valid; at++) {
        check_at(&f, iter, backward ? f.set.count - 1 - at : at);
        step(iter, backward);
    }
    CHECK(at < f.set.count);
    CHECK_EQ(iter->status, LSMKV_IO_ERROR);
    CHECK_EQ(iter->error.os_errno, 5);
    lsm_iter_seek(iter, row_ikey(&f.set.rows[100]));
    check_at(&f, iter, 100);
    lsm_iter_destroy(iter);
    lsm_epoch_leave(token);
    lsm_table_unref(table);
    fixture_end(&f);
}

LSM_TEST(table_iterator_keeps_a_read_error_until_the_next_seek) {
    for (int access = LSM_ACCESS_CACHED; access <= LSM_ACCESS_SCAN; access++) {
        for (uint64_t skip = 0; skip < 3; skip++) {
            walk_into_error((lsm_table_access)access, false, skip);
            walk_into_error((lsm_table_access)access, true, skip);
        }
    }
}

LSM_TEST(table_read_that_failed_is_not_remembered_as_an_answer) {
    table_fixture f;
    lsm_table *table;
    lsm_found found;
    lsmkv_error err;

    fixture_begin(&f, 1 << 20);
    fixture_fill(&f, 6, &usual);
    table = fixture_open(&f);
    lsm_lookup lookup = lsm_lookup_make(row_skey(&f.set.rows[50]), LSM_SEQUENCE_MAX);
    lsm_table_request request = {.lookup = lookup};
    lsm_table_request *requests[] = {&request};
    lsm_epoch_token token = lsm_epoch_enter(&f.epoch);
    lsm_sim_fail(f.env, LSM_SIM_READ, 0, 5, false);
    CHECK_STATUS(lsm_table_get(table, &lookup, false, &found, &err), LSMKV_IO_ERROR);
    lsm_sim_fail(f.env, LSM_SIM_READ, 0, 5, false);
    CHECK_STATUS(lsm_table_get_many(table, requests, 1, &err), LSMKV_IO_ERROR);
    CHECK(!request.done);
    CHECK_OK(lsm_table_get_many(table, requests, 1, &err));
    CHECK(request.done);
    check_answer(&f, &lookup, LSMKV_OK, &request.found);
    lsm_epoch_leave(token);
    lsm_table_unref(table);
    fixture_end(&f);
}

LSM_TEST(table_bears_short_and_interrupted_reads_and_appends) {
    table_fixture f;
    lsm_table *table;

    fixture_begin(&f, 2000);
    lsm_sim_set_short_odds(f.env, 400);
    fixture_fill(&f, 6, &usual);
    table = fixture_open(&f);
    CHECK_EQ(get_all(&f, table), 0);
    CHECK(!walk(&f, table, LSM_ACCESS_CACHED, false));
    CHECK(!walk(&f, table, LSM_ACCESS_SCAN, true));
    CHECK_EQ(verify(table), 0);
    lsm_table_unref(table);
    fixture_end(&f);
}

LSM_TEST(table_scan_goes_on_after_it_had_no_memory_for_a_large_block) {
    static const row_shape little = {300, 8, 0, 256, 20, 9};
    table_fixture f;
    lsm_table *table;
    lsm_iter *iter;
    row *last;
    size_t at = 0;

    fixture_begin(&f, 0);
    f.options.block_bytes = 1; /* a row to a block */
    fixture_fill(&f, 6, &little);
    last = &f.set.rows[f.set.count - 1];
    lsm_free(last->field);
    last->field_size = 500000;
    last->field = lsm_calloc(1, last->field_size);
    CHECK(last->field != NULL);
    lsm_put_u64(last->ikey + last->ikey_size - 8, lsm_trailer_make(3, LSM_KIND_PUT));
    fixture_write(&f);
    table = fixture_open(&f);
    iter = lsm_table_iter(table, LSM_ACCESS_SCAN);
    CHECK(iter != NULL);
    for (lsm_iter_seek_first(iter); at + 2 < f.set.count; at++) {
        lsm_iter_next(iter);
    }
    CHECK(iter->valid);
    lsm_alloc_fail_after(0, 0);
    lsm_iter_next(iter);
    lsm_alloc_fail_never();
    CHECK(!iter->valid);
    CHECK_EQ(iter->status, LSMKV_NO_MEMORY);
    at = 0;
    for (lsm_iter_seek_first(iter); iter->valid; lsm_iter_next(iter)) {
        check_at(&f, iter, at++);
    }
    CHECK_EQ(at, f.set.count);
    lsm_iter_destroy(iter);
    lsm_table_unref(table);
    fixture_end(&f);
}

/* Opens, reads and iterates; any step may run out of memory. true: none did. */
static bool use_all(table_fixture *f) {
    lsm_table_request requests[40];
    lsm_table_request *pointers[40];
    lsm_epoch_token token;
    lsm_table *table = NULL;
    lsm_iter *iter = NULL;
    lsmkv_error err;
    lsmkv_status status = lsm_table_open(&f->context, &f->info, &table, &err);

    if (status != LSMKV_OK) {
        CHECK_EQ(status, LSMKV_NO_MEMORY);
        return false;
    }
    token = lsm_epoch_enter(&f->epoch);
    for (size_t i = 0; i < 40; i++) {
        requests[i] = (lsm_table_request){
            .lookup = lsm_lookup_make(row_skey(&f->set.rows[i * 7]), LSM_SEQUENCE_MAX)};
        pointers[i] = &requests[i];
    }
    status = lsm_table_get(table, &requests[3].lookup, false, &requests[3].found, &err);
    if (status == LSMKV_OK) {
        status = lsm_table_get_many(table, pointers, 40, &err);
    }
    iter = lsm_table_iter(table, LSM_ACCESS_CACHED);
    if (iter == NULL) {
        status = LSMKV_NO_MEMORY;
    } else if (status == LSMKV_OK) {
        size_t at = 0;

        for (lsm_iter_seek_first(iter); iter->valid; lsm_iter_next(iter)) {
            check_at(f, iter, at++);
        }
        status = iter->status;
        CHECK(status != LSMKV_OK || at == f->set.count);
    }
    CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
    lsm_iter_destroy(iter);
    lsm_epoch_leave(token);
    lsm_table_unref(table);
    lsm_epoch_poll(&f->epoch);
    return status == LSMKV_OK;
}

LSM_TEST(table_reading_without_memory_fails_cleanly_at_every_allocation) {
    table_fixture f;
    uint64_t n = 0;
    bool done = false;

    fixture_begin(&f, 5000);
    fixture_fill(&f, 6, &usual);
    for (; !done; n++) {
        lsm_alloc_fail_after(n, 0);
        done = use_all(&f);
        lsm_alloc_fail_never();
    }
    CHECK(n > 20);
    fixture_end(&f);
}

/* Writes the rows; any call may fail. The file must be complete or gone. */
static lsmkv_status write_all(table_fixture *f) {
    lsm_table_writer *writer = NULL;
    lsmkv_status status = LSMKV_OK;
    lsmkv_error err;

    lsm_error_clear(&err);
    status = lsm_table_writer_create(f->dir, TABLE_NUMBER, &f->options, &writer, &err);
    for (size_t i = 0; status == LSMKV_OK && i < f->set.count; i++) {
        status = lsm_table_writer_add(writer, row_ikey(&f->set.rows[i]),
                                      row_field(&f->set.rows[i]), &err);
    }
    if (status == LSMKV_OK) {
        lsm_table_info info;

        status = lsm_table_writer_finish(writer, &info, &err);
    }
    CHECK_EQ(err.status, status);
    lsm_table_writer_destroy(writer);
    return status;
}

LSM_TEST(table_writer_without_memory_fails_cleanly_at_every_allocation) {
    table_fixture f;
    uint64_t n = 0;

    fixture_begin(&f, 0);
    fixture_fill(&f, 6, &usual);
    CHECK(lsm_sim_file_remove(f.env, SIM_PATH, TABLE_NAME));
    for (;; n++) {
        lsmkv_status status;

        lsm_alloc_fail_after(n, 0);
        status = write_all(&f);
        lsm_alloc_fail_never();
        if (status == LSMKV_OK) {
            break;
        }
        CHECK(status == LSMKV_NO_MEMORY || status == LSMKV_IO_ERROR);
        CHECK(!sim_exists(f.env, TABLE_NAME));
    }
    CHECK(n > 20);
    fixture_end(&f);
}

LSM_TEST(table_writer_leaves_no_file_behind_when_a_call_fails) {
    static const lsm_sim_call calls[] = {LSM_SIM_OPEN, LSM_SIM_APPEND, LSM_SIM_SYNC,
                                         LSM_SIM_CLOSE};
    static const row_shape large = {900, 16, 0, 256, 2000, 1u << 20};
    table_fixture f;

    fixture_begin(&f, 0);
    fixture_fill(&f, 6, &large);
    CHECK(f.info.file_size > 600000);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(calls); i++) {
        for (uint64_t skip = 0; skip < (calls[i] == LSM_SIM_APPEND ? 3 : 1); skip++) {
            (void)lsm_sim_file_remove(f.env, SIM_PATH, TABLE_NAME);
            lsm_sim_fail(f.env, calls[i], skip, 5, false);
            CHECK_EQ(write_all(&f), LSMKV_IO_ERROR);
            CHECK(!lsm_sim_file_remove(f.env, SIM_PATH, TABLE_NAME));
        }
    }
    lsm_sim_set_quota(f.env, 300000);
    CHECK_EQ(write_all(&f), LSMKV_DISK_FULL);
    lsm_sim_set_quota(f.env, 0);
    CHECK_EQ(write_all(&f), LSMKV_OK);
    CHECK_EQ(write_all(&f), LSMKV_IO_ERROR); /* the name exists */
    CHECK(lsm_sim_file_remove(f.env, SIM_PATH, TABLE_NAME));
    fixture_end(&f);
}

LSM_TEST(table_writer_refuses_keys_out_of_order_and_records_it_does_not_know) {
    static const struct {
        const char *key;
        uint64_t trailer;
        lsmkv_status status;
    } seconds[] = {
        {"c", 5 << 8 | LSM_KIND_PUT, LSMKV_OK},
        {"b", 4 << 8 | LSM_KIND_PUT, LSMKV_OK},
        {"b", 5 << 8 | LSM_KIND_PUT, LSMKV_CORRUPTION},
        {"b", 6 << 8 | LSM_KIND_PUT, LSMKV_CORRUPTION},
        {"a", 4 << 8 | LSM_KIND_PUT, LSMKV_CORRUPTION},
        {"c", 5 << 8 | 9, LSMKV_CORRUPTION},
        {"c", 5 << 8 | LSM_KIND_DELETE, LSMKV_CORRUPTION}, /* with a value */
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(seconds); i++) {
        uint8_t ikey[13] = {0, 0, 0, 1, 'b'};
        lsm_table_writer *writer;
        table_fixture f;
        lsmkv_error err;

        fixture_begin(&f, 0);
        CHECK_OK(
            lsm_table_writer_create(f.dir, TABLE_NUMBER, &f.options, &writer, &err));
        lsm_put_u64(ikey + 5, 5 << 8 | LSM_KIND_PUT);
        CHECK_OK(lsm_table_writer_add(writer, lsm_slice_make(ikey, sizeof(ikey)),
                                      lsm_slice_make("v", 1), &err));
        ikey[4] = (uint8_t)seconds[i].key[0];
        lsm_put_u64(ikey + 5, seconds[i].trailer);
        CHECK_STATUS(lsm_table_writer_add(writer, lsm_slice_make(ikey, sizeof(ikey)),
                                          lsm_slice_make("v", 1), &err),
                     seconds[i].status);
        CHECK_EQ(lsm_table_writer_entry_count(writer),
                 1 + (seconds[i].status == LSMKV_OK));
        lsm_table_writer_destroy(writer);
        CHECK(!sim_exists(f.env, TABLE_NAME));
        fixture_end(&f);
    }
}

LSM_TEST(table_writer_size_is_near_the_size_of_the_file) {
    table_fixture f;
    lsm_table_writer *writer;
    lsm_table_info info;
    lsmkv_error err;
    uint64_t guess;

    fixture_begin(&f, 0);
    f.options.block_bytes = 1024;
    fixture_fill(&f, 6, &usual);
    CHECK(lsm_sim_file_remove(f.env, SIM_PATH, TABLE_NAME));
    CHECK_OK(lsm_table_writer_create(f.dir, TABLE_NUMBER, &f.options, &writer, &err));
    for (size_t i = 0; i < f.set.count; i++) {
        CHECK_OK(lsm_table_writer_add(writer, row_ikey(&f.set.rows[i]),
                                      row_field(&f.set.rows[i]), &err));
    }
    guess = lsm_table_writer_size(writer);
    CHECK_OK(lsm_table_writer_finish(writer, &info, &err));
    CHECK(guess > info.file_size - 1000 && guess < info.file_size + 1000);
    lsm_table_writer_destroy(writer);
    fixture_end(&f);
}
