/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: picks that are carried out, several at a time and finished in any order, keep
 * every version legal, never share an input, never let an older value come before a
 * newer one, and come to rest with every level within its target. Method: a model
 * database whose tables are arrays of (key, sequence); every merge is done for real.
 * Seeds are in the source; a failure names its seed.
 */
#include "version_help.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "db/compact_pick.h"

enum {
    KEY_COUNT = 2048,
    TABLE_MAX = 40000, /* numbers ever given out */
    JOB_MAX = 3,
    FLUSH_ENTRIES = 40,
    ENTRY_BYTES = 16,
    SEED_COUNT = 60,
    STEP_COUNT = 600,
    PICKS_TO_REST = 20000,
};

typedef struct entry {
    uint32_t key;
    uint32_t sequence;
    bool dead;
} entry;

typedef struct content {
    entry *entries; /* owned; ascending keys */
    size_t count;
} content;

typedef struct running_job {
    bool active;
    bool manual;
    lsm_pick pick;
    lsm_version *version; /* one reference; the pick borrows from it */
} running_job;

typedef struct world {
    lsm_rng rng;
    lsm_options options;
    count_sink sink;
    lsm_version *version;
    content *contents; /* by number; owned */
    uint64_t next_number;
    uint32_t sequence;
    entry newest[KEY_COUNT]; /* what a reader must see; sequence 0: never written */
    running_job jobs[JOB_MAX];
    uint64_t moves, merges, manuals, refusals;
} world;

static int compare_entries(const void *left, const void *right) {
    const entry *a = left;
    const entry *b = right;
    if (a->key != b->key) {
        return a->key < b->key ? -1 : 1;
    }
    return (a->sequence < b->sequence) - (a->sequence > b->sequence);
}

static void make_key(word_key *key, uint32_t number, uint32_t sequence) {
    char word[8];

    (void)snprintf(word, sizeof(word), "%05u", (unsigned)number);
    word_key_make(key, word, sequence);
}

/* Adds a table of these entries to the edit and keeps them. */
static void add_content(world *w, lsm_edit *edit, uint32_t level, const entry *entries,
                        size_t count) {
    word_table table = {0};
    lsm_table_info *info = &table.info;

    CHECK(count > 0 && w->next_number < TABLE_MAX);
    make_key(&table.smallest, entries[0].key, entries[0].sequence);
    make_key(&table.largest, entries[count - 1].key, entries[count - 1].sequence);
    info->smallest = word_ikey(&table.smallest);
    info->largest = word_ikey(&table.largest);
    info->number = w->next_number++;
    info->file_size = count * ENTRY_BYTES;
    info->tail_size = ENTRY_BYTES;
    info->entry_count = count;
    info->sequence_min = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        uint64_t sequence = entries[i].sequence;
        info->tombstone_count += entries[i].dead;
        info->sequence_min =
            sequence < info->sequence_min ? sequence : info->sequence_min;
        info->sequence_max =
            sequence > info->sequence_max ? sequence : info->sequence_max;
    }
    content *kept = &w->contents[info->number];
    kept->entries = lsm_calloc(count, sizeof(*entries));
    CHECK(kept->entries != NULL);
    memcpy(kept->entries, entries, count * sizeof(*entries));
    kept->count = count;
    CHECK(lsm_edit_add_table(edit, level, info));
}

static void apply(world *w, lsm_edit *edit) {
    w->version = version_next(w->version, edit, &w->sink);
    CHECK(version_is_legal(w->version));
}

/* How a phase writes. */
typedef enum habit { SPREAD, SEQUENTIAL, NARROW, DELETING, HABIT_COUNT } habit;

static uint32_t next_key(world *w, habit how, uint32_t start, uint32_t index) {
    switch (how) {
        case SEQUENTIAL:
            return (start + index) % KEY_COUNT;
        case NARROW:
            return (start + (uint32_t)lsm_rng_below(&w->rng, 64)) % KEY_COUNT;
        case SPREAD:
        case DELETING:
        case HABIT_COUNT:
            break;
    }
    return (uint32_t)lsm_rng_below(&w->rng, KEY_COUNT);
}

