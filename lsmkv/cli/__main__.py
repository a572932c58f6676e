# SPDX-License-Identifier: Apache-2.0
"""The entry point: makes click commands of the registry.

Exit statuses are those of `lsmkv.cli.status`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import lsmkv
from lsmkv.cli import render
from lsmkv.cli.command import DIRECTORY, Command, CommandError, Place
from lsmkv.cli.commands import AS_JSON, COMMANDS
from lsmkv.cli.status import Status, explain, status_of
from lsmkv.cli.text import TextError

_NAMESPACE = click.Option(
    ["--namespace", "-n"],
    default="",
    metavar="NAME",
    help="The namespace whose keys are meant; default: the database's own.",
)
_UNTRUSTED = click.Option(
    ["--untrusted"],
    is_flag=True,
    help="The directory comes from somebody else: open it with limits.",
)
_CREATE = click.Option(
    ["--create"], is_flag=True, help="Make a database if there is none."
)


@contextlib.contextmanager
def _ends_well(directory: object) -> Iterator[None]:
    """End with a message and a status, not a traceback, where there is an error."""
    try:
        yield
    except TextError as error:
        raise click.UsageError(str(error)) from error
    except BrokenPipeError:
        # What Python would flush at its end has nowhere to go either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(Status.PIPE) from None
    except KeyboardInterrupt:
        raise click.exceptions.Exit(Status.INTERRUPTED) from None
    except (lsmkv.Error, CommandError, OSError, MemoryError) as error:
        click.echo(f"Error: {explain(error, directory)}", err=True)
        raise click.exceptions.Exit(status_of(error)) from error


@contextlib.contextmanager
def _place(command: Command, arguments: dict[str, Any]) -> Iterator[tuple[Place, ...]]:
    """Open the database that a command works on, if it does."""
    if not command.opens:
        yield ()
        return
    path = arguments.pop("database")
    namespace = arguments.pop("namespace", "")
    trusted = not arguments.pop("untrusted", False)
    create = arguments.pop("create", False)
    with lsmkv.open(path, mode=command.opens, create=create, trusted=trusted) as db:
        yield (Place(db, namespace),)


def _parameters(command: Command) -> list[click.Parameter]:
    found = [*command.parameters, AS_JSON]
    if command.keyed:
        found.append(_NAMESPACE)
    if command.opens == "r":
        found.append(_UNTRUSTED)
    if command.creates:
        found.append(_CREATE)
    return [DIRECTORY, *found] if command.opens else found


def _to_click(command: Command) -> click.Command:
    def callback(*, as_json: bool, **arguments: Any) -> None:
        context = click.get_current_context()
        if context.invoked_subcommand is not None:
            _refuse_options(context)
            return
        directory = arguments.get("database")
        with _ends_well(directory), _place(command, arguments) as place:
            progress = render.progress(silent=as_json)
            result = command.run(progress, *place, **arguments)
            if as_json:
                render.show_json(result)
            else:
                command.show(result, render.console())
        if not result.ok:
            raise click.exceptions.Exit(Status.NO)

    if not command.inside:
        return click.Command(
            command.name,
            callback=callback,
            params=_parameters(command),
            help=command.help,
        )
    return click.Group(
        command.name,
        callback=callback,
        params=_parameters(command),
        help=command.help,
        invoke_without_command=True,
        commands=[_to_click(inner) for inner in command.inside],
    )


def _refuse_options(context: click.Context) -> None:
    """Options stand behind the name of the command that they are for."""
    for name in context.params:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"options of {context.invoked_subcommand} go behind its name"
            )


@click.group()
@click.version_option(lsmkv.__version__, prog_name="lsmkv")
def main() -> None:
    """Look after lsmkv databases, and show what they do."""


@click.command()
@click.option("--rw", "writes", is_flag=True, help="Allow to write; needs the lock.")
@click.option(
    "--command",
    "-c",
    "commands",
    metavar="TEXT",
    multiple=True,
    help="Run this instead of reading what is typed; may be repeated.",
)
@click.option(
    "--no-history",
    "keeps_history",
    flag_value=False,
    default=True,
    help="Do not keep what is typed, the values of put among it, for the next time.",
)
@click.option(
    "--no-pager",
    "pages",
    flag_value=False,
    default=True,
    help="Print what is longer than the screen without stopping.",
)
def shell(database: Path, untrusted: bool, **settings: Any) -> None:
    """Look around in a database that stays open: completion, history, paging.

    Without a terminal it runs the lines of its standard input. Ends with the status of
    the last command that failed.
    """
    from lsmkv.cli.shell import loop

    with _ends_well(database):
        made = loop.Settings(database=database, trusted=not untrusted, **settings)
        status = loop.run(made)
    if status:
        raise click.exceptions.Exit(status)


shell.params[:0] = [DIRECTORY, _UNTRUSTED]
main.add_command(shell)
for _command in COMMANDS:
    main.add_command(_to_click(_command))

if __name__ == "__main__":
    main(prog_name="lsmkv")
