# SPDX-License-Identifier: Apache-2.0
"""What a database says about itself: results of stats(), memory() and verify()."""

from __future__ import annotations

import dataclasses
from typing import Literal

State = Literal["open", "degraded", "poisoned", "closed", "read-only"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LevelStats:
    """One level of the tree. Level 0 holds flushed tables, the last the oldest data.

    Attributes:
        table_count: Files.
        byte_count: Their size.
        entry_count: Records in them, deletions and overwritten values included.
        tombstone_count: Deletions among these.
    """

    table_count: int
    byte_count: int
    entry_count: int
    tombstone_count: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The counters of an open database. Those of work done count from its opening.

    Attributes:
        levels: The levels of the tree, from 0.
        sequence: Number of the newest write; each record of a batch takes one.
        memtable_bytes: Memory of the active memtable and those being flushed.
        memtable_count: How many those are.
        cache_bytes: Memory of the block cache in use.
        cache_capacity: Its limit.
        cache_misses: Blocks read from files by reads and iterators.
        table_bytes: Memory of the filters and indexes of open tables.
        open_tables: How many tables are open.
        log_bytes: Size of the log files that are still needed.
        user_bytes_written: Bytes of the batches that were written.
        log_bytes_written: Bytes written to the log.
        flush_bytes_written: Bytes of tables written by flushes.
        compact_bytes_read: Bytes of tables read by compactions.
        compact_bytes_written: Bytes of tables written by compactions.
        flush_count: Flushes done.
        compact_count: Compactions done.
        trivial_move_count: Compactions that moved a table without rewriting it.
        sync_count: Device syncs of the log.
        write_group_count: Groups of writes that went to the log together.
        write_count: Batches written; a single put is one.
        stall_count: Writes that were slowed down or stopped.
        stall_us: The microseconds that cost them.
        snapshot_count: Open snapshots.
        expired_count: Values that flushes and compactions let go after they expired.
        expired_table_count: Tables dropped unread: everything in them had expired.
        clock_jumps: How often the wall clock jumped ahead by more than a day, which
            expiry does not follow while the database is open.
        segment_count: Files that large values lie in, without the logs still needed.
        segment_bytes: Their size.
        segment_live_bytes: Bytes of values in them that tables point to.
        segment_bytes_written: Bytes of large values and their files that flushes and
            compactions have copied; what stayed in its log is not counted again.
        relocated_bytes: Bytes of values that compactions moved out of mostly dead
            files.
        recovered_records: Records that this opening found in the log.
        recovered_dropped_bytes: Unsynced end of the log that this opening cut off.
        state: "open"; "degraded": the disk is full; "poisoned": a device error made
            the database read-only until it is reopened; "closed"; "read-only": opened
            so.
        zstd: The codec in use: "native", or the slower "python".
    """

    levels: tuple[LevelStats, ...]
    sequence: int
    memtable_bytes: int
    memtable_count: int
    cache_bytes: int
    cache_capacity: int
    cache_misses: int
    table_bytes: int
    open_tables: int
    log_bytes: int
    user_bytes_written: int
    log_bytes_written: int
    flush_bytes_written: int
    compact_bytes_read: int
    compact_bytes_written: int
    flush_count: int
    compact_count: int
    trivial_move_count: int
    sync_count: int
    write_group_count: int
    write_count: int
    stall_count: int
    stall_us: int
    snapshot_count: int
    expired_count: int
    expired_table_count: int
    clock_jumps: int
    segment_count: int
    segment_bytes: int
    segment_live_bytes: int
    segment_bytes_written: int
    relocated_bytes: int
    recovered_records: int
    recovered_dropped_bytes: int
    state: State
    zstd: Literal["native", "python"]

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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What an open database keeps in memory at one moment, in bytes.

    Attributes:
        budget_bytes: `memory_bytes` of the options, which all of the following but
            pinned_bytes are held to.
        memtable_bytes: The active memtable and those being flushed, reserved at their
            full size.
        block_bytes: Blocks of files in the cache.
        filter_bytes: Filters of the open tables.
        index_bytes: Indexes of the open tables, and what else those keep.
        pinned_bytes: Blocks that iterators stand on. They may be cached as well, or no
            longer.
    """

    budget_bytes: int
    memtable_bytes: int
    block_bytes: int
    filter_bytes: int
    index_bytes: int
    pinned_bytes: int

    @property
    def total_bytes(self) -> int:
        """What counts against the budget."""
        return (
            self.memtable_bytes
            + self.block_bytes
            + self.filter_bytes
            + self.index_bytes
        )


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
        problem_count: Problems found.
        problems: The first 1000 of them.
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
