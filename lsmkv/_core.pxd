# SPDX-License-Identifier: Apache-2.0
#
# What iterators need of databases and snapshots; documented in _core.pyx.

from lsmkv._base cimport *


cdef class Keyspace(Handle):
    pass


cdef class DB(Keyspace):
    pass


cdef class Snapshot:
    cdef readonly DB db
    cdef lsmkv_snapshot *_snapshot
    cdef int _uses  # calls that have the pointer, perhaps without the GIL
    cdef bint _closed

    cdef lsmkv_snapshot *enter(self, Handle space) except NULL
    cdef void leave(self) noexcept
