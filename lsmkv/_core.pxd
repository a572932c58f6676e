# SPDX-License-Identifier: Apache-2.0
#
# What other modules need of databases and snapshots; documented in _core.pyx.

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


cdef int compact_range(Handle space, object start, object stop) except -1


cdef inline int begin_read(Handle space, Snapshot snapshot, bint nonblocking,
                           lsmkv_read *read) except -1:
    """Say what to read; end_read(snapshot) must follow."""
    read.space = space._space
    read.nonblocking = nonblocking
    read.stale = False
    read.snapshot = NULL if snapshot is None else snapshot.enter(space)
    return 0


cdef inline void end_read(Snapshot snapshot) noexcept:
    if snapshot is not None:
        snapshot.leave()


cdef list find_many(Handle space, Snapshot snapshot, object keys, object default,
                    bint stale)
