/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing the hot list: one step for each table and each segment, one for the file.
 */
#include "db/warm.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "format/filename.h"

enum {
    PERIOD_US = 300 * 1000 * 1000, /* between two lists, and before a shorter one */
    HEATS = 128,                   /* slots looked at together */
};

struct lsm_hot_save {
    lsmkv_db *db;
    lsm_numbers tables;
    size_t table;     /* the next one */
    uint64_t segment; /* the number behind that of the last one */
    lsm_hotlist_builder builder;
};

static int compare_numbers(const void *a, const void *b) {
    return lsm_compare_u64(*(const uint64_t *)a, *(const uint64_t *)b);
}

bool lsm_numbers_init(lsm_numbers *numbers, const lsm_version *version) {
    size_t total = 0;

    *numbers = (lsm_numbers){0};
    for (size_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        total += version->levels[i].count;
    }
    if (total == 0) {
        return true;
    }
    numbers->list = lsm_calloc(total, sizeof(*numbers->list));
    if (numbers->list == NULL) {
        return false;
    }
    for (size_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        for (size_t k = 0; k < version->levels[i].count; k++) {
            numbers->list[numbers->count++] = version->levels[i].tables[k]->info.number;
        }
    }
    lsm_numbers_sort(numbers);
    return true;
}

void lsm_numbers_sort(lsm_numbers *numbers) {
    if (numbers->count != 0) {
        qsort(numbers->list, numbers->count, sizeof(*numbers->list), compare_numbers);
    }
}

void lsm_numbers_deinit(lsm_numbers *numbers) {
    lsm_free(numbers->list);
}

size_t lsm_numbers_find(const lsm_numbers *numbers, uint64_t number) {
    const uint64_t *found = numbers->count == 0
                                ? NULL
                                : bsearch(&number, numbers->list, numbers->count,
                                          sizeof(number), compare_numbers);

    return found == NULL ? SIZE_MAX : (size_t)(found - numbers->list);
}

lsm_version *lsm_warm_hold(lsmkv_db *db) {
    lsm_mutex_lock(&db->mu);
    lsm_version *version = db->version;
    lsm_version_ref(version);
    lsm_mutex_unlock(&db->mu);
    return version;
}

void lsm_warm_let_go(lsmkv_db *db, lsm_version *version) {
    lsm_version_unref(version);
    lsm_gc_collect(db);
}

lsmkv_status lsm_hotlist_read(lsmkv_db *db, lsm_buf *file, lsm_slice *groups,
                              lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_file *from = NULL;
    uint64_t size = 0;

    *groups = lsm_slice_make(NULL, 0);
    LSM_TRY(lsm_file_open(db->dir, LSM_HOTLIST_NAME, LSM_OPEN_READ, &from, err));
    LSM_TRY(lsm_file_size(from, &size, err));
    if (size > LSM_HOTLIST_SIZE_MAX) {
        LSM_TRY(lsm_fail_at(err, LSMKV_CORRUPTION, LSM_HOTLIST_NAME, -1,
                            "%llu bytes are too many", (unsigned long long)size));
    }
    if (!lsm_buf_reserve(file, (size_t)size)) {
        LSM_TRY(lsm_fail_memory(err, (size_t)size));
    }
    LSM_TRY(lsm_file_read_exact(from, 0, file->data, (size_t)size, err));
    file->size = (size_t)size;
    status = lsm_hotlist_decode(lsm_buf_slice(file), db->uuid, groups, err);
out:
    lsm_file_drop(from);
    return status;
}

uint64_t lsm_hotlist_live_bytes(lsm_slice groups, const lsm_version *version,
                                const lsm_numbers *tables) {
    lsm_reader reader = lsm_reader_make(groups);
    lsm_hotlist_group group;
    uint64_t total = 0;

    while (lsm_hotlist_next_group(&reader, &group)) {
        bool live = group.heat == LSM_HOTLIST_VALUES
                        ? lsm_version_find_values(version, group.number) != NULL
                        : lsm_numbers_find(tables, group.number) != SIZE_MAX;
        if (live && !lsm_add_ok(total, group.bytes, &total)) {
            return UINT64_MAX;
        }
    }
    return total;
}

