# SPDX-License-Identifier: Apache-2.0
"""Record files and batches: logs, the MANIFEST, value files.

Made from docs/file-format.md alone, as the reader of which it is a part.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import xxhash

from golden.cursor import Cursor, checksum, need
from golden.keys import (
    ALIGN,
    POINTER,
    RANGE_DELETE,
    Place,
    Version,
    need_range,
    need_value,
    times_size,
)

LOG, MANIFEST, VALUES = 1, 2, 3
BATCH, MARK, EDIT, PAD, VALUE = 1, 2, 3, 4, 5


@dataclasses.dataclass
class RecordFile:
    """A log, a MANIFEST or a value file."""

    data: bytes
    uuid: bytes
    file_id: int
    previous_sequence: int
    records: list[tuple[int, bytes]]  # offset and payload, without marks and pads
    mark_count: int


def read_record_file(path: Path, kind: int) -> RecordFile:
    """Read a file to its last byte."""
    data = path.read_bytes()
    head = Cursor(data[:64])
    need(head.take(8) == b"LSMKVREC", "magic")
    need(head.uint(4) == 1, "version")
    need(head.uint(4) == kind, "file type")
    uuid, number, file_id = head.take(16), head.uint(8), head.uint(8)
    need(number == number_of(path.name), "number")
    previous = head.uint(8)
    need(kind == LOG or previous == 0, "previous sequence of another file")
    need(head.uint(8) == xxhash.xxh3_64_intdigest(data[:56]), "header checksum")
    file = RecordFile(data, uuid, file_id, previous, [], 0)
    at = synced = 64
    while at < len(data):
        record = Cursor(data[at:])
        expected, size, tag = record.uint(8), record.uint(4), record.uint(1)
        need(record.take(3) == bytes(3), "zeros of a record")
        synced_to, payload = record.uint(8), record.take(size)
        padding = record.take(-size % 8)
        need(not any(padding), "padding")
        end = at + record.at
        need(expected == checksum(file_id, at, data[at + 8 : end]), "record checksum")
        need(synced_to <= at, "synced to")
        if tag == MARK:
            need(not payload and synced_to == at, "mark")
            synced = max(synced, synced_to)
            file.mark_count += 1
        elif tag == PAD:
            need(kind == LOG and not any(payload) and size <= ALIGN, "pad")
            need(end % ALIGN == 0, "what a pad is for")
        else:
            wanted = {LOG: BATCH, MANIFEST: EDIT, VALUES: VALUE}[kind]
            need(tag == wanted, f"record type {tag}")
            if tag == VALUE:
                need(at % ALIGN == 0 == end % ALIGN, "place of a record of values")
                need(not any(payload[:40]), "zeros before values")
            file.records.append((at, payload))
        at = end
    return file


def number_of(name: str) -> int:
    """Return the number in a file name, which must be canonical."""
    match = re.fullmatch(r"(?:MANIFEST-)?(\d{6,})(?:\.log|\.tbl|\.seg)?", name)
    need(match is not None, f"name {name}")
    assert match is not None
    number = int(match[1])
    need(number and match[1] == f"{number:06}", f"name {name}")
    return number


def read_batch(offset: int, payload: bytes) -> Iterator[Version]:
    """Yield the records of a batch; large values come as their bytes."""
    batch = Cursor(payload)
    sequence, _, count = batch.uint(8), batch.uint(8), batch.uint(4)
    need(count >= 1, "an empty batch")
    for number in range(sequence, sequence + count):
        tag, stored_key, field = batch.uint(1), batch.slice(), batch.slice()
        trailer = number << 8 | tag
        if tag == RANGE_DELETE:
            need_range(stored_key, field)
            yield Place(stored_key, -trailer), field
            continue
        place = Place.of(stored_key + trailer.to_bytes(8, "little"))
        if place.kind == POINTER:
            need(offset % ALIGN == 0, "place of a batch with large values")
            field = read_large(place, field, 24 + batch.at)
        else:
            need_value(place, field)
        yield place, field
    need(batch.left == 0, "bytes behind a batch")


def read_large(place: Place, field: bytes, end: int) -> bytes:
    """Return times and value of a large value whose field ends there."""
    cursor = Cursor(field)
    times = cursor.take(times_size(place.tag))
    digest, size = cursor.uint(8), cursor.varint()
    need(0 < size <= cursor.left, "size of a large value")
    zeros = cursor.take(cursor.left - size)
    need(not any(zeros) and len(zeros) < 2 * ALIGN, "zeros before a large value")
    need((end - size) % ALIGN == 0, "alignment of a large value")
    value = cursor.take(size)
    need(xxhash.xxh3_64_intdigest(value) == digest, "checksum of a large value")
    return times + value
