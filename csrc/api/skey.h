/* SPDX-License-Identifier: Apache-2.0
 *
 * Stored keys for the time of one call.
 */
#ifndef LSM_API_SKEY_H
#define LSM_API_SKEY_H

#include "api/calls.h"
#include "base/alloc.h"

enum { LSM_SKEY_INLINE = 256 };

/* A stored key built from the user's, on the stack where it is short. */
typedef struct lsm_skey {
    lsm_slice skey;
    uint8_t *owned;
    uint8_t inlined[LSM_SKEY_INLINE];
} lsm_skey;

static inline lsmkv_status lsm_skey_init(lsm_skey *skey, uint32_t namespace_id,
                                         lsmkv_bytes key, lsmkv_error *err) {
    size_t size = key.size + LSM_NAMESPACE_SIZE;
    uint8_t *to = skey->inlined;
    skey->owned = NULL;
    if (lsm_check_key(key, err) != LSMKV_OK) {
        return LSMKV_LIMIT_EXCEEDED;
    }
    if (size > LSM_SKEY_INLINE) {
        to = skey->owned = lsm_alloc(size);
        if (to == NULL) {
            return lsm_fail_memory(err, size);
        }
    }
    lsm_skey_write(to, namespace_id, key);
    skey->skey = lsm_slice_make(to, size);
    return LSMKV_OK;
}

static inline void lsm_skey_deinit(lsm_skey *skey) {
    lsm_free(skey->owned);
}

#endif
