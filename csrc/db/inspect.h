/* SPDX-License-Identifier: Apache-2.0
 *
 * Inspection: one file, decoded part by part by the engine's own decoders, going on
 * past damage. What is in an inspection of each kind of file lives in inspect_*.c; this
 * is what they share: a window over the file, and the facts of the part at hand.
 *
 * Every byte is hostile. Memory is that of the largest block, record or value in the
 * file, which its size bounds; but a table without an index is read as a whole, to
 * search it for its blocks (table/salvage_search.h), and a block of more than
 * LSM_INSPECT_RAW_MAX decompressed bytes is not decompressed unless it is a large one
 * on the disk, too.
 */
#ifndef LSM_DB_INSPECT_H
#define LSM_DB_INSPECT_H

#include "base/buf.h"
#include "env/env.h"
#include "format/ikey.h"
#include "format/record.h"

enum {
    LSM_INSPECT_FACTS_MAX = 32,
    LSM_INSPECT_RAW_MAX = 16 << 20,
    LSM_INSPECT_RATIO_MAX = 256,
};

typedef struct lsm_inspect_ops {
    /* As lsmkv_inspect_next. */
    lsmkv_status (*next)(lsmkv_inspection *inspection, lsmkv_part *part,
                         lsmkv_error *err);
    void (*destroy)(void *state);
} lsm_inspect_ops;

struct lsmkv_inspection {
    lsm_dir *dir;   /* owned */
    lsm_file *file; /* owned */
    lsmkv_inspect_how how;
    lsmkv_file_type type;
    char name[LSM_NAME_SIZE_MAX];
    uint64_t number; /* as the name says; 0: it does not */
    uint64_t size;   /* of the file, when it was opened */
    uint64_t file_id;
    lsm_buf window; /* bytes from window_at on */
    uint64_t window_at;
    uint64_t unread_from; /* all that the device could not read lies between these */
    uint64_t unread_to;
    lsmkv_fact facts[LSM_INSPECT_FACTS_MAX]; /* of the part at hand */
    size_t fact_count;
    lsmkv_error problem; /* of the damage at hand */
    const lsm_inspect_ops *ops;
    void *state; /* owned, by way of ops */
};

/* What the public calls do, in an env. */
lsmkv_status lsm_inspect_open(lsm_env *env, const char *directory, const char *name,
                              const lsmkv_inspect_how *how,
                              lsmkv_inspection **inspectionp,
                              lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_inspect_next(lsmkv_inspection *inspection, lsmkv_part *part,
                              lsmkv_error *err) LSM_MUST_CHECK;
void lsm_inspect_free(lsmkv_inspection *inspection);

/* Lends `size` bytes at `offset`, which the file has, until the next call: zeros for
 * what the device cannot read, or is no longer there. */
lsmkv_status lsm_inspect_fetch(lsmkv_inspection *inspection, uint64_t offset,
                               uint64_t size, const uint8_t **bytes,
                               lsmkv_error *err) LSM_MUST_CHECK;

/* Reads and decodes the header of a record file; `size`: bytes that there are of it.
 * *ok: it is one; otherwise the problem is set. A later version is an error. */
lsmkv_status lsm_inspect_header(lsmkv_inspection *inspection,
                                lsm_record_file_header *header, const uint8_t **bytes,
                                size_t *size, bool *ok,
                                lsmkv_error *err) LSM_MUST_CHECK;
/* Whether the device could not read all of the bytes [from, to). */
static inline bool lsm_inspect_unread(const lsmkv_inspection *inspection, uint64_t from,
                                      uint64_t to) {
    return from < inspection->unread_to && inspection->unread_from < to;
}

/* Begins a part without facts. */
void lsm_part_begin(lsmkv_inspection *inspection, lsmkv_part *part,
                    lsmkv_part_kind kind, const char *name);
/* Begins the first part, with the facts that every type of file has. */
void lsm_part_file(lsmkv_inspection *inspection, lsmkv_part *part);
/* Add a fact to it. */
void lsm_part_number(lsmkv_inspection *inspection, const char *name, uint64_t number);
void lsm_part_hex(lsmkv_inspection *inspection, const char *name, uint64_t number);
void lsm_part_id(lsmkv_inspection *inspection, const char *name, const uint8_t *bytes,
                 size_t size);
void lsm_part_bytes(lsmkv_inspection *inspection, const char *name, lsm_slice bytes);
void lsm_part_text(lsmkv_inspection *inspection, const char *name, const char *text);
/* Bytes [from, to) that are damage, or, with REST, are not; `problem` says why. */
void lsm_part_problem(lsmkv_inspection *inspection, lsmkv_part *part,
                      lsmkv_part_kind kind, const char *name, uint64_t from,
                      uint64_t to);
/* Sets the problem for lsm_part_problem. */
void lsm_inspect_say(lsmkv_inspection *inspection, const char *format, ...)
    LSM_PRINTF(2, 3);

/* A stored key, of at least LSM_NAMESPACE_SIZE bytes, as two facts. */
void lsm_part_skey(lsmkv_inspection *inspection, const char *namespace_name,
                   const char *key_name, lsm_slice skey);

/* A version that lsm_record_check let pass. */
typedef struct lsm_inspect_version {
    uint64_t sequence;
    uint8_t tag;
    lsm_slice skey;
    lsm_slice field;
    uint64_t offset; /* of the part */
    uint64_t size;
    uint64_t value_offset; /* where a large value itself is in the file; 0: the field
                              is a pointer to it, or holds a value that is none */
    lsm_slice large;       /* that value */
} lsm_inspect_version;

void lsm_part_version(lsmkv_inspection *inspection, lsmkv_part *part,
                      const lsm_inspect_version *version);
const char *lsm_kind_name(uint8_t tag);

/* Each takes an inspection whose file is open and its type known, and gives it ops and
 * state. */
lsmkv_status lsm_inspect_table(lsmkv_inspection *inspection,
                               lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_inspect_records(lsmkv_inspection *inspection,
                                 lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_inspect_cache(lsmkv_inspection *inspection,
                               lsmkv_error *err) LSM_MUST_CHECK;
lsmkv_status lsm_inspect_small(lsmkv_inspection *inspection,
                               lsmkv_error *err) LSM_MUST_CHECK;

#endif
