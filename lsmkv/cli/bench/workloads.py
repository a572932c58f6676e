# SPDX-License-Identifier: Apache-2.0
"""What is measured: rows of figures, in groups that each have a database of their own.

The data is built outside the clock, and garbage collection is off while it runs.
"""

from __future__ import annotations

import gc
import os
import random
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsmkv.cli.bench.engine import Engine, Get, Item, Settings

BATCH = 1000
WRITER_BATCH = 100
MANY = 256
SEEK_ROWS = 10
THREADS = 16
READERS = 4
COLD_GETS = 1000
CHECKED = 1000

Figures = dict[str, float]
Results = dict[str, Figures]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        title: What is measured.
        unit: Of the figure.
        bars: What lsmkv must reach: engine, or "best" of all others, to a factor; or a
            figure of "its own".
        higher: Whether more is better; then the bar is a least, else a most.
    """

    title: str
    unit: str
    bars: dict[str, float]
    higher: bool = True


ROWS: dict[str, Row] = {
    "fill_sequential": Row(
        "fill, sequential, settled", "rows/s", {"rocksdict": 1.2, "lmdb": 0.8}
    ),
    "fill_random": Row("fill, random, settled", "rows/s", {"best": 2.5}),
    "put_sync": Row("put and sync each", "rows/s", {"best": 0.95}),
    "put_sync_threads": Row(f"the same, {THREADS} threads", "rows/s", {}),
    "get": Row("get, random", "rows/s", {"lmdb": 1.5}),
    "get_missing": Row("get, missing key", "rows/s", {"best": 2.0}),
    "get_many": Row(f"get_many of {MANY}", "rows/s", {"lmdb": 4.0}),
    "scan": Row("scan all rows", "rows/s", {"lmdb": 1.2}),
    "seek": Row(f"seek and {SEEK_ROWS} rows", "seeks/s", {"lmdb": 1.2}),
    "get_writing": Row("get while a thread writes", "rows/s", {"lmdb": 1.2}),
    "hot": Row(
        f"{READERS} threads on one hot key, to a spread of keys", "x", {"its own": 1.0}
    ),
    "held": Row(
        "get of a key overwritten under a snapshot, to others", "x", {"its own": 1.0}
    ),
    "overwrite": Row("overwrite all, random, settled", "rows/s", {"best": 2.5}),
    "disk": Row("bytes on disk", "MB", {"best": 1.0}, higher=False),
    "cold": Row(f"cold open and {COLD_GETS} gets", "ms", {"best": 0.8}, higher=False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is done.

    Attributes:
        keys: Rows of the database.
        memtable_bytes: Of the engines that have one; some tenth of the data.
        reads: Single reads for a figure, and keys of batched ones.
        seeks: Seeks for a figure.
        syncs: Synced puts of a thread.
        seed: Of keys and values.
        value_bytes: Size of a value.
    """

    keys: int
    memtable_bytes: int
    reads: int
    seeks: int
    syncs: int
    seed: int = 1
    value_bytes: int = 100


FULL = Scale(
    keys=1_000_000, memtable_bytes=16 << 20, reads=500_000, seeks=50_000, syncs=2000
)
QUICK = Scale(
    keys=200_000, memtable_bytes=3 << 20, reads=100_000, seeks=10_000, syncs=300
)


class Data:
    """Keys of 16 bytes in random order, and values that do not compress."""

    def __init__(self, scale: Scale) -> None:
        """Make the keys."""
        self.rng, self.value_bytes = random.Random(scale.seed), scale.value_bytes
        numbers = self.rng.sample(range(1 << 60), scale.keys + min(scale.keys, 200_000))
        self.keys = [b"%016x" % number for number in numbers[: scale.keys]]
        self.missing = [b"%016x" % number for number in numbers[scale.keys :]]

    def items(self, keys: Sequence[bytes]) -> list[Item]:
        """Give each key a value."""
        size = self.value_bytes
        pool = self.rng.randbytes(size * len(keys))
        return [(key, pool[i * size : (i + 1) * size]) for i, key in enumerate(keys)]

    def choose(self, count: int) -> list[bytes]:
        """Return random keys, as objects that nobody has hashed or touched lately."""
        return [bytes(bytearray(key)) for key in self.rng.choices(self.keys, k=count)]


def batches(items: Sequence[Item], size: int = BATCH) -> list[Sequence[Item]]:
    """Cut items into batches."""
    return [items[start : start + size] for start in range(0, len(items), size)]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the garbage collector out."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def rate(count: int, work: Callable[[], float | None]) -> Figures:
    """Time work; it returns seconds that do not count, or nothing."""
    with quiet():
        started = time.perf_counter()
        idle = work() or 0.0
        seconds = time.perf_counter() - started - idle
    return {"value": count / seconds}


