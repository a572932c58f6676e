# SPDX-License-Identifier: Apache-2.0
"""Writes the golden database of the current version of the file format.

    cd tests && python -m golden.make

It is written once per version, by the first release that writes that version, and never
again: what later releases must read is what was written then. It holds a bit of
everything (contents.py): tables in several levels, with and without filter and codec,
several index blocks, several versions of a key, deletions, range deletes, an origin,
large values in logs and value files, times to live, vectors, lists, published versions
and one that nobody finished, caches with pins, one of them dropped, a hot list, and a
log with marks that nobody replayed.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import lsmkv
from golden import contents
from golden.contents import Operation, Range

VERSION = 1
HERE = Path(__file__).resolve().parent


def write(db: lsmkv.DB, batch: Iterator[Operation] | list[Operation]) -> None:
    """Write operations as one batch."""
    with db.write_batch() as writing:
        for operation in batch:
            if isinstance(operation, Range):
                writing.delete_range(operation.start, operation.stop)
            elif operation[1] is None:
                writing.delete(operation[0])
            else:
                writing.put(operation[0], operation[1])


def make(directory: Path) -> None:
    """Write the database, as of a process that was killed, into a new directory."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "db"
        with lsmkv.open(
            Path(scratch) / "origin", block_bytes=128, table_bytes=4096
        ) as db:
            write(db, contents.base())
            db.checkpoint(path)
        with lsmkv.open(path) as db:
            write_namespaces(db)
            publish(db)
            db.compact()
        with lsmkv.open(path, compression="zstd", block_bytes=512) as db:
            write(db, contents.changes())
            with db.snapshot():
                write(db, contents.changes_again())
                db.flush()
            write(db, contents.emptied())
            db.flush()
        with lsmkv.open(
            path, bloom_bits_per_key=0, compression="none", compression_level=-2
        ) as db:
            write(db, contents.unfiltered())
            rows = list(contents.cached().items())
            db.namespace("cache").put_many(rows[3:])
            db.flush()
            list(db.items())  # what is in memory at the end is listed
        with lsmkv.open(path) as db:
            write_last(db)
            with (
                contextlib.suppress(UnfinishedError),
                db.publish("a/b", version=contents.BEGUN) as publisher,
            ):
                publisher.put(b"word/000", b"never seen")
                copy(path, directory)
                raise UnfinishedError


class UnfinishedError(Exception):
    """Ends a publish."""


def copy(path: Path, directory: Path) -> None:
    """Copy the database as it is."""
    time.sleep(1)  # what is obsolete gets deleted in the background
    shutil.copytree(path, directory, ignore=shutil.ignore_patterns("LOCK"))


def write_namespaces(db: lsmkv.DB) -> None:
    """Write what the namespaces hold, into tables."""
    cache = db.namespace("cache", max_bytes=1 << 20, default_ttl=1e9)
    rows = list(contents.cached().items())
    cache.put_many(rows[:3])
    cache.pin(contents.PINNED)
    space = db.vectors("rows", dim=3, dtype="float16", metric="dot")
    numbers = np.array(list(contents.vectors()), dtype=np.uint64)
    space.put_many(numbers, np.array(list(contents.vectors().values()), np.float16))
    lists = db.namespace("lists", blob_threshold_bytes=512)
    for key, items in contents.listed().items():
        for item in items:
            lists.append(key, item)
    times = db.namespace("times", default_ttl=1e9)
    times.put_many(contents.lasting())
    for key, value in contents.fresh().items():
        times.get_or_compute(key, functools.partial(bytes, value), ttl=1e9, stale=1e9)
    times.put_many(contents.expired(), ttl=2)
    db.flush()


def publish(db: lsmkv.DB) -> None:
    """Publish versions, of which readers see the one before the last."""
    for version, rows in contents.published().items():
        with db.publish("a/b", version=version, default_ttl=1e9) as publisher:
            publisher.put_many(rows)
    db.rollback("a/b", contents.CURRENT)


def write_last(db: lsmkv.DB) -> None:
    """Write what stays in the log."""
    db.namespace("gone", max_bytes=1 << 16)[b"gone"] = b"with its segment"
    db.drop_namespace("gone")
    for batch in contents.logged():
        write(db, batch)
        db.sync()


if __name__ == "__main__":
    target = HERE / f"v{VERSION}"
    if target.exists():
        sys.exit(f"{target} exists, and is never written again")
    make(target)
