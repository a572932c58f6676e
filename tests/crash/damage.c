/* SPDX-License-Identifier: Apache-2.0
 *
 * Rot: every bit of every file flipped, every file cut to every length, zeroed from
 * every offset on, removed, and swapped with every other one.
 *
 * The images are what the scripted workloads leave when their process dies, and
 * databases in real directories; and what they leave when they are closed, which is
 * read as a directory that is not trusted. damage_check.c says what a damaged one may
 * do.
 *
 * Before that, bits are flipped under the database that is still open: its verify must
 * report each of them, in the logs as well, and name the file.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "damage.h"
#include "report.h"
#include "sweep.h"
#include "workloads.h"

typedef struct sweep {
    const sweep_request *request;
    const image *im;
    uint64_t number; /* of the case, for the stride */
    uint64_t done;
} sweep;

static uint64_t case_count(const image *im, damage_kind kind, size_t file) {
    switch (kind) {
        case DAMAGE_FLIP:
            return (uint64_t)im->files[file].size * 8;
        case DAMAGE_TRUNCATE:
        case DAMAGE_ZERO:
            return im->files[file].size;
        case DAMAGE_REMOVE:
            return 1;
        case DAMAGE_SWAP:
            return im->file_count;
        case DAMAGE_KIND_COUNT:
            break;
    }
    return 0;
}

static void write_file(lsm_env *disk, const char *name, const uint8_t *bytes,
                       size_t size) {
    if (!lsm_sim_file_write(disk, WORLD_PATH, name, bytes, size)) {
        crash_fail("%s cannot be written", name);
    }
}

/* false: the bytes are what they were. */
static bool apply(const image *im, lsm_env *disk, const damage *d) {
    static uint8_t bytes[1 << 20];
    const image_file *file = &im->files[d->file];
    const image_file *other = &im->files[d->other];
    size_t size = file->size;

    if (size > sizeof(bytes)) {
        crash_fail("%s is too large", file->name);
    }
    memcpy(bytes, file->bytes, size);
    switch (d->kind) {
        case DAMAGE_FLIP:
            bytes[d->at / 8] ^= (uint8_t)(1u << (d->at % 8));
            break;
        case DAMAGE_TRUNCATE:
            size = (size_t)d->at;
            break;
        case DAMAGE_ZERO:
            memset(bytes + d->at, 0, size - (size_t)d->at);
            break;
        case DAMAGE_REMOVE:
            return lsm_sim_file_remove(disk, WORLD_PATH, file->name);
        case DAMAGE_SWAP:
            if (d->other <= d->file) {
                return false;
            }
            write_file(disk, file->name, other->bytes, other->size);
            write_file(disk, other->name, file->bytes, file->size);
            return true;
        case DAMAGE_KIND_COUNT:
            break;
    }
    write_file(disk, file->name, bytes, size);
    return size != file->size || memcmp(bytes, file->bytes, size) != 0;
}

static void run_case(const image *im, const damage *d) {
    static const char *const names[] = {"bit", "length", "zeros from", "removed",
                                        "swapped"};
    uint64_t live = lsm_test_live_allocations();
    lsm_env *disk = lsm_sim_crash(im->env, 1, LSM_CRASH_ALL, 64);

    if (disk == NULL) {
        crash_fail("no memory for a copy of the disk");
    }
    crash_trace("%s: %s %llu of %zu bytes", im->files[d->file].name, names[d->kind],
                (unsigned long long)d->at, im->files[d->file].size);
    if (apply(im, disk, d)) {
        crash_count.runs++;
        if (!im->untrusted) {
            damage_repair(im, disk, d);
        }
        damage_check(im, disk, d);
    }
    lsm_sim_destroy(disk);
    if (lsm_test_live_allocations() != live) {
        crash_fail("%lld allocations were not given back",
                   (long long)(lsm_test_live_allocations() - live));
    }
}

/* Whether the next case is one of those to run; false once the time is up. */
static bool chosen(sweep *s) {
    const sweep_request *r = s->request;
    uint64_t number = s->number++;

    if (r->only) {
        return number == r->at;
    }
    return number % r->stride == r->seed % r->stride &&
           (r->end == 0 || time(NULL) < r->end);
}

static void sweep_image(sweep *s, const char *what) {
    const image *im = s->im;

    for (size_t file = 0; file < im->file_count; file++) {
        for (int kind = 0; kind < DAMAGE_KIND_COUNT; kind++) {
            uint64_t count = case_count(im, (damage_kind)kind, file);
            for (uint64_t at = 0; at < count; at++) {
                damage d = {(damage_kind)kind, file, (size_t)at, at};
                uint64_t number = s->number;
                if (chosen(s)) {
                    crash_set_replay("damage --seed %llu %s --at %llu",
                                     (unsigned long long)s->request->seed, what,
                                     (unsigned long long)number);
                    run_case(im, &d);
                }
            }
        }
    }
}

typedef struct live_flip {
    const char *name;
    uint64_t found;
} live_flip;

static void on_problem(void *context, const lsmkv_error *problem) {
    live_flip *flip = (live_flip *)context;

    flip->found += problem->status == LSMKV_CORRUPTION &&
                   strcmp(problem->file, flip->name) == 0 && problem->offset >= 0;
}

