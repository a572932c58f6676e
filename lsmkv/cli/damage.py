# SPDX-License-Identifier: Apache-2.0
"""`lsmkv verify` and `repair`: find damage, and save what can still be read.

They take the directory as it is, since it need not be one that can be opened.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import lsmkv
from lsmkv.cli import render, text
from lsmkv.cli.command import DIRECTORY, Command, CommandError
from lsmkv.cli.directory import sizes_of
from lsmkv.cli.status import Status
from lsmkv.stats import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from lsmkv.cli.command import Progress

SHOWN_MAX = 50  # problems in the terminal; JSON has all that the engine keeps

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


COMMANDS: tuple[Command, ...] = (
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
)
