# SPDX-License-Identifier: Apache-2.0
"""Goal: a value with a time to live is there until its time and never after.

Method: lives of some hundredths of a second, awaited; long ones, asked for; and every
argument that is no time.
"""

import decimal
import fractions
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lsmkv

SHORT = 0.05


def wait_until(gone: Callable[[], bool]) -> None:
    """Wait for an expiry, which may come late but must come."""
    end = time.monotonic() + 20
    while not gone():
        assert time.monotonic() < end, "it never expired"
        time.sleep(0.005)


PUTS: list[Callable[[lsmkv.DB, float], object]] = [
    lambda db, ttl: db.put(b"key", b"value", ttl=ttl),
    lambda db, ttl: db.put(b"key", b"value", ttl=ttl, sync=True),
    lambda db, ttl: db.put_many({b"key": b"value"}, ttl=ttl),
]


@pytest.mark.parametrize("put", PUTS)
def test_a_value_is_there_and_then_gone_from_every_read(
    db: lsmkv.DB, put: Callable[[lsmkv.DB, float], object]
) -> None:
    db.put(b"key", b"older")
    started = time.monotonic()
    put(db, 0.5)
    found = db.get(b"key")
    if time.monotonic() - started < 0.4:
        assert found == b"value"
    snapshot = db.snapshot()
    wait_until(lambda: db.get(b"key") is None)
    assert time.monotonic() - started > 0.49
    assert b"key" not in db
    assert db.get_many([b"key"]) == [None]
    assert db.get_into(b"key", bytearray(9)) is None
    assert list(db.items()) == []
    assert list(db.items(reverse=True)) == []
    assert db.mapping() == {}
    assert snapshot.get(b"key") is None
    assert list(snapshot.items()) == []
    with pytest.raises(KeyError):
        db[b"key"]
    with pytest.raises(KeyError):
        db.ttl(b"key")
    assert not db.touch(b"key", 100)
    snapshot.close()


def test_an_expired_value_stays_gone_across_flush_compaction_and_reopen(
    path: Path,
) -> None:
    with lsmkv.open(path) as db:
        db.put(b"key", b"older")
        db.flush()
        db.put(b"key", b"value", ttl=SHORT)
        db.put(b"other", b"stays", ttl=None)
        wait_until(lambda: b"key" not in db)
        db.flush()
        assert b"key" not in db
        db.compact()
        assert dict(db.items()) == {b"other": b"stays"}
    with lsmkv.open(path) as db:
        assert dict(db.items()) == {b"other": b"stays"}


def test_the_time_goes_on_while_the_database_is_closed(path: Path) -> None:
    with lsmkv.open(path) as db:
        db.put(b"key", b"value", ttl=0.3)
        db.put(b"long", b"value", ttl=1000)
    time.sleep(0.35)
    with lsmkv.open(path) as db:
        assert b"key" not in db
        left = db.ttl(b"long")
        assert left is not None
        assert 900 < left < 999.7


def test_ttl_tells_what_is_left(db: lsmkv.DB) -> None:
    db.put(b"never", b"")
    db.put(b"none", b"", ttl=None)
    db.put(b"default", b"", ttl=lsmkv.DEFAULT)
    db[b"item"] = b""
    for key in (b"never", b"none", b"default", b"item"):
        assert db.ttl(key) is None
    db.put(b"hour", b"", ttl=3600)
    left = db.ttl(b"hour")
    assert left is not None
    assert 3500 < left <= 3600
    with pytest.raises(KeyError):
        db.ttl(b"missing")


def test_ttl_under_a_snapshot_is_that_of_its_value(db: lsmkv.DB) -> None:
    db.put(b"key", b"", ttl=1000)
    with db.snapshot() as snapshot:
        db.put(b"key", b"")
        assert db.ttl(b"key") is None
        left = db.ttl(b"key", snapshot=snapshot)
        assert left is not None
        assert 900 < left <= 1000


def test_touch_changes_the_time_and_not_the_value(db: lsmkv.DB) -> None:
    db.put(b"key", b"value", ttl=1000)
    for where in ("memtable", "table"):
        assert db.touch(b"key", 5000), where
        left = db.ttl(b"key")
        assert left is not None
        assert 4900 < left <= 5000
        assert db.touch(b"key", None)
        assert db.ttl(b"key") is None
        assert db.touch(b"key", lsmkv.DEFAULT)
        assert db.ttl(b"key") is None
        assert db[b"key"] == b"value"
        db.flush()
    assert db.touch(b"key", SHORT)
    wait_until(lambda: b"key" not in db)
    assert not db.touch(b"missing", 1)


def test_touch_never_undoes_a_put_or_delete(db: lsmkv.DB) -> None:
    stop = threading.Event()

    def keep_touching() -> None:
        while not stop.is_set():
            db.touch(b"key", 1000)

    threads = [threading.Thread(target=keep_touching) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(500):
        db.put(b"key", b"%d" % number)
        assert db[b"key"] == b"%d" % number
        if number % 5 == 0:
            db.delete(b"key")
            assert b"key" not in db
    stop.set()
    for thread in threads:
        thread.join()


def test_a_batch_counts_the_time_from_each_writing(db: lsmkv.DB) -> None:
    batch = lsmkv.WriteBatch()
    batch.put(b"short", b"", ttl=SHORT)
    batch.put(b"long", b"", ttl=1000)
    batch.put(b"never", b"")
    for _ in range(2):
        time.sleep(SHORT)
        db.write(batch)
        left = db.ttl(b"long")
        assert left is not None
        assert 999 < left <= 1000
        assert db.ttl(b"never") is None
        wait_until(lambda: b"short" not in db)


NO_TIMES: list[Any] = [
    0,
    0.0,
    -1,
    -0.001,
    math.nan,
    math.inf,
    -math.inf,
    1e300,
    10**13,
    10**400,
]
NO_NUMBERS: list[Any] = [
    "1",
    b"1",
    True,
    False,
    [1],
    1j,
    pytest.param(object(), id="object"),
]
CALLS: list[Callable[[lsmkv.DB, Any], object]] = [
    lambda db, ttl: db.put(b"key", b"new", ttl=ttl),
    lambda db, ttl: db.put_many({b"key": b"new"}, ttl=ttl),
    lambda db, ttl: db.touch(b"key", ttl),
    lambda db, ttl: lsmkv.WriteBatch().put(b"key", b"new", ttl=ttl),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("ttl", [*NO_TIMES, *NO_NUMBERS], ids=repr)
def test_what_is_no_time_is_refused_and_changes_nothing(
    db: lsmkv.DB, call: Callable[[lsmkv.DB, Any], object], ttl: Any
) -> None:
    db.put(b"key", b"old", ttl=1000)
    before = db.stats().sequence
    is_number = isinstance(ttl, int | float) and not isinstance(ttl, bool)
    wrong = lsmkv.InvalidArgumentError if is_number else TypeError
    with pytest.raises(wrong, match="ttl"):
        call(db, ttl)
    assert db.stats().sequence == before
    assert db[b"key"] == b"old"


@pytest.mark.parametrize(
    "ttl", [1, 1.5, 1e12, 1e-9, decimal.Decimal("2.5"), fractions.Fraction(5, 2)]
)
def test_every_number_of_seconds_is_a_time(db: lsmkv.DB, ttl: Any) -> None:
    db.put(b"key", b"value", ttl=ttl)
    if ttl > 1e-3:
        left = db.ttl(b"key")
        assert left is not None
        assert float(ttl) - 1 < left <= float(ttl)


def test_the_default_says_what_it_is() -> None:
    assert repr(lsmkv.DEFAULT) == "DEFAULT"
