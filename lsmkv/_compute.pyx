# SPDX-License-Identifier: Apache-2.0
"""What computed values and lists ask of the engine: times, and puts with conditions."""

from cpython.bytes cimport PyBytes_FromStringAndSize

from lsmkv._base cimport *
from lsmkv._core cimport Keyspace, Snapshot, begin_read, find_many


cdef int DEFAULT_NUMBER = 1  # of the default namespace

STALE_HITS = LSMKV_COUNT_STALE_HITS
COMPUTED = LSMKV_COUNT_COMPUTED
COALESCED = LSMKV_COUNT_COALESCED


BLOCKED = NotImplemented  # the answer of what was asked not to wait, and would have to


def count(Keyspace space not None, lsmkv_count_kind kind, uint64_t n) -> None:
    """Add to one of the counts above of a namespace."""
    lsmkv_count(space._db, space._space, kind, n)


def number(Keyspace space not None) -> int:
    """Tell namespaces of a database apart; no number is ever given twice."""
    return DEFAULT_NUMBER if space._space == NULL else lsmkv_namespace_id(space._space)


def milliseconds(ttl) -> int:
    """Check a time to live and return it as the engine takes it."""
    return ttl_of(ttl)


def stale_milliseconds(Keyspace space not None, stale) -> int:
    """Check how long a value may be stale; milliseconds, or -1 for none."""
    cdef lsmkv_space_options options
    cdef int64_t ms = stale_of(stale)
    if ms == 0 and space._space != NULL:
        lsmkv_namespace_options(space._space, &options)
        ms = options.default_stale_ms
    return ms if ms > 0 else -1


def entry(Keyspace space not None, key, bint waits=True):
    """Return the value of `key` as bytes, or None if there is none.

    If it is stale: a tuple of the value and the seconds that it has been stale for.
    Without `waits` it may be BLOCKED.
    """
    cdef Hold hold
    cdef lsmkv_bytes view
    cdef lsmkv_read read
    cdef lsmkv_entry times
    cdef lsmkv_pin pin
    cdef lsmkv_error err
    cdef lsmkv_status status
    take(key, &view, &hold)
    begin_read(space, None, True, &read)
    read.stale = True
    status = lsmkv_get_entry(space._db, &read, view, &times, &pin, &err)
    if status == LSMKV_WOULD_BLOCK and waits:
        read.nonblocking = False
        with nogil:
            status = lsmkv_get_entry(space._db, &read, view, &times, &pin, &err)
    PyBuffer_Release(&hold)
    if status == LSMKV_NOT_FOUND:
        return None
    if status == LSMKV_WOULD_BLOCK:
        return BLOCKED
    check(status, &err, space.path)
    try:
        value = PyBytes_FromStringAndSize(<const char *>pin.value.data,
                                          <Py_ssize_t>pin.value.size)
    finally:
        lsmkv_pin_release(&pin)
    return value if times.stale_for_ms < 0 else (value, times.stale_for_ms / 1000.0)


def is_fresh(Keyspace space not None, key, bint waits=True):
    """Tell whether there is a value that is not stale, without counting the look.

    Without `waits` it may be BLOCKED.
    """
    cdef Hold hold
    cdef lsmkv_bytes view
    cdef lsmkv_read read
    cdef int64_t ttl_ms
    cdef lsmkv_error err
    cdef lsmkv_status status
    take(key, &view, &hold)
    begin_read(space, None, True, &read)
    status = lsmkv_ttl(space._db, &read, view, &ttl_ms, &err)
    if status == LSMKV_WOULD_BLOCK and waits:
        read.nonblocking = False
        with nogil:
            status = lsmkv_ttl(space._db, &read, view, &ttl_ms, &err)
    PyBuffer_Release(&hold)
    if status == LSMKV_NOT_FOUND:
        return False
    if status == LSMKV_WOULD_BLOCK:
        return BLOCKED
    check(status, &err, space.path)
    return True


def entries(Keyspace space not None, keys) -> list:
    """Return what entry() does for each key, all from one state."""
    return find_many(space, None, keys, None, True)


cdef object put(Keyspace space, object key, object value, lsmkv_write *how,
                bint waits):
    """Put as `how` says; whether the condition held, or BLOCKED."""
    cdef Hold[2] hold
    cdef lsmkv_bytes[2] view
    cdef lsmkv_error err
    cdef lsmkv_status status = LSMKV_WOULD_BLOCK
    how.space = space._space
    how.nonblocking = not how.sync
    take_two(key, value, view, hold)
    if how.nonblocking:
        status = lsmkv_put(space._db, how, view[0], view[1], &err)
    if status == LSMKV_WOULD_BLOCK and waits:
        how.nonblocking = False
        with nogil:
            status = lsmkv_put(space._db, how, view[0], view[1], &err)
    release_two(hold)
    if status == LSMKV_WOULD_BLOCK:
        return BLOCKED
    if status == LSMKV_NOT_FOUND:
        return False
    check(status, &err, space.path)
    return True


def store_since(Keyspace space not None, key, value, tuple times not None,
                Snapshot snapshot not None, bint waits=True):
    """Store a value unless something was put or deleted since; whether it was.

    `times` are ttl and stale in milliseconds, the first as milliseconds() has it.
    Without `waits` it may be BLOCKED, and nothing was done.
    """
    cdef lsmkv_write how
    how.sync = False
    how.nosync = False
    how.ttl_ms, how.stale_ms = times
    how.expire_at_ms = 0
    how.since = snapshot.enter(space)
    try:
        return put(space, key, value, &how, waits)
    finally:
        snapshot.leave()


def timed(Keyspace space not None, key):
    """Return (value, when it expires, now) of `key`, or None without a value.

    In milliseconds of engine time; 0 and 0 if it does not expire.
    """
    cdef Hold hold
    cdef lsmkv_bytes view
    cdef lsmkv_read read
    cdef lsmkv_entry times
    cdef lsmkv_pin pin
    cdef lsmkv_error err
    cdef lsmkv_status status
    take(key, &view, &hold)
    begin_read(space, None, False, &read)
    with nogil:
        status = lsmkv_get_entry(space._db, &read, view, &times, &pin, &err)
    PyBuffer_Release(&hold)
    if status == LSMKV_NOT_FOUND:
        return None
    check(status, &err, space.path)
    try:
        value = PyBytes_FromStringAndSize(<const char *>pin.value.data,
                                          <Py_ssize_t>pin.value.size)
    finally:
        lsmkv_pin_release(&pin)
    if times.left_ms < 0:
        return value, 0, 0
    return value, times.expire_at_ms, times.expire_at_ms - <uint64_t>times.left_ms
