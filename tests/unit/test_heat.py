# SPDX-License-Identifier: Apache-2.0
"""Goal: what was hot before a compaction is hot after it.

Method: read some keys until the cache holds them, compact, and count the blocks that
reading them again brings in.
"""

from pathlib import Path

import lsmkv

ROWS = 20_000
HOT = [b"%06d" % i for i in range(8_000, 9_000)]


def fill(db: lsmkv.DB, text: bytes) -> None:
    db.put_many((b"%06d" % i, text * 10) for i in range(ROWS))
    db.flush()


def read_hot(db: lsmkv.DB) -> int:
    """Read the hot keys; return how many blocks came into the cache for it."""
    before = db.stats().cache_misses
    for key in HOT:
        assert db.get(key)
    return db.stats().cache_misses - before


def test_compaction_hands_hot_blocks_on(path: Path) -> None:
    with lsmkv.open(path, block_cache_bytes=1 << 20, table_bytes=1 << 18) as db:
        fill(db, b"first")
        db.compact()
        assert read_hot(db) > 10
        assert read_hot(db) == 0
        fill(db, b"other")
        db.get(b"%06d" % (ROWS - 1))
        read_hot(db)
        read_hot(db)
        compactions = db.stats().compact_count
        db.compact()
        assert db.stats().compact_count > compactions
        assert read_hot(db) < 3
        assert db.get(HOT[0]) == b"other" * 10


def test_compaction_brings_nothing_in_that_was_not_read(path: Path) -> None:
    with lsmkv.open(path, block_cache_bytes=1 << 20, table_bytes=1 << 18) as db:
        fill(db, b"first")
        db.compact()
        fill(db, b"other")
        db.compact()
        assert db.stats().cache_misses == 0
        assert db.stats().cache_bytes == 0
