# SPDX-License-Identifier: Apache-2.0
"""Iterators over rows in key order, which cross from the engine in chunks."""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize

from lsmkv._base cimport *
from lsmkv._core cimport Snapshot, begin_read, end_read

from lsmkv import errors
from lsmkv._base import to_bytes

cdef enum:
    # A short scan must not pay for rows that it will not take, a long one must not pay
    # for crossings: chunks grow by four from the first sizes to the last one.
    FIRST_CHUNK_ROWS = 16
    FIRST_CHUNK_BYTES = 4 << 10
    LAST_CHUNK_BYTES = 256 << 10


def narrow(start, stop, bytes prefix not None) -> tuple:
    """Narrow start and stop to the keys that begin with the prefix."""
    first = prefix
    stem = prefix.rstrip(b"\xff")
    end = stem[:-1] + bytes([stem[-1] + 1]) if stem else None
    if start is not None:
        first = max(first, to_bytes(start))
    if stop is not None:
        limit = to_bytes(stop)
        end = limit if end is None else min(end, limit)
    return first, end


cdef class Scan:
    """A lazy iterator over rows in key order, as they were when it was made.

    `where` is the start, inclusive, the stop, exclusive, and the prefix; any may be
    None.

    Rows cross from the engine in chunks. It keeps its database's files from being
    deleted until it is exhausted, closed or dropped.
    """

    cdef Handle _space
    cdef lsmkv_iter *_iter
    cdef lsmkv_chunk _chunk
    cdef lsmkv_fill _fill
    cdef size_t _index  # of the next row in the chunk
    cdef bint _busy
    cdef bint _done
    cdef bint _closed

    def __cinit__(self, Handle space not None, tuple where not None, bint reverse,
                  Snapshot snapshot):
        cdef Hold[2] hold
        cdef lsmkv_range range_
        cdef lsmkv_read read
        cdef lsmkv_error err
        cdef lsmkv_status status
        self._space = space
        self._fill.reverse = reverse
        self._fill.with_times = isinstance(self, EntryScan)
        self._fill.row_max = FIRST_CHUNK_ROWS
        self._fill.byte_max = FIRST_CHUNK_BYTES
        start, stop, prefix = where
        if prefix is not None:
            start, stop = narrow(start, stop, to_bytes(prefix))
        take_range(start, stop, &range_, hold)
        try:
            begin_read(space, snapshot, False, &read)
            read.stale = self._fill.with_times
            with nogil:
                status = lsmkv_iter_create(space._db, &read, &range_, &self._iter, &err)
            end_read(snapshot)
        finally:
            release_two(hold)
        check(status, &err, space.path)

    def __dealloc__(self):
        lsmkv_iter_free(self._iter)

    def __iter__(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def close(self):
        """End the iteration and let go of the state it reads."""
        with cython.critical_section(self):
            refuse_busy(self._busy, "iterator")
            self._closed = True
            self.release()

    cdef void release(self) noexcept:
        self._chunk.row_count = 0
        self._index = 0
        lsmkv_iter_free(self._iter)
        self._iter = NULL

    cdef inline const lsmkv_row *next_row(self) except? NULL:
        """The next row of the chunk, or NULL at the end. A closed database ends it."""
        if self._index == self._chunk.row_count or lsmkv_is_closed(self._space._db):
            if self.refill() == 0:
                return NULL
        return &self._chunk.rows[self._index]

    cdef size_t refill(self) except? 0:
        """Fetch the next chunk: 0 rows at the end, where the status decides."""
        cdef lsmkv_chunk chunk
        cdef lsmkv_error err
        cdef lsmkv_status status
        refuse_busy(self._busy, "iterator")
        if self._closed:
            raise errors.ClosedError("the iterator is closed")
        if self._done:
            return 0
        self._chunk.row_count = 0
        self._index = 0
        self._busy = True
        with nogil:
            status = lsmkv_iter_fill(self._iter, &self._fill, &chunk, &err)
        self._busy = False
        check(status, &err, self._space.path)
        if self._fill.byte_max < LAST_CHUNK_BYTES:
            self._fill.byte_max *= 4
            self._fill.row_max *= 4
        if chunk.row_count == 0:
            self._done = True
            self.release()
        self._chunk = chunk
        return chunk.row_count

    cdef inline bytes key(self, const lsmkv_row *row):
        return PyBytes_FromStringAndSize(self._chunk.data + row.key_offset,
                                         <Py_ssize_t>row.key_size)

    cdef inline bytes value(self, const lsmkv_row *row):
        return PyBytes_FromStringAndSize(self._chunk.data + row.value_offset,
                                         <Py_ssize_t>row.value_size)


@cython.final
cdef class ItemScan(Scan):
    """Yields (key, value) pairs."""

    def __next__(self):
        cdef const lsmkv_row *row
        with cython.critical_section(self):
            row = self.next_row()
            if row == NULL:
                raise StopIteration
            found = (self.key(row), self.value(row))
            self._index += 1  # behind what may find no memory, to lose no row
            return found


@cython.final
cdef class KeyScan(Scan):
    """Yields keys, without reading values where the engine can avoid it."""

    def __cinit__(self):
        self._fill.keys_only = True

    def __next__(self):
        cdef const lsmkv_row *row
        with cython.critical_section(self):
            row = self.next_row()
            if row == NULL:
                raise StopIteration
            found = self.key(row)
            self._index += 1
            return found


@cython.final
cdef class ValueScan(Scan):
    """Yields values in the order of their keys."""

    def __next__(self):
        cdef const lsmkv_row *row
        with cython.critical_section(self):
            row = self.next_row()
            if row == NULL:
                raise StopIteration
            found = self.value(row)
            self._index += 1
            return found


@cython.final
cdef class EntryScan(Scan):
    """Yields rows whole: (key, value, expires at, fresh until), stale ones as well.

    The times are moments of engine time in ms; 0: never, and: until it expires.
    """

    def __next__(self):
        cdef const lsmkv_row *row
        cdef const lsmkv_row_times *times
        cdef tuple found
        with cython.critical_section(self):
            row = self.next_row()
            if row == NULL:
                raise StopIteration
            times = &self._chunk.times[self._index]
            found = (self.key(row), self.value(row), times.expire_at_ms,
                     times.fresh_until_ms)
            self._index += 1
            return found
