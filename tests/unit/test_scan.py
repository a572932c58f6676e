# SPDX-License-Identifier: Apache-2.0
"""Goal: iterators give the rows of one moment, in order, inside their bounds.

Method: fixed cases for the edges (0xff prefixes, chunk borders, ends), and hypothesis
for the rest, with a sorted list of the same rows as the model.
"""

import gc
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lsmkv


def fill(db: lsmkv.DB, count: int, size: int = 20) -> list[tuple[bytes, bytes]]:
    """Store rows in an order that is not that of the keys; returns them sorted."""
    rows = [(b"%06d" % i, b"%d" % i * (size // 6 + 1)) for i in range(count)]
    shuffled = sorted(rows, key=lambda row: row[0][::-1])
    db.put_many(shuffled)
    return rows


def test_rows_come_in_the_order_of_unsigned_bytes(db: lsmkv.DB) -> None:
    keys = [b"", b"\x00", b"\x00\x00", b"a", b"aa", b"b", b"\x7f", b"\x80", b"\xff"]
    db.put_many((key, b"v" + key) for key in reversed(keys))
    assert list(db) == keys
    assert list(db.keys()) == keys
    assert list(db.values()) == [b"v" + key for key in keys]
    assert list(db.items()) == [(key, b"v" + key) for key in keys]
    assert list(db.items(reverse=True)) == [(k, b"v" + k) for k in reversed(keys)]


def test_an_empty_database_has_no_rows(db: lsmkv.DB) -> None:
    for reverse in (False, True):
        assert list(db.items(reverse=reverse)) == []
        assert list(db.keys(reverse=reverse)) == []
        assert list(db.values(reverse=reverse)) == []


def test_start_is_inclusive_and_stop_exclusive(db: lsmkv.DB) -> None:
    db.put_many((key, b"") for key in (b"a", b"b", b"c", b"d"))
    assert list(db.keys(start=b"b", stop=b"d")) == [b"b", b"c"]
    assert list(db.keys(start=b"b", stop=b"d", reverse=True)) == [b"c", b"b"]
    assert list(db.keys(start=b"bb")) == [b"c", b"d"]
    assert list(db.keys(stop=b"bb")) == [b"a", b"b"]
    assert list(db.keys(start=b"c", stop=b"b")) == []
    assert list(db.keys(start=b"c", stop=b"b", reverse=True)) == []
    assert list(db.keys(start=b"c", stop=b"c")) == []
    assert list(db.keys(stop=b"")) == []


def test_a_prefix_of_0xff_bytes_reaches_to_the_end(db: lsmkv.DB) -> None:
    keys = [b"\xfe", b"\xfe\xff", b"\xff", b"\xff\x00", b"\xff\xff", b"\xff\xff\xff"]
    db.put_many((key, b"") for key in keys)
    assert list(db.keys(prefix=b"\xff")) == keys[2:]
    assert list(db.keys(prefix=b"\xff\xff")) == keys[4:]
    assert list(db.keys(prefix=b"\xfe\xff")) == [b"\xfe\xff"]
    assert list(db.keys(prefix=b"\xfe")) == keys[:2]
    assert list(db.keys(prefix=b"")) == keys
    assert list(db.keys(prefix=b"\xff", reverse=True)) == keys[:1:-1]


def test_prefix_and_bounds_narrow_each_other(db: lsmkv.DB) -> None:
    keys = [b"a", b"ba", b"bb", b"bc", b"c"]
    db.put_many((key, b"") for key in keys)
    assert list(db.keys(prefix=b"b", start=b"bb")) == [b"bb", b"bc"]
    assert list(db.keys(prefix=b"b", stop=b"bb")) == [b"ba"]
    assert list(db.keys(prefix=b"b", start=b"a", stop=b"z")) == [b"ba", b"bb", b"bc"]
    assert list(db.keys(prefix=b"b", start=b"c")) == []
    assert list(db.keys(prefix=b"b", stop=b"a")) == []


KEYS = st.lists(st.sampled_from([0, 1, 97, 254, 255]), max_size=3).map(bytes)
BOUNDS = st.none() | KEYS


@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=st.dictionaries(KEYS, st.binary(max_size=3), max_size=20),
    flushed=st.booleans(),
    start=BOUNDS,
    stop=BOUNDS,
    prefix=BOUNDS,
    reverse=st.booleans(),
)
def test_any_bounds_give_the_rows_that_a_sorted_list_gives(
    db: lsmkv.DB,
    rows: dict[bytes, bytes],
    flushed: bool,
    start: bytes | None,
    stop: bytes | None,
    prefix: bytes | None,
    reverse: bool,
) -> None:
    db.delete_many(list(db))
    db.put_many(rows)
    if flushed:
        db.flush()
    expected = [
        (key, value)
        for key, value in sorted(rows.items(), reverse=reverse)
        if (start is None or key >= start)
        and (stop is None or key < stop)
        and (prefix is None or key.startswith(prefix))
    ]
    found = db.items(start=start, stop=stop, prefix=prefix, reverse=reverse)
    assert list(found) == expected
    with db.snapshot() as snapshot:
        assert [key for key, _ in expected] == list(
            snapshot.keys(start=start, stop=stop, prefix=prefix, reverse=reverse)
        )
        assert [value for _, value in expected] == list(
            snapshot.values(start=start, stop=stop, prefix=prefix, reverse=reverse)
        )


@pytest.mark.parametrize("size", [0, 100, 5000, 70_000])
@pytest.mark.parametrize("reverse", [False, True])
def test_rows_are_whole_across_chunks(db: lsmkv.DB, size: int, reverse: bool) -> None:
    rows = fill(db, 3000 if size < 5000 else 60, size)
    expected = rows[::-1] if reverse else rows
    assert list(db.items(reverse=reverse)) == expected
    db.flush()
    assert list(db.items(reverse=reverse)) == expected
    assert list(db.keys(reverse=reverse)) == [key for key, _ in expected]
    assert list(db.values(reverse=reverse)) == [value for _, value in expected]


def test_an_iterator_shows_the_moment_of_its_making(db: lsmkv.DB) -> None:
    rows = fill(db, 1000)
    fresh = db.items()
    started = db.items()
    first = next(started)
    db.delete_many([key for key, _ in rows])
    db.put_many({b"000000": b"changed", b"zzz": b"added"})
    db.flush()
    db.compact()
    assert list(fresh) == rows
    assert [first, *started] == rows
    assert list(db) == [b"000000", b"zzz"]


def test_an_exhausted_iterator_stays_exhausted(db: lsmkv.DB) -> None:
    db.put(b"a", b"1")
    scan = db.items()
    assert list(scan) == [(b"a", b"1")]
    db.put(b"b", b"2")
    assert list(scan) == []
    assert next(scan, None) is None


def test_an_iterator_keeps_its_database_alive(path: Path) -> None:
    scans = [lsmkv.open(path).items()]
    gc.collect()
    assert list(scans[0]) == []
    with pytest.warns(ResourceWarning, match="unclosed database"):
        scans.clear()


def test_closing_the_database_ends_its_iterators_at_once(path: Path) -> None:
    db = lsmkv.open(path)
    fill(db, 100)
    fresh = db.items()
    started = db.keys()
    next(started)  # the rest of its rows is in memory by now
    db.close()
    for scan in (fresh, started):
        for _ in range(2):
            with pytest.raises(lsmkv.ClosedError):
                next(scan)
    with pytest.raises(lsmkv.ClosedError):
        db.items()


def test_a_closed_iterator_says_so(db: lsmkv.DB) -> None:
    fill(db, 10)
    with db.items() as scan:
        next(scan)
    scan.close()
    with pytest.raises(lsmkv.ClosedError, match="iterator is closed"):
        next(scan)


def test_an_open_iterator_does_not_keep_the_database_from_closing(path: Path) -> None:
    with lsmkv.open(path) as db:
        fill(db, 1000)
        scan = db.items()
        next(scan)
    assert db.closed
    with lsmkv.open(path) as db:
        assert len(list(db)) == 1000
    del scan


def test_abandoned_iterators_hold_nothing_back(db: lsmkv.DB) -> None:
    fill(db, 1000)
    for _ in range(200):
        next(db.items(reverse=True))
    db.compact()
    assert len(list(db)) == 1000


def test_an_iterator_used_by_two_threads_gives_each_row_once_or_an_error(
    db: lsmkv.DB,
) -> None:
    rows = fill(db, 20_000, 100)
    db.flush()
    scan = db.items()
    seen: list[tuple[bytes, bytes]] = []
    wrong: list[BaseException] = []

    def work() -> None:
        while True:
            try:
                seen.append(next(scan))
            except StopIteration:
                return
            except lsmkv.InvalidArgumentError:
                time.sleep(0)
            except BaseException as error:
                wrong.append(error)
                return

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sorted(seen) == rows


def test_iterators_cannot_be_made_without_a_database() -> None:
    with pytest.raises(TypeError):
        lsmkv.Scan()  # type: ignore[call-arg]


def test_keys_alone_read_no_large_value(path: Path) -> None:
    rows = {b"%05d" % i + b"k" * 60: b"v" * 2000 for i in range(4000)}
    with lsmkv.open(path) as db:
        db.put_many(rows)
    for name in (*path.glob("*.seg"), *path.glob("*.log")):
        data = bytearray(name.read_bytes())
        data[64:] = data[64:].replace(b"v" * 100, b"w" * 100)
        name.write_bytes(data)
    with lsmkv.open(path) as db:
        assert list(db.keys()) == list(rows)
        assert list(db.keys(reverse=True)) == list(rows)[::-1]
        assert db.approximate_count() == len(rows)
        with pytest.raises(lsmkv.CorruptionError):
            list(db.items())
        with pytest.raises(lsmkv.CorruptionError):
            list(db.values(reverse=True))
