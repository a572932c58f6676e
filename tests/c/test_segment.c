/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a value file gives back what was put in, any damaged byte of it or of a log
 * with large values is noticed, and no pointer, however wrong, leads outside. Method:
 * files in the simulator, and once through a mapping of a real file.
 */
#include "sim_help.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/xxh3.h"
#include "format/batch.h"
#include "segment/segment.h"
#include "segment/value_writer.h"
#include "wal/wal.h"

enum { NUMBER = 5, FILE_ID = 77, VALUE_COUNT = 9 };

static const uint8_t uuid[LSM_UUID_SIZE] = "0123456789abcde";
static const size_t sizes[VALUE_COUNT] = {1, 63, 64, 65, 1000, 4096, 3, 300000, 17};

typedef struct count_sink {
    lsm_segment_sink base;
    size_t dropped;
} count_sink;

static void drop(lsm_segment_sink *sink, lsm_segment *segment) {
    LSM_CONTAINER_OF(sink, count_sink, base)->dropped++;
    lsm_segment_destroy(segment);
}

typedef struct files {
    lsm_dir *dir;
    count_sink sink;
    lsm_segment_context context;
    lsm_segment_files files;
    lsm_edit_segment info;
    lsm_pointer pointers[VALUE_COUNT];
} files;

static void init_files(files *f, lsm_dir *dir, bool mapping) {
    memset(f, 0, sizeof(*f));
    f->dir = dir;
    f->sink.base.dropped = drop;
    f->context.dir = dir;
    f->context.sink = &f->sink.base;
    f->context.files = &f->files;
    f->context.mapping = mapping;
    memcpy(f->context.uuid, uuid, sizeof(uuid));
    lsm_segment_files_init(&f->files, 4);
}

static uint8_t *make_value(size_t index) {
    uint8_t *value = lsm_alloc(sizes[index]);

    CHECK(value != NULL);
    for (size_t i = 0; i < sizes[index]; i++) {
        value[i] = (uint8_t)(index * 17 + i * 3 + (i >> 7));
    }
    return value;
}

/* The first `count` values. */
static void write_values(files *f, size_t count) {
    lsmkv_error err;
    lsm_value_writer *writer = NULL;

    CHECK_OK(lsm_value_writer_create(f->dir, uuid, NUMBER, FILE_ID, &writer, &err));
    CHECK_EQ(lsm_value_writer_number(writer), NUMBER);
    for (size_t i = 0; i < count; i++) {
        uint8_t *value = make_value(i);
        lsm_pointer *pointer = &f->pointers[i];

        pointer->segment = NUMBER;
        pointer->size = (uint32_t)sizes[i];
        pointer->checksum = lsm_xxh3(value, sizes[i]);
        CHECK_OK(lsm_value_writer_add(writer, lsm_slice_make(value, sizes[i]),
                                      &pointer->offset, &err));
        CHECK_EQ(pointer->offset % LSM_VALUE_ALIGN, 0);
        CHECK(lsm_value_writer_size(writer) >= pointer->offset + sizes[i]);
        lsm_free(value);
    }
    CHECK_OK(lsm_value_writer_finish(writer, &f->info, &err));
    CHECK_EQ(f->info.kind, LSM_SEGMENT_VALUES);
    lsm_value_writer_destroy(writer);
}

static void check_value(lsm_segment *segment, const lsm_pointer *pointer,
                        size_t index) {
    lsmkv_error err;
    lsm_buf owned = {0};
    lsm_slice found;
    uint8_t *value = make_value(index);

    CHECK_OK(lsm_segment_read(segment, pointer, false, &owned, &found, &err));
    CHECK_EQ(found.size, sizes[index]);
    CHECK(memcmp(found.data, value, found.size) == 0);
    lsm_free(value);
    lsm_buf_deinit(&owned);
}

static lsmkv_status try_read(lsm_segment *segment, const lsm_pointer *pointer,
                             bool nonblocking) {
    lsmkv_error err;
    lsm_buf owned = {0};
    lsm_slice found;
    lsmkv_status status =
        lsm_segment_read(segment, pointer, nonblocking, &owned, &found, &err);

    lsm_buf_deinit(&owned);
    return status;
}

