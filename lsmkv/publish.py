# SPDX-License-Identifier: Apache-2.0
"""Published data: versions of named, read-only sets of rows."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

from lsmkv import _publish, _vectors, arrays
from lsmkv.errors import InvalidArgumentError
from lsmkv.keyspace import Keyspace
from lsmkv.options import NamespaceOptions, NamespaceOverrides
from lsmkv.snapshot import NamespaceSnapshot, Snapshot
from lsmkv.ttl import DEFAULT, Ttl
from lsmkv.vector_reader import VectorReader, VectorSchema

if TYPE_CHECKING:
    from types import TracebackType

    from lsmkv import _core
    from lsmkv.vector_reader import Key, Keys


class _Publishing:
    """What a `with` block publishes at its end, or discards."""

    __slots__ = ()

    def commit(self) -> None:
        """Make the version durable and the one that readers see."""
        raise NotImplementedError

    def abort(self) -> None:
        """Discard all of it, unless it was committed."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Return the publisher itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Publish the version, or discard it if the block raised or this fails."""
        try:
            if exc_type is None:
                self.commit()
        finally:
            # After an error that is the one to be seen; after a commit it does nothing.
            with contextlib.suppress(Exception):
                self.abort()


class Publisher(_publish.Publisher, _Publishing):
    """Writes one version, made by `DB.publish` for a `with` block.

    Readers see nothing of it before the block ends, and then all of it at once. If the
    block raises, or the process ends, nothing of it stays. One thread at a time may use
    it.
    """

    __slots__ = ()

    def __new__(
        cls,
        db: _core.DB,
        name: str,
        *,
        version: str,
        **options: Unpack[NamespaceOverrides],
    ) -> Self:
        """Begin a version; see `DB.publish`."""
        return cls._begin(db, name, version, options, {})

    def __init__(
        self,
        db: _core.DB,
        name: str,
        *,
        version: str,
        **options: Unpack[NamespaceOverrides],
    ) -> None:
        """Take what `__new__` has seen to."""

    @classmethod
    def _begin(
        cls,
        db: _core.DB,
        name: str,
        version: str,
        options: NamespaceOverrides,
        schema: dict[str, int],
    ) -> Self:
        """Begin a version, of vectors if a schema is given."""
        if not version:
            raise InvalidArgumentError("a version has a name, such as a date")
        wanted = NamespaceOptions.given_to_engine(options) | schema
        return super().__new__(cls, db, name, version, wanted)

    def __repr__(self) -> str:
        """Tell what is being published, and where."""
        return (
            f"<lsmkv.Publisher of {self.name!r} {self.version!r} in {self.db.path!r}>"
        )


class VectorPublisher(_Publishing):
    """Writes one version of rows of numbers, made by `DB.publish` with `dim`.

    As `Publisher`, but for what is put: keys and arrays, as those of `Vectors`.
    """

    __slots__ = ("_publisher", "_schema")

    def __init__(
        self,
        db: _core.DB,
        name: str,
        *,
        version: str,
        schema: VectorSchema,
        **options: Unpack[NamespaceOverrides],
    ) -> None:
        """Begin a version; see `DB.publish`."""
        self._schema = schema
        self._publisher = Publisher._begin(
            db, name, version, options, schema._to_engine()
        )

    def __repr__(self) -> str:
        """Tell what is being published, and where."""
        return (
            f"<lsmkv.VectorPublisher of {self.name!r} {self.version!r} in "
            f"{self._publisher.db.path!r}: {self._schema}>"
        )

    @property
    def name(self) -> str:
        """The published name."""
        return self._publisher.name

    @property
    def version(self) -> str:
        """The name of the version."""
        return self._publisher.version

    @property
    def schema(self) -> VectorSchema:
        """What the rows are."""
        return self._schema

    def put_many(self, keys: Keys, array: Any, *, ttl: Ttl = DEFAULT) -> None:
        """Add row i of the array under key i; of equal keys the last one stays.

        Rows in the order of their keys are written once; of rows from
        `blob_threshold_bytes` on only what points to them is sorted.

        Args:
            keys: n keys, as for `Vectors.put_many`.
            array: The rows, of shape (n, dim), as for `Vectors.put_many`.
            ttl: As for `Publisher.put`, the same for all.

        Raises:
            InvalidArgumentError: Shape, dtype or layout of the array are not those of
                the version, or a number is not from 0 to 2**64 - 1.
        """
        place, data = arrays.take_table(
            keys, array, self._schema.dim, self._schema.dtype
        )
        _vectors.publish_rows(self._publisher, place, data, ttl=ttl)

    def put(self, key: Key, row: Any, *, ttl: Ttl = DEFAULT) -> None:
        """Add a row, of shape (dim,), under a key; else as `put_many`."""
        dim, dtype = self._schema.dim, self._schema.dtype
        found = arrays.take_row(row, dim, dtype, "the row")
        self.put_many([key], found.reshape(1, dim), ttl=ttl)

    def commit(self) -> None:
        """Make the version durable and the one that readers see."""
        self._publisher.commit()

    def abort(self) -> None:
        """Discard all of it, unless it was committed."""
        self._publisher.abort()


