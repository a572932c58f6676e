# SPDX-License-Identifier: Apache-2.0
"""An open database, and lines that are run on it. Errors end a line, nothing else."""

from __future__ import annotations

import copy
import difflib
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import click

import lsmkv
from lsmkv.cli import render, text
from lsmkv.cli.command import Command, CommandError, Place
from lsmkv.cli.commands import AS_JSON, COMMANDS
from lsmkv.cli.shell import grammar, own, pager
from lsmkv.cli.status import Status, explain, status_of

# They draw a screen of their own, or take away the database that is open.
NOT_HERE = {"top", "destroy"}


class Session:
    """A database that is open, the namespace in use, and the commands there are.

    Attributes:
        db: The database.
        directory: Where it is.
        namespace: The namespace that keys are of; "" for the database's own.
        writes: Whether it is open for writing.
        is_over: Whether `exit` was given.
        commands: What may be typed, by name.
        parsers: The same for click, by name.
        pager: What shows long results; empty: nothing.
    """

    def __init__(
        self,
        db: lsmkv.DB,
        directory: Path,
        *,
        writes: bool = False,
        registry: Sequence[Command] = COMMANDS,
    ) -> None:
        """Begin in the database's own keyspace."""
        self.db = db
        self.directory = directory
        self.namespace = ""
        self.writes = writes
        self.is_over = False
        self.pager: list[str] = []
        usable = [command for command in registry if _is_usable(command)]
        self.commands = {c.name: c for c in [*usable, *own.commands(self)]}
        self.parsers = {name: self._parser(c) for name, c in self.commands.items()}

    @property
    def place(self) -> Place:
        """Where commands work."""
        return Place(self.db, self.namespace)

    def run(self, line: str) -> Status:
        """Run a line, and print what comes of it."""
        try:
            words = text.words(grammar.join(line))
            if not words or words[0].startswith("#"):
                return Status.OK
            return self._call(self._find(words[0]), words[1:])
        except click.exceptions.Exit as exit_:
            return Status(exit_.exit_code)
        except click.ClickException as error:
            error.show()
            return Status.USAGE
        except text.TextError as error:
            return _fail(str(error), Status.USAGE)
        except KeyboardInterrupt:
            return _fail("stopped", Status.INTERRUPTED)
        except BrokenPipeError:
            raise  # nobody reads what comes of the other lines either
        except lsmkv.ChangedError as error:
            return _fail(f"{error}\n`refresh` shows the present state.", Status.NO)
        except (lsmkv.Error, CommandError, OSError, MemoryError) as error:
            return _fail(explain(error, self.directory), status_of(error))
        except Exception as error:
            what = f"{type(error).__name__}: {error}\nThat is a fault in lsmkv: "
            return _fail(f"{what}please report it.", Status.NO)

    def _find(self, name: str) -> Command:
        if name in self.commands:
            return self.commands[name]
        close = difflib.get_close_matches(name, self.commands, 1)
        hint = f"do you mean `{close[0]}`?" if close else "`help` lists them"
        raise CommandError(f"there is no command {name!r}: {hint}", Status.USAGE)

    def _call(self, command: Command, words: list[str]) -> Status:
        parser = self.parsers[command.name]
        with parser.make_context(command.name, words) as context:
            arguments = dict(context.params)
            if command.opens == "rw" and not self.writes:
                raise self._read_only(command)
            as_json = arguments.pop("as_json")
            place = (self.place,) if command.opens else ()
            with pager.paged(self.pager):
                progress = render.progress(silent=as_json)
                result = command.run(progress, *place, **arguments)
                if as_json:
                    render.show_json(result)
                else:
                    command.show(result, render.console())
        return Status.OK if result.ok else Status.NO

    def _read_only(self, command: Command) -> CommandError:
        return CommandError(
            f"{command.name} writes, and this shell only reads. Leave it, and start\n"
            f"lsmkv shell {shlex.quote(str(self.directory))} --rw",
            Status.UNUSABLE,
        )

    def _parser(self, command: Command) -> click.Command:
        parameters = [_unquoted(parameter) for parameter in command.parameters]
        if not command.opens and _takes_path(command):
            parameters[0].required = False
            parameters[0].default = self.directory
        return click.Command(
            command.name, params=[*parameters, AS_JSON], help=command.help
        )


def _unquoted(parameter: click.Parameter) -> click.Parameter:
    """Have a path stand in quotes if it needs them, as keys do."""
    inner, changed = parameter.type, copy.copy(parameter)

    def path(value: str | Path) -> object:
        if isinstance(value, str):
            return inner.convert(os.fsdecode(text.parse(value)), parameter, None)
        return value

    if isinstance(inner, click.Path):
        changed.type = click.types.FuncParamType(path)
    return changed


def _is_usable(command: Command) -> bool:
    """Say whether it is about a database."""
    return command.name not in NOT_HERE and (
        command.opens != "" or _takes_path(command)
    )


def _takes_path(command: Command) -> bool:
    """Say whether its first argument is a file or directory: the open one, here."""
    first = next(iter(command.parameters), None)
    return isinstance(first, click.Argument) and isinstance(first.type, click.Path)


def _fail(message: str, status: Status) -> Status:
    click.echo(f"Error: {message}", err=True)
    return status
