/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a value that was right when it was first read, and has rotted on the disk
 * since, is never copied as if it were right: a flush that would copy it fails, and the
 * eviction of a cache gives it up. Method: a real directory, whose files are mapped and
 * damaged beside.
 */
#include "db_help.h"
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/lsmkv.h"

enum { SIZE = 700, FILE_MAX = 1 << 20, CAP = 1 << 16, KEYS = 120 };

static const char mark[] = "a value to be found in its file";

typedef struct place {
    char path[256];
    lsmkv_db *db;
} place;

static void begin(place *at) {
    lsmkv_options options;
    lsmkv_error err;

    (void)snprintf(at->path, sizeof(at->path), "%s/lsmkv-rotten-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(at->path) != NULL);
    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.blob_threshold_bytes = SIZE;
    CHECK_OK(lsmkv_open(at->path, &options, &at->db, &err));
}

static void put_marked(place *at, const lsmkv_namespace *space) {
    lsmkv_write how = {.space = space};
    lsmkv_read read = {.space = space};
    uint8_t value[SIZE] = {0};
    lsmkv_error err;
    lsmkv_pin pin;

    memcpy(value, mark, sizeof(mark));
    CHECK_OK(
        lsmkv_put(at->db, &how, bytes_of("marked"), (lsmkv_bytes){value, SIZE}, &err));
    CHECK_OK(lsmkv_get(at->db, &read, bytes_of("marked"), &pin, &err));
    lsmkv_pin_release(&pin);
}

/* Damages the marked value in the file. false: it is not in there. */
static bool rot(const char *path) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t *bytes = malloc(FILE_MAX);
    bool found = false;

    CHECK(fd >= 0 && bytes != NULL);
    ssize_t size = read(fd, bytes, FILE_MAX);
    for (ssize_t i = 0; !found && i + (ssize_t)sizeof(mark) <= size; i++) {
        found = memcmp(bytes + i, mark, sizeof(mark)) == 0;
        CHECK(!found || pwrite(fd, "X", 1, i) == 1);
    }
    free(bytes);
    CHECK_EQ(close(fd), 0);
    return found;
}

static void rot_in_files(const place *at) {
    DIR *dir = opendir(at->path);
    size_t found = 0;

    CHECK(dir != NULL);
    for (const struct dirent *entry = readdir(dir); entry != NULL;
         entry = readdir(dir)) {
        char path[600];
        (void)snprintf(path, sizeof(path), "%s/%s", at->path, entry->d_name);
        found += entry->d_name[0] != '.' && rot(path);
    }
    CHECK_EQ(closedir(dir), 0);
    CHECK_EQ(found, 1);
}

static void end(place *at) {
    lsmkv_error err;

    lsmkv_free(at->db);
    CHECK_OK(lsmkv_destroy(at->path, &err));
}

LSM_TEST(a_flush_does_not_copy_a_value_that_has_rotted_since_it_was_read) {
    lsmkv_error err;
    place at;

    begin(&at);
    put_marked(&at, NULL);
    for (size_t i = 0; i < 100; i++) { /* so that the log is not kept for its values */
        char key[16];
        (void)snprintf(key, sizeof(key), "key%03zu", i);
        CHECK_OK(
            lsmkv_put(at.db, NULL, bytes_of(key), bytes_of("a small value"), &err));
    }
    rot_in_files(&at);
    CHECK_STATUS(lsmkv_flush(at.db, &err), LSMKV_CORRUPTION);
    CHECK(strstr(err.message, "checksum of a value of 700 bytes") != NULL);
    end(&at);
}

LSM_TEST(a_cache_gives_up_a_value_that_has_rotted_since_it_was_read) {
    lsmkv_namespace_how how = {
        .create = true, .has_max_bytes = true, .options = {.max_bytes = CAP}};
    lsmkv_namespace *space = NULL;
    lsmkv_cache_stats stats;
    lsmkv_error err;
    lsmkv_pin pin;
    place at;

    begin(&at);
    CHECK_OK(lsmkv_namespace_open(at.db, bytes_of("cache"), &how, &space, &err));
    put_marked(&at, space);
    rot_in_files(&at);
    lsmkv_write into = {.space = space};
    for (size_t i = 0; i < KEYS; i++) {
        char key[16];
        uint8_t value[SIZE] = {0};
        (void)snprintf(key, sizeof(key), "key%03zu", i);
        CHECK_OK(
            lsmkv_put(at.db, &into, bytes_of(key), (lsmkv_bytes){value, SIZE}, &err));
    }
    lsmkv_read read = {.space = space};
    CHECK_STATUS(lsmkv_get(at.db, &read, bytes_of("marked"), &pin, &err),
                 LSMKV_NOT_FOUND);
    CHECK_OK(lsmkv_get_cache_stats(at.db, space, &stats, &err));
    CHECK(stats.evicted_segments > 0);
    CHECK_EQ(stats.reinserted_bytes, 0);
    lsmkv_namespace_free(space);
    CHECK_OK(lsmkv_close(at.db, &err));
    end(&at);
}
