# SPDX-License-Identifier: Apache-2.0
"""What commands write to the terminal, and how numbers look there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.bar import Bar
from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from lsmkv.cli import text
from lsmkv.cli.command import Stream

if TYPE_CHECKING:
    from lsmkv.cli.command import Advance, Board, Progress, Result
    from lsmkv.stats import LevelStats

LEVEL_BAR_WIDTH = 32
_PIPE_WIDTH = 4096  # columns of a table that nobody looks at
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class _Bars:
    """A bar for each step, on standard error."""

    @contextmanager
    def step(
        self, title: str, total: int | None = None, *, stays: bool = True
    ) -> Iterator[Advance]:
        """Show one bar for as long as the step takes."""
        count = MofNCompleteColumn() if total is not None else TextColumn("")
        bars = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            count,
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=not stays,
        )
        with bars:
            task = bars.add_task(f"{title:<23}", total=total)
            yield lambda amount: bars.advance(task, amount)
            if total is None:
                bars.update(task, total=1, completed=1)

    @contextmanager
    def board(self, title: str, columns: Sequence[str]) -> Iterator[Board]:
        """Show the table, and the figures as they change."""
        with Live(console=Console(stderr=True), transient=True) as live:
            yield lambda remark, rows: live.update(
                board(f"{title}: {remark}", columns, rows)
            )


class _Silence:
    """No bars, for machines."""

    @contextmanager
    def step(
        self, title: str, total: int | None = None, *, stays: bool = True
    ) -> Iterator[Advance]:
        """Show nothing."""
        del title, total, stays
        yield lambda amount: None

    @contextmanager
    def board(self, title: str, columns: Sequence[str]) -> Iterator[Board]:
        """Show nothing."""
        del title, columns
        yield lambda remark, rows: None


def progress(*, silent: bool) -> Progress:
    """Return what shows the progress of a command."""
    return _Silence() if silent else _Bars()


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the caller: rich ends the process, with status 1."""
        raise


def console() -> Console:
    """Return the terminal for results."""
    return _Console(highlight=False)


def room(console: Console) -> tuple[int | None, int | None]:
    """Return the columns and lines that a result should take; None in a pipe."""
    if not console.is_terminal:
        return None, None
    return console.width, max(console.height - 2, 1)


def write(console: Console, line: str | Text) -> None:
    """Write text as it is, with a line end; what is wider goes on in the next line."""
    if console.is_terminal:
        console.print(Text(line) if isinstance(line, str) else line, soft_wrap=True)
    else:
        console.file.write(f"{line}\n")


def flush(console: Console) -> None:
    """Hand over what was written to a pipe: if nobody reads it, this is told."""
    console.file.flush()


def whole(console: Console, drawing: Table) -> None:
    """Write a table, in a pipe in all its width."""
    if not console.is_terminal:
        console = _Console(file=console.file, width=_PIPE_WIDTH, highlight=False)
    console.print(drawing)


def show_json(result: Result | Stream) -> None:
    """Print a result as one JSON object, a stream as one in each line."""
    if isinstance(result, Stream):
        for item in result.items:
            click.echo(json.dumps(dataclasses.asdict(item), default=_to_json))
        return
    facts = {"ok": result.ok, **dataclasses.asdict(result)}
    click.echo(json.dumps(facts, indent=2, default=_to_json))


def _to_json(value: object) -> str:
    """Write what JSON does not know; bytes with the escapes of `lsmkv.cli.text`."""
    return text.escape(value) if isinstance(value, bytes) else str(value)


def number(value: float) -> str:
    """Write a count or a rate: 12,345."""
    return f"{value:,.0f}"


def plural(count: int, thing: str) -> str:
    """Write how many of a thing there are: 1 table, 2 tables."""
    return f"{number(count)} {thing}{'' if count == 1 else 's'}"


def size(value: float) -> str:
    """Write bytes: 12.3 MB."""
    if value < 1000:
        return f"{value:.0f} B"
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 1000:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def duration(seconds: float) -> str:
    """Write a time: 3.2 s, 14 ms, 1.9 µs."""
    for unit, length in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds / 1e-6:.2g} µs" if seconds < 1e-5 else f"{seconds / 1e-6:.0f} µs"


def span(seconds: float) -> str:
    """Write how long something lasts: 2 d 3 h, 59 min 58 s, 350 ms."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    at = next(i for i, (length, _) in enumerate(_SPANS) if seconds >= length)
    length, unit = _SPANS[at]
    found = f"{seconds // length:,.0f} {unit}"
    if at + 1 < len(_SPANS):
        smaller, unit = _SPANS[at + 1]
        found += f" {seconds % length // smaller:.0f} {unit}"
    return found


def board(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Draw a table of figures: the first column names, the others numbers."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table


def facts(rows: Sequence[tuple[str, str]]) -> Table:
    """Draw what is known, a name and a text in each row."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, fact in rows:
        table.add_row(name, fact)
    return table


def listing(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Draw a list: the first column names, the last remarks, between them figures."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for at, name in enumerate(columns):
        inside = 0 < at < len(columns) - 1
        table.add_column(name, justify="right" if inside else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def levels(
    stats: Sequence[LevelStats], remarks: Mapping[int, Sequence[str]] | None = None
) -> Table:
    """Draw the levels of a tree: a bar of its size, and figures, for each in use.

    `remarks` are more cells for levels that have any.
    """
    largest = max((level.byte_count for level in stats), default=0)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for depth, level in enumerate(stats):
        if level.table_count == 0:
            continue
        table.add_row(
            f"level {depth}",
            Bar(largest, 0, level.byte_count, width=LEVEL_BAR_WIDTH, color="cyan"),
            plural(level.table_count, "table"),
            size(level.byte_count),
            plural(level.entry_count, "record"),
            *(remarks or {}).get(depth, ()),
        )
    return table
