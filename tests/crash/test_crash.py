# SPDX-License-Identifier: Apache-2.0
"""Goal: no crash, at any step, of any kind, loses or invents anything.

Method: the crash program (tests/crash/*.c) runs the engine on a simulated disk, crashes
copies of it, recovers them and compares the state with every prefix of the history. It
runs every step of scripted workloads, seeded random ones, some with failing calls or
allocations, and damages what is at rest; once optimised for volume and once under the
sanitizers. A failure prints the arguments that show it again: build/tests-*/crash-* is
the program.
"""

from __future__ import annotations

import os

import pytest

from harness.build import ASAN, TESTS
from harness.crash import run_crash

SEED = int(os.environ.get("LSMKV_SEED", "1"))
GATE_STATES = 40_000


def seeds(count: int) -> str:
    """Return a range of seeds that starts at a distance for each base seed."""
    first = SEED * 1_000_000
    return f"{first}..{first + count - 1}"


@pytest.mark.timeout(900)
def test_every_step_of_scripted_workloads_and_seeded_ones_survive_a_crash() -> None:
    steps = run_crash(["steps", "--seed", str(SEED)])
    simulated = run_crash(["sim", "--seeds", seeds(800)])
    assert steps["seeds"] >= 8
    assert steps["nested"] > 1000
    assert simulated["nested"] > 1000
    states = steps["states"] + simulated["states"]
    print(f"seed={SEED} states={states:.0f}")
    assert states >= GATE_STATES


@pytest.mark.timeout(600)
def test_io_errors_followed_by_a_crash_lose_nothing_acknowledged() -> None:
    counts = run_crash(["faults", "--seeds", seeds(800)])
    assert counts["failures"] > 1000
    assert counts["states"] > 30_000


@pytest.mark.timeout(600)
def test_a_lack_of_memory_at_any_allocation_changes_nothing() -> None:
    counts = run_crash(["alloc", "--seed", str(SEED), "--stride", "13"])
    assert counts["seeds"] >= 8
    assert counts["runs"] > 2500
    assert counts["failures"] > 30_000


@pytest.mark.timeout(600)
def test_a_failure_of_any_call_loses_nothing_and_poisons_only_where_it_must() -> None:
    counts = run_crash(["errors", "--seed", str(SEED), "--stride", "47"])
    assert counts["seeds"] >= 8
    assert counts["runs"] > 2500
    assert counts["failures"] > 30_000


@pytest.mark.timeout(600)
def test_damage_is_reported_and_never_read() -> None:
    counts = run_crash(["damage", "--seed", str(SEED), "--stride", "67"])
    assert counts["seeds"] >= 8
    assert counts["states"] > 30_000
    for version in sorted((TESTS / "golden").glob("v[0-9]*")):
        counts = run_crash(
            ["damage", "--seed", str(SEED), "--stride", "101", "--dir", str(version)]
        )
        assert counts["states"] > 5_000


@pytest.mark.timeout(900)
def test_crashes_are_clean_under_the_sanitizers() -> None:
    steps = run_crash(["steps", "--seed", str(SEED + 1), "--stride", "19"], ASAN)
    simulated = run_crash(["sim", "--seeds", seeds(50)], ASAN)
    faults = run_crash(["faults", "--seeds", seeds(50)], ASAN)
    alloc = run_crash(["alloc", "--seed", str(SEED + 1), "--stride", "113"], ASAN)
    assert alloc["runs"] > 200
    errors = run_crash(["errors", "--seed", str(SEED + 1), "--stride", "503"], ASAN)
    assert errors["runs"] > 200
    damage = run_crash(["damage", "--seed", str(SEED + 1), "--stride", "701"], ASAN)
    assert damage["states"] > 1500
    states = steps["states"] + simulated["states"] + faults["states"]
    print(f"seed={SEED + 1} states={states:.0f} under ASan and UBSan")
    assert states > 8000
