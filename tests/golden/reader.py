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
from collections.abc import Iterator
from pathlib import Path

import xxhash

from golden import hot_list
from golden.cursor import need
from golden.definitions import System, read_system
from golden.frames import read_cached, read_caches
from golden.hot_list import Group
from golden.keys import (
    ALIGN,
    CACHED,
    DELETE,
    EXCLUSIVE,
    POINTER,
    RANGE_DELETE,
    Place,
    Version,
    split_pointer,
    times_size,
)
from golden.manifest import Files, Segment, read_current, read_manifest
from golden.record_files import (
    LOG,
    VALUES,
    RecordFile,
    number_of,
    read_batch,
    read_record_file,
)
from golden.tables import Table, read_table

SYSTEM, DEFAULT = 0, 1


@dataclasses.dataclass
class Database:
    """Everything that a directory holds, as if nothing had expired."""

    files: Files
    tables: dict[int, Table]
    logs: dict[int, RecordFile]
    segments: dict[int, RecordFile]
    system: System
    rows: dict[bytes, bytes]
    spaces: dict[str, dict[bytes, bytes]]
    published: dict[tuple[str, str], dict[bytes, bytes]]  # by name and version
    hot: list[Group] | None


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
    hot = hot_list.read_hot_list(directory, files.uuid)
    expected |= {hot_list.NAME} if hot is not None else set()
    names = {path.name for path in directory.iterdir()}
    need(names - {"LOCK", "STATS"} == expected, "files")
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
    system = read_system(rows.pop(SYSTEM))
    read_caches(caches, files.uuid, files.caches)
    named = {name: rows.pop(number, {}) for name, number in system.spaces.items()}
    plain = rows.pop(DEFAULT, {})
    sets = {name: rows.pop(number, {}) for name, number in system.published.items()}
    need(not rows, "rows of a namespace without a definition")
    return Database(files, tables, logs, segments, system, plain, named, sets, hot)


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
