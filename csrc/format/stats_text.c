/* SPDX-License-Identifier: Apache-2.0
 *
 * See stats_text.h.
 */
#include "format/stats_text.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/xxh3.h"

enum { NUMBER_SIZE = 20, HEX_DIGITS = 16, NIBBLE_BITS = 4 };

typedef struct figure {
    const char *name;
    size_t at; /* of a u64 in its struct */
} figure;

static const figure head_figures[] = {
    {"time_ms", offsetof(lsm_stats_head, time_ms)},
    {"pid", offsetof(lsm_stats_head, pid)},
    {"start", offsetof(lsm_stats_head, start)},
    {"uptime_ms", offsetof(lsm_stats_head, uptime_ms)},
    {"interval_ms", offsetof(lsm_stats_head, interval_ms)},
};

static const figure stats_figures[] = {
    {"sequence", offsetof(lsmkv_stats, sequence)},
    {"memtable_bytes", offsetof(lsmkv_stats, memtable_bytes)},
    {"memtable_count", offsetof(lsmkv_stats, memtable_count)},
    {"cache_bytes", offsetof(lsmkv_stats, cache_bytes)},
    {"cache_capacity", offsetof(lsmkv_stats, cache_capacity)},
    {"cache_misses", offsetof(lsmkv_stats, cache_misses)},
    {"table_bytes", offsetof(lsmkv_stats, table_bytes)},
    {"open_tables", offsetof(lsmkv_stats, open_tables)},
    {"log_bytes", offsetof(lsmkv_stats, log_bytes)},
    {"user_bytes_written", offsetof(lsmkv_stats, user_bytes_written)},
    {"log_bytes_written", offsetof(lsmkv_stats, log_bytes_written)},
    {"flush_bytes_written", offsetof(lsmkv_stats, flush_bytes_written)},
    {"compact_bytes_read", offsetof(lsmkv_stats, compact_bytes_read)},
    {"compact_bytes_written", offsetof(lsmkv_stats, compact_bytes_written)},
    {"flush_count", offsetof(lsmkv_stats, flush_count)},
    {"compact_count", offsetof(lsmkv_stats, compact_count)},
    {"trivial_move_count", offsetof(lsmkv_stats, trivial_move_count)},
    {"sync_count", offsetof(lsmkv_stats, sync_count)},
    {"write_group_count", offsetof(lsmkv_stats, write_group_count)},
    {"write_count", offsetof(lsmkv_stats, write_count)},
    {"stall_count", offsetof(lsmkv_stats, stall_count)},
    {"stall_us", offsetof(lsmkv_stats, stall_us)},
    {"snapshot_count", offsetof(lsmkv_stats, snapshot_count)},
    {"expired_count", offsetof(lsmkv_stats, expired_count)},
    {"expired_table_count", offsetof(lsmkv_stats, expired_table_count)},
    {"clock_jumps", offsetof(lsmkv_stats, clock_jumps)},
    {"segment_count", offsetof(lsmkv_stats, segment_count)},
    {"segment_bytes", offsetof(lsmkv_stats, segment_bytes)},
    {"segment_live_bytes", offsetof(lsmkv_stats, segment_live_bytes)},
    {"segment_bytes_written", offsetof(lsmkv_stats, segment_bytes_written)},
    {"relocated_bytes", offsetof(lsmkv_stats, relocated_bytes)},
    {"recovered_records", offsetof(lsmkv_stats, recovered_records)},
    {"recovered_dropped_bytes", offsetof(lsmkv_stats, recovered_dropped_bytes)},
    {"warm_bytes", offsetof(lsmkv_stats, warm_bytes)},
    {"warm_total_bytes", offsetof(lsmkv_stats, warm_total_bytes)},
};

static const figure level_figures[] = {
    {"table_count", offsetof(lsmkv_level_stats, table_count)},
    {"byte_count", offsetof(lsmkv_level_stats, byte_count)},
    {"entry_count", offsetof(lsmkv_level_stats, entry_count)},
    {"tombstone_count", offsetof(lsmkv_level_stats, tombstone_count)},
};

