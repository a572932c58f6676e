/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots: sequences that must stay readable, in a list ordered by age. Compaction
 * asks for the list when it starts; a snapshot made later is newer than everything the
 * compaction reads, so it cannot miss what was dropped.
 */
#include "db/db.h"

#include "base/alloc.h"

lsmkv_status lsm_snapshots_list_locked(lsmkv_db *db, uint64_t **sequences,
                                       size_t *count, lsmkv_error *err) {
    size_t n = 1;
    for (lsm_list *at = db->snapshots.next; at != &db->snapshots; at = at->next) {
        n += 1;
    }
    *count = 0;
    *sequences = lsm_alloc(n * sizeof(uint64_t));
    if (*sequences == NULL) {
        return lsm_fail_memory(err, n * sizeof(uint64_t));
    }
    for (lsm_list *at = db->snapshots.next; at != &db->snapshots; at = at->next) {
        uint64_t sequence = LSM_CONTAINER_OF(at, lsmkv_snapshot, link)->sequence;
        if (*count == 0 || (*sequences)[*count - 1] != sequence) {
            (*sequences)[(*count)++] = sequence;
        }
    }
    uint64_t newest = lsm_db_published(db);
    if (*count == 0 || (*sequences)[*count - 1] != newest) {
        (*sequences)[(*count)++] = newest;
    }
    return LSMKV_OK;
}

lsmkv_status lsm_snapshot_open(lsmkv_db *db, lsmkv_snapshot **snapshotp,
                               lsmkv_error *err) {
    lsmkv_snapshot *snapshot = lsm_alloc(sizeof(*snapshot));
    *snapshotp = NULL;
    if (snapshot == NULL) {
        return lsm_fail_memory(err, sizeof(*snapshot));
    }
    snapshot->db = db;
    snapshot->state = NULL;
    lsm_db_ref(db);
    lsm_mutex_lock(&db->mu);
    if (db->follow != NULL) {
        snapshot->state = lsm_db_readstate(db); /* replaced under mu only */
        lsm_readstate_ref(snapshot->state);
    }
    snapshot->sequence = lsm_db_published(db);
    lsm_list_insert(&db->snapshots, &snapshot->link);
    lsm_mutex_unlock(&db->mu);
    *snapshotp = snapshot;
    return LSMKV_OK;
}

void lsm_snapshot_close(lsmkv_snapshot *snapshot) {
    if (snapshot == NULL) {
        return;
    }
    lsmkv_db *db = snapshot->db;
    if (db->fork_generation == lsm_fork_generation()) {
        lsm_mutex_lock(&db->mu);
        lsm_list_remove(&snapshot->link);
        lsm_mutex_unlock(&db->mu);
        lsm_readstate_unref(snapshot->state);
    }
    lsm_free(snapshot);
    lsm_db_unref(db);
}