/* A memtable's worth of writes becomes a table of level 0. */
static void flush(world *w, habit how) {
    entry entries[FLUSH_ENTRIES];
    uint32_t start = how == SEQUENTIAL ? w->sequence % KEY_COUNT
                                       : (uint32_t)lsm_rng_below(&w->rng, KEY_COUNT);
    size_t wanted = 1 + (size_t)lsm_rng_below(&w->rng, FLUSH_ENTRIES);
    size_t count = 0;
    lsm_edit edit;

    for (uint32_t i = 0; i < wanted; i++) {
        bool dead = lsm_rng_below(&w->rng, 10) < (how == DELETING ? 9 : 1);
        entries[i] = (entry){next_key(w, how, start, i), ++w->sequence, dead};
        w->newest[entries[i].key] = entries[i];
    }
    qsort(entries, wanted, sizeof(entry), compare_entries);
    for (size_t i = 0; i < wanted; i++) {
        if (i == 0 || entries[i].key != entries[i - 1].key) {
            entries[count++] = entries[i];
        }
    }
    lsm_edit_init(&edit);
    add_content(w, &edit, 0, entries, count);
    apply(w, &edit);
}

static void mark_inputs(const lsm_pick *pick, bool busy) {
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < pick->input_counts[side]; i++) {
            CHECK(pick->inputs[side][i]->compacting != busy);
            pick->inputs[side][i]->compacting = busy;
        }
    }
}

static lsmkv_status pick_manual(world *w, lsm_pick *pick) {
    lsm_key_range range = {0};
    word_key from;
    word_key to;
    lsmkv_error err;
    uint32_t low = (uint32_t)lsm_rng_below(&w->rng, KEY_COUNT);
    uint32_t high = low + (uint32_t)lsm_rng_below(&w->rng, KEY_COUNT / 4);
    uint32_t level = (uint32_t)lsm_rng_below(&w->rng, LSMKV_LEVEL_COUNT);

    make_key(&from, low, 1);
    make_key(&to, high, 1);
    range.smallest = word_skey(&from);
    range.largest = word_skey(&to);
    return lsm_pick_range(w->version, &w->options, level, range, pick, &err);
}

/* Starts a job in a free place. false: there is nothing to do. */
static bool start_job(world *w, running_job *job, bool manual) {
    lsmkv_error err;
    lsmkv_status status =
        manual ? pick_manual(w, &job->pick)
               : lsm_pick_compaction(w->version, &w->options, &(lsm_pick_moment){0},
                                     &job->pick, &err);

    if (status != LSMKV_OK) {
        CHECK(status == LSMKV_NOT_FOUND || (manual && status == LSMKV_WOULD_BLOCK));
        w->refusals++;
        return false;
    }
    CHECK(job->pick.input_counts[0] > 0);
    CHECK(job->pick.output_level > job->pick.level);
    CHECK(!job->pick.move ||
          (job->pick.input_counts[0] == 1 && job->pick.input_counts[1] == 0));
    mark_inputs(&job->pick, true);
    lsm_version_ref(w->version);
    job->version = w->version;
    job->active = true;
    w->manuals += manual;
    return true;
}

/* All entries of the inputs, merged: newest versions, and tombstones that still hide
 * something. Returns their count; *merged is for the caller to free. */
static size_t merge_inputs(const world *w, const running_job *job, entry **merged) {
    const lsm_pick *pick = &job->pick;
    size_t total = 0;
    size_t count = 0;

    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < pick->input_counts[side]; i++) {
            total += w->contents[pick->inputs[side][i]->info.number].count;
        }
    }
    *merged = lsm_calloc(total, sizeof(entry));
    CHECK(*merged != NULL);
    total = 0;
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < pick->input_counts[side]; i++) {
            const content *from = &w->contents[pick->inputs[side][i]->info.number];
            memcpy(*merged + total, from->entries, from->count * sizeof(entry));
            total += from->count;
        }
    }
    qsort(*merged, total, sizeof(entry), compare_entries);
    for (size_t i = 0; i < total;) {
        entry one = (*merged)[i];
        word_key key;
        while (i < total && (*merged)[i].key == one.key) {
            i++;
        }
        make_key(&key, one.key, one.sequence);
        bool needed =
            !one.dead || lsm_version_may_hold_below(
                             job->version, pick->output_level + 1, word_skey(&key));
        if (needed) {
            (*merged)[count++] = one;
        }
    }
    return count;
}

