/* SPDX-License-Identifier: Apache-2.0
 *
 * What a repair of a damaged database must come to: a database that opens, verifies,
 * and of which
 *
 *   - a key that the damage did not touch shows what it showed before. A flipped bit
 *     touches the keys of its data block, or of its batch in a log, all of a log by its
 *     header, and nothing in other places; other damage may touch all
 *   - any other key shows nothing, or a value that was once written to it
 *
 * The source is left as it was.
 */
#include <string.h>

#include "base/coding.h"
#include "damage.h"
#include "format/batch.h"
#include "format/footer.h"
#include "report.h"
#include "world.h"

#define REPAIRED "repaired"

enum { FOOTER_FILE_ID_AT = 40, HEADER_FILE_ID_AT = 40 };

typedef struct touched {
    const image *im;
    bool all;
    bool keys[MODEL_KEYS_MAX];
} touched;

static void touch(touched *t, lsm_slice skey) {
    lsmkv_bytes key = {skey.data + LSM_NAMESPACE_SIZE, skey.size - LSM_NAMESPACE_SIZE};
    size_t at = model_find_key(t->im->m, key, 0);

    if (at < t->im->m->key_count) {
        t->keys[at] = true;
    }
}

static void touch_block(touched *t, lsm_slice raw) {
    static uint64_t memory[1 << 15];
    lsm_block_shape shape;
    lsm_block block;

    if (!lsm_block_measure(raw, false, &shape) || shape.size > sizeof(memory) ||
        !lsm_block_decode(raw, &shape, (uint8_t *)memory, &block)) {
        crash_fail("a data block of the image does not decode");
    }
    for (uint32_t i = 0; i < block.entry_count; i++) {
        touch(t, lsm_ikey_skey(lsm_block_entry_get(&block, i).ikey));
    }
}

/* Finds the block of the intact table that the byte lies in. */
static void touch_table(touched *t, const image_file *file, uint64_t at) {
    uint64_t file_id =
        lsm_get_u64(file->bytes + file->size - LSM_FOOTER_SIZE + FOOTER_FILE_ID_AT);

    for (size_t end = 1; end + LSM_BLOCK_FRAME_SIZE <= file->size; end++) {
        uint32_t size = lsm_get_u32(file->bytes + end);
        lsm_block_frame frame;
        if (size == 0 || size > end ||
            !lsm_block_frame_open(
                lsm_slice_make(file->bytes + end - size, size + LSM_BLOCK_FRAME_SIZE),
                file_id, end - size, &frame)) {
            continue;
        }
        if (at >= end - size && at < end + LSM_BLOCK_FRAME_SIZE) {
            t->all = t->all || frame.type == LSM_BLOCK_RANGE_DELETES;
            if (frame.type == LSM_BLOCK_DATA) {
                touch_block(t, lsm_slice_make(file->bytes + end - size, size));
            }
            return;
        }
    }
}

/* A range delete in the batch may have hidden anything. */
static void touch_batch(touched *t, lsm_slice payload) {
    lsm_batch_reader reader;
    lsm_batch_record record;

    if (!lsm_batch_reader_init(&reader, payload)) {
        crash_fail("a batch of the image does not decode");
    }
    while (lsm_batch_reader_next(&reader, &record)) {
        touch(t, record.skey);
        t->all = t->all || lsm_tag_kind(record.tag) == LSM_KIND_RANGE_DELETE;
    }
}

static void touch_log(touched *t, const image_file *file, uint64_t at) {
    uint64_t file_id;
    uint64_t offset = LSM_RECORD_FILE_HEADER_SIZE;
    lsm_record record;

    t->all = at < LSM_RECORD_FILE_HEADER_SIZE;
    if (t->all) {
        return;
    }
    file_id = lsm_get_u64(file->bytes + HEADER_FILE_ID_AT);
    while (lsm_record_parse(
        lsm_slice_make(file->bytes + offset, file->size - (size_t)offset), file_id,
        offset, &record)) {
        if (at >= offset && at < offset + record.size &&
            record.type == LSM_RECORD_BATCH) {
            touch_batch(t, record.payload);
        }
        offset += record.size;
        if (file->size - offset < LSM_RECORD_HEADER_SIZE) {
            return;
        }
    }
}

/* Whether the byte lies in an occurrence of the value. */
static bool lies_in(const image_file *file, uint64_t at, lsmkv_bytes value) {
    uint64_t first = at + 1 > value.size ? at + 1 - value.size : 0;

    for (uint64_t i = first; value.size > 0 && i <= at; i++) {
        if (i + value.size <= file->size &&
            memcmp(file->bytes + i, value.data, value.size) == 0) {
            return true;
        }
    }
    return false;
}

/* Values are random bytes: where they are found is where they may lie. */
static void touch_values(touched *t, const image_file *file, uint64_t at) {
    for (size_t i = 0; i < t->im->row_count; i++) {
        if (lies_in(file, at, t->im->rows[i].value)) {
            t->keys[model_find_key(t->im->m, t->im->rows[i].key, 0)] = true;
        }
    }
}

