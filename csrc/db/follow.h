/* SPDX-License-Identifier: Apache-2.0
 *
 * A follower: a view (view.h) that keeps what it has read of MANIFEST and logs open and
 * goes on from there when it is refreshed. lsm_db_refresh looks, cheapest first:
 *
 *   1. does CURRENT name another MANIFEST? Then all is loaded anew, as in an opening
 *   2. has the MANIFEST grown? Then its new edits are applied to the version, the
 *      tables are opened, and logs below the first live one go with their memtables
 *   3. are there names in the directory that were not there? Then it is made sure that
 *      the MANIFEST is still the one it was, and the new logs are opened, newest first
 *   4. has a log grown? Then its new records are replayed, into the memtable that holds
 *      the older ones. A record that is not whole yet is no record yet
 *
 * Each log continues the sequence of the one before it. Where that does not hold, one
 * was missed, or the writer took back a write that failed: then all is loaded anew.
 * After a failure, too, whose reason is the moment's as long as the MANIFEST changes:
 * it is tried again, some fifty times. What stays is CHANGED, or CORRUPTION if the
 * MANIFEST has not changed meanwhile.
 *
 * Publishing. What is replayed has sequences above the published one, so readers do not
 * see it before that is raised. It is raised before the readstate is exchanged: a
 * reader who has the old one then finds all of what that can show, which ends between
 * two batches; and no reader has a later version of the tables with an earlier
 * sequence, whose values compactions have dropped. Only where sequences go back (a
 * power failure at the writer's) it is done the other way round, and what is replayed
 * from then on goes to another memtable.
 *
 * A refresh that fails is told to who asked for it; that of the thread which refreshes
 * by itself, to who asks how it goes (lsm_follow_stats). What is shown stays, so reads
 * go on; the thread goes on too, after ever longer pauses.
 *
 * The writer knows of no follower. So a snapshot holds the readstate of its moment
 * (db.h), and so do iterators; their files stay readable where they were held open.
 *
 * Threads: a refresh sets `installing`, so there is one at a time, and none during what
 * else wants the files to stay the same. It takes catalog_mu for the moment of
 * publishing, so that nobody meets names of one state and namespaces of another.
 */
#ifndef LSM_DB_FOLLOW_H
#define LSM_DB_FOLLOW_H

#include "db/db.h"
#include "db/recover.h"

typedef struct lsm_follow lsm_follow;

/* Makes a follower of a view that was just loaded. Takes over what the two hold; they
 * are empty then. Starts the thread that refreshes now and then, if the options ask for
 * it. */
lsmkv_status lsm_follow_begin(lsmkv_db *db, lsm_manifest_state *state,
                              lsm_recovery *recovery, lsmkv_error *err) LSM_MUST_CHECK;
void lsm_follow_end(lsmkv_db *db); /* for destroy; no follower is fine */
/* How it keeps up; INVALID_ARGUMENT for a handle that is no follower. */
lsmkv_status lsm_follow_stats(lsmkv_db *db, lsmkv_follow_stats *stats,
                              lsmkv_error *err) LSM_MUST_CHECK;
/* How long the thread waits after so many failures in a row: each doubles the period,
 * up to 64 times and a minute, but for a period that is longer by itself. */
uint64_t lsm_follow_pause_us(uint64_t period_us, uint64_t failures);

#endif
