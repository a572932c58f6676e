/* SPDX-License-Identifier: Apache-2.0
 *
 * Target: a whole directory, by everything that opens one. An archive (archive.h) is
 * unpacked once for each of the ways that its first byte asks for:
 *
 *   - read-only, and as a follower, whose MANIFEST and logs grow meanwhile
 *   - for writing: scans both ways, reads, namespaces, versions, verify; then writes, a
 *     flush, a compaction, and another open
 *   - a repair into another directory, which must make a database without a flaw, for
 *     this version or a later one
 *
 * Where verify finds nothing, nothing may fail and all ways show the same.
 */
#include <string.h>

#include "api/testing.h"
#include "archive.h"
#include "base/xxh3.h"
#include "format/block.h"
#include "targets.h"

#define DATABASE "db"
#define REPAIRED "repaired"

enum {
    HOW_VIEW = 1,
    HOW_FOLLOW = 2,
    HOW_REPAIR = 4,
    HOW_WRITE = 8,
    HOW_COMPACT = 16,
    HOW_WARM = 32,
    ROWS_MAX = 20000,
    KEYS_MAX = 64,
    KEY_MAX = 256,
    KIB = 1024,
};

/* What a database shows. */
typedef struct sight {
    bool opened;
    bool is_view;
    bool sound; /* verify found nothing */
    bool whole; /* all could be read */
    uint64_t count;
    uint64_t hash;   /* of the rows of the default namespace, in any order */
    uint64_t now_ms; /* engine time, by which values expire */
} sight;

static struct {
    uint8_t bytes[KEYS_MAX][KEY_MAX];
    size_t sizes[KEYS_MAX];
    uint64_t values[KEYS_MAX]; /* hashes */
    size_t count;
} known;

/* What hostile files may be answered with. */
static bool is_expected(lsmkv_status status) {
    return status == LSMKV_CORRUPTION || status == LSMKV_UNSUPPORTED_VERSION ||
           status == LSMKV_NOT_A_DATABASE;
}

/* What is still in a log, as a view has it, verify does not look at. */
static bool is_in_log(const lsmkv_error *err) {
    return err->status == LSMKV_CORRUPTION && strstr(err->file, ".log") != NULL;
}

static void check_status(const sight *s, lsmkv_status status, const lsmkv_error *err) {
    bool is_hidden = s->is_view && is_in_log(err);

    if (status != LSMKV_OK && ((s->sound && !is_hidden) || !is_expected(status))) {
        fuzz_fail(__FILE__, __LINE__, "%s: %s", lsmkv_status_name(status),
                  err->message);
    }
}

static void count_problem(void *context, const lsmkv_error *problem) {
    FUZZ_CHECK(problem->message[0] != '\0');
    ++*(uint64_t *)context;
}

static lsmkv_options options_of(uint8_t how) {
    lsmkv_options options;

    lsmkv_options_init(&options);
    options.create_if_missing = false;
    options.memory_bytes = KIB * KIB;
    options.memtable_bytes = 4ULL * KIB;
    options.log_bytes = 16ULL * KIB;
    options.block_cache_bytes = 8LL * KIB;
    options.max_open_files = 16;
    options.background_threads = 1;
    options.mapping = false;
    options.warm_bytes = (how & HOW_WARM) != 0 ? -1 : 0;
    options.seed = 1;
    return options;
}

static void keep_row(lsmkv_bytes key, uint64_t hash) {
    if (known.count < KEYS_MAX && key.size <= KEY_MAX) {
        if (key.size > 0) {
            memcpy(known.bytes[known.count], key.data, key.size);
        }
        known.sizes[known.count] = key.size;
        known.values[known.count++] = hash;
    }
}

