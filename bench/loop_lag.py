# SPDX-License-Identifier: Apache-2.0
"""How much later an event loop gets to its timers because lsmkv.aio is used on it.

    python bench/loop_lag.py [--seconds 15] [--repeat 4] [--dir DIR]

A ticker asks to be woken every millisecond and notes how late it is. Beside it tasks
make calls at a steady rate: reads of hot keys, reads of random keys of a database four
times as large as its memory, batched reads, single writes, and batches that keep
flushes and compactions going. The same tasks run without lsmkv, with a stand-in of the
same shape: a dict for what is in memory, a thread and a pread for what is not, and an
append to a file for writes. Each run is a process of its own, and they take turns:
without, lsmkv, without, lsmkv, ..., without.

Prints JSON, in milliseconds. `added` is what lsmkv adds: each of its runs less the mean
of the two runs beside it, as the median over them, the least and the most. `control` is
the same for each run without lsmkv between two others without: what it is away from 0
by, the machine has added, and no figure of `added` is known better. `held` is the
part of the lag in which the loop's thread did not wait for a processor, and `steps`
the longest of what each kind of call did on the loop's thread without a pause, by the
clock and by the processor's time.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import functools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Generator
from pathlib import Path
from typing import Any

import lsmkv
import lsmkv.aio

VALUE = 900
HOT = 1000
TICK = 0.001
# Calls a second of each kind; a batch has BATCH values.
RATES = {"hot": 2000, "cold": 300, "many": 20, "put": 300, "batch": 40}
BATCH = 100
TASKS = 4  # of each kind


def key_of(number: int) -> bytes:
    """Return the key of a number."""
    return f"key/{number:08}".encode()


class StandIn:
    """What the tasks use in place of lsmkv."""

    def __init__(self, path: Path, keys: int) -> None:
        """Take a file of the size of the database."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)
        self._log = os.open(
            path.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND
        )
        self._size = keys * VALUE
        os.ftruncate(self._file, 0)
        for _ in range(0, self._size, 1 << 20):
            os.write(self._file, os.urandom(1 << 20))
        self._hot: dict[bytes, bytes] = {}
        self._pool = concurrent.futures.ThreadPoolExecutor(8)

    def _read(self, count: int) -> list[bytes]:
        places = [random.randrange(self._size) for _ in range(count)]
        return [os.pread(self._file, 4096, place)[:VALUE] for place in places]

    async def get(self, key: bytes) -> bytes | None:
        """Return what is in memory, else read in a thread."""
        found = self._hot.get(key)
        if found is None:
            found = (await self.get_many([key]))[0]
            if int(key[-8:]) < HOT:
                self._hot[key] = found
        return found

    async def get_many(self, keys: list[bytes]) -> list[bytes]:
        """Read in a thread."""
        loop = asyncio.get_running_loop()
        call = functools.partial(self._read, len(keys))
        return await loop.run_in_executor(self._pool, call)

    async def put(self, key: bytes, value: bytes) -> None:
        """Append to a file."""
        os.write(self._log, key + value)

    async def put_many(self, items: dict[bytes, bytes]) -> None:
        """Append to a file, in a thread, as lsmkv.aio does with what is large."""
        data = b"".join(key + value for key, value in items.items())
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._pool, os.write, self._log, data)

    async def close(self) -> None:
        """Let go of the files."""
        self._pool.shutdown()
        os.close(self._file)
        os.close(self._log)


class Waits:
    """How long this thread has waited for a processor; 0 where the system is mute."""

    def __init__(self) -> None:
        """Open what Linux counts of a thread."""
        try:
            self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        except OSError:
            self._file = -1

    def seconds(self) -> float:
        """Return it."""
        if self._file < 0:
            return 0.0
        return int(os.pread(self._file, 64, 0).split()[1]) / 1e9