LSM_TEST(value_files_give_back_what_was_put_in) {
    lsm_dir *dir = NULL;
    lsm_env *env = sim_make(1, &dir);
    files f;

    init_files(&f, dir, true);
    write_values(&f, VALUE_COUNT);
    lsm_segment *segment = lsm_segment_create(&f.context, &f.info);
    CHECK(segment != NULL);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < VALUE_COUNT; i++) {
            check_value(segment, &f.pointers[i], i);
            /* Without mappings nothing is known to be in memory. */
            CHECK_EQ(try_read(segment, &f.pointers[i], true), LSMKV_WOULD_BLOCK);
        }
    }
    lsm_segment_ref(segment);
    lsm_segment_unref(segment);
    CHECK_EQ(f.sink.dropped, 0);
    lsm_segment_unref(segment);
    CHECK_EQ(f.sink.dropped, 1);
    sim_end(env, dir);
}

static bool file_exists(lsm_env *env, const char *name) {
    const uint8_t *data = NULL;
    size_t size = 0;

    return lsm_sim_file_read(env, SIM_PATH, name, &data, &size);
}

LSM_TEST(unfinished_value_files_leave_nothing_behind) {
    lsm_dir *dir = NULL;
    lsm_env *env = sim_make(1, &dir);
    lsm_value_writer *writer = NULL;
    lsmkv_error err;

    CHECK_OK(lsm_value_writer_create(dir, uuid, NUMBER, FILE_ID, &writer, &err));
    CHECK(file_exists(env, "000005.seg"));
    lsm_value_writer_destroy(writer);
    CHECK(!file_exists(env, "000005.seg"));
    sim_end(env, dir);
}

LSM_TEST(pointers_that_lead_nowhere_are_corruption) {
    lsm_dir *dir = NULL;
    lsm_env *env = sim_make(1, &dir);
    files f;

    init_files(&f, dir, true);
    write_values(&f, 5);
    lsm_segment *segment = lsm_segment_create(&f.context, &f.info);
    const lsm_pointer good = f.pointers[4];
    const struct {
        uint64_t segment, offset;
        uint32_t size;
        uint64_t checksum;
    } wrong[] = {
        {NUMBER + 1, good.offset, good.size, good.checksum},
        {NUMBER, good.offset + 1, good.size, good.checksum},
        {NUMBER, good.offset + 64, good.size, good.checksum},
        {NUMBER, 0, good.size, good.checksum},
        {NUMBER, f.info.size, 1, good.checksum},
        {NUMBER, f.info.size - 64, 65, good.checksum},
        {NUMBER, UINT64_MAX - 63, 64, good.checksum},
        {NUMBER, UINT64_C(1) << 63, 64, good.checksum},
        {NUMBER, (UINT64_C(1) << 63) - 64, UINT32_MAX, good.checksum},
        {NUMBER, good.offset, 0, good.checksum},
        {NUMBER, good.offset, UINT32_MAX, good.checksum},
        {NUMBER, good.offset, good.size - 1, good.checksum},
        {NUMBER, good.offset, good.size, good.checksum ^ 1},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(wrong); i++) {
        lsm_pointer pointer = {.segment = wrong[i].segment,
                               .offset = wrong[i].offset,
                               .checksum = wrong[i].checksum,
                               .size = wrong[i].size};
        CHECK_EQ(try_read(segment, &pointer, false), LSMKV_CORRUPTION);
    }
    CHECK_EQ(try_read(segment, &good, false), LSMKV_OK);
    lsm_segment_unref(segment);
    sim_end(env, dir);
}

/* Such a value could be copied into no other file. */
LSM_TEST(a_pointer_to_more_than_a_value_can_be_is_corruption) {
    lsm_dir *dir = NULL;
    lsm_env *env = sim_make(1, &dir);
    files f;

    init_files(&f, dir, false);
    f.info = (lsm_edit_segment){NUMBER, FILE_ID, UINT64_C(1) << 32, LSM_SEGMENT_VALUES};
    lsm_segment *segment = lsm_segment_create(&f.context, &f.info);
    CHECK(segment != NULL);
    lsm_pointer pointer = {
        .segment = NUMBER, .offset = 64, .size = LSMKV_VALUE_SIZE_MAX};
    CHECK_EQ(try_read(segment, &pointer, true), LSMKV_WOULD_BLOCK);
    pointer.size += 1;
    CHECK_EQ(try_read(segment, &pointer, true), LSMKV_CORRUPTION);
    lsm_segment_unref(segment);
    sim_end(env, dir);
}