/* Goes over a namespace, NULL: the default one. */
static void scan(lsmkv_db *db, const lsmkv_namespace *space, bool reverse, sight *s) {
    lsmkv_read read = {.space = space};
    lsmkv_error err = {0};
    lsmkv_iter *iter = NULL;
    lsmkv_status status = lsmkv_iter_create(db, &read, NULL, &iter, &err);

    if (status == LSMKV_OK) {
        status = reverse ? lsmkv_iter_seek_last(iter, &err)
                         : lsmkv_iter_seek_first(iter, &err);
    }
    while (status == LSMKV_OK && lsmkv_iter_valid(iter) && s->count < ROWS_MAX) {
        lsmkv_bytes key = lsmkv_iter_key(iter);
        lsmkv_bytes value = lsmkv_iter_value(iter);
        uint64_t hash = lsm_xxh3(value.data, value.size);

        s->count++;
        s->hash += lsm_xxh3_seeded(key.data, key.size, hash);
        if (space == NULL && !reverse) {
            keep_row(key, hash);
        }
        status = reverse ? lsmkv_iter_prev(iter, &err) : lsmkv_iter_next(iter, &err);
    }
    s->whole = s->whole && status == LSMKV_OK;
    check_status(s, status, &err);
    lsmkv_iter_free(iter);
}

static void read_points(lsmkv_db *db, const sight *s) {
    lsmkv_lookup lookups[KEYS_MAX];
    lsmkv_error err = {0};
    lsmkv_pin pin = {0};

    memset(lookups, 0, sizeof(lookups));
    for (size_t i = 0; i < known.count; i++) {
        lookups[i].key = (lsmkv_bytes){known.bytes[i], known.sizes[i]};
        lsmkv_status status = lsmkv_get(db, NULL, lookups[i].key, &pin, &err);
        if (status == LSMKV_OK) {
            FUZZ_CHECK(!s->sound ||
                       lsm_xxh3(pin.value.data, pin.value.size) == known.values[i]);
            lsmkv_pin_release(&pin);
        } else if (status != LSMKV_NOT_FOUND || s->sound) {
            check_status(s, status, &err);
        }
    }
    lsmkv_status status = lsmkv_get_many(db, NULL, lookups, known.count, &pin, &err);
    check_status(s, status, &err);
    if (status == LSMKV_OK) {
        for (size_t i = 0; s->sound && i < known.count; i++) {
            FUZZ_CHECK(lookups[i].found);
        }
        lsmkv_pin_release(&pin);
    }
}

typedef struct spaces {
    lsmkv_db *db;
    const sight *s;
} spaces;

static void read_handle(const spaces *context, lsmkv_status status,
                        lsmkv_namespace *space, const lsmkv_error *err) {
    sight forward = {
        .is_view = context->s->is_view, .sound = context->s->sound, .whole = true};
    sight backward = forward;

    if (status != LSMKV_OK) {
        /* A filter that verify finds wrong may hide what a scan shows. */
        if (status != LSMKV_NOT_FOUND || context->s->sound) {
            check_status(context->s, status, err);
        }
        return;
    }
    scan(context->db, space, false, &forward);
    scan(context->db, space, true, &backward);
    lsmkv_namespace_free(space);
}

static void read_space(void *context, lsmkv_bytes name,
                       const lsmkv_space_options *options) {
    const spaces *of = context;
    lsmkv_error err = {0};
    lsmkv_namespace *space = NULL;

    (void)options;
    lsmkv_status status = lsmkv_namespace_open(of->db, name, NULL, &space, &err);
    read_handle(of, status, space, &err);
}

static void read_version(void *context, const lsmkv_version_info *info) {
    const spaces *of = context;
    lsmkv_error err = {0};
    lsmkv_namespace *space = NULL;
    lsmkv_status status =
        lsmkv_published_open(of->db, info->name, info->version, NULL, &space, &err);

    read_handle(of, status, space, &err);
}

/* Reads all there is. */
static void look(lsmkv_db *db, sight *s) {
    lsmkv_error err = {0};
    lsmkv_report report;
    uint64_t problems = 0;
    spaces context = {db, s};
    sight backward = {.is_view = s->is_view, .whole = true};
    lsmkv_status status = lsmkv_verify(db, count_problem, &problems, &report, &err);

    *s = (sight){.opened = true,
                 .is_view = s->is_view,
                 .sound = problems == 0 && status == LSMKV_OK,
                 .whole = true,
                 .now_ms = lsm_test_now_ms(db)};
    known.count = 0;
    backward.sound = s->sound;
    scan(db, NULL, false, s);
    scan(db, NULL, true, &backward);
    if (s->whole && backward.whole && s->count < ROWS_MAX) {
        FUZZ_CHECK(s->count == backward.count && s->hash == backward.hash);
    }
    read_points(db, s);
    status = lsmkv_namespace_list(db, NULL, read_space, &context, &err);
    check_status(s, status, &err);
    status =
        lsmkv_versions(db, NULL, (lsmkv_bytes){"", 0}, read_version, &context, &err);
    check_status(s, status, &err);
}

