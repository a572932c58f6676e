# SPDX-License-Identifier: Apache-2.0
"""Databases and snapshots: single reads and writes, and the calls on a whole database.

Two rules run through the file:

* The fast calls (get, put, delete) are tried with the GIL held in a mode that never
  waits; only when they answer WOULD_BLOCK, or were asked to sync, is the GIL released
  and the waiting call made. Everything else releases it.
* While a pin is held, nothing may run arbitrary Python (a garbage collection may close
  a database, and closing waits for pins). So containers for results are made before
  the call, and under the pin only bytes objects are, which never start a collection.
"""

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport Py_INCREF
from libc.string cimport memcpy

from lsmkv._base cimport *
from lsmkv._batch cimport Batch, lasting
from lsmkv._view cimport View

from lsmkv import errors

cdef enum:
    PROBLEMS_KEPT_MAX = 1000  # each once; the engine counts them all

cdef dict TIMED = {
    "get": LSMKV_LATENCY_GET,
    "get_many": LSMKV_LATENCY_GET_MANY,
    "gather": LSMKV_LATENCY_GATHER,
    "write": LSMKV_LATENCY_WRITE,
    "scan": LSMKV_LATENCY_SCAN,
    "sync": LSMKV_LATENCY_SYNC,
    "stall": LSMKV_LATENCY_STALL,
    "flush": LSMKV_LATENCY_FLUSH,
    "compaction": LSMKV_LATENCY_COMPACTION,
}


cdef class Keyspace(Handle):
    """What is read and written one key, or some keys, at a time."""

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
        return find_many(self, snapshot, keys, default, False)

    def get_into(self, key, buffer, *, Snapshot snapshot=None):
        """Copy the value of `key` into a writable buffer; return its size, or None.

        BufferError if the buffer is too small; the message tells the size needed, and
        nothing is written. `snapshot` as for get().
        """
        return copy_into(self, snapshot, key, buffer)

    def get_view(self, key, *, Snapshot snapshot=None):
        """Return the value of `key` as a read-only memoryview, or None.

        A large value is not copied: the view shows the file itself, and stays valid for
        as long as it is referred to, after close() too. Until then the file stays on
        disk. `snapshot` as for get().
        """
        return view_of(self, snapshot, key)

    def approximate_count(self, start=None, stop=None, *, Snapshot snapshot=None):
        """Return about how many keys lie in start <= key < stop, None being no bound.

        Takes about a millisecond at most, however many they are. Exact up to a few
        thousand records; beyond that an estimate from the sizes of tables, which counts
        a key that was overwritten lately more than once, takes no notice of `snapshot`,
        and counts what `delete_range` deleted until compaction has met it, so after a
        large one it may be too high by all that was deleted. Of a cache, keys whose
        values a power failure took may be counted.
        """
        cdef Hold[2] hold
        cdef lsmkv_range range_
        cdef lsmkv_read read
        cdef uint64_t count
        cdef lsmkv_error err
        cdef lsmkv_status status
        take_range(start, stop, &range_, hold)
        try:
            begin_read(self, snapshot, False, &read)
            with nogil:
                status = lsmkv_approximate_count(self._db, &read, &range_, &count, &err)
            end_read(snapshot)
        finally:
            release_two(hold)
        check(status, &err, self.path)
        return count

    def __getitem__(self, key):
        value = find(self, None, key)
        if value is None:
            raise KeyError(key)
        return value

    def __contains__(self, key):
        return exists(self, None, key)

    def _has(self, key, Snapshot snapshot):
        """Whether the key was there."""
        return exists(self, snapshot, key)

    def put(self, key, value, *, ttl=default_time, stale=default_time, sync=None):
        """Store `value` under `key`.

        `ttl` is how many seconds the value stays, to the millisecond: from then on it
        is gone, from snapshots too, as if it had been deleted. None: it stays; DEFAULT:
        as the keyspace says, for a database that it stays.

        `stale` is for how many seconds after that get_or_compute() and its kin still
        find the value, if they are asked to; all else does not. DEFAULT: as the
        keyspace says, for a database 0. It means nothing for a value that stays.

        `sync=True` returns only when the write survives power loss, `sync=False` when
        the operating system has it; None does what the database's `durability` says.
        """
        store(self, key, value, ttl_of(ttl), stale_of(stale), sync)

    def ttl(self, key, *, Snapshot snapshot=None):
        """Return the seconds that the value of `key` stays, None if it does not expire.

        KeyError if there is no value.
        """
        return time_left(self, snapshot, key)

    def touch(self, key, ttl):
        """Give the value of `key` the time `ttl`, from now on; False if there is none.

        `ttl` as for put(), and `stale` as if it were not given. The value stays as it
        is: a put or delete by another thread at the same time is never undone.
        """
        return touch(self, key, ttl_of(ttl))

    def delete(self, key, *, sync=None):
        """Remove `key`; nothing happens if it is not there. `sync` as for put()."""
        remove(self, key, sync)

    def __setitem__(self, key, value):
        store(self, key, value, 0, 0, None)

    def __delitem__(self, key):
        if not exists(self, None, key):
            raise KeyError(key)
        remove(self, key, None)

    def put_many(self, items, *, ttl=default_time, stale=default_time, sync=None):
        """Store all pairs of a mapping, or of an iterable of pairs, as one batch.

        Either all of them are stored or none, whatever happens. `ttl` and `stale`, the
        same for all, and `sync` as for put().
        """
        cdef Batch batch = Batch()
        cdef lsmkv_write how = lasting(self._space, ttl, stale)
        pairs = items.items() if hasattr(items, "keys") else items
        for key, value in pairs:
            batch.add(key, value, &how)
        self.write(batch, sync=sync)

    def delete_many(self, keys, *, sync=None):
        """Remove all `keys` as one batch, atomically. `sync` as for put()."""
        cdef Batch batch = Batch()
        for key in keys:
            batch.add_delete(key, self._space)
        self.write(batch, sync=sync)

    def delete_range(self, start, stop, *, sync=None):
        """Remove every key in start <= key < stop, None being no bound, atomically.

        Costs one small write, however many keys there are; compactions give the space
        back. `sync` as for put().
        """
        cdef Hold[2] hold
        cdef lsmkv_range range_
        cdef lsmkv_write how = writing(self, sync, 0)
        cdef lsmkv_error err
        cdef lsmkv_status status
        how.nonblocking = False
        take_range(start, stop, &range_, hold)
        with nogil:
            status = lsmkv_delete_range(self._db, &how, &range_, &err)
        release_two(hold)
        check(status, &err, self.path)

    def write(self, Batch batch not None, *, sync=None):
        """Apply a batch atomically; it can be written again. `sync` as for put()."""
        cdef lsmkv_write how = writing(self, sync, 0)
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


