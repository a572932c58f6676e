# SPDX-License-Identifier: Apache-2.0
"""What databases and namespaces have in common: ranges of keys, and batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from lsmkv import _batch, _compute, _core, _scan
from lsmkv import warm as warm_
from lsmkv.errors import InvalidArgumentError
from lsmkv.mapping import KeyspaceMapping
from lsmkv.ttl import DEFAULT

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Iterable,
        MutableMapping,
        Sequence,
    )
    from types import TracebackType

    from typing_extensions import Buffer

    from lsmkv.codecs import Codec
    from lsmkv.memoize import How
    from lsmkv.snapshot import Snapshot
    from lsmkv.ttl import Stale, Ttl
    from lsmkv.warm import WarmReport


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

    def get_or_compute(
        self,
        key: Buffer,
        fn: Callable[[], Buffer],
        *,
        ttl: Ttl = DEFAULT,
        stale: Stale = DEFAULT,
        on_error: Literal["raise", "stale"] = "raise",
        timeout: float | None = None,
    ) -> bytes:
        """Return the value of `key`; if there is none, store and return that of `fn()`.

        However many threads and coroutines of the process ask at the same time, one
        calls its function and the others wait for it. What it raises is raised to all
        of them, and the next caller tries again. A put or delete of the key while it is
        computed wins: the value computed is returned, but not stored.

        Args:
            key: What to look for.
            fn: Computes the value, as bytes.
            ttl: How many seconds the value is fresh, as for `put`.
            stale: For how many seconds after that it may still be returned, at once,
                while one thread in the background computes it anew; failures of that
                are logged (logger "lsmkv"). Nothing is returned that is older than
                the `ttl` and `stale` that it was stored with, or than this `stale`
                allows. DEFAULT: as the keyspace says, for a database 0.
            on_error: "stale": if computing fails, or takes too long, return a stale
                value if there is any at all, however long `stale` is.
            timeout: Seconds to wait, at most; `fn` then runs in a thread of its own,
                and goes on, and what it returns is stored.

        Raises:
            TimeoutError: There was no value in time.
            DeadlockError: `fn` asks, directly or not, for the value it is to compute.
        """
        found = _compute.entry(self, key)
        if type(found) is bytes:
            return found
        from lsmkv import compute

        want = compute.Want(self, ttl, stale, on_error, timeout)
        return compute.get(self, want, key, fn, found)

    def get_or_compute_many(
        self,
        keys: Iterable[Buffer],
        fn_missing: Callable[[list[bytes]], Sequence[Buffer]],
        *,
        ttl: Ttl = DEFAULT,
        stale: Stale = DEFAULT,
    ) -> list[bytes]:
        """Return the values of `keys` in their order, computing those that are missing.

        `fn_missing` is called at most once, with the keys that have no value and that
        nobody else is computing, and returns their values in the same order; for what
        others compute this call waits. (It is called again for keys whose computation
        by others was cancelled, or overtaken by a delete.) Keys that are stale are
        given to it together in the background. All else as for `get_or_compute`.
        """
        from lsmkv import compute

        return compute.get_many(self, compute.Want(self, ttl, stale), keys, fn_missing)

    async def aget_or_compute(
        self,
        key: Buffer,
        async_fn: Callable[[], Awaitable[Buffer]],
        *,
        ttl: Ttl = DEFAULT,
        stale: Stale = DEFAULT,
        on_error: Literal["raise", "stale"] = "raise",
        timeout: float | None = None,
    ) -> bytes:
        """Do what `get_or_compute` does, with a coroutine function, without blocking.

        What has to wait for the disk does so in a thread (`asyncio.to_thread`). This
        waits for threads that compute the same key, and they for it. The function
        is awaited in the task of the caller who computes; if that is cancelled, one of
        those who wait computes in its place. With `timeout` it has a task of its own,
        which goes on; a stale value is computed anew in one, too.
        """
        found = _compute.entry(self, key, False)
        if type(found) is bytes:
            return found
        from lsmkv import compute

        want = compute.Want(self, ttl, stale, on_error, timeout)
        return await compute.aget(self, want, key, async_fn, found)

    def memoize(
        self,
        *,
        ttl: Ttl = DEFAULT,
        stale: Stale = DEFAULT,
        key: Callable[..., Buffer | str] | None = None,
        codec: Codec[Any] | None = None,
    ) -> How:
        """Return a decorator that keeps what a function returns here.

            @cache.memoize(ttl=3600)
            def embed(text: str) -> list[float]: ...

        Works for functions and coroutine functions, by `get_or_compute` and
        `aget_or_compute`. The decorated function has two methods that take the same
        arguments: `key_of` tells the key, `forget` deletes the result.

        Args:
            ttl: As for `get_or_compute`.
            stale: Likewise.
            key: Makes the key of the arguments. By default it is made of the function's
                name and its arguments, which then have to be None, bool, int, float,
                str, bytes, or lists, tuples, dicts and sets of these; so methods, whose
                first argument is `self`, need one. A new version of the function finds
                the results of the old one.
            codec: How results are stored: `lsmkv.codecs.json` (the default), `raw`,
                `numpy`, or any object with the methods of `lsmkv.codecs.Codec`.
        """
        from lsmkv.memoize import How

        return How(self, key, codec, ttl=ttl, stale=stale)

    def append(
        self, key: Buffer, item: Buffer, *, ttl: Ttl = DEFAULT, sync: bool | None = None
    ) -> int:
        """Add an item to the list `key`; return its number, 0 for the first.

        A list expires as a whole. Its first item decides when, by `ttl` as for `put`;
        later ones join it without changing that, unless `ttl` is given: then the whole
        list has that time from now on. Giving it with each item, so that a list lives
        on while it is used, costs little more than giving it once; but the space of
        such a list comes back only after it has been gone for about as long as it was
        there, or for the longest `ttl` that it was given.

        Any number of threads may append. Item n is kept under the key
        `key + b"\\0" + n.to_bytes(8)`, what else belongs to the list under a last one
        of that form: use a namespace for lists alone, and these methods alone to change
        them. `sync` as for `put`.
        """
        from lsmkv import lists

        return lists.append(self, key, item, ttl, sync)

    def tail(
        self, key: Buffer, n: int | None = None, *, snapshot: Snapshot | None = None
    ) -> list[bytes]:
        """Return the newest `n` items of the list `key`, or all, the oldest first.

        Takes no longer for a long list than for one of `n` items; [] if there is none.
        """
        from lsmkv import lists

        return lists.tail(self, key, n, snapshot)

    def list_length(self, key: Buffer) -> int:
        """Return how many items the list `key` has, without reading them."""
        from lsmkv import lists

        return lists.length(self, key)

    def delete_list(self, key: Buffer, *, sync: bool | None = None) -> bool:
        """Delete the list `key`; False if there is none. `sync` as for `put`."""
        from lsmkv import lists

        return lists.delete(self, key, sync)

    def warm(
        self,
        prefix: Buffer | None = None,
        *,
        budget_bytes: int | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> WarmReport:
        """Read ahead what will be wanted soon; return what has been read.

        Blocks go into the block cache, where nothing that is read more often goes for
        them, large values into the memory of the operating system. Files are read in
        their order, with pauses while others read from them.

        Args:
            prefix: All keys that begin with this; b"" is all of them. None is what was
                in memory when the database was last closed, or some minutes before its
                process ended: it is written down every five minutes, too. Of a
                namespace that is what was its own, of a database all, that of its
                namespaces included. What compactions have replaced since then is
                passed over.
            budget_bytes: At most so many bytes of files; None is as many as the block
                cache may hold.
            progress: Called now and then with the bytes read so far and about how many
                there will be. What it raises ends the reading and is raised here.

        What cannot be read is left out, and raises when somebody asks for it.
        """
        return warm_.warm(self, prefix, budget_bytes, progress)

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
