# SPDX-License-Identifier: Apache-2.0
"""The colours of a line while it is typed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.lexers import Lexer
from prompt_toolkit.styles import Style

from lsmkv.cli.shell import grammar

if TYPE_CHECKING:
    import click

STYLE = Style.from_dict(
    {
        "command": "ansigreen bold",
        "unknown": "ansired",
        "surplus": "ansired",
        "option": "ansicyan",
        "number": "ansimagenta",
        "string": "ansiyellow",
        "escape": "ansibrightblue",
        "key": "",
        "prompt.place": "bold",
        "prompt.reads": "ansigreen",
        "prompt.writes": "ansired bold",
    }
)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?", re.IGNORECASE)
_ESCAPE = re.compile(r"(\\(?:x[0-9a-fA-F]{2}|[^x]))", re.DOTALL)


class ShellLexer(Lexer):
    """Colours commands, options, numbers, strings and escapes."""

    def __init__(self, commands: Mapping[str, click.Command]) -> None:
        """Know the commands."""
        self._commands = commands

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        """Colour all lines; a word in quotes may be on several."""
        lines: list[StyleAndTextTuples] = [[]]
        for style, part in self._parts(document.text):
            first, *others = part.split("\n")
            lines[-1].append((style, first))
            lines += [[(style, other)] for other in others]
        return lambda number: lines[number] if number < len(lines) else []

    def _parts(self, line: str) -> Iterator[tuple[str, str]]:
        at = 0
        for word in grammar.read(line, self._commands):
            yield "", line[at : word.start]
            yield from _word(word)
            at = word.start + len(word.text)
        yield "", line[at:]


def _word(word: grammar.Word) -> Iterator[tuple[str, str]]:
    style = f"class:{word.kind}"
    if word.kind in {"argument", "value"}:
        if _NUMBER.fullmatch(word.text):
            style = "class:number"
        else:
            style = "class:string" if word.text[0] in "\"'" else "class:key"
        for number, part in enumerate(_ESCAPE.split(word.text)):
            yield ("class:escape" if number % 2 else style), part
        return
    yield style, word.text
