/* SPDX-License-Identifier: Apache-2.0
 *
 * See cache_space.h for the rules. Nothing but reserving happens under mu.
 */
#include "db/cache_space.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/mutant.h"
#include "db/catalog.h"
#include "db/job.h"

enum { GATHER_MAX = 16 << 10, CREDIT_DIVISOR = 4 };

lsm_cache_space *lsm_cache_space_create(uint32_t id, uint64_t max_bytes) {
    lsm_cache_space *cache = lsm_calloc(1, sizeof(*cache));

    if (cache != NULL) {
        cache->id = id;
        cache->max_bytes = max_bytes;
        cache->credit = max_bytes / CREDIT_DIVISOR;
    }
    return cache;
}

lsm_cache_piece *lsm_cache_piece_create(lsm_segment *segment) {
    lsm_cache_piece *piece = lsm_calloc(1, sizeof(*piece));

    if (piece != NULL) {
        piece->segment = segment;
    }
    return piece;
}

void lsm_cache_piece_destroy(lsm_cache_piece *piece) {
    if (piece != NULL) {
        lsm_file_drop(piece->file);
        lsm_segment_unref(piece->segment);
        lsm_free(piece);
    }
}

void lsm_cache_space_destroy(lsm_cache_space *cache) {
    if (cache != NULL) {
        for (size_t i = 0; i < cache->count; i++) {
            lsm_cache_piece_destroy(cache->pieces[i]);
        }
        lsm_cache_pins_destroy(cache->pins);
        lsm_free(cache->pieces);
        lsm_free(cache);
    }
}

void lsm_cache_space_alter(lsmkv_db *db, lsm_cache_space *cache, uint64_t max_bytes) {
    lsm_mutex_lock(&db->mu);
    cache->max_bytes = max_bytes;
    lsm_cond_broadcast(&db->work);
    lsm_mutex_unlock(&db->mu);
}

bool lsm_cache_push_locked(lsm_cache_space *cache, lsm_cache_piece *piece) {
    void *pieces = cache->pieces;
    bool ok = lsm_grow(&pieces, &cache->capacity, cache->count + 1,
                       sizeof(lsm_cache_piece *));
    cache->pieces = pieces;
    if (ok) {
        cache->pieces[cache->count++] = piece;
        cache->bytes += piece->bytes;
    }
    return ok;
}

lsm_cache_piece *lsm_cache_shift_locked(lsm_cache_space *cache) {
    lsm_cache_piece *piece = cache->pieces[0];

    cache->count -= 1;
    cache->bytes -= piece->bytes;
    memmove(cache->pieces, cache->pieces + 1, cache->count * sizeof(lsm_cache_piece *));
    piece->dropped = true;
    return piece;
}

void lsm_cache_describe(lsmkv_db *db, const lsm_cache_space *cache,
                        lsmkv_cache_stats *stats) {
    lsm_mutex_lock(&db->mu);
    *stats = (lsmkv_cache_stats){.file_bytes = cache->bytes,
                                 .segment_count = cache->count,
                                 .written_bytes = cache->written_bytes,
                                 .reinserted_bytes = cache->reinserted_bytes,
                                 .evicted_segments = cache->evicted_segments};
    stats->pinned_bytes = lsm_cache_pinned_bytes(cache, &stats->pinned_count);
    lsm_mutex_unlock(&db->mu);
}

lsm_cache_piece *lsm_cache_leave_locked(lsm_cache_piece *piece) {
    piece->users -= 1;
    return piece->users == 0 && piece->dropped ? piece : NULL;
}

void lsm_cache_unlink(lsmkv_db *db, lsm_segment *segment) {
    char name[LSM_FILENAME_SIZE];

    lsm_segment_name(segment, name);
    if (lsm_dir_unlink(db->dir, name, NULL) == LSMKV_OK) {
        atomic_store(&segment->keeps_name, true);
    }
}

lsmkv_status lsm_cache_check(uint64_t max_bytes, size_t key_size, size_t value_size,
                             lsmkv_error *err) {
    if (value_size > max_bytes / 64) {
        return lsm_fail(err, LSMKV_LIMIT_EXCEEDED,
                        "value of %zu bytes in a cache of %llu: at most a 64th",
                        value_size, (unsigned long long)max_bytes);
    }
    if (key_size > max_bytes / 256) {
        return lsm_fail(err, LSMKV_LIMIT_EXCEEDED,
                        "key of %zu bytes in a cache of %llu: at most a 256th",
                        key_size, (unsigned long long)max_bytes);
    }
    return LSMKV_OK;
}

