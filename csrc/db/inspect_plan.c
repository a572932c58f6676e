/* SPDX-License-Identifier: Apache-2.0
 *
 * See inspect_table.h. A handle is at least 17 bytes behind the one before it, so that
 * the plan cannot outgrow the file.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "db/inspect_table.h"
#include "format/filename.h"

static bool add_block(lsm_table_plan *plan, lsm_block_handle handle,
                      lsm_block_type type) {
    void *blocks = plan->blocks;

    if (!lsm_grow(&blocks, &plan->capacity, plan->count + 1, sizeof(*plan->blocks))) {
        return false;
    }
    plan->blocks = blocks;
    plan->blocks[plan->count++] = (lsm_found_block){handle.offset, handle.size, type};
    return true;
}

static uint64_t end_of(lsm_block_handle handle) {
    return handle.offset + handle.size + LSM_BLOCK_FRAME_SIZE;
}

/* A copy of the payload of an index block; its type. *ok: it verifies. */
static lsmkv_status read_index(lsmkv_inspection *inspection, lsm_block_handle handle,
                               lsm_buf *to, lsm_block_type *type, bool *ok,
                               lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    const uint8_t *bytes = NULL;
    size_t size = (size_t)handle.size + LSM_BLOCK_FRAME_SIZE;
    lsm_block_frame frame;

    LSM_TRY(lsm_inspect_fetch(inspection, handle.offset, size, &bytes, err));
    *ok = lsm_block_frame_open(lsm_slice_make(bytes, size), inspection->file_id,
                               handle.offset, &frame) &&
          frame.codec == 0;
    if (!*ok) {
        goto out;
    }
    *type = frame.type;
    lsm_buf_clear(to);
    status = lsm_buf_append(to, bytes, (size_t)handle.size)
                 ? LSMKV_OK
                 : lsm_fail_memory(err, (size_t)handle.size);
out:
    return status;
}

/* Where the handles of index blocks lead: end to end, from `from` on, up to `to`. */
typedef struct handle_walk {
    lsm_block_cursor cursor;
    uint64_t from;
    uint64_t to;
    bool anywhere; /* the first one may begin behind `from` */
} handle_walk;

/* *ok: there was a handle that can be one. */
static lsmkv_status next_handle(handle_walk *walk, lsm_block_handle *handle, bool *ok,
                                lsmkv_error *err) {
    *ok = lsm_block_cursor_next(&walk->cursor);
    if (walk->cursor.failed) {
        return lsm_fail_memory(err, LSM_IKEY_SIZE_MAX);
    }
    *ok = *ok && lsm_block_handle_decode(walk->cursor.field, handle) &&
          (walk->anywhere ? handle->offset >= walk->from && handle->offset <= walk->to
                          : handle->offset == walk->from) &&
          handle->size != 0 && walk->to - handle->offset > LSM_BLOCK_FRAME_SIZE &&
          handle->size <= walk->to - handle->offset - LSM_BLOCK_FRAME_SIZE;
    walk->from = *ok ? end_of(*handle) : walk->from;
    walk->anywhere = false;
    return LSMKV_OK;
}

/* All the data blocks that one index block leads to. */
static lsmkv_status plan_data(lsm_table_plan *plan, lsm_slice index, handle_walk *walk,
                              bool *ok, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_block_handle handle = {0};
    bool more = true;

    lsm_block_cursor_open(&walk->cursor, index);
    while (more) {
        LSM_TRY(next_handle(walk, &handle, &more, err));
        if (more && !add_block(plan, handle, LSM_BLOCK_DATA)) {
            return lsm_fail_memory(err, sizeof(*plan->blocks));
        }
    }
    *ok = !walk->cursor.corrupt && walk->cursor.at == walk->cursor.end;
out:
    return status;
}

/* The index blocks that the top index leads to, and what they lead to. */
static lsmkv_status plan_indexes(lsmkv_inspection *inspection, lsm_table_plan *plan,
                                 lsm_slice top, handle_walk *data, bool *ok,
                                 lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_buf index = {0};
    lsm_block_handle handle = {0};
    lsm_block_type type = LSM_BLOCK_TOP_INDEX;
    handle_walk walk = {.from = plan->footer.tail_offset,
                        .to = plan->footer.index.offset,
                        .anywhere = true};
    bool more = true;

    lsm_block_cursor_open(&walk.cursor, top);
    *ok = true;
    while (*ok && more) {
        LSM_TRY(next_handle(&walk, &handle, &more, err));
        if (more) {
            LSM_TRY(read_index(inspection, handle, &index, &type, ok, err));
            *ok = *ok && type == LSM_BLOCK_INDEX;
            if (*ok && !add_block(plan, handle, type)) {
                LSM_TRY(lsm_fail_memory(err, sizeof(*plan->blocks)));
            }
            LSM_TRY(*ok ? plan_data(plan, lsm_buf_slice(&index), data, ok, err)
                        : LSMKV_OK);
        }
    }
    *ok = *ok && !walk.cursor.corrupt && walk.cursor.at == walk.cursor.end;
out:
    lsm_block_cursor_deinit(&walk.cursor);
    lsm_buf_deinit(&index);
    return status;
}

static int compare_blocks(const void *a, const void *b) {
    return lsm_compare_u64(((const lsm_found_block *)a)->offset,
                           ((const lsm_found_block *)b)->offset);
}

