# SPDX-License-Identifier: Apache-2.0
"""Reads a database directory as docs/file-format.md says, without the engine.

It is written from that page alone and believes nothing: a byte that is not what the
page says raises WrongBytesError. Damage that recovery forgives, it does not: it reads
what an engine has left that was stopped in peace, or copied while nothing was written.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import xxhash
import zstandard

from golden.cursor import Cursor, checksum, need, unzigzag
from golden.definitions import read_published, read_spaces
from golden.frames import read_cached, read_caches
from golden.hot_list import check_hot_list

PUT, DELETE, RANGE_DELETE, POINTER, CACHED = 1, 2, 3, 4, 6
EXPIRES, FRESH = 0x10, 0x20
LOG, MANIFEST, VALUES = 1, 2, 3
BATCH, MARK, EDIT, PAD, VALUE = 1, 2, 3, 4, 5
DATA, INDEX, TOP_INDEX, FILTER, PROPERTIES, RANGES = 1, 2, 3, 4, 5, 6
SYSTEM, DEFAULT = 0, 1
FRAME_SIZE = 16
FOOTER_SIZE = 128
SEQUENCE_MAX = (1 << 56) - 1
EXCLUSIVE = (1 << 64) - 1  # the trailer of an end that is outside
POINTER_SIZE = 28
ALIGN = 64


def need_value(place: Place, field: bytes) -> None:
    """Check that a value field has what its tag names."""
    need(place.tag != DELETE or not field, "a value of a DELETE")
    need(len(field) >= times_size(place.tag), "times cut short")
    if place.kind in (POINTER, CACHED):
        need(len(field) == times_size(place.tag) + POINTER_SIZE, "size of a pointer")


def need_range(start: bytes, stop: bytes) -> None:
    """Check the ends of a range delete, which are stored keys of one namespace."""
    need(min(len(start), len(stop)) >= 4 and start < stop, "an empty range")
    following = int.from_bytes(start[:4], "big") + 1
    need(stop[:4] == start[:4] or stop == following.to_bytes(4, "big"), "its end")


def times_size(tag: int) -> int:
    """Return the size of the times in front of a value."""
    return (8 if tag & EXPIRES else 0) + (8 if tag & FRESH else 0)


def expire_at(place: Place, field: bytes) -> int | None:
    """Return when a version is dead; None is never."""
    return int.from_bytes(field[:8], "little") if place.tag & EXPIRES else None


@dataclasses.dataclass(frozen=True, order=True)
class Place:
    """An internal key; its order is that of the format."""

    stored_key: bytes
    minus_trailer: int

    @classmethod
    def bound(cls, internal_key: bytes, is_bound: Callable[[Place], bool]) -> Place:
        """Read a bound of a table: a key, or what `is_bound` accepts besides."""
        need(len(internal_key) >= 12, "an internal key of less than 12 bytes")
        place = cls(internal_key[:-8], -int.from_bytes(internal_key[-8:], "little"))
        return place if is_bound(place) else cls.of(internal_key)

    @classmethod
    def of(cls, internal_key: bytes) -> Place:
        place = cls.bound(internal_key, lambda _: True)
        kind, known = place.tag & 0xF, place.tag & 0x3F == place.tag
        has_value = kind in (PUT, POINTER, CACHED) and known
        need(place.tag == DELETE or has_value, f"tag {place.tag}")
        return place

    @property
    def is_exclusive(self) -> bool:
        return self.minus_trailer == -EXCLUSIVE

    @property
    def sequence(self) -> int:
        return -self.minus_trailer >> 8

    @property
    def tag(self) -> int:
        return -self.minus_trailer & 0xFF

    @property
    def kind(self) -> int:
        return self.tag & 0xF

    @property
    def size(self) -> int:
        return len(self.stored_key) + 8


Version = tuple[Place, bytes]  # and its value field


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


@dataclasses.dataclass
class Segment:
    """What the MANIFEST says of a file that large values lie in."""

    file_id: int
    size: int
    kind: int


@dataclasses.dataclass
class TableInfo:
    """What the MANIFEST says of a table."""

    level: int
    number: int
    file_id: int
    file_size: int
    tail_size: int
    smallest: Place
    largest: Place
    sequence_min: int
    sequence_max: int
    entries: int
    tombstones: int
    raw_bytes: int
    expire_all_at: int
    expire_half_at: int
    range_deletes: int
    segments: dict[int, int]


@dataclasses.dataclass
class Files:
    """What is live."""

    uuid: bytes
    origins: set[bytes] = dataclasses.field(default_factory=set)
    next_file: int = 0
    last_sequence: int = 0
    first_log: int = 0
    logs: dict[int, int] = dataclasses.field(default_factory=dict)
    tables: dict[int, TableInfo] = dataclasses.field(default_factory=dict)
    segments: dict[int, Segment] = dataclasses.field(default_factory=dict)
    caches: dict[int, tuple[int, int]] = dataclasses.field(default_factory=dict)


def read_manifest(path: Path) -> Files:
    """Apply all edits."""
    file = read_record_file(path, MANIFEST)
    files = Files(file.uuid)
    for index, (_, payload) in enumerate(file.records):
        apply_edit(files, Cursor(payload), is_first=index == 0)
    need(file.records, "no edit")
    named = {number for info in files.tables.values() for number in info.segments}
    need(named <= files.segments.keys(), "a segment that no edit declares")
    files.segments = {number: files.segments[number] for number in sorted(named)}
    return files


def apply_edit(files: Files, edit: Cursor, *, is_first: bool) -> None:
    """Apply one edit."""
    once: dict[int, int] = {}
    added: list[TableInfo] = []
    while edit.left:
        tag = edit.varint()
        if tag in (1, 2, 3, 8):
            need(tag not in once, f"field {tag} twice")
            once[tag] = edit.varint()
        elif tag == 4:
            number = edit.varint()
            files.logs[number] = edit.uint(8)
        elif tag == 5:
            added.append(read_table_info(edit))
        elif tag == 7:
            number = edit.varint()
            need(number not in files.segments, "a segment twice")
            segment = Segment(edit.uint(8), edit.varint(), edit.varint())
            files.segments[number] = segment
        elif tag == 10:
            number = edit.varint()
            need(number not in files.caches, "a cache segment twice")
            files.caches[number] = edit.uint(8), edit.varint()
        elif tag == 11:
            need(files.caches.pop(edit.varint(), None), "a cache segment dropped")
        elif tag == 9:
            files.origins.add(edit.take(16))
        else:
            need(tag == 6, f"field {tag}")
            level, number = edit.varint(), edit.varint()
            need(files.tables.pop(number).level == level, "deleted from its level")
    need(once.keys() >= {1, 2, 3} or not is_first, "the first edit")
    files.next_file = max(files.next_file, once.get(1, 0))
    files.last_sequence = max(files.last_sequence, once.get(2, 0))
    files.first_log = max(files.first_log, once.get(3, 0))
    for table in added:
        need(table.number not in files.tables, "a table twice")
        files.tables[table.number] = table


def read_table_info(edit: Cursor) -> TableInfo:
    """Read the fields of an added table."""
    level, number, file_id = edit.varint(), edit.varint(), edit.uint(8)
    sizes = edit.varint(), edit.varint()
    smallest = Place.bound(edit.slice(), lambda place: place.tag == RANGE_DELETE)
    largest = Place.bound(edit.slice(), lambda place: place.is_exclusive)
    counts = edit.varint(), edit.varint(), edit.varint(), edit.varint()
    others = edit.varint(), edit.varint(), edit.varint(), edit.varint()
    pairs = [(edit.varint(), edit.varint()) for _ in range(edit.varint())]
    need(level <= 6 and smallest <= largest, "level or key range")
    need(pairs == sorted(dict(pairs).items()), "order of segments")
    need(all(size for _, size in pairs), "a segment for no bytes")
    first = level, number, file_id, *sizes, smallest, largest
    return TableInfo(*first, *counts, *others, dict(pairs))


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


@dataclasses.dataclass
class Database:
    """Everything that a directory holds, as if nothing had expired."""

    files: Files
    tables: dict[int, Table]
    logs: dict[int, RecordFile]
    segments: dict[int, RecordFile]
    rows: dict[bytes, bytes]
    options: dict[int, int]
    spaces: dict[str, dict[bytes, bytes]]
    published: dict[tuple[str, str], dict[bytes, bytes]]  # by name and version
    currents: dict[str, str]


def read_current(path: Path) -> str:
    """Return the name of the MANIFEST."""
    match = re.fullmatch(r"(MANIFEST-\d+) ([0-9a-f]{16})\n", path.read_text("ascii"))
    need(match is not None, "CURRENT")
    assert match is not None
    need(
        int(match[2], 16) == xxhash.xxh3_64_intdigest(match[1].encode()),
        "CURRENT's checksum",
    )
    return match[1]


def read_database(directory: Path) -> Database:
    """Read a directory; every file in it but LOCK must be live."""
    manifest = read_current(directory / "CURRENT")
    files = read_manifest(directory / manifest)
    tables = {
        number: read_table(
            directory / f"{number:06}.tbl", info, {files.uuid, *files.origins}
        )
        for number, info in files.tables.items()
    }
    logs = {
        number_of(path.name): read_record_file(path, LOG)
        for path in sorted(directory.glob("*.log"))
        if number_of(path.name) >= files.first_log
    }
    segments = {
        number: read_segment(directory, number, segment, files)
        for number, segment in files.segments.items()
    }
    expected = {"CURRENT", manifest} | {f"{number:06}.tbl" for number in tables}
    expected |= {f"{number:06}.log" for number in logs}
    expected |= {segment_name(*item) for item in files.segments.items()}
    caches = {n: (directory / f"{n:06}.cache").read_bytes() for n in files.caches}
    expected |= {f"{number:06}.cache" for number in caches}
    expected |= check_hot_list(directory, files.uuid)
    need({p.name for p in directory.iterdir()} - {"LOCK"} == expected, "files")
    versions = [
        (place, follow(place, field, segments))
        for table in tables.values()
        for place, field in table.versions
    ]
    for number, table in tables.items():
        need(count_pointed(table) == files.tables[number].segments, "bytes pointed to")
    versions += [
        (piece.place(sequence), piece.stop)
        for table in tables.values()
        for piece in table.ranges
        for sequence in piece.sequences
    ]
    versions += replay(files, logs)
    newest: dict[bytes, bytes | None] = {}
    for place, field in sorted(versions, key=lambda item: item[0].sequence):
        if place.tag == RANGE_DELETE:
            covered = [key for key in newest if place.stored_key <= key < field]
            newest |= dict.fromkeys(covered)
        else:
            stored = field[times_size(place.tag) :]
            lost = place.tag == DELETE
            found = read_cached(stored, caches) if place.kind == CACHED else stored
            newest[place.stored_key] = None if lost else found
    check_levels(files)
    rows: dict[int, dict[bytes, bytes]] = collections.defaultdict(dict)
    for stored_key, value in sorted(newest.items()):
        if value is not None:
            rows[int.from_bytes(stored_key[:4], "big")][stored_key[4:]] = value
    options, spaces, published, currents = read_system(rows.pop(SYSTEM))
    read_caches(caches, files.uuid, files.caches)
    named = {name: rows.pop(number, {}) for name, number in spaces.items()}
    plain = rows.pop(DEFAULT, {})
    sets = {name: rows.pop(number, {}) for name, number in published.items()}
    need(not rows, "rows of a namespace without a definition")
    return Database(
        files, tables, logs, segments, plain, options, named, sets, currents
    )


def read_system(
    rows: dict[bytes, bytes],
) -> tuple[dict[int, int], dict[str, int], dict[tuple[str, str], int], dict[str, str]]:
    """Take the engine's own rows apart: options, namespaces, what is published."""
    options = read_options(rows.pop(b"options"))
    published, currents = read_published(rows)
    spaces = read_spaces(rows, published)
    need(not rows, "unknown keys of the engine's")
    return options, spaces, published, currents


