/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing tables for what is dead in them.
 *
 * Why a table may go unread when all of it has expired and no deeper table (nor, for
 * level 0, an older one there) overlaps it: what it hides would have to lie in one of
 * those. Values expire under snapshots too, so nobody misses it; but while a snapshot
 * is older than any of it, a conditional put may ask whether something came since.
 *
 * Why this comes to rest: a rewritten table holds nothing that had expired by then, so
 * it is not due again before more has; a table full of tombstones, or of range deletes,
 * which are worth more space than they take, moves down a level
 * each time, and in the last one it is due only if no snapshot needs any of them, and
 * then none is left.
 */
#include "db/compact_pick.h"

#include "base/alloc.h"
#include "base/mutant.h"

static bool overlaps_level(const lsm_level *level, lsm_key_range range, size_t first) {
    for (size_t i = first; i < level->count; i++) {
        if (lsm_range_overlaps(lsm_live_table_range(level->tables[i]), range)) {
            return true;
        }
    }
    return false;
}

/* The same for a level >= 1, whose tables are in order. */
static bool overlaps_sorted(const lsm_level *level, lsm_key_range range) {
    size_t index = lsm_level_find(level, range.smallest);
    return index < level->count &&
           lsm_range_overlaps(lsm_live_table_range(level->tables[index]), range);
}

static bool may_drop(const lsm_version *version, uint32_t level, size_t index,
                     const lsm_pick_moment *moment) {
    const lsm_live_table *table = version->levels[level].tables[index];
    lsm_key_range range = lsm_live_table_range(table);

    if (table->compacting || table->info.expire_all_at == 0 ||
        table->info.expire_all_at > moment->now_ms ||
        table->info.sequence_max > moment->oldest_sequence ||
        (level == 0 && overlaps_level(&version->levels[0], range, index + 1))) {
        return false;
    }
    for (uint32_t below = level + 1; below < LSMKV_LEVEL_COUNT; below++) {
        if (!LSM_MUTANT(EXPIRED_TABLE_DROPPED_OVER_OLDER) &&
            overlaps_sorted(&version->levels[below], range)) {
            return false;
        }
    }
    return true;
}

static lsmkv_status add_input(const lsm_level *level, size_t index, lsm_pick *pick,
                              lsmkv_error *err) {
    if (pick->inputs[0] == NULL) {
        pick->inputs[0] = lsm_calloc(level->count, sizeof(lsm_live_table *));
        if (pick->inputs[0] == NULL) {
            return lsm_fail_memory(err, level->count * sizeof(lsm_live_table *));
        }
    }
    pick->inputs[0][pick->input_counts[0]++] = level->tables[index];
    return LSMKV_OK;
}

lsmkv_status lsm_pick_expired(const lsm_version *version, const lsm_pick_moment *moment,
                              lsm_pick *pick, lsmkv_error *err) {
    *pick = (lsm_pick){.score = 1, .drop = true};
    for (uint32_t number = 0; number < LSMKV_LEVEL_COUNT; number++) {
        const lsm_level *level = &version->levels[number];
        for (size_t i = 0; i < level->count; i++) {
            if (may_drop(version, number, i, moment) &&
                add_input(level, i, pick, err) != LSMKV_OK) {
                return LSMKV_NO_MEMORY;
            }
        }
        if (pick->input_counts[0] > 0) {
            pick->level = number;
            pick->output_level = number;
            return LSMKV_OK;
        }
    }
    *pick = (lsm_pick){0};
    return LSMKV_NOT_FOUND;
}

static bool half_expired(const lsm_table_info *info, uint64_t now_ms) {
    return info->expire_half_at != 0 && info->expire_half_at <= now_ms;
}

/* `last`: nothing lies deeper. In level 0, which is compacted soon, tombstones wait. */
static bool is_due(const lsm_table_info *info, uint32_t level, bool last,
                   const lsm_pick_moment *moment) {
    if (half_expired(info, moment->now_ms)) {
        return true;
    }
    return level > 0 &&
           info->tombstone_count + info->range_delete_count > info->entry_count / 2 &&
           (!last || info->sequence_max <= moment->oldest_sequence);
}

static uint32_t last_level(const lsm_version *version) {
    uint32_t level = LSMKV_LEVEL_COUNT - 1;
    while (level > 0 && version->levels[level].count == 0) {
        level--;
    }
    return level;
}

/* Rewrites one table. NOT_FOUND: inputs are taken. */
static lsmkv_status pick_table(const lsm_version *version, const lsm_options *options,
                               uint32_t level, size_t index, lsm_pick *pick,
                               lsmkv_error *err) {
    const lsm_live_table *table = version->levels[level].tables[index];
    bool last = level > 0 && level == last_level(version);
    lsmkv_status status = LSMKV_NOT_FOUND;

    *pick = (lsm_pick){0};
    if (!last) {
        status = lsm_pick_push(version, options, level, index, pick, err);
    } else if (!table->compacting) {
        pick->level = level;
        pick->output_level = level;
        status = add_input(&version->levels[level], index, pick, err);
    }
    pick->score = 1;
    return status;
}

lsmkv_status lsm_pick_dead(const lsm_version *version, const lsm_options *options,
                           const lsm_pick_moment *moment, lsm_pick *pick,
                           lsmkv_error *err) {
    uint32_t last = last_level(version);

    for (uint32_t number = 0; number <= last; number++) {
        const lsm_level *level = &version->levels[number];
        for (size_t i = 0; i < level->count; i++) {
            const lsm_table_info *info = &level->tables[i]->info;
            if (!is_due(info, number, number == last, moment)) {
                continue;
            }
            lsmkv_status status = pick_table(version, options, number, i, pick, err);
            if (status == LSMKV_NOT_FOUND) {
                continue;
            }
            /* What has expired would only be moved along. */
            if (number > 0 && half_expired(info, moment->now_ms)) {
                pick->move = false;
            }
            return status;
        }
    }
    *pick = (lsm_pick){0};
    return LSMKV_NOT_FOUND;
}

uint64_t lsm_pick_next_due(const lsm_version *version, uint64_t now_ms) {
    uint64_t next = LSM_NEVER;

    for (uint32_t number = 0; number < LSMKV_LEVEL_COUNT; number++) {
        const lsm_level *level = &version->levels[number];
        for (size_t i = 0; i < level->count; i++) {
            const lsm_table_info *info = &level->tables[i]->info;
            const uint64_t times[] = {info->expire_half_at, info->expire_all_at};
            for (size_t k = 0; k < LSM_ARRAY_COUNT(times); k++) {
                if (times[k] > now_ms && times[k] < next) {
                    next = times[k];
                }
            }
        }
    }
    return next;
}
