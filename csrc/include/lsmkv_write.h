/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing: one key, a range, batches, and the times of values.
 */
#ifndef LSMKV_WRITE_H
#define LSMKV_WRITE_H

#include "lsmkv_base.h"
#include "lsmkv_read.h"

typedef struct lsmkv_write {
    bool sync;        /* survive power loss before returning */
    bool nosync;      /* overrides the database's durability "sync" for this write */
    bool nonblocking; /* answer WOULD_BLOCK, having done nothing, instead of waiting */
    int64_t ttl_ms;   /* when a value that is put expires, counted from the write: 0 as
                         the namespace has it, -1 never, > 0 after so long */
    const lsmkv_namespace *space; /* NULL: the default namespace */
    int64_t stale_ms; /* a value with a time to live is fresh until then, and stays for
                         so much longer, which only reads that ask for it see; 0 as the
                         namespace has it, -1 none */
    uint64_t expire_at_ms;   /* instead of ttl_ms: a moment as lsmkv_entry tells it; 0:
                                none */
    uint64_t fresh_until_ms; /* with expire_at_ms: it is fresh until then only; 0: until
                                it expires */
    const lsmkv_snapshot
        *since; /* lsmkv_put alone: store only if nothing was put under
                   the key, and nothing deleted it, since this snapshot
                   was made, else answer NOT_FOUND; NULL: in any case */
} lsmkv_write;

/* A value that has expired is gone from every read, snapshots included, for good, and
 * no older value of its key comes back. Time is the database's own: it follows the wall
 * clock, but never goes back, not across reopens either, and does not follow a clock
 * that jumps ahead by more than a day while the database is open
 * (lsmkv_stats.clock_jumps).
 *
 * `how` may be NULL: the database's durability. A write that failed is not readable
 * through this handle; if the failure came at or after the log append it may be
 * present, whole, after a reopen. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_put(lsmkv_db *db, const lsmkv_write *how,
                                                  lsmkv_bytes key, lsmkv_bytes value,
                                                  lsmkv_error *err);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_delete(lsmkv_db *db,
                                                     const lsmkv_write *how,
                                                     lsmkv_bytes key, lsmkv_error *err);
/* Deletes every key of the range (NULL: all) in one small record, however many there
 * are. Their space comes back by compaction. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_delete_range(lsmkv_db *db,
                                                           const lsmkv_write *how,
                                                           const lsmkv_range *range,
                                                           lsmkv_error *err);

/* The time left to the value of a key: OK and *ttl_ms, -1 if it never expires;
 * NOT_FOUND without a value, else as lsmkv_get. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_ttl(lsmkv_db *db, const lsmkv_read *read,
                                                  lsmkv_bytes key, int64_t *ttl_ms,
                                                  lsmkv_error *err);
/* Gives the value of a key the times of `how` from now on, leaving it as it is: OK,
 * or NOT_FOUND when there is none. A put or delete at the same time is never undone. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_touch(lsmkv_db *db,
                                                    const lsmkv_write *how,
                                                    lsmkv_bytes key, lsmkv_error *err);

/* A batch is applied whole or not at all; later records win over earlier ones. It
 * belongs to no database, keeps copies of what it is given and can be written more
 * than once; a time to live counts from each write. Of a record's `how`, which may be
 * NULL, only times and space are looked at; of that of lsmkv_write_batch they are not.
 * Records that name namespaces belong to their database. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_batch_create(lsmkv_batch **batchp,
                                                           lsmkv_error *err);
LSMKV_API void lsmkv_batch_free(lsmkv_batch *batch);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_batch_put(lsmkv_batch *batch,
                                                        const lsmkv_write *how,
                                                        lsmkv_bytes key,
                                                        lsmkv_bytes value,
                                                        lsmkv_error *err);
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_batch_delete(lsmkv_batch *batch,
                                                           const lsmkv_write *how,
                                                           lsmkv_bytes key,
                                                           lsmkv_error *err);
/* Deletes what the range holds when the batch is written, and what earlier records of
 * the batch put into it. `how` may be NULL; a batch is synced as a whole. A range that
 * can hold no key adds no record. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status
lsmkv_batch_delete_range(lsmkv_batch *batch, const lsmkv_write *how,
                         const lsmkv_range *range, lsmkv_error *err);
LSMKV_API void lsmkv_batch_clear(lsmkv_batch *batch);
LSMKV_API size_t lsmkv_batch_count(const lsmkv_batch *batch); /* records */
LSMKV_API size_t lsmkv_batch_bytes(const lsmkv_batch *batch); /* encoded size */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_write_batch(lsmkv_db *db,
                                                          const lsmkv_write *how,
                                                          lsmkv_batch *batch,
                                                          lsmkv_error *err);

#endif
