/* SPDX-License-Identifier: Apache-2.0
 *
 * What the other public headers share: how functions are declared, statuses and
 * errors, borrowed bytes, handles and limits.
 */
#ifndef LSMKV_BASE_H
#define LSMKV_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define LSMKV_LINKAGE extern "C"
#else
#define LSMKV_LINKAGE
#endif

#if defined(__GNUC__)
#define LSMKV_API LSMKV_LINKAGE __attribute__((visibility("default")))
#define LSMKV_MUST_CHECK __attribute__((warn_unused_result))
#else
#define LSMKV_API LSMKV_LINKAGE
#define LSMKV_MUST_CHECK
#endif

/* name, pinned number, text. The numbers never change. */
#define LSMKV_STATUS_MAP(X)                                \
    X(OK, 0, "ok")                                         \
    X(NOT_FOUND, 1, "not found")                           \
    X(WOULD_BLOCK, 2, "the call would have to wait")       \
    X(CORRUPTION, 10, "corruption")                        \
    X(IO_ERROR, 11, "I/O error")                           \
    X(DISK_FULL, 12, "no space left on the device")        \
    X(CLOSED, 13, "the database is closed")                \
    X(LOCKED, 14, "the database is in use")                \
    X(FORKED, 15, "the database was opened before fork()") \
    X(READ_ONLY, 16, "the database is read-only")          \
    X(INVALID_ARGUMENT, 17, "invalid argument")            \
    X(LIMIT_EXCEEDED, 18, "a limit was exceeded")          \
    X(UNSUPPORTED_VERSION, 19, "unsupported version")      \
    X(NOT_A_DATABASE, 20, "not an lsmkv database")         \
    X(NO_MEMORY, 21, "out of memory")                      \
    X(CHANGED, 22, "the files changed underneath: open the database again")

typedef enum lsmkv_status {
#define LSMKV_STATUS_ENUM(name, number, text) LSMKV_##name = (number),
    LSMKV_STATUS_MAP(LSMKV_STATUS_ENUM)
#undef LSMKV_STATUS_ENUM
} lsmkv_status;

/* What went wrong, filled in by the callee. `file` is the name of a file inside the
 * database directory, or empty; `offset` is -1 where none applies; `pid` is the
 * holder of the lock for LSMKV_LOCKED where it is known, else 0. */
typedef struct lsmkv_error {
    lsmkv_status status;
    int os_errno;
    int64_t offset;
    int64_t pid;
    char file[64];
    char message[256];
} lsmkv_error;

/* The enum's spelling ("CORRUPTION") and its text ("corruption"). */
LSMKV_API const char *lsmkv_status_name(lsmkv_status status);
LSMKV_API const char *lsmkv_status_text(lsmkv_status status);
LSMKV_API const char *lsmkv_version(void);

typedef struct lsmkv_bytes {
    const void *data;
    size_t size;
} lsmkv_bytes;

typedef struct lsmkv_db lsmkv_db;
typedef struct lsmkv_snapshot lsmkv_snapshot;
typedef struct lsmkv_iter lsmkv_iter;
typedef struct lsmkv_batch lsmkv_batch;
typedef struct lsmkv_namespace lsmkv_namespace;
typedef struct lsmkv_publish lsmkv_publish;

enum {
    LSMKV_KEY_SIZE_MAX = 65535,                   /* bytes of one key */
    LSMKV_VALUE_SIZE_MAX = 1 << 30,               /* bytes of one value */
    LSMKV_BATCH_SIZE_MAX = (1 << 30) + (1 << 20), /* encoded bytes of one batch */
    LSMKV_LEVEL_COUNT = 7,
    LSMKV_VECTOR_DIM_MAX = 1 << 20 /* numbers in a vector */
};

#endif
