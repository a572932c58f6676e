# SPDX-License-Identifier: Apache-2.0
"""What a word may become: commands, options, namespaces, files, and keys.

Keys are looked up where the word leads in the database, and few of them: a database of
any size answers as fast as one of its reads.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import click
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.completion.filesystem import PathCompleter
from prompt_toolkit.document import Document

import lsmkv
from lsmkv.cli import text
from lsmkv.cli.command import CommandError
from lsmkv.cli.shell import grammar

if TYPE_CHECKING:
    from lsmkv.cli.shell.grammar import Word
    from lsmkv.cli.shell.session import Session

KEYS_MAX = 50
_KEYS = re.compile(r"KEY|PREFIX|START|STOP")  # begins what stands for a key in the help
_HALF_AN_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:x[0-9a-fA-F]?)?\Z")


class ShellCompleter(Completer):
    """Completes the word before the cursor."""

    def __init__(self, session: Session) -> None:
        """Complete for a session."""
        self._session = session
        self._threads = ThreadPoolExecutor(2, "lsmkv-completion")

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        """Yield what the word may become, in the order of the lists they are from."""
        word = grammar.at_end(document.text_before_cursor, self._session.parsers)
        if word.kind in {"command", "unknown"}:
            yield from self._commands(word.text)
        elif word.text.startswith("-") or word.kind == "option":
            yield from self._options(document, word.text)
        elif word.parameter is not None:
            yield from self._values(word, word.parameter, complete_event)

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """Look for them in a thread, so that typing never waits; yield all at once."""
        for completion in await asyncio.wrap_future(self.look_up(document)):
            yield completion

    def look_up(self, document: Document) -> Future[list[Completion]]:
        """Look for them in a thread, which nothing waits for when a line is done."""
        return self._threads.submit(
            lambda: list(self.get_completions(document, CompleteEvent()))
        )

    def _commands(self, begun: str) -> Iterator[Completion]:
        for name, parser in self._session.parsers.items():
            if name.startswith(begun):
                what = parser.get_short_help_str(60)
                yield Completion(name, -len(begun), display_meta=what)

    def _options(self, document: Document, begun: str) -> Iterator[Completion]:
        first = next(text.pieces(document.text_before_cursor))[1]
        parser = self._session.parsers.get(first)
        for param in parser.params if parser is not None else ():
            if isinstance(param, click.Option):
                name = max(param.opts, key=len)
                if name.startswith(begun):
                    meta = (param.help or "").partition(".")[0]
                    yield Completion(name, -len(begun), display_meta=meta)

    def _values(
        self, word: Word, parameter: click.Parameter, event: CompleteEvent
    ) -> Iterable[Completion]:
        begun = word.text
        if isinstance(parameter.type, click.Choice):
            return _starting(begun, map(str, parameter.type.choices))
        if parameter.name == "command":
            return self._commands(begun)
        if parameter.name == "namespace":
            return _starting(begun, self._namespaces())
        if _KEYS.match(parameter.metavar or str(parameter.name).upper()):
            return self._keys(begun)
        if parameter.type.name == "path":
            return PathCompleter().get_completions(Document(begun), event)
        return ()

    def _namespaces(self) -> list[str]:
        try:
            return [
                text.show(os.fsencode(name)) for name in self._session.db.namespaces()
            ]
        except lsmkv.Error:
            return []

    def _keys(self, begun: str) -> Iterator[Completion]:
        """Yield keys that begin as the word does; the last one, where they are many.

        So what the first and the last have in common is common to all.
        """
        is_quoted = begun.startswith('"')
        bare = begun[is_quoted:].replace('\\"', '"')
        try:
            prefix = text.unescape(_HALF_AN_ESCAPE.sub(r"\1", bare))
            rows = self._session.place.rows
            found = []
            with rows.keys(prefix=prefix) as keys:
                for key in keys:
                    found.append(key)
                    if len(found) == KEYS_MAX:
                        break
            if len(found) == KEYS_MAX:
                with rows.keys(prefix=prefix, reverse=True) as keys:
                    found[-1] = next(keys, found[-1])
        except (text.TextError, CommandError, lsmkv.Error):
            return  # the command itself will say what is wrong
        for key in found:
            if text.escape(key).startswith(bare):
                shown = _quoted(key) if is_quoted else text.show(key)
                yield Completion(shown, -len(begun))


def _starting(begun: str, choices: Iterable[str]) -> Iterator[Completion]:
    for choice in choices:
        if choice.startswith(begun):
            yield Completion(choice, -len(begun))


def _quoted(key: bytes) -> str:
    escaped = text.escape(key).replace('"', '\\"')
    return f'"{escaped}"'
