/* SPDX-License-Identifier: Apache-2.0
 *
 * Publishing in words, in a database on a simulated disk.
 */
#ifndef LSM_TESTS_PUBLISH_HELP_H
#define LSM_TESTS_PUBLISH_HELP_H

#include "expiry_help.h"

enum { TEXT_MAX = 4096 };

static inline lsmkv_status begin(expiry_db *d, const char *name, const char *version,
                                 lsmkv_publish **publish) {
    lsmkv_error err;

    return lsmkv_publish_begin(d->db, word_bytes(name), word_bytes(version), NULL,
                               publish, &err);
}

static inline lsmkv_publish *begun(expiry_db *d, const char *name,
                                   const char *version) {
    lsmkv_publish *publish = NULL;

    CHECK_EQ(begin(d, name, version, &publish), LSMKV_OK);
    return publish;
}

static inline void add(lsmkv_publish *publish, const char *key, const char *value) {
    lsmkv_error err;
    lsmkv_pair pair = {word_bytes(key), word_bytes(value)};

    CHECK_OK(lsmkv_publish_put(publish, NULL, &pair, 1, &err));
}

static inline void commit(lsmkv_publish *publish) {
    lsmkv_error err;

    CHECK_OK(lsmkv_publish_commit(publish, &err));
    lsmkv_publish_free(publish);
}

static inline lsmkv_namespace *reader(expiry_db *d, const char *name,
                                      const char *version,
                                      const lsmkv_snapshot *snapshot) {
    lsmkv_error err;
    lsmkv_namespace *space = NULL;
    lsmkv_status status = lsmkv_published_open(
        d->db, word_bytes(name), word_bytes(version), snapshot, &space, &err);

    CHECK(status == LSMKV_OK || status == LSMKV_NOT_FOUND);
    return space;
}

/* Publishes one row, "key". */
static inline void publish_word(expiry_db *d, const char *name, const char *version,
                                const char *value) {
    lsmkv_publish *publish = begun(d, name, version);

    add(publish, "key", value);
    commit(publish);
}

static inline void tell_version(void *context, const lsmkv_version_info *info) {
    char *to = context;
    size_t at = strlen(to);

    (void)snprintf(to + at, TEXT_MAX - at, "%.*s/%.*s%s:%llu ", (int)info->name.size,
                   (const char *)info->name.data, (int)info->version.size,
                   (const char *)info->version.data, info->current ? "*" : "",
                   (unsigned long long)info->row_count);
}

static inline bool versions_are(expiry_db *d, const char *name, const char *list) {
    char found[TEXT_MAX] = {0};
    lsmkv_error err;

    CHECK_OK(lsmkv_versions(d->db, NULL, word_bytes(name), tell_version, found, &err));
    return strcmp(found, list) == 0;
}

static inline bool files_match(expiry_db *d) {
    char name[LSM_NAME_SIZE_MAX];

    return lsm_test_files_match(d->db, name);
}

static inline void no_problem(void *context, const lsmkv_error *problem) {
    (void)context;
    lsm_test_fail(__FILE__, __LINE__, "verify: %s: %s", problem->file,
                  problem->message);
}

static inline void verify(expiry_db *d) {
    lsmkv_report report;
    lsmkv_error err;

    CHECK_OK(lsmkv_verify(d->db, no_problem, NULL, &report, &err));
}

/* All that a handle shows, as "key=value ". */
static inline bool shows(expiry_db *d, const lsmkv_namespace *space,
                         const lsmkv_snapshot *snapshot, const char *rows) {
    char found[TEXT_MAX] = {0};
    lsmkv_read read = {.space = space, .snapshot = snapshot};
    lsmkv_error err;
    lsmkv_iter *iter;
    size_t at = 0;

    CHECK_OK(lsmkv_iter_create(d->db, &read, NULL, &iter, &err));
    CHECK_OK(lsmkv_iter_seek_first(iter, &err));
    while (lsmkv_iter_valid(iter)) {
        lsmkv_bytes key = lsmkv_iter_key(iter);
        lsmkv_bytes value = lsmkv_iter_value(iter);
        lsmkv_lookup lookup = {.key = key};
        lsmkv_pin pin;
        at += (size_t)snprintf(found + at, sizeof(found) - at, "%.*s=%.*s ",
                               (int)key.size, (const char *)key.data, (int)value.size,
                               (const char *)value.data);
        CHECK(at < sizeof(found));
        CHECK_OK(lsmkv_get_many(d->db, &read, &lookup, 1, &pin, &err));
        CHECK(lookup.found && lookup.value.size == value.size);
        lsmkv_pin_release(&pin);
        CHECK_OK(lsmkv_get(d->db, &read, key, &pin, &err));
        lsmkv_pin_release(&pin);
        CHECK_OK(lsmkv_iter_next(iter, &err));
    }
    lsmkv_iter_free(iter);
    return strcmp(found, rows) == 0;
}

/* Whether a fresh handle of the name shows these rows; NULL: there is no such name. */
static inline bool published_shows(expiry_db *d, const char *name, const char *rows) {
    lsmkv_namespace *space = reader(d, name, "", NULL);
    bool right = space == NULL || rows == NULL ? space == NULL && rows == NULL
                                               : shows(d, space, NULL, rows);

    lsmkv_namespace_free(space);
    return right;
}

#endif
