/* SPDX-License-Identifier: Apache-2.0
 *
 * Making a version from another one and an edit, and refusing what would break the
 * invariants of version.h. The edit may come from a MANIFEST that somebody forged.
 *
 *   1. removals and additions are sorted by table number; a number twice is refused
 *   2. the tables of the base that stay are copied, level by level; each is looked up
 *      among the removals and additions
 *   3. every addition gets its live table: a new one, or that of the removal with the
 *      same number (a move)
 *   4. additions are sorted into place and merged into their levels from the back;
 *      each is held against its neighbours. What stays was legal among itself
 *   5. the segments follow from what the changed tables point to
 *
 * With n tables and k changes that is O((n + k) log k + k log n), and the keys of the
 * n tables are compared k log n times at most. References are taken last, when nothing
 * can fail any more; a new table of a failed attempt is destroyed without the sink
 * hearing of it, since its file is not ours to unlink then.
 */
#include "db/version.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/mutant.h"
#include "db/version_tally.h"

typedef struct removal {
    uint64_t number;
    uint32_t level;
    lsm_live_table *table; /* borrowed from the base; NULL until found there */
} removal;

typedef struct addition {
    uint32_t level;
    bool fresh;                 /* table was made here */
    const lsm_table_info *info; /* borrowed from the edit */
    lsm_live_table *table;      /* owned while fresh and not yet in a version */
} addition;

typedef struct applying {
    lsm_version *version; /* owned; its tables hold no references yet */
    removal *removals;    /* owned arrays */
    size_t removal_count;
    addition *additions;
    size_t addition_count;
    lsm_version_tally tally;
    lsm_table_sink *sink;
} applying;

static unsigned long long printable(uint64_t number) {
    return number;
}

static int compare_removals(const void *a, const void *b) {
    return lsm_compare_u64(((const removal *)a)->number, ((const removal *)b)->number);
}

static int compare_addition_numbers(const void *a, const void *b) {
    return lsm_compare_u64(((const addition *)a)->info->number,
                           ((const addition *)b)->info->number);
}

/* The order inside a level: level 0 newest first, others by key. */
static int compare_infos(uint32_t level, const lsm_table_info *a,
                         const lsm_table_info *b) {
    return level == 0 ? lsm_compare_u64(b->sequence_max, a->sequence_max)
                      : lsm_ikey_compare(a->smallest, b->smallest);
}

static int compare_addition_places(const void *left, const void *right) {
    const addition *a = left;
    const addition *b = right;

    if (a->level != b->level) {
        return a->level < b->level ? -1 : 1;
    }
    return compare_infos(a->level, a->info, b->info);
}

static removal *find_removal(const applying *work, uint64_t number) {
    removal key = {.number = number};
    return work->removal_count == 0 ? NULL
                                    : bsearch(&key, work->removals, work->removal_count,
                                              sizeof(key), compare_removals);
}

static addition *find_addition(const applying *work, const lsm_table_info *info) {
    addition key = {.info = info};
    return work->addition_count == 0
               ? NULL
               : bsearch(&key, work->additions, work->addition_count, sizeof(key),
                         compare_addition_numbers);
}

static lsmkv_status fail_twice(uint64_t number, lsmkv_error *err) {
    return lsm_fail(err, LSMKV_CORRUPTION, "table %llu is there twice",
                    printable(number));
}

/* Step 1 for what the edit deletes. */
static lsmkv_status gather_removals(applying *work, const lsm_edit *edit,
                                    lsmkv_error *err) {
    if (edit->deleted_count == 0) {
        return LSMKV_OK;
    }
    work->removals = lsm_calloc(edit->deleted_count, sizeof(*work->removals));
    if (work->removals == NULL) {
        return lsm_fail_memory(err, edit->deleted_count * sizeof(*work->removals));
    }
    work->removal_count = edit->deleted_count;
    for (size_t i = 0; i < work->removal_count; i++) {
        work->removals[i].number = edit->deleted[i].number;
        work->removals[i].level = edit->deleted[i].level;
    }
    qsort(work->removals, work->removal_count, sizeof(*work->removals),
          compare_removals);
    for (size_t i = 1; i < work->removal_count; i++) {
        if (work->removals[i].number == work->removals[i - 1].number) {
            return lsm_fail(err, LSMKV_CORRUPTION, "table %llu is deleted twice",
                            printable(work->removals[i].number));
        }
    }
    return LSMKV_OK;
}

static lsmkv_status check_info(uint32_t level, const lsm_table_info *info,
                               lsmkv_error *err) {
    const char *problem = NULL;

    if (info->number == 0) {
        problem = "a table has no number";
    } else if (level >= LSMKV_LEVEL_COUNT) {
        problem = "there is no such level";
    } else if (!lsm_bounds_check(info->smallest, info->largest,
                                 info->range_delete_count != 0)) {
        problem = "its bounds are not internal keys in order";
    } else if (info->sequence_min > info->sequence_max) {
        problem = "its smallest sequence is above its largest";
    }
    if (problem != NULL) {
        return lsm_fail(err, LSMKV_CORRUPTION, "table %llu of level %u: %s",
                        printable(info->number), level, problem);
    }
    return LSMKV_OK;
}

