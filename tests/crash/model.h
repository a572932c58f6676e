/* SPDX-License-Identifier: Apache-2.0
 *
 * What the database should hold: a small universe of keys, their values now, and the
 * history of commits, so that after a crash the recovered state can be compared with
 * the state after every prefix of the history.
 *
 * A state is known by a hash: the sum, over its keys, of a hash of key, value and its
 * times, without which writes of equal bytes would look the same. Sums make each commit
 * cheap and let a scan in either direction compute the same.
 *
 * Values may be hidden and then expire. The hash of a state at a moment counts what is
 * alive then, be it hidden; which moment it is, engine time, the database says, and it
 * may say none that is before the time of a commit it holds.
 *
 * A commit is begun, staged, launched (the call to the database is about to happen;
 * a crash inside it may show it or not), and landed: done, or lost when the call
 * failed. A lost commit is not readable; after a crash it may be there as a whole
 * (R3), but not once a later write has succeeded.
 */
#ifndef LSM_TESTS_CRASH_MODEL_H
#define LSM_TESTS_CRASH_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/lsmkv.h"

enum {
    MODEL_KEYS_MAX = 128,
    MODEL_LOST_MAX = 160,
    MODEL_COPIES_MAX = 8,
    MODEL_ABSENT = -1
};

#define MODEL_NEVER UINT64_MAX

/* Plain reads show a value before the first moment, stale-tolerant ones before the
 * second, which is not earlier. */
typedef struct model_times {
    uint64_t hidden_at;
    uint64_t gone_at;
} model_times;

#define MODEL_FOR_EVER ((model_times){MODEL_NEVER, MODEL_NEVER})

/* What there is beside the keys of the default namespace: indices behind those. Of each
 * the file says what its indices mean. */
enum {
    MODEL_SPACES = 2, /* namespaces (spaces.c) */
    MODEL_SPACE_SLOTS = 4,
    MODEL_ROW_SLOTS = 6, /* of a namespace of rows (gathers.c) */
    MODEL_NAMES = 2,     /* published (publishes.c) */
    MODEL_VERSIONS = 3,
    MODEL_ROWS_AT = MODEL_SPACES * MODEL_SPACE_SLOTS,
    MODEL_PUBLISHES_AT = MODEL_ROWS_AT + MODEL_ROW_SLOTS,
    MODEL_SIDES = MODEL_PUBLISHES_AT + MODEL_NAMES * MODEL_VERSIONS * 2
};

typedef struct model_sides {
    uint64_t entries[MODEL_SIDES]; /* entry hashes; 0: not there */
    uint64_t ends[MODEL_SIDES];
} model_sides;

typedef struct model_value {
    uint8_t *bytes; /* owned */
    size_t size;
    uint64_t entry_hash; /* of its key and its bytes */
    model_times times;
    uint64_t full_hash;  /* of all three: what a state is known by */
    uint64_t stale_hash; /* the same once it is hidden */
} model_value;

typedef struct model_state {
    int32_t values[MODEL_KEYS_MAX]; /* index of the value, or MODEL_ABSENT */
} model_state;

typedef struct model_change {
    uint32_t key;
    int32_t value;
} model_change;

typedef struct model_commit {
    size_t first_change;
    size_t change_count;
    uint64_t time_ms; /* engine time when it was launched */
} model_commit;

/* A checkpoint: whatever happens, its directory holds this state, or no CURRENT. */
typedef struct model_copy {
    char path[16];
    model_state state;
    bool done;    /* then it holds the state */
    bool unknown; /* nobody knows what it holds */
} model_copy;