class Lag:
    """What the ticker and the steps of calls have noted."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.late: list[float] = []
        self.held: list[float] = []
        self.steps: dict[str, tuple[float, float]] = {}

    async def tick(self, until: float) -> None:
        """Note how late each wake-up is, and how much of that was no waiting."""
        loop = asyncio.get_running_loop()
        waits = Waits()
        while loop.time() < until:
            before = waits.seconds()
            due = loop.time() + TICK
            await asyncio.sleep(TICK)
            late = loop.time() - due
            self.late.append(late)
            self.held.append(max(0.0, late - (waits.seconds() - before)))

    @types.coroutine
    def watch(self, name: str, call: Any) -> Generator[Any, Any, None]:
        """Run a coroutine and note the longest of its steps."""
        sent: Any = None
        while True:
            begun, used = time.perf_counter(), time.thread_time()
            try:
                waited = call.send(sent)
            except StopIteration:
                return
            finally:
                took = time.perf_counter() - begun, time.thread_time() - used
                self.steps[name] = max(took, self.steps.get(name, (0.0, 0.0)))
            sent = yield waited

    def report(self) -> dict[str, Any]:
        """Return quantiles, without the start."""
        found: dict[str, Any] = {"ticks": len(self.late)}
        for kind, noted in ("", self.late), ("held_", self.held):
            values = sorted(noted[len(noted) // 10 :])
            found |= {
                f"{kind}p50_ms": quantile(values, 0.5),
                f"{kind}p99_ms": quantile(values, 0.99),
                f"{kind}p999_ms": quantile(values, 0.999),
                f"{kind}max_ms": values[-1] * 1e3,
            }
        steps = {
            name: [round(each * 1e3, 3) for each in took]
            for name, took in self.steps.items()
        }
        return found | {"steps": steps}


async def repeat(lag: Lag, call: Any, until: float, done: dict[str, int]) -> None:
    """Make a call at a steady rate, with a little jitter; skip what is overdue."""
    loop = asyncio.get_running_loop()
    rate = RATES[call.__name__] / TASKS
    due = loop.time() + random.random() / rate
    while due < until:
        await asyncio.sleep(max(0.0, due - loop.time()))
        name = call.__name__
        await lag.watch(name, call())
        done[name] = done.get(name, 0) + 1
        due = max(due + random.uniform(0.5, 1.5) / rate, loop.time() - 0.1)


async def load(adb: Any, keys: int, seconds: float) -> dict[str, Any]:
    """Run ticker and calls; return how late the ticker was."""
    lag = Lag()
    done: dict[str, int] = {}
    value = os.urandom(VALUE)

    async def hot() -> None:
        await adb.get(key_of(random.randrange(HOT)))

    async def cold() -> None:
        await adb.get(key_of(random.randrange(HOT, keys)))

    async def many() -> None:
        await adb.get_many([key_of(random.randrange(keys)) for _ in range(BATCH)])

    async def put() -> None:
        await adb.put(key_of(random.randrange(HOT, keys)), value)

    async def batch() -> None:
        where = [random.randrange(HOT, keys) for _ in range(BATCH)]
        await adb.put_many({key_of(i): value for i in where})

    for i in range(HOT):
        await adb.get(key_of(i))
    until = asyncio.get_running_loop().time() + seconds
    calls = [
        repeat(lag, call, until, done)
        for call in (hot, cold, many, put, batch)
        for _ in range(TASKS)
    ]
    await asyncio.gather(lag.tick(until), *calls)
    return lag.report() | {"calls": done}


def quantile(values: list[float], q: float) -> float:
    """Return a quantile of sorted seconds, in milliseconds."""
    return values[min(int(q * len(values)), len(values) - 1)] * 1e3


async def run_lsmkv(path: Path, keys: int, seconds: float) -> dict[str, Any]:
    """Measure lsmkv.aio."""
    async with lsmkv.aio.open(
        path,
        memory_bytes=max(keys * VALUE // 4, 8 << 20),
        memtable_bytes=2 << 20,
        level_base_bytes=16 << 20,
        table_bytes=4 << 20,
    ) as adb:
        for first in range(0, keys, 1000):
            rows = range(first, min(first + 1000, keys))
            await adb.put_many({key_of(i): os.urandom(VALUE) for i in rows})
        await adb.compact()
        before = await adb.stats()
        found = await load(adb, keys, seconds)
        after = await adb.stats()
        return found | {
            "flushes": after.flush_count - before.flush_count,
            "compactions": after.compact_count - before.compact_count,
            "stall_ms": (after.stall_us - before.stall_us) / 1e3,
            "blocks_read": after.cache_misses - before.cache_misses,
        }


async def run_stand_in(path: Path, keys: int, seconds: float) -> dict[str, Any]:
    """Measure the same without lsmkv."""
    path.mkdir()
    adb = StandIn(path / "data", keys)
    found = await load(adb, keys, seconds)
    await adb.close()
    return found


RUNS = {"without": run_stand_in, "lsmkv": run_lsmkv}


def measure(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """Run one of the two in a process of its own."""
    command = [sys.executable, __file__, "--run", name]
    for option in ("seconds", "keys", "dir"):
        value = getattr(arguments, option)
        command += [] if value is None else [f"--{option}", str(value)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def differences(runs: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Return by how much each second run is above the mean of those beside it."""
    found = [
        runs[i][name] - (runs[i - 1][name] + runs[i + 1][name]) / 2
        for i in range(1, len(runs) - 1, 2)
    ]
    return {
        "median": round(statistics.median(found), 3),
        "least": round(min(found), 3),
        "most": round(max(found), 3),
    }


def summarize(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is known of runs without lsmkv and with it, in turns."""
    names = [name for name in runs[0] if name.endswith("_ms")]
    report: dict[str, Any] = {}
    for kind, ours in ("without", runs[::2]), ("lsmkv", runs[1::2]):
        report[kind] = {
            name: round(statistics.median(run[name] for run in ours), 3)
            for name in names
        }
    report["added"] = {name: differences(runs, name) for name in names}
    control = runs[::2]
    if len(control) > 2:
        report["control"] = {name: differences(control, name) for name in names}
    return report


def main() -> None:
    """Take turns and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--repeat", type=int, default=4)
    parser.add_argument("--keys", type=int, default=120_000)
    parser.add_argument("--dir", help="where to put the databases")
    parser.add_argument("--run", choices=list(RUNS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run is not None:
        with tempfile.TemporaryDirectory(dir=arguments.dir) as directory:
            random.seed(7)
            body = RUNS[arguments.run](
                Path(directory) / "db", arguments.keys, arguments.seconds
            )
            print(json.dumps(asyncio.run(body)))
        return
    begun = time.time()
    runs = [measure(arguments, "without")]
    for _ in range(arguments.repeat):
        runs += [measure(arguments, "lsmkv"), measure(arguments, "without")]
    report = summarize(runs) | {
        "runs": {"without": runs[::2], "lsmkv": runs[1::2]},
        "load": os.getloadavg(),
        "seconds": round(time.time() - begun),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
