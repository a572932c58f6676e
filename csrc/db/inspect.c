/* SPDX-License-Identifier: Apache-2.0
 *
 * See inspect.h: opening a file and telling what it is, and the window over it.
 */
#include "db/inspect.h"

#include <string.h>

#include "base/alloc.h"
#include "format/filename.h"
#include "format/footer.h"

enum { WINDOW_SIZE = 64 << 10, SECTOR_SIZE = 4096 };

/* Fills the window from its start on, and zeros in where there is nothing to be had. */
static lsmkv_status fill(lsmkv_inspection *inspection, size_t size, lsmkv_error *err) {
    lsm_buf *window = &inspection->window;
    lsmkv_error failure;
    size_t got = 0;
    lsmkv_status status = lsm_file_read(inspection->file, inspection->window_at,
                                        window->data, size, &got, &failure);

    if (status == LSMKV_OK) {
        memset(window->data + got, 0, size - got);
        return LSMKV_OK;
    }
    if (!lsm_error_is_device(&failure)) {
        return lsm_error_copy(err, &failure);
    }
    memset(window->data, 0, size);
    for (size_t at = 0; at < size; at += SECTOR_SIZE) {
        size_t part = size - at < SECTOR_SIZE ? size - at : SECTOR_SIZE;
        uint64_t offset = inspection->window_at + at;

        if (lsm_file_read(inspection->file, offset, window->data + at, part, &got,
                          NULL) == LSMKV_OK) {
            continue;
        }
        if (inspection->unread_to == 0 || offset < inspection->unread_from) {
            inspection->unread_from = offset;
        }
        if (offset + part > inspection->unread_to) {
            inspection->unread_to = offset + part;
        }
    }
    return LSMKV_OK;
}

lsmkv_status lsm_inspect_fetch(lsmkv_inspection *inspection, uint64_t offset,
                               uint64_t size, const uint8_t **bytes, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_buf *window = &inspection->window;

    *bytes = NULL;
    if (offset < inspection->window_at ||
        offset + size > inspection->window_at + window->size) {
        uint64_t left = inspection->size - offset;
        uint64_t want = size > WINDOW_SIZE ? size : WINDOW_SIZE;

        want = left < want ? left : want;
        lsm_buf_clear(window);
        /* One byte, so that a window of nothing is somewhere, too. */
        /* unreachable: where size_t has 64 bits */
        if (want >= SIZE_MAX || !lsm_buf_reserve(window, (size_t)want + 1)) {
            return lsm_fail_memory(err, (size_t)want);
        }
        inspection->window_at = offset;
        LSM_TRY(fill(inspection, (size_t)want, err));
        window->size = (size_t)want;
    }
    *bytes = window->data + (size_t)(offset - inspection->window_at);
out:
    return status;
}

lsmkv_status lsm_inspect_header(lsmkv_inspection *inspection,
                                lsm_record_file_header *header, const uint8_t **bytes,
                                size_t *size, bool *ok, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    *size = LSM_RECORD_FILE_HEADER_SIZE;
    *size = inspection->size < *size ? (size_t)inspection->size : *size;
    LSM_TRY(lsm_inspect_fetch(inspection, 0, *size, bytes, err));
    status = lsm_record_file_header_decode(*bytes, *size, inspection->name, header,
                                           &inspection->problem);
    *ok = status == LSMKV_OK;
    status = status == LSMKV_UNSUPPORTED_VERSION
                 ? lsm_error_copy(err, &inspection->problem)
                 : LSMKV_OK;
out:
    return status;
}

static lsmkv_file_type type_of_record_file(lsm_record_file_type type) {
    switch (type) {
        case LSM_FILE_LOG:
            return LSMKV_FILE_LOG;
        case LSM_FILE_MANIFEST:
            return LSMKV_FILE_MANIFEST;
        case LSM_FILE_VALUES:
            return LSMKV_FILE_VALUES;
        case LSM_FILE_CACHE:
            return LSMKV_FILE_CACHE;
        case LSM_FILE_NONE:
        default:
            return LSMKV_FILE_UNKNOWN;
    }
}

static lsmkv_file_type type_of_name(lsm_file_kind kind) {
    switch (kind) {
        case LSM_NAME_MANIFEST:
            return LSMKV_FILE_MANIFEST;
        case LSM_NAME_LOG:
            return LSMKV_FILE_LOG;
        case LSM_NAME_TABLE:
            return LSMKV_FILE_TABLE;
        case LSM_NAME_SEGMENT:
            return LSMKV_FILE_VALUES;
        case LSM_NAME_CACHE:
            return LSMKV_FILE_CACHE;
        case LSM_NAME_CURRENT:
        case LSM_NAME_CURRENT_TEMP:
            return LSMKV_FILE_CURRENT;
        case LSM_NAME_HOTLIST:
        case LSM_NAME_HOTLIST_TEMP:
            return LSMKV_FILE_HOTLIST;
        case LSM_NAME_STATS:
        case LSM_NAME_LOCK:
        case LSM_NAME_OTHER:
        default:
            return LSMKV_FILE_UNKNOWN;
    }
}

