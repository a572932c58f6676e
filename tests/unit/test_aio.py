# SPDX-License-Identifier: Apache-2.0
"""The database for asyncio.

Goal: what is in memory is answered on the loop's own thread; a cancelled call is done
or not, and harms nothing; closing waits. Method: an executor that tells what it is
given, or that keeps calls from ending until the test lets them.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import lsmkv
import lsmkv.aio
import lsmkv.db
from lsmkv.aio.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


THREADS = 8  # of lsmkv.aio.open by default


def run(path: Path, body: Callable[[lsmkv.aio.AsyncDB], Awaitable[None]]) -> None:
    """Run the body with a new database."""

    async def main() -> None:
        async with lsmkv.aio.open(path / "db") as adb:
            await body(adb)

    asyncio.run(main())


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """List the calls that were given to other threads."""
    seen: list[Any] = []
    submit = Workers.submit

    def note(self: Workers, call: Any, *, slow: bool = False) -> Any:
        seen.append(call)
        return submit(self, call, slow=slow)

    monkeypatch.setattr(Workers, "submit", note)
    return seen


class Gate:
    """Keeps a method of the engine from returning."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cls: Any, name: str) -> None:
        """Stand in for `cls.name`."""
        self.begun = threading.Event()
        self.open = threading.Event()
        method = getattr(cls, name)

        def held(space: Any, *args: Any, **how: Any) -> Any:
            self.begun.set()
            assert self.open.wait(30)
            return method(space, *args, **how)

        monkeypatch.setattr(cls, name, held)

    async def wait_begun(self) -> None:
        """Wait until a thread is inside."""
        assert await asyncio.to_thread(self.begun.wait, 30)


def test_importing_the_package_brings_no_asyncio() -> None:
    code = "import sys, lsmkv; assert 'asyncio' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_in_memory_is_answered_on_the_loops_thread(
    tmp_path: Path, hops: list[Any]
) -> None:
    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        await adb.put(b"a", b"1")
        await adb.put_many({b"b": b"2", b"c": b"3"})
        assert await adb.get(b"a") == b"1"
        assert await adb.get(b"none", 7) == 7
        assert await adb.contains(b"b")
        assert await adb.get_many([b"a", b"none", b"c"]) == [b"1", None, b"3"]
        assert await adb.get_into(b"a", bytearray(3)) == 1
        await adb.delete(b"a")
        await adb.delete_many([b"b"])
        with adb.snapshot() as snapshot:
            assert await snapshot.get(b"c") == b"3"
            assert not await snapshot.contains(b"a")
        async with adb.write_batch() as batch:
            batch.put(b"d", b"4")
        assert await adb.get(b"d") == b"4"
        assert await adb.get_or_compute(b"d", never) == b"4"
        assert hops == []

    async def never() -> bytes:
        raise AssertionError("there is a value")

    run(tmp_path, body)


def test_what_is_on_disk_is_read_by_another_thread_once(
    tmp_path: Path, hops: list[Any]
) -> None:
    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        await adb.put(b"a", b"1")
        await adb.flush()
        hops.clear()
        assert await adb.get(b"a") == b"1"
        assert len(hops) == 1
        assert await adb.get(b"a") == b"1"
        assert await adb.get_many([b"a", b"a"]) == [b"1", b"1"]
        assert len(hops) == 1
        stats = await adb.stats()
        assert stats.namespaces[""].hits == 4

    run(tmp_path, body)


def test_writes_that_sync_or_are_large_wait_in_another_thread(
    tmp_path: Path, hops: list[Any]
) -> None:
    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        await adb.put(b"a", b"1", sync=True)
        await adb.put(b"b", bytearray(1 << 20))
        await adb.put_many([(b"c", b"x" * (1 << 20))])
        assert len(hops) == 3
        assert await adb.get(b"b") == bytes(1 << 20)

    run(tmp_path, body)


