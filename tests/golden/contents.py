# SPDX-License-Identifier: Apache-2.0
"""What the golden database holds: of everything that the format has a bit."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import NamedTuple


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


def vectors() -> dict[int, tuple[float, ...]]:
    """Return the rows of the namespace of vectors: float16, three numbers each."""
    return {number: (number % 7, -0.5, 1 / 4) for number in (0, 1, 255, 256, 1 << 40)}


def vector_bytes() -> dict[bytes, bytes]:
    """Return the same as keys and values."""
    return {
        struct.pack(">Q", number): struct.pack("<3e", *row)
        for number, row in vectors().items()
    }


def listed() -> dict[bytes, list[bytes]]:
    """Return the items of each list."""
    return {b"": [b"one"], b"chat": [text(f"turn {i}", i * 40) for i in range(30)]}


def heads() -> dict[bytes, bytes]:
    """Return the rows of the heads of the lists, which do not expire."""
    return {
        key + b"\0" + b"\xff" * 8: struct.pack(
            ">QQQ", len(items), 0 if len(items) > 1 else 2**64 - 1, 0
        )
        for key, items in listed().items()
    }


def lasting() -> dict[bytes, bytes]:
    """Return rows with a time to live that outlasts this format."""
    return {b"lasting/%d" % i: text(f"lasting {i}", 300 * i) for i in range(6)}


def fresh() -> dict[bytes, bytes]:
    """Return rows which are fresh for so long, and then stale for as long again."""
    return {b"fresh/%d" % i: text(f"fresh {i}", 500 * i) for i in range(4)}


def expired() -> dict[bytes, bytes]:
    """Return rows that are in a table, and were dead soon after."""
    return {b"expired/%d" % i: text(f"expired {i}", 400 * i) for i in range(5)}


def published() -> dict[str, dict[bytes, bytes]]:
    """Return what was published under "a/b", by version."""
    first = {b"word/%03d" % i: text(f"word {i}", i) for i in range(200)}
    second = first | {b"word/%03d" % i: text(f"other {i}", 1100) for i in range(3)}
    return {"1": first, "2": second, "3": {b"only": b""}}


CURRENT = "2"  # what readers see; "3" was rolled back
BEGUN = "4"  # nobody finished it


PINNED = (b"cached/0", b"absent")  # keys of the cache
