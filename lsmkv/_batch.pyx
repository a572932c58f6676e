# SPDX-License-Identifier: Apache-2.0
"""Batches: writes that are gathered here and applied by Keyspace.write."""

cimport cython

from lsmkv._base cimport *


cdef class Batch:
    """Writes to be applied together; `lsmkv.WriteBatch` is the public face."""

    def __cinit__(self, Handle space=None, **unused):
        self._space = space
        cdef lsmkv_error err
        cdef lsmkv_status status = lsmkv_batch_create(&self._batch, &err)
        check(status, &err, "")

    def __dealloc__(self):
        lsmkv_batch_free(self._batch)

    cdef const lsmkv_namespace *space_of(self, Handle namespace) noexcept:
        if namespace is None:
            namespace = self._space
        return NULL if namespace is None else namespace._space

    cdef int add(self, object key, object value, const lsmkv_write *how) except -1:
        cdef Hold[2] hold
        cdef lsmkv_bytes[2] view
        cdef lsmkv_error err
        cdef lsmkv_status status
        take_two(key, value, view, hold)
        try:
            with cython.critical_section(self):
                refuse_busy(self._busy, "batch")
                status = lsmkv_batch_put(self._batch, how, view[0], view[1], &err)
        finally:
            release_two(hold)
        check(status, &err, "")
        return 0

    cdef int add_delete(self, object key, const lsmkv_namespace *space) except -1:
        cdef Hold hold
        cdef lsmkv_bytes view
        cdef lsmkv_write how
        cdef lsmkv_error err
        cdef lsmkv_status status
        how.space = space
        take(key, &view, &hold)
        try:
            with cython.critical_section(self):
                refuse_busy(self._busy, "batch")
                status = lsmkv_batch_delete(self._batch, &how, view, &err)
        finally:
            PyBuffer_Release(&hold)
        check(status, &err, "")
        return 0

    def put(self, key, value, *, ttl=default_time, stale=default_time,
            Handle namespace=None):
        """Add the storing of `value` under `key`.

        `ttl` and `stale` as for DB.put; they count from the moment when the batch is
        written. `namespace` is where; None, where the batch was made.
        """
        cdef lsmkv_write how = lasting(self.space_of(namespace), ttl, stale)
        self.add(key, value, &how)

    def _put_until(self, key, value, uint64_t end, uint64_t fresh_until=0,
                   Handle namespace=None):
        """Add a put whose value expires at a moment of engine time; 0: never.

        It is fresh until another such moment; 0: until it expires.
        """
        cdef lsmkv_write how = lasting(self.space_of(namespace), None, 0)
        how.expire_at_ms = end
        how.fresh_until_ms = fresh_until
        self.add(key, value, &how)

    def delete(self, key, *, Handle namespace=None):
        """Add the removal of `key`; `namespace` as for put()."""
        self.add_delete(key, self.space_of(namespace))

    def delete_range(self, start, stop, *, Handle namespace=None):
        """Add the removal of every key in start <= key < stop, None being no bound.

        That is what there is when the batch is written, and what was added before to
        this batch. `namespace` as for put().
        """
        cdef lsmkv_write how
        cdef Hold[2] hold
        cdef lsmkv_range range_
        cdef lsmkv_error err
        cdef lsmkv_status status
        how.space = self.space_of(namespace)
        take_range(start, stop, &range_, hold)
        try:
            with cython.critical_section(self):
                refuse_busy(self._busy, "batch")
                status = lsmkv_batch_delete_range(self._batch, &how, &range_, &err)
        finally:
            release_two(hold)
        check(status, &err, "")

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