static void finish_job(world *w, running_job *job) {
    lsm_pick *pick = &job->pick;
    entry *merged = NULL;
    lsm_edit edit;

    lsm_edit_init(&edit);
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < pick->input_counts[side]; i++) {
            uint32_t level = side == 0 ? pick->level : pick->output_level;
            edit_delete(&edit, level, pick->inputs[side][i]->info.number);
        }
    }
    if (pick->move) {
        const lsm_table_info *info = &pick->inputs[0][0]->info;
        CHECK(lsm_edit_add_table(&edit, pick->output_level, info));
        w->moves++;
    } else {
        size_t count = merge_inputs(w, job, &merged);
        size_t per_table = w->options.table_bytes / ENTRY_BYTES;
        for (size_t i = 0; i < count; i += per_table) {
            size_t left = count - i;
            add_content(w, &edit, pick->output_level, merged + i,
                        left < per_table ? left : per_table);
        }
        w->merges++;
    }
    mark_inputs(pick, false);
    apply(w, &edit);
    lsm_free(merged);
    lsm_pick_deinit(pick);
    lsm_version_unref(job->version);
    job->active = false;
}

static const entry *find_entry(const content *table, uint32_t key) {
    for (size_t i = 0; i < table->count; i++) {
        if (table->entries[i].key == key) {
            return &table->entries[i];
        }
    }
    return NULL;
}

/* What a reader finds, level by level. */
static const entry *read_key(const world *w, uint32_t number) {
    word_key key;

    make_key(&key, number, 1);
    for (uint32_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        const lsm_level *level = &w->version->levels[i];
        size_t first = i == 0 ? 0 : lsm_level_find(level, word_skey(&key));
        size_t end = i == 0 || first == level->count ? level->count : first + 1;
        for (size_t j = first; j < end; j++) {
            const entry *found =
                find_entry(&w->contents[level->tables[j]->info.number], number);
            if (found != NULL) {
                return found;
            }
        }
    }
    return NULL;
}

static void check_key(const world *w, uint32_t key) {
    const entry *found = read_key(w, key);
    const entry *expected = &w->newest[key];

    if (found == NULL) {
        CHECK(expected->sequence == 0 || expected->dead);
    } else {
        CHECK_EQ(found->sequence, expected->sequence);
    }
}

static void world_init(world *w, uint64_t seed) {
    memset(w, 0, sizeof(*w));
    w->rng.state = seed;
    w->sink = count_sink_make();
    w->next_number = 1;
    w->options = (lsm_options){
        .table_bytes = 256 + 64 * lsm_rng_below(&w->rng, 8),
        .level_base_bytes = 512 << lsm_rng_below(&w->rng, 3),
        .level_multiplier = 2 + (uint32_t)lsm_rng_below(&w->rng, 4),
        .l0_compact_trigger = 1 + (uint32_t)lsm_rng_below(&w->rng, 4),
    };
    w->options.l0_slowdown = 3 * w->options.l0_compact_trigger;
    w->options.l0_stop = 6 * w->options.l0_compact_trigger;
    w->version = lsm_version_create();
    w->contents = lsm_calloc(TABLE_MAX, sizeof(*w->contents));
    CHECK(w->version != NULL && w->contents != NULL);
}

static void world_deinit(world *w) {
    lsm_version_unref(w->version);
    for (size_t i = 0; i < TABLE_MAX; i++) {
        lsm_free(w->contents[i].entries);
    }
    lsm_free(w->contents);
}

