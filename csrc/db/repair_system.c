/* SPDX-License-Identifier: Apache-2.0
 *
 * See repair_system.h.
 */
#include "db/repair_system.h"

#include <string.h>

#include "base/coding.h"
#include "db/manifest.h"
#include "format/publish_record.h"

enum { SHOWN_MAX = 60 };

void lsm_repair_system_deinit(lsm_repair_system *system) {
    lsm_buf_deinit(&system->versions);
}

/* Whether a key begins with a prefix; *rest: what follows. */
static bool has_prefix(lsm_slice key, const char *prefix, lsm_slice *rest) {
    size_t size = strlen(prefix);

    if (key.size < size || memcmp(key.data, prefix, size) != 0) {
        return false;
    }
    *rest = lsm_slice_make(key.data + size, key.size - size);
    return true;
}

static bool is_key(lsm_slice key, const char *name) {
    return lsm_slice_equal(key, lsm_slice_make(name, strlen(name)));
}

/* What a later version wrote is for it to read. */
static bool may_stay(lsmkv_status status) {
    return status == LSMKV_OK || status == LSMKV_UNSUPPORTED_VERSION;
}

static bool is_complete(const lsm_repair_system *system, lsm_slice name,
                        lsm_slice version) {
    const lsm_buf *versions = &system->versions;
    size_t size = name.size + 1 + version.size;
    bool found = false;

    for (size_t at = 0; !found && at < versions->size;) {
        const uint8_t *one = versions->data + at + 4;
        size_t one_size = lsm_get_u32(versions->data + at);
        found = one_size == size && memcmp(one, name.data, name.size) == 0 &&
                memcmp(one + size - version.size, version.data, version.size) == 0;
        at += 4 + one_size;
    }
    return found;
}

static bool options_hold(lsm_slice value) {
    lsmkv_options given;
    lsm_options options;

    lsmkv_options_init(&given);
    /* unreachable: what was not given is within the limits */
    return lsm_options_resolve(&given, &options, NULL) == LSMKV_OK &&
           may_stay(lsm_options_recall(&options, value, NULL));
}

static bool definition_holds(lsm_slice name, lsm_slice value) {
    lsm_space_definition definition;

    return lsm_space_name_check((lsmkv_bytes){name.data, name.size}) &&
           may_stay(lsm_space_decode(value, &definition, NULL));
}

static lsmkv_status judge_version(lsm_repair_system *system, lsm_slice rest,
                                  lsm_slice value, bool *keep, lsmkv_error *err) {
    lsm_publish_record record = {0};
    lsmkv_bytes name;
    lsmkv_bytes version;
    lsmkv_status status = lsm_publish_record_decode(value, &record, NULL);

    *keep = lsm_publish_key_split(rest, &name, &version, NULL) == LSMKV_OK &&
            may_stay(status) && record.edit_mark < LSM_FILE_NUMBER_MAX;
    if (*keep && record.edit_mark > system->edit_mark_max) {
        system->edit_mark_max = record.edit_mark;
    }
    if (*keep && status == LSMKV_OK && record.state == LSM_PUBLISH_COMPLETE &&
        (!lsm_buf_append_u32(&system->versions, (uint32_t)rest.size) ||
         !lsm_buf_append(&system->versions, rest.data, rest.size))) {
        return lsm_fail_memory(err, rest.size);
    }
    return LSMKV_OK;
}

static lsmkv_status judge(lsm_repair_system *system, lsm_slice key, lsm_slice value,
                          bool *keep, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_slice rest;

    if (is_key(key, LSM_OPTIONS_KEY)) {
        *keep = options_hold(value);
    } else if (is_key(key, LSM_NEXT_SPACE_KEY)) {
        *keep = value.size == 4;
    } else if (has_prefix(key, LSM_SPACE_PREFIX, &rest)) {
        *keep = definition_holds(rest, value);
    } else if (has_prefix(key, LSM_PUBLISHED_PREFIX, &rest)) {
        *keep = is_complete(system, rest, value);
    } else if (has_prefix(key, LSM_PUBLISH_PREFIX, &rest)) {
        status = judge_version(system, rest, value, keep, err);
    }
    return status;
}

static void tell(const lsm_repair *repair, lsm_slice key) {
    char shown[SHOWN_MAX + 1];
    size_t size = key.size < SHOWN_MAX ? key.size : SHOWN_MAX;
    lsmkv_error problem;

    for (size_t i = 0; i < size; i++) {
        shown[i] = key.data[i] >= ' ' && key.data[i] < 0x7F ? (char)key.data[i] : '?';
    }
    shown[size] = '\0';
    (void)lsm_fail(&problem, LSMKV_CORRUPTION,
                   "what the database knows as \"%s\" cannot be read, or names "
                   "something that was lost",
                   shown);
    lsm_findings_tell(&repair->findings, &problem);
}

lsmkv_status lsm_repair_system_judge(lsm_repair_system *system, lsm_repair *repair,
                                     const lsm_iter *entry, bool *keep,
                                     lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_slice skey = lsm_ikey_skey(entry->key);
    uint8_t tag = lsm_trailer_tag(lsm_ikey_trailer(entry->key));

    *keep = true;
    if (lsm_get_u32_be(skey.data) != LSM_NAMESPACE_SYSTEM) {
        return LSMKV_OK;
    }
    lsm_slice key =
        lsm_slice_make(skey.data + LSM_NAMESPACE_SIZE, skey.size - LSM_NAMESPACE_SIZE);
    LSM_TRY(judge(system, key, lsm_value_of_field(tag, entry->value), keep, err));
    if (!*keep) {
        tell(repair, key);
    }
out:
    return status;
}
