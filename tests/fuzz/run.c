/* SPDX-License-Identifier: Apache-2.0
 *
 * Running one input, and what happens when it fails: it is written to a file that is
 * named after the target and the hash of its bytes.
 *
 * The time limit is one of processor time, looked at by a timer a few times a second,
 * so that a busy machine fails nothing and a run costs no system call.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/xxh3.h"
#include "cover.h"
#include "fuzz.h"

enum { TICKS_A_SECOND = 4, PATH_SIZE = 512 };

static struct {
    fuzz_limits limits;
    const fuzz_target *target; /* NULL: nothing is running */
    lsm_slice input;
    size_t allowed;               /* bytes of one allocation */
    volatile sig_atomic_t run;    /* counts them */
    volatile sig_atomic_t ticked; /* the run that the last tick saw */
    volatile sig_atomic_t ticks;  /* that it saw of that one */
    volatile sig_atomic_t kept;   /* the input was written */
} state;

/* Of the sanitizers; NULL without them. NOLINTNEXTLINE(bugprone-reserved-identifier) */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

/* Writes the input at hand; also called from signal handlers. */
static void keep_input(void) {
    char path[PATH_SIZE];
    int file;

    if (state.target == NULL || state.kept != 0) {
        return;
    }
    state.kept = 1;
    (void)snprintf(path, sizeof(path), "%s/failed-%s-%016llx.bin",
                   state.limits.failures, state.target->name,
                   (unsigned long long)lsm_xxh3(state.input.data, state.input.size));
    file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (file < 0 ||
        write(file, state.input.data, state.input.size) != (ssize_t)state.input.size) {
        path[0] = '\0';
    }
    (void)fprintf(stderr, "fuzz: %s: failed; the input is in %s\n", state.target->name,
                  path[0] == '\0' ? "no file" : path);
    (void)fflush(stderr);
    if (file >= 0) {
        (void)close(file);
    }
}

void fuzz_fail(const char *file, int line, const char *format, ...) {
    va_list arguments;

    (void)fprintf(stderr, "%s:%d: ", file, line);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    keep_input();
    abort();
}

static void on_signal(int number) {
    keep_input();
    (void)raise(number); /* which ends the process: the handler is called once */
}

static void on_tick(int number) {
    (void)number;
    if (state.target == NULL || state.run != state.ticked) {
        state.ticked = state.run;
        state.ticks = 0;
        return;
    }
    state.ticks = state.ticks + 1;
    if ((unsigned)state.ticks > state.limits.seconds * TICKS_A_SECOND) {
        fuzz_fail(__FILE__, __LINE__, "an input takes more than %u s",
                  state.limits.seconds);
    }
}

static void watch_size(size_t size) {
    if (size > state.allowed && state.target != NULL) {
        fuzz_fail(__FILE__, __LINE__, "an allocation of %zu bytes", size);
    }
}

void fuzz_allow(size_t size) {
    state.allowed = size;
}

void fuzz_run_init(const fuzz_limits *limits) {
    static const int numbers[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    struct itimerval timer = {.it_interval = {.tv_usec = 1000000 / TICKS_A_SECOND},
                              .it_value = {.tv_usec = 1000000 / TICKS_A_SECOND}};
    struct sigaction action;

    state.limits = *limits;
    for (size_t i = 0; i < LSM_ARRAY_COUNT(numbers); i++) {
        /* Not those that a sanitizer has taken: it has more to say. */
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
            action.sa_handler = on_signal;
            action.sa_flags = (int)(SA_RESETHAND | SA_NODEFER);
            (void)sigaction(numbers[i], &action, NULL);
        }
    }
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(keep_input);
    }
    action = (struct sigaction){.sa_handler = on_tick, .sa_flags = SA_RESTART};
    (void)sigaction(SIGPROF, &action, NULL);
    (void)setitimer(ITIMER_PROF, &timer, NULL);
    lsm_alloc_set_watch(watch_size);
}

void fuzz_run(const fuzz_target *target, lsm_slice input) {
    uint64_t live = lsm_alloc_live();
    uint8_t *copy = fuzz_alloc(input.size);

    if (input.size > 0) {
        memcpy(copy, input.data, input.size);
    }
    state.input = input;
    state.allowed = FUZZ_ALLOCATION_MAX;
    state.run = state.run + 1;
    state.target = target;
    fuzz_cover_begin();
    target->run(lsm_slice_make(copy, input.size));
    fuzz_cover_end();
    if (lsm_alloc_live() != live) {
        fuzz_fail(__FILE__, __LINE__, "%lld allocations are left",
                  (long long)(lsm_alloc_live() - live));
    }
    state.target = NULL;
    free(copy);
}

void *fuzz_alloc(size_t size) {
    void *memory = malloc(size > 0 ? size : 1);

    if (memory == NULL) {
        (void)fprintf(stderr, "fuzz: out of memory\n");
        exit(2);
    }
    return memory;
}

void *fuzz_grow(void *array, size_t *capacity, size_t needed, size_t element_size) {
    size_t wanted = *capacity < 16 ? 16 : *capacity;

    if (needed <= *capacity) {
        return array;
    }
    while (wanted < needed) {
        wanted *= 2;
    }
    void *memory = realloc(array, wanted * element_size);
    if (memory == NULL) {
        (void)fprintf(stderr, "fuzz: out of memory\n");
        exit(2);
    }
    *capacity = wanted;
    return memory;
}
