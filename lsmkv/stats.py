# SPDX-License-Identifier: Apache-2.0
"""What a database says about itself: stats(), tables(), memory() and verify()."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Literal, get_args

from lsmkv import _namespace, _tables, _zstd, metrics
from lsmkv.errors import InvalidArgumentError
from lsmkv.metrics import LATENCIES, Histogram, counter, documented, gauge, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lsmkv import _core

State = Literal["open", "degraded", "poisoned", "closed", "read-only"]
STATES: tuple[State, ...] = get_args(State)
RESERVED = ("namespace", "level", "state", "operation", "le")  # labels of our own


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """What a namespace that is a cache takes. What was done counts from the opening.

    Attributes:
        file_bytes: Size of its files: at most 1.05 times its `max_bytes`.
        segment_count: How many those are.
        written_bytes: Values written, with their keys; those that follow included.
        reinserted_bytes: Of them, written again when their file was given up.
        evicted_segments: Files given up.
        pinned_count: Keys that are pinned.
        pinned_bytes: What their values take, as far as known: one that has expired or
            was deleted counts until the next put or unpin().
    """

    file_bytes: int
    segment_count: int
    written_bytes: int
    reinserted_bytes: int
    evicted_segments: int
    pinned_count: int
    pinned_bytes: int


@documented
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LevelStats:
    """One level of the tree. Level 0 holds flushed tables, the last the oldest data."""

    table_count: int = gauge("Files of a level.")
    byte_count: int = gauge("Size of the files of a level.")
    entry_count: int = gauge(
        "Records of a level, deletions and overwritten values included."
    )
    tombstone_count: int = gauge("Deletions among the records of a level.")


@documented
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceStats:
    """What was asked of one namespace since the database was opened.

    Lookups are those of single keys and each key of a batch, wherever they were made;
    what iterations read is not counted.
    """

    hits: int = counter("Lookups that found a value.")
    misses: int = counter("Lookups that found none.")
    expired: int = counter("Misses that met a value whose time was over.")
    read_bytes: int = counter("Bytes of the values found.")
    stale_hits: int = counter("Values given out past their time, as was asked for.")
    computed: int = counter("Values computed because they were missing or stale.")
    coalesced: int = counter("Callers who waited for a value that another computed.")
    evictions: int = counter("Values that a full cache gave up.")
    evicted_bytes: int = counter("Bytes of the values that a full cache gave up.")
    bytes: int = gauge(
        "What it takes in tables: the size of those that hold nothing else, with the "
        "large values that they point to, deleted and overwritten ones included until "
        "compactions drop them. Of a table shared with other namespaces, the same "
        "share of both as it has of the blocks of records (half if the table is not "
        "open), which is wrong by as much as the sizes of their records differ. "
        "Nothing of memtables, nor of the files of a cache."
    )

    @property
    def hit_ratio(self) -> float:
        """The share of lookups that found a value; 0.0 before the first."""
        lookups = self.hits + self.misses
        return self.hits / lookups if lookups else 0.0


@documented
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FollowerStats:
    """How a follower keeps up with the writer.

    While refreshes fail it shows what it showed before, and reads go on. One that
    polls goes on trying: each failure doubles the pause, up to 64 times and a minute.
    """

    refresh_count: int = counter("Refreshes that succeeded; the opening counts as one.")
    failure_count: int = counter("Refreshes that failed.")
    failures_in_row: int = gauge("Refreshes that failed since one succeeded.")
    age_seconds: float = gauge(
        "Time since the last refresh that succeeded: what the writer had written by "
        "then is shown."
    )
    error: Exception | None = plain(
        "What the last refresh raised, or would have raised; None if it succeeded."
    )


@documented
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The counters of an open database. Those of work done count from its opening."""

    levels: tuple[LevelStats, ...] = plain("The levels of the tree, from 0.")
    sequence: int = gauge(
        "Number of the newest write; each record of a batch takes one."
    )
    memtable_bytes: int = gauge(
        "Memory of the active memtable and those being flushed."
    )
    memtable_count: int = gauge("Memtables, the active one and those being flushed.")
    cache_bytes: int = gauge("Memory of the block cache in use.")
    cache_capacity: int = gauge("Limit of the memory of the block cache.")
    cache_misses: int = counter("Blocks read from files by reads and iterators.")
    table_bytes: int = gauge("Memory of the filters and indexes of open tables.")
    open_tables: int = gauge("How many tables are open.")
    log_bytes: int = gauge("Size of the log files that are still needed.")
    user_bytes_written: int = counter("Bytes of the batches that were written.")
    log_bytes_written: int = counter("Bytes written to the log.")
    flush_bytes_written: int = counter("Bytes of tables written by flushes.")
    compact_bytes_read: int = counter("Bytes of tables read by compactions.")
    compact_bytes_written: int = counter("Bytes of tables written by compactions.")
    flush_count: int = counter("Flushes done.")
    compact_count: int = counter("Compactions done.")
    trivial_move_count: int = counter(
        "Compactions that moved a table without rewriting it."
    )
    sync_count: int = counter("Device syncs of the log.")
    write_group_count: int = counter("Groups of writes that went to the log together.")
    write_count: int = counter("Batches written; a single put is one.")
    stall_count: int = counter("Writes that were slowed down or stopped.")
    stall_us: int = counter(
        "Time that writes were held up.",
        scale=1e-6,
        name="stall_seconds",
    )
    snapshot_count: int = gauge("Open snapshots.")
    expired_count: int = counter(
        "Values that flushes and compactions let go after they expired."
    )
    expired_table_count: int = counter(
        "Tables dropped unread: everything in them had expired."
    )
    clock_jumps: int = counter(
        "How often the wall clock jumped ahead by more than a day, which expiry does "
        "not follow while the database is open."
    )
    segment_count: int = gauge(
        "Files that large values lie in, without the logs still needed."
    )
    segment_bytes: int = gauge("Size of the files that large values lie in.")
    segment_live_bytes: int = gauge(
        "Bytes of values in those files that tables point to."
    )
    segment_bytes_written: int = counter(
        "Bytes of large values and their files that flushes and compactions have "
        "copied; what stayed in its log is not counted again."
    )
    relocated_bytes: int = counter(
        "Bytes of values that compactions moved out of mostly dead files."
    )
    recovered_records: int = counter("Records that this opening found in the log.")
    recovered_dropped_bytes: int = counter(
        "Unsynced end of the log that this opening cut off."
    )
    warm_bytes: int = counter(
        "Bytes of files that `open(warm=...)` has brought back into memory."
    )
    warm_total_bytes: int = gauge("About how many those will be in the end.")
    warming: bool = plain("Whether `open(warm=...)` is still at it.")
    state: State = plain(
        '"open"; "degraded": the disk is full; "poisoned": a device error made the '
        'database read-only until it is reopened; "closed"; "read-only": opened so.'
    )
    follower: FollowerStats | None = plain(
        'How a follower keeps up; None if the mode is not "follower".'
    )
    zstd: Literal["native", "python"] = plain(
        'The codec in use: "native", or the slower "python".'
    )
    namespaces: dict[str, NamespaceStats] = plain(
        'What was asked of each namespace, by name; of the database itself, as "".'
    )
    latencies: dict[str, Histogram] = plain(
        "How long calls and background work took, by name: "
        + ", ".join(f'"{name}": {text}' for name, text in LATENCIES.items())
        + "."
    )

    @property
    def write_amplification(self) -> float:
        """Bytes written to files for each byte that the user wrote; 0.0 before that."""
        if self.user_bytes_written == 0:
            return 0.0
        written = (
            self.log_bytes_written
            + self.flush_bytes_written
            + self.compact_bytes_written
            + self.segment_bytes_written
        )
        return written / self.user_bytes_written

    @property
    def space_amplification(self) -> float:
        """Size of tables and large values for each byte of what they hold; about.

        What they hold is taken to be the last level in use and the large values that
        tables point to. 0.0 while there are no tables.
        """
        last = next((x.byte_count for x in reversed(self.levels) if x.byte_count), 0)
        if last == 0:
            return 0.0
        total = sum(level.byte_count for level in self.levels) + self.segment_bytes
        return total / (last + self.segment_live_bytes)

    @property
    def read_amplification(self) -> float:
        """Blocks read from files for each lookup; 0.0 before the first.

        The blocks that iterations read are among them, their rows are not.
        """
        lookups = sum(each.hits + each.misses for each in self.namespaces.values())
        return self.cache_misses / lookups if lookups else 0.0

    def prometheus(self, labels: Mapping[str, str] | None = None) -> str:
        """Return all of it in the text exposition format of Prometheus.

        For the answer to a scrape, as `text/plain; version=0.0.4`. Counters begin at 0
        with each opening, as Prometheus expects them to.

        Args:
            labels: Put on every sample, say to tell several databases apart.
        """
        given = dict(labels or {})
        for name in given:
            if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) or name in RESERVED:
                raise InvalidArgumentError(f"{name!r} cannot be a label here")
        spaces = [({"namespace": name}, row) for name, row in self.namespaces.items()]
        levels = [({"level": str(i)}, row) for i, row in enumerate(self.levels)]
        states: list[tuple[str, dict[str, str], float]] = [
            ("", {"state": state}, int(state == self.state)) for state in STATES
        ]
        return metrics.write(
            [
                *metrics.families(Stats, "", [({}, self)]),
                *metrics.families(LevelStats, "level_", levels),
                *metrics.families(NamespaceStats, "namespace_", spaces),
                *(
                    metrics.families(FollowerStats, "follower_", [({}, self.follower)])
                    if self.follower is not None
                    else ()
                ),
                metrics.Family("state", "gauge", "1 for the state it is in.", states),
                metrics.histogram_family(self.latencies),
            ],
            given,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What an open database keeps in memory at one moment, in bytes.

    Attributes:
        budget_bytes: `memory_bytes` of the options, which all of the following but
            the last two are held to.
        memtable_bytes: The active memtable and those being flushed, reserved at their
            full size.
        block_bytes: Blocks of files in the cache.
        filter_bytes: Filters of the open tables.
        index_bytes: Indexes of the open tables, and what else those keep.
        pinned_bytes: Blocks that iterators stand on. They may be cached as well, or no
            longer.
        row_bytes: Rows that a `put_many` of vectors is writing, a batch at a time, and
            those that publishers gather.
    """

    budget_bytes: int
    memtable_bytes: int
    block_bytes: int
    filter_bytes: int
    index_bytes: int
    pinned_bytes: int
    row_bytes: int

    @property
    def total_bytes(self) -> int:
        """What counts against the budget."""
        return (
            self.memtable_bytes
            + self.block_bytes
            + self.filter_bytes
            + self.index_bytes
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TableKey:
    """A key that a table begins or ends with.

    Attributes:
        namespace_id: The number of its namespace; 0: what the engine keeps for itself.
        namespace: Its name, "" for the database's own; None: it has none, because it
            is the engine's, was dropped, or is a published version.
        key: The key.
    """

    namespace_id: int
    namespace: str | None
    key: bytes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TableInfo:
    """A live table: a file of records in the order of their keys.

    Attributes:
        level: 0 has what was flushed, the newest first, with tables that overlap; those
            of each level behind it do not, and are older.
        number: What the file is called by.
        byte_count: Size of the file.
        raw_bytes: Of keys and values before compression.
        entry_count: Records, deletions and overwritten values included.
        tombstone_count: Deletions of single keys among them.
        range_delete_count: Pieces of deletions of ranges, which come on top.
        sequence_min: Number of the oldest write that it has a record of.
        sequence_max: Number of the newest.
        expire_all_at: When everything in it has expired, in seconds since 1970; None:
            some of it never does.
        expire_half_at: When half of its bytes have, or somewhat later; None: never.
        first: The first key, or where its first range delete begins.
        last: The last key, or where its last range delete ends.
        last_excluded: Whether it ends before `last`.
        segments: The numbers of the files that large values of it lie in, and the
            bytes of those values, each rounded up to a multiple of 64.
    """

    level: int
    number: int
    byte_count: int
    raw_bytes: int
    entry_count: int
    tombstone_count: int
    range_delete_count: int
    sequence_min: int
    sequence_max: int
    expire_all_at: float | None
    expire_half_at: float | None
    first: TableKey
    last: TableKey
    last_excluded: bool
    segments: dict[int, int]

    @property
    def file(self) -> str:
        """The name of the file in the database's directory."""
        return f"{self.number:06}.tbl"


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """Something that verify() found.

    Attributes:
        file: Name of the file in the database's directory, "" if it is no one file's.
        offset: Where in the file, in bytes, or None.
        message: What is wrong there.
    """

    file: str
    offset: int | None
    message: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What verify() read and found.

    Attributes:
        file_count: Files read.
        block_count: Blocks whose checksum was computed.
        record_count: Records whose order was checked.
        byte_count: Bytes read.
        problem_count: Problems found; a missing file is one for each value in it.
        problems: The first 1000 that differ.
    """

    file_count: int
    block_count: int
    record_count: int
    byte_count: int
    problem_count: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.problem_count == 0


def tables_of(db: _core.DB) -> list[TableInfo]:
    """List the tables of a database."""
    return [
        TableInfo(
            first=_table_key(*found.pop("first")),
            last=_table_key(*found.pop("last")),
            expire_all_at=_seconds(found.pop("expire_all_ms")),
            expire_half_at=_seconds(found.pop("expire_half_ms")),
            last_excluded=bool(found.pop("last_excluded")),
            **found,
        )
        for found in _tables.tables(db)
    ]


def _table_key(namespace_id: int, namespace: str | None, key: bytes) -> TableKey:
    return TableKey(namespace_id=namespace_id, namespace=namespace, key=key)


def _seconds(ms: int) -> float | None:
    return ms / 1000 if ms else None


def stats_of(db: _core.DB) -> Stats:
    """Gather what a database has counted."""
    counters = db._stats()
    follower = db._follower()
    return Stats(
        levels=tuple(LevelStats(**level) for level in counters.pop("levels")),
        state=STATES[counters.pop("state")],
        follower=FollowerStats(**follower) if follower is not None else None,
        zstd=_zstd.register(),
        namespaces={
            name: NamespaceStats(**counts)
            for name, counts in _namespace.stats(db).items()
        },
        latencies={
            name: Histogram(count, sum_ns * 1e-9, max_ns * 1e-9, tuple(counts))
            for name, (count, sum_ns, max_ns, counts) in db._latencies().items()
        },
        **counters,
    )
