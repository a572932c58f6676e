/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: of the files of segments no more stay open than the bound, those read last; a
 * file in use is never closed; one that cannot be opened leaves nothing behind.
 * Method: files of the simulator, which tells at its end of any that is still open.
 */
#include "sim_help.h"

#include <errno.h>
#include <stdio.h>

#include "segment/segment_files.h"

enum { FILE_COUNT = 9, OPEN_MAX = 3 };

typedef struct one {
    lsm_segment_file entry;
    lsm_dir *dir;
    char name[16];
    size_t opened;
} one;

typedef struct all {
    lsm_env *env;
    lsm_dir *dir;
    lsm_segment_files files;
    one ones[FILE_COUNT];
} all;

static lsmkv_status open_one(const void *context, lsm_file **filep, lsmkv_error *err) {
    one *self = (one *)(uintptr_t)context;

    self->opened++;
    return lsm_file_open(self->dir, self->name, LSM_OPEN_READ, filep, err);
}

static void begin(all *a) {
    lsmkv_error err;

    memset(a, 0, sizeof(*a));
    a->env = sim_make(1, &a->dir);
    lsm_segment_files_init(&a->files, OPEN_MAX);
    for (size_t i = 0; i < FILE_COUNT; i++) {
        lsm_file *file = NULL;
        a->ones[i].dir = a->dir;
        (void)snprintf(a->ones[i].name, sizeof(a->ones[i].name), "%zu", i);
        CHECK_OK(lsm_file_open(a->dir, a->ones[i].name, LSM_OPEN_CREATE, &file, &err));
        lsm_file_drop(file);
    }
}

static void end(all *a) {
    for (size_t i = 0; i < FILE_COUNT; i++) {
        lsm_segment_files_forget(&a->files, &a->ones[i].entry);
    }
    CHECK_EQ(lsm_segment_files_open_count(&a->files), 0);
    lsm_segment_files_deinit(&a->files);
    sim_end(a->env, a->dir);
}

static lsmkv_status take(all *a, size_t i) {
    lsmkv_error err;
    lsm_file *file = NULL;
    lsmkv_status status = lsm_segment_files_take(&a->files, &a->ones[i].entry, open_one,
                                                 &a->ones[i], &file, &err);

    CHECK_EQ(file != NULL, status == LSMKV_OK);
    return status;
}

static void give(all *a, size_t i) {
    lsm_segment_files_give(&a->files, &a->ones[i].entry);
}

static void use(all *a, size_t i) {
    CHECK_EQ(take(a, i), LSMKV_OK);
    give(a, i);
}

LSM_TEST(files_of_segments_stay_open_within_a_bound) {
    all a;

    begin(&a);
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < FILE_COUNT; i++) {
            use(&a, i);
            CHECK(lsm_segment_files_open_count(&a.files) <= OPEN_MAX);
        }
    }
    for (size_t i = 0; i < 10; i++) { /* those that were read last stay */
        use(&a, 0);
        use(&a, 1);
        use(&a, 2 + i % 2);
    }
    CHECK_EQ(a.ones[0].opened, 4);
    CHECK_EQ(a.ones[1].opened, 4);
    CHECK(a.ones[2].opened + a.ones[3].opened > 12);
    lsm_segment_files_relieve(&a.files);
    CHECK_EQ(lsm_segment_files_open_count(&a.files), 0);
    use(&a, 0);
    CHECK_EQ(a.ones[0].opened, 5);
    end(&a);
}

LSM_TEST(files_of_segments_that_are_read_are_not_closed) {
    all a;

    begin(&a);
    for (size_t i = 0; i < FILE_COUNT; i++) {
        CHECK_EQ(take(&a, i), LSMKV_OK);
        CHECK_EQ(take(&a, i), LSMKV_OK);
        give(&a, i);
    }
    CHECK_EQ(lsm_segment_files_open_count(&a.files), FILE_COUNT);
    lsm_segment_files_relieve(&a.files);
    CHECK_EQ(lsm_segment_files_open_count(&a.files), FILE_COUNT);
    for (size_t i = 0; i < FILE_COUNT; i++) {
        CHECK_EQ(a.ones[i].opened, 1);
        give(&a, i);
    }
    use(&a, 5); /* closes what is over the bound by now */
    use(&a, 5);
    lsm_segment_files_relieve(&a.files);
    use(&a, 5);
    CHECK_EQ(lsm_segment_files_open_count(&a.files), 1);
    end(&a);
}

LSM_TEST(files_of_segments_are_handed_over_once) {
    all a;
    lsmkv_error err;

    begin(&a);
    for (size_t i = 0; i < 2; i++) {
        lsm_file *file = NULL;
        CHECK_OK(open_one(&a.ones[4], &file, &err));
        lsm_segment_files_put(&a.files, &a.ones[4].entry, file);
        CHECK_EQ(lsm_segment_files_open_count(&a.files), 1);
    }
    use(&a, 4);
    CHECK_EQ(a.ones[4].opened, 2);
    end(&a);
}

LSM_TEST(files_of_segments_that_cannot_be_opened_leave_nothing_behind) {
    all a;

    begin(&a);
    use(&a, 0);
    lsm_sim_fail(a.env, LSM_SIM_OPEN, 0, EMFILE, false);
    CHECK_EQ(take(&a, 1), LSMKV_IO_ERROR);
    use(&a, 0);
    lsm_sim_fail(a.env, LSM_SIM_OPEN, 0, 0, false);
    CHECK_EQ(lsm_segment_files_open_count(&a.files), 1);
    use(&a, 1);
    end(&a);
}

static all *both; /* whose file somebody else opens meanwhile */

static lsmkv_status open_second(const void *context, lsm_file **filep,
                                lsmkv_error *err) {
    one *self = (one *)(uintptr_t)context;

    if (both != NULL) {
        all *a = both;
        both = NULL;
        use(a, (size_t)(self - a->ones));
    }
    return open_one(context, filep, err);
}

LSM_TEST(a_file_that_two_open_at_once_stays_open_once) {
    all a;
    lsmkv_error err;
    lsm_file *file = NULL;

    begin(&a);
    both = &a;
    CHECK_OK(lsm_segment_files_take(&a.files, &a.ones[2].entry, open_second, &a.ones[2],
                                    &file, &err));
    CHECK(file == a.ones[2].entry.file);
    CHECK_EQ(a.ones[2].opened, 2);
    CHECK_EQ(lsm_segment_files_open_count(&a.files), 1);
    give(&a, 2);
    end(&a); /* the other one is closed, or the simulator would say so */
}
