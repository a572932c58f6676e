/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing a repaired database; see repair.h.
 */
#include "db/repair.h"

#include "base/alloc.h"
#include "db/repair_system.h"
#include "db/repair_values.h"
#include "db/target.h"
#include "format/codec.h"
#include "format/filename.h"
#include "table/merge_iter.h"
#include "table/table_writer.h"

enum { LAST_LEVEL = LSMKV_LEVEL_COUNT - 1 };

typedef struct lsm_rebuild {
    lsm_repair *repair;
    lsm_target to; /* zeroed: nothing is written */
    lsm_repair_values values;
    lsm_range_list ranges;
    lsm_range_set *set; /* of them; NULL: there are none */
    size_t place;       /* of the last lookup in it */
    lsm_iter *input;    /* owned; all versions */
    lsm_buf current;    /* stored key decided about last */
    bool has_current;
    lsm_repair_system system;
    lsm_options options;
    lsm_rng rng;
    uint8_t uuid[LSM_UUID_SIZE];
    uint64_t next_file;
    lsm_table_writer *writer; /* owned */
    lsm_edit everything;
} lsm_rebuild;

static lsmkv_status gather_ranges(lsm_rebuild *work, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    const lsm_repair *repair = work->repair;

    for (size_t i = 0; i < repair->table_count; i++) {
        LSM_TRY(lsm_salvage_ranges(repair->tables[i].salvage, &work->ranges, err));
    }
    for (size_t i = 0; i < repair->memtable_count; i++) {
        if (!lsm_memtable_list_ranges(repair->memtables[i], &work->ranges)) {
            LSM_TRY(lsm_fail_memory(err, sizeof(lsm_tombstone)));
        }
    }
    if (work->ranges.count > 0) {
        const uint64_t newest = LSM_SEQUENCE_MAX;
        const lsm_strata strata = {&newest, 1};
        work->set =
            lsm_range_set_build(work->ranges.items, work->ranges.count, &strata);
        if (work->set == NULL) {
            status = lsm_fail_memory(err, sizeof(*work->set));
        }
    }
out:
    return status;
}

static lsmkv_status open_input(lsm_rebuild *work, lsmkv_error *err) {
    const lsm_repair *repair = work->repair;
    size_t total = repair->memtable_count + repair->table_count;
    lsm_iter **children = lsm_calloc(total + 1, sizeof(*children));
    size_t count = 0;
    bool ok = children != NULL;

    for (size_t i = 0; ok && i < total; i++) {
        size_t table = i - repair->memtable_count;
        children[i] = i < repair->memtable_count
                          ? lsm_memtable_iter(repair->memtables[i])
                          : lsm_salvage_iter(repair->tables[table].salvage);
        ok = children[i] != NULL;
        count += ok;
    }
    if (ok) {
        work->input = lsm_merge_iter(children, count);
        count = 0;
        ok = work->input != NULL;
    }
    for (size_t i = 0; i < count; i++) {
        lsm_iter_destroy(children[i]);
    }
    lsm_free(children);
    return ok ? LSMKV_OK : lsm_fail_memory(err, total * sizeof(*children));
}

/* Whether the current version is what its key shows. */
static lsmkv_status judge(lsm_rebuild *work, bool *keep, lsmkv_error *err) {
    lsm_slice skey = lsm_ikey_skey(work->input->key);
    uint64_t trailer = lsm_ikey_trailer(work->input->key);
    uint64_t sequence = lsm_trailer_sequence(trailer);

    *keep = false;
    if (sequence > work->repair->last_sequence) {
        work->repair->last_sequence = sequence;
    }
    if (work->has_current && lsm_slice_equal(skey, lsm_buf_slice(&work->current))) {
        return LSMKV_OK; /* an older version, or the same one once more */
    }
    lsm_buf_clear(&work->current);
    if (!lsm_buf_append(&work->current, skey.data, skey.size)) {
        return lsm_fail_memory(err, skey.size);
    }
    work->has_current = true;
    lsm_kind kind = lsm_tag_kind(lsm_trailer_tag(trailer));
    *keep = (kind == LSM_KIND_PUT || kind == LSM_KIND_POINTER) &&
            (work->set == NULL || lsm_range_set_cover(work->set, skey, LSM_SEQUENCE_MAX,
                                                      &work->place) < sequence);
    return LSMKV_OK;
}

