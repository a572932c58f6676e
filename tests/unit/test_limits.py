# SPDX-License-Identifier: Apache-2.0
"""Goal: what the system runs out of stops nothing that could go on.

Method: processes of their own with few descriptors, small files, odd masks and no
standard streams; symbolic links planted where files will be made.
"""

import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import lsmkv

PRELUDE = """
import errno, os, resource, signal, sys
import lsmkv

def descriptors():
    return len(os.listdir("/proc/self/fd")) - 1

def allow(more):
    # Lets the process open that many more files than it has open now.
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + more, limits[1]))

def use_up():
    taken = []
    while True:
        try:
            taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            assert error.errno == errno.EMFILE
            return taken

SMALL = dict(memory_bytes=4 << 20, memtable_bytes=16 << 10, table_bytes=4 << 10,
             block_cache_bytes=0, compression="none")
path = sys.argv[1]
"""


def run(script: str, path: Path) -> str:
    """Run Python code in another process; returns what it printed, fails loudly."""
    program = PRELUDE + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


FILL = """
    keys = [b"%06d" % i for i in range(6000)]
    pairs = [*zip(keys, keys[1:])][::7]
    with lsmkv.open(path, **SMALL) as db:
        for key in keys:
            db.put(key, key * 16)
        db.compact()
        tables = sum(level.table_count for level in db.stats().levels)
    assert tables > 40
"""


@pytest.mark.parametrize("mode", ["rw", "r"])
@pytest.mark.parametrize(
    "read",
    [
        "assert all(db.get(key) == key * 16 for key in keys)",
        # All tables of one call are open together.
        "for i in range(0, 6000, 500): assert None not in db.get_many(keys[i:i + 500])",
        "assert list(db) == keys",
        "assert all(next(db.keys(start=key)) == key for key in keys[::7])",
        "assert all(next(db.keys(stop=b, reverse=True)) == a for a, b in pairs)",
        "assert list(db.items(reverse=True)) == [(k, k * 16) for k in reversed(keys)]",
        "report = db.verify(); assert report.ok, report",
    ],
)
def test_reads_go_on_with_a_few_descriptors(path: Path, mode: str, read: str) -> None:
    script = f"""
    {FILL}
    allow(20)
    with lsmkv.open(path, mode="{mode}", max_open_files=500, **SMALL) as db:
        for _ in range(2):
            {read}
        print(db.stats().state)
    """
    expected = "open\n" if mode == "rw" else "read-only\n"
    assert run(script, path) == expected


def test_writes_roll_logs_and_flush_without_a_descriptor_to_spare(path: Path) -> None:
    script = f"""
    {FILL}
    with lsmkv.open(path, max_open_files=64, **SMALL) as db:
        db.put(b"a", b"1")
        db.flush()
        for key in keys[::100]:
            db.get(key)
        allow(40)
        taken = use_up()
        before = db.stats().flush_count
        for round in range(20):
            for key in keys[:100]:
                db.put(key, b"new" * 50)
        db.flush()
        assert db.stats().flush_count > before + 10
        assert db.stats().state == "open"
        for descriptor in taken:
            os.close(descriptor)
        assert db.verify().ok
    with lsmkv.open(path, **SMALL) as db:
        assert db.get(keys[3]) == b"new" * 50
        assert db.get(keys[200]) == keys[200] * 16
        print("done")
    """
    assert run(script, path) == "done\n"


def test_an_open_without_descriptors_is_an_error_and_no_damage(path: Path) -> None:
    script = """
    with lsmkv.open(path) as db:
        db.put(b"a", b"1")
    allow(12)
    taken = use_up()
    failures = 0
    while True:
        try:
            db = lsmkv.open(path)
        except lsmkv.StorageError as error:
            assert error.errno == errno.EMFILE, error
            failures += 1
            os.close(taken.pop())
        else:
            break
    assert failures > 3
    assert db.get(b"a") == b"1"
    db.put(b"b", b"2")
    db.close()
    print("done")
    """
    assert run(script, path) == "done\n"


def test_a_full_disk_degrades_and_resume_ends_it(path: Path) -> None:
    # A log that may not grow is a disk that is full.
    script = """
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with lsmkv.open(path) as db:
        db.put(b"a", b"1")
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        try:
            while True:
                db.put(b"b", b"2" * 100)
        except lsmkv.DiskFullError as error:
            assert error.errno == errno.EFBIG
        assert db.stats().state == "degraded"
        assert db.get(b"a") == b"1"
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
        for write in (db.resume, db.resume, lambda: db.put(b"c", b"3")):
            try:
                write()
            except lsmkv.DiskFullError:
                assert db.stats().state == "degraded"
            else:
                raise AssertionError("there is no space")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        db.resume()
        assert db.stats().state == "open"
        db.resume()
        db.put(b"c", b"3", sync=True)
        assert db.verify().ok
    with lsmkv.open(path) as db:
        assert db.get(b"a") == b"1"
        assert db.get(b"b") == b"2" * 100
        assert db.get(b"c") == b"3"
        print("done")
    """
    assert run(script, path) == "done\n"


