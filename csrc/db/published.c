/* SPDX-License-Identifier: Apache-2.0
 *
 * See published.h.
 */
#include "db/published.h"

#include "base/alloc.h"
#include "base/mutant.h"
#include "db/manifest.h"
#include "db/publish.h"
#include "db/system_key.h"
#include "format/filename.h"

static lsmkv_bytes bytes_of(const lsm_buf *buf) {
    return (lsmkv_bytes){buf->data, buf->size};
}

static bool same_bytes(lsmkv_bytes a, lsmkv_bytes b) {
    return lsm_slice_equal(lsm_slice_make(a.data, a.size),
                           lsm_slice_make(b.data, b.size));
}

static void version_key(lsm_system_key *key, lsmkv_bytes name, lsmkv_bytes version) {
    lsm_system_key_make(key, LSM_PUBLISH_PREFIX, name);
    lsm_system_key_add(key, (lsmkv_bytes){"/", 1});
    lsm_system_key_add(key, version);
}

lsmkv_status lsm_published_check(lsmkv_bytes name, lsmkv_bytes version,
                                 lsmkv_error *err) {
    if (!lsm_space_name_check(name)) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "a published name is 1 to %d bytes of UTF-8",
                        LSM_SPACE_NAME_MAX);
    }
    if (version.size != 0 && !lsm_version_name_check(version)) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "a version is 1 to %d bytes of UTF-8 without a slash",
                        LSM_VERSION_NAME_MAX);
    }
    return LSMKV_OK;
}

lsmkv_status lsm_published_read(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                                lsmkv_bytes name, lsmkv_bytes version,
                                lsm_publish_record *record, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_buf value = {0};
    lsm_system_key key;

    version_key(&key, name, version);
    LSM_TRY(lsm_system_read(db, snapshot, &key, &value, err));
    status = lsm_publish_record_decode(lsm_buf_slice(&value), record, err);
out:
    lsm_buf_deinit(&value);
    return status;
}

/* The version that readers see. OK, NOT_FOUND or an error. */
static lsmkv_status read_current(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                                 lsmkv_bytes name, lsm_buf *version, lsmkv_error *err) {
    lsm_system_key key;

    lsm_buf_clear(version);
    lsm_system_key_make(&key, LSM_PUBLISHED_PREFIX, name);
    lsmkv_status status = lsm_system_read(db, snapshot, &key, version, err);
    if (status == LSMKV_OK && !lsm_version_name_check(bytes_of(version))) {
        status = lsm_fail(err, LSMKV_CORRUPTION, "the version of a published name");
    }
    return status;
}

lsmkv_status lsm_published_put(lsm_batch *batch, lsmkv_bytes name, lsmkv_bytes version,
                               const lsm_publish_record *record, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_buf value = {0};
    lsm_system_key key;

    version_key(&key, name, version);
    if (!lsm_publish_record_encode(record, &value)) {
        LSM_TRY(lsm_fail_memory(err, value.size));
    }
    status = lsm_batch_put(batch, LSM_NAMESPACE_SYSTEM, lsm_system_key_bytes(&key),
                           bytes_of(&value), err);
out:
    lsm_buf_deinit(&value);
    return status;
}

/* The entry of a name, or NULL. */
static lsm_published *find_locked(const lsmkv_db *db, lsmkv_bytes name)
    LSM_REQUIRES(db->mu) {
    for (size_t i = 0; i < db->published_count; i++) {
        lsm_published *at = db->published_names[i];
        if (same_bytes(name, (lsmkv_bytes){at->name, at->size})) {
            return at;
        }
    }
    return NULL;
}

static void destroy_entry(lsm_published *entry) {
    if (entry != NULL) {
        lsm_space_unref(entry->space);
        lsm_free(entry);
    }
}

/* An entry that is not listed yet. NULL: no memory. */
static lsm_published *create_entry(lsmkv_bytes name, lsmkv_error *err) {
    const lsm_space_definition nothing = {
        .id = LSM_SPACE_NOTHING, .sealed = true, .options = LSM_SPACE_OPTIONS_NONE};
    lsm_published *entry = lsm_calloc(1, sizeof(*entry));

    if (entry == NULL) {
        (void)lsm_fail_memory(err, sizeof(*entry));
        return NULL;
    }
    entry->space = lsm_space_create(&nothing, err);
    if (entry->space == NULL) {
        lsm_free(entry);
        return NULL;
    }
    entry->size = name.size;
    memcpy(entry->name, name.data, name.size);
    return entry;
}

