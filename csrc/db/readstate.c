/* SPDX-License-Identifier: Apache-2.0
 *
 * The readstate: what a read needs, gathered in one immutable object. It is replaced
 * whenever the memtable is rotated or the version changes, and freed after the readers
 * that may have loaded it have left the epoch.
 */
#include "db/db.h"

#include "base/alloc.h"

lsm_readstate *lsm_readstate_alloc(size_t immutable_max) {
    return lsm_calloc(1,
                      sizeof(lsm_readstate) + immutable_max * sizeof(lsm_memtable *));
}

static void destroy(lsm_readstate *state) {
    lsm_memtable_unref(state->mem);
    for (size_t i = 0; i < state->immutable_count; i++) {
        lsm_memtable_unref(state->immutables[i]);
    }
    lsm_version_unref(state->version);
    lsm_free(state);
}

void lsm_readstate_ref(lsm_readstate *state) {
    /* relaxed: the caller holds the state through its epoch or another reference. */
    atomic_fetch_add_explicit(&state->refs, 1, memory_order_relaxed);
}

void lsm_readstate_unref(lsm_readstate *state) {
    if (state != NULL &&
        atomic_fetch_sub_explicit(&state->refs, 1, memory_order_acq_rel) == 1) {
        destroy(state);
    }
}

static void release(lsm_retired *retired) {
    lsm_readstate_unref(LSM_CONTAINER_OF(retired, lsm_readstate, retired));
}

void lsm_readstate_publish_locked(lsmkv_db *db, lsm_readstate *spare) {
    atomic_init(&spare->refs, 1);
    spare->mem = db->mem;
    lsm_memtable_ref(spare->mem);
    spare->immutable_count = db->immutable_count;
    for (size_t i = 0; i < db->immutable_count; i++) {
        lsm_memtable *mem = db->immutables[db->immutable_count - 1 - i].mem;
        lsm_memtable_ref(mem);
        spare->immutables[i] = mem;
    }
    spare->version = db->version;
    lsm_version_ref(spare->version);
    /* release: pairs with the acquire of lsm_db_readstate. */
    lsm_readstate *old =
        atomic_exchange_explicit(&db->readstate, spare, memory_order_acq_rel);
    if (old != NULL) {
        lsm_epoch_retire(&db->epoch, &old->retired, release);
    }
}
