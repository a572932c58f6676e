# SPDX-License-Identifier: Apache-2.0
"""`lsmkv top`: what a running process does with its database, as it does it.

The process writes its figures to the file STATS, by default every second; what is
shown is the difference between two readings of it. The database is not disturbed. It is
opened, for reading, only where no process tells anything: to show what is on disk.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

import lsmkv
from lsmkv import stats_file
from lsmkv.cli import render, text
from lsmkv.cli.command import DIRECTORY, Command, CommandError, Stream
from lsmkv.stats_file import Figures, StatsFileError, Trouble

if TYPE_CHECKING:
    from types import FrameType

    from rich.console import Console, RenderableType

    from lsmkv.cli.command import Progress
    from lsmkv.metrics import Histogram
    from lsmkv.stats import LevelStats, NamespaceStats, Stats

SORTS = ("lookups", "hit_ratio", "read_bytes", "bytes", "name")
ROWS_MAX = 20  # of namespaces, on a screen
_LATE = 3  # so many intervals without a word are mentioned
_STALLED = 0.01  # so large a share of the time is
_KEY_SLICE = 0.1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long something took within the interval, in seconds.

    Attributes:
        per_second: How often it happened.
        p50: The median.
        p99: What 99 of 100 did not exceed.
        p999: What 999 of 1000 did not exceed.
    """

    per_second: float
    p50: float
    p99: float
    p999: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What was asked of one namespace within the interval; rates are per second.

    Attributes:
        name: Of the namespace; "" is the database itself.
        lookups: Values asked for.
        hit_ratio: The share of them that was found; None if there were none.
        read_bytes: Of the values found.
        expired: Misses that met a value whose time was over.
        evictions: Values that a full cache gave up.
        bytes: Its size in tables.
    """

    name: str
    lookups: float
    hit_ratio: float | None
    read_bytes: float
    expired: float
    evictions: float
    bytes: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One state of the screen.

    Attributes:
        path: The database's directory.
        alive: Whether a process has it open and tells its figures.
        note: Why there are none.
        pid: Which process.
        state: Of the database in that process; "closed" if there is none.
        uptime: How long it has it open, in seconds.
        age: How old the figures are.
        seconds: The interval that rates are of; the whole uptime at first.
        problems: What is wrong.
        rates: What happened, per second; `stalled` is the share of the time.
        latencies: By name, as in `stats()`.
        gauges: How much there is of what, at this moment.
        write_amplification: Bytes written for each byte of the user, in the interval.
        space_amplification: As in `stats()`.
        levels: Of the tree.
        namespace_count: Namespaces there are.
        namespaces: Those with the most lookups since the opening, at most 256.
    """

    path: str
    alive: bool
    note: str = ""
    pid: int | None = None
    state: str = "closed"
    uptime: float = 0.0
    age: float = 0.0
    seconds: float = 0.0
    problems: tuple[str, ...] = ()
    rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    latencies: Mapping[str, Latency] = dataclasses.field(default_factory=dict)
    gauges: Mapping[str, int]
    write_amplification: float = 0.0
    space_amplification: float
    levels: Sequence[LevelStats]
    namespace_count: int = 0
    namespaces: Sequence[Traffic] = ()


_RATES = (
    *("user_bytes_written", "log_bytes_written", "flush_bytes_written"),
    *("compact_bytes_read", "compact_bytes_written", "segment_bytes_written"),
    *("flush_count", "compact_count", "sync_count", "write_count", "sequence"),
    *("stall_count", "cache_misses", "expired_count"),
)
_SPACE_RATES = ("hits", "misses", "read_bytes")
_WRITTEN = ("log", "flush", "compact", "segment")
_GAUGES = (
    *("memtable_bytes", "memtable_count", "cache_bytes", "cache_capacity"),
    *("table_bytes", "open_tables", "log_bytes", "segment_count", "segment_bytes"),
    *("segment_live_bytes", "snapshot_count"),
)


def _gauges(stats: Stats) -> dict[str, int]:
    return {name: getattr(stats, name) for name in _GAUGES}


def _since(now: Figures, before: Figures | None) -> float:
    """The interval between two readings; all the time, if they are not of one opening.

    That is so for the first one, too.
    """
    same = (
        before is not None
        and (before.pid, before.start) == (now.pid, now.start)
        and before.uptime < now.uptime
        and before.stats.sequence <= now.stats.sequence
    )
    return now.uptime - before.uptime if before is not None and same else now.uptime


