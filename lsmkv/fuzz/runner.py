# SPDX-License-Identifier: Apache-2.0
"""Keeps the processors busy with jobs of the parts until the time is up or one fails.

Every part gets the same share of the time. A seed decides all jobs and their order; how
far a run comes depends on the machine.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lsmkv.fuzz import script
from lsmkv.fuzz.engine import mutated
from lsmkv.fuzz.failure import Failure
from lsmkv.fuzz.jobs import Job, minimise
from lsmkv.fuzz.parts import PARTS, SEED_MAX, Figures

PROGRAM = "program"
Show = Callable[[Mapping[str, Figures], float], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What to run.

    Attributes:
        parts: Names of PARTS.
        seconds: For how long; the jobs that run then are waited for.
        seed: Decides everything but the time.
        jobs: How many at once; None: one for each processor.
        mutant: A mistake for the engine to make, which the run is to find; "": none.
    """

    parts: Sequence[str]
    seconds: float
    seed: int
    jobs: int | None = None
    mutant: str = ""


@dataclass(slots=True)
class Report:
    """What a run has done, and the first failure."""

    figures: dict[str, Figures] = field(default_factory=dict)
    seconds: float = 0.0
    failure: Failure | None = None
    part: str = ""


def _next_part(request: Request, spent: Mapping[str, float]) -> str:
    return min(request.parts, key=lambda name: (spent[name], request.parts.index(name)))


def run(request: Request, show: Show) -> Report:
    """Run jobs until the time is up; the first failure ends all, and is minimised.

    Args:
        request: What to run.
        show: Is told the figures of each part and the seconds gone, a few times each
            second. KeyboardInterrupt ends the run as if the time were up.
    """
    report = Report({name: Figures() for name in request.parts})
    spent = dict.fromkeys(request.parts, 0.0)
    draws = {name: random.Random(f"{request.seed} {name}") for name in request.parts}
    running: list[tuple[str, Job]] = []
    started = time.monotonic()
    try:
        while report.failure is None:
            over = time.monotonic() - started >= request.seconds
            while not over and len(running) < (request.jobs or os.cpu_count() or 1):
                name = _next_part(request, spent)
                arguments = PARTS[name].job(draws[name].randrange(SEED_MAX))
                running.append((name, Job(arguments, request.mutant)))
                spent[name] += 1.0  # until it is known; so that all begin
            if not running:
                break
            _collect(running, report, spent)
            report.seconds = time.monotonic() - started
            show(report.figures, report.seconds)
            time.sleep(0.1)
    except KeyboardInterrupt:
        pass
    finally:
        for _, job in running:
            job.stop()
    if report.failure is not None:
        report.failure = minimise(report.failure, request.mutant)
    return report


def _collect(
    running: list[tuple[str, Job]], report: Report, spent: dict[str, float]
) -> None:
    """Take the jobs that have ended."""
    for name, job in list(running):
        end = job.poll()
        if end is None:
            continue
        running.remove((name, job))
        seconds = job.seconds
        spent[name] += seconds - 1.0
        if isinstance(end, Failure):
            report.failure, report.part = end, name
            return
        report.figures[name] += PARTS[name].figures(end, seconds)


def write_script(failure: Failure, part: str) -> str:
    """Return the text to keep of a failure: what `replay` takes, and people read."""
    remarks = [f"# {part}: {failure.what.splitlines()[0]}"]
    if failure.script:
        return "\n".join(remarks) + "\n\n" + failure.script
    remarks += [f"# {line}" for line in failure.what.splitlines()[1:]]
    return "\n".join([*remarks, f"{PROGRAM} {failure.replay}"]) + "\n"


def replay(path: Path, mutant: str = "") -> str:
    """Run a kept failure again; returns what is wrong, "" if nothing is.

    Args:
        path: The file.
        mutant: As that of a request.

    Raises:
        script.ScriptError: The file is no script.
    """
    text = path.read_text()
    for line in text.splitlines():
        if line.startswith(f"{PROGRAM} "):
            end = Job(line.split()[1:], mutant).wait()
            return end.what if isinstance(end, Failure) else ""
    with mutated(mutant):
        return "\n".join(map(str, script.replay(text)))
