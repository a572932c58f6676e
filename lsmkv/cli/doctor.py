# SPDX-License-Identifier: Apache-2.0
"""`lsmkv doctor`: what is wrong with a database, what it costs, and what mends it.

Findings come from three places: the directory, the check of every byte, and the figures
of the open database.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import lsmkv
from lsmkv import lock_file, stats_file
from lsmkv.cli import render
from lsmkv.cli.command import DIRECTORY, Command
from lsmkv.cli.damage import loss_of, plainly
from lsmkv.cli.directory import is_ours, sizes_of
from lsmkv.cli.status import explain
from lsmkv.stats import Problem
from lsmkv.stats_file import StatsFileError

if TYPE_CHECKING:
    from rich.console import Console

    from lsmkv.cli.command import Progress

Severity = Literal["ok", "advice", "warning", "damage"]

PLACES_SHOWN_MAX = 5  # of one file
NAMES_SHOWN_MAX = 5

# From where on a figure is worth a word.
SMALL_BYTES = 64 << 20  # less than that is not worth the work of a compaction
WASTE_SHARE = 0.5  # of the bytes on disk
DELETED_SHARE = 0.2  # of the records
MANY_RECORDS = 10_000
FREE_BYTES_MIN = 256 << 20  # what logs and flushes need to go on for a while
BACKLOG = 3  # times as many tables as start a compaction
LOG_RECORDS_MAX = 100_000  # that each opening reads anew
STALLED_SHARE = 0.05  # of the time that it was open


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found.

    Attributes:
        severity: "ok"; "advice": it could be better; "warning": something is lost, or
            will be; "damage": files are not what was written.
        text: What it is.
        file: The file that it is about, "" for the database as a whole.
        places: Where in the file, and what is there.
        cost: What it costs.
        command: What mends it; "" if nothing needs to be done, or no command does it.
    """

    severity: Severity
    text: str
    file: str = ""
    places: Sequence[str] = ()
    cost: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorResult:
    """All that was found, the worst first."""

    path: str
    findings: Sequence[Finding]

    @property
    def ok(self) -> bool:
        """Whether nothing is worse than advice."""
        return all(each.severity in {"ok", "advice"} for each in self.findings)


_ORDER: tuple[Severity, ...] = ("damage", "warning", "advice", "ok")


def run(progress: Progress, *, database: Path) -> DoctorResult:
    """Look at everything."""
    findings = list(_directory(database))
    if not any(each.severity == "damage" for each in findings):
        with progress.step("reading every file", stays=False):
            findings += _damage(database)
        findings += _health(database)
    findings.sort(key=lambda each: _ORDER.index(each.severity))
    return DoctorResult(path=str(database), findings=findings)


def _command(name: str, path: Path, *more: object) -> str:
    return shlex.join(["lsmkv", name, str(path), *map(str, more)])


def _repair(path: Path) -> str:
    """Return the command that repairs it into a directory that is not there."""
    into = path.absolute().with_name(f"{path.absolute().name}-repaired")
    number = 2
    while into.exists():
        into = into.with_name(f"{path.absolute().name}-repaired-{number}")
        number += 1
    return _command("repair", path, into)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN_MAX])
    more = len(names) - NAMES_SHOWN_MAX
    return f"{shown} and {more} more" if more > 0 else shown


def _directory(path: Path) -> Iterator[Finding]:
    """Look at the directory, without opening anything of it but LOCK."""
    if not path.is_dir():
        yield Finding(severity="damage", text=f"there is no directory {path}")
        return
    try:
        sizes = sizes_of(path)
        names = sorted(entry.name for entry in path.iterdir())
    except OSError as error:
        yield Finding(
            severity="damage",
            text=explain(error),
            cost="nothing in it can be read by this user",
        )
        return
    if "CURRENT" not in sizes:
        yield _without_current(path, sizes)
        return
    yield from _access(path)
    yield from _process(path)
    leftovers = [name for name in sizes if name.endswith(".tmp")]
    if leftovers:
        yield Finding(
            severity="ok",
            text=f"left over from a crash: {_names(leftovers)}",
            cost="nothing: the next opening for writing removes it",
        )
    strange = [name for name in names if is_ours(name) and name not in sizes]
    if strange:
        yield Finding(
            severity="advice",
            text=f"not a file, but with the name of one: {_names(strange)}",
            cost="nothing, as long as no file of that name is to be made or removed",
        )
    others = [name for name in names if not is_ours(name)]
    if others:
        yield Finding(
            severity="advice",
            text=f"not files of the database: {_names(others)}",
            cost="nothing: they are never read nor removed; but `destroy` leaves the "
            "directory because of them",
        )