static void find_touched(const damage *d, touched *t) {
    const image_file *file = &t->im->files[d->file];

    t->all = d->kind != DAMAGE_FLIP;
    if (t->all) {
        return;
    }
    if (strstr(file->name, ".tbl") != NULL) {
        touch_table(t, file, d->at / 8);
    } else if (strstr(file->name, ".log") != NULL) {
        touch_log(t, file, d->at / 8);
        touch_values(t, file, d->at / 8);
    } else if (strstr(file->name, ".seg") != NULL) {
        touch_values(t, file, d->at / 8);
    }
}

/* Whether the value was ever written to the key. */
static bool was_written(const model *m, size_t key, lsmkv_bytes value) {
    uint64_t hash = model_entry_hash(m, key, value);

    for (size_t i = 0; i < m->value_count; i++) {
        if (m->values[i].entry_hash == hash) {
            return true;
        }
    }
    return false;
}

static void check_key(const touched *t, lsmkv_db *db, size_t key, size_t *row) {
    const image *im = t->im;
    lsmkv_error err = {0};
    lsmkv_pin pin = {0};
    const image_row *expected = NULL;
    lsmkv_status status = lsmkv_get(db, NULL, im->m->keys[key], &pin, &err);

    crash_count.reads++;
    if (*row < im->row_count && im->rows[*row].key.size == im->m->keys[key].size &&
        memcmp(im->rows[*row].key.data, im->m->keys[key].data, im->m->keys[key].size) ==
            0) {
        expected = &im->rows[(*row)++];
    }
    if (status != LSMKV_OK && status != LSMKV_NOT_FOUND) {
        crash_need(status, &err, "get after a repair");
    }
    bool found = status == LSMKV_OK;
    bool same =
        found == (expected != NULL) &&
        (!found || (pin.value.size == expected->value.size &&
                    memcmp(pin.value.data, expected->value.data, pin.value.size) == 0));
    if (!same && !t->all && !t->keys[key]) {
        crash_fail("a repair has changed key %zu, which the damage did not touch", key);
    }
    if (found && !same && !was_written(im->m, key, pin.value)) {
        crash_fail("a repair has made up a value for key %zu", key);
    }
    lsmkv_pin_release(&pin);
}

static void on_problem(void *context, const lsmkv_error *problem) {
    (void)context;
    crash_trace("repair: %s: %s", lsmkv_status_name(problem->status), problem->message);
}

static void check_repaired(const touched *t, lsm_env *disk) {
    lsmkv_options options = t->im->options;
    lsmkv_report report;
    lsmkv_error err = {0};
    lsmkv_db *db = NULL;
    size_t row = 0;

    options.create_if_missing = false;
    crash_need(lsm_test_open(disk, REPAIRED, &options, &db, &err), &err,
               "open after a repair");
    crash_need(lsmkv_verify(db, on_problem, NULL, &report, &err), &err, "verify");
    if (report.problem_count > 0) {
        crash_fail("verify finds problems after a repair");
    }
    for (size_t i = 0; i < t->im->m->key_count; i++) {
        check_key(t, db, i, &row);
    }
    crash_need(lsmkv_close(db, &err), &err, "close after a repair");
    lsmkv_free(db);
}

static void check_source(const image *im, lsm_env *disk, lsm_env *before) {
    for (size_t i = 0; i < im->file_count; i++) {
        const char *name = im->files[i].name;
        const uint8_t *now = NULL;
        const uint8_t *then = NULL;
        size_t size_now = 0;
        size_t size_then = 0;
        bool is = lsm_sim_file_read(disk, WORLD_PATH, name, &now, &size_now);
        bool was = lsm_sim_file_read(before, WORLD_PATH, name, &then, &size_then);
        if (is != was || size_now != size_then ||
            (is && memcmp(now, then, size_now) != 0)) {
            crash_fail("a repair has changed %s of its source", name);
        }
    }
}

void damage_repair(const image *im, lsm_env *before, const damage *d) {
    const lsm_test_repair_request request = {WORLD_PATH, REPAIRED, on_problem, NULL};
    touched t = {.im = im};
    lsmkv_report report;
    lsmkv_error err = {0};
    lsm_env *disk = lsm_sim_crash(before, 1, LSM_CRASH_ALL, 64);

    if (disk == NULL) {
        crash_fail("no memory for a copy of the disk");
    }
    if (im->m != NULL) {
        crash_count.states++;
        crash_need(lsm_test_repair(disk, &request, &report, &err), &err, "repair");
        check_source(im, disk, before);
        find_touched(d, &t);
        if (report.problem_count == 0 && image_is_records(&im->files[d->file])) {
            t.all = true; /* it looks like the unsynced end of a crash */
        }
        check_repaired(&t, disk);
    }
    lsm_sim_destroy(disk);
}
