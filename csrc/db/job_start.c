/* SPDX-License-Identifier: Apache-2.0
 *
 * The two ends of a job: gathering what it reads and what it must keep, under the
 * lock, and giving it back.
 */
#include "db/job.h"

#include "base/alloc.h"
#include "base/mutant.h"
#include "db/cache_space.h"
#include "format/filename.h"

static const lsm_live_table *input_at(const lsm_pick *pick, size_t index) {
    return index < pick->input_counts[0]
               ? pick->inputs[0][index]
               : pick->inputs[1][index - pick->input_counts[0]];
}

static size_t input_total(const lsm_pick *pick) {
    return pick->input_counts[0] + pick->input_counts[1];
}

static void mark_inputs_locked(const lsm_pick *pick, bool compacting) {
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < pick->input_counts[side]; i++) {
            pick->inputs[side][i]->compacting = compacting;
        }
    }
}

static uint64_t step_bytes(const lsmkv_db *db) {
    uint64_t bytes = db->options.table_bytes / 4;
    return bytes<256 ? 256 : bytes>(1u << 20) ? 1u << 20 : bytes;
}

static lsm_job *create_locked(lsmkv_db *db, lsmkv_error *err) LSM_REQUIRES(db->mu) {
    lsm_job *job = lsm_calloc(1, sizeof(*job));
    if (job == NULL) {
        (void)lsm_fail_memory(err, sizeof(*job));
        return NULL;
    }
    job->db = db;
    job->begun = lsm_latency_now(&db->latencies);
    job->step_bytes = step_bytes(db);
    lsm_edit_init(&job->edit);
    lsm_buf_init(&job->current);
    lsm_buf_init(&job->dead_key);
    lsm_buf_init(&job->range_begin);
    lsm_range_list_init(&job->range_list);
    if (lsm_snapshots_list_locked(db, &job->sequences, &job->sequence_count, err) !=
        LSMKV_OK) {
        lsm_free(job);
        return NULL;
    }
    job->version = db->version;
    lsm_version_ref(job->version);
    job->values.db = db;
    job->values.edit = &job->edit;
    job->values.file_bytes_max = db->options.log_bytes;
    job->values.version = job->version;
    return job;
}

static void destroy(lsm_job *job) {
    lsm_evict_destroy(job->evict);
    lsm_iter_destroy(job->input);
    lsm_table_writer_destroy(job->writer);
    lsm_job_values_deinit(&job->values);
    lsm_segment_unref(job->log);
    lsm_version_unref(job->version);
    lsm_pick_deinit(&job->pick);
    lsm_edit_deinit(&job->edit);
    lsm_buf_deinit(&job->current);
    lsm_buf_deinit(&job->dead_key);
    lsm_buf_deinit(&job->range_begin);
    lsm_range_set_destroy(job->ranges);
    lsm_range_list_deinit(&job->range_list);
    lsm_free(job->sequences);
    lsm_free(job);
}

lsm_job *lsm_job_start_flush_locked(lsmkv_db *db, lsmkv_error *err) {
    lsm_job *job = create_locked(db, err);
    if (job == NULL) {
        return NULL;
    }
    bool newest = LSM_MUTANT(NEWEST_MEMTABLE_FLUSHED_FIRST);
    const lsm_immutable *oldest = &db->immutables[newest ? db->immutable_count - 1 : 0];
    job->flush = true;
    job->flush_count = 1;
    job->next_log = oldest->next_log;
    job->mem = oldest->mem;
    job->log = oldest->log;
    lsm_segment_ref(job->log);
    job->values.log = job->log;
    job->values.sources = &job->log;
    job->values.source_count = 1;
    job->input = lsm_memtable_iter(oldest->mem);
    job->input_expected = lsm_memtable_entry_count(oldest->mem);
    job->edit.has_first_log = true;
    job->edit.first_log = oldest->next_log;
    job->edit.has_last_sequence = true;
    job->edit.last_sequence = lsm_memtable_last_sequence(oldest->mem);
    if (job->input == NULL) {
        (void)lsm_fail_memory(err, sizeof(*job->input));
        destroy(job);
        return NULL;
    }
    db->flushing = true;
    return job;
}

