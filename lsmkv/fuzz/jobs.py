# SPDX-License-Identifier: Apache-2.0
"""Runs the programs of the harness, each in a process of its own, and reads their end.

A process is what a crash of the engine ends, and what a program that fails leaves with
everything as it was.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

from lsmkv.fuzz.failure import Failure
from lsmkv.fuzz.parts import Counts
from lsmkv.fuzz.reduce import reduce

PROGRAMS = "lsmkv.fuzz.programs"
SECONDS_MAX = 600  # a job that takes longer hangs
REDUCE_SECONDS = 60


@dataclass(slots=True)
class Job:
    """A program that runs; `mutant`: the mistake that the engine makes in it."""

    arguments: list[str]
    mutant: str = ""
    started: float = field(init=False)
    _directory: tempfile.TemporaryDirectory[str] = field(init=False)
    _output: IO[str] = field(init=False)
    _process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        """Start it."""
        self._directory = tempfile.TemporaryDirectory(prefix="lsmkv-fuzz-")
        self._output = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self.started = time.monotonic()
        directory = self._directory.name
        words = [word.replace("{dir}", directory) for word in self.arguments]
        words += ["--mutant", self.mutant] if self.mutant else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", PROGRAMS, *words],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.started

    def poll(self) -> Counts | Failure | None:
        """Return its figures or what went wrong; None while it runs."""
        status = self._process.poll()
        if status is None:
            if self.seconds < SECONDS_MAX:
                return None
            self._process.kill()
            self._process.wait()
            text = f"it hangs: no end after {SECONDS_MAX} seconds"
            return self._end(Failure(text, replay=" ".join(self.arguments)))
        self._output.seek(0)
        return self._end(read_end(self.arguments, status, self._output.read()))

    def stop(self) -> None:
        """End it before its time."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._end(None)

    def wait(self) -> Counts | Failure:
        """Wait for its end."""
        while (end := self.poll()) is None:
            time.sleep(0.02)
        return end

    def _end(self, end: Counts | Failure | None) -> Counts | Failure | None:
        self._output.close()
        self._directory.cleanup()
        return end


def read_end(arguments: Sequence[str], status: int, output: str) -> Counts | Failure:
    """Read what a program has printed: its figures, or what went wrong."""
    lines = output.strip().splitlines() or [""]
    if status == 0 and lines[-1].startswith("passed:"):
        pairs = (item.split("=", 1) for item in lines[-1].split()[1:])
        return {name: float(value) for name, value in pairs}
    replay = " ".join(arguments)
    _, mark, failed = output.partition("FAILED: ")
    if mark and status == 1:
        what, _, script = failed.partition("\nscript:\n")
        for line in failed.splitlines():
            if line.startswith("replay: "):
                replay = line.removeprefix("replay: ")
        return Failure(what.strip(), script, "" if script else replay)
    how = f"status {status}"
    if status < 0:
        how = f"signal {signal.Signals(-status).name}"
    tail = "\n".join(lines[-40:])
    return Failure(f"the process ended with {how}\n{tail}", replay=replay)


def minimise(
    failure: Failure, mutant: str = "", *, seconds: float = REDUCE_SECONDS
) -> Failure:
    """Leave out operations of a simulated run that it fails without, too."""
    words = failure.replay.split()
    ran = [line for line in failure.what.splitlines() if line.startswith("ran: ")]
    if words[:2] not in (["crash", "sim"], ["crash", "faults"]) or not ran:
        return failure
    found = {"": failure}

    def fails(numbers: list[int]) -> bool:
        end = Job([*words, "--only", _spans(numbers)], mutant).wait()
        if isinstance(end, Failure):
            found[""] = end
            return True
        return False

    operations = _numbers(ran[0].removeprefix("ran: "))
    kept = reduce(operations, fails, seconds=seconds)
    if len(kept) == len(operations):
        return failure
    replay = " ".join([*words, "--only", _spans(kept)])
    return Failure(found[""].what, replay=replay)


def _numbers(spans: str) -> list[int]:
    numbers: list[int] = []
    for span in spans.split(","):
        first, _, last = span.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _spans(numbers: Sequence[int]) -> str:
    """Write numbers as --only takes them; one that there is not stands for none."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] + 1 == number:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    if not spans:
        return "999999999"
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)
