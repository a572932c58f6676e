/* SPDX-License-Identifier: Apache-2.0
 *
 * The readstate: what a read needs, gathered in one immutable object. It is replaced
 * whenever the memtable is rotated or the version changes, and freed after the readers
 * that may have loaded it have left the epoch.
 */
#include "db/db.h"

#include "base/alloc.h"

lsm_readstate *lsm_readstate_alloc(size_t immutable_max, size_t log_max) {
    size_t pointers =
        immutable_max * sizeof(lsm_memtable *) + log_max * sizeof(lsm_segment *);
    lsm_readstate *state = lsm_calloc(1, sizeof(*state) + pointers);

    if (state != NULL) {
        state->logs = (lsm_segment **)(void *)(state->immutables + immutable_max);
    }
    return state;
}

static void destroy(lsm_readstate *state) {
    lsm_memtable_unref(state->mem);
    for (size_t i = 0; i < state->immutable_count; i++) {
        lsm_memtable_unref(state->immutables[i]);
    }
    for (size_t i = 0; i < state->log_count; i++) {
        lsm_segment_unref(state->logs[i]);
    }
    lsm_version_unref(state->version);
    lsm_free(state);
}

lsm_segment *lsm_readstate_segment(const lsm_readstate *state, uint64_t number) {
    for (size_t i = 0; i < state->log_count; i++) {
        if (state->logs[i]->number == number) {
            return state->logs[i];
        }
    }
    return lsm_version_find_segment(state->version, number);
}

void lsm_readstate_add_log(lsm_readstate *state, lsm_segment *log) {
    lsm_segment_ref(log);
    state->logs[state->log_count++] = log;
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

void lsm_readstate_replace_locked(lsmkv_db *db, lsm_readstate *state) {
    /* release: pairs with the acquire of lsm_db_readstate. */
    lsm_readstate *old =
        atomic_exchange_explicit(&db->readstate, state, memory_order_acq_rel);
    if (old != NULL) {
        lsm_epoch_retire(&db->epoch, &old->retired, release);
    }
}

void lsm_readstate_publish_locked(lsmkv_db *db, lsm_readstate *spare) {
    atomic_init(&spare->refs, 1);
    spare->mem = db->mem;
    lsm_memtable_ref(spare->mem);
    if (db->log_count > 0) { /* the last flush of a close leaves none, and no reader */
        lsm_readstate_add_log(spare, db->logs[db->log_count - 1].segment);
    }
    spare->immutable_count = db->immutable_count;
    for (size_t i = 0; i < db->immutable_count; i++) {
        lsm_memtable *mem = db->immutables[db->immutable_count - 1 - i].mem;
        lsm_memtable_ref(mem);
        spare->immutables[i] = mem;
        lsm_readstate_add_log(spare, db->immutables[db->immutable_count - 1 - i].log);
    }
    spare->version = db->version;
    lsm_version_ref(spare->version);
    lsm_readstate_replace_locked(db, spare);
}
