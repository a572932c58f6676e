# SPDX-License-Identifier: Apache-2.0
"""The peers, behind the face of `lsmkv.cli.bench.engine`.

Each goes through the fastest way that its Python package has. Packages that are not
installed are left out of the comparison.
"""
# The methods are documented once, in Engine.
# ruff: noqa: D102, D107

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from lsmkv.cli.bench.engine import (
    BLOOM_BITS,
    Engine,
    Get,
    Item,
    Lsmkv,
    Settings,
    count_rows,
)

MAP_BYTES = 64 << 30
POLL_SECONDS = 0.01
QUIET_SECONDS = 0.5


class Rocksdict(Engine):
    """RocksDB, through rocksdict."""

    package = "rocksdict"

    def __init__(self, settings: Settings) -> None:
        rocksdict = self.module()
        table = rocksdict.BlockBasedOptions()
        table.set_block_cache(rocksdict.Cache(settings.memory_bytes))
        table.set_bloom_filter(BLOOM_BITS, False)
        table.set_format_version(5)
        table.set_data_block_index_type(rocksdict.DataBlockIndexType.binary_and_hash())
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_block_based_table_factory(table)
        options.set_write_buffer_size(settings.memtable_bytes)
        options.set_max_write_buffer_number(4)
        options.set_max_background_jobs(2)
        options.set_level_compaction_dynamic_level_bytes(True)
        options.set_compression_type(rocksdict.DBCompressionType.none())
        self.batch = rocksdict.WriteBatch
        self.db = rocksdict.Rdict(str(settings.path), options)
        self.how = rocksdict.WriteOptions()
        self.how.sync = settings.sync

    def write(self, batch: Sequence[Item]) -> None:
        writes = self.batch(raw_mode=True)
        for key, value in batch:
            writes.put(key, value)
        self.db.write(writes)

    def put(self, key: bytes, value: bytes) -> None:
        self.db.put(key, value, write_opt=self.how)

    def getter(self) -> Get:
        get: Get = self.db.get
        return get

    def get_many(self, keys: list[bytes]) -> Sequence[Any]:
        rows: Sequence[Any] = self.db.get(keys)
        return rows

    def scan(self) -> int:
        return count_rows(self.db.items())

    def seek(self, key: bytes, count: int) -> list[Any]:
        return list(itertools.islice(self.db.items(from_key=key), count))

    def hold(self) -> Callable[[], object]:
        held = [self.db.snapshot()]
        return held.clear

    def settle(self) -> float:
        self.db.flush(True)
        busy = ("compaction-pending", "num-running-compactions", "num-running-flushes")
        while any(self.db.property_int_value(f"rocksdb.{name}") for name in busy):
            time.sleep(POLL_SECONDS)
        return 0.0

    def close(self) -> None:
        self.db.close()


class Plyvel(Engine):
    """LevelDB, through plyvel."""

    package = "plyvel"

    def __init__(self, settings: Settings) -> None:
        self.db = self.module().DB(
            str(settings.path),
            create_if_missing=True,
            write_buffer_size=settings.memtable_bytes,
            lru_cache_size=settings.memory_bytes,
            bloom_filter_bits=BLOOM_BITS,
            max_open_files=1000,
            compression=None,
        )
        self.sync = settings.sync

    def write(self, batch: Sequence[Item]) -> None:
        with self.db.write_batch() as writes:
            put = writes.put
            for key, value in batch:
                put(key, value)

    def put(self, key: bytes, value: bytes) -> None:
        self.db.put(key, value, sync=self.sync)

    def getter(self) -> Get:
        get: Get = self.db.get
        return get

    def get_many(self, keys: list[bytes]) -> Sequence[Any]:
        return [self.db.get(key) for key in keys]

    def scan(self) -> int:
        return count_rows(self.db.iterator())

    def seek(self, key: bytes, count: int) -> list[Any]:
        with self.db.iterator(start=key) as rows:
            return list(itertools.islice(rows, count))

    def hold(self) -> Callable[[], object]:
        snapshot = self.db.snapshot()
        let_go: Callable[[], object] = snapshot.close
        return let_go

    def settle(self) -> float:
        # A range without rows: writes the memtable out, compacts nothing. LevelDB does
        # not say whether it is compacting, so it is watched until it is quiet.
        self.db.compact_range(start=b"\xff" * 20, stop=b"\xff" * 21)
        since = time.perf_counter()
        state = self.db.get_property(b"leveldb.sstables")
        while time.perf_counter() - since < QUIET_SECONDS:
            time.sleep(POLL_SECONDS)
            now = self.db.get_property(b"leveldb.sstables")
            if now != state:
                state, since = now, time.perf_counter()
        return time.perf_counter() - since

    def close(self) -> None:
        self.db.close()


