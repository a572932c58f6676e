/* SPDX-License-Identifier: Apache-2.0
 *
 * Published versions, and one publish at a time that other operations, reopens and
 * crashes come in between of. In the model each version takes two indices behind the
 * keys: its nonce, if it is complete, and whether readers see it. Completing one,
 * switching to another and releasing one are commits like any other, so a crash must
 * leave exactly what some prefix of the history has.
 *
 * The nonce of a version decides how many rows it has, how long they are, and in which
 * order they are given. Each row holds the nonce and the moment at which some of the
 * rows expire, so whoever finds one row knows all of them.
 */
#include "world.h"

#include <string.h>

#include "db/published.h"
#include "report.h"

enum {
    ROWS_MAX = 12,
    HEAD_SIZE = 24, /* nonce, number, end */
    FILLER_MAX = 60,
    VALUE_MAX = HEAD_SIZE + FILLER_MAX,
    LIFE_MS = 300,
};

/* What one call of lsmkv_versions tells of one version. */
typedef struct listed {
    bool there;
    bool current;
    uint64_t row_count;
    uint64_t byte_count;
} listed;

typedef struct look {
    lsmkv_db *db;
    const lsmkv_snapshot *snapshot;
    const model *m;
    model_sides *to;
    listed list[MODEL_NAMES][MODEL_VERSIONS];
} look;

/* The rows of a version, as one that was read tells. */
typedef struct rows {
    uint64_t nonce;
    uint64_t end_ms;
} rows;

static lsmkv_bytes name_of(size_t name) {
    static const char *const names[MODEL_NAMES] = {"name", "name/1"};
    return (lsmkv_bytes){names[name], strlen(names[name])};
}

static lsmkv_bytes version_of(size_t version) {
    static const char versions[] = "v0v1v2";
    return (lsmkv_bytes){versions + 2 * version, 2};
}

static size_t complete_at(size_t name, size_t version) {
    return MODEL_PUBLISHES_AT + 2 * (name * MODEL_VERSIONS + version);
}

static size_t current_at(size_t name, size_t version) {
    return complete_at(name, version) + 1;
}

static lsmkv_bytes row_key(size_t row) {
    static const char keys[] = "000102030405060708091011121314";
    return (lsmkv_bytes){keys + 2 * row, 2};
}

static size_t count_of(uint64_t nonce) {
    return 1 + (size_t)(nonce % ROWS_MAX);
}

static bool expires(const rows *r, size_t row) {
    return r->end_ms != 0 && row % 3 == 1;
}

/* Some versions give a row twice: the last one stays. */
static bool repeats(uint64_t nonce) {
    return (nonce >> 17 & 1) != 0;
}

static lsmkv_bytes row_value(uint8_t to[VALUE_MAX], const rows *r, size_t row) {
    lsm_rng rng = {r->nonce ^ (uint64_t)row << 40};
    uint64_t number = row;
    size_t size = HEAD_SIZE + (size_t)lsm_rng_below(&rng, FILLER_MAX + 1);

    memcpy(to, &r->nonce, sizeof(r->nonce));
    memcpy(to + 8, &number, sizeof(number));
    memcpy(to + 16, &r->end_ms, sizeof(r->end_ms));
    for (size_t i = HEAD_SIZE; i < size; i++) {
        to[i] = (uint8_t)lsm_rng_next(&rng);
    }
    return (lsmkv_bytes){to, size};
}

/* The nonce that a state has for a version; 0: it is not complete. */
static uint64_t nonce_in(const model *m, const model_state *state, size_t name,
                         size_t version) {
    int32_t value = state->values[m->key_count + complete_at(name, version)];
    uint64_t nonce = 0;

    if (value != MODEL_ABSENT) {
        memcpy(&nonce, model_value_bytes(m, value).data, sizeof(nonce));
    }
    return nonce;
}

static bool is_current(const model *m, size_t name, size_t version) {
    return m->now.values[m->key_count + current_at(name, version)] != MODEL_ABSENT;
}

static void on_version(void *context, const lsmkv_version_info *info) {
    look *l = context;

    for (size_t i = 0; i < MODEL_NAMES * MODEL_VERSIONS; i++) {
        lsmkv_bytes a = name_of(i / MODEL_VERSIONS);
        lsmkv_bytes b = version_of(i % MODEL_VERSIONS);
        if (a.size == info->name.size && b.size == info->version.size &&
            memcmp(a.data, info->name.data, a.size) == 0 &&
            memcmp(b.data, info->version.data, b.size) == 0) {
            listed *to = &l->list[i / MODEL_VERSIONS][i % MODEL_VERSIONS];
            if (to->there) {
                crash_fail("a version is listed twice");
            }
            *to = (listed){true, info->current, info->row_count, info->byte_count};
            return;
        }
    }
    crash_fail("a version is listed that was never published");
}

