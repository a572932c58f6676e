# SPDX-License-Identifier: Apache-2.0
"""Goal: `lsmkv top` shows what a process does with its database, and says so where none
does anything.

Method: the command line in this process, beside databases that are open in it or in a
child; figures that were made up, for what two readings make; a terminal, for keys.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import lsmkv
from harness.terminal import ROOT, Terminal, environment
from lsmkv import stats_file
from lsmkv.cli import top
from lsmkv.cli.__main__ import main
from lsmkv.cli.status import Status
from lsmkv.stats_file import Figures, StatsFileError

CHILD = """
import sys
import lsmkv
with lsmkv.open(sys.argv[1], stats_interval=0.02) as db:
    db.put_many((b"%d" % i, b"x") for i in range(100))
    print(flush=True)
    sys.stdin.read()
"""


def lsmkv_(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert not result.exception or isinstance(result.exception, SystemExit), result
    return result


def moments(*arguments: object) -> list[dict[str, Any]]:
    result = lsmkv_("top", *arguments, "--json")
    assert result.exit_code == Status.OK, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def wait_until_told(path: Path, stats: lsmkv.Stats | None = None) -> Figures:
    """Wait until the statistics file says this, or anything."""
    while True:
        try:
            found = stats_file.read(path)
            if stats in (None, found.stats):
                return found
        except StatsFileError:
            pass
        time.sleep(0.005)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A database that is open in this process, with some traffic behind it."""
    path = tmp_path_factory.mktemp("top") / "db"
    with lsmkv.open(path, stats_interval=0.01) as db:
        users = db.namespace("users")
        for i in range(500):
            users.put(b"%d" % i, b"x" * 100)
            assert users.get(b"%d" % i)
        db.flush()
        db.get(b"missing")
        db.settle()
        wait_until_told(path, db.stats())
        yield path


@pytest.fixture(scope="module")
def figures(watched: Path) -> Figures:
    return stats_file.read(watched)


def drawn(moment: top.Moment, **options: Any) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(top.draw(moment, **options))
    return console.export_text()


def later(
    figures: Figures, seconds: float, stats: lsmkv.Stats | None = None
) -> Figures:
    return dataclasses.replace(
        figures,
        time=figures.time + seconds,
        uptime=figures.uptime + seconds,
        stats=stats or figures.stats,
    )


def test_once_shows_what_has_been_done_since_the_opening(watched: Path) -> None:
    result = lsmkv_("top", watched, "--once")
    assert result.exit_code == Status.OK
    assert f"open, process {os.getpid()}" in " ".join(result.output.split())
    for word in ("lookups", "compaction", "cache", "level 0", "users", "100.0%"):
        assert word in result.output


def test_json_is_one_object_for_each_interval(watched: Path) -> None:
    first, second = moments(watched, "--count", 2, "--interval", 0.02)
    assert first["alive"]
    assert first["pid"] == os.getpid()
    assert first["path"] == str(watched)
    assert first["namespace_count"] == 2
    assert first["namespaces"][1]["name"] == "users"
    assert first["namespaces"][1]["hit_ratio"] == 1.0
    assert first["seconds"] == pytest.approx(first["uptime"])
    assert first["rates"]["hits"] == pytest.approx(500 / first["uptime"])
    assert first["levels"][0]["entry_count"] > 0
    assert set(first["latencies"]["get"]) == {"per_second", "p50", "p99", "p999"}
    assert second["age"] >= first["age"]


def test_rates_are_those_between_two_readings(figures: Figures) -> None:
    users = figures.stats.namespaces["users"]
    busy = dataclasses.replace(
        figures.stats,
        write_count=figures.stats.write_count + 30,
        user_bytes_written=figures.stats.user_bytes_written + 1000,
        log_bytes_written=figures.stats.log_bytes_written + 2000,
        flush_bytes_written=figures.stats.flush_bytes_written + 1000,
        stall_us=figures.stats.stall_us + 500_000,
        namespaces={
            **figures.stats.namespaces,
            "users": dataclasses.replace(users, hits=users.hits + 30, misses=10),
            "new": dataclasses.replace(users, hits=4, misses=0),
        },
        latencies={
            name: dataclasses.replace(
                each,
                count=each.count + 100,
                counts=(*each.counts[:99], each.counts[99] + 100, *each.counts[100:]),
            )
            for name, each in figures.stats.latencies.items()
        },
    )
    moment = top.compare("db", later(figures, 2, busy), figures)
    assert moment.seconds == pytest.approx(2)
    assert moment.rates["write_count"] == pytest.approx(15)
    assert moment.rates["stalled"] == pytest.approx(0.25)
    assert moment.write_amplification == pytest.approx(3)
    assert moment.rates["hits"] == pytest.approx(17)
    found = {each.name: each for each in moment.namespaces}
    assert found["users"].lookups == pytest.approx(20)
    assert found["users"].hit_ratio == 0.75
    assert found["new"].lookups == pytest.approx(2)
    assert found[""].hit_ratio is None
    get = moment.latencies["get"]
    assert get.per_second == pytest.approx(50)
    assert get.p50 == get.p999 <= figures.stats.latencies["get"].max
    assert [each[:7] for each in moment.problems] == ["stalls:"]
    text = drawn(moment)
    assert "stalls: writes are held up 25% of the time" in text
    assert "3.0 times what the user wrote" in text


