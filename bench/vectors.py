#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rows of an embedding table: written once, gathered into an ndarray.

    python bench/vectors.py                   50,000 rows of 768 float32
    python bench/vectors.py --repeat 3 --engines lsmkv lmdb

Each repetition runs every engine once, in a process of its own, in an order that turns.
A process writes all rows in batches, in random order of the keys, and settles; reads
every row once; then gathers random rows: by turns the engine, numpy.take from the array
in memory, and numpy.take from a mapped file of the same bytes, written in pieces of 256
KiB as the engine writes. The last is what an engine reaches at most that looks nothing
up and reads through a mapping, which the system backs by small pages. Peers get keys
and values ready made as what they like best, outside the clock: lmdb as buffers,
through putmulti and getmulti. Prints medians, with the lowest and the highest, and the
ratios that are asked for; `--out` keeps the figures as JSON.
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from engines import ENGINES

from lsmkv.cli.bench.engine import Engine, Settings

HERE = Path(__file__).resolve()
NAMES = ("lsmkv", "lmdb", "rocksdict", "plyvel")
SEED = 768
MEMTABLE_BYTES = 16 << 20
ROUNDS = 7
WRITE_BYTES = 256 << 10

Array = npt.NDArray[Any]
Write = Callable[[int, int], None]
Gather = Callable[[int, Array], Any]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--batch", type=int, default=1000, help="rows of a write")
    parser.add_argument("--many", type=int, default=256, help="rows of a gather")
    parser.add_argument("--gathers", type=int, default=200, help="in each round")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--engines", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--dir", type=Path, help="where the databases are put")
    parser.add_argument("--out", type=Path, help="write all figures here, as JSON")
    parser.add_argument("--process", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


class Table:
    """What is stored, and what is asked for."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Draw all of it from one seed."""
        rng = np.random.default_rng(SEED)
        self.rows = rng.standard_normal((arguments.rows, arguments.dim), np.float32)
        self.ids = rng.permutation(arguments.rows).astype(np.uint64)
        self.row_of = np.empty(arguments.rows, np.int64)
        self.row_of[self.ids] = np.arange(arguments.rows)
        self.asked = [
            rng.integers(0, arguments.rows, arguments.many, np.uint64)
            for _ in range(arguments.gathers)
        ]

    def key(self, number: int) -> bytes:
        """Return a number as the key that lsmkv makes of it."""
        return int(number).to_bytes(8, "big")


def use_lsmkv(engine: Engine, table: Table) -> tuple[Write, Gather]:
    """Write and gather arrays."""
    space = engine.db.vectors("v", dim=table.rows.shape[1])
    ids, rows = table.ids, table.rows

    def write(start: int, stop: int) -> None:
        space.put_many(ids[start:stop], rows[start:stop])

    def gather(index: int, out: Array) -> Any:
        return space.gather(table.asked[index], out=out)[0]

    return write, gather


def use_lmdb(engine: Engine, table: Table) -> tuple[Write, Gather]:
    """Write and read buffers; a transaction for reading is kept."""
    environment = engine.environment
    items = [
        (table.key(number), memoryview(row.data))
        for number, row in zip(table.ids, table.rows, strict=True)
    ]
    asked = [[table.key(number) for number in ids] for ids in table.asked]
    cursors: list[Any] = []

    def write(start: int, stop: int) -> None:
        with environment.begin(write=True) as transaction:
            transaction.cursor().putmulti(items[start:stop])

    def gather(index: int, out: Array) -> Any:
        if not cursors:
            cursors.append(environment.begin(buffers=True).cursor())
        pairs = cursors[0].getmulti(asked[index])
        joined = b"".join([value for _, value in pairs])
        return np.frombuffer(joined, np.float32).reshape(out.shape)

    return write, gather


def use_bytes(engine: Engine, table: Table) -> tuple[Write, Gather]:
    """Write and read bytes objects."""
    items = [
        (table.key(number), row.tobytes())
        for number, row in zip(table.ids, table.rows, strict=True)
    ]
    asked = [[table.key(number) for number in ids] for ids in table.asked]

    def write(start: int, stop: int) -> None:
        engine.write(items[start:stop])

    def gather(index: int, out: Array) -> Any:
        joined = b"".join(engine.get_many(asked[index]))
        return np.frombuffer(joined, np.float32).reshape(out.shape)

    return write, gather


def map_rows(table: Table, path: Path) -> Array:
    """Return the rows in a mapped file, of which every page has been touched."""
    data = memoryview(table.rows).cast("B")
    with path.open("wb", buffering=0) as file:
        for start in range(0, len(data), WRITE_BYTES):
            file.write(data[start : start + WRITE_BYTES])
    mapped = np.asarray(np.memmap(path, np.float32, "r", shape=table.rows.shape))
    if not np.array_equal(mapped, table.rows):
        raise SystemExit(f"{path}: the file has other rows")
    return mapped


def process(name: str, path: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Measure one engine; rows a second, in all."""
    table = Table(arguments)
    settings = Settings(path=path, memtable_bytes=MEMTABLE_BYTES)
    engine = ENGINES[name](settings)
    use = {"lsmkv": use_lsmkv, "lmdb": use_lmdb}.get(name, use_bytes)
    write, gather = use(engine, table)
    begin = time.perf_counter()
    for start in range(0, arguments.rows, arguments.batch):
        write(start, min(start + arguments.batch, arguments.rows))
    filled = time.perf_counter() - begin
    idle = engine.settle()
    settled = time.perf_counter() - begin - idle
    out = np.empty((arguments.many, arguments.dim), np.float32)
    for index, ids in enumerate(table.asked):
        found = gather(index, out)
        if not np.array_equal(found, table.rows[table.row_of[ids]]):
            raise SystemExit(f"{name}: gather {index} gives other rows")
    asked = [table.row_of[ids] for ids in table.asked]
    mapped = map_rows(table, path / "rows")

    def gather_all() -> None:
        for index in range(arguments.gathers):
            gather(index, out)

    def take_all(rows: Array) -> None:
        for ids in asked:
            np.take(rows, ids, axis=0, out=out, mode="clip")

    ways: dict[str, Callable[[], None]] = {
        "gather": gather_all,
        "take": functools.partial(take_all, table.rows),
        "mapped": functools.partial(take_all, mapped),
    }
    total = arguments.many * arguments.gathers
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, work in ways.items():
            begin = time.perf_counter()
            work()
            speeds[way].append(total / (time.perf_counter() - begin))
    ratios = {
        f"to_{way}": statistics.median(
            a / b for a, b in zip(speeds["gather"], speeds[way], strict=True)
        )
        for way in ("take", "mapped")
    }
    return {
        "fill": arguments.rows / filled,
        "settled": arguments.rows / settled,
        **{way: statistics.median(speed) for way, speed in speeds.items()},
        **ratios,
    }


def start(name: str, path: Path) -> dict[str, Any]:
    """Run one process."""
    done = subprocess.run(
        [sys.executable, str(HERE), *sys.argv[1:], "--process", name, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{name}: ended with {done.returncode}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def show(figures: list[dict[str, Any]]) -> None:
    """Print medians and ratios."""
    medians: dict[tuple[str, str], float] = {}
    names = list(dict.fromkeys(each["engine"] for each in figures))
    rows = ("fill", "settled", "gather", "take", "mapped", "to_take", "to_mapped")
    print(f"{'':10}" + "".join(f"{row:>26}" for row in rows))
    for name in names:
        cells = []
        for row in rows:
            found = [each[row] for each in figures if each["engine"] == name]
            medians[name, row] = statistics.median(found)
            unit, digits = (1, 2) if row.startswith("to_") else (1000, 0)
            low, middle, high = (
                f"{number / unit:.{digits}f}"
                for number in (min(found), medians[name, row], max(found))
            )
            cells.append(f"{middle} ({low} to {high})")
        print(f"{name:10}" + "".join(f"{cell:>26}" for cell in cells))
    print(
        "thousands of rows a second; take: numpy.take from memory, mapped: from a "
        "mapped file; to_...: gather in proportion to it"
    )
    if "lsmkv" in names and "lmdb" in names:
        for row in ("settled", "gather"):
            ratio = medians["lsmkv", row] / medians["lmdb", row]
            print(f"{row}: {ratio:.2f} x lmdb (wanted: 1.2)")
        print(
            f"gather: {medians['lsmkv', 'to_take']:.2f} x numpy.take (wanted: 0.8), "
            f"{medians['lsmkv', 'to_mapped']:.2f} x numpy.take from a mapped file"
        )


def main() -> None:
    """Measure and show."""
    arguments = parse()
    if arguments.process:
        name, path = arguments.process
        print(json.dumps(process(name, Path(path), arguments)))
        return
    engines = []
    for name in arguments.engines:
        try:
            ENGINES[name].version()
            engines.append(name)
        except metadata.PackageNotFoundError:
            print(f"{name} is not installed: left out", file=sys.stderr)
    figures = []
    with tempfile.TemporaryDirectory(dir=arguments.dir) as scratch:
        for repetition in range(arguments.repeat):
            turn = repetition % len(engines)
            for name in engines[turn:] + engines[:turn]:
                path = Path(scratch) / name
                path.mkdir()
                place = {"engine": name, "repetition": repetition}
                figures.append(place | start(name, path))
                shutil.rmtree(path)
    show(figures)
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
