/* SPDX-License-Identifier: Apache-2.0
 *
 * Scripts that bring every structure of the engine into being within some hundred
 * operations. What they draw comes from the world's seed.
 */
#include "workloads.h"

/* Ascending keys, a flush now and then, compactions in the background. */
static void fill_and_flush(world *w) {
    for (size_t i = 0; i < 110; i++) {
        (void)world_put(w, i % w->model.key_count, 8 + i % 60, i % 9 == 0);
        if (i % 14 == 13) {
            (void)world_flush(w);
        }
        world_step(w, world_below(w, 4));
    }
    (void)world_settle(w);
    world_check_scan(w, false);
}

/* Few keys, many versions, snapshots that hold some of them, full compactions. */
static void overwrite_and_compact(world *w) {
    for (size_t i = 0; i < 120; i++) {
        (void)world_put(w, world_below(w, 12), world_any_size(w), i % 20 == 0);
        if (i % 10 == 5) {
            world_use_snapshot(w);
        }
        if (i % 25 == 24) {
            (void)world_flush(w);
            (void)world_compact(w, i % 50 == 49);
        }
    }
    (void)world_compact(w, true);
    world_check_scan(w, true);
}

/* Batches of one record to some forty, half of them synced, some over several
 * namespaces, which come and go. */
static void write_batches(world *w) {
    for (size_t i = 0; i < 70; i++) {
        (void)world_batch(w, 1 + (size_t)world_below(w, i % 5 == 0 ? 40 : 6),
                          i % 2 == 0);
        world_step(w, world_below(w, 3));
        if (i % 5 == 3) {
            world_use_space(w);
        }
        if (i % 16 == 15) {
            (void)world_flush(w);
        }
    }
    world_check_scan(w, false);
}

/* Edit after edit and reopen after reopen, so that MANIFESTs grow and are replaced. */
static void roll_manifests(world *w) {
    for (size_t i = 0; i < 26; i++) {
        (void)world_put(w, world_any_key(w), 20, false);
        (void)world_flush(w);
        if (i % 6 == 5) {
            (void)world_reopen(w);
        }
        if (i % 9 == 8) {
            (void)world_compact(w, false);
        }
    }
}

/* Fill, delete most of it, close and open with other options; tombstones must go
 * without what they hide coming back. */
static void delete_and_reopen(world *w) {
    for (size_t round = 0; round < 4; round++) {
        for (size_t i = 0; i < 18; i++) {
            (void)world_put(w, world_any_key(w), world_any_size(w), false);
        }
        (void)world_flush(w);
        for (size_t i = 0; i < w->model.key_count; i++) {
            if (world_odds(w, 800)) {
                (void)world_delete(w, i, world_odds(w, 100));
            }
        }
        world_step(w, 6);
        (void)world_reopen(w);
        (void)world_compact(w, round % 2 == 1);
        world_check_scan(w, false);
    }
}

/* Synced and unsynced writes and sync() over several live logs: background work is
 * left undone, so that full memtables pile up. */
static void mix_syncs(world *w) {
    for (size_t i = 0; i < 130; i++) {
        uint64_t draw = world_below(w, 16);
        if (draw == 0) {
            (void)world_sync(w);
        } else if (draw == 1) {
            world_step(w, 1 + world_below(w, 8));
        } else if (draw == 2) {
            (void)world_delete(w, world_any_key(w), world_odds(w, 500));
        } else {
            (void)world_put(w, world_any_key(w), 10 + (size_t)world_below(w, 90),
                            draw == 3);
        }
    }
    (void)world_sync(w);
}

/* Processes that die with full and half full memtables; the next open finds several
 * logs, some of them synced, and writes what they hold into tables. */
static void restart(world *w) {
    for (size_t round = 0; round < 4; round++) {
        for (size_t i = 0; i < 24; i++) {
            (void)world_put(w, world_any_key(w), 20 + (size_t)world_below(w, 80),
                            i % 11 == 10);
        }
        (void)world_batch(w, 8, round == 1);
        (void)world_restart(w);
        world_check_scan(w, round % 2 == 0);
    }
}

/* Reads of all kinds while the database changes under them. */
static void look_around(world *w) {
    for (size_t i = 0; i < 120; i++) {
        uint64_t draw = world_below(w, 16);
        if (draw < 5) {
            world_use_cursor(w);
        } else if (draw < 8) {
            world_use_snapshot(w);
        } else if (draw < 10) {
            world_get_many(w);
        } else if (draw < 14) {
            (void)world_put(w, world_any_key(w), world_any_size(w), false);
        } else if (draw < 15) {
            (void)world_delete(w, world_any_key(w), false);
        } else {
            world_verify(w);
        }
        if (i % 16 == 9) {
            (void)world_flush(w);
        }
        if (i % 48 == 40) {
            (void)world_reopen(w);
        }
    }
}

/* Most values expire soon, the clock moves in all directions, and what is left must
 * come through flushes, compactions, reopens and crashes without anything older. */
static void expire(world *w) {
    for (size_t i = 0; i < 110; i++) {
        (void)world_put(w, world_below(w, 24), world_any_size(w), i % 24 == 23);
        if (i % 4 == 1) {
            world_move_clock(w);
        }
        if (i % 9 == 4) {
            (void)world_touch(w, world_any_key(w), i % 2 == 0);
        }
        if (i % 9 == 5) {
            size_t key = (size_t)world_below(w, 24);
            (void)world_put_since(w, key, 20, false);
            world_check_stale(w, key);
        }
        if (i % 12 == 7) {
            world_use_snapshot(w);
        }
        if (i % 22 == 21) {
            (void)world_flush(w);
            world_step(w, 4);
        }
        if (i % 45 == 40) {
            (void)world_compact(w, true);
            (void)world_reopen(w);
        }
    }
    world_check_scan(w, true);
}

