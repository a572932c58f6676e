/* SPDX-License-Identifier: Apache-2.0
 *
 * A codec for runs of equal bytes: (count u8, byte)*. It says so when something does
 * not fit, or is no such code.
 */
#ifndef LSM_TESTS_RUNS_CODEC_H
#define LSM_TESTS_RUNS_CODEC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void *runs_create(int level) {
    static int context;

    (void)level;
    return &context;
}

static inline void runs_destroy(void *context) {
    (void)context;
}

static inline size_t runs_bound(size_t size) {
    return 2 * size;
}

static inline size_t runs_compress(void *context, void *dst, size_t capacity,
                                   const void *src, size_t size) {
    const uint8_t *from = src;
    uint8_t *to = dst;
    size_t used = 0;

    (void)context;
    for (size_t i = 0; i < size;) {
        size_t run = 1;

        while (i + run < size && run < UINT8_MAX && from[i + run] == from[i]) {
            run++;
        }
        if (capacity - used < 2) {
            return 0;
        }
        to[used++] = (uint8_t)run;
        to[used++] = from[i];
        i += run;
    }
    return used;
}

static inline size_t runs_decompress(void *context, void *dst, size_t capacity,
                                     const void *src, size_t size) {
    const uint8_t *from = src;
    uint8_t *to = dst;
    size_t used = 0;

    (void)context;
    for (size_t i = 0; i + 1 < size; i += 2) {
        if (from[i] == 0 || capacity - used < from[i]) {
            return 0;
        }
        memset(to + used, from[i + 1], from[i]);
        used += from[i];
    }
    return size % 2 == 0 ? used : 0;
}

#endif
