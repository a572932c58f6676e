# SPDX-License-Identifier: Apache-2.0
"""Goal: however a computation ends, all who wait for it go on.

Method: computations that are cancelled, killed, too slow, closed under, forked beside,
or that wait for themselves; and everything at once for some seconds.
"""

import asyncio
import contextlib
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import lsmkv
import lsmkv.aio
from harness.flights import (
    WAIT,
    Slow,
    Space,
    anever,
    never,
    nothing_flies,
    put_stale,
    until,
    waiting,
)
from lsmkv import _compute, _namespace, compute


@pytest.fixture(params=["database", "namespace", "cache"])
def space(db: lsmkv.DB, request: pytest.FixtureRequest) -> Space:
    if request.param == "database":
        return db
    max_bytes = 64 << 20 if request.param == "cache" else None
    return db.namespace("space", max_bytes=max_bytes)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as executor:
        yield executor


def test_stop_iteration_wakes_coroutines_too(db: lsmkv.DB) -> None:
    begun, go = threading.Event(), threading.Event()

    def stop() -> bytes:
        begun.set()
        go.wait(WAIT)
        raise StopIteration

    async def ask() -> bytes:
        return await db.aget_or_compute(b"key", anever)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(db.get_or_compute, b"key", stop)
        assert begun.wait(WAIT)
        second = pool.submit(asyncio.run, ask())
        until(lambda: waiting(db, 1))
        go.set()
        assert isinstance(first.exception(WAIT), StopIteration)
        assert isinstance(second.exception(WAIT), RuntimeError)


def test_a_timeout_ends_the_wait_and_not_the_computation(
    space: Space, db: lsmkv.DB
) -> None:
    slow = Slow(b"value")

    async def ask() -> bytes:
        return await space.aget_or_compute(b"key", anever, timeout=0.01)

    for _ in range(2):
        with pytest.raises(TimeoutError):
            space.get_or_compute(b"key", slow, timeout=0.01)
    with pytest.raises(TimeoutError):
        asyncio.run(ask())
    slow.go.set()
    assert space.get_or_compute(b"key", never, timeout=WAIT) == b"value"
    until(lambda: space.get(b"key") == b"value")
    assert slow.count == 1


def test_a_timeout_ends_the_wait_of_a_coroutine_and_not_its_computation(
    space: Space,
) -> None:
    async def ask() -> None:
        go = asyncio.Event()

        async def compute() -> bytes:
            await go.wait()
            return b"value"

        with pytest.raises(TimeoutError):
            await space.aget_or_compute(b"key", compute, timeout=0.01)
        go.set()
        assert await space.aget_or_compute(b"key", anever, timeout=WAIT) == b"value"

    asyncio.run(asyncio.wait_for(ask(), WAIT))
    assert space.get(b"key") == b"value"


def test_a_computation_in_time_is_returned_and_raises_what_it_raises(
    space: Space,
) -> None:
    def fail() -> bytes:
        raise ValueError("no luck")

    async def value() -> bytes:
        return b"value"

    with pytest.raises(ValueError, match="no luck"):
        space.get_or_compute(b"a", fail, timeout=WAIT)
    assert space.get_or_compute(b"a", lambda: b"value", timeout=WAIT) == b"value"
    answer = space.aget_or_compute(b"b", value, timeout=WAIT)
    assert asyncio.run(answer) == b"value"


def test_who_waits_takes_over_from_a_coroutine_that_is_cancelled(
    space: Space, db: lsmkv.DB, pool: ThreadPoolExecutor
) -> None:
    async def ask() -> list[bytes]:
        begun = asyncio.Event()
        count = 0

        async def hang() -> bytes:
            begun.set()
            await asyncio.sleep(WAIT)
            return b"never"

        async def compute() -> bytes:
            nonlocal count
            count += 1
            return b"value"

        first = asyncio.create_task(space.aget_or_compute(b"key", hang))
        await begun.wait()
        others = [
            asyncio.create_task(space.aget_or_compute(b"key", compute))
            for _ in range(20)
        ]
        thread = asyncio.get_running_loop().run_in_executor(
            pool, lambda: space.get_or_compute(b"key", lambda: b"value")
        )
        while not waiting(db, 21):
            await asyncio.sleep(0.002)
        others[3].cancel()  # one who waits: nobody else notices
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        del others[3]
        values = [*await asyncio.gather(*others), await thread]
        assert count <= 1
        return values

    assert asyncio.run(asyncio.wait_for(ask(), WAIT)) == [b"value"] * 20
    assert nothing_flies(db)