def _without_current(path: Path, sizes: dict[str, int]) -> Finding:
    if not any(name.startswith("MANIFEST") or name[0].isdigit() for name in sizes):
        return Finding(severity="damage", text=f"{path} holds no database")
    return Finding(
        severity="damage",
        file="CURRENT",
        text="the file CURRENT is missing, which says that this is a database",
        cost="it cannot be opened. If somebody was copying it here, the copy is not "
        "whole; otherwise nothing else need be lost",
        command=_repair(path),
    )


def _access(path: Path) -> Iterator[Finding]:
    """Say who has it open, and what this user may do."""
    pid = _holder(path)
    if pid is not None:
        yield Finding(
            severity="ok",
            text=f"process {pid} has it open for writing" if pid else "it is open",
            cost="reading works beside that; what writes has to wait, or is done there",
        )
    if not os.access(path, os.W_OK):
        yield Finding(
            severity="advice",
            text=f"this user may not write to {path}",
            cost='mode="r" works; whatever writes does not',
        )


def _holder(path: Path) -> int | None:
    """Return the process that has it open; 0 if nobody knows, None if none does."""
    try:
        lock = lock_file.look(path)
    except OSError:
        return None
    return lock.pid if lock is not None and lock.held else None


def _process(path: Path) -> Iterator[Finding]:
    """Tell what the process that has it open says of itself."""
    try:
        told = stats_file.read(path)
        if not stats_file.is_alive(path, told):
            return
    except (StatsFileError, OSError):
        return
    who = f"process {told.pid}, which has it open, cannot write:"
    watch = _command("top", path)
    if told.stats.state == "degraded":
        yield Finding(
            severity="warning",
            text=f"{who} the disk is full",
            cost="its writes fail; once there is space, the next one succeeds",
            command=watch,
        )
    elif told.stats.state == "poisoned":
        yield Finding(
            severity="warning",
            text=f"{who} a device error has made the database read-only there",
            cost="its writes fail until it closes the database and opens it again. "
            "What was acknowledged is kept; look after the device first",
            command=watch,
        )
    stalled = told.stats.stall_us / 1e6
    if stalled > STALLED_SHARE * max(told.uptime, 1.0):
        yield Finding(
            severity="advice",
            text=f"writers of process {told.pid} were held up for "
            f"{render.duration(stalled)} of {render.duration(told.uptime)}",
            cost="compaction does not keep up with what is written: fewer or larger "
            "batches, or a larger memtable_bytes, give it time",
            command=watch,
        )


def _damage(path: Path) -> Iterator[Finding]:
    """Check every byte."""
    try:
        report = lsmkv.verify(path)
    except (lsmkv.Error, OSError) as error:
        yield _unreadable(path, error)
        return
    if report.ok:
        yield Finding(
            severity="ok",
            text=f"every byte of {report.file_count} files is as it was written, "
            f"{render.size(report.byte_count)}",
        )
        return
    opens, sizes = _opens(path), sizes_of(path)
    problems: dict[str, list[Problem]] = {}
    for problem in plainly(path, report.problems):
        problems.setdefault(problem.file, []).append(problem)
    for name, found in problems.items():
        state = "is missing" if name and name not in sizes else "is damaged"
        yield _damaged(path, name, state, found, opens=opens)
    yield _rescue(path, opens=opens)


def _opens(path: Path) -> bool:
    try:
        lsmkv.open(path, mode="r").close()
    except lsmkv.Error:
        return False
    return True


def _unreadable(path: Path, error: Exception) -> Finding:
    if isinstance(error, lsmkv.UnsupportedVersionError):
        return Finding(
            severity="warning",
            text=str(error),
            cost="this lsmkv cannot read it, and leaves it alone",
            command="pip install --upgrade lsmkv",
        )
    return Finding(
        severity="damage",
        text=explain(error, path),
        cost="what cannot be read cannot be checked",
    )


