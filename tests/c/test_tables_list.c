/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: the list of tables says of each what the MANIFEST does, of one moment.
 * Method: tables in the simulator of which all is known; a compaction, and the end of a
 * namespace, in the middle of a listing.
 */
#include "expiry_help.h"

#include "format/filename.h"

enum { LISTED_MAX = 64, LARGE = 2000, KEY_MAX = 16 };

typedef struct listed {
    lsmkv_table_info tables[LISTED_MAX];
    char names[LISTED_MAX][2][KEY_MAX]; /* of the namespaces; "?" where none is known */
    char keys[LISTED_MAX][2][KEY_MAX];
    lsmkv_segment_share shares[LISTED_MAX]; /* the first of each */
    size_t count;
    expiry_db *compacts; /* at the first call; NULL: nothing */
} listed;

static void keep_word(char to[KEY_MAX], lsmkv_bytes from) {
    if (from.data == NULL) {
        from = word_bytes("?");
    }
    CHECK(from.size < KEY_MAX);
    memcpy(to, from.data, from.size);
    to[from.size] = '\0';
}

static void keep_table(void *context, const lsmkv_table_info *table) {
    listed *to = context;

    CHECK(to->count < LISTED_MAX);
    if (to->compacts != NULL) {
        expiry_compact(to->compacts);
        to->compacts = NULL;
    }
    to->tables[to->count] = *table;
    keep_word(to->names[to->count][0], table->first.space);
    keep_word(to->names[to->count][1], table->last.space);
    keep_word(to->keys[to->count][0], table->first.key);
    keep_word(to->keys[to->count][1], table->last.key);
    if (table->segment_count > 0) {
        to->shares[to->count] = table->segments[0];
    }
    to->count += 1;
}

static void list_tables(expiry_db *d, listed *to) {
    lsmkv_error err;

    to->count = 0;
    CHECK_OK(lsmkv_tables_list(d->db, keep_table, to, &err));
}

static lsmkv_namespace *open_space(expiry_db *d, const char *name) {
    lsmkv_error err;
    lsmkv_namespace *space = NULL;
    lsmkv_namespace_how how = {.create = true};

    CHECK_OK(lsmkv_namespace_open(d->db, word_bytes(name), &how, &space, &err));
    return space;
}

LSM_TEST(a_table_is_listed_with_all_that_is_known_of_it) {
    static const uint8_t large[LARGE] = {1};
    expiry_db d;
    listed found = {0};
    lsmkv_error err;

    expiry_begin(&d); /* the options: a table of their own */
    list_tables(&d, &found);
    CHECK(found.count == 1 && found.tables[0].first.space_id == 0);
    CHECK(strcmp(found.names[0][0], "?") == 0);
    expiry_put(&d, "c", "value", NEVER);
    expiry_flush(&d);
    list_tables(&d, &found);
    uint64_t newest = found.tables[0].sequence_max;
    expiry_put(&d, "a", "value", 1000);
    expiry_put(&d, "b", "value", 2000);
    CHECK_OK(lsmkv_delete(d.db, NULL, word_bytes("c"), &err));
    CHECK_OK(lsmkv_put(d.db, NULL, word_bytes("d"), (lsmkv_bytes){large, LARGE}, &err));
    expiry_flush(&d);

    list_tables(&d, &found);
    CHECK_EQ(found.count, 3);
    const lsmkv_table_info *table = &found.tables[0]; /* the newest first */
    CHECK(table->level == 0 && table->number > found.tables[1].number);
    CHECK(table->sequence_min == newest + 1 && table->sequence_max == newest + 4);
    CHECK(table->entry_count == 4 && table->tombstone_count == 1);
    CHECK(table->range_delete_count == 0 && !table->last_excluded);
    CHECK(table->first.space_id == 1 && table->last.space_id == 1);
    CHECK(strcmp(found.names[0][0], "") == 0);
    CHECK(strcmp(found.keys[0][0], "a") == 0);
    CHECK(strcmp(found.keys[0][1], "d") == 0);
    CHECK(table->raw_bytes > 0 && table->byte_count > table->raw_bytes);
    CHECK_EQ(table->segment_count, 1);
    CHECK_EQ(found.shares[0].bytes, 2048); /* rounded up to a multiple of 64 */
    CHECK(table->expire_all_ms == 0);      /* a deletion does not expire */

    lsmkv_stats stats = expiry_stats(&d);
    CHECK_EQ(stats.levels[0].table_count, found.count);
    CHECK_EQ(
        stats.levels[0].byte_count,
        table->byte_count + found.tables[1].byte_count + found.tables[2].byte_count);
    expiry_end(&d);
}

