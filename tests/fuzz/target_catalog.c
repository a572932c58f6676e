/* SPDX-License-Identifier: Apache-2.0
 *
 * Targets: what the keys of namespace 0 hold.
 */
#include <string.h>

#include "db/options.h"
#include "format/publish_record.h"
#include "format/space.h"
#include "targets.h"

static void check_answer(lsmkv_status status) {
    FUZZ_CHECK(status == LSMKV_CORRUPTION || status == LSMKV_UNSUPPORTED_VERSION);
}

void fuzz_space(lsm_slice input) {
    lsm_space_definition first;
    lsm_space_definition second;
    lsm_buf once = {0};
    lsm_buf twice = {0};
    lsmkv_bytes bytes = {input.data, input.size};
    lsmkv_status status = lsm_space_decode(input, &first, NULL);

    if (lsm_space_name_check(bytes)) {
        lsm_space_name name = lsm_space_name_make(bytes);

        FUZZ_CHECK(name.size == input.size);
        FUZZ_CHECK(memcmp(name.bytes, input.data, input.size) == 0);
    }
    if (status != LSMKV_OK) {
        check_answer(status);
        return;
    }
    FUZZ_CHECK(lsm_space_vector_check(&first.options));
    FUZZ_CHECK(first.id >= LSM_SPACE_FIRST && first.id <= LSM_SPACE_LAST);
    FUZZ_CHECK(lsm_space_encode(&first, &once));
    FUZZ_CHECK(lsm_space_decode(lsm_buf_slice(&once), &second, NULL) == LSMKV_OK);
    FUZZ_CHECK(lsm_space_vector_same(&first.options, &second.options));
    FUZZ_CHECK(lsm_space_encode(&second, &twice));
    FUZZ_CHECK(lsm_slice_equal(lsm_buf_slice(&once), lsm_buf_slice(&twice)));
    lsm_buf_deinit(&once);
    lsm_buf_deinit(&twice);
}

static void check_key(lsm_slice rest) {
    lsmkv_bytes name;
    lsmkv_bytes version;
    lsmkv_status status = lsm_publish_key_split(rest, &name, &version, NULL);

    if (status != LSMKV_OK) {
        check_answer(status);
        return;
    }
    FUZZ_CHECK(lsm_space_name_check(name) && lsm_version_name_check(version));
    FUZZ_CHECK(name.size + 1 + version.size == rest.size);
}

void fuzz_publish(lsm_slice input) {
    lsm_publish_record first;
    lsm_publish_record second;
    lsm_buf once = {0};
    lsm_buf twice = {0};
    lsmkv_status status = lsm_publish_record_decode(input, &first, NULL);

    check_key(input);
    if (status != LSMKV_OK) {
        check_answer(status);
        return;
    }
    FUZZ_CHECK(first.state != LSM_PUBLISH_NONE);
    FUZZ_CHECK(lsm_publish_record_encode(&first, &once));
    FUZZ_CHECK(lsm_publish_record_decode(lsm_buf_slice(&once), &second, NULL) ==
               LSMKV_OK);
    FUZZ_CHECK(
        first.created_ms == second.created_ms && first.row_count == second.row_count &&
        first.byte_count == second.byte_count && first.space.id == second.space.id);
    FUZZ_CHECK(lsm_publish_record_encode(&second, &twice));
    FUZZ_CHECK(lsm_slice_equal(lsm_buf_slice(&once), lsm_buf_slice(&twice)));
    lsm_buf_deinit(&once);
    lsm_buf_deinit(&twice);
}

void fuzz_options(lsm_slice input) {
    lsmkv_options given;
    lsm_options options;
    lsm_options again;
    lsm_buf once = {0};
    lsm_buf twice = {0};

    lsmkv_options_init(&given);
    FUZZ_CHECK(lsm_options_resolve(&given, &options, NULL) == LSMKV_OK);
    lsmkv_status status = lsm_options_recall(&options, input, NULL);
    if (status == LSMKV_OK) {
        lsm_options_describe(&options, &given);
        FUZZ_CHECK(lsm_options_encode(&options, &once));
        FUZZ_CHECK(lsm_options_resolve(&given, &again, NULL) == LSMKV_OK);
        FUZZ_CHECK(lsm_options_recall(&again, lsm_buf_slice(&once), NULL) == LSMKV_OK);
        FUZZ_CHECK(!again.changed);
        FUZZ_CHECK(lsm_options_encode(&again, &twice));
        FUZZ_CHECK(lsm_slice_equal(lsm_buf_slice(&once), lsm_buf_slice(&twice)));
    } else {
        FUZZ_CHECK(status == LSMKV_CORRUPTION || status == LSMKV_UNSUPPORTED_VERSION ||
                   status == LSMKV_INVALID_ARGUMENT);
    }
    lsm_buf_deinit(&once);
    lsm_buf_deinit(&twice);
}