def _damaged(
    path: Path, name: str, state: str, problems: Sequence[Problem], *, opens: bool
) -> Finding:
    """Say what the damage of one file means."""
    cost = loss_of(name, problems)
    if not opens:
        effect = "the database cannot be opened"
    elif name.endswith(".tbl"):
        effect = "reading what lies there raises CorruptionError, compacting stops"
    else:
        effect = "reading what lies there raises CorruptionError"
    places = [
        problem.message
        if problem.offset is None
        else f"at {render.number(problem.offset)}: {problem.message}"
        for problem in problems
    ]
    return Finding(
        severity="damage",
        file=name,
        text=f"{name or 'the directory'} {state}",
        places=places,
        cost=f"{effect}; {cost}" if cost else effect,
        command=_repair(path),
    )


def _rescue(path: Path, *, opens: bool) -> Finding:
    """Say what repair would save."""
    try:
        report = lsmkv.repair(path)
    except (lsmkv.Error, OSError) as error:
        return _unreadable(path, error)
    reading = (
        "reading works but for what is damaged" if opens else "reading does not work"
    )
    return Finding(
        severity="warning",
        text=f"{reading}; repair would save {render.number(report.record_count)} "
        "records, as they are now. A backup has more, if there is one",
        command=_repair(path),
    )


def _health(path: Path) -> Iterator[Finding]:
    """Look at the figures of a database that can be opened."""
    try:
        db = lsmkv.open(path, mode="r")
    except (lsmkv.Error, OSError):
        return  # that was told
    with db:
        stats, options, tables = db.stats(), db.options, db.tables()
    yield from _recovery(path, stats)
    yield from _space(path, stats)
    yield from _expired(path, tables)
    yield from _shape(path, stats, options)
    yield from _disk(path, stats)
    hot = sizes_of(path).get("HOTLIST", 0)
    if not hot and _table_bytes(stats) >= SMALL_BYTES:
        yield Finding(
            severity="advice",
            text="there is no list of what was in memory",
            cost="open(warm=True) has nothing to go by. It is written by close(), and "
            "every five minutes",
        )


def _table_bytes(stats: lsmkv.Stats) -> int:
    return sum(level.byte_count for level in stats.levels)


def _recovery(path: Path, stats: lsmkv.Stats) -> Iterator[Finding]:
    log = max((name for name in sizes_of(path) if name.endswith(".log")), default="")
    if stats.recovered_dropped_bytes:
        yield Finding(
            severity="warning",
            text=f"{log} ends with {render.size(stats.recovered_dropped_bytes)} that "
            "are no whole write",
            file=log,
            cost="the last writes before a power loss or a crash, which had not been "
            'synced, are gone; nothing else is. durability="sync" prevents that, and '
            "the next opening for writing cuts off what is left of them",
            command=_command("flush", path),
        )
    waiting = stats.recovered_records
    if waiting >= LOG_RECORDS_MAX and _holder(path) is None:
        yield Finding(
            severity="advice",
            text=f"{render.number(waiting)} records are in the log and not in tables",
            cost="each opening reads them anew",
            command=_command("flush", path),
        )


def _space(path: Path, stats: lsmkv.Stats) -> Iterator[Finding]:
    records = sum(level.entry_count for level in stats.levels)
    deletions = sum(level.tombstone_count for level in stats.levels)
    tables = _table_bytes(stats)
    dead = stats.segment_bytes - stats.segment_live_bytes
    total = tables + stats.segment_bytes
    amplification = stats.space_amplification
    if dead >= max(SMALL_BYTES, WASTE_SHARE * stats.segment_bytes):
        yield Finding(
            severity="advice",
            text=f"{render.size(dead)} of {render.size(stats.segment_bytes)} in files "
            "of large values belong to deleted or overwritten values",
            cost="disk space, until compactions come there",
            command=_command("compact", path),
        )
    elif total >= SMALL_BYTES and amplification >= 1 / (1 - WASTE_SHARE):
        yield Finding(
            severity="advice",
            text=f"the files are {amplification:.1f} times as large as what they hold",
            cost="disk space and reads of tables, until compactions come there",
            command=_command("compact", path),
        )
    if deletions >= max(MANY_RECORDS, DELETED_SHARE * records):
        yield Finding(
            severity="advice",
            text=f"{render.number(deletions)} of {render.number(records)} records are "
            "deletions",
            cost="scans step over each of them",
            command=_command("compact", path),
        )


