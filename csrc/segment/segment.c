/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening segments at their first read, and reading values. Two threads may open one at
 * the same time; the first to publish wins, and the other closes what it has opened.
 */
#include "segment/segment.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/budget.h"
#include "base/limits.h"
#include "base/mutant.h"
#include "base/xxh3.h"

enum { WORD_BITS = 64 };

/* What is known of a file that was opened and checked: its mapping, and of one that may
 * lose its name the file. Constant once it is published, but for `verified`. */
typedef struct lsm_segment_access {
    lsm_env *env;
    lsm_file *file;      /* owned; for what the mapping does not reach, or NULL */
    const uint8_t *data; /* [0, mapped) of the file */
    uint64_t mapped;
    _Atomic uint64_t *verified; /* owned; relaxed: the bytes never change */
} segment_access;

static lsm_segment *create(const lsm_segment_context *context,
                           const lsm_edit_segment *info, uint64_t capacity) {
    lsm_segment *segment = lsm_calloc(1, sizeof(*segment));

    if (segment != NULL) {
        segment->context = context;
        segment->number = info->number;
        segment->file_id = info->file_id;
        segment->kind = info->kind;
        segment->capacity = capacity;
        atomic_init(&segment->size, info->size);
        atomic_init(&segment->refs, 1);
        atomic_init(&segment->access, NULL);
    }
    return segment;
}

lsm_segment *lsm_segment_create(const lsm_segment_context *context,
                                const lsm_edit_segment *info) {
    lsm_segment *segment = create(context, info, info->size);

    if (segment != NULL) {
        atomic_init(&segment->used, true);
    }
    return segment;
}

lsm_segment *lsm_segment_create_log(const lsm_segment_context *context, uint64_t number,
                                    uint64_t file_id, uint64_t capacity) {
    lsm_edit_segment info = {number, file_id, UINT64_MAX, LSM_SEGMENT_LOG};
    return create(context, &info, capacity);
}

void lsm_segment_ref(lsm_segment *segment) {
    /* relaxed: whoever refs holds a reference, or something that does. */
    atomic_fetch_add_explicit(&segment->refs, 1, memory_order_relaxed);
}

void lsm_segment_unref(lsm_segment *segment) {
    /* acq_rel: what others read of the file comes before what the sink does. */
    if (segment != NULL &&
        atomic_fetch_sub_explicit(&segment->refs, 1, memory_order_acq_rel) == 1) {
        segment->context->sink->dropped(segment->context->sink, segment);
    }
}

static void close_access(segment_access *access) {
    if (access != NULL) {
        lsm_env_unmap(access->env, access->data, access->mapped);
        lsm_file_drop(access->file);
        lsm_free(access->verified);
        lsm_free(access);
    }
}

void lsm_segment_destroy(lsm_segment *segment) {
    close_access(atomic_load_explicit(&segment->access, memory_order_acquire));
    lsm_segment_files_forget(segment->context->files, &segment->file);
    lsm_free(segment->touched);
    lsm_free(segment);
}

void lsm_segment_seal(lsm_segment *segment, uint64_t size) {
    /* release: pairs with the acquire of size_of. */
    atomic_store_explicit(&segment->size, size, memory_order_release);
}

static uint64_t size_of(const lsm_segment *segment) {
    return atomic_load_explicit(&segment->size, memory_order_acquire);
}

lsm_edit_segment lsm_segment_info(const lsm_segment *segment) {
    uint64_t size = size_of(segment);

    LSM_ASSERT(size != UINT64_MAX);
    return (lsm_edit_segment){segment->number, segment->file_id, size, segment->kind};
}

void lsm_segment_name(const lsm_segment *segment, char name[LSM_FILENAME_SIZE]) {
    lsm_file_kind kind = segment->kind == LSM_SEGMENT_LOG     ? LSM_NAME_LOG
                         : segment->kind == LSM_SEGMENT_CACHE ? LSM_NAME_CACHE
                                                              : LSM_NAME_SEGMENT;
    lsm_filename_make(name, kind, segment->number);
}

