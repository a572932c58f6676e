# SPDX-License-Identifier: Apache-2.0
"""Rows of one size, between arrays and the engine; `vectors.py` says what they mean."""

cimport cython
from cpython cimport buffer
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.math cimport ceil
from libc.stdint cimport uint8_t
from libc.string cimport memset

from lsmkv._base cimport *
from lsmkv._batch cimport Batch
from lsmkv._core cimport Keyspace, Snapshot, begin_read, end_read
from lsmkv._publish cimport Publisher

from lsmkv import errors

DIM_MAX = LSMKV_VECTOR_DIM_MAX


@cython.final
cdef class Keys:
    """Keys as the engine takes them: bytes, or an array of 64-bit numbers >= 0."""

    cdef lsmkv_keys _keys
    cdef tuple _held  # what _keys.bytes points into
    cdef Py_buffer _numbers  # what _keys.ids is

    def __cinit__(self, keys, bint numbers):
        cdef lsmkv_bytes *views
        cdef Py_ssize_t i
        if numbers:
            buffer.PyObject_GetBuffer(keys, &self._numbers, buffer.PyBUF_ND)
            if self._numbers.ndim != 1 or self._numbers.itemsize != 8:
                raise TypeError("ids are an array of 64-bit numbers, of one dimension")
            self._keys.ids = <const uint64_t *>self._numbers.buf
            self._keys.count = <size_t>self._numbers.shape[0]
            return
        self._held = gather(keys)
        views = <lsmkv_bytes *>PyMem_Malloc((len(self._held) + 1) * sizeof(lsmkv_bytes))
        if views == NULL:
            raise MemoryError
        self._keys.bytes = views
        self._keys.count = <size_t>len(self._held)
        for i, key in enumerate(self._held):
            views[i].data = PyBytes_AS_STRING(key)
            views[i].size = <size_t>PyBytes_GET_SIZE(key)

    def __dealloc__(self):
        PyMem_Free(<void *>self._keys.bytes)
        buffer.PyBuffer_Release(&self._numbers)

    def __len__(self):
        return <Py_ssize_t>self._keys.count


cdef int take_rows(object array, size_t count, int flags, Py_buffer *hold,
                   size_t *stride) except -1:
    """Borrow `count` rows of bytes, each in one piece, until PyBuffer_Release(hold)."""
    buffer.PyObject_GetBuffer(array, hold, flags | buffer.PyBUF_STRIDES)
    stride[0] = <size_t>(hold.shape[1] if hold.ndim == 2 else 0)
    if (hold.ndim != 2 or hold.itemsize != 1 or <size_t>hold.shape[0] != count
            or (hold.shape[1] > 1 and hold.strides[1] != 1)
            or (count > 1 and hold.strides[0] < hold.shape[1])):
        buffer.PyBuffer_Release(hold)
        raise BufferError("rows are bytes of two dimensions, in ascending order")
    if count > 1:
        stride[0] = <size_t>hold.strides[0]
    return 0


def put_rows(Keyspace space not None, Keys keys not None, array, *, ttl, sync) -> None:
    """Store each row, an array of bytes, under its key; see Vectors.put_many."""
    cdef Py_buffer hold
    cdef lsmkv_rows rows
    cdef lsmkv_write how
    cdef size_t count
    cdef lsmkv_error err
    cdef lsmkv_status status
    memset(&how, 0, sizeof(how))
    how.sync = sync is not None and bool(sync)
    how.nosync = sync is not None and not sync
    how.ttl_ms = ttl_of(ttl)
    how.space = space._space
    take_rows(array, keys._keys.count, 0, &hold, &rows.stride)
    rows.data = hold.buf
    rows.row_bytes = <size_t>hold.shape[1]
    with nogil:
        status = lsmkv_put_rows(space._db, &how, &keys._keys, &rows, &count, &err)
    buffer.PyBuffer_Release(&hold)
    check(status, &err, space.path)


