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
)
