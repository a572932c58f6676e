# SPDX-License-Identifier: Apache-2.0
"""What databases and namespaces have in common: ranges of keys, and batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from lsmkv import _batch, _core, _scan
from lsmkv.errors import InvalidArgumentError
from lsmkv.mapping import KeyspaceMapping

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import TracebackType

    from typing_extensions import Buffer

    from lsmkv.snapshot import Snapshot


class Keyspace(_core.Keyspace):
    """An ordered map of bytes to bytes: a database, or a namespace in it."""

    __slots__ = ()

    def __iter__(self) -> _scan.KeyScan:
        """Iterate over all keys in order, as they are now."""
        return self.keys()

    def items(
        self,
        *,
        start: Buffer | None = None,
        stop: Buffer | None = None,
        prefix: Buffer | None = None,
        reverse: bool = False,
        snapshot: Snapshot | None = None,
    ) -> _scan.ItemScan:
        """Iterate lazily over (key, value) pairs in key order.

        Shows the state of the moment of this call, or that of `snapshot`, whatever is
        written while iterating.

        Args:
            start: First key, inclusive; None is the first of all.
            stop: End, exclusive; None is behind the last of all.
            prefix: Only keys that begin with this; may be combined with the bounds.
            reverse: From the last key to the first.
            snapshot: The state to show.
        """
        return _scan.ItemScan(self, (start, stop, prefix), reverse, snapshot)

    def keys(
        self,
        *,
        start: Buffer | None = None,
        stop: Buffer | None = None,
        prefix: Buffer | None = None,
        reverse: bool = False,
        snapshot: Snapshot | None = None,
    ) -> _scan.KeyScan:
        """Iterate lazily over keys in order; arguments as for `items`."""
        return _scan.KeyScan(self, (start, stop, prefix), reverse, snapshot)

    def values(
        self,
        *,
        start: Buffer | None = None,
        stop: Buffer | None = None,
        prefix: Buffer | None = None,
        reverse: bool = False,
        snapshot: Snapshot | None = None,
    ) -> _scan.ValueScan:
        """Iterate lazily over values in key order; arguments as for `items`."""
        return _scan.ValueScan(self, (start, stop, prefix), reverse, snapshot)

    def write_batch(self, *, sync: bool | None = None) -> WriteBatch:
        """Return a batch to be used in a `with` block.

        It is written, atomically, when the block ends, and discarded if the block
        raises. `sync` as for `put`.
        """
        return WriteBatch(self, sync=sync)

    def mapping(self) -> MutableMapping[bytes, bytes]:
        """Return all of it as a MutableMapping, for code that expects one.

        Each of its methods does what `collections.abc` says, one key at a time: `len()`
        and comparisons read every key, and `pop`, `popitem`, `setdefault` and `update`
        are several calls, between which other threads may write.
        """
        return KeyspaceMapping(self)


class WriteBatch(_batch.Batch):
    """Writes that are applied together or not at all; later ones win.

    `write_batch` makes one that is written at the end of its `with` block. One made
    directly is written by `write`, as often as you like, to the database unless its
    records name a namespace. Keys and values are copied as they are added.
    """

    __slots__ = ("_keyspace", "_sync")

    def __init__(
        self, keyspace: Keyspace | None = None, *, sync: bool | None = None
    ) -> None:
        """Make an empty batch, for the `with` block of a keyspace if that is given."""
        self._keyspace = keyspace
        self._sync = sync

    def __enter__(self) -> Self:
        """Return the batch itself."""
        if self._keyspace is None:
            raise InvalidArgumentError(
                "this batch belongs to no database: use db.write_batch(), or db.write"
            )
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write the batch, or discard it if the block raised; empty it."""
        if exc_type is None and self._keyspace is not None:
            self._keyspace.write(self, sync=self._sync)
        self.clear()
