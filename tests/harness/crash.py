# SPDX-License-Identifier: Apache-2.0
"""Runs the crash program and reads its closing line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.build import (
    Variant,
    build_crash,
    build_stress,
)

SANITIZER_ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


class CrashFailureError(AssertionError):
    """A check of the crash program failed; the text has what replays it."""


def run_program(
    program: Path, arguments: Sequence[str], timeout: float, **environment: str
) -> str:
    """Run a test program; return its output, or raise with all of it."""
    done = subprocess.run(
        [str(program), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env={"PATH": "/usr/bin:/bin", **SANITIZER_ENVIRONMENT, **environment},
    )
    if done.returncode != 0:
        command = " ".join([str(program), *arguments])
        raise CrashFailureError(
            f"{command}\nended with {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def read_counts(output: str) -> dict[str, float]:
    """Return the figures of the closing line."""
    last = output.strip().splitlines()[-1]
    if not last.startswith("passed: "):
        raise CrashFailureError(f"no closing line:\n{output}")
    pairs = (item.split("=", 1) for item in last.split()[1:])
    return {name: float(value) for name, value in pairs}


def run_shipped(
    name: str, arguments: Sequence[str], timeout: float = 900
) -> dict[str, float]:
    """Run a program that lsmkv.fuzz ships, print what it said, return its figures."""
    command = ["-m", "lsmkv.fuzz.programs", name, *arguments]
    path = os.environ.get("PYTHONPATH", "")
    output = run_program(Path(sys.executable), command, timeout, PYTHONPATH=path)
    print(output, end="")
    return read_counts(output)


def _run_built(
    program: Path, arguments: Sequence[str], timeout: float
) -> dict[str, float]:
    """Do the same with a program that was built for the tests."""
    output = run_program(program, arguments, timeout)
    print(output, end="")
    return read_counts(output)


def run_crash(
    arguments: Sequence[str], variant: Variant | None = None, timeout: float = 900
) -> dict[str, float]:
    """Run the crash program, as it is shipped or in a variant; its figures."""
    if variant is None:
        return run_shipped("crash", arguments, timeout)
    return _run_built(build_crash(variant), arguments, timeout)


def run_stress(
    arguments: Sequence[str], variant: Variant | None = None, timeout: float = 900
) -> dict[str, float]:
    """Run the stress program, as it is shipped or in a variant; its figures."""
    if variant is None:
        return run_shipped("stress", arguments, timeout)
    return _run_built(build_stress(variant), arguments, timeout)
