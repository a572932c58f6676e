/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing the file set, in this order: the new files are synced (by who wrote them),
 * the directory is synced, the edit is appended to the MANIFEST and synced, the new
 * version becomes visible, and only then does anything become garbage.
 *
 * One installation at a time; others wait. The MANIFEST is rewritten, as one edit that
 * describes everything, when it has outgrown options.manifest_bytes_max.
 *
 * If the MANIFEST or CURRENT fails, nobody knows which file set a reopen will find: the
 * database is poisoned and nothing, neither inputs nor outputs, is unlinked. Only where
 * an append finds the disk full is it known: the old one.
 */
#include "db/db.h"

#include "base/alloc.h"
#include "base/mutant.h"
#include "format/filename.h"

lsmkv_status lsm_db_poison_locked(lsmkv_db *db, const lsmkv_error *failure) {
    if (db->state != LSM_STATE_POISONED) {
        db->state = LSM_STATE_POISONED;
        db->failure = *failure;
    }
    lsm_cond_broadcast(&db->changed);
    return failure->status;
}

lsmkv_status lsm_db_poison(lsmkv_db *db, const lsmkv_error *failure) {
    lsm_mutex_lock(&db->mu);
    lsmkv_status status = lsm_db_poison_locked(db, failure);
    lsm_mutex_unlock(&db->mu);
    return status;
}

bool lsm_db_describe_origins(const lsmkv_db *db, lsm_edit *everything) {
    bool ok = true;
    for (size_t i = 0; ok && i < db->origin_count; i++) {
        ok = lsm_edit_add_origin(everything, db->origins[i]);
    }
    return ok;
}

lsmkv_status lsm_db_describe_locked(lsmkv_db *db, const lsm_edit *edit,
                                    const lsm_version *version, lsm_edit *everything,
                                    lsmkv_error *err) {
    bool ok = lsm_edit_describe_version(everything, version) &&
              lsm_db_describe_origins(db, everything);
    everything->has_next_file = true;
    everything->next_file = db->next_file;
    everything->has_last_sequence = true;
    everything->last_sequence =
        edit->has_last_sequence ? edit->last_sequence : db->flushed_sequence;
    everything->has_first_log = true;
    everything->first_log = edit->has_first_log ? edit->first_log : db->first_log;
    everything->has_time = edit->has_time;
    everything->time_ms = edit->time_ms;
    for (size_t i = 0; ok && i < db->log_count; i++) {
        uint64_t number = lsm_wal_number(db->logs[i].writer);
        if (db->logs[i].recorded && number >= everything->first_log &&
            !LSM_MUTANT(REWRITE_FORGETS_LOGS)) {
            ok = lsm_edit_add_log(everything, number,
                                  lsm_wal_file_id(db->logs[i].writer));
        }
    }
    for (size_t i = 0; ok && i < edit->log_count; i++) {
        ok = edit->logs[i].number < everything->first_log ||
             lsm_edit_add_log(everything, edit->logs[i].number, edit->logs[i].file_id);
    }
    return ok ? LSMKV_OK : lsm_fail_memory(err, 0);
}

/* Writes a fresh MANIFEST and makes CURRENT name it. *renamed: CURRENT may have
 * changed. */
static lsmkv_status rewrite(lsmkv_db *db, const lsm_edit *everything, bool *renamed,
                            lsmkv_error *err) {
    char name[LSM_FILENAME_SIZE];
    lsm_wal_writer *fresh = NULL;
    lsm_record_file_header header = {.type = LSM_FILE_MANIFEST};
    header.number = everything->next_file - 1; /* taken by prepare_locked */
    lsm_mutex_lock(&db->mu);
    header.file_id = lsm_rng_next(&db->rng);
    lsm_mutex_unlock(&db->mu);
    memcpy(header.uuid, db->uuid, LSM_UUID_SIZE);
    lsmkv_status status =
        lsm_manifest_create(db->dir, &header, everything, &fresh, renamed, err);
    if (status == LSMKV_OK) {
        lsm_filename_make(name, LSM_NAME_MANIFEST, lsm_wal_number(db->manifest));
        /* Its content lives on in the fresh one; a close that fails loses nothing. */
        lsm_ignore(lsm_wal_close(db->manifest, NULL));
        db->manifest = fresh;
        lsm_ignore(lsm_dir_unlink(db->dir, name, NULL));
    }
    return status;
}

