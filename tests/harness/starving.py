# SPDX-License-Identifier: Apache-2.0
"""Calls of the public interface, each to be made while memory is wanting.

A case says how to bring about the state before a call, how to make the call, and how to
look at the state behind it. A call that needs its state anew, whether it failed or not,
is given it by `reset`.
"""

from __future__ import annotations

import functools
import pickle
import shutil
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import lsmkv
from lsmkv.aio.handles import AsyncDB

WAIT = 60  # seconds
FIRST_CHUNK_ROWS = 16  # of a scan
LARGE = bytes(range(256)) * 20
OPTIONS = lsmkv.Options(
    memory_bytes=1 << 20,
    memtable_bytes=1 << 16,
    blob_threshold_bytes=2000,
    compression="zstd",
)
ROWS = {b"row%03d" % i: b"%d" % i * (i % 40) for i in range(200)} | {
    b"row%03dx" % i: LARGE for i in range(0, 200, 40)
}
FOREIGN = (
    "error return without exception set",
    "returned NULL without setting an exception",
    "can't allocate lock",
    "can't start new thread",
    "cannot start a background thread",  # for the C library wants memory for it
    "has dtype int64: expected float32",  # NumPy takes a buffer for a list
    "import of module 'lsmkv.db' failed",
)
VECTORS = np.arange(60, dtype=np.float32).reshape(20, 3)


def nothing() -> None:
    """Do nothing."""


def same(answer: Any) -> Any:
    """Return the answer as it is."""
    return answer


@dataclass(frozen=True, slots=True)
class Case:
    """A call, and what is to be seen of it.

    Attributes:
        name: Of the call.
        call: Makes it; what it returns is compared as `shape` has it.
        reset: Brings about the state before it.
        state: What the call may change: as it was, or as it is behind a whole call.
        shape: Turns an answer into what can be compared, and closes it.
        retries: Made once more after a failure, it gives the same answer.
        foreign: It runs code of NumPy, or of the standard library in Python, which
            under CPython 3.11 may forget to say which exception they raise, or find
            other words for a lack of memory.
    """

    name: str
    call: Callable[[], Any]
    reset: Callable[[], Any] = nothing
    state: Callable[[], Any] = nothing
    shape: Callable[[Any], Any] = same
    retries: bool = False
    foreign: bool = False

    def allows(self, error: Exception) -> bool:
        """Tell whether others than lsmkv have made this of a lack of memory."""
        return self.foreign and str(error).endswith(FOREIGN)


class World:
    """A database that all cases share, and what they borrow."""

    def __init__(self, directory: Path) -> None:
        """Make the database."""
        self.directory = directory
        self.path = directory / "db"
        self.db = lsmkv.open(self.path, options=OPTIONS)
        self.buffers: list[bytearray] = []
        self.db.put_many(ROWS)
        self.space = self.db.namespace("space")
        self.space.put_many(ROWS)
        self.rows = self.db.vectors("rows", dim=3)
        self.rows.put_many(range(20), VECTORS)
        self.db.compact()
        for i in range(3):
            self.space.append(b"long", b"%d" % i)
        publish(self.db, "1")
        self.db.put(b"fresh", b"value", ttl=1000)

    def lend(self, data: bytes) -> bytearray:
        """Return a buffer that must not be held when a call has ended."""
        self.buffers.append(bytearray(data))
        return self.buffers[-1]

    def check(self) -> None:
        """Assert that nothing is held, and that it writes and reads."""
        for buffer in self.buffers:
            buffer.append(0)  # BufferError: somebody has it still
            buffer.pop()
        self.db.put(b"check", b"value")
        assert self.db[b"check"] == b"value"
        end = time.monotonic() + WAIT
        while self.db._flights is not None and self.db._flights._flying:
            assert time.monotonic() < end  # a thread may still be computing
            time.sleep(0)
        assert self.db.stats().snapshot_count == 0
        assert not any(lock.locked() for lock in self.db._list_locks._locks)

    def check_all(self) -> None:
        """Assert that it is whole, and that it can be closed and opened."""
        report = self.db.verify()
        assert report.ok, report.problems
        rows = dict(self.db.items(prefix=b"row"))
        assert rows == ROWS
        assert dict(self.space.items(prefix=b"row")) == ROWS


