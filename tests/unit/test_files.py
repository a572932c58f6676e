# SPDX-License-Identifier: Apache-2.0
"""Goal: verify, repair and destroy do to a directory what they say and no more.

Method: real directories, whole, damaged and strange; the crash program damages every
byte.
"""

import os
from pathlib import Path
from typing import Literal

import pytest

import lsmkv
from harness.running import copy_running

SMALL = lsmkv.Options(
    memory_bytes=1 << 20, memtable_bytes=16 << 10, table_bytes=4 << 10
)


def contents(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {
        entry.name: (entry.stat().st_mtime_ns, entry.read_bytes())
        for entry in directory.iterdir()
    }


@pytest.fixture
def written(path: Path) -> Path:
    """Return a database of every kind of thing, closed."""
    with lsmkv.open(path, options=SMALL) as db:
        for i in range(1000):
            db.put(b"%05d" % i, b"value %d" % i)
        for i in range(0, 1000, 7):
            db.delete(b"%05d" % i)
        db.delete_range(b"00300", b"00310")
        for i in range(20):
            db.put(b"large %d" % i, os.urandom(5000))
        db.put(b"mortal", b"1", ttl=1000)
        db.put(b"", b"")
    return path


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """Name another directory."""
    return tmp_path / "into"


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("closed", [True, False])
def test_a_whole_database_comes_out_the_same(
    path: Path, into: Path, compression: Literal["none", "zstd"], closed: bool
) -> None:
    with lsmkv.open(path, options=SMALL, compression=compression) as db:
        for i in range(2000):
            db.put(b"%05d" % i, b"value %d" % i)
        db.put(b"large", b"x" * 100000)
        db.put(b"mortal", b"1", ttl=1000)
        db.delete_range(b"00100", b"00200")
        rows = dict(db.items())
        if not closed:
            source = path.with_name("died")
            copy_running(db, source)
        else:
            source = path
    before = contents(source)
    report = lsmkv.repair(source, into)
    assert report.ok, report
    assert report.record_count == len(rows) + 1  # and the options
    assert contents(source) == before
    with lsmkv.open(into) as db:
        assert dict(db.items()) == rows
        ttl = db.ttl(b"mortal")
        assert ttl is not None
        assert 900 < ttl <= 1000
        assert db.verify().ok
        db.put(b"more", b"1")
        db.compact()
        assert dict(db.items()) == {**rows, b"more": b"1"}


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST", "LOCK"])
def test_what_only_names_the_others_may_be_lost(
    written: Path, into: Path, name: str
) -> None:
    with lsmkv.open(written, mode="r") as db:
        rows = dict(db.items())
    next(written.glob(f"{name}*")).unlink()
    report = lsmkv.repair(written, into)
    assert report.ok == (name == "LOCK" or name == "CURRENT")
    with lsmkv.open(into) as db:
        assert dict(db.items()) == rows
        assert db.verify().ok


def test_a_lost_file_of_many_values_leaves_room_for_other_problems(path: Path) -> None:
    with lsmkv.open(path, blob_threshold_bytes=64) as db:
        db.put_many({b"%05d" % i: bytes(100) for i in range(2000)})
        db.compact()
        db.put(b"z", bytes(10_000))
        db.compact()
    lost, damaged = sorted(path.glob("*.log"), key=lambda log: -log.stat().st_size)[:2]
    lost.unlink()
    content = bytearray(damaged.read_bytes())
    content[5000] ^= 1
    damaged.write_bytes(content)
    report = lsmkv.verify(path)
    assert report.problem_count > 1000
    assert len(set(report.problems)) == len(report.problems) < 10
    assert {problem.file for problem in report.problems} == {lost.name, damaged.name}


def test_a_lost_table_costs_its_values_and_is_reported(
    written: Path, into: Path
) -> None:
    with lsmkv.open(written, mode="r") as db:
        rows = dict(db.items())
    table = sorted(written.glob("*.tbl"))[1]
    table.unlink()
    assert not lsmkv.verify(written).ok
    report = lsmkv.repair(written, into)
    assert not report.ok
    assert any(table.name in problem.message for problem in report.problems)
    with lsmkv.open(into) as db:
        kept = dict(db.items())
        assert db.verify().ok
    assert 100 < len(kept) < len(rows)
    assert kept.items() <= rows.items() | {
        (key, value) for key, value in kept.items() if key not in rows
    }


def test_a_damaged_block_costs_no_more_than_itself(written: Path, into: Path) -> None:
    with lsmkv.open(written, mode="r") as db:
        rows = dict(db.items())
    table = max(written.glob("*.tbl"), key=lambda each: each.stat().st_size)
    data = bytearray(table.read_bytes())
    data[len(data) // 3] ^= 1
    table.write_bytes(data)
    report = lsmkv.verify(written)
    assert report.problem_count >= 1
    report = lsmkv.repair(written, into)
    assert 1 <= report.problem_count <= 2
    with lsmkv.open(into) as db:
        kept = dict(db.items())
        assert db.verify().ok
    assert len(set(rows.items()) - set(kept.items())) < 250


@pytest.mark.parametrize("name", ["CURRENT", "*.log", "*.tbl"])
@pytest.mark.parametrize("missing", [True, False])
def test_without_another_directory_repair_only_tells(
    written: Path, into: Path, name: str, missing: bool
) -> None:
    file = sorted(written.glob(name))[0]
    if missing:
        file.unlink()
    else:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    before = contents(written)
    told = lsmkv.repair(written)
    assert contents(written) == before
    assert sorted(each.name for each in written.parent.iterdir()) == [written.name]
    assert told == lsmkv.repair(written, into)


def test_verify_of_a_path_reports_also_what_keeps_it_from_opening(
    written: Path, path: Path
) -> None:
    before = contents(written)
    assert lsmkv.verify(written).ok
    assert contents(written) == before
    manifest = next(written.glob("MANIFEST-*"))
    saved = manifest.read_bytes()
    manifest.write_bytes(saved[:100] + b"\xff" + saved[101:])
    report = lsmkv.verify(written)
    assert not report.ok
    assert {problem.file for problem in report.problems} == {manifest.name}
    assert report.problems[0].offset is not None
    table = next(written.glob("*.tbl"))
    table.write_bytes(b"\xff" + table.read_bytes()[1:])
    files = {problem.file for problem in lsmkv.verify(written).problems}
    assert files == {manifest.name, table.name}
    table.write_bytes(b"\x00" + table.read_bytes()[1:])
    manifest.write_bytes(saved)
    with lsmkv.open(path):
        assert lsmkv.verify(path).ok  # beside the writer
    with pytest.raises(lsmkv.NotADatabaseError):
        lsmkv.verify(path / "nothing")


def test_repair_refuses_what_it_must_not_touch(
    written: Path, into: Path, tmp_path: Path
) -> None:
    into.mkdir()
    (into / "mine").write_bytes(b"precious")
    with pytest.raises(lsmkv.InvalidArgumentError, match="not empty"):
        lsmkv.repair(written, into)
    assert (into / "mine").read_bytes() == b"precious"
    before = contents(written)
    with pytest.raises(lsmkv.InvalidArgumentError, match="not empty"):
        lsmkv.repair(written, written)
    assert contents(written) == before
    for nothing in (tmp_path / "absent", into):
        with pytest.raises(lsmkv.NotADatabaseError):
            lsmkv.repair(nothing, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_destroy_removes_what_is_its_own(written: Path, tmp_path: Path) -> None:
    (written / "notes.txt").write_bytes(b"precious")
    with lsmkv.open(written), pytest.raises(lsmkv.LockedError):
        lsmkv.destroy(written)
    assert (written / "CURRENT").exists()
    lsmkv.destroy(written)
    assert [entry.name for entry in written.iterdir()] == ["notes.txt"]
    with pytest.raises(lsmkv.NotADatabaseError):
        lsmkv.destroy(written)
    (written / "notes.txt").unlink()
    lsmkv.open(written).close()
    lsmkv.destroy(written)
    assert not written.exists()
    with pytest.raises(lsmkv.NotADatabaseError):
        lsmkv.destroy(written)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(lsmkv.NotADatabaseError):
        lsmkv.destroy(empty)
    assert list(empty.iterdir()) == []
