/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a value file is written whole or not at all. Method: files of every number of
 * values, of which every allocation and every append fails in turn.
 */
#include "sim_help.h"

#include <errno.h>

#include "base/alloc.h"
#include "segment/value_writer.h"

enum { NUMBER = 5, FILE_ID = 77, VALUE_COUNT = 9, SIZE_MAX_USED = 300000 };

static const uint8_t uuid[LSM_UUID_SIZE] = "0123456789abcde";
static const size_t sizes[VALUE_COUNT] = {1, 63, 64, 65, 1000, 4096, 3, SIZE_MAX_USED,
                                          17};

/* Writes the first values, as far as it goes; nothing is left of a file that fails. */
static lsmkv_status try_values(lsm_env *env, lsm_dir *dir, size_t count) {
    lsm_value_writer *writer = NULL;
    lsm_edit_segment info;
    uint64_t offset = 0;
    lsmkv_error err;
    lsmkv_status status =
        lsm_value_writer_create(dir, uuid, NUMBER, FILE_ID, &writer, &err);

    for (size_t i = 0; status == LSMKV_OK && i < count; i++) {
        static const uint8_t zeros[SIZE_MAX_USED];
        status = lsm_value_writer_add(writer, lsm_slice_make(zeros, sizes[i]), &offset,
                                      &err);
    }
    if (status == LSMKV_OK) {
        status = lsm_value_writer_finish(writer, &info, &err);
    }
    lsm_value_writer_destroy(writer);
    CHECK_EQ(lsm_sim_file_remove(env, SIM_PATH, "000005.seg"), status == LSMKV_OK);
    return status;
}

LSM_TEST(value_files_bear_a_lack_of_memory_and_appends_that_fail) {
    for (size_t count = 0; count <= VALUE_COUNT; count++) {
        lsmkv_status status = LSMKV_IO_ERROR;
        lsm_dir *dir = NULL;
        lsm_env *env = sim_make(1, &dir);

        for (uint64_t n = 0; status != LSMKV_OK; n++) {
            lsm_sim_fail(env, LSM_SIM_APPEND, n, EIO, false);
            status = try_values(env, dir, count);
            lsm_sim_fail(env, LSM_SIM_APPEND, 0, 0, false);
            CHECK(status == LSMKV_OK || status == LSMKV_IO_ERROR);
        }
        lsm_sim_exempt_memory(env);
        status = LSMKV_NO_MEMORY;
        for (uint64_t n = 0; status != LSMKV_OK; n++) {
            lsm_alloc_fail_after(n, 0);
            status = try_values(env, dir, count);
            lsm_alloc_fail_never();
            CHECK(status == LSMKV_OK || status == LSMKV_NO_MEMORY);
        }
        sim_end(env, dir);
    }
}
