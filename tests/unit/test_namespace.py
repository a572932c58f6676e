# SPDX-License-Identifier: Apache-2.0
"""Goal: a namespace is a keyspace of its own, with options and a name that last.

Method: the same keys with other values in several of them, through every method; then
creation, alteration, dropping and reopening, and what handles say afterwards.
"""

import gc
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lsmkv
from lsmkv.keyspace import Keyspace


def fill(space: Keyspace, word: bytes) -> dict[bytes, bytes]:
    """Store a few rows that say where they are."""
    rows = {b"%02d" % i: word + b" %d" % i for i in range(20)}
    space.put_many(rows)
    return rows


def test_the_same_keys_have_other_values_elsewhere(db: lsmkv.DB) -> None:
    places = [db, db.namespace("a"), db.namespace("b"), db.namespace("ab")]
    rows = [fill(place, b"at %d" % i) for i, place in enumerate(places)]
    for _ in range(2):
        for place, expected in zip(places, rows, strict=True):
            assert dict(place.items()) == expected
            assert list(place.keys(reverse=True)) == sorted(expected, reverse=True)
            assert list(place.values(start=b"18")) == [expected[b"18"], expected[b"19"]]
            assert list(place) == sorted(expected)
            assert list(place.keys(prefix=b"0", stop=b"02")) == [b"00", b"01"]
            assert place.get_many([b"03", b"x"]) == [expected[b"03"], None]
            assert place[b"05"] == place.get(b"05") == expected[b"05"]
            assert b"07" in place
            assert b"x" not in place
            assert place.approximate_count() == 20
            assert place.approximate_count(b"05", b"10") == 5
            assert place.mapping() == expected
        db.flush()
        db.compact()


def test_every_write_stays_in_its_place(db: lsmkv.DB) -> None:
    one, other = db.namespace("one"), db.namespace("other")
    for place in (db, one, other):
        fill(place, b"x")
    one.put(b"00", b"new")
    one[b"01"] = b"new"
    one.delete(b"02")
    del one[b"03"]
    one.delete_many([b"04", b"05"])
    one.delete_range(b"06", b"10")
    with one.write_batch() as batch:
        batch.put(b"10", b"new")
        batch.delete(b"11")
        batch.delete_range(b"12", b"15")
    with pytest.raises(KeyError):
        del one[b"02"]
    assert one.touch(b"15", 1000)
    assert one.ttl(b"15") is not None
    buffer = bytearray(9)
    assert one.get_into(b"00", buffer) == 3
    left = {b"00": b"new", b"01": b"new", b"10": b"new"}
    left |= {b"%02d" % i: b"x %d" % i for i in range(15, 20)}
    assert dict(one.items()) == left
    for place in (db, other):
        assert len(list(place)) == 20
        assert place.ttl(b"15") is None


def test_a_range_without_end_stops_where_the_namespace_does(db: lsmkv.DB) -> None:
    spaces = [db.namespace(name) for name in "abc"]
    for space in spaces:
        fill(space, b"x")
    spaces[1].delete_range(None, None)
    spaces[1].mapping().clear()
    assert [len(list(space)) for space in spaces] == [20, 0, 20]
    assert list(spaces[1].keys(start=b"\xff" * 300)) == []


def test_one_batch_writes_to_several_at_once(db: lsmkv.DB) -> None:
    a, b = db.namespace("a"), db.namespace("b")
    fill(b, b"x")
    with a.write_batch() as batch:
        batch.put(b"key", b"in a")
        batch.put(b"key", b"in the database", namespace=db)
        batch.delete(b"00", namespace=b)
        batch.delete_range(b"10", None, namespace=b)
        batch.put(b"key", b"in b", namespace=b, ttl=1000)
        assert len(batch) == 5
    assert (a[b"key"], b[b"key"], db[b"key"]) == (b"in a", b"in b", b"in the database")
    assert list(b) == [b"%02d" % i for i in range(1, 10)] + [b"key"]
    assert b.ttl(b"key") is not None
    with db.write_batch() as batch:
        batch.put(b"key", b"again")
        batch.delete(b"key", namespace=a)
    assert db[b"key"] == b"again"
    assert b"key" not in a