class Published(_publish.Published, Keyspace):
    """What readers see of a published name, or one version of it.

    It has every method of a database that reads; those that write raise ReadOnlyError.
    Made without a version it follows the switches: each call, a `get_many` or a scan as
    well, sees one version, the newest when it begins. Handles may be made as often as
    you like, and used by any thread; nothing needs to be closed.
    """

    __slots__ = ()

    def __new__(cls, db: _core.DB, name: str, *, version: str | None = None) -> Self:
        """Find what was published; see `DB.published`."""
        if version == "":
            raise InvalidArgumentError("a version has a name, such as a date")
        return super().__new__(cls, db, name, version, None)

    def __init__(self, db: _core.DB, name: str, *, version: str | None = None) -> None:
        """Take what `__new__` has seen to."""

    def __repr__(self) -> str:
        """Tell name, version and directory, and whether the database is open."""
        version = "" if self.version is None else f" {self.version!r}"
        state = " closed" if self.closed else ""
        return f"<lsmkv.Published {self.name!r}{version} of {self.path!r}{state}>"

    def vectors(self) -> PublishedVectors:
        """Return what was published with `dim` for reading as arrays.

        InvalidArgumentError if what is seen now are no vectors.
        """
        return PublishedVectors(self)

    def snapshot(self) -> NamespaceSnapshot:
        """Return a view of what it shows now; close it when done."""
        snapshot = Snapshot(self.db)
        try:
            space = _publish.Published(self.db, self.name, self.version, snapshot)
        except BaseException:
            snapshot.close()
            raise
        return NamespaceSnapshot(snapshot, space, owns=True)


class PublishedVectors(VectorReader):
    """Rows of a published name, or of one version of it, made by `Published.vectors`.

    They are read as those of `Vectors`. The schema is that of the version that was
    current when this was made, and stays: once a version with another schema is
    current, `gather` and `get` raise InvalidArgumentError until the name is switched
    back; `Published.vectors` then gives a handle with the new one.
    """

    __slots__ = ()

    def __init__(self, published: Published) -> None:
        """Read the rows of what was published."""
        schema = VectorSchema._from_engine(published._options())
        if schema is None:
            raise InvalidArgumentError(
                f"what was published as {published.name!r} are no vectors: publish() "
                f"was called without dim"
            )
        super().__init__(published, schema, checks=True)

    def __repr__(self) -> str:
        """Tell what is read, and its schema."""
        return f"<lsmkv.PublishedVectors of {self._space!r}: {self._schema}>"

    @property
    def published(self) -> Published:
        """What the rows are read from, as bytes."""
        return cast("Published", self._space)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of what was published under a name.

    Attributes:
        name: The name.
        version: The name of the version.
        current: Whether readers see it.
        created: When it was begun, in seconds since 1970.
        rows: How many keys it has.
        nbytes: Bytes of the keys and values that were given.
    """

    name: str
    version: str
    current: bool
    created: float
    rows: int
    nbytes: int


def versions_of(db: _core.DB, name: str | None) -> list[Version]:
    """List what `DB.versions` tells."""
    return [
        Version(
            name=each,
            version=version,
            current=current,
            created=created_ms / 1000,
            rows=rows,
            nbytes=nbytes,
        )
        for each, version, current, created_ms, rows, nbytes in _publish.versions(
            db, name, None
        )
    ]