/* Step 1 for what the edit adds. */
static lsmkv_status gather_additions(applying *work, const lsm_edit *edit,
                                     lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    if (edit->added_count == 0) {
        return LSMKV_OK;
    }
    work->additions = lsm_calloc(edit->added_count, sizeof(*work->additions));
    if (work->additions == NULL) {
        return lsm_fail_memory(err, edit->added_count * sizeof(*work->additions));
    }
    work->addition_count = edit->added_count;
    for (size_t i = 0; i < work->addition_count; i++) {
        const lsm_edit_table *added = &edit->added[i];
        LSM_TRY(check_info(added->level, &added->info, err));
        work->additions[i] = (addition){.level = added->level, .info = &added->info};
    }
    qsort(work->additions, work->addition_count, sizeof(*work->additions),
          compare_addition_numbers);
    for (size_t i = 1; i < work->addition_count; i++) {
        if (work->additions[i].info->number == work->additions[i - 1].info->number) {
            return fail_twice(work->additions[i].info->number, err);
        }
    }
out:
    return status;
}

/* Room in every level for what the base holds and the edit adds. */
static lsmkv_status allocate_levels(applying *work, const lsm_version *base,
                                    lsmkv_error *err) {
    size_t room[LSMKV_LEVEL_COUNT];

    for (size_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        room[i] = base->levels[i].count;
    }
    for (size_t i = 0; i < work->addition_count; i++) {
        room[work->additions[i].level]++;
    }
    work->version = lsm_version_create();
    if (work->version == NULL) {
        return lsm_fail_memory(err, sizeof(*work->version));
    }
    for (size_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        lsm_level *level = &work->version->levels[i];
        if (room[i] == 0) {
            continue;
        }
        level->tables = lsm_calloc(room[i], sizeof(*level->tables));
        if (level->tables == NULL) {
            return lsm_fail_memory(err, room[i] * sizeof(*level->tables));
        }
    }
    return LSMKV_OK;
}

/* Step 2 for one level. */
static lsmkv_status keep_level(applying *work, const lsm_level *from, uint32_t level,
                               lsmkv_error *err) {
    lsm_level *to = &work->version->levels[level];

    to->bytes = from->bytes;
    to->pointed = from->pointed;
    for (size_t i = 0; i < from->count; i++) {
        lsm_live_table *table = from->tables[i];
        removal *gone = find_removal(work, table->info.number);
        if (gone != NULL && gone->level == level) {
            gone->table = table;
            to->bytes -= table->info.file_size;
            to->pointed -= table->pointed;
            continue;
        }
        if (find_addition(work, &table->info) != NULL) {
            return fail_twice(table->info.number, err);
        }
        to->tables[to->count++] = table;
    }
    return LSMKV_OK;
}

static lsmkv_status keep_levels(applying *work, const lsm_version *base,
                                lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    for (uint32_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        LSM_TRY(keep_level(work, &base->levels[i], i, err));
    }
    for (size_t i = 0; i < work->removal_count; i++) {
        const removal *gone = &work->removals[i];
        if (gone->table == NULL) {
            return lsm_fail(err, LSMKV_CORRUPTION,
                            "table %llu is deleted from level %u, where it is not",
                            printable(gone->number), gone->level);
        }
    }
out:
    return status;
}

/* Step 3. */
static lsmkv_status find_tables(applying *work, lsmkv_error *err) {
    for (size_t i = 0; i < work->addition_count; i++) {
        addition *add = &work->additions[i];
        const removal *gone = find_removal(work, add->info->number);
        if (gone == NULL) {
            add->table = lsm_live_table_create(add->info, work->sink);
            add->fresh = true;
        } else if (lsm_table_info_same(&gone->table->info, add->info)) {
            add->table = gone->table;
        } else {
            return lsm_fail(err, LSMKV_CORRUPTION,
                            "table %llu is moved from level %u to %u and is another "
                            "one there",
                            printable(add->info->number), gone->level, add->level);
        }
        if (add->table == NULL) {
            return lsm_fail_memory(err, sizeof(*add->table));
        }
    }
    return LSMKV_OK;
}

/* Whether b may come right after a. */
static lsmkv_status check_neighbours(uint32_t level, const lsm_live_table *a,
                                     const lsm_live_table *b, lsmkv_error *err) {
    if (level == 0 && a->info.sequence_min <= b->info.sequence_max) {
        return lsm_fail(err, LSMKV_CORRUPTION,
                        "tables %llu and %llu of level 0 share sequences",
                        printable(a->info.number), printable(b->info.number));
    }
    if (level > 0 && !LSM_MUTANT(OVERLAP_NOT_CHECKED) &&
        !lsm_range_before(lsm_live_table_range(a), lsm_live_table_range(b))) {
        return lsm_fail(err, LSMKV_CORRUPTION,
                        "tables %llu and %llu of level %u overlap",
                        printable(a->info.number), printable(b->info.number), level);
    }
    return LSMKV_OK;
}

