/* SPDX-License-Identifier: Apache-2.0
 *
 * Targets: files that large values lie in, and those of caches.
 */
#include <stdlib.h>
#include <string.h>

#include "base/xxh3.h"
#include "env/env_sim.h"
#include "mend.h"
#include "segment/cache_segment.h"
#include "targets.h"

#define SEGMENT_PATH "db"

enum { POINTER_SIZE = 8, UUID_AT = 16, NUMBER_AT = 32, FILE_ID_AT = 40 };

typedef struct bench {
    lsm_env *env;
    lsm_dir *dir;
    lsm_segment_sink sink;
    lsm_segment_files files;
    lsm_segment_context context;
    uint64_t number;
    uint64_t file_id;
    lsm_slice file;
} bench;

static void drop(lsm_segment_sink *sink, lsm_segment *segment) {
    (void)sink;
    lsm_segment_destroy(segment);
}

/* Writes the file under the number that it says it has. false: it can have none. */
static bool begin(bench *b, lsm_slice file, lsm_file_kind kind, bool mapping) {
    char name[LSM_FILENAME_SIZE];

    memset(b, 0, sizeof(*b));
    if (file.size < LSM_RECORD_FILE_HEADER_SIZE) {
        return false;
    }
    b->file = file;
    b->number = lsm_get_u64(file.data + NUMBER_AT);
    b->file_id = lsm_get_u64(file.data + FILE_ID_AT);
    if (b->number == 0 || b->number > UINT64_C(1) << 56) {
        return false;
    }
    b->env = lsm_sim_create(1);
    FUZZ_CHECK(b->env != NULL);
    FUZZ_CHECK(lsm_dir_open(b->env, SEGMENT_PATH, true, &b->dir, NULL) == LSMKV_OK);
    b->sink.dropped = drop;
    lsm_segment_files_init(&b->files, 4);
    b->context = (lsm_segment_context){
        .dir = b->dir, .sink = &b->sink, .files = &b->files, .mapping = mapping};
    memcpy(b->context.uuid, file.data + UUID_AT, LSM_UUID_SIZE);
    lsm_filename_make(name, kind, b->number);
    FUZZ_CHECK(lsm_sim_file_write(b->env, SEGMENT_PATH, name, file.data, file.size));
    return true;
}

static void end(bench *b) {
    lsm_segment_files_deinit(&b->files);
    lsm_dir_close(b->dir);
    lsm_sim_destroy(b->env);
}

/* Reads where a pointer leads; `inside`: it may be there, if the file is what it
 * should be. Returns whether it was. */
static bool check_read(const bench *b, lsm_segment *segment, lsm_pointer pointer,
                       bool inside) {
    lsm_buf owned = {0};
    lsm_slice value = {NULL, 0};
    lsmkv_status status =
        lsm_segment_read(segment, &pointer, false, &owned, &value, NULL);

    if (status == LSMKV_OK) {
        FUZZ_CHECK(inside && value.size == pointer.size);
        FUZZ_CHECK(value.size == 0 ||
                   memcmp(value.data, b->file.data + pointer.offset, value.size) == 0);
    } else {
        FUZZ_CHECK(status == LSMKV_CORRUPTION || status == LSMKV_UNSUPPORTED_VERSION ||
                   status == LSMKV_NOT_A_DATABASE);
    }
    lsm_buf_deinit(&owned);
    return status == LSMKV_OK;
}

/* With the checksum that it has, and with another. */
static void check_pointer(const bench *b, lsm_segment *segment, const uint8_t *from) {
    lsm_pointer pointer = {.segment = b->number,
                           .offset = lsm_get_u32(from),
                           .size = lsm_get_u32(from + 4)};
    bool inside = pointer.offset % LSM_VALUE_ALIGN == 0 &&
                  pointer.offset >= LSM_VALUE_ALIGN && pointer.size > 0 &&
                  pointer.offset <= b->file.size &&
                  pointer.size <= b->file.size - pointer.offset;

    if (inside) {
        pointer.checksum = lsm_xxh3(b->file.data + pointer.offset, pointer.size);
    }
    lsm_segment_prefetch(segment, &pointer);
    bool first = check_read(b, segment, pointer, inside);
    FUZZ_CHECK(check_read(b, segment, pointer, inside) == first);
    pointer.checksum ^= 1;
    FUZZ_CHECK(!check_read(b, segment, pointer, inside) || lsm_checksum_agrees(0, 1) ||
               b->context.mapping);
}

static void read_values(lsm_slice input, bool mapping) {
    bench b;
    size_t count = input.data[0] % 16;
    size_t head = 1 + count * POINTER_SIZE;

    if (input.size < head ||
        !begin(&b, lsm_slice_make(input.data + head, input.size - head),
               LSM_NAME_SEGMENT, mapping)) {
        return;
    }
    lsm_edit_segment info = {b.number, b.file_id, b.file.size, LSM_SEGMENT_VALUES};
    lsm_segment *segment = lsm_segment_create(&b.context, &info);
    FUZZ_CHECK(segment != NULL);
    for (size_t i = 0; i < count; i++) {
        check_pointer(&b, segment, input.data + 1 + i * POINTER_SIZE);
    }
    lsm_segment_unref(segment);
    end(&b);
}

/* count u8 | (offset u32, size u32)* | value file */
void fuzz_values(lsm_slice input) {
    if (input.size > 0) {
        read_values(input, false);
        read_values(input, true);
    }
}

void fuzz_values_mend(uint8_t *data, size_t size) {
    size_t head = size == 0 ? 0 : 1 + (size_t)data[0] % 16 * POINTER_SIZE;

    if (size > head) {
        fuzz_mend_records(data + head, size - head);
    }
}

void fuzz_cache(lsm_slice input) {
    bench b;
    lsm_cache_walk walk;
    lsm_cache_item item;
    lsmkv_status status = LSMKV_OK;
    uint64_t before = 0;

    if (!begin(&b, input, LSM_NAME_CACHE, false)) {
        return;
    }
    lsm_edit_cache info = {b.number, b.file_id, 2};
    lsm_segment *segment = lsm_cache_segment_create(&b.context, &info);
    FUZZ_CHECK(segment != NULL);
    FUZZ_CHECK(lsm_cache_segment_size(segment, input.size, input.size));
    lsm_cache_walk_init(&walk, segment);
    while ((status = lsm_cache_walk_next(&walk, &item, NULL)) == LSMKV_OK) {
        FUZZ_CHECK(item.size % LSM_CACHE_FRAME_ALIGN == 0 && item.size > 0);
        FUZZ_CHECK(item.pointer.offset > before);
        FUZZ_CHECK(item.pointer.offset + item.pointer.size <= input.size);
        FUZZ_CHECK(item.skey.size >= LSM_NAMESPACE_SIZE);
        before = item.pointer.offset;
        (void)check_read(&b, segment, item.pointer, true);
        lsm_cache_segment_touch(segment, item.pointer.offset);
        FUZZ_CHECK(lsm_cache_segment_touched(segment, item.pointer.offset));
    }
    FUZZ_CHECK(status == LSMKV_NOT_FOUND);
    lsm_cache_walk_deinit(&walk);
    lsm_segment_unref(segment);
    end(&b);
}
