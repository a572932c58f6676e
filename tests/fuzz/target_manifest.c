/* SPDX-License-Identifier: Apache-2.0
 *
 * Targets: edits, and MANIFESTs over the files that they name.
 */
#include <string.h>

#include "archive.h"
#include "db/manifest.h"
#include "format/edit.h"
#include "segment/cache_segment.h"
#include "targets.h"

#define DATABASE "db"

/* Encoding what was decoded settles after once: what an edit says can be written in
 * another order of fields. */
void fuzz_edit(lsm_slice input) {
    lsm_edit first;
    lsm_edit second;
    lsm_buf once = {0};
    lsm_buf twice = {0};

    lsm_edit_init(&first);
    lsm_edit_init(&second);
    lsmkv_status status = lsm_edit_decode(&first, input, NULL);
    if (status == LSMKV_OK) {
        FUZZ_CHECK(lsm_edit_encode(&first, &once));
        FUZZ_CHECK(once.size == input.size);
        FUZZ_CHECK(lsm_edit_decode(&second, lsm_buf_slice(&once), NULL) == LSMKV_OK);
        FUZZ_CHECK(lsm_edit_encode(&second, &twice));
        FUZZ_CHECK(lsm_slice_equal(lsm_buf_slice(&once), lsm_buf_slice(&twice)));
    } else {
        FUZZ_CHECK(status == LSMKV_CORRUPTION || status == LSMKV_UNSUPPORTED_VERSION);
    }
    lsm_buf_deinit(&once);
    lsm_buf_deinit(&twice);
    lsm_edit_deinit(&first);
    lsm_edit_deinit(&second);
}

/* Who hears of tables and makes segments. */
typedef struct world {
    lsm_table_sink tables;
    lsm_segment_sink segments;
    lsm_segment_files files;
    lsm_segment_context context;
} world;

static void drop_table(lsm_table_sink *sink, lsm_live_table *table) {
    (void)sink;
    lsm_live_table_destroy(table);
}

static void drop_segment(lsm_segment_sink *sink, lsm_segment *segment) {
    (void)sink;
    lsm_segment_destroy(segment);
}

static lsm_segment *make_segment(lsm_table_sink *sink, const lsm_edit_segment *info) {
    return lsm_segment_create(&LSM_CONTAINER_OF(sink, world, tables)->context, info);
}

static lsm_segment *make_cache(lsm_table_sink *sink, const lsm_edit_cache *info) {
    return lsm_cache_segment_create(&LSM_CONTAINER_OF(sink, world, tables)->context,
                                    info);
}

static void world_init(world *w, lsm_dir *dir) {
    memset(w, 0, sizeof(*w));
    w->tables = (lsm_table_sink){drop_table, make_segment, make_cache};
    w->segments = (lsm_segment_sink){drop_segment};
    w->context =
        (lsm_segment_context){.dir = dir, .sink = &w->segments, .files = &w->files};
    lsm_segment_files_init(&w->files, 4);
}

static void check_level(const lsm_level *level, bool disjoint) {
    uint64_t bytes = 0;

    for (size_t i = 0; i < level->count; i++) {
        const lsm_table_info *info = &level->tables[i]->info;

        bytes += info->file_size;
        FUZZ_CHECK(lsm_bounds_check(info->smallest, info->largest,
                                    info->range_delete_count != 0));
        if (i > 0 && disjoint) {
            FUZZ_CHECK(lsm_ikey_compare(level->tables[i - 1]->info.largest,
                                        info->smallest) < 0);
        }
    }
    FUZZ_CHECK(bytes == level->bytes);
}

static void check_version(const lsm_version *version) {
    for (size_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        check_level(&version->levels[i], i > 0);
    }
}

/* What a version says, as an edit. */
static void describe(const lsm_version *version, lsm_buf *to) {
    lsm_edit edit;

    lsm_edit_init(&edit);
    FUZZ_CHECK(lsm_edit_describe_version(&edit, version) && lsm_edit_encode(&edit, to));
    lsm_edit_deinit(&edit);
}

static lsmkv_status load(lsm_dir *dir, world *w, lsm_manifest_state *state) {
    memset(state, 0, sizeof(*state));
    lsmkv_status status = lsm_manifest_load(dir, &w->tables, state, NULL);
    FUZZ_CHECK(status == LSMKV_OK || status == LSMKV_NOT_FOUND ||
               status == LSMKV_CORRUPTION || status == LSMKV_UNSUPPORTED_VERSION ||
               status == LSMKV_NOT_A_DATABASE);
    if (status == LSMKV_OK) {
        check_version(state->version);
    }
    return status;
}

/* The file of the archive that is the MANIFEST in force, or NULL. */
static fuzz_file *manifest_of(fuzz_archive *archive, uint64_t number) {
    for (size_t i = 0; i < archive->count; i++) {
        if (archive->files[i].kind == LSM_NAME_MANIFEST &&
            archive->files[i].number == number) {
            return &archive->files[i];
        }
    }
    return NULL;
}

/* Read up to a place, then on, as a follower does: if both succeed the outcome is that
 * of reading all at once. */
static void check_follower(fuzz_archive *archive, lsm_env *env, lsm_dir *dir,
                           const lsm_manifest_state *whole) {
    world w;
    lsm_manifest_state state;
    lsm_version *next = NULL;
    lsm_buf first = {0};
    lsm_buf second = {0};
    fuzz_file *file = manifest_of(archive, whole->manifest_number);

    if (file == NULL || file->size < 2) {
        return;
    }
    fuzz_file copy = *file;
    file->size = file->size * archive->how / 256;
    world_init(&w, dir);
    fuzz_archive_unpack(archive, env, DATABASE);
    *file = copy;
    if (load(dir, &w, &state) == LSMKV_OK) {
        fuzz_archive_unpack(archive, env, DATABASE);
        if (lsm_manifest_go_on(&state, state.version, &w.tables, &next, NULL) ==
            LSMKV_OK) {
            describe(whole->version, &first);
            describe(next != NULL ? next : state.version, &second);
            FUZZ_CHECK(first.size == second.size);
            FUZZ_CHECK(state.next_file == whole->next_file &&
                       state.last_sequence == whole->last_sequence);
        }
        lsm_version_unref(next);
    }
    lsm_manifest_state_deinit(&state);
    lsm_segment_files_deinit(&w.files);
    lsm_buf_deinit(&first);
    lsm_buf_deinit(&second);
}

void fuzz_manifest(lsm_slice input) {
    static fuzz_archive archive;
    lsm_env *env = lsm_sim_create(1);
    lsm_dir *dir = NULL;
    lsm_manifest_state state;
    world w;

    FUZZ_CHECK(env != NULL);
    FUZZ_CHECK(lsm_dir_open(env, DATABASE, true, &dir, NULL) == LSMKV_OK);
    fuzz_archive_read(input, &archive);
    fuzz_archive_unpack(&archive, env, DATABASE);
    world_init(&w, dir);
    if (load(dir, &w, &state) == LSMKV_OK) {
        check_follower(&archive, env, dir, &state);
    }
    lsm_manifest_state_deinit(&state);
    lsm_segment_files_deinit(&w.files);
    lsm_dir_close(dir);
    lsm_sim_destroy(env);
}
