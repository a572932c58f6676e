/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows for tests of blocks and tables: random internal keys and value fields, sorted,
 * with many versions of few keys, and the reference answers over them.
 */
#ifndef LSM_TESTS_TABLE_HELP_H
#define LSM_TESTS_TABLE_HELP_H

#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/rng.h"
#include "format/ikey.h"

typedef struct row {
    uint8_t *ikey; /* owned */
    size_t ikey_size;
    uint8_t *field; /* owned */
    size_t field_size;
} row;

typedef struct row_set {
    row *rows; /* sorted by internal key; owned */
    size_t count;
} row_set;

/* How rows are made. */
typedef struct row_shape {
    size_t count;
    size_t key_size_max; /* of the user key */
    size_t key_shared;   /* leading bytes all user keys have in common */
    unsigned alphabet;   /* different bytes in the rest */
    size_t field_size_max;
    uint64_t sequence_max; /* small: many versions of few keys */
} row_shape;

static inline lsm_slice row_ikey(const row *r) {
    return lsm_slice_make(r->ikey, r->ikey_size);
}

static inline lsm_slice row_skey(const row *r) {
    return lsm_ikey_skey(row_ikey(r));
}

static inline lsm_slice row_field(const row *r) {
    return lsm_slice_make(r->field, r->field_size);
}

static inline uint64_t row_sequence(const row *r) {
    return lsm_trailer_sequence(lsm_ikey_trailer(row_ikey(r)));
}

static inline int row_compare(const void *a, const void *b) {
    return lsm_ikey_compare(row_ikey(a), row_ikey(b));
}

static inline row row_make(lsm_rng *rng, const row_shape *shape) {
    size_t rest = (size_t)lsm_rng_below(rng, shape->key_size_max + 1);
    size_t key_size = shape->key_shared + rest;
    bool dead = lsm_rng_below(rng, 8) == 0;
    uint64_t sequence = lsm_rng_below(rng, shape->sequence_max) + 1;
    row r = {.ikey_size = LSM_IKEY_SIZE_MIN + key_size};

    r.ikey = lsm_alloc(r.ikey_size);
    CHECK(r.ikey != NULL);
    lsm_put_u32_be(r.ikey, lsm_rng_below(rng, 16) == 0 ? 7 : LSM_NAMESPACE_DEFAULT);
    memset(r.ikey + LSM_NAMESPACE_SIZE, 'k', shape->key_shared);
    for (size_t i = shape->key_shared; i < key_size; i++) {
        uint64_t byte = lsm_rng_below(rng, shape->alphabet);

        r.ikey[LSM_NAMESPACE_SIZE + i] = (uint8_t)(byte * 255 / (shape->alphabet - 1));
    }
    lsm_put_u64(r.ikey + LSM_NAMESPACE_SIZE + key_size,
                lsm_trailer_make(sequence, dead ? LSM_KIND_DELETE : LSM_KIND_PUT));
    r.field_size = dead ? 0 : (size_t)lsm_rng_below(rng, shape->field_size_max + 1);
    if (r.field_size != 0) {
        r.field = lsm_alloc(r.field_size);
        CHECK(r.field != NULL);
    }
    for (size_t i = 0; i < r.field_size; i++) {
        r.field[i] = (uint8_t)lsm_rng_below(rng, i % 16 == 0 ? 256 : 4);
    }
    return r;
}

static inline void row_free(row *r) {
    lsm_free(r->ikey);
    lsm_free(r->field);
}

static inline void rows_free(row_set *set) {
    for (size_t i = 0; i < set->count; i++) {
        row_free(&set->rows[i]);
    }
    lsm_free(set->rows);
}

/* Sorted, without two rows of one key and sequence; at least one. */
static inline row_set rows_make(lsm_rng *rng, const row_shape *shape) {
    row_set set = {0};
    size_t kept = 0;

    set.rows = lsm_alloc(shape->count * sizeof(row));
    CHECK(set.rows != NULL);
    for (size_t i = 0; i < shape->count; i++) {
        set.rows[i] = row_make(rng, shape);
    }
    qsort(set.rows, shape->count, sizeof(row), row_compare);
    for (size_t i = 0; i < shape->count; i++) {
        row *r = &set.rows[i];

        if (kept != 0 && lsm_slice_equal(row_skey(r), row_skey(&set.rows[kept - 1])) &&
            row_sequence(r) == row_sequence(&set.rows[kept - 1])) {
            row_free(r);
        } else {
            set.rows[kept++] = *r;
        }
    }
    set.count = kept;
    return set;
}

/* The index of the first row at or after (skey, trailer). */
static inline size_t rows_seek(const row_set *set, lsm_slice skey, uint64_t trailer) {
    for (size_t i = 0; i < set->count; i++) {
        int order = lsm_slice_compare(row_skey(&set->rows[i]), skey);
        uint64_t other = lsm_ikey_trailer(row_ikey(&set->rows[i]));

        if (order > 0 || (order == 0 && other <= trailer)) {
            return i;
        }
    }
    return set->count;
}

/* The row a reader of skey at `sequence` sees, or NULL. */
static inline const row *rows_get(const row_set *set, lsm_slice skey,
                                  uint64_t sequence) {
    size_t at = rows_seek(set, skey, lsm_trailer_make(sequence, LSM_TAG_SEEK));

    return at < set->count && lsm_slice_equal(row_skey(&set->rows[at]), skey)
               ? &set->rows[at]
               : NULL;
}

#endif
