/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing compactions for the space of large values.
 *
 * A segment gives its space back when nothing points into it any more, so values that
 * live in mostly dead ones are moved: by compactions that meet them, where little is
 * left to move, and by passes made for nothing else, once all segments together take
 * three quarters more than what is alive, so that there is room for the copies. A pass
 * is small, because its copies come on top of what they replace. When space runs out
 * all the same, writers wait (db/room.c).
 *
 * What is alive nobody knows exactly: level 0 may hold overwrites of what lies below.
 * So it counts only as far as it points to more than the deeper levels do, and when
 * space is short it is compacted first, which shows what is dead, and moves values on
 * the way: rewriting pointers is cheap beside moving a value that was dead already.
 *
 * Why this comes to rest: a pass is made for a segment that it will empty, so it moves
 * at least a value out of one of which two fifths or more are dead, into one that is
 * alive altogether. What only level 0 points to no pass empties, so its space does not
 * count as won.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "db/compact_pick.h"
#include "format/segment_shares.h"

enum {
    LIMIT_PERCENT = 177,  /* of what is alive: beyond it space is short */
    TARGET_PERCENT = 172, /* what is aimed at then */
    WORTH_PERCENT = 60,   /* a segment that is more alive is left alone */
    CHEAP_PERCENT = 20,   /* one that is less is emptied by whoever meets it */
    L0_DIVISOR = 32,      /* short of space: level 0 against the deeper levels */
    FRAME_BYTES = 256,    /* heads of a value file, more than enough of them */
    FRAME_DIVISOR = 1024,
    TRIES_MAX = 8,
    STALL_PERCENT = 179, /* of what is alive: beyond it writers wait */
    PASS_LOGS = 1,       /* one pass moves at most so many logs full of values ... */
    PASS_DIVISOR = 32,   /* ... or this part of what is alive */
};

typedef struct segment_space {
    uint64_t total;
    uint64_t alive;
    uint64_t level_0;
    uint64_t deeper;
} segment_space;

static segment_space measure(const lsm_version *version,
                             const lsm_pick_moment *moment) {
    segment_space space = {.total = moment->log_bytes};

    for (size_t i = 0; i < version->segment_count; i++) {
        space.total += lsm_segment_info(version->segments[i].segment).size;
    }
    space.level_0 = version->levels[0].pointed;
    for (size_t i = 1; i < LSMKV_LEVEL_COUNT; i++) {
        space.deeper += version->levels[i].pointed;
    }
    space.alive = space.deeper > space.level_0 ? space.deeper : space.level_0;
    return space;
}

static bool is_short(const segment_space *space, const lsm_options *options) {
    return space->total > space->alive / 100 * LIMIT_PERCENT + options->log_bytes;
}

bool lsm_pick_space_is_out(const lsm_version *version, const lsm_options *options,
                           const lsm_pick_moment *moment) {
    if (version->segment_count == 0) {
        return false;
    }
    segment_space space = measure(version, moment);
    return space.total > space.alive / 100 * STALL_PERCENT + options->log_bytes;
}

/* Of a file of which next to nothing is dead, beyond what frames any values: 100. */
static unsigned percent_alive(const lsm_version_segment *segment) {
    uint64_t size = lsm_segment_info(segment->segment).size;
    uint64_t alive = segment->live_bytes + FRAME_BYTES + size / FRAME_DIVISOR;

    return alive >= size ? 100 : (unsigned)(alive / (size / 100 + 1));
}

static uint64_t bytes_in(const lsm_table_info *info, uint64_t number) {
    size_t at = lsm_segment_shares_find(info->segments, info->segment_count, number);
    bool found = at < info->segment_count && info->segments[at].number == number;
    return found ? info->segments[at].bytes : 0;
}

/* The free table below level 0 that points to most of a segment. */
static bool find_table(const lsm_version *version, uint64_t number, uint32_t *level,
                       size_t *index) {
    uint64_t most = 0;

    for (uint32_t i = 1; i < LSMKV_LEVEL_COUNT; i++) {
        for (size_t j = 0; j < version->levels[i].count; j++) {
            const lsm_live_table *table = version->levels[i].tables[j];
            uint64_t bytes = table->compacting ? 0 : bytes_in(&table->info, number);
            if (bytes > most) {
                most = bytes;
                *level = i;
                *index = j;
            }
        }
    }
    return most > 0;
}

/* The segment after `last` in the order of percent and place. */
static const lsm_version_segment *next_worst(const lsm_version *version,
                                             const lsm_version_segment *last) {
    const lsm_version_segment *worst = NULL;
    unsigned least = WORTH_PERCENT;
    unsigned passed = last == NULL ? 0 : percent_alive(last);

    for (size_t i = 0; i < version->segment_count; i++) {
        const lsm_version_segment *segment = &version->segments[i];
        unsigned percent = percent_alive(segment);
        bool behind =
            last == NULL || percent > passed || (percent == passed && segment > last);
        if (behind && percent < least) {
            least = percent;
            worst = segment;
        }
    }
    return worst;
}

static int compare_numbers(const void *left, const void *right) {
    return lsm_compare_u64(*(const uint64_t *)left, *(const uint64_t *)right);
}

static lsmkv_status pick_table(const lsm_version *version, uint32_t level, size_t index,
                               lsm_pick *pick, lsmkv_error *err) {
    *pick = (lsm_pick){.level = level, .output_level = level, .score = 1};
    pick->inputs[0] = lsm_calloc(1, sizeof(lsm_live_table *));
    if (pick->inputs[0] == NULL) {
        return lsm_fail_memory(err, sizeof(lsm_live_table *));
    }
    pick->inputs[0][0] = version->levels[level].tables[index];
    pick->input_counts[0] = 1;
    return LSMKV_OK;
}