/* Room on the list for one more. */
static bool reserve_name(lsmkv_db *db) {
    lsm_mutex_lock(&db->mu);
    void *names = db->published_names;
    bool ok = lsm_grow(&names, &db->published_capacity, db->published_count + 1,
                       sizeof(lsm_published *));
    db->published_names = names;
    lsm_mutex_unlock(&db->mu);
    return ok;
}

/* Makes handles of a name mean `meaning`, which is taken; `fresh`, taken too, is for a
 * name that is not on the list. */
static void mean_locked(lsmkv_db *db, lsm_published *entry, lsm_published *fresh,
                        lsm_meaning *meaning) LSM_REQUIRES(db->mu) {
    lsm_space *space = entry != NULL ? entry->space : fresh->space;

    meaning->next = atomic_load(&space->meaning);
    /* release: who finds it finds its fields. */
    atomic_store_explicit(&space->meaning, meaning, memory_order_release);
    if (entry == NULL) {
        db->published_names[db->published_count++] = fresh;
    }
}

static void remove_locked(lsmkv_db *db, const lsm_published *entry)
    LSM_REQUIRES(db->mu) {
    /* unreachable: the end of the list, which the entry is on */
    for (size_t i = 0; i < db->published_count; i++) {
        if (db->published_names[i] == entry) {
            db->published_names[i] = db->published_names[--db->published_count];
            break;
        }
    }
}

/* Waits until handles know of what a snapshot, or any read, may already see. */
static void await_switch(lsmkv_db *db) {
    if (atomic_load(&db->switching)) {
        lsm_mutex_lock(&db->catalog_mu);
        lsm_mutex_unlock(&db->catalog_mu);
    }
}

bool lsm_published_stays(const lsmkv_namespace *space, const lsm_meaning *mark) {
    await_switch(space->db);
    return atomic_load_explicit(&space->space->meaning, memory_order_acquire) == mark;
}

const lsm_meaning *lsm_published_meaning(lsmkv_db *db, const lsm_space *space,
                                         const lsmkv_snapshot *snapshot) {
    if (snapshot != NULL) {
        await_switch(db);
    }
    const lsm_meaning *meaning =
        atomic_load_explicit(&space->meaning, memory_order_acquire);
    while (snapshot != NULL && meaning != NULL &&
           meaning->sequence > snapshot->sequence) {
        meaning = meaning->next;
    }
    return meaning;
}

/* The sequence of the first record of a batch that was written. */
static uint64_t sequence_of(const lsm_batch *batch) {
    return lsm_get_u64(batch->record.data + LSM_RECORD_HEADER_SIZE);
}

static lsmkv_status commit_durably(lsmkv_db *db, lsm_batch *batch, lsmkv_error *err) {
    lsm_write_how how = {.sync = !LSM_MUTANT(SWITCH_NOT_SYNCED), .alone = true};
    return lsm_db_write(db, batch, how, err);
}

