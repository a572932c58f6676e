# SPDX-License-Identifier: Apache-2.0
"""Commands that look after a database as a whole: its files, its memory, its end."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

import lsmkv
from lsmkv.cli import render, text
from lsmkv.cli.command import DIRECTORY, Command, CommandError
from lsmkv.cli.directory import sizes_of
from lsmkv.cli.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from lsmkv.cli.command import Place, Progress

SHOWN_MAX = 50  # names in the terminal; JSON has all

_UNITS = {"": 1} | {unit: 1000**i for i, unit in enumerate("kmgt", 1)}
_UNITS |= {f"{unit}i": 1024**i for i, unit in enumerate("kmgt", 1)}


def parse_size(given: str) -> int:
    """Read bytes as people write them: 4096, 64MB, 1.5GiB."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", given.strip().lower())
    size = float(match[1]) * _UNITS.get(match[2].removesuffix("b"), 0) if match else 0
    if size < 1:
        raise click.BadParameter(f"{given!r} is no size: 4096, 64MB and 1.5GiB are")
    return int(size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How large a database is at one moment.

    Attributes:
        tables: How many, and
        table_bytes: how large.
        records: Records in them, deletions and overwritten values included.
        deletions: The deletions among them.
        value_bytes: Size of the files of large values.
        disk_bytes: All files together.
    """

    tables: int
    table_bytes: int
    records: int
    deletions: int
    value_bytes: int
    disk_bytes: int


def _extent_of(db: lsmkv.DB) -> Extent:
    stats = db.stats()
    return Extent(
        tables=sum(level.table_count for level in stats.levels),
        table_bytes=sum(level.byte_count for level in stats.levels),
        records=sum(level.entry_count for level in stats.levels),
        deletions=sum(level.tombstone_count for level in stats.levels),
        value_bytes=stats.segment_bytes,
        disk_bytes=sum(sizes_of(db.path).values()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkResult:
    """What a flush or a compaction has changed."""

    before: Extent
    after: Extent
    seconds: float
    ok: bool = True


def _work(
    progress: Progress, place: Place, title: str, call: Callable[[], None]
) -> WorkResult:
    before = _extent_of(place.db)
    started = time.perf_counter()
    with progress.step(title, stays=False):
        call()
    seconds = time.perf_counter() - started
    return WorkResult(before=before, after=_extent_of(place.db), seconds=seconds)


def flush(progress: Progress, place: Place) -> WorkResult:
    """Write what is in memory into tables."""
    return _work(progress, place, "flushing", place.db.flush)


def compact(
    progress: Progress, place: Place, *, start: str | None, stop: str | None
) -> WorkResult:
    """Merge a range of keys, or everything."""
    bounds = [None if bound is None else text.parse(bound) for bound in (start, stop)]
    rows = place.rows
    return _work(progress, place, "compacting", lambda: rows.compact(*bounds))


def show_work(result: WorkResult, console: Console) -> None:
    """Write the sizes before and after for people."""
    written = {"tables": render.number, "records": render.number}
    written |= {"deletions": render.number}
    titles = {
        "tables": "tables",
        "table_bytes": "their size",
        "records": "records",
        "deletions": "deletions",
        "value_bytes": "large values",
        "disk_bytes": "on disk",
    }
    rows = []
    for name, title in titles.items():
        write = written.get(name, render.size)
        before, after = getattr(result.before, name), getattr(result.after, name)
        sign = "+" if after > before else "-"
        change = sign + write(abs(after - before)) if after != before else ""
        rows.append((title, write(before), write(after), change))
    title = f"done in {render.duration(result.seconds)}"
    console.print(render.board(title, ("", "before", "after", "change"), rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointResult:
    """What a checkpoint consists of.

    Attributes:
        path: Its directory.
        files: How many files it has, and
        bytes: how large they are.
        shared_bytes: Of them, what it shares with the database by hard links.
        seconds: How long it took.
    """

    path: str
    files: int
    bytes: int
    shared_bytes: int
    seconds: float
    ok: bool = True


def checkpoint(progress: Progress, place: Place, *, into: Path) -> CheckpointResult:
    """Make another directory a database with the state of this moment."""
    started = time.perf_counter()
    with progress.step("linking files", stays=False):
        place.db.checkpoint(into)
    sizes = sizes_of(into)
    shared = [name for name in sizes if (into / name).stat().st_nlink > 1]
    return CheckpointResult(
        path=str(into),
        files=len(sizes),
        bytes=sum(sizes.values()),
        shared_bytes=sum(sizes[name] for name in shared),
        seconds=time.perf_counter() - started,
    )


def show_checkpoint(result: CheckpointResult, console: Console) -> None:
    """Write it for people."""
    console.print(
        f"{result.path} is a database of its own: {result.files} files, "
        f"{render.size(result.bytes)}, {render.size(result.shared_bytes)} of it shared "
        f"on disk, in {render.duration(result.seconds)}",
        soft_wrap=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmResult:
    """What was read ahead.

    Attributes:
        bytes: Bytes of files, blocks and values together.
        blocks: Blocks read.
        values: Large values read and checked.
        seconds: How long it took.
    """

    bytes: int
    blocks: int
    values: int
    seconds: float
    ok: bool = True


def warm(
    progress: Progress, place: Place, *, prefix: str | None, budget: int | None
) -> WarmResult:
    """Read ahead what will be wanted soon."""
    started = time.perf_counter()
    chosen = None if prefix is None else text.parse(prefix)
    with progress.step("reading ahead", stays=False) as advance:
        before = 0

        def tell(done: int, total: int) -> None:
            nonlocal before
            del total  # an estimate, that is not kept to
            advance(done - before)
            before = done

        report = place.rows.warm(chosen, budget_bytes=budget, progress=tell)
    return WarmResult(
        bytes=report.byte_count,
        blocks=report.block_count,
        values=report.value_count,
        seconds=time.perf_counter() - started,
    )


def show_warm(result: WarmResult, console: Console) -> None:
    """Write it for people."""
    console.print(
        f"read {render.size(result.bytes)}: {render.number(result.blocks)} blocks and "
        f"{render.number(result.values)} large values, in "
        f"{render.duration(result.seconds)}",
        soft_wrap=True,
    )
    if result.bytes == 0:
        console.print(
            "There is no list of what was in memory when the database was closed, or "
            "it names nothing that is still there; --prefix says what to read.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyResult:
    """What was removed.

    Attributes:
        path: The directory.
        files: Files removed, and
        bytes: how large they were.
        left: What else was in the directory, and stays.
    """

    path: str
    files: int
    bytes: int
    left: Sequence[str]
    ok: bool = True


def destroy(progress: Progress, *, database: Path, yes: bool) -> DestroyResult:
    """Remove a database, after asking."""
    sizes = sizes_of(database) if database.is_dir() else {}
    if not yes:
        if not sys.stdin.isatty():
            raise CommandError(
                f"{database}: nothing is removed without --yes", Status.USAGE
            )
        total = render.size(sum(sizes.values()))
        click.confirm(
            f"Remove the database in {database}, {total}, for good?",
            abort=True,
            err=True,
        )
    with progress.step("removing", stays=False):
        lsmkv.destroy(database)
    left = (
        sorted(entry.name for entry in database.iterdir()) if database.is_dir() else []
    )
    gone = [name for name in sizes if name not in left]
    return DestroyResult(
        path=str(database),
        files=len(gone),
        bytes=sum(sizes[name] for name in gone),
        left=left,
    )


def show_destroy(result: DestroyResult, console: Console) -> None:
    """Write it for people."""
    console.print(
        f"removed {result.files} files, {render.size(result.bytes)}", soft_wrap=True
    )
    if result.left:
        names = ", ".join(result.left[:SHOWN_MAX])
        console.print(f"{result.path} stays: it holds {names}", soft_wrap=True)


COMMANDS: tuple[Command, ...] = (
    Command(
        name="flush",
        help=(
            "Write what is in memory into tables, durably. On the command line that is "
            "what was in the log: opening for writing has already seen to it."
        ),
        run=flush,
        show=show_work,
        examples=(("", "write everything into tables"),),
        opens="rw",
    ),
    Command(
        name="compact",
        help=(
            "Merge the tables of a range of keys down to one level, and give back the "
            "space of deleted, expired and overwritten values. Rewrites the range. "
            "Without bounds and namespace that is the whole database."
        ),
        parameters=(
            click.Option(["--start"], metavar="KEY", help="From this key on."),
            click.Option(["--stop"], metavar="KEY", help="Up to before this key."),
        ),
        run=compact,
        show=show_work,
        examples=(
            ("", "all of it"),
            ("--start user/ --stop user0", "the keys that begin with user/"),
        ),
        opens="rw",
        keyed=True,
    ),
    Command(
        name="checkpoint",
        help=(
            "Make INTO, absent or empty, a database of its own with the present state. "
            "On one file system the files are shared by hard links, so that this takes "
            "neither time nor space."
        ),
        parameters=(
            click.Argument(
                ["into"],
                metavar="INTO",
                type=click.Path(file_okay=False, path_type=Path),
            ),
        ),
        run=checkpoint,
        show=show_checkpoint,
        examples=(("../backup", "a copy of this moment"),),
        opens="rw",
    ),
    Command(
        name="warm",
        help=(
            "Read ahead what was in memory when the database was last closed, or the "
            "keys with a prefix. As a command of its own it fills the memory of the "
            "operating system, where the process that opens the database next finds "
            "the files; the block cache it fills is gone when it ends. In the shell "
            "it fills both."
        ),
        parameters=(
            click.Option(["--prefix"], metavar="KEY", help="All keys that begin so."),
            click.Option(
                ["--budget"],
                type=parse_size,
                metavar="SIZE",
                help="At most so much, like 512MB; default: what the cache holds.",
            ),
        ),
        run=warm,
        show=show_warm,
        examples=(
            ("", "what was in memory last time"),
            ("--prefix user/ --budget 64MB", "the keys that begin with user/"),
        ),
        opens="r",
        keyed=True,
    ),
    Command(
        name="destroy",
        help=(
            "Remove a database for good, and its directory unless it holds anything "
            "else. Asks before that, on a terminal; elsewhere it needs --yes."
        ),
        parameters=(
            DIRECTORY,
            click.Option(["--yes"], is_flag=True, help="Do not ask."),
        ),
        run=destroy,
        show=show_destroy,
    ),
)
