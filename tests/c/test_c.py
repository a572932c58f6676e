# SPDX-License-Identifier: Apache-2.0
"""Goal: the layers of the engine keep their promises to one another.

Method: the unit tests in C (tests/c/test_*.c), run as one program under the address and
undefined-behaviour sanitizers. `make c-test` runs them optimised, `make coverage` as
they are, and `make tsan` those that start threads under the thread sanitizer. Where
there is another compiler than gcc, it reads the engine, too.
"""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from harness.build import ASAN, CSRC, ROOT, build_unit
from harness.crash import run_program

TESTS_MIN = 100
# libFuzzer comes with the older one.
CLANGS = [path for path in map(shutil.which, ("clang", "clang-14")) if path is not None]


@pytest.mark.timeout(900)
def test_every_c_unit_test_passes() -> None:
    output = run_program(build_unit(ASAN), [], timeout=600)
    last = output.splitlines()[-1]
    print(last)
    match = re.fullmatch(r"(\d+) passed, 0 failed", last)
    assert match is not None
    assert int(match[1]) >= TESTS_MIN


@pytest.mark.skipif(not CLANGS, reason="there is no clang")
def test_clang_compiles_the_engine_without_a_warning() -> None:
    warnings = ["-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Werror"]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-DLSMKV_TESTING", "-Icsrc"]
    sources = [str(path) for path in sorted(CSRC.glob("*/*.c"))]
    done = subprocess.run(
        [CLANGS[-1], "-fsyntax-only", *flags, *warnings, *sources],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:4000]
