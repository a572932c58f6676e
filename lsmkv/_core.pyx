# SPDX-License-Identifier: Apache-2.0
"""The hinge between Python and the C engine: handles, bytes in, bytes out.

A method checks its arguments, takes their pointers, makes one C call and turns the
status into a value or an exception. Two rules run through the file:

* The fast calls (get, put, delete) are tried with the GIL held in a mode that never
  waits; only when they answer WOULD_BLOCK, or were asked to sync, is the GIL released
  and the waiting call made. Everything else releases it.
* While a pin is held, nothing may run arbitrary Python (a garbage collection may close
  a database, and closing waits for pins). So containers for results are made before
  the call, and under the pin only bytes objects are, which never start a collection.

Threads: a DB may be used by any number. A Scan or Batch belongs to one at a time: its
`_busy` flag, set while the GIL is released, turns a second user away with an error. In
free-threaded builds critical sections make that flag and the counters safe.
"""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.buffer cimport PyBUF_SIMPLE
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport Py_INCREF, PyObject
from libc.stdint cimport uint64_t

from lsmkv._capi cimport *

from lsmkv import errors

KEY_SIZE_MAX = LSMKV_KEY_SIZE_MAX
VALUE_SIZE_MAX = LSMKV_VALUE_SIZE_MAX
BATCH_SIZE_MAX = LSMKV_BATCH_SIZE_MAX

cdef extern from "Python.h":
    # Py_buffer as C sees it, whose owner can be set to NULL.
    ctypedef struct Hold "Py_buffer":
        PyObject *obj
        void *buf
        Py_ssize_t len

    int PyObject_GetBuffer(object source, Hold *hold, int flags) except -1
    void PyBuffer_Release(Hold *hold) noexcept

cdef enum:
    # A short scan must not pay for rows that it will not take, a long one must not pay
    # for crossings: chunks grow by four from the first sizes to the last one.
    FIRST_CHUNK_ROWS = 16
    FIRST_CHUNK_BYTES = 4 << 10
    LAST_CHUNK_BYTES = 256 << 10
    PROBLEMS_KEPT_MAX = 1000  # as objects; the engine counts them all


# For _codec.pyx, which is linked without the engine: one of the two is not NULL.
cdef lsmkv_status register_codec(const lsmkv_codec *codec,
                                 const lsmkv_zstd_functions *native,
                                 lsmkv_error *err) noexcept nogil:
    if native != NULL:
        return lsmkv_register_zstd(native, err)
    return lsmkv_register_codec(codec, err)


cdef int raise_status(lsmkv_status status, const lsmkv_error *err,
                      str directory) except -1:
    """Raise what the engine reported."""
    raise errors.from_status(
        lsmkv_status_name(status).decode(),
        (<const char *>err.message).decode("utf-8", "replace"),
        directory=directory,
        file=(<const char *>err.file).decode("utf-8", "replace"),
        offset=err.offset,
        os_errno=err.os_errno,
        pid=err.pid,
    )


cdef inline int check(lsmkv_status status, const lsmkv_error *err,
                      str directory) except -1:
    if status != LSMKV_OK:
        raise_status(status, err, directory)
    return 0


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


cdef inline int take(object source, lsmkv_bytes *to, Hold *hold) except -1:
    """Borrow the memory of `source` until PyBuffer_Release(hold)."""
    if PyBytes_CheckExact(source):
        hold.obj = NULL  # makes the release a no-op
        to.data = PyBytes_AS_STRING(source)
        to.size = <size_t>PyBytes_GET_SIZE(source)
        return 0
    return take_buffer(source, to, hold)


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


cdef inline void release_two(Hold *hold) noexcept:
    PyBuffer_Release(&hold[0])
    PyBuffer_Release(&hold[1])


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
            return tuple([to_bytes(each) for each in held])
    return held


