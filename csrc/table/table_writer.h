/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes one table:
 *
 *   data block*   from offset 0, each followed by its frame (format/block.h)
 *   tail:  filter block | range delete block | index block* | top index block |
 *          properties block | footer
 *
 * Every byte belongs to one of these. The tail is never compressed; the MANIFEST knows
 * its size, so opening a table is one read. The index has one entry per data block:
 * (separator -> handle), where the separator is an internal key not below the block's
 * last key and below the next block's first; that of the last block is its last key.
 * With one index block there is no top index: the footer names the index block itself.
 * A table may hold range deletes alone: then it has no data block, filter or index.
 *
 * A data block holds no keys of two namespaces whose codecs differ.
 *
 * Keys must come in order; that is checked here because a wrong order is the shape
 * that memory corruption takes (it is CORRUPTION, not an assertion). Output is buffered
 * and written in large pieces.
 *
 * Threads: one at a time. Ownership: the writer owns the file until it is finished.
 */
#ifndef LSM_TABLE_TABLE_WRITER_H
#define LSM_TABLE_TABLE_WRITER_H

#include "env/env.h"
#include "format/edit.h"
#include "format/footer.h"
#include "table/range_set.h"

typedef struct lsm_table_writer lsm_table_writer;

typedef struct lsm_table_write_options {
    uint32_t block_bytes;
    uint32_t index_block_bytes;  /* 4096 */
    uint32_t bloom_bits_per_key; /* 0: no filter */
    uint32_t codec;
    int codec_level;
    uint8_t uuid[LSM_UUID_SIZE];
    uint64_t file_id; /* random, per table */
    uint64_t now_ms;  /* engine time, from which expiry is measured */
    /* The codec for the blocks of a namespace; NULL: `codec` for all. */
    uint32_t (*codec_of)(void *context, uint32_t namespace_id, int *level);
    void *codec_context;
} lsm_table_write_options;

/* Creates table file `number` in `dir`. `options` is copied. */
lsmkv_status lsm_table_writer_create(lsm_dir *dir, uint64_t number,
                                     const lsm_table_write_options *options,
                                     lsm_table_writer **writerp,
                                     lsmkv_error *err) LSM_MUST_CHECK;
/* ikey greater than the one before. After a failure the writer can only be
 * destroyed. */
lsmkv_status lsm_table_writer_add(lsm_table_writer *writer, lsm_slice ikey,
                                  lsm_slice field, lsmkv_error *err) LSM_MUST_CHECK;
/* Adds a fragment of range deletes (table/range_set.h), behind the one before. Entries
 * and fragments are in two orders of their own; what a fragment covers counts as inside
 * the table's bounds. */
lsmkv_status lsm_table_writer_add_range(lsm_table_writer *writer,
                                        const lsm_range_span *range,
                                        lsmkv_error *err) LSM_MUST_CHECK;
/* About how large the file would be if finished now. */
uint64_t lsm_table_writer_size(const lsm_table_writer *writer);
uint64_t lsm_table_writer_entry_count(const lsm_table_writer *writer);

/* Writes the tail, syncs and closes the file. The directory is the caller's to sync.
 * *info borrows its keys and segments from the writer. At least one entry or fragment
 * was added. */
lsmkv_status lsm_table_writer_finish(lsm_table_writer *writer, lsm_table_info *info,
                                     lsmkv_error *err) LSM_MUST_CHECK;
/* Frees the writer; an unfinished file is closed and unlinked. NULL is fine. */
void lsm_table_writer_destroy(lsm_table_writer *writer);

#endif