lsm_job *lsm_job_start_pick_locked(lsmkv_db *db, lsm_pick *pick, lsmkv_error *err) {
    lsm_job *job = create_locked(db, err);
    if (job == NULL) {
        lsm_pick_deinit(pick);
        return NULL;
    }
    job->pick = *pick;
    memset(pick, 0, sizeof(*pick));
    job->output_level = job->pick.output_level;
    job->below_level = job->output_level + 1;
    bool ok = true;
    for (size_t i = 0; ok && i < input_total(&job->pick); i++) {
        const lsm_live_table *table = input_at(&job->pick, i);
        uint32_t level =
            i < job->pick.input_counts[0] ? job->pick.level : job->output_level;
        ok = lsm_edit_delete_table(&job->edit, level, table->info.number) &&
             (!job->pick.move ||
              lsm_edit_add_table(&job->edit, job->output_level, &table->info));
        job->input_expected += table->info.entry_count;
    }
    if (!ok) {
        (void)lsm_fail_memory(err, sizeof(lsm_edit_table));
        destroy(job);
        return NULL;
    }
    lsm_pick_moment moment = lsm_job_moment_locked(db);
    if (!job->pick.move && !job->pick.drop &&
        lsm_pick_moving(job->version, &db->options, &moment, &job->values.moving,
                        &job->values.moving_count, err) != LSMKV_OK) {
        destroy(job);
        return NULL;
    }
    mark_inputs_locked(&job->pick, true);
    db->compactions += 1;
    return job;
}

lsm_pick_moment lsm_job_moment_locked(lsmkv_db *db) {
    lsm_pick_moment moment = {.now_ms = lsm_clock_now_ms(&db->clock),
                              .oldest_sequence = lsm_db_published(db)};
    for (size_t i = 0; i < db->log_count; i++) {
        moment.log_bytes += lsm_wal_size(db->logs[i].writer);
    }
    if (!lsm_list_empty(&db->snapshots)) {
        moment.oldest_sequence =
            LSM_CONTAINER_OF(db->snapshots.next, lsmkv_snapshot, link)->sequence;
    }
    return moment;
}

lsm_job *lsm_job_start_compaction_locked(lsmkv_db *db, lsmkv_error *err) {
    lsm_pick pick = {0};
    lsm_pick_moment moment = lsm_job_moment_locked(db);
    if (lsm_pick_compaction(db->version, &db->options, &moment, &pick, err) !=
        LSMKV_OK) {
        return NULL; /* nothing due, or no memory: err says so */
    }
    return lsm_job_start_pick_locked(db, &pick, err);
}

lsm_job *lsm_job_start_evict_locked(lsmkv_db *db, struct lsm_evict *evict,
                                    lsmkv_error *err) {
    lsm_job *job = lsm_calloc(1, sizeof(*job));

    if (job == NULL) {
        (void)lsm_fail_memory(err, sizeof(*job));
        return NULL;
    }
    job->db = db;
    job->evict = evict;
    return job;
}

static void unlink_outputs(const lsm_job *job) {
    char name[LSM_FILENAME_SIZE];
    if (job->installing || job->pick.move) {
        return;
    }
    for (size_t i = 0; i < job->edit.segment_count; i++) {
        if (job->edit.segments[i].kind == LSM_SEGMENT_VALUES) {
            lsm_filename_make(name, LSM_NAME_SEGMENT, job->edit.segments[i].number);
            lsm_ignore(lsm_dir_unlink(job->db->dir, name, NULL));
        }
    }
    for (size_t i = 0; i < job->edit.added_count; i++) {
        lsm_filename_make(name, LSM_NAME_TABLE, job->edit.added[i].info.number);
        lsm_ignore(
            lsm_dir_unlink(job->db->dir, name, NULL)); /* else the next open does */
    }
}

void lsm_job_end(lsm_job *job) {
    lsmkv_db *db = job->db;
    unlink_outputs(job);
    lsm_mutex_lock(&db->mu);
    if (job->evict != NULL) {
        lsm_evict_end_locked(job->evict);
    } else if (job->flush) {
        db->flushing = false;
    } else {
        mark_inputs_locked(&job->pick, false);
        db->compactions -= 1;
    }
    lsm_cond_broadcast(&db->changed);
    lsm_cond_broadcast(&db->work);
    lsm_mutex_unlock(&db->mu);
    destroy(job);
    lsm_gc_collect(db);
    lsm_epoch_poll(&db->epoch);
}
