# SPDX-License-Identifier: Apache-2.0
"""The shell in a terminal, and without one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

import lsmkv
from lsmkv.cli import text
from lsmkv.cli.shell import grammar, pager
from lsmkv.cli.shell.session import Session
from lsmkv.cli.status import Status

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.formatted_text import StyleAndTextTuples
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings

    from lsmkv.cli.shell.complete import ShellCompleter

TAB_WAITS = 0.2  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the shell was called; see its options."""

    database: Path
    writes: bool = False
    trusted: bool = True
    commands: Sequence[str] = ()
    keeps_history: bool = True
    pages: bool = True


def run(settings: Settings) -> Status:
    """Open the database and run what is typed, or given; return the last error."""
    with lsmkv.open(
        settings.database,
        mode=_mode(settings),
        create=False,
        trusted=settings.trusted,
    ) as db:
        session = Session(db, settings.database, writes=settings.writes)
        if settings.commands:
            return run_lines(session, settings.commands)
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return run_lines(session, _joined(sys.stdin))
        session.pager = pager.find() if settings.pages else []
        talk(session, prompt_session(session, history(settings.keeps_history)))
        return Status.OK


def _mode(settings: Settings) -> lsmkv.db.Mode:
    if settings.writes:
        return "rw"
    # Only a follower can be refreshed; only a reader refuses what is not safe to read.
    return "follower" if settings.trusted else "r"


def run_lines(session: Session, lines: Iterable[str]) -> Status:
    """Run each, whatever became of those before; return the last that was not well."""
    last = Status.OK
    for line in lines:
        status = session.run(line)
        if status != Status.OK:
            last = status
        if session.is_over or status == Status.INTERRUPTED:
            break
    return last


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines, those that go on in the next one together with it."""
    begun = ""
    for line in lines:
        begun += line
        if not grammar.goes_on(begun.removesuffix("\n")):
            yield begun
            begun = ""
    if begun:
        yield begun


def talk(session: Session, prompt: PromptSession[str]) -> None:
    """Read and run until there is nothing more."""
    # Also where whoever started this ignores it: here Ctrl-C stops a command.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    click.echo(f"lsmkv {lsmkv.__version__}. `help` lists the commands, Ctrl-D ends.")
    while not session.is_over:
        try:
            line = prompt.prompt(lambda: label(session))
        except KeyboardInterrupt:
            continue  # a line that was not meant
        except EOFError:
            break
        session.run(line)


def label(session: Session) -> StyleAndTextTuples:
    """Write the prompt: directory, namespace, and whether it may be written to."""
    place = text.show(os.fsencode(session.directory.resolve().name or "/"))
    if session.namespace:
        place += f":{text.show(os.fsencode(session.namespace))}"
    mode = ("writes", "rw") if session.writes else ("reads", "ro")
    return [
        ("class:prompt.place", f"{place} "),
        (f"class:prompt.{mode[0]}", mode[1]),
        ("", "> "),
    ]


def prompt_session(session: Session, kept: History) -> PromptSession[str]:
    """Make what reads lines from the terminal."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.application import get_app
    from prompt_toolkit.filters import Condition

    from lsmkv.cli.shell.colour import STYLE, ShellLexer
    from lsmkv.cli.shell.complete import ShellCompleter

    completer = ShellCompleter(session)
    return PromptSession(
        history=kept,
        key_bindings=_bindings(completer),
        completer=completer,
        lexer=ShellLexer(session.parsers),
        style=STYLE,
        multiline=Condition(lambda: grammar.goes_on(get_app().current_buffer.text)),
        prompt_continuation=lambda width, line, wraps: "> ".rjust(width),
    )


def _bindings(completer: ShellCompleter) -> KeyBindings:
    """Have Tab first write what all completions have in common, then go through them.

    It asks for them itself, so that it does not matter whether they are shown already,
    and waits a moment, so that what is typed next, such as Enter, comes behind them.
    """
    from prompt_toolkit.buffer import CompletionState
    from prompt_toolkit.completion import get_common_complete_suffix
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    bindings = KeyBindings()

    @bindings.add("tab")
    def complete(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        state, document = buffer.complete_state, buffer.document
        if state is not None and state.complete_index is not None:
            buffer.complete_next()
            return
        try:
            completions = completer.look_up(document).result(TAB_WAITS)
        except TimeoutError:
            buffer.start_completion(insert_common_part=True)  # in its own time
            return
        common = get_common_complete_suffix(document, completions)
        if not completions:
            return
        if len(completions) == 1:
            buffer.apply_completion(completions[0])
        elif common:
            buffer.insert_text(common)
        else:
            buffer.complete_state = CompletionState(document, completions)
            buffer.complete_next()

    return bindings


def history(is_kept: bool) -> History:
    """Return the lines typed before, which are in a file that only the user reads."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    if not is_kept:
        return InMemoryHistory()
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    path = Path(state) / "lsmkv" / "history"
    try:
        is_new = not path.exists()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600))
    except OSError as error:
        click.echo(f"What is typed is not kept: {error}", err=True)
        return InMemoryHistory()
    if is_new:
        click.echo(
            f"What you type is kept in {path}, values of `put` included; "
            "--no-history keeps nothing."
        )
    return FileHistory(path)