static lsmkv_status open_file(const void *context, lsm_file **filep, lsmkv_error *err) {
    const lsm_segment *segment = context;
    char name[LSM_FILENAME_SIZE];

    lsm_segment_name(segment, name);
    lsmkv_status status =
        lsm_file_open(segment->context->dir, name, LSM_OPEN_READ, filep, err);
    if (status == LSMKV_NOT_FOUND) {
        return segment->context->read_only
                   ? lsm_fail_at(err, LSMKV_CHANGED, name, -1,
                                 "the file has been deleted since the database was "
                                 "opened; refresh it, or open it again")
                   : lsm_fail_at(err, LSMKV_CORRUPTION, name, -1,
                                 "missing file: large values lie in it; restore it");
    }
    return status;
}

static lsmkv_status check_header(const lsm_segment *segment, lsm_file *file,
                                 lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    uint8_t bytes[LSM_RECORD_FILE_HEADER_SIZE];
    lsm_record_file_header header;
    const char *name = lsm_file_name(file);
    uint64_t size = 0;
    /* Looked at first: a log may grow and be sealed before its file is measured. */
    uint64_t least = size_of(segment);
    lsm_record_file_type type = segment->kind == LSM_SEGMENT_LOG     ? LSM_FILE_LOG
                                : segment->kind == LSM_SEGMENT_CACHE ? LSM_FILE_CACHE
                                                                     : LSM_FILE_VALUES;

    LSM_TRY(lsm_file_size(file, &size, err));
    if (least != UINT64_MAX && size < least) {
        return lsm_fail_at(err, LSMKV_CORRUPTION, name, -1,
                           "the file has %llu bytes, the MANIFEST says %llu",
                           (unsigned long long)size, (unsigned long long)least);
    }
    LSM_TRY(lsm_file_read_exact(file, 0, bytes, sizeof(bytes), err));
    status = lsm_record_file_header_decode(bytes, sizeof(bytes), name, &header, err);
    if (status == LSMKV_NOT_A_DATABASE) {
        status = lsm_fail_at(err, LSMKV_CORRUPTION, name, 0,
                             "the file does not begin with LSMKVREC");
    }
    LSM_TRY(status);
    if (header.type != type || header.number != segment->number ||
        header.file_id != segment->file_id ||
        (memcmp(header.uuid, segment->context->uuid, LSM_UUID_SIZE) != 0 &&
         !lsm_uuids_have(segment->context->origins, header.uuid))) {
        status = lsm_fail_at(
            err, LSMKV_CORRUPTION, name, 0,
            "another file took this name: file id is %016llx, expected "
            "%016llx",
            (unsigned long long)header.file_id, (unsigned long long)segment->file_id);
    }
out:
    return status;
}

/* Maps the open file; without a mapping, or memory for its bitmap, it stays a file. */
static void try_mapping(const lsm_segment *segment, segment_access *access) {
    size_t words = (size_t)(segment->capacity / LSM_VALUE_ALIGN / WORD_BITS) + 1;

    if (!segment->context->mapping ||
        !lsm_file_map(access->file, segment->capacity, &access->data)) {
        return;
    }
    access->mapped = segment->capacity;
    access->verified = lsm_calloc(words, sizeof(*access->verified));
    if (access->verified == NULL) {
        lsm_env_unmap(access->env, access->data, access->mapped);
        access->data = NULL;
        access->mapped = 0;
        return;
    }
    if (segment->context->read_only && size_of(segment) == UINT64_MAX) {
        return; /* a writer may make it larger than the mapping, and delete its name */
    }
    lsm_file_drop(access->file);
    access->file = NULL;
}

static LSM_NOINLINE lsmkv_status open_access(lsm_segment *segment,
                                             segment_access **accessp,
                                             lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    segment_access *expected = NULL;
    segment_access *access = lsm_calloc(1, sizeof(*access));
    lsm_file *file = NULL;

    if (access == NULL) {
        return lsm_fail_memory(err, sizeof(*access));
    }
    access->env = segment->context->dir->env;
    LSM_TRY(open_file(segment, &access->file, err));
    LSM_TRY(check_header(segment, access->file, err));
    try_mapping(segment, access);
    if (access->mapped == 0) {
        file = access->file;
        access->file = NULL;
    }
    /* release: pairs with the acquire of lsm_segment_read. */
    if (atomic_compare_exchange_strong_explicit(&segment->access, &expected, access,
                                                memory_order_acq_rel,
                                                memory_order_acquire)) {
        *accessp = access;
        access = NULL;
    } else {
        *accessp = expected;
    }
    if (file != NULL) {
        lsm_segment_files_put(segment->context->files, &segment->file, file);
    }
out:
    close_access(access);
    return status;
}

