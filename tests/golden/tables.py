# SPDX-License-Identifier: Apache-2.0
"""Tables: blocks, index, filter, properties, range deletes.

Made from docs/file-format.md alone, as the reader of which it is a part.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import xxhash
import zstandard

from golden.cursor import Cursor, checksum, need, unzigzag
from golden.keys import (
    DELETE,
    EXCLUSIVE,
    RANGE_DELETE,
    SEQUENCE_MAX,
    Place,
    Version,
    expire_at,
    need_range,
    need_value,
)
from golden.manifest import TableInfo
from golden.record_files import number_of

DATA, INDEX, TOP_INDEX, FILTER, PROPERTIES, RANGES = 1, 2, 3, 4, 5, 6
FRAME_SIZE = 16
FOOTER_SIZE = 128


@dataclasses.dataclass
class Fragment:
    """A range of stored keys and the sequences of the range deletes over it."""

    start: bytes
    stop: bytes
    sequences: list[int]  # newest first

    def place(self, sequence: int) -> Place:
        return Place(self.start, -(sequence << 8 | RANGE_DELETE))


@dataclasses.dataclass
class Table:
    """A table that was read to the last byte, and what is worth knowing of it."""

    versions: list[Version]
    ranges: list[Fragment]
    codecs: set[int]
    data_blocks: int
    index_blocks: int
    has_filter: bool


class TableFile:
    """A table, while it is being read."""

    def __init__(self, path: Path, info: TableInfo, uuids: set[bytes]) -> None:
        self.data = path.read_bytes()
        self.info = info
        need(len(self.data) == info.file_size, "file size")
        footer = Cursor(self.data[-FOOTER_SIZE:])
        digest = xxhash.xxh3_64_intdigest(footer.data[:120])
        need(footer.take(8) == b"LSMKVTBL", "magic")
        need((footer.uint(4), footer.uint(4)) == (1, 0), "version or features")
        need(footer.take(16) in uuids, "UUID")
        need(footer.uint(8) == info.number == number_of(path.name), "number")
        need(footer.uint(8) == info.file_id, "file id")
        self.tail = footer.uint(8)
        need(self.tail == info.file_size - info.tail_size, "tail offset")
        self.index, self.filter, self.properties, self.ranges = (
            (footer.uint(8), footer.uint(8)) for _ in range(4)
        )
        need(footer.uint(8) == digest, "footer checksum")
        self.codecs: set[int] = set()

    def block(self, handle: tuple[int, int], kind: int) -> bytes:
        """Return the payload of a block, without its codec."""
        offset, size = handle
        end = offset + size + FRAME_SIZE
        need(size and end <= len(self.data) - FOOTER_SIZE, "a block outside")
        stored = self.data[offset : offset + size]
        frame = Cursor(self.data[end - FRAME_SIZE : end])
        raw_size, codec, found = frame.uint(4), frame.uint(1), frame.uint(1)
        need(frame.uint(2) == 0 and found == kind, f"block of type {found}")
        expected = checksum(self.info.file_id, offset, self.data[offset : end - 8])
        need(frame.uint(8) == expected, "block checksum")
        need(codec == 0 or kind == DATA, "a compressed block in the tail")
        if kind == DATA:
            self.codecs.add(codec)
        if codec != 0:
            need(codec == 1, "codec")
            need(zstandard.frame_content_size(stored) == raw_size, "zstd size")
            stored = zstandard.ZstdDecompressor().decompress(stored)
        need(len(stored) == raw_size, "raw size")
        return stored

    def walk(self, handle: tuple[int, int], kind: int) -> Iterator[Version]:
        """Yield the entries of a data or index block."""
        block = Cursor(self.block(handle, kind))
        key, sequence, first = b"", 0, True
        while block.left:
            shared, unshared, size = block.varint(), block.varint(), block.varint()
            tag, step = block.uint(1), block.varint()
            need(shared <= len(key) and (shared == 0 or not first), "shared")
            suffix = block.take(unshared)
            if not first and shared < len(key):
                need(suffix[:1] != key[shared : shared + 1], "shared too short")
            key = key[:shared] + suffix
            sequence = (sequence + unzigzag(step)) % (1 << 64)
            need(sequence <= SEQUENCE_MAX, "sequence")
            trailer = sequence << 8 | tag
            field = block.take(size)
            place = Place.of(key + trailer.to_bytes(8, "little"))
            if kind == DATA:
                need_value(place, field)
            yield place, field
            first = False


def read_table(path: Path, info: TableInfo, uuids: set[bytes]) -> Table:
    """Read a table to its last byte."""
    file = TableFile(path, info, uuids)
    at = file.tail
    if file.filter != (0, 0):
        need(file.filter[0] == at, "the filter begins the tail")
        at += file.filter[1] + FRAME_SIZE
    ranges: list[Fragment] = []
    if file.ranges != (0, 0):
        need(file.ranges[0] == at, "the range deletes come next")
        at += file.ranges[1] + FRAME_SIZE
        ranges = read_ranges(file.block(file.ranges, RANGES))
    properties = read_properties(file.block(file.properties, PROPERTIES))
    index_blocks = properties.get(8, 0)
    separators, at = read_index(file, index_blocks, at)
    need(file.properties[0] == at, "the properties follow the index")
    at += file.properties[1] + FRAME_SIZE
    need(at == len(file.data) - FOOTER_SIZE, "the footer follows the properties")
    need(len(separators) == properties.get(1, 0), "data blocks")
    versions = read_data(file, separators)
    check_bounds(versions, ranges, info)
    check_totals(versions, ranges, info, properties)
    if file.filter != (0, 0):
        check_filter(file.block(file.filter, FILTER), versions)
    has_filter = file.filter != (0, 0)
    return Table(
        versions, ranges, file.codecs, len(separators), index_blocks, has_filter
    )


def read_ranges(payload: bytes) -> list[Fragment]:
    """Read the fragments of range deletes."""
    cursor = Cursor(payload)
    found: list[Fragment] = []
    while cursor.left:
        start, stop, count = cursor.slice(), cursor.slice(), cursor.varint()
        need_range(start, stop)
        need(not found or found[-1].stop <= start, "order of range deletes")
        sequences = [cursor.varint()]
        for _ in range(count - 1):
            sequences.append(sequences[-1] - cursor.varint())
        need(count == len(set(sequences)) and sequences[-1] >= 1, "their sequences")
        need(sequences[0] <= SEQUENCE_MAX, "sequence of a range delete")
        found.append(Fragment(start, stop, sequences))
    return found


def check_bounds(
    versions: list[Version], ranges: list[Fragment], info: TableInfo
) -> None:
    """Hold the bounds that the MANIFEST says against what the table holds."""
    smallest = [place for place, _ in versions[:1]]
    largest = [place for place, _ in versions[-1:]]
    if ranges:
        smallest.append(ranges[0].place(ranges[0].sequences[0]))
        largest.append(Place(ranges[-1].stop, -EXCLUSIVE))
    need(min(smallest) == info.smallest, "smallest key")
    need(max(largest) == info.largest, "largest key")


Separators = list[tuple[Place, tuple[int, int]]]


def read_index(file: TableFile, count: int, at: int) -> tuple[Separators, int]:
    """Return separators and handles of data blocks, and where the index ends."""
    if count == 0:
        need(file.index == (0, 0), "an index of nothing")
        return [], at
    if count == 1:
        lasts = [place for place, _ in read_handles(file, file.index, INDEX)[-1:]]
        blocks = [(place, file.index) for place in lasts]
    else:
        blocks = read_handles(file, file.index, TOP_INDEX)
    need(len(blocks) == count, "index blocks")
    separators: Separators = []
    for last, handle in blocks:
        need(handle[0] == at, "index blocks end to end")
        at += handle[1] + FRAME_SIZE
        separators += read_handles(file, handle, INDEX)
        need(separators[-1][0] == last, "the last separator of an index block")
    if count > 1:
        need(file.index[0] == at, "the top index follows")
        at += file.index[1] + FRAME_SIZE
    return separators, at


def read_handles(file: TableFile, handle: tuple[int, int], kind: int) -> Separators:
    """Read the entries of an index block."""
    found = []
    for place, field in file.walk(handle, kind):
        inner = Cursor(field)
        found.append((place, inner.handle()))
        need(inner.left == 0, "bytes behind a handle")
    return found


def read_data(file: TableFile, separators: Separators) -> list[Version]:
    """Read all data blocks and hold them against their separators."""
    versions: list[Version] = []
    at = 0
    for number, (separator, handle) in enumerate(separators):
        need(handle[0] == at, "data blocks end to end")
        at += handle[1] + FRAME_SIZE
        block = list(file.walk(handle, DATA))
        if number:
            need(separators[number - 1][0] < block[0][0], "separator too large")
        need(block[-1][0] <= separator, "separator too small")
        versions += block
    need(at == file.tail, "the tail follows the data")
    places = [place for place, _ in versions]
    need(all(a < b for a, b in itertools.pairwise(places)), "order")
    need(places[-1:] == [place for place, _ in separators[-1:]], "last separator")
    return versions


def read_properties(payload: bytes) -> dict[int, int]:
    """Read all properties, of which version 1 writes only numbers."""
    cursor = Cursor(payload)
    found: dict[int, int] = {}
    while cursor.left:
        tag, content = cursor.varint(), Cursor(cursor.slice())
        need(tag > max(found, default=0), "order of properties")
        found[tag] = content.varint()
        need(content.left == 0, "bytes behind a property")
    return found


def check_totals(
    versions: list[Version],
    ranges: list[Fragment],
    info: TableInfo,
    properties: dict[int, int],
) -> None:
    """Count again what MANIFEST and properties say."""
    sequences = [place.sequence for place, _ in versions]
    sequences += [number for piece in ranges for number in piece.sequences]
    found = {
        2: len(versions),
        3: sum(place.tag == DELETE for place, _ in versions),
        4: sum(place.size for place, _ in versions),
        5: sum(len(field) for _, field in versions),
        6: min(sequences),
        7: max(sequences),
        11: len(ranges),
    }
    for tag, value in found.items():
        need(properties.get(tag, 0) == value, f"property {tag}")
    times = [expire_at(place, field) for place, field in versions]
    given = [time for time in times if time is not None]
    need(properties.get(9, 0) == min(given, default=0), "earliest expiry")
    need(properties.get(10, 0) == max(given, default=0), "latest expiry")
    all_at = 0 if None in times else max(given, default=0)
    need(info.expire_all_at == all_at, "expiry of all")
    need(not given or info.expire_half_at <= max(given), "expiry of half")
    said = info.entries, info.tombstones, info.raw_bytes
    need(said == (found[2], found[3], found[4] + found[5]), "totals in the MANIFEST")
    said_sequences = info.sequence_min, info.sequence_max
    need(said_sequences == (found[6], found[7]), "sequences in the MANIFEST")
    need(info.range_deletes == len(ranges), "range deletes in the MANIFEST")


def check_filter(payload: bytes, versions: list[Version]) -> None:
    """Find every key in the filter."""
    tail = Cursor(payload[-8:])
    line_count, probes = tail.uint(4), tail.uint(1)
    need(tail.take(3) == bytes(3) and 1 <= probes <= 16, "end of the filter")
    need(len(payload) == 64 * line_count + 8, "size of the filter")
    for place, _ in versions:
        h = xxhash.xxh3_64_intdigest(place.stored_key)
        start = ((h >> 32) * line_count >> 32) * 64
        x = h & 0xFFFFFFFF
        for _ in range(probes):
            bit = x >> 23
            need(payload[start + bit // 8] >> bit % 8 & 1, "a key not in the filter")
            x = x * 0x9E3779B9 & 0xFFFFFFFF
