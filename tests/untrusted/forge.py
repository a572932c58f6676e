# SPDX-License-Identifier: Apache-2.0
"""Writes directories as a forger would, from docs/file-format.md alone.

Every checksum is right, whatever is said under it.
"""

from __future__ import annotations

import dataclasses
import itertools
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import xxhash

from golden.cursor import checksum
from golden.keys import EXCLUSIVE, PUT, RANGE_DELETE
from golden.record_files import BATCH, EDIT, LOG, MANIFEST, MARK, VALUE, VALUES
from golden.tables import DATA, INDEX, PROPERTIES, RANGES

UUID = b"nobody knows him"
NAMESPACE = b"\0\0\0\1"  # the default one

Row = tuple[bytes, int, int, bytes]  # stored key, sequence, tag, value field
Fragment = tuple[bytes, bytes, Sequence[int]]  # as the format has them


def varint(*values: int) -> bytes:
    """Encode numbers."""
    to = bytearray()
    for value in values:
        rest = value
        while rest >= 0x80:
            to.append(rest & 0x7F | 0x80)
            rest >>= 7
        to.append(rest)
    return bytes(to)


def slice_(data: bytes) -> bytes:
    """Encode bytes behind their size."""
    return varint(len(data)) + data


def internal(key: bytes, trailer: int) -> bytes:
    """Put a trailer behind a stored key."""
    return key + struct.pack("<Q", trailer)


def row(key: bytes, sequence: int, value: bytes, tag: int = PUT) -> Row:
    """Make a row of the default namespace."""
    return NAMESPACE + key, sequence, tag, value


def block(rows: Iterable[Row]) -> bytes:
    """Encode rows, without sharing between keys unless they are the same."""
    data = bytearray()
    before, last = b"", 0
    for key, sequence, tag, value in rows:
        shared = 0
        while shared < min(len(before), len(key)) and before[shared] == key[shared]:
            shared += 1
        step = (sequence - last) % (1 << 64)
        step = step - (1 << 64) if step >= 1 << 63 else step
        zigzag = step << 1 if step >= 0 else (-step << 1) - 1
        data += varint(shared, len(key) - shared, len(value)) + bytes([tag])
        data += varint(zigzag) + key[shared:] + value
        before, last = key, sequence
    return bytes(data)


def ranges(fragments: Iterable[Fragment]) -> bytes:
    """Encode fragments of range deletes."""
    data = bytearray()
    for start, stop, sequences in fragments:
        data += slice_(start) + slice_(stop) + varint(len(sequences), sequences[0])
        for newer, older in itertools.pairwise(sequences):
            data += varint(newer - older)
    return bytes(data)


@dataclasses.dataclass
class Stored:
    """A data block: its rows, and how it is stored if not as they are."""

    rows: list[Row]
    payload: bytes | None = None  # as it is stored
    codec: int = 0
    raw_size: int | None = None  # what the frame says


class Blocks(bytearray):
    """The blocks of a table, one behind the other."""

    def put(
        self, number: int, payload: bytes, kind: int, codec: int, size: int
    ) -> bytes:
        """Add one; returns its handle as the footer has it."""
        offset = len(self)
        framed = payload + struct.pack("<IBBH", size, codec, kind, 0)
        self.extend(framed)
        self.extend(struct.pack("<Q", checksum(number + 7, offset, framed)))
        return struct.pack("<QQ", offset, len(payload))


def table_file(
    number: int,
    blocks: Sequence[Stored],
    fragments: Sequence[Fragment],
    properties: dict[int, int],
) -> tuple[bytes, int]:
    """Return the bytes of a table, and where its tail begins."""
    data = Blocks()
    entries: list[Row] = []
    for stored in blocks:
        raw = block(stored.rows)
        payload = raw if stored.payload is None else stored.payload
        size = len(raw) if stored.raw_size is None else stored.raw_size
        where = data.put(number, payload, DATA, stored.codec, size)
        key, sequence, tag, _ = stored.rows[-1]
        handle = varint(*struct.unpack("<QQ", where))
        entries.append((key, sequence, tag, handle))
    tail = len(data)
    none = where_ranges = where_index = struct.pack("<QQ", 0, 0)
    if fragments:
        payload = ranges(fragments)
        where_ranges = data.put(number, payload, RANGES, 0, len(payload))
    if entries:
        payload = block(entries)
        where_index = data.put(number, payload, INDEX, 0, len(payload))
    payload = b"".join(
        varint(tag) + slice_(varint(value))
        for tag, value in sorted(properties.items())
        if value
    )
    where_properties = data.put(number, payload, PROPERTIES, 0, len(payload))
    footer = b"LSMKVTBL" + struct.pack("<II", 1, 0) + UUID
    footer += struct.pack("<QQQ", number, number + 7, tail) + where_index + none
    footer += where_properties + where_ranges
    footer += struct.pack("<Q", xxhash.xxh3_64_intdigest(footer))
    return bytes(data) + footer, tail