class Lmdb(Engine):
    """LMDB: without a log, it is synced where others are settled."""

    package = "lmdb"
    many_gives_pairs = True

    def __init__(self, settings: Settings) -> None:
        self.environment = self.module().open(
            str(settings.path),
            map_size=MAP_BYTES,
            sync=settings.sync,
            metasync=settings.sync,
            readahead=True,
            max_readers=64,
        )
        self.transaction: Any = None

    @property
    def reader(self) -> Any:
        """A transaction for reading, kept until the next write."""
        if self.transaction is None:
            self.transaction = self.environment.begin(buffers=False)
        return self.transaction

    def _release(self) -> None:
        """Let writes use the pages again that the reader kept."""
        if self.transaction is not None:
            self.transaction.abort()
            self.transaction = None

    def write(self, batch: Sequence[Item]) -> None:
        self._release()
        with self.environment.begin(write=True) as transaction:
            transaction.cursor().putmulti(batch)

    def append(self, batch: Sequence[Item]) -> None:
        self._release()
        with self.environment.begin(write=True) as transaction:
            transaction.cursor().putmulti(batch, append=True)

    def put(self, key: bytes, value: bytes) -> None:
        with self.environment.begin(write=True) as transaction:
            transaction.put(key, value)

    def getter(self) -> Get:
        get: Get = self.reader.get
        return get

    def fresh_getter(self) -> Get:
        self._release()
        begin = self.environment.begin

        def get(key: bytes) -> object:
            with begin() as transaction:
                return transaction.get(key)

        return get

    def get_many(self, keys: list[bytes]) -> Sequence[Any]:
        rows: Sequence[Any] = self.reader.cursor().getmulti(keys)
        return rows

    def scan(self) -> int:
        return count_rows(self.reader.cursor())

    def seek(self, key: bytes, count: int) -> list[Any]:
        cursor = self.reader.cursor()
        cursor.set_range(key)
        return list(itertools.islice(cursor, count))

    def hold(self) -> Callable[[], object]:
        transaction = self.environment.begin()
        let_go: Callable[[], object] = transaction.abort
        return let_go

    def settle(self) -> float:
        self.environment.sync(True)
        return 0.0

    def close(self) -> None:
        self._release()
        self.environment.close()


class Sqlite(Engine):
    """SQLite of the standard library: one table, write-ahead log."""

    package = "sqlite3"

    @classmethod
    def version(cls) -> str:
        return sqlite3.sqlite_version

    def __init__(self, settings: Settings) -> None:
        settings.path.mkdir(parents=True, exist_ok=True)
        self.settings = settings
        self.local = threading.local()
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS rows (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID"
        )

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection of this thread."""
        if not hasattr(self.local, "connection"):
            connection = sqlite3.connect(
                self.settings.path / "rows.db",
                isolation_level=None,
                timeout=60,
                cached_statements=512,
            )
            durable = "FULL" if self.settings.sync else "NORMAL"
            for pragma in (
                "journal_mode=WAL",
                f"synchronous={durable}",
                f"cache_size=-{self.settings.memory_bytes >> 10}",
                f"mmap_size={self.settings.memory_bytes}",
            ):
                connection.execute(f"PRAGMA {pragma}")
            self.local.connection = connection
        open_one: sqlite3.Connection = self.local.connection
        return open_one

    def write(self, batch: Sequence[Item]) -> None:
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?)", batch)
        connection.execute("COMMIT")

    def put(self, key: bytes, value: bytes) -> None:
        self.connection.execute(
            "INSERT OR REPLACE INTO rows VALUES (?, ?)", (key, value)
        )

    def getter(self) -> Get:
        execute = self.connection.execute

        def get(key: bytes) -> object:
            row = execute("SELECT v FROM rows WHERE k = ?", (key,)).fetchone()
            return None if row is None else row[0]

        return get

    def get_many(self, keys: list[bytes]) -> Sequence[Any]:
        marks = ",".join("?" * len(keys))
        found = dict(
            self.connection.execute(f"SELECT k, v FROM rows WHERE k IN ({marks})", keys)
        )
        return [found.get(key) for key in keys]

    def scan(self) -> int:
        return count_rows(self.connection.execute("SELECT k, v FROM rows ORDER BY k"))

    def seek(self, key: bytes, count: int) -> list[Any]:
        return self.connection.execute(
            "SELECT k, v FROM rows WHERE k >= ? ORDER BY k LIMIT ?", (key, count)
        ).fetchall()

    def hold(self) -> Callable[[], object]:
        connection = sqlite3.connect(self.settings.path / "rows.db")
        connection.execute("BEGIN")
        connection.execute("SELECT k FROM rows LIMIT 1").fetchall()
        return connection.close

    def settle(self) -> float:
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return 0.0

    def close(self) -> None:
        self.connection.close()


ENGINES: dict[str, type[Engine]] = {
    "lsmkv": Lsmkv,
    "rocksdict": Rocksdict,
    "plyvel": Plyvel,
    "lmdb": Lmdb,
    "sqlite": Sqlite,
}
