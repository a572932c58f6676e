# SPDX-License-Identifier: Apache-2.0
"""Goal: the end of an interpreter, or of a handle, is quiet whatever is still open.

Method: processes that end with databases, namespaces, snapshots, iterators, batches and
views alive in every place that outlives others (globals, cycles, daemon threads, the
frames of generators), and one process in which all of them go in every order.
"""

import gc
import itertools
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lsmkv

SETUP = """
    import sys, threading, time
    import lsmkv
    db = lsmkv.open(sys.argv[1], memory_bytes=1 << 20)
    space = db.namespace("a", default_ttl=1000)
    space.put_many({b"%04d" % i: b"x" * i * 10 for i in range(300)})
    db.put(b"large", bytes(100_000))
    db.flush()
    snapshot = db.snapshot()
    seen = space.snapshot()
    scans = [space.items(), iter(space), snapshot.keys(), seen.values(reverse=True)]
    for scan in scans:
        next(scan)
    view = db.get_view(b"large")
    batch = db.write_batch()
    batch.put(b"key", b"never written", namespace=space)
    mapping = space.mapping()
"""
ENDS = {
    "globals": "",
    "a cycle": """
        class Holder: pass
        holder = Holder()
        holder.things = [holder, db, space, snapshot, seen, scans, view, batch]
        del db, space, snapshot, seen, scans, view, batch, mapping, scan
    """,
    "a generator": """
        def rows():
            for item in space.items():
                yield item
        waiting = rows()
        next(waiting)
    """,
    "daemon threads": """
        def work():
            while True:
                for _ in space.items(): pass
                db.get_view(b"large")
                space.put(b"key", bytes(2000))
                db.snapshot().close()
        for _ in range(3):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.2)
    """,
    "a finalizer": """
        class Last:
            def __del__(self, space=space, view=view):
                assert bytes(view[:3]) == bytes(3)
                space.get(b"0001")
        last = Last()
    """,
    "an exception": "raise SystemExit(0)",
}


@pytest.mark.parametrize("end", list(ENDS))
def test_an_interpreter_ends_quietly_with_all_of_it_open(path: Path, end: str) -> None:
    script = textwrap.dedent(SETUP) + textwrap.dedent(ENDS[end])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with lsmkv.open(path) as db:
        assert db[b"large"] == bytes(100_000)
        assert len(list(db.namespace("a"))) >= 300
        assert db.verify().ok


def open_all(path: Path) -> dict[str, Any]:
    """Make one of everything, each with something of the engine in hand."""
    db = lsmkv.open(path, memory_bytes=1 << 20)
    space = db.namespace("a")
    space.put_many({b"%04d" % i: b"x" * i * 10 for i in range(300)})
    db.flush()
    snapshot = db.snapshot()
    scan = space.items(snapshot=snapshot)
    next(scan)
    return {
        "db": db,
        "space": space,
        "snapshot": snapshot,
        "scan": scan,
        "view": space.get_view(b"0299"),
    }


@pytest.mark.filterwarnings("ignore:unclosed database")
@pytest.mark.parametrize("close", [False, True])
def test_handles_may_go_in_any_order(tmp_path: Path, close: bool) -> None:
    names = ["db", "space", "snapshot", "scan", "view"]
    for number, order in enumerate(itertools.permutations(names)):
        if number % 5 != 0:
            continue
        things = open_all(tmp_path / str(number))
        if close:
            things["db"].close()
        for name in order:
            if name == "view":
                assert bytes(things["view"][:5]) == b"xxxxx"
            del things[name]
            gc.collect(0)


AFTER: dict[str, Callable[[dict[str, Any]], object]] = {
    "space": lambda things: things["space"].get(b"0001"),
    "snapshot": lambda things: things["snapshot"].get(b"0001"),
    "scan": lambda things: next(things["scan"]),
}


@pytest.mark.parametrize("name", list(AFTER))
def test_children_of_a_closed_database_say_so(path: Path, name: str) -> None:
    things = open_all(path)
    things["db"].close()
    with pytest.raises(lsmkv.ClosedError):
        AFTER[name](things)


def test_threads_close_collect_and_iterate_at_once(path: Path) -> None:
    for round_ in range(8):
        db = lsmkv.open(path, memory_bytes=1 << 20)
        space = db.namespace("a")
        space.put_many({b"%04d" % i: bytes(round_ * 100 + i) for i in range(300)})
        failures: list[BaseException] = []

        def use(
            db: lsmkv.DB = db,
            space: lsmkv.Namespace = space,
            failures: list[BaseException] = failures,
        ) -> None:
            cycle: list[Any] = []
            try:
                while True:
                    scan = space.items()
                    cycle = [scan, space.snapshot(), space.get_view(b"0299"), db]
                    cycle.append(cycle)
                    assert len(list(scan)) == 300
                    space.mapping()[b"0001"] = b""
            except lsmkv.ClosedError:
                pass
            except BaseException as error:
                failures.append(error)
            cycle.clear()

        threads = [threading.Thread(target=use) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            gc.collect()
            db.flush()
        db.close()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert not failures
        del db, space, use
        gc.collect()
