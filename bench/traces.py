#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How many prefix blocks of a request trace a cache of a given size still has.

    python bench/traces.py TRACE.jsonl --blocks 1000 10000

A trace has one request a line, a JSON object whose `hash_ids` are the ids of its prefix
blocks in order. Each request reads its blocks in turn, up to the first that is not
there, and puts the rest. The same is done with a model of an exact LRU of as many
blocks and with one that never forgets. Prints, as JSON, the share of blocks found by
each; the largest size of the cache's files, measured again and again, in proportion to
the cap; and the write amplification: bytes written to all files for each byte of block
put. `--check` fails below that share of LRU's hits, or above 1.05 times the cap.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any, Protocol

import lsmkv

MEASURE_EVERY = 20  # requests


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--blocks", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--block-bytes", type=int, default=4096)
    parser.add_argument("--requests", type=int, default=None, help="only the first")
    parser.add_argument("--dir", type=Path, default=None)
    parser.add_argument("--check", type=float, default=None, metavar="SHARE")
    return parser.parse_args()


class Cache(Protocol):
    """What a request is made of."""

    def match(self, ids: list[int]) -> int:
        """Return how many of the first blocks are there."""

    def put(self, ids: list[int]) -> None:
        """Store blocks."""


class Everything:
    """Never forgets."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.blocks: set[int] = set()

    def match(self, ids: list[int]) -> int:
        """Return how many of the first blocks are there."""
        return next(
            (i for i, one in enumerate(ids) if one not in self.blocks), len(ids)
        )

    def put(self, ids: list[int]) -> None:
        """Store blocks."""
        self.blocks.update(ids)


class Lru:
    """Keeps the blocks used last."""

    def __init__(self, capacity: int) -> None:
        """Begin with nothing."""
        self.capacity = capacity
        self.blocks: OrderedDict[int, None] = OrderedDict()

    def match(self, ids: list[int]) -> int:
        """Return how many of the first blocks are there."""
        count = 0
        for one in ids:
            if one not in self.blocks:
                break
            self.blocks.move_to_end(one)
            count += 1
        return count

    def put(self, ids: list[int]) -> None:
        """Store blocks."""
        for one in ids:
            self.blocks[one] = None
            self.blocks.move_to_end(one)
        while len(self.blocks) > self.capacity:
            self.blocks.popitem(last=False)


class Engine:
    """A namespace of a database."""

    def __init__(self, db: lsmkv.DB, max_bytes: int, block_bytes: int) -> None:
        """Make the namespace."""
        self.directory = Path(db.path)
        self.cache = db.namespace("blocks", max_bytes=max_bytes)
        self.block = bytes(range(256)) * (block_bytes // 256 + 1)
        self.block_bytes = block_bytes
        self.put_bytes = 0
        self.peak = 0
        self.calls = 0

    def block_of(self, one: int) -> bytes:
        """Return the bytes of a block."""
        head = one.to_bytes(8, "big")
        return head + self.block[: self.block_bytes - len(head)]

    def match(self, ids: list[int]) -> int:
        """Return how many of the first blocks are there."""
        self.measure()
        count = 0
        for one in ids:
            if self.cache.get(one.to_bytes(8, "big")) != self.block_of(one):
                break
            count += 1
        return count

    def put(self, ids: list[int]) -> None:
        """Store blocks."""
        self.cache.put_many((one.to_bytes(8, "big"), self.block_of(one)) for one in ids)
        self.put_bytes += self.block_bytes * len(ids)

    def measure(self) -> None:
        """Look at the size of the files."""
        self.calls += 1
        if self.calls % MEASURE_EVERY == 0:
            size = 0
            for file in self.directory.glob("*.cache"):
                try:
                    size += file.stat().st_size
                except FileNotFoundError:
                    continue  # given up meanwhile
            self.peak = max(self.peak, size)


def replay(requests: list[list[int]], cache: Cache) -> float:
    """Return the share of blocks found before the first of a request that was not."""
    found = 0
    for ids in requests:
        count = cache.match(ids)
        found += count
        if count < len(ids):
            cache.put(ids[count:])
    return found / sum(map(len, requests))


def measure(
    requests: list[list[int]], blocks: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Replay the trace through the engine, and through an LRU of that size."""
    max_bytes = blocks * arguments.block_bytes
    with (
        tempfile.TemporaryDirectory(dir=arguments.dir) as scratch,
        lsmkv.open(Path(scratch) / "db") as db,
    ):
        engine = Engine(db, max_bytes, arguments.block_bytes)
        begin = time.perf_counter()
        hits = replay(requests, engine)
        seconds = time.perf_counter() - begin
        db.flush()
        db.settle()
        stats, cached = db.stats(), engine.cache.cache_stats()
    lru = replay(requests, Lru(blocks))
    tree = (
        stats.log_bytes_written
        + stats.flush_bytes_written
        + stats.compact_bytes_written
    )
    return {
        "blocks": blocks,
        "max_bytes": max_bytes,
        "hits": round(hits, 4),
        "hits_lru": round(lru, 4),
        "share_of_lru": round(hits / lru, 4),
        "peak_of_cap": round(engine.peak / max_bytes, 4),
        "write_amplification": round(
            (cached.written_bytes + tree) / engine.put_bytes, 3
        ),
        "reinserted": round(cached.reinserted_bytes / engine.put_bytes, 3),
        "tree_bytes_written": round(tree / engine.put_bytes, 4),
        "evicted_segments": cached.evicted_segments,
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Run."""
    arguments = parse()
    with arguments.trace.open() as lines:
        requests = [json.loads(line)["hash_ids"] for line in lines]
    requests = requests[: arguments.requests]
    runs = [measure(requests, blocks, arguments) for blocks in arguments.blocks]
    result = {
        "trace": arguments.trace.name,
        "requests": len(requests),
        "references": sum(map(len, requests)),
        "block_bytes": arguments.block_bytes,
        "hits_infinite": round(replay(requests, Everything()), 4),
        "caps": runs,
    }
    print(json.dumps(result, indent=2))
    if arguments.check is not None and any(
        run["share_of_lru"] < arguments.check or run["peak_of_cap"] > 1.05
        for run in runs
    ):
        sys.exit(1)


if __name__ == "__main__":
    main()
