/* SPDX-License-Identifier: Apache-2.0
 *
 * See archive.h.
 */
#include "archive.h"

#include <stdlib.h>
#include <string.h>

#include "base/coding.h"
#include "mend.h"

enum { HOW_SIZE = 1 };

static bool read_file(lsm_reader *reader, fuzz_file *file) {
    uint8_t kind = 0;
    uint64_t stored = 0;

    lsm_read_u8(reader, &kind);
    lsm_read_varint(reader, &file->number);
    lsm_read_varint(reader, &file->size);
    if (!lsm_read_varint(reader, &stored) || stored > lsm_reader_left(reader)) {
        return false;
    }
    file->kind = (lsm_file_kind)(kind % (LSM_NAME_STATS + 1));
    file->size = file->size < FUZZ_FILE_SIZE_MAX ? file->size : FUZZ_FILE_SIZE_MAX;
    return lsm_read_bytes(reader, (size_t)stored, &file->stored);
}

void fuzz_archive_read(lsm_slice bytes, fuzz_archive *archive) {
    lsm_reader reader = lsm_reader_make(bytes);

    archive->how = 0;
    archive->count = 0;
    lsm_read_u8(&reader, &archive->how);
    while (archive->count < FUZZ_ARCHIVE_FILES_MAX && lsm_reader_left(&reader) > 0 &&
           read_file(&reader, &archive->files[archive->count])) {
        archive->count++;
    }
}

static size_t put_number(fuzz_bytes *to, uint64_t number) {
    size_t size = lsm_put_varint(to->data + to->size, number);

    to->size += size;
    return size;
}

void fuzz_archive_write(const fuzz_archive *archive, fuzz_bytes *to) {
    const size_t head_max = 1 + 3 * LSM_VARINT_SIZE_MAX;

    to->size = 0;
    if (to->capacity < HOW_SIZE) {
        return;
    }
    to->data[to->size++] = archive->how;
    for (size_t i = 0; i < archive->count; i++) {
        const fuzz_file *file = &archive->files[i];

        if (to->capacity - to->size < head_max ||
            to->capacity - to->size - head_max < file->stored.size) {
            return;
        }
        to->data[to->size++] = (uint8_t)file->kind;
        put_number(to, file->number);
        put_number(to, file->size);
        put_number(to, file->stored.size);
        if (file->stored.size > 0) {
            memcpy(to->data + to->size, file->stored.data, file->stored.size);
        }
        to->size += file->stored.size;
    }
}

bool fuzz_file_name(const fuzz_file *file, char name[LSM_FILENAME_SIZE]) {
    static const char *const fixed[] = {
        [LSM_NAME_LOCK] = LSM_LOCK_NAME,
        [LSM_NAME_CURRENT] = LSM_CURRENT_NAME,
        [LSM_NAME_CURRENT_TEMP] = LSM_CURRENT_TEMP_NAME,
        [LSM_NAME_HOTLIST] = LSM_HOTLIST_NAME,
        [LSM_NAME_HOTLIST_TEMP] = LSM_HOTLIST_TEMP_NAME,
        [LSM_NAME_STATS] = LSM_STATS_NAME,
    };

    switch (file->kind) {
        case LSM_NAME_OTHER:
            return false;
        case LSM_NAME_MANIFEST:
        case LSM_NAME_LOG:
        case LSM_NAME_TABLE:
        case LSM_NAME_SEGMENT:
        case LSM_NAME_CACHE:
            if (file->number == 0 || file->number > UINT64_C(1) << 57) {
                return false;
            }
            lsm_filename_make(name, file->kind, file->number);
            return true;
        case LSM_NAME_LOCK:
        case LSM_NAME_CURRENT:
        case LSM_NAME_CURRENT_TEMP:
        case LSM_NAME_HOTLIST:
        case LSM_NAME_HOTLIST_TEMP:
        case LSM_NAME_STATS:
            memcpy(name, fixed[file->kind], strlen(fixed[file->kind]) + 1);
            return true;
    }
    return false;
}

