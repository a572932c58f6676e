/* SPDX-License-Identifier: Apache-2.0
 *
 * The files that flushes, compactions and publishes write, as this database has them.
 */
#include "db/db.h"
#include "segment/value_writer.h"
#include "table/table_writer.h"

void lsm_db_table_options(lsmkv_db *db, uint64_t file_id,
                          lsm_table_write_options *how) {
    *how = (lsm_table_write_options){
        .block_bytes = db->options.block_bytes,
        .index_block_bytes = db->options.block_bytes,
        .bloom_bits_per_key = db->options.bloom_bits_per_key,
        .codec = db->options.codec,
        .codec_level = db->options.codec_level,
        .file_id = file_id,
        .now_ms = lsm_clock_follow_ms(&db->clock),
    };
    if (atomic_load(&db->coded_spaces) > 0) {
        how->codec_of = lsm_catalog_codec;
        how->codec_context = db;
    }
    memcpy(how->uuid, db->uuid, LSM_UUID_SIZE);
}

static void take_number(lsmkv_db *db, uint64_t *number, uint64_t *file_id) {
    lsm_mutex_lock(&db->mu);
    *number = db->next_file++;
    *file_id = lsm_rng_next(&db->rng);
    lsm_mutex_unlock(&db->mu);
}

lsmkv_status lsm_db_create_table(lsmkv_db *db, lsm_table_writer **writerp,
                                 lsmkv_error *err) {
    lsm_table_write_options how;
    lsmkv_error failure;
    lsmkv_status status;
    uint64_t number;
    uint64_t file_id;
    bool tried = false;

    take_number(db, &number, &file_id);
    lsm_db_table_options(db, file_id, &how);
    do {
        status = lsm_table_writer_create(db->dir, number, &how, writerp, &failure);
    } while (lsm_db_again(db, status, &failure, &tried));
    return status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &failure);
}

lsmkv_status lsm_db_create_values(lsmkv_db *db, lsm_value_writer **writerp,
                                  lsmkv_error *err) {
    lsmkv_error failure;
    lsmkv_status status;
    uint64_t number;
    uint64_t file_id;
    bool tried = false;

    take_number(db, &number, &file_id);
    do {
        status = lsm_value_writer_create(db->dir, db->uuid, number, file_id, writerp,
                                         &failure);
    } while (lsm_db_again(db, status, &failure, &tried));
    return status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &failure);
}
