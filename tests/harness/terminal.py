# SPDX-License-Identifier: Apache-2.0
"""A terminal for tests: a program runs in it, and what a person would see is compared.

The program has a real pseudo-terminal; what it writes is drawn by pyte, which also
answers what the program asks the terminal. Nothing here waits for a fixed time.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pexpect  # type: ignore[import-untyped]
import pyte

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = 100
PATIENCE = 300  # seconds without a sign of life; only for what never comes


def environment(home: Path) -> dict[str, str]:
    """Make a new user's environment, with `lsmkv` and `python` of this tree."""
    programs = home / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    for name, arguments in {"lsmkv": "-m lsmkv.cli ", "python": ""}.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments}"$@"\n')
        program.chmod(0o755)
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "TZ": "UTC",
    }


class _Emulator(pyte.Screen):
    reply: Callable[[str], object] | None = None

    def write_process_input(self, data: str) -> None:
        """Send back what the program asked for."""
        if self.reply is not None:
            self.reply(data)


class Screen:
    """What the bytes that a program wrote look like.

    It is wider than the program believes, so that no line is cut in two, and lines that
    scrolled away are still there.
    """

    def __init__(self, reply: Callable[[str], object] | None = None) -> None:
        """Begin with nothing; `reply` takes what the terminal answers."""
        self._screen = _Emulator(1000, 1000)
        self._screen.reply = reply
        self._stream = pyte.ByteStream(self._screen)

    def feed(self, data: bytes) -> None:
        """Draw what a program wrote."""
        self._stream.feed(data)

    @property
    def lines(self) -> list[str]:
        """All lines, without the space on their right, and without empty ones below."""
        found: list[str] = []
        for number, row in sorted(self._screen.buffer.items()):
            line = "".join(row[at].data for at in range(max(row, default=-1) + 1))
            found += [""] * (number - len(found))
            found.append(line.rstrip())
        while found and not found[-1]:
            found.pop()
        return found


class Terminal:
    """A program in a terminal."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        rows: int = 1000,
    ) -> None:
        """Start it."""
        with warnings.catch_warnings():
            # Python warns of fork beside threads; the child only calls exec.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._child = pexpect.spawn(
                command[0],
                list(command[1:]),
                env=dict(env),
                cwd=str(cwd),
                dimensions=(rows, COLUMNS),
                timeout=PATIENCE,
            )
        self._child.delaybeforesend = None
        self.written = b""
        self.screen = Screen(self._child.send)
        self.is_over = False

    def type(self, text: str) -> None:
        """Press keys."""
        self._child.send(text)

    def wait_for(self, what: Callable[[list[str]], object], why: str = "") -> list[str]:
        """Wait until the lines of the screen are as they should be; return them."""
        deadline = time.monotonic() + PATIENCE
        while not what(self.screen.lines):
            if self.is_over or time.monotonic() > deadline:
                shown = "\n".join(self.screen.lines)
                raise AssertionError(f"never came: {why}\nthe screen:\n{shown}")
            if self._read():
                deadline = time.monotonic() + PATIENCE
        return self.screen.lines

    def wait_for_end(self) -> int:
        """Wait until the program is over; return its exit status."""
        self.wait_for(lambda lines: self.is_over, "the end of the program")
        self._child.close()
        if self._child.exitstatus is None:
            raise AssertionError(f"killed by signal {self._child.signalstatus}")
        return int(self._child.exitstatus)

    def close(self) -> None:
        """End the program, whatever it does."""
        self._child.close(force=True)

    def _read(self) -> bool:
        """Draw what there is; say whether there was anything."""
        try:
            data = self._child.read_nonblocking(4096, timeout=0.2)
        except pexpect.TIMEOUT:
            return False
        except pexpect.EOF:
            self.is_over = True
            return False
        self.written += data
        self.screen.feed(data)
        return True
