# SPDX-License-Identifier: Apache-2.0
"""Goal: reading needs no lock, changes nothing, and never sees half of a change.

Method: real directories, beside writers in this process and in others, unclosed copies
of live directories, and a user who may not write.
"""

import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

import lsmkv

NOBODY = 65534
SMALL = lsmkv.Options(
    memory_bytes=1 << 20, memtable_bytes=16 << 10, table_bytes=4 << 10
)


def contents(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything about a directory that an open could change."""
    return {
        entry.name: (entry.stat().st_ino, entry.stat().st_mtime_ns, entry.read_bytes())
        for entry in directory.iterdir()
    }


@pytest.fixture
def written(path: Path) -> Path:
    """Return a closed database with tables on two levels."""
    with lsmkv.open(path) as db:
        for i in range(500):
            db.put(b"%05d" % i, b"old")
        db.compact()
        for i in range(0, 500, 2):
            db.put(b"%05d" % i, b"new")
    return path


def test_a_closed_database_is_read_without_a_trace(written: Path) -> None:
    (written / "LOCK").unlink()
    before = contents(written)
    with lsmkv.open(written, mode="r") as db:
        assert db.get(b"00000") == b"new"
        assert db.get(b"00001") == b"old"
        assert db.get_many([b"00002", b"x"]) == [b"new", None]
        assert len(list(db.items())) == 500
        assert next(iter(db.keys(prefix=b"0049", reverse=True))) == b"00499"
        with db.snapshot() as snapshot:
            assert snapshot.get(b"00003") == b"old"
        assert db.verify().ok
        assert db.stats().state == "read-only"
        assert contents(written) == before
    assert contents(written) == before


@pytest.mark.parametrize(
    "write",
    [
        lambda db: db.put(b"a", b"1"),
        lambda db: db.put(b"a", b"1", sync=True),
        lambda db: db.delete(b"a"),
        lambda db: db.put_many({b"a": b"1"}),
        lambda db: db.delete_many([b"a"]),
        lambda db: db.delete_range(b"a", b"b"),
        lambda db: db.touch(b"00001", 5),
        lambda db: db.flush(),
        lambda db: db.sync(),
        lambda db: db.compact(),
        lambda db: db.settle(),
    ],
)
def test_every_write_is_refused(
    written: Path, write: Callable[[lsmkv.DB], object]
) -> None:
    before = contents(written)
    with lsmkv.open(written, mode="r") as db:
        with pytest.raises(lsmkv.ReadOnlyError, match="for reading only"):
            write(db)
        assert db.get(b"a") is None
    assert contents(written) == before


def test_it_shows_the_state_of_its_opening_beside_a_writer(path: Path) -> None:
    with lsmkv.open(path) as writer:
        writer.put(b"a", b"1")
        writer.flush()
        writer.put(b"b", b"2")
        first = lsmkv.open(path, mode="r")
        writer.put(b"c", b"3")
        writer.delete(b"a")
        writer.compact()
        second = lsmkv.open(path, mode="r")
        writer.put(b"d", b"4")
    third = lsmkv.open(path, mode="r")
    assert dict(first.items()) == {b"a": b"1", b"b": b"2"}
    assert first.get(b"a") == b"1"
    assert dict(second.items()) == {b"b": b"2", b"c": b"3"}
    assert dict(third.items()) == {b"b": b"2", b"c": b"3", b"d": b"4"}
    for db in (first, second, third):
        db.close()


def test_a_directory_that_was_never_closed_is_replayed_in_memory(path: Path) -> None:
    script = """
        import os, sys, lsmkv
        db = lsmkv.open(sys.argv[1], memtable_bytes=16 << 10)
        for i in range(300):
            db.put(b"%05d" % i, b"v" * 100)
        os._exit(0)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    subprocess.run(command, check=True, timeout=60)
    before = contents(path)
    with lsmkv.open(path, mode="r") as view:
        assert list(view) == [b"%05d" % i for i in range(300)]
        assert view.stats().recovered_records > 0
        assert view.verify().ok
    assert contents(path) == before


def test_what_is_no_database_is_left_alone(tmp_path: Path) -> None:
    for target in (tmp_path / "absent", tmp_path):
        with pytest.raises(lsmkv.NotADatabaseError):
            lsmkv.open(target, mode="r")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(lsmkv.InvalidArgumentError, match="mode"):
        lsmkv.open(tmp_path, mode="w")  # type: ignore[arg-type]


def test_missing_and_damaged_files_are_corruption(written: Path) -> None:
    table = max(written.glob("*.tbl"))
    saved = table.read_bytes()
    table.unlink()
    with pytest.raises(lsmkv.CorruptionError, match="missing"):
        lsmkv.open(written, mode="r")
    table.write_bytes(saved)
    manifest = next(written.glob("MANIFEST-*"))
    manifest.rename(written / "away")
    with pytest.raises(lsmkv.CorruptionError, match="MANIFEST"):
        lsmkv.open(written, mode="r")


def test_no_permission_to_write_is_needed(written: Path) -> None:
    (written / "LOCK").unlink()
    script = """
        import os, sys, lsmkv
        os.chdir(sys.argv[1])
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(int(sys.argv[2]))
            os.setuid(int(sys.argv[2]))
        try:
            open("new", "w")
        except PermissionError:
            pass
        else:
            sys.exit("the directory can be written to")
        with lsmkv.open(".", mode="r") as db:
            print(len(list(db.items())), db.verify().ok)
    """
    root = os.geteuid() == 0
    for entry in [*written.iterdir(), written]:
        entry.chmod(0o500 if entry == written else 0o400)
        if root:
            os.chown(entry, NOBODY, NOBODY)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(written), str(NOBODY)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    written.chmod(0o700)
    assert done.stderr == ""
    assert done.stdout == "500 True\n"


def test_a_database_is_pickled_as_a_way_to_read_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    with lsmkv.open(path.name) as db:
        db.put_many({b"%d" % i: b"" for i in range(10)})
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            assert pool.submit(list, db).result() == [b"%d" % i for i in range(10)]
        monkeypatch.chdir("/")
        with pickle.loads(pickle.dumps(db)) as view:
            assert view.get(b"3") == b""
            assert view.path == str(path)
            with pickle.loads(pickle.dumps(view)) as again:
                assert again.get(b"4") == b""


def test_a_table_deleted_before_it_was_opened_asks_for_a_refresh(path: Path) -> None:
    with lsmkv.open(path, max_open_files=64, options=SMALL) as writer:
        for i in range(3000):
            writer.put(b"%05d" % i, b"x" * 50)
        writer.compact()
        with lsmkv.open(path, mode="r", max_open_files=16) as view:
            assert view.stats().open_tables == 16
            for i in range(0, 3000, 10):
                writer.put(b"%05d" % i, b"y" * 50)
            writer.compact()
            with pytest.raises(lsmkv.ChangedError, match="again"):
                list(view.items())
            with pytest.raises(lsmkv.ChangedError):
                view.verify()
        with lsmkv.open(path, mode="r", max_open_files=16) as view:
            assert len(list(view.items())) == 3000


@pytest.fixture
def busy_writer(path: Path) -> Iterator[Path]:
    """Keep writing, flushing and compacting: `low` and `high` are always equal."""
    stop = threading.Event()
    lsmkv.open(path, options=SMALL).close()

    def write() -> None:
        count = 0
        while not stop.is_set():
            with lsmkv.open(path, options=SMALL) as db:
                for _ in range(3000):
                    count += 1
                    text = b"%d" % count
                    db.put_many({b"low": text, b"mid%d" % (count % 97): b"x" * 90})
                    db.put_many({b"low": text, b"high": text})
                    if stop.is_set():
                        break

    thread = threading.Thread(target=write)
    thread.start()
    yield path
    stop.set()
    thread.join()


def test_views_of_a_busy_writer_are_whole_and_never_go_back(busy_writer: Path) -> None:
    last = 0
    views = 0
    end = time.monotonic() + 30
    while views < 200 and time.monotonic() < end:
        with lsmkv.open(busy_writer, mode="r") as view:
            rows = dict(view.items())
            if b"high" not in rows:
                assert len(rows) <= 2
                continue
            low, high = int(rows[b"low"]), int(rows[b"high"])
            assert high <= low <= high + 1
            assert low >= last
            assert view.get(b"high") == rows[b"high"]
            assert len(rows) == min(low, 97) + 2
            last = low
            views += 1
    assert views > 0
