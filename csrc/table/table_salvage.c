/* SPDX-License-Identifier: Apache-2.0
 *
 * See table_salvage.h.
 */
#include "table/table_salvage.h"

#include "base/alloc.h"
#include "format/block.h"
#include "format/codec.h"
#include "format/filename.h"
#include "format/footer.h"
#include "table/salvage_search.h"

enum { WINDOW_SIZE = 64 << 10 }; /* read at once while iterating */

struct lsm_salvage {
    lsm_dir *dir; /* borrowed */
    char name[LSM_FILENAME_SIZE];
    uint64_t file_id;
    uint64_t sequence_max;
    lsm_findings findings;
    lsm_block_search search; /* its file only while searching */
    lsm_buf ranges;          /* payloads of range delete blocks, one behind the other */
    size_t *range_sizes;
    size_t range_count;
    size_t range_capacity;
};

void lsm_findings_tell(const lsm_findings *findings, const lsmkv_error *problem) {
    findings->report->problem_count += 1;
    if (findings->on_problem != NULL) {
        findings->on_problem(findings->context, problem);
    }
}

static void tell_at(const lsm_salvage *salvage, uint64_t offset, const char *what,
                    uint64_t number) {
    lsmkv_error problem;

    (void)lsm_fail_at(&problem, LSMKV_CORRUPTION, salvage->name, (int64_t)offset, what,
                      (unsigned long long)number);
    lsm_findings_tell(&salvage->findings, &problem);
}

/* Reports every stretch that no block covers. */
static void tell_gaps(const lsm_salvage *salvage, uint64_t end) {
    uint64_t begin = 0;

    for (size_t i = 0; i < salvage->search.count; i++) {
        const lsm_found_block *block = &salvage->search.blocks[i];
        if (begin < block->offset) {
            tell_at(salvage, begin, "%llu bytes are damaged", block->offset - begin);
        }
        begin = block->offset + block->size + LSM_BLOCK_FRAME_SIZE;
    }
    if (begin < end) {
        tell_at(salvage, begin, "%llu bytes are damaged", end - begin);
    }
}

static bool keep_ranges(lsm_salvage *salvage, lsm_slice file) {
    for (size_t i = 0; i < salvage->search.count; i++) {
        const lsm_found_block *block = &salvage->search.blocks[i];
        void *sizes = salvage->range_sizes;
        if (block->type != LSM_BLOCK_RANGE_DELETES) {
            continue;
        }
        if (!lsm_grow(&sizes, &salvage->range_capacity, salvage->range_count + 1,
                      sizeof(*salvage->range_sizes))) {
            return false;
        }
        salvage->range_sizes = sizes;
        salvage->range_sizes[salvage->range_count++] = (size_t)block->size;
        if (!lsm_buf_append(&salvage->ranges, file.data + block->offset,
                            (size_t)block->size)) {
            return false;
        }
    }
    return true;
}

/* Drops what is not data: the rest was looked at. */
static void keep_data(lsm_salvage *salvage, lsm_slice file) {
    size_t kept = 0;
    lsm_properties properties;

    for (size_t i = 0; i < salvage->search.count; i++) {
        const lsm_found_block *block = &salvage->search.blocks[i];
        if (block->type == LSM_BLOCK_PROPERTIES &&
            lsm_properties_decode(
                lsm_slice_make(file.data + block->offset, (size_t)block->size),
                &properties)) {
            salvage->sequence_max = properties.sequence_max;
        }
        if (block->type == LSM_BLOCK_DATA) {
            salvage->search.blocks[kept++] = *block;
        }
    }
    salvage->search.count = kept;
}

static lsmkv_status search(lsm_salvage *salvage, lsm_slice file, lsmkv_error *err) {
    lsmkv_error problem;
    lsm_footer footer;
    uint64_t end = file.size;
    lsmkv_status status =
        file.size < LSM_FOOTER_SIZE
            ? lsm_fail_at(&problem, LSMKV_CORRUPTION, salvage->name, 0,
                          "too short for a table: %zu bytes", file.size)
            : lsm_footer_decode(file.data + file.size - LSM_FOOTER_SIZE, file.size,
                                salvage->name, &footer, &problem);

    if (status == LSMKV_UNSUPPORTED_VERSION) {
        return lsm_error_copy(err, &problem);
    }
    if (status == LSMKV_OK) {
        end -= LSM_FOOTER_SIZE;
        salvage->file_id = salvage->file_id != 0 ? salvage->file_id : footer.file_id;
    } else {
        lsm_findings_tell(&salvage->findings, &problem);
    }
    salvage->findings.report->file_count += 1;
    salvage->findings.report->byte_count += file.size;
    if (salvage->file_id == 0) {
        return LSMKV_OK; /* nothing in it can be verified */
    }
    salvage->search.file = file;
    salvage->search.file_id = salvage->file_id;
    if (!lsm_block_search_run(&salvage->search) || !keep_ranges(salvage, file)) {
        return lsm_fail_memory(err, sizeof(lsm_found_block));
    }
    tell_gaps(salvage, end);
    salvage->findings.report->block_count += salvage->search.count;
    keep_data(salvage, file);
    salvage->search.file = (lsm_slice){NULL, 0};
    return LSMKV_OK;
}