lsmkv_status lsm_published_switch(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                  const lsm_publish_record *record, bool is_new,
                                  lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_published *fresh = NULL;
    lsm_meaning *meaning = NULL;
    lsm_batch batch;
    lsm_system_key key;

    lsm_batch_init(&batch);
    lsm_mutex_lock(&db->mu);
    lsm_published *entry = find_locked(db, name); /* stays: we hold catalog_mu */
    lsm_mutex_unlock(&db->mu);
    if (entry == NULL) {
        fresh = create_entry(name, err);
        LSM_TRY(fresh != NULL ? LSMKV_OK : lsm_memory_status(err));
        if (!reserve_name(db)) {
            LSM_TRY(lsm_fail_memory(err, sizeof(*fresh)));
        }
    }
    meaning = lsm_calloc(1, sizeof(*meaning));
    if (meaning == NULL) {
        LSM_TRY(lsm_fail_memory(err, sizeof(*meaning)));
    }
    lsm_system_key_make(&key, LSM_PUBLISHED_PREFIX, name);
    LSM_TRY(lsm_batch_put(&batch, LSM_NAMESPACE_SYSTEM, lsm_system_key_bytes(&key),
                          version, err));
    if (is_new) {
        LSM_TRY(lsm_published_put(&batch, name, version, record, err));
    }
    atomic_store(&db->switching, true);
    status = commit_durably(db, &batch, err);
    if (status == LSMKV_OK) {
        meaning->sequence = sequence_of(&batch);
        meaning->id = record->space.id;
        if (LSM_MUTANT(ROLLBACK_KEEPS_VERSION) && !is_new && entry != NULL) {
            meaning->id = atomic_load(&entry->space->meaning)->id;
        }
        meaning->options = record->space.options;
        lsm_mutex_lock(&db->mu);
        mean_locked(db, entry, fresh, meaning);
        lsm_mutex_unlock(&db->mu);
        fresh = NULL;
        meaning = NULL;
    }
    atomic_store(&db->switching, false);
out:
    destroy_entry(fresh);
    lsm_free(meaning);
    lsm_batch_deinit(&batch);
    return status;
}

lsmkv_status lsm_published_forget(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                  const lsm_publish_record *record, lsm_forget what,
                                  lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_space *space = lsm_catalog_find(db, record->space.id);
    lsm_batch batch;
    lsm_system_key key;

    lsm_batch_init(&batch);
    if (space == NULL) {
        LSM_TRY(lsm_fail(err, LSMKV_CORRUPTION, "namespace %u is not on the list",
                         record->space.id));
    }
    version_key(&key, name, version);
    LSM_TRY(lsm_batch_delete(&batch, LSM_NAMESPACE_SYSTEM, lsm_system_key_bytes(&key),
                             err));
    if (what == LSM_FORGET_NAME) {
        lsm_system_key_make(&key, LSM_PUBLISHED_PREFIX, name);
        LSM_TRY(lsm_batch_delete(&batch, LSM_NAMESPACE_SYSTEM,
                                 lsm_system_key_bytes(&key), err));
    }
    if (what != LSM_FORGET_RECORD) {
        LSM_TRY(lsm_batch_delete_range(&batch, record->space.id, NULL, err));
    }
    LSM_TRY(lsm_system_commit(db, &batch, space, err));
    lsm_mutex_lock(&db->mu);
    lsm_published *entry = what == LSM_FORGET_NAME ? find_locked(db, name) : NULL;
    if (entry != NULL) {
        remove_locked(db, entry);
        atomic_store(&entry->space->dropped, true);
    }
    lsm_mutex_unlock(&db->mu);
    destroy_entry(entry);
out:
    lsm_space_unref(space);
    lsm_batch_deinit(&batch);
    return status;
}

/* With catalog_mu. A version that can be read; NOT_FOUND otherwise. */
static lsmkv_status read_complete(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                                  lsmkv_bytes name, lsmkv_bytes version,
                                  lsm_publish_record *record, lsmkv_error *err) {
    lsmkv_status status = lsm_published_read(db, snapshot, name, version, record, err);
    return status == LSMKV_OK && record->state != LSM_PUBLISH_COMPLETE ? LSMKV_NOT_FOUND
                                                                       : status;
}

lsmkv_status lsm_published_rollback(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                    lsmkv_error *err) {
    lsm_publish_record record;

    lsm_mutex_lock(&db->catalog_mu);
    lsmkv_status status = read_complete(db, NULL, name, version, &record, err);
    if (status == LSMKV_OK) {
        status = lsm_published_switch(db, name, version, &record, false, err);
    }
    lsm_mutex_unlock(&db->catalog_mu);
    return status;
}

/* What is gathered of a name, to be let go of one after the other. */
typedef struct name_list {
    lsm_buf versions; /* owned: size u8, bytes */
    bool failed;
} name_list;

static void gather_version(void *context, const lsmkv_version_info *info) {
    name_list *list = context;

    if (!info->current) {
        list->failed |=
            !lsm_buf_append_u8(&list->versions, (uint8_t)info->version.size);
        list->failed |=
            !lsm_buf_append(&list->versions, info->version.data, info->version.size);
    }
}