def test_resume_repeats_a_flush_that_found_the_disk_full(path: Path) -> None:
    script = """
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with lsmkv.open(path) as db:
        for i in range(1000):
            db.put(b"%d" % i, os.urandom(20))
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        for stuck in (db.flush, db.resume):
            try:
                stuck()
            except lsmkv.DiskFullError:
                assert db.stats().state == "degraded"
            else:
                raise AssertionError("there is no space")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        db.resume()
        assert db.stats().state == "open"
        db.flush()
        assert db.stats().levels[0].table_count == 1
        print("done")
    """
    assert run(script, path) == "done\n"


def test_every_file_is_private_under_any_mask(path: Path) -> None:
    script = """
    for mask in (0, 0o022, 0o777):
        os.umask(mask)
        with lsmkv.open(path) as db:
            db.put(b"a", b"1", sync=True)
            db.flush()
            db.put(b"b", b"2")
            logs = [name for name in os.listdir(path) if name.endswith(".log")]
            if mask == 0o777:
                os.link(f"{path}/{max(logs)}", f"{path}/x")  # the active one
    print("done")
    """
    assert run(script, path) == "done\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    kinds = {entry.name.split("-")[0].split(".")[-1] for entry in path.iterdir()}
    named = {"LOCK", "CURRENT", "MANIFEST", "HOTLIST", "STATS"}
    assert kinds == {*named, "tbl", "x"}  # x: a log
    for entry in path.iterdir():
        assert stat.S_IMODE(entry.stat().st_mode) == 0o600, entry


@pytest.mark.parametrize(
    "name", ["LOCK", "CURRENT.tmp", "000003.log", "CURRENT", "HOTLIST"]
)
def test_a_planted_link_is_not_followed(path: Path, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    victim.chmod(0o644)
    path.mkdir()
    (path / name).symlink_to(victim)
    try:
        with lsmkv.open(path) as db:
            db.put(b"a", b"1")
    except lsmkv.Error:
        pass
    assert victim.read_bytes() == b"precious"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o644


def test_standard_streams_that_are_closed_get_no_database(path: Path) -> None:
    script = """
    for stream in (0, 1, 2):
        os.close(stream)
    db = lsmkv.open(path)
    db.put(b"a", b"1", sync=True)
    db.flush()
    view = lsmkv.open(path, mode="r")
    assert view.get(b"a") == b"1"
    opened = {int(name) for name in os.listdir("/proc/self/fd")}
    for low in (0, 1, 2):
        try:
            kind = os.readlink(f"/proc/self/fd/{low}")
        except FileNotFoundError:
            continue
        assert path not in kind, kind
    view.close()
    db.close()
    """
    assert run(script, path) == ""
    with lsmkv.open(path) as db:
        assert db.get(b"a") == b"1"


def test_files_of_large_values_stay_within_the_descriptors(tmp_path: Path) -> None:
    script = """
    import threading
    resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))
    how = SMALL | dict(mapping=False, max_open_files=16, table_bytes=1 << 20,
                       log_bytes=64 << 10, blob_threshold_bytes=1000)
    rows = {b"%04d" % i: b"%04d" % i * 500 for i in range(2000)}
    with lsmkv.open(path, **how) as db:
        for key, value in rows.items():
            db.put(key, value)
    with lsmkv.open(path, **how) as db:
        assert db.stats().segment_count > 40
        assert dict(db.items()) == rows
        assert descriptors() < 50  # 16, the log, LOCK and what Python has open
        some = list(rows)[::100]
        assert db.get_many(some) == [rows[key] for key in some]
        view = db.get_view(b"0000")
        taken = use_up()
        for key, value in rows.items():  # what is open makes room for the rest
            assert db.get(key) == value
            assert bytes(db.get_view(key)) == value
        assert bytes(view) == rows[b"0000"]
        for each in taken:
            os.close(each)
        failures = []
        def read():
            try:
                for key, value in rows.items():
                    assert db.get(key) == value
            except BaseException as error:
                failures.append(error)
        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert db.verify().ok
        db.compact()
        assert dict(db.items()) == rows
    """

    run(script, tmp_path)
