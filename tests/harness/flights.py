# SPDX-License-Identifier: Apache-2.0
"""What tests of computed values share: slow computations, and looks at the flights."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import lsmkv

WAIT = 60  # seconds after which something hangs

Space = lsmkv.DB | lsmkv.Namespace


class Slow:
    """A computation that counts its calls and waits until it is let go."""

    def __init__(self, *values: bytes | Exception) -> None:
        self.values = list(values)
        self.count = 0
        self.begun = threading.Event()
        self.go = threading.Event()

    def __call__(self) -> bytes:
        value = self.values[min(self.count, len(self.values) - 1)]
        self.count += 1
        self.begun.set()
        assert self.go.wait(WAIT)
        if isinstance(value, Exception):
            raise value
        return value

    async def call(self) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(None, self)


def never() -> bytes:
    raise AssertionError("computed")


async def anever() -> bytes:
    raise AssertionError("computed")


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


def waiting(db: lsmkv.DB, count: int) -> bool:
    """Whether so many wait for what is being computed."""
    flights = db._flights
    assert flights is not None
    total = 0
    for flight in list(flights._flying.values()):
        future: Any = flight.future
        total += len(future._condition._waiters) + len(future._done_callbacks)
    return total >= count


def nothing_flies(db: lsmkv.DB) -> bool:
    return db._flights is None or not db._flights._flying


def put_stale(space: Space, key: bytes = b"key", value: bytes = b"old") -> None:
    """Store a value that turns stale at once and stays so for long."""
    space.delete(key)
    assert space.get_or_compute(key, lambda: value, ttl=0.001, stale=1000) == value
    until(lambda: space.get(key) is None)
