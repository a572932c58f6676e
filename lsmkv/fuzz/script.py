# SPDX-License-Identifier: Apache-2.0
"""Scripts: files of commands with what they print, to read, replay and keep.

    # What this shows.
    put a 1
    get a
    ----
    1

    crash
    get a
    ----
    -

A paragraph is commands, a line each, then ---- and the lines they print. Paragraphs end
with an empty line; one that prints nothing needs no ----. Lines that begin with # are
remarks. Each paragraph goes on where the last one ended. The form is that of the
data-driven tests of CockroachDB's Pebble.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

# They register the commands.
import lsmkv.fuzz.commands_rows
import lsmkv.fuzz.commands_store  # noqa: F401
from lsmkv.fuzz.notation import NotationError
from lsmkv.fuzz.session import Session

MARK = "----"


class ScriptError(ValueError):
    """A script cannot be read or run; the text says which line and why."""


@dataclass(slots=True)
class Paragraph:
    """Some commands and what they print."""

    line: int  # of the first one, from 1
    remarks: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Write it as it stands in a file."""
        output = [MARK, *self.expected] if self.expected else []
        return "\n".join([*self.remarks, *self.commands, *output]) + "\n"


@dataclass(frozen=True, slots=True)
class Difference:
    """A paragraph that printed something else than it should."""

    paragraph: Paragraph
    found: list[str]

    def __str__(self) -> str:
        """Say where, what was expected and what was found."""
        lines = [f"line {self.paragraph.line}: {self.paragraph.commands[-1]}"]
        lines += [f"  - {line}" for line in self.paragraph.expected]
        lines += [f"  + {line}" for line in self.found]
        return "\n".join(lines)


def parse(text: str) -> list[Paragraph]:
    """Take a script apart."""
    paragraphs: list[Paragraph] = []
    current: Paragraph | None = None
    expecting = False
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            current, expecting = None, False
            continue
        if current is None:
            current = Paragraph(number)
            paragraphs.append(current)
        if expecting:
            current.expected.append(line)
        elif line == MARK:
            expecting = True
        elif line.startswith("#"):
            current.remarks.append(line)
        else:
            current.commands.append(line)
    return paragraphs


def run_paragraph(session: Session, paragraph: Paragraph) -> list[str]:
    """Return what its commands print."""
    found: list[str] = []
    for command in paragraph.commands:
        try:
            found += session.run(command)
        except NotationError as error:
            raise ScriptError(
                f"paragraph at line {paragraph.line}: {command}: {error}"
            ) from error
    return found


def replay(text: str) -> list[Difference]:
    """Run a script and return where it printed something else.

    Args:
        text: The script.

    Raises:
        ScriptError: A line is no command.
    """
    session = Session()
    differences: list[Difference] = []
    try:
        for paragraph in parse(text):
            found = run_paragraph(session, paragraph)
            if found != paragraph.expected:
                differences.append(Difference(paragraph, found))
    finally:
        session.end()
    return differences


def rewrite(text: str) -> str:
    """Return the script with what its commands print now."""
    session = Session()
    try:
        paragraphs = parse(text)
        for paragraph in paragraphs:
            paragraph.expected = run_paragraph(session, paragraph)
    finally:
        session.end()
    return write(paragraphs)


def write(paragraphs: Iterable[Paragraph]) -> str:
    """Write a script."""
    return "\n".join(str(paragraph) for paragraph in paragraphs)
