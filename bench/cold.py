#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Restarts: how soon reads are as fast as they were before.

    python bench/cold.py                            2 GB of values, 512 MiB of cache
    python bench/cold.py --quick                    a twentieth of that
    python bench/cold.py --check 2                  ends with 1 if warming is not enough

A process fills a database several times as large as the cache and settles it. Another
one reads it, keys drawn by Zipf's law, until it is hot: the row `hot`. Then the page
cache of the system is dropped and it goes on: the row `hot, caches dropped` is what the
engine itself keeps in memory. Then come restarts, each a process of its own behind a
dropped page cache: `cold`, and for lsmkv also with `warm=True`, as `warming` while it
loads and `warmed` for as long again afterwards. `start` is opening and the first 1000
reads, in ms.

Dropping the page cache needs root and Linux; without, there is nothing to measure. The
last reads of all engines go to the device, so `--check RATIO` holds the p99 of `warmed`
against that of `hot, caches dropped`: behind a restart, too, the page cache has to be
filled with what the engine does not keep.

Prints medians of the repetitions, writes all figures as JSON and draws p50 and p99 over
time beside them if matplotlib is there (pip install 'lsmkv[bench]').
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from engines import ENGINES
from run import circumstances, installed
from scale import key_of

from lsmkv.cli.bench.engine import Engine, Get, Settings
from lsmkv.cli.bench.workloads import (
    BATCH,
    COLD_GETS,
    QUICK,
    disk_bytes,
    quiet,
    warm_up,
)

HERE = Path(__file__).resolve()
NAMES = ("lsmkv", "rocksdict", "lmdb")
DROP = Path("/proc/sys/vm/drop_caches")
MEMTABLE_BYTES = 16 << 20
SEED = 19
CHUNK = 200  # reads between two looks at the time
BUCKET_SECONDS = 0.25  # of the plot
LOAD_SECONDS_MAX = 300.0
QUICK_SHARE = 20

Figures = dict[str, Any]
Samples = npt.NDArray[np.float64]  # rows of (seconds since the start, microseconds)


class Draw:
    """Keys in the proportions of Zipf's law; which are hot is always the same."""

    def __init__(self, keys: int, exponent: float, seed: int) -> None:
        """Draw from `keys` keys."""
        self._sums = np.cumsum(np.arange(1, keys + 1, dtype=np.float64) ** -exponent)
        self._rng = np.random.default_rng(seed)
        self._ready: list[bytes] = []

    def prepare(self, count: int) -> None:
        """Have as many ready."""
        drawn = self._rng.random(count) * self._sums[-1]
        ranks = np.searchsorted(self._sums, drawn, side="right")
        self._ready = [key_of(rank) for rank in ranks.tolist()]

    def take(self, count: int) -> list[bytes]:
        """Return the next keys."""
        if len(self._ready) < count:
            self.prepare(100 * CHUNK)
        taken, self._ready = self._ready[:count], self._ready[count:]
        return taken


def drop_caches() -> None:
    """Have the system forget what it keeps of files."""
    os.sync()
    DROP.write_text("3\n")


def read(get: Get, keys: list[bytes], start: float) -> Samples:
    """Time reads one by one."""
    clock = time.perf_counter
    marks = [clock()]
    mark = marks.append
    for key in keys:
        get(key)
        mark(clock())
    times = np.array(marks)
    return np.column_stack((times[1:] - start, np.diff(times) * 1e6))


def read_while(goes_on: Callable[[], bool], get: Get, draw: Draw, start: float) -> Any:
    """Time reads until there has been enough."""
    parts = [np.empty((0, 2))]
    while goes_on():
        parts.append(read(get, draw.take(CHUNK), start))
    return np.concatenate(parts)


def seconds_of(seconds: float) -> Callable[[], bool]:
    """Return what tells whether so many seconds from now are not over."""
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() < end


