/* SPDX-License-Identifier: Apache-2.0
 *
 * A world: one simulated disk, the database on it, the model of what it should hold,
 * and the snapshots and cursors that are open. Every operation goes to both and the
 * answers are compared.
 *
 * A profile is everything that a seed decides before the first operation: options,
 * tearing, the mix of operations. All sizes are tiny, so that every structure of the
 * engine (full memtables, several levels, multi-level indexes, cut tables, rolled
 * MANIFESTs) comes to be within tens of operations.
 *
 * In some worlds calls of the system or allocations fail: there an operation may answer
 * an error of the `allowed` ones, and must then have had no visible effect. A write
 * that found no memory has had no effect at all, since it needs none after the log's
 * append; one that met an I/O error may show up after a reopen.
 */
#ifndef LSM_TESTS_CRASH_WORLD_H
#define LSM_TESTS_CRASH_WORLD_H

#include "api/testing.h"
#include "base/rng.h"
#include "model.h"

#define WORLD_PATH "db"

static const uint32_t WORLD_IO_ERRORS =
    UINT32_C(1) << LSMKV_IO_ERROR | UINT32_C(1) << LSMKV_DISK_FULL;
static const uint32_t WORLD_NO_MEMORY = UINT32_C(1) << LSMKV_NO_MEMORY;

enum { WORLD_SNAPSHOTS = 3, WORLD_CURSORS = 3 };

typedef enum world_op {
    OP_PUT,
    OP_DELETE,
    OP_DELETE_RANGE,
    OP_BATCH,
    OP_FILL, /* a run of puts */
    OP_SYNC,
    OP_FLUSH,
    OP_COMPACT,
    OP_SETTLE,
    OP_STEP, /* background work */
    OP_GET,
    OP_GET_MANY,
    OP_SCAN,
    OP_SNAPSHOT, /* opens, checks or frees one */
    OP_CURSOR,   /* opens, moves or frees one */
    OP_VERIFY,
    OP_REOPEN,
    OP_TOUCH,
    OP_SPACE,     /* creates, writes in, or drops namespaces */
    OP_CLOCK,     /* lets time pass, or sets the wall clock */
    OP_PUT_SINCE, /* puts unless the key was written since a snapshot */
    OP_CACHE,     /* writes in a namespace that is a cache */
    OP_WARM,
    OP_PUBLISH, /* begins, feeds or ends a publish, switches or releases versions */
    OP_ROWS,    /* writes rows of a namespace of vectors */
    OP_COUNT
} world_op;

typedef struct profile {
    uint64_t seed;
    lsmkv_options options;
    uint32_t sector;
    uint32_t key_count;
    uint32_t value_max;
    uint32_t batch_max;
    uint32_t sync_permille; /* of writes */
    uint32_t short_permille;
    uint32_t ttl_permille;   /* of puts */
    uint32_t stale_permille; /* of those: may be stale afterwards */
    uint32_t weights[OP_COUNT];
} profile;

typedef struct snapshot_slot {
    lsmkv_snapshot *handle; /* NULL: free */
    model_state state;
    uint64_t write_count; /* of the model, when it was made */
} snapshot_slot;

typedef struct cursor_slot {
    lsmkv_iter *handle; /* NULL: free */
    model_state state;
    size_t start; /* keys in [start, stop) of the universe */
    size_t stop;
    size_t at; /* key_count: not positioned on a row */
    bool fresh;
} cursor_slot;

/* A publish that is going on; its nonce decides what its rows are (publishes.c). */
typedef struct publish_slot {
    lsmkv_publish *handle; /* NULL: none */
    size_t name;
    size_t version;
    uint64_t nonce;
    uint64_t end_ms; /* of the rows that expire; 0: none does */
    size_t put_count;
} publish_slot;

typedef struct world {
    const profile *profile;
    lsm_env *env; /* owned */
    lsmkv_db *db; /* owned; NULL: closed */
    lsmkv_options options;
    model model;
    lsm_rng rng;
    snapshot_slot snapshots[WORLD_SNAPSHOTS];
    cursor_slot cursors[WORLD_CURSORS];
    publish_slot publish;
    lsmkv_batch *batch; /* owned, reused */
    uint32_t allowed;   /* errors an operation may answer, as 1 << status */
    bool reads_may_fail;
    void (*relief)(struct world *w); /* ends what makes an open fail; or NULL */
    void (*refused)(struct world *w,
                    const lsmkv_error *err); /* on each such; or NULL */
    uint64_t seen_ms; /* engine time as last seen; it must not go back */
    bool over;        /* its crash was taken: the model's history must stay as it is */
} world;

