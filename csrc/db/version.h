/* SPDX-License-Identifier: Apache-2.0
 *
 * Version: which tables are live, level by level, at one moment. Versions are
 * immutable and share their tables; each table lives as long as some version names it.
 *
 * Level 0 is ordered newest first and its tables may overlap: they hold whole
 * memtables, so their sequence ranges do not. The tables of a level from 1 on are
 * ordered by key and are disjoint in stored keys: the versions of one stored key are
 * never split over two tables of a level, and what a range delete of a table covers
 * lies inside that table's bounds. lsm_version_apply refuses anything else,
 * whoever made the edit.
 *
 * Threads: reference counts are atomic; the rest is immutable, except where a field
 * says otherwise.
 */
#ifndef LSM_DB_VERSION_H
#define LSM_DB_VERSION_H

#include <stdatomic.h>

#include "base/list.h"
#include "format/edit.h"
#include "segment/segment.h"
#include "table/table_reader.h"

/* A table that some version names. */
typedef struct lsm_live_table {
    _Atomic uint32_t refs;
    lsm_table_info info;         /* keys owned by this struct */
    _Atomic(lsm_table *) handle; /* open table or NULL; one reference; table_cache.h */
    _Atomic bool used;           /* since the table cache last looked */
    bool listed;                 /* in the table cache's list; under its mutex */
    lsm_list open_link;          /* under the table cache's mutex */
    uint64_t pointed;            /* bytes of large values */
    bool compacting;             /* an input of a running compaction; under db->mu */
    struct lsm_table_sink *sink; /* told when the last reference goes */
    struct lsm_live_table *next_dropped; /* the sink's, once dropped */
} lsm_live_table;

/* `dropped` is told about each table that no version names any more; takes it over. May
 * be called from any thread that drops the last reference. `segment` makes, or finds,
 * the segment that an edit declares, and answers one reference; NULL: no memory. It may
 * itself be NULL where no edit declares any. `cache` does so for a cache segment. */
typedef struct lsm_table_sink {
    void (*dropped)(struct lsm_table_sink *sink, lsm_live_table *table);
    lsm_segment *(*segment)(struct lsm_table_sink *sink, const lsm_edit_segment *info);
    lsm_segment *(*cache)(struct lsm_table_sink *sink, const lsm_edit_cache *info);
} lsm_table_sink;

/* Copies info and its keys. One reference. NULL: no memory. */
lsm_live_table *lsm_live_table_create(const lsm_table_info *info, lsm_table_sink *sink);
void lsm_live_table_ref(lsm_live_table *table);
void lsm_live_table_unref(lsm_live_table *table); /* the last one tells the sink */
/* For the sink: unrefs an open handle and frees. */
void lsm_live_table_destroy(lsm_live_table *table);

typedef struct lsm_level {
    lsm_live_table **tables; /* owned array, one reference each */
    size_t count;
    uint64_t bytes;   /* sum of file sizes */
    uint64_t pointed; /* bytes of large values that its tables point to */
} lsm_level;

typedef struct lsm_version_segment {
    lsm_segment *segment; /* one reference */
    uint64_t live_bytes;  /* what tables of the version point to */
} lsm_version_segment;

typedef struct lsm_version {
    _Atomic uint32_t refs;
    lsm_level levels[LSMKV_LEVEL_COUNT];
    lsm_version_segment *segments; /* owned array; ascending numbers; exactly those that
                                      tables of the version name */
    size_t segment_count;
    lsm_segment **caches; /* owned array, one reference each; ascending numbers: the
                             cache segments, whoever points into them */
    size_t cache_count;
} lsm_version;

lsm_version *lsm_version_create(void); /* empty, one reference; NULL: no memory */
void lsm_version_ref(lsm_version *version);
void lsm_version_unref(lsm_version *version); /* NULL is fine */

/* base with the edit's deletions and additions, a new version with one reference.
 * Added tables become live with the given sink. A table deleted from one level and
 * added to another under the same number keeps its lsm_live_table (a trivial move).
 * CORRUPTION, naming the tables, when the result breaks an invariant above, a deleted
 * table is not there, a number is there twice, or a table names a segment that neither
 * base nor edit has. O(n log n). */
lsmkv_status lsm_version_apply(lsm_version *base, const lsm_edit *edit,
                               lsm_table_sink *sink, lsm_version **versionp,
                               lsmkv_error *err) LSM_MUST_CHECK;

/* The first table of a level >= 1 that does not end before skey; count if none. The
 * caller checks its smallest. */
size_t lsm_level_find(const lsm_level *level, lsm_slice skey);

/* The segment of that number, lent while the version lives; NULL: no table names it. */
lsm_segment *lsm_version_find_segment(const lsm_version *version, uint64_t number);
/* Likewise the table, by looking at all; NULL: it is in no level. */
lsm_live_table *lsm_version_find_table(const lsm_version *version, uint64_t number);

/* The cache segment of that number, lent while the version lives; NULL: none. */
lsm_segment *lsm_version_find_cache(const lsm_version *version, uint64_t number);
/* The one or the other. */
lsm_segment *lsm_version_find_values(const lsm_version *version, uint64_t number);
/* Gives a fresh version the cache segments of the base, without those the edit drops,
 * with those it adds. CORRUPTION when they do not fit together. */
lsmkv_status lsm_version_take_caches(lsm_version *version, const lsm_version *base,
                                     const lsm_edit *edit, lsm_table_sink *sink,
                                     lsmkv_error *err) LSM_MUST_CHECK;
void lsm_version_free_caches(lsm_version *version);

/* Whether two descriptions of one number are of the same table. */
bool lsm_table_info_same(const lsm_table_info *a, const lsm_table_info *b);

/* Stored-key ranges; a NULL data pointer is no bound. */
typedef struct lsm_key_range {
    lsm_slice smallest;
    lsm_slice largest;
    bool exclusive; /* largest itself is outside: a range delete ends there */
} lsm_key_range;

lsm_key_range lsm_live_table_range(const lsm_live_table *table);
bool lsm_range_overlaps(lsm_key_range a, lsm_key_range b);
/* Whether all of a lies before all of b. */
bool lsm_range_before(lsm_key_range a, lsm_key_range b);
/* Whether the bounds of a table take in a key. */
bool lsm_live_table_covers(const lsm_live_table *table, lsm_slice skey);
/* Whether any table of any level in [from, LSMKV_LEVEL_COUNT) may hold the key. */
bool lsm_version_may_hold_below(const lsm_version *version, uint32_t from,
                                lsm_slice skey);
/* Whether any of them overlaps a range that has both bounds. */
bool lsm_version_overlaps_below(const lsm_version *version, uint32_t from,
                                lsm_key_range range);

#endif
