/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: of what a database knows about itself, a repair keeps all that an open of the
 * new one can read, and nothing else; what it leaves out it tells. Method: entries as a
 * salvaged table would show them, one after another.
 */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/coding.h"
#include "db/repair_system.h"
#include "format/publish_record.h"

enum { KEY_MAX = 300, VALUE_MAX = 512, SEQUENCE = 7 };

typedef struct judging {
    lsm_repair_system system;
    lsm_repair repair;
    lsmkv_report report;
    char message[sizeof(((lsmkv_error *)0)->message)]; /* of the last problem told */
    lsmkv_error err;
} judging;

static void on_problem(void *context, const lsmkv_error *problem) {
    judging *j = context;

    CHECK_EQ(problem->status, LSMKV_CORRUPTION);
    memcpy(j->message, problem->message, sizeof(j->message));
}

static void begin(judging *j) {
    *j = (judging){.message = ""};
    j->repair.findings =
        (lsm_findings){.on_problem = on_problem, .context = j, .report = &j->report};
}

static void end(judging *j) {
    lsm_repair_system_deinit(&j->system);
}

static lsmkv_status judge_of(judging *j, uint32_t space, const char *key,
                             lsm_slice value, bool *keep) {
    uint8_t bytes[KEY_MAX];
    size_t size = strlen(key);
    lsm_iter entry = {.valid = true, .value = value};

    CHECK(LSM_NAMESPACE_SIZE + size + LSM_TRAILER_SIZE <= KEY_MAX);
    lsm_put_u32_be(bytes, space);
    for (size_t i = 0; i < size; i++) {
        bytes[LSM_NAMESPACE_SIZE + i] = (uint8_t)key[i];
    }
    lsm_put_u64(bytes + LSM_NAMESPACE_SIZE + size,
                lsm_trailer_make(SEQUENCE, (uint8_t)LSM_KIND_PUT));
    entry.key = lsm_slice_make(bytes, LSM_NAMESPACE_SIZE + size + LSM_TRAILER_SIZE);
    lsm_error_clear(&j->err);
    return lsm_repair_system_judge(&j->system, &j->repair, &entry, keep, &j->err);
}

/* Whether it stays; what does not is told. */
static bool stays(judging *j, const char *key, const void *value, size_t size) {
    bool keep = false;
    uint64_t before = j->report.problem_count;

    CHECK_EQ(judge_of(j, LSM_NAMESPACE_SYSTEM, key, lsm_slice_make(value, size), &keep),
             LSMKV_OK);
    CHECK_EQ(j->report.problem_count - before, keep ? 0 : 1);
    return keep;
}

static bool version_stays(judging *j, const char *key, lsm_publish_state state,
                          uint64_t mark) {
    lsm_publish_record record = {
        .state = state,
        .edit_mark = mark,
        .space = {.id = LSM_SPACE_FIRST, .options = LSM_SPACE_OPTIONS_NONE}};
    lsm_buf value = {0};

    CHECK(lsm_publish_record_encode(&record, &value));
    bool keep = stays(j, key, value.data, value.size);
    lsm_buf_deinit(&value);
    return keep;
}

LSM_TEST(a_repair_keeps_definitions_that_have_a_name_and_can_be_read) {
    static const uint8_t later[] = {2, 9, 9};
    lsm_space_definition definition = {.id = LSM_SPACE_FIRST,
                                       .options = LSM_SPACE_OPTIONS_NONE};
    lsm_buf value = {0};
    judging j;

    begin(&j);
    CHECK(lsm_space_encode(&definition, &value));
    CHECK(stays(&j, "namespace/a", value.data, value.size));
    CHECK(!stays(&j, "namespace/", value.data, value.size));
    CHECK(!stays(&j, "namespace/\xff", value.data, value.size));
    CHECK(strstr(j.message, "\"namespace/?\"") != NULL);
    CHECK(!stays(&j, "namespace/\n", value.data, 3));
    CHECK(strstr(j.message, "\"namespace/?\"") != NULL);
    CHECK(stays(&j, "namespace/a", later, sizeof(later)));
    lsm_buf_deinit(&value);
    end(&j);
}