cdef class DB(Keyspace):
    """An open database; `lsmkv.DB` is the public face."""

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

    def refresh(self):
        """Show what the writer has written by now; whether that is a later state.

        For a database opened with `mode="follower"`. Whole batches only; cheap when
        there is nothing new. Other threads may read meanwhile, and snapshots, iterators
        and views stay as they are.

        ChangedError: the writer changed too much at this moment, and the state shown is
        the one before. CorruptionError: what it wrote is damaged. `stats().follower`
        tells what the last refresh raised, also of those that `poll` makes.
        """
        cdef c_bool changed
        cdef lsmkv_error err
        cdef lsmkv_status status
        with nogil:
            status = lsmkv_refresh(self._db, &changed, &err)
        check(status, &err, self.path)
        return bool(changed)

    def flush(self):
        """Write the memtable out as a table and wait until it is durable."""
        call(self, lsmkv_flush)

    def sync(self):
        """Make every write that has returned survive power loss."""
        call(self, lsmkv_sync)

    def compact(self, start=None, stop=None):
        """Flush, then merge all that lies in start <= key < stop down to one level.

        None is no bound. Without both it is the whole database, otherwise the range of
        the keys outside of namespaces, which have this method, too. Gives back the
        space of deleted, expired and overwritten values, at the cost of rewriting the
        range.
        """
        compact_range(self, start, stop)

    def _checkpoint(self, bytes name not None):
        """Make a database of its own in another directory."""
        cdef const char *directory = name
        cdef lsmkv_error err
        cdef lsmkv_status status
        with nogil:
            status = lsmkv_checkpoint(self._db, directory, &err)
        check(status, &err, self.path)

    def resume(self):
        """Try at once to write again after the disk was full.

        The next write tries by itself; this tells whether it would succeed, and also
        repeats a flush or compaction that failed. Raises what still stands in the way.
        """
        call(self, lsmkv_resume)

    def settle(self):
        """Wait until no flush or compaction is running or due."""
        call(self, lsmkv_settle)

    def _verify(self):
        """The counts as a dict, and (file, offset, message) of the first problems."""
        cdef dict problems = {}
        cdef Kept kept = keeping(problems)
        cdef lsmkv_report report
        cdef lsmkv_error err
        cdef lsmkv_status status
        with nogil:
            status = lsmkv_verify(self._db, keep_problem, &kept, &report, &err)
        check(status, &err, self.path)
        check_kept(&kept)
        return report, list(problems)

    def _stats(self):
        """The counters of the engine as a dict."""
        cdef lsmkv_stats stats
        cdef lsmkv_error err
        cdef lsmkv_status status
        with nogil:
            status = lsmkv_get_stats(self._db, &stats, &err)
        check(status, &err, self.path)
        return stats

    def _follower(self):
        """How a follower keeps up, as a dict; None if it is none."""
        cdef lsmkv_follow_stats stats
        cdef lsmkv_error err
        cdef lsmkv_status status
        with nogil:
            status = lsmkv_get_follow_stats(self._db, &stats, &err)
        if status == LSMKV_INVALID_ARGUMENT:
            return None
        check(status, &err, self.path)
        return {
            "refresh_count": stats.refresh_count,
            "failure_count": stats.failure_count,
            "failures_in_row": stats.failures_in_row,
            "age_seconds": stats.age_us / 1e6,
            "error": None if stats.error.status == LSMKV_OK
            else error_of(stats.error.status, &stats.error, self.path),
        }

    def _latencies(self):
        """(count, sum and max in ns, counts by bucket) of all that is timed."""
        cdef lsmkv_histogram histogram
        cdef lsmkv_error err
        cdef lsmkv_status status
        cdef dict found = {}
        for name, kind in TIMED.items():
            status = lsmkv_get_latency(self._db, kind, &histogram, &err)
            check(status, &err, self.path)
            found[name] = (histogram.count, histogram.sum_ns, histogram.max_ns,
                           histogram.counts)
        return found

    def _memory(self):
        """What memory is used for, as a dict."""
        cdef lsmkv_memory memory
        cdef lsmkv_error err
        cdef lsmkv_status status
        with nogil:
            status = lsmkv_get_memory(self._db, &memory, &err)
        check(status, &err, self.path)
        return memory

    def _options(self):
        """The options in force as a dict with the names of the C interface."""
        cdef lsmkv_options options
        lsmkv_get_options(self._db, &options)
        return options

    def _uuid(self):
        """What no other database has, as bytes."""
        cdef uint8_t[LSMKV_UUID_SIZE] uuid
        lsmkv_get_uuid(self._db, uuid)
        return PyBytes_FromStringAndSize(<const char *>uuid, LSMKV_UUID_SIZE)


