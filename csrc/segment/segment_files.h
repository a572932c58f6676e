/* SPDX-License-Identifier: Apache-2.0
 *
 * Open files of segments that are not mapped, or further than their mapping: a bounded
 * number for a database, of which the one that was read least recently is closed first.
 * A segment does not know whether its file is open; it asks for it with each read.
 *
 * Threads: any. A file is read without the lock, by as many threads as have taken it;
 * it is closed when the last has given it back. While all are in use there may be more
 * than the bound.
 */
#ifndef LSM_SEGMENT_SEGMENT_FILES_H
#define LSM_SEGMENT_SEGMENT_FILES_H

#include "base/list.h"
#include "env/env.h"
#include "env/sync.h"

typedef struct lsm_segment_files {
    uint32_t open_max; /* constant after init */
    lsm_mutex mu;
    lsm_list open LSM_GUARDED_BY(mu); /* lsm_segment_file.link, the next victim first */
    uint32_t open_count LSM_GUARDED_BY(mu);
} lsm_segment_files;

/* The place of a segment among them; zeroed memory is a file that is not open. All of
 * it is under the lock. */
typedef struct lsm_segment_file {
    lsm_list link;
    lsm_file *file; /* owned; NULL: not open, and in no list */
    uint32_t users;
} lsm_segment_file;

/* Opens a file for the first time, or again. */
typedef lsmkv_status (*lsm_segment_open)(const void *context, lsm_file **filep,
                                         lsmkv_error *err);

void lsm_segment_files_init(lsm_segment_files *files, uint32_t open_max);
void lsm_segment_files_deinit(lsm_segment_files *files); /* all were forgotten */

/* Lends the open file until lsm_segment_files_give. */
lsmkv_status lsm_segment_files_take(lsm_segment_files *files, lsm_segment_file *entry,
                                    lsm_segment_open open, const void *context,
                                    lsm_file **filep, lsmkv_error *err) LSM_MUST_CHECK;
void lsm_segment_files_give(lsm_segment_files *files, lsm_segment_file *entry);
/* Takes over a file that was opened, unless there is one already. */
void lsm_segment_files_put(lsm_segment_files *files, lsm_segment_file *entry,
                           lsm_file *file);
/* Closes the file of a segment that nobody reads any more. */
void lsm_segment_files_forget(lsm_segment_files *files, lsm_segment_file *entry);
/* Closes all that nobody is reading: descriptors have run out. */
void lsm_segment_files_relieve(lsm_segment_files *files);
uint32_t lsm_segment_files_open_count(lsm_segment_files *files);

#endif
