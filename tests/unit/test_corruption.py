# SPDX-License-Identifier: Apache-2.0
"""Goal: a flipped byte is an error, never wrong data and never a silent end.

Method: the last value of a table is found in its file by its own text, one byte of it
is flipped while the database is closed, and every way of reading meets it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lsmkv

COUNT = 2000
LAST = b"%06d" % (COUNT - 1)
MARK = b"the very last value of the table"


@pytest.fixture
def damaged(path: Path) -> tuple[Path, Path, int]:
    """Return the directory, the damaged file and the place of the damage."""
    with lsmkv.open(path, compression="none") as db:
        db.put_many((b"%06d" % i, b"value %d" % i) for i in range(COUNT - 1))
        db.put(LAST, MARK)
        db.flush()
        db.settle()
    [file] = [
        file
        for file in path.iterdir()
        if MARK in file.read_bytes() and b"value 77" in file.read_bytes()
    ]
    data = bytearray(file.read_bytes())
    place = data.index(MARK)
    data[place] ^= 0x01
    file.write_bytes(data)
    return path, file, place


def read_all(rows: Iterator[object], seen: list[object]) -> None:
    """Iterate so that what came before an error is kept."""
    for row in rows:
        seen.append(row)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "scan", [lsmkv.DB.items, lsmkv.DB.keys, lsmkv.DB.values], ids=lambda f: f.__name__
)
def test_a_damaged_last_block_raises_in_both_directions(
    damaged: tuple[Path, Path, int],
    scan: Callable[..., Iterator[object]],
    reverse: bool,
) -> None:
    directory, file, place = damaged
    with lsmkv.open(directory) as db:
        rows = iter(scan(db, reverse=reverse))
        seen: list[object] = []
        with pytest.raises(lsmkv.CorruptionError) as caught:
            read_all(rows, seen)
        assert caught.value.path == str(file)
        assert caught.value.offset is not None
        assert 0 < caught.value.offset <= place
        assert file.name in str(caught.value)
        if reverse:
            assert seen == []
        else:
            assert COUNT * 0.9 < len(seen) < COUNT
        with pytest.raises(lsmkv.CorruptionError):  # the error stays
            next(rows)


def test_reads_of_the_damaged_block_raise_and_others_work(
    damaged: tuple[Path, Path, int],
) -> None:
    directory, _, _ = damaged
    with lsmkv.open(directory) as db:
        for _ in range(2):
            with pytest.raises(lsmkv.CorruptionError):
                db.get(LAST)
            with pytest.raises(lsmkv.CorruptionError):
                db.get_many([b"000001", LAST])
            with pytest.raises(lsmkv.CorruptionError):
                LAST in db  # noqa: B015
            assert db.get(b"000001") == b"value 1"
            assert db.get_many([b"000001"]) == [b"value 1"]
        with db.snapshot() as snapshot, pytest.raises(lsmkv.CorruptionError):
            snapshot.get(LAST)
        assert len(list(db.items(stop=b"001000"))) == 1000


def test_verify_reports_the_damage(damaged: tuple[Path, Path, int]) -> None:
    directory, file, place = damaged
    with lsmkv.open(directory) as db:
        report = db.verify()
    assert not report.ok
    assert report.problem_count >= 1
    problem = report.problems[0]
    assert problem.file == file.name
    assert problem.offset is not None
    assert problem.offset <= place
    assert problem.message


def test_compacting_the_damage_fails_and_keeps_the_rest(
    damaged: tuple[Path, Path, int],
) -> None:
    directory, file, _ = damaged
    with lsmkv.open(directory) as db:
        db.put(b"000000", b"new")
        db.flush()
        with pytest.raises(lsmkv.CorruptionError):
            db.compact()
        assert file.exists()
        assert db.get(b"000000") == b"new"
        assert db.get(b"000001") == b"value 1"
