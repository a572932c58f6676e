# SPDX-License-Identifier: Apache-2.0
"""What a command is: its name and parameters, what it runs, and what that returns.

The same commands are given on the command line and typed in the shell. Those that work
on an open database say how they open it: on the command line each opens the directory
that it is given, in the shell all share the one that is open.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import click

from lsmkv.cli.status import Status

if TYPE_CHECKING:
    from rich.console import Console

    import lsmkv

Advance = Callable[[int], None]
Board = Callable[[str, Sequence[Sequence[str]]], None]

# The directory of a database. Of a command that does not open it, but works on the
# files, it is the first of its own parameters.
DIRECTORY = click.Argument(
    ["database"], metavar="DIR", type=click.Path(file_okay=False, path_type=Path)
)


class CommandError(Exception):
    """A command cannot go on; its text says why and what to do."""

    def __init__(self, message: str, status: Status = Status.NO) -> None:
        """Keep the exit status beside the message."""
        super().__init__(message)
        self.status = status


class Result(Protocol):
    """What a command returns: a dataclass that says whether all is well."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def ok(self) -> bool:
        """Whether the exit status is 0; otherwise it is 1."""


@dataclasses.dataclass(slots=True)
class Stream:
    """A result of any length, that is made while it is written: a line for each item.

    Attributes:
        items: Dataclasses, each of which is an object of its own, and a line, in JSON.
        ok: Whether all is well, as far as it is known; asked for behind the last item.
    """

    items: Iterator[Any]
    ok: bool = True


class Progress(Protocol):
    """Shows how far long work has come."""

    def step(
        self, title: str, total: int | None = None, *, stays: bool = True
    ) -> AbstractContextManager[Advance]:
        """Begin a step; call what it gives with the amount done since the last call.

        `total` is that of all amounts, or None where nobody knows. What `stays` can be
        seen after its end.
        """

    def board(
        self, title: str, columns: Sequence[str]
    ) -> AbstractContextManager[Board]:
        """Begin a table of figures that change; call what it gives with all of them.

        That is a remark behind the title, and the rows.
        """


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a command works.

    Attributes:
        db: The open database.
        namespace: The namespace that keys are of; "" for the database's own.
    """

    db: lsmkv.DB
    namespace: str = ""

    @property
    def rows(self) -> lsmkv.DB | lsmkv.Namespace:
        """The keyspace that keys are of."""
        if not self.namespace:
            return self.db
        try:
            return self.db.namespace(self.namespace, create=False)
        except KeyError:
            raise CommandError(
                f"there is no namespace {self.namespace!r}: `namespaces` lists them"
            ) from None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    Attributes:
        name: How it is called.
        help: What it does, for `--help`.
        parameters: Its arguments and options, for click; without the directory of one
            that `opens`, and without `--namespace`, `--create` and `--json`.
        run: Does it. Takes a Progress, a Place if it `opens`, and the parameters by
            name; prints nothing; returns a Result or a Stream.
        show: Writes the result for people.
        examples: Arguments to try, and what they do, for the help in the shell.
        opens: Which way it needs the database open: "r" for reading, "rw" for writing,
            "" not at all.
        creates: Whether it may make the directory: it takes --create.
        keyed: Whether keys or rows are what it is about: it takes a namespace.
        inside: Commands that are called by its name and their own.
    """

    name: str
    help: str
    parameters: Sequence[click.Parameter] = ()
    run: Callable[..., Result | Stream]
    show: Callable[[Any, Console], None]
    examples: Sequence[tuple[str, str]] = ()
    opens: Literal["", "r", "rw"] = ""
    creates: bool = False
    keyed: bool = False
    inside: Sequence[Command] = ()


def lazily(module: str, name: str) -> Callable[..., Any]:
    """Return a function that imports the one of that name when it is called.

    So that a command which needs much does not make the others start slowly.
    """

    def call(*arguments: Any, **named: Any) -> Any:
        found = getattr(importlib.import_module(module), name)
        return found(*arguments, **named)

    return call
