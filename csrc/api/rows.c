/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows: many values of one size, written from one array and read into one.
 *
 * Writing fills a batch and commits it; when the next row would be too much for a
 * batch, the next batch begins.
 *
 * Reading takes the keys in chunks, all of them in the state of one moment: a chunk is
 * looked up as lsmkv_get_many does, then its rows are copied, each from where it lies,
 * with the next ones asked for ahead. With a limit of time, a first pass copies what
 * can be had without waiting, and a second one the others while the time lasts.
 */
#include "api/calls.h"
#include "api/checks.h"
#include "base/alloc.h"
#include "base/mutant.h"

enum {
    ID_SIZE = 8,
    READ_CHUNK = 1024,
    PREFETCH_ROWS = 4,    /* how far ahead, and of each its first */
    PREFETCH_BYTES = 512, /* bytes: behind them the hardware has understood */
    PUT_EXTRA = 256,      /* of a batch for each row beyond key and value, at most */
    PUBLISH_CHUNK = 256,  /* rows handed over together */
};

/* Key i, in `room` if it is a number. */
static lsmkv_bytes key_at(const lsmkv_keys *keys, size_t i, uint8_t room[ID_SIZE]) {
    if (keys->bytes != NULL) {
        return keys->bytes[i];
    }
    uint64_t mask = LSM_MUTANT(INTEGER_KEYS_CUT) ? UINT32_MAX : UINT64_MAX;
    lsm_put_u64_be(room, keys->ids[i] & mask);
    return (lsmkv_bytes){room, ID_SIZE};
}

static lsmkv_bytes row_at(const lsmkv_rows *rows, size_t i) {
    return (lsmkv_bytes){(const uint8_t *)rows->data + i * rows->stride,
                         rows->row_bytes};
}

static lsmkv_status check_keys(const lsmkv_keys *keys, lsmkv_error *err) {
    for (size_t i = 0; keys->bytes != NULL && i < keys->count; i++) {
        if (lsm_check_key(keys->bytes[i], err) != LSMKV_OK) {
            return LSMKV_LIMIT_EXCEEDED;
        }
    }
    return LSMKV_OK;
}

static lsmkv_status check_size(size_t row_bytes, size_t stride, lsmkv_error *err) {
    if (row_bytes == 0 || row_bytes > LSMKV_VALUE_SIZE_MAX || stride < row_bytes) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "rows of %zu bytes, %zu apart: a row has 1 to %d bytes, and "
                        "they do not overlap",
                        row_bytes, stride, LSMKV_VALUE_SIZE_MAX);
    }
    return LSMKV_OK;
}

/* Adds row i. *full: it would be too much, and was not added. */
static lsmkv_status add_row(lsm_batch *batch, const lsmkv_write *how,
                            const lsmkv_keys *keys, const lsmkv_rows *rows, size_t i,
                            lsmkv_error *err) {
    uint8_t room[ID_SIZE];

    return lsm_batch_add_put(batch, how, key_at(keys, i, room), row_at(rows, i), err);
}

/* Whether a batch that holds something takes row i too. */
static bool takes_row(const lsmkv_db *db, const lsm_batch *batch,
                      const lsmkv_keys *keys, const lsmkv_rows *rows, size_t i) {
    size_t key_size = keys->bytes != NULL ? keys->bytes[i].size : (size_t)ID_SIZE;

    return lsm_batch_payload_size(batch) + key_size + rows->row_bytes + PUT_EXTRA <=
           db->rows_batch_max;
}

/* Room for as many rows as a batch takes, so that it grows once. Without that it grows
 * by and by, so there is nothing to report. */
static void reserve(const lsmkv_db *db, lsm_batch *batch, const lsmkv_keys *keys,
                    const lsmkv_rows *rows) {
    uint64_t each = rows->row_bytes + ID_SIZE + PUT_EXTRA;
    uint64_t size = 0;

    if (!lsm_mul_ok(keys->count, each, &size) || size > db->rows_batch_max) {
        size = db->rows_batch_max;
    }
    bool reserved = lsm_buf_reserve(&batch->record, (size_t)size);
    (void)reserved;
}

lsmkv_status lsmkv_batch_put_rows(lsmkv_batch *batch, const lsmkv_write *how,
                                  const lsmkv_keys *keys, const lsmkv_rows *rows,
                                  lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    LSM_TRY(check_size(rows->row_bytes, rows->stride, err));
    LSM_TRY(check_keys(keys, err));
    LSM_TRY(lsm_batch_take_space(batch, how, err));
    for (size_t i = 0; i < keys->count; i++) {
        LSM_TRY(add_row(&batch->inner, how, keys, rows, i, err));
    }
out:
    return status;
}