def latencies(call: Callable[..., object], arguments: Sequence[Any]) -> Figures:
    """Time calls one by one: microseconds."""
    clock = time.perf_counter_ns
    samples = []
    with quiet():
        for argument in arguments:
            started = clock()
            call(argument)
            samples.append(clock() - started)
    samples.sort()
    shares = {"p50_us": 0.5, "p99_us": 0.99, "p999_us": 0.999}
    return {
        name: samples[int(share * (len(samples) - 1))] / 1e3
        for name, share in shares.items()
    }


def loop(call: Get, keys: Sequence[bytes]) -> None:
    """Call it with every key."""
    for key in keys:
        call(key)


def fill(
    write: Callable[[Sequence[Item]], None], items: Sequence[Item], engine: Engine
) -> Figures:
    """Write items in batches, and finish the work."""
    cut = batches(items)

    def work() -> float:
        for batch in cut:
            write(batch)
        return engine.settle()

    return rate(len(items), work)


def check(engine: Engine, items: Sequence[Item], rng: random.Random) -> None:
    """Fail where an engine does not hold what it was given."""
    get = engine.getter()
    sample = rng.sample(items, min(CHECKED, len(items)))
    values = [value for _, value in sample]
    found = list(engine.get_many([key for key, _ in sample]))
    if engine.many_gives_pairs:
        found = [value for _, value in found]
    if [get(key) for key, _ in sample] != values or found != values:
        raise SystemExit(f"{engine.package} does not hold what was written")


def measure_fill(kind: type[Engine], path: Path, scale: Scale) -> Results:
    """Write ascending keys into an empty database."""
    data = Data(scale)
    items = data.items([b"%016d" % number for number in range(scale.keys)])
    engine = kind(Settings(path, scale.memtable_bytes))
    figures = fill(engine.append, items, engine)
    check(engine, items, data.rng)
    engine.close()
    return {"fill_sequential": figures}


def measure_sync(kind: type[Engine], path: Path, scale: Scale) -> Results:
    """Write single rows, each on the device before the next."""
    data = Data(scale)
    engine = kind(Settings(path, scale.memtable_bytes, sync=True))
    items = data.items(data.keys[: scale.syncs * (THREADS + 1)])
    alone, shared = items[: scale.syncs], items[scale.syncs :]

    def put_all(rows: Sequence[Item]) -> None:
        put = engine.put
        for key, value in rows:
            put(key, value)

    def put_in_threads() -> None:
        shares = [shared[number::THREADS] for number in range(THREADS)]
        threads = [threading.Thread(target=put_all, args=[rows]) for rows in shares]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    results = {
        "put_sync": rate(len(alone), lambda: put_all(alone)),
        "put_sync_threads": rate(len(shared), put_in_threads),
    }
    check(engine, items, data.rng)
    engine.close()
    return results


def measure_main(kind: type[Engine], path: Path, scale: Scale) -> Results:
    """Fill with random keys, read in every way, overwrite."""
    data = Data(scale)
    items = data.items(data.keys)
    engine = kind(Settings(path, scale.memtable_bytes))
    results = {"fill_random": fill(engine.write, items, engine)}
    check(engine, items, data.rng)
    results |= measure_reads(engine, data, scale)
    results["get_writing"] = measure_while_writing(engine, data, scale)
    engine.settle()
    again = data.items(data.rng.sample(data.keys, len(data.keys)))
    results["overwrite"] = fill(engine.write, again, engine)
    check(engine, again, data.rng)
    engine.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    results["disk"] = {"value": disk_bytes(path) / 1e6, "peak_rss_mb": peak}
    return results