def test_a_loop_that_ends_leaves_no_flight_behind(space: Space, db: lsmkv.DB) -> None:
    async def hang() -> bytes:
        await asyncio.sleep(WAIT)
        return b""

    async def leave() -> None:
        asyncio.create_task(space.aget_or_compute(b"a", hang))  # noqa: RUF006
        with contextlib.suppress(TimeoutError):
            await space.aget_or_compute(b"b", hang, timeout=0.01)
        await asyncio.sleep(0)

    async def go_stale() -> None:
        assert await space.aget_or_compute(b"key", hang, stale=1000) == b"old"

    asyncio.run(leave())
    put_stale(space)
    asyncio.run(go_stale())  # its refresh is cancelled before its first step
    assert nothing_flies(db)
    coroutine = space.aget_or_compute(b"c", hang)
    loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine)
    loop.run_until_complete(asyncio.sleep(0))
    assert not nothing_flies(db)
    loop.close()  # nobody cancels the task
    del loop, coroutine, task
    gc.collect()
    assert nothing_flies(db)


def test_who_waits_takes_over_from_a_thread_that_exits(
    space: Space, db: lsmkv.DB, pool: ThreadPoolExecutor
) -> None:
    begun, go = threading.Event(), threading.Event()

    def leave() -> bytes:
        begun.set()
        go.wait(WAIT)
        raise SystemExit

    first = pool.submit(space.get_or_compute, b"key", leave)
    assert begun.wait(WAIT)
    others = [
        pool.submit(space.get_or_compute, b"key", lambda: b"value") for _ in range(5)
    ]
    until(lambda: waiting(db, 5))
    go.set()
    assert isinstance(first.exception(WAIT), SystemExit)
    assert [each.result(WAIT) for each in others] == [b"value"] * 5
    with pytest.raises(lsmkv.Error, match="given up"):
        space.get_or_compute(b"other", leave, timeout=WAIT)


def test_a_function_that_asks_for_its_own_value_is_told(
    space: Space, db: lsmkv.DB
) -> None:
    def again() -> bytes:
        return space.get_or_compute(b"key", never)

    def around() -> bytes:
        return space.get_or_compute(b"other", again)

    async def ask_again() -> bytes:
        return await space.aget_or_compute(b"key", anever)

    async def blocks() -> bytes:
        return space.get_or_compute(b"key", never)

    for fn in (again, around):
        with pytest.raises(lsmkv.DeadlockError, match="key"):
            space.get_or_compute(b"key", fn)
        with pytest.raises(RuntimeError):
            space.get_or_compute(b"key", fn, timeout=WAIT)
    for afn in (ask_again, blocks):
        with pytest.raises(lsmkv.DeadlockError):
            asyncio.run(space.aget_or_compute(b"key", afn))
    with pytest.raises(lsmkv.DeadlockError):
        space.get_or_compute_many([b"a", b"key"], lambda keys: [again()] * len(keys))
    assert nothing_flies(db)
    nested = space.get_or_compute(
        b"key", lambda: space.get_or_compute(b"other", lambda: b"x") + b"y"
    )
    assert nested == b"xy"


def test_threads_that_would_wait_for_each_other_are_told(
    space: Space, pool: ThreadPoolExecutor
) -> None:
    both = threading.Barrier(2)

    def ask(key: bytes, other: bytes) -> bytes:
        def compute() -> bytes:
            both.wait(WAIT)
            return space.get_or_compute(other, lambda: b"alone")

        try:
            return space.get_or_compute(key, compute)
        except lsmkv.DeadlockError:
            return b"told"

    asked = [pool.submit(ask, b"a", b"b"), pool.submit(ask, b"b", b"a")]
    assert b"told" in {each.result(WAIT) for each in asked}


def test_a_thread_is_told_not_to_block_the_loop_that_computes(space: Space) -> None:
    async def ask() -> None:
        go = asyncio.Event()

        async def compute() -> bytes:
            await go.wait()
            return b"value"

        task = asyncio.create_task(space.aget_or_compute(b"key", compute))
        await asyncio.sleep(0)
        with pytest.raises(lsmkv.DeadlockError):
            space.get_or_compute(b"key", never)
        with pytest.raises(lsmkv.DeadlockError):
            space.get_or_compute_many([b"key"], lambda keys: [])
        go.set()
        assert await task == b"value"

    asyncio.run(asyncio.wait_for(ask(), WAIT))


