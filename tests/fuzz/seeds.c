/* SPDX-License-Identifier: Apache-2.0
 *
 * See seeds.h. Each file of a database becomes inputs of the targets that read such
 * files, or the pieces of one; all of them together one of the target `directory`.
 */
#include "seeds.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "archive.h"
#include "base/buf.h"
#include "corpus.h"
#include "format/batch.h"
#include "format/block.h"
#include "format/edit.h"
#include "format/footer.h"
#include "format/publish_record.h"

enum { PATH_SIZE = 1024, BLOCKS_MAX = 12 };

static const char *output;

static void save(const char *target, lsm_slice input) {
    char path[PATH_SIZE];

    (void)snprintf(path, sizeof(path), "%s/%s", output, target);
    if (input.size <= fuzz_target_find(target)->size_max &&
        !fuzz_corpus_save(path, input)) {
        (void)fprintf(stderr, "fuzz: cannot write to %s\n", path);
        exit(1);
    }
}

/* Puts bytes in front of others. */
static void save_behind(const char *target, const void *head, size_t head_size,
                        lsm_slice rest) {
    lsm_buf buf = {0};

    FUZZ_CHECK(lsm_buf_append(&buf, head, head_size) &&
               lsm_buf_append(&buf, rest.data, rest.size));
    save(target, lsm_buf_slice(&buf));
    lsm_buf_deinit(&buf);
}

/* A record of namespace 0. */
static void take_system(const lsm_batch_record *record) {
    lsm_slice key = lsm_slice_make(record->skey.data + LSM_NAMESPACE_SIZE,
                                   record->skey.size - LSM_NAMESPACE_SIZE);
    bool is_options = key.size == 7 && memcmp(key.data, "options", 7) == 0;

    if (lsm_get_u32_be(record->skey.data) != LSM_NAMESPACE_SYSTEM) {
        return;
    }
    save(is_options ? "options" : "space", record->field);
    save("publish", record->field);
    for (size_t i = 0; i < key.size; i++) {
        if (key.data[i] == '/') {
            save("publish", lsm_slice_make(key.data + i + 1, key.size - i - 1));
            break;
        }
    }
}

static void take_batch(lsm_slice payload) {
    lsm_batch_reader reader;
    lsm_batch_record record;

    save("batch", payload);
    if (lsm_batch_reader_init(&reader, payload)) {
        while (lsm_batch_reader_next(&reader, &record)) {
            uint8_t size = (uint8_t)record.skey.size;

            take_system(&record);
            save_behind("keys", &record.tag, 1, record.field);
            save_behind("keys", &size, 1, record.skey);
        }
    }
}

static const fuzz_file *find(const fuzz_archive *archive, lsm_file_kind kind,
                             uint64_t number) {
    for (size_t i = 0; i < archive->count; i++) {
        if (archive->files[i].kind == kind && archive->files[i].number == number) {
            return &archive->files[i];
        }
    }
    return NULL;
}

static void take_block(lsm_slice file, lsm_block_handle handle, uint64_t file_id) {
    uint8_t place[16];
    uint8_t hashed = 1;

    if (handle.size == 0 || handle.offset > file.size ||
        handle.size + LSM_BLOCK_FRAME_SIZE > file.size - handle.offset) {
        return;
    }
    lsm_slice payload = lsm_slice_make(file.data + handle.offset, (size_t)handle.size);
    lsm_put_u64(place, file_id);
    lsm_put_u64(place + 8, handle.offset);
    save_behind("frame", place, sizeof(place),
                lsm_slice_make(payload.data, payload.size + LSM_BLOCK_FRAME_SIZE));
    save_behind("codec", "\1\200\1", 3, payload);
    save_behind("coding", "\5", 1, payload);
    switch (payload.data[payload.size + 5]) {
        case LSM_BLOCK_DATA:
            save_behind("block", &hashed, 1, payload);
            break;
        case LSM_BLOCK_INDEX:
        case LSM_BLOCK_TOP_INDEX:
            save_behind("index", "\xFF", 1, payload);
            break;
        case LSM_BLOCK_FILTER:
            save("bloom", payload);
            break;
        case LSM_BLOCK_PROPERTIES:
            save("properties", payload);
            break;
        default:
            save("ranges", payload);
            break;
    }
}

