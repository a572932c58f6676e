# SPDX-License-Identifier: Apache-2.0
"""Publishing versions of named sets of rows, and reading them."""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc

from lsmkv._base cimport *
from lsmkv._core cimport DB, Keyspace, Snapshot
from lsmkv._namespace cimport encode, take_name, take_wanted

cdef enum:
    PAIRS_MAX = 256  # that cross into the engine together


cdef struct Gathered:
    size_t count
    lsmkv_pair[PAIRS_MAX] pairs
    Hold[2 * PAIRS_MAX] hold


@cython.no_gc_clear  # the database is used until the end
cdef class Publisher:
    """A version that is being written; `lsmkv.Publisher` is the public face."""

    def __cinit__(self, DB db not None, str name not None, str version not None,
                  dict wanted not None):
        cdef bytes encoded = encode(name)
        cdef bytes encoded_version = encode(version)
        cdef lsmkv_bytes[2] view
        cdef lsmkv_namespace_how how
        cdef lsmkv_error err
        cdef lsmkv_status status
        self.db = db
        self.name = name
        self.version = version
        take_wanted(wanted, &how)
        how.snapshot = NULL
        take_name(encoded, &view[0])
        take_name(encoded_version, &view[1])
        with nogil:
            status = lsmkv_publish_begin(db._db, view[0], view[1], &how, &self._publish,
                                         &err)
        check(status, &err, db.path)

    def __dealloc__(self):
        with nogil:
            lsmkv_publish_free(self._publish)

    cdef int enter(self) except -1:
        with cython.critical_section(self):
            refuse_busy(self._busy, "publisher")
            self._busy = True
        return 0

    def put(self, key, value, *, ttl=default_time):
        """Add a row; of equal keys the last one stays.

        `ttl` as for DB.put, counted from now; DEFAULT is the `default_ttl` of the
        version.
        """
        self.put_many(((key, value),), ttl=ttl)

    def put_many(self, items, *, ttl=default_time):
        """Add the pairs of a mapping, or of an iterable of pairs, as put() does.

        Rows that come in the order of their keys are written once; others are sorted,
        in pieces that are merged at the end.
        """
        cdef lsmkv_write how
        cdef Gathered *gathered
        cdef list held = []
        how.ttl_ms = ttl_of(ttl)
        pairs = items.items() if hasattr(items, "keys") else items
        gathered = <Gathered *>PyMem_Malloc(sizeof(Gathered))
        if gathered == NULL:
            raise MemoryError
        gathered.count = 0
        try:
            for key, value in pairs:
                held.append((key, value))
                take_pair(gathered, key, value)
                if gathered.count == PAIRS_MAX:
                    hand_over(self, gathered, &how)
                    held.clear()
            hand_over(self, gathered, &how)
        finally:
            release_pairs(gathered)
            PyMem_Free(gathered)

    def commit(self):
        """Make the version durable and the one that readers see."""
        cdef lsmkv_error err
        cdef lsmkv_status status
        self.enter()
        with nogil:
            status = lsmkv_publish_commit(self._publish, &err)
        self._busy = False
        check(status, &err, self.db.path)

    def abort(self):
        """Discard all of it, unless it was committed."""
        cdef lsmkv_error err
        cdef lsmkv_status status
        self.enter()
        with nogil:
            status = lsmkv_publish_abort(self._publish, &err)
        self._busy = False
        check(status, &err, self.db.path)


cdef int hand_over(Publisher publisher, Gathered *gathered,
                   const lsmkv_write *how) except -1:
    cdef lsmkv_error err
    cdef lsmkv_status status
    publisher.enter()
    with nogil:
        status = lsmkv_publish_put(publisher._publish, how, gathered.pairs,
                                   gathered.count, &err)
    publisher._busy = False
    release_pairs(gathered)
    check(status, &err, publisher.db.path)
    return 0


