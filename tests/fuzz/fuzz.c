/* SPDX-License-Identifier: Apache-2.0
 *
 * The fuzz program, for compilers without libFuzzer.
 *
 *   fuzz --list
 *   fuzz TARGET FILE|DIR...                   runs those inputs
 *   fuzz TARGET --seconds N|--runs N [--seed S] [--max-bytes N] [--save DIR]
 *        [--ledger FILE] [--name BUILD] FILE|DIR...
 *                                             and then others made of them
 *   fuzz TARGET --minimise DIR [--gain N] FILE|DIR...
 *                                             writes those that add something: at
 *                                             least N features for each KiB begun
 *   fuzz --seeds DIR DATABASE...              makes inputs of whole databases
 *
 * For all: --limit SECONDS of one input (1), --failures DIR for inputs that fail (.).
 *
 * Where the engine was compiled with coverage (cover.h), an input that reaches
 * something new joins the corpus, and goes to --save. Each campaign adds a line to the
 * ledger: day, target, build, runs, seconds, features, inputs. It closes with a line of
 * what it did; the first failure ends it.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "corpus.h"
#include "cover.h"
#include "mutator.h"
#include "seeds.h"

enum { EXIT_USAGE = 2, LOOK_EVERY = 64 };

typedef struct request {
    const fuzz_target *target;
    uint64_t seconds, runs, seed, size_max, limit, gain;
    const char *save, *ledger, *name, *minimise, *failures, *seeds;
    bool list;
} request;

static const struct option long_options[] = {
    {"list", no_argument, NULL, 'l'},
    {"seconds", required_argument, NULL, 't'},
    {"runs", required_argument, NULL, 'n'},
    {"seed", required_argument, NULL, 's'},
    {"max-bytes", required_argument, NULL, 'b'},
    {"save", required_argument, NULL, 'o'},
    {"ledger", required_argument, NULL, 'g'},
    {"name", required_argument, NULL, 'a'},
    {"minimise", required_argument, NULL, 'm'},
    {"gain", required_argument, NULL, 'i'},
    {"failures", required_argument, NULL, 'f'},
    {"limit", required_argument, NULL, 'w'},
    {"seeds", required_argument, NULL, 'd'},
    {NULL, 0, NULL, 0},
};

static int usage(void) {
    (void)fprintf(
        stderr,
        "usage: fuzz --list\n"
        "       fuzz TARGET [--seconds N|--runs N] [--seed S] [--max-bytes N] "
        "[--save DIR] [--ledger FILE] [--name BUILD] FILE|DIR...\n"
        "       fuzz TARGET --minimise DIR [--gain N] FILE|DIR...\n"
        "       fuzz --seeds DIR DATABASE...\n"
        "       with all: [--limit SECONDS] [--failures DIR]\n");
    return EXIT_USAGE;
}

static bool read_text(int option, request *r) {
    switch (option) {
        case 'l':
            r->list = true;
            return true;
        case 'o':
            r->save = optarg;
            return true;
        case 'g':
            r->ledger = optarg;
            return true;
        case 'a':
            r->name = optarg;
            return true;
        case 'm':
            r->minimise = optarg;
            return true;
        case 'f':
            r->failures = optarg;
            return true;
        case 'd':
            r->seeds = optarg;
            return true;
        default:
            return false;
    }
}

static bool read_option(int option, request *r) {
    char *after = NULL;

    if (read_text(option, r)) {
        return true;
    }
    if (option == '?') {
        return false;
    }
    uint64_t number = strtoull(optarg, &after, 10);
    if (*after != '\0' || after == optarg) {
        return false;
    }
    switch (option) {
        case 't':
            r->seconds = number;
            return true;
        case 'n':
            r->runs = number;
            return true;
        case 's':
            r->seed = number;
            return true;
        case 'i':
            r->gain = number;
            return number > 0;
        case 'b':
            r->size_max = number;
            return number > 0;
        default:
            r->limit = number;
            return number > 0;
    }
}

static double now(void) {
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void run_all(const request *r, const fuzz_corpus *corpus) {
    for (size_t i = 0; i < corpus->count; i++) {
        fuzz_run(r->target, corpus->inputs[i]);
        (void)fuzz_cover_merge();
    }
}

/* Smaller ones first, so that of two that reach the same the larger one goes. */
static bool minimise(const request *r, fuzz_corpus *corpus) {
    size_t kept = 0;

    fuzz_corpus_sort(corpus);
    for (size_t i = 0; i < corpus->count; i++) {
        fuzz_run(r->target, corpus->inputs[i]);
        if (fuzz_cover_look() < r->gain * (corpus->inputs[i].size / 1024 + 1)) {
            continue;
        }
        (void)fuzz_cover_merge();
        if (!fuzz_corpus_save(r->minimise, corpus->inputs[i])) {
            (void)fprintf(stderr, "fuzz: cannot write to %s\n", r->minimise);
            return false;
        }
        kept++;
    }
    printf("kept: inputs=%zu of=%zu features=%zu\n", kept, corpus->count,
           fuzz_cover_count());
    return true;
}