def histogram_bounds() -> tuple:
    """The smallest duration beyond each bucket, in nanoseconds."""
    cdef list bounds = [0] * LSMKV_HISTOGRAM_BUCKETS
    for i in range(LSMKV_HISTOGRAM_BUCKETS):
        bounds[i] = lsmkv_histogram_bound(i)
    return tuple(bounds)


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
    cdef Kept *kept = <Kept *>context
    cdef dict problems = <dict>kept.items
    try:
        if len(problems) < PROBLEMS_KEPT_MAX:
            problems[(
                (<const char *>problem.file).decode("utf-8", "replace"),
                problem.offset,
                (<const char *>problem.message).decode("utf-8", "replace"),
            )] = None
    except MemoryError:
        kept.failed = True


def repair_files(bytes path not None, bytes into, str directory not None):
    """As DB._verify(), for lsmkv.repair()."""
    cdef dict problems = {}
    cdef Kept kept = keeping(problems)
    cdef const char *source = path
    cdef const char *target = NULL
    cdef lsmkv_report report
    cdef lsmkv_error err
    cdef lsmkv_status status
    if into is not None:
        target = into
    with nogil:
        status = lsmkv_repair(source, target, keep_problem, &kept, &report, &err)
    check(status, &err, directory)
    check_kept(&kept)
    return report, list(problems)


def destroy_files(bytes path not None, str directory not None):
    """Remove a database; see lsmkv.destroy()."""
    cdef const char *source = path
    cdef lsmkv_error err
    cdef lsmkv_status status
    with nogil:
        status = lsmkv_destroy(source, &err)
    check(status, &err, directory)


cdef int compact_range(Handle space, object start, object stop) except -1:
    cdef Hold[2] hold
    cdef lsmkv_range range_
    cdef bint whole = start is None and stop is None
    cdef lsmkv_error err
    cdef lsmkv_status status
    take_range(start, stop, &range_, hold)
    with nogil:
        status = lsmkv_compact(space._db, space._space, NULL if whole else &range_,
                               &err)
    release_two(hold)
    check(status, &err, space.path)
    return 0


