# SPDX-License-Identifier: Apache-2.0
"""Goal: no branch is left out of the coverage of the engine that should be in it.

Method: what gcov tells of a line, made up, beside the text of that line.
"""

from __future__ import annotations

import pytest

from c_coverage import MarkerError, Tally, tally_of


def tally(text: str, *taken: int) -> Tally:
    branches = [{"count": count} for count in taken]
    line = {"line_number": text.count("\n") + 1, "count": 1, "branches": branches}
    return tally_of("csrc/db/x.c", text, [line])


def test_a_branch_not_taken_is_a_miss() -> None:
    got = tally("    LSM_TRY(f());", 7, 0)
    assert (got.branches, got.branches_hit, got.misses) == (2, 1, {1: 1})


def test_branches_of_an_assertion_are_left_out() -> None:
    assert tally("    LSM_ASSERT(a &&\n  b);", 1, 0).branches == 0


def test_a_failure_need_not_succeed_but_must_happen() -> None:
    text = "    LSM_TRY(lsm_fail_memory(err, 1));"
    assert (tally(text, 0, 3).branches, tally(text, 0, 3).misses) == (1, {})
    assert tally(text, 0, 0).misses == {1: 2}


@pytest.mark.parametrize(
    "text",
    [
        "    LSM_TRY(f()); /* unreachable: f has room */",
        "    /* unreachable: f has\n     * room */\n    LSM_TRY(f());",
    ],
)
def test_branches_not_taken_on_a_marked_line_are_left_out(text: str) -> None:
    got = tally(text, 7, 0)
    assert (got.branches, got.branches_hit, got.misses) == (1, 1, {})
    assert len(got.marked) == 1


@pytest.mark.parametrize(
    ("text", "taken", "missed"),
    [
        ("    if (a && !LSM_MUTANT(X)) {", (3, 4, 7, 0), 0),
        ("    if (a && !LSM_MUTANT(X)) {", (3, 0, 7, 0), 1),
        ("    x = LSM_MUTANT(X) && f(a, b) && !c;", (0, 7, 0, 0, 0, 0), 0),
        ("    x = (LSM_MUTANT(X) && a) || b;", (0, 7, 0, 0, 7, 0), 1),
        ("    if (!(LSM_MUTANT(X) &&\n        a.b[C] == d)) {", (0, 0), 0),
        ("    if (LSM_MUTANT(X) ||\n        a) {", (3, 0), 1),
    ],
)
def test_what_only_a_mutant_comes_to_is_left_out(
    text: str, taken: tuple[int, ...], missed: int
) -> None:
    assert sum(tally(text, *taken).misses.values()) == missed


@pytest.mark.parametrize("counts", [(7, 1), ()])
def test_a_marked_line_without_a_branch_not_taken_is_refused(
    counts: tuple[int, ...],
) -> None:
    with pytest.raises(MarkerError):
        tally("    LSM_TRY(f()); /* unreachable: f has room */", *counts)


@pytest.mark.parametrize("marker", ["unreachable", "unreachable:", "unreachable - no"])
def test_a_marker_without_a_reason_is_refused(marker: str) -> None:
    with pytest.raises(MarkerError):
        tally(f"    LSM_TRY(f()); /* {marker} */", 7, 0)