lsmkv_status lsm_segment_hold(lsm_segment *segment, lsmkv_error *err) {
    segment_access *access =
        atomic_load_explicit(&segment->access, memory_order_acquire);

    return access != NULL ? LSMKV_OK : open_access(segment, &access, err);
}

static lsmkv_status fail_pointer(const lsm_segment *segment, const lsm_pointer *pointer,
                                 lsmkv_error *err) {
    char name[LSM_FILENAME_SIZE];

    lsm_segment_name(segment, name);
    return lsm_fail_at(
        err, LSMKV_CORRUPTION, name, (int64_t)pointer->offset,
        "a pointer to %u bytes here leads to no value of the file, which "
        "has %llu bytes",
        pointer->size, (unsigned long long)size_of(segment));
}

static LSM_COLD lsmkv_status fail_large(const lsm_segment *segment,
                                        const lsm_pointer *pointer, lsmkv_error *err) {
    char name[LSM_FILENAME_SIZE];

    lsm_segment_name(segment, name);
    return lsm_fail_limit(err, name, "bytes of a value, an eighth of memory_bytes",
                          pointer->size,
                          lsm_budget_current->max / LSM_UNTRUSTED_VALUE_PART);
}

lsmkv_status lsm_segment_check(const lsm_segment *segment, const lsm_pointer *pointer,
                               lsm_slice value, lsmkv_error *err) {
    char name[LSM_FILENAME_SIZE];
    uint64_t found = lsm_xxh3(value.data, value.size);

    if (LSM_LIKELY(lsm_checksum_agrees(pointer->checksum, found)) ||
        LSM_MUTANT(VALUE_CHECKSUM_NOT_CHECKED)) {
        return LSMKV_OK;
    }
    lsm_segment_name(segment, name);
    return lsm_fail_at(err, LSMKV_CORRUPTION, name, (int64_t)pointer->offset,
                       "checksum of a value of %u bytes is %016llx, expected %016llx",
                       pointer->size, (unsigned long long)found,
                       (unsigned long long)pointer->checksum);
}

static bool points_inside(const lsm_segment *segment, const lsm_pointer *pointer) {
    bool cached = segment->kind == LSM_SEGMENT_CACHE;

    return pointer->segment == segment->number && (cached || pointer->size != 0) &&
           pointer->size <= LSMKV_VALUE_SIZE_MAX &&
           pointer->offset % (cached ? 8 : LSM_VALUE_ALIGN) == 0 &&
           pointer->offset >= LSM_RECORD_FILE_HEADER_SIZE &&
           pointer->offset <= (uint64_t)INT64_MAX &&
           pointer->offset + pointer->size <= size_of(segment);
}

/* Reads a value from `file`, or where that is NULL, from one that is borrowed. */
static lsmkv_status read_value(lsm_segment *segment, lsm_file *file,
                               const lsm_pointer *pointer, lsm_buf *owned,
                               lsm_slice *value, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_segment_files *files = segment->context->files;
    bool borrowed = false;

    if (!lsm_buf_reserve(owned, pointer->size)) {
        return lsm_fail_memory(err, pointer->size);
    }
    if (file == NULL) {
        LSM_TRY(lsm_segment_files_take(files, &segment->file, open_file, segment, &file,
                                       err));
        borrowed = true;
    }
    uint8_t *to = owned->data + owned->size;
    LSM_TRY(lsm_file_read_exact(file, pointer->offset, to, pointer->size, err));
    LSM_TRY(
        lsm_segment_check(segment, pointer, lsm_slice_make(to, pointer->size), err));
    owned->size += pointer->size;
    *value = lsm_slice_make(to, pointer->size);
out:
    if (borrowed) {
        lsm_segment_files_give(files, &segment->file);
    }
    return status;
}