def bounds(rows: Sequence[Row], fragments: Sequence[Fragment]) -> bytes:
    """Encode the smallest and the largest internal key of a table."""
    found = [(key, sequence << 8 | tag) for key, sequence, tag, _ in rows]
    smallest, largest = found[:1], found[-1:]
    if fragments:
        start, _, sequences = fragments[0]
        smallest.append((start, sequences[0] << 8 | RANGE_DELETE))
        largest.append((fragments[-1][1], EXCLUSIVE))
    first, last = min(smallest, key=in_order), max(largest, key=in_order)
    return slice_(internal(*first)) + slice_(internal(*last))


@dataclasses.dataclass
class Forger:
    """A directory in the making."""

    path: Path
    edit: bytes = b""  # what the MANIFEST says besides numbers
    next_file: int = 1 << 30
    first_log: int = 1 << 29
    last_sequence: int = 1 << 40

    def __post_init__(self) -> None:
        """Make the directory."""
        self.path.mkdir()

    def table(
        self,
        number: int,
        blocks: Sequence[Stored],
        *,
        level: int = 0,
        fragments: Sequence[Fragment] = (),
        claims: dict[int, int] | None = None,
        segments: Sequence[tuple[int, int]] = (),
    ) -> bytes:
        """Write a table, and have the MANIFEST name it; returns that field of it.

        `claims` are properties that say something else than what is there.
        """
        rows = [row for stored in blocks for row in stored.rows]
        sequences = [sequence for _, sequence, _, _ in rows]
        sequences += [sequence for fragment in fragments for sequence in fragment[2]]
        found = {
            1: len(blocks),
            2: len(rows),
            4: sum(len(key) + 8 for key, *_ in rows),
            5: sum(len(value) for *_, value in rows),
            6: min(sequences),
            7: max(sequences),
            8: min(1, len(blocks)),
            11: len(fragments),
            **(claims or {}),
        }
        data, tail = table_file(number, blocks, fragments, found)
        (self.path / f"{number:06}.tbl").write_bytes(data)
        field = varint(5, level, number) + struct.pack("<Q", number + 7)
        field += varint(len(data), len(data) - tail) + bounds(rows, fragments)
        field += varint(found[6], found[7], found[2], 0, found[4] + found[5], 0, 0)
        field += varint(found[11], len(segments))
        field += b"".join(varint(*share) for share in segments)
        self.edit += field
        return field

    def records(
        self, name: str, kind: int, number: int, records: Iterable[tuple[int, bytes]]
    ) -> None:
        """Write a record file of (type, payload)."""
        file_id = number + 7
        head = b"LSMKVREC" + struct.pack("<II", 1, kind) + UUID
        head += struct.pack("<QQQ", number, file_id, 0)
        data = bytearray(head + struct.pack("<Q", xxhash.xxh3_64_intdigest(head)))
        for tag, payload in records:
            at = len(data)
            synced = at if tag == MARK else 0
            inner = struct.pack("<IBBHQ", len(payload), tag, 0, 0, synced)
            inner += payload + bytes(-len(payload) % 8)
            data += struct.pack("<Q", checksum(file_id, at, inner)) + inner
        (self.path / name).write_bytes(data)

    def log(self, number: int, batches: Iterable[bytes]) -> None:
        """Write a log."""
        records = ((BATCH, batch) for batch in batches)
        self.records(f"{number:06}.log", LOG, number, records)

    def values(self, number: int, value: bytes, *, size: int | None = None) -> int:
        """Write a value file of one value, of which the MANIFEST says that size.

        Returns where the value begins.
        """
        name = f"{number:06}.seg"
        payload = bytes(40) + value
        self.records(name, VALUES, number, [(VALUE, payload + bytes(-len(value) % 64))])
        size = (self.path / name).stat().st_size if size is None else size
        self.edit += varint(7, number) + struct.pack("<Q", number + 7) + varint(size, 2)
        return 128

    def finish(self, *more: bytes, current: str | None = None) -> Path:
        """Write MANIFEST, with the edits, and CURRENT."""
        numbers = varint(1, self.next_file, 2, self.last_sequence, 3, self.first_log)
        edits = [(EDIT, numbers + self.edit), *((EDIT, edit) for edit in more)]
        self.records("MANIFEST-000001", MANIFEST, 1, edits)
        name = "MANIFEST-000001" if current is None else current
        digest = xxhash.xxh3_64_intdigest(name.encode())
        (self.path / "CURRENT").write_text(f"{name} {digest:016x}\n")
        return self.path


def in_order(bound: tuple[bytes, int]) -> tuple[bytes, int]:
    """Make of a bound what sorts as the format sorts it."""
    return bound[0], -bound[1]


def pointer(segment: int, offset: int, value: bytes, size: int | None = None) -> bytes:
    """Encode a pointer to a value."""
    size = len(value) if size is None else size
    return struct.pack("<QQIQ", segment, offset, size, xxhash.xxh3_64_intdigest(value))
