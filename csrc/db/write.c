/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a write:
 *
 *   1. Times to live become times, and the batch is parsed, hashed and sorted into a
 *      plan, outside every lock.
 *      Values of caches were written to their segments, and the batch points to them.
 *   2. The writer joins the queue. Whoever stands at its head leads; the others wait.
 *   3. The leader makes room in the memtable, which may delay it or rotate the
 * memtable.
 *   4. It takes the writers behind it into its group while they fit, and gives every
 *      batch its sequence.
 *   5. Without the lock it appends the group to the log with one write, syncs if any
 *      member asks, inserts the plans into the memtable and publishes the sequence.
 *   6. It takes the group off the queue and wakes the members and the next leader.
 *
 * Nothing can fail between the append and the publishing but the append and the sync
 * themselves: room was made and memory allocated before. A group that fails there is
 * not inserted, so it is not readable.
 *
 * A batch that names a namespace that has been dropped is refused by its leader; and
 * since the drop's own leader has taken the namespace off the list before anybody else
 * leads, nothing is ever written behind a drop.
 *
 * A write with a condition leads alone: nothing can come between the check, which may
 * read tables and so is made without the lock, and its publishing.
 *
 * sync() and the rotation of the memtable go through the same queue, as writers without
 * a batch, because only the leader may touch the log and the memtable.
 */
#include "db/db.h"

#include "base/assert.h"
#include "base/mutant.h"
#include "db/cache_space.h"
#include "db/read.h"
#include "wal/wal.h"

enum {
    GROUP_BYTES_MAX = 1 << 20,
    GROUP_BYTES_SMALL = 128 << 10, /* a small leader does not wait for a large group */
    GROUP_COUNT_MAX = 64,          /* what lsm_wal_append takes */
};

typedef struct lsm_writer {
    lsm_list link;
    lsm_batch *batch;   /* NULL: a request to sync or to rotate */
    lsm_mem_plan *plan; /* of the batch */
    const lsm_condition *condition;
    lsm_space *drops;
    bool alone;
    bool sync;
    bool rotate;
    bool done;    /* under mu */
    bool waiting; /* `wake` is initialised; under mu */
    lsm_cond wake;
    lsmkv_status status;
    lsmkv_error *err; /* the caller's; written before `done` */
} lsm_writer;

typedef struct lsm_group {
    lsm_writer *members[GROUP_COUNT_MAX];
    lsm_wal_item items[GROUP_COUNT_MAX];
    size_t count;
    lsm_wal_writer *log;  /* the active one: an installation may move logs[] */
    lsm_segment *segment; /* of the active log */
    uint64_t bytes;
    uint64_t first_sequence;
    uint64_t last_sequence;
    bool sync;
} lsm_group;

/* Joins the queue and waits to lead or to be served. Answers OK with *leads; with
 * nonblocking, WOULD_BLOCK unless the queue was empty. */
static lsmkv_status enqueue(lsmkv_db *db, lsm_writer *writer, bool nonblocking,
                            bool *leads) LSM_NO_LOCK_ANALYSIS {
    *leads = false;
    if (nonblocking) {
        if (!lsm_mutex_trylock(&db->mu)) {
            return LSMKV_WOULD_BLOCK;
        }
        if (!lsm_list_empty(&db->writers)) {
            lsm_mutex_unlock(&db->mu);
            return LSMKV_WOULD_BLOCK;
        }
    } else {
        lsm_mutex_lock(&db->mu);
    }
    if (atomic_load(&db->closing)) {
        lsm_mutex_unlock(&db->mu);
        return lsm_fail(writer->err, LSMKV_CLOSED, "the database is closed");
    }
    lsm_list_insert(&db->writers, &writer->link);
    if (db->writers.next != &writer->link) {
        lsm_cond_init(&writer->wake);
        writer->waiting = true;
        while (!writer->done && db->writers.next != &writer->link) {
            lsm_cond_wait(&writer->wake, &db->mu);
        }
        writer->waiting = false;
        lsm_cond_deinit(&writer->wake);
    }
    *leads = !writer->done;
    if (writer->done) {
        lsm_mutex_unlock(&db->mu);
    }
    return LSMKV_OK;
}