def test_every_method_does_what_the_database_does(tmp_path: Path) -> None:
    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        rows = [(f"{i:04}".encode(), f"v{i}".encode()) for i in range(1000)]
        await adb.put_many(rows)
        assert [row async for row in adb.items()] == rows
        assert [key async for key in adb] == [key for key, _ in rows]
        assert [v async for v in adb.values(start=b"0990", reverse=True)] == [
            value for _, value in reversed(rows[990:])
        ]
        assert [k async for k in adb.keys(prefix=b"05", stop=b"0503")] == [
            b"0500",
            b"0501",
            b"0502",
        ]
        assert await adb.get_many([k for k, _ in rows]) == [v for _, v in rows]
        await adb.delete_range(b"0500", None)
        assert await adb.approximate_count() == 500
        await adb.put(b"0000", b"x", ttl=60)
        assert 0 < (await adb.ttl(b"0000") or 0) <= 60
        assert await adb.touch(b"0000", None)
        assert await adb.ttl(b"0000") is None
        view = await adb.get_view(b"0000")
        assert view is not None
        assert bytes(view) == b"x"
        await adb.sync()
        await adb.compact()
        await adb.settle()
        await adb.resume()
        await adb.checkpoint(tmp_path / "copy")
        assert (await adb.verify()).ok
        assert (await adb.memory()).budget_bytes == adb.options.memory_bytes
        assert adb.path == str(tmp_path / "db")
        space = await adb.namespace("one", default_ttl=60)
        assert space.name == "one"
        assert space.options.default_ttl == 60
        await space.put_many({b"k": b"v"})
        assert await adb.get(b"k") is None
        with space.snapshot() as snapshot:
            await space.delete_many([b"k"])
            assert [row async for row in snapshot.items()] == [(b"k", b"v")]
            assert not snapshot.closed
        assert await space.append(b"list", b"i0") == 0
        assert await space.append(b"list", b"i1") == 1
        assert await space.tail(b"list", 1) == [b"i1"]
        assert await space.list_length(b"list") == 2
        assert await space.delete_list(b"list")
        assert list(await adb.namespaces()) == ["one"]
        assert await adb.drop_namespace("one")

    run(tmp_path, body)


def test_a_follower_moves_on_when_it_is_told_to(tmp_path: Path) -> None:
    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        async with lsmkv.aio.open(tmp_path / "db", mode="follower") as follower:
            await adb.put(b"a", b"1")
            assert await follower.get(b"a") is None
            assert await follower.refresh()
            assert await follower.get(b"a") == b"1"

    run(tmp_path, body)


def test_values_are_computed_once_for_all_tasks(tmp_path: Path) -> None:
    calls = 0

    async def compute() -> bytes:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.01)
        return b"v"

    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        found = await asyncio.gather(
            *(adb.get_or_compute(b"k", compute) for _ in range(50))
        )
        assert found == [b"v"] * 50
        assert calls == 1
        assert await adb.get(b"k") == b"v"

    run(tmp_path, body)


def test_vectors_are_gathered_by_another_thread(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")

    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        space = await adb.vectors("items", dim=3)
        rows = np.arange(12, dtype=np.float32).reshape(4, 3)
        await space.put_many([0, 1, 2, 3], rows)
        await space.put(4, rows[0])
        out = np.zeros((2, 3), np.float32)
        got, found = await space.gather([3, 4], out=out)
        assert got is out
        assert found.all()
        assert (out == rows[[3, 0]]).all()
        assert (await space.get(1) == rows[1]).all()
        await space.delete(1)
        await space.delete_many([2, 3])
        _, found = await space.gather([0, 1, 2, 3], missing="zero")
        assert found.tolist() == [True, False, False, False]
        assert space.sync_vectors.dim == 3

    run(tmp_path, body)


def test_a_write_cancelled_while_it_waits_for_a_thread_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, lsmkv.DB, "touch")

    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        blockers = [asyncio.create_task(adb.touch(b"t", None)) for _ in range(THREADS)]
        await gate.wait_begun()
        write = asyncio.create_task(adb.put(b"a", b"1", sync=True))
        await asyncio.sleep(0.01)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write
        gate.open.set()
        await asyncio.gather(*blockers)
        assert await adb.get(b"a") is None
        await adb.put(b"a", b"2", sync=True)
        assert await adb.get(b"a") == b"2"

    run(tmp_path, body)


def test_a_write_cancelled_after_it_has_begun_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, lsmkv.DB, "put")

    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        value = bytearray(b"x" * (1 << 20))
        write = asyncio.create_task(adb.put(b"a", value))
        await gate.wait_begun()
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write
        value[:] = bytes(1 << 20)  # the caller's again
        gate.open.set()

    run(tmp_path, body)
    with lsmkv.open(tmp_path / "db") as db:
        assert db.get(b"a") == b"x" * (1 << 20)


