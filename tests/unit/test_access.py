# SPDX-License-Identifier: Apache-2.0
"""Goal: single and many reads and writes do what their documentation says.

Method: each test uses a database in a fresh directory through the public methods, and
compares with what a dict would hold.
"""

import array
import mmap
from collections import OrderedDict, UserDict
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import lsmkv
from lsmkv import _base


def test_get_returns_what_was_put(db: lsmkv.DB) -> None:
    db.put(b"key", b"value")
    assert db.get(b"key") == b"value"
    assert type(db.get(b"key")) is bytes


def test_put_replaces_the_value(db: lsmkv.DB) -> None:
    db.put(b"key", b"first")
    db.put(b"key", b"second")
    assert db.get(b"key") == b"second"


def test_get_of_a_missing_key_returns_the_default(db: lsmkv.DB) -> None:
    default = object()
    assert db.get(b"missing") is None
    assert db.get(b"missing", default) is default
    assert db.get(b"missing", default=default) is default


def test_an_empty_value_is_not_a_missing_one(db: lsmkv.DB) -> None:
    db.put(b"key", b"")
    assert db.get(b"key", b"default") == b""
    assert b"key" in db


def test_the_empty_key_is_a_key_and_sorts_first(db: lsmkv.DB) -> None:
    db.put(b"\x00", b"nul")
    db.put(b"", b"empty")
    assert db.get(b"") == b"empty"
    assert list(db) == [b"", b"\x00"]


def test_nul_bytes_are_ordinary(db: lsmkv.DB) -> None:
    db.put(b"a\x00b", b"\x00\x00")
    assert db.get(b"a\x00b") == b"\x00\x00"
    assert db.get(b"a") is None


def test_delete_removes_and_ignores_what_is_not_there(db: lsmkv.DB) -> None:
    db.put(b"key", b"value")
    db.delete(b"key")
    db.delete(b"key")
    assert db.get(b"key") is None


def test_mapping_syntax_behaves_like_dict(db: lsmkv.DB) -> None:
    db[b"key"] = b"value"
    assert db[b"key"] == b"value"
    assert b"key" in db
    del db[b"key"]
    assert b"key" not in db
    with pytest.raises(KeyError) as caught:
        db[b"key"]
    assert caught.value.args == (b"key",)
    with pytest.raises(KeyError):
        del db[b"key"]


def test_there_is_no_len_and_a_database_is_true(db: lsmkv.DB) -> None:
    with pytest.raises(TypeError):
        len(db)  # type: ignore[arg-type]
    assert bool(db)


def memory_of(size: int) -> memoryview:
    """Make a view on part of an array of wider items."""
    return memoryview(array.array("d", bytes(size + 16))).cast("B")[8 : 8 + size]


BUFFERS: list[Callable[[bytes], Any]] = [
    bytes,
    bytearray,
    memoryview,
    lambda data: memoryview(b"__" + data)[2:],
    lambda data: array.array("B", data),
    type("Sub", (bytes,), {}),
]


@pytest.mark.parametrize("make", BUFFERS)
def test_every_contiguous_buffer_is_a_key_and_a_value(
    db: lsmkv.DB, make: Callable[[bytes], Any]
) -> None:
    db.put(make(b"key"), make(b"value"))
    assert db.get(make(b"key")) == b"value"
    assert db[make(b"key")] == b"value"
    assert make(b"key") in db
    assert db.get_many([make(b"key"), b"missing", b"key"]) == [
        b"value",
        None,
        b"value",
    ]
    db.put_many([(make(b"other"), make(b"more"))])
    assert list(db.items(start=make(b"l"), stop=make(b"z"))) == [(b"other", b"more")]
    assert list(db.keys(prefix=make(b"ke"))) == [b"key"]
    db.delete_many([make(b"other")])
    db.delete(make(b"key"))
    assert list(db) == []


def test_wide_items_count_as_their_bytes(db: lsmkv.DB) -> None:
    numbers = array.array("d", [1.0, 2.0])
    db.put(b"key", numbers)
    assert db.get(b"key") == numbers.tobytes()


def test_mapped_memory_can_be_stored(db: lsmkv.DB, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"mapped")
    with (
        source.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
    ):
        db.put(b"key", view)
    assert db.get(b"key") == b"mapped"


