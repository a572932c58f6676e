/* SPDX-License-Identifier: Apache-2.0
 *
 * Versions of one name: one thread publishes, abandons, rolls back and releases them
 * while others read. Version v has ROWS rows that all hold v, so whatever a call reads
 * is of one version, and whole.
 */
#include "stress_help.h"

enum { ROWS = 12, KEPT = 3, LISTED_MAX = 64 };

static _Atomic uint64_t begun; /* the newest version */

/* What there is, as lsmkv_versions tells. */
typedef struct listing {
    uint64_t versions[LISTED_MAX];
    bool current[LISTED_MAX];
    size_t count;
} listing;

static lsmkv_bytes name(void) {
    return (lsmkv_bytes){"data", 4};
}

static lsmkv_bytes version_name(char to[KEY_SIZE], uint64_t version) {
    int size = snprintf(to, KEY_SIZE, "%" PRIu64, version);
    return (lsmkv_bytes){to, (size_t)size};
}

static void on_version(void *context, const lsmkv_version_info *info) {
    listing *list = (listing *)context;
    char text[KEY_SIZE] = {0};

    if (info->row_count != ROWS || list->count == LISTED_MAX ||
        info->version.size >= KEY_SIZE) {
        fail("a version of %" PRIu64 " rows", info->row_count);
    }
    memcpy(text, info->version.data, info->version.size);
    list->current[list->count] = info->current;
    list->versions[list->count++] = strtoull(text, NULL, 10);
}

static bool list_versions(lsmkv_db *db, listing *list) {
    lsmkv_error err = {0};

    list->count = 0;
    return go_on(lsmkv_versions(db, NULL, name(), on_version, list, &err), &err,
                 "versions");
}

/* Commits a version, or abandons it somewhere. */
static bool publish_one(actor *a) {
    char text[KEY_SIZE];
    uint8_t value[VALUE_MAX];
    lsmkv_publish *publish = NULL;
    lsmkv_error err = {0};
    uint64_t version = atomic_load(&begun) + 1;
    bool abandons = lsm_rng_below(&a->rng, 4) == 0;
    size_t rows = abandons ? lsm_rng_below(&a->rng, ROWS + 1) : ROWS;
    size_t turn = lsm_rng_below(&a->rng, 2) == 0 ? 1 : 7;

    /* A multiple of that stands for a deletion elsewhere. */
    version += version % DELETE_EVERY == 0;
    atomic_store(&begun, version);
    bool open = go_on(lsmkv_publish_begin(a->db, name(), version_name(text, version),
                                          NULL, &publish, &err),
                      &err, "publish_begin");
    for (size_t i = 0; open && i < rows; i++) {
        char key[KEY_SIZE];
        lsmkv_pair pair = {make_key(key, i * turn % ROWS, 'a'),
                           make_value(value, version, 'a')};
        open = go_on(lsmkv_publish_put(publish, NULL, &pair, 1, &err), &err,
                     "publish_put");
    }
    if (open && abandons) {
        open = go_on(lsmkv_publish_abort(publish, &err), &err, "publish_abort");
    } else if (open) {
        open = go_on(lsmkv_publish_commit(publish, &err), &err, "publish_commit");
        atomic_fetch_add(&stress_total.publishes, open);
    }
    lsmkv_publish_free(publish);
    return open;
}

void stress_publish(void *context) {
    actor *a = (actor *)context;
    bool open = true;

    while (open) {
        char text[KEY_SIZE];
        listing list;
        lsmkv_error err = {0};
        open = publish_one(a) && list_versions(a->db, &list);
        if (open && list.count > 0 && lsm_rng_below(&a->rng, 3) == 0) {
            uint64_t to = list.versions[lsm_rng_below(&a->rng, list.count)];
            open = go_on(lsmkv_rollback(a->db, name(), version_name(text, to), &err),
                         &err, "rollback") &&
                   list_versions(a->db, &list);
        }
        for (size_t i = 0; open && i + KEPT < list.count; i++) {
            if (!list.current[i]) {
                open = go_on(lsmkv_release(a->db, name(),
                                           version_name(text, list.versions[i]), &err),
                             &err, "release");
            }
        }
    }
}

/* All rows by one call: they are there, and of one version. */
static bool read_many(lsmkv_db *db, const lsmkv_namespace *space) {
    char keys[ROWS][KEY_SIZE];
    lsmkv_lookup lookups[ROWS] = {0};
    lsmkv_read read = {.space = space};
    lsmkv_error err = {0};
    lsmkv_pin pin = {0};
    uint64_t version = 0;

    for (size_t i = 0; i < ROWS; i++) {
        lookups[i].key = make_key(keys[i], i, 'a');
    }
    if (!go_on(lsmkv_get_many(db, &read, lookups, ROWS, &pin, &err), &err,
               "get_many of what is published")) {
        return false;
    }
    for (size_t i = 0; i < ROWS; i++) {
        uint64_t found = lookups[i].found ? read_version(lookups[i].value, 'a') : 0;
        if (found == 0 || (i > 0 && found != version) || found > atomic_load(&begun)) {
            fail("row %zu of %d shows version %" PRIu64 ", the others %" PRIu64, i,
                 (int)ROWS, found, version);
        }
        version = found;
    }
    lsmkv_pin_release(&pin);
    return true;
}

static bool read_scan(lsmkv_db *db, const lsmkv_namespace *space) {
    lsmkv_read read = {.space = space};
    lsmkv_error err = {0};
    lsmkv_iter *iter = NULL;
    uint64_t version = 0;
    size_t rows = 0;
    lsmkv_status status = lsmkv_iter_create(db, &read, NULL, &iter, &err);

    status = status == LSMKV_OK ? lsmkv_iter_seek_first(iter, &err) : status;
    for (; status == LSMKV_OK && lsmkv_iter_valid(iter); rows++) {
        uint64_t found = read_version(lsmkv_iter_value(iter), 'a');
        if (rows > 0 && found != version) {
            fail("a scan shows versions %" PRIu64 " and %" PRIu64, version, found);
        }
        version = found;
        status = lsmkv_iter_next(iter, &err);
    }
    lsmkv_iter_free(iter);
    if (status == LSMKV_OK && rows != ROWS) {
        fail("a scan shows %zu rows of a version", rows);
    }
    return go_on(status, &err, "scan of what is published");
}

void stress_read_published(void *context) {
    actor *a = (actor *)context;
    lsmkv_namespace *space = NULL; /* of the name: it follows */
    bool open = true;

    while (open) {
        lsmkv_error err = {0};
        if (space == NULL) {
            lsmkv_status status = lsmkv_published_open(
                a->db, name(), (lsmkv_bytes){NULL, 0}, NULL, &space, &err);
            open = status == LSMKV_NOT_FOUND || go_on(status, &err, "published");
            sleep_us(100);
            continue;
        }
        open = lsm_rng_below(&a->rng, 3) == 0 ? read_scan(a->db, space)
                                              : read_many(a->db, space);
        atomic_fetch_add(&stress_total.published, 1);
    }
    lsmkv_namespace_free(space);
}