cdef bint locate(Handle space, Snapshot snapshot, lsmkv_bytes key,
                 lsmkv_pin *pin) except -1:
    """Whether the key is there; if so, the pin must be released."""
    cdef lsmkv_read read
    cdef lsmkv_error err
    cdef lsmkv_status status
    begin_read(space, snapshot, True, &read)
    status = lsmkv_get(space._db, &read, key, pin, &err)
    if status == LSMKV_WOULD_BLOCK:
        read.nonblocking = False
        with nogil:
            status = lsmkv_get(space._db, &read, key, pin, &err)
    end_read(snapshot)
    if status == LSMKV_OK:
        return True
    if status != LSMKV_NOT_FOUND:
        raise_status(status, &err, space.path)
    return False


cdef object find(Handle space, Snapshot snapshot, object key):
    """The value as bytes, or None."""
    cdef Hold hold
    cdef lsmkv_bytes view
    cdef lsmkv_pin pin
    take(key, &view, &hold)
    try:
        if not locate(space, snapshot, view, &pin):
            return None
    finally:
        PyBuffer_Release(&hold)
    try:
        return PyBytes_FromStringAndSize(<const char *>pin.value.data,
                                         <Py_ssize_t>pin.value.size)
    finally:
        lsmkv_pin_release(&pin)


cdef object copy_into(Handle space, Snapshot snapshot, object key, object buffer):
    """The size of the value, once it was copied to the buffer, or None."""
    cdef Hold hold, target
    cdef lsmkv_bytes view
    cdef lsmkv_pin pin
    cdef size_t size
    cdef bint fits
    PyObject_GetBuffer(buffer, &target, PyBUF_WRITABLE)
    try:
        take(key, &view, &hold)
        try:
            if not locate(space, snapshot, view, &pin):
                return None
        finally:
            PyBuffer_Release(&hold)
        size = pin.value.size
        fits = size <= <size_t>target.len
        if fits and size > 0:
            memcpy(target.buf, pin.value.data, size)
        lsmkv_pin_release(&pin)
        if not fits:
            raise BufferError(
                f"the value needs {size} bytes, the buffer has {target.len}"
            )
        return size
    finally:
        PyBuffer_Release(&target)


cdef object view_of(Handle space, Snapshot snapshot, object key):
    """A memoryview of the value, or None."""
    cdef View view = View.__new__(View)
    cdef Hold hold
    cdef lsmkv_bytes name
    cdef lsmkv_read read
    cdef lsmkv_error err
    cdef lsmkv_status status
    take(key, &name, &hold)
    try:
        begin_read(space, snapshot, True, &read)
        status = lsmkv_get_view(space._db, &read, name, &view._view, &view._value, &err)
        if status == LSMKV_WOULD_BLOCK:
            read.nonblocking = False
            with nogil:
                status = lsmkv_get_view(space._db, &read, name, &view._view,
                                        &view._value, &err)
        end_read(snapshot)
    finally:
        PyBuffer_Release(&hold)
    if status == LSMKV_NOT_FOUND:
        return None
    check(status, &err, space.path)
    return PyMemoryView_FromObject(view)


cdef bint exists(Handle space, Snapshot snapshot, object key) except -1:
    cdef Hold hold
    cdef lsmkv_bytes view
    cdef lsmkv_pin pin
    take(key, &view, &hold)
    try:
        if not locate(space, snapshot, view, &pin):
            return False
    finally:
        PyBuffer_Release(&hold)
    lsmkv_pin_release(&pin)
    return True


cdef object time_left(Handle space, Snapshot snapshot, object key):
    cdef Hold hold
    cdef lsmkv_bytes view
    cdef lsmkv_read read
    cdef int64_t ttl_ms
    cdef lsmkv_error err
    cdef lsmkv_status status
    take(key, &view, &hold)
    try:
        begin_read(space, snapshot, False, &read)
        with nogil:
            status = lsmkv_ttl(space._db, &read, view, &ttl_ms, &err)
        end_read(snapshot)
    finally:
        PyBuffer_Release(&hold)
    if status == LSMKV_NOT_FOUND:
        raise KeyError(key)
    check(status, &err, space.path)
    return None if ttl_ms < 0 else ttl_ms / 1000.0


