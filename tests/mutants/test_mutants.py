# SPDX-License-Identifier: Apache-2.0
"""Goal: the tests notice mistakes of the kind that engines like this one have had.

Method: the testing build makes one mistake on purpose (csrc/base/mutant.h), and the
check that table.py names must find it: by what it is there to find, and in no more than
ten times the cases that it took when the mutant was added.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from harness.build import ASAN, CSRC, TESTS, build_unit
from harness.crash import run_program
from lsmkv import _core
from lsmkv.fuzz import _native
from mutants import table
from mutants.table import MUTANTS, Mutant

MUTANTS_MIN = 40


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_killed_within_its_budget(mutant: Mutant, tmp_path: Path) -> None:
    outcome = table.run(mutant, tmp_path)
    print(f"{mutant.name}: {outcome.cases} cases of {mutant.budget}")
    assert outcome.killed, f"survived {mutant.killer}:\n{outcome.output[-3000:]}"
    assert outcome.cases <= mutant.budget


def test_every_mutant_of_the_engine_is_in_the_table_once() -> None:
    assert [mutant.name for mutant in MUTANTS] == list(table.effects())
    assert len(MUTANTS) >= MUTANTS_MIN


def test_every_mutant_is_switched_somewhere_in_the_engine() -> None:
    sources = "".join(path.read_text() for path in CSRC.glob("*/*.c"))
    switched = set(re.findall(r"\bLSM_MUTANT\(\s*(\w+)\s*\)", sources))
    assert switched == set(table.effects())


def test_the_document_has_the_table() -> None:
    """`python -m mutants.table --write`, with PYTHONPATH=tests, renews it."""
    assert table.split_document()[1] == table.document(MUTANTS)


def test_the_commands_are_parts_of_what_is_run_without_a_mutant() -> None:
    crash = (TESTS / "crash" / "test_crash.py").read_text()
    for name, stride in table.STRIDES.items():
        given = "" if stride == 1 else f', "--stride", "{stride}"'
        assert f'run_crash(["{name}", "--seed", str(SEED){given}])' in crash
    for name in ("sim", "faults"):
        assert f'run_crash(["{name}", "--seeds", seeds(800)])' in crash
    assert "first = SEED * 1_000_000" in crash
    units = set(run_program(build_unit(ASAN), ["--list"], 60).split())
    named = {m.killer for m in MUTANTS if re.fullmatch(r"\w+_\w+", m.killer)}
    assert named
    assert named <= units


def test_the_names_of_workloads_are_those_of_the_crash_program() -> None:
    workloads = (TESTS / "crash" / "workloads.c").read_text()
    listed = workloads.partition("const workload workloads[]")[2]
    assert tuple(re.findall(r'\{"([^"]+)"', listed)) == table.WORKLOADS


def test_a_release_knows_no_mutants() -> None:
    name = b"NO_DIR_SYNC_AFTER_RENAME"
    assert name in Path(inspect.getfile(_native)).read_bytes()
    release = Path(inspect.getfile(_core)).read_bytes()
    assert name not in release
    assert b"lsm_mutant" not in release
