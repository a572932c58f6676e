# SPDX-License-Identifier: Apache-2.0
"""Published versions, as users meet them.

Goal: a version is seen whole or not at all, by every way of reading; discarding leaves
nothing; handles follow and snapshots stay. Method: small databases on disk, a reader
beside the switches; the engine's own tests bring the failures.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

import lsmkv
from lsmkv import InvalidArgumentError, ReadOnlyError, Version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def db(tmp_path: Path) -> Iterator[lsmkv.DB]:
    with lsmkv.open(tmp_path / "db") as opened:
        yield opened


def publish(
    db: lsmkv.DB, version: str, rows: dict[bytes, bytes], name: str = "users"
) -> None:
    with db.publish(name, version=version) as w:
        w.put_many(rows)


def names(db: lsmkv.DB, name: str | None = None) -> list[tuple[str, str, bool]]:
    return [(v.name, v.version, v.current) for v in db.versions(name)]


def test_a_version_is_seen_when_the_block_ends(db: lsmkv.DB) -> None:
    with db.publish("users", version="1") as w:
        w.put(b"b", b"2")
        w.put_many([(b"a", bytearray(b"1")), (b"c", memoryview(b"3"))])
        w.put_many({b"c": b"3"})
        w.put_many((b"a", value) for value in (b"0", b"4"))
        assert (w.name, w.version) == ("users", "1")
        with pytest.raises(KeyError):
            db.published("users")
        assert db.versions() == []
    users = db.published("users")
    assert dict(users.items()) == {b"a": b"4", b"b": b"2", b"c": b"3"}
    assert users.get_many([b"c", b"x", b"a"]) == [b"3", None, b"4"]
    assert users[b"a"] == b"4"
    assert b"x" not in users
    assert list(users.keys(prefix=b"b")) == [b"b"]
    assert dict(users.mapping()) == dict(users.items())
    assert db.get(b"a") is None
    [version] = db.versions("users")
    assert isinstance(version, Version)
    assert (version.rows, version.nbytes, version.current) == (3, 12, True)


def test_versions_switch_roll_back_and_are_released(db: lsmkv.DB) -> None:
    publish(db, "1", {b"k": b"one"})
    users = db.published("users")
    publish(db, "2", {b"k": b"two"})
    publish(db, "1", {b"k": b"other"}, name="items")
    assert users.get(b"k") == b"two"
    assert db.published("users", version="1").get(b"k") == b"one"
    assert names(db, "users") == [("users", "1", False), ("users", "2", True)]
    assert names(db)[0] == ("items", "1", True)
    db.rollback("users", "1")
    assert users.get(b"k") == b"one"
    with pytest.raises(KeyError):
        db.rollback("users", "3")
    with pytest.raises(InvalidArgumentError, match="readers see"):
        db.release("users", "1")
    assert db.release("users", "2")
    assert not db.release("users", "2")
    with pytest.raises(KeyError):
        db.published("users", version="2")
    assert db.release("users")
    assert names(db) == [("items", "1", True)]
    with pytest.raises(InvalidArgumentError, match="dropped"):
        users.get(b"k")
    assert not db.release("users")


def test_an_exception_discards_it(db: lsmkv.DB) -> None:
    publish(db, "1", {b"k": b"one"})
    w = db.publish("users", version="2")

    def fail() -> None:
        with w:
            w.put_many((b"%d" % i, b"x" * 2000) for i in range(1000))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(InvalidArgumentError, match="has ended"):
        w.put(b"a", b"b")
    assert names(db) == [("users", "1", True)]
    assert db.published("users").get(b"k") == b"one"
    publish(db, "2", {b"k": b"two"})
    assert db.published("users").get(b"k") == b"two"


def test_what_was_begun_twice_or_misnamed_is_refused(db: lsmkv.DB) -> None:
    publish(db, "1", {})
    assert list(db.published("users")) == []
    with pytest.raises(InvalidArgumentError, match="published before"):
        db.publish("users", version="1")
    with (
        db.publish("users", version="2"),
        pytest.raises(InvalidArgumentError, match="being published"),
    ):
        db.publish("users", version="3")
    for name, version in [("", "1"), ("users", ""), ("users", "a/b"), ("x" * 256, "1")]:
        with pytest.raises(InvalidArgumentError):
            db.publish(name, version=version)
    with pytest.raises(InvalidArgumentError):
        db.published("users", version="")
    with pytest.raises(InvalidArgumentError):
        db.release("users", "")


def test_nobody_writes_to_it(db: lsmkv.DB) -> None:
    publish(db, "1", {b"k": b"one"})
    users = db.published("users")
    batch = lsmkv.WriteBatch()
    for write in (
        lambda: users.put(b"k", b"v"),
        lambda: users.delete(b"k"),
        lambda: users.put_many({b"k": b"v"}),
        lambda: users.delete_range(None, None),
        lambda: users.touch(b"k", 5),
        lambda: batch.put(b"k", b"v", namespace=users),
    ):
        with pytest.raises(ReadOnlyError):
            write()
    assert dict(users.items()) == {b"k": b"one"}


def test_snapshots_keep_their_version_after_its_release(db: lsmkv.DB) -> None:
    before = db.snapshot()
    publish(db, "1", {b"k": b"one"})
    users = db.published("users")
    with db.snapshot() as moment, users.snapshot() as own:
        publish(db, "2", {b"k": b"two"})
        assert db.release("users", "1")
        db.compact()
        assert dict(moment.published("users").items()) == {b"k": b"one"}
        assert moment.published("users", version="1").get(b"k") == b"one"
        assert own.get(b"k") == b"one"
        assert users.get(b"k", snapshot=moment) == b"one"
        assert dict(users.items(snapshot=moment)) == {b"k": b"one"}
        assert users.get(b"k") == b"two"
    with pytest.raises(KeyError):
        before.published("users")
    assert users.get(b"k", snapshot=before) is None
    before.close()


def test_rows_and_versions_have_a_time_to_live(db: lsmkv.DB) -> None:
    with db.publish("users", version="1", default_ttl=1000) as w:
        w.put(b"a", b"1")
        w.put(b"b", b"2", ttl=None)
        w.put_many({b"c": b"3"}, ttl=5000)
    users = db.published("users")
    left = [users.ttl(key) for key in (b"a", b"b", b"c")]
    assert left[1] is None
    assert left[0] is not None
    assert left[2] is not None
    assert 0 < left[0] <= 1000 < left[2] <= 5000


def test_a_reopen_a_checkpoint_and_a_reader_show_the_same(tmp_path: Path) -> None:
    rows = {b"%05d" % i: b"%d" % i * 500 for i in range(2000)}
    with lsmkv.open(tmp_path / "db") as db:
        publish(db, "1", {b"k": b"one"})
        publish(db, "2", dict(reversed(rows.items())))
        db.checkpoint(tmp_path / "copy")
        with lsmkv.open(tmp_path / "db", mode="r") as reader:
            assert dict(reader.published("users").items()) == rows
            with pytest.raises(ReadOnlyError):
                reader.publish("users", version="3")
    for path in (tmp_path / "db", tmp_path / "copy"):
        with lsmkv.open(path) as db:
            assert dict(db.published("users").items()) == rows
            db.rollback("users", "1")
            assert db.published("users").get(b"k") == b"one"
            assert not db.verify().problems
    lsmkv.repair(tmp_path / "db", tmp_path / "repaired")
    with lsmkv.open(tmp_path / "repaired") as db:
        assert dict(db.published("users", version="2").items()) == rows
        assert db.published("users").get(b"k") == b"one"


def test_closing_in_the_middle_discards_it(tmp_path: Path) -> None:
    db = lsmkv.open(tmp_path / "db")
    w = db.publish("users", version="1")
    w.put_many((b"%d" % i, b"x" * 2000) for i in range(1000))
    db.close()
    with pytest.raises(lsmkv.ClosedError):
        w.put(b"k", b"v")
    with pytest.raises(lsmkv.ClosedError):
        w.commit()
    assert not list((tmp_path / "db").glob("*.seg"))
    with lsmkv.open(tmp_path / "db") as db:
        assert db.versions() == []
        publish(db, "1", {b"k": b"one"})


def test_readers_see_one_version_in_a_call_while_versions_come_and_go(
    db: lsmkv.DB,
) -> None:
    keys = [b"%03d" % i for i in range(300)]
    publish(db, "0", dict.fromkeys(keys, b"0"))
    users = db.published("users")
    ended = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not ended.is_set():
            found = set(users.get_many(keys))
            scanned = set(users.values())
            single = users.get(keys[7])
            if len(found) != 1 or len(scanned) != 1 or None in found or single is None:
                wrong.append((found, scanned, single))
                return

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(1, 30):
        publish(db, str(i), dict.fromkeys(keys, b"%d" % i))
        db.release("users", str(i - 1))
    ended.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert names(db) == [("users", "29", True)]


def test_a_follower_sees_the_switch_at_its_next_refresh(tmp_path: Path) -> None:
    with (
        lsmkv.open(tmp_path / "db") as db,
        lsmkv.open(tmp_path / "db", mode="follower") as follower,
    ):
        publish(db, "1", {b"k": b"one"})
        with pytest.raises(KeyError):
            follower.published("users")
        follower.refresh()
        users = follower.published("users")
        with follower.snapshot() as moment:
            publish(db, "2", {b"k": b"two" * 1000})
            db.release("users", "1")
            assert users.get(b"k") == b"one"
            follower.refresh()
            assert users.get(b"k") == b"two" * 1000
            assert users.get(b"k", snapshot=moment) == b"one"
        publish(db, "3", {b"k": b"three"})
        db.rollback("users", "2")
        follower.refresh()
        assert users.get(b"k") == b"two" * 1000
        assert names(follower) == [("users", "2", True), ("users", "3", False)]
        db.release("users")
        follower.refresh()
        with pytest.raises(InvalidArgumentError, match="dropped"):
            users.get(b"k")
