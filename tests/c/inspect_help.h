/* SPDX-License-Identifier: Apache-2.0
 *
 * A pass over a file of the simulator by an inspection, and what it showed.
 */
#ifndef LSM_TESTS_INSPECT_HELP_H
#define LSM_TESTS_INSPECT_HELP_H

#include "sim_help.h"

#include "db/inspect.h"

/* What a pass over a file saw. */
typedef struct seen {
    lsmkv_file_type type;
    uint64_t at; /* the file was shown up to here */
    uint64_t parts, entries, damage, rest;
    uint64_t damage_at;
} seen;

static inline void cover(seen *s, const lsmkv_part *part) {
    bool alone = part->kind == LSMKV_PART_BLOCK || part->kind == LSMKV_PART_RECORD ||
                 part->kind == LSMKV_PART_FRAME || part->kind == LSMKV_PART_REST ||
                 part->kind == LSMKV_PART_DAMAGE;
    bool header = s->at == 0 && part->offset == LSM_RECORD_FILE_HEADER_SIZE;

    if (alone && (part->offset == s->at || header)) {
        s->at = part->offset + part->size;
    } else {
        CHECK(!alone || part->kind == LSMKV_PART_DAMAGE); /* said of what was shown */
    }
    s->damage_at =
        part->kind == LSMKV_PART_DAMAGE && s->damage == 0 ? part->offset : s->damage_at;
    s->damage += part->kind == LSMKV_PART_DAMAGE;
    s->rest += part->kind == LSMKV_PART_REST;
    s->entries += part->kind == LSMKV_PART_ENTRY;
    s->parts++;
}

static inline lsmkv_status look(lsm_env *env, const char *name,
                                const lsmkv_inspect_how *how, seen *s,
                                lsmkv_error *err) {
    lsmkv_inspection *inspection = NULL;
    lsmkv_part part;

    *s = (seen){0};
    lsmkv_status status = lsm_inspect_open(env, SIM_PATH, name, how, &inspection, err);
    if (status != LSMKV_OK) {
        CHECK(inspection == NULL);
        return status;
    }
    s->type = inspection->type;
    while ((status = lsm_inspect_next(inspection, &part, err)) == LSMKV_OK) {
        CHECK(part.size <= inspection->size &&
              part.offset <= inspection->size - part.size);
        CHECK((s->parts == 0) == (part.kind == LSMKV_PART_FILE));
        cover(s, &part);
    }
    lsm_inspect_free(inspection);
    return status;
}

static inline seen look_at(lsm_env *env, const char *name,
                           const lsmkv_inspect_how *how) {
    lsmkv_error err;
    seen s;

    lsm_error_clear(&err);
    CHECK_STATUS(look(env, name, how, &s, &err), LSMKV_NOT_FOUND);
    return s;
}

#endif