static const figure memory_figures[] = {
    {"memory.budget_bytes", offsetof(lsmkv_memory, budget_bytes)},
    {"memory.memtable_bytes", offsetof(lsmkv_memory, memtable_bytes)},
    {"memory.block_bytes", offsetof(lsmkv_memory, block_bytes)},
    {"memory.filter_bytes", offsetof(lsmkv_memory, filter_bytes)},
    {"memory.index_bytes", offsetof(lsmkv_memory, index_bytes)},
    {"memory.pinned_bytes", offsetof(lsmkv_memory, pinned_bytes)},
    {"memory.row_bytes", offsetof(lsmkv_memory, row_bytes)},
};

/* In the order of their line. */
static const size_t space_figures[] = {
    offsetof(lsmkv_space_stats, hits),          offsetof(lsmkv_space_stats, misses),
    offsetof(lsmkv_space_stats, expired),       offsetof(lsmkv_space_stats, read_bytes),
    offsetof(lsmkv_space_stats, stale_hits),    offsetof(lsmkv_space_stats, computed),
    offsetof(lsmkv_space_stats, coalesced),     offsetof(lsmkv_space_stats, evictions),
    offsetof(lsmkv_space_stats, evicted_bytes), offsetof(lsmkv_space_stats, bytes),
};

_Static_assert(sizeof(stats_figures) / sizeof(figure) * sizeof(uint64_t) ==
                   offsetof(lsmkv_stats, warming) - offsetof(lsmkv_stats, sequence),
               "every figure of lsmkv_stats has a line");
_Static_assert(sizeof(level_figures) / sizeof(figure) * sizeof(uint64_t) ==
                   sizeof(lsmkv_level_stats),
               "and so have those of a level, ...");
_Static_assert(sizeof(memory_figures) / sizeof(figure) * sizeof(uint64_t) ==
                   sizeof(lsmkv_memory),
               "of the memory ...");
_Static_assert(sizeof(space_figures) / sizeof(size_t) * sizeof(uint64_t) ==
                   sizeof(lsmkv_space_stats),
               "and of a namespace");

static const char *const latency_names[] = {
    [LSMKV_LATENCY_GET] = "get",
    [LSMKV_LATENCY_GET_MANY] = "get_many",
    [LSMKV_LATENCY_GATHER] = "gather",
    [LSMKV_LATENCY_WRITE] = "write",
    [LSMKV_LATENCY_SCAN] = "scan",
    [LSMKV_LATENCY_SYNC] = "sync",
    [LSMKV_LATENCY_STALL] = "stall",
    [LSMKV_LATENCY_FLUSH] = "flush",
    [LSMKV_LATENCY_COMPACTION] = "compaction",
};

static bool put_text(lsm_buf *to, const char *text) {
    return lsm_buf_append(to, text, strlen(text));
}

/* A character, then the number. */
static bool put_number(lsm_buf *to, char before, uint64_t number) {
    char text[1 + NUMBER_SIZE];
    size_t at = sizeof(text);

    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    text[--at] = before;
    return lsm_buf_append(to, text + at, sizeof(text) - at);
}

static bool put_line(lsm_buf *to, const char *name, uint64_t number) {
    return put_text(to, name) && put_number(to, ' ', number) && put_text(to, "\n");
}

static uint64_t figure_of(const void *from, size_t at) {
    uint64_t value;

    memcpy(&value, (const char *)from + at, sizeof(value));
    return value;
}

static bool put_figures(lsm_buf *to, const figure *figures, size_t count,
                        const void *from) {
    bool ok = true;

    for (size_t i = 0; ok && i < count; i++) {
        ok = put_line(to, figures[i].name, figure_of(from, figures[i].at));
    }
    return ok;
}

