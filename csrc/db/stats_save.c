/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing the statistics file, for whoever watches from another process: after a moment
 * and then every stats_interval_ms, if a figure has changed, and at the end. It has a
 * thread of its own, because what one wants to see is what the workers are busy with,
 * or held up by; in the simulator it is done on the way to other steps.
 *
 * One small file is written over in place. It is not renamed into its place nor synced,
 * so it costs a copy of some KiB, and whoever reads it may meet half of either: the
 * checksum tells, and the next reading finds a whole one.
 *
 * No failure of it is anybody's concern: it is tried again later and later, in a new
 * file. Neither is time: where gathering takes long, as it may with very many
 * namespaces or tables, it is done so seldom that it stays below a share of the time.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/xxh3.h"
#include "db/catalog.h"
#include "db/db.h"
#include "format/filename.h"
#include "format/stats_text.h"

enum {
    FIRST_US = 100 * 1000, /* from the opening to the first one, at most */
    US_PER_MS = 1000,
    SHARE = 50, /* the time between two is so many times what one takes */
    DOUBLINGS_MAX = 6,
};

typedef struct lsm_stats_save {
    lsmkv_db *db;
    lsm_file *file; /* owned; NULL: the next one creates it */
    uint64_t size;  /* of what was written to it */
    uint64_t print; /* of the figures in it */
    uint64_t due_us;
    uint64_t pid, start; /* of this process */
    uint32_t failures;   /* in a row */
    lsm_thread thread;
} lsm_stats_save;

static uint64_t interval_us(const lsmkv_db *db) {
    return (uint64_t)db->options.given.stats_interval_ms * US_PER_MS;
}

/* A namespace, and how often it was asked. */
typedef struct traffic {
    lsm_space *space; /* one reference */
    uint64_t lookups;
} traffic;

typedef struct traffic_list {
    traffic *list; /* owned */
    size_t count;
} traffic_list;

static int compare_traffic(const void *a, const void *b) {
    const traffic *left = a;
    const traffic *right = b;

    return left->lookups != right->lookups
               ? lsm_compare_u64(right->lookups, left->lookups)
               : lsm_compare_u64(left->space->id, right->space->id);
}

/* All namespaces with a name, those asked most first. false: no memory. */
static bool rank_spaces(lsmkv_db *db, traffic_list *all) {
    size_t count;
    lsm_space **spaces = lsm_catalog_living(db, &count);

    all->list = lsm_calloc(count + 1, sizeof(*all->list));
    for (size_t i = 0; i < count; i++) {
        if (all->list == NULL) {
            lsm_space_unref(spaces[i]);
            continue;
        }
        lsmkv_space_stats counted;
        lsm_space_counters_sum(&spaces[i]->counters, &counted);
        all->list[all->count++] = (traffic){spaces[i], counted.hits + counted.misses};
    }
    bool ok = spaces != NULL && all->list != NULL;
    lsm_free(spaces);
    if (ok) {
        qsort(all->list, all->count, sizeof(*all->list), compare_traffic);
    }
    return ok;
}

static void forget_spaces(traffic_list *all) {
    for (size_t i = 0; i < all->count; i++) {
        lsm_space_unref(all->list[i].space);
    }
    lsm_free(all->list);
}

/* Borrows the names from the list. */
static void gather(lsmkv_db *db, const traffic_list *all, lsm_stats_report *report) {
    lsm_db_stats(db, &report->stats);
    lsm_db_memory(db, &report->memory);
    for (int kind = 0; kind < LSMKV_LATENCY_KINDS; kind++) {
        lsm_latency_read(&db->latencies, (lsmkv_latency_kind)kind,
                         &report->latencies[kind]);
    }
    report->space_count = 1 + all->count;
    report->listed = 1;
    lsm_space_stats(db, &db->default_space, &report->spaces[0].stats);
    for (size_t i = 0; i < all->count && report->listed < LSM_STATS_SPACES_MAX; i++) {
        lsm_stats_space *to = &report->spaces[report->listed++];
        to->name = lsm_space_name_bytes(&all->list[i].space->name);
        lsm_space_stats(db, all->list[i].space, &to->stats);
    }
}

/* The whole text, and where in it the figures begin. false: no memory. */
static bool compose(const lsm_stats_save *save, bool closes, lsm_buf *text,
                    size_t *figures) {
    lsmkv_db *db = save->db;
    traffic_list all = {0};
    lsm_stats_report *report = lsm_calloc(1, sizeof(*report));
    lsm_stats_head head = {
        .time_ms = lsm_env_now_ms(db->env),
        .pid = save->pid,
        .start = save->start,
        .uptime_ms = (lsm_env_monotonic_us(db->env) - db->opened_us) / US_PER_MS,
        .interval_ms = (uint64_t)db->options.given.stats_interval_ms,
    };
    bool ok = report != NULL && rank_spaces(db, &all);

    if (ok) {
        gather(db, &all, report);
        if (closes) {
            report->stats.state = LSM_STATE_CLOSED;
        }
        ok = lsm_stats_text_head(&head, text);
        *figures = text->size;
        ok = ok && lsm_stats_text_figures(report, text);
    }
    forget_spaces(&all);
    lsm_free(report);
    return ok;
}

