/* SPDX-License-Identifier: Apache-2.0
 *
 * SIGKILL on the real file system. Each cycle forks a child that opens the directory
 * and writes from several threads; the parent kills it after a random time, opens the
 * directory itself and checks it. What a process crash may lose is nothing: each write
 * that returned is there.
 *
 * Thread t writes the commits i = 1, 2, 3, ...; commit i is a batch of one put or
 * delete, both derived from (t, i), and "head of t" = i. So the head that is found
 * tells how far the thread came, and with it everything else that must be there:
 *   acknowledged <= head <= begun.
 * The counters live in memory shared with the child, which a kill does not undo.
 */
#include "kill.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "api/testing.h"
#include "base/rng.h"
#include "env/sync.h"
#include "report.h"

enum {
    THREADS = 3,
    KEYS = 300,
    KEY_SIZE = 32,
    VALUE_MAX = 1 << 15,
    VALUE_HEAD = 16, /* commit, hash */
    CHILD_FAILED = 3,
};

typedef struct progress {
    _Atomic uint64_t begun;
    _Atomic uint64_t acknowledged;
} progress;

typedef struct shared {
    progress threads[THREADS];
    _Atomic uint32_t opened;
} shared;

typedef struct writer {
    lsmkv_db *db;
    shared *memory;
    uint64_t first; /* commit */
    uint32_t thread;
} writer;

/* What the directory holds, as far as is known. */
typedef struct ledger {
    uint64_t heads[THREADS];
    uint64_t newest[THREADS][KEYS]; /* commit of the live value; 0: none */
} ledger;

static uint64_t draw(uint32_t thread, uint64_t commit) {
    return crash_mix(commit, thread + 1);
}

static uint32_t key_of(uint64_t d) {
    return (uint32_t)(d % KEYS);
}

static int is_delete(uint64_t d) {
    return d / KEYS % 8 == 0;
}

static size_t size_of(uint64_t d) {
    uint64_t room = d / 65536 % 64 == 0 ? VALUE_MAX - VALUE_HEAD : 300;
    return VALUE_HEAD + (size_t)(d / 4194304 % room);
}

static lsmkv_bytes make_key(char to[KEY_SIZE], uint32_t thread, uint32_t key) {
    int size = snprintf(to, KEY_SIZE, "t%u/%05u", thread, key);
    return (lsmkv_bytes){to, (size_t)size};
}

static lsmkv_bytes make_head_key(char to[KEY_SIZE], uint32_t thread) {
    int size = snprintf(to, KEY_SIZE, "head/%u", thread);
    return (lsmkv_bytes){to, (size_t)size};
}

static void make_value(uint8_t *to, uint64_t d, uint64_t commit) {
    size_t size = size_of(d) - VALUE_HEAD;
    uint64_t hash;

    memset(to + VALUE_HEAD, (int)(d & 0xff), size);
    hash = crash_hash(to + VALUE_HEAD, size, commit);
    memcpy(to, &commit, sizeof(commit));
    memcpy(to + sizeof(commit), &hash, sizeof(hash));
}

/* In the child: any failure ends it with a status that the parent reports. */
static void child_need(lsmkv_status status, const lsmkv_error *err, const char *what) {
    if (status != LSMKV_OK) {
        (void)fprintf(stderr, "child: %s: %s: %s\n", what, lsmkv_status_name(status),
                      err->message);
        _exit(CHILD_FAILED);
    }
}

static void write_commit(writer *w, lsmkv_batch *batch, uint8_t *buffer,
                         uint64_t commit) {
    lsmkv_error err = {0};
    uint64_t d = draw(w->thread, commit);
    lsmkv_write how = {.sync = d / 1048576 % 64 == 0};
    lsmkv_bytes head = {&commit, sizeof(commit)};
    char key[KEY_SIZE];
    char head_key[KEY_SIZE];

    lsmkv_batch_clear(batch);
    if (is_delete(d)) {
        child_need(
            lsmkv_batch_delete(batch, NULL, make_key(key, w->thread, key_of(d)), &err),
            &err, "batch_delete");
    } else {
        make_value(buffer, d, commit);
        child_need(lsmkv_batch_put(batch, NULL, make_key(key, w->thread, key_of(d)),
                                   (lsmkv_bytes){buffer, size_of(d)}, &err),
                   &err, "batch_put");
    }
    child_need(
        lsmkv_batch_put(batch, NULL, make_head_key(head_key, w->thread), head, &err),
        &err, "batch_put");
    atomic_store(&w->memory->threads[w->thread].begun, commit);
    child_need(lsmkv_write_batch(w->db, &how, batch, &err), &err, "write");
    atomic_store(&w->memory->threads[w->thread].acknowledged, commit);
    if (d / 33 % 1024 == 0) {
        child_need(lsmkv_flush(w->db, &err), &err, "flush");
    } else if (d / 33 % 2048 == 1) {
        child_need(lsmkv_compact(w->db, NULL, NULL, &err), &err, "compact");
    }
}