/* The I/O of an installation, without mu; `installing` keeps others out. A rewrite that
 * fails before CURRENT was touched falls back to appending, unless the MANIFEST died
 * when it took the mark behind its last edit: that edit is synced, so the file set is
 * known. It is known, too, when the disk was too full to append the edit; the next
 * installation then writes a fresh MANIFEST. *unknown after a failure: nobody knows
 * which file set a reopen would find. */
static lsmkv_status persist(lsmkv_db *db, const lsm_edit *edit,
                            const lsm_edit *everything, bool *unknown,
                            lsmkv_error *err) {
    *unknown = false;
    if (everything != NULL) {
        lsmkv_status status = rewrite(db, everything, unknown, err);
        if (status == LSMKV_OK || *unknown || lsm_wal_dead(db->manifest)) {
            return status;
        }
    }
    lsmkv_status status = lsm_manifest_append(db->manifest, edit, err);
    *unknown = lsm_wal_dead(db->manifest) && !lsm_wal_full(db->manifest);
    return status;
}

/* Takes the logs that no memtable needs any more off the list; they are the caller's
 * to close and unlink. */
static size_t take_logs_locked(lsmkv_db *db, uint64_t first_log,
                               lsm_live_log taken[LSM_LOGS_MAX]) LSM_REQUIRES(db->mu) {
    size_t count = 0;
    while (db->syncing_logs) {
        lsm_cond_wait(&db->changed, &db->mu);
    }
    while (count < db->log_count &&
           lsm_wal_number(db->logs[count].writer) < first_log) {
        taken[count] = db->logs[count];
        count += 1;
    }
    db->log_count -= count;
    memmove(db->logs, db->logs + count, db->log_count * sizeof(db->logs[0]));
    return count;
}

/* Closes logs whose content tables hold, synced. A log that was ever pointed into goes
 * with the last one who may follow such a pointer, if it goes at all: it may have
 * become a segment. The others are unlinked at once. */
static void drop_logs(lsmkv_db *db, const lsm_live_log *taken, size_t count) {
    char name[LSM_FILENAME_SIZE];
    for (size_t i = 0; i < count; i++) {
        lsm_segment *segment = taken[i].segment;
        lsm_ignore(lsm_wal_close(taken[i].writer, NULL));
        if (!atomic_load(&segment->used) || LSM_MUTANT(LOG_UNLINKED_WHILE_POINTED)) {
            lsm_segment_name(segment, name);
            /* What fails the next open tries again. */
            lsm_ignore(lsm_dir_unlink(db->dir, name, NULL));
            atomic_store(&segment->keeps_name, true);
        }
        lsm_segment_unref(segment);
    }
}

/* Makes the new file set visible. Cannot fail. */
static size_t apply_locked(lsmkv_db *db, const lsm_edit *edit, size_t flushed,
                           lsm_version *version, lsm_readstate *spare,
                           lsm_live_log taken[LSM_LOGS_MAX]) LSM_REQUIRES(db->mu) {
    for (size_t i = 0; i < edit->log_count; i++) {
        for (size_t k = 0; k < db->log_count; k++) {
            db->logs[k].recorded |=
                lsm_wal_number(db->logs[k].writer) == edit->logs[i].number;
        }
    }
    if (edit->has_last_sequence) {
        db->flushed_sequence = edit->last_sequence;
    }
    lsm_version *old = db->version;
    db->version = version;
    lsm_immutable done[LSM_IMMUTABLE_MAX];
    for (size_t i = 0; i < flushed; i++) {
        done[i] = db->immutables[i];
    }
    db->immutable_count -= flushed;
    memmove(db->immutables, db->immutables + flushed,
            db->immutable_count * sizeof(db->immutables[0]));
    lsm_readstate_publish_locked(db, spare);
    lsm_version_unref(old);
    for (size_t i = 0; i < flushed; i++) {
        if (!LSM_MUTANT(FLUSHED_MEMTABLE_LEAKED)) {
            lsm_memtable_unref(done[i].mem);
        }
        lsm_segment_unref(done[i].log);
    }
    size_t count = 0;
    if (edit->has_first_log) {
        db->first_log = edit->first_log;
        count = take_logs_locked(db, edit->first_log, taken);
    }
    return count;
}

