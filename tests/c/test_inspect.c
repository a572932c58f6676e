/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: an inspection shows all of a file, says what is damaged, and goes on behind it.
 * Method: each file of a database that has one of everything, whole, cut at every
 * length, and with bits flipped; failing reads and allocations. What is shown must
 * cover the file end to end, and what was not written must be called damage.
 */
#include "db_help.h"
#include "calls_help.h"
#include "inspect_help.h"

#include <errno.h>

#include "base/alloc.h"
#include "format/filename.h"

enum { FILES_MAX = 16, ALLOCATIONS_MAX = 200 };

/* Copies of the files of a database that was closed without being closed. */
typedef struct files {
    lsm_env *env;
    char names[FILES_MAX][LSM_NAME_SIZE_MAX];
    lsm_buf bytes[FILES_MAX];
    size_t count;
} files;

static void take_file(files *f, const char *name) {
    const uint8_t *data = NULL;
    size_t size = 0;
    uint64_t number;
    lsm_file_kind kind = lsm_filename_parse(name, &number);

    if (kind == LSM_NAME_LOCK || kind == LSM_NAME_OTHER) {
        return;
    }
    CHECK(f->count < FILES_MAX);
    memcpy(f->names[f->count], name, strlen(name) + 1);
    CHECK(lsm_sim_file_read(f->env, SIM_PATH, name, &data, &size));
    CHECK(lsm_buf_append(&f->bytes[f->count], data, size));
    f->count++;
}

static void begin_files(files *f) {
    lsm_namelist names = {0};
    lsm_dir *dir = NULL;
    lsmkv_range range = {.has_start = true,
                         .start = bytes_of("a"),
                         .has_stop = true,
                         .stop = bytes_of("b")};
    lsmkv_write synced = {.sync = true};
    lsmkv_error err;
    all a;

    memset(f, 0, sizeof(*f));
    begin(&a);
    CHECK_OK(lsmkv_delete_range(a.db, NULL, &range, &err));
    CHECK_OK(lsmkv_delete(a.db, NULL, bytes_of("gone"), &err));
    CHECK_OK(lsmkv_flush(a.db, &err));
    CHECK_OK(lsmkv_put(a.db, &synced, bytes_of("last"), bytes_of("synced"), &err));
    CHECK_OK(lsmkv_delete_range(a.db, NULL, &range, &err));
    f->env = a.env;
    lsmkv_publish_free(a.publish);
    lsmkv_batch_free(a.batch);
    lsmkv_iter_free(a.iter);
    lsmkv_snapshot_free(a.snapshot);
    lsmkv_namespace_free(a.published);
    lsmkv_namespace_free(a.cache);
    lsmkv_namespace_free(a.space);
    lsm_test_abandon(a.db);
    CHECK_OK(lsm_dir_open(f->env, SIM_PATH, false, &dir, &err));
    CHECK_OK(lsm_dir_list(dir, &names, &err));
    for (size_t i = 0; i < names.count; i++) {
        take_file(f, names.names[i]);
    }
    lsm_namelist_deinit(&names);
    lsm_dir_close(dir);
}

static void end_files(files *f) {
    for (size_t i = 0; i < f->count; i++) {
        lsm_buf_deinit(&f->bytes[i]);
    }
    lsm_sim_destroy(f->env);
}

static void write_file(const files *f, size_t i, size_t size) {
    CHECK(lsm_sim_file_write(f->env, SIM_PATH, f->names[i], f->bytes[i].data, size));
}

static bool is_covered(const seen *s) {
    return s->type != LSMKV_FILE_CURRENT && s->type != LSMKV_FILE_HOTLIST;
}

LSM_TEST(inspection_of_whole_files_covers_them_without_damage) {
    const lsmkv_inspect_how how = {.entries = true};
    bool types[LSMKV_FILE_HOTLIST + 1] = {false};
    files f;

    begin_files(&f);
    for (size_t i = 0; i < f.count; i++) {
        seen brief = look_at(f.env, f.names[i], NULL);
        seen s = look_at(f.env, f.names[i], &how);
        CHECK_EQ(s.damage, 0);
        CHECK_EQ(brief.entries, 0);
        CHECK_EQ(brief.parts, s.parts - s.entries);
        CHECK(!is_covered(&s) || s.at == f.bytes[i].size);
        types[s.type] = true;
    }
    CHECK(types[LSMKV_FILE_LOG] && types[LSMKV_FILE_MANIFEST] &&
          types[LSMKV_FILE_TABLE] && types[LSMKV_FILE_CACHE] &&
          types[LSMKV_FILE_CURRENT]);
    end_files(&f);
}

LSM_TEST(inspection_of_a_cut_file_shows_what_is_left) {
    const lsmkv_inspect_how how = {.entries = true};
    files f;

    begin_files(&f);
    for (size_t i = 0; i < f.count; i++) {
        size_t step = f.bytes[i].size > 4096 ? 61 : 1;
        for (size_t size = 0; size < f.bytes[i].size; size += step) {
            write_file(&f, i, size);
            seen s = look_at(f.env, f.names[i], &how);
            if (is_covered(&s) && s.at != 0) {
                CHECK_EQ(s.at, size);
            }
            CHECK(s.type != LSMKV_FILE_TABLE || s.damage > 0);
            CHECK(s.type != LSMKV_FILE_CURRENT || s.damage > 0);
        }
    }
    end_files(&f);
}