/* Whether every record up to the size that the MANIFEST knows is valid. */
static bool is_whole(lsm_dir *dir, const char *name, lsm_record_file_type type,
                     const lsm_edit_segment *info) {
    lsm_wal_expect expect = {.type = type,
                             .uuid = uuid,
                             .number = info->number,
                             .file_id = info->file_id,
                             .size_max = info->size};
    lsm_wal_reader *reader = NULL;
    lsm_record record;
    lsmkv_error err;
    lsmkv_status status = lsm_wal_open(dir, name, &expect, &reader, NULL, &err);

    while (status == LSMKV_OK) {
        status = lsm_wal_next(reader, &record, &err);
    }
    bool whole = status == LSMKV_NOT_FOUND && lsm_wal_end(reader) == info->size;
    lsm_wal_reader_close(reader);
    return whole;
}

/* Changes each byte of a file in turn. Pointers are read after each change: whoever's
 * value was hit must hear of it, and nobody may get another value. */
static void damage_each_byte(lsm_env *env, files *f, const char *name,
                             lsm_record_file_type type, size_t count) {
    const uint8_t *data = NULL;
    size_t size = 0;

    CHECK(lsm_sim_file_read(env, SIM_PATH, name, &data, &size));
    CHECK_EQ(size, f->info.size);
    uint8_t *copy = lsm_alloc(size);
    CHECK(copy != NULL);
    memcpy(copy, data, size);
    CHECK(is_whole(f->dir, name, type, &f->info));
    for (size_t at = 0; at < size; at++) {
        copy[at] ^= (uint8_t)(1u << at % 8);
        CHECK(lsm_sim_file_write(env, SIM_PATH, name, copy, size));
        CHECK(!is_whole(f->dir, name, type, &f->info));
        lsm_segment *segment = lsm_segment_create(&f->context, &f->info);
        CHECK(segment != NULL);
        for (size_t i = 0; i < count; i++) {
            const lsm_pointer *pointer = &f->pointers[i];
            bool hit = at < LSM_RECORD_FILE_HEADER_SIZE ||
                       (at >= pointer->offset && at < pointer->offset + pointer->size);
            lsmkv_status status = try_read(segment, pointer, false);
            /* Another version of the file is told apart from a damaged one. */
            CHECK(hit ? status == LSMKV_CORRUPTION : status == LSMKV_OK);
        }
        lsm_segment_unref(segment);
        copy[at] ^= (uint8_t)(1u << at % 8);
    }
    CHECK(lsm_sim_file_write(env, SIM_PATH, name, copy, size));
    lsm_free(copy);
}

LSM_TEST(every_damaged_byte_of_a_value_file_is_noticed) {
    lsm_dir *dir = NULL;
    lsm_env *env = sim_make(1, &dir);
    files f;

    init_files(&f, dir, true);
    write_values(&f, 5);
    damage_each_byte(env, &f, "000005.seg", LSM_FILE_VALUES, 5);
    sim_end(env, dir);
}

/* A log of two batches, with values on both sides of the threshold, sealed. */
static void write_log(files *f) {
    lsm_record_file_header header = {
        .type = LSM_FILE_LOG, .number = NUMBER, .file_id = FILE_ID};
    lsm_wal_writer *writer = NULL;
    lsm_batch batches[2];
    lsm_wal_item items[2];
    lsmkv_error err;

    memcpy(header.uuid, uuid, sizeof(uuid));
    CHECK_OK(lsm_wal_create(f->dir, "000005.log", &header, &writer, &err));
    for (size_t i = 0; i < 2; i++) {
        lsmkv_bytes key = {"key", i + 1};
        uint8_t *value = make_value(i + 3);
        lsm_batch_init(&batches[i]);
        batches[i].threshold = 65;
        CHECK_OK(lsm_batch_put(&batches[i], LSM_NAMESPACE_DEFAULT, key,
                               (lsmkv_bytes){"small", 5}, &err));
        CHECK_OK(lsm_batch_put(&batches[i], LSM_NAMESPACE_DEFAULT, key,
                               (lsmkv_bytes){value, sizes[i + 3]}, &err));
        lsm_batch_stamp(&batches[i], 1 + 2 * i, 0);
        items[i] = (lsm_wal_item){.record = &batches[i].record,
                                  .align = (uint32_t)LSM_VALUE_ALIGN};
        f->pointers[i] = (lsm_pointer){.segment = NUMBER,
                                       .checksum = lsm_xxh3(value, sizes[i + 3]),
                                       .size = (uint32_t)sizes[i + 3]};
        lsm_free(value);
    }
    CHECK_OK(lsm_wal_append_batches(writer, items, 2, &err));
    for (size_t i = 0; i < 2; i++) {
        CHECK_EQ(items[i].offset % LSM_VALUE_ALIGN, 0);
        /* The value ends the batch. */
        f->pointers[i].offset = items[i].offset + batches[i].record.size - sizes[i + 3];
        lsm_batch_deinit(&batches[i]);
    }
    CHECK_OK(lsm_wal_sync(writer, &err));
    f->info = (lsm_edit_segment){NUMBER, FILE_ID, 0, LSM_SEGMENT_LOG};
    CHECK_OK(lsm_wal_seal(writer, &f->info.size, &err));
    CHECK_OK(lsm_wal_close(writer, &err));
}

