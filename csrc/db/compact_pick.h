/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing what to compact: pure functions of a version, without I/O or locks.
 *
 * Leveled with dynamic targets (RocksDB's level_compaction_dynamic_level_bytes): the
 * last level with data is the reference and has no limit; each level above it may hold
 * 1/multiplier of the one below; levels whose target would fall under level_base_bytes
 * stay empty, and the first that does not is the base level, to which level 0 goes. So
 * the last level holds some 90 % of the data and space amplification stays near 1.1.
 * When the data has shrunk and a level above that one still holds some, the first level
 * with data stays the base level (level 0 must not pass older data) until it is empty.
 *
 * Level 0 scores table count / trigger, others bytes / target; the highest score >= 1
 * is compacted, but a level 0 at l0_slowdown goes first. From a level >= 1 the table is
 * taken whose overlap with the next level is smallest in proportion to its own size,
 * and with it neighbours that need no further reading below. From level 0 all tables
 * are taken, or one that overlaps nothing at all. A table that overlaps nothing below
 * it is moved, not rewritten, unless that would carry tombstones to where nothing lies
 * below.
 *
 * First of all, though, tables in which everything has expired and that hide nothing
 * older go unread. Last, when nothing else is due, tables of which half has expired, or
 * more than half are tombstones, are rewritten: into the next level or, in the last one
 * with data, in place, where that lets something go.
 *
 * Tables marked `compacting` are left alone, and level 0 is compacted by one job
 * at a time.
 */
#ifndef LSM_DB_COMPACT_PICK_H
#define LSM_DB_COMPACT_PICK_H

#include "db/options.h"
#include "db/version.h"

typedef struct lsm_level_targets {
    uint32_t base_level;
    uint64_t bytes[LSMKV_LEVEL_COUNT]; /* UINT64_MAX: no limit (level 0, those above
                                          the base level, the last with data) */
} lsm_level_targets;

lsm_level_targets lsm_pick_targets(const lsm_version *version,
                                   const lsm_options *options);

/* What a pick may go by, beside the version. */
typedef struct lsm_pick_moment {
    uint64_t now_ms;          /* engine time */
    uint64_t oldest_sequence; /* every snapshot sees this one */
    uint64_t log_bytes;       /* of the live logs */
} lsm_pick_moment;

typedef struct lsm_pick {
    uint32_t level;
    uint32_t output_level;
    lsm_live_table **inputs[2]; /* of level, of output_level; arrays owned, tables
                                   borrowed from the version; level 0 newest first */
    size_t input_counts[2];
    bool move; /* inputs[0] only change their level */
    bool drop; /* inputs[0] only go */
    double score;
} lsm_pick;

void lsm_pick_deinit(lsm_pick *pick);

/* OK with a pick, NOT_FOUND when nothing is due, NO_MEMORY. */
lsmkv_status lsm_pick_compaction(const lsm_version *version, const lsm_options *options,
                                 const lsm_pick_moment *moment, lsm_pick *pick,
                                 lsmkv_error *err) LSM_MUST_CHECK;

/* The two halves of it that go by what is dead, in pick_dead.c. */
lsmkv_status lsm_pick_expired(const lsm_version *version, const lsm_pick_moment *moment,
                              lsm_pick *pick, lsmkv_error *err) LSM_MUST_CHECK;
/* In pick_segments.c. OK with a pick that gives back space of large values, NOT_FOUND
 * when there is enough, NO_MEMORY. */
lsmkv_status lsm_pick_segments(const lsm_version *version, const lsm_options *options,
                               const lsm_pick_moment *moment, lsm_pick *pick,
                               lsmkv_error *err) LSM_MUST_CHECK;
/* Whether they take so much space that writers should wait for it. */
bool lsm_pick_space_is_out(const lsm_version *version, const lsm_options *options,
                           const lsm_pick_moment *moment);
/* Level 0 by the values it points to: they may be overwrites of what lies deeper. */
double lsm_pick_pointed_score(const lsm_version *version, const lsm_options *options);
/* The numbers, ascending and for the caller to lsm_free, of segments that a compaction
 * should move the values it meets out of. */
lsmkv_status lsm_pick_moving(const lsm_version *version, const lsm_options *options,
                             const lsm_pick_moment *moment, uint64_t **numbers,
                             size_t *count, lsmkv_error *err) LSM_MUST_CHECK;

lsmkv_status lsm_pick_dead(const lsm_version *version, const lsm_options *options,
                           const lsm_pick_moment *moment, lsm_pick *pick,
                           lsmkv_error *err) LSM_MUST_CHECK;
/* The next moment at which a table becomes due by itself; LSM_NEVER: none. */
uint64_t lsm_pick_next_due(const lsm_version *version, uint64_t now_ms);

/* One table of a level into the next one; of level 0 whatever has to go with it.
 * NOT_FOUND when an input is taken. */
lsmkv_status lsm_pick_push(const lsm_version *version, const lsm_options *options,
                           uint32_t level, size_t index, lsm_pick *pick,
                           lsmkv_error *err) LSM_MUST_CHECK;

/* For a manual compaction: everything of `level` that overlaps the range, into the next
 * level (from level 0: the base level). NOT_FOUND when nothing overlaps or `level` is
 * the last one that holds data; WOULD_BLOCK when an input is being compacted. */
lsmkv_status lsm_pick_range(const lsm_version *version, const lsm_options *options,
                            uint32_t level, lsm_key_range range, lsm_pick *pick,
                            lsmkv_error *err) LSM_MUST_CHECK;

/* The bytes that must be moved until no level is above its target: what stalls go by.
 */
uint64_t lsm_pick_debt(const lsm_version *version, const lsm_options *options);

#endif