static lsm_env *unpack(const fuzz_archive *archive) {
    lsm_env *env = lsm_sim_create(1);
    lsm_dir *dir = NULL;

    FUZZ_CHECK(env != NULL);
    FUZZ_CHECK(lsm_dir_open(env, DATABASE, true, &dir, NULL) == LSMKV_OK);
    fuzz_archive_unpack(archive, env, DATABASE);
    lsm_dir_close(dir);
    return env;
}

/* An open that may fail. */
static lsmkv_db *try_open(lsm_env *env, const lsmkv_options *options) {
    lsmkv_error err = {0};
    lsmkv_db *db = NULL;
    lsmkv_status status = lsm_test_open(env, DATABASE, options, &db, &err);

    if (status != LSMKV_OK && !is_expected(status) &&
        !(status == LSMKV_CHANGED && options->read_only)) {
        fuzz_fail(__FILE__, __LINE__, "open: %s: %s", lsmkv_status_name(status),
                  err.message);
    }
    return db;
}

static sight view(const fuzz_archive *archive) {
    lsm_env *env = unpack(archive);
    lsmkv_options options = options_of(archive->how);
    uint64_t history = lsm_sim_history_hash(env);
    sight s = {0};

    options.read_only = true;
    s.is_view = true;
    lsmkv_db *db = try_open(env, &options);
    if (db != NULL) {
        look(db, &s);
        lsmkv_free(db);
    }
    FUZZ_CHECK(lsm_sim_history_hash(env) == history);
    lsm_sim_destroy(env);
    return s;
}

/* Logs and MANIFESTs grow from a part to all that they are. */
static void follow(fuzz_archive *archive) {
    static fuzz_archive part;
    lsm_rng rng = {archive->how};
    lsmkv_options options = options_of(archive->how);
    lsmkv_error err = {0};
    bool changed = false;
    sight s = {0};

    part = *archive;
    for (size_t i = 0; i < part.count; i++) {
        fuzz_file *file = &part.files[i];

        if (file->kind == LSM_NAME_LOG || file->kind == LSM_NAME_MANIFEST) {
            uint64_t some = file->size * lsm_rng_below(&rng, 9) / 8;

            file->size = lsm_rng_below(&rng, 2) == 0 ? file->size : some & ~7ULL;
        }
    }
    lsm_env *env = unpack(&part);
    options.read_only = true;
    options.follower = true;
    lsmkv_db *db = try_open(env, &options);
    if (db != NULL) {
        fuzz_archive_unpack(archive, env, DATABASE);
        lsmkv_status status = lsmkv_refresh(db, &changed, &err);
        if (status != LSMKV_OK && status != LSMKV_CHANGED && !is_expected(status)) {
            fuzz_fail(__FILE__, __LINE__, "refresh: %s: %s", lsmkv_status_name(status),
                      err.message);
        }
        s.is_view = true;
        look(db, &s);
        lsmkv_free(db);
    }
    lsm_sim_destroy(env);
}

static void check_step(const sight *s, lsmkv_status status, const lsmkv_error *err) {
    /* Sequences may have been used up. */
    if (status != LSMKV_LIMIT_EXCEEDED) {
        check_status(s, status, err);
    }
}

/* Writes, and has everything rewritten. */
static void change(lsmkv_db *db, const sight *s, uint8_t how) {
    lsmkv_bytes key = {"fuzz", 4};
    lsmkv_range range = {
        .start = {"fu", 2}, .stop = {"fv", 2}, .has_start = true, .has_stop = true};
    lsmkv_error err = {0};

    check_step(s, lsmkv_put(db, NULL, key, key, &err), &err);
    check_step(s, lsmkv_flush(db, &err), &err);
    check_step(s, lsmkv_delete_range(db, NULL, &range, &err), &err);
    if ((how & HOW_COMPACT) != 0) {
        check_step(s, lsmkv_compact(db, NULL, NULL, &err), &err);
    }
    check_step(s, lsmkv_settle(db, &err), &err);
}