def publish(db: lsmkv.DB, version: str) -> None:
    """Publish a version of all the rows."""
    with db.publish("data", version=version) as publisher:
        publisher.put_many(ROWS)


def now(answer: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that has to wait for nothing."""
    try:
        answer.send(None)
    except StopIteration as end:
        return end.value
    finally:
        answer.close()
    raise AssertionError("it waits")


def look(report: lsmkv.Report) -> Any:
    """Return what a report says of the whole."""
    return report.ok, report.problems


def reads(w: World) -> Iterator[Case]:
    """Look up keys."""
    db, key, absent = w.db, w.lend(b"row123"), w.lend(b"absent")
    large, out = w.lend(b"row040x"), w.lend(bytes(len(LARGE)))
    keys: list[Any] = [key, absent, large, b"fresh"]
    yield Case("get", lambda: db.get(key))
    yield Case("get, large", lambda: db.get(large))
    yield Case("get, absent", lambda: db.get(absent, b"none"))
    yield Case("db[key]", lambda: db[key])
    yield Case("key in db", lambda: (key in db, absent in db))
    yield Case("get_many", lambda: db.get_many(keys, b"none"))
    blank = bytes(len(out))
    yield Case(
        "get_into",
        lambda: db.get_into(large, out),
        lambda: out.__setitem__(slice(None), blank),
        lambda: bytes(out),
    )
    yield Case("get_view", lambda: db.get_view(large), shape=bytes)
    yield Case("ttl", lambda: db.ttl(key))
    yield Case("approximate_count", lambda: db.approximate_count(key, b"row9"))
    yield Case("namespace, get", lambda: w.space.get(key))
    yield Case("warm", lambda: w.space.warm(key, progress=lambda *_: None), shape=type)


def all_of(make: Callable[[], Any]) -> Callable[[], list[Any]]:
    """Return what lists all that an iterator gives."""
    return lambda: list(make())


def scans(w: World) -> Iterator[Case]:
    """Iterate."""
    db, start, prefix = w.db, w.lend(b"row050"), w.lend(b"row1")
    for name in ("items", "keys", "values"):
        for reverse in (False, True):
            make = functools.partial(getattr(db, name), start=start, reverse=reverse)
            yield Case(f"{name}, reverse={reverse}", all_of(make))
    yield Case("items, prefix", lambda: list(db.items(prefix=prefix)))
    for name in ("items", "keys", "values"):
        for passed in (1, FIRST_CHUNK_ROWS):
            yield scan_step(w, name, passed)


def scan_step(w: World, name: str, passed: int) -> Case:
    """Take one row: after a failure the same one comes next."""
    scan: list[Any] = []

    def begin() -> None:
        scan[:] = [getattr(w.space, name)()]
        for _ in range(passed):
            next(scan[0])

    return Case(f"next(), {name}", lambda: next(scan[0]), begin, retries=True)


def writes(w: World) -> Iterator[Case]:
    """Write single keys."""
    db, key, value = w.db, w.lend(b"key"), w.lend(b"value")

    def without() -> None:
        db.delete(b"key")

    def with_it() -> None:
        db.put(b"key", b"old")

    def state() -> Any:
        left = db.ttl(b"key") if b"key" in db else None
        return db.get(b"key"), left is not None

    yield Case("put", lambda: db.put(key, value), with_it, state)
    yield Case("put, sync", lambda: db.put(key, value, sync=True), with_it, state)
    yield Case("put, large", lambda: db.put(key, LARGE), with_it, state)
    timed: Any = {"ttl": 1000, "stale": 10.5}
    yield Case("put, ttl", lambda: db.put(key, value, **timed), with_it, state)
    yield Case("db[key] =", lambda: db.__setitem__(key, value), without, state)
    yield Case("delete", lambda: db.delete(key), with_it, state)
    yield Case("del db[key]", lambda: db.__delitem__(key), with_it, state)
    yield Case("touch", lambda: db.touch(key, 1000), with_it, state)


def batches(w: World) -> Iterator[Case]:
    """Write several keys at once."""
    db, key, value = w.db, w.lend(b"batch1"), w.lend(b"value")

    def reset() -> None:
        db.put_many({b"batch1": b"old", b"batch3": LARGE})
        db.delete(b"batch2")
        w.space.delete(b"batch1")

    def state() -> Any:
        return dict(db.items(prefix=b"batch")), w.space.get(b"batch1")

    def block() -> None:
        with db.write_batch() as batch:
            batch.put(key, value, ttl=1000)
            batch.delete(b"batch3")
            batch.put(key, LARGE, namespace=w.space)
            batch.delete_range(b"batch0", key)

    pairs: Any = {b"batch1": value, b"batch2": LARGE}
    keys: list[Any] = [key, b"batch3"]
    yield Case("put_many", lambda: db.put_many(pairs), reset, state)
    yield Case("delete_many", lambda: db.delete_many(keys), reset, state)
    yield Case("delete_range", lambda: db.delete_range(key, b"bc"), reset, state)
    yield Case("write_batch", block, reset, state)


def snapshots(w: World) -> Iterator[Case]:
    """Read from snapshots."""

    def read() -> Any:
        with w.db.snapshot() as snapshot:
            space = snapshot.namespace("space")
            keys = [b"row050", b"none"]
            return snapshot.get(b"row040x"), space.get_many(keys), list(space.keys())

    def read_space() -> Any:
        with w.space.snapshot() as snapshot:
            return snapshot[b"row001"], b"row002" in snapshot

    yield Case("snapshot", read)
    yield Case("snapshot of a namespace", read_space)


def namespaces(w: World) -> Iterator[Case]:
    """Make, alter, drop and list namespaces."""
    db = w.db

    def without() -> None:
        db.drop_namespace("new")

    def with_it() -> None:
        without()
        db.namespace("new", default_ttl=5).put(b"key", b"value")

    def state() -> Any:
        return db.namespaces()

    def make() -> Any:
        return db.namespace("new", compression="none", default_ttl=7)

    def alter() -> Any:
        return db.namespace("new", alter=True, default_ttl=9)

    yield Case("namespace", make, without, state, type)
    yield Case("namespace, alter", alter, with_it, state, type)
    yield Case("drop_namespace", lambda: db.drop_namespace("new"), with_it, state)
    yield Case("namespaces", db.namespaces)


def caches(w: World) -> Iterator[Case]:
    """Use a namespace with a cap."""
    cache = w.db.namespace("cache", max_bytes=1 << 20)
    key = w.lend(b"key")

    def reset() -> None:
        cache.unpin([b"key"])
        cache.put(b"key", b"old")

    def state() -> Any:
        return cache.get(b"key"), cache.cache_stats().pinned_bytes > 0

    yield Case("cache, put", lambda: cache.put(key, LARGE), reset, state)
    yield Case("cache, pin", lambda: cache.pin([key]), reset, state)
    yield Case("cache, unpin", lambda: cache.unpin([key]), reset, state)
    yield Case("cache_stats", cache.cache_stats, shape=type)


def vectors(w: World) -> Iterator[Case]:
    """Write and read arrays."""
    rows, ids = w.rows, np.arange(30, 40, dtype=np.uint64)
    few = VECTORS[:10]

    def reset() -> None:
        rows.delete_many(ids)

    def state() -> Any:
        found, there = rows.gather(ids, missing="zero")
        return found.tolist(), there.tolist()

    def gather(out: Any = None) -> Any:
        return rows.gather([3, 99, 1], out=out, missing="zero")

    def as_lists(answer: Any) -> Any:
        return [each.tolist() for each in answer]

    def items() -> Any:
        return [(keys, rows.tolist()) for keys, rows in rows.items(chunk=7)]

    out = np.zeros((3, 3), np.float32)
    schema: Any = {"dim": 3, "metric": "dot"}
    yield Case("vectors", lambda: w.db.vectors("rows", dim=3).schema, foreign=True)
    yield Case("vectors, new", lambda: w.db.vectors("more", **schema).schema)
    yield Case(
        "put_many of rows", lambda: rows.put_many(ids, few), reset, state, foreign=True
    )
    yield Case("gather", gather, shape=as_lists, foreign=True)
    yield Case("gather, out", lambda: gather(out), shape=as_lists, foreign=True)
    yield Case(
        "get of a row", lambda: rows.get(7), shape=np.ndarray.tolist, foreign=True
    )
    yield Case("items of rows", items, foreign=True)


def lists(w: World) -> Iterator[Case]:
    """Append to lists and read their ends."""
    space, key, item = w.space, w.lend(b"list"), w.lend(b"item")

    def reset() -> None:
        space.delete_list(b"list")
        space.append(b"list", b"first", ttl=500)

    def state() -> Any:
        return space.tail(b"list"), space.list_length(b"list")

    yield Case("append", lambda: space.append(key, item), reset, state)
    yield Case("append, ttl", lambda: space.append(key, item, ttl=900), reset, state)
    yield Case("tail", lambda: space.tail(b"long", 2))
    yield Case("list_length", lambda: space.list_length(b"long"))
    yield Case("delete_list", lambda: space.delete_list(key), reset, state)


def computed(w: World) -> Iterator[Case]:
    """Compute what is missing."""
    space, key, many = w.space, w.lend(b"computed"), [b"computed", b"row001", b"other"]

    def reset() -> None:
        space.delete_many([b"computed", b"other"])

    def state() -> Any:
        return space.get(b"computed")

    def all_of(keys: list[bytes]) -> list[bytes]:
        return [b"<" + key + b">" for key in keys]

    async def value() -> bytes:
        return b"value"

    @space.memoize(ttl=1000)
    def double(number: int) -> list[int]:
        return [number, 2 * number]

    yield Case(
        "get_or_compute",
        lambda: space.get_or_compute(key, lambda: b"value", ttl=1000),
        reset,
        state,
        foreign=True,
    )
    yield Case(
        "get_or_compute_many",
        lambda: space.get_or_compute_many(many, all_of),
        reset,
        foreign=True,
    )
    yield Case(
        "aget_or_compute",
        lambda: now(space.aget_or_compute(key, value, ttl=1000)),
        reset,
        state,
        foreign=True,
    )
    yield Case("memoize", lambda: double(21), lambda: double.forget(21), foreign=True)


def published(w: World) -> Iterator[Case]:
    """Publish versions and switch between them."""
    db = w.db

    def reset() -> None:
        db.rollback("data", "1")
        db.release("data", "2")

    def with_it() -> None:
        reset()
        publish(db, "2")
        db.rollback("data", "1")

    def state() -> Any:
        return [(each.version, each.current) for each in db.versions()]

    def publish_rows() -> None:
        with db.publish("data", version="2", dim=3) as publisher:
            publisher.put_many(np.arange(20), VECTORS)

    yield Case("publish", lambda: publish(db, "2"), reset, state)
    yield Case("publish, rows", publish_rows, reset, state, foreign=True)
    yield Case("rollback", lambda: db.rollback("data", "2"), with_it, state)
    yield Case("release", lambda: db.release("data", "2"), with_it, state)
    yield Case("versions", lambda: db.versions("data"))
    yield Case("published", lambda: list(db.published("data").items()))


def whole(w: World) -> Iterator[Case]:
    """Ask of, and do to, a whole database."""
    db, copy = w.db, str(w.directory / "copy")

    def remove() -> None:
        shutil.rmtree(copy, ignore_errors=True)

    def write_some() -> None:
        db.put_many({b"some%d" % i: LARGE[: i * 9] for i in range(100)})

    def read_copy(answer: object) -> Any:
        with lsmkv.open(copy, mode="r") as found:
            return answer is not None, dict(found.items(prefix=b"row")) == ROWS

    yield Case("stats", db.stats, shape=type)
    yield Case("prometheus", lambda: db.stats().prometheus(), shape=type)
    yield Case("memory", db.memory, shape=type)
    yield Case("options", lambda: db.options)
    yield Case("sync", db.sync, write_some)
    yield Case("flush", db.flush, write_some)
    yield Case("compact", db.compact, write_some)
    yield Case("compact, range", lambda: db.compact(b"s", b"t"), write_some)
    yield Case("settle", db.settle)
    yield Case("resume", db.resume)
    yield Case("verify", db.verify, shape=look)
    yield Case("checkpoint", lambda: db.checkpoint(copy), remove, shape=read_copy)


def mappings(w: World) -> Iterator[Case]:
    """Use the keyspace as a mapping."""
    db, space = w.db, w.db.namespace("mapping")
    mapping: Any = space.mapping()

    def reset() -> None:
        mapping.clear()
        mapping.update({b"a": b"1", b"b": b"2"})

    def add() -> Any:
        return mapping.setdefault(b"c", b"3")

    yield Case("len()", lambda: len(mapping), reset, foreign=True)
    yield Case("setdefault", add, reset, lambda: dict(mapping), foreign=True)
    yield Case(
        "pop", lambda: mapping.pop(b"a"), reset, lambda: dict(mapping), foreign=True
    )
    yield Case(
        "views",
        lambda: (list(mapping.items()), list(reversed(mapping))),
        reset,
        foreign=True,
    )
    yield Case(
        "mapping ==", lambda: mapping == {b"a": b"1", b"b": b"2"}, reset, foreign=True
    )
    yield Case("pickle", lambda: pickle.dumps(db), shape=type, foreign=True)


def asynchronous(w: World) -> Iterator[Case]:
    """Use the face for event loops, as far as it need not wait."""
    db = AsyncDB(w.db, owns=False)
    key, value = w.lend(b"key"), w.lend(b"value")

    def reset() -> None:
        w.db.put(b"key", b"old")

    def state() -> Any:
        return w.db.get(b"key")

    yield Case("aio, get", lambda: now(db.get(key)), reset)
    yield Case("aio, get_many", lambda: now(db.get_many([key, b"none"])), reset)
    yield Case("aio, contains", lambda: now(db.contains(key)), reset)
    yield Case("aio, put", lambda: now(db.put(key, value)), reset, state)
    yield Case("aio, delete", lambda: now(db.delete(key)), reset, state)


def read_opened(db: lsmkv.DB) -> Any:
    """Close it, and return whether it held what `openings` puts there."""
    with db:
        return dict(db.items()) == ROWS | {b"tail": b"value"}


def openings(w: World) -> Iterator[Case]:
    """Open, close, refresh, repair and destroy, with databases of their own."""
    # Text: for paths of pathlib, os.fspath() of CPython has a TypeError instead.
    path, other = str(w.directory / "opened"), str(w.directory / "other")
    hold: list[lsmkv.DB] = []

    def fill() -> None:
        drop()
        shutil.rmtree(path, ignore_errors=True)
        with lsmkv.open(path, options=OPTIONS) as db:
            db.put_many(ROWS)
            db.namespace("space").put(b"key", LARGE)
            db.flush()
            db.put(b"tail", b"value")

    def drop() -> None:
        while hold:
            hold.pop().close()

    def end(db: lsmkv.DB) -> Any:
        with db:
            return db.options

    def begin() -> None:
        drop()
        hold.append(lsmkv.open(path))

    def follow() -> None:
        begin()
        hold[0].delete(b"followed")
        hold.append(lsmkv.open(path, mode="follower"))
        hold[0].put(b"followed", b"value")

    def follow_state() -> Any:
        return hold[1].get(b"followed") if len(hold) > 1 else None

    def clear() -> None:
        drop()
        shutil.rmtree(other, ignore_errors=True)

    def empty() -> None:
        clear()
        shutil.copytree(path, other)

    def state() -> Any:
        with lsmkv.open(path, mode="r") as db:
            return len(dict(db.items()))

    fill()
    data = pickle.dumps(lsmkv.open(path, mode="r"))
    yield Case("open", lambda: lsmkv.open(path), drop, shape=read_opened, foreign=True)
    yield Case(
        "open, new",
        lambda: lsmkv.open(other, options=OPTIONS),
        clear,
        shape=end,
        foreign=True,
    )
    for mode in ("r", "follower"):
        call = lambda how=mode: lsmkv.open(path, mode=how)  # noqa: E731
        yield Case(f"open, {mode}", call, shape=read_opened, foreign=True)
    yield Case("unpickle", lambda: pickle.loads(data), shape=read_opened, foreign=True)
    yield Case("refresh", lambda: hold[1].refresh(), follow, follow_state)
    yield Case("close", lambda: hold[0].close(), begin, state)
    yield Case("verify, closed", lambda: lsmkv.verify(path), drop, foreign=True)
    yield Case("repair", lambda: lsmkv.repair(path, other), clear, shape=look)
    yield Case("destroy", lambda: lsmkv.destroy(other), empty)


GROUPS = [
    openings,
    reads,
    scans,
    writes,
    batches,
    snapshots,
    namespaces,
    caches,
    vectors,
    lists,
    computed,
    published,
    whole,
    mappings,
    asynchronous,
]
