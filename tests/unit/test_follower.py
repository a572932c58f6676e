# SPDX-License-Identifier: Apache-2.0
"""Goal: a follower shows the writer's state of its last refresh, in any process, and
needs no permission to write.

Method: real directories, with a writer in this process; tests/crash/test_follow.py has
busy ones, tests/c/test_follow.c what may happen between two calls of the system.
"""

import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

import lsmkv

NOBODY = 65534
SMALL = lsmkv.Options(
    memory_bytes=1 << 20, memtable_bytes=16 << 10, table_bytes=4 << 10
)


@pytest.fixture
def follower(db: lsmkv.DB, path: Path) -> Iterator[lsmkv.DB]:
    """Follow the fresh database."""
    with lsmkv.open(path, mode="follower") as database:
        yield database


def test_refresh_tells_whether_there_was_news(db: lsmkv.DB, follower: lsmkv.DB) -> None:
    assert not follower.refresh()
    db[b"a"] = b"1"
    assert follower.get(b"a") is None
    assert follower.refresh()
    assert follower[b"a"] == b"1"
    assert not follower.refresh()
    db.flush()
    db.compact()
    assert not follower.refresh()
    db.put(b"b", b"2", sync=True)
    del db[b"a"]
    assert follower.refresh()
    assert dict(follower.items()) == {b"b": b"2"}
    assert follower.stats().state == "read-only"
    assert follower.verify().ok


def test_what_was_opened_before_a_refresh_stays(
    db: lsmkv.DB, follower: lsmkv.DB
) -> None:
    large = b"x" * 5000
    db.put_many({b"%02d" % i: large for i in range(50)})
    follower.refresh()
    view = follower.get_view(b"07")
    assert view is not None
    rows = iter(follower.items())
    assert next(rows) == (b"00", large)
    with follower.snapshot() as snapshot:
        for i in range(50):
            db[b"%02d" % i] = b"new"
        db.compact()
        assert follower.refresh()
        assert follower[b"07"] == b"new"
        assert snapshot[b"07"] == large
        assert len(list(snapshot.items())) == 50
        assert list(rows) == [(b"%02d" % i, large) for i in range(1, 50)]
        assert bytes(view) == large


def test_a_writer_may_end_and_start_again(path: Path) -> None:
    with lsmkv.open(path) as writer:
        writer[b"a"] = b"1"
    with lsmkv.open(path, mode="follower") as follower:
        assert follower[b"a"] == b"1"
        assert not follower.refresh()
        for i in range(3):
            with lsmkv.open(path) as writer:
                writer[b"a"] = b"%d" % i
                assert follower.refresh()
                assert follower[b"a"] == b"%d" % i
            assert not follower.refresh()
            assert follower[b"a"] == b"%d" % i


def test_namespaces_come_and_go(db: lsmkv.DB, follower: lsmkv.DB) -> None:
    with pytest.raises(KeyError):
        follower.namespace("one", create=False)
    one = db.namespace("one", default_ttl=50)
    one[b"a"] = b"1"
    follower.refresh()
    theirs = follower.namespace("one", create=False)
    assert theirs[b"a"] == b"1"
    assert follower.namespaces()["one"].default_ttl == 50
    db.namespace("one", alter=True, default_ttl=70)
    db.flush()
    follower.refresh()
    assert theirs.options.default_ttl == 70
    with follower.snapshot() as snapshot:
        db.drop_namespace("one")
        db.namespace("one")[b"b"] = b"2"
        follower.refresh()
        assert snapshot.namespace("one")[b"a"] == b"1"
    with pytest.raises(lsmkv.InvalidArgumentError, match="dropped"):
        theirs.get(b"a")
    assert dict(follower.namespace("one", create=False).items()) == {b"b": b"2"}
    with pytest.raises(lsmkv.ReadOnlyError):
        follower.namespace("two")


def test_a_cache_is_followed_as_it_goes_round(db: lsmkv.DB, follower: lsmkv.DB) -> None:
    cache = db.namespace("cache", max_bytes=4 << 20)
    follower.refresh()
    theirs = follower.namespace("cache", create=False)
    for i in range(300):
        cache[b"%03d" % i] = bytes([i % 251]) * 40_000
        if i % 7 == 0:
            follower.refresh()
            assert theirs.get(b"%03d" % i) in (None, bytes([i % 251]) * 40_000)
    follower.refresh()
    found = theirs.get_many([b"%03d" % i for i in range(300)])
    for i, value in enumerate(found):
        assert value in (None, bytes([i % 251]) * 40_000)
    assert found[-1] is not None
    assert found[0] is None


