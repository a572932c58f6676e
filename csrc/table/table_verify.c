/* SPDX-License-Identifier: Apache-2.0
 *
 * Checking a table, from the file and past the cache.
 *
 * The tail is checked by reading it a second time. The data blocks are then read
 * in file order with the index in memory; decoding one checks its frame, its order and
 * its separators, and what is left to check is that readers find what is there: every
 * key passes the filter and is found by the block's hash slots.
 */
#include "base/alloc.h"
#include "table/table_private.h"

enum { READ_SIZE = 256 << 10 };

typedef struct table_check {
    lsm_table *table;
    lsmkv_problem_fn on_problem;
    void *context;
    lsmkv_report *report;
    lsm_block_room room;
    bool damaged; /* a block could not be read: totals mean nothing */
    uint64_t entry_count;
    uint64_t tombstone_count;
    uint64_t raw_bytes;
} table_check;

static void report_problem(table_check *check, const lsmkv_error *problem) {
    check->report->problem_count++;
    if (check->on_problem != NULL) {
        check->on_problem(check->context, problem);
    }
}

static LSM_COLD void report_entry(table_check *check, uint32_t block, uint32_t index,
                                  const char *what) {
    lsmkv_error problem;

    lsm_error_clear(&problem);
    (void)lsm_fail_at(&problem, LSMKV_CORRUPTION, check->table->name,
                      (int64_t)check->table->index.offsets[block],
                      "entry %u of this data block: %s", index, what);
    report_problem(check, &problem);
}

static void check_tail(table_check *check) {
    lsmkv_error problem;

    lsm_error_clear(&problem);
    if (lsm_table_check_tail(check->table, &problem) != LSMKV_OK) {
        report_problem(check, &problem);
    }
}

/* Looks for an entry the way a point read does. */
static void check_lookup(table_check *check, uint32_t number, uint32_t index,
                         lsm_block_entry entry) {
    const lsm_block *block = &check->room.block->block;
    uint64_t trailer = lsm_ikey_trailer(entry.ikey);
    lsm_lookup lookup =
        lsm_lookup_make(lsm_ikey_skey(entry.ikey), lsm_trailer_sequence(trailer));
    lsm_found found = {0};

    if (!lsm_bloom_may_contain(&check->table->bloom, lookup.hash)) {
        report_entry(check, number, index, "the filter denies its key");
    }
    if (lsm_block_get(block, &lookup, &found) != LSMKV_OK || found.trailer != trailer ||
        found.field.data != entry.field.data) {
        report_entry(check, number, index, "a point read does not find it");
    }
    if (lsm_table_index_find(&check->table->index, lookup.skey,
                             lsm_trailer_make(lookup.sequence, LSM_TAG_SEEK)) !=
        number) {
        report_entry(check, number, index, "the index leads to another block");
    }
}

static void check_entries(table_check *check, uint32_t number) {
    const lsm_block *block = &check->room.block->block;
    const lsm_table_info *info = &check->table->info;

    for (uint32_t i = 0; i < block->entry_count; i++) {
        lsm_block_entry entry = lsm_block_entry_get(block, i);
        uint64_t trailer = lsm_ikey_trailer(entry.ikey);
        uint64_t sequence = lsm_trailer_sequence(trailer);

        if (sequence < info->sequence_min || sequence > info->sequence_max) {
            report_entry(check, number, i, "its sequence is outside the table's");
        }
        if (info->expire_all_at != 0 &&
            lsm_expire_at(lsm_trailer_tag(trailer), entry.field) >
                info->expire_all_at) {
            report_entry(check, number, i, "it outlives what the MANIFEST says of all");
        }
        if (!lsm_kind_fits(lsm_trailer_tag(trailer), lsm_ikey_skey(entry.ikey))) {
            report_entry(check, number, i, "a cached value, in no cache");
        }
        check_lookup(check, number, i, entry);
        check->tombstone_count +=
            lsm_tag_kind(lsm_trailer_tag(trailer)) == LSM_KIND_DELETE;
        check->raw_bytes += entry.ikey.size + entry.field.size;
    }
    check->entry_count += block->entry_count;
}

