# SPDX-License-Identifier: Apache-2.0
"""The commands that only the shell has."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import click

from lsmkv.cli import text
from lsmkv.cli.command import Command, CommandError, Progress
from lsmkv.cli.status import Status

if TYPE_CHECKING:
    from rich.console import Console

    from lsmkv.cli.command import Place
    from lsmkv.cli.shell.session import Session


@dataclasses.dataclass(slots=True)
class Done:
    """Nothing to show."""

    ok: bool = True


@dataclasses.dataclass(slots=True)
class Refreshed:
    """Whether there was news."""

    news: bool
    ok: bool = True


@dataclasses.dataclass(slots=True)
class Help:
    """What there is to know about one command, or all."""

    text: str
    ok: bool = True


def commands(session: Session) -> tuple[Command, ...]:
    """Make them for a session."""
    return (
        Command(
            name="use",
            help="Say of which namespace keys are; without a name: the database's own.",
            parameters=(click.Argument(["namespace"], default=""),),
            run=lambda progress, namespace: _use(session, namespace),
            show=_show_nothing,
            examples=(
                ("sessions", "keys are those of the namespace sessions"),
                ("", "keys are the database's own again"),
            ),
        ),
        Command(
            name="refresh",
            help="Show what has been written by now. A shell that only reads stays at "
            "the state in which it found the database, whatever is written meanwhile.",
            run=_refresh,
            show=_show_refreshed,
            opens="r",
            examples=(("", "see what another process has written"),),
        ),
        Command(
            name="help",
            help="List the commands, or say what one does and show examples.",
            parameters=(click.Argument(["command"], required=False),),
            run=lambda progress, command: _help(session, command),
            show=lambda result, console: click.echo(result.text),
            examples=(("help", "what help does"),),
        ),
        *(
            Command(
                name=name,
                help="Leave the shell. Ctrl-D does, too.",
                run=lambda progress: _exit(session),
                show=_show_nothing,
            )
            for name in ("exit", "quit")
        ),
    )


def _use(session: Session, namespace: str) -> Done:
    before = session.namespace
    session.namespace = os.fsdecode(text.parse(namespace))
    try:
        _ = session.place.rows
    except BaseException:
        session.namespace = before
        raise
    return Done()


def _refresh(progress: Progress, place: Place) -> Refreshed:
    del progress
    if place.db.stats().follower is None:
        return Refreshed(news=False)  # a writer is its own news
    return Refreshed(place.db.refresh())


def _exit(session: Session) -> Done:
    session.is_over = True
    return Done()


def _help(session: Session, name: str | None) -> Help:
    if name is None:
        return Help(_all(session))
    if name not in session.commands:
        raise CommandError(
            f"there is no command {name!r}: `help` lists them", Status.USAGE
        )
    parser = session.parsers[name]
    with click.Context(parser, info_name=name) as context:
        lines = [parser.get_help(context)]
    examples = session.commands[name].examples
    if examples:
        width = max(len(typed) for typed, _ in examples)
        lines += ["", "Examples:"]
        lines += [
            f"  {name} {arguments:<{width}}  {what}" for arguments, what in examples
        ]
    return Help("\n".join(lines))


def _all(session: Session) -> str:
    width = max(len(name) for name in session.commands)
    lines = []
    for name, command in session.commands.items():
        what = session.parsers[name].get_short_help_str(76 - width)
        mark = "*" if command.opens == "rw" else " "
        lines.append(f"{mark} {name:<{width}}  {what}")
    lines += ["", "`help COMMAND` says more, with examples."]
    if not session.writes:
        lines.append("* needs a shell that writes: `lsmkv shell DIR --rw`.")
    return "\n".join(lines)


def _show_nothing(result: Done, console: Console) -> None:
    del result, console


def _show_refreshed(result: Refreshed, console: Console) -> None:
    console.print("there is news" if result.news else "nothing has changed")