static void check_row(const rows *r, size_t row, lsmkv_bytes value) {
    uint8_t expected[VALUE_MAX];
    lsmkv_bytes whole = row_value(expected, r, row);

    crash_count.reads++;
    if (whole.size != value.size || memcmp(whole.data, value.data, whole.size) != 0) {
        crash_fail("a version shows wrong bytes in row %zu", row);
    }
}

/* Fails if rows [from, to) of a version, which do not show, should. */
static void check_absent(const look *l, const rows *r, size_t from, size_t to) {
    for (size_t row = from; row < to; row++) {
        if (!expires(r, row) || lsm_test_now_ms(l->db) < r->end_ms) {
            crash_fail("a version lacks row %zu of %zu", row, count_of(r->nonce));
        }
    }
}

/* A scan: all rows of one nonce, and no others. The first one never expires. */
static lsmkv_status scan_rows(const look *l, const lsmkv_read *read, rows *r) {
    lsmkv_error err = {0};
    lsmkv_iter *iter = NULL;
    size_t next = 0;
    lsmkv_status status = lsmkv_iter_create(l->db, read, NULL, &iter, &err);

    *r = (rows){0, 0};
    status = status == LSMKV_OK ? lsmkv_iter_seek_first(iter, &err) : status;
    while (status == LSMKV_OK && lsmkv_iter_valid(iter)) {
        lsmkv_bytes value = lsmkv_iter_value(iter);
        uint64_t row = 0;
        if (value.size < HEAD_SIZE) {
            crash_fail("a version shows a row of %zu bytes", value.size);
        }
        memcpy(&row, (const uint8_t *)value.data + 8, sizeof(row));
        if (next == 0) {
            memcpy(&r->nonce, value.data, sizeof(r->nonce));
            memcpy(&r->end_ms, (const uint8_t *)value.data + 16, sizeof(r->end_ms));
        }
        if (row < next || row >= count_of(r->nonce)) {
            crash_fail("a version shows row %llu where %zu belongs",
                       (unsigned long long)row, next);
        }
        check_row(r, (size_t)row, value);
        if (expires(r, (size_t)row) && lsm_test_now_ms(l->db) >= r->end_ms) {
            crash_fail("a version shows row %llu, which has expired",
                       (unsigned long long)row);
        }
        check_absent(l, r, next, (size_t)row);
        next = (size_t)row + 1;
        status = lsmkv_iter_next(iter, &err);
    }
    lsmkv_iter_free(iter);
    if (status == LSMKV_OK && next > 0) {
        check_absent(l, r, next, count_of(r->nonce));
    }
    return status;
}

/* The same by point reads. */
static lsmkv_status get_rows(const look *l, const lsmkv_read *read, const rows *r) {
    lsmkv_error err = {0};
    lsmkv_pin pin = {0};
    lsmkv_lookup lookups[ROWS_MAX + 1] = {0};
    size_t count = count_of(r->nonce);

    for (size_t row = 0; row <= count; row++) {
        lookups[row].key = row_key(row);
    }
    lsmkv_status status = lsmkv_get_many(l->db, read, lookups, count + 1, &pin, &err);
    if (status != LSMKV_OK) {
        return status;
    }
    for (size_t row = 0; row < count; row++) {
        if (lookups[row].found) {
            check_row(r, row, lookups[row].value);
        } else {
            check_absent(l, r, row, row + 1);
        }
    }
    if (lookups[count].found) {
        crash_fail("a version shows a row too many");
    }
    lsmkv_pin_release(&pin);
    return LSMKV_OK;
}

/* What was listed of a version against its rows. */
static void check_listed(const listed *entry, const rows *r) {
    uint8_t value[VALUE_MAX];
    uint64_t bytes = 0;

    for (size_t row = 0; row < count_of(r->nonce); row++) {
        uint64_t size = row_key(row).size + row_value(value, r, row).size;
        bytes += row == 0 && repeats(r->nonce) ? 2 * size : size;
    }
    if (entry->row_count != count_of(r->nonce) || entry->byte_count != bytes) {
        crash_fail("a version has %llu rows of %llu bytes, not %zu of %llu",
                   (unsigned long long)entry->row_count,
                   (unsigned long long)entry->byte_count, count_of(r->nonce),
                   (unsigned long long)bytes);
    }
}

