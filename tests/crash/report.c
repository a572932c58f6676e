/* SPDX-License-Identifier: Apache-2.0
 *
 * The texts live in fixed buffers, so that reporting a fault needs no memory. The
 * trace is a ring of the last operations.
 */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_SIZE = 160, TRACE_COUNT = 48, SPAN_COUNT = 16 };

crash_counts crash_count;
const char *crash_dump_path;

static char replay[LINE_SIZE];
static char place[LINE_SIZE];
static char trace[TRACE_COUNT][LINE_SIZE];
static uint64_t trace_next;
static uint64_t spans[SPAN_COUNT][2]; /* of the numbers of operations, without gaps */
static size_t span_count;

uint64_t crash_mix(uint64_t a, uint64_t b) {
    uint64_t x =
        (a ^ (b + UINT64_C(0x9E3779B97F4A7C15))) * UINT64_C(0xD6E8FEB86659FD93);

    x ^= x >> 32;
    x *= UINT64_C(0xD6E8FEB86659FD93);
    return x ^ (x >> 29);
}

uint64_t crash_hash(const void *data, size_t size, uint64_t seed) {
    const uint8_t *at = (const uint8_t *)data;
    uint64_t hash = crash_mix(seed, size);
    uint64_t word = 0;

    for (; size >= sizeof(word); size -= sizeof(word), at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        hash = crash_mix(hash, word);
    }
    if (size > 0) {
        word = 0;
        memcpy(&word, at, size);
        hash = crash_mix(hash, word);
    }
    return hash;
}

void crash_set_replay(const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(replay, sizeof(replay), format, arguments);
    va_end(arguments);
    place[0] = '\0';
    trace_next = 0;
    span_count = 0;
}

void crash_set_place(const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(place, sizeof(place), format, arguments);
    va_end(arguments);
}

void crash_begin_op(uint64_t number) {
    if (span_count > 0 && spans[span_count - 1][1] + 1 == number) {
        spans[span_count - 1][1] = number;
    } else if (span_count < SPAN_COUNT) {
        spans[span_count][0] = number;
        spans[span_count++][1] = number;
    }
}

void crash_trace(const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(trace[trace_next++ % TRACE_COUNT], LINE_SIZE, format, arguments);
    va_end(arguments);
}

void crash_fail(const char *format, ...) {
    va_list arguments;
    uint64_t first = trace_next > TRACE_COUNT ? trace_next - TRACE_COUNT : 0;

    (void)printf("FAILED: ");
    va_start(arguments, format);
    (void)vprintf(format, arguments);
    va_end(arguments);
    (void)printf("\nafter %llu crash states and %llu runs; the last operations:\n",
                 (unsigned long long)crash_count.states,
                 (unsigned long long)crash_count.runs);
    for (uint64_t i = first; i < trace_next; i++) {
        (void)printf("  %llu %s\n", (unsigned long long)i, trace[i % TRACE_COUNT]);
    }
    for (size_t i = 0; i < span_count; i++) {
        (void)printf("%s%llu-%llu%s", i == 0 ? "ran: " : ",",
                     (unsigned long long)spans[i][0], (unsigned long long)spans[i][1],
                     i + 1 == span_count ? "\n" : "");
    }
    (void)printf("replay: crash %s%s%s\n", replay, place[0] != '\0' ? " " : "", place);
    (void)fflush(stdout);
    exit(1);
}

void crash_need(lsmkv_status status, const lsmkv_error *err, const char *what) {
    if (status != LSMKV_OK) {
        crash_fail("%s: %s: %s (file \"%s\", offset %lld)", what,
                   lsmkv_status_name(status), err->message, err->file,
                   (long long)err->offset);
    }
}

void *crash_alloc(size_t size) {
    void *memory = calloc(1, size > 0 ? size : 1);

    if (memory == NULL) {
        crash_fail("no memory for %zu bytes", size);
    }
    return memory;
}

void *crash_grow(void *old, size_t *capacity, size_t needed, size_t element_size) {
    void *memory;

    if (needed <= *capacity) {
        return old;
    }
    *capacity = needed > 2 * *capacity ? needed + 16 : 2 * *capacity;
    memory = realloc(old, *capacity * element_size);
    if (memory == NULL) {
        crash_fail("no memory for %zu elements", *capacity);
    }
    return memory;
}