cdef class DB:
    """An open database; `lsmkv.DB` is the public face."""

    cdef lsmkv_db *_db  # set once, never reset: the engine answers CLOSED by itself
    cdef readonly str path

    def __cinit__(self, str path not None, bytes name not None, dict options not None):
        cdef lsmkv_options wanted
        cdef lsmkv_error err
        cdef lsmkv_status status
        cdef const char *directory = name
        self.path = path
        lsmkv_options_init(&wanted)
        wanted = {**wanted, **options}
        with nogil:
            status = lsmkv_open(directory, &wanted, &self._db, &err)
        check(status, &err, path)

    def __dealloc__(self):
        with nogil:  # closing waits for threads that a codec may have wait for the GIL
            lsmkv_free(self._db)

    def close(self):
        """Finish calls in flight, make every write durable and let go of the directory.

        Calling it again does nothing. Any other call afterwards raises ClosedError;
        so do snapshots and iterators that are still around.
        """
        call(self, lsmkv_close)

    @property
    def closed(self):
        """Whether close() was called."""
        return self._db == NULL or lsmkv_is_closed(self._db)

    def get(self, key, default=None, *, Snapshot snapshot=None):
        """Return the value of `key` as bytes, or `default`.

        With `snapshot`, as it was when that snapshot was taken.
        """
        value = find(self, snapshot, key)
        return default if value is None else value

    def get_many(self, keys, default=None, *, Snapshot snapshot=None):
        """Return the values of `keys` in their order, `default` for missing ones.

        All of them come from one consistent state, in one crossing into the engine
        and with the GIL released: for more than a few keys much faster than get().
        """
        return find_many(self, snapshot, keys, default)

    def __getitem__(self, key):
        value = find(self, None, key)
        if value is None:
            raise KeyError(key)
        return value

    def __contains__(self, key):
        return exists(self, None, key)

    def put(self, key, value, *, sync=None):
        """Store `value` under `key`.

        `sync=True` returns only when the write survives power loss, `sync=False` when
        the operating system has it; None does what the database's `durability` says.
        """
        store(self, key, value, sync)

    def delete(self, key, *, sync=None):
        """Remove `key`; nothing happens if it is not there. `sync` as for put()."""
        remove(self, key, sync)

    def __setitem__(self, key, value):
        store(self, key, value, None)

    def __delitem__(self, key):
        if not exists(self, None, key):
            raise KeyError(key)
        remove(self, key, None)

    def put_many(self, items, *, sync=None):
        """Store all pairs of a mapping, or of an iterable of pairs, as one batch.

        Either all of them are stored or none, whatever happens. `sync` as for put().
        """
        cdef Batch batch = Batch()
        pairs = items.items() if hasattr(items, "keys") else items
        for key, value in pairs:
            batch.add(key, value)
        self.write(batch, sync=sync)

    def delete_many(self, keys, *, sync=None):
        """Remove all `keys` as one batch, atomically. `sync` as for put()."""
        cdef Batch batch = Batch()
        for key in keys:
            batch.add_delete(key)
        self.write(batch, sync=sync)

    def write(self, Batch batch not None, *, sync=None):
        """Apply a batch atomically; it can be written again. `sync` as for put()."""
        cdef lsmkv_write how = writing(sync)
        cdef lsmkv_error err
        cdef lsmkv_status status
        how.nonblocking = False
        with cython.critical_section(batch):
            refuse_busy(batch._busy, "batch")
            batch._busy = True
        with nogil:
            status = lsmkv_write_batch(self._db, &how, batch._batch, &err)
        batch._busy = False
        check(status, &err, self.path)

    def flush(self):
        """Write the memtable out as a table and wait until it is durable."""
        call(self, lsmkv_flush)

    def sync(self):
        """Make every write that has returned survive power loss."""
        call(self, lsmkv_sync)

    def compact(self, start=None, stop=None):
        """Flush, then merge all that lies in start <= key < stop down to one level.

        None stands for the end of the keyspace. Gives back the space of deleted and
        overwritten values, at the cost of rewriting the range.
        """
        cdef Hold[2] hold
        cdef lsmkv_range range_
        cdef lsmkv_error err
        cdef lsmkv_status status
        take_range(start, stop, &range_, hold)
        with nogil:
            status = lsmkv_compact(self._db, &range_, &err)
        release_two(hold)
        check(status, &err, self.path)

    def settle(self):
        """Wait until no flush or compaction is running or due."""
        call(self, lsmkv_settle)

    def _verify(self):
        """The counts as a dict, and (path, offset, message) of the first problems."""
        cdef list problems = []
        cdef lsmkv_report report
        cdef lsmkv_error err
        cdef lsmkv_status status
        with nogil:
            status = lsmkv_verify(self._db, keep_problem, <void *>problems, &report,
                                  &err)
        check(status, &err, self.path)
        return report, problems

    def _stats(self):
        """The counters of the engine as a dict."""
        cdef lsmkv_stats stats
        cdef lsmkv_error err
        cdef lsmkv_status status
        with nogil:
            status = lsmkv_get_stats(self._db, &stats, &err)
        check(status, &err, self.path)
        return stats