/* Builds the new version and, where the MANIFEST is to be rewritten, what it says. */
static lsmkv_status prepare_locked(lsmkv_db *db, lsm_edit *edit, lsm_version **versionp,
                                   lsm_edit *everything, bool *rewrites,
                                   lsmkv_error *err) LSM_REQUIRES(db->mu) {
    lsmkv_status status = LSMKV_OK;
    edit->has_next_file = true;
    edit->next_file = db->next_file;
    edit->has_time = true;
    edit->time_ms = lsm_clock_follow_ms(&db->clock);
    *rewrites =
        lsm_wal_size(db->manifest) > db->manifest_limit || lsm_wal_dead(db->manifest);
    LSM_TRY(lsm_version_apply(db->version, edit, &db->sink, versionp, err));
    if (*rewrites) {
        db->next_file += 1; /* the last one is the number of the fresh MANIFEST */
        LSM_TRY(lsm_db_describe_locked(db, edit, *versionp, everything, err));
    }
out:
    return status;
}

/* When to rewrite next: not before the MANIFEST has grown to four times what it takes
 * to say everything, which is about its size now. */
static uint64_t next_limit(const lsmkv_db *db) {
    uint64_t grown = 4 * lsm_wal_size(db->manifest);
    return grown > db->options.manifest_bytes_max ? grown
                                                  : db->options.manifest_bytes_max;
}

lsmkv_status lsm_db_install(lsmkv_db *db, lsm_edit *edit, size_t flushed,
                            lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_version *version = NULL;
    lsm_live_log taken[LSM_LOGS_MAX];
    size_t taken_count = 0;
    lsm_edit everything;
    lsmkv_error failure;
    bool rewrites = false;
    bool unknown = false;

    lsm_error_clear(&failure);
    lsm_edit_init(&everything);
    lsm_readstate *spare =
        lsm_readstate_alloc(LSM_IMMUTABLE_MAX, LSM_IMMUTABLE_MAX + 1);
    lsm_mutex_lock(&db->mu);
    while (db->installing) {
        lsm_cond_wait(&db->changed, &db->mu);
    }
    if (db->state == LSM_STATE_POISONED) {
        status = lsm_error_copy(err, &db->failure);
    } else if (spare == NULL) {
        status = lsm_fail_memory(err, sizeof(*spare));
    } else {
        status = prepare_locked(db, edit, &version, &everything, &rewrites, err);
    }
    if (status == LSMKV_OK) {
        db->installing = true;
        lsm_mutex_unlock(&db->mu);
        status = persist(db, edit, rewrites ? &everything : NULL, &unknown, &failure);
        lsm_mutex_lock(&db->mu);
        if (status == LSMKV_OK) {
            atomic_store_explicit(&db->manifest_next_file, edit->next_file,
                                  memory_order_relaxed);
            taken_count = apply_locked(db, edit, flushed, version, spare, taken);
            if (rewrites) {
                db->manifest_limit = next_limit(db);
            }
            spare = NULL;
            version = NULL;
        } else {
            if (unknown) {
                (void)lsm_db_poison_locked(db, &failure);
            }
            (void)lsm_error_copy(err, &failure);
        }
        db->installing = false; /* only now: taking the logs may have to wait */
        lsm_cond_broadcast(&db->changed);
        lsm_cond_broadcast(&db->work);
    }
    lsm_mutex_unlock(&db->mu);
    lsm_version_unref(version);
    lsm_free(spare);
    lsm_edit_deinit(&everything);
    drop_logs(db, taken, taken_count);
    lsm_gc_collect(db);
    return status;
}
