# SPDX-License-Identifier: Apache-2.0
"""Goal: what inspection shows of files explains all that a database shows, and of a
damaged file what is left of it.

Method: the newest version of each key, taken from the tables and logs that are live,
compared with the rows that the database has; the golden database, compared with the
independent reader of the tests; files with holes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lsmkv
from golden import reader
from harness.running import copy_running
from lsmkv import _base

GOLDEN = Path(__file__).parents[1] / "golden" / "v1"


def parts(path: Path, kind: str, name: str = "") -> list[lsmkv.Part]:
    return [
        part
        for part in lsmkv.inspect(path, entries=True)
        if part.kind == kind and name in ("", part.name)
    ]


def facts(path: Path, kind: str, name: str = "") -> list[dict[str, Any]]:
    return [dict(part.facts) for part in parts(path, kind, name)]


def manifest_of(directory: Path) -> Path:
    (current,) = facts(directory / "CURRENT", "file")
    return directory / f"MANIFEST-{current['manifest']:06d}"


def live_files(directory: Path) -> list[Path]:
    """The tables and logs that the MANIFEST says are live."""
    tables: set[int] = set()
    first_log = 0
    for part in lsmkv.inspect(manifest_of(directory)):
        if part.name == "deleted table":
            tables.remove(part.facts["number"])  # type: ignore[arg-type]
        if part.name == "first live log":
            first_log = max(first_log, int(part.facts["number"]))
        if part.name == "added table":
            tables.add(part.facts["number"])  # type: ignore[arg-type]
    logs = [path for path in directory.glob("*.log") if int(path.stem) >= first_log]
    return [directory / f"{number:06d}.tbl" for number in sorted(tables)] + logs


def value_of(directory: Path, entry: lsmkv.Part) -> bytes:
    """The value, from where it lies."""
    known = entry.facts
    if "value" in known:
        return known["value"]  # type: ignore[return-value]
    name = f"{int(known['segment']):06d}"
    (path,) = [p for p in directory.glob(f"{name}.*") if p.suffix != ".tbl"]
    with path.open("rb") as file:
        file.seek(int(known["value_offset"]))
        return file.read(int(known["value_size"]))


def explain(directory: Path) -> dict[tuple[int, bytes], bytes]:
    """The rows that the entries of all live files come to, by namespace and key."""
    versions: dict[tuple[int, bytes], tuple[int, lsmkv.Part]] = {}
    ranges: list[tuple[int, tuple[int, bytes], tuple[int, bytes]]] = []
    for path in live_files(directory):
        for entry in parts(path, "entry"):
            known: Any = entry.facts
            if entry.name == "separator":
                continue
            place = (known["namespace"], known["key"])
            if entry.name == "range delete":
                stop = (known["stop_namespace"], known["stop"])
                ranges.append((known["sequence"], place, stop))
            elif versions.get(place, (0,))[0] <= known["sequence"]:
                versions[place] = (known["sequence"], entry)
    return {
        place: value_of(directory, entry)
        for place, (sequence, entry) in versions.items()
        if entry.name != "delete"
        and not any(a <= place < b and sequence < s for s, a, b in ranges)
    }


@pytest.fixture
def database(path: Path) -> Path:
    """A database with several tables and levels, a log with records, and every kind of
    entry."""
    with lsmkv.open(path, memory_bytes=1 << 20, blob_threshold_bytes=512) as db:
        for round_ in range(4):
            for i in range(round_, 300, round_ + 1):
                db.put(b"key %d" % i, b"%d." % round_ * (i % 40))
            db.put(b"large %d" % round_, bytes([round_]) * 3000)
            db.flush()
        db.namespace("other").put(b"key 1", b"of another namespace", ttl=1e6)
        db.delete(b"key 7")
        db.delete_range(b"key 20", b"key 25")
        db.flush()
        db.compact()
        db.put(b"key 30", b"in the log")
        db.delete(b"key 31")
        db.delete_range(b"key 5", b"key 52")
        db.put(b"large 1", b"x" * 5000)
        db.put(b"key 50", b"above the range")
        db.sync()
        copy = path.with_name("copy")
        copy_running(db, copy)
    return copy


def test_entries_of_live_files_explain_every_row(database: Path) -> None:
    explained = explain(database)
    with lsmkv.open(database, mode="r") as db:
        rows = {(1, key): value for key, value in db.items()}
        other = db.namespace("other", create=False)
        rows |= {(2, key): value for key, value in other.items()}
    assert len(rows) > 200
    assert {k: v for k, v in explained.items() if k[0] != 0} == rows
    for path in live_files(database):
        assert parts(path, "damage") == []


def test_golden_files_are_whole() -> None:
    for path in GOLDEN.iterdir():
        found = list(lsmkv.inspect(path, entries=True))
        assert found[0].kind == "file"
        assert [part for part in found if part.kind in ("damage", "rest")] == []


def places(entries: list[lsmkv.Part]) -> Iterator[tuple[bytes, int]]:
    """Stored key and sequence of each."""
    for entry in entries:
        known: Any = entry.facts
        yield known["namespace"].to_bytes(4, "big") + known["key"], known["sequence"]


def test_golden_files_are_shown_as_the_second_reader_reads_them() -> None:
    found = reader.read_database(GOLDEN)
    for number, table in found.tables.items():
        entries = parts(GOLDEN / f"{number:06d}.tbl", "entry")
        rows = [e for e in entries if e.name not in ("separator", "range delete")]
        assert list(places(rows)) == [
            (place.stored_key, place.sequence) for place, _ in table.versions
        ]
        assert sorted(places([e for e in entries if e.name == "range delete"])) == [
            (piece.place(sequence).stored_key, sequence)
            for piece in table.ranges
            for sequence in sorted(piece.sequences)
        ]
    for number, log in found.logs.items():
        path = GOLDEN / f"{number:06d}.log"
        batches = parts(path, "record", "batch")
        assert [batch.offset for batch in batches] == [at for at, _ in log.records]
        assert len(parts(path, "record", "mark")) == log.mark_count
    info = {known["number"]: known for known in facts_of_tables(GOLDEN)}
    assert info.keys() >= found.files.tables.keys()
    for number, described in found.files.tables.items():
        known = info[number]
        assert known["entries"] == len(found.tables[number].versions)
        assert known["sequence_max"] == described.sequence_max
        assert known["level"] == described.level


def facts_of_tables(directory: Path) -> list[dict[str, Any]]:
    return facts(manifest_of(directory), "field", "added table")


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def test_a_damaged_block_is_named_and_the_others_are_shown(database: Path) -> None:
    path = max(database.glob("*.tbl"), key=lambda p: p.stat().st_size)
    blocks = parts(path, "block", "data block")
    entries = len(parts(path, "entry"))
    assert len(blocks) > 1
    flip(path, blocks[1].offset + 5)
    (damage,) = parts(path, "damage")
    assert (damage.name, damage.offset) == ("data block", blocks[1].offset)
    assert damage.size == blocks[1].size
    assert "checksum is" in str(damage.facts["problem"])
    assert len(parts(path, "entry")) == entries - int(blocks[1].facts["entries"])


def test_a_table_without_footer_needs_its_id(database: Path) -> None:
    path = next(iter(database.glob("*.tbl")))
    (file,) = facts(path, "file")
    entries = len(parts(path, "entry"))
    flip(path, path.stat().st_size - 1)
    assert parts(path, "entry") == []
    found = list(
        lsmkv.inspect(path, entries=True, file_id=int(str(file["file_id"]), 16))
    )
    assert len([part for part in found if part.kind == "entry"]) == entries


def test_a_log_goes_on_behind_damage(database: Path) -> None:
    path = max(database.glob("*.log"))
    batches = parts(path, "record", "batch")
    flip(path, batches[1].offset + 20)
    (damage,) = parts(path, "damage")
    assert (damage.offset, damage.size) == (batches[1].offset, batches[1].size)
    assert parts(path, "record", "batch") == [batches[0], *batches[2:]]


def test_what_is_no_file_of_a_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    with pytest.raises(FileNotFoundError):
        lsmkv.inspect(path)
    path.write_bytes(b"what is this?")
    with pytest.raises(lsmkv.NotADatabaseError, match="neither its bytes"):
        lsmkv.inspect(path)
    assert [part.kind for part in lsmkv.inspect(path, type="table")] == [
        "file",
        "damage",
    ]
    header = bytearray((GOLDEN / "000061.log").read_bytes()[:64])
    header[8] = 9
    header[56:] = _base.xxh3_64(bytes(header[:56])).to_bytes(8, "little")
    path.write_bytes(header)
    with pytest.raises(lsmkv.UnsupportedVersionError, match="format version 9"):
        lsmkv.inspect(path)


def test_iterators_of_one_inspection_are_independent_of_the_file(
    database: Path,
) -> None:
    path = manifest_of(database)
    found = lsmkv.inspect(path)
    first = next(found)
    path.unlink()
    assert (first.name, first.kind) == ("manifest", "file")
    assert len(list(found)) > 5
