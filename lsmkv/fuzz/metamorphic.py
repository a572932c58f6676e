# SPDX-License-Identifier: Apache-2.0
"""Metamorphic runs: what commands print depends on nothing but the commands.

A list of commands from a seed is run on a plain database, in which all stays in one
memtable, and then under each of OPTION_SETS with insertions that must make no
difference (noops.py). No model says what is right; the runs must only agree, line by
line. Where two do not, the list is reduced to a short script. The method is that of the
metamorphic tests of CockroachDB's Pebble.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from lsmkv.fuzz.drawn import Drawn
from lsmkv.fuzz.engine import live_allocations
from lsmkv.fuzz.failure import Failure
from lsmkv.fuzz.noops import (
    OPTION_SETS,
    PLAIN,
    Inserter,
    OptionSet,
    Unit,
    can_stand,
    opening,
)
from lsmkv.fuzz.notation import show, split
from lsmkv.fuzz.reduce import REDUCE_SECONDS_MAX, reduce
from lsmkv.fuzz.script import Paragraph, write
from lsmkv.fuzz.session import TINY, Session


class Runs:
    """What was done so far, in this process."""

    commands: ClassVar[int] = 0  # the plain runs included
    insertions: ClassVar[int] = 0
    option_sets: ClassVar[int] = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a run printed something else than the plain one."""

    unit: int
    line: str
    expected: list[str]
    found: list[str]

    def __str__(self) -> str:
        """Say what."""
        return f"{self.line}: plainly {self.expected}, but {self.found}"


def run(seed: int, *, commands: int, option_sets: int | None = None) -> Failure | None:
    """Run commands from a seed; None: all runs printed the same.

    Args:
        seed: Decides the commands and what is inserted.
        commands: How many; those that are inserted come on top.
        option_sets: How many of OPTION_SETS, from one on that the seed decides; None:
            all.
    """
    lines = Drawn(seed).commands(commands)
    plain = run_plainly(lines)
    count = len(OPTION_SETS) if option_sets is None else option_sets
    for number in range(count):
        chosen = OPTION_SETS[(seed + number) % len(OPTION_SETS)]
        units = Inserter(chosen, f"{seed}/{chosen.name}").units(lines)
        Runs.option_sets += 1
        live = live_allocations()
        found = difference(units, chosen.given, _beside(units, plain))
        if found is not None:
            return _failure(seed, chosen, units[: found.unit + 1], found)
        if live_allocations() != live:
            what = f"seed {seed}, options {chosen.name}: allocations were not freed"
            return Failure(what)
    return None


def run_plainly(lines: Sequence[str]) -> list[list[str]]:
    """Return what each of some commands prints under the plain options."""
    session = Session()
    try:
        session.run(opening(PLAIN.given))
        Runs.commands += len(lines)
        return [session.run(line) for line in lines]
    finally:
        session.end()


def _beside(units: Sequence[Unit], plain: Sequence[list[str]]) -> list[list[str]]:
    """Return for each unit what its command printed plainly."""
    left = iter(plain)
    return [next(left) if unit.plain else [] for unit in units]


def _plainly(units: Sequence[Unit]) -> list[list[str]]:
    return _beside(units, run_plainly([unit.plain for unit in units if unit.plain]))


def difference(
    units: Sequence[Unit], options: Mapping[str, int], plain: Sequence[list[str]]
) -> Difference | None:
    """Run units under options and return where they first differ."""
    session = Session()
    try:
        found = session.run(opening(options))
        if found:
            return Difference(0, "open", [], found)
        for number, unit in enumerate(units):
            for line in unit.varied:
                found = session.run(line)
                expected = unit.expected(line, plain[number])
                if expected is not None and found != expected:
                    return Difference(number, line, expected, found)
            Runs.commands += bool(unit.plain)
            Runs.insertions += len(unit.varied) - bool(unit.plain)
    finally:
        session.end()
    return None


def _failure(
    seed: int, chosen: OptionSet, units: list[Unit], found: Difference
) -> Failure:
    options = dict(chosen.given)

    def differs(candidate: Sequence[Unit]) -> bool:
        if not can_stand(candidate):
            return False
        return difference(candidate, options, _plainly(candidate)) is not None

    if differs(units):  # else it takes more than these commands
        units = reduce(units, differs, seconds=REDUCE_SECONDS_MAX)
        units = _with_short_batches(units, differs, REDUCE_SECONDS_MAX)
        for name in list(options):
            value = options.pop(name)
            if value != TINY.get(name) and not differs(units):
                options[name] = value
        found = difference(units, options, _plainly(units)) or found
    what = f"seed {seed}, options {chosen.name}: {found}"
    return Failure(what, _script(units, options, f"# {what}"))


def _with_short_batches(
    units: list[Unit], differs: Callable[[Sequence[Unit]], bool], seconds: float
) -> list[Unit]:
    """Leave records out of the batches that are left."""

    def replaced(number: int, records: Sequence[str]) -> list[Unit]:
        line = " ".join(["batch", *records])
        return [*units[:number], Unit(line, (line,)), *units[number + 1 :]]

    for number, unit in enumerate(units):
        if not unit.plain.startswith("batch "):
            continue
        fails = partial(_fails, differs, partial(replaced, number))
        records = _records(unit.plain)
        if fails(records):  # also without sync=
            units = replaced(number, reduce(records, fails, seconds=seconds))
    return units


def _fails(
    differs: Callable[[Sequence[Unit]], bool],
    replaced: Callable[[Sequence[str]], list[Unit]],
    records: Sequence[str],
) -> bool:
    return differs(replaced(records))


def _records(line: str) -> list[str]:
    """Return the records of a batch."""
    words = iter([show(word) for word in split(line)[0]][1:])
    sizes = {"put": 2, "delete": 1, "delete_range": 2}
    return [
        " ".join([what, *(next(words) for _ in range(sizes[what]))]) for what in words
    ]


def _script(units: Sequence[Unit], options: Mapping[str, int], remark: str) -> str:
    """Write units with what they must print; what may differ, as it was found."""
    paragraphs: list[Paragraph] = [Paragraph(1, [remark], [opening(options)])]
    session = Session()
    try:
        session.run(opening(options))
        for line, expected in _expected_lines(units):
            found = session.run(line)
            if paragraphs[-1].expected:
                paragraphs.append(Paragraph(0))
            paragraphs[-1].commands.append(line)
            paragraphs[-1].expected = found if expected is None else expected
    finally:
        session.end()
    return write(paragraphs)


def _expected_lines(
    units: Sequence[Unit],
) -> Iterator[tuple[str, list[str] | None]]:
    for unit, plain in zip(units, _plainly(units), strict=True):
        for line in unit.varied:
            yield line, unit.expected(line, plain)
