# SPDX-License-Identifier: Apache-2.0
"""How fast the shell opens a large database and completes keys in it.

    python bench/shell.py                  builds 10 GB, some minutes; then removes it
    python bench/shell.py --keys 100000    a try

The database is left as by a process that was killed: the last rows are in the log. Each
measurement is a process of its own; `cold` ones begin with none of the database's files
in the memory of the operating system. `start` is all of `lsmkv shell DIR -c exit`: the
interpreter, the imports, opening and closing; `open` the call alone, and `open_cpu` the
time of the processor in it, which does not depend on what else the machine does. A
completion is what the shell does at a key stroke: the keys that begin as the word does.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import lsmkv
from lsmkv.cli.bench.machine import machine
from lsmkv.cli.bench.workloads import disk_bytes, drop_caches

KEYS = 10_000_000
VALUE_BYTES = 1000
BATCH = 1000
LOG_ROWS = 12_000  # of the last rows, which stay in the log
WORDS = 200
MOST_MS = {"open_ms": 1000.0, "most_ms": 50.0}  # what the shell has promised


def key_of(number: int) -> bytes:
    """Return the key of a row: two levels of names."""
    return b"user/%06d/item/%04d" % divmod(number, 1000)


def build(path: str, keys: int) -> None:
    """Fill a database and die."""
    draw = random.Random(1)
    db = lsmkv.open(path)
    for start in range(0, keys, BATCH):
        if start == max(0, keys - LOG_ROWS) // BATCH * BATCH:
            db.flush()
            db.settle()
        count = min(BATCH, keys - start)
        pool = draw.randbytes(VALUE_BYTES * count)
        db.put_many(
            (key_of(start + i), pool[i * VALUE_BYTES : (i + 1) * VALUE_BYTES])
            for i in range(count)
        )
    os._exit(0)


def measure(path: str, keys: int) -> None:
    """Open it as the shell does, complete words, and print milliseconds."""
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    from lsmkv.cli.shell.complete import ShellCompleter
    from lsmkv.cli.shell.session import Session

    draw, clock = random.Random(2), time.perf_counter
    words = [key_of(draw.randrange(keys)).decode() for _ in range(WORDS)]
    lines = [f"warm --prefix {word[: draw.randrange(len(word))]}" for word in words]
    started, worked = clock(), time.process_time()
    with lsmkv.open(path, mode="follower", create=False) as db:
        opened, worked = clock(), time.process_time() - worked
        completer = ShellCompleter(Session(db, Path(path)))
        times, found = [], 0
        for line in lines:
            begun = clock()
            for _ in completer.get_completions(Document(line), CompleteEvent()):
                found += 1
            times.append((clock() - begun) * 1e3)
        tables = sum(level.table_count for level in db.stats().levels)
        recovered = db.stats().recovered_records
    if found < WORDS:
        raise SystemExit(f"only {found} completions of {WORDS} words")
    figures: dict[str, float] = {
        "open_ms": (opened - started) * 1e3,
        "open_cpu_ms": worked * 1e3,
        "first_ms": times[0],
        "median_ms": sorted(times)[WORDS // 2],
        "most_ms": max(times),
        "tables": tables,
        "log_rows": recovered,
    }
    print(json.dumps(figures))


def start(path: Path) -> float:
    """Return the milliseconds of a shell that ends at once."""
    command = [
        sys.executable,
        "-m",
        "lsmkv.cli.__main__",
        "shell",
        str(path),
        "-c",
        "exit",
    ]
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - begun) * 1e3


def child(step: str, path: Path, keys: int) -> dict[str, float]:
    """Run a step in a process of its own."""
    words = [sys.executable, __file__, "--step", step, "--keys", str(keys)]
    done = subprocess.run(
        [*words, "--dir", str(path)], stdout=subprocess.PIPE, check=True
    )
    figures: dict[str, float] = json.loads(done.stdout or "{}")
    return figures


def report_of(path: Path, keys: int) -> dict[str, Any]:
    """Build, and measure cold and warm."""
    before = machine(path.parent)
    begun = time.perf_counter()
    child("build", path, keys)
    report: dict[str, Any] = {
        "machine": before,
        "keys": keys,
        "bytes": disk_bytes(path),
        "build_seconds": time.perf_counter() - begun,
    }
    for name in ("cold", "warm"):
        if name == "cold":
            drop_caches(path)
        figures = child("measure", path, keys)
        if name == "cold":
            drop_caches(path)
        report[name] = figures | {"start_ms": start(path)}
    return report


def show(report: dict[str, Any]) -> None:
    """Draw it."""
    table = Table(title=f"{report['keys']:,} keys, {report['bytes'] / 1e9:.1f} GB")
    columns = ("start_ms", "open_ms", "open_cpu_ms", "first_ms", "median_ms", "most_ms")
    for name in ("", *columns, "tables", "log_rows"):
        table.add_column(name, justify="right")
    for name in ("cold", "warm"):
        figures = report[name]
        times = [f"{figures[column]:.2f}" for column in columns]
        table.add_row(name, *times, f"{figures['tables']}", f"{figures['log_rows']}")
    console = Console()
    console.print(table)
    for column, most in MOST_MS.items():
        found = max(report[name][column] for name in ("cold", "warm"))
        verdict = "within" if found <= most else "NOT WITHIN"
        console.print(f"{column}: {found:.1f}, {verdict} {most:.0f}")


def main() -> None:
    """Do one step, or all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument("--dir", help="where the database is put")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    parser.add_argument("--step", choices=["build", "measure"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        step = build if arguments.step == "build" else measure
        step(arguments.dir, arguments.keys)
        return
    with tempfile.TemporaryDirectory(dir=arguments.dir, prefix="lsmkv-bench-") as name:
        report = report_of(Path(name) / "db", arguments.keys)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    show(report)


if __name__ == "__main__":
    main()