def add_rows(Batch batch not None, Keyspace space not None, Keys keys not None, array,
             *, ttl) -> None:
    """Add the storing of each row to a batch."""
    cdef Py_buffer hold
    cdef lsmkv_rows rows
    cdef lsmkv_write how
    cdef lsmkv_error err
    cdef lsmkv_status status
    memset(&how, 0, sizeof(how))
    how.ttl_ms = ttl_of(ttl)
    how.space = space._space
    take_rows(array, keys._keys.count, 0, &hold, &rows.stride)
    rows.data = hold.buf
    rows.row_bytes = <size_t>hold.shape[1]
    try:
        with cython.critical_section(batch):
            refuse_busy(batch._busy, "batch")
            status = lsmkv_batch_put_rows(batch._batch, &how, &keys._keys, &rows, &err)
    finally:
        buffer.PyBuffer_Release(&hold)
    check(status, &err, space.path)


def publish_rows(Publisher publisher not None, Keys keys not None, array, *,
                 ttl) -> None:
    """Add each row to a version that is being written."""
    cdef Py_buffer hold
    cdef lsmkv_rows rows
    cdef lsmkv_write how
    cdef lsmkv_error err
    cdef lsmkv_status status
    memset(&how, 0, sizeof(how))
    how.ttl_ms = ttl_of(ttl)
    take_rows(array, keys._keys.count, 0, &hold, &rows.stride)
    rows.data = hold.buf
    rows.row_bytes = <size_t>hold.shape[1]
    try:
        publisher.enter()
        with nogil:
            status = lsmkv_publish_put_rows(publisher._publish, &how, &keys._keys,
                                            &rows, &err)
        publisher._busy = False
    finally:
        buffer.PyBuffer_Release(&hold)
    check(status, &err, publisher.db.path)


cdef uint64_t budget_of(object budget, bint *nonblocking) except? 0:
    """Microseconds, 0 for no limit."""
    cdef double seconds
    nonblocking[0] = False
    if budget is None:
        return 0
    if isinstance(budget, bool) or not hasattr(budget, "__float__"):
        raise TypeError(f"budget must be seconds or None, not {budget!r}")
    seconds = budget
    if not 0 <= seconds <= 1e9:
        raise errors.InvalidArgumentError(
            f"budget is {budget!r}: must be seconds from 0 to 1e9; None is no limit"
        )
    nonblocking[0] = seconds == 0
    return <uint64_t>ceil(seconds * 1e6)


def get_rows(Keyspace space not None, Snapshot snapshot, Keys keys not None, array,
             found, *, budget, tuple expected) -> int:
    """Copy the row of each key into a row of bytes; see VectorReader.gather.

    `found` takes a byte for each key: 1 where a row was copied, else 0. The number of
    ones is returned. `expected` are dim, dtype and metric that the rows have to be of,
    as the engine has them; None: of any.
    """
    cdef Py_buffer rows, flags
    cdef lsmkv_read read
    cdef lsmkv_gather to
    cdef lsmkv_space_options vectors
    cdef size_t count
    cdef bint nonblocking
    cdef lsmkv_error err
    cdef lsmkv_status status
    to.budget_us = budget_of(budget, &nonblocking)
    to.vectors = NULL
    if expected is not None:
        vectors.vector_dim, vectors.vector_dtype, vectors.vector_metric = expected
        to.vectors = &vectors
    take_rows(array, keys._keys.count, buffer.PyBUF_WRITABLE, &rows, &to.stride)
    try:
        buffer.PyObject_GetBuffer(found, &flags, buffer.PyBUF_WRITABLE)
        try:
            if <size_t>flags.len != keys._keys.count:
                raise BufferError("found is one byte for each key")
            to.out = rows.buf
            to.row_bytes = <size_t>rows.shape[1]
            to.found = <uint8_t *>flags.buf
            begin_read(space, snapshot, nonblocking, &read)
            with nogil:
                status = lsmkv_get_rows(space._db, &read, &keys._keys, &to, &count,
                                        &err)
            end_read(snapshot)
        finally:
            buffer.PyBuffer_Release(&flags)
    finally:
        buffer.PyBuffer_Release(&rows)
    check(status, &err, space.path)
    return count