/* Whether a flipped bit in the file must be called damage: whatever is in a table or
 * CURRENT; else what was synced, which the test of each type looks at. */
static bool is_watched(lsmkv_file_type type) {
    return type == LSMKV_FILE_TABLE || type == LSMKV_FILE_CURRENT;
}

LSM_TEST(inspection_marks_a_flipped_bit_and_goes_on) {
    const lsmkv_inspect_how how = {.entries = true};
    files f;

    begin_files(&f);
    for (size_t i = 0; i < f.count; i++) {
        seen whole = look_at(f.env, f.names[i], &how);
        size_t step = f.bytes[i].size > 4096 ? 37 : 1;
        for (size_t at = 0; at < f.bytes[i].size; at += step) {
            f.bytes[i].data[at] ^= 1;
            write_file(&f, i, f.bytes[i].size);
            seen s = look_at(f.env, f.names[i], &how);
            CHECK(!is_covered(&s) || s.at == f.bytes[i].size);
            CHECK(s.damage > 0 || !is_watched(whole.type));
            CHECK(s.damage == 0 || s.damage_at <= at);
            CHECK(s.entries <= whole.entries);
            f.bytes[i].data[at] ^= 1;
        }
        write_file(&f, i, f.bytes[i].size);
    }
    end_files(&f);
}

static size_t find_file(const files *f, lsm_file_kind kind) {
    size_t i = f->count;
    uint64_t number;

    while (i > 0 && lsm_filename_parse(f->names[i - 1], &number) != kind) {
        i--;
    }
    CHECK(i > 0);
    return i - 1;
}

LSM_TEST(inspection_tells_lost_records_from_the_end_of_a_crash) {
    files f;
    const lsmkv_inspect_how sealed = {.sealed = true};

    begin_files(&f);
    size_t log = find_file(&f, LSM_NAME_LOG);
    lsm_buf *bytes = &f.bytes[log];
    seen whole = look_at(f.env, f.names[log], NULL);
    CHECK_EQ(whole.rest, 0);
    CHECK(lsm_buf_append_zeros(bytes, 200)); /* as asked for ahead */
    write_file(&f, log, bytes->size);
    seen s = look_at(f.env, f.names[log], NULL);
    CHECK(s.damage == 0 && s.rest == 1);
    s = look_at(f.env, f.names[log], &sealed);
    CHECK(s.damage == 1 && s.rest == 0);
    bytes->data[LSM_RECORD_FILE_HEADER_SIZE + 30] ^= 1; /* the first record: synced */
    write_file(&f, log, bytes->size);
    s = look_at(f.env, f.names[log], NULL);
    CHECK(s.damage == 1 && s.rest == 1);
    CHECK(s.damage_at >= LSM_RECORD_FILE_HEADER_SIZE);
    CHECK(s.damage_at <= LSM_RECORD_FILE_HEADER_SIZE + 30);
    CHECK_EQ(s.parts, whole.parts + 1); /* one record less, two remarks more */
    end_files(&f);
}

LSM_TEST(inspection_finds_blocks_without_index_or_footer) {
    files f;

    begin_files(&f);
    size_t table = find_file(&f, LSM_NAME_TABLE);
    const lsm_buf *bytes = &f.bytes[table];
    uint64_t file_id = lsm_get_u64(bytes->data + bytes->size - 128 + 40);
    uint64_t index_at = lsm_get_u64(bytes->data + bytes->size - 128 + 56);
    lsmkv_inspect_how how = {.entries = true, .type = LSMKV_FILE_TABLE};
    seen whole = look_at(f.env, f.names[table], &how);

    bytes->data[bytes->size - 1] ^= 1;
    write_file(&f, table, bytes->size);
    seen s = look_at(f.env, f.names[table], &how);
    CHECK(s.entries == 0 && s.damage == 1); /* no id: nothing can be verified */
    how.file_id = file_id;
    s = look_at(f.env, f.names[table], &how);
    CHECK(s.entries == whole.entries && s.damage == 1);
    CHECK_EQ(s.parts, whole.parts);
    how.file_id = 0;
    bytes->data[bytes->size - 1] ^= 1;
    bytes->data[index_at] ^= 1;
    write_file(&f, table, bytes->size);
    s = look_at(f.env, f.names[table], &how);
    CHECK(s.damage == 1 && s.entries < whole.entries);
    CHECK_EQ(s.parts - s.entries, whole.parts - whole.entries);
    end_files(&f);
}