def segment_name(number: int, segment: Segment) -> str:
    """Return the name of a segment's file."""
    need(segment.kind in (1, 2), "kind of a segment")
    return f"{number:06}.{'log' if segment.kind == 1 else 'seg'}"


def read_segment(
    directory: Path, number: int, segment: Segment, files: Files
) -> RecordFile:
    """Read a file of large values to its last byte."""
    need(number < files.next_file, "number of a segment")
    need(segment.kind == 2 or number < files.first_log, "a sealed log that is live")
    path = directory / segment_name(number, segment)
    file = read_record_file(path, LOG if segment.kind == 1 else VALUES)
    need(file.file_id == segment.file_id, "file id of a segment")
    need(file.uuid in {files.uuid, *files.origins}, "UUID of a segment")
    need(len(file.data) == segment.size, "size of a segment")
    return file


def split_pointer(place: Place, field: bytes) -> tuple[bytes, int, int, int, int]:
    """Return times, segment, offset, size and checksum."""
    cursor = Cursor(field)
    times = cursor.take(times_size(place.tag))
    return times, cursor.uint(8), cursor.uint(8), cursor.uint(4), cursor.uint(8)


def follow(place: Place, field: bytes, segments: dict[int, RecordFile]) -> bytes:
    """Return the field with the value in the place of a pointer."""
    if place.kind != POINTER:
        return field
    times, number, offset, size, digest = split_pointer(place, field)
    data = segments[number].data
    need(offset % ALIGN == 0 and offset >= 64 and size > 0, "place of a large value")
    need(offset + size <= len(data), "end of a large value")
    value = data[offset : offset + size]
    need(xxhash.xxh3_64_intdigest(value) == digest, "checksum of a large value")
    return times + value


