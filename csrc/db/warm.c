/* SPDX-License-Identifier: Apache-2.0
 *
 * Bringing blocks and values back into memory; see warm.h.
 *
 * Of what is to be read only the chunk at hand is in memory, and the list itself. Which
 * blocks a chunk has follows from the list, or from the index of one table after the
 * other; a chunk ends at CHUNK_BLOCKS, or with about as many bytes as may still be
 * read, so that what is hotter comes first also where the budget ends.
 */
#include "db/warm.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "format/filename.h"

enum {
    CHUNK_BLOCKS = 16 << 10,
    CHUNK_BLOCKS_MIN = 64,   /* whatever a list says of their sizes */
    POINTERS_MAX = 16 << 10, /* then their values come first */
    GAP_MAX = 16 << 10,      /* unwanted bytes of a segment read to make one of two */
    RUN_MAX = 1 << 20,       /* bytes of a segment read in one step, but for larger
                                values; of a block as the list has it */
    YIELD_MAX_US = 5000,
    RANGE_HEAT = LSM_HEAT_MAIN + 1, /* what is read by a range counts as read again */
};

/* Listed values of a segment: offsets in units of LSM_VALUE_ALIGN, ascending. */
typedef struct value_set {
    uint64_t number;
    size_t first; /* among warm->units */
    size_t count;
} value_set;

struct lsm_warm {
    lsmkv_db *db;
    lsm_version *version; /* held during a step */
    lsm_numbers tables; /* at the beginning, those in the range; by_range: by levels */
    uint64_t budget;
    lsmkv_warm_report report;
    uint64_t turn_us; /* when this step began */
    uint64_t misses;  /* of the cache, after it */

    /* By the list. */
    lsm_buf file;
    lsm_reader groups;
    lsm_hotlist_group group; /* the one at hand; count 0: none */
    lsm_hotlist_cursor places;
    size_t group_table;
    value_set *sets; /* owned; ascending numbers */
    size_t set_count;
    uint32_t *units; /* owned */

    /* By a range of stored keys, of which only what is listed, or all. */
    bool bounded;
    bool by_range; /* all of it */
    lsm_buf start;
    lsm_buf stop;
    size_t next_table; /* among `tables`, counted down: upper levels first */

    /* Of the table at hand. */
    uint32_t next_block;
    uint32_t end_block;

    /* The chunk. */
    lsm_warm_block *blocks; /* owned; CHUNK_BLOCKS */
    size_t block_count;
    size_t block_at;
    lsm_pointer *pointers; /* owned */
    size_t pointer_count;
    size_t pointer_capacity;
    size_t pointer_at;
    bool values_turn; /* the pointers are sorted, and being followed */
    lsm_buf buffer;
    bool full;      /* the cache takes no more */
    bool cold_full; /* nor of what was not read again */
};

static uint64_t budget_left(const lsm_warm *warm) {
    return warm->budget - warm->report.byte_count;
}

/* How many places for values a segment has, whatever is said of it; 0: it is gone. */
static uint64_t place_count(const lsm_warm *warm, uint64_t number) {
    const lsm_segment *segment = lsm_version_find_values(warm->version, number);
    return segment == NULL ? 0 : segment->capacity / LSM_VALUE_ALIGN;
}

static size_t smaller(uint64_t a, size_t b) {
    return a < b ? (size_t)a : b;
}

/* Which values are listed. */
static lsmkv_status collect_sets(lsm_warm *warm, lsm_slice groups, lsmkv_error *err) {
    lsm_reader reader = lsm_reader_make(groups);
    lsm_hotlist_group group;
    size_t sets = 0;
    size_t units = 0;

    while (lsm_hotlist_next_group(&reader, &group)) {
        if (group.heat == LSM_HOTLIST_VALUES) {
            sets += 1;
            units += smaller(place_count(warm, group.number), group.count);
        }
    }
    if (units == 0) {
        return LSMKV_OK;
    }
    warm->sets = lsm_calloc(sets, sizeof(*warm->sets));
    warm->units = lsm_calloc(units, sizeof(*warm->units));
    if (warm->sets == NULL || warm->units == NULL) {
        return lsm_fail_memory(err, units * sizeof(*warm->units));
    }
    size_t at = 0;
    reader = lsm_reader_make(groups);
    while (lsm_hotlist_next_group(&reader, &group)) {
        if (group.heat != LSM_HOTLIST_VALUES) {
            continue;
        }
        lsm_hotlist_cursor places = lsm_hotlist_cursor_make(&group);
        value_set set = {group.number, at, 0};
        size_t most = smaller(place_count(warm, group.number), group.count);
        while (set.count < most && lsm_hotlist_next_place(&places, &warm->units[at])) {
            set.count++;
            at++;
        }
        warm->sets[warm->set_count++] = set;
    }
    return LSMKV_OK;
}

