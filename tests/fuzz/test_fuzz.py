# SPDX-License-Identifier: Apache-2.0
"""Goal: no bytes on the disk crash the engine, make it wait, or pass for what they are
not.

Method: the fuzz program (tests/fuzz/*.c) under the sanitizers: every input of the
corpus, of which many were found by longer runs and some once failed, then some hundred
thousand others made of them. Once with checksums that mutations put right again, and
once in a build where every checksum agrees. `make fuzz-campaign` is the same for hours.
"""

from __future__ import annotations

import pytest

from harness.build import TESTS, build_fuzz
from harness.crash import read_counts, run_program

CORPUS = TESTS / "fuzz" / "corpus"
RUNS = 5000
# Those that unpack whole files take longer.
FEWER_RUNS = {"directory": 100, "manifest": 400, "table": 400, "values": 1000}
FEWER_RUNS |= {"cache": 2000, "log": 2000}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("checked", [True, False], ids=["mended", "unchecked"])
def test_hostile_bytes_are_answered(checked: bool) -> None:
    program = build_fuzz(checked=checked)
    targets = run_program(program, ["--list"], timeout=60).split()
    total = 0.0
    for target in targets:
        inputs = CORPUS / target
        runs = FEWER_RUNS.get(target, RUNS)
        arguments = [target, "--runs", str(runs), "--limit", "60", str(inputs)]
        counts = read_counts(run_program(program, arguments, timeout=300))
        files = len(list(inputs.iterdir()))
        assert files > 0
        assert counts["runs"] == runs + files
        total += counts["runs"]
    assert total > 90_000