def test_only_a_follower_refreshes_or_polls(db: lsmkv.DB, path: Path) -> None:
    with pytest.raises(lsmkv.InvalidArgumentError, match="follower"):
        db.refresh()
    with (
        lsmkv.open(path, mode="r") as view,
        pytest.raises(lsmkv.InvalidArgumentError, match="follower"),
    ):
        view.refresh()
    with pytest.raises(lsmkv.InvalidArgumentError, match="follower"):
        lsmkv.open(path, mode="r", poll=1)
    for poll in (0, -1, 1e6, float("nan")):
        with pytest.raises(lsmkv.InvalidArgumentError, match="poll"):
            lsmkv.open(path, mode="follower", poll=poll)


def test_a_follower_polls_by_itself(db: lsmkv.DB, path: Path) -> None:
    with lsmkv.open(path, mode="follower", poll=0.005) as follower:
        db[b"a"] = b"1"
        end = time.monotonic() + 60
        while follower.get(b"a") is None:
            assert time.monotonic() < end
            time.sleep(0.001)


def test_a_poll_that_fails_is_told_and_goes_on(path: Path) -> None:
    with lsmkv.open(path) as writer:
        writer[b"a"] = b"1"
    current = path / "CURRENT"
    saved = current.read_bytes()
    with lsmkv.open(path, mode="follower", poll=0.005) as follower:
        told = follower.stats().follower
        assert told is not None
        assert told.error is None
        assert told.failure_count == 0
        assert told.refresh_count >= 1
        current.unlink()
        told = until(follower, lambda told: told.failures_in_row >= 2)
        assert isinstance(told.error, lsmkv.NotADatabaseError)
        assert follower[b"a"] == b"1"  # reads go on
        text = follower.stats().prometheus()
        assert "\nlsmkv_follower_failures_in_row " in text
        assert "\nlsmkv_follower_age_seconds " in text
        with pytest.raises(lsmkv.NotADatabaseError):
            follower.refresh()
        current.write_bytes(saved)
        before = told.refresh_count
        told = until(follower, lambda told: told.failures_in_row == 0)
        assert told.error is None
        assert told.failure_count >= 3
        assert told.refresh_count > before
        assert told.age_seconds < 60


def test_a_refresh_that_is_asked_for_is_told_as_well(path: Path) -> None:
    with lsmkv.open(path) as writer:
        writer[b"a"] = b"1"
    current = path / "CURRENT"
    saved = current.read_bytes()
    with lsmkv.open(path, mode="follower") as follower:
        current.unlink()
        for count in (1, 2):
            with pytest.raises(lsmkv.NotADatabaseError):
                follower.refresh()
            told = follower.stats().follower
            assert told is not None
            assert (told.failure_count, told.failures_in_row) == (count, count)
            assert isinstance(told.error, lsmkv.NotADatabaseError)
        current.write_bytes(saved)
        follower.refresh()
        told = follower.stats().follower
        assert told is not None
        assert (told.failure_count, told.failures_in_row) == (2, 0)
        assert told.error is None
        assert told.refresh_count == 2
    with lsmkv.open(path) as writer:
        assert writer.stats().follower is None
        assert "follower" not in writer.stats().prometheus()


def until(
    follower: lsmkv.DB, holds: Callable[[lsmkv.FollowerStats], bool]
) -> lsmkv.FollowerStats:
    """Wait until something holds of how the follower keeps up."""
    end = time.monotonic() + 60
    while True:
        told = follower.stats().follower
        assert told is not None
        if holds(told):
            return told
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_pickled_follower_is_a_follower(db: lsmkv.DB, follower: lsmkv.DB) -> None:
    db[b"a"] = b"1"
    with pickle.loads(pickle.dumps(follower)) as again:
        assert again[b"a"] == b"1"
        db[b"a"] = b"2"
        assert again.refresh()
        assert again[b"a"] == b"2"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(list, follower).result() == [b"a"]


def test_a_closed_follower_refuses(follower: lsmkv.DB) -> None:
    follower.close()
    with pytest.raises(lsmkv.ClosedError):
        follower.refresh()


