# SPDX-License-Identifier: Apache-2.0
"""Goal: a list keeps what was appended, in order, and expires as a whole.

Method: a plain Python list as the model, from a state machine of hypothesis; threads
that append at the same time; lists and keys whose names run into each other.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lsmkv

WAIT = 60

Space = lsmkv.DB | lsmkv.Namespace


@pytest.fixture(params=["database", "namespace"])
def space(db: lsmkv.DB, request: pytest.FixtureRequest) -> Space:
    return db if request.param == "database" else db.namespace("space")


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


def test_items_come_back_in_order(space: Space, db: lsmkv.DB) -> None:
    assert space.tail(b"list", 3) == []
    assert space.tail(b"list") == []
    assert space.list_length(b"list") == 0
    for i in range(300):
        assert space.append(b"list", b"%d" % i) == i
        if i % 100 == 50:
            db.flush()
    everything = [b"%d" % i for i in range(300)]
    assert space.tail(b"list") == everything
    for n in (0, 1, 2, 255, 256, 257, 299, 300, 301, 10**9):
        assert space.tail(b"list", n) == everything[max(0, 300 - n) :]
    assert space.list_length(b"list") == 300
    with pytest.raises(lsmkv.InvalidArgumentError):
        space.tail(b"list", -1)


def test_lists_outlive_the_process(path: Path) -> None:
    for i in range(3):
        with lsmkv.open(path) as db:
            assert db.append(b"list", bytearray(b"%d" % i), sync=True) == i
    with lsmkv.open(path, mode="r") as db:
        assert db.tail(memoryview(b"list")) == [b"0", b"1", b"2"]
        with pytest.raises(lsmkv.ReadOnlyError):
            db.append(b"list", b"")


def test_a_snapshot_shows_a_list_as_it_was(db: lsmkv.DB) -> None:
    db.append(b"list", b"0")
    with db.snapshot() as snapshot:
        db.append(b"list", b"1")
        assert db.tail(b"list", 5, snapshot=snapshot) == [b"0"]


def test_lists_whose_keys_run_into_each_other_are_apart(space: Space) -> None:
    keys = [b"", b"\0", b"\0" * 9, b"a", b"a\0", b"a\0\0", b"a\0" + b"\0" * 8, b"a\xff"]
    keys += [b"a\0" + b"\0" * 7 + b"\1", b"a\0\xff", b"a\0" + b"\xff" * 9]
    for round_ in range(3):
        for i, key in enumerate(keys):
            assert space.append(key, b"%d %d" % (i, round_)) == round_
    for i, key in enumerate(keys):
        assert space.tail(key) == [b"%d %d" % (i, n) for n in range(3)]
        assert space.tail(key, 1) == [b"%d 2" % i]
        assert space.list_length(key) == 3
    for i, key in enumerate(keys):
        assert space.delete_list(key)
        assert not space.delete_list(key)
        assert space.tail(key) == []
        for other in keys[i + 1 :]:
            assert space.list_length(other) == 3
    assert list(space.keys()) == []


def test_a_list_that_was_deleted_begins_again(space: Space) -> None:
    for _ in range(3):
        for i in range(5):
            assert space.append(b"list", b"%d" % i) == i
        assert space.delete_list(b"list", sync=True)
    assert space.append(b"list", b"new") == 0
    assert space.tail(b"list") == [b"new"]


def ends_of(space: Space) -> set[int]:
    from lsmkv import _compute

    return {found[1] for key in space if (found := _compute.timed(space, key))}


def time_left(space: Space, key: bytes) -> float | None:
    return space.ttl(key + b"\0" + b"\xff" * 8)


def test_later_items_have_the_end_of_the_first(db: lsmkv.DB) -> None:
    space = db.namespace("sessions", default_ttl=1000)
    for i in range(5):
        space.append(b"list", b"%d" % i)
        time.sleep(0.002)
    assert len(ends_of(space)) == 1
    assert 900 < (time_left(space, b"list") or 0) <= 1000
    renewals: list[Any] = [5000, lsmkv.DEFAULT, 20, lsmkv.DEFAULT]
    for i, ttl in enumerate(renewals, 5):
        space.append(b"list", b"%d" % i, ttl=ttl)
        most = 5000 if i < 7 else 20
        assert most / 2 < (time_left(space, b"list") or 0) <= most
        assert len(ends_of(space)) == 2  # that of the items is later
    for ttl in (None, lsmkv.DEFAULT):
        space.append(b"list", b"9", ttl=ttl)
        assert ends_of(space) == {0}
    space.append(b"list", b"11", ttl=1000)
    assert len(ends_of(space)) == 1
    assert 900 < (time_left(space, b"list") or 0) <= 1000
    kept = [b"%d" % i for i in (*range(9), 9, 9, 11)]
    assert space.tail(b"list") == kept


def test_renewing_a_list_with_each_item_does_not_write_all_of_it_each_time(
    space: Space, db: lsmkv.DB
) -> None:
    item, count = bytes(100), 1000

    def written(key: bytes, ttl_of: Callable[[int], float]) -> int:
        before = db.stats().user_bytes_written
        for i in range(count):
            assert space.append(key, item, ttl=ttl_of(i)) == i
        return db.stats().user_bytes_written - before

    once = count * len(item)
    assert written(b"same", lambda i: 1000) < 4 * once
    # As if 1000 seconds passed from each item to the next.
    assert written(b"later", lambda i: 1000.0 * (i + 1)) < 8 * once
    assert written(b"earlier", lambda i: 1000.0 * (count - i)) < 4 * once
    for key in (b"same", b"later", b"earlier"):
        assert space.tail(key) == [item] * count


def test_a_renewed_list_is_gone_in_time_though_its_items_stay(space: Space) -> None:
    for i in range(5):
        space.append(b"list", b"%d" % i, ttl=1000)
    space.append(b"list", b"5", ttl=0.002)
    until(lambda: space.list_length(b"list") == 0)
    assert space.tail(b"list") == []
    assert not space.delete_list(b"list")
    for i in range(5):
        space.append(b"list", b"%d" % i, ttl=1000)
    space.append(b"list", b"5", ttl=0.002)
    until(lambda: space.tail(b"list") == [])
    assert space.append(b"list", b"new") == 0
    assert space.tail(b"list") == [b"new"]
    assert len(list(space)) == 2


def test_what_append_has_not_written_is_told(space: Space) -> None:
    space.put(b"list\0" + b"\xff" * 8, b"what is this?")
    for call in (space.tail, space.list_length, lambda key: space.append(key, b"")):
        with pytest.raises(lsmkv.InvalidArgumentError, match="what is this"):
            call(b"list")


def test_a_list_expires_as_a_whole_and_begins_again(space: Space) -> None:
    for seconds in (0.3, 3, 30):  # a slow machine takes longer to append
        began = time.monotonic()
        space.delete_list(b"list")
        space.append(b"list", b"0", ttl=seconds)
        for i in range(1, 50):
            space.append(b"list", b"%d" % i)
        if time.monotonic() < began + seconds / 2:
            break
    seen: set[int] = set()
    while time.monotonic() < began + seconds + 1 and 0 not in seen:
        seen.add(len(space.tail(b"list")))
    until(lambda: space.tail(b"list") == [])
    assert seen <= {0, 50}
    assert list(space.keys()) == []
    assert space.append(b"list", b"new") == 0
    assert space.tail(b"list") == [b"new"]
    assert ends_of(space) == {0}


def test_a_list_of_which_a_part_is_read_as_it_expires_is_gone(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(5):
        space.append(b"list", b"%d" % i)
    newest = list(space.keys())[-1]
    rest: Any = type(space)
    scan = rest.items

    class Torn:
        """A scan in whose middle time passes."""

        def __enter__(self) -> None:
            self.rows = list(scan(space, reverse=True))[:2]
            space.delete_range(None, None)

        def __iter__(self) -> Any:
            return iter(self.rows)

        def __exit__(self, *unused: object) -> None:
            pass

    assert newest in space
    monkeypatch.setattr(rest, "items", lambda self, **unused: Torn())
    assert space.tail(b"list") == []


def test_what_is_no_item_or_time_changes_nothing(space: Space) -> None:
    space.append(b"list", b"0")
    wrong: list[tuple[Any, Any, Any]] = [
        ("list", b"", 1),
        (b"list", "text", 1),
        (b"list", None, 1),
        (b"list", b"", "1"),
    ]
    for key, item, ttl in wrong:
        with pytest.raises(TypeError):
            space.append(key, item, ttl=ttl)
    with pytest.raises(lsmkv.InvalidArgumentError):
        space.append(b"list", b"", ttl=-1)
    with pytest.raises(lsmkv.LimitError):
        space.append(bytes(65530), b"")
    assert space.tail(b"list") == [b"0"]


def test_threads_append_without_loss_and_each_in_its_order(
    space: Space, db: lsmkv.DB
) -> None:
    lists = [b"a", b"b"]
    each_count = 150
    stop = threading.Event()

    def work(number: int) -> None:
        for i in range(each_count):
            ttl = 1000 if i % 40 == 39 else lsmkv.DEFAULT
            space.append(lists[i % 2], b"%d %d" % (number, i), ttl=ttl)

    def look() -> None:
        seen: list[bytes] = []
        while not stop.is_set():
            now = space.tail(b"a")
            assert now[: len(seen)] == seen
            seen = now

    with ThreadPoolExecutor(9) as pool:
        looking = pool.submit(look)
        try:
            working = [pool.submit(work, number) for number in range(8)]
            for each in working:
                each.result(WAIT)
        finally:
            stop.set()
        looking.result(WAIT)
    for which, key in enumerate(lists):
        items = [tuple(map(int, each.split())) for each in space.tail(key)]
        assert len(items) == 8 * each_count // 2
        for number in range(8):
            mine = [i for who, i in items if who == number]
            assert mine == list(range(which, each_count, 2))


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["append", "tail", "length", "delete", "flush", "redate"]),
            st.sampled_from([b"a", b"b", b"a\0"]),
            st.integers(0, 9),
        ),
        max_size=60,
    )
)
@settings(max_examples=40)
def test_lists_do_what_python_lists_do(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, bytes, int]]
) -> None:
    model: dict[bytes, list[bytes]] = {b"a": [], b"b": [], b"a\0": []}
    with lsmkv.open(tmp_path_factory.mktemp("lists") / "db") as db:
        for step, (what, key, n) in enumerate(steps):
            if what in ("append", "redate"):
                ttl = 1000 if what == "redate" else lsmkv.DEFAULT
                model[key].append(b"%d" % step)
                number = db.append(key, b"%d" % step, ttl=ttl)
                assert number == len(model[key]) - 1
            elif what == "tail":
                assert db.tail(key, n) == (model[key][-n:] if n else [])
            elif what == "length":
                assert db.list_length(key) == len(model[key])
            elif what == "delete":
                assert db.delete_list(key) == bool(model[key])
                model[key] = []
            else:
                db.flush()
        for key, items in model.items():
            assert db.tail(key) == items