lsmkv_status lsm_cache_answer(lsm_segment *segment, const lsm_pointer *pointer,
                              lsmkv_status status, lsmkv_error *err) {
    bool passing =
        status == LSMKV_WOULD_BLOCK || lsm_is_memory(status) ||
        (status == LSMKV_IO_ERROR && err != NULL && lsm_error_is_file_limit(err));

    if (segment != NULL && status == LSMKV_OK) {
        lsm_cache_segment_touch(segment, pointer->offset);
        return LSMKV_OK;
    }
    if (passing) {
        return status;
    }
    if (err != NULL) {
        lsm_error_clear(err);
    }
    return LSMKV_NOT_FOUND;
}

/* Where a piece of a file was reserved. */
typedef struct reservation {
    lsm_cache_piece *piece;
    uint64_t offset;
} reservation;

/* The piece that is written, if it takes so many bytes more. */
static lsm_cache_piece *active_locked(const lsm_cache_space *cache, uint64_t size) {
    lsm_cache_piece *last = cache->count > 0 ? cache->pieces[cache->count - 1] : NULL;
    bool fits = last != NULL && last->file != NULL && !last->full &&
                last->bytes + size <= last->limit;
    return fits ? last : NULL;
}

/* Makes the file, then tells the MANIFEST: what fails in between leaves a file that
 * nothing names. */
static lsmkv_status begin_segment(lsmkv_db *db, lsm_cache_piece *piece,
                                  lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_segment *segment = piece->segment;
    lsm_edit_cache info = {segment->number, segment->file_id, segment->space_id};
    lsmkv_error failure;
    lsm_edit edit;
    bool tried = false;

    lsm_edit_init(&edit);
    if (!lsm_edit_add_cache(&edit, &info)) {
        LSM_TRY(lsm_fail_memory(err, sizeof(info)));
    }
    do {
        status = lsm_cache_segment_begin(segment, &piece->file, &failure);
    } while (lsm_db_again(db, status, &failure, &tried));
    LSM_TRY(status == LSMKV_OK ? LSMKV_OK : lsm_error_copy(err, &failure));
    status = lsm_db_install(db, &edit, 0, err);
    if (status != LSMKV_OK) {
        lsm_cache_unlink(db, segment);
    }
out:
    lsm_edit_deinit(&edit);
    return status;
}

/* What was written last is full: lets its file go, once nobody writes in it. */
static lsm_file *close_last_locked(const lsm_cache_space *cache) {
    lsm_cache_piece *last = cache->count > 0 ? cache->pieces[cache->count - 1] : NULL;
    lsm_file *file = NULL;

    if (last != NULL && !last->full) {
        last->full = true;
        if (last->users == 0) { /* a writer reads `file` without the lock */
            file = last->file;
            last->file = NULL;
        }
    }
    return file;
}

/* The next segment, with room for `size` bytes at least and a place in the list. */
static lsm_cache_piece *make_piece_locked(lsmkv_db *db, lsm_cache_space *cache,
                                          uint64_t size) LSM_REQUIRES(db->mu) {
    uint64_t full = lsm_cache_segment_bytes(cache->max_bytes);
    lsm_edit_cache info = {db->next_file++, lsm_rng_next(&db->rng), cache->id};
    lsm_segment *segment = lsm_cache_segment_create(&db->segments, &info);
    lsm_cache_piece *piece = segment != NULL ? lsm_cache_piece_create(segment) : NULL;
    void *pieces = cache->pieces;

    size += LSM_RECORD_FILE_HEADER_SIZE;
    size = size > full ? size : full;
    bool ok = piece != NULL &&
              lsm_cache_segment_size(segment, size, LSM_RECORD_FILE_HEADER_SIZE) &&
              lsm_grow(&pieces, &cache->capacity, cache->count + 1,
                       sizeof(lsm_cache_piece *));
    cache->pieces = pieces;
    if (!ok) {
        lsm_free(piece);
        if (segment != NULL) {
            lsm_segment_destroy(segment);
        }
        return NULL;
    }
    piece->limit = size;
    piece->bytes = LSM_RECORD_FILE_HEADER_SIZE;
    return piece;
}

