# SPDX-License-Identifier: Apache-2.0
"""Goal: memory, options in force and the number of keys are told as documented.

Method: compare with what the test itself put in, held open or asked for.
"""

import dataclasses
import itertools
from pathlib import Path

import pytest

import lsmkv


def test_memory_says_what_the_budget_is_spent_on(path: Path) -> None:
    with lsmkv.open(path, memory_bytes=64 << 20) as db:
        fresh = db.memory()
        assert fresh.budget_bytes == 64 << 20
        assert fresh.memtable_bytes > 0
        assert fresh.block_bytes == fresh.filter_bytes == fresh.index_bytes == 0
        db.put_many((b"%06d" % i, b"x" * 100) for i in range(20_000))
        db.flush()
        assert db.get_many([b"%06d" % i for i in range(0, 20_000, 7)])
        read = db.memory()
        assert read.block_bytes > 1_000_000
        assert 20_000 < read.filter_bytes < 40_000  # 10 bits a key
        assert read.index_bytes > 500 * 8  # an offset for each block, and its key
        assert read.total_bytes == (
            read.memtable_bytes
            + read.block_bytes
            + read.filter_bytes
            + read.index_bytes
        )
        assert read.total_bytes <= read.budget_bytes


def test_blocks_under_iterators_are_counted_as_pinned(db: lsmkv.DB) -> None:
    db.put_many((b"%06d" % i, b"x" * 100) for i in range(20_000))
    db.flush()
    db.get_many([b"%06d" % i for i in range(20_000)])
    assert db.memory().pinned_bytes == 0
    scans = [db.items(start=b"%06d" % i) for i in range(0, 20_000, 1000)]
    for scan in scans:
        next(scan)
    pinned = db.memory().pinned_bytes
    assert 20 * 4096 < pinned < 20 * 16384
    for scan in scans:
        scan.close()
    assert db.memory().pinned_bytes == 0


def test_options_tells_every_field(path: Path) -> None:
    with lsmkv.open(path) as db:
        found = db.options
        for field in dataclasses.fields(found):
            assert getattr(found, field.name) is not None, field.name
        assert found.memory_bytes == 256 << 20
        assert found.memtable_bytes == 16 << 20
        assert found.durability == "os"
        assert found.sync_interval == 1.0
        assert found.compression == "none"
        assert found.compression_level == 0
        assert found.bloom_bits_per_key == 10
        assert found.l0_compact_trigger == 4


def test_options_tells_what_was_given_and_what_is_remembered(path: Path) -> None:
    given = lsmkv.Options(
        compression="zstd",
        compression_level=-5,
        block_bytes=8192,
        durability="interval",
        sync_interval=0.25,
        block_cache_bytes=0,
        bloom_bits_per_key=0,
    )
    with lsmkv.open(path, options=given, memory_bytes=32 << 20) as db:
        found = db.options
        for field in dataclasses.fields(given):
            if getattr(given, field.name) is not None:
                assert getattr(found, field.name) == getattr(given, field.name)
        assert found.memory_bytes == 32 << 20
        assert found.memtable_bytes == 8 << 20
    with lsmkv.open(path) as db:
        again = db.options
        assert again.compression == "zstd"
        assert again.compression_level == -5
        assert again.block_bytes == 8192
        assert again.bloom_bits_per_key == 0
        assert again.durability == "os"  # of one opening only
        assert again.sync_interval == 1.0


def test_options_in_force_open_the_same_database_again(path: Path) -> None:
    with lsmkv.open(path, table_bytes=1 << 20, memory_bytes=16 << 20) as db:
        found = db.options
    with lsmkv.open(path, options=found) as db:
        assert db.options == found
    assert db.options == found  # after closing, too


def test_few_keys_are_counted_exactly(db: lsmkv.DB) -> None:
    assert db.approximate_count() == 0
    db.put_many((b"%04d" % i, b"") for i in range(1000))
    db.flush()
    db.put_many((b"%04d" % i, b"again") for i in range(500, 1000))
    db.delete_many(b"%04d" % i for i in range(0, 1000, 2))
    assert db.approximate_count() == 500
    assert db.approximate_count(b"0100") == 450
    assert db.approximate_count(stop=b"0100") == 50
    assert db.approximate_count(b"0100", b"0200") == 50
    assert db.approximate_count(b"x") == 0
    assert db.approximate_count(b"0200", b"0100") == 0
    assert db.approximate_count(b"0200", b"0200") == 0


def test_few_keys_of_a_snapshot_are_those_that_it_shows(db: lsmkv.DB) -> None:
    db.put_many((b"%04d" % i, b"") for i in range(100))
    with db.snapshot() as snapshot:
        db.delete_many(b"%04d" % i for i in range(50))
        assert db.approximate_count(snapshot=snapshot) == 100
        assert db.approximate_count() == 50


@pytest.mark.parametrize("where", ["memtable", "tables", "levels", "compacted"])
def test_many_keys_are_counted_about_right(path: Path, where: str) -> None:
    count = 60_000
    small = {"table_bytes": 64 << 10, "level_base_bytes": 256 << 10}
    with lsmkv.open(path, **small) as db:  # type: ignore[arg-type]
        for first in range(0, count, 6000):
            db.put_many((b"%08d" % i, b"value") for i in range(first, first + 6000))
            if where != "memtable":
                db.flush()
        if where == "compacted":
            db.compact()
        elif where == "levels":
            db.settle()
        bounds = (None, *(b"%08d" % i for i in (0, 9_999, 30_000, 59_999)), None)
        for start, stop in itertools.combinations(bounds, 2):
            first = int(start or b"0")
            wanted = int(stop or b"60000") - first
            found = db.approximate_count(start, stop)
            assert found == pytest.approx(wanted, rel=0.5, abs=300), (start, stop)
        whole = db.approximate_count()
        assert whole == pytest.approx(count, rel=0.3 if where == "memtable" else 0.01)


def test_deleted_keys_are_not_counted_for_long(path: Path) -> None:
    with lsmkv.open(path) as db:
        db.put_many((b"%08d" % i, b"value") for i in range(50_000))
        db.flush()
        db.delete_many(b"%08d" % i for i in range(0, 50_000, 2))
        db.flush()
        assert db.approximate_count() == pytest.approx(25_000, rel=0.05)
        db.compact()
        assert db.approximate_count() == pytest.approx(25_000, abs=10)


def test_a_closed_database_tells_neither_memory_nor_count(path: Path) -> None:
    with lsmkv.open(path) as db:
        pass
    with pytest.raises(lsmkv.ClosedError):
        db.memory()
    with pytest.raises(lsmkv.ClosedError):
        db.approximate_count()