def compare(path: str, now: Figures, before: Figures | None) -> Moment:
    """Return what happened between two readings; since the opening without a first."""
    seconds = _since(now, before)
    if before is not None and seconds == now.uptime:
        before = None
    per = 1 / seconds if seconds > 0 else 0.0
    stats, old = now.stats, before.stats if before else None
    rates = {
        name: (getattr(stats, name) - (getattr(old, name) if old else 0)) * per
        for name in _RATES
    }
    for name in _SPACE_RATES:
        held = sum(getattr(space, name) for space in stats.namespaces.values())
        had = sum(getattr(each, name) for each in old.namespaces.values()) if old else 0
        rates[name] = max(held - had, 0) * per
    rates["stalled"] = (stats.stall_us - (old.stall_us if old else 0)) * 1e-6 * per
    user = rates["user_bytes_written"]
    written = sum(rates[f"{name}_bytes_written"] for name in _WRITTEN)
    return Moment(
        path=path,
        alive=True,
        pid=now.pid,
        state=stats.state,
        uptime=now.uptime,
        age=now.age,
        seconds=seconds,
        problems=tuple(_problems(now, rates)),
        rates=rates,
        latencies={
            name: _latency(found - old.latencies[name] if old else found, per)
            for name, found in stats.latencies.items()
        },
        gauges=_gauges(stats),
        write_amplification=written / user if user else 0.0,
        space_amplification=stats.space_amplification,
        levels=stats.levels,
        namespace_count=now.namespace_count,
        namespaces=[
            _traffic(name, space, old.namespaces.get(name) if old else None, per)
            for name, space in stats.namespaces.items()
        ],
    )


def _latency(found: Histogram, per: float) -> Latency:
    return Latency(
        per_second=found.count * per, p50=found.p50, p99=found.p99, p999=found.p999
    )


def _traffic(
    name: str, now: NamespaceStats, before: NamespaceStats | None, per: float
) -> Traffic:
    def grown(field: str) -> int:
        had = getattr(before, field) if before else 0
        return max(int(getattr(now, field)) - had, 0)

    lookups = grown("hits") + grown("misses")
    return Traffic(
        name=name,
        lookups=lookups * per,
        hit_ratio=grown("hits") / lookups if lookups else None,
        read_bytes=grown("read_bytes") * per,
        expired=grown("expired") * per,
        evictions=grown("evictions") * per,
        bytes=now.bytes,
    )


def _problems(now: Figures, rates: Mapping[str, float]) -> Iterator[str]:
    if now.stats.state == "degraded":
        yield "degraded: the disk is full; writing goes on once there is space"
    if now.stats.state == "poisoned":
        yield "poisoned: a device error has ended writing; close and open it again"
    if rates["stalled"] >= _STALLED:
        yield (
            f"stalls: writes are held up {rates['stalled']:.0%} of the time, because "
            "flushes and compactions do not keep up"
        )


def _on_disk(path: Path, note: str) -> Moment:
    """What is there for anybody to see."""
    with lsmkv.open(path, mode="r", create=False) as db:
        stats = db.stats()
    return Moment(
        path=str(path),
        alive=False,
        note=note,
        gauges=_gauges(stats),
        space_amplification=stats.space_amplification,
        levels=stats.levels,
    )


class Watch:
    """The moments, one for each interval, until there were enough or Ctrl-C comes.

    Attributes:
        once: Whether it is only one.
        wait: Waits between two, for so many seconds at most; false: no more.
    """

    def __init__(self, path: Path, interval: float, count: int | None) -> None:
        """Begin with the first at once."""
        self.once = count == 1
        self.wait: Callable[[float], bool] = self._pause
        self._path, self._interval, self._left = path, interval, count
        self._stopped = threading.Event()
        self._before: Figures | None = None
        self._shown: Figures | None = None
        self._begun = False

    def stopped(self) -> bool:
        """Whether Ctrl-C has come."""
        return self._stopped.is_set()

    def __iter__(self) -> Iterator[Moment]:
        """Give the moments; Ctrl-C meanwhile is no error but the end."""
        with self._interrupts():
            while self._left is None or self._left > 0:
                if self._left is not None:
                    self._left -= 1
                yield self._look()
                if self._left == 0 or not self.wait(self._interval):
                    return

    def _pause(self, seconds: float) -> bool:
        return not self._stopped.wait(seconds)

    @contextmanager
    def _interrupts(self) -> Iterator[None]:
        def stop(number: int, frame: FrameType | None) -> None:
            del number, frame
            self._stopped.set()

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _look(self) -> Moment:
        try:
            now = stats_file.read(self._path)
        except StatsFileError as error:
            if error.trouble is not Trouble.MISSING:
                raise CommandError(f"{error}") from error
            return _on_disk(self._path, "no process tells its figures")
        if not stats_file.is_alive(self._path, now):
            self._before = self._shown = None
            gone = now.stats.state != "closed"
            died = f"process {now.pid}, the last, has died"
            closed = "no process has it open for writing"
            return _on_disk(self._path, died if gone else closed)
        if self._shown is None or now.time != self._shown.time:
            self._before, self._shown = self._shown, now
        elif now.age > _LATE * now.interval:
            # It has nothing new to tell: nothing has happened since.
            later = dataclasses.replace(now, uptime=now.uptime + now.age)
            return compare(str(self._path), later, now)
        return compare(str(self._path), self._shown, self._before)