/* Finds what the database remembers, so that its tables are written as it wants them.
 * Options that cannot be had are as if nothing was remembered. */
static lsmkv_status recall(lsm_rebuild *work, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_options given;
    uint8_t key[LSM_NAMESPACE_SIZE + sizeof(LSM_OPTIONS_KEY)] = {0};
    lsm_slice skey = lsm_slice_make(key, sizeof(key) - 1);
    bool keep = false;

    memcpy(key + LSM_NAMESPACE_SIZE, LSM_OPTIONS_KEY, sizeof(LSM_OPTIONS_KEY) - 1);
    lsmkv_options_init(&given);
    LSM_TRY(lsm_options_resolve(&given, &work->options, err));
    for (lsm_iter_seek_first(work->input); work->input->valid && !keep;
         lsm_iter_next(work->input)) {
        lsm_slice at = lsm_ikey_skey(work->input->key);
        uint8_t tag = lsm_trailer_tag(lsm_ikey_trailer(work->input->key));
        if (lsm_slice_compare(at, skey) > 0) {
            break;
        }
        LSM_TRY(judge(work, &keep, err));
        keep = keep && lsm_slice_equal(at, skey) && lsm_tag_kind(tag) == LSM_KIND_PUT;
        if (keep && lsm_options_recall(&work->options,
                                       lsm_value_of_field(tag, work->input->value),
                                       NULL) != LSMKV_OK) {
            LSM_TRY(lsm_options_resolve(&given, &work->options, err));
        }
    }
    if (work->input->status != LSMKV_OK) {
        LSM_TRY(lsm_error_copy(err, &work->input->error));
    }
    if (lsm_codec_check(work->options.codec, NULL) != LSMKV_OK) {
        work->options.codec = LSMKV_CODEC_NONE;
    }
    work->has_current = false;
out:
    return status;
}

static lsmkv_status create_table(lsm_rebuild *work, lsmkv_error *err) {
    lsm_table_write_options how = {
        .block_bytes = work->options.block_bytes,
        .index_block_bytes = work->options.block_bytes,
        .bloom_bits_per_key = work->options.bloom_bits_per_key,
        .codec = work->options.codec,
        .codec_level = work->options.codec_level,
        .file_id = lsm_rng_next(&work->rng),
        .now_ms = work->repair->time_ms,
    };
    memcpy(how.uuid, work->uuid, LSM_UUID_SIZE);
    return lsm_table_writer_create(work->to.dir, work->next_file++, &how, &work->writer,
                                   err);
}

static lsmkv_status finish_table(lsm_rebuild *work, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_table_info info;

    if (work->writer == NULL) {
        return LSMKV_OK;
    }
    LSM_TRY(lsm_table_writer_finish(work->writer, &info, err));
    if (!lsm_edit_add_table(&work->everything, LAST_LEVEL, &info)) {
        status = lsm_fail_memory(err, sizeof(info));
    }
out:
    lsm_table_writer_destroy(work->writer);
    work->writer = NULL;
    return status;
}

/* Writes the current version, and the value that it points to. */
static lsmkv_status write_one(lsm_rebuild *work, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_slice field = work->input->value;
    uint8_t tag = lsm_trailer_tag(lsm_ikey_trailer(work->input->key));
    bool lost = false;

    if (lsm_tag_kind(tag) == LSM_KIND_POINTER) {
        LSM_TRY(lsm_repair_values_place(&work->values, tag, work->input->value, &field,
                                        &lost, err));
    }
    if (lost) {
        return LSMKV_OK;
    }
    work->repair->findings.report->record_count += 1;
    if (work->to.dir == NULL) {
        return LSMKV_OK;
    }
    if (work->writer != NULL &&
        lsm_table_writer_size(work->writer) >= work->options.table_bytes) {
        LSM_TRY(finish_table(work, err));
    }
    if (work->writer == NULL) {
        LSM_TRY(create_table(work, err));
    }
    LSM_TRY(lsm_table_writer_add(work->writer, work->input->key, field, err));
out:
    return status;
}

