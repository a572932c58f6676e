/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a repair takes what can be read and reports what cannot, and neither a lack of
 * memory nor a call that fails for the moment makes it leave out anything in silence.
 * Method: one database whose process died, wrecked in several ways; every allocation
 * and every call of its repair fails in turn.
 */
#include "db_help.h"
#include "dead_help.h"
#include "forge_help.h"

#include <errno.h>

#include "base/xxh3.h"
#include "db/repair_values.h"
#include "format/edit.h"
#include "format/record.h"

enum { CALLS_MAX = 20000 };

/* Every so many places: the address sanitizer takes ten times as long for each, that of
 * threads, of which a repair has one, fifty times. */
#if defined(__SANITIZE_ADDRESS__)
enum { STRIDE = 17 };
#elif defined(__SANITIZE_THREAD__)
enum { STRIDE = 211 };
#else
enum { STRIDE = 1 };
#endif

typedef void (*wrecker)(lsm_env *env);

/* Writes the first `size` bytes of a file under a name, with one of them changed. */
static void copy_file(lsm_env *env, const char *from, const char *to, size_t size,
                      size_t flipped) {
    const uint8_t *bytes;
    size_t whole;

    CHECK(lsm_sim_file_read(env, SIM_PATH, from, &bytes, &whole));
    size = size < whole ? size : whole;
    uint8_t *copy = lsm_alloc(size + 1);
    CHECK(copy != NULL);
    memcpy(copy, bytes, size);
    copy[flipped < size ? flipped : size] ^= 1;
    CHECK(lsm_sim_file_write(env, SIM_PATH, to, copy, size));
    lsm_free(copy);
}

static void flip_in(lsm_env *env, const char *part, size_t share) {
    names found;

    list_names(env, part, &found);
    for (size_t i = 0; i < found.count; i++) {
        const uint8_t *bytes;
        size_t size;
        CHECK(lsm_sim_file_read(env, SIM_PATH, found.list[i], &bytes, &size));
        copy_file(env, found.list[i], found.list[i], size, size * share / 100);
    }
}

static void leave_whole(lsm_env *env) {
    (void)env;
}

/* Nobody says which of two MANIFESTs is in force. */
static void add_manifest(lsm_env *env) {
    names found;

    list_names(env, "MANIFEST", &found);
    copy_file(env, found.list[0], "MANIFEST-900000", SIZE_MAX, SIZE_MAX);
    lose_current(env);
}

static void lose_manifest(lsm_env *env) {
    names found;

    list_names(env, "MANIFEST", &found);
    for (size_t i = 0; i < found.count; i++) {
        CHECK(lsm_sim_file_remove(env, SIM_PATH, found.list[i]));
    }
}

static void damage_middles(lsm_env *env) {
    flip_in(env, ".tbl", 30);
    flip_in(env, ".log", 50);
    flip_in(env, "MANIFEST", 60);
}

static void damage_ends(lsm_env *env) {
    flip_in(env, ".tbl", 99); /* footers */
    flip_in(env, ".log", 95);
    flip_in(env, "MANIFEST", 95);
}

static void damage_indexes(lsm_env *env) {
    flip_in(env, ".tbl", 80);
    lose_current(env);
}

static void damage_headers(lsm_env *env) {
    flip_in(env, ".log", 0);
    flip_in(env, ".tbl", 0);
}

static void cut_tables(lsm_env *env) {
    names found;

    list_names(env, ".tbl", &found);
    for (size_t i = 0; i < found.count; i++) {
        const uint8_t *bytes;
        size_t size;
        CHECK(lsm_sim_file_read(env, SIM_PATH, found.list[i], &bytes, &size));
        copy_file(env, found.list[i], found.list[i], i == 0 ? 50 : size / 2, SIZE_MAX);
    }
}

