# SPDX-License-Identifier: Apache-2.0
"""Commands that look after a database as a whole.

`verify`, `repair` and `destroy` take the directory as it is, since it need not be one
that can be opened; the others open it.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import lsmkv
from lsmkv.cli import render, text
from lsmkv.cli.command import DIRECTORY, Command, CommandError
from lsmkv.cli.status import Status
from lsmkv.stats import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console

    from lsmkv.cli.command import Place, Progress

SHOWN_MAX = 50  # problems in the terminal; JSON has all that the engine keeps

_OURS = re.compile(
    r"LOCK|STATS|(CURRENT|HOTLIST)(\.tmp)?|MANIFEST-\d{6,}|\d{6,}\.(log|tbl|seg|cache)"
)
_UNITS = {"": 1} | {unit: 1000**i for i, unit in enumerate("kmgt", 1)}
_UNITS |= {f"{unit}i": 1024**i for i, unit in enumerate("kmgt", 1)}


def parse_size(given: str) -> int:
    """Read bytes as people write them: 4096, 64MB, 1.5GiB."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", given.strip().lower())
    size = float(match[1]) * _UNITS.get(match[2].removesuffix("b"), 0) if match else 0
    if size < 1:
        raise click.BadParameter(f"{given!r} is no size: 4096, 64MB and 1.5GiB are")
    return int(size)


# What lies in a file, by how its name begins or ends, and what is lost with it.
_LOSSES = {
    "CURRENT": "it names the MANIFEST in force and holds no data: repair finds that "
    "without it, and nothing is lost",
    "MANIFEST": "it lists the files in use and holds no data: repair reads all that "
    "are there; a file that is not needed any more may be read as well",
    ".log": "it holds the newest writes, or large values: those in the damaged places "
    "are lost, and of a log in use maybe what came with them",
    ".seg": "it holds large values: those in the damaged places are lost",
    ".tbl": "it holds records: those in the damaged blocks are lost, all others are "
    "kept; where a newer value or a deletion was lost, an older value may show",
}
_WHOLE = "no records lie there, so repair loses nothing: "
_PARTS = {
    "footer": "the footer tells where index and filter are",
    "index": "the index tells where the blocks are",
    "filter": "the filter tells which keys need not be looked for",
    "properties": "the properties describe the table",
}


def loss_of(name: str, problems: Iterable[Problem]) -> str:
    """Say what is lost when these places of a file cannot be read."""
    texts = " ".join(problem.message for problem in problems)
    parts = [text for part, text in _PARTS.items() if part in texts]
    if parts and "data block" not in texts:
        return _WHOLE + ", ".join(parts)
    return next((text for kind, text in _LOSSES.items() if kind in name), "")


def is_ours(name: str) -> bool:
    """Whether files of that name belong to a database."""
    return _OURS.fullmatch(name) is not None


def sizes_of(directory: str | Path) -> dict[str, int]:
    """Return the files of a database and their sizes."""
    found = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                if is_ours(entry.name) and entry.is_file(follow_symlinks=False):
                    found[entry.name] = entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:
                continue  # whoever writes has removed it meanwhile
    return found


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
class VerifyResult:
    """What was read and found.

    Attributes:
        path: The directory.
        files: Files read.
        blocks: Blocks whose checksum was computed.
        records: Records whose order was checked.
        bytes: Bytes read.
        problem_count: Problems found; one may be seen in several places.
        problems: The first thousand of them, without those that say the same.
        seconds: How long it took.
    """

    path: str
    files: int
    blocks: int
    records: int
    bytes: int
    problem_count: int
    problems: Sequence[Problem]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem_count == 0


def plainly(directory: str | Path, problems: Iterable[Problem]) -> list[Problem]:
    """Return problems whose text does not repeat file and offset, each once."""
    found: dict[Problem, None] = {}
    for problem in problems:
        message = problem.message.removeprefix(f"{os.fspath(directory)}/")
        if problem.file and message.startswith(problem.file):
            message = re.sub(r"^(@\d+)?: ", "", message[len(problem.file) :], count=1)
        found[dataclasses.replace(problem, message=message)] = None
    return list(found)


