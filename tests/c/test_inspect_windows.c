/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: an inspection of a log or cache segment that is larger than what is read at
 * once shows all that is whole, says which read failed, and is not kept busy by forged
 * headers. Method: files of several windows, written record by record, whole, with a
 * record or the header damaged, and full of headers that lead nowhere; each read fails
 * in turn, for the moment and for good.
 */
#include "inspect_help.h"

#include <errno.h>

#include "base/buf.h"
#include "format/batch.h"
#include "format/cache_frame.h"

#define LOG_NAME "000007.log"
#define CACHE_NAME "000007.cache"

enum {
    FILE_NUMBER = 7,
    PIECE_FILE_ID = 0x7654321,
    PIECES = 12,
    FRAME_SIZE = ((64 << 10) - LSM_RECORD_FILE_HEADER_SIZE) / 3, /* of a window */
    KEY_SIZE = 200,
    PIECE_SIZE = FRAME_SIZE - 256, /* of a value, behind head and key */
    GAP_SIZE = 80000,
    MARK_EVERY = 3,
    FORGED_SIZE = 24 * 4096, /* of headers, one behind the other */
    PASSED_SIZE = 8192,      /* pays for one try of a whole piece */
    READS_MAX = 200,
};

static const lsmkv_inspect_how all = {.entries = true};

/* A file that is being made: what is written last begins at `last`. */
typedef struct piece_file {
    lsm_env *env;
    lsm_dir *dir;
    const char *name;
    lsm_buf bytes;
    size_t first;
    size_t last;
} piece_file;

static void begin_file(piece_file *f, lsm_record_file_type type) {
    lsm_record_file_header header = {
        .type = type, .number = FILE_NUMBER, .file_id = PIECE_FILE_ID};

    *f = (piece_file){.name = type == LSM_FILE_LOG ? LOG_NAME : CACHE_NAME};
    f->env = sim_make(1, &f->dir);
    CHECK(lsm_buf_append_zeros(&f->bytes, LSM_RECORD_FILE_HEADER_SIZE));
    lsm_record_file_header_encode(&header, f->bytes.data);
}

static void save(const piece_file *f) {
    CHECK(lsm_sim_file_write(f->env, SIM_PATH, f->name, f->bytes.data, f->bytes.size));
}

static void end_file(piece_file *f) {
    lsm_buf_deinit(&f->bytes);
    sim_end(f->env, f->dir);
}

static void add_mark(piece_file *f) {
    size_t at = f->bytes.size;

    CHECK(lsm_buf_append_zeros(&f->bytes, LSM_RECORD_HEADER_SIZE));
    lsm_record_seal(f->bytes.data + at, 0, LSM_RECORD_MARK,
                    (lsm_record_place){PIECE_FILE_ID, at, at});
}

static void add_batch(piece_file *f, uint64_t sequence) {
    static const uint8_t value[PIECE_SIZE] = {1};
    lsm_batch batch;
    lsmkv_error err;

    lsm_batch_init(&batch);
    CHECK_OK(lsm_batch_put(&batch, LSM_NAMESPACE_DEFAULT, (lsmkv_bytes){"key", 3},
                           (lsmkv_bytes){value, PIECE_SIZE}, &err));
    lsm_batch_stamp(&batch, sequence, 1);
    size_t size = lsm_batch_payload_size(&batch);
    f->last = f->bytes.size;
    CHECK(lsm_buf_append_zeros(&f->bytes, (size_t)lsm_record_size(size)));
    uint8_t *record = f->bytes.data + f->last;
    memcpy(record + LSM_RECORD_HEADER_SIZE, batch.record.data + LSM_RECORD_HEADER_SIZE,
           size);
    lsm_record_seal(record, size, LSM_RECORD_BATCH,
                    (lsm_record_place){PIECE_FILE_ID, f->last, 0});
    lsm_batch_deinit(&batch);
}

static void add_frame(piece_file *f, uint8_t fill) {
    static uint8_t value[PIECE_SIZE];
    lsm_cache_frame frame;
    static const uint8_t skey[KEY_SIZE] = {0, 0, 0, 9, 'k', 'e', 'y'};

    memset(value, fill, sizeof(value));
    CHECK(lsm_buf_append_zeros(&f->bytes, (0 - f->bytes.size) % LSM_CACHE_FRAME_ALIGN));
    f->last = f->bytes.size;
    frame = lsm_cache_frame_plan(sizeof(skey), sizeof(value));
    CHECK_EQ(frame.size, FRAME_SIZE);
    frame.value_checksum = lsm_xxh3(value, sizeof(value));
    CHECK(lsm_cache_frame_encode(&frame, lsm_slice_make(skey, sizeof(skey)),
                                 PIECE_FILE_ID, f->last, &f->bytes));
    CHECK(lsm_buf_append(&f->bytes, value, sizeof(value)));
    CHECK(lsm_buf_append_zeros(&f->bytes, (0 - f->bytes.size) % LSM_CACHE_FRAME_ALIGN));
}

