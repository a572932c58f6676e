/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: a whole table, with what the MANIFEST would know of it, in every way that
 * tables are read. Where verify finds nothing all of them agree; where it does they
 * may fail, but not otherwise.
 */
#include <string.h>

#include "base/epoch.h"
#include "base/xxh3.h"
#include "env/env_sim.h"
#include "format/filename.h"
#include "mend.h"
#include "table/table_reader.h"
#include "table/table_salvage.h"
#include "targets.h"

#define TABLE_PATH "db"

enum { CACHE_BYTES = 64 << 10, KEYS_MAX = 128, KEY_BYTES_MAX = 64 << 10 };

typedef struct bench {
    lsm_env *env;
    lsm_dir *dir;
    lsm_epoch epoch;
    lsm_cache *cache;
    lsm_table_context context;
    lsm_edit edit;
    lsm_table_info info;
    uint64_t problems;
    bool sound; /* verify found nothing */
} bench;

/* What a pass over a table saw. */
typedef struct pass {
    uint64_t count;
    uint64_t hash; /* of all entries, in any order */
    bool failed;
} pass;

/* Some of the keys. */
static struct {
    lsm_slice keys[KEYS_MAX];
    size_t count;
    uint8_t bytes[KEY_BYTES_MAX];
    size_t used;
} known;

static void keep_key(lsm_slice ikey) {
    if (known.count < KEYS_MAX && ikey.size <= KEY_BYTES_MAX - known.used) {
        uint8_t *to = known.bytes + known.used;

        memcpy(to, ikey.data, ikey.size);
        known.keys[known.count++] = lsm_slice_make(to, ikey.size);
        known.used += ikey.size;
    }
}

static void see(pass *p, const lsm_iter *iter) {
    FUZZ_CHECK(iter->status == LSMKV_OK);
    FUZZ_CHECK(lsm_ikey_check(iter->key));
    p->count++;
    p->hash += lsm_xxh3_seeded(iter->key.data, iter->key.size,
                               lsm_xxh3(iter->value.data, iter->value.size));
}

static void check_end(const bench *b, pass *p, const lsm_iter *iter) {
    p->failed = iter->status != LSMKV_OK;
    FUZZ_CHECK(!p->failed || !b->sound);
    FUZZ_CHECK(!p->failed || iter->status == LSMKV_CORRUPTION ||
               iter->status == LSMKV_UNSUPPORTED_VERSION);
}

static pass run_forward(bench *b, lsm_table *table, lsm_table_access access) {
    pass p = {0};
    lsm_epoch_token token = lsm_epoch_enter(&b->epoch);
    lsm_iter *iter = lsm_table_iter(table, access);

    FUZZ_CHECK(iter != NULL);
    for (lsm_iter_seek_first(iter); iter->valid; lsm_iter_next(iter)) {
        if (access == LSM_ACCESS_SCAN) {
            keep_key(iter->key);
        }
        see(&p, iter);
    }
    check_end(b, &p, iter);
    lsm_iter_destroy(iter);
    lsm_epoch_leave(token);
    return p;
}

static pass run_backward(bench *b, lsm_table *table) {
    pass p = {0};
    lsm_epoch_token token = lsm_epoch_enter(&b->epoch);
    lsm_iter *iter = lsm_table_iter(table, LSM_ACCESS_CACHED);

    FUZZ_CHECK(iter != NULL);
    for (lsm_iter_seek_last(iter); iter->valid; lsm_iter_prev(iter)) {
        see(&p, iter);
    }
    check_end(b, &p, iter);
    lsm_iter_destroy(iter);
    lsm_epoch_leave(token);
    return p;
}