void lsm_segment_prefetch(const lsm_segment *segment, const lsm_pointer *pointer) {
    /* acquire: pairs with the release of open_access. */
    const segment_access *access =
        atomic_load_explicit(&segment->access, memory_order_acquire);

    if (access != NULL && pointer->offset < access->mapped) {
        LSM_PREFETCH(&access->verified[pointer->offset / LSM_VALUE_ALIGN / WORD_BITS]);
        LSM_PREFETCH(access->data + pointer->offset);
    }
}

lsmkv_status lsm_segment_read(lsm_segment *segment, const lsm_pointer *pointer,
                              bool nonblocking, lsm_buf *owned, lsm_slice *value,
                              lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    /* acquire: pairs with the release of open_access. */
    segment_access *access =
        atomic_load_explicit(&segment->access, memory_order_acquire);

    if (!points_inside(segment, pointer)) {
        return fail_pointer(segment, pointer, err);
    }
    if (LSM_UNLIKELY(pointer->size == 0)) { /* of a cache; it has no bits of its own */
        *value = lsm_slice_make("", 0);
        return LSMKV_OK;
    }
    if (LSM_UNLIKELY(access == NULL)) {
        if (nonblocking) {
            return LSMKV_WOULD_BLOCK;
        }
        LSM_TRY(open_access(segment, &access, err));
    }
    if (lsm_is_limited() &&
        pointer->size > lsm_budget_current->max / LSM_UNTRUSTED_VALUE_PART) {
        return fail_large(segment, pointer, err);
    }
    if (pointer->offset + pointer->size > access->mapped) {
        return nonblocking
                   ? LSMKV_WOULD_BLOCK
                   : read_value(segment, access->file, pointer, owned, value, err);
    }
    uint64_t unit = pointer->offset / LSM_VALUE_ALIGN;
    _Atomic uint64_t *word = &access->verified[unit / WORD_BITS];
    uint64_t bit = UINT64_C(1) << unit % WORD_BITS;

    *value = lsm_slice_make(access->data + pointer->offset, pointer->size);
    if ((atomic_load_explicit(word, memory_order_relaxed) & bit) == 0) {
        if (nonblocking) {
            return LSMKV_WOULD_BLOCK;
        }
        LSM_TRY(lsm_segment_check(segment, pointer, *value, err));
        uint64_t before = atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
        bool first = (before & bit) == 0; /* of those who verified it at once */
        atomic_fetch_add_explicit(&segment->verified_bytes,
                                  (uint64_t)first * pointer->size,
                                  memory_order_relaxed);
    }
out:
    return status;
}

bool lsm_segment_next_read(const lsm_segment *segment, uint64_t *unit) {
    const segment_access *access =
        atomic_load_explicit(&segment->access, memory_order_acquire);

    if (access == NULL || access->verified == NULL) {
        return false;
    }
    uint64_t end = access->mapped / LSM_VALUE_ALIGN;
    while (*unit < end) {
        uint64_t word = atomic_load_explicit(&access->verified[*unit / WORD_BITS],
                                             memory_order_relaxed) >>
                        *unit % WORD_BITS;
        if (word == 0) {
            *unit += WORD_BITS - *unit % WORD_BITS;
        } else if ((word & 1) == 0) {
            *unit += 1;
        } else {
            return true;
        }
    }
    return false;
}

lsmkv_status lsm_segment_will_need(lsm_segment *segment, uint64_t offset, uint64_t size,
                                   lsmkv_error *err) {
    lsmkv_status status = lsm_segment_hold(segment, err);
    uint64_t end = 0;

    if (status != LSMKV_OK || !lsm_add_ok(offset, size, &end) ||
        end > size_of(segment)) {
        return status;
    }
    segment_access *access =
        atomic_load_explicit(&segment->access, memory_order_acquire);
    if (end <= access->mapped) {
        lsm_env_will_need(access->env, access->data + offset, size);
    } else if (access->file != NULL) {
        lsm_file_will_need(access->file, offset, size);
    } else {
        lsm_segment_files *files = segment->context->files;
        lsm_file *file = NULL;
        status = lsm_segment_files_take(files, &segment->file, open_file, segment,
                                        &file, err);
        if (status == LSMKV_OK) {
            lsm_file_will_need(file, offset, size);
            lsm_segment_files_give(files, &segment->file);
        }
    }
    return status;
}
