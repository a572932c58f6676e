/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a walk over a cache segment shows the frames that are whole and nothing else,
 * wherever the file ends or is damaged. Method: frames in the simulator, written and
 * then cut, damaged and starved of memory.
 */
#include "sim_help.h"

#include <errno.h>

#include "base/alloc.h"
#include "env/sync.h"
#include "segment/cache_segment.h"

enum { NUMBER = 5, FILE_ID = 77, SPACE_ID = 9, FRAME_COUNT = 6, KEY_SIZE = 300 };

static const size_t value_sizes[FRAME_COUNT] = {1, 3000, 0, 70000, 64, 5};

typedef struct frames {
    lsm_env *env;
    lsm_dir *dir;
    lsm_segment_sink sink;
    lsm_segment_context context;
    lsm_segment_files files;
    lsm_segment *segment;
    uint64_t offsets[FRAME_COUNT]; /* of each frame */
    uint64_t end;
} frames;

static void drop(lsm_segment_sink *sink, lsm_segment *segment) {
    (void)sink;
    lsm_segment_destroy(segment);
}

static lsm_slice make_key(uint8_t to[KEY_SIZE], size_t index) {
    memset(to, (int)index + 1, KEY_SIZE);
    return lsm_slice_make(to, KEY_SIZE);
}

/* Writes frame `index` at the end. */
static void add_frame(frames *f, lsm_file *file, size_t index) {
    uint8_t key[KEY_SIZE];
    lsm_slice skey = make_key(key, index);
    lsm_cache_frame frame = lsm_cache_frame_plan(skey.size, value_sizes[index]);
    lsm_buf bytes = {0};
    lsmkv_error err;

    f->offsets[index] = f->end;
    CHECK(lsm_cache_frame_encode(&frame, skey, FILE_ID, f->end, &bytes));
    CHECK(lsm_buf_append_zeros(&bytes, (size_t)frame.size - bytes.size));
    lsm_slice piece = lsm_buf_slice(&bytes);
    CHECK_OK(lsm_file_write_at(file, f->end, &piece, 1, &err));
    f->end += frame.size;
    lsm_buf_deinit(&bytes);
}

static void begin(frames *f) {
    lsm_edit_cache info = {NUMBER, FILE_ID, SPACE_ID};
    lsm_file *file = NULL;
    lsmkv_error err;

    memset(f, 0, sizeof(*f));
    f->env = sim_make(1, &f->dir);
    f->sink.dropped = drop;
    f->context = (lsm_segment_context){
        .dir = f->dir, .sink = &f->sink, .files = &f->files, .uuid = "0123456789abcde"};
    lsm_segment_files_init(&f->files, 4);
    f->segment = lsm_cache_segment_create(&f->context, &info);
    CHECK(f->segment != NULL);
    CHECK(lsm_cache_segment_size(f->segment, 1 << 20, 0));
    CHECK_OK(lsm_cache_segment_begin(f->segment, &file, &err));
    f->end = LSM_RECORD_FILE_HEADER_SIZE;
    for (size_t i = 0; i < FRAME_COUNT; i++) {
        add_frame(f, file, i);
    }
    lsm_cache_segment_grow(f->segment, f->end);
    lsm_cache_segment_grow(f->segment, 100); /* somebody else was further */
    CHECK_OK(lsm_file_close(file, &err));
}

static void end(frames *f) {
    lsm_segment_unref(f->segment);
    lsm_segment_files_deinit(&f->files);
    sim_end(f->env, f->dir);
}

/* Walks and checks what is shown; *shown has a bit for each frame. */
static lsmkv_status walk(const frames *f, unsigned *shown) {
    lsm_cache_walk walk;
    lsm_cache_item item;
    lsmkv_error err;
    lsmkv_status status;

    *shown = 0;
    lsm_cache_walk_init(&walk, f->segment);
    while ((status = lsm_cache_walk_next(&walk, &item, &err)) == LSMKV_OK) {
        uint8_t key[KEY_SIZE];
        size_t i = item.skey.data[0] - (size_t)1;
        CHECK(i < FRAME_COUNT && *shown >> i == 0);
        CHECK(lsm_slice_equal(item.skey, make_key(key, i)));
        CHECK_EQ(item.pointer.size, value_sizes[i]);
        CHECK(item.pointer.offset >= f->offsets[i] + KEY_SIZE);
        CHECK(item.pointer.offset + item.pointer.size <= f->offsets[i] + item.size);
        *shown |= 1u << i;
    }
    lsm_cache_walk_deinit(&walk);
    return status;
}

/* Of a file of `size` bytes, of which the segment is not told. */
static void cut(const frames *f, size_t size) {
    const uint8_t *data = NULL;
    size_t before = 0;

    CHECK(lsm_sim_file_read(f->env, SIM_PATH, "000005.cache", &data, &before));
    uint8_t *copy = lsm_alloc(before);
    CHECK(copy != NULL && size <= before);
    memcpy(copy, data, before);
    CHECK(lsm_sim_file_write(f->env, SIM_PATH, "000005.cache", copy, size));
    lsm_free(copy);
}