lsmkv_status lsm_salvage_open(lsm_dir *dir, uint64_t number, uint64_t file_id,
                              const lsm_findings *findings, lsm_salvage **salvagep,
                              lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsmkv_error failure;
    lsm_buf file = {0};
    lsm_salvage *salvage = lsm_calloc(1, sizeof(*salvage));

    *salvagep = NULL;
    if (salvage == NULL) {
        return lsm_fail_memory(err, sizeof(*salvage));
    }
    salvage->dir = dir;
    salvage->file_id = file_id;
    salvage->findings = *findings;
    lsm_filename_make(salvage->name, LSM_NAME_TABLE, number);
    status = lsm_file_rescue(dir, salvage->name, &file, NULL, &failure);
    if (status == LSMKV_NOT_FOUND) {
        tell_at(salvage, 0, "table %llu is missing", number);
        status = LSMKV_OK;
    } else if (status == LSMKV_OK) {
        LSM_TRY(search(salvage, lsm_buf_slice(&file), err));
    } else {
        status = lsm_error_copy(err, &failure);
        goto out;
    }
    *salvagep = salvage;
    salvage = NULL;
out:
    lsm_buf_deinit(&file);
    lsm_salvage_close(salvage);
    return status;
}

void lsm_salvage_close(lsm_salvage *salvage) {
    if (salvage != NULL) {
        lsm_block_search_deinit(&salvage->search);
        lsm_free(salvage->range_sizes);
        lsm_buf_deinit(&salvage->ranges);
        lsm_free(salvage);
    }
}

uint64_t lsm_salvage_sequence_max(const lsm_salvage *salvage) {
    return salvage->sequence_max;
}

lsmkv_status lsm_salvage_ranges(const lsm_salvage *salvage, lsm_range_list *list,
                                lsmkv_error *err) {
    const uint8_t *at = salvage->ranges.data;

    for (size_t i = 0; i < salvage->range_count; i++) {
        lsm_range_set *set = NULL;
        size_t size = salvage->range_sizes[i];
        lsmkv_status status = lsm_range_set_decode(lsm_slice_make(at, size), &set);
        bool ok = status != LSMKV_NO_MEMORY;
        if (status == LSMKV_OK) {
            ok = lsm_range_list_add_set(list, set);
        } else if (status == LSMKV_CORRUPTION) {
            tell_at(salvage, 0, "a malformed block of %llu bytes of range deletes",
                    size);
        }
        lsm_range_set_destroy(set);
        if (!ok) {
            return lsm_fail_memory(err, size);
        }
        at += size;
    }
    return LSMKV_OK;
}

typedef struct salvage_iter {
    lsm_iter base;
    lsm_salvage *salvage; /* borrowed */
    size_t next;          /* block to load */
    uint32_t entry;       /* shown, of the block that is loaded */
    lsm_block block;
    lsm_buf decoded; /* what the block borrows */
    lsm_buf window;  /* [window_at, window_at + window.size) of the file */
    uint64_t window_at;
    lsm_buf last; /* key shown last */
} salvage_iter;

static salvage_iter *iter_of(lsm_iter *iter) {
    return LSM_CONTAINER_OF(iter, salvage_iter, base);
}

/* Payload and frame of a block, lent by the window. */
static lsmkv_status read_block(salvage_iter *iter, const lsm_found_block *block,
                               lsm_slice *stored, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_file *file = NULL;
    size_t size = (size_t)block->size + LSM_BLOCK_FRAME_SIZE;
    size_t wanted = size > WINDOW_SIZE ? size : WINDOW_SIZE;
    size_t got = 0;

    if (block->offset < iter->window_at ||
        block->offset + size > iter->window_at + iter->window.size) {
        LSM_TRY(lsm_file_open(iter->salvage->dir, iter->salvage->name, LSM_OPEN_READ,
                              &file, err));
        lsm_buf_clear(&iter->window);
        bool ok = lsm_buf_reserve(&iter->window, wanted);
        LSM_TRY(ok ? LSMKV_OK : lsm_fail_memory(err, wanted));
        status =
            lsm_file_read(file, block->offset, iter->window.data, wanted, &got, err);
        if (got < size) {
            status = status != LSMKV_OK
                         ? status
                         : lsm_fail_at(err, LSMKV_CORRUPTION, iter->salvage->name,
                                       (int64_t)block->offset,
                                       "the file has become shorter");
            goto out;
        }
        status = LSMKV_OK; /* what is asked for was read */
        iter->window_at = block->offset;
        iter->window.size = got;
    }
    *stored = lsm_slice_make(
        iter->window.data + (size_t)(block->offset - iter->window_at), size);
out:
    lsm_file_drop(file);
    return status;
}