/* What a file is, and that it is there at all. */
static void confuse_files(lsm_env *env) {
    names found;
    names manifests;

    list_names(env, "MANIFEST", &manifests);
    list_names(env, ".log", &found);
    copy_file(env, manifests.list[0], found.list[0], SIZE_MAX, SIZE_MAX);
    CHECK(lsm_sim_file_write(env, SIM_PATH, "009998.log", "", 0));
    copy_file(env, found.list[found.count - 1], "009999.log", 70, SIZE_MAX);
    list_names(env, ".tbl", &found);
    CHECK(lsm_sim_file_remove(env, SIM_PATH, found.list[0]));
    list_names(env, ".seg", &found);
    CHECK(lsm_sim_file_remove(env, SIM_PATH, found.list[0]));
}

/* What a repair told. */
typedef struct told {
    uint64_t count;
    bool type;     /* that a file is of another type */
    uint64_t hash; /* of all problems, in any order */
    lsmkv_report report;
} told;

static void on_problem(void *context, const lsmkv_error *problem) {
    told *t = context;

    CHECK(problem->status == LSMKV_CORRUPTION || problem->status == LSMKV_IO_ERROR ||
          problem->status == LSMKV_CHANGED || problem->status == LSMKV_NOT_A_DATABASE);
    CHECK(problem->message[0] != '\0' && strlen(problem->file) < LSM_NAME_SIZE_MAX);
    t->type = t->type || strstr(problem->message, "a file of type") != NULL;
    t->hash += lsm_xxh3(problem->message, strlen(problem->message)) +
               lsm_xxh3(problem->file, strlen(problem->file)) * 31 +
               (uint64_t)problem->offset * 17;
    t->count++;
}

static lsmkv_status repair(lsm_env *env, const char *into, told *t, lsmkv_error *err) {
    lsm_test_repair_request request = {SIM_PATH, into, on_problem, t};

    *t = (told){0};
    lsm_error_clear(err);
    lsmkv_status status = lsm_test_repair(env, &request, &t->report, err);
    CHECK_EQ(t->report.problem_count, t->count);
    return status;
}

/* The repaired database verifies. With nothing lost, each key shows what it showed;
 * else that, another one of its values, or nothing. */
static void check_repaired(const dead_db *dead, lsm_env *env, const char *into,
                           bool whole) {
    lsmkv_error err;
    lsmkv_db *db = NULL;
    lsmkv_report report;
    told t = {0};

    if (whole) {
        dead_check_open(dead, env, into, true);
    }
    CHECK_OK(dead_open(env, into, false, &db, &err));
    for (size_t i = 0; i < DEAD_KEYS; i++) {
        char key[16];
        uint8_t value[DEAD_LARGE_SIZE];
        lsmkv_pin pin = {0};
        lsmkv_status status = lsmkv_get(db, NULL, dead_key(key, i), &pin, &err);
        CHECK(status == LSMKV_OK || status == LSMKV_NOT_FOUND);
        if (status == LSMKV_OK) {
            const uint8_t *found = pin.value.data;
            CHECK(pin.value.size > 0);
            lsmkv_bytes expected = dead_value(value, i, found[0]);
            CHECK_EQ(pin.value.size, expected.size);
            CHECK(memcmp(found, expected.data, expected.size) == 0);
            lsmkv_pin_release(&pin);
        }
    }
    CHECK_OK(lsmkv_verify(db, on_problem, &t, &report, &err));
    CHECK_EQ(t.count, 0);
    close_db(db);
}

static const struct {
    wrecker wreck;
    bool whole; /* nothing is lost */
} wrecks[] = {
    {leave_whole, true},     {lose_current, true},    {add_manifest, true},
    {lose_manifest, false},  {damage_middles, false}, {damage_ends, false},
    {damage_indexes, false}, {damage_headers, false}, {cut_tables, false},
    {confuse_files, false},
};

/* How a thing fails, and what a repair comes to without. */
typedef struct failure {
    int call; /* the class of calls; of allocations: whether all later ones fail, too */
    int code; /* 0: an allocation */
    bool whole;
    uint64_t problems;
} failure;