def _draw_head(moment: Moment) -> RenderableType:
    colour = "bold" if moment.state == "open" else "bold red"
    if not moment.alive:
        return Text.assemble((moment.path, "bold"), ": ", (moment.note, "yellow"))
    parts = [
        f"process {moment.pid}",
        f"open for {render.span(moment.uptime)}",
        f"figures {render.span(moment.age)} old",
        f"rates of {render.span(moment.seconds)}",
    ]
    return Text.assemble(
        (moment.path, "bold"), ": ", (moment.state, colour), ", ", ", ".join(parts)
    )


def _draw_work(moment: Moment) -> RenderableType:
    """Draw what is done, how often, and how long it takes."""
    rates = moment.rates
    moved = rates["compact_bytes_read"] + rates["compact_bytes_written"]
    amounts = {
        "write": rates["user_bytes_written"],
        "flush": rates["flush_bytes_written"],
        "compaction": moved,
    }
    rows = [
        (
            name,
            render.number(_exact(name, moment)),
            render.size(amounts[name]) if name in amounts else "",
            *(
                render.duration(each) if each else "-"
                for each in (found.p50, found.p99, found.p999)
            ),
        )
        for name, found in moment.latencies.items()
    ]
    lookups = rates["hits"] + rates["misses"]
    rows.insert(
        0, ("lookups", render.number(lookups), render.size(rates["read_bytes"]))
    )
    columns = ("", "per second", "bytes/s", "p50", "p99", "p99.9")
    return render.board("", columns, rows)


def _exact(name: str, moment: Moment) -> float:
    """How often it happened, from what is counted each time, where there is that."""
    counted = {"write": "write_count", "sync": "sync_count"}.get(name)
    return moment.rates[counted] if counted else moment.latencies[name].per_second


def _draw_state(moment: Moment) -> RenderableType:
    """Draw what is in memory and on the disk."""
    gauges, rows = moment.gauges, []
    if moment.alive:
        used, capacity = gauges["cache_bytes"], gauges["cache_capacity"]
        misses = render.number(moment.rates["cache_misses"])
        stalled = moment.rates["stalled"]
        rows = [
            (
                "cache",
                f"{render.size(used)} of {render.size(capacity)}, "
                f"{misses} blocks a second from files",
            ),
            (
                "memory",
                f"{render.size(gauges['memtable_bytes'])} of memtables "
                f"({gauges['memtable_count']}), {render.size(gauges['table_bytes'])} "
                f"of open tables ({gauges['open_tables']})",
            ),
            ("stalls", f"{stalled:.1%} of the time"),
            ("written", f"{moment.write_amplification:.1f} times what the user wrote"),
        ]
    rows += [
        ("log", f"{render.size(gauges['log_bytes'])} in use"),
        (
            "large values",
            f"{render.size(gauges['segment_bytes'])} in {gauges['segment_count']} "
            f"files, {render.size(gauges['segment_live_bytes'])} of it live",
        ),
        ("space", f"{moment.space_amplification:.1f} times what is held"),
    ]
    return render.facts(rows)


