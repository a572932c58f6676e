/* SPDX-License-Identifier: Apache-2.0
 *
 * Plans: their order against a sorted reference, for batches of every size and keys of
 * several shapes; malformed batches, cut or extended anywhere; no memory.
 */
#include "memtable_help.h"

#include "base/alloc.h"

LSM_TEST(plan_answers_no_memory_at_each_allocation) {
    lsm_rng rng = {1};
    reference all = {0};
    lsm_batch batch;

    lsm_batch_init(&batch);
    fill_batch(&batch, &all, &rng, &shapes[0], 1, 500);
    for (uint64_t after = 0; after < 2; after++) {
        lsm_mem_plan plan;
        lsmkv_error err;

        lsm_alloc_fail_after(after, 0);
        CHECK_STATUS(lsm_mem_plan_init(&plan, batch_payload(&batch), &err),
                     LSMKV_NO_MEMORY);
        lsm_alloc_fail_never();
    }
    lsm_batch_deinit(&batch);
    free(all.versions);
}

LSM_TEST(plan_refuses_every_batch_that_was_cut_or_extended) {
    lsm_rng rng = {1};
    reference all = {0};
    lsm_batch batch;

    lsm_batch_init(&batch);
    fill_batch(&batch, &all, &rng, &shapes[1], 1, 30);
    lsm_slice payload = batch_payload(&batch);

    for (size_t size = 0; size <= payload.size + 1; size++) {
        /* Copied, so that the address sanitizer sees a byte read too many. */
        size_t kept = size < payload.size ? size : payload.size;
        uint8_t *bytes = calloc(1, size + 1);
        lsm_mem_plan plan;
        lsmkv_error err;

        CHECK(bytes != NULL);
        memcpy(bytes + 1, payload.data, kept);
        lsmkv_status status =
            lsm_mem_plan_init(&plan, lsm_slice_make(bytes + 1, size), &err);

        CHECK_EQ(status, size == payload.size ? LSMKV_OK : LSMKV_INVALID_ARGUMENT);
        if (status == LSMKV_OK) {
            lsm_mem_plan_deinit(&plan);
        }
        free(bytes);
    }
    lsm_batch_deinit(&batch);
    free(all.versions);
}

LSM_TEST(plan_refuses_records_that_break_a_rule) {
    static const struct {
        const char *what;
        uint8_t count;
        uint8_t size;
        uint8_t record[16];
    } rows[] = {
        {"an unknown kind", 1, 7, {9, 4, 0, 0, 0, 1, 0}},
        {"an unknown bit", 1, 7, {0x41, 4, 0, 0, 0, 1, 0}},
        {"a key without namespace", 1, 6, {1, 3, 0, 0, 1, 0}},
        {"a deletion with a value", 1, 8, {2, 4, 0, 0, 0, 1, 1, 'x'}},
        {"an expiry that is cut", 1, 8, {0x11, 4, 0, 0, 0, 1, 1, 'x'}},
        {"no record at all", 0, 0, {0}},
        {"fewer records than it says", 2, 14, {1, 4, 0, 0, 0, 1, 0, 1, 9}},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(rows); i++) {
        uint8_t payload[LSM_BATCH_HEADER_SIZE + 16] = {1};
        lsm_mem_plan plan;
        lsmkv_error err;

        payload[16] = rows[i].count;
        memcpy(payload + LSM_BATCH_HEADER_SIZE, rows[i].record, rows[i].size);
        CHECK_STATUS(
            lsm_mem_plan_init(
                &plan, lsm_slice_make(payload, LSM_BATCH_HEADER_SIZE + rows[i].size),
                &err),
            LSMKV_INVALID_ARGUMENT);
    }
}

LSM_TEST(plan_sorts_by_key_and_newest_version_first) {
    for (uint32_t count = 1; count < 700; count = count * 3 / 2 + 1) {
        for (size_t i = 0; i < LSM_ARRAY_COUNT(shapes); i++) {
            lsm_rng rng = {count};
            reference all = {0};
            lsm_mem_plan plan;
            lsm_batch batch;
            lsmkv_error err;

            lsm_batch_init(&batch);
            fill_batch(&batch, &all, &rng, &shapes[i], 1, count);
            reference_sort(&all);
            CHECK_OK(lsm_mem_plan_init(&plan, batch_payload(&batch), &err));
            for (uint32_t at = 0; at < count; at++) {
                uint32_t place = plan.order == NULL ? at : plan.order[at];
                const lsm_mem_record *record = &plan.records[place];
                lsm_slice expected = version_ikey(&all.versions[at]);
                bool shadowed =
                    at > 0 &&
                    lsm_slice_equal(lsm_ikey_skey(expected),
                                    lsm_ikey_skey(version_ikey(&all.versions[at - 1])));

                CHECK_EQ(record->index + 1,
                         lsm_trailer_sequence(lsm_ikey_trailer(expected)));
                CHECK(lsm_slice_equal(lsm_slice_make(record->skey, record->skey_size),
                                      lsm_ikey_skey(expected)));
                CHECK_EQ(record->shadowed, shadowed);
            }
            lsm_mem_plan_deinit(&plan);
            lsm_batch_deinit(&batch);
            free(all.versions);
        }
    }
}
