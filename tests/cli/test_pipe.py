# SPDX-License-Identifier: Apache-2.0
"""Goal: a reader that goes away ends a command quietly, with the status for that.

Method: the command with a pipe that nobody reads any more.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lsmkv
from harness.terminal import ROOT
from lsmkv.cli.status import Status


@pytest.mark.parametrize(
    ("command", "options"),
    [("verify", ()), ("verify", ("--json",)), ("shell", ("-c", "help", "-c", "help"))],
    ids=["people", "json", "shell"],
)
def test_a_pipe_that_is_closed(
    path: Path, command: str, options: tuple[str, ...]
) -> None:
    lsmkv.open(path).close()
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "lsmkv.cli", command, path, *options],
        cwd=ROOT,
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=100,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr.strip()) == (Status.PIPE, b"")
