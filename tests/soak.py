# SPDX-License-Identifier: Apache-2.0
"""Runs what is too long for the gate with fresh seeds until the time is up: the sweeps
in full, the sanitizers, killed processes. `lsmkv fuzz` is the short way to the rest.

    python tests/soak.py --minutes 20 [--seed N]

Rounds of one part after another; each prints its figures as it ends. The first failure
prints what replays it and ends with status 1; else the totals are printed.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable

from harness.build import ASAN, ROOT, TSAN
from harness.crash import CrashFailureError, run_crash, run_shipped, run_stress

Totals = Counter[str]


def _seed_range(seed: int, count: int) -> str:
    return f"{seed * 100_000}..{seed * 100_000 + count - 1}"


def _crash(*arguments: str, sanitize: bool = False) -> Totals:
    variant = ASAN if sanitize else None
    counts = run_crash(arguments, variant, timeout=3600)
    return Counter({name: int(counts[name]) for name in counts if name != "seconds"})


def run_steps(seed: int) -> Totals:
    """Crash every step of the scripted workloads."""
    return _crash("steps", "--seed", str(seed))


def run_sim(seed: int) -> Totals:
    """Crash seeded workloads for a minute."""
    seeds = _seed_range(seed, 100_000)
    return _crash("sim", "--seeds", seeds, "--seconds", "60")


def run_faults(seed: int) -> Totals:
    """Inject I/O errors for half a minute."""
    seeds = _seed_range(seed, 100_000)
    return _crash("faults", "--seeds", seeds, "--seconds", "30")


def run_alloc(seed: int) -> Totals:
    """Let allocations fail, all of them in turn as far as a minute and a half reach."""
    return _crash("alloc", "--seed", str(seed), "--seconds", "90")


def run_errors(seed: int) -> Totals:
    """Let calls of the system fail, all of them in turn in every way."""
    return _crash("errors", "--seed", str(seed), "--seconds", "300")


def run_damage(seed: int) -> Totals:
    """Damage bits and files of what the workloads leave, and of golden databases."""
    totals = _crash("damage", "--seed", str(seed), "--stride", "11")
    for version in sorted((ROOT / "tests" / "golden").glob("v[0-9]*")):
        arguments = ["damage", "--seed", str(seed), "--stride", "7"]
        counts = run_crash([*arguments, "--dir", str(version)], timeout=3600)
        totals += Counter({name: int(counts[name]) for name in ("states", "runs")})
    return totals


def run_sanitized(seed: int) -> Totals:
    """Run seeded workloads and I/O errors under ASan and UBSan."""
    seeds = _seed_range(seed, 100_000)
    total = _crash("sim", "--seeds", seeds, "--seconds", "20", sanitize=True)
    return total + _crash("faults", "--seeds", seeds, "--seconds", "20", sanitize=True)


def run_kills(seed: int) -> Totals:
    """Kill C writers."""
    with tempfile.TemporaryDirectory() as directory:
        arguments = ("--dir", directory, "--seed", str(seed), "--cycles", "500")
        return _crash("kill", *arguments)


def run_threads(seed: int) -> Totals:
    """Stress the calls under TSan and ASan."""
    total: Totals = Counter()
    for variant in (TSAN, ASAN):
        with tempfile.TemporaryDirectory() as directory:
            arguments = ["--dir", directory, "--seconds", "20", "--seed", str(seed)]
            counts = run_stress(arguments, variant)
        del counts["seed"]
        total += Counter({f"stress_{name}": int(counts[name]) for name in counts})
    return total


def run_metamorphic(seed: int) -> Totals:
    """Change options and add what must not matter, under fresh seeds."""
    totals: Totals = Counter()
    for number in range(4):
        arguments = ["--seed", str(seed * 100 + number), "--commands", "4000"]
        counts = run_shipped("metamorphic", arguments)
        totals += Counter({f"metamorphic_{name}": int(counts[name]) for name in counts})
    return totals


def run_pytest(seed: int) -> Totals:
    """Run the model machine on fresh examples, kill Python writers, follow one."""
    examples, kills = 150, 40
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("tests/model/test_model.py", "tests/crash/test_kill.py"),
            "tests/crash/test_follow.py",
            *("-k", "fresh_examples or python_writers or followers"),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "LSMKV_SEED": str(seed),
            "LSMKV_MODEL_RANDOM_EXAMPLES": str(examples),
            "LSMKV_PYTHON_KILLS": str(kills),
            "LSMKV_FOLLOW_SECONDS": "60",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CrashFailureError(f"LSMKV_SEED={seed}\n{done.stdout}{done.stderr}")
    print(done.stdout.strip().splitlines()[-1])
    return Counter({"model_examples": examples, "kills": kills})


PARTS: tuple[Callable[[int], Totals], ...] = (
    run_sim,
    run_pytest,
    run_metamorphic,
    run_faults,
    run_threads,
    run_steps,
    run_alloc,
    run_errors,
    run_damage,
    run_sanitized,
    run_kills,
)


def soak(minutes: float, seed: int) -> int:
    """Run all parts in turn until the time is up; returns the exit status."""
    end = time.monotonic() + minutes * 60
    totals: Totals = Counter()
    rounds = 0
    print(f"soak: {minutes:g} minutes, seed {seed}", flush=True)
    while time.monotonic() < end:
        part = PARTS[rounds % len(PARTS)]
        part_seed = (seed + rounds) % (1 << 31)
        print(f"-- {part.__name__} seed={part_seed}", flush=True)
        try:
            totals += part(part_seed)
        except (CrashFailureError, subprocess.TimeoutExpired) as failure:
            print(f"{failure}\nsoak failed in {part.__name__}, seed {part_seed}")
            return 1
        rounds += 1
    figures = " ".join(f"{name}={count}" for name, count in sorted(totals.items()))
    print(f"soak passed: parts={rounds} seed={seed} {figures}")
    return 0


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else secrets.randbits(31)
    return soak(arguments.minutes, seed)


if __name__ == "__main__":
    raise SystemExit(main())