def measure_reads(engine: Engine, data: Data, scale: Scale) -> Results:
    """Read what is in memory, by one pass over all of it beforehand."""
    results: Results = {}
    get = engine.getter()
    loop(get, data.keys)
    chosen = data.choose(scale.reads)
    results["get"] = rate(len(chosen), lambda: loop(get, chosen))
    results["get"] |= latencies(get, data.choose(scale.reads // 5))
    missing = data.missing[: scale.reads]
    results["get_missing"] = rate(len(missing), lambda: loop(get, missing))
    chosen = data.choose(scale.reads)
    lists = [chosen[start : start + MANY] for start in range(0, len(chosen), MANY)]

    def read_many() -> None:
        for keys in lists:
            engine.get_many(keys)

    read_many()
    results["get_many"] = rate(len(chosen), read_many)
    results["get_many"] |= latencies(engine.get_many, lists)
    engine.scan()
    counted: list[int] = []
    results["scan"] = rate(len(data.keys), lambda: counted.append(engine.scan()))
    if counted != [len(data.keys)]:
        raise SystemExit(f"{engine.package} scans {counted[0]} rows")
    starts = data.choose(scale.seeks)

    def seek_all() -> None:
        for key in starts:
            engine.seek(key, SEEK_ROWS)

    results["seek"] = rate(len(starts), seek_all)
    return results


def measure_while_writing(engine: Engine, data: Data, scale: Scale) -> Figures:
    """Read rows while a thread overwrites rows as fast as it can."""
    get = engine.fresh_getter()
    chosen = data.choose(scale.reads // 2)
    cut = batches(data.items(data.choose(scale.keys // 2)), WRITER_BATCH)
    written = 0
    done = threading.Event()

    def write() -> None:
        nonlocal written
        while not done.is_set():
            engine.write(cut[written % len(cut)])
            written += 1

    writer = threading.Thread(target=write)
    writer.start()
    started = time.perf_counter()
    figures = rate(len(chosen), lambda: loop(get, chosen))
    figures |= latencies(get, chosen[: scale.reads // 10])
    seconds = time.perf_counter() - started
    done.set()
    writer.join()
    return figures | {"rows_written_per_s": written * WRITER_BATCH / seconds}


def measure_hot(kind: type[Engine], path: Path, scale: Scale) -> Results:
    """Read one key: from several threads, and after many overwrites."""
    data = Data(scale)
    engine = kind(Settings(path, scale.memtable_bytes))
    for batch in batches(data.items(data.keys)):
        engine.write(batch)
    engine.settle()
    loop(engine.getter(), data.keys)
    share = scale.reads // READERS
    hot = data.keys[0]
    spread = from_threads(engine, [data.choose(share) for _ in range(READERS)])
    one = from_threads(engine, [[hot] * share for _ in range(READERS)])
    results = {"hot": {"value": one / spread, "rows_per_s": one}}

    let_go = engine.hold()
    values = data.items([hot] * min(scale.keys, BATCH))
    for _ in range(scale.keys // len(values)):
        engine.write(values)
    check(engine, values[-1:], data.rng)
    get = engine.fresh_getter()
    chosen = data.choose(share)
    loop(get, chosen)
    others = rate(share, lambda: loop(get, chosen))["value"]
    figures = rate(share, lambda: loop(get, [hot] * share))
    let_go()
    engine.close()
    figures = {"value": figures["value"] / others, "rows_per_s": figures["value"]}
    return results | {"held": figures}


def from_threads(engine: Engine, shares: Sequence[Sequence[bytes]]) -> float:
    """Read rows, a share in each thread; return rows a second."""

    def read() -> None:
        threads = [
            threading.Thread(
                target=lambda keys: loop(engine.fresh_getter(), keys), args=[keys]
            )
            for keys in shares
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return rate(sum(map(len, shares)), read)["value"]


def measure_cold(kind: type[Engine], path: Path, scale: Scale) -> Results:
    """Open the database that `main` has left, out of the page cache, and read."""
    chosen = Data(scale).choose(COLD_GETS)
    drop_caches(path)
    warm_up(kind, path.with_name(f"{path.name}-other"), scale)
    with quiet():
        started = time.perf_counter()
        engine = kind(Settings(path, scale.memtable_bytes))
        opened = time.perf_counter()
        get = engine.getter()
        absent = sum(get(key) is None for key in chosen)
        seconds = time.perf_counter() - started
    if absent:
        raise SystemExit(f"{engine.package} has lost {absent} of {COLD_GETS} rows")
    engine.close()
    return {"cold": {"value": seconds * 1e3, "open_ms": (opened - started) * 1e3}}


def drop_caches(path: Path) -> None:
    """Have the operating system forget what it holds of the files, where it can."""
    for file in path.rglob("*"):
        if file.is_file() and sys.platform == "linux":
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)  # only clean pages can be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def warm_up(kind: type[Engine], path: Path, scale: Scale) -> None:
    """Load the engine's code, which is no part of opening a database."""
    engine = kind(Settings(path, scale.memtable_bytes))
    engine.put(b"key", b"value")
    engine.getter()(b"key")
    engine.close()


def disk_bytes(path: Path) -> int:
    """Return the size of all files."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


AFTER = {"cold": "main"}  # reads the database that the other has left

GROUPS: dict[str, Callable[[type[Engine], Path, Scale], Results]] = {
    "fill": measure_fill,
    "sync": measure_sync,
    "main": measure_main,
    "hot": measure_hot,
    "cold": measure_cold,
}
