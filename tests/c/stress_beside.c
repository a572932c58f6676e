/* SPDX-License-Identifier: Apache-2.0
 *
 * Other openings of the directory while the writer changes it (views, followers,
 * checkpoints), and the calls that keep a database in order.
 */
#include "stress_help.h"

#include <dirent.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

/* Opens the directory for reading only while the writer changes it. */
void stress_view_pairs(void *context) {
    actor *a = (actor *)context;

    while (!lsmkv_is_closed(a->db)) {
        uint64_t low[PAIRS];
        uint64_t found[PAIRS] = {0};
        lsmkv_options options;
        lsmkv_error err = {0};
        lsmkv_db *view = NULL;

        lsmkv_options_init(&options);
        options.read_only = true;
        options.memory_bytes = 1 << 20;
        stress_note_acknowledged(low);
        lsmkv_status status = lsmkv_open(stress_directory, &options, &view, &err);
        if (status == LSMKV_OK) {
            status =
                stress_scan(view, NULL, lsm_rng_below(&a->rng, 2) == 0, found, &err);
        }
        if (status == LSMKV_OK) {
            for (size_t i = 0; i < PAIRS; i++) {
                stress_check_version(a, i, low[i], found[i]);
            }
            atomic_fetch_add(&stress_total.views, 1);
        } else if (status != LSMKV_CHANGED) {
            (void)go_on(status, &err, "view");
        }
        lsmkv_free(view);
    }
}

/* Has a follower open for as long as the writer is, and moves it on. */
void stress_follow_pairs(void *context) {
    actor *a = (actor *)context;
    lsmkv_options options;
    lsmkv_error err = {0};
    lsmkv_db *follower = NULL;

    lsmkv_options_init(&options);
    options.follower = true;
    options.follow_interval_ms = (uint32_t)lsm_rng_below(&a->rng, 2) * 3;
    options.memory_bytes = 1 << 20;
    lsmkv_status status = lsmkv_open(stress_directory, &options, &follower, &err);
    if (status != LSMKV_CHANGED) {
        (void)go_on(status, &err, "follower");
    }
    while (follower != NULL && !lsmkv_is_closed(a->db)) {
        uint64_t low[PAIRS];
        uint64_t found[PAIRS] = {0};
        bool changed = false;
        stress_note_acknowledged(low);
        status = lsmkv_refresh(follower, &changed, &err);
        if (status == LSMKV_OK) {
            status = stress_scan(follower, NULL, lsm_rng_below(&a->rng, 2) == 0, found,
                                 &err);
        }
        if (status == LSMKV_OK) {
            for (size_t i = 0; i < PAIRS; i++) {
                stress_check_version(a, i, low[i], found[i]);
            }
            atomic_fetch_add(&stress_total.refreshes, 1);
        } else if (status != LSMKV_CHANGED) {
            (void)go_on(status, &err, "refresh");
        }
    }
    lsmkv_free(follower);
}

static void remove_directory(const char *path) {
    char name[PATH_SIZE + sizeof(((struct dirent *)NULL)->d_name)];
    DIR *stream = opendir(path);
    const struct dirent *entry;

    while (stream != NULL && (entry = readdir(stream)) != NULL) {
        (void)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        (void)unlink(name);
    }
    if (stream != NULL) {
        (void)closedir(stream);
    }
    (void)rmdir(path);
}

static void on_problem(void *context, const lsmkv_error *problem) {
    (void)context;
    fail("verify: %s at %lld: %s", problem->file, (long long)problem->offset,
         problem->message);
}

/* Makes checkpoints and reads what is in them. */
void stress_copy_pairs(void *context) {
    actor *a = (actor *)context;
    char path[PATH_SIZE];
    bool open = true;

    (void)snprintf(path, sizeof(path), "%s/checkpoint", stress_directory);
    while (open) {
        uint64_t low[PAIRS];
        uint64_t found[PAIRS] = {0};
        lsmkv_error err = {0};
        lsmkv_options options;
        lsmkv_report report = {0};
        lsmkv_db *copy = NULL;

        lsmkv_options_init(&options);
        options.read_only = lsm_rng_below(&a->rng, 2) == 0;
        options.memory_bytes = 1 << 20;
        remove_directory(path);
        stress_note_acknowledged(low);
        open = go_on(lsmkv_checkpoint(a->db, path, &err), &err, "checkpoint");
        if (!open) {
            break;
        }
        if (lsmkv_open(path, &options, &copy, &err) != LSMKV_OK ||
            lsmkv_verify(copy, on_problem, NULL, &report, &err) != LSMKV_OK ||
            stress_scan(copy, NULL, false, found, &err) != LSMKV_OK) {
            fail("a checkpoint: %s", err.message);
        }
        for (size_t i = 0; i < PAIRS; i++) {
            stress_check_version(a, i, low[i], found[i]);
        }
        lsmkv_free(copy);
        atomic_fetch_add(&stress_total.checkpoints, 1);
        sleep_us(lsm_rng_below(&a->rng, 50000));
    }
    remove_directory(path);
}

static void sum_counts(void *context, lsmkv_bytes name,
                       const lsmkv_space_stats *stats) {
    (void)name;
    *(uint64_t *)context += stats->hits;
}

/* Reads the counts of all namespaces while others add to them. */
static lsmkv_status read_counts(lsmkv_db *db, lsmkv_error *err) {
    uint64_t hits = 0;

    lsmkv_count(db, NULL, LSMKV_COUNT_COMPUTED, 1);
    return lsmkv_space_stats_list(db, sum_counts, &hits, err);
}

static void sum_tables(void *context, const lsmkv_table_info *table) {
    *(uint64_t *)context += table->entry_count + table->first.key.size;
}

void stress_maintain(void *context) {
    actor *a = (actor *)context;
    lsmkv_error err = {0};
    bool open = true;

    while (open) {
        lsmkv_stats stats = {0};
        lsmkv_memory memory = {0};
        lsmkv_report report = {0};
        lsmkv_histogram histogram;
        lsmkv_status status = LSMKV_OK;
        uint64_t count = 0;

        switch (lsm_rng_below(&a->rng, 16)) {
            case 0:
                status = lsmkv_compact(a->db, NULL, NULL, &err);
                break;
            case 1:
                status = lsmkv_verify(a->db, on_problem, NULL, &report, &err);
                break;
            case 2:
            case 3:
                status = lsmkv_flush(a->db, &err);
                break;
            case 4:
                status = lsmkv_settle(a->db, &err);
                break;
            case 5:
            case 6:
                status = lsmkv_sync(a->db, &err);
                break;
            case 7:
                status = lsmkv_get_memory(a->db, &memory, &err);
                break;
            case 8:
                status = lsmkv_approximate_count(a->db, NULL, NULL, &count, &err);
                break;
            case 9:
                status = read_counts(a->db, &err);
                break;
            case 10:
                status = lsmkv_get_latency(
                    a->db,
                    (lsmkv_latency_kind)lsm_rng_below(&a->rng, LSMKV_LATENCY_KINDS),
                    &histogram, &err);
                break;
            case 11:
                status = lsmkv_tables_list(a->db, sum_tables, &count, &err);
                break;
            default:
                status = lsmkv_get_stats(a->db, &stats, &err);
                sleep_us(lsm_rng_below(&a->rng, 2000));
                break;
        }
        open = go_on(status, &err, "maintenance");
        atomic_fetch_add(&stress_total.maintenance, 1);
    }
}