def test_memory_of_the_caller_is_not_written_to_after_a_cancelled_gather(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np = pytest.importorskip("numpy")
    from lsmkv.vectors import Vectors

    gate = Gate(monkeypatch, Vectors, "gather")

    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        space = await adb.vectors("items", dim=2)
        await space.put(1, np.ones(2, np.float32))
        out = np.zeros((1, 2), np.float32)
        task = asyncio.create_task(space.gather([1], out=out))
        await gate.wait_begun()
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
        task.cancel()
        await asyncio.sleep(0.01)
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert out.tolist() == [[1, 1]]

    run(tmp_path, body)


@pytest.mark.parametrize("steps", range(12))
def test_cancelling_anywhere_leaves_a_database_that_works(
    tmp_path: Path, steps: int
) -> None:
    async def work(adb: lsmkv.aio.AsyncDB) -> None:
        for i in range(100):
            key = f"{i}".encode()
            await adb.put(key, key * 100, sync=i % 3 == 0)
            await adb.get(key)
            await adb.flush()
            async with adb.write_batch(sync=True) as batch:
                batch.put(b"p" + key, b"1")
                batch.put(b"q" + key, b"1")
            async with adb.items() as rows:
                async for _ in rows:
                    pass

    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        tasks = [asyncio.create_task(work(adb)) for _ in range(3)]
        for _ in range(steps**2):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(end, asyncio.CancelledError)
        await adb.put(b"after", b"1", sync=True)
        assert await adb.get(b"after") == b"1"
        p = [key[1:] async for key in adb.keys(prefix=b"p")]
        assert p == [key[1:] async for key in adb.keys(prefix=b"q")]

    run(tmp_path, body)


def test_a_cancelled_step_of_an_iteration_loses_no_row(tmp_path: Path) -> None:
    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        keys = [f"{i:04}".encode() for i in range(500)]
        await adb.put_many((key, b"") for key in keys)
        rows = adb.keys()
        found = []
        cancelled = 0
        while True:
            step = asyncio.ensure_future(anext(rows))
            await asyncio.sleep(0)
            if not step.done() and cancelled < 3:
                step.cancel()
                cancelled += 1
            try:
                found.append(await step)
            except asyncio.CancelledError:
                continue
            except StopAsyncIteration:
                break
        assert found == keys
        assert cancelled == 3
        half = adb.keys()
        await anext(half)
        await half.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(half)

    run(tmp_path, body)


def test_closing_waits_for_what_has_begun_and_refuses_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, lsmkv.DB, "put")

    async def main() -> None:
        adb = await lsmkv.aio.open(tmp_path / "db")
        write = asyncio.create_task(adb.put(b"a", b"1", sync=True))
        await gate.wait_begun()
        closing = asyncio.create_task(adb.close())
        second = asyncio.create_task(adb.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        assert adb.closed
        for call in (
            adb.get(b"a"),
            adb.get_many([b"a"]),
            adb.put(b"a", b"2"),
            adb.delete(b"a"),
            adb.flush(),
            adb.contains(b"a"),
            anext(adb.items()),
            adb.write_batch().__aexit__(None, None, None),
        ):
            with pytest.raises(lsmkv.ClosedError):
                await call
        with pytest.raises(lsmkv.ClosedError):
            adb.snapshot()
        second.cancel()
        gate.open.set()
        await write
        await closing
        await adb.close()
        assert adb.sync_db.closed

    asyncio.run(main())
    with lsmkv.open(tmp_path / "db") as db:
        assert db.get(b"a") == b"1"


def test_a_cancelled_opening_leaves_the_directory_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, lsmkv.db, "open")

    async def main() -> None:
        opening = asyncio.ensure_future(_opened(tmp_path / "db"))
        await gate.wait_begun()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        gate.open.set()

    asyncio.run(main())
    monkeypatch.undo()
    for _ in range(1000):
        try:
            lsmkv.open(tmp_path / "db").close()
            break
        except lsmkv.LockedError:
            threading.Event().wait(0.01)
    else:
        pytest.fail("it was never closed")


async def _opened(path: Path) -> lsmkv.aio.AsyncDB:
    return await lsmkv.aio.open(path)


def test_errors_come_to_the_task_that_asked(tmp_path: Path) -> None:
    async def body(adb: lsmkv.aio.AsyncDB) -> None:
        with pytest.raises(TypeError, match="not str"):
            await adb.get("a")  # type: ignore[call-overload]
        with pytest.raises(lsmkv.LimitError):
            await adb.put(bytes(70000), b"")
        with pytest.raises(lsmkv.LimitError):
            await adb.put(bytes(70000), b"", sync=True)
        with pytest.raises(KeyError):
            await adb.ttl(b"none")
        await adb.put(b"a", b"12")
        with pytest.raises(BufferError):
            await adb.get_into(b"a", bytearray(1))
        with pytest.raises(lsmkv.LockedError):
            await lsmkv.aio.open(tmp_path / "db")
        with pytest.raises(TypeError, match="async with"), adb.write_batch():
            pass
        batch = adb.write_batch()
        batch.put(b"b", b"1")
        await batch.__aexit__(ValueError, ValueError(), None)
        assert await adb.get(b"b") is None

    run(tmp_path, body)


def test_a_wrapped_database_stays_open_and_serves_many_loops(
    db: lsmkv.DB,
) -> None:
    adb = lsmkv.aio.wrap(db)
    errors: list[BaseException] = []

    async def work(number: int) -> None:
        async def one(i: int) -> None:
            key = f"{number}/{i}".encode()
            await adb.put(key, key, sync=i % 10 == 0)
            assert await adb.get(key) == key
            assert await adb.get_many([key, b"none"]) == [key, None]

        await asyncio.gather(*(one(i) for i in range(100)))

    def thread(number: int) -> None:
        try:
            asyncio.run(work(number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=thread, args=(i,)) for i in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []
    assert db.approximate_count() == 400
    asyncio.run(adb.close())
    assert not db.closed
    assert db.get(b"0/0") == b"0/0"
