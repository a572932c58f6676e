# SPDX-License-Identifier: Apache-2.0
"""`lsmkv fuzz`: runs the harness of lsmkv.fuzz and tells what it found."""

from __future__ import annotations

import importlib
import secrets
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lsmkv.cli import render
from lsmkv.cli.command import CommandError

if TYPE_CHECKING:
    from rich.console import Console

    from lsmkv.cli.command import Progress
    from lsmkv.fuzz.parts import Figures
    from lsmkv.fuzz.runner import Report

COLUMNS = ("", "cases", "crash states", "faults", "checks", "cases/s", "jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class FuzzResult:
    """What a run has done.

    Attributes:
        ok: Whether no check failed.
        seed: What decided the run.
        seconds: How long it took.
        parts: The figures of each part.
        failure: What was expected and found, "" if nothing failed.
        script: Where the minimised case was written.
        replay: The command that shows it again.
    """

    ok: bool
    seed: int = 0
    seconds: float = 0.0
    parts: Mapping[str, Mapping[str, float]]
    failure: str = ""
    script: str = ""
    replay: str = ""


def _cells(name: str, figures: Mapping[str, float]) -> tuple[str, ...]:
    numbers = [figures[key] for key in ("cases", "states", "faults", "checks")]
    seconds = figures["seconds"]
    rate = figures["cases"] / seconds if seconds else 0.0
    return name, *map(render.number, (*numbers, rate, figures["jobs"]))


def _need_extra() -> None:
    try:
        importlib.import_module("hypothesis")
    except ImportError as error:
        raise CommandError(f"{error}: pip install 'lsmkv[fuzz]'") from error


def _check_mutant(name: str) -> None:
    from lsmkv.fuzz import engine

    try:
        with engine.mutated(name):
            pass
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--mutant") from error


def run(
    progress: Progress,
    *,
    minutes: float,
    seed: int | None,
    what: str,
    keep: Path | None,
    jobs: int | None,
    mutant: str,
) -> FuzzResult:
    """Run the parts that `what` names."""
    _need_extra()
    _check_mutant(mutant)
    from lsmkv.fuzz import parts, runner

    names = list(parts.PARTS) if what == "all" else [what]
    seed = secrets.randbits(32) if seed is None else seed
    request = runner.Request(names, minutes * 60, seed, jobs, mutant)

    with progress.board(f"fuzzing, seed {seed}", COLUMNS) as board:

        def show(figures: Mapping[str, Figures], seconds: float) -> None:
            rows = [_cells(name, asdict(one)) for name, one in figures.items()]
            board(f"{seconds:,.0f} of {minutes * 60:,.0f} s", rows)

        report = runner.run(request, show)
    script = _keep(report, keep, seed)
    words = ["lsmkv", "fuzz", "--replay", str(script)]
    words += ["--mutant", mutant] if mutant else []
    return FuzzResult(
        ok=report.failure is None,
        seed=seed,
        seconds=report.seconds,
        parts={name: asdict(figures) for name, figures in report.figures.items()},
        failure=report.failure.what if report.failure else "",
        script=str(script or ""),
        replay=shlex.join(words) if script else "",
    )


def _keep(report: Report, keep: Path | None, seed: int) -> Path | None:
    """Write the script of a failure."""
    from lsmkv.fuzz import runner

    if report.failure is None:
        return None
    if keep is None:
        keep = Path(tempfile.mkdtemp(prefix="lsmkv-fuzz-"))
    keep.mkdir(parents=True, exist_ok=True)
    path = keep / f"{report.part}-{seed}.txt"
    path.write_text(runner.write_script(report.failure, report.part))
    return path


def replay(path: Path, *, rewrite: bool, mutant: str) -> FuzzResult:
    """Run a kept failure or any other script, or write what it prints now into it."""
    _need_extra()
    _check_mutant(mutant)
    from lsmkv.fuzz import runner, script

    try:
        if rewrite:
            path.write_text(script.rewrite(path.read_text()))
            return FuzzResult(ok=True, parts={}, script=str(path))
        failure = runner.replay(path, mutant)
    except script.ScriptError as error:
        raise CommandError(f"{path}: {error}") from error
    return FuzzResult(ok=not failure, parts={}, failure=failure, script=str(path))


def show(result: FuzzResult, console: Console) -> None:
    """Write it for people."""
    if result.parts:
        rows = [_cells(name, figures) for name, figures in result.parts.items()]
        title = f"{result.seconds:,.0f} s, seed {result.seed}"
        console.print(render.board(title, COLUMNS, rows))
    if result.ok:
        console.print("no check failed" if not result.script else "as written")
        return
    click.echo(f"FAILED: {result.failure}")
    if result.replay:
        click.echo(f"\n{Path(result.script).read_text()}")
        click.echo(f"to see it again: {result.replay}")
