# SPDX-License-Identifier: Apache-2.0
"""Batches of computed values, and reading ahead, for asyncio.

Goal: each key is computed once, whoever asks, and nothing hangs; what is read ahead is
answered without another thread. Method: tasks and threads that meet at events.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import lsmkv
import lsmkv.aio
from harness.flights import Slow, nothing_flies, put_stale, waiting
from lsmkv.aio.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

KEYS = [b"%03d" % row for row in range(300)]


def run(path: Path, body: Callable[[lsmkv.aio.AsyncDB], Awaitable[None]]) -> None:
    """Run the body with a new database."""

    async def main() -> None:
        async with lsmkv.aio.open(path / "db") as adb:
            await asyncio.wait_for(body(adb), 60)

    asyncio.run(main())


class Calls:
    """A coroutine function that computes, and notes for which keys."""

    def __init__(self) -> None:
        """Note nothing yet."""
        self.seen: list[list[bytes]] = []
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, keys: list[bytes]) -> list[bytes]:
        """Compute at once."""
        self.seen.append(keys)
        return [key.upper() for key in keys]

    async def slowly(self, keys: list[bytes]) -> list[bytes]:
        """Compute once it may go on."""
        self.begun.set()
        await self.go.wait()
        return await self(keys)


def test_what_is_missing_is_computed_in_one_call(tmp_path: Path) -> None:
    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        compute = Calls()
        await adb.put(b"b", b"there")
        ask = adb.get_or_compute_many
        assert await ask([b"a", b"b", b"a"], compute, ttl=99) == [b"A", b"there", b"A"]
        assert compute.seen == [[b"a"]]
        assert await ask([b"a", b"b"], compute) == [b"A", b"there"]
        assert await ask([], compute) == []
        assert len(compute.seen) == 1
        assert 50 < (await adb.ttl(b"a") or 0) <= 99
        space = await adb.namespace("space")
        assert await space.get_or_compute_many([b"a"], compute) == [b"A"]
        assert await ask([bytearray(key) for key in KEYS], compute) == KEYS
        await adb.compact()  # now all of them are on disk
        assert await ask(KEYS, compute) == KEYS
        assert compute.seen[1:] == [[b"a"], KEYS]

    run(tmp_path, body)


def test_what_is_stale_is_returned_and_computed_anew(tmp_path: Path) -> None:
    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        compute = Calls()
        for key in (b"x", b"y"):
            await asyncio.to_thread(put_stale, adb.sync_db, key)
        keys = [b"x", b"new", b"y"]
        found = await adb.get_or_compute_many(keys, compute, ttl=99, stale=99)
        assert found == [b"old", b"NEW", b"old"]
        while await adb.get_many([b"x", b"y"]) != [b"X", b"Y"]:
            await asyncio.sleep(0.001)
        assert sorted(compute.seen) == [[b"new"], [b"x", b"y"]]

    run(tmp_path, body)


def test_tasks_and_threads_wait_for_each_other(tmp_path: Path) -> None:
    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        compute, slow = Calls(), Slow(b"slow")
        thread = asyncio.create_task(
            asyncio.to_thread(adb.sync_db.get_or_compute, b"b", slow)
        )
        await asyncio.to_thread(slow.begun.wait, 30)
        many = asyncio.create_task(adb.get_or_compute_many([b"a", b"b", b"c"], compute))
        while not waiting(adb.sync_db, 1):
            await asyncio.sleep(0.001)
        assert await adb.get_many([b"a", b"b", b"c"]) == [b"A", None, b"C"]
        slow.go.set()
        assert await many == [b"A", b"slow", b"C"]
        assert await thread == b"slow"
        assert compute.seen == [[b"a", b"c"]]

    run(tmp_path, body)


def test_batches_of_the_same_keys_compute_each_once(tmp_path: Path) -> None:
    counter: Counter[bytes] = Counter()

    async def compute(keys: list[bytes]) -> list[bytes]:
        counter.update(keys)
        await asyncio.sleep(0.002)
        return keys

    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        parts = [[KEYS[(i * 7 + k) % 60] for k in range(30)][::-1] for i in range(40)]
        asked = [adb.get_or_compute_many(part, compute) for part in parts]
        assert await asyncio.gather(*asked) == parts
        assert set(counter.values()) == {1}

    run(tmp_path, body)


def test_who_waits_computes_what_was_cancelled(tmp_path: Path) -> None:
    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        first, second = Calls(), Calls()
        one = asyncio.create_task(adb.get_or_compute_many([b"a", b"b"], first.slowly))
        await first.begun.wait()
        two = asyncio.create_task(adb.get_or_compute_many([b"b", b"c"], second))
        while not waiting(adb.sync_db, 1):
            await asyncio.sleep(0.001)
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        assert await two == [b"B", b"C"]
        assert second.seen == [[b"c"], [b"b"]]
        assert await adb.get(b"a") is None
        assert nothing_flies(adb.sync_db)

    run(tmp_path, body)


def test_an_exception_reaches_all_who_wait(tmp_path: Path) -> None:
    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        async def fail(keys: list[bytes]) -> list[bytes]:
            begun.set()
            await go.wait()
            raise ValueError("no luck")

        async def short(keys: list[bytes]) -> list[bytes]:
            return [b""]

        one = asyncio.create_task(adb.get_or_compute_many([b"a", b"b"], fail))
        await begun.wait()
        two = asyncio.create_task(adb.get_or_compute_many([b"b"], short))
        while not waiting(adb.sync_db, 1):
            await asyncio.sleep(0.001)
        go.set()
        for task in (one, two):
            with pytest.raises(ValueError, match="no luck"):
                await task
        with pytest.raises(lsmkv.InvalidArgumentError, match="1 values for 2 keys"):
            await adb.get_or_compute_many([b"a", b"b"], short)
        assert nothing_flies(adb.sync_db)

    run(tmp_path, body)


def test_a_put_that_comes_while_they_are_computed_wins(tmp_path: Path) -> None:
    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        async def compute(keys: list[bytes]) -> list[bytes]:
            await adb.put(b"a", b"put")
            return [b"computed"] * len(keys)

        found = await adb.get_or_compute_many([b"a", b"b"], compute)
        assert found == [b"computed", b"computed"]
        assert await adb.get_many([b"a", b"b"]) == [b"put", b"computed"]

    run(tmp_path, body)


def test_rows_of_vectors_are_computed(tmp_path: Path) -> None:
    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        space = await adb.vectors("items", dim=3)
        asked: list[list[int]] = []

        async def compute(keys: list[bytes]) -> Any:
            numbers = space.sync_vectors.ids(keys)
            asked.append(numbers.tolist())
            return np.repeat(numbers.astype(np.float32), 3).reshape(-1, 3)

        await space.put(7, np.zeros(3, np.float32))
        for _ in range(2):
            rows = await space.get_or_compute_many([5, 7, 6], compute)
            assert rows.tolist() == [[5] * 3, [0] * 3, [6] * 3]
        assert asked == [[5, 6]]

    run(tmp_path, body)


def test_what_is_read_ahead_is_answered_without_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int]] = []
    hops: list[Any] = []
    submit = Workers.submit

    def note(self: Workers, call: Any, *, slow: bool = False) -> Any:
        hops.append(call)
        return submit(self, call, slow=slow)

    async def fill(adb: lsmkv.aio.AsyncDB) -> None:
        rows = await adb.vectors("rows", dim=512)
        await rows.put_many(range(50), np.ones((50, 512), np.float32))
        await adb.put_many({key: key * 100 for key in KEYS})
        await adb.compact()
        await adb.get_many(KEYS)
        await rows.gather([1, 2])

    async def read(adb: lsmkv.aio.AsyncDB) -> None:
        rows = await adb.vectors("rows", dim=512)
        assert (await rows.warm()).value_count == 2
        assert (await rows.warm(b"")).value_count == 50
        report = await adb.warm(progress=lambda *call: calls.append(call))
        assert report.block_count > 5
        assert calls[-1] == (report.byte_count, report.byte_count)
        assert (await adb.warm(b"2", budget_bytes=5000)).byte_count <= 5000
        with pytest.raises(lsmkv.InvalidArgumentError):
            await adb.warm(budget_bytes=0)
        monkeypatch.setattr(Workers, "submit", note)
        for key in KEYS:
            assert await adb.get(key) == key * 100
        assert hops == []

    run(tmp_path, fill)
    run(tmp_path, read)


def test_cancelling_ends_the_reading(tmp_path: Path) -> None:
    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        await adb.put_many({b"%05d" % row: bytes(500) for row in range(20000)})
        await adb.compact()
        loop = asyncio.get_running_loop()
        begun = asyncio.Event()
        calls: list[int] = []

        def progress(done: int, total: int) -> None:
            calls.append(done)
            loop.call_soon_threadsafe(begun.set)

        task = asyncio.create_task(adb.warm(b"", progress=progress))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await adb.flush()  # by the same thread, so the reading is over
        seen = len(calls)
        await adb.flush()
        assert len(calls) == seen

    run(tmp_path, body)
