# SPDX-License-Identifier: Apache-2.0
"""`lsmkv bench`: how fast this machine is, by the workloads of bench/, in one process.

bench/run.py takes turns with other engines, repeats, and gives each group of rows a
process of its own; here each row is measured once.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import lsmkv
from lsmkv.cli import render
from lsmkv.cli.command import Command

if TYPE_CHECKING:
    from rich.console import Console

    from lsmkv.cli.bench.workloads import Scale
    from lsmkv.cli.command import Progress

WHAT = ("fill", "sync", "main", "hot", "cold")  # as workloads.GROUPS has them
KEYS = 100_000
KEYS_MIN = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A row of figures.

    Attributes:
        row: Its name.
        title: What was measured.
        unit: Of the figure.
        figure: How many in a second, or what the unit says.
        p50_us: How long half of the calls took at most, where they were timed alone.
        p99_us: Likewise 99 of 100.
        p999_us: Likewise 999 of 1000.
    """

    row: str
    title: str
    unit: str
    figure: float
    p50_us: float | None = None
    p99_us: float | None = None
    p999_us: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """What was measured, and on what.

    Attributes:
        version: Of lsmkv.
        machine: What is known of it, its load before among it.
        scale: How much was done.
        rows: The figures.
        seconds: How long all of it took.
    """

    version: str
    machine: dict[str, Any]
    scale: dict[str, int]
    rows: Sequence[Measured]
    seconds: float
    ok: bool = True


def _scale(keys: int, value_bytes: int) -> Scale:
    """Return how much to do: the memtable is some tenth of the data."""
    from lsmkv.cli.bench.workloads import Scale

    return Scale(
        keys=keys,
        memtable_bytes=max(64 << 10, min(16 << 20, keys * (16 + value_bytes) // 8)),
        reads=keys // 2,
        seeks=max(10, keys // 20),
        syncs=max(10, min(100, keys // 500)),
        value_bytes=value_bytes,
    )


def run(
    progress: Progress,
    *,
    directory: Path | None,
    keys: int,
    value_bytes: int,
    what: Sequence[str],
) -> BenchResult:
    """Measure the groups that are wanted, in the order of all."""
    from lsmkv.cli.bench import workloads
    from lsmkv.cli.bench.engine import Lsmkv
    from lsmkv.cli.bench.machine import machine

    scale, wanted = _scale(keys, value_bytes), set(what or WHAT)
    needed = wanted | {workloads.AFTER.get(name, name) for name in wanted}
    chosen = [name for name in WHAT if name in needed]
    started = time.perf_counter()
    rows: list[Measured] = []
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix="lsmkv-bench-") as scratch:
        before = machine(Path(scratch))
        with progress.step("measuring", len(chosen), stays=False) as advance:
            for name in chosen:
                path = Path(scratch) / workloads.AFTER.get(name, name)
                results = workloads.GROUPS[name](Lsmkv, path, scale)
                if name in wanted:
                    rows += [_measured(row, each) for row, each in results.items()]
                advance(1)
    return BenchResult(
        version=lsmkv.__version__,
        machine=before,
        scale=dataclasses.asdict(scale),
        rows=rows,
        seconds=time.perf_counter() - started,
    )


def _measured(name: str, figures: dict[str, float]) -> Measured:
    from lsmkv.cli.bench.workloads import ROWS

    row = ROWS[name]
    times = {key: figures[key] for key in figures if key.endswith("_us")}
    return Measured(
        row=name, title=row.title, unit=row.unit, figure=figures["value"], **times
    )


def show(result: BenchResult, console: Console) -> None:
    """Write it for people."""
    rows = [
        (
            each.title,
            render.number(each.figure) if each.figure >= 100 else f"{each.figure:.3g}",
            each.unit,
            *(_time(value) for value in (each.p50_us, each.p99_us, each.p999_us)),
        )
        for each in result.rows
    ]
    columns = ("", "", "", "p50", "p99", "p99.9")
    title = (
        f"{render.number(result.scale['keys'])} rows of 16 + "
        f"{result.scale['value_bytes']} bytes, once each, "
        f"in {render.duration(result.seconds)}"
    )
    console.print(render.board(title, columns, rows))
    machine = result.machine
    console.print(
        f"lsmkv {result.version}, Python {machine['python']}, {machine['cpu']}, "
        f"{machine['cores']} cores, {render.size(machine['memory_bytes'])} of memory, "
        f"{machine['file_system'] or 'unknown'} file system, load before "
        f"{machine['load_before']:.1f}",
    )


def _time(microseconds: float | None) -> str:
    return "" if microseconds is None else render.duration(microseconds / 1e6)


COMMANDS: tuple[Command, ...] = (
    Command(
        name="bench",
        help=(
            "Measure how fast this machine is, with databases of its own that are "
            "removed: writing, reading, scanning, overwriting, bytes on disk and a "
            "cold start. Each figure is taken once, in this process, with whatever "
            "else the machine does; bench/run.py repeats, and compares with others."
        ),
        parameters=(
            click.Option(
                ["--dir", "directory"],
                type=click.Path(file_okay=False, path_type=Path),
                help="On which disk: a directory; default: that for temporary files.",
            ),
            click.Option(
                ["--keys"],
                type=click.IntRange(min=KEYS_MIN),
                default=KEYS,
                show_default=True,
                help="How many rows; all else is in proportion.",
            ),
            click.Option(
                ["--value-bytes"],
                type=click.IntRange(min=1, max=1 << 20),
                default=100,
                show_default=True,
                help="Size of a value.",
            ),
            click.Option(
                ["--what"],
                type=click.Choice(WHAT),
                multiple=True,
                help="Which groups of figures; default: all.",
            ),
        ),
        run=run,
        show=show,
    ),
)