/* Three frames fill a window, so that the fourth begins where it ends, and the seventh
 * has its head in one and its key in the next. */
static void make_file(piece_file *f, lsm_record_file_type type) {
    begin_file(f, type);
    for (unsigned i = 0; i < PIECES; i++) {
        if (type == LSM_FILE_LOG) {
            add_batch(f, i + 1);
        } else {
            add_frame(f, (uint8_t)i);
        }
        if (type == LSM_FILE_CACHE && i == PIECES / 2) {
            CHECK(lsm_buf_append_zeros(&f->bytes, GAP_SIZE));
        }
        f->first = i == 0 ? f->last : f->first;
        if (type == LSM_FILE_LOG && i % MARK_EVERY == 0) {
            add_mark(f);
        }
    }
    save(f);
}

/* The n-th read fails, for each n, and maybe all that follow. */
static void fail_reads(const piece_file *f, int code, bool sticky) {
    seen whole = look_at(f->env, f->name, &all);

    for (uint64_t n = 0; n < READS_MAX; n++) {
        lsmkv_error err;
        seen s;
        lsm_error_clear(&err);
        lsm_sim_fail(f->env, LSM_SIM_READ, n, code, sticky);
        lsmkv_status status = look(f->env, f->name, &all, &s, &err);
        bool met = lsm_sim_failed_name(f->env)[0] != '\0';
        lsm_sim_fail(f->env, LSM_SIM_READ, 0, 0, false);
        if (!met) {
            CHECK(n > 2 && status == LSMKV_NOT_FOUND && s.parts == whole.parts);
            return;
        }
        if (code == EIO) {
            CHECK_STATUS(status, LSMKV_NOT_FOUND);
            CHECK(s.at == f->bytes.size && s.entries <= whole.entries);
            CHECK(s.damage > 0 || s.parts == whole.parts);
        } else {
            CHECK_STATUS(status, LSMKV_IO_ERROR);
            CHECK_EQ(err.os_errno, code);
        }
    }
    CHECK(false);
}

static void fail_reads_of(lsm_record_file_type type) {
    piece_file f;

    make_file(&f, type);
    seen s = look_at(f.env, f.name, &all);
    CHECK(s.damage == 0 && s.entries == PIECES && s.at == f.bytes.size);
    fail_reads(&f, EACCES, false);
    fail_reads(&f, EIO, true);
    f.bytes.data[f.first + 100] ^= 1;
    f.bytes.data[f.first + LSM_RECORD_HEADER_SIZE - 4] ^= 1; /* a size, or a mark */
    save(&f);
    s = look_at(f.env, f.name, &all);
    CHECK(s.damage == 1 && s.entries == PIECES - 1 && s.at == f.bytes.size);
    fail_reads(&f, EACCES, false);
    f.bytes.data[9] ^= 1;
    save(&f);
    fail_reads(&f, EACCES, false);
    end_file(&f);
}

LSM_TEST(inspection_of_a_large_log_says_which_read_failed) {
    fail_reads_of(LSM_FILE_LOG);
}

LSM_TEST(inspection_of_a_large_cache_segment_says_which_read_failed) {
    fail_reads_of(LSM_FILE_CACHE);
}

/* Headers that ask for all that is behind them, then one that is true. */
static seen look_behind_forged(lsm_record_file_type type) {
    size_t step = type == LSM_FILE_LOG ? LSM_RECORD_HEADER_SIZE : LSM_CACHE_FRAME_ALIGN;
    piece_file f;

    begin_file(&f, type);
    size_t from = f.bytes.size;
    CHECK(lsm_buf_append_zeros(&f.bytes, FORGED_SIZE));
    for (size_t at = from; at + step <= f.bytes.size; at += step) {
        uint32_t size = type == LSM_FILE_LOG ? (uint32_t)(f.bytes.size - at) : 1 << 15;
        lsm_put_u64(f.bytes.data + at, at);
        if (type == LSM_FILE_LOG) {
            lsm_put_u32(f.bytes.data + at + 8, size);
            lsm_put_u32(f.bytes.data + at + 12, LSM_RECORD_BATCH);
        } else {
            lsm_put_u32(f.bytes.data + at + 20, size);
        }
    }
    CHECK(lsm_buf_append_zeros(&f.bytes, PASSED_SIZE));
    if (type == LSM_FILE_LOG) {
        add_batch(&f, 1);
        add_mark(&f);
    } else {
        add_frame(&f, 1);
    }
    save(&f);
    seen s = look_at(f.env, f.name, &all);
    CHECK_EQ(s.at, f.bytes.size);
    end_file(&f);
    return s;
}

LSM_TEST(inspection_is_not_kept_busy_by_forged_headers) {
    seen s = look_behind_forged(LSM_FILE_LOG);

    CHECK(s.damage == 1 && s.entries == 1);
    s = look_behind_forged(LSM_FILE_CACHE);
    CHECK(s.damage == 1 && s.entries == 1);
}
