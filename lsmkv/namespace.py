# SPDX-License-Identifier: Apache-2.0
"""Namespaces: keyspaces with a name, in a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, Unpack

from lsmkv import _namespace
from lsmkv.keyspace import Keyspace
from lsmkv.options import NamespaceOptions, NamespaceOverrides
from lsmkv.snapshot import NamespaceSnapshot, Snapshot
from lsmkv.stats import CacheStats

if TYPE_CHECKING:
    from lsmkv import _core


class Namespace(_namespace.Namespace, Keyspace):
    """A keyspace of its own in a database, made by `DB.namespace`.

    It has every method of a database that is about keys. Its keys have nothing to do
    with those of the database or of other namespaces, but one batch may write to all,
    and one snapshot shows all. Handles may be made as often as you like, and used by
    any thread; nothing needs to be closed.
    """

    __slots__ = ()

    def __new__(
        cls,
        db: _core.DB,
        name: str,
        *,
        create: bool = True,
        alter: bool = False,
        **options: Unpack[NamespaceOverrides],
    ) -> Self:
        """Find or make the namespace; see `DB.namespace`."""
        wanted = NamespaceOptions.given_to_engine(options)
        wanted |= {"create": create, "alter": alter}
        return super().__new__(cls, db, name, wanted, None)

    def __init__(
        self,
        db: _core.DB,
        name: str,
        *,
        create: bool = True,
        alter: bool = False,
        **options: Unpack[NamespaceOverrides],
    ) -> None:
        """Take what `__new__` has seen to."""

    def __repr__(self) -> str:
        """Tell name and directory, and whether the database is open."""
        state = " closed" if self.closed else ""
        return f"<lsmkv.Namespace {self.name!r} of {self.path!r}{state}>"

    @property
    def options(self) -> NamespaceOptions:
        """The options of its own."""
        return NamespaceOptions.from_engine(self._options())

    def cache_stats(self) -> CacheStats:
        """Return what a cache takes and has given up.

        Raises:
            InvalidArgumentError: The namespace is no cache.
        """
        return CacheStats(**self._cache_stats())

    def snapshot(self) -> NamespaceSnapshot:
        """Return a view of its state of this moment; close it when done."""
        return NamespaceSnapshot(Snapshot(self.db), self, owns=True)
