# SPDX-License-Identifier: Apache-2.0
"""Goal: the types that users see are right, and the stubs say what the modules have.

Method: mypy in strict mode over tests/typing/sample.py, whose assert_type calls hold or
fail it, and stubtest over the package.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sample_of_typical_use_has_the_types_it_asserts(tmp_path: Path) -> None:
    run("mypy", "--strict", "--cache-dir", tmp_path, "tests/typing/sample.py")


def test_mypy_would_find_a_wrong_type(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import lsmkv\nvalue: str = lsmkv.open('x').get(b'key', b'')\n")
    with pytest.raises(AssertionError, match="Incompatible types in assignment"):
        run("mypy", "--strict", "--cache-dir", tmp_path / "cache", wrong)


def test_the_stubs_match_the_modules() -> None:
    here = ROOT / "tests" / "typing"
    config = ("--mypy-config-file", here / "stubtest.ini")
    allow = ("--allowlist", here / "stubtest_allowlist.txt")
    run("mypy.stubtest", "lsmkv._core", "lsmkv._codec", *config, *allow)