static void take_blocks(lsm_slice file) {
    lsm_footer footer;
    lsm_block_cursor cursor = {0};
    lsm_block_handle handle;
    int left = BLOCKS_MAX;

    if (lsm_footer_decode(file.data + file.size - LSM_FOOTER_SIZE, file.size, "x",
                          &footer, NULL) != LSMKV_OK) {
        return;
    }
    take_block(file, footer.index, footer.file_id);
    take_block(file, footer.filter, footer.file_id);
    take_block(file, footer.properties, footer.file_id);
    take_block(file, footer.range_deletes, footer.file_id);
    if (footer.index.size == 0) {
        return;
    }
    lsm_block_cursor_open(&cursor, lsm_slice_make(file.data + footer.index.offset,
                                                  (size_t)footer.index.size));
    while (left-- > 0 && lsm_block_cursor_next(&cursor)) {
        if (lsm_block_handle_decode(cursor.field, &handle)) {
            take_block(file, handle, footer.file_id);
        }
    }
    lsm_block_cursor_deinit(&cursor);
}

/* A table, with an edit that adds it. */
static void take_table(const fuzz_archive *archive, const lsm_table_info *info) {
    const fuzz_file *file = find(archive, LSM_NAME_TABLE, info->number);
    uint8_t size[8];
    lsm_edit edit;
    lsm_buf buf = {0};
    lsm_buf input = {0};

    if (file == NULL || file->stored.size < LSM_FOOTER_SIZE) {
        return;
    }
    lsm_edit_init(&edit);
    FUZZ_CHECK(lsm_edit_add_table(&edit, 1, info) && lsm_edit_encode(&edit, &buf));
    FUZZ_CHECK(lsm_buf_append_slice(&input, lsm_buf_slice(&buf)) &&
               lsm_buf_append(&input, file->stored.data, file->stored.size));
    save("table", lsm_buf_slice(&input));
    lsm_put_u64(size, file->stored.size);
    save_behind("footer", size, sizeof(size),
                lsm_slice_make(file->stored.data + file->stored.size - LSM_FOOTER_SIZE,
                               LSM_FOOTER_SIZE));
    take_blocks(file->stored);
    lsm_buf_deinit(&buf);
    lsm_buf_deinit(&input);
    lsm_edit_deinit(&edit);
}

static void take_edit(const fuzz_archive *archive, lsm_slice payload) {
    lsm_edit edit;

    save("edit", payload);
    lsm_edit_init(&edit);
    if (lsm_edit_decode(&edit, payload, NULL) == LSMKV_OK) {
        for (size_t i = 0; i < edit.added_count; i++) {
            take_table(archive, &edit.added[i].info);
        }
    }
    lsm_edit_deinit(&edit);
}

/* Some pointers to what may be values. */
static void take_values(lsm_slice file) {
    uint8_t head[1 + 15 * 8];
    size_t count = 0;

    for (uint32_t at = 64; at < file.size && count < 15; at += 64) {
        lsm_put_u32(head + 1 + count * 8, at);
        lsm_put_u32(head + 5 + count * 8, 1 + at % 60);
        count++;
    }
    head[0] = (uint8_t)count;
    save_behind("values", head, 1 + count * 8, file);
}

static void take_records(const fuzz_archive *archive, lsm_slice file) {
    lsm_record_file_header header;
    uint64_t at = LSM_RECORD_FILE_HEADER_SIZE;
    lsm_record record;

    save("record", file);
    save("log", file);
    if (lsm_record_file_header_decode(file.data, file.size, "x", &header, NULL) !=
        LSMKV_OK) {
        return;
    }
    while (lsm_record_parse(lsm_slice_make(file.data + at, file.size - (size_t)at),
                            header.file_id, at, &record)) {
        if (record.type == LSM_RECORD_BATCH) {
            take_batch(record.payload);
        } else if (record.type == LSM_RECORD_EDIT) {
            take_edit(archive, record.payload);
        }
        at += record.size;
    }
    /* A file of its first records. */
    if (at > 1024) {
        save("record", lsm_slice_make(file.data, 1024));
    }
}