/* Begins the next segment, with room for `size` bytes at least. Releases mu meanwhile.
 */
static lsmkv_status roll_locked(lsmkv_db *db, lsm_cache_space *cache, uint64_t size,
                                lsmkv_error *err) LSM_REQUIRES(db->mu) {
    lsm_cache_piece *piece = make_piece_locked(db, cache, size);
    lsm_file *old = NULL;

    if (piece == NULL) {
        return lsm_fail_memory(err, sizeof(*piece));
    }
    cache->rolling = true;
    cache->pending = piece->segment;
    lsm_mutex_unlock(&db->mu);
    lsmkv_status status = begin_segment(db, piece, err);
    lsm_mutex_lock(&db->mu);
    cache->pending = NULL;
    cache->rolling = false;
    if (status == LSMKV_OK) {
        old = close_last_locked(cache);
        bool pushed = lsm_cache_push_locked(cache, piece);
        LSM_ASSERT(pushed); /* there is a place: only this thread adds any now */
        piece = NULL;
    }
    lsm_cond_broadcast(&db->changed);
    lsm_mutex_unlock(&db->mu);
    lsm_cache_piece_destroy(piece);
    lsm_file_drop(old);
    lsm_mutex_lock(&db->mu);
    return status;
}

/* What the files may take together when this value is in. */
static uint64_t limit_locked(const lsm_cache_space *cache, bool again) {
    uint64_t most = cache->max_bytes + cache->max_bytes / 20;
    uint64_t margin =
        2 * (lsm_cache_segment_bytes(cache->max_bytes) + LSM_RECORD_FILE_HEADER_SIZE) +
        2 * LSM_CACHE_FRAME_ALIGN;
    return again ? most : most - margin;
}

static lsmkv_status fail_dropped(lsmkv_error *err) {
    return lsm_fail(err, LSMKV_INVALID_ARGUMENT, "the namespace has been dropped");
}

/* Waits for an eviction to make room, which happens beside. */
static lsmkv_status await_eviction_locked(lsmkv_db *db, lsm_cache_space *cache,
                                          lsmkv_error *err) LSM_REQUIRES(db->mu) {
    cache->starved = true;
    lsm_cond_broadcast(&db->work);
    atomic_fetch_add_explicit(&db->counters.stall_count, 1, memory_order_relaxed);
    return lsm_scheduler_await_locked(db, err);
}

static lsmkv_status reserve_locked(lsmkv_db *db, lsm_cache_space *cache, uint64_t size,
                                   bool again, reservation *where, lsmkv_error *err)
    LSM_REQUIRES(db->mu) {
    lsmkv_status status = LSMKV_OK;
    lsm_cache_piece *piece = NULL;

    while (where->piece == NULL) {
        if (db->state == LSM_STATE_POISONED) {
            return lsm_error_copy(err, &db->failure);
        }
        if (cache->dropped) {
            return fail_dropped(err);
        }
        piece = active_locked(cache, size);
        uint64_t need = piece != NULL ? size : size + LSM_RECORD_FILE_HEADER_SIZE;
        bool over = cache->bytes + need > limit_locked(cache, again) &&
                    !LSM_MUTANT(CACHE_CAP_IGNORED);
        if (over && again) {
            return LSMKV_NOT_FOUND;
        }
        if (over) {
            LSM_TRY(await_eviction_locked(db, cache, err));
        } else if (piece != NULL) {
            *where = (reservation){piece, piece->bytes};
        } else if (cache->rolling) {
            LSM_ASSERT(db->threaded);
            lsm_cond_wait(&db->changed, &db->mu);
        } else {
            LSM_TRY(roll_locked(db, cache, size, err));
        }
    }
    piece->bytes += size;
    piece->users += 1;
    cache->bytes += size;
    if (cache->bytes > cache->max_bytes && !cache->evicting) {
        lsm_cond_broadcast(&db->work);
    }
out:
    return status;
}