def _draw_spaces(moment: Moment, sort: str, rows_max: int) -> RenderableType:
    """Draw the namespaces, those with the most of what is sorted by first."""
    found = sorted(moment.namespaces, key=lambda each: each.name)
    if sort != "name":
        found.sort(key=lambda each: getattr(each, sort) or 0, reverse=True)
    rows = [
        (
            escape(text.show(each.name.encode())) if each.name else "(the database)",
            render.number(each.lookups),
            "-" if each.hit_ratio is None else f"{each.hit_ratio:.1%}",
            render.size(each.read_bytes),
            render.number(each.expired),
            render.number(each.evictions),
            render.size(each.bytes),
        )
        for each in found[:rows_max]
    ]
    more = moment.namespace_count - len(rows)
    title = f"by {sort.replace('_', ' ')}" + (f", {more} more" if more else "")
    columns = ("", "lookups/s", "hits", "read/s", "expired/s", "evicted/s", "size")
    return render.board(title, columns, rows)


def draw(moment: Moment, sort: str = SORTS[0]) -> RenderableType:
    """Draw the screen."""
    parts: list[RenderableType] = [_draw_head(moment)]
    parts += [Text(problem, style="red") for problem in moment.problems]
    if moment.alive:
        parts.append(_draw_work(moment))
    parts += [Text(""), _draw_state(moment), render.levels(moment.levels)]
    if moment.alive:
        parts += [Text(""), _draw_spaces(moment, sort, ROWS_MAX)]
    return Group(*parts)


class _Keyboard:
    """The keys that are typed while one looks: `q` ends it, `s` sorts by the next."""

    def __init__(self, watch: Watch, again: Callable[[], None]) -> None:
        self.sort = SORTS[0]
        self._watch, self._again = watch, again

    def wait(self, seconds: float) -> bool:
        """Wait, and do what keys ask for; false: to end it."""
        until = time.monotonic() + seconds
        while not self._watch.stopped():
            left = until - time.monotonic()
            if left <= 0:
                return True
            slice_ = min(left, _KEY_SLICE)
            if select.select([sys.stdin], [], [], slice_)[0] and not self._press():
                return False
        return False

    def _press(self) -> bool:
        key = os.read(sys.stdin.fileno(), 1)
        if key == b"s":
            place = SORTS.index(self.sort) + 1
            self.sort = SORTS[place % len(SORTS)]
            self._again()
        return key not in (b"q", b"Q", b"")


@contextmanager
def _typing() -> Iterator[None]:
    """Have keys arrive at once and unseen."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def show(stream: Stream, console: Console) -> None:
    """Draw one moment over the other, full screen; below it where there is none."""
    watch: Any = stream.items
    if watch.once or not console.is_terminal:
        for moment in watch:
            console.print(draw(moment))
        return
    _show_live(watch, console)


def _show_live(watch: Watch, console: Console) -> None:
    last: list[Moment] = []
    live = Live(console=console, screen=True, auto_refresh=False)

    def again() -> None:
        help_ = Text("\nq ends, s sorts by something else", style="dim")
        live.update(Group(draw(last[0], keyboard.sort), help_), refresh=True)

    keyboard = _Keyboard(watch, again)
    typing: Any = contextlib.nullcontext()
    if sys.stdin.isatty():
        typing, watch.wait = _typing(), keyboard.wait
    with live, typing:
        for moment in watch:
            last[:] = [moment]
            again()


def run(
    progress: Progress,
    *,
    database: Path,
    interval: float,
    count: int | None,
    once: bool,
) -> Stream:
    """Watch the database."""
    del progress
    if once and count is not None:
        raise click.UsageError("--once is --count 1: give one of them")
    watch: Any = Watch(database, interval, 1 if once else count)
    return Stream(watch)


COMMANDS: tuple[Command, ...] = (
    Command(
        name="top",
        help=(
            "Show what a running process does with its database: rates, times, memory, "
            "stalls and namespaces, as they change. `q` or Ctrl-C ends it, `s` sorts "
            "the namespaces by something else."
        ),
        parameters=(
            DIRECTORY,
            click.Option(
                ["--interval"],
                type=click.FloatRange(min=0.01, max=3600),
                default=1.0,
                show_default=True,
                metavar="SECONDS",
                help="How long each screen stays, and rates are taken over.",
            ),
            click.Option(
                ["--count"],
                type=click.IntRange(min=1),
                help="End after so many screens.",
            ),
            click.Option(
                ["--once"],
                is_flag=True,
                help="Print one and end; its rates are those since the opening.",
            ),
        ),
        run=run,
        show=show,
        examples=(
            ("top DIR", "what happens, second by second"),
            ("top DIR --once --json", "all of it, for a program"),
        ),
    ),
)
