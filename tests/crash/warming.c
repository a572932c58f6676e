/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading ahead, by the hot list or by a range: it may change nothing that is shown,
 * whatever the list says and however old it is. Now and then so much time passes that
 * another list is due, which the steps of background work then write.
 */
#include "world.h"

#include "env/env_sim.h"
#include "report.h"

enum { LIST_PERIOD_MS = 300 * 1000 };

typedef struct limit {
    uint64_t calls; /* of the callback; the last one ends it */
} limit;

static int on_progress(void *context, uint64_t done, uint64_t total) {
    limit *l = (limit *)context;

    if (done > total) {
        crash_fail("%llu bytes of %llu are warm", (unsigned long long)done,
                   (unsigned long long)total);
    }
    l->calls--;
    return l->calls > 0;
}

void world_warm(world *w) {
    limit l = {1 + world_below(w, 40)};
    size_t start = world_any_key(w);
    size_t stop = start + (size_t)world_below(w, w->model.key_count);
    lsmkv_range range = {.start = w->model.keys[start],
                         .has_start = world_odds(w, 700),
                         .has_stop = stop < w->model.key_count};
    lsmkv_warm_how how = {.on_progress = on_progress, .context = &l};
    lsmkv_warm_report report;
    lsmkv_error err = {0};

    crash_count.ops++;
    if (range.has_stop) {
        range.stop = w->model.keys[stop];
    }
    if (world_odds(w, 400)) {
        how.range = &range;
    }
    if (world_odds(w, 300)) {
        how.budget_bytes = 1 + world_below(w, 4096);
    }
    if (world_odds(w, 250)) {
        lsm_sim_advance_ms(w->env, LIST_PERIOD_MS);
    }
    crash_trace("warm range=%d budget=%llu", how.range != NULL,
                (unsigned long long)how.budget_bytes);
    lsmkv_status status = lsmkv_warm(w->db, &how, &report, &err);
    (void)world_ok(w, status, &err, "warm");
    if (how.budget_bytes != 0 && report.byte_count > how.budget_bytes) {
        crash_fail("%llu bytes are warm, more than the budget",
                   (unsigned long long)report.byte_count);
    }
}
