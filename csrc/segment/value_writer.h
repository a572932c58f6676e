/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes a value file: a record file (format/record.h) of large values that were copied
 * or moved out of logs and other segments. A record holds as many values as fit some
 * hundred KiB, or one that is larger.
 *
 * Threads: one at a time. Ownership: the writer owns the file until it is finished.
 */
#ifndef LSM_SEGMENT_VALUE_WRITER_H
#define LSM_SEGMENT_VALUE_WRITER_H

#include "env/env.h"
#include "format/edit.h"
#include "format/record.h"

typedef struct lsm_value_writer lsm_value_writer;

/* Creates value file `number` in `dir`. */
lsmkv_status lsm_value_writer_create(lsm_dir *dir, const uint8_t uuid[LSM_UUID_SIZE],
                                     uint64_t number, uint64_t file_id,
                                     lsm_value_writer **writerp,
                                     lsmkv_error *err) LSM_MUST_CHECK;
/* Copies the value, of at least a byte. *offset: where it lies. After a failure the
 * writer can only be destroyed. */
lsmkv_status lsm_value_writer_add(lsm_value_writer *writer, lsm_slice value,
                                  uint64_t *offset, lsmkv_error *err) LSM_MUST_CHECK;
uint64_t lsm_value_writer_number(const lsm_value_writer *writer);
/* About how large the file would be if finished now. */
uint64_t lsm_value_writer_size(const lsm_value_writer *writer);
/* Syncs and closes the file. The directory is the caller's to sync. */
lsmkv_status lsm_value_writer_finish(lsm_value_writer *writer, lsm_edit_segment *info,
                                     lsmkv_error *err) LSM_MUST_CHECK;
/* Frees the writer; an unfinished file is closed and unlinked. NULL is fine. */
void lsm_value_writer_destroy(lsm_value_writer *writer);

#endif
