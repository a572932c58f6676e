# SPDX-License-Identifier: Apache-2.0
"""Goal: what docs/shell.md shows, works, and shows every command.

Method: every example of the page, in order, in one directory and a real terminal of 100
columns; what is seen there is compared with the page line by line. In a block
`console` a line `$ command` is run by bash (`> ` continues it), in a block `lsmkv` it
starts the shell, and lines behind a prompt are typed. `...` in a line of the page
stands for any text, and alone for any lines. The lists of commands and statuses are
compared with the code.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import lsmkv
from harness.terminal import ROOT, Screen, Terminal, environment
from lsmkv.cli.command import Command
from lsmkv.cli.commands import COMMANDS
from lsmkv.cli.shell.session import Session
from lsmkv.cli.status import Status

PAGE = ROOT / "docs" / "shell.md"
MARK = "\x1e"  # between the outputs of commands
PROMPT = re.compile(r"(\S+ r[ow]> |  +> )(.*)")


@dataclass(frozen=True)
class Example:
    """A command of a block `console`, or a whole session of the shell."""

    line: int
    command: str
    expected: list[str]


def blocks(page: str, kind: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the first line, and the lines, of each block of a kind."""
    fence = re.compile(rf"^```{kind}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    for match in fence.finditer(page):
        yield page.count("\n", 0, match.start(1)) + 1, match[1].splitlines()


def examples(first: int, lines: list[str]) -> list[Example]:
    """Take a block apart into commands, each with what it prints."""
    found: list[Example] = []
    for number, line in enumerate(lines, first):
        if line.startswith("$ "):
            found.append(Example(number, line[2:], []))
        elif not found:
            raise ValueError(f"docs/shell.md:{number}: output before any command")
        elif re.match(r">( |$)", line) and not found[-1].expected:
            last = found.pop()
            found.append(Example(last.line, f"{last.command}\n{line[2:]}", []))
        else:
            found[-1].expected.append(line)
    return found


def is_as_expected(expected: list[str], shown: list[str]) -> bool:
    """Compare lines; `...` is a wildcard."""
    pattern = "".join(
        r"(?:.*\n)*?"
        if line.strip() == "..."
        else re.escape(line.rstrip()).replace(re.escape("..."), ".*?") + r"\n"
        for line in expected
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in shown)) is not None


def difference(example: Example, shown: list[str]) -> list[str]:
    """Say where what is shown is not what the page says; nothing if it is."""
    if is_as_expected(example.expected, shown):
        return []
    lines = difflib.unified_diff(
        example.expected, shown, "the page", "the terminal", lineterm="", n=100
    )
    return [f"docs/shell.md:{example.line}: $ {example.command}", *lines, ""]


def run_console(found: list[Example], env: dict[str, str], cwd: Path) -> list[str]:
    """Run the commands of one block in one bash; return the differences."""
    script = Path(env["HOME"], "block.sh")
    mark = "printf '" + "".join(f"\\{ord(c):03o}" for c in MARK) + "'"
    script.write_text("".join(f"{mark}\n{example.command}\n" for example in found))
    terminal = Terminal(["bash", str(script)], env=env, cwd=cwd)
    try:
        terminal.wait_for_end()
    finally:
        terminal.close()
    outputs = terminal.written.split(MARK.encode())[1:]
    assert len(outputs) == len(found), f"bash cannot read line {found[0].line} on"
    wrong = []
    for example, output in zip(found, outputs, strict=True):
        screen = Screen()
        screen.feed(output)
        wrong += difference(example, screen.lines)
    return wrong


def run_session(session: Example, env: dict[str, str], cwd: Path) -> list[str]:
    """Type what stands behind the prompts; return the differences."""
    typed = [match[2] for line in session.expected if (match := PROMPT.match(line))]
    terminal = Terminal(["bash", "-c", f"exec {session.command}"], env=env, cwd=cwd)
    try:
        for number, text in enumerate([*typed, "\x04"], 1):
            terminal.wait_for(
                partial(is_ready, terminal, number),
                f"the prompt for {text!r}, docs/shell.md:{session.line}",
            )
            if not terminal.is_over:
                terminal.type(text if text == "\x04" else f"{text}\r")
        terminal.wait_for_end()
    finally:
        terminal.close()
    shown = terminal.screen.lines
    if prompts(shown) > len(typed):
        shown.pop()  # the prompt at which the session was left
    return difference(session, shown)


def prompts(lines: list[str]) -> int:
    """Count the lines where something was, or can be, typed."""
    return sum(PROMPT.match(f"{line} ") is not None for line in lines)


def is_ready(terminal: Terminal, number: int, lines: list[str]) -> bool:
    """Say whether the last line is the prompt of that number, and empty."""
    if terminal.is_over or not lines:
        return terminal.is_over
    match = PROMPT.fullmatch(f"{lines[-1]} ")
    return match is not None and not match[2] and prompts(lines) == number


@pytest.mark.timeout(900)  # as many commands as there are, on whatever machine
def test_every_example_does_what_the_page_says(tmp_path: Path) -> None:
    env, cwd = environment(tmp_path / "home"), tmp_path / "work"
    cwd.mkdir()
    wrong = []
    page = PAGE.read_text()
    both = [
        (line, kind, lines)
        for kind in ("console", "lsmkv")
        for line, lines in blocks(page, kind)
    ]
    assert both
    for line, kind, lines in sorted(both):
        if kind == "console":
            wrong += run_console(examples(line, lines), env, cwd)
        else:
            (session,) = examples(line, lines)
            wrong += run_session(session, env, cwd)
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def test_a_wrong_example_is_found(tmp_path: Path) -> None:
    env = environment(tmp_path / "home")
    right = ["$ echo one; echo '  two'", "one", "  t...", "$ tput cols", "100"]
    right += ["$ printf 'a b\\rX\\n'; echo \\", "> '1 2' 3", "...", "1 2 3"]
    assert not run_console(examples(1, right), env, tmp_path)
    for wrong in (right[:2], [*right[:2], "..", *right[3:]], [*right[:3], "x"]):
        assert run_console(examples(1, wrong), env, tmp_path)


def names(commands: tuple[Command, ...], before: str = "") -> Iterator[str]:
    for command in commands:
        yield before + command.name
        yield from names(tuple(command.inside), f"{before}{command.name} ")


def test_every_command_is_in_an_example() -> None:
    shown = "\n".join(
        example.command
        for line, lines in blocks(PAGE.read_text(), "console")
        for example in examples(line, lines)
    )
    missing = [
        name
        for name in names(COMMANDS)
        if not re.search(rf"(?:^|[|;&(] ?)lsmkv {name}\b", shown, re.MULTILINE)
    ]
    assert not missing, f"docs/shell.md shows no `$ lsmkv NAME` for {missing}"


def test_every_command_of_the_shell_is_typed(db: lsmkv.DB, path: Path) -> None:
    typed = {
        words[0]
        for _, lines in blocks(PAGE.read_text(), "lsmkv")
        for line in lines
        if (match := PROMPT.match(line)) and (words := match[2].split())
    }
    own = set(Session(db, path).commands) - {command.name for command in COMMANDS}
    assert own
    assert not own - typed


def test_the_exit_statuses_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| ", PAGE.read_text(), re.MULTILINE)
    assert [int(row) for row in rows] == [status.value for status in Status]
