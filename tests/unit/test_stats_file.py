# SPDX-License-Identifier: Apache-2.0
"""Goal: what a process tells in its statistics file is what stats() says inside it, and
whatever else such a file holds is refused with the reason.

Method: a real database's file is read back; then it is cut, changed, forged with right
checksums, and half overwritten while it is read.
"""

import dataclasses
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lsmkv
from lsmkv import lock_file, stats_file
from lsmkv._base import xxh3_64
from lsmkv.stats_file import StatsFileError, Trouble

NAMESPACE = 'käse \\x41 "quoted"'


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a database that has been closed."""
    path = tmp_path_factory.mktemp("stats") / "db"
    with lsmkv.open(path) as db:
        fill(db)
    return (path / stats_file.NAME).read_bytes()


def fill(db: lsmkv.DB) -> None:
    """Give every kind of figure something to count."""
    db.put_many((b"%05d" % i, b"x" * 50) for i in range(2000))
    for i in range(300):
        db.put(b"%05d" % i, b"y", sync=i % 100 == 0)
        db.get(b"%05d" % i)
    space = db.namespace(NAMESPACE)
    space.put(b"a", b"b")
    assert space.get(b"a") == b"b"
    assert space.get(b"c") is None
    db.flush()
    db.compact()
    list(db.items())


def sealed(body: bytes) -> bytes:
    """The text with the right checksum."""
    return body + b"xxh3 %016x\n" % xxh3_64(body)


def body_of(text: bytes) -> bytes:
    """The text without its last line."""
    return text[: text.rindex(b"xxh3 ")]


def trouble_of(data: bytes) -> Trouble | None:
    """Why it is refused; None: it is not."""
    try:
        figures = stats_file.parse(data)
    except StatsFileError as error:
        return error.trouble if str(error).startswith(stats_file.NAME) else None
    assert figures.stats.prometheus()
    return None


def wait_for_figures(path: Path, stats: lsmkv.Stats) -> stats_file.Figures:
    """Read until the file says what the process itself says."""
    while True:
        try:
            found = stats_file.read(path)
        except StatsFileError as error:
            if error.trouble is not Trouble.MISSING:
                raise
        else:
            if found.stats == stats:
                return found
        time.sleep(0.005)


def test_the_file_says_what_stats_and_memory_say(path: Path) -> None:
    with lsmkv.open(path, stats_interval=0.01) as db:
        fill(db)
        db.settle()
        found = wait_for_figures(path, db.stats())
        assert found.memory == db.memory()
        assert found.stats.namespaces[NAMESPACE].hit_ratio == 0.5
        assert found.namespace_count == 2
        assert found.interval == 0.01
        assert found.pid == os.getpid()
        assert stats_file.is_alive(path, found)
        assert abs(found.time - time.time()) < 3600
        assert 0 < found.uptime < 3600
        assert found.stats.latencies["sync"].count > 0
    last = stats_file.read(path)
    assert last.stats.state == "closed"
    assert not stats_file.is_alive(path, last)
    assert last.stats.write_count == found.stats.write_count


def test_without_an_interval_there_is_no_file(path: Path) -> None:
    with lsmkv.open(path, stats_interval=0) as db:
        db[b"a"] = b"b"
        assert db.options.stats_interval == 0
    with pytest.raises(StatsFileError, match="stats_interval") as raised:
        stats_file.read(path)
    assert raised.value.trouble is Trouble.MISSING


def test_copies_do_not_have_the_file_and_destroy_removes_it(
    path: Path, tmp_path: Path
) -> None:
    with lsmkv.open(path) as db:
        db[b"a"] = b"b"
        db.checkpoint(tmp_path / "copy")
    assert (path / stats_file.NAME).exists()
    with lsmkv.open(path, mode="r") as db:
        assert db.verify().ok
    lsmkv.repair(path, tmp_path / "repaired")
    for name in ("copy", "repaired"):
        assert not (tmp_path / name / stats_file.NAME).exists()
    lsmkv.destroy(path)
    assert not path.exists()


@pytest.mark.parametrize("mode", ["r", "follower"])
def test_readers_leave_the_file_alone(
    path: Path, mode: Literal["r", "follower"]
) -> None:
    with lsmkv.open(path) as db:
        db[b"a"] = b"b"
    junk = b"what the engine never reads"
    (path / stats_file.NAME).write_bytes(junk)
    with lsmkv.open(path, mode=mode, stats_interval=0.001) as db:
        assert db[b"a"] == b"b"
    assert (path / stats_file.NAME).read_bytes() == junk
    with pytest.raises(StatsFileError, match="damaged"):
        stats_file.read(path)
    lsmkv.open(path).close()
    assert stats_file.read(path).stats.state == "closed"


def test_a_text_of_any_other_bytes_is_damaged(text: bytes) -> None:
    assert trouble_of(text) is None
    assert trouble_of(b"") is Trouble.DAMAGED
    assert trouble_of(text + b"\n") is Trouble.DAMAGED
    assert trouble_of(text * 2) is Trouble.DAMAGED
    assert trouble_of(b"x" * (stats_file.SIZE_MAX + 1)) is Trouble.DAMAGED
    for at in range(0, len(text), 7):
        changed = bytearray(text)
        changed[at] ^= 1 << at % 8
        assert trouble_of(bytes(changed)) is Trouble.DAMAGED
        assert trouble_of(text[:at]) is Trouble.DAMAGED


def test_a_forged_line_is_damage_wherever_it_is(text: bytes) -> None:
    lines = body_of(text).splitlines(keepends=True)
    for at, line in enumerate(lines):
        name = line.split(b" ")[0]
        if name == b"namespace" and b'""' not in line:
            continue  # one less is just as well
        for forged in ([], [line, line], [b" " + line], [line[:-1]], [name + b" -1\n"]):
            data = b"".join([*lines[:at], *forged, *lines[at + 1 :]])
            assert trouble_of(sealed(data)) is Trouble.DAMAGED, (name, forged)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (rb"state \d", b"state 5"),
        (rb"warming 0", b"warming 2"),
        (rb"sequence \d+", b"sequence 18446744073709551616"),
        (rb"sequence \d+", b"sequence 007"),
        (rb"sequence \d+", b"sequence \xd9\xa3"),
        (rb"(latency.get \d+ \d+ \d+).*", rb"\1 0:1"),
        (rb"latency.get .*", b"latency.get 2 2 2 5:1 4:1"),
        (rb"latency.get .*", b"latency.get 1 2 2 312:1"),
        (rb"latency.get .*", b"latency.get 0 2 2 3:0"),
        (rb"latency.get .*", b"latency.get 1 2"),
        (rb"latency.get .*", b"latency.get 1 2 3 4"),
        (rb"namespace_count 2", b"namespace_count 1"),
        (rb'namespace "" ', b'namespace "x" '),
        (rb'namespace "k[^"]*"', b'namespace ""'),
        (rb'namespace "k[^"]*"', rb'namespace "\\xff"'),
        (rb'namespace "k[^"]*"', rb'namespace "\\xFF"'),
        (rb'(namespace "k[^"]*") 1', rb"\1"),
    ],
)
def test_a_forged_figure_is_damage(text: bytes, old: bytes, new: bytes) -> None:
    forged, count = re.subn(old, new, body_of(text), count=1)
    assert count == 1
    assert trouble_of(sealed(forged)) is Trouble.DAMAGED


def test_another_version_is_told_from_damage(text: bytes) -> None:
    later = sealed(b"lsmkv-stats 2\nwhat nobody knows yet\n")
    assert trouble_of(later) is Trouble.VERSION
    assert trouble_of(later[1:]) is Trouble.DAMAGED


WORDS = st.sampled_from(
    [b"0", b"1", b"-1", b"", b" ", b"\n", b":", b'"', b"\\x", b"9" * 30, b"\xff", b"e"]
)


@given(st.data())
def test_forged_texts_are_read_or_refused(text: bytes, data: st.DataObject) -> None:
    body = bytearray(body_of(text))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(start, min(start + 30, len(body))))
        body[start:end] = data.draw(st.one_of(WORDS, st.binary(max_size=8)))
    assert trouble_of(sealed(bytes(body))) in (None, Trouble.DAMAGED, Trouble.VERSION)


def test_a_text_that_is_half_written_is_read_again(
    path: Path, text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.mkdir()
    file = path / stats_file.NAME
    longer = sealed(body_of(text).replace(b"sequence ", b"sequence 1"))
    file.write_bytes(longer[:2000] + text[2000:])
    monkeypatch.setattr(stats_file, "_pause", lambda: file.write_bytes(longer))
    assert stats_file.read(path) == stats_file.parse(longer)


def test_a_name_that_is_no_file_is_not_followed(path: Path, text: bytes) -> None:
    path.mkdir()
    (path / "elsewhere").write_bytes(text)
    (path / stats_file.NAME).symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        stats_file.read(path)


def altered(text: bytes, **figures: int) -> stats_file.Figures:
    """The figures of a process that has it open, some of the first lines changed."""
    body = re.sub(rb"state 3", b"state 0", body_of(text))
    for name, value in figures.items():
        line = b"%s %d" % (name.encode(), value)
        body = re.sub(rb"\b%s \d+" % name.encode(), line, body)
    return stats_file.parse(sealed(body))


def test_a_process_is_alive_while_it_holds_the_lock(path: Path) -> None:
    with lsmkv.open(path, stats_interval=0.01) as db:
        told = wait_for_figures(path, db.stats())
        assert stats_file.is_alive(path, told)
        for other in (
            dataclasses.replace(told, pid=told.pid + 1),
            dataclasses.replace(told, start=told.start + 1),
        ):
            assert not stats_file.is_alive(path, other)
    assert not stats_file.is_alive(path, told)
    assert not stats_file.is_alive(path, stats_file.read(path))
    (path / "LOCK").unlink()
    assert not stats_file.is_alive(path, told)


def test_where_locks_do_not_tell_the_process_is_looked_for(
    path: Path, text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alive(**figures: int) -> bool:
        found = altered(text, **figures)
        (path / "LOCK").write_text(f"pid={found.pid} start={found.start}\n")
        return stats_file.is_alive(path, found)

    path.mkdir()
    with subprocess.Popen(["true"]) as gone:
        pass
    now = round(time.time() * 1000)
    assert not alive(time_ms=0)  # nobody has locked the file
    monkeypatch.delattr("fcntl.F_OFD_GETLK")
    assert alive(time_ms=0)  # this process, however long it says nothing
    assert not alive(time_ms=0, start=1)  # another one of that number
    assert not alive(time_ms=0, pid=gone.pid)
    assert not alive(time_ms=0, pid=2**40)
    assert not alive(time_ms=0, pid=0)
    # One that is not seen from here, but tells.
    assert alive(time_ms=now, interval_ms=3600_000, pid=gone.pid)
    assert alive(time_ms=0, pid=1, start=0)  # somebody else's


def test_a_system_that_refuses_to_tell_is_no_error(tmp_path: Path) -> None:
    closed = os.open(tmp_path, os.O_RDONLY)
    os.close(closed)
    assert lock_file._is_locked(closed) is None
