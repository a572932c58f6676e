# SPDX-License-Identifier: Apache-2.0
"""The database for asyncio: the same methods, with `await`.

    import lsmkv.aio

    async with lsmkv.aio.open("cache") as adb:
        await adb.put(b"key", b"value")
        print(await adb.get(b"key"))

What is answered from memory, and a small write that waits for nothing, is done at once
on the event loop's thread: no other thread is involved, and the task is not suspended.
Only what may wait goes to a few threads of the database's own. They reach the loop by
`call_soon_threadsafe` alone, so one database may serve any number of loops and threads.

Cancelling a task that waits here ends the waiting. A write is then done, whole, or not
at all: not if it had not begun. `close` waits for what has begun.

Iterations are asynchronous, `async for key, value in adb.items()`, and take their rows
in chunks. Documentation that is missing here is that of the same name in `lsmkv.DB`.
"""

from lsmkv.aio.handles import AsyncDB, AsyncVectors, Opening, open, wrap
from lsmkv.aio.rows import AsyncScan
from lsmkv.aio.spaces import (
    AsyncKeyspace,
    AsyncNamespace,
    AsyncReader,
    AsyncSnapshot,
    AsyncWriteBatch,
)

__all__ = [
    "AsyncDB",
    "AsyncKeyspace",
    "AsyncNamespace",
    "AsyncReader",
    "AsyncScan",
    "AsyncSnapshot",
    "AsyncVectors",
    "AsyncWriteBatch",
    "Opening",
    "open",
    "wrap",
]