def verify(progress: Progress, *, database: Path) -> VerifyResult:
    """Read and check every byte of every live file."""
    started = time.perf_counter()
    with progress.step("reading every file", stays=False):
        report = lsmkv.verify(database)
    return VerifyResult(
        path=str(database),
        files=report.file_count,
        blocks=report.block_count,
        records=report.record_count,
        bytes=report.byte_count,
        problem_count=report.problem_count,
        problems=plainly(database, report.problems),
        seconds=time.perf_counter() - started,
    )


def where(problem: Problem) -> str:
    """Write the place of a problem: the file, and where in it."""
    if problem.offset is None or not problem.file:
        return problem.file or "the directory"
    return f"{problem.file} at {render.number(problem.offset)}"


def show_problems(problems: Sequence[Problem], console: Console) -> None:
    """Write problems for people, a line each, up to a number of them."""
    for problem in problems[:SHOWN_MAX]:
        console.print(
            f"  [red]{where(problem)}[/red]  {_plain(problem.message)}", soft_wrap=True
        )
    if len(problems) > SHOWN_MAX:
        console.print(f"  ... and {len(problems) - SHOWN_MAX} more: --json lists them")


def _plain(message: str) -> str:
    """Keep what looks like markup as it is."""
    from rich.markup import escape

    return escape(message)


def show_verify(result: VerifyResult, console: Console) -> None:
    """Write it for people."""
    read = (
        f"read {render.number(result.files)} files, {render.size(result.bytes)}, "
        f"{render.number(result.records)} records in {render.duration(result.seconds)}"
    )
    if result.ok:
        console.print(f"no damage: {read}", soft_wrap=True)
        return
    count = len({(problem.file, problem.offset) for problem in result.problems})
    console.print(f"DAMAGED, {count} {'place' if count == 1 else 'places'}: {read}")
    show_problems(result.problems, console)
    quoted = shlex.quote(result.path)
    click.echo(f"\nWhat that means: lsmkv doctor {quoted}")
    click.echo(f"Save what can be read: lsmkv repair {quoted} INTO")


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
class DamagedFile:
    """What repair could not read of one file.

    Attributes:
        name: Of the file; "" for what belongs to no one file.
        bytes: Its size; None if it is missing.
        places: How many places are damaged.
        lost: What lay there.
    """

    name: str
    bytes: int | None
    places: int
    lost: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairResult:
    """What was saved and what was lost.

    Attributes:
        path: The damaged directory, which stays as it is.
        into: The new database; "" if nothing was to be written.
        values: Values saved, or that would be,
        bytes: and the size of the files that they are in now.
        namespaces: About how many of them are in each namespace, "" for those that are
            in none.
        caches: The namespaces that are caches, whose values are not kept.
        versions: The published names and versions.
        problem_count: Places that could not be read.
        problems: The first thousand of them, without those that say the same.
        damaged: The files they are in.
        seconds: How long it took.
    """

    path: str
    into: str
    values: int
    problem_count: int
    problems: Sequence[Problem]
    damaged: Sequence[DamagedFile]
    seconds: float
    bytes: int = 0
    namespaces: dict[str, int] = dataclasses.field(default_factory=dict)
    caches: Sequence[str] = ()
    versions: Sequence[str] = ()

    @property
    def ok(self) -> bool:
        """Whether everything could be read."""
        return self.problem_count == 0


def repair(
    progress: Progress, *, database: Path, into: Path | None, dry_run: bool
) -> RepairResult:
    """Make a new database of everything that can still be read, or only tell of it."""
    if into is None and not dry_run:
        raise CommandError("say INTO which directory, or --dry-run", Status.USAGE)
    target = None if dry_run else into
    started = time.perf_counter()
    with progress.step("reading what can be read", stays=False):
        report = lsmkv.repair(database, target)
    problems = plainly(database, report.problems)
    return RepairResult(
        path=str(database),
        into=str(target or ""),
        values=report.record_count,
        problem_count=report.problem_count,
        problems=problems,
        damaged=_by_file(database, problems),
        seconds=time.perf_counter() - started,
        **(_saved(target) if target is not None else {}),
    )


