/* SPDX-License-Identifier: Apache-2.0
 *
 * See repair_values.h.
 */
#include "db/repair_values.h"

#include "base/mutant.h"
#include "base/xxh3.h"
#include "format/filename.h"

#define VALUE_FILE_BYTES (UINT64_C(64) << 20)

/* Opens a file of either kind. */
static lsmkv_status open_file(lsm_repair_values *values, uint64_t number,
                              lsm_file_kind kind, lsmkv_error *err) {
    char name[LSM_FILENAME_SIZE];

    if (values->file != NULL && values->number == number && values->kind == kind) {
        return LSMKV_OK;
    }
    lsm_file_drop(values->file);
    values->file = NULL;
    values->number = number;
    values->kind = kind;
    lsm_filename_make(name, kind, number);
    return lsm_file_open(values->repair->from, name, LSM_OPEN_READ, &values->file, err);
}

/* Reads and checks the value in a file of that kind; NOT_FOUND: there is none. */
static lsmkv_status read_from(lsm_repair_values *values, const lsm_pointer *pointer,
                              lsm_file_kind kind, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint64_t size = 0;
    const char *name;

    LSM_TRY(open_file(values, pointer->segment, kind, err));
    name = lsm_file_name(values->file);
    LSM_TRY(lsm_file_size(values->file, &size, err));
    lsm_buf_clear(&values->value);
    if (pointer->offset > size || pointer->size > size - pointer->offset) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, name, (int64_t)size,
                           "the file ends before a value of %u bytes", pointer->size);
    }
    if (!lsm_buf_reserve(&values->value, pointer->size)) {
        return lsm_fail_memory(err, pointer->size);
    }
    LSM_TRY(lsm_file_read_exact(values->file, pointer->offset, values->value.data,
                                pointer->size, err));
    values->value.size = pointer->size;
    if (!lsm_checksum_agrees(pointer->checksum,
                             lsm_xxh3(values->value.data, pointer->size))) {
        status = lsm_fail_at(err, LSMKV_CORRUPTION, name, (int64_t)pointer->offset,
                             "a value of %u bytes is damaged", pointer->size);
    }
out:
    return status;
}

/* Reads and checks the value. CORRUPTION: it is lost. Which kind of file it lies in is
 * not known for sure: a file that bears the number may have nothing to do with it. */
static lsmkv_status read_value(lsm_repair_values *values, const lsm_pointer *pointer,
                               lsmkv_error *err) {
    lsmkv_error failure;

    if (pointer->segment == 0 || pointer->size == 0 ||
        pointer->size > LSMKV_VALUE_SIZE_MAX) {
        return lsm_fail(err, LSMKV_CORRUPTION, "a pointer to no value");
    }
    lsm_file_kind kind =
        values->number == pointer->segment ? values->kind : LSM_NAME_SEGMENT;
    lsmkv_status status = read_from(values, pointer, kind, err);
    if (status == LSMKV_NOT_FOUND || status == LSMKV_CORRUPTION) {
        kind = kind == LSM_NAME_SEGMENT ? LSM_NAME_LOG : LSM_NAME_SEGMENT;
        lsmkv_status other = read_from(values, pointer, kind, &failure);
        if (other == LSMKV_OK) {
            return LSMKV_OK;
        }
        if (status == LSMKV_NOT_FOUND && other != LSMKV_NOT_FOUND) {
            return lsm_error_copy(err, &failure);
        }
    }
    if (status == LSMKV_NOT_FOUND) {
        char name[LSM_FILENAME_SIZE];
        lsm_filename_make(name, LSM_NAME_LOG, pointer->segment);
        status = lsm_fail_at(err, LSMKV_CORRUPTION, name, -1,
                             "the file is missing, and values lie in it");
    }
    return status;
}

static lsmkv_status create_writer(lsm_repair_values *values, lsmkv_error *err) {
    return lsm_value_writer_create(values->to, values->uuid, (*values->next_file)++,
                                   lsm_rng_next(values->rng), &values->writer, err);
}

lsmkv_status lsm_repair_values_place(lsm_repair_values *values, uint8_t tag,
                                     lsm_slice field, lsm_slice *placed, bool *lost,
                                     lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_pointer pointer = lsm_pointer_of_field(tag, field);
    size_t times = lsm_times_size(tag);
    lsmkv_error failure;

    *placed = (lsm_slice){NULL, 0};
    *lost = read_value(values, &pointer, &failure) != LSMKV_OK;
    if (LSM_MUTANT(REPAIR_FORGETS_LARGE_VALUES)) {
        *lost = true;
        return LSMKV_OK;
    }
    if (*lost) {
        if (failure.status == LSMKV_CORRUPTION || lsm_error_is_device(&failure)) {
            lsm_findings_tell(&values->repair->findings, &failure);
            return LSMKV_OK;
        }
        return lsm_error_copy(err, &failure);
    }
    if (values->to == NULL) {
        *placed = field;
        return LSMKV_OK;
    }
    if (values->writer != NULL &&
        lsm_value_writer_size(values->writer) >= VALUE_FILE_BYTES) {
        LSM_TRY(lsm_repair_values_finish(values, err));
    }
    if (values->writer == NULL) {
        LSM_TRY(create_writer(values, err));
    }
    pointer.segment = lsm_value_writer_number(values->writer);
    LSM_TRY(lsm_value_writer_add(values->writer, lsm_buf_slice(&values->value),
                                 &pointer.offset, err));
    memcpy(values->field, field.data, times);
    lsm_pointer_encode(&pointer, values->field + times);
    *placed = lsm_slice_make(values->field, field.size);
out:
    return status;
}

lsmkv_status lsm_repair_values_finish(lsm_repair_values *values, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_edit_segment info;

    if (values->writer == NULL) {
        return LSMKV_OK;
    }
    LSM_TRY(lsm_value_writer_finish(values->writer, &info, err));
    if (!lsm_edit_add_segment(values->edit, &info)) {
        status = lsm_fail_memory(err, sizeof(info));
    }
out:
    lsm_value_writer_destroy(values->writer);
    values->writer = NULL;
    return status;
}

void lsm_repair_values_deinit(lsm_repair_values *values) {
    lsm_file_drop(values->file);
    lsm_value_writer_destroy(values->writer);
    lsm_buf_deinit(&values->value);
}
