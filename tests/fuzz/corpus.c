/* SPDX-License-Identifier: Apache-2.0
 *
 * See corpus.h.
 */
#include "corpus.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/xxh3.h"

enum { PATH_SIZE = 1024 };

void fuzz_corpus_add(fuzz_corpus *corpus, lsm_slice input) {
    uint8_t *copy = fuzz_alloc(input.size);

    if (input.size > 0) {
        memcpy(copy, input.data, input.size);
    }
    corpus->inputs = fuzz_grow(corpus->inputs, &corpus->capacity, corpus->count + 1,
                               sizeof(*corpus->inputs));
    corpus->inputs[corpus->count++] = lsm_slice_make(copy, input.size);
}

static bool load_file(fuzz_corpus *corpus, const char *path, size_t size_max) {
    uint8_t *bytes = fuzz_alloc(size_max);
    FILE *file = fopen(path, "rb");

    if (file != NULL) {
        fuzz_corpus_add(corpus, lsm_slice_make(bytes, fread(bytes, 1, size_max, file)));
        (void)fclose(file);
    }
    free(bytes);
    return file != NULL;
}

static int compare_names(const void *a, const void *b) {
    return strcmp((const char *)a, (const char *)b);
}

/* In the order of names, so that a seed means the same everywhere. */
static bool load_directory(fuzz_corpus *corpus, const char *path, DIR *directory,
                           size_t size_max) {
    char (*names)[PATH_SIZE] = NULL;
    size_t count = 0;
    size_t capacity = 0;
    bool loaded = true;

    for (const struct dirent *entry = readdir(directory); entry != NULL;
         entry = readdir(directory)) {
        if (entry->d_name[0] != '.') {
            names = fuzz_grow(names, &capacity, count + 1, sizeof(*names));
            (void)snprintf(names[count++], sizeof(*names), "%s/%s", path,
                           entry->d_name);
        }
    }
    if (count > 0) {
        qsort(names, count, sizeof(*names), compare_names);
    }
    for (size_t i = 0; i < count; i++) {
        loaded = load_file(corpus, names[i], size_max) && loaded;
    }
    free(names);
    return loaded;
}

bool fuzz_corpus_load(fuzz_corpus *corpus, const char *path, size_t size_max) {
    DIR *directory = opendir(path);

    if (directory == NULL) {
        return load_file(corpus, path, size_max);
    }
    bool loaded = load_directory(corpus, path, directory, size_max);
    (void)closedir(directory);
    return loaded;
}

static int compare_inputs(const void *a, const void *b) {
    const lsm_slice *first = a;
    const lsm_slice *second = b;
    int order = lsm_compare_u64(first->size, second->size);

    return order != 0 ? order : lsm_slice_compare(*first, *second);
}

void fuzz_corpus_sort(fuzz_corpus *corpus) {
    if (corpus->count > 1) {
        qsort(corpus->inputs, corpus->count, sizeof(*corpus->inputs), compare_inputs);
    }
}

void fuzz_corpus_deinit(fuzz_corpus *corpus) {
    for (size_t i = 0; i < corpus->count; i++) {
        free((void *)(uintptr_t)corpus->inputs[i].data);
    }
    free(corpus->inputs);
}

bool fuzz_corpus_save(const char *directory, lsm_slice input) {
    char path[PATH_SIZE];
    FILE *file;

    (void)mkdir(directory, 0755);
    (void)snprintf(path, sizeof(path), "%s/%016llx.bin", directory,
                   (unsigned long long)lsm_xxh3(input.data, input.size));
    file = fopen(path, "wb");
    if (file == NULL) {
        return false;
    }
    bool written = fwrite(input.data, 1, input.size, file) == input.size;
    return fclose(file) == 0 && written;
}
