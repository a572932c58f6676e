/* SPDX-License-Identifier: Apache-2.0
 *
 * The public calls of lsmkv_inspect.h.
 */
#include "db/inspect.h"
#include "include/lsmkv.h"

lsmkv_status lsmkv_inspect_open(const char *directory, const char *name,
                                const lsmkv_inspect_how *how,
                                lsmkv_inspection **inspectionp, lsmkv_error *err) {
    return lsm_inspect_open(lsm_env_posix(), directory, name, how, inspectionp, err);
}

lsmkv_status lsmkv_inspect_next(lsmkv_inspection *inspection, lsmkv_part *part,
                                lsmkv_error *err) {
    return lsm_inspect_next(inspection, part, err);
}

void lsmkv_inspect_free(lsmkv_inspection *inspection) {
    lsm_inspect_free(inspection);
}