static void finish_locked(lsm_writer *writer, lsmkv_status status) {
    lsm_list_remove(&writer->link);
    writer->status = status;
    writer->done = true;
    if (writer->waiting) {
        lsm_cond_signal(&writer->wake);
    }
}

/* After the leader took itself and its group off the queue. */
static void pass_on_locked(lsmkv_db *db) LSM_REQUIRES(db->mu) {
    if (lsm_list_empty(&db->writers)) {
        lsm_cond_broadcast(&db->idle);
        return;
    }
    lsm_writer *next = LSM_CONTAINER_OF(db->writers.next, lsm_writer, link);
    if (next->waiting) {
        lsm_cond_signal(&next->wake);
    }
}

static void group_add(lsm_group *group, lsm_writer *writer) {
    group->members[group->count] = writer;
    group->items[group->count] = (lsm_wal_item){
        .record = &writer->batch->record,
        .align = writer->plan->large_bytes != 0 ? (uint32_t)LSM_VALUE_ALIGN
                                                : (uint32_t)LSM_RECORD_ALIGN};
    group->count += 1;
    group->bytes += writer->batch->record.size;
    group->sync |= writer->sync;
}

/* Takes the leader and those behind it whose batches fit; stamps their sequences. */
static void group_form_locked(lsmkv_db *db, lsm_writer *leader, lsm_group *group)
    LSM_REQUIRES(db->mu) {
    uint64_t left = lsm_memtable_left(db->mem) - leader->plan->bytes;
    group->count = 0;
    group->bytes = 0;
    group->sync = false;
    group_add(group, leader);
    uint64_t cap = group->bytes <= GROUP_BYTES_SMALL ? group->bytes + GROUP_BYTES_SMALL
                                                     : GROUP_BYTES_MAX;
    for (lsm_list *at = leader->link.next; at != &db->writers; at = at->next) {
        lsm_writer *writer = LSM_CONTAINER_OF(at, lsm_writer, link);
        if (leader->alone || writer->alone || writer->batch == NULL ||
            !lsm_catalog_knows_locked(db, writer->batch) ||
            writer->plan->bytes > left || group->count == GROUP_COUNT_MAX ||
            group->bytes + writer->batch->record.size > cap) {
            break;
        }
        left -= writer->plan->bytes;
        group_add(group, writer);
    }
    uint64_t now_ms = lsm_clock_follow_ms(&db->clock);
    group->log = db->logs[db->log_count - 1].writer;
    group->segment = db->logs[db->log_count - 1].segment;
    group->first_sequence = db->last_sequence + 1;
    group->last_sequence = db->last_sequence;
    for (size_t i = 0; i < group->count; i++) {
        lsm_batch_stamp(group->members[i]->batch, group->last_sequence + 1, now_ms);
        group->last_sequence += group->members[i]->batch->count;
    }
}

