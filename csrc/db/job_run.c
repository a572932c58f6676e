/* SPDX-License-Identifier: Apache-2.0
 *
 * The merge of a job, step by step: read a piece of the input, keep or drop each
 * version, cut the output into tables, and at last install the result.
 */
#include "db/job.h"

#include "base/alloc.h"
#include "base/mutant.h"
#include "db/cache_space.h"
#include "format/filename.h"
#include "table/merge_iter.h"
#include "table/range_set.h"

/* Opens one input table: its entries for scanning, its range deletes onto the list. */
static lsmkv_status open_table(lsm_job *job, lsm_live_table *live, lsm_iter **child,
                               lsmkv_error *err) {
    lsm_table *table;
    lsmkv_status status =
        lsm_table_cache_get(&job->db->table_cache, live, false, &table, err);
    if (status != LSMKV_OK) {
        return status;
    }
    const lsm_range_set *ranges = lsm_table_ranges(table);
    if (ranges != NULL && !lsm_range_list_add_set(&job->range_list, ranges)) {
        return lsm_fail_memory(err, sizeof(lsm_tombstone));
    }
    *child = lsm_table_iter(table, LSM_ACCESS_SCAN);
    return *child != NULL ? LSMKV_OK : lsm_fail_memory(err, sizeof(lsm_iter));
}

/* Opens every input table and merges them. Newer tables come first, which only matters
 * for keys that are equal, and those do not occur. */
static lsmkv_status open_inputs(lsm_job *job, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    size_t total = job->pick.input_counts[0] + job->pick.input_counts[1];
    lsm_iter **children = lsm_calloc(total, sizeof(*children));
    size_t opened = 0;
    lsm_epoch_token token = NULL;

    if (children == NULL) {
        return lsm_fail_memory(err, total * sizeof(*children));
    }
    lsm_range_list_deinit(&job->range_list); /* this may be another attempt */
    token = lsm_epoch_enter(&job->db->epoch);
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < job->pick.input_counts[side]; i++) {
            LSM_TRY(open_table(job, job->pick.inputs[side][i], &children[opened], err));
            opened += 1;
        }
    }
    job->input = lsm_merge_iter(children, opened);
    opened = 0;
    if (job->input == NULL) {
        status = lsm_fail_memory(err, sizeof(lsm_iter));
    }
out:
    lsm_epoch_leave(token);
    for (size_t i = 0; i < opened; i++) {
        lsm_iter_destroy(children[i]);
    }
    lsm_free(children);
    return status;
}

/* What becomes of a version. */
typedef struct verdict {
    bool new_key;
    bool keep;
    bool expired; /* to be kept as a tombstone */
    bool evicted; /* likewise */
} verdict;

/* Whether a value of a cache has gone. A segment that the job's version does not name
 * is not to come: it names those of all entries that were still there when it began. */
static bool is_evicted(const lsm_job *job, uint8_t tag) {
    lsm_pointer pointer = lsm_pointer_of_field(tag, job->input->value);
    return lsm_version_find_cache(job->version, pointer.segment) == NULL;
}

/* For mutants: whether what hides deeper versions goes all the same. */
static bool drops_early(const verdict *found) {
    return (LSM_MUTANT(EXPIRED_DROPPED_ABOVE_LAST) && found->expired) ||
           (LSM_MUTANT(TOMBSTONE_DROPPED_ABOVE_LAST) && !found->expired &&
            !found->evicted);
}

/* Whether the current version is still needed. Updates what is known of its key. */
static lsmkv_status judge(lsm_job *job, verdict *found, lsmkv_error *err) {
    lsm_slice skey = lsm_ikey_skey(job->input->key);
    uint64_t trailer = lsm_ikey_trailer(job->input->key);
    uint8_t tag = lsm_trailer_tag(trailer);
    uint64_t sequence = lsm_trailer_sequence(trailer);
    /* The index of the oldest snapshot that sees this version. */
    size_t stratum =
        lsm_stratum_of((lsm_strata){job->sequences, job->sequence_count}, sequence);

    found->new_key =
        !job->has_current || !lsm_slice_equal(skey, lsm_buf_slice(&job->current));
    found->keep = found->new_key || (stratum != job->stratum &&
                                     !LSM_MUTANT(COMPACTION_IGNORES_SNAPSHOTS));
    found->expired = found->keep && (tag & LSM_TAG_EXPIRES) != 0 &&
                     lsm_expire_at(tag, job->input->value) <= job->now_ms;
    if (LSM_UNLIKELY(lsm_tag_kind(tag) == LSM_KIND_CACHED)) {
        found->evicted = found->keep && is_evicted(job, tag);
    }
    if (found->new_key) {
        lsm_buf_clear(&job->current);
        if (!lsm_buf_append(&job->current, skey.data, skey.size)) {
            return lsm_fail_memory(err, skey.size);
        }
        job->has_current = true;
    }
    job->stratum = stratum;
    if (found->keep && job->ranges != NULL &&
        lsm_job_hides(job, skey, sequence, stratum)) {
        found->keep = false;
    }
    if (found->keep && stratum == 0 &&
        (found->expired || found->evicted || tag == LSM_KIND_DELETE)) {
        found->keep =
            lsm_version_may_hold_below(job->version, job->below_level, skey) &&
            !drops_early(found);
    }
    return LSMKV_OK;
}