/* Checkpoints of a database that goes on changing, linked and copied. */
/* Range deletes in memtables, in tables of their own and cut over the tables of a
 * level, with a snapshot that still sees what they cover. */
static void delete_ranges(world *w) {
    for (size_t i = 0; i < 24; i++) {
        (void)world_put(w, i, 40, false);
    }
    (void)world_compact(w, true);
    world_use_snapshot(w);
    for (size_t round = 0; round < 3; round++) {
        (void)world_delete_range(w, round == 0);
        (void)world_flush(w);
        world_check_scan(w, round % 2 == 0);
        (void)world_delete_range(w, false);
        (void)world_put(w, 7 * round, 30, false);
        (void)world_batch(w, 12, round == 1);
        (void)world_compact(w, round == 2);
    }
    (void)world_reopen(w);
    world_check_scan(w, false);
    (void)world_delete_range(w, true);
    (void)world_reopen(w);
    world_verify(w);
}

static void take_checkpoints(world *w) {
    for (size_t round = 0; round < 5; round++) {
        for (size_t i = 0; i < 16; i++) {
            (void)world_put(w, world_any_key(w), world_any_size(w), i == 7);
        }
        (void)world_delete(w, world_any_key(w), false);
        world_use_space(w);
        world_use_space(w);
        world_step(w, world_below(w, 6));
        (void)world_checkpoint(w, round != 2);
        if (round == 1) {
            (void)world_reopen(w);
        } else if (round == 3) {
            (void)world_compact(w, true);
        }
    }
    world_check_scan(w, false);
}

/* Repairs of whole databases, closed and died: they must change nothing. */
static void take_repairs(world *w) {
    for (size_t round = 0; round < 4; round++) {
        for (size_t i = 0; i < 14; i++) {
            (void)world_put(w, world_any_key(w), world_any_size(w), i == 9);
        }
        (void)world_delete(w, world_any_key(w), false);
        (void)world_batch(w, 6, false);
        world_use_space(w);
        world_use_space(w);
        (void)world_delete_range(w, round % 2 == 1);
        world_step(w, world_below(w, 6));
        (void)world_repair(w, round % 2 == 0);
        if (round == 2) {
            (void)world_compact(w, true);
        }
    }
    world_check_scan(w, false);
}

/* A cache that turns over, through flushes, compactions, pauses and deaths. */
static void use_cache(world *w) {
    for (size_t round = 0; round < 5; round++) {
        for (size_t i = 0; i < 6; i++) {
            world_use_cache(w, 4);
            world_step(w, world_below(w, 6));
            if (i % 4 == 2) {
                (void)world_put(w, world_any_key(w), 30, i == 2);
            }
            if (i == 5) {
                world_move_clock(w);
                (void)world_flush(w);
            }
        }
        if (round == 1) {
            (void)world_reopen(w);
        } else if (round == 2) {
            (void)world_compact(w, true);
        } else if (round == 3) {
            (void)world_restart(w);
        }
    }
    world_check_scan(w, false);
}

/* Versions that come and go, and publishes that a reopen, a death, a checkpoint or a
 * compaction comes in between of, beside rows of vectors. */
static void publish_versions(world *w) {
    for (size_t round = 0; round < 4; round++) {
        for (size_t i = 0; i < 8; i++) {
            world_use_publish(w);
            if (i % 3 == 1) {
                world_use_rows(w);
            }
            if (i % 4 == 2) {
                (void)world_put(w, world_any_key(w), 30, false);
                world_step(w, world_below(w, 4));
            }
        }
        if (round == 0) {
            (void)world_checkpoint(w, true);
            world_move_clock(w);
        } else if (round == 1) {
            (void)world_restart(w);
        } else if (round == 2) {
            (void)world_compact(w, true);
            (void)world_reopen(w);
        }
    }
    world_check_scan(w, false);
}

const workload workloads[] = {
    {"fill and flush", fill_and_flush, 100, 64},
    {"overwrite and compact", overwrite_and_compact, 16, 80},
    {"batches", write_batches, 40, 40},
    {"manifest rollover", roll_manifests, 24, 40},
    {"delete and reopen", delete_and_reopen, 32, 60},
    {"sync mixes", mix_syncs, 32, 100},
    {"restarts", restart, 32, 100},
    {"look around", look_around, 32, 100},
    {"expire", expire, 32, 80},
    {"checkpoints", take_checkpoints, 32, 80},
    {"range deletes", delete_ranges, 32, 60},
    {"repairs", take_repairs, 32, 80},
    {"caches", use_cache, 16, 80},
    {"publishes", publish_versions, 16, 60},
};

const size_t workload_count = LSM_ARRAY_COUNT(workloads);

void workload_profile(const workload *load, uint64_t seed, profile *p) {
    profile_init(p, seed);
    p->key_count = load->key_count;
    p->value_max = load->value_max;
    p->short_permille = 0;
    p->ttl_permille = load->run == expire             ? 700
                      : load->run == take_checkpoints ? 200
                      : load->run == publish_versions ? 300
                                                      : 0;
    p->stale_permille = load->run == expire ? 500 : 0;
    p->options.durability = LSMKV_DURABILITY_OS;
}