def test_buffers_are_released_after_every_call(db: lsmkv.DB) -> None:
    key = bytearray(b"key")
    value = bytearray(b"value")
    db.put(key, value)
    db.get(key)
    db.get_many([key])
    db.put_many({b"x": value})
    list(db.items(start=key, stop=value, prefix=key))
    with pytest.raises(TypeError):
        db.put(key, "text")  # type: ignore[arg-type]
    db.get_into(key, value)
    with pytest.raises(TypeError):
        db.get_into("text", value)  # type: ignore[arg-type]
    with pytest.raises(BufferError):
        db.get_into(b"x", bytearray())
    with pytest.raises(TypeError):
        db.compact(key, "text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        db.approximate_count(key, "text")  # type: ignore[arg-type]
    key.append(0)  # BufferError if one of them were still held
    value.append(0)


CALLS_WITH_A_KEY: list[Callable[[lsmkv.DB, Any], object]] = [
    lambda db, key: db.get(key),
    lambda db, key: db[key],
    lambda db, key: key in db,
    lambda db, key: db.get_into(key, bytearray(9)),
    lambda db, key: db.put(key, b"value"),
    lambda db, key: db.put(b"key", key),
    lambda db, key: db.delete(key),
    lambda db, key: db.__delitem__(key),
    lambda db, key: db.get_many([b"key", key]),
    lambda db, key: db.put_many([(key, b"value")]),
    lambda db, key: db.put_many([(b"key", key)]),
    lambda db, key: db.delete_many([b"key", key]),
    lambda db, key: db.items(start=key),
    lambda db, key: db.keys(stop=key),
    lambda db, key: db.values(prefix=key),
    lambda db, key: db.items(prefix=b"x", start=key),
    lambda db, key: db.compact(key),
    lambda db, key: db.delete_range(key, None),
    lambda db, key: db.delete_range(b"", key),
    lambda db, key: lsmkv.WriteBatch().delete_range(key, None),
    lambda db, key: db.approximate_count(key),
    lambda db, key: db.approximate_count(b"", key),
]


@pytest.mark.parametrize("call", CALLS_WITH_A_KEY)
def test_str_is_refused_and_the_message_says_what_to_do(
    db: lsmkv.DB, call: Callable[[lsmkv.DB, Any], object]
) -> None:
    with pytest.raises(TypeError, match=r"encode it first, as in 'key'\.encode\(\)"):
        call(db, "key")


@pytest.mark.parametrize("call", CALLS_WITH_A_KEY)
@pytest.mark.parametrize("wrong", [7, 7.5, ["key"], memoryview(b"stride")[::2]])
def test_what_is_no_contiguous_buffer_is_refused(
    db: lsmkv.DB, call: Callable[[lsmkv.DB, Any], object], wrong: object
) -> None:
    with pytest.raises((TypeError, BufferError)):
        call(db, wrong)
    assert list(db.items()) == []


def test_the_longest_key_works_and_a_longer_one_is_refused(db: lsmkv.DB) -> None:
    longest = b"k" * _base.KEY_SIZE_MAX
    db.put(longest, b"value")
    assert db.get(longest) == b"value"
    calls: list[Callable[[bytes], object]] = [
        db.get,
        db.__getitem__,
        db.__contains__,
        db.delete,
        db.__delitem__,
        lambda key: db.put(key, b"value"),
        lambda key: db.get_into(key, bytearray(9)),
        lambda key: db.get_many([b"key", key]),
        lambda key: db.put_many({b"other": b"", key: b"value"}),
        lambda key: db.delete_many([longest, key]),
    ]
    for call in calls:
        with pytest.raises(lsmkv.LimitError, match="65536 bytes"):
            call(longest + b"k")
    assert list(db) == [longest]


def test_large_values_come_back_whole(db: lsmkv.DB) -> None:
    value = bytes(range(256)) * 40_000
    db.put(b"large", value)
    db.flush()
    assert db.get(b"large") == value
    assert list(db.values()) == [value]


@pytest.mark.parametrize(
    "make", [bytearray, lambda size: array.array("B", bytes(size)), memory_of]
)
def test_get_into_fills_any_writable_buffer_and_tells_the_size(
    db: lsmkv.DB, make: Callable[[int], Any]
) -> None:
    db.put(b"key", b"value")
    db.put(b"empty", b"")
    for place in ("memtable", "table"):
        buffer = make(8)
        assert db.get_into(b"key", buffer) == 5, place
        assert bytes(buffer) == b"value\0\0\0"
        assert db.get_into(b"empty", buffer) == 0
        assert db.get_into(b"missing", buffer) is None
        assert bytes(buffer) == b"value\0\0\0"
        db.flush()


def test_get_into_takes_a_buffer_of_just_the_size_and_says_what_it_needs(
    db: lsmkv.DB,
) -> None:
    db.put(b"key", b"value")
    db.put(b"empty", b"")
    buffer = bytearray(5)
    assert db.get_into(b"key", buffer) == 5
    assert db.get_into(b"empty", bytearray()) == 0
    small = bytearray(b"1234")
    with pytest.raises(BufferError, match="needs 5 bytes, the buffer has 4"):
        db.get_into(b"key", small)
    assert small == b"1234"


def test_get_into_shows_the_state_of_a_snapshot(db: lsmkv.DB) -> None:
    db.put(b"key", b"old")
    buffer = bytearray(3)
    with db.snapshot() as snapshot:
        db.put(b"key", b"new")
        assert db.get_into(b"key", buffer, snapshot=snapshot) == 3
        assert buffer == b"old"


@pytest.mark.parametrize("wrong", [b"bytes", "str", 7, memoryview(bytearray(8))[::2]])
def test_get_into_refuses_what_it_cannot_write_to(db: lsmkv.DB, wrong: object) -> None:
    db.put(b"key", b"v")
    with pytest.raises((TypeError, BufferError)):
        db.get_into(b"key", wrong)  # type: ignore[arg-type]


def test_get_many_keeps_the_order_of_the_keys(db: lsmkv.DB) -> None:
    db.put_many((b"%d" % i, b"v%d" % i) for i in range(100))
    keys = [b"7", b"99", b"x", b"0", b"7"]
    assert db.get_many(keys) == [b"v7", b"v99", None, b"v0", b"v7"]
    assert db.get_many(keys, b"default")[2] == b"default"
    assert db.get_many(keys, default=5)[2] == 5


@pytest.mark.parametrize("make", [list, tuple, iter, dict.fromkeys, set])
def test_get_many_takes_any_iterable(
    db: lsmkv.DB, make: Callable[[list[bytes]], Any]
) -> None:
    db.put(b"a", b"1")
    assert db.get_many(make([b"a"])) == [b"1"]
    assert db.get_many(make([])) == []


def test_get_many_passes_the_error_of_its_iterable_on(db: lsmkv.DB) -> None:
    with pytest.raises(ZeroDivisionError):
        db.get_many(b"%d" % (1 // i) for i in (1, 0))


@pytest.mark.parametrize("make", [dict, OrderedDict, UserDict, MappingProxyType])
def test_put_many_takes_any_mapping(
    db: lsmkv.DB, make: Callable[[dict[bytes, bytes]], Any]
) -> None:
    db.put_many(make({b"a": b"1", b"b": b"2"}))
    assert dict(db.items()) == {b"a": b"1", b"b": b"2"}


def test_put_many_takes_pairs_and_the_last_of_a_key_wins(db: lsmkv.DB) -> None:
    db.put_many([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    db.put_many(iter([(b"c", b"4")]))
    assert dict(db.items()) == {b"a": b"3", b"b": b"2", b"c": b"4"}


@pytest.mark.parametrize("wrong", [(b"a",), (b"a", b"b", b"c"), 5, (b"a", None)])
def test_put_many_stores_nothing_if_one_pair_is_wrong(
    db: lsmkv.DB, wrong: object
) -> None:
    with pytest.raises((TypeError, ValueError)):
        db.put_many([(b"good", b"1"), wrong])  # type: ignore[list-item]
    assert list(db.items()) == []


def test_put_many_stores_nothing_if_the_iterable_raises(db: lsmkv.DB) -> None:
    with pytest.raises(ZeroDivisionError):
        db.put_many((b"%d" % i, b"%d" % (1 // (2 - i))) for i in range(4))
    assert list(db.items()) == []


def test_many_of_nothing_is_nothing(db: lsmkv.DB) -> None:
    db.put_many([])
    db.put_many({})
    db.delete_many([])
    assert list(db.items()) == []


def test_delete_many_is_one_batch(db: lsmkv.DB) -> None:
    db.put_many((b"%d" % i, b"") for i in range(10))
    before = db.stats().write_count
    db.delete_many([b"1", b"5", b"missing"])
    assert db.stats().write_count == before + 1
    assert list(db) == [b"0", b"2", b"3", b"4", b"6", b"7", b"8", b"9"]


@pytest.mark.parametrize("where", ["memtable", "table", "levels"])
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize(
    ("start", "stop"),
    [(None, None), (b"100", None), (None, b"100"), (b"100", b"200"), (b"200", b"1")],
)
def test_delete_range_removes_what_a_slice_would(
    db: lsmkv.DB, where: str, batched: bool, start: bytes | None, stop: bytes | None
) -> None:
    expected = {b"%03d" % i: b"value" for i in range(500)}
    db.put_many(expected)
    if where != "memtable":
        db.flush()
    if where == "levels":
        db.compact()
    before = db.stats().write_count
    if batched:
        with db.write_batch() as batch:
            batch.delete_range(start, stop)
            batch.put(b"150", b"again")
        expected[b"150"] = b"again"
    else:
        db.delete_range(start, stop)
    assert db.stats().write_count <= before + 1
    expected = {
        key: value
        for key, value in expected.items()
        if value == b"again"
        or not ((start is None or key >= start) and (stop is None or key < stop))
    }
    for _ in range(2):
        assert dict(db.items()) == expected
        assert list(db.keys(reverse=True)) == sorted(expected, reverse=True)
        keys = [b"%03d" % i for i in range(500)]
        assert db.get_many(keys) == [expected.get(key) for key in keys]
        assert db.approximate_count() == len(expected)
        assert (b"150" in db) == (b"150" in expected)
        db.compact()


def test_snapshots_keep_what_a_range_delete_removes(db: lsmkv.DB) -> None:
    db.put_many((b"%03d" % i, b"") for i in range(100))
    with db.snapshot() as snapshot:
        db.delete_range(b"", b"050", sync=True)
        db.compact()
        assert len(list(snapshot)) == 100
        assert len(list(db)) == 50


def test_values_survive_flush_compact_and_reopen(path: Path) -> None:
    expected = {b"%05d" % i: b"value %d" % i for i in range(5000)}
    with lsmkv.open(path) as db:
        db.put_many(expected)
        db.flush()
        db.delete(b"00007")
        db.put(b"00008", b"new")
        db.compact()
        db.settle()
    del expected[b"00007"]
    expected[b"00008"] = b"new"
    with lsmkv.open(path) as db:
        assert dict(db.items()) == expected
        assert db.get_many(list(expected)) == list(expected.values())
        assert db.get(b"00007") is None


def test_compact_takes_a_range(db: lsmkv.DB) -> None:
    db.put_many((b"%03d" % i, b"x" * 100) for i in range(500))
    db.compact(b"100", b"200")
    db.compact(start=b"300")
    db.compact(stop=b"300")
    assert len(list(db)) == 500


def test_sync_true_syncs_the_log_and_sync_false_does_not(path: Path) -> None:
    with lsmkv.open(path, durability="os") as db:
        db.sync()  # the first one syncs what opening wrote, too
        before = db.stats().sync_count
        db.put(b"a", b"1")
        db.delete(b"a", sync=False)
        assert db.stats().sync_count == before
        db.put(b"a", b"1", sync=True)
        assert db.stats().sync_count == before + 1
        db.delete(b"a", sync=True)
        assert db.stats().sync_count == before + 2
        db.put_many({b"b": b"2"}, sync=True)
        assert db.stats().sync_count == before + 3
        db.delete_many([b"b"], sync=True)
        assert db.stats().sync_count == before + 4
        db.put(b"dirty", b"")
        db.sync()
        assert db.stats().sync_count == before + 5


def test_durability_sync_makes_every_write_a_sync_unless_told_otherwise(
    path: Path,
) -> None:
    with lsmkv.open(path, durability="sync") as db:
        db.sync()
        before = db.stats().sync_count
        db[b"a"] = b"1"
        db.put(b"b", b"2")
        db.put_many({b"c": b"3"})
        assert db.stats().sync_count == before + 3
        db.put(b"d", b"4", sync=False)
        db.put_many({b"e": b"5"}, sync=False)
        assert db.stats().sync_count == before + 3


def test_stats_count_what_was_done(db: lsmkv.DB) -> None:
    start = db.stats()
    assert start.state == "open"
    db.put_many((b"%05d" % i, b"x" * 100) for i in range(1000))
    db.put(b"one", b"more")
    written = db.stats()
    assert written.write_count == start.write_count + 2
    assert written.sequence == start.sequence + 1001
    assert written.user_bytes_written > 100_000
    assert written.log_bytes_written >= written.user_bytes_written
    db.flush()
    db.settle()
    flushed = db.stats()
    assert flushed.flush_count == start.flush_count + 1
    assert sum(level.entry_count for level in flushed.levels) >= 1001
    assert sum(level.table_count for level in flushed.levels) == 1
    assert flushed.write_amplification > 1.0
    with db.snapshot():
        assert db.stats().snapshot_count == 1
    assert db.stats().snapshot_count == 0


def test_verify_of_a_sound_database_is_ok_and_counts(db: lsmkv.DB) -> None:
    db.put_many((b"%05d" % i, b"x" * 100) for i in range(1000))
    db.flush()
    report = db.verify()
    assert report.ok
    assert report.problem_count == 0
    assert report.problems == ()
    assert report.record_count >= 1000
    assert report.file_count >= 1
    assert report.block_count >= 20
    assert report.byte_count > 100_000
