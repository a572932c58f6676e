# SPDX-License-Identifier: Apache-2.0
"""Goal: a snapshot shows one state for as long as it lives, and ends cleanly.

Method: change everything after taking it, through memtable, flush and compaction.
"""

import threading
from pathlib import Path

import pytest

import lsmkv


def test_a_snapshot_does_not_see_later_writes(db: lsmkv.DB) -> None:
    db.put_many({b"a": b"1", b"b": b"2", b"c": b"3"})
    with db.snapshot() as snapshot:
        db.put(b"a", b"changed")
        db.delete(b"b")
        db.put(b"d", b"4")
        for _ in range(2):
            assert snapshot.get(b"a") == b"1"
            assert snapshot[b"b"] == b"2"
            assert snapshot.get(b"d", b"default") == b"default"
            assert b"b" in snapshot
            assert b"d" not in snapshot
            assert snapshot.get_many([b"d", b"b", b"a"], 0) == [0, b"2", b"1"]
            assert list(snapshot) == [b"a", b"b", b"c"]
            assert list(snapshot.keys(reverse=True)) == [b"c", b"b", b"a"]
            assert list(snapshot.values(start=b"b")) == [b"2", b"3"]
            assert list(snapshot.items(prefix=b"a")) == [(b"a", b"1")]
            assert db.get(b"a", snapshot=snapshot) == b"1"
            assert db.get_many([b"b", b"d"], snapshot=snapshot) == [b"2", None]
            assert list(db.items(stop=b"b", snapshot=snapshot)) == [(b"a", b"1")]
            db.compact()
    assert dict(db.items()) == {b"a": b"changed", b"c": b"3", b"d": b"4"}


def test_each_snapshot_has_its_own_state(db: lsmkv.DB) -> None:
    snapshots = []
    for i in range(20):
        db.put(b"key", b"%d" % i)
        snapshots.append(db.snapshot())
        if i % 7 == 0:
            db.flush()
    db.compact()
    assert [s.get(b"key") for s in snapshots] == [b"%d" % i for i in range(20)]
    for snapshot in snapshots[::2]:
        snapshot.close()
    db.compact()
    assert [s.get(b"key") for s in snapshots[1::2]] == [
        b"%d" % i for i in range(1, 20, 2)
    ]
    for snapshot in snapshots:
        snapshot.close()


def test_a_missing_key_raises_key_error(db: lsmkv.DB) -> None:
    with db.snapshot() as snapshot, pytest.raises(KeyError):
        snapshot[b"missing"]


def test_a_closed_snapshot_says_so(db: lsmkv.DB) -> None:
    db.put(b"a", b"1")
    snapshot = db.snapshot()
    scan = snapshot.items()
    states = [snapshot.closed]
    for _ in range(2):
        snapshot.close()
        states.append(snapshot.closed)
    assert states == [False, True, True]
    for call in (
        lambda: snapshot.get(b"a"),
        lambda: snapshot[b"a"],
        lambda: b"a" in snapshot,
        lambda: snapshot.get_many([b"a"]),
        lambda: snapshot.items(),
        lambda: snapshot.keys(),
        lambda: snapshot.values(),
        lambda: db.get(b"a", snapshot=snapshot),
    ):
        with pytest.raises(lsmkv.ClosedError, match="snapshot is closed"):
            call()
    assert list(scan) == [(b"a", b"1")]  # made before, it has what it needs


def test_a_snapshot_of_a_closed_database_says_so(path: Path) -> None:
    with lsmkv.open(path) as db:
        db.put(b"a", b"1")
        snapshot = db.snapshot()
    assert snapshot.closed
    with pytest.raises(lsmkv.ClosedError):
        snapshot.get(b"a")
    with pytest.raises(lsmkv.ClosedError):
        snapshot.items()
    snapshot.close()


def test_a_snapshot_belongs_to_its_database(db: lsmkv.DB, tmp_path: Path) -> None:
    with lsmkv.open(tmp_path / "other") as other:
        snapshot = other.snapshot()
        for call in (
            lambda: db.get(b"a", snapshot=snapshot),
            lambda: db.get_many([b"a"], snapshot=snapshot),
            lambda: db.items(snapshot=snapshot),
        ):
            with pytest.raises(lsmkv.InvalidArgumentError, match="snapshot is of"):
                call()
    with pytest.raises(TypeError):
        db.get(b"a", snapshot=7)  # type: ignore[call-overload]


def test_a_dropped_snapshot_is_let_go(db: lsmkv.DB) -> None:
    snapshot = db.snapshot()
    assert db.stats().snapshot_count == 1
    del snapshot
    assert db.stats().snapshot_count == 0


def test_closing_a_snapshot_while_it_is_read_is_safe(db: lsmkv.DB) -> None:
    db.put_many((b"%05d" % i, b"x" * 100) for i in range(2000))
    keys = [b"%05d" % i for i in range(2000)]
    for _ in range(50):
        snapshot = db.snapshot()
        found: list[object] = []
        started = threading.Event()

        def read(
            snapshot: lsmkv.Snapshot = snapshot,
            found: list[object] = found,
            started: threading.Event = started,
        ) -> None:
            started.set()
            try:
                while True:
                    found.append(snapshot.get_many(keys).count(None))
            except lsmkv.ClosedError as error:
                found.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        started.wait()
        snapshot.close()
        thread.join()
        assert isinstance(found.pop(), lsmkv.ClosedError)
        assert set(found) <= {0}
    assert db.stats().snapshot_count == 0