def test_a_batch_of_no_keyspace_names_them(db: lsmkv.DB) -> None:
    a = db.namespace("a")
    batch = lsmkv.WriteBatch()
    batch.put(b"key", b"in the database")
    batch.put(b"key", b"in a", namespace=a)
    for write in (db.write, a.write):
        write(batch)
        assert (db[b"key"], a[b"key"]) == (b"in the database", b"in a")


def test_a_namespace_of_another_database_is_refused(
    db: lsmkv.DB, tmp_path: Path
) -> None:
    with lsmkv.open(tmp_path / "other") as other:
        foreign = other.namespace("a")
        batch = lsmkv.WriteBatch()
        batch.put(b"key", b"", namespace=foreign)
        with pytest.raises(lsmkv.InvalidArgumentError, match="another database"):
            db.write(batch)
        with (
            pytest.raises(lsmkv.InvalidArgumentError),
            db.snapshot() as snapshot,
        ):
            foreign.get(b"key", snapshot=snapshot)
        other.write(batch)
        assert b"key" in foreign
    with pytest.raises(TypeError):
        lsmkv.WriteBatch().put(b"key", b"", namespace="a")  # type: ignore[arg-type]


def test_names_and_content_last(path: Path) -> None:
    with lsmkv.open(path) as db:
        assert db.namespaces() == {}
        for name in ("b", "a", "ü" * 127, "with / and\0nul"):
            fill(db.namespace(name), name.encode())
        db.flush()
        assert list(db.namespaces()) == ["a", "b", "with / and\0nul", "ü" * 127]
    with lsmkv.open(path) as db:
        for name in db.namespaces():
            assert db.namespace(name)[b"00"] == name.encode() + b" 0"
        assert list(db) == []


@pytest.mark.parametrize("name", ["", "x" * 256, "ü" * 128, "\ud800"])
def test_what_is_no_name_is_refused(db: lsmkv.DB, name: str) -> None:
    with pytest.raises((lsmkv.InvalidArgumentError, lsmkv.LimitError)):
        db.namespace(name)
    with pytest.raises((lsmkv.InvalidArgumentError, lsmkv.LimitError)):
        db.drop_namespace(name)
    assert db.namespaces() == {}


@pytest.mark.parametrize("name", [b"bytes", 7, None])
def test_names_are_text(db: lsmkv.DB, name: Any) -> None:
    with pytest.raises(TypeError):
        db.namespace(name)


def test_create_false_wants_one(db: lsmkv.DB) -> None:
    with pytest.raises(KeyError, match="a"):
        db.namespace("a", create=False)
    db.namespace("a")
    db.namespace("a", create=False)


def test_options_last_and_need_not_be_repeated(path: Path) -> None:
    options: dict[str, Any] = {
        "default_ttl": 1000.5,
        "blob_threshold_bytes": 4096,
        "compression": "zstd",
        "compression_level": 7,
    }
    wanted = lsmkv.NamespaceOptions(**options)
    with lsmkv.open(path) as db:
        assert db.namespace("plain").options == lsmkv.NamespaceOptions()
        assert db.namespace("own", **options).options == wanted
    with lsmkv.open(path) as db:
        assert db.namespace("own").options == wanted
        assert db.namespace("own", default_ttl=1000.5).options == wanted
        assert db.namespaces() == {"own": wanted, "plain": lsmkv.NamespaceOptions()}


