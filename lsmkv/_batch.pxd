# SPDX-License-Identifier: Apache-2.0
#
# What Keyspace.write needs of batches; documented in _batch.pyx.

from lsmkv._base cimport *


cdef class Batch:
    cdef lsmkv_batch *_batch
    cdef bint _busy

    cdef int add(self, object key, object value, int64_t ttl_ms) except -1
    cdef int add_delete(self, object key) except -1
