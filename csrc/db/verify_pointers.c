/* SPDX-License-Identifier: Apache-2.0
 *
 * One scan of a table, up to what cannot be read of it.
 */
#include "db/verify_pointers.h"

#include "format/segment_shares.h"

/* One table. */
typedef struct pointer_scan {
    const lsm_pointer_check *check;
    lsm_segment_shares shares;
    lsm_buf value;
} pointer_scan;

static void tell(const lsm_pointer_check *check, const lsmkv_error *problem) {
    check->on_problem(check->context, problem);
}

/* false: no memory, which *problem tells. */
static bool check_entry(pointer_scan *scan, const lsm_iter *iter,
                        lsmkv_error *problem) {
    uint8_t tag = lsm_trailer_tag(lsm_ikey_trailer(iter->key));
    lsm_slice value;
    lsmkv_status status;
    bool tried = false;

    if (lsm_tag_kind(tag) != LSM_KIND_POINTER) {
        return true;
    }
    lsm_pointer pointer = lsm_pointer_of_field(tag, iter->value);
    lsm_segment *segment =
        lsm_version_find_segment(scan->check->version, pointer.segment);
    if (!lsm_segment_shares_add(&scan->shares, pointer.segment,
                                lsm_pointer_room(&pointer))) {
        (void)lsm_fail_memory(problem, sizeof(lsm_segment_share));
        return false;
    }
    if (segment == NULL) {
        return true; /* seen when the shares are compared */
    }
    lsm_error_clear(problem);
    do {
        lsm_buf_clear(&scan->value);
        status =
            lsm_segment_read(segment, &pointer, false, &scan->value, &value, problem);
    } while (lsm_db_again(scan->check->db, status, problem, &tried));
    if (status != LSMKV_OK) {
        tell(scan->check, problem);
    }
    return true;
}

static void check_shares(const pointer_scan *scan, const lsm_table_info *info) {
    char name[LSM_FILENAME_SIZE];
    lsmkv_error problem;
    bool same = scan->shares.count == info->segment_count;

    for (size_t i = 0; same && i < info->segment_count; i++) {
        same = scan->shares.shares[i].number == info->segments[i].number &&
               scan->shares.shares[i].bytes == info->segments[i].bytes;
    }
    if (!same) {
        lsm_filename_make(name, LSM_NAME_TABLE, info->number);
        (void)lsm_fail_at(&problem, LSMKV_CORRUPTION, name, -1,
                          "the table points to other segments, or other numbers of "
                          "bytes in them, than the MANIFEST says");
        tell(scan->check, &problem);
    }
}

void lsm_verify_pointers(const lsm_pointer_check *check, lsm_table *table,
                         const lsm_live_table *live, bool told) {
    pointer_scan scan = {.check = check};
    lsmkv_error problem;
    lsm_iter *iter = lsm_table_iter(table, LSM_ACCESS_SCAN);
    bool ok = true;

    lsm_error_clear(&problem);
    if (iter == NULL) {
        (void)lsm_fail_memory(&problem, sizeof(*iter));
        tell(check, &problem);
        return;
    }
    for (lsm_iter_seek_first(iter); ok && iter->valid; lsm_iter_next(iter)) {
        ok = check_entry(&scan, iter, &problem);
    }
    if (!ok) {
        tell(check, &problem);
    } else if (iter->status == LSMKV_OK) {
        check_shares(&scan, &live->info);
    } else if (!told || iter->status == LSMKV_NO_MEMORY) {
        tell(check, &iter->error);
    }
    lsm_iter_destroy(iter);
    lsm_segment_shares_deinit(&scan.shares);
    lsm_buf_deinit(&scan.value);
}
