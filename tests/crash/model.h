/* SPDX-License-Identifier: Apache-2.0
 *
 * What the database should hold: a small universe of keys, their values now, and the
 * history of commits, so that after a crash the recovered state can be compared with
 * the state after every prefix of the history.
 *
 * A state is known by a hash: the sum, over its keys, of a hash of key and value.
 * Sums make each commit cheap and let a scan in either direction compute the same.
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

enum { MODEL_KEYS_MAX = 128, MODEL_LOST_MAX = 8, MODEL_ABSENT = -1 };

typedef struct model_value {
    uint8_t *bytes; /* owned */
    size_t size;
    uint64_t entry_hash; /* of its key and its bytes */
} model_value;

typedef struct model_state {
    int32_t values[MODEL_KEYS_MAX]; /* index of the value, or MODEL_ABSENT */
    uint64_t hash;
} model_state;

typedef struct model_change {
    uint32_t key;
    int32_t value;
} model_change;

typedef struct model_commit {
    size_t first_change;
    size_t change_count;
    uint64_t hash; /* of the state after it */
} model_commit;

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
    size_t floor; /* commits that must survive anything */
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

/* One of them: `count` commits, and maybe one that is not among them. */
typedef struct model_prefix {
    size_t count;
    const model_commit *extra; /* NULL, or in the bounds it was found in */
} model_prefix;

void model_init(model *m, uint64_t seed, size_t key_count);
void model_deinit(model *m);

uint64_t model_entry_hash(const model *m, size_t key, lsmkv_bytes value);
/* The index of a key, at or after `from`; key_count when it is not in the universe. */
size_t model_find_key(const model *m, lsmkv_bytes key, size_t from);
/* The first key >= the given one. */
size_t model_lower_bound(const model *m, lsmkv_bytes key);
lsmkv_bytes model_value_bytes(const model *m, int32_t value);

void model_begin(model *m);
/* Stages a fresh value of `size` bytes, or a deletion; returns the bytes to write. */
lsmkv_bytes model_stage_put(model *m, size_t key, size_t size);
void model_stage_delete(model *m, size_t key);
void model_launch(model *m);
void model_land(model *m, bool done);
/* The launched commit has failed without a trace. */
void model_cancel(model *m);
/* Everything committed so far is durable. */
void model_raise_floor(model *m);

model_bounds model_bounds_now(const model *m);
/* Whether a state with this hash is within the bounds, and which it is. */
bool model_match(const model *m, const model_bounds *bounds, uint64_t hash,
                 model_prefix *prefix);
void model_state_at(const model *m, model_prefix prefix, model_state *state);
/* Forgets all history before and after the prefix: its state is the new base. */
void model_rewind(model *m, model_prefix prefix);

#endif