void fuzz_archive_unpack(const fuzz_archive *archive, lsm_env *env, const char *path) {
    static uint8_t content[FUZZ_FILE_SIZE_MAX];

    for (size_t i = 0; i < archive->count; i++) {
        const fuzz_file *file = &archive->files[i];
        char name[LSM_FILENAME_SIZE];
        size_t size = (size_t)file->size;
        size_t stored = file->stored.size < size ? file->stored.size : size;

        if (!fuzz_file_name(file, name)) {
            continue;
        }
        memset(content + stored, 0, size - stored);
        if (stored > 0) {
            memcpy(content, file->stored.data, stored);
        }
        FUZZ_CHECK(lsm_sim_file_write(env, path, name, content, size));
    }
}

static void mutate_content(lsm_rng *rng, fuzz_file *file, lsm_slice other,
                           fuzz_bytes *scratch) {
    bool keeps_size = lsm_rng_below(rng, 4) != 0;

    if (file->stored.size > scratch->capacity) {
        return;
    }
    if (file->stored.size > 0) {
        memcpy(scratch->data, file->stored.data, file->stored.size);
    }
    scratch->size = file->stored.size;
    fuzz_mutate_bytes(rng, scratch, other, keeps_size);
    if (!keeps_size) {
        file->size = file->size + scratch->size - file->stored.size;
    }
    file->stored = lsm_slice_make(scratch->data, scratch->size);
}

static void mutate_files(lsm_rng *rng, fuzz_archive *archive, lsm_slice other) {
    static fuzz_archive donor;
    fuzz_file *file = &archive->files[lsm_rng_below(rng, archive->count)];
    fuzz_file *second = &archive->files[lsm_rng_below(rng, archive->count)];
    fuzz_file copy = *file;

    switch (lsm_rng_below(rng, 7)) {
        case 0: /* one less */
            *file = archive->files[--archive->count];
            break;
        case 1: /* two exchanged */
            file->stored = second->stored;
            file->size = second->size;
            second->stored = copy.stored;
            second->size = copy.size;
            break;
        case 2: /* cut */
            file->size = lsm_rng_below(rng, file->size + 1);
            break;
        case 3: /* longer by zeros */
            file->size += 1 + lsm_rng_below(rng, 200);
            break;
        case 4: /* another number */
            file->number = second->number + lsm_rng_below(rng, 3);
            break;
        case 5: /* under another name, too */
            if (archive->count < FUZZ_ARCHIVE_FILES_MAX) {
                copy.kind = second->kind;
                copy.number += 1 + lsm_rng_below(rng, 4);
                archive->files[archive->count++] = copy;
            }
            break;
        default: /* one of another archive */
            fuzz_archive_read(other, &donor);
            if (donor.count > 0) {
                *file = donor.files[lsm_rng_below(rng, donor.count)];
            }
            break;
    }
}

void fuzz_archive_mutate(lsm_rng *rng, fuzz_bytes *bytes, lsm_slice other) {
    static fuzz_archive archive;
    static uint8_t memory[FUZZ_SIZE_MAX];
    static uint8_t changed[FUZZ_SIZE_MAX];
    fuzz_bytes scratch = {changed, 0, sizeof(changed)};

    memcpy(memory, bytes->data, bytes->size);
    fuzz_archive_read(lsm_slice_make(memory, bytes->size), &archive);
    if (archive.count == 0) {
        fuzz_mutate_bytes(rng, bytes, other, false);
        return;
    }
    if (lsm_rng_below(rng, 4) == 0) {
        archive.how = (uint8_t)lsm_rng_next(rng);
    }
    if (lsm_rng_below(rng, 5) == 0) {
        mutate_files(rng, &archive, other);
    } else {
        mutate_content(rng, &archive.files[lsm_rng_below(rng, archive.count)], other,
                       &scratch);
    }
    fuzz_archive_write(&archive, bytes);
}

void fuzz_archive_mend(uint8_t *data, size_t size) {
    static fuzz_archive archive;

    fuzz_archive_read(lsm_slice_make(data, size), &archive);
    for (size_t i = 0; i < archive.count; i++) {
        const fuzz_file *file = &archive.files[i];
        size_t stored =
            file->stored.size < file->size ? file->stored.size : (size_t)file->size;

        /* The slice lies in `data`. */
        fuzz_mend_file(file->kind, data + (file->stored.data - data), stored);
    }
}
