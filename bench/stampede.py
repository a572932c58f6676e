#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a computed value costs when it is there, and when a thousand ask for it at once.

    python bench/stampede.py

Prints, as JSON: nanoseconds of a get, and of the same value by `get_or_compute`,
`aget_or_compute` and a memoized function, each the best of several rounds over values
in memory; then, for a thousand threads and for a thousand coroutines that miss one key
together, how often it was computed and how long the last one took beyond the time of
the computation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lsmkv
from lsmkv import codecs


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--askers", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="one computation")
    parser.add_argument("--value", type=int, default=200)
    return parser.parse_args()


def best(calls: int, rounds: int, run: Callable[[int], None]) -> float:
    """Return the nanoseconds of one call, in the fastest round."""
    fastest = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        run(calls)
        fastest = min(fastest, time.perf_counter() - begin)
    return round(fastest / calls * 1e9, 1)


def measure_hits(
    space: lsmkv.Namespace, arguments: argparse.Namespace
) -> dict[str, float]:
    """Ask for one value that is there."""
    key, value = b"key", bytes(arguments.value)
    space.put(key, value, ttl=3600)

    @space.memoize(key=lambda: key, codec=codecs.raw)
    def memoized() -> bytes:
        raise AssertionError

    def compute() -> bytes:
        raise AssertionError

    async def acompute() -> bytes:
        raise AssertionError

    def get(calls: int) -> None:
        for _ in range(calls):
            space.get(key)

    def get_or_compute(calls: int) -> None:
        for _ in range(calls):
            space.get_or_compute(key, compute)

    def aget_or_compute(calls: int) -> None:
        async def ask() -> None:
            for _ in range(calls):
                await space.aget_or_compute(key, acompute)

        asyncio.run(ask())

    def memoize(calls: int) -> None:
        for _ in range(calls):
            memoized()

    each = (get, get_or_compute, aget_or_compute, memoize)
    return {
        f"{run.__name__}_ns": best(arguments.calls, arguments.rounds, run)
        for run in each
    }


class Stampede:
    """A computation that counts its calls."""

    def __init__(self, space: lsmkv.Namespace, arguments: argparse.Namespace) -> None:
        """Prepare; nothing is asked yet."""
        self.space = space
        self.askers: int = arguments.askers
        self.seconds: float = arguments.seconds
        self.value = bytes(arguments.value)
        self.count = 0

    def report(self, begin: float) -> dict[str, float]:
        """Tell how often it was computed and how long it all took."""
        beyond = time.perf_counter() - begin - self.seconds
        return {"computed": self.count, "beyond_ms": round(beyond * 1000, 1)}

    def threads(self) -> dict[str, float]:
        """Ask from threads, which are there already."""
        ready = threading.Barrier(self.askers + 1)

        def compute() -> bytes:
            self.count += 1
            time.sleep(self.seconds)
            return self.value

        def ask() -> bytes:
            ready.wait()
            return self.space.get_or_compute(b"threads", compute)

        with ThreadPoolExecutor(self.askers) as pool:
            asked = [pool.submit(ask) for _ in range(self.askers)]
            ready.wait()
            begin = time.perf_counter()
            assert all(each.result() == self.value for each in asked)
            return self.report(begin)

    def coroutines(self) -> dict[str, float]:
        """Ask from coroutines of one loop."""

        async def compute() -> bytes:
            self.count += 1
            await asyncio.sleep(self.seconds)
            return self.value

        async def ask() -> dict[str, float]:
            begin = time.perf_counter()
            asked = [
                self.space.aget_or_compute(b"coroutines", compute)
                for _ in range(self.askers)
            ]
            assert all(each == self.value for each in await asyncio.gather(*asked))
            return self.report(begin)

        return asyncio.run(ask())


def main() -> None:
    """Measure in a fresh directory and print."""
    arguments = parse()
    with (
        tempfile.TemporaryDirectory() as directory,
        lsmkv.open(Path(directory) / "db") as db,
    ):
        space = db.namespace("cache", default_ttl=3600)
        report: dict[str, object] = dict(measure_hits(space, arguments))
        report["threads"] = Stampede(space, arguments).threads()
        report["coroutines"] = Stampede(space, arguments).coroutines()
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