@cython.no_gc_clear  # the pointers of the database are used until the end
cdef class Published(Keyspace):
    """What was published under a name; `lsmkv.Published` is the public face."""

    cdef readonly DB db
    cdef readonly str name
    cdef readonly str version

    def __cinit__(self, DB db not None, str name not None, str version,
                  Snapshot snapshot):
        cdef bytes encoded = encode(name)
        cdef bytes encoded_version = encode("" if version is None else version)
        cdef lsmkv_bytes[2] view
        cdef const lsmkv_snapshot *moment
        cdef lsmkv_error err
        cdef lsmkv_status status
        self.db = db
        self.name = name
        self.version = version
        self.path = db.path
        self._db = db._db
        take_name(encoded, &view[0])
        take_name(encoded_version, &view[1])
        moment = NULL if snapshot is None else snapshot.enter(db)
        with nogil:
            status = lsmkv_published_open(db._db, view[0], view[1], moment,
                                          &self._space, &err)
        if snapshot is not None:
            snapshot.leave()
        if status == LSMKV_NOT_FOUND:
            raise KeyError(name if version is None else (name, version))
        check(status, &err, db.path)

    def __dealloc__(self):
        lsmkv_namespace_free(self._space)

    @property
    def closed(self):
        """Whether the database was closed."""
        return lsmkv_is_closed(self._db)

    def _options(self):
        """Those of the version, or of the current one, as Namespace._options()."""
        cdef lsmkv_space_options options
        lsmkv_namespace_options(self._space, &options)
        return options


cdef int take_pair(Gathered *gathered, object key, object value) except -1:
    cdef lsmkv_bytes[2] view
    cdef size_t at = gathered.count
    take_two(key, value, view, &gathered.hold[2 * at])
    gathered.pairs[at].key = view[0]
    gathered.pairs[at].value = view[1]
    gathered.count = at + 1
    return 0


cdef void release_pairs(Gathered *gathered) noexcept:
    cdef size_t i
    for i in range(gathered.count):
        release_two(&gathered.hold[2 * i])
    gathered.count = 0


cdef void keep_version(void *context,
                       const lsmkv_version_info *info) noexcept with gil:
    cdef Kept *kept = <Kept *>context
    try:
        (<list>kept.items).append((
            (<const char *>info.name.data)[:info.name.size].decode(),
            (<const char *>info.version.data)[:info.version.size].decode(),
            info.current, info.created_ms, info.row_count, info.byte_count,
        ))
    except MemoryError:
        kept.failed = True


def versions(DB db not None, str name, Snapshot snapshot) -> list:
    """Name, version, current, created (ms), rows, bytes of each; None: of all names."""
    cdef list found = []
    cdef Kept kept = keeping(found)
    cdef bytes encoded = encode("" if name is None else name)
    cdef lsmkv_bytes view
    cdef lsmkv_read read
    cdef lsmkv_error err
    cdef lsmkv_status status
    take_name(encoded, &view)
    read.space = NULL
    read.nonblocking = False
    read.stale = False
    read.snapshot = NULL if snapshot is None else snapshot.enter(db)
    with nogil:
        status = lsmkv_versions(db._db, &read, view, keep_version, &kept, &err)
    if snapshot is not None:
        snapshot.leave()
    check(status, &err, db.path)
    check_kept(&kept)
    return found


def rollback(DB db not None, str name not None, str version not None) -> bool:
    """Make readers see another version; False if there is no such version."""
    return settle(db, name, version, lsmkv_rollback)


def release(DB db not None, str name not None, str version) -> bool:
    """Let go of a version, None: of the name; False if there is none."""
    return settle(db, name, "" if version is None else version, lsmkv_release)


ctypedef lsmkv_status (*version_call)(lsmkv_db *db, lsmkv_bytes name,
                                      lsmkv_bytes version,
                                      lsmkv_error *err) noexcept nogil


cdef bint settle(DB db, str name, str version, version_call function) except -1:
    cdef bytes encoded = encode(name)
    cdef bytes encoded_version = encode(version)
    cdef lsmkv_bytes[2] view
    cdef lsmkv_error err
    cdef lsmkv_status status
    take_name(encoded, &view[0])
    take_name(encoded_version, &view[1])
    with nogil:
        status = function(db._db, view[0], view[1], &err)
    if status == LSMKV_NOT_FOUND:
        return False
    check(status, &err, db.path)
    return True
