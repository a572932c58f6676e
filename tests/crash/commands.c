/* SPDX-License-Identifier: Apache-2.0
 *
 * The crash program: the engine, a simulated disk (or a real one), and a model.
 *
 *   crash steps [--seed S] [--stride N] [--workload W [--at STEP.MODE.VARIANT]]
 *   crash sim|faults --seeds A..B [--seconds N] [--verbose] [--only N,A-B,...]
 *   crash alloc|errors [--seed S] [--stride N] [--seconds N]
 *                      [--workload W [--at N.WAY]]
 *   crash damage [--seed S] [--stride N] [--seconds N] [--workload W | --dir DIR]
 *                [--at N]
 *   crash kill --dir DIR [--seed S] [--cycles N]
 *
 * Each closes with a line of what it did. A failed check prints what was found, the
 * last operations and the arguments that show it again, and ends with status 1. With
 * --only, of a seed's operations only those with these numbers run. With --dump DIR,
 * the disk under check is written there before its recovery. With --mutant NAME, the
 * engine makes that mistake (base/mutant.h).
 */
#include "commands.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mutant.h"
#include "kill.h"
#include "report.h"
#include "sim.h"
#include "steps.h"
#include "sweep.h"

enum { EXIT_USAGE = 2 };

typedef struct arguments {
    steps_request steps;
    sim_request sim;
    sweep_request sweep;
    kill_request kill;
} arguments;

static const struct option long_options[] = {
    {"seed", required_argument, NULL, 's'},
    {"seeds", required_argument, NULL, 'r'},
    {"seconds", required_argument, NULL, 't'},
    {"stride", required_argument, NULL, 'n'},
    {"workload", required_argument, NULL, 'w'},
    {"at", required_argument, NULL, 'a'},
    {"cycles", required_argument, NULL, 'c'},
    {"dir", required_argument, NULL, 'd'},
    {"dump", required_argument, NULL, 'o'},
    {"only", required_argument, NULL, 'y'},
    {"mutant", required_argument, NULL, 'm'},
    {"verbose", no_argument, NULL, 'v'},
    {NULL, 0, NULL, 0},
};

static int usage(void) {
    (void)fprintf(stderr,
                  "usage: crash steps [--seed S] [--stride N] [--workload W [--at "
                  "STEP.MODE.VARIANT]]\n"
                  "       crash sim|faults --seeds A..B [--seconds N] [--verbose] "
                  "[--only N,A-B,...]\n"
                  "       crash alloc|errors [--seed S] [--stride N] [--seconds N] "
                  "[--workload W [--at N.WAY]]\n"
                  "       crash damage [--seed S] [--stride N] [--seconds N] "
                  "[--workload W | --dir DIR] [--at N]\n"
                  "       crash kill --dir DIR [--seed S] [--cycles N]\n");
    return EXIT_USAGE;
}

static bool read_number(const char *text, char end, uint64_t *number,
                        const char **rest) {
    char *after = NULL;

    *number = strtoull(text, &after, 10);
    if (after == text || (*after != end && *after != '\0')) {
        return false;
    }
    *rest = *after == '\0' ? after : after + 1;
    return true;
}

/* STEP.MODE.VARIANT or N.WAY */
static bool read_at(const char *text, arguments *a) {
    uint64_t numbers[3] = {0};
    const char *rest = text;

    for (size_t i = 0; i < 3 && *rest != '\0'; i++) {
        if (!read_number(rest, '.', &numbers[i], &rest)) {
            return false;
        }
    }
    a->steps.only = true;
    a->steps.at_step = numbers[0];
    a->steps.at_mode = (int)numbers[1];
    a->steps.at_variant = (uint32_t)numbers[2];
    a->sweep.only = true;
    a->sweep.at = numbers[0];
    a->sweep.at_way = numbers[1];
    return *rest == '\0';
}

static bool read_range(const char *text, sim_request *sim) {
    const char *rest = text;

    return read_number(text, '.', &sim->first_seed, &rest) && *rest == '.' &&
           read_number(rest + 1, '\0', &sim->last_seed, &rest);
}

