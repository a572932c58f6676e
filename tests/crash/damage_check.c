/* SPDX-License-Identifier: Apache-2.0
 *
 * What a damaged database may say:
 *
 *   - the open fails with CORRUPTION, UNSUPPORTED_VERSION or NOT_A_DATABASE, which name
 *     the damaged file, and has changed nothing; or
 *   - it shows exactly what is in the image, but for reads that meet the damage: they
 *     fail in the same way. verify finds the damage if it is in a table or a value
 *     file, and nothing if it is not, since the open writes everything else anew; or
 *   - damage behind the last mark of a log looks like the unsynced end of a crash: then
 *     the state is that after some commit, one at or after the last that was
 *     acknowledged as durable. Where a log or the MANIFEST has lost its end, its marks
 *     have gone with it, and the commit may be an earlier one: less of such a file
 *     cannot be told from a crash that came earlier.
 *
 * Damage to the hot list shows nowhere: reading ahead by what is left of it succeeds.
 */
#include "damage.h"

#include <string.h>

#include "report.h"
#include "world.h"

enum { READ_ONLY_EVERY = 4 };

typedef struct check {
    const image *im;
    const damage *d;
    const image_file *file;
    lsmkv_db *db;
    uint64_t problems;
} check;

static bool is_other(const check *c, const char *name) {
    return c->d->kind == DAMAGE_SWAP &&
           strcmp(name, c->im->files[c->d->other].name) == 0;
}

/* The error of a call that met the damage. A hole in the logs shows at the next one. */
static void check_error(const check *c, const lsmkv_error *err, const char *what) {
    bool ours = strcmp(err->file, c->file->name) == 0 || is_other(c, err->file);

    if (err->status != LSMKV_CORRUPTION && err->status != LSMKV_UNSUPPORTED_VERSION &&
        err->status != LSMKV_NOT_A_DATABASE) {
        crash_need(err->status, err, what);
    }
    if (!ours && (!image_is_records(c->file) || err->file[0] == '\0')) {
        crash_fail("%s: names \"%s\": %s", what, err->file, err->message);
    }
    if (c->d->kind == DAMAGE_FLIP && ours &&
        (err->offset < 0 || (uint64_t)err->offset > c->file->size)) {
        crash_fail("%s: offset %lld: %s", what, (long long)err->offset, err->message);
    }
    crash_count.failures++;
}

/* A read that failed: only what the open has left in use is met as late as that. */
static bool check_read(const check *c, lsmkv_status status, const lsmkv_error *err,
                       const char *what) {
    if (status == LSMKV_OK) {
        return true;
    }
    check_error(c, err, what);
    if (!c->file->lasting && c->d->kind != DAMAGE_SWAP) {
        crash_fail("%s: %s", what, err->message);
    }
    return false;
}

