# SPDX-License-Identifier: Apache-2.0
#
# What Keyspace.write needs of batches; documented in _batch.pyx.

from lsmkv._base cimport *


cdef class Batch:
    cdef lsmkv_batch *_batch
    cdef bint _busy
    cdef Handle _space  # what records are about that name none; None: the default one

    cdef int add(self, object key, object value, int64_t ttl_ms,
                 const lsmkv_namespace *space) except -1
    cdef int add_delete(self, object key, const lsmkv_namespace *space) except -1
    cdef const lsmkv_namespace *space_of(self, Handle namespace) noexcept