static void take_file(const fuzz_archive *archive, const fuzz_file *file) {
    char name[LSM_FILENAME_SIZE];
    const uint8_t inspected[] = {(uint8_t)file->kind, 0};

    if (fuzz_file_name(file, name)) {
        save("names", lsm_slice_make(name, strlen(name)));
    }
    save_behind("inspect", inspected, sizeof(inspected), file->stored);
    switch (file->kind) {
        case LSM_NAME_MANIFEST:
        case LSM_NAME_LOG:
            take_records(archive, file->stored);
            break;
        case LSM_NAME_SEGMENT:
            take_records(archive, file->stored);
            take_values(file->stored);
            break;
        case LSM_NAME_CACHE:
            save("cache", file->stored);
            break;
        case LSM_NAME_CURRENT:
            save("names", file->stored);
            break;
        case LSM_NAME_HOTLIST:
            save("hotlist", file->stored);
            break;
        case LSM_NAME_OTHER:
        case LSM_NAME_LOCK:
        case LSM_NAME_CURRENT_TEMP:
        case LSM_NAME_TABLE:
        case LSM_NAME_HOTLIST_TEMP:
        case LSM_NAME_STATS:
            break;
    }
}

/* All files; for `manifest`, tables and segments are only as large as they are. */
static void take_whole(fuzz_archive *archive) {
    static uint8_t bytes[2 << 20];
    static const uint8_t hows[] = {0x3F, 0x01, 0x02, 0x04, 0x18};
    fuzz_bytes to = {bytes, 0, sizeof(bytes)};

    for (size_t i = 0; i < sizeof(hows); i++) {
        archive->how = hows[i];
        fuzz_archive_write(archive, &to);
        save("directory", lsm_slice_make(bytes, to.size));
    }
    for (size_t i = 0; i < archive->count; i++) {
        if (archive->files[i].kind != LSM_NAME_CURRENT &&
            archive->files[i].kind != LSM_NAME_MANIFEST) {
            archive->files[i].stored.size = 0;
        }
    }
    fuzz_archive_write(archive, &to);
    save("manifest", lsm_slice_make(bytes, to.size));
}

static bool take_database(const char *path) {
    static fuzz_archive archive;
    fuzz_corpus files = {0};
    DIR *directory = opendir(path);
    char full[PATH_SIZE];

    archive.count = 0;
    if (directory == NULL) {
        (void)fprintf(stderr, "fuzz: %s cannot be read\n", path);
        return false;
    }
    for (const struct dirent *entry = readdir(directory); entry != NULL;
         entry = readdir(directory)) {
        fuzz_file *file = &archive.files[archive.count];

        file->kind = lsm_filename_parse(entry->d_name, &file->number);
        (void)snprintf(full, sizeof(full), "%s/%s", path, entry->d_name);
        if (file->kind != LSM_NAME_OTHER && file->kind != LSM_NAME_LOCK &&
            archive.count + 1 < FUZZ_ARCHIVE_FILES_MAX &&
            fuzz_corpus_load(&files, full, FUZZ_FILE_SIZE_MAX)) {
            file->stored = files.inputs[files.count - 1];
            file->size = file->stored.size;
            archive.count++;
        }
    }
    (void)closedir(directory);
    for (size_t i = 0; i < archive.count; i++) {
        take_file(&archive, &archive.files[i]);
    }
    take_whole(&archive);
    fuzz_corpus_deinit(&files);
    return true;
}

bool fuzz_seeds_make(const char *to, char *const *databases, int count) {
    bool done = true;

    (void)mkdir(to, 0755);
    output = to;
    for (int i = 0; i < count; i++) {
        done = take_database(databases[i]) && done;
    }
    return done;
}
