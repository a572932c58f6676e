/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: any bytes as a file that is inspected. Inputs are the kind of the file (as in
 * format/filename.h), how it is inspected, and its bytes. What is shown covers the file
 * end to end, whatever it is, and with entries or without them it is the same.
 */
#include <string.h>

#include "db/inspect.h"
#include "env/env_sim.h"
#include "format/filename.h"
#include "mend.h"
#include "targets.h"

#define INSPECT_PATH "db"

enum {
    HEAD_SIZE = 2,
    KINDS = 12, /* more than there are: then the file has a name of nobody */
    SEALED = 1,
    KNOWN_ID = 2,
};

/* What a pass over a file saw. */
typedef struct pass {
    uint64_t at;    /* the file was shown up to here */
    uint64_t parts; /* but for entries */
    uint64_t entries;
    uint64_t damage;
} pass;

static bool stands_alone(lsmkv_part_kind kind) {
    return kind == LSMKV_PART_BLOCK || kind == LSMKV_PART_RECORD ||
           kind == LSMKV_PART_FRAME || kind == LSMKV_PART_REST ||
           kind == LSMKV_PART_DAMAGE;
}

static void see(const lsmkv_part *part, uint64_t size, pass *p) {
    FUZZ_CHECK(part->name != NULL && part->offset <= size &&
               part->size <= size - part->offset);
    for (size_t i = 0; i < part->fact_count; i++) {
        const lsmkv_fact *fact = &part->facts[i];
        uint8_t sum = 0;

        for (size_t at = 0; at < fact->bytes.size; at++) {
            sum ^= ((const uint8_t *)fact->bytes.data)[at];
        }
        FUZZ_CHECK(fact->name != NULL && sum == (sum & 0xFF));
    }
    p->damage += part->kind == LSMKV_PART_DAMAGE;
    p->entries += part->kind == LSMKV_PART_ENTRY;
    p->parts += part->kind != LSMKV_PART_ENTRY;
    if (stands_alone(part->kind) && part->offset == p->at) {
        p->at += part->size;
    } else if (part->kind == LSMKV_PART_RECORD || part->kind == LSMKV_PART_FRAME) {
        /* Behind the header, which was shown first. */
        FUZZ_CHECK(p->at == 0 && part->offset == LSM_RECORD_FILE_HEADER_SIZE);
        p->at = part->offset + part->size;
    } else if (part->kind == LSMKV_PART_REST || part->kind == LSMKV_PART_DAMAGE) {
        if (p->at == 0 && part->offset == LSM_RECORD_FILE_HEADER_SIZE) {
            p->at = part->offset + part->size;
        }
        FUZZ_CHECK(part->offset + part->size <= p->at || p->at == 0);
    } else {
        FUZZ_CHECK(part->kind != LSMKV_PART_BLOCK);
    }
}

static pass inspect(lsm_env *env, const char *name, const lsmkv_inspect_how *how,
                    uint64_t size) {
    lsmkv_inspection *inspection = NULL;
    lsmkv_part part;
    lsmkv_file_type type = LSMKV_FILE_UNKNOWN;
    pass p = {0};
    lsmkv_status status =
        lsm_inspect_open(env, INSPECT_PATH, name, how, &inspection, NULL);

    if (status == LSMKV_OK) {
        type = inspection->type;
        while ((status = lsm_inspect_next(inspection, &part, NULL)) == LSMKV_OK) {
            FUZZ_CHECK((p.parts == 0) == (part.kind == LSMKV_PART_FILE));
            see(&part, size, &p);
        }
    }
    lsm_inspect_free(inspection);
    FUZZ_CHECK(status == LSMKV_NOT_FOUND || status == LSMKV_UNSUPPORTED_VERSION ||
               status == LSMKV_NOT_A_DATABASE);
    if (status == LSMKV_NOT_FOUND && type != LSMKV_FILE_CURRENT &&
        type != LSMKV_FILE_HOTLIST && size > LSM_RECORD_FILE_HEADER_SIZE) {
        FUZZ_CHECK(p.at == size);
    }
    return p;
}

static void name_file(lsm_file_kind kind, char name[LSM_FILENAME_SIZE]) {
    switch (kind) {
        case LSM_NAME_MANIFEST:
        case LSM_NAME_LOG:
        case LSM_NAME_TABLE:
        case LSM_NAME_SEGMENT:
        case LSM_NAME_CACHE:
            lsm_filename_make(name, kind, 7);
            return;
        case LSM_NAME_CURRENT:
            memcpy(name, LSM_CURRENT_NAME, sizeof(LSM_CURRENT_NAME));
            return;
        case LSM_NAME_HOTLIST:
            memcpy(name, LSM_HOTLIST_NAME, sizeof(LSM_HOTLIST_NAME));
            return;
        case LSM_NAME_OTHER:
        case LSM_NAME_LOCK:
        case LSM_NAME_CURRENT_TEMP:
        case LSM_NAME_HOTLIST_TEMP:
        case LSM_NAME_STATS:
        default:
            memcpy(name, "found", sizeof("found"));
            return;
    }
}

void fuzz_inspect(lsm_slice input) {
    char name[LSM_FILENAME_SIZE];
    lsmkv_inspect_how how = {0};
    lsm_env *env = NULL;
    lsm_dir *dir = NULL;

    if (input.size < HEAD_SIZE) {
        return;
    }
    fuzz_codec_register();
    lsm_slice file = lsm_slice_make(input.data + HEAD_SIZE, input.size - HEAD_SIZE);
    name_file((lsm_file_kind)(input.data[0] % KINDS), name);
    how.type = (lsmkv_file_type)(input.data[1] / 4 % (LSMKV_FILE_HOTLIST + 1));
    how.sealed = (input.data[1] & SEALED) != 0;
    if ((input.data[1] & KNOWN_ID) != 0 && file.size >= LSM_RECORD_FILE_HEADER_SIZE) {
        how.file_id = lsm_get_u64(file.data + 40);
    }
    env = lsm_sim_create(1);
    FUZZ_CHECK(env != NULL);
    FUZZ_CHECK(lsm_dir_open(env, INSPECT_PATH, true, &dir, NULL) == LSMKV_OK);
    FUZZ_CHECK(lsm_sim_file_write(env, INSPECT_PATH, name, file.data, file.size));
    pass brief = inspect(env, name, &how, file.size);
    how.entries = true;
    pass full = inspect(env, name, &how, file.size);
    FUZZ_CHECK(brief.entries == 0 && brief.parts == full.parts &&
               brief.damage == full.damage && brief.at == full.at);
    lsm_dir_close(dir);
    lsm_sim_destroy(env);
}

void fuzz_inspect_mend(uint8_t *data, size_t size) {
    if (size > HEAD_SIZE) {
        fuzz_mend_file((lsm_file_kind)(data[0] % KINDS), data + HEAD_SIZE,
                       size - HEAD_SIZE);
    }
}
