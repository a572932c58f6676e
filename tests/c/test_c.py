# SPDX-License-Identifier: Apache-2.0
"""Goal: the layers of the engine keep their promises to one another.

Method: the unit tests in C (tests/c/test_*.c), run as one program under the address and
undefined-behaviour sanitizers. `make c-test` runs them optimised, `make coverage` as
they are, and `make tsan` those that start threads under the thread sanitizer.
"""

from __future__ import annotations

import re

import pytest

from harness.build import ASAN, build_unit
from harness.crash import run_program

TESTS_MIN = 100


@pytest.mark.timeout(900)
def test_every_c_unit_test_passes() -> None:
    output = run_program(build_unit(ASAN), [], timeout=600)
    last = output.splitlines()[-1]
    print(last)
    match = re.fullmatch(r"(\d+) passed, 0 failed", last)
    assert match is not None
    assert int(match[1]) >= TESTS_MIN
