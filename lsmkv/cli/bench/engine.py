# SPDX-License-Identifier: Apache-2.0
"""What the workloads call: the face of an engine, and ours behind it.

An engine keeps what it acknowledges when the process dies, has 1 GiB of cache, filters
if it knows filters, and no compression. Its methods are documented once, in Engine.
"""
# ruff: noqa: D102, D107

from __future__ import annotations

import abc
import importlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import lsmkv

Item = tuple[bytes, bytes]
Get = Callable[[bytes], Any]

BLOOM_BITS = 10


@dataclass(frozen=True, slots=True)
class Settings:
    """What all engines get.

    Attributes:
        path: Directory of the database.
        memtable_bytes: Memory for writes, where there is such a thing.
        memory_bytes: Cache.
        sync: Every single put is on the device before it returns.
        warm: Opening brings back what was in memory, where an engine can do that.
    """

    path: Path
    memtable_bytes: int
    memory_bytes: int = 1 << 30
    sync: bool = False
    warm: bool = False


def count_rows(rows: Iterable[object]) -> int:
    """Exhaust an iterator as fast as Python can."""
    last = deque(enumerate(rows, 1), maxlen=1)
    return last[0][0] if last else 0


class Engine(abc.ABC):
    """An open database."""

    package: str
    many_gives_pairs = False  # get_many: (key, value) instead of value

    @classmethod
    def version(cls) -> str:
        """Return the version of the package; PackageNotFoundError without it."""
        return metadata.version(cls.package)

    @classmethod
    def module(cls) -> Any:
        """Import the package."""
        return importlib.import_module(cls.package)

    @abc.abstractmethod
    def __init__(self, settings: Settings) -> None:
        """Open it, or create it."""

    @abc.abstractmethod
    def write(self, batch: Sequence[Item]) -> None:
        """Write a batch, atomically."""

    def append(self, batch: Sequence[Item]) -> None:
        """Write a batch whose keys are behind all others."""
        self.write(batch)

    @abc.abstractmethod
    def put(self, key: bytes, value: bytes) -> None:
        """Write one row; called from several threads."""

    @abc.abstractmethod
    def getter(self) -> Get:
        """Return what reads a row; it need not see later writes."""

    def fresh_getter(self) -> Get:
        """Return what reads a row and sees every write."""
        return self.getter()

    @abc.abstractmethod
    def get_many(self, keys: list[bytes]) -> Sequence[Any]:
        """Read rows at once."""

    @abc.abstractmethod
    def scan(self) -> int:
        """Read all rows in order; return how many."""

    @abc.abstractmethod
    def seek(self, key: bytes, count: int) -> list[Any]:
        """Read rows from a key on."""

    @abc.abstractmethod
    def hold(self) -> Callable[[], object]:
        """Keep the state of this moment, until what is returned is called."""

    @abc.abstractmethod
    def settle(self) -> float:
        """Finish the work that writing has left; return seconds of waiting in vain."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close it."""


class Lsmkv(Engine):
    """This project."""

    package = "lsmkv"

    @classmethod
    def version(cls) -> str:
        return lsmkv.__version__

    def __init__(self, settings: Settings) -> None:
        self.db = lsmkv.open(
            settings.path,
            warm=settings.warm,
            memory_bytes=settings.memory_bytes,
            memtable_bytes=settings.memtable_bytes,
            durability="sync" if settings.sync else "os",
            bloom_bits_per_key=BLOOM_BITS,
            compression="none",
        )

    def write(self, batch: Sequence[Item]) -> None:
        self.db.put_many(batch)

    def put(self, key: bytes, value: bytes) -> None:
        self.db.put(key, value)

    def getter(self) -> Get:
        get: Get = self.db.get
        return get

    def get_many(self, keys: list[bytes]) -> Sequence[Any]:
        rows: Sequence[Any] = self.db.get_many(keys)
        return rows

    def scan(self) -> int:
        return count_rows(self.db.items())

    def seek(self, key: bytes, count: int) -> list[Any]:
        return list(itertools.islice(self.db.items(start=key), count))

    def hold(self) -> Callable[[], object]:
        snapshot = self.db.snapshot()
        let_go: Callable[[], object] = snapshot.close
        return let_go

    def settle(self) -> float:
        self.db.flush()
        self.db.settle()
        return 0.0

    def close(self) -> None:
        self.db.close()