static lsmkv_status release_one(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                lsm_forget what, lsmkv_error *err) {
    lsm_publish_record record;
    lsmkv_status status = read_complete(db, NULL, name, version, &record, err);

    return status != LSMKV_OK
               ? status
               : lsm_published_forget(db, name, version, &record, what, err);
}

/* All versions but the current one, then that with the name. */
static lsmkv_status release_all(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes current,
                                lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    name_list list = {0};

    LSM_TRY(lsm_published_list(db, NULL, name, gather_version, &list, err));
    if (list.failed) {
        LSM_TRY(lsm_fail_memory(err, list.versions.size));
    }
    for (size_t at = 0; at < list.versions.size;) {
        lsmkv_bytes version = {list.versions.data + at + 1, list.versions.data[at]};
        LSM_TRY(release_one(db, name, version, LSM_FORGET_ROWS, err));
        at += 1 + version.size;
    }
    status = release_one(db, name, current, LSM_FORGET_NAME, err);
out:
    lsm_buf_deinit(&list.versions);
    return status;
}

lsmkv_status lsm_published_release(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                   lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_buf current = {0};

    lsm_mutex_lock(&db->catalog_mu);
    LSM_TRY(read_current(db, NULL, name, &current, err));
    if (version.size == 0) {
        status = release_all(db, name, bytes_of(&current), err);
    } else if (same_bytes(version, bytes_of(&current))) {
        status = lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                          "readers see this version; publish another one or roll back "
                          "before, or release the name");
    } else {
        status = release_one(db, name, version, LSM_FORGET_ROWS, err);
    }
out:
    lsm_mutex_unlock(&db->catalog_mu);
    lsm_buf_deinit(&current);
    return status;
}

/* With catalog_mu. */
static lsmkv_status open_version(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                 const lsmkv_snapshot *snapshot, lsm_space **spacep,
                                 lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_publish_record record;

    LSM_TRY(read_complete(db, snapshot, name, version, &record, err));
    lsm_space *space = lsm_catalog_find(db, record.space.id);
    if (space == NULL && snapshot == NULL) {
        LSM_TRY(lsm_fail(err, LSMKV_CORRUPTION, "namespace %u is not on the list",
                         record.space.id));
    }
    if (space == NULL) {
        /* Released since: what the snapshot sees of it can still be read. */
        space = lsm_space_create(&record.space, err);
        LSM_TRY(space != NULL ? LSMKV_OK : lsm_memory_status(err));
        atomic_store(&space->dropped, true);
    }
    *spacep = space;
out:
    return status;
}

static lsmkv_status open_name(lsmkv_db *db, lsmkv_bytes name, lsm_space **spacep) {
    lsm_mutex_lock(&db->mu);
    const lsm_published *entry = find_locked(db, name);
    if (entry != NULL) {
        lsm_space_ref(entry->space);
        *spacep = entry->space;
    }
    lsm_mutex_unlock(&db->mu);
    return entry != NULL ? LSMKV_OK : LSMKV_NOT_FOUND;
}

lsmkv_status lsm_published_open(lsmkv_db *db, lsmkv_bytes name, lsmkv_bytes version,
                                const lsmkv_snapshot *snapshot, lsm_space **spacep,
                                lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_buf current = {0};

    *spacep = NULL;
    if (version.size == 0 && snapshot == NULL) {
        return open_name(db, name, spacep);
    }
    lsm_mutex_lock(&db->catalog_mu);
    if (version.size == 0) {
        LSM_TRY(read_current(db, snapshot, name, &current, err));
        version = bytes_of(&current);
    }
    status = open_version(db, name, version, snapshot, spacep, err);
out:
    lsm_mutex_unlock(&db->catalog_mu);
    lsm_buf_deinit(&current);
    return status;
}

typedef struct version_list {
    lsmkv_db *db;
    const lsmkv_snapshot *snapshot;
    lsmkv_bytes name; /* that alone; empty: all */
    lsmkv_version_fn callback;
    void *context;
    lsm_buf seen;    /* the name whose current version is known */
    lsm_buf current; /* empty: it has none */
} version_list;