/* Without a list, or a whole one, there is nothing to do. Of a range no more than all
 * that is in it. */
static lsmkv_status plan_by_list(lsm_warm *warm, lsmkv_error *err) {
    lsm_slice groups;
    lsmkv_status status = lsm_hotlist_read(warm->db, &warm->file, &groups, err);

    if (status == LSMKV_NO_MEMORY) {
        return status;
    }
    if (status != LSMKV_OK) {
        return LSMKV_OK;
    }
    warm->groups = lsm_reader_make(groups);
    uint64_t total = lsm_hotlist_live_bytes(groups, warm->version, &warm->tables);
    if (!warm->bounded || total < warm->report.total_bytes) {
        warm->report.total_bytes = total;
    }
    return collect_sets(warm, groups, err);
}

static lsm_key_range range_of(const lsm_warm *warm) {
    return (lsm_key_range){lsm_buf_slice(&warm->start), lsm_buf_slice(&warm->stop),
                           true};
}

/* About as many bytes as the tables and values that reach into the range take. */
static lsmkv_status plan_range(lsm_warm *warm, const lsm_key_range *range,
                               lsmkv_error *err) {
    uint32_t space = lsm_get_u32_be(range->smallest.data);
    uint64_t total = 0;

    warm->bounded = true;
    if (!lsm_buf_append(&warm->start, range->smallest.data, range->smallest.size) ||
        !lsm_buf_append(&warm->stop, range->largest.data, range->largest.size)) {
        return lsm_fail_memory(err, range->smallest.size + range->largest.size);
    }
    warm->tables.count = 0; /* those that are not in the range do not matter */
    for (size_t i = LSMKV_LEVEL_COUNT; i > 0; i--) {
        const lsm_level *level = &warm->version->levels[i - 1];
        for (size_t k = 0; k < level->count; k++) {
            const lsm_live_table *live = level->tables[k];
            if (lsm_range_overlaps(lsm_live_table_range(live), *range)) {
                warm->tables.list[warm->tables.count++] = live->info.number;
                total += live->info.file_size - live->info.tail_size + live->pointed;
            }
        }
    }
    for (size_t i = 0; i < warm->version->cache_count; i++) {
        const lsm_segment *cache = warm->version->caches[i];
        total += cache->space_id == space ? cache->capacity : 0;
    }
    warm->report.total_bytes = total;
    warm->next_table = warm->tables.count;
    return LSMKV_OK;
}

static void let_go(lsm_warm *warm) {
    lsm_warm_let_go(warm->db, warm->version);
    warm->version = NULL;
}

lsmkv_status lsm_warm_create(lsmkv_db *db, const lsm_warm_plan *plan, lsm_warm **warmp,
                             lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_warm *warm = lsm_calloc(1, sizeof(*warm));

    *warmp = NULL;
    if (warm == NULL) {
        return lsm_fail_memory(err, sizeof(*warm));
    }
    warm->db = db;
    warm->budget = plan->budget != 0 ? plan->budget : lsm_cache_capacity(db->cache);
    warm->misses = lsm_cache_misses(db->cache);
    warm->turn_us = lsm_env_monotonic_us(db->env);
    warm->version = lsm_warm_hold(db);
    warm->blocks = lsm_calloc(CHUNK_BLOCKS, sizeof(*warm->blocks));
    if (warm->blocks == NULL || !lsm_numbers_init(&warm->tables, warm->version)) {
        LSM_TRY(lsm_fail_memory(err, CHUNK_BLOCKS * sizeof(*warm->blocks)));
    }
    if (plan->range != NULL) {
        LSM_TRY(plan_range(warm, plan->range, err));
        warm->by_range = !plan->listed;
    }
    if (!warm->by_range) {
        lsm_numbers_sort(&warm->tables);
        LSM_TRY(plan_by_list(warm, err));
    }
    if (warm->report.total_bytes > warm->budget) {
        warm->report.total_bytes = warm->budget;
    }
    let_go(warm);
    *warmp = warm;
    warm = NULL;
out:
    lsm_warm_destroy(warm);
    return status;
}

void lsm_warm_destroy(lsm_warm *warm) {
    if (warm == NULL) {
        return;
    }
    let_go(warm);
    lsm_numbers_deinit(&warm->tables);
    lsm_buf_deinit(&warm->file);
    lsm_buf_deinit(&warm->start);
    lsm_buf_deinit(&warm->stop);
    lsm_buf_deinit(&warm->buffer);
    lsm_free(warm->sets);
    lsm_free(warm->units);
    lsm_free(warm->blocks);
    lsm_free(warm->pointers);
    lsm_free(warm);
}

