/* SPDX-License-Identifier: Apache-2.0
 *
 * How many keys a range has, about. Entries are added up from what is known of
 * memtables and tables without reading them; where those are few, the keys are counted
 * one by one, which is exact. The cost is bounded either way.
 */
#include "db/db.h"
#include "db/db_iter.h"
#include "table/tally.h"

enum { EXACT_MAX = 4096 };

static bool lies_inside(const lsm_live_table *live, const lsm_key_range *range) {
    return lsm_slice_compare(lsm_ikey_skey(live->info.smallest), range->smallest) >=
               0 &&
           lsm_slice_compare(lsm_ikey_skey(live->info.largest), range->largest) < 0;
}

/* What is done with a table that holds keys of the range. */
typedef lsmkv_status (*table_fn)(lsmkv_db *db, lsm_live_table *live,
                                 const lsm_key_range *range, void *to,
                                 lsmkv_error *err);

static lsmkv_status tally_table(lsmkv_db *db, lsm_live_table *live,
                                const lsm_key_range *range, void *to,
                                lsmkv_error *err) {
    lsm_tally *tally = to;
    lsm_table *table;

    if (lies_inside(live, range)) {
        tally->entries += live->info.entry_count;
        tally->tombstones += live->info.tombstone_count;
        return LSMKV_OK;
    }
    lsmkv_status status =
        lsm_table_cache_get(&db->table_cache, live, false, &table, err);
    if (status == LSMKV_OK) {
        lsm_table_tally(table, range->smallest, range->largest, tally);
    }
    return status;
}

/* Of all tables only those that hold an end of the range are opened. */
static lsmkv_status for_each_table(lsmkv_db *db, const lsm_version *version,
                                   const lsm_key_range *range, table_fn call, void *to,
                                   lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    for (size_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        const lsm_level *level = &version->levels[i];
        for (size_t j = i == 0 ? 0 : lsm_level_find(level, range->smallest);
             j < level->count; j++) {
            if (lsm_range_overlaps(lsm_live_table_range(level->tables[j]), *range)) {
                LSM_TRY(call(db, level->tables[j], range, to, err));
            } else if (i > 0) {
                break;
            }
        }
    }
out:
    return status;
}

/* Adds the bytes of a table, and of the large values it points to, that belong to the
 * range: by its share of the entries, or half, where the table is not open. */
static lsmkv_status add_bytes(lsmkv_db *db, lsm_live_table *live,
                              const lsm_key_range *range, void *to, lsmkv_error *err) {
    uint64_t *bytes = to;
    uint64_t whole = live->info.file_size;
    lsm_tally tally = {0};
    lsm_table *table;

    (void)err;
    for (size_t i = 0; i < live->info.segment_count; i++) {
        whole += live->info.segments[i].bytes;
    }
    if (lies_inside(live, range)) {
        *bytes += whole;
    } else if (lsm_table_cache_get(&db->table_cache, live, true, &table, NULL) ==
               LSMKV_OK) {
        lsm_table_tally(table, range->smallest, range->largest, &tally);
        double share = (double)tally.entries / (double)live->info.entry_count;
        *bytes += (uint64_t)(share < 1 ? (double)whole * share : (double)whole);
    } else {
        *bytes += whole / 2;
    }
    return LSMKV_OK;
}

uint64_t lsm_db_bytes(lsmkv_db *db, const lsm_key_range *range) {
    uint64_t bytes = 0;
    /* Nothing in it fails. */
    lsm_ignore(for_each_table(db, lsm_db_readstate(db)->version, range, add_bytes,
                              &bytes, NULL));
    return bytes;
}

static lsmkv_status count_exactly(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                                  const lsm_key_range *range, uint64_t *count,
                                  lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_iter *iter = NULL;

    LSM_TRY(
        lsm_db_iter_create(db, snapshot, range->smallest, range->largest, &iter, err));
    iter->keys_only = true;
    lsm_db_iter_seek_first(iter);
    for (; iter->valid; lsm_db_iter_next(iter)) {
        *count += 1;
    }
    status = iter->status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &iter->error);
out:
    lsm_db_iter_destroy(iter);
    return status;
}

lsmkv_status lsm_db_count(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                          const lsm_key_range *range, uint64_t *count,
                          lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_tally tally = {0};
    const lsm_readstate *state = lsm_db_state_of(db, snapshot);

    *count = 0;
    if (lsm_slice_compare(range->smallest, range->largest) >= 0) {
        return LSMKV_OK;
    }
    lsm_memtable_tally(state->mem, range->smallest, range->largest, &tally);
    for (size_t i = 0; i < state->immutable_count; i++) {
        lsm_memtable_tally(state->immutables[i], range->smallest, range->largest,
                           &tally);
    }
    LSM_TRY(for_each_table(db, state->version, range, tally_table, &tally, err));
    if (tally.entries <= EXACT_MAX) {
        return count_exactly(db, snapshot, range, count, err);
    }
    /* Each tombstone is an entry itself, and most often hides another. */
    uint64_t hidden = 2 * tally.tombstones;
    *count = hidden < tally.entries ? tally.entries - hidden : 0;
out:
    return status;
}
