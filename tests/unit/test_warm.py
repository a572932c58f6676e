# SPDX-License-Identifier: Apache-2.0
"""Goal: what was in memory comes back, within a budget, whatever became of the list.

Method: a database with more blocks than its cache holds; after a restart the reads of
the keys that were hot are told from cold ones by the misses of the cache.
"""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import lsmkv
from lsmkv import _nowait

SMALL = lsmkv.Options(memory_bytes=8 << 20, memtable_bytes=1 << 20, mapping=True)
HOT = [b"%06d" % number for number in range(0, 6000, 40)]
LARGE = [b"large%03d" % number for number in range(0, 60, 3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed database that was read at some places, small values and large ones."""
    directory = tmp_path / "db"
    rng = random.Random(1)
    with lsmkv.open(directory, options=SMALL) as db:
        for start in range(0, 6000, 500):
            rows = range(start, start + 500)
            db.put_many((b"%06d" % row, rng.randbytes(500)) for row in rows)
        db.put_many((b"large%03d" % row, rng.randbytes(3000)) for row in range(60))
        db.compact()
        read_hot(db)
        read_hot(db)
    return directory


def read_hot(db: lsmkv.DB) -> int:
    """Read what is hot; return how many blocks that took from files."""
    before = db.stats().cache_misses
    assert None not in db.get_many(HOT)
    assert None not in db.get_many(LARGE)
    return db.stats().cache_misses - before


def wait(db: lsmkv.DB) -> None:
    """Wait until the opening is warm."""
    while db.stats().warming:
        time.sleep(0.001)


@pytest.mark.parametrize("mode", ["rw", "r"])
def test_an_open_brings_back_what_was_hot(path: Path, mode: lsmkv.db.Mode) -> None:
    with lsmkv.open(path, mode=mode, options=SMALL) as db:
        assert read_hot(db) > 100
        assert db.stats().warm_bytes == 0
    with lsmkv.open(path, mode=mode, warm=True, options=SMALL) as db:
        wait(db)
        stats = db.stats()
        assert stats.warm_bytes == stats.warm_total_bytes > 100 * 4096 + 20 * 3000
        assert read_hot(db) == 0


def test_a_short_look_does_not_spoil_the_list(path: Path) -> None:
    with lsmkv.open(path, options=SMALL) as db:
        db.get(HOT[0])
    with lsmkv.open(path, options=SMALL) as db:
        report = db.warm()
        assert report.block_count > 100
        assert report.value_count == len(LARGE)
        assert read_hot(db) == 0


def test_a_budget_is_kept(path: Path) -> None:
    with lsmkv.open(path, warm=50_000, options=SMALL) as db:
        wait(db)
        assert 40_000 < db.stats().warm_bytes <= 50_000
    with lsmkv.open(path, options=SMALL) as db:
        assert 80_000 < db.warm(budget_bytes=100_000).byte_count <= 100_000
        assert db.warm(b"large", budget_bytes=10_000).byte_count <= 10_000


def test_progress_goes_up_to_the_total(path: Path) -> None:
    calls: list[tuple[int, int]] = []
    with lsmkv.open(path, options=SMALL) as db:
        report = db.warm(progress=lambda done, total: calls.append((done, total)))
    assert calls == sorted(calls, key=lambda call: call[0])
    assert all(done <= total for done, total in calls)
    assert calls[-1] == (report.byte_count, report.byte_count)


def test_what_progress_raises_ends_it(path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyError(total)

    with lsmkv.open(path, options=SMALL) as db:
        with pytest.raises(KeyError):
            db.warm(b"", progress=stop)
        assert db.warm().block_count > 100


def test_a_prefix_needs_no_list(path: Path) -> None:
    (path / "HOTLIST").unlink()
    with lsmkv.open(path, options=SMALL) as db:
        assert db.warm() == lsmkv.WarmReport(byte_count=0, block_count=0, value_count=0)
        assert db.warm(b"large").value_count == 60
        before = db.stats().cache_misses
        assert db.warm(b"0012").block_count > 10
        assert len(list(db.items(prefix=b"0012"))) == 100
        assert db.get_many(LARGE)[0] is not None
        assert db.stats().cache_misses == before
        assert db.warm(b"nothing").block_count <= 1


def test_after_a_compaction_and_a_restart_no_hot_key_misses(path: Path) -> None:
    with lsmkv.open(path, options=SMALL) as db:
        db.warm()
        assert read_hot(db) == 0
        db.put_many((b"%06d" % row, bytes(500)) for row in range(6000))
        db.compact()  # every table is replaced
        assert read_hot(db) < 150  # as the old ones hand their heat on
        assert read_hot(db) == 0
    with lsmkv.open(path, warm=True, options=SMALL) as db:
        wait(db)
        assert db.stats().warm_bytes > 100 * 4096
        assert read_hot(db) == 0
        assert db.get(HOT[0]) == bytes(500)
        assert db.verify().ok


def test_what_a_compaction_has_replaced_since_then_is_passed_over(path: Path) -> None:
    listed = (path / "HOTLIST").read_bytes()
    with lsmkv.open(path, options=SMALL) as db:
        db.put_many((key, b"newer") for key in HOT)
        db.put_many((key, bytes(3000)) for key in LARGE)
        db.compact()  # every table, as there is something new in its range
    (path / "HOTLIST").write_bytes(listed)
    with lsmkv.open(path, warm=True, options=SMALL) as db:
        wait(db)
        assert db.get(HOT[0]) == b"newer"
        assert read_hot(db) > 100
        assert db.verify().ok


@pytest.mark.parametrize("size", [0, 10, 64, 100])
def test_a_damaged_list_costs_warmth_alone(path: Path, size: int) -> None:
    listed = path / "HOTLIST"
    whole = listed.read_bytes()
    listed.write_bytes(whole[:size] + bytes(len(whole) - size) if size else b"")
    with lsmkv.open(path, warm=True, options=SMALL) as db:
        wait(db)
        assert db.stats().warm_bytes == 0
        assert db.warm().byte_count == 0
        assert read_hot(db) > 100
        assert db.verify().ok
    assert len(listed.read_bytes()) > 100  # a new one


def test_close_ends_it(path: Path) -> None:
    started = threading.Event()
    failures: list[BaseException] = []

    def warm(db: lsmkv.DB) -> None:
        try:
            db.warm(b"", progress=lambda done, total: started.set())
        except lsmkv.ClosedError as failure:
            failures.append(failure)

    for _ in range(10):
        db = lsmkv.open(path, warm=True, options=SMALL)
        started.clear()
        thread = threading.Thread(target=warm, args=(db,))
        thread.start()
        started.wait(10)
        db.close()
        thread.join()
    assert db.closed


def test_a_namespace_is_no_part_of_a_prefix(path: Path) -> None:
    with lsmkv.open(path, options=SMALL) as db:
        space = db.namespace("side")
        space.put_many((b"large%d" % row, bytes(2000)) for row in range(50))
        db.flush()
    with lsmkv.open(path, options=SMALL) as db:
        assert db.warm(b"large").value_count == 60


def test_a_namespace_is_warmed_by_itself(path: Path) -> None:
    keys = [b"%04d" % row for row in range(0, 2000, 50)]

    def misses(space: lsmkv.Namespace | lsmkv.DB, asked: list[bytes]) -> int:
        before = db.stats().cache_misses
        assert None not in space.get_many(asked)
        return db.stats().cache_misses - before

    with lsmkv.open(path, options=SMALL) as db:
        space = db.namespace("side")
        space.put_many((b"%04d" % row, bytes(500)) for row in range(2000))
        db.compact()
        read_hot(db)
        misses(space, keys)
        misses(space, keys)
    with lsmkv.open(path, options=SMALL) as db:
        space = db.namespace("side")
        assert 30 < space.warm().block_count < 60
        assert misses(space, keys) == 0
        assert misses(db, HOT) > 100
    with lsmkv.open(path, options=SMALL) as db:
        space = db.namespace("side")
        calls: list[tuple[int, int]] = []
        report = space.warm(
            b"01", budget_bytes=20_000, progress=lambda *call: calls.append(call)
        )
        assert 10_000 < report.byte_count <= 20_000
        assert calls[-1] == (report.byte_count, report.byte_count)
        assert space.warm(b"").block_count > 100
        assert misses(space, keys) == 0
        assert db.warm().block_count > 100  # of all namespaces
        assert misses(db, HOT) == 0


def test_vectors_are_warmed(path: Path) -> None:
    rows = np.random.default_rng(1).standard_normal((200, 768), np.float32)
    hot = list(range(0, 200, 5))
    with lsmkv.open(path, options=SMALL) as db:
        vectors = db.vectors("rows", dim=768)
        vectors.put_many(range(200), rows)
        db.compact()
        vectors.gather(hot)
    with lsmkv.open(path, options=SMALL) as db:
        vectors = db.vectors("rows", dim=768)
        report = vectors.warm()
        assert report.value_count == len(hot)
        assert report.byte_count > len(hot) * 3072
        found, there = vectors.gather(hot, missing="zero", budget=0)
        assert there.all()
        assert (found == rows[hot]).all()
        assert not vectors.gather([1], missing="zero", budget=0)[1].any()
        assert vectors.warm(b"", budget_bytes=10_000).byte_count <= 10_000
        assert vectors.warm(b"").value_count == 200
        assert vectors.gather(range(200), budget=0)[1].all()


def test_values_of_a_cache_are_warmed(tmp_path: Path) -> None:
    path = tmp_path / "db"
    sizes = {b"%03d" % row: 100 + row * 40 for row in range(200)}
    hot = [b"%03d" % row for row in range(0, 200, 4)]

    def in_memory(space: lsmkv.Namespace, key: bytes) -> bool:
        return _nowait.get(space, None, key, None) is not _nowait.WAIT

    with lsmkv.open(path, options=SMALL) as db:
        space = db.namespace("cache", max_bytes=8 << 20)
        space.put_many((key, key[:1] * size) for key, size in sizes.items())
        db.flush()
        assert None not in space.get_many(hot)
    with lsmkv.open(path, options=SMALL) as db:
        space = db.namespace("cache")
        assert not any(in_memory(space, key) for key in hot)
        before = space.cache_stats()
        report = space.warm()
        assert report.value_count == len(hot)
        assert report.byte_count > sum(sizes[key] for key in hot)
        assert all(in_memory(space, key) for key in hot)
        assert not in_memory(space, b"001")
        assert space.warm(b"").value_count == len(sizes)
        assert all(in_memory(space, key) for key in sizes)
        assert space.cache_stats() == before
        assert {key: len(value) for key, value in space.items()} == sizes


@pytest.mark.parametrize("wrong", [0, -1, 2**63])
def test_a_budget_is_a_number_above_zero(path: Path, wrong: int) -> None:
    with (
        lsmkv.open(path, options=SMALL) as db,
        pytest.raises(lsmkv.InvalidArgumentError),
    ):
        db.warm(budget_bytes=wrong)
    with pytest.raises(lsmkv.InvalidArgumentError):
        lsmkv.open(path, warm=wrong if wrong else -5)


def test_arguments_of_other_types_are_refused(path: Path) -> None:
    with lsmkv.open(path, options=SMALL) as db:
        with pytest.raises(TypeError):
            db.warm("text")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            db.warm(budget_bytes=1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        lsmkv.open(path, warm="yes")  # type: ignore[arg-type]
