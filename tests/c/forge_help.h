/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of a simulated database, found by a part of their names, and made to hold
 * records whose checksums are right.
 */
#ifndef LSM_TESTS_FORGE_HELP_H
#define LSM_TESTS_FORGE_HELP_H

#include "sim_help.h"

#include <stdlib.h>

#include "base/buf.h"
#include "format/record.h"

enum { NAMES_MAX = 64 };

typedef struct names {
    char list[NAMES_MAX][LSM_NAME_SIZE_MAX];
    size_t count;
} names;

static inline int compare_names(const void *a, const void *b) {
    return strcmp(a, b);
}

/* Ascending. */
static inline void list_names(lsm_env *env, const char *part, names *found) {
    lsmkv_error err;
    lsm_namelist list = {0};
    lsm_dir *dir = NULL;

    found->count = 0;
    CHECK_OK(lsm_dir_open(env, SIM_PATH, false, &dir, &err));
    CHECK_OK(lsm_dir_list(dir, &list, &err));
    for (size_t i = 0; i < list.count; i++) {
        if (strstr(list.names[i], part) != NULL) {
            CHECK(found->count < NAMES_MAX);
            memcpy(found->list[found->count++], list.names[i], LSM_NAME_SIZE_MAX);
        }
    }
    CHECK(found->count > 0);
    qsort(found->list, found->count, sizeof(found->list[0]), compare_names);
    lsm_namelist_deinit(&list);
    lsm_dir_close(dir);
}

static inline void lose_current(lsm_env *env) {
    CHECK(lsm_sim_file_remove(env, SIM_PATH, "CURRENT"));
}

/* Appends a record that verifies, to the first or the last file of such a name. */
static inline void append_record(lsm_env *env, const char *part, bool last,
                                 lsm_record_type type, lsm_slice payload) {
    names found;
    const uint8_t *bytes;
    size_t size;
    lsm_record_file_header header;
    lsmkv_error err;
    lsm_buf file = {0};

    list_names(env, part, &found);
    const char *name = found.list[last ? found.count - 1 : 0];
    CHECK(lsm_sim_file_read(env, SIM_PATH, name, &bytes, &size));
    CHECK_OK(lsm_record_file_header_decode(bytes, size, name, &header, &err));
    CHECK(lsm_buf_append(&file, bytes, size));
    CHECK(lsm_buf_append_zeros(&file, (size_t)lsm_record_size(payload.size)));
    if (payload.size > 0) {
        memcpy(file.data + size + LSM_RECORD_HEADER_SIZE, payload.data, payload.size);
    }
    lsm_record_seal(file.data + size, payload.size, type,
                    (lsm_record_place){header.file_id, size, 0});
    CHECK(lsm_sim_file_write(env, SIM_PATH, name, file.data, file.size));
    lsm_buf_deinit(&file);
}

#endif