LSM_TEST(inspection_refuses_what_it_cannot_know) {
    lsmkv_inspect_how how = {.type = LSMKV_FILE_LOG};
    lsm_dir *dir = NULL;
    lsm_env *env = sim_make(1, &dir);
    uint8_t zeros[300] = {0};
    char long_name[LSM_NAME_SIZE_MAX + 1] = {0};
    lsmkv_error err;
    seen s;

    lsm_error_clear(&err);
    memset(long_name, 'n', LSM_NAME_SIZE_MAX);
    CHECK_STATUS(look(env, "absent", NULL, &s, &err), LSMKV_NOT_FOUND);
    CHECK_STATUS(look(env, "a/b", NULL, &s, &err), LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(look(env, "..", NULL, &s, &err), LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(look(env, ".", NULL, &s, &err), LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(look(env, "", NULL, &s, &err), LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(look(env, long_name, NULL, &s, &err), LSMKV_INVALID_ARGUMENT);
    CHECK_STATUS(look(env, long_name + 1, NULL, &s, &err), LSMKV_NOT_FOUND);
    CHECK(lsm_sim_file_write(env, SIM_PATH, "zeros", zeros, sizeof(zeros)));
    CHECK_STATUS(look(env, "zeros", NULL, &s, &err), LSMKV_NOT_A_DATABASE);
    for (int type = LSMKV_FILE_LOG; type <= LSMKV_FILE_HOTLIST; type++) {
        how.type = (lsmkv_file_type)type;
        s = look_at(env, "zeros", &how);
        CHECK_EQ(s.type, type);
        CHECK(type == LSMKV_FILE_LOG || s.damage > 0);
        CHECK(s.entries == 0 && (s.at == sizeof(zeros)));
    }
    how.type = (lsmkv_file_type)(LSMKV_FILE_HOTLIST + 1);
    CHECK_STATUS(look(env, "zeros", &how, &s, &err), LSMKV_INVALID_ARGUMENT);
    lsm_inspect_free(NULL);
    sim_end(env, dir);
}

/* So that the table has to be searched as a whole; which one. */
static size_t break_index(const files *f) {
    size_t table = find_file(f, LSM_NAME_TABLE);
    lsm_buf bytes = f->bytes[table];

    bytes.data[lsm_get_u64(bytes.data + bytes.size - 72)] ^= 1;
    write_file(f, table, bytes.size);
    return table;
}

LSM_TEST(inspection_fails_cleanly_without_memory) {
    const lsmkv_inspect_how how = {.entries = true};
    files f;

    begin_files(&f);
    (void)break_index(&f);
    for (size_t i = 0; i < f.count; i++) {
        lsmkv_status status = LSMKV_NO_MEMORY;
        for (uint64_t n = 0; status != LSMKV_NOT_FOUND; n++) {
            lsmkv_error err;
            seen s;
            CHECK(n < ALLOCATIONS_MAX);
            lsm_error_clear(&err);
            lsm_alloc_fail_after(n, 0);
            status = look(f.env, f.names[i], &how, &s, &err);
            lsm_alloc_fail_never();
            CHECK(status == LSMKV_NOT_FOUND || status == LSMKV_NO_MEMORY);
        }
    }
    end_files(&f);
}

/* The n-th call of a class fails, for every n. */
typedef struct fault {
    lsm_sim_call call;
    int code;
    bool sticky;
} fault;

static void sweep_fault(const files *f, size_t i, const fault *how) {
    const lsmkv_inspect_how wanted = {.entries = true};
    seen whole = look_at(f->env, f->names[i], &wanted);

    for (uint64_t n = 0; n < ALLOCATIONS_MAX; n++) {
        lsmkv_error err;
        seen s;
        lsm_error_clear(&err);
        lsm_sim_fail(f->env, how->call, n, how->code, how->sticky);
        lsmkv_status status = look(f->env, f->names[i], &wanted, &s, &err);
        bool met = lsm_sim_failed_name(f->env)[0] != '\0';
        lsm_sim_fail(f->env, how->call, 0, 0, false);
        if (!met) {
            CHECK_EQ(s.parts, whole.parts);
            return;
        }
        if (how->call != LSM_SIM_READ || how->code != EIO) {
            CHECK_STATUS(status, LSMKV_IO_ERROR);
            CHECK_EQ(err.os_errno, how->code);
        } else if (status != LSMKV_IO_ERROR) { /* it is known what the file is */
            CHECK_STATUS(status, LSMKV_NOT_FOUND);
            CHECK(!is_covered(&s) || s.at == f->bytes[i].size);
            CHECK(s.damage > 0 || s.parts == whole.parts);
        }
    }
    CHECK(false);
}

LSM_TEST(inspection_goes_on_behind_what_the_device_cannot_read) {
    static const fault faults[] = {
        {LSM_SIM_OPEN, EIO, false},   {LSM_SIM_SIZE, EIO, false},
        {LSM_SIM_READ, EIO, false},   {LSM_SIM_READ, EIO, true},
        {LSM_SIM_READ, EACCES, true},
    };
    files f;

    begin_files(&f);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(faults) * f.count; i++) {
        sweep_fault(&f, i / LSM_ARRAY_COUNT(faults),
                    &faults[i % LSM_ARRAY_COUNT(faults)]);
    }
    size_t table = break_index(&f);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(faults); i++) {
        sweep_fault(&f, table, &faults[i]);
    }
    end_files(&f);
}