lsmkv_status lsmkv_put_rows(lsmkv_db *db, const lsmkv_write *how,
                            const lsmkv_keys *keys, const lsmkv_rows *rows,
                            size_t *put_count, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_status status = LSMKV_OK;
    lsm_batch batch;
    size_t charge = 0;

    *put_count = 0;
    lsm_batch_init(&batch);
    batch.threshold = lsm_db_blob_threshold(db);
    LSM_TRY(check_size(rows->row_bytes, rows->stride, err));
    LSM_TRY(check_keys(keys, err));
    LSM_TRY(lsm_check_write(db, how, err));
    reserve(db, &batch, keys, rows);
    charge = batch.record.capacity;
    lsm_db_charge_rows(db, 0, charge);
    for (size_t i = 0; i < keys->count; i++) {
        if (LSM_UNLIKELY(batch.count != 0 && !takes_row(db, &batch, keys, rows, i))) {
            LSM_TRY(lsm_write_any(db, how, &batch, err));
            *put_count = i;
            lsm_batch_clear(&batch);
        }
        LSM_TRY(add_row(&batch, how, keys, rows, i, err));
    }
    LSM_TRY(lsm_write_any(db, how, &batch, err));
    *put_count = keys->count;
out:
    lsm_db_charge_rows(db, charge, 0);
    lsm_batch_deinit(&batch);
    return status;
}

lsmkv_status lsmkv_publish_put_rows(lsmkv_publish *publish, const lsmkv_write *how,
                                    const lsmkv_keys *keys, const lsmkv_rows *rows,
                                    lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint8_t rooms[PUBLISH_CHUNK][ID_SIZE];
    lsmkv_pair pairs[PUBLISH_CHUNK];

    LSM_TRY(check_size(rows->row_bytes, rows->stride, err));
    for (size_t first = 0; first < keys->count; first += PUBLISH_CHUNK) {
        size_t left = keys->count - first;
        size_t count = left < PUBLISH_CHUNK ? left : PUBLISH_CHUNK;

        for (size_t i = 0; i < count; i++) {
            pairs[i].key = key_at(keys, first + i, rooms[i]);
            pairs[i].value = row_at(rows, first + i);
        }
        LSM_TRY(lsmkv_publish_put(publish, how, pairs, count, err));
    }
out:
    return status;
}

/* A reading of rows, inside the epoch. */
typedef struct row_reading {
    lsmkv_db *db;
    lsm_readstate *state;
    const lsmkv_keys *keys;
    const lsmkv_gather *to;
    lsm_get_many many; /* room for a chunk */
    uint8_t *skeys;    /* likewise */
    uint32_t namespace_id;
    uint64_t sequence;
    bool stale;
    size_t found;
    size_t expired;
} row_reading;

static lsmkv_status fail_size(const row_reading *reading, size_t i, size_t size,
                              lsmkv_error *err) {
    return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                    "the value of key %zu of %zu has %zu bytes, a row has %zu", i,
                    reading->keys->count, size, reading->to->row_bytes);
}

/* Makes the requests for `count` keys from `first` on. */
static void ask(row_reading *reading, size_t first, size_t count) {
    uint8_t *at = reading->skeys;

    reading->many.count = count;
    for (size_t i = 0; i < count; i++) {
        uint8_t room[ID_SIZE];
        lsmkv_bytes key = key_at(reading->keys, first + i, room);

        lsm_skey_write(at, reading->namespace_id, key);
        lsm_get_many_set(&reading->many, i,
                         lsm_slice_make(at, LSM_NAMESPACE_SIZE + key.size));
        reading->many.requests[i].lookup.sequence = reading->sequence;
        reading->many.requests[i].lookup.stale = reading->stale;
        at += LSM_NAMESPACE_SIZE + key.size;
    }
}

static void prefetch_row(const lsm_table_request *request) {
    if (request->done) {
        const uint8_t *row = request->found.field.data;
        size_t size = request->found.field.size;

        for (size_t at = 0; at < size && at < PREFETCH_BYTES; at += LSM_CACHE_LINE) {
            LSM_PREFETCH(row + at);
        }
    }
}

static inline void copy_row(row_reading *reading, size_t i, const uint8_t *row) {
    const lsmkv_gather *to = reading->to;

    memcpy((uint8_t *)to->out + i * to->stride, row, to->row_bytes);
    to->found[i] = 1;
    reading->found += 1;
}

