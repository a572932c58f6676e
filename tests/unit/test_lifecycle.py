# SPDX-License-Identifier: Apache-2.0
"""Goal: opening, closing, locking and forking never lose data, hang or crash.

Method: real directories; other processes are this interpreter running a short script,
so that a crash of theirs is seen as their exit status.
"""

import copy
import errno
import gc
import os
import pickle
import random
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import lsmkv


def run_script(script: str, *args: object, timeout: float = 60) -> str:
    """Run Python code in another process; returns what it printed, fails loudly."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)]
        + [str(arg) for arg in args],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


@pytest.mark.parametrize("make", [str, os.fsencode, Path])
def test_open_takes_every_kind_of_path(
    path: Path, make: Callable[[Path], str | bytes | Path]
) -> None:
    with lsmkv.open(make(path)) as db:
        assert db.path == str(path)
        db.put(b"a", b"1")
    with lsmkv.open(path, create=False) as db:
        assert db.get(b"a") == b"1"


@pytest.mark.parametrize("name", ["ümläut", "with space", "\udcff"])
def test_directory_names_need_not_be_ascii(tmp_path: Path, name: str) -> None:
    with lsmkv.open(tmp_path / name) as db:
        db.put(b"a", b"1")
    with lsmkv.open(tmp_path / name) as db:
        assert db.get(b"a") == b"1"


@pytest.mark.parametrize("name", ["", "a\0b", b"", b"a\0b"])
def test_impossible_paths_are_refused(name: str | bytes) -> None:
    with pytest.raises(lsmkv.InvalidArgumentError):
        lsmkv.open(name)


def test_a_path_must_be_a_path() -> None:
    with pytest.raises(TypeError):
        lsmkv.open(7)  # type: ignore[arg-type]


def test_create_false_wants_a_database(path: Path) -> None:
    with pytest.raises(lsmkv.NotADatabaseError):
        lsmkv.open(path, create=False)
    assert not path.exists()
    path.mkdir()
    with pytest.raises(lsmkv.NotADatabaseError):
        lsmkv.open(path, create=False)


def test_the_parent_of_a_new_database_must_exist(path: Path) -> None:
    with pytest.raises(lsmkv.StorageError) as caught:
        lsmkv.open(path / "child")
    assert caught.value.errno == errno.ENOENT
    assert not path.exists()


def test_error_if_exists_wants_none(path: Path) -> None:
    with lsmkv.open(path, error_if_exists=True) as db:
        db.put(b"a", b"1")
    with pytest.raises(lsmkv.InvalidArgumentError):
        lsmkv.open(path, error_if_exists=True)
    with lsmkv.open(path) as db:
        assert db.get(b"a") == b"1"


def test_a_file_in_the_place_of_the_directory_is_a_storage_error(path: Path) -> None:
    path.write_bytes(b"not a directory")
    with pytest.raises(lsmkv.StorageError) as caught:
        lsmkv.open(path)
    assert isinstance(caught.value, OSError)
    assert caught.value.errno is not None
    assert path.read_bytes() == b"not a directory"


def test_files_are_private_whatever_the_umask(path: Path) -> None:
    old = os.umask(0)
    try:
        with lsmkv.open(path) as db:
            db.put(b"a", b"1")
            db.flush()
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()} == {0o600}


def test_the_context_manager_closes(path: Path) -> None:
    with lsmkv.open(path) as db:
        states = [(db.closed, repr(db))]
    states.append((db.closed, repr(db)))
    assert states == [
        (False, f"<lsmkv.DB {str(path)!r}>"),
        (True, f"<lsmkv.DB {str(path)!r} closed>"),
    ]
    with pytest.raises(ZeroDivisionError), lsmkv.open(path) as db:
        raise ZeroDivisionError
    assert db.closed


def test_close_may_be_called_again(path: Path) -> None:
    db = lsmkv.open(path)
    db.close()
    db.close()
    assert db.closed


CALLS: list[Callable[[lsmkv.DB], object]] = [
    lambda db: db.get(b"a"),
    lambda db: db.get_many([b"a"]),
    lambda db: db.get_many([]),
    lambda db: db[b"a"],
    lambda db: b"a" in db,
    lambda db: db.put(b"a", b"1"),
    lambda db: db.put(b"a", b"1", sync=True),
    lambda db: db.__setitem__(b"a", b"1"),
    lambda db: db.__delitem__(b"a"),
    lambda db: db.delete(b"a"),
    lambda db: db.put_many({b"a": b"1"}),
    lambda db: db.delete_many([b"a"]),
    lambda db: db.get_into(b"a", bytearray(9)),
    lambda db: db.get_view(b"a"),
    lambda db: db.approximate_count(),
    lambda db: db.ttl(b"a"),
    lambda db: db.touch(b"a", 1),
    lambda db: db.put(b"a", b"1", ttl=1),
    lambda db: db.delete_range(None, None),
    lambda db: db.namespace("a"),
    lambda db: db.namespaces(),
    lambda db: db.drop_namespace("a"),
    lambda db: db.memory(),
    lambda db: db.resume(),
    lambda db: len(db.mapping()),
    lambda db: db.write(lsmkv.WriteBatch()),
    lambda db: iter(db),
    lambda db: db.items(),
    lambda db: db.keys(),
    lambda db: db.values(),
    lambda db: db.snapshot(),
    lambda db: db.flush(),
    lambda db: db.sync(),
    lambda db: db.compact(),
    lambda db: db.settle(),
    lambda db: db.verify(),
    lambda db: db.stats(),
]


@pytest.mark.parametrize("call", CALLS)
def test_every_call_on_a_closed_database_says_so(
    path: Path, call: Callable[[lsmkv.DB], object]
) -> None:
    db = lsmkv.open(path)
    db.put(b"a", b"1")
    db.close()
    with pytest.raises(lsmkv.ClosedError, match="closed"):
        call(db)


@pytest.mark.parametrize("save", [pickle.dumps, copy.copy, copy.deepcopy])
def test_handles_cannot_be_copied(
    db: lsmkv.DB, save: Callable[[object], object]
) -> None:
    with db.snapshot() as snapshot:
        space = db.namespace("a")
        for handle in (db, snapshot, db.items(), lsmkv.WriteBatch(), space):
            if handle is db and save is pickle.dumps:
                continue  # as a way to read it, see test_read_only.py
            with pytest.raises(TypeError):
                save(handle)


def test_dropping_an_open_database_warns_and_closes_it(path: Path) -> None:
    databases = [lsmkv.open(path)]
    databases[0].put(b"a", b"1")
    with pytest.warns(ResourceWarning, match=r"unclosed database <lsmkv\.DB "):
        databases.clear()
    with lsmkv.open(path) as db:
        assert db.get(b"a") == b"1"


def test_dropping_a_closed_database_does_not_warn(path: Path) -> None:
    db = lsmkv.open(path)
    db.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del db
        gc.collect()
    assert caught == []


def test_a_failed_open_leaves_nothing_to_warn_about(path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(lsmkv.NotADatabaseError):
            lsmkv.open(path, create=False)
        gc.collect()
    assert caught == []


def test_a_second_open_in_this_process_is_refused(db: lsmkv.DB, path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path, target_is_directory=True)
    for name in (path, path / ".." / path.name, link):
        with pytest.raises(lsmkv.LockedError) as caught:
            lsmkv.open(name)
        assert caught.value.pid == os.getpid()
    db.put(b"a", b"1")
    assert db.get(b"a") == b"1"


HOLDER = """
    import sys, lsmkv
    db = lsmkv.open(sys.argv[1])
    db.put(b"a", b"1")
    print("open", flush=True)
    sys.stdin.read()
    db.close()
