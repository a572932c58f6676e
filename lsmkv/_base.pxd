# SPDX-License-Identifier: Apache-2.0
#
# Buffers and errors, as every compiled module uses them; documented in _base.pyx.

from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_GET_SIZE,
)
from cpython.buffer cimport PyBUF_SIMPLE
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from lsmkv._capi cimport *


cdef extern from "Python.h":
    # Py_buffer as C sees it, whose owner can be set to NULL.
    ctypedef struct Hold "Py_buffer":
        PyObject *obj
        void *buf
        Py_ssize_t len

    int PyObject_GetBuffer(object source, Hold *hold, int flags) except -1
    void PyBuffer_Release(Hold *hold) noexcept


cdef struct Kept:
    PyObject *items  # a list or a dict, borrowed
    bint failed  # no memory to add to it


cdef class Handle:
    cdef lsmkv_db *_db  # set once, never reset: the engine answers CLOSED by itself
    cdef lsmkv_namespace *_space  # NULL: the default one; likewise
    cdef readonly str path  # of the directory


cdef object error_of(lsmkv_status status, const lsmkv_error *err, str directory)
cdef int raise_status(lsmkv_status status, const lsmkv_error *err,
                      str directory) except -1
cdef int take_buffer(object source, lsmkv_bytes *to, Hold *hold) except -1
cdef Kept keeping(object items) noexcept
cdef int check_kept(const Kept *kept) except -1
cdef int take_two(object first, object second, lsmkv_bytes *views,
                  Hold *hold) except -1
cdef int take_range(object start, object stop, lsmkv_range *range_,
                    Hold *hold) except -1
cdef object default_time  # lsmkv.DEFAULT
cdef int64_t parse_ttl(object ttl) except? -2
cdef int64_t parse_stale(object stale) except? -2
cdef tuple gather(object keys)
cdef int refuse_busy(bint busy, str what) except -1


cdef inline int check(lsmkv_status status, const lsmkv_error *err,
                      str directory) except -1:
    if status != LSMKV_OK:
        raise_status(status, err, directory)
    return 0


cdef inline int take(object source, lsmkv_bytes *to, Hold *hold) except -1:
    """Borrow the memory of `source` until PyBuffer_Release(hold)."""
    if PyBytes_CheckExact(source):
        hold.obj = NULL  # makes the release a no-op
        to.data = PyBytes_AS_STRING(source)
        to.size = <size_t>PyBytes_GET_SIZE(source)
        return 0
    return take_buffer(source, to, hold)


cdef inline int64_t ttl_of(object ttl) except? -2:
    """A time to live as the engine takes it: 0 the default, -1 never, or ms."""
    return 0 if ttl is default_time else parse_ttl(ttl)


cdef inline int64_t stale_of(object stale) except? -2:
    """A time behind that, as the engine takes it: 0 the default, -1 none, or ms."""
    return 0 if stale is default_time else parse_stale(stale)


cdef inline void release_two(Hold *hold) noexcept:
    PyBuffer_Release(&hold[0])
    PyBuffer_Release(&hold[1])