/* An input to start from: any, or one of the last that were found. */
static lsm_slice pick(lsm_rng *rng, const fuzz_corpus *corpus) {
    size_t recent = corpus->count < 32 ? corpus->count : 32;

    if (corpus->count == 0) {
        return lsm_slice_make(NULL, 0);
    }
    return lsm_rng_below(rng, 3) == 0
               ? corpus->inputs[corpus->count - 1 - lsm_rng_below(rng, recent)]
               : corpus->inputs[lsm_rng_below(rng, corpus->count)];
}

/* Returns the number of runs. */
static uint64_t explore(const request *r, fuzz_corpus *corpus) {
    static uint8_t memory[FUZZ_SIZE_MAX];
    fuzz_bytes bytes = {memory, 0, (size_t)r->size_max};
    lsm_rng rng = {r->seed * 0x9E3779B97F4A7C15u + 1};
    double end = now() + (double)r->seconds;
    uint64_t runs = 0;

    while (r->runs != 0 ? runs < r->runs : runs % LOOK_EVERY != 0 || now() < end) {
        lsm_slice from = pick(&rng, corpus);

        bytes.size = from.size < bytes.capacity ? from.size : bytes.capacity;
        if (bytes.size > 0) {
            memcpy(bytes.data, from.data, bytes.size);
        }
        fuzz_mutate(&rng, r->target, &bytes, pick(&rng, corpus));
        fuzz_run(r->target, lsm_slice_make(bytes.data, bytes.size));
        runs++;
        if (fuzz_cover_merge() > 0) {
            fuzz_corpus_add(corpus, lsm_slice_make(bytes.data, bytes.size));
            if (r->save != NULL &&
                !fuzz_corpus_save(r->save, corpus->inputs[corpus->count - 1])) {
                (void)fprintf(stderr, "fuzz: cannot write to %s\n", r->save);
            }
        }
    }
    return runs;
}

static void note(const request *r, uint64_t runs, double seconds, size_t inputs) {
    FILE *file = fopen(r->ledger, "a");
    time_t clock = time(NULL);
    struct tm day;
    char text[32] = "";

    if (file == NULL) {
        (void)fprintf(stderr, "fuzz: cannot write to %s\n", r->ledger);
        return;
    }
    if (gmtime_r(&clock, &day) != NULL) {
        (void)strftime(text, sizeof(text), "%Y-%m-%d", &day);
    }
    (void)fprintf(file, "%s %s %s runs=%llu seconds=%.1f features=%zu inputs=%zu\n",
                  text, r->target->name, r->name, (unsigned long long)runs, seconds,
                  fuzz_cover_count(), inputs);
    (void)fclose(file);
}

static int run_target(const request *r, char **paths, int count) {
    fuzz_corpus corpus = {0};
    double begin = now();
    uint64_t runs = 0;
    bool done = true;

    for (int i = 0; i < count; i++) {
        if (!fuzz_corpus_load(&corpus, paths[i], (size_t)r->size_max)) {
            (void)fprintf(stderr, "fuzz: %s cannot be read\n", paths[i]);
            done = false;
        }
    }
    if (done && r->minimise != NULL) {
        done = minimise(r, &corpus);
    } else if (done) {
        run_all(r, &corpus);
        runs = corpus.count;
        if (r->runs != 0 || r->seconds != 0) {
            runs += explore(r, &corpus);
        }
        double seconds = now() - begin;
        if (r->ledger != NULL) {
            note(r, runs, seconds, corpus.count);
        }
        printf("passed: runs=%llu seconds=%.1f features=%zu inputs=%zu\n",
               (unsigned long long)runs, seconds, fuzz_cover_count(), corpus.count);
    }
    fuzz_corpus_deinit(&corpus);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv) {
    request r = {.seed = 1,
                 .limit = 1,
                 .gain = 1,
                 .name = "unnamed",
                 .failures = ".",
                 .size_max = 0};
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (!read_option(option, &r)) {
            return usage();
        }
    }
    if (r.list) {
        for (size_t i = 0; i < fuzz_target_count; i++) {
            printf("%s\n", fuzz_targets[i].name);
        }
        return EXIT_SUCCESS;
    }
    if (r.seeds != NULL) {
        return fuzz_seeds_make(r.seeds, argv + optind, argc - optind) ? EXIT_SUCCESS
                                                                      : EXIT_FAILURE;
    }
    r.target = optind < argc ? fuzz_target_find(argv[optind]) : NULL;
    if (r.target == NULL) {
        return usage();
    }
    if (r.size_max == 0 || r.size_max > r.target->size_max) {
        r.size_max = r.target->size_max;
    }
    fuzz_run_init(&(fuzz_limits){r.failures, (unsigned)r.limit});
    return run_target(&r, argv + optind + 1, argc - optind - 1);
}
