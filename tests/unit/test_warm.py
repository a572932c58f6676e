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

import pytest

import lsmkv

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


def test_after_a_compaction_the_rest_of_the_list_still_helps(path: Path) -> None:
    with lsmkv.open(path, options=SMALL) as db:
        db.warm()
        db.put_many((key, b"new") for key in HOT[:20])
        db.compact()
        read_hot(db)
        read_hot(db)
    with lsmkv.open(path, options=SMALL) as db:
        db.put_many((key, b"newer") for key in HOT[:20])
        db.compact(stop=HOT[20])  # every table, as they reach into the range
    with lsmkv.open(path, warm=True, options=SMALL) as db:
        wait(db)
        assert db.get(HOT[0]) == b"newer"
        assert read_hot(db) >= 0
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
