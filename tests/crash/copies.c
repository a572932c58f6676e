/* SPDX-License-Identifier: Apache-2.0
 *
 * Operations that make another database of this one, in a directory that the model
 * remembers: every crash from here on looks into it.
 */
#include <errno.h>
#include <stdio.h>

#include "report.h"
#include "world.h"

static model_copy *begin_copy(model *m) {
    if (m->copy_count == MODEL_COPIES_MAX) {
        return NULL;
    }
    model_copy *copy = &m->copies[m->copy_count];
    (void)snprintf(copy->path, sizeof(copy->path), "copy%zu", m->copy_count);
    copy->state = m->now;
    copy->done = false;
    copy->unknown = false;
    m->copy_count++;
    return copy;
}

bool world_checkpoint(world *w, bool links) {
    model_copy *copy = begin_copy(&w->model);
    lsmkv_error err = {0};
    bool done;

    crash_count.ops++;
    if (copy == NULL) {
        return true;
    }
    crash_trace("checkpoint %s%s", copy->path, links ? "" : " without links");
    if (!links) {
        lsm_sim_fail(w->env, LSM_SIM_LINK, 0, EXDEV, true);
    }
    done = world_ok(w, lsmkv_checkpoint(w->db, copy->path, &err), &err, "checkpoint");
    if (!links) {
        lsm_sim_fail(w->env, LSM_SIM_LINK, 0, 0, false);
    }
    if (done) {
        copy->done = true;
        model_raise_floor(&w->model);
    }
    return done;
}

/* Of a whole database nothing is lost; in what was read through errors there may be
 * gaps, which were reported. */
static void finish_repair(world *w, model_copy *copy, const lsmkv_report *report) {
    if (report->problem_count == 0) {
        copy->done = true;
    } else if (w->allowed == 0) {
        crash_fail("a repair of a whole database finds %llu problems",
                   (unsigned long long)report->problem_count);
    } else {
        copy->unknown = true;
    }
}

bool world_repair(world *w, bool dies) {
    lsmkv_report report = {0};
    lsmkv_error err = {0};
    model_copy *copy;
    bool done;

    crash_count.ops++;
    if (dies) {
        world_abandon(w);
    } else {
        world_close(w);
    }
    copy = w->model.lost_count == 0 ? begin_copy(&w->model) : NULL;
    if (copy != NULL) {
        lsm_test_repair_request request = {.path = WORLD_PATH, .into = copy->path};
        crash_trace("repair into %s", copy->path);
        done = world_ok(w, lsm_test_repair(w->env, &request, &report, &err), &err,
                        "repair");
        if (done) {
            finish_repair(w, copy, &report);
        }
    }
    return world_open_again(w);
}