/* Repairs with the failure at `at`. false: it came to no such place. */
static bool fail_once(const dead_db *dead, lsm_env *wrecked, const failure *how,
                      uint64_t at) {
    lsmkv_error err;
    uint64_t live = lsm_alloc_live();
    lsm_env *env = sim_crash(wrecked, 1, LSM_CRASH_ALL, 512);
    uint64_t count;
    told t;

    lsm_sim_exempt_memory(env);
    if (how->code == 0) {
        count = lsm_alloc_count();
        lsm_alloc_fail_after(at, how->call);
    } else {
        count = lsm_sim_call_count(env, (lsm_sim_call)how->call);
        lsm_sim_fail(env, (lsm_sim_call)how->call, at, how->code, false);
    }
    lsmkv_status status = repair(env, "into", &t, &err);
    count = (how->code == 0 ? lsm_alloc_count()
                            : lsm_sim_call_count(env, (lsm_sim_call)how->call)) -
            count;
    lsm_alloc_fail_never();
    for (int i = 0; i < LSM_SIM_CALL_COUNT; i++) {
        lsm_sim_fail(env, (lsm_sim_call)i, 0, 0, false);
    }
    if (status == LSMKV_OK) {
        /* What the device cannot read is given up, and told. */
        CHECK(how->code == EIO ? t.count >= how->problems : t.count == how->problems);
        check_repaired(dead, env, "into", how->whole && t.count == 0);
    } else {
        CHECK(count > at);
        CHECK_STATUS(status, how->code == 0 ? LSMKV_NO_MEMORY : LSMKV_IO_ERROR);
        CHECK_EQ(err.status, status);
        CHECK_STATUS(repair(env, "again", &t, &err), LSMKV_OK);
        CHECK_EQ(t.count, how->problems);
        check_repaired(dead, env, "again", how->whole);
    }
    lsm_sim_destroy(env);
    CHECK_EQ(lsm_alloc_live(), live);
    return count > at;
}

/* Every place in every `step`-th wreck from `first` on. */
static void fail_everywhere(int call, int code, size_t first, size_t step) {
    dead_db dead;

    dead_begin(&dead);
    for (size_t i = first; i < LSM_ARRAY_COUNT(wrecks); i += step) {
        lsm_env *env = dead_copy(&dead);
        uint64_t at = 0;
        lsmkv_error err;
        told t;
        wrecks[i].wreck(env);
        lsm_env *once = sim_crash(env, 1, LSM_CRASH_ALL, 512);
        CHECK_OK(repair(once, "into", &t, &err));
        lsm_sim_destroy(once);
        failure how = {call, code, wrecks[i].whole, t.count};
        while (fail_once(&dead, env, &how, at)) {
            at += STRIDE;
            CHECK(at < CALLS_MAX);
        }
        lsm_sim_destroy(env);
    }
    dead_end(&dead);
}

LSM_TEST(a_repair_takes_all_of_a_whole_database_and_tells_what_is_damaged) {
    dead_db dead;

    dead_begin(&dead);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(wrecks); i++) {
        lsm_env *env = dead_copy(&dead);
        lsmkv_error err;
        told t;
        wrecks[i].wreck(env);
        uint64_t steps = lsm_sim_steps(env);
        CHECK_OK(repair(env, "into", &t, &err));
        CHECK(lsm_sim_steps(env) > steps);
        CHECK_EQ(t.count == 0, wrecks[i].whole);
        CHECK_EQ(t.type, wrecks[i].wreck == confuse_files);
        check_repaired(&dead, env, "into", wrecks[i].whole);
        lsm_sim_destroy(env);
    }
    dead_end(&dead);
}

LSM_TEST(a_repair_without_a_target_tells_the_same_and_writes_nothing) {
    dead_db dead;

    dead_begin(&dead);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(wrecks); i++) {
        lsm_env *env = dead_copy(&dead);
        lsmkv_error err;
        told dry;
        told t;
        wrecks[i].wreck(env);
        uint64_t steps = lsm_sim_steps(env);
        CHECK_OK(repair(env, NULL, &dry, &err));
        CHECK_EQ(lsm_sim_steps(env), steps);
        CHECK_OK(repair(env, "into", &t, &err));
        CHECK_EQ(dry.hash, t.hash);
        CHECK(memcmp(&dry.report, &t.report, sizeof(t.report)) == 0);
        lsm_sim_destroy(env);
    }
    dead_end(&dead);
}

