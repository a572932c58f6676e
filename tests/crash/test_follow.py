# SPDX-License-Identifier: Apache-2.0
"""Goal: processes that follow a writer see whole batches, in order and without delay,
whatever compactions delete under them, and whether the writer ends, is killed or starts
again.

Method: one writer and four followers on a real directory (follow_child.py has what they
write and check), the writer killed or ended every other second. A read or refresh that
fails ends the follower, but for a refresh that asks for another.
"""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.build import TESTS

SECONDS = float(os.environ.get("LSMKV_FOLLOW_SECONDS", "6"))
SEED = int(os.environ.get("LSMKV_SEED", "1"))
FOLLOWERS = 4
CHILD = [sys.executable, str(TESTS / "crash" / "follow_child.py")]


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*CHILD, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _await_batches(writer: subprocess.Popen[str], acks: Path, more: int) -> None:
    """Wait until the writer has written so many more batches."""
    begin = _acknowledged(acks)
    end = time.monotonic() + 60
    while _acknowledged(acks) < begin + more:
        assert writer.poll() is None, writer.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)


def _acknowledged(acks: Path) -> int:
    data = acks.read_bytes() if acks.exists() else b""
    return int(struct.unpack("<Q", data)[0]) if data else 0


def _end(writer: subprocess.Popen[str], *, kill: bool) -> None:
    if kill:
        writer.send_signal(signal.SIGKILL)
    _, errors = writer.communicate("end\n" if not kill else None, timeout=60)
    assert errors == ""
    assert writer.returncode == (-signal.SIGKILL if kill else 0)


@pytest.mark.timeout(300 + SECONDS)
def test_followers_see_whole_batches_of_a_busy_writer(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    path, acks = str(tmp_path / "db"), tmp_path / "acks"
    writer = _start("write", path, str(acks))
    _await_batches(writer, acks, 100)
    followers = [
        _start("follow", path, str(acks), str(SECONDS)) for _ in range(FOLLOWERS)
    ]
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        time.sleep(min(1 + 2 * rng.random(), SECONDS / 3))
        _end(writer, kill=rng.random() < 0.6)
        time.sleep(0.2 * rng.random())
        writer = _start("write", path, str(acks))
        _await_batches(writer, acks, 10)
    results = []
    for follower in followers:
        output, errors = follower.communicate(timeout=120)
        assert errors == ""
        results.append(json.loads(output))
    _end(writer, kill=False)
    print(_acknowledged(acks), results)
    for result in results:
        assert result["news"] > 0
        assert result["states"] > 0