static void step(world *w, habit how) {
    running_job *job = &w->jobs[lsm_rng_below(&w->rng, JOB_MAX)];
    uint64_t what = lsm_rng_below(&w->rng, 10);

    if (what < 3 && w->version->levels[0].count < w->options.l0_stop) {
        flush(w, how);
    } else if (job->active) {
        finish_job(w, job);
    } else {
        (void)start_job(w, job, what == 9);
    }
    for (int i = 0; i < 8; i++) {
        check_key(w, (uint32_t)lsm_rng_below(&w->rng, KEY_COUNT));
    }
}

/* Finishes what runs, then picks until nothing is due. */
static void come_to_rest(world *w) {
    uint64_t picks = 0;

    for (int i = 0; i < JOB_MAX; i++) {
        if (w->jobs[i].active) {
            finish_job(w, &w->jobs[i]);
        }
    }
    while (start_job(w, &w->jobs[0], false)) {
        finish_job(w, &w->jobs[0]);
        CHECK(++picks < PICKS_TO_REST);
    }
}

/* At rest no level is above its target, so the levels above the last one hold some
 * 1/(multiplier - 1) of its bytes together. */
static void check_rest(const world *w) {
    lsm_level_targets targets = lsm_pick_targets(w->version, &w->options);
    const lsm_level *levels = w->version->levels;
    uint64_t upper = 0;
    uint64_t last = 0;

    CHECK(levels[0].count < w->options.l0_compact_trigger);
    for (uint32_t i = 1; i < LSMKV_LEVEL_COUNT; i++) {
        CHECK(levels[i].bytes < targets.bytes[i]);
        CHECK(i >= targets.base_level || levels[i].count == 0);
        if (levels[i].count > 0) {
            upper += last;
            last = levels[i].bytes;
        }
    }
    CHECK(upper <= last / (w->options.level_multiplier - 1));
    CHECK_EQ(lsm_pick_debt(w->version, &w->options), 0);
    for (uint32_t i = 0; i < KEY_COUNT; i++) {
        check_key(w, i);
    }
}

LSM_TEST(jobs_in_any_order_keep_versions_legal_and_come_to_rest_within_targets) {
    static world w;
    uint64_t moves = 0;
    uint64_t merges = 0;
    uint64_t manuals = 0;

    for (uint64_t seed = 1; seed <= SEED_COUNT; seed++) {
        (void)printf("\rseed %llu ", (unsigned long long)seed);
        world_init(&w, seed);
        for (int i = 0; i < STEP_COUNT; i++) {
            step(&w, (habit)(i * HABIT_COUNT / STEP_COUNT));
            if (lsm_rng_below(&w.rng, 200) == 0) {
                come_to_rest(&w);
                check_rest(&w);
            }
        }
        come_to_rest(&w);
        check_rest(&w);
        moves += w.moves;
        merges += w.merges;
        manuals += w.manuals;
        world_deinit(&w);
    }
    CHECK(moves > SEED_COUNT && merges > SEED_COUNT && manuals > SEED_COUNT);
    (void)printf("\r%llu moves, %llu merges, %llu of them manual ",
                 (unsigned long long)moves, (unsigned long long)merges,
                 (unsigned long long)manuals);
}

LSM_TEST(keys_written_in_order_are_only_ever_moved) {
    static world w;

    world_init(&w, 7);
    w.options.l0_compact_trigger = 4;
    for (uint32_t i = 0; i + FLUSH_ENTRIES <= KEY_COUNT; i += FLUSH_ENTRIES) {
        entry entries[FLUSH_ENTRIES];
        lsm_edit edit;
        for (uint32_t j = 0; j < FLUSH_ENTRIES; j++) {
            entries[j] = (entry){i + j, ++w.sequence, false};
            w.newest[i + j] = entries[j];
        }
        lsm_edit_init(&edit);
        add_content(&w, &edit, 0, entries, FLUSH_ENTRIES);
        apply(&w, &edit);
        come_to_rest(&w);
    }
    check_rest(&w);
    CHECK_EQ(w.merges, 0);
    CHECK(w.moves > 0);
    world_deinit(&w);
}