LSM_TEST(a_repair_keeps_options_and_counts_that_can_be_read) {
    static const uint8_t later[] = {99};
    static const uint8_t torn[] = {1, 1};
    static const uint8_t plain[] = {1};
    judging j;

    begin(&j);
    CHECK(stays(&j, "options", plain, sizeof(plain)));
    CHECK(stays(&j, "options", later, sizeof(later)));
    CHECK(!stays(&j, "options", torn, sizeof(torn)));
    CHECK(stays(&j, "next_namespace", "1234", 4));
    CHECK(!stays(&j, "next_namespace", "12345", 5));
    CHECK(stays(&j, "pin/what it does not know", "", 0));
    CHECK(stays(&j, "pin", "", 0));
    end(&j);
}

LSM_TEST(a_repair_tells_only_the_beginning_of_a_long_name) {
    char key[200] = "next_namespace";
    judging j;

    begin(&j);
    memset(key, 'x', sizeof(key) - 1);
    memcpy(key, "namespace/", 10);
    key[sizeof(key) - 1] = '\0';
    CHECK(!stays(&j, key, "", 0));
    CHECK(strstr(j.message, "namespace/xxx") != NULL);
    CHECK(strlen(j.message) < 180);
    end(&j);
}

LSM_TEST(a_repair_keeps_a_name_only_with_the_very_version_that_it_shows) {
    static const uint8_t later[] = {2};
    judging j;

    begin(&j);
    CHECK(version_stays(&j, "publish/ab/1", LSM_PUBLISH_COMPLETE, 5));
    CHECK(version_stays(&j, "publish/ab/2", LSM_PUBLISH_BEGUN, 9));
    CHECK(version_stays(&j, "publish/cd/33", LSM_PUBLISH_COMPLETE, 0));
    CHECK_EQ(j.system.edit_mark_max, 9);
    CHECK(stays(&j, "publish/ab/3", later, sizeof(later)));
    CHECK(!stays(&j, "publish/ab/4", "\x01\x07", 2));
    CHECK(!version_stays(&j, "publish/ab", LSM_PUBLISH_COMPLETE, 1));
    CHECK(
        !version_stays(&j, "publish/ab/5", LSM_PUBLISH_COMPLETE, LSM_FILE_NUMBER_MAX));
    CHECK_EQ(j.system.edit_mark_max, 9);

    CHECK(stays(&j, "published/ab", "1", 1));
    CHECK(stays(&j, "published/cd", "33", 2));
    CHECK(!stays(&j, "published/ab", "2", 1));  /* never finished */
    CHECK(!stays(&j, "published/ab", "3", 1));  /* of a later version of lsmkv */
    CHECK(!stays(&j, "published/ac", "1", 1));  /* another name, as long */
    CHECK(!stays(&j, "published/cd", "34", 2)); /* another version, as long */
    CHECK(!stays(&j, "published/a", "b1", 2));
    end(&j);
}

LSM_TEST(a_repair_leaves_other_namespaces_to_others) {
    bool keep = false;
    judging j;

    begin(&j);
    CHECK_EQ(judge_of(&j, LSM_NAMESPACE_SYSTEM + 1, "options", lsm_slice_make("\0", 1),
                      &keep),
             LSMKV_OK);
    CHECK(keep);
    CHECK_EQ(j.report.problem_count, 0);
    end(&j);
}

LSM_TEST(a_repair_that_cannot_note_a_version_says_so) {
    lsm_publish_record record = {
        .state = LSM_PUBLISH_COMPLETE,
        .space = {.id = LSM_SPACE_FIRST, .options = LSM_SPACE_OPTIONS_NONE}};
    char name[220] = "";
    char key[KEY_MAX];
    lsm_buf value = {0};
    bool failed = true;

    CHECK(lsm_publish_record_encode(&record, &value));
    memset(name, 'n', sizeof(name) - 1);
    CHECK(snprintf(key, sizeof(key), "publish/%s/1", name) < KEY_MAX);
    for (uint64_t at = 0; failed; at++) {
        judging j;
        bool keep = false;
        begin(&j);
        lsm_alloc_fail_after(at, 0);
        lsmkv_status status =
            judge_of(&j, LSM_NAMESPACE_SYSTEM, key, lsm_buf_slice(&value), &keep);
        lsm_alloc_fail_never();
        failed = status != LSMKV_OK;
        CHECK(failed ? status == LSMKV_NO_MEMORY && at < 2 : keep && at == 2);
        end(&j);
    }
    lsm_buf_deinit(&value);
}
