# SPDX-License-Identifier: Apache-2.0
"""Goal: the types that users see are right, and the stubs say what the modules have.

Method: mypy in strict mode over tests/typing/sample.py, whose assert_type calls hold or
fail it, and stubtest over the package.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lsmkv
from lsmkv import _native

ROOT = Path(__file__).parents[2]
INSTALLED = Path(lsmkv.__file__).parents[1]


def run(here: Path, *command: object) -> None:
    """Run a module of mypy away from the repository and what is configured there."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=here,
        env={**os.environ, "MYPYPATH": str(ROOT), "PYTHONPATH": str(INSTALLED)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sample_of_typical_use_has_the_types_it_asserts(tmp_path: Path) -> None:
    run(tmp_path, "mypy", "--strict", ROOT / "tests" / "typing" / "sample.py")


def test_mypy_would_find_a_wrong_type(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import lsmkv\nvalue: str = lsmkv.open('x').get(b'key', b'')\n")
    with pytest.raises(AssertionError, match="Incompatible types in assignment"):
        run(tmp_path, "mypy", "--strict", wrong)


def test_the_stubs_match_the_modules(tmp_path: Path) -> None:
    allowed = ROOT / "tests" / "typing" / "stubtest_allowlist.txt"
    modules = [f"lsmkv.{name}" for name in _native.MODULES]
    run(tmp_path, "mypy.stubtest", *modules, "--allowlist", allowed)
