/* SPDX-License-Identifier: Apache-2.0
 *
 * Names and texts of the status map, and the one place that formats error messages.
 * A message that does not fit is cut; the buffers are always terminated.
 */
#include "base/status.h"

#include <stdio.h>
#include <string.h>

#include "base/budget.h"
#include "base/limits.h"

const char *lsmkv_status_name(lsmkv_status status) {
    switch (status) {
#define LSM_STATUS_CASE(name, number, text) \
    case LSMKV_##name:                      \
        return #name;
        LSMKV_STATUS_MAP(LSM_STATUS_CASE)
#undef LSM_STATUS_CASE
    }
    return "UNKNOWN";
}

const char *lsmkv_status_text(lsmkv_status status) {
    switch (status) {
#define LSM_STATUS_CASE(name, number, text) \
    case LSMKV_##name:                      \
        return text;
        LSMKV_STATUS_MAP(LSM_STATUS_CASE)
#undef LSM_STATUS_CASE
    }
    return "unknown status";
}

const char *lsmkv_version(void) {
    return "0.1.0";
}

void lsm_error_clear(lsmkv_error *err) {
    if (err != NULL) {
        *err = (lsmkv_error){.status = LSMKV_OK, .offset = -1};
    }
}

/* Formats behind the first `used` bytes of the message. */
static LSM_PRINTF(3, 0) void format_message(lsmkv_error *err, size_t used,
                                            const char *format, va_list arguments) {
    size_t room = sizeof(err->message) - used;

    if (vsnprintf(err->message + used, room, format, arguments) < 0) {
        err->message[used] = '\0';
    }
}

lsmkv_status lsm_fail(lsmkv_error *err, lsmkv_status status, const char *format, ...) {
    if (err != NULL) {
        va_list arguments;

        lsm_error_clear(err);
        err->status = status;
        va_start(arguments, format);
        format_message(err, 0, format, arguments);
        va_end(arguments);
    }
    return status;
}

lsmkv_status lsm_fail_at(lsmkv_error *err, lsmkv_status status, const char *file,
                         int64_t offset, const char *format, ...) {
    if (err != NULL) {
        va_list arguments;
        int used = 0;

        lsm_error_clear(err);
        err->status = status;
        err->offset = offset;
        if (snprintf(err->file, sizeof(err->file), "%s", file) < 0) {
            err->file[0] = '\0';
        }
        /* The field holds at most 63 bytes, so the prefix always fits. */
        if (offset < 0) {
            used = snprintf(err->message, sizeof(err->message), "%s: ", err->file);
        } else {
            used = snprintf(err->message, sizeof(err->message), "%s@%lld: ", err->file,
                            (long long)offset);
        }
        va_start(arguments, format);
        format_message(err, used < 0 ? 0 : (size_t)used, format, arguments);
        va_end(arguments);
    }
    return status;
}

lsmkv_status lsm_fail_memory(lsmkv_error *err, size_t bytes) {
    uint64_t wanted = 0;

    if (lsm_budget_refused(&wanted)) {
        return lsm_fail(err, LSMKV_LIMIT_EXCEEDED,
                        "%llu bytes more do not fit into memory_bytes, which is "
                        "%llu; " LSM_LIMIT_ADVICE,
                        (unsigned long long)wanted,
                        (unsigned long long)lsm_budget_current->max);
    }
    return lsm_fail(err, LSMKV_NO_MEMORY, "cannot allocate %zu bytes", bytes);
}

lsmkv_status lsm_fail_limit(lsmkv_error *err, const char *file, const char *what,
                            uint64_t found, uint64_t max) {
    const char *format = "%s: %llu, and at most %llu here; " LSM_LIMIT_ADVICE;

    return file == NULL
               ? lsm_fail(err, LSMKV_LIMIT_EXCEEDED, format, what,
                          (unsigned long long)found, (unsigned long long)max)
               : lsm_fail_at(err, LSMKV_LIMIT_EXCEEDED, file, -1, format, what,
                             (unsigned long long)found, (unsigned long long)max);
}

lsmkv_status lsm_error_copy(lsmkv_error *to, const lsmkv_error *from) {
    if (to != NULL && to != from) {
        *to = *from;
    }
    return from->status;
}