/* The part without the lock: log, memtable, publishing. */
static lsmkv_status group_commit(lsmkv_db *db, lsm_group *group, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_wal_writer *log = group->log;

    if (group->sync) {
        LSM_TRY(lsm_logs_sync(db, false, err));
    }
    uint64_t size_before = lsm_wal_size(log);
    LSM_TRY(lsm_wal_append_batches(log, group->items, group->count, err));
    atomic_fetch_add_explicit(&db->counters.log_bytes_written,
                              lsm_wal_size(log) - size_before, memory_order_relaxed);
    if (group->sync) {
        status = lsm_log_sync(db, log, err);
        LSM_TRY(LSM_MUTANT(FAILED_WRITE_SHOWS) ? LSMKV_OK : status);
    }
    uint64_t sequence = group->first_sequence;
    if (LSM_MUTANT(PUBLISHED_BEFORE_INSERTED)) {
        atomic_store(&db->published, group->last_sequence);
    }
    for (size_t i = 0; i < group->count; i++) {
        const lsm_writer *writer = group->members[i];
        if (LSM_UNLIKELY(writer->plan->large_bytes != 0)) {
            writer->plan->log_number = group->segment->number;
            writer->plan->log_offset = group->items[i].offset;
            atomic_store_explicit(&group->segment->used, true, memory_order_relaxed);
        }
        lsm_memtable_insert(db->mem, writer->plan, sequence);
        sequence += writer->batch->count;
    }
    /* release: pairs with the acquire of lsm_db_published. */
    atomic_store_explicit(&db->published, group->last_sequence, memory_order_release);
out:
    return status;
}

static void count_group(lsmkv_db *db, const lsm_group *group) {
    lsm_counters *counters = &db->counters;
    atomic_fetch_add_explicit(&counters->write_group_count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counters->write_count, group->count,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&counters->user_bytes_written, group->bytes,
                              memory_order_relaxed);
}

/* A dead log after a full disk leaves the database DEGRADED: the next write may start
 * another. Dead of anything else, it is final. A failure that left the log alone (no
 * memory to prepare a sync) is the group's own. */
static void note_failure_locked(lsmkv_db *db, const lsmkv_error *failure)
    LSM_REQUIRES(db->mu) {
    if (!lsm_wal_dead(db->logs[db->log_count - 1].writer)) {
        return;
    }
    if (failure->status == LSMKV_DISK_FULL && db->state == LSM_STATE_OPEN &&
        !LSM_MUTANT(FULL_DISK_IS_FINAL)) {
        db->state = LSM_STATE_DEGRADED;
        db->failure = *failure;
    } else if (failure->status != LSMKV_DISK_FULL || LSM_MUTANT(FULL_DISK_IS_FINAL)) {
        (void)lsm_db_poison_locked(db, failure);
    }
}

/* Looks for the newest version of a condition's key. *visible: it is no delete, and has
 * not expired. */
static lsmkv_status find_newest(lsmkv_db *db, const lsm_condition *condition,
                                bool nonblocking, lsm_found *found, bool *visible,
                                lsmkv_error *err) {
    lsm_epoch_token token = lsm_epoch_enter(&db->epoch);
    lsm_lookup lookup = lsm_lookup_make(condition->skey, lsm_db_published(db));
    lsmkv_status status =
        lsm_db_find(db, &lookup, nonblocking, lsm_db_readstate(db), found, err);

    *visible =
        status == LSMKV_OK && lsm_found_visible(found, lsm_clock_now_ms(&db->clock));
    lsm_epoch_leave(token);
    return status;
}

/* Whether the leader's condition holds: OK or NOT_FOUND. Only leaders publish, so what
 * is found stays the newest. */
static lsmkv_status check_condition(lsmkv_db *db, const lsm_writer *leader,
                                    bool nonblocking, lsmkv_error *err) {
    const lsm_condition *condition = leader->condition;
    lsmkv_status status;
    lsm_found found;
    bool visible = false;
    bool tried = false;

    if (condition == NULL || LSM_MUTANT(CONDITION_NOT_CHECKED)) {
        return LSMKV_OK;
    }
    do {
        status = find_newest(db, condition, nonblocking, &found, &visible, err);
    } while (lsm_db_again(db, status, err, &tried));
    if (status != LSMKV_OK && status != LSMKV_NOT_FOUND) {
        return status;
    }
    uint64_t sequence = status == LSMKV_OK ? lsm_trailer_sequence(found.trailer) : 0;
    bool holds = condition->or_older ? sequence <= condition->sequence
                                     : (visible ? sequence : 0) == condition->sequence;
    return holds ? LSMKV_OK : LSMKV_NOT_FOUND;
}

