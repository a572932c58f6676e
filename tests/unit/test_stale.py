# SPDX-License-Identifier: Apache-2.0
"""Goal: values put by hand stay stale for as long as was said, and no longer.

Method: each method that stores values, with `stale=` and with the default of a
namespace; what plain reads, `get_or_compute` and the entry itself then show.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lsmkv
import lsmkv.aio
from harness.flights import Slow, Space, anever, never, nothing_flies, until
from lsmkv import _compute

TIMES: dict[str, Any] = {"ttl": 0.002, "stale": 1000}


@pytest.fixture(params=["database", "namespace", "cache"])
def space(db: lsmkv.DB, request: pytest.FixtureRequest) -> Space:
    if request.param == "database":
        return db
    max_bytes = 64 << 20 if request.param == "cache" else None
    return db.namespace("space", max_bytes=max_bytes)


def put(space: Space, how: dict[str, Any]) -> None:
    space.put(b"key", b"old", **how)


def put_many(space: Space, how: dict[str, Any]) -> None:
    space.put_many({b"other": b"", b"key": b"old"}, **how)


def put_in_batch(space: Space, how: dict[str, Any]) -> None:
    with space.write_batch() as batch:
        batch.put(b"key", b"old", **how)


def put_in_batch_of_another(space: Space, how: dict[str, Any]) -> None:
    batch = lsmkv.WriteBatch()
    namespace = None if isinstance(space, lsmkv.DB) else space
    batch.put(b"key", b"old", namespace=namespace, **how)
    (space if isinstance(space, lsmkv.DB) else space.db).write(batch)


def put_async(space: Space, how: dict[str, Any]) -> None:
    run_async(space, lambda target: target.put(b"key", b"old", **how))


def put_async_large(space: Space, how: dict[str, Any]) -> None:
    run_async(space, lambda target: target.put(b"key", bytes(100_000), **how))


def put_many_async(space: Space, how: dict[str, Any]) -> None:
    run_async(space, lambda target: target.put_many({b"key": b"old"}, **how))


def run_async(space: Any, call: Callable[[Any], Any]) -> None:
    is_db = isinstance(space, lsmkv.DB)

    async def run() -> None:
        async with lsmkv.aio.wrap(space if is_db else space.db) as adb:
            await call(adb if is_db else await adb.namespace("space"))

    asyncio.run(run())


WAYS = [
    put,
    put_many,
    put_in_batch,
    put_in_batch_of_another,
    put_async,
    put_async_large,
    put_many_async,
]


@pytest.mark.parametrize("way", WAYS)
def test_a_value_put_by_hand_is_stale_for_as_long_as_said(
    space: Space, db: lsmkv.DB, way: Callable[[Space, dict[str, Any]], None]
) -> None:
    way(space, TIMES)
    until(lambda: space.get(b"key") is None)
    stored = _compute.entry(space, b"key")
    assert type(stored) is tuple
    slow = Slow(b"new")
    assert space.get_or_compute(b"key", slow, ttl=1000, stale=1000) == stored[0]
    slow.go.set()
    until(lambda: space.get(b"key") == b"new")
    until(lambda: nothing_flies(db))
    assert slow.count == 1
    way(space, TIMES)
    until(lambda: space.get(b"key") is None)
    assert space.get_or_compute(b"key", lambda: b"new") == b"new"  # the caller's limit


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", [{}, {"stale": 0}, {"stale": lsmkv.DEFAULT}], ids=repr)
def test_without_a_time_behind_its_own_a_value_is_gone(
    space: Space, way: Callable[[Space, dict[str, Any]], None], how: dict[str, Any]
) -> None:
    way(space, {"ttl": 0.002} | how)
    until(lambda: space.get(b"key") is None)
    assert _compute.entry(space, b"key") is None


def test_what_never_expires_is_never_stale(space: Space) -> None:
    space.put(b"key", b"value", ttl=None, stale=5)
    assert space.ttl(b"key") is None
    assert space.get_or_compute(b"key", never, stale=5) == b"value"


@pytest.mark.parametrize("way", WAYS)
def test_a_namespace_may_say_for_how_long(
    db: lsmkv.DB, way: Callable[[Space, dict[str, Any]], None]
) -> None:
    space = db.namespace("space", ttl=0.002, default_stale=1000)
    assert space.options.default_stale == 1000
    way(space, {})
    until(lambda: space.get(b"key") is None)
    stored = _compute.entry(space, b"key")
    assert type(stored) is tuple
    slow = Slow(b"new")
    assert space.get_or_compute(b"key", slow, ttl=1000) == stored[0]
    slow.go.set()
    until(lambda: nothing_flies(db))
    way(space, {"stale": 0})
    until(lambda: space.get(b"key") is None)
    assert _compute.entry(space, b"key") is None


def test_what_is_computed_goes_by_the_namespace_too(db: lsmkv.DB) -> None:
    space = db.namespace("space", ttl=0.002, default_stale=1000)

    async def compute() -> bytes:
        return b"b"

    @space.memoize(key=lambda: b"d")
    def remember() -> str:
        return "d"

    assert space.get_or_compute(b"a", lambda: b"a") == b"a"
    assert asyncio.run(space.aget_or_compute(b"b", compute)) == b"b"
    assert space.get_or_compute_many([b"c"], lambda keys: [b"c"]) == [b"c"]
    assert remember() == "d"
    assert space.get_or_compute(b"e", lambda: b"e", stale=0) == b"e"
    until(lambda: space.get_many([b"a", b"b", b"c", b"d", b"e"]) == [None] * 5)
    kept = [type(_compute.entry(space, key)) for key in (b"a", b"b", b"c", b"d", b"e")]
    assert kept == [tuple] * 4 + [type(None)]
    assert space.get_or_compute(b"e", lambda: b"new", ttl=1000) == b"new"


def test_a_default_lasts_and_changes_only_when_asked_to(path: Path) -> None:
    with lsmkv.open(path) as db:
        db.namespace("space", default_stale=2.5)
    with lsmkv.open(path) as db:
        space = db.namespace("space")
        assert space.options == lsmkv.NamespaceOptions(default_stale=2.5)
        with pytest.raises(lsmkv.InvalidArgumentError):
            db.namespace("space", default_stale=3)
        db.namespace("space", default_stale=None, alter=True)
        assert space.options == lsmkv.NamespaceOptions()


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), 1e13, 10**400])
def test_times_out_of_range_are_refused(db: lsmkv.DB, wrong: Any) -> None:
    for call in (db.put, lsmkv.WriteBatch().put):
        with pytest.raises(lsmkv.InvalidArgumentError, match="stale is"):
            call(b"key", b"value", ttl=1, stale=wrong)
    with pytest.raises(lsmkv.InvalidArgumentError, match="stale is"):
        db.put_many({b"key": b"value"}, stale=wrong)
    with pytest.raises(lsmkv.InvalidArgumentError, match="stale is"):
        db.namespace("space", default_stale=wrong)
    assert list(db) == []
    assert db.namespaces() == {}


@pytest.mark.parametrize("wrong", ["1", None, True])
def test_what_is_no_time_is_refused(db: lsmkv.DB, wrong: Any) -> None:
    with pytest.raises(TypeError, match="stale must be"):
        db.put(b"key", b"value", stale=wrong)
    with pytest.raises(TypeError, match="stale must be"):
        db.get_or_compute(b"key", never, stale=wrong)
    with pytest.raises(TypeError, match="stale must be"):
        asyncio.run(db.aget_or_compute(b"key", anever, stale=wrong))
