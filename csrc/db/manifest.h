/* SPDX-License-Identifier: Apache-2.0
 *
 * The MANIFEST: a record file (wal/wal.h) of edits, the first of which describes the
 * whole state; and CURRENT, which names it. An edit counts once it is synced. CURRENT
 * is only ever replaced by renaming a synced file, followed by a directory sync.
 */
#ifndef LSM_DB_MANIFEST_H
#define LSM_DB_MANIFEST_H

#include "db/version.h"
#include "wal/wal.h"

/* What a MANIFEST says after its last edit. */
typedef struct lsm_manifest_state {
    uint8_t uuid[LSM_UUID_SIZE];
    uint64_t manifest_number;
    uint64_t manifest_file_id;
    uint64_t manifest_size; /* up to the end of its last record */
    uint64_t next_file;     /* larger than every number named in it */
    uint64_t last_sequence; /* the largest one that tables hold */
    uint64_t first_log;     /* logs with lower numbers are obsolete */
    uint64_t time_ms;       /* engine time: the latest on record */
    lsm_edit_log *logs;     /* live logs known to hold synced data; owned */
    size_t log_count, log_capacity;
    uint8_t (*origins)[LSM_UUID_SIZE]; /* as for lsm_uuids; owned */
    size_t origin_count;
    lsm_version *version;   /* one reference */
    lsm_wal_reader *reader; /* of the MANIFEST, at its end; owned */
} lsm_manifest_state;

void lsm_manifest_state_deinit(lsm_manifest_state *state);

/* Reads CURRENT and the MANIFEST it names. NOT_FOUND when there is no CURRENT; else
 * CORRUPTION with file and offset, UNSUPPORTED_VERSION, I/O errors. Of next file, last
 * sequence, first log and engine time the largest of all edits counts; tables and logs
 * must lie below them. Checks that every table and segment exists with the size
 * recorded.
 * Edits apply in time n log n in their number: they are gathered and one version is
 * built at the end. On failure the sink hears of no table. */
lsmkv_status lsm_manifest_load(lsm_dir *dir, lsm_table_sink *sink,
                               lsm_manifest_state *state,
                               lsmkv_error *err) LSM_MUST_CHECK;

/* Numbers of files, and so on, lie below: then counting up never wraps. */
#define LSM_FILE_NUMBER_MAX (UINT64_C(1) << 56)

/* For a follower: reads the edits that a MANIFEST has got since it was loaded.
 * *versionp is the base with them, one reference; NULL: there were none. The files are
 * not looked at. After a failure the state says neither this nor that. */
lsmkv_status lsm_manifest_go_on(lsm_manifest_state *state, lsm_version *base,
                                lsm_table_sink *sink, lsm_version **versionp,
                                lsmkv_error *err) LSM_MUST_CHECK;

/* Which MANIFEST is in force. NOT_FOUND when there is no CURRENT. */
lsmkv_status lsm_manifest_current(lsm_dir *dir, uint64_t *number,
                                  lsmkv_error *err) LSM_MUST_CHECK;

/* Which file set a directory names at this moment: the MANIFEST in force and how far it
 * has grown. As long as it stays the same, no file that it names is unlinked. */
typedef struct lsm_manifest_mark {
    uint64_t number;
    uint64_t size;
} lsm_manifest_mark;

/* NOT_FOUND when there is no CURRENT; CHANGED when the MANIFEST that it names is not
 * there: another one takes its place, or it is lost. */
lsmkv_status lsm_manifest_look(lsm_dir *dir, lsm_manifest_mark *mark,
                               lsmkv_error *err) LSM_MUST_CHECK;

/* Creates MANIFEST `header->number` holding one edit that describes everything, syncs
 * it, then makes CURRENT name it and syncs the directory. On failure before the rename
 * nothing has changed; after it CURRENT may name either (*renamed tells). */
lsmkv_status lsm_manifest_create(lsm_dir *dir, const lsm_record_file_header *header,
                                 const lsm_edit *everything, lsm_wal_writer **writerp,
                                 bool *renamed, lsmkv_error *err) LSM_MUST_CHECK;

/* Appends one edit and syncs it. After a failure the writer is dead and the edit may or
 * may not have happened; but when there was no memory for the edit (NO_MEMORY, and
 * lsm_wal_dead says no) it has not, and the writer lives. */
lsmkv_status lsm_manifest_append(lsm_wal_writer *writer, const lsm_edit *edit,
                                 lsmkv_error *err) LSM_MUST_CHECK;

/* Adds every table and segment of the version to an edit. false: no memory. */
bool lsm_edit_describe_version(lsm_edit *edit,
                               const lsm_version *version) LSM_MUST_CHECK;

#endif