LSM_TEST(a_table_is_listed_with_when_it_expires_and_where_a_range_delete_ends) {
    expiry_db d;
    listed found = {0};
    lsmkv_error err;
    lsmkv_range range = {word_bytes("w"), word_bytes("z"), true, true};

    expiry_begin(&d);
    expiry_put(&d, "x", "value", 1000);
    expiry_put(&d, "y", "value", 3000);
    expiry_flush(&d);
    list_tables(&d, &found);
    CHECK(found.tables[0].expire_all_ms >= found.tables[0].expire_half_ms);
    CHECK(found.tables[0].expire_half_ms > 0);
    CHECK_OK(lsmkv_delete_range(d.db, NULL, &range, &err));
    expiry_flush(&d);
    list_tables(&d, &found);
    CHECK(found.tables[0].range_delete_count == 1 && found.tables[0].last_excluded);
    CHECK_EQ(found.tables[0].entry_count, 0);
    CHECK(strcmp(found.keys[0][0], "w") == 0);
    CHECK(strcmp(found.keys[0][1], "z") == 0);
    expiry_end(&d);
}

LSM_TEST(bounds_name_their_namespace_as_long_as_there_is_one) {
    expiry_db d;
    listed found = {0};
    lsmkv_error err;

    expiry_begin(&d);
    lsmkv_namespace *space = open_space(&d, "users");
    expiry_flush(&d);
    lsmkv_write how = {.space = space};
    expiry_put(&d, "key", "value", NEVER);
    CHECK_OK(lsmkv_put(d.db, &how, word_bytes("ada"), word_bytes("value"), &err));
    expiry_flush(&d);
    list_tables(&d, &found);
    CHECK(strcmp(found.names[0][0], "") == 0);
    CHECK(strcmp(found.keys[0][0], "key") == 0);
    CHECK(strcmp(found.names[0][1], "users") == 0);
    CHECK(strcmp(found.keys[0][1], "ada") == 0);
    CHECK_EQ(found.tables[0].last.space_id, lsmkv_namespace_id(space));
    CHECK_OK(lsmkv_namespace_drop(d.db, word_bytes("users"), &err));
    list_tables(&d, &found);
    CHECK(strcmp(found.names[0][1], "?") == 0);
    CHECK_EQ(found.tables[0].last.space_id, lsmkv_namespace_id(space));
    lsmkv_namespace_free(space);
    expiry_end(&d);
}

LSM_TEST(a_list_shows_one_moment_whatever_goes_on) {
    expiry_db d;
    listed before = {0};
    listed during = {.compacts = &d};

    expiry_begin(&d);
    for (int i = 0; i < 3; i++) {
        expiry_put(&d, "key", "value", NEVER);
        expiry_flush(&d);
    }
    list_tables(&d, &before);
    CHECK_EQ(before.count, 4);
    list_tables(&d, &during);
    CHECK(during.compacts == NULL);
    CHECK_EQ(during.count, before.count);
    for (size_t i = 0; i < during.count; i++) {
        CHECK_EQ(during.tables[i].number, before.tables[i].number);
        CHECK(strcmp(during.keys[i][0], before.keys[i][0]) == 0);
        /* What the list had kept is unlinked behind it. */
        const uint8_t *data;
        size_t size;
        char name[LSM_FILENAME_SIZE];
        lsm_filename_make(name, LSM_NAME_TABLE, during.tables[i].number);
        CHECK(!lsm_sim_file_read(d.env, "db", name, &data, &size));
    }
    list_tables(&d, &before);
    CHECK_EQ(before.count, 1);
    CHECK(before.tables[0].level > 0);
    expiry_end(&d);
}