/* Puts the blocks in order, of which the properties are one. false: they overlap. */
static bool sort_blocks(lsm_table_plan *plan) {
    uint64_t begin = 0;

    qsort(plan->blocks, plan->count, sizeof(*plan->blocks), compare_blocks);
    for (size_t i = 0; i < plan->count; i++) {
        const lsm_found_block *block = &plan->blocks[i];
        if (block->offset < begin) {
            return false;
        }
        begin = block->offset + block->size + LSM_BLOCK_FRAME_SIZE;
    }
    return true;
}

static bool plan_tail(lsm_table_plan *plan) {
    const lsm_footer *footer = &plan->footer;

    return (footer->filter.size == 0 ||
            add_block(plan, footer->filter, LSM_BLOCK_FILTER)) &&
           (footer->range_deletes.size == 0 ||
            add_block(plan, footer->range_deletes, LSM_BLOCK_RANGE_DELETES)) &&
           add_block(plan, footer->properties, LSM_BLOCK_PROPERTIES);
}

/* *ok: the index could be followed everywhere. */
static lsmkv_status plan_by_index(lsmkv_inspection *inspection, lsm_table_plan *plan,
                                  bool *ok, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_buf index = {0};
    lsm_block_type type = LSM_BLOCK_INDEX;
    handle_walk data = {.to = plan->footer.tail_offset};

    *ok = true;
    if (plan->footer.index.size != 0) {
        LSM_TRY(read_index(inspection, plan->footer.index, &index, &type, ok, err));
        *ok = *ok && (type == LSM_BLOCK_INDEX || type == LSM_BLOCK_TOP_INDEX);
        if (*ok && !add_block(plan, plan->footer.index, type)) {
            LSM_TRY(lsm_fail_memory(err, sizeof(*plan->blocks)));
        }
        if (*ok && type == LSM_BLOCK_INDEX) {
            LSM_TRY(plan_data(plan, lsm_buf_slice(&index), &data, ok, err));
        } else if (*ok) {
            LSM_TRY(
                plan_indexes(inspection, plan, lsm_buf_slice(&index), &data, ok, err));
        }
    }
    *ok = *ok && data.from == data.to;
    if (*ok && !plan_tail(plan)) {
        LSM_TRY(lsm_fail_memory(err, sizeof(*plan->blocks)));
    }
    *ok = *ok && sort_blocks(plan);
out:
    lsm_block_cursor_deinit(&data.cursor);
    lsm_buf_deinit(&index);
    return status;
}

static lsmkv_status plan_by_search(lsmkv_inspection *inspection, lsm_table_plan *plan,
                                   lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_buf file = {0};
    lsm_block_search search = {.file_id = inspection->file_id};

    plan->searched = true;
    plan->count = 0;
    if (inspection->file_id == 0) {
        return LSMKV_OK;
    }
    LSM_TRY(lsm_file_rescue(inspection->dir, inspection->name, &file, NULL, err));
    /* It is read once more while it is shown, up to the size it had at first. */
    file.size = file.size < inspection->size ? file.size : (size_t)inspection->size;
    if (plan->has_footer && file.size == inspection->size) {
        file.size -= LSM_FOOTER_SIZE;
    }
    search.file = lsm_buf_slice(&file);
    if (!lsm_block_search_run(&search)) {
        LSM_TRY(lsm_fail_memory(err, sizeof(*search.blocks)));
    }
    lsm_free(plan->blocks);
    plan->blocks = search.blocks;
    plan->count = search.count;
    plan->capacity = search.capacity;
    search.blocks = NULL;
out:
    lsm_block_search_deinit(&search);
    lsm_buf_deinit(&file);
    return status;
}

lsmkv_status lsm_table_plan_make(lsmkv_inspection *inspection, lsm_table_plan *plan,
                                 lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    const uint8_t *bytes = NULL;
    bool ok = false;

    if (inspection->size >= LSM_FOOTER_SIZE) {
        /* unreachable: the window has it, since the type of the file was told by it */
        LSM_TRY(lsm_inspect_fetch(inspection, inspection->size - LSM_FOOTER_SIZE,
                                  LSM_FOOTER_SIZE, &bytes, err));
        status = lsm_footer_decode(bytes, inspection->size, inspection->name,
                                   &plan->footer, &plan->footer_problem);
    } else {
        status = lsm_fail_at(&plan->footer_problem, LSMKV_CORRUPTION, inspection->name,
                             -1, "a table of %llu bytes has no footer",
                             (unsigned long long)inspection->size);
    }
    plan->has_footer = status == LSMKV_OK;
    /* unreachable: that was refused when the type of the file was told */
    LSM_TRY(status == LSMKV_UNSUPPORTED_VERSION
                ? lsm_error_copy(err, &plan->footer_problem)
                : LSMKV_OK);
    if (plan->has_footer) {
        inspection->file_id = plan->footer.file_id;
        LSM_TRY(plan_by_index(inspection, plan, &ok, err));
    }
    LSM_TRY(ok ? LSMKV_OK : plan_by_search(inspection, plan, err));
out:
    return status;
}

void lsm_table_plan_deinit(lsm_table_plan *plan) {
    lsm_free(plan->blocks);
    plan->blocks = NULL;
    plan->count = 0;
}
