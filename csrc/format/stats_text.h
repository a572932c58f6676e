/* SPDX-License-Identifier: Apache-2.0
 *
 * The text of the statistics file: what a process that writes to a database tells
 * others about it. It is not a part of the database: the engine never reads it.
 *
 *   lsmkv-stats 1             the version
 *   NAME NUMBER               one line for each figure, in one order
 *   latency.NAME COUNT SUM_NS MAX_NS BUCKET:COUNT ...    buckets that hold anything
 *   namespace "NAME" HITS MISSES ...                     at most LSM_STATS_SPACES_MAX
 *   xxh3 HEX                  XXH3-64 of all before this line, 16 digits
 *
 * docs/file-format.md lists the names. The head, down to interval_ms, says when and by
 * whom it was written, what is behind it what there was to tell.
 */
#ifndef LSM_FORMAT_STATS_TEXT_H
#define LSM_FORMAT_STATS_TEXT_H

#include "base/buf.h"
#include "include/lsmkv.h"

enum {
    LSM_STATS_VERSION = 1,
    LSM_STATS_SPACES_MAX = 256,
};

/* The first lines. */
typedef struct lsm_stats_head {
    uint64_t time_ms; /* wall clock */
    uint64_t pid;     /* of lsm_env_process */
    uint64_t start;
    uint64_t uptime_ms; /* since the opening */
    uint64_t interval_ms;
} lsm_stats_head;

typedef struct lsm_stats_space {
    lsmkv_bytes name; /* lent */
    lsmkv_space_stats stats;
} lsm_stats_space;

typedef struct lsm_stats_report {
    lsmkv_stats stats;
    lsmkv_memory memory;
    lsmkv_histogram latencies[LSMKV_LATENCY_KINDS];
    uint64_t space_count; /* namespaces, the default one included */
    size_t listed;        /* of them */
    lsm_stats_space spaces[LSM_STATS_SPACES_MAX];
} lsm_stats_report;

/* The three parts, in this order, appended. false: no memory. */
bool lsm_stats_text_head(const lsm_stats_head *head, lsm_buf *to) LSM_MUST_CHECK;
bool lsm_stats_text_figures(const lsm_stats_report *report, lsm_buf *to) LSM_MUST_CHECK;
bool lsm_stats_text_end(lsm_buf *text) LSM_MUST_CHECK;

#endif
