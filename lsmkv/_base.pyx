# SPDX-License-Identifier: Apache-2.0
"""What the other compiled modules stand on: bytes in, statuses out, the limits.

The modules are linked with the engine into one file (see `_native.py`) and call it
directly; each is thin. A method checks its arguments, takes their pointers, makes one C
call and turns the status into a value or an exception.

Threads: a keyspace may be used by any number. A Scan or Batch belongs to one at a time:
its `_busy` flag, set while the GIL is released, turns a second user away with an error.
In free-threaded builds critical sections make that flag and the counters safe.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.math cimport ceil

from lsmkv import errors, ttl as ttl_

KEY_SIZE_MAX = LSMKV_KEY_SIZE_MAX
VALUE_SIZE_MAX = LSMKV_VALUE_SIZE_MAX
BATCH_SIZE_MAX = LSMKV_BATCH_SIZE_MAX
TTL_SECONDS_MAX = 1e12

default_time = ttl_.DEFAULT


cdef object error_of(lsmkv_status status, const lsmkv_error *err, str directory):
    """What the engine reported, as an exception."""
    return errors.from_status(
        lsmkv_status_name(status).decode(),
        (<const char *>err.message).decode("utf-8", "replace"),
        directory=directory,
        file=(<const char *>err.file).decode("utf-8", "replace"),
        offset=err.offset,
        os_errno=err.os_errno,
        pid=err.pid,
    )


cdef int raise_status(lsmkv_status status, const lsmkv_error *err,
                      str directory) except -1:
    """Raise what the engine reported."""
    raise error_of(status, err, directory)


cdef int take_buffer(object source, lsmkv_bytes *to, Hold *hold) except -1:
    """Borrow the memory of anything but an exact bytes object."""
    if isinstance(source, str):
        raise TypeError(
            f"keys and values are bytes, not str: encode it first, as in "
            f"{source[:20]!r}.encode()"
        )
    PyObject_GetBuffer(source, hold, PyBUF_SIMPLE)
    to.data = hold.buf
    to.size = <size_t>hold.len
    return 0


cdef int take_two(object first, object second, lsmkv_bytes *views,
                  Hold *hold) except -1:
    """Borrow the memory of both until release_two(hold)."""
    take(first, &views[0], &hold[0])
    try:
        take(second, &views[1], &hold[1])
    except BaseException:
        PyBuffer_Release(&hold[0])
        raise
    return 0


cdef int take_range(object start, object stop, lsmkv_range *range_,
                    Hold *hold) except -1:
    """Borrow both bounds, of which None is open, until release_two(hold)."""
    cdef lsmkv_bytes[2] view
    take_two(b"" if start is None else start, b"" if stop is None else stop, view, hold)
    range_.has_start = start is not None
    range_.has_stop = stop is not None
    range_.start = view[0]
    range_.stop = view[1]
    return 0


cdef Kept keeping(object items) noexcept:
    """Begin to gather into what the caller holds what callbacks are told."""
    return Kept(<PyObject *>items, False)


cdef int check_kept(const Kept *kept) except -1:
    """Raise what a callback could not."""
    if kept.failed:
        raise MemoryError
    return 0


cdef class Handle:
    """A keyspace of an open database; what can be done with it is in _core.pyx."""


cdef int64_t parse_ttl(object ttl) except? -2:
    """Milliseconds, rounded up, or -1 for None."""
    cdef double seconds = -1
    if ttl is None:
        return -1
    if isinstance(ttl, bool) or not hasattr(ttl, "__float__"):
        raise TypeError(
            f"ttl must be seconds, None (never expires) or DEFAULT, not {ttl!r}"
        )
    try:
        seconds = ttl
    except OverflowError:
        pass
    if not 0 < seconds <= TTL_SECONDS_MAX:
        raise errors.InvalidArgumentError(
            f"ttl is {ttl!r}: must be seconds above 0, at most {TTL_SECONDS_MAX:.0e}; "
            f"None never expires"
        )
    return <int64_t>ceil(seconds * 1000)


cdef int64_t parse_stale(object stale) except? -2:
    """Milliseconds, rounded up, or -1 for 0."""
    cdef double seconds = -1
    if isinstance(stale, bool) or not hasattr(stale, "__float__"):
        raise TypeError(f"stale must be seconds or DEFAULT, not {stale!r}")
    try:
        seconds = stale
    except OverflowError:
        pass
    if not 0 <= seconds <= TTL_SECONDS_MAX:
        raise errors.InvalidArgumentError(
            f"stale is {stale!r}: must be seconds, 0 to {TTL_SECONDS_MAX:.0e}"
        )
    return <int64_t>ceil(seconds * 1000) if seconds > 0 else -1


def stale_to_ms(stale) -> int:
    """Milliseconds of a time to stay stale, 0 if it is None; errors as for DB.put."""
    cdef int64_t ms = -1 if stale is None else parse_stale(stale)
    return 0 if ms < 0 else ms


def ttl_to_ms(ttl) -> int:
    """Milliseconds of a time to live, 0 if it is None; errors as for DB.put."""
    cdef int64_t ms = parse_ttl(ttl)
    return 0 if ms < 0 else ms


def to_bytes(source) -> bytes:
    """Copy a contiguous buffer; TypeError for anything else, such as str or int."""
    cdef Hold hold
    cdef lsmkv_bytes view
    if PyBytes_CheckExact(source):
        return source
    take_buffer(source, &view, &hold)
    try:
        return PyBytes_FromStringAndSize(<const char *>view.data, <Py_ssize_t>view.size)
    finally:
        PyBuffer_Release(&hold)


cdef tuple gather(object keys):
    """The keys as a tuple of exact bytes, whose memory stays put without a lock."""
    cdef tuple held = tuple(keys)
    for key in held:
        if not PyBytes_CheckExact(key):
            return tuple(map(to_bytes, held))
    return held


cdef int refuse_busy(bint busy, str what) except -1:
    """Turn a thread away while another is in the engine with the same handle."""
    if busy:
        raise errors.InvalidArgumentError(f"another thread is using the {what}")
    return 0


def version() -> str:
    """Version of the C engine."""
    return lsmkv_version().decode()


def xxh3_64(data, uint64_t seed=0) -> int:
    """XXH3-64 of a buffer, the hash and checksum of the files."""
    cdef Hold hold
    cdef lsmkv_bytes view
    take(data, &view, &hold)
    try:
        return lsmkv_xxh3_64(view.data, view.size, seed)
    finally:
        PyBuffer_Release(&hold)