/* Of what was damaged in the middle of its files. */
LSM_TEST(a_repair_without_a_target_that_lacks_memory_says_so) {
    lsmkv_status status = LSMKV_NO_MEMORY;
    uint64_t live = lsm_alloc_live();
    dead_db dead;
    lsmkv_error err;
    told whole;

    dead_begin(&dead);
    damage_middles(dead.env);
    lsm_sim_exempt_memory(dead.env);
    CHECK_OK(repair(dead.env, NULL, &whole, &err));
    for (uint64_t at = 0; status != LSMKV_OK || at < STRIDE * 10; at += STRIDE) {
        told t;
        CHECK(at < CALLS_MAX);
        lsm_alloc_fail_after(at, 0);
        status = repair(dead.env, NULL, &t, &err);
        lsm_alloc_fail_never();
        CHECK(status == LSMKV_NO_MEMORY ||
              (status == LSMKV_OK && t.hash == whole.hash));
    }
    dead_end(&dead);
    CHECK_EQ(lsm_alloc_live(), live);
}

LSM_TEST(a_repair_that_lacks_memory_once_leaves_nothing_out) {
    fail_everywhere(0, 0, 0, 1);
}

LSM_TEST(a_repair_that_lacks_memory_from_some_point_on_says_so) {
    fail_everywhere(1, 0, 1, 4);
}

LSM_TEST(a_repair_with_a_call_that_fails_for_the_moment_leaves_nothing_out) {
    for (int call = 0; call < LSM_SIM_CALL_COUNT; call++) {
        fail_everywhere(call, EACCES, 0, 3);
    }
}

LSM_TEST(a_repair_reads_around_what_the_device_cannot_read) {
    for (int call = 0; call < LSM_SIM_CALL_COUNT; call++) {
        fail_everywhere(call, EIO, 1, 3);
    }
}

/* A batch of one record, which is of no kind there is. */
static void append_batch(lsm_env *env, uint64_t sequence) {
    uint8_t payload[40] = {0};

    lsm_put_u64(payload, sequence);
    lsm_put_u32(payload + 16, 1);
    payload[20] = 0xEE;
    append_record(env, ".log", true, LSM_RECORD_BATCH,
                  lsm_slice_make(payload, sizeof(payload)));
}

static void append_edit(lsm_env *env, uint64_t deleted, uint64_t first_log) {
    lsm_edit edit;
    lsm_buf payload = {0};

    lsm_edit_init(&edit);
    edit.has_first_log = first_log != 0;
    edit.first_log = first_log;
    CHECK(deleted == 0 || lsm_edit_delete_table(&edit, 0, deleted));
    CHECK(lsm_edit_encode(&edit, &payload));
    append_record(env, "MANIFEST", true, LSM_RECORD_EDIT, lsm_buf_slice(&payload));
    lsm_buf_deinit(&payload);
    lsm_edit_deinit(&edit);
}

LSM_TEST(a_repair_tells_of_records_that_verify_and_make_no_sense) {
    static const struct {
        const char *file;
        lsm_record_type type;
        size_t size;
        uint64_t problems;
    } records[] = {
        {"MANIFEST", LSM_RECORD_VALUES, 8, 1}, {"MANIFEST", LSM_RECORD_EDIT, 30, 1},
        {".log", LSM_RECORD_EDIT, 8, 1},       {".log", LSM_RECORD_BATCH, 12, 1},
        {".log", LSM_RECORD_PAD, 8, 0},
    };
    static const uint8_t junk[30] = {0xFF, 0xFF, 0xFF};
    dead_db dead;

    dead_begin(&dead);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(records) + 2; i++) {
        lsm_env *env = dead_copy(&dead);
        uint64_t problems = i == LSM_ARRAY_COUNT(records); /* not of what tables have */
        lsmkv_error err;
        told t;
        lose_current(env);
        if (i < LSM_ARRAY_COUNT(records)) {
            append_record(env, records[i].file, true, records[i].type,
                          lsm_slice_make(junk, records[i].size));
            problems = records[i].problems;
        } else {
            append_batch(env, problems > 0 ? 1000000 : 1);
        }
        CHECK_OK(repair(env, "into", &t, &err));
        if (t.count != problems) {
            lsm_test_fail(__FILE__, __LINE__, "record %zu: %llu problems", i,
                          (unsigned long long)t.count);
        }
        check_repaired(&dead, env, "into", true);
        lsm_sim_destroy(env);
    }
    dead_end(&dead);
}