/* What the bytes say under a checksum that holds; else UNKNOWN. */
static lsmkv_status type_of_bytes(lsmkv_inspection *inspection, lsmkv_file_type *type,
                                  lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_record_file_header header;
    lsm_footer footer;
    lsmkv_error problem;
    const uint8_t *bytes = NULL;

    *type = LSMKV_FILE_UNKNOWN;
    if (inspection->size >= LSM_RECORD_FILE_HEADER_SIZE) {
        LSM_TRY(
            lsm_inspect_fetch(inspection, 0, LSM_RECORD_FILE_HEADER_SIZE, &bytes, err));
        status = lsm_record_file_header_decode(bytes, LSM_RECORD_FILE_HEADER_SIZE,
                                               inspection->name, &header, &problem);
        LSM_TRY(status == LSMKV_UNSUPPORTED_VERSION ? lsm_error_copy(err, &problem)
                                                    : LSMKV_OK);
        *type = type_of_record_file(header.type);
    }
    if (*type == LSMKV_FILE_UNKNOWN && inspection->size >= LSM_FOOTER_SIZE) {
        LSM_TRY(lsm_inspect_fetch(inspection, inspection->size - LSM_FOOTER_SIZE,
                                  LSM_FOOTER_SIZE, &bytes, err));
        status = lsm_footer_decode(bytes, inspection->size, inspection->name, &footer,
                                   &problem);
        if (status == LSMKV_OK) {
            *type = LSMKV_FILE_TABLE;
        }
        LSM_TRY(status == LSMKV_UNSUPPORTED_VERSION ? lsm_error_copy(err, &problem)
                                                    : LSMKV_OK);
    }
out:
    return status;
}

/* By a checksum, by the name, by what the caller expects: in this order. */
static lsmkv_status tell_type(lsmkv_inspection *inspection, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_file_kind kind = lsm_filename_parse(inspection->name, &inspection->number);

    LSM_TRY(type_of_bytes(inspection, &inspection->type, err));
    if (inspection->type == LSMKV_FILE_UNKNOWN) {
        inspection->type = type_of_name(kind);
    }
    if (inspection->type == LSMKV_FILE_UNKNOWN) {
        inspection->type = inspection->how.type;
    }
    if (inspection->type == LSMKV_FILE_UNKNOWN) {
        status = lsm_fail_at(err, LSMKV_NOT_A_DATABASE, inspection->name, -1,
                             "neither its bytes nor its name tell what this file is");
    }
out:
    return status;
}

static lsmkv_status begin(lsmkv_inspection *inspection, lsmkv_error *err) {
    switch (inspection->type) {
        case LSMKV_FILE_LOG:
        case LSMKV_FILE_MANIFEST:
        case LSMKV_FILE_VALUES:
            return lsm_inspect_records(inspection, err);
        case LSMKV_FILE_CACHE:
            return lsm_inspect_cache(inspection, err);
        case LSMKV_FILE_TABLE:
            return lsm_inspect_table(inspection, err);
        case LSMKV_FILE_CURRENT:
        case LSMKV_FILE_HOTLIST:
        case LSMKV_FILE_UNKNOWN:
        default:
            return lsm_inspect_small(inspection, err);
    }
}

static bool name_is_fine(const char *name) {
    size_t size = strlen(name);

    return size > 0 && size < LSM_NAME_SIZE_MAX && strchr(name, '/') == NULL &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

lsmkv_status lsm_inspect_open(lsm_env *env, const char *directory, const char *name,
                              const lsmkv_inspect_how *how,
                              lsmkv_inspection **inspectionp, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_inspection *inspection = NULL;

    *inspectionp = NULL;
    if (!name_is_fine(name) || (how != NULL && (how->type < LSMKV_FILE_UNKNOWN ||
                                                how->type > LSMKV_FILE_HOTLIST))) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "the name of a file in a directory expected, of at most %d "
                        "bytes, and a known type",
                        LSM_NAME_SIZE_MAX - 1);
    }
    inspection = lsm_calloc(1, sizeof(*inspection));
    if (inspection == NULL) {
        return lsm_fail_memory(err, sizeof(*inspection));
    }
    inspection->how = how != NULL ? *how : (lsmkv_inspect_how){0};
    memcpy(inspection->name, name, strlen(name) + 1);
    inspection->file_id = inspection->how.file_id;
    LSM_TRY(lsm_dir_open(env, directory, false, &inspection->dir, err));
    LSM_TRY(
        lsm_file_open(inspection->dir, name, LSM_OPEN_READ, &inspection->file, err));
    LSM_TRY(lsm_file_size(inspection->file, &inspection->size, err));
    LSM_TRY(tell_type(inspection, err));
    LSM_TRY(begin(inspection, err));
    *inspectionp = inspection;
    inspection = NULL;
out:
    lsm_inspect_free(inspection);
    return status;
}

lsmkv_status lsm_inspect_next(lsmkv_inspection *inspection, lsmkv_part *part,
                              lsmkv_error *err) {
    lsmkv_status status = inspection->ops->next(inspection, part, err);

    part->facts = inspection->facts;
    part->fact_count = status == LSMKV_OK ? inspection->fact_count : 0;
    return status;
}

void lsm_inspect_free(lsmkv_inspection *inspection) {
    if (inspection == NULL) {
        return;
    }
    if (inspection->state != NULL) {
        inspection->ops->destroy(inspection->state);
    }
    lsm_buf_deinit(&inspection->window);
    lsm_file_drop(inspection->file);
    lsm_dir_close(inspection->dir);
    lsm_free(inspection);
}
