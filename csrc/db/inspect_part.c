/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of an inspection: facts, damage, versions.
 */
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "db/inspect.h"

static lsmkv_fact *add(lsmkv_inspection *inspection, const char *name,
                       lsmkv_fact_form form) {
    LSM_ASSERT(inspection->fact_count < LSM_INSPECT_FACTS_MAX);
    lsmkv_fact *fact = &inspection->facts[inspection->fact_count++];

    *fact = (lsmkv_fact){.name = name, .form = form};
    return fact;
}

void lsm_part_begin(lsmkv_inspection *inspection, lsmkv_part *part,
                    lsmkv_part_kind kind, const char *name) {
    inspection->fact_count = 0;
    *part = (lsmkv_part){.kind = kind, .name = name};
}

static const char *type_name(lsmkv_file_type type) {
    static const char *const names[] = {"unknown", "log",   "manifest", "values",
                                        "cache",   "table", "current",  "hotlist"};

    return names[type];
}

void lsm_part_file(lsmkv_inspection *inspection, lsmkv_part *part) {
    lsm_part_begin(inspection, part, LSMKV_PART_FILE, type_name(inspection->type));
    part->size = inspection->size;
}

void lsm_part_number(lsmkv_inspection *inspection, const char *name, uint64_t number) {
    add(inspection, name, LSMKV_FACT_NUMBER)->number = number;
}

void lsm_part_hex(lsmkv_inspection *inspection, const char *name, uint64_t number) {
    add(inspection, name, LSMKV_FACT_HEX)->number = number;
}

void lsm_part_id(lsmkv_inspection *inspection, const char *name, const uint8_t *bytes,
                 size_t size) {
    add(inspection, name, LSMKV_FACT_ID)->bytes = (lsmkv_bytes){bytes, size};
}

void lsm_part_bytes(lsmkv_inspection *inspection, const char *name, lsm_slice bytes) {
    add(inspection, name, LSMKV_FACT_BYTES)->bytes =
        (lsmkv_bytes){bytes.data, bytes.size};
}

void lsm_part_text(lsmkv_inspection *inspection, const char *name, const char *text) {
    add(inspection, name, LSMKV_FACT_TEXT)->bytes = (lsmkv_bytes){text, strlen(text)};
}

void lsm_inspect_say(lsmkv_inspection *inspection, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(inspection->problem.message, sizeof(inspection->problem.message),
                    format, arguments);
    va_end(arguments);
}

void lsm_part_problem(lsmkv_inspection *inspection, lsmkv_part *part,
                      lsmkv_part_kind kind, const char *name, uint64_t from,
                      uint64_t to) {
    lsm_part_begin(inspection, part, kind, name);
    part->offset = from;
    part->size = to - from;
    if (lsm_inspect_unread(inspection, from, to)) {
        lsm_inspect_say(inspection, "the device cannot read all of these bytes");
    }
    lsm_part_text(inspection, "problem", inspection->problem.message);
}

void lsm_part_skey(lsmkv_inspection *inspection, const char *namespace_name,
                   const char *key_name, lsm_slice skey) {
    lsm_part_number(inspection, namespace_name, lsm_get_u32_be(skey.data));
    lsm_part_bytes(
        inspection, key_name,
        lsm_slice_make(skey.data + LSM_NAMESPACE_SIZE, skey.size - LSM_NAMESPACE_SIZE));
}

const char *lsm_kind_name(uint8_t tag) {
    switch (lsm_tag_kind(tag)) {
        case LSM_KIND_PUT:
            return "put";
        case LSM_KIND_DELETE:
            return "delete";
        case LSM_KIND_RANGE_DELETE:
            return "range delete";
        case LSM_KIND_POINTER:
            return "large value";
        case LSM_KIND_CACHED:
            return "cached value";
        case LSM_KIND_MERGE:
        default:
            return "unknown";
    }
}

/* Where the value lies, and as much of it as is here. */
static void add_value(lsmkv_inspection *inspection,
                      const lsm_inspect_version *version) {
    lsm_slice value = lsm_value_of_field(version->tag, version->field);

    if (lsm_tag_kind(version->tag) == LSM_KIND_PUT) {
        lsm_part_bytes(inspection, "value", value);
        return;
    }
    if (version->value_offset != 0) {
        lsm_part_number(inspection, "value_offset", version->value_offset);
        lsm_part_bytes(inspection, "value", version->large);
        return;
    }
    lsm_pointer pointer = lsm_pointer_of_field(version->tag, version->field);
    lsm_part_number(inspection, "segment", pointer.segment);
    lsm_part_number(inspection, "value_offset", pointer.offset);
    lsm_part_number(inspection, "value_size", pointer.size);
    lsm_part_hex(inspection, "value_checksum", pointer.checksum);
}

void lsm_part_version(lsmkv_inspection *inspection, lsmkv_part *part,
                      const lsm_inspect_version *version) {
    lsm_kind kind = lsm_tag_kind(version->tag);

    lsm_part_begin(inspection, part, LSMKV_PART_ENTRY, lsm_kind_name(version->tag));
    part->offset = version->offset;
    part->size = version->size;
    lsm_part_number(inspection, "sequence", version->sequence);
    lsm_part_skey(inspection, "namespace", "key", version->skey);
    if (kind == LSM_KIND_RANGE_DELETE) {
        lsm_part_skey(inspection, "stop_namespace", "stop", version->field);
    }
    if (!lsm_tag_has_value(version->tag)) {
        return;
    }
    if ((version->tag & LSM_TAG_EXPIRES) != 0) {
        lsm_part_number(inspection, "expires_at",
                        lsm_expire_at(version->tag, version->field));
    }
    if ((version->tag & LSM_TAG_FRESH) != 0) {
        size_t skip = (version->tag & LSM_TAG_EXPIRES) != 0 ? 8 : 0;
        lsm_part_number(inspection, "fresh_until",
                        lsm_get_u64(version->field.data + skip));
    }
    add_value(inspection, version);
}