/* The frame of a value: in one piece if it is small, else in two. */
static lsmkv_status write_frame(const reservation *where, const lsm_cache_value *value,
                                lsm_cache_frame frame, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_buf head = {0};
    lsm_segment *segment = where->piece->segment;
    size_t count = 2;

    if (!lsm_cache_frame_encode(&frame, value->skey, segment->file_id, where->offset,
                                &head)) {
        LSM_TRY(lsm_fail_memory(err, (size_t)frame.value_at));
    }
    if (value->value.size <= GATHER_MAX &&
        lsm_buf_append(&head, value->value.data, value->value.size)) {
        count = 1;
    }
    lsm_slice pieces[] = {lsm_buf_slice(&head), value->value};
    LSM_TRY(lsm_file_write_at(where->piece->file, where->offset, pieces, count, err));
    lsm_cache_segment_grow(segment, where->offset + frame.value_at + value->value.size);
out:
    lsm_buf_deinit(&head);
    return status;
}

lsmkv_status lsm_cache_write(lsmkv_db *db, lsm_cache_space *cache,
                             const lsm_cache_value *value, lsm_pointer *pointer,
                             lsmkv_error *err) {
    reservation where = {NULL, 0};
    lsm_cache_frame frame = lsm_cache_frame_plan(value->skey.size, value->value.size);

    frame.value_checksum = lsm_xxh3(value->value.data, value->value.size);
    lsm_mutex_lock(&db->mu);
    lsmkv_status status =
        value->again || LSM_LIKELY(cache->pins == NULL)
            ? LSMKV_OK
            : lsm_cache_account_locked(cache, value->skey, frame.size, err);
    if (status == LSMKV_OK) {
        status = reserve_locked(db, cache, frame.size, value->again, &where, err);
    }
    lsm_mutex_unlock(&db->mu);
    if (status != LSMKV_OK) {
        return status;
    }
    LSM_ASSERT(where.piece != NULL);
    status = write_frame(&where, value, frame, err);
    lsm_cache_piece *piece = where.piece;
    *pointer = (lsm_pointer){.segment = piece->segment->number,
                             .offset = where.offset + frame.value_at,
                             .checksum = frame.value_checksum,
                             .size = frame.value_size};
    lsm_mutex_lock(&db->mu);
    if (status == LSMKV_OK) {
        cache->written_bytes += frame.size;
        cache->reinserted_bytes += value->again ? frame.size : 0;
    }
    lsm_cache_piece *gone = lsm_cache_leave_locked(piece);
    lsm_file *file = NULL;
    if (gone == NULL && piece->full && piece->users == 0) {
        file = piece->file;
        piece->file = NULL;
    }
    lsm_mutex_unlock(&db->mu);
    lsm_cache_piece_destroy(gone);
    lsm_file_drop(file);
    return status;
}

/* Adds a record to `to`, its value written where it belongs. */
static lsmkv_status place_record(lsmkv_db *db, const lsm_batch_record *record,
                                 lsm_batch *to, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_pointer pointer;
    uint32_t id = lsm_get_u32_be(record->skey.data);
    lsm_space *space = NULL;

    if (id > LSM_NAMESPACE_DEFAULT && lsm_tag_kind(record->tag) == LSM_KIND_PUT) {
        space = lsm_catalog_find(db, id);
        if (space == NULL) {
            return fail_dropped(err);
        }
    }
    if (space == NULL || space->cache == NULL) {
        status = lsm_batch_add_again(to, record, err);
    } else {
        lsm_cache_value value = {record->skey,
                                 lsm_value_of_field(record->tag, record->field), false};
        LSM_TRY(lsm_cache_write(db, space->cache, &value, &pointer, err));
        status = lsm_batch_add_cached(to, record, &pointer, err);
    }
out:
    lsm_space_unref(space);
    return status;
}

lsmkv_status lsm_cache_place(lsmkv_db *db, const lsm_batch *batch, lsm_batch *to,
                             lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_batch_reader reader;
    lsm_batch_record record;
    bool ok = lsm_batch_reader_init(
        &reader, lsm_slice_make(batch->record.data + LSM_RECORD_HEADER_SIZE,
                                lsm_batch_payload_size(batch)));

    LSM_ASSERT(ok);
    while (lsm_batch_reader_next(&reader, &record)) {
        LSM_TRY(place_record(db, &record, to, err));
    }
    LSM_ASSERT(lsm_batch_reader_ok(&reader));
out:
    return status;
}
