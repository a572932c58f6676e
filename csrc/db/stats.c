/* SPDX-License-Identifier: Apache-2.0
 *
 * What the engine counts, gathered at one moment.
 */
#include "db/catalog.h"
#include "db/db.h"

static void add_levels(const lsm_version *version, lsmkv_stats *stats) {
    for (size_t level = 0; level < LSMKV_LEVEL_COUNT; level++) {
        lsmkv_level_stats *to = &stats->levels[level];
        to->table_count = version->levels[level].count;
        to->byte_count = version->levels[level].bytes;
        for (size_t i = 0; i < version->levels[level].count; i++) {
            const lsm_table_info *info = &version->levels[level].tables[i]->info;
            to->entry_count += info->entry_count;
            to->tombstone_count += info->tombstone_count;
        }
    }
}

static void add_segments(const lsm_version *version, lsmkv_stats *stats) {
    stats->segment_count = version->segment_count;
    for (size_t i = 0; i < version->segment_count; i++) {
        const lsm_version_segment *from = &version->segments[i];
        stats->segment_bytes += lsm_segment_info(from->segment).size;
        stats->segment_live_bytes += from->live_bytes;
    }
}

static void add_memtables_locked(lsmkv_db *db, uint64_t *count, uint64_t *bytes)
    LSM_REQUIRES(db->mu) {
    const lsm_readstate *state = lsm_db_readstate(db); /* replaced under mu only */

    *count = 1 + state->immutable_count;
    *bytes = lsm_memtable_charge(state->mem);
    for (size_t i = 0; i < state->immutable_count; i++) {
        *bytes += lsm_memtable_charge(state->immutables[i]);
    }
}

static void add_memory_locked(lsmkv_db *db, lsmkv_stats *stats) LSM_REQUIRES(db->mu) {
    add_memtables_locked(db, &stats->memtable_count, &stats->memtable_bytes);
    for (size_t i = 0; i < db->log_count; i++) {
        stats->log_bytes += lsm_wal_size(db->logs[i].writer);
    }
    for (lsm_list *at = db->snapshots.next; at != &db->snapshots; at = at->next) {
        stats->snapshot_count += 1;
    }
}

static void add_counters(const lsm_counters *from, lsmkv_stats *to) {
    to->user_bytes_written = atomic_load(&from->user_bytes_written);
    to->log_bytes_written = atomic_load(&from->log_bytes_written);
    to->flush_bytes_written = atomic_load(&from->flush_bytes_written);
    to->compact_bytes_read = atomic_load(&from->compact_bytes_read);
    to->compact_bytes_written = atomic_load(&from->compact_bytes_written);
    to->segment_bytes_written = atomic_load(&from->segment_bytes_written);
    to->relocated_bytes = atomic_load(&from->relocated_bytes);
    to->flush_count = atomic_load(&from->flush_count);
    to->compact_count = atomic_load(&from->compact_count);
    to->trivial_move_count = atomic_load(&from->trivial_move_count);
    to->sync_count = atomic_load(&from->sync_count);
    to->write_group_count = atomic_load(&from->write_group_count);
    to->write_count = atomic_load(&from->write_count);
    to->stall_count = atomic_load(&from->stall_count);
    to->stall_us = atomic_load(&from->stall_us);
    to->expired_count = atomic_load(&from->expired_count);
    to->expired_table_count = atomic_load(&from->expired_table_count);
}

