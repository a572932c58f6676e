/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two parts of `crash damage` share: the image, which is the files of a closed
 * database and what they say (image.c), and the cases that damage it (damage.c).
 */
#ifndef LSM_TESTS_CRASH_DAMAGE_H
#define LSM_TESTS_CRASH_DAMAGE_H

#include "api/testing.h"
#include "model.h"

typedef enum damage_kind {
    DAMAGE_FLIP,     /* one bit */
    DAMAGE_TRUNCATE, /* to each shorter length */
    DAMAGE_ZERO,     /* from each offset on */
    DAMAGE_REMOVE,
    DAMAGE_SWAP, /* with each other file */
    DAMAGE_KIND_COUNT
} damage_kind;

typedef struct image_file {
    char name[LSM_NAME_SIZE_MAX];
    uint8_t *bytes; /* owned */
    size_t size;
    bool lasting; /* an open leaves it in use and needs it: not CURRENT, the hot list,
                     what it writes anew, nor a cache */
} image_file;

typedef struct image_row {
    lsmkv_bytes key; /* bytes owned */
    lsmkv_bytes value;
} image_row;

typedef struct image {
    lsmkv_options options;
    lsm_env *env; /* owned: the intact disk */
    image_file *files;
    size_t file_count;
    size_t file_capacity;
    image_row *rows; /* what is in it, ascending */
    size_t row_count;
    size_t row_capacity;
    const model *m;    /* the history; NULL: unknown */
    model_sides sides; /* what is in other namespaces, with a history */
    bool untrusted; /* its database was closed: opened as not trusted, nothing else */
} image;

/* What was done to an image. */
typedef struct damage {
    damage_kind kind;
    size_t file;  /* index in the image */
    size_t other; /* the other file of a swap */
    uint64_t at;  /* bit, or offset */
} damage;

/* Takes the disk. */
void image_init(image *im, lsm_env *env, const lsmkv_options *options, const model *m);
void image_deinit(image *im);
/* The files of a real directory, on a new disk. */
lsm_env *image_load(const char *directory);

/* Whether the file grows record by record, so that less of it may look like what a
 * crash left. */
bool image_is_records(const image_file *file);
/* Whether it is of a cache, so that whatever happens to it is no problem. */
bool image_is_cache(const image_file *file);

/* Repairs the damaged disk, into another directory of a copy, and checks the result. */
void damage_repair(const image *im, lsm_env *before, const damage *d);

/* Checks what the damaged disk says against the image. */
void damage_check(const image *im, lsm_env *disk, const damage *d);

#endif
