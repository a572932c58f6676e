# SPDX-License-Identifier: Apache-2.0
"""Published data: versions of named, read-only sets of rows."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, Unpack

from lsmkv import _publish
from lsmkv.errors import InvalidArgumentError
from lsmkv.keyspace import Keyspace
from lsmkv.options import NamespaceOptions, NamespaceOverrides
from lsmkv.snapshot import NamespaceSnapshot, Snapshot

if TYPE_CHECKING:
    from types import TracebackType

    from lsmkv import _core


class Publisher(_publish.Publisher):
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
        if not version:
            raise InvalidArgumentError("a version has a name, such as a date")
        wanted = NamespaceOptions.given_to_engine(options)
        return super().__new__(cls, db, name, version, wanted)

    def __init__(
        self,
        db: _core.DB,
        name: str,
        *,
        version: str,
        **options: Unpack[NamespaceOverrides],
    ) -> None:
        """Take what `__new__` has seen to."""

    def __repr__(self) -> str:
        """Tell what is being published, and where."""
        return (
            f"<lsmkv.Publisher of {self.name!r} {self.version!r} in {self.db.path!r}>"
        )

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

    def snapshot(self) -> NamespaceSnapshot:
        """Return a view of what it shows now; close it when done."""
        snapshot = Snapshot(self.db)
        try:
            space = _publish.Published(self.db, self.name, self.version, snapshot)
        except BaseException:
            snapshot.close()
            raise
        return NamespaceSnapshot(snapshot, space, owns=True)


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