static void write_on(void *context) {
    writer *w = (writer *)context;
    uint8_t *buffer = (uint8_t *)crash_alloc(VALUE_MAX);
    lsmkv_batch *batch = NULL;
    lsmkv_error err = {0};

    child_need(lsmkv_batch_create(&batch, &err), &err, "batch_create");
    for (uint64_t commit = w->first;; commit++) {
        write_commit(w, batch, buffer, commit);
    }
}

static void open_directory(const kill_request *r, uint64_t seed, lsmkv_db **dbp,
                           lsmkv_error *err, lsmkv_status *status) {
    lsmkv_options options;

    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 22;
    options.memtable_bytes = (uint64_t)1 << (13 + seed % 6);
    options.table_bytes = (uint64_t)1 << (13 + seed / 8 % 6);
    options.level_base_bytes = 1 << 16;
    options.level_multiplier = 4;
    options.background_threads = 1 + (uint32_t)(seed / 64 % 4);
    *status = lsmkv_open(r->path, &options, dbp, err);
}

static void be_child(const kill_request *r, uint64_t seed, shared *memory,
                     const ledger *l) {
    static writer writers[THREADS];
    static lsm_thread threads[THREADS];
    lsmkv_error err = {0};
    lsmkv_status status;
    lsmkv_db *db = NULL;

    open_directory(r, seed, &db, &err, &status);
    child_need(status, &err, "open");
    atomic_store(&memory->opened, 1);
    for (uint32_t t = 0; t < THREADS; t++) {
        writers[t] = (writer){db, memory, l->heads[t] + 1, t};
        if (!lsm_thread_start(&threads[t], write_on, &writers[t], "writer")) {
            _exit(CHILD_FAILED);
        }
    }
    for (;;) {
        (void)pause();
    }
}

static void sleep_us(uint64_t us) {
    struct timespec time = {(time_t)(us / 1000000), (long)(us % 1000000 * 1000)};

    (void)nanosleep(&time, NULL);
}

static void run_child(const kill_request *r, uint64_t seed, shared *memory,
                      const ledger *l) {
    lsm_rng rng = {seed};
    bool early = lsm_rng_below(&rng, 8) == 0;
    pid_t child = fork();
    int outcome = 0;

    if (child < 0) {
        crash_fail("fork failed");
    }
    if (child == 0) {
        be_child(r, seed, memory, l);
    }
    while (!early && atomic_load(&memory->opened) == 0 &&
           waitpid(child, &outcome, WNOHANG) == 0) {
        sleep_us(100);
    }
    sleep_us(lsm_rng_below(&rng, early ? 3000 : 20000));
    if (kill(child, SIGKILL) != 0 || waitpid(child, &outcome, 0) != child ||
        !WIFSIGNALED(outcome) || WTERMSIG(outcome) != SIGKILL) {
        crash_fail("the writing process ended on its own, status %d", outcome);
    }
    crash_count.kills++;
}

static void advance(ledger *l, uint32_t thread, uint64_t head) {
    for (uint64_t i = l->heads[thread] + 1; i <= head; i++) {
        uint64_t d = draw(thread, i);
        l->newest[thread][key_of(d)] = is_delete(d) ? 0 : i;
        crash_count.ops++;
    }
    l->heads[thread] = head;
}

static void check_head(lsmkv_db *db, ledger *l, const shared *memory, uint32_t thread) {
    lsmkv_error err = {0};
    lsmkv_pin pin = {0};
    char key[KEY_SIZE];
    uint64_t head = 0;
    uint64_t low = atomic_load(&memory->threads[thread].acknowledged);
    uint64_t high = atomic_load(&memory->threads[thread].begun);
    lsmkv_status status = lsmkv_get(db, NULL, make_head_key(key, thread), &pin, &err);

    low = low > l->heads[thread] ? low : l->heads[thread];
    high = high > l->heads[thread] ? high : l->heads[thread];
    if (status != LSMKV_NOT_FOUND) {
        crash_need(status, &err, "get");
        memcpy(&head, pin.value.data, sizeof(head));
        lsmkv_pin_release(&pin);
    }
    if (head < low || head > high) {
        crash_fail(
            "thread %u: commit %llu is the last one there, acknowledged %llu, "
            "begun %llu",
            thread, (unsigned long long)head, (unsigned long long)low,
            (unsigned long long)high);
    }
    advance(l, thread, head);
}

