/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading an image: its files, byte for byte, and the rows that an open of it shows.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "damage.h"
#include "report.h"
#include "world.h"

bool image_is_records(const image_file *file) {
    return strstr(file->name, ".log") != NULL || strstr(file->name, "MANIFEST") != NULL;
}

bool image_is_cache(const image_file *file) {
    return strstr(file->name, ".cache") != NULL;
}

static void add_file(image *im, const char *name) {
    const uint8_t *bytes = NULL;
    image_file *file;

    im->files = (image_file *)crash_grow(im->files, &im->file_capacity,
                                         im->file_count + 1, sizeof(*file));
    file = &im->files[im->file_count++];
    (void)snprintf(file->name, sizeof(file->name), "%s", name);
    if (!lsm_sim_file_read(im->env, WORLD_PATH, name, &bytes, &file->size)) {
        crash_fail("%s cannot be looked at", name);
    }
    file->bytes = (uint8_t *)crash_alloc(file->size);
    memcpy(file->bytes, bytes, file->size);
}

static int compare_files(const void *a, const void *b) {
    return strcmp(((const image_file *)a)->name, ((const image_file *)b)->name);
}

static void read_files(image *im) {
    lsmkv_error err = {0};
    lsm_namelist list = {0};
    lsm_dir *dir = NULL;

    crash_need(lsm_dir_open(im->env, WORLD_PATH, false, &dir, &err), &err, "the image");
    crash_need(lsm_dir_list(dir, &list, &err), &err, "the image");
    for (size_t i = 0; i < list.count; i++) {
        /* What the engine never reads. */
        if (strcmp(list.names[i], "LOCK") != 0 && strcmp(list.names[i], "STATS") != 0) {
            add_file(im, list.names[i]);
        }
    }
    if (im->file_count > 1) {
        qsort(im->files, im->file_count, sizeof(*im->files), compare_files);
    }
    lsm_namelist_deinit(&list);
    lsm_dir_close(dir);
}

static lsmkv_bytes copy_bytes(lsmkv_bytes bytes) {
    void *copy = crash_alloc(bytes.size);

    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return (lsmkv_bytes){copy, bytes.size};
}

static void read_rows(image *im) {
    lsm_env *disk = lsm_sim_crash(im->env, 1, LSM_CRASH_ALL, 64);
    lsmkv_error err = {0};
    lsmkv_iter *iter = NULL;
    lsmkv_db *db = NULL;

    crash_need(lsm_test_open(disk, WORLD_PATH, &im->options, &db, &err), &err,
               "open of the intact image");
    crash_need(lsmkv_iter_create(db, NULL, NULL, &iter, &err), &err, "iter_create");
    crash_need(lsmkv_iter_seek_first(iter, &err), &err, "scan of the intact image");
    while (lsmkv_iter_valid(iter)) {
        im->rows = (image_row *)crash_grow(im->rows, &im->row_capacity,
                                           im->row_count + 1, sizeof(*im->rows));
        im->rows[im->row_count++] = (image_row){copy_bytes(lsmkv_iter_key(iter)),
                                                copy_bytes(lsmkv_iter_value(iter))};
        crash_need(lsmkv_iter_next(iter, &err), &err, "scan of the intact image");
    }
    lsmkv_iter_free(iter);
    if (im->m != NULL) {
        crash_need(spaces_look(db, NULL, im->m, &im->sides), &err,
                   "reading namespaces");
    }
    for (size_t i = 0; i < im->file_count; i++) {
        const uint8_t *bytes = NULL;
        size_t size = 0;
        im->files[i].lasting =
            strcmp(im->files[i].name, "CURRENT") != 0 &&
            !image_is_cache(&im->files[i]) &&
            strcmp(im->files[i].name, "HOTLIST") != 0 &&
            lsm_sim_file_read(disk, WORLD_PATH, im->files[i].name, &bytes, &size);
    }
    lsm_test_abandon(db);
    lsm_sim_destroy(disk);
}

void image_init(image *im, lsm_env *env, const lsmkv_options *options, const model *m) {
    *im = (image){.options = *options, .env = env, .m = m};
    read_files(im);
    read_rows(im);
}

void image_deinit(image *im) {
    for (size_t i = 0; i < im->file_count; i++) {
        free(im->files[i].bytes);
    }
    for (size_t i = 0; i < im->row_count; i++) {
        free((void *)(uintptr_t)im->rows[i].key.data);
        free((void *)(uintptr_t)im->rows[i].value.data);
    }
    free(im->files);
    free(im->rows);
    lsm_sim_destroy(im->env);
}

static void load_file(lsm_env *env, const char *directory, const char *name) {
    static uint8_t bytes[1 << 20];
    char path[512];
    FILE *file;
    size_t size;

    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    file = fopen(path, "rb");
    if (file == NULL) {
        crash_fail("%s cannot be opened", path);
    }
    size = fread(bytes, 1, sizeof(bytes), file);
    (void)fclose(file);
    if (size == sizeof(bytes) ||
        !lsm_sim_file_write(env, WORLD_PATH, name, bytes, size)) {
        crash_fail("%s cannot be loaded", path);
    }
}

lsm_env *image_load(const char *directory) {
    lsm_env *env = lsm_sim_create(1);
    lsmkv_error err = {0};
    lsm_dir *dir = NULL;
    DIR *from = opendir(directory);

    if (env == NULL || from == NULL) {
        crash_fail("%s cannot be read", directory);
    }
    crash_need(lsm_dir_open(env, WORLD_PATH, true, &dir, &err), &err, "a directory");
    for (const struct dirent *entry = readdir(from); entry != NULL;
         entry = readdir(from)) {
        if (entry->d_name[0] != '.') {
            load_file(env, directory, entry->d_name);
        }
    }
    (void)closedir(from);
    lsm_dir_close(dir);
    return env;
}
