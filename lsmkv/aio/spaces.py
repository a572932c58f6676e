# SPDX-License-Identifier: Apache-2.0
"""Databases, namespaces and snapshots as far as their keys go."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from lsmkv import _base, _batch, _nowait
from lsmkv import db as db_
from lsmkv.aio.rows import AsyncScan
from lsmkv.closing import AsyncClosing, Closing
from lsmkv.keyspace import WriteBatch
from lsmkv.ttl import DEFAULT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
    from types import TracebackType

    from typing_extensions import Buffer

    from lsmkv.aio.workers import Workers
    from lsmkv.db import DB
    from lsmkv.keyspace import Keyspace
    from lsmkv.namespace import Namespace
    from lsmkv.options import NamespaceOptions
    from lsmkv.snapshot import NamespaceSnapshot, Snapshot
    from lsmkv.ttl import Stale, Ttl
    from lsmkv.warm import WarmReport

_T = TypeVar("_T")

SMALL = 64 << 10  # bytes of a write that the loop's thread hands to the system
FEW = 64  # keys of a batch that are looked for on the loop's thread


class AsyncReader:
    """What can be read of a database, a namespace or a snapshot of one."""

    def __init__(
        self, workers: Workers, space: Keyspace | Any, snapshot: Snapshot | None
    ) -> None:
        """Read `space`, as `snapshot` shows it."""
        self._workers = workers
        self._space = space
        self._snapshot = snapshot

    @overload
    async def get(self, key: Buffer, default: None = None) -> bytes | None: ...
    @overload
    async def get(self, key: Buffer, default: _T) -> bytes | _T: ...
    async def get(self, key: Buffer, default: Any = None) -> Any:
        """Return the value of `key` as bytes, or `default`."""
        self._workers.check()
        value = _nowait.get(self._space, self._snapshot, key, default)
        if value is _nowait.WAIT:
            call = functools.partial(
                self._space.get, _base.to_bytes(key), default, snapshot=self._snapshot
            )
            return await self._workers.run(call)
        return value

    @overload
    async def get_many(
        self, keys: Iterable[Buffer], default: None = None
    ) -> list[bytes | None]: ...
    @overload
    async def get_many(
        self, keys: Iterable[Buffer], default: _T
    ) -> list[bytes | _T]: ...
    async def get_many(self, keys: Iterable[Buffer], default: Any = None) -> list[Any]:
        """Return the values of `keys` in their order, `default` for missing ones.

        All of them come from one consistent state.
        """
        self._workers.check()
        held = [_base.to_bytes(key) for key in keys]
        if len(held) > FEW:
            return await self._read_many(held, default, self._snapshot)
        if self._snapshot is not None:
            return await self._find_few(held, default, self._snapshot)
        with self._database.snapshot() as moment:
            return await self._find_few(held, default, moment)

    async def _find_few(
        self, keys: list[bytes], default: Any, snapshot: Snapshot
    ) -> list[Any]:
        values = [_nowait.get(self._space, snapshot, key, default) for key in keys]
        late = [i for i, value in enumerate(values) if value is _nowait.WAIT]
        if late:
            rest = await self._read_many([keys[i] for i in late], default, snapshot)
            for i, value in zip(late, rest, strict=True):
                values[i] = value
        return values

    async def _read_many(
        self, keys: list[bytes], default: Any, snapshot: Snapshot | None
    ) -> list[Any]:
        call = functools.partial(self._space.get_many, keys, default, snapshot=snapshot)
        return await self._workers.run(call)

    @property
    def _database(self) -> DB:
        space: Any = self._space
        found: DB = space if isinstance(space, db_.DB) else space.db
        return found

    async def contains(self, key: Buffer) -> bool:
        """Tell whether there is a value: `key in db`."""
        self._workers.check()
        found = _nowait.contains(self._space, self._snapshot, key)
        if found is _nowait.WAIT:
            call = functools.partial(
                self._space._has, _base.to_bytes(key), self._snapshot
            )
            return bool(await self._workers.run(call))
        return bool(found)

    def items(
        self,
        *,
        start: Buffer | None = None,
        stop: Buffer | None = None,
        prefix: Buffer | None = None,
        reverse: bool = False,
    ) -> AsyncScan[tuple[bytes, bytes]]:
        """Iterate over (key, value) pairs in key order; arguments as for `DB.items`."""
        return self._scan("items", start, stop, prefix, reverse)

    def keys(
        self,
        *,
        start: Buffer | None = None,
        stop: Buffer | None = None,
        prefix: Buffer | None = None,
        reverse: bool = False,
    ) -> AsyncScan[bytes]:
        """Iterate over keys in order; arguments as for `DB.items`."""
        return self._scan("keys", start, stop, prefix, reverse)

    def values(
        self,
        *,
        start: Buffer | None = None,
        stop: Buffer | None = None,
        prefix: Buffer | None = None,
        reverse: bool = False,
    ) -> AsyncScan[bytes]:
        """Iterate over values in key order; arguments as for `DB.items`."""
        return self._scan("values", start, stop, prefix, reverse)

    def _scan(
        self,
        what: str,
        start: Buffer | None,
        stop: Buffer | None,
        prefix: Buffer | None,
        reverse: bool,
    ) -> AsyncScan[Any]:
        where = {"start": start, "stop": stop, "prefix": prefix}
        held = {k: v if v is None else _base.to_bytes(v) for k, v in where.items()}
        make = functools.partial(
            getattr(self._space, what),
            **held,
            reverse=reverse,
            snapshot=self._snapshot,
        )
        return AsyncScan(self._workers, make)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over all keys in order."""
        return self.keys()