/* Reads all rows of a version by a scan; a version without any is none of ours. */
static lsmkv_status read_version(const look *l, size_t name, size_t version, rows *r) {
    lsmkv_error err = {0};
    lsmkv_namespace *space = NULL;
    lsmkv_read read = {.snapshot = l->snapshot};
    lsmkv_status status = lsmkv_published_open(
        l->db, name_of(name), version_of(version), l->snapshot, &space, &err);

    if (status == LSMKV_OK) {
        read.space = space;
        status = scan_rows(l, &read, r);
        if (status == LSMKV_OK && r->nonce == 0) {
            crash_fail("a published version has no rows");
        }
    }
    lsmkv_namespace_free(space);
    return status;
}

static void find_side(const look *l, size_t side, lsmkv_bytes value) {
    l->to->entries[side] = model_entry_hash(l->m, l->m->key_count + side, value);
    l->to->ends[side] = MODEL_NEVER;
}

/* *shown: the rows of the version, if readers see it. */
static lsmkv_status look_at_version(const look *l, size_t name, size_t version,
                                    rows *shown) {
    const listed *entry = &l->list[name][version];
    rows r;
    lsmkv_status status = read_version(l, name, version, &r);

    if (status == LSMKV_NOT_FOUND && !entry->there) {
        return LSMKV_OK;
    }
    if (status == LSMKV_NOT_FOUND || (status == LSMKV_OK && !entry->there)) {
        crash_fail("a version is %slisted, but %s", entry->there ? "" : "not ",
                   entry->there ? "not there" : "there");
    }
    if (status != LSMKV_OK) {
        return status;
    }
    check_listed(entry, &r);
    find_side(l, complete_at(name, version), (lsmkv_bytes){&r.nonce, sizeof(r.nonce)});
    if (entry->current) {
        find_side(l, current_at(name, version), (lsmkv_bytes){NULL, 0});
        *shown = r;
    }
    return LSMKV_OK;
}

/* The name shows the rows of its current version, here by point reads. */
static lsmkv_status look_at_name(const look *l, size_t name) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_error err = {0};
    lsmkv_namespace *space = NULL;
    rows shown = {0, 0};

    for (size_t i = 0; status == LSMKV_OK && i < MODEL_VERSIONS; i++) {
        status = look_at_version(l, name, i, &shown);
    }
    if (status != LSMKV_OK) {
        return status;
    }
    status = lsmkv_published_open(l->db, name_of(name), (lsmkv_bytes){NULL, 0},
                                  l->snapshot, &space, &err);
    if (status == LSMKV_NOT_FOUND && shown.nonce == 0) {
        return LSMKV_OK;
    }
    if (status == LSMKV_NOT_FOUND || (status == LSMKV_OK && shown.nonce == 0)) {
        crash_fail("name %zu is %sthere, against the list", name,
                   status == LSMKV_OK ? "" : "not ");
    }
    if (status == LSMKV_OK) {
        lsmkv_read read = {.snapshot = l->snapshot, .space = space};
        status = get_rows(l, &read, &shown);
    }
    lsmkv_namespace_free(space);
    return status;
}

lsmkv_status publishes_look(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                            const model *m, model_sides *to) {
    lsmkv_error err = {0};
    look l = {.db = db, .snapshot = snapshot, .m = m, .to = to};
    lsmkv_read read = {.snapshot = snapshot};
    lsmkv_status status =
        lsmkv_versions(db, &read, (lsmkv_bytes){NULL, 0}, on_version, &l, &err);

    for (size_t i = 0; status == LSMKV_OK && i < MODEL_NAMES; i++) {
        status = look_at_name(&l, i);
    }
    return status;
}

void publishes_check_clean(lsmkv_db *db) {
    for (size_t i = 0; i < MODEL_NAMES * MODEL_VERSIONS; i++) {
        lsm_publish_record record;
        lsmkv_error err = {0};
        lsmkv_status status =
            lsm_published_read(db, NULL, name_of(i / MODEL_VERSIONS),
                               version_of(i % MODEL_VERSIONS), &record, &err);
        if (status == LSMKV_NOT_FOUND) {
            continue;
        }
        crash_need(status, &err, "reading the record of a version");
        if (record.state != LSM_PUBLISH_COMPLETE) {
            crash_fail("an open has left the record of an interrupted publish");
        }
    }
}

void world_end_publish(world *w) {
    publish_slot *slot = &w->publish;

    if (slot->handle != NULL && w->db != NULL && !lsmkv_is_closed(w->db)) {
        lsmkv_error err = {0};
        crash_trace("discard the publish");
        (void)world_ok(w, lsmkv_publish_abort(slot->handle, &err), &err,
                       "discarding a publish");
    }
    lsmkv_publish_free(slot->handle);
    slot->handle = NULL;
}