lsm_hot_save *lsm_hot_save_start(lsmkv_db *db) {
    lsm_hot_save *save = lsm_calloc(1, sizeof(*save));

    if (save == NULL) {
        return NULL;
    }
    save->db = db;
    lsm_version *version = lsm_warm_hold(db);
    bool ok = lsm_numbers_init(&save->tables, version);
    lsm_warm_let_go(db, version);
    if (!ok) {
        lsm_hot_save_end(save);
        return NULL;
    }
    return save;
}

void lsm_hot_save_end(lsm_hot_save *save) {
    if (save != NULL) {
        lsm_hotlist_builder_deinit(&save->builder);
        lsm_numbers_deinit(&save->tables);
        lsm_free(save);
    }
}

/* Lists the cached blocks of a table. false: no memory. */
static bool list_table(lsm_hot_save *save, lsm_table *table, uint64_t number) {
    uint32_t count = lsm_table_block_count(table);
    uint8_t heats[HEATS];

    for (uint32_t first = 0; first < count; first += HEATS) {
        uint32_t some = count - first < HEATS ? count - first : HEATS;

        lsm_table_heats(table, first, some, heats);
        for (uint32_t i = 0; i < some; i++) {
            uint32_t block = first + i;

            if (heats[i] != 0 &&
                !lsm_hotlist_add(&save->builder, heats[i], number, block,
                                 lsm_table_span(table, block, block + 1))) {
                return false;
            }
        }
    }
    return lsm_hotlist_end(&save->builder);
}

/* Lists the values of a segment that were read. false: no memory. */
static bool list_segment(lsm_hot_save *save, const lsm_segment *segment) {
    uint64_t bytes =
        atomic_load_explicit(&segment->verified_bytes, memory_order_relaxed);

    for (uint64_t unit = 0; lsm_segment_next_read(segment, &unit) && unit <= UINT32_MAX;
         unit++) {
        if (!lsm_hotlist_add(&save->builder, LSM_HOTLIST_VALUES, segment->number,
                             (uint32_t)unit, bytes)) {
            return false;
        }
        bytes = 0; /* those of all of them are with the first */
    }
    return lsm_hotlist_end(&save->builder);
}

/* Whether the list that is there says more, and this database has not been open for
 * long enough to know better. */
static bool keeps_old(const lsm_hot_save *save, const lsm_version *version) {
    lsmkv_db *db = save->db;
    lsm_buf file = {0};
    lsm_slice groups;
    bool keeps = false;

    if (lsm_env_monotonic_us(db->env) - db->opened_us < PERIOD_US &&
        lsm_hotlist_read(db, &file, &groups, NULL) == LSMKV_OK) {
        keeps = lsm_hotlist_live_bytes(groups, version, &save->tables) >
                save->builder.bytes;
    }
    lsm_buf_deinit(&file);
    return keeps;
}

static lsmkv_status write_file(lsm_dir *dir, lsm_slice content, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_file *file = NULL;

    status = lsm_dir_unlink(dir, LSM_HOTLIST_TEMP_NAME, err);
    if (status != LSMKV_OK && status != LSMKV_NOT_FOUND) {
        return status;
    }
    LSM_TRY(lsm_file_open(dir, LSM_HOTLIST_TEMP_NAME, LSM_OPEN_SPARE, &file, err));
    LSM_TRY(lsm_file_append(file, &content, 1, NULL, err));
    status = lsm_file_close(file, err);
    file = NULL;
    LSM_TRY(status);
    LSM_TRY(lsm_dir_rename(dir, LSM_HOTLIST_TEMP_NAME, LSM_HOTLIST_NAME, err));
out:
    lsm_file_drop(file);
    return status;
}

