/* SPDX-License-Identifier: Apache-2.0
 *
 * See repair_scan.h.
 */
#include "db/repair_scan.h"

void lsm_scan_tell(const lsm_scan *scan, uint64_t from, uint64_t to) {
    lsmkv_error problem;

    (void)lsm_fail_at(&problem, LSMKV_CORRUPTION, scan->name, (int64_t)from,
                      "%llu bytes are damaged", (unsigned long long)(to - from));
    lsm_findings_tell(scan->findings, &problem);
}

/* Whether a record verifies at the place of the scan; while there is effort left. */
static bool is_record(lsm_scan *scan, lsm_record *record) {
    lsm_slice rest =
        lsm_slice_make(scan->file.data + scan->at, scan->file.size - (size_t)scan->at);
    uint64_t size;

    if (!lsm_record_peek(rest.data, scan->at, &size) || size > rest.size ||
        !lsm_effort_allows(&scan->effort, scan->at, size)) {
        return false;
    }
    bool found = lsm_record_parse(rest, scan->file_id, scan->at, record);
    lsm_effort_spend(&scan->effort, size, found);
    return found;
}

bool lsm_scan_next(lsm_scan *scan, lsm_record *record) {
    uint64_t gap = scan->at;

    while (scan->file.size >= LSM_RECORD_HEADER_SIZE &&
           scan->at <= scan->file.size - LSM_RECORD_HEADER_SIZE) {
        if (!is_record(scan, record)) {
            scan->at += LSM_RECORD_ALIGN;
            continue;
        }
        if (gap < scan->at) {
            lsm_scan_tell(scan, gap, scan->at);
        }
        scan->at += record->size;
        gap = scan->at;
        if (record->synced_to > scan->lost_to) {
            scan->lost_to = record->synced_to;
        }
        if (record->type != LSM_RECORD_MARK) {
            return true;
        }
    }
    if (gap < scan->lost_to) {
        lsm_scan_tell(scan, gap, scan->file.size);
    }
    return false;
}

lsmkv_status lsm_scan_open(lsm_repair *repair, lsm_scan *scan,
                           lsm_record_file_type type, lsm_buf *file, bool *readable,
                           lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_record_file_header header = {0};
    lsmkv_error problem;

    *readable = false;
    const char *name = scan->name;
    scan->findings = &repair->findings;
    scan->at = LSM_RECORD_FILE_HEADER_SIZE;
    /* What could not be read is lost, whether it was synced or not. */
    status = lsm_file_rescue(repair->from, name, file, &scan->lost_to, err);
    if (status == LSMKV_NOT_FOUND) {
        (void)lsm_fail_at(&problem, LSMKV_CORRUPTION, name, -1, "the file is missing");
        lsm_findings_tell(&repair->findings, &problem);
        return LSMKV_OK;
    }
    LSM_TRY(status);
    scan->file = lsm_buf_slice(file);
    scan->effort = (lsm_effort){.bytes = file->size};
    status =
        lsm_record_file_header_decode(file->data, file->size, name, &header, &problem);
    if (status == LSMKV_UNSUPPORTED_VERSION) {
        return lsm_error_copy(err, &problem);
    }
    if (status == LSMKV_OK && header.type != type) {
        status =
            lsm_fail_at(&problem, LSMKV_CORRUPTION, name, 0,
                        "a file of type %d, expected %d", (int)header.type, (int)type);
    }
    if (status == LSMKV_OK) {
        scan->file_id = header.file_id;
    } else if (file->size > LSM_RECORD_FILE_HEADER_SIZE) {
        lsm_findings_tell(&repair->findings, &problem);
    }
    repair->findings.report->file_count += 1;
    repair->findings.report->byte_count += file->size;
    *readable = scan->file_id != 0;
    status = LSMKV_OK;
out:
    return status;
}
