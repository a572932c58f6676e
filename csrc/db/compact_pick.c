/* SPDX-License-Identifier: Apache-2.0
 *
 * The choice, in order, between what pick_dead.c finds before and after it:
 *
 *   1. targets: from the size of the last level with data upwards
 *   2. scores: level 0 by table count, the others by the bytes that are not already on
 *      their way down, divided by the target
 *   3. levels with a score of 1 or more are tried from the highest score on, but level
 *      0 first of all once it slows writers down: no other work would let them go on
 *   4. the level's best candidate whose inputs are all free is taken
 *
 * Why concurrent jobs cannot write overlapping tables into one level: a job's inputs
 * in its output level are everything that its range overlaps there, and they are
 * marked. A second job into the same level comes from the same level above (those in
 * between are empty), where its tables are disjoint from the first one's, and it would
 * have to share an input below to overlap it. Level 0 has one job at a time, and its
 * output level holds no table of another job in its range.
 *
 * Nothing here is quadratic: tables of neighbouring levels are walked side by side.
 */
#include "db/compact_pick.h"

#include "base/alloc.h"
#include "base/assert.h"

enum {
    /* Tables of `level` ride along with the chosen one, where that costs no further
     * reading below, until a job has this many times table_bytes of input. */
    RIDE_ALONG_TABLES = 25,
    /* A longer level 0 is not searched for tables to move, which compares all pairs. */
    MOVE_SEARCH_TABLES = 64,
};

/* A run of tables of one level. */
typedef struct table_run {
    size_t first;
    size_t end;
} table_run;

