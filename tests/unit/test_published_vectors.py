# SPDX-License-Identifier: Apache-2.0
"""Goal: published vectors are read as those of a namespace, and never as other ones.

Method: versions of the same and of other schemas, below and above the size from which
rows lie apart, compared with ndarrays through switches, snapshots and reopens.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

import lsmkv
from lsmkv import InvalidArgumentError, VectorSchema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lsmkv.arrays import DType

Array = npt.NDArray[Any]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[lsmkv.DB]:
    with lsmkv.open(tmp_path / "db") as opened:
        yield opened


def make(count: int, dim: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((count, dim), np.float32)


def publish(db: lsmkv.DB, version: str, rows: Array) -> None:
    """Publish rows under the numbers from 0 on, the last one first."""
    ids = np.arange(len(rows))[::-1]
    with db.publish("items", version=version, dim=int(rows.shape[1])) as w:
        w.put_many(ids, np.ascontiguousarray(rows[::-1]))


@pytest.mark.parametrize("dim", [3, 700])
def test_rows_are_read_as_those_of_a_namespace(db: lsmkv.DB, dim: int) -> None:
    rows = make(1000, dim, 1)
    with db.publish("items", version="1", dim=dim, metric="dot") as w:
        assert (w.name, w.version) == ("items", "1")
        assert "VectorPublisher of 'items' '1'" in repr(w)
        assert w.schema == VectorSchema(dim=dim, dtype="float32", metric="dot")
        w.put_many(np.arange(999), rows[:999])
        w.put(b"last", rows[999])
        w.put_many([], rows[:0])
        w.put_many([5, 5], rows[[7, 5]])  # the last of equal keys stays
    items = db.published("items").vectors()
    assert items.schema == w.schema
    assert f"PublishedVectors of {items.published!r}" in repr(items)
    ids = np.random.default_rng(2).integers(0, 999, 3000)
    found, flags = items.gather(ids)
    assert (found == rows[ids]).all()
    assert flags.all()
    assert (items.get(b"last") == rows[999]).all()
    assert 998 in items
    assert 999 not in items
    assert items.ids(items.keys(stop=b"last")).tolist() == list(range(999))
    out = np.empty((2, dim), np.float32)
    assert items.gather([1, 5000], out=out, missing="zero")[1].tolist() == [True, False]
    assert (out == np.stack([rows[1], np.zeros(dim, np.float32)])).all()
    with pytest.raises(KeyError, match="5000"):
        items.gather([5000])
    assert db.published("items").get(b"last") == rows[999].tobytes()
    assert db.versions("items")[0].rows == 1000


def test_what_does_not_fit_is_refused_in_words(db: lsmkv.DB) -> None:
    rows = make(4, 3, 1)
    with db.publish("items", version="1", dim=3) as w:
        with pytest.raises(InvalidArgumentError, match=r"shape \(4, 3\): expected \(2"):
            w.put_many([1, 2], rows)
        with pytest.raises(InvalidArgumentError, match="dtype float64"):
            w.put_many([1], np.zeros((1, 3)))
        with pytest.raises(
            InvalidArgumentError, match=r"shape \(4,\): expected \(3,\)"
        ):
            w.put(1, np.zeros(4, np.float32))
        with pytest.raises(InvalidArgumentError, match="ttl"):
            w.put_many([1], rows[:1], ttl=-1)
        w.put_many(range(4), rows)
    assert (db.published("items").vectors().gather(range(4))[0] == rows).all()
    with pytest.raises(InvalidArgumentError, match="has ended"):
        w.put(1, rows[0])
    with pytest.raises(TypeError, match="dim is needed"):
        db.publish("items", version="2", dtype="int8")  # type: ignore[call-overload]
    with pytest.raises(InvalidArgumentError, match="dim is 0"):
        db.publish("items", version="2", dim=0)
    with db.publish("plain", version="1") as plain:
        plain.put(b"k", b"v")
    with pytest.raises(InvalidArgumentError, match="'plain' are no vectors"):
        db.published("plain").vectors()


def test_an_exception_discards_it(db: lsmkv.DB) -> None:
    w = db.publish("items", version="1", dim=700)

    def fail() -> None:
        with w:
            w.put_many(range(100), make(100, 700, 1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(KeyError):
        db.published("items")
    publish(db, "1", make(2, 5, 2))
    assert db.published("items").vectors().dim == 5


def test_a_handle_follows_versions_of_its_schema_and_refuses_others(
    db: lsmkv.DB,
) -> None:
    first, second, wide = make(50, 8, 1), make(50, 8, 2), make(50, 16, 3)
    publish(db, "1", first)
    items = db.published("items").vectors()
    with db.snapshot() as moment:
        publish(db, "2", second)
        assert (items.gather(range(50))[0] == second).all()
        publish(db, "3", wide)
        # As many bytes as a row of the first ones, but not the same numbers.
        with db.publish("items", version="4", dim=16, dtype="float16") as w:
            w.put_many(range(50), wide.astype(np.float16))
        for version, asked in (("3", "dim=16, dtype=float32"), ("4", "dtype=float16")):
            db.rollback("items", version)
            for keys in ([0], [77], []):
                with pytest.raises(InvalidArgumentError, match=asked):
                    items.gather(keys, missing="zero")
            with pytest.raises(InvalidArgumentError, match="asked for were dim=8"):
                items.get(0)
            assert (items.gather(range(50), snapshot=moment)[0] == first).all()
        assert items.dim == 8
        now = db.published("items").vectors()
        assert (now.dim, now.dtype) == (16, "float16")
        with pytest.raises(InvalidArgumentError, match="dim=8, dtype=float32"):
            now.gather([1], snapshot=moment)
        pinned = db.published("items", version="3").vectors()
        db.rollback("items", "1")
        assert (items.gather(range(50))[0] == first).all()
        assert (pinned.gather(range(50))[0] == wide).all()
    with db.publish("items", version="5") as plain:
        plain.put(b"k", b"v")
    with pytest.raises(InvalidArgumentError, match="dim=0, dtype=none"):
        items.gather([1])
    assert db.release("items")
    with pytest.raises(InvalidArgumentError, match="dropped"):
        items.gather([1])


def test_the_schema_is_there_after_a_reopen_and_in_a_follower(tmp_path: Path) -> None:
    rows = make(300, 700, 1)
    with lsmkv.open(tmp_path / "db") as db:
        publish(db, "1", rows)
    with (
        lsmkv.open(tmp_path / "db") as db,
        lsmkv.open(tmp_path / "db", mode="follower") as follower,
    ):
        for reader in (db, follower):
            items = reader.published("items").vectors()
            assert items.schema == VectorSchema(
                dim=700, dtype="float32", metric="cosine"
            )
            assert (items.gather(range(300))[0] == rows).all()
        publish(db, "2", make(10, 4, 2))
        assert (items.gather(range(300))[0] == rows).all()
        follower.refresh()
        with pytest.raises(InvalidArgumentError, match="dim=4"):
            items.gather([1])


def test_a_gather_sees_one_version_while_they_come_and_go(db: lsmkv.DB) -> None:
    def row_of(version: int, dim: int) -> Array:
        return np.full((200, dim), version, np.float32)

    publish(db, "0", row_of(0, 8))
    items = db.published("items").vectors()
    ended = threading.Event()
    wrong: list[object] = []
    refused = 0

    def read() -> None:
        nonlocal refused
        while not ended.is_set():
            try:
                found = items.gather(range(200))[0]
            except InvalidArgumentError:
                refused += 1
                continue
            if len(np.unique(found)) != 1:
                wrong.append(found)
                return

    thread = threading.Thread(target=read)
    thread.start()
    kinds: list[tuple[int, DType]] = [(8, "float32"), (16, "float16")]
    for i in range(1, 20):
        dim, dtype = kinds[i % 2]
        with db.publish("items", version=str(i), dim=dim, dtype=dtype) as w:
            w.put_many(range(200), row_of(i, dim).astype(dtype))
        db.release("items", str(i - 1))
    ended.set()
    thread.join()
    assert wrong == []
