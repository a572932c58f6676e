# SPDX-License-Identifier: Apache-2.0
"""Goal: a view shows the value it was made of, for as long as it is referred to.

Method: values of every kind of place (memtable, block, log, sealed segment), held while
what they came from is overwritten, compacted away, closed and collected.
"""

import gc
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lsmkv

SIZES = [0, 1, 100, 1023, 1024, 3000, 100_000, 3_000_000]


def content(number: int, size: int) -> bytes:
    """Make a value that no other number has."""
    return (b"%08d" % number * (size // 8 + 1))[:size]


def show(view: memoryview | None) -> bytes:
    """Return what a view shows."""
    assert view is not None
    return bytes(view)


def fill(db: lsmkv.DB, offset: int = 0) -> dict[bytes, bytes]:
    """Store a value of each size."""
    rows = {b"%07d" % size: content(size + offset, size) for size in SIZES}
    db.put_many(rows)
    return rows


def in_memtable(db: lsmkv.DB) -> None:
    del db


def in_tables(db: lsmkv.DB) -> None:
    db.flush()


def compacted(db: lsmkv.DB) -> None:
    db.flush()
    db.compact()


PLACES: list[Callable[[lsmkv.DB], None]] = [in_memtable, in_tables, compacted]


@pytest.fixture(params=[True, False], ids=["mapping", "no mapping"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"mapping": request.param}


@pytest.mark.parametrize("place", PLACES)
def test_a_view_is_the_value_and_cannot_be_written_to(
    path: Path, options: dict[str, Any], place: Callable[[lsmkv.DB], None]
) -> None:
    with lsmkv.open(path, **options) as db:
        rows = fill(db)
        place(db)
        for _ in range(2):
            for key, value in rows.items():
                view = db.get_view(key)
                assert isinstance(view, memoryview)
                assert view == value
                assert view.nbytes == len(value)
                assert view.readonly
                assert view.contiguous
                assert view.format == "B"
                with pytest.raises(TypeError):
                    view[:1] = b"x"
        assert db.get_view(b"missing") is None


@pytest.mark.parametrize("place", PLACES)
def test_views_outlive_what_they_were_made_of(
    path: Path, options: dict[str, Any], place: Callable[[lsmkv.DB], None]
) -> None:
    db = lsmkv.open(path, memory_bytes=1 << 20, **options)
    rows = fill(db)
    place(db)
    views = {key: db.get_view(key) for key in rows}

    def shown() -> dict[bytes, bytes]:
        return {key: show(view) for key, view in views.items()}

    for number in range(5):
        fill(db, number + 1)
        db.flush()
    db.delete_range(None, None)
    db.compact()
    db.settle()
    assert shown() == rows
    db.close()
    assert shown() == rows
    del db
    gc.collect()
    assert shown() == rows
    with lsmkv.open(path) as db:
        assert list(db) == []
        db.put_many({b"%d" % i: bytes(5000) for i in range(100)})
        assert shown() == rows


def test_a_slice_of_a_view_keeps_the_value(db: lsmkv.DB) -> None:
    db.put(b"key", content(1, 100_000))
    db.flush()
    piece = (db.get_view(b"key") or memoryview(b""))[50_000:50_016]
    db.delete(b"key")
    db.compact()
    db.close()
    gc.collect()
    assert piece == content(1, 100_000)[50_000:50_016]


def test_a_dropped_view_gives_its_file_back(path: Path) -> None:
    with lsmkv.open(path, memory_bytes=1 << 20) as db:
        db.put_many({b"%d" % i: content(i, 100_000) for i in range(20)})
        db.flush()
        view = db.get_view(b"7")
        db.delete_range(None, None)
        db.compact()
        db.settle()
        assert show(view) == content(7, 100_000)
        held = sum(file.stat().st_size for file in path.iterdir())
        del view
        db.put(b"x", b"")
        db.compact()
        db.settle()
        left = sum(file.stat().st_size for file in path.iterdir())
        assert left < 500_000 <= 2_000_000 <= held


def test_a_view_of_a_snapshot_shows_its_state(db: lsmkv.DB) -> None:
    rows = fill(db)
    with db.snapshot() as snapshot:
        fill(db, 1)
        db.flush()
        for key, value in rows.items():
            assert show(db.get_view(key, snapshot=snapshot)) == value
            if len(value) >= 8:
                assert show(db.get_view(key)) != value


def test_a_view_in_a_namespace_is_of_its_value(db: lsmkv.DB) -> None:
    space = db.namespace("a")
    db.put(b"key", content(1, 5000))
    space.put(b"key", content(2, 5000))
    assert show(space.get_view(b"key")) == content(2, 5000)


def test_values_around_the_threshold_come_back_every_way(path: Path) -> None:
    rows = {b"%04d" % size: content(size, size) for size in range(1000, 1050)}
    for threshold in (None, 0, 1024, 1040, 1):
        where = path / str(threshold) if path.exists() else path
        with lsmkv.open(where, blob_threshold_bytes=threshold) as db:
            db.put_many(rows)
            for _ in range(2):
                assert dict(db.items()) == rows
                assert db.get_many(list(rows)) == list(rows.values())
                for key, value in rows.items():
                    assert db.get(key) == value
                    buffer = bytearray(len(value))
                    assert db.get_into(key, buffer) == len(value)
                    assert buffer == value
                db.compact()
            found = db.options.blob_threshold_bytes
            assert found == (1024 if threshold is None else threshold)
            assert (db.stats().segment_bytes == 0) == (threshold == 0)


def test_an_expired_value_has_no_view(db: lsmkv.DB) -> None:
    db.put(b"key", content(1, 5000), ttl=0.05)
    view = db.get_view(b"key")
    while b"key" in db:
        pass
    assert db.get_view(b"key") is None
    assert view is None or show(view) == content(1, 5000)


def test_views_are_made_and_dropped_by_threads_while_the_database_closes(
    path: Path,
) -> None:
    for round_ in range(5):
        db = lsmkv.open(path, memory_bytes=1 << 20)
        rows = fill(db, round_)
        failures: list[BaseException] = []

        def use(
            db: lsmkv.DB = db,
            rows: dict[bytes, bytes] = rows,
            failures: list[BaseException] = failures,
        ) -> None:
            held: list[tuple[bytes, memoryview | None]] = []
            try:
                while True:
                    held += [(key, db.get_view(key)) for key in rows]
                    del held[:-20]
                    db.put(b"x", content(1, 3000))
            except lsmkv.ClosedError:
                pass
            except BaseException as error:
                failures.append(error)
            if any(show(view) != rows[key] for key, view in held):
                failures.append(AssertionError("a view changed"))

        threads = [threading.Thread(target=use) for _ in range(3)]
        for thread in threads:
            thread.start()
        db.flush()
        db.compact()
        db.close()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert not failures


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors")
def test_views_leave_no_descriptors_behind(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    db = lsmkv.open(path)
    fill(db)
    db.flush()
    views = [db.get_view(b"%07d" % size) for size in SIZES]
    db.close()
    del db, views
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208
