/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a pass that is made for the space of large values moves one at least, so that
 * passes come to an end. Method: a version put together by hand, as a metamorphic run
 * had come to it that never ended.
 */
#include "test.h"

#include "base/alloc.h"
#include "db/compact_pick.h"
#include "segment/segment.h"

enum { DEAD = 75, WORTH = 86, LOG_BYTES = 4096, NEEDED_LOGS = 5192 };

typedef struct segment_row {
    uint64_t number;
    uint64_t size;
    uint64_t live;
} segment_row;

/* The deadest one belongs to level 0 alone; counted as won it would be enough. */
static const segment_row rows[] = {
    {34, 384, 256},  {45, 6752, 5056},   {60, 1152, 1024}, {62, 256, 128},
    {68, 1024, 896}, {DEAD, 9480, 448},  {78, 5824, 5056}, {80, 2240, 2112},
    {82, 192, 64},   {WORTH, 2176, 512},
};

enum { COUNT = LSM_ARRAY_COUNT(rows) };

static bool is_moved(const lsm_table_info *info, const uint64_t *numbers,
                     size_t count) {
    for (size_t i = 0; i < info->segment_count; i++) {
        for (size_t k = 0; k < count; k++) {
            if (info->segments[i].number == numbers[k]) {
                return true;
            }
        }
    }
    return false;
}

LSM_TEST(a_pass_for_space_moves_something_of_the_table_that_it_rewrites) {
    static lsm_segment segments[COUNT];
    static lsm_version_segment listed[COUNT];
    static lsm_segment_share deep[COUNT];
    static lsm_version version;
    lsm_segment_share upper = {DEAD, 448};
    lsm_live_table tables[2] = {0};
    lsm_live_table *levels[2] = {&tables[0], &tables[1]};
    lsm_options options = {.log_bytes = LOG_BYTES, .table_bytes = LOG_BYTES};
    lsm_pick_moment moment = {.log_bytes = NEEDED_LOGS};
    lsm_level *last = &version.levels[LSMKV_LEVEL_COUNT - 1];
    lsmkv_error err;
    lsm_pick pick;
    uint64_t *numbers;
    size_t count;

    tables[0].info.segments = &upper;
    tables[0].info.segment_count = 1;
    version.levels[0].tables = &levels[0];
    version.levels[0].count = 1;
    version.levels[0].pointed = upper.bytes;
    tables[1].info.segments = deep;
    last->tables = &levels[1];
    last->count = 1;
    for (size_t i = 0; i < COUNT; i++) {
        segments[i].number = rows[i].number;
        segments[i].size = rows[i].size;
        listed[i] = (lsm_version_segment){&segments[i], rows[i].live};
        if (rows[i].number != DEAD) {
            deep[tables[1].info.segment_count++] =
                (lsm_segment_share){rows[i].number, rows[i].live};
            last->pointed += rows[i].live;
        }
    }
    version.segments = listed;
    version.segment_count = COUNT;
    CHECK_OK(lsm_pick_segments(&version, &options, &moment, &pick, &err));
    CHECK_EQ(pick.level, LSMKV_LEVEL_COUNT - 1);
    CHECK_OK(lsm_pick_moving(&version, &options, &moment, &numbers, &count, &err));
    CHECK(is_moved(&pick.inputs[0][0]->info, numbers, count));
    lsm_free(numbers);
    lsm_pick_deinit(&pick);
}
