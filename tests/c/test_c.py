# SPDX-License-Identifier: Apache-2.0
"""Goal: the layers of the engine keep their promises to one another.

Method: the unit tests in C (tests/c/test_*.c), built optimised and run as one program.
`make asan` and `make tsan` run the same ones under the sanitizers.
"""

from __future__ import annotations

import re

import pytest

from harness.build import RELEASE, build_unit
from harness.crash import run_program

TESTS_MIN = 100


@pytest.mark.timeout(900)
def test_every_c_unit_test_passes() -> None:
    output = run_program(build_unit(RELEASE), [], timeout=600)
    last = output.splitlines()[-1]
    print(last)
    match = re.fullmatch(r"(\d+) passed, 0 failed", last)
    assert match is not None
    assert int(match[1]) >= TESTS_MIN