static uint64_t add_capped(uint64_t a, uint64_t b) {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint32_t first_level_with_data(const lsm_version *version) {
    uint32_t level = 1;
    while (level < LSMKV_LEVEL_COUNT - 1 && version->levels[level].count == 0) {
        level++;
    }
    return level;
}

/* The last level when only level 0, or nothing, has data. */
static uint32_t last_level_with_data(const lsm_version *version) {
    for (uint32_t level = LSMKV_LEVEL_COUNT - 1; level >= 1; level--) {
        if (version->levels[level].count > 0) {
            return level;
        }
    }
    return LSMKV_LEVEL_COUNT - 1;
}

lsm_level_targets lsm_pick_targets(const lsm_version *version,
                                   const lsm_options *options) {
    lsm_level_targets targets;
    uint32_t first = first_level_with_data(version);
    uint32_t last = last_level_with_data(version);
    uint64_t bytes = version->levels[last].bytes;

    for (size_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        targets.bytes[i] = UINT64_MAX;
    }
    targets.base_level = last;
    for (uint32_t level = last; level > 1; level--) {
        bytes /= options->level_multiplier;
        if (bytes < options->level_base_bytes && level <= first) {
            break;
        }
        /* A level that holds data is never skipped by level 0, whose data is newer. If
         * it has become too small to exist, it keeps its share while that is a whole
         * table, so that sizes near the border do not swing, and then gives all away:
         * one byte is too much for it. */
        bool too_small =
            bytes < options->level_base_bytes && bytes < options->table_bytes;
        targets.base_level = level - 1;
        targets.bytes[level - 1] = too_small ? 1 : bytes;
    }
    return targets;
}

void lsm_pick_deinit(lsm_pick *pick) {
    lsm_free(pick->inputs[0]);
    lsm_free(pick->inputs[1]);
    *pick = (lsm_pick){0};
}

static bool any_compacting(const lsm_level *level, table_run run) {
    for (size_t i = run.first; i < run.end; i++) {
        if (level->tables[i]->compacting) {
            return true;
        }
    }
    return false;
}

/* The tables of a level >= 1 that overlap a range. */
static table_run find_overlap(const lsm_level *level, lsm_key_range range) {
    table_run run = {0, level->count};

    if (range.smallest.data != NULL) {
        run.first = lsm_level_find(level, range.smallest);
    }
    if (range.largest.data != NULL) {
        run.end = lsm_level_find(level, range.largest);
        if (run.end < level->count &&
            lsm_range_overlaps(lsm_live_table_range(level->tables[run.end]), range)) {
            run.end++;
        }
    }
    if (run.end < run.first) {
        run.end = run.first;
    }
    return run;
}

/* The smallest range that holds the tables of a run, of level 0 or another. */
static lsm_key_range hull_of(const lsm_level *level, table_run run) {
    lsm_key_range hull = lsm_live_table_range(level->tables[run.first]);

    for (size_t i = run.first + 1; i < run.end; i++) {
        lsm_key_range range = lsm_live_table_range(level->tables[i]);
        if (lsm_slice_compare(range.smallest, hull.smallest) < 0) {
            hull.smallest = range.smallest;
        }
        int order = lsm_slice_compare(range.largest, hull.largest);
        if (order > 0 || (order == 0 && hull.exclusive)) {
            hull.largest = range.largest;
            hull.exclusive = range.exclusive;
        }
    }
    return hull;
}

static lsmkv_status copy_run(const lsm_level *level, table_run run,
                             lsm_live_table ***tables, size_t *count,
                             lsmkv_error *err) {
    size_t wanted = run.end - run.first;

    if (wanted == 0) {
        return LSMKV_OK;
    }
    *tables = lsm_calloc(wanted, sizeof(**tables));
    if (*tables == NULL) {
        return lsm_fail_memory(err, wanted * sizeof(**tables));
    }
    for (size_t i = 0; i < wanted; i++) {
        (*tables)[i] = level->tables[run.first + i];
    }
    *count = wanted;
    return LSMKV_OK;
}

/* Whether inputs[0] may change level as it is, which overlaps nothing there. Where
 * nothing lies deeper, tombstones are not moved but dropped by rewriting the table. */
static bool may_move(const lsm_version *version, const lsm_pick *pick) {
    if (pick->input_counts[0] != 1 || pick->input_counts[1] != 0) {
        return false;
    }
    const lsm_table_info *info = &pick->inputs[0][0]->info;
    return info->tombstone_count + info->range_delete_count == 0 ||
           pick->output_level < last_level_with_data(version);
}

/* Fills in a pick whose levels are set. */
static lsmkv_status fill_pick(const lsm_version *version, table_run upper,
                              table_run lower, lsm_pick *pick, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    const lsm_level *from = &version->levels[pick->level];
    const lsm_level *to = &version->levels[pick->output_level];

    LSM_ASSERT(pick->level < pick->output_level);
    LSM_TRY(copy_run(from, upper, &pick->inputs[0], &pick->input_counts[0], err));
    LSM_TRY(copy_run(to, lower, &pick->inputs[1], &pick->input_counts[1], err));
    pick->move = may_move(version, pick);
out:
    if (status != LSMKV_OK) {
        lsm_pick_deinit(pick);
    }
    return status;
}

static bool overlaps_others(const lsm_level *level, size_t index) {
    lsm_key_range range = lsm_live_table_range(level->tables[index]);

    for (size_t i = 0; i < level->count; i++) {
        if (i != index &&
            lsm_range_overlaps(range, lsm_live_table_range(level->tables[i]))) {
            return true;
        }
    }
    return false;
}

/* Looks for a table of level 0 that overlaps nothing, in level 0 or the base level;
 * oldest first. It can go down alone, and keys that arrive in order are never
 * rewritten. */
static bool find_loner(const lsm_version *version, uint32_t base_level,
                       table_run *upper) {
    const lsm_level *level = &version->levels[0];
    const lsm_level *base = &version->levels[base_level];

    if (level->count > MOVE_SEARCH_TABLES) {
        return false;
    }
    for (size_t i = level->count; i-- > 0;) {
        table_run lower = find_overlap(base, lsm_live_table_range(level->tables[i]));
        if (lower.first == lower.end && !overlaps_others(level, i)) {
            *upper = (table_run){i, i + 1};
            return true;
        }
    }
    return false;
}

/* NOT_FOUND when a job has tables of it already or needs some of the base level. */
static lsmkv_status pick_level_0(const lsm_version *version, uint32_t base_level,
                                 lsm_pick *pick, lsmkv_error *err) {
    const lsm_level *level = &version->levels[0];
    table_run upper = {0, level->count};

    pick->level = 0;
    pick->output_level = base_level;
    if (any_compacting(level, upper)) {
        return LSMKV_NOT_FOUND;
    }
    if (find_loner(version, base_level, &upper)) {
        return fill_pick(version, upper, (table_run){0, 0}, pick, err);
    }
    table_run lower = find_overlap(&version->levels[base_level], hull_of(level, upper));
    if (any_compacting(&version->levels[base_level], lower)) {
        return LSMKV_NOT_FOUND;
    }
    return fill_pick(version, upper, lower, pick, err);
}

static uint64_t bytes_of(const lsm_level *level, table_run run) {
    uint64_t bytes = 0;
    for (size_t i = run.first; i < run.end; i++) {
        bytes = add_capped(bytes, level->tables[i]->info.file_size);
    }
    return bytes;
}

/* The tables of the next level that overlap each table in turn: a run that only ever
 * moves forward. */
static void advance_overlap(const lsm_level *below, lsm_key_range range,
                            table_run *run) {
    while (run->first < below->count &&
           lsm_range_before(lsm_live_table_range(below->tables[run->first]), range)) {
        run->first++;
    }
    if (run->end < run->first) {
        run->end = run->first;
    }
    while (run->end < below->count &&
           !lsm_range_before(range, lsm_live_table_range(below->tables[run->end]))) {
        run->end++;
    }
}

/* The table that costs least to push down: the bytes it overlaps in proportion to its
 * own; of equals the oldest, which has had most time to go cold. */
static bool find_cheapest(const lsm_level *level, const lsm_level *below, size_t *found,
                          table_run *lower) {
    table_run run = {0, 0};
    double best = 0;
    bool any = false;

    for (size_t i = 0; i < level->count; i++) {
        const lsm_live_table *table = level->tables[i];
        advance_overlap(below, lsm_live_table_range(table), &run);
        if (table->compacting || any_compacting(below, run)) {
            continue;
        }
        double own = (double)table->info.file_size + 1;
        double cost = (double)bytes_of(below, run) / own;
        bool older =
            any && table->info.sequence_max < level->tables[*found]->info.sequence_max;
        if (!any || cost < best || (cost <= best && older)) {
            any = true;
            best = cost;
            *found = i;
            *lower = run;
        }
    }
    return any;
}

/* Whether the table at `index` adds nothing to the tables read below. */
static bool rides_for_free(const lsm_level *level, size_t index, const lsm_level *below,
                           table_run lower) {
    table_run own = find_overlap(below, lsm_live_table_range(level->tables[index]));
    return !level->tables[index]->compacting && own.first < own.end &&
           own.first >= lower.first && own.end <= lower.end;
}

/* Widens the run by neighbours whose overlap below is being rewritten anyway. */
static table_run add_riders(const lsm_level *level, size_t index,
                            const lsm_level *below, table_run lower,
                            uint64_t bytes_max) {
    table_run upper = {index, index + 1};
    uint64_t bytes =
        add_capped(bytes_of(below, lower), level->tables[index]->info.file_size);

    while (upper.end < level->count && bytes < bytes_max &&
           rides_for_free(level, upper.end, below, lower)) {
        bytes = add_capped(bytes, level->tables[upper.end]->info.file_size);
        upper.end++;
    }
    while (upper.first > 0 && bytes < bytes_max &&
           rides_for_free(level, upper.first - 1, below, lower)) {
        upper.first--;
        bytes = add_capped(bytes, level->tables[upper.first]->info.file_size);
    }
    return upper;
}

/* NOT_FOUND when every table of the level, or one below it, is taken. */
static lsmkv_status pick_level(const lsm_version *version, const lsm_options *options,
                               uint32_t number, lsm_pick *pick, lsmkv_error *err) {
    const lsm_level *level = &version->levels[number];
    const lsm_level *below = &version->levels[number + 1];
    uint64_t bytes_max = options->table_bytes * RIDE_ALONG_TABLES;
    table_run lower = {0, 0};
    size_t index = 0;

    pick->level = number;
    pick->output_level = number + 1;
    if (!find_cheapest(level, below, &index, &lower)) {
        return LSMKV_NOT_FOUND;
    }
    table_run upper = add_riders(level, index, below, lower, bytes_max);
    return fill_pick(version, upper, lower, pick, err);
}

/* Bytes of a level that no running job is taking care of. */
static uint64_t free_bytes(const lsm_level *level) {
    uint64_t bytes = level->bytes;
    for (size_t i = 0; i < level->count; i++) {
        if (level->tables[i]->compacting) {
            bytes -= level->tables[i]->info.file_size;
        }
    }
    return bytes;
}

static void score_levels(const lsm_version *version, const lsm_options *options,
                         const lsm_level_targets *targets,
                         double scores[LSMKV_LEVEL_COUNT]) {
    double pointed = lsm_pick_pointed_score(version, options);

    scores[0] = (double)version->levels[0].count / options->l0_compact_trigger;
    scores[0] = pointed > scores[0] ? pointed : scores[0];
    for (uint32_t i = 1; i < LSMKV_LEVEL_COUNT; i++) {
        scores[i] =
            targets->bytes[i] == UINT64_MAX
                ? 0
                : (double)free_bytes(&version->levels[i]) / (double)targets->bytes[i];
    }
}

/* The level to try next, or LSMKV_LEVEL_COUNT. */
static uint32_t find_highest(const double scores[LSMKV_LEVEL_COUNT],
                             const bool tried[LSMKV_LEVEL_COUNT]) {
    uint32_t highest = LSMKV_LEVEL_COUNT;

    for (uint32_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        if (!tried[i] && scores[i] >= 1 &&
            (highest == LSMKV_LEVEL_COUNT || scores[i] > scores[highest])) {
            highest = i;
        }
    }
    return highest;
}

lsmkv_status lsm_pick_push(const lsm_version *version, const lsm_options *options,
                           uint32_t level, size_t index, lsm_pick *pick,
                           lsmkv_error *err) {
    if (level == 0) {
        return pick_level_0(version, lsm_pick_targets(version, options).base_level,
                            pick, err);
    }
    const lsm_level *below = &version->levels[level + 1];
    lsm_live_table *table = version->levels[level].tables[index];
    table_run lower = find_overlap(below, lsm_live_table_range(table));
    if (table->compacting || any_compacting(below, lower)) {
        return LSMKV_NOT_FOUND;
    }
    pick->level = level;
    pick->output_level = level + 1;
    return fill_pick(version, (table_run){index, index + 1}, lower, pick, err);
}

/* By size and count alone. */
static lsmkv_status pick_by_score(const lsm_version *version,
                                  const lsm_options *options, lsm_pick *pick,
                                  lsmkv_error *err) {
    lsm_level_targets targets = lsm_pick_targets(version, options);
    double scores[LSMKV_LEVEL_COUNT];
    bool tried[LSMKV_LEVEL_COUNT] = {false};
    bool urgent = version->levels[0].count >= options->l0_slowdown;

    *pick = (lsm_pick){0};
    score_levels(version, options, &targets, scores);
    for (;;) {
        uint32_t level = urgent && !tried[0] ? 0 : find_highest(scores, tried);
        lsmkv_status status = LSMKV_NOT_FOUND;
        if (level == LSMKV_LEVEL_COUNT) {
            *pick = (lsm_pick){0};
            return LSMKV_NOT_FOUND;
        }
        tried[level] = true;
        status = level == 0 ? pick_level_0(version, targets.base_level, pick, err)
                            : pick_level(version, options, level, pick, err);
        if (status != LSMKV_NOT_FOUND) {
            pick->score = scores[level];
            return status;
        }
    }
}

lsmkv_status lsm_pick_compaction(const lsm_version *version, const lsm_options *options,
                                 const lsm_pick_moment *moment, lsm_pick *pick,
                                 lsmkv_error *err) {
    lsmkv_status status = lsm_pick_expired(version, moment, pick, err);
    if (status == LSMKV_NOT_FOUND && version->levels[0].count < options->l0_slowdown) {
        status = lsm_pick_segments(version, options, moment, pick, err);
    }
    if (status == LSMKV_NOT_FOUND) {
        status = pick_by_score(version, options, pick, err);
    }
    if (status == LSMKV_NOT_FOUND) {
        status = lsm_pick_dead(version, options, moment, pick, err);
    }
    return status;
}

/* The tables of level 0 are taken together: one left behind could hold older versions
 * of what went below it. */
static table_run run_in_range(const lsm_version *version, uint32_t number,
                              lsm_key_range range) {
    const lsm_level *level = &version->levels[number];

    if (number > 0) {
        return find_overlap(level, range);
    }
    for (size_t i = 0; i < level->count; i++) {
        if (lsm_range_overlaps(lsm_live_table_range(level->tables[i]), range)) {
            return (table_run){0, level->count};
        }
    }
    return (table_run){0, 0};
}

lsmkv_status lsm_pick_range(const lsm_version *version, const lsm_options *options,
                            uint32_t level, lsm_key_range range, lsm_pick *pick,
                            lsmkv_error *err) {
    table_run upper = run_in_range(version, level, range);
    uint32_t output_level = level + 1;

    *pick = (lsm_pick){0};
    LSM_ASSERT(level < LSMKV_LEVEL_COUNT);
    if (level == 0) {
        output_level = lsm_pick_targets(version, options).base_level;
    }
    if (upper.first == upper.end ||
        (level > 0 && level >= last_level_with_data(version))) {
        return LSMKV_NOT_FOUND;
    }
    table_run lower = find_overlap(&version->levels[output_level],
                                   hull_of(&version->levels[level], upper));
    if (any_compacting(&version->levels[level], upper) ||
        any_compacting(&version->levels[output_level], lower)) {
        return LSMKV_WOULD_BLOCK;
    }
    pick->level = level;
    pick->output_level = output_level;
    return fill_pick(version, upper, lower, pick, err);
}

uint64_t lsm_pick_debt(const lsm_version *version, const lsm_options *options) {
    lsm_level_targets targets = lsm_pick_targets(version, options);
    uint64_t debt = 0;
    uint64_t carried = 0; /* what comes down from the level above */

    if (version->levels[0].count >= options->l0_compact_trigger) {
        carried = version->levels[0].bytes;
        debt = carried;
    }
    for (uint32_t i = 1; i < LSMKV_LEVEL_COUNT; i++) {
        uint64_t bytes = version->levels[i].bytes;
        if (i < targets.base_level) {
            continue;
        }
        bytes = add_capped(bytes, carried);
        carried = bytes > targets.bytes[i] ? bytes - targets.bytes[i] : 0;
        debt = add_capped(debt, carried);
    }
    return debt;
}
