# SPDX-License-Identifier: Apache-2.0
"""Measures lsmkv beside its peers and writes what it found as JSON.

    python bench/run.py --quick        some minutes
    python bench/run.py                the real thing
    python bench/compare.py FILE       the table, also shown at the end

Every repetition of a group of rows runs each engine once, in a process of its own and
in an order that turns from one repetition to the next, so that a change of the
machine's mood meets all of them.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import compare
from engines import ENGINES
from rich.progress import Progress

from lsmkv.cli.bench.machine import machine
from lsmkv.cli.bench.workloads import AFTER, FULL, GROUPS, QUICK, Scale

HERE = Path(__file__).resolve().parent
PROCESS_SECONDS_MAX = 1800


def installed(names: list[str]) -> dict[str, str]:
    """Return the version of every engine that is there."""
    versions = {}
    for name in names:
        try:
            versions[name] = ENGINES[name].version()
        except metadata.PackageNotFoundError:
            print(f"{name} is not installed: left out", file=sys.stderr)
    return versions


def git(*arguments: str) -> str:
    """Return what git says, or nothing where there is no repository."""
    done = subprocess.run(
        ["git", "-C", str(HERE), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def circumstances(directory: Path, versions: dict[str, str]) -> dict[str, Any]:
    """Say where, when and of what the program at hand takes its figures."""
    program = f"bench/{Path(sys.argv[0]).name}"
    return {
        "machine": machine(directory),
        "versions": versions,
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        "command": " ".join(["python", program, *sys.argv[1:]]),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def plan(groups: list[str], engines: list[str], count: int) -> Iterator[Any]:
    """Yield (repetition, group, engine), turning the engines' order."""
    for repetition in range(count):
        turn = repetition % len(engines)
        for group in groups:
            for engine in engines[turn:] + engines[:turn]:
                yield repetition, group, engine


def measure(engine: str, group: str, directory: Path, scale: Scale) -> dict[str, Any]:
    """Run one process."""
    done = subprocess.run(
        [
            sys.executable,
            str(HERE / "measure.py"),
            engine,
            group,
            str(directory),
            json.dumps(dataclasses.asdict(scale)),
        ],
        stdout=subprocess.PIPE,
        text=True,
        timeout=PROCESS_SECONDS_MAX,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{engine}, {group}: ended with {done.returncode}")
    results: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return results


def run(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Measure everything."""
    scale: Scale = QUICK if arguments.quick else FULL
    if arguments.keys:
        share = arguments.keys / scale.keys
        parts = dataclasses.asdict(scale)
        names = ("keys", "memtable_bytes", "reads", "seeks", "syncs")
        parts |= {name: max(10, int(parts[name] * share)) for name in names}
        parts["memtable_bytes"] = max(64 << 10, parts["memtable_bytes"])
        scale = Scale(**parts)
    versions = installed(arguments.engines)
    report = circumstances(scratch, versions)
    report |= {"scale": dataclasses.asdict(scale), "figures": []}
    steps = list(plan(arguments.groups, list(versions), arguments.repeat))
    with Progress(transient=True) as progress:
        task = progress.add_task("", total=len(steps))
        for repetition, group, engine in steps:
            what = f"{repetition + 1}/{arguments.repeat} {group} {engine}"
            progress.update(task, description=what)
            directory = scratch / f"{engine}-{AFTER.get(group, group)}"
            if group not in AFTER:
                shutil.rmtree(directory, ignore_errors=True)
                directory.parent.mkdir(parents=True, exist_ok=True)
            results = measure(engine, group, directory, scale)
            if group in AFTER or group not in AFTER.values():
                shutil.rmtree(directory)
            for row, figures in results.items():
                place = {"row": row, "engine": engine, "repetition": repetition}
                report["figures"].append(place | figures)
            progress.advance(task)
    return report


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="less data, 3 repetitions")
    parser.add_argument("--repeat", type=int, help="repetitions; 5, quick 3")
    parser.add_argument("--keys", type=int, help="rows; everything else in proportion")
    parser.add_argument(
        "--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES)
    )
    parser.add_argument(
        "--groups", nargs="+", choices=list(GROUPS), default=list(GROUPS)
    )
    parser.add_argument("--dir", type=Path, help="where the databases are put")
    parser.add_argument(
        "--out", type=Path, default=Path("build/bench.json"), help="%(default)s"
    )
    arguments = parser.parse_args()
    arguments.repeat = arguments.repeat or (3 if arguments.quick else 5)
    missing = {AFTER[group] for group in arguments.groups if group in AFTER}
    if not missing <= set(arguments.groups):
        parser.error(f"these groups need others: {', '.join(missing)}")
    return arguments


def main() -> None:
    """Measure, write, show."""
    arguments = parse()
    with tempfile.TemporaryDirectory(dir=arguments.dir, prefix="lsmkv-bench-") as name:
        report = run(arguments, Path(name))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    compare.show([report])
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
