# SPDX-License-Identifier: Apache-2.0
"""Snapshots: what a database, or a namespace in it, held at one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from lsmkv import _core, _namespace, _publish, _scan
from lsmkv.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

_T = TypeVar("_T")


class _View(Closing):
    """The ranges of keys of a fixed state."""

    __slots__ = ()

    def _place(self) -> tuple[_core.Keyspace, _core.Snapshot]:
        """Name the keyspace and the moment."""
        raise NotImplementedError

    def __iter__(self) -> _scan.KeyScan:
        """Iterate over all keys in order."""
        return self.keys()

    def items(
        self,
        *,
        start: Buffer | None = None,
        stop: Buffer | None = None,
        prefix: Buffer | None = None,
        reverse: bool = False,
    ) -> _scan.ItemScan:
        """Iterate lazily over (key, value) pairs; arguments as for `DB.items`."""
        space, snapshot = self._place()
        return _scan.ItemScan(space, (start, stop, prefix), reverse, snapshot)

    def keys(
        self,
        *,
        start: Buffer | None = None,
        stop: Buffer | None = None,
        prefix: Buffer | None = None,
        reverse: bool = False,
    ) -> _scan.KeyScan:
        """Iterate lazily over keys in order; arguments as for `DB.items`."""
        space, snapshot = self._place()
        return _scan.KeyScan(space, (start, stop, prefix), reverse, snapshot)

    def values(
        self,
        *,
        start: Buffer | None = None,
        stop: Buffer | None = None,
        prefix: Buffer | None = None,
        reverse: bool = False,
    ) -> _scan.ValueScan:
        """Iterate lazily over values in key order; arguments as for `DB.items`."""
        space, snapshot = self._place()
        return _scan.ValueScan(space, (start, stop, prefix), reverse, snapshot)


class Snapshot(_core.Snapshot, _View):
    """A fixed state of a database, made by `DB.snapshot`.

    While it is open, the space of what has since been overwritten or deleted is not
    given back. Use it as a context manager, or call `close()`. What expires is gone
    from snapshots, too.
    """

    __slots__ = ()

    def _place(self) -> tuple[_core.Keyspace, _core.Snapshot]:
        return self.db, self

    def namespace(self, name: str) -> NamespaceSnapshot:
        """Return what the namespace that had this name held; KeyError if none had.

        It may have been dropped since. What is returned ends with this snapshot.
        """
        space = _namespace.Namespace(self.db, name, {}, self)
        return NamespaceSnapshot(self, space, owns=False)

    def published(self, name: str, *, version: str | None = None) -> NamespaceSnapshot:
        """Return what was published under a name; KeyError if nothing was.

        Without `version` that which was current then. What is returned ends with this
        snapshot.
        """
        space = _publish.Published(self.db, name, version, self)
        return NamespaceSnapshot(self, space, owns=False)


class NamespaceSnapshot(_View):
    """A fixed state of a namespace.

    Made by `Snapshot.namespace`, or by `Namespace.snapshot`: only that one has to be
    closed, or used as a context manager.
    """

    __slots__ = ("_owns", "_snapshot", "_space")

    def __init__(
        self,
        snapshot: Snapshot,
        space: _namespace.Namespace | _publish.Published,
        *,
        owns: bool,
    ) -> None:
        """Show `space` at the moment of `snapshot`, closed with this if it is owned."""
        self._snapshot = snapshot
        self._space = space
        self._owns = owns

    def _place(self) -> tuple[_core.Keyspace, _core.Snapshot]:
        return self._space, self._snapshot

    @property
    def name(self) -> str:
        """The name of the namespace."""
        return self._space.name

    @property
    def closed(self) -> bool:
        """Whether the snapshot or its database was closed."""
        return self._snapshot.closed

    def close(self) -> None:
        """Let go of the state, unless it is another snapshot's."""
        if self._owns:
            self._snapshot.close()

    @overload
    def get(self, key: Buffer, default: None = None) -> bytes | None: ...
    @overload
    def get(self, key: Buffer, default: _T) -> bytes | _T: ...
    def get(self, key: Buffer, default: Any = None) -> Any:
        """Return the value that `key` had, or `default`."""
        return self._space.get(key, default, snapshot=self._snapshot)

    @overload
    def get_many(
        self, keys: Iterable[Buffer], default: None = None
    ) -> list[bytes | None]: ...
    @overload
    def get_many(self, keys: Iterable[Buffer], default: _T) -> list[bytes | _T]: ...
    def get_many(self, keys: Iterable[Buffer], default: Any = None) -> list[Any]:
        """Return the values that `keys` had, in their order; see `DB.get_many`."""
        return self._space.get_many(keys, default, snapshot=self._snapshot)

    def __getitem__(self, key: Buffer) -> bytes:
        """Return the value that `key` had; KeyError if it had none."""
        value = self._space.get(key, snapshot=self._snapshot)
        if value is None:
            raise KeyError(key)
        return value

    def __contains__(self, key: Buffer) -> bool:
        """Tell whether the key was there."""
        return self._space._has(key, self._snapshot)