LSM_TEST(a_walk_shows_every_frame_in_order) {
    unsigned shown = 0;
    frames f;

    begin(&f);
    CHECK_EQ(walk(&f, &shown), LSMKV_NOT_FOUND);
    CHECK_EQ(shown, (1u << FRAME_COUNT) - 1);
    end(&f);
}

LSM_TEST(a_walk_ends_where_the_file_does) {
    frames f;

    begin(&f);
    for (size_t i = FRAME_COUNT; i-- > 0;) {
        /* Behind the key, within it, within what comes before it, and none of it. */
        static const size_t parts[] = {LSM_CACHE_HEAD_SIZE + KEY_SIZE,
                                       LSM_CACHE_HEAD_SIZE + 10,
                                       LSM_CACHE_HEAD_SIZE - 1, 0};
        for (size_t k = 0; k < LSM_ARRAY_COUNT(parts); k++) {
            unsigned shown = 0;
            cut(&f, (size_t)f.offsets[i] + parts[k]);
            CHECK_EQ(walk(&f, &shown), LSMKV_NOT_FOUND);
            CHECK_EQ(shown, (1u << (i + (k == 0))) - 1);
        }
    }
    CHECK(lsm_sim_file_remove(f.env, SIM_PATH, "000005.cache"));
    unsigned shown = 0;
    CHECK_EQ(walk(&f, &shown), LSMKV_NOT_FOUND);
    CHECK_EQ(shown, 0);
    end(&f);
}

LSM_TEST(a_walk_that_cannot_read_ends_and_one_without_memory_says_so) {
    unsigned shown = 0;
    uint64_t skip = 0;
    frames f;

    begin(&f);
    do {
        lsm_sim_fail(f.env, LSM_SIM_READ, skip++, EIO, false);
        CHECK_EQ(walk(&f, &shown), LSMKV_NOT_FOUND);
    } while (shown != (1u << FRAME_COUNT) - 1);
    CHECK(skip > 1);
    lsm_sim_fail(f.env, LSM_SIM_READ, 0, 0, false);
    lsm_sim_exempt_memory(f.env);
    lsm_alloc_fail_after(0, 1);
    CHECK_EQ(walk(&f, &shown), LSMKV_NO_MEMORY);
    lsm_alloc_fail_never();
    end(&f);
}

LSM_TEST(a_cache_segment_without_memory_or_file_leaves_nothing) {
    lsm_edit_cache info = {NUMBER + 1, FILE_ID, SPACE_ID};
    lsm_file *file = NULL;
    lsmkv_error err;
    frames f;

    begin(&f);
    lsm_alloc_fail_after(0, 1);
    CHECK(lsm_cache_segment_create(&f.context, &info) == NULL);
    lsm_alloc_fail_never();
    lsm_segment *segment = lsm_cache_segment_create(&f.context, &info);
    CHECK(segment != NULL);
    lsm_alloc_fail_after(0, 1);
    CHECK(!lsm_cache_segment_size(segment, 1 << 20, 0));
    lsm_alloc_fail_never();
    CHECK(lsm_cache_segment_size(segment, 1 << 20, 0));
    lsm_sim_fail(f.env, LSM_SIM_OPEN, 0, EMFILE, false);
    CHECK_STATUS(lsm_cache_segment_begin(segment, &file, &err), LSMKV_IO_ERROR);
    lsm_sim_fail(f.env, LSM_SIM_APPEND, 0, EIO, false);
    CHECK_STATUS(lsm_cache_segment_begin(segment, &file, &err), LSMKV_IO_ERROR);
    CHECK(file == NULL);
    lsm_segment_unref(segment);
    end(&f);
}

enum { GROWERS = 3, STEPS_MAX = 3000000, MEETINGS = 1000 };

/* Goes on until the others have been seen at work often enough; there may be one core
 * for all of them. */
static void grow_in_thread(void *context) {
    lsm_segment *segment = context;
    size_t meetings = 0;

    for (size_t i = 0; i < STEPS_MAX && meetings < MEETINGS; i++) {
        uint64_t end = atomic_load(&segment->size) + 1;
        lsm_cache_segment_grow(segment, end);
        uint64_t size = atomic_load(&segment->size);
        if (size < end) {
            lsm_test_fail(__FILE__, __LINE__, "the end went back");
        }
        meetings += size > end;
    }
}

LSM_TEST(the_end_of_a_cache_segment_never_goes_back) {
    lsm_edit_cache info = {NUMBER + 1, FILE_ID, SPACE_ID};
    lsm_thread threads[GROWERS];
    frames f;

    begin(&f);
    lsm_segment *segment = lsm_cache_segment_create(&f.context, &info);
    CHECK(segment != NULL && lsm_cache_segment_size(segment, 1 << 30, 0));
    for (size_t i = 0; i < GROWERS; i++) {
        CHECK(lsm_thread_start(&threads[i], grow_in_thread, segment, "grow"));
    }
    for (size_t i = 0; i < GROWERS; i++) {
        lsm_thread_join(&threads[i]);
    }
    uint64_t size = atomic_load(&segment->size);
    CHECK(size >= MEETINGS && size <= (uint64_t)GROWERS * STEPS_MAX);
    lsm_segment_unref(segment);
    end(&f);
}
