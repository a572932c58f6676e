# SPDX-License-Identifier: Apache-2.0
"""The parts of a run: which programs each consists of, and what their figures mean."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Counts = Mapping[str, float]
SECONDS = 8  # about, of one job
SEED_MAX = 1 << 40


@dataclass(frozen=True, slots=True)
class Figures:
    """What jobs of a part have done.

    Attributes:
        jobs: Processes that ran to their end.
        cases: Workloads, examples, damaged disks or rounds.
        states: Crashes that the database was recovered from and compared after.
        faults: Calls and allocations that were made to fail, and damaged disks.
        checks: Answers compared with what they must be.
        seconds: Of processes, not of a clock.
    """

    jobs: int = 0
    cases: int = 0
    states: int = 0
    faults: int = 0
    checks: int = 0
    seconds: float = 0.0

    def __add__(self, other: Figures) -> Figures:
        """Add what other jobs have done."""
        return Figures(
            self.jobs + other.jobs,
            self.cases + other.cases,
            self.states + other.states,
            self.faults + other.faults,
            self.checks + other.checks,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of check.

    Attributes:
        name: As --what takes it.
        help: What it shows.
        arguments: Returns those of lsmkv.fuzz.programs for one job, which takes some
            SECONDS; {dir} stands for an empty directory.
        cases: Names of the figures that count its cases.
        states: Likewise crashes, faults and checks.
    """

    name: str
    help: str
    arguments: Callable[[random.Random], str]
    cases: tuple[str, ...]
    states: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()

    def job(self, seed: int) -> list[str]:
        """Return the arguments of the job that a seed decides."""
        return self.arguments(random.Random(seed)).split()

    def figures(self, counts: Counts, seconds: float) -> Figures:
        """Read the closing line of a job."""

        def total(names: tuple[str, ...]) -> int:
            return int(sum(counts.get(name, 0) for name in names))

        return Figures(
            jobs=1,
            cases=total(self.cases),
            states=total(self.states),
            faults=total(self.faults),
            checks=total(self.checks),
            seconds=seconds,
        )


def _seeds(draw: random.Random) -> str:
    first = draw.randrange(1, SEED_MAX)
    return f"--seeds {first}..{first + 1_000_000} --seconds {SECONDS}"


def _crash(draw: random.Random) -> str:
    seed = draw.randrange(1, SEED_MAX)
    return draw.choice(
        [
            f"crash sim {_seeds(draw)}",
            f"crash sim {_seeds(draw)}",
            f"crash steps --seed {seed} --stride 19",
            f"crash kill --dir {{dir}} --seed {seed} --cycles 150",
        ]
    )


def _faults(draw: random.Random) -> str:
    seed = draw.randrange(1, SEED_MAX)
    return draw.choice(
        [
            f"crash faults {_seeds(draw)}",
            f"crash faults {_seeds(draw)}",
            f"crash errors --seed {seed} --stride 211",
            f"crash alloc --seed {seed} --stride 37",
        ]
    )


def _damage(draw: random.Random) -> str:
    return f"crash damage --seed {draw.randrange(1, SEED_MAX)} --stride 251"


def _model(draw: random.Random) -> str:
    return f"model --seed {draw.randrange(SEED_MAX)} --examples 50"


def _metamorphic(draw: random.Random) -> str:
    return f"metamorphic --seed {draw.randrange(SEED_MAX)} --commands 1500"


def _threads(draw: random.Random) -> str:
    seed = draw.randrange(1, SEED_MAX)
    return f"stress --dir {{dir}} --seconds {SECONDS} --seed {seed}"


PARTS: Mapping[str, Part] = {
    part.name: part
    for part in (
        Part(
            "model",
            "whatever the order of calls, answers are those of a dict",
            _model,
            cases=("examples",),
            states=("states",),
            faults=("failures",),
            checks=("commands",),
        ),
        Part(
            "crash",
            "power failures and killed processes lose nothing that was promised",
            _crash,
            cases=("seeds", "kills"),
            states=("states", "kills"),
            checks=("reads",),
        ),
        Part(
            "faults",
            "calls and allocations fail, and nothing acknowledged is lost",
            _faults,
            cases=("seeds", "runs"),
            states=("states",),
            faults=("failures",),
            checks=("reads",),
        ),
        Part(
            "damage",
            "changed, cut and missing files are reported and never read as right",
            _damage,
            cases=("states",),
            faults=("states",),
            checks=("reads",),
        ),
        Part(
            "metamorphic",
            "no option, flush, compaction or reopening changes an answer",
            _metamorphic,
            cases=("runs",),
            checks=("commands",),
        ),
        Part(
            "threads",
            "threads that do everything at once see one consistent history",
            _threads,
            cases=("rounds",),
            checks=("reads", "rows", "views", "cached", "published"),
        ),
    )
}