def figures_of(samples: Samples) -> Figures:
    """Sum up."""
    shares = {"p50_us": 50, "p99_us": 99, "p999_us": 99.9}
    found = np.percentile(samples[:, 1], list(shares.values())) if len(samples) else []
    return {"reads": len(samples)} | {
        name: round(float(value), 2) for name, value in zip(shares, found, strict=False)
    }


def timeline_of(samples: Samples) -> list[Figures]:
    """Sum up each part of a second."""
    buckets = (samples[:, 0] // BUCKET_SECONDS).astype(int)
    return [
        {"second": float(bucket) * BUCKET_SECONDS}
        | figures_of(samples[buckets == bucket])
        for bucket in np.unique(buckets)
    ]


def settings_of(arguments: argparse.Namespace, path: Path, warm: bool) -> Settings:
    """Return what the engines get."""
    return Settings(
        path=path,
        memtable_bytes=min(MEMTABLE_BYTES, arguments.memory << 17),
        memory_bytes=arguments.memory << 20,
        warm=warm,
    )


def fill(kind: type[Engine], path: Path, arguments: argparse.Namespace) -> Figures:
    """Write all rows, in an order that looks random."""
    engine = kind(settings_of(arguments, path, False))
    pool = random.Random(SEED).randbytes(arguments.value_bytes + (1 << 20))
    for start in range(0, arguments.keys, BATCH):
        rows = range(start, min(start + BATCH, arguments.keys))
        cuts = ((key_of(row), row * 7919 % (1 << 20)) for row in rows)
        engine.write([(key, pool[at : at + arguments.value_bytes]) for key, at in cuts])
    engine.settle()
    engine.close()
    return {"disk_mb": disk_bytes(path) / 1e6}


def heat(kind: type[Engine], path: Path, arguments: argparse.Namespace) -> Figures:
    """Read until it is hot, then time it, before and after caches are dropped."""
    draw = Draw(arguments.keys, arguments.zipf, SEED)
    engine = kind(settings_of(arguments, path, False))
    get = engine.getter()
    for _ in range(0, arguments.heat, CHUNK):
        read(get, draw.take(CHUNK), 0.0)
    figures = {}
    for row in ("hot", "hot, caches dropped"):
        if row != "hot":
            arguments.drop()
        with quiet():
            start = time.perf_counter()
            goes_on = seconds_of(arguments.seconds)
            samples = read_while(goes_on, get, draw, start)
        figures[row] = figures_of(samples) | {"timeline": timeline_of(samples)}
    engine.close()
    return figures


def restart(
    kind: type[Engine],
    path: Path,
    arguments: argparse.Namespace,
    warm: bool,
    seed: int,
) -> Figures:
    """Open what is cold, and read at once."""
    draw = Draw(arguments.keys, arguments.zipf, seed)
    draw.prepare(COLD_GETS + 200 * CHUNK)
    warm_up(kind, path.with_name(f"{path.name}-other"), QUICK)
    with quiet():
        start = time.perf_counter()
        engine = kind(settings_of(arguments, path, warm))
        opened = time.perf_counter() - start
        get = engine.getter()
        first = read(get, draw.take(COLD_GETS), start)
        begun = time.perf_counter() - start
        rest = read_restarted(engine, draw, start, arguments.seconds, warm)
    if engine.getter()(key_of(0)) is None:
        raise SystemExit(f"{engine.package} has lost a row")
    parts = {"warming" if warm else "cold": np.concatenate((first, rest[0]))}
    if warm:
        parts["warmed"] = rest[1]
    every = np.concatenate(list(parts.values()))
    figures = {row: figures_of(samples) for row, samples in parts.items()}
    head = next(iter(figures.values()))
    head |= {"open_ms": opened * 1e3, "start_ms": begun * 1e3}
    head |= {"timeline": timeline_of(every)}
    if warm:
        head["loaded_s"] = float(parts["warming"][-1, 0])
        head["loaded_mb"] = engine.db.stats().warm_bytes / 1e6
    engine.close()
    return figures


def read_restarted(
    engine: Engine, draw: Draw, start: float, seconds: float, warm: bool
) -> list[Samples]:
    """Read for some seconds; with `warm` until it is, and for some seconds then."""
    get = engine.getter()
    parts = []
    if warm:
        late = seconds_of(LOAD_SECONDS_MAX)
        loads = functools.partial(is_loading, engine)
        parts.append(read_while(lambda: loads() and late(), get, draw, start))
        if loads():
            raise SystemExit(f"not warm after {LOAD_SECONDS_MAX} s")
    parts.append(read_while(seconds_of(seconds), get, draw, start))
    return parts


def is_loading(engine: Engine) -> bool:
    """Tell whether the opening still reads ahead."""
    return bool(engine.db.stats().warming)


def process(arguments: argparse.Namespace) -> Figures:
    """Do one part of the work for one engine."""
    name, phase, directory, seed = arguments.process
    kind, path = ENGINES[name], Path(directory)
    if phase == "fill":
        return fill(kind, path, arguments)
    if phase == "heat":
        return heat(kind, path, arguments)
    return restart(kind, path, arguments, phase == "warmed", int(seed))


def start(name: str, phase: str, path: Path, seed: int) -> Figures:
    """Run one process."""
    part = ["--process", name, phase, str(path), str(seed)]
    done = subprocess.run(
        [sys.executable, str(HERE), *sys.argv[1:], *part],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{name}, {phase}: ended with {done.returncode}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def restarts(names: list[str], repeat: int) -> Iterator[tuple[int, str, str]]:
    """Yield (repetition, engine, phase), turning the order of the engines."""
    for repetition in range(repeat):
        turn = repetition % len(names)
        for name in names[turn:] + names[:turn]:
            yield repetition, name, "cold"
            if name == "lsmkv":
                yield repetition, name, "warmed"


def measure(arguments: argparse.Namespace, scratch: Path) -> list[Figures]:
    """Measure everything."""
    found = []

    def take(name: str, repetition: int, figures: Figures) -> None:
        for row, each in figures.items():
            place = {"engine": name, "row": row, "repetition": repetition}
            found.append(place | each)

    names = list(installed(arguments.engines))
    for name in names:
        path = scratch / name
        path.mkdir(parents=True)
        disk = start(name, "fill", path, 0)["disk_mb"]
        print(f"{name}: {disk:,.0f} MB on disk", file=sys.stderr)
        take(name, 0, start(name, "heat", path, 0))
    for repetition, name, phase in restarts(names, arguments.repeat):
        arguments.drop()
        seed = SEED + 1 + repetition
        take(name, repetition, start(name, phase, scratch / name, seed))
        shutil.rmtree(scratch / f"{name}-other")
    return found


def medians_of(figures: list[Figures]) -> dict[tuple[str, str], dict[str, float]]:
    """Return the medians of each engine and row."""
    groups: dict[tuple[str, str], list[Figures]] = {}
    for each in figures:
        groups.setdefault((each["engine"], each["row"]), []).append(each)
    return {
        place: {
            name: statistics.median(each[name] for each in group)
            for name in group[0]
            if isinstance(group[0][name], int | float) and name != "repetition"
        }
        for place, group in groups.items()
    }


def show(medians: dict[tuple[str, str], dict[str, float]]) -> None:
    """Print the table."""
    names = ("start_ms", "open_ms", "p50_us", "p99_us", "p999_us", "loaded_s", "reads")
    print(f"{'':32}" + "".join(f"{name:>12}" for name in names))
    for (engine, row), found in medians.items():
        cells = (f"{found[name]:,.1f}" if name in found else "" for name in names)
        print(f"{engine + ', ' + row:32}" + "".join(f"{cell:>12}" for cell in cells))


def ratios_of(medians: dict[tuple[str, str], dict[str, float]]) -> dict[str, float]:
    """Return what the bars are about."""
    ratios = {}
    warmed = medians.get(("lsmkv", "warmed"))
    if warmed is not None:
        for row in ("hot, caches dropped", "hot"):
            hot = medians["lsmkv", row]
            ratios[f"p99 of warmed to {row}"] = warmed["p99_us"] / hot["p99_us"]
    begun = {
        engine: each["start_ms"]
        for (engine, row), each in medians.items()
        if row == "cold"
    }
    ours = begun.pop("lsmkv", None)
    if ours is not None and begun:
        ratios["start to the best peer"] = ours / min(begun.values())
    return ratios


def plot(figures: list[Figures], path: Path) -> None:
    """Draw the first repetition."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("matplotlib is not installed: no plot", file=sys.stderr)
        return
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(13, 5), sharex=True, sharey=True)
    for each in figures:
        if "start_ms" not in each or each["repetition"] != 0:
            continue
        label = "lsmkv, warm=True" if each["row"] == "warming" else each["engine"]
        for axis, name in zip(axes, ("p50_us", "p99_us"), strict=True):
            steps = [step for step in each["timeline"] if step["reads"]]
            times = [step["second"] for step in steps]
            axis.plot(times, [step[name] for step in steps], label=label)
    for axis, title in zip(axes, ("p50", "p99"), strict=True):
        axis.set(title=title, xlabel="seconds since the restart", yscale="log")
        axis.grid(visible=True, alpha=0.3)
    axes[0].set_ylabel("µs of a read")
    axes[0].legend()
    fig.savefig(path, dpi=120, bbox_inches="tight")
    print(f"drawn to {path}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="a twentieth, once")
    parser.add_argument("--keys", type=int, default=4_000_000)
    parser.add_argument("--value-bytes", type=int, default=500)
    parser.add_argument("--memory", type=int, default=512, help="MiB of cache")
    parser.add_argument("--zipf", type=float, default=0.99, help="exponent")
    parser.add_argument("--heat", type=int, help="reads before it is hot; one per key")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each row")
    parser.add_argument("--repeat", type=int, default=3, help="restarts")
    parser.add_argument("--engines", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--check", type=float, help="the most that warming may leave")
    parser.add_argument("--dir", type=Path, help="where the databases are put")
    parser.add_argument(
        "--out", type=Path, default=Path("build/cold.json"), help="%(default)s"
    )
    parser.add_argument(
        "--keep-caches", action="store_true", help="drop none: to try the program"
    )
    parser.add_argument("--process", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.keys //= QUICK_SHARE
        arguments.memory = max(16, arguments.memory // QUICK_SHARE)
        arguments.seconds, arguments.repeat = min(3.0, arguments.seconds), 1
    arguments.heat = arguments.heat or arguments.keys
    arguments.drop = (lambda: None) if arguments.keep_caches else drop_caches
    return arguments


def main() -> None:
    """Measure and show."""
    arguments = parse()
    if arguments.process:
        print(json.dumps(process(arguments)))
        return
    if not arguments.keep_caches and not os.access(DROP, os.W_OK):
        print(f"skipped: to drop the page cache, {DROP} must be writable (root)")
        return
    with tempfile.TemporaryDirectory(dir=arguments.dir, prefix="lsmkv-cold-") as name:
        report = circumstances(Path(name), installed(arguments.engines))
        report["figures"] = measure(arguments, Path(name))
    medians = medians_of(report["figures"])
    report["ratios"] = ratios_of(medians)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    show(medians)
    for name, ratio in report["ratios"].items():
        print(f"{name}: {ratio:.2f}")
    print(f"written to {arguments.out}")
    plot(report["figures"], arguments.out.with_suffix(".png"))
    reached = report["ratios"].get("p99 of warmed to hot, caches dropped", 0.0)
    if arguments.check is not None and reached > arguments.check:
        sys.exit(1)


if __name__ == "__main__":
    main()