static void check_row(const ledger *l, uint32_t thread, uint32_t key,
                      lsmkv_bytes value) {
    static uint8_t expected[VALUE_MAX];
    uint64_t commit = l->newest[thread][key];
    uint64_t d = draw(thread, commit);
    uint64_t found = 0;

    if (value.size >= VALUE_HEAD) {
        memcpy(&found, value.data, sizeof(found));
    }
    if (commit == 0 || found != commit || value.size != size_of(d)) {
        crash_fail("thread %u key %u: holds commit %llu, expected %llu", thread, key,
                   (unsigned long long)found, (unsigned long long)commit);
    }
    make_value(expected, d, commit);
    if (memcmp(expected, value.data, value.size) != 0) {
        crash_fail("thread %u key %u: wrong bytes of commit %llu", thread, key,
                   (unsigned long long)commit);
    }
}

static void check_rows(lsmkv_db *db, const ledger *l) {
    lsmkv_error err = {0};
    lsmkv_iter *iter = NULL;
    char key[KEY_SIZE];

    crash_need(lsmkv_iter_create(db, NULL, NULL, &iter, &err), &err, "iter_create");
    crash_need(lsmkv_iter_seek(iter, (lsmkv_bytes){"t", 1}, &err), &err, "seek");
    for (uint32_t t = 0; t < THREADS; t++) {
        for (uint32_t k = 0; k < KEYS; k++) {
            lsmkv_bytes expected = make_key(key, t, k);
            lsmkv_bytes found;

            if (l->newest[t][k] == 0) {
                continue;
            }
            found =
                lsmkv_iter_valid(iter) ? lsmkv_iter_key(iter) : (lsmkv_bytes){"", 0};
            if (found.size != expected.size ||
                memcmp(found.data, expected.data, found.size) != 0) {
                crash_fail("thread %u key %u is missing, commit %llu", t, k,
                           (unsigned long long)l->newest[t][k]);
            }
            check_row(l, t, k, lsmkv_iter_value(iter));
            crash_count.reads++;
            crash_need(lsmkv_iter_next(iter, &err), &err, "next");
        }
    }
    if (lsmkv_iter_valid(iter)) {
        crash_fail("a key that should not be there");
    }
    lsmkv_iter_free(iter);
}

static void on_problem(void *context, const lsmkv_error *problem) {
    (void)context;
    crash_trace("verify: %s at %lld: %s", problem->file, (long long)problem->offset,
                problem->message);
}

static void check_directory(const kill_request *r, uint64_t seed, ledger *l,
                            const shared *memory) {
    lsmkv_error err = {0};
    lsmkv_report report = {0};
    lsmkv_status status;
    lsmkv_db *db = NULL;

    open_directory(r, seed, &db, &err, &status);
    crash_need(status, &err, "open after a kill");
    for (uint32_t t = 0; t < THREADS; t++) {
        check_head(db, l, memory, t);
    }
    check_rows(db, l);
    if (seed % 8 == 0) {
        crash_need(lsmkv_verify(db, on_problem, NULL, &report, &err), &err, "verify");
        if (report.problem_count != 0) {
            crash_fail("verify found problems after a kill");
        }
    }
    if (seed % 2 == 0) {
        crash_need(lsmkv_close(db, &err), &err, "close");
        lsmkv_free(db);
    } else {
        lsm_test_abandon(db);
    }
}

void kill_run(const kill_request *r) {
    static ledger l;
    void *mapping = mmap(NULL, sizeof(shared), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared *memory = (shared *)mapping;

    if (mapping == MAP_FAILED) {
        crash_fail("no shared memory");
    }
    crash_set_replay("kill --dir DIR --seed %llu --cycles %llu",
                     (unsigned long long)r->seed, (unsigned long long)r->cycles);
    for (uint64_t i = 0; i < r->cycles; i++) {
        uint64_t seed = crash_mix(r->seed, i);
        atomic_store(&memory->opened, 0);
        run_child(r, seed, memory, &l);
        check_directory(r, seed, &l, memory);
        crash_trace("cycle %llu: heads %llu %llu %llu", (unsigned long long)i,
                    (unsigned long long)l.heads[0], (unsigned long long)l.heads[1],
                    (unsigned long long)l.heads[2]);
    }
    (void)munmap(mapping, sizeof(shared));
}
