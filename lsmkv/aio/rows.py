# SPDX-License-Identifier: Apache-2.0
"""Asynchronous iterators over rows."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from lsmkv.aio.workers import Workers, ignore
from lsmkv.closing import AsyncClosing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from lsmkv import _scan

_T = TypeVar("_T")

FIRST_ROWS, LAST_ROWS = 64, 4096  # of the chunks of an iteration


class AsyncScan(AsyncClosing, Generic[_T]):
    """An asynchronous iterator over rows in key order, made by `items` and the like.

    It shows the state of its first step. Close it, or use it with `async with`, when it
    is not iterated to its end. A step that is cancelled loses no row: the next one
    continues with the same.
    """

    def __init__(
        self, workers: Workers, make: Callable[[], Iterator[_T] | _scan.Scan]
    ) -> None:
        """Iterate over what `make` makes, which may wait."""
        self._workers = workers
        self._make = make
        self._scan: Any = None
        self._rows: list[_T] = []
        self._index = 0
        self._size = FIRST_ROWS
        self._fetching: Future[list[_T]] | None = None
        self._done = False

    def __aiter__(self) -> Self:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> _T:
        """Return the next row."""
        while self._index == len(self._rows):
            if self._done:
                raise StopAsyncIteration
            if self._fetching is None:
                self._fetching = self._workers.submit(self._fetch)
            fetching = self._fetching
            try:
                rows = await asyncio.shield(asyncio.wrap_future(fetching))
            except Exception:
                self._fetching = None
                raise
            if self._fetching is fetching:  # else another task has taken them
                self._take(rows)
        self._index += 1
        return self._rows[self._index - 1]

    def _take(self, rows: list[_T]) -> None:
        self._fetching = None
        self._rows, self._index = rows, 0
        if len(rows) < self._size:
            self._done = True
        self._size = min(self._size * 4, LAST_ROWS)

    def _fetch(self) -> list[_T]:
        if self._scan is None:
            self._scan = self._make()
        return list(itertools.islice(self._scan, self._size))

    async def aclose(self) -> None:
        """End the iteration and let go of the state it reads."""
        fetching, self._fetching = self._fetching, None
        self._done = True
        self._rows, self._index = [], 0
        if fetching is not None and not fetching.cancel():
            ended = asyncio.wrap_future(fetching)
            ended.add_done_callback(ignore)
            await asyncio.wait([ended])
        if self._scan is not None:
            self._scan.close()

    async def _end(self) -> None:
        await self.aclose()
