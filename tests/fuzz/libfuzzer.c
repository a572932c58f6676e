/* SPDX-License-Identifier: Apache-2.0
 *
 * The same targets under clang's libFuzzer: in the place of fuzz.c. FUZZ_TARGET says
 * which one, FUZZ_FAILURES where inputs go that fail a check of ours (.); those that
 * fail in a sanitizer libFuzzer writes itself.
 */
#include <stdio.h>
#include <stdlib.h>

#include "mutator.h"

static const fuzz_target *target;

/* As libFuzzer calls them. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed);

/* NOLINTNEXTLINE(readability-non-const-parameter) */
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    const char *name = getenv("FUZZ_TARGET");
    const char *failures = getenv("FUZZ_FAILURES");

    (void)argc;
    (void)argv;
    target = fuzz_target_find(name != NULL ? name : "");
    if (target == NULL) {
        (void)fprintf(stderr, "fuzz: which target? Set FUZZ_TARGET\n");
        exit(2);
    }
    fuzz_run_init(&(fuzz_limits){failures != NULL ? failures : ".", 1});
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size <= target->size_max) {
        fuzz_run(target, lsm_slice_make(data, size));
    }
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed) {
    lsm_rng rng = {seed};
    fuzz_bytes bytes = {data, size, max_size};

    if (lsm_rng_below(&rng, 2) == 0) {
        fuzz_mutate(&rng, target, &bytes, lsm_slice_make(NULL, 0));
        return bytes.size;
    }
    size = LLVMFuzzerMutate(data, size, max_size);
    if (target->mend != NULL && lsm_rng_below(&rng, 8) != 0) {
        target->mend(data, size);
    }
    return size;
}