/* Writes the tombstone that an expired version has become. */
static lsmkv_status add_expired(lsm_job *job, lsmkv_error *err) {
    lsm_slice ikey = job->input->key;
    uint64_t sequence = lsm_trailer_sequence(lsm_ikey_trailer(ikey));

    lsm_buf_clear(&job->dead_key);
    if (!lsm_buf_append(&job->dead_key, ikey.data, ikey.size)) {
        return lsm_fail_memory(err, ikey.size);
    }
    lsm_put_u64(job->dead_key.data + ikey.size - LSM_TRAILER_SIZE,
                lsm_trailer_make(sequence, LSM_KIND_DELETE));
    return lsm_table_writer_add(job->writer, lsm_buf_slice(&job->dead_key),
                                lsm_slice_make(NULL, 0), err);
}

/* Completes an output; the next one begins with the stored key `end`, or there is none.
 */
static lsmkv_status finish_output(lsm_job *job, lsm_slice end, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_table_info info;

    LSM_TRY(lsm_job_write_ranges(job, end, err));
    if (job->writer == NULL) {
        return LSMKV_OK;
    }
    LSM_TRY(lsm_table_writer_finish(job->writer, &info, err));
    job->bytes_written += info.file_size;
    if (!lsm_edit_add_table(&job->edit, job->output_level, &info)) {
        status = lsm_fail_memory(err, sizeof(info));
        char name[LSM_FILENAME_SIZE];
        lsm_filename_make(name, LSM_NAME_TABLE, info.number);
        lsm_ignore(lsm_dir_unlink(job->db->dir, name, NULL));
    }
out:
    lsm_table_writer_destroy(job->writer);
    job->writer = NULL;
    return status;
}

/* Tables are cut between keys, never between the versions of one. A flush writes one
 * table however large. */
static bool must_cut(const lsm_job *job, bool new_key) {
    return job->writer != NULL && !job->flush &&
           (new_key || LSM_MUTANT(KEY_SPLIT_OVER_TABLES)) &&
           lsm_table_writer_size(job->writer) >= job->db->options.table_bytes;
}

static lsmkv_status add_kept(lsm_job *job, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_slice field = job->input->value;
    uint8_t tag = lsm_trailer_tag(lsm_ikey_trailer(job->input->key));

    if (LSM_UNLIKELY(lsm_tag_kind(tag) == LSM_KIND_POINTER)) {
        LSM_TRY(lsm_job_values_place(&job->values, tag, field, &field, err));
    }
    LSM_TRY(lsm_table_writer_add(job->writer, job->input->key, field, err));
out:
    return status;
}

static lsmkv_status merge_one(lsm_job *job, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    verdict found = {0};

    job->input_seen += 1;
    LSM_TRY(judge(job, &found, err));
    job->expired_count += found.expired;
    if (must_cut(job, found.new_key)) {
        LSM_TRY(finish_output(job, lsm_ikey_skey(job->input->key), err));
    }
    if (found.keep && job->writer == NULL) {
        LSM_TRY(lsm_db_create_table(job->db, &job->writer, err));
    }
    if (found.keep && (found.expired || found.evicted)) {
        LSM_TRY(add_expired(job, err));
    } else if (found.keep) {
        LSM_TRY(add_kept(job, err));
    }
out:
    return status;
}