const lsmkv_warm_report *lsm_warm_report(const lsm_warm *warm) {
    return &warm->report;
}

/* Which blocks a table may have in the range. false: none. To tell, it has to be open;
 * what more would be open than may be is left alone: one would only close what was just
 * read. */
static bool find_bounded(lsm_warm *warm, lsm_live_table *live) {
    lsm_table_cache *cache = &warm->db->table_cache;
    lsm_key_range range = range_of(warm);
    bool room = lsm_table_cache_open_count(cache) < cache->open_max;
    lsm_table *table = lsm_table_cache_hold(cache, live, !room);
    if (table == NULL) {
        return false;
    }
    lsm_table_blocks_of(table, range.smallest, range.largest, &warm->next_block,
                        &warm->end_block);
    lsm_table_unref(table);
    return true;
}

/* Which blocks of a table may be wanted; false: none. */
static bool find_blocks(lsm_warm *warm, uint64_t number) {
    lsm_live_table *live = lsm_version_find_table(warm->version, number);

    if (live == NULL) {
        return false;
    }
    if (warm->bounded) {
        return find_bounded(warm, live);
    }
    uint64_t most = live->info.file_size / LSM_BLOCK_FRAME_SIZE;
    warm->next_block = 0;
    warm->end_block = most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
    return true;
}

/* The next group of blocks whose table is still there. */
static bool next_group(lsm_warm *warm) {
    while (lsm_hotlist_next_group(&warm->groups, &warm->group)) {
        warm->group_table = lsm_numbers_find(&warm->tables, warm->group.number);
        if (warm->group.heat != LSM_HOTLIST_VALUES && warm->group_table != SIZE_MAX &&
            find_blocks(warm, warm->group.number)) {
            warm->places = lsm_hotlist_cursor_make(&warm->group);
            return true;
        }
    }
    warm->group.count = 0;
    return false;
}

/* The next place of the group at hand that its table may have. */
static bool next_place(lsm_warm *warm, uint32_t *place) {
    while (warm->group.count != 0 && lsm_hotlist_next_place(&warm->places, place) &&
           *place < warm->end_block) {
        if (*place >= warm->next_block) {
            return true;
        }
    }
    return false;
}

/* The next listed block. *bytes is about what it takes. */
static bool next_listed(lsm_warm *warm, lsm_warm_block *block, uint64_t *bytes) {
    uint32_t place = 0;

    while (!next_place(warm, &place)) {
        if (!next_group(warm)) {
            return false;
        }
    }
    if (warm->group.heat == LSM_HEAT_SMALL && warm->cold_full) {
        return false;
    }
    *block = (lsm_warm_block){(uint32_t)warm->group_table, place, warm->group.heat};
    *bytes = smaller(warm->group.bytes / warm->group.count, RUN_MAX);
    return true;
}

/* The next table that reaches into the range. */
static bool next_table(lsm_warm *warm) {
    while (warm->next_table > 0) {
        if (find_blocks(warm, warm->tables.list[--warm->next_table])) {
            return true;
        }
    }
    return false;
}

static bool next_in_range(lsm_warm *warm, lsm_warm_block *block, uint64_t *bytes) {
    while (warm->next_block == warm->end_block) {
        if (!next_table(warm)) {
            return false;
        }
    }
    *block =
        (lsm_warm_block){(uint32_t)warm->next_table, warm->next_block++, RANGE_HEAT};
    *bytes = warm->db->options.block_bytes;
    return true;
}

static int compare_blocks(const void *a, const void *b) {
    const lsm_warm_block *x = a;
    const lsm_warm_block *y = b;

    return x->table != y->table ? lsm_compare_u64(x->table, y->table)
                                : lsm_compare_u64(x->block, y->block);
}

/* Fills the chunk with the next blocks. */
static void plan_chunk(lsm_warm *warm) {
    uint64_t planned = 0;
    uint64_t bytes = 0;

    warm->block_at = 0;
    warm->block_count = 0;
    while (warm->block_count < CHUNK_BLOCKS &&
           (planned < budget_left(warm) || warm->block_count < CHUNK_BLOCKS_MIN)) {
        lsm_warm_block *block = &warm->blocks[warm->block_count];
        if (!(warm->by_range ? next_in_range(warm, block, &bytes)
                             : next_listed(warm, block, &bytes))) {
            break;
        }
        warm->block_count++;
        planned += bytes;
    }
    qsort(warm->blocks, warm->block_count, sizeof(*warm->blocks), compare_blocks);
}