/* Each key is found where an iterator was, by a seek and by a read. */
static void check_points(bench *b, lsm_table *table) {
    lsm_epoch_token token = lsm_epoch_enter(&b->epoch);
    lsm_iter *iter = lsm_table_iter(table, LSM_ACCESS_CACHED);

    FUZZ_CHECK(iter != NULL);
    for (size_t i = 0; i < known.count; i++) {
        lsm_slice ikey = known.keys[i];
        uint64_t trailer = lsm_ikey_trailer(ikey);
        lsm_lookup lookup =
            lsm_lookup_make(lsm_ikey_skey(ikey), lsm_trailer_sequence(trailer));
        lsm_found found = {0};
        lsmkv_status status = lsm_table_get(table, &lookup, false, &found, NULL);

        lsm_iter_seek(iter, ikey);
        if (b->sound) {
            FUZZ_CHECK(status == LSMKV_OK &&
                       lsm_trailer_sequence(found.trailer) == lookup.sequence);
            FUZZ_CHECK(iter->valid && lsm_slice_equal(iter->key, ikey));
        }
        FUZZ_CHECK(!iter->valid || lsm_ikey_compare(iter->key, ikey) >= 0);
    }
    lsm_iter_destroy(iter);
    lsm_epoch_leave(token);
}

static void check_many(bench *b, lsm_table *table) {
    static lsm_table_request requests[KEYS_MAX];
    lsm_table_request *all[KEYS_MAX];
    lsm_epoch_token token = lsm_epoch_enter(&b->epoch);

    for (size_t i = 0; i < known.count; i++) {
        requests[i] = (lsm_table_request){
            .lookup = lsm_lookup_make(lsm_ikey_skey(known.keys[i]), LSM_SEQUENCE_MAX)};
        all[i] = &requests[i];
    }
    lsmkv_status status = lsm_table_get_many(table, all, known.count, NULL);
    FUZZ_CHECK(status == LSMKV_OK || !b->sound);
    for (size_t i = 0; b->sound && i < known.count; i++) {
        FUZZ_CHECK(requests[i].done);
    }
    lsm_epoch_leave(token);
}

static void count_problem(void *context, const lsmkv_error *problem) {
    FUZZ_CHECK(problem->status != LSMKV_OK && problem->message[0] != '\0');
    ((bench *)context)->problems++;
}

/* What is left of the table without its index. */
static void salvage(bench *b, const pass *expected) {
    lsm_salvage *found = NULL;
    lsmkv_report report = {0};
    lsm_findings findings = {count_problem, b, &report};
    lsm_range_list ranges;
    pass p = {0};

    /* Nothing but its frame tells how large a block in a codec is. */
    fuzz_allow(LSM_BLOCK_RAW_SIZE_MAX);
    lsmkv_status status =
        lsm_salvage_open(b->dir, b->info.number, 0, &findings, &found, NULL);

    if (status != LSMKV_OK) {
        FUZZ_CHECK(status == LSMKV_UNSUPPORTED_VERSION && !b->sound);
        return;
    }
    lsm_range_list_init(&ranges);
    FUZZ_CHECK(lsm_salvage_ranges(found, &ranges, NULL) == LSMKV_OK);
    lsm_range_list_deinit(&ranges);
    lsm_iter *iter = lsm_salvage_iter(found);
    FUZZ_CHECK(iter != NULL);
    for (lsm_iter_seek_first(iter); iter->valid; lsm_iter_next(iter)) {
        see(&p, iter);
    }
    /* Where every checksum agrees, blocks are found where there are none. */
    if (b->sound && !lsm_checksum_agrees(0, 1)) {
        FUZZ_CHECK(p.count == expected->count && p.hash == expected->hash);
    }
    lsm_iter_destroy(iter);
    lsm_salvage_close(found);
}

static bool same(const pass *a, const pass *b) {
    return a->failed || b->failed || (a->count == b->count && a->hash == b->hash);
}

