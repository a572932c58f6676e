/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: the small tools of base/ do what their headers say, at their limits and when
 * memory runs out. Method: exact bytes and boundary values; random input for the
 * decoders, with the seed in the source.
 */
#include "test.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/rng.h"

LSM_TEST(status_names_and_texts_follow_the_map) {
    CHECK(strcmp(lsmkv_status_name(LSMKV_OK), "OK") == 0);
    CHECK(strcmp(lsmkv_status_name(LSMKV_CORRUPTION), "CORRUPTION") == 0);
    CHECK(strcmp(lsmkv_status_text(LSMKV_DISK_FULL), "no space left on the device") ==
          0);
#define CHECK_NAMES(name, number, text)                                   \
    CHECK_EQ(LSMKV_##name, number);                                       \
    CHECK(strcmp(lsmkv_status_name((lsmkv_status)(number)), #name) == 0); \
    CHECK(strcmp(lsmkv_status_text((lsmkv_status)(number)), text) == 0);
    LSMKV_STATUS_MAP(CHECK_NAMES)
#undef CHECK_NAMES
    const int number = 999;
    lsmkv_status unknown;
    memcpy(&unknown, &number, sizeof(unknown)); /* as another version might answer */
    CHECK(strcmp(lsmkv_status_name(unknown), "UNKNOWN") == 0);
    CHECK(strcmp(lsmkv_status_text(unknown), "unknown status") == 0);
    CHECK(strcmp(lsmkv_version(), "0.1.0") == 0);
}

LSM_TEST(fail_formats_the_message_and_resets_the_other_fields) {
    lsmkv_error err;

    memset(&err, 0xff, sizeof(err));
    CHECK_EQ(lsm_fail(&err, LSMKV_LIMIT_EXCEEDED, "key of %d bytes", 7),
             LSMKV_LIMIT_EXCEEDED);
    CHECK_EQ(err.status, LSMKV_LIMIT_EXCEEDED);
    CHECK(strcmp(err.message, "key of 7 bytes") == 0);
    CHECK_EQ(err.os_errno, 0);
    CHECK_EQ(err.pid, 0);
    CHECK(err.offset == -1);
    CHECK(err.file[0] == '\0');
    CHECK_EQ(lsm_fail(NULL, LSMKV_CLOSED, "%s", "unheard"), LSMKV_CLOSED);
}

LSM_TEST(fail_at_names_the_file_and_the_offset) {
    lsmkv_error err;

    CHECK_EQ(lsm_fail_at(&err, LSMKV_CORRUPTION, "000007.log", 4096, "bad %s", "crc"),
             LSMKV_CORRUPTION);
    CHECK(strcmp(err.message, "000007.log@4096: bad crc") == 0);
    CHECK(strcmp(err.file, "000007.log") == 0);
    CHECK_EQ(err.offset, 4096);
    CHECK_EQ(lsm_fail_at(&err, LSMKV_IO_ERROR, "CURRENT", -1, "gone"), LSMKV_IO_ERROR);
    CHECK(strcmp(err.message, "CURRENT: gone") == 0);
    CHECK_EQ(lsm_fail_at(NULL, LSMKV_IO_ERROR, "CURRENT", -1, "gone"), LSMKV_IO_ERROR);
}

LSM_TEST(messages_and_file_names_that_are_too_long_are_cut) {
    char text[600];
    lsmkv_error err;

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    CHECK_EQ(lsm_fail_at(&err, LSMKV_IO_ERROR, text, INT64_MAX, "%s", text),
             LSMKV_IO_ERROR);
    CHECK_EQ(strlen(err.file), sizeof(err.file) - 1);
    CHECK_EQ(strlen(err.message), sizeof(err.message) - 1);
    CHECK(strstr(err.message, "x@9223372036854775807: xxx") != NULL);
}

LSM_TEST(error_copy_hands_on_the_stored_error) {
    lsmkv_error stored;
    lsmkv_error err;

    CHECK_EQ(lsm_fail_memory(&stored, 123), LSMKV_NO_MEMORY);
    lsm_error_clear(&err);
    CHECK_EQ(lsm_error_copy(&err, &stored), LSMKV_NO_MEMORY);
    CHECK(strcmp(err.message, "cannot allocate 123 bytes") == 0);
    CHECK_EQ(lsm_error_copy(NULL, &stored), LSMKV_NO_MEMORY);
    CHECK_EQ(lsm_error_copy(&err, &err), LSMKV_NO_MEMORY);
    CHECK(strcmp(err.message, "cannot allocate 123 bytes") == 0);
    lsm_error_clear(NULL);
}

LSM_TEST(a_failed_assertion_aborts_the_process) {
    int state = 0;
    pid_t child = fork();

    if (child == 0) {
        (void)close(STDERR_FILENO);
        (void)signal(SIGABRT, SIG_DFL);
        lsm_assert_fail("pigs fly", "barn.c", 1);
    }
    CHECK(waitpid(child, &state, 0) == child);
    CHECK(WIFSIGNALED(state) && WTERMSIG(state) == SIGABRT);
}

LSM_TEST(alloc_counts_what_is_live) {
    uint64_t live = lsm_alloc_live();
    void *plain = lsm_alloc(10);
    char *zeroed = lsm_calloc(3, 5);
    void *aligned = lsm_alloc_aligned(100);
    char *text = lsm_strdup("text");

    CHECK_EQ(lsm_alloc_live(), live + 4);
    CHECK_EQ((uintptr_t)aligned % LSM_CACHE_LINE, 0);
    CHECK(strcmp(text, "text") == 0);
    for (int i = 0; i < 15; i++) {
        CHECK_EQ(zeroed[i], 0);
    }
    plain = lsm_realloc(plain, 1000);
    CHECK(plain != NULL);
    CHECK_EQ(lsm_alloc_live(), live + 4);
    lsm_free(plain);
    lsm_free(zeroed);
    lsm_free_aligned(aligned);
    lsm_free(text);
    lsm_free(NULL);
    CHECK_EQ(lsm_alloc_live(), live);
}

LSM_TEST(alloc_refuses_sizes_of_zero_and_overflows) {
    CHECK(lsm_alloc(0) == NULL);
    CHECK(lsm_calloc(0, 8) == NULL);
    CHECK(lsm_calloc(8, 0) == NULL);
    CHECK(lsm_realloc(NULL, 0) == NULL);
    CHECK(lsm_alloc_huge(0) == NULL);
    CHECK(lsm_alloc_huge(LSM_HUGE_PAGE + 1) == NULL);
    CHECK(lsm_alloc_huge(SIZE_MAX - LSM_HUGE_PAGE + 1) == NULL);
    CHECK(lsm_alloc_huge((size_t)1 << 62) == NULL);
    CHECK(lsm_alloc((size_t)1 << 62) == NULL);
    CHECK(lsm_calloc(SIZE_MAX / 2, 4) == NULL);
    CHECK(lsm_alloc_aligned(0) == NULL);
    CHECK(lsm_alloc_aligned(SIZE_MAX - 3) == NULL);
}

LSM_TEST(the_chosen_allocation_fails_and_only_that_one) {
    void *memory[4];

    lsm_alloc_fail_after(2, 0);
    for (int i = 0; i < 4; i++) {
        memory[i] = lsm_alloc(8);
        CHECK((memory[i] == NULL) == (i == 2));
        lsm_free(memory[i]);
    }
}

LSM_TEST(sticky_failures_last_until_they_are_ended) {
    void *memory = NULL;

    lsm_alloc_fail_after(0, 1);
    CHECK(lsm_alloc(8) == NULL);
    CHECK(lsm_calloc(1, 8) == NULL);
    CHECK(lsm_alloc_aligned(8) == NULL);
    CHECK(lsm_strdup("x") == NULL);
    lsm_alloc_fail_never();
    memory = lsm_alloc(8);
    CHECK(memory != NULL);
    lsm_free(memory);
}

LSM_TEST(grow_keeps_the_elements_and_survives_a_failure) {
    uint32_t *array = NULL;
    size_t capacity = 0;

    for (uint32_t i = 0; i < 1000; i++) {
        CHECK(lsm_grow((void **)&array, &capacity, i + 1, sizeof(*array)));
        CHECK(capacity > i);
        array[i] = i;
    }
    CHECK(capacity < 4000);
    lsm_alloc_fail_after(0, 0);
    CHECK(!lsm_grow((void **)&array, &capacity, capacity + 1, sizeof(*array)));
    CHECK(!lsm_grow((void **)&array, &capacity, SIZE_MAX / 2, sizeof(*array)));
    CHECK(!lsm_grow((void **)&array, &capacity, SIZE_MAX, 1));
    for (uint32_t i = 0; i < 1000; i++) {
        CHECK_EQ(array[i], i);
    }
    lsm_free(array);
}

LSM_TEST(buf_appends_every_kind_of_field) {
    static const uint8_t expected[] = {'a',  'b',  0,    0,    0,    9,    4,    3,
                                       2,    1,    0x88, 0x77, 0x66, 0x55, 0x44, 0x33,
                                       0x22, 0x11, 0xac, 0x02, 2,    'c',  'd',  0};
    lsm_buf buf;

    lsm_buf_init(&buf);
    CHECK(lsm_buf_append(&buf, "ab", 2));
    CHECK(lsm_buf_append_zeros(&buf, 3));
    CHECK(lsm_buf_append_u8(&buf, 9));
    CHECK(lsm_buf_append_u32(&buf, 0x01020304));
    CHECK(lsm_buf_append_u64(&buf, 0x1122334455667788));
    CHECK(lsm_buf_append_varint(&buf, 300));
    CHECK(lsm_buf_append_slice(&buf, lsm_slice_make("cd", 2)));
    CHECK(lsm_buf_append_slice(&buf, lsm_slice_make(NULL, 0)));
    CHECK(lsm_slice_equal(lsm_buf_slice(&buf),
                          lsm_slice_make(expected, sizeof(expected))));
    lsm_buf_deinit(&buf);
    CHECK_EQ(buf.capacity, 0);
}

LSM_TEST(buf_grows_and_can_append_its_own_bytes) {
    lsm_buf buf;

    lsm_buf_init(&buf);
    CHECK(lsm_buf_append(&buf, "x", 1));
    for (int i = 0; i < 16; i++) {
        CHECK(lsm_buf_append(&buf, buf.data, buf.size));
    }
    CHECK_EQ(buf.size, 1 << 16);
    for (size_t i = 0; i < buf.size; i++) {
        CHECK_EQ(buf.data[i], 'x');
    }
    lsm_buf_clear(&buf);
    CHECK_EQ(buf.size, 0);
    CHECK(buf.capacity >= 1 << 16);
    lsm_buf_deinit(&buf);
}

LSM_TEST(a_failing_append_leaves_the_buffer_as_it_was) {
    uint8_t large[300] = {0};
    lsm_buf buf;

    lsm_buf_init(&buf);
    CHECK(lsm_buf_append(&buf, "kept", 4));
    lsm_alloc_fail_after(0, 1);
    CHECK(!lsm_buf_append(&buf, large, sizeof(large)));
    CHECK(!lsm_buf_append_zeros(&buf, sizeof(large)));
    buf.size = buf.capacity - 3;
    CHECK(!lsm_buf_append_u32(&buf, 7));
    buf.size = 4;
    CHECK(!lsm_buf_append_slice(&buf, lsm_slice_make(large, sizeof(large))));
    CHECK(!lsm_buf_reserve(&buf, SIZE_MAX));
    lsm_alloc_fail_never();
    CHECK(!lsm_buf_reserve(&buf, SIZE_MAX));
    CHECK(!lsm_buf_reserve(&buf, SIZE_MAX - 4));
    CHECK(lsm_slice_equal(lsm_buf_slice(&buf), lsm_slice_make("kept", 4)));
    lsm_buf_deinit(&buf);
}

LSM_TEST(arena_pieces_are_aligned_and_do_not_overlap) {
    enum { PIECES = 2000 };
    lsm_rng rng = {7};
    uint8_t *pieces[PIECES];
    size_t sizes[PIECES];
    size_t total = 0;
    lsm_arena arena;

    lsm_arena_init(&arena);
    for (size_t i = 0; i < PIECES; i++) {
        sizes[i] = (size_t)lsm_rng_below(&rng, i % 100 == 0 ? 40000 : 60);
        pieces[i] = lsm_arena_alloc(&arena, sizes[i]);
        CHECK(pieces[i] != NULL);
        CHECK_EQ((uintptr_t)pieces[i] % 8, 0);
        memset(pieces[i], (int)(i & 0xff), sizes[i]);
        total += sizes[i];
    }
    for (size_t i = 0; i < PIECES; i++) {
        for (size_t j = 0; j < sizes[i]; j++) {
            CHECK_EQ(pieces[i][j], i & 0xff);
        }
    }
    CHECK(arena.allocated >= total && arena.allocated < 2 * total);
    lsm_arena_deinit(&arena);
    CHECK_EQ(arena.allocated, 0);
}

LSM_TEST(arena_copies_and_reports_missing_memory) {
    lsm_slice copy;
    lsm_arena arena;

    lsm_arena_init(&arena);
    lsm_alloc_fail_after(0, 0);
    CHECK(!lsm_arena_copy(&arena, lsm_slice_make("text", 4), &copy));
    CHECK_EQ(copy.size, 0);
    CHECK(lsm_arena_copy(&arena, lsm_slice_make("text", 4), &copy));
    CHECK(lsm_slice_equal(copy, lsm_slice_make("text", 4)));
    CHECK(lsm_arena_copy(&arena, lsm_slice_make(NULL, 0), &copy));
    CHECK_EQ(copy.size, 0);
    lsm_alloc_fail_after(0, 0);
    CHECK(lsm_arena_alloc(&arena, 1 << 20) == NULL);
    CHECK(lsm_arena_alloc(&arena, SIZE_MAX - 4) == NULL);
    CHECK(lsm_arena_alloc(&arena, 8) != NULL);
    lsm_arena_deinit(&arena);
}

LSM_TEST(slices_order_by_unsigned_bytes_then_size) {
    lsm_slice empty = lsm_slice_make(NULL, 0);
    lsm_slice a = lsm_slice_make("a", 1);
    lsm_slice ab = lsm_slice_make("ab", 2);
    lsm_slice high = lsm_slice_make("\xff", 1);

    CHECK(lsm_slice_compare(empty, empty) == 0);
    CHECK(lsm_slice_compare(empty, a) < 0);
    CHECK(lsm_slice_compare(a, ab) < 0 && lsm_slice_compare(ab, a) > 0);
    CHECK(lsm_slice_compare(ab, high) < 0);
    CHECK(lsm_slice_equal(ab, lsm_slice_make("ab", 2)) && !lsm_slice_equal(a, ab));
}

LSM_TEST(list_keeps_insertion_order_and_unlinks) {
    lsm_list head;
    lsm_list nodes[3];

    lsm_list_init(&head);
    CHECK(lsm_list_empty(&head));
    for (int i = 0; i < 3; i++) {
        lsm_list_insert(&head, &nodes[i]);
    }
    CHECK(head.next == &nodes[0] && head.prev == &nodes[2]);
    lsm_list_remove(&nodes[1]);
    CHECK(nodes[0].next == &nodes[2] && nodes[2].prev == &nodes[0]);
    CHECK(lsm_list_empty(&nodes[1]));
    lsm_list_remove(&nodes[0]);
    lsm_list_remove(&nodes[2]);
    CHECK(lsm_list_empty(&head));
}

LSM_TEST(rng_gives_the_published_sequence) {
    lsm_rng rng = {1234567};

    CHECK_EQ(lsm_rng_next(&rng), 6457827717110365317u);
    CHECK_EQ(lsm_rng_next(&rng), 3203168211198807973u);
    CHECK_EQ(lsm_rng_next(&rng), 9817491932198370423u);
    for (int i = 0; i < 1000; i++) {
        CHECK(lsm_rng_below(&rng, 10) < 10);
    }
}
