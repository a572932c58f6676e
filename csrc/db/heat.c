/* SPDX-License-Identifier: Apache-2.0
 *
 * Handing heat on. When a compaction's result is installed, every hot block of its
 * inputs is exchanged for the blocks of the outputs with the same keys, so that readers
 * do not meet a cold cache. No more bytes are loaded than are given up, and the lower
 * level goes first, whose blocks have few heirs: a block of level 0 may have its keys
 * all over the outputs.
 *
 * The outputs were written a moment ago: their blocks come from the system's memory.
 */
#include "db/job.h"

#include "base/alloc.h"

typedef struct heirs {
    lsmkv_db *db;
    lsm_table **tables; /* owned array, a reference each, ascending keys */
    size_t count;
    uint64_t bytes_given; /* of hot blocks given up so far */
    uint64_t bytes_taken; /* of blocks loaded in their place */
} heirs;

/* Opens what the job has written. */
static bool open_heirs(const lsm_job *job, heirs *to) {
    lsmkv_db *db = job->db;

    *to = (heirs){.db = db};
    if (job->edit.added_count == 0) {
        return false;
    }
    to->tables = lsm_calloc(job->edit.added_count, sizeof(lsm_table *));
    if (to->tables == NULL) {
        return false;
    }
    lsm_mutex_lock(&db->mu);
    lsm_version *version = db->version;
    lsm_version_ref(version);
    lsm_mutex_unlock(&db->mu);
    for (size_t i = 0; i < job->edit.added_count; i++) {
        lsm_live_table *live =
            lsm_version_find_table(version, job->edit.added[i].info.number);
        lsm_table *table =
            live != NULL ? lsm_table_cache_hold(&db->table_cache, live, false) : NULL;

        if (table != NULL) {
            to->tables[to->count++] = table;
        }
    }
    lsm_version_unref(version);
    return true;
}

static void close_heirs(heirs *to) {
    for (size_t i = 0; i < to->count; i++) {
        lsm_table_unref(to->tables[i]);
    }
    lsm_free(to->tables);
}

/* Exchanges one hot block. */
static void bequeath(lsm_table *from, uint32_t block, heirs *to) {
    lsm_epoch_token token = lsm_epoch_enter(&to->db->epoch);

    to->bytes_given += lsm_table_cool(from, block);
    for (size_t i = 0; i < to->count && to->bytes_taken < to->bytes_given; i++) {
        to->bytes_taken += lsm_table_hand_on(from, block, to->tables[i],
                                             to->bytes_given - to->bytes_taken);
    }
    lsm_epoch_leave(token);
}

static void bequeath_all(lsm_live_table *live, heirs *to) {
    lsm_table *from = lsm_table_cache_hold(&to->db->table_cache, live, true);

    if (from == NULL) {
        return; /* not open: none of its blocks is in the cache */
    }
    uint32_t count = lsm_table_block_count(from);
    for (uint32_t block = 0; block < count && !atomic_load(&to->db->stopping);
         block++) {
        block = lsm_table_next_hot(from, block);
        if (block < count) {
            bequeath(from, block, to);
        }
    }
    lsm_table_unref(from);
}

void lsm_job_hand_on_heat(const lsm_job *job) {
    heirs to;

    if (job->flush || job->pick.move || lsm_cache_capacity(job->db->cache) == 0) {
        return;
    }
    if (open_heirs(job, &to)) {
        for (int side = 1; side >= 0; side--) {
            for (size_t i = 0; i < job->pick.input_counts[side]; i++) {
                bequeath_all(job->pick.inputs[side][i], &to);
            }
        }
    }
    close_heirs(&to);
}