LSM_TEST(every_damaged_byte_of_a_sealed_log_is_noticed) {
    lsm_dir *dir = NULL;
    lsm_env *env = sim_make(1, &dir);
    files f;

    init_files(&f, dir, true);
    write_log(&f);
    damage_each_byte(env, &f, "000005.log", LSM_FILE_LOG, 2);
    sim_end(env, dir);
}

LSM_TEST(mapped_values_are_verified_once_and_answered_without_waiting_from_then_on) {
    lsmkv_error err;
    lsm_dir *dir = NULL;
    char path[256];
    files f;

    (void)snprintf(path, sizeof(path), "%s/lsmkv-segment-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(path) != NULL);
    CHECK_OK(lsm_dir_open(lsm_env_posix(), path, false, &dir, &err));
    init_files(&f, dir, true);
    write_values(&f, VALUE_COUNT);
    lsm_segment *segment = lsm_segment_create(&f.context, &f.info);
    lsm_pointer wrong = f.pointers[4];
    wrong.checksum ^= 1;
    for (size_t i = 0; i < VALUE_COUNT; i++) {
        CHECK_EQ(try_read(segment, &f.pointers[i], true), LSMKV_WOULD_BLOCK);
    }
    CHECK_EQ(try_read(segment, &wrong, false), LSMKV_CORRUPTION);
    for (size_t i = 0; i < VALUE_COUNT; i++) {
        check_value(segment, &f.pointers[i], i);
        CHECK_EQ(try_read(segment, &f.pointers[i], true), LSMKV_OK);
    }
    /* The name may go: the mapping stays. */
    CHECK_OK(lsm_dir_unlink(dir, "000005.seg", &err));
    check_value(segment, &f.pointers[7], 7);
    lsm_segment_unref(segment);
    lsm_dir_close(dir);
    CHECK_EQ(rmdir(path), 0);
}

/* Forges a value file with right checksums that is not the one that is meant. */
static void forge(lsm_env *env, const files *f, lsm_record_file_header header) {
    uint8_t bytes[LSM_RECORD_FILE_HEADER_SIZE];
    const uint8_t *data = NULL;
    size_t size = 0;

    CHECK(lsm_sim_file_read(env, SIM_PATH, "000005.seg", &data, &size));
    CHECK_EQ(size, f->info.size);
    uint8_t *copy = lsm_alloc(size);
    CHECK(copy != NULL);
    memcpy(copy, data, size);
    lsm_record_file_header_encode(&header, bytes);
    memcpy(copy, bytes, sizeof(bytes));
    CHECK(lsm_sim_file_write(env, SIM_PATH, "000005.seg", copy, size));
    lsm_free(copy);
}

static lsmkv_status try_open(const files *f, lsmkv_error *err) {
    lsm_segment *segment = lsm_segment_create(&f->context, &f->info);

    CHECK(segment != NULL);
    lsm_error_clear(err);
    lsmkv_status status = lsm_segment_hold(segment, err);
    if (status == LSMKV_OK) {
        CHECK_STATUS(lsm_segment_hold(segment, err), LSMKV_OK); /* it is open already */
    } else {
        CHECK(strcmp(err->file, "000005.seg") == 0);
    }
    lsm_segment_unref(segment);
    return status;
}

LSM_TEST(a_value_file_that_is_another_one_is_corruption) {
    lsm_record_file_header good = {
        .type = LSM_FILE_VALUES, .number = NUMBER, .file_id = FILE_ID};
    static const uint8_t origins[2][LSM_UUID_SIZE] = {"0000000000000bc",
                                                      "zzzzzzzzzzzzzzz"};
    lsm_dir *dir = NULL;
    lsm_env *env = sim_make(1, &dir);
    lsmkv_error err;
    files f;

    init_files(&f, dir, true);
    write_values(&f, 3);
    memcpy(good.uuid, uuid, sizeof(uuid));
    forge(env, &f, good);
    CHECK_OK(try_open(&f, &err));
    lsm_record_file_header wrong[] = {good, good, good, good};
    wrong[0].type = LSM_FILE_LOG;
    wrong[1].number++;
    wrong[2].file_id++;
    memcpy(wrong[3].uuid, origins[1], LSM_UUID_SIZE);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(wrong); i++) {
        forge(env, &f, wrong[i]);
        CHECK_STATUS(try_open(&f, &err), LSMKV_CORRUPTION);
        CHECK(i != 2 || strstr(err.message, "another file took this name") != NULL);
    }
    f.context.origins = (lsm_uuids){origins, 2};
    CHECK_OK(try_open(&f, &err)); /* of the database that this is a checkpoint of */
    sim_end(env, dir);
}

