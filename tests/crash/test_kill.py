# SPDX-License-Identifier: Apache-2.0
"""Goal: a process that is killed at any moment loses no write that had returned.

Method: SIGKILL on the real file system, cycle after cycle on one directory. A child
writes batches from three threads; after the kill the directory is opened and every row
is compared with what the commits up to the recovered ones say (harness/ledger.py, and
tests/crash/kill.c for volume).
"""

from __future__ import annotations

import os
import random
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lsmkv
from harness.build import TESTS
from harness.crash import run_crash
from harness.ledger import ACK, THREADS, Ledger, head_key

PYTHON_KILLS = int(os.environ.get("LSMKV_PYTHON_KILLS", "40"))
C_KILLS = int(os.environ.get("LSMKV_C_KILLS", "300"))
SEED = int(os.environ.get("LSMKV_SEED", "1"))


def _read_reports(report: int, seconds: float, acknowledged: list[int]) -> None:
    """Take in reports for some time, or until the other end is closed."""
    end = time.monotonic() + seconds
    rest = b""
    while (left := end - time.monotonic()) > 0:
        if not select.select([report], [], [], left)[0]:
            return
        data = os.read(report, 1 << 16)
        if not data:
            return
        rest += data
        whole = len(rest) - len(rest) % ACK.size
        for thread, commit in ACK.iter_unpack(rest[:whole]):
            acknowledged[thread] = max(acknowledged[thread], commit)
        rest = rest[whole:]


def _write_and_kill(directory: Path, ledger: Ledger, rng: random.Random) -> list[int]:
    """Run a child for a random time; return the newest acknowledged commits."""
    acknowledged = list(ledger.heads)
    receive, send = os.pipe()
    command = [sys.executable, str(TESTS / "crash" / "kill_child.py"), str(directory)]
    command += [str(send), str(rng.randrange(1 << 30))]
    command += [str(ledger.heads[thread] + 1) for thread in range(THREADS)]
    child = subprocess.Popen(
        command,
        pass_fds=[send],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    os.close(send)
    try:
        if rng.random() < 0.9:  # else it may die while it opens
            select.select([receive], [], [], 20)
        _read_reports(receive, rng.random() * 0.1, acknowledged)
        child.send_signal(signal.SIGKILL)
        errors = child.communicate()[1]
        assert child.returncode == -signal.SIGKILL, errors.decode()
        _read_reports(receive, 20, acknowledged)
    finally:
        os.close(receive)
        child.kill()
        child.wait()
    return acknowledged


def _check(directory: Path, ledger: Ledger, acknowledged: list[int]) -> None:
    with lsmkv.open(directory) as db:
        for thread in range(THREADS):
            found = db.get(head_key(thread))
            head = 0 if found is None else struct.unpack("<Q", found)[0]
            # One more commit may have been on its way, or its report.
            assert acknowledged[thread] <= head <= acknowledged[thread] + 1
            ledger.advance(thread, head)
        rows = dict(db.items())
        assert rows.keys() == ledger.rows.keys()
        assert rows == ledger.rows


@pytest.mark.timeout(300)
def test_killed_python_writers_lose_no_acknowledged_batch(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    ledger = Ledger()
    for _ in range(PYTHON_KILLS):
        acknowledged = _write_and_kill(tmp_path / "db", ledger, rng)
        _check(tmp_path / "db", ledger, acknowledged)
    commits = sum(ledger.heads)
    print(f"seed={SEED} kills={PYTHON_KILLS} commits={commits} rows={len(ledger.rows)}")
    assert commits > PYTHON_KILLS


@pytest.mark.timeout(600)
def test_killed_c_writers_lose_no_acknowledged_batch(tmp_path: Path) -> None:
    counts = run_crash(
        ["kill", "--dir", str(tmp_path), "--seed", str(SEED), "--cycles", str(C_KILLS)]
    )
    assert counts["kills"] == C_KILLS
    assert counts["ops"] > C_KILLS