static lsmkv_status write_text(lsm_stats_save *save, lsm_slice text) {
    lsmkv_status status = LSMKV_OK;
    lsm_dir *dir = save->db->dir;

    if (save->file == NULL) {
        status = lsm_dir_unlink(dir, LSM_STATS_NAME, NULL);
        if (status != LSMKV_OK && status != LSMKV_NOT_FOUND) {
            return status;
        }
        save->size = 0;
        LSM_TRY(lsm_file_open(dir, LSM_STATS_NAME, LSM_OPEN_SPARE, &save->file, NULL));
    }
    LSM_TRY(lsm_file_write_at(save->file, 0, &text, 1, NULL));
    if (text.size < save->size) {
        LSM_TRY(lsm_file_truncate(save->file, text.size, NULL));
    }
    save->size = text.size;
out:
    if (status != LSMKV_OK) {
        lsm_file_drop(save->file);
        save->file = NULL;
    }
    return status;
}

/* Writes them if they are others than the last time. false: it could not be done. */
static bool save_figures(lsm_stats_save *save, bool closes) {
    lsm_buf text = {0};
    size_t figures = 0;
    bool ok = compose(save, closes, &text, &figures);

    if (ok) {
        uint64_t print = lsm_xxh3(text.data + figures, text.size - figures);
        if (save->file == NULL || print != save->print) {
            ok = lsm_stats_text_end(&text) &&
                 write_text(save, lsm_buf_slice(&text)) == LSMKV_OK;
            save->print = print;
        }
    }
    lsm_buf_deinit(&text);
    return ok;
}

static void save_now(lsm_stats_save *save) {
    const lsmkv_db *db = save->db;
    uint64_t begun = lsm_env_monotonic_us(db->env);

    save->failures = save_figures(save, false) ? 0 : save->failures + 1;
    uint64_t now = lsm_env_monotonic_us(db->env);
    uint64_t wait = interval_us(db) << (save->failures < DOUBLINGS_MAX ? save->failures
                                                                       : DOUBLINGS_MAX);
    uint64_t least = (now - begun) * SHARE;
    save->due_us = now + (wait > least ? wait : least);
}

static void run(void *context) {
    lsm_stats_save *save = context;
    lsmkv_db *db = save->db;

    lsm_thread_lower();
    lsm_mutex_lock(&db->mu);
    while (!atomic_load(&db->stopping)) {
        uint64_t now = lsm_env_monotonic_us(db->env);
        if (now < save->due_us) {
            (void)lsm_cond_wait_us(&db->work, &db->mu, save->due_us - now);
            continue;
        }
        lsm_mutex_unlock(&db->mu);
        save_now(save);
        lsm_mutex_lock(&db->mu);
    }
    lsm_mutex_unlock(&db->mu);
}

void lsm_stats_save_start(lsmkv_db *db) {
    uint64_t first = interval_us(db) < FIRST_US ? interval_us(db) : FIRST_US;
    lsm_stats_save *save = first == 0 ? NULL : lsm_calloc(1, sizeof(*save));

    if (save == NULL) {
        return;
    }
    save->db = db;
    save->due_us = db->opened_us + first;
    lsm_env_process(db->env, &save->pid, &save->start);
    db->stats_save = save;
    if (db->threaded && !lsm_thread_start(&save->thread, run, save, "lsmkv-stats")) {
        lsm_stats_save_end(db);
    }
}

void lsm_stats_save_step(lsmkv_db *db) {
    lsm_stats_save *save = db->stats_save;

    if (save != NULL && lsm_env_monotonic_us(db->env) >= save->due_us) {
        save_now(save);
    }
}

void lsm_stats_save_stop(lsmkv_db *db) {
    if (db->stats_save != NULL) {
        lsm_thread_join(&db->stats_save->thread);
    }
}

void lsm_stats_save_last(lsmkv_db *db) {
    if (db->stats_save != NULL) {
        (void)save_figures(db->stats_save, true);
    }
}

void lsm_stats_save_end(lsmkv_db *db) {
    if (db->stats_save != NULL) {
        lsm_file_drop(db->stats_save->file);
        lsm_free(db->stats_save);
        db->stats_save = NULL;
    }
}