LSM_TEST(a_value_file_that_does_not_open_says_why) {
    lsm_dir *dir = NULL;
    lsm_env *env = sim_make(1, &dir);
    lsmkv_error err;
    files f;

    init_files(&f, dir, true);
    write_values(&f, 3);
    for (int call = 0; call < LSM_SIM_CALL_COUNT; call++) {
        bool needed =
            call == LSM_SIM_OPEN || call == LSM_SIM_READ || call == LSM_SIM_SIZE;
        lsm_sim_fail(env, (lsm_sim_call)call, 0, EIO, false);
        CHECK_STATUS(try_open(&f, &err), needed ? LSMKV_IO_ERROR : LSMKV_OK);
        lsm_sim_fail(env, (lsm_sim_call)call, 0, 0, false);
    }
    lsm_segment *segment = lsm_segment_create(&f.context, &f.info);
    CHECK(segment != NULL);
    lsm_alloc_fail_after(0, 0);
    CHECK_STATUS(lsm_segment_hold(segment, &err), LSMKV_NO_MEMORY);
    lsm_alloc_fail_never();
    lsm_segment_unref(segment);
    f.info.size++;
    CHECK_STATUS(try_open(&f, &err), LSMKV_CORRUPTION);
    CHECK(strstr(err.message, "the MANIFEST says") != NULL);
    CHECK(lsm_sim_file_remove(env, SIM_PATH, "000005.seg"));
    CHECK_STATUS(try_open(&f, &err), LSMKV_CORRUPTION);
    CHECK(strstr(err.message, "missing file") != NULL);
    f.context.read_only = true; /* a writer may have dropped it */
    CHECK_STATUS(try_open(&f, &err), LSMKV_CHANGED);
    sim_end(env, dir);
}

/* A mapping in the simulator: the bytes that are there now. */
static int map_now(lsm_file *file, uint64_t size, const uint8_t **data) {
    size_t there = 0;

    return lsm_sim_file_read(file->env, SIM_PATH, file->name, data, &there) &&
                   size <= there
               ? 0
               : ENODEV;
}

static void unmap_nothing(const uint8_t *data, uint64_t size) {
    (void)data;
    (void)size;
}

static const lsm_env_ops *plain; /* the simulator's own */
static lsm_segment *rival;       /* which somebody else opens meanwhile */

static int open_for_two(lsm_dir *dir, const char *name, lsm_open_mode mode,
                        lsm_file **filep) {
    lsm_segment *segment = rival;
    lsmkv_error err;

    rival = NULL;
    if (segment != NULL) {
        CHECK_OK(lsm_segment_hold(segment, &err));
    }
    return plain->file_open(dir, name, mode, filep);
}

/* A segment in a simulator that can map files. */
typedef struct mapped {
    lsm_env *env;
    lsm_env_ops ops;
    files f;
    lsm_segment *segment;
} mapped;

static void mapped_init(mapped *m, bool mapping) {
    lsm_dir *dir = NULL;

    m->env = sim_make(1, &dir);
    m->ops = *m->env->ops;
    plain = m->env->ops;
    m->ops.file_map = map_now;
    m->ops.unmap = unmap_nothing;
    m->ops.file_open = open_for_two;
    init_files(&m->f, dir, mapping);
}