/* A batch of one record, of a key that nothing else has. */
static void append_one(lsm_env *env, uint64_t sequence, uint8_t kind, uint8_t space,
                       const char *key) {
    lsm_buf payload = {0};
    uint8_t skey[64] = {0, 0, 0, space};
    size_t size = strlen(key);

    CHECK(size <= sizeof(skey) - LSM_NAMESPACE_SIZE);
    for (size_t i = 0; i < size; i++) {
        skey[LSM_NAMESPACE_SIZE + i] = (uint8_t)key[i];
    }
    CHECK(lsm_buf_append_u64(&payload, sequence) && lsm_buf_append_u64(&payload, 0) &&
          lsm_buf_append_u32(&payload, 1) && lsm_buf_append_u8(&payload, kind));
    CHECK(lsm_buf_append_slice(&payload,
                               lsm_slice_make(skey, LSM_NAMESPACE_SIZE + size)));
    CHECK(lsm_buf_append_slice(
        &payload, lsm_slice_make("\1\xFF", kind == LSM_KIND_DELETE ? 0 : 2)));
    append_record(env, ".log", true, LSM_RECORD_BATCH, lsm_buf_slice(&payload));
    lsm_buf_deinit(&payload);
}

LSM_TEST(a_repair_takes_no_batch_that_comes_before_the_last_one) {
    dead_db dead;
    lsmkv_error err;
    told t;

    dead_begin(&dead);
    lsm_env *env = dead_copy(&dead);
    lose_current(env);
    append_one(env, 1000000, LSM_KIND_DELETE, LSM_NAMESPACE_DEFAULT, "~~");
    append_one(env, 1000000, LSM_KIND_DELETE, LSM_NAMESPACE_DEFAULT, "~~");
    append_one(env, 999999, LSM_KIND_DELETE, LSM_NAMESPACE_DEFAULT, "~~");
    CHECK_OK(repair(env, "into", &t, &err));
    CHECK_EQ(t.count, 2);
    check_repaired(&dead, env, "into", true);
    lsm_sim_destroy(env);
    dead_end(&dead);
}

/* A batch with a large value, which does not come to lie aligned in its log. */
static void append_crooked(lsm_env *env, uint64_t sequence) {
    static const uint8_t record[] = {4, 6, 0, 0, 0, 1, '~', '~', 12};
    uint8_t payload[41] = {0};

    lsm_put_u64(payload, sequence);
    lsm_put_u32(payload + 16, 1);
    memcpy(payload + 20, record, sizeof(record));
    payload[37] = 1; /* the size; the value ends the record */
    append_record(env, ".log", true, LSM_RECORD_BATCH,
                  lsm_slice_make(payload, sizeof(payload)));
}

LSM_TEST(large_values_that_do_not_lie_aligned_in_a_log_are_damage) {
    dead_db dead;
    lsmkv_db *db = NULL;
    lsmkv_error err;
    lsmkv_options options;
    told t;

    dead_begin(&dead);
    lsmkv_options_init(&options);
    lsm_env *env = dead_copy(&dead);
    CHECK_OK(dead_open(env, SIM_PATH, true, &db, &err));
    uint64_t next = lsm_test_sequence(db) + 1;
    close_db(db);
    append_crooked(env, next); /* one of the two is not aligned */
    append_crooked(env, next + 1);
    CHECK_STATUS(lsm_test_open(env, SIM_PATH, &options, &db, &err), LSMKV_CORRUPTION);
    CHECK(strstr(err.message, "malformed batch") != NULL);
    lsm_sim_destroy(env);
    env = dead_copy(&dead);
    lose_current(env);
    append_crooked(env, 1000000);
    append_crooked(env, 1000001);
    CHECK_OK(repair(env, "into", &t, &err));
    CHECK(t.count > 0);
    lsm_sim_destroy(env);
    dead_end(&dead);
}