/* Copies the rows of a chunk whose keys have been looked up. */
static lsmkv_status copy_chunk(row_reading *reading, size_t first, lsmkv_error *err) {
    const lsm_table_request *requests = reading->many.requests;
    size_t count = reading->many.count;

    for (size_t i = 0; i < count && i < PREFETCH_ROWS; i++) {
        prefetch_row(&requests[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (i + PREFETCH_ROWS < count) {
            prefetch_row(&requests[i + PREFETCH_ROWS]);
        }
        if (!requests[i].done) {
            continue;
        }
        if (LSM_UNLIKELY(requests[i].found.field.size != reading->to->row_bytes)) {
            return fail_size(reading, first + i, requests[i].found.field.size, err);
        }
        copy_row(reading, first + i, requests[i].found.field.data);
    }
    return LSMKV_OK;
}

/* Without a limit of time. */
static lsmkv_status read_all(row_reading *reading, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    size_t total = reading->keys->count;

    for (size_t first = 0; status == LSMKV_OK && first < total; first += READ_CHUNK) {
        lsm_owned *owned = NULL; /* values that were read, not mapped */

        ask(reading, first, total - first < READ_CHUNK ? total - first : READ_CHUNK);
        status =
            lsm_db_get_many(reading->db, reading->state, &reading->many, &owned, err);
        if (status == LSMKV_OK) {
            status = copy_chunk(reading, first, err);
        }
        lsm_owned_free(owned);
    }
    reading->expired = reading->many.expired;
    return status;
}

/* Reads one row: OK, also when there is none, WOULD_BLOCK or an error. */
static lsmkv_status read_one(row_reading *reading, size_t i, bool nonblocking,
                             lsmkv_error *err) {
    lsm_value value;

    ask(reading, i, 1);
    lsmkv_status status = lsm_db_get(reading->db, &reading->many.requests[0].lookup,
                                     nonblocking, reading->state, &value, err);
    if (status == LSMKV_NOT_FOUND) {
        reading->expired += value.expired;
        return LSMKV_OK;
    }
    if (status == LSMKV_OK) {
        if (value.bytes.size == reading->to->row_bytes) {
            copy_row(reading, i, value.bytes.data);
        } else {
            status = fail_size(reading, i, value.bytes.size, err);
        }
        lsm_owned_free(value.owned);
    }
    return status;
}

/* Reads what needs no waiting, then the others until `deadline_us`. */
static lsmkv_status read_some(row_reading *reading, uint64_t deadline_us,
                              uint64_t *later, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    size_t left = 0;

    for (size_t i = 0; i < reading->keys->count; i++) {
        status = read_one(reading, i, true, err);
        if (status == LSMKV_WOULD_BLOCK) {
            later[left++] = i;
            status = LSMKV_OK;
        }
        LSM_TRY(status);
    }
    for (size_t i = 0; i < left; i++) {
        if (lsm_env_monotonic_us(reading->db->env) >= deadline_us) {
            break;
        }
        LSM_TRY(read_one(reading, (size_t)later[i], false, err));
    }
out:
    return status;
}

/* The largest sum of the sizes of the stored keys of a chunk. */
static uint64_t skey_bytes_max(const lsmkv_keys *keys) {
    uint64_t most = 0;

    for (size_t first = 0; keys->bytes != NULL && first < keys->count;
         first += READ_CHUNK) {
        uint64_t bytes = 0;
        for (size_t i = first; i < keys->count && i < first + READ_CHUNK; i++) {
            bytes += LSM_NAMESPACE_SIZE + keys->bytes[i].size;
        }
        most = bytes > most ? bytes : most;
    }
    return keys->bytes != NULL ? most : READ_CHUNK * (LSM_NAMESPACE_SIZE + ID_SIZE);
}

/* Whether what is read holds the vectors that are asked for, if it holds anything. */
static lsmkv_status check_vectors(const lsmkv_read *read, const lsmkv_gather *to,
                                  lsmkv_error *err) {
    static const char *const dtypes[] = {"none", "float32", "float16", "bfloat16",
                                         "int8"};
    static const char *const metrics[] = {"none", "cosine", "dot", "l2"};
    lsmkv_space_options found;

    if (to->vectors == NULL || read == NULL || read->space == NULL) {
        return LSMKV_OK;
    }
    if (!lsm_space_vector_check(to->vectors)) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT, "there are no such vectors");
    }
    const lsm_space *space = read->space->space;
    if (lsm_read_mark(read) == NULL) {
        lsm_space_options(space, &found);
    } else {
        const lsm_meaning *meaning =
            lsm_published_meaning(read->space->db, space, read->snapshot);
        if (meaning == NULL) {
            return LSMKV_OK;
        }
        found = meaning->options;
    }
    return lsm_space_vector_same(to->vectors, &found)
               ? LSMKV_OK
               : lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                          "what is published now are vectors of dim=%u, dtype=%s, "
                          "metric=%s; asked for were dim=%u, dtype=%s, metric=%s",
                          found.vector_dim, dtypes[found.vector_dtype + 1],
                          metrics[found.vector_metric + 1], to->vectors->vector_dim,
                          dtypes[to->vectors->vector_dtype + 1],
                          metrics[to->vectors->vector_metric + 1]);
}

