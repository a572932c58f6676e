/* SPDX-License-Identifier: Apache-2.0
 *
 * Memtable iterator. Forward it follows the links of level 0, and fetches the node
 * after the one it shows while its user looks at that one.
 *
 * There are no links backward. prev searches for the node it shows, goes back to the
 * predecessor on a higher level, and from there notes the nodes it passes on its way
 * forward; later calls take from these notes. What was linked between them meanwhile
 * is newer than what the iterator's user may see, so it need not be found.
 */
#include "table/memtable.h"

#include "base/alloc.h"
#include "table/memtable_node.h"

enum {
    NOTED_MAX = 64,
    BACK_LEVEL = 2, /* one node in 16 has it */
};

typedef struct mem_iter {
    lsm_iter base;
    lsm_memtable *mem; /* a reference */
    uint32_t node;     /* shown; 0: none */
    uint32_t noted_count;
    uint32_t noted[NOTED_MAX]; /* the nodes before `node`, as a stack */
} mem_iter;

static mem_iter *as_mem_iter(lsm_iter *iter) {
    return LSM_CONTAINER_OF(iter, mem_iter, base);
}

static void show(mem_iter *iter, uint32_t node) {
    iter->node = node;
    iter->base.valid = node != 0;
    if (node != 0) {
        const uint8_t *bytes = lsm_mem_node(iter->mem, node);
        lsm_slice skey = lsm_mem_skey(bytes);

        iter->base.key = lsm_slice_make(skey.data, skey.size + LSM_TRAILER_SIZE);
        iter->base.value = lsm_mem_field(bytes);
    }
}

static void show_forward(mem_iter *iter, uint32_t node) {
    iter->noted_count = 0;
    show(iter, node);
    if (node != 0) {
        LSM_PREFETCH(lsm_mem_node(iter->mem, lsm_mem_next(iter->mem, node, 0)));
    }
}

static void iter_destroy(lsm_iter *base) {
    mem_iter *iter = as_mem_iter(base);

    lsm_memtable_unref(iter->mem);
    lsm_free(iter);
}

static void iter_seek_first(lsm_iter *base) {
    mem_iter *iter = as_mem_iter(base);

    show_forward(iter, lsm_mem_next(iter->mem, LSM_MEM_HEAD, 0));
}

static void iter_seek(lsm_iter *base, lsm_slice ikey) {
    mem_iter *iter = as_mem_iter(base);

    show_forward(iter,
                 lsm_mem_seek(iter->mem, lsm_ikey_skey(ikey), lsm_ikey_trailer(ikey)));
}

static void iter_next(lsm_iter *base) {
    mem_iter *iter = as_mem_iter(base);

    show_forward(iter, lsm_mem_next(iter->mem, iter->node, 0));
}

static void iter_seek_last(lsm_iter *base) {
    mem_iter *iter = as_mem_iter(base);
    uint32_t at = LSM_MEM_HEAD;

    for (unsigned level = LSM_MEM_HEIGHT_MAX; level-- > 0;) {
        for (uint32_t next = at; next != 0; next = lsm_mem_next(iter->mem, at, level)) {
            at = next;
        }
    }
    iter->noted_count = 0;
    show(iter, at == LSM_MEM_HEAD ? 0 : at);
}

/* Notes the nodes before the one shown, nearest on top; none at the beginning. */
static void note_before(mem_iter *iter) {
    const uint8_t *shown = lsm_mem_node(iter->mem, iter->node);
    uint32_t path[LSM_MEM_HEIGHT_MAX];
    uint32_t at = 0;

    lsm_mem_find(iter->mem, lsm_mem_skey(shown), lsm_mem_trailer(shown), path);
    at = path[BACK_LEVEL];
    if (at == LSM_MEM_HEAD) {
        at = lsm_mem_next(iter->mem, at, 0);
    }
    while (at != iter->node) {
        if (iter->noted_count == NOTED_MAX) {
            /* Keep the nearer half. */
            iter->noted_count = NOTED_MAX / 2;
            memcpy(iter->noted, iter->noted + NOTED_MAX / 2,
                   sizeof(iter->noted[0]) * iter->noted_count);
        }
        iter->noted[iter->noted_count++] = at;
        at = lsm_mem_next(iter->mem, at, 0);
    }
}

static void iter_prev(lsm_iter *base) {
    mem_iter *iter = as_mem_iter(base);

    if (iter->noted_count == 0) {
        note_before(iter);
    }
    show(iter, iter->noted_count == 0 ? 0 : iter->noted[--iter->noted_count]);
}

static const lsm_iter_ops mem_iter_ops = {
    .destroy = iter_destroy,
    .seek_first = iter_seek_first,
    .seek_last = iter_seek_last,
    .seek = iter_seek,
    .next = iter_next,
    .prev = iter_prev,
};

lsm_iter *lsm_memtable_iter(lsm_memtable *mem) {
    mem_iter *iter = lsm_alloc(sizeof(*iter));

    if (iter == NULL) {
        return NULL;
    }
    memset(iter, 0, sizeof(*iter));
    iter->base.ops = &mem_iter_ops;
    lsm_error_clear(&iter->base.error);
    iter->mem = mem;
    lsm_memtable_ref(mem);
    return &iter->base;
}