/* Adds a row; after a failure there is no publish any more. */
static bool put_row(world *w, const rows *r, size_t row) {
    uint8_t value[VALUE_MAX];
    lsmkv_error err = {0};
    lsmkv_pair pair = {row_key(row), row_value(value, r, row)};
    lsmkv_write how = {.ttl_ms = -1};

    if (expires(r, row)) {
        how.ttl_ms = (int64_t)(r->end_ms - world_now(w));
    }
    lsmkv_status status = lsmkv_publish_put(w->publish.handle, &how, &pair, 1, &err);
    if (!world_ok(w, status, &err, "a row of a publish")) {
        world_end_publish(w);
        return false;
    }
    return true;
}

/* Begins a version that is not there. The rows that expire come first, so that they
 * all do at one moment, and one row that another will replace. */
static void begin(world *w, size_t name, size_t version) {
    publish_slot *slot = &w->publish;
    lsmkv_error err = {0};
    bool on = true;

    *slot = (publish_slot){
        .name = name, .version = version, .nonce = lsm_rng_next(&w->rng)};
    crash_trace("publish %zu/%zu: %zu rows", name, version, count_of(slot->nonce));
    lsmkv_status status = lsmkv_publish_begin(w->db, name_of(name), version_of(version),
                                              NULL, &slot->handle, &err);
    if (!world_ok(w, status, &err, "beginning a publish")) {
        return;
    }
    if (world_odds(w, w->profile->ttl_permille)) {
        lsm_test_follow_clock(w->db);
        slot->end_ms = world_now(w) + 1 + world_below(w, LIFE_MS);
    }
    rows r = {slot->nonce, slot->end_ms};
    for (size_t row = 0; on && row < count_of(r.nonce); row++) {
        on = !expires(&r, row) || put_row(w, &r, row);
    }
    if (on && repeats(r.nonce)) {
        uint8_t value[VALUE_MAX];
        lsmkv_pair pair = {row_key(0), row_value(value, &r, 0)};
        value[0] ^= 1;
        status = lsmkv_publish_put(slot->handle, NULL, &pair, 1, &err);
        if (!world_ok(w, status, &err, "a row of a publish")) {
            world_end_publish(w);
        }
    }
}

/* Adds so many of the rows that do not expire, in their order or the other way round.
 * true: all are there. */
static bool feed(world *w, size_t count) {
    publish_slot *slot = &w->publish;
    rows r = {slot->nonce, slot->end_ms};
    size_t total = count_of(slot->nonce);

    crash_trace("feed the publish, from row %zu on", slot->put_count);
    for (; slot->put_count < total && count > 0; count--) {
        size_t at = slot->put_count;
        size_t row = (slot->nonce >> 16 & 1) != 0 ? total - 1 - at : at;
        if (!expires(&r, row) && !put_row(w, &r, row)) {
            return false;
        }
        slot->put_count++;
    }
    return slot->put_count == total;
}

/* Stages that readers of a name see this version, or none. */
static void stage_current(world *w, size_t name, size_t version) {
    model *m = &w->model;

    for (size_t i = 0; i < MODEL_VERSIONS; i++) {
        if (i != version && is_current(m, name, i)) {
            model_stage_delete(m, m->key_count + current_at(name, i));
        }
    }
    if (version < MODEL_VERSIONS) {
        model_stage_bytes(m, m->key_count + current_at(name, version),
                          (lsmkv_bytes){NULL, 0});
    }
}

static void commit(world *w) {
    publish_slot *slot = &w->publish;
    model *m = &w->model;
    lsmkv_error err = {0};

    if (!feed(w, ROWS_MAX)) {
        return;
    }
    crash_trace("commit the publish");
    model_begin(m);
    model_stage_bytes(m, m->key_count + complete_at(slot->name, slot->version),
                      (lsmkv_bytes){&slot->nonce, sizeof(slot->nonce)});
    stage_current(w, slot->name, slot->version);
    model_launch(m, world_now(w));
    lsmkv_status status = lsmkv_publish_commit(slot->handle, &err);
    world_land_sides(w, status, &err, true);
    world_end_publish(w);
}

static void roll_back(world *w, size_t name, size_t version) {
    lsmkv_error err = {0};
    bool there = nonce_in(&w->model, &w->model.now, name, version) != 0;

    crash_trace("roll back %zu to %zu", name, version);
    model_begin(&w->model);
    if (there) {
        stage_current(w, name, version);
    }
    model_launch(&w->model, world_now(w));
    lsmkv_status status =
        lsmkv_rollback(w->db, name_of(name), version_of(version), &err);
    if (there) {
        world_land_sides(w, status, &err, true);
        return;
    }
    model_cancel(&w->model);
    if (status != LSMKV_NOT_FOUND && world_ok(w, status, &err, "a rollback")) {
        crash_fail("readers see a version that was never published");
    }
}

