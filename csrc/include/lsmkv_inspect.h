/* SPDX-License-Identifier: Apache-2.0
 *
 * Inspection: what one file of a database holds, piece by piece in the order of the
 * file, whole or damaged, with the database there or not. Nothing is opened but the
 * file.
 */
#ifndef LSMKV_INSPECT_H
#define LSMKV_INSPECT_H

#include "lsmkv_base.h"

/* What a file is. */
typedef enum lsmkv_file_type {
    LSMKV_FILE_UNKNOWN = 0,
    LSMKV_FILE_LOG = 1,
    LSMKV_FILE_MANIFEST = 2,
    LSMKV_FILE_VALUES = 3,
    LSMKV_FILE_CACHE = 4,
    LSMKV_FILE_TABLE = 5,
    LSMKV_FILE_CURRENT = 6,
    LSMKV_FILE_HOTLIST = 7
} lsmkv_file_type;

typedef enum lsmkv_part_kind {
    LSMKV_PART_FILE = 1, /* the first one: what the file is */
    LSMKV_PART_BLOCK,    /* of a table, the footer included */
    LSMKV_PART_RECORD,   /* of a log, a MANIFEST or a value file */
    LSMKV_PART_FRAME,    /* of a cache segment */
    LSMKV_PART_FIELD,    /* of an edit, or of a hot list: inside what came last */
    LSMKV_PART_ENTRY,    /* a version, or what an index leads to: likewise */
    LSMKV_PART_REST,     /* what holds nothing and need not: the end of a crash */
    LSMKV_PART_DAMAGE    /* bytes that are not what was written there */
} lsmkv_part_kind;

typedef enum lsmkv_fact_form {
    LSMKV_FACT_NUMBER = 1,
    LSMKV_FACT_HEX,   /* a number: an id, a checksum */
    LSMKV_FACT_ID,    /* bytes to be shown in hexadecimal digits */
    LSMKV_FACT_BYTES, /* of keys and values */
    LSMKV_FACT_TEXT   /* words */
} lsmkv_fact_form;

/* One thing that is known of a part; everything is lent until the next call. */
typedef struct lsmkv_fact {
    const char *name;
    lsmkv_fact_form form;
    uint64_t number;
    lsmkv_bytes bytes;
} lsmkv_fact;

typedef struct lsmkv_part {
    lsmkv_part_kind kind;
    /* "data block", "batch", "put" ...; of DAMAGE: what should be there */
    const char *name;
    uint64_t offset; /* in the file; of what is compressed: of its block */
    uint64_t size;
    const lsmkv_fact *facts; /* of DAMAGE and REST one is the "problem" */
    size_t fact_count;
} lsmkv_part;

typedef struct lsmkv_inspect_how {
    lsmkv_file_type type; /* what the file is if neither it nor its name tells */
    /* As a MANIFEST knows it, for a file that does not say it any more. */
    uint64_t file_id;
    bool sealed;  /* a log that is a segment: nothing of it may be missing */
    bool entries; /* show versions, not only how many there are */
} lsmkv_inspect_how;

typedef struct lsmkv_inspection lsmkv_inspection;

/* Opens `name` in a directory. `how` may be NULL. NOT_FOUND; NOT_A_DATABASE for a file
 * of which nothing tells what it is; UNSUPPORTED_VERSION for one of a later version. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_inspect_open(
    const char *directory, const char *name, const lsmkv_inspect_how *how,
    lsmkv_inspection **inspectionp, lsmkv_error *err);
/* OK and the next part; NOT_FOUND behind the last. Damage is a part, not a failure. One
 * thread at a time. */
LSMKV_API LSMKV_MUST_CHECK lsmkv_status lsmkv_inspect_next(lsmkv_inspection *inspection,
                                                           lsmkv_part *part,
                                                           lsmkv_error *err);
LSMKV_API void lsmkv_inspect_free(lsmkv_inspection *inspection); /* NULL is fine */

#endif
