# SPDX-License-Identifier: Apache-2.0
"""Goal: threads that write, read, scan, hold snapshots, maintain and close at once see
one consistent history, without a race and without a use of freed memory.

Method: tests/c/stress*.c, which knows for every read the versions it may find, as it is
shipped and under AddressSanitizer. `make stress` runs it under ThreadSanitizer.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.build import ASAN, Variant
from harness.crash import run_stress

SECONDS = int(os.environ.get("LSMKV_STRESS_SECONDS", "12"))
SEED = int(os.environ.get("LSMKV_SEED", "1"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("variant", [None, ASAN], ids=["shipped", "asan"])
def test_concurrent_calls_agree(tmp_path: Path, variant: Variant | None) -> None:
    arguments = ["--dir", str(tmp_path), "--seconds", str(SECONDS)]
    counts = run_stress([*arguments, "--seed", str(SEED)], variant)
    assert counts["rounds"] > 3
    assert min(counts["writes"], counts["reads"], counts["rows"]) > 1000
    assert counts["snapshots"] > 0
    assert counts["maintenance"] > 0
    assert min(counts["touches"], counts["passing"], counts["held"]) > 100
    assert min(counts["views"], counts["checkpoints"], counts["spaces"]) > 0
    assert min(counts["cached"], counts["published"]) > 100
    assert min(counts["publishes"], counts["refreshes"]) > 0