ctypedef lsmkv_status (*Verb)(lsmkv_db *db, lsmkv_error *err) noexcept nogil


cdef int call(DB db, Verb verb) except -1:
    """Make a call that takes no arguments and may wait."""
    cdef lsmkv_error err
    cdef lsmkv_status status
    with nogil:
        status = verb(db._db, &err)
    check(status, &err, db.path)
    return 0


cdef void keep_problem(void *context, const lsmkv_error *problem) noexcept with gil:
    cdef list problems = <list>context
    if len(problems) < PROBLEMS_KEPT_MAX:
        problems.append((
            (<const char *>problem.file).decode("utf-8", "replace"),
            problem.offset,
            (<const char *>problem.message).decode("utf-8", "replace"),
        ))


cdef bint locate(DB db, Snapshot snapshot, lsmkv_bytes key,
                 lsmkv_pin *pin) except -1:
    """Whether the key is there; if so, the pin must be released."""
    cdef lsmkv_read read
    cdef lsmkv_error err
    cdef lsmkv_status status
    read.snapshot = NULL if snapshot is None else snapshot.enter(db)
    read.nonblocking = True
    status = lsmkv_get(db._db, &read, key, pin, &err)
    if status == LSMKV_WOULD_BLOCK:
        read.nonblocking = False
        with nogil:
            status = lsmkv_get(db._db, &read, key, pin, &err)
    if snapshot is not None:
        snapshot.leave()
    if status == LSMKV_OK:
        return True
    if status != LSMKV_NOT_FOUND:
        raise_status(status, &err, db.path)
    return False


cdef object find(DB db, Snapshot snapshot, object key):
    """The value as bytes, or None."""
    cdef Hold hold
    cdef lsmkv_bytes view
    cdef lsmkv_pin pin
    take(key, &view, &hold)
    try:
        if not locate(db, snapshot, view, &pin):
            return None
    finally:
        PyBuffer_Release(&hold)
    try:
        return PyBytes_FromStringAndSize(<const char *>pin.value.data,
                                         <Py_ssize_t>pin.value.size)
    finally:
        lsmkv_pin_release(&pin)


cdef bint exists(DB db, Snapshot snapshot, object key) except -1:
    cdef Hold hold
    cdef lsmkv_bytes view
    cdef lsmkv_pin pin
    take(key, &view, &hold)
    try:
        if not locate(db, snapshot, view, &pin):
            return False
    finally:
        PyBuffer_Release(&hold)
    lsmkv_pin_release(&pin)
    return True


cdef list find_many(DB db, Snapshot snapshot, object keys, object default):
    cdef tuple held = gather(keys)
    cdef Py_ssize_t count = len(held), i
    cdef list values = PyList_New(count)
    cdef lsmkv_lookup *lookups
    cdef lsmkv_read read
    cdef lsmkv_pin pin
    cdef lsmkv_error err
    cdef lsmkv_status status
    lookups = <lsmkv_lookup *>PyMem_Malloc(count * sizeof(lsmkv_lookup))
    if lookups == NULL:
        raise MemoryError
    try:
        for i in range(count):
            lookups[i].key.data = PyBytes_AS_STRING(held[i])
            lookups[i].key.size = <size_t>PyBytes_GET_SIZE(held[i])
        read.snapshot = NULL if snapshot is None else snapshot.enter(db)
        read.nonblocking = False
        with nogil:
            status = lsmkv_get_many(db._db, &read, lookups, <size_t>count, &pin, &err)
        if snapshot is not None:
            snapshot.leave()
        check(status, &err, db.path)
        try:
            for i in range(count):
                value = default
                if lookups[i].found:
                    value = PyBytes_FromStringAndSize(
                        <const char *>lookups[i].value.data,
                        <Py_ssize_t>lookups[i].value.size,
                    )
                Py_INCREF(value)
                PyList_SET_ITEM(values, i, value)
        finally:
            lsmkv_pin_release(&pin)
    finally:
        PyMem_Free(lookups)
    return values