static lsmkv_status write_tables(lsm_rebuild *work, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_iter *input = work->input;
    bool keep;

    for (lsm_iter_seek_first(input); input->valid; lsm_iter_next(input)) {
        LSM_TRY(judge(work, &keep, err));
        if (keep) {
            LSM_TRY(lsm_repair_system_judge(&work->system, work->repair, input, &keep,
                                            err));
        }
        if (keep) {
            LSM_TRY(write_one(work, err));
        }
    }
    if (input->status != LSMKV_OK) {
        LSM_TRY(lsm_error_copy(err, &input->error));
    }
    LSM_TRY(finish_table(work, err));
    status = lsm_repair_values_finish(&work->values, err);
out:
    return status;
}

/* Makes the directory a database. */
static lsmkv_status commit(lsm_rebuild *work, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_wal_writer *manifest = NULL;
    lsm_edit *everything = &work->everything;
    lsm_record_file_header header = {.type = LSM_FILE_MANIFEST};

    LSM_TRY(lsm_dir_sync(work->to.dir, err));
    header.number = work->next_file++;
    header.file_id = lsm_rng_next(&work->rng);
    memcpy(header.uuid, work->uuid, LSM_UUID_SIZE);
    everything->has_first_log = true;
    everything->first_log = work->next_file++;
    everything->has_next_file = true;
    everything->next_file = work->next_file > work->system.edit_mark_max
                                ? work->next_file
                                : work->system.edit_mark_max + 1;
    everything->has_last_sequence = true;
    everything->last_sequence = work->repair->last_sequence;
    everything->has_time = true;
    everything->time_ms = work->repair->time_ms;
    LSM_TRY(lsm_manifest_create(work->to.dir, &header, everything, &manifest,
                                &work->to.renamed, err));
    status = lsm_wal_close(manifest, err);
out:
    return status;
}

static void rebuild_deinit(lsm_rebuild *work) {
    lsm_iter_destroy(work->input);
    lsm_repair_values_deinit(&work->values);
    lsm_range_set_destroy(work->set);
    lsm_range_list_deinit(&work->ranges);
    lsm_buf_deinit(&work->current);
    lsm_repair_system_deinit(&work->system);
    lsm_table_writer_destroy(work->writer);
    lsm_edit_deinit(&work->everything);
}

static lsmkv_status rebuild(lsm_repair *repair, const char *into, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_rebuild work = {.repair = repair, .next_file = 1};
    uint64_t seed;

    lsm_range_list_init(&work.ranges);
    lsm_edit_init(&work.everything);
    lsm_env_entropy(repair->env, &seed, sizeof(seed));
    lsm_env_entropy(repair->env, work.uuid, LSM_UUID_SIZE);
    work.rng.state = seed;
    if (into != NULL) {
        LSM_TRY(lsm_target_open(repair->env, into, &work.to, err));
    }
    work.values = (lsm_repair_values){.repair = repair,
                                      .to = work.to.dir,
                                      .uuid = work.uuid,
                                      .next_file = &work.next_file,
                                      .rng = &work.rng,
                                      .edit = &work.everything};
    LSM_TRY(gather_ranges(&work, err));
    LSM_TRY(open_input(&work, err));
    LSM_TRY(recall(&work, err));
    LSM_TRY(write_tables(&work, err));
    if (into != NULL) {
        LSM_TRY(commit(&work, err));
    }
out:
    rebuild_deinit(&work); /* an unfinished table goes with it */
    lsm_target_close(&work.to, status == LSMKV_OK);
    return status;
}

lsmkv_status lsm_db_repair(lsm_env *env, const char *path, const char *into,
                           const lsm_findings *findings, lsmkv_error *err) {
    lsm_repair repair = {.env = env, .findings = *findings};
    lsmkv_status status = lsm_repair_gather(&repair, path, err);

    if (status == LSMKV_OK) {
        status = rebuild(&repair, into, err);
    }
    for (size_t i = 0; i < repair.memtable_count; i++) {
        lsm_memtable_unref(repair.memtables[i]);
    }
    for (size_t i = 0; i < repair.table_count; i++) {
        lsm_salvage_close(repair.tables[i].salvage);
    }
    lsm_free(repair.memtables);
    lsm_free(repair.tables);
    lsm_dir_close(repair.from);
    return status;
}
