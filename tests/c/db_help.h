/* SPDX-License-Identifier: Apache-2.0
 *
 * Short forms for tests of whole databases.
 */
#ifndef LSM_TESTS_DB_HELP_H
#define LSM_TESTS_DB_HELP_H

#include "test.h"

#include <string.h>

#include "include/lsmkv.h"

static inline lsmkv_bytes bytes_of(const char *text) {
    return (lsmkv_bytes){text, strlen(text)};
}

static inline void close_db(lsmkv_db *db) {
    lsmkv_error err;

    CHECK_OK(lsmkv_close(db, &err));
    lsmkv_free(db);
}

#endif
