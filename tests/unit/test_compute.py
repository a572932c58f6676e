# SPDX-License-Identifier: Apache-2.0
"""Goal: a missing value is computed once for all who ask, and nothing ever hangs.

Method: threads and coroutines that meet at events, so that the order of things does not
depend on time; lives of some hundredths of a second where values have to turn stale.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import lsmkv
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
from lsmkv import _namespace

SHORT = 0.05


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


def test_a_missing_value_is_computed_and_a_stored_one_is_not(space: Space) -> None:
    assert space.get_or_compute(b"key", lambda: b"value") == b"value"
    assert space.get(b"key") == b"value"
    assert space.get_or_compute(b"key", never) == b"value"
    space.put(b"key", b"other")
    assert space.get_or_compute(b"key", never) == b"other"
    assert space.get_or_compute(b"empty", bytes) == b""
    assert space.get_or_compute(b"empty", never) == b""


def test_a_value_lives_for_its_ttl(db: lsmkv.DB) -> None:
    cache = db.namespace("cache", default_ttl=500)
    cache.get_or_compute(b"a", lambda: b"")
    assert 400 < (cache.ttl(b"a") or 0) <= 500
    cache.get_or_compute(b"b", lambda: b"", ttl=1000, stale=50)
    assert 900 < (cache.ttl(b"b") or 0) <= 1000
    cache.get_or_compute(b"c", lambda: b"", ttl=None)
    assert cache.ttl(b"c") is None
    counter = Counter[str]()

    def count() -> bytes:
        counter["calls"] += 1
        return b"%d" % counter["calls"]

    assert cache.get_or_compute(b"d", count, ttl=SHORT) == b"1"
    until(lambda: b"d" not in cache)
    assert cache.get_or_compute(b"d", count, ttl=1000) == b"2"


@pytest.mark.parametrize("kind", ["threads", "coroutines", "both"])
def test_a_thousand_misses_at_once_compute_once(
    db: lsmkv.DB, kind: str, pool: ThreadPoolExecutor
) -> None:
    slow = Slow(b"value")
    same = [db.namespace("space") for _ in range(3)]
    coroutines = {"threads": 0, "coroutines": 1000, "both": 960}[kind]
    threads = {"threads": 1000, "coroutines": 0, "both": 40}[kind]

    async def ask() -> list[bytes]:
        return await asyncio.gather(
            *[same[i % 3].aget_or_compute(b"key", slow.call) for i in range(coroutines)]
        )

    asked = [
        pool.submit(same[i % 3].get_or_compute, b"key", slow) for i in range(threads)
    ]
    with ThreadPoolExecutor(1) as loop:
        answers = loop.submit(asyncio.run, ask())
        assert slow.begun.wait(WAIT)
        until(lambda: waiting(db, min(threads, 40) + coroutines - 1))
        slow.go.set()
        values = answers.result(WAIT) + [each.result(WAIT) for each in asked]
    assert values == [b"value"] * 1000
    assert slow.count == 1
    assert nothing_flies(db)


def test_namespaces_and_keys_are_computed_apart(
    db: lsmkv.DB, pool: ThreadPoolExecutor
) -> None:
    slow = Slow(b"value")
    spaces: list[Space] = [db, db.namespace("a"), db.namespace("b")]
    asked = [
        pool.submit(space.get_or_compute, key, slow)
        for space in spaces
        for key in (b"1", b"2")
    ]
    until(lambda: slow.count == 6)
    slow.go.set()
    assert [each.result(WAIT) for each in asked] == [b"value"] * 6


def test_a_stale_value_is_returned_at_once_and_refreshed_once(
    space: Space, db: lsmkv.DB, pool: ThreadPoolExecutor
) -> None:
    put_stale(space)
    slow = Slow(b"new")

    def ask() -> bytes:
        return space.get_or_compute(b"key", slow, ttl=1000, stale=1000)

    asked = [pool.submit(ask) for _ in range(200)]
    assert {each.result(WAIT) for each in asked} == {b"old"}
    assert slow.begun.wait(WAIT)
    slow.go.set()
    until(lambda: space.get(b"key") == b"new")
    assert ask() == b"new"
    assert slow.count == 1
    assert nothing_flies(db)


def test_a_stale_value_is_refreshed_by_a_task(space: Space, db: lsmkv.DB) -> None:
    put_stale(space)
    slow = Slow(b"new")

    async def ask() -> None:
        values = await asyncio.gather(
            *[
                space.aget_or_compute(b"key", slow.call, ttl=1000, stale=1000)
                for _ in range(200)
            ]
        )
        assert set(values) == {b"old"}
        slow.go.set()
        while space.get(b"key") != b"new":
            await asyncio.sleep(0.002)

    asyncio.run(asyncio.wait_for(ask(), WAIT))
    assert slow.count == 1
    assert nothing_flies(db)


def test_nothing_is_returned_past_its_times(space: Space) -> None:
    def ask(stale: float) -> bytes:
        return space.get_or_compute(b"key", lambda: b"new", ttl=1000, stale=stale)

    put_stale(space)
    time.sleep(0.01)
    assert ask(0) == b"new"  # the caller's limit
    put_stale(space)
    time.sleep(0.01)
    assert ask(0.005) == b"new"
    space.delete(b"key")
    space.get_or_compute(b"key", lambda: b"old", ttl=0.01, stale=0.02)
    time.sleep(0.04)
    assert ask(1000) == b"new"  # that of the value
    space.put(b"key", b"old", ttl=0.01)
    time.sleep(0.02)
    assert ask(1000) == b"new"


def test_an_exception_reaches_all_who_wait_and_poisons_nothing(
    space: Space, db: lsmkv.DB, pool: ThreadPoolExecutor
) -> None:
    error = ValueError("no luck")
    slow = Slow(error, b"value")

    async def ask() -> list[Any]:
        return await asyncio.gather(
            *[space.aget_or_compute(b"key", anever) for _ in range(10)],
            return_exceptions=True,
        )

    asked = [pool.submit(space.get_or_compute, b"key", slow)]
    assert slow.begun.wait(WAIT)
    asked += [pool.submit(space.get_or_compute, b"key", never) for _ in range(10)]
    coroutines = pool.submit(asyncio.run, ask())
    until(lambda: waiting(db, 20))
    slow.go.set()
    assert [each.exception(WAIT) for each in asked] == [error] * 11
    assert coroutines.result(WAIT) == [error] * 10
    assert b"key" not in space
    assert space.get_or_compute(b"key", slow) == b"value"
    assert nothing_flies(db)


@pytest.mark.parametrize("wrong", ["text", None, 7], ids=repr)
def test_what_is_no_value_is_refused(space: Space, db: lsmkv.DB, wrong: Any) -> None:
    with pytest.raises(TypeError):
        space.get_or_compute(b"key", lambda: wrong)
    assert nothing_flies(db)
    assert space.get_or_compute(b"key", lambda: bytearray(b"x")) == b"x"


def test_on_error_stale_returns_what_is_left(space: Space, db: lsmkv.DB) -> None:
    def fail() -> bytes:
        raise ValueError("no luck")

    async def afail() -> bytes:
        return fail()

    with pytest.raises(ValueError, match="no luck"):
        space.get_or_compute(b"key", fail, on_error="stale")
    put_stale(space)
    with pytest.raises(ValueError, match="no luck"):
        space.get_or_compute(b"key", fail)
    assert space.get_or_compute(b"key", fail, on_error="stale") == b"old"
    answer = space.aget_or_compute(b"key", afail, on_error="stale")
    assert asyncio.run(answer) == b"old"
    slow = Slow(b"new")
    in_time = space.get_or_compute(b"key", slow, on_error="stale", timeout=0.01)
    assert in_time == b"old"
    slow.go.set()
    until(lambda: nothing_flies(db))


def test_a_refresh_that_fails_is_logged_and_tried_again(
    space: Space, db: lsmkv.DB, caplog: pytest.LogCaptureFixture
) -> None:
    put_stale(space)
    slow = Slow(ValueError("no luck"), ValueError("none again"), b"new")
    slow.go.set()

    async def ask() -> bytes:
        value = await space.aget_or_compute(b"key", slow.call, ttl=9, stale=9)
        while not nothing_flies(db):
            await asyncio.sleep(0.001)
        return value

    assert space.get_or_compute(b"key", slow, ttl=9, stale=9) == b"old"
    until(lambda: nothing_flies(db) and "no luck" in caplog.text)
    assert asyncio.run(ask()) == b"old"
    assert "none again" in caplog.text
    assert space.get_or_compute(b"key", slow, ttl=9, stale=9) == b"old"
    until(lambda: space.get(b"key") == b"new")


def put_for_a_moment(space: Space) -> None:
    space.put(b"key", b"put", ttl=0.001)
    until(lambda: b"key" not in space)


CAME: dict[str, tuple[Callable[[Space], object], bytes | None]] = {
    "put": (lambda space: space.put(b"key", b"put"), b"put"),
    "delete": (lambda space: space.delete(b"key"), None),
    "delete_range": (lambda space: space.delete_range(b"a", b"z"), None),
    "put and delete": (
        lambda space: [space.put(b"key", b"put"), space.delete(b"key")],
        None,
    ),
    "expired": (lambda space: put_for_a_moment(space), None),
}


@pytest.mark.parametrize("before", ["absent", "stale"])
@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("what", CAME)
def test_what_comes_while_a_value_is_computed_wins(
    space: Space, db: lsmkv.DB, what: str, compact: bool, before: str
) -> None:
    come, left = CAME[what]
    if before == "stale":
        put_stale(space)
        db.compact()

    def compute() -> bytes:
        come(space)
        if compact:
            db.flush()
            db.compact()
            db.settle()
        return b"computed"

    assert space.get_or_compute(b"key", compute, ttl=1000) == b"computed"
    assert space.get(b"key") == left
    space.delete(b"key")
    many = space.get_or_compute_many([b"key"], lambda keys: [compute()])
    assert many == [b"computed"]
    assert space.get(b"key") == left


def test_what_comes_to_other_keys_does_not_matter(space: Space, db: lsmkv.DB) -> None:
    other = db.namespace("other")

    def compute() -> bytes:
        space.put(b"kez", b"put")
        space.delete_range(b"key\0", b"z")
        other.delete(b"key")
        return b"computed"

    assert space.get_or_compute(b"key", compute) == b"computed"
    assert space.get(b"key") == b"computed"


def test_a_delete_is_never_followed_by_what_was_computed_before_it(
    space: Space, db: lsmkv.DB, pool: ThreadPoolExecutor
) -> None:
    slow = Slow(b"before", b"after")
    first = pool.submit(space.get_or_compute, b"key", slow)
    assert slow.begun.wait(WAIT)
    space.delete(b"key")
    others = [pool.submit(space.get_or_compute, b"key", slow) for _ in range(10)]
    until(lambda: waiting(db, 10))
    slow.go.set()
    assert first.result(WAIT) == b"before"
    assert {each.result(WAIT) for each in others} == {b"after"}
    assert slow.count == 2
    assert space.get(b"key") == b"after"


def test_many_computes_what_is_missing_in_one_call(space: Space) -> None:
    calls: list[list[bytes]] = []

    def compute(keys: list[bytes]) -> list[bytes]:
        calls.append(keys)
        return [key.upper() for key in keys]

    def ask(keys: list[bytes], **how: Any) -> list[bytes]:
        return space.get_or_compute_many(keys, compute, **how)

    space.put(b"b", b"there")
    assert ask([b"a", b"b", b"c", b"a"], ttl=1000) == [b"A", b"there", b"C", b"A"]
    assert calls == [[b"a", b"c"]]
    assert ask([b"c", b"a"]) == [b"C", b"A"]
    assert ask([]) == []
    assert len(calls) == 1
    assert 900 < (space.ttl(b"a") or 0) <= 1000
    for key in (b"x", b"y"):
        put_stale(space, key)
    answers = ask([b"x", b"new", b"y"], ttl=1000, stale=1000)
    assert answers == [b"old", b"NEW", b"old"]
    until(lambda: space.get_many([b"x", b"y"]) == [b"X", b"Y"])
    assert sorted(calls[1:]) == [[b"new"], [b"x", b"y"]]


def test_many_waits_for_what_others_compute(
    space: Space, db: lsmkv.DB, pool: ThreadPoolExecutor
) -> None:
    slow = Slow(b"slow")
    first = pool.submit(space.get_or_compute, b"b", slow)
    assert slow.begun.wait(WAIT)
    calls: list[list[bytes]] = []

    def compute(keys: list[bytes]) -> list[bytes]:
        calls.append(keys)
        return [b"many"] * len(keys)

    many = pool.submit(space.get_or_compute_many, [b"a", b"b", b"c"], compute)
    until(lambda: waiting(db, 1))
    assert space.get_many([b"a", b"b", b"c"]) == [b"many", None, b"many"]
    slow.go.set()
    assert many.result(WAIT) == [b"many", b"slow", b"many"]
    assert first.result(WAIT) == b"slow"
    assert calls == [[b"a", b"c"]]


def test_batches_of_the_same_keys_compute_each_once(
    space: Space, pool: ThreadPoolExecutor
) -> None:
    keys = [b"%d" % i for i in range(60)]
    seen: Counter[bytes] = Counter()
    lock = threading.Lock()

    def compute(missing: list[bytes]) -> list[bytes]:
        with lock:
            seen.update(missing)
        time.sleep(0.005)
        return missing

    def ask(start: int) -> None:
        mine = [keys[(start * 7 + i) % 60] for i in range(30)]
        assert space.get_or_compute_many(mine[::-1], compute) == mine[::-1]

    for each in [pool.submit(ask, i) for i in range(40)]:
        each.result(WAIT)
    assert set(seen.values()) == {1}


def test_many_tells_every_one_of_an_exception(
    space: Space, db: lsmkv.DB, pool: ThreadPoolExecutor
) -> None:
    begun, go = threading.Event(), threading.Event()

    def fail(keys: list[bytes]) -> list[bytes]:
        begun.set()
        go.wait(WAIT)
        raise ValueError("no luck")

    first = pool.submit(space.get_or_compute_many, [b"a", b"b"], fail)
    assert begun.wait(WAIT)
    second = pool.submit(space.get_or_compute, b"b", never)
    until(lambda: waiting(db, 1))
    go.set()
    for each in (first, second):
        with pytest.raises(ValueError, match="no luck"):
            each.result(WAIT)
    with pytest.raises(lsmkv.InvalidArgumentError, match="1 values for 2 keys"):
        space.get_or_compute_many([b"a", b"b"], lambda keys: [b""])
    wrong: Any = [b"", None]
    with pytest.raises(TypeError):
        space.get_or_compute_many([b"a", b"b"], lambda keys: wrong)
    assert space.get(b"a") == b""  # it was a value
    assert nothing_flies(db)


WRONG: list[dict[str, Any]] = [
    {"ttl": 0},
    {"ttl": -1},
    {"stale": -1},
    {"stale": float("nan")},
    {"stale": 1e300},
    {"on_error": "ignore"},
    {"timeout": -1},
    {"timeout": float("nan")},
]


@pytest.mark.parametrize("how", WRONG, ids=repr)
def test_arguments_out_of_range_are_refused(space: Space, how: dict[str, Any]) -> None:
    with pytest.raises(lsmkv.InvalidArgumentError):
        space.get_or_compute(b"key", never, **how)
    with pytest.raises(lsmkv.InvalidArgumentError):
        asyncio.run(space.aget_or_compute(b"key", anever, **how))
    if how.keys() <= {"ttl", "stale"}:
        with pytest.raises(lsmkv.InvalidArgumentError):
            space.get_or_compute_many([b"key"], lambda keys: [], **how)
    for wrong in ("1", None, True):
        with pytest.raises(TypeError):
            space.get_or_compute(b"key", never, stale=wrong)  # type: ignore[arg-type]


def test_what_happened_is_counted(
    space: Space, db: lsmkv.DB, pool: ThreadPoolExecutor
) -> None:
    name = space.name if isinstance(space, lsmkv.Namespace) else ""

    def counts() -> Counter[str]:
        return Counter(_namespace.stats(db)[name])

    before = counts()
    slow = Slow(b"value")
    asked = [pool.submit(space.get_or_compute, b"key", slow) for _ in range(10)]
    until(lambda: waiting(db, 9))
    slow.go.set()
    for each in asked:
        each.result(WAIT)
    space.get_or_compute(b"key", never)
    seen = counts() - before
    assert seen == Counter(
        hits=1, misses=10, computed=1, coalesced=9, read_bytes=len(b"value")
    )
    put_stale(space)
    before = counts()
    assert space.get_or_compute(b"key", lambda: b"new", stale=1000) == b"old"
    until(lambda: nothing_flies(db))
    seen = counts() - before
    assert (seen["hits"], seen["stale_hits"], seen["computed"]) == (1, 1, 1)


def test_what_a_cache_has_given_up_is_computed_again(db: lsmkv.DB) -> None:
    cache = db.namespace("cache", max_bytes=4 << 20)
    calls: Counter[int] = Counter()

    def ask(number: int) -> bytes:
        def compute() -> bytes:
            calls[number] += 1
            return b"%08d" % number * 2000

        return cache.get_or_compute(b"%d" % number, compute, ttl=1000, stale=10)

    for number in [*range(600), *range(600)]:
        assert ask(number) == b"%08d" % number * 2000
    assert min(calls.values()) >= 1
    assert max(calls.values()) == 2
