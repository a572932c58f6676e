# SPDX-License-Identifier: Apache-2.0
#
# What writes rows into a version needs of it; documented in _publish.pyx.

from lsmkv._base cimport *
from lsmkv._core cimport DB


cdef class Publisher:
    cdef readonly DB db
    cdef readonly str name
    cdef readonly str version
    cdef lsmkv_publish *_publish
    cdef bint _busy  # a thread is in the engine with it

    cdef int enter(self) except -1
