/* SPDX-License-Identifier: Apache-2.0
 *
 * The fields of an edit as parts, one after the other.
 */
#ifndef LSM_DB_INSPECT_EDIT_H
#define LSM_DB_INSPECT_EDIT_H

#include "db/inspect.h"
#include "format/edit.h"

/* Zeroed memory is in front of the first field. */
typedef struct lsm_edit_walk {
    int group;    /* of fields of one kind */
    size_t index; /* in it */
    size_t share; /* of the table before: the next of its segments */
} lsm_edit_walk;

/* false: that was the last one. */
bool lsm_inspect_edit_next(lsmkv_inspection *inspection, const lsm_edit *edit,
                           lsm_edit_walk *walk, lsmkv_part *part);

#endif
