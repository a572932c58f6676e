/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract of every internal iterator: over a memtable, a table, the tables of a
 * level, or a merge of those. It yields internal keys in their order (format/ikey.h)
 * with value fields, every version and tombstone included.
 *
 * key and value are fields, not calls, because the merge compares them all the time;
 * they are lent until the iterator moves. After any call that leaves `valid` false,
 * `status` tells the end (OK) from a failure, whose details are in `error`; a failure
 * is sticky until the next seek. next and prev need `valid`.
 */
#ifndef LSM_TABLE_ITER_H
#define LSM_TABLE_ITER_H

#include <stdbool.h>

#include "base/slice.h"
#include "base/status.h"

typedef struct lsm_iter lsm_iter;

typedef struct lsm_iter_ops {
    void (*destroy)(lsm_iter *iter);
    void (*seek_first)(lsm_iter *iter);
    void (*seek_last)(lsm_iter *iter);
    void (*seek)(lsm_iter *iter, lsm_slice ikey); /* the first key >= ikey */
    void (*next)(lsm_iter *iter);
    void (*prev)(lsm_iter *iter);
} lsm_iter_ops;

struct lsm_iter {
    const lsm_iter_ops *ops;
    bool valid;
    lsmkv_status status;
    lsm_slice key;
    lsm_slice value;
    lsmkv_error error; /* set when status is not OK */
};

static inline void lsm_iter_destroy(lsm_iter *iter) {
    if (iter != NULL) {
        iter->ops->destroy(iter);
    }
}
static inline void lsm_iter_seek_first(lsm_iter *iter) {
    iter->ops->seek_first(iter);
}
static inline void lsm_iter_seek_last(lsm_iter *iter) {
    iter->ops->seek_last(iter);
}
static inline void lsm_iter_seek(lsm_iter *iter, lsm_slice ikey) {
    iter->ops->seek(iter, ikey);
}
static inline void lsm_iter_next(lsm_iter *iter) {
    iter->ops->next(iter);
}
static inline void lsm_iter_prev(lsm_iter *iter) {
    iter->ops->prev(iter);
}

#endif
