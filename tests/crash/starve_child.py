# SPDX-License-Identifier: Apache-2.0
"""The process that runs out of memory: each case, with the n-th allocation failing.

Arguments: path of the module that tests/harness/failing.c makes, which has to be loaded
before all else (LD_PRELOAD); a directory to work in; how many n are left out, from 1
for none. What it is about to do is written to standard output, for whoever finds it
dead; the last line says how much was done.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib.util
import os
import re
import sys
import tempfile
import warnings
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import Any

from harness.starving import GROUPS, Case, World

# How many allocations fail in a row. Where an exception goes through code of others,
# one alone: where a second one fails, CPython 3.11 may crash, or try for ever.
COUNTS = (1, 5000)
FOREIGN_COUNTS = (1,)
DENSE = 40  # the first n are all tried
HANGS = 120  # seconds

# What the interpreter says when it finds no memory to close a generator, which is
# garbage by then, and when NumPy has found none while it took a buffer.
CLOSED = re.compile(
    r"SystemError: deallocated bytearray object has exported buffers\n|"
    r"Exception ignored in: <generator object .*>\n"
    r"(Traceback \(most recent call last\):\n(  .*\n)*)?MemoryError: ?\n"
)

counts = {"calls": 0, "failures": 0, "survived": 0, "foreign": 0}


def load(path: str) -> Any:
    """Load the module, whose library is there already."""
    spec = importlib.util.spec_from_file_location(
        "failing", loader=ExtensionFileLoader("failing", path)
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Errors:
    """What is written to standard error, where exceptions go that nobody can be told.

    There must be none: it would be an answer that is wrong in silence.
    """

    def __init__(self) -> None:
        """Begin to gather."""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, for as long as we live
        self._stderr = os.dup(2)
        os.dup2(self._file.fileno(), 2)
        faulthandler.enable(self._stderr)

    def watch(self) -> None:
        """End the process, and tell where it is, if nothing happens any more."""
        faulthandler.dump_traceback_later(HANGS, exit=True, file=self._stderr)

    def check(self, case: Case) -> None:
        """Assert that nothing was written."""
        if os.fstat(self._file.fileno()).st_size > 0:
            text = self.text()
            assert case.foreign, text
            assert CLOSED.sub("", text) == "", text
            self._file.seek(0)
            self._file.truncate()

    def text(self) -> str:
        """Return what was written."""
        return os.pread(self._file.fileno(), 1 << 20, 0).decode()

    def end(self) -> None:
        """Write it all to where it should have gone."""
        os.dup2(self._stderr, 2)
        sys.stderr.write(self.text())


class Starver:
    """Makes the calls of one world."""

    def __init__(self, failing: Any, world: World, errors: Errors, stride: int) -> None:
        """Take what is needed."""
        self.failing = failing
        self.world = world
        self.errors = errors
        self.stride = stride

    def run(self, case: Case, count: int) -> None:
        """Make a call again and again, until no allocation is left to fail."""
        self.errors.watch()
        case.reset()
        before = case.state()
        expected = case.shape(case.call())
        after = case.state()
        states = [before, after]
        n = 1
        while True:
            say(f"{case.name}: n={n} count={count}")
            case.reset()
            assert case.state() == before
            failed, answer = self.call(case, n, count)
            failures = self.failing.failures()
            if failed:
                assert failures > 0, "MemoryError, and there was memory"
                assert case.state() in states
                if case.retries:
                    assert case.shape(case.call()) == expected
            else:
                assert answer == expected, (answer, expected)
                assert case.state() == after
            # The interpreter keeps sixteen MemoryErrors for when there is no memory for
            # one, and dies if none is left: those in cycles have to go back.
            gc.collect()
            self.errors.check(case)
            self.world.check()
            counts["calls"] += 1
            counts["failures"] += failures
            counts["survived"] += failures > 0 and not failed
            if failures == 0:
                break
            n += 1 if n < DENSE else self.stride
        case.reset()
        self.world.check_all()

    def call(self, case: Case, n: int, count: int) -> tuple[bool, Any]:
        """Whether it failed, and what it returned."""
        try:
            answer = self.failing.call(case.call, n, count)
        except MemoryError:
            return True, None
        except Exception as error:
            if not case.allows(error):
                raise
            counts["foreign"] += 1
            return True, None
        return False, case.shape(answer)


def say(text: str) -> None:
    """Tell at once."""
    os.write(1, text.encode() + b"\n")


def main() -> None:
    """Make all calls."""
    module, directory, stride = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    only = sys.argv[4:]
    # A handle that a failure has dropped warns of that, rightly.
    warnings.simplefilter("ignore", ResourceWarning)
    gc.disable()
    errors = Errors()
    try:
        failing = load(module)
        world = World(directory)
        starver = Starver(failing, world, errors, stride)
        gc.freeze()
        for group in GROUPS:
            if only and group.__name__ not in only:
                continue
            for case in group(world):
                for count in FOREIGN_COUNTS if case.foreign else COUNTS:
                    starver.run(case, count)
        world.db.close()
    finally:
        errors.end()
    say(" ".join(["passed:", *(f"{name}={n}" for name, n in counts.items())]))


main()
