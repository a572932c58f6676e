/* SPDX-License-Identifier: Apache-2.0
 *
 * Range deletes in a job. Those of all inputs become one set, in which each fragment
 * keeps one sequence for every stratum of snapshots. It hides versions of the input,
 * and is itself written: to each output, as it is finished, the pieces that lie before
 * the key where the next one begins. So the bounds of outputs do not overlap, whatever
 * was deleted. In the lowest stratum, which all snapshots see, a piece goes when no
 * deeper table overlaps it.
 */
#include "db/job.h"

#include "base/mutant.h"

static lsm_strata strata_of(const lsm_job *job) {
    return (lsm_strata){job->sequences, job->sequence_count};
}

lsmkv_status lsm_job_build_ranges(lsm_job *job, lsmkv_error *err) {
    lsm_strata strata = strata_of(job);

    if (job->flush && !lsm_memtable_list_ranges(job->mem, &job->range_list)) {
        return lsm_fail_memory(err, sizeof(lsm_tombstone));
    }
    if (job->range_list.count == 0) {
        return LSMKV_OK;
    }
    job->ranges =
        lsm_range_set_build(job->range_list.items, job->range_list.count, &strata);
    return job->ranges != NULL
               ? LSMKV_OK
               : lsm_fail_memory(err, job->range_list.count * sizeof(lsm_tombstone));
}

bool lsm_job_hides(lsm_job *job, lsm_slice skey, uint64_t sequence, size_t stratum) {
    /* What the snapshots of the stratum see, and so does who sees all. */
    uint64_t newest =
        stratum + 1 == job->sequence_count ? LSM_SEQUENCE_MAX : job->sequences[stratum];

    uint64_t cover = lsm_range_set_cover(job->ranges, skey, newest, &job->range_place);
    return cover > sequence || (LSM_MUTANT(RANGE_DELETE_HIDES_NEWER) && cover != 0);
}

/* How many of the piece's sequences are still needed: all, or all but the last. */
static size_t count_needed(const lsm_job *job, const lsm_range_span *piece) {
    uint64_t oldest = piece->sequences[piece->count - 1];
    lsm_key_range range = {piece->start, piece->stop, true};

    if (lsm_stratum_of(strata_of(job), oldest) != 0 ||
        (lsm_version_overlaps_below(job->version, job->below_level, range) &&
         !LSM_MUTANT(RANGE_DELETE_DROPPED_ABOVE_LAST))) {
        return piece->count;
    }
    return piece->count - 1;
}

static lsmkv_status write_piece(lsm_job *job, lsm_range_span piece, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    piece.count = count_needed(job, &piece);
    if (piece.count == 0) {
        return LSMKV_OK;
    }
    if (job->writer == NULL) {
        LSM_TRY(lsm_db_create_table(job->db, &job->writer, err));
    }
    LSM_TRY(lsm_table_writer_add_range(job->writer, &piece, err));
out:
    return status;
}

lsmkv_status lsm_job_write_ranges(lsm_job *job, lsm_slice end, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_slice begin = lsm_buf_slice(&job->range_begin);

    while (job->ranges != NULL && job->range_next < job->ranges->count) {
        lsm_range_span piece = lsm_range_span_of(job->ranges, job->range_next);
        if (begin.size != 0 && lsm_slice_compare(piece.start, begin) < 0) {
            piece.start = begin;
        }
        if (end.data != NULL && lsm_slice_compare(piece.start, end) >= 0) {
            break;
        }
        bool cut = end.data != NULL && lsm_slice_compare(piece.stop, end) > 0;
        piece.stop = cut && !LSM_MUTANT(RANGE_DELETE_NOT_CUT) ? end : piece.stop;
        LSM_TRY(write_piece(job, piece, err));
        if (cut) {
            break;
        }
        job->range_next++;
    }
    lsm_buf_clear(&job->range_begin);
    if (job->ranges != NULL && !lsm_buf_append(&job->range_begin, end.data, end.size)) {
        status = lsm_fail_memory(err, end.size);
    }
out:
    return status;
}