/* Lets go of a version that nobody sees. */
static void release(world *w, size_t name, size_t version) {
    model *m = &w->model;
    lsmkv_error err = {0};
    bool there = nonce_in(m, &m->now, name, version) != 0;
    bool current = is_current(m, name, version);

    crash_trace("release %zu/%zu", name, version);
    model_begin(m);
    if (there && !current) {
        model_stage_delete(m, m->key_count + complete_at(name, version));
    }
    model_launch(m, world_now(w));
    lsmkv_status status =
        lsmkv_release(w->db, name_of(name), version_of(version), &err);
    if (there && !current) {
        world_land_sides(w, status, &err, false);
        return;
    }
    model_cancel(m);
    if (status != (current ? LSMKV_INVALID_ARGUMENT : LSMKV_NOT_FOUND) &&
        world_ok(w, status, &err, "a release")) {
        crash_fail("a version was released that is %s",
                   current ? "current" : "not there");
    }
}

/* The versions of a name that readers do not see. */
typedef struct unseen {
    size_t list[MODEL_VERSIONS];
    size_t count;
} unseen;

static unseen find_unseen(const model *m, size_t name) {
    unseen found = {.count = 0};

    for (size_t i = 0; i < MODEL_VERSIONS; i++) {
        if (nonce_in(m, &m->now, name, i) != 0 && !is_current(m, name, i)) {
            found.list[found.count++] = i;
        }
    }
    return found;
}

/* Launches commits that let go of the first unseen version of a name, of the first two,
 * and so on; they land, or may be found alone. */
static void release_in_turn(world *w, size_t name, const unseen *others, bool done) {
    model *m = &w->model;

    for (size_t gone = 1; gone <= others->count; gone++) {
        model_begin(m);
        for (size_t i = 0; i < gone; i++) {
            model_stage_delete(m, m->key_count + complete_at(name, others->list[i]));
        }
        model_launch(m, world_now(w));
        model_land(m, done);
    }
}

static void launch_release(world *w, size_t name) {
    model *m = &w->model;

    model_begin(m);
    for (size_t i = 0; i < MODEL_VERSIONS; i++) {
        if (nonce_in(m, &m->now, name, i) != 0) {
            model_stage_delete(m, m->key_count + complete_at(name, i));
        }
    }
    stage_current(w, name, MODEL_VERSIONS);
    model_launch(m, world_now(w));
}

/* Lets go of a name. Its versions go one by one, in their order, the current one last:
 * a crash may leave any of the states between, and also one that comes later. Where
 * calls fail nobody could tell which of them it is, so there it has but one version. */
static void release_name(world *w, size_t name) {
    lsmkv_error err = {0};
    unseen others = find_unseen(&w->model, name);

    if (others.count > 0 && w->allowed != 0) {
        release(w, name, others.list[0]);
        return;
    }
    crash_trace("release name %zu", name);
    release_in_turn(w, name, &others, false);
    launch_release(w, name);
    lsmkv_status status =
        lsmkv_release(w->db, name_of(name), (lsmkv_bytes){NULL, 0}, &err);
    if (status == LSMKV_OK) {
        model_cancel(&w->model);
        release_in_turn(w, name, &others, true);
        launch_release(w, name);
    }
    world_land_sides(w, status, &err, false);
}

static bool exists(const world *w, size_t name) {
    bool found = false;

    for (size_t i = 0; i < MODEL_VERSIONS; i++) {
        found = found || is_current(&w->model, name, i);
    }
    return found;
}

void world_use_publish(world *w) {
    size_t name = (size_t)world_below(w, MODEL_NAMES);
    size_t version = (size_t)world_below(w, MODEL_VERSIONS);
    bool there = nonce_in(&w->model, &w->model.now, name, version) != 0;
    uint64_t draw = world_below(w, 16);

    crash_count.ops++;
    if (w->publish.handle != NULL && draw < 11) {
        if (draw < 5) {
            (void)feed(w, 1 + (size_t)world_below(w, 8));
        } else if (draw < 10) {
            commit(w);
        } else {
            world_end_publish(w);
        }
    } else if (w->publish.handle == NULL && !there) {
        begin(w, name, version);
    } else if (draw < 4 && exists(w, name)) {
        release_name(w, name);
    } else if (draw < 9) {
        release(w, name, version);
    } else {
        roll_back(w, name, version);
    }
}