static void mapped_values(mapped *m, bool mapping, size_t count) {
    mapped_init(m, mapping);
    write_values(&m->f, count);
    m->env->ops = &m->ops;
    m->segment = lsm_segment_create(&m->f.context, &m->f.info);
    CHECK(m->segment != NULL);
}

/* Of a log of two values only the first one is mapped. */
static void mapped_log(mapped *m, bool read_only) {
    mapped_init(m, true);
    m->f.context.read_only = read_only;
    write_log(&m->f);
    m->env->ops = &m->ops;
    uint64_t size = m->f.pointers[0].offset + m->f.pointers[0].size;
    m->segment = lsm_segment_create_log(&m->f.context, NUMBER, FILE_ID, size);
    CHECK(m->segment != NULL);
}

static void mapped_end(mapped *m) {
    lsm_segment_unref(m->segment);
    sim_end(m->env, m->f.dir); /* every file is closed, or it would say so */
}

LSM_TEST(whoever_opens_a_value_file_second_uses_what_the_first_has_opened) {
    for (int mapping = 0; mapping < 2; mapping++) {
        mapped m;

        mapped_values(&m, mapping == 1, 5);
        rival = m.segment;
        check_value(m.segment, &m.f.pointers[4], 4);
        CHECK(rival == NULL);
        check_value(m.segment, &m.f.pointers[3], 3);
        mapped_end(&m);
    }
}

/* Without memory to remember what was verified, the file is read instead. */
LSM_TEST(a_mapping_without_its_bitmap_is_given_up) {
    lsmkv_error err;
    mapped m;

    mapped_values(&m, true, 5);
    lsm_sim_exempt_memory(m.env);
    lsm_alloc_fail_after(1, 1);
    CHECK_OK(lsm_segment_hold(m.segment, &err));
    lsm_alloc_fail_never();
    for (size_t i = 0; i < 5; i++) {
        check_value(m.segment, &m.f.pointers[i], i);
        CHECK_EQ(try_read(m.segment, &m.f.pointers[i], true), LSMKV_WOULD_BLOCK);
    }
    mapped_end(&m);
}

/* A log was mapped when it was shorter than it is. */
LSM_TEST(a_value_beyond_the_mapping_is_read_from_the_file) {
    lsmkv_error err;
    mapped m;

    mapped_log(&m, false);
    CHECK_EQ(try_read(m.segment, &m.f.pointers[0], true), LSMKV_WOULD_BLOCK);
    check_value(m.segment, &m.f.pointers[0], 3);
    CHECK_EQ(try_read(m.segment, &m.f.pointers[0], true), LSMKV_OK);
    check_value(m.segment, &m.f.pointers[1], 4);
    CHECK_EQ(try_read(m.segment, &m.f.pointers[1], true), LSMKV_WOULD_BLOCK);
    CHECK_EQ(lsm_segment_files_open_count(&m.f.files), 1);
    lsm_segment_files_relieve(&m.f.files);
    lsm_sim_fail(m.env, LSM_SIM_OPEN, 0, EMFILE, false);
    CHECK_EQ(try_read(m.segment, &m.f.pointers[1], false), LSMKV_IO_ERROR);
    lsm_sim_fail(m.env, LSM_SIM_READ, 0, EIO, false);
    CHECK_EQ(try_read(m.segment, &m.f.pointers[1], false), LSMKV_IO_ERROR);
    CHECK_OK(lsm_segment_hold(m.segment, &err));
    mapped_end(&m);
}

/* What is in the mapping but was not verified yet. */
LSM_TEST(a_mapped_value_is_not_answered_without_waiting_before_it_is_verified) {
    lsmkv_error err;
    mapped m;

    mapped_values(&m, true, 5);
    CHECK_OK(lsm_segment_hold(m.segment, &err));
    lsm_pointer wrong = m.f.pointers[4];
    wrong.checksum ^= 1;
    CHECK_EQ(try_read(m.segment, &m.f.pointers[4], true), LSMKV_WOULD_BLOCK);
    CHECK_EQ(try_read(m.segment, &wrong, false), LSMKV_CORRUPTION);
    CHECK_EQ(try_read(m.segment, &m.f.pointers[4], true), LSMKV_WOULD_BLOCK);
    check_value(m.segment, &m.f.pointers[4], 4);
    CHECK_EQ(try_read(m.segment, &m.f.pointers[4], true), LSMKV_OK);
    mapped_end(&m);
}

