# SPDX-License-Identifier: Apache-2.0
"""Goal: what commands print depends on nothing but the commands.

Method: lists of commands from seeds, run plainly and under every option set with
insertions that must make no difference (lsmkv/fuzz/metamorphic.py); and an engine that
is made to err, by a test or a mutant of its own, which must be found and reduced to a
script that shows it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lsmkv.fuzz import metamorphic, script
from lsmkv.fuzz.drawn import Drawn, Standing
from lsmkv.fuzz.engine import Database, Range, Space, mutated, select_mutant
from lsmkv.fuzz.metamorphic import Runs
from lsmkv.fuzz.noops import OPTION_SETS, PLAIN, Inserter, Unit, can_stand
from lsmkv.fuzz.session import COMMANDS

DOCUMENT = Path(__file__).parents[2] / "docs" / "testing.md"
SEEDS = range(1, 13)
COMMAND_COUNT = 250


@pytest.mark.parametrize("seed", SEEDS)
def test_every_option_set_prints_what_the_plain_one_does(seed: int) -> None:
    failure = metamorphic.run(seed, commands=COMMAND_COUNT)
    assert failure is None, f"{failure.what}\n{failure.script}"


def test_runs_are_counted() -> None:
    before = Runs.commands, Runs.insertions, Runs.option_sets
    assert metamorphic.run(1, commands=40, option_sets=2) is None
    assert Runs.commands - before[0] == 40 * 3
    assert Runs.insertions > before[1]
    assert Runs.option_sets - before[2] == 2


def test_a_seed_gives_the_same_commands_and_insertions_twice() -> None:
    lines = Drawn(7).commands(400)
    assert len(lines) == 400
    assert lines == Drawn(7).commands(400) != Drawn(8).commands(400)
    for chosen in OPTION_SETS:
        one, two = (Inserter(chosen, "7").units(lines) for _ in range(2))
        assert one == two
        assert [unit.plain for unit in one if unit.plain] == lines
        assert can_stand(one)


def test_what_is_drawn_uses_what_there_is() -> None:
    drawn = {line.split()[0] for seed in SEEDS for line in Drawn(seed).commands(300)}
    inserted = {
        line.split()[0]
        for chosen in OPTION_SETS
        for unit in Inserter(chosen, "1").units(Drawn(1).commands(600))
        for line in unit.varied
        if not unit.plain or line.split()[0] != unit.plain.split()[0]
    }
    # What fails, what is damaged and what depends on the options is for other tests.
    others = {"fail", "heal", "quota", "flip", "remove", "state", "levels", "close"}
    others |= {"crash_in", "crashed", "jump", "starve", "cut", "write"}
    assert drawn | inserted == set(COMMANDS) - others
    assert not drawn & inserted


def test_option_sets_differ() -> None:
    every = [PLAIN, *OPTION_SETS]
    assert len(OPTION_SETS) >= 16
    assert len({chosen.name for chosen in every}) == len(every)
    given = [(sorted(one.given.items()), one.percent, one.kinds) for one in every]
    assert all(given.count(each) == 1 for each in given)


def test_the_documentation_names_the_option_sets() -> None:
    names = ", ".join(f"`{chosen.name}`" for chosen in OPTION_SETS)
    text = " ".join(DOCUMENT.read_text().split())
    assert f"The option sets, {len(OPTION_SETS)} of them: {names}." in text


def test_nothing_that_ends_handles_stands_where_some_are_open() -> None:
    reopen = Unit("", ("open",))
    snapshot, free = (Unit(f"{verb} a", (f"{verb} a",)) for verb in BOTH)
    assert can_stand([reopen, snapshot, free, reopen])
    assert not can_stand([snapshot, reopen, free])
    compact = Unit("", ("compact in=s",))
    space, drop = (Unit(f"{verb} s", (f"{verb} s",)) for verb in ("space", "drop"))
    assert can_stand([space, compact, drop])
    agree = Unit("", ("agree k snapshot=a in=s",))
    assert can_stand([space, snapshot, agree])
    assert not can_stand([space, agree, snapshot])
    assert not can_stand([space, drop, compact])
    assert not can_stand([Unit("get a", ("get a", "refresh", "get a follower=1"))])


BOTH = ("snapshot", "free_snapshot")


def test_standing_knows_what_is_open() -> None:
    standing = Standing()
    opened = (("snapshot a", "free_snapshot a"), ("cursor a", "free_cursor a"))
    for begin, end in (*opened, ("publish n v", "commit"), ("publish n v", "abort")):
        standing.note(begin)
        assert not standing.free
        standing.note(end)
        assert standing.free
    standing.note("follow")
    assert standing.follower
    standing.note("open")
    assert not standing.follower


def test_a_wrong_answer_is_found_and_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    compact = Database.compact

    def compact_and_lose(
        self: Database, bounds: Range = (None, None), space: Space | None = None
    ) -> None:
        compact(self, bounds, space)
        self.delete(b"key/001")

    monkeypatch.setattr(Database, "compact", compact_and_lose)
    failure = metamorphic.run(2, commands=200)
    assert failure is not None
    assert failure.what.startswith("seed 2, options ")
    commands = [line for part in script.parse(failure.script) for line in part.commands]
    names = [line.split()[0] for line in commands]
    assert "compact" in names, failure.script
    assert len(names) <= 5, failure.script
    assert all(len(line) < 80 for line in commands), failure.script
    assert len(script.replay(failure.script)) == 1
    monkeypatch.undo()
    assert script.replay(failure.script) == []


@pytest.mark.parametrize(
    "mutant",
    ["GET_MANY_IGNORES_EXPIRY", "GET_MANY_IGNORES_SNAPSHOT", "SCAN_IGNORES_EXPIRY"],
)
def test_ways_of_reading_that_do_not_agree_are_found_and_reduced(mutant: str) -> None:
    with mutated(mutant):
        failure = metamorphic.run(1, commands=250)
        assert failure is not None
        assert len(script.replay(failure.script)) == 1
    commands = [line for part in script.parse(failure.script) for line in part.commands]
    assert commands[-1].startswith("agree "), failure.script
    assert script.replay(failure.script) == []


def test_an_engine_that_knows_no_mutant_of_a_name_says_so() -> None:
    with pytest.raises(ValueError, match="NO_SUCH: no mutant is called that"):
        select_mutant("NO_SUCH")
