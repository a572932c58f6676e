/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading: one key, many keys, values that are lent, snapshots, iterators, counting.
 */
#ifndef LSMKV_READ_H
#define LSMKV_READ_H

#include "lsmkv_base.h"

typedef struct lsmkv_read {
    const lsmkv_snapshot *snapshot; /* NULL: the newest state */
    bool nonblocking;               /* answer WOULD_BLOCK instead of doing I/O */
    const lsmkv_namespace *space;   /* NULL: the default namespace */
    bool stale;                     /* shows values that are not fresh any more, too,
                                       until they expire */
} lsmkv_read;

/* Lends value bytes without copying them: `value` stays valid until
 * lsmkv_pin_release, which must be called exactly once after an OK, from the thread
 * that read or any other, and soon: while a pin is held, memory that other threads
 * give up is not freed and lsmkv_close waits. */
typedef struct lsmkv_pin {
    lsmkv_bytes value;
    void *opaque[2];
} lsmkv_pin;

/* OK, NOT_FOUND or WOULD_BLOCK, else an error. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_get(lsmkv_db *db, const lsmkv_read *read,
                                                  lsmkv_bytes key, lsmkv_pin *pin,
                                                  lsmkv_error *err);

/* The times of a value. */
typedef struct lsmkv_entry {
    int64_t stale_for_ms;  /* since when it is not fresh any more; -1: it is */
    int64_t left_ms;       /* until it expires; -1: it never does */
    uint64_t expire_at_ms; /* that moment of engine time; 0: it never does */
} lsmkv_entry;

/* As lsmkv_get, and tells the times. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_get_entry(lsmkv_db *db, const lsmkv_read *read, lsmkv_bytes key,
                lsmkv_entry *entry, lsmkv_pin *pin, lsmkv_error *err);

typedef struct lsmkv_view lsmkv_view;

/* As lsmkv_get, but the value is lent until lsmkv_view_free, however long that is, also
 * when the database was closed meanwhile. A large value is lent from its file, which is
 * not deleted before; a small one is copied. *viewp is NULL unless the answer is OK. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_get_view(lsmkv_db *db, const lsmkv_read *read, lsmkv_bytes key,
               lsmkv_view **viewp, lsmkv_bytes *value, lsmkv_error *err);
LSMKV_API void lsmkv_view_free(lsmkv_view *view); /* NULL is fine */

typedef struct lsmkv_lookup {
    lsmkv_bytes key;      /* in */
    lsmkv_bytes value;    /* out: valid until the pin is released */
    bool found;           /* out */
    int64_t stale_for_ms; /* out: as in lsmkv_entry */
} lsmkv_lookup;

/* Looks up `count` keys in one consistent state; lookups keep their order. On OK the
 * pin must be released. Always may block. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_get_many(lsmkv_db *db,
                                                       const lsmkv_read *read,
                                                       lsmkv_lookup *lookups,
                                                       size_t count, lsmkv_pin *pin,
                                                       lsmkv_error *err);

LSMKV_API void lsmkv_pin_release(lsmkv_pin *pin);

typedef struct lsmkv_range {
    lsmkv_bytes start; /* inclusive; ignored unless has_start */
    lsmkv_bytes stop;  /* exclusive; ignored unless has_stop */
    bool has_start;
    bool has_stop;
} lsmkv_range;

/* A snapshot shows the state of its creation for as long as it lives. Free it before
 * or after closing the database. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_snapshot_create(lsmkv_db *db,
                                                              lsmkv_snapshot **snapp,
                                                              lsmkv_error *err);
LSMKV_API void lsmkv_snapshot_free(lsmkv_snapshot *snapshot);
/* The number of the newest write that it shows. */
LSMKV_API uint64_t lsmkv_snapshot_sequence(const lsmkv_snapshot *snapshot);

/* Creates an iterator over `range` (NULL: all) of the snapshot, or of the state of
 * this moment. It starts unpositioned (lsmkv_iter_valid is false). */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_iter_create(lsmkv_db *db,
                                                          const lsmkv_read *read,
                                                          const lsmkv_range *range,
                                                          lsmkv_iter **iterp,
                                                          lsmkv_error *err);
LSMKV_API void lsmkv_iter_free(lsmkv_iter *iter);

/* Positioning. OK also when there is nothing there: ask lsmkv_iter_valid. An error
 * is sticky until the next seek; the iterator is then not valid. next and prev need
 * a valid position, else INVALID_ARGUMENT. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_iter_seek_first(lsmkv_iter *iter,
                                                              lsmkv_error *err);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_iter_seek_last(lsmkv_iter *iter,
                                                             lsmkv_error *err);
/* The first key >= key, respectively the last key <= key. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_iter_seek(lsmkv_iter *iter,
                                                        lsmkv_bytes key,
                                                        lsmkv_error *err);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_iter_seek_for_prev(lsmkv_iter *iter,
                                                                 lsmkv_bytes key,
                                                                 lsmkv_error *err);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_iter_next(lsmkv_iter *iter,
                                                        lsmkv_error *err);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_iter_prev(lsmkv_iter *iter,
                                                        lsmkv_error *err);
LSMKV_API bool lsmkv_iter_valid(const lsmkv_iter *iter);
/* Lent until the iterator moves or is freed; only while valid. */
LSMKV_API lsmkv_bytes lsmkv_iter_key(const lsmkv_iter *iter);
LSMKV_API lsmkv_bytes lsmkv_iter_value(const lsmkv_iter *iter);

/* A run of rows, copied out of the iterator in one call. Row i's key starts at
 * data + rows[i].key_offset and its value at data + rows[i].value_offset. */
typedef struct lsmkv_row {
    size_t key_offset;
    size_t key_size;
    size_t value_offset;
    size_t value_size;
} lsmkv_row;

/* The times of a row, moments of engine time; lsmkv_write takes them as they are. */
typedef struct lsmkv_row_times {
    uint64_t expire_at_ms;   /* 0: it never expires */
    uint64_t fresh_until_ms; /* 0: it is fresh until then */
} lsmkv_row_times;

typedef struct lsmkv_chunk {
    const char *data; /* lent by the iterator until it moves or is freed */
    const lsmkv_row *rows;
    const lsmkv_row_times *times; /* of each row; NULL unless they were asked for */
    size_t row_count;
} lsmkv_chunk;

/* How lsmkv_iter_fill moves and what it copies. */
typedef struct lsmkv_fill {
    bool reverse;
    bool keys_only; /* value_size is 0 in every row; no large value is read, nor is it
                       lent of the row that the iterator is left on */
    bool with_times;
    size_t row_max;  /* 0: no limit; a chunk also ends at about byte_max */
    size_t byte_max; /* 0: 64 KiB; at least one row is returned whatever its size */
} lsmkv_fill;

/* Copies rows from the current position on, leaving the iterator on the first row
 * not copied. An unpositioned fresh iterator starts at its first (reverse: last) key.
 * row_count is 0 only at the end. Rows before an error are returned first; the error
 * comes with the next call. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_iter_fill(lsmkv_iter *iter,
                                                        const lsmkv_fill *fill,
                                                        lsmkv_chunk *chunk,
                                                        lsmkv_error *err);

/* About how many keys lie in the range (NULL: all), in time that does not depend on how
 * many: exact below 4096 records, otherwise an estimate from the sizes of tables, in
 * which a key may count once for each version that compaction has not met yet, and so
 * may what range deletes cover. Of a cache, a key counts whose segment is there. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_approximate_count(lsmkv_db *db, const lsmkv_read *read, const lsmkv_range *range,
                        uint64_t *count, lsmkv_error *err);

#endif
