/* SPDX-License-Identifier: Apache-2.0
 *
 * Edit: one change of the file set, the payload of a MANIFEST record. A sequence of
 * (tag varint, fields), each at most once except 4..7 and 9..11:
 *
 *   1 next file number, varint          2 last sequence, varint
 *   3 first live log number, varint: logs with lower numbers are obsolete
 *   4 log: number varint, file id u64. It is live and holds synced data: its absence
 *     is corruption
 *   5 added table: level varint, then the fields of lsm_table_info in order
 *   6 deleted table: level varint, number varint
 *   7 segment: number varint, file id u64, size varint, kind varint (1 sealed log, 2
 *     value file): the file exists, and tables may name it from this edit on
 *   8 engine time in ms, varint
 *   9 origin, 16 bytes: files may carry this UUID instead of the database's own
 *   10 cache segment: number varint, file id u64, namespace id varint: the file belongs
 *     to the cache that the namespace is. It may be short, damaged or not there
 *   11 cache segment dropped: number varint
 *
 * Only numbers are stored, never names; unknown tags are UNSUPPORTED_VERSION.
 */
#ifndef LSM_FORMAT_EDIT_H
#define LSM_FORMAT_EDIT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/status.h"
#include "format/ikey.h"
#include "format/record.h"

/* How many bytes a table points at in one segment: of values, each rounded up to a
 * multiple of LSM_VALUE_ALIGN. */
typedef lsmkv_segment_share lsm_segment_share;

/* What the MANIFEST knows of a table. In an edit: numbers as varints, file_id as u64,
 * keys as varint size and bytes, in this order; the segments as their count, then
 * (number, bytes) each, numbers ascending. */
typedef struct lsm_table_info {
    uint64_t number;
    uint64_t file_id;
    uint64_t file_size;
    uint64_t tail_size;
    lsm_slice smallest; /* internal keys; who owns the bytes depends on the holder */
    lsm_slice largest;  /* may be an exclusive end: lsm_bound_is_exclusive */
    uint64_t sequence_min;
    uint64_t sequence_max;
    uint64_t entry_count;
    uint64_t tombstone_count;
    uint64_t raw_bytes;      /* keys and values before prefix compression and codec */
    uint64_t expire_all_at;  /* when every entry has expired; 0: not all will */
    uint64_t expire_half_at; /* when half of raw_bytes has; 0: never */
    uint64_t range_delete_count;       /* fragments */
    const lsm_segment_share *segments; /* whose bytes: as for the keys */
    size_t segment_count;
} lsm_table_info;

typedef struct lsm_edit_table {
    uint32_t level;
    lsm_table_info info;
} lsm_edit_table;

typedef struct lsm_edit_deletion {
    uint32_t level;
    uint64_t number;
} lsm_edit_deletion;

typedef struct lsm_edit_log {
    uint64_t number;
    uint64_t file_id;
} lsm_edit_log;

typedef enum lsm_segment_kind {
    LSM_SEGMENT_NONE = 0,   /* never stored: not filled in yet */
    LSM_SEGMENT_LOG = 1,    /* a sealed log, under its name as a log */
    LSM_SEGMENT_VALUES = 2, /* a value file */
    LSM_SEGMENT_CACHE = 3,  /* never stored so: a cache segment has its own field */
} lsm_segment_kind;

/* A file that large values lie in. */
typedef struct lsm_edit_segment {
    uint64_t number;
    uint64_t file_id;
    uint64_t size;
    lsm_segment_kind kind;
} lsm_edit_segment;

typedef struct lsm_edit_cache {
    uint64_t number;
    uint64_t file_id;
    uint32_t space_id;
} lsm_edit_cache;

typedef struct lsm_edit {
    bool has_next_file, has_last_sequence, has_first_log, has_time;
    uint64_t next_file, last_sequence, first_log;
    uint64_t time_ms;   /* engine time */
    lsm_edit_log *logs; /* arrays owned by the edit */
    size_t log_count, log_capacity;
    lsm_edit_table *added;
    size_t added_count, added_capacity;
    lsm_edit_deletion *deleted;
    size_t deleted_count, deleted_capacity;
    uint8_t (*origins)[LSM_UUID_SIZE];
    size_t origin_count, origin_capacity;
    lsm_edit_segment *segments;
    size_t segment_count, segment_capacity;
    lsm_edit_cache *caches;
    size_t cache_count, cache_capacity;
    uint64_t *dropped_caches;
    size_t dropped_cache_count, dropped_cache_capacity;
    lsm_arena arena; /* owns the keys and segments of `added` */
} lsm_edit;

/* Copies a table info with its keys and segments into the arena. false: no memory. */
bool lsm_table_info_copy(lsm_arena *arena, const lsm_table_info *from,
                         lsm_table_info *to) LSM_MUST_CHECK;

void lsm_edit_init(lsm_edit *edit);
void lsm_edit_deinit(lsm_edit *edit);
/* Copy what they are given. false: no memory. */
bool lsm_edit_add_table(lsm_edit *edit, uint32_t level,
                        const lsm_table_info *info) LSM_MUST_CHECK;
bool lsm_edit_delete_table(lsm_edit *edit, uint32_t level,
                           uint64_t number) LSM_MUST_CHECK;
bool lsm_edit_add_log(lsm_edit *edit, uint64_t number, uint64_t file_id) LSM_MUST_CHECK;
bool lsm_edit_add_origin(lsm_edit *edit,
                         const uint8_t uuid[LSM_UUID_SIZE]) LSM_MUST_CHECK;
bool lsm_edit_add_segment(lsm_edit *edit,
                          const lsm_edit_segment *segment) LSM_MUST_CHECK;

bool lsm_edit_add_cache(lsm_edit *edit, const lsm_edit_cache *cache) LSM_MUST_CHECK;
bool lsm_edit_drop_cache(lsm_edit *edit, uint64_t number) LSM_MUST_CHECK;

/* Appends the encoding, the payload alone. false: no memory. */
bool lsm_edit_encode(const lsm_edit *edit, lsm_buf *to) LSM_MUST_CHECK;
/* Into an edit that was initialised and is empty. CORRUPTION without file or offset:
 * the caller adds them; the edit is then empty again. Checks levels (<
 * LSMKV_LEVEL_COUNT), keys (lsm_bounds_check), sequences (min <= max
 * <= LSM_SEQUENCE_MAX), sizes (tail within file, at least a footer). */
lsmkv_status lsm_edit_decode(lsm_edit *edit, lsm_slice payload,
                             lsmkv_error *err) LSM_MUST_CHECK;

#endif
