/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening and closing.
 */
#include "include/lsmkv.h"

#include "db/db.h"

lsmkv_status lsmkv_open(const char *path, const lsmkv_options *options, lsmkv_db **dbp,
                        lsmkv_error *err) {
    lsmkv_options defaults;
    lsmkv_options_init(&defaults);
    return lsm_db_open(lsm_env_posix(), path, options != NULL ? options : &defaults,
                       dbp, err);
}

lsmkv_status lsmkv_close(lsmkv_db *db, lsmkv_error *err) {
    return lsm_db_close(db, err);
}

void lsmkv_free(lsmkv_db *db) {
    if (db != NULL) {
        lsmkv_status closed = lsm_db_close(db, NULL);
        (void)closed; /* a finalizer has nobody to tell */
        lsm_db_unref(db);
    }
}

bool lsmkv_is_closed(const lsmkv_db *db) {
    return atomic_load(&db->closing);
}