/* Not when the disk is full or fails: others need what is left of it. */
static bool is_well(lsmkv_db *db) {
    lsm_mutex_lock(&db->mu);
    bool well = db->state == LSM_STATE_OPEN && db->background.status == LSMKV_OK;
    lsm_mutex_unlock(&db->mu);
    return well;
}

static void write_list(const lsm_hot_save *save, const lsm_version *version) {
    lsmkv_db *db = save->db;
    lsm_buf content = {0};

    if (is_well(db) && lsm_hotlist_finish(&save->builder, db->uuid, &content)) {
        uint64_t print = lsm_xxh3(content.data, content.size);

        if (print != db->hot_print && !keeps_old(save, version)) {
            if (write_file(db->dir, lsm_buf_slice(&content), NULL) == LSMKV_OK) {
                db->hot_print = print;
            } else {
                lsm_ignore(lsm_dir_unlink(db->dir, LSM_HOTLIST_TEMP_NAME, NULL));
            }
        }
    }
    lsm_buf_deinit(&content);
}

/* The next segment of the version, those of caches among the others. */
static const lsm_segment *next_segment(lsm_hot_save *save, const lsm_version *version) {
    const lsm_segment *next = NULL;

    for (size_t i = 0; i < version->segment_count && next == NULL; i++) {
        const lsm_segment *segment = version->segments[i].segment;

        next = segment->number >= save->segment ? segment : NULL;
    }
    for (size_t i = 0; i < version->cache_count; i++) {
        const lsm_segment *cache = version->caches[i];

        if (cache->number >= save->segment) {
            next = next == NULL || cache->number < next->number ? cache : next;
            break;
        }
    }
    save->segment = next == NULL ? save->segment : next->number + 1;
    return next;
}

static bool step(lsm_hot_save *save, const lsm_version *version) {
    if (save->table < save->tables.count) {
        uint64_t number = save->tables.list[save->table++];
        lsm_live_table *live = lsm_version_find_table(version, number);
        lsm_table *table =
            live == NULL ? NULL
                         : lsm_table_cache_hold(&save->db->table_cache, live, true);
        bool ok = table == NULL || list_table(save, table, number);
        lsm_table_unref(table);
        return ok;
    }
    const lsm_segment *segment = next_segment(save, version);
    if (segment != NULL) {
        return list_segment(save, segment);
    }
    write_list(save, version);
    return false;
}

bool lsm_hot_save_step(lsm_hot_save *save) {
    lsm_version *version = lsm_warm_hold(save->db);
    bool goes_on = step(save, version);

    lsm_warm_let_go(save->db, version);
    return goes_on;
}

uint64_t lsm_hot_wait_us_locked(lsmkv_db *db) {
    uint64_t past = lsm_env_monotonic_us(db->env) - db->hot_begun_us;

    return past < PERIOD_US ? PERIOD_US - past : 0;
}

bool lsm_hot_due_locked(lsmkv_db *db) {
    return db->state == LSM_STATE_OPEN && !db->hot_saving &&
           !atomic_load(&db->stopping) && lsm_hot_wait_us_locked(db) == 0;
}

void lsm_hot_begin_locked(lsmkv_db *db) {
    db->hot_saving = true;
    db->hot_begun_us = lsm_env_monotonic_us(db->env);
}

bool lsm_hot_step(lsmkv_db *db) {
    if (db->saving == NULL) {
        db->saving = lsm_hot_save_start(db);
    }
    if (db->saving != NULL && lsm_hot_save_step(db->saving)) {
        return true;
    }
    lsm_hot_save_end(db->saving);
    db->saving = NULL;
    lsm_mutex_lock(&db->mu);
    db->hot_saving = false;
    lsm_mutex_unlock(&db->mu);
    return false;
}

void lsm_hot_save_now(lsmkv_db *db) {
    lsm_hot_save *save = is_well(db) ? lsm_hot_save_start(db) : NULL;

    while (save != NULL && lsm_hot_save_step(save)) {
    }
    lsm_hot_save_end(save);
}
