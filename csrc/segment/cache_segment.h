/* SPDX-License-Identifier: Apache-2.0
 *
 * Cache segment: a segment that the values of one cache lie in, as frames
 * (format/cache_frame.h). It is written through its lsm_file by any number of threads,
 * each at an offset of its own, and never synced. So whatever is read from it may turn
 * out not to be there, which is for the reader of a cache no error.
 *
 * Which values were read since they were written, the bits in `touched` tell; they are
 * not kept across an open.
 */
#ifndef LSM_SEGMENT_CACHE_SEGMENT_H
#define LSM_SEGMENT_CACHE_SEGMENT_H

#include "format/cache_frame.h"
#include "segment/segment.h"

/* One reference, for a file of no bytes yet. NULL: no memory. */
lsm_segment *lsm_cache_segment_create(const lsm_segment_context *context,
                                      const lsm_edit_cache *info);
/* Before anybody else knows the segment: how large it may get, and how large it is.
 * false: no memory. */
bool lsm_cache_segment_size(lsm_segment *segment, uint64_t capacity,
                            uint64_t size) LSM_MUST_CHECK;
/* Creates the file with its header. */
lsmkv_status lsm_cache_segment_begin(const lsm_segment *segment, lsm_file **filep,
                                     lsmkv_error *err) LSM_MUST_CHECK;
/* The bytes up to here are, or may be, there: values may be read. */
void lsm_cache_segment_grow(lsm_segment *segment, uint64_t end);

/* A value that begins at `offset` was read. Any thread. */
static inline void lsm_cache_segment_touch(lsm_segment *segment, uint64_t offset) {
    uint64_t unit = offset / LSM_VALUE_ALIGN;
    _Atomic uint64_t *word = &segment->touched[unit / 64];
    uint64_t bit = UINT64_C(1) << unit % 64;

    /* relaxed: a hint. Read first, so that readers of a hot value share its line. */
    if ((atomic_load_explicit(word, memory_order_relaxed) & bit) == 0) {
        atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
    }
}
bool lsm_cache_segment_touched(const lsm_segment *segment, uint64_t offset);

/* Walks the frames of a segment in the order of their offsets. */
typedef struct lsm_cache_walk {
    const lsm_segment *segment; /* borrowed */
    lsm_file *file;             /* owned; NULL: nothing is left to walk */
    uint64_t offset;            /* where the next frame may begin */
    uint64_t end;
    lsm_buf window; /* bytes from window_at on */
    uint64_t window_at;
} lsm_cache_walk;

typedef struct lsm_cache_item {
    lsm_slice skey; /* lent until the next step */
    lsm_pointer pointer;
    uint64_t size; /* of the frame */
} lsm_cache_item;

/* A segment whose file cannot be had has no frames. */
void lsm_cache_walk_init(lsm_cache_walk *walk, const lsm_segment *segment);
void lsm_cache_walk_deinit(lsm_cache_walk *walk);
/* OK; NOT_FOUND at the end, which is also where reading fails; NO_MEMORY. Looks at no
 * value. */
lsmkv_status lsm_cache_walk_next(lsm_cache_walk *walk, lsm_cache_item *item,
                                 lsmkv_error *err) LSM_MUST_CHECK;

#endif