/* Leads one group, with mu held; releases it. */
static lsmkv_status lead_group(lsmkv_db *db, lsm_writer *leader,
                               bool nonblocking) LSM_NO_LOCK_ANALYSIS {
    lsmkv_error failure;
    lsm_group group;

    lsm_error_clear(&failure);
    lsm_need need = {leader->plan->bytes, leader->batch->record.size};
    lsmkv_status status = lsm_room_make_locked(db, need, nonblocking, &failure);
    if (status == LSMKV_OK && !lsm_catalog_knows_locked(db, leader->batch)) {
        status = lsm_fail(&failure, LSMKV_INVALID_ARGUMENT,
                          "the namespace has been dropped");
    }
    if (status != LSMKV_OK) {
        finish_locked(leader, lsm_error_copy(leader->err, &failure));
        leader->status = status;
        pass_on_locked(db);
        lsm_mutex_unlock(&db->mu);
        return status;
    }
    group_form_locked(db, leader, &group);
    lsm_mutex_unlock(&db->mu);

    status = check_condition(db, leader, nonblocking, &failure);
    if (status == LSMKV_OK) {
        status = group_commit(db, &group, &failure);
    }

    lsm_mutex_lock(&db->mu);
    if (status == LSMKV_OK) {
        db->last_sequence = group.last_sequence;
        if (leader->drops != NULL) {
            lsm_catalog_remove_locked(db, leader->drops);
        }
    } else {
        note_failure_locked(db, &failure);
    }
    for (size_t i = 0; i < group.count; i++) {
        if (status != LSMKV_OK) {
            (void)lsm_error_copy(group.members[i]->err, &failure);
        }
        finish_locked(group.members[i], status);
    }
    pass_on_locked(db);
    lsm_mutex_unlock(&db->mu);
    if (status == LSMKV_OK) {
        count_group(db, &group);
    }
    return status;
}

/* Values of caches go to their segments first, in the writer's own thread. */
static LSM_NOINLINE lsmkv_status place_caches(lsmkv_db *db, const lsm_batch *batch,
                                              bool nonblocking, lsm_batch *placed,
                                              lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;

    if (nonblocking) {
        return LSMKV_WOULD_BLOCK;
    }
    LSM_TRY(lsm_db_begin(db, err));
    placed->threshold = lsm_db_blob_threshold(db);
    status = lsm_cache_place(db, batch, placed, err);
    lsm_db_end(db);
    if (status == LSMKV_OK) {
        lsm_batch_stamp(placed, 0, 0);
    }
out:
    return status;
}

lsmkv_status lsm_db_write(lsmkv_db *db, lsm_batch *batch, lsm_write_how how,
                          lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_mem_plan plan = {0};
    lsm_batch converted;
    lsm_batch placed;
    bool leads;

    if (db->fork_generation != lsm_fork_generation()) {
        return lsm_db_begin(db, err); /* fails, with the reason */
    }
    lsm_batch_init(&converted);
    lsm_batch_init(&placed);
    /* The plan needs the count in the payload; the leader stamps again. */
    lsm_batch_stamp(batch, 0, 0);
    if (batch->ttl_count != 0) {
        /* Follow first: what the leader would add to engine time is no time lived. */
        lsm_batch_resolve(batch, lsm_clock_follow_ms(&db->clock));
    }
    if (LSM_UNLIKELY(batch->caches)) {
        LSM_TRY(place_caches(db, batch, how.nonblocking, &placed, err));
        batch = &placed;
    }
    if (LSM_UNLIKELY(!lsm_batch_suits(batch, lsm_db_blob_threshold(db)))) {
        converted.threshold = lsm_db_blob_threshold(db);
        LSM_TRY(lsm_batch_convert(batch, &converted, err));
        lsm_batch_stamp(&converted, 0, 0);
        batch = &converted;
    }
    lsm_slice payload = lsm_slice_make(batch->record.data + LSM_RECORD_HEADER_SIZE,
                                       lsm_batch_payload_size(batch));
    lsm_writer writer = {.batch = batch,
                         .plan = &plan,
                         .condition = how.condition,
                         .drops = how.drops,
                         .alone = how.alone || how.condition != NULL,
                         .sync = how.sync,
                         .err = err};
    LSM_TRY(lsm_mem_plan_init(&plan, payload, err));
    LSM_TRY(enqueue(db, &writer, how.nonblocking, &leads));
    status = leads ? lead_group(db, &writer, how.nonblocking) : writer.status;
out:
    lsm_mem_plan_deinit(&plan);
    lsm_batch_deinit(&converted);
    lsm_batch_deinit(&placed);
    return status;
}

