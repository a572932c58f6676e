/* SPDX-License-Identifier: Apache-2.0
 *
 * Short forms for tests over versions and edits: tables described by a level, a number
 * and two words, and a sink that counts what it is told of.
 */
#ifndef LSM_TESTS_VERSION_HELP_H
#define LSM_TESTS_VERSION_HELP_H

#include "test.h"

#include <stdio.h>
#include <string.h>

#include "base/coding.h"
#include "db/version.h"

enum { WORD_MAX = 32, TABLE_FILE_SIZE = 1000, TABLE_TAIL_SIZE = 200 };

typedef struct word_key {
    uint8_t bytes[LSM_NAMESPACE_SIZE + WORD_MAX + LSM_TRAILER_SIZE];
    size_t size; /* of the internal key */
} word_key;

static inline void word_key_make(word_key *key, const char *word, uint64_t sequence) {
    size_t size = strlen(word);

    CHECK(size <= WORD_MAX);
    lsm_put_u32_be(key->bytes, LSM_NAMESPACE_DEFAULT);
    memcpy(key->bytes + LSM_NAMESPACE_SIZE, word, size);
    lsm_put_u64(key->bytes + LSM_NAMESPACE_SIZE + size,
                lsm_trailer_make(sequence, LSM_KIND_PUT));
    key->size = LSM_NAMESPACE_SIZE + size + LSM_TRAILER_SIZE;
}

static inline lsm_slice word_ikey(const word_key *key) {
    return lsm_slice_make(key->bytes, key->size);
}

static inline lsm_slice word_skey(const word_key *key) {
    return lsm_ikey_skey(word_ikey(key));
}

/* A table from word to word, whose sequences are [number * 10, number * 10 + 9]. A ")"
 * behind the last word makes that an exclusive end. */
typedef struct word_table {
    word_key smallest;
    word_key largest;
    lsm_table_info info; /* borrows the keys: do not copy */
} word_table;

static inline void word_table_make(word_table *table, uint64_t number, const char *from,
                                   const char *to) {
    word_key_make(&table->smallest, from, number * 10 + 9);
    size_t size = strlen(to);
    bool exclusive = to[size - 1] == ')';
    word_key_make(&table->largest, to, number * 10);
    if (exclusive) {
        table->largest.size--;
        lsm_put_u64(table->largest.bytes + table->largest.size - LSM_TRAILER_SIZE,
                    LSM_TRAILER_EXCLUSIVE);
    }
    table->info = (lsm_table_info){
        .number = number,
        .file_id = number * 7919,
        .file_size = TABLE_FILE_SIZE,
        .tail_size = TABLE_TAIL_SIZE,
        .smallest = word_ikey(&table->smallest),
        .largest = word_ikey(&table->largest),
        .sequence_min = number * 10,
        .sequence_max = number * 10 + 9,
        .entry_count = 10,
        .raw_bytes = 900,
        .range_delete_count = exclusive,
    };
}

static inline void edit_add(lsm_edit *edit, uint32_t level, uint64_t number,
                            const char *from, const char *to) {
    word_table table;

    word_table_make(&table, number, from, to);
    CHECK(lsm_edit_add_table(edit, level, &table.info));
}

static inline void edit_delete(lsm_edit *edit, uint32_t level, uint64_t number) {
    CHECK(lsm_edit_delete_table(edit, level, number));
}

/* Counts the tables it is told of, and destroys them. */
typedef struct count_sink {
    lsm_table_sink head;
    uint64_t dropped;
    uint64_t last_number;
} count_sink;

static inline void count_dropped(lsm_table_sink *head, lsm_live_table *table) {
    count_sink *sink = (count_sink *)(void *)head;

    sink->dropped++;
    sink->last_number = table->info.number;
    lsm_live_table_destroy(table);
}

static inline count_sink count_sink_make(void) {
    return (count_sink){.head = {.dropped = count_dropped}};
}

/* Applies an edit that must fit, empties it and gives up the base. */
static inline lsm_version *version_next(lsm_version *base, lsm_edit *edit,
                                        count_sink *sink) {
    lsmkv_error err;
    lsm_version *next = NULL;

    CHECK_OK(lsm_version_apply(base, edit, &sink->head, &next, &err));
    lsm_version_unref(base);
    lsm_edit_deinit(edit);
    return next;
}

/* The numbers of a level as "3 1 2", which tests compare. */
static inline const char *level_text(const lsm_version *version, uint32_t level) {
    static char text[256];
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < version->levels[level].count; i++) {
        int size =
            snprintf(text + used, sizeof(text) - used, "%s%llu", i == 0 ? "" : " ",
                     (unsigned long long)version->levels[level].tables[i]->info.number);
        CHECK(size > 0 && (size_t)size < sizeof(text) - used);
        used += (size_t)size;
    }
    return text;
}

/* Whether every invariant of version.h holds, checked in the plainest way. */
static inline bool version_is_legal(const lsm_version *version) {
    for (uint32_t i = 0; i < LSMKV_LEVEL_COUNT; i++) {
        const lsm_level *level = &version->levels[i];
        uint64_t bytes = 0;
        for (size_t j = 0; j < level->count; j++) {
            const lsm_table_info *info = &level->tables[j]->info;
            bytes += info->file_size;
            if (j == 0) {
                continue;
            }
            const lsm_table_info *before = &level->tables[j - 1]->info;
            if (i == 0 ? before->sequence_min <= info->sequence_max
                       : lsm_slice_compare(lsm_ikey_skey(before->largest),
                                           lsm_ikey_skey(info->smallest)) >=
                             (lsm_bound_is_exclusive(before->largest) ? 1 : 0)) {
                return false;
            }
        }
        if (bytes != level->bytes) {
            return false;
        }
    }
    return true;
}

#endif
