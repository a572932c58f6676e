# SPDX-License-Identifier: Apache-2.0
"""Goal: threads that write, read, scan, hold snapshots, maintain and close at once see
one consistent history, and ThreadSanitizer sees no race.

Method: tests/c/stress.c, which knows for every read the versions it may find.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.build import TSAN
from harness.crash import run_stress

SECONDS = int(os.environ.get("LSMKV_STRESS_SECONDS", "20"))
SEED = int(os.environ.get("LSMKV_SEED", "1"))


@pytest.mark.timeout(600)
def test_concurrent_calls_agree_under_thread_sanitizer(tmp_path: Path) -> None:
    arguments = ["--dir", str(tmp_path), "--seconds", str(SECONDS)]
    counts = run_stress([*arguments, "--seed", str(SEED)], TSAN)
    assert counts["rounds"] > 3
    assert min(counts["writes"], counts["reads"], counts["rows"]) > 1000
    assert counts["snapshots"] > 0
    assert counts["maintenance"] > 0
