# SPDX-License-Identifier: Apache-2.0
"""A small database with everything in it, for tests of the command line."""

import random
import shutil
from pathlib import Path

import numpy as np

import lsmkv
from harness.running import copy_running

USERS, LARGE, LATE = 400, 20, 30
NEWER = 100  # users that were written again
COUNT = USERS + LARGE + 2 * LATE  # keys in no namespace
KINDS = ("CURRENT", "MANIFEST", ".log", ".tbl", ".seg", ".cache", "HOTLIST")

_SMALL = lsmkv.Options(memtable_bytes=64 << 10, log_bytes=128 << 10, block_bytes=1024)


def build(path: Path) -> None:
    """Make it: as a process has left it that was killed, with writes in the log.

    Tables on two levels, large values in value files and in logs, a namespace, a cache,
    rows of vectors and two published versions.
    """
    draw = random.Random(6)
    running = path.with_name(f"{path.name}-running")
    with lsmkv.open(running, options=_SMALL) as db:
        for number in range(USERS):
            db.put(b"user/%04d" % number, draw.randbytes(40))
        for number in range(LARGE):
            db.put(b"large/%03d" % number, draw.randbytes(3000))
        _fill_namespaces(db, draw)
        db.compact()
        db.get_many(list(db.keys()))
    with lsmkv.open(running, options=_SMALL) as db:
        db.put_many([(b"user/%04d" % number, b"newer") for number in range(NEWER)])
        db.flush()
        for number in range(LATE):
            db.put(b"late/%03d" % number, b"only in the log")
            db.put(b"late-large/%03d" % number, draw.randbytes(1500))
        db.sync()
        copy_running(db, path)
    shutil.rmtree(running)


def _fill_namespaces(db: lsmkv.DB, draw: random.Random) -> None:
    features = db.namespace("features", default_ttl=1e6)
    features.put_many([(b"f%03d" % number, b"x" * 30) for number in range(100)])
    cache = db.namespace("cache", max_bytes=1 << 20)
    for number in range(60):
        cache.put(b"c%03d" % number, draw.randbytes(900))
    rows = db.vectors("rows", dim=8)
    numbers = np.arange(400, dtype="float32").reshape(50, 8)
    rows.put_many([b"v%02d" % number for number in range(50)], numbers)
    for version in ("1", "2"):
        with db.publish("model", version=version) as publisher:
            for number in range(100):
                publisher.put(b"k%04d" % number, b"row %d of it" % number)
            publisher.put(b"large", draw.randbytes(3000))