static bool same_bytes(lsmkv_bytes a, lsmkv_bytes b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static void on_problem(void *context, const lsmkv_error *problem) {
    check *c = (check *)context;

    c->problems++;
    check_error(c, problem, "verify");
}

/* Whether the state may be another than the image's. */
static bool may_be_older(const check *c) {
    return image_is_records(c->file) && c->d->kind != DAMAGE_SWAP;
}

/* What the database shows, in the words of the model. Nothing fails here any more. */
static model_sight look(const check *c) {
    const model *m = c->im->m;
    model_sight sight = {0, lsm_test_now_ms(c->db)};
    model_sides sides;
    lsmkv_error err = {0};
    lsmkv_iter *iter = NULL;

    crash_need(spaces_look(c->db, NULL, m, &sides), &err, "reading namespaces");
    sight.hash = spaces_hash(&sides);
    for (size_t i = 0; i < m->key_count; i++) {
        uint64_t stale = 0;
        crash_need(world_stale_hash(c->db, m, i, &stale, &err), &err, "a stale read");
        sight.hash += stale;
    }
    crash_need(lsmkv_iter_create(c->db, NULL, NULL, &iter, &err), &err, "iter_create");
    crash_need(lsmkv_iter_seek_first(iter, &err), &err, "scan");
    while (lsmkv_iter_valid(iter)) {
        lsmkv_bytes key = lsmkv_iter_key(iter);
        size_t at = model_find_key(m, key, 0);
        uint64_t entry;
        if (at == m->key_count) {
            crash_fail("a key that was never written");
        }
        entry = model_entry_hash(m, at, lsmkv_iter_value(iter));
        sight.hash += model_full_hash(entry, world_mark_of(c->db, key));
        crash_need(lsmkv_iter_next(iter, &err), &err, "scan");
    }
    lsmkv_iter_free(iter);
    return sight;
}

/* It shows the state after some commit. */
static void check_history(const check *c) {
    const model *m = c->im->m;
    model_bounds bounds;
    model_prefix found = {0};

    if (m == NULL) {
        if (c->d->kind == DAMAGE_FLIP) {
            crash_fail("the open shows another state"); /* all of it was synced */
        }
        return;
    }
    bounds = model_bounds_now(m);
    bounds.floor = c->d->kind == DAMAGE_FLIP ? bounds.floor : 0;
    if (!model_match(m, &bounds, look(c), &found)) {
        crash_fail("the open shows no state from commit %zu to %zu", bounds.floor,
                   bounds.last);
    }
}

typedef struct scan {
    size_t rows;
    bool failed;
    bool same;     /* so far, as the image */
    uint64_t hash; /* of all rows, in any order */
} scan;

static void check_row(const check *c, const lsmkv_iter *iter, bool reverse, scan *s) {
    const image *im = c->im;
    lsmkv_bytes key = lsmkv_iter_key(iter);
    lsmkv_bytes value = lsmkv_iter_value(iter);
    const image_row *row = NULL;

    crash_count.reads++;
    if (s->rows < im->row_count) {
        row = &im->rows[reverse ? im->row_count - 1 - s->rows : s->rows];
    }
    s->same = s->same && row != NULL && same_bytes(row->key, key) &&
              same_bytes(row->value, value);
    s->rows++;
    if (!s->same && !may_be_older(c)) {
        crash_fail("a scan shows another row than the image, the %zuth", s->rows);
    }
    s->hash += crash_hash(value.data, value.size, crash_hash(key.data, key.size, 1));
}

/* Whether other namespaces hold what they should, as far as they can be read. */
static bool same_spaces(const check *c) {
    model_sides found;
    lsmkv_status status;

    if (c->im->m == NULL) {
        return true;
    }
    status = spaces_look(c->db, NULL, c->im->m, &found);
    if (status == LSMKV_OK) {
        return memcmp(&found, &c->im->sides, sizeof(found)) == 0;
    }
    if (status != LSMKV_CORRUPTION ||
        (!c->file->lasting && c->d->kind != DAMAGE_SWAP)) {
        crash_fail("reading namespaces: %s", lsmkv_status_name(status));
    }
    return true;
}

static scan run_scan(const check *c, bool reverse) {
    lsmkv_error err = {0};
    lsmkv_iter *iter = NULL;
    scan s = {.same = true};
    lsmkv_status status = lsmkv_iter_create(c->db, NULL, NULL, &iter, &err);

    if (status == LSMKV_OK) {
        status = reverse ? lsmkv_iter_seek_last(iter, &err)
                         : lsmkv_iter_seek_first(iter, &err);
    }
    while (status == LSMKV_OK && lsmkv_iter_valid(iter)) {
        check_row(c, iter, reverse, &s);
        status = reverse ? lsmkv_iter_prev(iter, &err) : lsmkv_iter_next(iter, &err);
    }
    s.failed = !check_read(c, status, &err, "scan");
    s.same = s.same && s.rows == c->im->row_count && same_spaces(c);
    lsmkv_iter_free(iter);
    if (!s.failed && !s.same) {
        if (!may_be_older(c)) {
            crash_fail("a scan shows %zu rows of %zu, or a namespace differs", s.rows,
                       c->im->row_count);
        }
        check_history(c);
    }
    return s;
}

/* Point reads of what is there and of what is not. In an older state they are held
 * against nothing here: the scans were. */
static void check_points(const check *c) {
    lsmkv_error err = {0};
    lsmkv_lookup lookups[MODEL_KEYS_MAX] = {0};
    lsmkv_pin pin = {0};
    const image *im = c->im;
    size_t count = im->row_count < MODEL_KEYS_MAX ? im->row_count : MODEL_KEYS_MAX;

    for (size_t i = 0; i < im->row_count; i++) {
        lsmkv_status status = lsmkv_get(c->db, NULL, im->rows[i].key, &pin, &err);
        crash_count.reads++;
        if (status == LSMKV_NOT_FOUND) {
            crash_fail("get: row %zu is missing", i);
        }
        if (check_read(c, status, &err, "get")) {
            if (!same_bytes(pin.value, im->rows[i].value)) {
                crash_fail("get: row %zu has another value", i);
            }
            lsmkv_pin_release(&pin);
        }
        if (i < count) {
            lookups[i].key = im->rows[i].key;
        }
    }
    for (size_t i = 0; im->m != NULL && i < im->m->key_count; i++) {
        lsmkv_status status;
        if (im->m->now.values[i] != MODEL_ABSENT) {
            continue;
        }
        status = lsmkv_get(c->db, NULL, im->m->keys[i], &pin, &err);
        if (status == LSMKV_OK) {
            crash_fail("get: key %zu is there", i);
        }
        if (status != LSMKV_NOT_FOUND) {
            (void)check_read(c, status, &err, "get");
        }
    }
    if (check_read(c, lsmkv_get_many(c->db, NULL, lookups, count, &pin, &err), &err,
                   "get_many")) {
        for (size_t i = 0; i < count; i++) {
            if (!lookups[i].found || !same_bytes(lookups[i].value, im->rows[i].value)) {
                crash_fail("get_many: row %zu is wrong", i);
            }
        }
        lsmkv_pin_release(&pin);
    }
}

static bool file_is(lsm_env *disk, const image_file *file, lsm_env *other) {
    const uint8_t *bytes = NULL;
    const uint8_t *expected = NULL;
    size_t size = 0;
    size_t expected_size = 0;

    if (!lsm_sim_file_read(other, WORLD_PATH, file->name, &expected, &expected_size)) {
        return !lsm_sim_file_read(disk, WORLD_PATH, file->name, &bytes, &size);
    }
    return lsm_sim_file_read(disk, WORLD_PATH, file->name, &bytes, &size) &&
           size == expected_size && memcmp(bytes, expected, size) == 0;
}

/* A failed open, or one for reading only, has changed nothing but LOCK. */
static void check_untouched(const check *c, lsm_env *disk, lsm_env *before) {
    lsmkv_error err = {0};
    lsm_namelist now = {0};
    lsm_namelist then = {0};
    lsm_dir *dir = NULL;

    for (size_t i = 0; i < c->im->file_count; i++) {
        if (!file_is(disk, &c->im->files[i], before)) {
            crash_fail("the open has changed %s", c->im->files[i].name);
        }
    }
    crash_need(lsm_dir_open(disk, WORLD_PATH, false, &dir, &err), &err, "dir_open");
    crash_need(lsm_dir_list(dir, &now, &err), &err, "dir_list");
    lsm_dir_close(dir);
    crash_need(lsm_dir_open(before, WORLD_PATH, false, &dir, &err), &err, "dir_open");
    crash_need(lsm_dir_list(dir, &then, &err), &err, "dir_list");
    lsm_dir_close(dir);
    if (now.count > then.count + 1) {
        crash_fail("the open has left a file behind");
    }
    lsm_namelist_deinit(&now);
    lsm_namelist_deinit(&then);
}

static void check_open(check *c, bool read_only) {
    lsmkv_error err = {0};
    lsmkv_report report;
    lsmkv_warm_report warm;
    scan forward;

    crash_need(lsmkv_warm(c->db, NULL, &warm, &err), &err, "warm");
    crash_need(lsmkv_verify(c->db, on_problem, c, &report, &err), &err, "verify");
    if (c->file->lasting ? c->problems == 0 : c->problems > 0 && !read_only) {
        crash_fail("verify found %llu problems after the open",
                   (unsigned long long)c->problems);
    }
    forward = run_scan(c, false);
    if (forward.failed || forward.same) {
        check_points(c);
        (void)run_scan(c, true);
    } else if (run_scan(c, true).hash != forward.hash) {
        crash_fail("the scans in both directions differ");
    }
}

static void open_and_check(const image *im, lsm_env *disk, const damage *d,
                           bool read_only) {
    check c = {.im = im, .d = d, .file = &im->files[d->file]};
    lsm_env *before = lsm_sim_crash(disk, 1, LSM_CRASH_ALL, 64);
    lsmkv_options options = im->options;
    lsmkv_error err = {0};
    bool opened;

    if (before == NULL) {
        crash_fail("no memory for a copy of the disk");
    }
    crash_count.states++;
    options.read_only = read_only;
    if (im->untrusted) {
        options.untrusted = true;
        options.warm_bytes = 0;
    }
    opened = lsm_test_open(disk, WORLD_PATH, &options, &c.db, &err) == LSMKV_OK;
    if (!opened) {
        check_error(&c, &err, "open");
    } else {
        check_open(&c, read_only);
        if (lsmkv_close(c.db, &err) != LSMKV_OK) {
            (void)check_read(&c, err.status, &err, "close");
        }
        lsmkv_free(c.db);
    }
    if (!opened || read_only) {
        check_untouched(&c, disk, before);
    }
    lsm_sim_destroy(before);
}

void damage_check(const image *im, lsm_env *disk, const damage *d) {
    if (im->untrusted || d->at % READ_ONLY_EVERY == 0) {
        open_and_check(im, disk, d, true);
    }
    if (!im->untrusted) {
        open_and_check(im, disk, d, false);
    }
}
