# SPDX-License-Identifier: Apache-2.0
"""Goal: options are checked, reach the engine, and are remembered where they say so.

Method: what an option does is seen from outside: stats, and the sizes of files.
"""

import dataclasses
import re
import typing
from pathlib import Path
from typing import Any

import pytest

import lsmkv
from lsmkv.options import Overrides

TEXT = b"the quick brown fox jumps over the lazy dog " * 20


def fill(db: lsmkv.DB, count: int = 2000) -> None:
    """Store compressible rows and write them out."""
    db.put_many((b"%06d" % i, TEXT) for i in range(count))
    db.flush()
    db.settle()


def stored_bytes(db: lsmkv.DB) -> int:
    """Size of all tables."""
    return sum(level.byte_count for level in db.stats().levels)


def test_options_are_frozen_and_keyword_only() -> None:
    options = lsmkv.Options(memory_bytes=1 << 20)
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.memory_bytes = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        lsmkv.Options(5)  # type: ignore[call-arg]


def test_overrides_are_the_fields_of_options() -> None:
    assert typing.get_type_hints(Overrides) == typing.get_type_hints(lsmkv.Options)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory_bytes", 0),
        ("memtable_bytes", -1),
        ("block_cache_bytes", -1),
        ("max_open_files", 2**32),
        ("background_threads", 0),
        ("durability", "always"),
        ("sync_interval", 0),
        ("sync_interval", 3601.0),
        ("sync_interval", float("nan")),
        ("block_bytes", 0),
        ("bloom_bits_per_key", -1),
        ("compression", "lz4"),
        ("compression_level", 23),
        ("table_bytes", 2**63),
        ("level_base_bytes", 0),
        ("level_multiplier", 0),
        ("l0_compact_trigger", 0),
    ],
)
def test_values_out_of_range_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(lsmkv.InvalidArgumentError, match=name):
        lsmkv.Options(**{name: value})


@pytest.mark.parametrize(
    "name", [field.name for field in dataclasses.fields(lsmkv.Options)]
)
@pytest.mark.parametrize("value", [object(), True, b"zstd"])
def test_values_of_the_wrong_type_are_refused_by_name(name: str, value: Any) -> None:
    if name == "mapping" and value is True:
        return
    with pytest.raises((TypeError, lsmkv.InvalidArgumentError), match=name):
        lsmkv.Options(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory_bytes", 1),
        ("memtable_bytes", 1 << 40),
        ("max_open_files", 15),
        ("background_threads", 1000),
        ("block_bytes", 1),
        ("bloom_bits_per_key", 1000),
        ("level_multiplier", 1),
    ],
)
def test_limits_of_the_engine_are_refused_at_open_and_leave_nothing(
    path: Path, name: str, value: int
) -> None:
    options = lsmkv.Options(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(lsmkv.InvalidArgumentError, match=name):
        lsmkv.open(path, options=options)
    lsmkv.open(path, error_if_exists=True).close()


def test_overrides_win_over_options(path: Path) -> None:
    options = lsmkv.Options(memory_bytes=64 << 20, block_cache_bytes=1 << 20)
    with lsmkv.open(path, options=options, block_cache_bytes=2 << 20) as db:
        assert db.stats().cache_capacity == 2 << 20


def test_unknown_overrides_are_refused(path: Path) -> None:
    with pytest.raises(TypeError, match="memory_gigabytes"):
        lsmkv.open(path, memory_gigabytes=1)  # type: ignore[call-arg]
    assert not path.exists()


def test_the_cache_gets_what_memory_bytes_leaves(path: Path) -> None:
    with lsmkv.open(path, memory_bytes=8 << 20) as db:
        assert 0 < db.stats().cache_capacity < 8 << 20
    with lsmkv.open(path, block_cache_bytes=0) as db:
        fill(db, 100)
        assert db.get(b"000007") == TEXT
        assert db.stats().cache_bytes == 0


def test_a_small_memtable_is_flushed_by_writing(path: Path) -> None:
    with lsmkv.open(path, memory_bytes=1 << 20, memtable_bytes=64 << 10) as db:
        for i in range(2000):
            db.put(b"%06d" % i, TEXT)
        db.settle()
        assert db.stats().flush_count > 5
        assert len(list(db)) == 2000


def test_compression_is_remembered(path: Path) -> None:
    with lsmkv.open(path, compression="zstd") as db:
        fill(db)
        assert stored_bytes(db) < 2000 * len(TEXT) / 4
    with lsmkv.open(path) as db:
        fill(db)
        db.compact()
        assert stored_bytes(db) < 2000 * len(TEXT) / 4
        assert db.get(b"000007") == TEXT


def test_another_compression_applies_to_what_is_written_from_then_on(
    path: Path,
) -> None:
    with lsmkv.open(path) as db:
        fill(db)
        assert stored_bytes(db) > 2000 * len(TEXT) / 2
    with lsmkv.open(path, compression="zstd") as db:
        assert db.get(b"000007") == TEXT
        fill(db)
        db.compact()
        small = stored_bytes(db)
        assert small < 2000 * len(TEXT) / 4
    with lsmkv.open(path, compression="none") as db:
        fill(db)
        db.compact()
        assert stored_bytes(db) > 2 * small
        assert len(list(db)) == 2000


def test_table_bytes_is_remembered(path: Path) -> None:
    def table_count(db: lsmkv.DB) -> int:
        return sum(level.table_count for level in db.stats().levels)

    with lsmkv.open(path, table_bytes=64 << 10) as db:
        fill(db)
        fill(db)  # overlapping tables have to be rewritten
        db.compact()
        many = table_count(db)
    assert many > 10
    with lsmkv.open(path) as db:
        fill(db)
        db.compact()
        assert table_count(db) > many / 2


@pytest.mark.parametrize("durability", ["os", "sync", "interval"])
def test_every_durability_keeps_the_data(path: Path, durability: Any) -> None:
    with lsmkv.open(path, durability=durability, sync_interval=0.01) as db:
        db.put(b"a", b"1")
    with lsmkv.open(path) as db:
        assert db.get(b"a") == b"1"


def test_durability_interval_syncs_by_itself(path: Path) -> None:
    import time

    with lsmkv.open(path, durability="interval", sync_interval=0.02) as db:
        before = db.stats().sync_count
        db.put(b"a", b"1")
        deadline = time.monotonic() + 10
        while db.stats().sync_count == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_filters_off_still_finds_everything(path: Path) -> None:
    with lsmkv.open(path, bloom_bits_per_key=0) as db:
        fill(db, 500)
        assert db.get(b"000007") == TEXT
        assert db.get(b"x") is None


def test_the_tuning_page_has_every_option_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text()
    page = re.sub(r"^\| figure \|.*?^$", "", page, flags=re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)
    assert sorted(rows) == sorted(f.name for f in dataclasses.fields(lsmkv.Options))
