/* SPDX-License-Identifier: Apache-2.0
 *
 * Making and recognising file names, and the content of CURRENT. Both parsers make the
 * canonical spelling of what they read and compare: whatever else it is, a name or a
 * content that differs from what this file would write is refused.
 */
#include "format/filename.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/xxh3.h"

enum { DIGITS_MIN = 6, DIGITS_MAX = 20, HEX_DIGITS = 16 };

typedef struct name_shape {
    lsm_file_kind kind;
    const char *before;
    const char *after;
} name_shape;

static const name_shape shapes[] = {
    {LSM_NAME_MANIFEST, "MANIFEST-", ""}, {LSM_NAME_LOG, "", ".log"},
    {LSM_NAME_TABLE, "", ".tbl"},         {LSM_NAME_SEGMENT, "", ".seg"},
    {LSM_NAME_CACHE, "", ".cache"},
};

typedef struct fixed_name {
    lsm_file_kind kind;
    const char *name;
} fixed_name;

static const fixed_name fixed_names[] = {
    {LSM_NAME_LOCK, LSM_LOCK_NAME},
    {LSM_NAME_CURRENT, LSM_CURRENT_NAME},
    {LSM_NAME_CURRENT_TEMP, LSM_CURRENT_TEMP_NAME},
    {LSM_NAME_HOTLIST, LSM_HOTLIST_NAME},
    {LSM_NAME_HOTLIST_TEMP, LSM_HOTLIST_TEMP_NAME},
    {LSM_NAME_STATS, LSM_STATS_NAME},
};

_Static_assert(sizeof("MANIFEST-") + DIGITS_MAX <= LSM_FILENAME_SIZE, "names fit");
_Static_assert(sizeof("MANIFEST-") + DIGITS_MAX + 1 + HEX_DIGITS + 1 <=
                   LSM_CURRENT_SIZE_MAX,
               "the content of CURRENT fits");

static const name_shape *find_shape(lsm_file_kind kind) {
    const name_shape *shape = shapes;

    while (shape->kind != kind) {
        shape++;
        LSM_ASSERT(shape < shapes + LSM_ARRAY_COUNT(shapes));
    }
    return shape;
}

void lsm_filename_make(char to[LSM_FILENAME_SIZE], lsm_file_kind kind,
                       uint64_t number) {
    const name_shape *shape = find_shape(kind);

    LSM_ASSERT(number != 0);
    int size = snprintf(to, LSM_FILENAME_SIZE, "%s%0*llu%s", shape->before, DIGITS_MIN,
                        (unsigned long long)number, shape->after);
    LSM_ASSERT(size > 0 && size < LSM_FILENAME_SIZE);
}

/* Reads the decimal digits at `text`; the value wraps where there are too many. */
static uint64_t read_digits(const char *text) {
    uint64_t number = 0;

    for (size_t i = 0; i < DIGITS_MAX && text[i] >= '0' && text[i] <= '9'; i++) {
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    return number;
}

lsm_file_kind lsm_filename_parse(const char *name, uint64_t *number) {
    *number = 0;
    for (size_t i = 0; i < LSM_ARRAY_COUNT(fixed_names); i++) {
        if (strcmp(name, fixed_names[i].name) == 0) {
            return fixed_names[i].kind;
        }
    }
    for (size_t i = 0; i < LSM_ARRAY_COUNT(shapes); i++) {
        char canonical[LSM_FILENAME_SIZE];
        size_t before = strlen(shapes[i].before);

        if (strncmp(name, shapes[i].before, before) != 0) {
            continue;
        }
        uint64_t parsed = read_digits(name + before);
        if (parsed == 0) {
            continue;
        }
        lsm_filename_make(canonical, shapes[i].kind, parsed);
        if (strcmp(name, canonical) == 0) {
            *number = parsed;
            return shapes[i].kind;
        }
    }
    return LSM_NAME_OTHER;
}

size_t lsm_current_encode(char to[LSM_CURRENT_SIZE_MAX], uint64_t manifest_number) {
    char name[LSM_FILENAME_SIZE];

    lsm_filename_make(name, LSM_NAME_MANIFEST, manifest_number);
    int size = snprintf(to, LSM_CURRENT_SIZE_MAX, "%s %0*llx\n", name, HEX_DIGITS,
                        (unsigned long long)lsm_xxh3(name, strlen(name)));
    LSM_ASSERT(size > 0 && size < LSM_CURRENT_SIZE_MAX);
    return (size_t)size;
}

lsmkv_status lsm_current_decode(lsm_slice content, uint64_t *manifest_number,
                                lsmkv_error *err) {
    const size_t tail = 1 + HEX_DIGITS + 1;
    char name[LSM_FILENAME_SIZE];
    char canonical[LSM_CURRENT_SIZE_MAX];
    uint64_t number = 0;

    *manifest_number = 0;
    if (content.size <= tail || content.size - tail >= sizeof(name)) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, LSM_CURRENT_NAME, 0,
                           "%zu bytes, expected the name of a MANIFEST and a checksum",
                           content.size);
    }
    memcpy(name, content.data, content.size - tail);
    name[content.size - tail] = '\0';
    if (lsm_filename_parse(name, &number) != LSM_NAME_MANIFEST) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, LSM_CURRENT_NAME, 0,
                           "does not begin with the name of a MANIFEST");
    }
    size_t size = lsm_current_encode(canonical, number);
    if (!lsm_slice_equal(content, lsm_slice_make(canonical, size))) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, LSM_CURRENT_NAME,
                           (int64_t)(content.size - tail),
                           "wrong checksum of the name, expected %.*s", HEX_DIGITS,
                           canonical + size - tail + 1);
    }
    *manifest_number = number;
    return LSMKV_OK;
}
