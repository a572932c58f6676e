# SPDX-License-Identifier: Apache-2.0
"""What a command prints, through a pager if it is more than the screen holds.

The pager is fed while the command runs: a result without end does not fill the memory,
and leaving the pager stops the command.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from typing import BinaryIO


class _LeftError(Exception):
    """The pager was left before the result was at its end."""


class _Screenful(io.RawIOBase):
    """Holds what is written until it is more than the screen holds; then pages it."""

    def __init__(self, out: BinaryIO, pager: Sequence[str]) -> None:
        self._out = out
        self._pager = pager
        self._columns, self._rows = shutil.get_terminal_size()
        self._held = bytearray()
        self._row_count = 1  # the prompt's
        self._is_left = False
        self._process: subprocess.Popen[bytes] | None = None

    def writable(self) -> bool:
        """Tell that this is for writing."""
        return True

    def isatty(self) -> bool:
        """Tell that colours are welcome: the pager shows them."""
        return True

    def write(self, data: object) -> int:
        """Hold it, or give it to the pager."""
        assert isinstance(data, bytes | bytearray | memoryview)
        block = bytes(data)
        if self._process is None:
            self._held += block
            self._row_count += sum(
                1 + len(line) // self._columns for line in block.split(b"\n")[:-1]
            )
            if self._row_count <= self._rows:
                return len(block)
            block, size = bytes(self._held), len(block)
            self._held.clear()
            self._process = _start(self._pager)
            self._give(block)
            return size
        self._give(block)
        return len(block)

    def _give(self, block: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        if self._is_left:
            return
        try:
            self._process.stdin.write(block)
            self._process.stdin.flush()
        except BrokenPipeError:
            self._is_left = True
            raise _LeftError from None

    def end(self) -> None:
        """Print what was held, or wait until the pager is left."""
        if self._process is None:
            self._out.write(self._held)
            self._out.flush()
            return
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        while True:
            try:
                self._process.wait()
                return
            except KeyboardInterrupt:
                continue  # it is for the pager, which has it too


def _start(pager: Sequence[str]) -> subprocess.Popen[bytes]:
    environment = {"LESS": "R", **os.environ}
    return subprocess.Popen(pager, stdin=subprocess.PIPE, env=environment)


def find() -> list[str]:
    """Return the user's pager, or none."""
    words = shlex.split(os.environ.get("PAGER", "less"))
    if os.environ.get("TERM") == "dumb" or not words or shutil.which(words[0]) is None:
        return []
    return words


@contextmanager
def paged(pager: Sequence[str]) -> Iterator[None]:
    """Page what is printed meanwhile; an empty `pager` does nothing."""
    if not pager:
        yield
        return
    screenful = _Screenful(sys.stdout.buffer, pager)
    out = io.TextIOWrapper(io.BufferedWriter(screenful), "utf-8", write_through=True)
    try:
        with redirect_stdout(out):
            yield
    except _LeftError:
        pass
    finally:
        with suppress(_LeftError):
            out.flush()
        screenful.end()
