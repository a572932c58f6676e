# SPDX-License-Identifier: Apache-2.0
"""Goal: the shell is what a person expects who sits in front of it.

Method: `lsmkv shell` in a real terminal, drawn by pyte; keys are pressed, and the test
waits for what is to be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lsmkv
from harness.terminal import Terminal, environment

ROW_COUNT = 100_000
pytestmark = pytest.mark.timeout(900)  # on whatever machine


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a database that a scan takes long to show."""
    path = tmp_path_factory.mktemp("terminal") / "shop"
    with lsmkv.open(path) as db:
        db.put_many((b"user/%05d" % n, b"name-%d" % n) for n in range(ROW_COUNT))
        db[b"two words"] = b"quoted"
        db.namespace("sessions")[b"abc"] = b"here"
    return path


class Shell:
    """`lsmkv shell` in a terminal."""

    def __init__(self, home: Path, database: Path, *options: str, rows: int) -> None:
        env = environment(home)
        # A pager that is the same everywhere, and left with any line.
        pager = home / "bin" / "few"
        pager.write_text("#!/bin/sh\nhead -n 4\necho '(more)'\nread -r x </dev/tty\n")
        pager.chmod(0o755)
        self.terminal = Terminal(
            ["lsmkv", "shell", str(database), *options],
            env={**env, "PAGER": str(pager)},
            cwd=home,
            rows=rows,
        )
        self.type = self.terminal.type

    def see(self, *lines: str) -> list[str]:
        """Wait until these are the last lines on the screen."""
        return self.terminal.wait_for(
            lambda shown: shown[-len(lines) :] == list(lines), f"{lines}"
        )

    def see_somewhere(self, part: str) -> list[str]:
        """Wait until this is on the screen."""
        return self.terminal.wait_for(
            lambda shown: any(part in line for line in shown), part
        )


Start = Callable[..., Shell]


@pytest.fixture
def start(tmp_path: Path, large: Path) -> Iterator[Start]:
    """Start shells of one user, and end them."""
    started: list[Shell] = []

    def begin(*options: str, database: Path = large, rows: int = 1000) -> Shell:
        started.append(Shell(tmp_path / "home", database, *options, rows=rows))
        return started[-1]

    yield begin
    for shell in started:
        shell.terminal.close()


def test_keys_are_completed_and_lines_brought_back(start: Start) -> None:
    shell = start()
    shell.see_somewhere("What you type is kept in ")
    shell.see("shop ro>")
    shell.type("ge\t")
    shell.see("shop ro> get")
    shell.type(" use\t")
    shell.see_somewhere("shop ro> get user/")
    shell.type("0001\t")
    shell.see_somewhere("shop ro> get user/00010")
    shell.type("\t")
    shell.see_somewhere("shop ro> get user/00011")
    shell.type("\r")
    shell.see("shop ro> get user/00011", "name-11", "shop ro>")
    shell.type("get tw\t")
    shell.see('shop ro> get "two words"')
    shell.type("\r")
    shell.see("quoted", "shop ro>")
    shell.type("use s\t\r")
    shell.see("shop:sessions ro>")
    shell.type("get a\t")
    shell.see("shop:sessions ro> get abc")
    shell.type("\r")
    shell.see("here", "shop:sessions ro>")
    shell.type("\x04")
    assert shell.terminal.wait_for_end() == 0
    another = start("-c", "use")
    another.terminal.wait_for_end()
    another = start()
    another.see("shop ro>")
    another.type("\x1b[A")
    another.see("shop ro> get abc")
    another.type("\x1b[A\x1b[A")
    another.see('shop ro> get "two words"')
    another.type("\r")
    another.see("quoted", "shop ro>")


def test_ctrl_c_stops_a_scan_and_not_the_shell(start: Start) -> None:
    shell = start("--no-pager", "--no-history")
    shell.see("shop ro>")
    shell.type("scan --keys\r")
    shell.see_somewhere("user/0")
    shell.type("\x03")
    shown = shell.see("shop ro>")
    assert any("stopped" in line for line in shown[-4:])
    assert not any(f"user/{ROW_COUNT - 1}" in line for line in shown)
    shell.type("a line that was not meant\x03")
    shell.see("shop ro> a line that was not meant", "shop ro>")
    shell.type("get user/00001\r")
    shell.see("name-1", "shop ro>")
    shell.type("\x04")
    assert shell.terminal.wait_for_end() == 0


def test_a_result_that_is_longer_than_the_screen_is_paged(start: Start) -> None:
    shell = start(rows=24)
    shell.see("shop ro>")
    shell.type("scan --keys --limit 3\r")
    shell.see("user/00001", "shop ro>")
    shell.type("scan --keys\r")
    shell.see('"two words"', "user/00000", "user/00001", "user/00002", "(more)")
    shell.type("\r")
    shell.see("shop ro>")
    shell.type("get user/00003\r")
    shell.see("name-3", "shop ro>")


def test_writing_is_for_who_asks_for_it(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "small"
    with lsmkv.open(path) as db:
        db[b"a"] = b"1"
    shell = start("--no-history", database=path)
    shell.see("small ro>")
    shell.type("put a 2\r")
    shell.see(f"lsmkv shell {path} --rw", "small ro>")
    writer = start("--rw", "--no-history", database=path)
    writer.see("small rw>")
    writer.type("put a 'two\r")
    writer.see("small rw> put a 'two", "        >")
    writer.type("lines'\r")
    writer.see("        > lines'", "stored a (9 B)", "small rw>")
    writer.type("get \\\ra\r")
    writer.see("small rw> get \\", "        > a", "two\\nlines", "small rw>")
    shell.type("get a\r")
    shell.see("1", "small ro>")
    shell.type("refresh\r")
    shell.see("there is news", "small ro>")
    shell.type("get a\r")
    shell.see("two\\nlines", "small ro>")