/* Keeps list->current in step with the name. */
static lsmkv_status note_name(version_list *list, lsmkv_bytes name, lsmkv_error *err) {
    if (same_bytes(name, bytes_of(&list->seen))) {
        return LSMKV_OK;
    }
    lsm_buf_clear(&list->seen);
    lsmkv_status status =
        read_current(list->db, list->snapshot, name, &list->current, err);
    if (status == LSMKV_NOT_FOUND) {
        lsm_buf_clear(&list->current);
        status = LSMKV_OK;
    }
    if (status == LSMKV_OK && !lsm_buf_append(&list->seen, name.data, name.size)) {
        status = lsm_fail_memory(err, name.size);
    }
    return status;
}

static lsmkv_status tell_version(void *context, lsm_slice key, lsm_slice value,
                                 lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    version_list *list = context;
    lsm_publish_record record;
    lsmkv_version_info info;

    LSM_TRY(lsm_publish_key_split(key, &info.name, &info.version, err));
    LSM_TRY(lsm_publish_record_decode(value, &record, err));
    if (record.state != LSM_PUBLISH_COMPLETE ||
        (list->name.size != 0 && !same_bytes(list->name, info.name))) {
        return LSMKV_OK;
    }
    LSM_TRY(note_name(list, info.name, err));
    info.current = same_bytes(info.version, bytes_of(&list->current));
    info.created_ms = record.created_ms;
    info.row_count = record.row_count;
    info.byte_count = record.byte_count;
    list->callback(list->context, &info);
out:
    return status;
}

lsmkv_status lsm_published_list(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                                lsmkv_bytes name, lsmkv_version_fn callback,
                                void *context, lsmkv_error *err) {
    version_list list = {.db = db,
                         .snapshot = snapshot,
                         .name = name,
                         .callback = callback,
                         .context = context};
    lsmkv_status status =
        lsm_system_walk(db, snapshot, LSM_PUBLISH_PREFIX, tell_version, &list, err);
    lsm_buf_deinit(&list.seen);
    lsm_buf_deinit(&list.current);
    return status;
}

/* What adds names to a catalog. */
typedef struct name_adding {
    lsmkv_db *db;
    const lsmkv_snapshot *snapshot;
    lsm_catalog_next *next;
} name_adding;

/* The edit that named the tables of a version is not there, though it was synced. */
static lsmkv_status fail_lost_edit(lsmkv_db *db, uint64_t known, lsmkv_error *err) {
    char name[LSM_FILENAME_SIZE] = "";
    uint64_t number = 0;

    if (lsm_manifest_current(db->dir, &number, NULL) == LSMKV_OK) {
        lsm_filename_make(name, LSM_NAME_MANIFEST, number);
    }
    return lsm_fail_at(err, LSMKV_CORRUPTION, name, -1,
                       "the file knows no file from %llu on, and has lost an edit that "
                       "came later: it was synced before a version was published; "
                       "restore a backup or repair the database",
                       (unsigned long long)known);
}

static lsmkv_status add_version(void *context, lsm_slice key, lsm_slice value,
                                lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    const name_adding *to = context;
    uint64_t known =
        atomic_load_explicit(&to->db->manifest_next_file, memory_order_relaxed);
    lsm_publish_record record;
    lsmkv_bytes name;
    lsmkv_bytes version;

    LSM_TRY(lsm_publish_key_split(key, &name, &version, err));
    LSM_TRY(lsm_publish_record_decode(value, &record, err));
    if (record.state == LSM_PUBLISH_COMPLETE && record.edit_mark >= known) {
        LSM_TRY(fail_lost_edit(to->db, known, err));
    }
    status = lsm_catalog_next_add(to->next, &record.space, err);
out:
    return status;
}