def test_closing_the_database_ends_every_wait(path: Path) -> None:
    db = lsmkv.open(path)
    space = db.namespace("space")
    slow = Slow(b"value")
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(space.get_or_compute, b"key", slow) for _ in range(10)]
        assert slow.begun.wait(WAIT)
        until(lambda: waiting(db, 9))
        db.close()
        slow.go.set()
        for each in asked:
            assert isinstance(each.exception(WAIT), lsmkv.ClosedError)
    with pytest.raises(lsmkv.ClosedError):
        space.get_or_compute(b"key", never)
    assert nothing_flies(db)


def test_a_refresh_that_outlives_its_database_is_quiet(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with lsmkv.open(path) as db:
        slow = Slow(b"new")
        put_stale(db)
        assert db.get_or_compute(b"key", slow, stale=1000) == b"old"
        assert slow.begun.wait(WAIT)
    slow.go.set()
    until(lambda: nothing_flies(db))
    assert caplog.text == ""


def test_a_read_only_database_answers_what_it_has(path: Path) -> None:
    with lsmkv.open(path) as db:
        db.put(b"key", b"value")
    with lsmkv.open(path, mode="r") as db:
        assert db.get_or_compute(b"key", never) == b"value"
        with pytest.raises(lsmkv.ReadOnlyError):
            db.get_or_compute(b"other", lambda: b"value")
        assert nothing_flies(db)


def test_a_fork_in_the_middle_of_a_computation_does_not_hang(path: Path) -> None:
    with lsmkv.open(path) as db:
        slow = Slow(b"value")
        thread = threading.Thread(target=db.get_or_compute, args=(b"key", slow))
        thread.start()
        assert slow.begun.wait(WAIT)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                db.get_or_compute(b"key", never)
            except lsmkv.ForkedError:
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        slow.go.set()
        thread.join(WAIT)
        assert db[b"key"] == b"value"


def test_no_snapshot_is_left_open(space: Space, db: lsmkv.DB) -> None:
    def fail() -> bytes:
        raise ZeroDivisionError

    space.get_or_compute(b"a", lambda: b"")
    with pytest.raises(ZeroDivisionError):
        space.get_or_compute(b"b", fail)
    space.get_or_compute_many([b"c", b"d"], lambda keys: keys)
    assert db.stats().snapshot_count == 0


def test_a_loop_goes_on_while_the_disk_is_waited_for(path: Path) -> None:
    keys = [b"%d" % i for i in range(20)]
    how: dict[str, Any] = {"durability": "sync", "block_cache_bytes": 0}

    async def compute() -> bytes:
        await asyncio.sleep(0)
        return b"value"

    async def ask(space: Space) -> list[bytes]:
        return await asyncio.gather(
            *[space.aget_or_compute(key, compute) for key in keys for _ in range(3)]
        )

    with lsmkv.open(path, **how) as db:
        cache = db.namespace("cache")
        assert asyncio.run(ask(cache)) == [b"value"] * 60
        assert nothing_flies(db)
        db.flush()
        cache.delete(b"7")
        assert asyncio.run(ask(cache)) == [b"value"] * 60
        assert _namespace.stats(db)["cache"]["computed"] == 21
        assert db.stats().snapshot_count == 0


def test_a_computation_that_began_before_a_write_never_shows_after_it(
    space: Space, pool: ThreadPoolExecutor
) -> None:
    """One thread alone puts and deletes; others compute what they find it has done."""
    state = {"written": 0, "over": False}

    def compute() -> bytes:
        seen = b"%d" % state["written"]
        time.sleep(0.0002)
        return seen

    async def acompute() -> bytes:
        return compute()

    def ask() -> None:
        while not state["over"]:
            space.get_or_compute(b"key", compute, ttl=0.004, stale=0.004)
            time.sleep(0.001)

    async def aask() -> None:
        while not state["over"]:
            await space.aget_or_compute(b"key", acompute, ttl=0.004)
            await asyncio.sleep(0.001)

    asked = [pool.submit(ask) for _ in range(3)]
    asked += [pool.submit(asyncio.run, aask()) for _ in range(2)]
    try:
        for number in range(1, 300):
            state["written"] = number
            if number % 2:
                space.put(b"key", b"%d" % number)
            else:
                space.delete(b"key")
            for _ in range(3):
                found = space.get(b"key")
                assert found is None or int(found) >= number
                time.sleep(0)
            assert int(space.get_or_compute(b"key", compute)) >= number
    finally:
        state["over"] = True
    for each in asked:
        each.result(WAIT)


def ask_in_every_way(db: lsmkv.DB) -> list[Callable[[], bytes]]:
    """Return calls that ask for `key`, and compute "new"."""

    async def new() -> bytes:
        return b"new"

    async def new_many(keys: list[bytes]) -> list[bytes]:
        return [b"new"] * len(keys)

    async def ask_many() -> bytes:
        async with lsmkv.aio.wrap(db) as adb:
            return (await adb.get_or_compute_many([b"key"], new_many))[0]

    return [
        lambda: db.get_or_compute(b"key", lambda: b"new"),
        lambda: db.get_or_compute_many([b"key"], lambda keys: [b"new"])[0],
        lambda: asyncio.run(db.aget_or_compute(b"key", new)),
        lambda: asyncio.run(ask_many()),
    ]


@pytest.mark.parametrize("way", range(4))
@pytest.mark.parametrize("what", ["stored", "found"])
def test_a_value_that_was_deleted_before_the_call_is_not_waited_for(
    db: lsmkv.DB,
    pool: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    way: int,
) -> None:
    """One call has stored its value, or found one, and halts before it says so."""
    begun, go = threading.Event(), threading.Event()
    look, store = compute.Turn._look_again, _compute.store_since

    def halt(outcome: object) -> object:
        if not begun.is_set():
            begun.set()
            assert go.wait(WAIT)
        return outcome

    def look_again(turn: compute.Turn, key: bytes, waits: bool) -> object:
        if not begun.is_set():
            db.put(key, b"old")
        return halt(look(turn, key, waits))

    if what == "found":
        monkeypatch.setattr(compute.Turn, "_look_again", look_again)
    else:
        monkeypatch.setattr(_compute, "store_since", lambda *how: halt(store(*how)))
    first = pool.submit(db.get_or_compute, b"key", lambda: b"old")
    assert begun.wait(WAIT)
    assert db[b"key"] == b"old"
    del db[b"key"]
    later = pool.submit(ask_in_every_way(db)[way])
    until(lambda: waiting(db, 1))
    go.set()
    assert later.result(WAIT) == b"new"
    assert first.result(WAIT) == b"old"
    assert db[b"key"] == b"new"
    assert nothing_flies(db)


def test_everything_at_once_stays_in_order(
    db: lsmkv.DB, pool: ThreadPoolExecutor
) -> None:
    """Threads and loops ask for few keys with short lives, while others write."""
    cache = db.namespace("cache")
    end = time.monotonic() + 2

    def compute() -> bytes:
        time.sleep(0.0005)
        return b"%.6f" % time.monotonic()

    async def acompute() -> bytes:
        await asyncio.sleep(0.0005)
        return b"%.6f" % time.monotonic()

    def ask(seed: int) -> None:
        i = seed
        while time.monotonic() < end:
            i += 1
            asked = time.monotonic()
            value = cache.get_or_compute(b"%d" % (i % 5), compute, ttl=0.01, stale=0.02)
            assert float(value) > asked - 0.03 - 5  # a machine may halt
            if i % 11 == 0:
                cache.delete(b"%d" % (i % 5))
            if i % 7 == 0:
                keys = [b"%d" % (i % 5), b"%d" % (i % 3)]
                cache.get_or_compute_many(
                    keys, lambda keys: [compute() for _ in keys], ttl=0.01
                )

    async def many() -> None:
        async def one(i: int) -> None:
            while time.monotonic() < end:
                asking = cache.aget_or_compute(
                    b"%d" % (i % 5), acompute, ttl=0.01, stale=0.01
                )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asking, 0.0004 * (i + 1))

        await asyncio.gather(*[one(i) for i in range(10)])

    asked = [pool.submit(ask, i) for i in range(6)]
    asked += [pool.submit(asyncio.run, many()) for _ in range(2)]
    for each in asked:
        each.result(WAIT)
    until(lambda: nothing_flies(db))
    until(lambda: db.stats().snapshot_count == 0)