typedef struct model {
    size_t key_count;
    lsmkv_bytes keys[MODEL_KEYS_MAX]; /* ascending; bytes owned */
    uint64_t key_hashes[MODEL_KEYS_MAX];
    model_value *values;
    size_t value_count;
    size_t value_capacity;
    model_change *changes; /* of all commits since `base` and the lost ones */
    size_t change_count;
    size_t change_capacity;
    model_commit *commits;
    size_t commit_count; /* landed */
    size_t commit_capacity;
    model_state base;
    model_state now;
    model_state before;    /* of the commit that is begun */
    model_commit launched; /* while in_flight */
    bool in_flight;
    model_commit lost[MODEL_LOST_MAX]; /* since the last success */
    size_t lost_count;
    size_t floor;                     /* commits that must survive anything */
    uint64_t written[MODEL_KEYS_MAX]; /* by which commit of all, even if to no effect */
    uint64_t write_count;
    bool staged[MODEL_KEYS_MAX]; /* the launched one writes it */
    model_copy copies[MODEL_COPIES_MAX];
    size_t copy_count;
} model;

/* The states that a crash at some moment may leave. */
typedef struct model_bounds {
    size_t floor;
    size_t last;
    model_commit maybe[MODEL_LOST_MAX + 1]; /* each alone, on top of `last` */
    size_t maybe_count;
    bool exact; /* only a state with this hash */
    uint64_t hash;
} model_bounds;

/* What was found at some moment. */
typedef struct model_sight {
    uint64_t hash;
    uint64_t now_ms;
} model_sight;

/* One of them: `count` commits, and maybe one that is not among them. */
typedef struct model_prefix {
    size_t count;
    const model_commit *extra; /* NULL, or in the bounds it was found in */
} model_prefix;

void model_init(model *m, uint64_t seed, size_t key_count);
void model_deinit(model *m);

uint64_t model_entry_hash(const model *m, size_t key, lsmkv_bytes value);
/* One number for both times. A hidden value is hidden since 0. */
uint64_t model_mark(model_times times);
/* What an entry with that hash adds to the hash of a state, by the mark of its times.
 */
uint64_t model_full_hash(uint64_t entry_hash, uint64_t mark);
/* The index of a key, at or after `from`; key_count when it is not in the universe. */
size_t model_find_key(const model *m, lsmkv_bytes key, size_t from);
/* The first key >= the given one. */
size_t model_lower_bound(const model *m, lsmkv_bytes key);
lsmkv_bytes model_value_bytes(const model *m, int32_t value);

void model_begin(model *m);
/* Stages a fresh value of `size` bytes, or a deletion; returns the bytes to write. */
lsmkv_bytes model_stage_put(model *m, size_t key, size_t size, model_times times);
/* Stages these bytes, which are copied, for ever. */
void model_stage_bytes(model *m, size_t key, lsmkv_bytes bytes);
void model_stage_delete(model *m, size_t key);
/* Of the keys [start, stop) of the universe. */
void model_stage_delete_range(model *m, size_t start, size_t stop);
/* The value of a key, which is there, with another time. */
void model_stage_touch(model *m, size_t key, model_times times);
void model_launch(model *m, uint64_t now_ms);
void model_land(model *m, bool done);
/* The launched commit has failed without a trace. */
void model_cancel(model *m);
/* Everything committed so far is durable. */
void model_raise_floor(model *m);

model_bounds model_bounds_now(const model *m);
/* The value that a state shows for a key at a moment, or MODEL_ABSENT. */
int32_t model_shown(const model *m, const model_state *state, size_t key,
                    uint64_t now_ms);
/* The same for stale-tolerant reads. */
int32_t model_shown_stale(const model *m, const model_state *state, size_t key,
                          uint64_t now_ms);
/* The hash of a state at a moment. */
uint64_t model_hash(const model *m, const model_state *state, uint64_t now_ms);
/* Whether a state that looks like this is within the bounds, and which it is. */
bool model_match(const model *m, const model_bounds *bounds, model_sight sight,
                 model_prefix *prefix);
/* The engine time of the last commit in a prefix; 0: it has none. */
uint64_t model_time_of(const model *m, model_prefix prefix);
void model_state_at(const model *m, model_prefix prefix, model_state *state);
/* Forgets all history before and after the prefix: its state is the new base. */
void model_rewind(model *m, model_prefix prefix);

#endif