LSM_TEST(a_repair_looks_for_no_table_of_number_0) {
    static const uint8_t key[] = "\0\0\0\1a\1\7\0\0\0\0\0\0";
    dead_db dead;
    lsm_edit edit;
    lsm_buf payload = {0};
    lsmkv_error err;
    told t;

    lsm_slice bound = lsm_slice_make(key, sizeof(key) - 1);
    lsm_table_info info = {.file_size = 1000,
                           .tail_size = 200,
                           .smallest = bound,
                           .largest = bound,
                           .entry_count = 1};
    dead_begin(&dead);
    lsm_env *env = dead_copy(&dead);
    lose_current(env);
    lsm_edit_init(&edit);
    CHECK(lsm_edit_add_table(&edit, 1, &info) && lsm_edit_encode(&edit, &payload));
    append_record(env, "MANIFEST", true, LSM_RECORD_EDIT, lsm_buf_slice(&payload));
    CHECK_OK(repair(env, "into", &t, &err));
    check_repaired(&dead, env, "into", true);
    lsm_buf_deinit(&payload);
    lsm_edit_deinit(&edit);
    lsm_sim_destroy(env);
    dead_end(&dead);
}

LSM_TEST(a_pointer_to_no_value_is_a_value_that_was_lost) {
    static const lsm_pointer pointers[] = {
        {.segment = 0, .offset = LSM_VALUE_ALIGN, .size = 1},
        {.segment = 1, .offset = LSM_VALUE_ALIGN, .size = 0},
        {.segment = 1, .offset = LSM_VALUE_ALIGN, .size = UINT32_MAX},
    };
    lsm_dir *dir = NULL;
    lsm_env *env = sim_make(1, &dir);
    told t = {0};
    lsmkv_report report = {0};
    lsm_repair work = {.env = env, .from = dir, .findings = {on_problem, &t, &report}};
    lsm_repair_values values = {.repair = &work, .to = dir};
    static const uint8_t zeros[2 * LSM_VALUE_ALIGN];

    CHECK(lsm_sim_file_write(env, SIM_PATH, "000001.seg", zeros, sizeof(zeros)));
    for (size_t i = 0; i < LSM_ARRAY_COUNT(pointers); i++) {
        lsm_pointer pointer = pointers[i];
        uint8_t field[LSM_POINTER_SIZE];
        lsm_slice placed;
        lsmkv_error err;
        bool lost = false;

        pointer.checksum = lsm_xxh3(zeros, 0);
        lsm_pointer_encode(&pointer, field);
        CHECK_OK(lsm_repair_values_place(&values, LSM_KIND_POINTER,
                                         lsm_slice_make(field, sizeof(field)), &placed,
                                         &lost, &err));
        CHECK(lost && t.count == i + 1);
    }
    lsm_repair_values_deinit(&values);
    sim_end(env, dir);
}

LSM_TEST(a_repair_leaves_out_what_no_open_can_read_of_namespace_0) {
    static const char *const keys[] = {"options",     "next_namespace", "namespace/x",
                                       "publish/x/1", "publish/x",      "published/x"};
    dead_db dead;
    lsmkv_error err;
    told t;

    dead_begin(&dead);
    lsm_env *env = dead_copy(&dead);
    lose_current(env);
    for (size_t i = 0; i < LSM_ARRAY_COUNT(keys); i++) {
        append_one(env, 1000000 + i, LSM_KIND_PUT, LSM_NAMESPACE_SYSTEM, keys[i]);
    }
    CHECK_OK(repair(env, "into", &t, &err));
    CHECK_EQ(t.count, LSM_ARRAY_COUNT(keys));
    check_repaired(&dead, env, "into", true);
    lsm_sim_destroy(env);
    dead_end(&dead);
}