cdef bint touch(Handle space, object key, int64_t ttl_ms) except -1:
    cdef Hold hold
    cdef lsmkv_bytes view
    cdef lsmkv_write how = writing(space, None, ttl_ms)
    cdef lsmkv_error err
    cdef lsmkv_status status
    how.nonblocking = False
    take(key, &view, &hold)
    with nogil:
        status = lsmkv_touch(space._db, &how, view, &err)
    PyBuffer_Release(&hold)
    if status == LSMKV_NOT_FOUND:
        return False
    check(status, &err, space.path)
    return True


cdef list find_many(Handle space, Snapshot snapshot, object keys, object default,
                    bint stale):
    """The values as bytes, `default` for missing ones.

    With `stale`, those past their time as well: tuples of value and seconds since then.
    """
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
        begin_read(space, snapshot, False, &read)
        read.stale = stale
        with nogil:
            status = lsmkv_get_many(space._db, &read, lookups, <size_t>count, &pin,
                                    &err)
        end_read(snapshot)
        check(status, &err, space.path)
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
        if stale:
            for i in range(count):
                if lookups[i].found and lookups[i].stale_for_ms >= 0:
                    values[i] = (values[i], lookups[i].stale_for_ms / 1000.0)
    finally:
        PyMem_Free(lookups)
    return values


cdef inline lsmkv_write writing(Handle space, object sync, int64_t ttl_ms) noexcept:
    """How to write: without waiting, unless a sync was asked for."""
    cdef lsmkv_write how
    how.sync = sync is not None and bool(sync)
    how.nosync = sync is not None and not sync
    how.nonblocking = not how.sync
    how.ttl_ms = ttl_ms
    how.space = space._space
    how.stale_ms = 0
    how.expire_at_ms = 0
    how.fresh_until_ms = 0
    how.since = NULL
    return how


cdef int store(Handle space, object key, object value, int64_t ttl_ms,
               int64_t stale_ms, object sync) except -1:
    cdef Hold[2] hold
    cdef lsmkv_bytes[2] view
    cdef lsmkv_write how = writing(space, sync, ttl_ms)
    cdef lsmkv_error err
    cdef lsmkv_status status = LSMKV_WOULD_BLOCK
    how.stale_ms = stale_ms
    take_two(key, value, view, hold)
    if how.nonblocking:
        status = lsmkv_put(space._db, &how, view[0], view[1], &err)
    if status == LSMKV_WOULD_BLOCK:
        how.nonblocking = False
        with nogil:
            status = lsmkv_put(space._db, &how, view[0], view[1], &err)
    release_two(hold)
    check(status, &err, space.path)
    return 0


cdef int remove(Handle space, object key, object sync) except -1:
    cdef Hold hold
    cdef lsmkv_bytes view
    cdef lsmkv_write how = writing(space, sync, 0)
    cdef lsmkv_error err
    cdef lsmkv_status status = LSMKV_WOULD_BLOCK
    take(key, &view, &hold)
    if how.nonblocking:
        status = lsmkv_delete(space._db, &how, view, &err)
    if status == LSMKV_WOULD_BLOCK:
        how.nonblocking = False
        with nogil:
            status = lsmkv_delete(space._db, &how, view, &err)
    PyBuffer_Release(&hold)
    check(status, &err, space.path)
    return 0


cdef class Snapshot:
    """A fixed state of a database; `lsmkv.Snapshot` is the public face."""

    def __cinit__(self, DB db not None):
        cdef lsmkv_error err
        cdef lsmkv_status status
        self.db = db
        with nogil:
            status = lsmkv_snapshot_create(db._db, &self._snapshot, &err)
        check(status, &err, db.path)

    def __dealloc__(self):
        lsmkv_snapshot_free(self._snapshot)

    cdef lsmkv_snapshot *enter(self, Handle space) except NULL:
        """Lend the pointer until leave()."""
        cdef bint closed
        if self.db._db != space._db:
            raise errors.InvalidArgumentError(
                f"the snapshot is of {self.db.path}, not of {space.path}"
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

    def _sequence(self):
        """The number of the newest write that it shows."""
        cdef uint64_t sequence = lsmkv_snapshot_sequence(self.enter(self.db))
        self.leave()
        return sequence

    def get(self, key, default=None):
        """Return the value that `key` had, or `default`."""
        value = find(self.db, self, key)
        return default if value is None else value

    def get_many(self, keys, default=None):
        """Return the values that `keys` had, in their order; see DB.get_many."""
        return find_many(self.db, self, keys, default, False)

    def __getitem__(self, key):
        value = find(self.db, self, key)
        if value is None:
            raise KeyError(key)
        return value

    def __contains__(self, key):
        return exists(self.db, self, key)
