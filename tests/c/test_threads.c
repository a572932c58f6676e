/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what threads do only beside each other, done at will: writers who queue behind
 * one that is writing form groups, in order and within their bounds; who may not wait
 * is told so; a close waits for those who are in it; and a database whose threads
 * cannot be had does not open. Method: a real directory below an environment that holds
 * an append to a log until the test has seen who waits.
 */
#include "db_help.h"
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/testing.h"
#include "base/alloc.h"
#include "db/db.h"
#include "env/sync.h"

enum { WRITERS_MAX = 80, LARGE = 100 << 10, PLACES_MAX = 3000 };

/* The system, with a gate before each append to a log. */
static struct {
    lsm_env env;
    lsm_env_ops ops;
    pthread_mutex_t mu;
    pthread_cond_t changed;
    bool closed; /* to appends */
    bool stays;  /* who has come to list namespaces */
    int at_gate;
    int appends;
} gate = {.mu = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static int gated_append(lsm_file *file, const lsm_slice *pieces, size_t count,
                        size_t *put) {
    if (strstr(file->name, ".log") != NULL) {
        (void)pthread_mutex_lock(&gate.mu);
        gate.appends += 1;
        gate.at_gate += 1;
        (void)pthread_cond_broadcast(&gate.changed);
        while (gate.closed) {
            (void)pthread_cond_wait(&gate.changed, &gate.mu);
        }
        gate.at_gate -= 1;
        (void)pthread_mutex_unlock(&gate.mu);
    }
    return lsm_env_posix()->ops->file_append(file, pieces, count, put);
}

static void set_gate(bool closed) {
    (void)pthread_mutex_lock(&gate.mu);
    gate.closed = closed;
    (void)pthread_cond_broadcast(&gate.changed);
    (void)pthread_mutex_unlock(&gate.mu);
}

static void await_gate(void) {
    (void)pthread_mutex_lock(&gate.mu);
    while (gate.at_gate == 0) {
        (void)pthread_cond_wait(&gate.changed, &gate.mu);
    }
    (void)pthread_mutex_unlock(&gate.mu);
}

typedef struct scene {
    char path[256];
    lsmkv_db *db;
} scene;

/* How a writer writes. */
typedef enum manner {
    PLAIN,
    SYNCED,
    SIZED, /* a large value */
    TOUCH, /* leads alone */
    FLUSH, /* no batch at all */
    GONE,  /* into a namespace that was dropped meanwhile */
    NOT_TO_WAIT,
} manner;

typedef struct job {
    scene *s;
    manner manner;
    int number;
    const lsmkv_namespace *space;
    lsmkv_status status;
    lsm_thread thread;
} job;

static lsmkv_status open_scene(scene *s, const lsmkv_options *options,
                               lsmkv_error *err) {
    return lsm_test_open(&gate.env, s->path, options, &s->db, err);
}

/* NULL: with the options that there are. */
static void begin(scene *s, const lsmkv_options *options) {
    lsmkv_options defaults;
    lsmkv_error err;

    gate.env = (lsm_env){.ops = &gate.ops, .threaded = true};
    gate.ops = *lsm_env_posix()->ops;
    gate.ops.file_append = gated_append;
    gate.closed = false;
    (void)snprintf(s->path, sizeof(s->path), "%s/lsmkv-threads-XXXXXX", P_tmpdir);
    CHECK(mkdtemp(s->path) != NULL);
    lsmkv_options_init(&defaults);
    CHECK_OK(open_scene(s, options != NULL ? options : &defaults, &err));
}

static void remove_files(scene *s) {
    lsmkv_error err;
    lsm_namelist names = {0};
    lsm_dir *dir;

    CHECK_OK(lsm_dir_open(lsm_env_posix(), s->path, false, &dir, &err));
    CHECK_OK(lsm_dir_list(dir, &names, &err));
    for (size_t i = 0; i < names.count; i++) {
        CHECK_OK(lsm_dir_unlink(dir, names.names[i], &err));
    }
    lsm_namelist_deinit(&names);
    lsm_dir_close(dir);
    CHECK_EQ(rmdir(s->path), 0);
}

static void end(scene *s) {
    close_db(s->db);
    remove_files(s);
}

static lsmkv_bytes key_of(char to[16], int number) {
    return (lsmkv_bytes){to, (size_t)snprintf(to, 16, "key%03d", number)};
}

static lsmkv_status put_sized(const job *j, const lsmkv_write *how, size_t size,
                              lsmkv_error *err) {
    char key[16];
    uint8_t *value = calloc(1, size);

    if (value == NULL) {
        return LSMKV_NO_MEMORY;
    }
    value[0] = (uint8_t)j->number;
    lsmkv_status status = lsmkv_put(j->s->db, how, key_of(key, j->number),
                                    (lsmkv_bytes){value, size}, err);
    free(value);
    return status;
}

static void write_one(void *context) {
    job *j = context;
    lsmkv_error err;
    char key[16];
    lsmkv_write how = {.sync = j->manner == SYNCED,
                       .nonblocking = j->manner == NOT_TO_WAIT,
                       .space = j->space,
                       .ttl_ms = j->manner == TOUCH ? 1000000 : 0};

    switch (j->manner) {
        case TOUCH:
            j->status = lsmkv_touch(j->s->db, &how, key_of(key, 0), &err);
            break;
        case FLUSH:
            j->status = lsmkv_sync(j->s->db, &err);
            break;
        case SIZED:
            j->status = put_sized(j, &how, LARGE, &err);
            break;
        case PLAIN:
        case SYNCED:
        case GONE:
        case NOT_TO_WAIT:
        default:
            j->status = put_sized(j, &how, 20, &err);
            break;
    }
}

static size_t queued(lsmkv_db *db) {
    size_t count = 0;

    lsm_mutex_lock(&db->mu);
    for (const lsm_list *at = db->writers.next; at != &db->writers; at = at->next) {
        count++;
    }
    lsm_mutex_unlock(&db->mu);
    return count;
}

static void start_job(scene *s, job *j, manner how, int number) {
    *j = (job){.s = s, .manner = how, .number = number};
    CHECK(lsm_thread_start(&j->thread, write_one, j, "writer"));
}

/* Lets writers queue up behind one that is held; how many appends that comes to. */
static int write_behind(scene *s, const manner *manners, int count, job *jobs) {
    job there = {.s = s, .manner = PLAIN}; /* for who touches it */

    write_one(&there);
    CHECK_EQ(there.status, LSMKV_OK);
    set_gate(true);
    start_job(s, &jobs[0], manners[0], 0);
    await_gate();
    for (int i = 1; i < count; i++) {
        start_job(s, &jobs[i], manners[i], i);
        while (queued(s->db) < (size_t)i + 1) {
            (void)sched_yield();
        }
    }
    int before = gate.appends;
    set_gate(false);
    for (int i = 0; i < count; i++) {
        lsm_thread_join(&jobs[i].thread);
    }
    return gate.appends - before;
}

static void check_written(scene *s, const job *j) {
    lsmkv_error err;
    lsmkv_pin pin;
    char key[16];

    CHECK_EQ(j->status, LSMKV_OK);
    if (j->manner == TOUCH || j->manner == FLUSH) {
        return;
    }
    CHECK_OK(lsmkv_get(s->db, NULL, key_of(key, j->number), &pin, &err));
    CHECK_EQ(((const uint8_t *)pin.value.data)[0], (uint8_t)j->number);
    lsmkv_pin_release(&pin);
}

typedef struct group_case {
    manner manners[10];
    int count;
    int appends; /* behind the first, at most: one for each group, two for a sync */
} group_case;

LSM_TEST(writers_who_wait_form_groups_and_those_who_may_not_lead_alone) {
    static const group_case cases[] = {
        {{PLAIN, PLAIN, PLAIN, PLAIN}, 4, 1},
        {{PLAIN, PLAIN, SYNCED, PLAIN}, 4, 3},
        {{PLAIN, PLAIN, TOUCH, PLAIN, PLAIN}, 5, 3},
        {{PLAIN, TOUCH, PLAIN, TOUCH}, 4, 3},
        {{PLAIN, PLAIN, FLUSH, PLAIN}, 4, 4},
        {{PLAIN, PLAIN, SIZED, SIZED, PLAIN}, 5, 2},
        {{PLAIN, SIZED, SIZED, SIZED, SIZED}, 5, 4},
    };

    for (size_t i = 0; i < LSM_ARRAY_COUNT(cases); i++) {
        scene s;
        job jobs[10];
        begin(&s, NULL);
        int appends = write_behind(&s, cases[i].manners, cases[i].count, jobs);
        for (int k = 0; k < cases[i].count; k++) {
            check_written(&s, &jobs[k]);
        }
        if (appends < 1 || appends > cases[i].appends) {
            lsm_test_fail(__FILE__, __LINE__, "case %zu: %d appends", i, appends);
        }
        end(&s);
    }
}

LSM_TEST(a_group_takes_in_so_many_writers_and_no_more) {
    static job jobs[WRITERS_MAX];
    manner manners[WRITERS_MAX] = {PLAIN};
    scene s;

    begin(&s, NULL);
    CHECK_EQ(write_behind(&s, manners, WRITERS_MAX, jobs), 2);
    for (int i = 0; i < WRITERS_MAX; i++) {
        check_written(&s, &jobs[i]);
    }
    end(&s);
}

/* A group has to fit into the memtable, too. */
LSM_TEST(a_group_ends_where_the_memtable_does) {
    enum { COUNT = 6 };
    manner manners[COUNT] = {PLAIN, SIZED, SIZED, SIZED, SIZED, SIZED};
    lsmkv_options options;
    job jobs[COUNT];
    scene s;

    lsmkv_options_init(&options);
    options.memory_bytes = 4 << 20;
    options.memtable_bytes = 256 << 10;
    options.blob_threshold_bytes = 1 << 20;
    begin(&s, &options);
    CHECK(write_behind(&s, manners, COUNT, jobs) >= 2);
    for (int i = 0; i < COUNT; i++) {
        check_written(&s, &jobs[i]);
    }
    end(&s);
}

LSM_TEST(who_may_not_wait_is_told_where_others_write) {
    scene s;
    job writer;
    job other = {.s = &s, .manner = NOT_TO_WAIT, .number = 1};

    begin(&s, NULL);
    do {
        write_one(&other);
    } while (other.status == LSMKV_WOULD_BLOCK); /* a background thread has the lock */
    CHECK_EQ(other.status, LSMKV_OK);
    set_gate(true);
    start_job(&s, &writer, PLAIN, 0);
    await_gate();
    write_one(&other); /* somebody is in the queue */
    CHECK_EQ(other.status, LSMKV_WOULD_BLOCK);
    lsm_mutex_lock(&s.db->mu);
    job beside = {.s = &s, .manner = NOT_TO_WAIT, .number = 2};
    CHECK(lsm_thread_start(&beside.thread, write_one, &beside, "beside"));
    lsm_thread_join(&beside.thread); /* not even for the lock */
    lsm_mutex_unlock(&s.db->mu);
    CHECK_EQ(beside.status, LSMKV_WOULD_BLOCK);
    set_gate(false);
    lsm_thread_join(&writer.thread);
    CHECK_EQ(writer.status, LSMKV_OK);
    end(&s);
}

static void drop_space(void *context) {
    job *j = context;
    lsmkv_error err;

    j->status = lsmkv_namespace_drop(j->s->db, (lsmkv_bytes){"space", 5}, &err);
}

/* Who stands behind a drop when it is done writes into a namespace that is gone. */
LSM_TEST(a_writer_behind_a_drop_is_told_that_its_namespace_is_gone) {
    lsmkv_namespace_how how = {.create = true};
    lsmkv_namespace *space = NULL;
    lsmkv_error err;
    scene s;
    job first;
    job drop = {.s = &s};
    job behind[3];

    begin(&s, NULL);
    CHECK_OK(lsmkv_namespace_open(s.db, (lsmkv_bytes){"space", 5}, &how, &space, &err));
    set_gate(true);
    start_job(&s, &first, PLAIN, 0);
    await_gate();
    CHECK(lsm_thread_start(&drop.thread, drop_space, &drop, "drop"));
    while (queued(s.db) < 2) {
        (void)sched_yield();
    }
    for (int i = 0; i < 3; i++) {
        behind[i] = (job){.s = &s,
                          .manner = i == 1 ? GONE : PLAIN,
                          .number = i + 1,
                          .space = i == 1 ? space : NULL};
        CHECK(lsm_thread_start(&behind[i].thread, write_one, &behind[i], "behind"));
        while (queued(s.db) < (size_t)i + 3) {
            (void)sched_yield();
        }
    }
    set_gate(false);
    lsm_thread_join(&first.thread);
    lsm_thread_join(&drop.thread);
    for (int i = 0; i < 3; i++) {
        lsm_thread_join(&behind[i].thread);
    }
    CHECK_EQ(first.status, LSMKV_OK);
    CHECK_EQ(drop.status, LSMKV_OK);
    CHECK_EQ(behind[1].status, LSMKV_INVALID_ARGUMENT);
    check_written(&s, &behind[0]);
    check_written(&s, &behind[2]);
    lsmkv_namespace_free(space);
    end(&s);
}

static void close_it(void *context) {
    job *j = context;
    lsmkv_error err;

    j->status = lsmkv_close(j->s->db, &err);
}

LSM_TEST(a_close_waits_for_who_is_writing_and_another_close_for_the_first) {
    lsmkv_options options;
    lsmkv_error err;
    scene s;
    job writer;
    job closers[2];

    begin(&s, NULL);
    set_gate(true);
    start_job(&s, &writer, PLAIN, 0);
    await_gate();
    for (int i = 0; i < 2; i++) {
        closers[i] = (job){.s = &s};
        CHECK(lsm_thread_start(&closers[i].thread, close_it, &closers[i], "close"));
    }
    while (!atomic_load(&s.db->closing)) {
        (void)sched_yield();
    }
    char key[16];
    CHECK_STATUS(lsmkv_put(s.db, NULL, key_of(key, 1), (lsmkv_bytes){"x", 1}, &err),
                 LSMKV_CLOSED);
    set_gate(false);
    lsm_thread_join(&writer.thread);
    CHECK_EQ(writer.status, LSMKV_OK);
    for (int i = 0; i < 2; i++) {
        lsm_thread_join(&closers[i].thread);
        CHECK_EQ(closers[i].status, LSMKV_OK);
    }
    lsmkv_free(s.db);
    lsmkv_options_init(&options);
    CHECK_OK(open_scene(&s, &options, &err));
    check_written(&s, &writer);
    end(&s);
}

/* Stays inside of a call until the test has seen enough. */
static void stay(void *context, lsmkv_bytes name, const lsmkv_space_options *options) {
    (void)context;
    (void)name;
    (void)options;
    (void)pthread_mutex_lock(&gate.mu);
    gate.at_gate += 1;
    (void)pthread_cond_broadcast(&gate.changed);
    while (gate.stays) {
        (void)pthread_cond_wait(&gate.changed, &gate.mu);
    }
    gate.at_gate -= 1;
    (void)pthread_mutex_unlock(&gate.mu);
}

static void list_spaces(void *context) {
    job *j = context;
    lsmkv_error err;

    j->status = lsmkv_namespace_list(j->s->db, NULL, stay, NULL, &err);
}

static uint64_t active_calls(lsmkv_db *db) {
    lsm_mutex_lock(&db->mu);
    uint64_t count = db->active_calls;
    lsm_mutex_unlock(&db->mu);
    return count;
}

LSM_TEST(a_follower_that_is_being_closed_polls_no_more) {
    lsmkv_namespace_how how = {.create = true};
    lsmkv_namespace *space = NULL;
    lsmkv_options options;
    lsmkv_error err;
    scene writer;
    job reader;
    job closer;

    begin(&writer, NULL);
    CHECK_OK(
        lsmkv_namespace_open(writer.db, (lsmkv_bytes){"a", 1}, &how, &space, &err));
    lsmkv_namespace_free(space);
    scene follower = writer;
    lsmkv_options_init(&options);
    options.follower = true;
    options.follow_interval_ms = 1;
    CHECK_OK(open_scene(&follower, &options, &err));
    gate.stays = true;
    reader = (job){.s = &follower};
    CHECK(lsm_thread_start(&reader.thread, list_spaces, &reader, "reader"));
    await_gate();
    closer = (job){.s = &follower};
    CHECK(lsm_thread_start(&closer.thread, close_it, &closer, "close"));
    while (!atomic_load(&follower.db->closing)) {
        (void)sched_yield();
    }
    while (active_calls(follower.db) > 1) { /* the refresh that had begun */
        (void)sched_yield();
    }
    uint64_t shown = lsm_db_published(follower.db);
    job put = {.s = &writer, .manner = PLAIN, .number = 1};
    write_one(&put);
    CHECK_EQ(put.status, LSMKV_OK);
    lsm_sleep_us(20 * 1000); /* to poll in, if it did */
    CHECK_EQ(lsm_db_published(follower.db), shown);
    (void)pthread_mutex_lock(&gate.mu);
    gate.stays = false;
    (void)pthread_cond_broadcast(&gate.changed);
    (void)pthread_mutex_unlock(&gate.mu);
    lsm_thread_join(&reader.thread);
    lsm_thread_join(&closer.thread);
    CHECK_EQ(reader.status, LSMKV_OK);
    CHECK_EQ(closer.status, LSMKV_OK);
    lsmkv_free(follower.db);
    end(&writer);
}

/* With one of every kind of thread that an open starts. */
static void options_threads(lsmkv_options *options) {
    lsmkv_options_init(options);
    options->memory_bytes = 1 << 20;
    options->background_threads = 3;
    options->durability = LSMKV_DURABILITY_INTERVAL;
    options->sync_interval_ms = 1;
    options->warm_bytes = 1 << 20;
}

/* Opens with the allocation at `at` failing. false: it was over before. */
static bool lack_memory(scene *s, uint64_t at, const lsmkv_options *options) {
    lsmkv_error err;
    uint64_t before = lsm_alloc_count();

    lsm_alloc_fail_after(at, 0);
    lsmkv_status status = open_scene(s, options, &err);
    bool lacked = lsm_alloc_count() - before > at;
    lsm_alloc_fail_never();
    if (status != LSMKV_OK) {
        CHECK(lacked);
        CHECK(status == LSMKV_NO_MEMORY ||
              strstr(err.message, "cannot start a background thread") != NULL);
        CHECK_OK(open_scene(s, options, &err));
    }
    char key[16];
    lsmkv_pin pin;
    CHECK_OK(lsmkv_get(s->db, NULL, key_of(key, 0), &pin, &err));
    lsmkv_pin_release(&pin);
    close_db(s->db);
    return lacked;
}

LSM_TEST(an_open_whose_threads_cannot_be_had_says_so) {
    lsmkv_namespace_how how = {.create = true,
                               .has_max_bytes = true,
                               .options = {.max_bytes = LSMKV_CACHE_BYTES_MIN}};
    lsmkv_namespace *cache = NULL;
    lsmkv_options options;
    lsmkv_error err;
    char key[16];
    scene s;

    options_threads(&options);
    begin(&s, &options);
    CHECK_OK(lsmkv_put(s.db, NULL, key_of(key, 0), (lsmkv_bytes){"x", 1}, &err));
    CHECK_OK(lsmkv_namespace_open(s.db, (lsmkv_bytes){"c", 1}, &how, &cache, &err));
    lsmkv_namespace_free(cache);
    close_db(s.db);
    for (int follower = 0; follower < 2; follower++) {
        options.follower = follower == 1;
        options.follow_interval_ms = follower == 1 ? 1 : 0;
        options.warm_bytes = follower == 1 ? 0 : options.warm_bytes;
        uint64_t at = 0;
        while (lack_memory(&s, at, &options)) {
            at++;
            CHECK(at < PLACES_MAX);
        }
    }
    remove_files(&s);
}