LSM_TEST(a_repair_leaves_out_what_the_manifest_has_given_up) {
    dead_db dead;
    names tables;
    lsmkv_error err;
    told t;

    dead_begin(&dead);
    for (int part = 0; part < 2; part++) {
        lsm_env *env = dead_copy(&dead);
        lose_current(env);
        list_names(env, ".tbl", &tables);
        for (size_t i = 0; part == 0 && i < tables.count; i++) {
            append_edit(env, strtoull(tables.list[i], NULL, 10), 0);
        }
        if (part == 1) {
            append_edit(env, 0, 900000); /* a number no log has come to */
        }
        CHECK_OK(repair(env, "into", &t, &err));
        CHECK_EQ(t.count, 0);
        check_repaired(&dead, env, "into", false);
        lsmkv_db *db = NULL;
        lsmkv_pin pin = {0};
        char key[16];
        uint8_t value[DEAD_LARGE_SIZE];
        CHECK_OK(dead_open(env, "into", false, &db, &err));
        /* Key 1 was written last, into a log: what a table has of it is older. */
        lsmkv_status status = lsmkv_get(db, NULL, dead_key(key, 1), &pin, &err);
        CHECK_STATUS(status, LSMKV_OK);
        lsmkv_bytes newest = dead_value(value, 1, dead.rounds[1]);
        CHECK_EQ(memcmp(pin.value.data, newest.data, newest.size) == 0, part == 0);
        lsmkv_pin_release(&pin);
        close_db(db);
        lsm_sim_destroy(env);
    }
    dead_end(&dead);
}

LSM_TEST(a_repair_leaves_logs_of_a_later_version_alone) {
    dead_db dead;
    names logs;
    lsmkv_error err;
    told t;

    dead_begin(&dead);
    lsm_env *env = dead_copy(&dead);
    lose_current(env);
    list_names(env, ".log", &logs);
    const uint8_t *bytes;
    size_t size;
    CHECK(lsm_sim_file_read(env, SIM_PATH, logs.list[0], &bytes, &size));
    uint8_t *copy = lsm_alloc(size);
    CHECK(copy != NULL);
    memcpy(copy, bytes, size);
    lsm_put_u32(copy + 8, LSM_RECORD_VERSION + 1);
    lsm_put_u64(copy + 56, lsm_xxh3(copy, 56));
    CHECK(lsm_sim_file_write(env, SIM_PATH, logs.list[0], copy, size));
    CHECK_STATUS(repair(env, "into", &t, &err), LSMKV_UNSUPPORTED_VERSION);
    CHECK(strcmp(err.file, logs.list[0]) == 0);
    /* Cut inside of its header it is a log that was being made. */
    CHECK(lsm_sim_file_write(env, SIM_PATH, logs.list[0], copy, 10));
    CHECK_OK(repair(env, "into", &t, &err));
    check_repaired(&dead, env, "into", false);
    lsm_free(copy);
    lsm_sim_destroy(env);
    dead_end(&dead);
}

LSM_TEST(a_repair_of_nothing_says_so) {
    lsm_dir *dir = NULL;
    lsm_env *env = sim_make(1, &dir);
    lsmkv_error err;
    told t;

    CHECK_STATUS(repair(env, "into", &t, &err), LSMKV_NOT_A_DATABASE);
    CHECK(strstr(err.message, "holds nothing") != NULL);
    sim_write(dir, "unrelated", "text");
    CHECK_STATUS(repair(env, "into", &t, &err), LSMKV_NOT_A_DATABASE);
    lsm_test_repair_request request = {"nowhere", "into", on_problem, &t};
    lsmkv_report report;
    CHECK_STATUS(lsm_test_repair(env, &request, &report, &err), LSMKV_NOT_A_DATABASE);
    CHECK(strstr(err.message, "nowhere") != NULL);
    sim_end(env, dir);
}