/* Queues a request without a batch; `serve` runs at the head, with mu held. */
static lsmkv_status queue_request(lsmkv_db *db,
                                  lsmkv_status (*serve)(lsmkv_db *db, lsmkv_error *err),
                                  lsmkv_error *err) LSM_NO_LOCK_ANALYSIS {
    lsm_writer writer = {.err = err};
    bool leads;

    if (db->fork_generation != lsm_fork_generation()) {
        return lsm_db_begin(db, err);
    }
    lsmkv_status status = enqueue(db, &writer, false, &leads);
    if (status != LSMKV_OK) {
        return status;
    }
    LSM_ASSERT(leads); /* groups never take in a request */
    status = serve(db, err);
    finish_locked(&writer, status);
    pass_on_locked(db);
    lsm_mutex_unlock(&db->mu);
    return status;
}

static lsmkv_status serve_sync(lsmkv_db *db, lsmkv_error *err) LSM_REQUIRES(db->mu) {
    lsmkv_status status = LSMKV_OK;
    if (db->state == LSM_STATE_POISONED) {
        return lsm_error_copy(err, &db->failure);
    }
    if (db->state == LSM_STATE_DEGRADED ||
        lsm_wal_dead(db->logs[db->log_count - 1].writer)) {
        LSM_TRY(lsm_room_rotate_locked(db, (lsm_need){0, 0}, err));
    }
    lsm_mutex_unlock(&db->mu);
    status = lsm_logs_sync(db, !LSM_MUTANT(SYNC_LEAVES_ACTIVE_LOG), err);
    lsm_mutex_lock(&db->mu);
out:
    return status;
}

static lsmkv_status serve_rotate(lsmkv_db *db, lsmkv_error *err) LSM_REQUIRES(db->mu) {
    if (db->state == LSM_STATE_POISONED) {
        return lsm_error_copy(err, &db->failure);
    }
    if (lsm_memtable_empty(db->mem)) {
        return LSMKV_OK;
    }
    return lsm_room_rotate_locked(db, (lsm_need){0, 0}, err);
}

static lsmkv_status serve_resume(lsmkv_db *db, lsmkv_error *err) LSM_REQUIRES(db->mu) {
    if (db->state == LSM_STATE_POISONED) {
        return lsm_error_copy(err, &db->failure);
    }
    bool dead = lsm_wal_dead(db->logs[db->log_count - 1].writer);
    return dead || db->state == LSM_STATE_DEGRADED
               ? lsm_room_rotate_locked(db, (lsm_need){0, 0}, err)
               : LSMKV_OK;
}

lsmkv_status lsm_db_resume(lsmkv_db *db, lsmkv_error *err) {
    lsmkv_status status = queue_request(db, serve_resume, err);
    return status == LSMKV_OK ? lsm_scheduler_retry(db, err) : status;
}

lsmkv_status lsm_db_sync(lsmkv_db *db, lsmkv_error *err) {
    return queue_request(db, serve_sync, err);
}

lsmkv_status lsm_db_rotate(lsmkv_db *db, lsmkv_error *err) {
    return queue_request(db, serve_rotate, err);
}