def count_pointed(table: Table) -> dict[int, int]:
    """Count the bytes a table points to, by segment."""
    found: dict[int, int] = {}
    for place, field in table.versions:
        if place.kind == POINTER:
            _, number, _, size, _ = split_pointer(place, field)
            found[number] = found.get(number, 0) + size + -size % ALIGN
    return dict(sorted(found.items()))


def replay(files: Files, logs: dict[int, RecordFile]) -> Iterator[Version]:
    """Yield what the logs hold, in the order of commits."""
    need(files.logs.keys() - set(range(files.first_log)) <= logs.keys(), "logs")
    reached = files.last_sequence
    for number, log in sorted(logs.items()):
        need(files.first_log <= number < files.next_file, "number of a log")
        need(log.uuid == files.uuid, "UUID of a log")
        need(files.logs.get(number, log.file_id) == log.file_id, "file id of a log")
        need(log.previous_sequence == reached, "previous sequence of a log")
        for offset, payload in log.records:
            for place, field in read_batch(offset, payload):
                need(place.sequence == reached + 1, "sequence in a log")
                reached += 1
                yield place, field


def check_levels(files: Files) -> None:
    """Check how the tables of a level lie to each other."""
    for level in range(7):
        tables = [info for info in files.tables.values() if info.level == level]
        if level == 0:
            ranges = sorted((info.sequence_min, info.sequence_max) for info in tables)
            apart = (a[1] < b[0] for a, b in itertools.pairwise(ranges))
        else:
            tables.sort(key=lambda info: info.smallest)
            apart = (
                a.largest.stored_key < b.smallest.stored_key
                or (a.largest.stored_key, a.largest.minus_trailer)
                == (b.smallest.stored_key, -EXCLUSIVE)
                for a, b in itertools.pairwise(tables)
            )
        need(all(apart), f"tables of level {level} overlap")
        for info in tables:
            need(info.number < files.next_file, "number of a table")
            need(info.sequence_max <= files.last_sequence, "sequence of a table")


def read_options(value: bytes) -> dict[int, int]:
    """Read the remembered options."""
    cursor = Cursor(value)
    need(cursor.uint(1) == 1, "version of the options")
    options: dict[int, int] = {}
    while cursor.left:
        tag = cursor.varint()
        need(max(options, default=0) < tag <= 9, "tag of an option")
        options[tag] = cursor.varint()
    options[4] = unzigzag(options[4])
    return options