static bool is_listed(const lsm_warm *warm, const lsm_pointer *pointer) {
    uint64_t unit = pointer->offset / LSM_VALUE_ALIGN;
    size_t low = 0;
    size_t high = warm->set_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (warm->sets[middle].number < pointer->segment) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == warm->set_count || warm->sets[low].number != pointer->segment) {
        return false;
    }
    const uint32_t *units = warm->units + warm->sets[low].first;
    size_t count = warm->sets[low].count;
    for (low = 0, high = count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (units[middle] < unit) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && units[low] == unit;
}

static bool is_in_range(const lsm_warm *warm, lsm_slice skey) {
    return lsm_slice_compare(skey, lsm_buf_slice(&warm->start)) >= 0 &&
           lsm_slice_compare(skey, lsm_buf_slice(&warm->stop)) < 0;
}

/* Keeps the pointers of a block that are to be followed. */
static lsmkv_status collect_pointers(lsm_warm *warm, const lsm_block *block,
                                     lsmkv_error *err) {
    for (uint32_t i = 0; i < block->entry_count; i++) {
        lsm_block_entry entry = lsm_block_entry_get(block, i);
        uint8_t tag = lsm_trailer_tag(lsm_ikey_trailer(entry.ikey));
        lsm_kind kind = lsm_tag_kind(tag);
        if (kind != LSM_KIND_POINTER && kind != LSM_KIND_CACHED) {
            continue;
        }
        lsm_pointer pointer = lsm_pointer_of_field(tag, entry.field);
        if ((warm->bounded && !is_in_range(warm, lsm_ikey_skey(entry.ikey))) ||
            (!warm->by_range && !is_listed(warm, &pointer))) {
            continue;
        }
        void *pointers = warm->pointers;
        if (!lsm_grow(&pointers, &warm->pointer_capacity, warm->pointer_count + 1,
                      sizeof(pointer))) {
            return lsm_fail_memory(err, sizeof(pointer));
        }
        warm->pointers = pointers;
        warm->pointers[warm->pointer_count++] = pointer;
    }
    return LSMKV_OK;
}

static lsmkv_status collect_from(lsm_warm *warm, lsm_table *table, size_t from,
                                 size_t to, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_epoch_token token = lsm_epoch_enter(&warm->db->epoch);

    for (size_t i = from; i < to; i++) {
        const lsm_block *block = lsm_table_cached(table, warm->blocks[i].block);
        if (block != NULL) {
            LSM_TRY(collect_pointers(warm, block, err));
        }
    }
out:
    lsm_epoch_leave(token);
    return status;
}

/* The end of the blocks of one table, from `at` on. */
static size_t table_end(const lsm_warm *warm, size_t at) {
    size_t end = at + 1;

    while (end < warm->block_count &&
           warm->blocks[end].table == warm->blocks[at].table) {
        end++;
    }
    return end;
}

/* Whether there may be pointers in a table that are to be followed. */
static bool has_pointers(const lsm_warm *warm, const lsm_live_table *live) {
    return (live->pointed != 0 || warm->version->cache_count != 0) &&
           (warm->by_range || warm->set_count != 0);
}

/* Reads the next run of blocks. */
static lsmkv_status read_blocks(lsm_warm *warm, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    size_t at = warm->block_at;
    size_t end = table_end(warm, at);
    uint64_t number = warm->tables.list[warm->blocks[at].table];
    lsm_live_table *live = lsm_version_find_table(warm->version, number);
    lsm_table *table =
        live == NULL ? NULL : lsm_table_cache_hold(&warm->db->table_cache, live, false);
    lsm_warming warming = {.buffer = &warm->buffer, .bytes_max = budget_left(warm)};

    if (table == NULL) {
        warm->block_at = end; /* it is gone, or whoever reads from it hears why */
        return LSMKV_OK;
    }
    end = at + lsm_table_warm_run(table, warm->blocks + at, end - at);
    warm->block_at = end;
    status = lsm_table_warm(table, warm->blocks + at, end - at, &warming, err);
    warm->report.byte_count += warming.bytes;
    warm->report.block_count += warming.block_count;
    warm->full = warm->full || warming.cut || warming.refused > LSM_HEAT_SMALL;
    warm->cold_full = warm->cold_full || warming.refused != 0;
    if (status == LSMKV_OK && has_pointers(warm, live)) {
        status = collect_from(warm, table, at, end, err);
    }
    lsm_table_unref(table);
    return status == LSMKV_NO_MEMORY ? status : LSMKV_OK;
}