/* Before the installation, which wakes those who wait for it and may look at once. */
static void count_job(const lsm_job *job) {
    lsm_counters *counters = &job->db->counters;
    if (job->pick.drop) {
        atomic_fetch_add(&counters->expired_table_count, job->pick.input_counts[0]);
        return;
    }
    atomic_fetch_add(&counters->expired_count, job->expired_count);
    atomic_fetch_add(job->flush       ? &counters->flush_count
                     : job->pick.move ? &counters->trivial_move_count
                                      : &counters->compact_count,
                     1);
    atomic_fetch_add(
        job->flush ? &counters->flush_bytes_written : &counters->compact_bytes_written,
        job->bytes_written);
    for (int side = 0; !job->flush && !job->pick.move && side < 2; side++) {
        for (size_t i = 0; i < job->pick.input_counts[side]; i++) {
            atomic_fetch_add(&counters->compact_bytes_read,
                             job->pick.inputs[side][i]->info.file_size);
        }
    }
}

static void time_job(const lsm_job *job) {
    if (!job->pick.move && !job->pick.drop) {
        lsm_latency_note(&job->db->latencies,
                         job->flush ? LSMKV_LATENCY_FLUSH : LSMKV_LATENCY_COMPACTION,
                         job->begun, 1);
    }
}

static lsmkv_status install(lsm_job *job, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    if (job->edit.added_count > 0 && !job->pick.move &&
        !LSM_MUTANT(NO_DIR_SYNC_AFTER_TABLE)) {
        LSM_TRY(lsm_dir_sync(job->db->dir, err));
    }
    count_job(job);
    job->installing = true;
    status = lsm_db_install(job->db, &job->edit, job->flush_count, err);
    if (status == LSMKV_OK) {
        time_job(job);
        lsm_job_hand_on_heat(job);
    } else {
        lsm_mutex_lock(&job->db->mu);
        job->installing = job->db->state == LSM_STATE_POISONED;
        lsm_mutex_unlock(&job->db->mu);
    }
out:
    return status;
}

/* The input is exhausted: check that it was whole, and complete the last output. */
static lsmkv_status finish_merge(lsm_job *job, lsmkv_error *err) {
    bool whole = LSM_MUTANT(READ_ERROR_ENDS_COMPACTION);

    if (job->input->status != LSMKV_OK && !whole) {
        return lsm_error_copy(err, &job->input->error);
    }
    if (job->input_seen != job->input_expected && !whole) {
        return lsm_fail(err, LSMKV_CORRUPTION,
                        "%s read %llu entries, its inputs hold %llu",
                        job->flush ? "a flush" : "a compaction",
                        (unsigned long long)job->input_seen,
                        (unsigned long long)job->input_expected);
    }
    lsmkv_status status = finish_output(job, (lsm_slice){NULL, 0}, err);
    return status == LSMKV_OK ? lsm_job_values_finish(&job->values, err) : status;
}

/* Before the first entry. */
static lsmkv_status start_merge(lsm_job *job, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    if (job->flush && lsm_memtable_large_bytes(job->mem) != 0) {
        lsm_strata snapshots = {job->sequences, job->sequence_count};
        LSM_TRY(lsm_job_values_decide(&job->values, job->mem, snapshots, err));
    }
    lsm_iter_seek_first(job->input);
out:
    return status;
}

lsmkv_status lsm_job_step(lsm_job *job, bool *done, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint64_t bytes = 0;

    *done = false;
    if (job->evict != NULL) {
        return lsm_evict_step(job->evict, done, err);
    }
    if (job->pick.move || job->pick.drop) {
        *done = true;
        return install(job, err);
    }
    if (!job->opened) {
        lsmkv_error failure;
        bool tried = false;
        do {
            status = job->flush ? LSMKV_OK : open_inputs(job, &failure);
        } while (lsm_db_again(job->db, status, &failure, &tried));
        if (status != LSMKV_OK) {
            return lsm_error_copy(err, &failure);
        }
        LSM_TRY(lsm_job_build_ranges(job, err));
        job->opened = true;
    }
    if (job->input_seen == 0) {
        LSM_TRY(start_merge(job, err));
    }
    job->now_ms = lsm_clock_now_ms(&job->db->clock);
    while (job->input->valid && bytes < job->step_bytes) {
        bytes += job->input->key.size + job->input->value.size;
        LSM_TRY(merge_one(job, err));
        lsm_iter_next(job->input);
    }
    if (!job->input->valid) {
        LSM_TRY(finish_merge(job, err));
        LSM_TRY(install(job, err));
        *done = true;
    }
out:
    return status;
}
