#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How often large values are written, and how much space they take.

    python bench/large_values.py

Loads keys with values of a few KiB in random order, then overwrites every key several
times, each time in another order. Prints, as JSON, the write amplification (bytes
written to all files by the engine for each byte of key and value) and the size of the
directory in proportion to the live bytes: the largest ever measured, with its moment,
and at the end. `--check` fails beyond the limits given.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import lsmkv

SAMPLES_PER_ROUND = 100


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=80_000)
    parser.add_argument("--value", type=int, default=3072)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--log-bytes", type=int, default=8 << 20)
    parser.add_argument("--dir", type=Path, default=None)
    parser.add_argument(
        "--uniform",
        action="store_true",
        help="overwrite keys drawn at random instead of each once a round",
    )
    parser.add_argument(
        "--check", nargs=2, type=float, metavar=("WRITES", "SPACE"), default=None
    )
    return parser.parse_args()


def directory_bytes(path: Path) -> int:
    """Add up the sizes of all files."""
    total = 0
    for file in path.iterdir():
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue  # deleted meanwhile
    return total


class Measuring:
    """Writes values and watches the directory."""

    def __init__(self, db: lsmkv.DB, path: Path, arguments: argparse.Namespace) -> None:
        """Start with nothing written."""
        self.db = db
        self.path = path
        self.keys = arguments.keys
        self.rng = random.Random(7)
        self.noise = self.rng.randbytes(arguments.value + (1 << 16))
        self.size = arguments.value
        self.live = 0
        self.user = 0
        self.peak = (0.0, 0, 0)

    def value(self) -> bytes:
        """Return bytes that differ from call to call."""
        start = self.rng.randrange(1 << 16)
        return self.noise[start : start + self.size]

    def write(self, key: int, round_number: int, place: int) -> None:
        """Put one value; sometimes look at the directory."""
        name = b"key%013d" % key
        self.db.put(name, self.value())
        self.user += len(name) + self.size
        if round_number == 0:
            self.live += len(name) + self.size
        if place % max(1, self.keys // SAMPLES_PER_ROUND) == 0:
            self.sample(round_number, place)

    def sample(self, round_number: int, place: int) -> float:
        """Measure the directory, once there is something to compare it with."""
        ratio = directory_bytes(self.path) / max(1, self.live)
        if round_number > 0:
            self.peak = max(self.peak, (ratio, round_number, place))
        return ratio


def main() -> None:
    """Run and print."""
    arguments = parse()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as scratch:
        path = Path(scratch) / "db"
        with lsmkv.open(path, log_bytes=arguments.log_bytes) as db:
            work = Measuring(db, path, arguments)
            begin = time.perf_counter()
            for number in range(arguments.rounds + 1):
                order = list(range(arguments.keys))
                work.rng.shuffle(order)
                if arguments.uniform and number > 0:
                    order = [work.rng.randrange(arguments.keys) for _ in order]
                for place, key in enumerate(order):
                    work.write(key, number, place)
            seconds = time.perf_counter() - begin
            db.flush()
            db.settle()
            final = work.sample(arguments.rounds, arguments.keys)
            stats = db.stats()
            parts = {
                "log": stats.log_bytes_written,
                "flush": stats.flush_bytes_written,
                "compact": stats.compact_bytes_written,
                "values": stats.segment_bytes_written,
            }
    writes = sum(parts.values()) / work.user
    result = {
        "keys": arguments.keys,
        "value_bytes": arguments.value,
        "rounds": arguments.rounds,
        "uniform": arguments.uniform,
        "log_bytes": arguments.log_bytes,
        "seconds": round(seconds, 1),
        "write_amplification": round(writes, 3),
        "written_by": {k: round(v / work.user, 3) for k, v in parts.items()},
        "space_peak": round(work.peak[0], 3),
        "space_peak_at": {"round": work.peak[1], "key": work.peak[2]},
        "space_final": round(final, 3),
        "compactions": stats.compact_count,
        "relocated_bytes": stats.relocated_bytes,
        "segments": stats.segment_count,
    }
    print(json.dumps(result, indent=2))
    if arguments.check and (
        writes > arguments.check[0] or work.peak[0] > arguments.check[1]
    ):
        sys.exit(1)


if __name__ == "__main__":
    main()