@pytest.mark.parametrize(
    "other",
    [
        {"default_ttl": 2},
        {"default_ttl": None},
        {"blob_threshold_bytes": 1},
        {"blob_threshold_bytes": None},
        {"compression": "none"},
        {"compression": None},
    ],
)
def test_other_options_are_refused_unless_they_are_to_be_altered(
    db: lsmkv.DB, other: dict[str, Any]
) -> None:
    space = db.namespace(
        "a", default_ttl=1, blob_threshold_bytes=2048, compression="zstd"
    )
    before = space.options
    with pytest.raises(lsmkv.InvalidArgumentError, match=r"is -?\d+, and -?\d+ was"):
        db.namespace("a", **other)
    assert space.options == before
    altered = db.namespace("a", alter=True, **other)
    [(name, value)] = other.items()
    assert getattr(altered.options, name) == value
    assert space.options == altered.options  # it is one namespace
    assert db.namespace("a").options == altered.options


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"default_ttl": 0}, ValueError),
        ({"default_ttl": "1"}, TypeError),
        ({"default_ttl": lsmkv.DEFAULT}, TypeError),
        ({"blob_threshold_bytes": -1}, ValueError),
        ({"blob_threshold_bytes": 1.5}, TypeError),
        ({"compression": "lz4"}, ValueError),
        ({"compression": "zstd", "compression_level": 99}, ValueError),
        ({"memory_bytes": 1}, TypeError),
    ],
)
def test_wrong_options_make_no_namespace(
    db: lsmkv.DB, wrong: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        db.namespace("a", **wrong)
    assert db.namespaces() == {}


def test_the_default_ttl_is_for_puts_that_say_nothing(db: lsmkv.DB) -> None:
    space = db.namespace("sessions", default_ttl=1000)
    space.put(b"default", b"")
    space.put(b"said", b"", ttl=lsmkv.DEFAULT)
    space[b"item"] = b""
    space.put_many({b"many": b""})
    with db.write_batch() as batch:
        batch.put(b"batch", b"", namespace=space)
    for key in (b"default", b"said", b"item", b"many", b"batch"):
        left = space.ttl(key)
        assert left is not None, key
        assert 900 < left <= 1000
    space.put(b"never", b"", ttl=None)
    assert space.ttl(b"never") is None
    space.put(b"own", b"", ttl=5000)
    left = space.ttl(b"own")
    assert left is not None
    assert left > 4900
    assert space.touch(b"own", lsmkv.DEFAULT)
    left = space.ttl(b"own")
    assert left is not None
    assert left <= 1000
    assert space.touch(b"own", None)
    assert space.ttl(b"own") is None
    db.namespace("sessions", alter=True, default_ttl=None)
    space.put(b"later", b"")
    assert space.ttl(b"later") is None


def test_a_short_default_ttl_runs_out(db: lsmkv.DB) -> None:
    space = db.namespace("sessions", default_ttl=0.05)
    space.put(b"key", b"")
    end = time.monotonic() + 20
    while b"key" in space:
        assert time.monotonic() < end
        time.sleep(0.005)


def test_dropping_deletes_all_of_it_and_nothing_else(path: Path) -> None:
    with lsmkv.open(path) as db:
        for name in ("a", "b"):
            fill(db.namespace(name), b"x")
        fill(db, b"x")
        assert db.drop_namespace("a")
        assert not db.drop_namespace("a")
        assert not db.drop_namespace("never was")
        assert list(db.namespaces()) == ["b"]
        assert len(list(db)) == len(list(db.namespace("b"))) == 20
        assert list(db.namespace("a")) == []
        assert db.drop_namespace("a")
        db.compact()
    with lsmkv.open(path) as db:
        assert list(db.namespaces()) == ["b"]
        assert list(db.namespace("a", default_ttl=5)) == []


CALLS: list[Callable[[lsmkv.Namespace], object]] = [
    lambda space: space.get(b"00"),
    lambda space: space.get_many([b"00"]),
    lambda space: space.get_into(b"00", bytearray(9)),
    lambda space: space[b"00"],
    lambda space: b"00" in space,
    lambda space: list(space.items()),
    lambda space: space.ttl(b"00"),
    lambda space: space.touch(b"00", 5),
    lambda space: space.put(b"00", b""),
    lambda space: space.put(b"00", b"", sync=True),
    lambda space: space.put_many({b"00": b""}),
    lambda space: space.delete(b"00"),
    lambda space: space.delete_many([b"00"]),
    lambda space: space.delete_range(None, None),
    lambda space: space.approximate_count(),
    lambda space: len(space.mapping()),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("again", [False, True])
def test_a_handle_of_a_dropped_namespace_says_so(
    db: lsmkv.DB, call: Callable[[lsmkv.Namespace], object], again: bool
) -> None:
    space = db.namespace("a")
    fill(space, b"x")
    db.drop_namespace("a")
    if again:  # another one of that name
        fill(db.namespace("a"), b"y")
    with pytest.raises(lsmkv.InvalidArgumentError, match="dropped"):
        call(space)
    if again:
        assert db.namespace("a")[b"00"] == b"y 0"


@pytest.mark.parametrize("call", CALLS)
def test_every_call_after_closing_says_so(
    path: Path, call: Callable[[lsmkv.Namespace], object]
) -> None:
    with lsmkv.open(path) as db:
        space = db.namespace("a")
        fill(space, b"x")
    assert space.closed
    assert "closed" in repr(space)
    with pytest.raises(lsmkv.ClosedError):
        call(space)
    for ask in (db.namespaces, lambda: db.namespace("a")):
        with pytest.raises(lsmkv.ClosedError):
            ask()
    with pytest.raises(lsmkv.ClosedError):
        db.drop_namespace("a")


def test_a_batch_with_a_dropped_namespace_is_refused_as_a_whole(db: lsmkv.DB) -> None:
    space = db.namespace("a")
    batch = lsmkv.WriteBatch()
    batch.put(b"key", b"")
    batch.put(b"key", b"", namespace=space)
    db.drop_namespace("a")
    with pytest.raises(lsmkv.InvalidArgumentError):
        db.write(batch)
    assert b"key" not in db


def test_snapshots_show_namespaces_as_they_were(db: lsmkv.DB) -> None:
    space = db.namespace("a")
    old = fill(space, b"old")
    with db.snapshot() as snapshot:
        db.drop_namespace("a")
        fill(db.namespace("a"), b"new")
        db.namespace("later")
        db.compact()
        seen = snapshot.namespace("a")
        assert isinstance(seen, lsmkv.NamespaceSnapshot)
        assert seen.name == space.name == "a"
        assert dict(seen.items()) == old
        assert list(seen) == list(seen.keys()) == sorted(old)
        assert list(seen.values(reverse=True, stop=b"01")) == [b"old 0"]
        assert seen.get(b"00") == seen[b"00"] == b"old 0"
        assert seen.get(b"x", 5) == 5
        assert seen.get_many([b"00", b"x"], b"") == [b"old 0", b""]
        assert b"00" in seen
        assert b"x" not in seen
        with pytest.raises(KeyError):
            seen[b"x"]
        with pytest.raises(KeyError):
            snapshot.namespace("later")
        seen.close()  # it is the snapshot's
        assert seen[b"00"] == b"old 0"
        assert space.get(b"00", snapshot=snapshot) == b"old 0"
        assert list(space.keys(snapshot=snapshot)) == sorted(old)
    assert seen.closed
    with pytest.raises(lsmkv.ClosedError):
        seen.get(b"00")


def test_the_snapshot_of_a_namespace_is_closed_with_it(db: lsmkv.DB) -> None:
    space = db.namespace("a")
    rows = fill(space, b"x")
    with space.snapshot() as seen:
        space.delete_range(None, None)
        assert dict(seen.items()) == rows
        assert db.stats().snapshot_count == 1
    assert db.stats().snapshot_count == 0
    assert seen.closed


def test_a_read_only_opening_has_the_namespaces_and_makes_none(path: Path) -> None:
    with lsmkv.open(path) as db:
        rows = fill(db.namespace("a", default_ttl=1000), b"x")
    with lsmkv.open(path, mode="r") as db:
        assert list(db.namespaces()) == ["a"]
        assert dict(db.namespace("a").items()) == rows
        with pytest.raises(lsmkv.ReadOnlyError):
            db.namespace("b")
        with pytest.raises(lsmkv.ReadOnlyError):
            db.namespace("a", alter=True, default_ttl=5)
        with pytest.raises(lsmkv.ReadOnlyError):
            db.drop_namespace("a")


def test_a_handle_keeps_its_database(path: Path) -> None:
    space = lsmkv.open(path).namespace("a")
    gc.collect()
    space.put(b"key", b"value")
    scans = [space.items()]
    alive = weakref.ref(space.db)
    del space
    gc.collect()
    assert next(scans[0]) == (b"key", b"value")
    assert alive() is not None
    with pytest.warns(ResourceWarning, match="unclosed database"):
        scans.clear()
    assert alive() is None


def test_a_cycle_with_a_namespace_is_collected(path: Path) -> None:
    class Holder:
        things: list[object]

    with lsmkv.open(path) as db:
        holder = Holder()
        holder.things = [holder, db.namespace("a"), db.namespace("a").items()]
        gone = weakref.ref(holder)
        del holder
        gc.collect()
        assert gone() is None
        db.namespace("a").put(b"key", b"")


def test_threads_may_create_use_and_drop_the_same_names(db: lsmkv.DB) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for round_ in range(40):
                space = db.namespace(f"n{(number + round_) % 3}")
                try:
                    space.put(b"%d" % number, b"%d" % round_)
                    for key, value in space.items():
                        assert key.isdigit()
                        assert value.isdigit()
                except lsmkv.InvalidArgumentError as error:
                    assert "dropped" in str(error)  # noqa: PT017
                if round_ % 5 == number:
                    db.drop_namespace(space.name)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert set(db.namespaces()) <= {"n0", "n1", "n2"}
    assert db.verify().ok


def test_closing_while_namespaces_are_used_is_safe(path: Path) -> None:

    def use(db: lsmkv.DB, space: lsmkv.Namespace) -> None:
        while True:
            space.put(b"key", b"value")
            list(space.items())
            db.namespace("a").get(b"key")
            db.namespaces()

    def work(db: lsmkv.DB, started: threading.Barrier) -> None:
        space = db.namespace("a")
        started.wait()
        with pytest.raises(lsmkv.ClosedError):
            use(db, space)

    for _ in range(20):
        db = lsmkv.open(path)
        started = threading.Barrier(4)
        threads = [threading.Thread(target=work, args=(db, started)) for _ in range(3)]
        for thread in threads:
            thread.start()
        started.wait()
        time.sleep(0.005)
        db.close()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()


def test_it_says_what_it_is(db: lsmkv.DB) -> None:
    space = db.namespace("a")
    assert repr(space) == f"<lsmkv.Namespace 'a' of {db.path!r}>"
    assert (space.name, space.path, space.db) == ("a", db.path, db)
    with pytest.raises(TypeError):
        len(space)  # type: ignore[arg-type]
    assert bool(space)


def test_a_namespace_is_compacted_alone(db: lsmkv.DB) -> None:
    one, two = db.namespace("one"), db.namespace("two")
    rows = {b"%03d" % i: b"x" * 100 for i in range(200)}
    for space in (db, one, two):
        space.put_many(rows)
    db.compact()
    for space in (db, one, two):
        space.delete_range(b"000", b"150")
    db.flush()
    one.compact(b"100", b"120")  # in the middle of what is deleted
    one.compact()
    written = db.stats().compact_bytes_written
    sizes = {name: each.bytes for name, each in db.stats().namespaces.items()}
    assert sizes["one"] < sizes["two"]
    one.compact()  # there is nothing left to do
    assert db.stats().compact_bytes_written == written
    for space in (db, one, two):
        assert len(list(space.keys())) == 50
    db.drop_namespace("two")
    with pytest.raises(lsmkv.InvalidArgumentError, match="dropped"):
        two.compact()