def _by_file(path: Path, problems: Sequence[Problem]) -> list[DamagedFile]:
    sizes = sizes_of(path)
    groups: dict[str, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(problem.file, []).append(problem)
    return [
        DamagedFile(
            name=name,
            bytes=sizes.get(name),
            places=len({problem.offset for problem in found}),
            lost=loss_of(name, found),
        )
        for name, found in groups.items()
    ]


def _saved(into: Path) -> dict[str, Any]:
    """Return what is in the new database, for the result."""
    with lsmkv.open(into, mode="r") as db:
        spaces = db.namespaces()
        namespaces = {"": db.approximate_count()} | {
            name: db.namespace(name, create=False).approximate_count()
            for name in spaces
        }
        return {
            "bytes": sum(sizes_of(into).values()),
            "namespaces": namespaces,
            "caches": [name for name, how in spaces.items() if how.max_bytes],
            "versions": [f"{each.name} {each.version}" for each in db.versions()],
        }


def show_repair(result: RepairResult, console: Console) -> None:
    """Write it for people: what was saved, then what was lost."""
    values, seconds = render.number(result.values), render.duration(result.seconds)
    if result.into:
        console.print(
            f"saved {values} records, {render.size(result.bytes)}, in {seconds}; "
            f"{result.into} is a whole database, {result.path} is as it was",
            soft_wrap=True,
        )
    else:
        console.print(f"would save {values} records, as found in {seconds}")
    for name, count in result.namespaces.items():
        title = f"namespace {text.show(name.encode())}" if name else "in no namespace"
        about = f"about {render.number(count)} keys"
        if name in result.caches:
            about = "a cache: what was in it stays behind"
        console.print(f"  {title}: {about}", soft_wrap=True)
    for name in result.versions:
        console.print(f"  published: {name}", soft_wrap=True)
    if result.ok:
        console.print("lost: nothing")
        return
    console.print("damaged")
    for file in result.damaged:
        size = "missing" if file.bytes is None else render.size(file.bytes)
        number = f"{file.places} {'place' if file.places == 1 else 'places'}"
        name = file.name or "the directory"
        console.print(f"  {name} ({size}), {number}: {file.lost}", soft_wrap=True)
    show_problems(result.problems, console)
    if result.into:
        into = shlex.quote(result.into)
        click.echo(f"Look at it before you use it: lsmkv doctor {into}")
    else:
        click.echo(
            f"Save what can be read: lsmkv repair {shlex.quote(result.path)} INTO"
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


_NEW = click.Argument(
    ["into"], metavar="INTO", type=click.Path(file_okay=False, path_type=Path)
)

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
        name="verify",
        help=(
            "Read and check every byte of every file in use, also of a database that "
            "cannot be opened, or that another process has open. Lists all damage, and "
            "ends with status 1 if there is any."
        ),
        parameters=(DIRECTORY,),
        run=verify,
        show=show_verify,
    ),
    Command(
        name="checkpoint",
        help=(
            "Make INTO, absent or empty, a database of its own with the present state. "
            "On one file system the files are shared by hard links, so that this takes "
            "neither time nor space."
        ),
        parameters=(_NEW,),
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
        name="repair",
        help=(
            "Make INTO, absent or empty, a new database of everything in DIR that can "
            "still be read, and tell what could not be. DIR is not changed. Ends with "
            "status 1 if anything could not be read."
        ),
        parameters=(
            DIRECTORY,
            click.Argument(
                ["into"],
                required=False,
                metavar="INTO",
                type=click.Path(file_okay=False, path_type=Path),
            ),
            click.Option(["--dry-run"], is_flag=True, help="Write nothing, only tell."),
        ),
        run=repair,
        show=show_repair,
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
