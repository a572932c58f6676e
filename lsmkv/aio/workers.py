# SPDX-License-Identifier: Apache-2.0
"""The threads that make the calls which may wait."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from lsmkv.errors import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


class Workers:
    """The threads of one database, and whether it is still to be used.

    Calls of the whole database (flush, compact, ...) have a thread of their own, so
    that they do not keep reads waiting.
    """

    def __init__(self, threads: int) -> None:
        """Start no thread before it is needed."""
        self._pool = ThreadPoolExecutor(threads, "lsmkv-aio")
        self._slow = ThreadPoolExecutor(1, "lsmkv-aio-slow")
        self._lock = threading.Lock()
        self._closing: Future[None] | None = None

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._closing is not None

    def check(self) -> None:
        """ClosedError if it was."""
        if self._closing is not None:
            raise ClosedError("the database is closed")

    def submit(self, call: Callable[[], _T], *, slow: bool = False) -> Future[_T]:
        """Have a thread make a call."""
        with self._lock:
            self.check()
            return (self._slow if slow else self._pool).submit(call)

    async def run(self, call: Callable[[], _T], *, slow: bool = False) -> _T:
        """Wait for a call by a thread; if not begun, it is cancelled with the task."""
        return await asyncio.wrap_future(self.submit(call, slow=slow))

    async def run_to_end(self, call: Callable[[], _T]) -> _T:
        """As run(), but a call that has begun has ended when a cancelled task goes on.

        For calls that write to memory of the caller.
        """
        future = self.submit(call)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            future.cancel()
            while not future.done():
                ended = asyncio.wrap_future(future)
                ended.add_done_callback(ignore)
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([ended])
            raise

    def close(self, end: Callable[[], None]) -> Future[None]:
        """Let calls end, then make the last one, in a thread. The same each time."""
        with self._lock:
            if self._closing is None:
                self._closing = Future()
                threading.Thread(
                    target=self._finish,
                    args=(end, self._closing),
                    name="lsmkv-aio-close",
                ).start()
            return self._closing

    def _finish(self, end: Callable[[], None], done: Future[None]) -> None:
        self._pool.shutdown()
        self._slow.shutdown()
        try:
            end()
        except BaseException as error:  # told to whoever waits
            done.set_exception(error)
        else:
            done.set_result(None)


def ignore(future: asyncio.Future[Any]) -> None:
    """See an exception that nobody waits for any more."""
    if not future.cancelled():
        future.exception()
