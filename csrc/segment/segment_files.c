/* SPDX-License-Identifier: Apache-2.0
 *
 * See segment_files.h. Files are opened and closed without the lock; of two threads
 * that open the same one, the first to take the lock wins, and the other closes its
 * own.
 */
#include "segment/segment_files.h"

#include "base/assert.h"

void lsm_segment_files_init(lsm_segment_files *files, uint32_t open_max) LSM_UNSHARED {
    files->open_max = open_max;
    lsm_mutex_init(&files->mu);
    lsm_list_init(&files->open);
    files->open_count = 0;
}

void lsm_segment_files_deinit(lsm_segment_files *files) LSM_UNSHARED {
    LSM_ASSERT(lsm_list_empty(&files->open));
    lsm_mutex_deinit(&files->mu);
}

/* Takes the file out, for the caller to close. */
static lsm_file *take_out_locked(lsm_segment_files *files, lsm_segment_file *entry)
    LSM_REQUIRES(files->mu) {
    lsm_file *file = entry->file;

    lsm_list_remove(&entry->link);
    entry->file = NULL;
    files->open_count--;
    return file;
}

/* The file to close so that at most `keep` are open; NULL: none, or all are in use. */
static lsm_file *take_victim_locked(lsm_segment_files *files, uint32_t keep)
    LSM_REQUIRES(files->mu) {
    if (files->open_count <= keep) {
        return NULL;
    }
    for (lsm_list *at = files->open.next; at != &files->open; at = at->next) {
        lsm_segment_file *entry = LSM_CONTAINER_OF(at, lsm_segment_file, link);
        if (entry->users == 0) {
            return take_out_locked(files, entry);
        }
    }
    return NULL;
}

static void close_down_to(lsm_segment_files *files, uint32_t keep) {
    lsm_file *file;

    do {
        lsm_mutex_lock(&files->mu);
        file = take_victim_locked(files, keep);
        lsm_mutex_unlock(&files->mu);
        lsm_file_drop(file);
    } while (file != NULL);
}

/* Counts a user of the file, if it is open, or becomes so with `file`, which is then
 * taken over. */
static lsm_file *use(lsm_segment_files *files, lsm_segment_file *entry, lsm_file *file,
                     uint32_t users) {
    lsm_mutex_lock(&files->mu);
    if (entry->file != NULL) {
        lsm_list_remove(&entry->link);
        lsm_list_insert(&files->open, &entry->link);
    } else if (file != NULL) {
        entry->file = file;
        lsm_list_insert(&files->open, &entry->link);
        files->open_count++;
    }
    entry->users += entry->file != NULL ? users : 0;
    lsm_file *open = entry->file;
    lsm_mutex_unlock(&files->mu);
    return open;
}

lsmkv_status lsm_segment_files_take(lsm_segment_files *files, lsm_segment_file *entry,
                                    lsm_segment_open open, const void *context,
                                    lsm_file **filep, lsmkv_error *err) {
    lsm_file *opened = NULL;

    *filep = use(files, entry, NULL, 1);
    if (*filep != NULL) {
        return LSMKV_OK;
    }
    lsmkv_status status = open(context, &opened, err);
    if (status != LSMKV_OK) {
        return status;
    }
    *filep = use(files, entry, opened, 1);
    if (*filep != opened) {
        lsm_file_drop(opened);
    }
    close_down_to(files, files->open_max);
    return LSMKV_OK;
}

void lsm_segment_files_give(lsm_segment_files *files, lsm_segment_file *entry) {
    lsm_mutex_lock(&files->mu);
    LSM_ASSERT(entry->users > 0);
    entry->users--;
    lsm_mutex_unlock(&files->mu);
}

void lsm_segment_files_put(lsm_segment_files *files, lsm_segment_file *entry,
                           lsm_file *file) {
    if (use(files, entry, file, 0) != file) {
        lsm_file_drop(file);
    }
    close_down_to(files, files->open_max);
}

void lsm_segment_files_forget(lsm_segment_files *files, lsm_segment_file *entry) {
    lsm_mutex_lock(&files->mu);
    LSM_ASSERT(entry->users == 0);
    lsm_file *file = entry->file != NULL ? take_out_locked(files, entry) : NULL;
    lsm_mutex_unlock(&files->mu);
    lsm_file_drop(file);
}

void lsm_segment_files_relieve(lsm_segment_files *files) {
    close_down_to(files, 0);
}

uint32_t lsm_segment_files_open_count(lsm_segment_files *files) {
    lsm_mutex_lock(&files->mu);
    uint32_t count = files->open_count;
    lsm_mutex_unlock(&files->mu);
    return count;
}