static bool put_level(lsm_buf *to, size_t level, const lsmkv_level_stats *stats) {
    bool ok = true;

    for (size_t i = 0; ok && i < LSM_ARRAY_COUNT(level_figures); i++) {
        ok = put_text(to, "level") && put_number(to, '.', level) && put_text(to, ".") &&
             put_line(to, level_figures[i].name, figure_of(stats, level_figures[i].at));
    }
    return ok;
}

static bool put_latency(lsm_buf *to, const char *name,
                        const lsmkv_histogram *histogram) {
    bool ok = put_text(to, "latency.") && put_text(to, name) &&
              put_number(to, ' ', histogram->count) &&
              put_number(to, ' ', histogram->sum_ns) &&
              put_number(to, ' ', histogram->max_ns);

    for (size_t i = 0; ok && i < LSMKV_HISTOGRAM_BUCKETS; i++) {
        if (histogram->counts[i] != 0) {
            ok = put_number(to, ' ', i) && put_number(to, ':', histogram->counts[i]);
        }
    }
    return ok && put_text(to, "\n");
}

/* Anything but printable ASCII, and what has a meaning here, as \xNN. */
static bool put_name(lsm_buf *to, lsmkv_bytes name) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = name.data;
    bool ok = put_text(to, " \"");

    for (size_t i = 0; ok && i < name.size; i++) {
        uint8_t byte = bytes[i];
        if (byte > ' ' && byte <= '~' && byte != '"' && byte != '\\') {
            ok = lsm_buf_append_u8(to, byte);
        } else {
            const char escape[] = {'\\', 'x', digits[byte >> NIBBLE_BITS],
                                   digits[byte & ((1 << NIBBLE_BITS) - 1)]};
            ok = lsm_buf_append(to, escape, sizeof(escape));
        }
    }
    return ok && put_text(to, "\"");
}

static bool put_space(lsm_buf *to, const lsm_stats_space *space) {
    bool ok = put_text(to, "namespace") && put_name(to, space->name);

    for (size_t i = 0; ok && i < LSM_ARRAY_COUNT(space_figures); i++) {
        ok = put_number(to, ' ', figure_of(&space->stats, space_figures[i]));
    }
    return ok && put_text(to, "\n");
}

bool lsm_stats_text_head(const lsm_stats_head *head, lsm_buf *to) {
    return put_line(to, "lsmkv-stats", LSM_STATS_VERSION) &&
           put_figures(to, head_figures, LSM_ARRAY_COUNT(head_figures), head);
}

bool lsm_stats_text_figures(const lsm_stats_report *report, lsm_buf *to) {
    const lsmkv_stats *stats = &report->stats;
    bool ok = put_line(to, "state", stats->state) &&
              put_line(to, "warming", stats->warming) &&
              put_figures(to, stats_figures, LSM_ARRAY_COUNT(stats_figures), stats);

    for (size_t i = 0; ok && i < LSMKV_LEVEL_COUNT; i++) {
        ok = put_level(to, i, &stats->levels[i]);
    }
    ok = ok && put_figures(to, memory_figures, LSM_ARRAY_COUNT(memory_figures),
                           &report->memory);
    for (size_t i = 0; ok && i < LSMKV_LATENCY_KINDS; i++) {
        ok = put_latency(to, latency_names[i], &report->latencies[i]);
    }
    ok = ok && put_line(to, "namespace_count", report->space_count);
    LSM_ASSERT(report->listed <= LSM_STATS_SPACES_MAX);
    for (size_t i = 0; ok && i < report->listed; i++) {
        ok = put_space(to, &report->spaces[i]);
    }
    return ok;
}

bool lsm_stats_text_end(lsm_buf *text) {
    char line[sizeof("xxh3 \n") + HEX_DIGITS];
    uint64_t hash = lsm_xxh3(text->data, text->size);
    int size = snprintf(line, sizeof(line), "xxh3 %0*llx\n", HEX_DIGITS,
                        (unsigned long long)hash);

    LSM_ASSERT(size == (int)sizeof(line) - 1);
    return lsm_buf_append(text, line, sizeof(line) - 1);
}
