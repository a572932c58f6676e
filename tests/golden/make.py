# SPDX-License-Identifier: Apache-2.0
"""Writes the golden database of the current version of the file format.

    python tests/golden/make.py

It is written once per version, by the first release that writes that version, and never
again: what later releases must read is what was written then. It holds a bit of
everything: tables in several levels, with and without filter and codec, several index
blocks, several versions of a key, deletions, range deletes, and a log with marks that
nobody replayed.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import lsmkv

VERSION = 1
HERE = Path(__file__).resolve().parent


class Range(NamedTuple):
    """Keys to delete: start <= key < stop."""

    start: bytes
    stop: bytes | None


Operation = tuple[bytes, bytes | None] | Range  # None deletes


def text(seed: str, size: int) -> bytes:
    """Return bytes that hardly compress, always the same."""
    return hashlib.shake_128(seed.encode()).digest(size)


def base() -> Iterator[Operation]:
    """Rows for the deepest level."""
    yield b"", b"the empty key"
    yield b"\0", b""
    yield b"\xff" * 40, b"the last key"
    yield b"long/" + b"k" * 700, b"the long key"
    yield b"large", text("large", 1500)
    for i in range(6):
        yield b"apart/%d" % i, text(f"apart {i}", 1024 + i * 517)
    for i in range(90):
        yield b"row/%04d" % i, b"base %d " % i + text(f"base {i}", i % 12)


def changes() -> Iterator[Operation]:
    """Overwrites and deletions of some of them; compressible."""
    for i in range(0, 60, 2):
        yield b"row/%04d" % i, b"changed %d " % i * 6
    for i in range(1, 40, 4):
        yield b"row/%04d" % i, None
    yield b"apart/1", text("apart 1, changed", 5000)
    yield b"apart/2", b"small now"
    for i in range(8):
        yield b"picture/%d" % i, text(f"picture {i}", 3000)


def changes_again() -> Iterator[Operation]:
    """Another version of the same rows, written while a snapshot keeps the first."""
    for i in range(0, 60, 4):
        yield b"row/%04d" % i, b"changed %d again " % i * 4
    yield b"large", None
    yield Range(b"row/0041", b"row/0047")
    yield b"row/0043", b"after the range delete"


def emptied() -> Iterator[Operation]:
    """Range deletes for a table without entries, cut into three fragments."""
    yield Range(b"row/0070", b"row/0080")
    yield Range(b"row/0075", b"row/0085")


def unfiltered() -> Iterator[Operation]:
    """Rows for a table without a filter."""
    for i in range(20):
        yield b"other/%d" % i, text(f"other {i}", 3 * i)
    for i in range(5):
        yield b"other/almost %d" % i, text(f"almost {i}", 900)
    yield b"other/large", text("other large", 1200)


def logged() -> Iterator[list[Operation]]:
    """Batches that stay in the log."""
    yield [(b"log/%d" % i, text(f"log {i}", 7 * i)) for i in range(5)]
    yield [(b"row/0000", None), (b"row/0001", b"back"), (b"row/0001", b"and again")]
    yield [(b"", b"still the empty key"), Range(b"\xf0", None)]
    yield [Range(b"log/2", b"log/4"), (b"log/3", b"after the range delete")]
    yield [(b"log/large", text("log large", 1100)), (b"log/last", b"small")]


def cached() -> dict[bytes, bytes]:
    """Return the rows of the namespace that is a cache."""
    return {
        b"cached/%d" % i: text(f"cached {i}", size)
        for i, size in enumerate([0, 1, 64, 700, 1024, 3000])
    }


def expected() -> dict[bytes, bytes]:
    """Return the rows that are in the golden database."""
    rows: dict[bytes, bytes] = {}
    batches = [base(), changes(), changes_again(), emptied(), unfiltered()]
    for batch in [*batches, *logged()]:
        for operation in batch:
            if isinstance(operation, Range):
                start, stop = operation
                for key in [k for k in rows if start <= k and (not stop or k < stop)]:
                    del rows[key]
                continue
            key, value = operation
            rows.pop(key, None)
            if value is not None:
                rows[key] = value
    return dict(sorted(rows.items()))


def write(db: lsmkv.DB, batch: Iterator[Operation] | list[Operation]) -> None:
    """Write operations as one batch."""
    with db.write_batch() as writing:
        for operation in batch:
            if isinstance(operation, Range):
                writing.delete_range(operation.start, operation.stop)
            elif operation[1] is None:
                writing.delete(operation[0])
            else:
                writing.put(operation[0], operation[1])


def make(directory: Path) -> None:
    """Write the database, as of a process that was killed, into a new directory."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "db"
        with lsmkv.open(path, block_bytes=128, table_bytes=4096) as db:
            write(db, base())
            cache = db.namespace("cache", max_bytes=1 << 20, ttl=1e9)
            rows = list(cached().items())
            cache.put_many(rows[:3])
            cache.pin([rows[0][0], b"absent"])
            db.compact()
        with lsmkv.open(path, compression="zstd", block_bytes=512) as db:
            write(db, changes())
            with db.snapshot():
                write(db, changes_again())
                db.flush()
            write(db, emptied())
            db.flush()
        with lsmkv.open(
            path, bloom_bits_per_key=0, compression="none", compression_level=-2
        ) as db:
            write(db, unfiltered())
            db.namespace("cache").put_many(rows[3:])
            db.flush()
        with lsmkv.open(path) as db:
            for batch in logged():
                write(db, batch)
                db.sync()
            time.sleep(1)  # what is obsolete gets deleted in the background
            shutil.copytree(path, directory, ignore=shutil.ignore_patterns("LOCK"))


if __name__ == "__main__":
    target = HERE / f"v{VERSION}"
    if target.exists():
        sys.exit(f"{target} exists, and is never written again")
    make(target)