static lsmkv_status get_rows_once(row_reading *reading, const lsmkv_read *read,
                                  uint64_t deadline_us, uint64_t *later,
                                  lsmkv_error *err) {
    lsm_epoch_token token;

    memset(reading->to->found, 0, reading->keys->count);
    reading->found = 0;
    reading->expired = 0;
    reading->many.expired = 0;
    lsmkv_status status = lsm_db_enter(reading->db, &token, err);
    if (status != LSMKV_OK) {
        return status;
    }
    reading->state = lsm_read_state(reading->db, read);
    reading->sequence = LSM_MUTANT(ROWS_IGNORE_SNAPSHOT)
                            ? lsm_db_published(reading->db)
                            : lsm_read_sequence(reading->db, read);
    reading->stale = read != NULL && read->stale;
    status = later == NULL ? read_all(reading, err)
                           : read_some(reading, deadline_us, later, err);
    lsm_epoch_leave(token);
    return status;
}

/* What a reading needs to begin: memory, and its end in time. */
static lsmkv_status prepare(row_reading *reading, const lsmkv_read *read,
                            lsm_owned **memory, uint64_t **later, uint64_t *deadline_us,
                            lsmkv_error *err) {
    size_t count = reading->keys->count;
    size_t chunk = count < READ_CHUNK ? count : READ_CHUNK;
    bool nonblocking = read != NULL && read->nonblocking;
    lsmkv_status status =
        lsm_get_many_init(&reading->many, chunk, skey_bytes_max(reading->keys), memory,
                          &reading->skeys, err);

    if (status == LSMKV_OK && (nonblocking || reading->to->budget_us != 0)) {
        *deadline_us = 0;
        if (!nonblocking) {
            *deadline_us =
                lsm_env_monotonic_us(reading->db->env) + reading->to->budget_us;
        }
        *later = lsm_calloc(count + 1, sizeof(**later));
        status = *later != NULL ? LSMKV_OK
                                : lsm_fail_memory(err, (count + 1) * sizeof(**later));
    }
    return status;
}

static void count_rows(const row_reading *reading, lsm_space_counters *counters) {
    if (reading->found > 0) {
        lsm_space_count_hits(counters, reading->found,
                             reading->found * reading->to->row_bytes);
    }
    lsm_count_misses(counters, reading->keys->count - reading->found, reading->expired);
}

lsmkv_status lsmkv_get_rows(lsmkv_db *db, const lsmkv_read *read,
                            const lsmkv_keys *keys, const lsmkv_gather *to,
                            size_t *found_count, lsmkv_error *err) {
    LSM_BUDGET_SCOPE before = lsm_budget_enter(db->budget);
    lsmkv_status status = LSMKV_OK;
    lsmkv_error failure;
    lsmkv_error *told = err != NULL ? err : &failure;
    row_reading reading = {.db = db, .keys = keys, .to = to};
    const lsm_meaning *mark;
    lsm_owned *memory = NULL;
    uint64_t *later = NULL;
    uint64_t deadline_us = 0;
    uint64_t begun = 0;
    bool tried = false;

    *found_count = 0;
    LSM_TRY(check_size(to->row_bytes, to->stride, err));
    LSM_TRY(check_keys(keys, err));
    LSM_TRY(lsm_check_read(db, read, err));
    LSM_TRY(prepare(&reading, read, &memory, &later, &deadline_us, err));
    begun = lsm_latency_begin(&db->latencies, keys->count);
    do {
        mark = lsm_read_mark(read);
        reading.namespace_id = lsm_read_space(read);
        status = check_vectors(read, to, told);
        if (status == LSMKV_OK) {
            status = get_rows_once(&reading, read, deadline_us, later, told);
        }
    } while (lsm_db_again(db, status, told, &tried) || !lsm_read_stays(read, mark));
    LSM_TRY(status);
    lsm_latency_end(&db->latencies, LSMKV_LATENCY_GATHER, begun, keys->count);
    count_rows(&reading, &lsm_space_of_read(db, read)->counters);
    *found_count = reading.found;
out:
    lsm_free(later);
    lsm_owned_free(memory);
    return status;
}
