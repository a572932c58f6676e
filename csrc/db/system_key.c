/* SPDX-License-Identifier: Apache-2.0
 *
 * See system_key.h.
 */
#include "db/system_key.h"

#include "base/assert.h"
#include "db/db_iter.h"
#include "db/read.h"

enum { LIST_ROWS = 256 };

void lsm_system_key_add(lsm_system_key *key, lsmkv_bytes more) {
    LSM_ASSERT(more.size <= sizeof(key->skey) - key->size);
    if (more.size > 0) {
        memcpy(key->skey + key->size, more.data, more.size);
    }
    key->size += more.size;
}

void lsm_system_key_make(lsm_system_key *key, const char *prefix, lsmkv_bytes rest) {
    lsm_put_u32_be(key->skey, LSM_NAMESPACE_SYSTEM);
    key->size = LSM_NAMESPACE_SIZE;
    lsm_system_key_add(key, (lsmkv_bytes){prefix, strlen(prefix)});
    lsm_system_key_add(key, rest);
}

static lsm_slice key_slice(const lsm_system_key *key) {
    return lsm_slice_make(key->skey, key->size);
}

lsmkv_bytes lsm_system_key_bytes(const lsm_system_key *key) {
    return (lsmkv_bytes){key->skey + LSM_NAMESPACE_SIZE,
                         key->size - LSM_NAMESPACE_SIZE};
}

static lsmkv_status read_once(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                              const lsm_system_key *key, lsm_buf *value,
                              lsmkv_error *err) {
    lsm_epoch_token token = lsm_epoch_enter(&db->epoch);
    lsm_readstate *state = lsm_db_state_of(db, snapshot);
    lsm_lookup lookup = lsm_lookup_make(
        key_slice(key), snapshot != NULL ? snapshot->sequence : lsm_db_published(db));
    lsm_value found;
    lsmkv_status status = lsm_db_get(db, &lookup, false, state, &found, err);
    /* Values of the system namespace lie where their keys do: nothing is owned. */
    if (status == LSMKV_OK &&
        !lsm_buf_append(value, found.bytes.data, found.bytes.size)) {
        status = lsm_fail_memory(err, found.bytes.size);
    }
    lsm_epoch_leave(token);
    return status;
}

lsmkv_status lsm_system_read(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                             const lsm_system_key *key, lsm_buf *value,
                             lsmkv_error *err) {
    lsmkv_error failure;
    lsmkv_status status;
    bool tried = false;

    do {
        status = read_once(db, snapshot, key, value, &failure);
    } while (lsm_db_again(db, status, &failure, &tried));
    return status <= LSMKV_NOT_FOUND ? status : lsm_error_copy(err, &failure);
}

static lsmkv_status list_once(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                              const lsm_system_key *start, const lsm_system_key *stop,
                              lsmkv_iter **iterp, lsmkv_error *err) {
    lsm_epoch_token token = lsm_epoch_enter(&db->epoch);
    lsmkv_status status =
        lsm_db_iter_create(db, snapshot, key_slice(start), key_slice(stop), iterp, err);
    lsm_epoch_leave(token);
    return status;
}

/* An iterator over all keys with a prefix. */
static lsmkv_status list(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                         const char *prefix, lsmkv_iter **iterp, lsmkv_error *err) {
    lsmkv_error failure;
    lsm_system_key start;
    lsm_system_key stop;
    lsmkv_status status;
    bool tried = false;

    lsm_system_key_make(&start, prefix, (lsmkv_bytes){NULL, 0});
    stop = start;
    stop.skey[stop.size - 1] += 1;
    do {
        status = list_once(db, snapshot, &start, &stop, iterp, &failure);
    } while (lsm_db_again(db, status, &failure, &tried));
    return status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &failure);
}

static lsmkv_status fill_once(lsmkv_iter *iter, bool again, lsmkv_chunk *chunk,
                              lsmkv_error *err) {
    const lsmkv_fill fill = {.row_max = LIST_ROWS};
    lsm_epoch_token token = lsm_epoch_enter(&iter->db->epoch);
    if (again) {
        lsm_db_iter_repeat(iter);
    }
    lsmkv_status status = lsm_db_iter_fill(iter, &fill, chunk, err);
    lsm_epoch_leave(token);
    return status;
}

/* The next rows, which lie in the iterator until it is asked again; none: the end. */
static lsmkv_status next_rows(lsmkv_iter *iter, lsmkv_chunk *chunk, lsmkv_error *err) {
    lsmkv_status status;
    bool tried = false;

    do {
        status = fill_once(iter, tried, chunk, err);
    } while (lsm_db_again(iter->db, status, &iter->error, &tried));
    return status;
}

lsmkv_status lsm_system_walk(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                             const char *prefix, lsm_system_fn visit, void *context,
                             lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_iter *iter = NULL;
    lsmkv_chunk chunk = {0};
    size_t skip = strlen(prefix);

    LSM_TRY(list(db, snapshot, prefix, &iter, err));
    do {
        LSM_TRY(next_rows(iter, &chunk, err));
        for (size_t i = 0; i < chunk.row_count; i++) {
            const lsmkv_row *at = &chunk.rows[i];
            LSM_TRY(visit(
                context,
                lsm_slice_make(chunk.data + at->key_offset + skip, at->key_size - skip),
                lsm_slice_make(chunk.data + at->value_offset, at->value_size), err));
        }
    } while (chunk.row_count > 0);
out:
    lsm_db_iter_destroy(iter);
    return status;
}

lsmkv_status lsm_system_commit(lsmkv_db *db, lsm_batch *batch, lsm_space *drops,
                               lsmkv_error *err) {
    lsm_write_how how = {
        .sync = db->options.given.durability == LSMKV_DURABILITY_SYNC,
        .alone = true,
        .drops = drops,
    };
    return lsm_db_write(db, batch, how, err);
}