def test_another_database_in_the_directory_is_not_followed(path: Path) -> None:
    with lsmkv.open(path) as writer:
        writer[b"a"] = b"1"
    with lsmkv.open(path, mode="follower") as follower:
        for entry in path.iterdir():
            entry.unlink()
        with pytest.raises(lsmkv.NotADatabaseError):
            follower.refresh()
        with lsmkv.open(path) as writer:
            writer[b"a"] = b"2"
        with pytest.raises(lsmkv.ChangedError, match="another database"):
            follower.refresh()
        assert follower[b"a"] == b"1"


def test_damage_is_corruption_and_the_state_stays(path: Path) -> None:
    with lsmkv.open(path) as writer:
        writer[b"a"] = b"1"
    with lsmkv.open(path, mode="follower") as follower:
        with lsmkv.open(path) as writer:
            writer[b"a"] = b"2"
        table = max(path.glob("*.tbl"))
        saved = table.read_bytes()
        table.unlink()
        with pytest.raises(lsmkv.CorruptionError, match="missing"):
            follower.refresh()
        assert follower[b"a"] == b"1"
        table.write_bytes(saved)
        assert follower.refresh()
        assert follower[b"a"] == b"2"


def test_half_a_record_is_not_there_yet(path: Path, tmp_path: Path) -> None:
    """Grow the copy of a log byte by byte."""
    script = """
        import os, sys, lsmkv
        db = lsmkv.open(sys.argv[1])
        for i in range(20):
            db.put_many({b"low": b"%d" % i, b"high": b"%d" % i, b"x": b"y" * 3000})
        os._exit(0)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    subprocess.run(command, check=True, timeout=60)
    log = max(path.glob("*.log"))
    data = log.read_bytes()
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    cut = 4096
    (copy / log.name).write_bytes(data[:cut])
    seen = 0
    with lsmkv.open(copy, mode="follower") as follower:
        while cut < len(data):
            with (copy / log.name).open("ab") as file:
                file.write(data[cut : cut + 997])
            cut += 997
            follower.refresh()
            low, high = follower.get_many([b"low", b"high"])
            assert low is not None
            assert low == high
            assert int(low) >= seen
            seen = int(low)
    assert seen == 19


def test_no_permission_to_write_is_needed(path: Path) -> None:
    script = """
        import os, sys, lsmkv
        os.chdir(sys.argv[1])
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(int(sys.argv[2]))
            os.setuid(int(sys.argv[2]))
        try:
            open("new", "w")
        except PermissionError:
            pass
        else:
            sys.exit("the directory can be written to")
        with lsmkv.open(".", mode="follower") as db:
            print(len(list(db.items())), db.refresh(), db.verify().ok)
    """
    with lsmkv.open(path, options=SMALL) as writer:
        for i in range(500):
            writer.put(b"%05d" % i, b"v" * (i % 3000))
    root = os.geteuid() == 0
    for entry in [*path.iterdir(), path]:
        entry.chmod(0o555 if entry == path else 0o444)
        if root:
            os.chown(entry, NOBODY, NOBODY)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path), str(NOBODY)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    path.chmod(0o700)
    assert done.stderr == ""
    assert done.stdout == "500 False True\n"


def test_threads_read_while_one_refreshes(path: Path) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def read(follower: lsmkv.DB) -> None:
        last = 0
        try:
            while not stop.is_set():
                low, high = follower.get_many([b"low", b"high"])
                assert low == high
                with follower.snapshot() as snapshot:
                    rows = dict(snapshot.items())
                assert rows[b"low"] == rows[b"high"]
                assert int(rows[b"low"]) >= last
                last = int(rows[b"low"])
        except BaseException as failure:
            failures.append(failure)

    with lsmkv.open(path, options=SMALL) as writer:
        writer.put_many({b"low": b"0", b"high": b"0"})
        with lsmkv.open(path, mode="follower", options=SMALL) as follower:
            threads = [threading.Thread(target=read, args=(follower,)) for _ in "ab"]
            for thread in threads:
                thread.start()
            for i in range(1, 3000):
                filler = b"x" * (i % 400)
                number = b"%d" % i
                pairs = {b"low": number, b"high": number, b"m%d" % (i % 97): filler}
                writer.put_many(pairs)
                if i % 3 == 0:
                    assert follower.refresh()
                    assert follower[b"low"] == number
            stop.set()
            for thread in threads:
                thread.join()
    assert failures == []
