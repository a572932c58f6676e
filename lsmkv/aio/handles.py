# SPDX-License-Identifier: Apache-2.0
"""Opening, closing, and the calls on a whole database."""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from lsmkv import _base, arrays
from lsmkv import db as db_
from lsmkv.aio.spaces import AsyncKeyspace, AsyncNamespace, AsyncSnapshot
from lsmkv.aio.workers import Workers
from lsmkv.closing import AsyncClosing
from lsmkv.ttl import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Buffer

    from lsmkv.db import DB, Path
    from lsmkv.options import (
        NamespaceOptions,
        NamespaceOverrides,
        Options,
        Overrides,
    )
    from lsmkv.stats import Memory, Report, Stats, TableInfo
    from lsmkv.ttl import Stale, Ttl
    from lsmkv.vector_reader import Key, Keys
    from lsmkv.vectors import Vectors
    from lsmkv.warm import WarmReport

_T = TypeVar("_T")

THREADS = 8  # for reads and writes; syncs by as many share one device sync


class AsyncVectors:
    """A space of vectors, made by `AsyncDB.vectors`; see `lsmkv.vectors.Vectors`."""

    def __init__(self, workers: Workers, vectors: Vectors) -> None:
        """Wrap `vectors`."""
        self._workers = workers
        self._vectors = vectors

    @property
    def sync_vectors(self) -> Vectors:
        """The same space for other threads, with its properties."""
        return self._vectors

    async def gather(
        self,
        keys: Keys,
        *,
        out: Any = None,
        missing: Any = "raise",
        budget: float | None = None,
    ) -> tuple[Any, npt.NDArray[np.bool_]]:
        """Return the rows of n keys and which were found; see `Vectors.gather`.

        `keys` and `out` must be left alone until this has ended. It ends late if the
        task is cancelled while rows are being copied.
        """
        call = functools.partial(
            self._vectors.gather, keys, out=out, missing=missing, budget=budget
        )
        return await self._workers.run_to_end(call)

    async def get(self, key: Key) -> npt.NDArray[Any]:
        """Return the row of a key; KeyError without one."""
        return await self._workers.run(functools.partial(self._vectors.get, key))

    async def put_many(
        self, keys: Keys, array: Any, *, ttl: Ttl = DEFAULT, sync: bool | None = None
    ) -> None:
        """Store row i of the array under key i; see `Vectors.put_many`.

        Both must be left alone until this has ended, as for `gather`.
        """
        call = functools.partial(
            self._vectors.put_many, keys, array, ttl=ttl, sync=sync
        )
        await self._workers.run_to_end(call)

    async def put(
        self, key: Key, row: Any, *, ttl: Ttl = DEFAULT, sync: bool | None = None
    ) -> None:
        """Store a row; as for `put_many`."""
        call = functools.partial(self._vectors.put, key, row, ttl=ttl, sync=sync)
        await self._workers.run_to_end(call)

    async def delete(self, key: Key, *, sync: bool | None = None) -> None:
        """Remove a row; nothing happens if it is not there."""
        await self._workers.run(functools.partial(self._vectors.delete, key, sync=sync))

    async def delete_many(self, keys: Keys, *, sync: bool | None = None) -> None:
        """Remove rows as one batch, atomically."""
        await self._workers.run(
            functools.partial(self._vectors.delete_many, keys, sync=sync)
        )

    async def get_or_compute_many(
        self,
        keys: Keys,
        async_fn_missing: Callable[[list[bytes]], Awaitable[Any]],
        *,
        ttl: Ttl = DEFAULT,
        stale: Stale = DEFAULT,
    ) -> npt.NDArray[Any]:
        """Do what `Vectors.get_or_compute_many` does, with a coroutine function."""
        vectors, held = self._vectors, arrays.each_key(keys)

        async def compute(missing: list[bytes]) -> list[bytes]:
            return vectors._to_values(await async_fn_missing(missing), len(missing))

        space = AsyncNamespace(self._workers, vectors.namespace, None)
        values = await space.get_or_compute_many(
            map(arrays.take_key, held), compute, ttl=ttl, stale=stale
        )
        return vectors._to_rows(held, values)

    async def warm(
        self,
        prefix: Buffer | None = None,
        *,
        budget_bytes: int | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> WarmReport:
        """Read rows ahead that will be wanted soon; as `AsyncKeyspace.warm`."""
        space = AsyncNamespace(self._workers, self._vectors.namespace, None)
        return await space.warm(prefix, budget_bytes=budget_bytes, progress=progress)


class AsyncDB(AsyncKeyspace, AsyncClosing):
    """An open database, made by `open` or `wrap`."""

    _space: DB

    def __init__(self, db: DB, *, owns: bool, threads: int = THREADS) -> None:
        """Serve `db`, which is closed with this if it is owned."""
        super().__init__(Workers(threads), db, None)
        self._owns = owns

    @property
    def sync_db(self) -> DB:
        """The same database for other threads."""
        return self._space

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._workers.closed or self._space.closed

    @property
    def path(self) -> str:
        """The directory."""
        return self._space.path

    @property
    def options(self) -> Options:
        """The options in force, every field resolved."""
        return self._space.options

    async def close(self) -> None:
        """Wait for all calls that have begun, then close the database.

        One that was wrapped stays open. Cancelling this does not keep it from closing.
        """
        end = self._space.close if self._owns else _nothing
        await asyncio.shield(asyncio.wrap_future(self._workers.close(end)))

    async def _end(self) -> None:
        await self.close()

    async def namespace(
        self,
        name: str,
        *,
        create: bool = True,
        alter: bool = False,
        **options: Unpack[NamespaceOverrides],
    ) -> AsyncNamespace:
        """Return the namespace of that name; see `DB.namespace`."""
        space = await self._run(
            self._space.namespace, name, create=create, alter=alter, **options
        )
        return AsyncNamespace(self._workers, space, None)

    async def namespaces(self) -> dict[str, NamespaceOptions]:
        """Return the names of all namespaces, in their order, and their options."""
        return await self._run(self._space.namespaces)

    async def drop_namespace(self, name: str) -> bool:
        """Delete a namespace with all it holds; False if there is none of that name."""
        return await self._run(self._space.drop_namespace, name)

    async def vectors(self, name: str, **how: Any) -> AsyncVectors:
        """Return a space of vectors; arguments as for `DB.vectors`."""
        found = await self._run(self._space.vectors, name, **how)
        return AsyncVectors(self._workers, found)

    def snapshot(self) -> AsyncSnapshot:
        """Return a view of the state of this moment; close it when done."""
        self._workers.check()
        return AsyncSnapshot(self._workers, self._space.snapshot())

    async def flush(self) -> None:
        """Write the memtable out as a table and wait until it is durable."""
        await self._maintain(self._space.flush)

    async def sync(self) -> None:
        """Make every write that has returned survive power loss."""
        await self._run(self._space.sync)

    async def compact(
        self, start: Buffer | None = None, stop: Buffer | None = None
    ) -> None:
        """Flush, then merge a range down to one level; see `DB.compact`."""
        ends = [None if end is None else _base.to_bytes(end) for end in (start, stop)]
        await self._maintain(self._space.compact, *ends)

    async def settle(self) -> None:
        """Wait until no flush or compaction is running or due."""
        await self._maintain(self._space.settle)

    async def resume(self) -> None:
        """Try at once to write again after the disk was full."""
        await self._maintain(self._space.resume)

    async def refresh(self) -> bool:
        """Move a follower on to the state of this moment; see `DB.refresh`."""
        return await self._maintain(self._space.refresh)

    async def checkpoint(self, path: Path) -> None:
        """Make `path`, absent or empty, a database with the state of this moment."""
        await self._maintain(self._space.checkpoint, path)

    async def verify(self) -> Report:
        """Read and check every byte of every live file."""
        return await self._maintain(self._space.verify)

    async def stats(self) -> Stats:
        """Return what the engine has counted up to this moment."""
        return await self._run(self._space.stats)

    async def tables(self) -> list[TableInfo]:
        """Return the live tables, from the newest of level 0 to the last level."""
        return await self._run(self._space.tables)

    async def memory(self) -> Memory:
        """Return what the engine keeps in memory at this moment."""
        return await self._run(self._space.memory)

    async def _maintain(self, call: Callable[..., _T], *args: Any) -> _T:
        return await self._workers.run(functools.partial(call, *args), slow=True)


class Opening:
    """What `open` returns: to be awaited, or used with `async with`."""

    def __init__(self, make: Callable[[], DB], threads: int) -> None:
        """Open with `make`, when asked to."""
        self._make = make
        self._threads = threads
        self._db: AsyncDB | None = None

    def __await__(self) -> Generator[Any, None, AsyncDB]:
        """Open the database."""
        return self._open().__await__()

    async def _open(self) -> AsyncDB:
        opener = ThreadPoolExecutor(1, "lsmkv-aio-open")
        future = opener.submit(self._make)
        opener.shutdown(wait=False)
        try:
            db = await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            if not future.cancel():
                future.add_done_callback(_close_result)
            raise
        return AsyncDB(db, owns=True, threads=self._threads)

    async def __aenter__(self) -> AsyncDB:
        """Open the database."""
        self._db = await self._open()
        return self._db

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        if self._db is not None:
            await self._db.close()


def open(
    path: Path,
    *,
    mode: db_.Mode = "rw",
    poll: float | None = None,
    create: bool = True,
    error_if_exists: bool = False,
    trusted: bool = True,
    options: Options | None = None,
    threads: int = THREADS,
    **overrides: Unpack[Overrides],
) -> Opening:
    """Open the database in directory `path`: `await` it, or use it in `async with`.

    Args:
        path: The directory; this and what is not explained here as for `lsmkv.open`.
        mode: "rw", "r" or "follower".
        poll: Seconds after which a follower refreshes by itself; what fails is told by
            `stats().follower`.
        create: Make it if there is none.
        error_if_exists: Raise InvalidArgumentError if there is one.
        trusted: False for a directory that comes from somebody else, with mode="r".
        options: See `Options`.
        threads: How many calls may wait at the same time, for the disk say; others
            queue. Default 8.
        **overrides: Fields of `Options` by name.
    """
    make = functools.partial(
        db_.open,
        path,
        mode=mode,
        poll=poll,
        create=create,
        error_if_exists=error_if_exists,
        trusted=trusted,
        options=options,
        **overrides,
    )
    return Opening(make, threads)


def wrap(db: DB, *, threads: int = THREADS) -> AsyncDB:
    """Return an open database for asyncio; closing what is returned leaves it open.

    Args:
        db: The database; other threads may go on using it as it is.
        threads: As for `open`.
    """
    return AsyncDB(db, owns=False, threads=threads)


def _nothing() -> None:
    pass


def _close_result(future: Future[DB]) -> None:
    """Close a database that nobody waits for any more."""
    if not future.cancelled() and future.exception() is None:
        future.result().close()