LSM_TEST(values_that_will_be_needed_are_announced_wherever_they_lie) {
    for (int mapping = 0; mapping < 2; mapping++) {
        lsmkv_error err;
        mapped m;

        mapped_values(&m, mapping == 1, 5);
        const lsm_pointer *last = &m.f.pointers[4];
        lsm_sim_fail(m.env, LSM_SIM_OPEN, 0, EMFILE, false);
        CHECK_EQ(lsm_segment_will_need(m.segment, last->offset, last->size, &err),
                 LSMKV_IO_ERROR);
        CHECK_OK(lsm_segment_will_need(m.segment, last->offset, last->size, &err));
        /* What cannot be there is nobody's concern. */
        CHECK_OK(lsm_segment_will_need(m.segment, UINT64_MAX, 2, &err));
        CHECK_OK(lsm_segment_will_need(m.segment, m.f.info.size, 1, &err));
        lsm_segment_files_relieve(&m.f.files);
        lsm_sim_fail(m.env, LSM_SIM_OPEN, 0, EMFILE, false);
        CHECK_EQ(lsm_segment_will_need(m.segment, last->offset, last->size, &err),
                 mapping == 1 ? LSMKV_OK : LSMKV_IO_ERROR);
        CHECK_OK(lsm_segment_will_need(m.segment, last->offset, last->size, &err));
        check_value(m.segment, last, 4);
        mapped_end(&m);
    }
}

LSM_TEST(what_was_read_of_a_mapped_file_is_told_in_order) {
    for (int mapping = 0; mapping < 2; mapping++) {
        uint64_t unit = 0;
        mapped m;

        mapped_values(&m, mapping == 1, VALUE_COUNT);
        CHECK(!lsm_segment_next_read(m.segment, &unit)); /* it is not open */
        static const size_t read[] = {8, 2, 3};
        for (size_t i = 0; i < LSM_ARRAY_COUNT(read); i++) {
            check_value(m.segment, &m.f.pointers[read[i]], read[i]);
        }
        static const size_t expected[] = {2, 3, 8};
        for (size_t i = 0; mapping == 1 && i < LSM_ARRAY_COUNT(expected); i++) {
            CHECK(lsm_segment_next_read(m.segment, &unit));
            CHECK_EQ(unit, m.f.pointers[expected[i]].offset / LSM_VALUE_ALIGN);
            unit += 1;
        }
        CHECK(!lsm_segment_next_read(m.segment, &unit));
        mapped_end(&m);
    }
}

/* Nobody knows how large it is, and its name may go: so its file stays open. */
LSM_TEST(a_log_that_a_writer_goes_on_with_is_read_beyond_the_mapping) {
    lsmkv_error err;
    mapped m;

    mapped_log(&m, true);
    check_value(m.segment, &m.f.pointers[0], 3);
    CHECK(lsm_sim_file_remove(m.env, SIM_PATH, "000005.log"));
    check_value(m.segment, &m.f.pointers[1], 4);
    CHECK_EQ(try_read(m.segment, &m.f.pointers[1], true), LSMKV_WOULD_BLOCK);
    CHECK_OK(lsm_segment_will_need(m.segment, m.f.pointers[1].offset, 64, &err));
    CHECK_EQ(lsm_segment_files_open_count(&m.f.files), 0);
    lsm_pointer nowhere = m.f.pointers[1];
    nowhere.offset |= UINT64_C(1) << 63;
    CHECK_EQ(try_read(m.segment, &nowhere, false), LSMKV_CORRUPTION);
    mapped_end(&m);
}

/* The log grows and is sealed, and its file was measured before that. */
static lsm_segment *growing;

static int measure_and_seal(lsm_file *file, uint64_t *size) {
    int code = plain->file_size(file, size);

    if (growing != NULL) {
        lsm_segment_seal(growing, *size + LSM_VALUE_ALIGN);
    }
    return code;
}

LSM_TEST(a_log_that_is_sealed_while_it_is_opened_is_no_damage) {
    mapped m;

    mapped_log(&m, false);
    m.ops.file_size = measure_and_seal;
    growing = m.segment;
    check_value(m.segment, &m.f.pointers[0], 3);
    growing = NULL;
    mapped_end(&m);
}
