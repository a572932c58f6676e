# SPDX-License-Identifier: Apache-2.0
"""Goal: a lack of memory, wherever it comes, is a MemoryError or makes no difference.

Method: starve_child.py makes every call of the public interface again and again, each
time with another allocation failing, of the interpreter or of the engine as it ships,
until none is left to fail. With memory back, nothing may be held or lost. The module
that fails them stands in front of the C library's; see tests/harness/failing.c.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from harness.build import ROOT, TESTS, build_failing
from harness.crash import read_counts

CHILD = TESTS / "crash" / "starve_child.py"
STRIDE = int(os.environ.get("LSMKV_STARVE_STRIDE", "13"))


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="takes the place of glibc's"
)
@pytest.mark.timeout(1200)
def test_without_memory_a_call_fails_as_such_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    module = build_failing()
    done = subprocess.run(
        [sys.executable, str(CHILD), str(module), str(tmp_path), str(STRIDE)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "LD_PRELOAD": str(module),
            "PYTHONMALLOC": "malloc",
            "PYTHONPATH": f"{ROOT}:{TESTS}",
        },
    )
    last = "\n".join(done.stdout.splitlines()[-3:])
    assert done.returncode == 0, f"{done.returncode} after\n{last}\n{done.stderr}"
    print(last)
    counts = read_counts(done.stdout)
    assert counts["calls"] > 2000
    assert counts["failures"] > counts["calls"]
    assert counts["foreign"] < counts["calls"] / 20