"""


def start_holder(path: Path) -> subprocess.Popen[str]:
    """Start a process that has the database open until its stdin ends."""
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    return holder


def test_a_second_process_does_not_wait_and_is_told_who(path: Path) -> None:
    with start_holder(path) as holder:
        with pytest.raises(lsmkv.LockedError, match=str(holder.pid)) as caught:
            lsmkv.open(path)  # while the first one waits for us
        assert caught.value.pid == holder.pid
        holder.communicate()
        assert holder.returncode == 0
    with lsmkv.open(path) as db:
        assert db.get(b"a") == b"1"


def test_a_killed_process_leaves_its_writes_and_no_lock(path: Path) -> None:
    with start_holder(path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with lsmkv.open(path) as db:
        assert db.get(b"a") == b"1"


def test_an_exit_without_close_keeps_the_writes_and_prints_nothing(path: Path) -> None:
    script = """
        import sys, lsmkv
        db = lsmkv.open(sys.argv[1])
        db.put_many((b"%d" % i, b"x" * 1000) for i in range(1000))
        scan = db.items()
        next(scan)
        snapshot = db.snapshot()
    """
    assert run_script(script, path) == ""
    with lsmkv.open(path) as db:
        assert len(list(db)) == 1000


def test_an_exit_while_daemon_threads_work_does_not_hang(path: Path) -> None:
    script = """
        import sys, threading, time, lsmkv
        db = lsmkv.open(sys.argv[1])
        keys = [b"%d" % i for i in range(1000)]
        def work():
            while True:
                db.put_many(dict.fromkeys(keys, b"x" * 100))
                db.get_many(keys)
                list(db.items())
        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.3)
    """
    assert run_script(script, path) == ""
    with lsmkv.open(path) as db:
        assert len(list(db)) == 1000


def test_a_forked_child_is_told_and_disturbs_nobody(path: Path) -> None:
    script = """
        import gc, os, sys, lsmkv
        db = lsmkv.open(sys.argv[1])
        db.put_many({b"a": b"1", b"b": b"2"})
        snapshot, scan, batch = db.snapshot(), db.items(), lsmkv.WriteBatch()
        next(scan)
        calls = [
            lambda: db.get(b"a"), lambda: db.get_many([b"a"]), lambda: b"a" in db,
            lambda: db.put(b"a", b"x"), lambda: db.put(b"a", b"x", sync=True),
            lambda: db.delete(b"a"), lambda: db.put_many({b"a": b"x"}),
            lambda: db.write(batch), lambda: db.items(), lambda: db.snapshot(),
            lambda: snapshot.get(b"a"), lambda: snapshot.items(), lambda: list(scan),
            lambda: db.flush(), lambda: db.sync(), lambda: db.compact(),
            lambda: db.verify(), lambda: db.stats(), lambda: db.close(),
        ]
        pid = os.fork()
        if pid == 0:
            for i, call in enumerate(calls):
                try:
                    call()
                except lsmkv.ForkedError:
                    continue
                print("call", i, "did not raise ForkedError", flush=True)
                os._exit(1)
            del call, calls, scan, snapshot, db
            gc.collect()
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        db.put(b"c", b"3")
        db.flush()
        assert snapshot.get(b"c") is None
        assert next(scan) == (b"b", b"2")
        db.close()
        with lsmkv.open(sys.argv[1]) as db:
            assert dict(db.items()) == {b"a": b"1", b"b": b"2", b"c": b"3"}
        print("done")
    """
    assert run_script(script, path) == "done\n"


def test_a_child_that_outlives_its_parents_close_holds_no_lock(path: Path) -> None:
    script = """
        import os, sys, lsmkv
        db = lsmkv.open(sys.argv[1])
        db.put(b"a", b"1")
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        db.close()
        with lsmkv.open(sys.argv[1]) as db:
            assert db.get(b"a") == b"1"
        pid2 = os.fork()
        if pid2 == 0:
            with lsmkv.open(sys.argv[1]) as db:
                db.put(b"b", b"2")
            os._exit(0)
        assert os.waitpid(pid2, 0)[1] == 0
        os.close(writer)
        assert os.waitpid(pid, 0)[1] == 0
        print("done")
    """
    assert run_script(script, path) == "done\n"
    with lsmkv.open(path) as db:
        assert dict(db.items()) == {b"a": b"1", b"b": b"2"}


def test_close_while_four_threads_read_and_write_200_times(path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    keys = [b"%03d" % i for i in range(200)]
    wrong: list[BaseException] = []

    def write(db: lsmkv.DB) -> None:
        while True:
            db.put(rng.choice(keys), b"x" * 200)
            db.put_many(dict.fromkeys(keys[:20], b"y" * 50))
            db.delete(keys[0])

    def read(db: lsmkv.DB) -> None:
        while True:
            db.get(rng.choice(keys))
            db.get_many(keys)

    def scan(db: lsmkv.DB) -> None:
        while True:
            for _ in db.items():
                pass
            with db.snapshot() as snapshot:
                list(snapshot.values(reverse=True))

    def work(part: Callable[[lsmkv.DB], None], db: lsmkv.DB) -> None:
        try:
            part(db)
        except lsmkv.ClosedError:
            pass
        except BaseException as error:
            wrong.append(error)

    for _ in range(200):
        db = lsmkv.open(path, memory_bytes=1 << 20, memtable_bytes=16 << 10)
        threads = [
            threading.Thread(target=work, args=(part, db))
            for part in (write, write, read, scan)
        ]
        for thread in threads:
            thread.start()
        time.sleep(rng.random() * 0.01)
        db.close()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert wrong == []


def test_threads_that_close_together_all_return(path: Path) -> None:
    for _ in range(20):
        db = lsmkv.open(path)
        db.put(b"a", b"1")
        threads = [threading.Thread(target=db.close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert db.closed


def test_many_databases_are_open_side_by_side(tmp_path: Path) -> None:
    databases = [lsmkv.open(tmp_path / str(i)) for i in range(20)]
    for i, db in enumerate(databases):
        db.put(b"who", b"%d" % i)
    for i, db in enumerate(databases):
        assert db.get(b"who") == b"%d" % i
        db.close()


def test_collecting_garbage_may_close_a_database_that_is_in_a_cycle(path: Path) -> None:
    class Owner:
        def __init__(self) -> None:
            self.me = self
            self.db = lsmkv.open(path)

    owner = Owner()
    del owner
    with pytest.warns(ResourceWarning):
        gc.collect()
    lsmkv.open(path).close()


def test_brief_openings_do_not_pile_up_level_0(path: Path) -> None:
    text = b"x" * 100
    with lsmkv.open(path) as db:
        db.put_many((b"%06d" % i, text) for i in range(200_000))
        db.compact()
    for i in range(20):  # each too brief for a compaction of all that
        with lsmkv.open(path) as db:
            db.put_many({b"%06d" % i: b"first", b"%06d" % (199_999 - i): b"last"})
    with lsmkv.open(path) as db:
        assert db.stats().levels[0].table_count < 14
        assert db.get(b"000019") == b"first"