/* Reads the blocks [begin, end) at once and checks them. */
static void check_run(table_check *check, uint32_t begin, uint32_t end,
                      uint8_t *buffer) {
    const uint64_t *offsets = check->table->index.offsets;
    lsmkv_error problem;

    lsm_error_clear(&problem);
    if (lsm_file_read_exact(check->table->file, offsets[begin], buffer,
                            (size_t)(offsets[end] - offsets[begin]),
                            &problem) != LSMKV_OK) {
        report_problem(check, &problem);
        check->damaged = true;
        return;
    }
    for (uint32_t number = begin; number < end; number++) {
        lsm_slice stored =
            lsm_slice_make(buffer + (size_t)(offsets[number] - offsets[begin]),
                           (size_t)(offsets[number + 1] - offsets[number]));

        check->report->block_count++;
        lsm_error_clear(&problem);
        if (lsm_table_decode(check->table, number, stored, LSM_USE_LOOKUP, &check->room,
                             &problem) == LSMKV_OK) {
            check_entries(check, number);
        } else {
            report_problem(check, &problem);
            check->damaged = true;
        }
    }
}

/* The end of a run of blocks of about READ_SIZE bytes that begins with `begin`. */
static uint32_t pick_run_end(const lsm_table *table, uint32_t begin) {
    const uint64_t *offsets = table->index.offsets;
    uint32_t end = begin + 1;

    while (end < table->index.block_count &&
           offsets[end + 1] - offsets[begin] <= READ_SIZE) {
        end++;
    }
    return end;
}

static void check_blocks(table_check *check) {
    const lsm_table *table = check->table;
    const uint64_t *offsets = table->index.offsets;
    size_t capacity = READ_SIZE;
    uint8_t *buffer = NULL;
    lsmkv_error problem;

    for (uint32_t i = 0; i < table->index.block_count; i++) {
        size_t size = (size_t)(offsets[i + 1] - offsets[i]);

        capacity = size > capacity ? size : capacity;
    }
    buffer = lsm_alloc(capacity);
    if (buffer == NULL) {
        lsm_error_clear(&problem);
        (void)lsm_fail_memory(&problem, capacity);
        report_problem(check, &problem);
        check->damaged = true;
        return;
    }
    for (uint32_t begin = 0; begin < table->index.block_count;) {
        uint32_t end = pick_run_end(table, begin);

        check_run(check, begin, end, buffer);
        begin = end;
    }
    lsm_free(buffer);
}

static void check_totals(table_check *check) {
    const lsm_table_info *info = &check->table->info;
    lsmkv_error problem;

    lsm_error_clear(&problem);
    if (info->expire_all_at != 0 && info->range_delete_count != 0) {
        (void)lsm_fail_at(&problem, LSMKV_CORRUPTION, check->table->name, -1,
                          "the MANIFEST says that all of the table expires, but it "
                          "holds range deletes, which do not");
        report_problem(check, &problem);
    }
    if (check->damaged || (check->entry_count == info->entry_count &&
                           check->tombstone_count == info->tombstone_count &&
                           check->raw_bytes == info->raw_bytes)) {
        return;
    }
    (void)lsm_fail_at(
        &problem, LSMKV_CORRUPTION, check->table->name, -1,
        "%llu entries and %llu bytes in its blocks, expected %llu and %llu",
        (unsigned long long)check->entry_count, (unsigned long long)check->raw_bytes,
        (unsigned long long)info->entry_count, (unsigned long long)info->raw_bytes);
    report_problem(check, &problem);
}

void lsm_table_verify(lsm_table *table, lsmkv_problem_fn on_problem, void *context,
                      lsmkv_report *report) {
    table_check check = {
        .table = table, .on_problem = on_problem, .context = context, .report = report};

    check_tail(&check);
    check_blocks(&check);
    check_totals(&check);
    lsm_cached_block_unref(check.room.block);
    report->file_count++;
    report->record_count += check.entry_count;
    report->byte_count += table->info.file_size;
}