class AsyncKeyspace(AsyncReader):
    """What databases and namespaces have in common."""

    _space: Keyspace

    async def put(
        self,
        key: Buffer,
        value: Buffer,
        *,
        ttl: Ttl = DEFAULT,
        stale: Stale = DEFAULT,
        sync: bool | None = None,
    ) -> None:
        """Store `value` under `key`; arguments as for `DB.put`."""
        self._workers.check()
        size = len(value) if isinstance(value, bytes) else memoryview(value).nbytes
        if size <= SMALL:
            done = _nowait.put(self._space, key, value, ttl, stale, sync)
            if done is not _nowait.WAIT:
                return
        key, value = _base.to_bytes(key), _base.to_bytes(value)
        await self._run(self._space.put, key, value, ttl=ttl, stale=stale, sync=sync)

    async def delete(self, key: Buffer, *, sync: bool | None = None) -> None:
        """Remove `key`; nothing happens if it is not there."""
        self._workers.check()
        if _nowait.delete(self._space, key, sync) is _nowait.WAIT:
            await self._run(self._space.delete, _base.to_bytes(key), sync=sync)

    async def put_many(
        self,
        items: Mapping[Any, Buffer] | Iterable[tuple[Buffer, Buffer]],
        *,
        ttl: Ttl = DEFAULT,
        stale: Stale = DEFAULT,
        sync: bool | None = None,
    ) -> None:
        """Store all pairs as one batch; arguments as for `DB.put_many`."""
        batch = WriteBatch(self._space)
        source: Any = items
        for key, value in source.items() if hasattr(items, "keys") else source:
            batch.put(key, value, ttl=ttl, stale=stale)
        await self.write(batch, sync=sync)

    async def delete_many(
        self, keys: Iterable[Buffer], *, sync: bool | None = None
    ) -> None:
        """Remove all `keys` as one batch, atomically."""
        batch = WriteBatch(self._space)
        for key in keys:
            batch.delete(key)
        await self.write(batch, sync=sync)

    async def delete_range(
        self, start: Buffer | None, stop: Buffer | None, *, sync: bool | None = None
    ) -> None:
        """Remove every key in start <= key < stop, atomically."""
        ends = [None if end is None else _base.to_bytes(end) for end in (start, stop)]
        await self._run(self._space.delete_range, *ends, sync=sync)

    async def write(self, batch: _batch.Batch, *, sync: bool | None = None) -> None:
        """Apply a batch atomically; it must not be changed until this has ended."""
        self._workers.check()
        if batch.nbytes <= SMALL:
            done = _nowait.write(self._space, batch, sync)
            if done is not _nowait.WAIT:
                return
        await self._run(self._space.write, batch, sync=sync)

    def write_batch(self, *, sync: bool | None = None) -> AsyncWriteBatch:
        """Return a batch for an `async with` block, at whose end it is written."""
        return AsyncWriteBatch(self._space, target=self, sync=sync)

    async def get_into(self, key: Buffer, buffer: Buffer) -> int | None:
        """Copy the value of `key` into a writable buffer; return its size, or None.

        BufferError if the buffer is too small; nothing is written then, or when the
        task is cancelled.
        """
        value = await self.get(key)
        if value is None:
            return None
        with memoryview(buffer) as whole, whole.cast("B") as target:
            if len(value) > len(target):
                raise BufferError(
                    f"the value needs {len(value)} bytes, the buffer has {len(target)}"
                )
            target[: len(value)] = value
        return len(value)

    async def get_view(self, key: Buffer) -> memoryview | None:
        """Return the value of `key` as a read-only memoryview; see `DB.get_view`."""
        return await self._run(self._space.get_view, _base.to_bytes(key))

    async def ttl(self, key: Buffer) -> float | None:
        """Return the seconds that the value stays, None if it does not expire."""
        return await self._run(self._space.ttl, _base.to_bytes(key))

    async def touch(self, key: Buffer, ttl: Ttl) -> bool:
        """Give the value of `key` the time `ttl`, from now on; False without one."""
        return await self._run(self._space.touch, _base.to_bytes(key), ttl)

    async def approximate_count(
        self, start: Buffer | None = None, stop: Buffer | None = None
    ) -> int:
        """Return about how many keys lie in start <= key < stop."""
        ends = [None if end is None else _base.to_bytes(end) for end in (start, stop)]
        return await self._run(self._space.approximate_count, *ends)

    async def get_or_compute(
        self,
        key: Buffer,
        async_fn: Callable[[], Awaitable[Buffer]],
        *,
        ttl: Ttl = DEFAULT,
        stale: Stale = DEFAULT,
        on_error: Literal["raise", "stale"] = "raise",
        timeout: float | None = None,
    ) -> bytes:
        """Do what `DB.aget_or_compute` does."""
        self._workers.check()
        return await self._space.aget_or_compute(
            key, async_fn, ttl=ttl, stale=stale, on_error=on_error, timeout=timeout
        )

    async def get_or_compute_many(
        self,
        keys: Iterable[Buffer],
        async_fn_missing: Callable[[list[bytes]], Awaitable[Iterable[Buffer]]],
        *,
        ttl: Ttl = DEFAULT,
        stale: Stale = DEFAULT,
    ) -> list[bytes]:
        """Do what `DB.get_or_compute_many` does, with a coroutine function.

        If the task is cancelled, those who wait for its values compute them.
        """
        from lsmkv import compute

        self._workers.check()
        want = compute.Want(self._space, ttl, stale)
        return await compute.aget_many(self._space, want, keys, async_fn_missing)

    async def append(
        self, key: Buffer, item: Buffer, *, ttl: Ttl = DEFAULT, sync: bool | None = None
    ) -> int:
        """Add an item to the list `key`; return its number, 0 for the first."""
        key, item = _base.to_bytes(key), _base.to_bytes(item)
        return await self._run(self._space.append, key, item, ttl=ttl, sync=sync)

    async def tail(self, key: Buffer, n: int | None = None) -> list[bytes]:
        """Return the newest `n` items of the list `key`, or all, the oldest first."""
        return await self._run(self._space.tail, _base.to_bytes(key), n)

    async def list_length(self, key: Buffer) -> int:
        """Return how many items the list `key` has."""
        return await self._run(self._space.list_length, _base.to_bytes(key))

    async def delete_list(self, key: Buffer, *, sync: bool | None = None) -> bool:
        """Delete the list `key`; False if there is none."""
        return await self._run(self._space.delete_list, _base.to_bytes(key), sync=sync)

    async def warm(
        self,
        prefix: Buffer | None = None,
        *,
        budget_bytes: int | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> WarmReport:
        """Read ahead what will be wanted soon; see `DB.warm`.

        `progress` is called by another thread. Cancelling the task ends the reading.
        """
        left = False  # by the task

        def watch(done: int, total: int) -> None:
            if left:
                raise _AbandonedError
            if progress is not None:
                progress(done, total)

        held = None if prefix is None else _base.to_bytes(prefix)
        call = functools.partial(
            self._space.warm, held, budget_bytes=budget_bytes, progress=watch
        )
        try:
            return await self._workers.run(call, slow=True)
        finally:
            left = True

    async def _run(self, call: Callable[..., _T], *args: Any, **how: Any) -> _T:
        return await self._workers.run(functools.partial(call, *args, **how))


class _AbandonedError(Exception):
    """Ends what nobody waits for any more."""


class AsyncWriteBatch(WriteBatch):
    """Writes that are applied together at the end of an `async with` block, or not."""

    __slots__ = ("_target",)

    def __init__(
        self, keyspace: Keyspace, *, target: AsyncKeyspace, sync: bool | None
    ) -> None:
        """Make an empty batch for `keyspace`, to be written through `target`."""
        super().__init__(keyspace, sync=sync)
        self._target = target

    def __enter__(self) -> Self:
        """Refuse: writing may have to wait."""
        raise TypeError("use `async with` for a batch of lsmkv.aio")

    async def __aenter__(self) -> Self:
        """Return the batch itself."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write the batch, or discard it if the block raised."""
        if exc_type is None:
            await self._target.write(self, sync=self._sync)


class AsyncSnapshot(AsyncReader, Closing, AsyncClosing):
    """A fixed state of a database or namespace, made by `snapshot`.

    Close it, or use it in a `with` or `async with` block: neither waits.
    """

    def __init__(self, workers: Workers, state: Snapshot | NamespaceSnapshot) -> None:
        """Show `state`."""
        space, snapshot = state._place()
        super().__init__(workers, space, snapshot)  # type: ignore[arg-type]
        self._state = state

    @property
    def closed(self) -> bool:
        """Whether the snapshot or its database was closed."""
        return self._state.closed

    def close(self) -> None:
        """Let go of the state, so that its space can be given back."""
        self._state.close()

    async def _end(self) -> None:
        self.close()


class AsyncNamespace(AsyncKeyspace):
    """A namespace, made by `AsyncDB.namespace`."""

    _space: Namespace

    @property
    def name(self) -> str:
        """Its name."""
        return self._space.name

    @property
    def options(self) -> NamespaceOptions:
        """The options of its own."""
        return self._space.options

    @property
    def sync_namespace(self) -> Namespace:
        """The same namespace for other threads, and for batches that name it."""
        return self._space

    def snapshot(self) -> AsyncSnapshot:
        """Return a view of the state of this moment; close it when done."""
        self._workers.check()
        return AsyncSnapshot(self._workers, self._space.snapshot())
