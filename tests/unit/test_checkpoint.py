# SPDX-License-Identifier: Apache-2.0
"""Goal: a checkpoint is a database of its own with exactly one moment's state.

Method: both databases are changed, compacted, verified and reopened beside each other;
the targets that must be refused; the crash program does the rest.
"""

import errno
import os
import shutil
import threading
from pathlib import Path

import pytest

import lsmkv

SMALL = lsmkv.Options(
    memory_bytes=1 << 20, memtable_bytes=16 << 10, table_bytes=4 << 10
)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Name another directory that does not exist yet."""
    return tmp_path / "checkpoint"


def test_neither_sees_what_happens_to_the_other(path: Path, target: Path) -> None:
    with lsmkv.open(path, options=SMALL) as db:
        for i in range(2000):
            db.put(b"%05d" % i, b"old %d" % i)
        db.checkpoint(target)
        for i in range(0, 2000, 3):
            db.delete(b"%05d" % i)
        db.compact()
        with lsmkv.open(target, options=SMALL) as copy:
            assert dict(copy.items()) == {
                b"%05d" % i: b"old %d" % i for i in range(2000)
            }
            for i in range(2000):
                copy.put(b"%05d" % i, b"new")
            copy.compact()
            assert copy.verify().ok
            assert db.get(b"00001") == b"old 1"
            assert db.verify().ok
    shutil.rmtree(path)
    with lsmkv.open(target) as copy:
        assert set(copy.values()) == {b"new"}


def test_files_are_shared_and_private(path: Path, target: Path) -> None:
    with lsmkv.open(path) as db:
        db.put(b"a", b"1")
        db.checkpoint(target)
        tables = {table.name for table in target.glob("*.tbl")}
        assert tables == {table.name for table in path.glob("*.tbl")}
        for table in target.glob("*.tbl"):
            assert table.stat().st_nlink == 2
            assert table.stat().st_mode & 0o777 == 0o600
        assert target.stat().st_mode & 0o777 == 0o700
        assert list(target.glob("*.log")) == []
    # A new file id and UUID: the MANIFEST of the one is none of the other's.
    first, second = next(path.glob("MANIFEST-*")), next(target.glob("MANIFEST-*"))
    assert first.read_bytes()[16:32] != second.read_bytes()[16:32]


def test_a_checkpoint_of_a_checkpoint_and_of_an_empty_database(
    path: Path, tmp_path: Path
) -> None:
    source = path
    lsmkv.open(source).close()
    for generation in range(5):
        target = tmp_path / f"generation {generation}"
        with lsmkv.open(source) as db:
            db.checkpoint(target)
            db.put(b"lost", b"")
        with lsmkv.open(target) as db:
            assert len(list(db)) == generation
            db.put(b"%d" % generation, b"")
        source = target
    with lsmkv.open(source, mode="r") as db:
        assert list(db) == [b"%d" % i for i in range(5)]
        assert db.verify().ok


def test_an_empty_directory_will_do_and_others_are_left_alone(
    db: lsmkv.DB, path: Path, target: Path
) -> None:
    db.put(b"a", b"1")
    target.mkdir()
    (target / "mine").write_bytes(b"precious")
    with pytest.raises(lsmkv.InvalidArgumentError, match="not empty: it holds mine"):
        db.checkpoint(target)
    assert (target / "mine").read_bytes() == b"precious"
    (target / "mine").unlink()
    db.checkpoint(target)
    with pytest.raises(lsmkv.InvalidArgumentError, match="not empty"):
        db.checkpoint(target)
    with lsmkv.open(target) as copy:
        assert copy.get(b"a") == b"1"
        with pytest.raises(lsmkv.InvalidArgumentError, match="not empty"):
            db.checkpoint(target)
    with pytest.raises(lsmkv.InvalidArgumentError, match="not empty"):
        db.checkpoint(path)
    with pytest.raises(lsmkv.StorageError) as caught:
        db.checkpoint(target / "no" / "parent")
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(lsmkv.InvalidArgumentError):
        db.checkpoint(b"a\0b")
    assert db.get(b"a") == b"1"


def test_a_read_only_database_has_no_checkpoint(path: Path, target: Path) -> None:
    lsmkv.open(path).close()
    with lsmkv.open(path, mode="r") as db, pytest.raises(lsmkv.ReadOnlyError):
        db.checkpoint(target)
    assert not target.exists()


def test_across_file_systems_the_files_are_copied(db: lsmkv.DB) -> None:
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == Path(db.path).stat().st_dev:
        pytest.skip("there is no other file system")
    for i in range(1000):
        db.put(b"%d" % i, os.urandom(1000))
    target = shm / f"lsmkv-test-{os.getpid()}"
    try:
        db.checkpoint(target)
        assert all(table.stat().st_nlink == 1 for table in target.glob("*.tbl"))
        with lsmkv.open(target) as copy:
            assert list(copy.items()) == list(db.items())
            assert copy.verify().ok
    finally:
        shutil.rmtree(target)


def test_checkpoints_beside_writers_show_prefixes(path: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    with lsmkv.open(path, options=SMALL) as db:

        def write() -> None:
            for i in range(10**9):
                db.put_many({b"%04d" % (i % 2000): b"%d" % i, b"last": b"%d" % i})
                if stop.is_set():
                    break

        thread = threading.Thread(target=write)
        thread.start()
        last = -1
        for i in range(20):
            floor = int(db.get(b"last", b"-1"))
            db.checkpoint(tmp_path / f"{i}")
            with lsmkv.open(tmp_path / f"{i}", mode="r") as copy:
                rows = dict(copy.items())
                assert copy.verify().ok
            last = int(rows.pop(b"last", b"-1"))
            assert last >= floor
            assert set(map(int, rows.values())) == set(
                range(max(0, last - 1999), last + 1)
            )
        stop.set()
        thread.join()
    assert last > 0