def test_another_opening_begins_anew(figures: Figures) -> None:
    since = figures.uptime
    for other in (
        dataclasses.replace(figures, pid=figures.pid + 1),
        dataclasses.replace(figures, start=figures.start + 1),
        later(figures, 5),
    ):
        moment = top.compare("db", figures, other)
        assert moment.seconds == since
        assert moment.rates["hits"] == pytest.approx(500 / since)


def test_who_has_nothing_new_to_tell_does_nothing(
    watched: Path, figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = dataclasses.replace(figures, time=time.time() - 1000)
    monkeypatch.setattr(stats_file, "read", lambda path: told)
    first, second = top.Watch(watched, 0.001, 2)
    assert first.alive
    assert second.alive
    assert second.age >= first.age > 999
    assert not any(second.rates.values())
    assert second.seconds == pytest.approx(second.age, abs=5)
    assert "16 min" in drawn(second)


@pytest.mark.parametrize("state", ["degraded", "poisoned"])
def test_a_state_that_is_not_well_is_a_problem(
    figures: Figures, state: lsmkv.stats.State
) -> None:
    ill = dataclasses.replace(figures.stats, state=state)
    moment = top.compare("db", dataclasses.replace(figures, stats=ill), None)
    assert moment.problems[0].startswith(f"{state}: ")
    assert moment.problems[0] in " ".join(drawn(moment).split())


@pytest.mark.parametrize("sort", top.SORTS)
def test_namespaces_are_sorted_by_what_is_asked_for(
    figures: Figures, sort: str
) -> None:
    none = figures.stats.namespaces[""]
    small = dataclasses.replace(none, hits=0, misses=0, read_bytes=0, bytes=0)
    large = dataclasses.replace(small, hits=9, read_bytes=10**9, bytes=10**9)
    stats = dataclasses.replace(
        figures.stats, namespaces={"": small, "zero": small, "big [/one": large}
    )
    moment = top.compare("db", dataclasses.replace(figures, stats=stats), None)
    lines = drawn(moment, sort=sort).splitlines()
    places = [
        next(at for at, line in enumerate(lines) if line.startswith(name))
        for name in ('"big [/one"', "(the database)", "zero")
    ]
    assert places.index(min(places)) == (1 if sort == "name" else 0)


def test_more_namespaces_than_fit_are_counted(figures: Figures) -> None:
    each = figures.stats.namespaces["users"]
    names = {"": each} | {f"n{i}": each for i in range(99)}
    stats = dataclasses.replace(figures.stats, namespaces=names)
    many = dataclasses.replace(figures, stats=stats, namespace_count=5000)
    text = drawn(top.compare("db", many, None))
    assert f"{5000 - top.ROWS_MAX} more" in text


def test_a_database_that_nobody_writes_to_is_shown_as_it_is_on_disk(
    path: Path,
) -> None:
    with lsmkv.open(path) as db:
        db.put_many((b"%d" % i, b"x") for i in range(100))
    (moment,) = moments(path, "--once")
    assert not moment["alive"]
    assert moment["note"] == "no process has it open for writing"
    assert sum(level["entry_count"] for level in moment["levels"]) >= 100
    (path / stats_file.NAME).unlink()
    result = lsmkv_("top", path, "--count", 2, "--interval", 0.01)
    assert result.exit_code == Status.OK
    said = " ".join(result.output.split())
    assert said.count("no process tells its figures") == 2


def test_what_cannot_be_watched_is_explained(path: Path, tmp_path: Path) -> None:
    result = lsmkv_("top", tmp_path / "none", "--once")
    assert result.exit_code == Status.UNUSABLE
    lsmkv.open(path).close()
    (path / stats_file.NAME).write_bytes(b"not what it was")
    result = lsmkv_("top", path, "--once")
    assert result.exit_code == Status.NO
    assert "is damaged" in result.stderr
    assert lsmkv_("top", path, "--once", "--count", 2).exit_code == Status.USAGE


def test_a_process_that_died_is_told_from_one_that_lives(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        wait_until_told(path)
        (moment,) = moments(path, "--once")
        assert moment["pid"] == child.pid
        child.kill()
    (moment,) = moments(path, "--once")
    assert moment["note"] == f"process {child.pid}, the last, has died"


def test_an_interrupt_is_the_end_and_no_error(watched: Path) -> None:
    found = []
    for moment in top.Watch(watched, 3600, None):
        found.append(moment)
        os.kill(os.getpid(), signal.SIGINT)
    assert len(found) == 1


def test_a_thread_that_cannot_catch_interrupts_watches_too(watched: Path) -> None:
    found: list[top.Moment] = []
    watch = top.Watch(watched, 0.001, 2)
    thread = threading.Thread(target=lambda: found.extend(watch))
    thread.start()
    thread.join()
    assert len(found) == 2


def test_keys_sort_and_end_it(watched: Path, tmp_path: Path) -> None:
    terminal = Terminal(
        ["lsmkv", "top", str(watched), "--interval", "3600"],
        env=environment(tmp_path),
        cwd=tmp_path,
    )
    try:
        terminal.wait_for(lambda lines: "by lookups" in lines, "the first screen")
        terminal.type("s")
        terminal.wait_for(lambda lines: "by hit ratio" in lines, "sorted otherwise")
        terminal.type("q")
        assert terminal.wait_for_end() == Status.OK
    finally:
        terminal.close()
