# SPDX-License-Identifier: Apache-2.0
"""Goal: no interruption and no circle leaves anyone waiting for ever.

Method: signals to who computes and to who waits, threads that are told to end, loops
that are closed, callers that are interrupted at the worst moment; and circles of
threads and event loops that wait for each other.
"""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import threading
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import lsmkv
from harness.flights import (
    WAIT,
    Slow,
    anever,
    never,
    nothing_flies,
    put_stale,
    until,
    waiting,
)
from lsmkv import compute, flights


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """Have SIGINT interrupt, also where whoever runs the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as executor:
        yield executor


def interrupt_main_when(holds: Callable[[], object]) -> threading.Thread:
    """Do what ctrl-C does, once something holds."""

    def run() -> None:
        until(holds)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_who_waits_may_be_interrupted(db: lsmkv.DB, pool: ThreadPoolExecutor) -> None:
    slow = Slow(b"value")
    first = pool.submit(db.get_or_compute, b"key", slow)
    other = pool.submit(db.get_or_compute, b"key", never)
    assert slow.begun.wait(WAIT)
    until(lambda: waiting(db, 1))
    thread = interrupt_main_when(lambda: waiting(db, 2))
    with pytest.raises(KeyboardInterrupt):
        db.get_or_compute(b"key", never)
    thread.join(WAIT)
    slow.go.set()
    assert first.result(WAIT) == other.result(WAIT) == b"value"
    assert db[b"key"] == b"value"
    assert nothing_flies(db)


def test_who_waits_takes_over_from_one_who_is_interrupted(
    db: lsmkv.DB, pool: ThreadPoolExecutor
) -> None:
    def interrupted() -> bytes:
        other.append(pool.submit(db.get_or_compute, b"key", lambda: b"value"))
        until(lambda: waiting(db, 1))
        signal.raise_signal(signal.SIGINT)
        return b"never"

    other: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        db.get_or_compute(b"key", interrupted)
    assert other[0].result(WAIT) == b"value"
    assert db.stats().snapshot_count == 0


@pytest.mark.parametrize(
    "ending", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError]
)
def test_what_is_no_exception_ends_only_who_raised_it(
    db: lsmkv.DB, pool: ThreadPoolExecutor, ending: type[BaseException]
) -> None:
    def end() -> bytes:
        other.append(pool.submit(db.get_or_compute, b"key", lambda: b"value"))
        until(lambda: waiting(db, 1))
        raise ending

    other: list[Any] = []
    with pytest.raises(ending):
        db.get_or_compute(b"key", end)
    assert other[0].result(WAIT) == b"value"

    def end_at_once(keys: list[bytes]) -> list[bytes]:
        raise ending

    with pytest.raises(ending):
        db.get_or_compute_many([b"a", b"b"], end_at_once)
    assert nothing_flies(db)


def test_who_waits_takes_over_from_a_thread_that_is_made_to_end(
    db: lsmkv.DB, pool: ThreadPoolExecutor
) -> None:
    begun = threading.Event()

    def hang() -> bytes:
        begun.set()
        while True:
            time.sleep(0.001)

    def lead() -> None:
        with contextlib.suppress(SystemExit):
            db.get_or_compute(b"key", hang)

    thread = threading.Thread(target=lead)
    thread.start()
    assert begun.wait(WAIT)
    other = pool.submit(db.get_or_compute, b"key", lambda: b"value")
    until(lambda: waiting(db, 1))
    ident = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))
    assert other.result(WAIT) == b"value"
    thread.join(WAIT)


@pytest.mark.parametrize("many", [False, True])
def test_an_interruption_before_anything_could_be_done_about_it(
    db: lsmkv.DB, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    """The caller has its flight, but has not yet begun its turn."""
    begun, go = threading.Event(), threading.Event()
    turn = compute.Turn

    def interrupted(*args: Any, **how: Any) -> Any:
        monkeypatch.setattr(compute, "Turn", turn)
        begun.set()
        assert go.wait(WAIT)
        raise KeyboardInterrupt

    def lead() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            if many:
                db.get_or_compute_many([b"key", b"more"], lambda keys: keys)
            else:
                db.get_or_compute(b"key", never)

    monkeypatch.setattr(compute, "Turn", interrupted)
    thread = threading.Thread(target=lead)
    thread.start()
    assert begun.wait(WAIT)
    other = pool.submit(db.get_or_compute, b"key", lambda: b"value")
    until(lambda: waiting(db, 1))
    go.set()
    assert other.result(WAIT) == b"value"
    thread.join(WAIT)
    assert nothing_flies(db)


def test_a_garbage_collection_may_let_go_of_flights_at_any_time() -> None:
    all_flights = flights.Flights()
    holder: Any = types.SimpleNamespace(mine=all_flights.begin([(1, b"lost")]))
    holder.itself = holder  # so that the collector alone finds it
    future = holder.mine[0].future
    del holder
    with all_flights._lock:
        gc.collect()
    assert future.result(0) is None
    assert not all_flights._flying


def test_a_loop_that_is_closed_while_it_waits_holds_up_nobody(
    db: lsmkv.DB, pool: ThreadPoolExecutor
) -> None:
    slow = Slow(b"value")
    first = pool.submit(db.get_or_compute, b"key", slow)
    assert slow.begun.wait(WAIT)
    loop = asyncio.new_event_loop()
    task = loop.create_task(db.aget_or_compute(b"key", anever))
    while not waiting(db, 1):
        loop.run_until_complete(asyncio.sleep(0.001))
    loop.close()  # and nobody cancels the task
    other = pool.submit(db.get_or_compute, b"key", never)
    until(lambda: waiting(db, 2))
    slow.go.set()
    assert first.result(WAIT) == other.result(WAIT) == b"value"
    del task, loop
    gc.collect()
    assert nothing_flies(db)


@pytest.mark.parametrize("timeout", [float("inf"), 1e300, threading.TIMEOUT_MAX])
def test_a_timeout_may_be_as_long_as_you_like(
    db: lsmkv.DB, pool: ThreadPoolExecutor, timeout: float
) -> None:
    async def ask() -> bytes:
        return await db.aget_or_compute(b"key", anever, timeout=timeout)

    slow = Slow(b"value")
    asked = [pool.submit(db.get_or_compute, b"key", slow, timeout=timeout)]
    assert slow.begun.wait(WAIT)
    asked += [
        pool.submit(db.get_or_compute, b"key", never, timeout=timeout),
        pool.submit(asyncio.run, ask()),
    ]
    until(lambda: waiting(db, 2))
    slow.go.set()
    assert [each.result(WAIT) for each in asked] == [b"value"] * 3


def test_a_computation_that_asks_for_itself_elsewhere_is_told(db: lsmkv.DB) -> None:
    def by_loop() -> bytes:
        return asyncio.run(db.aget_or_compute(b"key", anever))

    async def by_thread() -> bytes:
        return await asyncio.to_thread(db.get_or_compute, b"key", never)

    async def by_task() -> bytes:
        return await asyncio.create_task(db.aget_or_compute(b"key", anever))

    with pytest.raises(lsmkv.DeadlockError):
        db.get_or_compute(b"key", by_loop)
    for fn in (by_thread, by_task):
        with pytest.raises(lsmkv.DeadlockError):
            asyncio.run(db.aget_or_compute(b"key", fn))
    assert nothing_flies(db)


def test_batches_that_would_wait_for_each_other_are_told(
    db: lsmkv.DB, pool: ThreadPoolExecutor
) -> None:
    both = threading.Barrier(2)

    def ask(keys: list[bytes], others: list[bytes]) -> object:
        def fn_missing(missing: list[bytes]) -> list[bytes]:
            assert missing == keys
            both.wait(WAIT)
            db.get_or_compute_many(others, lambda keys: keys)
            return keys

        try:
            return db.get_or_compute_many(keys, fn_missing)
        except lsmkv.DeadlockError:
            return "told"

    a, b = [b"a", b"aa"], [b"b", b"bb"]
    asked = [pool.submit(ask, a, b[::-1]), pool.submit(ask, b, a[::-1])]
    assert "told" in [each.result(WAIT) for each in asked]
    assert nothing_flies(db)


def test_tasks_and_threads_that_would_wait_for_each_other_are_told(
    db: lsmkv.DB, pool: ThreadPoolExecutor
) -> None:
    both = threading.Barrier(2)

    async def by_task(key: bytes, other: bytes) -> bytes:
        async def fn() -> bytes:
            await asyncio.to_thread(both.wait, WAIT)
            return await db.aget_or_compute(other, value)

        try:
            return await db.aget_or_compute(key, fn)
        except lsmkv.DeadlockError:
            return b"told"

    def by_thread(key: bytes, other: bytes) -> bytes:
        def fn() -> bytes:
            both.wait(WAIT)
            return db.get_or_compute(other, lambda: b"value")

        try:
            return db.get_or_compute(key, fn)
        except lsmkv.DeadlockError:
            return b"told"

    async def value() -> bytes:
        return b"value"

    async def two_tasks() -> list[bytes]:
        return [*await asyncio.gather(by_task(b"a", b"b"), by_task(b"b", b"a"))]

    assert b"told" in asyncio.run(asyncio.wait_for(two_tasks(), WAIT))
    db.delete_many([b"a", b"b"])
    thread = pool.submit(by_thread, b"a", b"b")
    task = pool.submit(asyncio.run, by_task(b"b", b"a"))
    assert b"told" in [thread.result(WAIT), task.result(WAIT)]
    assert nothing_flies(db)


def test_a_thread_is_told_when_the_loop_it_needs_waits_for_it(db: lsmkv.DB) -> None:
    """A coroutine waits without `await`, and so holds up what its loop computes."""
    begun = threading.Event()

    def compute_in_thread() -> bytes:
        begun.set()
        until(lambda: waiting(db, 1))
        try:
            return db.get_or_compute(b"of loop", never)
        except lsmkv.DeadlockError:
            return b"told"

    async def body() -> None:
        go = asyncio.Event()

        async def compute_on_loop() -> bytes:
            await go.wait()
            return b"value"

        task = asyncio.create_task(db.aget_or_compute(b"of loop", compute_on_loop))
        await asyncio.sleep(0)
        thread = asyncio.to_thread(db.get_or_compute, b"of thread", compute_in_thread)
        waits = asyncio.create_task(thread)
        while not begun.is_set():
            await asyncio.sleep(0.001)
        assert db.get_or_compute(b"of thread", never) == b"told"
        assert await waits == b"told"
        go.set()
        assert await task == b"value"

    asyncio.run(asyncio.wait_for(body(), WAIT))
    assert nothing_flies(db)
    assert db._flights is not None
    assert not db._flights._held_up


def test_what_has_landed_closes_no_circle() -> None:
    """A task outlives the computation that made it, and still carries it along."""
    all_flights = flights.Flights()
    begun = all_flights.begin([(1, b"over"), (1, b"other")])
    over, other = begun
    other.waits.add(over)  # and has not yet noticed that it need not
    all_flights.land(over, None)
    token = flights.computing.set((over,))
    mine, others = all_flights.join([(1, b"other")], blocks=True)
    flights.computing.reset(token)
    assert (list(mine), others) == ([], [other])
    all_flights.land(other, None)


def test_a_log_that_raises_ends_no_refreshing(db: lsmkv.DB) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        raise ZeroDivisionError

    def fail() -> bytes:
        raise ValueError

    logger = logging.getLogger("lsmkv")
    logger.addFilter(refuse)
    try:
        put_stale(db)
        for _ in range(flights.WORKERS_MAX + 1):
            assert db.get_or_compute(b"key", fail, stale=1000) == b"old"
            until(lambda: nothing_flies(db))
    finally:
        logger.removeFilter(refuse)
    assert db.get_or_compute(b"key", lambda: b"new", ttl=100, stale=1000) == b"old"
    until(lambda: db.get(b"key") == b"new")


def test_a_fork_in_the_middle_of_a_batch_does_not_hang(path: Path) -> None:
    with lsmkv.open(path) as db:
        slow = Slow(b"value")
        keys = [b"key", b"other"]
        thread = threading.Thread(
            target=db.get_or_compute_many, args=(keys, lambda keys: [slow()] * 2)
        )
        thread.start()
        assert slow.begun.wait(WAIT)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                db.get_or_compute_many(keys, lambda keys: keys)
            except lsmkv.ForkedError:
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        slow.go.set()
        thread.join(WAIT)
        assert db.get_many(keys) == [b"value"] * 2
