# SPDX-License-Identifier: Apache-2.0
"""Calls that never wait, for event loops: what would have to wait answers WAIT.

Then nothing was done, and the call of the same name that may wait has to be made, in a
thread. A read that answers has not touched the disk; a write has at most handed its
bytes to the operating system.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize

from lsmkv._base cimport *
from lsmkv._batch cimport Batch
from lsmkv._core cimport Keyspace, Snapshot, begin_read, end_read

WAIT = type("Wait", (), {"__slots__": (), "__repr__": lambda self: "WAIT"})()
cdef object wait = WAIT


cdef object value_of(lsmkv_pin *pin):
    """Copy what was found, and let go of it."""
    try:
        return PyBytes_FromStringAndSize(<const char *>pin.value.data,
                                         <Py_ssize_t>pin.value.size)
    finally:
        lsmkv_pin_release(pin)


cdef object look(Keyspace space, Snapshot snapshot, object key, lsmkv_pin *pin):
    """True: the pin must be released; False: no value; WAIT."""
    cdef Hold hold
    cdef lsmkv_bytes view
    cdef lsmkv_read read
    cdef lsmkv_error err
    cdef lsmkv_status status
    take(key, &view, &hold)
    try:
        begin_read(space, snapshot, True, &read)
        status = lsmkv_get(space._db, &read, view, pin, &err)
        end_read(snapshot)
    finally:
        PyBuffer_Release(&hold)
    if status == LSMKV_WOULD_BLOCK:
        return wait
    if status == LSMKV_NOT_FOUND:
        return False
    check(status, &err, space.path)
    return True


def get(Keyspace space not None, Snapshot snapshot, key, default):
    """Return the value of `key`, `default` or WAIT."""
    cdef lsmkv_pin pin
    found = look(space, snapshot, key, &pin)
    if found is wait:
        return wait
    return value_of(&pin) if found else default


def contains(Keyspace space not None, Snapshot snapshot, key):
    """Return whether there is a value, or WAIT."""
    cdef lsmkv_pin pin
    found = look(space, snapshot, key, &pin)
    if found is True:
        lsmkv_pin_release(&pin)
    return found


cdef inline lsmkv_write writing(Keyspace space, object sync, int64_t ttl_ms) noexcept:
    cdef lsmkv_write how
    how.sync = sync is not None and bool(sync)
    how.nosync = sync is not None and not sync
    how.nonblocking = True
    how.ttl_ms = ttl_ms
    how.stale_ms = 0
    how.expire_at_ms = 0
    how.since = NULL
    how.space = space._space
    return how


cdef object answer(Keyspace space, lsmkv_status status, const lsmkv_error *err):
    if status == LSMKV_WOULD_BLOCK:
        return wait
    check(status, err, space.path)
    return None


def put(Keyspace space not None, key, value, ttl, stale, sync):
    """Return None: stored; or WAIT."""
    cdef Hold[2] hold
    cdef lsmkv_bytes[2] view
    cdef lsmkv_write how = writing(space, sync, ttl_of(ttl))
    cdef lsmkv_error err
    cdef lsmkv_status status
    how.stale_ms = stale_of(stale)
    take_two(key, value, view, hold)
    status = lsmkv_put(space._db, &how, view[0], view[1], &err)
    release_two(hold)
    return answer(space, status, &err)


def delete(Keyspace space not None, key, sync):
    """Return None: removed; or WAIT."""
    cdef Hold hold
    cdef lsmkv_bytes view
    cdef lsmkv_write how = writing(space, sync, 0)
    cdef lsmkv_error err
    cdef lsmkv_status status
    take(key, &view, &hold)
    status = lsmkv_delete(space._db, &how, view, &err)
    PyBuffer_Release(&hold)
    return answer(space, status, &err)


def write(Keyspace space not None, Batch batch not None, sync):
    """Return None: written; or WAIT."""
    cdef lsmkv_write how = writing(space, sync, 0)
    cdef lsmkv_error err
    refuse_busy(batch._busy, "batch")
    return answer(space, lsmkv_write_batch(space._db, &how, batch._batch, &err), &err)