def _expired(path: Path, tables: Iterable[lsmkv.TableInfo]) -> Iterator[Finding]:
    now = time.time()
    whole = sum(
        each.byte_count
        for each in tables
        if each.expire_all_at and each.expire_all_at < now
    )
    half = sum(
        each.byte_count // 2
        for each in tables
        if each.expire_half_at and each.expire_half_at < now
    )
    expired = max(whole, half)
    if expired >= SMALL_BYTES:
        yield Finding(
            severity="advice",
            text=f"at least {render.size(expired)} in tables have expired",
            cost="disk space, until the process that writes comes there",
            command=_command("compact", path),
        )


def _shape(path: Path, stats: lsmkv.Stats, options: lsmkv.Options) -> Iterator[Finding]:
    waiting, trigger = stats.levels[0].table_count, options.l0_compact_trigger or 1
    if waiting >= BACKLOG * trigger:
        yield Finding(
            severity="advice",
            text=f"{waiting} flushed tables wait for a compaction, which {trigger} "
            "start",
            cost="a lookup of a key may have to ask each of them",
            command=_command("compact", path),
        )
    records = sum(level.entry_count for level in stats.levels)
    bits = options.bloom_bits_per_key or 0
    if bits == 0 and records >= MANY_RECORDS:
        yield Finding(
            severity="advice",
            text="tables are written without filters: bloom_bits_per_key is 0",
            cost="a lookup of a key that is not there reads a block of every level; "
            "open(bloom_bits_per_key=10) and compacting makes filters",
        )
    filters, memory = records * bits // 8, options.memory_bytes or 1
    if filters > memory // 2:
        yield Finding(
            severity="advice",
            text=f"the filters take about {render.size(filters)}, and memory_bytes is "
            f"{render.size(memory)} unless it is given",
            cost="filters are read again and again instead of blocks being cached: "
            f"open(memory_bytes={4 * filters})",
        )


def _disk(path: Path, stats: lsmkv.Stats) -> Iterator[Finding]:
    free = shutil.disk_usage(path).free
    needed = _table_bytes(stats)
    if free < FREE_BYTES_MIN:
        yield Finding(
            severity="warning",
            text=f"the disk is nearly full: {render.size(free)} are free",
            cost="writes fail with DiskFullError when it is; reads, and deleting with "
            "delete_range, go on. Compacting needs space before it gives some back",
        )
    elif free < needed:
        yield Finding(
            severity="advice",
            text=f"{render.size(free)} are free, and there are {render.size(needed)} "
            "of tables",
            cost="compacting all of it at once may not fit; a range at a time does",
        )


_LOOKS = {
    "damage": ("✗", "bold red"),
    "warning": ("!", "bold yellow"),
    "advice": ("·", "cyan"),
    "ok": ("✓", "green"),
}


def show(result: DoctorResult, console: Console) -> None:
    """Write it for people."""
    from rich.padding import Padding
    from rich.text import Text

    for finding in result.findings:
        mark, style = _LOOKS[finding.severity]
        head = Text.assemble((f"{mark} {finding.severity:<8} ", style), finding.text)
        console.print(head, soft_wrap=True)
        lines = [*finding.places[:PLACES_SHOWN_MAX]]
        if len(finding.places) > PLACES_SHOWN_MAX:
            more = len(finding.places) - PLACES_SHOWN_MAX
            lines.append(f"... and {more} more: `lsmkv verify` lists them")
        for line in lines:
            console.print(Padding(Text(line, "dim"), (0, 0, 0, 11)))
        if finding.cost:
            console.print(Padding(Text(finding.cost), (0, 0, 0, 11)))
        if finding.command:
            console.print(
                Text.assemble(" " * 11, ("→ ", style), (finding.command, "bold")),
                soft_wrap=True,
            )
    console.print(_summary(result.findings))


def _summary(findings: Iterable[Finding]) -> str:
    counts = dict.fromkeys(_ORDER, 0)
    for finding in findings:
        counts[finding.severity] += 1
    if counts["damage"]:
        return "\nDAMAGED"
    if counts["warning"]:
        return "\nnot well: see the warnings"
    return "\nwell" + (", with advice" if counts["advice"] else "")


COMMANDS: tuple[Command, ...] = (
    Command(
        name="doctor",
        help=(
            "Check everything, as `verify` does and more, and say in plain words what "
            "is wrong, what it costs, and which command mends it. Ends with status 1 "
            "if anything is worse than advice. Changes nothing."
        ),
        parameters=(DIRECTORY,),
        run=run,
        show=show,
    ),
)
