# SPDX-License-Identifier: Apache-2.0
"""Namespaces: keyspaces with a name, and what is asked about all of them."""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc

from lsmkv._base cimport *
from lsmkv._core cimport DB, Keyspace, Snapshot, compact_range

from lsmkv import errors


@cython.no_gc_clear  # the pointers of the database are used until the end
cdef class Namespace(Keyspace):
    """A keyspace with a name; `lsmkv.Namespace` is the public face."""

    cdef readonly DB db
    cdef readonly str name

    def __cinit__(self, DB db not None, str name not None, dict wanted not None,
                  Snapshot snapshot):
        cdef bytes encoded = encode(name)
        cdef lsmkv_bytes view
        cdef lsmkv_namespace_how how
        cdef lsmkv_error err
        cdef lsmkv_status status
        self.db = db
        self.name = name
        self.path = db.path
        self._db = db._db
        take_wanted(wanted, &how)
        take_name(encoded, &view)
        how.snapshot = NULL if snapshot is None else snapshot.enter(db)
        with nogil:
            status = lsmkv_namespace_open(db._db, view, &how, &self._space, &err)
        if snapshot is not None:
            snapshot.leave()
        if status == LSMKV_NOT_FOUND:
            raise KeyError(name)
        check(status, &err, db.path)

    def __dealloc__(self):
        lsmkv_namespace_free(self._space)

    @property
    def closed(self):
        """Whether the database was closed."""
        return lsmkv_is_closed(self._db)

    def _options(self):
        """What the namespace has of its own, with the names of the C interface."""
        cdef lsmkv_space_options options
        lsmkv_namespace_options(self._space, &options)
        return options

    def compact(self, start=None, stop=None):
        """Do what DB.compact() does for the keys of this namespace; None: all."""
        compact_range(self, start, stop)

    def pin(self, keys):
        """Keep the values of these keys of a cache from being given up for space.

        That lasts until unpin(), across reopens, and holds for values put later, too.
        What has expired goes all the same.

        Args:
            keys: Keys as bytes or buffers. All are pinned, or none.

        Raises:
            LimitError: The values of pinned keys would take more than half of
                `max_bytes`; also raised by a put that would have them do so.
            InvalidArgumentError: The namespace is no cache.
        """
        change_pins(self, keys, True)

    def unpin(self, keys):
        """End what pin() began; keys that are not pinned are passed over."""
        change_pins(self, keys, False)

    def _cache_stats(self):
        """What lsmkv_get_cache_stats() tells."""
        cdef lsmkv_cache_stats stats
        cdef lsmkv_error err
        cdef lsmkv_status status
        with nogil:
            status = lsmkv_get_cache_stats(self._db, self._space, &stats, &err)
        check(status, &err, self.path)
        return stats


cdef int change_pins(Namespace space, object keys, bint pins) except -1:
    """Pin or unpin keys, all of them or none."""
    cdef tuple held = gather(keys)
    cdef Py_ssize_t count = len(held), i
    cdef lsmkv_error err
    cdef lsmkv_status status
    cdef lsmkv_bytes *views = <lsmkv_bytes *>PyMem_Malloc(
        (count + 1) * sizeof(lsmkv_bytes)
    )
    if views == NULL:
        raise MemoryError
    for i in range(count):
        take_name(<bytes>held[i], &views[i])
    with nogil:
        status = lsmkv_cache_pin(space._db, space._space, views, <size_t>count, pins,
                                 &err)
    PyMem_Free(views)
    check(status, &err, space.path)
    return 0


cdef bytes encode(str name):
    try:
        return name.encode()
    except UnicodeEncodeError:
        raise errors.InvalidArgumentError(
            f"{name!r} cannot be the name of a namespace: it is no text"
        ) from None


cdef int take_wanted(dict wanted, lsmkv_namespace_how *how) except -1:
    how.create = wanted.get("create", False)
    how.alter = wanted.get("alter", False)
    how.has_default_ttl = "default_ttl_ms" in wanted
    how.has_default_stale = "default_stale_ms" in wanted
    how.has_blob_threshold = "blob_threshold_bytes" in wanted
    how.has_codec = "codec" in wanted
    how.has_codec_level = "codec_level" in wanted
    how.has_vector = "vector_dim" in wanted
    how.has_max_bytes = "max_bytes" in wanted
    how.has_cache_policy = "cache_policy" in wanted
    how.options.default_ttl_ms = wanted.get("default_ttl_ms", 0)
    how.options.default_stale_ms = wanted.get("default_stale_ms", 0)
    how.options.blob_threshold_bytes = wanted.get("blob_threshold_bytes", -1)
    how.options.codec = wanted.get("codec", -1)
    how.options.codec_level = wanted.get("codec_level", 0)
    how.options.vector_dim = wanted.get("vector_dim", 0)
    how.options.vector_dtype = wanted.get("vector_dtype", -1)
    how.options.vector_metric = wanted.get("vector_metric", -1)
    how.options.max_bytes = wanted.get("max_bytes", 0)
    how.options.cache_policy = wanted.get("cache_policy", 0)
    return 0


cdef void keep_space(void *context, lsmkv_bytes name,
                     const lsmkv_space_options *options) noexcept with gil:
    cdef Kept *kept = <Kept *>context
    try:
        (<list>kept.items).append(
            ((<const char *>name.data)[:name.size].decode(), options[0])
        )
    except MemoryError:
        kept.failed = True


def drop(DB db not None, str name not None) -> bool:
    """Delete a namespace and what it holds; False if there is none of that name."""
    cdef bytes encoded = encode(name)
    cdef lsmkv_bytes view
    cdef lsmkv_error err
    cdef lsmkv_status status
    take_name(encoded, &view)
    with nogil:
        status = lsmkv_namespace_drop(db._db, view, &err)
    if status == LSMKV_NOT_FOUND:
        return False
    check(status, &err, db.path)
    return True


def names(DB db not None, Snapshot snapshot) -> dict:
    """The names of all namespaces, in their order, with what _options() tells."""
    cdef list found = []
    cdef Kept kept = keeping(found)
    cdef lsmkv_read read
    cdef lsmkv_error err
    cdef lsmkv_status status
    read.space = NULL
    read.nonblocking = False
    read.stale = False
    read.snapshot = NULL if snapshot is None else snapshot.enter(db)
    with nogil:
        status = lsmkv_namespace_list(db._db, &read, keep_space, &kept, &err)
    if snapshot is not None:
        snapshot.leave()
    check(status, &err, db.path)
    check_kept(&kept)
    return dict(found)


cdef void keep_stats(void *context, lsmkv_bytes name,
                     const lsmkv_space_stats *stats) noexcept with gil:
    cdef Kept *kept = <Kept *>context
    try:
        (<list>kept.items).append(
            ((<const char *>name.data)[:name.size].decode(), stats[0])
        )
    except MemoryError:
        kept.failed = True


def stats(DB db not None) -> dict:
    """What every namespace counts, by name; that of the database itself is ""."""
    cdef list found = []
    cdef Kept kept = keeping(found)
    cdef lsmkv_error err
    cdef lsmkv_status status
    with nogil:
        status = lsmkv_space_stats_list(db._db, keep_stats, &kept, &err)
    check(status, &err, db.path)
    check_kept(&kept)
    return dict(found)