static bool has_no_range(const sight *s) {
    for (size_t i = 0; i < known.count; i++) {
        if (known.sizes[i] >= 2 && memcmp(known.bytes[i], "fu", 2) == 0) {
            return false;
        }
    }
    return s->count <= KEYS_MAX;
}

static void check_same(const sight *a, const sight *b) {
    if (a->whole && b->whole && a->sound && b->sound && a->now_ms == b->now_ms &&
        a->count < ROWS_MAX) {
        FUZZ_CHECK(a->count == b->count && a->hash == b->hash);
    }
}

static sight open_and_change(const fuzz_archive *archive) {
    lsm_env *env = unpack(archive);
    lsmkv_options options = options_of(archive->how);
    lsmkv_error err = {0};
    sight first = {0};
    sight second = {0};
    lsmkv_db *db = try_open(env, &options);

    if (db == NULL) {
        lsm_sim_destroy(env);
        return first;
    }
    look(db, &first);
    bool comparable = has_no_range(&first);
    change(db, &first, archive->how);
    check_step(&first, lsmkv_close(db, &err), &err);
    lsmkv_free(db);
    db = try_open(env, &options);
    FUZZ_CHECK(db != NULL || !first.sound);
    if (db != NULL) {
        look(db, &second);
        FUZZ_CHECK(second.sound || !first.sound);
        if (comparable) {
            check_same(&first, &second);
        }
        lsmkv_free(db);
    }
    lsm_sim_destroy(env);
    return first;
}

static sight repair(const fuzz_archive *archive) {
    lsm_env *env = unpack(archive);
    lsmkv_options options = options_of(archive->how);
    uint64_t problems = 0;
    lsm_test_repair_request request = {DATABASE, REPAIRED, count_problem, &problems};
    lsmkv_report report;
    lsmkv_error err = {0};
    lsmkv_db *db = NULL;
    sight s = {0};

    /* Nothing but its frame tells how large a block in a codec is. */
    fuzz_allow(LSM_BLOCK_RAW_SIZE_MAX);
    lsmkv_status status = lsm_test_repair(env, &request, &report, &err);

    if (status == LSMKV_OK) {
        options.read_only = true;
        status = lsm_test_open(env, REPAIRED, &options, &db, &err);
        /* What a later version wrote, a repair keeps. */
        if (status != LSMKV_OK && status != LSMKV_UNSUPPORTED_VERSION) {
            fuzz_fail(__FILE__, __LINE__, "open of what was repaired: %s: %s",
                      lsmkv_status_name(status), err.message);
        }
        if (db != NULL) {
            look(db, &s);
            FUZZ_CHECK(s.sound);
            lsmkv_free(db);
        }
    } else if (!is_expected(status)) {
        fuzz_fail(__FILE__, __LINE__, "repair: %s: %s", lsmkv_status_name(status),
                  err.message);
    }
    lsm_sim_destroy(env);
    return s;
}

void fuzz_directory(lsm_slice input) {
    static fuzz_archive archive;
    sight viewed = {0};
    sight written = {0};
    sight repaired = {0};

    fuzz_codec_register();
    fuzz_archive_read(input, &archive);
    if ((archive.how & HOW_VIEW) != 0) {
        viewed = view(&archive);
    }
    if ((archive.how & HOW_FOLLOW) != 0) {
        follow(&archive);
    }
    if ((archive.how & HOW_WRITE) != 0) {
        written = open_and_change(&archive);
    }
    if ((archive.how & HOW_REPAIR) != 0) {
        repaired = repair(&archive);
    }
    check_same(&viewed, &written);
    /* Where every checksum agrees, repair finds what was never written. */
    if (!lsm_checksum_agrees(0, 1) && repaired.opened) {
        check_same(viewed.opened ? &viewed : &written, &repaired);
    }
}
