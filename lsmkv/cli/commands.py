# SPDX-License-Identifier: Apache-2.0
"""The registry of commands: what there is, what it takes, and who does it.

The command line is made from it. What a command needs is imported when it runs, so
that the others start quickly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import click

if TYPE_CHECKING:
    from rich.console import Console

Advance = Callable[[int], None]
Board = Callable[[str, Sequence[Sequence[str]]], None]


class CommandError(Exception):
    """A command cannot go on; its text says why and what to do."""


class Result(Protocol):
    """What a command returns: a dataclass that says whether all is well."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def ok(self) -> bool:
        """Whether the exit status is 0."""


class Progress(Protocol):
    """Shows how far long work has come."""

    def step(
        self, title: str, total: int | None = None
    ) -> AbstractContextManager[Advance]:
        """Begin a step; call what it gives with the amount done since the last call.

        `total` is that of all amounts, or None where nobody knows.
        """

    def board(
        self, title: str, columns: Sequence[str]
    ) -> AbstractContextManager[Board]:
        """Begin a table of figures that change; call what it gives with all of them.

        That is a remark behind the title, and the rows.
        """


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        name: How it is called.
        help: What it does, for `--help`.
        parameters: Its arguments and options, for click.
        run: Does it. Takes a Progress and the parameters by name, prints nothing.
        show: Writes the result for people.
        inside: Commands that are called by its name and their own.
    """

    name: str
    help: str
    parameters: Sequence[click.Parameter]
    run: Callable[..., Result]
    show: Callable[[Any, Console], None]
    inside: Sequence[Command] = ()


def _run_demo(progress: Progress, directory: Path | None, kills: int) -> Result:
    from lsmkv.cli.demo.run import run

    return run(progress, directory=directory, kills=kills)


def _show_demo(result: Any, console: Console) -> None:
    from lsmkv.cli.demo.report import show

    show(result, console)


def _run_vectors(progress: Progress, directory: Path | None) -> Result:
    from lsmkv.cli.demo.embeddings import run

    return run(progress, directory=directory)


def _show_vectors(result: Any, console: Console) -> None:
    from lsmkv.cli.demo.embeddings_report import show

    show(result, console)


def _run_fuzz(
    progress: Progress, replay: Path | None, rewrite: bool, **arguments: Any
) -> Result:
    from lsmkv.cli import fuzz

    if replay is not None:
        return fuzz.replay(replay, rewrite=rewrite)
    if rewrite:
        raise click.UsageError("--rewrite goes with --replay FILE")
    return fuzz.run(progress, **arguments)


def _show_fuzz(result: Any, console: Console) -> None:
    from lsmkv.cli.fuzz import show

    show(result, console)


FUZZ_PARTS = ("model", "crash", "faults", "damage", "metamorphic", "threads")

_DIRECTORY = click.Option(
    ["--dir", "directory"],
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the database here; default: a directory that is removed.",
)

COMMANDS: tuple[Command, ...] = (
    Command(
        name="demo",
        help=(
            "Store the standard library of this Python, every module, class and "
            "function, and check every record: after reopening, and after a process "
            "that was writing got killed. Ends with status 0 only if all of it held."
        ),
        parameters=(
            _DIRECTORY,
            click.Option(
                ["--kills"],
                type=click.IntRange(min=1, max=1000),
                default=5,
                show_default=True,
                help="How many writing processes to kill.",
            ),
        ),
        run=_run_demo,
        show=_show_demo,
        inside=(
            Command(
                name="vectors",
                help=(
                    "Embed the docstrings of the standard library with a small model, "
                    "keep the vectors, find all of them again without the model, and "
                    "gather batches of them, compared with the array in memory. Needs "
                    "the extra [demo]."
                ),
                parameters=(_DIRECTORY,),
                run=_run_vectors,
                show=_show_vectors,
            ),
        ),
    ),
    Command(
        name="fuzz",
        help=(
            "Try to break the engine: random calls beside a model, crashes at any "
            "step, failing calls and allocations, damaged files, options that must "
            "not matter, and threads. Ends with status 1 at the first wrong answer, "
            "having minimised it to a script. Needs the extra [fuzz]."
        ),
        parameters=(
            click.Option(
                ["--minutes"],
                type=click.FloatRange(min=0, min_open=True),
                default=1,
                show_default=True,
                help="For how long.",
            ),
            click.Option(
                ["--seed"],
                type=click.IntRange(min=0),
                help="What decides the run; default: another one each time.",
            ),
            click.Option(
                ["--what"],
                type=click.Choice([*FUZZ_PARTS, "all"]),
                default="all",
                show_default=True,
                help="Which part.",
            ),
            click.Option(
                ["--keep"],
                type=click.Path(file_okay=False, path_type=Path),
                help="Write the script of a failure here; default: a new directory "
                "for temporary files.",
            ),
            click.Option(
                ["--jobs"],
                type=click.IntRange(min=1, max=256),
                help="How many processes at once; default: one for each processor.",
            ),
            click.Option(
                ["--replay"],
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                metavar="FILE",
                help="Run a script, of a failure or any other, instead.",
            ),
            click.Option(
                ["--rewrite"],
                is_flag=True,
                help="With --replay: write what its commands print now into it.",
            ),
        ),
        run=_run_fuzz,
        show=_show_fuzz,
    ),
)