static lsmkv_status add_name(void *context, lsm_slice key, lsm_slice value,
                             lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    const name_adding *to = context;
    lsm_catalog_next *next = to->next;
    lsmkv_bytes name = {key.data, key.size};
    lsmkv_bytes version = {value.data, value.size};
    lsm_publish_record record;
    lsm_published *entry = NULL;
    void *names = next->published;

    if (!lsm_space_name_check(name) || !lsm_version_name_check(version)) {
        return lsm_fail(err, LSMKV_CORRUPTION, "the version of a published name");
    }
    status = read_complete(to->db, to->snapshot, name, version, &record, err);
    if (status == LSMKV_NOT_FOUND) {
        status = lsm_fail(err, LSMKV_CORRUPTION,
                          "the version that a published name has is not there");
    }
    LSM_TRY(status);
    bool ok = lsm_grow(&names, &next->published_capacity, next->published_count + 1,
                       sizeof(lsm_published *));
    next->published = names;
    if (!ok) {
        LSM_TRY(lsm_fail_memory(err, sizeof(lsm_published *)));
    }
    entry = create_entry(name, err);
    LSM_TRY(entry != NULL ? LSMKV_OK : lsm_memory_status(err));
    next->published[next->published_count++] = entry;
    lsm_meaning *meaning = lsm_calloc(1, sizeof(*meaning));
    if (meaning == NULL) {
        LSM_TRY(lsm_fail_memory(err, sizeof(*meaning)));
    }
    meaning->id = record.space.id;
    meaning->options = record.space.options;
    meaning->sequence = to->snapshot != NULL ? to->snapshot->sequence : 0;
    atomic_store(&entry->space->meaning, meaning);
out:
    return status;
}

lsmkv_status lsm_published_prepare(lsmkv_db *db, const lsmkv_snapshot *snapshot,
                                   lsm_catalog_next *next, lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    name_adding to = {db, snapshot, next};

    LSM_TRY(lsm_system_walk(db, snapshot, LSM_PUBLISH_PREFIX, add_version, &to, err));
    LSM_TRY(lsm_system_walk(db, snapshot, LSM_PUBLISHED_PREFIX, add_name, &to, err));
out:
    return status;
}

/* Keeps the handles that there are: the entry of before takes over what is new. */
static void adopt_locked(lsm_published *old, lsm_published *fresh) {
    lsm_meaning *meaning = atomic_load(&fresh->space->meaning);
    lsm_meaning *before = atomic_load(&old->space->meaning);

    if (meaning->id != before->id) {
        meaning->next = before;
        atomic_store(&fresh->space->meaning, NULL);
        atomic_store_explicit(&old->space->meaning, meaning, memory_order_release);
    }
}

void lsm_published_switch_locked(lsmkv_db *db, lsm_catalog_next *next) {
    for (size_t i = 0; i < next->published_count; i++) {
        lsm_published *fresh = next->published[i];
        lsm_published *old = find_locked(db, (lsmkv_bytes){fresh->name, fresh->size});
        if (old != NULL) {
            adopt_locked(old, fresh);
            next->published[i] = old;
            remove_locked(db, old);
            destroy_entry(fresh);
        }
    }
    for (size_t i = 0; i < db->published_count; i++) {
        atomic_store(&db->published_names[i]->space->dropped, true);
        destroy_entry(db->published_names[i]);
    }
    lsm_free(db->published_names);
    db->published_names = next->published;
    db->published_count = next->published_count;
    db->published_capacity = next->published_capacity;
    next->published = NULL;
    next->published_count = 0;
}

void lsm_published_next_deinit(lsm_catalog_next *next) {
    for (size_t i = 0; i < next->published_count; i++) {
        destroy_entry(next->published[i]);
    }
    lsm_free(next->published);
    next->published = NULL;
    next->published_count = 0;
}

void lsm_published_deinit(lsmkv_db *db) LSM_UNSHARED {
    for (size_t i = 0; i < db->published_count; i++) {
        destroy_entry(db->published_names[i]);
    }
    lsm_free(db->published_names);
}

static lsmkv_status clean_version(void *context, lsm_slice key, lsm_slice value,
                                  lsmkv_error *err) {
    lsmkv_status status = LSMKV_OK;
    lsm_publish_record record;
    lsmkv_bytes name;
    lsmkv_bytes version;

    /* unreachable: read before, by lsm_published_prepare */
    LSM_TRY(lsm_publish_key_split(key, &name, &version, err));
    /* unreachable: likewise */
    LSM_TRY(lsm_publish_record_decode(value, &record, err));
    if (record.state == LSM_PUBLISH_BEGUN) {
        status =
            lsm_published_forget(context, name, version, &record, LSM_FORGET_ROWS, err);
    }
out:
    return status;
}

lsmkv_status lsm_published_clean(lsmkv_db *db, lsmkv_error *err) {
    return lsm_system_walk(db, NULL, LSM_PUBLISH_PREFIX, clean_version, db, err);
}