void lsm_db_stats(lsmkv_db *db, lsmkv_stats *stats) {
    *stats = (lsmkv_stats){0};
    /* There may be very many tables: too many to look at while writers wait. */
    lsm_epoch_token token = lsm_epoch_enter(&db->epoch);
    const lsm_version *version = lsm_db_readstate(db)->version;
    add_levels(version, stats);
    add_segments(version, stats);
    lsm_epoch_leave(token);
    lsm_mutex_lock(&db->mu);
    add_memory_locked(db, stats);
    bool full = db->background.status == LSMKV_DISK_FULL;
    stats->state = (uint32_t)(db->state == LSM_STATE_OPEN && full ? LSM_STATE_DEGRADED
                                                                  : db->state);
    if (db->read_only) {
        stats->state = LSM_STATE_READ_ONLY;
    }
    lsm_mutex_unlock(&db->mu);
    add_counters(&db->counters, stats);
    stats->sequence = lsm_db_published(db);
    stats->clock_jumps = atomic_load(&db->clock.jump_count);
    stats->cache_bytes = lsm_cache_used(db->cache);
    stats->cache_capacity = lsm_cache_capacity(db->cache);
    stats->cache_misses = lsm_cache_misses(db->cache);
    stats->table_bytes = atomic_load(&db->table_cache.charge);
    stats->open_tables = lsm_table_cache_open_count(&db->table_cache);
    stats->recovered_records = db->recovered_records;
    stats->recovered_dropped_bytes = db->recovered_dropped_bytes;
    stats->warm_bytes = atomic_load(&db->warm_bytes);
    stats->warm_total_bytes = atomic_load(&db->warm_total_bytes);
    stats->warming = atomic_load(&db->warm_runs);
}

void lsm_db_memory(lsmkv_db *db, lsmkv_memory *memory) {
    uint64_t memtable_count;

    *memory = (lsmkv_memory){.budget_bytes = db->options.given.memory_bytes};
    lsm_mutex_lock(&db->mu);
    add_memtables_locked(db, &memtable_count, &memory->memtable_bytes);
    lsm_mutex_unlock(&db->mu);
    memory->block_bytes = lsm_cache_used(db->cache);
    memory->pinned_bytes = lsm_cache_pinned(db->cache);
    memory->row_bytes = atomic_load_explicit(&db->row_bytes, memory_order_relaxed);
    /* Filters first: a table closed between the two must not make the rest negative. */
    memory->filter_bytes = atomic_load(&db->table_cache.filters);
    uint64_t charge = atomic_load(&db->table_cache.charge);
    memory->index_bytes =
        charge > memory->filter_bytes ? charge - memory->filter_bytes : 0;
}

/* Answers a reference to the namespace that lends its name, or NULL. */
static lsm_space *take_bound(lsmkv_db *db, lsm_slice ikey, lsmkv_table_bound *to) {
    lsm_slice skey = lsm_ikey_skey(ikey);
    lsm_space *space = NULL;

    *to = (lsmkv_table_bound){
        .space_id = lsm_get_u32_be(skey.data),
        .key = {skey.data + LSM_NAMESPACE_SIZE, skey.size - LSM_NAMESPACE_SIZE}};
    if (to->space_id == LSM_NAMESPACE_DEFAULT) {
        to->space = (lsmkv_bytes){"", 0};
    } else {
        space = lsm_catalog_find(db, to->space_id);
    }
    if (space != NULL && space->name.size > 0) {
        to->space = lsm_space_name_bytes(&space->name);
    }
    return space;
}

void lsm_db_list_tables(lsmkv_db *db, lsmkv_table_fn callback, void *context) {
    lsm_mutex_lock(&db->mu);
    lsm_version *version = db->version;
    lsm_version_ref(version);
    lsm_mutex_unlock(&db->mu);
    for (uint32_t level = 0; level < LSMKV_LEVEL_COUNT; level++) {
        for (size_t i = 0; i < version->levels[level].count; i++) {
            const lsm_table_info *info = &version->levels[level].tables[i]->info;
            lsmkv_table_info table = {
                .level = level,
                .number = info->number,
                .byte_count = info->file_size,
                .raw_bytes = info->raw_bytes,
                .entry_count = info->entry_count,
                .tombstone_count = info->tombstone_count,
                .range_delete_count = info->range_delete_count,
                .sequence_min = info->sequence_min,
                .sequence_max = info->sequence_max,
                .expire_all_ms = info->expire_all_at,
                .expire_half_ms = info->expire_half_at,
                .last_excluded = lsm_bound_is_exclusive(info->largest),
                .segments = info->segments,
                .segment_count = info->segment_count,
            };
            lsm_space *first = take_bound(db, info->smallest, &table.first);
            lsm_space *last = take_bound(db, info->largest, &table.last);
            callback(context, &table);
            lsm_space_unref(first);
            lsm_space_unref(last);
        }
    }
    lsm_version_unref(version);
    lsm_gc_collect(db);
}
