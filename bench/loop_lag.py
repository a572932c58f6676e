# SPDX-License-Identifier: Apache-2.0
"""How much later an event loop gets to its timers because lsmkv.aio is used on it.

    python bench/loop_lag.py [--seconds 20] [--repeat 3] [--dir DIR]

A ticker asks to be woken every millisecond and notes how late it is. Beside it tasks
make calls at a steady rate: reads of hot keys, reads of random keys of a database four
times as large as its memory, batched reads, single writes, and batches that keep
flushes and compactions going. The same tasks run without lsmkv, with a stand-in of the
same shape: a dict for what is in memory, a thread and a pread for what is not, and an
append to a file for writes. Each run is a process of its own; the two take turns.

Prints JSON: lag in milliseconds, at the median of the repetitions, and what lsmkv adds.
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


async def tick(late: list[float], until: float) -> None:
    """Note how late each wake-up is."""
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        due = loop.time() + TICK
        await asyncio.sleep(TICK)
        late.append(loop.time() - due)


async def repeat(call: Any, rate: float, until: float, done: dict[str, int]) -> None:
    """Make a call at a steady rate, with a little jitter; skip what is overdue."""
    loop = asyncio.get_running_loop()
    due = loop.time() + random.random() / rate
    while due < until:
        await asyncio.sleep(max(0.0, due - loop.time()))
        await call()
        name = call.__name__
        done[name] = done.get(name, 0) + 1
        due = max(due + random.uniform(0.5, 1.5) / rate, loop.time() - 0.1)


async def load(adb: Any, keys: int, seconds: float) -> dict[str, Any]:
    """Run ticker and calls; return how late the ticker was."""
    late: list[float] = []
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
        repeat(call, RATES[call.__name__] / 4, until, done)
        for call in (hot, cold, many, put, batch)
        for _ in range(4)
    ]
    await asyncio.gather(tick(late, until), *calls)
    late = sorted(late[len(late) // 10 :])  # without the start
    return {
        "ticks": len(late),
        "calls": done,
        "p50_ms": quantile(late, 0.5),
        "p99_ms": quantile(late, 0.99),
        "p999_ms": quantile(late, 0.999),
        "max_ms": late[-1] * 1e3,
    }


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


def main() -> None:
    """Take turns and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--repeat", type=int, default=3)
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
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in RUNS}
    begun = time.time()
    for _ in range(arguments.repeat):
        for name in RUNS:
            found[name].append(measure(arguments, name))
    names = [name for name in found["lsmkv"][0] if name.endswith("_ms")]
    medians = {
        kind: {
            name: round(statistics.median(run[name] for run in runs), 3)
            for name in names
            if name in runs[0]
        }
        for kind, runs in found.items()
    }
    added = {
        name: round(medians["lsmkv"][name] - medians["without"][name], 3)
        for name in medians["without"]
    }
    report = {
        **medians,
        "added": added,
        "runs": found,
        "seconds": round(time.time() - begun),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