static int compare_pointers(const void *a, const void *b) {
    const lsm_pointer *x = a;
    const lsm_pointer *y = b;

    return x->segment != y->segment ? lsm_compare_u64(x->segment, y->segment)
                                    : lsm_compare_u64(x->offset, y->offset);
}

/* The end of the pointers, from `at` on, whose values are read together. *size is from
 * the first to the end of the last. */
static size_t value_run(const lsm_warm *warm, size_t at, uint64_t *size) {
    const lsm_pointer *first = &warm->pointers[at];
    uint64_t end = first->offset + first->size;
    size_t to = at + 1;

    for (; to < warm->pointer_count; to++) {
        const lsm_pointer *next = &warm->pointers[to];
        uint64_t next_end = next->offset + next->size;
        if (next->segment != first->segment || next->offset > end + GAP_MAX ||
            next_end - first->offset > RUN_MAX) {
            break;
        }
        end = next_end > end ? next_end : end;
    }
    *size = end - first->offset;
    return to;
}

/* Tells the system of the run that begins at `at`, if there is one. */
static void announce(const lsm_warm *warm, size_t at) {
    uint64_t size;

    if (at == warm->pointer_count) {
        return;
    }
    (void)value_run(warm, at, &size);
    const lsm_pointer *first = &warm->pointers[at];
    lsm_segment *segment = lsm_version_find_values(warm->version, first->segment);
    if (segment != NULL && size <= budget_left(warm)) {
        lsm_ignore(lsm_segment_will_need(segment, first->offset, size, NULL));
    }
}

/* Reads and checks the values of the next run. */
static lsmkv_status read_values(lsm_warm *warm, lsmkv_error *err) {
    uint64_t size;
    size_t end = value_run(warm, warm->pointer_at, &size);

    announce(warm, end);
    for (; warm->pointer_at < end; warm->pointer_at++) {
        const lsm_pointer *pointer = &warm->pointers[warm->pointer_at];
        lsm_segment *segment = lsm_version_find_values(warm->version, pointer->segment);
        lsm_slice value;
        if (segment == NULL || pointer->size > budget_left(warm)) {
            continue;
        }
        lsm_buf_clear(&warm->buffer);
        lsmkv_status status =
            lsm_segment_read(segment, pointer, false, &warm->buffer, &value, err);
        if (status == LSMKV_OK) {
            warm->report.byte_count += pointer->size;
            warm->report.value_count += 1;
        } else if (status == LSMKV_NO_MEMORY) {
            return status;
        }
    }
    if (warm->buffer.capacity > 2 * (size_t)RUN_MAX) {
        lsm_buf_deinit(&warm->buffer);
    }
    if (warm->pointer_at == warm->pointer_count) {
        warm->pointer_at = warm->pointer_count = 0;
        warm->values_turn = false;
    }
    return LSMKV_OK;
}

static void begin_values(lsm_warm *warm) {
    qsort(warm->pointers, warm->pointer_count, sizeof(*warm->pointers),
          compare_pointers);
    warm->values_turn = true;
    announce(warm, 0);
}

/* What is there in the end is all there was to do. */
static void finish(lsm_warm *warm) {
    warm->report.total_bytes = warm->report.byte_count;
}

lsmkv_status lsm_warm_step(lsm_warm *warm, bool *done, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    *done = false;
    warm->turn_us = lsm_env_monotonic_us(warm->db->env);
    warm->version = lsm_warm_hold(warm->db);
    if (warm->values_turn) {
        status = read_values(warm, err);
    } else if (warm->pointer_count >= POINTERS_MAX ||
               (warm->pointer_count > 0 &&
                (warm->full || warm->block_at == warm->block_count))) {
        begin_values(warm);
    } else if (!warm->full && warm->block_at < warm->block_count) {
        status = read_blocks(warm, err);
    } else {
        warm->block_at = warm->block_count = 0;
        if (!warm->full) {
            plan_chunk(warm);
        }
        if (warm->block_count == 0) {
            *done = true;
            finish(warm);
        }
    }
    if (warm->report.total_bytes < warm->report.byte_count) {
        warm->report.total_bytes = warm->report.byte_count;
    }
    let_go(warm);
    return status;
}

void lsm_warm_yield(lsm_warm *warm) {
    uint64_t misses = lsm_cache_misses(warm->db->cache);
    uint64_t us = lsm_env_monotonic_us(warm->db->env) - warm->turn_us;

    if (warm->db->threaded && misses != warm->misses) {
        lsm_sleep_us(us < YIELD_MAX_US ? us : YIELD_MAX_US);
    }
    warm->misses = misses;
}
