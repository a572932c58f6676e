/* SPDX-License-Identifier: Apache-2.0
 *
 * What a caller's lsmkv_write comes to.
 */
#include "api/checks.h"

lsm_write_how lsm_resolve_how(const lsmkv_db *db, const lsmkv_write *how) {
    bool sync = db->options.given.durability == LSMKV_DURABILITY_SYNC;
    if (how == NULL) {
        return (lsm_write_how){.sync = sync};
    }
    return (lsm_write_how){.sync = how->sync || (sync && !how->nosync),
                           .nonblocking = how->nonblocking};
}

lsmkv_status lsm_resolve_times(const lsmkv_write *how, lsm_times *times,
                               lsmkv_error *err) {
    const lsmkv_namespace *space = how == NULL ? NULL : how->space;
    int64_t ttl_ms = how == NULL ? 0 : how->ttl_ms;

    *times = (lsm_times){0};
    if (LSM_UNLIKELY(ttl_ms < -1)) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "a time to live of %lld ms: -1 (never), 0 or more",
                        (long long)ttl_ms);
    }
    int64_t stale_ms = how == NULL ? 0 : how->stale_ms;
    if (LSM_UNLIKELY(stale_ms < -1)) {
        return lsm_fail(err, LSMKV_INVALID_ARGUMENT,
                        "stale for %lld ms: -1 (not at all), 0 or more",
                        (long long)stale_ms);
    }
    if (LSM_UNLIKELY(space != NULL)) {
        ttl_ms = ttl_ms != 0 ? ttl_ms : atomic_load(&space->space->default_ttl_ms);
        stale_ms =
            stale_ms != 0 ? stale_ms : atomic_load(&space->space->default_stale_ms);
    }
    if (LSM_UNLIKELY(how != NULL && how->expire_at_ms != 0)) {
        times->expire_at = how->expire_at_ms;
        times->fresh_until = how->fresh_until_ms;
    } else if (ttl_ms > 0) {
        times->ttl_ms = (uint64_t)ttl_ms;
        times->stale_ms = stale_ms > 0 ? (uint64_t)stale_ms : 0;
    }
    return LSMKV_OK;
}