static pass read_table(bench *b, lsm_table *table) {
    lsmkv_report report = {0};

    lsm_table_verify(table, count_problem, b, &report);
    b->sound = b->problems == 0;
    pass scanned = run_forward(b, table, LSM_ACCESS_SCAN);
    pass forward = run_forward(b, table, LSM_ACCESS_CACHED);
    pass backward = run_backward(b, table);
    FUZZ_CHECK(same(&scanned, &forward) && same(&scanned, &backward));
    if (b->sound) {
        FUZZ_CHECK(scanned.count == lsm_table_properties(table)->entry_count);
        FUZZ_CHECK(scanned.count ==
                       report.record_count -
                           lsm_table_properties(table)->range_delete_count ||
                   scanned.count == report.record_count);
    }
    check_points(b, table);
    check_many(b, table);
    return scanned;
}

static void take_footer(bench *b, lsm_slice file) {
    const uint8_t *footer = NULL;

    b->info.file_size = file.size;
    if (file.size < LSM_FOOTER_SIZE) {
        return;
    }
    footer = file.data + file.size - LSM_FOOTER_SIZE;
    memcpy(b->context.uuid, footer + 16, LSM_UUID_SIZE);
    if (lsm_get_u64(footer + 48) <= file.size - LSM_FOOTER_SIZE) {
        b->info.tail_size = file.size - lsm_get_u64(footer + 48);
    }
}

static void begin(bench *b, lsm_slice file) {
    char name[LSM_FILENAME_SIZE];

    b->env = lsm_sim_create(1);
    FUZZ_CHECK(b->env != NULL);
    FUZZ_CHECK(lsm_dir_open(b->env, TABLE_PATH, true, &b->dir, NULL) == LSMKV_OK);
    FUZZ_CHECK(lsm_epoch_init(&b->epoch));
    b->cache = lsm_cache_create(CACHE_BYTES, &b->epoch);
    FUZZ_CHECK(b->cache != NULL);
    b->context.dir = b->dir;
    b->context.cache = b->cache;
    lsm_filename_make(name, LSM_NAME_TABLE, b->info.number);
    FUZZ_CHECK(lsm_sim_file_write(b->env, TABLE_PATH, name, file.data, file.size));
    known.count = 0;
    known.used = 0;
}

static void end(bench *b) {
    lsm_epoch_poll(&b->epoch);
    lsm_cache_destroy(b->cache);
    lsm_epoch_deinit(&b->epoch);
    lsm_dir_close(b->dir);
    lsm_sim_destroy(b->env);
    lsm_edit_deinit(&b->edit);
}

/* Splits an input. false: it is none. */
static bool split(lsm_slice input, lsm_slice *edit, lsm_slice *file) {
    lsm_reader reader = lsm_reader_make(input);

    if (!lsm_read_slice(&reader, edit)) {
        return false;
    }
    *file = lsm_slice_make(reader.at, lsm_reader_left(&reader));
    return true;
}

void fuzz_table(lsm_slice input) {
    bench b;
    pass all = {0};
    lsm_slice edit;
    lsm_slice file;
    lsm_table *table = NULL;

    fuzz_codec_register();
    if (!split(input, &edit, &file)) {
        return;
    }
    memset(&b, 0, sizeof(b));
    lsm_edit_init(&b.edit);
    if (lsm_edit_decode(&b.edit, edit, NULL) != LSMKV_OK) {
        return;
    }
    if (b.edit.added_count == 0 || b.edit.added[0].info.number == 0 ||
        b.edit.added[0].info.number > UINT64_C(1) << 56) {
        lsm_edit_deinit(&b.edit);
        return;
    }
    b.info = b.edit.added[0].info;
    take_footer(&b, file);
    begin(&b, file);
    lsmkv_status status = lsm_table_open(&b.context, &b.info, &table, NULL);
    if (status == LSMKV_OK) {
        all = read_table(&b, table);
        lsm_table_unref(table);
    } else {
        FUZZ_CHECK(status == LSMKV_CORRUPTION || status == LSMKV_UNSUPPORTED_VERSION);
    }
    salvage(&b, &all);
    end(&b);
}

void fuzz_table_mend(uint8_t *data, size_t size) {
    lsm_slice edit;
    lsm_slice file;

    if (split(lsm_slice_make(data, size), &edit, &file)) {
        fuzz_mend_table(data + (size - file.size), file.size);
    }
}
