/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing and reading record files: logs, and the MANIFEST, which is one of them. The
 * framing and the meaning of marks are in format/record.h.
 *
 * A writer that failed once is dead: no further append or sync reaches its file (after
 * a failed write or sync nobody knows what the file holds). Its owner starts a new
 * file.
 *
 * Threads: one at a time, but for lsm_wal_size and lsm_wal_synced_to, which any thread
 * may read.
 */
#ifndef LSM_WAL_WAL_H
#define LSM_WAL_WAL_H

#include <stdatomic.h>

#include "base/buf.h"
#include "env/env.h"
#include "format/record.h"

enum { LSM_WAL_GROUP_MAX = 64 };

typedef struct lsm_wal_writer lsm_wal_writer;

/* Creates the file and writes (not syncs) its header. On failure no file is left
 * behind, as far as that can be had. */
lsmkv_status lsm_wal_create(lsm_dir *dir, const char *name,
                            const lsm_record_file_header *header,
                            lsm_wal_writer **writerp, lsmkv_error *err) LSM_MUST_CHECK;

/* Appends records with one write. Each buffer is LSM_RECORD_HEADER_SIZE bytes of room
 * and the payload, with capacity for lsm_record_size(payload) bytes; header and padding
 * bytes are overwritten, the size stays. There are 1..LSM_WAL_GROUP_MAX of them. Does
 * not allocate. On failure the writer is dead; LSMKV_DISK_FULL is told apart. */
lsmkv_status lsm_wal_append(lsm_wal_writer *writer, lsm_record_type type,
                            lsm_buf *const *records, size_t count,
                            lsmkv_error *err) LSM_MUST_CHECK;

/* A record of a group. */
typedef struct lsm_wal_item {
    lsm_buf *record; /* as above */
    uint32_t align;  /* LSM_RECORD_ALIGN, or LSM_VALUE_ALIGN: a pad goes before it */
    uint64_t offset; /* out: where it begins */
} lsm_wal_item;

/* As lsm_wal_append, for batches that may hold large values. */
lsmkv_status lsm_wal_append_batches(lsm_wal_writer *writer, lsm_wal_item *items,
                                    size_t count, lsmkv_error *err) LSM_MUST_CHECK;

/* Ends the file at its last record, gives space asked for ahead back and makes
 * everything durable, without a mark. *size: of the file from now on. A failure kills
 * the writer. Nothing may be appended afterwards. */
lsmkv_status lsm_wal_seal(lsm_wal_writer *writer, uint64_t *size,
                          lsmkv_error *err) LSM_MUST_CHECK;

/* Makes everything appended durable, then appends a mark (whose own failure kills the
 * writer but not this call). Does nothing when all is durable already. */
lsmkv_status lsm_wal_sync(lsm_wal_writer *writer, lsmkv_error *err) LSM_MUST_CHECK;

/* Whether an append of a record of so many bytes would ask the system for more disk
 * space ahead, which may wait for the file system's own log. Not so the first one. */
bool lsm_wal_would_allocate(const lsm_wal_writer *writer, uint64_t record_bytes);

/* Bytes appended successfully, and how many of them are known to be durable. */
uint64_t lsm_wal_size(const lsm_wal_writer *writer);
uint64_t lsm_wal_synced_to(const lsm_wal_writer *writer);
uint64_t lsm_wal_number(const lsm_wal_writer *writer);
uint64_t lsm_wal_file_id(const lsm_wal_writer *writer);
bool lsm_wal_dead(const lsm_wal_writer *writer);
/* It is dead because the disk was full in lsm_wal_append: of those records at least one
 * is not whole in the file, so a reader ends before it, whatever a sync would say. */
bool lsm_wal_full(const lsm_wal_writer *writer);

/* Closes the file without syncing and frees the writer. NULL is fine. */
lsmkv_status lsm_wal_close(lsm_wal_writer *writer, lsmkv_error *err) LSM_MUST_CHECK;

typedef struct lsm_wal_reader lsm_wal_reader;

typedef struct lsm_wal_expect {
    lsm_record_file_type type;
    const uint8_t *uuid; /* NULL: any (the MANIFEST tells it) */
    uint64_t number;
    uint64_t file_id;  /* 0: any */
    uint64_t size_max; /* read no further, because the file grows; 0: all of it */
} lsm_wal_expect;

/* Opens and checks the header. NOT_FOUND when there is no such file. A header that is
 * absent, short or torn is answered with CORRUPTION; *torn (may be NULL) is then true
 * when no valid mark follows, that is, when a crash right after creation explains it. A
 * valid header of another database, number, type or file id is CORRUPTION with *torn
 * false. */
lsmkv_status lsm_wal_open(lsm_dir *dir, const char *name, const lsm_wal_expect *expect,
                          lsm_wal_reader **readerp, bool *torn,
                          lsmkv_error *err) LSM_MUST_CHECK;
const lsm_record_file_header *lsm_wal_header(const lsm_wal_reader *reader);

/* OK with the next record that is no mark and no pad (payload lent until the next
 * call); NOT_FOUND at the end; CORRUPTION when synced data is damaged; I/O errors. */
lsmkv_status lsm_wal_next(lsm_wal_reader *reader, lsm_record *record,
                          lsmkv_error *err) LSM_MUST_CHECK;
/* Looks again how large the file is, after NOT_FOUND: behind what was its end there may
 * be records now. *grown: there is something to read. A file that has become shorter
 * than what was read of it is CORRUPTION. */
lsmkv_status lsm_wal_extend(lsm_wal_reader *reader, bool *grown,
                            lsmkv_error *err) LSM_MUST_CHECK;
/* After NOT_FOUND: the offset of the end, the bytes behind it, the highest mark seen.
 */
uint64_t lsm_wal_end(const lsm_wal_reader *reader);
uint64_t lsm_wal_dropped(const lsm_wal_reader *reader);
uint64_t lsm_wal_highest_mark(const lsm_wal_reader *reader);
/* The size of the file when it was opened, or last extended: as far as it is read. */
uint64_t lsm_wal_file_size(const lsm_wal_reader *reader);
void lsm_wal_reader_close(lsm_wal_reader *reader); /* NULL is fine */

#endif