lsmkv_status lsm_pick_segments(const lsm_version *version, const lsm_options *options,
                               const lsm_pick_moment *moment, lsm_pick *pick,
                               lsmkv_error *err) {
    const lsm_version_segment *worst = NULL;
    segment_space space;
    uint64_t *numbers;
    size_t count;

    *pick = (lsm_pick){0};
    if (version->segment_count == 0) {
        return LSMKV_NOT_FOUND;
    }
    space = measure(version, moment);
    if (!is_short(&space, options)) {
        return LSMKV_NOT_FOUND;
    }
    if (space.level_0 > space.deeper / L0_DIVISOR) {
        lsmkv_status status = lsm_pick_push(version, options, 0, 0, pick, err);
        pick->score = 1;
        if (status != LSMKV_NOT_FOUND) {
            return status;
        }
    }
    lsmkv_status status =
        lsm_pick_moving(version, options, moment, &numbers, &count, err);
    if (status != LSMKV_OK) {
        return status;
    }
    *pick = (lsm_pick){0};
    status = LSMKV_NOT_FOUND;
    for (int i = 0; i < TRIES_MAX && status == LSMKV_NOT_FOUND; i++) {
        uint32_t level = 0;
        size_t index = 0;

        worst = next_worst(version, worst);
        if (worst == NULL || bsearch(&worst->segment->number, numbers, count,
                                     sizeof(*numbers), compare_numbers) == NULL) {
            break;
        }
        if (find_table(version, worst->segment->number, &level, &index)) {
            status = pick_table(version, level, index, pick, err);
        }
    }
    lsm_free(numbers);
    return status;
}

double lsm_pick_pointed_score(const lsm_version *version, const lsm_options *options) {
    uint64_t level_0 = version->levels[0].pointed;
    uint64_t deeper = 0;

    if (level_0 == 0) {
        return 0;
    }
    for (size_t i = 1; i < LSMKV_LEVEL_COUNT; i++) {
        deeper += version->levels[i].pointed;
    }
    uint64_t half = deeper / 2 > options->log_bytes ? deeper / 2 : options->log_bytes;
    return (double)level_0 / (double)half;
}

static int compare_alive(const void *left, const void *right) {
    const lsm_version_segment *a = *(const lsm_version_segment *const *)left;
    const lsm_version_segment *b = *(const lsm_version_segment *const *)right;
    unsigned x = percent_alive(a);
    unsigned y = percent_alive(b);

    return x != y ? (x > y) - (x < y) : (a > b) - (a < b);
}

/* Whether no table below level 0 points to it. */
static bool is_of_level_0(const lsm_version *version,
                          const lsm_version_segment *segment) {
    const lsm_level *level = &version->levels[0];
    uint64_t bytes = 0;

    for (size_t i = 0; i < level->count; i++) {
        bytes += bytes_in(&level->tables[i]->info, segment->segment->number);
    }
    return bytes != 0 && bytes >= segment->live_bytes;
}

/* Fills in the numbers of those to empty, from the deadest on. */
static size_t choose(const lsm_version *version, const lsm_options *options,
                     const lsm_pick_moment *moment, const lsm_version_segment **order,
                     uint64_t *numbers) {
    segment_space space = measure(version, moment);
    bool is_tight = is_short(&space, options);
    uint64_t target = space.alive / 100 * TARGET_PERCENT;
    uint64_t logs = options->log_bytes * PASS_LOGS;
    uint64_t left =
        space.alive / PASS_DIVISOR > logs ? space.alive / PASS_DIVISOR : logs;
    size_t count = 0;

    for (size_t i = 0; i < version->segment_count; i++) {
        order[i] = &version->segments[i];
    }
    qsort(order, version->segment_count, sizeof(*order), compare_alive);
    for (size_t i = 0; i < version->segment_count; i++) {
        unsigned percent = percent_alive(order[i]);
        uint64_t size = lsm_segment_info(order[i]->segment).size;
        bool wanted =
            is_tight && space.total > target && percent < WORTH_PERCENT && left > 0;
        if (percent >= CHEAP_PERCENT && !wanted) {
            break;
        }
        numbers[count++] = order[i]->segment->number;
        if (is_of_level_0(version, order[i])) {
            continue;
        }
        left -= order[i]->live_bytes < left ? order[i]->live_bytes : left;
        uint64_t dead = size > order[i]->live_bytes ? size - order[i]->live_bytes : 0;
        space.total -= dead < space.total ? dead : space.total;
    }
    return count;
}

lsmkv_status lsm_pick_moving(const lsm_version *version, const lsm_options *options,
                             const lsm_pick_moment *moment, uint64_t **numbers,
                             size_t *count, lsmkv_error *err) {
    const lsm_version_segment **order = NULL;
    size_t total = version->segment_count;

    *numbers = NULL;
    *count = 0;
    if (total == 0) {
        return LSMKV_OK;
    }
    order = lsm_calloc(total, sizeof(*order));
    *numbers = lsm_calloc(total, sizeof(**numbers));
    if (order == NULL || *numbers == NULL) {
        lsm_free(order);
        lsm_free(*numbers);
        *numbers = NULL;
        return lsm_fail_memory(err, total * sizeof(**numbers));
    }
    *count = choose(version, options, moment, order, *numbers);
    qsort(*numbers, *count, sizeof(**numbers), compare_numbers);
    lsm_free(order);
    return LSMKV_OK;
}