static lsmkv_status decode_raw(salvage_iter *iter, const lsm_found_block *block,
                               lsm_slice raw, lsmkv_error *err) {
    lsm_block_shape shape;

    lsm_buf_clear(&iter->decoded);
    if (!lsm_block_measure(raw, false, &shape)) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, iter->salvage->name,
                           (int64_t)block->offset, "malformed data block");
    }
    if (!lsm_buf_reserve(&iter->decoded, shape.size)) {
        return lsm_fail_memory(err, shape.size);
    }
    if (!lsm_block_decode(raw, &shape, iter->decoded.data, &iter->block) ||
        (iter->last.size != 0 &&
         lsm_ikey_compare(lsm_block_entry_get(&iter->block, 0).ikey,
                          lsm_buf_slice(&iter->last)) <= 0)) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, iter->salvage->name,
                           (int64_t)block->offset, "data block out of order");
    }
    return LSMKV_OK;
}

static lsmkv_status load(salvage_iter *iter, const lsm_found_block *block,
                         lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint8_t *raw = NULL;
    lsm_block_frame frame;
    lsm_slice stored;

    LSM_TRY(read_block(iter, block, &stored, err));
    if (!lsm_block_frame_open(stored, iter->salvage->file_id, block->offset, &frame)) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, iter->salvage->name,
                           (int64_t)block->offset, "the block has changed");
    }
    stored.size -= LSM_BLOCK_FRAME_SIZE;
    if (frame.codec == 0) {
        return decode_raw(iter, block, stored, err);
    }
    raw = lsm_alloc(frame.raw_size);
    if (raw == NULL) {
        return lsm_fail_memory(err, frame.raw_size);
    }
    status = lsm_codec_decompress(frame.codec, stored, raw, frame.raw_size, err);
    if (status == LSMKV_CORRUPTION) {
        status =
            lsm_fail_at(err, LSMKV_CORRUPTION, iter->salvage->name,
                        (int64_t)block->offset, "a data block does not decompress");
    }
    LSM_TRY(status);
    LSM_TRY(decode_raw(iter, block, lsm_slice_make(raw, frame.raw_size), err));
out:
    lsm_free(raw);
    return status;
}

static void show(salvage_iter *iter) {
    lsm_block_entry entry = lsm_block_entry_get(&iter->block, iter->entry);

    iter->base.valid = true;
    iter->base.key = entry.ikey;
    iter->base.value = entry.field;
}

/* Whether the damage is this block's alone. */
static bool is_passable(const lsmkv_error *failure) {
    return failure->status == LSMKV_CORRUPTION || lsm_error_is_device(failure);
}

/* Shows the first entry of the next block that can be read. */
static void go_on(salvage_iter *iter) {
    lsm_iter *base = &iter->base;

    base->valid = false;
    base->status = LSMKV_OK;
    while (iter->next < iter->salvage->search.count) {
        lsm_error_clear(&base->error);
        lsmkv_status status =
            load(iter, &iter->salvage->search.blocks[iter->next++], &base->error);
        if (status == LSMKV_OK) {
            iter->entry = 0;
            show(iter);
            return;
        }
        if (!is_passable(&base->error)) {
            base->status = status;
            return;
        }
        lsm_findings_tell(&iter->salvage->findings, &base->error);
    }
}

static void salvage_seek_first(lsm_iter *base) {
    salvage_iter *iter = iter_of(base);

    iter->next = 0;
    lsm_buf_clear(&iter->last);
    go_on(iter);
}

static void salvage_next(lsm_iter *base) {
    salvage_iter *iter = iter_of(base);

    if (++iter->entry < iter->block.entry_count) {
        show(iter);
        return;
    }
    lsm_buf_clear(&iter->last);
    if (!lsm_buf_append(&iter->last, base->key.data, base->key.size)) {
        base->valid = false;
        base->status = lsm_fail_memory(&base->error, base->key.size);
        return;
    }
    go_on(iter);
}

static void salvage_destroy(lsm_iter *base) {
    salvage_iter *iter = iter_of(base);

    lsm_buf_deinit(&iter->decoded);
    lsm_buf_deinit(&iter->window);
    lsm_buf_deinit(&iter->last);
    lsm_free(iter);
}

lsm_iter *lsm_salvage_iter(lsm_salvage *salvage) {
    static const lsm_iter_ops ops = {
        .destroy = salvage_destroy,
        .seek_first = salvage_seek_first,
        .next = salvage_next,
    };
    salvage_iter *iter = lsm_calloc(1, sizeof(*iter));

    if (iter == NULL) {
        return NULL;
    }
    iter->base.ops = &ops;
    iter->salvage = salvage;
    return &iter->base;
}
