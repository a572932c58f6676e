# SPDX-License-Identifier: Apache-2.0
"""Goal: a batch is applied whole, or not at all.

Method: batches in and out of `with` blocks; readers beside a writer must
never see half.
"""

import threading
from pathlib import Path

import pytest

import lsmkv
from lsmkv import _base


def test_a_batch_is_written_when_its_block_ends(db: lsmkv.DB) -> None:
    db.put(b"gone", b"0")
    with db.write_batch() as batch:
        batch.put(b"a", b"1")
        batch.delete(b"gone")
        batch.put(b"a", b"2")
        assert len(batch) == 3
        assert batch.nbytes > 5
        assert db.get(b"a") is None
    assert dict(db.items()) == {b"a": b"2"}


def test_later_records_of_a_batch_win(db: lsmkv.DB) -> None:
    with db.write_batch() as batch:
        batch.put(b"a", b"1")
        batch.delete(b"a")
        batch.delete(b"b")
        batch.put(b"b", b"2")
    assert dict(db.items()) == {b"b": b"2"}


def test_a_batch_is_discarded_when_its_block_raises(db: lsmkv.DB) -> None:
    batch = db.write_batch()

    def fail() -> None:
        with batch:
            batch.put(b"a", b"1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert db.get(b"a") is None
    assert len(batch) == 0


def test_a_batch_can_be_used_for_several_blocks(db: lsmkv.DB) -> None:
    batch = db.write_batch()
    for i in range(3):
        with batch:
            batch.put(b"%d" % i, b"")
            assert len(batch) == 1
    assert list(db) == [b"0", b"1", b"2"]


def test_a_block_that_cannot_be_written_keeps_the_batch(db: lsmkv.DB) -> None:
    batch = db.write_batch()

    def close_too_early() -> None:
        with batch:
            batch.put(b"a", b"1")
            db.close()

    with pytest.raises(lsmkv.ClosedError):
        close_too_early()
    assert len(batch) == 1


def test_write_applies_a_batch_as_often_as_it_is_called(
    db: lsmkv.DB, tmp_path: Path
) -> None:
    batch = lsmkv.WriteBatch()
    batch.put(b"a", b"1")
    batch.put(b"b", b"2")
    db.write(batch)
    db.delete(b"a")
    db.write(batch, sync=True)
    with lsmkv.open(tmp_path / "other") as other:
        other.write(batch)
        assert dict(other.items()) == {b"a": b"1", b"b": b"2"}
    assert dict(db.items()) == {b"a": b"1", b"b": b"2"}


def test_an_empty_batch_may_be_written(db: lsmkv.DB) -> None:
    db.write(lsmkv.WriteBatch())
    with db.write_batch():
        pass
    assert list(db) == []


def test_clear_forgets_what_was_added(db: lsmkv.DB) -> None:
    with db.write_batch() as batch:
        empty = batch.nbytes
        batch.put(b"a", b"1")
        batch.clear()
        assert len(batch) == 0
        assert batch.nbytes == empty
        batch.put(b"b", b"2")
    assert dict(db.items()) == {b"b": b"2"}


def test_a_batch_copies_what_it_is_given(db: lsmkv.DB) -> None:
    key, value = bytearray(b"key"), bytearray(b"value")
    with db.write_batch() as batch:
        batch.put(key, value)
        key[:] = b"xxx"
        value[:] = b"yyyyy"
    assert dict(db.items()) == {b"key": b"value"}


def test_wrong_types_are_refused_and_leave_the_batch_alone(db: lsmkv.DB) -> None:
    with db.write_batch() as batch:
        batch.put(b"a", b"1")
        with pytest.raises(TypeError, match="encode it first"):
            batch.put("b", b"2")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            batch.put(b"b", 2)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="encode it first"):
            batch.delete("a")  # type: ignore[arg-type]
        with pytest.raises(lsmkv.LimitError):
            batch.put(b"k" * (_base.KEY_SIZE_MAX + 1), b"")
        assert len(batch) == 1
    assert dict(db.items()) == {b"a": b"1"}


def test_a_batch_without_database_is_no_context_manager() -> None:
    with pytest.raises(lsmkv.InvalidArgumentError, match="belongs to no database"):
        lsmkv.WriteBatch().__enter__()


def test_the_block_syncs_when_asked(path: Path) -> None:
    with lsmkv.open(path) as db:
        db.sync()
        before = db.stats().sync_count
        with db.write_batch(sync=True) as batch:
            batch.put(b"a", b"1")
        assert db.stats().sync_count == before + 1


def test_write_wants_a_batch(db: lsmkv.DB) -> None:
    with pytest.raises(TypeError):
        db.write(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        db.write({b"a": b"1"})  # type: ignore[arg-type]


def test_readers_never_see_half_a_batch(db: lsmkv.DB) -> None:
    keys = [b"%02d" % i for i in range(50)]
    db.put_many(dict.fromkeys(keys, b"0"))
    stop = threading.Event()
    torn: list[object] = []

    def read() -> None:
        while not stop.is_set():
            values = set(db.get_many(keys))
            rows = set(db.values())
            if len(values) != 1 or len(rows) != 1:
                torn.append((values, rows))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(300):
        db.put_many(dict.fromkeys(keys, b"%d" % i))
        if i % 100 == 50:
            db.flush()
    stop.set()
    for thread in threads:
        thread.join()
    assert torn == []


def test_a_batch_being_written_turns_other_threads_away_or_takes_all(
    db: lsmkv.DB,
) -> None:
    batch = lsmkv.WriteBatch()
    for i in range(2000):
        batch.put(b"%06d" % i, b"x" * 50)
    done = threading.Event()
    refused = 0

    def write() -> None:
        for _ in range(30):
            db.write(batch)
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    added = 0
    while not done.is_set():
        try:
            batch.put(b"%06d" % (2000 + added), b"")
            added += 1
        except lsmkv.InvalidArgumentError as error:
            assert "another thread" in str(error)  # noqa: PT017
            refused += 1
    thread.join()
    assert len(batch) == 2000 + added
    db.write(batch)
    assert len(list(db)) == 2000 + added