/* N,A-B,... */
static bool read_only(const char *text, sim_request *sim) {
    const char *rest = text;

    for (bool more = true; more; sim->only_count++) {
        sim_span *span = &sim->only[sim->only_count];
        char *after = NULL;

        span->first = strtoull(rest, &after, 10);
        span->last = span->first;
        if (after != rest && *after == '-') {
            rest = after + 1;
            span->last = strtoull(rest, &after, 10);
        }
        if (after == rest || sim->only_count + 1 == SIM_ONLY_MAX) {
            return false;
        }
        more = *after == ',';
        if (!more && *after != '\0') {
            return false;
        }
        rest = after + 1;
    }
    return true;
}

static bool read_option(int option, arguments *a) {
    const char *rest = NULL;
    uint64_t number = 0;

    switch (option) {
        case 'r':
            return read_range(optarg, &a->sim);
        case 'a':
            return read_at(optarg, a);
        case 'd':
            a->kill.path = optarg;
            a->sweep.path = optarg;
            return true;
        case 'o':
            crash_dump_path = optarg;
            return true;
        case 'y':
            return read_only(optarg, &a->sim);
        case 'm':
            return lsm_mutant_select(optarg);
        case 'v':
            a->sim.verbose = true;
            return true;
        default:
            break;
    }
    if (option == '?' || !read_number(optarg, '\0', &number, &rest)) {
        return false;
    }
    if (option == 's') {
        a->steps.seed = number;
        a->sweep.seed = number;
        a->kill.seed = number;
    } else if (option == 't') {
        a->sim.seconds = number;
        a->sweep.seconds = number;
    } else if (option == 'n') {
        a->steps.stride = number > 0 ? number : 1;
        a->sweep.stride = a->steps.stride;
    } else if (option == 'w') {
        a->steps.workload = (int)number;
        a->sweep.workload = (int)number;
    } else {
        a->kill.cycles = number;
    }
    return true;
}

static bool run(const char *command, arguments *a) {
    if (strcmp(command, "steps") == 0) {
        steps_run(&a->steps);
    } else if (strcmp(command, "sim") == 0 || strcmp(command, "faults") == 0) {
        a->sim.faults = command[0] == 'f';
        sim_run(&a->sim);
    } else if (strcmp(command, "alloc") == 0) {
        starve_run(&a->sweep);
    } else if (strcmp(command, "errors") == 0) {
        errors_run(&a->sweep);
    } else if (strcmp(command, "damage") == 0) {
        damage_run(&a->sweep);
    } else if (strcmp(command, "kill") == 0 && a->kill.path != NULL) {
        kill_run(&a->kill);
    } else {
        return false;
    }
    return true;
}

int crash_main(int argument_count, char **argument_values) {
    arguments a = {
        .steps = {.seed = 1, .workload = -1, .stride = 1},
        .sweep = {.seed = 1, .workload = -1, .stride = 1},
        .sim = {.first_seed = 1, .last_seed = 100},
        .kill = {.seed = 1, .cycles = 100},
    };
    struct timespec start;
    struct timespec end;

    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    for (;;) {
        int option =
            getopt_long(argument_count, argument_values, "", long_options, NULL);
        if (option == -1) {
            break;
        }
        if (!read_option(option, &a)) {
            return usage();
        }
    }
    if (optind != argument_count - 1 || !run(argument_values[optind], &a)) {
        return usage();
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    (void)printf(
        "passed: seeds=%llu states=%llu nested=%llu ops=%llu reads=%llu "
        "failures=%llu kills=%llu runs=%llu seconds=%.1f\n",
        (unsigned long long)crash_count.seeds, (unsigned long long)crash_count.states,
        (unsigned long long)crash_count.nested, (unsigned long long)crash_count.ops,
        (unsigned long long)crash_count.reads, (unsigned long long)crash_count.failures,
        (unsigned long long)crash_count.kills, (unsigned long long)crash_count.runs,
        (double)(end.tv_sec - start.tv_sec) +
            (double)(end.tv_nsec - start.tv_nsec) / 1e9);
    return 0;
}
