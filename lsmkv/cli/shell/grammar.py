# SPDX-License-Identifier: Apache-2.0
"""What each word of a line is, also of one that is not finished."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import click

from lsmkv.cli import text

# Where a line goes on: a backslash at its end that is not one of a pair.
_CONTINUED = re.compile(r"(?<!\\)((?:\\\\)*)\\\n")
_GOES_ON = re.compile(r"(?<!\\)(?:\\\\)*\\\Z")

Kind = Literal["command", "unknown", "option", "value", "argument", "surplus"]


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a line.

    Attributes:
        start: Where it begins.
        text: What it is, with its quotes.
        kind: Its place in the line: "value" is that of an option.
        parameter: Whose value it is, or what the option is.
    """

    start: int
    text: str
    kind: Kind
    parameter: click.Parameter | None = None


def join(lines: str) -> str:
    """Make one line of those that a backslash continues."""
    return _CONTINUED.sub(r"\1", lines)


def goes_on(line: str) -> bool:
    """Say whether there is more to come: an open quote, or a backslash at the end."""
    try:
        text.words(join(line))
    except text.OpenQuoteError:
        return True
    except text.TextError:
        return False
    return _GOES_ON.search(line) is not None


def read(line: str, commands: Mapping[str, click.Command]) -> Iterator[Word]:
    """Yield the words of a line and what they are."""
    words = text.pieces(line)
    start, name = next(words, (0, ""))
    if not name:
        return
    command = commands.get(name)
    yield Word(start, name, "unknown" if command is None else "command")
    options, arguments = _parameters(command)
    option: click.Option | None = None
    wanted = 0  # how many values of that option are next
    only_arguments = False
    for start, word in words:
        if wanted:
            yield Word(start, word, "value", option)
            wanted -= 1
        elif word.startswith("-") and not only_arguments:
            only_arguments = word == "--"
            name, is_whole, _ = word.partition("=")
            option = options.get(name)
            yield Word(start, word, "option", option)
            if option is not None and not option.is_flag and not is_whole:
                wanted = option.nargs
        elif arguments:
            yield Word(start, word, "argument", arguments[0])
            if arguments[0].nargs >= 0:
                arguments = arguments[1:]
        else:
            yield Word(start, word, "surplus")


def at_end(line: str, commands: Mapping[str, click.Command]) -> Word:
    """Return the word that is being typed at the end of a line; it may be empty."""
    words = list(read(line, commands))
    if words and not _is_ended(line, words[-1]):
        return words[-1]
    *_, word = read(f"{line}x", commands)  # what would stand here
    return Word(len(line), "", word.kind, word.parameter)


def _is_ended(line: str, last: Word) -> bool:
    """Say whether there is a space behind the last word."""
    return last.start + len(last.text) < len(line)


def _parameters(
    command: click.Command | None,
) -> tuple[dict[str, click.Option], Sequence[click.Argument]]:
    params = command.params if command is not None else []
    options = {
        name: param
        for param in params
        if isinstance(param, click.Option)
        for name in (*param.opts, *param.secondary_opts)
    }
    return options, [param for param in params if isinstance(param, click.Argument)]
