# SPDX-License-Identifier: Apache-2.0
"""Many keys in little memory: load, reopen, read back under a limit of memory.

    python bench/scale.py                          50 million keys in 2 GiB
    python bench/scale.py --keys 1000000 --gib 1   a try

Keys of 16 bytes and values of 32, in an order that looks random. The limit is on the
address space (RLIMIT_AS), which is stricter than one on memory used. Every value is
checked: those of a sample of single and batched reads, and all of them by a scan.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

import lsmkv

MASK = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15  # odd: multiplying by it permutes the numbers below 2^64
BATCH = 10_000
SAMPLE = 200_000

console = Console()


def key_of(number: int) -> bytes:
    """Return the key of a row: all of them differ."""
    return (number * STEP & MASK).to_bytes(8, "big") + b"lsmkv-at"


def value_of(key: bytes) -> bytes:
    """Return what belongs to a key, without remembering it."""
    first = hash_of(key)
    return b"".join((first ^ i).to_bytes(8, "little") for i in range(4))


def hash_of(key: bytes) -> int:
    """Return 64 bits that depend on all of the key."""
    return int.from_bytes(key[:8], "big") * STEP >> 3 & MASK


@contextlib.contextmanager
def clocked(what: str, count: int = 0) -> Iterator[None]:
    """Tell how long something took, and how many of `count` that is in a second."""
    begin = time.monotonic()
    yield
    seconds = time.monotonic() - begin
    rate = f"{count / seconds:14,.0f}/s" if count else ""
    console.print(f"{what:34} {seconds:9.2f} s {rate}", highlight=False)


def memory_peak() -> int:
    """Return the most memory this process ever used, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def load(path: Path, keys: int, memory_bytes: int) -> None:
    """Write all rows and close."""
    with (
        lsmkv.open(path, memory_bytes=memory_bytes) as db,
        Progress(console=console, transient=True) as progress,
    ):
        task = progress.add_task("loading", total=keys)
        for begin in range(0, keys, BATCH):
            names = [key_of(i) for i in range(begin, min(begin + BATCH, keys))]
            db.put_many([(key, value_of(key)) for key in names])
            progress.advance(task, len(names))


def read_back(db: lsmkv.DB, keys: int) -> None:
    """Check a sample by single and batched reads, and every row by a scan."""
    sample = [key_of(i * 7919 % keys) for i in range(SAMPLE)]
    with clocked("get, random", SAMPLE):
        for key in sample:
            assert db.get(key) == value_of(key)
    with clocked("get_many of 256, random", SAMPLE):
        for i in range(0, SAMPLE, 256):
            part = sample[i : i + 256]
            assert db.get_many(part) == [value_of(key) for key in part]
    with clocked("scan of everything", keys):
        count = 0
        last = b""
        for key, value in db.items():
            assert last < key
            assert value == value_of(key)
            last = key
            count += 1
        assert count == keys


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=50_000_000)
    parser.add_argument("--gib", type=float, default=2.0, help="limit of memory")
    parser.add_argument("--memory-mib", type=int, default=1024, help="of the engine")
    parser.add_argument("--dir", type=Path, help="where; removed afterwards")
    wanted = parser.parse_args()
    limit = int(wanted.gib * (1 << 30))
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    path = Path(tempfile.mkdtemp(prefix="lsmkv-scale-", dir=wanted.dir)) / "db"
    try:
        with clocked(f"load {wanted.keys:,} keys, close", wanted.keys):
            load(path, wanted.keys, wanted.memory_mib << 20)
        begin = time.monotonic()
        with lsmkv.open(path, memory_bytes=wanted.memory_mib << 20) as db:
            assert db.get(key_of(0)) == value_of(key_of(0))
            seconds = time.monotonic() - begin
            console.print(f"reopen and a first get{'':13}{seconds:9.2f} s")
            read_back(db, wanted.keys)
            stats = db.stats()
            console.print(
                f"tables {sum(level.table_count for level in stats.levels):,}, bytes "
                f"{sum(level.byte_count for level in stats.levels):,}; peak memory "
                f"{memory_peak():,} MiB of {limit >> 20:,}"
            )
    finally:
        shutil.rmtree(path.parent)


if __name__ == "__main__":
    main()