cdef inline lsmkv_write writing(object sync) noexcept:
    """How to write: without waiting, unless a sync was asked for."""
    cdef lsmkv_write how
    how.sync = sync is not None and bool(sync)
    how.nosync = sync is not None and not sync
    how.nonblocking = not how.sync
    return how


cdef int store(DB db, object key, object value, object sync) except -1:
    cdef Hold[2] hold
    cdef lsmkv_bytes[2] view
    cdef lsmkv_write how = writing(sync)
    cdef lsmkv_error err
    cdef lsmkv_status status = LSMKV_WOULD_BLOCK
    take_two(key, value, view, hold)
    if how.nonblocking:
        status = lsmkv_put(db._db, &how, view[0], view[1], &err)
    if status == LSMKV_WOULD_BLOCK:
        how.nonblocking = False
        with nogil:
            status = lsmkv_put(db._db, &how, view[0], view[1], &err)
    release_two(hold)
    check(status, &err, db.path)
    return 0


cdef int remove(DB db, object key, object sync) except -1:
    cdef Hold hold
    cdef lsmkv_bytes view
    cdef lsmkv_write how = writing(sync)
    cdef lsmkv_error err
    cdef lsmkv_status status = LSMKV_WOULD_BLOCK
    take(key, &view, &hold)
    if how.nonblocking:
        status = lsmkv_delete(db._db, &how, view, &err)
    if status == LSMKV_WOULD_BLOCK:
        how.nonblocking = False
        with nogil:
            status = lsmkv_delete(db._db, &how, view, &err)
    PyBuffer_Release(&hold)
    check(status, &err, db.path)
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


cdef class Snapshot:
    """A fixed state of a database; `lsmkv.Snapshot` is the public face."""

    cdef readonly DB db
    cdef lsmkv_snapshot *_snapshot
    cdef int _uses  # calls that have the pointer, perhaps without the GIL
    cdef bint _closed

    def __cinit__(self, DB db not None):
        cdef lsmkv_error err
        cdef lsmkv_status status
        self.db = db
        with nogil:
            status = lsmkv_snapshot_create(db._db, &self._snapshot, &err)
        check(status, &err, db.path)

    def __dealloc__(self):
        lsmkv_snapshot_free(self._snapshot)

    cdef lsmkv_snapshot *enter(self, DB db) except NULL:
        """Lend the pointer until leave()."""
        cdef bint closed
        if self.db is not db:
            raise errors.InvalidArgumentError(
                f"the snapshot is of {self.db.path}, not of {db.path}"
            )
        with cython.critical_section(self):
            closed = self._closed
            self._uses += not closed
        if closed:
            raise errors.ClosedError("the snapshot is closed")
        return self._snapshot

    cdef void leave(self) noexcept:
        cdef lsmkv_snapshot *unused = NULL
        with cython.critical_section(self):
            self._uses -= 1
            if self._closed and self._uses == 0:
                unused = self._snapshot
                self._snapshot = NULL
        lsmkv_snapshot_free(unused)

    def close(self):
        """Let go of the state, so that its space can be given back."""
        with cython.critical_section(self):
            if self._closed:
                return
            self._uses += 1
            self._closed = True
        self.leave()

    @property
    def closed(self):
        """Whether the snapshot or its database was closed."""
        return self._closed or lsmkv_is_closed(self.db._db)

    def get(self, key, default=None):
        """Return the value that `key` had, or `default`."""
        value = find(self.db, self, key)
        return default if value is None else value

    def get_many(self, keys, default=None):
        """Return the values that `keys` had, in their order; see DB.get_many."""
        return find_many(self.db, self, keys, default)

    def __getitem__(self, key):
        value = find(self.db, self, key)
        if value is None:
            raise KeyError(key)
        return value

    def __contains__(self, key):
        return exists(self.db, self, key)


cdef int refuse_busy(bint busy, str what) except -1:
    """Turn a thread away while another is in the engine with the same handle."""
    if busy:
        raise errors.InvalidArgumentError(f"another thread is using the {what}")
    return 0