/* world.c */
void profile_init(profile *p, uint64_t seed);
/* New tiny options from the stream: what a reopen may change. */
void profile_vary_options(lsmkv_options *options, lsm_rng *rng);
void world_init(world *w, const profile *p);
void world_deinit(world *w);
/* Opens the database; with injected errors it may not open: false. */
bool world_open(world *w);
/* Closes and frees the handle, and half of the time before that what depends on it. */
void world_close(world *w);
/* As a crash: frees everything and leaves the disk as it is. */
void world_abandon(world *w);
void world_free_views(world *w);
bool world_allows(const world *w, lsmkv_status status);
/* true: OK. false: an error that the world allows. Else the check fails. */
bool world_ok(world *w, lsmkv_status status, const lsmkv_error *err, const char *what);
/* Engine time; checks that it has not gone back. */
uint64_t world_now(world *w);
/* What a plain read shows of a key in a state now: a value or MODEL_ABSENT. */
int32_t world_shown(world *w, const model_state *state, size_t key);
int32_t world_shown_stale(world *w, const model_state *state, size_t key);
uint64_t world_below(world *w, uint64_t bound);
bool world_odds(world *w, uint32_t permille);

/* ops.c; each returns false when it answered an allowed error. */
bool world_put(world *w, size_t key, size_t size, bool sync);
/* With a new time to live, a short one, or a value that never expires. */
bool world_touch(world *w, size_t key, bool sync);
/* Draws how the clocks move: on, ahead, or back. */
void world_move_clock(world *w);
/* Puts, if there is a snapshot, unless the key was written since. */
bool world_put_since(world *w, size_t key, size_t size, bool sync);
bool world_delete(world *w, size_t key, bool sync);
bool world_delete_range(world *w, bool sync); /* any range */
bool world_batch(world *w, size_t records, bool sync);
bool world_sync(world *w);
bool world_flush(world *w);
bool world_compact(world *w, bool everything);
bool world_settle(world *w);
void world_step(world *w, uint64_t count);
void world_check_key(world *w, size_t key);
void world_check_scan(world *w, bool reverse);
void world_verify(world *w);
/* Every key and both scans. */
void world_check_all(world *w);
/* Closes and opens again; where the open may fail, a second time after the relief. */
bool world_reopen(world *w);
/* As a process that died and one that comes after it. */
bool world_restart(world *w);
size_t world_any_key(world *w);
size_t world_any_size(world *w);
/* One operation by the weights of the profile. */
void world_run(world *w);

/* times.c */

/* The mark of the times of a value; 0: there is none, or it cannot be read. */
uint64_t world_mark_of(lsmkv_db *db, lsmkv_bytes key);
/* What the value of a key adds to the hash of a state if it is hidden, else 0. */
lsmkv_status world_stale_hash(lsmkv_db *db, const model *m, size_t key, uint64_t *hash,
                              lsmkv_error *err);
/* The stale-tolerant reads of one key. */
void world_check_stale(world *w, size_t key);

/* caches.c */

/* Writes a value and its mark, then so many others, and looks at what is there. */
void world_use_cache(world *w, size_t fills);
/* Whether the cache shows nothing that it must not; else the check fails. */
lsmkv_status caches_check(lsmkv_db *db);

/* spaces.c */
void world_use_space(world *w);
/* What there is beside the default namespace, as a snapshot (may be NULL) has it;
 * caches are checked on the way. */
lsmkv_status spaces_look(lsmkv_db *db, const lsmkv_snapshot *snapshot, const model *m,
                         model_sides *to);
uint64_t spaces_hash(const model_sides *sides);
/* Compares that with a state. */
void world_check_sides(world *w, const lsmkv_snapshot *snapshot,
                       const model_state *state);
/* The launched commit has been answered: lands it, and looks at all of that. */
void world_land_sides(world *w, lsmkv_status status, const lsmkv_error *err,
                      bool durable);

/* gathers.c */
void world_use_rows(world *w);
lsmkv_status rows_look(lsmkv_db *db, const lsmkv_snapshot *snapshot, const model *m,
                       model_sides *to);

/* publishes.c */
void world_use_publish(world *w);
/* Discards the publish that is going on, if there is one. */
void world_end_publish(world *w);
lsmkv_status publishes_look(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                            const model *m, model_sides *to);
/* Fails if something is left of a publish that was interrupted. */
void publishes_check_clean(lsmkv_db *db);

/* After a close that failed to end well; see world_reopen. */
bool world_open_again(world *w);

/* warming.c */
void world_warm(world *w);

/* copies.c */
/* Into a directory of its own; without links the files are copied. */
bool world_checkpoint(world *w, bool links);
/* Closes, or dies, repairs into another directory, and opens again. */
bool world_repair(world *w, bool dies);

/* views.c */
void world_get_many(world *w);
void world_use_snapshot(world *w);
void world_use_cursor(world *w);

#endif