/* Flips bits under the open database, which need not notice but must when asked. */
static void sweep_live(sweep *s, lsmkv_db *db, lsm_env *env) {
    static uint8_t bytes[1 << 20];
    const image *im = s->im;

    for (size_t i = 0; i < im->file_count; i++) {
        const image_file *file = &im->files[i];
        if (strcmp(file->name, "HOTLIST") == 0) {
            continue; /* nothing depends on it */
        }
        for (uint64_t bit = 0; bit < (uint64_t)file->size * 8; bit++) {
            live_flip flip = {file->name, 0};
            lsmkv_report report;
            lsmkv_error err = {0};
            if (!chosen(s)) {
                continue;
            }
            memcpy(bytes, file->bytes, file->size);
            bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            write_file(env, file->name, bytes, file->size);
            crash_need(lsmkv_verify(db, on_problem, &flip, &report, &err), &err,
                       "verify");
            if (image_is_cache(file) && report.problem_count > 0) {
                crash_fail("%s: verify calls damage of a cache a problem", file->name);
            }
            if (flip.found == 0 && !image_is_cache(file)) {
                crash_fail(
                    "%s: verify of the open database misses bit %llu of %zu "
                    "bytes (%llu other problems)",
                    file->name, (unsigned long long)bit, file->size,
                    (unsigned long long)report.problem_count);
            }
            write_file(env, file->name, file->bytes, file->size);
            crash_count.runs++;
        }
    }
}

static lsm_env *copy_of(lsm_env *env) {
    lsm_env *copy = lsm_sim_crash(env, 1, LSM_CRASH_ALL, 64);

    if (copy == NULL) {
        crash_fail("no memory for a copy of the disk");
    }
    return copy;
}

/* Waits until the directory holds nothing but what is live. */
static void tidy_up(world *w) {
    char name[LSM_NAME_SIZE_MAX] = "";

    world_free_views(w);
    world_verify(w);
    if (!lsm_test_files_match(w->db, name)) {
        (void)world_settle(w);
        world_verify(w);
    }
    if (!lsm_test_files_match(w->db, name)) {
        crash_fail("a file too many or too few: %s", name);
    }
}

/* The same once the database was closed: no log has records then. */
static void sweep_untrusted(sweep *s, const world *w, const char *what) {
    lsm_env *disk = copy_of(w->env);
    lsmkv_error err = {0};
    lsmkv_db *db = NULL;
    image im;

    crash_need(lsm_test_open(disk, WORLD_PATH, &w->options, &db, &err), &err, "open");
    crash_need(lsmkv_close(db, &err), &err, "close");
    lsmkv_free(db);
    image_init(&im, disk, &w->options, NULL);
    im.untrusted = true;
    s->im = &im;
    sweep_image(s, what);
    s->im = NULL;
    image_deinit(&im);
}

static void run_workload(sweep *s, size_t index) {
    const sweep_request *r = s->request;
    const workload *load = &workloads[index];
    char what[64];
    profile p;
    world w;
    image im;

    (void)snprintf(what, sizeof(what), "--workload %zu", index);
    crash_set_replay("damage --seed %llu %s", (unsigned long long)r->seed, what);
    workload_profile(load, crash_mix(r->seed, 400 + index), &p);
    world_init(&w, &p);
    (void)world_open(&w);
    load->run(&w);
    (void)world_batch(&w, 4, true);
    (void)world_put(&w, 0, 30, false);
    (void)world_put(&w, 1, 30, false);
    tidy_up(&w);
    image_init(&im, copy_of(w.env), &w.options, &w.model);
    s->im = &im;
    sweep_live(s, w.db, w.env);
    sweep_image(s, what);
    s->im = NULL;
    image_deinit(&im);
    sweep_untrusted(s, &w, what);
    world_deinit(&w);
}

static void run_directory(sweep *s, const char *directory) {
    lsmkv_options options;
    char what[256];
    image im;

    (void)snprintf(what, sizeof(what), "--dir %s", directory);
    lsmkv_options_init(&options);
    options.memory_bytes = 1 << 20;
    options.memtable_bytes = 1 << 16;
    image_init(&im, image_load(directory), &options, NULL);
    s->im = &im;
    sweep_image(s, what);
    s->im = NULL;
    image_deinit(&im);
}

static void report(const sweep *s, const char *name, const crash_counts *before) {
    (void)printf("seed=%llu image=\"%s\" cases=%llu runs=%llu refused=%llu\n",
                 (unsigned long long)s->request->seed, name,
                 (unsigned long long)s->number,
                 (unsigned long long)(crash_count.runs - before->runs),
                 (unsigned long long)(crash_count.failures - before->failures));
    (void)fflush(stdout);
    crash_count.seeds++;
}

void damage_run(const sweep_request *request) {
    sweep_request r = *request;

    r.end = r.seconds == 0 ? 0 : time(NULL) + (time_t)r.seconds;
    for (size_t i = 0; r.path == NULL && i < workload_count; i++) {
        if (r.workload < 0 || (size_t)r.workload == i) {
            crash_counts before = crash_count;
            sweep s = {.request = &r};
            run_workload(&s, i);
            report(&s, workloads[i].name, &before);
        }
    }
    if (r.path != NULL) {
        crash_counts before = crash_count;
        sweep s = {.request = &r};
        run_directory(&s, r.path);
        report(&s, r.path, &before);
    }
}
