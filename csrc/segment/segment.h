/* SPDX-License-Identifier: Apache-2.0
 *
 * Segment: a file that large values lie in, and that tables or memtables point into.
 * It is a log (the active one, one that waits for its flush, or one that was sealed and
 * stays), a value file (segment/value_writer.h), or a cache segment
 * (segment/cache_segment.h), whose values may be gone at any moment.
 *
 * Values are read through a mapping of the file where the environment has one and the
 * database allows it, else with reads. Each value's checksum is verified once for each
 * opening of a mapped file; a bitmap with a bit for every LSM_VALUE_ALIGN bytes
 * remembers which were. It also tells that the value was in memory not long ago, which
 * is why a nonblocking read answers for those and for no others. A value that was read
 * is verified each time.
 *
 * The file is opened at the first read. A mapped file keeps no descriptor; those of
 * files that are read are kept within a bound (segment/segment_files.h).
 *
 * Life: references are counted. Who may follow a pointer holds one: a readstate for the
 * logs of its memtables, a version for every segment that a table of it names, a view.
 * When the last goes, the sink gets the segment, unlinks the file if it should go, and
 * destroys it. So a pointer never outlives its file.
 *
 * Threads: everything may be called from any thread.
 */
#ifndef LSM_SEGMENT_SEGMENT_H
#define LSM_SEGMENT_SEGMENT_H

#include <stdatomic.h>

#include "env/env.h"
#include "format/edit.h"
#include "format/filename.h"
#include "format/record.h"
#include "segment/segment_files.h"

typedef struct lsm_segment lsm_segment;

/* Told about each segment that nobody holds any more; takes it over. May be called from
 * any thread that drops the last reference. */
typedef struct lsm_segment_sink {
    void (*dropped)(struct lsm_segment_sink *sink, lsm_segment *segment);
} lsm_segment_sink;

/* What all segments of a database share; outlives them. */
typedef struct lsm_segment_context {
    lsm_dir *dir;
    lsm_segment_sink *sink;
    lsm_segment_files *files; /* of what is read without a mapping */
    bool mapping;             /* read through mappings where that is possible */
    bool read_only;           /* a missing file was deleted by a writer: CHANGED */
    uint8_t uuid[LSM_UUID_SIZE];
    lsm_uuids origins; /* borrowed: UUIDs that a file may carry instead */
} lsm_segment_context;

struct lsm_segment_access; /* the open file */

struct lsm_segment {
    /* Constant. */
    const lsm_segment_context *context;
    uint64_t number;
    uint64_t file_id;
    lsm_segment_kind kind;
    uint64_t capacity; /* what a mapping covers */
    /* Where the file ends; UINT64_MAX while it is a log that is not sealed. Release and
     * acquire: the bytes before the end are there. */
    _Atomic uint64_t size;
    _Atomic uint32_t refs;
    _Atomic uint64_t verified_bytes; /* of values, since it was opened; relaxed */
    _Atomic(struct lsm_segment_access *) access; /* NULL: not open; release/acquire */
    lsm_segment_file file;                       /* the context's `files` see to it */
    _Atomic bool used;       /* some memtable or table has pointed into it */
    _Atomic bool keeps_name; /* not for the sink to unlink: others see to the name */
    /* Of a cache segment: its namespace, and a bit for every LSM_VALUE_ALIGN bytes: a
     * value that begins there was read. Owned; relaxed. NULL: of another kind. */
    uint32_t space_id;
    _Atomic uint64_t *touched;
    lsm_segment *next_dropped; /* the sink's, once dropped */
};

/* One reference. `info` as the MANIFEST says it. NULL: no memory. */
lsm_segment *lsm_segment_create(const lsm_segment_context *context,
                                const lsm_edit_segment *info);
/* For a log that is written: `capacity` bytes of it are mapped, whatever its size. */
lsm_segment *lsm_segment_create_log(const lsm_segment_context *context, uint64_t number,
                                    uint64_t file_id, uint64_t capacity);
void lsm_segment_ref(lsm_segment *segment);
void lsm_segment_unref(
    lsm_segment *segment); /* NULL is fine; the last tells the sink */
/* For the sink: closes and frees. */
void lsm_segment_destroy(lsm_segment *segment);
/* The log was sealed and has this size for ever. */
void lsm_segment_seal(lsm_segment *segment, uint64_t size);
/* What the MANIFEST says of a segment whose size is known. */
lsm_edit_segment lsm_segment_info(const lsm_segment *segment);
void lsm_segment_name(const lsm_segment *segment, char name[LSM_FILENAME_SIZE]);

/* Opens the file now, so that it stays readable when it is unlinked: for ever if it is
 * mapped, else until so many others have been read that its file is closed. */
lsmkv_status lsm_segment_hold(lsm_segment *segment, lsmkv_error *err) LSM_MUST_CHECK;

/* The value at a pointer into this segment. From a mapping it is lent while the caller
 * holds the segment; else it was appended to `owned` and lies there. WOULD_BLOCK only
 * with nonblocking. A pointer that leads nowhere, or to other bytes than its checksum
 * says, is CORRUPTION. */
lsmkv_status lsm_segment_read(lsm_segment *segment, const lsm_pointer *pointer,
                              bool nonblocking, lsm_buf *owned, lsm_slice *value,
                              lsmkv_error *err) LSM_MUST_CHECK;

/* Touches what lsm_segment_read will look at, and the first bytes of the value, if it
 * is mapped. Nothing has to be known of the pointer. */
void lsm_segment_prefetch(const lsm_segment *segment, const lsm_pointer *pointer);
/* The first value at or behind *unit, in units of LSM_VALUE_ALIGN, that was read from
 * the mapping so far. false: there is none. */
bool lsm_segment_next_read(const lsm_segment *segment, uint64_t *unit);
/* Opens the file and tells the system that an extent of it will be read soon. */
lsmkv_status lsm_segment_will_need(lsm_segment *segment, uint64_t offset, uint64_t size,
                                   lsmkv_error *err) LSM_MUST_CHECK;

/* Whether the bytes read are those the pointer was made for; CORRUPTION if not. For who
 * writes them somewhere else: that they were right once says nothing of a mapping whose
 * pages the system has dropped since. */
lsmkv_status lsm_segment_check(const lsm_segment *segment, const lsm_pointer *pointer,
                               lsm_slice value, lsmkv_error *err) LSM_MUST_CHECK;

#endif