/* The number of tables among the first `count` that come before `info`. */
static size_t find_place(uint32_t level, lsm_live_table *const *tables, size_t count,
                         const lsm_table_info *info) {
    size_t low = 0;
    size_t high = count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_infos(level, &tables[middle]->info, info) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Step 4 for one level. The tables behind the place of an addition move to the end of
 * the free room at once, so every table moves at most once. */
static lsmkv_status merge_level(lsm_level *to, uint32_t level,
                                const addition *additions, size_t count,
                                lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    size_t left = to->count;          /* tables not moved yet */
    size_t write = to->count + count; /* everything from here on is in place */

    to->count = write;
    for (size_t i = count; i-- > 0;) {
        lsm_live_table *table = additions[i].table;
        size_t place = find_place(level, to->tables, left, &table->info);
        size_t behind = left - place;
        memmove(&to->tables[write - behind], &to->tables[place],
                behind * sizeof(lsm_live_table *));
        write -= behind;
        left = place;
        if (write < to->count) {
            LSM_TRY(check_neighbours(level, table, to->tables[write], err));
        }
        if (left > 0) {
            LSM_TRY(check_neighbours(level, to->tables[left - 1], table, err));
        }
        to->tables[--write] = table;
        to->pointed += table->pointed;
        if (!lsm_add_ok(to->bytes, table->info.file_size, &to->bytes)) {
            return lsm_fail(err, LSMKV_CORRUPTION, "level %u: its size overflows",
                            level);
        }
    }
    LSM_ASSERT(write == left);
out:
    return status;
}

static lsmkv_status merge_levels(applying *work, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    size_t first = 0;

    if (work->addition_count > 0) {
        qsort(work->additions, work->addition_count, sizeof(*work->additions),
              compare_addition_places);
    }
    for (uint32_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        size_t count = 0;
        while (first + count < work->addition_count &&
               work->additions[first + count].level == i) {
            count++;
        }
        if (count > 0) {
            LSM_TRY(merge_level(&work->version->levels[i], i, &work->additions[first],
                                count, err));
            first += count;
        }
    }
out:
    return status;
}

/* Step 5. */
static lsmkv_status tally_segments(applying *work, const lsm_version *base,
                                   const lsm_edit *edit, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    LSM_TRY(lsm_version_tally_init(&work->tally, base, edit, err));
    for (size_t i = 0; i < work->removal_count; i++) {
        lsm_version_tally_subtract(&work->tally, &work->removals[i].table->info);
    }
    for (size_t i = 0; i < work->addition_count; i++) {
        LSM_TRY(lsm_version_tally_add(&work->tally, work->additions[i].info, err));
    }
    LSM_TRY(lsm_version_tally_finish(&work->tally, work->sink, work->version, err));
out:
    return status;
}

/* The version takes its references; those that made the new tables go. */
static void take_references(applying *work) {
    for (size_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        const lsm_level *level = &work->version->levels[i];
        for (size_t j = 0; j < level->count; j++) {
            lsm_live_table_ref(level->tables[j]);
        }
    }
    for (size_t i = 0; i < work->addition_count; i++) {
        if (work->additions[i].fresh) {
            lsm_live_table_unref(work->additions[i].table);
        }
    }
}

static void drop_attempt(applying *work) {
    for (size_t i = 0; i < work->addition_count; i++) {
        if (work->additions[i].fresh && work->additions[i].table != NULL) {
            lsm_live_table_destroy(work->additions[i].table);
        }
    }
    if (work->version != NULL) {
        for (size_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
            work->version->levels[i].count = 0;
        }
        lsm_version_unref(work->version);
    }
}

lsmkv_status lsm_version_apply(lsm_version *base, const lsm_edit *edit,
                               lsm_table_sink *sink, lsm_version **versionp,
                               lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    applying work = {.sink = sink};

    *versionp = NULL;
    LSM_TRY(gather_removals(&work, edit, err));
    LSM_TRY(gather_additions(&work, edit, err));
    LSM_TRY(allocate_levels(&work, base, err));
    LSM_TRY(keep_levels(&work, base, err));
    LSM_TRY(find_tables(&work, err));
    LSM_TRY(merge_levels(&work, err));
    LSM_TRY(lsm_version_take_caches(work.version, base, edit, sink, err));
    LSM_TRY(tally_segments(&work, base, edit, err));
    take_references(&work);
    *versionp = work.version;
out:
    if (status != LSMKV_OK) {
        drop_attempt(&work);
    }
    lsm_free(work.removals);
    lsm_free(work.additions);
    lsm_version_tally_deinit(&work.tally);
    return status;
}