cdef class Batch:
    """Writes to be applied together; `lsmkv.WriteBatch` is the public face."""

    cdef lsmkv_batch *_batch
    cdef bint _busy

    def __cinit__(self):
        cdef lsmkv_error err
        cdef lsmkv_status status = lsmkv_batch_create(&self._batch, &err)
        check(status, &err, "")

    def __dealloc__(self):
        lsmkv_batch_free(self._batch)

    cdef int add(self, object key, object value) except -1:
        cdef Hold[2] hold
        cdef lsmkv_bytes[2] view
        cdef lsmkv_error err
        cdef lsmkv_status status
        take_two(key, value, view, hold)
        try:
            with cython.critical_section(self):
                refuse_busy(self._busy, "batch")
                status = lsmkv_batch_put(self._batch, view[0], view[1], &err)
        finally:
            release_two(hold)
        check(status, &err, "")
        return 0

    cdef int add_delete(self, object key) except -1:
        cdef Hold hold
        cdef lsmkv_bytes view
        cdef lsmkv_error err
        cdef lsmkv_status status
        take(key, &view, &hold)
        try:
            with cython.critical_section(self):
                refuse_busy(self._busy, "batch")
                status = lsmkv_batch_delete(self._batch, view, &err)
        finally:
            PyBuffer_Release(&hold)
        check(status, &err, "")
        return 0

    def put(self, key, value):
        """Add the storing of `value` under `key`."""
        self.add(key, value)

    def delete(self, key):
        """Add the removal of `key`."""
        self.add_delete(key)

    def clear(self):
        """Forget everything added so far."""
        with cython.critical_section(self):
            refuse_busy(self._busy, "batch")
            lsmkv_batch_clear(self._batch)

    def __len__(self):
        return lsmkv_batch_count(self._batch)

    @property
    def nbytes(self):
        """Size of the batch in the log, in bytes."""
        return lsmkv_batch_bytes(self._batch)


cdef class Scan:
    """A lazy iterator over rows in key order, as they were when it was made.

    Rows cross from the engine in chunks. It keeps its database's files from being
    deleted until it is exhausted, closed or dropped.
    """

    cdef DB _db
    cdef lsmkv_iter *_iter
    cdef lsmkv_chunk _chunk
    cdef lsmkv_fill _fill
    cdef size_t _index  # of the next row in the chunk
    cdef bint _busy
    cdef bint _done
    cdef bint _closed

    def __cinit__(self, DB db not None, start, stop, bint reverse, Snapshot snapshot):
        cdef Hold[2] hold
        cdef lsmkv_range range_
        cdef lsmkv_read read
        cdef lsmkv_error err
        cdef lsmkv_status status
        self._db = db
        self._fill.reverse = reverse
        self._fill.row_max = FIRST_CHUNK_ROWS
        self._fill.byte_max = FIRST_CHUNK_BYTES
        take_range(start, stop, &range_, hold)
        try:
            read.snapshot = NULL if snapshot is None else snapshot.enter(db)
            read.nonblocking = False
            with nogil:
                status = lsmkv_iter_create(db._db, &read, &range_, &self._iter, &err)
            if snapshot is not None:
                snapshot.leave()
        finally:
            release_two(hold)
        check(status, &err, db.path)

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

    cdef inline const lsmkv_row *advance(self) except? NULL:
        """The next row of the chunk, or NULL at the end. A closed database ends it."""
        cdef const lsmkv_row *row
        if self._index == self._chunk.row_count or lsmkv_is_closed(self._db._db):
            if self.refill() == 0:
                return NULL
        row = &self._chunk.rows[self._index]
        self._index += 1
        return row

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
        check(status, &err, self._db.path)
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
            row = self.advance()
            if row == NULL:
                raise StopIteration
            return (self.key(row), self.value(row))


@cython.final
cdef class KeyScan(Scan):
    """Yields keys, without reading values where the engine can avoid it."""

    def __cinit__(self):
        self._fill.keys_only = True

    def __next__(self):
        cdef const lsmkv_row *row
        with cython.critical_section(self):
            row = self.advance()
            if row == NULL:
                raise StopIteration
            return self.key(row)


@cython.final
cdef class ValueScan(Scan):
    """Yields values in the order of their keys."""

    def __next__(self):
        cdef const lsmkv_row *row
        with cython.critical_section(self):
            row = self.advance()
            if row == NULL:
                raise StopIteration
            return self.value(row)


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
