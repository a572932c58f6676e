# SPDX-License-Identifier: Apache-2.0
#
# What Keyspace.write needs of batches; documented in _batch.pyx.

from lsmkv._base cimport *


cdef class Batch:
    cdef lsmkv_batch *_batch
    cdef bint _busy
    cdef Handle _space  # what records are about that name none; None: the default one

    cdef int add(self, object key, object value, const lsmkv_write *how) except -1
    cdef int add_delete(self, object key, const lsmkv_namespace *space) except -1
    cdef const lsmkv_namespace *space_of(self, Handle namespace) noexcept


cdef inline lsmkv_write lasting(const lsmkv_namespace *space, object ttl,
                                object stale) except *:
    """How to add a put to a batch."""
    cdef lsmkv_write how
    how.space = space
    how.ttl_ms = ttl_of(ttl)
    how.stale_ms = stale_of(stale)
    how.expire_at_ms = 0
    how.fresh_until_ms = 0
    return how
