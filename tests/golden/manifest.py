# SPDX-License-Identifier: Apache-2.0
"""The MANIFEST: which files are live.

Made from docs/file-format.md alone, as the reader of which it is a part.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import xxhash

from golden.cursor import Cursor, need
from golden.keys import RANGE_DELETE, Place
from golden.record_files import MANIFEST, read_record_file


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
    dropped_caches: int = 0


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
            files.dropped_caches += 1
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
